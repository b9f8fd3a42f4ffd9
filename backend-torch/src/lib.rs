//! A backend of Keras in Rust on [libtorch](https://pytorch.org), through the crate `tch`: its kernels, in place where the
//! engine hands memory over, and none of its automatic differentiation.
//!
//! The feature `libtorch` (of the crate `keras`: `torch`) needs libtorch 2.13.0, which `cargo xtask libtorch` fetches;
//! `LIBTORCH` and `LIBTORCH_USE_PYTORCH=1` name an existing one. Without the feature this crate is empty. CUDA and MPS are
//! compiled and have not been run.

#![cfg(feature = "libtorch")]

mod backend;
mod elementwise;
mod fused;
mod kernel;
mod movement;
mod recurrent;
mod shim;
mod tensor;
mod window;

pub use backend::Torch;
pub use tensor::TorchTensor;

/// Tests of libtorch's number of threads, which is that of the process, take turns.
#[cfg(test)]
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
