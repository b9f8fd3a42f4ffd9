//! Metrics: numbers that judge predictions, accumulated over an epoch. A metric is pure: it says what its states
//! become with a batch and what they amount to; training owns the variables.

mod auc;
mod confusion;
mod functions;
mod iou;
mod mean;

pub use auc::{AUC, Curve, Summation};
pub use confusion::{
    FalseNegatives, FalsePositives, Precision, Recall, SensitivityAtSpecificity, SpecificityAtSensitivity,
    Thresholds, TrueNegatives, TruePositives,
};
pub use functions::*;
pub use iou::MeanIoU;
pub use mean::*;

use crate::error::Result;
use crate::kinds::{Kind, function_name, kind};
use crate::losses;
use crate::registry::{Config, Registry};
use crate::tensor::Tensor;
use serde_json::Value;

/// Judges predictions over many batches.
pub trait Metric: Send + Sync {
    /// The name in configs and, for metric objects, in logs: `binary_accuracy`, `auc_1`.
    fn name(&self) -> &str;

    /// Names and shapes of the states; all start at 0, in the default float type.
    fn states(&self) -> Vec<(String, Vec<usize>)>;

    /// The states after a batch. `weight` broadcasts to one weight per sample (or step, or element).
    ///
    /// # Errors
    /// If shapes do not fit.
    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>>;

    /// What the states amount to: a scalar, or one number per threshold.
    fn result(&self, states: &[Tensor]) -> Tensor;

    /// How a training config refers to it: the name of a function, or `{class_name, config}`.
    fn config(&self) -> Value {
        self.name().into()
    }
}

kind!(
    Metric,
    MetricRef,
    MetricSpec,
    REGISTRY,
    to_value = |this: &dyn Metric| this.config(),
    build = |config: &Config| match REGISTRY.build(config) {
        // Every loss is a metric, too: its mean.
        Err(crate::Error::Name(_)) if config.config.is_empty() => {
            match <dyn losses::Loss as Kind>::build(config) {
                Ok(loss) => Ok(MetricRef::new(OfLoss(loss))),
                Err(_) => {
                    let losses = <dyn losses::Loss as Kind>::registry().names();
                    let known: Vec<&str> = BY_OUTPUT.into_iter().chain(losses).collect();
                    Err(REGISTRY.unknown_among(&config.class_name, &known))
                }
            }
        }
        found => found,
    }
);

/// The names whose meaning depends on the output: [`resolve_metric`].
pub(crate) const BY_OUTPUT: [&str; 4] = ["accuracy", "acc", "crossentropy", "ce"];

/// A Rust function of targets and predictions is a metric under its own name: the mean of its values.
impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Metric for F {
    fn name(&self) -> &str {
        function_name::<F>()
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        mean::states()
    }
    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        mean::update_compared(states, y_true, y_pred, weight, self)
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        mean::result(states)
    }
}

/// The mean of a function's values.
struct Function<F> {
    name: String,
    call: F,
}

impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Metric for Function<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        mean::states()
    }
    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        mean::update_compared(states, y_true, y_pred, weight, &self.call)
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        mean::result(states)
    }
}

/// The mean of a loss.
struct OfLoss(losses::LossRef);

impl Metric for OfLoss {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn states(&self) -> Vec<(String, Vec<usize>)> {
        mean::states()
    }
    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        mean::update_compared(states, y_true, y_pred, weight, &|y: &Tensor, p: &Tensor| self.0.call(y, p))
    }
    fn result(&self, states: &[Tensor]) -> Tensor {
        mean::result(states)
    }
}

/// A metric of that name: the mean of a function of targets and predictions.
pub fn custom(name: &str, call: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static) -> MetricRef {
    MetricRef::new(Function { name: name.to_owned(), call })
}

/// The metric of an output: `accuracy`, `acc`, `crossentropy` and `ce` are binary where the output has one feature or
/// the loss is binary crossentropy, sparse where the loss is sparse categorical crossentropy, else categorical.
///
/// ```
/// use keras_core::metrics::resolve_metric;
/// let metric = resolve_metric(&"accuracy".into(), &[None, Some(10)], "sparse_categorical_crossentropy")?;
/// assert_eq!(metric.name(), "sparse_categorical_accuracy");
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the name is unknown.
pub fn resolve_metric(
    spec: &MetricSpec,
    output_shape: &[Option<usize>],
    loss_name: &str,
) -> Result<MetricRef> {
    let one_feature = output_shape.last() == Some(&Some(1));
    let (accuracy, crossentropy) = match loss_name {
        "binary_crossentropy" => ("binary_accuracy", "binary_crossentropy"),
        _ if one_feature => ("binary_accuracy", "binary_crossentropy"),
        "sparse_categorical_crossentropy" => {
            ("sparse_categorical_accuracy", "sparse_categorical_crossentropy")
        }
        _ => ("categorical_accuracy", "categorical_crossentropy"),
    };
    match spec.given_name().as_deref() {
        Some("accuracy" | "acc") => get(accuracy),
        Some("crossentropy" | "ce") => get(crossentropy),
        _ => spec.resolve(),
    }
}

