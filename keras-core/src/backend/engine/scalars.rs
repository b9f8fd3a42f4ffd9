//! Host scalars: learning rates, iteration counts and what is computed from them alone. They enter kernels as
//! scalar operands and never exist on the device.

use super::defect;
use crate::array::{Array, DType};
use crate::backend::reference::{self, Reference};
use crate::backend::{Backend, Scalar};
use crate::error::Result;
use crate::graph::{Op, Type};

/// The host scalars of a plan, numbered in the order in which they are computed.
#[derive(Default)]
pub(super) struct HostScalars {
    /// Literals and what follows from them; the others have any value.
    initial: Vec<Scalar>,
    /// Whether the value is known while the program is compiled.
    known: Vec<bool>,
    /// What is left to compute in every run.
    steps: Vec<HostStep>,
}

struct HostStep {
    op: Op,
    operands: Vec<usize>,
    /// The element type of the last operand.
    dtype: DType,
    result: usize,
}

impl HostScalars {
    /// A literal.
    pub(super) fn literal(&mut self, value: &Array) -> usize {
        self.push(to_scalar(value), true)
    }

    /// The value of a variable, given before each run.
    pub(super) fn variable(&mut self) -> usize {
        self.push(Scalar::Bool(false), false)
    }

    /// An elementwise operation; `dtype` is that of its last operand.
    pub(super) fn operation(&mut self, op: &Op, operands: Vec<usize>, dtype: DType) -> Result<usize> {
        let known = operands.iter().all(|&operand| self.is_known(operand));
        let step = HostStep { op: op.clone(), operands, dtype, result: self.initial.len() };
        if known {
            let value = step.evaluate(&self.initial)?;
            return Ok(self.push(value, true));
        }
        self.steps.push(step);
        Ok(self.push(Scalar::Bool(false), false))
    }

    /// Whether the value never changes.
    pub(super) fn is_known(&self, scalar: usize) -> bool {
        self.known.get(scalar).copied().unwrap_or(false)
    }

    /// The values before variables are read.
    pub(super) fn start(&self) -> Vec<Scalar> {
        self.initial.clone()
    }

    /// Computes what depends on variables.
    pub(super) fn evaluate(&self, values: &mut [Scalar]) -> Result<()> {
        for step in &self.steps {
            let value = step.evaluate(values)?;
            if let Some(place) = values.get_mut(step.result) {
                *place = value;
            }
        }
        Ok(())
    }

    fn push(&mut self, value: Scalar, known: bool) -> usize {
        self.initial.push(value);
        self.known.push(known);
        self.initial.len() - 1
    }
}

impl HostStep {
    fn evaluate(&self, values: &[Scalar]) -> Result<Scalar> {
        let operand = |i: usize| {
            let place = self.operands.get(i).and_then(|&operand| values.get(operand));
            place.copied().ok_or_else(|| defect("a host scalar"))
        };
        match &self.op {
            Op::Unary(function) => reference::unary(*function, operand(0)?, self.dtype),
            Op::Binary(function) => reference::binary(*function, operand(0)?, operand(1)?, self.dtype),
            Op::Compare(function) => {
                Ok(Scalar::Bool(reference::compare(*function, operand(0)?, operand(1)?, self.dtype)))
            }
            Op::Logical(function) => {
                let truth = |i| operand(i).map(|x| x.to_i64() != 0);
                Ok(Scalar::Bool(reference::logical(*function, truth(0)?, truth(1)?)))
            }
            Op::Select => operand(if operand(0)?.to_i64() != 0 { 1 } else { 2 }),
            Op::Cast(dtype) => Ok(reference::cast(operand(0)?, *dtype)),
            Op::StopGradient => operand(0),
            op => Err(defect(&format!("an elementwise operation, not {}", op.name()))),
        }
    }
}

/// The one element of an array.
pub(super) fn to_scalar(array: &Array) -> Scalar {
    let float = || array.item().unwrap_or(f64::NAN);
    match array.dtype() {
        DType::F32 | DType::F64 => Scalar::Float(float()),
        DType::Bool => Scalar::Bool(float() != 0.0),
        DType::I32 | DType::U8 => Scalar::Int(float() as i64),
        DType::I64 => {
            let values = array.as_slice::<i64>().unwrap_or_default();
            Scalar::Int(values.first().copied().unwrap_or_default())
        }
    }
}

/// An array of that type filled with a scalar.
pub(super) fn to_array(value: Scalar, ty: &Type) -> Result<Array> {
    Reference.full(ty, value)
}
