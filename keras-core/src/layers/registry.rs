//! Layers by class name: [`deserialize`], and [`register`] for those of one's own.

use super::{
    Activation, ActivityRegularization, Add, AdditiveAttention, AlphaDropout, Attention, Average,
    AveragePooling1D, AveragePooling2D, AveragePooling3D, BatchNormalization, Bidirectional, Concatenate,
    Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3D, Conv3DTranspose, ConvLSTM2D, ConvLSTM2DCell,
    Cropping1D, Cropping2D, Cropping3D, CuDNNGRU, CuDNNLSTM, Dense, DepthwiseConv1D, DepthwiseConv2D, Dot,
    Dropout, ELU, Embedding, Flatten, GRU, GRUCell, GaussianDropout, GaussianNoise, GlobalAveragePooling1D,
    GlobalAveragePooling2D, GlobalAveragePooling3D, GlobalMaxPooling1D, GlobalMaxPooling2D,
    GlobalMaxPooling3D, Highway, Identity, Input, LSTM, LSTMCell, Lambda, Layer, LayerNormalization,
    LayerRef, LeakyReLU, LocallyConnected1D, LocallyConnected2D, Masking, MaxPooling1D, MaxPooling2D,
    MaxPooling3D, Maximum, MaxoutDense, Minimum, MultiHeadAttention, Multiply, Normalization, Operation,
    PReLU, Permute, RNN, ReLU, RepeatVector, Rescaling, Reshape, SeparableConv1D, SeparableConv2D, SimpleRNN,
    SimpleRNNCell, Softmax, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D, StackedRNNCells, Subtract,
    ThresholdedReLU, TimeDistributed, UnitNormalization, UpSampling1D, UpSampling2D, UpSampling3D,
    ZeroPadding1D, ZeroPadding2D, ZeroPadding3D, legacy,
};
use crate::error::Result;
use crate::registry::{Config, Reader, Registry};

