//! The header of a `.npy` file: a Python dictionary of three entries, read without Python and without trust.

use crate::error::{Error, Result};
use std::io::Read;

/// The longest header that is read; numpy itself refuses more than 10,000 bytes unless told otherwise.
const LONGEST: usize = 64 * 1024;
/// numpy's limit.
const MOST_AXES: usize = 64;

/// What an element is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    F32,
    F64,
}

impl Kind {
    fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "b1" => Self::Bool,
            "u1" => Self::U8,
            "i1" => Self::I8,
            "i2" => Self::I16,
            "u2" => Self::U16,
            "i4" => Self::I32,
            "u4" => Self::U32,
            "i8" => Self::I64,
            "u8" => Self::U64,
            "f2" => Self::F16,
            "f4" => Self::F32,
            "f8" => Self::F64,
            _ => return None,
        })
    }
}

/// What a header says about the data after it. The product of `shape`, and of its lengths other than 0, fits into `isize`
/// bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) is_big_endian: bool,
    pub(super) is_fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads magic string, version, length and dictionary.
    pub(super) fn read(reader: &mut impl Read, place: &str) -> Result<Self> {
        let no_npy = |received: String| {
            Error::file(place, "a numpy array (.npy)", received).advice("write it again with np.save")
        };
        let mut start = [0_u8; 8];
        reader.read_exact(&mut start).map_err(|error| no_npy(error.to_string()))?;
        let [magic @ .., major, _minor] = start;
        if magic != *b"\x93NUMPY" {
            let error = no_npy(format!("a file that begins with \"{}\"", start.escape_ascii()));
            return Err(if start.starts_with(b"PK") {
                error.advice("it looks like an archive: name it .npz")
            } else {
                error
            });
        }
        let mut length = [0_u8; 4];
        let width = match major {
            1 => 2,
            2 | 3 => 4,
            other => return Err(no_npy(format!("version {other} of the format, none of 1, 2 and 3"))),
        };
        let cut = |error: std::io::Error| no_npy(format!("a header that ends early: {error}"));
        reader.read_exact(length.get_mut(..width).unwrap_or_default()).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST {
            return Err(no_npy(format!("a header of {length} bytes, more than {LONGEST}")));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(cut)?;
        let text = String::from_utf8_lossy(&text);
        let dictionary =
            Scanner(&text).dictionary().ok_or_else(|| no_npy(format!("the header {:?}", text.trim_end())))?;
        dictionary.header(place)
    }
}

/// The entries of a header's dictionary.
#[derive(Default)]
struct Dictionary<'a> {
    descr: Option<&'a str>,
    fortran_order: Option<bool>,
    shape: Option<Vec<usize>>,
}

impl Dictionary<'_> {
    fn header(self, place: &str) -> Result<Header> {
        let missing = |entry: &str| Error::file(place, format!("{entry} in the header"), "none");
        let descr = self.descr.ok_or_else(|| missing("descr"))?;
        let is_fortran = self.fortran_order.ok_or_else(|| missing("fortran_order"))?;
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        let bytes = shape.iter().filter(|&&n| n > 0).try_fold(8_usize, |size, &n| size.checked_mul(n));
        if shape.len() > MOST_AXES || bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            let received = format!("the shape {shape:?}");
            return Err(Error::file(
                place,
                format!("at most {MOST_AXES} axes that fit into memory"),
                received,
            ));
        }
        let (order, kind) = descr.chars().next().zip(descr.get(1..)).unwrap_or_default();
        match Kind::from_code(kind) {
            Some(kind) if matches!(order, '<' | '>' | '|' | '=') => {
                Ok(Header { kind, is_big_endian: order == '>', is_fortran, shape })
            }
            _ => Err(unknown_type(descr, place)),
        }
    }
}

fn unknown_type(descr: &str, place: &str) -> Error {
    let what = match descr.trim_start_matches(['<', '>', '|', '=']).chars().next() {
        Some('O') => "Python objects",
        Some('S' | 'U' | 'a') => "strings",
        Some('c') => "complex numbers",
        Some('M' | 'm') => "dates or times",
        Some('V') => "records",
        _ => "an unknown type",
    };
    let received = format!("{what} ({descr:?})");
    Error::dtype(place, "bool, (u)int8 to 64 or float16 to 64", received)
        .advice("convert with astype before saving")
}

