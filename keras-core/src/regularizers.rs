//! Regularizers: penalties that weights, or the results of layers, add to the loss.

use crate::error::{Error, Result};
use crate::k;
use crate::kinds::{function_name, kind};
use crate::registry::{Config, Reader, Registry, finite};
use crate::tensor::Tensor;

/// A scalar penalty of a tensor.
pub trait Regularizer: Send + Sync {
    /// The penalty, a scalar.
    fn call(&self, w: &Tensor) -> Tensor;

    /// Class name and arguments.
    fn config(&self) -> Config;
}

kind!(
    Regularizer,
    RegularizerRef,
    RegularizerSpec,
    REGISTRY,
    to_value = |this: &dyn Regularizer| this.config().to_value()
);

/// A Rust function of a tensor is a regularizer under its own name.
impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Regularizer for F {
    fn call(&self, w: &Tensor) -> Tensor {
        self(w)
    }
    fn config(&self) -> Config {
        Config::new(function_name::<F>())
    }
}

/// `l1·Σ|w| + l2·Σw²`; there is no ½.
///
/// ```
/// use keras_core::regularizers::{Regularizer, l2};
/// assert_eq!(l2(0.01).config().to_value().to_string(),
///     r#"{"class_name":"L1L2","config":{"l1":0.0,"l2":0.009999999776482582}}"#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct L1L2 {
    /// The factor of Σ|w|.
    pub l1: f64,
    /// The factor of Σw².
    pub l2: f64,
}

/// `factor·Σ|w|`; Keras's default factor is 0.01.
pub fn l1(factor: f64) -> L1L2 {
    L1L2 { l1: factor, l2: 0.0 }
}

/// `factor·Σw²`; Keras's default factor is 0.01.
pub fn l2(factor: f64) -> L1L2 {
    L1L2 { l1: 0.0, l2: factor }
}

/// `l1·Σ|w| + l2·Σw²`; Keras's default factors are 0.01.
pub fn l1_l2(l1: f64, l2: f64) -> L1L2 {
    L1L2 { l1, l2 }
}

impl Regularizer for L1L2 {
    fn call(&self, w: &Tensor) -> Tensor {
        if let Err(error) = finite("L1L2", &[("l1", self.l1), ("l2", self.l2)]) {
            return Tensor::poisoned(error);
        }
        let first = || k::sum(&(k::abs(w) * self.l1), &[], false);
        let second = || k::sum(&(k::square(w) * self.l2), &[], false);
        match (self.l1 == 0.0, self.l2 == 0.0) {
            (true, true) => k::number(w, 0.0),
            (false, true) => first(),
            (true, false) => second(),
            (false, false) => first() + second(),
        }
    }

    fn config(&self) -> Config {
        Config::new("L1L2").with("l1", in_floatx(self.l1)).with("l2", in_floatx(self.l2))
    }
}

/// A number as Keras saves it: rounded to the default float type.
pub(crate) fn in_floatx(value: f64) -> f64 {
    if k::floatx() == crate::DType::F32 { f64::from(value as f32) } else { value }
}

fn read(config: &Config, first: (&str, f64), second: (&str, f64)) -> Result<RegularizerRef> {
    let mut reader = config.reader();
    let mut factor = |(key, default): (&str, f64)| -> Result<f64> {
        if key.is_empty() { Ok(default) } else { not_negative(&mut reader, key, default) }
    };
    let made = L1L2 { l1: factor(first)?, l2: factor(second)? };
    reader.finish()?;
    Ok(RegularizerRef::new(made))
}

fn not_negative(reader: &mut Reader<'_>, key: &str, default: f64) -> Result<f64> {
    let value = reader.float(key, default)?;
    if value >= 0.0 { Ok(value) } else { Err::<f64, Error>(reader.wrong(key, "a number of at least 0")) }
}

static REGISTRY: Registry<RegularizerRef> = Registry::new(
    "regularizer",
    &[
        ("L1L2", |config| read(config, ("l1", 0.0), ("l2", 0.0))),
        ("l1", |config| read(config, ("l", 0.01), ("", 0.0))),
        ("l2", |config| read(config, ("", 0.0), ("l", 0.01))),
        ("l1_l2", |config| read(config, ("l1", 0.01), ("l2", 0.01))),
        // tf.keras's classes.
        ("L1", |config| read(config, ("l1", 0.01), ("", 0.0))),
        ("L2", |config| read(config, ("", 0.0), ("l2", 0.01))),
    ],
);
