//! `--history`: a file that holds the epochs so far.

use keras::atomic::write_atomically;
use keras::callbacks::Records;
use keras::training::{Callback, Context, Logs};
use keras::{Error, Result};
use std::io::Write;
use std::path::PathBuf;

/// Rewrites its file after every epoch: what Python's `json.dump(hist.history)` would write.
pub(crate) struct HistoryFile {
    path: PathBuf,
    records: Records,
}

impl HistoryFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, records: Records::new() }
    }

    fn write(&self) -> Result<()> {
        write_atomically(&self.path, |file| {
            let refused = |error: std::io::Error| {
                Error::file("--history", "space for the file", error.to_string())
                    .advice("free some space, or write elsewhere")
            };
            file.write_all(self.records.to_json().as_bytes()).map_err(refused)
        })
    }
}

impl Callback for HistoryFile {
    fn on_epoch_end(&mut self, _: &Context, _: usize, logs: &mut Logs) -> Result<()> {
        for (name, value) in logs.iter() {
            self.records.push(name, value);
        }
        self.write()
    }

    fn on_train_end(&mut self, _: &Context, _: &mut Logs) -> Result<()> {
        // Of no epochs, too.
        if self.records.is_empty() { self.write() } else { Ok(()) }
    }
}
