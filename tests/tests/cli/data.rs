//! "Data options": names, archives, element types, shapes.

use super::Place;
use super::files::{dense, floats, npy, read_floats, sequential, twins};
use serde_json::json;
use std::path::Path;

/// Two inputs `a` and `b`; output 0 is 2·a₀ + 3·a₁ + 1, output 1 the same of b.
fn two() -> Place {
    let place = Place::new();
    place.put("model.json", twins());
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[2, 1], &[2.0, 3.0]), ("arr_1", &[1], &[1.0])]);
    place.put("a.npy", floats(&[1, 2], &[1.0, 0.0]));
    place.put("b.npy", floats(&[1, 2], &[0.0, 1.0]));
    place
}

fn predict<'a>(inputs: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["predict", "model.json", "--weights", "weights.npz", "--output", "y.npz"];
    for input in inputs {
        arguments.extend(["--input", input]);
    }
    arguments
}

fn outputs(place: &Place) -> [f32; 2] {
    ["shared", "shared_1"].map(|name| place.npz::<f32>("y.npz", name)[[0, 0]])
}

#[test]
fn files_are_named_or_stand_in_the_models_order() {
    let place = two();
    place.put("x=y.npy", place.get("b.npy"));
    for (inputs, expected) in [
        (&["a.npy", "b.npy"][..], [3.0, 4.0]),
        (&["b.npy", "a.npy"], [4.0, 3.0]),
        (&["b=a.npy", "a=b.npy"], [4.0, 3.0]),
        // Only the first `=` ends a name.
        (&["a=a.npy", "b=x=y.npy"], [3.0, 4.0]),
    ] {
        place.result(&predict(inputs));
        assert_eq!(outputs(&place), expected, "{inputs:?}");
    }
}

#[test]
fn missing_extra_and_repeated_names_are_errors_that_list_the_names() {
    let place = two();
    place.fails(1, &predict(&["a=a.npy"]), &["a, b", "none for b"]);
    place.fails(1, &predict(&["a=a.npy", "b=b.npy", "c=a.npy"]), &["a, b", "received c"]);
    place.fails(2, &predict(&["a=a.npy", "a=b.npy"]), &["a, b", "a twice"]);
    place.fails(2, &predict(&["a=a.npy", "b.npy"]), &["NAME=FILE", "1 with and 1 without"]);
    place.fails(1, &predict(&["a.npy"]), &["2 files, for a, b", "received 1"]);
    place.fails(1, &predict(&["a.npy", "b.npy", "a.npy"]), &["2 files, for a, b", "received 3"]);
}

#[test]
fn an_archive_stands_for_all() {
    let place = two();
    let (a, b): (&[f32], &[f32]) = (&[1.0, 0.0], &[0.0, 1.0]);
    for entries in [
        [("a", a), ("b", b)],
        [("b", b), ("a", a)],
        [("arr_0", a), ("arr_1", b)],
        [("arr_1", b), ("arr_0", a)],
    ] {
        place.put_npz::<f32>("x.npz", &entries.map(|(name, values)| (name, &[1, 2][..], values)));
        place.result(&predict(&["x.npz"]));
        assert_eq!(outputs(&place), [3.0, 4.0], "{entries:?}");
    }
    place.put_npz::<f32>("x.npz", &[("a", &[1, 2], a), ("c", &[1, 2], b)]);
    place.fails(1, &predict(&["x.npz"]), &["x.npz", "a, b", "received c"]);
    place.put_npz::<f32>("x.npz", &[("a", &[1, 2], a)]);
    place.fails(1, &predict(&["x.npz"]), &["x.npz", "a, b", "none for b"]);
    place.put_npz::<f32>("x.npz", &[("arr_0", &[1, 2], a)]);
    place.fails(1, &predict(&["x.npz"]), &["2 arrays, for a, b", "received 1"]);
    place.fails(1, &predict(&["x.npz", "b.npy"]), &["x.npz", "alone"]);
    place.fails(1, &predict(&["a=x.npz", "b=b.npy"]), &["x.npz", "without a name"]);
}

