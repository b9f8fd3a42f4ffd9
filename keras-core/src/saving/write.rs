//! `save`, `save_weights`.

use super::config::{BACKEND, KERAS_VERSION};
use super::h5::Tree;
use super::names::weight_names;
use super::state::{self, State};
use super::training::write_state;
use super::{Dialect, text};
use crate::atomic::write_atomically;
use crate::error::Result;
use crate::models::Model;
use crate::semantics::Semantics;
use serde_json::json;
use std::path::Path;

/// Options of [`Model::save_with`].
///
/// ```
/// use keras_core::saving::Save;
/// let options = Save::new().include_optimizer(false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Save {
    include_optimizer: bool,
    dialect: Dialect,
}

impl Default for Save {
    fn default() -> Self {
        Self { include_optimizer: true, dialect: Dialect::Keras2 }
    }
}

impl Save {
    /// The whole model, as Keras 2.3.1 writes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the training configuration and the optimizer's state are saved, too; default true.
    pub fn include_optimizer(mut self, include: bool) -> Self {
        self.include_optimizer = include;
        self
    }

    /// Whose files it shall be like.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }
}

impl Model {
    /// Saves the whole model into one HDF5 file that Keras reads: architecture, weights and, if it is compiled, loss,
    /// metrics, optimizer and its state.
    ///
    /// The file is written beside the old one, which it replaces when it is complete.
    ///
    /// # Errors
    /// If the model is not built, holds what a file cannot say, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(path, Save::new())
    }

    /// [`Model::save`] with options.
    ///
    /// # Errors
    /// As for [`Model::save`].
    pub fn save_with(&self, path: impl AsRef<Path>, options: Save) -> Result<()> {
        let mut root = Tree::default();
        let config = self.get_config()?;
        let config = json!({"class_name": config.class_name, "config": config.config});
        root.text("keras_version", KERAS_VERSION);
        root.text("backend", BACKEND);
        root.text("model_config", text::to_json(&config));
        if let Some(training) = self.training_config()?.filter(|_| options.include_optimizer) {
            root.text("training_config", text::to_json(&training));
            write_state(self, &mut root)?;
        }
        if let Some(state) = State::of(self, Semantics::keras_2_3())? {
            root.text(state::KEY, text::to_json(&json!(state)));
        }
        write_weights(self, options.dialect, root.group("model_weights"))?;
        write(path.as_ref(), root)
    }

    /// Saves the weights alone.
    ///
    /// # Errors
    /// If the model is not built, or the file cannot be written.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        self.as_layer()?;
        let mut root = Tree::default();
        write_weights(self, Dialect::Keras2, &mut root)?;
        write(path.as_ref(), root)
    }
}

fn write(path: &Path, root: Tree) -> Result<()> {
    write_atomically(path, |file| root.write(&path.display().to_string(), file))
}

fn write_weights(model: &Model, dialect: Dialect, group: &mut Tree) -> Result<()> {
    let layers = model.layers();
    let names: Vec<String> = layers.iter().map(|layer| layer.name().to_owned()).collect();
    group.names("layer_names", &names);
    group.text("backend", BACKEND);
    group.text("keras_version", KERAS_VERSION);
    for layer in &layers {
        let weights = weight_names(layer, dialect);
        let own = group.group(layer.name());
        own.names("weight_names", &weights.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        for (name, weight) in &weights {
            own.array(name, weight.variable.value()?);
        }
    }
    Ok(())
}
