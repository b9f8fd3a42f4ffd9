//! `predict` and `predict_on_batch`.

use super::ahead::Reading;
use super::batch::Samples;
use super::batches::{Batches, Counted, FromGenerator, Once, Sizes, Whole};
use super::callback::{Callback, CallbackList, Context, IntoCallbacks};
use super::data::{Data, standardize};
use super::evaluate::{one_pass, size_of};
use super::fit::Shuffle;
use super::generator::Batch;
use super::logs::Logs;
use super::progbar::Progbar;
use super::source::Column;
use crate::array::Array;
use crate::backend::{ProgramCache, Runtime};
use crate::callbacks::LambdaCallback;
use crate::error::{Error, Result};
use crate::graph::Type;
use crate::graph::optimize::Passes;
use crate::models::Model;
use crate::tensor::{Phase, Tensor, Trace, TraceOptions};
use std::sync::Arc;

/// Programs for inference, by engine and feed types.
pub(crate) type PredictCache = ProgramCache<PredictKey>;

#[derive(PartialEq)]
pub(crate) struct PredictKey {
    runtime: u64,
    feeds: Vec<Type>,
}

/// Options of [`Model::predict`].
#[derive(Debug, Clone, Default)]
pub struct Predict {
    batch_size: Option<usize>,
    steps: Option<usize>,
    verbose: u8,
    reading: Reading,
}

