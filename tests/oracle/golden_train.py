"""Optimizer trajectories, losses, metrics, penalties, constraints and activations on small numbers; what golden_train_2_3_1.py and
golden_train_2_2_4.py record. One case each, kind and name:

optimizer: {class_name, config}, five steps on the full batch of Dense(2) with mean_squared_error. "CASE/loss" (5,), "CASE/weight_I"
    (5, ...) after each step, "CASE/optimizer_weight_I" after the last; data in "data/x", "data/y", initial weights in "initial/weight_I".
loss, metric: "CASE/value", of "pairs/y_true" ("pairs/y_true_sparse" where the name starts with sparse) and "pairs/y_pred".
regularizer, constraint: {class_name, config}, "CASE/value", of "pairs/w".
activation: "CASE/value", of "pairs/x".
"""
import numpy as np

from fixture import Fixture, K, fresh
from keras import activations, constraints, losses, metrics, regularizers
from keras import optimizers as O
from keras.layers import Dense
from keras.models import Sequential

OPTIMIZERS = {
    "sgd": lambda: O.SGD(lr=.1), "sgd_mom": lambda: O.SGD(lr=.1, momentum=.9),
    "sgd_nest": lambda: O.SGD(lr=.1, momentum=.9, nesterov=True, decay=.1),
    "rmsprop": lambda: O.RMSprop(lr=.01, decay=.1), "adagrad": lambda: O.Adagrad(lr=.1), "adadelta": lambda: O.Adadelta(),
    "adam": lambda: O.Adam(lr=.01, decay=.1), "adam_ams": lambda: O.Adam(lr=.01, amsgrad=True),
    "adamax": lambda: O.Adamax(lr=.01), "nadam": lambda: O.Nadam(lr=.01),
    "clipnorm": lambda: O.SGD(lr=.1, clipnorm=.1), "clipvalue": lambda: O.SGD(lr=.1, clipvalue=.05),
}
LOSSES = ["mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
          "squared_hinge", "hinge", "categorical_hinge", "logcosh", "categorical_crossentropy", "binary_crossentropy",
          "kullback_leibler_divergence", "poisson", "cosine_proximity", "sparse_categorical_crossentropy"]
METRICS = ["binary_accuracy", "categorical_accuracy"]
REGULARIZERS = {"l1": lambda: regularizers.l1(.1), "l2": lambda: regularizers.l2(.1), "l1_l2": lambda: regularizers.l1_l2(.1, .2)}
CONSTRAINTS = {"max_norm": lambda: constraints.max_norm(1.5), "unit_norm": lambda: constraints.unit_norm(),
               "non_neg": lambda: constraints.non_neg(), "min_max": lambda: constraints.min_max_norm(.5, 1., .8)}
ACTIVATIONS = ["elu", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "exponential", "linear"]


def serialized(thing):
    return {"class_name": type(thing).__name__, "config": thing.get_config()}


def record(name, script, optimizers):
    """`optimizers`: those whose steps are recorded (Keras 2.3.1 reads `iterations` at random before or after the increment)."""
    fixture, rs = Fixture(name, script), np.random.RandomState(1)
    x, y, kernel, bias = [rs.uniform(-1, 1, shape).astype("float32") for shape in ((8, 3), (8, 2), (3, 2), (2,))]
    w = rs.uniform(-2, 2, (4, 3)).astype("float32")
    for key, value in (("data/x", x), ("data/y", y), ("initial/weight_0", kernel), ("initial/weight_1", bias)):
        fixture.array(key, value)
    for case in optimizers:
        record_steps(fixture, case, OPTIMIZERS[case], x, y, [kernel, bias])
    fresh()
    y_true = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], "float32")
    y_pred = np.array([[.2, .7, .1], [.05, .9, .05], [1e-9, .4, .6], [.5, .5, 0.]], "float32")
    sparse, line = y_true.argmax(1).reshape(-1, 1).astype("int64"), np.linspace(-4, 4, 17).astype("float32")
    for key, value in (("y_true", y_true), ("y_true_sparse", sparse), ("y_pred", y_pred), ("w", w), ("x", line)):
        fixture.array("pairs/" + key, value)

    def values(kind, names, compute, **fields):
        for case in names:
            fixture.case(name=case, kind=kind, **{key: of(case) for key, of in fields.items()})
            fixture.array(case + "/value", np.asarray(K.eval(compute(case)), "float32"))

    values("loss", LOSSES, lambda case: losses.get(case)(K.constant(sparse if case.startswith("sparse") else y_true), K.constant(y_pred)))
    values("metric", METRICS, lambda case: getattr(metrics, case)(K.constant(y_true), K.constant(y_pred)))
    values("regularizer", REGULARIZERS, lambda case: REGULARIZERS[case]()(K.constant(w)),
           regularizer=lambda case: serialized(REGULARIZERS[case]()))
    values("constraint", CONSTRAINTS, lambda case: CONSTRAINTS[case]()(K.constant(w)),
           constraint=lambda case: serialized(CONSTRAINTS[case]()))
    values("activation", ACTIVATIONS, lambda case: activations.get(case)(K.constant(line)))
    fixture.write()


def record_steps(fixture, case, build, x, y, weights):
    fresh()
    model = Sequential([Dense(2, input_shape=(3,))])
    model.compile(build(), "mse")
    model.set_weights(weights)
    losses_, after = [], [[] for _ in weights]
    for _ in range(5):
        losses_.append(model.train_on_batch(x, y))
        for values, weight in zip(after, model.get_weights()):
            values.append(weight)
    fixture.case(name=case, kind="optimizer", optimizer=serialized(model.optimizer))
    fixture.array(case + "/loss", np.array(losses_, "float32"))
    for i, values in enumerate(after):
        fixture.array("%s/weight_%d" % (case, i), np.stack(values))
    for i, weight in enumerate(model.optimizer.get_weights()):
        fixture.array("%s/optimizer_weight_%d" % (case, i), weight)
