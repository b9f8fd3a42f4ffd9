//! Keras 2 over an exchangeable compute backend: models, layers, losses, optimizers and training write a graph
//! of tensor operations; an [`backend::Engine`] runs it on any [`backend::Backend`].
//!
//! docs/architecture.md lists the modules in reading order; each depends only on those before it.

pub mod activations;
pub mod array;
pub mod atomic;
pub mod backend;
pub mod callbacks;
pub mod config;
pub mod constraints;
pub mod error;
pub mod graph;
pub mod initializers;
pub mod k;
pub mod kinds;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod models;
pub mod npy;
pub mod optimizers;
pub mod output;
pub mod random;
pub mod registry;
pub mod regularizers;
pub mod saving;
pub mod semantics;
pub mod tensor;
pub mod training;

pub use array::{Array, DType};
pub use error::{Error, Result};
pub use tensor::{Spec, Tensor};
