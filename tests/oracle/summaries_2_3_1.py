"""What Keras 2.3.1 writes about models: summary(), to_json(), names. Writes tests/fixtures/summaries_2_3_1.json.

A case is one model, built after clear_session: name, json (the text of to_json), summary (the text of summary(), lines
joined by newlines, with one at the end), summary_positions (line_length=110, positions=[.3, .6, .75, 1.]),
layer_names, weight_names (in get_weights order), weight_shapes, trainable_names (in trainable_weights order), input_names, output_names,
output_shapes, count_params, frozen (the layers whose trainable is False).
"auto_names": [[class name, the layer's name]], made in that order after one clear_session, by calling the constructors alone.
"""
import json

from fixture import Fixture, K, expect, fresh, keras
from keras import constraints, layers as L, regularizers as R
from keras.models import Model, Sequential

expect("2.3.1")


def sequential_mlp():
    return Sequential([L.Dense(512, activation="relu", input_shape=(784,)), L.Dropout(0.2), L.Dense(512, activation="relu"), L.Dropout(0.2),
                       L.Dense(10, activation="softmax")])


def sequential_regularized():
    return Sequential([
        L.Dense(8, input_dim=6, kernel_regularizer=R.l2(0.01), bias_regularizer=R.l1(0.1), activity_regularizer=R.l1_l2(0.1, 0.2),
                kernel_constraint=constraints.max_norm(2.0), kernel_initializer="he_normal", bias_initializer=keras.initializers.Constant(0.5)),
        L.ActivityRegularization(0.1, 0.2), L.Dense(3, use_bias=False, kernel_initializer="zeros")], name="regularized")


def sequential_cnn():
    return Sequential([L.ZeroPadding2D(((1, 2), (0, 1)), input_shape=(28, 28, 1)), L.Conv2D(32, (3, 3), activation="relu"), L.BatchNormalization(),
                       L.Conv2D(64, 3, strides=2, padding="same", use_bias=False), L.MaxPooling2D((2, 2)), L.AveragePooling2D(2, padding="same"),
                       L.Dropout(0.25), L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10, activation="softmax")])


def sequential_cnn_channels_first():
    return Sequential([L.Conv2D(4, 3, data_format="channels_first", input_shape=(2, 9, 8)), L.BatchNormalization(axis=1),
                       L.MaxPooling2D(data_format="channels_first"), L.GlobalAveragePooling2D(data_format="channels_first"), L.Dense(2)])


def sequential_shapes():
    return Sequential([L.Dense(12, input_shape=(4,)), L.Reshape((3, -1)), L.Permute((2, 1)), L.Flatten(), L.RepeatVector(2), L.Masking(), L.Activation("tanh")])


def sequential_embedding():
    return Sequential([L.Embedding(1000, 16, input_length=20, mask_zero=False), L.Flatten(), L.Dense(1, activation="sigmoid")])


def sequential_frozen():
    model = sequential_cnn()
    for layer in model.layers[:4]:
        layer.trainable = False
    return model


def sequential_batch_input():
    return Sequential([L.Dense(3, batch_input_shape=(16, 5)), L.Dense(2)])


def functional_two_inputs():
    a, b = L.Input((8,), name="left"), L.Input((3, 4), name="right")
    x = L.Dense(16, activation="relu")(a)
    y = L.Flatten()(b)
    z = L.Concatenate()([x, y])
    return Model([a, b], [L.Dense(4, activation="softmax", name="class")(z), L.Dense(1, name="value")(z)])


def functional_shared():
    a, b = L.Input((6,)), L.Input((6,))
    shared = L.Dense(5, activation="tanh")
    return Model([a, b], L.Dense(2)(L.Add()([shared(a), shared(b)])))


def functional_nested():
    x = L.Input((6,))
    inner = Model(x, L.Dense(4, activation="relu")(L.BatchNormalization()(x)), name="inner")
    tower = Sequential([L.Dense(3, input_shape=(4,)), L.Dropout(0.5)])
    a, b = L.Input((6,)), L.Input((6,))
    return Model([a, b], L.Dense(1)(L.Concatenate()([tower(inner(a)), tower(inner(b))])))


def functional_residual():
    x = L.Input((8, 8, 3))
    y = L.Conv2D(3, 3, padding="same")(x)
    y = L.Activation("relu")(L.BatchNormalization()(y))
    return Model(x, L.GlobalAveragePooling2D()(L.Add()([x, y])))


def long_names():
    x = L.Input((4,), name="an_input_layer_whose_name_is_longer_than_its_column")
    y = L.Dense(3, name="a_dense_layer_whose_name_is_also_far_longer_than_its_column")(x)
    z = L.Dense(3, name="another_dense_layer_with_a_name_of_great_length")(x)
    return Model(x, L.Add(name="the_sum_of_the_two_dense_layers_above")([y, z]), name="a_model_with_long_names")


def wide_shape():
    return Sequential([L.Reshape((1, 2, 1, 2, 1, 2, 1, 2, 125), input_shape=(2000,), name="nine_dimensions")])


def inferred_shapes():
    x = L.Input((None, None, 3))
    return Model(x, L.MaxPooling2D()(L.Conv2D(2, 3)(x)))


MODELS = [sequential_mlp, sequential_regularized, sequential_cnn, sequential_cnn_channels_first, sequential_shapes, sequential_embedding,
          sequential_frozen, sequential_batch_input, functional_two_inputs, functional_shared, functional_nested, functional_residual,
          long_names, wide_shape, inferred_shapes]


def text(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return "".join(line + "\n" for line in lines)


def auto_names():
    fresh()
    conv, norm = (lambda: L.Conv2D(2, 3)), L.BatchNormalization
    makers = [lambda: L.Dense(1), lambda: L.Dense(1), lambda: L.Dense(1, name="dense_7"), lambda: L.Dense(1), conv, norm, conv, norm,
              L.Flatten, lambda: L.Reshape((-1,)), lambda: L.Permute((1,)), lambda: L.RepeatVector(2), lambda: L.Activation("relu"), lambda: L.Dropout(0.5),
              lambda: L.ActivityRegularization(0.1), L.Masking, L.MaxPooling2D, L.AveragePooling2D, L.GlobalAveragePooling2D, L.ZeroPadding2D, L.Add, L.Concatenate,
              lambda: L.Embedding(2, 2), lambda: L.Lambda(lambda x: x), Sequential, Sequential, lambda: L.InputLayer((2,)), lambda: L.InputLayer((2,))]
    return [[made.__class__.__name__, made.name] for made in (make() for make in makers)]


fixture = Fixture("summaries_2_3_1", __file__, auto_names=auto_names())
for build in MODELS:
    fresh()
    model = build()
    in_order = [w for layer in model.layers for w in layer.weights]
    shapes = model.output_shape if isinstance(model.output_shape, list) else [model.output_shape]
    json.loads(model.to_json())
    fixture.case(
        name=build.__name__, json=model.to_json(), summary=text(model), summary_positions=text(model, line_length=110, positions=[0.3, 0.6, 0.75, 1.0]),
        layer_names=[layer.name for layer in model.layers], weight_names=[w.name for w in in_order], weight_shapes=[K.int_shape(w) for w in in_order],
        trainable_names=[w.name for w in model.trainable_weights], input_names=model.input_names, output_names=model.output_names,
        output_shapes=shapes, count_params=model.count_params(), frozen=[layer.name for layer in model.layers if not layer.trainable])
fixture.write()
