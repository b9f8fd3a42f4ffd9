//! Keras 2 in Rust: define, train, save and run Keras models on exchangeable compute backends.
//!
//! ```
//! use keras::prelude::*;
//!
//! let mut model = Sequential::new();
//! model.add(Dense::new(16).activation("relu").input_shape([4]))?;
//! model.add(Dense::new(1).activation("sigmoid"))?;
//! model.compile(Compile::new("rmsprop", "binary_crossentropy").metrics(["accuracy"]))?;
//!
//! let x = Array::full(&[8, 4], 0.5_f32)?;
//! let y = Array::full(&[8, 1], 1.0_f32)?;
//! let history = model.fit(&x, &y, Fit::new().epochs(2).verbose(0))?;
//! assert_eq!(history["loss"].len(), 2);
//! # Ok::<(), keras::Error>(())
//! ```
//!
//! This crate is the facade: it re-exports [`keras_core`], registers the backends that were compiled in, and chooses
//! one by `keras.json`, `KERAS_BACKEND`, or [`set_backend`].

extern crate self as keras;

mod backends;
#[cfg(feature = "cli")]
pub mod cli;
pub mod datasets;
#[cfg(feature = "plot")]
pub mod plot;
pub mod utils;

/// HDF5 files as data: `hdf5::File::open("data.h5")?.dataset("x_data")?` goes to `predict` as it is.
pub mod hdf5 {
    pub use keras_core::saving::{Dataset, File};
}

pub use backends::{init, set_backend, set_device};
pub use keras_core::backend::registry::register;
pub use keras_core::*;

#[cfg(any(feature = "ndarray", feature = "candle", feature = "torch"))]
pub use backends::DefaultBackend;

/// What most programs use.
pub mod prelude {
    pub use keras_core::array::{Array, DType};
    pub use keras_core::callbacks::{
        CsvLogger, EarlyStopping, History, LambdaCallback, LearningRateScheduler, ReduceLrOnPlateau,
        TerminateOnNan,
    };
    pub use keras_core::error::{Error, Result};
    pub use keras_core::k;
    pub use keras_core::layers::{
        Activation, ActivityRegularization, Add, AdditiveAttention, AlphaDropout, Attention, Average,
        AveragePooling1D, AveragePooling2D, AveragePooling3D, BatchNormalization, Bidirectional, Build, Call,
        Concatenate, Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3D, Conv3DTranspose, ConvLSTM2D,
        Cropping1D, Cropping2D, Cropping3D, Dense, DepthwiseConv1D, DepthwiseConv2D, Dot, Dropout, ELU,
        Embedding, Flatten, GRU, GRUCell, GaussianDropout, GaussianNoise, GlobalAveragePooling1D,
        GlobalAveragePooling2D, GlobalAveragePooling3D, GlobalMaxPooling1D, GlobalMaxPooling2D,
        GlobalMaxPooling3D, Gru, Input, LSTM, LSTMCell, Lambda, Layer, LayerNormalization, LayerRef,
        LeakyReLU, LocallyConnected1D, LocallyConnected2D, Lstm, Masking, MaxPooling1D, MaxPooling2D,
        MaxPooling3D, Maximum, Minimum, MultiHeadAttention, Multiply, Normalization, PReLU, Permute, RNN,
        ReLU, RepeatVector, Rescaling, Reshape, SeparableConv1D, SeparableConv2D, SimpleRNN, SimpleRNNCell,
        Softmax, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D, StackedRNNCells, Subtract,
        ThresholdedReLU, TimeDistributed, UpSampling1D, UpSampling2D, UpSampling3D, ZeroPadding1D,
        ZeroPadding2D, ZeroPadding3D,
    };
    pub use keras_core::models::{
        Model, Sequential, clone_model, load_model, model_from_json, model_from_yaml,
    };
    pub use keras_core::optimizers::{Adadelta, Adagrad, Adam, Adamax, Nadam, RMSprop, SGD};
    pub use keras_core::saving::{HDF5Matrix, LoadWeights, Save};
    pub use keras_core::tensor::{Spec, Tensor};
    pub use keras_core::training::{
        Callback, ClassWeight, Compile, Context, Data, Evaluate, Fit, Logs, Predict, SampleWeight, Shuffle,
    };
}
