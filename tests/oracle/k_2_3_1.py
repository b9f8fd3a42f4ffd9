"""Keras's backend functions (K.*) of Keras 2.3.1. Writes tests/fixtures/k_2_3_1.{json,npz}.

Head: names (every public function of the backend on TensorFlow, those that only its modules export included), behaviour (what
functions without a value of their own did, by name).
A case: name, function, floatx, arguments (besides the tensors, by name), inputs (their number), list (whether the inputs are
one list), outputs (their number), gradients (the inputs that have one; null: not recorded), of (those
that were asked for; null: all). Arrays under "CASE/": input_I, output_I, r_I, and
grad_I of the sum of all floating point outputs times r_I.
"""
import contextlib
import ctypes
import inspect
import os
import sys
import tempfile

import keras
import keras.backend.common
import keras.backend.load_backend
import keras.backend.tensorflow_backend
import numpy as np

from fixture import Fixture, expect, fresh, stream, tf
from keras import backend as K

expect("2.3.1")


def names():
    found = set(["name_scope"])
    for module in (keras.backend, keras.backend.tensorflow_backend, keras.backend.common):
        for name, value in vars(module).items():
            own = getattr(inspect.unwrap(value), "__module__", "") if inspect.isfunction(value) else ""
            if own.startswith("keras.backend.") and not name.startswith("_"):
                found.add(name)
    # What the modules import from elsewhere, and what only they use among themselves.
    return sorted(found - set(["transpose_shape", "get_graph"]))


behaviour = {}
fixture = Fixture("k_2_3_1", __file__, names=names(), behaviour=behaviour)
skipped = []


class Random(object):
    """Inputs of a case."""

    def __init__(self, key):
        self.rs = stream(key)

    def __call__(self, *shape, **kw):
        return self.rs.uniform(kw.get("low", -1), kw.get("high", 1), shape)

    def integers(self, high, *shape):
        return self.rs.randint(0, high, shape).astype("int32")

    def apart(self, *shape):
        """Numbers that are nowhere equal or nearly so: of those, which one is the largest is beyond doubt."""
        return self.rs.permutation(np.linspace(-2, 2.5, int(np.prod(shape)))).reshape(shape)

    def truth(self, *shape):
        return self.rs.randint(0, 2, shape).astype(bool)


def record(function, variant, inputs, call=None, floats=("float32", "float64"), differentiable=True, of=None, listed=False, **arguments):
    """One case per element type. `call` gets the tensors where the function itself cannot take them as they are."""
    for floatx in floats:
        name = "%s %s %s" % (function, variant, floatx[-2:])
        fresh(floatx)
        values = [v.astype(floatx) if v.dtype.kind == "f" else v for v in inputs(Random(function + variant))]
        tensors = [K.placeholder(shape=v.shape, dtype=v.dtype.name) for v in values]
        try:
            if call is not None:
                results = call(*tensors)
            elif listed:
                results = getattr(K, function)(tensors, **arguments)
            else:
                results = getattr(K, function)(*tensors, **arguments)
            results = list(results) if isinstance(results, (list, tuple)) else [results]
            feeds = dict(zip(tensors, values))
            outputs = K.get_session().run(results, feeds)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError, TypeError):
            if floatx == "float32":
                raise
            skipped.append(name)
            continue
        rs = stream(name)
        floating = [i for i, y in enumerate(outputs) if y.dtype.kind == "f"]
        signs = {i: rs.uniform(-1, 1, outputs[i].shape).astype(outputs[i].dtype) for i in floating}
        which, gradients = None, []
        if differentiable and floating:
            objective = sum(tf.reduce_sum(results[i] * signs[i]) for i in floating)
            found = tf.gradients(objective, tensors)
            found = [g if of is None or i in of else None for i, g in enumerate(found)]
            which = [i for i, g in enumerate(found) if g is not None and values[i].dtype.kind == "f"]
            gradients = K.get_session().run([tf.convert_to_tensor(found[i]) for i in which], feeds)
        for i, value in enumerate(values):
            fixture.array("%s/input_%d" % (name, i), value)
        for i, value in enumerate(outputs):
            fixture.array("%s/output_%d" % (name, i), value)
            if i in signs:
                fixture.array("%s/r_%d" % (name, i), signs[i])
        for i, value in zip(which or [], gradients):
            fixture.array("%s/grad_%d" % (name, i), value)
        fixture.case(name=name, function=function, floatx=floatx, arguments=arguments, inputs=len(values), list=listed, of=of,
                     outputs=len(outputs), gradients=which)


F32 = ("float32",)

# Elementwise.
for function, low, high in [("abs", -1, 1), ("exp", -2, 2), ("sin", -3, 3), ("cos", -3, 3), ("tanh", -2, 2), ("sigmoid", -4, 4), ("softplus", -4, 4), ("softsign", -2, 2),
                            ("square", -1, 1), ("sqrt", 0.1, 2), ("log", 0.1, 2), ("sign", -1, 1), ("round", -3, 3), ("hard_sigmoid", -4, 4), ("identity", -1, 1), ("stop_gradient", -1, 1)]:
    record(function, "line", lambda x, low=low, high=high: [x(2, 5, low=low, high=high)])
