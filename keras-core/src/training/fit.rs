//! `fit` and `evaluate`: epochs of batches, with callbacks around them.

use super::batch::Samples;
use super::batches::{Batches, Once, Sizes, Whole};
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
    batch_size: Option<usize>,
    steps_per_epoch: Option<usize>,
    validation_steps: Option<usize>,
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
            batch_size: None,
            steps_per_epoch: None,
            validation_steps: None,
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

    /// Samples per update; the last batch of an epoch may be smaller. Default: the batch size that the model's inputs fix, else 32.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = Some(size);
        self
    }

    /// Updates per epoch, each on all of the data as one batch. Excludes `batch_size`, and asks for
    /// [`Fit::validation_steps`] where there is validation data.
    pub fn steps_per_epoch(mut self, steps: usize) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    /// Steps of a validation, each on all of the validation data as one batch; only with [`Fit::steps_per_epoch`].
    pub fn validation_steps(mut self, steps: usize) -> Self {
        self.validation_steps = Some(steps);
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
    batch_size: Option<usize>,
    steps: Option<usize>,
    verbose: u8,
    sample_weight: Option<SampleWeight>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
}

impl Default for Evaluate<'_> {
    fn default() -> Self {
        Self { batch_size: None, steps: None, verbose: 1, sample_weight: None, callbacks: Vec::new() }
    }
}

impl<'a> Evaluate<'a> {
    /// Batches of 32, with a progress bar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples per batch. Default: the batch size that the model's inputs fix, else 32.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = Some(size);
        self
    }

    /// Evaluate all of the data as one batch, so many times. Excludes `batch_size`.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
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
        // What there is to say about the choice of the backend comes before the progress.
        self.runtime()?;
        check_options(&options)?;
        let sizes = Sizes { doing: "fit", batch_size: options.batch_size, steps: options.steps_per_epoch };
        sizes.check()?;
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
        let text = match &validation {
            Some(validation) => {
                format!("Train on {} samples, validate on {} samples", train.count, validation.count)
            }
            None => format!("Train on {} samples", train.count),
        };
        let train = self.batches(train, &sizes, options.shuffle)?;
        let validation = match validation {
            Some(validation) => {
                let sizes = Sizes { steps: options.validation_steps, ..sizes };
                Some(self.batches(validation, &sizes, Shuffle::None)?)
            }
            None => None,
        };
        Output::current().progress(options.verbose, &text);
        Training {
            model: self,
            compiled,
            train,
            validation,
            epochs: options.initial_epoch..options.epochs,
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
        let sizes = Sizes { doing: "evaluate", batch_size: options.batch_size, steps: options.steps };
        sizes.check()?;
        let samples = self.samples(&compiled, x.into(), y.into(), options.sample_weight.as_ref(), None)?;
        let mut batches = self.batches(samples, &sizes, Shuffle::None)?;
        let params = Params {
            batch_size: batches.batch_size(),
            epochs: 1,
            steps: batches.samples().is_none().then(|| batches.steps()),
            samples: batches.samples(),
            verbose: options.verbose,
            do_validation: false,
            metrics: compiled.metrics_names.clone(),
        };
        let mut callbacks = CallbackList::new();
        callbacks.extend(options.callbacks);
        let cx = Context { model: self, params: &params };
        let mut bar = Progbar::new(params.samples.or(params.steps), options.verbose);
        let watch = Watch { callbacks: &mut callbacks, cx: &cx };
        let values = evaluate_batches(self, &compiled, &mut *batches, watch, |done| {
            bar.update(done, &[]);
        })?;
        bar.finish();
        Ok(values)
    }

    fn batches(&self, samples: Samples, sizes: &Sizes, shuffle: Shuffle) -> Result<Box<dyn Batches>> {
        if let Some(steps) = sizes.steps {
            self.check_fixed_batch(samples.count, samples.count, false)?;
            return Ok(Box::new(Whole::new(samples, steps)));
        }
        let batch_size = self.batch_size(sizes.batch_size)?;
        self.check_fixed_batch(samples.count, batch_size, false)?;
        Ok(Box::new(Once::new(samples, batch_size, shuffle)))
    }
}

