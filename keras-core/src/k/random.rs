//! Random tensors: `K.random_normal`, `K.dropout` and their relatives.

use super::{composed, operands};
use crate::array::DType;
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::graph::{Distribution, Type};
use crate::initializers::{Initializer, RandomNormal, RandomUniform};
use crate::k;
use crate::random::{Stream, fresh_seed, stream_id};
use crate::tensor::{Tensor, Trace};

/// What the functions that draw random numbers have in common: the element type and the seed.
///
/// Numbers differ from run to run. With a seed, every function and process has the same ones in its first run, the same in
/// its second, and so on, as have two draws of one seed in one run. Without one they follow
/// [`set_seed`](crate::random::set_seed), and in a model its own seed.
///
/// What is drawn without another tensor, inside the step of a loop such as [`rnn`](k::rnn), is the same in every step;
/// [`dropout`] differs from step to step.
///
/// ```
/// use keras_core::{DType, k};
/// let noise = k::random_normal(&[2, 3], 0.0, 0.1, k::Draw::new().seed(7));
/// assert_eq!(noise.dtype()?, DType::F32);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Draw {
    dtype: Option<DType>,
    seed: Option<i64>,
}

impl Draw {
    /// The default float type, and no seed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The element type; default that of [`floatx`](k::floatx).
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// The seed; default none.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }

    fn dtype_or_float(self) -> DType {
        self.dtype.unwrap_or_else(k::floatx)
    }
}

/// Numbers of a seed, or of the next stream of the trace.
fn draw(
    trace: &Trace,
    seed: Option<i64>,
    shape: &[usize],
    dtype: DType,
    distribution: Distribution,
) -> Result<Tensor> {
    let path = format!("{}k.random", trace.path());
    let stream = match seed {
        Some(_) => stream_id("k.random", 0, distribution.name()),
        None => stream_id(&path, trace.count_call(&path), distribution.name()),
    };
    trace.random_of(seed, stream, &Type::new(shape, dtype), distribution)
}

fn finite(name: &str, numbers: [f64; 2]) -> Result<()> {
    if numbers.iter().all(|number| number.is_finite()) {
        return Ok(());
    }
    Err(Error::value(name, "finite numbers", format!("{numbers:?}")))
}

#[track_caller]
fn drawn(
    name: &'static str,
    shape: &[usize],
    (scale, shift): (f64, f64),
    options: Draw,
    distribution: Distribution,
) -> Tensor {
    let (shape, dtype) = (shape.to_vec(), options.dtype_or_float());
    composed(name, &[], move |trace, _| {
        finite(name, [scale, shift])?;
        Ok(draw(trace, options.seed, &shape, dtype, distribution)? * scale + shift)
    })
}

/// Normal numbers of that mean and standard deviation (Keras's defaults: 0 and 1).
#[track_caller]
pub fn random_normal(shape: &[usize], mean: f64, stddev: f64, options: Draw) -> Tensor {
    drawn("random_normal", shape, (stddev, mean), options, Distribution::Normal)
}

/// Normal numbers within two standard deviations of the mean (Keras's defaults: 0 and 1); others are drawn again.
#[track_caller]
pub fn truncated_normal(shape: &[usize], mean: f64, stddev: f64, options: Draw) -> Tensor {
    drawn("truncated_normal", shape, (stddev, mean), options, Distribution::TruncatedNormal)
}

/// Numbers uniform in `minval..maxval` (Keras's defaults: 0 and 1), whole ones if the element type has no others.
#[track_caller]
pub fn random_uniform(shape: &[usize], minval: f64, maxval: f64, options: Draw) -> Tensor {
    let (name, dtype) = ("random_uniform", options.dtype_or_float());
    if dtype.is_float() {
        return drawn(name, shape, (maxval - minval, minval), options, Distribution::Uniform);
    }
    let options = Draw { dtype: Some(DType::F64), ..options };
    k::cast(&k::floor(&drawn(name, shape, (maxval - minval, minval), options, Distribution::Uniform)), dtype)
}

