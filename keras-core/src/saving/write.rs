//! `save`, `save_weights`.

use super::aliases::named_for;
use super::config::BACKEND;
use super::h5::Tree;
use super::names::weight_names;
use super::state::{self, State};
use super::training::{warn_of_epsilon, write_state};
use super::{Dialect, archive, dialect, text, tf_keras};
use crate::atomic::write_atomically;
use crate::error::Result;
use crate::models::Model;
use crate::semantics::OptimizerEpsilon;
use serde_json::{Value, json};
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
    dialect: Option<Dialect>,
}

impl Default for Save {
    fn default() -> Self {
        Self { include_optimizer: true, dialect: None }
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

    /// Whose files it shall be like; default: tf.keras's of a model that computes by its rules, such as one that was
    /// loaded from its files, else Keras 2.3.1's. A `.keras` archive is one of Keras 3, unless it is tf.keras's.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }
}

impl Model {
    /// Saves the whole model into one file that Keras reads, HDF5 or, by its name, a `.keras` archive: architecture, weights and, if it is compiled, loss,
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
        let path = path.as_ref();
        if ends_with(path, ".keras") {
            return write_atomically(path, |file| {
                archive::write(self, options.include_optimizer, options.dialect, file)
            });
        }
        let config = self.get_config()?;
        let mut config = json!({"class_name": config.class_name, "config": config.config});
        let training = self.training_config()?.filter(|_| options.include_optimizer);
        let dialect = options.dialect.unwrap_or_else(|| Dialect::of(self, &config));
        dialect::check(&config, dialect.writer(), self.semantics())?;
        let mut training = training.map(|training| named_for(dialect.writer(), training)).transpose()?;
        let mut root = Tree::default();
        match dialect {
            Dialect::Keras2 => {
                root.text("keras_version", dialect.version());
                root.text("backend", BACKEND);
            }
            Dialect::TfKeras => {
                root.unicode("keras_version", dialect.version());
                root.unicode("backend", BACKEND);
                tf_keras::model_config(&mut config);
                if training.is_some() {
                    warn_of_epsilon(self, OptimizerEpsilon::BehindRoot);
                }
                training = training.map(|training| tf_keras::training_config(self, &training)).transpose()?;
            }
        }
        root.text("model_config", text::to_json(&config));
        if let Some(training) = training {
            root.text("training_config", text::to_json(&training));
            write_state(self, &mut root, dialect)?;
        }
        if let Some(state) = State::of(self, dialect.semantics())? {
            root.text(state::KEY, text::to_json(&json!(state)));
        }
        write_weights(self, dialect, root.group("model_weights"))?;
        write(path, root)
    }

    /// Saves the weights alone: in the layout of Keras 3 where the name ends with `.weights.h5`.
    ///
    /// # Errors
    /// If the model is not built, or the file cannot be written.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_weights_in(path, None)
    }

    /// [`Model::save_weights`] as that Keras does, under a name that ends with `.weights.h5`, too: tf.keras 2.15 then
    /// writes the layout of Keras 3, Keras 2.3.1 its own. `None` is [`Model::save_weights`].
    ///
    /// ```
    /// # use keras_core::{layers::Dense, models::Sequential, saving::{Dialect, LoadWeights}};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("x.weights.h5");
    /// let mut model = Sequential::new();
    /// model.add(Dense::new(2).input_shape([3]).name("d"))?;
    /// model.save_weights_in(&path, Dialect::Keras2)?;
    /// assert_eq!(model.load_weights(&path, LoadWeights::new().by_name(true))?.loaded, ["d"]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Model::save_weights`].
    pub fn save_weights_in(&self, path: impl AsRef<Path>, dialect: impl Into<Option<Dialect>>) -> Result<()> {
        self.as_layer()?;
        let (path, dialect) = (path.as_ref(), dialect.into());
        if ends_with(path, ".weights.h5") && dialect != Some(Dialect::Keras2) {
            let writer = dialect.map_or_else(|| archive::writer(self), Dialect::writer);
            return write(path, archive::weights_tree(self, writer)?);
        }
        let mut root = Tree::default();
        let dialect = dialect.unwrap_or_else(|| {
            // A model that no config describes has weights, too.
            let config = self.get_config().map_or(Value::Null, |config| config.to_value());
            Dialect::of(self, &config)
        });
        write_weights(self, dialect, &mut root)?;
        write(path, root)
    }
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending))
}

fn write(path: &Path, root: Tree) -> Result<()> {
    write_atomically(path, |file| root.write(&path.display().to_string(), file))
}

fn write_weights(model: &Model, dialect: Dialect, group: &mut Tree) -> Result<()> {
    let layers = model.layers();
    let names: Vec<String> = layers.iter().map(|layer| layer.name().to_owned()).collect();
    group.names("layer_names", &names, dialect);
    group.text("backend", BACKEND);
    group.text("keras_version", dialect.version());
    for layer in &layers {
        let weights = weight_names(layer, dialect);
        let own = group.group(layer.name());
        let names: Vec<String> = weights.iter().map(|(name, _)| name.clone()).collect();
        own.names("weight_names", &names, dialect);
        for (name, weight) in &weights {
            own.array(name, weight.variable.value()?);
        }
    }
    if dialect == Dialect::TfKeras {
        group.group("top_level_model_weights").names("weight_names", &[], dialect);
    }
    Ok(())
}
