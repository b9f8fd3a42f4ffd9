"""Layers of Keras 2.3.1: outputs, masks, gradients, losses and updates. Writes tests/fixtures/layers_2_3_1.{json,npz}.

A case: name, class_name, config (as get_config gives it), input_shapes (batch null), input_dtypes,
weights [{name, shape, trainable}] in get_weights order, outputs (their number), input_masks and output_masks (per tensor:
is there one), phases ("test", or "test" and "train" where the layer behaves differently and deterministically),
losses (are there any), updates (are there any).

Arrays (float32, of cases in double float64; masks bool, indices int32), under "CASE/":
    input_I  input_mask_I  weight_I  r_I  output_mask_I
    PHASE/output_I  PHASE/loss (float32 scalar, the sum of the layer's losses)
    PHASE/grad_input_I  PHASE/grad_weight_I   of sum(output_0*r_0) + sum(output_1*r_1) + .. + loss; absent where Keras has none
    initial_weight_I      first values, where all initializers are deterministic
    constrained_weight_I  what the weight's constraint makes of it
    train/weight_after_I                      every weight after one run of the layer's updates
A masked input is one that came through Masking(0.): its masked steps are zero, and gradients are those at the layer's input.
"""
import numpy as np

from fixture import Fixture, K, expect, fresh, initial_weights, keras, stream, tf
from keras import layers as L
from keras.layers import normalization
from keras import regularizers as R

expect("2.3.1")
CASES = []


def case(name, build, *shapes, **options):
    """build() makes the layer; shapes exclude the batch. Options: batch=2, scale=1 (of uniform inputs), ints=N (indices below N),
    dtype of the input, fill=V (about 40 % of the steps are V), mask=True (likewise
    zero, and the inputs come masked), random=True (the training phase is random: only "test"),
    initial=True (first values of the weights are recorded), f64=True (in float64), given={..} (arguments of the layer that
    its config does not hold)."""
    CASES.append((name, build, shapes, options))


for a in ["linear", "relu", "softmax", "sigmoid", "tanh"]:
    case("dense_" + a, lambda a=a: L.Dense(4, activation=a), (5,), batch=3)
    case("activation_" + a, lambda a=a: L.Activation(a), (6,), scale=4)
case("activation_softmax_3d", lambda: L.Activation("softmax"), (3, 4), scale=4)
case("activation_relu_4d", lambda: L.Activation("relu"), (3, 2, 4))
case("activation_masked", lambda: L.Activation("tanh"), (4, 3), mask=True)
case("dense_no_bias", lambda: L.Dense(3, use_bias=False), (4,))
case("dense_3d", lambda: L.Dense(4, activation="relu"), (3, 5))
case("dense_4d", lambda: L.Dense(2), (2, 3, 4))
case("dense_masked", lambda: L.Dense(3), (4, 2), mask=True)
case("dense_one_unit", lambda: L.Dense(1, activation="sigmoid"), (7,))
case("dense_l1", lambda: L.Dense(3, kernel_regularizer=R.l1(0.03)), (4,))
case("dense_l2", lambda: L.Dense(3, kernel_regularizer=R.l2(0.03), bias_regularizer=R.l2(0.2)), (4,))
case("dense_l1_l2", lambda: L.Dense(3, kernel_regularizer=R.l1_l2(0.01, 0.02)), (4,))
case("dense_activity_l2", lambda: L.Dense(3, activation="tanh", activity_regularizer=R.l2(0.1)), (4,))
case("dropout", lambda: L.Dropout(0.4), (6,), random=True)
case("dropout_zero", lambda: L.Dropout(0.0), (6,))
case("dropout_one", lambda: L.Dropout(1.0), (6,))
case("dropout_noise_shape", lambda: L.Dropout(0.4, noise_shape=(None, 1, 3)), (2, 3), random=True)
case("dropout_masked", lambda: L.Dropout(0.4), (4, 2), mask=True, random=True)
case("flatten", lambda: L.Flatten(), (3, 2, 4))
case("flatten_channels_first", lambda: L.Flatten(data_format="channels_first"), (3, 2, 4))
case("flatten_3d", lambda: L.Flatten(), (3, 2))
case("flatten_3d_channels_first", lambda: L.Flatten(data_format="channels_first"), (3, 2))
case("reshape", lambda: L.Reshape((4, 3)), (2, 6))
case("reshape_minus_one", lambda: L.Reshape((-1, 2, 2)), (3, 4))
case("reshape_flat", lambda: L.Reshape((-1,)), (3, 4))
case("permute", lambda: L.Permute((2, 1)), (3, 4))
case("permute_3d", lambda: L.Permute((3, 1, 2)), (2, 3, 4))
case("repeat_vector", lambda: L.RepeatVector(3), (4,))
case("activity_regularization", lambda: L.ActivityRegularization(l1=0.02, l2=0.03), (5,))
case("activity_regularization_l1", lambda: L.ActivityRegularization(l1=0.02), (5,))
case("conv1d_no_bias", lambda: L.Conv1D(3, 2, use_bias=False), (5, 2))
case("conv3d_no_bias", lambda: L.Conv3D(2, 2, use_bias=False), (3, 2, 2, 2))
case("activity_regularization_4d", lambda: L.ActivityRegularization(l2=0.03), (2, 3, 2))
case("masking", lambda: L.Masking(), (5, 3), fill=0)
case("masking_value", lambda: L.Masking(mask_value=0.5), (4, 3), fill=0.5)
case("masking_masked", lambda: L.Masking(), (5, 3), mask=True)

for name, shape, axis in [("2d", (5,), -1), ("3d", (4, 3), -1), ("3d_axis1", (4, 3), 1), ("4d", (3, 4, 3), -1), ("4d_axis1", (3, 4, 2), 1),
                          ("4d_axis2", (3, 4, 2), 2), ("4d_axis3", (3, 4, 2), 3)]:
    case("batch_normalization_" + name, lambda axis=axis: L.BatchNormalization(axis=axis), shape, batch=4, scale=2)
