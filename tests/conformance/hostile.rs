//! What reads files of others, one function per format, for fuzzing (`fuzz/`, `cargo xtask fuzz`) and for the inputs that
//! fuzzing found once (`tests/fixtures/fuzz`). Each takes any bytes: it returns, soon and with little memory.

use keras_core::layers::{Dense, Flatten};
use keras_core::models::{Model, Sequential, model_from_json};
use keras_core::npy::{read_npy, read_npz, write_npy, write_npz};
use keras_core::output::Output;
use keras_core::saving::{File, LoadWeights, inspect, load_model, model_from_yaml};
use keras_core::training::{Column, Compile};
use keras_core::{Array, Result, k};
use std::io::{Read, Write};
use std::path::Path;

/// A format: its name, and what reads it.
pub type Reader = (&'static str, fn(&[u8]));

/// All formats.
pub const READERS: [Reader; 5] = [("h5", h5), ("json", json), ("keras", keras), ("npy", npy), ("yaml", yaml)];

/// The memory that reading one input may take, in bytes. No input of a fuzzer is longer than a megabyte.
pub const MEMORY: usize = 512 << 20;

/// Calls `read` with a file of these bytes. Warnings of readers go nowhere.
fn with_file(bytes: &[u8], read: impl FnOnce(&Path)) {
    let file = tempfile::NamedTempFile::new().and_then(|mut file| file.write_all(bytes).map(|()| file));
    match file {
        Ok(file) => quietly(|| read(file.path())),
        Err(error) => eprintln!("no file for an input: {error}"),
    }
}

fn quietly(run: impl FnOnce()) {
    Output::Writer(std::sync::Arc::new(std::sync::Mutex::new(std::io::sink()))).during(run);
}

/// A model that was made of a file is one: it describes itself.
fn look(model: Result<Model>) {
    if let Ok(model) = model {
        let _ = (model.to_json(), model.to_yaml(), model.get_weights());
    }
}

/// An HDF5 file: a whole model, weights, data.
pub fn h5(bytes: &[u8]) {
    with_file(bytes, |path| {
        look(load_model(path));
        let _ = inspect(path);
        let mut model = Sequential::new();
        let added = model
            .add(Dense::new(4).input_shape([6]).name("dense_1"))
            .and_then(|()| model.add(Flatten::new()))
            .and_then(|()| model.add(Dense::new(3).name("dense_2")));
        if added.is_ok() {
            let _ = model.load_weights(path, LoadWeights::new());
            let _ = model.load_weights(path, LoadWeights::new().by_name(true).skip_mismatch(true));
        }
        if let Ok(file) = File::open(path) {
            for name in ["plain", "labels", "group/chunked", "types/float16", "types/bool"] {
                if let Ok(data) = file.dataset(name) {
                    let column = Column::from(data);
                    let _ = (column.rows(0, 2), column.rows(17, 19));
                }
            }
        }
    });
}

/// A `.keras` archive, or the parts of one: config, metadata and weights with [`PART`] between them.
pub fn keras(bytes: &[u8]) {
    let archive = if bytes.starts_with(b"PK") { None } else { packed(bytes) };
    with_file(archive.as_deref().unwrap_or(bytes), |path| {
        look(load_model(path));
        let _ = inspect(path);
    });
}

/// What stands between the parts of an archive, so that a fuzzer can change them without a checksum in its way.
pub const PART: &[u8] = b"\n==== part ====\n";

fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in ["config.json", "metadata.json", "model.weights.h5"] {
        let end = rest.windows(PART.len()).position(|window| window == PART).unwrap_or(rest.len());
        zip.start_file(name, options).ok()?;
        zip.write_all(rest.get(..end)?).ok()?;
        rest = rest.get(end + PART.len()..).unwrap_or_default();
    }
    Some(zip.finish().ok()?.into_inner())
}

/// Whether a text has no numbers that make a model large but possible: that takes memory and time by right.
fn is_modest(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).all(|digits| !(3..=10).contains(&digits.len()))
}

/// The JSON of a model.
pub fn json(bytes: &[u8]) {
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| is_modest(text)) {
        quietly(|| look(model_from_json(text)));
    }
}

/// The YAML of a model.
pub fn yaml(bytes: &[u8]) {
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| is_modest(text)) {
        quietly(|| look(model_from_yaml(text)));
    }
}

/// Arrays of numpy: a `.npy` or a `.npz`.
pub fn npy(bytes: &[u8]) {
    with_file(bytes, |path| {
        let _ = (read_npy(path), read_npz(path));
    });
}

/// Forgets the names of the layers made so far: an input must not depend on those before it.
pub fn start_anew() {
    k::clear_session();
}

/// Writes inputs of a format for a fuzzer to start from into a folder: the fixtures that real Keras wrote, and what is
/// written here.
///
/// # Errors
/// If a fixture cannot be read or a file not be written.
pub fn seeds(format: &str, folder: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    let put = |of: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        if of == format { std::fs::write(folder.join(name.replace('/', "_")), bytes) } else { Ok(()) }
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut zip = zip::ZipArchive::new(std::fs::File::open(fixtures.join("files.zip"))?)?;
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i)?;
        // Longer ones only slow a fuzzer down.
        if entry.size() > 50_000 {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let name = entry.name().to_owned();
        let format = name.rsplit_once('.').map(|(_, format)| format).unwrap_or_default();
        put(format, &name, &bytes)?;
    }
    put("h5", "matrix", &std::fs::read(fixtures.join("matrix.h5"))?)?;

    let scratch = tempfile::tempdir()?;
    let path = |name: &str| scratch.path().join(name);
    let mut model = Sequential::new();
    model.add(Dense::new(3).activation("relu").input_shape([2]))?;
    model.add(Dense::new(1))?;
    model.compile(Compile::new("adam", "mse"))?;
    model.save(path("model.keras"))?;
    model.save_weights(path("model.weights.h5"))?;
    let archive = std::fs::read(path("model.keras"))?;
    put("keras", "archive", &archive)?;
    put("h5", "tree", &std::fs::read(path("model.weights.h5"))?)?;
    let mut parts = Vec::new();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive))?;
    for name in ["config.json", "metadata.json", "model.weights.h5"] {
        if !parts.is_empty() {
            parts.extend(PART);
        }
        zip.by_name(name)?.read_to_end(&mut parts)?;
    }
    put("keras", "parts", &parts)?;

    let arrays = [("a", Array::from([[1.0_f32, 2.0]])), ("b", Array::from([true, false]))];
    write_npy(path("x.npy"), &arrays[0].1)?;
    put("npy", "array", &std::fs::read(path("x.npy"))?)?;
    for (name, compressed) in [("stored", false), ("deflated", true)] {
        write_npz(path("x.npz"), arrays.iter().map(|(name, array)| (*name, array)), compressed)?;
        put("npy", name, &std::fs::read(path("x.npz"))?)?;
    }
    Ok(())
}
