//! Layers-models of TensorFlow.js: `model.json` with the architecture and a manifest of weights, whose bytes lie in files
//! beside it.

use super::config::model_of_value;
use super::names::{bare, weight_names};
use super::read::Load;
use super::training;
use super::version::Writer;
use super::{Dialect, text};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::layers::{LayerRef, loading};
use crate::models::Model;
use crate::npy::half_to_f32;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// No architecture with its manifest is longer.
const TEXT_LIMIT: u64 = 64 << 20;

/// Whether the JSON text of a model is such a `model.json`, which `load_model` and `inspect` read with its weights.
///
/// ```
/// assert!(keras_core::saving::is_layers_model(r#"{"modelTopology": {}, "weightsManifest": []}"#));
/// assert!(!keras_core::saving::is_layers_model(r#"{"class_name": "Sequential", "config": []}"#));
/// ```
pub fn is_layers_model(json: &str) -> bool {
    json.contains("\"modelTopology\"")
        && text::from_json("model.json", json).is_ok_and(|value| value.get("modelTopology").is_some())
}

/// What a `model.json` holds.
pub(super) struct Parts {
    what: String,
    /// `{"class_name", "config"}`.
    pub(super) config: Value,
    pub(super) training_config: Option<Value>,
    pub(super) keras_version: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) weights: Vec<Entry>,
    groups: Vec<Vec<Shard>>,
}

/// A file with a part of a group's bytes.
struct Shard {
    path: PathBuf,
    size: u64,
}

/// An array of the manifest.
pub(super) struct Entry {
    pub(super) name: String,
    shape: Vec<usize>,
    dtype: DType,
    stored: Form,
    group: usize,
    start: u64,
    bytes: u64,
}

/// How numbers are stored.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Half,
    /// `scale·q + min` of whole numbers of that many bytes.
    Affine {
        scale: f64,
        min: f64,
        width: u64,
    },
}

#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    name: String,
    shape: Vec<u64>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
    scale: Option<f64>,
    min: Option<f64>,
}

/// The parts of a layers-model; none if the file is none.
pub(super) fn parts(path: &Path) -> Result<Option<Parts>> {
    let what = format!("model {}", path.display());
    let unreadable = |error: std::io::Error| Error::file(&what, "a readable file", error.to_string());
    let mut file = File::open(path).map_err(unreadable)?;
    let mut start = Vec::new();
    file.by_ref().take(64).read_to_end(&mut start).map_err(unreadable)?;
    let first = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
    if first.trim_ascii_start().first() != Some(&b'{') {
        return Ok(None);
    }
    file.rewind().map_err(unreadable)?;
    let mut source = String::new();
    if file.take(TEXT_LIMIT).read_to_string(&mut source).is_err() || !is_layers_model(&source) {
        return Ok(None);
    }
    let value = text::from_json(&what, &source)?;
    let topology = value.get("modelTopology").unwrap_or(&Value::Null);
    let word = |key: &str| topology.get(key).and_then(Value::as_str).map(str::to_owned);
    let config = topology.get("model_config").unwrap_or(topology);
    if config.get("class_name").is_none() {
        let format = value.get("format").and_then(Value::as_str).unwrap_or("something else");
        return Err(Error::file(what, "a layers-model", format.to_owned()).advice(
            "a graph-model has no layers: convert the Keras model itself with tensorflowjs_converter",
        ));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let (weights, groups) = manifest(&what, folder, value.get("weightsManifest"))?;
    Ok(Some(Parts {
        config: config.clone(),
        training_config: topology.get("training_config").or_else(|| value.get("trainingConfig")).cloned(),
        keras_version: word("keras_version"),
        backend: word("backend"),
        weights,
        groups,
        what,
    }))
}

fn manifest(what: &str, folder: &Path, value: Option<&Value>) -> Result<(Vec<Entry>, Vec<Vec<Shard>>)> {
    let broken = |expected: &str, received: String| {
        Error::file(format!("{what}, weightsManifest"), expected, received)
    };
    let value = value.ok_or_else(|| broken("a list of groups of weights", "none".to_owned()))?;
    let described: Vec<Group> = Deserialize::deserialize(value)
        .map_err(|error: serde_json::Error| broken("groups of paths and weights", error.to_string()))?;
    let (mut entries, mut groups, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    // What is listed twice would make arrays larger than the files.
    let mut paths = described.iter().flat_map(|group| &group.paths);
    if let Some(twice) = paths.find(|path| !known.insert(path.as_str())) {
        return Err(broken("each file once", format!("{twice:?} again")));
    }
    for (number, group) in described.into_iter().enumerate() {
        let shards = group.paths.iter().map(|name| shard(what, folder, name)).collect::<Result<Vec<_>>>()?;
        let size: u64 = shards.iter().fold(0, |sum, shard| sum.saturating_add(shard.size));
        let mut start = 0_u64;
        for weight in group.weights {
            let entry = entry(what, weight, number, start)?;
            start = start.saturating_add(entry.bytes);
            if start > size {
                let expected = format!("{start} bytes or more for {}", entry.name);
                return Err(broken(&expected, format!("{size} in {}", group.paths.join(", "))));
            }
            entries.push(entry);
        }
        groups.push(shards);
    }
    Ok((entries, groups))
}

/// A file beside `model.json`, or in a folder there; nothing else.
fn shard(what: &str, folder: &Path, name: &str) -> Result<Shard> {
    let relative = Path::new(name);
    if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::file(
            format!("{what}, weightsManifest"),
            "paths inside the folder of model.json",
            format!("{name:?}"),
        ));
    }
    let path = folder.join(relative);
    let missing =
        |received: String| Error::file(format!("{what}, weights {}", path.display()), "a file", received);
    let found = std::fs::metadata(&path).map_err(|error| missing(error.to_string()))?;
    if !found.is_file() {
        return Err(missing("something else".to_owned()));
    }
    Ok(Shard { size: found.len(), path })
}

