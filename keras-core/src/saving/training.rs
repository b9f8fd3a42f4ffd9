//! The training configuration of a file: loss, metrics, optimizer and its state.

use super::h5::{Node, Stored, Tree, check_together};
use super::state::State;
use super::version::Writer;
use super::{Dialect, tf_keras};
use crate::array::{Array, DType, element_count};
use crate::error::{Error, Result};
use crate::losses::LossSpec;
use crate::metrics::{BY_OUTPUT, MetricSpec};
use crate::models::{Model, Nesting, lock};
use crate::optimizers::{OptimizerSpec, OptimizerState};
use crate::output::Output;
use crate::registry::{Config, bare_name};
use crate::semantics::{OptimizerEpsilon, Semantics};
use crate::training::{Compile, PerOutput};
use serde_json::{Map, Value, json};

/// What a training config may say besides, and what makes no difference here: how steps are run.
const HARMLESS: [&str; 5] =
    ["auto_scale_loss", "from_serialized", "jit_compile", "run_eagerly", "steps_per_execution"];

fn check_keys(config: &Value) -> Result<()> {
    let known = |key: &str| {
        PER_OUTPUT.contains(&key)
            || HARMLESS.contains(&key)
            || ["optimizer", "optimizer_config"].contains(&key)
    };
    let fields = config.as_object().into_iter().flatten();
    match fields.into_iter().find(|(key, value)| !value.is_null() && !known(key)) {
        None => Ok(()),
        Some((key, value)) => {
            Err(Error::file("training config", format!("no key {key:?}, which nobody knows"), brief(value))
                .advice("load it with compile(false), and compile it"))
        }
    }
}

/// The options of a `compile` that a training config stands for.
fn compile_options(config: &Value, writer: Writer) -> Result<Compile> {
    check_keys(config)?;
    let optimizer = config.get("optimizer_config").or_else(|| config.get("optimizer"));
    let optimizer = optimizer.filter(|optimizer| !optimizer.is_null()).ok_or_else(|| {
        Error::file("training config", "an optimizer", "none").advice("load it with compile(false)")
    })?;
    let options = Compile::new(optimizer_of(optimizer, writer)?, losses(config.get("loss"))?)
        .metrics_per_output(metrics(config.get("metrics"))?)
        .weighted_metrics_per_output(metrics(config.get("weighted_metrics"))?)
        .sample_weight_mode(modes(config.get("sample_weight_mode"))?);
    let number = |weight: &Value| {
        weight.as_f64().ok_or_else(|| Error::file("training config, loss_weights", "numbers", brief(weight)))
    };
    match config.get("loss_weights") {
        None | Some(Value::Null) => Ok(options),
        Some(Value::Array(weights)) => {
            Ok(options.loss_weights(weights.iter().map(number).collect::<Result<Vec<_>>>()?))
        }
        Some(Value::Object(weights)) => {
            let values = weights.values().map(number).collect::<Result<Vec<_>>>()?;
            Ok(options.loss_weights_named(weights.keys().map(String::as_str).zip(values)))
        }
        Some(weight) => Ok(options.loss_weights([number(weight)?])),
    }
}

/// The optimizer of a config, with the arguments of tf.keras in the terms of Keras 2.3.
fn optimizer_of(value: &Value, writer: Writer) -> Result<OptimizerSpec> {
    if value.is_string() {
        return Ok(value.into());
    }
    let mut config: Config = serde_json::from_value(value.clone())
        .map_err(|_| Error::file("training config", "an optimizer's class_name and config", brief(value)))?;
    let tf = writer.is_tf_keras() || writer == Writer::Keras3;
    let later = is_later(value, writer);
    let class = bare_name(&config.class_name).to_owned();
    if later {
        config.class_name.clone_from(&class);
    }
    if !tf && !later {
        return Ok(config.into());
    }
    let arguments = &mut config.config;
    let wrong = |key: &str, received: &Value| {
        Error::value(
            format!("optimizer {class} of the training config, key {key:?}"),
            "null",
            brief(received),
        )
        .advice("this option exists only in tf.keras; load the model with compile(false)")
    };
    if let Some(norm) = arguments.get("clipnorm").filter(|norm| !norm.is_null()) {
        // Keras 2 clips all gradients together, tf.keras each by itself.
        return Err(wrong("clipnorm", norm));
    }
    if let Some(norm) = arguments.shift_remove("global_clipnorm") {
        arguments.insert("clipnorm".into(), norm);
    }
    arguments.shift_remove("initial_accumulator_value");
    if class == "RMSprop"
        && let Some(momentum) = arguments.shift_remove("momentum").filter(|m| m.as_f64() != Some(0.0))
    {
        return Err(wrong("momentum", &momentum));
    }
    if class == "Nadam" {
        // Later versions let the momentum's schedule run 250 times as fast.
        let decay = arguments.shift_remove("decay").unwrap_or_else(|| json!(if later { 1.0 } else { 0.004 }));
        arguments.entry("schedule_decay").or_insert(decay);
    }
    Ok(config.into())
}

