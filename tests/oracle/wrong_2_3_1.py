"""Wrong calls of Keras 2.3.1: where they fail and what it says. Writes tests/fixtures/wrong_2_3_1.json.

A case: name, verb (the outermost function of Keras in which the call fails: LSTM.__init__, LSTM.__call__, Model.compile, ..),
error (the exception's class), message (its beginning). A case that Keras accepts in silence has accepted instead of them: what
comes of it, and so why it is wrong all the same.
"""
import re
import sys

import numpy as np

from fixture import Fixture, expect, fresh
from keras import layers as L
from keras.models import Model, Sequential, model_from_json

expect("2.3.1")
CASES = []


def case(name, call, accepted=None):
    """call() makes the mistake, in one statement as far as possible."""
    CASES.append((name, call, accepted))


def of(*shape, **options):
    return L.Input(shape, **options)


def vector():
    return of(4)


def sequence():
    return of(5, 4)


def image():
    return of(6, 6, 2)


def voxels():
    return of(4, 4, 4, 2)


def masked():
    return L.Masking()(sequence())


def fixed():
    return L.Input(batch_shape=(3, 5, 4))


def layer(class_name, **config):
    return L.deserialize({"class_name": class_name, "config": config})


HERE = dict(name="here")

# Shapes and types of one input.
case("dense_unknown_features", lambda: L.Dense(3, **HERE)(of(None)))
case("dense_without_features", lambda: L.Dense(3, **HERE)(of()))
case("dense_zero_units", lambda: L.Dense(0, **HERE)(vector()), accepted="there is nothing in its result")
case("dense_integers", lambda: L.Dense(3, **HERE)(of(4, dtype="int32")))
case("dense_two_inputs", lambda: L.Dense(3, **HERE)([vector(), vector()]))
case("conv1d_rank", lambda: L.Conv1D(3, 3, **HERE)(vector()))
case("conv2d_rank", lambda: L.Conv2D(3, 3, **HERE)(sequence()))
case("conv3d_rank", lambda: L.Conv3D(3, 3, **HERE)(image()))
case("conv2d_unknown_channels", lambda: L.Conv2D(3, 3, **HERE)(of(6, 6, None)))
case("conv2d_kernel_beyond_image", lambda: L.Conv2D(3, 7, **HERE)(image()))
case("conv2d_no_kernel", lambda: L.Conv2D(3, 0, **HERE)(image()), accepted="every result is the bias")
case("conv2d_no_filters", lambda: L.Conv2D(0, 3, **HERE)(image()), accepted="there is nothing in its result")
case("conv2d_transpose_rank", lambda: L.Conv2DTranspose(3, 3, **HERE)(sequence()))
case("conv2d_transpose_unknown_channels", lambda: L.Conv2DTranspose(3, 3, **HERE)(of(6, 6, None)))
case("separable_conv1d_rank", lambda: L.SeparableConv1D(3, 3, **HERE)(image()))
case("separable_conv2d_unknown_channels", lambda: L.SeparableConv2D(3, 3, **HERE)(of(6, 6, None)))
case("depthwise_conv2d_rank", lambda: L.DepthwiseConv2D(3, **HERE)(sequence()))
case("depthwise_conv2d_unknown_channels", lambda: L.DepthwiseConv2D(3, **HERE)(of(6, 6, None)))
case("locally_connected1d_unknown_steps", lambda: L.LocallyConnected1D(3, 3, **HERE)(of(None, 4)))
case("locally_connected2d_unknown_rows", lambda: L.LocallyConnected2D(3, 3, **HERE)(of(None, 6, 2)))
case("max_pooling1d_rank", lambda: L.MaxPooling1D(2, **HERE)(image()))
case("max_pooling2d_beyond_image", lambda: L.MaxPooling2D(7, **HERE)(image()))
case("max_pooling2d_no_strides", lambda: L.MaxPooling2D(2, strides=0, **HERE)(image()))
case("average_pooling3d_rank", lambda: L.AveragePooling3D(2, **HERE)(image()))
case("global_max_pooling1d_rank", lambda: L.GlobalMaxPooling1D(**HERE)(vector()))
case("global_average_pooling2d_rank", lambda: L.GlobalAveragePooling2D(**HERE)(sequence()))
case("up_sampling1d_rank", lambda: L.UpSampling1D(2, **HERE)(image()))
case("up_sampling2d_rank", lambda: L.UpSampling2D(2, **HERE)(sequence()))
case("zero_padding1d_rank", lambda: L.ZeroPadding1D(1, **HERE)(vector()))
case("cropping2d_rank", lambda: L.Cropping2D(1, **HERE)(sequence()))
case("cropping1d_beyond_steps", lambda: L.Cropping1D((3, 3), **HERE)(sequence()), accepted="nothing is left of 5 steps")
case("flatten_without_features", lambda: L.Flatten(**HERE)(of()))
case("reshape_elements", lambda: L.Reshape((5,), **HERE)(vector()))
case("reshape_two_open_axes", lambda: L.Reshape((-1, -1), **HERE)(vector()))
case("permute_rank", lambda: L.Permute((2, 1), **HERE)(vector()))
case("permute_twice_the_same", lambda: L.Permute((1, 1), **HERE)(sequence()), accepted="it fails when it runs")
case("repeat_vector_rank", lambda: L.RepeatVector(3, **HERE)(sequence()))
case("spatial_dropout1d_rank", lambda: L.SpatialDropout1D(0.5, **HERE)(vector()))
case("batch_normalization_batch_axis", lambda: L.BatchNormalization(axis=0, **HERE)(vector()))
case("batch_normalization_unknown_features", lambda: L.BatchNormalization(**HERE)(of(None)))
case("batch_normalization_axis_beyond", lambda: L.BatchNormalization(axis=4, **HERE)(vector()))
case("batch_normalization_negative_epsilon", lambda: L.BatchNormalization(epsilon=-1.0, **HERE)(vector()), accepted="it takes roots of negative numbers")
case("p_relu_unknown_steps", lambda: L.PReLU(**HERE)(of(None, 4)))
case("softmax_axis_beyond", lambda: L.Softmax(axis=4, **HERE)(vector()), accepted="the axis is ignored")
case("embedding_input_length", lambda: L.Embedding(3, 2, input_length=5, **HERE)(of(4, dtype="int32")))
case("masking_without_features", lambda: L.Masking(**HERE)(of()), accepted="there are no steps to mask")
case("dropout_noise_shape", lambda: L.Dropout(0.5, noise_shape=(2, 2), **HERE)(vector()))
case("dropout_nan", lambda: L.Dropout(float("nan"), **HERE)(vector()), accepted="it drops nothing")
case("shared_dense_other_features", lambda: [f(x) for f in [L.Dense(3, **HERE)] for x in [vector(), of(5)]])
case("shared_conv2d_other_channels", lambda: [f(x) for f in [L.Conv2D(3, 3, **HERE)] for x in [image(), of(6, 6, 3)]])
case("conv_lstm2d_rank", lambda: L.ConvLSTM2D(3, 2, **HERE)(sequence()))
case("lstm_rank", lambda: L.LSTM(3, **HERE)(vector()))
case("time_distributed_rank", lambda: L.TimeDistributed(L.Dense(2), **HERE)(vector()))

