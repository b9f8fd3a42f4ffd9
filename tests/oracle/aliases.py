"""What a Keras makes of the losses and metrics that our files name: aliases.py FOLDER FILE… evaluates the compiled models FILE on
FOLDER/x.npy and FOLDER/y_I.npy, and writes FILE.json: {name: value}. Runs in each of the environments."""
import json
import os
import sys
import warnings

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "jax" if "keras-3" in sys.executable else "tensorflow"
warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402

if "tf-2" in sys.executable:
    import tensorflow as tf
    keras = tf.keras
else:
    import keras

folder = sys.argv[1]
read = lambda name: np.load(os.path.join(folder, name + ".npy"))
for file in sys.argv[2:]:
    model = keras.models.load_model(os.path.join(folder, file))
    x, y = read("x"), [read("y_%d" % i) for i in range(len(model.outputs))]
    if hasattr(model, "compile_from_config"):
        values = model.evaluate(x, y, verbose=0, return_dict=True)
    else:
        values = dict(zip(model.metrics_names, model.evaluate(x, y, verbose=0)))
    with open(os.path.join(folder, file + ".json"), "w") as out:
        json.dump({name: float(value) for name, value in values.items()}, out)
