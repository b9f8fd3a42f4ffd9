//! What is said where something is missing that the backend on libtorch needs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs `scripts/libtorch.sh` where there are only those programs; its status and what it says. A `python3` among them fails at
/// everything but naming its version, and writes down what it was asked for.
fn script(arguments: &[&str], programs: &[&str], libtorch: &Path) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in
        ["bash", "cat", "cksum", "dirname", "env", "flock", "mkdir", "uname"].iter().chain(programs)
    {
        if *program == "python3" {
            use std::os::unix::fs::PermissionsExt;
            let fake =
                "#!/bin/sh\n[ \"$*\" = '-m pip --version' ] && exit 0\necho \"asked: $*\" >&2\nexit 1\n";
            let file = folder.path().join(program);
            std::fs::write(&file, fake).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            continue;
        }
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
        symlink(found.unwrap_or_else(|| "/bin/true".into()), folder.path().join(program)).unwrap();
    }
    let mut bash = Command::new("bash");
    bash.arg(Path::new(ROOT).join("scripts/libtorch.sh")).args(arguments);
    bash.env("PATH", folder.path()).env("KERAS_LIBTORCH_DIR", libtorch).env_remove("CXX");
    let output = bash.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_missing_compiler_or_pip_is_named_with_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--compiler"]] {
        let (code, said) = script(arguments, &[], folder.path());
        assert!(
            code == Some(1) && said.contains("no g++") && said.contains("install g++ or set CXX"),
            "{said}"
        );
    }
    assert_eq!(script(&["--compiler"], &["g++"], folder.path()), (Some(0), String::new()));
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let (code, said) = script(&[], &["g++"], folder.path());
        let pip = said.contains("Python 3 with pip") && said.contains("install python3-pip");
        assert!(code == Some(1) && pip, "{said}");
    }
}

/// pip is asked for hashes after the sizes were said, and not at all where everything is there.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn sizes_come_first_hashes_are_checked_and_what_is_there_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = script(&[], &["g++", "rm", "python3"], folder.path());
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert_eq!(code, Some(1));
    assert!(at("downloads 542 MB") < at("asked: -m pip download"), "{said}");
    assert!(said.contains("--require-hashes") && said.contains("expected pip to download"), "{said}");
    let list = Path::new(ROOT).join("scripts/libtorch.txt");
    assert!(std::fs::read_to_string(&list).unwrap().contains("--hash=sha256:"));
    // What cksum says of the list of wheels marks a folder that is complete.
    let sum = Command::new("cksum").stdin(std::fs::File::open(&list).unwrap()).output().unwrap().stdout;
    std::fs::write(folder.path().join(".ready"), sum).unwrap();
    let (code, said) = script(&[], &["g++", "python3"], folder.path());
    assert_eq!((code, said.as_str()), (Some(0), "libtorch: present\n"));
}

/// `LIBTORCH`, or with `LIBTORCH_USE_PYTORCH` what Python says: nothing is fetched.
#[test]
fn a_libtorch_that_is_there_is_taken() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let python = folder.path().join("python3");
    std::fs::write(&python, "#!/bin/sh\necho /of/python/lib\n").unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).unwrap();
    let rest = "'\"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\"\n";
    for (name, value, expected) in [
        ("LIBTORCH", "/of/mine", "export LIBTORCH='/of/mine'\nexport LD_LIBRARY_PATH='/of/mine/lib"),
        (
            "LIBTORCH_USE_PYTORCH",
            "1",
            "export LIBTORCH_USE_PYTORCH=1\nexport LD_LIBRARY_PATH='/of/python/lib",
        ),
    ] {
        let mut xtask = Command::new(env!("CARGO"));
        xtask.args(["run", "--quiet", "--package", "xtask", "--", "libtorch"]).current_dir(ROOT);
        xtask.env_remove("LIBTORCH").env_remove("LIBTORCH_USE_PYTORCH").env(name, value);
        // Neither a download nor a compiler: only what the environment says.
        xtask.env("CXX", "true").env("PATH", &path).env("KERAS_LIBTORCH_DIR", folder.path().join("none"));
        let output = xtask.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), [expected, rest].concat(), "{name}");
        assert!(!folder.path().join("none").exists());
    }
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
        let line = said.lines().find(|line| line.starts_with("The torch backend needs")).unwrap_or_default();
        for part in ["libtorch 2.13.0", "run `cargo xtask libtorch`", "LIBTORCH_USE_PYTORCH=1"] {
            assert!(line.contains(part), "{said}");
        }
    }
}
