//! One batch: `train_on_batch`, `test_on_batch`, and what `fit` and `evaluate` do per batch.

use super::compile::Compiled;
use super::data::{Data, sample_count};
use super::source::Column;
use super::step::StepKey;
use super::weights::{ClassWeight, SampleWeight};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::graph::Type;
use crate::models::Model;
use crate::tensor::{Phase, Spec};

/// Data of one split (training or validation) after all checks: what batches are drawn from.
#[derive(Clone)]
pub(crate) struct Samples {
    pub(crate) inputs: Vec<Column>,
    pub(crate) targets: Vec<Column>,
    /// Per output with a target.
    pub(crate) weights: Vec<Option<Array>>,
    pub(crate) count: usize,
}

/// The arrays of a batch.
pub(crate) struct Feeds {
    pub(crate) inputs: Vec<Array>,
    targets: Vec<Array>,
    weights: Vec<Option<Array>>,
    pub(crate) count: usize,
}

impl Samples {
    /// Of inputs alone.
    pub(crate) fn inputs(inputs: Vec<Column>) -> Result<Self> {
        let count = sample_count(&inputs, &[])?;
        Ok(Self { inputs, targets: Vec::new(), weights: Vec::new(), count })
    }

    /// Whether any of them is read from elsewhere than memory.
    pub(crate) fn is_stored(&self) -> bool {
        self.inputs.iter().chain(&self.targets).any(Column::is_stored)
    }

    /// Whether any of them is stored in pieces of several samples.
    pub(crate) fn is_in_pieces(&self) -> bool {
        self.inputs.iter().chain(&self.targets).any(|column| column.piece() > 1)
    }

    /// The rows of a batch.
    fn draw(&self, draw: impl Fn(&Column) -> Result<Array>, count: usize) -> Result<Feeds> {
        let all = |columns: &[Column]| columns.iter().map(&draw).collect::<Result<Vec<_>>>();
        let weight = |weight: &Option<Array>| weight.clone().map(|weight| draw(&weight.into())).transpose();
        Ok(Feeds {
            inputs: all(&self.inputs)?,
            targets: all(&self.targets)?,
            weights: self.weights.iter().map(weight).collect::<Result<Vec<_>>>()?,
            count,
        })
    }

    /// The samples of those numbers.
    pub(crate) fn take(&self, indices: &[usize]) -> Result<Feeds> {
        self.draw(|column| column.take(indices), indices.len())
    }

    /// The samples `start..stop`.
    pub(crate) fn rows(&self, start: usize, stop: usize) -> Result<Feeds> {
        self.draw(|column| column.rows(start, stop), stop.min(self.count).saturating_sub(start))
    }

    /// All samples.
    pub(crate) fn whole(&self) -> Result<Feeds> {
        self.rows(0, self.count)
    }

    /// The samples `start..stop` as a split of their own.
    pub(crate) fn part(&self, start: usize, stop: usize) -> Result<Self> {
        let all = |columns: &[Column]| {
            columns.iter().map(|column| column.part(start, stop)).collect::<Result<Vec<_>>>()
        };
        let weight =
            |weight: &Option<Array>| weight.as_ref().map(|weight| weight.rows(start, stop)).transpose();
        Ok(Self {
            inputs: all(&self.inputs)?,
            targets: all(&self.targets)?,
            weights: self.weights.iter().map(weight).collect::<Result<Vec<_>>>()?,
            count: stop.min(self.count).saturating_sub(start),
        })
    }
}

/// Options of [`Model::train_on_batch_with`].
///
/// ```
/// use keras_core::Array;
/// use keras_core::layers::{Dense, Input};
/// use keras_core::models::Model;
/// use keras_core::training::{Compile, TrainOnBatch};
/// let x = Input::new([2]).tensor()?;
/// let model = Model::new(&x, Dense::new(1).call(&x)?)?;
/// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
/// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
/// # model.on(&engine);
/// model.compile(Compile::new("sgd", "mse").metrics(["mae"]))?;
/// let (x, y) = (Array::full(&[4, 2], 1.0_f32)?, Array::full(&[4, 1], 1.0_f32)?);
/// // The metrics after the second batch are those of both.
/// model.train_on_batch_with(&x, &y, TrainOnBatch::new().reset_metrics(false))?;
/// let values = model.train_on_batch_with(&x, &y, TrainOnBatch::new().class_weight([(1, 2.0)]))?;
/// assert_eq!(values.len(), 2);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrainOnBatch {
    sample_weight: Option<SampleWeight>,
    class_weight: Option<ClassWeight>,
    reset_metrics: bool,
}

impl Default for TrainOnBatch {
    fn default() -> Self {
        Self { sample_weight: None, class_weight: None, reset_metrics: true }
    }
}

