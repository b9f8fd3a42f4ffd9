//! [`Writer`]: which Keras wrote a file.

use crate::output::Output;
use crate::semantics::{
    BilinearGrid, CrossentropyLogits, FrozenBatchNormalization, MaskedBidirectional, Semantics,
};
use serde_json::{Value, json};

/// The packages whose files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Keras 1.0 to 1.2.
    Keras1,
    /// Keras 2.0 to 2.2.
    Keras22,
    /// Keras 2.3.
    Keras23,
    /// tf.keras of TensorFlow 1 up to 1.12.
    FirstTfKeras,
    /// tf.keras of TensorFlow 1.13 to 1.15, where its files say so.
    Tf1Keras,
    /// tf.keras of TensorFlow 1.13 to 2.2.
    EarlyTfKeras,
    /// tf.keras, up to 2.15.
    TfKeras,
    /// Keras 3.
    Keras3,
}

impl Writer {
    /// Of a model's config and the version that its file names, if that is one of Keras's. TensorFlow 1.13 to 2.1 had tf.keras
    /// 2.2.4, whose rules changed meanwhile: it is taken for that of TensorFlow 2, with a warning if that matters.
    pub(super) fn of(version: Option<&str>, config: &Value) -> Self {
        let writer = version.and_then(Self::of_version);
        let text = || config.to_string();
        match writer {
            Some(Self::EarlyTfKeras) if text().contains("\"BatchNormalizationV1\"") => Self::Tf1Keras,
            Some(writer) => {
                if writer == Self::EarlyTfKeras && version.is_some_and(|version| version.starts_with("2.2")) {
                    warn_of_tensorflow_1(config);
                }
                writer
            }
            None => Self::of_config(&text()),
        }
    }

    /// From a version string such as `2.2.4`, `2.2.4-tf`, `2.15.0`; none if it is none of Keras's.
    pub(super) fn of_version(version: &str) -> Option<Self> {
        let mut parts = version.split(['.', '-']);
        let major: u32 = parts.next()?.parse().ok()?;
        let minor: u32 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Some(match (major, minor) {
            (1, _) => Self::Keras1,
            (3, _) => Self::Keras3,
            (2, 0 | 1) if version.ends_with("-tf") => Self::FirstTfKeras,
            (2, _) if version.ends_with("-tf") => Self::EarlyTfKeras,
            (2, 0..=2) => Self::Keras22,
            (2, 3) => Self::Keras23,
            (2, _) => Self::TfKeras,
            _ => return None,
        })
    }

    /// From the keys of a config that names no version; Keras 2.3 if they do not tell.
    pub(super) fn of_config(text: &str) -> Self {
        let has = |keys: &[&str]| keys.iter().any(|key| text.contains(key));
        if has(&["\"keras_history\"", "\"DTypePolicy\""]) {
            Self::Keras3
        } else if has(&["\"registered_name\"", "\"ragged\"", "\"Functional\"", "\"time_major\""]) {
            Self::TfKeras
        } else if has(&["\"nb_filter\"", "\"W_regularizer\"", "\"border_mode\"", "\"inner_init\""]) {
            Self::Keras1
        } else {
            Self::Keras23
        }
    }

    /// Whether it is the Keras inside TensorFlow.
    pub(super) fn is_tf_keras(self) -> bool {
        matches!(self, Self::FirstTfKeras | Self::Tf1Keras | Self::EarlyTfKeras | Self::TfKeras)
    }

    /// What those are called whose files are written.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TfKeras => "tf.keras 2.15",
            Self::Keras3 => "Keras 3",
            _ => "Keras 2.3.1",
        }
    }

    /// How its models compute.
    pub(super) fn semantics(self) -> Semantics {
        match self {
            Self::Keras1 | Self::Keras22 => Semantics::keras_2_2(),
            Self::Keras23 => Semantics::keras_2_3(),
            Self::EarlyTfKeras => {
                Semantics { crossentropy_logits: CrossentropyLogits::Matching, ..Semantics::tf_keras() }
            }
            Self::Tf1Keras => Semantics {
                frozen_batch_normalization: FrozenBatchNormalization::BatchStatistics,
                bilinear_grid: BilinearGrid::Corners,
                ..Self::EarlyTfKeras.semantics()
            },
            Self::FirstTfKeras => Semantics {
                masked_bidirectional: MaskedBidirectional::OfLayers,
                ..Self::Tf1Keras.semantics()
            },
            Self::TfKeras => Semantics::tf_keras(),
            Self::Keras3 => Semantics::keras_3(),
        }
    }
}

