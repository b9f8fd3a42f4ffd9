"""Files between real Keras and this library, in both directions. Runs in Keras 2.3.1 (Python 3.6) and tf.keras 2.15 (3.11).

    files.py make FIXTURES OUT      writes OUT/CASE.h5, OUT/CASE.theirs_weights.h5 and OUT/CASE.npz for every case, OUT/cases.json:
                                    their names
    files.py check FIXTURES OUT     reads OUT/CASE.ours.h5 (our copy of CASE.h5), OUT/CASE.ours_weights.h5 (its weights alone) and
                                    OUT/CASE.trained.h5 (ours after two further steps), writes OUT/report.json: a list of
                                    [case, what differs]
    files.py later FIXTURES OUT     in tf.keras 2.15, of what Keras 2.3.1 made and we wrote in OUT: CASE.ours.h5 is read, without a
                                    warning, as CASE.h5 is; writes OUT/report.json
    files.py long FIXTURES OUT      reads OUT/ours.h5, OUT/ours_weights.h5 and in Keras 2.3.1 OUT/ours.yaml, of one model; writes
                                    OUT/theirs.h5, OUT/theirs_weights.h5 and OUT/prediction.npy, for the input OUT/x.npy

A case is a layer of the fixtures between its inputs and a Dense for each of its results, a graph of operations_2_15.json between
layers, or one of the models below; compiled, trained for a step, saved, then trained for two further steps. CASE.npz: x_I, y_I;
out_I (predictions at the time of saving); w_I, o_I (weights and optimizer state after the further steps, unless they are random).
"""
import collections
import gc
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

# Graphs are many objects, and most of them stay.
gc.set_threshold(100000, 50, 100)
TF = tf.__version__.startswith("2.")
if TF:
    keras = tf.keras
    # Tracing a function costs more than to run it three times, and so does making its operations anew for each case.
    tf.config.run_functions_eagerly(True)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
else:
    import keras
    from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
    from tensorflow.python.util import deprecation
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    # Looking for outdated arguments takes a tenth of the time, optimizing graphs that run three times a third.
    deprecation._PRINT_DEPRECATION_WARNINGS = False
    GRAPH = tf.GraphOptions(rewrite_options=RewriterConfig(disable_meta_optimizer=True), optimizer_options=tf.OptimizerOptions(opt_level=-1))
    SESSION = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, graph_options=GRAPH)
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

    # cuDNN computes on GPUs alone: its formulas on the weights of Keras's layers, step by step.
    def _by_steps(step):
        def process_batch(self, inputs, initial_state):
            last, outputs, states = K.rnn(lambda x, states: step(self, x, *states), inputs, initial_state)
            return outputs if self.return_sequences else last, list(states)
        return process_batch

    def _lstm_step(self, x, h, c):
        of_input, of_state = tf.split(self.bias, 2)
        i, f, new, o = tf.split(K.dot(x, self.kernel) + of_input + K.dot(h, self.recurrent_kernel) + of_state, 4, axis=1)
        c = K.sigmoid(f) * c + K.sigmoid(i) * K.tanh(new)
        h = K.sigmoid(o) * K.tanh(c)
        return h, [h, c]

    def _gru_step(self, x, h):
        of_input, of_state = tf.split(self.bias, 2)
        z, r, new = tf.split(K.dot(x, self.kernel) + of_input, 3, axis=1)
        z_of, r_of, new_of = tf.split(K.dot(h, self.recurrent_kernel) + of_state, 3, axis=1)
        z = K.sigmoid(z + z_of)
        h = z * h + (1 - z) * K.tanh(new + K.sigmoid(r + r_of) * new_of)
        return h, [h]

    keras.layers.CuDNNLSTM._process_batch = _by_steps(_lstm_step)
    keras.layers.CuDNNGRU._process_batch = _by_steps(_gru_step)


def targets(model, y):
    """Nested as the outputs are."""
    return tf.nest.pack_sequence_as(model.output, [tf.constant(value) for value in y])


def step(model, x, y):
    if TF:
        # What train_on_batch does with a batch once it is one.
        model.train_step((one(x), targets(model, y)))
        return
    model.train_on_batch(one(x), one(y))
    iterations = model.optimizer.iterations
    iterations.load(K.get_value(iterations) + 1, K.get_session())


