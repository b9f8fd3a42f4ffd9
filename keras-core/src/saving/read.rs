//! `load_model`, `load_weights`.

use super::config::model_of_value;
use super::h5::{H5, Node};
use super::state::{self, State};
use super::text;
use super::training::{self, read_state};
use super::version::Writer;
use super::weights::{LoadWeights, SavedWeights, WeightsReport};
use super::{archive, tfjs};
use crate::array::Array;
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::layers::loading;
use crate::models::{Kind, Model, Sequential};
use crate::output::Output;
use crate::registry::CustomObjects;
use serde_json::Value;
use std::path::Path;

/// Options of [`load_model_with`].
///
/// ```
/// use keras_core::saving::{CustomObjects, Load};
/// let options = Load::new().compile(false).custom_objects(&CustomObjects::new());
/// ```
#[derive(Clone)]
pub struct Load {
    compile: bool,
    custom: CustomObjects,
}

impl Default for Load {
    fn default() -> Self {
        Self { compile: true, custom: CustomObjects::new() }
    }
}

impl Load {
    /// Compiled if the file says how, with Keras's own names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the training configuration of the file counts; without it the model predicts, whatever loss the file
    /// names. Default true.
    pub fn compile(mut self, compile: bool) -> Self {
        self.compile = compile;
        self
    }

    pub(super) fn compiles(&self) -> bool {
        self.compile
    }

    /// Layers and functions of one's own, by the names that the file has for them.
    pub fn custom_objects(mut self, objects: &CustomObjects) -> Self {
        self.custom = objects.clone();
        self
    }
}

/// Loads a whole model: architecture, weights and, where it was compiled, loss, metrics, optimizer and its state, so
/// that training goes on where it stopped.
///
/// Read is what Keras 1.0 to 2.3, tf.keras up to 2.15 and Keras 3 write, and `model.json` of TensorFlow.js; the model computes by the rules of its writer.
///
/// # Errors
/// If the file is missing, damaged or no model, or holds a layer, function or argument that nobody knows.
pub fn load_model(path: impl AsRef<Path>) -> Result<Model> {
    load_model_with(path, &Load::new())
}

/// [`load_model`] with options.
///
/// # Errors
/// As for [`load_model`].
pub fn load_model_with(path: impl AsRef<Path>, options: &Load) -> Result<Model> {
    let path = path.as_ref();
    options.custom.during(|| match archive::parts(path)? {
        Some(parts) => archive::load(&parts, options),
        None => match tfjs::parts(path)? {
            Some(parts) => parts.load(options),
            None => model_of(&H5::open(path)?, options),
        },
    })
}

fn model_of(h5: &H5, options: &Load) -> Result<Model> {
    let root = h5.root()?;
    let what = format!("model {}", h5.what());
    let Some(config) = root.text("model_config") else {
        let received = if root.names("layer_names")?.is_some() { "weights alone" } else { "no model_config" };
        return Err(Error::file(what, "a whole model", received)
            .advice("build the model, then load its weights with load_weights"));
    };
    let value = text::from_json(&what, config)?;
    let writer = Writer::of(root.text("keras_version"), &value);
    let state = root.text(state::KEY).map(State::parse).transpose()?;
    let saved = match root.child("model_weights")? {
        Some(group) => SavedWeights::read(&group, h5.what(), Some(writer))?,
        None => None,
    };
    let saved = saved.ok_or_else(|| Error::file(&what, "a group model_weights with layer_names", "none"))?;
    let training = root.text("training_config").map(|config| text::from_json("training config", config));
    let training = if options.compile { training.transpose()? } else { None };
    let semantics = state.as_ref().and_then(|state| state.semantics);
    let made = || {
        let model = model_of_value(&what, &value)?;
        build(&model, &saved)?;
        Ok(model)
    };
    let model = semantics
        .unwrap_or_else(|| training::semantics(writer, training.as_ref()))
        .during(|| loading(saved.elements(), made))
        .map_err(|error: Error| error.within(&what))?;
    let whole = LoadWeights { whole: true, ..LoadWeights::new() };
    saved.assign(&model.layers(), whole, |values| {
        values.iter().try_for_each(|(variable, value)| variable.set(value))
    })?;
    if let Some(training) = training {
        compile(&model, &root, writer, &training, state.as_ref()).map_err(|error| error.within(&what))?;
    }
    Ok(model)
}

