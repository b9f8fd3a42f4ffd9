//! `keras compare`: one model on several backends, layer by layer.

use super::data::{self, Source};
use super::model::{ModelFiles, Use, output_names};
use super::options::{Global, from_one};
use super::training::{Judgement, name_or_json};
use super::{Failure, Outcome, output};
use clap::Args;
use keras::backend::{Runtime, registry};
use keras::models::Model;
use keras::tensor::Tensor;
use keras::training::Predict;
use keras::{Array, Error, Result, config, random};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

/// Compare what a model computes on several backends
#[derive(Debug, Args)]
pub(crate) struct Compare {
    #[command(flatten)]
    model: ModelFiles,
    /// The samples: one .npy file per input, NAME=FILE to say for which, or one .npz for all
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    input: Vec<Source>,
    /// Targets: also train on the samples, as one batch, and compare the weights after it
    #[arg(long, value_name = "[NAME=]FILE", value_parser = data::source())]
    train: Vec<Source>,
    /// How many training steps
    #[arg(long, requires = "train", value_name = "N", default_value = "3", value_parser = from_one)]
    steps: NonZeroUsize,
    /// An optimizer by name, or as JSON with its settings, instead of that of the file
    #[arg(long, value_name = "NAME|JSON", value_parser = name_or_json)]
    optimizer: Option<Value>,
    #[command(flatten)]
    judgement: Judgement,
    /// The backends, with commas between them; the others are compared with the first
    #[arg(long, required = true, value_delimiter = ',', num_args = 1.., value_name = "A,B")]
    backends: Vec<String>,
    /// How far the values of a tensor may lie apart: absolutely, or relative to its largest
    #[arg(long, value_name = "T", default_value = "1e-4", value_parser = tolerance)]
    tolerance: f64,
    /// How many samples run together
    #[arg(long, value_name = "N", default_value = "32", value_parser = from_one)]
    batch_size: NonZeroUsize,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// What one backend made of the model.
struct Ran {
    name: String,
    device: String,
    /// A layer with its number where it has several outputs, or a weight; and its values.
    tensors: Vec<(String, &'static str, Array)>,
    /// Seconds of the second prediction: the first compiles.
    predict: f64,
    /// Seconds per training step after the first.
    step: Option<f64>,
}

/// How far two tensors lie apart.
struct Difference {
    absolute: f64,
    /// Relative to the largest value of the first.
    relative: f64,
}

impl Difference {
    /// Infinite where one has a number and the other none.
    fn of(first: &Array, second: &Array) -> Self {
        let (first, second) = (first.to_vec::<f64>(), second.to_vec::<f64>());
        let apart = |(a, b): (&f64, &f64)| {
            let alike = a == b || (a.is_nan() && b.is_nan());
            if alike { 0.0 } else { Some((a - b).abs()).filter(|x| x.is_finite()).unwrap_or(f64::INFINITY) }
        };
        let absolute = first.iter().zip(&second).map(apart).fold(0.0, f64::max);
        let largest = first.iter().map(|x| x.abs()).filter(|x| x.is_finite()).fold(0.0, f64::max);
        Self { absolute, relative: if absolute == 0.0 { 0.0 } else { absolute / largest } }
    }

