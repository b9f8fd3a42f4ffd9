//! Layers around a layer: [`TimeDistributed`], [`Bidirectional`].

mod bidirectional;
mod time_distributed;

pub use bidirectional::{Bidirectional, MergeMode};
pub use time_distributed::TimeDistributed;
