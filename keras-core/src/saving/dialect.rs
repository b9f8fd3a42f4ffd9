//! [`Dialect`]: whose files are written, and what each of them cannot say.

use super::config::KERAS_VERSION;
use super::tf_keras;
use super::version::Writer;
use crate::error::{Error, Result};
use crate::models::{Model, is_nested};
use crate::semantics::{BilinearGrid, Semantics};
use serde_json::{Value, json};

/// Whose files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// What Keras 2.3.1 writes, and tf.keras reads, too.
    #[default]
    Keras2,
    /// What tf.keras 2.15 writes.
    TfKeras,
}

impl Dialect {
    /// The one for a model: tf.keras's if the model computes by its rules, or holds what only tf.keras has.
    pub(super) fn of(model: &Model, config: &Value) -> Self {
        let semantics = model.semantics();
        let later = semantics.is_tf_keras() || semantics == Semantics::keras_3();
        let cannot = |writer| unsaid(config, writer, semantics).is_some();
        if later || cannot(Writer::Keras23) && !cannot(Writer::TfKeras) {
            Self::TfKeras
        } else {
            Self::Keras2
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Keras2 => KERAS_VERSION,
            Self::TfKeras => tf_keras::VERSION,
        }
    }

    pub(super) fn writer(self) -> Writer {
        match self {
            Self::Keras2 => Writer::Keras23,
            Self::TfKeras => Writer::TfKeras,
        }
    }

    /// The rules that a reader takes for granted.
    pub(super) fn semantics(self) -> Semantics {
        self.writer().semantics()
    }
}

/// Layers that Keras 2.3.1 does not have.
const NOT_IN_KERAS_2: &[&str] = &[
    "AdditiveAttention",
    "Attention",
    "Conv1DTranspose",
    "DepthwiseConv1D",
    "Identity",
    "LayerNormalization",
    "MultiHeadAttention",
    "Normalization",
    "Rescaling",
    "SlicingOpLambda",
    "TFOpLambda",
    "UnitNormalization",
];
/// Arguments that it does not have; they stand in a config where they are not the default.
const KEYS_NOT_IN_KERAS_2: &[&str] = &["groups", "keepdims", "time_major", "zero_output_for_mask"];
/// Activations that it does not have.
const ACTIVATIONS_NOT_IN_KERAS_2: &[&str] = &["gelu", "mish", "swish"];
/// Layers that tf.keras 2.15 does not have.
const NOT_IN_TF_KERAS: &[&str] = &["ConvLSTM2DCell", "CuDNNGRU", "CuDNNLSTM", "Highway", "MaxoutDense"];
/// Keras 2 writes no tensors among arguments; in Keras 3 the results of such a call have no mask.
const GIVEN: &str = "a mask that a call is given";

/// Layers that Keras 3 does not have either.
const NOT_IN_KERAS_3: &[&str] =
    &["LocallyConnected1D", "LocallyConnected2D", "SlicingOpLambda", "TFOpLambda", "ThresholdedReLU"];

/// An error if a writer's files cannot say what a model's config says.
pub(super) fn check(config: &Value, writer: Writer, semantics: Semantics) -> Result<()> {
    let Some((layer, thing)) = unsaid(config, writer, semantics) else { return Ok(()) };
    let name = writer.title();
    let others = match writer {
        Writer::TfKeras => [Writer::Keras23, Writer::Keras3],
        Writer::Keras3 => [Writer::Keras23, Writer::TfKeras],
        _ => [Writer::TfKeras, Writer::Keras3],
    };
    let error =
        Error::value(format!("layer {layer:?} in a file of {name}"), format!("what {name} has"), thing);
    let other = others.into_iter().find(|writer| unsaid(config, *writer, semantics).is_none());
    Err(match other {
        Some(Writer::TfKeras) => {
            error.advice("tf.keras has it: save with Dialect::TfKeras (--dialect tfkeras)")
        }
        Some(Writer::Keras3) => error.advice("Keras 3 has it: give the file a name that ends with .keras"),
        Some(_) => error.advice("Keras 2 has it: save to .h5 with Dialect::Keras2 (--dialect keras2)"),
        None => {
            error.advice("no dialect has all that this model holds: save its weights, and build it in code")
        }
    })
}

