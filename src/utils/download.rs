//! One download over http or https: resumable, checked, atomic.

use indicatif::{ProgressBar, ProgressStyle};
use keras_core::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// A connection, an answer, or a next byte that takes longer is a failure.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(30) };
/// One request reads its body no longer than this; the next call resumes.
const LONGEST: Duration = Duration::from_hours(1);
/// No answer is taken that is larger.
const LARGEST: u64 = 1 << 33;

/// Brings `origin` to `path`; `check` returns the hash of a file that has the wrong one.
///
/// `expected` is the hash or hashes it may have, or empty. What has come so far lies in `path` with `.part` appended, which is locked meanwhile.
pub(super) fn download(
    origin: &str,
    path: &Path,
    check: impl Fn(&Path) -> Result<Option<String>>,
    expected: &str,
) -> Result<()> {
    let doing = || format!("downloading {origin}");
    let disk =
        |error: io::Error| Error::file(doing(), format!("a place for {}", path.display()), error.to_string());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(disk)?;
    }
    let part = with_suffix(path, ".part");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(disk)?;
    // A file system without locks lets two processes write the same part; the hash then tells.
    let _ = file.lock();
    if path.is_file() && check(path)?.is_none() {
        return Ok(());
    }
    if expected.is_empty() {
        // Without a hash nobody could tell whether the old part belongs to the same file.
        file.set_len(0).map_err(disk)?;
    }
    eprintln!("Downloading data from {origin}");
    loop {
        let resumed = fetch(origin, &mut file, &disk)?;
        file.sync_all().map_err(disk)?;
        match check(&part)? {
            None => break,
            // The server's file has changed since the part was begun.
            Some(_) if resumed => file.set_len(0).map_err(disk)?,
            Some(other) => {
                file.set_len(0).map_err(disk)?;
                return Err(Error::file(doing(), format!("a file with the hash {expected}"), other));
            }
        }
    }
    fs::rename(&part, path).map_err(disk)
}

/// Appends to `file` what it lacks; `true` if that was only a part.
fn fetch(origin: &str, file: &mut File, disk: &impl Fn(io::Error) -> Error) -> Result<bool> {
    let doing = || format!("downloading {origin}");
    let network =
        |error: &dyn std::fmt::Display| Error::file(doing(), "an answer of the server", error.to_string());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(PATIENCE))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_recv_body(Some(LONGEST))
        .http_status_as_error(false)
        .build()
        .into();
    let present = file.seek(SeekFrom::End(0)).map_err(disk)?;
    let mut request = agent.get(origin);
    if present > 0 {
        request = request.header("Range", format!("bytes={present}-"));
    }
    let response = request.call().map_err(|e| network(&e))?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let resumed = match response.status().as_u16() {
        200 => false,
        206 if header("content-range")
            .is_some_and(|range| range.starts_with(&format!("bytes {present}-"))) =>
        {
            true
        }
        // Nothing is missing: the part may be the whole file, which its hash decides.
        416 if present > 0 => return Ok(true),
        status => return Err(Error::file(doing(), "status 200", format!("status {status}"))),
    };
    let start = if resumed { present } else { 0 };
    file.set_len(start).map_err(disk)?;
    file.seek(SeekFrom::Start(start)).map_err(disk)?;
    let announced = header("content-length").and_then(|length| length.parse::<u64>().ok());
    let total = announced.map(|length| length.saturating_add(start));
    if total.is_some_and(|total| total > LARGEST) {
        return Err(Error::file(doing(), format!("at most {LARGEST} bytes"), format!("{total:?}")));
    }
    let bar = bar(total, start);
    let chunks = chunks(response.into_body().into_with_config().limit(LARGEST).reader());
    let mut written = start;
    loop {
        let chunk = match chunks.recv_timeout(PATIENCE) {
            Ok(chunk) => chunk.map_err(|e| network(&format!("{e} after {written} bytes")))?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(network(&format!("none for {} s after {written} bytes", PATIENCE.as_secs_f32())));
            }
        };
        file.write_all(&chunk).map_err(disk)?;
        written += chunk.len() as u64;
        bar.set_position(written);
    }
    bar.finish_and_clear();
    match total {
        Some(total) if written != total => Err(network(&format!("{written} of {total} bytes"))),
        _ => Ok(resumed),
    }
}

/// The pieces of a body, read on a thread of their own so that silence can be noticed. The channel closes at the end.
fn chunks(mut body: impl Read + Send + 'static) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(4);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let piece = match body.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => Ok(buffer.get(..n).unwrap_or_default().to_vec()),
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.send(piece).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// On stderr, and only on a terminal.
fn bar(total: Option<u64>, start: u64) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bytes}/{total_bytes} [{bar:30.=>.}] - ETA: {eta} - {bytes_per_sec}")
        }
        None => (ProgressBar::no_length(), "{bytes} - {bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("=>.")).with_position(start)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
