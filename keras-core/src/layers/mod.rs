//! Layers: immutable definitions that write graph nodes. Everything that changes (names, weights, the `trainable`
//! flag, the nodes of calls) belongs to [`LayerRef`].

mod advanced_activations;
mod affine;
mod attention;
mod base;
mod borders;
mod check;
mod context;
mod convolutional;
mod core;
mod dot;
mod dropout;
mod embeddings;
mod given_masks;
mod input;
mod lambda;
mod layer;
mod layer_normalization;
mod legacy;
mod legacy_dense;
mod local;
mod merge;
mod multi_head_attention;
mod names;
mod node;
mod noise;
mod normalization;
mod operation;
mod pooling;
mod preprocessing;
mod recurrent;
mod registry;
mod replay;
mod scope;
mod separable;
mod shape;
mod transposed;
mod upsampling;
mod windowed;
mod wrappers;

pub use self::core::{Activation, ActivityRegularization, Dense, Identity, Masking};
pub use crate::k::Interpolation;
pub use advanced_activations::{ELU, LeakyReLU, PReLU, ReLU, Softmax, ThresholdedReLU};
pub use attention::{AdditiveAttention, Attention, ScoreMode};
pub(crate) use base::read_shape;
pub use base::{Base, Inputs, IntoLayer, Outputs, ShapeArgument};
pub use borders::{
    Border, BorderKind, Cropping1D, Cropping2D, Cropping3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D,
};
pub(crate) use context::loading;
pub use context::{Build, Call, Weight, WeightBuilder};
pub use convolutional::{Conv, Conv1D, Conv2D, Conv3D};
pub use dot::{Dot, DotAxes, dot};
pub use dropout::{
    AlphaDropout, Dropout, SpatialDropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D,
};
pub use embeddings::Embedding;
pub use input::Input;
pub use lambda::{Arguments, Lambda, register_lambda};
pub(crate) use layer::outputs_of;
pub(crate) use layer::set_variables;
pub use layer::{LayerRef, WeakLayer};
pub use layer_normalization::{LayerNormalization, UnitNormalization};
pub use legacy_dense::{Highway, MaxoutDense};
pub use local::{LocallyConnected, LocallyConnected1D, LocallyConnected2D};
pub use merge::{
    Add, Average, Concatenate, Maximum, Minimum, Multiply, Subtract, add, average, concatenate, maximum,
    minimum, multiply, subtract,
};
pub use multi_head_attention::MultiHeadAttention;
pub(crate) use names::next_number;
pub use names::{automatic_name, reset_names, snake_case};
pub use node::LayerNode;
pub(crate) use node::{input_argument, input_index};
pub use noise::{GaussianDropout, GaussianNoise};
pub use normalization::BatchNormalization;
pub(crate) use operation::CONSTANT;
pub use operation::Operation;
pub use options::{Choice, Named, Padding, PerAxis, Sides};
pub use pooling::{
    AveragePooling1D, AveragePooling2D, AveragePooling3D, GlobalAveragePooling1D, GlobalAveragePooling2D,
    GlobalAveragePooling3D, GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D, GlobalPooling,
    MaxPooling1D, MaxPooling2D, MaxPooling3D, Pooling, PoolingKind,
};
pub use preprocessing::{Normalization, Rescaling};
pub use recurrent::{
    Cell, CellLayer, ConvLSTM2D, ConvLSTM2DCell, CuDNNGRU, CuDNNLSTM, GRU, GRUCell, Gru, LSTM, LSTMCell,
    Lstm, RNN, Recurrent, SimpleRNN, SimpleRNNCell, StackedRNNCells,
};
pub use registry::{deserialize, register};
pub(crate) use registry::{is_builtin, registry};
pub use separable::{
    DepthwiseConv, DepthwiseConv1D, DepthwiseConv2D, SeparableConv, SeparableConv1D, SeparableConv2D,
};
pub use shape::{Flatten, Permute, RepeatVector, Reshape};
pub use transposed::{Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, ConvTranspose};
pub use upsampling::{UpSampling, UpSampling1D, UpSampling2D, UpSampling3D};
pub use wrappers::{Bidirectional, MergeMode, TimeDistributed};