# Several inputs.
case("add_one_input", lambda: L.Add(**HERE)(vector()))
case("add_shapes", lambda: L.Add(**HERE)([vector(), of(5)]))
case("add_types", lambda: L.Add(**HERE)([vector(), of(4, dtype="int32")]))
case("subtract_three_inputs", lambda: L.Subtract(**HERE)([vector(), vector(), vector()]))
case("multiply_shapes", lambda: L.Multiply(**HERE)([sequence(), of(3, 4)]))
case("average_one_input", lambda: L.Average(**HERE)(vector()))
case("maximum_shapes", lambda: L.Maximum(**HERE)([vector(), of(5)]))
case("concatenate_one_input", lambda: L.Concatenate(**HERE)(vector()))
case("concatenate_ranks", lambda: L.Concatenate(**HERE)([vector(), sequence()]))
case("concatenate_shapes", lambda: L.Concatenate(axis=1, **HERE)([sequence(), of(5, 3)]))
case("concatenate_axis_beyond", lambda: L.Concatenate(axis=3, **HERE)([vector(), vector()]))
case("dot_one_input", lambda: L.Dot(1, **HERE)(vector()))
case("dot_shapes", lambda: L.Dot(1, **HERE)([vector(), of(5)]))
case("dot_axes_beyond", lambda: L.Dot(2, **HERE)([vector(), vector()]))