impl TrainOnBatch {
    /// Every sample counts the same; metrics start anew after the batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much each sample counts.
    pub fn sample_weight(mut self, weights: impl Into<SampleWeight>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// How much the samples of each class count.
    pub fn class_weight(mut self, weights: impl Into<ClassWeight>) -> Self {
        self.class_weight = Some(weights.into());
        self
    }

    /// Whether metrics start anew after this batch, as they do by default. As in Keras they do not before it: after a `fit`
    /// the first batch continues the metrics of its last epoch, unless [`Model::reset_metrics`] is called.
    pub fn reset_metrics(mut self, reset: bool) -> Self {
        self.reset_metrics = reset;
        self
    }
}

/// Options of [`Model::test_on_batch_with`].
#[derive(Debug, Clone, Default)]
pub struct TestOnBatch(TrainOnBatch);

impl TestOnBatch {
    /// Every sample counts the same; metrics start anew after the batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much each sample counts.
    pub fn sample_weight(self, weights: impl Into<SampleWeight>) -> Self {
        Self(self.0.sample_weight(weights))
    }

    /// Whether metrics start anew after this batch: [`TrainOnBatch::reset_metrics`].
    pub fn reset_metrics(self, reset: bool) -> Self {
        Self(self.0.reset_metrics(reset))
    }
}

impl Model {
    /// Checks data against the model and what it was compiled for.
    pub(crate) fn samples(
        &self,
        compiled: &Compiled,
        x: Data,
        y: Data,
        sample_weight: Option<&SampleWeight>,
        class_weight: Option<&ClassWeight>,
    ) -> Result<Samples> {
        let inputs = self.checked_inputs(x)?;
        let specs = self.output_specs()?;
        let wanted = compiled.target_outputs();
        let names: Vec<String> =
            wanted.iter().filter_map(|&i| compiled.outputs.get(i)).map(|plan| plan.name.clone()).collect();
        let arrays = y.in_order("target", &names)?;
        let mut targets = Vec::with_capacity(arrays.len());
        for (array, &i) in arrays.into_iter().zip(&wanted) {
            let (Some(spec), Some(plan)) = (specs.get(i), compiled.outputs.get(i)) else { continue };
            let loss = plan.loss.as_ref().map(|loss| loss.name()).unwrap_or_default();
            targets.push(check_target(array, spec, &plan.name, loss)?);
        }
        let labelled: Vec<(&str, &Column)> = names.iter().map(String::as_str).zip(&targets).collect();
        let count = sample_count(&inputs, &labelled)?;
        let mut weights = Vec::with_capacity(targets.len());
        for ((name, target), &i) in names.iter().zip(&targets).zip(&wanted) {
            let temporal = compiled.outputs.get(i).is_some_and(|plan| plan.temporal);
            let own =
                sample_weight.map(|weight| weight.of(name, &names, target, temporal)).transpose()?.flatten();
            let by_class = class_weight.map(|weight| weight.of(name, &names, target)).transpose()?.flatten();
            let both = match (own, by_class) {
                (Some(a), Some(b)) => Some(product(&a, &b)?),
                (a, b) => a.or(b),
            };
            let dtype = specs.get(i).map_or_else(crate::k::floatx, |spec| spec.dtype);
            weights.push(both.map(|weights| weights.cast(dtype)));
        }
        Ok(Samples { inputs, targets, weights, count })
    }

    /// Runs a step on a batch: the values of `metrics_names`.
    pub(crate) fn run_step(&self, compiled: &Compiled, phase: Phase, batch: &Feeds) -> Result<Vec<f64>> {
        let ty = |array: &Array| Type::new(array.shape(), array.dtype());
        let mut placed = vec![None; compiled.outputs.len()];
        for (i, weight) in compiled.target_outputs().into_iter().zip(&batch.weights) {
            if let Some(slot) = placed.get_mut(i) {
                *slot = weight.as_ref().map(ty);
            }
        }
        let key = StepKey {
            runtime: self.runtime()?.id(),
            phase,
            inputs: batch.inputs.iter().map(ty).collect(),
            targets: batch.targets.iter().map(ty).collect(),
            weights: placed,
        };
        let program = self.step_program(compiled, key)?;
        let mut feeds = batch.inputs.clone();
        feeds.extend(batch.targets.iter().cloned());
        feeds.extend(batch.weights.iter().flatten().cloned());
        let values = program.run(&feeds).or_else(|error| {
            // In the words of the data, not of the operation that met it.
            self.check_classes(compiled, &batch.targets)?;
            Err(error)
        })?;
        values.iter().map(Array::item).collect()
    }

