"""Recurrent layers and wrappers of Keras 2.3.1. Writes tests/fixtures/recurrent_2_3_1.{json,npz}.

Cases and arrays are those of layers_2_3_1.py; inputs after the first are initial states, then constants, and never masked. Where
the batch size is fixed, input_shapes have it. Besides, a case has `batches` (how many were run one after the other with the
updates of the layer, 0 for layers that carry no states) and `states` (their number), and of each such batch
    batch_B/input_I  batch_B/input_mask_0  batch_B/output_I  batch_B/state_I
Cases whose config says float64 are computed, and recorded, in double precision (weights have single precision).

The stateful LSTM of Keras's FAQ, on weights and data that ramp() makes, is under "faq/": loss (two values, training on steps 0..10 and
10..20), state_I after that, prediction_K after a reset (of steps 0..10, then 10..20), trained_weight_I.
"""
import numpy as np

from fixture import Fixture, K, expect, fresh, initial_weights, keras, stream, tf
from keras import constraints as C
from keras import layers as L
from keras import regularizers as R

expect("2.3.1")
CASES = []
BATCHES = 3


class MinimalRNNCell(L.Layer):
    """The user's cell of Keras's own documentation."""

    def __init__(self, units, **kwargs):
        self.units = self.state_size = units
        super(MinimalRNNCell, self).__init__(**kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), initializer="uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), initializer="uniform", name="recurrent_kernel")
        self.built = True

    def call(self, inputs, states):
        output = K.dot(inputs, self.kernel) + K.dot(states[0], self.recurrent_kernel)
        return output, [output]

    def get_config(self):
        return dict(super(MinimalRNNCell, self).get_config(), units=self.units)


class ConstantCell(MinimalRNNCell):
    """Two states, a result of another length, a constant that every step sees."""

    def __init__(self, units, **kwargs):
        super(ConstantCell, self).__init__(units, **kwargs)
        self.state_size = (units, 1)
        self.output_size = units + 1

    def build(self, input_shape):
        super(ConstantCell, self).build(input_shape[0])
        self.bias = self.add_weight(shape=(input_shape[1][-1], self.units), initializer="uniform", name="bias")

    def call(self, inputs, states, constants):
        h, total = states
        h = K.tanh(K.dot(inputs, self.kernel) + K.dot(h, self.recurrent_kernel) + K.dot(constants[0], self.bias))
        total = total + K.sum(h, axis=-1, keepdims=True)
        return K.concatenate([h, 2 * total]), [h, total]


def case(name, build, *shapes, **options):
    """build() makes the layer; shapes exclude the batch. Options: batch=2, fixed=True (the batch size is part of the shape), mask=True
    (about 40 % of the steps of the first input are zero, and it comes masked), random=True (the training phase is random), like=f
    (f() makes a layer that computes the same: cuDNN needs a GPU), floatx="float64"."""
    CASES.append((name, build, shapes, options))


STEPS, FEATURES, UNITS = 4, 3, 2
X = (STEPS, FEATURES)
STANDARD = [("simple_rnn", L.SimpleRNN, 1), ("gru", L.GRU, 1), ("lstm", L.LSTM, 2)]
ACTIVATIONS = ["linear", "relu", "sigmoid", "hard_sigmoid", "softmax", "elu", "selu", "softplus", "softsign", "exponential"]

for kind, make, states in STANDARD:
    def one(name, *shapes, **options):
        settings = options.pop("with_", {})
        case("%s_%s" % (kind, name), lambda m=make, s=settings: m(UNITS, **s), *(shapes or (X,)), **options)

    one("default")
    one("batch_1", batch=1)
    one("one_step", (1, FEATURES))
    one("one_step_unrolled", (1, FEATURES), with_=dict(unroll=True))
    one("one_feature", (STEPS, 1))
    one("longer", (23, FEATURES), with_=dict(return_sequences=True, return_state=True))
    one("return_state", with_=dict(return_state=True))
    one("no_bias", with_=dict(use_bias=False, return_sequences=True))
    one("regularized", with_=dict(kernel_regularizer=R.l2(0.03), recurrent_regularizer=R.l1(0.02), bias_regularizer=R.l1_l2(0.01, 0.02),
                                  activity_regularizer=R.l2(0.1), return_state=True))
    one("constrained", with_=dict(kernel_constraint=C.MaxNorm(1.5), recurrent_constraint=C.NonNeg(), bias_constraint=C.UnitNorm()))
    one("initialized", with_=dict(kernel_initializer="he_normal", recurrent_initializer="identity", bias_initializer="ones"))
    one("dropout", with_=dict(dropout=0.3), random=True)
    one("recurrent_dropout", with_=dict(recurrent_dropout=0.4, return_sequences=True), random=True)
    one("dropout_all", with_=dict(dropout=1.5, recurrent_dropout=-1.))
    for activation in ACTIVATIONS:
        one(activation, with_=dict(activation=activation, return_sequences=True))
    if kind != "simple_rnn":
        for activation in ["tanh"] + [name for name in ACTIVATIONS if name != "sigmoid"]:
            one("recurrent_" + activation, with_=dict(recurrent_activation=activation, return_sequences=True))
        one("implementation_1", with_=dict(implementation=1, return_sequences=True))
    for mask in [False, True]:
        for stateful in [False, True]:
            for backwards in [False, True]:
                for sequences in [False, True]:
                    name = "".join(["mask_" * mask, "stateful_" * stateful, "backwards_" * backwards, "sequences_" * sequences])
                    settings = dict(stateful=stateful, go_backwards=backwards, return_sequences=sequences)
                    one(name + "loop", with_=settings, mask=mask, fixed=stateful, batch=3)
                    if mask or stateful:
                        one(name + "unrolled", with_=dict(settings, unroll=True, return_state=True), mask=mask, fixed=stateful, batch=3)
    given = [(UNITS,)] * states
    one("initial_state", X, *given, with_=dict(return_state=True))
    one("initial_state_masked", X, *given, with_=dict(return_sequences=True, return_state=True), mask=True, batch=3)
    one("initial_state_stateful", X, *given, with_=dict(stateful=True, return_state=True), fixed=True)