/// Whether an optimizer's formulas are those that came with tf.keras 2.11.
fn is_later(optimizer: &Value, writer: Writer) -> bool {
    let class = optimizer.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let says = optimizer.get("config").and_then(|config| config.get("is_legacy_optimizer"));
    writer == Writer::Keras3
        || class.starts_with("Custom>")
        || says.is_some_and(|legacy| *legacy != json!(true))
}

/// The rules of a model with its training config: those of its writer, and of the writer's optimizer.
pub(super) fn semantics(writer: Writer, config: Option<&Value>) -> Semantics {
    let optimizer =
        config.and_then(|config| config.get("optimizer_config").or_else(|| config.get("optimizer")));
    let mut semantics = writer.semantics();
    if optimizer.is_some_and(|optimizer| is_later(optimizer, writer)) {
        semantics.optimizer_epsilon = OptimizerEpsilon::BelowRoot;
    }
    semantics
}

/// Says so where a file's optimizer is one that adds its epsilon elsewhere than the model does.
pub(super) fn warn_of_epsilon(model: &Model, place: OptimizerEpsilon) {
    let class = model.optimizer().map(|optimizer| optimizer.definition().class_name().to_owned());
    let class = class.unwrap_or_default();
    if model.semantics().optimizer_epsilon != place && matches!(class.as_str(), "RMSprop" | "Adagrad") {
        let (here, there) = match place {
            OptimizerEpsilon::BelowRoot => ("behind", "below"),
            OptimizerEpsilon::BehindRoot => ("below", "behind"),
        };
        Output::current().warning(&format!(
            "{class} of this model adds epsilon {here} the square root; who reads the file with Keras gets one that adds it {there}"
        ));
    }
}

/// Whether it is `{class_name, config}` and no map of outputs.
fn is_object(value: &Value) -> bool {
    value.get("class_name").is_some_and(Value::is_string)
}

fn modes(value: Option<&Value>) -> Result<PerOutput<String>> {
    let one = |value: &Value| match value {
        Value::Null => Ok(None),
        Value::String(mode) => Ok(Some(mode.clone())),
        other => Err(Error::file("training config, sample_weight_mode", "names", brief(other))),
    };
    Ok(match value {
        None => PerOutput::None,
        Some(Value::Array(values)) => PerOutput::List(values.iter().map(one).collect::<Result<_>>()?),
        Some(Value::Object(values)) => {
            let named = values
                .iter()
                .filter_map(|(name, mode)| Some(one(mode).transpose()?.map(|mode| (name.clone(), mode))));
            PerOutput::Named(named.collect::<Result<_>>()?)
        }
        Some(value) => one(value)?.map_or(PerOutput::None, PerOutput::All),
    })
}

fn losses(value: Option<&Value>) -> Result<PerOutput<LossSpec>> {
    let one = |value: &Value| -> Result<Option<LossSpec>> {
        Ok(if value.is_null() { None } else { Some(LossSpec::from(&function_or(value)?)) })
    };
    Ok(match value {
        None | Some(Value::Null) => PerOutput::None,
        Some(Value::Array(values)) => PerOutput::List(values.iter().map(one).collect::<Result<_>>()?),
        Some(Value::Object(values)) if !is_object(&json!(values)) => {
            let named = values.iter().filter_map(|(name, loss)| {
                one(loss).map(|loss| loss.map(|loss| (name.clone(), loss))).transpose()
            });
            PerOutput::Named(named.collect::<Result<_>>()?)
        }
        Some(value) => one(value)?.map_or(PerOutput::None, PerOutput::All),
    })
}

