//! Programs with the torch backend find libtorch where it was when they were built.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let Some(libraries) = std::env::var_os("DEP_KERAS_TORCH_LIBRARIES") else { return };
    for library in std::env::split_paths(&libraries) {
        for kind in ["bins", "examples"] {
            println!("cargo:rustc-link-arg-{kind}=-Wl,-rpath,{}", library.display());
        }
    }
}
