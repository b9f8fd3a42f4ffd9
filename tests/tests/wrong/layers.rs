//! Layers called on wrong tensors, in the order of tests/oracle/wrong_2_3_1.py.

use super::{Row, row};
use keras_core::array::DType;
use keras_core::layers::{
    Add, Average, AveragePooling3D, BatchNormalization, Bidirectional, Concatenate, Conv1D, Conv2D,
    Conv2DTranspose, Conv3D, ConvLSTM2D, Cropping1D, Cropping2D, CuDNNGRU, CuDNNLSTM, Dense, DepthwiseConv2D,
    Dot, Dropout, Embedding, Flatten, GRU, GaussianNoise, GlobalAveragePooling2D, GlobalMaxPooling1D, Input,
    LSTM, LayerRef, LeakyReLU, LocallyConnected1D, LocallyConnected2D, Masking, MaxPooling1D, MaxPooling2D,
    Maximum, Multiply, PReLU, Permute, RNN, RepeatVector, Reshape, SeparableConv1D, SeparableConv2D,
    SimpleRNNCell, Softmax, SpatialDropout1D, Subtract, TimeDistributed, UpSampling1D, UpSampling2D,
    ZeroPadding1D,
};
use keras_core::{Result, Tensor};

pub(super) fn of(shape: impl Into<Vec<Option<usize>>>) -> Tensor {
    let shape: Vec<Option<usize>> = shape.into();
    Input::new(shape).tensor().unwrap()
}

pub(super) fn vector() -> Tensor {
    of([Some(4)])
}

pub(super) fn sequence() -> Tensor {
    of([Some(5), Some(4)])
}

pub(super) fn image() -> Tensor {
    of([Some(6), Some(6), Some(2)])
}

fn integers() -> Tensor {
    Input::new([4]).dtype(DType::I32).tensor().unwrap()
}

fn masked() -> Tensor {
    Masking::new(0.0).call(sequence()).unwrap()
}

pub(super) const HERE: &str = "layer here at ";

pub(super) fn rows() -> Vec<Row> {
    [shapes(), joins(), states(), masks()].into_iter().flatten().collect()
}

/// The two calls of one layer.
fn twice(layer: LayerRef, first: Tensor, second: Tensor) -> Result<Tensor> {
    layer.call(first).unwrap();
    layer.call(second)
}

