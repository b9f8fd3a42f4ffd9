//! [`inspect`]: what a file holds, without making a model of it.

use super::h5::{H5, Stored, check_together};
use super::text;
use super::weights::{SavedLayer, SavedWeights};
use super::{archive, tfjs};
use crate::array::{Array, DType, element_count};
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
        found.training_config = archive::compile_config(&parts.config).cloned();
        found.model_config = Some(parts.config);
        found.weights = stored_weights(&tree(&parts.weights)?)?;
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
    if let Some(saved) = SavedWeights::read(group.as_ref().unwrap_or(&root), h5.what(), None)? {
        let named = |layer: SavedLayer| {
            layer.weights.into_iter().map(move |(name, stored)| (format!("{}/{name}", layer.name), stored))
        };
        found.weights = stored_weights(&saved.layers.into_iter().flat_map(named).collect::<Vec<_>>())?;
    } else if archive::is_tree(&root)? {
        found.weights = stored_weights(&tree(&h5)?)?;
    } else {
        return Err(Error::file(
            format!("inspecting {}", h5.what()),
            "a model or weights",
            "another HDF5 file",
        ));
    }
    if let Some(group) = root.child("optimizer_weights")? {
        let names = group.names("weight_names")?.unwrap_or_default();
        let stored = |name: &String| Ok((format!("optimizer_weights/{name}"), group.stored(name)?));
        found.weights.extend(stored_weights(&names.iter().map(stored).collect::<Result<Vec<_>>>()?)?);
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

/// Deeper than any model nests.
const DEEPEST: usize = 64;

/// Every array of a tree of groups. A group may hold itself, and one that many others hold is met again in each.
fn tree(h5: &H5) -> Result<Vec<(String, Stored)>> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), 0, h5.root()?)];
    while let Some((path, depth, node)) = open.pop() {
        let place = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let mut names = node.datasets()?;
        // Numbers in their own order.
        names.sort_by_key(|name| (name.len(), name.clone()));
        let mut groups = node.groups()?;
        groups.sort();
        if depth > DEEPEST {
            let expected = format!("groups nested {DEEPEST} deep at most");
            return Err(Error::file(format!("inspecting {}", h5.what()), expected, path));
        }
        for name in names {
            found.push((place(&name), node.stored(&name)?));
        }
        for name in groups.iter().rev() {
            if let Some(inner) = node.child(name)? {
                open.push((place(name), depth + 1, inner));
            }
        }
    }
    Ok(found)
}

fn stored_weights(arrays: &[(String, Stored)]) -> Result<Vec<InspectedWeight>> {
    check_together(arrays.iter().map(|(_, stored)| stored))?;
    arrays.iter().map(|(path, stored)| InspectedWeight::of_stored(path.clone(), stored)).collect()
}

/// The elements that are looked at together.
const PIECE: usize = 1 << 20;

/// Count, mean, sum of squared deviations and limits of numbers that come piece by piece (Chan et al., 1979).
struct Statistics {
    count: f64,
    mean: f64,
    squares: f64,
    limits: Option<(f64, f64)>,
}

impl Statistics {
    fn new() -> Self {
        Self { count: 0.0, mean: 0.0, squares: 0.0, limits: None }
    }

    fn add(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let (all, apart) = (self.count + count, mean - self.mean);
        self.squares += squares + apart * apart * self.count * count / all;
        self.mean += apart * count / all;
        self.count = all;
        // A NaN among the elements is the smallest and the largest, as in numpy.
        let least = |a: f64, b: f64| if a.is_nan() || a < b { a } else { b };
        let most = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
        let own = values.iter().fold(None, |limits: Option<(f64, f64)>, &value| {
            Some(limits.map_or((value, value), |(low, high)| (least(low, value), most(high, value))))
        });
        self.limits = match (self.limits, own) {
            (Some((low, high)), Some((a, b))) => Some((least(low, a), most(high, b))),
            (limits, own) => limits.or(own),
        };
    }
}

impl InspectedWeight {
    fn of(path: String, array: &Array) -> Self {
        let mut statistics = Statistics::new();
        statistics.add(&array.to_vec::<f64>());
        Self::new(path, array.shape(), array.dtype(), &statistics)
    }

    /// Of an array that stays in its file but for a piece.
    fn of_stored(path: String, stored: &Stored) -> Result<Self> {
        let mut statistics = Statistics::new();
        match stored.shape() {
            [] => statistics.add(&stored.read()?.to_vec::<f64>()),
            [rows, rest @ ..] => {
                let row = element_count(rest).max(1);
                let step = (PIECE / row).max(1).next_multiple_of(stored.piece().max(1));
                for start in (0..*rows).step_by(step) {
                    let stop = start.saturating_add(step).min(*rows);
                    statistics.add(&stored.rows(start, stop)?.to_vec::<f64>());
                }
            }
        }
        Ok(Self::new(path, stored.shape(), stored.dtype()?, &statistics))
    }

    fn new(path: String, shape: &[usize], dtype: DType, statistics: &Statistics) -> Self {
        let (min, max) = statistics.limits.unwrap_or_default();
        Self {
            path,
            shape: shape.to_vec(),
            dtype: dtype.name().to_owned(),
            min,
            max,
            mean: statistics.mean,
            std: (statistics.squares / statistics.count.max(1.0)).sqrt(),
        }
    }
}
