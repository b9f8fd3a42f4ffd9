#![no_main]

keras_fuzz::target!(keras);