fn warn_of_tensorflow_1(config: &Value) {
    let found = [
        (
            is_frozen_batch_normalization as fn(&Value) -> bool,
            "a frozen BatchNormalization trains with its moving averages (in TensorFlow 1 FrozenBatchNormalization::BatchStatistics)",
        ),
        (
            |layer| layer["config"]["interpolation"] == json!("bilinear"),
            "bilinear interpolation is between the middles of cells (in TensorFlow 1 BilinearGrid::Corners)",
        ),
    ];
    for (_, what) in found.into_iter().filter(|(holds, _)| any_object(config, *holds)) {
        Output::current().warning(&format!(
            "the file is of tf.keras 2.2.4 and taken to be of TensorFlow 2, where {what}; if TensorFlow 1 wrote it, say so by Model::set_semantics"
        ));
    }
}

fn is_frozen_batch_normalization(layer: &Value) -> bool {
    layer["class_name"] == json!("BatchNormalization") && layer["config"]["trainable"] == json!(false)
}

fn any_object(value: &Value, holds: fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(fields) => holds(value) || fields.values().any(|item| any_object(item, holds)),
        Value::Array(items) => items.iter().any(|item| any_object(item, holds)),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_who_wrote_a_file() {
        for (version, writer) in [
            ("1.2.2", Some(Writer::Keras1)),
            ("2.0.8", Some(Writer::Keras22)),
            ("2.2.5", Some(Writer::Keras22)),
            ("2.3.1", Some(Writer::Keras23)),
            ("2.1.6-tf", Some(Writer::FirstTfKeras)),
            ("2.2.4-tf", Some(Writer::EarlyTfKeras)),
            ("2.3.0-tf", Some(Writer::EarlyTfKeras)),
            ("2.15.0", Some(Writer::TfKeras)),
            ("3.4.1", Some(Writer::Keras3)),
            ("four", None),
        ] {
            assert_eq!(Writer::of_version(version), writer, "{version}");
        }
    }

    #[test]
    fn what_tensorflow_1_and_2_do_otherwise_is_told() {
        let said = |class: &str, key: &str, value: Value, version: &str| {
            let layer = json!({"class_name": class, "config": {"name": "it", key: value}});
            let model = json!({"class_name": "Sequential", "config": {"layers": [layer]}});
            let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let writer = Output::Writer(log.clone()).during(|| Writer::of(Some(version), &model));
            let text = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
            (writer, text)
        };
        let frozen = |class, version| said(class, "trainable", json!(false), version);
        let (writer, text) = frozen("BatchNormalization", "2.2.4-tf");
        assert!(writer == Writer::EarlyTfKeras && text.contains("moving averages"), "{text}");
        let (_, text) = said("UpSampling2D", "interpolation", json!("bilinear"), "2.2.4-tf");
        assert!(text.contains("middles of cells") && text.contains("set_semantics"), "{text}");
        for (class, version, writer) in [
            ("BatchNormalizationV1", "2.2.4-tf", Writer::Tf1Keras),
            ("BatchNormalization", "2.1.6-tf", Writer::FirstTfKeras),
            ("BatchNormalization", "2.3.0-tf", Writer::EarlyTfKeras),
            ("Dense", "2.2.4-tf", Writer::EarlyTfKeras),
        ] {
            assert_eq!(frozen(class, version), (writer, String::new()), "{class} {version}");
        }
        let (first, later) = (Writer::FirstTfKeras.semantics(), Writer::Tf1Keras.semantics());
        for rules in [first, later] {
            assert_eq!(rules.frozen_batch_normalization, FrozenBatchNormalization::BatchStatistics);
        }
        assert_eq!(first.masked_bidirectional, MaskedBidirectional::OfLayers);
        assert_eq!(later.masked_bidirectional, MaskedBidirectional::ZerosOfVectors);
    }
}
