//! Files that the tests hand to the program and read back: models, arrays, archives, and what Keras 2.3.1 recorded.

use super::Place;
use ndarray::{ArrayD, IxDyn};
use serde_json::{Value, json};
use std::fs::File;
use std::path::PathBuf;

/// A dense layer's config.
pub(super) fn dense(name: &str, inputs: usize, units: usize) -> Value {
    json!({"class_name": "Dense", "config": {"name": name, "batch_input_shape": [null, inputs], "units": units, "activation": "linear"}})
}

/// The JSON of a stack of layers.
pub(super) fn sequential(layers: &[Value]) -> String {
    json!({"class_name": "Sequential", "config": {"name": "stack", "layers": layers}, "keras_version": "2.3.1", "backend": "tensorflow"})
        .to_string()
}

/// Inputs `a` and `b` of 2 features, a dense layer of 1 unit called on both, and so two outputs of one name.
pub(super) fn twins() -> String {
    let input = |name: &str| {
        json!({"name": name, "class_name": "InputLayer", "inbound_nodes": [],
        "config": {"name": name, "batch_input_shape": [null, 2], "dtype": "float32", "sparse": false}})
    };
    json!({"class_name": "Model", "config": {"name": "twins", "layers": [input("a"), input("b"), {
        "name": "shared", "class_name": "Dense", "config": {"name": "shared", "units": 1, "activation": "linear"},
        "inbound_nodes": [[["a", 0, 0, {}]], [["b", 0, 0, {}]]],
    }], "input_layers": [["a", 0, 0], ["b", 0, 0]], "output_layers": [["shared", 0, 0], ["shared", 1, 0]]}})
    .to_string()
}

