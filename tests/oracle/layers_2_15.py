"""Layers of tf.keras 2.15: those that Keras 2.3.1 lacks, and those that compute otherwise. Writes
tests/fixtures/layers_2_15.{json,npz} in the form of layers_2_3_1.py, with "arguments" of the call besides; and
tests/fixtures/attention_2_15.{json,npz}, where an argument {"tensor": I} is the input I (files.py calls layers on inputs alone).
"""
import os

os.environ["TF_DETERMINISTIC_OPS"] = "1"
import numpy as np  # noqa: E402

from fixture import Fixture, expect, initial_weights, keras, stream, tf  # noqa: E402

L = tf.keras.layers
R = tf.keras.regularizers
expect("2.15.0")
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
CASES = []


def case(name, build, *shapes, **options):
    """build() makes the layer; shapes exclude the batch. Options as in layers_2_3_1.py (where f64=True is the layer's own dtype, not
    Keras's default), and call={..} (arguments of the call, of which {"tensor": I} is input I, yes or no), adapt=True (the layer learns its statistics from
    other data first), masks=[..] (which inputs come masked)."""
    CASES.append((name, build, shapes, options))


for name, options, shape in [("", {}, (3, 4)), ("_axis1", dict(axis=1), (3, 4)), ("_axes", dict(axis=[1, 2]), (3, 4)), ("_axes_swapped", dict(axis=[2, 1]), (3, 4)), ("_2d", {}, (5,)),
                             ("_no_center", dict(center=False), (3, 4)), ("_no_scale", dict(scale=False), (3, 4)), ("_neither", dict(center=False, scale=False), (3, 4)),
                             ("_epsilon", dict(epsilon=1e-6), (3, 4)), ("_axis2_4d", dict(axis=2), (2, 3, 4)),
                             ("_options", dict(beta_initializer="ones", gamma_initializer=tf.keras.initializers.Constant(2), beta_regularizer=R.l2(0.1), gamma_regularizer=R.l1(0.1),
                                               beta_constraint="non_neg", gamma_constraint=tf.keras.constraints.MaxNorm(0.7)), (4,))]:
    case("layer_normalization" + name, lambda o=options: L.LayerNormalization(**o), shape, batch=3, initial=name == "_options")
case("layer_normalization_masked", L.LayerNormalization, (4, 3), mask=True)
for name, options in [("", {}), ("_axis1", dict(axis=1)), ("_axes", dict(axis=[1, 2]))]:
    case("unit_normalization" + name, lambda o=options: L.UnitNormalization(**o), (3, 4))
case("unit_normalization_masked", L.UnitNormalization, (4, 3), mask=True)

for kind, make in [("attention", L.Attention), ("additive_attention", L.AdditiveAttention)]:
    for name, options in [("", {}), ("_scale", dict(use_scale=True)), ("_no_scale", dict(use_scale=False))] + ([("_concat", dict(score_mode="concat")), ("_concat_scale", dict(score_mode="concat", use_scale=True))] if kind == "attention" else []):
        case(kind + name, lambda m=make, o=options: m(**o), (3, 4), (5, 4))
    case(kind + "_key", lambda m=make: m(), (3, 4), (5, 4), (5, 4))
    case(kind + "_masked", lambda m=make: m(), (4, 3), (5, 3), mask=True, batch=3)
    case(kind + "_query_masked", lambda m=make: m(), (4, 3), (5, 3), mask=True, masks=[True, False], batch=3)
    case(kind + "_causal", lambda m=make: m(), (4, 3), (4, 3), call=dict(use_causal_mask=True))
    case(kind + "_causal_masked", lambda m=make: m(), (3, 3), (5, 3), call=dict(use_causal_mask=True), mask=True, masks=[False, True], batch=3)
    case(kind + "_scores", lambda m=make: m(), (3, 4), (5, 4), call=dict(return_attention_scores=True))
    case(kind + "_dropout", lambda m=make: m(dropout=0.3), (3, 4), (5, 4), random=True)
