//! Losses: how far predictions are from targets, one number per sample; and how those become one number per batch.
//!
//! ```
//! use keras_core::{Array, Tensor, losses};
//! let loss = losses::get("mse")?;
//! assert_eq!(loss.name(), "mean_squared_error");
//! let per_sample = loss.call(&Array::from([[0.0_f32, 1.0]]).into(), &Array::from([[0.5_f32, 0.5]]).into());
//! assert_eq!(per_sample.shape()?, [1]);
//! # Ok::<(), keras_core::Error>(())
//! ```

mod aggregate;
mod classes;
mod crossentropy;
mod functions;

pub use aggregate::{Reduction, align_weights, masked_weights, weighted_mean};
pub use classes::*;
pub use crossentropy::{binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy};
pub use functions::*;

pub(crate) use crate::k::{class_numbers, label_positions, labels_like, like};
pub(crate) use classes::{binary, categorical};
pub(crate) use functions::cosine_similarity_along;

use crate::error::Result;
use crate::kinds::{function_name, kind};
use crate::registry::{Config, Registry};
use crate::tensor::Tensor;
use serde_json::Value;

/// Compares targets with predictions.
pub trait Loss: Send + Sync {
    /// The name of the function: `mean_squared_error`, for `mse` and for `MeanSquaredError` alike.
    fn name(&self) -> &str;

    /// One value per sample: `(batch, …, features)` to `(batch, …)`, most often a mean over the last axis.
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Tensor;

    /// How the values of a batch become one number.
    fn reduction(&self) -> Reduction {
        Reduction::SumOverBatchSize
    }

    /// How a training config refers to it: the name of a function, or `{class_name, config}`.
    fn config(&self) -> Value {
        self.name().into()
    }
}

kind!(Loss, LossRef, LossSpec, REGISTRY, to_value = |this: &dyn Loss| this.config());

/// A Rust function of targets and predictions is a loss under its own name.
impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Loss for F {
    fn name(&self) -> &str {
        function_name::<F>()
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Tensor {
        self(y_true, y_pred)
    }
}

struct Custom<F> {
    name: String,
    call: F,
}

impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Loss for Custom<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Tensor {
        (self.call)(y_true, y_pred)
    }
}

/// A loss of that name from a function of targets and predictions, which gives one value per sample.
pub fn custom(name: &str, call: impl Fn(&Tensor, &Tensor) -> Tensor + Send + Sync + 'static) -> LossRef {
    LossRef::new(Custom { name: name.to_owned(), call })
}

/// One of Keras's loss functions.
struct Function {
    name: &'static str,
    call: fn(&Tensor, &Tensor) -> Tensor,
}

