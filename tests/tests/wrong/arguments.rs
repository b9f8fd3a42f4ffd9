//! Layers with wrong arguments, as code and as configs, in the order of tests/oracle/wrong_2_3_1.py.

use super::layers::{HERE, image, of, sequence, vector};
use super::{Row, complaint, row};
use keras_core::layers::{
    Activation, Bidirectional, Conv1D, Conv2D, Conv2DTranspose, Dense, GRU, LSTM, LocallyConnected1D,
    LocallyConnected2D, MaxPooling2D, RNN, ReLU, SimpleRNN, SpatialDropout2D, StackedRNNCells, UpSampling2D,
    deserialize,
};
use keras_core::registry::Config;
use serde_json::{Value, json};

pub(super) fn rows() -> Vec<Row> {
    arguments().into_iter().chain(configs()).collect()
}

fn arguments() -> Vec<Row> {
    let dense = || Dense::new(3).name("here");
    let conv = || Conv2D::new(3, 3).name("here");
    let typed = Config::new("Dense").with("units", 3).with("dtype", "float33").with("name", "here");
    vec![
        row(
            "dense_activation",
            HERE,
            "relu",
            "\"rulu\"",
            "activations::register",
            dense().activation("rulu").call(vector()),
        ),
        row(
            "dense_initializer",
            HERE,
            "he_normal",
            "\"he\"",
            "initializers::register",
            dense().kernel_initializer("he").call(vector()),
        ),
        row(
            "dense_regularizer",
            HERE,
            "l2",
            "\"l3\"",
            "regularizers::register",
            dense().kernel_regularizer("l3").call(vector()),
        ),
        row(
            "dense_constraint",
            HERE,
            "max_norm",
            "\"max_nrom\"",
            "constraints::register",
            dense().kernel_constraint("max_nrom").call(vector()),
        ),
        row(
            "activation_name",
            HERE,
            "softmax",
            "\"sotfmax\"",
            "activations::register",
            Activation::new("sotfmax").name("here").call(vector()),
        ),
        row(
            "conv2d_padding",
            HERE,
            "\"valid\", \"same\"",
            "\"full\"",
            "one of these",
            conv().padding("full").call(image()),
        ),
        row(
            "conv2d_causal",
            HERE,
            "\"valid\" or \"same\"",
            "\"causal\"",
            "channels_last",
            conv().padding("causal").call(image()),
        ),
        row(
            "conv1d_causal_channels_first",
            HERE,
            "\"valid\" or \"same\"",
            "channels_first",
            "channels_last",
            Conv1D::new(3, 3).padding("causal").data_format("channels_first").name("here").call(sequence()),
        ),
        row(
            "conv2d_data_format",
            HERE,
            "\"channels_last\"",
            "\"nchw\"",
            "one of these",
            conv().data_format("nchw").call(image()),
        ),
        row(
            "conv2d_strides_and_dilation",
            HERE,
            "strides of 1",
            "dilation_rate [2, 2]",
            "one of the two out",
            conv().strides(2).dilation_rate(2).call(image()),
        ),
        row(
            "conv2d_transpose_output_padding",
            HERE,
            "output_padding",
            "[2, 2]",
            "raise the strides",
            Conv2DTranspose::new(3, 3).strides(2).output_padding(2).name("here").call(image()),
        ),
        row(
            "locally_connected1d_same",
            HERE,
            "\"valid\"",
            "\"same\"",
            "ZeroPadding",
            LocallyConnected1D::new(3, 3).padding("same").name("here").call(sequence()),
        ),
        row(
            "locally_connected2d_same",
            HERE,
            "\"valid\"",
            "\"same\"",
            "ZeroPadding",
            LocallyConnected2D::new(3, 3).padding("same").name("here").call(image()),
        ),
        row(
            "max_pooling2d_padding",
            HERE,
            "\"valid\", \"same\"",
            "\"full\"",
            "one of these",
            MaxPooling2D::new(2).padding("full").name("here").call(image()),
        ),
        row(
            "up_sampling2d_interpolation",
            HERE,
            "\"nearest\", \"bilinear\"",
            "\"cubic\"",
            "one of these",
            UpSampling2D::new(2).interpolation("cubic").name("here").call(image()),
        ),
        row(
            "spatial_dropout2d_data_format",
            HERE,
            "\"channels_last\"",
            "\"nchw\"",
            "one of these",
            SpatialDropout2D::new(0.5).data_format("nchw").name("here").call(image()),
        ),
        row(
            "relu_negative_max_value",
            HERE,
            "max_value",
            "-1",
            "all three have defaults",
            ReLU::new().max_value(-1.0).name("here").call(vector()),
        ),
        row(
            "relu_negative_slope",
            HERE,
            "negative_slope",
            "-1",
            "all three have defaults",
            ReLU::new().negative_slope(-1.0).name("here").call(vector()),
        ),
        row("layer_type", "\"here\"", "float32", "\"float33\"", "\"float32\"", deserialize(&typed)),
        row(
            "bidirectional_merge_mode",
            HERE,
            "\"sum\", \"mul\", \"ave\", \"concat\"",
            "\"add\"",
            "one of these",
            Bidirectional::new(LSTM::new(2)).merge_mode("add").name("here").call(sequence()),
        ),
        row(
            "bidirectional_of_dense",
            HERE,
            "a recurrent layer such as LSTM",
            "Dense",
            "recurrent layer",
            Bidirectional::new(Dense::new(2)).name("here").call(sequence()),
        ),
        row(
            "rnn_of_dense",
            HERE,
            "a cell",
            "Dense(inner)",
            "Layer::cell",
            RNN::new(Dense::new(3).name("inner")).name("here").call(sequence()),
        ),
        row(
            "stacked_cells_of_dense",
            HERE,
            "a cell",
            "Dense(inner)",
            "Layer::cell",
            RNN::new(StackedRNNCells::new([Dense::new(3).name("inner")])).name("here").call(sequence()),
        ),
        row(
            "lstm_zero_units",
            HERE,
            "units of at least 1",
            "0",
            "number of units",
            LSTM::new(0).name("here").call(sequence()),
        ),
        row(
            "simple_rnn_activation",
            HERE,
            "tanh",
            "\"tan\"",
            "activations::register",
            SimpleRNN::new(3).name("here").activation("tan").call(sequence()),
        ),
        row(
            "gru_implementation",
            HERE,
            "implementation 1 or 2",
            "3",
            "only dropout",
            GRU::new(3).name("here").implementation(3).call(sequence()),
        ),
        row(
            "gru_dropout_nan",
            HERE,
            "dropout from 0 to 1",
            "NaN",
            "which fraction",
            GRU::new(3).name("here").dropout(f64::NAN).call(sequence()),
        ),
    ]
}