/// The first layer that a writer's files cannot say, and what of it.
fn unsaid(value: &Value, writer: Writer, semantics: Semantics) -> Option<(String, String)> {
    let inside = |value: &Value| unsaid(value, writer, semantics);
    match value {
        Value::Array(items) => items.iter().find_map(inside),
        Value::Object(fields) => {
            let class = fields.get("class_name").and_then(Value::as_str);
            let config = fields.get("config").filter(|config| config.get("name").is_some());
            let own = class.zip(config).and_then(|(class, config)| {
                let thing = unsaid_of(class, config, writer, semantics)?;
                Some((config.get("name")?.as_str()?.to_owned(), thing))
            });
            let given =
                fields.get("inbound_nodes").filter(|nodes| writer != Writer::TfKeras && gives_mask(nodes));
            let given =
                given.and_then(|_| Some((fields.get("name")?.as_str()?.to_owned(), GIVEN.to_owned())));
            own.or(given).or_else(|| fields.values().find_map(inside))
        }
        _ => None,
    }
}

/// Whether a call is given masks as an argument.
fn gives_mask(nodes: &Value) -> bool {
    match nodes {
        Value::Array(parts) if parts.first().is_some_and(Value::is_string) => {
            parts.get(3).is_some_and(|arguments| arguments.get("mask").is_some())
        }
        Value::Array(items) => items.iter().any(gives_mask),
        Value::Object(fields) => fields.values().any(gives_mask),
        _ => false,
    }
}

