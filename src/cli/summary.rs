//! `keras summary`: the layers of a model, their output shapes and parameters.

use super::model::{ModelFiles, Use};
use super::{Outcome, output};
use clap::Args;
use keras::Result;
use keras::layers::Weight;
use keras::models::Model;
use serde_json::{Value, json};

/// Print the table of a model's layers
#[derive(Debug, Args)]
pub(crate) struct Summary {
    #[command(flatten)]
    model: ModelFiles,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Summary {
    pub(crate) fn run(self) -> Outcome {
        let model = self.model.load(Use::Inference)?;
        let text = if self.json { format!("{}\n", object(&model)?) } else { model.summary()? };
        Ok(output::print(&text)?)
    }
}

fn object(model: &Model) -> Result<Value> {
    let layers = model.layers();
    let one = |layer: &keras::layers::LayerRef| -> Result<Value> {
        Ok(json!({
            "name": layer.name(),
            "class_name": layer.class_name(),
            "output_shape": layer.output_shape_text(),
            "params": layer.count_params()?,
        }))
    };
    let count = |weights: &[Weight]| -> usize {
        weights.iter().map(|weight| weight.variable.shape().iter().product::<usize>()).sum()
    };
    Ok(json!({
        "name": model.name(),
        "layers": layers.iter().map(one).collect::<Result<Vec<_>>>()?,
        "total_params": model.count_params()?,
        "trainable_params": count(&model.trainable_weights()),
        "non_trainable_params": count(&model.non_trainable_weights()),
    }))
}
