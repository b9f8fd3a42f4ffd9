"""golden_layers.py on Keras 2.3.1."""
from fixture import expect
from golden_layers import record

expect("2.3.1")
record("golden_layers_2_3_1", __file__)
