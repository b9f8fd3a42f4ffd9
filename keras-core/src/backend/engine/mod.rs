//! [`Engine`]: the one place that is generic over the backend. It makes graphs runnable and runs them.

mod commit;
mod dispatch;
mod execute;
mod liveness;
mod loops;
mod plan;
mod program;
mod scalars;
mod snapshot;

pub use program::Program;

use super::reference::Reference;
use super::{Arg, Backend, Support};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::optimize::{Passes, Target, optimize};
use crate::graph::{Graph, Kernel, Op, Type};
use plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs graphs on one backend; clones share it.
///
/// ```
/// use keras_core::{Array, DType, backend::{Engine, reference::Reference}, graph::{Graph, Type, Unary}};
/// let mut g = Graph::new();
/// let x = g.input(Type::new([2], DType::F32));
/// let y = g.unary(Unary::Square, x)?;
/// g.set_outputs([y]);
/// let engine = Engine::new(Reference)?;
/// let out = engine.compile(&g)?.run(&[Array::from([2.0_f32, 3.0])])?;
/// assert_eq!(out[0].as_slice::<f32>()?, &[4.0, 9.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct Engine<B: Backend> {
    backend: Arc<B>,
    id: u64,
    host_copies: Arc<AtomicU64>,
}

impl<B: Backend> Clone for Engine<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend), id: self.id, host_copies: Arc::clone(&self.host_copies) }
    }
}

impl<B: Backend> Engine<B> {
    /// An engine on that backend; an error if the backend cannot run here.
    pub fn new(backend: B) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        backend.probe()?;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self { backend: Arc::new(backend), id, host_copies: Arc::default() })
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Unique in the process.
    pub fn identity(&self) -> u64 {
        self.id
    }

    /// How many tensors went between device and host so far in the middle of programs: for operations of
    /// [`Support::Host`](crate::backend::Support::Host), host functions, and what is computed for host variables. Feeds,
    /// fetches, literals, random bits, the first use of a variable, a number that a backend looks at itself (candle: the least
    /// and the greatest index of a gather), and lists of places that it makes itself (candle: sixteen short ones per step in the
    /// gradient of `mnist_cnn`'s pooling, none in an LSTM) do not count.
    pub fn host_copies(&self) -> u64 {
        self.host_copies.load(Ordering::Relaxed)
    }

    fn count_host_copy(&self) {
        self.host_copies.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a graph runnable, with every pass.
    pub fn compile(&self, graph: &Graph) -> Result<Program<B>> {
        self.compile_with(graph, Passes::default())
    }

    /// Makes a graph runnable with the given passes.
    pub fn compile_with(&self, graph: &Graph, passes: Passes) -> Result<Program<B>> {
        let target = Adviser { backend: &*self.backend };
        let graph = optimize(graph, &target, passes)?;
        let plan = Plan::new(&*self.backend, graph, passes)?;
        Ok(Program::new(self.clone(), plan))
    }
}

/// The backend as the passes see it.
struct Adviser<'a, B> {
    backend: &'a B,
}

impl<B: Backend> Target for Adviser<'_, B> {
    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support {
        self.backend.supports(op, inputs)
    }

    fn supports_kernel(&self, kernel: &Kernel) -> bool {
        self.backend.supports_kernel(kernel)
    }

    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        self.backend.supports_epilogue(op, kernel)
    }

    fn fold(&self, op: &Op, inputs: &[Array]) -> Result<Vec<Array>> {
        on_reference(op, inputs)
    }
}

/// What the plan promised and is not there.
fn defect(missing: &str) -> Error {
    Error::state("engine", missing, "none").advice("this is a defect of the engine; please report it")
}

/// The value of an operation on host arrays, by definition.
fn on_reference(op: &Op, inputs: &[Array]) -> Result<Vec<Array>> {
    let operands = inputs.iter().map(|array| Arg { tensor: array.clone(), writable: false }).collect();
    let types: Vec<Type> = inputs.iter().map(|array| Type::new(array.shape(), array.dtype())).collect();
    let outputs = crate::graph::infer(op, &types.iter().collect::<Vec<_>>())?;
    let results = dispatch::dispatch(&Reference, op, operands, &[], &vec![true; outputs.len()], &outputs)?;
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
