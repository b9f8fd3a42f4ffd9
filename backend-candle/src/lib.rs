//! A backend of Keras in Rust on [candle](candle_core): its tensors, its kernels, none of its automatic differentiation.
//!
//! What candle lacks, or defines otherwise than [`reference`](mod@keras_core::backend::reference), runs by the
//! decompositions of `keras-core`; the few rare operations that have none go by way of the host. Which is which,
//! `keras backends` prints. The features `cuda` and `mkl` are candle's own and need its toolkits, as does Metal, which the feature
//! `candle-metal` of the crate `keras` adds; the paths on a GPU are compiled and have not been run, those of CUDA and Metal
//! not built; that of MKL is compiled, but has been neither linked with MKL nor run.
//!
//! ```
//! use backend_candle::Candle;
//! use keras_core::{Array, DType, backend::Engine, graph::{Graph, Type, Unary}};
//! let mut g = Graph::new();
//! let x = g.input(Type::new([2], DType::F32));
//! let y = g.unary(Unary::Square, x)?;
//! g.set_outputs([y]);
//! let out = Engine::new(Candle::new("cpu")?)?.compile(&g)?.run(&[Array::from([2.0_f32, 3.0])])?;
//! assert_eq!(out[0].as_slice::<f32>()?, &[4.0, 9.0]);
//! # Ok::<(), keras_core::Error>(())
//! ```

mod backend;
mod device;
mod elementwise;
mod kernel;
mod movement;
mod reduce;
mod support;
mod tensor;

pub use backend::Candle;
pub use tensor::CandleTensor;