for name, settings in [("", {}), ("sequences_", dict(return_sequences=True)), ("implementation_1_", dict(implementation=1)),
                       ("no_bias_", dict(use_bias=False)), ("relu_", dict(activation="relu", recurrent_activation="hard_sigmoid"))]:
    case("gru_%sreset_after" % name, lambda s=settings: L.GRU(UNITS, reset_after=True, **s), X)
case("gru_mask_reset_after", lambda: L.GRU(UNITS, reset_after=True, return_sequences=True), X, mask=True, batch=3)
case("gru_dropout_1_reset_after", lambda: L.GRU(UNITS, reset_after=True, implementation=1, dropout=.2, recurrent_dropout=.3), X, random=True)
case("lstm_no_unit_forget_bias", lambda: L.LSTM(UNITS, unit_forget_bias=False), X)
case("lstm_dropout_1", lambda: L.LSTM(UNITS, implementation=1, dropout=.2, recurrent_dropout=.3), X, random=True)

for kind, make in [("simple_rnn_cell", L.SimpleRNNCell), ("gru_cell", L.GRUCell), ("lstm_cell", L.LSTMCell)]:
    def cell(name, settings={}, rnn={}, shapes=(X,), **options):
        case("rnn_%s_%s" % (kind, name), lambda m=make, s=settings, r=rnn: L.RNN(m(UNITS, **s), **r), *shapes, **options)

    cell("default")
    cell("state", rnn=dict(return_sequences=True, return_state=True, go_backwards=True))
    cell("functions", dict(activation="relu", use_bias=False))
    for activation in ACTIVATIONS:
        cell(activation, dict(activation=activation))
    cell("regularized", dict(kernel_regularizer=R.l2(0.03), recurrent_regularizer=R.l1(0.02), bias_regularizer=R.l2(0.2)))
    cell("constrained", dict(kernel_constraint=C.MaxNorm(1.5), recurrent_constraint=C.NonNeg(), bias_constraint=C.UnitNorm()))
    cell("initialized", dict(kernel_initializer="he_normal", recurrent_initializer="identity", bias_initializer="ones"))
    cell("dropout", dict(dropout=0.3, recurrent_dropout=0.4), random=True)
    if kind != "simple_rnn_cell":
        cell("implementation_1", dict(implementation=1, recurrent_activation="hard_sigmoid"))
        for activation in ["tanh"] + ACTIVATIONS:
            cell("recurrent_" + activation, dict(recurrent_activation=activation))
    for mask in [False, True]:
        for stateful in [False, True]:
            for unroll in [False, True]:
                cell("".join(["mask_" * mask, "stateful_" * stateful, "unrolled_" * unroll]) + "run", {},
                     dict(stateful=stateful, unroll=unroll, return_sequences=True, return_state=True), mask=mask, fixed=stateful, batch=3)
case("rnn_gru_cell_reset_after", lambda: L.RNN(L.GRUCell(UNITS, reset_after=True)), X)
case("rnn_lstm_cell_no_unit_forget_bias", lambda: L.RNN(L.LSTMCell(UNITS, unit_forget_bias=False)), X)
for mask in [False, True]:
    for stateful in [False, True]:
        for backwards in [False, True]:
            for sequences in [False, True]:
                name = "".join(["mask_" * mask, "stateful_" * stateful, "backwards_" * backwards, "sequences_" * sequences])
                case("rnn_%sloop" % name, lambda s=dict(stateful=stateful, go_backwards=backwards, return_sequences=sequences):
                     L.RNN(L.GRUCell(UNITS), **s), X, mask=mask, fixed=stateful, batch=3)


