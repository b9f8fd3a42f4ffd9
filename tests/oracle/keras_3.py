"""Archives between Keras 3 and this library, in both directions.

    keras_3.py                  in Keras 3: writes tests/fixtures/keras_3.zip, for every case CASE.keras, CASE.weights.h5 and CASE.npz;
                                for some CASE.h5 and CASE.json
    keras_3.py check OUT        in Keras 3 or tf.keras 2.15: reads OUT/CASE.ours.keras (our copy of CASE.keras), OUT/CASE.ours.weights.h5
                                and OUT/CASE.trained.keras (ours after two further steps), and prints a JSON list of [case, what differs]

A case is one of the models below, compiled, trained for a step, saved, then trained for two further steps. CASE.npz: x_I, y_I;
out_I (predictions at the time of saving); w_I (weights after the further steps, in the order of files of layers); o_I (the
optimizer's variables then, in Keras 3's order).
"""
import io
import json
import os
import sys
import tempfile
import zipfile
import zlib

os.environ["KERAS_BACKEND"] = "jax"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Its rewriting of graphs makes TensorFlow 2.15 fail on LayerNormalization over several axes, in models of its own as well.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import warnings  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402
from undated import undated  # noqa: E402

LATER = keras.__version__.startswith("3.")
L = keras.layers
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def plain():
    # A bias in front of the normalisation would have a gradient of rounding errors alone, which Adam scales up.
    return keras.Sequential([keras.Input((5,)), L.Dense(6, use_bias=False), L.BatchNormalization(), L.Activation("tanh"), L.Dense(2)])


def around(layer, *shape, dtype="float32"):
    """A layer between its input and a Dense."""
    def build():
        x = keras.Input(shape, dtype=dtype, name="x")
        return keras.Model(x, L.Dense(2, name="head")(layer()(x)))
    return build


def merged(layer, *shape):
    def build():
        a, b = keras.Input(shape or (4,), name="a"), keras.Input(shape or (4,), name="b")
        return keras.Model([a, b], L.Dense(2, name="head")(layer()([a, b])))
    return build


def nested():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = L.Dense(3, activation="tanh", name="shared")
    joined = L.Concatenate(name="joined")([shared(a), shared(b)])
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, name="first", trainable=False), L.BatchNormalization(name="norm"), L.Dense(4, name="last")], name="inner")
    z = keras.Input((4,), name="z")
    deep = keras.Model(z, L.Add(name="sum")([L.Dense(4, name="deepest")(z), z]), name="deep")
    h = deep(inner(joined))
    h = deep(h)
    return keras.Model([a, b], [L.Dense(2, name="one")(h), L.Dense(1, activation="sigmoid", name="two")(h)], name="net")


def attention():
    x = keras.Input((5, 4), name="x")
    y = L.MultiHeadAttention(2, 3, name="mha")(x, x)
    return keras.Model(x, L.Dense(2, name="head")(L.GlobalAveragePooling1D()(L.Add()([x, y]))))


def masked():
    x = keras.Input((6,), dtype="int32", name="x")
    h = L.LSTM(4, name="lstm")(L.Embedding(7, 3, mask_zero=True, name="words")(x))
    return keras.Model(x, L.Dense(2, name="head")(h))


def masked_sequence():
    """The mask reaches the loss."""
    x = keras.Input((5, 3), name="x")
    h = L.Masking()(x)
    return keras.Model(x, L.TimeDistributed(L.Dense(2))(L.GRU(4, return_sequences=True)(h)))


def frozen():
    x = keras.Input((5,), name="x")
    return keras.Model(x, L.Dense(2, name="head")(L.BatchNormalization(trainable=False)(L.Dense(4)(x))))


def dropped():
    x = keras.Input((4, 3), name="x")
    h = L.LSTM(3, dropout=0.5, recurrent_dropout=0.5)(L.Dropout(0.5)(x))
    return keras.Model(x, L.Dense(2, name="head")(L.GaussianNoise(0.5)(h)))


def translated():
    """The states of one layer are the first states of another."""
    x, z = keras.Input((5, 3), name="x"), keras.Input((4, 2), name="z")
    _, *states = L.LSTM(3, return_state=True, name="encoder")(x)
    h = L.LSTM(3, return_sequences=True, name="decoder")(z, initial_state=states)
    h = L.Bidirectional(L.GRU(3), name="both")(h, initial_state=states)
    return keras.Model([x, z], L.Dense(2, name="head")(h))


