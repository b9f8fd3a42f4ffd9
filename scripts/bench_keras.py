"""Speed of Keras 2.15 on TensorFlow, for cargo xtask bench: bench_keras.py mlp|cnn|lstm|vgg16|resnet50|latency|startup|compile|cell|longer_cell|load prints one JSON line.

Run by the environment tf-2.15 of scripts/oracle.sh, on two threads. Random data, seed 0; `fit` with metrics=["accuracy"],
verbose=0, shuffling. The example bench_train measures the same in Rust:
    mlp      784-512-512-10, relu, dropout 0.2 after each hidden layer, softmax; RMSprop; categorical crossentropy; batch 128.
             One epoch of 6,400 samples to warm up, then one epoch of 60,000, timed. {"name": "mlp", "samples_per_second": ..}
    cnn      Keras's mnist_cnn on 28 x 28 x 1: Conv 32 3x3 relu, Conv 64 3x3 relu, MaxPool 2, Dropout 0.25, Flatten, Dense 128
             relu, Dropout 0.5, Dense 10 softmax; Adadelta; categorical crossentropy; batch 128.
             One epoch of 640 samples to warm up, then one epoch of 6,400, timed. {"name": "cnn", "samples_per_second": ..}
    lstm     Keras's imdb_lstm without dropout: Embedding 20000 x 128 of 80 words, LSTM 128, Dense 1 sigmoid; Adam; binary
             crossentropy; batch 32. One epoch of 640 samples to warm up, then one epoch of 6,400, timed. {"name": "lstm",
             "samples_per_second": ..}
    vgg16    predict_on_batch of keras.applications.VGG16 with random weights on 8 pictures of 224 x 224: 2 calls to warm up, then the
             median of 10. {"name": "vgg16", "samples_per_second": ..}
    resnet50 The same of ResNet50. {"name": "resnet50", "samples_per_second": ..}
    latency  predict_on_batch of the MLP on one sample: 500 calls to warm up, then the median of 2,000. {"name": "latency",
             "milliseconds": ..}
    startup  a process that makes the MLP, predicts one sample and ends, median. {"name": "startup", "milliseconds": ..}
    compile  how much longer the first train_on_batch of the hello world's MLP (100-64-10, sgd, batch 32) takes than the second, median
             over new models. {"name": "compile", "milliseconds": ..}
    cell     the same of RNN(a cell of one's own, tanh(x.W + h.U) * g, 64 units) and Dense 1, adam, mse, on batches of 32 sequences of 100
             steps of 16 features. {"name": "cell", "milliseconds": ..}
    longer_cell  of that model, how much longer its first train_on_batch on 400 steps takes than a later one. {"name": "longer_cell",
             "milliseconds": ..}
    load     reading all arrays of target/resnet50.h5 by h5py, median of 9 readings; writes that file first, where it is missing: ResNet50
             without pre-trained weights, saved whole. Here load_model of it. {"name": "load", "milliseconds": ..}
"""
import json
import os
import subprocess
import sys
import time

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["OMP_NUM_THREADS"] = "2"
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow import keras  # noqa: E402
from tensorflow.keras import layers as L  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(2)
tf.config.threading.set_inter_op_parallelism_threads(2)


def mlp():
    model = keras.Sequential([L.Dense(512, activation="relu", input_shape=(784,)), L.Dropout(0.2), L.Dense(512, activation="relu"), L.Dropout(0.2),
                              L.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.RMSprop(), "categorical_crossentropy", metrics=["accuracy"])
    return model


def cnn():
    model = keras.Sequential([L.Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)), L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(2),
                              L.Dropout(0.25), L.Flatten(), L.Dense(128, activation="relu"), L.Dropout(0.5), L.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.Adadelta(), "categorical_crossentropy", metrics=["accuracy"])
    return model


def lstm():
    model = keras.Sequential([L.Embedding(20000, 128, input_length=80), L.LSTM(128), L.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(), "binary_crossentropy", metrics=["accuracy"])
    return model


def pictures(shape, samples):
    rs = np.random.default_rng(0)
    return rs.random((samples,) + shape, dtype="float32"), np.eye(10, dtype="float32")[rs.integers(0, 10, samples)]


def words(samples):
    rs = np.random.default_rng(0)
    return rs.integers(0, 20000, (samples, 80), dtype="int32"), rs.integers(0, 2, (samples, 1)).astype("float32")


def training(model, data, warm_up, batch=128):
    x, y = data
    model.fit(x[:warm_up], y[:warm_up], batch_size=batch, verbose=0)
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, verbose=0)
    samples = len(x)
    return {"samples_per_second": samples / (time.perf_counter() - start)}