# Arguments.
case("dense_activation", lambda: L.Dense(3, activation="rulu", **HERE)(vector()))
case("dense_initializer", lambda: L.Dense(3, kernel_initializer="he", **HERE)(vector()))
case("dense_regularizer", lambda: L.Dense(3, kernel_regularizer="l3", **HERE)(vector()))
case("dense_constraint", lambda: L.Dense(3, kernel_constraint="max_nrom", **HERE)(vector()))
case("activation_name", lambda: L.Activation("sotfmax", **HERE)(vector()))
case("conv2d_padding", lambda: L.Conv2D(3, 3, padding="full", **HERE)(image()))
case("conv2d_causal", lambda: L.Conv2D(3, 3, padding="causal", **HERE)(image()))
case("conv1d_causal_channels_first", lambda: L.Conv1D(3, 3, padding="causal", data_format="channels_first", **HERE)(sequence()))
case("conv2d_data_format", lambda: L.Conv2D(3, 3, data_format="nchw", **HERE)(image()))
case("conv2d_strides_and_dilation", lambda: L.Conv2D(3, 3, strides=2, dilation_rate=2, **HERE)(image()))
case("conv2d_transpose_output_padding", lambda: L.Conv2DTranspose(3, 3, strides=2, output_padding=2, **HERE)(image()))
case("locally_connected1d_same", lambda: L.LocallyConnected1D(3, 3, padding="same", **HERE)(sequence()))
case("locally_connected2d_same", lambda: L.LocallyConnected2D(3, 3, padding="same", **HERE)(image()))
case("max_pooling2d_padding", lambda: L.MaxPooling2D(2, padding="full", **HERE)(image()))
case("up_sampling2d_interpolation", lambda: L.UpSampling2D(2, interpolation="cubic", **HERE)(image()))
case("spatial_dropout2d_data_format", lambda: L.SpatialDropout2D(0.5, data_format="nchw", **HERE)(image()))
case("relu_negative_max_value", lambda: L.ReLU(max_value=-1.0, **HERE)(vector()))
case("relu_negative_slope", lambda: L.ReLU(negative_slope=-1.0, **HERE)(vector()))
case("layer_type", lambda: L.Dense(3, dtype="float33", **HERE)(vector()))
case("bidirectional_merge_mode", lambda: L.Bidirectional(L.LSTM(2), merge_mode="add", **HERE)(sequence()))
case("bidirectional_of_dense", lambda: L.Bidirectional(L.Dense(2), **HERE)(sequence()))
case("rnn_of_dense", lambda: L.RNN(L.Dense(3), **HERE)(sequence()))
case("stacked_cells_of_dense", lambda: L.RNN(L.StackedRNNCells([L.Dense(3)]), **HERE)(sequence()))
case("lstm_zero_units", lambda: L.LSTM(0, **HERE)(sequence()), accepted="there is nothing in its result")
case("simple_rnn_activation", lambda: L.SimpleRNN(3, activation="tan", **HERE)(sequence()))
case("gru_implementation", lambda: L.GRU(3, implementation=3, **HERE)(sequence()), accepted="it stands for 2")
case("gru_dropout_nan", lambda: L.GRU(3, dropout=float("nan"), **HERE)(sequence()), accepted="it drops nothing")

