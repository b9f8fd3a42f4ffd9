//! Layers called on wrong tensors, in the order of tests/oracle/wrong_2_3_1.py.

use super::{Row, row};
use keras_core::array::DType;
use keras_core::layers::{
    Add, Average, AveragePooling3D, BatchNormalization, Bidirectional, Concatenate, Conv1D, Conv2D,
    Conv2DTranspose, Conv3D, ConvLSTM2D, Cropping1D, Cropping2D, CuDNNGRU, CuDNNLSTM, Dense, DepthwiseConv2D,
    Dot, Dropout, Embedding, Flatten, GRU, GRUCell, GaussianNoise, GlobalAveragePooling2D,
    GlobalMaxPooling1D, Highway, Input, IntoLayer, LSTM, LayerNormalization, LayerRef, LeakyReLU,
    LocallyConnected1D, LocallyConnected2D, Masking, MaxPooling1D, MaxPooling2D, Maximum, MaxoutDense,
    Multiply, PReLU, Permute, RNN, RepeatVector, Reshape, SeparableConv1D, SeparableConv2D, SimpleRNN,
    SimpleRNNCell, Softmax, SpatialDropout1D, StackedRNNCells, Subtract, TimeDistributed, UpSampling1D,
    UpSampling2D, ZeroPadding1D,
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
        row(
            "dense_unknown_features",
            HERE,
            "last axis is known",
            "(None, None)",
            "shape of the Input",
            dense().call(of([None])),
        ),
        row(
            "dense_without_features",
            HERE,
            "rank 2 or more",
            "(None,)",
            "Input another shape",
            dense().call(of([])),
        ),
        row(
            "dense_zero_units",
            HERE,
            "at least 1",
            "0",
            "units or filters",
            Dense::new(0).name("here").call(vector()),
        ),
        row("dense_integers", HERE, "float32 inputs", "int32 (None, 4)", "k::cast", dense().call(integers())),
        row("dense_two_inputs", HERE, "one input", "2", "Concatenate", dense().call([&vector(), &vector()])),
        row(
            "conv1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            Conv1D::new(3, 3).name("here").call(vector()),
        ),
        row("conv2d_rank", HERE, "rank 4", "(None, 5, 4)", "Input another shape", conv().call(sequence())),
        row(
            "conv3d_rank",
            HERE,
            "rank 5",
            "(None, 6, 6, 2)",
            "Input another shape",
            Conv3D::new(3, 3).name("here").call(image()),
        ),
        row(
            "conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "(None, 6, 6, None)",
            "shape of the Input",
            conv().call(open_channels()),
        ),
        row(
            "conv2d_kernel_beyond_image",
            HERE,
            "at least [7, 7]",
            "(6, 6)",
            "padding \"same\"",
            Conv2D::new(3, 7).name("here").call(image()),
        ),
        row(
            "conv2d_no_kernel",
            HERE,
            "kernel_size of at least 1",
            "[0, 0]",
            "positive kernel_size",
            Conv2D::new(3, 0).name("here").call(image()),
        ),
        row(
            "conv2d_no_filters",
            HERE,
            "at least 1",
            "0",
            "units or filters",
            Conv2D::new(0, 3).name("here").call(image()),
        ),
        row(
            "conv2d_transpose_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            "Input another shape",
            Conv2DTranspose::new(3, 3).name("here").call(sequence()),
        ),
        row(
            "conv2d_transpose_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            "shape of the Input",
            Conv2DTranspose::new(3, 3).name("here").call(open_channels()),
        ),
        row(
            "separable_conv1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            "Input another shape",
            SeparableConv1D::new(3, 3).name("here").call(image()),
        ),
        row(
            "separable_conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            "shape of the Input",
            SeparableConv2D::new(3, 3).name("here").call(open_channels()),
        ),
        row(
            "depthwise_conv2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            "Input another shape",
            DepthwiseConv2D::new(3).name("here").call(sequence()),
        ),
        row(
            "depthwise_conv2d_unknown_channels",
            HERE,
            "channel axis is known",
            "None)",
            "shape of the Input",
            DepthwiseConv2D::new(3).name("here").call(open_channels()),
        ),
        row(
            "locally_connected1d_unknown_steps",
            HERE,
            "known",
            "(None, None, 4)",
            "shape of the Input",
            LocallyConnected1D::new(3, 3).name("here").call(of([None, Some(4)])),
        ),
        row(
            "locally_connected2d_unknown_rows",
            HERE,
            "known",
            "(None, None, 6, 2)",
            "shape of the Input",
            LocallyConnected2D::new(3, 3).name("here").call(of([None, Some(6), Some(2)])),
        ),
        row(
            "max_pooling1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            "Input another shape",
            MaxPooling1D::new(2).name("here").call(image()),
        ),
        row(
            "max_pooling2d_beyond_image",
            HERE,
            "at least [7, 7]",
            "(6, 6)",
            "padding \"same\"",
            MaxPooling2D::new(7).name("here").call(image()),
        ),
        row(
            "max_pooling2d_no_strides",
            HERE,
            "strides of at least 1",
            "[0, 0]",
            "positive strides",
            MaxPooling2D::new(2).strides(0).name("here").call(image()),
        ),
        row(
            "average_pooling3d_rank",
            HERE,
            "rank 5",
            "(None, 6, 6, 2)",
            "Input another shape",
            AveragePooling3D::new(2).name("here").call(image()),
        ),
        row(
            "global_max_pooling1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            GlobalMaxPooling1D::new().name("here").call(vector()),
        ),
        row(
            "global_average_pooling2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            "Input another shape",
            GlobalAveragePooling2D::new().name("here").call(sequence()),
        ),
        row(
            "up_sampling1d_rank",
            HERE,
            "rank 3",
            "(None, 6, 6, 2)",
            "Input another shape",
            UpSampling1D::new(2).name("here").call(image()),
        ),
        row(
            "up_sampling2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            "Input another shape",
            UpSampling2D::new(2).name("here").call(sequence()),
        ),
        row(
            "zero_padding1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            ZeroPadding1D::new(1).name("here").call(vector()),
        ),
        row(
            "cropping2d_rank",
            HERE,
            "rank 4",
            "(None, 5, 4)",
            "Input another shape",
            Cropping2D::new(1).name("here").call(sequence()),
        ),
        row(
            "cropping1d_beyond_steps",
            HERE,
            "axes longer than the cropping",
            "5",
            "smaller cropping",
            Cropping1D::new((3, 3)).name("here").call(sequence()),
        ),
        row(
            "flatten_without_features",
            HERE,
            "rank 2 or more",
            "(None,)",
            "Input another shape",
            Flatten::new().name("here").call(of([])),
        ),
        row(
            "reshape_elements",
            HERE,
            "of 4 elements",
            "[5]",
            "number of elements",
            Reshape::new([5]).name("here").call(vector()),
        ),
        row(
            "reshape_two_open_axes",
            HERE,
            "at most one −1",
            "[-1, -1]",
            "all lengths but one",
            Reshape::new([-1, -1]).name("here").call(vector()),
        ),
        row(
            "permute_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            Permute::new([2, 1]).name("here").call(vector()),
        ),
        row(
            "permute_twice_the_same",
            HERE,
            "axes 1 to 2 once",
            "[1, 1]",
            "axes from 1",
            Permute::new([1, 1]).name("here").call(sequence()),
        ),
        row(
            "repeat_vector_rank",
            HERE,
            "rank 2",
            "(None, 5, 4)",
            "Input another shape",
            RepeatVector::new(3).name("here").call(sequence()),
        ),
        row(
            "spatial_dropout1d_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            SpatialDropout1D::new(0.5).name("here").call(vector()),
        ),
        row(
            "batch_normalization_batch_axis",
            HERE,
            "behind the batch axis",
            "0",
            "-1 if they come last",
            normalized().axis(0).call(vector()),
        ),
        row(
            "batch_normalization_unknown_features",
            HERE,
            "axis 1 is known",
            "(None, None)",
            "shape of the Input",
            normalized().call(of([None])),
        ),
        row(
            "batch_normalization_axis_beyond",
            HERE,
            "behind the batch axis",
            "4",
            "-1 if they come last",
            normalized().axis(4).call(vector()),
        ),
        row(
            "batch_normalization_negative_epsilon",
            HERE,
            "epsilon of at least 0",
            "-1",
            "0.99 and 0.001",
            normalized().epsilon(-1.0).call(vector()),
        ),
        row(
            "p_relu_unknown_steps",
            HERE,
            "known",
            "(None, None, 4)",
            "shape of the Input",
            PReLU::new().name("here").call(of([None, Some(4)])),
        ),
        row(
            "softmax_axis_beyond",
            HERE,
            "an axis from -2 to 1",
            "4",
            "the last is -1",
            Softmax::new().axis(4).name("here").call(vector()),
        ),
        row(
            "embedding_input_length",
            HERE,
            "input_length (5,)",
            "(None, 4)",
            "input_length",
            Embedding::new(3, 2).input_length(5).name("here").call(integers()),
        ),
        row(
            "masking_without_features",
            HERE,
            "rank 2 or more",
            "(None,)",
            "Input another shape",
            Masking::new(0.0).name("here").call(of([])),
        ),
        row(
            "dropout_noise_shape",
            HERE,
            "broadcasts to",
            "(2, 2)",
            "rank of the input",
            Dropout::new(0.5).noise_shape([2, 2]).name("here").call(vector()),
        ),
        row(
            "dropout_nan",
            HERE,
            "a rate from 0 to 1",
            "NaN",
            "which fraction",
            Dropout::new(f64::NAN).name("here").call(vector()),
        ),
        row(
            "shared_dense_other_features",
            HERE,
            "last axis is 4",
            "(None, 5)",
            "layer of its own",
            twice(shared(dense()), vector(), of([Some(5)])),
        ),
        row(
            "shared_conv2d_other_channels",
            HERE,
            "channel axis is 2",
            "(None, 6, 6, 3)",
            "layer of its own",
            twice(LayerRef::new(conv()).unwrap(), image(), of([Some(6), Some(6), Some(3)])),
        ),
        row(
            "conv_lstm2d_rank",
            HERE,
            "rank 5",
            "(None, 4)",
            "Input another shape",
            ConvLSTM2D::new(3, 2).name("here").call(sequence()),
        ),
        row(
            "lstm_rank",
            HERE,
            "rank 3",
            "(None, 4)",
            "Input another shape",
            LSTM::new(3).name("here").call(vector()),
        ),
        row(
            "time_distributed_rank",
            HERE,
            "rank 3 or more",
            "(None, 4)",
            "wrapped layer",
            TimeDistributed::new(Dense::new(2)).name("here").call(vector()),
        ),
    ]
}