record("sqrt", "below zero", lambda x: [np.array([-1.0, -0.25, 0.25, 4.0])], differentiable=False)
record("round", "halves", lambda x: [np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])])
record("softplus", "far", lambda x: [np.array([-80.0, -20.0, 0.0, 20.0, 80.0])])
record("sigmoid", "far", lambda x: [np.array([-80.0, -20.0, 0.0, 20.0, 80.0])])
record("elu", "one", lambda x: [x(2, 5)])
record("elu", "alpha", lambda x: [x(2, 5)], alpha=0.3)
record("relu", "plain", lambda x: [x(2, 9, low=-2, high=2)])
# A number that single precision holds: TensorFlow keeps no other.
record("relu", "alpha", lambda x: [x(2, 9, low=-2, high=2)], alpha=0.25)
record("relu", "max", lambda x: [x(2, 9, low=-2, high=2)], max_value=0.9)
record("relu", "six", lambda x: [x(2, 9, low=-9, high=9)], max_value=6.0)
record("relu", "threshold", lambda x: [x(2, 9, low=-2, high=2)], threshold=0.5)
record("relu", "all", lambda x: [x(2, 9, low=-2, high=2)], alpha=0.1, max_value=1.5, threshold=0.25)
record("softmax", "last", lambda x: [x(2, 3, 4, low=-3, high=3)])
record("softmax", "axis", lambda x: [x(2, 3, 4, low=-3, high=3)], axis=1)
record("pow", "three", lambda x: [x(2, 5)], a=3.0)
record("pow", "half", lambda x: [x(2, 5, low=0.1)], a=0.5)
record("pow", "two", lambda x: [x(2, 5)], a=2.0)
record("clip", "both", lambda x: [x(2, 9)], min_value=-0.5, max_value=0.25)
record("clip", "crossed", lambda x: [x(2, 9)], min_value=0.5, max_value=0.25, differentiable=False)
for function in ("maximum", "minimum"):
    record(function, "broadcast", lambda x: [x.apart(3, 4), x(4)])
for function in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"):
    record(function, "numbers", lambda x: [x.integers(3, 4, 5), x.integers(3, 5)], floats=F32)
    record(function, "floats", lambda x: [np.round(x(4, 5) * 2), np.round(x(4, 1) * 2)])
record("cast", "to integers", lambda x: [x(2, 5, low=-3, high=3)], dtype="int32")
record("cast", "to truth", lambda x: [np.round(x(2, 5))], dtype="bool")
record("cast", "to double", lambda x: [x.integers(9, 2, 5)], floats=F32, dtype="float64")
record("l2_normalize", "all", lambda x: [x(3, 4)])
record("l2_normalize", "axis", lambda x: [x(3, 4, 2)], axis=1)

# Reductions.
for function in ("sum", "prod", "max", "min", "mean", "var", "std", "logsumexp"):
    for variant, arguments in [("all", {}), ("axis", dict(axis=1)), ("last kept", dict(axis=-1, keepdims=True)), ("two", dict(axis=[0, 2])), ("all kept", dict(keepdims=True))]:
        record(function, variant, lambda x: [x.apart(2, 3, 4)], **arguments)
for function in ("any", "all"):
    for variant, arguments in [("all", {}), ("axis", dict(axis=1)), ("last kept", dict(axis=-1, keepdims=True))]:
        record(function, variant, lambda x: [x.truth(3, 3, 2)], floats=F32, **arguments)
    record(function, "numbers", lambda x: [x.integers(2, 3, 4)], floats=F32, axis=0)
for function in ("argmax", "argmin"):
    record(function, "last", lambda x: [x.apart(3, 4)])
    record(function, "axis", lambda x: [x.apart(2, 3, 4)], axis=1)
    record(function, "ties", lambda x: [x.integers(3, 4, 6)], floats=F32)
for function in ("cumsum", "cumprod"):
    record(function, "first", lambda x: [x(3, 4, low=0.5, high=1.5)])
    record(function, "axis", lambda x: [x(2, 3, 4, low=0.5, high=1.5)], axis=-2)

# Products.
record("dot", "matrices", lambda x: [x(3, 4), x(4, 5)])
record("dot", "sequence", lambda x: [x(2, 3, 4), x(4, 5)])
record("dot", "tensors", lambda x: [x(2, 4), x(3, 4, 5)])
for variant, one, other, axes in [("plain", (3, 2, 4), (3, 4, 5), None), ("vectors", (3, 4), (3, 4), None), ("one", (3, 4), (3, 4), 1), ("pair", (3, 2, 4), (3, 5, 4), (2, 2)),
                                  ("mixed", (3, 4), (3, 4, 5), (1, 1)), ("deep", (3, 2, 5, 4), (3, 4, 2), (3, 1)), ("default", (3, 2, 4), (3, 4), None), ("negative", (3, 4, 2), (3, 4), (-2, -1))]:
    record("batch_dot", variant, lambda x, one=one, other=other: [x(*one), x(*other)], **({} if axes is None else dict(axes=axes)))