    fn within(&self, tolerance: f64) -> bool {
        self.absolute <= tolerance || self.relative <= tolerance
    }
}

impl Compare {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let twice = self
            .backends
            .iter()
            .enumerate()
            .find(|(i, name)| self.backends.iter().take(*i).any(|n| n == *name));
        if self.backends.len() < 2 || twice.is_some() {
            let expected = "at least two different backends";
            return Err(Failure::Usage(
                Error::value("--backends", expected, self.backends.join(","))
                    .advice("name two or more, such as ndarray,candle"),
            ));
        }
        if let Some(name) = global.backend() {
            let error = Error::value("--backend", "--backends alone, for compare", name);
            return Err(Failure::Usage(error.advice("leave it out")));
        }
        let judged = self.judgement.given().or(self.optimizer.as_ref().map(|_| "--optimizer"));
        if let (Some(option), true) = (judged, self.train.is_empty()) {
            let expected = "targets to train on, which it is for";
            return Err(Failure::Usage(
                Error::value(option, expected, "no --train").advice("give --train, or leave it out"),
            ));
        }
        global.check_threads(&self.backends)?;
        let device = config::settings()?.device.value;
        let mut engines = Vec::with_capacity(self.backends.len());
        for name in &self.backends {
            let known = registry::names().contains(name);
            let opened = registry::open(name, device.as_deref().unwrap_or_default());
            engines.push(opened.map_err(if known { Failure::Failed } else { Failure::Usage })?);
        }
        let mut ran = Vec::with_capacity(engines.len());
        for (name, engine) in self.backends.iter().zip(&engines) {
            ran.push(self.on(name, engine, global)?);
        }
        let text = if self.json { format!("{}\n", object(&ran)) } else { tables(&ran) };
        output::print(&text)?;
        let Some((first, others)) = ran.split_first() else { return Ok(()) };
        let apart = |(first, other): (&(String, &str, Array), &(String, &str, Array))| {
            let difference = Difference::of(&first.2, &other.2);
            (!difference.within(self.tolerance)).then_some((first.0.clone(), difference))
        };
        for other in others {
            if let Some((tensor, found)) = first.tensors.iter().zip(&other.tensors).find_map(apart) {
                let expected = format!("differences of at most {:e}", self.tolerance);
                let received = format!(
                    "{:.1e}, relative {:.1e}, in {tensor} on {}",
                    found.absolute, found.relative, other.name
                );
                return Err(Failure::Above(
                    Error::value(format!("comparing with {}", first.name), expected, received)
                        .advice("--tolerance says how far they may lie apart"),
                ));
            }
        }
        Ok(())
    }