/// A function that later versions wrap in an object.
fn function_or(value: &Value) -> Result<Value> {
    let (Some(class), Some(config)) = (value.get("class_name").and_then(Value::as_str), value.get("config"))
    else {
        return Ok(value.clone());
    };
    let Some(function) = config.get("fn").or(Some(config).filter(|config| config.is_string())) else {
        return Ok(value.clone());
    };
    let name = config.get("name").and_then(Value::as_str);
    match class {
        "function" => Ok(function.clone()),
        "LossFunctionWrapper" => {
            let reduction = config.get("reduction").and_then(Value::as_str).unwrap_or("auto");
            if matches!(reduction, "auto" | "sum_over_batch_size") {
                return Ok(function.clone());
            }
            Err(Error::value(
                format!("training config, loss function {}", brief(function)),
                "the reduction \"sum_over_batch_size\"",
                format!("{reduction:?}"),
            )
            .advice("load it with compile(false), and compile it with a loss of that reduction"))
        }
        "MeanMetricWrapper" | "SumOverBatchSizeMetricWrapper" => {
            let (Some(name), Some(function)) = (name, function.as_str()) else { return Ok(function.clone()) };
            // One of the function's names, none of which is long; early versions put the name of the output in front. Which
            // accuracy it is follows from the model's output again.
            let own =
                |name: &str| MetricSpec::from(name).resolve().map(|metric| metric.name().to_owned()).ok();
            let canonical = own(function);
            let is = |name: &str| {
                let alias = || canonical.is_some() && name.len() < 64 && own(name) == canonical;
                name == function || BY_OUTPUT.contains(&name) || alias()
            };
            let starts = name.match_indices('_').map(|(at, _)| at + 1);
            if let Some(alias) =
                std::iter::once(0).chain(starts).filter_map(|at| name.get(at..)).find(|name| is(name))
            {
                return Ok(json!(alias));
            }
            let class = metric_class(function).ok_or_else(|| {
                let expected = format!("{function:?} as its name");
                Error::value(format!("training config, metric {function}"), expected, format!("{name:?}"))
                    .advice("load it with compile(false), and compile it with the metric")
            })?;
            Ok(json!({"class_name": class, "config": {"name": name}}))
        }
        _ => Ok(value.clone()),
    }
}

/// A metric that only Keras 3 calls by its class's name in lower case: `log_cosh_error`, `auc`.
fn by_class(metric: Value) -> Value {
    let known = |name: &str| BY_OUTPUT.contains(&name) || MetricSpec::from(name).resolve().is_ok();
    match metric.as_str().filter(|name| !known(name)).and_then(metric_class) {
        Some(class) => json!({"class_name": class, "config": {}}),
        None => metric,
    }
}

/// The class that averages a function: `MeanAbsoluteError` of `mean_absolute_error`.
fn metric_class(function: &str) -> Option<String> {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    };
    let class = match function {
        "kullback_leibler_divergence" | "kl_divergence" => "KLDivergence".to_owned(),
        "logcosh" | "log_cosh" => "LogCoshError".to_owned(),
        "auc" => "AUC".to_owned(),
        function => function.split('_').map(word).collect(),
    };
    crate::metrics::deserialize(&json!({"class_name": class, "config": {}})).is_ok().then_some(class)
}

fn metrics(value: Option<&Value>) -> Result<PerOutput<Vec<MetricSpec>>> {
    let many = |value: &Value| -> Result<Vec<MetricSpec>> {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let values = values.iter().filter(|metric| !metric.is_null());
        values.map(|metric| Ok(MetricSpec::from(&by_class(function_or(metric)?)))).collect()
    };
    Ok(match value {
        None | Some(Value::Null) => PerOutput::None,
        Some(Value::Array(values)) if values.iter().any(Value::is_array) => {
            PerOutput::List(values.iter().map(|values| many(values).map(Some)).collect::<Result<_>>()?)
        }
        Some(Value::Object(values)) if !is_object(&json!(values)) => {
            let named = values.iter().map(|(name, values)| Ok((name.clone(), many(values)?)));
            PerOutput::Named(named.collect::<Result<_>>()?)
        }
        Some(value) => PerOutput::All(many(value)?),
    })
}

/// The keys of a training config under which a value may be said of each output.
pub(super) const PER_OUTPUT: [&str; 5] =
    ["loss", "loss_weights", "metrics", "weighted_metrics", "sample_weight_mode"];

