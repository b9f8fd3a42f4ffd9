//! `BatchNormalization`.

use super::affine::{Weighted, weight_verbs};
use super::check::{dtype, one};
use super::registry::Read;
use super::{Base, Build, Call, Layer};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::initializers::InitializerSpec;
use crate::k;
use crate::registry::{Config, Reader};
use crate::semantics::{FrozenBatchNormalization, IntegerInputs, MaskedValues, MovingVariance};
use crate::tensor::{Spec, Tensor};

/// gamma·(x − mean)/√(variance + ε) + beta along an axis (Ioffe and Szegedy, 2015): any shape to the same shape.
///
/// Mean and (biased) variance are those of the batch in training, where they also feed moving averages, and the moving
/// averages otherwise. Weights, each as long as the axis: `gamma`, `beta`, `moving_mean`, `moving_variance`. What a
/// frozen layer does in training, and which variance is averaged, is a choice of
/// [`Semantics`](crate::semantics::Semantics).
///
/// On inputs of four axes with the channels last, ε is at least 1.001e-5, as in the kernel that Keras calls there
/// (another choice of the semantics).
///
/// ```
/// use keras_core::layers::{BatchNormalization, Input};
/// let x = Input::new([28, 28, 32]).tensor()?;
/// let y = BatchNormalization::new().momentum(0.9).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(28), Some(28), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNormalization {
    base: Base,
    axis: isize,
    momentum: f64,
    epsilon: f64,
    center: bool,
    scale: bool,
    beta: Weighted,
    gamma: Weighted,
    moving_mean_initializer: InitializerSpec,
    moving_variance_initializer: InitializerSpec,
}

impl BatchNormalization {
    /// Normalisation along the last axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self {
            base: Base::default(),
            axis: -1,
            momentum: 0.99,
            epsilon: 1e-3,
            center: true,
            scale: true,
            beta: Weighted::new("zeros"),
            gamma: Weighted::new("ones"),
            moving_mean_initializer: "zeros".into(),
            moving_variance_initializer: "ones".into(),
        }
    }

    /// The axis that keeps its own statistics, usually that of the channels; default −1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }

    /// How much of the moving averages stays at each step; default 0.99.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// What is added to the variance; default 0.001.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Whether beta is added; default true.
    pub fn center(mut self, center: bool) -> Self {
        self.center = center;
        self
    }

    /// Whether gamma multiplies; default true.
    pub fn scale(mut self, scale: bool) -> Self {
        self.scale = scale;
        self
    }

    /// First values of the moving mean; default `"zeros"`.
    pub fn moving_mean_initializer(mut self, initializer: impl Into<InitializerSpec>) -> Self {
        self.moving_mean_initializer = initializer.into();
        self
    }

    /// First values of the moving variance; default `"ones"`.
    pub fn moving_variance_initializer(mut self, initializer: impl Into<InitializerSpec>) -> Self {
        self.moving_variance_initializer = initializer.into();
        self
    }

    /// The axis from 0, for inputs of that many axes.
    fn axis_in(&self, rank: usize) -> Result<usize> {
        match k::axis_of(self.axis, rank) {
            Ok(axis) if axis > 0 => Ok(axis),
            _ => Err(Error::value(
                "BatchNormalization",
                format!("an axis of an input of rank {rank} behind the batch axis"),
                self.axis.to_string(),
            )
            .advice("name the axis of the features: -1 if they come last, 1 if they come first")),
        }
    }
}

crate::layer_verbs!(BatchNormalization);
weight_verbs!([] BatchNormalization, beta, "beta", "zeros", beta_initializer, beta_regularizer, beta_constraint);
weight_verbs!([] BatchNormalization, gamma, "gamma", "ones", gamma_initializer, gamma_regularizer, gamma_constraint);

impl Read for BatchNormalization {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let default = Self::new();
        let base = Base::read(reader)?;
        // tf.keras writes a list of one axis.
        let axis = match reader.integers("axis", &[-1])?.as_slice() {
            [axis] => *axis as isize,
            _ => return Err(reader.wrong("axis", "one axis")),
        };
        Ok(Self {
            base,
            axis,
            momentum: reader.float("momentum", default.momentum)?,
            epsilon: reader.float("epsilon", default.epsilon)?,
            center: reader.boolean("center", true)?,
            scale: reader.boolean("scale", true)?,
            beta: Weighted::read(reader, "beta", default.beta)?,
            gamma: Weighted::read(reader, "gamma", default.gamma)?,
            moving_mean_initializer: InitializerSpec::read(
                reader,
                "moving_mean_initializer",
                default.moving_mean_initializer,
            )?,
            moving_variance_initializer: InitializerSpec::read(
                reader,
                "moving_variance_initializer",
                default.moving_variance_initializer,
            )?,
        })
    }
}

