//! `.keras` archives and `.weights.h5` files: the formats of tf.keras 2.12 and later and of Keras 3. An archive is a zip of
//! `config.json`, `metadata.json` and `model.weights.h5`, whose groups follow the tree of layers.

use super::aliases::named_for;
use super::h5::{H5, Node, Tree, most_unpacked};
use super::read::Load;
use super::state::{self, State};
use super::training::{self, interleaved, separated};
use super::version::Writer;
use super::{Dialect, config, dialect, keras_3, text, tf_keras};
use crate::array::Array;
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::layers::{LayerRef, Weight, loading};
use crate::models::{Model, Network};
use crate::registry::bare_name;
use crate::semantics::OptimizerEpsilon;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use zip::ZipArchive;
use zip::write::SimpleFileOptions;

const CONFIG: &str = "config.json";
const METADATA: &str = "metadata.json";
const WEIGHTS: &str = "model.weights.h5";
const STATE: &str = "keras_rs_state.json";
/// No config of a model is longer.
const TEXT_LIMIT: u64 = 4 << 20;

/// What an archive holds.
pub(super) struct Parts {
    what: String,
    pub(super) config: Value,
    pub(super) metadata: Value,
    state: Option<State>,
    pub(super) weights: H5,
    /// Where the weights lie while they are read, array by array.
    _unpacked: tempfile::NamedTempFile,
}

/// The parts of an archive; none if the file is none.
pub(super) fn parts(path: &Path) -> Result<Option<Parts>> {
    let what = format!("model {}", path.display());
    let broken = |error: &dyn std::fmt::Display| {
        Error::file(&what, "a .keras archive", error.to_string())
            .advice("it may be damaged or cut off: save or copy it again")
    };
    let mut file = File::open(path).map_err(|error| broken(&error))?;
    let size = file.metadata().map_err(|error| broken(&error))?.len();
    let mut start = [0; 4];
    if file.read_exact(&mut start).is_err() || start != *b"PK\x03\x04" {
        return Ok(None);
    }
    let mut zip = ZipArchive::new(file).map_err(|error| broken(&error))?;
    let read = |zip: &mut ZipArchive<File>, name: &str| -> Result<Value> {
        let entry = zip.by_name(name).map_err(|error| broken(&format!("{name}: {error}")))?;
        let mut text = String::new();
        entry
            .take(TEXT_LIMIT)
            .read_to_string(&mut text)
            .map_err(|error| broken(&format!("{name}: {error}")))?;
        text::from_json(&format!("{what}, {name}"), &text)
    };
    let config = read(&mut zip, CONFIG)?;
    let metadata = read(&mut zip, METADATA)?;
    let state = match zip.index_for_name(STATE).is_some() {
        true => Some(State::parse(&read(&mut zip, STATE)?.to_string())?),
        false => None,
    };
    let mut unpacked = tempfile::NamedTempFile::new().map_err(|error| broken(&error))?;
    let entry = zip.by_name(WEIGHTS).map_err(|error| broken(&format!("{WEIGHTS}: {error}")))?;
    let limit = most_unpacked(size);
    let copied = std::io::copy(&mut entry.take(limit), &mut unpacked)
        .map_err(|error| broken(&format!("{WEIGHTS}: {error}")))?;
    if copied == limit {
        let expected = format!("less than {limit} bytes in an archive of {size}");
        return Err(Error::file(format!("{what}, {WEIGHTS}"), expected, "more")
            .advice("if the weights are compressed further than weights are, zip them without compression"));
    }
    let weights = H5::open_as(unpacked.path(), format!("{}, {WEIGHTS}", path.display()))?;
    Ok(Some(Parts { what, config, metadata, state, weights, _unpacked: unpacked }))
}

/// The model of an archive.
pub(super) fn load(parts: &Parts, options: &Load) -> Result<Model> {
    let Parts { what, config: value, metadata, state, weights: h5, .. } = parts;
    let version = metadata.get("keras_version").and_then(Value::as_str);
    let writer = Writer::of(version, value);
    let root = h5.root()?;

    // The size of the file bounds the number of its numbers, of half precision at least.
    let numbers = usize::try_from(h5.size() / 2).unwrap_or(usize::MAX);
    let training = compile_config(value).filter(|_| options.compiles());
    let semantics = state.as_ref().and_then(|state| state.semantics);
    let model = semantics
        .unwrap_or_else(|| training::semantics(writer, training))
        .during(|| loading(numbers, || config::model_of_value(what, value)))
        .map_err(|error| error.within(what))?;
    values(&model, &root, &mut Variable::set).map_err(|error| error.within(what))?;
    if let Some(training) = training {
        let compile = || -> Result<()> {
            training::compile(&model, training, writer, state.as_ref())?;
            read_optimizer(&model, &root, writer)?;
            state::restore(state.as_ref(), &model)
        };
        compile().map_err(|error| error.within(what))?;
    }
    Ok(model)
}