fn joins() -> Vec<Row> {
    let five = || of([Some(5)]);
    vec![
        row(
            "add_one_input",
            HERE,
            "at least 2 inputs",
            "1",
            "[&a, &b]",
            Add::new().name("here").call(vector()),
        ),
        row(
            "add_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 5)",
            "Reshape or a Dense",
            Add::new().name("here").call([&vector(), &five()]),
        ),
        row(
            "add_types",
            HERE,
            "one element type",
            "int32",
            "k::cast",
            Add::new().name("here").call([&vector(), &integers()]),
        ),
        row(
            "subtract_three_inputs",
            HERE,
            "exactly 2 inputs",
            "3",
            "such as Add",
            Subtract::new().name("here").call([&vector(), &vector(), &vector()]),
        ),
        row(
            "multiply_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 3, 4)",
            "Reshape or a Dense",
            Multiply::new().name("here").call([&sequence(), &of([Some(3), Some(4)])]),
        ),
        row(
            "average_one_input",
            HERE,
            "at least 2 inputs",
            "1",
            "[&a, &b]",
            Average::new().name("here").call(vector()),
        ),
        row(
            "maximum_shapes",
            HERE,
            "shapes fit or are 1",
            "(None, 5)",
            "Reshape or a Dense",
            Maximum::new().name("here").call([&vector(), &five()]),
        ),
        row(
            "concatenate_one_input",
            HERE,
            "at least 2 inputs",
            "1",
            "[&a, &b]",
            Concatenate::new().name("here").call(vector()),
        ),
        row(
            "concatenate_ranks",
            HERE,
            "matching shapes",
            "(None, 5, 4)",
            "another axis",
            Concatenate::new().name("here").call([&vector(), &sequence()]),
        ),
        row(
            "concatenate_shapes",
            HERE,
            "matching shapes",
            "(None, 5, 3)",
            "another axis",
            Concatenate::new().axis(1).name("here").call([&sequence(), &of([Some(5), Some(3)])]),
        ),
        row(
            "concatenate_axis_beyond",
            HERE,
            "an axis from -2 to 1",
            "3",
            "the last is -1",
            Concatenate::new().axis(3).name("here").call([&vector(), &vector()]),
        ),
        row("dot_one_input", HERE, "2 inputs", "1", "[&a, &b]", Dot::new(1).name("here").call(vector())),
        row(
            "dot_shapes",
            HERE,
            "equal lengths on axis 1",
            "(None, 5)",
            "lengths are equal",
            Dot::new(1).name("here").call([&vector(), &five()]),
        ),
        row(
            "dot_axes_beyond",
            HERE,
            "an axis of",
            "2",
            "count from the end",
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
            "first layer a batch_size",
            stateful().call(sequence()),
        ),
        row(
            "lstm_states_number",
            HERE,
            "2 initial states",
            "1 initial states",
            "h and c",
            LSTM::new(3).name("here").call([&sequence(), &state(3)]),
        ),
        row(
            "gru_state_shape",
            HERE,
            "initial state 0 of float32 (None, 3)",
            "(None, 2)",
            "as the layer has units",
            gru().call([&sequence(), &state(2)]),
        ),
        row(
            "gru_unroll_unknown_steps",
            HERE,
            "known number of time steps",
            "(None, None, 4)",
            "shape of the Input",
            gru().unroll(true).call(open()),
        ),
        row(
            "rnn_constants_of_none",
            HERE,
            "takes none",
            "1",
            "with_constants",
            cells().call([&sequence(), &state(2)]),
        ),
        row(
            "bidirectional_odd_states",
            HERE,
            "as many of the backward one",
            "1 states",
            "forward ones first",
            Bidirectional::new(GRU::new(2)).name("here").call([&sequence(), &state(2)]),
        ),
        row(
            "stateful_other_batch",
            HERE,
            "batch of 3 samples",
            "2",
            "batch size that the stateful layer",
            twice(LayerRef::new(stateful()).unwrap(), fixed(3), fixed(2)),
        ),
    ]
}