# Configs.
case("config_class", lambda: layer("Desne", units=3, name="here"))
case("config_without_units", lambda: layer("Dense", name="here"))
case("config_unknown_key", lambda: layer("Dense", units=3, unit=3, name="here"))
case("config_activation_number", lambda: layer("Dense", units=3, activation=7, name="here"))
case("config_units_text", lambda: layer("Dense", units="three", name="here"), accepted="it fails when the layer is built")
case("config_kernel_size_rank", lambda: layer("Conv2D", filters=3, kernel_size=[3], name="here"))
case("config_conv1d_kernel_size_rank", lambda: layer("Conv1D", filters=3, kernel_size=[3, 3], name="here"))
case("config_kernel_size_text", lambda: layer("Conv2D", filters=3, kernel_size="three", name="here"))
case("config_negative_kernel_size", lambda: layer("Conv2D", filters=3, kernel_size=[3, -1], name="here"), accepted="it fails when the layer is called")
case("config_zero_padding2d", lambda: layer("ZeroPadding2D", padding=[1, 2, 3], name="here"))
case("config_cropping2d", lambda: layer("Cropping2D", cropping=[[1, 2, 3], [1, 2]], name="here"))
case("config_cropping3d", lambda: layer("Cropping3D", cropping=[1, 2], name="here"))
case("config_up_sampling2d", lambda: layer("UpSampling2D", size=[2, 2, 2], name="here"))
case("config_pool_size", lambda: layer("MaxPooling3D", pool_size=[2, 2], name="here"))
case("config_initializer_key", lambda: layer("Dense", units=3, kernel_initializer={"class_name": "Constant", "config": {"valeu": 1.0}}, name="here"))
case("config_of_model", lambda: model_from_json('{"class_name": "Sequental", "config": {"name": "m", "layers": []}}'))
case("config_of_model_layer", lambda: model_from_json('{"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Desne", "config": {"name": "here", "units": 3}}]}}'))

# States and constants.
case("lstm_stateful_unknown_batch", lambda: L.LSTM(3, stateful=True, **HERE)(sequence()))
case("lstm_states_number", lambda: L.LSTM(3, **HERE)(sequence(), initial_state=[of(3)]))
case("gru_state_shape", lambda: L.GRU(3, **HERE)(sequence(), initial_state=[of(2)]))
case("gru_unroll_unknown_steps", lambda: L.GRU(3, unroll=True, **HERE)(of(None, 4)))
case("rnn_constants_of_none", lambda: L.RNN(L.SimpleRNNCell(2), **HERE)(sequence(), constants=[of(2)]))
case("bidirectional_odd_states", lambda: L.Bidirectional(L.GRU(2), **HERE)(sequence(), initial_state=[of(2)]))


def stateful(call):
    made = L.LSTM(3, stateful=True, **HERE)
    made(fixed())
    return call(made)


def zeros(*shape):
    return np.zeros(shape, "float32")


case("reset_states_of_no_states", lambda: called(L.LSTM(3, **HERE), sequence()).reset_states())
case("reset_states_unbuilt", lambda: L.LSTM(3, stateful=True, **HERE).reset_states())
case("reset_states_number", lambda: stateful(lambda made: made.reset_states([zeros(3, 3)])))
case("reset_states_shape", lambda: stateful(lambda made: made.reset_states([zeros(3, 3), zeros(2, 3)])))
case("stateful_other_batch", lambda: stateful(lambda made: made(L.Input(batch_shape=(2, 5, 4)))))
case("stateful_predict_batch", lambda: Model(*stateful_ends()).predict(zeros(4, 5, 4), batch_size=4))
case("stateful_predict_samples", lambda: Model(*stateful_ends()).predict(zeros(5, 5, 4), batch_size=3))
case("stateful_fit_samples", lambda: compiled(Model(*stateful_ends())).fit(zeros(5, 5, 4), zeros(5, 3), batch_size=3, verbose=0))


def stateful_ends():
    x = fixed()
    return x, L.LSTM(3, stateful=True, **HERE)(x)


def called(made, *inputs):
    made(*inputs)
    return made


