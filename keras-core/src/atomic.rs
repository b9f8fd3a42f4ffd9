//! [`write_atomically`]: a file is there whole, or as it was before.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Replaces a file by what `write` puts into a temporary file beside it: written, synced to disk, then renamed.
///
/// If anything fails, the old file stays as it was and the temporary one is removed. An existing file keeps its permissions and, if
/// the path is a symbolic link, the file that it leads to is the one replaced. What is no regular file, such as a pipe, cannot
/// be renamed over: it receives the finished bytes.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("notes.txt");
/// keras_core::atomic::write_atomically(&path, |file| {
///     file.write_all(b"done").map_err(|e| keras_core::Error::file("writing notes", "space", e.to_string()))
/// })?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"done");
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// What `write` returns; a folder that is missing or cannot be written; a full disk.
pub fn write_atomically<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let failed = |error: io::Error| {
        let doing = format!("writing {}", path.display());
        Error::file(doing, "a file in a folder that can be written", error.to_string())
    };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(&target).ok();
    if old.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(Error::file(format!("writing {}", path.display()), "the path of a file", "a folder"));
    }
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return write_through(&target, write, failed);
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".keras-").suffix(".part");
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        // As for any new file: what the user's umask leaves of it.
        builder.permissions(fs::Permissions::from_mode(0o666))
    };
    let mut temporary = builder.tempfile_in(&folder).map_err(failed)?;
    let value = write(temporary.as_file_mut())?;
    if let Some(old) = old {
        temporary.as_file().set_permissions(old.permissions()).map_err(failed)?;
    }
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&target).map_err(|error| failed(error.error))?;
    // The new name is on disk when its folder is; a file system that cannot sync folders keeps the rename all the same.
    #[cfg(unix)]
    let _ = File::open(&folder).and_then(|folder| folder.sync_all());
    Ok(value)
}

fn write_through<T>(
    target: &Path,
    write: impl FnOnce(&mut File) -> Result<T>,
    failed: impl Fn(io::Error) -> Error,
) -> Result<T> {
    let mut temporary = tempfile::tempfile().map_err(&failed)?;
    let value = write(&mut temporary)?;
    io::Seek::rewind(&mut temporary).map_err(&failed)?;
    let mut stream = fs::OpenOptions::new().write(true).open(target).map_err(&failed)?;
    io::copy(&mut temporary, &mut stream).map_err(failed)?;
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn put(path: &Path, text: &str) -> Result<()> {
        write_atomically(path, |file| {
            file.write_all(text.as_bytes()).unwrap();
            Ok(())
        })
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        put(&path, "old").unwrap();
        let error = Error::value("test", "luck", "none");
        let result = write_atomically(&path, |file| {
            file.write_all(b"half").unwrap();
            Err::<(), _>(error.clone())
        });
        assert_eq!(result, Err(error));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        put(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_folder_a_missing_folder_and_an_empty_path_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = put(folder.path(), "").unwrap_err().to_string();
        assert!(error.ends_with("expected the path of a file, received a folder"), "{error}");
        let missing = folder.path().join("missing").join("a");
        let error = put(&missing, "").unwrap_err().to_string();
        assert!(
            error.contains(&format!("writing {}: expected a file in a folder", missing.display())),
            "{error}"
        );
        assert!(put(Path::new(""), "").is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link, plain) =
            (folder.path().join("a"), folder.path().join("link"), folder.path().join("plain"));
        put(&path, "old").unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), mode(&plain));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        put(&link, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_receives_the_bytes() {
        put(Path::new("/dev/null"), "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
