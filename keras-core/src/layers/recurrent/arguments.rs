//! The arguments that Keras's cells share, and the weights they describe.

use crate::activations::{ActivationRef, ActivationSpec};
use crate::array::{Array, DType};
use crate::constraints::ConstraintSpec;
use crate::error::{Error, Result};
use crate::graph::Distribution;
use crate::initializers::{Initializer, InitializerRef, InitializerSpec};
use crate::k;
use crate::layers::affine::activation_value;
use crate::layers::{Build, Call};
use crate::random::Stream;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::Tensor;

/// Which of the arguments a class has.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is an argument that a class has or not")]
pub struct Has {
    /// `activation`, `use_bias`, `dropout`, `recurrent_dropout`.
    pub(crate) functions: bool,
    /// `recurrent_activation`.
    pub(crate) gates: bool,
    /// `unit_forget_bias`.
    pub(crate) forget: bool,
    /// `implementation`.
    pub(crate) implementation: bool,
}

/// The arguments, with Keras's defaults.
#[derive(Debug, Clone)]
pub struct Arguments {
    pub(crate) activation: ActivationSpec,
    pub(crate) recurrent_activation: ActivationSpec,
    pub(crate) use_bias: bool,
    pub(crate) kernel_initializer: InitializerSpec,
    pub(crate) recurrent_initializer: InitializerSpec,
    pub(crate) bias_initializer: InitializerSpec,
    pub(crate) unit_forget_bias: bool,
    pub(crate) kernel_regularizer: RegularizerSpec,
    pub(crate) recurrent_regularizer: RegularizerSpec,
    pub(crate) bias_regularizer: RegularizerSpec,
    pub(crate) activity_regularizer: RegularizerSpec,
    pub(crate) kernel_constraint: ConstraintSpec,
    pub(crate) recurrent_constraint: ConstraintSpec,
    pub(crate) bias_constraint: ConstraintSpec,
    pub(crate) dropout: f64,
    pub(crate) recurrent_dropout: f64,
    pub(crate) implementation: usize,
}

impl Arguments {
    /// The defaults, with that recurrent activation.
    pub(crate) fn new(recurrent_activation: &str) -> Self {
        Self {
            activation: "tanh".into(),
            recurrent_activation: recurrent_activation.into(),
            use_bias: true,
            kernel_initializer: "glorot_uniform".into(),
            recurrent_initializer: "orthogonal".into(),
            bias_initializer: "zeros".into(),
            unit_forget_bias: true,
            kernel_regularizer: RegularizerSpec::default(),
            recurrent_regularizer: RegularizerSpec::default(),
            bias_regularizer: RegularizerSpec::default(),
            activity_regularizer: RegularizerSpec::default(),
            kernel_constraint: ConstraintSpec::default(),
            recurrent_constraint: ConstraintSpec::default(),
            bias_constraint: ConstraintSpec::default(),
            dropout: 0.0,
            recurrent_dropout: 0.0,
            implementation: 2,
        }
    }