impl Predict {
    /// Batches of 32, silent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples per batch; any gives the same result. Default: the batch size that the model's inputs fix, else 32.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = Some(size);
        self
    }

    /// Predict all of the data as one batch, so many times; the results follow one another. Of a generator: so many
    /// batches, where a [`Sequence`](super::Sequence) has a default, all of its batches. Excludes `batch_size`.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// 1 shows a progress bar.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
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
    /// The output for each sample: of a model with one output.
    ///
    /// # Errors
    /// If the data does not fit the inputs, or the model has several outputs (see [`Model::predict_all`]).
    pub fn predict(&self, x: impl Into<Data>) -> Result<Array> {
        one_output(self.predict_all(x, &Predict::new())?)
    }

    /// The outputs for each sample, in the model's order.
    pub fn predict_all(&self, x: impl Into<Data>, options: &Predict) -> Result<Vec<Array>> {
        self.predict_with(x, options, [] as [LambdaCallback<'_>; 0])
    }

    /// The same, and callbacks are told of its begin, its batches and its end. What hooks add to the logs of a batch, the
    /// callbacks after them see.
    ///
    /// ```
    /// use keras_core::Array;
    /// # use keras_core::backend::{Engine, reference::Reference};
    /// use keras_core::layers::{Dense, Input};
    /// use keras_core::models::Model;
    /// use keras_core::training::{Callback, Context, Logs, Predict};
    /// #[derive(Default)]
    /// struct Told(Vec<f64>);
    /// impl Callback for Told {
    ///     fn on_predict_batch_end(&mut self, _: &Context, _: usize, logs: &mut Logs) -> keras_core::Result<()> {
    ///         self.0.extend(logs.get("size"));
    ///         Ok(())
    ///     }
    /// }
    /// let x = Input::new([3]).tensor()?;
    /// let model = Model::new(&x, Dense::new(2).call(&x)?)?;
    /// # model.on(&Engine::new(Reference)?);
    /// let mut told = Told::default();
    /// model.predict_with(Array::full(&[5, 3], 0.5_f32)?, &Predict::new().batch_size(2), &mut told)?;
    /// assert_eq!(told.0, [2.0, 2.0, 1.0]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Model::predict_all`] and of the callbacks.
    pub fn predict_with<'a>(
        &self,
        x: impl Into<Data>,
        options: &Predict,
        callbacks: impl IntoCallbacks<'a>,
    ) -> Result<Vec<Array>> {
        let x: Data = x.into();
        self.build_from(&x)?;
        let (batch_size, steps, reading) = (options.batch_size, options.steps, options.reading);
        let sizes = Sizes { doing: "predict", batch_size, steps, reading };
        sizes.check()?;
        let mut batches = self.inference_batches(x, &sizes)?;
        let params = one_pass(&*batches, options.verbose, Vec::new());
        let mut watching = CallbackList::new();
        watching.extend(callbacks.into_callbacks());
        let cx = Context { model: self, params: &params };
        let mut bar = Progbar::new(params.samples.or(params.steps), options.verbose);
        let mut parts: Vec<Vec<Array>> = Vec::new();
        let (mut done, mut number) = (0, 0);
        let counted = batches.counted();
        watching.on_predict_begin(&cx, &mut Logs::new())?;
        batches.begin()?;
        while let Some(batch) = batches.next()? {
            let mut logs = Logs::new();
            logs.set("batch", number as f64);
            logs.set("size", size_of(counted, &batch) as f64);
            watching.on_predict_batch_begin(&cx, number, &mut logs)?;
            let outputs = self.run_inference(&batch.inputs)?;
            parts.resize_with(outputs.len(), Vec::new);
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.push(output);
            }
            watching.on_predict_batch_end(&cx, number, &mut logs)?;
            number += 1;
            done += if counted == Counted::Samples { batch.count } else { 1 };
            bar.update(done, &[]);
        }
        bar.finish();
        watching.on_predict_end(&cx, &mut Logs::new())?;
        parts
            .into_iter()
            .map(|mut part| if part.len() == 1 { Ok(part.remove(0)) } else { Array::concatenate(&part) })
            .collect()
    }

    /// Keras's name for [`Model::predict_all`] on a [`Sequence`](super::Sequence) or a [`Generator`](super::Generator),
    /// whose targets are not looked at.
    pub fn predict_generator(&self, generator: impl Into<Data>, options: &Predict) -> Result<Vec<Array>> {
        self.predict_all(generator, options)
    }

    fn inference_batches(&self, x: Data, sizes: &Sizes) -> Result<Box<dyn Batches + '_>> {
        if let Some(generated) = x.generated() {
            let check = |batch: Batch| {
                let samples = Samples::inputs(self.checked_inputs(batch.x)?)?;
                self.check_fixed_batch(samples.count, samples.count, true)?;
                samples.whole()
            };
            return Ok(Box::new(FromGenerator::new(generated, sizes, (None, false), check)?));
        }
        let samples = Samples::inputs(self.checked_inputs(x)?)?;
        let batch_size =
            if sizes.steps.is_some() { samples.count } else { self.batch_size(sizes.batch_size)? };
        self.check_fixed_batch(samples.count, batch_size, true)?;
        Ok(match sizes.steps {
            Some(steps) => Box::new(Whole::new(samples, steps)),
            None => Box::new(Once::new(samples, batch_size, Shuffle::None, sizes.reading)),
        })
    }

    /// The outputs for one batch, without checks of its size and without a progress bar.
    pub fn predict_on_batch(&self, x: impl Into<Data>) -> Result<Vec<Array>> {
        let x = self.checked_inputs(x.into())?;
        self.run_inference(&x.iter().map(Column::whole).collect::<Result<Vec<_>>>()?)
    }

    pub(crate) fn checked_inputs(&self, x: Data) -> Result<Vec<Column>> {
        let names = self.input_names()?;
        let arrays = x.in_order("input", &names)?;
        standardize("input", arrays, &names, &self.input_specs()?)
    }

    /// The batch size that was asked for, else the one that the inputs fix, else 32.
    pub(crate) fn batch_size(&self, asked: Option<usize>) -> Result<usize> {
        if let Some(size) = asked {
            return Ok(size);
        }
        Ok(self.input_specs()?.iter().find_map(|spec| spec.shape.first().copied().flatten()).unwrap_or(32))
    }

    /// A model whose inputs fix the batch size, as stateful ones do, takes only whole batches of that size.
    pub(crate) fn check_fixed_batch(&self, samples: usize, batch: usize, predicting: bool) -> Result<()> {
        for spec in self.input_specs()? {
            let Some(&Some(fixed)) = spec.shape.first() else { continue };
            let whole = samples.is_multiple_of(batch) || (predicting && samples <= batch);
            let used = batch.min(samples);
            if used != fixed || !whole {
                let stateful = self.layers().into_iter().filter(|layer| layer.definition().stateful());
                let names: Vec<String> =
                    stateful.map(|layer| format!("stateful layer {}", layer.name())).collect();
                let places: Vec<String> =
                    std::iter::once("checking batches".to_owned()).chain(names).collect();
                return Err(Error::value(
                    places.join(", "),
                    format!(
                        "a batch size of {fixed}, as the model's inputs fix it, and a number of samples that it divides"
                    ),
                    format!("{samples} samples in batches of {batch}"),
                )
                .advice("give as many samples as fill batches of that size"));
            }
        }
        Ok(())
    }

    fn run_inference(&self, x: &[Array]) -> Result<Vec<Array>> {
        let runtime = self.runtime()?;
        let feeds: Vec<Type> = x.iter().map(|array| Type::new(array.shape(), array.dtype())).collect();
        let key = PredictKey { runtime: runtime.id(), feeds: feeds.clone() };
        let program = self.0.predict.get(key, || {
            let trace = self.trace(Phase::Test, &feeds, Arc::default())?;
            let outputs = self.outputs()?;
            // States of stateful layers are known once the outputs are.
            outputs.iter().try_for_each(|output| trace.lift(output).map(drop))?;
            trace.finish(&outputs, trace.collected().updates)?;
            compile(&trace, &*runtime)
        })?;
        program.run(x)
    }

    /// A trace with the model's inputs fed by tensors of those types.
    pub(crate) fn trace(
        &self,
        phase: Phase,
        feeds: &[Type],
        frozen: Arc<std::collections::HashSet<u64>>,
    ) -> Result<Trace> {
        let options =
            TraceOptions { phase, semantics: self.semantics(), random: Some(self.0.random.clone()), frozen };
        let trace = Trace::new(options);
        for (symbol, ty) in self.inputs()?.iter().zip(feeds) {
            let value: Tensor = trace.input(ty.clone());
            trace.feed(symbol, value, None);
        }
        Ok(trace)
    }
}

/// Compiles what a trace wrote.
pub(crate) fn compile(trace: &Trace, runtime: &dyn Runtime) -> Result<Arc<dyn crate::backend::Executable>> {
    trace.with_graph(|graph| runtime.compile(graph, Passes::default()))
}

pub(crate) fn one_output(mut outputs: Vec<Array>) -> Result<Array> {
    match outputs.len() {
        1 => Ok(outputs.remove(0)),
        n => Err(Error::state("predict", "a model with one output", format!("{n} outputs"))
            .advice("use predict_all")),
    }
}
