//! Training: `compile`, `fit`, `evaluate`, `predict`, and the callbacks around them.

mod ahead;
mod batch;
mod batches;
mod callback;
mod compile;
mod data;
mod evaluate;
mod fit;
mod generator;
mod logs;
mod order;
mod predict;
mod progbar;
mod source;
mod step;
mod weights;

pub use crate::output::Output;
pub use batch::{TestOnBatch, TrainOnBatch};
pub use callback::{Callback, CallbackList, Context, IntoCallbacks, Params, TrainedModel};
pub(crate) use compile::Metered;
pub use compile::{Compile, Compiled, IntoLosses, PerOutput};
pub use data::Data;
pub use evaluate::Evaluate;
pub use fit::{Fit, Shuffle};
pub use generator::{Batch, Generator, Sequence};
pub use logs::{Logs, python_repr};
pub(crate) use order::{Order, Run};
pub use predict::Predict;
pub(crate) use predict::{PredictCache, one_output};
pub use progbar::Progbar;
pub use source::{Column, Source};
pub use weights::{ClassWeight, SampleWeight};

#[cfg(test)]
pub(crate) use crate::output::captured;
#[cfg(test)]
pub(crate) use callback::fake::FakeModel;