/// The bytes of a .npy file, format 1.0.
pub(super) fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let lens: Vec<String> = shape.iter().map(|len| format!("{len},")).collect();
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({}), }}", lens.join(" "));
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// A .npy file of float32.
pub(super) fn floats(shape: &[usize], values: &[f32]) -> Vec<u8> {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    npy("<f4", false, shape, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

/// Descr, shape and data of a .npy file; it must be in C order.
pub(super) fn parts(bytes: &[u8]) -> (String, Vec<usize>, Vec<u8>) {
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    assert_eq!(bytes[6], 1, "format 1");
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + len]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let between = |start: &str, end: &str| {
        let rest = header.split_once(start).unwrap().1;
        rest.split_once(end).unwrap().0.to_owned()
    };
    let lens = between("'shape': (", ")");
    let shape = lens
        .split(',')
        .map(str::trim)
        .filter(|len| !len.is_empty())
        .map(|len| len.parse().unwrap())
        .collect();
    (between("'descr': '", "'"), shape, bytes[10 + len..].to_vec())
}

/// The values of a .npy file of little-endian float32.
pub(super) fn read_floats(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    let (descr, shape, data) = parts(bytes);
    assert_eq!(descr, "<f4");
    (shape, data.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect())
}

/// Names and arrays.
pub(super) type Entries<'a, T> = &'a [(&'a str, &'a [usize], &'a [T])];

impl Place {
    /// Writes a .npz file by a library of its own.
    pub(super) fn put_npz<T: ndarray_npy::WritableElement + Clone>(
        &self,
        name: &str,
        entries: Entries<'_, T>,
    ) {
        let mut writer = ndarray_npy::NpzWriter::new(File::create(self.path(name)).unwrap());
        for (key, shape, values) in entries {
            let array = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap();
            writer.add_array(*key, &array).unwrap();
        }
        writer.finish().unwrap();
    }

    /// The names in a .npz file, in order, without `.npy`.
    pub(super) fn npz_names(&self, name: &str) -> Vec<String> {
        let mut reader = ndarray_npy::NpzReader::new(File::open(self.path(name)).unwrap()).unwrap();
        reader.names().unwrap().into_iter().map(|name| name.trim_end_matches(".npy").to_owned()).collect()
    }

    /// An array of a .npz file, as float32 or float64.
    pub(super) fn npz<T: ndarray_npy::ReadableElement>(&self, name: &str, key: &str) -> ArrayD<T> {
        let mut reader = ndarray_npy::NpzReader::new(File::open(self.path(name)).unwrap()).unwrap();
        let plain = reader.by_name::<ndarray::OwnedRepr<T>, IxDyn>(key);
        plain.or_else(|_| reader.by_name::<ndarray::OwnedRepr<T>, IxDyn>(&format!("{key}.npy"))).unwrap()
    }

    /// `model.json`: y = x · [[1, 10], [2, 20], [3, 30]] + [0.5, −0.5], and its weights `weights.npz`.
    pub(super) fn put_line(&self) {
        self.put("model.json", sequential(&[dense("line", 3, 2)]));
        self.put_npz::<f32>(
            "weights.npz",
            &[("arr_0", &[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]), ("arr_1", &[2], &[0.5, -0.5])],
        );
    }
}

/// A case that Keras 2.3.1 recorded, laid out as files.
pub(super) struct Recorded {
    pub(super) place: Place,
    pub(super) case: Value,
    name: String,
    double: bool,
}

impl Recorded {
    /// `model.json`, `weights.npz` and the data files of a case.
    pub(super) fn new(name: &str) -> Self {
        let text = std::fs::read_to_string(fixture("training_2_3_1.json")).unwrap();
        let head: Value = serde_json::from_str(&text).unwrap();
        let case =
            head["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone();
        let place = Place::new();
        let double = case["floatx"] == "float64";
        let model = case["model"].as_str().unwrap();
        let json = head["models"][model]["json"].as_str().unwrap();
        place.put("model.json", if double { json.replace("float32", "float64") } else { json.to_owned() });
        let count = head["models"][model]["weights"].as_u64().unwrap();
        let mut writer = ndarray_npy::NpzWriter::new(File::create(place.path("weights.npz")).unwrap());
        for i in 0..count {
            writer.add_array(format!("arr_{i}"), &recorded::<f32>(&format!("{model}/weight_{i}"))).unwrap();
        }
        writer.finish().unwrap();
        Self { place, case, name: name.to_owned(), double }
    }

    /// Writes the data array of that name; the file.
    pub(super) fn data(&self, key: &Value) -> String {
        let key = key.as_str().unwrap();
        let file = format!("{key}.npy");
        if ["labels", "labels_column", "image_labels", "sequence"].contains(&key) {
            ndarray_npy::write_npy(self.place.path(&file), &recorded::<i32>(&format!("data/{key}"))).unwrap();
        } else {
            let array = recorded::<f32>(&format!("data/{key}"));
            if self.double {
                ndarray_npy::write_npy(self.place.path(&file), &array.mapv(f64::from)).unwrap();
            } else {
                ndarray_npy::write_npy(self.place.path(&file), &array).unwrap();
            }
        }
        file
    }

    /// An option with a file for each of the data arrays.
    pub(super) fn option(&self, option: &str, keys: &Value) -> Vec<String> {
        let keys = keys.as_array().unwrap();
        keys.iter().flat_map(|key| [option.to_owned(), self.data(key)]).collect()
    }

    /// MODEL with weights, element type, and what the case was compiled with.
    pub(super) fn compiled(&self, command: &str) -> Vec<String> {
        let compile = &self.case["compile"];
        let mut arguments: Vec<String> =
            [command, "model.json", "--weights", "weights.npz", "--quiet"].map(str::to_owned).to_vec();
        arguments.extend(["--floatx".into(), self.case["floatx"].as_str().unwrap().into()]);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        arguments.extend(["--loss".into(), text(&compile["loss"])]);
        if compile["metrics"].as_array().is_none_or(|metrics| !metrics.is_empty()) {
            arguments.extend(["--metrics".into(), compile["metrics"].to_string()]);
        }
        if !compile["loss_weights"].is_null() {
            arguments.extend(["--loss-weights".into(), compile["loss_weights"].to_string()]);
        }
        arguments
    }

    /// A number that Keras gave, and ours, within the arithmetic of the case.
    pub(super) fn assert_close(&self, what: &str, theirs: f64, ours: f64) {
        let tolerance = if self.double { 1e-6 } else { 1e-4 };
        let close = (theirs - ours).abs() <= tolerance * theirs.abs().max(1e-2);
        assert!(close, "{}: {what}: {theirs} in Keras, {ours} here", self.name);
    }

    /// Numbers that Keras recorded as float64.
    pub(super) fn values(&self, what: &str) -> Vec<f64> {
        recorded::<f64>(&format!("{}/{what}", self.name)).iter().copied().collect()
    }

    /// Numbers that Keras recorded in the element type of the case: predictions, final weights.
    pub(super) fn computed(&self, what: &str) -> Vec<f64> {
        if self.double {
            return self.values(what);
        }
        recorded::<f32>(&format!("{}/{what}", self.name)).iter().map(|&value| value.into()).collect()
    }

    /// Numbers of ours in the element type of the case.
    pub(super) fn ours(&self, file: &str, key: &str) -> Vec<f64> {
        if self.double {
            return self.place.npz::<f64>(file, key).iter().copied().collect();
        }
        self.place.npz::<f32>(file, key).iter().map(|&value| value.into()).collect()
    }
}

pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(name)
}

fn recorded<T: ndarray_npy::ReadableElement>(key: &str) -> ArrayD<T> {
    let mut reader = ndarray_npy::NpzReader::new(File::open(fixture("training_2_3_1.npz")).unwrap()).unwrap();
    reader
        .by_name::<ndarray::OwnedRepr<T>, IxDyn>(&format!("{key}.npy"))
        .unwrap_or_else(|error| panic!("{key}: {error}"))
}

/// What Keras 2.3.1 printed for models: name, JSON, summary.
pub(super) fn summaries() -> Vec<(String, String, String)> {
    let head: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("summaries_2_3_1.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let cases = head["cases"].as_array().unwrap();
    cases.iter().map(|case| (text(&case["name"]), text(&case["json"]), text(&case["summary"]))).collect()
}
