//! [`inspect`]: what a file holds, without making a model of it.

use super::h5::{H5, Node, Stored};
use super::text;
use super::weights::SavedWeights;
use super::{archive, tfjs};
use crate::array::Array;
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// What a model or weight file holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// `HDF5 model`, `HDF5 weights`, `.keras archive`, `TF.js layers-model`, `.npz arrays`, `JSON architecture`,
    /// `YAML architecture`.
    pub format: String,
    /// The version of Keras that it names.
    pub keras_version: Option<String>,
    /// The backend that it names.
    pub backend: Option<String>,
    /// The architecture: `{"class_name", "config"}`.
    pub model_config: Option<Value>,
    /// Loss, metrics and optimizer.
    pub training_config: Option<Value>,
    /// Every array, those of the optimizer included.
    pub weights: Vec<InspectedWeight>,
}

/// An array of a file, with statistics of its elements (0 where there are none).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InspectedWeight {
    /// Where it stands: `dense_1/dense_1/kernel:0`.
    pub path: String,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: String,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// The mean of the elements.
    pub mean: f64,
    /// Their standard deviation.
    pub std: f64,
}

/// Reads what a model or weight file holds: HDF5, a `.keras` archive, or `model.json` of TensorFlow.js.
///
/// ```
/// # use keras_core::{layers::Dense, models::Sequential};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.h5");
/// # let mut model = Sequential::new();
/// # model.add(Dense::new(2).input_shape([3]).name("d"))?;
/// # model.save(&path)?;
/// let found = keras_core::saving::inspect(&path)?;
/// assert_eq!(found.keras_version.as_deref(), Some("2.3.1"));
/// assert_eq!((found.weights[0].path.as_str(), &found.weights[0].shape[..]), ("d/d/kernel:0", &[3, 2][..]));
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the file is missing, damaged, or neither.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection> {
    let path = path.as_ref();
    if let Some(parts) = archive::parts(path)? {
        let mut found = empty(".keras archive");
        found.keras_version = parts.metadata.get("keras_version").and_then(Value::as_str).map(str::to_owned);
        found.training_config = parts.config.get("compile_config").cloned();
        found.model_config = Some(parts.config);
        tree(&parts.weights.root()?, "", 0, &mut found.weights)?;
        return Ok(found);
    }
    if let Some(parts) = tfjs::parts(path)? {
        let mut found = empty("TF.js layers-model");
        (found.keras_version, found.backend) = (parts.keras_version.clone(), parts.backend.clone());
        found.training_config.clone_from(&parts.training_config);
        found.model_config = Some(parts.config.clone());
        for entry in &parts.weights {
            found.weights.push(InspectedWeight::of(entry.name.clone(), &parts.read(entry)?));
        }
        return Ok(found);
    }
    let h5 = H5::open(path)?;
    let root = h5.root()?;
    let mut found = empty(if root.text("model_config").is_some() { "HDF5 model" } else { "HDF5 weights" });
    let group = root.child("model_weights")?;
    let of = |name: &str| root.text(name).or_else(|| group.as_ref()?.text(name)).map(str::to_owned);
    found.keras_version = of("keras_version");
    found.backend = of("backend");
    let json = |name: &str| root.text(name).map(|config| text::from_json(name, config)).transpose();
    found.model_config = json("model_config")?;
    found.training_config = json("training_config")?;
    if let Some(saved) = SavedWeights::read(group.as_ref().unwrap_or(&root), h5.what())? {
        for layer in &saved.layers {
            for (name, stored) in &layer.weights {
                found.weights.push(weight(format!("{}/{name}", layer.name), stored)?);
            }
        }
    } else if archive::is_tree(&root)? {
        tree(&root, "", 0, &mut found.weights)?;
    } else {
        return Err(Error::file(
            format!("inspecting {}", h5.what()),
            "a model or weights",
            "another HDF5 file",
        ));
    }
    if let Some(group) = root.child("optimizer_weights")? {
        for name in group.names("weight_names")?.unwrap_or_default() {
            found.weights.push(weight(format!("optimizer_weights/{name}"), &group.stored(&name)?)?);
        }
    }
    Ok(found)
}

impl Inspection {
    /// Of named arrays: those of a `.npz` file.
    ///
    /// ```
    /// use keras_core::{Array, saving::Inspection};
    /// let found = Inspection::of_arrays(&[("arr_0".into(), Array::from_vec(&[2], vec![1.0_f32, 3.0])?)]);
    /// assert_eq!((found.weights[0].path.as_str(), found.weights[0].mean), ("arr_0", 2.0));
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn of_arrays(arrays: &[(String, Array)]) -> Self {
        let weights = arrays.iter().map(|(name, array)| InspectedWeight::of(name.clone(), array));
        Self { weights: weights.collect(), ..empty(".npz arrays") }
    }

    /// Of the JSON or YAML text of an architecture.
    ///
    /// # Errors
    /// If it is neither.
    pub fn of_text(what: &str, source: &str) -> Result<Self> {
        let json = source.trim_start_matches('\u{FEFF}').trim_start().starts_with('{');
        let value = if json { text::from_json(what, source)? } else { text::from_yaml(what, source)? };
        let word = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut found = empty(if json { "JSON architecture" } else { "YAML architecture" });
        (found.keras_version, found.backend) = (word("keras_version"), word("backend"));
        found.model_config = Some(value);
        Ok(found)
    }
}

fn empty(format: &str) -> Inspection {
    Inspection {
        format: format.to_owned(),
        keras_version: None,
        backend: None,
        model_config: None,
        training_config: None,
        weights: Vec::new(),
    }
}

/// Deeper than any model nests; a group may hold itself.
const DEEPEST: usize = 64;

fn tree(node: &Node, path: &str, depth: usize, found: &mut Vec<InspectedWeight>) -> Result<()> {
    if depth > DEEPEST {
        return Err(Error::file(
            "inspecting a file",
            format!("groups nested {DEEPEST} deep at most"),
            path.to_owned(),
        ));
    }
    let place = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let mut names = node.datasets()?;
    // Numbers in their own order.
    names.sort_by_key(|name| (name.len(), name.clone()));
    for name in names {
        found.push(weight(place(&name), &node.stored(&name)?)?);
    }
    let mut groups = node.groups()?;
    groups.sort();
    for name in groups {
        if let Some(inner) = node.child(&name)? {
            tree(&inner, &place(&name), depth + 1, found)?;
        }
    }
    Ok(())
}

fn weight(path: String, stored: &Stored) -> Result<InspectedWeight> {
    Ok(InspectedWeight::of(path, &stored.read()?))
}

impl InspectedWeight {
    fn of(path: String, array: &Array) -> Self {
        let values: Vec<f64> = array.to_vec();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        // A NaN among the elements is the smallest and the largest, as in numpy.
        let limit = |better: fn(&f64, &f64) -> bool| {
            let pick = |a: f64, b: f64| if a.is_nan() || better(&a, &b) { a } else { b };
            values.iter().copied().reduce(pick).unwrap_or(0.0)
        };
        Self {
            path,
            shape: array.shape().to_vec(),
            dtype: array.dtype().name().to_owned(),
            min: limit(f64::lt),
            max: limit(f64::gt),
            mean,
            std: variance.sqrt(),
        }
    }
}
