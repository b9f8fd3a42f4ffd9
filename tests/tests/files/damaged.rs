//! Damaged files are errors: no panic, no hang, no memory without bounds.

use super::file;
use super::{path, unpacked};
use crate::hostile::{WORK, in_a_child, in_a_second};
use keras_core::layers::Dense;
use keras_core::models::Sequential;
use keras_core::saving::{Load, LoadWeights, inspect, load_model, load_model_with};

/// Loads bytes as a model and as weights; either may fail, in time.
fn load(name: &str, bytes: &[u8]) -> bool {
    let target = file(name);
    std::fs::write(&target, bytes).unwrap();
    in_a_second(name, || {
        let whole = load_model_with(&target, &Load::new());
        if let Ok(model) = &whole {
            let _ = model.load_weights(&target, LoadWeights::new().by_name(true));
        }
        whole.is_ok()
    })
}

#[test]
fn truncated_files_are_errors() {
    if std::env::var(WORK).is_err() {
        return in_a_child("files::damaged::truncated_files_are_errors", "all");
    }
    let bytes = std::fs::read(path("k231/seq_2.3.1.h5")).unwrap();
    for length in (0..bytes.len()).step_by(211) {
        assert!(!load("truncated.h5", &bytes[..length]), "{length}");
    }
}

#[test]
fn flipped_bits_never_break_the_process() {
    if std::env::var(WORK).is_err() {
        return in_a_child("files::damaged::flipped_bits_never_break_the_process", "all");
    }
    let original = std::fs::read(path("k231/c1.h5")).unwrap();
    keras_core::output::Output::Silent.during(|| {
        for at in (0..original.len()).step_by(7) {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            load("flipped.h5", &bytes);
            if at % 2 == 0 {
                bytes[at] = 0xFF;
                load("flipped.h5", &bytes);
            }
        }
    });
}

#[test]
fn what_is_no_model_says_so() {
    for (bytes, expected) in [(&b""[..], "HDF5"), (b"PK\x03\x04", ".keras"), (b"{}", "HDF5")] {
        let target = file("wrong.h5");
        std::fs::write(&target, bytes).unwrap();
        let error = load_model(&target).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("wrong.h5"), "{error}");
    }
    assert!(load_model("missing.h5").unwrap_err().to_string().contains("missing.h5"));
}

#[test]
fn damaged_archives_are_errors() {
    if std::env::var(WORK).is_err() {
        return in_a_child("files::damaged::damaged_archives_are_errors", "all");
    }
    let target = file("whole.keras");
    super::written::small().save(&target).unwrap();
    let original = std::fs::read(&target).unwrap();
    for length in (0..original.len()).step_by(97) {
        assert!(!load("truncated.keras", &original[..length]), "{length}");
    }
    for at in (0..original.len()).step_by(11) {
        let mut bytes = original.clone();
        bytes[at] ^= 1 << (at % 8);
        load("flipped.keras", &bytes);
    }
}

#[test]
fn a_model_larger_than_its_weights_takes_no_memory() {
    let mut model = Sequential::new();
    model.add(Dense::new(1000).input_shape([3]).name("wide")).unwrap();
    let target = file("wide.h5");
    model.save(&target).unwrap();
    let bytes = std::fs::read(&target).unwrap();
    let text = b"\"units\": 1000";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let mut larger = bytes.clone();
    larger[at + text.len() - 4..at + text.len()].copy_from_slice(b"9999");
    std::fs::write(&target, larger).unwrap();
    let error = load_model(&target).unwrap_err().to_string();
    assert!(error.contains("wide") && error.contains("no larger than the weights in the file"), "{error}");
    // Shapes that fit the file but not the model.
    let mut other = bytes;
    other[at + text.len() - 4..at + text.len()].copy_from_slice(b"1001");
    std::fs::write(&target, other).unwrap();
    let error = load_model(&target).unwrap_err().to_string();
    assert!(error.contains("[3, 1001]") && error.contains("[3, 1000]"), "{error}");
}

/// What `oracle/hostile_2_15.py` wrote: each is an error that says why, soon and in little memory.
#[test]
fn hostile_files_are_errors() {
    if std::env::var(WORK).is_err() {
        return in_a_child("files::damaged::hostile_files_are_errors", "all");
    }
    let folder = unpacked("hostile.zip");
    for (name, loading, inspecting) in [
        ("repeated.h5", "a file of 448024 bytes can hold", "a file of 448024 bytes can hold"),
        ("optimizer.h5", "a file of 814528 bytes can hold", "a file of 814528 bytes can hold"),
        ("groups.h5", "read again and again", "read again and again"),
        ("packed.h5", "h5repack", "h5repack"),
        ("huge.h5", "a file of 8032 bytes can hold", "a file of 8032 bytes can hold"),
        ("chunked.h5", "a file of 8032 bytes can hold", "a file of 8032 bytes can hold"),
        ("slot.h5", "a file of 10136 bytes can hold", "a file of 10136 bytes can hold"),
        ("diamonds.h5", "a whole model", "again and again"),
        ("cyclic.h5", "a whole model", "nested 64 deep"),
        ("bomb.keras", "without compression", "without compression"),
    ] {
        let target = folder.path().join(name);
        let error = in_a_second(name, || load_model(&target).map(|_| ())).unwrap_err().to_string();
        assert!(error.contains(loading) && error.contains(name), "{error}");
        let error = in_a_second(name, || inspect(&target).map(|_| ())).unwrap_err().to_string();
        assert!(error.contains(inspecting) && error.contains(name), "{error}");
    }
}
