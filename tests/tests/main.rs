//! The cross-crate tests, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod choosing;
mod cli;
mod compile;
mod conformance;
mod custom_backend;
mod data;
mod decomposition;
mod embedding;
mod engine;
mod everywhere;
mod faq;
mod files;
mod fixtures;
mod functions;
mod golden;
mod gradients;
mod hostile;
mod k;
mod keras_layers;
#[cfg(unix)]
mod libtorch;
mod loops;
mod mnist;
mod model;
mod observed;
mod optimizers;
mod options;
mod passes;
mod project;
mod recurrent;
mod training;
mod wrong;

/// Seeds the process. It has one order of samples, so tests that depend on that take turns; all others do not shuffle.
fn seeded(seed: u32) -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    keras_core::random::set_seed(seed);
    turn
}
