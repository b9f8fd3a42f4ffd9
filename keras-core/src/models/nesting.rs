//! [`Nesting`]: how the inputs or the outputs of a model are nested in a file.

use serde_json::{Value, json};

/// Lists and dictionaries inside each other, as tf.keras and Keras 3 have them, with the number of a tensor at each place;
/// dictionaries are counted in the order of their keys. None is one tensor, or one list: all that Keras 2 has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Nesting(Option<Value>);

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

    /// What belongs to each tensor, such as its reference, nested again.
    pub(crate) fn write(&self, references: Vec<Value>) -> Value {
        let Some(nesting) = &self.0 else { return references.into() };
        let mut nested = nesting.clone();
        fill(&mut nested, &references);
        nested
    }

    /// One value for each tensor, null where there is none, of values that are nested as the tensors are; a value for a part
    /// is that of each tensor in it. None if they are nested otherwise, or the tensors are not nested.
    pub(crate) fn flatten(&self, values: &Value) -> Option<Vec<Value>> {
        let mut flat = Vec::new();
        spread(self.0.as_ref()?, values, &mut flat)?;
        Some(flat)
    }

    /// Whether the whole is a dictionary.
    pub(crate) fn is_dictionary(&self) -> bool {
        matches!(self.0, Some(Value::Object(_)))
    }

    /// Whether there is more than one list.
    pub(crate) fn is_nested(&self) -> bool {
        self.0.is_some()
    }
}

/// Puts the values for a part of the tensors at their numbers.
fn spread(nesting: &Value, values: &Value, flat: &mut Vec<Value>) -> Option<()> {
    let part = |nesting: &Value, flat: &mut Vec<Value>| spread(nesting, values, flat);
    match (nesting, values) {
        (Value::Array(places), Value::Array(values)) => {
            let mut pairs = places.iter().zip(values);
            (places.len() == values.len()).then_some(())?;
            pairs.try_for_each(|(place, value)| spread(place, value, flat))
        }
        (Value::Object(places), Value::Object(values)) if !values.contains_key("class_name") => {
            values.keys().all(|key| places.contains_key(key)).then_some(())?;
            let mut places = places.iter();
            places.try_for_each(|(key, place)| spread(place, values.get(key).unwrap_or(&Value::Null), flat))
        }
        (Value::Array(places), _) => places.iter().try_for_each(|place| part(place, flat)),
        (Value::Object(places), _) => places.values().try_for_each(|place| part(place, flat)),
        (number, value) => {
            let index = usize::try_from(number.as_u64()?).ok()?;
            flat.resize(flat.len().max(index + 1), Value::Null);
            *flat.get_mut(index)? = value.clone();
            Some(())
        }
    }
}

/// Whether a file's references to the inputs or outputs of a model are more than one list.
pub(crate) fn is_nested(ends: &Value) -> bool {
    Nesting::read(ends).is_some_and(|(nesting, _)| nesting.is_nested())
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
        for (ends, flat) in [
            (json!([["x", 0, 0], ["y", 0, 1]]), vec!["x", "y"]),
            (json!({"b": ["x", 0, 0], "a": ["y", 0, 1]}), vec!["y", "x"]),
            (json!([["x", 0, 0], [["y", 0, 1]], {"k": ["z", 1, 0]}]), vec!["x", "y", "z"]),
            (json!({"k": [["x", 0, 0], ["y", 0, 0]]}), vec!["x", "y"]),
        ] {
            let (nesting, references) = Nesting::read(&ends).unwrap();
            let names: Vec<&str> = references.iter().map(|end| end[0].as_str().unwrap()).collect();
            assert_eq!(names, flat);
            assert_eq!(nesting.write(references.into_iter().cloned().collect()), ends);
        }
        assert_eq!(Nesting::read(&json!(["x", 0, 0])).unwrap().0, Nesting::default());
        assert!(Nesting::read(&json!({"a": 3})).is_none());
    }

    #[test]
    fn values_are_nested_as_tensors_are() {
        let tensor = json!(["x", 0, 0]);
        let (dictionary, _) = Nesting::read(&json!({"b": tensor, "a": [tensor, tensor]})).unwrap();
        let (list, _) = Nesting::read(&json!([tensor, [tensor, tensor]])).unwrap();
        for (nesting, values, flat) in [
            (&dictionary, json!({"a": ["x", "y"], "b": "z"}), Some(vec![json!("x"), json!("y"), json!("z")])),
            (&dictionary, json!({"a": "x"}), Some(vec![json!("x"), json!("x"), json!(null)])),
            (&dictionary, json!({"c": "x"}), None),
            (&list, json!(["x", ["y", "z"]]), Some(vec![json!("x"), json!("y"), json!("z")])),
            (&list, json!(["x", "y", "z"]), None),
        ] {
            assert_eq!(nesting.flatten(&values), flat, "{values}");
        }
        assert_eq!(Nesting::default().flatten(&json!("x")), None);
    }
}
