//! [`GetFile`]: a file of the network, kept on disk.

use keras_core::config::settings;
use keras_core::error::{Error, Result};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Keras's `get_file`: the path of a file in the cache folder, downloaded on first use.
///
/// The folder is `datasets` under Keras's home (`KERAS_HOME`, else `~/.keras`). A download shows its progress on a terminal, goes
/// on where an earlier one broke off, is checked against the hash, and appears under its name only when it is whole; of two
/// processes that want the same file one downloads. A file that is there with another hash is downloaded anew, as in Keras.
///
/// ```no_run
/// let path = keras::utils::GetFile::new("flowers.npz", "https://example.org/flowers.npz")
///     .file_hash("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
///     .get()?;
/// let arrays = keras::npy::read_npz(path)?;
/// # Ok::<(), keras::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GetFile {
    name: PathBuf,
    origin: String,
    hashes: Vec<String>,
    folder: Option<PathBuf>,
    subfolder: PathBuf,
    advice: Option<String>,
}

impl GetFile {
    /// The file `name` (or an absolute path) that `origin`, an http or https address, has.
    pub fn new(name: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            origin: origin.into(),
            hashes: Vec::new(),
            folder: None,
            subfolder: "datasets".into(),
            advice: None,
        }
    }

    /// The file's SHA-256 (64 hexadecimal digits) or MD5 (32). Given more than once, each is accepted.
    pub fn file_hash(mut self, hexadecimal: impl Into<String>) -> Self {
        self.hashes.push(hexadecimal.into().to_ascii_lowercase());
        self
    }

    /// The folder within the cache (default `datasets`).
    pub fn cache_subdir(mut self, name: impl Into<PathBuf>) -> Self {
        self.subfolder = name.into();
        self
    }

    /// The cache (default Keras's home).
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// What else a user without a network can do; part of the error then.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The path of the file, which is on disk and has the hash.
    ///
    /// # Errors
    /// `Value` for a hash of another length; `File` when the folder cannot be written, the network or the server fails, the hash
    /// differs, or no byte comes for 30 seconds. The message says where to put the file by hand.
    pub fn get(&self) -> Result<PathBuf> {
        for hash in &self.hashes {
            if !matches!(hash.len(), 32 | 64) || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(Error::value(
                    self.doing(),
                    "a hash of 64 (SHA-256) or 32 (MD5) hexadecimal digits",
                    format!("`{hash}`"),
                ));
            }
        }
        let home = match &self.folder {
            Some(folder) => folder.clone(),
            None => settings()?.home,
        };
        let path = home.join(&self.subfolder).join(&self.name);
        if path.is_file() {
            match self.check(&path)? {
                None => return Ok(path),
                Some(other) => eprintln!(
                    "{}: expected the hash {}, received {other}; the file is incomplete or outdated and will be downloaded again",
                    path.display(),
                    self.hashes.join(" or ")
                ),
            }
        }
        self.download(&path).map_err(|error| {
            let hash = if self.hashes.is_empty() {
                String::new()
            } else {
                format!(" (hash {})", self.hashes.join(" or "))
            };
            let other = self.advice.as_ref().map(|advice| format!(", or {advice}")).unwrap_or_default();
            error.advice(format!("try again, put the file{hash} at {} yourself{other}", path.display()))
        })?;
        Ok(path)
    }

    fn doing(&self) -> String {
        format!("getting {}", self.name.display())
    }

    #[cfg(feature = "download")]
    fn download(&self, path: &Path) -> Result<()> {
        super::download::download(&self.origin, path, |path| self.check(path), &self.hashes.join(" or "))
    }

    #[cfg(not(feature = "download"))]
    fn download(&self, _: &Path) -> Result<()> {
        Err(Error::file(
            self.doing(),
            "the file on disk, or the crate's feature `download`",
            format!("neither; its address is {}", self.origin),
        ))
    }

    /// The hash of a file that has none of the expected ones.
    fn check(&self, path: &Path) -> Result<Option<String>> {
        let mut seen = None;
        for expected in &self.hashes {
            let hash = if expected.len() == 32 { hash_of::<Md5>(path) } else { hash_of::<Sha256>(path) }
                .map_err(|e| {
                    Error::file(format!("reading {}", path.display()), "a readable file", e.to_string())
                })?;
            if hash == *expected {
                return Ok(None);
            }
            seen = Some(hash);
        }
        Ok(seen)
    }
}