for name, options in [("no_center", dict(center=False)), ("no_scale", dict(scale=False)), ("neither", dict(center=False, scale=False)),
                      ("momentum", dict(momentum=0.6, epsilon=1e-2))]:
    case("batch_normalization_2d_" + name, lambda o=options: L.BatchNormalization(**o), (5,), batch=4, scale=2)
    case("batch_normalization_4d_" + name, lambda o=options: L.BatchNormalization(**o), (3, 4, 3), batch=4, scale=2)
case("batch_normalization_masked", lambda: L.BatchNormalization(), (4, 3), batch=4, mask=True)
case("batch_normalization_batch_1", lambda: L.BatchNormalization(), (3, 4, 2), batch=1)

for name, options in [
        ("valid", {}), ("same", dict(padding="same")), ("strides", dict(strides=2)), ("same_strides", dict(strides=2, padding="same")),
        ("strides_2_3", dict(strides=(2, 3), padding="same")), ("dilation", dict(dilation_rate=2)),
        ("same_dilation", dict(dilation_rate=(2, 3), padding="same")), ("no_bias", dict(use_bias=False)),
        ("relu", dict(activation="relu", padding="same")), ("softmax", dict(activation="softmax"))]:
    case("conv2d_" + name, lambda o=options: L.Conv2D(3, 3, **o), (7, 8, 2))
    case("conv2d_cf_" + name, lambda o=options: L.Conv2D(3, 3, data_format="channels_first", **o), (2, 7, 8))
for kernel in [(1, 1), (2, 2), (2, 4), (4, 3), (5, 1), (1, 4)]:
    for padding in ["valid", "same"]:
        for strides in [1, 2]:
            case("conv2d_k%d%d_%s_s%d" % (kernel + (padding, strides)),
                 lambda k=kernel, p=padding, s=strides: L.Conv2D(2, k, padding=p, strides=s), (6, 5, 2))
case("conv2d_kernel_is_image", lambda: L.Conv2D(3, (4, 5)), (4, 5, 2))
case("conv2d_kernel_beyond_image_same", lambda: L.Conv2D(2, 5, padding="same"), (3, 2, 2))
case("conv2d_one_channel", lambda: L.Conv2D(1, 3), (5, 5, 1))
case("conv2d_wide", lambda: L.Conv2D(20, 3, padding="same"), (5, 6, 17), batch=1)
case("conv2d_regularized", lambda: L.Conv2D(2, 2, kernel_regularizer=R.l1_l2(0.01, 0.02), activity_regularizer=R.l1(0.01)), (3, 4, 2))

for kind, make in [("max", L.MaxPooling2D), ("average", L.AveragePooling2D)]:
    for name, options in [
            ("default", {}), ("same", dict(padding="same")), ("k3_s2", dict(pool_size=3, strides=2)),
            ("k3_s2_same", dict(pool_size=3, strides=2, padding="same")), ("k3_s1_same", dict(pool_size=3, strides=1, padding="same")),
            ("k23_s12", dict(pool_size=(2, 3), strides=(1, 2))), ("k2_s3_same", dict(pool_size=2, strides=3, padding="same"))]:
        case("%s_pooling2d_%s" % (kind, name), lambda m=make, o=options: m(**o), (7, 6, 2))
        case("%s_pooling2d_cf_%s" % (kind, name), lambda m=make, o=options: m(data_format="channels_first", **o), (2, 7, 6))
case("max_pooling2d_negative_same", lambda: L.MaxPooling2D(3, 2, padding="same"), (4, 4, 2), shift=-5)
case("global_average_pooling2d", lambda: L.GlobalAveragePooling2D(), (3, 4, 2))
case("global_average_pooling2d_cf", lambda: L.GlobalAveragePooling2D(data_format="channels_first"), (2, 3, 4))
case("zero_padding2d", lambda: L.ZeroPadding2D(), (3, 4, 2))
case("zero_padding2d_2_1", lambda: L.ZeroPadding2D((2, 1)), (3, 4, 2))
case("zero_padding2d_uneven", lambda: L.ZeroPadding2D(((1, 2), (3, 0))), (3, 4, 2))
case("zero_padding2d_cf", lambda: L.ZeroPadding2D(((1, 2), (3, 0)), data_format="channels_first"), (2, 3, 4))

case("add", lambda: L.Add(), (3, 4), (3, 4))
case("add_three", lambda: L.Add(), (4,), (4,), (4,))
case("add_broadcast", lambda: L.Add(), (3, 4), (1, 4))
case("add_rank", lambda: L.Add(), (3, 4), (4,))
case("add_masked", lambda: L.Add(), (4, 3), (4, 3), mask=True)
case("concatenate", lambda: L.Concatenate(), (3, 4), (3, 2))
case("concatenate_axis1", lambda: L.Concatenate(axis=1), (3, 4), (5, 4))
case("concatenate_three_4d", lambda: L.Concatenate(), (2, 3, 1), (2, 3, 2), (2, 3, 3))
case("concatenate_4d_axis2", lambda: L.Concatenate(axis=2), (2, 3, 2), (2, 1, 2))
case("concatenate_masked", lambda: L.Concatenate(), (4, 3), (4, 2), mask=True)
case("concatenate_masked_axis1", lambda: L.Concatenate(axis=1), (4, 3), (2, 3), mask=True)
case("embedding", lambda: L.Embedding(7, 3), (5,), ints=7)
case("embedding_mask_zero", lambda: L.Embedding(7, 3, mask_zero=True), (6,), ints=3, batch=3)
case("embedding_input_length", lambda: L.Embedding(7, 3, input_length=5), (5,), ints=7)
case("embedding_float_indices", lambda: L.Embedding(7, 3), (5,), ints=7, dtype="float32")
case("embedding_2d_indices", lambda: L.Embedding(7, 2), (2, 3), ints=7)
case("embedding_regularized", lambda: L.Embedding(5, 2, embeddings_regularizer=R.l2(0.1)), (4,), ints=5)