def stack():
    return [L.LSTMCell(UNITS), L.GRUCell(3), MinimalRNNCell(2)]


case("rnn_stacked", lambda: L.RNN(stack(), return_state=True), X)
case("rnn_stacked_sequences", lambda: L.RNN(L.StackedRNNCells(stack()), return_sequences=True, go_backwards=True), X)
case("rnn_stacked_masked", lambda: L.RNN(stack(), return_sequences=True, return_state=True), X, mask=True, batch=3)
case("rnn_stacked_unrolled", lambda: L.RNN(stack(), return_sequences=True, unroll=True), X, mask=True, batch=3)
case("rnn_stacked_stateful", lambda: L.RNN(stack(), stateful=True), X, fixed=True)
case("rnn_stacked_stateful_backwards", lambda: L.RNN(stack(), stateful=True, go_backwards=True, return_sequences=True), X, fixed=True)
case("rnn_stacked_stateful_masked", lambda: L.RNN(stack(), stateful=True, go_backwards=True, return_state=True), X, fixed=True, mask=True, batch=3)
case("rnn_stacked_initial_state", lambda: L.RNN(stack(), return_state=True), X, (2,), (2,), (3,), (2,))
case("rnn_minimal", lambda: L.RNN(MinimalRNNCell(3)), X)
case("rnn_minimal_masked", lambda: L.RNN(MinimalRNNCell(3), return_sequences=True), X, mask=True, batch=3)
for name, settings, options in [("", {}, {}), ("_sequences", dict(return_sequences=True, return_state=True), {}),
                                ("_unrolled", dict(return_sequences=True, unroll=True), {}),
                                ("_masked", dict(return_sequences=True, return_state=True), dict(mask=True, batch=3)),
                                ("_stateful", dict(stateful=True, return_state=True), dict(fixed=True))]:
    def constant_rnn(s=settings):
        layer = L.RNN(ConstantCell(2), **s)
        layer._num_constants = 1
        return layer

    case("rnn_constants" + name, constant_rnn, X, (4,), **options)
    case("rnn_constants_initial_state" + name, constant_rnn, X, (2,), (1,), (4,), **options)

IMAGE, IMAGE_CF = (3, 5, 4, 2), (3, 2, 5, 4)
for name, settings in [
        ("default", {}), ("same", dict(padding="same")), ("strides", dict(strides=(2, 1))), ("same_strides", dict(strides=2, padding="same")),
        ("dilation", dict(dilation_rate=(1, 2), padding="same")), ("kernel", dict(kernel_size=(1, 3))), ("even", dict(kernel_size=2, padding="same")),
        ("activations", dict(activation="relu", recurrent_activation="sigmoid")), ("no_bias", dict(use_bias=False, unit_forget_bias=False)),
        ("softmax", dict(activation="softmax", recurrent_activation="tanh")), ("state", dict(return_state=True)),
        ("sequences_state", dict(return_sequences=True, return_state=True))]:
    settings = dict(dict(kernel_size=2), **settings)
    case("conv_lstm2d_" + name, lambda s=settings: L.ConvLSTM2D(2, **s), IMAGE)
    case("conv_lstm2d_cf_" + name, lambda s=settings: L.ConvLSTM2D(2, data_format="channels_first", **s), IMAGE_CF)
for activation in [name for name in ACTIVATIONS if name not in ("relu", "softmax")]:
    case("conv_lstm2d_" + activation, lambda a=activation: L.ConvLSTM2D(2, 2, activation=a), (1, 5, 4, 2) if activation == "exponential" else IMAGE)
for activation in [name for name in ACTIVATIONS if name not in ("sigmoid", "hard_sigmoid")]:
    case("conv_lstm2d_recurrent_" + activation, lambda a=activation: L.ConvLSTM2D(2, 2, recurrent_activation=a), (1, 5, 4, 2) if activation == "exponential" else IMAGE)
case("conv_lstm2d_one_step", lambda: L.ConvLSTM2D(2, 2), (1, 3, 3, 1), batch=1)
for name, settings in [("k5_same", dict(kernel_size=5, padding="same")), ("k2_s3", dict(kernel_size=2, strides=3)), ("k4_s3_same", dict(kernel_size=4, strides=3, padding="same")),
                       ("k3_d2_same", dict(kernel_size=3, dilation_rate=2, padding="same"))]:
    case("conv_lstm2d_odd_" + name, lambda s=settings: L.ConvLSTM2D(2, **s), (2, 4, 7, 2), batch=1)
    case("conv_lstm2d_odd_cf_" + name, lambda s=settings: L.ConvLSTM2D(2, data_format="channels_first", **s), (2, 2, 4, 7), batch=1)
