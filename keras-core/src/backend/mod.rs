//! What computes: the [`Backend`] trait (tensor operations and nothing else), the [`Engine`] that runs graphs on
//! any backend, [`Variable`]s, and the object-safe [`Runtime`] through which models hold an engine.

mod cache;
pub mod contrary;
mod engine;
pub mod reference;
pub mod registry;
mod runtime;
mod variable;

pub use cache::ProgramCache;
pub use engine::{Engine, Program};
pub use runtime::{Executable, IntoRuntime, Runtime};
pub use variable::{Variable, VariableId};

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Kernel, Logical, Op, PoolSpec, Reduce,
    SliceSpec, Type, Unary,
};
use crate::random::Stream;

/// An operand that a backend may overwrite if `writable`: the engine's alias analysis has shown that nothing else
/// can see its memory, that each element has a place of its own there (no broadcast lies behind it), and it has given
/// up its own handle. A backend never has to find that out for itself.
#[derive(Debug, Clone)]
pub struct Arg<T> {
    /// The tensor.
    pub tensor: T,
    /// Whether its memory may be reused for the result.
    pub writable: bool,
}

/// A host scalar as it enters a kernel: a learning rate, an iteration count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// A float (of either width).
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The value as a float.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Float(x) => x,
            Self::Int(x) => x as f64,
            Self::Bool(x) => f64::from(u8::from(x)),
        }
    }

    /// The value as an integer, truncated towards zero.
    pub fn to_i64(self) -> i64 {
        match self {
            Self::Float(x) => x as i64,
            Self::Int(x) => x,
            Self::Bool(x) => x.into(),
        }
    }
}

/// What a backend does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has a kernel.
    Native,
    /// The engine runs the operation's decomposition into others.
    Decomposed,
    /// There is neither: the engine brings the operands to the host, computes by definition, and brings the result
    /// back, which [`Engine::host_copies`] counts. For rare operations without a decomposition.
    Host,
}

impl Support {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Decomposed => "decomposed",
            Self::Host => "host",
        }
    }
}

/// An operation that a backend runs without a kernel of its own, on all operands or on some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// The operation's name.
    pub operation: &'static str,
    /// What is done instead.
    pub instead: Support,
    /// Why, in a line.
    pub reason: &'static str,
}

impl Lack {
    /// Several operations that are treated alike for one reason.
    pub fn all(instead: Support, reason: &'static str, operations: &[&'static str]) -> Vec<Self> {
        operations.iter().map(|&operation| Self { operation, instead, reason }).collect()
    }
}

