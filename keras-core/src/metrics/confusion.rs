//! Metrics that count predictions above thresholds: true and false, positive and negative.

use super::Metric;
use super::mean::{ObjectName, object_config, same_rank, wrong_number, wrong_states};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::k;
use crate::losses;
use crate::registry::{Config, Reader};
use crate::tensor::Tensor;
use serde_json::Value;

/// The cells of a confusion matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    TruePositives,
    TrueNegatives,
    FalsePositives,
    FalseNegatives,
}

impl Cell {
    fn name(self) -> &'static str {
        match self {
            Self::TruePositives => "true_positives",
            Self::TrueNegatives => "true_negatives",
            Self::FalsePositives => "false_positives",
            Self::FalseNegatives => "false_negatives",
        }
    }
}

/// Thresholds as users write them: none for the default, one, or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Thresholds {
    /// 0.5; with `top_k` every one of the largest.
    #[default]
    Default,
    /// One; the metric is a number.
    One(f64),
    /// Several; the metric is a row of numbers.
    Several(Vec<f64>),
}

impl From<f64> for Thresholds {
    fn from(threshold: f64) -> Self {
        Self::One(threshold)
    }
}

impl<const N: usize> From<[f64; N]> for Thresholds {
    fn from(thresholds: [f64; N]) -> Self {
        Self::Several(thresholds.to_vec())
    }
}

impl From<Vec<f64>> for Thresholds {
    fn from(thresholds: Vec<f64>) -> Self {
        Self::Several(thresholds)
    }
}

/// Below every prediction: with `top_k` the others are moved to it.
const LOWEST: f64 = -1e10;

impl Thresholds {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let read = match reader.value("thresholds") {
            None => Some(Self::Default),
            Some(Value::Array(items)) => {
                items.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>().map(Self::Several)
            }
            Some(value) => value.as_f64().map(Self::One),
        };
        let read = read.ok_or_else(|| reader.wrong("thresholds", "null, a number or a list of numbers"))?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<()> {
        let values = match self {
            Self::Default => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values.as_slice(),
        };
        match values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
            Some(value) => Err(Error::value("thresholds", "numbers from 0 to 1", value.to_string())),
            None => Ok(()),
        }
    }

    fn values(&self, default: f64) -> Vec<f64> {
        match self {
            Self::Default => vec![default],
            Self::One(value) => vec![*value],
            Self::Several(values) => values.clone(),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Default => Value::Null,
            Self::One(value) => (*value).into(),
            Self::Several(values) => values.clone().into(),
        }
    }
}

/// What is compared with thresholds.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) top_k: Option<usize>,
    pub(super) class_id: Option<usize>,
}

pub(super) fn states(cells: &[Cell], thresholds: usize) -> Vec<(String, Vec<usize>)> {
    cells.iter().map(|cell| (cell.name().to_owned(), vec![thresholds])).collect()
}

