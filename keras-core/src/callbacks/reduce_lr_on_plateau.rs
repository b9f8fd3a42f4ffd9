//! [`ReduceLrOnPlateau`]: a smaller learning rate where progress ends.

use super::monitor::{Direction, Mode, watched};
use crate::error::{Error, Result};
use crate::training::{Callback, Context, Logs, Output, python_repr};

/// Multiplies the learning rate by `factor` when a quantity has not improved for `patience` epochs.
///
/// An epoch improves if its value is better than the best so far by more than `min_delta`. After a reduction, `cooldown` epochs
/// pass before epochs without improvement count again. The learning rate of the epoch is logged as `lr`.
///
/// ```
/// use keras_core::callbacks::ReduceLrOnPlateau;
/// let callback = ReduceLrOnPlateau::new("val_loss").factor(0.2).patience(5).min_lr(0.001);
/// ```
///
/// # Errors
/// In `fit`, if `factor` is not below 1 or a number among the options is NaN.
///
/// Source: `keras.callbacks.ReduceLROnPlateau` of Keras 2.3.1.
#[derive(Debug, Clone)]
pub struct ReduceLrOnPlateau {
    monitor: String,
    factor: f64,
    patience: usize,
    verbose: u8,
    mode: Mode,
    min_delta: f64,
    cooldown: usize,
    min_lr: f64,
    direction: Direction,
    best: f64,
    wait: usize,
    cooling: usize,
}

impl Default for ReduceLrOnPlateau {
    /// Watches `val_loss`.
    fn default() -> Self {
        Self::new("val_loss")
    }
}

impl ReduceLrOnPlateau {
    /// Watches a name of the logs, such as `val_loss`. If it is missing at the end of an epoch, a warning says so.
    pub fn new(monitor: impl Into<String>) -> Self {
        Self {
            monitor: monitor.into(),
            factor: 0.1,
            patience: 10,
            verbose: 0,
            mode: Mode::Auto,
            min_delta: 1e-4,
            cooldown: 0,
            min_lr: 0.0,
            direction: Direction::Falling,
            best: f64::INFINITY,
            wait: 0,
            cooling: 0,
        }
    }

    /// What the learning rate is multiplied by; below 1. Default: 0.1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Epochs without improvement after which the learning rate falls. Default: 10.
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

    /// The least change that counts as an improvement (`epsilon` in Keras before 2.1.6). Default: 1e-4.
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.min_delta = delta;
        self
    }

    /// Epochs after a reduction in which nothing is counted. Default: 0.
    pub fn cooldown(mut self, epochs: usize) -> Self {
        self.cooldown = epochs;
        self
    }

    /// The learning rate never falls below it. Default: 0.
    pub fn min_lr(mut self, rate: f64) -> Self {
        self.min_lr = rate;
        self
    }

    fn check(&self) -> Result<()> {
        let wrong = |option: &str, expected: &str, received: f64| {
            Err(Error::value(format!("ReduceLROnPlateau, {option}"), expected, received.to_string()))
        };
        if self.factor >= 1.0 || self.factor.is_nan() {
            return wrong("factor", "a factor below 1", self.factor);
        }
        if self.min_delta.is_nan() {
            return wrong("min_delta", "a number", self.min_delta);
        }
        if self.min_lr.is_nan() {
            return wrong("min_lr", "a number", self.min_lr);
        }
        Ok(())
    }

    fn reduce(&mut self, cx: &Context, epoch: usize) -> Result<()> {
        let old = cx.model.learning_rate()?;
        if old <= self.min_lr {
            return Ok(());
        }
        let new = (old * self.factor).max(self.min_lr);
        cx.model.set_learning_rate(new)?;
        if self.verbose > 0 {
            let (epoch, rate) = (epoch + 1, python_repr(new));
            let output = Output::current();
            output.line(&format!("\nEpoch {epoch:05}: ReduceLROnPlateau reducing learning rate to {rate}."));
        }
        self.cooling = self.cooldown;
        self.wait = 0;
        Ok(())
    }
}

impl Callback for ReduceLrOnPlateau {
    fn on_train_begin(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        self.check()?;
        self.direction = Direction::settle(&self.mode, &self.monitor, "Learning Rate Plateau Reducing");
        self.best = self.direction.worst();
        self.wait = 0;
        self.cooling = 0;
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        logs.set("lr", cx.model.learning_rate()?);
        let Some(current) = watched(logs, &self.monitor, "Reduce LR on plateau") else { return Ok(()) };
        if self.cooling > 0 {
            self.cooling -= 1;
            self.wait = 0;
        }
        if self.direction.is_better(current, self.best + self.direction.gain(self.min_delta)) {
            self.best = current;
            self.wait = 0;
        } else if self.cooling == 0 {
            self.wait += 1;
            if self.wait >= self.patience {
                self.reduce(cx, epoch)?;
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
    fn options_outside_their_domain_are_errors_of_fit() {
        let (model, params) = (FakeModel::new(0.1), Params::default());
        let cx = Context { model: &model, params: &params };
        let new = || ReduceLrOnPlateau::new("loss");
        let bad =
            [new().factor(1.0), new().factor(f64::NAN), new().min_delta(f64::NAN), new().min_lr(f64::NAN)];
        for mut callback in bad {
            assert!(callback.on_train_begin(&cx, &mut Logs::new()).is_err(), "{callback:?}");
        }
        new().factor(0.999).on_train_begin(&cx, &mut Logs::new()).unwrap();
    }
}