impl Layer for BatchNormalization {
    fn config(&self) -> Config {
        Config::new("BatchNormalization")
            .with("axis", self.axis)
            .with("momentum", self.momentum)
            .with("epsilon", self.epsilon)
            .with("center", self.center)
            .with("scale", self.scale)
            .with("beta_initializer", self.beta.initializer.to_value())
            .with("gamma_initializer", self.gamma.initializer.to_value())
            .with("moving_mean_initializer", self.moving_mean_initializer.to_value())
            .with("moving_variance_initializer", self.moving_variance_initializer.to_value())
            .with("beta_regularizer", self.beta.regularizer.to_value())
            .with("gamma_regularizer", self.gamma.regularizer.to_value())
            .with("beta_constraint", self.beta.constraint.to_value())
            .with("gamma_constraint", self.gamma.constraint.to_value())
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let class = "BatchNormalization";
        let spec = one(class, inputs)?;
        let axis = self.axis_in(spec.rank())?;
        dtype(class, spec, cx.dtype())?;
        if !self.momentum.is_finite() || !self.epsilon.is_finite() || self.epsilon < 0.0 {
            let received = format!("momentum {} and epsilon {}", self.momentum, self.epsilon);
            return Err(Error::value(class, "a finite momentum and an epsilon of at least 0", received)
                .advice("the defaults are 0.99 and 0.001"));
        }
        let len = cx.known(class, spec, self.axis, &format!("axis {axis}"))?;
        if self.scale {
            self.gamma.add(cx, "gamma", [len])?;
        }
        if self.center {
            self.beta.add(cx, "beta", [len])?;
        }
        cx.weight("moving_mean", [len], &self.moving_mean_initializer.resolve()?).trainable(false).add()?;
        cx.weight("moving_variance", [len], &self.moving_variance_initializer.resolve()?)
            .trainable(false)
            .add()?;
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = one("BatchNormalization", inputs)?;
        self.axis_in(spec.rank())?;
        Ok(Some(vec![spec.clone()]))
    }

    fn casts_integers(&self, _: IntegerInputs) -> bool {
        true
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("BatchNormalization", inputs)?;
        let shape = x.shape()?;
        let axis = self.axis_in(shape.len())?;
        let len = shape.get(axis).copied().unwrap_or_default();
        let mut wide = vec![1_isize; shape.len()];
        if let Some(own) = wide.get_mut(axis) {
            *own = len as isize;
        }
        let weight =
            |name: &str| Ok::<_, Error>(cx.weight_if_any(name)?.map(|weight| k::reshape(&weight, &wide)));
        let (gamma, beta) = (weight("gamma")?, weight("beta")?);
        let frozen_at_rest = cx.semantics().frozen_batch_normalization == FrozenBatchNormalization::Inference;
        let inference = !cx.training() || (frozen_at_rest && !cx.trainable());

        if inference {
            let (mean, variance) = (cx.weight("moving_mean")?, cx.weight("moving_variance")?);
            let (beta, gamma) = (beta.as_ref(), gamma.as_ref());
            let axis = axis as isize;
            return Ok(vec![k::batch_normalization(x, &mean, &variance, beta, gamma, axis, self.epsilon)]);
        }

        let axes: Vec<isize> = (0..shape.len()).filter(|&i| i != axis).map(|i| i as isize).collect();
        let epsilon = k::epsilon_in(cx.trace(), (x.dtype()?, shape.len(), axis), self.epsilon);
        let counted = counted(cx, x, axis)?;
        let (y, mean, variance) =
            k::normalized(x, (gamma.as_ref(), beta.as_ref()), (&axes, counted.as_ref()), epsilon);

        let count = shape.iter().product::<usize>() / len.max(1);
        let factor = self.variance_factor(cx, count as f64, (x.dtype()?, shape.len(), axis));
        let flat = |x: &Tensor| k::reshape(x, &[len as isize]);
        self.average(cx, "moving_mean", &flat(&mean))?;
        self.average(cx, "moving_variance", &(flat(&variance) * factor))?;
        Ok(vec![y])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// Whether TensorFlow 2 has a kernel for it, which knows no masks and corrects variances.
fn is_image(dtype: DType, rank: usize, axis: usize) -> bool {
    dtype == DType::F32 && (4..=5).contains(&rank) && (axis == rank - 1 || axis == 1)
}

/// Ones where statistics count and zeros where they do not; none if all count.
fn counted(cx: &Call, x: &Tensor, axis: usize) -> Result<Option<Tensor>> {
    let (rank, dtype) = (x.rank()?, x.dtype()?);
    let unmasked = cx.semantics().masked_values == MaskedValues::LeftOut;
    let Some(mask) = cx.mask(0).filter(|_| unmasked && !is_image(dtype, rank, axis)) else { return Ok(None) };
    let mut shape: Vec<isize> = mask.shape()?.iter().map(|&len| len as isize).collect();
    shape.resize(rank, 1);
    Ok(Some(k::ones_like(x, dtype) * k::reshape(&k::cast(mask, dtype), &shape)))
}

impl BatchNormalization {
    /// What the biased variance of `n` values is multiplied by before it is averaged.
    fn variance_factor(&self, cx: &Call, n: f64, (dtype, rank, axis): (DType, usize, usize)) -> f64 {
        // TensorFlow's kernel for images estimates the variance of the population itself; of one value it cannot.
        let kernel = n / (n - 1.0).max(1.0);
        match cx.semantics().moving_variance {
            MovingVariance::Keras23 => {
                let own = n / (n - (1.0 + self.epsilon));
                if rank == 4 && axis == 3 { own * kernel } else { own }
            }
            MovingVariance::TfKeras if is_image(dtype, rank, axis) => kernel,
            MovingVariance::TfKeras | MovingVariance::Batch => 1.0,
        }
    }

    /// Moves an average towards a value.
    fn average(&self, cx: &mut Call, name: &str, value: &Tensor) -> Result<()> {
        let variable = cx.variable(name)?;
        let moved = k::moved_towards(&cx.updated(&variable), value, self.momentum);
        cx.update(&variable, moved);
        Ok(())
    }
}