/// A layer type that can be read from a config.
pub(crate) trait Read: Layer + Sized {
    /// Reads the arguments, those that every layer has included.
    fn read(reader: &mut Reader<'_>) -> Result<Self>;
}

fn make<L: Read>(config: &Config) -> Result<LayerRef> {
    let mut reader = config.reader();
    let layer = L::read(&mut reader)?;
    reader.finish()?;
    LayerRef::new(layer)
}

/// The layer under a key of another one's config.
pub(crate) fn read_layer(reader: &mut Reader<'_>, key: &str) -> Result<LayerRef> {
    let config = reader.value(key).and_then(Config::from_value);
    deserialize(&config.ok_or_else(|| reader.wrong(key, "an object with class_name and config"))?)
}

static REGISTRY: Registry<LayerRef> = Registry::new(
    "layer",
    &[
        ("Activation", make::<Activation>),
        ("ActivityRegularization", make::<ActivityRegularization>),
        ("Add", make::<Add>),
        ("AdditiveAttention", make::<AdditiveAttention>),
        ("AlphaDropout", make::<AlphaDropout>),
        ("Attention", make::<Attention>),
        ("Average", make::<Average>),
        ("AveragePooling1D", make::<AveragePooling1D>),
        ("AveragePooling2D", make::<AveragePooling2D>),
        ("AveragePooling3D", make::<AveragePooling3D>),
        ("AvgPool1D", make::<AveragePooling1D>),
        ("AvgPool2D", make::<AveragePooling2D>),
        ("AvgPool3D", make::<AveragePooling3D>),
        ("BatchNormalization", make::<BatchNormalization>),
        ("BatchNormalizationV1", make::<BatchNormalization>),
        ("BatchNormalizationV2", make::<BatchNormalization>),
        ("Bidirectional", make::<Bidirectional>),
        ("Concatenate", make::<Concatenate>),
        ("Conv1D", make::<Conv1D>),
        ("Conv1DTranspose", make::<Conv1DTranspose>),
        ("Conv2D", make::<Conv2D>),
        ("Conv2DTranspose", make::<Conv2DTranspose>),
        ("Conv3D", make::<Conv3D>),
        ("Conv3DTranspose", make::<Conv3DTranspose>),
        ("ConvLSTM2D", make::<ConvLSTM2D>),
        ("ConvLSTM2DCell", make::<ConvLSTM2DCell>),
        ("Convolution1D", make::<Conv1D>),
        ("Convolution1DTranspose", make::<Conv1DTranspose>),
        ("Convolution2D", make::<Conv2D>),
        ("Convolution2DTranspose", make::<Conv2DTranspose>),
        ("Convolution3D", make::<Conv3D>),
        ("Convolution3DTranspose", make::<Conv3DTranspose>),
        ("Cropping1D", make::<Cropping1D>),
        ("Cropping2D", make::<Cropping2D>),
        ("Cropping3D", make::<Cropping3D>),
        ("CuDNNGRU", make::<CuDNNGRU>),
        ("CuDNNLSTM", make::<CuDNNLSTM>),
        ("Deconv2D", make::<Conv2DTranspose>),
        ("Deconv3D", make::<Conv3DTranspose>),
        ("Deconvolution2D", make::<Conv2DTranspose>),
        ("Deconvolution3D", make::<Conv3DTranspose>),
        ("Dense", make::<Dense>),
        ("DepthwiseConv1D", make::<DepthwiseConv1D>),
        ("DepthwiseConv2D", make::<DepthwiseConv2D>),
        ("DepthwiseConvolution1D", make::<DepthwiseConv1D>),
        ("DepthwiseConvolution2D", make::<DepthwiseConv2D>),
        ("Dot", make::<Dot>),
        ("Dropout", make::<Dropout>),
        ("ELU", make::<ELU>),
        ("Embedding", make::<Embedding>),
        ("Flatten", make::<Flatten>),
        ("Functional", crate::models::layer_from_config),
        ("GRU", make::<GRU>),
        ("GRUCell", make::<GRUCell>),
        ("GaussianDropout", make::<GaussianDropout>),
        ("GaussianNoise", make::<GaussianNoise>),
        ("GlobalAveragePooling1D", make::<GlobalAveragePooling1D>),
        ("GlobalAveragePooling2D", make::<GlobalAveragePooling2D>),
        ("GlobalAveragePooling3D", make::<GlobalAveragePooling3D>),
        ("GlobalAvgPool1D", make::<GlobalAveragePooling1D>),
        ("GlobalAvgPool2D", make::<GlobalAveragePooling2D>),
        ("GlobalAvgPool3D", make::<GlobalAveragePooling3D>),
        ("GlobalMaxPool1D", make::<GlobalMaxPooling1D>),
        ("GlobalMaxPool2D", make::<GlobalMaxPooling2D>),
        ("GlobalMaxPool3D", make::<GlobalMaxPooling3D>),
        ("GlobalMaxPooling1D", make::<GlobalMaxPooling1D>),
        ("GlobalMaxPooling2D", make::<GlobalMaxPooling2D>),
        ("GlobalMaxPooling3D", make::<GlobalMaxPooling3D>),
        ("Highway", make::<Highway>),
        ("Identity", make::<Identity>),
        ("InputLayer", make::<Input>),
        ("LSTM", make::<LSTM>),
        ("LSTMCell", make::<LSTMCell>),
        ("Lambda", make::<Lambda>),
        ("LayerNormalization", make::<LayerNormalization>),
        ("LeakyReLU", make::<LeakyReLU>),
        ("LocallyConnected1D", make::<LocallyConnected1D>),
        ("LocallyConnected2D", make::<LocallyConnected2D>),
        ("Masking", make::<Masking>),
        ("MaxPool1D", make::<MaxPooling1D>),
        ("MaxPool2D", make::<MaxPooling2D>),
        ("MaxPool3D", make::<MaxPooling3D>),
        ("MaxPooling1D", make::<MaxPooling1D>),
        ("MaxPooling2D", make::<MaxPooling2D>),
        ("MaxPooling3D", make::<MaxPooling3D>),
        ("Maximum", make::<Maximum>),
        ("MaxoutDense", make::<MaxoutDense>),
        ("Minimum", make::<Minimum>),
        ("Model", crate::models::layer_from_config),
        ("MultiHeadAttention", make::<MultiHeadAttention>),
        ("Multiply", make::<Multiply>),
        ("Normalization", make::<Normalization>),
        ("PReLU", make::<PReLU>),
        ("Permute", make::<Permute>),
        ("RNN", make::<RNN>),
        ("ReLU", make::<ReLU>),
        ("RepeatVector", make::<RepeatVector>),
        ("Rescaling", make::<Rescaling>),
        ("Reshape", make::<Reshape>),
        ("SeparableConv1D", make::<SeparableConv1D>),
        ("SeparableConv2D", make::<SeparableConv2D>),
        ("SeparableConvolution1D", make::<SeparableConv1D>),
        ("SeparableConvolution2D", make::<SeparableConv2D>),
        ("Sequential", crate::models::layer_from_config),
        ("SimpleRNN", make::<SimpleRNN>),
        ("SimpleRNNCell", make::<SimpleRNNCell>),
        ("SlicingOpLambda", make::<Operation>),
        ("Softmax", make::<Softmax>),
        ("SpatialDropout1D", make::<SpatialDropout1D>),
        ("SpatialDropout2D", make::<SpatialDropout2D>),
        ("SpatialDropout3D", make::<SpatialDropout3D>),
        ("StackedRNNCells", make::<StackedRNNCells>),
        ("Subtract", make::<Subtract>),
        ("TFOpLambda", make::<Operation>),
        ("ThresholdedReLU", make::<ThresholdedReLU>),
        ("TimeDistributed", make::<TimeDistributed>),
        ("UnitNormalization", make::<UnitNormalization>),
        ("UpSampling1D", make::<UpSampling1D>),
        ("UpSampling2D", make::<UpSampling2D>),
        ("UpSampling3D", make::<UpSampling3D>),
        ("ZeroPadding1D", make::<ZeroPadding1D>),
        ("ZeroPadding2D", make::<ZeroPadding2D>),
        ("ZeroPadding3D", make::<ZeroPadding3D>),
    ],
);

/// Layer classes by name.
pub(crate) fn registry() -> &'static Registry<LayerRef> {
    &REGISTRY
}