    /// Reads the arguments that a class has; a layer also has a penalty on its results.
    pub(crate) fn read(mut self, reader: &mut Reader<'_>, has: Has, layer: bool) -> Result<Self> {
        if has.functions {
            self.activation = ActivationSpec::read(reader, "activation", self.activation)?;
            self.use_bias = reader.boolean("use_bias", true)?;
            self.dropout = reader.float("dropout", 0.0)?;
            self.recurrent_dropout = reader.float("recurrent_dropout", 0.0)?;
        }
        if has.gates {
            self.recurrent_activation =
                ActivationSpec::read(reader, "recurrent_activation", self.recurrent_activation)?;
        }
        if has.forget {
            self.unit_forget_bias = reader.boolean("unit_forget_bias", true)?;
        }
        // Every class took the argument up to Keras 2.0.8; where it means nothing now, Keras drops it too.
        let implementation = reader.count("implementation", 2)?;
        if has.implementation {
            // Keras reads the implementation 0 of its first versions as 1.
            self.implementation = implementation.max(1);
        }
        for (key, initializer) in [
            ("kernel_initializer", &mut self.kernel_initializer),
            ("recurrent_initializer", &mut self.recurrent_initializer),
            ("bias_initializer", &mut self.bias_initializer),
        ] {
            *initializer = InitializerSpec::read(reader, key, initializer.clone())?;
        }
        for (key, regularizer) in [
            ("kernel_regularizer", &mut self.kernel_regularizer),
            ("recurrent_regularizer", &mut self.recurrent_regularizer),
            ("bias_regularizer", &mut self.bias_regularizer),
        ] {
            *regularizer = RegularizerSpec::read(reader, key, RegularizerSpec::default())?;
        }
        if layer {
            self.activity_regularizer =
                RegularizerSpec::read(reader, "activity_regularizer", RegularizerSpec::default())?;
        }
        for (key, constraint) in [
            ("kernel_constraint", &mut self.kernel_constraint),
            ("recurrent_constraint", &mut self.recurrent_constraint),
            ("bias_constraint", &mut self.bias_constraint),
        ] {
            *constraint = ConstraintSpec::read(reader, key, ConstraintSpec::default())?;
        }
        Ok(self)
    }

    /// Adds the arguments in Keras's order.
    pub(crate) fn write(&self, mut config: Config, has: Has, layer: bool) -> Config {
        if has.functions {
            config = config.with("activation", activation_value(&self.activation));
        }
        if has.gates {
            config = config.with("recurrent_activation", activation_value(&self.recurrent_activation));
        }
        if has.functions {
            config = config.with("use_bias", self.use_bias);
        }
        config = config
            .with("kernel_initializer", self.kernel_initializer.to_value())
            .with("recurrent_initializer", self.recurrent_initializer.to_value())
            .with("bias_initializer", self.bias_initializer.to_value());
        if has.forget {
            config = config.with("unit_forget_bias", self.unit_forget_bias);
        }
        config = config
            .with("kernel_regularizer", self.kernel_regularizer.to_value())
            .with("recurrent_regularizer", self.recurrent_regularizer.to_value())
            .with("bias_regularizer", self.bias_regularizer.to_value());
        if layer {
            config = config.with("activity_regularizer", self.activity_regularizer.to_value());
        }
        config = config
            .with("kernel_constraint", self.kernel_constraint.to_value())
            .with("recurrent_constraint", self.recurrent_constraint.to_value())
            .with("bias_constraint", self.bias_constraint.to_value());
        if has.functions {
            config = config
                .with("dropout", clamped(self.dropout))
                .with("recurrent_dropout", clamped(self.recurrent_dropout));
        }
        if has.implementation {
            config = config.with("implementation", self.implementation);
        }
        config
    }

    /// Makes the weights of those shapes; `forget` is where the bias of a forget gate lies.
    pub(crate) fn build(
        &self,
        class: &str,
        cx: &mut Build,
        shapes: [&[usize]; 3],
        forget: Option<std::ops::Range<usize>>,
    ) -> Result<()> {
        let [kernel, recurrent, bias] = shapes;
        self.activation.resolve()?;
        self.recurrent_activation.resolve()?;
        self.activity_regularizer.resolve_if_any()?;
        for (name, rate) in [("dropout", self.dropout), ("recurrent_dropout", self.recurrent_dropout)] {
            if rate.is_nan() {
                return Err(Error::value(class, format!("a {name} from 0 to 1"), "NaN")
                    .advice("say which fraction is dropped"));
            }
        }
        if ![1, 2].contains(&self.implementation) {
            return Err(Error::value(class, "implementation 1 or 2", self.implementation.to_string())
                .advice("both compute the same; only dropout tells them apart"));
        }
        cx.weight("kernel", kernel, &self.kernel_initializer.resolve()?)
            .regularizer(self.kernel_regularizer.resolve_if_any()?.as_ref())
            .constraint(self.kernel_constraint.resolve_if_any()?.as_ref())
            .add()?;
        let initializer = self.recurrent_initializer.resolve()?;
        let initializer = match initializer.config() {
            identity if identity.class_name == "Identity" && recurrent.len() == 2 => {
                InitializerRef::new(Identities(identity.reader().float("gain", 1.0)?))
            }
            _ => initializer,
        };
        cx.weight("recurrent_kernel", recurrent, &initializer)
            .regularizer(self.recurrent_regularizer.resolve_if_any()?.as_ref())
            .constraint(self.recurrent_constraint.resolve_if_any()?.as_ref())
            .add()?;
        let initializer = self.bias_initializer.resolve()?;
        let initializer = match forget {
            Some(ones) if self.unit_forget_bias => {
                InitializerRef::new(OnesWithin { around: initializer, ones })
            }
            _ => initializer,
        };
        if self.use_bias {
            cx.weight("bias", bias, &initializer)
                .regularizer(self.bias_regularizer.resolve_if_any()?.as_ref())
                .constraint(self.bias_constraint.resolve_if_any()?.as_ref())
                .add()?;
        }
        Ok(())
    }

