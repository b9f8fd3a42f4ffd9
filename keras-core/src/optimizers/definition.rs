//! What the definitions of optimizers share: arguments with setters, and their reading from configs.

use crate::error::Result;
use crate::registry::Reader;
use serde_json::Value;

/// The learning rate under its name of 2.3, or of 2.2 and before.
pub(super) fn read_rate(reader: &mut Reader<'_>, default: f64) -> Result<f64> {
    let old = reader.float("lr", default)?;
    if let Some(schedule) = reader.value("learning_rate").filter(|value| value.is_object()) {
        return Err(reader
            .wrong("learning_rate", "a number")
            .advice(format!("replace the schedule {schedule} by a LearningRateScheduler callback")));
    }
    reader.float("learning_rate", old)
}

/// What tf.keras writes besides, where it says that nothing is different: no weight decay, no averaging, no momentum.
pub(super) fn read_inert(reader: &mut Reader<'_>) -> Result<()> {
    reader.ignore(&["name", "jit_compile", "is_legacy_optimizer", "ema_momentum", "ema_overwrite_frequency"]);
    for key in [
        "weight_decay",
        "global_clipnorm",
        "use_ema",
        "centered",
        "loss_scale_factor",
        "gradient_accumulation_steps",
    ] {
        let inert = match reader.inert(key) {
            None | Some(Value::Bool(false)) => true,
            Some(value) => value.as_f64() == Some(0.0),
        };
        if !inert {
            return Err(reader.wrong(key, "null").advice(
                "this option exists only in tf.keras: leave it out, or load the model with compile(false)",
            ));
        }
    }
    Ok(())
}

/// A definition with Keras's arguments: numbers that may change in training, then constants, then the clip limits.
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $class:ident {
            rate = $rate:literal;
            $($(#[$hyper_doc:meta])* $hyper:ident = $hyper_default:literal;)*
        }
        constants { $($(#[$constant_doc:meta])* $constant:ident: $type:ty = $constant_default:expr;)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $class {
            pub(super) learning_rate: f64,
            $(pub(super) $hyper: f64,)*
            $(pub(super) $constant: $type,)*
            pub(super) clipping: $crate::optimizers::Clipping,
        }

        impl Default for $class {
            fn default() -> Self {
                Self {
                    learning_rate: $rate,
                    $($hyper: $hyper_default,)*
                    $($constant: $constant_default,)*
                    clipping: $crate::optimizers::Clipping::default(),
                }
            }
        }

        impl $class {
            /// With Keras's defaults.
            pub fn new() -> Self {
                Self::default()
            }

            #[doc = concat!("The learning rate, at least 0; default ", stringify!($rate), ".")]
            pub fn learning_rate(mut self, rate: f64) -> Self {
                self.learning_rate = rate;
                self
            }

            /// The learning rate by its name before Keras 2.3.
            pub fn lr(self, rate: f64) -> Self {
                self.learning_rate(rate)
            }

            $($(#[$hyper_doc])*
            pub fn $hyper(mut self, $hyper: f64) -> Self {
                self.$hyper = $hyper;
                self
            })*

            $($(#[$constant_doc])*
            pub fn $constant(mut self, $constant: $type) -> Self {
                self.$constant = $constant;
                self
            })*

            /// Shrinks all gradients together to this length where they are longer.
            pub fn clipnorm(mut self, norm: f64) -> Self {
                self.clipping.norm = Some(norm);
                self
            }

            /// Clips every element of the gradients to ± this.
            pub fn clipvalue(mut self, value: f64) -> Self {
                self.clipping.value = Some(value);
                self
            }

            pub(super) fn read(config: &$crate::registry::Config) -> $crate::error::Result<Self> {
                let mut reader = config.reader();
                let plain = Self::default();
                let made = Self {
                    learning_rate: $crate::optimizers::definition::read_rate(&mut reader, plain.learning_rate)?,
                    $($hyper: reader.float(stringify!($hyper), plain.$hyper)?,)*
                    $($constant: $crate::optimizers::definition::Constant::read(&mut reader, stringify!($constant), plain.$constant)?,)*
                    clipping: $crate::optimizers::Clipping {
                        norm: reader.float_or_none("clipnorm")?,
                        value: reader.float_or_none("clipvalue")?,
                    },
                };
                $crate::optimizers::definition::read_inert(&mut reader)?;
                reader.finish()?;
                Ok(made)
            }

            fn hyperparameters_of(&self) -> Vec<(&'static str, f64)> {
                vec![("learning_rate", self.learning_rate), $((stringify!($hyper), self.$hyper)),*]
            }

            fn constants_of(&self) -> Vec<(&'static str, serde_json::Value)> {
                vec![$((stringify!($constant), self.$constant.into())),*]
            }
        }
    };
}
pub(super) use optimizer;

/// The parts of [`Optimizer`](super::Optimizer) that [`optimizer!`] knows.
macro_rules! described {
    ($class:literal) => {
        fn class_name(&self) -> &str {
            $class
        }
        fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
            self.hyperparameters_of()
        }
        fn constants(&self) -> Vec<(&'static str, serde_json::Value)> {
            self.constants_of()
        }
        fn clipping(&self) -> $crate::optimizers::Clipping {
            self.clipping
        }
    };
}
pub(super) use described;

/// Reads a constant argument.
pub(super) trait Constant: Sized {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self>;
}

impl Constant for bool {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.boolean(key, default)
    }
}

impl Constant for f64 {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.float(key, default)
    }
}
