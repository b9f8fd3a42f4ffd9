//! The data sets of Keras's examples, downloaded on first use.

pub mod mnist;
