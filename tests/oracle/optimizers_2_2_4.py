"""Optimizer steps of Keras 2.2.4 (2.3.1 reads `iterations` at random before or after the increment). Writes
tests/fixtures/optimizers_2_2_4.{json,npz}.

One model (the .json's "model", text of to_json; tanh hidden layer, linear output, loss mse), one set of initial weights
("initial/weight_I"), 20 steps of train_on_batch; step k takes rows [16k, 16k+16) modulo 80 of "data/x" and "data/y" (float32).
A case: name, floatx, optimizer {class_name, config} with 2.2.4's keys (`lr`), optimizer_weights (names in get_weights order).
In float64 cases the model's layers and the optimizer are float64; data and initial weights are the same numbers.
Arrays: "CASE/loss" (20,), "CASE/weight_I" after the last step, "CASE/optimizer_weight_I" after the last step; in floatx
(iterations: int64).

Before anything is written, every run is compared with the published update formulas in numpy (float64), so that an accident of
TensorFlow's scheduling cannot become a fixture: relative difference of losses and weights below 1e-9 in float64, 1e-5 in float32.
"""
import numpy as np

from fixture import Fixture, expect, fresh, initial_weights, stream
from keras import optimizers as O
from keras.layers import Dense
from keras.models import Sequential

expect("2.2.4")
fixture = Fixture("optimizers_2_2_4", __file__, batch=16, steps=20, loss="mean_squared_error")

OPTIMIZERS = {
    "sgd": lambda: O.SGD(lr=0.1),
    "sgd_default": lambda: O.SGD(),
    "sgd_decay": lambda: O.SGD(lr=0.1, decay=0.1),
    "sgd_momentum": lambda: O.SGD(lr=0.1, momentum=0.9),
    "sgd_momentum_decay": lambda: O.SGD(lr=0.1, momentum=0.9, decay=0.1),
    "sgd_nesterov": lambda: O.SGD(lr=0.1, momentum=0.9, nesterov=True),
    "sgd_nesterov_decay": lambda: O.SGD(lr=0.1, momentum=0.5, nesterov=True, decay=0.1),
    "sgd_clipnorm": lambda: O.SGD(lr=0.1, clipnorm=0.5),
    "sgd_clipvalue": lambda: O.SGD(lr=0.1, clipvalue=0.05),
    "sgd_clipnorm_clipvalue": lambda: O.SGD(lr=0.1, momentum=0.9, clipnorm=0.5, clipvalue=0.1),
    "rmsprop": lambda: O.RMSprop(),
    "rmsprop_lr": lambda: O.RMSprop(lr=0.02, rho=0.8),
    "rmsprop_decay": lambda: O.RMSprop(lr=0.02, decay=0.1),
    "rmsprop_epsilon": lambda: O.RMSprop(lr=0.02, epsilon=1e-2),
    "rmsprop_clipnorm": lambda: O.RMSprop(lr=0.02, clipnorm=0.5),
    "adagrad": lambda: O.Adagrad(),
    "adagrad_decay": lambda: O.Adagrad(lr=0.1, decay=0.1),
    "adagrad_clipvalue": lambda: O.Adagrad(lr=0.1, clipvalue=0.05),
    "adadelta": lambda: O.Adadelta(),
    "adadelta_decay": lambda: O.Adadelta(rho=0.9, decay=0.1),
    "adadelta_clipnorm": lambda: O.Adadelta(clipnorm=0.5),
    "adam": lambda: O.Adam(),
    "adam_lr": lambda: O.Adam(lr=0.02, beta_1=0.8, beta_2=0.95),
    "adam_decay": lambda: O.Adam(lr=0.02, decay=0.1),
    "adam_epsilon": lambda: O.Adam(lr=0.02, epsilon=1e-2),
    "adam_clipnorm": lambda: O.Adam(lr=0.02, clipnorm=0.5),
    "adam_clipvalue": lambda: O.Adam(lr=0.02, clipvalue=0.05),
    "adam_amsgrad": lambda: O.Adam(lr=0.02, beta_2=0.9, amsgrad=True),
    "adam_amsgrad_decay": lambda: O.Adam(lr=0.02, beta_2=0.9, amsgrad=True, decay=0.1),
    "adamax": lambda: O.Adamax(),
    "adamax_decay": lambda: O.Adamax(lr=0.02, decay=0.1),
    "adamax_clipnorm": lambda: O.Adamax(lr=0.02, clipnorm=0.5),
    "nadam": lambda: O.Nadam(),
    "nadam_lr": lambda: O.Nadam(lr=0.02, schedule_decay=0.01),
    "nadam_clipnorm": lambda: O.Nadam(lr=0.02, clipnorm=0.5),
}


def build():
    return Sequential([Dense(8, activation="tanh", input_shape=(6,)), Dense(3)])


