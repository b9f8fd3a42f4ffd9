//! [`to_categorical`].

use keras_core::array::Array;
use keras_core::error::{Error, Result};

/// Class numbers as rows with a one in the place of their class, f32: shape (n, …) becomes (n, …, classes).
///
/// A last axis of size 1 goes, as in Keras. `classes` defaults to the greatest number plus 1.
///
/// ```
/// use keras::prelude::*;
/// use keras::utils::to_categorical;
///
/// let labels = Array::from_vec(&[3], vec![0_u8, 2, 1])?;
/// let rows = to_categorical(&labels, None)?;
/// assert_eq!(rows.shape(), [3, 3]);
/// assert_eq!(rows.to_vec::<f32>(), [1., 0., 0., 0., 0., 1., 0., 1., 0.]);
/// # Ok::<(), keras::Error>(())
/// ```
///
/// # Errors
/// `Value` for a number that is negative, not whole, or not below `classes`; for more than 2³¹ elements.
pub fn to_categorical(labels: &Array, classes: impl Into<Option<usize>>) -> Result<Array> {
    let doing = "to_categorical";
    let numbers = labels.to_vec::<f64>();
    let greatest = numbers.iter().copied().fold(-1.0, f64::max);
    let classes = classes.into().unwrap_or((greatest + 1.0) as usize);
    let mut shape = labels.shape().to_vec();
    if shape.len() > 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    shape.push(classes);
    let count = numbers.len().checked_mul(classes).filter(|&count| count <= 1 << 31).ok_or_else(|| {
        Error::value(doing, "at most 2^31 elements", format!("{} labels of {classes} classes", numbers.len()))
    })?;
    let mut rows = vec![0.0_f32; count];
    for (i, &number) in numbers.iter().enumerate() {
        let class =
            (number >= 0.0 && number.fract() == 0.0 && number < classes as f64).then_some(number as usize);
        let cell = class.and_then(|class| rows.get_mut(i * classes + class)).ok_or_else(|| {
            Error::value(
                doing,
                format!("whole class numbers from 0 to {}", classes.saturating_sub(1)),
                format!("{number} at {i}"),
            )
        })?;
        *cell = 1.0;
    }
    Array::from_vec(&shape, rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_keras() {
        for (shape, expected) in [
            (vec![1], vec![1, 5]),
            (vec![3], vec![3, 5]),
            (vec![4, 3], vec![4, 3, 5]),
            (vec![3, 1], vec![3, 5]),
            (vec![3, 2, 1], vec![3, 2, 5]),
        ] {
            let labels = Array::zeros(keras_core::DType::I32, &shape).unwrap();
            assert_eq!(to_categorical(&labels, 5).unwrap().shape(), expected);
        }
    }

    #[test]
    fn numbers_that_are_no_class_are_refused() {
        let labels = |value: f64| Array::from_vec(&[2], vec![0.0, value]).unwrap();
        for (value, said) in [(-1.0, "-1"), (0.5, "0.5"), (3.0, "3"), (f64::NAN, "NaN")] {
            let error = to_categorical(&labels(value), 3).unwrap_err().to_string();
            assert!(error.contains("from 0 to 2") && error.contains(said), "{error}");
        }
        assert!(to_categorical(&labels(1e18), None).is_err());
    }
}
