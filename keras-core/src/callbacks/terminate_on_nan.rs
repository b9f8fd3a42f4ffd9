//! [`TerminateOnNan`]: ends a training whose loss is no number.

use crate::error::Result;
use crate::training::{Callback, Context, Logs, Output};

/// Ends the training at the first batch whose loss is NaN or infinite, with a message.
///
/// Source: `keras.callbacks.TerminateOnNaN` of Keras 2.3.1.
#[derive(Debug, Clone, Copy, Default)]
pub struct TerminateOnNan;

impl TerminateOnNan {
    /// The callback; it has no options.
    pub fn new() -> Self {
        Self
    }
}

impl Callback for TerminateOnNan {
    fn on_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        if logs.get("loss").is_some_and(|loss| !loss.is_finite()) {
            Output::current().line(&format!("Batch {batch}: Invalid loss, terminating training"));
            cx.model.stop_training(true);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::{FakeModel, Params, TrainedModel, captured};

    #[test]
    fn only_a_loss_that_is_no_number_ends_the_training() {
        for (loss, ends) in
            [(1e308, false), (f64::NAN, true), (f64::INFINITY, true), (f64::NEG_INFINITY, true)]
        {
            let (model, params) = (FakeModel::new(0.1), Params::default());
            let cx = Context { model: &model, params: &params };
            let ((), text) = captured(|| {
                let mut logs = Logs::from([("accuracy", f64::NAN), ("loss", loss)]);
                TerminateOnNan::new().on_train_batch_end(&cx, 5, &mut logs).unwrap();
            });
            assert_eq!(model.is_stopped(), ends, "{loss}");
            assert_eq!(text, if ends { "Batch 5: Invalid loss, terminating training\n" } else { "" });
        }
    }
}
