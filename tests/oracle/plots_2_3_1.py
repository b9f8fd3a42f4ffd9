"""The graphs that Keras 2.3.1's model_to_dot makes. Writes tests/fixtures/plots_2_3_1.json.

A case is one model: name, json (the text of to_json), and plots: a list of options (the arguments of model_to_dot beside their
defaults) and dot (its text, in which the ids of layers are numbers in the order in which they appear).
Graphviz is not needed: nothing is drawn.
"""
import re

from fixture import Fixture, expect, fresh
from keras import layers as L
from keras.models import Model, Sequential
from keras.utils import vis_utils

expect("2.3.1")
# It would look for Graphviz.
vis_utils._check_pydot = lambda: None


def cnn():
    return Sequential([L.Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)), L.MaxPooling2D(), L.Dropout(0.25), L.Flatten(),
                       L.Dense(128, activation="relu"), L.Dense(10, activation="softmax")])


def residual():
    x = L.Input((8, 8, 3))
    y = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(3, 3, padding="same")(x)))
    y = L.Add()([x, L.Conv2D(3, 1)(y)])
    return Model(x, L.GlobalAveragePooling2D()(L.Concatenate()([y, x, y])))


def shared():
    a, b, c = L.Input((6, 6, 2)), L.Input((6, 6, 2)), L.Input((8, 8, 2))
    conv, dense = L.Conv2D(2, 3), L.Dense(2)
    features = [L.GlobalMaxPooling2D()(conv(x)) for x in (a, b, c)]
    return Model([a, b, c], L.Add()([dense(dense(x)) for x in features]))


def several_outputs():
    a, b = L.Input((8,), name="left"), L.Input((3, 4), name="right")
    z = L.Concatenate()([L.Dense(16)(a), L.Flatten()(b)])
    return Model([a, b], [L.Dense(4, name="class")(z), L.Dense(1, name="value")(z)])


def recurrent():
    return Sequential([L.Bidirectional(L.LSTM(4, return_sequences=True, stateful=True), batch_input_shape=(2, 5, 3)),
                       L.TimeDistributed(L.Dense(2)), L.RNN([L.GRUCell(3), L.LSTMCell(2)])])


def nested():
    x = L.Input((6,))
    inner = Model(x, L.Dense(4, activation="relu")(L.BatchNormalization()(x)), name="inner")
    tower = Sequential([L.Dense(3, input_shape=(4,)), L.Dropout(0.5)], name="tower")
    a, b = L.Input((6,)), L.Input((6,))
    return Model([a, b], L.Dense(1)(L.Concatenate()([tower(inner(a)), tower(inner(b)), L.Dense(2)(a)])))


def nested_twice():
    x = L.Input((4,))
    inner = Sequential([L.Dense(3, input_shape=(4,)), L.Dense(4)], name="innermost")
    middle = Model(x, L.Dense(2)(inner(L.Dense(4)(x))), name="middle")
    return Sequential([L.Dense(4, input_shape=(2,)), middle, L.Activation("tanh")], name="outer")


def steps():
    frame = Sequential([L.Conv2D(2, 3, input_shape=(6, 6, 1)), L.Flatten()], name="frame")
    return Sequential([L.TimeDistributed(frame, input_shape=(4, 6, 6, 1)), L.LSTM(3)])


OPTIONS = [{}, {"show_shapes": True}, {"expand_nested": True, "rankdir": "LR"},
           {"show_shapes": True, "show_layer_names": False, "expand_nested": True, "dpi": 200}]


def text(model, **options):
    numbers = {}
    dot = vis_utils.model_to_dot(model, **options).to_string()
    return re.sub(r"\b\d{9,}\b", lambda found: str(numbers.setdefault(found.group(), len(numbers))), dot)


fixture = Fixture("plots_2_3_1", __file__)
for build in [cnn, residual, shared, several_outputs, recurrent, nested, nested_twice, steps]:
    fresh()
    model = build()
    fixture.case(name=build.__name__, json=model.to_json(), plots=[{"options": o, "dot": text(model, **o)} for o in OPTIONS])
fixture.write()