impl Loss for Function {
    fn name(&self) -> &str {
        self.name
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Tensor {
        (self.call)(y_true, y_pred)
    }
}

/// Whether a name stands for a loss that a user registered.
pub(crate) fn is_custom(name: &str) -> bool {
    REGISTRY.is_custom(name)
}

macro_rules! registry {
    (
        functions { $($($name:literal)|+ = $function:expr;)* }
        classes { $($class:ident),* $(,)? }
    ) => {
        static REGISTRY: Registry<LossRef> = Registry::new("loss", &[
            $($(($name, |config| plain(config, $function)),)+)*
            $((stringify!($class), |config| Ok(LossRef::new($class::read(config)?))),)*
        ]);
    };
}

fn plain(config: &Config, function: Function) -> Result<LossRef> {
    config.reader().finish()?;
    Ok(LossRef::new(function))
}

registry! {
    functions {
        "mean_squared_error" | "mse" | "MSE" = Function { name: "mean_squared_error", call: mean_squared_error };
        "mean_absolute_error" | "mae" | "MAE" = Function { name: "mean_absolute_error", call: mean_absolute_error };
        "mean_absolute_percentage_error" | "mape" | "MAPE" =
            Function { name: "mean_absolute_percentage_error", call: mean_absolute_percentage_error };
        "mean_squared_logarithmic_error" | "msle" | "MSLE" =
            Function { name: "mean_squared_logarithmic_error", call: mean_squared_logarithmic_error };
        "squared_hinge" = Function { name: "squared_hinge", call: squared_hinge };
        "hinge" = Function { name: "hinge", call: hinge };
        "categorical_hinge" = Function { name: "categorical_hinge", call: categorical_hinge };
        "logcosh" | "log_cosh" = Function { name: "logcosh", call: logcosh };
        "huber_loss" | "huber" = Function { name: "huber_loss", call: huber_loss };
        "categorical_crossentropy" = Function { name: "categorical_crossentropy", call: categorical_crossentropy };
        "sparse_categorical_crossentropy" = Function { name: "sparse_categorical_crossentropy", call: sparse_categorical_crossentropy };
        "binary_crossentropy" | "bce" | "BCE" = Function { name: "binary_crossentropy", call: binary_crossentropy };
        "kullback_leibler_divergence" | "kl_divergence" | "kld" | "KLD" =
            Function { name: "kullback_leibler_divergence", call: kullback_leibler_divergence };
        "poisson" = Function { name: "poisson", call: poisson };
        "cosine_proximity" | "cosine" | "cosine_similarity" = Function { name: "cosine_proximity", call: cosine_proximity };
    }
    classes {
        MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
        BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy,
        Hinge, SquaredHinge, CategoricalHinge, Poisson, LogCosh, KLDivergence, Huber,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::backend::reference::Reference;
    use crate::backend::{Engine, Runtime};
    use crate::tensor::{Trace, TraceOptions};
    use crate::{Array, k};
    use std::sync::Arc;

    fn eval(write: impl Fn(&Trace) -> Tensor) -> Result<Vec<f64>> {
        let runtime: Arc<dyn Runtime> = Arc::new(Engine::new(Reference)?);
        let trace = Trace::new(TraceOptions::default());
        let output = trace.lift(&write(&trace))?;
        trace.with_graph_mut(|graph| graph.set_outputs(vec![output]));
        let program =
            trace.with_graph(|graph| runtime.compile(graph, crate::graph::optimize::Passes::default()))?;
        Ok(program.run(&[])?.swap_remove(0).to_vec())
    }

    fn traced(trace: &Trace, array: impl Into<Array>) -> Tensor {
        trace.tensor(trace.lift(&Tensor::constant(array)).unwrap())
    }

    #[test]
    fn saturated_probabilities_lose_nothing_on_their_logits() {
        // softmax([0, 200]) is [1e-87, 1]: clipped, its loss would be −ln ε = 16.1 and its gradient 0.
        let values = eval(|trace| {
            let (y, x) = (traced(trace, [[1.0_f32, 0.0]]), traced(trace, [[0.0_f32, 200.0]]));
            get("categorical_crossentropy").unwrap().call(&y, &k::softmax(&x, -1))
        });
        assert_eq!(values.unwrap(), [200.0]);
        let values = eval(|trace| {
            let (y, x) = (traced(trace, [[1.0_f32, 0.0]]), traced(trace, [[-300.0_f32, -40.0]]));
            get("binary_crossentropy").unwrap().call(&y, &k::sigmoid(&x))
        });
        assert!((values.unwrap()[0] - 150.0 - (-40.0_f64).exp() / 2.0).abs() < 1e-4);
    }

    #[test]
    fn binary_crossentropy_of_logit_0_has_the_gradient_of_the_sigmoid() {
        let values = eval(|trace| {
            let (y, x) = (traced(trace, [[1.0_f32, 0.0]]), traced(trace, [[0.0_f32, 0.0]]));
            let loss = get("binary_crossentropy").unwrap().call(&y, &k::sigmoid(&x));
            k::gradients(&loss, &[&x]).unwrap().remove(0).unwrap()
        });
        assert_eq!(values.unwrap(), [-0.25, 0.25]);
    }

    #[test]
    fn class_numbers_that_do_not_exist_are_errors() {
        for labels in [[[0_i32], [3]], [[-1], [0]]] {
            let values = eval(|trace| {
                let (y, p) = (traced(trace, labels), traced(trace, [[0.5_f32, 0.25, 0.25], [0.2, 0.3, 0.5]]));
                get("sparse_categorical_crossentropy").unwrap().call(&y, &p)
            });
            assert!(values.is_err(), "{labels:?}: {values:?}");
        }
        let onehot = Tensor::constant([[0.0_f32, 1.0]]);
        let error =
            sparse_categorical_crossentropy(&onehot, &onehot).check().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("one-hot"), "{error}");
    }

    #[test]
    fn weights_that_do_not_fit_are_errors() {
        let values = Tensor::constant([1.0_f32, 2.0, 3.0]);
        for wrong in [Array::from([1.0_f32, 2.0]), Array::from([[1.0_f32, 2.0, 3.0]])] {
            assert!(align_weights(&values, &Tensor::constant(wrong)).check().is_err());
        }
        let column = Array::from([[1.0_f32], [2.0], [3.0]]);
        assert_eq!(align_weights(&values, &Tensor::constant(column)).shape().unwrap(), [3]);
    }

    #[test]
    fn functions_are_losses_under_their_own_names() {
        fn distance(y: &Tensor, p: &Tensor) -> Tensor {
            k::sum(&k::abs(&(p - y)), &[-1], false)
        }
        let loss = LossSpec::from(distance).resolve().unwrap();
        assert_eq!((loss.name(), loss.config()), ("distance", "distance".into()));
        assert_eq!(LossSpec::from(mean_squared_error).to_value(), "mean_squared_error");
        assert_eq!(custom("mine", distance).name(), "mine");
    }
}
