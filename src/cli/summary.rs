//! `keras summary`: the layers of a model, their output shapes and parameters.

use super::model::ModelFiles;
use super::{Outcome, output};
use clap::Args;

/// Print the table of a model's layers
#[derive(Debug, Args)]
pub(crate) struct Summary {
    #[command(flatten)]
    model: ModelFiles,
}

impl Summary {
    pub(crate) fn run(self) -> Outcome {
        Ok(output::print(&self.model.load()?.summary()?)?)
    }
}