/// The counts of cells, one per threshold, with a batch. A prediction is positive above the threshold, a label where
/// it is not 0.
pub(super) fn update(
    states: &[Tensor],
    cells: &[Cell],
    thresholds: &[f64],
    selection: &Selection,
    (y_true, y_pred, weight): (&Tensor, &Tensor, Option<&Tensor>),
) -> Result<Vec<Tensor>> {
    if states.len() != cells.len() {
        return Err(wrong_number(cells.len(), states));
    }
    let dtype = match states.first() {
        Some(state) => state.dtype()?,
        None => k::floatx(),
    };
    let (y, p) = same_rank(y_true, y_pred)?;
    let (mut y, mut p) = (k::cast(&y, dtype), k::cast(&p, dtype));
    let mut weight = weight.map(|weight| losses::align_weights(&p, weight));
    if let Some(count) = selection.top_k {
        p = largest(&p, count)?;
    }
    if let Some(class) = selection.class_id {
        let one = |x: &Tensor| k::squeeze(&k::slice_axis(x, -1, class, class + 1), -1);
        (y, p) = (one(&y), one(&p));
        weight = weight.as_ref().map(one);
    }
    let row = |x: &Tensor| k::reshape(x, &[1, -1]);
    let limits =
        Tensor::constant(Array::from(thresholds.to_vec()).cast(dtype).reshape(&[thresholds.len(), 1])?);
    let above = k::greater(&row(&p), &limits);
    let below = k::logical_not(&above);
    let positive = row(&k::not_equal(&y, &k::number(&y, 0.0)));
    let negative = k::logical_not(&positive);
    let counted = |label: &Tensor, prediction: &Tensor| {
        let both = k::cast(&k::logical_and(label, prediction), dtype);
        let both = match &weight {
            Some(weight) => both * row(weight),
            None => both,
        };
        k::sum(&both, &[1], false)
    };
    let mut next = Vec::with_capacity(cells.len());
    for (state, cell) in states.iter().zip(cells) {
        let count = match cell {
            Cell::TruePositives => counted(&positive, &above),
            Cell::TrueNegatives => counted(&negative, &below),
            Cell::FalsePositives => counted(&negative, &above),
            Cell::FalseNegatives => counted(&positive, &below),
        };
        let value = state + count;
        value.check()?;
        next.push(value);
    }
    Ok(next)
}

/// The `count` largest along the last axis as they are, the others at the bottom.
fn largest(p: &Tensor, count: usize) -> Result<Tensor> {
    let classes = p.spec()?.shape.last().copied().flatten().ok_or_else(|| {
        Error::shape("top_k", "predictions with a known number of classes", format!("{p:?}"))
    })?;
    if count == 0 || count > classes {
        return Err(Error::value("top_k", format!("a number from 1 to {classes}"), count.to_string()));
    }
    let (_, positions) = k::top_k(p, count);
    let kept = k::sum(&k::one_hot_of(&positions, classes, p.dtype()?), &[-2], false);
    Ok(p * &kept + (1.0 - kept) * LOWEST)
}

/// a/b where b > 0, else 0.
pub(super) fn ratio(a: &Tensor, b: &Tensor) -> Tensor {
    let zero = k::number(b, 0.0);
    k::select(&k::greater(b, &zero), &(a / b), &zero)
}

/// One threshold: a number; several: a row.
/// Single precision tells no more than 2²⁴ thresholds apart.
pub(super) fn check_thresholds(class: &str, count: usize, least: usize) -> Result<()> {
    if (least..=1 << 24).contains(&count) {
        return Ok(());
    }
    let expected = format!("num_thresholds from {least} to 16777216");
    Err(Error::value(class, expected, count.to_string()).advice("Keras's own number is 200"))
}

fn as_result(values: &Tensor, thresholds: usize) -> Tensor {
    if thresholds == 1 { k::squeeze(values, 0) } else { values.clone() }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $class:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $class {
            name: ObjectName,
            thresholds: Thresholds,
        }

        impl $class {
            /// With the threshold 0.5.
            pub fn new() -> Self {
                Self::default()
            }

            /// The name in logs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name.set(name.into());
                self
            }

            /// Above which a prediction is positive, from 0 to 1; default 0.5. Several give a row of counts.
            pub fn thresholds(mut self, thresholds: impl Into<Thresholds>) -> Self {
                self.thresholds = thresholds.into();
                self
            }

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let made = Self { name: ObjectName::read(&mut reader)?, thresholds: Thresholds::read(&mut reader)? };
                reader.finish()?;
                Ok(made)
            }
        }

        impl Metric for $class {
            fn name(&self) -> &str {
                self.name.get(stringify!($class))
            }
            fn states(&self) -> Vec<(String, Vec<usize>)> {
                vec![("accumulator".to_owned(), vec![self.thresholds.values(0.5).len()])]
            }
            fn update(
                &self,
                states: &[Tensor],
                y_true: &Tensor,
                y_pred: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Vec<Tensor>> {
                self.thresholds.check()?;
                let thresholds = self.thresholds.values(0.5);
                update(states, &[Cell::$class], &thresholds, &Selection::default(), (y_true, y_pred, weight))
            }
            fn result(&self, states: &[Tensor]) -> Tensor {
                match states {
                    [count] => as_result(count, self.thresholds.values(0.5).len()),
                    _ => wrong_states(1, states),
                }
            }
            fn config(&self) -> Value {
                let config = object_config(stringify!($class), Metric::name(self));
                config.with("thresholds", self.thresholds.to_value()).to_value()
            }
        }
    )* };
}

