//! `Embedding`.

use super::affine::{Weighted, weight_verbs};
use super::check::{one, positive};
use super::registry::Read;
use super::{Base, Build, Call, Layer, ShapeArgument, read_shape};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor, shape_text};
use serde_json::{Value, json};

/// Rows of a table: indices `(batch, …)` to `(batch, …, output_dim)`.
///
/// Weight: `embeddings (input_dim, output_dim)`. Indices are converted to int32; one outside `0..input_dim` is an error
/// when the model runs.
///
/// ```
/// use keras_core::layers::{Embedding, Input};
/// use keras_core::DType;
/// let x = Input::new([20]).dtype(DType::I32).tensor()?;
/// let y = Embedding::new(1000, 64).mask_zero(true).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(20), Some(64)]);
/// assert!(y.is_masked());
///
/// // A table that was made elsewhere, such as GloVe's.
/// let table = keras_core::Array::from([[0.0_f32, 0.0], [0.1, 0.2], [0.3, 0.4]]);
/// let layer = keras_core::layers::LayerRef::new(Embedding::new(3, 2).weights([table.clone()]).trainable(false))?;
/// layer.call(&x)?;
/// assert_eq!(layer.get_weights()?, [table]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    base: Base,
    input_dim: usize,
    output_dim: usize,
    embeddings: Weighted,
    activity_regularizer: RegularizerSpec,
    mask_zero: bool,
    input_length: Option<Vec<Option<usize>>>,
}

impl Embedding {
    /// A table of `input_dim` rows, which is 1 more than the largest index, of length `output_dim`.
    pub fn new(input_dim: usize, output_dim: usize) -> Self {
        Self {
            base: Base { input_shape: Some(vec![None]), ..Base::default() },
            input_dim,
            output_dim,
            embeddings: Weighted::new("uniform"),
            activity_regularizer: RegularizerSpec::default(),
            mask_zero: false,
            input_length: None,
        }
    }

    /// A penalty on the results, summed over the batch.
    pub fn activity_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
        self.activity_regularizer = regularizer.into();
        self
    }

    /// Whether index 0 masks its step; default false.
    pub fn mask_zero(mut self, mask_zero: bool) -> Self {
        self.mask_zero = mask_zero;
        self
    }

    /// The length of the sequences, where it is fixed: needed for a `Flatten` and a `Dense` behind it. Of inputs with
    /// more axes, the lengths of all of them.
    pub fn input_length(mut self, length: impl Into<ShapeArgument>) -> Self {
        let length = length.into().0;
        self.base.input_shape = Some(length.clone());
        self.input_length = Some(length);
        self
    }

    /// The lengths of the indices' axes, from those of the input and `input_length`.
    fn lengths(&self, spec: &Spec) -> Result<Vec<Option<usize>>> {
        let Some((_, own)) = spec.shape.split_first() else {
            return Err(Error::shape("Embedding", "indices with a batch axis", spec.to_string()));
        };
        let Some(fixed) = &self.input_length else { return Ok(own.to_vec()) };
        let fits = fixed.len() == own.len()
            && fixed.iter().zip(own).all(|(a, b)| a.is_none() || b.is_none() || a == b);
        if !fits {
            return Err(Error::shape(
                "Embedding",
                format!("input_length {}", shape_text(fixed)),
                spec.to_string(),
            )
            .advice("leave input_length out, or pad the sequences to it"));
        }
        Ok(fixed.iter().zip(own).map(|(a, b)| a.or(*b)).collect())
    }
}

crate::layer_verbs!(Embedding);
weight_verbs!([] Embedding, embeddings, "the table", "uniform", embeddings_initializer, embeddings_regularizer, embeddings_constraint);

impl Read for Embedding {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut base = Base::read(reader)?;
        let default = Self::new(0, 0);
        let input_length = match reader.value("input_length") {
            None => None,
            Some(length @ Value::Array(_)) => read_shape(length),
            Some(length) => read_shape(&json!([length])),
        };
        if input_length.is_none() && reader.value("input_length").is_some() {
            return Err(reader.wrong("input_length", "a length, or a list of lengths and nulls"));
        }
        if base.input_shape.is_none() {
            base.input_shape = input_length.clone().or(default.base.input_shape);
        }
        Ok(Self {
            base,
            input_dim: reader.required_count("input_dim")?,
            output_dim: reader.required_count("output_dim")?,
            embeddings: Weighted::read(reader, "embeddings", default.embeddings)?,
            activity_regularizer: RegularizerSpec::read(
                reader,
                "activity_regularizer",
                default.activity_regularizer,
            )?,
            mask_zero: reader.boolean("mask_zero", false)?,
            input_length,
        })
    }
}

impl Layer for Embedding {
    fn config(&self) -> Config {
        let input_length = match self.input_length.as_deref() {
            Some([length]) => json!(length),
            lengths => json!(lengths),
        };
        Config::new("Embedding")
            .with("input_dim", self.input_dim)
            .with("output_dim", self.output_dim)
            .with("embeddings_initializer", self.embeddings.initializer.to_value())
            .with("embeddings_regularizer", self.embeddings.regularizer.to_value())
            .with("activity_regularizer", self.activity_regularizer.to_value())
            .with("embeddings_constraint", self.embeddings.constraint.to_value())
            .with("mask_zero", self.mask_zero)
            .with("input_length", input_length)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        self.lengths(one("Embedding", inputs)?)?;
        positive("Embedding", "input_dim", self.input_dim)?;
        positive("Embedding", "output_dim", self.output_dim)?;
        self.activity_regularizer.resolve_if_any()?;
        self.embeddings.add(cx, "embeddings", [self.input_dim, self.output_dim])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = one("Embedding", inputs)?;
        let mut shape: Vec<Option<usize>> = spec.shape.iter().copied().take(1).collect();
        shape.extend(self.lengths(spec)?);
        shape.push(Some(self.output_dim));
        Ok(Some(vec![Spec::new(shape, self.base.dtype.unwrap_or_else(k::floatx))]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("Embedding", inputs)?;
        self.lengths(&x.spec()?)?;
        Ok(vec![k::gather(&cx.weight("embeddings")?, &k::cast(x, DType::I32))])
    }

    fn supports_masking(&self) -> bool {
        self.mask_zero
    }

    fn creates_mask(&self) -> bool {
        self.mask_zero
    }

    fn compute_mask(&self, _: &mut Call, inputs: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let x = one("Embedding", inputs)?;
        Ok(vec![self.mask_zero.then(|| k::not_equal(x, &k::number(x, 0.0)))])
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.activity_regularizer.resolve_if_any().ok().flatten()
    }
}
