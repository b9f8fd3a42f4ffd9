//! [`Writer`]: which Keras wrote a file.

use crate::semantics::{CrossentropyLogits, Semantics};

/// The packages whose files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Keras 1.0 to 1.2.
    Keras1,
    /// Keras 2.0 to 2.2.
    Keras22,
    /// Keras 2.3.
    Keras23,
    /// tf.keras of TensorFlow 1 to 2.2.
    EarlyTfKeras,
    /// tf.keras, up to 2.15.
    TfKeras,
    /// Keras 3.
    Keras3,
}

impl Writer {
    /// From a version string such as `2.2.4`, `2.2.4-tf`, `2.15.0`; none if it is none of Keras's.
    pub(super) fn of_version(version: &str) -> Option<Self> {
        let mut parts = version.split(['.', '-']);
        let major: u32 = parts.next()?.parse().ok()?;
        let minor: u32 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Some(match (major, minor) {
            (1, _) => Self::Keras1,
            (3, _) => Self::Keras3,
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

    /// How its models compute.
    pub(super) fn semantics(self) -> Semantics {
        match self {
            Self::Keras1 | Self::Keras22 => Semantics::keras_2_2(),
            Self::Keras23 => Semantics::keras_2_3(),
            Self::EarlyTfKeras => {
                Semantics { crossentropy_logits: CrossentropyLogits::Matching, ..Semantics::tf_keras() }
            }
            Self::TfKeras => Semantics::tf_keras(),
            Self::Keras3 => Semantics::keras_3(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;

    #[test]
    fn versions_say_who_wrote_a_file() {
        for (version, writer) in [
            ("1.2.2", Some(Writer::Keras1)),
            ("2.0.8", Some(Writer::Keras22)),
            ("2.2.5", Some(Writer::Keras22)),
            ("2.3.1", Some(Writer::Keras23)),
            ("2.1.6-tf", Some(Writer::EarlyTfKeras)),
            ("2.3.0-tf", Some(Writer::EarlyTfKeras)),
            ("2.15.0", Some(Writer::TfKeras)),
            ("3.4.1", Some(Writer::Keras3)),
            ("four", None),
        ] {
            assert_eq!(Writer::of_version(version), writer, "{version}");
        }
    }
}
