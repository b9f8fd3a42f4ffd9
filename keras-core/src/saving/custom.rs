//! The kinds of things that a [`CustomObjects`] scope can make known.

use crate::error::Result;
use crate::kinds::Kind;
use crate::layers::{self, LayerRef};
use crate::registry::{Config, CustomObjects};
use crate::{activations, constraints, initializers, losses, metrics, optimizers, regularizers};

impl CustomObjects {
    /// A layer class.
    pub fn layer(
        self,
        class_name: &str,
        constructor: impl Fn(&Config) -> Result<LayerRef> + Send + Sync + 'static,
    ) -> Self {
        self.with(layers::registry(), class_name, constructor)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $trait:path, $ref:path;)*) => {
        impl CustomObjects {
            $($(#[$doc])*
            pub fn $name(
                self,
                name: &str,
                constructor: impl Fn(&Config) -> Result<$ref> + Send + Sync + 'static,
            ) -> Self {
                self.with(<dyn $trait as Kind>::registry(), name, constructor)
            })*
        }
    };
}

kinds! {
    /// An activation function.
    activation: activations::Activation, activations::ActivationRef;
    /// A constraint.
    constraint: constraints::Constraint, constraints::ConstraintRef;
    /// An initializer.
    initializer: initializers::Initializer, initializers::InitializerRef;
    /// A loss.
    loss: losses::Loss, losses::LossRef;
    /// A metric.
    metric: metrics::Metric, metrics::MetricRef;
    /// An optimizer.
    optimizer: optimizers::Optimizer, optimizers::OptimizerRef;
    /// A regularizer.
    regularizer: regularizers::Regularizer, regularizers::RegularizerRef;
}
