//! Keras's callbacks, one file each, under the trait [`Callback`](crate::training::Callback).

mod base_logger;
mod csv_logger;
mod early_stopping;
mod history;
mod lambda_callback;
mod learning_rate_scheduler;
mod monitor;
mod progbar_logger;
mod reduce_lr_on_plateau;
mod terminate_on_nan;

pub use base_logger::BaseLogger;
pub use csv_logger::CsvLogger;
pub use early_stopping::EarlyStopping;
pub use history::{History, Records};
pub use lambda_callback::LambdaCallback;
pub use learning_rate_scheduler::LearningRateScheduler;
pub use monitor::Mode;
pub use progbar_logger::{CountMode, ProgbarLogger};
pub use reduce_lr_on_plateau::ReduceLrOnPlateau;
pub use terminate_on_nan::TerminateOnNan;

#[cfg(test)]
mod recorded;
