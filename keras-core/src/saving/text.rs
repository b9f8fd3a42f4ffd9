//! Configs as text: JSON as Python's `json.dumps` writes it, YAML as PyYAML does.

use crate::error::{Error, Result};
use crate::training::python_repr;
use serde_json::{Map, Number, Value};
use std::fmt::Write;

/// JSON to the character of `json.dumps`.
pub(super) fn to_json(value: &Value) -> String {
    let mut text = String::new();
    json(value, &mut text);
    text
}

fn json(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number_text(number)),
        Value::String(string) => quoted(string, text, surrogates),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                json(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push('{');
            for (i, (key, item)) in fields.iter().enumerate() {
                if i > 0 {
                    text.push_str(", ");
                }
                quoted(key, text, surrogates);
                text.push_str(": ");
                json(item, text);
            }
            text.push('}');
        }
    }
}

/// A string in double quotes, in ASCII alone; `beyond` writes a character beyond U+FFFF.
fn quoted(string: &str, text: &mut String, beyond: fn(char, &mut String)) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(c),
            '\0'..='\u{FFFF}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            _ => beyond(c, text),
        }
    }
    text.push('"');
}

/// A character beyond U+FFFF in JSON.
fn surrogates(c: char, text: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// The same in YAML.
fn long_escape(c: char, text: &mut String) {
    let _ = write!(text, "\\U{:08X}", u32::from(c));
}

fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => python_repr(float),
        _ => number.to_string(),
    }
}

/// YAML as `yaml.dump` writes it: keys sorted, a block for every list and map that is not empty. Input shapes are the
/// tuples that Keras makes of them.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            for (i, (key, item)) in fields.into_iter().enumerate() {
                // The first line stands behind the dash of a list.
                if i > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&scalar(key));
                text.push(':');
                let tuple = key == "batch_input_shape" && item.is_array();
                text.push_str(if tuple { " !!python/tuple" } else { "" });
                match item {
                    Value::Object(inner) if !inner.is_empty() => {
                        text.push('\n');
                        text.push_str(&" ".repeat(indent + 2));
                        block(item, indent + 2, text);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        text.push('\n');
                        text.push_str(&" ".repeat(indent));
                        block(item, indent, text);
                    }
                    _ => {
                        text.push(' ');
                        block(item, indent, text);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str("- ");
                block(item, indent + 2, text);
            }
        }
        Value::Object(_) => text.push_str("{}\n"),
        Value::Array(_) => text.push_str("[]\n"),
        Value::String(string) => {
            text.push_str(&scalar(string));
            text.push('\n');
        }
        Value::Number(number) => {
            let number = number_text(number);
            // YAML 1.1 takes 1e-07 for a string.
            let needs_point = number.contains('e') && !number.contains('.');
            text.push_str(&if needs_point { number.replacen('e', ".0e", 1) } else { number });
            text.push('\n');
        }
        Value::Null | Value::Bool(_) => {
            text.push_str(&to_json(value));
            text.push('\n');
        }
    }
}

/// A string without quotes where YAML takes it for a string, else with them.
fn scalar(string: &str) -> String {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let starts_as_word = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let version = string.split('.').count() > 2 && string.chars().all(|c| c.is_ascii_digit() || c == '.');
    let word = matches!(
        string.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off"
    );
    if (starts_as_word && string.chars().all(letters) && !word) || version {
        string.to_owned()
    } else if string.chars().all(|c| matches!(c, ' '..='~')) {
        format!("'{}'", string.replace('\'', "''"))
    } else {
        let mut text = String::new();
        quoted(string, &mut text, long_escape);
        text
    }
}

/// Reads JSON; Python's `NaN` and `Infinity` are errors as they are in JSON.
pub(super) fn from_json(what: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text.trim_start_matches('\u{FEFF}')).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let wrong = Error::file(what, "JSON", format!("{error} ({place})"));
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let rest = line.get(error.column().saturating_sub(2)..).unwrap_or_default();
        let word = rest.trim_start_matches([' ', '-', ':', ',', '[']);
        if word.starts_with("NaN") || word.starts_with("Infinity") {
            return wrong.advice("no argument of a layer is NaN or infinite: write a number in its place");
        }
        wrong.advice("write it again with to_json")
    })
}

/// Reads YAML, with the one tag of Python's that holds no code: `!!python/tuple`.
pub(super) fn from_yaml(what: &str, text: &str) -> Result<Value> {
    let text = text.trim_start_matches('\u{FEFF}');
    check_tags(what, text)?;
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| {
        Error::file(what, "YAML", error.to_string()).advice("write it again with to_yaml")
    })?;
    convert(what, value)
}

