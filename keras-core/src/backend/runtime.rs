//! The object-safe face of an engine: how models hold one chosen at run time.

use super::{Backend, Engine, Lack, Support};
use crate::array::{Array, DType};
use crate::error::Result;
use crate::graph::optimize::Passes;
use crate::graph::{Graph, Op, Type};
use std::sync::Arc;

/// An engine on some backend.
pub trait Runtime: Send + Sync {
    /// The backend's name.
    fn name(&self) -> &'static str;
    /// The device it computes on.
    fn device(&self) -> String;
    /// The devices there are for the backend, by name.
    fn devices(&self) -> Vec<String>;
    /// Unique in the process.
    fn id(&self) -> u64;
    /// Whether kernels may hold that element type.
    fn supports_dtype(&self, dtype: DType) -> bool;
    /// Whether an operation runs natively or by decomposition.
    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support;
    /// The operations without kernels of the backend's own; see [`Backend::lacks`].
    fn lacks(&self) -> Vec<Lack>;
    /// How often a program carried something between device and host on its way; see [`Engine::host_copies`].
    fn host_copies(&self) -> u64;
    /// Makes a graph runnable.
    fn compile(&self, graph: &Graph, passes: Passes) -> Result<Arc<dyn Executable>>;
}

/// A compiled graph.
pub trait Executable: Send + Sync {
    /// Runs it: one array per input of the graph in, one per output out; then variables have their new values.
    fn run(&self, feeds: &[Array]) -> Result<Vec<Array>>;
    /// The optimised graph.
    fn graph(&self) -> &Graph;
}

/// What a model or a function can be told to run on: an [`Engine`], or one chosen at run time.
pub trait IntoRuntime {
    /// The engine, its backend's type forgotten.
    fn into_runtime(self) -> Arc<dyn Runtime>;
}

impl<B: Backend> IntoRuntime for &Engine<B> {
    fn into_runtime(self) -> Arc<dyn Runtime> {
        Arc::new(self.clone())
    }
}

impl IntoRuntime for Arc<dyn Runtime> {
    fn into_runtime(self) -> Arc<dyn Runtime> {
        self
    }
}

impl IntoRuntime for &Arc<dyn Runtime> {
    fn into_runtime(self) -> Arc<dyn Runtime> {
        Arc::clone(self)
    }
}

impl<B: Backend> Runtime for Engine<B> {
    fn name(&self) -> &'static str {
        self.backend().name()
    }

    fn device(&self) -> String {
        self.backend().device()
    }

    fn devices(&self) -> Vec<String> {
        self.backend().devices()
    }

    fn id(&self) -> u64 {
        self.identity()
    }

    fn supports_dtype(&self, dtype: DType) -> bool {
        self.backend().supports_dtype(dtype)
    }

    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support {
        self.backend().supports(op, inputs)
    }

    fn lacks(&self) -> Vec<Lack> {
        self.backend().lacks()
    }

    fn host_copies(&self) -> u64 {
        Engine::host_copies(self)
    }

    fn compile(&self, graph: &Graph, passes: Passes) -> Result<Arc<dyn Executable>> {
        Ok(Arc::new(self.compile_with(graph, passes)?))
    }
}

impl<B: Backend> Executable for super::Program<B> {
    fn run(&self, feeds: &[Array]) -> Result<Vec<Array>> {
        super::Program::run(self, feeds)
    }

    fn graph(&self) -> &Graph {
        super::Program::graph(self)
    }
}
