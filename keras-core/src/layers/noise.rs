//! Normal noise in training: `GaussianNoise`, `GaussianDropout`.

use super::check::{one, same_spec};
use super::dropout::draw;
use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::error::{Error, Result};
use crate::graph::Distribution;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

macro_rules! noise {
    ($(#[$doc:meta])* $type:ident, $argument:ident, $meaning:literal, $accepts:expr, |$layer:ident, $x:ident, $draw:ident| $formula:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type {
            base: Base,
            $argument: f64,
            seed: Option<i64>,
        }

        impl $type {
            #[doc = $meaning]
            pub fn new($argument: f64) -> Self {
                Self { base: Base::default(), $argument, seed: None }
            }

            /// A seed of the layer's own (tf.keras): its draws then do not depend on the layer's name.
            pub fn seed(mut self, seed: i64) -> Self {
                self.seed = Some(seed);
                self
            }
        }

        crate::layer_verbs!($type);

        impl Read for $type {
            fn read(reader: &mut Reader<'_>) -> Result<Self> {
                let base = Base::read(reader)?;
                if reader.value(stringify!($argument)).is_none() {
                    return Err(reader.wrong(stringify!($argument), "a number"));
                }
                let $argument = reader.float(stringify!($argument), 0.0)?;
                Ok(Self { base, $argument, seed: reader.integer_or_none("seed")? })
            }
        }

        impl Layer for $type {
            fn config(&self) -> Config {
                let config = Config::new(stringify!($type)).with(stringify!($argument), self.$argument);
                // Keras 2 has no such key, and refuses those it does not know.
                match self.seed {
                    Some(seed) => config.with("seed", seed),
                    None => config,
                }
            }

            fn base(&self) -> Option<&Base> {
                Some(&self.base)
            }

            fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
                let accepts: fn(f64) -> bool = $accepts;
                if accepts(self.$argument) {
                    return Ok(());
                }
                let received = self.$argument.to_string();
                Err(Error::value(stringify!($type), concat!("a ", stringify!($argument), " of at least 0"), received)
                    .advice("give a number in that range"))
            }

            fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
                same_spec(stringify!($type), inputs)
            }

            fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
                let $x = one(stringify!($type), inputs)?;
                if !cx.training() {
                    return Ok(vec![$x.clone()]);
                }
                let $layer = self;
                let $draw = draw(cx, self.seed, &$x.shape()?, $x.dtype()?, Distribution::Normal)?;
                Ok(vec![$formula])
            }

            fn supports_masking(&self) -> bool {
                true
            }
        }
    };
}

noise! {
    /// In training, adds normal noise of mean 0; any shape to the same shape.
    ///
    /// ```
    /// use keras_core::layers::{GaussianNoise, Input};
    /// let x = Input::new([10]).tensor()?;
    /// assert_eq!(GaussianNoise::new(0.1).call(&x)?.spec()?.shape, [None, Some(10)]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    GaussianNoise, stddev, "Noise of that standard deviation.", |stddev| stddev >= 0.0 && stddev.is_finite(),
    |layer, x, draw| x + &(draw * layer.stddev)
}

noise! {
    /// In training, multiplies by normal noise of mean 1 and standard deviation √(rate/(1 − rate)) (Srivastava et al.,
    /// 2014); any shape to the same shape. A rate that is not between 0 and 1 changes nothing.
    ///
    /// ```
    /// use keras_core::layers::{GaussianDropout, Input};
    /// let x = Input::new([10]).tensor()?;
    /// assert_eq!(GaussianDropout::new(0.5).call(&x)?.spec()?.shape, [None, Some(10)]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    GaussianDropout, rate, "The rate of the dropout that this stands for.", |rate| !rate.is_nan(),
    |layer, x, draw| if layer.rate <= 0.0 || layer.rate >= 1.0 {
        x.clone()
    } else {
        x * &(draw * (layer.rate / (1.0 - layer.rate)).sqrt() + 1.0)
    }
}
