//! [`Nesting`]: how the inputs or the outputs of a model are nested in a file.

use serde_json::{Value, json};

/// Lists and dictionaries inside each other, as tf.keras and Keras 3 have them, with the number of a tensor at each place;
/// dictionaries are counted in the order of their keys. None is one tensor, or one list: all that Keras 2 has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Nesting(Option<Value>);

impl Nesting {
    /// From a file's references `[name, node, tensor]`, nested somehow; with those references in order. None if there is
    /// something else among them.
    pub(super) fn read(ends: &Value) -> Option<(Self, Vec<&Value>)> {
        let mut references = Vec::new();
        let nesting = numbered(ends, &mut references)?;
        let plain = match &nesting {
            Value::Array(items) => items.iter().all(Value::is_number),
            nesting => nesting.is_number(),
        };
        Some((Self(Some(nesting).filter(|_| !plain)), references))
    }

    /// The references of all tensors, nested again.
    pub(super) fn write(&self, references: Vec<Value>) -> Value {
        let Some(nesting) = &self.0 else { return references.into() };
        let mut nested = nesting.clone();
        fill(&mut nested, &references);
        nested
    }

    /// The keys of a dictionary of tensors, in order.
    pub(super) fn keys(&self) -> Option<Vec<String>> {
        let fields = self.0.as_ref()?.as_object()?;
        let mut keys: Vec<(u64, &String)> =
            fields.iter().map(|(key, number)| Some((number.as_u64()?, key))).collect::<Option<_>>()?;
        keys.sort_unstable();
        Some(keys.into_iter().map(|(_, key)| key.clone()).collect())
    }
}

/// Whether a file's references to the inputs or outputs of a model are more than one list.
pub(crate) fn is_nested(ends: &Value) -> bool {
    Nesting::read(ends).is_some_and(|(nesting, _)| nesting != Nesting::default())
}

/// The values of a dictionary in the order of their keys, as Python's `tree` and `tf.nest` have them.
pub(crate) fn by_key(fields: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    sorted
}

fn numbered<'a>(ends: &'a Value, references: &mut Vec<&'a Value>) -> Option<Value> {
    match ends {
        Value::Array(items) if items.first().is_some_and(Value::is_string) => {
            references.push(ends);
            Some(json!(references.len() - 1))
        }
        Value::Array(items) => items.iter().map(|item| numbered(item, references)).collect(),
        Value::Object(fields) => {
            let mut found = fields.clone();
            for (key, item) in by_key(fields) {
                found[key] = numbered(item, references)?;
            }
            Some(found.into())
        }
        _ => None,
    }
}

fn fill(nested: &mut Value, references: &[Value]) {
    match nested {
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, references)),
        Value::Object(fields) => fields.values_mut().for_each(|item| fill(item, references)),
        number => {
            let index = number.as_u64().and_then(|number| usize::try_from(number).ok());
            *number = index.and_then(|index| references.get(index).cloned()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nestings_come_back() {
        for (ends, flat, keys) in [
            (json!([["x", 0, 0], ["y", 0, 1]]), vec!["x", "y"], None),
            (json!({"b": ["x", 0, 0], "a": ["y", 0, 1]}), vec!["y", "x"], Some(vec!["a", "b"])),
            (json!([["x", 0, 0], [["y", 0, 1]], {"k": ["z", 1, 0]}]), vec!["x", "y", "z"], None),
            (json!({"k": [["x", 0, 0], ["y", 0, 0]]}), vec!["x", "y"], None),
        ] {
            let (nesting, references) = Nesting::read(&ends).unwrap();
            let names: Vec<&str> = references.iter().map(|end| end[0].as_str().unwrap()).collect();
            assert_eq!(names, flat);
            assert_eq!(nesting.write(references.into_iter().cloned().collect()), ends);
            assert_eq!(nesting.keys(), keys.map(|keys| keys.into_iter().map(str::to_owned).collect()));
        }
        assert_eq!(Nesting::read(&json!(["x", 0, 0])).unwrap().0, Nesting::default());
        assert!(Nesting::read(&json!({"a": 3})).is_none());
    }
}