/// Lists what a training config says of outputs that files nest in the order of the outputs.
fn flatten(nesting: &Nesting, config: &mut Value) {
    for key in PER_OUTPUT {
        let Some(values) = config.get_mut(key) else { continue };
        // Lists of metrics are those of one output, or in the order of the outputs.
        let is_flat = key.ends_with("metrics") && values.is_array();
        if !(is_flat || values.is_null() || values.is_string() || is_object(values))
            && let Some(mut flat) = nesting.flatten(values)
        {
            let nothing = match key {
                "loss_weights" => json!(1.0),
                "metrics" | "weighted_metrics" => json!([]),
                _ => Value::Null,
            };
            flat.iter_mut().filter(|value| value.is_null()).for_each(|value| *value = nothing.clone());
            if key.ends_with("metrics") {
                flat.iter_mut().filter(|value| !value.is_array()).for_each(|value| *value = json!([value]));
            }
            *values = flat.into();
        }
    }
}

/// Takes the names of several outputs from those of their metrics, in front of which HDF5 files of tf.keras have them.
fn without_outputs(names: &[String], config: &mut Value) {
    for key in ["metrics", "weighted_metrics"] {
        let lists = config.get_mut(key).and_then(Value::as_array_mut);
        let Some(lists) = lists.filter(|lists| names.len() > 1 && lists.len() == names.len()) else {
            continue;
        };
        for (list, output) in lists.iter_mut().zip(names) {
            for metric in list.as_array_mut().into_iter().flatten() {
                let Some(name) = metric.pointer_mut("/config/name") else { continue };
                let bare = name.as_str().and_then(|name| name.strip_prefix(output)?.strip_prefix('_'));
                if let Some(bare) = bare.map(str::to_owned) {
                    *name = bare.into();
                }
            }
        }
    }
}

/// Compiles a model as a file says, with what only our own state of the file can say.
pub(super) fn compile(model: &Model, config: &Value, writer: Writer, state: Option<&State>) -> Result<()> {
    let mut full = state.map_or_else(|| config.clone(), |state| state.complete(config.clone()));
    flatten(&model.output_nesting()?, &mut full);
    if writer.is_tf_keras() && full.get("optimizer_config").is_some() {
        without_outputs(&model.output_names()?, &mut full);
    }
    model.compile(compile_options(&full, writer)?)?;
    start(model, config)
}

/// Puts what tf.keras's Adagrad starts with into a fresh optimizer: Keras 2's starts at 0.
fn start(model: &Model, config: &Value) -> Result<()> {
    let optimizer = config.get("optimizer_config").or_else(|| config.get("optimizer"));
    let value = optimizer
        .and_then(|optimizer| optimizer.pointer("/config/initial_accumulator_value"))
        .and_then(Value::as_f64)
        .filter(|value| *value != 0.0);
    let (Some(value), Ok(optimizer)) = (value, model.optimizer()) else { return Ok(()) };
    // The number of steps stays what it is.
    let filled = |(i, values): (usize, Array)| match i {
        0 => Ok(values),
        _ => Array::full_of(values.dtype(), values.shape(), value),
    };
    let filled = optimizer.get_weights()?.into_iter().enumerate().map(filled);
    optimizer.set_weights(&filled.collect::<Result<Vec<_>>>()?)
}

impl Model {
    /// What the model was compiled with, as Keras 2.3.1 writes it into files: `optimizer_config`, `loss`, `metrics`,
    /// `weighted_metrics`, `sample_weight_mode`, `loss_weights`. None of a model that was not compiled.
    ///
    /// # Errors
    /// If a hyperparameter's last update failed.
    pub fn training_config(&self) -> Result<Option<Value>> {
        training_config(self)
    }

    /// Whether the next `fit` goes on with the random numbers of a saved run: after loading a file that says where they
    /// stood, unless `random::set_seed` was called since.
    pub fn is_resumed(&self) -> bool {
        lock(&self.0.order).is_resumed()
    }
}

fn training_config(model: &Model) -> Result<Option<Value>> {
    let (optimizer, described) = if let Some(compiled) = lock(&model.0.compiled).as_ref() {
        (compiled.optimizer.config()?, compiled.described.clone())
    } else if let Some(options) = lock(&model.0.deferred).as_ref() {
        (options.optimizer()?.config(&|_| None), options.describe())
    } else {
        return Ok(None);
    };
    let mut config = Map::new();
    config.insert("optimizer_config".into(), optimizer.to_value());
    config.extend(described);
    Ok(Some(Value::Object(config)))
}

