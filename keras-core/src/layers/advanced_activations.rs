//! Activations with arguments or weights: `LeakyReLU`, `PReLU`, `ELU`, `ThresholdedReLU`, `Softmax`, `ReLU`.

use super::affine::{Weighted, weight_verbs, write_weights};
use super::check::{dtype, one, same_spec};
use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::in_floatx;
use crate::semantics::MaskedValues;
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// The spec of a floating point input; what becomes of whole numbers is found by tracing.
fn float_spec(class: &str, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
    if one(class, inputs)?.dtype.is_float() { same_spec(class, inputs) } else { Ok(None) }
}

macro_rules! elementwise {
    ($($(#[$doc:meta])* $type:ident, $argument:ident = $default:literal, $meaning:literal, |$x:ident, $value:ident| $formula:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type {
            base: Base,
            $argument: f64,
        }

        impl $type {
            #[doc = concat!("With the default ", stringify!($argument), ", ", stringify!($default), ".")]
            #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
            pub fn new() -> Self {
                Self { base: Base::default(), $argument: $default }
            }

            #[doc = $meaning]
            pub fn $argument(mut self, $argument: f64) -> Self {
                self.$argument = $argument;
                self
            }
        }

        crate::layer_verbs!($type);

        impl Read for $type {
            fn read(reader: &mut Reader<'_>) -> Result<Self> {
                let base = Base::read(reader)?;
                Ok(Self { base, $argument: reader.float(stringify!($argument), $default)? })
            }
        }

        impl Layer for $type {
            fn config(&self) -> Config {
                Config::new(stringify!($type)).with(stringify!($argument), in_floatx(self.$argument))
            }

            fn base(&self) -> Option<&Base> {
                Some(&self.base)
            }

            fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
                if self.$argument.is_finite() {
                    return Ok(());
                }
                let received = self.$argument.to_string();
                Err(Error::value(stringify!($type), concat!("a finite ", stringify!($argument)), received)
                    .advice("give a number, or leave it out: it has a default"))
            }

            fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
                float_spec(stringify!($type), inputs)
            }

            fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
                let ($x, $value) = (one(stringify!($type), inputs)?, self.$argument);
                Ok(vec![$formula])
            }

            fn supports_masking(&self) -> bool {
                true
            }
        }
    )*};
}

elementwise! {
    /// x where x > 0, else `alpha`·x (Maas et al., 2013); any shape to the same shape.
    ///
    /// ```
    /// use keras_core::layers::{Input, LeakyReLU};
    /// let x = Input::new([10]).tensor()?;
    /// assert_eq!(LeakyReLU::new().alpha(0.1).call(&x)?.spec()?.shape, [None, Some(10)]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    LeakyReLU, alpha = 0.3, "The slope below 0; default 0.3.", |x, alpha| k::relu(x, alpha, None, 0.0);
    /// x where x > 0, else `alpha`·(eˣ − 1) (Clevert et al., 2015); any shape to the same shape.
    ELU, alpha = 1.0, "What the negative side tends to, negated; default 1.", |x, alpha| k::elu(x, alpha);
    /// x where x > `theta`, else 0 (Konda et al., 2014); any shape to the same shape.
    ThresholdedReLU, theta = 1.0, "The threshold; default 1.",
    |x, theta| x * &k::cast(&k::greater(x, &k::number(x, theta)), x.dtype()?);
}

/// `max_value` where x is at least that, x where it is above `threshold`, else `negative_slope`·(x − `threshold`); any
/// shape to the same shape.
///
/// ```
/// use keras_core::layers::{Input, ReLU};
/// let x = Input::new([10]).tensor()?;
/// assert_eq!(ReLU::new().max_value(6.0).call(&x)?.spec()?.shape, [None, Some(10)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ReLU {
    base: Base,
    max_value: Option<f64>,
    negative_slope: f64,
    threshold: f64,
}

impl ReLU {
    /// max(x, 0).
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), max_value: None, negative_slope: 0.0, threshold: 0.0 }
    }

    /// The largest result, at least 0; default none.
    pub fn max_value(mut self, max_value: f64) -> Self {
        self.max_value = Some(max_value);
        self
    }

    /// The slope below the threshold, at least 0; default 0.
    pub fn negative_slope(mut self, slope: f64) -> Self {
        self.negative_slope = slope;
        self
    }

    /// Where x begins to pass, at least 0; default 0.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }
}

crate::layer_verbs!(ReLU);

impl Read for ReLU {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            max_value: reader.float_or_none("max_value")?,
            negative_slope: reader.float("negative_slope", 0.0)?,
            threshold: reader.float("threshold", 0.0)?,
        })
    }
}