counts! {
    /// The (weighted) number of labels 1 that are predicted above the threshold.
    TruePositives;
    /// The (weighted) number of labels 0 that are predicted at or below the threshold.
    TrueNegatives;
    /// The (weighted) number of labels 0 that are predicted above the threshold.
    FalsePositives;
    /// The (weighted) number of labels 1 that are predicted at or below the threshold.
    FalseNegatives;
}

macro_rules! shares {
    ($($(#[$doc:meta])* $class:ident = $other:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $class {
            name: ObjectName,
            thresholds: Thresholds,
            selection: Selection,
        }

        impl $class {
            /// With the threshold 0.5, over all classes.
            pub fn new() -> Self {
                Self::default()
            }

            /// The name in logs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name.set(name.into());
                self
            }

            /// Above which a prediction is positive, from 0 to 1; default 0.5. Several give a row of numbers.
            pub fn thresholds(mut self, thresholds: impl Into<Thresholds>) -> Self {
                self.thresholds = thresholds.into();
                self
            }

            /// Only the `k` largest predictions of a sample can be positive; without thresholds all of them are.
            pub fn top_k(mut self, k: usize) -> Self {
                self.selection.top_k = Some(k);
                self
            }

            /// Only that position of the last axis counts.
            pub fn class_id(mut self, class: usize) -> Self {
                self.selection.class_id = Some(class);
                self
            }

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let mut count = |key: &str| -> Result<Option<usize>> {
                    let value = reader.integer_or_none(key)?;
                    value
                        .map(|value| usize::try_from(value).map_err(|_| reader.wrong(key, "a whole number of at least 0")))
                        .transpose()
                };
                let selection = Selection { top_k: count("top_k")?, class_id: count("class_id")? };
                let made = Self {
                    name: ObjectName::read(&mut reader)?,
                    thresholds: Thresholds::read(&mut reader)?,
                    selection,
                };
                reader.finish()?;
                Ok(made)
            }

            fn limits(&self) -> Vec<f64> {
                self.thresholds.values(if self.selection.top_k.is_some() { LOWEST } else { 0.5 })
            }
        }

        impl Metric for $class {
            fn name(&self) -> &str {
                self.name.get(stringify!($class))
            }
            fn states(&self) -> Vec<(String, Vec<usize>)> {
                states(&[Cell::TruePositives, Cell::$other], self.limits().len())
            }
            fn update(
                &self,
                states: &[Tensor],
                y_true: &Tensor,
                y_pred: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Vec<Tensor>> {
                self.thresholds.check()?;
                let cells = [Cell::TruePositives, Cell::$other];
                update(states, &cells, &self.limits(), &self.selection, (y_true, y_pred, weight))
            }
            fn result(&self, states: &[Tensor]) -> Tensor {
                match states {
                    [hits, others] => as_result(&ratio(hits, &(hits + others)), self.limits().len()),
                    _ => wrong_states(2, states),
                }
            }
            fn config(&self) -> Value {
                object_config(stringify!($class), Metric::name(self))
                    .with("thresholds", self.thresholds.to_value())
                    .with("top_k", self.selection.top_k)
                    .with("class_id", self.selection.class_id)
                    .to_value()
            }
        }
    )* };
}

