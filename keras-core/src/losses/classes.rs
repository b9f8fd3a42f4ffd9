//! Keras 2.3's loss classes: a function with its arguments and a reduction. They are saved with both.

use super::crossentropy as ce;
use super::{Loss, Reduction, functions};
use crate::error::Result;
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::Tensor;
use serde_json::{Value, json};

/// Reads an argument of a class, and writes it.
trait Argument: Sized {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self>;
}

impl Argument for bool {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.boolean(key, default)
    }
}

impl Argument for f64 {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        let value = reader.float(key, default)?;
        if value >= 0.0 { Ok(value) } else { Err(reader.wrong(key, "a number of at least 0")) }
    }
}

macro_rules! class {
    (
        $(#[$doc:meta])*
        $class:ident = $function:literal $(named $default_name:literal)? {
            $($(#[$argument_doc:meta])* $argument:ident: $type:ty = $default:expr),* $(,)?
        }
        call |$this:ident, $y:ident, $p:ident| $call:expr;
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $class {
            reduction: Reduction,
            name: String,
            $($argument: $type,)*
        }

        impl Default for $class {
            fn default() -> Self {
                let name = $function;
                $(let name = { let _ = name; $default_name };)?
                Self { reduction: Reduction::default(), name: name.to_owned(), $($argument: $default,)* }
            }
        }

        impl $class {
            /// With Keras's defaults.
            pub fn new() -> Self {
                Self::default()
            }

            /// How the values of a batch become one number; default their sum divided by their number.
            pub fn reduction(mut self, reduction: Reduction) -> Self {
                self.reduction = reduction;
                self
            }

            /// The name of the object in configs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }

            $($(#[$argument_doc])*
            pub fn $argument(mut self, $argument: $type) -> Self {
                self.$argument = $argument;
                self
            })*

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let plain = Self::default();
                let made = Self {
                    reduction: Reduction::read(&mut reader)?,
                    name: reader.text("name", &plain.name)?,
                    $($argument: Argument::read(&mut reader, stringify!($argument), plain.$argument)?,)*
                };
                // tf.keras writes these; they say what is the case here.
                reader.ignore(&["fn"]);
                reader.only(&[("axis", json!(-1)), ("ignore_class", Value::Null)])?;
                reader.finish()?;
                Ok(made)
            }
        }

        impl Loss for $class {
            fn name(&self) -> &str {
                $function
            }
            fn call(&self, $y: &Tensor, $p: &Tensor) -> Tensor {
                let $this = self;
                $call
            }
            fn reduction(&self) -> Reduction {
                self.reduction
            }
            fn config(&self) -> Value {
                Config::new(stringify!($class))
                    .with("reduction", self.reduction.name())
                    .with("name", self.name.as_str())
                    $(.with(stringify!($argument), self.$argument))*
                    .to_value()
            }
        }
    };
}

macro_rules! plain {
    ($($(#[$doc:meta])* $class:ident = $function:ident $name:literal $(named $default_name:literal)?;)*) => {
        $(class! {
            $(#[$doc])*
            $class = $name $(named $default_name)? {}
            call |_this, y, p| functions::$function(y, p);
        })*
    };
}

plain! {
    /// [`mean_squared_error`](super::mean_squared_error) with a reduction.
    MeanSquaredError = mean_squared_error "mean_squared_error";
    /// [`mean_absolute_error`](super::mean_absolute_error) with a reduction.
    MeanAbsoluteError = mean_absolute_error "mean_absolute_error";
    /// [`mean_absolute_percentage_error`](super::mean_absolute_percentage_error) with a reduction.
    MeanAbsolutePercentageError = mean_absolute_percentage_error "mean_absolute_percentage_error";
    /// [`mean_squared_logarithmic_error`](super::mean_squared_logarithmic_error) with a reduction.
    MeanSquaredLogarithmicError = mean_squared_logarithmic_error "mean_squared_logarithmic_error";
    /// [`hinge`](super::hinge) with a reduction.
    Hinge = hinge "hinge";
    /// [`squared_hinge`](super::squared_hinge) with a reduction.
    SquaredHinge = squared_hinge "squared_hinge";
    /// [`categorical_hinge`](super::categorical_hinge) with a reduction.
    CategoricalHinge = categorical_hinge "categorical_hinge";
    /// [`poisson`](super::poisson) with a reduction.
    Poisson = poisson "poisson";
    /// [`logcosh`](super::logcosh) with a reduction.
    LogCosh = logcosh "logcosh";
    /// [`kullback_leibler_divergence`](super::kullback_leibler_divergence) with a reduction.
    KLDivergence = kullback_leibler_divergence "kullback_leibler_divergence";
}

class! {
    /// [`huber_loss`](super::huber_loss) with a reduction.
    Huber = "huber_loss" {
        /// Where the loss turns from quadratic to linear; default 1.
        delta: f64 = 1.0,
    }
    call |this, y, p| functions::huber_loss_of(y, p, this.delta);
}

class! {
    /// [`binary_crossentropy`](super::binary_crossentropy) with a reduction.
    BinaryCrossentropy = "binary_crossentropy" {
        /// Whether predictions are logits instead of probabilities; default false.
        from_logits: bool = false,
        /// How far targets move from 0 and 1 towards ½; default 0.
        label_smoothing: f64 = 0.0,
    }
    call |this, y, p| binary(y, p, this.from_logits, this.label_smoothing);
}

class! {
    /// [`categorical_crossentropy`](super::categorical_crossentropy) with a reduction.
    CategoricalCrossentropy = "categorical_crossentropy" {
        /// Whether predictions are logits instead of probabilities; default false.
        from_logits: bool = false,
        /// How far targets move from one-hot towards the even distribution; default 0.
        label_smoothing: f64 = 0.0,
    }
    call |this, y, p| categorical(y, p, this.from_logits, this.label_smoothing);
}

class! {
    /// [`sparse_categorical_crossentropy`](super::sparse_categorical_crossentropy) with a reduction.
    SparseCategoricalCrossentropy = "sparse_categorical_crossentropy" {
        /// Whether predictions are logits instead of probabilities; default false.
        from_logits: bool = false,
    }
    call |this, y, p| k::sparse_categorical_crossentropy(y, p, this.from_logits, -1);
}

/// Binary crossentropy with Keras 2.3's arguments.
#[track_caller]
pub(crate) fn binary(y_true: &Tensor, y_pred: &Tensor, from_logits: bool, smoothing: f64) -> Tensor {
    let y = ce::smoothed(y_true, y_pred, smoothing, Some(2.0));
    k::mean(&k::binary_crossentropy(&y, y_pred, from_logits), &[-1], false)
}

/// Categorical crossentropy with Keras 2.3's arguments.
#[track_caller]
pub(crate) fn categorical(y_true: &Tensor, y_pred: &Tensor, from_logits: bool, smoothing: f64) -> Tensor {
    let y = ce::smoothed(y_true, y_pred, smoothing, None);
    k::categorical_crossentropy(&y, y_pred, from_logits, -1)
}
