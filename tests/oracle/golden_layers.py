"""109 configurations of Keras's layers with random weights and their outputs at inference; what golden_layers_2_3_1.py and
golden_layers_2_2_4.py record. A case: name, class_name, config, input_shapes (batch null), input_dtypes, weights, outputs.
Arrays under "CASE/": input_I  weight_I  test/output_I.
"""
import numpy as np

from fixture import Fixture, K, fresh, keras
from keras import layers as L

CASES = [
    ("Dense", lambda: L.Dense(4), [(3,)]), ("Activation", lambda: L.Activation("relu"), [(3,)]), ("Dropout", lambda: L.Dropout(.5), [(3,)]),
    ("Flatten", lambda: L.Flatten(), [(3, 4, 5)]), ("Reshape", lambda: L.Reshape((2, -1)), [(6,)]), ("Permute", lambda: L.Permute((2, 1)), [(3, 4)]),
    ("RepeatVector", lambda: L.RepeatVector(3), [(4,)]), ("ActivityRegularization", lambda: L.ActivityRegularization(.1, .2), [(4,)]), ("Masking", lambda: L.Masking(), [(4, 2)]),
    ("SpatialDropout1D", lambda: L.SpatialDropout1D(.5), [(4, 2)]), ("SpatialDropout2D", lambda: L.SpatialDropout2D(.5), [(4, 4, 2)]), ("SpatialDropout3D", lambda: L.SpatialDropout3D(.5), [(4, 4, 4, 2)]),
    ("Conv1D", lambda: L.Conv1D(5, 3), [(9, 2)]), ("Conv2D", lambda: L.Conv2D(5, 3), [(9, 8, 2)]), ("Conv3D", lambda: L.Conv3D(5, 3), [(9, 8, 7, 2)]),
    ("Conv2DTranspose", lambda: L.Conv2DTranspose(5, 3, strides=2), [(9, 8, 2)]), ("Conv3DTranspose", lambda: L.Conv3DTranspose(5, 3, strides=2), [(9, 8, 7, 2)]),
    ("SeparableConv1D", lambda: L.SeparableConv1D(5, 3, depth_multiplier=2), [(9, 2)]), ("SeparableConv2D", lambda: L.SeparableConv2D(5, 3, depth_multiplier=2), [(9, 8, 2)]),
    ("DepthwiseConv2D", lambda: L.DepthwiseConv2D(3, depth_multiplier=2), [(9, 8, 2)]),
    ("Cropping1D", lambda: L.Cropping1D(), [(9, 2)]), ("Cropping2D", lambda: L.Cropping2D(), [(9, 8, 2)]), ("Cropping3D", lambda: L.Cropping3D(), [(9, 8, 7, 2)]),
    ("UpSampling1D", lambda: L.UpSampling1D(), [(9, 2)]), ("UpSampling2D", lambda: L.UpSampling2D(), [(9, 8, 2)]), ("UpSampling3D", lambda: L.UpSampling3D(), [(3, 3, 3, 2)]),
    ("ZeroPadding1D", lambda: L.ZeroPadding1D(), [(9, 2)]), ("ZeroPadding2D", lambda: L.ZeroPadding2D(), [(9, 8, 2)]), ("ZeroPadding3D", lambda: L.ZeroPadding3D(), [(3, 3, 3, 2)]),
    ("MaxPooling1D", lambda: L.MaxPooling1D(), [(9, 2)]), ("MaxPooling2D", lambda: L.MaxPooling2D(), [(9, 8, 2)]), ("MaxPooling3D", lambda: L.MaxPooling3D(), [(9, 8, 7, 2)]),
    ("AveragePooling1D", lambda: L.AveragePooling1D(), [(9, 2)]), ("AveragePooling2D", lambda: L.AveragePooling2D(), [(9, 8, 2)]), ("AveragePooling3D", lambda: L.AveragePooling3D(), [(9, 8, 7, 2)]),
    ("GlobalMaxPooling1D", lambda: L.GlobalMaxPooling1D(), [(9, 2)]), ("GlobalMaxPooling2D", lambda: L.GlobalMaxPooling2D(), [(9, 8, 2)]), ("GlobalMaxPooling3D", lambda: L.GlobalMaxPooling3D(), [(9, 8, 7, 2)]),
    ("GlobalAveragePooling1D", lambda: L.GlobalAveragePooling1D(), [(9, 2)]), ("GlobalAveragePooling2D", lambda: L.GlobalAveragePooling2D(), [(9, 8, 2)]), ("GlobalAveragePooling3D", lambda: L.GlobalAveragePooling3D(), [(9, 8, 7, 2)]),
    ("LocallyConnected1D", lambda: L.LocallyConnected1D(5, 3), [(9, 2)]), ("LocallyConnected2D", lambda: L.LocallyConnected2D(5, 3), [(9, 8, 2)]),
    ("SimpleRNN", lambda: L.SimpleRNN(4), [(5, 3)]), ("GRU", lambda: L.GRU(4), [(5, 3)]), ("GRU_reset_after", lambda: L.GRU(4, reset_after=True), [(5, 3)]), ("LSTM", lambda: L.LSTM(4), [(5, 3)]),
    ("LSTM_state_seq", lambda: L.LSTM(4, return_sequences=True, return_state=True), [(5, 3)]), ("SimpleRNNCell_RNN", lambda: L.RNN(L.SimpleRNNCell(4)), [(5, 3)]),
    ("Stacked_RNN", lambda: L.RNN([L.LSTMCell(4), L.GRUCell(2)], return_state=True), [(5, 3)]), ("ConvLSTM2D", lambda: L.ConvLSTM2D(4, 3), [(5, 6, 6, 3)]),
    ("Embedding", lambda: L.Embedding(10, 4), [(5,)]), ("Embedding_len", lambda: L.Embedding(10, 4, input_length=5, mask_zero=True), [(5,)]),
    ("Add", lambda: L.Add(), [(5,), (5,)]), ("Subtract", lambda: L.Subtract(), [(5,), (5,)]), ("Multiply", lambda: L.Multiply(), [(5,), (5,)]), ("Average", lambda: L.Average(), [(5,), (5,)]),
    ("Maximum", lambda: L.Maximum(), [(5,), (5,)]), ("Minimum", lambda: L.Minimum(), [(5,), (5,)]), ("Concatenate", lambda: L.Concatenate(), [(5,), (5,)]), ("Dot", lambda: L.Dot(1), [(5,), (5,)]),
    ("LeakyReLU", lambda: L.LeakyReLU(), [(5,)]), ("PReLU", lambda: L.PReLU(), [(5, 4)]), ("PReLU_shared", lambda: L.PReLU(shared_axes=[1]), [(5, 4)]), ("ELU", lambda: L.ELU(), [(5,)]),
    ("ThresholdedReLU", lambda: L.ThresholdedReLU(), [(5,)]), ("Softmax", lambda: L.Softmax(), [(5,)]), ("ReLU", lambda: L.ReLU(), [(5,)]), ("ReLU6", lambda: L.ReLU(6.), [(5,)]),
    ("BatchNormalization", lambda: L.BatchNormalization(), [(5, 4)]), ("GaussianNoise", lambda: L.GaussianNoise(.1), [(5,)]), ("GaussianDropout", lambda: L.GaussianDropout(.1), [(5,)]), ("AlphaDropout", lambda: L.AlphaDropout(.1), [(5,)]),
    ("TimeDistributed", lambda: L.TimeDistributed(L.Dense(2)), [(5, 4)]), ("Bidirectional", lambda: L.Bidirectional(L.LSTM(2)), [(5, 4)]), ("MaxoutDense", lambda: L.MaxoutDense(3), [(5,)]), ("Highway", lambda: L.Highway(), [(5,)]),
    ("Conv1D_causal", lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), [(9, 2)]), ("Conv2D_same_s2", lambda: L.Conv2D(3, 3, strides=2, padding="same", activation="relu"), [(6, 7, 2)]),
    ("Conv2D_k2_same_s2", lambda: L.Conv2D(3, (2, 4), strides=2, padding="same"), [(6, 7, 2)]), ("Conv2D_dil", lambda: L.Conv2D(3, 3, dilation_rate=2), [(7, 8, 2)]),
    ("Conv2DT_same", lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same"), [(4, 5, 2)]), ("Conv2DT_k5s3_same", lambda: L.Conv2DTranspose(3, 5, strides=3, padding="same"), [(3, 3, 2)]),
    ("Conv2DT_op", lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=0), [(4, 5, 2)]), ("Conv2DT_k2s3_valid", lambda: L.Conv2DTranspose(2, 2, strides=3), [(3, 3, 2)]),
    ("Sep2D_same_s2", lambda: L.SeparableConv2D(3, 3, strides=2, padding="same"), [(6, 6, 2)]), ("DW_same", lambda: L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), [(5, 5, 2)]),
    ("MaxPool_same", lambda: L.MaxPooling2D(3, 2, padding="same"), [(6, 5, 2)]), ("AvgPool_same", lambda: L.AveragePooling2D(3, 2, padding="same"), [(6, 5, 2)]),
    ("LC2D_s2", lambda: L.LocallyConnected2D(3, (2, 3), strides=(2, 1)), [(6, 5, 2)]), ("UpBilinear", lambda: L.UpSampling2D((2, 3), interpolation="bilinear"), [(3, 4, 2)]),
    ("LSTM_back_seq", lambda: L.LSTM(3, go_backwards=True, return_sequences=True), [(5, 2)]), ("LSTM_hard", lambda: L.LSTM(3, recurrent_activation="hard_sigmoid"), [(5, 2)]),
    ("GRU_seq_nobias", lambda: L.GRU(3, return_sequences=True, use_bias=False), [(5, 2)]), ("GRU_hard_ra", lambda: L.GRU(3, reset_after=True, recurrent_activation="hard_sigmoid"), [(5, 2)]),
    ("SimpleRNN_relu", lambda: L.SimpleRNN(3, activation="relu", return_sequences=True), [(5, 2)]), ("ConvLSTM_seq_same", lambda: L.ConvLSTM2D(2, 3, padding="same", return_sequences=True), [(4, 5, 5, 2)]),
    ("BiLSTM_seq_sum", lambda: L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="sum"), [(5, 3)]), ("BiGRU_mul", lambda: L.Bidirectional(L.GRU(2), merge_mode="mul"), [(5, 3)]),
    ("BiLSTM_state", lambda: L.Bidirectional(L.LSTM(2, return_state=True)), [(5, 3)]), ("BN_axis1", lambda: L.BatchNormalization(axis=1), [(3, 4, 2)]),
    ("TD_Conv", lambda: L.TimeDistributed(L.Conv2D(2, 2)), [(3, 4, 4, 2)]), ("Dot_norm", lambda: L.Dot((2, 2), normalize=True), [(3, 4), (5, 4)]), ("Dot_12", lambda: L.Dot((1, 2)), [(4, 3), (5, 4)]),
    ("Concat1", lambda: L.Concatenate(axis=1), [(3, 4), (5, 4)]), ("Add_bcast", lambda: L.Add(), [(3, 4), (1, 4)]), ("Add_rank", lambda: L.Add(), [(3, 4), (4,)]),
    ("Softmax_ax1", lambda: L.Softmax(axis=1), [(3, 4)]), ("ReLU_full", lambda: L.ReLU(4., .5, 1.), [(6,)]), ("Flatten_cf", lambda: L.Flatten(data_format="channels_first"), [(3, 2, 2)]),
    ("Dense3D", lambda: L.Dense(4, activation="softmax"), [(3, 5)]), ("ZeroPad_asym", lambda: L.ZeroPadding2D(((1, 2), (3, 0))), [(3, 3, 2)]), ("Crop_asym", lambda: L.Cropping2D(((1, 2), (0, 1))), [(5, 4, 2)]),
]


