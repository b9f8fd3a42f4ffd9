//! What a model is trained and judged by: `--optimizer`, `--loss`, `--loss-weights`, `--metrics`.

use clap::Args;
use keras::metrics::MetricSpec;
use keras::models::Model;
use keras::optimizers::OptimizerSpec;
use keras::training::{Compile, PerOutput};
use keras::{Error, Result};
use serde_json::Value;

/// Losses and metrics of a model's outputs.
#[derive(Debug, Args)]
pub(crate) struct Judgement {
    /// A loss by name or as JSON, instead of that of the file; a list or a map by output name for several outputs
    #[arg(long, value_name = "NAME|JSON", value_parser = name_or_json)]
    loss: Option<Value>,
    /// Weights of the outputs' losses in the total: a JSON list, or a map by output name
    #[arg(long, value_name = "JSON", value_parser = json)]
    loss_weights: Option<Value>,
    /// Metrics by name, or as JSON: a list for all outputs, a list of lists, or a map by output name
    #[arg(long, value_name = "A,B|JSON", value_parser = names_or_json)]
    metrics: Option<Value>,
}

impl Judgement {
    /// The first of its options that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options =
            [("--loss", &self.loss), ("--loss-weights", &self.loss_weights), ("--metrics", &self.metrics)];
        options.into_iter().find_map(|(name, value)| value.as_ref().map(|_| name))
    }

    /// Compiles the model by the options, and by its file for what they do not say. The names of the outputs that have
    /// targets then.
    ///
    /// # Errors
    /// If there is no loss, or an option does not fit the model.
    pub(crate) fn compile(
        &self,
        model: &Model,
        optimizer: Option<&Value>,
        outputs: &[String],
    ) -> Result<Vec<String>> {
        let saved = model.training_config()?.unwrap_or_default();
        let part = |given: &Option<Value>, key: &str| {
            let saved = || saved.get(key).filter(|value| !value.is_null()).cloned();
            given.clone().or_else(saved)
        };
        let Some(loss) = part(&self.loss, "loss") else {
            return Err(Error::state("command line", "--loss for a model that is not compiled", "none")
                .advice("give one, such as --loss mse"));
        };
        let losses = per_output(&loss, |loss| loss.into());
        let of = |value: Option<Value>| value.as_ref().map_or(Ok(PerOutput::None), metrics);
        let (metrics, weighted) = (of(part(&self.metrics, "metrics"))?, of(part(&None, "weighted_metrics"))?);
        let targets = || -> Result<Vec<String>> {
            Ok(model.target_outputs()?.into_iter().filter_map(|i| outputs.get(i).cloned()).collect())
        };
        let compiled = model.optimizer();
        let given = self.loss.is_some() || self.metrics.is_some() || self.loss_weights.is_some();
        if compiled.is_ok() && optimizer.is_none() && !given {
            return targets();
        }
        let kept = compiled.ok().filter(|_| optimizer.is_none());
        let spec = match (optimizer, saved.get("optimizer_config")) {
            (Some(given), _) => OptimizerSpec::from(given),
            (None, Some(saved)) => OptimizerSpec::from(saved),
            (None, None) => OptimizerSpec::from("rmsprop"),
        };
        let mut options =
            Compile::new(spec, losses).metrics_per_output(metrics).weighted_metrics_per_output(weighted);
        let mode = |mode: &Value| mode.as_str().unwrap_or_default().to_owned();
        options = options.sample_weight_mode(per_output(&saved["sample_weight_mode"], mode));
        match &part(&self.loss_weights, "loss_weights") {
            None => {}
            Some(Value::Array(weights)) => options = options.loss_weights(numbers(weights.iter())?),
            Some(Value::Object(weights)) => {
                let values = numbers(weights.values())?;
                options = options.loss_weights_named(weights.keys().map(String::as_str).zip(values));
            }
            Some(other) => {
                return Err(Error::value("--loss-weights", "a list or a map of numbers", other.to_string())
                    .advice("write [1, 0.5] or a map by output name"));
            }
        }
        model.compile(options)?;
        if let Some(kept) = kept {
            model.optimizer()?.set_weights(&kept.get_weights()?)?;
        }
        targets()
    }
}

/// One for all outputs, a list with null for none, or a map by output name.
fn per_output<T>(value: &Value, one: impl Fn(&Value) -> T) -> PerOutput<T> {
    let given = |value: &Value| (!value.is_null()).then(|| one(value));
    match value {
        Value::Null => PerOutput::None,
        Value::Array(values) => PerOutput::List(values.iter().map(given).collect()),
        Value::Object(values) if !values.contains_key("class_name") => {
            let named = values.iter().filter_map(|(name, value)| Some((name.clone(), given(value)?)));
            PerOutput::Named(named.collect())
        }
        value => PerOutput::All(one(value)),
    }
}

fn metrics(value: &Value) -> Result<PerOutput<Vec<MetricSpec>>> {
    let several = |value: &Value| -> Vec<MetricSpec> {
        match value {
            Value::Null => Vec::new(),
            Value::Array(metrics) => metrics.iter().map(Into::into).collect(),
            one => vec![one.into()],
        }
    };
    match value {
        Value::Array(metrics) if metrics.iter().any(Value::is_array) => {
            Ok(PerOutput::List(metrics.iter().map(|value| some(several(value))).collect()))
        }
        Value::Array(_) => Ok(some(several(value)).map_or(PerOutput::None, PerOutput::All)),
        Value::Object(metrics) if metrics.contains_key("class_name") => Ok(PerOutput::All(several(value))),
        Value::Object(metrics) => {
            let given =
                metrics.iter().filter_map(|(name, value)| Some((name.clone(), some(several(value))?)));
            Ok(PerOutput::Named(given.collect()))
        }
        other => Err(Error::value("--metrics", "names, a list, or a map by output name", other.to_string())
            .advice("write accuracy,mae, or JSON")),
    }
}

fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

fn numbers<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Vec<f64>> {
    values
        .map(|value| {
            value.as_f64().ok_or_else(|| {
                Error::value("--loss-weights", "numbers", value.to_string())
                    .advice("write [1, 0.5] or a map by output name")
            })
        })
        .collect()
}

/// JSON.
pub(crate) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("JSON ({error})"))
}

/// A name, or JSON where the text starts like it.
pub(crate) fn name_or_json(text: &str) -> Result<Value, String> {
    match text.trim_start().chars().next() {
        Some('{' | '[' | '"') => json(text),
        Some(_) => Ok(text.trim().into()),
        None => Err("a name or JSON".to_owned()),
    }
}

/// Names with commas between them, or JSON where the text starts like it.
fn names_or_json(text: &str) -> Result<Value, String> {
    match name_or_json(text)? {
        Value::String(names) => Ok(names.split(',').map(|name| Value::from(name.trim())).collect()),
        value => Ok(value),
    }
}
