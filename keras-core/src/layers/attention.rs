//! Attention of one head (tf.keras): `Attention`, `AdditiveAttention`.

use super::check::known;
use super::dropout::drop_out;
use super::options::Named;
use super::registry::Read;
use super::{Base, Build, Call, Choice, Layer};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::initializers::{InitializerRef, Ones, glorot_uniform};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// How [`Attention`] compares a query with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreMode {
    /// Their product.
    Dot,
    /// A weight times Σ tanh(query + key).
    Concat,
}

impl Named for ScoreMode {
    const KIND: &'static str = "score_mode";
    const ALL: &'static [(&'static str, Self)] = &[("dot", Self::Dot), ("concat", Self::Concat)];
}

/// Query, value, key: the key is the value unless it is given.
fn operands<'a, T>(class: &str, inputs: &'a [T]) -> Result<(&'a T, &'a T, &'a T)> {
    match inputs {
        [query, value] => Ok((query, value, value)),
        [query, value, key] => Ok((query, value, key)),
        others => Err(Error::value(class, "[query, value] or [query, value, key]", others.len().to_string())),
    }
}

fn output(class: &str, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
    let (query, value, key) = operands(class, inputs)?;
    let same = |a: &Spec, i: usize, b: &Spec, j: usize| match (a.shape.get(i), b.shape.get(j)) {
        (Some(Some(a)), Some(Some(b))) => a == b,
        _ => true,
    };
    let fits = [query, value, key].iter().all(|spec| spec.rank() == 3 && spec.dtype == query.dtype)
        && same(query, 2, key, 2)
        && same(value, 1, key, 1)
        && same(query, 0, value, 0);
    if !fits {
        let expected =
            "query (batch, steps, features), value (batch, others, …), key (batch, others, features)";
        return Err(Error::shape(class, expected, format!("{query}, {value} and {key}")));
    }
    let mut shape = query.shape.clone();
    if let (Some(last), Some(features)) = (shape.last_mut(), value.shape.last()) {
        *last = *features;
    }
    Ok(Some(vec![Spec::new(shape, query.dtype)]))
}

/// `true` at (i, j) where j ≤ i: position i sees no later one.
pub(super) fn causal_mask(rows: usize, columns: usize) -> Result<Tensor> {
    let cells = (0..rows).flat_map(|i| (0..columns).map(move |j| j <= i)).collect();
    Ok(Tensor::constant(Array::from_vec(&[rows, columns], cells)?))
}

/// Scores to results: masked, softmax, dropout, weighted sum of values.
fn attend(
    cx: &Call,
    class: &str,
    inputs: &[Tensor],
    mut scores: Tensor,
    dropout: f64,
) -> Result<Vec<Tensor>> {
    let (_, value, _) = operands(class, inputs)?;
    let mut mask = cx.mask(1).map(|mask| k::expand_dims(mask, 1));
    if cx.flag("use_causal_mask")
        && let [.., rows, columns] = *scores.shape()?
    {
        let causal = k::expand_dims(&causal_mask(rows, columns)?, 0);
        mask = Some(mask.map_or_else(|| causal.clone(), |mask| k::logical_and(&mask, &causal)));
    }
    if let Some(mask) = mask {
        scores = &scores - &(k::cast(&k::logical_not(&mask), scores.dtype()?) * 1e9);
    }
    let weights = k::softmax(&scores, -1);
    let weights = drop_out(cx, &weights, dropout, None, &weights.shape()?)?;
    let mut result = k::matmul(&weights, value);
    if let Some(mask) = cx.mask(0) {
        result = &result * &k::cast(&k::expand_dims(mask, -1), result.dtype()?);
    }
    Ok(if cx.flag("return_attention_scores") { vec![result, weights] } else { vec![result] })
}

/// tanh(query + key) for every pair, `(batch, steps, others, features)`.
fn sums(query: &Tensor, key: &Tensor) -> Tensor {
    k::expand_dims(query, 2) + k::expand_dims(key, 1)
}

macro_rules! attention {
    ($type:ident) => {
        crate::layer_verbs!($type);

        impl $type {
            /// Whether a weight scales the scores.
            pub fn use_scale(mut self, use_scale: bool) -> Self {
                self.use_scale = use_scale;
                self
            }

            /// The fraction of the attention's weights to drop in training; default 0.
            pub fn dropout(mut self, rate: f64) -> Self {
                self.dropout = rate;
                self
            }
        }
    };
    () => {
        fn base(&self) -> Option<&Base> {
            Some(&self.base)
        }

        fn supports_masking(&self) -> bool {
            true
        }

        fn takes_argument(&self, name: &str) -> bool {
            ["use_causal_mask", "return_attention_scores"].contains(&name)
        }

        /// The mask of the query.
        fn compute_mask(
            &self,
            cx: &mut Call,
            _: &[Tensor],
            outputs: &[Tensor],
        ) -> Result<Vec<Option<Tensor>>> {
            let mut masks = vec![None; outputs.len()];
            if let Some(first) = masks.first_mut() {
                *first = cx.mask(0).cloned();
            }
            Ok(masks)
        }
    };
}