case("conv_lstm2d_initialized", lambda: L.ConvLSTM2D(2, 2, kernel_initializer="he_normal", recurrent_initializer="glorot_normal",
                                                     bias_initializer="ones"), IMAGE)
case("conv_lstm2d_regularized", lambda: L.ConvLSTM2D(2, 2, kernel_regularizer=R.l2(0.03), recurrent_regularizer=R.l1(0.02),
                                                     bias_regularizer=R.l2(0.1), activity_regularizer=R.l2(0.1)), IMAGE)
case("conv_lstm2d_constrained", lambda: L.ConvLSTM2D(2, 2, kernel_constraint=C.MaxNorm(1.5), recurrent_constraint=C.NonNeg(),
                                                     bias_constraint=C.UnitNorm()), IMAGE)
case("conv_lstm2d_dropout", lambda: L.ConvLSTM2D(2, 2, dropout=.2, recurrent_dropout=.3), IMAGE, random=True)
case("conv_lstm2d_initial_state", lambda: L.ConvLSTM2D(2, 2, return_state=True), IMAGE, (4, 3, 2), (4, 3, 2))
for stateful in [False, True]:
    for backwards in [False, True]:
        for sequences in [False, True]:
            name = "".join(["stateful_" * stateful, "backwards_" * backwards, "sequences_" * sequences])
            case("conv_lstm2d_%srun" % name, lambda s=dict(stateful=stateful, go_backwards=backwards, return_sequences=sequences):
                 L.ConvLSTM2D(2, 2, **s), IMAGE, fixed=stateful)
            case("conv_lstm2d_mask_%srun" % name, lambda s=dict(stateful=stateful, go_backwards=backwards, return_sequences=sequences):
                 L.ConvLSTM2D(2, 2, **s), IMAGE, fixed=stateful, mask="steps", batch=3)

for name, settings in [("default", {}), ("sequences", dict(return_sequences=True, return_state=True)), ("backwards", dict(go_backwards=True, return_sequences=True)),
                       ("regularized", dict(kernel_regularizer=R.l2(0.03), recurrent_regularizer=R.l1(0.02), bias_regularizer=R.l2(0.1),
                                            activity_regularizer=R.l2(0.1))),
                       ("constrained", dict(kernel_constraint=C.MaxNorm(1.5), recurrent_constraint=C.NonNeg(), bias_constraint=C.UnitNorm())),
                       ("initialized", dict(kernel_initializer="he_normal", recurrent_initializer="identity", bias_initializer="ones"))]:
    case("cu_dnngru_" + name, lambda s=settings: L.CuDNNGRU(UNITS, **s), X, like=lambda s=settings: L.GRU(UNITS, reset_after=True, **s))
    case("cu_dnnlstm_" + name, lambda s=settings: L.CuDNNLSTM(UNITS, **s), X,
         like=lambda s=settings: L.LSTM(UNITS, **{key: value for key, value in s.items() if key != "bias_regularizer"}))
case("cu_dnnlstm_no_unit_forget_bias", lambda: L.CuDNNLSTM(UNITS, unit_forget_bias=False), X, like=lambda: L.LSTM(UNITS, unit_forget_bias=False))
case("cu_dnnlstm_initial_state", lambda: L.CuDNNLSTM(UNITS), X, (UNITS,), (UNITS,), like=lambda: L.LSTM(UNITS))
case("cu_dnngru_initial_state", lambda: L.CuDNNGRU(UNITS), X, (UNITS,), like=lambda: L.GRU(UNITS, reset_after=True))
case("cu_dnngru_stateful", lambda: L.CuDNNGRU(UNITS, stateful=True), X, fixed=True, like=lambda: L.GRU(UNITS, reset_after=True, stateful=True))
case("cu_dnnlstm_stateful", lambda: L.CuDNNLSTM(UNITS, stateful=True), X, fixed=True, like=lambda: L.LSTM(UNITS, stateful=True))
for stateful in [False, True]:
    for backwards in [False, True]:
        for sequences in [False, True]:
            name = "".join(["stateful_" * stateful, "backwards_" * backwards, "sequences_" * sequences])
            settings = dict(stateful=stateful, go_backwards=backwards, return_sequences=sequences)
            case("cu_dnngru_%srun" % name, lambda s=settings: L.CuDNNGRU(UNITS, **s), X, fixed=stateful, batch=3,
                 like=lambda s=settings: L.GRU(UNITS, reset_after=True, **s))
            case("cu_dnnlstm_%srun" % name, lambda s=settings: L.CuDNNLSTM(UNITS, **s), X, fixed=stateful, batch=3,
                 like=lambda s=settings: L.LSTM(UNITS, **s))