fn check_options(options: &Fit<'_>) -> Result<()> {
    let wrong = |expected: &str, received: String| Err(Error::value("fit", expected, received));
    let validates = options.validation.is_some() || options.validation_split > 0.0;
    match (options.steps_per_epoch, options.validation_steps) {
        (None, Some(steps)) => {
            return wrong(
                "steps_per_epoch beside validation_steps",
                format!("{steps} validation_steps alone"),
            );
        }
        (Some(steps), None) if validates => {
            return wrong(
                "validation_steps beside steps_per_epoch and validation data",
                format!("{steps} steps_per_epoch alone"),
            );
        }
        (Some(_), Some(steps)) if !validates => {
            return wrong("validation data for validation_steps", format!("{steps} validation_steps alone"));
        }
        (_, Some(0)) => return wrong("at least 1 of validation_steps", "0".into()),
        _ => {}
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
    train: Box<dyn Batches>,
    validation: Option<Box<dyn Batches>>,
    epochs: std::ops::Range<usize>,
    validation_freq: usize,
}

impl Training<'_> {
    fn run(mut self, user: Vec<Box<dyn Callback + '_>>, verbose: u8) -> Result<History> {
        let names = &self.compiled.metrics_names;
        let mut metrics = names.clone();
        if self.validation.is_some() {
            metrics.extend(names.iter().map(|name| format!("val_{name}")));
        }
        let params = Params {
            batch_size: self.train.batch_size(),
            epochs: self.epochs.end,
            steps: self.train.samples().is_none().then(|| self.train.steps()),
            samples: self.train.samples(),
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
            let count = if params.samples.is_some() { CountMode::Samples } else { CountMode::Steps };
            callbacks.extend(ProgbarLogger::new(count).stateful_metrics(stateful));
        }
        callbacks.extend(user);
        callbacks.extend(&mut history);
        let cx = Context { model: self.model, params: &params };
        self.model.stop_training(false);
        callbacks.on_train_begin(&cx, &mut Logs::new())?;
        lock(&self.model.0.order).begin(self.epochs.start, || self.train.shuffle());
        for epoch in self.epochs.clone() {
            self.epoch(epoch, &mut callbacks, &cx)?;
            if self.model.is_stopped() {
                break;
            }
        }
        callbacks.on_train_end(&cx, &mut Logs::new())?;
        drop(callbacks);
        Ok(history)
    }

    fn epoch(&mut self, epoch: usize, callbacks: &mut CallbackList<'_>, cx: &Context<'_>) -> Result<()> {
        self.compiled.reset_metrics()?;
        let mut epoch_logs = Logs::new();
        callbacks.on_epoch_begin(cx, epoch, &mut epoch_logs)?;
        self.train.begin();
        let counts_samples = self.train.samples().is_some();
        let steps = self.train.steps();
        let mut number = 0;
        while let Some(batch) = self.train.next()? {
            let mut logs = Logs::new();
            logs.set("batch", number as f64);
            logs.set("size", if counts_samples { batch.count as f64 } else { 1.0 });
            callbacks.on_train_batch_begin(cx, number, &mut logs)?;
            let values = self.model.run_step(&self.compiled, Phase::Train, &batch)?;
            for (name, value) in self.compiled.metrics_names.iter().zip(values) {
                logs.set(name, value);
            }
            callbacks.on_train_batch_end(cx, number, &mut logs)?;
            number += 1;
            if self.model.is_stopped() {
                break;
            }
        }
        // As in Keras, an epoch of samples that was stopped has no validation, one of steps has.
        if (number == steps || !counts_samples)
            && self.validates(epoch)
            && let Some(validation) = &mut self.validation
        {
            let watch = Watch { callbacks, cx };
            let values = evaluate_batches(self.model, &self.compiled, &mut **validation, watch, |_| ())?;
            for (name, value) in self.compiled.metrics_names.iter().zip(values) {
                epoch_logs.set(&format!("val_{name}"), value);
            }
        }
        callbacks.on_epoch_end(cx, epoch, &mut epoch_logs)
    }

    fn validates(&self, epoch: usize) -> bool {
        (epoch + 1).is_multiple_of(self.validation_freq)
    }
}

/// Who is told of an evaluation.
struct Watch<'w, 'a> {
    callbacks: &'w mut CallbackList<'a>,
    cx: &'w Context<'w>,
}

/// Loss and metrics over batches: the loss averaged by their sizes, metrics accumulated.
fn evaluate_batches(
    model: &Model,
    compiled: &Compiled,
    batches: &mut dyn Batches,
    watch: Watch<'_, '_>,
    mut progress: impl FnMut(usize),
) -> Result<Vec<f64>> {
    let Watch { callbacks, cx } = watch;
    compiled.reset_metrics()?;
    callbacks.on_test_begin(cx, &mut Logs::new())?;
    let mut loss = 0.0;
    let mut seen = 0;
    let mut values = Vec::new();
    let mut number = 0;
    let counts_samples = batches.samples().is_some();
    batches.begin();
    while let Some(batch) = batches.next()? {
        let size = if counts_samples { batch.count } else { 1 };
        let mut logs = Logs::new();
        logs.set("batch", number as f64);
        logs.set("size", size as f64);
        callbacks.on_test_batch_begin(cx, number, &mut logs)?;
        values = model.run_step(compiled, Phase::Test, &batch)?;
        for (name, value) in compiled.metrics_names.iter().zip(&values) {
            logs.set(name, *value);
        }
        loss += values.first().copied().unwrap_or_default() * size as f64;
        seen += size;
        callbacks.on_test_batch_end(cx, number, &mut logs)?;
        progress(seen);
        number += 1;
    }
    if let Some(first) = values.first_mut() {
        *first = loss / seen as f64;
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