fn configs() -> Vec<Row> {
    let made = |class: &str, arguments: Value| {
        let mut config = Config::new(class).with("name", "here");
        config.config.extend(arguments.as_object().unwrap().clone());
        deserialize(&config)
    };
    let here = "layer \"here\"";
    vec![
        row(
            "config_class",
            here,
            "a known layer such as Dense",
            "\"Desne\"",
            "layers::register",
            made("Desne", json!({"units": 3})),
        ),
        row(
            "config_without_units",
            here,
            "a whole number",
            "nothing",
            "give the key",
            made("Dense", json!({})),
        ),
        row(
            "config_unknown_key",
            here,
            "the keys name, ",
            "\"unit\": 3",
            "\"units\"",
            made("Dense", json!({"units": 3, "unit": 3})),
        ),
        row(
            "config_activation_number",
            here,
            "a known activation",
            "7",
            "activations::register",
            made("Dense", json!({"units": 3, "activation": 7})),
        ),
        row(
            "config_units_text",
            here,
            "a whole number",
            "\"three\"",
            "change the value",
            made("Dense", json!({"units": "three"})),
        ),
        row(
            "config_kernel_size_rank",
            here,
            "a list of 2",
            "[3]",
            "change the value",
            made("Conv2D", json!({"filters": 3, "kernel_size": [3]})),
        ),
        row(
            "config_conv1d_kernel_size_rank",
            here,
            "a list of 1",
            "[3,3]",
            "change the value",
            made("Conv1D", json!({"filters": 3, "kernel_size": [3, 3]})),
        ),
        row(
            "config_kernel_size_text",
            here,
            "a list of 2",
            "\"three\"",
            "change the value",
            made("Conv2D", json!({"filters": 3, "kernel_size": "three"})),
        ),
        row(
            "config_negative_kernel_size",
            here,
            "a list of 2",
            "[3,-1]",
            "change the value",
            made("Conv2D", json!({"filters": 3, "kernel_size": [3, -1]})),
        ),
        row(
            "config_zero_padding2d",
            here,
            "2 pairs",
            "[1,2,3]",
            "change the value",
            made("ZeroPadding2D", json!({"padding": [1, 2, 3]})),
        ),
        row(
            "config_cropping2d",
            here,
            "2 pairs",
            "[[1,2,3],[1,2]]",
            "change the value",
            made("Cropping2D", json!({"cropping": [[1, 2, 3], [1, 2]]})),
        ),
        row(
            "config_cropping3d",
            here,
            "3 pairs",
            "[1,2]",
            "change the value",
            made("Cropping3D", json!({"cropping": [1, 2]})),
        ),
        row(
            "config_up_sampling2d",
            here,
            "a list of 2",
            "[2,2,2]",
            "change the value",
            made("UpSampling2D", json!({"size": [2, 2, 2]})),
        ),
        row(
            "config_pool_size",
            here,
            "a list of 3",
            "[2,2]",
            "change the value",
            made("MaxPooling3D", json!({"pool_size": [2, 2]})),
        ),
        row(
            "config_initializer_key",
            here,
            "the keys value",
            "\"valeu\": 1.0",
            "\"value\"",
            made(
                "Dense",
                json!({"units": 3, "kernel_initializer": {"class_name": "Constant", "config": {"valeu": 1.0}}}),
            ),
        ),
    ]
}

