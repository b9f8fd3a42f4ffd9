"""Files that nobody should trust, as h5py can write them. Writes tests/fixtures/hostile.zip.

    repeated.h5   a model whose layer lists one array 5,000 times
    optimizer.h5  a model whose optimizer lists one array 5,000 times
    groups.h5     a model of 3,000 layers whose groups are one, with names of 3,000 arrays
    packed.h5     a model whose kernel of 256 MB is zeros, packed a thousandfold
    huge.h5       a model whose kernel has 2^58 elements, none of which is stored
    chunked.h5    the same in chunks
    slot.h5       a model of which a slot of the optimizer has 2^58 elements
    diamonds.h5   50 groups, each of which holds the next one twice
    cyclic.h5     groups that hold themselves
    bomb.keras    an archive whose weights are a gigabyte of zeros, packed a thousandfold
"""
import io
import json
import os
import sys
import zipfile

import h5py
import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
DENSE = {"class_name": "Dense", "config": {"name": "dense", "units": 500000000, "batch_input_shape": [None, 1], "use_bias": False}}
CONFIG = {"class_name": "Sequential", "config": {"name": "model", "layers": [DENSE]}}
TRAINING = {"loss": "mse", "metrics": [], "loss_weights": None, "sample_weight_mode": None,
            "optimizer_config": {"class_name": "Adam", "config": {}}}


def model(fill):
    data = io.BytesIO()
    with h5py.File(data, "w", libver="earliest") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.3.1", "tensorflow"
        file.attrs["model_config"] = json.dumps(CONFIG)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array([b"dense"])
        fill(file, weights)
    return data.getvalue()


def dense(weights, length, names):
    layer = weights.create_group("dense")
    layer["kernel:0"] = np.ones((1, length), "float32")
    layer.attrs["weight_names"] = np.array([b"kernel:0"] * names)
    return layer


def repeated(file, weights):
    dense(weights, 100000, 5000)


def trained(file, weights, units):
    dense(weights, units, 1)
    file.attrs["model_config"] = json.dumps(CONFIG).replace("500000000", str(units))
    file.attrs["training_config"] = json.dumps(TRAINING)
    return file.create_group("optimizer_weights")


def optimizer(file, weights):
    slots = trained(file, weights, 100000)
    slots["m"] = np.ones((1, 100000), "float32")
    slots.attrs["weight_names"] = np.array([b"m"] * 5000)


HUGE = 1 << 58


def huge(file, weights, **chunks):
    layer = weights.create_group("dense")
    layer.create_dataset("kernel:0", shape=(1, HUGE), dtype="float32", **chunks)
    layer.attrs["weight_names"] = np.array([b"kernel:0"])
    file.attrs["model_config"] = json.dumps(CONFIG).replace("500000000", str(HUGE))


def chunked(file, weights):
    huge(file, weights, chunks=(1, 1024))


def slot(file, weights):
    slots = trained(file, weights, 3)
    slots["iterations"] = np.int64(1)
    slots.create_dataset("m", shape=(1, HUGE), dtype="float32")
    slots["v"] = np.ones((1, 3), "float32")
    slots.attrs["weight_names"] = np.array([b"iterations", b"m", b"v"])


def groups(file, weights):
    layer = dense(weights, 1, 3000)
    names = ["layer_%d" % i for i in range(3000)]
    for name in names:
        weights[name] = layer
    weights.attrs["layer_names"] = np.array([name.encode() for name in names])


def packed(file, weights):
    layer = weights.create_group("dense")
    layer.create_dataset("kernel:0", shape=(64, 1 << 20), dtype="float32", chunks=(1, 1 << 20), compression="gzip", compression_opts=9)
    for i in range(64):
        layer["kernel:0"][i] = np.zeros(1 << 20, "float32")
    layer.attrs["weight_names"] = np.array([b"kernel:0"])
    file.attrs["model_config"] = json.dumps(CONFIG).replace("500000000", str(1 << 20)).replace("[null, 1]", "[null, 64]")


def tree(link):
    data = io.BytesIO()
    with h5py.File(data, "w", libver="earliest") as file:
        link(file.create_group("layers"))
    return data.getvalue()


def diamonds(layers):
    for _ in range(50):
        inner = layers.create_group("a")
        layers["b"] = inner
        layers = inner
    layers["0"] = np.ones(3, "float32")


def cyclic(layers):
    layers["a"] = layers
    layers["b"] = layers


def bomb():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in [("metadata.json", '{"keras_version": "2.15.0"}'), ("config.json", json.dumps(CONFIG))]:
            archive.writestr(zipfile.ZipInfo(name), text)
        weights = zipfile.ZipInfo("model.weights.h5")
        weights.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(weights, "w") as entry:
            for _ in range(1024):
                entry.write(bytes(1 << 20))
    return data.getvalue()


files = [("repeated.h5", model(repeated)), ("optimizer.h5", model(optimizer)), ("groups.h5", model(groups)), ("packed.h5", model(packed)),
         ("huge.h5", model(huge)), ("chunked.h5", model(chunked)), ("slot.h5", model(slot)), ("diamonds.h5", tree(diamonds)), ("cyclic.h5", tree(cyclic)), ("bomb.keras", bomb())]
with zipfile.ZipFile(os.path.join(FOLDER, "hostile.zip"), "w", zipfile.ZIP_DEFLATED) as out:
    for name, data in files:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        out.writestr(info, data)
        sys.stdout.write("%s: %d bytes\n" % (name, len(data)))