def stacked_states():
    x, h, c, g = [keras.Input(shape, name=name) for shape, name in [((4, 3), "x"), ((2,), "h"), ((2,), "c"), ((3,), "g")]]
    y, *_ = L.RNN([L.LSTMCell(2), L.GRUCell(3)], return_state=True, name="stack")(x, initial_state=[[h, c], g])
    return keras.Model([x, h, c, g], L.Dense(2, name="head")(y))


def dictionaries():
    b, a = keras.Input((3,), name="b"), keras.Input((4,), name="a")
    h = L.Dense(4, activation="tanh", name="hidden")(b)
    return keras.Model({"b": b, "a": a}, {"q": L.Dense(2, name="q")(h), "p": L.Dense(1, name="p")(L.add([a, h]))}, name="net")


def called_on_a_dictionary():
    x, z = keras.Input((3,), name="x"), keras.Input((4,), name="z")
    results = dictionaries()({"a": z, "b": x})
    return keras.Model([x, z], L.Dense(2, name="head")(L.concatenate([results["p"], results["q"]])))


OPTIMIZERS = {
    "SGD": dict(), "momentum": dict(momentum=0.9, nesterov=True), "RMSprop": dict(), "Adagrad": dict(), "Adadelta": dict(),
    "Adam": dict(), "amsgrad": dict(amsgrad=True), "clipvalue": dict(clipvalue=0.01), "Adamax": dict(), "Nadam": dict(),
}
CLASSES = {"momentum": "SGD", "amsgrad": "Adam", "clipvalue": "RMSprop"}
LAYERS = {
    "conv1d": around(lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2, activation="relu"), 7, 2),
    "conv2d": around(lambda: L.Conv2D(4, 3, strides=2, padding="same", groups=2, kernel_regularizer="l2"), 6, 6, 2),
    "conv3d": around(lambda: L.Conv3D(2, 2), 3, 3, 3, 2),
    "conv2d_transpose": around(lambda: L.Conv2DTranspose(3, 3, strides=2), 3, 3, 2),
    "conv3d_transpose": around(lambda: L.Conv3DTranspose(3, 2, strides=2, padding="same"), 2, 2, 2, 2),
    "separable_conv1d": around(lambda: L.SeparableConv1D(3, 3, depth_multiplier=2), 6, 2),
    "separable_conv2d": around(lambda: L.SeparableConv2D(3, 3), 5, 5, 2),
    "depthwise_conv2d": around(lambda: L.DepthwiseConv2D(3, depth_multiplier=2), 5, 5, 2),
    "max_pooling2d": around(lambda: L.MaxPooling2D(2, padding="same"), 5, 5, 2),
    "average_pooling1d": around(lambda: L.AveragePooling1D(2), 6, 2),
    "zero_padding2d": around(lambda: L.ZeroPadding2D(((1, 0), (2, 1))), 3, 3, 2),
    "cropping2d": around(lambda: L.Cropping2D(((1, 0), (2, 1))), 6, 6, 2),
    "up_sampling2d": around(lambda: L.UpSampling2D((2, 3)), 3, 3, 2),
    "global_max_pooling2d": around(lambda: L.GlobalMaxPooling2D(), 3, 3, 2),
    "lstm": around(lambda: L.LSTM(4, return_sequences=True), 5, 3),
    "gru": around(lambda: L.GRU(4, go_backwards=True), 5, 3),
    "gru_before": around(lambda: L.GRU(4, reset_after=False), 5, 3),
    "simple_rnn": around(lambda: L.SimpleRNN(4), 5, 3),
    "conv_lstm2d": around(lambda: L.ConvLSTM2D(2, 2, recurrent_activation="sigmoid"), 3, 4, 4, 2),
    "bidirectional": around(lambda: L.Bidirectional(L.LSTM(3), merge_mode="sum"), 5, 3),
    "time_distributed": around(lambda: L.TimeDistributed(L.Dense(3)), 5, 3),
    "rnn_cell": around(lambda: L.RNN(L.GRUCell(4)), 5, 3),
    "rnn_stacked": around(lambda: L.RNN([L.LSTMCell(4), L.GRUCell(3)]), 5, 3),
    "batch_normalization": around(lambda: L.BatchNormalization(scale=False, momentum=0.5), 2, 2, 2),
    "layer_normalization": around(lambda: L.LayerNormalization(axis=[1, 2]), 3, 4),
    "dense": around(lambda: L.Dense(3, activation="softmax", kernel_constraint="max_norm", bias_initializer="ones"), 4),
    "flatten": around(lambda: L.Flatten(), 2, 3),
    "reshape": around(lambda: L.Reshape((3, 2)), 2, 3),
    "permute": around(lambda: L.Permute((2, 1)), 2, 3),
    "repeat_vector": around(lambda: L.RepeatVector(3), 4),
    "masking": around(lambda: L.Masking(), 3, 4),
    "activity_regularizer": around(lambda: L.Dense(3, activity_regularizer=keras.regularizers.L2(0.5)), 4),
    "up_sampling_bilinear": around(lambda: L.UpSampling2D(2, interpolation="bilinear"), 3, 3, 2),
    "relu": around(lambda: L.ReLU(max_value=1.0, negative_slope=0.1), 4),
    "leaky_relu": around(lambda: L.LeakyReLU(), 4),
    "prelu": around(lambda: L.PReLU(), 3, 4),
    "elu": around(lambda: L.ELU(), 4),
    "softmax": around(lambda: L.Softmax(), 4),
    "gelu": around(lambda: L.Dense(3, activation="gelu"), 4),
    "silu": around(lambda: L.Activation("silu"), 4),
    "embedding": around(lambda: L.Embedding(7, 3), 4, dtype="int32"),
    "add": merged(lambda: L.Add()),
    "subtract": merged(lambda: L.Subtract()),
    "multiply": merged(lambda: L.Multiply()),
    "average": merged(lambda: L.Average()),
    "maximum": merged(lambda: L.Maximum()),
    "minimum": merged(lambda: L.Minimum()),
    "concatenate": merged(lambda: L.Concatenate()),
    "dot": merged(lambda: L.Dot(1, normalize=True)),
    "conv1d_transpose": around(lambda: L.Conv1DTranspose(3, 3, strides=2, padding="same"), 4, 2),
    "depthwise_conv1d": around(lambda: L.DepthwiseConv1D(3, depth_multiplier=2), 5, 2),
    "max_pooling1d": around(lambda: L.MaxPooling1D(3, strides=2), 7, 2),
    "max_pooling3d": around(lambda: L.MaxPooling3D(2), 4, 4, 4, 2),
    "average_pooling2d": around(lambda: L.AveragePooling2D(3, strides=1, padding="same"), 4, 4, 2),
    "average_pooling3d": around(lambda: L.AveragePooling3D(2), 4, 4, 4, 2),
    "global_max_pooling1d": around(lambda: L.GlobalMaxPooling1D(keepdims=True), 5, 2),
    "global_average_pooling2d": around(lambda: L.GlobalAveragePooling2D(), 3, 3, 2),
    "global_average_pooling3d": around(lambda: L.GlobalAveragePooling3D(), 2, 3, 2, 2),
    "zero_padding1d": around(lambda: L.ZeroPadding1D((1, 2)), 3, 2),
    "zero_padding3d": around(lambda: L.ZeroPadding3D(1), 2, 2, 2, 2),
    "cropping1d": around(lambda: L.Cropping1D((1, 2)), 6, 2),
    "cropping3d": around(lambda: L.Cropping3D(((1, 0), (0, 1), (1, 1))), 4, 4, 4, 2),
    "up_sampling1d": around(lambda: L.UpSampling1D(3), 3, 2),
    "up_sampling3d": around(lambda: L.UpSampling3D((1, 2, 2)), 2, 2, 2, 2),
    "rescaling": around(lambda: L.Rescaling(0.5, offset=-1.0), 4),
    "normalization": around(lambda: L.Normalization(mean=[0.5, -0.5], variance=[2.0, 0.5]), 3, 2),
    "unit_normalization": around(lambda: L.UnitNormalization(), 4),
    "identity": around(lambda: L.Identity(), 4),
    "attention": merged(lambda: L.Attention(use_scale=True), 4, 3),
    "additive_attention": merged(lambda: L.AdditiveAttention(), 4, 3),
    "spatial_dropout1d": around(lambda: L.SpatialDropout1D(0.0), 4, 3),
    "alpha_dropout": around(lambda: L.AlphaDropout(0.0), 4),
    "gaussian_dropout": around(lambda: L.GaussianDropout(0.0), 4),
}