case("time_distributed_dense", lambda: L.TimeDistributed(L.Dense(2, activation="relu")), X)
case("time_distributed_dense_4d", lambda: L.TimeDistributed(L.Dense(2)), (2, 3, 4))
case("time_distributed_conv2d", lambda: L.TimeDistributed(L.Conv2D(2, 2)), IMAGE)
case("time_distributed_lstm", lambda: L.TimeDistributed(L.LSTM(2, return_sequences=True)), (2, 4, 3))
case("time_distributed_lstm_masked", lambda: L.TimeDistributed(L.LSTM(2)), (2, 4, 3), mask="inner", batch=3)
case("time_distributed_dense_masked", lambda: L.TimeDistributed(L.Dense(2)), X, mask=True)
case("time_distributed_dense_4d_masked", lambda: L.TimeDistributed(L.Dense(2)), (2, 3, 4), mask="inner")
case("time_distributed_batch_normalization", lambda: L.TimeDistributed(L.BatchNormalization()), X, batch=3)
case("time_distributed_embedding", lambda: L.TimeDistributed(L.Embedding(5, 2, mask_zero=True)), (3, 4), ints=5)
case("time_distributed_flatten", lambda: L.TimeDistributed(L.Flatten()), (2, 3, 4))
case("time_distributed_regularized", lambda: L.TimeDistributed(L.Dense(2, kernel_regularizer=R.l2(0.03), activity_regularizer=R.l2(0.1))), X)
case("time_distributed_dropout", lambda: L.TimeDistributed(L.Dropout(0.4)), X, random=True)
case("time_distributed_twice", lambda: L.TimeDistributed(L.TimeDistributed(L.Dense(2))), (2, 3, 4))
case("time_distributed_bidirectional", lambda: L.TimeDistributed(L.Bidirectional(L.LSTM(2))), (2, 4, 3))
case("time_distributed_fixed_batch", lambda: L.TimeDistributed(L.Dense(2, activation="tanh")), X, fixed=True)
case("time_distributed_fixed_batch_masked", lambda: L.TimeDistributed(L.Dense(2)), X, fixed=True, mask=True)
case("time_distributed_fixed_batch_lstm", lambda: L.TimeDistributed(L.LSTM(2)), (2, 4, 3), fixed=True)
for name, make in [("simple_rnn", lambda: L.SimpleRNN(2)), ("gru", lambda: L.GRU(2, go_backwards=True, return_sequences=True)), ("rnn_cell", lambda: L.RNN(L.GRUCell(2))),
                   ("rnn_stacked", lambda: L.RNN([L.LSTMCell(2), L.GRUCell(3)], return_sequences=True))]:
    case("time_distributed_" + name, lambda m=make: L.TimeDistributed(m()), (2, 4, 3))
    case("time_distributed_%s_masked" % name, lambda m=make: L.TimeDistributed(m()), (2, 4, 3), mask="inner", batch=3)
case("time_distributed_conv_lstm2d", lambda: L.TimeDistributed(L.ConvLSTM2D(2, 2)), (2,) + IMAGE)
case("time_distributed_max_pooling2d", lambda: L.TimeDistributed(L.MaxPooling2D()), IMAGE)
case("time_distributed_activation", lambda: L.TimeDistributed(L.Activation("softmax")), X)

for mode in ["concat", "sum", "mul", "ave", None]:
    for sequences in [False, True]:
        name = "bidirectional_%s%s" % (mode, "_sequences" * sequences)
        case(name, lambda m=mode, s=sequences: L.Bidirectional(L.LSTM(2, return_sequences=s), merge_mode=m), X)
        case(name + "_state", lambda m=mode, s=sequences: L.Bidirectional(L.GRU(2, return_sequences=s, return_state=True), merge_mode=m), X)
        case(name + "_masked", lambda m=mode, s=sequences: L.Bidirectional(L.SimpleRNN(2, return_sequences=s), merge_mode=m), X, mask=True, batch=3)
for name, make, like in [
        ("rnn", lambda: L.RNN(L.GRUCell(UNITS)), None), ("bidirectional", lambda: L.Bidirectional(L.LSTM(UNITS)), None), ("time_distributed", lambda: L.TimeDistributed(L.Dense(UNITS)), None),
        ("cu_dnngru", lambda: L.CuDNNGRU(UNITS), lambda: L.GRU(UNITS, reset_after=True)), ("cu_dnnlstm", lambda: L.CuDNNLSTM(UNITS), lambda: L.LSTM(UNITS))]:
    case(name + "_one_step", make, (1, FEATURES), batch=1, **(dict(like=like) if like else {}))