for name, options, shapes in [("", dict(num_heads=2, key_dim=3), [(4, 5), (6, 5)]), ("_key", dict(num_heads=2, key_dim=3), [(4, 5), (6, 5), (6, 5)]), ("_value_dim", dict(num_heads=3, key_dim=2, value_dim=4), [(4, 5), (6, 5)]),
                              ("_no_bias", dict(num_heads=2, key_dim=3, use_bias=False), [(4, 5), (6, 5)]), ("_output_shape", dict(num_heads=2, key_dim=3, output_shape=[7]), [(4, 5), (6, 5)]),
                              ("_output_shape_2", dict(num_heads=2, key_dim=3, output_shape=[2, 3]), [(4, 5), (6, 5)]), ("_one_head", dict(num_heads=1, key_dim=2), [(1, 2), (1, 2)]),
                              ("_4d", dict(num_heads=2, key_dim=2), [(2, 3, 4), (2, 3, 4)]), ("_4d_axes", dict(num_heads=2, key_dim=2, attention_axes=(2,)), [(2, 3, 4), (2, 5, 4)]),
                              ("_4d_first", dict(num_heads=2, key_dim=2, attention_axes=(1,)), [(2, 3, 4), (5, 3, 4)]),
                              ("_regularized", dict(num_heads=2, key_dim=2, kernel_regularizer=R.l2(0.1), bias_regularizer=R.l1(0.1), activity_regularizer=R.l2(0.05)), [(3, 4), (3, 4)]),
                              ("_options", dict(num_heads=2, key_dim=2, kernel_initializer="ones", bias_initializer=tf.keras.initializers.Constant(2), kernel_constraint=tf.keras.constraints.MaxNorm(0.7), bias_constraint="non_neg"), [(3, 4), (3, 4)])]:
    case("multi_head_attention" + name, lambda o=options: L.MultiHeadAttention(**o), *shapes, initial=name == "_options")
case("multi_head_attention_masked", lambda: L.MultiHeadAttention(2, 3), (4, 3), (5, 3), mask=True, batch=3)
case("multi_head_attention_causal", lambda: L.MultiHeadAttention(2, 3), (4, 3), (4, 3), call=dict(use_causal_mask=True))
for name, options, shapes in [("", {}, [(4, 3), (5, 3), (4, 5)]), ("_all_queries", {}, [(4, 3), (5, 3), (1, 5)]), ("_key", {}, [(4, 3), (5, 3), (5, 3), (4, 5)]),
                              ("_causal", dict(use_causal_mask=True), [(4, 3), (4, 3), (4, 4)])]:
    case("multi_head_attention_given_mask" + name, lambda: L.MultiHeadAttention(2, 3), *shapes, call=dict(options, attention_mask=dict(tensor=len(shapes) - 1)))
case("multi_head_attention_given_mask_masked", lambda: L.MultiHeadAttention(2, 3), (4, 3), (5, 3), (4, 5), call=dict(attention_mask=dict(tensor=2)), mask=True, masks=[True, True, False], batch=3)
case("multi_head_attention_scores", lambda: L.MultiHeadAttention(2, 3), (4, 3), (5, 3), call=dict(return_attention_scores=True))
case("multi_head_attention_dropout", lambda: L.MultiHeadAttention(2, 3, dropout=0.4), (4, 3), (5, 3), random=True)

for name, options in [("", {}), ("_same", dict(padding="same", strides=2)), ("_multiplier", dict(depth_multiplier=3, dilation_rate=2)), ("_no_bias", dict(use_bias=False, activation="relu"))]:
    case("depthwise_conv1d" + name, lambda o=options: L.DepthwiseConv1D(3, **o), (8, 2))
case("depthwise_conv2d_cl", lambda: L.DepthwiseConv2D((2, 3), depth_multiplier=2, padding="same"), (4, 5, 2))
case("separable_conv1d_causal", lambda: L.SeparableConv1D(3, 3, padding="causal"), (6, 2))
case("separable_conv2d", lambda: L.SeparableConv2D(3, 2, strides=2), (4, 5, 2))
for name, options in [("", {}), ("_same", dict(padding="same", strides=3)), ("_output_padding", dict(strides=3, output_padding=1)), ("_same_output_padding", dict(strides=2, padding="same", output_padding=0))]:
    case("conv1d_transpose" + name, lambda o=options: L.Conv1DTranspose(3, 3, **o), (4, 2))