def evaluated(model, x, y):
    """The loss and the metrics."""
    if TF:
        model.reset_metrics()
        return list(model.test_step((one(x), targets(model, y))).values())
    return model.test_on_batch(one(x), one(y))


def predicted(model, x):
    y = model(one(x), training=False) if TF else model.predict_on_batch(one(x))
    return [np.asarray(value) for value in (tf.nest.flatten(y) if TF else y if isinstance(y, (list, tuple)) else [y])]


def forget(model, x):
    """Resets states. In Keras 2.3.1 layers whose states are given have none to reset, and fail."""
    if TF or len(x) == 1:
        model.reset_states()


def one(values):
    return values if len(values) > 1 else values[0]


def fresh():
    if TF:
        K.reset_uids()
    else:
        K.clear_session()
        tf.compat.v1.set_random_seed(0)
        K.set_session(tf.Session(config=SESSION))


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
RATES = ["rate", "stddev", "dropout", "recurrent_dropout"]
OLDER = ["layers_2_3_1", "recurrent_2_3_1"]
FILES = collections.OrderedDict([(file, "layer_") for file in OLDER] + [("layers_2_15", "later_")])
# Of each class; a case takes Keras 2.3.1, which builds graphs, three times as long.
MOST = 12 if TF else 6
LEFT_OUT = collections.Counter()


def wrapped(config):
    return [config[key]["config"] for key in ["layer", "cell"] if key in config]


def is_random(config):
    return any(config.get(rate) for rate in RATES) or any(map(is_random, wrapped(config)))


def why_not(case, mask):
    """Why a case is left out; `mask` is the rank of its first result's mask."""
    name, text, masked = case["class_name"], json.dumps(case), case["input_masks"][0]
    reasons = [
        ("ConstantCell" in text, "a cell of the script that made the case"),
        (TF and "CuDNN" in text, "tf.keras 2 has no such layer"),
        (case["name"] == "lstm_exponential", "grows beyond all bounds"),
        ("float64" in text, "Keras 2.3.1 does not mix single and double precision"),
        ('"recurrent_initializer": {"class_name": "Identity"' in text, "Keras 2.3.1 cannot read what it writes of a cell with it"),
        (name == "ConvLSTM2D" and masked, "no layer masks steps of images"),
        (not TF and name == "ConvLSTM2D" and len(case["input_shapes"]) > 1, "Keras 2.3.1 takes no tensors of its own as its states"),
        (not TF and name == "Bidirectional" and case["config"]["layer"]["config"].get("stateful"), "Keras 2.3.1 forgets its states in predict"),
        ("CuDNN" in name and case["config"]["stateful"] and case["config"]["go_backwards"], "Keras 2.3.1 never updates these states"),
        (not TF and mask > 2, "losses of Keras 2.3.1 take no masks within steps"),
        (TF and name == "Softmax" and masked, "tf.keras's Softmax takes no masks of another rank"),
        (TF and not hasattr(L, name), "tf.keras has no such layer"),
    ]
    return next((reason for holds, reason in reasons if holds), None)


def shown(case, first):
    """What a case shows of its class: each option's value (of numbers whether it is the first case's) and how it is called."""
    items = {(key, str(case.get(key))) for key in ["input_dtypes", "input_masks", "outputs", "arguments"]}
    items.add(("shapes", tuple((len(shape), shape[0] is None) for shape in case["input_shapes"])))

    def add(config, first, within=""):
        for key, value in config.items():
            if isinstance(value, dict) and "class_name" in value:
                items.add((within + key, value["class_name"]))
            elif key != "name":
                named = value is None or isinstance(value, (bool, str))
                items.add((within + key, value if named else value == first.get(key)))
        for inner in wrapped(config):
            add(inner, {}, within + "inner ")

    add(case["config"], first)
    return items


def cases_in(fixtures, file):
    with open(os.path.join(fixtures, file + ".json")) as text:
        # MinimalRNNCell is of the script that made the cases; a SimpleRNNCell has the same states.
        return json.loads(text.read().replace("MinimalRNNCell", "SimpleRNNCell"))["cases"]