record("transpose", "matrix", lambda x: [x(3, 4)])
record("transpose", "tensor", lambda x: [x(2, 3, 4)])
record("gather", "rows", lambda x: [x(5, 3), x.integers(5, 2, 4)])
for variant, shape, bias, data_format in [("matrix", (2, 3), (3,), None), ("steps", (2, 4, 3), (3,), None), ("steps each", (2, 4, 3), (4, 3), None), ("steps first", (2, 3, 4), (3,), "channels_first"),
                                          ("steps first each", (2, 3, 4), (4, 3), "channels_first"), ("image", (2, 2, 3, 4), (4,), "channels_last"), ("image first", (2, 4, 2, 3), (4,), "channels_first"),
                                          ("image each", (2, 2, 3, 4), (2, 3, 4), "channels_last"), ("image first each", (2, 4, 2, 3), (2, 3, 4), "channels_first"),
                                          ("volume", (1, 2, 2, 3, 4), (4,), "channels_last"), ("volume first", (1, 4, 2, 2, 3), (4,), "channels_first"), ("volume first each", (1, 4, 2, 2, 3), (2, 2, 3, 4), "channels_first")]:
    record("bias_add", variant, lambda x, shape=shape, bias=bias: [x(*shape), x(*bias)], **({} if data_format is None else dict(data_format=data_format)))

# Shapes.
record("concatenate", "last", lambda x: [x(2, 3), x(2, 4)], listed=True)
record("concatenate", "axis", lambda x: [x(2, 3), x(1, 3), x(3, 3)], listed=True, axis=0)
record("stack", "first", lambda x: [x(2, 3), x(2, 3)], listed=True)
record("stack", "last", lambda x: [x(2, 3), x(2, 3), x(2, 3)], listed=True, axis=-1)
record("reshape", "open", lambda x: [x(2, 3, 4)], shape=(-1, 6))
record("permute_dimensions", "tensor", lambda x: [x(2, 3, 4)], pattern=(0, 2, 1))
record("expand_dims", "last", lambda x: [x(2, 3)])
record("expand_dims", "axis", lambda x: [x(2, 3)], axis=1)
record("squeeze", "axis", lambda x: [x(2, 1, 3)], axis=1)
record("squeeze", "negative", lambda x: [x(2, 3, 1)], axis=-1)
record("flatten", "tensor", lambda x: [x(2, 3, 4)])
record("batch_flatten", "tensor", lambda x: [x(2, 3, 4)])
record("repeat", "n", lambda x: [x(2, 3)], n=4)
record("repeat_elements", "axis", lambda x: [x(2, 3, 4)], rep=2, axis=1)
record("repeat_elements", "last", lambda x: [x(2, 3)], rep=3, axis=-1)
record("tile", "one", lambda x: [x(2, 3)], n=2)
record("tile", "each", lambda x: [x(2, 3)], n=[3, 2])
record("tile", "short", lambda x: [x(2, 3, 2)], n=[3, 1])
record("reverse", "one", lambda x: [x(2, 3, 4)], axes=1)
record("reverse", "two", lambda x: [x(2, 3, 4)], axes=[0, 2])
record("slice", "box", lambda x: [x(3, 4, 5)], start=(1, 0, 2), size=(2, 3, 2))
record("slice", "rest", lambda x: [x(3, 4)], start=(0, 1), size=(2, -1))
record("one_hot", "classes", lambda x: [x.integers(6, 2, 3)], floats=F32, num_classes=5)
record("shape", "tensor", lambda x: [x(2, 3, 4)], floats=F32)
record("size", "tensor", lambda x: [x(2, 3, 4)], floats=F32)
record("zeros_like", "floats", lambda x: [x(2, 3)], floats=F32)
record("zeros_like", "integers", lambda x: [x.integers(9, 2, 3)], floats=F32)
record("ones_like", "floats", lambda x: [x(2, 3)], floats=F32)
record("ones_like", "of type", lambda x: [x(2, 3)], floats=F32, dtype="int32")
record("eye", "square", lambda x: [], floats=F32, size=3)
record("eye", "wide", lambda x: [], floats=F32, size=(2, 4), dtype="int32")
record("arange", "stop", lambda x: [], floats=F32, start=5)
record("arange", "below zero", lambda x: [], floats=F32, start=-3)
record("arange", "steps", lambda x: [], floats=F32, start=2, stop=11, step=3, dtype="float32")
record("arange", "down", lambda x: [], floats=F32, start=5, stop=-2, step=-2)
record("constant", "number", lambda x: [], floats=F32, value=1.5)
record("constant", "filled", lambda x: [], floats=F32, value=2, shape=[2, 3])
record("constant", "shaped", lambda x: [], floats=F32, value=[1, 2, 3, 4, 5, 6], shape=[2, 3], dtype="int32")

