//! What is said where something is missing that the backend on libtorch needs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs `scripts/libtorch.sh` where there are only those programs and an empty folder for libtorch; its last line.
fn script(arguments: &[&str], programs: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in
        ["bash", "cat", "cksum", "dirname", "env", "flock", "mkdir", "uname"].iter().chain(programs)
    {
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
        symlink(found.unwrap_or_else(|| "/bin/true".into()), folder.path().join(program)).unwrap();
    }
    let mut bash = Command::new("bash");
    bash.arg(Path::new(ROOT).join("scripts/libtorch.sh")).args(arguments);
    bash.env("PATH", folder.path())
        .env("KERAS_LIBTORCH_DIR", folder.path().join("libtorch"))
        .env_remove("CXX");
    let output = bash.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn a_missing_compiler_or_pip_is_named_with_what_to_install() {
    for arguments in [&[][..], &["--compiler"]] {
        let line = script(arguments, &[]);
        assert!(line.contains("no g++") && line.contains("install g++ or set CXX"), "{line}");
    }
    let line = script(&[], &["g++"]);
    assert!(line.contains("Python 3 with pip") && line.contains("install python3-pip"), "{line}");
}

/// What cargo runs first of torch-sys, in the environment that the workspace has where nobody says where libtorch is.
#[cfg(feature = "torch")]
#[test]
fn a_build_without_libtorch_ends_with_how_to_get_it() {
    let here = std::env::current_exe().unwrap();
    let profile = here.ancestors().find(|folder| folder.join("build").is_dir()).unwrap();
    let scripts: Vec<std::path::PathBuf> = std::fs::read_dir(profile.join("build"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("torch-sys-"))
        .map(|entry| entry.path().join("build-script-build"))
        .filter(|file| file.is_file())
        .collect();
    assert!(!scripts.is_empty());
    let settings = std::fs::read_to_string(Path::new(ROOT).join(".cargo/config.toml")).unwrap();
    assert!(
        settings.contains(r#"LIBTORCH = { value = "backend-torch/no-libtorch", relative = true }"#),
        "{settings}"
    );
    for script in scripts {
        let mut build = Command::new(script);
        build.env("LIBTORCH", Path::new(ROOT).join("backend-torch/no-libtorch")).env("RUST_BACKTRACE", "0");
        for name in
            ["LIBTORCH_USE_PYTORCH", "LIBTORCH_BYPASS_VERSION_CHECK", "LIBTORCH_INCLUDE", "LIBTORCH_LIB"]
        {
            build.env_remove(name);
        }
        let output = build.env("CARGO_CFG_TARGET_OS", "linux").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        let line = said.lines().last().unwrap();
        for part in ["2.13.0, got none", "run `cargo xtask libtorch`", "LIBTORCH_USE_PYTORCH=1"] {
            assert!(line.contains(part), "{said}");
        }
    }
}
