//! `Dense`, `Activation`, `Dropout`, `ActivityRegularization`, `Masking`.

use super::affine::{Affine, activation_value, affine_verbs};
use super::check::{at_least_rank, known, one};
use super::registry::Read;
use super::{Base, Build, Call, Layer, ShapeArgument, read_shape};
use crate::activations::ActivationSpec;
use crate::error::{Error, Result};
use crate::graph::Distribution;
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, l1_l2};
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// activation(x · kernel + bias) along the last axis: `(batch, …, features)` to `(batch, …, units)`.
///
/// Weights: `kernel (features, units)`, `bias (units,)`. Inputs of more than two axes are not flattened.
///
/// ```
/// use keras_core::layers::{Dense, Input};
/// let x = Input::new([784]).tensor()?;
/// let y = Dense::new(64).activation("relu").kernel_initializer("he_normal").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(64)]);
/// let error = Dense::new(64).name("hidden").activation("rulu").call(&x).unwrap_err();
/// assert!(error.to_string().starts_with("layer hidden at "), "{error}");
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dense {
    base: Base,
    units: usize,
    affine: Affine,
}

impl Dense {
    /// A layer with that many results.
    pub fn new(units: usize) -> Self {
        Self { base: Base::default(), units, affine: Affine::default() }
    }

    /// The same as `input_shape([features])`.
    pub fn input_dim(self, features: usize) -> Self {
        self.input_shape([features])
    }

    /// The number of results.
    pub fn units(&self) -> usize {
        self.units
    }
}

crate::layer_verbs!(Dense);
affine_verbs!([] Dense);

impl Read for Dense {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        Ok(Self { base, units: reader.required_count("units")?, affine: Affine::read(reader)? })
    }
}

impl Layer for Dense {
    fn config(&self) -> Config {
        self.affine.write(Config::new("Dense").with("units", self.units))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let spec = at_least_rank("Dense", inputs, 2)?;
        let features = known("Dense", spec, spec.shape.last().copied().flatten(), "last axis")?;
        self.affine.build("Dense", cx, spec, &[features, self.units])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let mut spec = at_least_rank("Dense", inputs, 2)?.clone();
        if let Some(last) = spec.shape.last_mut() {
            *last = Some(self.units);
        }
        Ok(Some(vec![spec]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let y = k::dot(one("Dense", inputs)?, &cx.weight("kernel")?);
        let y = self.affine.add_bias(cx, y)?;
        Ok(vec![self.affine.activation()?.0.call(&y)])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}

/// An activation function as a layer: any shape to the same shape.
///
/// ```
/// use keras_core::layers::{Activation, Input};
/// let x = Input::new([10]).tensor()?;
/// assert_eq!(Activation::new("softmax").call(&x)?.spec()?.shape, [None, Some(10)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Activation {
    base: Base,
    activation: ActivationSpec,
}

impl Activation {
    /// `"relu"`, `activations::Relu`, a function of a tensor.
    pub fn new(activation: impl Into<ActivationSpec>) -> Self {
        Self { base: Base::default(), activation: activation.into() }
    }
}

crate::layer_verbs!(Activation);

impl Read for Activation {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        Ok(Self { base, activation: ActivationSpec::read(reader, "activation", ActivationSpec::default())? })
    }
}

impl Layer for Activation {
    fn config(&self) -> Config {
        Config::new("Activation").with("activation", activation_value(&self.activation))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        self.activation.resolve().map(|_| ())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("Activation", inputs)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![self.activation.resolve()?.call(one("Activation", inputs)?)])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

fn same_spec(class: &str, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
    Ok(Some(vec![one(class, inputs)?.clone()]))
}

/// In training, sets each element to 0 with probability `rate` and multiplies the others by 1/(1 − rate) (Srivastava
/// et al., 2014); otherwise it changes nothing. Any shape to the same shape.
///
/// As in Keras, a rate is clipped to 0..=1, and both 0 and 1 change nothing.
///
/// ```
/// use keras_core::layers::{Dropout, Input};
/// let x = Input::new([10, 32]).tensor()?;
/// // One draw per feature for all ten steps of a sample.
/// let y = Dropout::new(0.5).noise_shape([None, Some(1), None]).seed(7).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    base: Base,
    rate: f64,
    noise_shape: Option<Vec<Option<usize>>>,
    seed: Option<i64>,
}

impl Dropout {
    /// The fraction of elements to drop.
    pub fn new(rate: f64) -> Self {
        // NaN stays, and is refused when the layer is built.
        Self { base: Base::default(), rate: rate.clamp(0.0, 1.0), noise_shape: None, seed: None }
    }

    /// The shape of the mask, batch first: 1 where elements share a draw, `None` where the axis has its own length.
    pub fn noise_shape(mut self, shape: impl Into<ShapeArgument>) -> Self {
        self.noise_shape = Some(shape.into().0);
        self
    }

