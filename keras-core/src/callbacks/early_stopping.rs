//! [`EarlyStopping`]: ends a training that no longer improves.

use super::monitor::{Direction, Mode, watched};
use crate::array::Array;
use crate::error::Result;
use crate::training::{Callback, Context, Logs, Output};

/// Ends the training when a quantity has not improved for `patience` epochs.
///
/// An epoch improves if its value is better than the best so far by more than `min_delta`. After `patience` epochs in a row that
/// do not (with the default 0: after the first), the training ends.
///
/// ```
/// use keras_core::callbacks::EarlyStopping;
/// let callback = EarlyStopping::new("val_accuracy").patience(3).min_delta(0.001).restore_best_weights(true);
/// assert_eq!(callback.stopped_epoch(), 0);
/// ```
///
/// Source: `keras.callbacks.EarlyStopping` of Keras 2.3.1, with these of its habits: the message names no stop after the first
/// epoch; `restore_best_weights` acts only if this callback ends the training; a training that ends by itself keeps its last
/// weights. One habit is left out: where no epoch was better than the `baseline` there are no best weights, which raises a
/// `TypeError` in Keras; here a warning says so and the weights stay.
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    monitor: String,
    min_delta: f64,
    patience: usize,
    verbose: u8,
    mode: Mode,
    baseline: Option<f64>,
    restore_best_weights: bool,
    wait: usize,
    stopped_epoch: usize,
    best: f64,
    best_weights: Option<Vec<Array>>,
    direction: Direction,
}

impl Default for EarlyStopping {
    /// Watches `val_loss`.
    fn default() -> Self {
        Self::new("val_loss")
    }
}

impl EarlyStopping {
    /// Watches a name of the logs, such as `val_loss`. If it is missing at the end of an epoch, a warning says so.
    pub fn new(monitor: impl Into<String>) -> Self {
        Self {
            monitor: monitor.into(),
            min_delta: 0.0,
            patience: 0,
            verbose: 0,
            mode: Mode::Auto,
            baseline: None,
            restore_best_weights: false,
            wait: 0,
            stopped_epoch: 0,
            best: f64::INFINITY,
            best_weights: None,
            direction: Direction::Falling,
        }
    }

    /// The least change that counts as an improvement. Default: 0.
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.min_delta = delta;
        self
    }

    /// Epochs without improvement after which the training ends. Default: 0.
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// 1 for messages. Default: 0.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
        self
    }

    /// `"min"`, `"max"` or `"auto"`, which is `max` if the name contains `acc`. Default: auto.
    pub fn mode(mut self, mode: impl Into<Mode>) -> Self {
        self.mode = mode.into();
        self
    }

    /// The value that the first improvement has to beat. Default: none.
    pub fn baseline(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// Whether to go back to the weights of the best epoch when this callback ends the training. Default: false.
    pub fn restore_best_weights(mut self, restore: bool) -> Self {
        self.restore_best_weights = restore;
        self
    }

    /// The epoch at which it ended the training, counted from 0; 0 too if it did not.
    pub fn stopped_epoch(&self) -> usize {
        self.stopped_epoch
    }

    /// Epochs since the last improvement.
    pub fn wait(&self) -> usize {
        self.wait
    }

    /// The best value so far; before any, the baseline or an infinity.
    pub fn best(&self) -> f64 {
        self.best
    }

    fn restore(&self, cx: &Context) -> Result<()> {
        let Some(weights) = &self.best_weights else {
            Output::current().warning(&format!(
                "Early stopping found no epoch better than {} by metric `{}`; the weights stay as they are.",
                self.baseline.unwrap_or(self.best),
                self.monitor
            ));
            return Ok(());
        };
        if self.verbose > 0 {
            Output::current().line("Restoring model weights from the end of the best epoch");
        }
        cx.model.set_weights(weights)
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        self.direction = Direction::settle(&self.mode, &self.monitor, "EarlyStopping");
        self.wait = 0;
        self.stopped_epoch = 0;
        self.best = self.baseline.unwrap_or(self.direction.worst());
        self.best_weights = None;
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        let Some(current) = watched(logs, &self.monitor, "Early stopping") else { return Ok(()) };
        if self.direction.is_better(current - self.direction.gain(self.min_delta), self.best) {
            self.best = current;
            self.wait = 0;
            if self.restore_best_weights {
                self.best_weights = Some(cx.model.get_weights()?);
            }
            return Ok(());
        }
        self.wait += 1;
        if self.wait >= self.patience {
            self.stopped_epoch = epoch;
            cx.model.stop_training(true);
            if self.restore_best_weights {
                self.restore(cx)?;
            }
        }
        Ok(())
    }

    fn on_train_end(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        if self.stopped_epoch > 0 && self.verbose > 0 {
            Output::current().line(&format!("Epoch {:05}: early stopping", self.stopped_epoch + 1));
        }
        Ok(())
    }
}
