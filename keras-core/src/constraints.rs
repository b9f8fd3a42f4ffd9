//! Constraints: projections of weights, applied to the new value after every update.

use crate::error::{Error, Result};
use crate::k;
use crate::kinds::{function_name, kind};
use crate::registry::{Config, Reader, Registry, finite};
use crate::tensor::Tensor;

/// A projection of a weight.
pub trait Constraint: Send + Sync {
    /// The weight that takes w's place, of the same shape.
    fn call(&self, w: &Tensor) -> Tensor;

    /// Class name and arguments.
    fn config(&self) -> Config;
}

kind!(
    Constraint,
    ConstraintRef,
    ConstraintSpec,
    REGISTRY,
    to_value = |this: &dyn Constraint| this.config().to_value()
);

/// A Rust function of a tensor is a constraint under its own name.
impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Constraint for F {
    fn call(&self, w: &Tensor) -> Tensor {
        self(w)
    }
    fn config(&self) -> Config {
        Config::new(function_name::<F>())
    }
}

/// The axes along which norms are taken: all but the one that counts units. One axis is written as a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes(pub Vec<isize>);

impl From<isize> for Axes {
    fn from(axis: isize) -> Self {
        Self(vec![axis])
    }
}

impl<const N: usize> From<[isize; N]> for Axes {
    fn from(axes: [isize; N]) -> Self {
        Self(axes.to_vec())
    }
}

impl Axes {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self(reader.integers("axis", &[0])?.into_iter().map(|axis| axis as isize).collect()))
    }

    fn to_value(&self) -> serde_json::Value {
        match self.0.as_slice() {
            [one] => (*one).into(),
            several => several.to_vec().into(),
        }
    }

    /// √Σw² along the axes, kept with length 1.
    fn norms(&self, w: &Tensor) -> Tensor {
        k::sqrt(&k::sum(&k::square(w), &self.0, true))
    }
}

/// Norms of at most `max_value`: w·clip(n, 0, max)/(ε + n), n = √Σw² along the axes.
///
/// Axis 0 suits the kernel (inputs, units) of a dense layer, [0, 1, 2] that of a 2-D convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxNorm {
    /// The largest norm; default 2.
    pub max_value: f64,
    /// The axes of one unit's weights; default 0.
    pub axis: Axes,
}

/// Norms of at most `max_value` along axis 0; Keras's default is 2.
pub fn max_norm(max_value: f64) -> MaxNorm {
    MaxNorm { max_value, axis: 0.into() }
}

impl MaxNorm {
    /// The axes of one unit's weights; default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for MaxNorm {
    fn call(&self, w: &Tensor) -> Tensor {
        if let Err(error) = finite("MaxNorm", &[("max_value", self.max_value)]) {
            return Tensor::poisoned(error);
        }
        let norms = self.axis.norms(w);
        let desired = k::clip(&norms, 0.0, self.max_value);
        w * (desired / (norms + crate::config::epsilon()))
    }

    fn config(&self) -> Config {
        Config::new("MaxNorm").with("max_value", self.max_value).with("axis", self.axis.to_value())
    }
}

/// No negative weights: w where w ≥ 0, else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NonNeg;

/// No negative weights.
pub fn non_neg() -> NonNeg {
    NonNeg
}

impl Constraint for NonNeg {
    fn call(&self, w: &Tensor) -> Tensor {
        match w.dtype() {
            Ok(dtype) => w * k::cast(&k::greater_equal(w, &k::number(w, 0.0)), dtype),
            Err(error) => Tensor::poisoned(error),
        }
    }

    fn config(&self) -> Config {
        Config::new("NonNeg")
    }
}

/// Norms of 1: w/(ε + n), n = √Σw² along the axes.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitNorm {
    /// The axes of one unit's weights; default 0.
    pub axis: Axes,
}

/// Norms of 1 along axis 0.
pub fn unit_norm() -> UnitNorm {
    UnitNorm { axis: 0.into() }
}