def layer_cases(fixtures):
    """(name, case) of enough cases, at most MOST, that each value of each option of each class is shown."""
    classes = {}
    for file in FILES if TF else OLDER:
        arrays = np.load(os.path.join(fixtures, file + ".npz"))
        for case in cases_in(fixtures, file):
            reason = why_not(case, arrays[case["name"] + "/output_mask_0"].ndim if case["output_masks"][0] else 0)
            if reason:
                LEFT_OUT[reason] += 1
            else:
                classes.setdefault(case["class_name"], []).append((FILES[file] + case["name"], case))
    for name in sorted(classes):
        left, seen = classes[name], set()
        first = left[0][1]["config"]
        if name in RANDOM:
            yield left[0][0] + "_still", dict(left[0][1], config={key: 0.0 if key in RATES else value for key, value in first.items()})
        for _ in range(MOST):
            best = max(left, key=lambda item: len(shown(item[1], first) - seen))
            new = shown(best[1], first) - seen
            if not new:
                break
            seen |= new
            yield best


def layer_model(case):
    feeds = [keras.Input(batch_shape=tuple(shape), dtype=dtype, name="x%d" % i)
             for i, (shape, dtype) in enumerate(zip(case["input_shapes"], case["input_dtypes"]))]
    inputs = [L.Masking(name="masked%d" % i)(x) if masked else x for i, (x, masked) in enumerate(zip(feeds, case["input_masks"]))]
    layer = L.deserialize({"class_name": case["class_name"], "config": dict(case["config"])})
    if TF and len(inputs) > 1 and isinstance(getattr(layer, "cell", None), L.StackedRNNCells):
        inputs[1:] = tf.nest.pack_sequence_as(layer.cell.state_size, inputs[1:])
    many = inputs if case["class_name"] == "MultiHeadAttention" else [one(inputs)]
    return headed(feeds, layer(*many, **case.get("arguments", {})))


def headed(feeds, results):
    """A Dense for each result that has a length for it."""
    heads = [L.Dense(2, name="head%d" % i)(y) if K.ndim(y) > 1 and K.int_shape(y)[-1] else y for i, y in enumerate(tf.nest.flatten(results))]
    return keras.models.Model(feeds, one(heads))


def operation_model(case, has_gradient):
    """A Dense in front of the first input, unless the results do not depend on it smoothly."""
    case = json.loads(json.dumps(case["model"]))

    def moved(value):
        if isinstance(value, list):
            return ["front", 0, 0] + value[3:] if value[:3] == ["input_1", 0, 0] else list(map(moved, value))
        return {key: moved(item) for key, item in value.items()} if isinstance(value, dict) else value

    if has_gradient:
        layers = case["config"]["layers"]
        for layer in layers:
            layer["inbound_nodes"] = moved(layer["inbound_nodes"])
        # Where a bias makes no difference, its gradient is rounding errors, which Adam scales up.
        front = dict(name="front", units=3, use_bias=False)
        layers.append({"class_name": "Dense", "config": front, "name": "front", "inbound_nodes": [[["input_1", 0, 0, {}]]]})
    model = keras.models.model_from_json(json.dumps(case))
    return headed(model.inputs, model.outputs)


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


def classified(activation="softmax"):
    return keras.models.Sequential([L.Dense(4, activation="tanh", input_shape=(5,)), L.Dense(3, activation=activation)])


# What stands between a softmax and its crossentropy, or in front: the classes are not its last axis, a transpose, an operation.
ALONG = {
    "axis": lambda x: L.Softmax(axis=1)(x),
    "axis_behind_permute": lambda x: L.Softmax(axis=1)(L.Permute((2, 1))(x)),
    "permute_behind_axis": lambda x: L.Permute((2, 1))(L.Softmax(axis=1)(x)),
    "permutes_around": lambda x: L.Permute((2, 1))(L.Softmax()(L.Permute((2, 1))(x))),
    "operation": lambda x: tf.nn.softmax(x),
}


def classified_along(ending):
    x = keras.Input((5, 3))
    return keras.Model(x, ending(L.Conv1D(4, 2)(x)))