def cases():
    """(name, model builder, optimizer class, its arguments, compile options)"""
    for kind, arguments in OPTIMIZERS.items():
        yield "optimizer_" + kind, plain, CLASSES.get(kind, kind), arguments, dict(loss="mse", metrics=["mae"])
    for i, (name, build) in enumerate(LAYERS.items()):
        yield "layer_" + name, build, ("Adam", "SGD", "RMSprop")[i % 3], dict(), dict(loss="mse")
    yield "masked", masked, "Adam", dict(), dict(loss="mse")
    yield "masked_sequence", masked_sequence, "Adam", dict(), dict(loss="mse")
    yield "frozen", frozen, "Adam", dict(), dict(loss="mse")
    # Its weights stay as they are: nobody draws the same numbers.
    yield "dropped", dropped, "SGD", dict(learning_rate=0.0), dict(loss="mse")
    yield "attention", attention, "Adam", dict(), dict(loss="mse")
    yield "translated", translated, "Adam", dict(), dict(loss="mse")
    yield "stacked_states", stacked_states, "Adam", dict(), dict(loss="mse")
    yield "objects", plain, "Adam", dict(), dict(
        loss=keras.losses.LogCosh(), metrics=[keras.metrics.RootMeanSquaredError(name="rms"), "mae"])
    yield "object_from_logits", plain, "SGD", dict(), dict(
        loss=keras.losses.BinaryCrossentropy(from_logits=True), weighted_metrics=[keras.metrics.BinaryCrossentropy(from_logits=True)])
    yield "dictionaries", dictionaries, "Adam", dict(), dict(
        loss={"q": "mse", "p": "mae"}, loss_weights={"q": 1.0, "p": 2.0}, metrics={"q": ["mae"]})
    yield "called_on_a_dictionary", called_on_a_dictionary, "Adam", dict(), dict(loss="mse")
    yield "nested", nested, "Adam", dict(), dict(
        loss={"one": "mse", "two": "binary_crossentropy"}, loss_weights={"one": 0.5, "two": 2.0}, metrics={"two": ["accuracy"]})


