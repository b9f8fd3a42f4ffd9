//! `compile`: what a model is trained for, taken as a snapshot.

use super::step::StepKey;
use crate::array::{Array, DType};
use crate::backend::{ProgramCache, Variable};
use crate::error::{Error, Result};
use crate::graph::Type;
use crate::layers::Weight;
use crate::losses::{LossRef, LossSpec};
use crate::metrics::{MetricRef, MetricSpec, resolve_metric};
use crate::models::{Model, lock};
use crate::optimizers::{OptimizerRef, OptimizerSpec, OptimizerState};
use crate::registry::{finite, finite_in};
use crate::semantics::{MetricNames, Semantics};
use crate::tensor::{Phase, Tensor, Trace, TraceOptions};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;

/// Options of [`Model::compile`]: optimizer, loss, metrics.
///
/// ```
/// use keras_core::{optimizers::Adam, training::Compile};
/// let options = Compile::new(Adam::new(), "categorical_crossentropy").metrics(["accuracy"]);
/// ```
pub struct Compile {
    optimizer: OptimizerSpec,
    loss: PerOutput<LossSpec>,
    loss_weights: PerOutput<f64>,
    metrics: PerOutput<Vec<MetricSpec>>,
    weighted_metrics: PerOutput<Vec<MetricSpec>>,
    sample_weight_mode: PerOutput<String>,
}

/// Something for each output: nothing, one for all, in the model's order, or by output name.
#[derive(Clone, Default)]
pub enum PerOutput<T> {
    /// Nothing for any output.
    #[default]
    None,
    /// The same for every output.
    All(T),
    /// One for each output, in order; an output may have none.
    List(Vec<Option<T>>),
    /// By output name.
    Named(Vec<(String, T)>),
}

impl<T> PerOutput<T> {
    /// How a training config writes it.
    fn to_value(&self, nothing: Value, write: impl Fn(&T) -> Value) -> Value {
        match self {
            Self::None => nothing,
            Self::All(value) => write(value),
            Self::List(values) => {
                values.iter().map(|value| value.as_ref().map_or(Value::Null, &write)).collect()
            }
            Self::Named(values) => {
                values.iter().map(|(name, value)| (name.clone(), write(value))).collect::<Map<_, _>>().into()
            }
        }
    }
}

impl<T: Clone> PerOutput<T> {
    /// What each of the outputs has.
    fn resolve(&self, what: &str, names: &[String]) -> Result<Vec<Option<T>>> {
        match self {
            Self::None => Ok(vec![None; names.len()]),
            Self::All(value) => Ok(vec![Some(value.clone()); names.len()]),
            Self::List(values) if values.len() == names.len() => Ok(values.clone()),
            Self::List(values) => Err(Error::value(
                format!("compile, {what}"),
                format!("{} entries, one per output: {}", names.len(), names.join(", ")),
                values.len().to_string(),
            )
            .advice("list one for each output, or give them by output name")),
            Self::Named(values) => {
                if let Some((name, _)) = values.iter().find(|(name, _)| !names.contains(name)) {
                    let known = names.iter().map(String::as_str);
                    return Err(Error::unknown(format!("compile, {what}"), name, known));
                }
                Ok(names
                    .iter()
                    .map(|name| {
                        values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
                    })
                    .collect())
            }
        }
    }
}

impl From<&str> for PerOutput<String> {
    fn from(value: &str) -> Self {
        Self::All(value.to_owned())
    }
}

