//! Variables and literals: how they are made, read, and what they become after a step.

use super::PerAxis;
use crate::array::{Array, DType};
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::k;
use crate::layers::set_variables;
use crate::tensor::Tensor;

/// A variable with that first value and its element type; use it as a tensor through [`Tensor::variable`] or `(&v).into()`.
pub fn variable(value: impl Into<Array>, name: &str) -> Variable {
    Variable::new(name, value)
}

/// A variable of zeros; the default element type is [`floatx`](k::floatx).
///
/// ```
/// use keras_core::{DType, k};
/// let v = k::zeros(&[2, 3], None, "v")?;
/// assert_eq!((v.shape(), v.dtype()), (&[2, 3][..], DType::F32));
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If memory cannot hold so many elements.
pub fn zeros(shape: &[usize], dtype: impl Into<Option<DType>>, name: &str) -> Result<Variable> {
    Ok(Variable::new(name, Array::zeros(dtype.into().unwrap_or_else(k::floatx), shape)?))
}

/// A variable of ones; see [`zeros`].
///
/// # Errors
/// If memory cannot hold so many elements.
pub fn ones(shape: &[usize], dtype: impl Into<Option<DType>>, name: &str) -> Result<Variable> {
    Ok(Variable::new(name, Array::full_of(dtype.into().unwrap_or_else(k::floatx), shape, 1.0)?))
}

/// A literal of that element type (default [`floatx`](k::floatx)) and shape (default that of the value): a number fills it,
/// an array of as many elements is reshaped.
///
/// ```
/// use keras_core::{DType, k};
/// assert_eq!(k::constant(0.5, None, &[2, 2][..]).shape()?, [2, 2]);
/// assert_eq!(k::constant([1, 2], DType::I32, None).dtype()?, DType::I32);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn constant<'a>(
    value: impl Into<Array>,
    dtype: impl Into<Option<DType>>,
    shape: impl Into<Option<&'a [usize]>>,
) -> Tensor {
    let value = value.into().cast(dtype.into().unwrap_or_else(k::floatx));
    let value = match shape.into() {
        None => Ok(value),
        Some(shape) if value.len() == 1 => {
            value.item().and_then(|number| Array::full_of(value.dtype(), shape, number))
        }
        Some(shape) => value.reshape(shape),
    };
    value.map_or_else(|error| Tensor::poisoned(error.within("constant")), Tensor::constant)
}

/// The unit matrix of that many rows and columns, `3` or `(2, 4)`; the default element type is [`floatx`](k::floatx).
pub fn eye(size: impl Into<PerAxis<2>>, dtype: impl Into<Option<DType>>) -> Tensor {
    let [rows, columns] = size.into().0;
    if let Err(error) = Array::zeros(DType::F64, &[rows, columns]) {
        return Tensor::poisoned(error.within("eye"));
    }
    let mut values = vec![0.0; rows.saturating_mul(columns)];
    // Row by row, the place on the diagonal is one further.
    values.iter_mut().step_by(columns + 1).take(rows.min(columns)).for_each(|value| *value = 1.0);
    constant(Array::from(values), dtype, &[rows, columns][..])
}

/// The numbers from `start`, `step` apart, before `stop`; without a stop those from 0 before `start`, none if that is
/// negative. The default element type is int32.
///
/// ```
/// use keras_core::k;
/// // 0, 1, 2, 3 and 5, 3, 1, -1.
/// assert_eq!(k::arange(4.0, None, 1.0, None).shape()?, [4]);
/// assert_eq!(k::arange(5.0, -2.0, -2.0, None).shape()?, [4]);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// Errors (which the result carries): a step of 0, numbers that are not finite, more than 2³¹ − 1 results.
pub fn arange(
    start: f64,
    stop: impl Into<Option<f64>>,
    step: f64,
    dtype: impl Into<Option<DType>>,
) -> Tensor {
    let (start, stop) = stop.into().map_or_else(|| (0.0, start.max(0.0)), |stop| (start, stop));
    let count = ((stop - start) / step).ceil().max(0.0);
    let finite = start.is_finite() && step.is_finite() && !stop.is_nan();
    if !(finite && step != 0.0 && count <= f64::from(i32::MAX)) {
        let received = format!("{start} to {stop} by {step}");
        return Tensor::poisoned(Error::value(
            "arange",
            "finite numbers, a step other than 0, and at most 2147483647 results",
            received,
        ));
    }
    let values: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * step).collect();
    Tensor::constant(Array::from(values).cast(dtype.into().unwrap_or(DType::I32)))
}