/// What only tf.keras has, and constants of a cell that takes some: the same demands.
#[test]
fn what_keras_2_3_1_does_not_know_is_refused_in_the_same_words() {
    let user = || RNN::new(crate::recurrent::cell_with_constants()).num_constants(2).name("here");
    for row in [
        row(
            "groups",
            HERE,
            "multiples of 3 groups",
            "2 channels and 4 filters",
            "divide both",
            Conv2D::new(4, 3).groups(3).name("here").call(image()),
        ),
        row(
            "constants",
            HERE,
            "2 constants",
            "1 tensors",
            "the constants",
            user().call([&sequence(), &of([Some(2)])]),
        ),
        row(
            "axes",
            "BatchNormalization config, key \"axis\"",
            "one axis",
            "[1,2]",
            "change the value",
            deserialize(&Config::new("BatchNormalization").with("axis", vec![1, 2])),
        ),
        row(
            "dims",
            "Permute config, key \"dims\"",
            "axes from 1",
            "[-1]",
            "change the value",
            deserialize(&Config::new("Permute").with("dims", vec![-1])),
        ),
        row(
            "target_shape",
            "Reshape config, key \"target_shape\"",
            "a list of lengths",
            "nothing",
            "give the key",
            deserialize(&Config::new("Reshape")),
        ),
        row(
            "rate",
            "Dropout config, key \"rate\"",
            "a number from 0 to 1",
            "nothing",
            "give the key",
            deserialize(&Config::new("Dropout")),
        ),
        row(
            "output_dim",
            "Embedding config, key \"output_dim\"",
            "a whole number",
            "nothing",
            "give the key",
            deserialize(&Config::new("Embedding").with("input_dim", 3)),
        ),
        row(
            "units",
            "Dense config, key \"units\"",
            "a whole number of at least 0",
            "-3",
            "change the value",
            deserialize(&Config::new("Dense").with("units", -3)),
        ),
    ] {
        assert_eq!(complaint(&row), None, "{}", row.name);
    }
}
