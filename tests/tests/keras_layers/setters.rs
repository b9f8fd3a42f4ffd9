//! The setters of layers, and the configs they make.

use super::case::cases;
use keras_core::activations;
use keras_core::config::DataFormat;
use keras_core::layers::{
    Activation, ActivityRegularization, BatchNormalization, Concatenate, Conv1D, Conv2D, Dense, Dropout,
    Embedding, Flatten, LayerRef, Masking, MaxPooling1D, MaxPooling2D, Padding, Permute, RepeatVector,
    Reshape, ZeroPadding1D, ZeroPadding2D,
};
use keras_core::regularizers::l1_l2;

/// The setters make what `from_config` makes.
#[test]
fn setters_write_keras_s_configs() {
    let built: Vec<(&str, LayerRef)> = vec![
        ("dense_relu", LayerRef::new(Dense::new(4).activation("relu").name("dense_1")).unwrap()),
        ("dense_no_bias", LayerRef::new(Dense::new(3).use_bias(false).name("dense_1")).unwrap()),
        (
            "dense_l1_l2",
            LayerRef::new(Dense::new(3).kernel_regularizer(l1_l2(0.01, 0.02)).name("dense_1")).unwrap(),
        ),
        ("activation_tanh", LayerRef::new(Activation::new(activations::Tanh).name("activation_1")).unwrap()),
        (
            "dropout_noise_shape",
            LayerRef::new(Dropout::new(0.4).noise_shape([None, Some(1), Some(3)]).name("dropout_1")).unwrap(),
        ),
        (
            "flatten_channels_first",
            LayerRef::new(Flatten::new().data_format(DataFormat::ChannelsFirst).name("flatten_1")).unwrap(),
        ),
        ("reshape_minus_one", LayerRef::new(Reshape::new([-1, 2, 2]).name("reshape_1")).unwrap()),
        ("permute_3d", LayerRef::new(Permute::new([3, 1, 2]).name("permute_1")).unwrap()),
        ("repeat_vector", LayerRef::new(RepeatVector::new(3).name("repeat_vector_1")).unwrap()),
        (
            "activity_regularization",
            LayerRef::new(ActivityRegularization::new(0.02, 0.03).name("activity_regularization_1")).unwrap(),
        ),
        ("masking_value", LayerRef::new(Masking::new(0.5).name("masking_1")).unwrap()),
        (
            "batch_normalization_2d_momentum",
            LayerRef::new(
                BatchNormalization::new().momentum(0.6).epsilon(1e-2).name("batch_normalization_1"),
            )
            .unwrap(),
        ),
        ("conv1d_causal", LayerRef::new(Conv1D::new(3, 3).padding("causal").name("conv1d_1")).unwrap()),
        (
            "conv2d_strides_2_3",
            LayerRef::new(Conv2D::new(3, 3).strides((2, 3)).padding(Padding::Same).name("conv2d_1")).unwrap(),
        ),
        (
            "conv2d_cf_same_dilation",
            LayerRef::new(
                Conv2D::new(3, [3, 3])
                    .padding("same")
                    .dilation_rate((2, 3))
                    .data_format("channels_first")
                    .name("conv2d_1"),
            )
            .unwrap(),
        ),
        (
            "max_pooling2d_k23_s12",
            LayerRef::new(MaxPooling2D::new((2, 3)).strides((1, 2)).name("max_pooling2d_1")).unwrap(),
        ),
        (
            "max_pooling1d_k3_s2_same",
            LayerRef::new(MaxPooling1D::new(3).strides(2).padding("same").name("max_pooling1d_1")).unwrap(),
        ),
        (
            "zero_padding2d_uneven",
            LayerRef::new(ZeroPadding2D::new(((1, 2), (3, 0))).name("zero_padding2d_1")).unwrap(),
        ),
        (
            "zero_padding1d_uneven",
            LayerRef::new(ZeroPadding1D::new((1, 3)).name("zero_padding1d_1")).unwrap(),
        ),
        ("concatenate_axis1", LayerRef::new(Concatenate::new().axis(1).name("concatenate_1")).unwrap()),
        (
            "embedding_input_length",
            LayerRef::new(Embedding::new(7, 3).input_length(5).name("embedding_1")).unwrap(),
        ),
    ];
    for (name, layer) in built {
        let case = cases().find(|case| case.name() == name).unwrap();
        assert_eq!(layer.config().to_value().to_string(), case.config().to_value().to_string(), "{name}");
    }
}
