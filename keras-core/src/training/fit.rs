//! `fit` and `evaluate`: epochs of batches, with callbacks around them.

use super::batch::Samples;
use super::callback::{Callback, CallbackList, Context, IntoCallbacks, Params, TrainedModel};
use super::compile::Compiled;
use super::data::Data;
use super::logs::Logs;
use super::progbar::Progbar;
use super::weights::{ClassWeight, SampleWeight};
use crate::array::Array;
use crate::callbacks::{BaseLogger, CountMode, History, ProgbarLogger};
use crate::error::{Error, Result};
use crate::models::{Model, lock};
use crate::output::Output;
use crate::random;
use crate::tensor::Phase;
use std::sync::Arc;

/// In which order `fit` draws samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shuffle {
    /// Shuffled anew before every epoch: the order of `np.random.shuffle`.
    #[default]
    Samples,
    /// Whole batches shuffled, for data that is read in order.
    Batches,
    /// As given.
    None,
}

impl From<bool> for Shuffle {
    fn from(shuffle: bool) -> Self {
        if shuffle { Self::Samples } else { Self::None }
    }
}

/// Options of [`Model::fit`].
///
/// ```
/// use keras_core::training::Fit;
/// let options = Fit::new().epochs(5).batch_size(128).validation_split(0.1).verbose(0);
/// ```
pub struct Fit<'a> {
    batch_size: usize,
    epochs: usize,
    initial_epoch: usize,
    verbose: u8,
    callbacks: Vec<Box<dyn Callback + 'a>>,
    validation_split: f64,
    validation: Option<(Data, Data, Option<SampleWeight>)>,
    validation_freq: usize,
    shuffle: Shuffle,
    sample_weight: Option<SampleWeight>,
    class_weight: Option<ClassWeight>,
}

impl Default for Fit<'_> {
    fn default() -> Self {
        Self {
            batch_size: 32,
            epochs: 1,
            initial_epoch: 0,
            verbose: 1,
            callbacks: Vec::new(),
            validation_split: 0.0,
            validation: None,
            validation_freq: 1,
            shuffle: Shuffle::Samples,
            sample_weight: None,
            class_weight: None,
        }
    }
}

impl<'a> Fit<'a> {
    /// Keras's defaults: one epoch, batches of 32, shuffled, with a progress bar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples per update; the last batch of an epoch may be smaller.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
        self
    }

    /// The epoch (counted from 0) before which training ends.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// The epoch at which training starts, to resume an earlier run.
    pub fn initial_epoch(mut self, epoch: usize) -> Self {
        self.initial_epoch = epoch;
        self
    }

    /// 0 is silent, 1 a progress bar, 2 a line per epoch.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
        self
    }

    /// What is called around batches and epochs.
    pub fn callbacks(mut self, callbacks: impl IntoCallbacks<'a>) -> Self {
        self.callbacks.extend(callbacks.into_callbacks());
        self
    }

    /// The last fraction of the data, as given and before any shuffling, is kept for validation.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation_split = fraction;
        self
    }

    /// Data that is evaluated after every epoch.
    pub fn validation_data(mut self, x: impl Into<Data>, y: impl Into<Data>) -> Self {
        self.validation = Some((x.into(), y.into(), None));
        self
    }

    /// The same with sample weights.
    pub fn weighted_validation_data(
        mut self,
        x: impl Into<Data>,
        y: impl Into<Data>,
        weights: impl Into<SampleWeight>,
    ) -> Self {
        self.validation = Some((x.into(), y.into(), Some(weights.into())));
        self
    }

    /// Validate only after every so many epochs.
    pub fn validation_freq(mut self, epochs: usize) -> Self {
        self.validation_freq = epochs;
        self
    }

    /// Whether, and how, training data is shuffled.
    pub fn shuffle(mut self, shuffle: impl Into<Shuffle>) -> Self {
        self.shuffle = shuffle.into();
        self
    }

    /// How much each sample counts in the loss.
    pub fn sample_weight(mut self, weights: impl Into<SampleWeight>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// How much each class counts in the loss.
    pub fn class_weight(mut self, weights: impl Into<ClassWeight>) -> Self {
        self.class_weight = Some(weights.into());
        self
    }
}

