//! [`Semantics`]: the named choices in which versions of Keras compute differently. A model owns one, traces read
//! it, a file sets it.

use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// How losses with weights are averaged over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReduction {
    /// Σ(weight·loss) divided by the number of elements (2.3).
    SumOverElements,
    /// The same, divided by the number of elements that no mask leaves out (tf.keras).
    SumOverValidElements,
    /// Σ(weight·loss) divided by the number of non-zero weights (up to 2.2).
    SumOverNonZeroWeights,
}

/// How binary crossentropy treats probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryCrossentropy {
    /// −y·ln(p + ε) − (1 − y)·ln(1 − p + ε) on clipped p (2.3).
    ShiftedLogarithms,
    /// Through the logits of clipped p (up to 2.2).
    ClippedLogits,
    /// −y·ln(p) − (1 − y)·ln(1 − p) on clipped p (Keras 3).
    ClippedLogarithms,
}

/// Where crossentropies are computed from logits: from what a softmax or sigmoid was applied to that made the predictions,
/// instead of from clipped probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossentropyLogits {
    /// Nowhere (up to 2.2, Keras 3 on JAX).
    Never,
    /// Behind the activation that belongs to the loss: softmax to the categorical ones, sigmoid to the binary one (2.3, and
    /// tf.keras up to TensorFlow 2.2).
    Matching,
    /// Behind either activation, be it the loss's or not: the binary crossentropy of a softmax is that of the sigmoid of its
    /// logits (tf.keras since TensorFlow 2.4; files of 2.3 name its version).
    Any,
}

/// What layers of weights make of inputs that are whole numbers or truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegerInputs {
    /// An error, as are all that do not have the element type of the weights (Keras 2).
    AsGiven,
    /// `Dense` and the normalizations cast them, as do unit normalization and bilinear interpolation (tf.keras).
    Cast,
    /// Averages cast them, too (Keras 3).
    Promoted,
}

/// What hinge losses and metrics make of labels 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HingeLabels {
    /// −1 and 1, if a batch has no others (2.3 and later).
    Signed,
    /// What they are (up to 2.2).
    AsGiven,
}

/// Which variance feeds BatchNormalization's moving average; N values are averaged, ε is the layer's epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovingVariance {
    /// Times N/(N − (1 + ε)), and for 4-D input on the last axis also N/(N − 1), as Keras 2.3 on TensorFlow 1.
    Keras23,
    /// Times N/(N − 1) for 4-D and 5-D input along its channels, the batch variance otherwise, as tf.keras.
    TfKeras,
    /// The batch variance (Keras 3).
    Batch,
}

/// What a BatchNormalization layer with `trainable = false` does in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenBatchNormalization {
    /// Normalises with the statistics of the batch (Keras 2.1.3 to 2.3).
    BatchStatistics,
    /// Normalises with the moving statistics (tf.keras 2).
    Inference,
}

/// The epsilon of BatchNormalization on images with the channels last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageEpsilon {
    /// At least 1.001e-5, as in the kernel that Keras calls there on TensorFlow 1.
    AtLeastKernels,
    /// That of the layer (tf.keras).
    AsGiven,
}

/// What a layer's penalty on its results counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityPenalty {
    /// The results of all samples (Keras).
    Batch,
    /// The same divided by the number of samples (tf.keras).
    PerSample,
}

/// Where bilinear interpolation takes cells to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BilinearGrid {
    /// At their first corner: `[0, 1, 2]` twice as long is `[0, 0.5, 1, 1.5, 2, 2]` (Keras on TensorFlow 1).
    Corners,
    /// At their middle: `[0, 0.25, 0.75, 1.25, 1.75, 2]` (tf.keras 2).
    HalfPixel,
}

/// Under which name `metrics=["accuracy"]` appears in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricNames {
    /// As given: `accuracy`, `acc`, `mse` (2.3 and later).
    AsGiven,
    /// `acc` for both, full function names otherwise (up to 2.2).
    Resolved,
}