for name, options in [("valid", {}), ("same", dict(padding="same")), ("causal", dict(padding="causal")), ("strides", dict(strides=2)),
                      ("causal_strides", dict(padding="causal", strides=2)), ("causal_dilation", dict(padding="causal", dilation_rate=2)),
                      ("same_dilation", dict(padding="same", dilation_rate=3)), ("relu", dict(activation="relu"))]:
    case("conv1d_" + name, lambda o=options: L.Conv1D(3, 3, **o), (8, 2))
case("conv1d_cf_same_strides", lambda: L.Conv1D(3, 3, padding="same", strides=2, data_format="channels_first"), (2, 7))
for name, options in [("valid", {}), ("same_strides", dict(padding="same", strides=2)), ("strides_1_2_1", dict(strides=(1, 2, 1)))]:
    case("conv3d_" + name, lambda o=options: L.Conv3D(2, (2, 3, 2), **o), (3, 4, 5, 2))
    case("conv3d_cf_" + name, lambda o=options: L.Conv3D(2, (2, 3, 2), data_format="channels_first", **o), (2, 3, 4, 5))
for kind, one, three in [("max", L.MaxPooling1D, L.MaxPooling3D), ("average", L.AveragePooling1D, L.AveragePooling3D)]:
    for name, options in [("default", {}), ("same", dict(padding="same")), ("k3_s2_same", dict(pool_size=3, strides=2, padding="same"))]:
        case("%s_pooling1d_%s" % (kind, name), lambda m=one, o=options: m(**o), (7, 2))
        case("%s_pooling3d_%s" % (kind, name), lambda m=three, o=options: m(**o), (3, 4, 5, 2))
    case("%s_pooling1d_cf" % kind, lambda m=one: m(data_format="channels_first"), (2, 7))
    case("%s_pooling3d_cf" % kind, lambda m=three: m(data_format="channels_first"), (2, 3, 4, 5))
for kind, layers in [("max", [L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D]),
                     ("average", [L.GlobalAveragePooling1D, None, L.GlobalAveragePooling3D])]:
    for make, rank in zip(layers, [1, 2, 3]):
        if make:
            case("global_%s_pooling%dd" % (kind, rank), make, (3, 4, 5)[:rank] + (2,))
            case("global_%s_pooling%dd_cf" % (kind, rank), lambda m=make: m(data_format="channels_first"), (2,) + (3, 4, 5)[:rank])
case("global_average_pooling1d_masked", lambda: L.GlobalAveragePooling1D(), (5, 3), mask=True)
case("zero_padding1d", lambda: L.ZeroPadding1D(2), (4, 2))
case("zero_padding1d_uneven", lambda: L.ZeroPadding1D((1, 3)), (4, 2))
case("zero_padding3d", lambda: L.ZeroPadding3D((1, 2, 0)), (2, 3, 2, 2))
case("zero_padding3d_cf", lambda: L.ZeroPadding3D(((1, 0), (0, 2), (1, 1)), data_format="channels_first"), (2, 2, 3, 2))
case("subtract", lambda: L.Subtract(), (3, 4), (3, 4))
for kind, make in [("multiply", L.Multiply), ("average", L.Average), ("maximum", L.Maximum), ("minimum", L.Minimum)]:
    case(kind, lambda m=make: m(), (3, 4), (3, 4), (3, 4))
    case(kind + "_rank", lambda m=make: m(), (3, 4), (4,))
    case(kind + "_masked", lambda m=make: m(), (4, 3), (4, 3), mask=True)
# The kernel that Keras calls for images with the channels last adds at least 1.001e-5 to the variance.
for name, shape, axis in [("2d", (5,), -1), ("4d", (3, 4, 3), -1), ("4d_axis1", (3, 4, 2), 1)]:
    case("batch_normalization_%s_small_epsilon" % name, lambda a=axis: L.BatchNormalization(axis=a, epsilon=1e-8), shape, batch=4, scale=0.02)
case("batch_normalization_5d", lambda: L.BatchNormalization(), (2, 3, 2, 3), batch=3)
case("batch_normalization_regularized", lambda: L.BatchNormalization(gamma_regularizer=R.l2(0.1), beta_regularizer=R.l1(0.2)), (5,), batch=4)
case("embedding_activity_l1", lambda: L.Embedding(5, 2, activity_regularizer=R.l1(0.1)), (4,), ints=5)


def options_of(name, make, shape, *weights, **options):
    """One case with every initializer, regularizer and constraint of the class given."""
    given = {}
    for i, weight in enumerate(weights):
        given[weight + "_initializer"] = keras.initializers.Constant(0.25 + i)
        given[weight + "_regularizer"] = R.l1_l2(0.01 + i * 0.01, 0.02)
        given[weight + "_constraint"] = [keras.constraints.max_norm(0.5), keras.constraints.non_neg(), keras.constraints.unit_norm()][i % 3]
    given.update(options)
    case(name + "_all_options", lambda: make(**given), shape, initial=True)


# name, maker(data_format, options), input without channels
CONVOLUTIONS = [
    ("conv1d", lambda **o: L.Conv1D(3, 3, **o), (8,)), ("conv2d", lambda **o: L.Conv2D(3, 2, **o), (4, 5)),
    ("conv3d", lambda **o: L.Conv3D(2, 2, **o), (3, 4, 3)),
    ("conv2d_transpose", lambda **o: L.Conv2DTranspose(3, 3, **o), (4, 3)), ("conv3d_transpose", lambda **o: L.Conv3DTranspose(2, 2, **o), (3, 2, 3)),
    ("separable_conv1d", lambda **o: L.SeparableConv1D(3, 3, **o), (8,)), ("separable_conv2d", lambda **o: L.SeparableConv2D(3, 2, **o), (4, 5)),
    ("depthwise_conv2d", lambda **o: L.DepthwiseConv2D(2, **o), (4, 5)),
    ("locally_connected1d", lambda **o: L.LocallyConnected1D(3, 3, **o), (7,)), ("locally_connected2d", lambda **o: L.LocallyConnected2D(2, 2, **o), (4, 5))]
