"""Training by Keras 2.3.1: steps, fit, evaluate, predict. Writes tests/fixtures/training_2_3_1.{json,npz}.

Optimizers here are those whose step in 2.3.1 does not read `iterations` (SGD, RMSprop, Adagrad, without decay): it reads it
before or after the increment at random. optimizers_2_2_4.py has the others. Adam is here where learning rates change, and made to read it before.

"models" in the .json: name -> {"json": the text of to_json, "weights": how many}; initial weights are "MODEL/weight_I".
"cases", of six kinds; all have name, kind, model, floatx ("float32" or "float64"; in float64 the model's layers have dtype
float64, all else is equal), compile {optimizer {class_name, config}, loss, metrics, weighted_metrics, loss_weights, sample_weight_mode}, x and y (keys
of arrays, one per input and output), frozen (layers with trainable=False), metrics_names, and "CASE/weight_I", the weights afterwards (get_weights order).
  steps     train_on_batch 20 times; step k takes rows [batch*k, batch*(k+1)) modulo n (n is a multiple of batch).
            "CASE/values" float64 (20, len(metrics_names)). sample_weight: null or a key. class_weight: null or [[class, weight]]
  fit       seed: np.random.seed(seed) right before fit(**arguments); arguments is JSON, validation_data
            [[x keys], [y keys]] or [[x], [y], [sample weight keys]], sample_weight keys likewise, stop [epoch, batch]: a callback stops
            the training at that batch's end (without validation, which forgets a stop in 2.3.1). then: second fit's arguments or null, run at once after the first, or after a compile with
            the optimizer recompile, if that is not null, and the same loss and metrics. history: [[name, [value per epoch]]] in History's order, history_then likewise
            lr_between: a learning rate that is set between the two. schedule in arguments: the rates of the epochs, by a LearningRateScheduler
            which is given the number of the epoch; or a number by which one that is also given the rate multiplies that after the first epoch
  evaluate  batch_size or steps, sample_weight; "CASE/values" float64 (len(metrics_names)), "CASE/prediction_I" from predict
  classes   of a Sequential that was not trained (no "CASE/weight_I"): "CASE/proba" and "CASE/classes", predict_proba and predict_classes with that batch_size
  batches   calls: one after the other, train_on_batch or test_on_batch ("call") on the rows [start, stop) with reset_metrics ("reset"), sample_weight keys and class_weight,
            which is [[class, weight]] or {output: [[class, weight]]}. "CASE/values" float64 (len(calls), len(metrics_names)). A call "fit" is one epoch in batches of 8,
            not shuffled, and "evaluate" as much without learning; "reset_metrics" is that of the model, and has zeros as its values
  hooks     fit, evaluate, predict: the hooks that are called, with number and the keys of logs
  generator fit_generator, not shuffled: source "sequence" or "generator" of batches [[start, stop], ...] of the samples of x, y and sample_weight, counted
            modulo their number; after every pass a sequence moves all batches on by shift. arguments: epochs, steps_per_epoch, class_weight, validation_steps.
            validation: null, {"source": "arrays", x, y}, or a source of batches. history, with val_loss as the mean over all validation samples: 2.3.1 has the
            last batch's there. "CASE/values" evaluate_generator's metrics without the loss, of all batches; "CASE/prediction_I" predict_generator
sample_weight is a list with null for outputs that have none, too, or {output: key}. class_weight_list in fit's arguments is {output: [[class, weight]] or null}, which
Keras was given as a list. A metric that Keras was given as an object is {class_name, config}.
Data arrays are float32 or int32 under "data/"; float64 cases take the same numbers as float64.
"""
import json

import numpy as np

from fixture import Fixture, K, expect, fresh, initial_weights, keras, stream, tf
from keras import constraints, layers as L, regularizers as R
from keras.models import Model, Sequential

expect("2.3.1")
fixture = Fixture("training_2_3_1", __file__, models={})


def put(name, value):
    fixture.array("data/" + name, value)
    return value


def make_data():
    rs = stream("data")
    n = 80
    x = put("x", rs.uniform(-1, 1, (n, 6)).astype("float32"))
    put("x2", rs.uniform(-1, 1, (n, 6)).astype("float32"))
    put("x_short", x[:70])
    put("x_one", x[:1])
    score = x.dot(rs.uniform(-1, 1, (6, 4))) + 0.3 * rs.normal(size=(n, 4))
    labels = score.argmax(axis=1).astype("int32")
    put("labels", labels)
    put("labels_column", labels[:, None])
    put("onehot", np.eye(4, dtype="float32")[labels])
    # Rows that sum to 0, 1 or 2.
    put("uneven", np.eye(4, dtype="float32")[labels] * (np.arange(len(labels)) % 3)[:, None].astype("float32"))
    put("onehot_short", np.eye(4, dtype="float32")[labels[:70]])
    put("onehot_one", np.eye(4, dtype="float32")[labels[:1]])
    put("real", score.astype("float32"))
    put("real_short", score[:70].astype("float32"))
    put("binary", (score[:, :1] > 0).astype("float32"))
    put("binary4", (score > 0).astype("float32"))
    weight = rs.uniform(0, 2, n).astype("float32")
    weight[::5] = 0
    put("weight", weight)
    put("weight_short", weight[:70])
    image = rs.uniform(-1, 1, (40, 7, 6, 2)).astype("float32")
    put("image", image)
    put("image_labels", rs.randint(0, 3, (40, 1)).astype("int32"))
    put("sequence", rs.randint(0, 9, (40, 5)).astype("int32"))
    put("sequence_target", rs.uniform(-1, 1, (40, 2)).astype("float32"))
    put("series", rs.uniform(-1, 1, (40, 5, 3)).astype("float32"))
    put("series_target", rs.uniform(-1, 1, (40, 5, 2)).astype("float32"))
    put("series_classes", rs.randint(0, 2, (40, 5, 1)).astype("int32"))
    times = rs.uniform(0, 2, (40, 5)).astype("float32")
    times[:, 3:][::2] = 0
    put("series_weight", times)
    put("series_flat", rs.uniform(-1, 1, (40, 1)).astype("float32"))
    put("series_plain", times[:, 0])

    rs = stream("more data")
    zeros = x[:70].copy()
    zeros[::7] = 0
    put("x_zeros", zeros)
    # A batch of which no sample counts.
    weight = rs.uniform(0, 2, n).astype("float32")
    weight[:16] = 0
    weight[20::3] = 0
    put("weight_other", weight)


