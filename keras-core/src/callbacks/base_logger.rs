//! [`BaseLogger`]: the epoch's means of what the batches measured.

use crate::error::Result;
use crate::training::{Callback, Context, Logs};

/// Puts the mean of each metric over the epoch's samples into the logs of the epoch; `fit` runs it before all others.
///
/// A metric is averaged over the batches, weighted by their `size`; a stateful metric has the value of its last batch.
/// Entries follow [`Params::metrics`](crate::training::Params::metrics), after the validation values that are there already.
///
/// Source: `keras.callbacks.BaseLogger` of Keras 2.3.1.
#[derive(Debug, Clone, Default)]
pub struct BaseLogger {
    stateful: Vec<String>,
    seen: f64,
    totals: Logs,
}

impl BaseLogger {
    /// A logger without stateful metrics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Metrics that are not averaged over an epoch. Default: none.
    pub fn stateful_metrics<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.stateful = names.into_iter().map(Into::into).collect();
        self
    }

    fn is_stateful(&self, name: &str) -> bool {
        self.stateful.iter().any(|stateful| stateful == name)
    }
}

impl Callback for BaseLogger {
    fn on_epoch_begin(&mut self, _cx: &Context, _epoch: usize, _logs: &mut Logs) -> Result<()> {
        self.seen = 0.0;
        self.totals.clear();
        Ok(())
    }

    fn on_batch_end(&mut self, _cx: &Context, _batch: usize, logs: &mut Logs) -> Result<()> {
        let size = logs.get("size").unwrap_or(0.0);
        self.seen += size;
        for (name, value) in logs.iter() {
            let total = if self.is_stateful(name) {
                value
            } else {
                self.totals.get(name).unwrap_or(0.0) + value * size
            };
            self.totals.set(name, total);
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, _epoch: usize, logs: &mut Logs) -> Result<()> {
        for name in &cx.params.metrics {
            if let Some(total) = self.totals.get(name) {
                logs.set(name, if self.is_stateful(name) { total } else { total / self.seen });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::{FakeModel, Params};

    #[test]
    fn means_are_weighted_by_the_size_of_the_batch_and_follow_the_validation() {
        let model = FakeModel::new(0.1);
        let metrics = ["loss", "accuracy", "val_loss", "val_accuracy"].map(str::to_owned).to_vec();
        let params = Params { metrics, ..Params::default() };
        let cx = Context { model: &model, params: &params };
        let mut logger = BaseLogger::new().stateful_metrics(["accuracy"]);
        for _ in 0..2 {
            logger.on_epoch_begin(&cx, 0, &mut Logs::new()).unwrap();
            for (batch, (size, loss, accuracy)) in [(4.0, 1.0, 0.25), (1.0, 6.0, 0.4)].into_iter().enumerate()
            {
                let mut logs = Logs::from([
                    ("batch", batch as f64),
                    ("size", size),
                    ("loss", loss),
                    ("accuracy", accuracy),
                ]);
                logger.on_train_batch_end(&cx, batch, &mut logs).unwrap();
            }
            let mut logs = Logs::from([("val_loss", 9.0), ("val_accuracy", 0.5)]);
            logger.on_epoch_end(&cx, 0, &mut logs).unwrap();
            let expected = [("val_loss", 9.0), ("val_accuracy", 0.5), ("loss", 2.0), ("accuracy", 0.4)];
            assert_eq!(logs.iter().collect::<Vec<_>>(), expected);
        }
    }
}
