"""Activations, losses, metrics, regularizers, constraints and initializers of Keras 2.3.1. Writes tests/fixtures/functions_2_3_1.json.

A case has a name, a kind, floatx, and, written out as nested lists (float32 numbers in both floatx):
    activation  {function, x, y}
    loss        {config (as serialized), data, y_true, y_pred, values, gradient (of their sum to y_pred)}; with "activation",
                y_pred holds logits and the loss is of that activation of them
    weighted    {config, y_true, y_pred, weights, value}: the loss object called with sample weights; with the reduction
                "none" the call gives "values", and value is what training makes of them, their mean
    metric      {config, batches [{y_true, y_pred, weights}], states (long ones are left out), result}: after all batches.
                Mean and Sum take no pairs: their batches are {values, weights}
    regularizer, constraint  {config, w, y}
    initializer {given, config}: given is a name, or a class or function with its arguments {class_name, config}
    named       {module, given, config}: what a name in that module stands for, as serialized; an activation, a loss function
                or a metric function is serialized as a name
What is not finite in Keras is not recorded. Every class, function and name of the six modules is, or this script fails.
MeanIoU is in Keras 2.3.1 a subclass of tf.keras's, and refuses TensorFlow 1: recorded is TensorFlow 1.15.5's own.
"""
import copy
import inspect
import json

import numpy as np

import fixture as shared
from fixture import Fixture, expect, stream
import tensorflow as tf
from keras import backend as K
from keras import activations, constraints, initializers, losses, metrics, regularizers

expect("2.3.1")
fixture = Fixture("functions_2_3_1", __file__)

rs = stream("functions")
f32 = lambda a: np.asarray(a, "float32")


