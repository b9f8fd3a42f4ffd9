//! `Dense`, `Activation`, `Identity`, `ActivityRegularization`, `Masking`.

use super::affine::{Affine, activation_value, affine_verbs};
use super::check::{at_least_rank, one, same_spec};
use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::activations::ActivationSpec;
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, l1_l2};
use crate::semantics::IntegerInputs;
use crate::tensor::{Spec, Tensor};

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
        let features = cx.known("Dense", spec, -1, "last axis")?;
        self.affine.build("Dense", cx, spec, &[features, self.units])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let mut spec = at_least_rank("Dense", inputs, 2)?.clone();
        if let Some(last) = spec.shape.last_mut() {
            *last = Some(self.units);
        }
        Ok(Some(vec![spec]))
    }

    fn casts_integers(&self, _: IntegerInputs) -> bool {
        true
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let y = k::dot(one("Dense", inputs)?, &cx.weight("kernel")?);
        self.affine.finish(cx, y, DataFormat::ChannelsLast)
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

/// Hands its input on (tf.keras): any shape to the same shape.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    base: Base,
}

impl Identity {
    /// The layer.
    pub fn new() -> Self {
        Self::default()
    }
}

crate::layer_verbs!(Identity);

impl Read for Identity {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { base: Base::read(reader)? })
    }
}

impl Layer for Identity {
    fn config(&self) -> Config {
        Config::new("Identity")
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("Identity", inputs)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![one("Identity", inputs)?.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    /// None, as in tf.keras.
    fn compute_mask(&self, _: &mut Call, _: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
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
        if self.mask_value.is_nan() {
            return Err(Error::value("Masking", "a mask_value that numbers can equal", "NaN")
                .advice("fill the steps to be left out with a number, such as 0"));
        }
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