impl UnitNorm {
    /// The axes of one unit's weights; default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for UnitNorm {
    fn call(&self, w: &Tensor) -> Tensor {
        w / (self.axis.norms(w) + crate::config::epsilon())
    }

    fn config(&self) -> Config {
        Config::new("UnitNorm").with("axis", self.axis.to_value())
    }
}

/// Norms between two bounds: w·d/(ε + n), d = rate·clip(n, min, max) + (1 − rate)·n, n = √Σw² along the axes.
#[derive(Debug, Clone, PartialEq)]
pub struct MinMaxNorm {
    /// The smallest norm; default 0.
    pub min_value: f64,
    /// The largest norm; default 1.
    pub max_value: f64,
    /// How much of the way is gone at each update; default 1.
    pub rate: f64,
    /// The axes of one unit's weights; default 0.
    pub axis: Axes,
}

/// Norms between two bounds along axis 0; Keras's defaults are 0 and 1.
pub fn min_max_norm(min_value: f64, max_value: f64) -> MinMaxNorm {
    MinMaxNorm { min_value, max_value, rate: 1.0, axis: 0.into() }
}

impl MinMaxNorm {
    /// How much of the way is gone at each update; default 1.
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// The axes of one unit's weights; default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for MinMaxNorm {
    fn call(&self, w: &Tensor) -> Tensor {
        let arguments = [("min_value", self.min_value), ("max_value", self.max_value), ("rate", self.rate)];
        if let Err(error) = finite("MinMaxNorm", &arguments) {
            return Tensor::poisoned(error);
        }
        let norms = self.axis.norms(w);
        let desired =
            k::clip(&norms, self.min_value, self.max_value) * self.rate + &norms * (1.0 - self.rate);
        w * (desired / (norms + crate::config::epsilon()))
    }

    fn config(&self) -> Config {
        Config::new("MinMaxNorm")
            .with("min_value", self.min_value)
            .with("max_value", self.max_value)
            .with("rate", self.rate)
            .with("axis", self.axis.to_value())
    }
}

type Read<T> = fn(&mut Reader<'_>) -> Result<T>;

fn made<T: Constraint + 'static>(config: &Config, read: Read<T>) -> Result<ConstraintRef> {
    let mut reader = config.reader();
    let made = read(&mut reader)?;
    reader.finish()?;
    Ok::<_, Error>(ConstraintRef::new(made))
}

fn read_max_norm(config: &Config) -> Result<ConstraintRef> {
    made(config, |r| Ok(MaxNorm { max_value: r.float("max_value", 2.0)?, axis: Axes::read(r)? }))
}

fn read_non_neg(config: &Config) -> Result<ConstraintRef> {
    made(config, |_| Ok(NonNeg))
}

fn read_unit_norm(config: &Config) -> Result<ConstraintRef> {
    made(config, |r| Ok(UnitNorm { axis: Axes::read(r)? }))
}

fn read_min_max_norm(config: &Config) -> Result<ConstraintRef> {
    made(config, |r| {
        Ok(MinMaxNorm {
            min_value: r.float("min_value", 0.0)?,
            max_value: r.float("max_value", 1.0)?,
            rate: r.float("rate", 1.0)?,
            axis: Axes::read(r)?,
        })
    })
}

static REGISTRY: Registry<ConstraintRef> = Registry::new(
    "constraint",
    &[
        ("MaxNorm", read_max_norm),
        ("max_norm", read_max_norm),
        ("maxnorm", read_max_norm),
        ("NonNeg", read_non_neg),
        ("non_neg", read_non_neg),
        ("nonneg", read_non_neg),
        ("UnitNorm", read_unit_norm),
        ("unit_norm", read_unit_norm),
        ("unitnorm", read_unit_norm),
        ("MinMaxNorm", read_min_max_norm),
        ("min_max_norm", read_min_max_norm),
    ],
);