def reference(config, kind, weights, batches):
    """Losses and final weights by the formulas, in float64. config: the optimizer's, with its clip settings."""
    lr, decay, epsilon = config["lr"], config.get("decay", 0.0), config.get("epsilon")
    w = [v.astype("float64") for v in weights]
    a, b, c = [[np.zeros_like(v) for v in w] for _ in range(3)]
    losses, schedule = [], 1.0
    for k, (x, target) in enumerate(batches):
        hidden = np.tanh(x.dot(w[0]) + w[1])
        error = hidden.dot(w[2]) + w[3] - target
        losses.append((error ** 2).mean())
        out = 2 * error / error.size
        inner = out.dot(w[2].T) * (1 - hidden ** 2)
        gradients = [x.T.dot(inner), inner.sum(0), hidden.T.dot(out), out.sum(0)]
        if "clipnorm" in config:
            norm = np.sqrt(sum((g ** 2).sum() for g in gradients))
            gradients = [g * config["clipnorm"] / norm if norm >= config["clipnorm"] else g for g in gradients]
        if "clipvalue" in config:
            gradients = [np.clip(g, -config["clipvalue"], config["clipvalue"]) for g in gradients]
        rate, t = lr / (1 + decay * k), k + 1
        b1, b2 = config.get("beta_1"), config.get("beta_2")
        if kind == "Nadam":
            now, after = [b1 * (1 - 0.5 * 0.96 ** (s * config["schedule_decay"])) for s in (t, t + 1)]
            schedule *= now
        for i, g in enumerate(gradients):
            if kind == "SGD":
                a[i] = config["momentum"] * a[i] - rate * g
                w[i] = w[i] + (config["momentum"] * a[i] - rate * g if config["nesterov"] else a[i])
            elif kind in ("RMSprop", "Adagrad"):
                a[i] = config["rho"] * a[i] + (1 - config["rho"]) * g ** 2 if kind == "RMSprop" else a[i] + g ** 2
                w[i] = w[i] - rate * g / (np.sqrt(a[i]) + epsilon)
            elif kind == "Adadelta":
                a[i] = config["rho"] * a[i] + (1 - config["rho"]) * g ** 2
                update = g * np.sqrt(b[i] + epsilon) / np.sqrt(a[i] + epsilon)
                w[i] = w[i] - rate * update
                b[i] = config["rho"] * b[i] + (1 - config["rho"]) * update ** 2
            else:
                a[i] = b1 * a[i] + (1 - b1) * g
                if kind == "Adamax":
                    b[i] = np.maximum(b2 * b[i], np.abs(g))
                    w[i] = w[i] - rate / (1 - b1 ** t) * a[i] / (b[i] + epsilon)
                    continue
                b[i] = b2 * b[i] + (1 - b2) * g ** 2
                if kind == "Nadam":
                    step = (1 - now) * g / (1 - schedule) + after * a[i] / (1 - schedule * after)
                    w[i] = w[i] - rate * step / (np.sqrt(b[i] / (1 - b2 ** t)) + epsilon)
                    continue
                c[i] = np.maximum(c[i], b[i]) if config["amsgrad"] else b[i]
                w[i] = w[i] - rate * np.sqrt(1 - b2 ** t) / (1 - b1 ** t) * a[i] / (np.sqrt(c[i]) + epsilon)
    return losses, w


def check(name, floatx, losses, weights, expected):
    for got, want in zip([np.array(losses)] + weights, [np.array(expected[0])] + expected[1]):
        difference = np.abs(got - want).max() / np.abs(want).max()
        if not difference < (1e-9 if floatx == "float64" else 1e-5):
            raise SystemExit("%s: expected the formula's numbers, received a relative difference of %g" % (name, difference))


rs = stream("optimizers")
x = rs.uniform(-1, 1, (80, 6)).astype("float32")
y = (np.sin(x.dot(rs.uniform(-1, 1, (6, 3)))) + 0.1 * rs.normal(size=(80, 3))).astype("float32")
fixture.array("data/x", x)
fixture.array("data/y", y)
fresh()
model = build()
fixture.head["model"] = model.to_json()
initial = initial_weights(model.weights, rs)
for i, value in enumerate(initial):
    fixture.array("initial/weight_%d" % i, value)

for name, optimizer in OPTIMIZERS.items():
    for floatx in ["float32", "float64"]:
        fresh(floatx)
        model, made, key = build(), optimizer(), "%s_%s" % (name, floatx)
        model.set_weights(initial)
        model.compile(made, "mse")
        losses = []
        for step in range(20):
            at = 16 * step % 80
            losses.append(model.train_on_batch(x[at:at + 16].astype(floatx), y[at:at + 16].astype(floatx)))
        batches = [(v[0].astype("float64"), v[1].astype("float64")) for k in range(20) for v in [(x[16 * k % 80:][:16], y[16 * k % 80:][:16])]]
        check(key, floatx, losses, model.get_weights(), reference(made.get_config(), type(made).__name__, initial, batches))
        fixture.array(key + "/loss", np.array(losses, floatx))
        for i, value in enumerate(model.get_weights()):
            fixture.array("%s/weight_%d" % (key, i), value)
        for i, value in enumerate(made.get_weights()):
            fixture.array("%s/optimizer_weight_%d" % (key, i), value)
        fixture.case(name=key, floatx=floatx, optimizer=O.serialize(made), optimizer_weights=[w.name for w in made.weights])
fixture.write()
