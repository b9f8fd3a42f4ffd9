//! `predict`.

use super::Place;
use super::files::{floats, parts, read_floats, twins};

const PREDICT: [&str; 7] =
    ["predict", "model.json", "--weights", "weights.npz", "--input", "x.npy", "--output"];

#[test]
fn one_output_is_a_plain_npy() {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[2, 3], &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]));
    place.result(&[&PREDICT[..], &["y.npy"]].concat());
    // Little-endian, C order, the output's element type: nothing that needs pickle.
    assert_eq!(read_floats(&place.get("y.npy")), (vec![2, 2], vec![14.5, 139.5, 0.5, -0.5]));

    place.result(&[&PREDICT[..], &["y.npy", "--floatx", "float64"]].concat());
    let (descr, shape, data) = parts(&place.get("y.npy"));
    assert_eq!((descr.as_str(), shape), ("<f8", vec![2, 2]));
    assert_eq!(data, [14.5_f64, 139.5, 0.5, -0.5].map(f64::to_le_bytes).concat());

    place.result(&[&PREDICT[..], &["y.npz"]].concat());
    assert_eq!(place.npz_names("y.npz"), ["line"]);
    assert_eq!(place.npz::<f32>("y.npz", "line").into_raw_vec_and_offset().0, [14.5, 139.5, 0.5, -0.5]);
}

#[test]
fn several_outputs_are_an_archive_in_the_models_order() {
    let place = Place::new();
    place.put("model.json", twins());
    place.put_npz::<f32>("weights.npz", &[("arr_0", &[2, 1], &[2.0, 3.0]), ("arr_1", &[1], &[1.0])]);
    place.put_npz::<f32>("x.npz", &[("b", &[1, 2], &[0.0, 1.0]), ("a", &[1, 2], &[1.0, 0.0])]);
    let arguments = ["predict", "model.json", "--weights", "weights.npz", "--input", "x.npz", "--output"];
    place.result(&[&arguments[..], &["y.npz"]].concat());
    assert_eq!(place.npz_names("y.npz"), ["shared", "shared_1"], "repeats get a number");
    assert_eq!(place.npz::<f32>("y.npz", "shared")[[0, 0]], 3.0);
    assert_eq!(place.npz::<f32>("y.npz", "shared_1")[[0, 0]], 4.0);

    place.fails(1, &[&arguments[..], &["y.npy"]].concat(), &["y.npy", "a .npz file", "shared, shared_1"]);
    assert!(!place.path("y.npy").exists());
}

#[test]
fn any_batch_size_gives_the_same_result() {
    let place = Place::new();
    place.put_line();
    let values: Vec<f32> = (0..21_u8).map(|i| f32::from(i) * 0.25).collect();
    place.put("x.npy", floats(&[7, 3], &values));
    let mut results = Vec::new();
    for size in ["1", "2", "3", "7", "100"] {
        place.result(&[&PREDICT[..], &["y.npy", "--batch-size", size]].concat());
        results.push(read_floats(&place.get("y.npy")));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
}

#[test]
fn other_outputs_are_wrong_usage() {
    let place = Place::new();
    place.put_line();
    place.put("x.npy", floats(&[1, 3], &[0.0; 3]));
    for output in ["y.csv", "y", "y.h5"] {
        place.fails(2, &[&PREDICT[..], &[output]].concat(), &[".npy or .npz", output]);
    }
}

/// What a model was compiled with is no matter where nothing is trained: its own loss is unknown here.
#[test]
fn a_model_with_an_unknown_loss_predicts() {
    let place = Place::new();
    std::fs::copy(crate::files::path("k231/c3.h5"), place.path("m.h5")).unwrap();
    for arguments in
        [["summary", "m.h5"].as_slice(), &["convert", "m.h5", "w.npz"], &["convert", "m.h5", "m.json"]]
    {
        place.result(arguments);
    }
    let model = keras_core::saving::load_model_with(
        place.path("m.h5"),
        &keras_core::saving::Load::new().compile(false),
    );
    let shape: Vec<usize> = model.unwrap().inputs().unwrap()[0].spec().unwrap().shape[1..]
        .iter()
        .map(|len| len.unwrap())
        .collect();
    let shape = [&[2], shape.as_slice()].concat();
    place.put("x.npy", floats(&shape, &vec![0.5; shape.iter().product()]));
    place.result(&["predict", "m.h5", "--input", "x.npy", "--output", "y.npy"]);
    place.fails(1, &["evaluate", "m.h5", "--x", "x.npy", "--y", "y.npy"], &["myloss"]);
    place.fails(1, &["convert", "m.h5", "other.h5"], &["myloss"]);
}