fn unsaid_of(class: &str, config: &Value, writer: Writer, semantics: Semantics) -> Option<String> {
    let nested = |key: &str| config.get(key).is_some_and(is_nested);
    if writer == Writer::Keras23 && (nested("input_layers") || nested("output_layers")) {
        return Some("inputs or outputs in a dictionary or in lists inside each other".to_owned());
    }
    let missing: &[&[&str]] = match writer {
        Writer::TfKeras => &[NOT_IN_TF_KERAS],
        Writer::Keras3 => &[NOT_IN_TF_KERAS, NOT_IN_KERAS_3],
        _ => &[NOT_IN_KERAS_2],
    };
    if missing.iter().any(|classes| classes.contains(&class)) {
        return Some(class.to_owned());
    }
    let said = |key: &str| config.get(key).filter(|value| !value.is_null() && **value != json!(false));
    if writer == Writer::Keras23 {
        if let Some(key) = KEYS_NOT_IN_KERAS_2.iter().find(|key| said(key).is_some()) {
            return Some(format!("{key}={} of {class}", config[*key]));
        }
        if matches!(class, "GaussianNoise" | "GaussianDropout") && said("seed").is_some() {
            return Some(format!("seed={} of {class}", config["seed"]));
        }
        if class == "Softmax" && config["axis"].is_array() {
            return Some(format!("axis={} of {class}", config["axis"]));
        }
        let draws = |value: &Value| value["config"]["distribution"] == json!("untruncated_normal");
        if config.as_object().is_some_and(|config| config.values().any(draws)) {
            return Some(format!("the distribution \"untruncated_normal\" of an initializer of {class}"));
        }
        for key in ["activation", "recurrent_activation"] {
            let name = config[key].as_str().unwrap_or_default();
            if ACTIVATIONS_NOT_IN_KERAS_2.contains(&name) {
                return Some(format!("the activation {name} of {class}"));
            }
        }
    } else if writer == Writer::Keras3 && said("time_major").is_some() {
        return Some(format!("time_major of {class}"));
    } else if writer == Writer::Keras3
        && class == "Bidirectional"
        && config["layer"]["config"]["go_backwards"] == json!(true)
    {
        return Some("Bidirectional around a layer that goes backwards".to_owned());
    }
    let grid = semantics.bilinear_grid;
    if config["interpolation"] == json!("bilinear") && grid != writer.semantics().bilinear_grid {
        let grid = match grid {
            BilinearGrid::Corners => "the corners of cells",
            BilinearGrid::HalfPixel => "the middle of cells",
        };
        return Some(format!("bilinear interpolation between {grid}"));
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn said(class: &str, arguments: Value, writer: Writer) -> Option<String> {
        let mut config = arguments;
        config["name"] = json!("the_layer");
        // Within a wrapper within a model.
        let layer = json!({"class_name": "TimeDistributed", "config": {"name": "outer", "layer": {"class_name": class, "config": config}}});
        let model = json!({"class_name": "Sequential", "config": {"name": "model", "layers": [layer]}});
        check(&model, writer, Semantics::keras_2_3()).err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_dialect_lacks_names_the_layer_and_the_other_dialect() {
        let none = || json!({});
        let cases: Vec<(&str, Value, Writer, &str, &str)> = [
            NOT_IN_KERAS_2
                .iter()
                .map(|class| (*class, none(), Writer::Keras23, *class, "Dialect::TfKeras"))
                .collect::<Vec<_>>(),
            NOT_IN_TF_KERAS
                .iter()
                .map(|class| (*class, none(), Writer::TfKeras, *class, "Dialect::Keras2"))
                .collect(),
            NOT_IN_TF_KERAS
                .iter()
                .map(|class| (*class, none(), Writer::Keras3, *class, "Dialect::Keras2"))
                .collect(),
            vec![
                ("LocallyConnected1D", none(), Writer::Keras3, "LocallyConnected1D", "Dialect::Keras2"),
                ("TFOpLambda", none(), Writer::Keras3, "TFOpLambda", "Dialect::TfKeras"),
                ("Conv2D", json!({"groups": 2}), Writer::Keras23, "groups=2", "Dialect::TfKeras"),
                (
                    "GlobalMaxPooling2D",
                    json!({"keepdims": true}),
                    Writer::Keras23,
                    "keepdims=true",
                    "Dialect::TfKeras",
                ),
                ("LSTM", json!({"time_major": true}), Writer::Keras23, "time_major=true", "Dialect::TfKeras"),
                ("LSTM", json!({"time_major": true}), Writer::Keras3, "time_major", "Dialect::TfKeras"),
                (
                    "GRU",
                    json!({"zero_output_for_mask": true}),
                    Writer::Keras23,
                    "zero_output_for_mask",
                    "Dialect::TfKeras",
                ),
                ("GaussianNoise", json!({"seed": 3}), Writer::Keras23, "seed=3", "Dialect::TfKeras"),
                ("Softmax", json!({"axis": [1, 2]}), Writer::Keras23, "axis=[1,2]", "Dialect::TfKeras"),
                ("Dense", json!({"activation": "gelu"}), Writer::Keras23, "gelu", "Dialect::TfKeras"),
                (
                    "Bidirectional",
                    json!({"layer": {"class_name": "LSTM", "config": {"go_backwards": true}}}),
                    Writer::Keras3,
                    "goes backwards",
                    "Dialect::Keras2",
                ),
                (
                    "Dense",
                    json!({"kernel_initializer": {"class_name": "VarianceScaling", "config": {"distribution": "untruncated_normal"}}}),
                    Writer::Keras23,
                    "untruncated_normal",
                    "Dialect::TfKeras",
                ),
                (
                    "LSTM",
                    json!({"recurrent_activation": "swish"}),
                    Writer::Keras23,
                    "swish",
                    "Dialect::TfKeras",
                ),
                (
                    "UpSampling2D",
                    json!({"interpolation": "bilinear"}),
                    Writer::TfKeras,
                    "corners",
                    "Dialect::Keras2",
                ),
                (
                    "UpSampling2D",
                    json!({"interpolation": "bilinear"}),
                    Writer::Keras3,
                    "corners",
                    "Dialect::Keras2",
                ),
            ],
        ]
        .concat();
        for (class, arguments, writer, thing, other) in cases {
            let error = said(class, arguments, writer).unwrap_or_else(|| panic!("{class} passed"));
            assert!(
                error.contains("\"the_layer\"") && error.contains(thing) && error.contains(other),
                "{error}"
            );
        }
        for (class, arguments) in [
            ("Conv2D", json!({"activation": "relu"})),
            ("Dropout", json!({"seed": 3})),
            ("UpSampling2D", json!({"interpolation": "bilinear"})),
            ("LSTM", json!({"time_major": false})),
            ("SomethingOfMine", json!({"axis": [1, 2]})),
        ] {
            assert_eq!(said(class, arguments, Writer::Keras23), None);
        }
        let both = json!([
            {"class_name": "Highway", "config": {"name": "a"}},
            {"class_name": "LayerNormalization", "config": {"name": "b"}},
        ]);
        let error = check(&both, Writer::Keras23, Semantics::keras_2_3()).unwrap_err().to_string();
        assert!(error.contains("no dialect"), "{error}");
    }
}
