//! `predict` and `predict_on_batch`.

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
#[derive(Debug, Clone)]
pub struct Predict {
    batch_size: usize,
    verbose: u8,
}

impl Default for Predict {
    fn default() -> Self {
        Self { batch_size: 32, verbose: 0 }
    }
}

impl Predict {
    /// Batches of 32, silent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples per batch; any gives the same result.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
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
        if options.batch_size == 0 {
            return Err(Error::value("predict", "a batch size of at least 1", "0"));
        }
        let x = self.checked_inputs(x)?;
        let samples = sample_count(&x, &[])?;
        self.check_fixed_batch(samples, options.batch_size, true)?;
        let mut bar = Progbar::new(Some(samples), options.verbose);
        let mut parts: Vec<Vec<Array>> = Vec::new();
        let mut start = 0;
        while start < samples {
            let stop = (start + options.batch_size).min(samples);
            let batch = if start == 0 && stop == samples {
                x.clone()
            } else {
                x.iter().map(|array| array.rows(start, stop)).collect::<Result<Vec<_>>>()?
            };
            let outputs = self.run_inference(&batch)?;
            parts.resize_with(outputs.len(), Vec::new);
            for (part, output) in parts.iter_mut().zip(outputs) {
                part.push(output);
            }
            start = stop;
            bar.update(stop, &[]);
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
            let mut outputs = Vec::new();
            for output in self.outputs()? {
                outputs.push(trace.lift(&output)?);
            }
            let updates = trace.collected().updates;
            let mut lifted = Vec::with_capacity(updates.len());
            for (variable, value) in updates {
                lifted.push((variable, trace.lift(&value)?));
            }
            trace.with_graph_mut(|graph| {
                graph.set_outputs(outputs);
                graph.set_updates(lifted);
            });
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
