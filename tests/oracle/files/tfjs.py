"""Layers-models of TensorFlow.js: writes fixtures/tfjs.zip, for every model and every kind of quantisation a folder with model.json and
shards as tensorflowjs 4.22.0 converts them from tf.keras 2.15's HDF5, and CASE.npz: x_I, and out_I as tf.keras 2.15 predicts from
what tensorflowjs reads back from them.

Run once, in the environment tf-2.15 with `pip install --no-deps tensorflowjs==4.22.0`. The converter imports packages for other kinds of
models; those are replaced by empty ones here.
"""
import io
import os
import sys
import tempfile
import types
import zipfile

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf


class Absent(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(self.__name__ + "." + name)

    def __call__(self, *args, **kwargs):
        return self


for name in ["tensorflow_hub", "tensorflow_decision_forests", "jax", "jax.experimental", "jax.experimental.jax2tf", "flax"]:
    sys.modules[name] = Absent(name)
    sys.modules[name].__path__ = []
sys.modules["tf_keras"] = tf.keras
from tensorflowjs.converters import keras_h5_conversion, keras_tfjs_loader

L = tf.keras.layers
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures")


def images():
    return tf.keras.Sequential([
        L.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 2)), L.BatchNormalization(), L.SeparableConv2D(3, 2), L.MaxPooling2D(2),
        L.Flatten(), L.Dense(3, activation="softmax")])


def words():
    x = tf.keras.Input((6,), dtype="int32", name="x")
    h = L.Embedding(9, 4, mask_zero=True)(x)
    h = L.Bidirectional(L.LSTM(3, return_sequences=True))(h)
    return tf.keras.Model(x, L.Dense(2)(L.GRU(4)(h)))


def nested():
    inner = tf.keras.Sequential([L.Dense(5, input_shape=(4,), name="first", trainable=False), L.BatchNormalization(name="norm"), L.Dense(4, name="last")], name="inner")
    a, b = tf.keras.Input((4,), name="a"), tf.keras.Input((4,), name="b")
    shared = L.Dense(4, activation="tanh", name="shared")
    h = inner(L.Add()([shared(a), shared(b)]))
    return tf.keras.Model([a, b], [L.Dense(2, name="one")(h), L.Dense(1, activation="sigmoid", name="two")(h)])


QUANTIZATION = {"plain": None, "float16": {"float16": True}, "uint16": {"uint16": True}, "uint8": {"uint8": True}, "mixed": {"uint8": "*kernel"}}


def main():
    with zipfile.ZipFile(os.path.join(FIXTURES, "tfjs.zip"), "w") as archive:
        def put(name, content):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)

        for number, build in enumerate([images, words, nested]):
            tf.keras.backend.clear_session()
            rs = np.random.RandomState(number)
            model = build()
            for weight in model.weights:
                low, high = (0.5, 1.5) if "variance" in weight.name else (-0.7, 0.7)
                weight.assign(rs.uniform(low, high, weight.shape))
            x = [rs.randint(1, 9, (4,) + tuple(t.shape[1:])).astype("int32") if t.dtype == tf.int32
                 else rs.uniform(-1, 1, (4,) + tuple(t.shape[1:])).astype("float32") for t in model.inputs]
            if build is images:
                model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.h5")
                model.save(path)
                for kind, quantization in QUANTIZATION.items():
                    topology, groups = keras_h5_conversion.h5_merged_saved_model_to_tfjs_format(path, split_by_layer=kind == "mixed")
                    if build is nested:
                        # As TensorFlow.js itself writes it: without what stands around the config.
                        topology = topology["model_config"]
                    out = os.path.join(folder, kind)
                    os.mkdir(out)
                    # Small shards, so that they end within arrays.
                    keras_h5_conversion.write_artifacts(topology, groups, out, quantization, weight_shard_size_bytes=100 if kind == "plain" else 4 << 20)
                    case = "%s_%s" % (build.__name__, kind)
                    for name in sorted(os.listdir(out)):
                        with open(os.path.join(out, name), "rb") as file:
                            put(case + "/" + name, file.read())
                    read = keras_tfjs_loader.load_keras_model(os.path.join(out, "model.json"))
                    outputs = read.predict(x if len(x) > 1 else x[0], verbose=0)
                    arrays = {"x_%d" % i: v for i, v in enumerate(x)}
                    arrays.update(("out_%d" % i, v) for i, v in enumerate(outputs if isinstance(outputs, list) else [outputs]))
                    buffer = io.BytesIO()
                    np.savez(buffer, **arrays)
                    put(case + ".npz", buffer.getvalue())


main()
