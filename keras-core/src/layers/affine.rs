//! What `Dense` and the convolutions share: kernel, bias, activation, and their arguments.

use super::check::{dtype, positive};
use super::{Build, Call};
use crate::activations::{ActivationRef, ActivationSpec, Function};
use crate::constraints::ConstraintSpec;
use crate::error::Result;
use crate::initializers::InitializerSpec;
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor};

/// Arguments of a layer that computes activation(x ∘ kernel + bias).
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) activation: ActivationSpec,
    pub(crate) use_bias: bool,
    pub(crate) kernel_initializer: InitializerSpec,
    pub(crate) bias_initializer: InitializerSpec,
    pub(crate) kernel_regularizer: RegularizerSpec,
    pub(crate) bias_regularizer: RegularizerSpec,
    pub(crate) activity_regularizer: RegularizerSpec,
    pub(crate) kernel_constraint: ConstraintSpec,
    pub(crate) bias_constraint: ConstraintSpec,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            activation: ActivationSpec::default(),
            use_bias: true,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: RegularizerSpec::default(),
            bias_regularizer: RegularizerSpec::default(),
            activity_regularizer: RegularizerSpec::default(),
            kernel_constraint: ConstraintSpec::default(),
            bias_constraint: ConstraintSpec::default(),
        }
    }
}

/// Where bias and activation act on a result whose channels lie elsewhere.
pub(crate) enum Order {
    /// The activation may act before the channels move.
    Elementwise,
    /// The activation reads the last axis, whatever that is.
    AlongAxis,
}

impl Affine {
    /// Reads the arguments under Keras's keys.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            activation: ActivationSpec::read(reader, "activation", default.activation)?,
            use_bias: reader.boolean("use_bias", true)?,
            kernel_initializer: InitializerSpec::read(
                reader,
                "kernel_initializer",
                default.kernel_initializer,
            )?,
            bias_initializer: InitializerSpec::read(reader, "bias_initializer", default.bias_initializer)?,
            kernel_regularizer: RegularizerSpec::read(
                reader,
                "kernel_regularizer",
                default.kernel_regularizer,
            )?,
            bias_regularizer: RegularizerSpec::read(reader, "bias_regularizer", default.bias_regularizer)?,
            activity_regularizer: RegularizerSpec::read(
                reader,
                "activity_regularizer",
                default.activity_regularizer,
            )?,
            kernel_constraint: ConstraintSpec::read(reader, "kernel_constraint", default.kernel_constraint)?,
            bias_constraint: ConstraintSpec::read(reader, "bias_constraint", default.bias_constraint)?,
        })
    }

    /// Adds the arguments in Keras's order.
    pub(crate) fn write(&self, config: Config) -> Config {
        config
            .with("activation", activation_value(&self.activation))
            .with("use_bias", self.use_bias)
            .with("kernel_initializer", self.kernel_initializer.to_value())
            .with("bias_initializer", self.bias_initializer.to_value())
            .with("kernel_regularizer", self.kernel_regularizer.to_value())
            .with("bias_regularizer", self.bias_regularizer.to_value())
            .with("activity_regularizer", self.activity_regularizer.to_value())
            .with("kernel_constraint", self.kernel_constraint.to_value())
            .with("bias_constraint", self.bias_constraint.to_value())
    }

    /// Makes kernel and bias; the kernel's last axis is that of the results.
    pub(crate) fn build(&self, class: &str, cx: &mut Build, input: &Spec, kernel: &[usize]) -> Result<()> {
        dtype(class, input, cx.dtype())?;
        let units = kernel.last().copied().unwrap_or_default();
        positive(class, "a number of units or filters", units)?;
        self.activation.resolve()?;
        self.activity_regularizer.resolve_if_any()?;
        cx.weight("kernel", kernel, &self.kernel_initializer.resolve()?)
            .regularizer(self.kernel_regularizer.resolve_if_any()?.as_ref())
            .constraint(self.kernel_constraint.resolve_if_any()?.as_ref())
            .add()?;
        if self.use_bias {
            cx.weight("bias", [units], &self.bias_initializer.resolve()?)
                .regularizer(self.bias_regularizer.resolve_if_any()?.as_ref())
                .constraint(self.bias_constraint.resolve_if_any()?.as_ref())
                .add()?;
        }
        Ok(())
    }

    /// Adds the bias along the last axis, if there is one.
    pub(crate) fn add_bias(&self, cx: &Call, y: Tensor) -> Result<Tensor> {
        if self.use_bias { Ok(k::bias_add(&y, &cx.weight("bias")?)) } else { Ok(y) }
    }

    /// The activation, and whether it reads more than one element.
    pub(crate) fn activation(&self) -> Result<(ActivationRef, Order)> {
        let activation = self.activation.resolve()?;
        let order = match activation.builtin() {
            Some(function) if function != Function::Softmax => Order::Elementwise,
            _ => Order::AlongAxis,
        };
        Ok((activation, order))
    }

    /// The penalty on the results; a wrong one was refused when the layer was built.
    pub(crate) fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.activity_regularizer.resolve_if_any().ok().flatten()
    }
}

/// How a config refers to an activation: `linear` where none was given.
pub(crate) fn activation_value(activation: &ActivationSpec) -> serde_json::Value {
    match activation.resolve() {
        Ok(activation) => activation.name().into(),
        Err(_) => activation.to_value(),
    }
}

/// The setters of a layer type with a field `affine: Affine`.
macro_rules! affine_verbs {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// What the results go through: `"relu"`, `activations::Relu`, a function of a tensor; default none.
            pub fn activation(mut self, activation: impl Into<$crate::activations::ActivationSpec>) -> Self {
                self.affine.activation = activation.into();
                self
            }
            /// Whether a bias is added; default true.
            pub fn use_bias(mut self, use_bias: bool) -> Self {
                self.affine.use_bias = use_bias;
                self
            }
            /// First values of the kernel; default `"glorot_uniform"`.
            pub fn kernel_initializer(mut self, initializer: impl Into<$crate::initializers::InitializerSpec>) -> Self {
                self.affine.kernel_initializer = initializer.into();
                self
            }
            /// First values of the bias; default `"zeros"`.
            pub fn bias_initializer(mut self, initializer: impl Into<$crate::initializers::InitializerSpec>) -> Self {
                self.affine.bias_initializer = initializer.into();
                self
            }
            /// A penalty on the kernel.
            pub fn kernel_regularizer(mut self, regularizer: impl Into<$crate::regularizers::RegularizerSpec>) -> Self {
                self.affine.kernel_regularizer = regularizer.into();
                self
            }
            /// A penalty on the bias.
            pub fn bias_regularizer(mut self, regularizer: impl Into<$crate::regularizers::RegularizerSpec>) -> Self {
                self.affine.bias_regularizer = regularizer.into();
                self
            }
            /// A penalty on the results, summed over the batch.
            pub fn activity_regularizer(mut self, regularizer: impl Into<$crate::regularizers::RegularizerSpec>) -> Self {
                self.affine.activity_regularizer = regularizer.into();
                self
            }
            /// A projection of the kernel after every update.
            pub fn kernel_constraint(mut self, constraint: impl Into<$crate::constraints::ConstraintSpec>) -> Self {
                self.affine.kernel_constraint = constraint.into();
                self
            }
            /// A projection of the bias after every update.
            pub fn bias_constraint(mut self, constraint: impl Into<$crate::constraints::ConstraintSpec>) -> Self {
                self.affine.bias_constraint = constraint.into();
                self
            }
        }
    };
}
pub(crate) use affine_verbs;
