//! What layers with kernels share: [`Weighted`] (how one weight starts, is penalised and projected) and [`Affine`]
//! (kernel, bias, activation).

use super::check::{dtype, positive};
use super::conv_geometry::from_channels_last;
use super::{Build, Call};
use crate::activations::{ActivationSpec, Function};
use crate::config::DataFormat;
use crate::constraints::ConstraintSpec;
use crate::error::Result;
use crate::initializers::InitializerSpec;
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor};

/// Arguments of one weight: its first values, a penalty, a projection after every update.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    pub(crate) initializer: InitializerSpec,
    pub(crate) regularizer: RegularizerSpec,
    pub(crate) constraint: ConstraintSpec,
}

impl Weighted {
    pub(crate) fn new(initializer: &str) -> Self {
        Self {
            initializer: initializer.into(),
            regularizer: RegularizerSpec::default(),
            constraint: ConstraintSpec::default(),
        }
    }

    /// Reads `ROLE_initializer`, `ROLE_regularizer` and `ROLE_constraint`.
    pub(crate) fn read(reader: &mut Reader<'_>, role: &str, default: Self) -> Result<Self> {
        Ok(Self {
            initializer: InitializerSpec::read(reader, &format!("{role}_initializer"), default.initializer)?,
            regularizer: RegularizerSpec::read(reader, &format!("{role}_regularizer"), default.regularizer)?,
            constraint: ConstraintSpec::read(reader, &format!("{role}_constraint"), default.constraint)?,
        })
    }

    /// Makes the weight.
    pub(crate) fn add(&self, cx: &mut Build, name: &str, shape: impl Into<Vec<usize>>) -> Result<()> {
        cx.weight(name, shape, &self.initializer.resolve()?)
            .regularizer(self.regularizer.resolve_if_any()?.as_ref())
            .constraint(self.constraint.resolve_if_any()?.as_ref())
            .add()
            .map(|_| ())
    }
}

/// Adds `ROLE_initializer` of each of those weights, then `ROLE_regularizer`, then `ROLE_constraint`: Keras's order.
pub(crate) fn write_weights(mut config: Config, weights: &[(&str, &Weighted)]) -> Config {
    for (role, weight) in weights {
        config = config.with(&format!("{role}_initializer"), weight.initializer.to_value());
    }
    for (role, weight) in weights {
        config = config.with(&format!("{role}_regularizer"), weight.regularizer.to_value());
    }
    for (role, weight) in weights {
        config = config.with(&format!("{role}_constraint"), weight.constraint.to_value());
    }
    config
}

/// Arguments of a layer that computes activation(x ∘ kernel + bias).
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) activation: ActivationSpec,
    pub(crate) use_bias: bool,
    pub(crate) kernel: Weighted,
    pub(crate) bias: Weighted,
    pub(crate) activity_regularizer: RegularizerSpec,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            activation: ActivationSpec::default(),
            use_bias: true,
            kernel: Weighted::new("glorot_uniform"),
            bias: Weighted::new("zeros"),
            activity_regularizer: RegularizerSpec::default(),
        }
    }
}