given = dict(activation="tanh", bias_initializer=tf.keras.initializers.Constant(2), bias_regularizer=R.l1(0.1), activity_regularizer=R.l2(0.05), bias_constraint="non_neg")
case("depthwise_conv1d_options", lambda: L.DepthwiseConv1D(3, depthwise_initializer="ones", depthwise_regularizer=R.l2(0.1), depthwise_constraint=tf.keras.constraints.MaxNorm(0.7), **given), (8, 2), initial=True)
case("conv1d_transpose_options", lambda: L.Conv1DTranspose(3, 3, kernel_initializer="ones", kernel_regularizer=R.l2(0.1), kernel_constraint=tf.keras.constraints.MaxNorm(0.7), **given), (4, 2), initial=True)
case("conv1d_transpose_no_bias", lambda: L.Conv1DTranspose(3, 3, use_bias=False, dilation_rate=2), (4, 2))
case("conv2d_transpose", lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=1), (3, 4, 2))
case("conv3d_transpose_k3", lambda: L.Conv3DTranspose(2, 3, strides=2), (2, 3, 2, 2))
case("conv3d_transpose", lambda: L.Conv3DTranspose(2, 2, strides=2), (2, 3, 2, 2))
case("conv2d_groups", lambda: L.Conv2D(4, 3, groups=2, padding="same"), (4, 5, 4))
case("conv1d_groups", lambda: L.Conv1D(6, 2, groups=3, strides=2), (7, 3))
case("conv1d_causal", lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), (7, 2))
case("locally_connected1d", lambda: L.LocallyConnected1D(3, 3), (7, 2))
case("locally_connected2d", lambda: L.LocallyConnected2D(3, 2, strides=2), (5, 4, 2))

for name, options in [("nearest", {}), ("bilinear", dict(interpolation="bilinear")), ("bilinear_2_3", dict(size=(2, 3), interpolation="bilinear")), ("bilinear_5", dict(size=(5, 1), interpolation="bilinear")),
                      ("bilinear_cf", dict(size=(2, 3), interpolation="bilinear", data_format="channels_first"))]:
    case("up_sampling2d_" + name, lambda o=options: L.UpSampling2D(**o), (2, 3, 4) if name.endswith("cf") else (3, 4, 2))
case("up_sampling2d_bilinear_one_pixel", lambda: L.UpSampling2D(3, interpolation="bilinear"), (1, 1, 2))

for name, options, shape in [("2d", {}, (5,)), ("3d", {}, (4, 3)), ("4d", {}, (3, 4, 3)), ("4d_axis1", dict(axis=1), (3, 4, 2)), ("4d_axis2", dict(axis=2), (3, 4, 2)), ("5d", {}, (2, 3, 2, 3)), ("momentum", dict(momentum=0.6, epsilon=1e-2), (5,)),
                             ("4d_momentum", dict(momentum=0.6), (3, 4, 3)), ("neither", dict(center=False, scale=False), (5,))]:
    case("batch_normalization_" + name, lambda o=options: L.BatchNormalization(**o), shape, batch=4, scale=2)
    case("batch_normalization_frozen_" + name, lambda o=options: L.BatchNormalization(trainable=False, **o), shape, batch=4, scale=2)
for name, shape in [("2d", (5,)), ("4d", (3, 4, 3))]:
    case("batch_normalization_small_epsilon_" + name, lambda: L.BatchNormalization(epsilon=1e-8), shape, batch=4, scale=0.02)

case("rescaling", lambda: L.Rescaling(1 / 127.5, offset=-1), (3, 4), scale=100)
case("rescaling_list", lambda: L.Rescaling([0.5, 2.0], offset=[1.0, -1.0]), (3, 2))
case("rescaling_integers", lambda: L.Rescaling(1 / 255), (3, 4), ints=256, dtype="int32")
for name, options in [("", {}), ("_axis1", dict(axis=1)), ("_axes", dict(axis=(1, 2))), ("_none", dict(axis=None)), ("_invert", dict(invert=True))]:
    case("normalization" + name, lambda o=options: L.Normalization(**o), (3, 2), adapt=True)
