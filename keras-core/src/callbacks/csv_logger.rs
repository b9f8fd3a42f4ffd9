//! [`CsvLogger`]: the numbers of every epoch in a table that other programs read.

use crate::error::{Error, Result};
use crate::training::{Callback, Context, Logs, python_repr};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Writes a line per epoch to a CSV file: `epoch`, counted from 0, then the values of the logs by name in alphabetical order.
///
/// The columns are those of the first epoch; a value that is missing later is `NA`. Every line is on disk when its epoch ends.
///
/// ```
/// use keras_core::callbacks::CsvLogger;
/// let callback = CsvLogger::new("training.csv").separator(';').append(true);
/// ```
///
/// # Errors
/// In `fit`, if the file cannot be written.
///
/// Source: `keras.callbacks.CSVLogger` of Keras 2.3.1, which raises a `KeyError` for a value missing in mid-training.
#[derive(Debug)]
pub struct CsvLogger {
    path: PathBuf,
    separator: char,
    append: bool,
    file: Option<File>,
    columns: Option<Vec<String>>,
    needs_header: bool,
}

impl CsvLogger {
    /// A logger into a file, which is overwritten.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            separator: ',',
            append: false,
            file: None,
            columns: None,
            needs_header: true,
        }
    }

    /// The character between two values. Default: a comma.
    pub fn separator(mut self, separator: char) -> Self {
        self.separator = separator;
        self
    }

    /// Whether to go on at the end of an existing file, without a second line of names. Default: false.
    pub fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    fn write_row(&mut self, fields: &[String]) -> Result<()> {
        let separator = self.separator.to_string();
        let row =
            fields.iter().map(|field| quoted(field, self.separator)).collect::<Vec<_>>().join(&separator);
        let Some(file) = &mut self.file else {
            return Err(Error::state("CSVLogger", "on_train_begin before on_epoch_end", "no open file"));
        };
        // The line ends of Python's csv module.
        file.write_all(format!("{row}\r\n").as_bytes()).map_err(|error| cannot_write(&self.path, &error))
    }
}

/// A field as Python's `csv.QUOTE_MINIMAL` writes it.
fn quoted(field: &str, separator: char) -> String {
    if field.contains([separator, '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::file(
        format!("CSVLogger, writing {}", path.display()),
        "a file that can be written",
        error.to_string(),
    )
}

fn has_first_line(path: &Path) -> bool {
    let mut line = Vec::new();
    File::open(path)
        .is_ok_and(|file| BufReader::new(file).read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0))
}

impl Callback for CsvLogger {
    fn on_train_begin(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        self.needs_header = !(self.append && has_first_line(&self.path));
        self.columns = None;
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(self.append).truncate(!self.append);
        self.file = Some(options.open(&self.path).map_err(|error| cannot_write(&self.path, &error))?);
        Ok(())
    }

    fn on_epoch_end(&mut self, _cx: &Context, epoch: usize, logs: &mut Logs) -> Result<()> {
        let columns = if let Some(columns) = self.columns.take() {
            columns
        } else {
            let mut columns: Vec<_> = logs.keys().map(str::to_owned).collect();
            columns.sort_unstable();
            if self.needs_header {
                let names: Vec<_> =
                    std::iter::once("epoch".to_owned()).chain(columns.iter().cloned()).collect();
                self.write_row(&names)?;
            }
            columns
        };
        let values = columns.iter().map(|name| logs.get(name).map_or_else(|| "NA".to_owned(), python_repr));
        let row: Vec<_> = std::iter::once(epoch.to_string()).chain(values).collect();
        self.write_row(&row)?;
        self.columns = Some(columns);
        Ok(())
    }

    fn on_train_end(&mut self, _cx: &Context, _logs: &mut Logs) -> Result<()> {
        self.file = None;
        Ok(())
    }
}