use crate::error::Result;
use crate::k::{conv_geometry, options};
use crate::registry::Config;
use crate::regularizers::RegularizerRef;
use crate::semantics::IntegerInputs;
use crate::tensor::{Spec, Tensor};
use std::any::Any;

/// A layer's definition: plain fields and what they mean.
///
/// `call` is pure: it may run for every new shape, allocates no names, weights or counters, and writes the same nodes
/// for the same specs. A layer of one's own needs `call`, and `config` if it is to be saved:
///
/// ```
/// use keras_core::layers::{Build, Call, Input, Layer, LayerRef};
/// use keras_core::{Result, Tensor, k, registry::Config};
///
/// /// x², scaled.
/// struct Squared {
///     scale: f64,
/// }
///
/// impl Layer for Squared {
///     fn config(&self) -> Config {
///         Config::new("Squared").with("scale", self.scale)
///     }
///     fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
///         Ok(inputs.iter().map(|x| k::square(x) * self.scale).collect())
///     }
/// }
///
/// let x = Input::new([3]).tensor()?;
/// let y = LayerRef::new(Squared { scale: 2.0 })?.call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub trait Layer: Any + Send + Sync {
    /// Class name and constructor arguments, in Keras's order, without the ones that every layer has.
    fn config(&self) -> Config;

    /// The config of a layer that was built for those inputs.
    fn built_config(&self, config: Config, inputs: &[Spec]) -> Config {
        let _ = inputs;
        config
    }

    /// The arguments that every layer has: name, `trainable`, input shape, element type.
    fn base(&self) -> Option<&Base> {
        None
    }

    /// Makes weights and children for inputs of those specs; called once.
    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let _ = (cx, inputs);
        Ok(())
    }

    /// The specs of the results from those of the inputs; `None` asks for a probe: `call` is traced with two lengths
    /// for each open axis.
    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let _ = inputs;
        Ok(None)
    }

    /// Writes what the layer computes.
    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// Whether inputs that are no floating point numbers are cast to the layer's element type, by a rule other than
    /// [`IntegerInputs::AsGiven`].
    fn casts_integers(&self, rule: IntegerInputs) -> bool {
        let _ = rule;
        false
    }

    /// Whether masked inputs are welcome; if not, they are an error.
    fn supports_masking(&self) -> bool {
        false
    }

    /// Whether results can be masked although no input is, as those of `Masking` and `Embedding`.
    fn creates_mask(&self) -> bool {
        false
    }

    /// The masks of the results. Keras's rule: a layer that supports masking hands its input's mask on.
    fn compute_mask(
        &self,
        cx: &mut Call,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<Vec<Option<Tensor>>> {
        let _ = inputs;
        let mask = if self.supports_masking() { cx.mask(0).cloned() } else { None };
        Ok(vec![mask; outputs.len()])
    }

    /// A penalty on the results, added to the loss at every call.
    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        None
    }

    /// Whether its call takes an argument of that name besides its inputs; every layer takes `training`.
    fn takes_argument(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Which of so many inputs of a call with those arguments the weights are made for; all of them if not said otherwise.
    fn operands(&self, arguments: &Arguments, inputs: usize) -> Vec<usize> {
        let _ = arguments;
        (0..inputs).collect()
    }

    /// Whether states are carried from batch to batch; such layers update even when they do not learn.
    fn stateful(&self) -> bool {
        false
    }

    /// What it is as a recurrent cell, for an input `(batch, …)` of one step; none if it is no cell. A cell's `call`
    /// takes the input, the states and the constants, and gives the result and the next states.
    fn cell(&self, step: &Spec) -> Result<Option<Cell>> {
        let _ = step;
        Ok(None)
    }

    /// Whether it hands several results out as a list even if there is one.
    fn is_model(&self) -> bool {
        false
    }
}