# Masks.
for name, make in [("flatten", lambda: L.Flatten(**HERE)), ("reshape", lambda: L.Reshape((20,), **HERE)), ("conv1d", lambda: L.Conv1D(3, 3, **HERE)),
                   ("max_pooling1d", lambda: L.MaxPooling1D(2, **HERE)), ("global_max_pooling1d", lambda: L.GlobalMaxPooling1D(**HERE)),
                   ("locally_connected1d", lambda: L.LocallyConnected1D(3, 3, **HERE)), ("up_sampling1d", lambda: L.UpSampling1D(2, **HERE)),
                   ("zero_padding1d", lambda: L.ZeroPadding1D(1, **HERE)), ("cropping1d", lambda: L.Cropping1D(1, **HERE)), ("permute", lambda: L.Permute((2, 1), **HERE)),
                   ("cu_dnn_gru", lambda: L.CuDNNGRU(3, **HERE)), ("cu_dnn_lstm", lambda: L.CuDNNLSTM(3, **HERE))]:
    case(name + "_masked", lambda make=make: make()(masked()))
case("flatten_of_masked_embedding", lambda: L.Flatten(**HERE)(L.Embedding(5, 3, mask_zero=True)(of(4, dtype="int32"))))

# Weights and tensors of layers.
case("set_weights_number", lambda: called(L.Dense(3, **HERE), vector()).set_weights([zeros(4, 3)]))
case("set_weights_shape", lambda: called(L.Dense(3, **HERE), vector()).set_weights([zeros(4, 2), zeros(3)]))
case("output_of_uncalled", lambda: L.Dense(3, **HERE).output)
case("output_of_two_calls", lambda: called(called(L.Dense(3, **HERE), vector()), vector()).output)
case("output_at_beyond", lambda: called(L.Dense(3, **HERE), vector()).get_output_at(3))
case("count_params_unbuilt", lambda: L.Dense(3, **HERE).count_params())


# Models.
def ends(**options):
    x = of(4, name="x")
    return x, L.Dense(3, activation="softmax", name="y", **options)(x)


def two_outputs():
    x = of(4, name="x")
    return Model(x, [L.Dense(3, name="left")(x), L.Dense(2, name="right")(x)])


def two_inputs():
    a, b = of(4, name="first"), of(4, name="second")
    return Model([a, b], L.Dense(3, name="y")(L.Add()([a, b])))


def compiled(model, loss="mse", **options):
    model.compile("sgd", loss, **options)
    return model


def sequential(*parts):
    return Sequential(list(parts))


case("model_disconnected", lambda: Model(vector(), L.Dense(3, **HERE)(vector())))
case("model_input_twice", lambda: [Model([x, x], y) for x, y in [ends()]])
case("model_names_twice", lambda: [Model(x, L.Dense(3, **HERE)(L.Dense(3, **HERE)(x))) for x in [vector()]])
case("model_layer_name", lambda: Model(*ends()).get_layer("yy"))
case("model_layer_index", lambda: Model(*ends()).get_layer(index=7))
case("model_called_on_other_shape", lambda: Model(*ends(), **HERE)(of(5)))
case("sequential_names_twice", lambda: sequential(L.Dense(3, input_shape=(4,), **HERE), L.Dense(3, **HERE)))
case("sequential_several_outputs", lambda: sequential(L.LSTM(3, return_state=True, input_shape=(5, 4), **HERE)))
case("sequential_shapes", lambda: sequential(L.Dense(3, input_shape=(4,)), L.Conv2D(3, 3, **HERE)))
case("sequential_pop_empty", lambda: Sequential().pop())
case("sequential_get_weights_unbuilt", lambda: Sequential([L.Dense(3, **HERE)]).get_weights(), accepted="an empty list stands for weights to come")
case("sequential_summary_unbuilt", lambda: Sequential([L.Dense(3, **HERE)]).summary())
case("model_set_weights_number", lambda: Model(*ends()).set_weights([zeros(4, 3)]), accepted="the first weight alone is set")
case("model_set_weights_shape", lambda: Model(*ends()).set_weights([zeros(4, 2), zeros(3)]), accepted="the variable takes the other shape")