/// Writes the state of the optimizer, once it has made a step.
pub(super) fn write_state(model: &Model, root: &mut Tree, dialect: Dialect) -> Result<()> {
    let Some(optimizer) = lock(&model.0.compiled).as_ref().map(|compiled| compiled.optimizer.clone()) else {
        return Ok(());
    };
    if optimizer.weights().iter().all(|variable| variable.version() == 0) {
        return Ok(());
    }
    let state: Vec<(String, Array)> = match dialect {
        Dialect::Keras2 => optimizer.weight_names().into_iter().zip(optimizer.get_weights()?).collect(),
        Dialect::TfKeras => tf_keras::optimizer_state(model, &optimizer)?,
    };
    let group = root.group("optimizer_weights");
    group.names("weight_names", &state.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), dialect);
    for (name, value) in state {
        group.array(&name, value);
    }
    Ok(())
}

/// Reads the state of the optimizer.
pub(super) fn read_state(model: &Model, root: &Node, writer: Writer) -> Result<()> {
    let (Some(group), Ok(optimizer)) = (root.child("optimizer_weights")?, model.optimizer()) else {
        return Ok(());
    };
    let Some(names) = group.names("weight_names")? else { return Ok(()) };
    if writer == Writer::Keras1 {
        // Its slots are sorted by the names of weights that have other names now.
        Output::current()
            .warning("the optimizer state of a Keras 1 file is not read: the optimizer starts fresh");
        return Ok(());
    }
    let stored = names.iter().map(|name| group.stored(name)).collect::<Result<Vec<_>>>()?;
    restore(&optimizer, &stored, |values| match writer {
        Writer::Keras3 => separated(&optimizer, values, writer),
        _ => in_order(&optimizer, &names, values),
    })
}

/// A value of an optimizer's state: one of the file, or one that no file has.
#[derive(Clone)]
pub(super) enum Entry<'a> {
    Stored(&'a Stored),
    Made(Array),
}

impl Entry<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Stored(stored) => stored.shape(),
            Self::Made(value) => value.shape(),
        }
    }

    fn read(&self) -> Result<Array> {
        match self {
            Self::Stored(stored) => stored.read(),
            Self::Made(value) => Ok(value.clone()),
        }
    }
}

/// Gives an optimizer stored values, in its own order, one after the other. As in Keras, what does not fit leaves a fresh
/// optimizer and a warning.
pub(super) fn restore<'a>(
    optimizer: &OptimizerState,
    stored: &'a [Stored],
    order: impl FnOnce(Vec<Entry<'a>>) -> Result<Vec<Entry<'a>>>,
) -> Result<()> {
    check_together(stored)?;
    let held: usize = stored.iter().map(Stored::len).sum();
    let own: usize = optimizer.weights().iter().map(|weight| element_count(weight.shape())).sum();
    let ordered = if held > own.saturating_mul(2).saturating_add(1024) {
        Err(Error::value("optimizer state", format!("{own} numbers"), held.to_string()))
    } else {
        if let [steps] = stored
            && own > 1
            && steps.read()?.to_vec::<f64>().iter().all(|steps| *steps == 0.0)
        {
            // tf.keras has made no slots before the first step.
            return Ok(());
        }
        order(stored.iter().map(Entry::Stored).collect())
    };
    let fitting = ordered.and_then(|entries| {
        let targets = optimizer.targets(&entries.iter().map(Entry::shape).collect::<Vec<_>>())?;
        Ok((targets, entries))
    });
    match fitting {
        Ok((targets, entries)) => {
            let mut entries = entries.iter();
            optimizer.assign(&targets, || entries.next().map(Entry::read).transpose())
        }
        Err(error) => {
            let text =
                format!("the saved optimizer state does not fit ({error}); the optimizer starts fresh");
            Output::current().warning(&text);
            Ok(())
        }
    }
}

/// The state in the order of Keras 2.3.1. tf.keras 2.11 and later list the slots weight by weight:
/// `iteration:0, Adam/m/dense/kernel:0, Adam/v/dense/kernel:0, …`.
fn in_order<'a>(
    optimizer: &OptimizerState,
    names: &[String],
    values: Vec<Entry<'a>>,
) -> Result<Vec<Entry<'a>>> {
    if names.first().is_none_or(|first| first != "iteration:0") {
        return Ok(values);
    }
    let mut first = Vec::new();
    let mut slots: Vec<(&str, Vec<Entry<'_>>)> = Vec::new();
    for (name, value) in names.iter().zip(values) {
        match name.split('/').nth(1) {
            None if name.starts_with("iteration") => first.push(value),
            // The learning rate stands in the config, too.
            None => {}
            Some(slot) => match slots.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, values)) => values.push(value),
                None => slots.push((slot, vec![value])),
            },
        }
    }
    if optimizer.definition().class_name() == "Nadam" {
        first.push(momentum_schedule(optimizer, first.first())?);
    }
    Ok(first.into_iter().chain(slots.into_iter().flat_map(|(_, values)| values)).collect())
}