/// A reader of the few Python literals that a header is made of.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`; `None` for anything else.
    fn dictionary(mut self) -> Option<Dictionary<'a>> {
        let mut entries = Dictionary::default();
        self.token("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.token(":")?;
            match key {
                "descr" if self.peek('[') => {
                    // The fields of a record, which no array here has: where they end does not matter.
                    return Some(Dictionary {
                        descr: Some("|V"),
                        fortran_order: Some(false),
                        shape: Some(Vec::new()),
                    });
                }
                "descr" => entries.descr = Some(self.string()?),
                "fortran_order" => {
                    let is_true = self.accept("True");
                    if !is_true {
                        self.token("False")?;
                    }
                    entries.fortran_order = Some(is_true);
                }
                "shape" => entries.shape = Some(self.tuple()?),
                _ => return None,
            }
            if !self.accept(",") {
                self.token("}")?;
                break;
            }
        }
        self.0.trim().is_empty().then_some(entries)
    }

    fn peek(&mut self, c: char) -> bool {
        self.0 = self.0.trim_start();
        self.0.starts_with(c)
    }

    fn accept(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        self.0.strip_prefix(token).inspect(|rest| self.0 = rest).is_some()
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.accept(token).then_some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start();
        let quote = self.0.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (text, rest) = self.0.get(1..)?.split_once(quote)?;
        self.0 = rest;
        (!text.contains('\\')).then_some(text)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut values = Vec::new();
        self.token("(")?;
        while !self.accept(")") {
            self.0 = self.0.trim_start();
            let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            let (digits, rest) = self.0.split_at(end);
            values.push(digits.parse().ok()?);
            // Python 2 wrote long integers as 3L.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !self.accept(",") {
                self.token(")")?;
                break;
            }
        }
        Some(values)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Header> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        Header::read(&mut bytes.as_slice(), "reading x.npy")
    }

    #[test]
    fn headers_of_every_writer_are_read() {
        let expected = |shape: &[usize], is_fortran, is_big_endian| {
            Ok(Header { kind: Kind::F32, is_big_endian, is_fortran, shape: shape.to_vec() })
        };
        let numpy = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n";
        assert_eq!(parse(numpy), expected(&[3, 4], false, false));
        let python2 = "{'descr': '>f4', 'fortran_order': True, 'shape': (3L, 18446744L), }\n";
        assert_eq!(parse(python2), expected(&[3, 18_446_744], true, true));
        assert_eq!(
            parse(r#"{"shape":(5,),"fortran_order":False,"descr":"=f4"}"#),
            expected(&[5], false, false)
        );
        assert_eq!(
            parse("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n"),
            expected(&[], false, false)
        );
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_came() {
        let with = |descr: &str, shape: &str| {
            parse(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"))
                .unwrap_err()
                .to_string()
        };
        let types = [
            ("'|O'", "Python objects (\"|O\")"),
            ("'<U5'", "strings (\"<U5\")"),
            ("'|S10'", "strings"),
            ("'<c16'", "complex numbers"),
            ("'<M8[ns]'", "dates or times"),
            ("[('a', '<f4'), ('b', [('c', '<i4')])]", "records"),
            ("'|V16'", "records"),
            ("'<f16'", "an unknown type (\"<f16\")"),
            ("'?f4'", "an unknown type"),
            ("'é'", "an unknown type"),
            ("''", "an unknown type"),
        ];
        for (descr, received) in types {
            let error = with(descr, "(1,)");
            assert!(error.contains(&format!("received {received}")), "{error}");
            assert!(
                error.starts_with("reading x.npy: expected bool, (u)int8 to 64 or float16 to 64"),
                "{error}"
            );
        }
        for shape in ["(9223372036854775807,)", "(0, 18446744073709551615, 2)", "(4294967296, 4294967296)"] {
            assert!(with("'<f4'", shape).contains("that fit into memory"), "{shape}");
        }
        assert!(with("'<f4'", &format!("({})", "1,".repeat(65))).contains("at most 64 axes"));
        let shapes = [
            "(-1,)",
            "(1.5,)",
            "(99999999999999999999,)",
            "(,)",
            "(1",
            "3",
            "[3]",
            "((1,),)",
            "None",
            "(é,)",
        ];
        for shape in shapes {
            assert!(with("'<f4'", shape).contains("received the header"), "{shape}");
        }
        let broken = [
            "",
            "{",
            "{}x",
            "{'descr'",
            "{'descr': '<f4}",
            "{'a': 1}",
            "{'descr': '<f\\x34'}",
            "[]",
            &"(".repeat(60_000),
        ];
        for text in broken {
            assert!(parse(text).unwrap_err().to_string().contains("received the header"), "{text}");
        }
        for (text, missing) in [("{}", "descr"), ("{'descr': '<f4'}", "fortran_order")] {
            assert!(
                parse(text).unwrap_err().to_string().contains(&format!("expected {missing} in the header"))
            );
        }
    }

    #[test]
    fn other_files_and_cut_headers_are_errors() {
        let read = |bytes: &[u8]| Header::read(&mut &*bytes, "reading x.npy").unwrap_err().to_string();
        assert!(read(b"").starts_with("reading x.npy: expected a numpy array (.npy), received "));
        assert!(read(b"PK\x03\x04\x14\0\0\0").ends_with("name it .npz"));
        assert!(read(b"\x89HDF\r\n\x1a\n").contains(r#"begins with "\x89HDF\r\n\x1a\n""#));
        assert!(read(b"\x93NUMPY\x09\x00").contains("version 9"));
        assert!(read(b"\x93NUMPY\x01\x00\x10").contains("ends early"));
        assert!(read(b"\x93NUMPY\x01\x00\x10\x00{").contains("ends early"));
        assert!(read(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").contains("4294967295 bytes"));
    }
}
