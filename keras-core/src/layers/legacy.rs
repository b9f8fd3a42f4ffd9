//! Layer configs of other versions (Keras 1, tf.keras, Keras 3) in the terms of Keras 2.3.

use crate::error::{Error, Result};
use crate::registry::{Config, warn_once};
use serde_json::{Map, Value, json};

/// The config as Keras 2.3 would write it. What says the same under another name is renamed; what exists only
/// elsewhere is dropped where it says that nothing is different. The rest stays, and is refused by whoever reads it.
pub(super) fn modern(config: &Config) -> Result<Config> {
    let mut config = modern_base(config);
    let class = &mut config.class_name;
    let keys = &mut config.config;
    for (key, value) in keys.iter_mut() {
        plain(value);
        // The name that Keras 3 has for it.
        if key.ends_with("activation") && *value == json!("silu") {
            *value = json!("swish");
        }
    }
    if class == "LeakyReLU"
        && let Some(slope) = keys.shift_remove("negative_slope")
    {
        keys.entry("alpha").or_insert(slope);
    }
    if class == "Bidirectional"
        && let Some(backward) = keys.get("backward_layer")
    {
        if keys.get("layer").is_some_and(|forward| mirrored(forward) == unnamed(backward)) {
            keys.shift_remove("backward_layer");
        } else {
            return Err(unknown(class, "backward_layer", "the layer itself, the other way round", backward));
        }
    }
    // Their arguments kept the names of Keras 1.
    if !matches!(class.as_str(), "MaxoutDense" | "Highway" | "Lambda") {
        of_keras_1(class, keys)?;
    }
    // Keras 1 and the first versions of Keras 2 said the type of the indices there.
    if class == "Embedding" && keys.get("dtype").is_some_and(is_integer) {
        keys.shift_remove("dtype");
    }
    keys.retain(|key, value| !inert(key, value));
    Ok(config)
}

/// The same of the arguments that every layer has, a user's own too.
pub(super) fn modern_base(config: &Config) -> Config {
    let mut config = config.clone();
    let keys = &mut config.config;
    if let Some(dtype) = keys.get_mut("dtype") {
        plain(dtype);
    }
    if let Some(shape) = keys.shift_remove("batch_shape") {
        keys.insert("batch_input_shape".into(), shape);
    }
    config
}

/// What a wrapped layer says of how it computes: neither names nor the marks of Keras 3.
fn unnamed(layer: &Value) -> Value {
    match layer {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "name" | "shared_object_id" | "build_config"))
            .map(|(key, value)| (key.clone(), unnamed(value)))
            .collect(),
        Value::Array(items) => items.iter().map(unnamed).collect(),
        plain => plain.clone(),
    }
}

/// The same of a layer that runs the other way.
fn mirrored(layer: &Value) -> Value {
    let mut layer = unnamed(layer);
    if let Some(backwards) = layer.pointer_mut("/config/go_backwards") {
        *backwards = json!(*backwards != json!(true));
    }
    layer
}

/// Objects that only later versions write, as what they stand for: policies, tuples, functions.
fn plain(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    if let Some(Value::Object(arguments)) = fields.get_mut("config") {
        // Of initializers in Keras 3: how they count fans, where it is not the usual way.
        arguments
            .retain(|key, value| !(value.is_null() && matches!(key.as_str(), "input_axes" | "output_axes")));
    }
    let class = fields.get("class_name").and_then(Value::as_str).unwrap_or_default();
    let simpler = match (class, fields.get("config")) {
        ("Policy" | "DTypePolicy", Some(config)) => config.get("name").cloned(),
        ("function", Some(name @ Value::String(_))) => Some(name.clone()),
        ("__tuple__", _) => fields.get("items").cloned(),
        _ => of_keras_1_object(fields),
    };
    if let Some(simpler) = simpler {
        *value = simpler;
    }
}

/// A regularizer or constraint of Keras 1: `{"name": "WeightRegularizer", "l1": 0, "l2": 0.01}`.
fn of_keras_1_object(fields: &Map<String, Value>) -> Option<Value> {
    if fields.contains_key("class_name") {
        return None;
    }
    let name = fields.get("name")?.as_str()?;
    let mut arguments = fields.clone();
    arguments.shift_remove("name");
    if let Some(maximum) = arguments.shift_remove("m") {
        arguments.insert("max_value".into(), maximum);
    }
    let class = match name {
        "WeightRegularizer" | "ActivityRegularizer" | "L1L2Regularizer" => "L1L2",
        other => other,
    };
    Some(json!({"class_name": class, "config": arguments}))
}