# Images.
record("temporal_padding", "default", lambda x: [x(2, 3, 4)])
record("temporal_padding", "sides", lambda x: [x(2, 3, 4)], padding=(0, 2))
record("spatial_2d_padding", "default", lambda x: [x(2, 3, 4, 2)])
record("spatial_2d_padding", "first", lambda x: [x(2, 2, 3, 4)], padding=((0, 1), (2, 1)), data_format="channels_first")
record("spatial_3d_padding", "default", lambda x: [x(1, 2, 3, 2, 2)])
record("spatial_3d_padding", "first", lambda x: [x(1, 2, 2, 3, 2)], padding=((0, 1), (2, 1), (1, 0)), data_format="channels_first")
record("resize_images", "nearest", lambda x: [x(2, 3, 2, 2)], height_factor=2, width_factor=3, data_format="channels_last")
record("resize_images", "nearest first", lambda x: [x(2, 2, 3, 2)], height_factor=3, width_factor=1, data_format="channels_first")
record("resize_images", "bilinear", lambda x: [x(2, 3, 4, 2)], floats=F32, height_factor=2, width_factor=3, data_format="channels_last", interpolation="bilinear")
record("resize_images", "bilinear first", lambda x: [x(2, 2, 3, 1)], floats=F32, height_factor=3, width_factor=2, data_format="channels_first", interpolation="bilinear")
record("resize_volumes", "last", lambda x: [x(1, 2, 3, 2, 2)], depth_factor=2, height_factor=1, width_factor=3, data_format="channels_last")
record("resize_volumes", "first", lambda x: [x(1, 2, 2, 3, 2)], depth_factor=1, height_factor=2, width_factor=2, data_format="channels_first")

# Convolutions.
WINDOWS = [("valid", {}), ("same", dict(padding="same")), ("strides", dict(strides=2)), ("same strides", dict(strides=3, padding="same")), ("dilated", dict(dilation_rate=2)),
           ("same dilated", dict(dilation_rate=2, padding="same")), ("first", dict(data_format="channels_first")), ("first same strides", dict(data_format="channels_first", padding="same", strides=2))]


def each(arguments, axes):
    """The numbers once per axis."""
    return {key: (value,) * axes if isinstance(value, int) and axes > 1 else value for key, value in arguments.items()}


def image(arguments, spatial, channels, batch=2):
    return (batch, channels) + spatial if arguments.get("data_format") == "channels_first" else (batch,) + spatial + (channels,)


for variant, arguments in WINDOWS:
    for axes, spatial, kernel in [(1, (9,), (3,)), (2, (7, 6), (3, 2)), (3, (5, 4, 6), (2, 3, 2))]:
        if axes == 3 and "dilation_rate" in arguments:
            spatial = (6, 7, 6)
        record("conv%dd" % axes, variant, lambda x: [x(*image(arguments, spatial, 2)), x(*(kernel + (2, 3)))], **each(arguments, axes))
    record("depthwise_conv2d", variant, lambda x: [x(*image(arguments, (7, 6), 2)), x(3, 2, 2, 2)], **each(arguments, 2))
    record("separable_conv2d", variant, lambda x: [x(*image(arguments, (7, 6), 2)), x(3, 2, 2, 2), x(1, 1, 4, 3)], **each(arguments, 2))
    record("separable_conv1d", variant, lambda x: [x(*image(arguments, (9,), 2)), x(3, 2, 2), x(1, 4, 3)], **arguments)
record("conv1d", "causal", lambda x: [x(2, 6, 2), x(3, 2, 3)], padding="causal")
record("conv1d", "causal dilated", lambda x: [x(2, 6, 2), x(2, 2, 3)], padding="causal", dilation_rate=2)
record("conv2d", "same large kernel", lambda x: [x(1, 2, 3, 2), x(4, 5, 2, 2)], padding="same")
for variant, spatial, out, arguments in [("valid", (3, 2), (5, 3), {}), ("same", (3, 2), (3, 2), dict(padding="same")), ("strides", (3, 2), (7, 4), dict(strides=(2, 2))), ("strides longer", (3, 2), (8, 5), dict(strides=(2, 2))),
                                         ("same strides", (3, 2), (6, 4), dict(strides=(2, 2), padding="same")), ("same strides shorter", (3, 2), (5, 3), dict(strides=(2, 2), padding="same")),
                                         ("dilated", (3, 2), (7, 4), dict(dilation_rate=(2, 2))), ("first", (3, 2), (7, 4), dict(strides=(2, 2), data_format="channels_first")), ("first dilated", (3, 2), (3, 2), dict(dilation_rate=(2, 2), padding="same", data_format="channels_first"))]:
    shape = image(arguments, out, 3)
    record("conv2d_transpose", variant, lambda x: [x(*image(arguments, spatial, 2)), x(3, 2, 3, 2)], output_shape=(None,) + shape[1:] if variant == "same" else shape, **arguments)
for variant, spatial, out, arguments in [("valid", (2, 3, 2), (4, 4, 3), {}), ("same strides", (2, 3, 2), (4, 6, 4), dict(strides=(2, 2, 2), padding="same")), ("first", (2, 3, 2), (5, 6, 4), dict(strides=(2, 2, 2), data_format="channels_first"))]:
    record("conv3d_transpose", variant, lambda x: [x(*image(arguments, spatial, 2, 1)), x(3, 2, 2, 3, 2)], output_shape=image(arguments, out, 3, 1), **arguments)