fn compile(model: &Model, root: &Node, writer: Writer, config: &Value, state: Option<&State>) -> Result<()> {
    training::compile(model, config, writer, state)?;
    read_state(model, root, writer)?;
    state::restore(state, model)
}

/// Builds a `Sequential` whose config has no input shape, as far as its first weights tell: Keras 2.2 and 2.3 drop an
/// explicit `InputLayer`.
fn build(model: &Model, saved: &SavedWeights) -> Result<()> {
    if model.as_layer().is_ok() || model.kind() == Kind::Functional {
        return Ok(());
    }
    let first = saved.layers.iter().find(|layer| !layer.weights.is_empty());
    let layer = first.and_then(|saved| model.layers().into_iter().find(|layer| layer.name() == saved.name));
    let kernel = first.and_then(|saved| saved.weights.first()).map(|(_, stored)| stored.shape().to_vec());
    let (Some(layer), Some(kernel)) = (layer, kernel) else { return Ok(()) };
    let features = |axis: usize| kernel.get(axis).copied();
    let shape = match layer.class_name().as_str() {
        "Dense" => vec![None, features(0)],
        "Embedding" => vec![None, None],
        "Conv1D" => vec![None, None, features(1)],
        "Conv2D" => vec![None, None, None, features(2)],
        "Conv3D" => vec![None, None, None, None, features(3)],
        "LSTM" | "GRU" | "SimpleRNN" | "CuDNNLSTM" | "CuDNNGRU" => vec![None, None, features(0)],
        _ => return Ok(()),
    };
    Sequential::of(model.clone()).build(shape)
}

/// The arrays of a file of Keras 2 with weights alone, under their names and in the order of `get_weights`; none of a
/// file that holds a whole model, or names no layers.
///
/// ```
/// # use keras_core::{layers::Dense, models::Sequential, saving::read_weights};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("weights.h5");
/// let mut model = Sequential::new();
/// model.add(Dense::new(2).input_shape([3]).name("d"))?;
/// model.save_weights(&path)?;
/// let found = read_weights(&path)?.unwrap_or_default();
/// assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["d/kernel:0", "d/bias:0"]);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the file is missing, damaged, or no HDF5.
pub fn read_weights(path: impl AsRef<Path>) -> Result<Option<Vec<(String, Array)>>> {
    let h5 = H5::open(path.as_ref())?;
    let root = h5.root()?;
    if root.text("model_config").is_some() {
        return Ok(None);
    }
    let Some(saved) = SavedWeights::read(&root, h5.what(), None)? else { return Ok(None) };
    let arrays = saved.layers.into_iter().flat_map(|layer| layer.weights);
    arrays.map(|(name, stored)| Ok((name, stored.read()?))).collect::<Result<_>>().map(Some)
}

