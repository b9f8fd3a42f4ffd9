//! Reading and creating `keras.json`.

use super::environment::scratch_path;
use super::{DataFormat, floatx_from_name, is_epsilon};
use crate::array::DType;
use crate::error::{Error, Result};
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// What Python's `json.dump(…, indent=4)` would write. There is no `backend` at the top: Python Keras reads the same
/// file and does not start with a backend it cannot import, but it ignores keys it does not know.
pub(super) const DEFAULT: &str = r#"{
    "floatx": "float32",
    "epsilon": 1e-07,
    "image_data_format": "channels_last",
    "keras_rs": {
        "backend": "ndarray"
    }
}"#;

/// The backend that it names.
pub(crate) const NEW_FILE_BACKEND: &str = "ndarray";

/// The key of our own object in the file.
const OWN: &str = "keras_rs";

/// What a file says; `None` where it is silent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// Our own `backend`, then the top-level one.
    pub(super) backends: Vec<String>,
    pub(super) device: Option<String>,
    pub(super) floatx: Option<DType>,
    pub(super) epsilon: Option<f64>,
    pub(super) image_data_format: Option<DataFormat>,
    /// Keys of our own object that mean nothing.
    pub(super) unknown: Vec<String>,
}

/// Reads the file, after creating it with the defaults when there is none. `None` when there is none and none can be
/// created, which is no error, as in Keras.
pub(super) fn read_or_create(path: &Path) -> Result<Option<Contents>> {
    let read = || match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::file(
            format!("settings file {}", path.display()),
            "a readable file",
            error.to_string(),
        )),
    };
    let bytes = match read()? {
        None => {
            // Settings have defaults: a place that takes no file is no reason to stop.
            let _ = create(path);
            read()?
        }
        found => found,
    };
    bytes.map(|bytes| parse(path, &bytes)).transpose()
}

/// Writes the default file so that it is there whole or not at all, and never in place of another.
fn create(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(directory)?;
    let scratch = scratch_path(directory);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&scratch)?;
    let written = file.write_all(DEFAULT.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
        // Unlike a rename, a link fails when somebody else has made the file meanwhile.
        match std::fs::hard_link(&scratch, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            // A file system without links.
            Err(_) if !path.try_exists()? => std::fs::rename(&scratch, path),
            other => other,
        }
    });
    drop(file);
    // Gone already when it was renamed.
    let _ = std::fs::remove_file(&scratch);
    written
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let refuse = |error: serde_json::Error| refuse(path, &error);
    // Twice: a key of our own object hides the top-level one, which then may say what only Python Keras takes.
    let value: Value = serde_json::from_slice(bytes).map_err(refuse)?;
    let hidden = value.get(OWN).and_then(Value::as_object).map(|own| own.keys().cloned().collect());
    let visitor = FileVisitor { hidden: hidden.unwrap_or_default(), own: false };
    serde_json::Deserializer::from_slice(bytes).deserialize_any(visitor).map_err(refuse)
}

/// `error` as one of this file, with its place. serde's messages have the form
/// `invalid value: string "float16", expected … at line 2 column 23`.
fn refuse(path: &Path, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    let doing = format!("settings file {}, line {}, column {}", path.display(), error.line(), error.column());
    match message.rsplit_once(", expected ") {
        Some((received, expected)) if error.is_data() => {
            let received = received.split_once(": ").map_or(received, |(_, value)| value);
            let error = Error::file(doing, expected, received);
            if expected.starts_with("`floatx`") {
                return error.advice(format!("a floatx inside \"{OWN}\": {{…}} is for this program alone"));
            }
            error
        }
        _ => Error::file(doing, "JSON", message).advice("mend the file, or remove it to get the defaults"),
    }
}

/// The whole file, or our own object in it.
struct FileVisitor {
    /// Keys not to look at.
    hidden: Vec<String>,
    own: bool,
}