def record(name, script):
    """One stream of random numbers for all cases, in their order."""
    fixture, rs = Fixture(name, script), np.random.RandomState(0)
    for case, build, shapes in CASES:
        fresh()
        layer, inputs = build(), [keras.Input(shape=shape) for shape in shapes]
        outputs = layer(inputs if len(inputs) > 1 else inputs[0])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        weights = [rs.uniform(-.7, .7, weight.shape).astype("float32") for weight in layer.get_weights()]
        weights = [np.abs(value) + .1 if "variance" in weight.name else value for weight, value in zip(layer.weights, weights)]
        layer.set_weights(weights)
        if case.startswith("Embedding"):
            values = [rs.randint(0, 10, (2,) + shape).astype("float32") for shape in shapes]
        else:
            values = [rs.uniform(-3, 3, (2,) + shape).astype("float32") for shape in shapes]
        results = K.function(inputs + [K.learning_phase()], outputs)(values + [0])
        for kind, arrays in [("input", values), ("weight", weights), ("test/output", results)]:
            for i, value in enumerate(arrays):
                fixture.array("%s/%s_%d" % (case, kind, i), value)
        fixture.case(name=case, class_name=layer.__class__.__name__, config=layer.get_config(), input_shapes=[(None,) + shape for shape in shapes],
                     input_dtypes=["float32"] * len(shapes), weights=[dict(name=weight.name, shape=K.int_shape(weight)) for weight in layer.weights],
                     outputs=len(outputs), input_masks=[False] * len(shapes))
    fixture.write()