impl<const N: usize> From<[Option<&str>; N]> for PerOutput<String> {
    fn from(values: [Option<&str>; N]) -> Self {
        Self::List(values.into_iter().map(|value| value.map(str::to_owned)).collect())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for PerOutput<String> {
    fn from(values: [(&str, &str); N]) -> Self {
        Self::Named(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// What may stand for the losses: one for all outputs, a list, or by output name.
pub trait IntoLosses {
    /// The losses per output.
    fn into_losses(self) -> PerOutput<LossSpec>;
}

impl<T: Into<LossSpec>> IntoLosses for T {
    fn into_losses(self) -> PerOutput<LossSpec> {
        PerOutput::All(self.into())
    }
}

impl<T: Into<LossSpec>, const N: usize> IntoLosses for [T; N] {
    fn into_losses(self) -> PerOutput<LossSpec> {
        PerOutput::List(self.into_iter().map(|loss| Some(loss.into())).collect())
    }
}

impl<T: Into<LossSpec>> IntoLosses for Vec<Option<T>> {
    fn into_losses(self) -> PerOutput<LossSpec> {
        PerOutput::List(self.into_iter().map(|loss| loss.map(Into::into)).collect())
    }
}

impl<T: Into<LossSpec>, const N: usize> IntoLosses for [(&str, T); N] {
    fn into_losses(self) -> PerOutput<LossSpec> {
        PerOutput::Named(self.into_iter().map(|(name, loss)| (name.to_owned(), loss.into())).collect())
    }
}

/// No loss of any output: of a model whose losses come from layers or from [`Model::add_loss`].
impl IntoLosses for () {
    fn into_losses(self) -> PerOutput<LossSpec> {
        PerOutput::None
    }
}

impl IntoLosses for PerOutput<LossSpec> {
    fn into_losses(self) -> PerOutput<LossSpec> {
        self
    }
}

impl Compile {
    /// An optimizer and a loss (or one per output), by name or as values.
    pub fn new(optimizer: impl Into<OptimizerSpec>, loss: impl IntoLosses) -> Self {
        Self {
            optimizer: optimizer.into(),
            loss: loss.into_losses(),
            loss_weights: PerOutput::None,
            metrics: PerOutput::None,
            weighted_metrics: PerOutput::None,
            sample_weight_mode: PerOutput::None,
        }
    }

    /// The optimizer's definition.
    pub(crate) fn optimizer(&self) -> Result<OptimizerRef> {
        self.optimizer.resolve()
    }

    /// What a training config says besides the optimizer, in the order of Keras 2.3.1.
    pub(crate) fn describe(&self) -> Map<String, Value> {
        let loss = |loss: &LossSpec| loss.given_name().map_or_else(|| loss.to_value(), Value::from);
        let metric = |metric: &MetricSpec| metric.given_name().map_or_else(|| metric.to_value(), Value::from);
        let list = |metrics: &Vec<MetricSpec>| metrics.iter().map(metric).collect::<Value>();
        let per_output = |metrics: &PerOutput<Vec<MetricSpec>>, nothing: Value| match metrics {
            // By name, Keras's users give a single metric without a list around it.
            PerOutput::Named(_) => metrics.to_value(nothing, |metrics| match metrics.as_slice() {
                [one] => metric(one),
                _ => list(metrics),
            }),
            _ => metrics.to_value(nothing, list),
        };
        Map::from_iter([
            ("loss".to_owned(), self.loss.to_value(Value::Null, loss)),
            ("metrics".to_owned(), per_output(&self.metrics, Value::Array(Vec::new()))),
            ("weighted_metrics".to_owned(), per_output(&self.weighted_metrics, Value::Null)),
            (
                "sample_weight_mode".to_owned(),
                self.sample_weight_mode.to_value(Value::Null, |mode| mode.as_str().into()),
            ),
            ("loss_weights".to_owned(), self.loss_weights.to_value(Value::Null, |&weight| weight.into())),
        ])
    }

    /// Weights of the outputs' losses in the total, in the order of the outputs; default 1.
    pub fn loss_weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.loss_weights = PerOutput::List(weights.into_iter().map(Some).collect());
        self
    }

    /// Weights of losses by output name; the others are 1.
    pub fn loss_weights_named<'a>(mut self, weights: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        self.loss_weights =
            PerOutput::Named(weights.into_iter().map(|(name, w)| (name.to_owned(), w)).collect());
        self
    }

    /// `"temporal"`: sample weights of shape (samples, time steps), for outputs of at least three axes. For all outputs, or one
    /// per output by list or name; default one weight per sample.
    pub fn sample_weight_mode(mut self, mode: impl Into<PerOutput<String>>) -> Self {
        self.sample_weight_mode = mode.into();
        self
    }

    /// Metrics of every output.
    pub fn metrics<M: Into<MetricSpec>>(mut self, metrics: impl IntoIterator<Item = M>) -> Self {
        self.metrics = PerOutput::All(metrics.into_iter().map(Into::into).collect());
        self
    }

    /// Metrics per output, by list or by name.
    pub fn metrics_per_output(mut self, metrics: PerOutput<Vec<MetricSpec>>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Weighted metrics per output, by list or by name.
    pub fn weighted_metrics_per_output(mut self, metrics: PerOutput<Vec<MetricSpec>>) -> Self {
        self.weighted_metrics = metrics;
        self
    }

    /// Metrics in which samples count by their weights.
    pub fn weighted_metrics<M: Into<MetricSpec>>(mut self, metrics: impl IntoIterator<Item = M>) -> Self {
        self.weighted_metrics = PerOutput::All(metrics.into_iter().map(Into::into).collect());
        self
    }
}

/// A metric of one output, with the variables that accumulate it.
pub(crate) struct Metered {
    pub(crate) name: String,
    pub(crate) metric: MetricRef,
    pub(crate) states: Vec<Variable>,
    pub(crate) weighted: bool,
}

/// What is known of one output.
pub(crate) struct OutputPlan {
    pub(crate) name: String,
    pub(crate) loss: Option<LossRef>,
    pub(crate) loss_weight: f64,
    /// Whether sample weights have an axis of time steps.
    pub(crate) temporal: bool,
    pub(crate) metrics: Vec<Metered>,
}

/// The snapshot that `compile` takes: traces read it, never the live flags.
pub struct Compiled {
    pub(crate) optimizer: OptimizerState,
    pub(crate) outputs: Vec<OutputPlan>,
    /// Scalars that the model adds to the loss.
    pub(crate) added_losses: Vec<Tensor>,
    pub(crate) trainable: Vec<Weight>,
    pub(crate) frozen: Arc<HashSet<u64>>,
    pub(crate) semantics: Semantics,
    pub(crate) metrics_names: Vec<String>,
    /// Sum and count of the batches' losses, per output: the running mean that several outputs report.
    pub(crate) loss_states: Vec<[Variable; 2]>,
    pub(crate) steps: ProgramCache<StepKey>,
    /// The options as a training config writes them.
    pub(crate) described: Map<String, Value>,
}

impl Compiled {
    /// The positions of the outputs that have targets.
    pub(crate) fn target_outputs(&self) -> Vec<usize> {
        let judged = |plan: &OutputPlan| plan.loss.is_some() || !plan.metrics.is_empty();
        self.outputs.iter().enumerate().filter(|(_, plan)| judged(plan)).map(|(i, _)| i).collect()
    }

    /// Starts every metric anew.
    pub(crate) fn reset_metrics(&self) -> Result<()> {
        let states =
            self.outputs.iter().flat_map(|output| &output.metrics).flat_map(|metered| &metered.states);
        for state in states.chain(self.loss_states.iter().flatten()) {
            state.set(&Array::zeros(state.dtype(), state.shape())?)?;
        }
        Ok(())
    }
}

impl Model {
    /// Makes the model trainable: resolves optimizer, losses and metrics, and remembers which weights learn.
    /// Weights stay as they are; optimizer state starts fresh.
    ///
    /// # Errors
    /// If a name is unknown, a list does not fit the outputs, or the model has not been built.
    pub fn compile(&self, options: Compile) -> Result<()> {
        if self.as_layer().is_err() && self.kind() == crate::models::Kind::Sequential {
            *lock(&self.0.deferred) = Some(options);
            return Ok(());
        }
        let compiled = self.compiled_from(&options)?;
        *lock(&self.0.compiled) = Some(Arc::new(compiled));
        Ok(())
    }

    /// Compiles a `Sequential` that had to see data first.
    pub(crate) fn compile_deferred(&self) -> Result<()> {
        let options = lock(&self.0.deferred).take();
        match options {
            Some(options) => self.compile(options),
            None => Ok(()),
        }
    }

    fn compiled_from(&self, options: &Compile) -> Result<Compiled> {
        let names = self.output_names()?;
        let specs = self.output_specs()?;
        let semantics = self.semantics();
        let losses = options.loss.resolve("loss", &names)?;
        let weights = options.loss_weights.resolve("loss_weights", &names)?;
        let metrics = options.metrics.resolve("metrics", &names)?;
        let weighted = options.weighted_metrics.resolve("weighted_metrics", &names)?;
        let modes = options.sample_weight_mode.resolve("sample_weight_mode", &names)?;
        let several = names.len() > 1;
        let keras_2 = !semantics.is_tf_keras() && semantics != Semantics::keras_3();
        let mut outputs = Vec::with_capacity(names.len());
        let mut taken = vec!["loss".to_owned()];
        if several {
            let lossy = names.iter().zip(&losses).filter(|(_, loss)| loss.is_some());
            taken.extend(lossy.map(|(name, _)| format!("{name}_loss")));
        }
        for (i, name) in names.iter().enumerate() {
            let (Some(spec), Some(loss)) = (specs.get(i), losses.get(i)) else { continue };
            let loss =
                loss.as_ref().map(LossSpec::resolve).transpose().map_err(|error| error.within("compile"))?;
            let loss_name = loss.as_ref().map(|loss| loss.name().to_owned()).unwrap_or_default();
            if let Some(loss) = &loss {
                finite_in(&loss.config())?;
            }
            let loss_weight = weights.get(i).copied().flatten().unwrap_or(1.0);
            finite("compile, loss_weights", &[(name, loss_weight)])?;
            let mut metered = Vec::new();
            // Keras 2 has no target for an output without a loss, and of metrics of one name the last.
            let judged = loss.is_some() || !keras_2;
            let given = [(metrics.get(i), false), (weighted.get(i), true)];
            for (list, weighted) in given.into_iter().filter(|_| judged) {
                let mut resolved: Vec<(String, MetricRef)> = Vec::new();
                for spec_of_metric in list.into_iter().flatten().flatten() {
                    let metric = resolve_metric(spec_of_metric, &spec.shape, &loss_name)
                        .map_err(|error| error.within("compile"))?;
                    let base = metric_name(spec_of_metric, &metric, semantics, weighted);
                    match resolved.iter_mut().find(|(known, _)| keras_2 && *known == base) {
                        Some((_, earlier)) => *earlier = metric,
                        None => resolved.push((base, metric)),
                    }
                }
                for (base, metric) in resolved {
                    let full = if several { format!("{name}_{base}") } else { base };
                    let unique = unique_name(&full, &mut taken);
                    let doing = format!("compile, metric {unique}");
                    let variable = |(state, shape): (String, Vec<usize>)| {
                        let zeros =
                            Array::zeros(metric_dtype(), &shape).map_err(|error| error.within(&doing))?;
                        Ok(Variable::new(format!("{unique}/{state}"), zeros))
                    };
                    let states: Vec<Variable> =
                        metric.states().into_iter().map(variable).collect::<Result<_>>()?;
                    finite_in(&metric.config())?;
                    check_is_number(&doing, &metric, &states)?;
                    metered.push(Metered { name: unique, metric, states, weighted });
                }
            }
            outputs.push(OutputPlan {
                name: name.clone(),
                loss,
                loss_weight,
                temporal: is_temporal(modes.get(i).and_then(Option::as_deref))?,
                metrics: metered,
            });
        }
        if !self.is_lossy(&outputs) {
            let expected = "a loss for at least one output, or a loss added by a layer";
            return Err(Error::value(format!("compile of model {}", self.name()), expected, "none")
                .advice("name a loss, or add one with Model::add_loss before"));
        }
        let mut metrics_names = vec!["loss".to_owned()];
        let mut loss_states = Vec::new();
        if several {
            for output in outputs.iter().filter(|output| output.loss.is_some()) {
                metrics_names.push(format!("{}_loss", output.name));
                let zero = || Array::scalar(metric_dtype(), 0.0);
                loss_states.push([Variable::new("loss/total", zero()), Variable::new("loss/count", zero())]);
            }
        }
        metrics_names
            .extend(outputs.iter().flat_map(|output| &output.metrics).map(|metered| metered.name.clone()));
        let trainable = self.trainable_weights();
        let variables: Vec<Variable> = trainable.iter().map(|weight| weight.variable.clone()).collect();
        let optimizer = options.optimizer.build(&variables)?;
        Ok(Compiled {
            optimizer,
            outputs,
            added_losses: self.added_losses(),
            trainable,
            frozen: Arc::new(self.frozen()),
            semantics,
            metrics_names,
            loss_states,
            steps: ProgramCache::new(),
            described: options.describe(),
        })
    }

    /// Whether there is something to minimise: losses of outputs, of the model, of weights, or those that layers add when
    /// they are called. Where a call on some lengths fails, that shows when real ones are there.
    fn is_lossy(&self, outputs: &[OutputPlan]) -> bool {
        let stated = outputs.iter().any(|output| output.loss.is_some())
            || !self.added_losses().is_empty()
            || self.regularized().iter().any(|weight| weight.regularizer.is_some());
        let called = || -> Result<bool> {
            let semantics = self.semantics();
            let trace =
                Trace::new(TraceOptions { phase: Phase::Train, semantics, ..TraceOptions::default() });
            let mut inputs = Vec::new();
            for input in self.inputs()? {
                let spec = input.spec()?;
                let lens: Vec<usize> = spec.shape.iter().map(|len| len.unwrap_or(8)).collect();
                inputs.push(trace.input(Type::new(lens, spec.dtype)));
            }
            self.as_layer()?.replay(&trace, &inputs, &vec![None; inputs.len()])?;
            Ok(!trace.collected().losses.is_empty())
        };
        stated || called().unwrap_or(true)
    }

    /// The snapshot; an error that says what to do if there is none.
    pub(crate) fn compiled(&self, verb: &str) -> Result<Arc<Compiled>> {
        lock(&self.0.compiled).clone().ok_or_else(|| {
            Error::state(
                format!("{verb} of model {}", self.name()),
                "a compiled model",
                "one that was never compiled",
            )
            .advice("call compile() first")
        })
    }

    /// The names under which losses and metrics are reported, in order: `loss` first.
    pub fn metrics_names(&self) -> Result<Vec<String>> {
        Ok(self.compiled("metrics_names")?.metrics_names.clone())
    }

    /// The optimizer with its hyperparameters and state.
    pub fn optimizer(&self) -> Result<OptimizerState> {
        Ok(self.compiled("optimizer")?.optimizer.clone())
    }

    /// The positions of the outputs that have targets: those with a loss, and in models of tf.keras and Keras 3 those with
    /// metrics too.
    pub fn target_outputs(&self) -> Result<Vec<usize>> {
        Ok(self.compiled("target_outputs")?.target_outputs())
    }

    /// Starts every metric anew, as `fit` does at the start of each epoch.
    pub fn reset_metrics(&self) -> Result<()> {
        self.compiled("reset_metrics")?.reset_metrics()
    }

    /// The weights that the last `compile` saw learning; without one, those that learn now.
    pub(crate) fn collected_trainable_weights(&self) -> Vec<Weight> {
        match lock(&self.0.compiled).as_ref() {
            Some(compiled) => compiled.trainable.clone(),
            None => self.trainable_weights(),
        }
    }

    /// Whether `trainable` flags were changed since `compile`.
    pub(crate) fn trainable_changed(&self, compiled: &Compiled) -> bool {
        let now: Vec<_> = self.trainable_weights().iter().map(|weight| weight.variable.id()).collect();
        let then: Vec<_> = compiled.trainable.iter().map(|weight| weight.variable.id()).collect();
        now != then
    }
}

/// Refuses a metric whose result is not one number: logs and histories hold numbers.
fn check_is_number(doing: &str, metric: &MetricRef, states: &[Variable]) -> Result<()> {
    let states: Vec<Tensor> = states.iter().map(Tensor::variable).collect();
    let shape = metric.result(&states).spec()?.shape;
    if shape.iter().all(|length| *length == Some(1)) {
        return Ok(());
    }
    Err(Error::shape(doing, "a result of one number", crate::tensor::shape_text(&shape))
        .advice("give each threshold a metric of its own"))
}

fn is_temporal(mode: Option<&str>) -> Result<bool> {
    match mode {
        None => Ok(false),
        Some("temporal") => Ok(true),
        Some(other) => {
            Err(Error::value("compile, sample_weight_mode", "\"temporal\" or nothing", format!("{other:?}"))
                .advice("leave it out for one weight per sample")
                .suggest(other, ["temporal"]))
        }
    }
}

fn metric_dtype() -> DType {
    crate::k::floatx()
}

/// The name of a metric in logs: as the user gave it (2.3), or Keras 2.2's.
fn metric_name(spec: &MetricSpec, metric: &MetricRef, semantics: Semantics, weighted: bool) -> String {
    let given = spec.given_name().unwrap_or_else(|| metric.name().to_owned());
    match semantics.metric_names {
        MetricNames::AsGiven => given,
        MetricNames::Resolved => {
            let name = match given.as_str() {
                "accuracy" | "acc" => "acc".to_owned(),
                "crossentropy" | "ce" => "ce".to_owned(),
                _ => metric.name().to_owned(),
            };
            if weighted { format!("weighted_{name}") } else { name }
        }
    }
}

/// The name, or with `_1`, `_2` behind it where it is taken.
fn unique_name(name: &str, taken: &mut Vec<String>) -> String {
    let mut unique = name.to_owned();
    let mut count = 0;
    while taken.contains(&unique) {
        count += 1;
        unique = format!("{name}_{count}");
    }
    taken.push(unique.clone());
    unique
}