/// Tensor operations on some device: all that a backend has to provide.
///
/// Operands have the types that the graph's shape rules demand, and are never empty: the engine answers operations
/// with an empty operand or result itself. Results may be views of operands. [`mod@reference`] is the definition
/// of every operation, in naive loops; the conformance suite compares a backend with it.
#[allow(missing_docs, reason = "each method is the operation of its name in `graph::Op`")]
pub trait Backend: Send + Sync + 'static {
    /// A handle to memory on the device; cloning shares it.
    type Tensor: Clone + Send + Sync + 'static;

    /// The name by which users choose it.
    fn name(&self) -> &'static str;
    /// The device it computes on: `cpu`, `cuda:0`, ….
    fn device(&self) -> String {
        "cpu".into()
    }
    /// The devices there are for it, by name; that one alone if not said otherwise.
    fn devices(&self) -> Vec<String> {
        vec![self.device()]
    }
    /// Whether it can run here; the error says what is missing.
    fn probe(&self) -> Result<()> {
        Ok(())
    }
    /// Whether it has a kernel for the operation on operands of those types. Asked while a program is compiled.
    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support;
    /// All operations for which `supports` says anything but native, if only for some operands. `keras backends` prints
    /// them, and the conformance suite's report has no others.
    fn lacks(&self) -> Vec<Lack> {
        Vec::new()
    }
    /// Whether kernels may hold that element type at all.
    fn supports_dtype(&self, dtype: DType) -> bool {
        let _ = dtype;
        true
    }
    /// Whether it runs that fused kernel; what it declines stays separate operations.
    fn supports_kernel(&self, kernel: &Kernel) -> bool {
        let _ = kernel;
        false
    }
    /// Whether it runs that kernel as the epilogue of the contraction.
    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        let _ = (op, kernel);
        false
    }

    /// A tensor with memory of its own: it may be overwritten while the array lives on.
    fn upload(&self, array: &Array) -> Result<Self::Tensor>;
    fn download(&self, x: &Self::Tensor) -> Result<Array>;
    /// The same elements in memory of their own; by way of the host unless the backend knows better.
    fn copy(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        self.upload(&self.download(x)?)
    }
    /// The type of a tensor.
    fn type_of(&self, x: &Self::Tensor) -> Type;

    fn unary(&self, op: Unary, x: Arg<Self::Tensor>) -> Result<Self::Tensor>;
    fn binary(&self, op: Binary, a: Arg<Self::Tensor>, b: Arg<Self::Tensor>) -> Result<Self::Tensor>;
    fn compare(&self, op: Compare, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    fn logical(&self, op: Logical, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    fn select(&self, c: &Self::Tensor, a: Arg<Self::Tensor>, b: Arg<Self::Tensor>) -> Result<Self::Tensor>;
    fn cast(&self, x: &Self::Tensor, to: DType) -> Result<Self::Tensor>;

    fn reduce(&self, op: Reduce, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;
    fn arg_reduce(&self, op: ArgReduce, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor>;
    fn cumulative(&self, op: Cumulative, x: &Self::Tensor, axis: usize) -> Result<Self::Tensor>;
    fn top_k(&self, x: &Self::Tensor, k: usize) -> Result<(Self::Tensor, Self::Tensor)>;

    fn matmul(
        &self,
        a: &Self::Tensor,
        b: &Self::Tensor,
        trans_a: bool,
        trans_b: bool,
    ) -> Result<Self::Tensor>;
    fn conv(&self, spec: &ConvSpec, x: &Self::Tensor, kernel: &Self::Tensor) -> Result<Self::Tensor>;
    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        grad: &Self::Tensor,
        kernel: &Self::Tensor,
    ) -> Result<Self::Tensor>;
    fn conv_grad_kernel(
        &self,
        spec: &ConvSpec,
        kernel: &[usize],
        x: &Self::Tensor,
        grad: &Self::Tensor,
    ) -> Result<Self::Tensor>;
    /// Maxima and, if wanted, the positions of the first maxima.
    fn max_pool(
        &self,
        spec: &PoolSpec,
        x: &Self::Tensor,
        positions: bool,
    ) -> Result<(Self::Tensor, Option<Self::Tensor>)>;
    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        grad: &Self::Tensor,
        positions: &Self::Tensor,
    ) -> Result<Self::Tensor>;
    fn avg_pool(&self, spec: &PoolSpec, x: &Self::Tensor) -> Result<Self::Tensor>;
    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Self::Tensor) -> Result<Self::Tensor>;

    fn gather(&self, x: &Self::Tensor, indices: &Self::Tensor, axis: usize) -> Result<Self::Tensor>;
    fn scatter_add(
        &self,
        size: usize,
        indices: &Self::Tensor,
        updates: &Self::Tensor,
    ) -> Result<Self::Tensor>;
    fn reshape(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    fn permute(&self, x: &Self::Tensor, perm: &[usize]) -> Result<Self::Tensor>;
    fn broadcast(&self, x: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    fn slice(&self, x: &Self::Tensor, spec: &SliceSpec) -> Result<Self::Tensor>;
    fn slice_update(
        &self,
        base: Arg<Self::Tensor>,
        update: &Self::Tensor,
        spec: &SliceSpec,
    ) -> Result<Self::Tensor>;
    fn pad(&self, x: &Self::Tensor, pads: &[(usize, usize)]) -> Result<Self::Tensor>;
    fn concat(&self, parts: &[Self::Tensor], axis: usize) -> Result<Self::Tensor>;
    fn reverse(&self, x: &Self::Tensor, axes: &[usize]) -> Result<Self::Tensor>;

    /// A tensor with memory of its own, as everything that is no view: each element has its place.
    fn full(&self, ty: &Type, value: Scalar) -> Result<Self::Tensor>;
    fn iota(&self, ty: &Type, axis: usize) -> Result<Self::Tensor>;
    /// Random numbers of that stream; whatever the backend does, the bits are those of the default.
    fn random(&self, ty: &Type, distribution: Distribution, stream: &Stream) -> Result<Self::Tensor> {
        self.upload(&random_array(ty, distribution, stream)?)
    }

    /// Operand `operand` of a contraction with something computed from it in advance, such as packed panels: it stands for
    /// that operand in this operation on operands of those types, and nowhere else. `None`: there is nothing that would
    /// pay. Programs without updates ask once per value of a variable and keep the result, which may share the
    /// operand's memory.
    fn prepack(
        &self,
        op: &Op,
        types: &[&Type],
        operand: usize,
        tensor: &Self::Tensor,
    ) -> Result<Option<Self::Tensor>> {
        let _ = (op, types, operand, tensor);
        Ok(None)
    }

    /// Runs a fused kernel; called only if `supports_kernel` agreed.
    fn kernel(
        &self,
        kernel: &Kernel,
        inputs: Vec<Arg<Self::Tensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Self::Tensor>> {
        let _ = (inputs, scalars);
        Err(unsupported(self.name(), &format!("a fused kernel of {} instructions", kernel.code.len())))
    }
    /// Runs a contraction and a kernel on its result; called only if `supports_epilogue` agreed.
    fn epilogue(
        &self,
        op: &Op,
        operands: &[Self::Tensor],
        kernel: &Kernel,
        inputs: Vec<Arg<Self::Tensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Self::Tensor>> {
        let _ = (operands, kernel, inputs, scalars);
        Err(unsupported(self.name(), op.name()))
    }
    /// Runs a composite (softmax, recurrent layers), called only if `supports` said it is native; outputs that are
    /// not wanted may be left out.
    fn composite(
        &self,
        op: &Op,
        inputs: &[Self::Tensor],
        wanted: &[bool],
    ) -> Result<Vec<Option<Self::Tensor>>> {
        let _ = (inputs, wanted);
        Err(unsupported(self.name(), op.name()))
    }
}

/// The error of a backend asked for what it does not have.
pub fn unsupported(backend: &str, what: &str) -> Error {
    Error::backend(format!("backend {backend}"), "an operation it supports", what)
}

/// The definition of [`Backend::random`]: fills a host array from the stream.
pub fn random_array(ty: &Type, distribution: Distribution, stream: &Stream) -> Result<Array> {
    match ty.dtype {
        DType::F32 => {
            let mut values = vec![0.0_f32; ty.len()];
            match distribution {
                Distribution::Uniform => stream.fill_uniform_f32(0, &mut values),
                Distribution::Normal => stream.fill_normal_f32(0, &mut values),
                Distribution::TruncatedNormal => stream.fill_truncated_normal_f32(0, &mut values),
            }
            Array::from_vec(&ty.shape, values)
        }
        DType::F64 => {
            let mut values = vec![0.0_f64; ty.len()];
            match distribution {
                Distribution::Uniform => stream.fill_uniform_f64(0, &mut values),
                Distribution::Normal => stream.fill_normal_f64(0, &mut values),
                Distribution::TruncatedNormal => stream.fill_truncated_normal_f64(0, &mut values),
            }
            Array::from_vec(&ty.shape, values)
        }
        other => Err(Error::dtype("random numbers", "float32 or float64", other.name())),
    }
}
