//! Elementwise operations on arrays: the scalar functions at every place.

use super::scalar;
use crate::array::{Array, DType, Element};
use crate::error::{Error, Result};
use crate::graph::{Binary, Compare, Logical, Unary};
use crate::with_dtype;

/// The elements of a computation in 64 bits, brought back to the element type.
pub(super) trait Number: Element {
    /// An integer wrapped, as two's complement has it; floats are converted.
    fn wrap(x: i64) -> Self;
}

impl Number for f32 {
    fn wrap(x: i64) -> Self {
        x as Self
    }
}
impl Number for f64 {
    fn wrap(x: i64) -> Self {
        x as Self
    }
}
impl Number for i32 {
    fn wrap(x: i64) -> Self {
        x as Self
    }
}
impl Number for i64 {
    fn wrap(x: i64) -> Self {
        x
    }
}
impl Number for u8 {
    fn wrap(x: i64) -> Self {
        x as Self
    }
}

fn map<T: Element, U: Element>(x: &Array, f: impl Fn(T) -> U) -> Result<Array> {
    Array::from_vec(x.shape(), x.as_slice::<T>()?.iter().map(|&x| f(x)).collect())
}

fn zip<T: Element, U: Element>(a: &Array, b: &Array, f: impl Fn(T, T) -> U) -> Result<Array> {
    let pairs = a.as_slice::<T>()?.iter().zip(b.as_slice::<T>()?);
    Array::from_vec(a.shape(), pairs.map(|(&a, &b)| f(a, b)).collect())
}

/// An error unless both have one shape and one element type.
fn same(op: &str, a: &Array, b: &Array) -> Result<()> {
    if a.dtype() != b.dtype() {
        return Err(Error::dtype(op, a.dtype().name(), b.dtype().name()));
    }
    if a.shape() != b.shape() {
        return Err(Error::shape(
            op,
            format!("two operands of shape {:?}", a.shape()),
            format!("{:?}", b.shape()),
        ));
    }
    Ok(())
}

pub(super) fn unary(op: Unary, x: &Array) -> Result<Array> {
    let result = scalar::unary_dtype(op, x.dtype())?;
    let integer = |x: i64| scalar::unary_i64(op, x).unwrap_or_default();
    match (x.dtype(), result) {
        (DType::F32, DType::Bool) => map(x, |x: f32| x.is_nan()),
        (DType::F64, DType::Bool) => map(x, |x: f64| x.is_nan()),
        (DType::F32, _) => map(x, |x: f32| scalar::unary_f64(op, x.into()) as f32),
        (DType::F64, _) => map(x, |x: f64| scalar::unary_f64(op, x)),
        (DType::I32, _) => map(x, |x: i32| i32::wrap(integer(x.into()))),
        (DType::I64, _) => map(x, integer),
        (DType::U8, _) => map(x, |x: u8| u8::wrap(integer(x.into()))),
        (DType::Bool, _) => map(x, |x: bool| !x),
    }
}

pub(super) fn binary(op: Binary, a: &Array, b: &Array) -> Result<Array> {
    same(op.name(), a, b)?;
    scalar::binary_dtype(op, a.dtype())?;
    let integer = |a: i64, b: i64| scalar::binary_i64(op, a, b).unwrap_or_default();
    match a.dtype() {
        DType::F32 => zip(a, b, |a: f32, b: f32| scalar::binary_f64(op, a.into(), b.into()) as f32),
        DType::F64 => zip(a, b, |a: f64, b: f64| scalar::binary_f64(op, a, b)),
        DType::I32 => zip(a, b, |a: i32, b: i32| i32::wrap(integer(a.into(), b.into()))),
        DType::I64 => zip(a, b, integer),
        _ => zip(a, b, |a: u8, b: u8| u8::wrap(integer(a.into(), b.into()))),
    }
}

pub(super) fn compare(op: Compare, a: &Array, b: &Array) -> Result<Array> {
    same(op.name(), a, b)?;
    with_dtype!(a.dtype(), T => zip(a, b, |a: T, b: T| scalar::compare_values(op, &a, &b)))
}

pub(super) fn logical(op: Logical, a: &Array, b: &Array) -> Result<Array> {
    same(op.name(), a, b)?;
    if a.dtype() != DType::Bool {
        return Err(Error::dtype(op.name(), "bool", a.dtype().name()));
    }
    zip(a, b, |a: bool, b: bool| scalar::logical(op, a, b))
}

pub(super) fn select(c: &Array, a: &Array, b: &Array) -> Result<Array> {
    same("select", a, b)?;
    if c.dtype() != DType::Bool {
        return Err(Error::dtype("select", "a condition of bool", c.dtype().name()));
    }
    if c.shape() != a.shape() {
        return Err(Error::shape(
            "select",
            format!("a condition of shape {:?}", a.shape()),
            format!("{:?}", c.shape()),
        ));
    }
    with_dtype!(a.dtype(), T => {
        let places = c.as_slice::<bool>()?.iter().zip(a.as_slice::<T>()?).zip(b.as_slice::<T>()?);
        Array::from_vec(a.shape(), places.map(|((&c, &a), &b)| if c { a } else { b }).collect())
    })
}
