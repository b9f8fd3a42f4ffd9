/* .cargo/config.toml points LIBTORCH here where nobody sets it, so that a build without libtorch ends with this line. */
#error "the torch backend needs libtorch 2.13.0: run `cargo xtask libtorch` and set the environment that it prints, or set LIBTORCH or LIBTORCH_USE_PYTORCH=1"