/// The training config of a compiled model; Keras 3 has an empty one of others.
pub(super) fn compile_config(config: &Value) -> Option<&Value> {
    let config = config.get("compile_config")?;
    let empty = config.is_null() || config.as_object().is_some_and(Map::is_empty);
    (!empty).then_some(config)
}

/// Whether weights stand in groups by layer and number: `layers/dense/vars/0`.
pub(super) fn is_tree(root: &Node) -> Result<bool> {
    Ok(container(root)?.is_some() && !root.is_listed("layer_names"))
}

/// The group of a model's layers, and how their keys are counted.
fn container(node: &Node) -> Result<Option<(Node, Count)>> {
    if let Some(found) = node.child("layers")? {
        return Ok(Some((found, Count::Once)));
    }
    Ok(node.child("_layer_checkpoint_dependencies")?.map(|found| (found, Count::WeightsTwice)))
}

/// How the layers of one class are numbered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    /// One after the other.
    Once,
    /// tf.keras 2.12 and 2.13 list layers with weights twice, and write them once: `dense`, `dense_2`, `dense_4`.
    WeightsTwice,
}

/// What takes the value of a weight.
pub(super) type Set<'a> = &'a mut dyn FnMut(&Variable, &Array) -> Result<()>;

/// Hands a value for every weight of a model to `set`, one by one; an error if one is missing or of another shape, or if a layer
/// has more of them in the file. The keys of the file's layers that no layer of the model takes.
pub(super) fn values(model: &Model, root: &Node, set: Set<'_>) -> Result<Vec<String>> {
    let layers = container(root)?;
    let layers = layers.ok_or_else(|| {
        Error::file(format!("weights of model {}", model.name()), "a group of layers", "none")
    })?;
    read_layers(&model.layers(), &layers, set)
}

fn read_layers(layers: &[LayerRef], (group, count): &(Node, Count), set: Set<'_>) -> Result<Vec<String>> {
    let mut taken = HashSet::new();
    for (layer, key) in layers.iter().zip(keys(layers, *count)) {
        let own = match group.child(&key)? {
            Some(own) => Some((key.clone(), own)),
            None => group.child(layer.name())?.map(|own| (layer.name().to_owned(), own)),
        };
        match own {
            Some((key, own)) => {
                read_layer(layer, &own, set)?;
                taken.insert(key);
            }
            None if layer.weights().is_empty() => {}
            None => {
                return Err(Error::file(
                    format!("weights of layer {}", layer.name()),
                    format!("a group {key:?}"),
                    "none",
                ));
            }
        }
    }
    let mut left = Vec::new();
    for key in group.groups()?.into_iter().filter(|key| !taken.contains(key)) {
        if let Some(other) = group.child(&key)?
            && (arrays(&other, VARS)? > 0 || other.groups()?.iter().any(|name| name != VARS))
        {
            left.push(key);
        }
    }
    Ok(left)
}

/// How many arrays a group inside has.
fn arrays(node: &Node, path: &str) -> Result<usize> {
    node.group_at(path)?.map_or(Ok(0), |group| group.datasets().map(|names| names.len()))
}

fn read_layer(layer: &LayerRef, group: &Node, set: Set<'_>) -> Result<()> {
    let weights = own(layer);
    let what = || format!("weights of layer {}", layer.name());
    if weights.is_empty() {
        has_no_more(group, VARS, 0).map_err(|error| error.within(what()))?;
    } else {
        // A recurrent layer is its cell here, but not there.
        let cell = group.child("cell")?;
        let vars = cell.as_ref().unwrap_or(group);
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (path, weight) in &weights {
            // tf.keras gives its own name to what Keras 3 calls query_dense.
            let (part, _) = path.split_once('/').unwrap_or((path, ""));
            let path = match vars.child(part)? {
                Some(_) => path.clone(),
                None => format!("_{path}"),
            };
            let (place, _) = path.rsplit_once('/').unwrap_or((&path, ""));
            *counts.entry(place.to_owned()).or_insert(0) += 1;
            let stored = vars.stored(&path).map_err(|error| error.within(what()))?;
            let (own, saved) = (weight.variable.shape(), stored.shape());
            if own != saved {
                return Err(Error::shape(
                    what(),
                    format!("{own:?} for {}", weight.name),
                    format!("{saved:?}"),
                ));
            }
            set(&weight.variable, &stored.read()?)?;
        }
        for (place, count) in counts {
            has_no_more(vars, &place, count).map_err(|error| error.within(what()))?;
        }
    }
    if let Some(network) = layer.downcast::<Network>() {
        if let Some(layers) = container(group)? {
            read_layers(&layers_of(network), &layers, set)?;
        }
        return Ok(());
    }
    for (key, child) in children(layer) {
        if let Some(inner) = group.group_at(&key)? {
            read_layer(&child, &inner, set)?;
        } else if !child.weights().is_empty() {
            return Err(Error::file(what(), format!("a group {key:?}"), "none"));
        }
    }
    Ok(())
}

