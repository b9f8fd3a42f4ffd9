"""What the fixture generators share. Python 3.6 (Keras 2.3.1 on TensorFlow 1.15.5, Keras 2.2.4 on TensorFlow 1.12.3), Python 3.11
(tf.keras 2.15, which computes eagerly).

A fixture is two files in tests/fixtures:
    NAME.json   {"keras": .., "tensorflow": .., "script": .., ..., "cases": [..]}, one case a line
    NAME.npz    the arrays, deflated; each generator's docstring lists the keys. Little-endian, C order
The arithmetic runs on one thread, seeds are fixed and zip members carry 1980-01-01, so the same packages on the same
kind of processor make the same bytes; another processor may change the last bits of a float.
"""
import io
import json
import os
import sys
import warnings
import zipfile
import zlib

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# A keras.json of the user's must not change what is recorded.
for _variable in ("KERAS_BACKEND", "KERAS_HOME"):
    os.environ.pop(_variable, None)
warnings.filterwarnings("ignore")
_stderr, sys.stderr = sys.stderr, io.StringIO()
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import keras  # noqa: E402
from keras import backend as K  # noqa: E402

sys.stderr = _stderr
try:
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
except AttributeError:
    tf.logging.set_verbosity(tf.logging.ERROR)

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def expect(version):
    if keras.__version__ != version:
        sys.exit("expected Keras %s, received %s: run scripts/oracle.sh, then tests/oracle/regenerate.sh"
                 % (version, keras.__version__))


def _gated_gradients(self, loss, params):
    """Gradients that are handed out when all of them and the loss are known.

    Keras's update of one weight waits for its own gradient only. TensorFlow 1 may run it while another gradient, or a
    regularizer's term of the loss, has still to read that weight, and which happens differs from graph to graph: what such a
    run records is not Keras's formula. With the gate there is one order: loss, gradients, updates.
    """
    gradients = _get_gradients(self, loss, params)
    with tf.control_dependencies([loss] + gradients):
        return [tf.identity(gradient) for gradient in gradients]


_get_gradients = getattr(keras.optimizers.Optimizer, "get_gradients", None)
if _get_gradients:
    keras.optimizers.Optimizer.get_gradients = _gated_gradients


def fresh(floatx="float32"):
    """An empty graph and a single-threaded session; automatic names start at 1 again."""
    K.clear_session()
    K.set_floatx(floatx)
    K.set_image_data_format("channels_last")
    K.set_epsilon(1e-7)
    # Keras draws seeds from numpy's stream and a random graph seed per session; nothing recorded may depend on one.
    np.random.seed(0)
    tf.compat.v1.set_random_seed(0) if hasattr(tf, "compat") and hasattr(tf.compat, "v1") else tf.set_random_seed(0)
    K.set_session(tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)))


def stream(name):
    """Random numbers that depend on the case's name alone, so that a new case changes no other."""
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


def plain(value):
    """JSON of numpy's scalars and arrays, as Keras's own to_json writes them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("no JSON for %r" % (value,))


def initial_weights(weights, rs):
    """Values by the weight's role: positive where Keras needs it, elsewhere uniform in -0.7..0.7; float32."""
    values = []
    for weight in weights:
        low, high = (0.5, 1.5) if "variance" in weight.name or "gamma" in weight.name else (-0.7, 0.7)
        values.append(rs.uniform(low, high, K.int_shape(weight)).astype("float32"))
    return values


class Fixture(object):
    def __init__(self, name, script, **head):
        self.name, self.cases, self.arrays = name, [], {}
        self.head = dict(head, keras=keras.__version__, tensorflow=tf.__version__, script=os.path.basename(script))

    def array(self, key, value, nan=False):
        value = np.asarray(value)
        if key in self.arrays and not np.array_equal(self.arrays[key], value):
            raise ValueError("two values for %s" % key)
        if value.dtype.kind == "f" and not nan and not np.isfinite(value).all():
            raise ValueError("%s is not finite" % key)
        self.arrays[key] = value

    def case(self, **fields):
        self.cases.append(fields)

    def write(self):
        names = [case["name"] for case in self.cases]
        if len(set(names)) != len(names):
            raise ValueError("case names repeat: %s" % sorted(n for n in names if names.count(n) > 1))
        head = json.dumps(self.head, sort_keys=True)[:-1]
        lines = ",\n".join(json.dumps(case, default=plain) for case in self.cases)
        text = '%s, "cases": [\n%s\n]}\n' % (head, lines)
        path = os.path.normpath(os.path.join(FOLDER, self.name))
        with io.open(path + ".json", "w", encoding="utf-8") as out:
            out.write(text)
        sizes = [len(text)]
        if self.arrays:
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                for key, value in self.arrays.items():
                    data = io.BytesIO()
                    np.lib.format.write_array(data, np.array(value, order="C", copy=True), version=(1, 0))
                    info = zipfile.ZipInfo(key + ".npy")
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, data.getvalue())
            with open(path + ".npz", "wb") as out:
                out.write(buffer.getvalue())
            sizes.append(len(buffer.getvalue()))
        print("%s: %d cases, %d arrays, %s bytes" % (self.name, len(self.cases), len(self.arrays), " + ".join(map(str, sizes))))
