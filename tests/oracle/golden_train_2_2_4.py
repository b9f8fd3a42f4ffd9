"""golden_train.py on Keras 2.2.4."""
from fixture import expect
from golden_train import OPTIMIZERS, record

expect("2.2.4")
record("golden_train_2_2_4", __file__, OPTIMIZERS)