fn entry(what: &str, weight: Described, group: usize, start: u64) -> Result<Entry> {
    let place = format!("{what}, weight {}", weight.name);
    let dtype = match weight.dtype.as_str() {
        "float32" => DType::F32,
        "int32" => DType::I32,
        "bool" => DType::Bool,
        "uint8" => DType::U8,
        other => return Err(Error::file(place, "dtype float32, int32, bool or uint8", other.to_owned())),
    };
    let affine = |quantization: &Quantization, width| match (quantization.scale, quantization.min) {
        (Some(scale), Some(min)) => Ok(Form::Affine { scale, min, width }),
        _ => Err(Error::file(&place, "a quantization with scale and min", "one without")),
    };
    let stored = match &weight.quantization {
        None => Form::Plain,
        Some(quantization) => match quantization.dtype.as_str() {
            "uint8" => affine(quantization, 1)?,
            "uint16" => affine(quantization, 2)?,
            "float16" => Form::Half,
            other => {
                return Err(Error::file(
                    place,
                    "a quantization to uint8, uint16 or float16",
                    other.to_owned(),
                ));
            }
        },
    };
    let width = match (stored, dtype) {
        (Form::Half, _) => 2,
        (Form::Affine { width, .. }, _) => width,
        (Form::Plain, DType::F32 | DType::I32) => 4,
        (Form::Plain, _) => 1,
    };
    let bytes = weight.shape.iter().try_fold(width, |bytes: u64, length| bytes.checked_mul(*length));
    let shape = weight.shape.iter().map(|length| usize::try_from(*length).ok()).collect::<Option<Vec<_>>>();
    let (Some(bytes), Some(shape)) = (bytes, shape) else {
        return Err(Error::file(place, "a shape that a file can hold", format!("{:?}", weight.shape)));
    };
    Ok(Entry { name: weight.name, shape, dtype, stored, group, start, bytes })
}

impl Parts {
    /// Reads an array.
    pub(super) fn read(&self, entry: &Entry) -> Result<Array> {
        let bytes = self.bytes(entry)?;
        let pairs =
            || bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
        let words = || bytes.chunks_exact(4).filter_map(|word| word.try_into().ok());
        let shape = &entry.shape;
        let array = match (entry.stored, entry.dtype) {
            (Form::Half, _) => Array::from_vec(shape, pairs().map(half_to_f32).collect::<Vec<f32>>())?,
            (Form::Affine { scale, min, width }, dtype) => {
                let number = |whole: f64| {
                    let number = whole * scale + min;
                    if dtype == DType::F32 { number } else { number.round() }
                };
                let numbers: Vec<f64> = match width {
                    1 => bytes.iter().map(|&byte| number(f64::from(byte))).collect(),
                    _ => pairs().map(|pair| number(f64::from(pair))).collect(),
                };
                Array::from_vec(shape, numbers)?
            }
            (Form::Plain, DType::F32) => Array::from_vec(shape, words().map(f32::from_le_bytes).collect())?,
            (Form::Plain, DType::I32) => Array::from_vec(shape, words().map(i32::from_le_bytes).collect())?,
            (Form::Plain, _) => Array::from_vec(shape, bytes)?,
        };
        Ok(array.cast(entry.dtype))
    }

