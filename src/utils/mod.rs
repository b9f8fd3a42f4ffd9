//! What surrounds training: files from the network, label encodings, data that is not in memory.

mod categorical;
#[cfg(feature = "download")]
mod download;
mod get_file;

pub use categorical::to_categorical;
pub use get_file::GetFile;
pub use keras_core::saving::HDF5Matrix;
pub use keras_core::training::{Generator, Sequence};
