//! [`ProgbarLogger`]: the progress of each epoch, in Keras's look.

use crate::error::Result;
use crate::training::{Callback, Context, Logs, Output, Progbar};

/// What a progress bar counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountMode {
    /// Samples, where the data's length is known.
    #[default]
    Samples,
    /// Batches.
    Steps,
}

/// Shows each epoch: `Epoch 1/12`, then a [`Progbar`] with the loss and the metrics. `fit` runs it unless `verbose` is 0.
///
/// What `verbose` 1 and 2 show, and where, is told at [`Output`]. Of a training that is stopped in mid-epoch, the bar stays where it
/// was and `verbose` 2 has no line, as in Keras.
///
/// Source: `keras.callbacks.ProgbarLogger` of Keras 2.3.1.
#[derive(Default)]
pub struct ProgbarLogger {
    count: CountMode,
    stateful: Vec<String>,
    target: Option<usize>,
    seen: usize,
    values: Vec<(String, f64)>,
    bar: Option<Progbar>,
}

impl ProgbarLogger {
    /// A logger that counts samples or steps.
    pub fn new(count: CountMode) -> Self {
        Self { count, ..Self::default() }
    }

    /// Metrics that are shown as they come; all others are averaged over the epoch. Default: none.
    pub fn stateful_metrics<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.stateful = names.into_iter().map(Into::into).collect();
        self
    }

    fn is_unfinished(&self) -> bool {
        self.target.is_none_or(|target| self.seen < target)
    }

    fn collect(&mut self, cx: &Context, logs: &Logs) {
        for name in &cx.params.metrics {
            if let Some(value) = logs.get(name) {
                self.values.push((name.clone(), value));
            }
        }
    }

    fn show(&mut self) {
        if let Some(bar) = &mut self.bar {
            let values: Vec<_> = self.values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            bar.update(self.seen, &values);
        }
    }
}

impl Callback for ProgbarLogger {
    fn on_epoch_begin(&mut self, cx: &Context, epoch: usize, _logs: &mut Logs) -> Result<()> {
        let params = cx.params;
        self.target = match self.count {
            CountMode::Samples => params.samples,
            CountMode::Steps => params.steps,
        };
        self.seen = 0;
        self.values.clear();
        self.bar = None;
        if params.verbose > 0 {
            Output::current().progress(params.verbose, &format!("Epoch {}/{}", epoch + 1, params.epochs));
            self.bar = Some(
                Progbar::new(self.target, params.verbose).stateful_metrics(self.stateful.iter().cloned()),
            );
        }
        Ok(())
    }

    fn on_batch_begin(&mut self, _cx: &Context, _batch: usize, _logs: &mut Logs) -> Result<()> {
        if self.is_unfinished() {
            self.values.clear();
        }
        Ok(())
    }

    fn on_batch_end(&mut self, cx: &Context, _batch: usize, logs: &mut Logs) -> Result<()> {
        self.seen += match self.count {
            CountMode::Samples => logs.get("size").unwrap_or(0.0) as usize,
            CountMode::Steps => 1,
        };
        self.collect(cx, logs);
        // The last batch waits for the values of the epoch.
        if self.is_unfinished() {
            self.show();
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, _epoch: usize, logs: &mut Logs) -> Result<()> {
        self.collect(cx, logs);
        self.show();
        self.bar = None;
        Ok(())
    }
}
