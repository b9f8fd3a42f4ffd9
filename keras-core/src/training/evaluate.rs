//! `evaluate`: loss and metrics over batches.

use super::ahead::Reading;
use super::batch::Feeds;
use super::batches::{Batches, Counted, Sizes, check_alone};
use super::callback::{Callback, CallbackList, Context, IntoCallbacks, Params};
use super::compile::Compiled;
use super::data::Data;
use super::fit::Shuffle;
use super::logs::Logs;
use super::progbar::Progbar;
use super::weights::SampleWeight;
use crate::error::Result;
use crate::models::Model;
use crate::tensor::Phase;

/// Options of [`Model::evaluate_with`].
pub struct Evaluate<'a> {
    batch_size: Option<usize>,
    steps: Option<usize>,
    verbose: u8,
    sample_weight: Option<SampleWeight>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
    reading: Reading,
}

impl Default for Evaluate<'_> {
    fn default() -> Self {
        Self {
            batch_size: None,
            steps: None,
            verbose: 1,
            sample_weight: None,
            callbacks: Vec::new(),
            reading: Reading::default(),
        }
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

    /// Evaluate all of the data as one batch, so many times. Of a generator: so many batches, where a
    /// [`Sequence`](super::Sequence) has a default, all of its batches. Excludes `batch_size`.
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
        let (x, y): (Data, Data) = (x.into(), y.into());
        self.build_from(&x)?;
        self.compile_deferred()?;
        let compiled = self.compiled("evaluate")?;
        let (batch_size, steps, reading) = (options.batch_size, options.steps, options.reading);
        let sizes = Sizes { doing: "evaluate", batch_size, steps, reading };
        sizes.check()?;
        let weight = options.sample_weight.as_ref();
        let mut batches = if let Some(generated) = x.generated() {
            check_alone(sizes.doing, &y, weight)?;
            self.generated(&compiled, generated, &sizes, (None, false), None)?
        } else {
            self.batches(self.samples(&compiled, x, y, weight, None)?, &sizes, Shuffle::None)?
        };
        let params = one_pass(&*batches, options.verbose, compiled.metrics_names.clone());
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

    /// Keras's name for [`Model::evaluate_with`] on a [`Sequence`](super::Sequence) or a [`Generator`](super::Generator).
    pub fn evaluate_generator(&self, generator: impl Into<Data>, options: Evaluate<'_>) -> Result<Vec<f64>> {
        self.evaluate_with(generator, (), options)
    }
}

/// How many samples a pass has, or how many steps.
pub(super) fn samples_and_steps(batches: &dyn Batches) -> (Option<usize>, Option<usize>) {
    match batches.counted() {
        Counted::Samples => (Some(batches.len()), None),
        Counted::Repeats | Counted::Batches => (None, Some(batches.len())),
    }
}

/// What callbacks are told of a single pass over batches.
pub(super) fn one_pass(batches: &dyn Batches, verbose: u8, metrics: Vec<String>) -> Params {
    let (samples, steps) = samples_and_steps(batches);
    Params {
        batch_size: batches.batch_size(),
        epochs: 1,
        steps,
        samples,
        verbose,
        do_validation: false,
        metrics,
    }
}

/// What a batch counts in the averages of an epoch.
pub(super) fn size_of(counted: Counted, batch: &Feeds) -> usize {
    if counted == Counted::Repeats { 1 } else { batch.count }
}

/// Who is told of an evaluation.
pub(super) struct Watch<'w, 'a> {
    pub(super) callbacks: &'w mut CallbackList<'a>,
    pub(super) cx: &'w Context<'w>,
}

/// Loss and metrics over batches: the loss averaged by their sizes, metrics accumulated.
pub(super) fn evaluate_batches(
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
    let counted = batches.counted();
    batches.begin()?;
    while let Some(batch) = batches.next()? {
        let size = size_of(counted, &batch);
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
        number += 1;
        progress(if counted == Counted::Samples { seen } else { number });
    }
    if let Some(first) = values.first_mut() {
        *first = loss / seen as f64;
    }
    callbacks.on_test_end(cx, &mut Logs::new())?;
    Ok(values)
}
