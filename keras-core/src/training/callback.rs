//! [`Callback`]: what runs at the begin and the end of every epoch, batch and run; [`CallbackList`] runs several in order.

use super::logs::Logs;
use crate::array::Array;
use crate::error::Result;
use crate::output::Output;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a run was asked for: Keras's `self.params`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// Samples per batch; `None` where batches come from a generator.
    pub batch_size: Option<usize>,
    /// The number after the last epoch's, counted from 0.
    pub epochs: usize,
    /// Batches per epoch, where the run counts them.
    pub steps: Option<usize>,
    /// Samples per epoch, where their number is known.
    pub samples: Option<usize>,
    /// 0 quiet, 1 progress bar, 2 one line per epoch.
    pub verbose: u8,
    /// Whether every epoch ends with a validation.
    pub do_validation: bool,
    /// Names of the loss and the metrics, then the same with `val_`, if there is validation data.
    pub metrics: Vec<String>,
}

/// What callbacks see of the model that is being trained.
pub trait TrainedModel: Send + Sync {
    /// Asks the run to end after this batch; `false` takes that back.
    fn stop_training(&self, stop: bool);
    /// Whether the run was asked to end.
    fn is_stopped(&self) -> bool;
    /// All weights, in the order of Keras's `get_weights`.
    fn get_weights(&self) -> Result<Vec<Array>>;
    /// Replaces all weights; an error if their number or a shape differs.
    fn set_weights(&self, weights: &[Array]) -> Result<()>;
    /// The optimizer's learning rate, before its own decay.
    fn learning_rate(&self) -> Result<f64>;
    /// Changes the optimizer's learning rate from the next batch on.
    fn set_learning_rate(&self, rate: f64) -> Result<()>;
}

/// What every hook is given: the model and how the run was asked for.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The model under training.
    pub model: &'a dyn TrainedModel,
    /// How the run was asked for.
    pub params: &'a Params,
}