for mode in ("max", "avg"):
    for variant, arguments in WINDOWS:
        if "dilation_rate" not in arguments:
            record("pool2d", mode + " " + variant, lambda x: [x.apart(*image(arguments, (5, 6), 2))], pool_size=(2, 3), pool_mode=mode, **each(arguments, 2))
            record("pool3d", mode + " " + variant, lambda x: [x.apart(*image(arguments, (3, 4, 5), 2))], pool_size=(2, 3, 2), pool_mode=mode, **each(arguments, 3))
record("local_conv1d", "strides", lambda x: [x(2, 7, 2), x(3, 6, 4)], kernel_size=(3,), strides=(2,))
record("local_conv2d", "last", lambda x: [x(2, 4, 6, 2), x(6, 12, 3)], kernel_size=(3, 2), strides=(1, 2), output_shape=(2, 3), data_format="channels_last")
record("local_conv2d", "first", lambda x: [x(2, 2, 4, 6), x(6, 12, 3)], kernel_size=(3, 2), strides=(1, 2), output_shape=(2, 3), data_format="channels_first")

# Normalisation.
record("batch_normalization", "matrix", lambda x: [x(4, 3), x(3), x(3, low=0.5, high=1.5), x(3), x(3)])
record("batch_normalization", "epsilon", lambda x: [x(4, 3), x(3), x(3, low=0.5, high=1.5), x(3), x(3)], epsilon=0.1)
record("batch_normalization", "bare", lambda x: [x(4, 3), x(3), x(3, low=0.5, high=1.5)], call=lambda x, m, v: K.batch_normalization(x, m, v, None, None))
# The kernel for images has no gradient for the statistics.
record("batch_normalization", "image", lambda x: [x(2, 3, 2, 3), x(3), x(3, low=0.5, high=1.5), x(3), x(3)], floats=F32, of=[0, 3, 4])
record("batch_normalization", "image small epsilon", lambda x: [x(2, 3, 2, 3), x(3), x(3, low=1e-5, high=2e-5), x(3), x(3)], floats=F32, of=[0, 3, 4], epsilon=1e-7)
record("batch_normalization", "image first", lambda x: [x(2, 3, 2, 3), x(1, 3, 1, 1), x(1, 3, 1, 1, low=0.5, high=1.5), x(1, 3, 1, 1), x(1, 3, 1, 1)], axis=1)
for variant, shape, axes, size, floats in [("matrix", (5, 3), [0], 3, ("float32", "float64")), ("steps", (3, 4, 3), [0, 1], 3, ("float32", "float64")), ("first", (3, 3, 4), [0, 2], 3, ("float32", "float64")),
                                           ("image", (2, 3, 2, 3), [0, 1, 2], 3, F32), ("image first", (2, 3, 2, 3), [0, 2, 3], 3, ("float32", "float64"))]:
    record("normalize_batch_in_training", variant, lambda x: [x(*shape), x(size), x(size)], reduction_axes=axes,
           call=lambda x, gamma, beta: K.normalize_batch_in_training(x, gamma, beta, axes)[0:3 if variant != "image" else 1])
record("normalize_batch_in_training", "image moments", lambda x: [x(2, 3, 2, 3), x(3), x(3)], floats=F32, reduction_axes=[0, 1, 2], differentiable=False,
       call=lambda x, gamma, beta: K.normalize_batch_in_training(x, gamma, beta, [0, 1, 2]))
record("normalize_batch_in_training", "bare", lambda x: [x(5, 3)], reduction_axes=[0], epsilon=0.01, call=lambda x: K.normalize_batch_in_training(x, None, None, [0], epsilon=0.01))

# Losses.
softmax = lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)
onehot = lambda labels, classes: np.eye(classes)[labels]
record("binary_crossentropy", "probabilities", lambda x: [x.integers(2, 4, 3).astype(float), x(4, 3, low=0.05, high=0.95)])
record("binary_crossentropy", "logits", lambda x: [x.integers(2, 4, 3).astype(float), x(4, 3, low=-4, high=4)], from_logits=True)
record("categorical_crossentropy", "probabilities", lambda x: [onehot(x.integers(5, 4), 5), softmax(x(4, 5))])
record("categorical_crossentropy", "logits", lambda x: [onehot(x.integers(5, 4), 5), x(4, 5, low=-3, high=3)], from_logits=True)
record("categorical_crossentropy", "axis", lambda x: [onehot(x.integers(3, 4, 2), 3).transpose(0, 2, 1), softmax(x(4, 2, 3)).transpose(0, 2, 1)], axis=1)
record("categorical_crossentropy", "logits axis", lambda x: [onehot(x.integers(3, 4, 2), 3).transpose(0, 2, 1), x(4, 3, 2)], axis=1, from_logits=True)
record("sparse_categorical_crossentropy", "probabilities", lambda x: [x.integers(5, 4), softmax(x(4, 5))])
record("sparse_categorical_crossentropy", "logits", lambda x: [x.integers(5, 4, 1), x(4, 5, low=-3, high=3)], from_logits=True)
record("sparse_categorical_crossentropy", "steps", lambda x: [x.integers(5, 4, 3, 1), softmax(x(4, 3, 5))])
record("sparse_categorical_crossentropy", "axis", lambda x: [x.integers(3, 4, 2), softmax(x(4, 2, 3)).transpose(0, 2, 1)], axis=1)
record("in_top_k", "k", lambda x: [x.apart(6, 5), x.integers(5, 6)], floats=F32, k=2)
record("in_top_k", "ties", lambda x: [x.integers(3, 6, 5).astype(float), x.integers(5, 6)], floats=F32, k=3)
record("in_top_k", "odd", lambda x: [np.array([[0.1, 0.2, 0.7]] * 3), np.array([2, 5, -1], "int32")], floats=F32, k=1)