def masked_attention():
    """Who attends to whom is an input."""
    x, m = keras.Input((4, 3), name="x"), keras.Input((4, 4), dtype="int32", name="m")
    return headed([x, m], L.MultiHeadAttention(2, 3, use_bias=False)(x, x, attention_mask=m))


# Layers that cast whole numbers, and those that keep them.
WHOLE = {
    "dense": ((4,), lambda: L.Dense(3, activation="relu")),
    "batch_normalization": ((4, 4, 2), lambda: L.BatchNormalization()),
    "layer_normalization": ((4,), lambda: L.LayerNormalization()),
    "unit_normalization": ((4,), lambda: L.UnitNormalization()),
    "leaky_relu": ((4,), lambda: L.LeakyReLU()),
    "bilinear": ((2, 2, 3), lambda: L.UpSampling2D(interpolation="bilinear")),
    "time_distributed": ((5, 3), lambda: L.TimeDistributed(L.Dense(2))),
    "average": ((4, 2), lambda: L.GlobalAveragePooling1D()),
    "max_pooling": ((4, 2), lambda: L.MaxPooling1D()),
}


def whole_numbers(shape, layer):
    x = keras.Input(shape, dtype="int32")
    return headed([x], layer()(x))


def given_masks():
    """Masks that calls are given; they travel on."""
    x, m, n = keras.Input((4, 3), name="x"), keras.Input((4,), dtype="bool", name="m"), keras.Input((4,), dtype="bool", name="n")
    h = L.GRU(3, return_sequences=True)(L.Bidirectional(L.LSTM(2, return_sequences=True))(x, mask=m))
    return headed([x, m, n], [L.LSTM(2)(h, mask=n), L.LSTM(2)(h), L.Dense(1)(L.Softmax(axis=1)(x, mask=K.expand_dims(m)))])


def dictionaries():
    """Inputs and outputs whose keys are in another order than they are said, and are not the layers' names."""
    b, a = keras.Input((3,), name="first"), keras.Input((4,), name="second")
    h = L.Dense(4, activation="tanh")(b)
    return keras.Model({"b": b, "a": a}, {"q": L.Dense(2, name="d")(h), "p": L.Dense(1, name="e")(L.add([a, h]))}, name="net")


def lists_in_lists():
    x, z = keras.Input((3,)), keras.Input((4,))
    return keras.Model([x, [z]], [[L.Dense(2)(z)], L.Dense(1)(x)])


def dictionary_of_one_layer():
    x, z, shared = keras.Input((3,)), keras.Input((3,)), L.Dense(2)
    return keras.Model([x, z], {"p": shared(x), "q": shared(z)})


def called_on_a_dictionary():
    x, z = keras.Input((3,)), keras.Input((4,))
    return headed([x, z], dictionaries()({"a": z, "b": x}))


def rs_of(name):
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


# How many samples there are, whether they are integers and below what, which inputs are masked, whether training is random.
Case = collections.namedtuple("Case", "name build optimizer options batch below masks random")


