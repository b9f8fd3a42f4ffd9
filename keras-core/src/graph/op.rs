//! [`Op`]: what a node of the graph computes. About 60 primitives, a few composites that decompose into them,
//! and the control operations. Shapes are concrete; layout is channels last; padding is explicit; operands of an
//! elementwise operation have one shape.

use super::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Graph, Kernel, Logical, PoolSpec,
    RecurrentSpec, Reduce, SliceSpec, Unary,
};
use crate::array::{Array, DType};
use crate::backend::Variable;
use crate::error::Result;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The type of a value: a concrete shape and an element type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Type {
    /// The lengths of the axes.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: DType,
}

impl Type {
    /// The type of that shape and element type.
    pub fn new(shape: impl Into<Vec<usize>>, dtype: DType) -> Self {
        Self { shape: shape.into(), dtype }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

/// A literal in the graph. Small ones are equal by content, large ones by identity.
#[derive(Debug, Clone)]
pub struct Literal(pub Arc<Array>);

impl Literal {
    const SMALL: usize = 1024;

    fn small(&self) -> bool {
        self.0.len() * self.0.dtype().size() <= Self::SMALL
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.small() && other.small() && self.0.same_bits(&other.0))
    }
}

impl Eq for Literal {}

impl Hash for Literal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.shape().hash(state);
        self.0.dtype().hash(state);
        if self.small() {
            for value in self.0.to_vec::<f64>() {
                value.to_bits().hash(state);
            }
        } else {
            Arc::as_ptr(&self.0).hash(state);
        }
    }
}

/// A step function with carries, run over the leading axis of `xs`.
///
/// Operands of the node: the initial carries, then `xs` (each `[steps, …]`), then constants. The body's inputs are
/// the carries, one row of each x, the constants; its outputs are the next carries, then one row of each y.
/// Outputs of the node: the final carries, then `ys` (each `[steps, …]`), then the *reserve*: for each carry its
/// values at the start of every step, `[steps, …]`, which only the gradient reads.
#[derive(Debug)]
pub struct Scan {
    /// One step.
    pub body: Graph,
    /// The number of carries.
    pub carries: usize,
    /// The number of sequences read.
    pub xs: usize,
    /// The number of steps; at least 1.
    pub steps: usize,
    /// Whether it runs from the last step to the first. Row `t` of a y always belongs to row `t` of the xs.
    pub reverse: bool,
}

/// A function on host arrays in the middle of a program.
pub struct HostFn {
    /// The name in dumps and errors.
    pub name: String,
    /// The types of what it returns.
    pub outputs: Vec<Type>,
    /// Whether it must run again in every step, although its operands have not changed.
    pub impure: bool,
    /// The function itself.
    #[allow(clippy::type_complexity)]
    pub run: Box<dyn Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync>,
    /// Its vector-Jacobian product as another host function from (operands, gradients of the outputs) to gradients
    /// of the operands; without one, no gradient passes.
    pub vjp: Option<Arc<HostFn>>,
}

impl std::fmt::Debug for HostFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostFn({})", self.name)
    }
}

/// A gradient of the user's own: the node passes its first operand on; its vjp is `vjp`.
pub struct CustomVjp {
    /// The name in dumps and errors.
    pub name: String,
    /// From the gradient of the result and the remaining operands to the gradients of the remaining operands,
    /// written as graph nodes into the given graph.
    #[allow(clippy::type_complexity)]
    pub vjp: Box<
        dyn Fn(&mut Graph, super::Value, &[super::Value]) -> Result<Vec<Option<super::Value>>> + Send + Sync,
    >,
}

impl std::fmt::Debug for CustomVjp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CustomVjp({})", self.name)
    }
}

/// Equality and hash of shared things by identity.
#[derive(Debug)]
pub struct ByRef<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Clone for ByRef<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> PartialEq for ByRef<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: ?Sized> Eq for ByRef<T> {}

