//! libtorch for the torch backend: an existing one, or one that is fetched.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::stage::{Result, Stages, output, root};

/// Python's word for the folder of torch's libraries.
const OF_PYTHON: &str = "from torch.utils.cpp_extension import library_paths; print(library_paths()[0])";

/// Where the fetched one lives: `KERAS_LIBTORCH_DIR`, else `~/.cache/keras-libtorch`.
fn folder() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("KERAS_LIBTORCH_DIR") {
        return std::path::absolute(&given)
            .map_err(|e| format!("resolving KERAS_LIBTORCH_DIR={}: {e}", given.display()));
    }
    std::env::home_dir().map(|home| home.join(".cache").join("keras-libtorch")).ok_or_else(|| {
        "looking for libtorch: expected KERAS_LIBTORCH_DIR or a home directory, received neither".to_owned()
    })
}

/// The script that fetches it, lists what that costs, or only looks for a C++ compiler.
pub(crate) fn script(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("bash");
    command.arg(root().join("scripts").join("libtorch.sh")).args(arguments);
    command.env("KERAS_LIBTORCH_DIR", folder()?);
    Ok(command)
}

/// The folder of libtorch, if it is not Python's, and that of its libraries. `LIBTORCH` and `LIBTORCH_USE_PYTORCH` name an
/// existing one; without them it is fetched.
fn find(stages: &mut Stages) -> Result<(Option<PathBuf>, PathBuf)> {
    // Cargo sets this one where nobody does (.cargo/config.toml).
    let nowhere = root().join("backend-torch").join("no-libtorch");
    let given = std::env::var_os("LIBTORCH").map(PathBuf::from).filter(|given| *given != nowhere);
    let use_pytorch = std::env::var_os("LIBTORCH_USE_PYTORCH").is_some();
    if use_pytorch || given.is_some() {
        output(script(&["--compiler"])?)?;
    }
    if use_pytorch {
        let mut python = Command::new("python3");
        python.args(["-c", OF_PYTHON]);
        return Ok((None, PathBuf::from(output(python)?.trim())));
    }
    let folder = match given {
        Some(given) => given,
        None => {
            stages.run("libtorch", script(&[])?)?;
            folder()?
        }
    };
    Ok((Some(folder.clone()), folder.join("lib")))
}

/// The environment in which cargo builds and runs the torch backend.
pub(crate) fn make(stages: &mut Stages) -> Result<Vec<(&'static str, OsString)>> {
    let (libtorch, libraries) = find(stages)?;
    let mut path = libraries.into_os_string();
    if let Some(rest) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(rest);
    }
    let libtorch = libtorch.map(|folder| ("LIBTORCH", folder.into_os_string()));
    Ok(libtorch.into_iter().chain([("LD_LIBRARY_PATH", path)]).collect())
}

/// `cargo xtask libtorch`: the environment on standard output, as lines for a shell.
pub(crate) fn run() -> Result<()> {
    let (libtorch, libraries) = find(&mut Stages::default())?;
    match libtorch {
        Some(folder) => println!("export LIBTORCH='{}'", folder.display()),
        None => println!("export LIBTORCH_USE_PYTORCH=1"),
    }
    println!("export LD_LIBRARY_PATH='{}'\"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"", libraries.display());
    Ok(())
}