# Those that are also written as the older kinds of files.
TEXTS = ("optimizer_Adam", "masked", "nested")


def listed(value):
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def array(value):
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def weights(model):
    """Layer by layer, what learns first, as HDF5 files of layers have it."""
    return [array(w) for layer in model.layers for w in layer.trainable_weights + layer.non_trainable_weights if "seed" not in w.name]


def single(values):
    return values if len(values) > 1 else values[0]


def fed(model, x):
    return structured(None if isinstance(model, keras.Sequential) else model.input, x)


def targets(model, y):
    return structured(None if isinstance(model, keras.Sequential) else model.output, y)


def structured(structure, values):
    """In a dictionary if the model has them in one."""
    return dict(zip(sorted(structure), values)) if isinstance(structure, dict) else single(values)


def make():
    target = os.path.join(FIXTURES, "keras_3.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        def put(name, content):
            # Without the time, so that the same files give the same archive.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)

        for name, build, kind, arguments, options in cases():
            keras.utils.clear_session()
            rs = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
            model = build()
            for weight in model.weights:
                if "seed" not in weight.name:
                    low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.7, 0.7)
                    weight.assign(rs.uniform(low, high, weight.shape))
            x = [rs.randint(0, 7, (6,) + tuple(t.shape[1:])).astype("int32") if "int" in str(t.dtype)
                 else rs.uniform(-1, 1, (6,) + tuple(t.shape[1:])).astype("float32") for t in model.inputs]
            model.compile(getattr(keras.optimizers, kind)(**dict(dict(learning_rate=0.01), **arguments)), **options)
            outputs = listed(model.predict(fed(model, x), verbose=0))
            y = [rs.randint(0, 2, o.shape).astype("float32") if len(outputs) > 1 else rs.uniform(-1, 1, o.shape).astype("float32") for o in outputs]
            step = lambda: model.train_on_batch(fed(model, x), targets(model, y))
            step()
            arrays = {"x_%d" % i: v for i, v in enumerate(x)}
            arrays.update(("y_%d" % i, v) for i, v in enumerate(y))
            arrays.update(("out_%d" % i, v) for i, v in enumerate(listed(model.predict(fed(model, x), verbose=0))))
            if name in TEXTS:
                put(name + ".json", model.to_json())
            for ending in (".keras", ".weights.h5") + ((".h5",) if name in TEXTS else ()):
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, "case" + ending)
                    (model.save_weights if ending == ".weights.h5" else model.save)(path)
                    with open(path, "rb") as file:
                        put(name + ending, undated(file.read()) if ending == ".keras" else file.read())
            step()
            step()
            arrays.update(("w_%d" % i, v) for i, v in enumerate(weights(model)))
            arrays.update(("o_%d" % i, array(v)) for i, v in enumerate(model.optimizer.variables))
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            put(name + ".npz", buffer.getvalue())


