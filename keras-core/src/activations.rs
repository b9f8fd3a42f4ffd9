//! Activations: functions of one tensor, by name or as values.
//!
//! ```
//! use keras_core::{activations, k};
//! let x = k::placeholder([None, Some(3)], "x");
//! assert_eq!(activations::get("softmax")?.call(&x).spec()?.shape, [None, Some(3)]);
//! activations::register("cube", |_| Ok(activations::custom("cube", |x| x * x * x)));
//! assert_eq!(activations::get("cube")?.name(), "cube");
//! # Ok::<(), keras_core::Error>(())
//! ```

use crate::error::{Error, Result};
use crate::k;
use crate::kinds::{function_name, kind};
use crate::registry::{Config, Registry};
use crate::tensor::Tensor;

/// An elementwise function, or softmax.
pub trait Activation: Send + Sync {
    /// The name in configs: `relu`.
    fn name(&self) -> &str;

    /// The values, of x's shape.
    fn call(&self, x: &Tensor) -> Tensor;

    /// Which of Keras's functions it is; none for others.
    fn builtin(&self) -> Option<Function> {
        None
    }
}

kind!(
    Activation,
    ActivationRef,
    ActivationSpec,
    REGISTRY,
    to_value = |this: &dyn Activation| this.name().into(),
    nothing = Some(ActivationRef::new(Function::Linear))
);

/// A Rust function of a tensor is an activation under its own name.
impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Activation for F {
    fn name(&self) -> &str {
        function_name::<F>()
    }
    fn call(&self, x: &Tensor) -> Tensor {
        self(x)
    }
}

struct Custom<F> {
    name: String,
    call: F,
}

impl<F: Fn(&Tensor) -> Tensor + Send + Sync> Activation for Custom<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn call(&self, x: &Tensor) -> Tensor {
        (self.call)(x)
    }
}

/// An activation of that name.
pub fn custom(name: &str, call: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> ActivationRef {
    ActivationRef::new(Custom { name: name.to_owned(), call })
}

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, |$x:ident| $formula:expr;)*) => {
        /// Keras's activations.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Function { $($(#[$doc])* $variant),* }

        impl Activation for Function {
            fn name(&self) -> &str {
                match self { $(Self::$variant => $name),* }
            }
            fn call(&self, x: &Tensor) -> Tensor {
                match self { $(Self::$variant => { let $x = x; $formula })* }
            }
            fn builtin(&self) -> Option<Function> {
                Some(*self)
            }
        }

        pub use Function::{$($variant),*};

        static REGISTRY: Registry<ActivationRef> = Registry::new("activation", &[
            $(($name, |config| plain(config, Function::$variant))),*
        ]);
    };
}

fn plain(config: &Config, function: Function) -> Result<ActivationRef> {
    config.reader().finish()?;
    Ok(ActivationRef::new(function))
}

functions! {
    /// eˣ / Σ eˣ along the last axis; x has at least 2 axes.
    Softmax = "softmax", |x| softmax(x);
    /// x where x > 0, else eˣ − 1.
    Elu = "elu", |x| k::elu(x, 1.0);
    /// 1.0507·elu(x, 1.6733) (Klambauer et al., 2017).
    Selu = "selu", |x| k::elu(x, 1.673_263_242_354_377_2) * 1.050_700_987_355_480_5;
    /// ln(1 + eˣ).
    Softplus = "softplus", |x| k::softplus(x);
    /// x / (1 + |x|).
    Softsign = "softsign", |x| k::softsign(x);
    /// max(x, 0).
    Relu = "relu", |x| k::relu(x, 0.0, None, 0.0);
    /// tanh x.
    Tanh = "tanh", |x| k::tanh(x);
    /// 1 / (1 + e⁻ˣ).
    Sigmoid = "sigmoid", |x| k::sigmoid(x);
    /// clip(0.2·x + 0.5, 0, 1).
    HardSigmoid = "hard_sigmoid", |x| k::hard_sigmoid(x);
    /// eˣ.
    Exponential = "exponential", |x| k::exp(x);
    /// x.
    Linear = "linear", |x| x.clone();
    /// x·sigmoid(x) (tf.keras).
    Swish = "swish", |x| x * k::sigmoid(x);
    /// x·Φ(x), Φ being the normal distribution (tf.keras).
    Gelu = "gelu", |x| (k::erf(&(x / k::single(std::f64::consts::SQRT_2))) + 1.0) * x * 0.5;
    /// x·tanh(softplus(x)) (tf.keras).
    Mish = "mish", |x| x * k::tanh(&k::softplus(x));
}

#[track_caller]
fn softmax(x: &Tensor) -> Tensor {
    match x.rank() {
        Ok(rank) if rank < 2 => {
            Tensor::poisoned(Error::shape("softmax", "a tensor of at least 2 axes", format!("{rank}")))
        }
        _ => k::softmax(x, -1),
    }
}
