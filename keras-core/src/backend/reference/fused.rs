//! Fused kernels, run instruction by instruction with the elementwise operations themselves: every register is
//! rounded to its element type, so a kernel means exactly what the separate operations mean.

use super::movement::walk;
use super::{elementwise, reduce, scalar};
use crate::array::{Array, DType, Element};
use crate::backend::Scalar;
use crate::error::{Error, Result};
use crate::graph::{Instr, Kernel, KernelInput, Register};
use crate::with_dtype;

fn wrong(expected: impl Into<String>, received: impl std::fmt::Display) -> Error {
    Error::shape("fused kernel", expected, received.to_string())
}

/// A tensor spread over the iteration space.
fn load(kernel: &Kernel, input: &KernelInput, x: &Array) -> Result<Array> {
    if x.dtype() != input.dtype {
        return Err(Error::dtype("fused kernel", input.dtype.name(), x.dtype().name()));
    }
    if input.strides.len() != kernel.shape.len() {
        return Err(wrong(format!("{} strides", kernel.shape.len()), input.strides.len()));
    }
    let steps: Vec<isize> = input.strides.iter().map(|&stride| stride as isize).collect();
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        let places = walk(&kernel.shape, &steps, 0).into_iter();
        let values: Option<Vec<T>> = places.map(|place| source.get(place).copied()).collect();
        let values = values.ok_or_else(|| wrong(format!("an input that strides {steps:?} stay inside"), x.len()))?;
        Array::from_vec(&kernel.shape, values)
    })
}

/// An array filled with a scalar.
pub(super) fn full(shape: &[usize], value: Scalar, dtype: DType) -> Result<Array> {
    with_dtype!(dtype, T => Array::full(shape, match scalar::cast(value, dtype) {
        Scalar::Float(x) => T::from_f64(x),
        Scalar::Int(x) => T::from_i64(x),
        Scalar::Bool(x) => T::from_i64(x.into()),
    }))
}

pub(super) fn run(kernel: &Kernel, inputs: &[&Array], scalars: &[Scalar]) -> Result<Vec<Array>> {
    if inputs.len() != kernel.inputs.len() || scalars.len() != kernel.scalars {
        let expected = format!("{} inputs and {} scalars", kernel.inputs.len(), kernel.scalars);
        return Err(wrong(expected, format!("{} and {}", inputs.len(), scalars.len())));
    }
    let mut registers: Vec<Array> = Vec::with_capacity(kernel.code.len());
    for (instr, dtype) in &kernel.code {
        let at = |register: Register| {
            registers.get(register).ok_or_else(|| wrong("an instruction that reads earlier ones", register))
        };
        let missing = |i: usize| wrong("an instruction that reads what there is", i);
        let value = match instr {
            Instr::Load(i) => match (kernel.inputs.get(*i), inputs.get(*i)) {
                (Some(input), Some(x)) => load(kernel, input, x)?,
                _ => return Err(missing(*i)),
            },
            Instr::Scalar(i) => full(&kernel.shape, *scalars.get(*i).ok_or_else(|| missing(*i))?, *dtype)?,
            Instr::Const(x) => full(&kernel.shape, Scalar::Float(*x), *dtype)?,
            Instr::Unary(op, x) => elementwise::unary(*op, at(*x)?)?,
            Instr::Binary(op, a, b) => elementwise::binary(*op, at(*a)?, at(*b)?)?,
            Instr::Compare(op, a, b) => elementwise::compare(*op, at(*a)?, at(*b)?)?,
            Instr::Logical(op, a, b) => elementwise::logical(*op, at(*a)?, at(*b)?)?,
            Instr::Select(c, a, b) => elementwise::select(at(*c)?, at(*a)?, at(*b)?)?,
            Instr::Cast(x) => at(*x)?.cast(*dtype),
        };
        if value.dtype() != *dtype {
            return Err(Error::dtype("fused kernel", dtype.name(), value.dtype().name()));
        }
        registers.push(value);
    }
    let stored = kernel.outputs.iter().map(|output| {
        let register = registers
            .get(output.register)
            .ok_or_else(|| wrong("an output of an instruction", output.register))?;
        match &output.reduce {
            Some((op, axes)) => reduce::reduce(*op, register, axes)?.reshape(&output.shape),
            None => register.reshape(&output.shape),
        }
    });
    stored.collect()
}
