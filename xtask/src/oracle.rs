//! The Python environments that hold the real Keras.

use std::path::PathBuf;
use std::process::Command;

use crate::stage::{Result, Stages, root};

/// Where they live: `KERAS_ORACLE_DIR`, else `~/.cache/keras-oracle`.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("KERAS_ORACLE_DIR") {
        return std::path::absolute(&given)
            .map_err(|e| format!("resolving KERAS_ORACLE_DIR={}: {e}", given.display()));
    }
    std::env::home_dir().map(|home| home.join(".cache").join("keras-oracle")).ok_or_else(|| {
        "looking for the Keras environments: expected KERAS_ORACLE_DIR or a home directory, received neither".to_owned()
    })
}

/// Makes the named environments (none named: those that tests run), printing what each downloads before it does.
pub(crate) fn make(stages: &mut Stages, names: &[&str]) -> Result<PathBuf> {
    let folder = folder()?;
    let script = root().join("scripts").join("oracle.sh");
    let mut list = Command::new("bash");
    list.arg(&script).arg("--list").args(names).env("KERAS_ORACLE_DIR", &folder);
    stages.run("oracle sizes", list)?;
    let mut make = Command::new("bash");
    make.arg(&script).args(names).env("KERAS_ORACLE_DIR", &folder);
    stages.run("oracles", make)?;
    Ok(folder)
}
