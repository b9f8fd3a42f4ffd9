//! `keras inspect`: what a file holds.

use super::files::Content;
use super::{Outcome, output};
use clap::Args;
use keras::saving::{Inspection, inspect, is_layers_model};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Show versions, configuration and weights of a model or weight file
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// HDF5, a .keras archive, model.json of TensorFlow.js or .npz arrays; JSON or YAML of an architecture
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Outcome {
        let what = format!("file {}", self.file.display());
        let object = match Content::of(&what, &self.file)? {
            Content::Json | Content::Yaml | Content::Pipe => {
                let text = std::fs::read_to_string(&self.file).map_err(|error| {
                    keras::Error::file(&what, "a readable text file", super::files::reason(&error))
                        .advice("check the path, and that it is UTF-8")
                })?;
                if is_layers_model(&text) {
                    described(&inspect(&self.file)?)
                } else {
                    described(&Inspection::of_text(&what, &text)?)
                }
            }
            Content::Hdf5 => described(&inspect(&self.file)?),
            Content::Zip => {
                // An archive without a config holds arrays, and nothing but arrays.
                let found = inspect(&self.file);
                let arrays = || keras::npy::read_npz(&self.file).ok().filter(|arrays| !arrays.is_empty());
                match found {
                    Ok(found) => described(&found),
                    Err(error) => described(&Inspection::of_arrays(&arrays().ok_or(error)?)),
                }
            }
            other => {
                return Err(keras::Error::file(
                    what,
                    "a model or weights: HDF5, .keras, .npz, JSON or YAML",
                    other.describe(),
                )
                .advice("an array alone says nothing of a model: give the file that was saved")
                .into());
            }
        };
        let text = if self.json { format!("{object}\n") } else { tables(&object) };
        Ok(output::print(&text)?)
    }
}

fn described(found: &Inspection) -> Value {
    let weights: Vec<Value> = found
        .weights
        .iter()
        .map(|weight| {
            json!({
                "path": weight.path, "shape": weight.shape, "dtype": weight.dtype,
                "min": output::number(weight.min), "max": output::number(weight.max),
                "mean": output::number(weight.mean), "std": output::number(weight.std),
            })
        })
        .collect();
    json!({
        "format": found.format,
        "keras_version": found.keras_version,
        "backend": found.backend,
        "model_config": found.model_config,
        "training_config": found.training_config,
        "weights": weights,
    })
}

fn tables(object: &Value) -> String {
    let said = |key: &str| match &object[key] {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows: Vec<Vec<String>> = ["format", "keras_version", "backend", "model_config", "training_config"]
        .iter()
        .map(|key| vec![(*key).to_owned(), said(key)])
        .collect();
    let mut text = format!("{}\n", output::table(&rows));
    let weights = object["weights"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !weights.is_empty() {
        let header = ["weight", "shape", "type", "min", "max", "mean", "std"].map(str::to_owned).to_vec();
        let number = |value: &Value| match value {
            Value::String(text) => text.clone(),
            value => format!("{:.6}", value.as_f64().unwrap_or(f64::NAN)),
        };
        let row = |weight: &Value| {
            let word = |key: &str| weight[key].as_str().unwrap_or_default().to_owned();
            let mut row = vec![word("path"), weight["shape"].to_string(), word("dtype")];
            row.extend(["min", "max", "mean", "std"].map(|key| number(&weight[key])));
            row
        };
        let table: Vec<Vec<String>> = std::iter::once(header).chain(weights.iter().map(row)).collect();
        text.extend(["\n", &output::table(&table), "\n"]);
    }
    text
}