/// The state that an archive lists weight by weight, in the order of Keras 2.3.1.
pub(super) fn separated<'a>(
    optimizer: &OptimizerState,
    values: Vec<Entry<'a>>,
    writer: Writer,
) -> Result<Vec<Entry<'a>>> {
    let slots = slots(optimizer);
    let mut values = values.into_iter();
    let mut first: Vec<Entry<'_>> = values.next().into_iter().collect();
    let weights = optimizer.weight_count();
    if writer == Writer::Keras3 {
        // The learning rate, which the config has, too.
        values.next();
    }
    if optimizer.definition().class_name() == "Nadam" {
        first.push(momentum_schedule(optimizer, first.first())?);
    }
    let values: Vec<Entry<'_>> = values.collect();
    let together = together(&slots);
    for slot in 0..slots.len() {
        for weight in 0..weights {
            let at = if slot < together { weight * together + slot } else { slot * weights + weight };
            first.extend(values.get(at).cloned());
        }
    }
    Ok(first)
}

/// The way back: the state as archives of a writer list it.
pub(super) fn interleaved(optimizer: &OptimizerState, writer: Writer) -> Result<Vec<Array>> {
    let (slots, weights, values) = (slots(optimizer), optimizer.weight_count(), optimizer.get_weights()?);
    let scalars = 1 + optimizer.definition().scalars().len();
    // It counts in 32 bits, and has the learning rate behind the number of steps.
    let keras_3 = writer == Writer::Keras3;
    let mut listed: Vec<Array> = values
        .iter()
        .take(1)
        .map(|steps| if keras_3 { steps.cast(DType::I32) } else { steps.clone() })
        .collect();
    if keras_3 {
        listed.push(Array::from(optimizer.learning_rate()?).cast(optimizer.dtype()));
    }
    if keras_3 && is_still(optimizer)? {
        return Ok(listed);
    }
    let at = |slot: usize, weight: usize| values.get(scalars + slot * weights + weight).cloned();
    let together = together(&slots);
    listed.extend(
        (0..weights)
            .flat_map(|weight| (0..together).map(move |slot| (slot, weight)))
            .filter_map(|(slot, weight)| at(slot, weight)),
    );
    listed.extend(
        (together..slots.len())
            .flat_map(|slot| (0..weights).map(move |weight| (slot, weight)))
            .filter_map(|(slot, weight)| at(slot, weight)),
    );
    if keras_3 {
        // Nadam's product of momenta.
        listed.extend(values.iter().take(scalars).skip(1).cloned());
    }
    Ok(listed)
}

/// Whether it is the one whose slots legacy optimizers and Keras 3 leave out: SGD without momentum.
pub(super) fn is_still(optimizer: &OptimizerState) -> Result<bool> {
    Ok(optimizer.definition().class_name() == "SGD" && optimizer.get("momentum")? == 0.0)
}

/// The slots that hold something.
fn slots(optimizer: &OptimizerState) -> Vec<&'static str> {
    optimizer.definition().slots().into_iter().filter(|slot| slot.full).map(|slot| slot.name).collect()
}

/// How many slots of a weight stand side by side: all but AMSGrad's, which come last.
fn together(slots: &[&str]) -> usize {
    slots.iter().filter(|slot| **slot != "vhat").count()
}

/// The product of Nadam's momenta so far, which tf.keras does not save.
fn momentum_schedule(optimizer: &OptimizerState, iterations: Option<&Entry<'_>>) -> Result<Entry<'static>> {
    let steps = iterations.map(|steps| steps.read()?.item()).transpose()?.unwrap_or(0.0);
    let config = optimizer.config()?.config;
    let number = |key: &str, default: f64| config.get(key).and_then(Value::as_f64).unwrap_or(default);
    let (beta, decay) = (number("beta_1", 0.9), number("schedule_decay", 0.004));
    // Each factor is at most beta_1 < 1: beyond this many steps the product is 0 in any float type.
    let steps = steps.clamp(0.0, 1e5) as u32;
    let product: f64 =
        (1..=steps).map(|t| beta * (1.0 - 0.5 * 0.96_f64.powf(f64::from(t) * decay))).product();
    Ok(Entry::Made(Array::from(product).cast(optimizer.dtype())))
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