/// Where RMSprop and Adagrad add their epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerEpsilon {
    /// Behind the root: g/(√a + ε) (Keras 2, tf.keras up to 2.10 and its legacy optimizers).
    BehindRoot,
    /// Below it: g/√(a + ε) (tf.keras from 2.11 on, Keras 3).
    BelowRoot,
}

/// What a recurrent layer gives at a masked step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedOutput {
    /// The result of the step before, zeros before the first (2.3 and later).
    Previous,
    /// The first state, so at first the initial one; unrolled layers give the result of the step before (up to 2.2).
    FirstState,
}

/// What a `Bidirectional` that returns sequences gives at a masked step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedBidirectional {
    /// What its layers give there (Keras 2).
    OfLayers,
    /// Zeros, except of a `ConvLSTM2D` (tf.keras since TensorFlow 1.13).
    ZerosOfVectors,
    /// Zeros (Keras 3).
    Zeros,
}

/// What becomes of a mask in front of a layer that does not support masking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsupportedMask {
    /// The call is an error (Keras).
    Error,
    /// The mask ends there (tf.keras).
    Dropped,
}

/// What masked values do in a Softmax, and in the statistics of a BatchNormalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedValues {
    /// They count as all others (Keras 2).
    Counted,
    /// They do not count, but for images in a BatchNormalization (tf.keras).
    LeftOut,
}

/// The choices together; the default is Keras 2.3.
///
/// ```
/// use keras_core::semantics::{LossReduction, Semantics};
/// assert_eq!(Semantics::default(), Semantics::keras_2_3());
/// assert_eq!(Semantics::keras_2_2().loss_reduction, LossReduction::SumOverNonZeroWeights);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Semantics {
    /// Averaging of weighted losses.
    pub loss_reduction: LossReduction,
    /// The form of binary crossentropy.
    pub binary_crossentropy: BinaryCrossentropy,
    /// Crossentropies behind a softmax or sigmoid.
    pub crossentropy_logits: CrossentropyLogits,
    /// Whole numbers in front of layers of weights.
    pub integer_inputs: IntegerInputs,
    /// Labels 0 and 1 in front of hinge losses.
    pub hinge_labels: HingeLabels,
    /// The variance that BatchNormalization remembers.
    pub moving_variance: MovingVariance,
    /// What a frozen BatchNormalization does.
    pub frozen_batch_normalization: FrozenBatchNormalization,
    /// The epsilon of BatchNormalization on images.
    pub image_epsilon: ImageEpsilon,
    /// Penalties on the results of layers.
    pub activity_penalty: ActivityPenalty,
    /// The grid of bilinear interpolation.
    pub bilinear_grid: BilinearGrid,
    /// Names of metrics.
    pub metric_names: MetricNames,
    /// What a recurrent layer gives at a masked step.
    pub masked_output: MaskedOutput,
    /// What a `Bidirectional` gives there.
    pub masked_bidirectional: MaskedBidirectional,
    /// The epsilon of RMSprop and Adagrad.
    pub optimizer_epsilon: OptimizerEpsilon,
    /// Masks in front of layers that do not support them.
    pub unsupported_mask: UnsupportedMask,
    /// Masked input to Softmax and BatchNormalization.
    pub masked_values: MaskedValues,
}

impl Semantics {
    /// Keras 2.2.
    pub const fn keras_2_2() -> Self {
        Self {
            loss_reduction: LossReduction::SumOverNonZeroWeights,
            binary_crossentropy: BinaryCrossentropy::ClippedLogits,
            crossentropy_logits: CrossentropyLogits::Never,
            hinge_labels: HingeLabels::AsGiven,
            metric_names: MetricNames::Resolved,
            masked_output: MaskedOutput::FirstState,
            ..Self::keras_2_3()
        }
    }

