"""golden_layers.py on Keras 2.2.4."""
from fixture import expect
from golden_layers import record

expect("2.2.4")
record("golden_layers_2_2_4", __file__)
