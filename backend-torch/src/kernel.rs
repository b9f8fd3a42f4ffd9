//! Fused kernels: arithmetic on the CPU in blocks ([`fused`]), all others by libtorch's functions on whole tensors, where host
//! scalars and broadcasts stay as small as they are, and registers are overwritten after their last use.

use crate::elementwise;
use crate::fused;
use crate::movement::reduce;
use crate::tensor::{Operand, Raw, copied, ints, kind, number};
use keras_core::DType;
use keras_core::backend::Scalar;
use keras_core::graph::{Binary, Instr, Kernel, Unary};
use tch::{Device, TchError, Tensor};

/// What an instruction wrote.
enum Register {
    Tensor(Operand),
    Scalar(Scalar, DType),
}

/// A kernel on its way.
struct Run<'a> {
    kernel: &'a Kernel,
    /// For each register, the last instruction that reads it; those that are stored live on.
    last: Vec<usize>,
    registers: Vec<Register>,
    device: Device,
}

pub(crate) fn missing() -> TchError {
    TchError::Torch("a kernel that reads what it does not have".into())
}

/// The registers that an instruction reads.
pub(crate) fn operands(instruction: Instr) -> [Option<usize>; 3] {
    match instruction {
        Instr::Load(_) | Instr::Scalar(_) | Instr::Const(_) => [None; 3],
        Instr::Unary(_, x) | Instr::Cast(x) => [Some(x), None, None],
        Instr::Binary(_, a, b) | Instr::Compare(_, a, b) | Instr::Logical(_, a, b) => {
            [Some(a), Some(b), None]
        }
        Instr::Select(c, a, b) => [Some(c), Some(a), Some(b)],
    }
}

/// Runs a kernel: inputs and registers have the rank of the iteration space, or none.
pub(crate) fn run(
    kernel: &Kernel,
    inputs: Vec<Operand>,
    scalars: &[Scalar],
    device: Device,
) -> Result<Vec<Tensor>, TchError> {
    if device == Device::Cpu && fused::runs(kernel) {
        return fused::run(kernel, inputs, scalars);
    }
    by_functions(kernel, inputs, scalars, device)
}

/// Instruction by instruction on whole tensors.
pub(crate) fn by_functions(
    kernel: &Kernel,
    inputs: Vec<Operand>,
    scalars: &[Scalar],
    device: Device,
) -> Result<Vec<Tensor>, TchError> {
    let mut last = vec![0; kernel.code.len()];
    let mut mark =
        |register: usize, at: usize| last.get_mut(register).into_iter().for_each(|last| *last = at);
    for (at, (instruction, _)) in kernel.code.iter().enumerate() {
        operands(*instruction).into_iter().flatten().for_each(|register| mark(register, at));
    }
    kernel.outputs.iter().for_each(|output| mark(output.register, usize::MAX));
    let mut run = Run { kernel, last, registers: Vec::with_capacity(kernel.code.len()), device };
    let mut inputs: Vec<Option<Operand>> = inputs.into_iter().map(Some).collect();
    for (at, &(instruction, dtype)) in kernel.code.iter().enumerate() {
        let register = match instruction {
            Instr::Load(i) => Register::Tensor(run.load(i, inputs.get_mut(i).and_then(Option::take))?),
            Instr::Scalar(i) => Register::Scalar(*scalars.get(i).ok_or_else(missing)?, dtype),
            Instr::Const(value) => Register::Scalar(Scalar::Float(value), dtype),
            other => Register::Tensor(run.compute(at, other, dtype)?),
        };
        run.registers.push(register);
    }
    run.store()
}

