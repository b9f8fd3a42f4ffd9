//! Architectures as text: `to_json`, `to_yaml` and back; `clone_model`.

use super::state::{self, State};
use super::version::Writer;
use super::{Dialect, dialect, keras_3, text, tf_keras};
use crate::error::{Error, Result};
use crate::models::{Model, model_from_config};
use crate::registry::Config;
use serde_json::{Map, Value, json};

/// The version of Keras whose files ours are.
pub(super) const KERAS_VERSION: &str = "2.3.1";
/// Our kernels are correlations, as TensorFlow's are.
pub(super) const BACKEND: &str = "tensorflow";

impl Model {
    /// The architecture as JSON that Keras 2 reads, to the character as Keras writes it: no weights, no training
    /// configuration. Of a model that only tf.keras can hold, JSON that tf.keras reads.
    ///
    /// ```
    /// use keras_core::{layers::Dense, models::Sequential, saving::model_from_json};
    /// let mut model = Sequential::new();
    /// model.add(Dense::new(32).input_shape([16]))?;
    /// let text = model.to_json()?.replace("32", "64");
    /// assert_eq!(model_from_json(&text)?.count_params()?, 17 * 64);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn to_json(&self) -> Result<String> {
        self.to_json_in(None)
    }

    /// [`Model::to_json`] in a dialect of one's choice; `None` is that of [`Model::to_json`].
    ///
    /// ```
    /// use keras_core::{layers::Dense, models::Sequential, saving::Dialect};
    /// let mut model = Sequential::new();
    /// model.add(Dense::new(32).input_shape([16]))?;
    /// assert!(model.to_json_in(Dialect::TfKeras)?.contains("\"keras_version\": \"2.15.0\""));
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the model holds what the dialect cannot say.
    pub fn to_json_in(&self, dialect: impl Into<Option<Dialect>>) -> Result<String> {
        Ok(text::to_json(&described(self, dialect.into())?))
    }

    /// The architecture as YAML that Keras 2 reads.
    ///
    /// ```
    /// use keras_core::{layers::Dense, models::Sequential, saving::model_from_yaml};
    /// let mut model = Sequential::new();
    /// model.add(Dense::new(32).input_shape([16]))?;
    /// assert_eq!(model_from_yaml(&model.to_yaml()?)?.get_config()?, model.get_config()?);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn to_yaml(&self) -> Result<String> {
        self.to_yaml_in(None)
    }

    /// [`Model::to_yaml`] in a dialect of one's choice; see [`Model::to_json_in`].
    ///
    /// # Errors
    /// If the model holds what the dialect cannot say.
    pub fn to_yaml_in(&self, dialect: impl Into<Option<Dialect>>) -> Result<String> {
        Ok(text::to_yaml(&described(self, dialect.into())?))
    }
}

fn described(model: &Model, dialect: Option<Dialect>) -> Result<Value> {
    let config = model.get_config()?;
    let mut value = json!({"class_name": config.class_name, "config": config.config});
    let semantics = model.semantics();
    let dialect = dialect.unwrap_or_else(|| Dialect::of(model, &value));
    dialect::check(&value, dialect.writer(), semantics)?;
    if dialect == Dialect::TfKeras {
        tf_keras::model_config(&mut value);
    }
    value["keras_version"] = json!(dialect.version());
    value["backend"] = json!(BACKEND);
    if semantics != dialect.semantics() {
        value[state::KEY] = json!({ "semantics": semantics });
    }
    Ok(value)
}

/// The model of a JSON text that Keras or [`Model::to_json`] wrote; its weights are fresh.
///
/// # Errors
/// If it is no JSON or no model, or a layer, function or argument in it is unknown.
pub fn model_from_json(text: &str) -> Result<Model> {
    let what = "model from JSON";
    model_of(what, &text::from_json(what, text)?)
}

/// The model of a YAML text that Keras or [`Model::to_yaml`] wrote; its weights are fresh.
///
/// # Errors
/// If it is no YAML or no model, has a tag other than `!!python/tuple`, or a layer, function or argument is unknown.
pub fn model_from_yaml(text: &str) -> Result<Model> {
    let what = "model from YAML";
    model_of(what, &text::from_yaml(what, text)?)
}

fn model_of(what: &str, value: &Value) -> Result<Model> {
    let writer = Writer::of(value.get("keras_version").and_then(Value::as_str), value);
    let state = value.get(state::KEY).map(|state| State::parse(&state.to_string())).transpose()?;
    let semantics = state.and_then(|state| state.semantics).unwrap_or_else(|| writer.semantics());
    semantics.during(|| model_of_value(what, value))
}

/// The model of `{"class_name", "config"}`.
pub(super) fn model_of_value(what: &str, value: &Value) -> Result<Model> {
    let mut value = value.clone();
    keras_3::plain(&mut value);
    let config = config_of(&value).ok_or_else(|| {
        Error::file(what, "an object with class_name and config", "something else")
            .advice("write it again with to_json or to_yaml")
    })?;
    model_from_config(&config)
}

/// The config of an old `Sequential` is the bare list of its layers.
fn config_of(value: &Value) -> Option<Config> {
    let class_name = value.get("class_name")?.as_str()?.to_owned();
    let config = match value.get("config")? {
        Value::Object(config) => config.clone(),
        Value::Array(layers) => Map::from_iter([("layers".to_owned(), Value::Array(layers.clone()))]),
        _ => return None,
    };
    Some(Config { class_name, config })
}

/// A model of the same architecture with fresh weights. It shares nothing with the first and is not compiled.
///
/// ```
/// use keras_core::{layers::Dense, models::Sequential, saving::clone_model};
/// let mut model = Sequential::new();
/// model.add(Dense::new(3).input_shape([2]))?;
/// let copy = clone_model(&model)?;
/// assert_eq!(copy.get_config()?, model.get_config()?);
/// assert_ne!(copy.get_weights()?, model.get_weights()?);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If a layer of the model cannot be made from its config.
pub fn clone_model(model: &Model) -> Result<Model> {
    let config = model.get_config()?;
    let copy = model.semantics().during(|| model_from_config(&config))?;
    copy.set_trainable(model.trainable());
    Ok(copy)
}