KERNELS = {"separable_conv1d": ["depthwise", "pointwise"], "separable_conv2d": ["depthwise", "pointwise"], "depthwise_conv2d": ["depthwise"]}
for name, make, shape in CONVOLUTIONS:
    options_of(name, make, shape + (2,), *(KERNELS.get(name, ["kernel"]) + ["bias"]), activity_regularizer=R.l2(0.1), activation="tanh")
    if "locally" in name or "transpose" in name or "separable" in name or "depthwise" in name:
        case(name, lambda m=make: m(), shape + (2,))
        case(name + "_batch_1_no_bias", lambda m=make: m(use_bias=False), shape + (3,), batch=1)
        case(name + "_strides", lambda m=make: m(strides=2), shape + (2,))
        if "1d" not in name:
            case(name + "_cf", lambda m=make: m(data_format="channels_first", activation="softmax"), (2,) + shape)
            case(name + "_cf_strides", lambda m=make: m(data_format="channels_first", strides=2, activation="relu"), (2,) + shape)
options_of("dense", lambda **o: L.Dense(3, **o), (4,), "kernel", "bias", activity_regularizer=R.l2(0.1))
options_of("p_re_lu", lambda **o: L.PReLU(**o), (3, 4), "alpha")
options_of("batch_normalization", lambda **o: L.BatchNormalization(**o), (4,), "gamma", "beta", moving_mean_initializer="ones", moving_variance_initializer=keras.initializers.Constant(2))
case("embedding_every_option", lambda: L.Embedding(5, 3, embeddings_initializer="ones", embeddings_regularizer=R.l1(0.1), activity_regularizer=R.l2(0.2),
                                                  embeddings_constraint=keras.constraints.max_norm(0.6), mask_zero=True, input_length=4), (4,), ints=5, initial=True)

# Odd sizes: kernels beyond the image, even kernels with stride 3, dilation with same padding; both formats.
for name, options in [("k5_same", dict(kernel_size=5, padding="same")), ("k2_s3", dict(kernel_size=2, strides=3)), ("k4_s3_same", dict(kernel_size=4, strides=3, padding="same")),
                      ("k3_d2_same", dict(kernel_size=3, dilation_rate=2, padding="same")), ("k2_d3_same", dict(kernel_size=2, dilation_rate=3, padding="same"))]:
    for cf in [False, True]:
        form = dict(data_format="channels_first") if cf else {}
        tag, shape = ("_cf_" if cf else "_") + name, (2, 4, 7) if cf else (4, 7, 2)
        case("conv2d_odd" + tag, lambda o=dict(options, **form): L.Conv2D(3, **o), shape, batch=1)
        case("separable_conv2d_odd" + tag, lambda o=dict(options, **form): L.SeparableConv2D(3, depth_multiplier=2, **o), shape, batch=1)
        case("depthwise_conv2d_odd" + tag, lambda o=dict(options, **form): L.DepthwiseConv2D(depth_multiplier=3, **o), shape, batch=1)
    case("conv1d_odd_" + name, lambda o=options: L.Conv1D(3, **o), (4, 2), batch=1)
    case("separable_conv1d_odd_" + name, lambda o=options: L.SeparableConv1D(3, depth_multiplier=2, **o), (4, 2), batch=1)
    # TensorFlow 1 has no dilated convolution over volumes on a CPU with the channels first.
    case("conv3d_odd_" + name, lambda o=options: L.Conv3D(2, **o), (4, 4, 3, 2), batch=1)
case("conv3d_dilation_2_1_1", lambda: L.Conv3D(2, 2, dilation_rate=(2, 1, 1)), (4, 3, 2, 2))
case("separable_conv1d_cf", lambda: L.SeparableConv1D(3, 3, data_format="channels_first", dilation_rate=2), (2, 8))
case("conv1d_cf", lambda: L.Conv1D(3, 2, data_format="channels_first"), (2, 5))

# Transposed convolutions: every relation of kernel and stride, with and without output_padding.
for kernel, strides, padding in [(3, 1, "same"), (3, 2, "same"), (2, 2, "valid"), (2, 3, "valid"), (5, 3, "same"), (4, 3, "same"), (2, 3, "same"), ((1, 4), (2, 1), "valid")]:
    tag = "conv2d_transpose_k%s_s%s_%s" % (kernel, strides, padding) if isinstance(kernel, int) else "conv2d_transpose_k14_s21"
    case(tag, lambda k=kernel, s=strides, p=padding: L.Conv2DTranspose(2, k, strides=s, padding=p), (3, 4, 2))
    case(tag.replace("transpose", "transpose_cf"), lambda k=kernel, s=strides, p=padding: L.Conv2DTranspose(2, k, strides=s, padding=p, data_format="channels_first"), (2, 3, 4))
for kernel, strides, padding, extra in [(3, 2, "same", 0), (3, 2, "same", 1), (3, 3, "valid", 2), (2, 2, "valid", 1), (4, 3, "same", 1), (3, 3, "same", (0, 2))]:
    tag = "conv2d_transpose_op_k%d_s%d_%s_%s" % (kernel, strides, padding, extra if isinstance(extra, int) else "02")
    case(tag, lambda k=kernel, s=strides, p=padding, e=extra: L.Conv2DTranspose(2, k, strides=s, padding=p, output_padding=e), (3, 2, 2))
