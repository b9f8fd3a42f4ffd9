"""Files of tf.keras: CASE.keras, CASE.weights.h5, CASE.h5 and CASE.npz (x_I, y_I; out_I, predictions at the time of saving; w_I, l_I,
weights after two further steps and the loss before each), of models that were trained. Of what is refused CASE.h5 alone.
archives_2_12.py and archives_2_15.py write them."""
import os
import tempfile
import zipfile

import numpy as np

from fixture import FOLDER, stream, tf
from undated import undated

L, O = tf.keras.layers, tf.keras.optimizers


def several():
    """Layers of one class, with and without weights, and one inside a model."""
    x = tf.keras.Input((4,))
    # A bias in front of the normalization would have a gradient of rounding errors alone, which Adam scales up.
    inner = tf.keras.Sequential([L.Dense(3, use_bias=False, input_shape=(5,)), L.BatchNormalization(), L.ReLU(), L.Dense(4)])
    y = L.Dense(2)(L.ReLU()(inner(L.Dense(5, activation="tanh")(x))))
    return tf.keras.Model(x, [y, L.Dense(1)(L.ReLU()(y))])


def recurrent():
    x = tf.keras.Input((5, 3))
    y = L.Bidirectional(L.GRU(2, return_sequences=True))(L.LSTM(3, return_sequences=True)(x))
    y = L.RNN([L.LSTMCell(2), L.SimpleRNNCell(3)], return_sequences=True)(L.TimeDistributed(L.Dense(4))(y))
    return tf.keras.Model(x, L.SimpleRNN(2)(y))


def attention():
    x = tf.keras.Input((4, 3))
    y = L.LayerNormalization()(L.MultiHeadAttention(2, 3)(x, x) + x)
    return tf.keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(y)))


def shared():
    a, b = tf.keras.Input((6, 6, 2)), tf.keras.Input((6, 6, 2))
    convolution = L.Conv2D(3, 3)
    y = L.Concatenate()([convolution(a), convolution(b)])
    return tf.keras.Model([a, b], L.Dense(2)(L.Flatten()(L.SeparableConv2D(2, 2)(L.DepthwiseConv2D(2)(y)))))


def named_backwards():
    """Weights of equal shapes: only their order tells them apart, which is not that of their names."""
    return tf.keras.Sequential([L.Dense(3, activation="tanh", input_shape=(3,), name="z"), L.Dense(3, name="a")])


# For how many steps each is trained.
CASES = [("several", several, lambda: O.Adam(0.01), 1), ("recurrent", recurrent, lambda: O.RMSprop(0.01), 1),
         ("attention", attention, lambda: O.SGD(0.01, momentum=0.9), 1), ("shared", shared, lambda: O.Adamax(0.01), 1)]
CASES += [("optimizer_" + name, named_backwards, optimizer, 3) for name, optimizer in [
    ("SGD", lambda: O.SGD(0.05)), ("momentum", lambda: O.SGD(0.05, momentum=0.9)), ("nesterov", lambda: O.SGD(0.05, momentum=0.9, nesterov=True)),
    ("RMSprop", lambda: O.RMSprop(0.02)), ("Adagrad", lambda: O.Adagrad(0.05)), ("Adadelta", lambda: O.Adadelta(0.5)),
    ("Adam", lambda: O.Adam(0.02)), ("amsgrad", lambda: O.Adam(0.02, beta_2=0.5, amsgrad=True)), ("Adamax", lambda: O.Adamax(0.02)),
    ("Nadam", lambda: O.Nadam(0.02))]]
# What is computed in tf.keras alone.
REFUSED = [("refused_momentum", named_backwards, lambda: O.RMSprop(0.02, momentum=0.9), 3),
           ("refused_clipnorm", named_backwards, lambda: O.Adam(0.02, clipnorm=0.5), 3),
           ("refused_centered", named_backwards, lambda: O.RMSprop(0.02, centered=True), 3),
           ("refused_Ftrl", named_backwards, lambda: O.Ftrl(0.02), 3)]


def record(name):
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(os.path.join(FOLDER, name + ".zip"), "w", zipfile.ZIP_DEFLATED) as out:
        for case, build, optimizer, steps in CASES + REFUSED:
            tf.keras.backend.clear_session()
            rs = stream(name + case)
            model = build()
            # In a graph its Nadam multiplies the product of momenta once for every weight, as docs/compatibility.md says.
            model.compile(optimizer(), "mse", run_eagerly="Nadam" in case or None)
            for weight in model.weights:
                low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.7, 0.7)
                weight.assign(rs.uniform(low, high, weight.shape))
            made = lambda tensors: [rs.uniform(-1, 1, (6,) + tuple(t.shape[1:])).astype("float32") for t in tensors]
            x, y = made(model.inputs), made(model.outputs)
            predicted = lambda: tf.nest.flatten(model.predict(x, verbose=0))
            # Of several outputs there are further numbers.
            step = lambda: np.ravel(model.train_on_batch(x, y))[0]
            for _ in range(steps):
                step()
            arrays = dict(x=x, y=y, out=predicted())
            path = lambda ending: os.path.join(folder, case + ending)
            model.save(path(".keras"), save_format="keras_v3")
            model.save_weights(path(".weights.h5"))
            model.save(path(".h5"), save_format="h5")
            arrays["l"] = [step(), step()]
            arrays["w"] = [weight.numpy() for layer in model.layers for weight in layer.trainable_weights + layer.non_trainable_weights]
            np.savez(path(".npz"), **{"%s_%d" % (key, i): value for key, values in arrays.items() for i, value in enumerate(values)})
            for ending in [".h5"] if case.startswith("refused") else [".keras", ".weights.h5", ".npz", ".h5"]:
                with open(path(ending), "rb") as file:
                    data = file.read()
                out.writestr(zipfile.ZipInfo(case + ending), undated(data) if ending == ".keras" else data, zipfile.ZIP_DEFLATED)
