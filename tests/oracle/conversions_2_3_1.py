"""Weights of older versions and other backends as Keras 2.3.1 takes them. Writes tests/fixtures/conversions_2_3_1.zip.

    CASE.h5       weights as the older version has them, made here; if the case is whole, a whole model
    cases.json    one case a line: name, model (that of to_json), whole, and where real Keras does not load the file as it should
                  error (the exception, and the beginning of what it says) or mistaken (true: numbers in wrong places)
    weights.npz   CASE: the numbers of the weights that are right, in the order of get_weights; none if the file does not fit

What is right is what preprocess_weights_for_loading makes of each layer by itself. Of layers inside others Keras 2.3.1 converts
some twice (Keras 1's in TimeDistributed), and splits the list of a model where single gates, or models inside that have
weights of both kinds, are longer or shorter than it thinks: there it fails or is mistaken.
"""
import io
import json
import os
import tempfile
import zipfile

import h5py
import numpy as np

from fixture import FOLDER, K, expect, fresh, keras, stream
from keras import layers as L
from keras.engine.saving import preprocess_weights_for_loading
from keras.models import Model, Sequential

expect("2.3.1")
FIRST = dict(data_format="channels_first")
GATES = {"LSTM": "icfo", "ConvLSTM2D": "icfo", "GRU": "zrh"}
# TensorFlow 1.15 gives variables arrays of other shapes without a word; the model fails when it computes.
SILENT = "weights of other shapes"
CASES, FILES, RIGHT = [], [], {}


def nothing(self, inputs, initial_state):
    """What cuDNN's layers compute here, where there is no cuDNN: their weights are all that matters."""
    output = K.dot(inputs, K.zeros((K.int_shape(inputs)[-1], self.units)))
    return output if self.return_sequences else output[:, -1], initial_state


L.CuDNNLSTM._process_batch = L.CuDNNGRU._process_batch = nothing


def inside(layer):
    if isinstance(layer, L.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer.layer] if isinstance(layer, L.TimeDistributed) else getattr(layer, "layers", [])


def leaves(layer):
    """The layers that hold the weights."""
    found = [leaf for each in inside(layer) for leaf in leaves(each)]
    return found or ([layer] if layer.weights else [])


def listed(layer, arrays):
    """(what learns, the rest), each in the order of files."""
    if inside(layer):
        learning, rest = zip(*[listed(each, arrays) for each in inside(layer)])
        return sum(learning, []), sum(rest, [])
    own = arrays.get(layer, [])
    learns = len(own) - len(layer.non_trainable_weights) if layer.trainable_weights else 0
    return own[:learns], own[learns:]