def cases(fixtures):
    def case(name, build, optimizer, options=dict(loss="mse"), batch=6, below=None, masks=(), random=False):
        return Case(name, build, optimizer, options, batch, below, masks, random)

    count = 0
    for name, layer in layer_cases(fixtures):
        # The gradient of the bias of an attention's keys, or in front of a softmax over pixels, is rounding errors alone.
        config = layer["config"]
        vain = layer["class_name"] == "MultiHeadAttention" or (config.get("data_format"), config.get("activation")) == ("channels_first", "softmax")
        kind = "SGD" if vain else OPTIMIZERS[count % len(OPTIMIZERS)]
        indices = [inner["input_dim"] for inner in [config] + wrapped(config) if "embeddings_initializer" in inner]
        yield case(name, lambda c=layer: layer_model(c), lambda k=kind: optimizer(k), batch=layer["input_shapes"][0][0] or 6,
                   below=max(indices or [None]), masks=layer["input_masks"], random=is_random(config))
        count += 1
    if TF:
        with open(os.path.join(fixtures, "operations_2_15.json")) as text:
            found = json.load(text)["cases"]
        recorded = set(np.load(os.path.join(fixtures, "operations_2_15.npz")).files)
        for graph in found:
            kind, gradient = OPTIMIZERS[count % len(OPTIMIZERS)], graph["name"] + "/grad_input_0" in recorded
            yield case("operation_" + graph["name"], lambda g=graph, d=gradient: operation_model(g, d), lambda k=kind: optimizer(k), batch=2)
            count += 1
        for name, (shape, layer) in WHOLE.items():
            yield case("whole_" + name, lambda s=shape, l=layer: whole_numbers(s, l), lambda: optimizer("Adam"))
        yield case("given_masks", given_masks, lambda: optimizer("Adam"), below=2)
        yield case("dictionaries", dictionaries, lambda: optimizer("Adam"), dict(
            loss={"q": "mse", "p": "mae"}, loss_weights={"q": 1.0, "p": 2.0}, metrics={"q": ["mae"]}))
        yield case("lists_in_lists", lists_in_lists, lambda: optimizer("Adam"), dict(loss=[["mse"], "mae"], metrics=["mae"]))
        yield case("dictionary_of_one_layer", dictionary_of_one_layer, lambda: optimizer("Adam"), dict(
            loss={"p": "mse", "q": "mae"}, loss_weights={"q": 3.0}))
        yield case("called_on_a_dictionary", called_on_a_dictionary, lambda: optimizer("Adam"))
        yield case("attention_mask", masked_attention, lambda: optimizer("Adam"), below=2)
        for name, ending in ALONG.items():
            yield case("crossentropy_along_" + name, lambda e=ending: classified_along(e), lambda: optimizer("SGD"), dict(
                loss="binary_crossentropy", metrics=["categorical_crossentropy", "binary_crossentropy"]))
        M = keras.metrics
        yield case("metrics", classified, lambda: optimizer("Adam"), dict(
            loss=keras.losses.CategoricalCrossentropy(), metrics=[M.AUC(), M.MeanIoU(2), M.CategoricalCrossentropy(), M.CosineSimilarity(), M.Precision()]))
    for activation in ["softmax", "sigmoid"]:
        for loss in ["categorical_crossentropy", "binary_crossentropy"]:
            yield case("%s_of_%s" % (loss, activation), lambda a=activation: classified(a), lambda: optimizer("Adam"), dict(
                loss=loss, metrics=["categorical_crossentropy", "binary_crossentropy"]))
    for kind in OPTIMIZERS:
        yield case("optimizer_" + kind, plain, lambda k=kind: optimizer(k), dict(loss="mse", metrics=["mae"]))
    yield case("optimizer_momentum", plain, lambda: optimizer("SGD", momentum=0.9, nesterov=True, decay=0.1), dict(loss="mae"))
    yield case("optimizer_decay", plain, lambda: optimizer("Adam", decay=0.1))
    yield case("optimizer_amsgrad", plain, lambda: optimizer("Adam", amsgrad=True))
    # All gradients together, as Keras 2 clips.
    yield case("optimizer_clipnorm", plain, lambda: optimizer("Adam", **{"global_clipnorm" if TF else "clipnorm": 0.05}))
    yield case("optimizer_clipvalue", plain, lambda: optimizer("RMSprop", clipvalue=0.01))
    yield case("nested", nested, lambda: optimizer("Adam"), dict(
        loss={"one": "mse", "two": "binary_crossentropy"}, loss_weights={"one": 0.5, "two": 2.0}, metrics={"two": "accuracy"}))


def optimizer_state(model):
    return [np.asarray(v) for v in model.optimizer.get_weights()]


def weight_values(model):
    """Layer by layer, what learns first, as files have it: tf.keras lists the weights of a nested model otherwise."""
    return K.batch_get_value([w for layer in model.layers for w in layer.trainable_weights + layer.non_trainable_weights])


def set_weights(model, rs):
    values = []
    for weight in model.weights:
        low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.7, 0.7)
        values.append(rs.uniform(low, high, K.int_shape(weight)).astype(K.dtype(weight)))
    if not TF:
        session = K.get_session()
        initializers = [weight.initializer for weight in model.weights]
        session.run(initializers, {op.inputs[1]: value for op, value in zip(initializers, values)})
        return
    K.batch_set_value(zip(model.weights, values))
    for layer in model.layers:
        # Normalization works with what it made of its weights.
        layer.finalize_state()


