//! The cross-crate tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod choosing;
mod cli;
mod conformance;
mod custom_backend;
mod decomposition;
mod engine;
mod everywhere;
mod faq;
mod files;
mod fixtures;
mod functions;
mod gradients;
mod keras_layers;
mod loops;
mod model;
mod observed;
mod optimizers;
mod options;
mod passes;
mod project;
mod recurrent;
mod training;