fn shapes() -> Vec<Row> {
    let dense = || Dense::new(3).name("here");
    let conv = || Conv2D::new(3, 3).name("here");
    let normalized = || BatchNormalization::new().name("here");
    let open_channels = || of([Some(6), Some(6), None]);
    let shared = |layer: Dense| LayerRef::new(layer).unwrap();
    vec![
        row("dense_unknown_features", HERE, "last axis is known", "(None, None)", dense().call(of([None]))),
        row("dense_without_features", HERE, "rank 2 or more", "(None,)", dense().call(of([]))),
        row("dense_zero_units", HERE, "at least 1", "0", Dense::new(0).name("here").call(vector())),
        row("dense_integers", HERE, "float32 inputs", "int32 (None, 4)", dense().call(integers())),
        row("dense_two_inputs", HERE, "one input", "2", dense().call([&vector(), &vector()])),
        row("conv1d_rank", HERE, "rank 3", "(None, 4)", Conv1D::new(3, 3).name("here").call(vector())),
        row("conv2d_rank", HERE, "rank 4", "(None, 5, 4)", conv().call(sequence())),
        row("conv3d_rank", HERE, "rank 5", "(None, 6, 6, 2)", Conv3D::new(3, 3).name("here").call(image())),
        row(
            "conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "(None, 6, 6, None)",
            conv().call(open_channels()),
        ),
        row(
            "conv2d_kernel_beyond_image",
            HERE,
            "at least [7, 7]",
            "(6, 6)",
            Conv2D::new(3, 7).name("here").call(image()),
        ),
        row(
            "conv2d_no_kernel",
            HERE,
            "kernel_size of at least 1",
            "[0, 0]",
            Conv2D::new(3, 0).name("here").call(image()),
        ),
        row("conv2d_no_filters", HERE, "at least 1", "0", Conv2D::new(0, 3).name("here").call(image())),
        row(
            "conv2d_transpose_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            Conv2DTranspose::new(3, 3).name("here").call(sequence()),
        ),
        row(
            "conv2d_transpose_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            Conv2DTranspose::new(3, 3).name("here").call(open_channels()),
        ),
        row(
            "separable_conv1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            SeparableConv1D::new(3, 3).name("here").call(image()),
        ),
        row(
            "separable_conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            SeparableConv2D::new(3, 3).name("here").call(open_channels()),
        ),
        row(
            "depthwise_conv2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            DepthwiseConv2D::new(3).name("here").call(sequence()),
        ),
        row(
            "depthwise_conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            DepthwiseConv2D::new(3).name("here").call(open_channels()),
        ),
        row(
            "locally_connected1d_unknown_steps",
            HERE,
            "known",
            "(None, None, 4)",
            LocallyConnected1D::new(3, 3).name("here").call(of([None, Some(4)])),
        ),
        row(
            "locally_connected2d_unknown_rows",
            HERE,
            "known",
            "(None, None, 6, 2)",
            LocallyConnected2D::new(3, 3).name("here").call(of([None, Some(6), Some(2)])),
        ),
        row(
            "max_pooling1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            MaxPooling1D::new(2).name("here").call(image()),
        ),
        row(
            "max_pooling2d_beyond_image",
            HERE,
            "at least [7, 7]",
            "(6, 6)",
            MaxPooling2D::new(7).name("here").call(image()),
        ),
        row(
            "max_pooling2d_no_strides",
            HERE,
            "strides of at least 1",
            "[0, 0]",
            MaxPooling2D::new(2).strides(0).name("here").call(image()),
        ),
        row(
            "average_pooling3d_rank",
            HERE,
            "rank 5",
            "(None, 6, 6, 2)",
            AveragePooling3D::new(2).name("here").call(image()),
        ),
        row(
            "global_max_pooling1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            GlobalMaxPooling1D::new().name("here").call(vector()),
        ),
        row(
            "global_average_pooling2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            GlobalAveragePooling2D::new().name("here").call(sequence()),
        ),
        row(
            "up_sampling1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            UpSampling1D::new(2).name("here").call(image()),
        ),
        row(
            "up_sampling2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            UpSampling2D::new(2).name("here").call(sequence()),
        ),
        row(
            "zero_padding1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            ZeroPadding1D::new(1).name("here").call(vector()),
        ),
        row(
            "cropping2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            Cropping2D::new(1).name("here").call(sequence()),
        ),
        row(
            "cropping1d_beyond_steps",
            HERE,
            "axes longer than the cropping",
            "5",
            Cropping1D::new((3, 3)).name("here").call(sequence()),
        ),
        row(
            "flatten_without_features",
            HERE,
            "rank 2 or more",
            "(None,)",
            Flatten::new().name("here").call(of([])),
        ),
        row("reshape_elements", HERE, "of 4 elements", "[5]", Reshape::new([5]).name("here").call(vector())),
        row(
            "reshape_two_open_axes",
            HERE,
            "at most one −1",
            "[-1, -1]",
            Reshape::new([-1, -1]).name("here").call(vector()),
        ),
        row("permute_rank", HERE, "rank 3", "(None, 4)", Permute::new([2, 1]).name("here").call(vector())),
        row(
            "permute_twice_the_same",
            HERE,
            "axes 1 to 2 once",
            "[1, 1]",
            Permute::new([1, 1]).name("here").call(sequence()),
        ),
        row(
            "repeat_vector_rank",
            HERE,
            "rank 2",
            "(None, 5, 4)",
            RepeatVector::new(3).name("here").call(sequence()),
        ),
        row(
            "spatial_dropout1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            SpatialDropout1D::new(0.5).name("here").call(vector()),
        ),
        row(
            "batch_normalization_batch_axis",
            HERE,
            "behind the batch axis",
            "0",
            normalized().axis(0).call(vector()),
        ),
        row(
            "batch_normalization_unknown_features",
            HERE,
            "axis 1 is known",
            "(None, None)",
            normalized().call(of([None])),
        ),
        row(
            "batch_normalization_axis_beyond",
            HERE,
            "behind the batch axis",
            "4",
            normalized().axis(4).call(vector()),
        ),
        row(
            "batch_normalization_negative_epsilon",
            HERE,
            "epsilon of at least 0",
            "-1",
            normalized().epsilon(-1.0).call(vector()),
        ),
        row(
            "p_relu_unknown_steps",
            HERE,
            "known",
            "(None, None, 4)",
            PReLU::new().name("here").call(of([None, Some(4)])),
        ),
        row(
            "softmax_axis_beyond",
            HERE,
            "an axis from -2 to 1",
            "4",
            Softmax::new().axis(4).name("here").call(vector()),
        ),
        row(
            "embedding_input_length",
            HERE,
            "input_length (5,)",
            "(None, 4)",
            Embedding::new(3, 2).input_length(5).name("here").call(integers()),
        ),
        row(
            "masking_without_features",
            HERE,
            "rank 2 or more",
            "(None,)",
            Masking::new(0.0).name("here").call(of([])),
        ),
        row(
            "dropout_noise_shape",
            HERE,
            "broadcasts to",
            "(2, 2)",
            Dropout::new(0.5).noise_shape([2, 2]).name("here").call(vector()),
        ),
        row(
            "dropout_nan",
            HERE,
            "a rate from 0 to 1",
            "NaN",
            Dropout::new(f64::NAN).name("here").call(vector()),
        ),
        row(
            "shared_dense_other_features",
            HERE,
            "[.., 5]",
            "[4, 3]",
            twice(shared(dense()), vector(), of([Some(5)])),
        ),
        row(
            "shared_conv2d_other_channels",
            HERE,
            "the kernel reads",
            "[83, 6, 6, 3]",
            twice(LayerRef::new(conv()).unwrap(), image(), of([Some(6), Some(6), Some(3)])),
        ),
        row(
            "conv_lstm2d_rank",
            HERE,
            "rank 5",
            "(None, 4)",
            ConvLSTM2D::new(3, 2).name("here").call(sequence()),
        ),
        row("lstm_rank", HERE, "rank 3", "(None, 4)", LSTM::new(3).name("here").call(vector())),
        row(
            "time_distributed_rank",
            HERE,
            "rank 3 or more",
            "(None, 4)",
            TimeDistributed::new(Dense::new(2)).name("here").call(vector()),
        ),
    ]
}

