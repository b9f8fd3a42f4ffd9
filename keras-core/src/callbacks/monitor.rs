//! [`Mode`]: whether a watched quantity should fall or rise.

use crate::error::did_you_mean;
use crate::training::{Logs, Output};

/// Whether a watched quantity is better when it is smaller or when it is larger.
///
/// Made from `"auto"`, `"min"` or `"max"`; any other word is `auto` with Keras's warning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mode {
    /// By its name: larger is better if the name contains `acc`, else smaller.
    #[default]
    Auto,
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
    /// A word that Keras does not know: `auto`, after a warning.
    Unknown(String),
}

impl From<&str> for Mode {
    fn from(word: &str) -> Self {
        match word {
            "auto" => Self::Auto,
            "min" => Self::Min,
            "max" => Self::Max,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// A [`Mode`] once its `auto` is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Falling,
    Rising,
}

impl Direction {
    /// What `mode` means for the quantity `monitor`; `who` begins the warning about an unknown word.
    pub(super) fn settle(mode: &Mode, monitor: &str, who: &str) -> Self {
        if let Mode::Unknown(word) = mode {
            Output::current().warning(&format!("{who} mode {word} is unknown, fallback to auto mode."));
        }
        match mode {
            Mode::Max => Self::Rising,
            Mode::Auto | Mode::Unknown(_) if monitor.contains("acc") => Self::Rising,
            Mode::Min | Mode::Auto | Mode::Unknown(_) => Self::Falling,
        }
    }

    /// A value worse than every other.
    pub(super) fn worst(self) -> f64 {
        match self {
            Self::Falling => f64::INFINITY,
            Self::Rising => f64::NEG_INFINITY,
        }
    }

    /// Whether `a` is strictly better than `b`; never, if one is NaN.
    pub(super) fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Falling => a < b,
            Self::Rising => a > b,
        }
    }

    /// `delta` towards the better side.
    pub(super) fn gain(self, delta: f64) -> f64 {
        match self {
            Self::Falling => -delta,
            Self::Rising => delta,
        }
    }
}

/// The value of `monitor`; if it is missing, Keras's warning, which `what` begins, and the names that come close.
pub(super) fn watched(logs: &Logs, monitor: &str, what: &str) -> Option<f64> {
    let value = logs.get(monitor);
    if value.is_none() {
        let names = logs.names();
        let near =
            did_you_mean(monitor, names.split(',')).map_or_else(String::new, |near| format!("; {near}"));
        Output::current().warning(&format!(
            "{what} conditioned on metric `{monitor}` which is not available. Available metrics are: {names}{near}"
        ));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::captured;

    #[test]
    fn auto_goes_by_the_name() {
        let settle = |mode: &str, monitor| Direction::settle(&mode.into(), monitor, "EarlyStopping");
        assert_eq!(settle("auto", "val_loss"), Direction::Falling);
        assert_eq!(settle("auto", "val_accuracy"), Direction::Rising);
        assert_eq!(settle("auto", "face_error"), Direction::Falling);
        assert_eq!(settle("auto", "vacc_error"), Direction::Rising);
        assert_eq!(settle("min", "acc"), Direction::Falling);
        assert_eq!(settle("max", "loss"), Direction::Rising);
        let (direction, text) = captured(|| settle("smallest", "loss"));
        assert_eq!(direction, Direction::Falling);
        assert_eq!(text, "warning: EarlyStopping mode smallest is unknown, fallback to auto mode.\n");
    }
}