case("normalization_given", lambda: L.Normalization(mean=0.5, variance=4.0), (3, 2))
case("normalization_given_list", lambda: L.Normalization(mean=[0.5, 1.0], variance=[4.0, 0.25]), (3, 2))
case("masking_masked", L.Masking, (5, 3), mask=True)
for name, make in [("flatten", L.Flatten), ("reshape", lambda: L.Reshape((2, 6))), ("permute", lambda: L.Permute((2, 1))), ("conv1d", lambda: L.Conv1D(2, 2)),
                   ("average_pooling1d", lambda: L.AveragePooling1D(2)), ("global_max_pooling1d", L.GlobalMaxPooling1D), ("global_average_pooling1d", L.GlobalAveragePooling1D), ("up_sampling1d", lambda: L.UpSampling1D(2)),
                   ("zero_padding1d", lambda: L.ZeroPadding1D(1)), ("cropping1d", lambda: L.Cropping1D(1)), ("depthwise_conv1d", lambda: L.DepthwiseConv1D(2)), ("conv1d_transpose", lambda: L.Conv1DTranspose(2, 2)),
                   ("locally_connected1d", lambda: L.LocallyConnected1D(2, 2)), ("rescaling", lambda: L.Rescaling(2.0)), ("dense", lambda: L.Dense(2)),
                   ("time_distributed", lambda: L.TimeDistributed(L.Dense(2))), ("separable_conv1d", lambda: L.SeparableConv1D(2, 2))]:
    case(name + "_masked", make, (4, 3), mask=True)
case("max_pooling1d_masked", lambda: L.MaxPooling1D(2), (5, 3), mask=True)
case("batch_normalization_masked", L.BatchNormalization, (4, 3), batch=4, mask=True)
case("batch_normalization_masked_axis1", lambda: L.BatchNormalization(axis=1), (4, 3), batch=4, mask=True)
case("batch_normalization_masked_4d", L.BatchNormalization, (4, 3, 2), batch=4, mask=True)
case("dot_masked", lambda: L.Dot(2), (4, 3), (4, 3), mask=True)
case("add_masked", L.Add, (4, 3), (4, 3), mask=True)
case("concatenate_masked", lambda: L.Concatenate(axis=1), (4, 3), (2, 3), mask=True)
case("identity", L.Identity, (3, 4))
case("identity_masked", L.Identity, (4, 3), mask=True)
for a in ["gelu", "swish", "mish"]:
    case("activation_" + a, lambda a=a: L.Activation(a), (6,), scale=4)
    case("dense_" + a, lambda a=a: L.Dense(3, activation=a), (4,))
case("softmax_axes", lambda: L.Softmax(axis=[1, 2]), (3, 4))
case("re_lu", lambda: L.ReLU(6.0, 0.1, 0.5), (6,), scale=8)
case("leaky_re_lu", lambda: L.LeakyReLU(0.2), (6,))
for name, make, shape in [("max_pooling2d", lambda: L.MaxPooling2D(3, 2, padding="same"), (4, 5, 2)), ("average_pooling1d", lambda: L.AveragePooling1D(2), (5, 2)),
                          ("global_average_pooling2d", L.GlobalAveragePooling2D, (3, 4, 2)), ("global_average_pooling2d_keepdims", lambda: L.GlobalAveragePooling2D(keepdims=True), (3, 4, 2)),
                          ("global_max_pooling1d_keepdims", lambda: L.GlobalMaxPooling1D(keepdims=True), (3, 2)), ("global_max_pooling2d_keepdims_cf", lambda: L.GlobalMaxPooling2D(keepdims=True, data_format="channels_first"), (2, 3, 4)),
                          ("zero_padding2d", lambda: L.ZeroPadding2D(((1, 0), (2, 1))), (3, 4, 2)), ("cropping2d", lambda: L.Cropping2D(1), (4, 5, 2)), ("flatten", L.Flatten, (3, 4)),
                          ("reshape", lambda: L.Reshape((-1, 2)), (3, 4)), ("permute", lambda: L.Permute((2, 1)), (3, 4)), ("repeat_vector", lambda: L.RepeatVector(2), (3,)), ("masking", L.Masking, (4, 2)),
                          ("p_re_lu", lambda: L.PReLU(shared_axes=[1]), (3, 4)), ("dense", lambda: L.Dense(3, "relu", kernel_regularizer="l2"), (4,)), ("up_sampling1d", lambda: L.UpSampling1D(3), (3, 2))]:
    case(name, make, shape)