impl Layer for ReLU {
    fn config(&self) -> Config {
        Config::new("ReLU")
            .with("max_value", json!(self.max_value.map(in_floatx)))
            .with("negative_slope", in_floatx(self.negative_slope))
            .with("threshold", in_floatx(self.threshold))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        let arguments = [self.max_value.unwrap_or(0.0), self.negative_slope, self.threshold];
        if arguments.iter().all(|value| *value >= 0.0 && value.is_finite()) {
            return Ok(());
        }
        let most = self.max_value.map_or("none".to_owned(), |most| most.to_string());
        let received = format!("{most}, {} and {}", self.negative_slope, self.threshold);
        Err(Error::value("ReLU", "max_value, negative_slope and threshold of at least 0", received)
            .advice("leave out what you do not need: all three have defaults"))
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        float_spec("ReLU", inputs)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("ReLU", inputs)?;
        Ok(vec![k::relu(x, self.negative_slope, self.max_value, self.threshold)])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// eˣ / Σ eˣ along an axis, or over several; any shape to the same shape.
///
/// ```
/// use keras_core::layers::{Input, Softmax};
/// let x = Input::new([4, 10]).tensor()?;
/// assert_eq!(Softmax::new().axis(1).call(&x)?.spec()?.shape, [None, Some(4), Some(10)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Softmax {
    base: Base,
    axes: Vec<isize>,
}

impl Softmax {
    /// Along the last axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), axes: vec![-1] }
    }

    /// The axis, batch axis 0; negative ones count from the end. Default −1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axes = vec![axis];
        self
    }

    /// Several axes whose elements together sum to 1 (tf.keras).
    pub fn axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.axes = axes.into();
        self
    }
}

crate::layer_verbs!(Softmax);

impl Read for Softmax {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let axes = reader.integers("axis", &[-1])?;
        if axes.is_empty() {
            return Err(reader.wrong("axis", "an axis, or a list of them"));
        }
        Ok(Self { base, axes: axes.into_iter().map(|axis| axis as isize).collect() })
    }
}

/// What tf.keras adds to masked values, so that nothing of them is left.
const MASKED: f64 = -1e9;

impl Layer for Softmax {
    fn config(&self) -> Config {
        Config::new("Softmax").with("axis", super::options::one_or_list(&self.axes))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = one("Softmax", inputs)?;
        for &axis in &self.axes {
            k::axis_of(axis, spec.rank()).map_err(|error| error.within("Softmax"))?;
        }
        if spec.rank() < 2 {
            return Err(Error::shape("Softmax", "an input of rank 2 or more", spec.to_string()));
        }
        same_spec("Softmax", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut x = one("Softmax", inputs)?;
        let lowered;
        if let (Some(mask), MaskedValues::LeftOut) = (cx.mask(0), cx.semantics().masked_values) {
            lowered = x + (1.0 - k::cast(mask, x.dtype()?)) * MASKED;
            x = &lowered;
        }
        Ok(vec![match self.axes.as_slice() {
            [axis] => k::softmax(x, *axis),
            axes => k::exp(&(x - &k::logsumexp(x, axes, true))),
        }])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// x where x > 0, else alpha·x with an alpha that is learnt (He et al., 2015); any shape to the same shape.
///
/// Weight: `alpha`, of the input's shape without the batch axis, with length 1 on shared axes.
///
/// ```
/// use keras_core::layers::{Input, PReLU};
/// let x = Input::new([8, 8, 16]).tensor()?;
/// assert_eq!(PReLU::new().shared_axes([1, 2]).call(&x)?.spec()?.shape, [None, Some(8), Some(8), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PReLU {
    base: Base,
    alpha: Weighted,
    shared_axes: Option<Vec<usize>>,
}

impl PReLU {
    /// An alpha per element of a sample.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), alpha: Weighted::new("zeros"), shared_axes: None }
    }

    /// The axes, from 1, along which alpha is the same.
    pub fn shared_axes(mut self, axes: impl Into<Vec<usize>>) -> Self {
        self.shared_axes = Some(axes.into());
        self
    }
}

crate::layer_verbs!(PReLU);
weight_verbs!([] PReLU, alpha, "alpha", "zeros", alpha_initializer, alpha_regularizer, alpha_constraint);

impl Read for PReLU {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let alpha = Weighted::read(reader, "alpha", Weighted::new("zeros"))?;
        let mut shared_axes = None;
        if reader.value("shared_axes").is_some() {
            let axes = reader.integers("shared_axes", &[])?.into_iter().map(usize::try_from);
            let axes = axes.collect::<Result<Vec<_>, _>>();
            shared_axes = Some(axes.map_err(|_| reader.wrong("shared_axes", "a list of axes from 1"))?);
        }
        Ok(Self { base, alpha, shared_axes })
    }
}

impl Layer for PReLU {
    fn config(&self) -> Config {
        let config = write_weights(Config::new("PReLU"), &[("alpha", &self.alpha)]);
        config.with("shared_axes", json!(self.shared_axes))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let spec = one("PReLU", inputs)?;
        dtype("PReLU", spec, cx.dtype())?;
        let shared = self.shared_axes.as_deref().unwrap_or_default();
        if shared.iter().any(|axis| !(1..spec.rank()).contains(axis)) {
            let expected = format!("shared_axes from 1 to {}", spec.rank().saturating_sub(1));
            return Err(Error::value("PReLU", expected, format!("{shared:?}"))
                .advice("the batch axis, 0, is always shared"));
        }
        let mut shape = Vec::new();
        for axis in 1..spec.rank() {
            let len =
                |cx: &mut Build| cx.known("PReLU", spec, axis as isize, &format!("unshared axis {axis}"));
            shape.push(if shared.contains(&axis) { 1 } else { len(cx)? });
        }
        self.alpha.add(cx, "alpha", shape)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("PReLU", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("PReLU", inputs)?;
        let relu = |x: &Tensor| k::relu(x, 0.0, None, 0.0);
        Ok(vec![relu(x) - cx.weight("alpha")? * relu(&-x)])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}
