"""archives.py on tf.keras 2.15."""
from fixture import expect
from archives import record

expect("2.15.0")
record("archives_2_15")