    /// Loads the model anew, so that every backend starts alike, and runs it.
    fn on(&self, name: &str, engine: &Arc<dyn Runtime>, global: &Global) -> Outcome<Ran> {
        let training = !self.train.is_empty();
        // Weights that no file has are the same everywhere, and so is what dropout drops.
        random::set_seed(0);
        let model = if training {
            self.model.load(Use::Training)?
        } else {
            self.model.load_trained(Use::Inference)?
        };
        model.set_seed(0)?;
        model.on(engine);
        let x = data::inputs("--input", &self.input, &model)?;
        let options = Predict::new().batch_size(self.batch_size.get()).verbose(0);
        // Builds a model that takes the shape of its data, and compiles its programs.
        model.predict_all(x.clone(), &options)?;
        let start = Instant::now();
        model.predict_all(x.clone(), &options)?;
        let predict = start.elapsed().as_secs_f64();

        let (labels, outputs) = layer_outputs(&model)?;
        let probe = Model::new(model.inputs()?, outputs)?;
        probe.on(engine);
        let values = probe.predict_all(x.clone(), &options)?;
        let mut tensors: Vec<_> =
            labels.into_iter().zip(values).map(|(label, value)| (label, "output", value)).collect();

        let mut step = None;
        if training {
            let names = self.judgement.compile(&model, self.optimizer.as_ref(), &output_names(&model)?)?;
            let y = data::targets("--train", &self.train, &model, &names, &x)?;
            model.train_on_batch(x.clone(), y.clone())?;
            let start = Instant::now();
            for _ in 1..self.steps.get() {
                model.train_on_batch(x.clone(), y.clone())?;
            }
            let more = self.steps.get() - 1;
            step = (more > 0).then(|| start.elapsed().as_secs_f64() / more as f64);
            let weights = model.weights();
            let values = model.get_weights()?;
            tensors.extend(
                weights
                    .into_iter()
                    .zip(values)
                    .map(|(weight, value)| (weight.variable.name().to_owned(), "weight", value)),
            );
        }
        if global.verbose() > 0 {
            global.notice(&format!("{name} on {}: done", engine.device()));
        }
        Ok(Ran { name: name.to_owned(), device: engine.device(), tensors, predict, step })
    }
}

/// The outputs of every layer but inputs, of layers that are called several times those of the first call, with the layers'
/// names, and numbers where there are several.
fn layer_outputs(model: &Model) -> Result<(Vec<String>, Vec<Tensor>)> {
    let (mut labels, mut outputs) = (Vec::new(), Vec::new());
    for (layer, results) in model.layer_outputs()? {
        let several = results.len() > 1;
        for (i, result) in results.into_iter().enumerate() {
            labels.push(if several { format!("{}:{i}", layer.name()) } else { layer.name().to_owned() });
            outputs.push(result);
        }
    }
    Ok((labels, outputs))
}

/// Milliseconds.
fn time(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

fn tables(ran: &[Ran]) -> String {
    let mut times = vec![["backend", "device", "predict", "training step"].map(str::to_owned).to_vec()];
    for one in ran {
        let step = one.step.map(time).unwrap_or_default();
        times.push(vec![one.name.clone(), one.device.clone(), time(one.predict), step]);
    }
    let Some((first, others)) = ran.split_first() else { return String::new() };
    let mut rows = vec![vec!["tensor".to_owned(), "kind".to_owned()]];
    if let Some(header) = rows.first_mut() {
        for other in others {
            header.extend([format!("{} absolute", other.name), "relative".to_owned()]);
        }
    }
    for (i, (label, kind, value)) in first.tensors.iter().enumerate() {
        let mut row = vec![label.clone(), (*kind).to_owned()];
        for (_, _, other) in others.iter().filter_map(|other| other.tensors.get(i)) {
            let difference = Difference::of(value, other);
            row.extend([difference.absolute, difference.relative].map(|x| format!("{x:.1e}")));
        }
        rows.push(row);
    }
    format!("{}\n{}", output::table(&times), output::table(&rows))
}

fn object(ran: &[Ran]) -> Value {
    let number = |x: f64| if x.is_finite() { json!(x) } else { json!("Infinity") };
    let backend =
        |one: &Ran| json!({"name": one.name, "device": one.device, "predict": one.predict, "step": one.step});
    let Some((first, others)) = ran.split_first() else { return Value::Null };
    let tensors: Vec<Value> = first
        .tensors
        .iter()
        .enumerate()
        .map(|(i, (label, kind, value))| {
            let differences: Vec<Value> = others
                .iter()
                .filter_map(|other| {
                    let found = Difference::of(value, &other.tensors.get(i)?.2);
                    let (absolute, relative) = (number(found.absolute), number(found.relative));
                    Some(json!({"backend": other.name, "absolute": absolute, "relative": relative}))
                })
                .collect();
            json!({"name": label, "kind": kind, "differences": differences})
        })
        .collect();
    json!({"backends": ran.iter().map(backend).collect::<Vec<_>>(), "tensors": tensors})
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.0 => Ok(value),
        _ => Err("a number of at least 0".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ_absolutely_and_by_their_scale() {
        let of = |a: &[f64], b: &[f64]| {
            let found = Difference::of(&Array::from(a.to_vec()), &Array::from(b.to_vec()));
            (found.absolute, found.relative)
        };
        assert_eq!(of(&[4.0, 0.0], &[4.0, 1.0]), (1.0, 0.25));
        assert_eq!(of(&[0.0], &[0.0]), (0.0, 0.0));
        assert_eq!(of(&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY]), (0.0, 0.0));
        assert_eq!(of(&[f64::NAN, 1.0], &[1.0, 1.0]), (f64::INFINITY, f64::INFINITY));
        assert!(Difference { absolute: 1e-3, relative: 1e-6 }.within(1e-4));
        assert!(!Difference { absolute: 1e-3, relative: 1e-3 }.within(1e-4));
    }
}
