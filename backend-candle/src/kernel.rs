//! Fused kernels, instruction by instruction on whole tensors: host scalars and broadcasts stay as small as they are.

use crate::elementwise;
use crate::reduce::reduce;
use crate::tensor::{CandleTensor, Raw, full};
use candle_core::{Device, Error, Tensor};
use keras_core::backend::Scalar;
use keras_core::graph::{Binary, Instr, Kernel};

/// Runs a kernel: inputs and registers have the rank of the iteration space, or none.
pub(crate) fn run(
    kernel: &Kernel,
    inputs: &[CandleTensor],
    scalars: &[Scalar],
    device: &Device,
) -> candle_core::Result<Vec<Tensor>> {
    let missing = || Error::Msg("a kernel that reads what it does not have".into());
    let mut registers: Vec<Tensor> = Vec::with_capacity(kernel.code.len());
    for &(instruction, dtype) in &kernel.code {
        let get = |register: usize| registers.get(register).ok_or_else(missing);
        let type_of =
            |register: usize| kernel.code.get(register).map(|(_, dtype)| *dtype).ok_or_else(missing);
        let value = match instruction {
            Instr::Load(i) => {
                let (input, walked) = inputs.get(i).zip(kernel.inputs.get(i)).ok_or_else(missing)?;
                let axes = kernel.shape.iter().zip(&walked.strides);
                let shape: Vec<usize> = axes.map(|(&len, &step)| if step == 0 { 1 } else { len }).collect();
                input.tensor.reshape(shape)?
            }
            Instr::Scalar(i) => full(&[], *scalars.get(i).ok_or_else(missing)?, dtype, device)?,
            Instr::Const(value) => full(&[], Scalar::Float(value), dtype, device)?,
            Instr::Unary(function, x) => elementwise::unary(function, get(x)?)?,
            Instr::Binary(function, a, b) => {
                let literal = |register: usize| literal(kernel, register, scalars);
                match (literal(a), literal(b)) {
                    (None, Some(by)) => scaled(function, get(a)?, by).transpose()?,
                    (Some(by), None) if matches!(function, Binary::Add | Binary::Mul) => {
                        scaled(function, get(b)?, by).transpose()?
                    }
                    _ => None,
                }
                .map_or_else(
                    || {
                        let [a, b] = alike([get(a)?, get(b)?])?;
                        elementwise::binary(function, &a, &b)
                    },
                    Ok,
                )?
            }
            Instr::Compare(function, a, b) => {
                let [a, b] = alike([get(a)?, get(b)?])?;
                elementwise::compare(function, &a, &b)?
            }
            Instr::Logical(function, a, b) => {
                let [a, b] = alike([get(a)?, get(b)?])?;
                elementwise::logical(function, &a, &b)?
            }
            Instr::Select(c, a, b) => {
                let [c, a, b] = alike([get(c)?, get(a)?, get(b)?])?;
                c.where_cond(&a, &b)?
            }
            Instr::Cast(x) => elementwise::cast(get(x)?, type_of(x)?, dtype)?,
        };
        registers.push(value);
    }
    let store = |output: &keras_core::graph::KernelOutput| -> Raw {
        let register = registers.get(output.register).ok_or_else(missing)?;
        let wide = register.broadcast_as(kernel.shape.as_slice())?;
        match &output.reduce {
            Some((op, axes)) => reduce(*op, &wide, axes)?.reshape(output.shape.as_slice()),
            // What is an input, a constant or stored twice gets memory of its own.
            None if computed(kernel, output.register) => wide.contiguous()?.reshape(output.shape.as_slice()),
            None => wide.force_contiguous()?.reshape(output.shape.as_slice()),
        }
    };
    kernel.outputs.iter().map(store).collect()
}

/// The number that a register holds everywhere, if it is a float.
fn literal(kernel: &Kernel, register: usize, scalars: &[Scalar]) -> Option<f64> {
    match kernel.code.get(register)? {
        (Instr::Const(value), dtype) if dtype.is_float() => Some(*value),
        (Instr::Scalar(i), dtype) if dtype.is_float() => Some(scalars.get(*i)?.to_f64()),
        _ => None,
    }
}

/// A sum, difference or product with a number in one pass, to the bit: adding a negative zero changes nothing.
fn scaled(function: Binary, x: &Tensor, by: f64) -> Option<Raw> {
    match function {
        Binary::Add => Some(x.affine(1.0, by)),
        Binary::Sub => Some(x.affine(1.0, -by)),
        Binary::Mul => Some(x.affine(by, -0.0)),
        _ => None,
    }
}

/// Whether a register holds a tensor that only one output shows.
fn computed(kernel: &Kernel, register: usize) -> bool {
    let own = !matches!(kernel.code.get(register), Some((Instr::Load(_) | Instr::Cast(_), _)));
    own && kernel.outputs.iter().filter(|output| output.register == register).count() == 1
}

/// Operands broadcast to the shape they have in common.
fn alike<const N: usize>(operands: [&Tensor; N]) -> candle_core::Result<[Tensor; N]> {
    let rank = operands.iter().map(|x| x.rank()).max().unwrap_or(0);
    let mut shape = vec![1; rank];
    for operand in operands.iter().filter(|operand| operand.rank() == rank) {
        for (len, &own) in shape.iter_mut().zip(operand.dims()) {
            *len = own.max(*len);
        }
    }
    let mut wide = Vec::with_capacity(N);
    for operand in operands {
        wide.push(operand.broadcast_as(shape.as_slice())?);
    }
    wide.try_into().map_err(|_| Error::Msg("as many operands as there were".into()))
}
