//! Models and weights in files: those that Keras 1, 2, 3 and tf.keras write are read, and TensorFlow.js's layers-models;
//! those of Keras 2.3.1, tf.keras and Keras 3 are written. docs/files.md says what each holds.
//!
//! ```
//! use keras_core::layers::Dense;
//! use keras_core::models::Sequential;
//! use keras_core::saving::load_model;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("model.h5");
//! let mut model = Sequential::new();
//! model.add(Dense::new(2).input_shape([3]))?;
//! model.save(&path)?;
//! let loaded = load_model(&path)?;
//! assert_eq!(loaded.get_weights()?, model.get_weights()?);
//! # Ok::<(), keras_core::Error>(())
//! ```

mod aliases;
mod archive;
mod config;
mod convert;
mod custom;
mod dialect;
mod h5;
mod inspect;
mod keras_3;
mod matrix;
mod names;
mod read;
mod state;
mod text;
mod tf_keras;
mod tfjs;
mod training;
mod version;
mod weights;
mod write;

pub use crate::registry::CustomObjects;
pub use config::{clone_model, model_from_json, model_from_yaml};
pub use dialect::Dialect;
pub use inspect::{InspectedWeight, Inspection, inspect};
pub use matrix::{Dataset, File, HDF5Matrix};
pub use read::{Load, load_model, load_model_with, read_weights};
pub use tfjs::is_layers_model;
pub use weights::{LoadWeights, WeightsReport};
pub use write::Save;