/// Whether an argument of tf.keras or Keras 3 says what Keras 2 does anyway.
fn inert(key: &str, value: &Value) -> bool {
    match key {
        // How something is computed, not what.
        "fused"
        | "use_cudnn"
        | "autocast"
        | "experimental_run_tf_function"
        | "build_config"
        | "input_dtype" => true,
        // Of the random numbers of dropout: they are the model's here.
        "seed" if value.is_null() => true,
        "groups" => *value == json!(1),
        "ragged"
        | "time_major"
        | "zero_output_for_mask"
        | "dynamic"
        | "synchronized"
        | "renorm"
        | "keepdims"
        | "optional"
        | "rms_scaling"
        | "use_gate" => *value == json!(false),
        "virtual_batch_size"
        | "renorm_clipping"
        | "adjustment"
        | "lora_rank"
        | "quantization_config"
        | "activity_regularizer_config"
        | "inverse"
        | "flash_attention"
        | "sliding_window" => value.is_null(),
        // Of `renorm`, which is refused where it is on.
        "renorm_momentum" => true,
        _ => false,
    }
}

const COMMON: &[(&str, &str)] = &[
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("atrous_rate", "dilation_rate"),
    ("W_regularizer", "kernel_regularizer"),
    ("U_regularizer", "recurrent_regularizer"),
    ("b_regularizer", "bias_regularizer"),
    ("W_constraint", "kernel_constraint"),
    ("U_constraint", "recurrent_constraint"),
    ("b_constraint", "bias_constraint"),
    ("inner_init", "recurrent_initializer"),
    ("inner_activation", "recurrent_activation"),
    ("dropout_W", "dropout"),
    ("dropout_U", "recurrent_dropout"),
    ("nb_filter", "filters"),
    ("filter_length", "kernel_size"),
    ("subsample_length", "strides"),
    ("pool_length", "pool_size"),
    ("beta_init", "beta_initializer"),
    ("gamma_init", "gamma_initializer"),
    ("bias", "use_bias"),
    ("init", "kernel_initializer"),
];

/// The new name of an argument that means something else in other classes.
fn renamed(class: &str, key: &str) -> Option<&'static str> {
    Some(match (class, key) {
        ("Embedding", "init") => "embeddings_initializer",
        ("Embedding", "W_regularizer") => "embeddings_regularizer",
        ("Embedding", "W_constraint") => "embeddings_constraint",
        ("PReLU", "init") => "alpha_initializer",
        ("Embedding", _) => return common(key),
        (_, "output_dim") => "units",
        ("GaussianNoise", "sigma") => "stddev",
        (_, "p") if class.contains("Dropout") => "rate",
        ("UpSampling1D", "length") => "size",
        ("MaxPooling1D" | "AveragePooling1D", "stride") => "strides",
        _ => return common(key),
    })
}

fn common(key: &str) -> Option<&'static str> {
    COMMON.iter().find(|(old, _)| *old == key).map(|(_, new)| *new)
}

