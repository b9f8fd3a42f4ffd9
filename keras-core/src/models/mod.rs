//! Models: graphs of layers that are compiled, trained, evaluated and asked.

mod config;
mod model;
mod network;
mod sequential;
mod summary;

pub use config::{model_from_config, model_from_json};
pub use model::Model;
pub(crate) use model::lock;
pub use network::{Kind, Network};
pub use sequential::Sequential;
