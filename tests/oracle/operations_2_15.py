"""Operations between layers as tf.keras 2.15 saves them (TFOpLambda, SlicingOpLambda), and models whose masks end at a
layer that does not support them. Writes tests/fixtures/operations_2_15.{json,npz}.

A case: name, model (the JSON of to_json), inputs (their number), outputs (their number). Arrays under "CASE/": input_I,
output_I, grad_input_I of the sum of all outputs times r_I (floating point ones).
"""
import json
import os

from fixture import Fixture, expect, stream, tf

K = tf.keras.backend
expect("2.15.0")
CASES = {
    "add": lambda x, y, i: x + y, "add_number": lambda x, y, i: x + 1.0, "add_row": lambda x, y, i: x + tf.constant([1.0, 2.0, 3.0]), "number_minus": lambda x, y, i: 1 - x,
    "subtract": lambda x, y, i: x - y, "multiply": lambda x, y, i: x * 2, "divide": lambda x, y, i: x / (y + 3), "number_over": lambda x, y, i: 1 / (x + 3),
    "int_truediv": lambda x, y, i: tf.cast(i / 2, "float32"), "int_floordiv": lambda x, y, i: tf.cast((i - 3) // 2, "float32"),
    "int_mod": lambda x, y, i: tf.cast((i - 3) % 2, "float32"), "int_mean": lambda x, y, i: tf.cast(tf.reduce_mean(i - 3, axis=1, keepdims=True), "float32"), "floordiv": lambda x, y, i: x // 0.3, "mod": lambda x, y, i: x % 0.3, "pow": lambda x, y, i: x ** 3, "negative": lambda x, y, i: -x, "abs": lambda x, y, i: abs(x),
    "matmul": lambda x, y, i: x @ tf.transpose(y, [0, 2, 1]), "matmul_transposed": lambda x, y, i: tf.matmul(x, y, transpose_b=True), "matmul_constant": lambda x, y, i: tf.matmul(x, tf.constant([[1.0], [2.0], [3.0]])),
    "concat": lambda x, y, i: tf.concat([x, y], axis=-1), "stack": lambda x, y, i: tf.stack([x, y], axis=1), "reshape": lambda x, y, i: tf.reshape(x, (-1, 12)),
    "reshape_by_shape": lambda x, y, i: tf.reshape(x, (tf.shape(x)[0], -1)), "reshape_by_unstacked": lambda x, y, i: tf.reshape(x, [tf.unstack(tf.shape(x))[0], 2, 6]),
    "one_hot": lambda x, y, i: tf.one_hot(i, 5), "one_hot_values": lambda x, y, i: tf.one_hot(i, 4, on_value=2.0, off_value=-1.0), "cast": lambda x, y, i: tf.cast(i, "float32") * 0.5, "cast_bool": lambda x, y, i: tf.cast(x > y, "float32"),
    "mean": lambda x, y, i: tf.reduce_mean(x, axis=1), "mean_keepdims": lambda x, y, i: tf.reduce_mean(x, axis=[1, 2], keepdims=True), "sum": lambda x, y, i: tf.reduce_sum(x, -1), "max": lambda x, y, i: tf.reduce_max(x, 1),
    "min": lambda x, y, i: tf.reduce_min(x, 1), "prod": lambda x, y, i: tf.reduce_prod(x, 1), "std": lambda x, y, i: tf.math.reduce_std(x, 1), "variance": lambda x, y, i: tf.math.reduce_variance(x, 1),
    "logsumexp": lambda x, y, i: tf.reduce_logsumexp(x, 1), "expand_dims": lambda x, y, i: tf.expand_dims(x, 1), "squeeze": lambda x, y, i: tf.squeeze(tf.expand_dims(x, 1), 1),
    "getitem_index": lambda x, y, i: x[:, 0], "getitem_range": lambda x, y, i: x[:, 1:3, -1], "getitem_ellipsis": lambda x, y, i: x[..., :2], "getitem_new_axis": lambda x, y, i: x[:, tf.newaxis], "getitem_step": lambda x, y, i: x[:, ::2, ::-1],
    "getitem_negative": lambda x, y, i: x[:, -2:], "tile": lambda x, y, i: tf.tile(x, [1, 2, 1]), "transpose": lambda x, y, i: tf.transpose(x, [0, 2, 1]), "relu": lambda x, y, i: tf.nn.relu(x), "relu6": lambda x, y, i: tf.nn.relu6(x * 9),
    "leaky_relu": lambda x, y, i: tf.nn.leaky_relu(x, 0.1), "leaky_relu_default": lambda x, y, i: tf.nn.leaky_relu(x), "sigmoid": lambda x, y, i: tf.sigmoid(x), "tanh": lambda x, y, i: tf.tanh(x), "softmax": lambda x, y, i: tf.nn.softmax(x),
    "softmax_axis": lambda x, y, i: tf.nn.softmax(x, axis=1), "log_softmax": lambda x, y, i: tf.nn.log_softmax(x), "exp": lambda x, y, i: tf.exp(x), "log": lambda x, y, i: tf.math.log(x + 2), "sqrt": lambda x, y, i: tf.sqrt(x + 2),
    "square": lambda x, y, i: tf.square(x), "rsqrt": lambda x, y, i: tf.math.rsqrt(x + 2), "maximum": lambda x, y, i: tf.maximum(x, y), "minimum": lambda x, y, i: tf.minimum(x, 0.2), "clip": lambda x, y, i: tf.clip_by_value(x, -0.5, 0.5),
    "where": lambda x, y, i: tf.where(x > 0, x, y), "where_number": lambda x, y, i: tf.where(x > 0, x, 0.5), "l2_normalize": lambda x, y, i: tf.math.l2_normalize(x, axis=-1), "argmax": lambda x, y, i: tf.cast(tf.argmax(x, -1), "float32"),
    "split": lambda x, y, i: list(tf.split(x, 3, axis=-1)), "split_sizes": lambda x, y, i: list(tf.split(x, [1, 3], axis=1)), "unstack": lambda x, y, i: list(tf.unstack(x, axis=1)), "gather": lambda x, y, i: tf.gather(x, [0, 2, 0], axis=1),
    "backend": lambda x, y, i: K.sqrt(K.sum(K.square(x - y), axis=-1, keepdims=True)), "backend_concatenate": lambda x, y, i: K.concatenate([x, y]), "add_n": lambda x, y, i: tf.add_n([x, y, x]),
    "gelu": lambda x, y, i: tf.nn.gelu(x), "gelu_tanh": lambda x, y, i: tf.nn.gelu(x, approximate=True), "silu": lambda x, y, i: tf.nn.silu(x), "elu": lambda x, y, i: tf.nn.elu(x), "selu": lambda x, y, i: tf.nn.selu(x), "softplus": lambda x, y, i: tf.nn.softplus(x),
    "reverse": lambda x, y, i: tf.reverse(x, [1]), "zeros_like": lambda x, y, i: tf.zeros_like(x) + x, "ones_like": lambda x, y, i: tf.ones_like(x) * x, "identity": lambda x, y, i: tf.identity(x), "pad": lambda x, y, i: tf.pad(x, [[0, 0], [1, 2], [0, 1]]),
    "cumsum": lambda x, y, i: tf.cumsum(x, axis=1), "broadcast_to": lambda x, y, i: tf.broadcast_to(x[:1, :1], (2, 4, 3)), "floor": lambda x, y, i: tf.floor(x * 3) + x, "squared_difference": lambda x, y, i: tf.math.squared_difference(x, y),
    "logical": lambda x, y, i: tf.cast((x > 0) & tf.logical_not(y > 0), "float32") * x, "equal": lambda x, y, i: tf.cast(tf.equal(i, 1), "float32"), "chained": lambda x, y, i: tf.nn.relu(x * 2 - y) + tf.reduce_mean(x, -1, keepdims=True),
    "add_function": lambda x, y, i: tf.add(x, y), "divide_function": lambda x, y, i: tf.divide(x, y + 3), "floordiv_function": lambda x, y, i: tf.cast(tf.math.floordiv(i - 3, 2), "float32"), "argmin": lambda x, y, i: tf.cast(tf.argmin(x, 1), "float32"),
    "ceil": lambda x, y, i: tf.math.ceil(x * 3) + x, "round": lambda x, y, i: tf.round(tf.cast(i, "float32") / 2), "sign": lambda x, y, i: tf.sign(x) * y + x, "cos": lambda x, y, i: tf.cos(x * 3), "sin": lambda x, y, i: tf.sin(x * 3),
    "erf": lambda x, y, i: tf.math.erf(x), "expm1": lambda x, y, i: tf.math.expm1(x), "log1p": lambda x, y, i: tf.math.log1p(x + 1), "reciprocal": lambda x, y, i: tf.math.reciprocal(x + 2), "softsign": lambda x, y, i: tf.nn.softsign(x),
    "greater_equal": lambda x, y, i: tf.cast(i >= 2, "float32"), "less": lambda x, y, i: tf.cast(i < 2, "float32"), "less_equal": lambda x, y, i: tf.cast(i <= 2, "float32"), "not_equal": lambda x, y, i: tf.cast(tf.not_equal(i, 2), "float32"),
    "logical_or": lambda x, y, i: tf.cast((x > 0) | (y > 0), "float32") * x, "is_nan": lambda x, y, i: tf.cast(tf.math.is_nan(tf.math.log(x)), "float32"), "reduce_all": lambda x, y, i: tf.cast(tf.reduce_all(x > -0.5, axis=-1), "float32"),
    "reduce_any": lambda x, y, i: tf.cast(tf.reduce_any(x > 0.5, axis=1, keepdims=True), "float32") * x, "stop_gradient": lambda x, y, i: tf.stop_gradient(x) * x, "slice": lambda x, y, i: tf.slice(x, [0, 1, 0], [-1, 2, 2]),
    "repeat": lambda x, y, i: tf.repeat(x, 2, axis=1), "roll": lambda x, y, i: tf.roll(x, 1, axis=1), "roll_back": lambda x, y, i: tf.roll(x, shift=[-1], axis=[2]), "norm": lambda x, y, i: tf.norm(x, axis=-1), "norm_keepdims": lambda x, y, i: tf.linalg.norm(x, axis=1, keepdims=True),
}



def masked(x, i):
    """Steps that depend on x, masked where i is 0; first weights are constants."""
    few = L.Embedding(5, 3, mask_zero=True, embeddings_initializer=constant(0.5))(i)
    return L.Add()([few, L.Dense(3, kernel_initializer=constant(0.3))(x)])


def lstm(h, **options):
    return L.LSTM(2, kernel_initializer=constant(0.2), recurrent_initializer=constant(0.1), **options)(h)


L, constant = tf.keras.layers, tf.keras.initializers.Constant
CASES.update({
    "mask_lstm": lambda x, y, i: lstm(masked(x, i)),
    "mask_flatten_dense": lambda x, y, i: L.Dense(2, kernel_initializer=constant(0.4))(L.Flatten()(masked(x, i))),
    "mask_conv1d_lstm": lambda x, y, i: lstm(L.Conv1D(2, 2, kernel_initializer=constant(0.4))(masked(x, i))),
    "mask_reshape_lstm": lambda x, y, i: lstm(L.Reshape((4, 3))(masked(x, i))),
    "mask_global_max_pooling1d_dense": lambda x, y, i: L.Dense(2, kernel_initializer=constant(0.4))(L.GlobalMaxPooling1D()(masked(x, i))),
    "mask_global_average_pooling1d": lambda x, y, i: L.GlobalAveragePooling1D()(masked(x, i)),
    "mask_sequences_up_sampling1d": lambda x, y, i: L.UpSampling1D(2)(lstm(masked(x, i), return_sequences=True)),
    "mask_in_a_model": lambda x, y, i: tf.keras.Sequential([L.InputLayer((4, 3)), L.Permute((2, 1)), L.Flatten()])(masked(x, i)),
})
fixture = Fixture("operations_2_15", __file__)
for name, build in CASES.items():
    tf.keras.backend.clear_session()
    rs = stream(name)
    values = [rs.uniform(-1, 1, (2, 4, 3)).astype("float32"), rs.uniform(-1, 1, (2, 4, 3)).astype("float32"), rs.randint(0, 5, (2, 4)).astype("int32")]
    inputs = [tf.keras.Input((4, 3)), tf.keras.Input((4, 3)), tf.keras.Input((4,), dtype="int32")]
    outputs = build(*inputs)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    model = tf.keras.Model(inputs, outputs)
    with tf.GradientTape(persistent=True) as tape:
        fed = [tf.constant(value) for value in values]
        for x in fed[:2]:
            tape.watch(x)
        results = model(fed)
        results = results if isinstance(results, list) else [results]
        signs = [rs.uniform(-1, 1, result.shape).astype("float32") for result in results]
        objective = sum(tf.reduce_sum(result * r) for result, r in zip(results, signs))
    for i, value in enumerate(values):
        fixture.array("%s/input_%d" % (name, i), value)
    for i, (result, r) in enumerate(zip(results, signs)):
        fixture.array("%s/output_%d" % (name, i), result)
        fixture.array("%s/r_%d" % (name, i), r)
    for i, x in enumerate(fed[:2]):
        gradient = tape.gradient(objective, x)
        if gradient is not None:
            fixture.array("%s/grad_input_%d" % (name, i), tf.convert_to_tensor(gradient))
    fixture.case(name=name, model=json.loads(model.to_json()), inputs=len(values), outputs=len(results))
fixture.write()
