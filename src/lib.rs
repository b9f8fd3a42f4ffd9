//! Keras 2 in Rust: define, train, save and run Keras models on exchangeable compute backends.
//!
//! ```
//! use keras::prelude::*;
//!
//! let mut model = Sequential::new();
//! model.add(Dense::new(16).activation("relu").input_shape([4]))?;
//! model.add(Dense::new(1).activation("sigmoid"))?;
//! model.compile(Compile::new("rmsprop", "binary_crossentropy").metrics(["accuracy"]))?;
//!
//! let x = Array::full(&[8, 4], 0.5_f32);
//! let y = Array::full(&[8, 1], 1.0_f32);
//! let history = model.fit(&x, &y, Fit::new().epochs(2).verbose(0))?;
//! assert_eq!(history["loss"].len(), 2);
//! # Ok::<(), keras::Error>(())
//! ```
//!
//! This crate is the facade: it re-exports [`keras_core`], registers the backends that were compiled in, and chooses
//! one by `keras.json`, `KERAS_BACKEND`, or [`set_backend`].

mod backends;
#[cfg(feature = "plot")]
pub mod plot;

pub use backends::{init, set_backend, set_device};
pub use keras_core::*;
pub use keras_core::backend::registry::register;

#[cfg(feature = "ndarray")]
pub use backends::DefaultBackend;

/// What most programs use.
pub mod prelude {
    pub use keras_core::array::{Array, DType};
    pub use keras_core::callbacks::*;
    pub use keras_core::error::{Error, Result};
    pub use keras_core::k;
    pub use keras_core::layers::*;
    pub use keras_core::models::{Model, Sequential, model_from_json};
    pub use keras_core::optimizers::*;
    pub use keras_core::tensor::{Spec, Tensor};
    pub use keras_core::training::{ClassWeight, Compile, Data, Evaluate, Fit, Predict, SampleWeight, Shuffle};
}