impl Model {
    /// Loads weights from a weight file, or from the file of a whole model: all of them or, if one does not fit, none.
    ///
    /// Without options layers are matched in order, with `by_name` by their names; the report says what became of
    /// each. If nothing matched, a warning says so.
    ///
    /// ```
    /// use keras_core::layers::Dense;
    /// use keras_core::models::Sequential;
    /// use keras_core::saving::LoadWeights;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("weights.h5");
    /// let mut model = Sequential::new();
    /// model.add(Dense::new(2).input_shape([3]).name("dense_1"))?;
    /// model.add(Dense::new(3).name("dense_2"))?;
    /// model.save_weights(&path)?;
    ///
    /// let mut other = Sequential::new();
    /// other.add(Dense::new(2).input_shape([3]).name("dense_1"))?;
    /// other.add(Dense::new(10).name("new_dense"))?;
    /// let report = other.load_weights(&path, LoadWeights::new().by_name(true))?;
    /// assert_eq!((report.loaded, report.skipped, report.missing), (vec!["dense_1".into()], vec!["dense_2".into()], vec!["new_dense".into()]));
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file is missing or damaged, the model is not built, or weights do not fit.
    pub fn load_weights(&self, path: impl AsRef<Path>, options: LoadWeights) -> Result<WeightsReport> {
        self.as_layer()?;
        if options.skip_mismatch && !options.by_name {
            return Err(Error::value(
                "load_weights",
                "skip_mismatch together with by_name",
                "skip_mismatch alone",
            ));
        }
        let h5 = H5::open(path.as_ref())?;
        let root = h5.root()?;
        if archive::is_tree(&root)? {
            return self.load_tree(&h5, &root, options);
        }
        let writer = root.text("keras_version").and_then(Writer::of_version);
        let writer = writer.or_else(|| root.text("model_config").map(Writer::of_config));
        let saved = match SavedWeights::read(&root, h5.what(), writer)? {
            Some(saved) => Some(saved),
            None => match root.child("model_weights")? {
                Some(group) => SavedWeights::read(&group, h5.what(), writer)?,
                None => None,
            },
        };
        let saved =
            saved.ok_or_else(|| Error::file(format!("weights {}", h5.what()), "layer_names", "none"))?;
        // Read twice, so that all fit before the first is set, and never more than one layer is in memory besides the
        // model's own.
        saved.assign(&self.layers(), options, |_| Ok(()))?;
        let report = saved.assign(&self.layers(), options, |values| {
            values.iter().try_for_each(|(variable, value)| variable.set(value))
        })?;
        if report.loaded.is_empty() {
            Output::current().warning(&format!("no layer of {} matched: no weights were loaded", h5.what()));
        }
        Ok(report)
    }

    /// Loads a `.weights.h5` file, whose layers have no names.
    fn load_tree(&self, h5: &H5, root: &Node, options: LoadWeights) -> Result<WeightsReport> {
        if options.by_name {
            return Err(Error::value(format!("weights {}", h5.what()), "layers in order", "by_name")
                .advice("this kind of file does not name its layers"));
        }
        let within = |error: Error| error.within(h5.what());
        archive::values(self, root, &mut |_, _| Ok(())).map_err(within)?;
        let skipped = archive::values(self, root, &mut Variable::set).map_err(within)?;
        if !skipped.is_empty() {
            let (what, left) = (h5.what(), skipped.join(", "));
            Output::current().warning(&format!("no layer of the model takes what {what} has of {left}"));
        }
        let loaded = self
            .layers()
            .iter()
            .filter(|layer| !layer.weights().is_empty())
            .map(|layer| layer.name().to_owned())
            .collect();
        Ok(WeightsReport { loaded, skipped, ..WeightsReport::default() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::layers::{Conv2D, Conv2DTranspose};
    use crate::saving::h5::Tree;
    use crate::saving::names::weight_names;
    use crate::saving::{Dialect, clone_model};

    /// Who wrote a whole file that names no version, its config tells; the weights are of the same writer.
    #[test]
    fn a_file_without_versions_keeps_its_kernels() {
        let mut model = Sequential::new();
        let convolution = Conv2D::new(3, 3).data_format("channels_first").padding("same");
        model.add(convolution.input_shape([3, 3, 3])).unwrap();
        model.add(Conv2DTranspose::new(3, 2)).unwrap();
        let mut root = Tree::default();
        root.text("model_config", model.to_json().unwrap());
        let weights = root.group("model_weights");
        let layers = model.layers();
        let names: Vec<String> = layers.iter().map(|layer| layer.name().to_owned()).collect();
        weights.names("layer_names", &names, Dialect::Keras2);
        for layer in &layers {
            let (names, own) = (weight_names(layer, Dialect::Keras2), weights.group(layer.name()));
            let listed: Vec<String> = names.iter().map(|(name, _)| name.clone()).collect();
            own.names("weight_names", &listed, Dialect::Keras2);
            names.iter().for_each(|(name, weight)| own.array(name, weight.variable.value().unwrap()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bare.h5");
        root.write("bare.h5", &mut std::fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(load_model(&path).unwrap().get_weights().unwrap(), model.get_weights().unwrap());
        let fresh = clone_model(&model).unwrap();
        fresh.load_weights(&path, LoadWeights::new()).unwrap();
        assert_eq!(fresh.get_weights().unwrap(), model.get_weights().unwrap());
    }
}
