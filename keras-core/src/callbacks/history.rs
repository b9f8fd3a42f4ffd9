//! [`History`]: every number of every epoch.

use crate::error::Result;
use crate::training::{Callback, Context, Logs, python_repr};
use std::ops::Index;

/// The epochs of a run and the values that every name had in them; what `fit` returns.
///
/// The names stand in Keras's order: validation values, training values, then what callbacks added, such as
/// `val_loss, val_accuracy, loss, accuracy, lr`.
///
/// Source: `keras.callbacks.History` of Keras 2.3.1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The numbers of the epochs, counted from 0 (from `initial_epoch`, where given).
    pub epoch: Vec<usize>,
    /// Name → one value per epoch in which the name was logged.
    pub history: Records,
}

impl History {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Records::to_json`] of `history`: what `json.dump(hist.history)` writes in Python.
    pub fn to_json(&self) -> String {
        self.history.to_json()
    }
}

impl Callback for History {
    fn on_train_begin(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        *self = Self::new();
        Ok(())
    }

    fn on_epoch_end(&mut self, _cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.epoch.push(epoch);
        for (name, value) in logs.iter() {
            self.history.push(name, value);
        }
        Ok(())
    }
}

/// Name → values, in the order in which the names first came.
///
/// ```
/// use keras_core::callbacks::Records;
/// let mut records = Records::new();
/// for loss in [0.5, 0.25] {
///     records.push("loss", loss);
/// }
/// assert_eq!(records["loss"], [0.5, 0.25]);
/// assert_eq!(records.get("val_loss"), None);
/// assert_eq!(records.to_json(), r#"{"loss": [0.5, 0.25]}"#);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records(Vec<(String, Vec<f64>)>);

impl Records {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value at the end of a name's, and the name if it is new.
    pub fn push(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    /// The values of a name.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, values)| values.as_slice())
    }

    /// Every name with its values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[f64])> + DoubleEndedIterator {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Every name, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text that Python's `json.dump` writes for the same dictionary of lists of floats, to the byte. Values that are not
    /// finite become `NaN`, `Infinity` and `-Infinity`, as there; strict JSON has no words for them.
    pub fn to_json(&self) -> String {
        let entries: Vec<_> = self
            .iter()
            .map(|(name, values)| {
                let values: Vec<_> = values.iter().copied().map(json_number).collect();
                format!("{}: [{}]", json_string(name), values.join(", "))
            })
            .collect();
        format!("{{{}}}", entries.join(", "))
    }
}

/// The values of a name; none for a name that was never logged ([`Records::get`] tells the two apart).
impl Index<&str> for Records {
    type Output = [f64];

    fn index(&self, name: &str) -> &[f64] {
        self.get(name).unwrap_or_default()
    }
}

/// [`Records`]'s values of a name.
impl Index<&str> for History {
    type Output = [f64];

    fn index(&self, name: &str) -> &[f64] {
        &self.history[name]
    }
}

fn json_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        python_repr(value)
    }
}

/// A string as `json.dump` writes it: everything beyond printable ASCII as `\uXXXX`.
fn json_string(text: &str) -> String {
    let escaped = text.encode_utf16().map(|unit| match u8::try_from(unit) {
        Ok(quoted @ (b'"' | b'\\')) => format!("\\{}", char::from(quoted)),
        Ok(b'\n') => "\\n".to_owned(),
        Ok(b'\r') => "\\r".to_owned(),
        Ok(b'\t') => "\\t".to_owned(),
        Ok(8) => "\\b".to_owned(),
        Ok(12) => "\\f".to_owned(),
        Ok(ascii @ b' '..=b'~') => char::from(ascii).to_string(),
        _ => format!("\\u{unit:04x}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::{FakeModel, Params};

    #[test]
    fn a_history_holds_what_each_epoch_logged_and_starts_anew_with_a_run() {
        let (model, params) = (FakeModel::new(0.1), Params::default());
        let cx = Context { model: &model, params: &params };
        let mut history = History::new();
        for _ in 0..2 {
            history.on_train_begin(&cx, &mut Logs::new()).unwrap();
            history.on_epoch_end(&cx, 3, &mut Logs::from([("val_loss", 2.0), ("loss", 1.0)])).unwrap();
            history.on_epoch_end(&cx, 4, &mut Logs::from([("loss", 0.5)])).unwrap();
        }
        assert_eq!(history.epoch, [3, 4]);
        assert_eq!(history.history.keys().collect::<Vec<_>>(), ["val_loss", "loss"]);
        assert_eq!((&history["val_loss"], &history.history["loss"]), (&[2.0][..], &[1.0, 0.5][..]));
        assert!(history["val_los"].is_empty());
    }

    /// `json.dumps` of Python 3.6; see the script beside the fixture.
    #[test]
    fn json_is_pythons_to_the_byte() {
        let text = include_str!("../../tests/fixtures/callbacks/callbacks.json");
        let dump = serde_json::from_str::<serde_json::Value>(text).unwrap()["dump"].clone();
        let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let records = list(&dump["entries"])
            .iter()
            .map(|entry| {
                (word(&entry[0]), list(&entry[1]).iter().map(|x| word(x).parse().unwrap()).collect())
            })
            .collect();
        assert_eq!(Records(records).to_json(), word(&dump["json"]));
        assert_eq!(Records::new().to_json(), "{}");
    }
}