/// The layer of a config that Keras or [`LayerRef::config`] made: its weights are fresh.
///
/// ```
/// use keras_core::layers::{Dense, LayerRef, deserialize};
/// let layer = LayerRef::new(Dense::new(3).activation("tanh"))?;
/// assert_eq!(deserialize(&layer.config())?.config(), layer.config());
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If nobody knows the class, or an argument is missing, wrong or unknown.
pub fn deserialize(config: &Config) -> Result<LayerRef> {
    let name = config.config.get("name").and_then(serde_json::Value::as_str);
    let place = name.map_or_else(|| "layer".to_owned(), |name| format!("layer {name:?}"));
    let made = if REGISTRY.is_custom(&config.class_name) {
        REGISTRY.build(&legacy::modern_base(config))
    } else {
        legacy::modern(config).and_then(|config| REGISTRY.build(&config))
    };
    made.map_err(|error| {
        let error = error.within(place);
        match config.class_name.as_str() {
            "TensorFlowOpLayer" => error.advice(
                "this operation is one of TensorFlow's graph (1.13 to 2.3): make the model with TensorFlow 2.4 or later, and load \
                 its weights; or register a layer of this name",
            ),
            _ => error,
        }
    })
}

/// Whether a class is one of the library's own.
pub(crate) fn is_builtin(class_name: &str) -> bool {
    REGISTRY.is_builtin(class_name)
}

/// Makes a layer class known to [`deserialize`], or replaces one.
///
/// ```
/// use keras_core::layers::{self, Base, Call, Layer, LayerRef};
/// use keras_core::{Result, Tensor, registry::Config};
///
/// struct Scaled {
///     base: Base,
///     factor: f64,
/// }
///
/// impl Layer for Scaled {
///     fn config(&self) -> Config {
///         Config::new("Scaled").with("factor", self.factor)
///     }
///     fn base(&self) -> Option<&Base> {
///         Some(&self.base)
///     }
///     fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
///         Ok(inputs.iter().map(|x| x * self.factor).collect())
///     }
/// }
///
/// layers::register("Scaled", |config| {
///     let mut reader = config.reader();
///     let layer = Scaled { base: Base::read(&mut reader)?, factor: reader.float("factor", 1.0)? };
///     reader.finish()?;
///     LayerRef::new(layer)
/// });
/// let layer = layers::deserialize(&Config::new("Scaled").with("name", "scaled").with("factor", 2.0))?;
/// assert_eq!((layer.name(), layer.class_name().as_str()), ("scaled", "Scaled"));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn register(class_name: &str, constructor: impl Fn(&Config) -> Result<LayerRef> + Send + Sync + 'static) {
    REGISTRY.register(class_name, constructor);
}
