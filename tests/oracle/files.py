"""Files between real Keras and this library, in both directions. Runs in Keras 2.3.1 (Python 3.6) and tf.keras 2.15 (3.11).

    files.py make FIXTURES OUT      writes OUT/CASE.h5 and OUT/CASE.npz for every case
    files.py check FIXTURES OUT     reads OUT/CASE.ours.h5 (our copy of CASE.h5) and OUT/CASE.trained.h5 (ours after two further
                                    steps), writes OUT/report.json: a list of [case, what differs]
    files.py later FIXTURES OUT     in tf.keras 2.15, of what Keras 2.3.1 made and we wrote in OUT: CASE.ours.h5 is read, without a
                                    warning, as CASE.h5 is; writes OUT/report.json
    files.py long FIXTURES OUT      in Keras 2.3.1: reads OUT/ours.h5, OUT/ours_weights.h5 and OUT/ours.yaml, of one model; writes
                                    OUT/theirs.h5, OUT/theirs_weights.h5 and OUT/prediction.npy, for the input OUT/x.npy

A case is a layer of FIXTURES/layers_2_3_1.json between its inputs and a Dense named "head", or one of the models below; compiled,
trained for a step, saved, then trained for two further steps. CASE.npz: x_I, y_I; out_I (predictions at the time of saving);
w_I, o_I (weights and optimizer state after the further steps).
"""
import io
import json
import os
import sys
import zlib

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
for _variable in ("KERAS_BACKEND", "KERAS_HOME"):
    os.environ.pop(_variable, None)
_stderr, sys.stderr = sys.stderr, io.StringIO()
import warnings  # noqa: E402

warnings.filterwarnings("ignore")
import h5py  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

TF = tf.__version__.startswith("2.")
if TF:
    keras = tf.keras
else:
    import keras
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
sys.stderr = _stderr
L, K, O = keras.layers, keras.backend, keras.optimizers
RATE = "learning_rate"

if not TF:
    # Keras 2.3 reads the number of steps before or after it is incremented, at random: here it is incremented after each step.
    _update_add = K.update_add

    def _late_update_add(x, increment):
        return tf.no_op() if "iterations" in x.name else _update_add(x, increment)

    K.update_add = _late_update_add

    def _gated_gradients(self, loss, params):
        gradients = _get_gradients(self, loss, params)
        with tf.control_dependencies([loss] + gradients):
            return [tf.identity(gradient) for gradient in gradients]

    _get_gradients = keras.optimizers.Optimizer.get_gradients
    keras.optimizers.Optimizer.get_gradients = _gated_gradients


def step(model, x, y):
    model.train_on_batch(x, y)
    if not TF:
        iterations = model.optimizer.iterations
        K.set_value(iterations, K.get_value(iterations) + 1)


def fresh():
    K.clear_session()
    if not TF:
        tf.compat.v1.set_random_seed(0)
        K.set_session(tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)))


def optimizer(name, **options):
    options.setdefault(RATE, 0.01)
    decay = options.pop("decay", None)
    if TF:
        # The formulas of Keras 2; what later optimizers do otherwise is in docs/files.md.
        made = getattr(O.legacy, name)
        return made(decay=decay, **options) if decay else made(**options)
    if decay:
        options["decay"] = decay
    return getattr(O, name)(**options)


OPTIMIZERS = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"]
RANDOM = {"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout", "AlphaDropout"}


def layer_cases(fixtures):
    with open(os.path.join(fixtures, "layers_2_3_1.json")) as file:
        cases = json.load(file)["cases"]
    seen = {}
    for case in cases:
        config, name = case["config"], case["class_name"]
        # TensorFlow's processors convolve images with the channels last alone.
        if config.get("data_format") == "channels_first" or name in RANDOM or name == "Lambda":
            continue
        # The layers around it are of single precision, and Keras 2.3.1 does not mix the two.
        if "float64" in case["input_dtypes"] or config.get("dtype") == "float64":
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= 4:
            yield case["name"], case


def layer_model(case):
    feeds = [keras.Input(tuple(shape[1:]), dtype=dtype, name="x%d" % i)
             for i, (shape, dtype) in enumerate(zip(case["input_shapes"], case["input_dtypes"]))]
    inputs = [L.Masking()(x) if masked else x for x, masked in zip(feeds, case["input_masks"])]
    layer = L.deserialize({"class_name": case["class_name"], "config": dict(case["config"])})
    out = layer(inputs if len(inputs) > 1 else inputs[0])
    out = out[0] if isinstance(out, (list, tuple)) else out
    return keras.models.Model(feeds, L.Dense(2, name="head")(out))