# Control flow.
record("switch", "scalar", lambda x: [np.array(True), x(2, 3), x(2, 3)])
record("switch", "scalar number", lambda x: [np.array(0, "int32"), x(2, 3), x(2, 3)])
record("switch", "rows", lambda x: [x.truth(4), x(4, 3), x(4, 3)])
record("switch", "leading", lambda x: [x.truth(2, 3), x(2, 3, 2), x(2, 3, 2)])
record("switch", "elements", lambda x: [x.truth(2, 3), x(2, 3), x(2, 3)])
record("switch", "stretched", lambda x: [x.truth(2, 1), x(2, 3), x(2, 3)])
record("map_fn", "sum of squares", lambda x: [x(4, 3)], call=lambda x: K.map_fn(lambda row: K.sum(K.square(row)), x))
record("foldl", "weighted", lambda x: [x(4, 3)], call=lambda x: K.foldl(lambda total, row: total * 0.5 + row, x))
record("foldl", "start", lambda x: [x(4, 3), x(3)], call=lambda x, start: K.foldl(lambda total, row: total * 0.5 + row, x, initializer=start))
record("foldr", "weighted", lambda x: [x(4, 3)], call=lambda x: K.foldr(lambda total, row: total * 0.5 + row, x))
record("foldr", "start", lambda x: [x(4, 3), x(3)], call=lambda x, start: K.foldr(lambda total, row: total * 0.5 + row, x, initializer=start))


def running(x, states):
    total = K.tanh(x * states[1] + states[0])
    return total * 2.0, [total]


def rnn(**options):
    def call(x, start, factor, mask=None):
        last, outputs, states = K.rnn(running, x, [start], mask=mask, constants=[factor], **options)
        return [last, outputs] + list(states)
    return call


for variant, arguments in [("forward", {}), ("backward", dict(go_backwards=True)), ("unrolled", dict(unroll=True)), ("unrolled backward", dict(unroll=True, go_backwards=True))]:
    record("rnn", variant, lambda x: [x(2, 4, 3), x(2, 3), x(2, 3)], call=rnn(**arguments), **arguments)
    record("rnn", variant + " masked", lambda x: [x(2, 4, 3), x(2, 3), x(2, 3), np.array([[True, False, True, True], [False, True, True, False]])], call=rnn(**arguments), **arguments)

# Connectionist temporal classification.
lengths = lambda *n: np.array(n, "int32")[:, None]
labels = lambda *rows: np.array(rows, "int32")
record("ctc_batch_cost", "lengths", lambda x: [labels([0, 1, 2], [1, 1, 0], [2, 0, 0]), softmax(x(3, 8, 4, low=-2, high=2)), lengths(8, 6, 7), lengths(3, 2, 1)], floats=F32)
record("ctc_batch_cost", "repeated", lambda x: [labels([0, 0, 0]), softmax(x(1, 5, 3, low=-2, high=2)), lengths(5), lengths(3)], floats=F32)
record("ctc_batch_cost", "blank ends", lambda x: [labels([0, 3, 3], [1, 2, 3]), softmax(x(2, 6, 4)), lengths(6, 6), lengths(3, 3)], floats=F32)
record("ctc_batch_cost", "one step", lambda x: [labels([1, 0]), softmax(x(1, 1, 3)), lengths(1), lengths(1)], floats=F32)
record("ctc_batch_cost", "not normalised", lambda x: [labels([0, 1, 2]).astype("float32"), x(1, 7, 4, low=0.01, high=1), lengths(7), lengths(3)], floats=F32)
record("ctc_batch_cost", "long", lambda x: [x.integers(9, 2, 12), softmax(x(2, 60, 10, low=-4, high=4)), lengths(60, 50), lengths(12, 9)], floats=F32)
record("ctc_label_dense_to_sparse", "lengths", lambda x: [labels([5, 1, 2], [3, 0, 7], [4, 6, 8]), np.array([2, 0, 3], "int32")], floats=F32,
       call=lambda dense, n: (lambda sparse: [sparse.indices, sparse.values, sparse.dense_shape])(K.ctc_label_dense_to_sparse(dense, n)))
record("to_dense", "labels", lambda x: [labels([5, 1, 2], [3, 0, 7], [4, 6, 8]), np.array([2, 0, 3], "int32")], floats=F32, call=lambda dense, n: K.to_dense(K.ctc_label_dense_to_sparse(dense, n)))
steps = np.array([6, 4, 1], "int32")


def decode(**options):
    def call(y, n):
        paths, log = K.ctc_decode(y, n, **options)
        return list(paths) + [log]
    return call