# compile.
case("optimizer_name", lambda: Model(*ends()).compile("adma", "mse"))
case("loss_name", lambda: Model(*ends()).compile("sgd", "mes"))
case("metric_name", lambda: Model(*ends()).compile("sgd", "mse", metrics=["acuracy"]))
case("loss_missing", lambda: Model(*ends()).compile("sgd"))
case("losses_number", lambda: two_outputs().compile("sgd", ["mse"]))
case("losses_output_name", lambda: two_outputs().compile("sgd", {"left": "mse", "rihgt": "mse"}))
case("loss_weights_number", lambda: two_outputs().compile("sgd", "mse", loss_weights=[1.0]))
case("loss_weights_output_name", lambda: two_outputs().compile("sgd", "mse", loss_weights={"rihgt": 1.0}))
case("metrics_number", lambda: two_outputs().compile("sgd", "mse", metrics=[["mae"]]))
case("metrics_output_name", lambda: two_outputs().compile("sgd", "mse", metrics={"rihgt": "mae"}))
case("sample_weight_mode_number", lambda: two_outputs().compile("sgd", "mse", sample_weight_mode=[None]))
case("sample_weight_mode_output_name", lambda: two_outputs().compile("sgd", "mse", sample_weight_mode={"rihgt": "temporal"}))
case("sample_weight_mode_name", lambda: compiled(Model(*ends()), sample_weight_mode="temporla").fit(zeros(8, 4), zeros(8, 3), verbose=0), accepted="it stands for none")


# fit, evaluate, predict.
def fit(model, x, y, **options):
    model.fit(x, y, verbose=0, **options)


def one(loss="mse", **options):
    return compiled(Model(*ends()), loss, **options)