/// Refuses tags of Python's: the parser drops what it does not know of `tag:yaml.org,2002:`, in all its spellings.
fn check_tags(what: &str, text: &str) -> Result<()> {
    let refused = |tag: &str| {
        Err(Error::file(what, "no tags but !!python/tuple", tag.to_owned())
            .advice("a file never runs code: write the value itself"))
    };
    if text.lines().any(|line| line.starts_with("%TAG")) {
        return refused("%TAG");
    }
    let starts = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| c.is_whitespace() || "-:,[{?&".contains(c))
    };
    for (at, _) in text.match_indices('!').filter(|(at, _)| starts(*at)) {
        let tag = text.get(at..).and_then(|rest| rest.split([' ', '\t', '\r', '\n', ',', ']', '}']).next());
        let tag = tag.unwrap_or_default();
        if tag.starts_with("!<") {
            return refused(tag);
        }
        match tag.strip_prefix("!!") {
            Some("python/tuple" | "str" | "int" | "float" | "bool" | "null" | "seq" | "map") | None => {}
            Some(_) => return refused(tag),
        }
    }
    Ok(())
}

fn convert(what: &str, value: serde_yaml::Value) -> Result<Value> {
    use serde_yaml::Value as Yaml;
    let wrong = |expected: &str, received: String| Error::file(what, expected, received);
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => truth.into(),
        Yaml::String(string) => string.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) if float.is_finite() => float.into(),
            _ => {
                return Err(wrong("finite numbers", number.to_string())
                    .advice("no argument of a layer is NaN or infinite: write a number in its place"));
            }
        },
        Yaml::Sequence(items) => {
            items.into_iter().map(|item| convert(what, item)).collect::<Result<Vec<_>>>()?.into()
        }
        Yaml::Mapping(fields) => {
            let mut object = Map::new();
            for (key, item) in fields {
                let Yaml::String(key) = key else { return Err(wrong("texts as keys", format!("{key:?}"))) };
                object.insert(key, convert(what, item)?);
            }
            object.into()
        }
        Yaml::Tagged(tagged) => {
            return Err(wrong("no tags but !!python/tuple", tagged.tag.to_string()));
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_that_of_python() {
        let value = json!({"a": [1, 1.0, 1e-7, 1e22, null, true], "b": {}, "é": "\"\n𝄞"});
        assert_eq!(
            to_json(&value),
            r#"{"a": [1, 1.0, 1e-07, 1e+22, null, true], "b": {}, "\u00e9": "\"\n\ud834\udd1e"}"#
        );
    }

    #[test]
    fn yaml_is_that_of_pyyaml_and_comes_back() {
        let value = json!({"keras_version": "2.3.1", "config": {"name": "a", "layers": [{"b": [[["x", 0, {}]]], "a": 1e-7}],
            "batch_input_shape": [null, 3], "empty": [], "odd": "n", "spaced": "a: b"}});
        assert_eq!(to_yaml(&json!(["é\n😀"])), "- \"\\u00e9\\n\\U0001F600\"\n");
        assert_eq!(from_yaml("test", &to_yaml(&json!(["é\n😀"]))).unwrap(), json!(["é\n😀"]));
        assert_eq!(from_yaml("test", "\u{FEFF}# x\n---\na: 1\n").unwrap(), json!({"a": 1}));
        for text in ["{\"a\": NaN}", "{\"a\": -Infinity}", "{\n\"a\":Infinity}"] {
            let error = from_json("test", text).unwrap_err().to_string();
            assert!(error.contains("NaN or infinite"), "{error}");
        }
        let text = to_yaml(&value);
        assert_eq!(
            text,
            "config:\n  batch_input_shape: !!python/tuple\n  - null\n  - 3\n  empty: []\n  layers:\n  - a: 1.0e-07\n    b:\n    - - - x\n        - 0\n        - {}\n  name: a\n  odd: n\n  spaced: 'a: b'\nkeras_version: 2.3.1\n"
        );
        assert_eq!(from_yaml("test", &text).unwrap(), value);
    }

    #[test]
    fn yaml_that_would_run_code_or_grow_is_refused() {
        for text in [
            "a: !!python/object/apply:os.system ['ls']",
            "a: !!python/name:os.system",
            "!<tag:yaml.org,2002:python/name:os.system> ''",
            "%TAG !p! tag:yaml.org,2002:python/\n--- !p!name:os.system ''",
            "a: [!!python/name:os.system '']",
            "a: !x 1",
            "1: 2",
            "a: .nan",
        ] {
            assert!(from_yaml("test", text).is_err(), "{text}");
        }
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let _ = writeln!(bomb, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 9].join(", "));
        }
        assert!(from_yaml("test", &bomb).is_err());
        assert!(from_yaml("test", &"[".repeat(100_000)).is_err());
        assert!(from_json("test", &"[".repeat(100_000)).is_err());
    }
}