#[test]
fn other_files_are_errors_that_say_what_is_accepted() {
    let place = two();
    place.put("data.h5", b"\x89HDF\r\n\x1a\n and more");
    place.fails(1, &predict(&["data.h5", "b.npy"]), &["data.h5", ".npy or .npz", "an HDF5 file"]);
    place.fails(1, &predict(&["data.h5:x", "b.npy"]), &["data.h5", "a readable HDF5 file"]);
    place.fails(1, &predict(&["none.h5:x", "b.npy"]), &["none.h5:x", "no such file"]);
    place.fails(
        1,
        &predict(&["a.npy:x", "b.npy"]),
        &["a.npy:x", "HDF5 file before the colon", "a .npy array"],
    );
    place.put("data.csv", "1,2\n");
    place.fails(1, &predict(&["data.csv", "b.npy"]), &["data.csv", ".npy or .npz"]);
}

/// The bytes of 1, 2 and 3 in an element type, little-endian.
fn one_two_three(kind: &str) -> Vec<u8> {
    let ints =
        |size: usize| (1..=3_u64).flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect::<Vec<_>>();
    match kind {
        "b1" => vec![1, 1, 1],
        "i1" | "u1" => ints(1),
        "i2" | "u2" => ints(2),
        "i4" | "u4" => ints(4),
        "i8" | "u8" => ints(8),
        "f2" => vec![0x00, 0x3C, 0x00, 0x40, 0x00, 0x42],
        "f4" => [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
        _ => [1.0_f64, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

#[test]
fn every_number_is_accepted_in_either_byte_order() {
    let place = Place::new();
    place.put_line();
    for kind in ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"] {
        let little = one_two_three(kind);
        let size = little.len() / 3;
        let big: Vec<u8> = little.chunks(size).flat_map(|chunk| chunk.iter().rev().copied()).collect();
        let signs = if size == 1 { vec![('|', little)] } else { vec![('<', little), ('>', big)] };
        for (sign, data) in signs {
            let descr = format!("{sign}{kind}");
            place.put("x.npy", npy(&descr, false, &[1, 3], &data));
            place.result(&[
                "predict",
                "model.json",
                "--weights",
                "weights.npz",
                "--input",
                "x.npy",
                "--output",
                "y.npy",
            ]);
            let expected = if kind == "b1" { vec![6.5, 59.5] } else { vec![14.5, 139.5] };
            assert_eq!(read_floats(&place.get("y.npy")).1, expected, "{descr}");
        }
    }
}

#[test]
fn both_orders_of_elements_are_accepted() {
    let place = Place::new();
    place.put_line();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    place.put("c.npy", npy("<f4", false, &[2, 3], &bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
    place.put("f.npy", npy("<f4", true, &[2, 3], &bytes(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0])));
    for file in ["c.npy", "f.npy"] {
        place.result(&[
            "predict",
            "model.json",
            "--weights",
            "weights.npz",
            "--input",
            file,
            "--output",
            "y.npy",
        ]);
        assert_eq!(read_floats(&place.get("y.npy")), (vec![2, 2], vec![14.5, 139.5, 32.5, 319.5]), "{file}");
    }
}

#[test]
fn objects_strings_and_complex_numbers_are_errors() {
    let place = Place::new();
    place.put_line();
    for (descr, size) in [("|O", 8), ("<U4", 16), ("|S4", 4), ("<c8", 8), ("<c16", 16), ("<M8[D]", 8)] {
        place.put("x.npy", npy(descr, false, &[1, 3], &vec![0; 3 * size]));
        let arguments =
            ["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output", "y.npy"];
        place.fails(1, &arguments, &["x.npy", descr]);
    }
}

/// A table of 5 rows, each its own number times (1, 10).
fn table(layers: &[serde_json::Value]) -> Place {
    let place = Place::new();
    place.put("model.json", sequential(layers));
    let rows: Vec<f32> = (0..5_u8).flat_map(|row| [f32::from(row), 10.0 * f32::from(row)]).collect();
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[5, 2], &rows)]);
    place
}

#[test]
fn indices_of_an_embedding_must_be_whole_and_in_range() {
    let embedding = json!({"class_name": "Embedding", "config": {"name": "words", "batch_input_shape": [null, null],
        "dtype": "float32", "input_dim": 5, "output_dim": 2}});
    let place = table(&[embedding]);
    let arguments =
        ["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output", "y.npy"];
    let indices = |values: [i64; 2]| npy("<i8", false, &[1, 2], &values.map(i64::to_le_bytes).concat());
    place.put("x.npy", indices([4, 1]));
    place.result(&arguments);
    assert_eq!(read_floats(&place.get("y.npy")), (vec![1, 2, 2], vec![4.0, 40.0, 1.0, 10.0]));
    place.put("x.npy", floats(&[1, 2], &[4.0, 1.0]));
    place.result(&arguments);

    // The last one is 0 where int64 is cut to 32 bits.
    for wrong in [5, -1, 1 << 32] {
        place.put("x.npy", indices([0, wrong]));
        place.fails(
            1,
            &arguments,
            &["x.npy", "whole numbers from 0 to 4", "words", &format!("{wrong} at (0, 1)")],
        );
    }
    for (wrong, said) in [(0.5, "0.5"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        place.put("x.npy", floats(&[1, 2], &[wrong, 0.0]));
        place.fails(1, &arguments, &["whole numbers from 0 to 4", &format!("{said} at (0, 0)")]);
    }
}

#[test]
fn one_dimension_is_a_column() {
    let place = Place::new();
    place.put("model.json", sequential(&[dense("line", 1, 1)]));
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[1, 1], &[2.0]), ("arr_1", &[1], &[1.0])]);
    place.put("x.npy", floats(&[3], &[0.0, 1.0, 2.0]));
    place.result(&[
        "predict",
        "model.json",
        "--weights",
        "weights.npz",
        "--input",
        "x.npy",
        "--output",
        "y.npy",
    ]);
    assert_eq!(read_floats(&place.get("y.npy")), (vec![3, 1], vec![1.0, 3.0, 5.0]));
}

