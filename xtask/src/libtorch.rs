//! libtorch for the torch backend: an existing one, or one that is fetched.

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

/// The script that fetches it, or lists what that costs.
pub(crate) fn script(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("bash");
    command.arg(root().join("scripts").join("libtorch.sh")).args(arguments);
    command.env("KERAS_LIBTORCH_DIR", folder()?);
    Ok(command)
}

/// The environment in which cargo builds and runs the torch backend. `LIBTORCH` and `LIBTORCH_USE_PYTORCH` name an
/// existing libtorch; without them it is fetched.
pub(crate) fn make(stages: &mut Stages) -> Result<Vec<(&'static str, PathBuf)>> {
    // Cargo sets this one where nobody does (.cargo/config.toml).
    let nowhere = root().join("backend-torch").join("no-libtorch");
    let given = std::env::var_os("LIBTORCH").map(PathBuf::from).filter(|given| *given != nowhere);
    let (libtorch, libraries) = if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let mut python = Command::new("python3");
        python.args(["-c", OF_PYTHON]);
        (None, PathBuf::from(output(python)?.trim()))
    } else if let Some(given) = given {
        (Some(given.clone()), given.join("lib"))
    } else {
        stages.run("libtorch", script(&[])?)?;
        let folder = folder()?;
        (Some(folder.clone()), folder.join("lib"))
    };
    let mut path = libraries.into_os_string();
    if let Some(rest) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(rest);
    }
    let libtorch = libtorch.map(|folder| ("LIBTORCH", folder));
    Ok(libtorch.into_iter().chain([("LD_LIBRARY_PATH", path.into())]).collect())
}

/// `cargo xtask libtorch`: the environment on standard output, as lines for a shell.
pub(crate) fn run() -> Result<()> {
    let mut stages = Stages::default();
    for (name, value) in make(&mut stages)? {
        println!("export {name}='{}'", value.display());
    }
    Ok(())
}