    /// The bytes of an array, which may begin in one shard and end in another.
    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let length = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(length);
        let mut skipped = 0_u64;
        for shard in self.groups.get(entry.group).into_iter().flatten() {
            let read = bytes.len() as u64;
            let from = (entry.start + read).saturating_sub(skipped);
            skipped += shard.size;
            if from >= shard.size || read == entry.bytes {
                continue;
            }
            let failed = |error: std::io::Error| {
                Error::file(
                    format!("{}, {}", self.what, shard.path.display()),
                    "its bytes",
                    error.to_string(),
                )
            };
            let mut file = File::open(&shard.path).map_err(failed)?;
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            file.take((entry.bytes - read).min(shard.size - from)).read_to_end(&mut bytes).map_err(failed)?;
        }
        if bytes.len() == length {
            return Ok(bytes);
        }
        let (expected, received) = (format!("{length} bytes of {}", entry.name), bytes.len().to_string());
        Err(Error::file(&self.what, expected, received))
    }

    /// The model with its weights; compiled if the file says how, with a fresh optimizer.
    pub(super) fn load(&self, options: &Load) -> Result<Model> {
        let within = |error: Error| error.within(&self.what);
        let version = self.keras_version.as_deref();
        let writer = match version {
            // TensorFlow.js itself, which computes as tf.keras does.
            Some(version) if version.starts_with("tfjs") => Writer::TfKeras,
            _ => Writer::of(version, &self.config),
        };
        let elements = self.weights.iter().map(|entry| entry.shape.iter().product::<usize>()).sum();
        let training = self.training_config.as_ref().filter(|config| options.compiles() && !config.is_null());
        let model = training::semantics(writer, training)
            .during(|| loading(elements, || model_of_value(&self.what, &self.config)))
            .map_err(within)?;
        let names = Names::of(&self.weights);
        for layer in model.layers() {
            self.assign(&layer, &names).map_err(within)?;
        }
        if let Some(training) = training {
            training::compile(&model, training, writer, None).map_err(within)?;
        }
        Ok(model)
    }

    fn assign(&self, layer: &LayerRef, names: &Names<'_>) -> Result<()> {
        let both =
            weight_names(layer, Dialect::Keras2).into_iter().zip(weight_names(layer, Dialect::TfKeras));
        for ((name, weight), (later, _)) in both {
            let what = || format!("weights of layer {}", layer.name());
            let entry = names.find(&name, &later).ok_or_else(|| {
                Error::file(what(), format!("{} in the manifest", name.trim_end_matches(":0")), "none")
            })?;
            let own = weight.variable.shape();
            if own != entry.shape {
                let expected = format!("{own:?} for {}", weight.name);
                return Err(Error::shape(what(), expected, format!("{:?}", entry.shape)));
            }
            weight.variable.set(&self.read(entry)?.cast(weight.variable.dtype()))?;
        }
        Ok(())
    }
}

/// The arrays of a manifest by their names.
struct Names<'a> {
    whole: HashMap<&'a str, &'a Entry>,
    /// Without what versions put around names; none where two are the same.
    bare: HashMap<String, Option<&'a Entry>>,
}

impl<'a> Names<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        let whole = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let mut short: HashMap<String, Option<&Entry>> = HashMap::new();
        for entry in entries {
            short.entry(bare(&entry.name)).and_modify(|found| *found = None).or_insert(Some(entry));
        }
        Self { whole, bare: short }
    }

    /// By the name in either dialect.
    fn find(&self, name: &str, later: &str) -> Option<&'a Entry> {
        let whole = |name: &str| self.whole.get(name.strip_suffix(":0").unwrap_or(name)).copied();
        whole(later).or_else(|| whole(name)).or_else(|| self.bare.get(&bare(name)).copied().flatten())
    }
}
