//! Metrics that are means of values per sample: Keras 2.3's classes with their arguments.

use super::{Metric, functions};
use crate::error::{Error, Result};
use crate::k;
use crate::k::{nth, op};
use crate::layers::{automatic_name, snake_case};
use crate::losses;
use crate::registry::{Config, Reader};
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The name of a metric object: given, or made when first asked for (`auc_1`).
#[derive(Debug, Clone, Default)]
pub(super) struct ObjectName {
    given: Option<String>,
    made: OnceLock<String>,
}

impl ObjectName {
    pub(super) fn set(&mut self, name: String) {
        self.given = Some(name);
    }
    pub(super) fn get(&self, class: &str) -> &str {
        match &self.given {
            Some(name) => name,
            None => self.made.get_or_init(|| automatic_name(&snake_case(class))),
        }
    }
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.ignore(&["dtype"]);
        Ok(Self { given: reader.text_or_none("name")?, made: OnceLock::new() })
    }
}

/// The start of a metric object's config.
pub(super) fn object_config(class: &str, name: &str) -> Config {
    Config::new(class).with("name", name).with("dtype", k::floatx().name())
}

pub(super) fn states() -> Vec<(String, Vec<usize>)> {
    vec![("total".into(), Vec::new()), ("count".into(), Vec::new())]
}

pub(super) fn result(states: &[Tensor]) -> Tensor {
    match states {
        [total, count] => total / count,
        _ => wrong_states(2, states),
    }
}

pub(super) fn wrong_states(expected: usize, states: &[Tensor]) -> Tensor {
    Tensor::poisoned(wrong_number(expected, states))
}

pub(super) fn wrong_number(expected: usize, states: &[Tensor]) -> Error {
    Error::state("metric", format!("{expected} states"), states.len().to_string())
}

/// Total and count with the values of a batch.
pub(super) fn update(states: &[Tensor], values: &Tensor, weight: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let [total, count] = states else { return Err(wrong_number(2, states)) };
    let values = k::cast(values, total.dtype()?);
    let (sum, number) = match weight {
        Some(weight) => {
            let weights = losses::align_weights(&values, weight);
            (k::sum(&(&values * &weights), &[], false), k::sum(&weights, &[], false))
        }
        None => (k::sum(&values, &[], false), number_of(&values)),
    };
    checked([total + sum, count + number])
}

pub(super) fn checked<const N: usize>(states: [Tensor; N]) -> Result<Vec<Tensor>> {
    for state in &states {
        state.check()?;
    }
    Ok(states.into())
}

/// How many elements there are.
fn number_of(x: &Tensor) -> Tensor {
    op("size", &[x], |graph, values| {
        let ty = graph.ty(nth(values, 0)?).clone();
        Ok(graph.scalar(ty.len() as f64, ty.dtype))
    })
}

/// Total and count with a function's values. Where ranks differ by a last axis of length 1, it goes.
pub(super) fn update_compared(
    states: &[Tensor],
    y_true: &Tensor,
    y_pred: &Tensor,
    weight: Option<&Tensor>,
    call: &dyn Fn(&Tensor, &Tensor) -> Tensor,
) -> Result<Vec<Tensor>> {
    let (y, p) = same_rank(y_true, y_pred)?;
    update(states, &call(&y, &p), weight)
}

/// Targets and predictions whose ranks differ by 1, without the last axis that is of length 1.
pub(super) fn same_rank(y_true: &Tensor, y_pred: &Tensor) -> Result<(Tensor, Tensor)> {
    let (y, p) = (y_true.spec()?, y_pred.spec()?);
    let single = |spec: &crate::Spec| spec.shape.last() == Some(&Some(1));
    Ok(if p.rank() == y.rank() + 1 && single(&p) {
        (y_true.clone(), k::squeeze(y_pred, -1))
    } else if y.rank() == p.rank() + 1 && single(&y) {
        (k::squeeze(y_true, -1), y_pred.clone())
    } else {
        (y_true.clone(), y_pred.clone())
    })
}

/// Reads an argument of a class.
trait Argument: Sized {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self>;
}

impl Argument for bool {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.boolean(key, default)
    }
}

impl Argument for f64 {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.float(key, default)
    }
}

impl Argument for usize {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        reader.count(key, default)
    }
}

impl Argument for isize {
    fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        Ok(reader.integer(key, default as i64)? as isize)
    }
}