fn joins() -> Vec<Row> {
    let five = || of([Some(5)]);
    vec![
        row("add_one_input", HERE, "at least 2 inputs", "1", Add::new().name("here").call(vector())),
        row(
            "add_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 5)",
            Add::new().name("here").call([&vector(), &five()]),
        ),
        row(
            "add_types",
            HERE,
            "one element type",
            "int32",
            Add::new().name("here").call([&vector(), &integers()]),
        ),
        row(
            "subtract_three_inputs",
            HERE,
            "exactly 2 inputs",
            "3",
            Subtract::new().name("here").call([&vector(), &vector(), &vector()]),
        ),
        row(
            "multiply_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 3, 4)",
            Multiply::new().name("here").call([&sequence(), &of([Some(3), Some(4)])]),
        ),
        row("average_one_input", HERE, "at least 2 inputs", "1", Average::new().name("here").call(vector())),
        row(
            "maximum_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 5)",
            Maximum::new().name("here").call([&vector(), &five()]),
        ),
        row(
            "concatenate_one_input",
            HERE,
            "at least 2 inputs",
            "1",
            Concatenate::new().name("here").call(vector()),
        ),
        row(
            "concatenate_ranks",
            HERE,
            "matching shapes",
            "(None, 5, 4)",
            Concatenate::new().name("here").call([&vector(), &sequence()]),
        ),
        row(
            "concatenate_shapes",
            HERE,
            "matching shapes",
            "(None, 5, 3)",
            Concatenate::new().axis(1).name("here").call([&sequence(), &of([Some(5), Some(3)])]),
        ),
        row(
            "concatenate_axis_beyond",
            HERE,
            "an axis from -2 to 1",
            "3",
            Concatenate::new().axis(3).name("here").call([&vector(), &vector()]),
        ),
        row("dot_one_input", HERE, "2 inputs", "1", Dot::new(1).name("here").call(vector())),
        row(
            "dot_shapes",
            HERE,
            "equal lengths on axis 1",
            "(None, 5)",
            Dot::new(1).name("here").call([&vector(), &five()]),
        ),
        row(
            "dot_axes_beyond",
            HERE,
            "an axis of",
            "2",
            Dot::new(2).name("here").call([&vector(), &vector()]),
        ),
    ]
}