/// An error if a group holds more arrays than a layer has weights.
fn has_no_more(node: &Node, place: &str, count: usize) -> Result<()> {
    match arrays(node, place)? {
        found if found > count => {
            Err(Error::file(format!("the group {place:?}"), format!("{count} arrays"), found.to_string())
                .advice("load them into a model of the layers that they were saved from"))
        }
        _ => Ok(()),
    }
}

/// The group of a layer's arrays.
const VARS: &str = "vars";

/// A layer's own weights where archives have them: those that can learn first, frozen or not. The projections of a
/// `MultiHeadAttention` are layers there.
fn own(layer: &LayerRef) -> Vec<(String, Weight)> {
    let weights = layer.own_weights().map(|weights| weights.to_vec()).unwrap_or_default();
    let (learning, fixed): (Vec<_>, Vec<_>) = weights.into_iter().partition(|weight| weight.trainable);
    let mut counts: HashMap<String, usize> = HashMap::new();
    learning
        .into_iter()
        .chain(fixed)
        .map(|weight| {
            let group = match weight.name.split_once('/') {
                Some(("attention_output", _)) => "output_dense/vars".to_owned(),
                Some((part, _)) => format!("{part}_dense/vars"),
                None => VARS.to_owned(),
            };
            let count = counts.entry(group.clone()).or_insert(0);
            let path = format!("{group}/{count}");
            *count += 1;
            (path, weight)
        })
        .collect()
}

/// The layers of a model inside another one: those of a `Sequential` without its input.
fn layers_of(network: &Network) -> Vec<LayerRef> {
    let sequential = network.is_sequential();
    network
        .layers()
        .iter()
        .filter(|layer| !(sequential && layer.class_name() == "InputLayer"))
        .cloned()
        .collect()
}

/// The keys of layers in their container: names of classes, numbered.
fn keys(layers: &[LayerRef], count: Count) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    layers
        .iter()
        .map(|layer| {
            let class = layer.class_name();
            let class = bare_name(&class);
            let key = snake_case(if class == "Model" { "Functional" } else { class });
            let number = counts.entry(key.clone()).or_insert(0);
            let numbered = if *number == 0 { key } else { format!("{key}_{number}") };
            *number += if count == Count::WeightsTwice && !layer.weights().is_empty() { 2 } else { 1 };
            numbered
        })
        .collect()
}

/// The layers that one calls, under the keys of Keras's attributes.
fn children(layer: &LayerRef) -> Vec<(String, LayerRef)> {
    let cells: Vec<LayerRef> = layer
        .named_children()
        .into_iter()
        .filter(|(role, _)| role.starts_with("cell_"))
        .map(|(_, cell)| cell)
        .collect();
    let mut numbered = keys(&cells, Count::Once).into_iter();
    layer
        .named_children()
        .into_iter()
        .map(|(role, child)| {
            let key = match role.as_str() {
                "forward" | "backward" => format!("{role}_layer"),
                role if role.starts_with("cell_") => {
                    format!("cells/{}", numbered.next().unwrap_or_default())
                }
                role => role.to_owned(),
            };
            (key, child)
        })
        .collect()
}

