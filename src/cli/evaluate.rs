//! `keras evaluate`: loss and metrics of a model on data, as one line of JSON.

use super::data::{self, Source};
use super::fit::sample_weight;
use super::model::{ModelFiles, Use, output_names};
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
        let model = self.model.load_trained(Use::Training)?;
        let names = self.judgement.compile(&model, None, &output_names(&model)?)?;
        let x = data::inputs("--x", &self.x, &model)?;
        let y = data::targets("--y", &self.y, &model, &names, &x)?;
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
            .map(|(name, value)| (name, output::number(value)))
            .collect();
        Ok(output::print(&format!("{}\n", Value::Object(named)))?)
    }
}