fn function(
    config: &Config,
    name: &str,
    call: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static,
) -> Result<MetricRef> {
    config.reader().finish()?;
    Ok(custom(name, call))
}

/// Whether a name stands for a metric that a user registered.
pub(crate) fn is_custom(name: &str) -> bool {
    REGISTRY.is_custom(name)
}

macro_rules! registry {
    (
        functions { $($($name:literal)|+ = $call:expr, $canonical:literal;)* }
        classes { $($class:ident),* $(,)? }
    ) => {
        static REGISTRY: Registry<MetricRef> = Registry::new("metric", &[
            $($(($name, |config| function(config, $canonical, $call)),)+)*
            $((stringify!($class), |config| Ok(MetricRef::new($class::read(config)?))),)*
        ]);
    };
}

registry! {
    functions {
        "binary_accuracy" = binary_accuracy, "binary_accuracy";
        "categorical_accuracy" = categorical_accuracy, "categorical_accuracy";
        "sparse_categorical_accuracy" = sparse_categorical_accuracy, "sparse_categorical_accuracy";
        "top_k_categorical_accuracy" = |y, p| top_k_categorical_accuracy(y, p, 5), "top_k_categorical_accuracy";
        "sparse_top_k_categorical_accuracy" =
            |y, p| sparse_top_k_categorical_accuracy(y, p, 5), "sparse_top_k_categorical_accuracy";
        "cosine_proximity" | "cosine" | "cosine_similarity" = cosine_proximity, "cosine_proximity";
    }
    classes {
        Mean, Sum, MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
        RootMeanSquaredError, Hinge, SquaredHinge, CategoricalHinge, Accuracy, BinaryAccuracy, CategoricalAccuracy,
        SparseCategoricalAccuracy, TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy, LogCoshError, Poisson,
        KLDivergence, CosineSimilarity, BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy,
        TruePositives, TrueNegatives, FalsePositives, FalseNegatives, Precision, Recall, SensitivityAtSpecificity,
        SpecificityAtSensitivity, AUC, MeanIoU,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accuracy_is_what_output_and_loss_make_of_it() {
        let name = |given: &str, features: usize, loss: &str| {
            let metric = resolve_metric(&given.into(), &[None, Some(features)], loss).unwrap();
            metric.name().to_owned()
        };
        for accuracy in ["accuracy", "acc"] {
            assert_eq!(name(accuracy, 1, "mean_squared_error"), "binary_accuracy");
            assert_eq!(name(accuracy, 1, "sparse_categorical_crossentropy"), "binary_accuracy");
            assert_eq!(name(accuracy, 4, "binary_crossentropy"), "binary_accuracy");
            assert_eq!(name(accuracy, 4, "sparse_categorical_crossentropy"), "sparse_categorical_accuracy");
            assert_eq!(name(accuracy, 4, "mean_squared_error"), "categorical_accuracy");
        }
        assert_eq!(name("ce", 4, "sparse_categorical_crossentropy"), "sparse_categorical_crossentropy");
        assert_eq!(name("crossentropy", 1, "mse"), "binary_crossentropy");
        assert_eq!(name("mae", 4, "mse"), "mean_absolute_error");
        assert_eq!(name("kld", 4, "mse"), "kullback_leibler_divergence");
        assert_eq!(name("top_k_categorical_accuracy", 4, "mse"), "top_k_categorical_accuracy");
        let error = resolve_metric(&"acuracy".into(), &[None, Some(1)], "mse").unwrap_err().to_string();
        assert!(error.contains("metric") && error.contains("accuracy"), "{error}");
    }

    #[test]
    fn objects_without_a_name_get_one_of_their_class() {
        crate::layers::reset_names();
        let (first, second, third) = (AUC::new(), AUC::new(), AUC::new().name("mine"));
        assert_eq!(Metric::name(&first), "auc_1");
        assert_eq!(Metric::name(&first), "auc_1");
        assert_eq!(Metric::name(&third), "mine");
        assert_eq!(Metric::name(&second), "auc_2");
        assert_eq!(Metric::name(&TruePositives::new()), "true_positives_1");
        assert_eq!(Metric::name(&CategoricalAccuracy::new()), "categorical_accuracy");
    }

    #[test]
    fn arguments_outside_their_domain_are_errors() {
        for config in [
            json!({"class_name": "AUC", "config": {"num_thresholds": 1}}),
            json!({"class_name": "AUC", "config": {"curve": "ROK"}}),
            json!({"class_name": "Precision", "config": {"thresholds": [0.5, 1.5]}}),
            json!({"class_name": "Precision", "config": {"top_k": -1}}),
            json!({"class_name": "SensitivityAtSpecificity", "config": {"specificity": 2}}),
            json!({"class_name": "SensitivityAtSpecificity", "config": {}}),
            json!({"class_name": "MeanIoU", "config": {}}),
        ] {
            assert!(deserialize(&config).is_err(), "{config}");
        }
    }
}
