//! [`Environment`]: what the settings read of the world around the process, so that a test can state another world.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The variables that are read.
const VARIABLES: [&str; 6] =
    ["KERAS_BACKEND", "KERAS_DEVICE", "KERAS_FLOATX", "KERAS_HOME", "HOME", "USERPROFILE"];

/// Where [`keras_home`] falls back to, as in Keras.
const FALLBACK: &str = "/tmp/.keras";

/// Which rules for home directories hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// `HOME` names the home directory.
    Unix,
    /// `USERPROFILE` names the home directory.
    Windows,
}

/// Environment variables, platform and home directory of a process.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The variables by name. An empty one counts as unset.
    pub variables: BTreeMap<String, OsString>,
    /// Whose rules hold.
    pub platform: Platform,
    /// The home directory the system states when no variable does.
    pub home: Option<PathBuf>,
    /// Whether files can be made in a directory.
    pub writable: fn(&Path) -> bool,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let variable = |name: &str| Some((name.to_owned(), std::env::var_os(name)?));
        Self {
            variables: VARIABLES.into_iter().filter_map(variable).collect(),
            platform: if cfg!(windows) { Platform::Windows } else { Platform::Unix },
            home: dirs::home_dir(),
            writable: is_writable,
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name).filter(|value| !value.is_empty())
    }
}

/// The directory of `keras.json`, data sets and downloaded weights: `KERAS_HOME` itself when set; else `.keras` in the
/// home directory (`%USERPROFILE%` on Windows, `$HOME` elsewhere, else what the system says); else, when files cannot
/// be made there, `/tmp/.keras`.
///
/// ```
/// use keras_core::config::{Environment, keras_home};
/// let mut environment = Environment::of_process();
/// environment.variables.insert("KERAS_HOME".into(), "/data/keras".into());
/// assert_eq!(keras_home(&environment), std::path::Path::new("/data/keras"));
/// ```
pub fn keras_home(environment: &Environment) -> PathBuf {
    if let Some(path) = environment.variable("KERAS_HOME") {
        return path.into();
    }
    let variable = match environment.platform {
        Platform::Unix => "HOME",
        Platform::Windows => "USERPROFILE",
    };
    environment
        .variable(variable)
        .map(PathBuf::from)
        .or_else(|| environment.home.clone())
        .filter(|home| (environment.writable)(home))
        .map_or_else(|| PathBuf::from(FALLBACK), |home| home.join(".keras"))
}

/// A path in `directory` that no other call of any process is given.
pub(super) fn scratch_path(directory: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!(".keras-{}-{count}.tmp", std::process::id()))
}

/// Tries: permission bits know neither access lists nor read-only mounts. A full disk is not the same as a directory
/// that is not ours, so only what says the latter counts.
fn is_writable(directory: &Path) -> bool {
    let probe = scratch_path(directory);
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {
            // Nothing can be done about a file that was just made and cannot be removed.
            let _ = std::fs::remove_file(&probe);
            true
        }
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::InvalidInput
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn environment(platform: Platform, variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect(),
            platform,
            home: Some("/home/system".into()),
            writable: |path| !path.starts_with("/locked"),
        }
    }

    #[test]
    fn the_home_rules_of_every_platform() {
        let unix = |variables: &[(&str, &str)]| keras_home(&environment(Platform::Unix, variables));
        let windows = |variables: &[(&str, &str)]| keras_home(&environment(Platform::Windows, variables));
        for (home, expected) in [
            (unix(&[("HOME", "/home/ada")]), "/home/ada/.keras"),
            (unix(&[("HOME", "")]), "/home/system/.keras"),
            (unix(&[]), "/home/system/.keras"),
            (unix(&[("USERPROFILE", "/profile")]), "/home/system/.keras"),
            (unix(&[("HOME", "/locked/ada")]), "/tmp/.keras"),
            (unix(&[("HOME", "/home/ada"), ("KERAS_HOME", "/data/k")]), "/data/k"),
            (unix(&[("HOME", "/home/ada"), ("KERAS_HOME", "")]), "/home/ada/.keras"),
            (unix(&[("KERAS_HOME", "/locked/k")]), "/locked/k"),
            (windows(&[("USERPROFILE", "/Users/ada"), ("HOME", "/cygwin/ada")]), "/Users/ada/.keras"),
            (windows(&[("HOME", "/cygwin/ada")]), "/home/system/.keras"),
            (windows(&[("USERPROFILE", "/locked/ada")]), "/tmp/.keras"),
            (windows(&[("USERPROFILE", "/Users/ada"), ("KERAS_HOME", "/data/k")]), "/data/k"),
        ] {
            assert_eq!(home, Path::new(expected));
        }
        let nowhere = Environment { home: None, ..environment(Platform::Unix, &[]) };
        assert_eq!(keras_home(&nowhere), Path::new("/tmp/.keras"));
    }

    #[test]
    fn writable_is_found_out_without_leaving_a_trace() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_writable(directory.path()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(!is_writable(&directory.path().join("missing")));
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!is_writable(&file));
    }
}