case("conv2d_transpose_dilation", lambda: L.Conv2DTranspose(2, 3, dilation_rate=2), (4, 3, 2))
case("conv2d_transpose_dilation_same", lambda: L.Conv2DTranspose(2, 3, dilation_rate=2, padding="same"), (4, 3, 2))
case("conv3d_transpose_same_strides", lambda: L.Conv3DTranspose(2, 3, strides=(2, 1, 2), padding="same"), (2, 3, 2, 2))
case("conv3d_transpose_output_padding", lambda: L.Conv3DTranspose(2, 3, strides=2, output_padding=1, padding="same"), (2, 2, 2, 2))
case("conv3d_transpose_output_padding_cf", lambda: L.Conv3DTranspose(2, 2, strides=2, output_padding=(0, 1, 1), data_format="channels_first"), (2, 2, 2, 2))
case("locally_connected1d_cf_is_last", lambda: L.LocallyConnected1D(3, 3, data_format="channels_first"), (7, 2), given=dict(data_format="channels_first"))
case("locally_connected2d_uneven", lambda: L.LocallyConnected2D(2, (2, 3), strides=(2, 1)), (5, 4, 2))
case("locally_connected2d_k2_s3", lambda: L.LocallyConnected2D(2, 2, strides=3), (5, 6, 2), batch=1)
case("conv3d_transpose_k2_s3", lambda: L.Conv3DTranspose(2, 2, strides=3), (2, 1, 2, 2), batch=1)
case("locally_connected2d_kernel_is_image", lambda: L.LocallyConnected2D(2, (3, 2)), (3, 2, 2), batch=1)
case("locally_connected1d_s3", lambda: L.LocallyConnected1D(2, 2, strides=3), (8, 2))

for name, make, shape in [("cropping1d", L.Cropping1D, (5, 2)), ("cropping1d_uneven", lambda: L.Cropping1D((0, 2)), (5, 2)), ("cropping2d", L.Cropping2D, (4, 5, 2)),
                          ("cropping2d_int", lambda: L.Cropping2D(1), (4, 5, 2)), ("cropping2d_pair", lambda: L.Cropping2D((1, 2)), (4, 5, 2)),
                          ("cropping2d_uneven", lambda: L.Cropping2D(((1, 0), (0, 3))), (4, 5, 2)), ("cropping2d_cf", lambda: L.Cropping2D(((1, 0), (0, 3)), data_format="channels_first"), (2, 4, 5)),
                          ("cropping3d", L.Cropping3D, (3, 4, 5, 2)), ("cropping3d_uneven", lambda: L.Cropping3D(((1, 0), (0, 3), (2, 2))), (3, 4, 5, 2)),
                          ("cropping3d_cf", lambda: L.Cropping3D(((1, 1), (0, 1), (1, 0)), data_format="channels_first"), (2, 3, 4, 5)),
                          ("zero_padding1d_default", L.ZeroPadding1D, (4, 2)), ("zero_padding3d_default", L.ZeroPadding3D, (2, 1, 2, 2)),
                          ("up_sampling1d", L.UpSampling1D, (3, 2)), ("up_sampling1d_3", lambda: L.UpSampling1D(3), (3, 2)),
                          ("up_sampling2d", L.UpSampling2D, (3, 2, 2)), ("up_sampling2d_2_3", lambda: L.UpSampling2D((2, 3)), (3, 2, 2)),
                          ("up_sampling2d_cf", lambda: L.UpSampling2D((2, 3), data_format="channels_first"), (2, 3, 2)),
                          ("up_sampling2d_bilinear", lambda: L.UpSampling2D(interpolation="bilinear"), (3, 4, 2)), ("up_sampling2d_bilinear_2_3", lambda: L.UpSampling2D((2, 3), interpolation="bilinear"), (3, 1, 2)),
                          ("up_sampling2d_bilinear_cf", lambda: L.UpSampling2D((3, 1), interpolation="bilinear", data_format="channels_first"), (2, 3, 4)),
                          ("up_sampling3d", L.UpSampling3D, (2, 1, 2, 2)), ("up_sampling3d_cf", lambda: L.UpSampling3D((1, 2, 3), data_format="channels_first"), (2, 2, 1, 2))]:
    case(name, make, shape)

for name, make in [("leaky_re_lu", L.LeakyReLU), ("leaky_re_lu_alpha", lambda: L.LeakyReLU(0.1)), ("leaky_re_lu_quarter", lambda: L.LeakyReLU(0.25)), ("elu", L.ELU), ("elu_alpha", lambda: L.ELU(0.7)),
                   ("thresholded_re_lu", L.ThresholdedReLU), ("thresholded_re_lu_theta", lambda: L.ThresholdedReLU(0.4)), ("softmax", L.Softmax), ("softmax_axis1", lambda: L.Softmax(axis=1)),
                   ("re_lu", L.ReLU), ("re_lu_6", lambda: L.ReLU(6.)), ("re_lu_slope", lambda: L.ReLU(negative_slope=0.2)), ("re_lu_threshold", lambda: L.ReLU(threshold=0.5)),
                   ("re_lu_all", lambda: L.ReLU(max_value=1.5, negative_slope=0.3, threshold=0.5)),
                   ("p_re_lu", L.PReLU), ("p_re_lu_shared", lambda: L.PReLU(shared_axes=[1])), ("p_re_lu_shared_both", lambda: L.PReLU(shared_axes=[1, 2]))]:
    case(name, make, (5, 4), scale=3)
    case(name + "_masked", make, (5, 4), mask=True)
case("p_re_lu_4d_shared", lambda: L.PReLU(shared_axes=[1, 2]), (3, 2, 4))

for name, make in [("gaussian_noise", lambda: L.GaussianNoise(0.2)), ("gaussian_dropout", lambda: L.GaussianDropout(0.3)), ("alpha_dropout", lambda: L.AlphaDropout(0.3)),
                   ("alpha_dropout_noise_shape", lambda: L.AlphaDropout(0.3, noise_shape=(2, 1, 2), seed=3)), ("dropout_seed", lambda: L.Dropout(0.3, seed=5)),
                   ("spatial_dropout1d", lambda: L.SpatialDropout1D(0.3))]:
    given = dict(given=dict(noise_shape=[2, 1, 2], seed=3)) if name == "alpha_dropout_noise_shape" else {}
    case(name, make, (4, 2), random=True, **given)
    case(name + "_masked", make, (4, 2), mask=True, random=True)
