"""archives.py on tf.keras 2.12."""
from fixture import expect
from archives import record

expect("2.12.0")
record("archives_2_12")