macro_rules! classes {
    ($(
        $(#[$doc:meta])*
        $class:ident = $name:literal {
            $($(#[$argument_doc:meta])* $argument:ident: $type:ty = $default:expr),* $(,)?
        } |$this:ident, $y:ident, $p:ident| $values:expr;
    )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $class {
            name: String,
            $($argument: $type,)*
        }

        impl Default for $class {
            fn default() -> Self {
                Self { name: $name.to_owned(), $($argument: $default,)* }
            }
        }

        impl $class {
            /// With Keras's defaults.
            pub fn new() -> Self {
                Self::default()
            }

            /// The name in logs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }

            $($(#[$argument_doc])*
            pub fn $argument(mut self, $argument: $type) -> Self {
                self.$argument = $argument;
                self
            })*

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let plain = Self::default();
                let made = Self {
                    name: reader.text("name", &plain.name)?,
                    $($argument: Argument::read(&mut reader, stringify!($argument), plain.$argument)?,)*
                };
                reader.ignore(&["dtype", "fn"]);
                reader.only(&[("axis", json!(-1)), ("ignore_class", Value::Null)])?;
                reader.finish()?;
                Ok(made)
            }
        }

        impl Metric for $class {
            fn name(&self) -> &str {
                &self.name
            }
            fn states(&self) -> Vec<(String, Vec<usize>)> {
                states()
            }
            fn update(
                &self,
                states: &[Tensor],
                y_true: &Tensor,
                y_pred: &Tensor,
                weight: Option<&Tensor>,
            ) -> Result<Vec<Tensor>> {
                let $this = self;
                update_compared(states, y_true, y_pred, weight, &|$y: &Tensor, $p: &Tensor| $values)
            }
            fn result(&self, states: &[Tensor]) -> Tensor {
                result(states)
            }
            fn config(&self) -> Value {
                object_config(stringify!($class), &self.name)
                    $(.with(stringify!($argument), self.$argument))*
                    .to_value()
            }
        }
    )* };
}

classes! {
    /// The mean of [`mean_squared_error`](crate::losses::mean_squared_error).
    MeanSquaredError = "mean_squared_error" {} |_this, y, p| losses::mean_squared_error(y, p);
    /// The mean of [`mean_absolute_error`](crate::losses::mean_absolute_error).
    MeanAbsoluteError = "mean_absolute_error" {} |_this, y, p| losses::mean_absolute_error(y, p);
    /// The mean of [`mean_absolute_percentage_error`](crate::losses::mean_absolute_percentage_error).
    MeanAbsolutePercentageError = "mean_absolute_percentage_error" {} |_this, y, p| {
        losses::mean_absolute_percentage_error(y, p)
    };
    /// The mean of [`mean_squared_logarithmic_error`](crate::losses::mean_squared_logarithmic_error).
    MeanSquaredLogarithmicError = "mean_squared_logarithmic_error" {} |_this, y, p| {
        losses::mean_squared_logarithmic_error(y, p)
    };
    /// The mean of [`hinge`](crate::losses::hinge).
    Hinge = "hinge" {} |_this, y, p| losses::hinge(y, p);
    /// The mean of [`squared_hinge`](crate::losses::squared_hinge).
    SquaredHinge = "squared_hinge" {} |_this, y, p| losses::squared_hinge(y, p);
    /// The mean of [`categorical_hinge`](crate::losses::categorical_hinge).
    CategoricalHinge = "categorical_hinge" {} |_this, y, p| losses::categorical_hinge(y, p);
    /// The mean of [`logcosh`](crate::losses::logcosh).
    LogCoshError = "logcosh" {} |_this, y, p| losses::logcosh(y, p);
    /// The mean of [`poisson`](crate::losses::poisson).
    Poisson = "poisson" {} |_this, y, p| losses::poisson(y, p);
    /// The mean of [`kullback_leibler_divergence`](crate::losses::kullback_leibler_divergence).
    KLDivergence = "kullback_leibler_divergence" {} |_this, y, p| losses::kullback_leibler_divergence(y, p);
    /// The share of predictions equal to their targets.
    Accuracy = "accuracy" {} |_this, y, p| functions::accuracy(y, p);
    /// The mean of [`binary_accuracy`](super::binary_accuracy).
    BinaryAccuracy = "binary_accuracy" {
        /// Above which a prediction counts as 1; default 0.5.
        threshold: f64 = 0.5,
    } |this, y, p| functions::binary_accuracy_above(y, p, this.threshold);
    /// The mean of [`categorical_accuracy`](super::categorical_accuracy).
    CategoricalAccuracy = "categorical_accuracy" {} |_this, y, p| functions::categorical_accuracy(y, p);
    /// The mean of [`sparse_categorical_accuracy`](super::sparse_categorical_accuracy).
    SparseCategoricalAccuracy = "sparse_categorical_accuracy" {} |_this, y, p| {
        functions::sparse_categorical_accuracy(y, p)
    };
    /// The mean of [`top_k_categorical_accuracy`](super::top_k_categorical_accuracy).
    TopKCategoricalAccuracy = "top_k_categorical_accuracy" {
        /// How many of the largest predictions count; default 5.
        k: usize = 5,
    } |this, y, p| functions::top_k_categorical_accuracy(y, p, this.k);
    /// The mean of [`sparse_top_k_categorical_accuracy`](super::sparse_top_k_categorical_accuracy).
    SparseTopKCategoricalAccuracy = "sparse_top_k_categorical_accuracy" {
        /// How many of the largest predictions count; default 5.
        k: usize = 5,
    } |this, y, p| functions::sparse_top_k_categorical_accuracy(y, p, this.k);
    /// The mean cosine of the angle between targets and predictions.
    CosineSimilarity = "cosine_similarity" {
        /// The axis of the vectors; default the last.
        axis: isize = -1,
    } |this, y, p| losses::cosine_similarity_along(y, p, this.axis);
    /// The mean of [`binary_crossentropy`](crate::losses::binary_crossentropy).
    BinaryCrossentropy = "binary_crossentropy" {
        /// Whether predictions are logits; default false.
        from_logits: bool = false,
        /// How far targets move from 0 and 1 towards ½; default 0.
        label_smoothing: f64 = 0.0,
    } |this, y, p| losses::binary(y, p, this.from_logits, this.label_smoothing);
    /// The mean of [`categorical_crossentropy`](crate::losses::categorical_crossentropy).
    CategoricalCrossentropy = "categorical_crossentropy" {
        /// Whether predictions are logits; default false.
        from_logits: bool = false,
        /// How far targets move from one-hot towards the even distribution; default 0.
        label_smoothing: f64 = 0.0,
    } |this, y, p| losses::categorical(y, p, this.from_logits, this.label_smoothing);
    /// The mean of [`sparse_categorical_crossentropy`](crate::losses::sparse_categorical_crossentropy).
    SparseCategoricalCrossentropy = "sparse_categorical_crossentropy" {
        /// Whether predictions are logits; default false.
        from_logits: bool = false,
        /// The axis of the classes; default the last.
        axis: isize = -1,
    } |this, y, p| k::sparse_categorical_crossentropy(y, p, this.from_logits, this.axis);
}

macro_rules! named {
    ($(#[$doc:meta])* $class:ident = $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $class {
            name: String,
        }

        impl Default for $class {
            fn default() -> Self {
                Self { name: $name.to_owned() }
            }
        }

        impl $class {
            /// With Keras's name.
            pub fn new() -> Self {
                Self::default()
            }

            /// The name in logs.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }

            pub(super) fn read(config: &Config) -> Result<Self> {
                let mut reader = config.reader();
                let made = Self { name: reader.text("name", $name)? };
                reader.ignore(&["dtype"]);
                reader.finish()?;
                Ok(made)
            }
        }
    };
}

named! {
    /// The weighted mean of the predictions themselves.
    Mean = "mean"
}

impl Metric for Mean {
    fn name(&self) -> &str {
        &self.name
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        states()
    }
    fn update(
        &self,
        states: &[Tensor],
        _: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        update(states, y_pred, weight)
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        result(states)
    }
    fn config(&self) -> Value {
        object_config("Mean", &self.name).to_value()
    }
}

named! {
    /// The weighted sum of the predictions themselves.
    Sum = "sum"
}

impl Metric for Sum {
    fn name(&self) -> &str {
        &self.name
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        vec![("total".into(), Vec::new())]
    }
    fn update(
        &self,
        states: &[Tensor],
        _: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        let [total] = states else { return Err(wrong_number(1, states)) };
        let values = k::cast(y_pred, total.dtype()?);
        let values = match weight {
            Some(weight) => losses::align_weights(&values, weight) * &values,
            None => values,
        };
        checked([total + k::sum(&values, &[], false)])
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        states.first().cloned().unwrap_or_else(|| wrong_states(1, states))
    }
    fn config(&self) -> Value {
        object_config("Sum", &self.name).to_value()
    }
}

named! {
    /// √mean((p − y)²) over all elements.
    RootMeanSquaredError = "root_mean_squared_error"
}

impl Metric for RootMeanSquaredError {
    fn name(&self) -> &str {
        &self.name
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        states()
    }
    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        let (y, p) = same_rank(y_true, y_pred)?;
        update(states, &k::square(&(&p - losses::like(&y, &p))), weight)
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        k::sqrt(&result(states))
    }
    fn config(&self) -> Value {
        object_config("RootMeanSquaredError", &self.name).to_value()
    }
}