    /// The penalty on the results; a wrong one was refused when the layer was built.
    pub(crate) fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.activity_regularizer.resolve_if_any().ok().flatten()
    }

    /// The two activations.
    pub(crate) fn activations(&self) -> Result<(ActivationRef, ActivationRef)> {
        Ok((self.activation.resolve()?, self.recurrent_activation.resolve()?))
    }

    /// Masks of the input and of the state, of those shapes, `count` each: drawn once for all steps, and none where
    /// nothing is dropped.
    pub(crate) fn masks(
        &self,
        cx: &Call,
        count: usize,
        input: &[usize],
        state: &[usize],
        dtype: DType,
    ) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let draw = |name: &str, rate: f64, shape: &[usize]| -> Result<Vec<Tensor>> {
            if !cx.training() || rate <= 0.0 || rate >= 1.0 {
                return Ok(Vec::new());
            }
            let one = |i: usize| {
                let draw = cx.random_once(&format!("{name} {i}"), shape, dtype, Distribution::Uniform)?;
                let kept = k::greater_equal(&draw, &k::number(&draw, rate));
                Ok(k::cast(&kept, dtype) * (1.0 / (1.0 - rate)))
            };
            (0..count).map(one).collect()
        };
        Ok((draw("dropout", self.dropout, input)?, draw("recurrent dropout", self.recurrent_dropout, state)?))
    }
}

fn clamped(rate: f64) -> f64 {
    rate.clamp(0.0, 1.0)
}

/// Identity matrices side by side, one per gate.
struct Identities(f64);

impl Initializer for Identities {
    fn init(&self, shape: &[usize], dtype: DType, _: &Stream) -> Result<Array> {
        let &[rows, columns] = shape else {
            return Err(Error::shape("Identity initializer", "a shape of 2 axes", format!("{shape:?}")));
        };
        let at = |i: usize| if i / columns == (i % columns) % rows.max(1) { self.0 } else { 0.0 };
        Ok(Array::from_vec(shape, (0..rows * columns).map(at).collect::<Vec<f64>>())?.cast(dtype))
    }

    fn config(&self) -> Config {
        Config::new("Identity").with("gain", self.0)
    }
}

/// Another initializer's values before and after a range of ones.
struct OnesWithin {
    around: InitializerRef,
    ones: std::ops::Range<usize>,
}

impl Initializer for OnesWithin {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        let length = shape.iter().product::<usize>();
        let before = self.around.init(&[self.ones.start], dtype, stream)?;
        let after = self.around.init(&[length.saturating_sub(self.ones.end)], dtype, &stream.part(1))?;
        Array::concatenate(&[before, Array::full_of(dtype, &[self.ones.len()], 1.0)?, after])
    }

    fn config(&self) -> Config {
        self.around.config()
    }
}

