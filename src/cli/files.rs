//! Files: what one is, by its first bytes, and whether one can be written.

use keras::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What a file is, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// An array of numpy.
    Npy,
    /// A zip archive: several arrays of numpy, or a `.keras` model.
    Zip,
    /// An HDF5 file.
    Hdf5,
    /// Text that can be JSON.
    Json,
    /// Text that can be YAML: it begins with a key.
    Yaml,
    /// No bytes at all.
    Empty,
    /// A pipe: what comes through it is not known before it is read.
    Pipe,
    /// Something else.
    Other,
}

impl Content {
    /// What it is, for an error message.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Npy => "a .npy array",
            Self::Zip => "a zip archive",
            Self::Hdf5 => "an HDF5 file",
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Empty => "an empty file",
            Self::Pipe => "a pipe",
            Self::Other => "something else",
        }
    }

    /// Reads the first bytes of a file.
    pub(crate) fn of(what: &str, path: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| {
            Error::file(what, "a readable file", reason(&error)).advice("check the path and its permissions")
        };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Error::file(what, "a file", "a directory").advice("name a file in it"));
        }
        if is_pipe(&metadata) {
            return Ok(Self::Pipe);
        }
        let file = File::open(path).map_err(unreadable)?;
        let mut start = Vec::new();
        file.take(4096).read_to_end(&mut start).map_err(unreadable)?;
        let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
        Ok(match &*start {
            [] => Self::Empty,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Self::Npy,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Self::Zip,
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1A, b'\n', ..] => Self::Hdf5,
            _ if text.trim_ascii_start().first() == Some(&b'{') => Self::Json,
            _ if begins_with_key(text) => Self::Yaml,
            _ => Self::Other,
        })
    }
}

/// Whether there is a key at the start, behind comments, directives and the mark of a document.
fn begins_with_key(text: &[u8]) -> bool {
    let skipped = |line: &&[u8]| {
        let line = line.trim_ascii();
        line.is_empty() || line.starts_with(b"#") || line.starts_with(b"%") || line.starts_with(b"---")
    };
    let text = text.split(|byte| *byte == b'\n').find(|line| !skipped(line)).unwrap_or_default();
    let key = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    key > 0 && text.get(key) == Some(&b':')
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

/// Why the system refused a file.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// An error if a file could not be written to that place later, found out before the work is done: its folder is
/// missing or takes no file, or it is a folder itself.
pub(crate) fn check_writable(option: &str, path: &Path) -> Result<()> {
    let what = format!("{option} {}", path.display());
    match std::fs::metadata(path) {
        Ok(old) if old.is_dir() => {
            return Err(Error::file(what, "a file to write", "a directory").advice("name a file in it"));
        }
        // A pipe takes what it is given.
        Ok(old) if !old.is_file() => return Ok(()),
        _ => {}
    }
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".keras-{}.probe", std::process::id()));
    match File::create_new(&probe) {
        Ok(_) => {
            // Empty, and of a name that nobody else uses.
            let _ = std::fs::remove_file(&probe);
            Ok(())
        }
        Err(error) => {
            let received = format!("{}: {}", folder.display(), reason(&error));
            Err(Error::file(what, "a directory that takes a new file", received)
                .advice("make the directory, or write elsewhere"))
        }
    }
}