X, Y = zeros(8, 4), zeros(8, 3)
case("fit_before_compile", lambda: fit(Model(*ends()), X, Y))
case("evaluate_before_compile", lambda: Model(*ends()).evaluate(X, Y, verbose=0))
case("train_on_batch_before_compile", lambda: Model(*ends()).train_on_batch(X, Y))
case("fit_input_shape", lambda: fit(one(), zeros(8, 5), Y))
case("fit_input_rank", lambda: fit(one(), zeros(8, 2, 4), Y))
case("fit_one_sample_flat", lambda: fit(one(), zeros(4), Y))
case("fit_target_shape", lambda: fit(one(), X, zeros(8, 4)))
case("fit_target_rank", lambda: fit(one(), X, zeros(8, 2, 3)))
case("fit_classes_for_categories", lambda: fit(one("categorical_crossentropy"), X, zeros(8, 1)))
case("fit_samples", lambda: fit(one(), X, zeros(4, 3)))
case("fit_input_samples", lambda: fit(compiled(two_inputs()), [X, zeros(4, 4)], Y))
case("fit_inputs_number", lambda: fit(compiled(two_inputs()), [X], Y))
case("fit_too_many_inputs", lambda: fit(one(), [X, X], Y))
case("fit_targets_number", lambda: fit(compiled(two_outputs()), X, [Y]))
case("fit_input_name", lambda: fit(compiled(two_inputs()), {"first": X, "secnod": X}, Y))
case("fit_target_name", lambda: fit(compiled(two_outputs()), X, {"left": Y, "rihgt": zeros(8, 2)}))
case("fit_without_targets", lambda: fit(one(), X, None))
case("fit_no_samples", lambda: fit(one(), zeros(0, 4), zeros(0, 3)))
case("fit_batch_size", lambda: fit(one(), X, Y, batch_size=0))
case("fit_batch_size_and_steps", lambda: fit(one(), X, Y, batch_size=4, steps_per_epoch=2))
case("fit_validation_split", lambda: fit(one(), X, Y, validation_split=1.0), accepted="it is ignored")
case("fit_validation_freq", lambda: fit(one(), X, Y, validation_freq=0, validation_data=(X, Y)))
case("fit_validation_shape", lambda: fit(one(), X, Y, validation_data=(X, zeros(8, 2))))
case("fit_validation_samples", lambda: fit(one(), X, Y, validation_data=(X, zeros(4, 3))))
case("fit_sample_weight_number", lambda: fit(one(), X, Y, sample_weight=zeros(4)))
case("fit_sample_weight_rank", lambda: fit(one(), X, Y, sample_weight=zeros(8, 3)))
case("fit_temporal_target_rank", lambda: fit(one(sample_weight_mode="temporal"), X, Y, sample_weight=zeros(8, 3)))
case("fit_sample_weight_several_outputs", lambda: fit(compiled(two_outputs()), X, [Y, zeros(8, 2)], sample_weight=zeros(8)))
case("fit_class_weight_missing", lambda: fit(one("categorical_crossentropy"), X, np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2, 0, 1]], class_weight={0: 1.0, 1: 2.0}))
case("fit_class_weight_rank", lambda: fit(compiled(sequential(L.Dense(3, input_shape=(5, 4)))), zeros(8, 5, 4), zeros(8, 5, 3), class_weight={0: 1.0}))
case("fit_index_beyond_table", lambda: fit(compiled(sequential(L.Embedding(3, 2, input_length=2, **HERE))), np.full((2, 2), 3), zeros(2, 2, 2)))
case("fit_sparse_class_beyond", lambda: fit(one("sparse_categorical_crossentropy"), X, np.full((8, 1), 3.0)))
case("predict_input_shape", lambda: one().predict(zeros(8, 5)))
case("predict_inputs_number", lambda: compiled(two_inputs()).predict([X]))
case("predict_batch_size", lambda: one().predict(X, batch_size=0))
case("evaluate_samples", lambda: one().evaluate(X, zeros(4, 3), verbose=0))
case("evaluate_target_shape", lambda: one().evaluate(X, zeros(8, 2), verbose=0))
case("train_on_batch_samples", lambda: one().train_on_batch(X, zeros(4, 3)))
case("test_on_batch_input_shape", lambda: one().test_on_batch(zeros(8, 5), Y))
case("generator_batch", lambda: one().fit_generator((x for x in [X, X, X]), steps_per_epoch=1, verbose=0))
case("generator_with_targets", lambda: one().fit((pair for pair in [(X, Y)] * 3), Y, steps_per_epoch=1, verbose=0))
case("generator_without_steps", lambda: one().fit_generator((pair for pair in [(X, Y)] * 3), verbose=0))
case("generator_validation_split", lambda: one().fit((pair for pair in [(X, Y)] * 3), steps_per_epoch=1, validation_split=0.5, verbose=0))
case("generator_ends", lambda: one().fit_generator((pair for pair in [(X, Y)]), steps_per_epoch=3, verbose=0))


def verb(trace):
    """The outermost function of Keras in a traceback, decorators left out."""
    while trace:
        frame = trace.tb_frame
        path = frame.f_code.co_filename
        if "/keras/" in path and not path.endswith(("legacy/interfaces.py", "symbolic_fn_wrapper.py")) and frame.f_code.co_name not in ("wrapper", "symbolic_fn_wrapper"):
            name = frame.f_code.co_name
            owner = frame.f_locals.get("self")
            return name if owner is None else "%s.%s" % (type(owner).__name__, name)
        trace = trace.tb_next
    return None


def said(error):
    """The message without what follows it: TensorFlow's stack traces, addresses in memory."""
    text = str(error).split("\n\n")[0].split("\n\t [[")[0].strip()
    return re.sub(r"0x[0-9a-f]+", "0x..", text)[:500]


fixture = Fixture("wrong_2_3_1", __file__)
for name, call, accepted in CASES:
    fresh()
    try:
        call()
    except Exception as error:
        if accepted:
            sys.exit("%s is not accepted: %r" % (name, error))
        fixture.case(name=name, verb=verb(sys.exc_info()[2]), error=type(error).__name__, message=said(error))
        continue
    if not accepted:
        sys.exit("%s is accepted" % name)
    fixture.case(name=name, accepted=accepted)
fixture.write()
