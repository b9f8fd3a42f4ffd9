//! The two streams: results on stdout, everything else on stderr.

use keras::{Error, Result};
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// Writes a result to stdout. A reader that has gone (`| head`) has what it wanted.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::file("writing to stdout", "a stream that takes it", error.to_string())
                .advice("check where the output goes"))
        }
        _ => Ok(()),
    }
}

/// Writes one line to stderr. A closed stderr is no reason to stop.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", one_line(text));
}

/// The text with its control characters written out: names of files and layers may hold any.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Rows of cells as text, every column as wide as its widest cell, two spaces between columns.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| cells(column).map(|cell: &String| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The shortest decimal that reads back equal; what JSON has no number for is a string.
pub(crate) fn number(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_read_back_equal() {
        let line = |value| number(value).to_string();
        assert_eq!(
            [0.0712, 1.0, 1e-7, 0.1 + 0.2].map(line),
            ["0.0712", "1.0", "1e-7", "0.30000000000000004"]
        );
        let infinities = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(line);
        assert_eq!(infinities, ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]);
    }
}