impl Affine {
    /// Reads the arguments under Keras's keys.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let kernel = Weighted::read(reader, "kernel", Self::default().kernel)?;
        Ok(Self { kernel, ..Self::read_without_kernel(reader)? })
    }

    /// The same for layers whose kernels have other names.
    pub(crate) fn read_without_kernel(reader: &mut Reader<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            activation: ActivationSpec::read(reader, "activation", default.activation)?,
            use_bias: reader.boolean("use_bias", true)?,
            kernel: default.kernel,
            bias: Weighted::read(reader, "bias", default.bias)?,
            activity_regularizer: RegularizerSpec::read(
                reader,
                "activity_regularizer",
                default.activity_regularizer,
            )?,
        })
    }

    /// Adds the arguments in Keras's order.
    pub(crate) fn write(&self, config: Config) -> Config {
        self.write_head(config)
            .with("kernel_initializer", self.kernel.initializer.to_value())
            .with("bias_initializer", self.bias.initializer.to_value())
            .with("kernel_regularizer", self.kernel.regularizer.to_value())
            .with("bias_regularizer", self.bias.regularizer.to_value())
            .with("activity_regularizer", self.activity_regularizer.to_value())
            .with("kernel_constraint", self.kernel.constraint.to_value())
            .with("bias_constraint", self.bias.constraint.to_value())
    }

    /// The same for layers whose kernels have other names.
    pub(crate) fn write_without_kernel(&self, config: Config) -> Config {
        self.write_head(config)
            .with("bias_initializer", self.bias.initializer.to_value())
            .with("bias_regularizer", self.bias.regularizer.to_value())
            .with("activity_regularizer", self.activity_regularizer.to_value())
            .with("bias_constraint", self.bias.constraint.to_value())
    }

    fn write_head(&self, config: Config) -> Config {
        config.with("activation", activation_value(&self.activation)).with("use_bias", self.use_bias)
    }

    /// Makes kernel and bias; the kernel's last axis is that of the results.
    pub(crate) fn build(&self, class: &str, cx: &mut Build, input: &Spec, kernel: &[usize]) -> Result<()> {
        let units = kernel.last().copied().unwrap_or_default();
        self.check(class, cx, input, units)?;
        self.kernel.add(cx, "kernel", kernel)?;
        self.build_bias(cx, [units])
    }

    /// Refuses wrong arguments before there are weights.
    pub(crate) fn check(&self, class: &str, cx: &Build, input: &Spec, units: usize) -> Result<()> {
        dtype(class, input, cx.dtype())?;
        positive(class, "units or filters", units)?;
        self.activation.resolve()?;
        self.activity_regularizer.resolve_if_any()?;
        Ok(())
    }

    /// Makes the bias, if there is one.
    pub(crate) fn build_bias(&self, cx: &mut Build, shape: impl Into<Vec<usize>>) -> Result<()> {
        if self.use_bias { self.bias.add(cx, "bias", shape) } else { Ok(()) }
    }

    /// Bias, activation, and the channels where the format has them: the results of a layer that computed `y` with
    /// the channels last.
    pub(crate) fn finish(&self, cx: &Call, y: Tensor, format: DataFormat) -> Result<Vec<Tensor>> {
        let bias = if self.use_bias { Some(cx.weight("bias")?) } else { None };
        self.finish_with(y, bias.as_ref(), format)
    }

    /// The same with a bias that is not the weight itself.
    pub(crate) fn finish_with(
        &self,
        y: Tensor,
        bias: Option<&Tensor>,
        format: DataFormat,
    ) -> Result<Vec<Tensor>> {
        let y = bias.map_or_else(|| y.clone(), |bias| k::add(&y, bias));
        let activation = self.activation.resolve()?;
        let elementwise = activation.builtin().is_some_and(|function| function != Function::Softmax);
        // Before the channels move back, where that is the same: the moves of neighbouring layers then cancel.
        Ok(vec![if elementwise {
            from_channels_last(&activation.call(&y), format)?
        } else {
            activation.call(&from_channels_last(&y, format)?)
        }])
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

/// The setters of a [`Weighted`]:
/// `weight_verbs!([] Dense, affine.bias, "the bias", "zeros", bias_initializer, bias_regularizer, bias_constraint)`.
macro_rules! weight_verbs {
    ([$($generics:tt)*] $type:ty, $($field:ident).+, $what:literal, $default:literal, $initializer:ident, $regularizer:ident, $constraint:ident) => {
        impl<$($generics)*> $type {
            #[doc = concat!("First values of ", $what, "; default `\"", $default, "\"`.")]
            pub fn $initializer(mut self, initializer: impl Into<$crate::initializers::InitializerSpec>) -> Self {
                self.$($field).+.initializer = initializer.into();
                self
            }
            #[doc = concat!("A penalty on ", $what, ".")]
            pub fn $regularizer(mut self, regularizer: impl Into<$crate::regularizers::RegularizerSpec>) -> Self {
                self.$($field).+.regularizer = regularizer.into();
                self
            }
            #[doc = concat!("A projection of ", $what, " after every update.")]
            pub fn $constraint(mut self, constraint: impl Into<$crate::constraints::ConstraintSpec>) -> Self {
                self.$($field).+.constraint = constraint.into();
                self
            }
        }
    };
}
pub(crate) use weight_verbs;

/// The setters of a layer type with a field `affine: Affine`, without those of its kernel.
macro_rules! bias_verbs {
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
            /// A penalty on the results, summed over the batch.
            pub fn activity_regularizer(mut self, regularizer: impl Into<$crate::regularizers::RegularizerSpec>) -> Self {
                self.affine.activity_regularizer = regularizer.into();
                self
            }
        }
        $crate::layers::affine::weight_verbs!([$($generics)*] $type, affine.bias, "the bias", "zeros", bias_initializer, bias_regularizer, bias_constraint);
    };
}
pub(crate) use bias_verbs;

/// The setters of a layer type with a field `affine: Affine`.
macro_rules! affine_verbs {
    ([$($generics:tt)*] $type:ty) => {
        $crate::layers::affine::bias_verbs!([$($generics)*] $type);
        $crate::layers::affine::weight_verbs!([$($generics)*] $type, affine.kernel, "the kernel", "glorot_uniform", kernel_initializer, kernel_regularizer, kernel_constraint);
    };
}
pub(crate) use affine_verbs;