    /// An error if a target holds class numbers that its output does not have.
    fn check_classes(&self, compiled: &Compiled, targets: &[Array]) -> Result<()> {
        let specs = self.output_specs()?;
        for (target, i) in targets.iter().zip(compiled.target_outputs()) {
            let (Some(plan), Some(spec)) = (compiled.outputs.get(i), specs.get(i)) else { continue };
            let Some(&Some(classes)) = spec.shape.last() else { continue };
            if classes == 0 || plan.loss.as_ref().is_none_or(|loss| loss.name() != SPARSE) {
                continue;
            }
            let known = |number: &f64| (0.0..classes as f64).contains(number);
            if let Some(unknown) = target.to_vec::<f64>().into_iter().find(|number| !known(number)) {
                let expected =
                    format!("class numbers from 0 to {}, as the output has {classes} units", classes - 1);
                return Err(Error::value(
                    format!("checking target {}", plan.name),
                    expected,
                    unknown.to_string(),
                )
                .advice(format!("count classes from 0, or give layer {} a unit for each", plan.name)));
            }
        }
        Ok(())
    }

    /// One update of the weights on one batch; the values of [`Model::metrics_names`].
    pub fn train_on_batch(&self, x: impl Into<Data>, y: impl Into<Data>) -> Result<Vec<f64>> {
        self.train_on_batch_with(x, y, TrainOnBatch::new())
    }

    /// [`Model::train_on_batch`] with options.
    pub fn train_on_batch_with(
        &self,
        x: impl Into<Data>,
        y: impl Into<Data>,
        options: TrainOnBatch,
    ) -> Result<Vec<f64>> {
        self.on_batch(Phase::Train, x.into(), y.into(), &options)
    }

    /// The loss and metrics of one batch, without an update.
    pub fn test_on_batch(&self, x: impl Into<Data>, y: impl Into<Data>) -> Result<Vec<f64>> {
        self.test_on_batch_with(x, y, TestOnBatch::new())
    }

    /// [`Model::test_on_batch`] with options.
    pub fn test_on_batch_with(
        &self,
        x: impl Into<Data>,
        y: impl Into<Data>,
        options: TestOnBatch,
    ) -> Result<Vec<f64>> {
        self.on_batch(Phase::Test, x.into(), y.into(), &options.0)
    }

    fn on_batch(&self, phase: Phase, x: Data, y: Data, options: &TrainOnBatch) -> Result<Vec<f64>> {
        self.build_from(&x)?;
        self.compile_deferred()?;
        let compiled =
            self.compiled(if phase == Phase::Train { "train_on_batch" } else { "test_on_batch" })?;
        let (samples, classes) = (options.sample_weight.as_ref(), options.class_weight.as_ref());
        let batch = self.samples(&compiled, x, y, samples, classes)?;
        self.check_fixed_batch(batch.count, batch.count, false)?;
        let values = self.run_step(&compiled, phase, &batch.whole()?)?;
        if options.reset_metrics {
            compiled.reset_metrics()?;
        }
        Ok(values)
    }
}

/// The loss of class numbers.
const SPARSE: &str = "sparse_categorical_crossentropy";

fn product(a: &Array, b: &Array) -> Result<Array> {
    let values = a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| a * b).collect();
    Array::from_vec(a.shape(), values)
}

/// Checks a target against its output, as Keras does for its own losses; floats take the output's element type.
fn check_target(array: Column, spec: &Spec, name: &str, loss: &str) -> Result<Column> {
    let array = array.column()?;
    let own = spec.shape.get(1..).unwrap_or_default();
    let given = array.shape().get(1..).unwrap_or_default();
    let shape = |lens: &[usize]| format!("{lens:?}");
    let doing = format!("checking target {name}");
    if loss == SPARSE {
        let labels = own.split_last().map(|(_, rest)| rest).unwrap_or_default();
        let fits = given.len() == own.len()
            && given.last() == Some(&1)
            && labels.iter().zip(given).all(|(own, len)| own.is_none_or(|own| own == *len));
        if !fits && given.len() != labels.len() {
            return Err(Error::shape(
                doing,
                "one class number per prediction: a last axis of length 1",
                shape(array.shape()),
            )
            .advice("for one number per class use the loss categorical_crossentropy"));
        }
        return Ok(array.cast(if array.dtype().is_float() { spec.dtype } else { DType::I64 }));
    }
    if loss == "categorical_crossentropy" && given.last() == Some(&1) && own.last() != Some(&Some(1)) {
        return Err(Error::shape(
            doing,
            format!("one number per class, shape {}", crate::tensor::shape_text(&spec.shape)),
            shape(array.shape()),
        )
        .advice(
            "encode class numbers with to_categorical, or use the loss sparse_categorical_crossentropy",
        ));
    }
    let strict = matches!(loss, "mean_squared_error" | "binary_crossentropy" | "categorical_crossentropy");
    let fits =
        given.len() == own.len() && own.iter().zip(given).all(|(own, len)| own.is_none_or(|own| own == *len));
    if strict && !fits || given.len() != own.len() {
        return Err(Error::shape(
            doing,
            format!("the shape of the output, {}", crate::tensor::shape_text(&spec.shape)),
            shape(array.shape()),
        )
        .advice("reshape the targets, or give the last layer the units that they have"));
    }
    Ok(array.cast(spec.dtype))
}