def inputs_of(case, model, rs):
    x, masks = [], list(case.masks) + [False] * len(model.inputs)
    for tensor, masked in zip(model.inputs, masks):
        shape = (case.batch,) + tuple(d or 3 for d in K.int_shape(tensor)[1:])
        if case.below or "int" in K.dtype(tensor):
            x.append(rs.randint(0, case.below or 5, shape).astype(K.dtype(tensor)))
            continue
        x.append(rs.uniform(-1, 1, shape).astype("float32"))
        if masked:
            gone = rs.uniform(size=shape[:-1]) < 0.4
            # Each sequence keeps a step: a softmax over none is rounding errors.
            gone[..., 0] = False
            x[-1][gone] = 0
    return x


def recorded(case, path):
    """Makes and trains a case's model, saves it on the way."""
    rs = rs_of(case.name)
    model = case.build()
    model.compile(case.optimizer(), **case.options)
    if not TF:
        # A graph that is whole before it first runs is copied less often.
        model._make_train_function()
        model._make_predict_function()
    set_weights(model, rs)
    x = inputs_of(case, model, rs)
    results = predicted(model, x)
    y = [(rs.randint(0, 2, o.shape) if len(results) > 1 else rs.uniform(-1, 1, o.shape)).astype("float32") for o in results]
    step(model, x, y)
    forget(model, x)
    arrays = dict(x=x, y=y, out=predicted(model, x))
    model.save(path + ".h5")
    model.save_weights(path + ".theirs_weights.h5")
    if "metrics" in case.options:
        arrays["e"] = [np.array(value, "float32") for value in evaluated(model, x, y)]
    if not case.random:
        step(model, x, y)
        step(model, x, y)
        arrays.update(w=weight_values(model), o=optimizer_state(model))
    assert all(np.isfinite(value).all() for values in arrays.values() for value in values)
    np.savez(path + ".npz", **{"%s_%d" % (key, i): value for key, values in arrays.items() for i, value in enumerate(values)})


def make(fixtures, out):
    names = []
    for case in cases(fixtures):
        fresh()
        try:
            recorded(case, os.path.join(out, case.name))
        except Exception:
            sys.stderr.write("%s failed\n" % case.name)
            raise
        names.append(case.name)
    print("%d files, left out: %s" % (len(names), ", ".join("%d (%s)" % (count, reason) for reason, count in LEFT_OUT.items())))
    with open(os.path.join(out, "cases.json"), "w") as file:
        json.dump(names, file)


def string_type(kind):
    if kind.get_class() != h5py.h5t.STRING:
        return str(kind.dtype)
    pad = {0: "NULLTERM", 1: "NULLPAD", 2: "SPACEPAD"}[kind.get_strpad()]
    size = "variable" if kind.is_variable_str() else kind.get_size()
    return "string %s %s %s" % (size, pad, {0: "ASCII", 1: "UTF-8"}[kind.get_cset()])


def comparable(config):
    """A training config of tf.keras without what docs/files.md lists: numbers of single precision, arguments of its own classes,
    and how it lists metrics and weights of outputs that have none."""
    def bare(value):
        if isinstance(value, list):
            return [] if value == [None] else list(map(bare, value))
        if isinstance(value, dict) and value.get("class_name", "MeanMetricWrapper") != "MeanMetricWrapper":
            return dict(class_name=value["class_name"], config=dict(name=value["config"]["name"]))
        return value

    options = config["optimizer_config"]["config"]
    options.pop("initial_accumulator_value", None)
    options["decay"] = round(options["decay"], 6)
    for key in ("loss", "metrics", "weighted_metrics", "loss_weights"):
        value = config[key]
        if key.endswith("metrics") and isinstance(value, dict):
            value = [value[name] for name in sorted(value)]
        if key == "loss_weights" and isinstance(value, dict):
            value = {name: weight for name, weight in value.items() if weight != 1}
        config[key] = bare(value)
    return config