/// Options of [`Model::evaluate_with`].
pub struct Evaluate<'a> {
    batch_size: usize,
    verbose: u8,
    sample_weight: Option<SampleWeight>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
}

impl Default for Evaluate<'_> {
    fn default() -> Self {
        Self { batch_size: 32, verbose: 1, sample_weight: None, callbacks: Vec::new() }
    }
}

impl<'a> Evaluate<'a> {
    /// Batches of 32, with a progress bar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples per batch.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
        self
    }

    /// 0 is silent, 1 a progress bar.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
        self
    }

    /// How much each sample counts.
    pub fn sample_weight(mut self, weights: impl Into<SampleWeight>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// What is called around batches.
    pub fn callbacks(mut self, callbacks: impl IntoCallbacks<'a>) -> Self {
        self.callbacks.extend(callbacks.into_callbacks());
        self
    }
}

impl Model {
    /// Trains the model: `epochs` passes over the data in batches, one update per batch.
    ///
    /// # Errors
    /// If the model was never compiled, the data does not fit it, or an option is out of range.
    pub fn fit(&self, x: impl Into<Data>, y: impl Into<Data>, options: Fit<'_>) -> Result<History> {
        let (x, y): (Data, Data) = (x.into(), y.into());
        if let Some(spec) = x.first_spec() {
            self.build_from(&spec)?;
            self.compile_deferred()?;
        }
        let compiled = self.compiled("fit")?;
        check_options(&options)?;
        if self.trainable_changed(&compiled) {
            Output::current().warning(
                "Discrepancy between trainable weights and collected trainable weights, \
                 did you set `model.trainable` without calling `model.compile` after ?",
            );
        }
        let samples =
            self.samples(&compiled, x, y, options.sample_weight.as_ref(), options.class_weight.as_ref())?;
        let (train, validation) = match options.validation {
            Some((x, y, weights)) => (samples, Some(self.samples(&compiled, x, y, weights.as_ref(), None)?)),
            None if options.validation_split > 0.0 => {
                let at = (samples.count as f64 * (1.0 - options.validation_split)) as usize;
                if at == 0 || at == samples.count {
                    return Err(Error::value(
                        "fit",
                        "a validation_split that leaves samples on both sides",
                        format!("{} of {} samples", options.validation_split, samples.count),
                    ));
                }
                let validation = samples.rows(at, samples.count)?;
                (samples.rows(0, at)?, Some(validation))
            }
            None => (samples, None),
        };
        self.check_fixed_batch(train.count, options.batch_size, false)?;
        if let Some(validation) = &validation {
            self.check_fixed_batch(validation.count, options.batch_size, false)?;
        }
        Training {
            model: self,
            compiled,
            train,
            validation,
            batch_size: options.batch_size,
            epochs: options.initial_epoch..options.epochs,
            shuffle: options.shuffle,
            validation_freq: options.validation_freq,
        }
        .run(options.callbacks, options.verbose)
    }

    /// The loss and metrics over the data, in the order of [`Model::metrics_names`].
    pub fn evaluate(&self, x: impl Into<Data>, y: impl Into<Data>) -> Result<Vec<f64>> {
        self.evaluate_with(x, y, Evaluate::new().verbose(0))
    }

    /// [`Model::evaluate`] with options.
    pub fn evaluate_with(
        &self,
        x: impl Into<Data>,
        y: impl Into<Data>,
        options: Evaluate<'_>,
    ) -> Result<Vec<f64>> {
        let compiled = self.compiled("evaluate")?;
        if options.batch_size == 0 {
            return Err(Error::value("evaluate", "a batch size of at least 1", "0"));
        }
        let samples = self.samples(&compiled, x.into(), y.into(), options.sample_weight.as_ref(), None)?;
        self.check_fixed_batch(samples.count, options.batch_size, false)?;
        let params = Params {
            batch_size: Some(options.batch_size),
            epochs: 1,
            steps: None,
            samples: Some(samples.count),
            verbose: options.verbose,
            do_validation: false,
            metrics: compiled.metrics_names.clone(),
        };
        let mut callbacks = CallbackList::new();
        callbacks.extend(options.callbacks);
        let cx = Context { model: self, params: &params };
        let mut bar = Progbar::new(Some(samples.count), options.verbose);
        let watch = Watch { callbacks: &mut callbacks, cx: &cx };
        let values = evaluate_samples(self, &compiled, &samples, options.batch_size, watch, |done| {
            bar.update(done, &[]);
        })?;
        bar.finish();
        Ok(values)
    }
}