    /// Keras 2.3.1, the default.
    pub const fn keras_2_3() -> Self {
        Self {
            loss_reduction: LossReduction::SumOverElements,
            binary_crossentropy: BinaryCrossentropy::ShiftedLogarithms,
            crossentropy_logits: CrossentropyLogits::Matching,
            integer_inputs: IntegerInputs::AsGiven,
            hinge_labels: HingeLabels::Signed,
            moving_variance: MovingVariance::Keras23,
            frozen_batch_normalization: FrozenBatchNormalization::BatchStatistics,
            image_epsilon: ImageEpsilon::AtLeastKernels,
            activity_penalty: ActivityPenalty::Batch,
            bilinear_grid: BilinearGrid::Corners,
            metric_names: MetricNames::AsGiven,
            masked_output: MaskedOutput::Previous,
            masked_bidirectional: MaskedBidirectional::OfLayers,
            optimizer_epsilon: OptimizerEpsilon::BehindRoot,
            unsupported_mask: UnsupportedMask::Error,
            masked_values: MaskedValues::Counted,
        }
    }

    /// tf.keras 2.15.
    pub const fn tf_keras() -> Self {
        Self {
            loss_reduction: LossReduction::SumOverValidElements,
            crossentropy_logits: CrossentropyLogits::Any,
            integer_inputs: IntegerInputs::Cast,
            moving_variance: MovingVariance::TfKeras,
            frozen_batch_normalization: FrozenBatchNormalization::Inference,
            image_epsilon: ImageEpsilon::AsGiven,
            activity_penalty: ActivityPenalty::PerSample,
            bilinear_grid: BilinearGrid::HalfPixel,
            masked_bidirectional: MaskedBidirectional::ZerosOfVectors,
            unsupported_mask: UnsupportedMask::Dropped,
            masked_values: MaskedValues::LeftOut,
            ..Self::keras_2_3()
        }
    }

    /// Whether they are tf.keras's, of any of its versions: with either place of the optimizer's epsilon, and either rule of
    /// crossentropies.
    pub(crate) fn is_tf_keras(self) -> bool {
        let Self { optimizer_epsilon, crossentropy_logits, .. } = Self::tf_keras();
        Self { crossentropy_logits, optimizer_epsilon, ..self } == Self::tf_keras()
    }

    /// Keras 3.
    pub const fn keras_3() -> Self {
        Self {
            binary_crossentropy: BinaryCrossentropy::ClippedLogarithms,
            crossentropy_logits: CrossentropyLogits::Never,
            integer_inputs: IntegerInputs::Promoted,
            moving_variance: MovingVariance::Batch,
            optimizer_epsilon: OptimizerEpsilon::BelowRoot,
            masked_bidirectional: MaskedBidirectional::Zeros,
            ..Self::tf_keras()
        }
    }

    /// Runs something in this thread where layers are called, and models made, by these rules. A call decides whether its
    /// result is masked before there is a model to ask.
    ///
    /// ```
    /// use keras_core::layers::{Embedding, Flatten, Input};
    /// use keras_core::{DType, models::Model, semantics::Semantics};
    /// let model = Semantics::tf_keras().during(|| {
    ///     let words = Input::new([5]).dtype(DType::I32).tensor()?;
    ///     let vectors = Embedding::new(100, 8).mask_zero(true).call(&words)?;
    ///     Model::new(&words, Flatten::new().call(vectors)?)
    /// })?;
    /// assert_eq!(model.semantics(), Semantics::tf_keras());
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn during<R>(self, run: impl FnOnce() -> R) -> R {
        struct Leave(Semantics);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _leave = Leave(CURRENT.replace(self));
        run()
    }

    /// The rules in force in this thread: those of the enclosing [`Semantics::during`], else Keras 2.3's.
    pub fn current() -> Self {
        CURRENT.get()
    }
}

thread_local! {
    static CURRENT: Cell<Semantics> = const { Cell::new(Semantics::keras_2_3()) };
}

impl Default for Semantics {
    fn default() -> Self {
        Self::keras_2_3()
    }
}
