//! Training: `compile`, `fit`, `evaluate`, `predict`, and the callbacks around them.

mod batch;
mod batches;
mod callback;
mod compile;
mod data;
mod fit;
mod logs;
mod order;
mod predict;
mod progbar;
mod step;
mod weights;

pub use crate::output::Output;
pub use callback::{Callback, CallbackList, Context, IntoCallbacks, Params, TrainedModel};
pub use compile::{Compile, Compiled, IntoLosses, PerOutput};
pub use data::Data;
pub use fit::{Evaluate, Fit, Shuffle};
pub use logs::{Logs, python_repr};
pub(crate) use order::Order;
pub use predict::Predict;
pub(crate) use predict::PredictCache;
pub use progbar::Progbar;
pub use weights::{ClassWeight, SampleWeight};

#[cfg(test)]
pub(crate) use crate::output::captured;
#[cfg(test)]
pub(crate) use callback::fake::FakeModel;