def plain():
    # A bias in front of the normalisation would have a gradient of rounding errors alone, which Adam scales up.
    return keras.models.Sequential([L.Dense(6, use_bias=False, input_shape=(5,)), L.BatchNormalization(), L.Activation("tanh"), L.Dense(2)])


def nested():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = L.Dense(3, activation="tanh", name="shared")
    joined = L.Concatenate(name="joined")([shared(a), shared(b)])
    inner = keras.models.Sequential(
        [L.Dense(5, input_shape=(6,), name="first", trainable=False), L.BatchNormalization(name="norm"), L.Dense(4, name="last")], name="inner")
    h = inner(joined)
    return keras.models.Model([a, b], [L.Dense(2, name="one")(h), L.Dense(1, activation="sigmoid", name="two")(h)], name="net")


def rs_of(name):
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


def cases(fixtures):
    """(name, model builder, optimizer builder, compile options, integers below)"""
    for i, (name, case) in enumerate(layer_cases(fixtures)):
        kind = OPTIMIZERS[i % len(OPTIMIZERS)]
        ints = case["config"].get("input_dim") if case["class_name"] == "Embedding" else None
        yield "layer_" + name, lambda c=case: layer_model(c), lambda k=kind: optimizer(k), dict(loss="mse"), ints
    for kind in OPTIMIZERS:
        yield "optimizer_" + kind, plain, lambda k=kind: optimizer(k), dict(loss="mse", metrics=["mae"]), None
    yield "optimizer_momentum", plain, lambda: optimizer("SGD", momentum=0.9, nesterov=True, decay=0.1), dict(loss="mae"), None
    yield "optimizer_decay", plain, lambda: optimizer("Adam", decay=0.1), dict(loss="mse"), None
    yield "optimizer_amsgrad", plain, lambda: optimizer("Adam", amsgrad=True), dict(loss="mse"), None
    yield "optimizer_clipvalue", plain, lambda: optimizer("RMSprop", clipvalue=0.01), dict(loss="mse"), None
    yield "nested", nested, lambda: optimizer("Adam"), dict(
        loss={"one": "mse", "two": "binary_crossentropy"}, loss_weights={"one": 0.5, "two": 2.0}, metrics={"two": "accuracy"}), None


def listed(value):
    return value if isinstance(value, list) else [value]


def optimizer_state(model):
    return [np.asarray(v) for v in model.optimizer.get_weights()]


def weight_values(model):
    """Layer by layer, what learns first, as files have it: tf.keras lists the weights of a nested model otherwise."""
    return [K.get_value(w) for layer in model.layers for w in layer.trainable_weights + layer.non_trainable_weights]


def compile_(model, made, options):
    model.compile(made, **options)


def weights_of(model, rs):
    values = []
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.7, 0.7)
        values.append(rs.uniform(low, high, K.int_shape(weight)).astype("float32"))
    for weight, value in zip(model.weights, values):
        K.set_value(weight, value)


def make(fixtures, out):
    names = []
    for name, build, made, options, ints in cases(fixtures):
        fresh()
        rs = rs_of(name)
        try:
            model = build()
        except Exception as error:
            # An argument of Keras 2 that tf.keras does not take: said, not hidden.
            if not TF:
                raise
            print("left out: %s: %s" % (name, str(error).splitlines()[0]))
            continue
        weights_of(model, rs)
        # Half of the samples have masked steps where the layer takes masks.
        x = []
        for tensor in model.inputs:
            shape = (6,) + tuple(d or 3 for d in K.int_shape(tensor)[1:])
            x.append(rs.randint(0, ints, shape).astype("int32") if ints else rs.uniform(-1, 1, shape).astype("float32"))
        compile_(model, made(), options)
        out_ = listed(model.predict(x if len(x) > 1 else x[0], verbose=0))
        low = 0 if len(out_) > 1 else -1
        y = [rs.randint(0, 2, o.shape).astype("float32") if low == 0 else rs.uniform(-1, 1, o.shape).astype("float32") for o in out_]
        feed = (x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])
        step(model, *feed)
        arrays = {}
        arrays.update(("x_%d" % i, v) for i, v in enumerate(x))
        arrays.update(("y_%d" % i, v) for i, v in enumerate(y))
        arrays.update(("out_%d" % i, v) for i, v in enumerate(listed(model.predict(feed[0], verbose=0))))
        path = os.path.join(out, name)
        model.save(path + ".h5")
        step(model, *feed)
        step(model, *feed)
        arrays.update(("w_%d" % i, v) for i, v in enumerate(weight_values(model)))
        arrays.update(("o_%d" % i, v) for i, v in enumerate(optimizer_state(model)))
        np.savez(path + ".npz", **arrays)
        names.append(name)
    with open(os.path.join(out, "cases.json"), "w") as file:
        json.dump(names, file)