/// Code that runs at the begin and the end of runs, epochs and batches. Every hook does nothing unless written.
///
/// Epochs and batches are counted from 0. What a hook adds to `logs` is seen by the callbacks after it, and at the end of an
/// epoch by `History`, which is always last. An error ends the run and is what `fit` returns.
///
/// ```
/// use keras_core::Result;
/// use keras_core::training::{Callback, Context, Logs};
/// /// Ends the training when the loss is good enough.
/// struct Goal(f64);
/// impl Callback for Goal {
///     fn on_epoch_end(&mut self, cx: &Context, _epoch: usize, logs: &mut Logs) -> Result<()> {
///         if logs.get("loss").is_some_and(|loss| loss < self.0) {
///             cx.model.stop_training(true);
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// Source: `keras.callbacks.Callback` of Keras 2.3.1.
#[allow(unused_variables)]
pub trait Callback: Send {
    /// Before the first epoch of a `fit`.
    fn on_train_begin(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After the last epoch of a `fit`.
    fn on_train_end(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before an epoch.
    fn on_epoch_begin(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After an epoch and its validation; `logs` holds the values of both.
    fn on_epoch_end(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before a training batch; `logs` holds `batch` and `size`.
    fn on_batch_begin(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After a training batch; `logs` holds `batch`, `size`, the loss and the metrics.
    fn on_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before a training batch; runs [`Callback::on_batch_begin`] unless written.
    fn on_train_batch_begin(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        self.on_batch_begin(cx, batch, logs)
    }
    /// After a training batch; runs [`Callback::on_batch_end`] unless written.
    fn on_train_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        self.on_batch_end(cx, batch, logs)
    }
    /// Before an `evaluate`, or the validation at the end of an epoch.
    fn on_test_begin(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After an `evaluate`, or the validation at the end of an epoch.
    fn on_test_end(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before a batch of an `evaluate` or a validation.
    fn on_test_batch_begin(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After a batch of an `evaluate` or a validation.
    fn on_test_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before a `predict`.
    fn on_predict_begin(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After a `predict`.
    fn on_predict_end(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// Before a batch of a `predict`.
    fn on_predict_batch_begin(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// After a batch of a `predict`.
    fn on_predict_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
}

/// Implements `Callback` by handing every hook on to what `$inner` makes of `$this`.
macro_rules! forwarding {
    (impl[$($generics:tt)*] $type:ty, |$this:ident| $inner:expr) => {
        impl<$($generics)*> Callback for $type {
            forwarding!(@plain |$this| $inner; on_train_begin on_train_end on_test_begin on_test_end
                on_predict_begin on_predict_end);
            forwarding!(@numbered |$this| $inner; on_epoch_begin on_epoch_end on_batch_begin on_batch_end
                on_train_batch_begin on_train_batch_end on_test_batch_begin on_test_batch_end
                on_predict_batch_begin on_predict_batch_end);
        }
    };
    (@plain |$this:ident| $inner:expr; $($hook:ident)*) => {
        $(fn $hook(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
            let $this = self;
            $inner.$hook(cx, logs)
        })*
    };
    (@numbered |$this:ident| $inner:expr; $($hook:ident)*) => {
        $(fn $hook(&mut self, cx: &Context, number: usize, logs: &mut Logs) -> Result<()> {
            let $this = self;
            $inner.$hook(cx, number, logs)
        })*
    };
}

forwarding!(impl[C: Callback + ?Sized] &mut C, |this| (**this));
forwarding!(impl[C: Callback + ?Sized] Box<C>, |this| (**this));
forwarding!(impl[C: Callback + ?Sized] Arc<Mutex<C>>, |this| this.lock().unwrap_or_else(PoisonError::into_inner));

/// What `fit`, `evaluate` and `predict` take as callbacks.
///
/// One callback, an array or `Vec` of one kind, a tuple of up to eight kinds, or a `Vec<Box<dyn Callback>>`. Each callback may be
/// given away, lent as `&mut`, so that its state can be read afterwards, or shared as `Arc<Mutex<_>>` with another thread.
///
/// ```
/// use keras_core::callbacks::{EarlyStopping, History, TerminateOnNan};
/// use keras_core::training::{Callback, IntoCallbacks};
/// let mut stop = EarlyStopping::new("val_loss").patience(2);
/// let callbacks = (&mut stop, TerminateOnNan::new(), History::new()).into_callbacks();
/// assert_eq!(callbacks.len(), 3);
/// drop(callbacks);
/// assert_eq!(stop.stopped_epoch(), 0);
/// let boxed: Vec<Box<dyn Callback>> = vec![Box::new(stop), Box::new(History::new())];
/// assert_eq!(boxed.into_callbacks().len(), 2);
/// ```
pub trait IntoCallbacks<'a> {
    /// The callbacks in the order in which they run.
    fn into_callbacks(self) -> Vec<Box<dyn Callback + 'a>>;
}

impl<'a, C: Callback + 'a> IntoCallbacks<'a> for C {
    fn into_callbacks(self) -> Vec<Box<dyn Callback + 'a>> {
        vec![Box::new(self)]
    }
}

impl<'a, C: Callback + 'a> IntoCallbacks<'a> for Vec<C> {
    fn into_callbacks(self) -> Vec<Box<dyn Callback + 'a>> {
        self.into_iter().map(|callback| Box::new(callback) as Box<dyn Callback + 'a>).collect()
    }
}

impl<'a, C: Callback + 'a, const N: usize> IntoCallbacks<'a> for [C; N] {
    fn into_callbacks(self) -> Vec<Box<dyn Callback + 'a>> {
        self.into_iter().map(|callback| Box::new(callback) as Box<dyn Callback + 'a>).collect()
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {
        $(impl<'a, $($name: Callback + 'a),*> IntoCallbacks<'a> for ($($name,)*) {
            #[allow(non_snake_case)]
            fn into_callbacks(self) -> Vec<Box<dyn Callback + 'a>> {
                let ($($name,)*) = self;
                vec![$(Box::new($name)),*]
            }
        })*
    };
}

tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

/// The last durations of one batch hook.
#[derive(Default)]
struct HookTime {
    last: VecDeque<Duration>,
    warned: bool,
}

impl HookTime {
    /// How many durations the median is taken of, as in Keras.
    const LAST: usize = 10;

    fn push(&mut self, time: Duration) {
        if self.last.len() == Self::LAST {
            self.last.pop_front();
        }
        self.last.push_back(time);
    }

    fn median(&self) -> Duration {
        let mut sorted: Vec<_> = self.last.iter().copied().collect();
        sorted.sort_unstable();
        let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default();
        (lower + upper) / 2
    }

    /// Whether callbacks, not the model, take the time of a batch.
    fn is_slow(&self, batch: Duration) -> bool {
        let median = self.median();
        !batch.is_zero() && median > batch.mul_f64(0.95) && median > Duration::from_millis(100)
    }
}

/// Which batch hook a duration belongs to.
#[derive(Clone, Copy)]
enum BatchHook {
    TrainBegin,
    TrainEnd,
    TestBegin,
    TestEnd,
    PredictBegin,
    PredictEnd,
}

impl BatchHook {
    const NAMES: [&str; 6] = [
        "on_train_batch_begin",
        "on_train_batch_end",
        "on_test_batch_begin",
        "on_test_batch_end",
        "on_predict_batch_begin",
        "on_predict_batch_end",
    ];

    fn is_begin(self) -> bool {
        matches!(self, Self::TrainBegin | Self::TestBegin | Self::PredictBegin)
    }
}

/// Runs several callbacks, each hook in the order of the list, and is a callback itself.
///
/// Warns, once per hook, when the callbacks' batch hook takes longer than 0.1 s and than 0.95 of the batch itself (medians of
/// the last 10), in Keras's words.
///
/// Source: `keras.callbacks.CallbackList` of Keras 2.3.1.
#[derive(Default)]
pub struct CallbackList<'a> {
    callbacks: Vec<Box<dyn Callback + 'a>>,
    times: [HookTime; 6],
    batch_began: Option<Instant>,
    batch_time: Duration,
}

impl<'a> CallbackList<'a> {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds callbacks at the end.
    pub fn extend(&mut self, callbacks: impl IntoCallbacks<'a>) {
        self.callbacks.extend(callbacks.into_callbacks());
    }

    /// The number of callbacks.
    pub fn len(&self) -> usize {
        self.callbacks.len()
    }

    /// Whether there are no callbacks.
    pub fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    fn each(&mut self, mut hook: impl FnMut(&mut (dyn Callback + 'a)) -> Result<()>) -> Result<()> {
        self.callbacks.iter_mut().try_for_each(|callback| hook(callback.as_mut()))
    }

    fn each_timed(
        &mut self,
        which: BatchHook,
        hook: impl FnMut(&mut (dyn Callback + 'a)) -> Result<()>,
    ) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let before = Instant::now();
        if !which.is_begin() {
            self.batch_time = self.batch_began.map_or(Duration::ZERO, |began| before - began);
        }
        self.each(hook)?;
        let after = Instant::now();
        let (batch_time, index) = (self.batch_time, which as usize);
        if let (Some(time), Some(name)) = (self.times.get_mut(index), BatchHook::NAMES.get(index)) {
            time.push(after - before);
            if !time.warned && time.is_slow(batch_time) {
                time.warned = true;
                Output::current().warning(&slow_hook(name, time.median()));
            }
        }
        if which.is_begin() {
            self.batch_began = Some(after);
        }
        Ok(())
    }
}

fn slow_hook(name: &str, median: Duration) -> String {
    let seconds = median.as_secs_f64();
    format!("Method ({name}) is slow compared to the batch update ({seconds:.6}). Check your callbacks.")
}

macro_rules! list_hooks {
    (plain: $($plain:ident)*; batch: $($batch:ident = $which:ident,)*) => {
        $(fn $plain(&mut self, cx: &Context, logs: &mut Logs) -> Result<()> {
            self.each(|callback| callback.$plain(cx, logs))
        })*
        $(fn $batch(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
            self.each_timed(BatchHook::$which, |callback| callback.$batch(cx, batch, logs))
        })*
    };
}

impl Callback for CallbackList<'_> {
    list_hooks! {
        plain: on_train_begin on_train_end on_test_begin on_test_end on_predict_begin on_predict_end;
        batch: on_train_batch_begin = TrainBegin, on_train_batch_end = TrainEnd,
            on_test_batch_begin = TestBegin, on_test_batch_end = TestEnd,
            on_predict_batch_begin = PredictBegin, on_predict_batch_end = PredictEnd,
    }

    fn on_epoch_begin(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.each(|callback| callback.on_epoch_begin(cx, epoch, logs))?;
        self.batch_time = Duration::ZERO;
        for time in &mut self.times {
            time.last.clear();
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.each(|callback| callback.on_epoch_end(cx, epoch, logs))
    }

    fn on_batch_begin(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        self.on_train_batch_begin(cx, batch, logs)
    }

    fn on_batch_end(&mut self, cx: &Context, batch: usize, logs: &mut Logs) -> Result<()> {
        self.on_train_batch_end(cx, batch, logs)
    }
}

/// A model that remembers what callbacks did to it.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// One weight, a learning rate and a flag.
    pub(crate) struct FakeModel {
        stopped: AtomicBool,
        weights: Mutex<Vec<Array>>,
        rate: Mutex<f64>,
    }

    impl FakeModel {
        pub(crate) fn new(rate: f64) -> Self {
            Self { stopped: AtomicBool::new(false), weights: Mutex::default(), rate: Mutex::new(rate) }
        }
    }

    impl TrainedModel for FakeModel {
        fn stop_training(&self, stop: bool) {
            self.stopped.store(stop, Ordering::Relaxed);
        }
        fn is_stopped(&self) -> bool {
            self.stopped.load(Ordering::Relaxed)
        }
        fn get_weights(&self) -> Result<Vec<Array>> {
            Ok(self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone())
        }
        fn set_weights(&self, weights: &[Array]) -> Result<()> {
            *self.weights.lock().unwrap_or_else(PoisonError::into_inner) = weights.to_vec();
            Ok(())
        }
        fn learning_rate(&self) -> Result<f64> {
            Ok(*self.rate.lock().unwrap_or_else(PoisonError::into_inner))
        }
        fn set_learning_rate(&self, rate: f64) -> Result<()> {
            *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = rate;
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::fake::FakeModel;
    use super::*;
    use crate::output::captured;

    /// Writes down every hook.
    #[derive(Default)]
    struct Recorder(Vec<String>);

    macro_rules! recorded {
        (plain: $($plain:ident)*; numbered: $($numbered:ident)*) => {
            impl Callback for Recorder {
                $(fn $plain(&mut self, _: &Context, _: &mut Logs) -> Result<()> {
                    self.0.push(stringify!($plain).to_owned());
                    Ok(())
                })*
                $(fn $numbered(&mut self, _: &Context, number: usize, _: &mut Logs) -> Result<()> {
                    self.0.push(format!("{} {number}", stringify!($numbered)));
                    Ok(())
                })*
            }

            /// Every hook but the two aliases, called once.
            fn call_all(callback: &mut dyn Callback, cx: &Context) -> Vec<String> {
                let mut expected = Vec::new();
                $(callback.$plain(cx, &mut Logs::new()).unwrap();
                expected.push(stringify!($plain).to_owned());)*
                $(callback.$numbered(cx, 7, &mut Logs::new()).unwrap();
                expected.push(format!("{} 7", stringify!($numbered)));)*
                expected
            }
        };
    }

    recorded! {
        plain: on_train_begin on_train_end on_test_begin on_test_end on_predict_begin on_predict_end;
        numbered: on_epoch_begin on_epoch_end on_train_batch_begin on_train_batch_end on_test_batch_begin on_test_batch_end
            on_predict_batch_begin on_predict_batch_end
    }

    fn with_context<T>(f: impl FnOnce(&Context) -> T) -> T {
        f(&Context { model: &FakeModel::new(0.1), params: &Params::default() })
    }

    #[test]
    fn every_hook_reaches_lent_boxed_shared_and_listed_callbacks() {
        with_context(|cx| {
            let (mut lent, mut listed, mut boxed) =
                (Recorder::default(), Recorder::default(), Recorder::default());
            let shared = Arc::new(Mutex::new(Recorder::default()));
            let expected = call_all(&mut &mut lent, cx);
            assert_eq!(expected.len(), 14);
            assert_eq!(lent.0, expected);
            call_all(&mut shared.clone(), cx);
            assert_eq!(shared.lock().unwrap().0, expected);
            let mut list = CallbackList::new();
            list.extend((&mut listed, Box::new(&mut boxed) as Box<dyn Callback>));
            assert_eq!(list.len(), 2);
            call_all(&mut list, cx);
            drop(list);
            assert_eq!(listed.0, expected);
            assert_eq!(boxed.0, expected);
        });
    }

    #[test]
    fn batch_hooks_are_those_of_training() {
        #[derive(Default)]
        struct Old(Vec<String>);
        impl Callback for Old {
            fn on_batch_begin(&mut self, _: &Context, batch: usize, _: &mut Logs) -> Result<()> {
                self.0.push(format!("begin {batch}"));
                Ok(())
            }
            fn on_batch_end(&mut self, _: &Context, batch: usize, _: &mut Logs) -> Result<()> {
                self.0.push(format!("end {batch}"));
                Ok(())
            }
        }
        with_context(|cx| {
            let mut old = Old::default();
            let mut list = CallbackList::new();
            list.extend(&mut old);
            call_all(&mut list, cx);
            list.on_batch_begin(cx, 8, &mut Logs::new()).unwrap();
            list.on_batch_end(cx, 8, &mut Logs::new()).unwrap();
            drop(list);
            assert_eq!(old.0, ["begin 7", "end 7", "begin 8", "end 8"]);
        });
    }

    #[test]
    fn callbacks_see_what_those_before_them_logged_and_an_error_ends_the_hook() {
        struct Add(f64);
        impl Callback for Add {
            fn on_epoch_end(&mut self, _: &Context, _: usize, logs: &mut Logs) -> Result<()> {
                let sum = logs.get("sum").unwrap_or(0.0) + self.0;
                logs.set("sum", sum);
                if sum > 2.5 {
                    return Err(crate::Error::value("add", "at most 2.5", sum.to_string()));
                }
                Ok(())
            }
        }
        with_context(|cx| {
            let mut list = CallbackList::new();
            list.extend([Add(1.0), Add(1.0)]);
            let mut logs = Logs::new();
            list.on_epoch_end(cx, 0, &mut logs).unwrap();
            assert_eq!(logs.get("sum"), Some(2.0));
            assert!(list.on_epoch_end(cx, 0, &mut logs).is_err());
            assert_eq!(logs.get("sum"), Some(3.0));
        });
    }

    #[test]
    fn medians_are_of_the_last_ten() {
        let mut time = HookTime::default();
        assert_eq!(time.median(), Duration::ZERO);
        for millis in [1000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] {
            time.push(Duration::from_millis(millis));
        }
        assert_eq!(time.median(), Duration::from_micros(5500));
    }

    #[test]
    fn slow_means_slower_than_a_tenth_of_a_second_and_than_the_batch() {
        let of = |millis| HookTime { last: [Duration::from_millis(millis)].into(), warned: false };
        assert!(of(101).is_slow(Duration::from_millis(106)));
        assert!(!of(100).is_slow(Duration::from_millis(1)));
        assert!(!of(101).is_slow(Duration::from_millis(107)));
        assert!(!of(200).is_slow(Duration::ZERO));
    }

    /// The words are those of a `RuntimeWarning` of Keras 2.3.1.
    #[test]
    fn a_slow_batch_hook_is_warned_about_once() {
        struct Slow;
        impl Callback for Slow {
            fn on_batch_end(&mut self, _: &Context, _: usize, _: &mut Logs) -> Result<()> {
                std::thread::sleep(Duration::from_millis(105));
                Ok(())
            }
        }
        with_context(|cx| {
            let ((), text) = captured(|| {
                let mut list = CallbackList::new();
                list.extend(Slow);
                for batch in 0..3 {
                    list.on_train_batch_begin(cx, batch, &mut Logs::new()).unwrap();
                    list.on_train_batch_end(cx, batch, &mut Logs::new()).unwrap();
                }
            });
            let (head, tail) = (
                "warning: Method (on_train_batch_end) is slow compared to the batch update (0.",
                "). Check your callbacks.\n",
            );
            assert!(text.starts_with(head) && text.ends_with(tail), "{text}");
            assert_eq!(text.lines().count(), 1);
        });
    }
}