fn states() -> Vec<Row> {
    let gru = || GRU::new(3).name("here");
    let open = || of([None, Some(4)]);
    let fixed = |batch: usize| Input::new([5, 4]).batch_size(batch).tensor().unwrap();
    let stateful = || LSTM::new(3).stateful(true).name("here");
    let cells = || RNN::new(SimpleRNNCell::new(2)).num_constants(1).name("here");
    let state = |n: usize| of([Some(n)]);
    vec![
        row(
            "lstm_stateful_unknown_batch",
            HERE,
            "batch size is known",
            "(None, 3)",
            stateful().call(sequence()),
        ),
        row(
            "lstm_states_number",
            HERE,
            "2 initial states",
            "1 initial states",
            LSTM::new(3).name("here").call([&sequence(), &state(3)]),
        ),
        row(
            "gru_state_shape",
            HERE,
            "initial state 0 of float32 (None, 3)",
            "(None, 2)",
            gru().call([&sequence(), &state(2)]),
        ),
        row(
            "gru_unroll_unknown_steps",
            HERE,
            "known number of time steps",
            "(None, None, 4)",
            gru().unroll(true).call(open()),
        ),
        row("rnn_constants_of_none", HERE, "takes none", "1", cells().call([&sequence(), &state(2)])),
        row(
            "bidirectional_odd_states",
            HERE,
            "as many of the backward one",
            "1 states",
            Bidirectional::new(GRU::new(2)).name("here").call([&sequence(), &state(2)]),
        ),
        row(
            "stateful_other_batch",
            HERE,
            "batch of 3 samples",
            "2",
            twice(LayerRef::new(stateful()).unwrap(), fixed(3), fixed(2)),
        ),
    ]
}

fn masks() -> Vec<Row> {
    let embedded = Embedding::new(5, 3).mask_zero(true).call(integers()).unwrap();
    let (mask, none) = ("without a mask", "masked input");
    vec![
        row("flatten_masked", HERE, mask, none, Flatten::new().name("here").call(masked())),
        row("reshape_masked", HERE, mask, none, Reshape::new([20]).name("here").call(masked())),
        row("conv1d_masked", HERE, mask, none, Conv1D::new(3, 3).name("here").call(masked())),
        row("max_pooling1d_masked", HERE, mask, none, MaxPooling1D::new(2).name("here").call(masked())),
        row(
            "global_max_pooling1d_masked",
            HERE,
            mask,
            none,
            GlobalMaxPooling1D::new().name("here").call(masked()),
        ),
        row(
            "locally_connected1d_masked",
            HERE,
            mask,
            none,
            LocallyConnected1D::new(3, 3).name("here").call(masked()),
        ),
        row("up_sampling1d_masked", HERE, mask, none, UpSampling1D::new(2).name("here").call(masked())),
        row("zero_padding1d_masked", HERE, mask, none, ZeroPadding1D::new(1).name("here").call(masked())),
        row("cropping1d_masked", HERE, mask, none, Cropping1D::new(1).name("here").call(masked())),
        row("permute_masked", HERE, mask, none, Permute::new([2, 1]).name("here").call(masked())),
        row("cu_dnn_gru_masked", HERE, mask, none, CuDNNGRU::new(3).name("here").call(masked())),
        row("cu_dnn_lstm_masked", HERE, mask, none, CuDNNLSTM::new(3).name("here").call(masked())),
        row("flatten_of_masked_embedding", HERE, mask, none, Flatten::new().name("here").call(embedded)),
    ]
}

/// Arguments that are NaN, most of which Keras takes.
pub(super) fn not_numbers() -> Vec<Row> {
    vec![
        row(
            "masking_nan",
            HERE,
            "numbers can equal",
            "NaN",
            Masking::new(f64::NAN).name("here").call(of([Some(4), Some(3)])),
        ),
        row(
            "batch_normalization_nan",
            HERE,
            "a finite momentum",
            "NaN",
            BatchNormalization::new().momentum(f64::NAN).name("here").call(vector()),
        ),
        row(
            "leaky_relu_nan",
            HERE,
            "a finite alpha",
            "NaN",
            LeakyReLU::new().alpha(f64::NAN).name("here").call(vector()),
        ),
        row(
            "gaussian_noise_nan",
            HERE,
            "stddev",
            "NaN",
            GaussianNoise::new(f64::NAN).name("here").call(vector()),
        ),
    ]
}
