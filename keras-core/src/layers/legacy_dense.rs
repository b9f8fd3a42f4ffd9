//! Layers that Keras 2 keeps from Keras 1, with its names of arguments: `MaxoutDense`, `Highway`.

use super::affine::{Weighted, activation_value, weight_verbs};
use super::check::{dtype, exact_rank, one, positive};
use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::activations::ActivationSpec;
use crate::constraints::ConstraintSpec;
use crate::error::Result;
use crate::initializers::{InitializerRef, InitializerSpec, Ones};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// The arguments that both have.
#[derive(Debug, Clone)]
struct OldDense {
    w: Weighted,
    b: Weighted,
    activity_regularizer: RegularizerSpec,
    bias: bool,
    input_dim: Option<usize>,
}

impl OldDense {
    fn new() -> Self {
        Self {
            w: Weighted::new("glorot_uniform"),
            b: Weighted::new("zeros"),
            activity_regularizer: RegularizerSpec::default(),
            bias: true,
            input_dim: None,
        }
    }

    fn read(reader: &mut Reader<'_>, base: &mut Base) -> Result<Self> {
        let default = Self::new();
        let (regularizer, constraint) = (RegularizerSpec::default, ConstraintSpec::default);
        let input_dim = match reader.value("input_dim") {
            Some(_) => Some(reader.count("input_dim", 0)?),
            None => None,
        };
        if base.input_shape.is_none() {
            base.input_shape = input_dim.map(|len| vec![Some(len)]);
        }
        Ok(Self {
            w: Weighted {
                initializer: InitializerSpec::read(reader, "init", default.w.initializer)?,
                regularizer: RegularizerSpec::read(reader, "W_regularizer", regularizer())?,
                constraint: ConstraintSpec::read(reader, "W_constraint", constraint())?,
            },
            b: Weighted {
                regularizer: RegularizerSpec::read(reader, "b_regularizer", regularizer())?,
                constraint: ConstraintSpec::read(reader, "b_constraint", constraint())?,
                ..default.b
            },
            activity_regularizer: RegularizerSpec::read(reader, "activity_regularizer", regularizer())?,
            bias: reader.boolean("bias", true)?,
            input_dim,
        })
    }

    fn write(&self, config: Config) -> Config {
        config
            .with("W_regularizer", self.w.regularizer.to_value())
            .with("b_regularizer", self.b.regularizer.to_value())
            .with("activity_regularizer", self.activity_regularizer.to_value())
            .with("W_constraint", self.w.constraint.to_value())
            .with("b_constraint", self.b.constraint.to_value())
            .with("bias", self.bias)
            .with("input_dim", json!(self.input_dim))
    }

    /// The features of the one input.
    fn features(&self, class: &str, cx: &mut Build, inputs: &[Spec]) -> Result<usize> {
        let spec = exact_rank(class, inputs, 2)?;
        dtype(class, spec, cx.dtype())?;
        self.activity_regularizer.resolve_if_any()?;
        cx.known(class, spec, -1, "last axis")
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.activity_regularizer.resolve_if_any().ok().flatten()
    }
}

/// The setters of both.
macro_rules! old_verbs {
    ($type:ident) => {
        crate::layer_verbs!($type);

        weight_verbs!([] $type, dense.w, "the kernel", "glorot_uniform", init, w_regularizer, w_constraint);

        impl $type {
            /// A penalty on the bias, Keras's `b_regularizer`; default none.
            pub fn b_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
                self.dense.b.regularizer = regularizer.into();
                self
            }

            /// A projection of the bias after every update, Keras's `b_constraint`; default none.
            pub fn b_constraint(mut self, constraint: impl Into<ConstraintSpec>) -> Self {
                self.dense.b.constraint = constraint.into();
                self
            }

            /// A penalty on the results, summed over the batch; default none.
            pub fn activity_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
                self.dense.activity_regularizer = regularizer.into();
                self
            }

            /// The features of a sample, which is the same as an `input_shape` of that length.
            pub fn input_dim(mut self, len: usize) -> Self {
                self.dense.input_dim = Some(len);
                self.input_shape(len)
            }

            /// Whether a bias is added; default true.
            pub fn bias(mut self, bias: bool) -> Self {
                self.dense.bias = bias;
                self
            }
        }
    };
}

/// The largest of `nb_feature` linear maps (Goodfellow et al., 2013): `(batch, features)` to `(batch, output_dim)`.
/// Weights: `W (nb_feature, features, output_dim)`, `b (nb_feature, output_dim)`.
///
/// ```
/// use keras_core::layers::{Input, MaxoutDense};
/// let x = Input::new([16]).tensor()?;
/// assert_eq!(MaxoutDense::new(8).nb_feature(3).call(&x)?.spec()?.shape, [None, Some(8)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MaxoutDense {
    base: Base,
    output_dim: usize,
    nb_feature: usize,
    dense: OldDense,
}