case("bidirectional_initial_state", lambda: L.Bidirectional(L.LSTM(2, return_state=True)), X, (2,), (2,), (2,), (2,))
case("bidirectional_stateful", lambda: L.Bidirectional(L.LSTM(2, stateful=True, return_sequences=True)), X, fixed=True)
case("bidirectional_stateful_masked", lambda: L.Bidirectional(L.GRU(2, stateful=True)), X, fixed=True, mask=True, batch=3)
case("bidirectional_unrolled", lambda: L.Bidirectional(L.LSTM(2, unroll=True, return_sequences=True)), X)
case("bidirectional_backwards", lambda: L.Bidirectional(L.LSTM(2, go_backwards=True, return_sequences=True)), X)
case("bidirectional_regularized", lambda: L.Bidirectional(L.LSTM(2, kernel_regularizer=R.l2(0.03), activity_regularizer=R.l2(0.1)), merge_mode="sum"), X)
case("bidirectional_rnn_cell", lambda: L.Bidirectional(L.RNN(L.GRUCell(2), return_sequences=True)), X)
for name, settings, options in [("", {}, {}), ("_state", dict(return_sequences=True, return_state=True), {}), ("_backwards", dict(go_backwards=True, return_sequences=True), {}),
                                ("_masked", dict(return_sequences=True), dict(mask=True, batch=3)), ("_stateful", dict(stateful=True), dict(fixed=True)),
                                ("_stateful_masked", dict(stateful=True, return_sequences=True), dict(fixed=True, mask=True, batch=3))]:
    if name:
        case("bidirectional_rnn_cell" + name, lambda s=settings: L.Bidirectional(L.RNN(L.GRUCell(2), **s)), X, **options)
    case("bidirectional_rnn_stacked" + name, lambda s=settings: L.Bidirectional(L.RNN([L.LSTMCell(2), L.GRUCell(3)], **s)), X, **options)
case("bidirectional_conv_lstm2d", lambda: L.Bidirectional(L.ConvLSTM2D(2, 2, return_sequences=True)), IMAGE)
case("bidirectional_weights", lambda: L.Bidirectional(L.SimpleRNN(1), weights=[np.full(s, v, "float32") for v in (1, 2) for s in [(3, 1), (1, 1), (1,)]]), X)
case("bidirectional_dropout", lambda: L.Bidirectional(L.LSTM(2, dropout=.3)), X, random=True)

for kind, make, states in STANDARD:
    case("%s_float64" % kind, lambda m=make: m(UNITS, return_sequences=True, return_state=True), X, mask=True, batch=3, floatx="float64")
    case("%s_float64_longer" % kind, lambda m=make: m(UNITS, go_backwards=True), (31, FEATURES), floatx="float64")
case("gru_reset_after_float64", lambda: L.GRU(UNITS, reset_after=True, implementation=1), X, floatx="float64")
case("rnn_lstm_cell_float64", lambda: L.RNN(L.LSTMCell(UNITS)), X, floatx="float64")
case("rnn_constants_float64", lambda: constant_rnn({}), X, (4,), floatx="float64")
# Without initial states Keras mixes precisions here.
case("conv_lstm2d_float64", lambda: L.ConvLSTM2D(2, 2, return_sequences=True), IMAGE, (4, 3, 2), (4, 3, 2), floatx="float64")
case("bidirectional_float64", lambda: L.Bidirectional(L.LSTM(2, return_sequences=True)), X, floatx="float64")
case("time_distributed_float64", lambda: L.TimeDistributed(L.Dense(2, activation="tanh")), X, floatx="float64")
for kind, cell in [("simple_rnn_cell", lambda: L.SimpleRNNCell(UNITS)), ("gru_cell", lambda: L.GRUCell(UNITS)), ("minimal", lambda: MinimalRNNCell(3)), ("stacked", stack)]:
    case("rnn_%s_float64" % kind, lambda c=cell: L.RNN(c(), return_sequences=True, return_state=True), X, mask=True, batch=3, floatx="float64")
for name, shape, settings in [("", X, dict(return_sequences=True, return_state=True)), ("_longer", (31, FEATURES), dict(go_backwards=True))]:
    case("cu_dnngru_float64" + name, lambda s=settings: L.CuDNNGRU(UNITS, **s), shape, floatx="float64", like=lambda s=settings: L.GRU(UNITS, reset_after=True, **s))
    case("cu_dnnlstm_float64" + name, lambda s=settings: L.CuDNNLSTM(UNITS, **s), shape, floatx="float64", like=lambda s=settings: L.LSTM(UNITS, **s))


def tensors(value):
    return value if isinstance(value, list) else [value]