case("embedding", lambda: L.Embedding(7, 3, mask_zero=True), (5,), ints=7)
case("concatenate", lambda: L.Concatenate(axis=1), (3, 4), (5, 4))
case("dot", lambda: L.Dot((2, 2), normalize=True), (3, 4), (5, 4))
for name, make in [("dropout", lambda: L.Dropout(0.4, noise_shape=(None, 1, 3), seed=7)), ("spatial_dropout1d", lambda: L.SpatialDropout1D(0.4)), ("gaussian_noise", lambda: L.GaussianNoise(0.2, seed=3)),
                   ("gaussian_dropout", lambda: L.GaussianDropout(0.2, seed=3)), ("alpha_dropout", lambda: L.AlphaDropout(0.2, seed=3))]:
    case(name, make, (2, 3), random=True)

for name, make, options in [
        ("simple_rnn", lambda: L.SimpleRNN(2, return_sequences=True, return_state=True), {}),
        ("simple_rnn_zeros", lambda: L.SimpleRNN(2, return_sequences=True, zero_output_for_mask=True), dict(mask=True, batch=3)),
        ("gru", lambda: L.GRU(2, return_sequences=True), {}),
        ("gru_reset_before", lambda: L.GRU(2, reset_after=False, return_state=True), {}),
        ("gru_time_major", lambda: L.GRU(2, time_major=True, return_sequences=True, go_backwards=True), {}),
        ("lstm", lambda: L.LSTM(2, return_state=True), {}),
        ("lstm_masked", lambda: L.LSTM(2, return_sequences=True, return_state=True), dict(mask=True, batch=3)),
        ("lstm_zeros", lambda: L.LSTM(2, return_sequences=True, zero_output_for_mask=True), dict(mask=True, batch=3)),
        ("lstm_time_major", lambda: L.LSTM(2, time_major=True), {}),
        ("rnn_cells", lambda: L.RNN([L.SimpleRNNCell(2), L.LSTMCell(3)], return_sequences=True), {}),
        ("rnn_cells_zeros", lambda: L.RNN([L.GRUCell(2)], return_sequences=True, zero_output_for_mask=True), dict(mask=True, batch=3)),
        ("bidirectional", lambda: L.Bidirectional(L.LSTM(2, return_sequences=True)), {}),
        ("bidirectional_masked", lambda: L.Bidirectional(L.GRU(2), merge_mode="sum"), dict(mask=True, batch=3)),
        ("bidirectional_masked_sequences", lambda: L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode="sum"), dict(mask=True, batch=3)),
        ("bidirectional_masked_backwards", lambda: L.Bidirectional(L.GRU(2, return_sequences=True, go_backwards=True)), dict(mask=True, batch=3)),
        ("bidirectional_time_major", lambda: L.Bidirectional(L.SimpleRNN(2, return_sequences=True, time_major=True), merge_mode="sum"), dict(batch=3)),
        ("bidirectional_masked_last", lambda: L.Bidirectional(L.GRU(2, zero_output_for_mask=True)), dict(mask=True, batch=3))]:
    case(name, make, (4, 3), **options)
case("conv_lstm2d", lambda: L.ConvLSTM2D(2, 2, return_sequences=True, return_state=True), (3, 4, 3, 2))

