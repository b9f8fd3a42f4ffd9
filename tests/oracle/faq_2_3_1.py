"""The freezing snippet of Keras 2.3.1's FAQ: two models share a layer, and the one that was compiled while it was frozen never
trains it. Writes tests/fixtures/faq_2_3_1.{json,npz}.

Arrays: x, y, weight_I (at first), loss (of the steps frozen, frozen, trainable, trainable, frozen), after_STEP_I (the weights then).
"""
import numpy as np

from fixture import Fixture, expect, fresh, initial_weights, keras, stream

expect("2.3.1")
fixture = Fixture("faq_2_3_1", __file__)
fresh()
rs = stream("freezing")
data, labels = rs.uniform(-1, 1, (8, 32)).astype("float32"), rs.uniform(-1, 1, (8, 32)).astype("float32")

x = keras.layers.Input(shape=(32,))
layer = keras.layers.Dense(32)
layer.trainable = False
y = layer(x)

frozen_model = keras.models.Model(x, y)
frozen_model.compile(optimizer="rmsprop", loss="mse")

layer.trainable = True
trainable_model = keras.models.Model(x, y)
trainable_model.compile(optimizer="rmsprop", loss="mse")

weights = initial_weights(layer.weights, rs)
layer.set_weights(weights)
fixture.array("x", data)
fixture.array("y", labels)
for i, weight in enumerate(weights):
    fixture.array("weight_%d" % i, weight)
losses = []
for step, model in enumerate([frozen_model, frozen_model, trainable_model, trainable_model, frozen_model]):
    losses.append(model.train_on_batch(data, labels))
    for i, weight in enumerate(layer.get_weights()):
        fixture.array("after_%d_%d" % (step, i), weight)
fixture.array("loss", np.array(losses, "float32"))
fixture.write()