/// The prefix that Keras 3 makes of a class: unlike that of Keras 2 for names with digits (`conv_lstm2d`).
fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().collect();
    let at = |i: usize| chars.get(i).copied();
    let mut name = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let starts_word = c.is_ascii_uppercase() && at(i + 1).is_some_and(|next| next.is_ascii_lowercase());
        let after_lower = c.is_ascii_uppercase()
            && i > 0
            && at(i - 1).is_some_and(|previous| previous.is_ascii_lowercase());
        if i > 0 && (starts_word || after_lower) {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn read_optimizer(model: &Model, root: &Node, writer: Writer) -> Result<()> {
    let (Some(group), Ok(optimizer)) = (root.group_at("optimizer/vars")?, model.optimizer()) else {
        return Ok(());
    };
    let count = group.datasets()?.len();
    let stored = (0..count).map(|i| group.stored(&i.to_string())).collect::<Result<Vec<_>>>()?;
    training::restore(&optimizer, &stored, |values| separated(&optimizer, values, writer))
}

/// The tree of a model's weights.
pub(super) fn weights_tree(model: &Model, writer: Writer) -> Result<Tree> {
    let mut root = Tree::default();
    root.group("vars");
    write_layers(&model.layers(), root.group("layers"), writer)?;
    Ok(root)
}

fn write_layers(layers: &[LayerRef], group: &mut Tree, writer: Writer) -> Result<()> {
    layers
        .iter()
        .zip(keys(layers, Count::Once))
        .try_for_each(|(layer, key)| write_layer(layer, group.group(&key), writer))
}

fn write_layer(layer: &LayerRef, group: &mut Tree, writer: Writer) -> Result<()> {
    group.group("vars");
    let in_cell = matches!(layer.class_name().as_str(), "LSTM" | "GRU" | "SimpleRNN" | "ConvLSTM2D");
    let vars = group.group(if in_cell { "cell" } else { "" });
    for (path, weight) in own(layer) {
        let private = writer == Writer::TfKeras && path.contains("_dense/");
        vars.array(&if private { format!("_{path}") } else { path }, weight.variable.value()?);
    }
    if let Some(network) = layer.downcast::<Network>() {
        return write_layers(&layers_of(network), group.group("layers"), writer);
    }
    children(layer).iter().try_for_each(|(key, child)| write_layer(child, group.group(key), writer))
}

/// Whose archive a model is written to, if nobody says it.
pub(super) fn writer(model: &Model) -> Writer {
    if model.semantics().is_tf_keras() { Writer::TfKeras } else { Writer::Keras3 }
}

/// Writes a `.keras` archive: of Keras 3, or in its dialect of tf.keras 2.15. They differ in the optimizer's state.
pub(super) fn write<W: Write + Seek>(
    model: &Model,
    include_optimizer: bool,
    dialect: Option<Dialect>,
    to: W,
) -> Result<()> {
    let writer = match dialect {
        Some(Dialect::TfKeras) => Writer::TfKeras,
        Some(Dialect::Keras2) => {
            return Err(Error::value(
                "a .keras archive",
                "the dialect of tf.keras, or none for Keras 3",
                "keras2",
            )
            .advice("Keras 2 has no archives: give the file a name that ends with .h5"));
        }
        None => writer(model),
    };
    let failed = |error: &dyn std::fmt::Display| {
        Error::file(format!("writing model {}", model.name()), "a .keras archive", error.to_string())
    };
    let config = model.get_config()?;
    let mut described = json!({"class_name": config.class_name, "config": config.config});
    dialect::check(&described, writer, model.semantics())?;
    tf_keras::model_config(&mut described);
    if writer == Writer::Keras3 {
        keras_3::calls(&mut described);
        keras_3::modules(&mut described, "keras.src.models.functional");
    } else {
        keras_3::modules(&mut described, "keras.src.engine.functional");
    }
    let mut weights = weights_tree(model, writer)?;
    if let Some(training) = model.training_config()?.filter(|_| include_optimizer) {
        described["compile_config"] = tf_keras::compile_config(model, &named_for(writer, training)?, writer)?;
        training::warn_of_epsilon(model, OptimizerEpsilon::BelowRoot);
        let optimizer = model.optimizer()?;
        if optimizer.weights().iter().any(|variable| variable.version() > 0) {
            let vars = weights.group("optimizer/vars");
            for (i, value) in interleaved(&optimizer, writer)?.into_iter().enumerate() {
                vars.array(&i.to_string(), value);
            }
        }
    }
    let mut zip = zip::ZipWriter::new(to);
    let options =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    let mut put = |name: &str, write: &mut dyn FnMut(&mut zip::ZipWriter<W>) -> Result<()>| {
        zip.start_file(name, options).map_err(|error| failed(&error))?;
        write(&mut zip)
    };
    let mut text = |name: &str, text: String| {
        put(name, &mut |zip| zip.write_all(text.as_bytes()).map_err(|error| failed(&error)))
    };
    let version = if writer == Writer::Keras3 { keras_3::VERSION } else { tf_keras::VERSION };
    text(METADATA, json!({"keras_version": version}).to_string())?;
    text(CONFIG, super::text::to_json(&described))?;
    if let Some(state) = State::of(model, training::semantics(writer, described.get("compile_config")))? {
        text(STATE, json!(state).to_string())?;
    }
    let mut weights = Some(weights);
    put(WEIGHTS, &mut |zip| weights.take().map_or(Ok(()), |weights| weights.write(state::KEY, zip)))?;
    zip.finish().map_err(|error| failed(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn keys_are_those_of_keras_3() {
        for (class, key) in [
            ("Dense", "dense"),
            ("BatchNormalization", "batch_normalization"),
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("LSTM", "lstm"),
            ("ConvLSTM2D", "conv_lstm2d"),
            ("InputLayer", "input_layer"),
            ("PReLU", "p_re_lu"),
        ] {
            assert_eq!(snake_case(class), key);
        }
    }
}