def dump(path):
    """Every attribute with its type and shape, every data set, every name; values of the lists of names."""
    lines = []

    def attributes(name, node):
        for key in sorted(node.attrs):
            attribute = h5py.h5a.open(node.id, key.encode())
            shape = attribute.get_space().get_simple_extent_dims()
            value = node.attrs[key]
            shown = [v.decode() if isinstance(v, bytes) else v for v in value.tolist()] if hasattr(value, "tolist") else ""
            if key == "training_config":
                shown = json.loads(value)
                shown = comparable(shown) if TF else shown
            elif key in ("keras_version", "backend"):
                shown = value.decode() if isinstance(value, bytes) else value
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


def connections(config):
    """The calls of a functional model, without arguments that are null."""
    if "input_layers" not in config:
        return []
    found = {layer["name"]: layer["inbound_nodes"] for layer in config["layers"]}
    found.update((key, config[key]) for key in ["input_layers", "output_layers"])
    return sorted(json.loads(json.dumps(found), object_hook=lambda d: {k: v for k, v in d.items() if v is not None}).items())


def saved_values(path):
    """The weights and the optimizer's state in a file."""
    def listed(group):
        return [group[name][()] for name in group.attrs["weight_names"]]

    with h5py.File(path, "r") as file:
        layers = file["model_weights"]
        weights = [value for name in layers.attrs["layer_names"] for value in listed(layers[name])]
        return weights, listed(file["optimizer_weights"])


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

    def went_through(name, random):
        path = os.path.join(out, name)
        data = np.load(path + ".npz")
        x, y, expected, weights, state = (
            [data["%s_%d" % (key, i)] for i in range(len([k for k in data.files if k.startswith(key + "_")]))] for key in ["x", "y", "out", "w", "o"])
        fresh()
        with warnings.catch_warnings(record=True) as said, logged() as log:
            warnings.simplefilter("always")
            model = keras.models.load_model(path + ".ours.h5")
        told = [line for line in [str(w.message) for w in said] + log if "Keras" not in line and "optimizer" in line]
        if told:
            wrong.append([name, "warned: %s" % [line[:200] for line in told]])
        compare(name, "prediction", predicted(model, x), expected, "predict")
        read_texts(name, path)
        if not random:
            step(model, x, y)
            step(model, x, y)
            compare(name, "weight after steps in Keras", weight_values(model), weights, "train")
            compare(name, "optimizer after steps in Keras", optimizer_state(model), state, "train")
            # Of the same form as the copy, which Keras has just read: its numbers say the rest.
            ours = saved_values(path + ".trained.h5")
            compare(name, "weight after steps here", ours[0], weights, "train")
            compare(name, "optimizer after steps here", ours[1], state, "train")
        if name.startswith("optimizer_"):
            keras.models.load_model(path + ".trained.h5").save(path + ".again.h5")
        K.batch_set_value([(weight, np.zeros(K.int_shape(weight))) for weight in model.weights])
        model.load_weights(path + ".ours_weights.h5")
        forget(model, x)
        compare(name, "prediction by weights alone", predicted(model, x), expected, "predict")

    def read_texts(name, path):
        """They hold the config that Keras has just read from HDF5; it reads a few of them itself."""
        of_file = config_of(path + ".ours.h5", "model_config")
        readers = [(".ours.json", json.loads, keras.models.model_from_json)]
        if not TF:
            import yaml
            readers.append((".ours.yaml", lambda text: yaml.load(text, Loader=yaml.FullLoader), keras.models.model_from_yaml))
        for ending, parse, read in readers:
            with open(path + ending) as file:
                text = file.read()
            # YAML has tuples.
            if any(json.loads(json.dumps(parse(text)[key])) != of_file[key] for key in ("class_name", "config")):
                wrong.append([name, "another config in %s than in the HDF5 file" % ending])
            if name.startswith(("optimizer_", "nested")):
                read(text)

    for case in cases(fixtures):
        if case.name not in wanted:
            continue
        try:
            went_through(case.name, case.random)
        except Exception as error:
            wrong.append([case.name, "%s: %s" % (type(error).__name__, str(error)[:300])])
            continue
        path = os.path.join(out, case.name)
        for what, theirs, ours in (("file", ".h5", ".ours.h5"), ("file of weights", ".theirs_weights.h5", ".ours_weights.h5")):
            theirs, ours = dump(path + theirs), dump(path + ours)
            # Documented: our own state.
            ours = [line for line in ours if " @keras_rs_state " not in line]
            if theirs != ours:
                only = ["- " + l for l in theirs if l not in ours] + ["+ " + l for l in ours if l not in theirs]
                wrong.append([case.name, "the %s's structure: %s" % (what, "\n".join(only[:6]))])
        theirs, ours = config_of(path + ".h5", "model_config"), config_of(path + ".ours.h5", "model_config")
        if TF:
            # The arguments of layers are those of Keras 2.3, as docs/files.md says.
            theirs, ours = connections(theirs["config"]), connections(ours["config"])
            wrong.extend([case.name, "the call of %s: %s instead of %s" % (name, b, a)] for (name, a), (_, b) in zip(theirs, ours) if a != b)
        elif theirs != ours:
            wrong.append([case.name, "model_config"])
    with open(os.path.join(out, "report.json"), "w") as file:
        json.dump(wrong, file, indent=1)


