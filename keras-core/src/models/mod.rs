//! Models: graphs of layers that are compiled, trained, evaluated and asked.

mod config;
mod connections;
mod model;
mod nesting;
mod network;
mod sequential;
mod summary;

pub use crate::saving::{clone_model, load_model, model_from_json, model_from_yaml};
pub(crate) use config::layer_from_config;
pub use config::model_from_config;
pub use connections::Connection;
pub use model::Model;
pub(crate) use model::lock;
pub(crate) use nesting::{Nesting, by_key, is_nested};
pub use network::{Kind, Network};
pub use sequential::Sequential;
