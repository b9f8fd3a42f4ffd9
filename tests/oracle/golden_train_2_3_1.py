"""golden_train.py on Keras 2.3.1."""
from fixture import expect
from golden_train import record

expect("2.3.1")
# The other set-ups count steps (Adam and its kin, decay): Keras 2.3.1 reads `iterations` before or after its increment, at random.
record("golden_train_2_3_1", __file__, optimizers=["sgd", "sgd_mom", "adagrad", "adadelta", "clipnorm", "clipvalue"])