def predict(model):
    x, _ = pictures((224, 224, 3), 8)
    times = []
    for i in range(12):
        start = time.perf_counter()
        model.predict_on_batch(x)
        times.append(time.perf_counter() - start)
    return {"samples_per_second": 8 / float(np.median(times[2:]))}


def latency(model):
    x = np.random.default_rng(0).random((1, 784), dtype="float32")
    for _ in range(500):
        model.predict_on_batch(x)
    times = []
    for _ in range(2000):
        start = time.perf_counter()
        model.predict_on_batch(x)
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1e3 * float(np.median(times))}


def startup():
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, __file__, "first"], check=True)
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1e3 * float(np.median(times))}


def compile_step():
    x, y = np.full((32, 100), 0.5, "float32"), np.full((32, 10), 0.1, "float32")
    times = []
    for _ in range(5):
        model = keras.Sequential([L.Dense(64, activation="relu", input_shape=(100,)), L.Dense(10, activation="softmax")])
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        marks = [time.perf_counter()]
        for _ in range(2):
            model.train_on_batch(x, y)
            marks.append(time.perf_counter())
        times.append(marks[1] - marks[0] - (marks[2] - marks[1]))
    return {"milliseconds": 1e3 * float(np.median(times))}


class UserCell(L.Layer):
    state_size = output_size = 64

    def build(self, shape):
        self.kernel = self.add_weight("kernel", (shape[-1], 64))
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (64, 64))
        self.gain = self.add_weight("gain", (64,), initializer="ones")

    def call(self, x, states):
        h = tf.tanh(tf.matmul(x, self.kernel) + tf.matmul(states[0], self.recurrent_kernel)) * self.gain
        return h, [h]


def cell(longer):
    times = []
    for _ in range(3):
        model = keras.Sequential([L.RNN(UserCell(), input_shape=(None, 16)), L.Dense(1)])
        model.compile("adam", "mse")
        extra = []
        for steps in [100, 400]:
            x, y = np.full((32, steps, 16), 0.5, "float32"), np.full((32, 1), 0.1, "float32")
            marks = [time.perf_counter()]
            for _ in range(4):
                model.train_on_batch(x, y)
                marks.append(time.perf_counter())
            extra.append(max(marks[1] - marks[0] - min(np.diff(marks)[1:]), 1e-6))
        times.append(extra[longer])
    return {"milliseconds": 1e3 * float(np.median(times))}


def load():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "target", "resnet50.h5")
    if not os.path.exists(path):
        keras.applications.ResNet50(weights=None).save(path + ".part.h5")
        os.rename(path + ".part.h5", path)
    times = []
    for _ in range(9):
        arrays = []
        start = time.perf_counter()
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: arrays.append(item[()]) if isinstance(item, h5py.Dataset) else None)
        times.append(time.perf_counter() - start)
    return {"milliseconds": 1e3 * float(np.median(times))}


WORKLOADS = {
    "mlp": lambda: training(mlp(), pictures((784,), 60000), 6400),
    "cnn": lambda: training(cnn(), pictures((28, 28, 1), 6400), 640),
    "lstm": lambda: training(lstm(), words(6400), 640, 32),
    "vgg16": lambda: predict(keras.applications.VGG16(weights=None)),
    "resnet50": lambda: predict(keras.applications.ResNet50(weights=None)),
    "latency": lambda: latency(mlp()),
    "startup": startup,
    "compile": compile_step,
    "cell": lambda: cell(0),
    "longer_cell": lambda: cell(1),
    "load": load,
}

if __name__ == "__main__":
    if sys.argv[1:] == ["first"]:
        mlp().predict_on_batch(np.full((1, 784), 0.5, "float32"))
        sys.exit()
    if len(sys.argv) != 2 or sys.argv[1] not in WORKLOADS:
        sys.exit("expected one of %s, received %s" % (", ".join(WORKLOADS), sys.argv[1:]))
    keras.utils.set_random_seed(0)
    print(json.dumps(dict(name=sys.argv[1], **WORKLOADS[sys.argv[1]](), tensorflow=tf.__version__)))