impl Run<'_> {
    /// An input in the rank of the iteration space, with length 1 where it is broadcast.
    fn load(&self, input: usize, operand: Option<Operand>) -> Result<Operand, TchError> {
        let Operand { tensor, free } = operand.ok_or_else(missing)?;
        let walked = self.kernel.inputs.get(input).ok_or_else(missing)?;
        let axes = self.kernel.shape.iter().zip(&walked.strides);
        let shape: Vec<i64> = axes.map(|(&len, &step)| if step == 0 { 1 } else { len as i64 }).collect();
        Ok(Operand { tensor: tensor.f_reshape(shape)?, free })
    }

    /// A register as the operand of instruction `at`, which may overwrite it if nothing reads it any more.
    fn take(&self, register: usize, at: usize, once: bool) -> Result<Operand, TchError> {
        match self.registers.get(register).ok_or_else(missing)? {
            Register::Tensor(own) => {
                let dies = self.last.get(register) == Some(&at);
                Ok(Operand { tensor: own.tensor.shallow_clone(), free: own.free && dies && once })
            }
            Register::Scalar(value, dtype) => {
                let value = number(*value, *dtype);
                let tensor = Tensor::f_full([] as [i64; 0], value, (kind(*dtype), self.device))?;
                Ok(Operand { tensor, free: false })
            }
        }
    }

    fn compute(&self, at: usize, instruction: Instr, dtype: DType) -> Result<Operand, TchError> {
        let read = |register: usize| self.take(register, at, false).map(|operand| operand.tensor);
        let tensor = match instruction {
            Instr::Unary(function, x) => elementwise::unary(function, self.take(x, at, true)?)?,
            Instr::Binary(function, a, b) => match (function, self.registers.get(b)) {
                (Binary::Add | Binary::Sub | Binary::Mul | Binary::Div, Some(Register::Scalar(by, of)))
                    if of.is_float() =>
                {
                    with_scalar(function, self.take(a, at, a != b)?, by.to_f64())?
                }
                _ => elementwise::binary(function, self.take(a, at, a != b)?, self.take(b, at, a != b)?)?,
            },
            Instr::Compare(function, a, b) => elementwise::compare(function, &read(a)?, &read(b)?)?,
            Instr::Logical(function, a, b) => elementwise::logical(function, &read(a)?, &read(b)?)?,
            Instr::Select(c, a, b) => read(a)?.f_where_self(&read(c)?, &read(b)?)?,
            Instr::Cast(x) => {
                let operand = self.take(x, at, true)?;
                // A conversion that changes nothing hands its operand through.
                let same = operand.tensor.kind() == kind(dtype);
                if same && !operand.free {
                    copied(&operand.tensor)?
                } else {
                    operand.tensor.f_to_kind(kind(dtype))?
                }
            }
            Instr::Load(_) | Instr::Scalar(_) | Instr::Const(_) => return Err(missing()),
        };
        Ok(Operand { tensor, free: true })
    }

    fn store(&self) -> Result<Vec<Tensor>, TchError> {
        let shape = ints(&self.kernel.shape);
        let mut stored: Vec<usize> = Vec::new();
        let mut results = Vec::with_capacity(self.kernel.outputs.len());
        for output in &self.kernel.outputs {
            let wide = match self.registers.get(output.register).ok_or_else(missing)? {
                Register::Tensor(own) => own.tensor.f_expand(&shape, false)?,
                Register::Scalar(value, dtype) => {
                    Tensor::f_full(&shape, number(*value, *dtype), (kind(*dtype), self.device))?
                }
            };
            let result = if let Some((op, axes)) = &output.reduce {
                reduce(*op, &wide, axes)?
            } else {
                let own = match self.registers.get(output.register) {
                    Some(Register::Tensor(own)) => own.free && own.tensor.size() == shape,
                    _ => true,
                };
                let first = !stored.contains(&output.register);
                stored.push(output.register);
                if own && first { wide } else { copied(&wide)? }
            };
            results.push(result.f_reshape(ints(&output.shape))?);
        }
        Ok(results)
    }
}

fn with_scalar(function: Binary, mut a: Operand, by: f64) -> Raw {
    match (function, a.free) {
        (Binary::Add, true) => a.tensor.f_add_scalar_(by),
        (Binary::Add, false) => a.tensor.f_add_scalar(by),
        (Binary::Sub, true) => a.tensor.f_sub_scalar_(by),
        (Binary::Sub, false) => a.tensor.f_sub_scalar(by),
        (Binary::Mul, true) => a.tensor.f_mul_scalar_(by),
        (Binary::Mul, false) => a.tensor.f_mul_scalar(by),
        (_, true) => a.tensor.f_div_scalar_(by),
        (_, false) => a.tensor.f_div_scalar(by),
    }
}

/// What libtorch's own operators add to a contraction: a bias over the last axis, and perhaps a relu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bias {
    pub(crate) relu: bool,
}

impl Bias {
    /// If the kernel is one. Where rows of a kernel are several axes of the result, what is added to them is no bias.
    pub(crate) fn of(kernel: &Kernel) -> Option<Self> {
        let ([_, bias], [output]) = (kernel.inputs.as_slice(), kernel.outputs.as_slice()) else {
            return None;
        };
        if output.shape.last() != kernel.shape.last() {
            return None;
        }
        let rows = bias
            .strides
            .split_last()
            .is_some_and(|(last, rest)| *last == 1 && rest.iter().all(|&step| step == 0));
        if !rows || kernel.scalars != 0 || output.reduce.is_some() || kernel.shape.len() != 2 {
            return None;
        }
        let code: Vec<Instr> = kernel.code.iter().map(|(instruction, _)| *instruction).collect();
        match code[..] {
            [Instr::Load(_), Instr::Load(_), Instr::Binary(Binary::Add, ..)] if output.register == 2 => {
                Some(Self { relu: false })
            }
            [
                Instr::Load(_),
                Instr::Load(_),
                Instr::Binary(Binary::Add, ..),
                Instr::Unary(Unary::Relu, 2),
            ] if output.register == 3 => Some(Self { relu: true }),
            _ => None,
        }
    }
}
