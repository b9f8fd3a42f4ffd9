//! Finds libtorch as torch-sys does, says what to do where there is none, and compiles `shim.cpp`.

#[cfg(feature = "libtorch")]
fn main() {
    use std::path::PathBuf;
    use std::process::{Command, exit};

    /// What Python prints of its torch: the folders of headers, then those of libraries.
    const PATHS: &str = "from torch.utils.cpp_extension import include_paths, library_paths\n\
        print('\\n'.join(['I' + p for p in include_paths()] + ['L' + p for p in library_paths()]))";

    for name in ["LIBTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_LIB", "LIBTORCH_USE_PYTORCH", "LIBTORCH_CXX11_ABI"]
    {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=shim.cpp");
    let advise = |received: &str| -> ! {
        eprintln!(
            "\nerror: building the torch backend: expected libtorch 2.13.0, received {received}; run `cargo xtask \
             libtorch` and set the environment that it prints, or set LIBTORCH to the folder of an existing libtorch, or \
             LIBTORCH_USE_PYTORCH=1 to take that of Python's torch 2.13.0\n"
        );
        exit(1)
    };
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (mut includes, mut libraries) = (Vec::new(), Vec::new());
    if folder("LIBTORCH_USE_PYTORCH").is_some() {
        let python = if folder("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
        let printed = Command::new(python).args(["-c", PATHS]).output();
        let Some(printed) = printed.ok().filter(|printed| printed.status.success()) else {
            advise("a Python without torch");
        };
        for line in String::from_utf8_lossy(&printed.stdout).lines() {
            match line.split_at_checked(1) {
                Some(("I", path)) => includes.push(PathBuf::from(path)),
                Some(("L", path)) => libraries.push(PathBuf::from(path)),
                _ => {}
            }
        }
    } else {
        let root = folder("LIBTORCH").unwrap_or_else(|| "/usr".into());
        let include = folder("LIBTORCH_INCLUDE").unwrap_or_else(|| root.clone()).join("include");
        includes.push(include.join("torch/csrc/api/include"));
        includes.push(include);
        libraries.push(folder("LIBTORCH_LIB").unwrap_or(root).join("lib"));
    }
    if !includes.iter().any(|include| include.join("ATen/ATen.h").exists()) {
        advise("none");
    }
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    let mut shim = cc::Build::new();
    shim.cpp(true).warnings(false).includes(&includes).flag_if_supported("-std=c++17").file("shim.cpp");
    shim.define("_GLIBCXX_USE_CXX11_ABI", abi.as_str());
    // libtorch's threads are those of OpenMP; where the compiler has others, the shim runs on one.
    let openmp = cfg!(target_os = "linux") && shim.try_get_compiler().is_ok_and(|tool| tool.is_like_gnu());
    if openmp {
        shim.flag("-fopenmp");
    }
    if let Err(error) = shim.try_compile("keras_torch_shim") {
        advise(&format!("a C++ compiler that fails ({error})"));
    }
    if openmp {
        println!("cargo:rustc-link-lib=gomp");
    }
    for library in &libraries {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    }
    // For build scripts of what depends on this crate: arguments to the linker reach no other crate's programs.
    let libraries = std::env::join_paths(&libraries).unwrap_or_default();
    println!("cargo:libraries={}", libraries.display());
}

#[cfg(not(feature = "libtorch"))]
fn main() {}