fn hash_of<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => digest.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(all(test, feature = "download"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::thread;

    /// Serves one connection after another, each with `answer(request number, its Range header, stream)`; returns its address and the
    /// Range headers it received.
    fn server(
        answer: impl Fn(usize, Option<&str>, &mut TcpStream) + Send + 'static,
    ) -> (String, Arc<Mutex<Vec<Option<String>>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut range = None;
                for line in BufReader::new(&stream).lines() {
                    let line = line.unwrap().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(value) = line.strip_prefix("range: ") {
                        range = Some(value.to_owned());
                    }
                }
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(range.clone());
                    seen.len() - 1
                };
                answer(number, range.as_deref(), &mut stream);
            }
        });
        (address, ranges)
    }

    fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }

    fn whole(stream: &mut TcpStream, body: &[u8]) {
        send(stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()), body);
    }

    fn body() -> Vec<u8> {
        (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect()
    }

    fn hash(body: &[u8]) -> String {
        hexadecimal(&Sha256::digest(body))
    }

    #[test]
    fn a_file_is_downloaded_once_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let (address, ranges) = server(|_, _, stream| whole(stream, &body()));
        let md5 = hexadecimal(&Md5::digest(body()));
        let file = GetFile::new("file.bin", &address).cache_dir(folder.path());
        for file in [file.clone().file_hash(hash(&body())), file.clone().file_hash(md5), file] {
            let path = file.get().unwrap();
            assert_eq!(path, folder.path().join("datasets").join("file.bin"));
            assert_eq!(fs::read(path).unwrap(), body());
        }
        assert_eq!(*ranges.lock().unwrap(), [None]);
        assert_eq!(fs::read_dir(folder.path().join("datasets")).unwrap().count(), 1);
    }

    #[test]
    fn a_download_that_broke_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (address, ranges) = server(|number, range, stream| {
            let body = body();
            if number == 0 {
                send(stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()), &body[..100_000]);
            } else {
                let start: usize = range.unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
                let headers = format!(
                    "Content-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n",
                    body.len() - start,
                    body.len() - 1,
                    body.len()
                );
                send(stream, "206 Partial Content", &headers, &body[start..]);
            }
        });
        let file = GetFile::new("file.bin", &address).cache_dir(folder.path()).file_hash(hash(&body()));
        let error = file.get().unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("try again"), "{error}");
        assert!(!folder.path().join("datasets/file.bin").exists());
        assert_eq!(fs::read(file.get().unwrap()).unwrap(), body());
        assert_eq!(*ranges.lock().unwrap(), [None, Some("bytes=100000-".to_owned())]);
    }

    #[test]
    fn what_the_server_did_not_resume_or_changed_is_fetched_anew() {
        for ranged in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("datasets")).unwrap();
            fs::write(folder.path().join("datasets/file.bin.part"), [9; 1000]).unwrap();
            let (address, _) = server(move |number, _, stream| {
                let body = body();
                if ranged && number == 0 {
                    let headers =
                        format!("Content-Length: {}\r\nContent-Range: bytes 1000-299999/300000\r\n", 299_000);
                    send(stream, "206 Partial Content", &headers, &body[1000..]);
                } else {
                    whole(stream, &body);
                }
            });
            let file = GetFile::new("file.bin", &address).cache_dir(folder.path()).file_hash(hash(&body()));
            assert_eq!(fs::read(file.get().unwrap()).unwrap(), body());
        }
    }

    #[test]
    fn a_wrong_hash_leaves_no_file_and_an_outdated_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (address, _) = server(|_, _, stream| whole(stream, &body()));
        let file = GetFile::new("file.bin", &address).cache_dir(folder.path());
        let error = file.clone().file_hash("0".repeat(64)).get().unwrap_err().to_string();
        assert!(error.contains(&"0".repeat(64)) && error.contains(&hash(&body())), "{error}");
        let path = folder.path().join("datasets/file.bin");
        assert!(!path.exists());
        fs::write(&path, "old").unwrap();
        assert_eq!(fs::read(file.clone().file_hash(hash(&body())).get().unwrap()).unwrap(), body());
        // An old file stays while no new one is to be had.
        assert!(file.file_hash("0".repeat(64)).get().is_err());
        assert_eq!(fs::read(&path).unwrap(), body());
    }

    #[test]
    fn a_server_that_fails_is_an_error_that_says_what_to_do() {
        let cases: [(&str, fn(&mut TcpStream)); 5] = [
            ("404", |stream| send(stream, "404 Not Found", "Content-Length: 0\r\n", b"")),
            ("8589934592", |stream| send(stream, "200 OK", "Content-Length: 99999999999999\r\n", b"x")),
            ("none for 0.5 s", |stream| {
                send(stream, "200 OK", "Content-Length: 10\r\n", b"x");
                thread::sleep(std::time::Duration::from_secs(3));
            }),
            ("expected an answer", |_| thread::sleep(std::time::Duration::from_secs(3))),
            ("expected an answer", |stream| drop(stream.write_all(b"SSH-2.0-x\r\n"))),
        ];
        for (said, answer) in cases {
            let folder = tempfile::tempdir().unwrap();
            let (address, _) = server(move |_, _, stream| answer(stream));
            let file = GetFile::new("file.bin", &address).cache_dir(folder.path()).file_hash("0".repeat(64));
            let error = file.get().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(
                error.contains(&format!("at {}", folder.path().join("datasets/file.bin").display())),
                "{error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let nobody = GetFile::new("file.bin", "http://127.0.0.1:9/x").cache_dir(folder.path());
        assert!(nobody.get().unwrap_err().to_string().contains("put the file at"));
        let error = nobody.file_hash("xyz").get().unwrap_err().to_string();
        assert!(error.contains("hexadecimal"), "{error}");
    }

    #[test]
    fn of_two_that_want_a_file_one_downloads() {
        let folder = tempfile::tempdir().unwrap();
        let (address, ranges) = server(|_, _, stream| {
            thread::sleep(std::time::Duration::from_millis(200));
            whole(stream, &body());
        });
        let file = GetFile::new("file.bin", &address).cache_dir(folder.path()).file_hash(hash(&body()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(fs::read(file.get().unwrap()).unwrap(), body()));
            }
        });
        assert_eq!(ranges.lock().unwrap().len(), 1);
    }
}