fn check_options(options: &Fit<'_>) -> Result<()> {
    let wrong = |expected: &str, received: String| Err(Error::value("fit", expected, received));
    if options.batch_size == 0 {
        return wrong("a batch size of at least 1", "0".into());
    }
    if options.verbose > 2 {
        return wrong("verbose 0, 1 or 2", options.verbose.to_string());
    }
    if options.validation_freq == 0 {
        return wrong("a validation_freq of at least 1", "0".into());
    }
    if !(0.0..1.0).contains(&options.validation_split) {
        return wrong(
            "a validation_split of at least 0 and less than 1",
            options.validation_split.to_string(),
        );
    }
    Ok(())
}

/// A run of `fit`.
struct Training<'a> {
    model: &'a Model,
    compiled: Arc<Compiled>,
    train: Samples,
    validation: Option<Samples>,
    batch_size: usize,
    epochs: std::ops::Range<usize>,
    shuffle: Shuffle,
    validation_freq: usize,
}

impl Training<'_> {
    fn run(self, user: Vec<Box<dyn Callback + '_>>, verbose: u8) -> Result<History> {
        let names = &self.compiled.metrics_names;
        let mut metrics = names.clone();
        if self.validation.is_some() {
            metrics.extend(names.iter().map(|name| format!("val_{name}")));
        }
        let params = Params {
            batch_size: Some(self.batch_size),
            epochs: self.epochs.end,
            steps: None,
            samples: Some(self.train.count),
            verbose,
            do_validation: self.validation.is_some(),
            metrics,
        };
        // Metrics accumulate by themselves; only the loss is averaged over batches.
        let stateful: Vec<String> = names.iter().skip(1).cloned().collect();
        let mut history = History::new();
        let mut callbacks = CallbackList::new();
        callbacks.extend(BaseLogger::new().stateful_metrics(stateful.clone()));
        if verbose > 0 {
            callbacks.extend(ProgbarLogger::new(CountMode::Samples).stateful_metrics(stateful));
        }
        callbacks.extend(user);
        callbacks.extend(&mut history);
        let cx = Context { model: self.model, params: &params };
        let validating =
            self.validation.as_ref().map(|samples| format!(", validate on {} samples", samples.count));
        let text = format!("Train on {} samples{}", self.train.count, validating.unwrap_or_default());
        Output::current().progress(verbose, &text);
        self.model.stop_training(false);
        callbacks.on_train_begin(&cx, &mut Logs::new())?;
        // Shuffled further from epoch to epoch, as in Keras.
        let mut order: Vec<usize> = (0..self.train.count).collect();
        lock(&self.model.0.order).begin(self.epochs.start, || self.shuffle(&mut order));
        for epoch in self.epochs.clone() {
            self.epoch(epoch, &mut order, &mut callbacks, &cx)?;
            if self.model.is_stopped() {
                break;
            }
        }
        callbacks.on_train_end(&cx, &mut Logs::new())?;
        drop(callbacks);
        Ok(history)
    }

    fn epoch(
        &self,
        epoch: usize,
        order: &mut Vec<usize>,
        callbacks: &mut CallbackList<'_>,
        cx: &Context<'_>,
    ) -> Result<()> {
        self.compiled.reset_metrics()?;
        let mut epoch_logs = Logs::new();
        callbacks.on_epoch_begin(cx, epoch, &mut epoch_logs)?;
        self.shuffle(order);
        let batches = order.chunks(self.batch_size).collect::<Vec<_>>();
        let last = batches.len().saturating_sub(1);
        for (number, indices) in batches.into_iter().enumerate() {
            let mut logs = Logs::new();
            logs.set("batch", number as f64);
            logs.set("size", indices.len() as f64);
            callbacks.on_train_batch_begin(cx, number, &mut logs)?;
            let batch = self.train.take(indices)?;
            let values = self.model.run_step(&self.compiled, Phase::Train, &batch)?;
            for (name, value) in self.compiled.metrics_names.iter().zip(values) {
                logs.set(name, value);
            }
            callbacks.on_train_batch_end(cx, number, &mut logs)?;
            if self.model.is_stopped() {
                break;
            }
            if number == last
                && self.validates(epoch)
                && let Some(validation) = &self.validation
            {
                let watch = Watch { callbacks, cx };
                let values =
                    evaluate_samples(self.model, &self.compiled, validation, self.batch_size, watch, |_| ())?;
                for (name, value) in self.compiled.metrics_names.iter().zip(values) {
                    epoch_logs.set(&format!("val_{name}"), value);
                }
            }
        }
        callbacks.on_epoch_end(cx, epoch, &mut epoch_logs)
    }

    fn validates(&self, epoch: usize) -> bool {
        (epoch + 1).is_multiple_of(self.validation_freq)
    }

    /// Puts the numbers of the samples into the order of the next epoch.
    fn shuffle(&self, order: &mut Vec<usize>) {
        match self.shuffle {
            Shuffle::None => {}
            Shuffle::Samples => random::with_order(|random| random.shuffle(order)),
            Shuffle::Batches => {
                // Whole batches change places; what is left over stays last.
                let whole = order.len() / self.batch_size;
                let rest = order.split_off(whole * self.batch_size);
                let mut batches: Vec<&[usize]> = order.chunks(self.batch_size).collect();
                random::with_order(|random| random.shuffle(&mut batches));
                *order = batches.concat();
                order.extend(rest);
            }
        }
    }
}