/// softmax(query · keyᵀ) · value (Luong et al., 2015), called on `[query, value]` or `[query, value, key]`: `(batch,
/// steps, features)` and `(batch, others, features)` to `(batch, steps, features of the value)`.
///
/// The value's mask hides values, the query's mask sets results to 0. Arguments of the call: `use_causal_mask`,
/// `return_attention_scores`. Weights, if any: `scale ()`, `concat_score_weight ()`.
///
/// ```
/// use keras_core::layers::{Attention, Input};
/// let (query, value) = (Input::new([5, 16]).tensor()?, Input::new([7, 16]).tensor()?);
/// assert_eq!(Attention::new().call([&query, &value])?.spec()?.shape, [None, Some(5), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Attention {
    base: Base,
    use_scale: bool,
    score_mode: Choice<ScoreMode>,
    dropout: f64,
}

impl Attention {
    /// Without scale or dropout, by products.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), use_scale: false, score_mode: ScoreMode::Dot.into(), dropout: 0.0 }
    }

    /// `"dot"` (default) or `"concat"`.
    pub fn score_mode(mut self, mode: impl Into<Choice<ScoreMode>>) -> Self {
        self.score_mode = mode.into();
        self
    }
}

attention!(Attention);

impl Read for Attention {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            use_scale: reader.boolean("use_scale", false)?,
            score_mode: Choice::read(reader, "score_mode", ScoreMode::Dot.into())?,
            dropout: reader.float("dropout", 0.0)?,
        })
    }
}

impl Layer for Attention {
    fn config(&self) -> Config {
        Config::new("Attention")
            .with("dropout", self.dropout)
            .with("use_scale", self.use_scale)
            .with("score_mode", self.score_mode.to_value())
    }

    fn build(&self, cx: &mut Build, _: &[Spec]) -> Result<()> {
        let ones = InitializerRef::new(Ones);
        if self.use_scale {
            cx.weight("scale", [], &ones).add()?;
        }
        if self.score_mode.resolve()? == ScoreMode::Concat {
            cx.weight("concat_score_weight", [], &ones).add()?;
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        output("Attention", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (query, _, key) = operands("Attention", inputs)?;
        output("Attention", &inputs.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?)?;
        let scale = cx.weight_if_any("scale")?;
        let scaled = |x: Tensor| match &scale {
            Some(scale) => x * scale,
            None => x,
        };
        let scores = match self.score_mode.resolve()? {
            ScoreMode::Dot => scaled(k::batch_dot(query, key, (2, 2))),
            ScoreMode::Concat => {
                let total = k::sum(&k::tanh(&scaled(sums(query, key))), &[-1], false);
                total * cx.weight("concat_score_weight")?
            }
        };
        attend(cx, "Attention", inputs, scores, self.dropout)
    }

    attention!();
}

/// softmax(Σ scale · tanh(query + key)) · value (Bahdanau et al., 2014), called as [`Attention`] is. Weight, unless
/// `use_scale` is false: `scale (features,)`.
///
/// ```
/// use keras_core::layers::{AdditiveAttention, Input};
/// let (query, value) = (Input::new([5, 16]).tensor()?, Input::new([7, 16]).tensor()?);
/// assert_eq!(AdditiveAttention::new().call([&query, &value])?.spec()?.shape, [None, Some(5), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdditiveAttention {
    base: Base,
    use_scale: bool,
    dropout: f64,
}

impl AdditiveAttention {
    /// With a scale, without dropout.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), use_scale: true, dropout: 0.0 }
    }
}

attention!(AdditiveAttention);

impl Read for AdditiveAttention {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            use_scale: reader.boolean("use_scale", true)?,
            dropout: reader.float("dropout", 0.0)?,
        })
    }
}

impl Layer for AdditiveAttention {
    fn config(&self) -> Config {
        Config::new("AdditiveAttention").with("dropout", self.dropout).with("use_scale", self.use_scale)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        output("AdditiveAttention", inputs)?;
        let (_, value, _) = operands("AdditiveAttention", inputs)?;
        if self.use_scale {
            let len = value.shape.last().copied().flatten();
            let len = known("AdditiveAttention", value, len, "last axis")?;
            cx.weight("scale", [len], &InitializerRef::new(glorot_uniform())).add()?;
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        output("AdditiveAttention", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (query, _, key) = operands("AdditiveAttention", inputs)?;
        let mut terms = k::tanh(&sums(query, key));
        if let Some(scale) = cx.weight_if_any("scale")? {
            terms = terms * scale;
        }
        attend(cx, "AdditiveAttention", inputs, k::sum(&terms, &[-1], false), self.dropout)
    }

    attention!();
}
