//! What real Keras recorded: `tests/fixtures/NAME.json` and `NAME.npz`. The script that wrote a fixture lies in
//! `tests/oracle`.

use keras_core::{Array, DType, array::Element};
use ndarray::IxDyn;
use ndarray_npy::{NpzReader, ReadableElement};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// The cases of a fixture and the arrays that belong to them.
pub(crate) struct Fixture {
    /// The head, with `cases`.
    pub(crate) json: Value,
    arrays: HashMap<String, Array>,
}

impl Fixture {
    /// Reads a fixture; one that was recorded without arrays has none.
    pub(crate) fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let json = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let npz = folder.join(format!("{name}.npz"));
        let arrays = if npz.exists() { read_npz(File::open(npz).unwrap()) } else { HashMap::new() };
        Self { json: serde_json::from_str(&json).unwrap(), arrays }
    }

    /// The cases.
    pub(crate) fn cases(&self) -> &[Value] {
        self.json["cases"].as_array().unwrap()
    }

    /// The array under a key, if it was recorded.
    pub(crate) fn find(&self, key: &str) -> Option<&Array> {
        self.arrays.get(key)
    }

    /// The array under a key.
    pub(crate) fn array(&self, key: &str) -> &Array {
        self.find(key).unwrap_or_else(|| panic!("the fixture has no array {key:?}"))
    }
}

/// Nested lists of JSON as an array.
pub(crate) fn array(value: &Value, dtype: DType) -> Array {
    fn collect(value: &Value, depth: usize, shape: &mut Vec<usize>, flat: &mut Vec<f64>) {
        match value {
            Value::Array(items) => {
                if shape.len() == depth {
                    shape.push(items.len());
                }
                items.iter().for_each(|item| collect(item, depth + 1, shape, flat));
            }
            Value::Bool(value) => flat.push(f64::from(u8::from(*value))),
            value => flat.push(value.as_f64().unwrap()),
        }
    }
    let (mut shape, mut flat) = (Vec::new(), Vec::new());
    collect(value, 0, &mut shape, &mut flat);
    Array::from_vec(&shape, flat).unwrap().cast(dtype)
}

fn read_npz(file: File) -> HashMap<String, Array> {
    let mut reader = NpzReader::new(file).unwrap();
    let names = reader.names().unwrap();
    let mut read = |i: usize| {
        typed::<f32>(&mut reader, i)
            .or_else(|| typed::<i32>(&mut reader, i))
            .or_else(|| typed::<i64>(&mut reader, i))
            .or_else(|| typed::<f64>(&mut reader, i))
            .or_else(|| typed::<bool>(&mut reader, i))
    };
    let key = |name: &String| name.strip_suffix(".npy").unwrap_or(name).to_owned();
    names.iter().enumerate().map(|(i, name)| (key(name), read(i).unwrap())).collect()
}

fn typed<T: Element + ReadableElement>(reader: &mut NpzReader<File>, i: usize) -> Option<Array> {
    let array: ndarray::ArrayD<T> = reader.by_index::<ndarray::OwnedRepr<T>, IxDyn>(i).ok()?;
    Some(Array::from_vec(array.shape(), array.iter().copied().collect()).unwrap())
}

/// A clone stays small: recorded cases are of a few elements each.
#[test]
fn fixtures_are_small() {
    fn bytes(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() }).sum()
    }
    let megabytes = bytes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")) as f64 / 1e6;
    assert!((1.0..30.0).contains(&megabytes), "{megabytes} MB");
}