/// Who is told of an evaluation.
struct Watch<'w, 'a> {
    callbacks: &'w mut CallbackList<'a>,
    cx: &'w Context<'w>,
}

/// Loss and metrics over samples: the loss averaged over batches by their sizes, metrics accumulated.
fn evaluate_samples(
    model: &Model,
    compiled: &Compiled,
    samples: &Samples,
    batch_size: usize,
    watch: Watch<'_, '_>,
    mut progress: impl FnMut(usize),
) -> Result<Vec<f64>> {
    let Watch { callbacks, cx } = watch;
    compiled.reset_metrics()?;
    callbacks.on_test_begin(cx, &mut Logs::new())?;
    let mut loss = 0.0;
    let mut values = Vec::new();
    for (number, start) in (0..samples.count).step_by(batch_size).enumerate() {
        let batch = samples.rows(start, start + batch_size)?;
        let mut logs = Logs::new();
        logs.set("batch", number as f64);
        logs.set("size", batch.count as f64);
        callbacks.on_test_batch_begin(cx, number, &mut logs)?;
        values = model.run_step(compiled, Phase::Test, &batch)?;
        for (name, value) in compiled.metrics_names.iter().zip(&values) {
            logs.set(name, *value);
        }
        loss += values.first().copied().unwrap_or_default() * batch.count as f64;
        callbacks.on_test_batch_end(cx, number, &mut logs)?;
        progress(start + batch.count);
    }
    if let Some(first) = values.first_mut() {
        *first = loss / samples.count as f64;
    }
    callbacks.on_test_end(cx, &mut Logs::new())?;
    Ok(values)
}

impl TrainedModel for Model {
    fn stop_training(&self, stop: bool) {
        Self::stop_training(self, stop);
    }

    fn is_stopped(&self) -> bool {
        Self::is_stopped(self)
    }

    fn get_weights(&self) -> Result<Vec<Array>> {
        Self::get_weights(self)
    }

    fn set_weights(&self, weights: &[Array]) -> Result<()> {
        Self::set_weights(self, weights)
    }

    fn learning_rate(&self) -> Result<f64> {
        self.optimizer()?.learning_rate()
    }

    fn set_learning_rate(&self, rate: f64) -> Result<()> {
        self.optimizer()?.set_learning_rate(rate)
    }
}