def fresh(floatx="float32"):
    """An empty graph, run as it is written: TensorFlow's optimizer would reassociate, here and there, 1 - p + epsilon."""
    shared.fresh(floatx)
    options = tf.GraphOptions(optimizer_options=tf.OptimizerOptions(opt_level=tf.OptimizerOptions.L0))
    options.rewrite_options.disable_meta_optimizer = True
    K.set_session(tf.Session(config=tf.ConfigProto(graph_options=options, intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sixty_fourths(p):
    """Distributions that add up to 1 exactly: of others, TensorFlow's gradient is not that of its loss."""
    p = np.round(p * 64) / 64
    p[:, 0] += 1 - p.sum(-1)
    return f32(p)


onehot = lambda labels, n: np.eye(n)[np.asarray(labels)]
real_y, real_p = f32(rs.uniform(-2, 2, (6, 4))), f32(rs.uniform(-2, 2, (6, 4)))
real_y[0, 0], real_p[1] = 0, real_y[1]
labels = np.array([0, 2, 1, 4, 3, 2])
prob = softmax(rs.normal(size=(6, 5)) * 2)
prob[0] = [0, 0.5, 0.5, 0, 0]
prob[1] = [0, 0, 1, 0, 0]
prob[2] = [1e-9, 0.3, 0.2, 0.2, 0.1]
prob[3] = [0.2, 0.2, 0.2, 0.2, 0.2]
steps = softmax(rs.normal(size=(2, 3, 4)))
step_labels = np.array([[0, 3, 1], [2, 2, 0]])
binary_y, binary_p = f32(rs.randint(0, 2, (6, 3))), f32(rs.uniform(0, 1, (6, 3)))
binary_p[0] = [0, 1, 0.5]
binary_p[1] = binary_y[1]
DATA = {
    "real": (real_y, real_p),
    "real_3d": (f32(rs.uniform(-1, 2, (2, 3, 4))), f32(rs.uniform(-1, 2, (2, 3, 4)))),
    "signs": (f32(np.sign(rs.normal(size=(6, 4)))), real_p),
    "onehot": (f32(onehot(labels, 5)), f32(prob)),
    "soft": (sixty_fourths(softmax(rs.normal(size=(6, 5)))), f32(softmax(rs.normal(size=(6, 5))))),
    "onehot_3d": (f32(onehot(step_labels, 4)), f32(steps)),
    "labels": (f32(labels[:, None]), f32(prob)),
    "labels_3d": (f32(step_labels[:, :, None]), f32(steps)),
    "binary": (binary_y, binary_p),
    "binary_1": (binary_y[:, :1], binary_p[:, :1]),
    # Of five classes, number 4 occurs in neither.
    "classes": tuple(f32(stream(name).randint(0, 4, 12)) for name in ("classes", "found classes")),
    "classes_1": tuple(f32(stream(name).randint(0, 4, (8, 1))) for name in ("classes", "found classes")),
    "labels_axis_1": (f32(step_labels), f32(np.moveaxis(steps, -1, 1))),
    "row": (None, f32(stream("row").uniform(-2, 2, 6))),
}
PLAIN = ["mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
         "squared_hinge", "hinge", "categorical_hinge", "logcosh", "huber_loss", "kullback_leibler_divergence", "poisson",
         "cosine_proximity"]
SETS = dict([(name, ["real", "real_3d", "signs", "onehot", "binary"]) for name in PLAIN],
            kullback_leibler_divergence=["soft", "onehot", "onehot_3d"], poisson=["soft", "onehot", "onehot_3d"],
            categorical_crossentropy=["onehot", "soft", "onehot_3d"], binary_crossentropy=["binary", "binary_1", "soft"],
            sparse_categorical_crossentropy=["labels", "labels_3d"])
OBJECTS = [
    losses.BinaryCrossentropy(), losses.BinaryCrossentropy(label_smoothing=0.1), losses.BinaryCrossentropy(from_logits=True),
    losses.CategoricalCrossentropy(), losses.CategoricalCrossentropy(label_smoothing=0.1),
    losses.CategoricalCrossentropy(from_logits=True), losses.SparseCategoricalCrossentropy(),
    losses.SparseCategoricalCrossentropy(from_logits=True), losses.Huber(delta=0.5),
]
CLASSES = [(losses.MeanSquaredError, "real"), (losses.MeanAbsoluteError, "real"), (losses.MeanAbsolutePercentageError, "signs"),
           (losses.MeanSquaredLogarithmicError, "binary"), (losses.BinaryCrossentropy, "binary"),
           (losses.CategoricalCrossentropy, "onehot"), (losses.SparseCategoricalCrossentropy, "labels"), (losses.Hinge, "signs"),
           (losses.SquaredHinge, "binary"), (losses.CategoricalHinge, "onehot"), (losses.Poisson, "soft"), (losses.LogCosh, "real"),
           (losses.KLDivergence, "soft"), (losses.Huber, "real")]


def run(tensors):
    return K.get_session().run(tensors)


def finite(*values):
    return all(np.isfinite(v).all() for v in values)


def record_loss(name, loss, data, floatx, activation=None):
    fresh(floatx)
    y, p = DATA[data]
    if activation:
        p = f32(np.log(np.clip(p, 1e-6, 1)) - (0 if activation == "softmax" else np.log(np.clip(1 - p, 1e-6, 1))) + (p > 0.4))
        p[0] *= 8
    target, prediction = K.constant(y), K.variable(p)
    try:
        made = losses.get(loss) if isinstance(loss, str) else loss
        call = made if isinstance(loss, str) else made.call
        values = call(target, activations.get(activation)(prediction) if activation else prediction)
        values, gradient = run([values, K.gradients(K.sum(values), prediction)[0]])
    except (TypeError, ValueError):
        return  # Keras's own code mixes float32 into float64 there.
    if finite(values, gradient):
        fields = dict(activation=activation) if activation else {}
        fixture.case(name="loss %s %s %s%s" % (name, data, activation or "", floatx[-3:]), kind="loss", floatx=floatx, data=data,
                     config=losses.serialize(made), y_true=y, y_pred=p, values=values, gradient=gradient, **fields)


def record_weighted(i, loss, data, weights, floatx):
    fresh(floatx)
    y, p = DATA[data]
    called = loss(K.constant(y), K.constant(p), sample_weight=None if weights is None else K.constant(weights))
    fields = dict(values=run(called)) if loss.reduction == "none" else {}
    fixture.case(name="weighted %s%s" % (i, floatx[-3:]), kind="weighted", floatx=floatx, config=losses.serialize(loss),
                 y_true=y, y_pred=p, weights=weights, value=run(K.mean(called)), **fields)


def record_metric(i, make, data, weighted, floatx):
    fresh(floatx)
    y, p = DATA[data]
    metric = make()
    K.get_session().run([v.initializer for v in metric.weights])
    batches = []
    for half in (slice(None, len(p) // 2), slice(len(p) // 2, None)):
        weights = f32(stream("weights").uniform(0, 2, len(p))[half]) if weighted else None
        batch = dict(values=p[half]) if type(metric) in (metrics.Mean, metrics.Sum) else dict(y_true=y[half], y_pred=p[half])
        update = metric.update_state(*map(K.constant, batch.values()), sample_weight=None if weights is None else K.constant(weights))
        run(update)
        batches.append(dict(batch, weights=weights))
    result = run(metric.result())
    if finite(result):
        config = dict(class_name=metric.__class__.__name__, config=metric.get_config())
        fixture.case(name="metric %d%s" % (i, floatx[-3:]), kind="metric", floatx=floatx, config=config, batches=batches,
                     result=result,
                     states=[K.get_value(v) for v in metric.weights if K.int_shape(v) < (50,)])


for floatx in ("float32", "float64"):
    fresh(floatx)
    tail = floatx[-3:]
    grid = f32(np.concatenate([np.linspace(-6, 6, 25), [-30, 30, 1e-4, -1e-4]]))[:, None]
    for name in ["elu", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "exponential", "linear"]:
        fixture.case(name="activation %s%s" % (name, tail), kind="activation", floatx=floatx, function=name, x=grid,
                     y=run(activations.get(name)(K.constant(grid))))
    for shape in ((4, 5), (2, 3, 4)):
        x = f32(stream("softmax").normal(size=shape) * 5)
        fixture.case(name="activation softmax %d%s" % (len(shape), tail), kind="activation", floatx=floatx, function="softmax", x=x,
                     y=run(activations.softmax(K.constant(x))))
    for name in sorted(SETS):
        for data in SETS[name]:
            record_loss(name, name, data, floatx)
    for name, activation, data in [("categorical_crossentropy", "softmax", "onehot"), ("categorical_crossentropy", "softmax", "soft"),
                                   ("sparse_categorical_crossentropy", "softmax", "labels"), ("binary_crossentropy", "sigmoid", "binary")]:
        record_loss(name, name, data, floatx, activation)
    for i, made in enumerate(OBJECTS):
        data = {"Bi": "binary", "Ca": "onehot", "Sp": "labels", "Hu": "real"}[made.__class__.__name__[:2]]
        record_loss("%s_%d" % (made.__class__.__name__, i), made, "soft" if data == "onehot" else data, floatx)
        if i in (1, 4, 6):
            record_loss("%s_%d" % (made.__class__.__name__, i), made, data, floatx, "sigmoid" if data == "binary" else "softmax")
    weights = f32([1, 0.5, 0, 2, 0, 3])
    for i, (loss, data, w) in enumerate([
            (losses.MeanSquaredError(), "real", None), (losses.MeanSquaredError(), "real", weights),
            (losses.MeanSquaredError(reduction="sum"), "real", weights), (losses.MeanAbsoluteError(), "real", weights[:, None]),
            (losses.MeanSquaredError(), "real_3d", f32([2, 0.5])), (losses.MeanSquaredError(), "real_3d", f32([[2, 0.5, 0], [1, 1, 3]])),
            (losses.CategoricalCrossentropy(reduction="sum"), "onehot", weights), (losses.Huber(), "real", weights)]):
        record_weighted(i, loss, data, w, floatx)
    for cls, data in CLASSES:
        for options in (dict(reduction="sum"), dict(reduction="sum_over_batch_size"), dict(reduction="none", name="mine")):
            try:
                record_weighted("%s %s " % (cls.__name__, options["reduction"]), cls(**options), data, weights, floatx)
            except TypeError as error:
                print(cls.__name__, floatx, str(error)[:100])
    M = metrics
    named = lambda cls, **options: lambda: cls(name="m", **options)
    i = 0
    for make, sets in [
            (named(M.MeanSquaredError), ["real", "real_3d"]), (named(M.MeanAbsoluteError), ["real"]),
            (named(M.MeanAbsolutePercentageError), ["real"]), (named(M.MeanSquaredLogarithmicError), ["binary"]),
            (named(M.RootMeanSquaredError), ["real"]), (named(M.Hinge), ["signs"]), (named(M.SquaredHinge), ["binary"]),
            (named(M.Accuracy), ["binary", "real"]), (named(M.BinaryAccuracy), ["binary", "binary_1"]),
            (named(M.BinaryAccuracy, threshold=0.3), ["binary"]), (named(M.CategoricalAccuracy), ["onehot", "onehot_3d"]),
            (named(M.SparseCategoricalAccuracy), ["labels", "labels_3d"]), (named(M.TopKCategoricalAccuracy, k=2), ["onehot"]),
            (named(M.SparseTopKCategoricalAccuracy, k=2), ["labels"]), (named(M.SparseTopKCategoricalAccuracy), ["labels"]),
            (named(M.Poisson), ["soft"]), (named(M.KLDivergence), ["soft"]), (named(M.CosineSimilarity), ["real"]),
            (named(M.CosineSimilarity, axis=1), ["real_3d"]), (named(M.BinaryCrossentropy, label_smoothing=0.1), ["binary"]),
            (named(M.CategoricalCrossentropy), ["soft", "onehot_3d"]), (named(M.SparseCategoricalCrossentropy), ["labels"]),
            (named(M.TruePositives), ["binary"]), (named(M.TrueNegatives), ["binary"]), (named(M.FalsePositives, thresholds=[0.2, 0.7]), ["binary"]),
            (named(M.FalseNegatives, thresholds=0.4), ["binary"]), (named(M.Precision), ["binary", "onehot"]),
            (named(M.Precision, thresholds=[0.1, 0.5]), ["onehot"]), (named(M.Precision, top_k=2), ["onehot"]),
            (named(M.Recall), ["binary"]), (named(M.Recall, top_k=2), ["onehot"]), (named(M.Recall, class_id=1), ["onehot"]),
            (named(M.SensitivityAtSpecificity, specificity=0.6), ["binary"]),
            (named(M.SpecificityAtSensitivity, sensitivity=0.6, num_thresholds=20), ["binary"]),
            (named(M.AUC), ["binary"]), (named(M.AUC, curve="PR", num_thresholds=21), ["binary", "onehot"]),
            (named(M.AUC, num_thresholds=21), ["onehot"]),
            (named(M.AUC, num_thresholds=11, summation_method="minoring"), ["binary"]),
            (named(M.AUC, num_thresholds=11, summation_method="majoring", curve="PR"), ["binary"]),
            (named(M.AUC, thresholds=[0.7, 0.2, 0.4]), ["binary"]),
            # Not "real_3d": where values have two axes more than weights, Keras counts a weight once for all that it weighs.
            (named(M.Mean), ["row", "real"]), (named(M.Mean, dtype="float64"), ["row"]), (named(M.Sum), ["row", "real", "real_3d"]),
            (named(M.CategoricalHinge), ["onehot", "real"]), (named(M.LogCoshError), ["real", "real_3d"]),
            (named(tf.keras.metrics.MeanIoU, num_classes=5), ["classes", "classes_1"]),
            (named(M.BinaryCrossentropy, from_logits=True), ["binary"]), (named(M.CategoricalCrossentropy, from_logits=True), ["soft"]),
            (named(M.CategoricalCrossentropy, label_smoothing=0.2), ["soft"]),
            (named(M.SparseCategoricalCrossentropy, from_logits=True), ["labels"]),
            (named(M.SparseCategoricalCrossentropy, axis=1), ["labels_axis_1"]), (named(M.TopKCategoricalAccuracy), ["onehot"]),
            (named(M.TruePositives, thresholds=[0.2, 0.7]), ["binary"]), (named(M.TrueNegatives, thresholds=0.4), ["binary"]),
            (named(M.FalsePositives), ["binary"]), (named(M.FalseNegatives), ["binary"]),
            (named(M.Precision, class_id=1), ["onehot"]), (named(M.Precision, thresholds=0.3, top_k=3), ["onehot"]),
            (named(M.Precision, top_k=2, class_id=2), ["onehot"]), (named(M.Recall, thresholds=[0.1, 0.5]), ["onehot"]),
            (named(M.Recall, thresholds=0.3, top_k=2, class_id=2), ["onehot"]),
            (named(M.SensitivityAtSpecificity, specificity=0.35, num_thresholds=20), ["binary"]),
            (named(M.SensitivityAtSpecificity, specificity=0.35, num_thresholds=1), ["binary"]),
            (named(M.SpecificityAtSensitivity, sensitivity=0.3), ["binary"]),
            (named(M.AUC, num_thresholds=11, summation_method="majoring"), ["binary"]),
            (named(M.AUC, num_thresholds=11, summation_method="minoring", curve="PR"), ["binary"]),
            (named(M.AUC, thresholds=[0.3, 0.6], curve="PR"), ["binary"])]:
        for data in sets:
            for weighted in (False, True):
                i += 1
                if floatx == "float64":
                    continue  # Much of Keras's own code mixes float32 into it.
                try:
                    record_metric(i, make, data, weighted, floatx)
                except (TypeError, ValueError) as error:
                    print(i, data, weighted, str(error)[:100])
    fresh(floatx)
    w = f32(stream("w").normal(size=(4, 3)))
    w[:, 1] *= 0.1
    kernel = f32(stream("kernel").normal(size=(2, 2, 3, 4)))
    R, C = regularizers, constraints
    for kind, module, value, made in [
            ("regularizer", R, w, [R.l1(0.1), R.l2(0.1), R.l1_l2(0.1, 0.2), R.l2(), R.l1(), R.l1_l2(), R.L1L2(), R.L1L2(l1=0.3),
                                   R.L1L2(l2=0.3), R.L1L2(0.3, 0.4)]),
            ("constraint", C, w, [C.max_norm(1.5), C.max_norm(), C.max_norm(1, axis=1), C.max_norm(1, axis=[0, 1]), C.non_neg(),
                                  C.unit_norm(), C.min_max_norm(0.5, 1.0, rate=0.8), C.max_norm(0.7, axis=-1), C.unit_norm(axis=1),
                                  C.unit_norm(axis=[0, 1]), C.min_max_norm(), C.min_max_norm(0.2, 0.6, rate=0.5, axis=1)]),
            ("constraint of a kernel", C, kernel, [C.max_norm(1.5, axis=[0, 1, 2]), C.non_neg(), C.unit_norm(axis=[0, 1, 2]),
                                                   C.min_max_norm(0.5, 1.5, rate=0.8, axis=[0, 1, 2])])]:
        for j, one in enumerate(made):
            y = one(K.constant(value))
            fixture.case(name="%s %d%s" % (kind, j, tail), kind=kind.split()[0], floatx=floatx, config=module.serialize(one),
                         w=value, y=run(y) if K.is_tensor(y) else y)
fresh()
for given in ["zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "normal", "uniform", "identity", "orthogonal",
              "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "VarianceScaling",
              "zero", "one", "Zeros", "Ones", "Constant", "RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal", "Identity"] + [
        dict(class_name=name, config=options) for name, options in [
            ("Zeros", {}), ("Ones", {"dtype": "float32"}), ("Constant", dict(value=2.5)), ("constant", dict(value=3)),
            ("RandomNormal", dict(mean=1.5, stddev=0.2, seed=3)), ("normal", dict(stddev=2.0)),
            ("RandomUniform", dict(minval=-1.5, maxval=0.25, seed=0)), ("uniform", dict(maxval=2)),
            ("TruncatedNormal", dict(mean=-1.5, stddev=0.3, seed=-4)), ("truncated_normal", dict(seed=5)),
            ("VarianceScaling", dict(scale=0.3, mode="fan_in", distribution="uniform", seed=6)),
            ("VarianceScaling", dict(scale=2, mode="FAN_OUT", distribution="Normal")),
            ("VarianceScaling", dict(mode="fan_avg", distribution="normal")), ("Orthogonal", dict(gain=1.5, seed=7)),
            ("orthogonal", dict(gain=2)), ("Identity", dict(gain=0.5)), ("identity", dict(gain=3)),
            ("glorot_uniform", dict(seed=8)), ("glorot_normal", dict(seed=9)), ("he_uniform", dict(seed=10)),
            ("he_normal", dict(seed=11)), ("lecun_uniform", dict(seed=12)), ("lecun_normal", dict(seed=13))]]:
    fixture.case(name="initializer " + json.dumps(given).strip('"'), kind="initializer", given=given,
                 config=initializers.serialize(initializers.get(copy.deepcopy(given))))


def public(module, is_one):
    """The names in a module of the classes and functions of its kind, base classes aside."""
    return [name for name, value in sorted(vars(module).items()) if callable(value) and is_one(value) and not name.startswith("_")]


def starts(*parameters):
    return lambda value: inspect.isfunction(value) and tuple(inspect.signature(value).parameters)[:len(parameters)] == parameters


def below(*bases):
    return lambda value: inspect.isclass(value) and issubclass(value, bases) and value not in bases


# compile makes of "accuracy" one of three others: as a function's name it stands for itself nowhere.
for module, names in [(activations, public(activations, starts("x"))), (losses, public(losses, starts("y_true", "y_pred"))),
                      (metrics, [name for name in public(metrics, starts("y_true", "y_pred")) if name != "accuracy"]),
                      (regularizers, public(regularizers, below(regularizers.Regularizer)) + ["l1", "l1_l2", "l2"]),
                      (constraints, public(constraints, below(constraints.Constraint)))]:
    for given in names:
        fixture.case(name="%s.%s" % (module.__name__, given), kind="named", module=module.__name__.split(".")[-1], given=given,
                     config=module.serialize(module.get(given)))


def recorded(kind, of):
    return set(map(of, (case for case in fixture.cases if case["kind"] == kind)))


def check(what, wanted, found):
    if not set(wanted) <= found:
        raise ValueError("%s that are not recorded: %s" % (what, sorted(set(wanted) - found)))


class_of = lambda case: case["config"]["class_name"]
check("activations", public(activations, starts("x")), recorded("activation", lambda case: case["function"]))
check("loss functions", (f.__name__ for f in map(losses.get, public(losses, starts("y_true", "y_pred")))),
      recorded("loss", lambda case: str(case["config"])))
check("loss classes", public(losses, below(losses.Loss, losses.LossFunctionWrapper)), recorded("weighted", class_of))
check("metric classes", public(metrics, below(metrics.Metric, metrics.Reduce, metrics.MeanMetricWrapper,
                                              metrics.SensitivitySpecificityBase)) + ["MeanIoU"], recorded("metric", class_of))
check("regularizers", public(regularizers, below(regularizers.Regularizer)), recorded("regularizer", class_of))
check("constraints", (one.__class__.__name__ for one in map(constraints.get, public(constraints, below(constraints.Constraint)))),
      recorded("constraint", class_of))
check("initializers", public(initializers, below(initializers.Initializer)) + public(initializers, starts("seed")),
      recorded("initializer", lambda case: case["given"] if isinstance(case["given"], str) else None))
fixture.write()