fn masks() -> Vec<Row> {
    let embedded = Embedding::new(5, 3).mask_zero(true).call(integers()).unwrap();
    let (mask, none) = ("without a mask", "masked input");
    vec![
        row(
            "flatten_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Flatten::new().name("here").call(masked()),
        ),
        row(
            "reshape_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Reshape::new([20]).name("here").call(masked()),
        ),
        row(
            "conv1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Conv1D::new(3, 3).name("here").call(masked()),
        ),
        row(
            "max_pooling1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            MaxPooling1D::new(2).name("here").call(masked()),
        ),
        row(
            "global_max_pooling1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            GlobalMaxPooling1D::new().name("here").call(masked()),
        ),
        row(
            "locally_connected1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            LocallyConnected1D::new(3, 3).name("here").call(masked()),
        ),
        row(
            "up_sampling1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            UpSampling1D::new(2).name("here").call(masked()),
        ),
        row(
            "zero_padding1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            ZeroPadding1D::new(1).name("here").call(masked()),
        ),
        row(
            "cropping1d_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Cropping1D::new(1).name("here").call(masked()),
        ),
        row(
            "permute_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Permute::new([2, 1]).name("here").call(masked()),
        ),
        row(
            "cu_dnn_gru_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            CuDNNGRU::new(3).name("here").call(masked()),
        ),
        row(
            "cu_dnn_lstm_masked",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            CuDNNLSTM::new(3).name("here").call(masked()),
        ),
        row(
            "flatten_of_masked_embedding",
            HERE,
            mask,
            none,
            "mask_zero or Masking",
            Flatten::new().name("here").call(embedded),
        ),
    ]
}