def string_type(kind):
    if kind.get_class() != h5py.h5t.STRING:
        return str(kind.dtype)
    pad = {0: "NULLTERM", 1: "NULLPAD", 2: "SPACEPAD"}[kind.get_strpad()]
    size = "variable" if kind.is_variable_str() else kind.get_size()
    return "string %s %s %s" % (size, pad, {0: "ASCII", 1: "UTF-8"}[kind.get_cset()])


def dump(path):
    """Every attribute with its type and shape, every data set, every name; values of the lists of names."""
    lines = []

    def attributes(name, node):
        for key in sorted(node.attrs):
            attribute = h5py.h5a.open(node.id, key.encode())
            shape = attribute.get_space().get_simple_extent_dims()
            value = node.attrs[key]
            shown = [v.decode() if isinstance(v, bytes) else v for v in value.tolist()] if hasattr(value, "tolist") else ""
            # tf.keras writes the arguments of its own classes, as docs/files.md says.
            if key == "training_config" and not TF:
                shown = json.loads(value)
            lines.append("%s @%s %s %s %s" % (name, key, string_type(attribute.get_type()), shape, json.dumps(shown, sort_keys=True)))

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            lines.append("%s %s %s layout %s" % (name, node.dtype, node.shape, node.id.get_create_plist().get_layout()))
        else:
            lines.append(name)
        attributes(name, node)

    with h5py.File(path, "r") as file:
        attributes("/", file)
        file.visititems(visit)
    return lines


def config_of(path, key):
    with h5py.File(path, "r") as file:
        text = file.attrs[key]
        return json.loads(text.decode() if isinstance(text, bytes) else text)