/// 1 with probability `p` (Keras's default: 0), else 0.
#[track_caller]
pub fn random_binomial(shape: &[usize], p: f64, options: Draw) -> Tensor {
    let dtype = options.dtype_or_float();
    let float = if dtype.is_float() { dtype } else { DType::F32 };
    let options = Draw { dtype: Some(float), ..options };
    let draw = drawn("random_binomial", shape, (1.0, 0.0), options, Distribution::Uniform);
    k::cast(&k::less(&draw, &k::number(&draw, p)), dtype)
}

/// 1 where uniform numbers are at least `rate`, else 0.
pub(crate) fn kept(draw: &Tensor, rate: f64, dtype: DType) -> Tensor {
    k::cast(&k::greater_equal(draw, &k::number(draw, rate)), dtype)
}

/// In every phase, each element set to 0 with probability `level` and the others multiplied by 1/(1 − `level`); elements
/// along the axes where `noise_shape` is 1 share one fate.
///
/// Errors (which the result carries): a level outside 0..1, a noise shape that does not broadcast to `x`.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([Some(32), Some(10)], "x");
/// let y = k::in_train_phase(&k::dropout(&x, 0.5, None, None), &x, None);
/// assert_eq!(y.spec()?, x.spec()?);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn dropout(
    x: &Tensor,
    level: f64,
    noise_shape: Option<&[usize]>,
    seed: impl Into<Option<i64>>,
) -> Tensor {
    let (name, seed) = ("dropout", seed.into());
    let noise = noise_shape.map(<[usize]>::to_vec);
    composed(name, &[x], move |trace, tensors| {
        let [x] = tensors else { return operands(name) };
        if !(0.0..1.0).contains(&level) {
            return Err(Error::value(name, "a level from 0 to below 1", level.to_string()));
        }
        let (shape, dtype) = (x.shape()?, x.dtype()?);
        let noise = noise.as_ref().unwrap_or(&shape);
        if super::broadcast_shape(noise, &shape)? != shape {
            return Err(Error::shape(
                name,
                format!("a noise_shape that broadcasts to {shape:?}"),
                format!("{noise:?}"),
            ));
        }
        if level == 0.0 {
            return Ok(x.clone());
        }
        let draw = draw(trace, seed, noise, dtype, Distribution::Uniform)?;
        Ok(x * &(kept(&draw, level, dtype) * (1.0 / (1.0 - level))))
    })
}

fn random_variable(made: &impl Initializer, shape: &[usize], options: Draw, name: &str) -> Result<Variable> {
    let seed = options.seed.map_or_else(fresh_seed, |seed| seed as u64);
    let stream = Stream::new(seed, stream_id("k.random_variable", 0, ""), 0);
    Ok(Variable::new(name, made.init(shape, options.dtype_or_float(), &stream)?))
}

/// A variable of normal numbers with that mean and standard deviation.
///
/// ```
/// use keras_core::k;
/// let w = k::random_normal_variable(&[3, 4], 0.0, 0.05, k::Draw::new().seed(1), "w")?;
/// assert_eq!(k::get_value(&w)?, k::get_value(&k::random_normal_variable(&[3, 4], 0.0, 0.05, k::Draw::new().seed(1), "v")?)?);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the element type is no floating point type, or a number is not finite.
pub fn random_normal_variable(
    shape: &[usize],
    mean: f64,
    scale: f64,
    options: Draw,
    name: &str,
) -> Result<Variable> {
    random_variable(&RandomNormal::new().mean(mean).stddev(scale), shape, options, name)
}

/// A variable of numbers uniform in `low..high`; see [`random_normal_variable`].
///
/// # Errors
/// If the element type is no floating point type, or a number is not finite.
pub fn random_uniform_variable(
    shape: &[usize],
    low: f64,
    high: f64,
    options: Draw,
    name: &str,
) -> Result<Variable> {
    random_variable(&RandomUniform::new().minval(low).maxval(high), shape, options, name)
}
