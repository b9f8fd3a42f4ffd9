//! Wrong uses of layers.

use keras_core::array::{Array, DType};
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::layers::{
    Add, BatchNormalization, Concatenate, Conv2D, Dense, Dropout, Embedding, Flatten, Input, LayerRef,
    Masking, MaxPooling2D, Permute, RepeatVector, Reshape, Subtract, deserialize,
};
use keras_core::registry::Config;
use keras_core::{Result, Tensor, k};
use serde_json::Value;
use std::sync::Arc;

fn of(shape: impl Into<Vec<Option<usize>>>) -> Tensor {
    let shape: Vec<Option<usize>> = shape.into();
    Input::new(shape).tensor().unwrap()
}

/// Every wrong use: the error names the layer, what was expected and what was received.
#[test]
fn errors_name_the_layer_the_expected_and_the_received() {
    let vector = || of([Some(4)]);
    let sequence = || of([Some(5), Some(4)]);
    let image = || of([Some(6), Some(6), Some(2)]);
    let masked = || Masking::new(0.0).call(sequence()).unwrap();
    let ints = || Input::new([4]).dtype(DType::I32).tensor().unwrap();
    let table: Vec<(Result<Tensor>, &str, &str)> = vec![
        (Dense::new(3).name("here").call(of([None])), "last axis is known", "(None, None)"),
        (Dense::new(3).name("here").call(of([])), "rank 2 or more", "(None,)"),
        (Dense::new(0).name("here").call(vector()), "at least 1", "0"),
        (Dense::new(3).name("here").call(ints()), "float32 inputs", "int32 (None, 4)"),
        (Dense::new(3).activation("rulu").name("here").call(vector()), "relu", "\"rulu\""),
        (Dense::new(3).kernel_initializer("he").name("here").call(vector()), "he_normal", "\"he\""),
        (Dense::new(3).name("here").call([&vector(), &vector()]), "one input", "2"),
        (Conv2D::new(3, 3).name("here").call(sequence()), "rank 4", "(None, 5, 4)"),
        (Conv2D::new(3, 3).padding("full").name("here").call(image()), "\"valid\", \"same\"", "\"full\""),
        (
            Conv2D::new(3, 3).padding("causal").name("here").call(image()),
            "\"valid\" or \"same\"",
            "\"causal\"",
        ),
        (Conv2D::new(3, 3).data_format("nchw").name("here").call(image()), "\"channels_last\"", "\"nchw\""),
        (
            Conv2D::new(3, 3).strides(2).dilation_rate(2).name("here").call(image()),
            "strides of 1",
            "dilation_rate [2, 2]",
        ),
        (Conv2D::new(3, 7).name("here").call(image()), "at least [7, 7]", "(6, 6)"),
        (Conv2D::new(3, 0).name("here").call(image()), "kernel_size of at least 1", "[0, 0]"),
        (Conv2D::new(0, 3).name("here").call(image()), "at least 1", "0"),
        (
            Conv2D::new(4, 3).groups(3).name("here").call(image()),
            "multiples of 3 groups",
            "2 channels and 4 filters",
        ),
        (
            Conv2D::new(3, 3).name("here").call(of([Some(6), Some(6), None])),
            "channel axis is known",
            "(None, 6, 6, None)",
        ),
        (MaxPooling2D::new(7).name("here").call(image()), "at least [7, 7]", "(6, 6)"),
        (MaxPooling2D::new(2).strides(0).name("here").call(image()), "strides of at least 1", "[0, 0]"),
        (Flatten::new().name("here").call(of([])), "rank 2 or more", "(None,)"),
        (Flatten::new().name("here").call(masked()), "without a mask", "masked input"),
        (Reshape::new([5]).name("here").call(vector()), "of 4 elements", "[5]"),
        (Reshape::new([-1, -1]).name("here").call(vector()), "at most one −1", "[-1, -1]"),
        (Permute::new([1, 1]).name("here").call(sequence()), "axes 1 to 2 once", "[1, 1]"),
        (Permute::new([2, 1]).name("here").call(vector()), "rank 3", "(None, 4)"),
        (RepeatVector::new(3).name("here").call(sequence()), "rank 2", "(None, 5, 4)"),
        (Add::new().name("here").call(vector()), "at least 2 inputs", "1"),
        (Add::new().name("here").call([&vector(), &of([Some(5)])]), "shapes fit or are 1", "(None, 5)"),
        (Add::new().name("here").call([&vector(), &ints()]), "one element type", "int32"),
        (Subtract::new().name("here").call([&vector(), &vector(), &vector()]), "exactly 2 inputs", "3"),
        (Concatenate::new().name("here").call([&vector(), &sequence()]), "matching shapes", "(None, 5, 4)"),
        (Concatenate::new().axis(3).name("here").call([&vector(), &vector()]), "an axis from -2 to 1", "3"),
        (BatchNormalization::new().axis(0).name("here").call(vector()), "behind the batch axis", "0"),
        (BatchNormalization::new().name("here").call(of([None])), "axis 1 is known", "(None, None)"),
        (BatchNormalization::new().epsilon(-1.0).name("here").call(vector()), "epsilon of at least 0", "-1"),
        (Embedding::new(3, 2).input_length(5).name("here").call(ints()), "input_length (5,)", "(None, 4)"),
        (Dropout::new(0.5).noise_shape([2, 2]).name("here").call(vector()), "broadcasts to", "(2, 2)"),
        (Dropout::new(f64::NAN).name("here").call(vector()), "a rate from 0 to 1", "NaN"),
        (Masking::new(0.0).name("here").call(of([])), "rank 2 or more", "(None,)"),
    ];
    for (i, (result, expected, received)) in table.into_iter().enumerate() {
        let Err(error) = result else { panic!("row {i} ({expected}) is no error") };
        let report = error.report();
        assert!(report.doing.starts_with("layer here at "), "{error}");
        assert!(report.doing.contains("wrong.rs:"), "{error}");
        assert!(report.expected.contains(expected), "row {i}: {error}");
        assert!(report.received.contains(received), "row {i}: {error}");
    }
}

