#![no_main]

keras_fuzz::target!(conformance::hostile::json);