def check(fixtures, out):
    wrong = []
    with open(os.path.join(out, "cases.json")) as file:
        wanted = set(json.load(file))
    tolerance = dict(predict=1e-5, train=1e-4)

    def compare(name, what, ours, theirs, kind):
        if len(ours) != len(theirs):
            wrong.append([name, "%s: %d arrays instead of %d" % (what, len(ours), len(theirs))])
            return
        for i, (a, b) in enumerate(zip(ours, theirs)):
            if np.shape(a) != np.shape(b):
                wrong.append([name, "%s %d: shape %s instead of %s" % (what, i, np.shape(a), np.shape(b))])
            elif np.size(a) and not np.max(np.abs(np.asarray(a, "float64") - b)) <= tolerance[kind]:
                wrong.append([name, "%s %d differs by %g" % (what, i, np.max(np.abs(np.asarray(a, "float64") - b)))])

    for name, build, made, options, ints in cases(fixtures):
        if name not in wanted:
            continue
        fresh()
        path = os.path.join(out, name)
        data = np.load(path + ".npz")
        many = lambda key: [data["%s_%d" % (key, i)] for i in range(len([k for k in data.files if k.startswith(key + "_")]))]
        x, y = many("x"), many("y")
        feed = (x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                model = keras.models.load_model(path + ".ours.h5")
                if any("Keras" not in str(w.message) and "optimizer" in str(w.message) for w in said):
                    wrong.append([name, "warned: %s" % [str(w.message)[:200] for w in said]])
            compare(name, "prediction", listed(model.predict(feed[0], verbose=0)), many("out"), "predict")
            step(model, *feed)
            step(model, *feed)
            compare(name, "weight after steps in Keras", weight_values(model), many("w"), "train")
            compare(name, "optimizer after steps in Keras", optimizer_state(model), many("o"), "train")
            fresh()
            model = keras.models.load_model(path + ".trained.h5")
            compare(name, "weight after steps here", weight_values(model), many("w"), "train")
            if not TF:
                model._make_train_function()
            compare(name, "optimizer after steps here", optimizer_state(model), many("o"), "train")
        except Exception as error:
            wrong.append([name, "%s: %s" % (type(error).__name__, str(error)[:300])])
            continue
        theirs, ours = dump(path + ".h5"), dump(path + ".ours.h5")
        # Documented: our own state.
        ours = [line for line in ours if " @keras_rs_state " not in line]
        if theirs != ours:
            only = ["- " + l for l in theirs if l not in ours] + ["+ " + l for l in ours if l not in theirs]
            wrong.append([name, "the file's structure: " + "\n".join(only[:6])])
        if not TF and config_of(path + ".h5", "model_config") != config_of(path + ".ours.h5", "model_config"):
            wrong.append([name, "model_config"])
    with open(os.path.join(out, "report.json"), "w") as file:
        json.dump(wrong, file, indent=1)


def later(fixtures, out):
    """A layer of each class, every optimizer. Whether tf.keras takes a case at all, the file of Keras 2.3.1 says."""
    wrong, read, first = [], 0, set()
    with open(os.path.join(out, "cases.json")) as file:
        names = json.load(file)
    classes = {"layer_" + name: case["class_name"] for name, case in layer_cases(fixtures)}
    for name in names:
        if name in classes and (classes[name] in first or first.add(classes[name])):
            continue
        data = np.load(os.path.join(out, name + ".npz"))
        x = [data[key] for key in sorted(data.files) if key.startswith("x_")]

        def opened(path):
            fresh()
            with warnings.catch_warnings(record=True) as said, logged() as log:
                warnings.simplefilter("always")
                model = keras.models.load_model(path)
            told = [str(w.message) for w in said] + log
            # Of h5py's and of the format, about every .h5.
            told = [line for line in told if "legacy" not in line or "optimizer" in line]
            return listed(model.predict(x if len(x) > 1 else x[0], verbose=0)), model.optimizer.variables(), told

        try:
            expected, state, told_of_theirs = opened(os.path.join(out, name + ".h5"))
        except Exception as error:
            print("left out: %s, as Keras wrote it: %s" % (name, " ".join(str(error).split())[:120]))
            continue
        try:
            predictions, ours, told = opened(os.path.join(out, name + ".ours.h5"))
        except Exception as error:
            wrong.append([name, "%s: %s" % (type(error).__name__, str(error)[:300])])
            continue
        read += 1
        plain_sgd = any("optimizer" in line for line in told) and "SGD" in json.dumps(config_of(os.path.join(out, name + ".h5"), "training_config"))
        if told and not plain_sgd:
            wrong.append([name, "warned: %s" % told])
        for what, ours, theirs in (("prediction", predictions, expected), ("state of the optimizer", ours, state)):
            if len(ours) != len(theirs) or any(np.max(np.abs(np.asarray(a, "float64") - b), initial=0) > 1e-5 for a, b in zip(ours, theirs)):
                wrong.append([name, what])
    print("%d files read" % read)
    with open(os.path.join(out, "report.json"), "w") as file:
        json.dump(wrong, file, indent=1)


class logged(object):
    """What TensorFlow's logger says meanwhile, as a list."""

    def __enter__(self):
        import logging
        lines = []

        class Handler(logging.Handler):
            def emit(self, record):
                lines.append(record.getMessage())

        self.handler = Handler(logging.WARNING)
        tf.get_logger().addHandler(self.handler)
        return lines

    def __exit__(self, *_):
        tf.get_logger().removeHandler(self.handler)


def long(_, out):
    file = lambda name: os.path.join(out, name)
    fresh()
    model = keras.models.load_model(file("ours.h5"))
    np.save(file("prediction.npy"), model.predict(np.load(file("x.npy"))))
    model.save(file("theirs.h5"))
    K.batch_set_value([(weight, np.zeros(K.int_shape(weight))) for weight in model.weights])
    model.load_weights(file("ours_weights.h5"))
    model.save_weights(file("theirs_weights.h5"))
    config = model.get_config()
    fresh()
    with open(file("ours.yaml")) as text:
        assert keras.models.model_from_yaml(text.read()).get_config() == config


{"make": make, "check": check, "later": later, "long": long}[sys.argv[1]](sys.argv[2], sys.argv[3])