# In double precision, by the layer's argument.
for name in ["batch_normalization_" + kind for kind in ["2d", "3d", "4d", "4d_axis1", "5d", "momentum", "small_epsilon_2d", "small_epsilon_4d", "masked", "frozen_2d", "frozen_4d"]] + [
        "layer_normalization", "layer_normalization_axes", "layer_normalization_axis1", "layer_normalization_epsilon", "layer_normalization_masked",
        "attention", "attention_scale", "attention_concat_scale", "attention_masked", "attention_causal_masked", "attention_scores",
        "additive_attention", "additive_attention_no_scale", "additive_attention_masked", "additive_attention_causal_masked", "additive_attention_scores",
        "multi_head_attention", "multi_head_attention_value_dim", "multi_head_attention_no_bias", "multi_head_attention_4d_axes", "multi_head_attention_masked", "multi_head_attention_causal",
        "multi_head_attention_scores", "unit_normalization", "unit_normalization_axes", "normalization", "normalization_given", "normalization_given_list", "rescaling", "rescaling_list",
        "rescaling_integers", "conv1d_transpose", "conv1d_transpose_same", "conv1d_transpose_output_padding", "conv2d_transpose", "conv3d_transpose", "depthwise_conv1d", "depthwise_conv1d_multiplier",
        "depthwise_conv2d_cl", "separable_conv1d_causal", "separable_conv2d", "activation_gelu", "dense_gelu", "activation_swish", "activation_mish",
        "up_sampling2d_nearest", "up_sampling2d_bilinear", "up_sampling2d_bilinear_2_3", "up_sampling2d_bilinear_cf",
        "simple_rnn", "gru", "lstm_masked", "conv2d_groups"]:
    found = [one for one in CASES if one[0] == name][0]
    CASES.append((name + "_f64", found[1], found[2], dict(found[3], f64=True)))


