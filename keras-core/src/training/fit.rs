//! `fit`: epochs of batches, with callbacks around them.

use super::ahead::Reading;
use super::batches::{Batches, Counted, Sizes, check_alone};
use super::callback::{Callback, CallbackList, Context, IntoCallbacks, Params, TrainedModel};
use super::compile::Compiled;
use super::data::Data;
use super::evaluate::{Watch, evaluate_batches, samples_and_steps, size_of};
use super::logs::Logs;
use super::weights::{ClassWeight, SampleWeight};
use crate::array::Array;
use crate::callbacks::{BaseLogger, CountMode, History, ProgbarLogger};
use crate::error::{Error, Result};
use crate::models::{Model, lock};
use crate::output::Output;
use crate::tensor::Phase;

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
    samples_per_epoch: Option<usize>,
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
    reading: Reading,
}

impl Default for Fit<'_> {
    fn default() -> Self {
        Self {
            batch_size: None,
            steps_per_epoch: None,
            samples_per_epoch: None,
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
            reading: Reading::default(),
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

    /// Updates per epoch. Of a generator, batches per epoch, where a [`Sequence`](super::Sequence) has a default, all of
    /// its batches. Of arrays, updates on all of the data as one batch each: that asks for [`Fit::validation_steps`] where
    /// there is validation data. Excludes `batch_size`.
    pub fn steps_per_epoch(mut self, steps: usize) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    /// Ends an epoch with the batch that reaches so many samples, as Keras 1 did: for generators. Excludes
    /// [`Fit::steps_per_epoch`]. Going beyond is told once, in a warning.
    pub fn samples_per_epoch(mut self, samples: usize) -> Self {
        self.samples_per_epoch = Some(samples);
        self
    }

    /// Steps of a validation: batches of a generator of validation data. Of arrays, each is on all of the validation data
    /// as one batch; only with [`Fit::steps_per_epoch`].
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

    /// Threads that read ahead of what is not in memory: files, and the batches of a [`Sequence`](super::Sequence). None:
    /// read where it is used. Default 1.
    pub fn workers(mut self, threads: usize) -> Self {
        self.reading.workers = threads;
        self
    }

    /// How many batches may wait that were read ahead. Default 10.
    pub fn max_queue_size(mut self, batches: usize) -> Self {
        self.reading.queue = batches;
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
        self.build_from(&x)?;
        self.compile_deferred()?;
        let compiled = self.compiled("fit")?;
        // What there is to say about the choice of the backend comes before the progress.
        self.runtime()?;
        check_options(&options, x.generated().is_some())?;
        let (batch_size, steps, reading) = (options.batch_size, options.steps_per_epoch, options.reading);
        let sizes = Sizes { doing: "fit", batch_size, steps, reading };
        sizes.check()?;
        if self.trainable_changed(&compiled) {
            Output::current().warning(
                "Discrepancy between trainable weights and collected trainable weights, \
                 did you set `model.trainable` without calling `model.compile` after ?",
            );
        }
        let (weights, class_weight) = (options.sample_weight.as_ref(), options.class_weight.as_ref());
        let mut count = None;
        let mut validation = None;
        let train = if let Some(generated) = x.generated() {
            check_alone(sizes.doing, &y, weights)?;
            let order = (options.samples_per_epoch, options.shuffle != Shuffle::None);
            self.generated(&compiled, generated, &sizes, order, class_weight)?
        } else {
            let mut samples = self.samples(&compiled, x, y, weights, class_weight)?;
            if options.validation_split > 0.0 && options.validation.is_none() {
                let at = (samples.count as f64 * (1.0 - options.validation_split)) as usize;
                if at == 0 || at == samples.count {
                    return Err(Error::value(
                        "fit",
                        "a validation_split that leaves samples on both sides",
                        format!("{} of {} samples", options.validation_split, samples.count),
                    )
                    .advice("give more samples, or validation_data"));
                }
                validation = Some(samples.part(at, samples.count)?);
                samples = samples.part(0, at)?;
            }
            if options.shuffle == Shuffle::Samples && samples.is_in_pieces() {
                Output::current().warning(
                    "every batch of shuffled samples reads chunks all over the file: \
                     Shuffle::Batches, Keras's shuffle=\"batch\", reads it in order",
                );
            }
            count = Some(samples.count);
            self.batches(samples, &sizes, options.shuffle)?
        };
        let sizes = Sizes { steps: options.validation_steps, ..sizes };
        let mut validation_batches = None;
        if let Some((x, y, weights)) = options.validation {
            if let Some(generated) = x.generated() {
                check_alone("fit, validation data", &y, weights.as_ref())?;
                let sizes = Sizes { doing: "fit, validation data", batch_size: None, ..sizes };
                validation_batches =
                    Some(self.generated(&compiled, generated, &sizes, (None, false), None)?);
            } else {
                validation = Some(self.samples(&compiled, x, y, weights.as_ref(), None)?);
            }
        }
        if let Some(validation) = validation {
            if let Some(count) = count {
                let text = format!("Train on {count} samples, validate on {} samples", validation.count);
                Output::current().progress(options.verbose, &text);
            }
            validation_batches = Some(self.batches(validation, &sizes, Shuffle::None)?);
        }
        Training {
            model: self,
            compiled: &compiled,
            train,
            validation: validation_batches,
            epochs: options.initial_epoch..options.epochs,
            validation_freq: options.validation_freq,
        }
        .run(options.callbacks, options.verbose)
    }

    /// Keras's name for [`Model::fit`] on a [`Sequence`](super::Sequence) or a [`Generator`](super::Generator).
    pub fn fit_generator(&self, generator: impl Into<Data>, options: Fit<'_>) -> Result<History> {
        self.fit(generator, (), options)
    }
}

fn check_options(options: &Fit<'_>, generates: bool) -> Result<()> {
    let wrong = |expected: &str, received: String, advice: &str| {
        Err(Error::value("fit", expected, received).advice(advice))
    };
    let validates = options.validation.is_some() || options.validation_split > 0.0;
    let validation_generates = options.validation.as_ref().is_some_and(|(x, ..)| x.generated().is_some());
    if generates && options.validation_split > 0.0 {
        let expected = "validation_data beside data from a generator, which cannot be split";
        let received = format!("a validation_split of {}", options.validation_split);
        return wrong(expected, received, "give validation_data, from another generator or as arrays");
    }
    if !generates && let Some(samples) = options.samples_per_epoch {
        let expected = "samples_per_epoch for data from a generator";
        return wrong(expected, format!("{samples} of arrays"), "use steps_per_epoch");
    }
    match (options.steps_per_epoch, options.validation_steps) {
        _ if validation_generates => {}
        (_, Some(steps)) if generates => {
            let expected = "validation_steps for validation data from a generator";
            return wrong(
                expected,
                format!("{steps} validation_steps of arrays"),
                "leave validation_steps out",
            );
        }
        _ if generates => {}
        (None, Some(steps)) => {
            return wrong(
                "steps_per_epoch beside validation_steps",
                format!("{steps} validation_steps alone"),
                "give both or none",
            );
        }
        (Some(steps), None) if validates => {
            return wrong(
                "validation_steps beside steps_per_epoch and validation data",
                format!("{steps} steps_per_epoch alone"),
                "give both or none",
            );
        }
        (Some(_), Some(steps)) if !validates => {
            let received = format!("{steps} validation_steps alone");
            return wrong("validation data for validation_steps", received, "give validation_data");
        }
        _ => {}
    }
    if options.validation_steps == Some(0) {
        return wrong("at least 1 of validation_steps", "0".into(), "leave it out for all validation data");
    }
    if options.verbose > 2 {
        let received = options.verbose.to_string();
        return wrong("verbose 0, 1 or 2", received, "0 is silent, 1 a bar, 2 a line per epoch");
    }
    if options.validation_freq == 0 {
        return wrong("a validation_freq of at least 1", "0".into(), "1 validates after every epoch");
    }
    if !(0.0..1.0).contains(&options.validation_split) {
        return wrong(
            "a validation_split of at least 0 and less than 1",
            options.validation_split.to_string(),
            "it is the fraction that is kept for validation: 0.1 of 100 samples are the last 10",
        );
    }
    Ok(())
}

/// A run of `fit`.
struct Training<'a> {
    model: &'a Model,
    compiled: &'a Compiled,
    train: Box<dyn Batches + 'a>,
    validation: Option<Box<dyn Batches + 'a>>,
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
        let (samples, steps) = samples_and_steps(&*self.train);
        let mut params = Params {
            batch_size: self.train.batch_size(),
            epochs: self.epochs.end,
            steps,
            samples,
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
        callbacks.on_train_begin(&cx, &mut Logs::new())?;
        self.model.stop_training(false);
        if !self.epochs.is_empty() {
            lock(&self.model.0.order).begin(self.epochs.start, || self.train.shuffle());
        }
        for epoch in self.epochs.clone() {
            lock(&self.model.0.order).begin_epoch(epoch);
            self.train.begin()?;
            (params.samples, params.steps) = samples_and_steps(&*self.train);
            let cx = Context { model: self.model, params: &params };
            self.epoch(epoch, &mut callbacks, &cx)?;
            if self.model.is_stopped() {
                break;
            }
        }
        let cx = Context { model: self.model, params: &params };
        callbacks.on_train_end(&cx, &mut Logs::new())?;
        drop(callbacks);
        Ok(history)
    }

    fn epoch(&mut self, epoch: usize, callbacks: &mut CallbackList<'_>, cx: &Context<'_>) -> Result<()> {
        self.compiled.reset_metrics()?;
        let mut epoch_logs = Logs::new();
        callbacks.on_epoch_begin(cx, epoch, &mut epoch_logs)?;
        let counted = self.train.counted();
        let mut number = 0;
        let mut size = 0;
        while let Some(batch) = self.train.next()? {
            let mut logs = Logs::new();
            logs.set("batch", number as f64);
            logs.set("size", size_of(counted, &batch) as f64);
            size = batch.count;
            callbacks.on_train_batch_begin(cx, number, &mut logs)?;
            let values = self.model.run_step(self.compiled, Phase::Train, &batch)?;
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
        if (self.train.is_over() || counted == Counted::Repeats)
            && self.validates(epoch)
            && let Some(validation) = &mut self.validation
        {
            if self.train.batch_size().is_none() {
                // Keras cuts the validation data as the generator cuts the training data.
                validation.set_batch_size(size);
            }
            let watch = Watch { callbacks, cx };
            let values = evaluate_batches(self.model, self.compiled, &mut **validation, watch, |_| ())?;
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