impl<'de> Visitor<'de> for FileVisitor {
    type Value = Contents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own { write!(f, "`{OWN}` to be an object") } else { f.write_str("an object of settings") }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Contents, A::Error> {
        let mut contents = Contents::default();
        let mut own_contents = None;
        while let Some(key) = map.next_key::<String>()? {
            // A backend that is not ours counts as not said, so the top-level one is read in any case.
            if key != "backend" && self.hidden.contains(&key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match key.as_str() {
                "backend" => contents.backends = vec![map.next_value_seed(BACKEND)?],
                "device" => contents.device = Some(map.next_value_seed(DEVICE)?),
                "floatx" => contents.floatx = Some(map.next_value_seed(FLOATX)?),
                "epsilon" => contents.epsilon = Some(map.next_value_seed(EPSILON)?),
                "image_data_format" => {
                    contents.image_data_format = Some(map.next_value_seed(DATA_FORMAT)?);
                }
                OWN if !self.own => {
                    own_contents = Some(map.next_value_seed(Self { hidden: vec![], own: true })?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    if self.own {
                        contents.unknown.push(key);
                    }
                }
            }
        }
        let Some(mut own) = own_contents else { return Ok(contents) };
        own.backends.append(&mut contents.backends);
        Ok(Contents {
            backends: own.backends,
            device: own.device.or(contents.device),
            floatx: own.floatx.or(contents.floatx),
            epsilon: own.epsilon.or(contents.epsilon),
            image_data_format: own.image_data_format.or(contents.image_data_format),
            unknown: own.unknown,
        })
    }
}

impl<'de> de::DeserializeSeed<'de> for FileVisitor {
    type Value = Contents;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Contents, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// One value: what it has to be, and the reading of it. Inside a visitor, an error gets the place of the value.
struct Entry<T> {
    expected: &'static str,
    read: fn(&Value) -> Option<T>,
}

const BACKEND: Entry<String> = Entry { expected: "`backend` to be a name", read: name };
const DEVICE: Entry<String> = Entry { expected: "`device` to be a name", read: name };
const FLOATX: Entry<DType> = Entry {
    expected: "`floatx` to be \"float32\" or \"float64\"",
    read: |value| floatx_from_name(value.as_str()?),
};
const EPSILON: Entry<f64> = Entry {
    expected: "`epsilon` to be a number above 0",
    read: |value| value.as_f64().filter(|&epsilon| is_epsilon(epsilon)),
};
const DATA_FORMAT: Entry<DataFormat> = Entry {
    expected: "`image_data_format` to be \"channels_last\" or \"channels_first\"",
    read: |value| DataFormat::from_name(value.as_str()?),
};

fn name(value: &Value) -> Option<String> {
    value.as_str().filter(|name| !name.is_empty()).map(ToOwned::to_owned)
}

impl<T> Visitor<'_> for Entry<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(&text.into()).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        (self.read)(&number.into()).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.read)(&number.into()).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.read)(&number.into()).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
}

impl<'de, T> de::DeserializeSeed<'de> for Entry<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::Settings;
    use super::super::tests::{environment, load};
    use super::*;

    #[test]
    fn what_is_wrong_in_the_file_is_named_with_its_place() {
        let either = r#"`floatx` to be "float32" or "float64""#;
        let formats = r#"`image_data_format` to be "channels_last" or "channels_first""#;
        let number = "`epsilon` to be a number above 0";
        for (json, line, column, expected, received) in [
            ("{\n  \"floatx\": \"float16\"\n}\n", 2, 21, either, r#"string "float16""#),
            ("{\n  \"floatx\": 32,\n  \"epsilon\": 1}", 2, 14, either, "integer `32`"),
            ("{\"floatx\": null}", 1, 15, either, "null"),
            ("{\n\n\"keras_rs\": {\n\"floatx\": \"half\"}}", 4, 16, either, r#"string "half""#),
            ("{\"epsilon\": \"1e-7\"}", 1, 18, number, r#"string "1e-7""#),
            ("{\"epsilon\": 0}", 1, 13, number, "integer `0`"),
            ("{\"epsilon\":\n -0.5}", 2, 5, number, "floating point `-0.5`"),
            ("{\"epsilon\": true}", 1, 16, number, "boolean `true`"),
            ("{\"image_data_format\": \"th\"}", 1, 26, formats, r#"string "th""#),
            ("{\"image_data_format\": [1]}", 1, 23, formats, "sequence"),
            ("{\"backend\": {}}", 1, 14, "`backend` to be a name", "map"),
            ("{\"backend\": \"\"}", 1, 14, "`backend` to be a name", r#"string """#),
            ("{\"device\": 0}", 1, 12, "`device` to be a name", "integer `0`"),
            ("{\"keras_rs\": \"ndarray\"}", 1, 22, "`keras_rs` to be an object", r#"string "ndarray""#),
            ("[]", 1, 2, "an object of settings", "sequence"),
            ("{\n\"floatx\" \"float32\"}", 2, 10, "JSON", "expected `:`"),
            ("{\n\"floatx\": \"float32\",\n}", 3, 1, "JSON", "trailing comma"),
            ("{\"epsilon\": NaN}", 1, 13, "JSON", "expected value"),
            ("", 1, 0, "JSON", "EOF while parsing a value"),
            ("{} {}", 1, 4, "JSON", "trailing characters"),
            (
                "{\"backend\": \"a, expected b at line 9 column 9\", \"floatx\": 1}",
                1,
                59,
                either,
                "integer `1`",
            ),
        ] {
            let (path, settings) = load(json, &[]);
            let error = settings.unwrap_err();
            assert!(matches!(error, Error::File(_)), "{json}: {error}");
            let report = error.report();
            let place = format!("settings file {}, line {line}, column {column}", path.display());
            assert_eq!(
                (report.doing.as_str(), report.expected.as_str(), report.received.as_str()),
                (place.as_str(), expected, received),
                "{json}"
            );
        }
        let bytes = tempfile::tempdir().unwrap();
        std::fs::write(bytes.path().join("keras.json"), b"{\"backend\": \"\xff\"}").unwrap();
        let error = Settings::load(&environment(bytes.path(), &[])).unwrap_err();
        assert!(error.to_string().contains("line 1, column"), "{error}");
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("keras.json")).unwrap();
        let error = Settings::load(&environment(directory.path(), &[])).unwrap_err();
        assert!(matches!(error, Error::File(_)), "{error}");
    }
}