#[test]
fn a_missing_axis_of_samples_is_an_error_that_shows_the_reshape() {
    let place = Place::new();
    place.put_line();
    let fails = |parts: &[&str]| {
        place.fails(
            1,
            &["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output", "y.npy"],
            parts,
        )
    };
    place.put("x.npy", floats(&[3], &[0.0; 3]));
    fails(&["x.npy", "(samples, 3)", "(3,)", "reshape it to (1, 3)"]);
    place.put("x.npy", floats(&[], &[0.0]));
    fails(&["first axis counts samples", "a single number"]);
    place.put("x.npy", floats(&[2, 4], &[0.0; 8]));
    let line = fails(&["(samples, 3)", "(2, 4)"]);
    assert!(!line.contains("reshape"), "{line}");
    place.put("x.npy", floats(&[3, 1], &[0.0; 3]));
    let line = fails(&["(samples, 3)", "received shape (3, 1)"]);
    assert!(!line.contains("reshape"), "{line}");
    place.put("x.npy", floats(&[0, 3], &[]));
    fails(&["at least one sample"]);

    let image =
        json!({"class_name": "Flatten", "config": {"name": "flat", "batch_input_shape": [null, 4, 4, 1]}});
    place.put("model.json", sequential(&[image, dense("line", 16, 1)]));
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[16, 1], &[0.0; 16]), ("arr_1", &[1], &[0.0])]);
    place.put("x.npy", floats(&[4, 4, 1], &[0.0; 16]));
    fails(&["(4, 4, 1)", "reshape it to (1, 4, 4, 1)"]);
    place.put("x.npy", floats(&[2, 16], &[0.0; 32]));
    fails(&["(samples, 4, 4, 1)", "(2, 16)", "reshape it to (2, 4, 4, 1)"]);
}