/// The current value of a variable.
pub fn get_value(variable: &Variable) -> Result<Array> {
    variable.value()
}

/// Replaces the value of a variable; the shape must fit, the element type is converted.
pub fn set_value(variable: &Variable, value: impl Into<Array>) -> Result<()> {
    variable.set(&value.into())
}

/// The current values of variables.
///
/// ```
/// use keras_core::{Array, k};
/// let (v, w) = (k::zeros(&[2], None, "v")?, k::ones(&[1], None, "w")?);
/// k::batch_set_value([(&v, Array::from([1.0_f32, 2.0])), (&w, Array::from([3.0_f32]))])?;
/// assert_eq!(k::batch_get_value([&v, &w])?[1].to_vec::<f32>(), [3.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn batch_get_value<'a>(variables: impl IntoIterator<Item = &'a Variable>) -> Result<Vec<Array>> {
    variables.into_iter().map(Variable::value).collect()
}

/// Replaces the values of variables: all of them or, if a shape does not fit, none.
pub fn batch_set_value<'a>(values: impl IntoIterator<Item = (&'a Variable, Array)>) -> Result<()> {
    let (variables, values): (Vec<Variable>, Vec<Array>) =
        values.into_iter().map(|(variable, value)| (variable.clone(), value)).unzip();
    set_variables("variables", &variables, &values)
}

/// The number of elements of a variable, or of a tensor without open axes.
pub fn count_params(x: impl Into<Tensor>) -> Result<usize> {
    Ok(x.into().shape()?.iter().product())
}

/// The elements of an array in the default float type.
pub fn cast_to_floatx(x: &Array) -> Array {
    x.cast(k::floatx())
}

/// That a variable becomes `new_x` after a run: for [`Function::updates`](k::Function::updates).
///
/// ```
/// use keras_core::{Array, k};
/// let (v, x) = (k::zeros(&[2], None, "v")?, k::placeholder([Some(2)], "x"));
/// let f = k::function([&x], [&x])?.updates([k::update_add(&v, &x)]);
/// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
/// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
/// # let f = f.on(&engine);
/// f.run([Array::from([1.0_f32, 2.0])])?;
/// f.run([Array::from([1.0_f32, 2.0])])?;
/// assert_eq!(k::get_value(&v)?.to_vec::<f32>(), [2.0, 4.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn update(x: &Variable, new_x: &Tensor) -> (Variable, Tensor) {
    (x.clone(), new_x.clone())
}

/// That a variable grows by `increment`; see [`update`].
#[track_caller]
pub fn update_add(x: &Variable, increment: &Tensor) -> (Variable, Tensor) {
    (x.clone(), Tensor::variable(x) + increment)
}

/// That a variable shrinks by `decrement`; see [`update`].
#[track_caller]
pub fn update_sub(x: &Variable, decrement: &Tensor) -> (Variable, Tensor) {
    (x.clone(), Tensor::variable(x) - decrement)
}

/// That a variable moves towards `value`, of which it takes the share 1 − `momentum`; see [`update`].
#[track_caller]
pub fn moving_average_update(x: &Variable, value: &Tensor, momentum: f64) -> (Variable, Tensor) {
    let moved = moved_towards(&Tensor::variable(x), &k::cast(value, x.dtype()), momentum);
    (x.clone(), moved)
}

/// `moving`, moved towards a value by 1 − momentum.
pub(crate) fn moved_towards(moving: &Tensor, value: &Tensor, momentum: f64) -> Tensor {
    moving - (moving - value) * single(1.0 - momentum)
}

/// A number of Python's as TensorFlow has it in double precision, too: of single precision first.
pub(crate) fn single(number: f64) -> f64 {
    f64::from(number as f32)
}
