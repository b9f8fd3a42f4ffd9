//! The default backend of Keras in Rust: pure Rust, on the CPU, nothing to install.
//!
//! [`NdArray`] implements every operation of [`keras_core::backend::Backend`] over contiguous row-major buffers from
//! a caching pool. Matrix products come from the crate `gemm`; elementwise code is fused into kernels that run tile
//! by tile in L1, compiled for AVX-512, AVX2 and the baseline and chosen when the program runs. Work is cut by shape,
//! never by the number of threads, and partial sums combine in fixed trees: the same program gives the same bits on
//! any number of threads.
//!
//! ```
//! use backend_ndarray::NdArray;
//! use keras_core::{Array, backend::Backend};
//!
//! let backend = NdArray::new()?;
//! let a = backend.upload(&Array::from([[1.0_f32, 2.0], [3.0, 4.0]]))?;
//! let product = backend.matmul(&a, &a, false, true)?;
//! assert_eq!(backend.download(&product)?, Array::from([[5.0_f32, 11.0], [11.0, 25.0]]));
//! # Ok::<(), keras_core::Error>(())
//! ```
//!
//! In reading order: `pool` and `tensor` (memory), `parallel` and `simd` (who computes, and with which instructions),
//! `number`, `math` and `loops` (elementwise arithmetic), `plan`, `fused` and `run` (kernels and reductions), `gemm`,
//! `matmul`, `conv` and `recurrent`, then the smaller operations.

#![allow(
    clippy::inline_always,
    reason = "only inlined code is compiled for the instruction set of its caller"
)]

mod along;
mod backend;
mod conv;
mod fused;
mod gemm;
mod geometry;
mod indexing;
mod loops;
mod math;
mod matmul;
mod movement;
mod number;
mod panels;
mod parallel;
mod plan;
mod pool;
mod pooling;
mod recurrent;
mod run;
mod scratch;
mod simd;
mod tensor;

pub use backend::NdArray;
pub use tensor::Tensor;