#[test]
fn configs_with_wrong_unknown_or_missing_arguments_are_errors() {
    let dense = || Config::new("Dense").with("units", 3);
    let conv = |size: Value| Config::new("Conv2D").with("filters", 3).with("kernel_size", size);
    for (config, expected) in [
        (Config::new("Densee"), "a known layer such as Dense"),
        (Config::new("Dense"), "a whole number"),
        (dense().with("unit", 3), "the keys name, "),
        (dense().with("units", -3), "a whole number of at least 0"),
        (dense().with("activation", 7), "a known activation"),
        (dense().with("activation", "rulu"), "relu"),
        (dense().with("dtype", "float33"), "float32"),
        (conv(serde_json::json!([3])), "a list of 2"),
        (conv(serde_json::json!([3, -1])), "a list of 2"),
        (Config::new("Reshape"), "a list of lengths"),
        (Config::new("Permute").with("dims", vec![-1]), "axes from 1"),
        (Config::new("Dropout"), "a number from 0 to 1"),
        (Config::new("BatchNormalization").with("axis", vec![1, 2]), "one axis"),
        (Config::new("Embedding").with("input_dim", 3), "a whole number"),
        (Config::new("ZeroPadding2D").with("padding", vec![1, 2, 3]), "2 pairs"),
    ] {
        let error = deserialize(&config).map(|_| ()).unwrap_err();
        assert!(error.report().expected.contains(expected), "{config:?}: {error}");
    }
}

#[test]
fn aliases_and_tf_keras_s_lists_are_understood() {
    for (alias, class) in
        [("Convolution2D", "Conv2D"), ("MaxPool2D", "MaxPooling2D"), ("AvgPool1D", "AveragePooling1D")]
    {
        let config = Config::new(alias).with("filters", 3).with("kernel_size", 3);
        let config = if class == "Conv2D" { config } else { Config::new(alias) };
        assert_eq!(deserialize(&config).unwrap().class_name(), class);
    }
    let layer = deserialize(&Config::new("BatchNormalization").with("axis", vec![3])).unwrap();
    assert_eq!(layer.config().config["axis"], 3);
}

#[test]
fn an_index_outside_the_table_is_an_error() {
    let layer = LayerRef::new(Embedding::new(3, 2)).unwrap();
    let engine: Arc<dyn keras_core::backend::Runtime> = Arc::new(Engine::new(Reference).unwrap());
    let x = Input::new([2]).dtype(DType::I32).tensor().unwrap();
    let f = k::function([&x], [&layer.call(&x).unwrap()]).unwrap().on(&engine);
    assert_eq!(f.run([Array::from([[0_i32, 2]])]).unwrap()[0].shape(), [1, 2, 2]);
    for wrong in [3, -1] {
        assert!(f.run([Array::from([[0_i32, wrong]])]).is_err(), "{wrong}");
    }
}

#[test]
fn a_shared_layer_takes_inputs_that_its_weights_fit() {
    let dense = LayerRef::new(Dense::new(3).name("shared")).unwrap();
    dense.call(of([Some(4)])).unwrap();
    assert_eq!(dense.call(of([Some(7), Some(4)])).unwrap().spec().unwrap().shape, [None, Some(7), Some(3)]);
    let error = dense.call(of([Some(5)])).unwrap_err().to_string();
    assert!(error.contains("shared") && error.contains("[.., 5]"), "{error}");
    let conv = LayerRef::new(Conv2D::new(3, 3)).unwrap();
    conv.call(of([Some(8), Some(8), Some(2)])).unwrap();
    conv.call(of([None, Some(5), Some(2)])).unwrap();
    assert!(conv.call(of([Some(8), Some(8), Some(3)])).is_err());
}