fn of_keras_1(class: &mut String, keys: &mut Map<String, Value>) -> Result<()> {
    if class == "Merge" {
        return merge(class, keys);
    }
    if class == "TimeDistributedDense" {
        return time_distributed_dense(class, keys);
    }
    if let Some(new) = class_of_keras_2(class) {
        new.clone_into(class);
    }
    let old: Vec<String> = keys.keys().filter(|key| renamed(class, key).is_some()).cloned().collect();
    for key in old {
        if let (Some(new), Some(value)) = (renamed(class, &key), keys.shift_remove(&key)) {
            keys.entry(new).or_insert(value);
        }
    }
    if let Some(dtype) = keys.shift_remove("input_dtype") {
        keys.entry("dtype").or_insert(dtype);
    }
    for sizes in [&["nb_row", "nb_col"][..], &["kernel_dim1", "kernel_dim2", "kernel_dim3"][..]] {
        if sizes.iter().all(|size| keys.contains_key(*size)) {
            let lens: Vec<Value> = sizes.iter().filter_map(|size| keys.shift_remove(*size)).collect();
            keys.insert("kernel_size".into(), lens.into());
        }
    }
    if let Some(order) = keys.shift_remove("dim_ordering") {
        let format = match order.as_str() {
            Some("th") => json!("channels_first"),
            Some("tf") => json!("channels_last"),
            _ => Value::Null,
        };
        keys.insert("data_format".into(), format);
    }
    if let Some(place) = keys.shift_remove("consume_less") {
        keys.entry("implementation").or_insert_with(|| match place.as_str() {
            Some("cpu") => json!(0),
            Some("gpu") => json!(2),
            _ => json!(1),
        });
    }
    if let Some(first) = keys.shift_remove("forget_bias_init") {
        let name = first.as_str().map(str::to_owned).unwrap_or_default();
        if !matches!(name.as_str(), "one" | "zero" | "ones" | "zeros") {
            return Err(unknown(class, "forget_bias_init", "one or zero", &first));
        }
        keys.insert("unit_forget_bias".into(), json!(name.starts_with("one")));
    }
    if let Some(mode) =
        keys.shift_remove("mode").filter(|mode| class == "BatchNormalization" && *mode != json!(0))
    {
        return Err(unknown(class, "mode", "0, the only one that Keras 2 has", &mode));
    }
    if class == "ZeroPadding2D"
        && let Some([top, bottom, left, right]) =
            keys.get("padding").and_then(Value::as_array).map(Vec::as_slice)
    {
        let pads = json!([[top, bottom], [left, right]]);
        keys.insert("padding".into(), pads);
    }
    // Keras 2 leaves both out as well, with a warning.
    if class == "Conv2DTranspose"
        && let Some(shape) = keys.shift_remove("output_shape")
        && keys.get("strides").is_some_and(|strides| *strides != json!([1, 1]))
    {
        warn_once(&format!(
            "{class} config: output_shape {shape} of Keras 1 is not read; the lengths follow from kernel_size, strides and \
             padding, and output_padding makes them longer"
        ));
    }
    if class == "Embedding" {
        if let Some(rate) = keys.shift_remove("dropout").filter(|rate| rate.as_f64() != Some(0.0)) {
            warn_once(&format!(
                "Embedding config: dropout {rate} of Keras 1 is not read and changes training; a SpatialDropout1D after the \
                 layer does what Keras 2 has instead"
            ));
        }
    } else {
        // What batch_input_shape says as well.
        keys.retain(|key, _| key != "input_dim" && key != "input_length");
    }
    Ok(())
}

/// Whether an element type is one that weights cannot have.
fn is_integer(dtype: &Value) -> bool {
    dtype.as_str().is_some_and(|name| !name.contains("float"))
}

fn class_of_keras_2(class: &str) -> Option<&'static str> {
    Some(match class {
        "Convolution1D" | "AtrousConvolution1D" => "Conv1D",
        "Convolution2D" | "AtrousConvolution2D" => "Conv2D",
        "Convolution3D" => "Conv3D",
        "Deconvolution2D" | "Convolution2DTranspose" => "Conv2DTranspose",
        "Deconvolution3D" | "Convolution3DTranspose" => "Conv3DTranspose",
        "SeparableConvolution1D" => "SeparableConv1D",
        "SeparableConvolution2D" => "SeparableConv2D",
        _ => return None,
    })
}

/// The one merge layer of Keras 1, as the layer of its mode.
fn merge(class: &mut String, keys: &mut Map<String, Value>) -> Result<()> {
    let mode = keys.shift_remove("mode").unwrap_or_else(|| json!("sum"));
    let axis = keys.shift_remove("concat_axis").unwrap_or_else(|| json!(-1));
    let dot = keys.shift_remove("dot_axes").unwrap_or_else(|| json!(-1));
    let name = match mode.as_str() {
        Some("sum") => "Add",
        Some("mul") => "Multiply",
        Some("ave") => "Average",
        Some("max") => "Maximum",
        Some("concat") => "Concatenate",
        Some("dot" | "cos") => "Dot",
        _ => {
            return Err(unknown("Merge", "mode", "sum, mul, ave, max, concat, dot or cos", &mode)
                .advice("a function cannot be read from a file: build the model in code"));
        }
    };
    if name == "Concatenate" {
        keys.insert("axis".into(), axis);
    } else if name == "Dot" {
        keys.insert("axes".into(), dot);
        keys.insert("normalize".into(), json!(mode == "cos"));
    }
    keys.retain(|key, _| {
        !matches!(
            key.as_str(),
            "mode_type"
                | "output_shape"
                | "output_shape_type"
                | "output_mask"
                | "output_mask_type"
                | "arguments"
        )
    });
    name.clone_into(class);
    Ok(())
}