/// Weights are for inputs of some features: no layer takes others at a later call, and all say so in the same words.
#[test]
fn layers_with_weights_refuse_other_features_than_they_were_made_for() {
    fn made(layer: impl IntoLayer) -> LayerRef {
        layer.into_layer().unwrap()
    }
    let shape = |lens: &[usize]| of(lens.iter().copied().map(Some).collect::<Vec<_>>());
    // Where the features are, and the layers.
    let steps = vec![
        made(Dense::new(3)),
        made(Conv1D::new(3, 2)),
        made(SeparableConv1D::new(3, 2)),
        made(LocallyConnected1D::new(3, 2)),
        made(BatchNormalization::new()),
        made(LayerNormalization::new()),
        made(PReLU::new()),
        made(SimpleRNN::new(3)),
        made(GRU::new(3)),
        made(LSTM::new(3)),
        made(CuDNNGRU::new(3)),
        made(CuDNNLSTM::new(3)),
        made(RNN::new(SimpleRNNCell::new(3))),
        made(RNN::new(StackedRNNCells::new([GRUCell::new(3), GRUCell::new(2)]))),
        made(Bidirectional::new(LSTM::new(3))),
        made(TimeDistributed::new(Dense::new(3))),
    ];
    let images = vec![
        made(Conv2D::new(3, 2)),
        made(Conv2DTranspose::new(3, 2)),
        made(SeparableConv2D::new(3, 2)),
        made(DepthwiseConv2D::new(2)),
        made(LocallyConnected2D::new(3, 2)),
    ];
    let first =
        vec![made(Conv2D::new(3, 2).data_format("channels_first")), made(BatchNormalization::new().axis(1))];
    for (layers, good, bad) in [
        (vec![made(MaxoutDense::new(3)), made(Highway::new())], vec![4], vec![5]),
        (steps, vec![6, 4], vec![6, 5]),
        (images, vec![6, 6, 4], vec![6, 6, 5]),
        (first, vec![4, 6, 6], vec![5, 6, 6]),
        (vec![made(Conv3D::new(3, 2))], vec![6, 6, 6, 4], vec![6, 6, 6, 5]),
        (vec![made(ConvLSTM2D::new(3, 2))], vec![2, 6, 6, 4], vec![2, 6, 6, 5]),
        (vec![made(ConvLSTM2D::new(3, 2).data_format("channels_first"))], vec![2, 4, 6, 6], vec![2, 5, 6, 6]),
    ] {
        for layer in layers {
            layer.call(shape(&good)).unwrap();
            let error = layer.call(shape(&bad)).unwrap_err();
            let report = error.report();
            assert!(report.doing.contains(layer.name()), "{error}");
            assert!(report.expected.ends_with("is 4, as its weights are"), "{error}");
            assert!(report.received.contains("None") && report.received.contains('5'), "{error}");
            layer.call(shape(&good)).unwrap();
        }
    }
    // Lengths that no weight depends on may change; those of places that have weights of their own may not.
    let dense = made(Dense::new(3));
    dense.call(vector()).and_then(|_| dense.call(sequence())).unwrap();
    let conv = made(Conv1D::new(3, 2));
    conv.call(shape(&[6, 4])).and_then(|_| conv.call(shape(&[9, 4]))).unwrap();
    let local = made(LocallyConnected1D::new(3, 2).name("here"));
    let error = local.call(shape(&[6, 4])).and_then(|_| local.call(shape(&[9, 4]))).unwrap_err();
    assert!(error.report().expected.contains("5 places") && error.to_string().contains("8 in"), "{error}");
}

/// Arguments that are NaN, most of which Keras takes.
pub(super) fn not_numbers() -> Vec<Row> {
    vec![
        row(
            "masking_nan",
            HERE,
            "numbers can equal",
            "NaN",
            "such as 0",
            Masking::new(f64::NAN).name("here").call(of([Some(4), Some(3)])),
        ),
        row(
            "batch_normalization_nan",
            HERE,
            "a finite momentum",
            "NaN",
            "0.99 and 0.001",
            BatchNormalization::new().momentum(f64::NAN).name("here").call(vector()),
        ),
        row(
            "leaky_relu_nan",
            HERE,
            "a finite alpha",
            "NaN",
            "default",
            LeakyReLU::new().alpha(f64::NAN).name("here").call(vector()),
        ),
        row(
            "gaussian_noise_nan",
            HERE,
            "stddev",
            "NaN",
            "in that range",
            GaussianNoise::new(f64::NAN).name("here").call(vector()),
        ),
    ]
}
