//! The setters of layers, and the configs they make.

use super::case::{cases, classes};
use keras_core::activations;
use keras_core::config::DataFormat;
use keras_core::layers::*;
use keras_core::registry::Config;
use keras_core::regularizers::l1_l2;
use keras_core::{DType, Tensor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One class: made by its constructor, and by the constructor and setters, of which each is given another value than the
/// default.
struct Row {
    class: &'static str,
    plain: LayerRef,
    built: LayerRef,
    /// How many of the arguments are the constructor's.
    required: usize,
    /// What Keras calls the arguments, and their values in a config.
    arguments: Vec<(&'static str, Value)>,
}

/// How a config writes an argument, where it is not as JSON has the value.
macro_rules! written {
    ($value:expr) => {
        json!($value)
    };
    ($value:expr, $json:expr) => {
        $json
    };
}

/// The setters that every layer has.
macro_rules! with_base {
    ($layer:expr) => {
        LayerRef::new(
            $layer.name("built").trainable(false).dtype(DType::F64).input_shape([3, 4]).batch_size(7),
        )
        .unwrap()
    };
}

/// A [`Row`] of `Class(arguments of the constructor) { setters }`. A word in front adds setters that many classes have.
macro_rules! row {
    (@count) => { 0 };
    (@count $first:ident $($more:ident)*) => { 1 + row!(@count $($more)*) };
    (bias $class:ident $required:tt { $($own:tt)* }) => {
        row!($class $required {
            activation: "tanh",
            use_bias: false,
            bias_initializer: "he_normal",
            bias_regularizer: "l1",
            bias_constraint: "non_neg",
            activity_regularizer: "l1_l2",
            $($own)*
        })
    };
    (affine $class:ident $required:tt { $($own:tt)* }) => {
        row!(bias $class $required {
            kernel_initializer: "ones",
            kernel_regularizer: "l2",
            kernel_constraint: "unit_norm",
            $($own)*
        })
    };
    (cell $class:ident $required:tt { $($own:tt)* }) => {
        row!(gateless $class $required {
            activation: "relu",
            use_bias: false,
            dropout: 0.25,
            recurrent_dropout: 0.5,
            $($own)*
        })
    };
    (gateless $class:ident $required:tt { $($own:tt)* }) => {
        row!($class $required {
            kernel_initializer: "ones",
            recurrent_initializer: "he_normal",
            bias_initializer: "he_uniform",
            kernel_regularizer: "l1",
            recurrent_regularizer: "l2",
            bias_regularizer: "l1_l2",
            kernel_constraint: "max_norm",
            recurrent_constraint: "non_neg",
            bias_constraint: "unit_norm",
            $($own)*
        })
    };
    ($class:ident($($argument:ident: $given:expr $(=> $json:expr)?),*) { $($setter:ident: $value:expr),* $(,)? }) => {
        Row {
            class: stringify!($class),
            plain: LayerRef::new($class::new($($given),*)).unwrap(),
            built: with_base!($class::new($($given),*)$(.$setter($value))*),
            required: row!(@count $($argument)*),
            arguments: vec![
                $((stringify!($argument), written!($given $(, $json)?)),)*
                $((stringify!($setter), json!($value)),)*
            ],
        }
    };
}

/// What Keras calls the arguments whose setters have other names.
const NAMES: [(&str, &str); 3] =
    [("w_regularizer", "W_regularizer"), ("w_constraint", "W_constraint"), ("axes", "axis")];

fn inner() -> Dense {
    Dense::new(3).activation("relu").name("inner")
}

fn cell() -> GRUCell {
    GRUCell::new(2).reset_after(true).name("cell")
}

fn recurrent() -> GRU {
    GRU::new(2).reset_after(true).name("inner")
}

fn json_of(layer: impl IntoLayer) -> Value {
    layer.into_layer().unwrap().config().to_value()
}

fn rows() -> Vec<Row> {
    let cf = "channels_first";
    let l3 = || json!({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}});
    vec![
        row!(Activation(activation: "tanh") {}),
        row!(ActivityRegularization(l1: 0.25, l2: 0.5) {}),
        row!(Add() {}),
        row!(AdditiveAttention() { use_scale: false, dropout: 0.25 }),
        row!(AlphaDropout(rate: 0.25) { noise_shape: [None, Some(1), Some(3)], seed: 3 }),
        row!(Attention() { use_scale: true, score_mode: "concat", dropout: 0.25 }),
        row!(Average() {}),
        row!(AveragePooling1D(pool_size: [3]) { strides: [4], padding: "same", data_format: cf }),
        row!(AveragePooling2D(pool_size: (2, 3)) { strides: (4, 5), padding: "same", data_format: cf }),
        row!(AveragePooling3D(pool_size: (2, 3, 4)) { strides: (4, 5, 6), padding: "same", data_format: cf }),
        row!(BatchNormalization() {
            axis: 1,
            momentum: 0.5,
            epsilon: 0.25,
            center: false,
            scale: false,
            beta_initializer: "ones",
            gamma_initializer: "zeros",
            moving_mean_initializer: "he_normal",
            moving_variance_initializer: "he_uniform",
            beta_regularizer: "l1",
            gamma_regularizer: "l2",
            beta_constraint: "non_neg",
            gamma_constraint: "unit_norm",
        }),
        row!(Bidirectional(layer: recurrent() => json_of(recurrent())) { merge_mode: "sum", num_constants: 1 }),
        row!(Concatenate() { axis: 1 }),
        row!(affine Conv1D(filters: 4, kernel_size: [3]) {
            strides: [2], padding: "same", data_format: cf, dilation_rate: [3], groups: 2
        }),
        row!(affine Conv2D(filters: 4, kernel_size: (2, 3)) {
            strides: (4, 5), padding: "same", data_format: cf, dilation_rate: (6, 7), groups: 2
        }),
        row!(affine Conv3D(filters: 4, kernel_size: (2, 3, 4)) {
            strides: (4, 5, 6), padding: "same", data_format: cf, dilation_rate: (6, 7, 8), groups: 2
        }),
        row!(affine Conv1DTranspose(filters: 4, kernel_size: [3]) {
            strides: [4], padding: "same", data_format: cf, dilation_rate: [3], output_padding: [2]
        }),
        row!(affine Conv2DTranspose(filters: 4, kernel_size: (2, 3)) {
            strides: (4, 5), padding: "same", data_format: cf, dilation_rate: (6, 7), output_padding: (2, 3)
        }),
        row!(affine Conv3DTranspose(filters: 4, kernel_size: (2, 3, 4)) {
            strides: (4, 5, 6), padding: "same", data_format: cf, dilation_rate: (6, 7, 8), output_padding: (1, 2, 3)
        }),
        row!(cell ConvLSTM2D(filters: 4, kernel_size: (2, 3)) {
            recurrent_activation: "tanh",
            unit_forget_bias: false,
            activity_regularizer: l3(),
            strides: (4, 5),
            padding: "same",
            data_format: cf,
            dilation_rate: (6, 7),
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
        }),
        row!(cell ConvLSTM2DCell(filters: 4, kernel_size: (2, 3)) {
            recurrent_activation: "tanh",
            unit_forget_bias: false,
            strides: (4, 5),
            padding: "same",
            data_format: cf,
            dilation_rate: (6, 7),
        }),
        row!(Cropping1D(cropping: (1, 2)) {}),
        row!(Cropping2D(cropping: ((1, 2), (3, 4))) { data_format: cf }),
        row!(Cropping3D(cropping: ((1, 2), (3, 4), (5, 6))) { data_format: cf }),
        row!(gateless CuDNNGRU(units: 3) {
            activity_regularizer: l3(),
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
        }),
        row!(gateless CuDNNLSTM(units: 3) {
            unit_forget_bias: false,
            activity_regularizer: l3(),
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
        }),
        row!(affine Dense(units: 3) {}),
        row!(bias DepthwiseConv1D(kernel_size: [3]) {
            strides: [2],
            padding: "same",
            data_format: cf,
            dilation_rate: [3],
            depth_multiplier: 4,
            depthwise_initializer: "ones",
            depthwise_regularizer: "l2",
            depthwise_constraint: "unit_norm",
        }),
        row!(bias DepthwiseConv2D(kernel_size: (2, 3)) {
            strides: (4, 5),
            padding: "same",
            data_format: cf,
            dilation_rate: (6, 7),
            depth_multiplier: 4,
            depthwise_initializer: "ones",
            depthwise_regularizer: "l2",
            depthwise_constraint: "unit_norm",
        }),
        row!(Dot(axes: (1, 2)) { normalize: true }),
        row!(Dropout(rate: 0.25) { noise_shape: [None, Some(1), Some(3)], seed: 3 }),
        row!(ELU() { alpha: 0.25 }),
        row!(Embedding(input_dim: 5, output_dim: 3) {
            embeddings_initializer: "ones",
            embeddings_regularizer: "l1",
            embeddings_constraint: "non_neg",
            activity_regularizer: "l2",
            mask_zero: true,
            input_length: [3, 4],
        }),
        row!(Flatten() { data_format: cf }),
        row!(cell GRU(units: 3) {
            recurrent_activation: "tanh",
            activity_regularizer: l3(),
            implementation: 1,
            reset_after: true,
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
            unroll: true,
            zero_output_for_mask: true,
            time_major: true,
        }),
        row!(cell GRUCell(units: 3) { recurrent_activation: "tanh", implementation: 1, reset_after: true }),
        row!(GaussianDropout(rate: 0.25) { seed: 3 }),
        row!(GaussianNoise(stddev: 0.25) { seed: 3 }),
        row!(GlobalAveragePooling1D() { data_format: cf, keepdims: true }),
        row!(GlobalAveragePooling2D() { data_format: cf, keepdims: true }),
        row!(GlobalAveragePooling3D() { data_format: cf, keepdims: true }),
        row!(GlobalMaxPooling1D() { data_format: cf, keepdims: true }),
        row!(GlobalMaxPooling2D() { data_format: cf, keepdims: true }),
        row!(GlobalMaxPooling3D() { data_format: cf, keepdims: true }),
        row!(Highway() {
            init: "ones",
            activation: "relu",
            w_regularizer: "l1",
            b_regularizer: "l2",
            activity_regularizer: "l1_l2",
            w_constraint: "non_neg",
            b_constraint: "unit_norm",
            bias: false,
            input_dim: 4,
        }),
        row!(Identity() {}),
        row!(cell LSTM(units: 3) {
            recurrent_activation: "tanh",
            unit_forget_bias: false,
            activity_regularizer: l3(),
            implementation: 1,
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
            unroll: true,
            zero_output_for_mask: true,
            time_major: true,
        }),
        row!(cell LSTMCell(units: 3) { recurrent_activation: "tanh", unit_forget_bias: false, implementation: 1 }),
        row!(LayerNormalization() {
            axes: [1, 2],
            epsilon: 0.25,
            center: false,
            scale: false,
            beta_initializer: "ones",
            gamma_initializer: "zeros",
            beta_regularizer: "l1",
            gamma_regularizer: "l2",
            beta_constraint: "non_neg",
            gamma_constraint: "unit_norm",
        }),
        row!(LeakyReLU() { alpha: 0.25 }),
        row!(affine LocallyConnected1D(filters: 4, kernel_size: [3]) {
            strides: [2], padding: "same", data_format: cf
        }),
        row!(affine LocallyConnected2D(filters: 4, kernel_size: (2, 3)) {
            strides: (4, 5), padding: "same", data_format: cf
        }),
        row!(Masking(mask_value: 0.25) {}),
        row!(MaxPooling1D(pool_size: [3]) { strides: [4], padding: "same", data_format: cf }),
        row!(MaxPooling2D(pool_size: (2, 3)) { strides: (4, 5), padding: "same", data_format: cf }),
        row!(MaxPooling3D(pool_size: (2, 3, 4)) { strides: (4, 5, 6), padding: "same", data_format: cf }),
        row!(Maximum() {}),
        row!(MaxoutDense(output_dim: 3) {
            nb_feature: 5,
            init: "ones",
            w_regularizer: "l1",
            b_regularizer: "l2",
            activity_regularizer: "l1_l2",
            w_constraint: "non_neg",
            b_constraint: "unit_norm",
            bias: false,
            input_dim: 4,
        }),
        row!(Minimum() {}),
        row!(MultiHeadAttention(num_heads: 2, key_dim: 3) {
            value_dim: 4,
            dropout: 0.25,
            use_bias: false,
            output_shape: [5, 6],
            attention_axes: [1, 2],
            kernel_initializer: "ones",
            bias_initializer: "he_normal",
            kernel_regularizer: "l1",
            bias_regularizer: "l2",
            activity_regularizer: "l1_l2",
            kernel_constraint: "non_neg",
            bias_constraint: "unit_norm",
        }),
        row!(Multiply() {}),
        Row {
            class: "Normalization",
            plain: LayerRef::new(Normalization::new()).unwrap(),
            built: with_base!(
                Normalization::new().axes([1]).statistics([0.25, 0.5], [2.0, 3.0]).invert(true)
            ),
            required: 0,
            arguments: vec![
                ("axis", json!(1)),
                ("mean", json!([0.25, 0.5])),
                ("variance", json!([2.0, 3.0])),
                ("invert", json!(true)),
            ],
        },
        row!(PReLU() {
            alpha_initializer: "ones",
            alpha_regularizer: "l1",
            alpha_constraint: "non_neg",
            shared_axes: [1, 2],
        }),
        row!(Permute(dims: [2, 1]) {}),
        row!(RNN(cell: cell() => json_of(cell())) {
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
            unroll: true,
            zero_output_for_mask: true,
            time_major: true,
            num_constants: 1,
        }),
        row!(ReLU() { max_value: 6.0, negative_slope: 0.25, threshold: 0.5 }),
        row!(RepeatVector(n: 3) {}),
        row!(Rescaling(scale: 0.25) { offset: 0.5 }),
        row!(Reshape(target_shape: [2, -1]) {}),
        row!(bias SeparableConv1D(filters: 4, kernel_size: [3]) {
            strides: [2],
            padding: "same",
            data_format: cf,
            dilation_rate: [3],
            depth_multiplier: 4,
            depthwise_initializer: "ones",
            pointwise_initializer: "he_uniform",
            depthwise_regularizer: "l2",
            pointwise_regularizer: l3(),
            depthwise_constraint: "unit_norm",
            pointwise_constraint: "max_norm",
        }),
        row!(bias SeparableConv2D(filters: 4, kernel_size: (2, 3)) {
            strides: (4, 5),
            padding: "same",
            data_format: cf,
            dilation_rate: (6, 7),
            depth_multiplier: 4,
            depthwise_initializer: "ones",
            pointwise_initializer: "he_uniform",
            depthwise_regularizer: "l2",
            pointwise_regularizer: l3(),
            depthwise_constraint: "unit_norm",
            pointwise_constraint: "max_norm",
        }),
        row!(cell SimpleRNN(units: 3) {
            activity_regularizer: l3(),
            return_sequences: true,
            return_state: true,
            go_backwards: true,
            stateful: true,
            unroll: true,
            zero_output_for_mask: true,
            time_major: true,
        }),
        row!(cell SimpleRNNCell(units: 3) {}),
        row!(Softmax() { axis: 1 }),
        row!(Softmax() { axes: [1, 2] }),
        row!(SpatialDropout1D(rate: 0.25) { data_format: cf, seed: 3 }),
        row!(SpatialDropout2D(rate: 0.25) { data_format: cf, seed: 3 }),
        row!(SpatialDropout3D(rate: 0.25) { data_format: cf, seed: 3 }),
        row!(StackedRNNCells(cells: [cell(), cell()] => json!([json_of(cell()), json_of(cell())])) {
            reverse_state_order: true,
        }),
        row!(Subtract() {}),
        row!(ThresholdedReLU() { theta: 0.25 }),
        row!(TimeDistributed(layer: inner() => json_of(inner())) {}),
        row!(UnitNormalization() { axes: [1, 2] }),
        row!(UnitNormalization() { axis: 1 }),
        row!(UpSampling1D(size: 3) {}),
        row!(UpSampling2D(size: (3, 4)) { data_format: cf, interpolation: "bilinear" }),
        row!(UpSampling3D(size: (3, 4, 5)) { data_format: cf }),
        row!(ZeroPadding1D(padding: (1, 2)) {}),
        row!(ZeroPadding2D(padding: ((1, 2), (3, 4))) { data_format: cf }),
        row!(ZeroPadding3D(padding: ((1, 2), (3, 4), (5, 6))) { data_format: cf }),
    ]
}

impl Row {
    /// The arguments by the keys of Keras's configs.
    fn config(&self) -> Map<String, Value> {
        let known = self.plain.config().config;
        let key = |name: &&str| match NAMES.iter().find(|(own, _)| own == name) {
            Some((_, keras)) if !known.contains_key(*name) => (*keras).to_owned(),
            _ => (*name).to_owned(),
        };
        self.arguments.iter().map(|(name, value)| (key(name), value.clone())).collect()
    }
}

/// Options without a setter, with the reason.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("ConvLSTM2D", "unroll", "Keras refuses to unroll it"),
    ("SpatialDropout1D", "noise_shape", "Keras writes the key and computes the shape"),
    ("SpatialDropout2D", "noise_shape", "Keras writes the key and computes the shape"),
    ("SpatialDropout3D", "noise_shape", "Keras writes the key and computes the shape"),
];

