//! Keras 2 over an exchangeable compute backend: models, layers, losses, optimizers and training write a graph
//! of tensor operations; an [`backend::Engine`] runs it on any [`backend::Backend`].
//!
//! Modules in reading order; each depends only on those before it.

pub mod error;
#[macro_use]
pub mod array;
pub mod backend;
pub mod config;
pub mod graph;
pub mod k;
pub mod random;
pub mod registry;
pub mod semantics;
pub mod tensor;

pub use array::{Array, DType};
pub use error::{Error, Result};
pub use tensor::{Spec, Tensor};
