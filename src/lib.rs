//! Keras 2 in Rust.