/// Each setter sets what Keras calls so, and no option of a class is without one.
#[test]
fn setters_make_what_configs_make() {
    let mut failures = Vec::new();
    for row in rows() {
        let mut config = row.config();
        for (key, value) in [
            ("name", json!("built")),
            ("trainable", json!(false)),
            ("dtype", json!("float64")),
            ("batch_input_shape", json!([7, 3, 4])),
        ] {
            config.insert(key.to_owned(), value);
        }
        let expected = deserialize(&Config { class_name: row.class.to_owned(), config });
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", row.class)).config();
        let (built, plain) = (row.built.config(), row.plain.config());
        if built != expected {
            failures.push(format!("{}:\n{:?} instead of\n{:?}", row.class, built.config, expected.config));
        }
        let required: Vec<&str> = row.arguments.iter().take(row.required).map(|(name, _)| *name).collect();
        for (key, value) in &built.config {
            let set = required.contains(&key.as_str())
                || DEFAULTS.iter().any(|(class, option, _)| *class == row.class && option == key);
            if !set && plain.config.get(key) == Some(value) {
                failures.push(format!("{}: {key} has its default", row.class));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Classes without a row above, with the reason.
const WITHOUT: [(&str, &str); 1] = [("Lambda", "its function is no JSON: see `setters_of_lambda`")];

#[test]
fn every_class_has_a_row_of_setters() {
    let rows = rows();
    let missing: Vec<String> = classes()
        .into_iter()
        .filter(|class| {
            !rows.iter().any(|row| row.class == class) && !WITHOUT.iter().any(|(other, _)| other == class)
        })
        .collect();
    assert!(missing.is_empty(), "no row of {missing:?}");
}

/// Constructors of Keras 2.3.1 that no class of ours has, with the reason.
const FOREIGN: [(&str, &str); 7] = [
    ("Layer", "the base class: `layer_verbs!`"),
    ("InputSpec", "no layer: `Spec`"),
    ("Node", "no layer: `LayerNode`"),
    ("Wrapper", "an abstract class"),
    ("InputLayer", "`Input`, whose result is a tensor"),
    ("ConvRNN2D", "Keras 2.3.1 does not export it: `RNN` takes cells of images"),
    ("Lambda", "its function is no JSON: see `setters_of_lambda`"),
];

/// Arguments of Keras 2.3.1 that have no setter in the row of their class, with the reason.
const UNSET: [(&str, &str); 1] = [("weights", "a setter of every layer: `layer_verbs!`")];

#[test]
fn every_argument_of_keras_has_a_setter() {
    let mut arguments: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for row in rows() {
        arguments.entry(row.class).or_default().extend(row.config());
    }
    let text = include_str!("../../fixtures/ctor_2_3_1.txt");
    let (mut missing, mut found) = (Vec::new(), 0);
    for line in text.lines() {
        let (head, rest) = line.split_once(" ( ").unwrap();
        let class = head.rsplit(' ').next().unwrap();
        if class.starts_with('_') || FOREIGN.iter().any(|(foreign, _)| *foreign == class) {
            continue;
        }
        let own = arguments.get(class).unwrap_or_else(|| panic!("no row of {class}"));
        // The names in front of a default, and those without one.
        let names = rest.trim_end_matches(" )").split(", ").map(|part| part.split('=').next().unwrap());
        for name in names.filter(|name| name.starts_with(char::is_alphabetic)) {
            found += 1;
            if !own.contains_key(name) && !UNSET.iter().any(|(unset, _)| *unset == name) {
                missing.push(format!("{class}.{name}"));
            }
        }
    }
    assert!(found > 400, "{found} arguments");
    assert!(missing.is_empty(), "no setter of {missing:?}");
}

#[test]
fn setters_of_lambda() {
    let same = |x: &[Tensor]| x.to_vec();
    let built = Lambda::new("same", same).argument("by", 2).output_shape([3, 4]).name("built");
    let config = LayerRef::new(built).unwrap().config();
    let expected = json!({
        "name": "built", "trainable": true, "dtype": "float32", "function": "same", "function_type": "function",
        "output_shape": [3, 4], "output_shape_type": "raw", "arguments": {"by": 2},
    });
    assert_eq!(json!(config.config), expected);
}

/// Setters with other forms of values, and the configs of Keras.
#[test]
fn setters_write_keras_s_configs() {
    let built: Vec<(&str, LayerRef)> = vec![
        ("dense_relu", LayerRef::new(Dense::new(4).activation("relu").name("dense_1")).unwrap()),
        ("dense_no_bias", LayerRef::new(Dense::new(3).use_bias(false).name("dense_1")).unwrap()),
        (
            "dense_l1_l2",
            LayerRef::new(Dense::new(3).kernel_regularizer(l1_l2(0.01, 0.02)).name("dense_1")).unwrap(),
        ),
        ("activation_tanh", LayerRef::new(Activation::new(activations::Tanh).name("activation_1")).unwrap()),
        (
            "dropout_noise_shape",
            LayerRef::new(Dropout::new(0.4).noise_shape([None, Some(1), Some(3)]).name("dropout_1")).unwrap(),
        ),
        (
            "flatten_channels_first",
            LayerRef::new(Flatten::new().data_format(DataFormat::ChannelsFirst).name("flatten_1")).unwrap(),
        ),
        ("reshape_minus_one", LayerRef::new(Reshape::new([-1, 2, 2]).name("reshape_1")).unwrap()),
        ("permute_3d", LayerRef::new(Permute::new([3, 1, 2]).name("permute_1")).unwrap()),
        ("repeat_vector", LayerRef::new(RepeatVector::new(3).name("repeat_vector_1")).unwrap()),
        (
            "activity_regularization",
            LayerRef::new(ActivityRegularization::new(0.02, 0.03).name("activity_regularization_1")).unwrap(),
        ),
        ("masking_value", LayerRef::new(Masking::new(0.5).name("masking_1")).unwrap()),
        (
            "batch_normalization_2d_momentum",
            LayerRef::new(
                BatchNormalization::new().momentum(0.6).epsilon(1e-2).name("batch_normalization_1"),
            )
            .unwrap(),
        ),
        ("conv1d_causal", LayerRef::new(Conv1D::new(3, 3).padding("causal").name("conv1d_1")).unwrap()),
        (
            "conv2d_strides_2_3",
            LayerRef::new(Conv2D::new(3, 3).strides((2, 3)).padding(Padding::Same).name("conv2d_1")).unwrap(),
        ),
        (
            "conv2d_cf_same_dilation",
            LayerRef::new(
                Conv2D::new(3, [3, 3])
                    .padding("same")
                    .dilation_rate((2, 3))
                    .data_format("channels_first")
                    .name("conv2d_1"),
            )
            .unwrap(),
        ),
        (
            "max_pooling2d_k23_s12",
            LayerRef::new(MaxPooling2D::new((2, 3)).strides((1, 2)).name("max_pooling2d_1")).unwrap(),
        ),
        (
            "max_pooling1d_k3_s2_same",
            LayerRef::new(MaxPooling1D::new(3).strides(2).padding("same").name("max_pooling1d_1")).unwrap(),
        ),
        (
            "zero_padding2d_uneven",
            LayerRef::new(ZeroPadding2D::new(((1, 2), (3, 0))).name("zero_padding2d_1")).unwrap(),
        ),
        (
            "zero_padding1d_uneven",
            LayerRef::new(ZeroPadding1D::new((1, 3)).name("zero_padding1d_1")).unwrap(),
        ),
        ("concatenate_axis1", LayerRef::new(Concatenate::new().axis(1).name("concatenate_1")).unwrap()),
        (
            "embedding_input_length",
            LayerRef::new(Embedding::new(7, 3).input_length(5).name("embedding_1")).unwrap(),
        ),
    ];
    for (name, layer) in built {
        let case = cases().find(|case| case.name() == name).unwrap();
        assert_eq!(layer.config().to_value().to_string(), case.config().to_value().to_string(), "{name}");
    }
}