def values_of(rs, shapes, batch, options):
    values = []
    for i, shape in enumerate(shapes):
        if options.get("ints"):
            values.append(rs.randint(0, options["ints"], (batch,) + shape).astype("int32"))
            continue
        x = rs.uniform(-1, 1, (batch,) + shape)
        if options.get("mask") and i == 0:
            axes = 3 if options["mask"] == "inner" else 2
            x[rs.uniform(size=x.shape[:axes]) < 0.4] = 0
        values.append(x.astype(options.get("floatx", "float32")))
    return values


def carried(layer):
    if isinstance(layer, L.Bidirectional):
        return layer.forward_layer.states + layer.backward_layer.states
    return layer.states


def converted(layer, weights):
    """Weights of the layer that computes the same as a cuDNN layer with these."""
    kernel, recurrent, bias = [value.astype(K.floatx()) for value in weights]
    if isinstance(layer, L.LSTM):
        return [kernel, recurrent, bias[: len(bias) // 2] + bias[len(bias) // 2:]]
    return [kernel, recurrent, bias.reshape(2, -1)]


class StepMask(L.Layer):
    """Masks the steps that are all zero, whatever their rank."""

    def compute_mask(self, inputs, mask=None):
        return K.any(K.not_equal(inputs, 0.), axis=list(range(2, K.ndim(inputs))))


def record(fixture, name, build, shapes, options):
    fresh(options.get("floatx", "float32"))
    unoptimized()
    rs = stream(name)
    batch, ints = options.get("batch", 2), options.get("ints")
    dtype = "int32" if ints else options.get("floatx", "float32")
    values = values_of(rs, shapes, batch, options)
    fixed = batch if options.get("fixed") else None
    feeds = [keras.layers.Input(batch_shape=(fixed,) + shape, dtype=dtype) for shape in shapes]
    masking = {True: L.Masking, "inner": L.Masking, "steps": StepMask}.get(options.get("mask"))
    inputs = ([masking()(feeds[0])] if masking else feeds[:1]) + feeds[1:]
    layer = build()
    # Once a layer is built, Keras names its own wrapper around the identity initializer, which it cannot read.
    described, config = layer, layer.get_config()
    if "like" in options:
        layer = options["like"]()
        layer.name = described.name
    if isinstance(layer, L.ConvLSTM2D) and len(inputs) > 1:
        # On Keras tensors Keras 2.3.1 fails here.
        outputs = tensors(layer(inputs[0], initial_state=[tf.identity(x) for x in inputs[1:]]))
    else:
        outputs = tensors(layer(inputs if len(inputs) > 1 else inputs[0]))
    weights = initial_weights(layer.weights, rs)
    if name == "bidirectional_weights":
        weights = layer.get_weights()
    names = [dict(name=w.name, shape=K.int_shape(w), trainable=w in layer.trainable_weights) for w in layer.weights]
    if "like" in options:
        gates = 8 if isinstance(layer, L.LSTM) else 6
        weights[2] = rs.uniform(-.7, .7, gates * UNITS).astype("float32")
        layer.set_weights(converted(layer, weights))
        names[2]["shape"] = (gates * UNITS,)
    else:
        layer.set_weights(weights)

    def run(fetches, phase, updates=(), values=values):
        return K.function(feeds + [K.learning_phase()], fetches, updates=list(updates))(values + [phase])

    node = layer._inbound_nodes[-1]
    input_masks, output_masks = (node.input_masks + [None] * len(inputs))[: len(inputs)], node.output_masks
    rs_ = [rs.uniform(-1, 1, y.shape).astype(options.get("floatx", "float32")) for y in run(outputs, 0)]
    losses = keras.models.Model(feeds, outputs).losses
    objective = sum(K.sum(y * K.constant(r)) for y, r in zip(outputs, rs_)) + sum(losses)

    phases = ["test"]
    if not options.get("random") and not name.endswith("dropout_all") and any(getattr(y, "_uses_learning_phase", False) for y in outputs):
        phases.append("train")

    def put(key, value):
        fixture.array("%s/%s" % (name, key), value)

    for i, (value, mask) in enumerate(zip(values, input_masks)):
        put("input_%d" % i, value)
        if mask is not None:
            put("input_mask_%d" % i, run([mask], 0)[0])
    for i, value in enumerate(weights):
        put("weight_%d" % i, value)
    for i, (mask, r) in enumerate(zip(output_masks, rs_)):
        put("r_%d" % i, r)
        if mask is not None:
            put("output_mask_%d" % i, run([mask], 0)[0])

    wanted = [("grad_input_%d" % i, x) for i, x in enumerate(inputs) if not ints]
    wanted += [("grad_weight_%d" % i, w) for i, w in enumerate(layer.weights)]
    gradients = [(key, tf.convert_to_tensor(g)) for (key, _), g in zip(wanted, K.gradients(objective, [t for _, t in wanted])) if g is not None]
    trainable = {"grad_weight_%d" % i for i, w in enumerate(layer.weights) if w in layer.trainable_weights}
    gradients = [(key, g) for key, g in gradients if key.startswith("grad_input") or key in trainable]
    for phase, flag in [("test", 0), ("train", 1)]:
        if phase not in phases:
            continue
        penalty = [sum(losses)] if losses else []
        found = run(outputs + penalty + [g for _, g in gradients], flag)
        for i in range(len(outputs)):
            put("%s/output_%d" % (phase, i), found.pop(0))
        if losses:
            # The penalty on cuDNN's bias, which the stand-in does not have.
            more = described.bias_regularizer.l2 * np.sum(weights[2] ** 2) if name == "cu_dnnlstm_regularized" else 0
            put("%s/loss" % phase, np.asarray(found.pop(0) + more, options.get("floatx", "float32")))
        for (key, _), value in zip(gradients, found):
            if "like" in options and key == "grad_weight_2":
                value = np.concatenate([value, value]) if isinstance(layer, L.LSTM) else value.reshape(-1)
                if name == "cu_dnnlstm_regularized":
                    value = value + 2 * described.bias_regularizer.l2 * weights[2]
            put("%s/%s" % (phase, key), value)

    # Keras forgets that the wrapper itself is stateful.
    stateful = getattr(layer.forward_layer if isinstance(layer, L.Bidirectional) else layer, "stateful", False)
    states = carried(layer) if stateful else []
    if stateful:
        for b in range(BATCHES):
            given = values_of(rs, shapes, batch, options)
            put("batch_%d/input_0" % b, given[0])
            for i, value in enumerate(given[1:]):
                put("batch_%d/input_%d" % (b, i + 1), value)
            if input_masks[0] is not None:
                put("batch_%d/input_mask_0" % b, run([input_masks[0]], 0, values=given)[0])
            for i, y in enumerate(run(outputs, 0, layer.updates, given)):
                put("batch_%d/output_%d" % (b, i), y)
            for i, state in enumerate(states):
                put("batch_%d/state_%d" % (b, i), K.get_value(state))
    elif layer.updates:
        run(outputs, 1, layer.updates)
        for i, value in enumerate(layer.get_weights()):
            put("train/weight_after_%d" % i, value)

    fixture.case(
        name=name, class_name=described.__class__.__name__, config=config,
        input_shapes=[(fixed,) + shape for shape in shapes], input_dtypes=[dtype] * len(shapes), weights=names,
        outputs=len(outputs), input_masks=[m is not None for m in input_masks], output_masks=[m is not None for m in output_masks],
        phases=phases, losses=bool(losses), updates=bool(layer.updates) and not stateful, batches=BATCHES if stateful else 0, states=len(states))


def unoptimized():
    """A session that takes graphs as they are: rewriting loops costs more than running them."""
    from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
    graph = tf.GraphOptions(rewrite_options=RewriterConfig(disable_meta_optimizer=True))
    K.set_session(tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1, graph_options=graph)))


