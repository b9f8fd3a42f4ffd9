//! [`Logs`]: the named numbers that the training loop hands to callbacks, in the order in which they were set.

use std::fmt;

/// Name → value, in insertion order: what Keras's callbacks receive as `logs`.
///
/// At batch hooks it holds `batch` (the number of the batch) and `size` (its samples), at the end of a batch also the loss and
/// the metrics; at the end of an epoch the validation values, then the training values, then what callbacks added (`lr`).
///
/// ```
/// use keras_core::training::Logs;
/// let mut logs = Logs::from([("loss", 0.25), ("accuracy", 0.875)]);
/// logs.set("lr", 1e-4);
/// assert_eq!(logs.get("loss"), Some(0.25));
/// assert_eq!(logs.to_string(), "loss: 0.2500 - accuracy: 0.8750 - lr: 1.0000e-04");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logs(Vec<(String, f64)>);

impl Logs {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| key == name).map(|&(_, value)| value)
    }

    /// Replaces the value of a name in its place, or adds it at the end.
    pub fn set(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes a name out; its value, if it was there.
    pub fn remove(&mut self, name: &str) -> Option<f64> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Every name with its value, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, f64)> + DoubleEndedIterator {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// Every name, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes every entry out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The names, joined by commas: what Keras's warnings about a missing metric list.
    pub(crate) fn names(&self) -> String {
        self.keys().collect::<Vec<_>>().join(",")
    }
}

impl<S: AsRef<str>> Extend<(S, f64)> for Logs {
    fn extend<I: IntoIterator<Item = (S, f64)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.set(name.as_ref(), value);
        }
    }
}

impl<S: AsRef<str>> FromIterator<(S, f64)> for Logs {
    fn from_iter<I: IntoIterator<Item = (S, f64)>>(entries: I) -> Self {
        let mut logs = Self::new();
        logs.extend(entries);
        logs
    }
}

impl<S: AsRef<str>, const N: usize> From<[(S, f64); N]> for Logs {
    fn from(entries: [(S, f64); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { " - " };
            write!(f, "{separator}{name}: {}", metric_text(value, value.abs() > 1e-3))?;
        }
        Ok(())
    }
}

/// Python's `'%.4f' % value`, or `'%.4e' % value` for small values: the two forms of a number on Keras's progress lines.
pub(crate) fn metric_text(value: f64, fixed: bool) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if fixed {
        return format!("{value:.4}");
    }
    let text = format!("{value:.4e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, magnitude) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            format!("{digits}e{sign}{magnitude:0>2}")
        }
        None => text,
    }
}

/// Python's `repr` of a float: the shortest digits that read back equal, `1e-05` below 1e-4 and `1e+16` from 1e16.
///
/// ```
/// use keras_core::training::python_repr;
/// let texts = [0.1, 1.0, 1e-4, 1.5e-5, 1e22, f64::NAN].map(python_repr);
/// assert_eq!(texts, ["0.1", "1.0", "0.0001", "1.5e-05", "1e+22", "nan"]);
/// ```
pub fn python_repr(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        let text = if value.is_nan() {
            "nan"
        } else if value == 0.0 {
            "0.0"
        } else {
            "inf"
        };
        let sign = if value.is_sign_negative() && !value.is_nan() { "-" } else { "" };
        return format!("{sign}{text}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_place() {
        let mut logs = Logs::from([("val_loss", 1.0), ("loss", 2.0)]);
        logs.set("val_loss", 3.0);
        logs.set("lr", 4.0);
        assert_eq!(logs.iter().collect::<Vec<_>>(), [("val_loss", 3.0), ("loss", 2.0), ("lr", 4.0)]);
        assert_eq!(logs.remove("loss"), Some(2.0));
        assert_eq!(logs.remove("loss"), None);
        assert_eq!(logs.names(), "val_loss,lr");
        assert_eq!(logs.get("loss"), None);
    }

    /// `repr(x)` of Python 3.6.
    #[test]
    fn floats_read_as_in_python() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (-2.5, "-2.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::from(0.9_f32), "0.8999999761581421"),
            (0.000_1, "0.0001"),
            (0.000_099_999, "9.9999e-05"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (1.234_5e300, "1.2345e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, text) in cases {
            assert_eq!(python_repr(value), text);
        }
    }

    /// `'%.4f' % x` and `'%.4e' % x` of Python 3.6.
    #[test]
    fn numbers_of_progress_lines_read_as_in_python() {
        let cases = [
            (2.297_749, true, "2.2977"),
            (0.125_05, true, "0.1250"),
            (-0.5, true, "-0.5000"),
            (1e6, true, "1000000.0000"),
            (0.001, false, "1.0000e-03"),
            (0.0, false, "0.0000e+00"),
            (-123.456, false, "-1.2346e+02"),
            (1e-100, false, "1.0000e-100"),
            (f64::NAN, false, "nan"),
            (f64::INFINITY, true, "inf"),
            (f64::NEG_INFINITY, false, "-inf"),
        ];
        for (value, fixed, text) in cases {
            assert_eq!(metric_text(value, fixed), text);
        }
    }
}