case("spatial_dropout1d_wide", lambda: L.SpatialDropout1D(0.5, seed=3), (2, 20), random=True)
for name, make in [("gaussian_dropout_zero", lambda: L.GaussianDropout(0.)), ("gaussian_dropout_one", lambda: L.GaussianDropout(1.)), ("alpha_dropout_zero", lambda: L.AlphaDropout(0.)),
                   ("spatial_dropout1d_zero", lambda: L.SpatialDropout1D(0.))]:
    case(name, make, (4, 2))
for cf in ["channels_last", "channels_first"]:
    case("spatial_dropout2d_" + cf, lambda f=cf: L.SpatialDropout2D(0.3, data_format=f), (3, 4, 2), random=True, given=dict(data_format=cf))
    case("spatial_dropout3d_" + cf, lambda f=cf: L.SpatialDropout3D(0.3, data_format=f), (3, 4, 2, 3), random=True, given=dict(data_format=cf))

for name, axes, a, b in [("vectors", 1, (4,), (4,)), ("vectors_last", -1, (4,), (4,)), ("matrices_1", 1, (4, 3), (4, 5)), ("matrices_last", -1, (3, 4), (5, 4)), ("matrices_1_2", (1, 2), (4, 3), (5, 4)),
                         ("matrices_2_1", (2, 1), (3, 4), (4, 5)), ("negative_pair", (-1, -2), (3, 4), (4, 2)), ("matrix_vector", (2, 1), (3, 4), (4,)), ("vector_matrix", (1, 2), (4,), (3, 4)),
                         ("four_axes", (3, 1), (2, 3, 4), (4, 5)), ("four_by_four", (2, 3), (2, 4, 3), (3, 2, 4))]:
    case("dot_" + name, lambda x=axes: L.Dot(x), a, b)
    case("dot_normalized_" + name, lambda x=axes: L.Dot(x, normalize=True), a, b)
case("dot_masked", lambda: L.Dot(2), (4, 3), (4, 3), mask=True)
case("dot_normalized_zero", lambda: L.Dot(2, normalize=True), (4, 3), (4, 3), fill=0)

# What Keras calls the same in every format: both of them for every layer that has the choice.
for cf in [False, True]:
    form = dict(data_format="channels_first") if cf else {}
    tag = "_cf" if cf else ""
    for name, make, shape in [("max_pooling1d", L.MaxPooling1D, (7,)), ("average_pooling1d", L.AveragePooling1D, (7,)), ("max_pooling3d", L.MaxPooling3D, (4, 3, 5)), ("average_pooling3d", L.AveragePooling3D, (4, 3, 5))]:
        case(name + "_k4_s3_same" + tag, lambda m=make, o=form: m(4, strides=3, padding="same", **o), ((2,) + shape) if cf else shape + (2,), batch=1)
    # TensorFlow's gradient of an average is right only where every window that begins before an axis also ends beyond it.
    for name, make, shape in [("max_pooling1d", L.MaxPooling1D, (3,)), ("average_pooling1d", L.AveragePooling1D, (3,)), ("max_pooling2d", L.MaxPooling2D, (3, 4)),
                              ("average_pooling2d", L.AveragePooling2D, (3, 3)), ("max_pooling3d", L.MaxPooling3D, (3, 2, 4)), ("average_pooling3d", L.AveragePooling3D, (3, 3, 3))]:
        case(name + "_k5_same" + tag, lambda m=make, o=form: m(5, strides=1, padding="same", **o), ((2,) + shape) if cf else shape + (2,), batch=1)
    for rank, make in [(1, L.ZeroPadding1D), (1, L.Cropping1D), (1, L.UpSampling1D), (2, L.ZeroPadding2D), (2, L.Cropping2D), (2, L.UpSampling2D), (2, L.MaxPooling2D), (2, L.AveragePooling2D),
                       (3, L.ZeroPadding3D), (3, L.Cropping3D), (3, L.UpSampling3D), (1, L.GlobalMaxPooling1D), (1, L.GlobalAveragePooling1D), (2, L.GlobalMaxPooling2D), (2, L.GlobalAveragePooling2D),
                       (3, L.GlobalMaxPooling3D), (3, L.GlobalAveragePooling3D)]:
        if not cf or "data_format" in make().get_config():
            # One channel, one place more than is cut off.
            case("%s_batch_1%s" % (make.__name__.lower(), tag), lambda m=make, o=form: m(**o), ((1,) + (3,) * rank) if cf else (3,) * rank + (1,), batch=1)
for name, make, shapes in [
        ("dense", lambda: L.Dense(1), [(1,)]), ("flatten", L.Flatten, [(1, 1)]), ("reshape", lambda: L.Reshape((1, -1)), [(1,)]), ("permute", lambda: L.Permute((2, 1)), [(1, 3)]),
        ("repeat_vector", lambda: L.RepeatVector(1), [(1,)]), ("masking", L.Masking, [(1, 2)]), ("activation", lambda: L.Activation("softmax"), [(1,)]), ("add", L.Add, [(1,)] * 2),
        ("subtract", L.Subtract, [(1,)] * 2), ("multiply", L.Multiply, [(1,)] * 2), ("average", L.Average, [(1,)] * 2), ("maximum", L.Maximum, [(1,)] * 2), ("minimum", L.Minimum, [(1,)] * 2),
        ("concatenate", L.Concatenate, [(1,)] * 2), ("dot", lambda: L.Dot(1), [(1,)] * 2), ("leaky_re_lu", L.LeakyReLU, [(1,)]), ("p_re_lu", L.PReLU, [(1,)]), ("elu", L.ELU, [(1,)]),
        ("thresholded_re_lu", L.ThresholdedReLU, [(1,)]), ("softmax", L.Softmax, [(1,)]), ("re_lu", L.ReLU, [(1,)]), ("activity_regularization", lambda: L.ActivityRegularization(.1, .2), [(1,)])]:
    case(name + "_batch_1", make, *shapes, batch=1)