    /// A seed of the layer's own: its draws then do not depend on the layer's name.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The shape of the mask for an input of that shape.
    fn mask_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let Some(noise_shape) = &self.noise_shape else { return Ok(input.to_vec()) };
        let lens = noise_shape.iter().zip(input).map(|(len, &own)| len.unwrap_or(own));
        let shape: Vec<usize> = lens.collect();
        let fits = noise_shape.len() == input.len()
            && shape.iter().zip(input).all(|(&len, &own)| len == 1 || len == own);
        if !fits {
            let received = crate::tensor::shape_text(noise_shape);
            return Err(Error::shape(
                "Dropout",
                format!("a noise_shape that broadcasts to {input:?}"),
                received,
            ));
        }
        Ok(shape)
    }
}

crate::layer_verbs!(Dropout);

impl Read for Dropout {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        if reader.value("rate").is_none() {
            return Err(reader.wrong("rate", "a number from 0 to 1"));
        }
        let mut layer = Self::new(reader.float("rate", 0.0)?);
        if let Some(shape) = reader.value("noise_shape") {
            let shape = read_shape(shape)
                .ok_or_else(|| reader.wrong("noise_shape", "a list of lengths and nulls"))?;
            layer.noise_shape = Some(shape);
        }
        layer.seed = reader.integer_or_none("seed")?;
        layer.base = base;
        Ok(layer)
    }
}

impl Layer for Dropout {
    fn config(&self) -> Config {
        Config::new("Dropout")
            .with("rate", self.rate)
            .with("noise_shape", json!(self.noise_shape))
            .with("seed", json!(self.seed))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, inputs: &[Spec]) -> Result<()> {
        if self.rate.is_nan() {
            return Err(Error::value("Dropout", "a rate from 0 to 1", "NaN"));
        }
        let spec = one("Dropout", inputs)?;
        // Open axes fit whatever the mask says; they are checked again in every trace.
        let noise = self.noise_shape.as_deref().unwrap_or(&spec.shape);
        let lens: Vec<usize> =
            spec.shape.iter().zip(noise).map(|(own, len)| own.or(*len).unwrap_or(1)).collect();
        self.mask_shape(&lens).map(|_| ())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("Dropout", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("Dropout", inputs)?;
        if !cx.training() || self.rate <= 0.0 || self.rate >= 1.0 {
            return Ok(vec![x.clone()]);
        }
        let (shape, dtype) = (self.mask_shape(&x.shape()?)?, x.dtype()?);
        let draw = match self.seed {
            Some(seed) => cx.seeded_random(seed, "mask", &shape, dtype, Distribution::Uniform)?,
            None => cx.random("mask", &shape, dtype, Distribution::Uniform)?,
        };
        let kept = k::greater_equal(&draw, &k::number(&draw, self.rate));
        Ok(vec![x * &(k::cast(&kept, dtype) * (1.0 / (1.0 - self.rate)))])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// Hands its input on, with l1·Σ|x| + l2·Σx² added to the loss.
///
/// ```
/// use keras_core::layers::{ActivityRegularization, Input};
/// let x = Input::new([10]).tensor()?;
/// assert_eq!(ActivityRegularization::new(0.01, 0.0).call(&x)?.spec()?.shape, [None, Some(10)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ActivityRegularization {
    base: Base,
    l1: f64,
    l2: f64,
}

impl ActivityRegularization {
    /// A penalty of those factors on absolute values and on squares.
    pub fn new(l1: f64, l2: f64) -> Self {
        Self { base: Base::default(), l1, l2 }
    }
}

crate::layer_verbs!(ActivityRegularization);

impl Read for ActivityRegularization {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        Ok(Self { base, l1: reader.float("l1", 0.0)?, l2: reader.float("l2", 0.0)? })
    }
}

impl Layer for ActivityRegularization {
    fn config(&self) -> Config {
        Config::new("ActivityRegularization").with("l1", self.l1).with("l2", self.l2)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("ActivityRegularization", inputs)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![one("ActivityRegularization", inputs)?.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        Some(RegularizerRef::new(l1_l2(self.l1, self.l2)))
    }
}

/// Masks the steps of `(batch, steps, …, features)` whose features all equal `mask_value`, and sets them to 0. Layers
/// behind it that support masks skip those steps.
///
/// ```
/// use keras_core::layers::{Input, Masking};
/// let x = Input::new([10, 8]).tensor()?;
/// assert!(Masking::new(0.0).call(&x)?.is_masked());
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Masking {
    base: Base,
    mask_value: f64,
}

impl Masking {
    /// Steps of that value do not count.
    pub fn new(mask_value: f64) -> Self {
        Self { base: Base::default(), mask_value }
    }

    fn kept(&self, x: &Tensor, keepdims: bool) -> Tensor {
        k::any(&k::not_equal(x, &k::number(x, self.mask_value)), &[-1], keepdims)
    }
}

crate::layer_verbs!(Masking);

impl Read for Masking {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        Ok(Self { base, mask_value: reader.float("mask_value", 0.0)? })
    }
}

impl Layer for Masking {
    fn config(&self) -> Config {
        Config::new("Masking").with("mask_value", self.mask_value)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        at_least_rank("Masking", inputs, 2)?;
        same_spec("Masking", inputs)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("Masking", inputs)?;
        Ok(vec![x * &k::cast(&self.kept(x, true), x.dtype()?)])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn creates_mask(&self) -> bool {
        true
    }

    fn compute_mask(&self, _: &mut Call, inputs: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.kept(one("Masking", inputs)?, false))])
    }
}