def keras_1(early=False, joined=False):
    """Arrays of Keras 1; early: Conv1D as its first versions have it; joined: gates side by side, as consume_less="gpu" has them."""
    def arrays(leaf, draw):
        kind, shapes = type(leaf).__name__, [K.int_shape(weight) for weight in leaf.weights]
        first = getattr(leaf, "data_format", None) == "channels_first"
        kernel = shapes[0]
        turned = lambda shape: shape[:-3:-1] + shape[:-2]
        if kind == "Conv1D":
            shapes[0] = turned(kernel) + (1,) if early else (kernel[0], 1) + kernel[1:]
        elif kind in ("Conv2D", "Conv3D") and first:
            shapes[0] = turned(kernel)
        elif kind == "Conv2DTranspose":
            rows, columns, filters, channels = kernel
            shapes[0] = (filters, channels, rows, columns) if first else (rows, columns, channels, filters)
        elif kind == "SeparableConv2D" and first:
            shapes[:2] = map(turned, shapes[:2])
        names = ["W", "b"] if len(shapes) == 2 else ["W", "U", "b"] if kind in GATES or kind == "SimpleRNN" else map(str, range(len(shapes)))
        if kind in GATES and not joined:
            gates = GATES[kind]
            own = [shape[:-1] + (shape[-1] // len(gates),) for shape in shapes]
            shapes = [turned(shape) if first and len(shape) == 4 else shape for shape in own] * len(gates)
            names = [name + "_" + gate for gate in gates for name in ("W", "U", "b")]
        return [("%s_%s:0" % (leaf.name, name), draw(shape)) for name, shape in zip(names, shapes)]
    return arrays


def mixed_gates(leaf, draw):
    """Those of Keras 1, gates of an LSTM side by side and others single."""
    return keras_1(joined=type(leaf).__name__ == "LSTM")(leaf, draw)


def turned_kernels(leaf, draw):
    """Kernels that Keras turns for their shapes alone."""
    turned = lambda shape: (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape
    return [(weight.name, draw(turned(K.int_shape(weight)))) for weight in leaf.weights]


def same(leaf, draw):
    return [(weight.name, draw(K.int_shape(weight))) for weight in leaf.weights]


def doubles(leaf, draw):
    return [(weight.name, draw(K.int_shape(weight), "float64")) for weight in leaf.weights]


def all_digits(leaf, draw):
    """Sums of these are rounded."""
    return [(key, array.astype("float32")) for key, array in doubles(leaf, draw)]


def converted(leaf, arrays, version, backend):
    """A layer by itself. Keras joins the gates of ConvLSTM2D along another axis than it should if channels come first."""
    if type(leaf).__name__ == "ConvLSTM2D" and len(arrays) == 12 and leaf.data_format == "channels_first":
        leaf.cell.data_format = "channels_last"
        arrays = [np.transpose(array, (2, 3, 1, 0)) if array.ndim == 4 else array for array in arrays]
        try:
            return converted(leaf, arrays, version, backend)
        finally:
            leaf.cell.data_format = "channels_first"
    # It knows Keras 1 by the missing version alone.
    return preprocess_weights_for_loading(leaf, list(arrays), "1" if version is None or version.startswith("1.") else version, backend)


def written(path, groups, version, backend, config):
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if config else file
        if config:
            file.attrs["keras_version"], file.attrs["backend"], file.attrs["model_config"] = version.encode(), backend.encode(), config.encode()
        group.attrs["layer_names"] = [name.encode() for name, _ in groups]
        for key, value in [("keras_version", version), ("backend", backend)]:
            if value is not None:
                group.attrs[key] = value.encode()
        for name, arrays in groups:
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [key.encode() for key, _ in arrays]
            for key, array in arrays:
                layer.create_dataset(key, data=array, track_times=False)


def case(name, build, version=None, backend=None, old=None, source=None, whole=False):
    """build() makes the model; source() the one whose weights the file has, if that is another one."""
    fresh()
    rs = stream(name)
    # Few digits make a small file.
    draw = lambda shape, dtype="float32": rs.uniform(-0.7, 0.7, shape) if dtype == "float64" else (rs.randint(-255, 256, shape) / 256.0).astype(dtype)
    origin = source() if source else None
    if source:
        K.reset_uids()
    model = build()
    origin = origin or model
    old = old or (keras_1() if version is None else same)
    arrays = {leaf: old(leaf, draw) for leaf in leaves(origin)}
    if backend == "theano" and version is not None:
        arrays = {leaf: [(key.split(":")[0], array) for key, array in own] for leaf, own in arrays.items()}
    plain = [np.zeros(weight.shape, weight.dtype) for weight in model.get_weights()]
    try:
        for leaf, own in zip(leaves(origin), leaves(model)):
            own.set_weights(converted(own, [array for _, array in arrays[leaf]], version, backend))
        RIGHT[name] = np.concatenate([array.ravel() for array in model.get_weights()])
    except ValueError:
        pass
    model.set_weights(plain)
    text = model.to_json()
    fields = dict(name=name, model=json.loads(text), **(dict(whole=True) if whole else {}))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "case.h5")
        written(path, [(layer.name, sum(listed(layer, arrays), [])) for layer in origin.layers], version, backend, text if whole else None)
        with open(path, "rb") as file:
            FILES.append((name + ".h5", file.read()))
        try:
            if whole:
                model = keras.models.load_model(path, compile=False)
            else:
                model.load_weights(path)
        except (AssertionError, ValueError) as error:
            fields["error"] = ("%s: %s" % (type(error).__name__, " ".join(str(error).split())))[:160]
        else:
            found = model.get_weights()
            if [array.shape for array in found] != [array.shape for array in plain]:
                fields["error"] = SILENT
            elif not np.array_equal(np.concatenate([array.ravel() for array in found]), RIGHT[name]):
                fields["mistaken"] = True
    if name not in RIGHT and "error" not in fields:
        raise ValueError("%s: loads what no layer takes by itself" % name)
    CASES.append(fields)


def of(*layers):
    """A Sequential; the first layer has the shape of its input."""
    return lambda: Sequential([layer() for layer in layers])


def layer(kind, *arguments, **options):
    return lambda: getattr(L, kind)(*arguments, **options)


def conv1d(length, channels, filters, **options):
    return layer("Conv1D", filters, length, input_shape=(4, channels), **options)


def conv2d(filters=3, channels=2, size=(2, 3), **options):
    return layer("Conv2D", filters, size, input_shape=(channels, 4, 4) if options.get("data_format") else (4, 4, channels), **options)


def conv2d_transpose(filters=3, channels=2, size=(2, 3), **options):
    return layer("Conv2DTranspose", filters, size, input_shape=(channels, 4, 4) if options.get("data_format") else (4, 4, channels), **options)


def conv3d(kind="Conv3D", **options):
    return layer(kind, 3, (1, 2, 3), input_shape=(2, 3, 3, 3) if options.get("data_format") else (3, 3, 3, 2), **options)


def conv_lstm(filters=2, channels=3, size=(2, 3), **options):
    return layer("ConvLSTM2D", filters, size, input_shape=(2, channels, 4, 4) if options.get("data_format") else (2, 4, 4, channels), **options)


def separable(**options):
    return layer("SeparableConv2D", 3, (2, 3), depth_multiplier=2, input_shape=(2, 4, 4) if options.get("data_format") else (4, 4, 2), **options)


def local(**options):
    return layer("LocallyConnected2D", 2, (2, 2), input_shape=(2, 3, 4) if options.get("data_format") else (3, 4, 2), **options)


def sequence(kind, *arguments, **options):
    """A recurrent layer on 3 features."""
    return layer(kind, *arguments, input_shape=(4, 3), **options)


def wrapped(wrapper, inner, *shape):
    return lambda: getattr(L, wrapper)(inner(), **(dict(input_shape=shape) if shape else {}))


def both(kind, *arguments, **options):
    return wrapped("Bidirectional", layer(kind, *arguments, **options), 4, 3)


def timed(inner, *shape):
    return wrapped("TimeDistributed", inner, *shape)


def network(*layers, **options):
    """A functional model; the first layer has the shape of its input."""
    def build():
        made = [layer() for layer in layers]
        x = L.Input(made[0].batch_input_shape[1:])
        y = x
        for each in made:
            y = each(y)
        model = Model(x, y)
        model.trainable = options.get("trainable", True)
        return model
    return build


def pair(kind, cudnn, units, shape, plain=None, **options):
    """A function of what surrounds a plain recurrent layer, and that of cuDNN which is like it."""
    inner = [layer(kind, units, input_shape=shape, **dict(options, **(plain or {}))), layer(cudnn, units, input_shape=shape, **options)]
    return lambda around=of: [around(one) for one in inner]


flatten, norm, dense = layer("Flatten"), layer("BatchNormalization"), layer("Dense", 2)

# Layers of Keras 1, whose files name neither a version nor a backend; and as if they named one.
LAYERS = [
    ("conv1d", conv1d(3, 2, 4)), ("conv1d_one_filter", conv1d(3, 2, 1)), ("conv1d_one_input", conv1d(3, 1, 4)),
    ("conv1d_one_of_each", conv1d(3, 1, 1)), ("conv1d_length_one", conv1d(1, 2, 4)), ("conv1d_all_one", conv1d(1, 1, 1)),
    ("conv1d_one_step_and_filter", conv1d(1, 3, 1)), ("conv1d_one_step_and_input", conv1d(1, 1, 3)),
    ("conv1d_cube", conv1d(2, 2, 2)), ("conv1d_as_many_filters", conv1d(3, 1, 3)), ("conv1d_no_bias", conv1d(2, 3, 2, use_bias=False)),
    ("conv2d", conv2d()), ("conv2d_first", conv2d(**FIRST)), ("conv2d_first_cube", conv2d(2, 2, 2, **FIRST)),
    ("conv2d_first_one", conv2d(1, 1, 3, **FIRST)),
    ("conv2d_transpose", conv2d_transpose()), ("conv2d_transpose_first", conv2d_transpose(**FIRST)),
    ("conv2d_transpose_cube", conv2d_transpose(2, 2, 2)), ("conv2d_transpose_first_cube", conv2d_transpose(2, 2, 2, **FIRST)),
    ("conv3d", conv3d()), ("conv3d_first", conv3d(**FIRST)),
    ("conv_lstm_2d", conv_lstm()), ("conv_lstm_2d_first", conv_lstm(**FIRST)), ("conv_lstm_2d_first_cube", conv_lstm(2, 2, 2, **FIRST)),
    ("separable_conv2d", separable()), ("separable_conv2d_first", separable(**FIRST)),
]
for key, one in LAYERS:
    backends = [None, "tensorflow", "theano"] if key in ("conv1d", "conv2d_first") else [None, "theano"] if "one" not in key else [None]
    for backend in backends:
        ending = "_" + backend if backend else ""
        case("keras_1_%s%s" % (key, ending), of(one), backend=backend)
        if key.startswith("conv1d"):
            case("keras_1_early_%s%s" % (key, ending), of(one), backend=backend, old=keras_1(early=True))
for key, one in [
    ("dense", layer("Dense", 3, input_shape=(4,))), ("dense_no_bias", layer("Dense", 3, use_bias=False, input_shape=(4,))),
    ("lstm", sequence("LSTM", 2)), ("lstm_one", layer("LSTM", 1, input_shape=(4, 1))), ("gru", sequence("GRU", 2)), ("gru_one", layer("GRU", 1, input_shape=(4, 1))),
    ("gru_reset_after", sequence("GRU", 2, reset_after=True)), ("cu_dnn_lstm", sequence("CuDNNLSTM", 2)), ("simple_rnn", sequence("SimpleRNN", 2)),
    ("locally_connected1d", layer("LocallyConnected1D", 2, 2, input_shape=(4, 3))), ("locally_connected2d", local()), ("locally_connected2d_first", local(**FIRST)),
    ("batch_normalization", layer("BatchNormalization", input_shape=(3,))), ("embedding", layer("Embedding", 5, 3, input_length=4)),
    ("highway", layer("Highway", input_shape=(3,))), ("maxout_dense", layer("MaxoutDense", 2, 3, input_shape=(3,))), ("prelu", layer("PReLU", input_shape=(3,))),
    ("bidirectional_lstm", both("LSTM", 2)), ("bidirectional_gru", both("GRU", 2)), ("bidirectional_simple_rnn", both("SimpleRNN", 2)),
]:
    case("keras_1_" + key, of(one))
case("keras_1_lstm_joined", of(sequence("LSTM", 2)), old=keras_1(joined=True))
case("keras_1_gru_joined", of(sequence("GRU", 2)), old=keras_1(joined=True))
case("keras_1_bidirectional_lstm_joined", of(both("LSTM", 2)), old=keras_1(joined=True))
for key, inner, shape in [
    ("dense", dense, (3, 4)), ("lstm", layer("LSTM", 2), (2, 4, 3)), ("conv1d", layer("Conv1D", 4, 3), (2, 4, 2)),
    ("conv2d", layer("Conv2D", 3, (2, 3)), (2, 4, 4, 2)), ("conv2d_first", layer("Conv2D", 3, (2, 3), **FIRST), (2, 2, 4, 4)),
    ("conv2d_first_cube", layer("Conv2D", 2, 2, **FIRST), (2, 2, 4, 4)),
    ("conv2d_transpose", layer("Conv2DTranspose", 3, (2, 3)), (2, 4, 4, 2)), ("conv3d_first", layer("Conv3D", 3, (1, 2, 3), **FIRST), (2, 2, 3, 3, 3)),
]:
    for backend in (None, "theano"):
        case("keras_1_time_distributed_%s%s" % (key, "_theano" if backend else ""), of(timed(inner, *shape)), backend=backend)
images = of(conv2d(**FIRST), norm, flatten, dense)
steps = network(conv1d(3, 2, 3), norm, layer("LSTM", 2, return_sequences=True), both("GRU", 2), dense)
for backend in (None, "theano"):
    for key, build in [
        ("several", of(conv2d(**FIRST), layer("Conv2D", 2, 2, **FIRST), norm, timed(layer("LSTM", 2)), layer("GRU", 2), dense)),
        ("bidirectional_conv_lstm_2d", of(wrapped("Bidirectional", layer("ConvLSTM2D", 2, (2, 3)), 2, 4, 4, 2))), ("sequential_inside", of(images, dense)),
        ("model_inside", of(steps, dense)), ("frozen_inside", of(of(conv2d(trainable=False, **FIRST), flatten, dense), dense)),
        ("normalized_inside_twice", of(of(images, norm), dense)), ("time_distributed_model", of(timed(images, 2, 2, 4, 4))),
        ("time_distributed_inside", of(of(timed(layer("Conv2D", 3, (2, 3), **FIRST), 2, 2, 4, 4), norm), norm)),
    ]:
        case("keras_1_%s%s" % (key, "_theano" if backend else ""), build, backend=backend)
case("keras_1_bidirectional_conv_lstm_2d_first", of(wrapped("Bidirectional", layer("ConvLSTM2D", 2, (2, 3), **FIRST), 2, 2, 4, 4)))
case("keras_1_joined_gates_inside", of(steps, dense), old=keras_1(joined=True))
case("keras_1_joined_gates_inside_twice", of(of(steps, norm), dense), old=keras_1(joined=True))
case("keras_1_frozen_lstm_inside", of(of(sequence("LSTM", 2, trainable=False), dense), dense))
case("keras_1_model_inside_twice", of(of(of(conv2d(**FIRST), flatten, dense), dense), dense))
case("keras_1_gates_inside_twice", of(of(steps, norm), dense))
case("keras_1_mixed_gates_inside", of(steps, dense), old=mixed_gates)
case("version_1", of(conv2d(**FIRST), flatten, layer("Reshape", (2, 9)), layer("LSTM", 2)), version="1", backend="tensorflow", old=keras_1())
# No version of Keras wrote its number beside the weights before 2.0.
case("version_1_2_2", of(conv2d(2, 2, **FIRST), flatten, dense), version="1.2.2", backend="tensorflow", old=keras_1())

# Theano turns kernels; CNTK and what is unknown do not.
KERNELS = [
    ("conv1d", conv1d(3, 2, 4)), ("conv2d", conv2d()), ("conv2d_first", conv2d(**FIRST)), ("conv2d_no_bias", conv2d(use_bias=False)),
    ("conv3d", conv3d()), ("conv3d_first", conv3d(**FIRST)), ("conv3d_transpose", conv3d("Conv3DTranspose")),
    ("conv2d_transpose", conv2d_transpose()), ("conv2d_transpose_first", conv2d_transpose(**FIRST)),
    ("conv_lstm_2d", conv_lstm()), ("conv_lstm_2d_first", conv_lstm(**FIRST)), ("separable_conv2d", separable()),
    ("separable_conv1d", layer("SeparableConv1D", 3, 3, depth_multiplier=2, input_shape=(4, 2))),
    ("depthwise_conv2d", layer("DepthwiseConv2D", (2, 3), depth_multiplier=2, input_shape=(4, 4, 2))),
    ("locally_connected1d", layer("LocallyConnected1D", 2, 2, input_shape=(4, 3))), ("lstm", sequence("LSTM", 2)),
    ("time_distributed_conv1d", timed(layer("Conv1D", 4, 3), 2, 4, 2)), ("time_distributed_conv2d", timed(layer("Conv2D", 3, (2, 3)), 2, 4, 4, 2)),
    ("bidirectional_conv_lstm_2d", wrapped("Bidirectional", layer("ConvLSTM2D", 2, (2, 3)), 2, 4, 4, 3)),
    ("bidirectional_gru", both("GRU", 2, reset_after=True)),
    ("time_distributed_depthwise_conv2d", timed(layer("DepthwiseConv2D", (2, 3)), 2, 4, 4, 2)),
]
for key, one in KERNELS:
    case("theano_" + key, of(one), "2.2.4", "theano")
for backend in ("cntk", "plaidml"):
    case("%s_conv2d" % backend, of(conv2d()), "2.2.4", backend)
images = of(conv2d(), norm, flatten, dense)
for key, build in [
    ("several", of(conv2d(), layer("Conv2D", 2, (1, 2)), norm, flatten, dense)), ("sequential_inside", of(images, dense)),
    ("model_inside", of(network(conv1d(3, 2, 3), norm, layer("LSTM", 2)), dense)),
    ("frozen_inside", of(of(conv2d(trainable=False), norm, layer("Conv2D", 2, 2), flatten, dense), dense)),
    ("frozen_model_inside", of(network(conv2d(), norm, flatten, dense, trainable=False), dense)),
    ("model_inside_twice", of(of(of(conv2d(), flatten, dense), dense), dense)),
    ("normalized_inside_twice", of(of(images, norm), dense)), ("time_distributed_model", of(timed(images, 2, 4, 4, 2))),
    ("time_distributed_inside", of(of(timed(layer("Conv2D", 3, (2, 3)), 2, 4, 4, 2), norm), norm)),
    ("time_distributed_model_inside", of(of(timed(images, 2, 4, 4, 2), norm), dense)),
]:
    case("theano_" + key, build, "2.2.4", "theano")
case("theano_whole", of(conv2d(), norm, flatten, dense), "2.2.4", "theano", whole=True)
case("theano_model_inside_whole", of(images, dense), "2.1.6", "theano", whole=True)
case("theano_2_0_0", of(conv2d()), "2.0.0", "theano")
case("theano_doubles", of(conv2d()), "2.2.4", "theano", doubles)
for backend in ("tensorflow", "theano"):
    for key, one in [("conv2d", conv2d(4, 3)), ("conv2d_transpose", conv2d_transpose(4, 3)), ("conv_lstm_2d", conv_lstm()), ("conv2d_square", conv2d(4, 4, (2, 2))),
                     ("conv2d_cube", conv2d(2, 2, 2)), ("conv_lstm_2d_square", conv_lstm(1, 4, (4, 4))), ("conv1d", conv1d(3, 2, 4)), ("conv3d", conv3d())]:
        case("turned_%s%s" % (key, "_theano" if backend == "theano" else ""), of(one), "2.0.0", backend, turned_kernels)

# Plain recurrent layers and those of cuDNN.
PAIRS = [
    ("lstm", pair("LSTM", "CuDNNLSTM", 3, (4, 2))), ("lstm_one_unit", pair("LSTM", "CuDNNLSTM", 1, (4, 3))), ("lstm_one_input", pair("LSTM", "CuDNNLSTM", 3, (4, 1))),
    ("lstm_no_bias", pair("LSTM", "CuDNNLSTM", 2, (4, 3), dict(use_bias=False))),
    ("gru", pair("GRU", "CuDNNGRU", 3, (4, 2), dict(reset_after=True))), ("gru_one_unit", pair("GRU", "CuDNNGRU", 1, (4, 3), dict(reset_after=True))),
    ("gru_one_input", pair("GRU", "CuDNNGRU", 3, (4, 1), dict(reset_after=True))), ("gru_square", pair("GRU", "CuDNNGRU", 2, (4, 2), dict(reset_after=True))),
    ("gru_before", pair("GRU", "CuDNNGRU", 3, (4, 2))), ("gru_no_bias", pair("GRU", "CuDNNGRU", 2, (4, 3), dict(use_bias=False, reset_after=True))),
    ("lstm_and_gru", pair("LSTM", "CuDNNGRU", 2, (4, 3))), ("gru_and_lstm", pair("GRU", "CuDNNLSTM", 2, (4, 3), dict(reset_after=True))),
]


def ways(key, plain, cudnn, **options):
    case("cu_dnn_%s_to_plain" % key, plain, "2.3.1", "tensorflow", source=cudnn, **options)
    case("cu_dnn_%s_from_plain" % key, cudnn, "2.3.1", "tensorflow", source=plain, **options)


for key, makes in PAIRS:
    ways(key, *makes())
lstm = pair("LSTM", "CuDNNLSTM", 2, (4, 3), return_sequences=True)
gru = pair("GRU", "CuDNNGRU", 2, (4, 3), dict(reset_after=True), return_sequences=True)
before = pair("GRU", "CuDNNGRU", 2, (4, 3), return_sequences=True)
case("cu_dnn_lstm_all_digits", lstm()[0], "2.3.1", "tensorflow", source=lstm()[1], old=all_digits)
ways("lstm_doubles", *lstm(), old=doubles)
ways("gru_doubles", *gru(), old=doubles)
for key, makes in [("lstm", lstm), ("gru", gru), ("gru_before", before)]:
    ways("bidirectional_" + key, *makes(lambda inner: of(wrapped("Bidirectional", inner, 4, 3))))
    ways("sequential_inside_" + key, *makes(lambda inner: of(of(inner, norm, dense), dense)))
for key, makes in [("lstm", lstm), ("gru", gru)]:
    ways("model_inside_" + key, *makes(lambda inner: of(network(inner, norm, dense), dense)))
    ways("model_inside_twice_" + key, *makes(lambda inner: of(of(of(inner, dense), dense), dense)))
    ways("normalized_inside_twice_" + key, *makes(lambda inner: of(of(of(inner, norm), dense), dense)))
    ways("bidirectional_inside_" + key, *makes(lambda inner: of(of(wrapped("Bidirectional", inner, 4, 3), dense), dense)))
    ways("frozen_model_inside_" + key, *makes(lambda inner: of(network(inner, dense, trainable=False), dense)))
    ways("time_distributed_" + key, *makes(lambda inner: of(timed(inner, 2, 4, 3))))
ways("frozen_inside_lstm", *pair("LSTM", "CuDNNLSTM", 2, (4, 3), trainable=False)(lambda inner: of(of(inner, dense), dense)))
ways("named_inside_lstm", *pair("LSTM", "CuDNNLSTM", 2, (4, 3), name="rnn")(lambda inner: of(of(inner, dense), dense)))
case("gru_reset_after_to_before", of(sequence("GRU", 2)), "2.3.1", "tensorflow", source=of(sequence("GRU", 2, reset_after=True)))
case("gru_before_to_reset_after", of(sequence("GRU", 2, reset_after=True)), "2.3.1", "tensorflow", source=of(sequence("GRU", 2)))
case("gru_reset_after", of(sequence("GRU", 2, reset_after=True)), "2.3.1", "tensorflow")
case("cu_dnn_lstm_of_more_units", of(sequence("LSTM", 2)), "2.3.1", "tensorflow", source=of(sequence("CuDNNLSTM", 3)))
case("lstm_of_twice_the_units_to_cu_dnn", of(sequence("CuDNNLSTM", 1)), "2.3.1", "tensorflow", source=of(sequence("LSTM", 2)))
case("cu_dnn_lstm_whole", of(sequence("LSTM", 2), dense), "2.3.1", "tensorflow", source=of(sequence("CuDNNLSTM", 2), dense), whole=True)


def archive(members, compression):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as out:
        for name, content in members:
            out.writestr(zipfile.ZipInfo(name), content, compression)
    return data.getvalue()


def npy(array):
    data = io.BytesIO()
    np.lib.format.write_array(data, array, version=(1, 0))
    return data.getvalue()


lines = "[\n%s\n]\n" % ",\n".join(json.dumps(fields) for fields in CASES)
weights = archive([(name + ".npy", npy(array)) for name, array in RIGHT.items()], zipfile.ZIP_STORED)
content = archive([("cases.json", lines), ("weights.npz", weights)] + FILES, zipfile.ZIP_DEFLATED)
with open(os.path.join(FOLDER, "conversions_2_3_1.zip"), "wb") as out:
    out.write(content)
print("conversions_2_3_1: %d cases, %d of them load, %d bytes" % (len(CASES), len(RIGHT), len(content)))
