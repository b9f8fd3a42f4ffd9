//! [`LearningRateScheduler`]: a learning rate of its own for every epoch.

use crate::error::{Error, Result};
use crate::training::{Callback, Context, Logs, Output, python_repr};

/// Sets the learning rate at the begin of every epoch and logs it as `lr` at its end.
///
/// The schedule is given the number of the epoch, counted from 0, and the learning rate in force.
///
/// ```
/// use keras_core::callbacks::LearningRateScheduler;
/// let halve_every_10 = LearningRateScheduler::new(|epoch, rate| if epoch > 0 && epoch % 10 == 0 { rate / 2.0 } else { rate });
/// ```
///
/// # Errors
/// In `fit`, if the schedule returns NaN, an infinity or a negative number.
///
/// Source: `keras.callbacks.LearningRateScheduler` of Keras 2.3.1.
pub struct LearningRateScheduler<F> {
    schedule: F,
    verbose: u8,
}

impl<F: FnMut(usize, f64) -> f64 + Send> LearningRateScheduler<F> {
    /// A schedule: (epoch, rate) → rate.
    pub fn new(schedule: F) -> Self {
        Self { schedule, verbose: 0 }
    }

    /// 1 for a message per epoch. Default: 0.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
        self
    }
}

impl<F: FnMut(usize, f64) -> f64 + Send> Callback for LearningRateScheduler<F> {
    fn on_epoch_begin(&mut self, cx: &Context, epoch: usize, _logs: &mut Logs) -> Result<()> {
        let rate = (self.schedule)(epoch, cx.model.learning_rate()?);
        if !rate.is_finite() || rate < 0.0 {
            return Err(Error::value(
                format!("LearningRateScheduler, epoch {epoch}"),
                "a learning rate that is a number of at least 0",
                rate.to_string(),
            ));
        }
        cx.model.set_learning_rate(rate)?;
        if self.verbose > 0 {
            let (epoch, rate) = (epoch + 1, python_repr(rate));
            let output = Output::current();
            output
                .line(&format!("\nEpoch {epoch:05}: LearningRateScheduler setting learning rate to {rate}."));
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, _epoch: usize, logs: &mut Logs) -> Result<()> {
        logs.set("lr", cx.model.learning_rate()?);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::{FakeModel, Params, TrainedModel, captured};

    #[test]
    fn a_rate_that_is_none_is_an_error_and_is_not_set() {
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            let (model, params) = (FakeModel::new(0.1), Params::default());
            let cx = Context { model: &model, params: &params };
            let error =
                LearningRateScheduler::new(|_, _| bad).on_epoch_begin(&cx, 2, &mut Logs::new()).unwrap_err();
            assert!(
                error.to_string().starts_with("LearningRateScheduler, epoch 2: expected a learning rate"),
                "{error}"
            );
            assert_eq!(model.learning_rate().unwrap(), 0.1);
        }
    }

    #[test]
    fn a_schedule_may_keep_a_state() {
        let (model, params) = (FakeModel::new(0.8), Params::default());
        let cx = Context { model: &model, params: &params };
        let mut calls = 0;
        let mut scheduler = LearningRateScheduler::new(|epoch, rate| {
            calls += 1;
            assert_eq!(epoch + 1, calls);
            rate / 2.0
        });
        let ((), text) = captured(|| {
            for (epoch, expected) in [0.4, 0.2, 0.1].into_iter().enumerate() {
                let mut logs = Logs::new();
                scheduler.on_epoch_begin(&cx, epoch, &mut logs).unwrap();
                scheduler.on_epoch_end(&cx, epoch, &mut logs).unwrap();
                assert_eq!(logs.get("lr"), Some(expected));
            }
        });
        assert_eq!(text, "");
    }
}
