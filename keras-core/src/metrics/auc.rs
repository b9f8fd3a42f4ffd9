//! The area under a curve.

use super::Metric;
use super::confusion::{CELLS, Selection, check_thresholds, ratio, states, update};
use super::mean::{ObjectName, object_config, wrong_states};
use crate::config::epsilon;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::Config;
use crate::tensor::Tensor;
use serde_json::{Value, json};

/// The curve of [`AUC`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Curve {
    /// True positives' share over false positives' share.
    #[default]
    Roc,
    /// Precision over recall.
    Pr,
}

/// How [`AUC`] adds up the area between two thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Summation {
    /// The mean height; under the precision-recall curve, true and false positives are interpolated (Davis and
    /// Goadrich, 2006).
    #[default]
    Interpolation,
    /// The smaller height.
    Minoring,
    /// The larger height.
    Majoring,
}

/// The area under the ROC or the precision-recall curve, as a sum over thresholds.
///
/// ```
/// use keras_core::metrics::{AUC, Curve, Metric};
/// assert_eq!(AUC::new().curve(Curve::Pr).states()[0].1, [200]);
/// ```
#[derive(Debug, Clone)]
pub struct AUC {
    name: ObjectName,
    num_thresholds: usize,
    curve: Curve,
    summation: Summation,
    thresholds: Option<Vec<f64>>,
}

impl Default for AUC {
    fn default() -> Self {
        Self {
            name: ObjectName::default(),
            num_thresholds: 200,
            curve: Curve::default(),
            summation: Summation::default(),
            thresholds: None,
        }
    }
}

impl AUC {
    /// Of the ROC curve, by interpolation between 200 thresholds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name in logs.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name.set(name.into());
        self
    }

    /// How many thresholds, the ends 0 and 1 among them; at least 2, default 200.
    pub fn num_thresholds(mut self, count: usize) -> Self {
        self.num_thresholds = count;
        self
    }

    /// The curve; default ROC.
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curve = curve;
        self
    }

    /// How areas add up; default by interpolation.
    pub fn summation_method(mut self, summation: Summation) -> Self {
        self.summation = summation;
        self
    }

    /// These thresholds, from 0 to 1, and the ends.
    pub fn thresholds(mut self, thresholds: impl Into<Vec<f64>>) -> Self {
        let mut thresholds = thresholds.into();
        thresholds.sort_by(f64::total_cmp);
        self.num_thresholds = thresholds.len() + 2;
        self.thresholds = Some(thresholds);
        self
    }

    pub(super) fn read(config: &Config) -> Result<Self> {
        let mut reader = config.reader();
        let mut made = Self { name: ObjectName::read(&mut reader)?, ..Self::default() };
        made.num_thresholds = reader.count("num_thresholds", 200)?;
        made.curve = match reader.text("curve", "ROC")?.as_str() {
            "ROC" | "roc" => Curve::Roc,
            "PR" | "pr" => Curve::Pr,
            _ => return Err(reader.wrong("curve", "ROC or PR")),
        };
        made.summation = match reader.text("summation_method", "interpolation")?.to_lowercase().as_str() {
            "interpolation" => Summation::Interpolation,
            "minoring" => Summation::Minoring,
            "majoring" => Summation::Majoring,
            _ => return Err(reader.wrong("summation_method", "interpolation, minoring or majoring")),
        };
        if let Some(value) = reader.value("thresholds") {
            let list = value
                .as_array()
                .and_then(|items| items.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
            made =
                made.thresholds(list.ok_or_else(|| reader.wrong("thresholds", "null or a list of numbers"))?);
        }
        reader.only(&[
            ("multi_label", json!(false)),
            ("num_labels", Value::Null),
            ("label_weights", Value::Null),
            ("from_logits", json!(false)),
        ])?;
        reader.finish()?;
        made.check()?;
        Ok(made)
    }

    fn check(&self) -> Result<()> {
        check_thresholds("AUC", self.num_thresholds, 2)?;
        let outside = self.thresholds.iter().flatten().find(|value| !(0.0..=1.0).contains(*value));
        match outside {
            Some(value) => Err(Error::value("AUC", "thresholds from 0 to 1", value.to_string())),
            None => Ok(()),
        }
    }

    fn inner(&self) -> Vec<f64> {
        match &self.thresholds {
            Some(thresholds) => thresholds.clone(),
            None => (1..self.num_thresholds.saturating_sub(1))
                .map(|i| i as f64 / (self.num_thresholds - 1) as f64)
                .collect(),
        }
    }

    /// The thresholds, the ends a little outside so that rounding moves no prediction past them.
    fn limits(&self) -> Vec<f64> {
        let mut limits = vec![-epsilon()];
        limits.extend(self.inner());
        limits.push(1.0 + epsilon());
        limits
    }
}

impl Metric for AUC {
    fn name(&self) -> &str {
        self.name.get("AUC")
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
        update(states, &CELLS, &self.limits(), &Selection::default(), (y_true, y_pred, weight))
    }

    fn result(&self, states: &[Tensor]) -> Tensor {
        let [tp, tn, fp, fn_] = states else { return wrong_states(4, states) };
        let n = self.num_thresholds;
        let (first, second) =
            (|x: &Tensor| k::slice_axis(x, 0, 0, n - 1), |x: &Tensor| k::slice_axis(x, 0, 1, n));
        if (self.curve, self.summation) == (Curve::Pr, Summation::Interpolation) {
            let positives = tp + fp;
            let (tp_0, tp_1, p_0, p_1) = (first(tp), second(tp), first(&positives), second(&positives));
            let zero = k::number(tp, 0.0);
            let change = tp_0 - &tp_1;
            let slope = ratio(&change, &k::maximum(&(&p_0 - &p_1), &zero));
            let intercept = &tp_1 - &slope * &p_1;
            let both = k::logical_and(&k::greater(&p_0, &zero), &k::greater(&p_1, &zero));
            let one = k::number(tp, 1.0);
            let quotient = k::select(&both, &(p_0 / p_1), &one);
            let area = slope * (change + intercept * k::log(&quotient));
            return k::sum(&ratio(&area, &(tp_1 + second(fn_))), &[], false);
        }
        let recall = ratio(tp, &(tp + fn_));
        let (x, y) = match self.curve {
            Curve::Roc => (ratio(fp, &(fp + tn)), recall),
            Curve::Pr => (recall, ratio(tp, &(tp + fp))),
        };
        let (left, right) = (first(&y), second(&y));
        let heights = match self.summation {
            Summation::Interpolation => (left + right) / 2.0,
            Summation::Minoring => k::minimum(&left, &right),
            Summation::Majoring => k::maximum(&left, &right),
        };
        k::sum(&((first(&x) - second(&x)) * heights), &[], false)
    }

    fn config(&self) -> Value {
        let curve = if self.curve == Curve::Roc { "ROC" } else { "PR" };
        let summation = match self.summation {
            Summation::Interpolation => "interpolation",
            Summation::Minoring => "minoring",
            Summation::Majoring => "majoring",
        };
        object_config("AUC", Metric::name(self))
            .with("num_thresholds", self.num_thresholds)
            .with("curve", curve)
            .with("summation_method", summation)
            .with("thresholds", self.inner())
            .to_value()
    }
}