shares! {
    /// Of the positive predictions, the share that is right: TP / (TP + FP), 0 where there are none.
    Precision = FalsePositives;
    /// Of the positive labels, the share that is found: TP / (TP + FN), 0 where there are none.
    Recall = FalseNegatives;
}

/// All four cells, in the order of Keras's weights.
pub(super) const CELLS: [Cell; 4] =
    [Cell::TruePositives, Cell::TrueNegatives, Cell::FalsePositives, Cell::FalseNegatives];

/// 0, then `count` − 2 steps, then 1.
fn even_thresholds(count: usize) -> Vec<f64> {
    match count {
        1 => vec![0.5],
        _ => (0..count).map(|i| i as f64 / (count - 1) as f64).collect(),
    }
}

macro_rules! trade_offs {
    ($($(#[$doc:meta])* $class:ident($value:ident) |$tp:ident, $tn:ident, $fp:ident, $fn:ident| $given:expr, $wanted:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $class {
            name: ObjectName,
            $value: f64,
            num_thresholds: usize,
        }

        impl $class {
            /// At that value, from 0 to 1, among 200 thresholds.
            pub fn new($value: f64) -> Self {
                Self { name: ObjectName::default(), $value, num_thresholds: 200 }
            }

            /// The name in logs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name.set(name.into());
                self
            }

            /// How many thresholds are tried, at least 1; default 200.
            pub fn num_thresholds(mut self, count: usize) -> Self {
                self.num_thresholds = count;
                self
            }

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let name = ObjectName::read(&mut reader)?;
                let num_thresholds = reader.count("num_thresholds", 200)?;
                let Some($value) = reader.float_or_none(stringify!($value))? else {
                    return Err(reader.wrong(stringify!($value), "a number from 0 to 1"));
                };
                reader.finish()?;
                let made = Self { name, $value, num_thresholds };
                made.check()?;
                Ok(made)
            }

            fn check(&self) -> Result<()> {
                if !(0.0..=1.0).contains(&self.$value) {
                    return Err(Error::value(stringify!($class), "a value from 0 to 1", self.$value.to_string()));
                }
                check_thresholds(stringify!($class), self.num_thresholds, 1)
            }
        }

        impl Metric for $class {
            fn name(&self) -> &str {
                self.name.get(stringify!($class))
            }
            fn states(&self) -> Vec<(String, Vec<usize>)> {
                states(&CELLS, self.num_thresholds)
            }
            fn update(
                &self,
                states: &[Tensor],
                y_true: &Tensor,
                y_pred: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Vec<Tensor>> {
                self.check()?;
                let thresholds = even_thresholds(self.num_thresholds);
                update(states, &CELLS, &thresholds, &Selection::default(), (y_true, y_pred, weight))
            }
            fn result(&self, states: &[Tensor]) -> Tensor {
                let [$tp, $tn, $fp, $fn] = states else { return wrong_states(4, states) };
                let (given, wanted): (Tensor, Tensor) = ($given, $wanted);
                let nearest = k::argmin(&k::abs(&(given - self.$value)), 0);
                k::gather(&wanted, &nearest)
            }
            fn config(&self) -> Value {
                object_config(stringify!($class), Metric::name(self))
                    .with("num_thresholds", self.num_thresholds)
                    .with(stringify!($value), self.$value)
                    .to_value()
            }
        }
    )* };
}

trade_offs! {
    /// The recall TP/(TP + FN) at the threshold whose specificity TN/(TN + FP) is nearest to a given one.
    SensitivityAtSpecificity(specificity) |tp, tn, fp, fn_| ratio(tn, &(tn + fp)), ratio(tp, &(tp + fn_));
    /// The specificity TN/(TN + FP) at the threshold whose recall TP/(TP + FN) is nearest to a given one.
    SpecificityAtSensitivity(sensitivity) |tp, tn, fp, fn_| ratio(tp, &(tp + fn_)), ratio(tn, &(tn + fp));
}