fn time_distributed_dense(class: &mut String, keys: &mut Map<String, Value>) -> Result<()> {
    let mut outer = Map::new();
    for key in ["name", "trainable", "batch_input_shape", "input_dtype"] {
        if let Some(value) = keys.shift_remove(key) {
            outer.insert(key.into(), value);
        }
    }
    let mut inner = "Dense".to_owned();
    of_keras_1(&mut inner, keys)?;
    outer.insert("layer".into(), json!({"class_name": inner, "config": keys}));
    "TimeDistributed".clone_into(class);
    *keys = outer;
    Ok(())
}

fn unknown(class: &str, key: &str, expected: &str, received: &Value) -> Error {
    Error::value(format!("{class} config, key {key:?}"), expected, received.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::output::captured;

    fn read(class: &str, config: Value) -> (String, Value) {
        let Value::Object(config) = config else { panic!() };
        let made = modern(&Config { class_name: class.into(), config }).unwrap();
        (made.class_name, Value::Object(made.config))
    }

    #[test]
    fn arguments_of_keras_1_get_their_new_names() {
        let (class, config) = read(
            "Convolution2D",
            json!({"name": "c", "input_dtype": "float32", "nb_filter": 2, "nb_row": 3, "nb_col": 4, "init": "glorot_uniform",
                "border_mode": "same", "subsample": [1, 2], "dim_ordering": "th", "bias": true,
                "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5}}),
        );
        assert_eq!(class, "Conv2D");
        assert_eq!(
            config,
            json!({"name": "c", "filters": 2, "kernel_initializer": "glorot_uniform", "padding": "same", "strides": [1, 2],
                "use_bias": true, "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}},
                "dtype": "float32", "kernel_size": [3, 4], "data_format": "channels_first"})
        );
        let (_, config) = read(
            "LSTM",
            json!({"output_dim": 3, "inner_init": "orthogonal", "forget_bias_init": "one",
            "consume_less": "gpu", "dropout_W": 0.5, "input_dim": 7, "input_length": null}),
        );
        assert_eq!(
            config,
            json!({"units": 3, "recurrent_initializer": "orthogonal", "dropout": 0.5, "implementation": 2, "unit_forget_bias": true})
        );
        let (_, config) =
            read("Embedding", json!({"input_dim": 5, "output_dim": 3, "init": "uniform", "dropout": 0.0}));
        assert_eq!(config, json!({"input_dim": 5, "output_dim": 3, "embeddings_initializer": "uniform"}));
        for key in ["input_dtype", "dtype"] {
            let (_, config) = read("Embedding", json!({"input_dim": 5, "output_dim": 3, key: "int32"}));
            assert_eq!(config, json!({"input_dim": 5, "output_dim": 3}));
        }
        assert_eq!(read("InputLayer", json!({"input_dtype": "int32"})).1, json!({"dtype": "int32"}));
        let ((_, config), said) = captured(|| read("Embedding", json!({"input_dim": 5, "dropout": 0.25})));
        assert_eq!(config, json!({"input_dim": 5}));
        assert!(said.contains("dropout 0.25 of Keras 1 is not read"), "{said}");
        let deconvolution = |stride: usize| {
            let config = json!({"nb_filter": 2, "nb_row": 3, "nb_col": 3, "subsample": [stride, stride], "output_shape": [null, 7, 7, 2]});
            captured(|| read("Deconvolution2D", config)).1
        };
        assert_eq!(deconvolution(1), "");
        assert!(deconvolution(2).contains("output_shape [null,7,7,2] of Keras 1 is not read"));
        assert_eq!(
            read("Merge", json!({"mode": "concat", "concat_axis": 1, "dot_axes": -1})).0,
            "Concatenate"
        );
        assert_eq!(
            read("TimeDistributedDense", json!({"name": "t", "output_dim": 3})),
            (
                "TimeDistributed".into(),
                json!({"name": "t", "layer": {"class_name": "Dense", "config": {"units": 3}}})
            )
        );
        let mode = Config::new("BatchNormalization").with("mode", 1);
        assert!(modern(&mode).unwrap_err().to_string().contains("mode"));
    }

    #[test]
    fn arguments_of_later_versions_pass_where_they_change_nothing() {
        let (_, config) = read(
            "Conv2D",
            json!({"groups": 1, "ragged": false, "dtype": {"class_name": "Policy",
            "config": {"name": "float32"}}, "activation": {"class_name": "function", "config": "relu"}}),
        );
        assert_eq!(config, json!({"dtype": "float32", "activation": "relu"}));
        let (_, config) = read("Conv2D", json!({"groups": 2}));
        assert_eq!(config, json!({"groups": 2}));
    }
}