def ramp(shape, scale):
    """Values between -scale/2 and scale/2 that any language can make: the test makes them too."""
    i = np.arange(np.prod(shape))
    return ((i * 37 % 101) / 101. - 0.5).reshape(shape) * scale


def faq(fixture):
    fresh()
    # Each step is a distribution, as it is a target: of others TensorFlow's crossentropy has another gradient than its values.
    x = ramp((32, 21, 16), 2) + 1.5
    x = (x / x.sum(axis=-1, keepdims=True)).astype("float32")
    model = keras.models.Sequential()
    model.add(L.LSTM(32, input_shape=(10, 16), batch_size=32, stateful=True))
    model.add(L.Dense(16, activation="softmax"))
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy")
    model.set_weights([ramp(w.shape, 0.5).astype("float32") for w in model.get_weights()])
    first = model.train_on_batch(x[:, :10, :], np.reshape(x[:, 10, :], (32, 16)))
    second = model.train_on_batch(x[:, 10:20, :], np.reshape(x[:, 20, :], (32, 16)))
    fixture.array("faq/loss", np.array([first, second], "float32"))
    for i, state in enumerate(model.layers[0].states):
        fixture.array("faq/state_%d" % i, K.get_value(state))
    for i, weight in enumerate(model.get_weights()):
        fixture.array("faq/trained_weight_%d" % i, weight)
    model.reset_states()
    for i, part in enumerate([x[:, :10], x[:, 10:20]]):
        fixture.array("faq/prediction_%d" % i, model.predict(part, batch_size=32))


fixture = Fixture("recurrent_2_3_1", __file__)
for one in CASES:
    record(fixture, *one)
faq(fixture)
fixture.write()