#[test]
fn targets_without_the_axis_of_samples_are_errors_that_show_the_reshape() {
    let place = Place::new();
    place.put_line();
    let image = json!({"class_name": "Reshape", "config": {"name": "image", "batch_input_shape": [null, 4], "target_shape": [2, 2]}});
    place.put("image.json", sequential(&[image]));
    place.put("x.npy", floats(&[1, 3], &[0.0; 3]));
    place.put("x4.npy", floats(&[1, 4], &[0.0; 4]));
    place.put("x4_2.npy", floats(&[2, 4], &[0.0; 8]));
    place.put("good.npy", floats(&[1, 2], &[0.0; 2]));
    place.put("y.npy", floats(&[2], &[0.0; 2]));
    place.put("number.npy", floats(&[], &[0.0]));
    place.put("y22.npy", floats(&[2, 2], &[0.0; 4]));
    let line = ["model.json", "--weights", "weights.npz", "--loss", "mse", "--x", "x.npy"];
    let shown = ["(samples, 2)", "(2,)", "reshape it to (1, 2)", "y.npy"];
    let fails = |arguments: &[&str], shown: &[&str]| drop(place.fails(1, arguments, shown));
    fails(&[&["evaluate"], &line[..], &["--y", "y.npy"]].concat(), &shown);
    fails(&[&["fit"], &line[..], &["--y", "y.npy"]].concat(), &shown);
    let validation = ["--y", "good.npy", "--val-x", "x.npy", "--val-y", "y.npy"];
    fails(&[&["fit"], &line[..], &validation].concat(), &shown);
    fails(&[&["evaluate"], &line[..], &["--y", "number.npy"]].concat(), &["number.npy", "a single number"]);
    if cfg!(feature = "candle") {
        let compare =
            ["compare", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--loss", "mse"];
        fails(&[&compare[..], &["--train", "y.npy", "--backends", "ndarray,candle"]].concat(), &shown);
    }
    place.result(&[&["evaluate"], &line[..], &["--y", "good.npy"]].concat());

    let image = ["evaluate", "image.json", "--loss", "mae", "--y", "y22.npy"];
    for x in ["x4.npy", "x4_2.npy"] {
        let shown = ["y22.npy", "(samples, 2, 2)", "(2, 2)", "reshape it to (1, 2, 2)"];
        if x == "x4.npy" {
            fails(&[&image[..], &["--x", x]].concat(), &shown);
        } else {
            // Two samples of two class numbers each: what the loss makes of them is for it to say.
            fails(&[&image[..], &["--x", x]].concat(), &["target", "[2, 2]"]);
        }
    }
    let labels = ["evaluate", "image.json", "--loss", "sparse_categorical_crossentropy", "--x", "x4.npy"];
    fails(&[&labels[..], &["--y", "y.npy"]].concat(), &["y.npy", "reshape it to (1, 2)"]);
    place.put("labels.npy", floats(&[1, 2], &[0.0, 1.0]));
    place.result(&[&labels[..], &["--y", "labels.npy"]].concat());
}

#[test]
fn numbers_of_samples_must_agree() {
    let place = two();
    place.put("b.npy", floats(&[3, 2], &[0.0; 6]));
    place.fails(1, &predict(&["a.npy", "b.npy"]), &["samples for b", "received 3"]);
    place.put("model.json", sequential(&[dense("line", 2, 1)]));
    place.put("y.npy", floats(&[2, 1], &[0.0; 2]));
    let evaluate = [
        "evaluate",
        "model.json",
        "--weights",
        "weights.npz",
        "--x",
        "b.npy",
        "--y",
        "y.npy",
        "--loss",
        "mse",
    ];
    place.fails(1, &evaluate, &["the same number of samples", "3", "received 2"]);
}

/// A data set of bytes in chunks that compress to next to nothing: row i is full of i modulo 7.
fn data_set(rows: usize, width: usize) -> Vec<u8> {
    let values: Vec<u8> = (0..rows).flat_map(|i| std::iter::repeat_n((i % 7) as u8, width)).collect();
    let mut file = hdf5::FileBuilder::new();
    let data = file.create_dataset("samples");
    data.with_u8_data(&values).with_shape(&[rows as u64, width as u64]);
    data.with_chunks(&[4096, width as u64]).with_deflate(1);
    let targets: Vec<f32> = (0..rows).map(|i| (i % 7) as f32).collect();
    let mut group = file.create_group("of");
    group.create_dataset("targets").with_f32_data(&targets);
    file.add_group(group.finish());
    file.finish().unwrap()
}

#[test]
fn a_data_set_of_an_hdf5_file_stands_behind_a_colon() {
    let place = two();
    place.put("x=1.h5", data_set(20, 2));
    place.put("b.npy", floats(&[20, 2], &[0.0; 40]));
    place.result(&predict(&["a=x=1.h5:samples", "b=b.npy"]));
    assert_eq!(place.npz::<f32>("y.npz", "shared")[[13, 0]], 6.0 * 5.0 + 1.0);
    place.fails(1, &predict(&["a=x=1.h5:none", "b=b.npy"]), &["none"]);
    place.fails(1, &predict(&["a=x=1.h5:of", "b=b.npy"]), &["of"]);
    place.fails(1, &predict(&["a=x=1.h5", "b=b.npy"]), &["HDF5 file alone", "x=1.h5:NAME"]);
    place.fails(1, &predict(&["a=x=1.h5:of/targets", "b=b.npy"]), &["shape (samples, 2)", "(20,)"]);

    place.put(
        "words.json",
        sequential(&[json!({"class_name": "Embedding", "config": {"name": "words",
        "batch_input_shape": [null, 2], "input_dim": 6, "output_dim": 1}})]),
    );
    place.put("x.h5", data_set(2000, 2));
    place.put_npz::<f32>("words.npz", &[("arr_0", &[6, 1], &[0.0; 6])]);
    let line =
        ["predict", "words.json", "--weights", "words.npz", "--input", "x.h5:samples", "--output", "y.npy"];
    place.fails(1, &line, &["whole numbers from 0 to 5", "received 6 at (6, 0)"]);
}

/// 192 MB of bytes, 768 MB as the floats that the model takes, in 150 MB of memory (libraries that are mapped do not count).
#[cfg(unix)]
#[test]
fn a_data_set_may_be_larger_than_memory() {
    let place = Place::new();
    let rows = 3_000_000;
    place.put("big.h5", data_set(rows, 64));
    place.put("model.json", sequential(&[dense("sum", 64, 1)]));
    place.put_npz::<f32>("ones.npz", &[("arr_0", &[64, 1], &[1.0; 64]), ("arr_1", &[1], &[0.5])]);
    let limited = |batch_size: &str, arguments: &[&str]| {
        let mut command =
            place.command_of(Path::new("/bin/sh"), &["-c", "ulimit -d 150000; exec \"$@\"", "sh"]);
        command.arg(super::program()).args(arguments);
        command.args(["--weights", "ones.npz", "--batch-size", batch_size, "--threads", "2"]);
        super::ran(&mut command)
    };
    let done = |arguments: &[&str]| {
        let ran = limited("1000", arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let predict = ["predict", "model.json", "--input", "big.h5:samples", "--output", "y.npy"];
    done(&predict);
    let (shape, values) = read_floats(&place.get("y.npy"));
    assert_eq!(shape, [rows, 1]);
    assert!(values.iter().enumerate().all(|(i, value)| *value == (i % 7) as f32 * 64.0 + 0.5));

    let data = ["--x", "big.h5:samples", "--y", "big.h5:of/targets", "--loss", "mae"];
    let scores = done(&[&["evaluate", "model.json"][..], &data].concat());
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert!((scores["loss"].as_f64().unwrap() - (3.0 * 63.0 + 0.5)).abs() < 1e-2, "{scores}");
    done(&[&["fit", "model.json", "--save", "trained.npz", "--seed", "1"][..], &data].concat());
    assert_eq!(place.npz_names("trained.npz").len(), 2);
    // The limit is one: the array as a whole does not fit.
    assert_ne!(limited("3000000", &predict).code, Some(0));
}
