"""Losses of Keras 2.2.4, where they differ from 2.3.1, and how it averages them with weights and masks. Writes
tests/fixtures/functions_2_2_4.json.

Cases, numbers as nested lists: kind "loss" {function, y_true, y_pred, values}, with "activation" of logits y_pred;
kind "weighted" {function, y_true, y_pred, weights, mask, value}.
"""
import numpy as np

from fixture import Fixture, expect, fresh, stream
from keras import activations, backend as K, losses
from keras.engine.training_utils import weighted_masked_objective

expect("2.2.4")
fixture = Fixture("functions_2_2_4", __file__)
rs = stream("functions")
f32 = lambda a: np.asarray(a, "float32")
fresh()
y, p = f32(rs.randint(0, 2, (6, 3))), f32(rs.uniform(0, 1, (6, 3)))
p[0] = [0, 1, 0.5]
onehot = f32(np.eye(4)[[0, 2, 1, 3]])
logits = f32(rs.normal(size=(4, 4)) * 3)
logits[0] *= 20
run = lambda tensor: K.get_session().run(tensor)
fixture.case(name="binary", kind="loss", function="binary_crossentropy", y_true=y, y_pred=p,
             values=run(losses.binary_crossentropy(K.constant(y), K.constant(p))))
for name, activation, target in [("binary_crossentropy", "sigmoid", onehot), ("categorical_crossentropy", "softmax", onehot),
                                 ("sparse_categorical_crossentropy", "softmax", f32([[0], [2], [1], [3]]))]:
    fixture.case(name=name + " of " + activation, kind="loss", function=name, activation=activation, y_true=target, y_pred=logits,
                 values=run(losses.get(name)(K.constant(target), activations.get(activation)(K.constant(logits)))))
for i, (shape, weights, mask) in enumerate([
        ((4, 3), None, None), ((4, 3), [1, 2, 0, 0.5], None), ((2, 3, 2), [2, 0], None),
        ((2, 3, 2), [[1, 0, 2], [0, 0, 1]], None), ((2, 3, 2), None, [[1, 1, 0], [1, 0, 0]]),
        ((2, 3, 2), [2, 0.5], [[1, 1, 0], [1, 0, 0]]), ((2, 3, 2), [[1, 0, 2], [0, 0, 1]], [[1, 1, 0], [1, 0, 0]])]):
    a, b = f32(rs.normal(size=shape)), f32(rs.normal(size=shape))
    call = weighted_masked_objective(losses.mean_squared_error)
    value = call(K.constant(a), K.constant(b), None if weights is None else K.constant(f32(weights)), None if mask is None else K.constant(np.array(mask, bool), dtype="bool"))
    fixture.case(name="weighted %d" % i, kind="weighted", function="mean_squared_error", y_true=a, y_pred=b, weights=weights, mask=mask, value=run(value))
fixture.write()