impl MaxoutDense {
    /// That many results, each the largest of 4.
    pub fn new(output_dim: usize) -> Self {
        Self { base: Base::default(), output_dim, nb_feature: 4, dense: OldDense::new() }
    }

    /// How many linear maps there are; default 4.
    pub fn nb_feature(mut self, count: usize) -> Self {
        self.nb_feature = count;
        self
    }
}

old_verbs!(MaxoutDense);

impl Read for MaxoutDense {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut base = Base::read(reader)?;
        let dense = OldDense::read(reader, &mut base)?;
        let output_dim = reader.required_count("output_dim")?;
        Ok(Self { base, output_dim, nb_feature: reader.count("nb_feature", 4)?, dense })
    }
}

impl Layer for MaxoutDense {
    fn config(&self) -> Config {
        self.dense.write(
            Config::new("MaxoutDense")
                .with("output_dim", self.output_dim)
                .with("init", self.dense.w.initializer.to_value())
                .with("nb_feature", self.nb_feature),
        )
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let features = self.dense.features("MaxoutDense", cx, inputs)?;
        positive("MaxoutDense", "output_dim", self.output_dim)?;
        positive("MaxoutDense", "nb_feature", self.nb_feature)?;
        self.dense.w.add(cx, "W", [self.nb_feature, features, self.output_dim])?;
        if self.dense.bias { self.dense.b.add(cx, "b", [self.nb_feature, self.output_dim]) } else { Ok(()) }
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = exact_rank("MaxoutDense", inputs, 2)?;
        let batch = spec.shape.first().copied().flatten();
        Ok(Some(vec![Spec::new([batch, Some(self.output_dim)], spec.dtype)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut y = k::dot(one("MaxoutDense", inputs)?, &cx.weight("W")?);
        if self.dense.bias {
            y = y + cx.weight("b")?;
        }
        Ok(vec![k::max(&y, &[1], false)])
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.dense.activity_regularizer()
    }
}

/// t·activation(x·W + b) + (1 − t)·x with t = sigmoid(x·`W_carry` + `b_carry`) (Srivastava et al., 2015): `(batch,
/// features)` to the same. Weights in this order: `W`, `W_carry`, `b`, `b_carry`.
///
/// ```
/// use keras_core::layers::{Highway, Input};
/// let x = Input::new([16]).tensor()?;
/// assert_eq!(Highway::new().activation("relu").call(&x)?.spec()?.shape, [None, Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Highway {
    base: Base,
    activation: ActivationSpec,
    dense: OldDense,
}

impl Highway {
    /// Without an activation.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), activation: ActivationSpec::default(), dense: OldDense::new() }
    }

    /// What the transformed features go through; default nothing.
    pub fn activation(mut self, activation: impl Into<ActivationSpec>) -> Self {
        self.activation = activation.into();
        self
    }
}

old_verbs!(Highway);

impl Read for Highway {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut base = Base::read(reader)?;
        let dense = OldDense::read(reader, &mut base)?;
        Ok(Self {
            base,
            activation: ActivationSpec::read(reader, "activation", ActivationSpec::default())?,
            dense,
        })
    }
}

impl Layer for Highway {
    fn config(&self) -> Config {
        self.dense.write(
            Config::new("Highway")
                .with("init", self.dense.w.initializer.to_value())
                .with("activation", activation_value(&self.activation)),
        )
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let features = self.dense.features("Highway", cx, inputs)?;
        self.activation.resolve()?;
        self.dense.w.add(cx, "W", [features, features])?;
        cx.weight("W_carry", [features, features], &self.dense.w.initializer.resolve()?).add()?;
        if self.dense.bias {
            self.dense.b.add(cx, "b", [features])?;
            cx.weight("b_carry", [features], &InitializerRef::new(Ones)).add()?;
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        Ok(Some(vec![exact_rank("Highway", inputs, 2)?.clone()]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("Highway", inputs)?;
        let affine = |w: &str, b: &str| {
            let y = k::dot(x, &cx.weight(w)?);
            Ok::<_, crate::Error>(if self.dense.bias { y + cx.weight(b)? } else { y })
        };
        let carry = k::sigmoid(&affine("W_carry", "b_carry")?);
        let transformed = self.activation.resolve()?.call(&affine("W", "b")?);
        Ok(vec![transformed * &carry + (1.0 - &carry) * x])
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.dense.activity_regularizer()
    }
}