impl<T: ?Sized> Hash for ByRef<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl<T: ?Sized> std::ops::Deref for ByRef<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    // Sources.
    /// The feed of that position.
    Input(usize),
    /// The value of a variable at the start of the run.
    Variable(Variable),
    /// A literal.
    Constant(Literal),
    /// `iota(type, axis)`: positions along an axis.
    Iota(Type, usize),
    /// Random numbers from (seed, step), both host scalars, and the stream of that number.
    Random {
        /// The distribution.
        distribution: Distribution,
        /// The stream, a hash of where it is drawn.
        stream: u64,
        /// What is drawn.
        output: Type,
    },

    // Elementwise.
    /// A function of one operand.
    Unary(Unary),
    /// A function of two operands.
    Binary(Binary),
    /// A comparison.
    Compare(Compare),
    /// A function of two truth values.
    Logical(Logical),
    /// `where(condition, a, b)`.
    Select,
    /// Conversion to another element type: floats are rounded, or truncated towards zero; beyond the range of an integer
    /// type the result is some number of it; truth values are "not zero".
    Cast(DType),

    // Reductions.
    /// Over axes (ascending), which disappear.
    Reduce(Reduce, Vec<usize>),
    /// Position (int64) along an axis, which disappears.
    ArgReduce(ArgReduce, usize),
    /// Along an axis.
    Cumulative(Cumulative, usize),
    /// The k largest along the last axis, descending, ties by position; outputs values and positions (int64).
    TopK(usize),

    // Contractions.
    /// `a · b` over the last two axes; equal leading axes (none to one). The flags say that an operand is stored
    /// with its last two axes swapped.
    MatMul {
        /// `a` is `[…, k, m]`.
        trans_a: bool,
        /// `b` is `[…, n, k]`.
        trans_b: bool,
    },
    /// Convolution of (input, kernel).
    Conv(ConvSpec),
    /// Its gradient for the input, from (gradient, kernel); the spatial shape of the input.
    ConvGradInput(ConvSpec, Vec<usize>),
    /// Its gradient for the kernel, from (input, gradient); the spatial shape of the kernel.
    ConvGradKernel(ConvSpec, Vec<usize>),
    /// Maximum over windows; outputs the maxima and, in reserve, the flat spatial position (int32, row-major in the
    /// unpadded input) of the first maximum of each window.
    MaxPool(PoolSpec),
    /// Gradient of it, from (gradient, positions); the spatial shape of the input.
    MaxPoolGrad(PoolSpec, Vec<usize>),
    /// Mean over windows.
    AvgPool(PoolSpec),
    /// Gradient of it; the spatial shape of the input.
    AvgPoolGrad(PoolSpec, Vec<usize>),

    // Indexing and movement.
    /// `take(x, indices, axis)`: the axis is replaced by the shape of the indices (int32 or int64).
    Gather(usize),
    /// The adjoint of `Gather` on axis 0, from (indices, updates): zeros `[size, …]` with rows added in order.
    ScatterAdd(usize),
    /// The same elements in row-major order under another shape.
    Reshape(Vec<usize>),
    /// Axis `i` of the result is axis `perm[i]` of the operand.
    Permute(Vec<usize>),
    /// Axes of length 1 repeated to that shape (of the same rank).
    Broadcast(Vec<usize>),
    /// A strided box.
    Slice(SliceSpec),
    /// (base, update): base with a strided box replaced.
    SliceUpdate(SliceSpec),
    /// Zeros (or `false`) before and after each axis.
    Pad(Vec<(usize, usize)>),
    /// Joined along an axis.
    Concat(usize),
    /// Reversed along axes.
    Reverse(Vec<usize>),

    // Composites: each has a decomposition into the above.
    /// Softmax over the last axis.
    Softmax,
    /// Logarithm of it.
    LogSoftmax,
    /// A recurrent layer over a whole sequence; see [`RecurrentSpec`].
    Recurrent(RecurrentSpec),
    /// Its gradient; whether there is one of the sequence, besides those of the final states.
    RecurrentGrad(RecurrentSpec, bool),

    // Control.
    /// A loop.
    Scan(ByRef<Scan>),
    /// A function on the host.
    Host(ByRef<HostFn>),
    /// The operand, through which no gradient passes.
    StopGradient,
    /// The first operand, with a gradient of the user's own for the others.
    CustomVjp(ByRef<CustomVjp>),

    // Made by fusion.
    /// Fused elementwise operations.
    Kernel(ByRef<Kernel>),
    /// A contraction whose result feeds a kernel as input 0; operands: the contraction's, then the kernel's others.
    Epilogue(Box<Op>, ByRef<Kernel>),
}

impl Op {
    /// Whether every output element depends on the operands' elements at the same place alone.
    pub const fn is_elementwise(&self) -> bool {
        matches!(
            self,
            Self::Unary(_)
                | Self::Binary(_)
                | Self::Compare(_)
                | Self::Logical(_)
                | Self::Select
                | Self::Cast(_)
        )
    }

    /// Whether the result shares (or may share) the memory of its first operand.
    pub const fn is_view(&self) -> bool {
        matches!(
            self,
            Self::Reshape(_)
                | Self::Permute(_)
                | Self::Broadcast(_)
                | Self::Slice(_)
                | Self::Reverse(_)
                | Self::StopGradient
                | Self::CustomVjp(_)
        )
    }

    /// The name in text dumps, errors and the tables of `keras backends`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "input",
            Self::Variable(_) => "variable",
            Self::Constant(_) => "constant",
            Self::Iota(..) => "iota",
            Self::Random { distribution, .. } => distribution.name(),
            Self::Unary(op) => op.name(),
            Self::Binary(op) => op.name(),
            Self::Compare(op) => op.name(),
            Self::Logical(op) => op.name(),
            Self::Select => "select",
            Self::Cast(_) => "cast",
            Self::Reduce(op, _) => op.name(),
            Self::ArgReduce(op, _) => op.name(),
            Self::Cumulative(op, _) => op.name(),
            Self::TopK(_) => "top_k",
            Self::MatMul { .. } => "matmul",
            Self::Conv(_) => "conv",
            Self::ConvGradInput(..) => "conv_grad_input",
            Self::ConvGradKernel(..) => "conv_grad_kernel",
            Self::MaxPool(_) => "max_pool",
            Self::MaxPoolGrad(..) => "max_pool_grad",
            Self::AvgPool(_) => "avg_pool",
            Self::AvgPoolGrad(..) => "avg_pool_grad",
            Self::Gather(_) => "gather",
            Self::ScatterAdd(_) => "scatter_add",
            Self::Reshape(_) => "reshape",
            Self::Permute(_) => "permute",
            Self::Broadcast(_) => "broadcast",
            Self::Slice(_) => "slice",
            Self::SliceUpdate(_) => "slice_update",
            Self::Pad(_) => "pad",
            Self::Concat(_) => "concat",
            Self::Reverse(_) => "reverse",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
            Self::Recurrent(_) => "recurrent",
            Self::RecurrentGrad(..) => "recurrent_grad",
            Self::Scan(_) => "scan",
            Self::Host(_) => "host",
            Self::StopGradient => "stop_gradient",
            Self::CustomVjp(_) => "custom_gradient",
            Self::Kernel(_) => "kernel",
            Self::Epilogue(..) => "epilogue",
        }
    }
}