def plain(value):
    """A config with TensorFlow's and numpy's containers as JSON has them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ in ("ListWrapper", "TensorShape", "_DictWrapper"):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def tensors(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def record(fixture, name, build, shapes, options):
    tf.keras.backend.clear_session()
    tf.random.set_seed(0)
    rs = stream(name)
    batch, ints, call = options.get("batch", 2), options.get("ints"), options.get("call", {})
    floatx = "float64" if options.get("f64") else "float32"
    dtype = options.get("dtype", "int32" if ints else floatx)
    masks = options.get("masks", [bool(options.get("mask"))] * len(shapes))
    named = {value["tensor"]: key for key, value in call.items() if isinstance(value, dict)}
    dtypes = ["bool" if i in named else dtype for i in range(len(shapes))]
    values = []
    for i, (shape, masked) in enumerate(zip(shapes, masks)):
        if i in named:
            values.append(rs.uniform(size=(batch,) + shape) < 0.6)
            # Every query sees something.
            values[-1][..., 0] |= ~values[-1].any(-1)
            continue
        if ints:
            values.append(rs.randint(0, ints, (batch,) + shape).astype(dtype))
            continue
        x = rs.uniform(-1, 1, (batch,) + shape) * options.get("scale", 1) + options.get("shift", 0)
        if masked:
            x[rs.uniform(size=x.shape[:2]) < 0.4] = 0
            # Every sequence keeps a step: tf.keras's results for none are those of rounding.
            x[:, 0] = np.where((x[:, 0] == 0).all(-1, keepdims=True), 0.5, x[:, 0])
        values.append(x.astype(floatx))
    layer = build()
    if options.get("f64"):
        layer = layer.__class__.from_config(dict(layer.get_config(), dtype="float64"))
    if options.get("adapt"):
        layer.adapt(rs.uniform(-2, 3, (7,) + shapes[0]).astype(floatx))

    def run(training, tape=None):
        inputs = []
        for value, masked in zip(values, masks):
            x = tf.constant(value)
            if tape is not None and x.dtype.is_floating:
                tape.watch(x)
            if masked:
                x._keras_mask = tf.reduce_any(x != 0, -1)
            inputs.append(x)
        given = dict(call, **{key: inputs[i] for i, key in named.items()})
        if takes_training:
            given["training"] = training
        many = [x for i, x in enumerate(inputs) if i not in named]
        return inputs, layer(*many, **given) if isinstance(layer, L.MultiHeadAttention) or len(many) == 1 else layer(many, **given)

    takes_training = layer._expects_training_arg
    inputs, outputs = run(False)
    def put(key, value):
        fixture.array("%s/%s" % (name, key), value)

    if options.get("initial"):
        for i, value in enumerate(layer.get_weights()):
            put("initial_weight_%d" % i, value)
    # As Python 3.6 knows them: names with a scope, static shapes.
    class Named:
        def __init__(self, weight):
            self.name, self.shape = weight.name, tuple(weight.shape)
    if options.get("adapt"):
        weights = layer.get_weights()
    else:
        keras.backend.int_shape = lambda weight: weight.shape
        weights = [value.astype(floatx) for value in initial_weights([Named(weight) for weight in layer.weights], rs)]
        layer.set_weights(weights)

    phases = ["test"] + (["train"] if takes_training and not options.get("random") and isinstance(layer, L.BatchNormalization) else [])
    signs = [rs.uniform(-1, 1, y.shape).astype(y.dtype.name).astype(floatx) for y in tensors(outputs)]
    for i, (value, masked) in enumerate(zip(inputs, masks)):
        put("input_%d" % i, value)
        if masked:
            put("input_mask_%d" % i, value._keras_mask)
    for i, (weight, value) in enumerate(zip(layer.weights, weights)):
        put("weight_%d" % i, value)
        if getattr(weight, "constraint", None) is not None:
            put("constrained_weight_%d" % i, weight.constraint(tf.constant(value)))
    output_masks = [getattr(y, "_keras_mask", None) for y in tensors(run(False)[1])]
    for i, (mask, r) in enumerate(zip(output_masks, signs)):
        put("r_%d" % i, r)
        if mask is not None:
            put("output_mask_%d" % i, mask)
    for phase in phases:
        layer.set_weights(weights)
        with tf.GradientTape(persistent=True) as tape:
            inputs, outputs = run(phase == "train", tape)
            objective = sum(tf.reduce_sum(y * tf.cast(r, y.dtype)) for y, r in zip(tensors(outputs), signs)) + sum(layer.losses)
        for i, y in enumerate(tensors(outputs)):
            put("%s/output_%d" % (phase, i), y)
        if layer.losses:
            put("%s/loss" % phase, sum(layer.losses))
        trainable = {id(w) for w in layer.trainable_weights}
        sources = [("grad_input_%d" % i, x) for i, x in enumerate(inputs) if x.dtype.is_floating]
        sources += [("grad_weight_%d" % i, w) for i, w in enumerate(layer.weights) if id(w) in trainable]
        for key, source in sources:
            gradient = tape.gradient(objective, source)
            if gradient is not None:
                # TensorFlow interpolates in float32, whatever the images are.
                put("%s/%s" % (phase, key), tf.cast(tf.convert_to_tensor(gradient), tensors(outputs)[0].dtype))
    updates = "train" in phases and layer.trainable
    if updates:
        for i, value in enumerate(layer.get_weights()):
            put("train/weight_after_%d" % i, value)
    trainable = {id(w) for w in layer.trainable_weights}
    fixture.case(
        name=name, class_name=layer.__class__.__name__, config=plain(layer.get_config()), arguments=call,
        input_shapes=[(None,) + shape for shape in shapes], input_dtypes=dtypes,
        initial=bool(options.get("initial")),
        # adapt() builds its layer outside the scope of its name.
        weights=[dict(name=w.name if "/" in w.name else "%s/%s" % (layer.name, w.name), shape=tuple(w.shape), trainable=id(w) in trainable) for w in layer.weights],
        outputs=len(tensors(outputs)), input_masks=masks, output_masks=[m is not None for m in output_masks],
        phases=phases, losses=bool(layer.losses), updates=updates)


fixture, attention = Fixture("layers_2_15", __file__), Fixture("attention_2_15", __file__)
for one in CASES:
    record(attention if "attention_mask" in one[-1].get("call", {}) else fixture, *one)
fixture.write()
attention.write()
