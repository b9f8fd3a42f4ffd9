//! What surrounds training: files from the network, label encodings.

mod categorical;
#[cfg(feature = "download")]
mod download;
mod get_file;

pub use categorical::to_categorical;
pub use get_file::GetFile;
