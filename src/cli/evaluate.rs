//! `keras evaluate`: loss and metrics of a model on data, as one line of JSON.

use super::data::{self, Source};
use super::fit::{sample_weight, targets};
use super::model::{ModelFiles, output_names};
use super::options::{Global, from_one};
use super::training::Judgement;
use super::{Outcome, output};
use clap::Args;
use keras::training;
use serde_json::{Map, Value};
use std::num::NonZeroUsize;

/// Print a model's loss and metrics on data as one line of JSON
#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    #[command(flatten)]
    model: ModelFiles,
    /// The samples: one .npy file or FILE.h5:DATASET per input, NAME=FILE to say for which, or one .npz for all
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    x: Vec<Source>,
    /// The targets: likewise, per output
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    y: Vec<Source>,
    /// How much each sample counts: likewise, per output
    #[arg(long, value_name = "[NAME=]FILE", value_parser = data::source())]
    sample_weight: Vec<Source>,
    /// How many samples run together
    #[arg(long, value_name = "N", default_value = "32", value_parser = from_one)]
    batch_size: NonZeroUsize,
    #[command(flatten)]
    judgement: Judgement,
}

impl Evaluate {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let model = self.model.load_trained()?;
        let names = self.judgement.compile(&model, None, &output_names(&model)?)?;
        let x = data::inputs("--x", &self.x, &model)?;
        let y = targets("--y", &self.y, &names)?;
        let mut options =
            training::Evaluate::new().batch_size(self.batch_size.get()).verbose(global.verbose());
        if let Some(weights) = sample_weight(&self.sample_weight, &names)? {
            options = options.sample_weight(weights);
        }
        let values = model.evaluate_with(x, y, options)?;
        let named: Map<String, Value> = model
            .metrics_names()?
            .into_iter()
            .zip(values)
            .map(|(name, value)| (name, number(value)))
            .collect();
        Ok(output::print(&format!("{}\n", Value::Object(named)))?)
    }
}

/// The shortest decimal that reads back equal; what JSON has no number for is a string.
fn number(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_read_back_equal() {
        let line = |value| number(value).to_string();
        assert_eq!(
            [0.0712, 1.0, 1e-7, 0.1 + 0.2].map(line),
            ["0.0712", "1.0", "1e-7", "0.30000000000000004"]
        );
        let infinities = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(line);
        assert_eq!(infinities, ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]);
    }
}