def mlp(last, units=4, **options):
    return lambda: Sequential([L.Dense(8, activation="relu", input_shape=(6,), **options), L.Dense(units, activation=last)])


def mlp_batch_normalization():
    return Sequential([L.Dense(8, input_shape=(6,)), L.BatchNormalization(), L.Activation("relu"), L.Dense(4, activation="softmax")])


def cnn():
    return Sequential([L.Conv2D(4, 3, activation="relu", input_shape=(7, 6, 2)), L.MaxPooling2D(), L.Flatten(), L.Dense(3, activation="softmax")])


def cnn_batch_normalization():
    return Sequential([L.ZeroPadding2D(input_shape=(7, 6, 2)), L.Conv2D(4, 3, strides=2, padding="same", use_bias=False), L.BatchNormalization(),
                       L.Activation("relu"), L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax")])


def embedding():
    return Sequential([L.Embedding(9, 3, input_length=5), L.Flatten(), L.Dense(2)])


def two_inputs():
    """Two inputs through a shared layer, two outputs."""
    a, b = L.Input((6,), name="left"), L.Input((6,), name="right")
    shared = L.Dense(5, activation="tanh", name="shared")
    left, right = shared(a), shared(b)
    joined = L.Concatenate(name="joined")([left, right])
    return Model([a, b], [L.Dense(4, activation="softmax", name="class")(joined), L.Dense(1, activation="sigmoid", name="sign")(L.Add(name="sum")([left, right]))])


MODELS = {
    "mlp_linear": mlp("linear"), "mlp_softmax": mlp("softmax"), "mlp_sigmoid": mlp("sigmoid"), "mlp_sigmoid_1": mlp("sigmoid", 1),
    "mlp_linear_1": mlp("linear", 1), "mlp_tanh": mlp("tanh"),
    # Crossentropy from probabilities whose layer is not the activation itself: Keras finds no logits behind it.
    "mlp_probabilities": lambda: Sequential([L.Dense(4, activation="softmax", input_shape=(6,)), L.Reshape((4,))]),
    "mlp_sigmoid_probabilities": lambda: Sequential([L.Dense(4, activation="sigmoid", input_shape=(6,)), L.Reshape((4,))]),
    "mlp_l1": mlp("softmax", kernel_regularizer=R.l1(0.02)),
    "mlp_l2": mlp("softmax", kernel_regularizer=R.l2(0.05), bias_regularizer=R.l1_l2(0.01, 0.02)),
    "mlp_activity": mlp("softmax", activity_regularizer=R.l2(0.01)),
    "mlp_activity_layer": lambda: Sequential([L.Dense(8, activation="tanh", input_shape=(6,)), L.ActivityRegularization(0.01, 0.02), L.Dense(4)]),
    "mlp_max_norm": mlp("softmax", kernel_constraint=constraints.max_norm(0.8), bias_constraint=constraints.max_norm(0.3)),
    "mlp_max_norm_axis1": mlp("softmax", kernel_constraint=constraints.max_norm(1.0, axis=1)),
    "mlp_batch_normalization": mlp_batch_normalization, "cnn": cnn, "cnn_batch_normalization": cnn_batch_normalization,
    "series": lambda: Sequential([L.Dense(4, activation="tanh", input_shape=(5, 3)), L.Dense(2)]),
    "series_softmax": lambda: Sequential([L.Masking(input_shape=(5, 3)), L.Dense(2, activation="softmax")]),
    "series_input": lambda: Model(*(lambda a: (a, [L.Dense(2, name="each")(a), L.Dense(1, name="all")(L.Flatten()(a))]))(L.Input((5, 3), name="in"))),
    "embedding": embedding, "two_inputs": two_inputs,
    # Exactly one half where the input is zero.
    "half": lambda: Sequential([L.Dense(1, activation="sigmoid", use_bias=False, input_shape=(6,))]),
}


def build(model, floatx):
    """The model with the recorded initial weights, and its description on the first call."""
    fresh()
    made = MODELS[model]()
    # get_weights and set_weights of a model go layer by layer, unlike model.weights.
    values = initial_weights([w for layer in made.layers for w in layer.weights], stream(model))
    fixture.head["models"][model] = dict(json=made.to_json(), weights=len(values))
    for i, value in enumerate(values):
        fixture.array("%s/weight_%d" % (model, i), value)
    fresh(floatx)
    made = MODELS[model]()
    made.set_weights(values)
    return made


def sgd(lr=0.1, **options):
    return keras.optimizers.SGD(learning_rate=lr, **options)


class Adam(keras.optimizers.Adam):
    """Counts a step after its updates."""

    def get_updates(self, loss, params):
        add = K.update_add
        K.update_add = lambda x, increment: tf.no_op()
        try:
            updates = super().get_updates(loss, params)
        finally:
            K.update_add = add
        with tf.control_dependencies(updates):
            return updates + [K.update_add(self.iterations, 1)]


def compiled(model, floatx, loss, metrics=(), optimizer=sgd, frozen=(), loss_weights=None, weighted_metrics=None, mode=None):
    made = build(model, floatx)
    for name in frozen:
        made.get_layer(name).trainable = False
    optimizer = optimizer()
    # Objects are made anew for each model, and take other names when it is compiled.
    metrics = metrics if isinstance(metrics, dict) else [metric() if callable(metric) else metric for metric in metrics]
    described = metrics if isinstance(metrics, dict) else [
        keras.metrics.serialize(metric) if isinstance(metric, keras.metrics.Metric) else metric for metric in metrics]
    made.compile(optimizer, loss, metrics=metrics, loss_weights=loss_weights, weighted_metrics=weighted_metrics, sample_weight_mode=mode)
    return made, dict(
        model=model, floatx=floatx, frozen=list(frozen), metrics_names=made.metrics_names,
        compile=dict(optimizer=keras.optimizers.serialize(optimizer), loss=loss, metrics=described, weighted_metrics=weighted_metrics, loss_weights=loss_weights, sample_weight_mode=mode))


def get(keys, floatx):
    """One array, or a list of them, by key; float data in floatx."""
    if keys is None:
        return None
    if isinstance(keys, str):
        value = fixture.arrays["data/" + keys]
        return value.astype(floatx) if value.dtype.kind == "f" else value
    if isinstance(keys, dict):
        return {name: get(key, floatx) for name, key in keys.items()}
    values = [get(key, floatx) for key in keys]
    return values[0] if len(values) == 1 else values


def finish(name, made):
    for i, value in enumerate(made.get_weights()):
        fixture.array("%s/weight_%d" % (name, i), value)


# Keras's own code mixes float32 into float64 there and fails.
FLOAT32_ONLY = ("logcosh", "categorical_hinge", "mlp_batch_normalization", "cnn_batch_normalization")


def each_floatx(name, model, loss, record):
    for floatx in ["float32"] if model in FLOAT32_ONLY or loss in FLOAT32_ONLY else ["float32", "float64"]:
        record(name + "_" + floatx, floatx)


def steps(name, model, x, y, loss, batch=16, sample_weight=None, class_weight=None, count=20, **options):
    def record(name, floatx):
        made, fields = compiled(model, floatx, loss, **options)
        data, target, weight = get([x] if isinstance(x, str) else x, floatx), get([y] if isinstance(y, str) else y, floatx), get(sample_weight, floatx)
        n = len(data[0] if isinstance(data, list) else data)
        values = []
        for k in range(count):
            at = batch * k % n
            rows = lambda a: [v[at:at + batch] for v in a] if isinstance(a, list) else a[at:at + batch]
            values.append(np.atleast_1d(made.train_on_batch(
                rows(data), rows(target), sample_weight=None if weight is None else rows(weight), class_weight=class_weight)))
        fixture.array(name + "/values", np.array(values, "float64"))
        finish(name, made)
        fixture.case(name=name, kind="steps", x=[x] if isinstance(x, str) else x, y=[y] if isinstance(y, str) else y, batch=batch, steps=count,
                     sample_weight=sample_weight, class_weight=class_weight and sorted(class_weight.items()), **fields)

    each_floatx(name, model, loss, record)


class Stop(keras.callbacks.Callback):
    """Stops training at the end of a batch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.model.stop_training = True


def by_class(weights):
    """As Keras takes them: a dictionary, or one for each output."""
    if isinstance(weights, dict):
        return {name: dict(pairs) for name, pairs in weights.items()}
    return weights and dict(weights)


def scheduler(schedule):
    if isinstance(schedule, list):
        return keras.callbacks.LearningRateScheduler(lambda epoch: schedule[epoch])
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: float(rate * schedule if epoch else rate))


def fit(name, model, x, y, loss, arguments, then=None, seed=3, recompile=None, lr_between=None, **options):
    def resolve(arguments, floatx):
        arguments = dict(arguments, verbose=0)
        if "validation_data" in arguments:
            arguments["validation_data"] = tuple(get(keys, floatx) for keys in arguments["validation_data"])
        if "sample_weight" in arguments:
            arguments["sample_weight"] = get(arguments["sample_weight"], floatx)
        if "class_weight" in arguments:
            arguments["class_weight"] = by_class(arguments["class_weight"])
        if "class_weight_list" in arguments:
            arguments["class_weight"] = [by_class(weights) for weights in arguments.pop("class_weight_list").values()]
        if "schedule" in arguments:
            arguments["callbacks"] = [scheduler(arguments.pop("schedule"))]
        if "stop" in arguments:
            epoch, batch = arguments.pop("stop")
            arguments["callbacks"] = [Stop(epoch, batch)]
        return arguments

    def record(name, floatx):
        made, fields = compiled(model, floatx, loss, **options)
        np.random.seed(seed)
        pairs = lambda history: [[k, [float(v) for v in values]] for k, values in history.history.items()]
        first = pairs(made.fit(get(x, floatx), get(y, floatx), **resolve(arguments, floatx)))
        again = None
        if recompile:
            optimizer = recompile()
            again = keras.optimizers.serialize(optimizer)
            made.compile(optimizer, loss, metrics=fields["compile"]["metrics"])
        if lr_between:
            K.set_value(made.optimizer.lr, lr_between)
        second = then and pairs(made.fit(get(x, floatx), get(y, floatx), **resolve(then, floatx)))
        finish(name, made)
        if lr_between:
            fields["lr_between"] = lr_between
        fixture.case(name=name, kind="fit", x=x, y=y, seed=seed, arguments=arguments, then=then, recompile=again, history=first, history_then=second, **fields)

    each_floatx(name, model, loss, record)


def evaluate(name, model, x, y, loss, batch_size=32, sample_weight=None, steps=None, **options):
    batch_size = None if steps else batch_size

    def record(name, floatx):
        made, fields = compiled(model, floatx, loss, **options)
        values = made.evaluate(get(x, floatx), get(y, floatx), batch_size=batch_size, steps=steps, sample_weight=get(sample_weight, floatx), verbose=0)
        fixture.array(name + "/values", np.atleast_1d(np.array(values, "float64")))
        predictions = made.predict(get(x, floatx), batch_size=batch_size, steps=steps)
        for i, value in enumerate(predictions if isinstance(predictions, list) else [predictions]):
            fixture.array("%s/prediction_%d" % (name, i), value)
        finish(name, made)
        fixture.case(name=name, kind="evaluate", x=x, y=y, batch_size=batch_size, steps=steps, sample_weight=sample_weight, **fields)

    each_floatx(name, model, loss, record)


def classes(name, model, x, batch_size):
    def record(name, floatx):
        made, fields = compiled(model, floatx, "mse")
        fixture.array(name + "/proba", made.predict_proba(get(x, floatx), batch_size=batch_size))
        fixture.array(name + "/classes", made.predict_classes(get(x, floatx), batch_size=batch_size))
        fixture.case(name=name, kind="classes", x=x, batch_size=batch_size, **fields)

    each_floatx(name, model, "mse", record)


def of_rows(arrays, start, stop):
    if isinstance(arrays, dict):
        return {name: array[start:stop] for name, array in arrays.items()}
    if isinstance(arrays, list):
        return [None if array is None else array[start:stop] for array in arrays]
    return arrays[start:stop]


def batches(name, model, x, y, loss, calls, **options):
    def record(name, floatx):
        made, fields = compiled(model, floatx, loss, **options)
        values = []
        for call in calls:
            if call["call"] == "reset_metrics":
                made.reset_metrics()
                values.append(np.zeros(len(made.metrics_names)))
                continue
            rows = lambda keys: of_rows(get(keys, floatx), *call["rows"])
            if call["call"] == "fit":
                history = made.fit(rows(x), rows(y), batch_size=8, shuffle=False, verbose=0).history
                values.append([history[metric][0] for metric in made.metrics_names])
                continue
            if call["call"] == "evaluate":
                values.append(np.atleast_1d(made.evaluate(rows(x), rows(y), batch_size=8, verbose=0)))
                continue
            given = dict(reset_metrics=call["reset"])
            if call.get("sample_weight"):
                given["sample_weight"] = rows(call["sample_weight"])
            if call.get("class_weight"):
                given["class_weight"] = by_class(call["class_weight"])
            run = made.train_on_batch if call["call"] == "train" else made.test_on_batch
            values.append(np.atleast_1d(run(rows(x), rows(y), **given)))
        fixture.array(name + "/values", np.array(values, "float64"), nan=True)
        finish(name, made)
        fixture.case(name=name, kind="batches", x=x, y=y, calls=calls, **fields)

    each_floatx(name, model, loss, record)


class Batches(keras.utils.Sequence):
    def __init__(self, x, y, weight, batches, shift):
        self.arrays, self.batches, self.shift, self.offset = (x, y, weight), batches, shift, 0

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        start, stop = self.batches[i]
        rows = lambda a: np.take(a, range(start + self.offset, stop + self.offset), axis=0, mode="wrap")
        each = lambda a: [rows(v) for v in a] if isinstance(a, list) else rows(a)
        return tuple(each(a) for a in self.arrays if a is not None)

    def on_epoch_end(self):
        self.offset += self.shift


class TrueLoss(keras.callbacks.Callback):
    """The validation loss of every epoch that has one."""

    def __init__(self, x, y):
        super().__init__()
        self.data, self.losses = (x, y), []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(np.ravel(self.model.evaluate(*self.data, verbose=0))[0]))


def generator(name, model, x, y, loss, arguments, batches, source="sequence", sample_weight=None, validation=None, shift=0, **options):
    def made_of(source, x, y, weight, batches, shift, floatx):
        batches = Batches(get(x, floatx), get(y, floatx), get(weight, floatx), batches, shift)
        return batches if source == "sequence" else (batches[i % len(batches)] for i in range(10 ** 6))

    def record(name, floatx):
        made, fields = compiled(model, floatx, loss, **options)
        given = dict(arguments, verbose=0, shuffle=False)
        if "class_weight" in given:
            given["class_weight"] = dict(given["class_weight"])
        true = None
        if validation:
            vx, vy = get(validation["x"], floatx), get(validation["y"], floatx)
            true = TrueLoss(vx, vy)
            given["callbacks"] = [true]
            if validation["source"] == "arrays":
                given["validation_data"] = vx, vy
            else:
                given["validation_data"] = made_of(validation["source"], validation["x"], validation["y"], None, validation["batches"], 0, floatx)
        history = made.fit_generator(made_of(source, x, y, sample_weight, batches, shift, floatx), **given).history
        if true:
            history["val_loss"] = true.losses
        whole = lambda: made_of(source, x, y, sample_weight, batches, 0, floatx)
        values = made.evaluate_generator(whole(), steps=len(batches))
        fixture.array(name + "/values", np.atleast_1d(np.array(values, "float64"))[1:])
        predictions = made.predict_generator(whole(), steps=len(batches))
        for i, value in enumerate(predictions if isinstance(predictions, list) else [predictions]):
            fixture.array("%s/prediction_%d" % (name, i), value)
        finish(name, made)
        fixture.case(name=name, kind="generator", x=x, y=y, source=source, batches=batches, sample_weight=sample_weight, validation=validation, shift=shift,
                     arguments=arguments, history=[[k, [float(v) for v in values]] for k, values in history.items()], **fields)

    each_floatx(name, model, loss, record)


make_data()
momentum = lambda: sgd(0.05, momentum=0.9)
nesterov = lambda: sgd(0.05, momentum=0.9, nesterov=True)
rmsprop = lambda: keras.optimizers.RMSprop(learning_rate=0.01)
adagrad = lambda: keras.optimizers.Adagrad(learning_rate=0.05)

steps("mse", "mlp_linear", "x", "real", "mean_squared_error", metrics=["mae"])
steps("mse_tanh_accuracy", "mlp_tanh", "x", "onehot", "mse", metrics=["accuracy"])
steps("categorical", "mlp_softmax", "x", "onehot", "categorical_crossentropy", metrics=["accuracy"])
steps("categorical_uneven", "mlp_softmax", "x", "uneven", "categorical_crossentropy", metrics=["accuracy"])
steps("categorical_probabilities", "mlp_probabilities", "x", "onehot", "categorical_crossentropy", metrics=["categorical_accuracy"])
steps("sparse", "mlp_softmax", "x", "labels", "sparse_categorical_crossentropy", metrics=["accuracy"])
steps("sparse_column", "mlp_softmax", "x", "labels_column", "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"])
steps("sparse_probabilities", "mlp_probabilities", "x", "labels_column", "sparse_categorical_crossentropy", metrics=["acc"])
steps("binary", "mlp_sigmoid_1", "x", "binary", "binary_crossentropy", metrics=["accuracy"])
steps("binary_4", "mlp_sigmoid", "x", "binary4", "binary_crossentropy", metrics=["accuracy", "mse"])
steps("binary_probabilities", "mlp_sigmoid_probabilities", "x", "binary4", "binary_crossentropy", metrics=["binary_accuracy"])
for loss in ["mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error", "squared_hinge", "hinge", "logcosh",
             "huber_loss", "cosine_proximity"]:
    steps("loss_" + loss, "mlp_linear", "x", "real", loss, optimizer=(lambda: sgd(0.0002)) if "percentage" in loss else lambda: sgd(0.02))
for loss in ["categorical_hinge", "kullback_leibler_divergence", "poisson"]:
    steps("loss_" + loss, "mlp_softmax", "x", "onehot", loss)
steps("loss_hinge_01", "mlp_tanh", "x", "onehot", "hinge")
steps("momentum", "mlp_softmax", "x", "onehot", "categorical_crossentropy", optimizer=momentum)
steps("nesterov", "mlp_softmax", "x", "onehot", "categorical_crossentropy", optimizer=nesterov)
steps("rmsprop", "mlp_softmax", "x", "onehot", "categorical_crossentropy", optimizer=rmsprop)
steps("adagrad", "mlp_softmax", "x", "onehot", "categorical_crossentropy", optimizer=adagrad)
for model in ["mlp_l1", "mlp_l2", "mlp_activity", "mlp_max_norm", "mlp_max_norm_axis1"]:
    steps(model[4:], model, "x", "onehot", "categorical_crossentropy", metrics=["accuracy"], optimizer=momentum)
steps("activity_layer", "mlp_activity_layer", "x", "real", "mse", metrics=["mse"])
steps("frozen", "mlp_softmax", "x", "onehot", "categorical_crossentropy", frozen=["dense_1"])
steps("frozen_regularized", "mlp_l2", "x", "onehot", "categorical_crossentropy", frozen=["dense_1"])
steps("batch_normalization", "mlp_batch_normalization", "x", "onehot", "categorical_crossentropy", metrics=["accuracy"])
steps("frozen_batch_normalization", "mlp_batch_normalization", "x", "onehot", "categorical_crossentropy", frozen=["batch_normalization_1"])
steps("cnn", "cnn", "image", "image_labels", "sparse_categorical_crossentropy", batch=8, metrics=["accuracy"])
steps("cnn_batch_normalization", "cnn_batch_normalization", "image", "image_labels", "sparse_categorical_crossentropy", batch=8, metrics=["accuracy"])
steps("embedding", "embedding", "sequence", "sequence_target", "mse", batch=8)
steps("embedding_momentum", "embedding", "sequence", "sequence_target", "mse", batch=8, optimizer=momentum)
steps("embedding_rmsprop", "embedding", "sequence", "sequence_target", "mse", batch=8, optimizer=rmsprop)
two = ["categorical_crossentropy", "binary_crossentropy"]
steps("two_inputs", "two_inputs", ["x", "x2"], ["onehot", "binary"], two, metrics={"class": "accuracy", "sign": ["accuracy", "mse"]}, loss_weights=[1.0, 0.3])
steps("sample_weight", "mlp_softmax", "x", "onehot", "categorical_crossentropy", sample_weight="weight", metrics=["accuracy"], weighted_metrics=["accuracy", "mse"])
steps("class_weight", "mlp_softmax", "x", "onehot", "categorical_crossentropy", class_weight={0: 1.0, 1: 0.5, 2: 2.0, 3: 0.0})
steps("sample_and_class_weight", "mlp_softmax", "x", "labels_column", "sparse_categorical_crossentropy", sample_weight="weight", class_weight={0: 1.0, 1: 0.5, 2: 2.0, 3: 0.7})

five = dict(epochs=5, batch_size=16)
fit("fit", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", five, metrics=["accuracy"])
fit("fit_no_shuffle", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, shuffle=False))
fit("fit_shuffle_batch", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, shuffle="batch"), metrics=["accuracy"])
fit("fit_validation_split", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25), metrics=["accuracy", "mse"])
fit("fit_validation_data", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_data=[["x2"], ["onehot"]]), metrics=["accuracy"])
fit("fit_validation_freq", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25, validation_freq=2), metrics=["accuracy"])
fit("fit_validation_weights", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_data=[["x2"], ["onehot"], ["weight"]]),
    metrics=["accuracy"], weighted_metrics=["accuracy"])
fit("fit_default_batch", "mlp_linear", ["x_short"], ["real_short"], "mse", dict(epochs=2), metrics=["mae"])
fit("fit_initial_epoch", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, initial_epoch=2))
fit("fit_one_sample", "mlp_softmax", ["x_one"], ["onehot_one"], "categorical_crossentropy", dict(epochs=3, batch_size=16), metrics=["accuracy"])
fit("fit_batch_of_one", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(epochs=1, batch_size=1), metrics=["accuracy"])
fit("fit_twice", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(epochs=2, batch_size=16), then=dict(epochs=2, batch_size=20), optimizer=momentum)
fit("fit_regularized", "mlp_l2", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25), metrics=["accuracy"])
fit("fit_activity", "mlp_activity", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25))
fit("fit_batch_normalization", "mlp_batch_normalization", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25), metrics=["accuracy"])
fit("fit_rmsprop", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", five, optimizer=rmsprop)
fit("fit_sample_weight", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, validation_split=0.25, sample_weight=["weight_short"]),
    metrics=["accuracy"], weighted_metrics=["accuracy"])
fit("fit_class_weight", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, class_weight=[[0, 1.0], [1, 0.5], [2, 2.0], [3, 0.0]]))
fit("fit_cnn", "cnn", ["image"], ["image_labels"], "sparse_categorical_crossentropy", dict(epochs=3, batch_size=16, validation_split=0.2), metrics=["accuracy"])
fit("fit_two_inputs", "two_inputs", ["x", "x2"], ["onehot", "binary"], two, dict(five, validation_split=0.25), metrics={"class": "accuracy", "sign": ["accuracy", "mse"]}, loss_weights=[1.0, 0.3])
fit("fit_two_inputs_one_loss", "two_inputs", ["x", "x2"], ["onehot", "binary"], "mse", dict(five), metrics=["accuracy"], loss_weights={"class": 2.0, "sign": 0.5})
fit("fit_two_inputs_weights", "two_inputs", ["x", "x2"], ["onehot", "binary"], {"class": two[0], "sign": two[1]}, dict(five, sample_weight=["weight", "weight"]), metrics=["mae"])
fit("fit_stop", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, stop=[1, 2], validation_split=0.1), then=dict(five, epochs=2, validation_split=0.1),
    metrics=["accuracy"], optimizer=momentum)
fit("fit_stop_at_last_batch", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, stop=[1, 4]), metrics=["accuracy"])
fit("fit_recompile", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, epochs=2), then=dict(five, epochs=2), metrics=["accuracy"],
    optimizer=momentum, recompile=rmsprop)
fit("fit_recompile_same", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(five, epochs=2), then=dict(five, epochs=2), optimizer=momentum, recompile=momentum)
fit("fit_steps", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", dict(epochs=3, steps_per_epoch=4), metrics=["accuracy"])
fit("fit_steps_stop", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy",
    dict(epochs=3, steps_per_epoch=4, stop=[1, 1]), metrics=["accuracy"])
fit("fit_steps_validation", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy",
    dict(epochs=3, steps_per_epoch=4, validation_split=0.2, validation_steps=1), metrics=["accuracy"])
fit("fit_temporal", "series", ["series"], ["series_target"], "mse", dict(five, sample_weight=["series_weight"], validation_split=0.25), metrics=["mae"], weighted_metrics=["mae"], mode="temporal")
fit("fit_temporal_named", "series_input", ["series"], ["series_target", "series_flat"], "mse", dict(five, sample_weight=["series_weight", "series_plain"]), mode={"each": "temporal", "all": None})
fit("fit_temporal_none", "series", ["series"], ["series_target"], "mse", dict(five), mode="temporal")

steps("temporal", "series", "series", "series_target", "mse", batch=8, sample_weight="series_weight", mode="temporal", metrics=["mse"], weighted_metrics=["mse"])
steps("temporal_masked", "series_softmax", "series", "series_classes", "sparse_categorical_crossentropy", batch=8, sample_weight="series_weight", mode="temporal",
      metrics=["accuracy"], weighted_metrics=["accuracy"])
evaluate("evaluate_steps", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", steps=1, metrics=["accuracy"])

evaluate("evaluate", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", metrics=["accuracy", "mse"])
evaluate("evaluate_no_metrics", "mlp_linear", ["x_short"], ["real_short"], "mse", batch_size=16)
evaluate("evaluate_one_sample", "mlp_softmax", ["x_one"], ["onehot_one"], "categorical_crossentropy", metrics=["accuracy"])
evaluate("evaluate_sample_weight", "mlp_softmax", ["x_short"], ["onehot_short"], "categorical_crossentropy", sample_weight=["weight_short"], metrics=["accuracy"], weighted_metrics=["accuracy"])
evaluate("evaluate_regularized", "mlp_l2", ["x_short"], ["onehot_short"], "categorical_crossentropy", batch_size=16, metrics=["accuracy"])
evaluate("evaluate_activity", "mlp_activity", ["x_short"], ["onehot_short"], "categorical_crossentropy", batch_size=16)
evaluate("evaluate_batch_normalization", "mlp_batch_normalization", ["x_short"], ["onehot_short"], "categorical_crossentropy", batch_size=16, metrics=["accuracy"])
evaluate("evaluate_cnn", "cnn", ["image"], ["image_labels"], "sparse_categorical_crossentropy", batch_size=16, metrics=["accuracy"])
evaluate("evaluate_two_inputs", "two_inputs", ["x", "x2"], ["onehot", "binary"], two, batch_size=32, metrics={"class": "accuracy", "sign": ["accuracy", "mse"]}, loss_weights=[1.0, 0.3])

five = [[0, 16], [16, 32], [32, 41], [41, 60], [60, 70]]
short = (["x_short"], ["onehot_short"], "categorical_crossentropy")
generator("sequence", "mlp_softmax", *short, dict(epochs=3), five, metrics=["accuracy"])
generator("sequence_shift", "mlp_softmax", *short, dict(epochs=4), five, shift=7, metrics=["accuracy"], optimizer=momentum)
generator("sequence_steps", "mlp_softmax", *short, dict(epochs=4, steps_per_epoch=3), five, shift=3, metrics=["accuracy"])
generator("sequence_weights", "mlp_softmax", *short, dict(epochs=3, class_weight=[[0, 1.0], [1, 0.5], [2, 2.0], [3, 0.0]]), five, sample_weight=["weight_short"],
          metrics=["accuracy"], weighted_metrics=["accuracy"])
generator("sequence_validation", "mlp_softmax", *short, dict(epochs=3), five, metrics=["accuracy"],
          validation=dict(source="sequence", x=["x2"], y=["onehot"], batches=[[0, 30], [30, 75], [75, 80]]))
generator("sequence_validation_arrays", "mlp_l2", *short, dict(epochs=3), five, metrics=["accuracy"], validation=dict(source="arrays", x=["x2"], y=["onehot"]))
generator("generator", "mlp_softmax", *short, dict(epochs=3, steps_per_epoch=4), five, source="generator", metrics=["accuracy"], optimizer=momentum)
generator("generator_validation", "mlp_softmax", *short, dict(epochs=3, steps_per_epoch=4, validation_steps=2), five, source="generator", metrics=["accuracy"],
          validation=dict(source="generator", x=["x2"], y=["onehot"], batches=[[0, 50], [50, 80]]))
generator("generator_two_inputs", "two_inputs", ["x", "x2"], ["onehot", "binary"], two, dict(epochs=2, steps_per_epoch=5), five, source="generator",
          metrics={"class": "accuracy", "sign": ["accuracy", "mse"]}, loss_weights=[1.0, 0.3])

classes("classes_softmax", "mlp_softmax", ["x_short"], 32)
classes("classes_probabilities", "mlp_probabilities", ["x_short"], 16)
classes("classes_sigmoid", "mlp_sigmoid", ["x_one"], 32)
classes("classes_sigmoid_1", "mlp_sigmoid_1", ["x_short"], 32)
classes("classes_series", "series_softmax", ["series"], 7)


def calls(*given):
    """Each "train" or "test", then "keep" or "reset", then more fields; batches of 16 and one of 7 in turn."""
    ends = [[0, 16], [16, 32], [32, 39], [39, 55], [55, 70]]
    return [dict(call=call, reset=after == "reset", rows=ends[i % len(ends)], **fields) for i, (call, after, fields) in enumerate(given)]


plain, weighted = {}, dict(sample_weight=["weight_short"])
by_number = dict(class_weight=[[0, 1.0], [1, 0.5], [2, 2.0], [3, 0.0]])
accuracies = dict(metrics=["accuracy"], weighted_metrics=["accuracy", "mse"])
batches("batches_reset", "mlp_softmax", *short, calls(("train", "reset", plain), ("test", "reset", weighted), ("train", "reset", weighted), ("test", "reset", plain)), **accuracies)
batches("batches_keep", "mlp_softmax", *short, calls(("train", "keep", plain), ("train", "keep", plain), ("test", "keep", plain), ("train", "reset", plain), ("test", "keep", plain),
                                                     ("test", "reset", plain), ("train", "keep", plain)), **accuracies)
batches("batches_keep_weighted", "mlp_softmax", *short, calls(("train", "keep", weighted), ("test", "keep", dict(weighted)), ("train", "keep", dict(weighted, **by_number)),
                                                              ("train", "reset", by_number), ("test", "keep", weighted)), **accuracies)
both = dict(sample_weight=["weight", "weight"])
of_outputs = {"class": [[0, 1.0], [1, 0.5], [2, 2.0], [3, 0.0]], "sign": [[0, 0.3], [1, 1.5]]}
pair = ("two_inputs", ["x", "x2"], ["onehot", "binary"], two)
judged = dict(metrics={"class": "accuracy", "sign": ["accuracy", "mse"]}, loss_weights=[1.0, 0.3])
batches("batches_two_inputs", *pair, calls(("train", "reset", both), ("test", "reset", both), ("train", "reset", dict(both, class_weight=of_outputs)), ("test", "keep", both),
                                           ("test", "keep", plain), ("train", "reset", dict(class_weight=of_outputs))), **judged)
fit("fit_two_inputs_class_weights", *pair, dict(epochs=5, batch_size=16, class_weight=of_outputs), **judged)
fit("fit_two_inputs_one_class_weight", *pair, dict(epochs=5, batch_size=16, class_weight={"sign": of_outputs["sign"]}), **judged)
fit("fit_two_inputs_both_weights", *pair, dict(epochs=5, batch_size=16, class_weight=of_outputs, sample_weight=["weight", "weight"], validation_split=0.25),
    weighted_metrics=["mae"], **judged)
evaluate("evaluate_two_inputs_weights", *pair, sample_weight=["weight", "weight"], batch_size=32, weighted_metrics=["mae"], **judged)
rates = [0.2, 0.1, 0.05, 0.2, 0.01]
fit("fit_schedule", "mlp_softmax", *short, dict(epochs=5, batch_size=16, schedule=rates, validation_split=0.25), metrics=["accuracy"], optimizer=momentum)
fit("fit_schedule_rate", "mlp_softmax", *short, dict(epochs=5, batch_size=16, schedule=0.5), then=dict(epochs=2, batch_size=16, schedule=2.0), optimizer=rmsprop)
fit("fit_schedule_adagrad", "mlp_softmax", *short, dict(epochs=5, batch_size=16, schedule=rates), optimizer=adagrad)
fit("fit_rate_between", "mlp_softmax", *short, dict(epochs=2, batch_size=16), then=dict(epochs=2, batch_size=16), optimizer=momentum, lr_between=0.01)

classes("classes_half", "half", ["x_zeros"], 16)
assert (fixture.arrays["classes_half_float32/proba"] == 0.5).sum() == 10
more = dict(metrics=["accuracy"], weighted_metrics=["accuracy", "mse"])
of_other = dict(sample_weight=["weight_other"])
batches("batches_no_weight", "mlp_softmax", ["x"], ["onehot"], "categorical_crossentropy",
        calls(("test", "reset", of_other), ("test", "keep", of_other), ("train", "keep", of_other), ("test", "keep", plain), ("train", "reset", of_other), ("train", "keep", of_other)), **more)
objects = [lambda: keras.metrics.CategoricalAccuracy(), lambda: keras.metrics.Precision(), lambda: keras.metrics.AUC(num_thresholds=20), "mae"]
batches("batches_objects", "mlp_softmax", *short, calls(("train", "keep", plain), ("train", "keep", weighted), ("test", "reset", plain), ("test", "keep", plain), ("train", "reset", plain),
                                                        ("test", "reset", plain)), metrics=objects)
batches("batches_regularized", "mlp_l2", *short, calls(("test", "keep", weighted), ("train", "keep", plain), ("test", "reset", plain), ("test", "keep", weighted)), **more)
batches("batches_batch_normalization", "mlp_batch_normalization", *short, calls(("train", "keep", weighted), ("test", "keep", plain), ("train", "reset", plain), ("test", "reset", weighted)), **more)
batches("batches_temporal", "series", ["series"], ["series_target"], "mse", calls(
    ("train", "keep", dict(sample_weight=["series_weight"])), ("test", "keep", dict(sample_weight=["series_weight"])), ("test", "reset", plain)),
    metrics=["mae"], weighted_metrics=["mae"], mode="temporal")
# What an epoch leaves behind goes into the batch after it.
around = [("train", "keep", plain), ("fit", "", plain), ("train", "keep", plain), ("test", "reset", plain), ("test", "keep", plain), ("evaluate", "", plain), ("test", "keep", plain),
          ("reset_metrics", "", plain), ("test", "keep", plain), ("train", "reset", plain), ("test", "reset", plain)]
batches("batches_after_fit", "mlp_softmax", *short, calls(*around), **more)
batches("batches_after_fit_two_inputs", *pair, calls(*around), **judged)
apart = {"sample_weight": {"class": "weight", "sign": "weight_other"}}
batches("batches_two_weights", *pair, calls(("test", "reset", apart), ("train", "keep", apart), ("test", "keep", dict(sample_weight=["weight", None])), ("train", "reset", dict(sample_weight={"sign": "weight"})),
                                            ("test", "reset", dict(sample_weight=[None, "weight_other"]))), weighted_metrics=["mae"], **judged)
evaluate("evaluate_two_weights", *pair, sample_weight={"class": "weight", "sign": "weight_other"}, batch_size=32, weighted_metrics=["mae"], **judged)
evaluate("evaluate_one_weight", *pair, sample_weight=[None, "weight_other"], batch_size=7, weighted_metrics=["mae"], **judged)
evaluate("evaluate_no_weight", "mlp_softmax", ["x"], ["onehot"], "categorical_crossentropy", sample_weight=["weight_other"], batch_size=16, **more)
evaluate("evaluate_objects", "mlp_softmax", *short, sample_weight=["weight_short"], batch_size=16, metrics=objects, weighted_metrics=["accuracy"])
fit("fit_two_inputs_class_weight_list", *pair, dict(epochs=5, batch_size=16, class_weight_list=of_outputs), **judged)
fit("fit_two_inputs_class_weight_list_of_one", *pair, dict(epochs=5, batch_size=16, class_weight_list={"class": of_outputs["class"], "sign": None}), **judged)
fit("fit_two_inputs_unlike_weights", *pair, dict(epochs=5, batch_size=16, class_weight=of_outputs, sample_weight={"class": "weight_other", "sign": "weight"}, validation_split=0.25),
    weighted_metrics=["mae"], **judged)
fit("fit_class_weight_named", "mlp_softmax", *short, dict(epochs=3, batch_size=16, class_weight={"dense_2": by_number["class_weight"]}), metrics=["accuracy"])
# The samples that are split off keep the weights of their classes.
fit("fit_sample_and_class_weight", "mlp_softmax", *short, dict(epochs=3, batch_size=16, sample_weight=["weight_short"], validation_split=0.25, **by_number), **more)
adam = lambda: Adam(learning_rate=0.02)
fit("fit_schedule_adam", "mlp_softmax", *short, dict(epochs=5, batch_size=16, schedule=[0.02, 0.05, 0.01, 0.001, 0.03], validation_split=0.25), metrics=["accuracy"], optimizer=adam)
fit("fit_schedule_rate_adam", "mlp_softmax", *short, dict(epochs=4, batch_size=16, schedule=0.5), then=dict(epochs=2, batch_size=16, schedule=2.0), optimizer=adam)
fit("fit_schedule_rate_momentum", "mlp_softmax", *short, dict(epochs=4, batch_size=16, schedule=0.5), then=dict(epochs=2, batch_size=16, schedule=2.0), optimizer=momentum)
fit("fit_rate_between_adam", "mlp_softmax", *short, dict(epochs=2, batch_size=16), then=dict(epochs=2, batch_size=16), optimizer=adam, lr_between=0.05)

# An output without a loss has no target and no metrics; of metrics of one name there is one.
steps("partial_loss", "two_inputs", ["x", "x2"], ["onehot"], {"class": two[0]}, frozen=["sign"], metrics=["accuracy"], weighted_metrics={"class": ["mae"], "sign": ["mae"]})
steps("metrics_twice", "mlp_softmax", "x", "onehot", "categorical_crossentropy", metrics=["accuracy", "mse", "accuracy"], weighted_metrics=["mse"])


class Hooks(keras.callbacks.Callback):
    """Notes which hooks are called, with what in the logs."""

    def __init__(self):
        super().__init__()
        self.lines = []


def hook(name, numbered):
    def call(self, *arguments, **named):
        logs = named.get("logs", arguments[-1] if len(arguments) > numbered else None) or {}
        self.lines.append("%s%s: %s" % (name, " %d" % arguments[0] if numbered else "", " ".join(logs)))
    return call


for _hook in ["train_begin", "train_end", "test_begin", "test_end", "predict_begin", "predict_end"]:
    setattr(Hooks, "on_" + _hook, hook("on_" + _hook, 0))
for _hook in ["epoch_begin", "epoch_end"] + [mode + at for mode in ("train", "test", "predict") for at in ("_batch_begin", "_batch_end")]:
    setattr(Hooks, "on_" + _hook, hook("on_" + _hook, 1))


def hooks():
    made, fields = compiled("mlp_softmax", "float32", "categorical_crossentropy", metrics=["accuracy"])
    noted = {}
    for verb, run in [("fit", lambda note: made.fit(get("x", "float32"), get("onehot", "float32"), batch_size=40, epochs=2, validation_split=0.25, verbose=0, callbacks=[note])),
                      ("evaluate", lambda note: made.evaluate(get("x", "float32"), get("onehot", "float32"), batch_size=40, verbose=0, callbacks=[note])),
                      ("predict", lambda note: made.predict(get("x", "float32"), batch_size=40, callbacks=[note]))]:
        note = Hooks()
        run(note)
        noted[verb] = note.lines
    fixture.case(name="hooks", kind="hooks", x=["x"], y=["onehot"], **dict(fields, **noted))


hooks()

# Every model's description must read back.
for name, model in fixture.head["models"].items():
    assert json.loads(model["json"])["config"], name
fixture.write()
