"""Activations, losses, metrics, regularizers, constraints and initializers of Keras 2.3.1. Writes tests/fixtures/functions_2_3_1.json.

A case has a name, a kind, floatx, and, written out as nested lists (float32 numbers in both floatx):
    activation  {function, x, y}
    loss        {config (as serialized), data, y_true, y_pred, values, gradient (of their sum to y_pred)}; with "activation",
                y_pred holds logits and the loss is of that activation of them
    weighted    {config, y_true, y_pred, weights, value}: the loss object called with sample weights
    metric      {config, batches [{y_true, y_pred, weights}], states (long ones are left out), result}: after all batches
    regularizer, constraint  {config, w, y}
    initializer {given, config}
What is not finite in Keras is not recorded.
"""
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
    value = run(loss(K.constant(y), K.constant(p), sample_weight=None if weights is None else K.constant(weights)))
    if loss.reduction != "none":
        fixture.case(name="weighted %d%s" % (i, floatx[-3:]), kind="weighted", floatx=floatx, config=losses.serialize(loss),
                     y_true=y, y_pred=p, weights=weights, value=value)


def record_metric(i, make, data, weighted, floatx):
    fresh(floatx)
    y, p = DATA[data]
    metric = make()
    K.get_session().run([v.initializer for v in metric.weights])
    batches = []
    for half in (slice(None, len(y) // 2), slice(len(y) // 2, None)):
        weights = f32(stream("weights").uniform(0, 2, len(y))[half]) if weighted else None
        update = metric.update_state(K.constant(y[half]), K.constant(p[half]), sample_weight=None if weights is None else K.constant(weights))
        run(update)
        batches.append(dict(y_true=y[half], y_pred=p[half], weights=weights))
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
            (named(M.AUC, thresholds=[0.7, 0.2, 0.4]), ["binary"])]:
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
    for kind, module, made in [
            ("regularizer", regularizers, [regularizers.l1(0.1), regularizers.l2(0.1), regularizers.l1_l2(0.1, 0.2), regularizers.l2()]),
            ("constraint", constraints, [constraints.max_norm(1.5), constraints.max_norm(), constraints.max_norm(1, axis=1),
                                         constraints.max_norm(1, axis=[0, 1]), constraints.non_neg(), constraints.unit_norm(),
                                         constraints.min_max_norm(0.5, 1.0, rate=0.8)])]:
        for j, one in enumerate(made):
            fixture.case(name="%s %d%s" % (kind, j, tail), kind=kind, floatx=floatx, config=module.serialize(one), w=w, y=run(one(K.constant(w))))
fresh()
for given in ["zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "normal", "uniform", "identity", "orthogonal",
              "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "VarianceScaling"]:
    fixture.case(name="initializer " + given, kind="initializer", given=given, config=initializers.serialize(initializers.get(given)))
fixture.write()