/// The setters of a type with a method `arguments_mut`, by the arguments its kind has.
macro_rules! argument_verbs {
    ($type:ident) => {
        impl<K: Kind> $type<K> {
            /// First values of the kernel; default `"glorot_uniform"`.
            pub fn kernel_initializer(mut self, initializer: impl Into<InitializerSpec>) -> Self {
                self.kind.arguments_mut().kernel_initializer = initializer.into();
                self
            }
            /// First values of the recurrent kernel; default `"orthogonal"`. `Identity` gives each gate an identity.
            pub fn recurrent_initializer(mut self, initializer: impl Into<InitializerSpec>) -> Self {
                self.kind.arguments_mut().recurrent_initializer = initializer.into();
                self
            }
            /// First values of the bias; default `"zeros"`.
            pub fn bias_initializer(mut self, initializer: impl Into<InitializerSpec>) -> Self {
                self.kind.arguments_mut().bias_initializer = initializer.into();
                self
            }
            /// A penalty on the kernel.
            pub fn kernel_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
                self.kind.arguments_mut().kernel_regularizer = regularizer.into();
                self
            }
            /// A penalty on the recurrent kernel.
            pub fn recurrent_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
                self.kind.arguments_mut().recurrent_regularizer = regularizer.into();
                self
            }
            /// A penalty on the bias.
            pub fn bias_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
                self.kind.arguments_mut().bias_regularizer = regularizer.into();
                self
            }
            /// A projection of the kernel after every update.
            pub fn kernel_constraint(mut self, constraint: impl Into<ConstraintSpec>) -> Self {
                self.kind.arguments_mut().kernel_constraint = constraint.into();
                self
            }
            /// A projection of the recurrent kernel after every update.
            pub fn recurrent_constraint(mut self, constraint: impl Into<ConstraintSpec>) -> Self {
                self.kind.arguments_mut().recurrent_constraint = constraint.into();
                self
            }
            /// A projection of the bias after every update.
            pub fn bias_constraint(mut self, constraint: impl Into<ConstraintSpec>) -> Self {
                self.kind.arguments_mut().bias_constraint = constraint.into();
                self
            }
        }

        impl<K: WithFunctions> $type<K> {
            /// What the candidate of a new state goes through; default `"tanh"`.
            pub fn activation(mut self, activation: impl Into<ActivationSpec>) -> Self {
                self.kind.arguments_mut().activation = activation.into();
                self
            }
            /// Whether a bias is added; default true.
            pub fn use_bias(mut self, use_bias: bool) -> Self {
                self.kind.arguments_mut().use_bias = use_bias;
                self
            }
            /// In training, the fraction of the inputs' elements that is dropped, the same ones in every step;
            /// default 0.
            pub fn dropout(mut self, rate: f64) -> Self {
                self.kind.arguments_mut().dropout = rate;
                self
            }
            /// In training, the fraction of the state's elements that is dropped on its way into the gates, the same
            /// ones in every step; default 0.
            pub fn recurrent_dropout(mut self, rate: f64) -> Self {
                self.kind.arguments_mut().recurrent_dropout = rate;
                self
            }
        }

        impl<K: WithGates> $type<K> {
            /// What the gates go through; default `"sigmoid"` (`ConvLSTM2D`: `"hard_sigmoid"`).
            pub fn recurrent_activation(mut self, activation: impl Into<ActivationSpec>) -> Self {
                self.kind.arguments_mut().recurrent_activation = activation.into();
                self
            }
        }

        impl<K: WithForgetGate> $type<K> {
            /// Whether the bias of the forget gate starts as ones; default true.
            pub fn unit_forget_bias(mut self, ones: bool) -> Self {
                self.kind.arguments_mut().unit_forget_bias = ones;
                self
            }
        }

        impl<K: WithImplementation> $type<K> {
            /// 1: each gate has dropout masks of its own; 2 (default): all gates share one. Without dropout both are
            /// the same.
            pub fn implementation(mut self, implementation: usize) -> Self {
                self.kind.arguments_mut().implementation = implementation.max(1);
                self
            }
        }
    };
}
pub(crate) use argument_verbs;