case("embedding_batch_1", lambda: L.Embedding(3, 1), (1,), ints=3, batch=1)
for a in ["elu", "selu", "softplus", "softsign", "hard_sigmoid", "exponential"]:
    case("activation_" + a, lambda a=a: L.Activation(a), (6,), scale=4)
    case("dense_" + a, lambda a=a: L.Dense(3, activation=a), (4,))

# The layers that Keras 2 keeps from Keras 1: each of their arguments, alone.
for kind, make in [("maxout_dense", lambda **o: L.MaxoutDense(3, **o)), ("highway", L.Highway)]:
    for name, options in [("", {}), ("_init", dict(init="ones")), ("_w_regularizer", dict(W_regularizer=R.l1_l2(0.01, 0.02))), ("_b_regularizer", dict(b_regularizer=R.l2(0.2))),
                          ("_activity_regularizer", dict(activity_regularizer=R.l2(0.1))), ("_w_constraint", dict(W_constraint=keras.constraints.max_norm(0.5))),
                          ("_b_constraint", dict(b_constraint="non_neg")), ("_no_bias", dict(bias=False)), ("_input_dim", dict(input_dim=4)),
                          ("_all_options", dict(init=keras.initializers.Constant(0.25), W_regularizer=R.l1(0.03), b_regularizer=R.l1_l2(0.01, 0.02), activity_regularizer=R.l1(0.1),
                                                W_constraint=keras.constraints.unit_norm(), b_constraint=keras.constraints.max_norm(0.5), input_dim=4))]:
        case(kind + name, lambda m=make, o=options: m(**o), (4,), batch=3, initial="init" in options)
    case(kind + "_batch_1", make, (1,), batch=1)
case("maxout_dense_nb_feature", lambda: L.MaxoutDense(2, nb_feature=3), (5,))
case("maxout_dense_one_feature", lambda: L.MaxoutDense(2, nb_feature=1, bias=False), (5,))
case("highway_relu_no_bias", lambda: L.Highway(activation="relu", bias=False), (5,))
for name, make, shape in [("conv1d", lambda **o: L.Conv1D(2, 2, **o), (3, 2)), ("conv2d", lambda **o: L.Conv2D(2, 2, **o), (3, 3, 2)), ("conv3d", lambda **o: L.Conv3D(2, 2, **o), (3, 2, 2, 2)),
                          ("conv2d_transpose", lambda **o: L.Conv2DTranspose(2, 2, **o), (2, 2, 2)), ("conv3d_transpose", lambda **o: L.Conv3DTranspose(2, 2, **o), (1, 2, 2, 2)),
                          ("separable_conv1d", lambda **o: L.SeparableConv1D(2, 2, **o), (3, 2)), ("separable_conv2d", lambda **o: L.SeparableConv2D(2, 2, **o), (3, 3, 2)),
                          ("depthwise_conv2d", lambda **o: L.DepthwiseConv2D(2, **o), (3, 3, 2)), ("locally_connected1d", lambda **o: L.LocallyConnected1D(2, 2, **o), (3, 2)),
                          ("locally_connected2d", lambda **o: L.LocallyConnected2D(2, 2, **o), (3, 3, 2)), ("highway", L.Highway, (3,))]:
    for a in ["relu", "tanh", "sigmoid", "hard_sigmoid", "softmax", "elu", "selu", "softplus", "softsign", "exponential"]:
        case("%s_activation_%s" % (name, a), lambda m=make, a=a: m(activation=a), shape)

# The arithmetic itself, where rounding does not hide it.
for name in ["dense_tanh", "conv2d_same_strides", "conv2d_cf_same_dilation", "conv1d_causal_dilation", "conv3d_same_strides", "conv2d_transpose_k5_s3_same", "conv3d_transpose_same_strides",
             "separable_conv2d_odd_k4_s3_same", "depthwise_conv2d_odd_k2_d3_same", "locally_connected2d_cf_strides", "max_pooling2d_k3_s2_same", "average_pooling2d_k3_s2_same",
             "dot_normalized_four_axes", "p_re_lu_shared", "elu_alpha", "leaky_re_lu_quarter", "softmax_axis1",
             "activation_selu", "activation_softplus", "global_average_pooling1d_masked", "embedding_regularized"]:
    found = [one for one in CASES if one[0] == name][0]
    CASES.append((name + "_f64", found[1], found[2], dict(found[3], f64=True)))
# And of each other class the first case that is not random. What Keras and TensorFlow 1 cannot compute in float64 follows.
classes = {"BatchNormalization", "MaxPooling3D"} | {type(build()).__name__ for name, build, _, options in CASES if options.get("f64")}
for name, build, shapes, options in list(CASES):
    if not options.get("random") and type(build()).__name__ not in classes:
        classes.add(type(build()).__name__)
        CASES.append((name + "_f64", build, shapes, dict(options, f64=True)))
for name in ["gaussian_noise", "spatial_dropout2d_channels_last", "spatial_dropout3d_channels_last", "highway_activation_tanh",
             "max_pooling3d_default", "max_pooling3d_k3_s2_same", "max_pooling3d_k5_same_cf"]:
    found = [one for one in CASES if one[0] == name][0]
    CASES.append((name + "_f64", found[1], found[2], dict(found[3], f64=True)))
# Averages move by 1 - momentum in single precision, whatever their own: 0.25 is the same in both.
for name, shape, options in [("2d", (5,), {}), ("2d_small_epsilon", (5,), dict(epsilon=1e-8)), ("3d_axis1", (4, 3), dict(axis=1)), ("5d", (2, 3, 2, 3), {})]:
    case("batch_normalization_%s_f64" % name, lambda o=options: L.BatchNormalization(momentum=0.75, **o), shape, batch=4, scale=0.02 if "epsilon" in options else 2, f64=True)
case("batch_normalization_masked_f64", lambda: L.BatchNormalization(momentum=0.75), (4, 3), batch=4, mask=True, f64=True)