def check(out):
    wrong = []
    fixtures = zipfile.ZipFile(os.path.join(FIXTURES, "keras_3.zip"))

    def compare(name, what, ours, theirs, tolerance):
        if len(ours) != len(theirs):
            wrong.append([name, "%s: %d arrays instead of %d" % (what, len(ours), len(theirs))])
            return
        for i, (a, b) in enumerate(zip(ours, theirs)):
            a = np.asarray(a, "float64")
            if a.shape != np.shape(b):
                wrong.append([name, "%s %d: shape %s instead of %s" % (what, i, a.shape, np.shape(b))])
            elif a.size and not np.max(np.abs(a - b)) <= tolerance:
                wrong.append([name, "%s %d differs by %g" % (what, i, np.max(np.abs(a - b)))])

    for name, build, kind, arguments, options in cases():
        if not os.path.exists(os.path.join(out, name + ".ours.keras")):
            wrong.append([name, "was not written"])
            continue
        data = np.load(io.BytesIO(fixtures.read(name + ".npz")))
        many = lambda key: [data["%s_%d" % (key, i)] for i in range(len([k for k in data.files if k.startswith(key + "_")]))]
        x, y = many("x"), many("y")
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                model = keras.models.load_model(os.path.join(out, name + ".ours.keras"))
                said = [str(w.message) for w in said if "optimizer" in str(w.message) or "variables" in str(w.message)]
                if said:
                    wrong.append([name, "warned: " + said[0]])
            compare(name, "prediction", listed(model.predict(fed(model, x), verbose=0)), many("out"), 1e-5)
            model.train_on_batch(fed(model, x), targets(model, y))
            model.train_on_batch(fed(model, x), targets(model, y))
            # tf.keras saves no product of Nadam's momenta, and remembers another variance of images.
            if LATER or (kind != "Nadam" and name != "layer_batch_normalization"):
                compare(name, "weight after steps in Keras", weights(model), many("w"), 1e-4)
            model = keras.models.load_model(os.path.join(out, name + ".trained.keras"))
            compare(name, "weight after steps here", weights(model), many("w"), 1e-4)
            state = [array(v) for v in (model.optimizer.variables() if callable(model.optimizer.variables) else model.optimizer.variables)]
            expected = many("o")
            if not LATER:
                # Its list has no learning rate, and momenta in any case.
                del expected[1]
                if kind == "Nadam":
                    del expected[-1]
                state = state[:len(expected)] if kind == "SGD" else state
            compare(name, "optimizer after steps here", state, expected, 1e-4)
            model = build()
            model.load_weights(os.path.join(out, name + ".ours.weights.h5"))
            compare(name, "prediction by weights alone", listed(model.predict(fed(model, x), verbose=0)), many("out"), 1e-5)
        except Exception as error:
            wrong.append([name, "%s: %s" % (type(error).__name__, " ".join(str(error).split())[:600])])
    print(json.dumps(wrong))


def own(out):
    """Predictions of archives with a layer that is not Keras's: known in a scope, and registered."""

    class Scaled(keras.layers.Layer):
        def __init__(self, factor=1.0, **arguments):
            super().__init__(**arguments)
            self.factor = factor

        def build(self, shape):
            self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

        def call(self, x):
            return x * self.factor * self.gain

        def get_config(self):
            return dict(super().get_config(), factor=self.factor)

    x = np.load(os.path.join(out, "x.npy"))
    found = [keras.models.load_model(os.path.join(out, "scope.keras"), custom_objects={"Scaled": Scaled}).predict(x, verbose=0)]
    keras.utils.register_keras_serializable()(Scaled)
    model = keras.models.load_model(os.path.join(out, "registered.keras"))
    found.append(model.predict(x, verbose=0))
    model.save(os.path.join(out, "theirs.keras"))
    print(json.dumps([np.ravel(y).tolist() for y in found]))


dict(check=check, own=own)[sys.argv[1]](sys.argv[2]) if sys.argv[1:] else make()