def later(fixtures, out):
    """A layer of each class, every optimizer. Whether tf.keras takes a case at all, the file of Keras 2.3.1 says."""
    wrong, read, first = [], 0, set()
    with open(os.path.join(out, "cases.json")) as file:
        names = json.load(file)
    classes = {"layer_" + case["name"]: case["class_name"] for file in OLDER for case in cases_in(fixtures, file)}
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
            return predicted(model, x), model.optimizer.variables(), told

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
        of_optimizer = config_of(os.path.join(out, name + ".h5"), "training_config")["optimizer_config"]
        if of_optimizer["class_name"] == "SGD" and of_optimizer["config"]["momentum"] == 0:
            # Keras 2 saves momenta that plain SGD does not use, tf.keras expects none.
            told = [line for line in told if "Error in loading the saved optimizer state" not in line]
        if told:
            wrong.append([name, "warned: %s" % told])
        for what, ours, theirs in (("prediction", predictions, expected), ("state of the optimizer", ours, state)):
            if len(ours) != len(theirs) or any(np.max(np.abs(np.asarray(a, "float64") - b), initial=0) > 1e-5 for a, b in zip(ours, theirs)):
                wrong.append([name, what])
    print("%d files read" % read)
    if read < 90:
        wrong.append(["later", "only %d files were read" % read])
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


def same_structure(ours, theirs):
    """But for our own state, and in tf.keras for that of the optimizer, whose name is in front only until it was loaded, and for the
    training config, in which functions have their full names then."""
    apart = ("@keras_rs_state", "optimizer_weights", "@training_config") if TF else ("@keras_rs_state",)
    ours, theirs = ([line for line in dump(path) if not any(part in line for part in apart)] for path in (ours, theirs))
    only = ["- " + line for line in theirs if line not in ours] + ["+ " + line for line in ours if line not in theirs]
    assert ours == theirs, "%d lines differ: %s" % (len(only), [line[:300] for line in only[:6]])


def long(_, out):
    file = lambda name: os.path.join(out, name)
    fresh()
    model = keras.models.load_model(file("ours.h5"))
    np.save(file("prediction.npy"), model.predict(np.load(file("x.npy"))))
    # Steps and two moments for each weight that learns were read: no step has been made here.
    assert sum(bool(np.any(value)) for value in optimizer_state(model)) == 1 + 2 * len(model.trainable_weights) > 300
    model.save(file("theirs.h5"))
    same_structure(file("ours.h5"), file("theirs.h5"))
    K.batch_set_value([(weight, np.zeros(K.int_shape(weight))) for weight in model.weights])
    model.load_weights(file("ours_weights.h5"))
    model.save_weights(file("theirs_weights.h5"))
    same_structure(file("ours_weights.h5"), file("theirs_weights.h5"))
    if TF:
        return
    config = model.get_config()
    fresh()
    with open(file("ours.yaml")) as text:
        assert keras.models.model_from_yaml(text.read()).get_config() == config


{"make": make, "check": check, "later": later, "long": long}[sys.argv[1]](sys.argv[2], sys.argv[3])
