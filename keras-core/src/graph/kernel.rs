//! [`Kernel`]: the one elementwise program, used for fused operations, for the epilogue of a contraction and for an
//! optimizer's update of a variable.

use super::{Binary, Compare, Logical, Reduce, Unary};
use crate::array::DType;

/// A register of a kernel: the position of the instruction that wrote it.
pub type Register = usize;

/// One step of a kernel's straight-line program; writes the register of its own position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instr {
    /// The element of input `i` at the current place.
    Load(usize),
    /// The host scalar `i`, converted to the register's type.
    Scalar(usize),
    /// A literal, converted to the register's type.
    Const(f64),
    /// A function of one register.
    Unary(Unary, Register),
    /// A function of two registers of one type.
    Binary(Binary, Register, Register),
    /// A comparison of two registers of one type.
    Compare(Compare, Register, Register),
    /// A function of two truth values.
    Logical(Logical, Register, Register),
    /// `where(condition, a, b)`.
    Select(Register, Register, Register),
    /// Conversion to the register's own type.
    Cast(Register),
}

/// A tensor that a kernel reads: contiguous, row-major, over the axes where its stride is not 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInput {
    /// The element type.
    pub dtype: DType,
    /// Elements to step per axis of [`Kernel::shape`]; 0 where the input is broadcast.
    pub strides: Vec<usize>,
}

/// A tensor that a kernel writes: contiguous, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelOutput {
    /// The register that is stored.
    pub register: Register,
    /// The shape under which the rest of the program sees it.
    pub shape: Vec<usize>,
    /// The input whose memory it may take over when that input is writable: same element type, no broadcast.
    pub alias: Option<usize>,
    /// If set, the register is reduced over those axes of [`Kernel::shape`] (ascending) before it is stored.
    pub reduce: Option<(Reduce, Vec<usize>)>,
}

/// A fused elementwise program over one iteration space.
///
/// Iteration `shape` has its axes collapsed (neighbouring axes that every input walks alike are one), 1 to 4 of
/// them. For every place the instructions run in order; outputs are written at that place.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// The collapsed iteration space.
    pub shape: Vec<usize>,
    /// The tensors read.
    pub inputs: Vec<KernelInput>,
    /// The number of host scalars read.
    pub scalars: usize,
    /// The program, with the element type of each register.
    pub code: Vec<(Instr, DType)>,
    /// The tensors written.
    pub outputs: Vec<KernelOutput>,
}

impl Kernel {
    /// The number of places.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether input `i` is read once at every place in storage order: no broadcast.
    pub fn is_contiguous(&self, input: usize) -> bool {
        let mut expected = 1;
        let Some(input) = self.inputs.get(input) else { return false };
        for (&len, &stride) in self.shape.iter().zip(&input.strides).rev() {
            if len != 1 && stride != expected {
                return false;
            }
            expected *= len;
        }
        true
    }
}
