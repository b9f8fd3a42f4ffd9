//! Files of real Keras: read, written, read again. `fixtures/files.zip` holds files that the packages wrote,
//! `fixtures/files.json` what they predicted from them (scripts in `oracle/files`).

mod aliases;
mod configs;
mod conversions;
mod damaged;
mod keras_3;
mod large;
mod oracle;
mod read;
mod text;
mod tfjs;
mod written;

use backend_ndarray::NdArray;
use keras_core::Array;
use keras_core::backend::Engine;
use keras_core::models::Model;
use std::path::{Path, PathBuf};

// Of a thread, which is that of a test: they are removed at its end.
thread_local! {
    /// The unpacked files.
    static FILES: tempfile::TempDir = unpacked("files.zip");
    /// What the test writes.
    static WRITTEN: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// An archive among the fixtures.
fn archive(name: &str) -> zip::ZipArchive<std::fs::File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap()
}

/// Its files.
fn unpacked(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    archive(name).extract(folder.path()).unwrap();
    folder
}

/// Their names.
fn entries(name: &str) -> Vec<String> {
    let mut archive = archive(name);
    (0..archive.len()).map(|i| archive.by_index(i).unwrap().name().to_owned()).collect()
}

pub(super) fn path(name: &str) -> PathBuf {
    FILES.with(|folder| folder.path().join(name))
}

/// The path of a file that a test writes.
pub(super) fn file(name: &str) -> PathBuf {
    WRITTEN.with(|folder| folder.path().join(name))
}

fn on_ndarray(model: Model) -> Model {
    model.on(&Engine::new(NdArray::new().unwrap()).unwrap());
    model
}

fn largest_difference(a: &Array, b: &Array) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Some input of a shape: the same for everyone.
fn wave(shape: &[usize]) -> Array {
    let count = shape.iter().product::<usize>();
    Array::from_vec(shape, (0..count).map(|i| (i as f32 * 0.37).sin()).collect()).unwrap()
}