def pool3d(x, pool_size, strides, padding, data_format, pool_mode):
    """K.pool3d for float64, in which TensorFlow 1 has no maximum over volumes: over the last two axes, then over the first."""
    if pool_mode != "max":
        return _pool3d(x, pool_size, strides, padding, data_format, pool_mode)
    if data_format == "channels_first":
        x = tf.transpose(x, (0, 2, 3, 4, 1))
    for size, step, order in [(pool_size[1:], strides[1:], None), ((pool_size[0], 1), (strides[0], 1), (0, 2, 1, 3, 4))]:
        x = tf.transpose(x, order) if order else x
        shape = tf.shape(x)
        flat = K.pool2d(tf.reshape(x, (-1,) + K.int_shape(x)[2:]), size, step, padding, "channels_last")
        x = tf.reshape(flat, tf.concat([shape[:2], tf.shape(flat)[1:]], 0))
        x = tf.transpose(x, order) if order else x
    return tf.transpose(x, (0, 4, 1, 2, 3)) if data_format == "channels_first" else x


class AnyBackend(object):
    """The backend under a name for which BatchNormalization leaves the number of samples in the precision of its input."""
    backend = staticmethod(lambda: "any")
    __getattr__ = staticmethod(lambda name: getattr(K, name))


_pool3d = K.pool3d


def precision(floatx):
    """Lets Keras compute in float64 what it only has in float32."""
    K.pool3d = pool3d if floatx == "float64" else _pool3d
    normalization.K = AnyBackend() if floatx == "float64" else K


def tensors(value):
    return value if isinstance(value, list) else [value]


def record(fixture, name, build, shapes, options):
    floatx = "float64" if options.get("f64") else "float32"
    fresh(floatx)
    precision(floatx)
    rs = stream(name)
    batch, ints = options.get("batch", 2), options.get("ints")
    dtype = options.get("dtype", "int32" if ints else floatx)
    values = []
    for shape in shapes:
        if ints:
            values.append(rs.randint(0, ints, (batch,) + shape).astype(dtype))
            continue
        x = rs.uniform(-1, 1, (batch,) + shape) * options.get("scale", 1) + options.get("shift", 0)
        if options.get("mask") or "fill" in options:
            x[rs.uniform(size=x.shape[:2]) < 0.4] = options.get("fill", 0)
        values.append(x.astype(floatx))

    feeds = [keras.Input(shape, dtype=dtype) for shape in shapes]
    inputs = [L.Masking()(x) for x in feeds] if options.get("mask") else feeds
    layer = build()
    outputs = tensors(layer(inputs if len(inputs) > 1 else inputs[0]))
    if options.get("initial"):
        for i, value in enumerate(layer.get_weights()):
            fixture.array("%s/initial_weight_%d" % (name, i), value)
    weights = [value.astype(floatx) for value in initial_weights(layer.weights, rs)]
    layer.set_weights(weights)

    def run(fetches, phase, updates=()):
        return K.function(feeds + [K.learning_phase()], fetches, updates=list(updates))(values + [phase])

    node = layer._inbound_nodes[-1]
    input_masks, output_masks = node.input_masks, node.output_masks
    rs_ = [rs.uniform(-1, 1, y.shape).astype(floatx) for y in run(outputs, 0)]
    objective = sum(K.sum(y * K.constant(r)) for y, r in zip(outputs, rs_)) + sum(layer.losses)

    phases = ["test"]
    if not options.get("random") and any(getattr(y, "_uses_learning_phase", False) for y in outputs):
        phases.append("train")

    def put(key, value):
        fixture.array("%s/%s" % (name, key), value)

    for i, (value, mask) in enumerate(zip(values, input_masks)):
        put("input_%d" % i, run([tf.identity(inputs[i])], 0)[0])
        if mask is not None:
            put("input_mask_%d" % i, run([mask], 0)[0])
    for i, (weight, value) in enumerate(zip(layer.weights, weights)):
        put("weight_%d" % i, value)
        if getattr(weight, "constraint", None) is not None:
            put("constrained_weight_%d" % i, run([weight.constraint(weight)], 0)[0])
    for i, (mask, r) in enumerate(zip(output_masks, rs_)):
        put("r_%d" % i, r)
        if mask is not None:
            put("output_mask_%d" % i, run([mask], 0)[0])

    wanted = [("grad_input_%d" % i, x) for i, x in enumerate(inputs) if not ints]
    wanted += [("grad_weight_%d" % i, w) for i, w in enumerate(layer.weights)]
    gradients = [(key, tf.convert_to_tensor(g)) for (key, _), g in zip(wanted, K.gradients(objective, [t for _, t in wanted])) if g is not None]
    # Moving averages have a gradient in the test phase; Keras never asks for it.
    trainable = {"grad_weight_%d" % i for i, w in enumerate(layer.weights) if w in layer.trainable_weights}
    gradients = [(key, g) for key, g in gradients if key.startswith("grad_input") or key in trainable]
    for phase, flag in [("test", 0), ("train", 1)]:
        if phase not in phases:
            continue
        for i, y in enumerate(run(outputs, flag)):
            put("%s/output_%d" % (phase, i), y)
        if layer.losses:
            put("%s/loss" % phase, run([sum(layer.losses)], flag)[0])
        for key, g in gradients:
            put("%s/%s" % (phase, key), run([g], flag)[0])
    if layer.updates:
        run(outputs, 1, layer.updates)
        for i, value in enumerate(layer.get_weights()):
            put("train/weight_after_%d" % i, value)

    fixture.case(
        name=name, class_name=layer.__class__.__name__, config=layer.get_config(),
        input_shapes=[(None,) + shape for shape in shapes], input_dtypes=[dtype] * len(shapes),
        initial=bool(options.get("initial")), given=options.get("given", {}),
        weights=[dict(name=w.name, shape=K.int_shape(w), trainable=w in layer.trainable_weights) for w in layer.weights],
        outputs=len(outputs), input_masks=[m is not None for m in input_masks], output_masks=[m is not None for m in output_masks],
        phases=phases, losses=bool(layer.losses), updates=bool(layer.updates))


fixture = Fixture("layers_2_3_1", __file__)
for one in CASES:
    record(fixture, *one)
fixture.write()
