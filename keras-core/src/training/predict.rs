//! `predict` and `predict_on_batch`.

use super::batches::Sizes;
use super::data::{Data, sample_count, standardize};
use super::progbar::Progbar;
use crate::array::Array;
use crate::backend::{ProgramCache, Runtime};
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

    /// Predict all of the data as one batch, so many times; the results follow one another. Excludes `batch_size`.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// 1 shows a progress bar.
    pub fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
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
        let x: Data = x.into();
        if let Some(spec) = x.first_spec() {
            self.build_from(&spec)?;
        }
        let x = self.checked_inputs(x)?;
        let samples = sample_count(&x, &[])?;
        let sizes = Sizes { doing: "predict", batch_size: options.batch_size, steps: options.steps };
        sizes.check()?;
        let (batch_size, passes) = match options.steps {
            Some(steps) => (samples, steps),
            None => (self.batch_size(options.batch_size)?, 1),
        };
        self.check_fixed_batch(samples, batch_size, true)?;
        let mut bar = Progbar::new(Some(samples.saturating_mul(passes)), options.verbose);
        let mut parts: Vec<Vec<Array>> = Vec::new();
        let mut done = 0;
        for start in (0..passes).flat_map(|_| (0..samples).step_by(batch_size)) {
            let stop = start.saturating_add(batch_size).min(samples);
            let batch = if stop - start == samples {
                x.clone()
            } else {
                x.iter().map(|array| array.rows(start, stop)).collect::<Result<Vec<_>>>()?
            };
            let outputs = self.run_inference(&batch)?;
            parts.resize_with(outputs.len(), Vec::new);
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.push(output);
            }
            done += stop - start;
            bar.update(done, &[]);
        }
        bar.finish();
        parts
            .into_iter()
            .map(|mut part| if part.len() == 1 { Ok(part.remove(0)) } else { Array::concatenate(&part) })
            .collect()
    }

    /// The outputs for one batch, without checks of its size and without a progress bar.
    pub fn predict_on_batch(&self, x: impl Into<Data>) -> Result<Vec<Array>> {
        let x = self.checked_inputs(x.into())?;
        self.run_inference(&x)
    }

    pub(crate) fn checked_inputs(&self, x: Data) -> Result<Vec<Array>> {
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
                return Err(Error::value(
                    "checking batches",
                    format!(
                        "a batch size of {fixed}, as the model's inputs fix it, and a number of samples that it divides"
                    ),
                    format!("{samples} samples in batches of {batch}"),
                ));
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

fn one_output(mut outputs: Vec<Array>) -> Result<Array> {
    match outputs.len() {
        1 => Ok(outputs.remove(0)),
        n => Err(Error::state("predict", "a model with one output", format!("{n} outputs"))
            .advice("use predict_all")),
    }
}
