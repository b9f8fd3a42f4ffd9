//! Normalisation within each sample (tf.keras): `LayerNormalization`, `UnitNormalization`.

use super::affine::{Weighted, weight_verbs, write_weights};
use super::check::{dtype, one, same_spec};
use super::registry::Read;
use super::{Base, Build, Call, Layer, options::one_or_list};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::semantics::IntegerInputs;
use crate::tensor::{Spec, Tensor};

/// Reads an axis or a list of them.
fn read_axes(reader: &mut Reader<'_>, default: &[i64]) -> Result<Vec<isize>> {
    Ok(reader.integers("axis", default)?.into_iter().map(|axis| axis as isize).collect())
}

/// Distinct axes from 0, in their order, for inputs of that many axes.
fn axes_in(class: &str, axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    let found: Vec<usize> = axes.iter().filter_map(|&axis| k::axis_of(axis, rank).ok()).collect();
    let distinct = found.iter().enumerate().all(|(i, axis)| !found.iter().take(i).any(|other| other == axis));
    if found.len() != axes.len() || found.is_empty() || !distinct {
        let expected = format!("distinct axes of an input of rank {rank}");
        return Err(Error::value(class, expected, format!("{axes:?}")));
    }
    Ok(found)
}

/// gamma·(x − mean)/√(variance + ε) + beta with the mean and variance over one or several axes of each sample (Ba et
/// al., 2016): any shape to the same shape. Weights of those axes' lengths: `gamma`, `beta`.
///
/// ```
/// use keras_core::layers::{Input, LayerNormalization};
/// let x = Input::new([10, 64]).tensor()?;
/// assert_eq!(LayerNormalization::new().call(&x)?.spec()?.shape, [None, Some(10), Some(64)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LayerNormalization {
    base: Base,
    axes: Vec<isize>,
    epsilon: f64,
    center: bool,
    scale: bool,
    beta: Weighted,
    gamma: Weighted,
}

impl LayerNormalization {
    /// Normalisation over the last axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self {
            base: Base::default(),
            axes: vec![-1],
            epsilon: 1e-3,
            center: true,
            scale: true,
            beta: Weighted::new("zeros"),
            gamma: Weighted::new("ones"),
        }
    }

    /// The axis; default −1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axes = vec![axis];
        self
    }

    /// Several axes that share a mean and a variance.
    pub fn axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.axes = axes.into();
        self
    }

    /// What is added to the variance; default 0.001.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Whether beta is added; default true.
    pub fn center(mut self, center: bool) -> Self {
        self.center = center;
        self
    }

    /// Whether gamma multiplies; default true.
    pub fn scale(mut self, scale: bool) -> Self {
        self.scale = scale;
        self
    }
}

crate::layer_verbs!(LayerNormalization);
weight_verbs!([] LayerNormalization, beta, "beta", "zeros", beta_initializer, beta_regularizer, beta_constraint);
weight_verbs!([] LayerNormalization, gamma, "gamma", "ones", gamma_initializer, gamma_regularizer, gamma_constraint);

impl Read for LayerNormalization {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let default = Self::new();
        Ok(Self {
            base: Base::read(reader)?,
            axes: read_axes(reader, &[-1])?,
            epsilon: reader.float("epsilon", default.epsilon)?,
            center: reader.boolean("center", true)?,
            scale: reader.boolean("scale", true)?,
            beta: Weighted::read(reader, "beta", default.beta)?,
            gamma: Weighted::read(reader, "gamma", default.gamma)?,
        })
    }
}

impl Layer for LayerNormalization {
    fn config(&self) -> Config {
        let config = Config::new("LayerNormalization")
            .with("axis", one_or_list(&self.axes))
            .with("epsilon", self.epsilon)
            .with("center", self.center)
            .with("scale", self.scale);
        write_weights(config, &[("beta", &self.beta), ("gamma", &self.gamma)])
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let class = "LayerNormalization";
        let spec = one(class, inputs)?;
        dtype(class, spec, cx.dtype())?;
        if !self.epsilon.is_finite() || self.epsilon < 0.0 {
            return Err(Error::value(class, "an epsilon of at least 0", self.epsilon.to_string())
                .advice("give a small number, or leave it out: it has a default"));
        }
        let mut shape = Vec::new();
        for axis in axes_in(class, &self.axes, spec.rank())? {
            shape.push(cx.known(class, spec, axis as isize, &format!("axis {axis}"))?);
        }
        if self.scale {
            self.gamma.add(cx, "gamma", shape.clone())?;
        }
        if self.center {
            self.beta.add(cx, "beta", shape)?;
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        axes_in("LayerNormalization", &self.axes, one("LayerNormalization", inputs)?.rank())?;
        same_spec("LayerNormalization", inputs)
    }

    fn casts_integers(&self, _: IntegerInputs) -> bool {
        true
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("LayerNormalization", inputs)?;
        let shape = x.shape()?;
        let axes = axes_in("LayerNormalization", &self.axes, shape.len())?;
        let lens = shape.iter().enumerate();
        let wide: Vec<isize> =
            lens.map(|(i, &len)| if axes.contains(&i) { len as isize } else { 1 }).collect();
        let axes: Vec<isize> = axes.into_iter().map(|axis| axis as isize).collect();
        let centred = x - &k::mean(x, &axes, true);
        let variance = k::mean(&k::square(&centred), &axes, true);
        let mut y = centred * k::rsqrt(&(variance + self.epsilon));
        if let Some(gamma) = cx.weight_if_any("gamma")? {
            y = y * k::reshape(&gamma, &wide);
        }
        if let Some(beta) = cx.weight_if_any("beta")? {
            y = y + k::reshape(&beta, &wide);
        }
        Ok(vec![y])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// x / √max(Σx², 1e-12) over one or several axes (tf.keras): any shape to the same shape, with length 1.
///
/// ```
/// use keras_core::layers::{Input, UnitNormalization};
/// let x = Input::new([10, 64]).tensor()?;
/// assert_eq!(UnitNormalization::new().axis(1).call(&x)?.spec()?.shape, [None, Some(10), Some(64)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct UnitNormalization {
    base: Base,
    axes: Vec<isize>,
}

impl UnitNormalization {
    /// Length 1 along the last axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), axes: vec![-1] }
    }

    /// The axis; default −1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axes = vec![axis];
        self
    }

    /// Several axes whose elements together have length 1.
    pub fn axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.axes = axes.into();
        self
    }
}

crate::layer_verbs!(UnitNormalization);

impl Read for UnitNormalization {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { base: Base::read(reader)?, axes: read_axes(reader, &[-1])? })
    }
}

impl Layer for UnitNormalization {
    fn config(&self) -> Config {
        Config::new("UnitNormalization").with("axis", one_or_list(&self.axes))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        axes_in("UnitNormalization", &self.axes, one("UnitNormalization", inputs)?.rank())?;
        same_spec("UnitNormalization", inputs)
    }

    fn casts_integers(&self, _: IntegerInputs) -> bool {
        true
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("UnitNormalization", inputs)?;
        let squares = k::sum(&k::square(x), &self.axes, true);
        Ok(vec![x * &k::rsqrt(&k::maximum(&squares, &k::number(&squares, 1e-12)))])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}
