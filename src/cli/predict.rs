//! `keras predict`: a model's outputs for samples, into a file.

use super::Outcome;
use super::data::{self, Source};
use super::files::check_writable;
use super::model::{ModelFiles, Use, output_names};
use super::options::{Global, from_one};
use clap::Args;
use keras::training;
use keras::{Error, npy};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Run a model on data and write its outputs to a file
#[derive(Debug, Args)]
pub(crate) struct Predict {
    #[command(flatten)]
    model: ModelFiles,
    /// The samples: one .npy file or FILE.h5:DATASET per input, NAME=FILE to say for which, or one .npz for all
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    input: Vec<Source>,
    /// Where the outputs go: .npy for one output, .npz for any number
    #[arg(long, value_name = "OUT", value_parser = arrays_file)]
    output: PathBuf,
    /// How many samples run together
    #[arg(long, value_name = "N", default_value = "32", value_parser = from_one)]
    batch_size: NonZeroUsize,
}

impl Predict {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let model = self.model.load_trained(Use::Inference)?;
        let names = output_names(&model)?;
        let what = format!("--output {}", self.output.display());
        if names.len() > 1 && !is(&self.output, "npz") {
            return Err(Error::value(
                what,
                "a .npz file for several outputs",
                format!("{} outputs: {}", names.len(), names.join(", ")),
            )
            .advice("give --output a name that ends with .npz")
            .into());
        }
        check_writable("--output", &self.output)?;
        let x = data::inputs("--input", &self.input, &model)?;
        let options = training::Predict::new().batch_size(self.batch_size.get()).verbose(global.verbose());
        let outputs = model.predict_all(x, &options)?;
        match outputs.as_slice() {
            [output] if is(&self.output, "npy") => npy::write_npy(&self.output, output)?,
            outputs => npy::write_npz(&self.output, names.iter().zip(outputs), false)?,
        }
        Ok(())
    }
}

pub(crate) fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

fn arrays_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is(&path, "npy") || is(&path, "npz") { Ok(path) } else { Err("a file .npy or .npz".to_owned()) }
}