for variant, options in [("greedy", {}), ("beam", dict(greedy=False)), ("narrow beam", dict(greedy=False, beam_width=2)), ("three paths", dict(greedy=False, beam_width=10, top_paths=3)), ("merged", dict(greedy=False, beam_width=8, top_paths=2, merge_repeated=True))]:
    record("ctc_decode", variant, lambda x: [softmax(x(3, 6, 4, low=-3, high=3)), steps], floats=F32, differentiable=False, call=decode(**options), **options)
    record("ctc_decode", variant + " long", lambda x: [softmax(x(2, 20, 3, low=-1, high=1)), np.array([20, 17], "int32")], floats=F32, differentiable=False, call=decode(**options), **options)


# What functions do that have no value of their own.
def value(x):
    return np.asarray(K.get_session().run(x)).tolist()


@contextlib.contextmanager
def stdout_to(path):
    """The standard output of the process: TensorFlow does not write to Python's."""
    sys.stdout.flush()
    own, file = os.dup(1), os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(own, 1)
        os.close(file)
        os.close(own)


def refused(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


fresh()
K.reset_uids()
uids = [K.get_uid("a"), K.get_uid("b"), K.get_uid("a")]
K.reset_uids()
behaviour["get_uid"] = uids + [K.get_uid("a")]
behaviour["reset_uids"] = behaviour["get_uid"]
layers = [keras.layers.Dense(1).name, keras.layers.Dense(1).name]
K.clear_session()
behaviour["clear_session"] = layers + [keras.layers.Dense(1).name]
fresh()
behaviour["backend"] = K.backend()
behaviour["floatx"] = K.floatx()
K.set_floatx("float64")
behaviour["set_floatx"] = [K.floatx(), K.dtype(K.placeholder((2,))), K.dtype(K.zeros((2,))), refused(lambda: K.set_floatx("int32"))]
behaviour["cast_to_floatx"] = K.cast_to_floatx(np.array([1, 2], "int32")).dtype.name
fresh()
behaviour["epsilon"] = K.epsilon()
K.set_epsilon(1e-3)
behaviour["set_epsilon"] = [K.epsilon(), value(K.binary_crossentropy(K.constant([1.0]), K.constant([0.0])))]
fresh()
behaviour["image_data_format"] = K.image_data_format()
K.set_image_data_format("channels_first")
behaviour["set_image_data_format"] = [K.image_data_format(), K.int_shape(K.pool2d(K.placeholder((1, 2, 4, 6)), (2, 2))), refused(lambda: K.set_image_data_format("last"))]
behaviour["normalize_data_format"] = [K.normalize_data_format(None), K.normalize_data_format("Channels_Last"), refused(lambda: K.normalize_data_format("last"))]
fresh()
x, y = keras.layers.Input((3,)), K.placeholder((2, 3))
v = K.variable(np.ones((2, 3)))
dense = keras.layers.Dense(2)(x)
kinds = [x, dense, y, v, K.constant(1.0), x + 1.0, K.square(y)]
behaviour["is_keras_tensor"] = [K.is_keras_tensor(t) for t in kinds]
behaviour["is_placeholder"] = [bool(K.is_placeholder(t)) for t in kinds]
behaviour["is_variable"] = [K.is_variable(t) for t in kinds]
behaviour["is_symbolic"] = [keras.backend.tensorflow_backend.is_symbolic(t) for t in kinds]
behaviour["ndim"] = [K.ndim(t) for t in kinds]
behaviour["int_shape"] = [K.int_shape(t) for t in kinds]
behaviour["dtype"] = [K.dtype(t) for t in (x, K.constant(1, dtype="int32"), K.equal(y, y), K.variable(1, dtype="float64"))]
behaviour["get_variable_shape"] = keras.backend.tensorflow_backend.get_variable_shape(v)
behaviour["count_params"] = int(K.count_params(v))
behaviour["placeholder"] = [K.int_shape(K.placeholder((None, 3))), K.int_shape(K.placeholder(ndim=2)), K.dtype(K.placeholder((2,), dtype="int32"))]
fresh()
v = K.variable([[1, 2], [3, 4]])
behaviour["variable"] = [K.dtype(v), value(v), K.dtype(K.variable([1], dtype="int32"))]
behaviour["get_value"] = np.asarray(K.get_value(v)).tolist()
K.set_value(v, np.array([[5, 6], [7, 8]]))
behaviour["set_value"] = [np.asarray(K.get_value(v)).tolist(), refused(lambda: K.set_value(v, np.zeros((3, 2))))]
w = K.variable([0.5])
behaviour["batch_get_value"] = [a.tolist() for a in K.batch_get_value([v, w])]
K.batch_set_value([(v, np.zeros((2, 2))), (w, np.ones((1,)))])
behaviour["batch_set_value"] = [a.tolist() for a in K.batch_get_value([v, w])]
for name in ("zeros", "ones"):
    made = getattr(K, name)((2, 3))
    behaviour[name] = [K.is_variable(made), K.dtype(made), np.asarray(K.get_value(made)).tolist()]
behaviour["eval"] = np.asarray(K.eval(K.square(K.constant([1.0, -2.0])))).tolist()
fresh()
pair = np.array([1.0, 2.0])
for name, update in [("update", lambda v, x: K.update(v, x * 2)), ("update_add", K.update_add), ("update_sub", K.update_sub), ("moving_average_update", lambda v, x: K.moving_average_update(v, x, 0.75))]:
    v, x = K.variable(pair), K.placeholder((2,))
    f = K.function([x], [x * 2], updates=[update(v, x)])
    behaviour[name] = [[f([np.array([4.0, -1.0])])[0].tolist(), np.asarray(K.get_value(v)).tolist()] for _ in range(2)]
x, v = K.placeholder((2,)), K.variable([3.0, 4.0])
f = K.function([x], [x * v], updates=[(v, v + x)])
behaviour["function"] = [f([pair])[0].tolist(), f([pair])[0].tolist(), refused(lambda: f([np.ones(3)]))]
y = K.variable([1.0])
behaviour["gradients"] = [g if g is None else K.get_session().run(g, {x: pair}).tolist() for g in K.gradients(K.sum(K.square(x) * v), [x, v, y])]
fresh()
x = K.placeholder((2,))
for name in ("in_train_phase", "in_test_phase"):
    chosen = getattr(K, name)(x + 0.0, -x)
    f = K.function([x, K.learning_phase()], [chosen])
    behaviour[name] = [f([pair, 0])[0].tolist(), f([pair, 1])[0].tolist()]
    for training in (True, False):
        behaviour[name].append(K.function([x], [getattr(K, name)(x + 0.0, -x, training=training)])([pair])[0].tolist())
behaviour["learning_phase"] = [K.dtype(K.learning_phase()), K.int_shape(K.learning_phase())]
outcome = []
for phase in (0, 1):
    fresh()
    K.set_learning_phase(phase)
    x = K.placeholder((2,))
    i = keras.layers.Input((3,))
    model = keras.models.Model(i, keras.layers.Dropout(0.999999)(i))
    outcome.append([K.learning_phase(), K.function([x], [K.in_train_phase(x + 0.0, -x)])([pair])[0].tolist(), model.predict(np.ones((1, 3))).tolist()])
behaviour["set_learning_phase"] = outcome + [refused(lambda: K.set_learning_phase(2))]
fresh()
printed = []
for shape, dtype in [((2, 3), "float32"), ((8,), "float32"), ((7, 8), "int32"), ((), "float32"), ((2, 2, 2), "bool")]:
    x = (np.arange(np.prod(shape)) % 5 * 0.5 - 0.25).reshape(shape) if dtype == "float32" else (np.arange(np.prod(shape)) % 3).reshape(shape).astype(dtype)
    path = os.path.join(tempfile.mkdtemp(), "out")
    with stdout_to(path):
        result = K.eval(K.print_tensor(K.constant(x, dtype=dtype), message="x is"))
    with open(path) as file:
        printed.append(dict(x=x.tolist(), dtype=dtype, text=file.read(), same=bool((result == x).all())))
behaviour["print_tensor"] = printed
for name in ("random_normal", "random_uniform", "random_binomial", "truncated_normal"):
    fresh()
    arguments = {"random_normal": dict(mean=1.0, stddev=0.5), "random_uniform": dict(minval=-1.0, maxval=3.0), "random_binomial": dict(p=0.3), "truncated_normal": dict(mean=1.0, stddev=0.5)}[name]
    draw = K.function([], [getattr(K, name)((2000, 10), seed=1, **arguments), getattr(K, name)((2000, 10), seed=1, **arguments), getattr(K, name)((2000, 10), seed=2, **arguments)])
    one, same, other = draw([])
    again = draw([])[0]
    behaviour[name] = dict(arguments=arguments, mean=float(one.mean()), std=float(one.std()), low=float(one.min()), high=float(one.max()), dtype=one.dtype.name,
                           same_seed=bool((one == same).all()), other_seed=bool((one == other).all()), again=bool((one == again).all()))
for name, arguments in [("random_normal_variable", dict(mean=1.0, scale=0.5)), ("random_uniform_variable", dict(low=-1.0, high=3.0))]:
    fresh()
    made = [getattr(K, name)((2000, 10), seed=seed, **arguments) for seed in (1, 1, 2)]
    one, same, other = [K.get_value(v) for v in made]
    behaviour[name] = dict(arguments=arguments, mean=float(one.mean()), std=float(one.std()), low=float(one.min()), high=float(one.max()), dtype=one.dtype.name,
                           same_seed=bool((one == same).all()), other_seed=bool((one == other).all()), variable=K.is_variable(made[0]))
fresh()
x = K.placeholder((1000, 20))
draw = K.function([x], [K.dropout(x, 0.3, seed=1), K.dropout(x, 0.3, seed=1), K.dropout(x, 0.3, noise_shape=(1000, 1), seed=2)])
one, same, rows = draw([np.ones((1000, 20))])
behaviour["dropout"] = dict(mean=float(one.mean()), values=np.unique(one).tolist(), same_seed=bool((one == same).all()), rows=bool((rows == rows[:, :1]).all()))

fixture.write()
print("no double precision in TensorFlow: %s" % ", ".join(skipped))
