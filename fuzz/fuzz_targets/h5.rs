#![no_main]

keras_fuzz::target!(h5);
