//! Every command with no arguments, a directory, an empty file, a truncated file, a file without read permission:
//! exit 1 or 2, one line, never a panic or a half-written output.

use super::Place;
use super::files::floats;

/// The commands that read files, each with the places in its line where a file stands.
const COMMANDS: [(&[&str], &[usize]); 9] = [
    (&["summary", "model.json", "--weights", "weights.npz"], &[1, 3]),
    (&["summary", "model.h5"], &[1]),
    (&["inspect", "model.h5"], &[1]),
    (&["inspect", "model.json"], &[1]),
    (&["convert", "model.json", "--weights", "weights.npz", "out.keras"], &[1, 3]),
    (&["plot", "model.json", "out.svg"], &[1]),
    (
        &["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output", "out.npy"],
        &[1, 3, 5],
    ),
    (
        &[
            "evaluate",
            "model.json",
            "--weights",
            "weights.npz",
            "--x",
            "x.npy",
            "--y",
            "y.npz",
            "--sample-weight",
            "w.npy",
            "--loss",
            "mse",
        ],
        &[1, 3, 5, 7, 9],
    ),
    (
        &[
            "fit",
            "model.json",
            "--weights",
            "weights.npz",
            "--x",
            "x.npy",
            "--y",
            "y.npz",
            "--sample-weight",
            "w.npy",
            "--val-x",
            "x.npy",
            "--val-y",
            "y.npz",
            "--loss",
            "mse",
            "--save",
            "out.npz",
            "--history",
            "out.json",
            "--quiet",
        ],
        &[1, 3, 5, 7, 9, 11, 13],
    ),
];

/// Those of the program that was built: to compare takes two backends.
fn commands() -> Vec<(&'static [&'static str], &'static [usize])> {
    const COMPARE: (&[&str], &[usize]) =
        (&["compare", "model.h5", "--input", "x.npy", "--backends", "ndarray,candle", "--quiet"], &[1, 3]);
    COMMANDS.into_iter().chain(cfg!(feature = "candle").then_some(COMPARE)).collect()
}

fn place() -> Place {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[4, 3], &[0.5; 12]));
    place.put_npz::<f32>("y.npz", &[("line", &[4, 2], &[1.0; 8])]);
    place.put("w.npy", floats(&[4], &[1.0; 4]));
    let model = keras_core::saving::model_from_json(&String::from_utf8(place.get("model.json")).unwrap());
    model.unwrap().save(place.path("model.h5")).unwrap();
    place
}

/// Every command with each of its files replaced in turn.
fn replaced(spoil: impl Fn(&Place, &str) -> String) {
    for (arguments, files) in commands() {
        for &at in files {
            let place = place();
            let wrong = spoil(&place, arguments[at]);
            let mut arguments = arguments.to_vec();
            arguments[at] = &wrong;
            let before = place.names();
            place.fails(1, &arguments, &[&wrong]);
            assert_eq!(place.names(), before, "{arguments:?} leaves files behind");
        }
    }
}

#[test]
fn the_lines_are_right_with_right_files() {
    for (arguments, _) in commands() {
        place().result(arguments);
    }
}

#[test]
fn no_arguments() {
    let place = place();
    for (arguments, _) in commands() {
        place.fails(2, &arguments[..1], &[arguments[0]]);
    }
    assert!(
        !place.result(&["config"]).is_empty() && !place.result(&["backends"]).is_empty(),
        "these two need none"
    );
}

#[test]
fn a_directory() {
    replaced(|place, _| {
        std::fs::create_dir(place.path("directory")).unwrap();
        "directory".to_owned()
    });
}

#[test]
fn a_file_that_is_not_there() {
    replaced(|_, _| "missing".to_owned());
}

#[test]
fn an_empty_file() {
    replaced(|place, _| {
        place.put("empty", "");
        "empty".to_owned()
    });
}

#[test]
fn a_truncated_file() {
    for part in [0.02, 0.1, 0.5, 0.9, 0.99] {
        replaced(|place, file| {
            let whole = place.get(file);
            let len = (whole.len() as f64 * part) as usize;
            place.put("truncated", &whole[..len.clamp(1, whole.len() - 1)]);
            "truncated".to_owned()
        });
    }
}

/// Nothing is locked to the superuser: then the program runs without that power.
#[cfg(unix)]
#[test]
fn a_file_without_read_permission() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    const POWERS: &str = "-dac_override,-dac_read_search";
    for (arguments, files) in commands() {
        for &at in files {
            let place = place();
            set_permissions(place.path(arguments[at]), Permissions::from_mode(0o000)).unwrap();
            let before = place.names();
            let mut command = if std::fs::File::open(place.path(arguments[at])).is_ok() {
                let without = ["--bounding-set", POWERS, "--inh-caps", POWERS, "--"];
                let mut command = place.command_of(Path::new("setpriv"), &without);
                command.arg(super::program()).args(arguments);
                command
            } else {
                place.command(arguments)
            };
            let ran = super::ran(&mut command);
            Place::assert_fails(1, arguments, &["permission denied", arguments[at]], &ran);
            assert_eq!(place.names(), before, "{arguments:?} leaves files behind");
        }
    }
}

#[test]
fn noise() {
    let mut state = 1_u64;
    let mut noise = move |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    for start in [
        &b"\x93NUMPY\x01\x00"[..],
        b"\x93NUMPY\x03\x00\xff\xff\xff\xff",
        b"PK\x03\x04",
        b"{",
        b"\x89HDF\r\n\x1a\n",
        b"",
    ] {
        let bytes = [start, &noise(200)].concat();
        replaced(|place, _| {
            place.put("noise", &bytes);
            "noise".to_owned()
        });
    }
}
