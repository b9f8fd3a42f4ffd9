//! What surrounds training: files from the network, label encodings, data that is not in memory, drawings of models.

mod categorical;
#[cfg(feature = "download")]
mod download;
mod get_file;
#[cfg(feature = "plot")]
mod plot_model;

pub use categorical::to_categorical;
pub use get_file::GetFile;
pub use keras_core::saving::HDF5Matrix;
pub use keras_core::training::{Generator, Sequence};
#[cfg(feature = "plot")]
pub use plot_model::{PlotModel, model_to_dot, plot_model};
