//! Layers against real Keras, and against their definitions where Keras is random or silent.

pub(crate) mod case;
mod contract;
mod definitions;
mod golden;
mod operations;
mod options;
mod parity;
mod random;
mod setters;
mod sizes;
mod tf_keras;
