//! numpy's files: [`read_npy`], [`read_npz`], [`write_npy`], [`write_npz`].
//!
//! | in the file | [`DType`](crate::DType) |
//! |---|---|
//! | bool | `Bool` |
//! | uint8 | `U8` |
//! | int8, int16, uint16, int32 | `I32` |
//! | uint32, int64, uint64 | `I64`; a uint64 of 2⁶³ or more is an error |
//! | float16, float32 | `F32` |
//! | float64 | `F64` |
//!
//! Every value is kept exactly. Either byte order and either memory order is read; little-endian C order is written. Objects (which numpy
//! reads by running pickled code), strings, dates, records and complex numbers are errors.
//!
//! A file is trusted in nothing: memory is taken for the data that is there, not for the data that a header promises.
//!
//! Source: `numpy.lib.format`, versions 1.0 to 3.0 of the format.

mod header;

use crate::array::{Array, Element, element_count};
use crate::atomic::write_atomically;
use crate::error::{Error, Result};
use crate::with_dtype;
use header::{Header, Kind};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use ndarray_npy::{NpzWriter, WriteNpyExt};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek};
use std::path::Path;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive};

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Reads a `.npy` file, as `numpy.load` does.
///
/// ```
/// use keras_core::{Array, npy};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// let x = Array::from([[1.0_f32, 2.0], [3.0, 4.0]]);
/// npy::write_npy(&path, &x)?;
/// assert_eq!(npy::read_npy(&path)?, x);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// A file that is missing, no `.npy` file, cut short, or of an element type that the module's table does not list.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    let place = format!("reading {}", path.display());
    let failed =
        |error: io::Error| Error::file(place.as_str(), "a .npy file that can be read", error.to_string());
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    // A pipe has no length: the data is bounded by what comes.
    let length = if meta.is_file() { meta.len() } else { u64::MAX };
    read_array(BufReader::with_capacity(CHUNK, file), length, &place)
}

/// Reads every array of a `.npz` archive, compressed or not: names without `.npy`, in the order of the file.
///
/// ```
/// use keras_core::{Array, npy};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("w.npz");
/// npy::write_npz(&path, [("kernel", &Array::from([0.5_f64])), ("bias", &Array::from([1_i32]))], true)?;
/// let names: Vec<_> = npy::read_npz(&path)?.into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["kernel", "bias"]);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// As [`read_npy`]; an archive with an entry that is no array, or packed by another method than numpy's two.
pub fn read_npz(path: impl AsRef<Path>) -> Result<Vec<(String, Array)>> {
    let path = path.as_ref();
    let place = format!("reading {}", path.display());
    let failed = |error: io::Error| {
        Error::file(place.as_str(), "a .npz archive that can be read", error.to_string())
            .advice("write it again with np.savez")
    };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    read_archive(BufReader::with_capacity(CHUNK, file), size, &place)
}

/// Writes a `.npy` file: little-endian, C order, atomically.
///
/// # Errors
/// A folder that is missing or cannot be written, a full disk; the file at `path` stays as it was.
pub fn write_npy(path: impl AsRef<Path>, array: &Array) -> Result<()> {
    let path = path.as_ref();
    write_atomically(path, |file| {
        let writer = BufWriter::with_capacity(CHUNK, file);
        with_dtype!(array.dtype(), T => array.view::<T>()?.write_npy(writer))
            .map_err(|error| cannot_write(path, &error))
    })
}

/// Writes a `.npz` archive of named arrays in the order given, deflated if `compressed`, atomically.
///
/// The bytes depend on the arrays and names alone. `numpy.load` reads it with its default `allow_pickle=False`.
///
/// # Errors
/// A repeated name, a folder that is missing or cannot be written, a full disk; the file at `path` stays as it was.
pub fn write_npz<'a, S: AsRef<str>>(
    path: impl AsRef<Path>,
    arrays: impl IntoIterator<Item = (S, &'a Array)>,
    compressed: bool,
) -> Result<()> {
    let path = path.as_ref();
    let method = if compressed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let mut arrays = arrays.into_iter();
    write_atomically(path, |file| {
        let mut archive = NpzWriter::new(BufWriter::with_capacity(CHUNK, file));
        arrays.try_for_each(|(name, array)| {
            // Entries of 4 GiB and more need the wider fields of zip64, which must be said beforehand.
            let is_large = (array.len() * array.dtype().size()) as u64 >= u64::from(u32::MAX) - (1 << 20);
            let options = SimpleFileOptions::default().compression_method(method).large_file(is_large);
            with_dtype!(array.dtype(), T => {
                archive.add_array_with_options(name.as_ref(), &array.view::<T>()?, options)
            })
            .map_err(|error| cannot_write(path, &error).within(format!("entry {:?}", name.as_ref())))
        })?;
        archive.finish().map(drop).map_err(|error| cannot_write(path, &error))
    })
}

fn cannot_write(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::file(
        format!("writing {}", path.display()),
        "arrays under different names and space on disk",
        error.to_string(),
    )
}

/// Reads the arrays of an archive of `size` bytes; `place` begins the errors.
fn read_archive(reader: impl Read + Seek, size: u64, place: &str) -> Result<Vec<(String, Array)>> {
    let failed = |error: ZipError| {
        Error::file(place, "a .npz archive that can be read", error.to_string())
            .advice("write it again with np.savez")
    };
    let mut archive = ZipArchive::new(reader).map_err(failed)?;
    let mut arrays = Vec::new();
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(failed)?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name().strip_suffix(".npy").unwrap_or(entry.name()).to_owned();
        let packed = entry.compressed_size().min(size);
        let length = match entry.compression() {
            CompressionMethod::Stored => packed,
            // No byte of a deflated entry can stand for more than this many.
            _ => packed.saturating_mul(1032),
        };
        let array = read_array(entry, length, &format!("{place}, entry {name:?}"))?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// Reads one array from a stream that holds at most `length` bytes; `place` begins the errors.
fn read_array(mut reader: impl Read, length: u64, place: &str) -> Result<Array> {
    let header = Header::read(&mut reader, place)?;
    let Header { kind, shape, .. } = &header;
    let data = Data { count: element_count(shape), is_big_endian: header.is_big_endian, length, place };
    let reader = &mut reader;
    match kind {
        Kind::Bool => header.array(data.read(reader, |[byte]: [u8; 1]| byte != 0)?),
        Kind::U8 => header.array(data.read(reader, |[byte]: [u8; 1]| byte)?),
        Kind::I8 => header.array(data.read(reader, |bytes| i32::from(i8::from_le_bytes(bytes)))?),
        Kind::I16 => header.array(data.read(reader, |bytes| i32::from(i16::from_le_bytes(bytes)))?),
        Kind::U16 => header.array(data.read(reader, |bytes| i32::from(u16::from_le_bytes(bytes)))?),
        Kind::I32 => header.array(data.read(reader, i32::from_le_bytes)?),
        Kind::U32 => header.array(data.read(reader, |bytes| i64::from(u32::from_le_bytes(bytes)))?),
        Kind::I64 => header.array(data.read(reader, i64::from_le_bytes)?),
        Kind::U64 => {
            let values: Vec<i64> = data.read(reader, i64::from_le_bytes)?;
            if let Some(&large) = values.iter().find(|&&value| value < 0) {
                let received = large.cast_unsigned().to_string();
                return Err(Error::value(place, "whole numbers below 2^63 in a uint64 array", received));
            }
            header.array(values)
        }
        Kind::F16 => header.array(data.read(reader, |bytes| half_to_f32(u16::from_le_bytes(bytes)))?),
        Kind::F32 => header.array(data.read(reader, f32::from_le_bytes)?),
        Kind::F64 => header.array(data.read(reader, f64::from_le_bytes)?),
    }
    .map_err(|error| error.within(place))
}

impl Header {
    /// The array of these elements, which stand in the file's memory order.
    fn array<T: Element>(&self, values: Vec<T>) -> Result<Array> {
        if !self.is_fortran {
            return Array::from_vec(&self.shape, values);
        }
        let wrong = |error: ndarray::ShapeError| {
            Error::shape("array", format!("{:?}", self.shape), error.to_string())
        };
        Ok(ArrayD::from_shape_vec(IxDyn(&self.shape).f(), values).map_err(wrong)?.into())
    }
}

/// The elements of a file, as its header announces them.
struct Data<'a> {
    count: usize,
    is_big_endian: bool,
    length: u64,
    place: &'a str,
}

impl Data<'_> {
    /// All elements; `decode` takes their bytes in little-endian order.
    fn read<const N: usize, T>(
        &self,
        reader: &mut impl Read,
        decode: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let expected = format!("{} elements of {N} bytes", self.count);
        let short = |received: String| {
            Error::file(self.place, expected.as_str(), received).advice("the file is cut short or damaged")
        };
        let bytes = self.count as u64 * N as u64;
        if bytes > self.length {
            return Err(short(format!("at most {} bytes", self.length)));
        }
        // Where the length of the data is not known, the memory grows with it.
        let known = if self.length == u64::MAX { CHUNK } else { self.count };
        let mut values = Vec::new();
        values.try_reserve_exact(known.min(self.count)).map_err(|error| short(error.to_string()))?;
        let mut chunk = vec![0_u8; CHUNK.min(bytes as usize)];
        let mut left = self.count;
        while left > 0 {
            let part = chunk.get_mut(..left.min(CHUNK / N) * N).unwrap_or_default();
            reader.read_exact(part).map_err(|error| {
                let received = self.count - left;
                short(format!("{received} to {} elements, then: {error}", received + part.len() / N))
            })?;
            for element in part.as_chunks_mut::<N>().0 {
                if self.is_big_endian {
                    element.reverse();
                }
                values.push(decode(*element));
            }
            left -= part.len() / N;
        }
        Ok(values)
    }
}

/// The number of a 16-bit float, which `f32` holds exactly (IEEE 754-2008, binary16).
pub(crate) fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    let magnitude = match exponent {
        0 => return f32::from_bits(sign | (fraction as f32 * 2.0_f32.powi(-24)).to_bits()),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::DType;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/npy").join(name)
    }

    /// What the script beside the fixture puts into its arrays of a type.
    fn expected(kind: &str) -> Array {
        let counted = |start: i64| (0..24).map(|i| start + i).collect::<Vec<i64>>();
        let small = |start| counted(start).into_iter().map(|i| i as i32).collect::<Vec<_>>();
        let shape = [2, 3, 4];
        match kind {
            "bool" => Array::from_vec(&shape, counted(0).into_iter().map(|i| i % 3 == 0).collect()),
            "uint8" => Array::from_vec(&shape, counted(232).into_iter().map(|i| i as u8).collect()),
            "int8" => Array::from_vec(&shape, small(-128)),
            "int16" => Array::from_vec(&shape, small(-32768)),
            "uint16" => Array::from_vec(&shape, small(65535 - 23)),
            "int32" => Array::from_vec(&shape, small(i64::from(i32::MIN))),
            "uint32" => Array::from_vec(&shape, counted(i64::from(u32::MAX) - 23)),
            "int64" => Array::from_vec(&shape, counted(i64::MIN)),
            "uint64" => Array::from_vec(&shape, counted(i64::MAX - 23)),
            "float16" => {
                // Zeros, the least and greatest subnormal and normal numbers, infinities; then quarters.
                let mut values = vec![0.0, -0.0, 2.0_f32.powi(-24), -(1023.0 * 2.0_f32.powi(-24))];
                values.extend([2.0_f32.powi(-14), 65504.0, f32::INFINITY, f32::NEG_INFINITY]);
                values.extend((8..24_u8).map(|i| f32::from(i) / 4.0 - 3.0));
                Array::from_vec(&shape, values)
            }
            "float32" => Array::from_vec(&shape, (0..24_u8).map(|i| f32::from(i) / 8.0 - 1.0).collect()),
            "float64" => Array::from_vec(&shape, (0..24_u8).map(|i| f64::from(i) / 10.0).collect()),
            other => Err(Error::name("test", "a type", other)),
        }
        .unwrap()
    }

    #[test]
    fn every_type_byte_order_and_memory_order_of_numpy_is_read() {
        for file in ["stored.npz", "deflated.npz"] {
            let arrays = read_npz(fixture(file)).unwrap();
            let names: Vec<_> = arrays.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names.len(), 12 * 4 + 3, "{names:?}");
            assert_eq!(&names[..3], ["bool little C", "bool little F", "bool big C"]);
            for (name, array) in &arrays {
                match name.as_str() {
                    "scalar" => assert_eq!(array, &Array::from(2.5_f64)),
                    "empty" => assert_eq!((array.shape(), array.dtype()), (&[3, 0, 2][..], DType::F32)),
                    "not a number" => assert!(array.to_vec::<f32>().iter().all(|x| x.is_nan()), "{array:?}"),
                    _ => assert_eq!(array, &expected(name.split(' ').next().unwrap()), "{name}"),
                }
            }
        }
        for version in 1..=3 {
            let array = read_npy(fixture(&format!("version{version}.npy"))).unwrap();
            assert_eq!(array, expected("float32"));
        }
    }

    #[test]
    fn what_is_no_number_is_an_error_that_names_file_and_entry() {
        for name in ["object", "string", "bytes", "complex", "date", "record", "longdouble"] {
            let error = read_npy(fixture(&format!("{name}.npy"))).unwrap_err();
            assert!(matches!(error, Error::DType(_)), "{error}");
            assert!(
                error.to_string().contains(&format!("{name}.npy: expected bool, (u)int8 to 64")),
                "{error}"
            );
        }
        let error = read_npy(fixture("large.npy")).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "expected whole numbers below 2^63 in a uint64 array, received 9223372036854775808"
            )
        );
        let error = read_npz(fixture("mixed.npz")).unwrap_err().to_string();
        assert!(error.contains("mixed.npz, entry \"words\": expected bool"), "{error}");
        let error = read_npy(fixture("stored.npz")).unwrap_err().to_string();
        assert!(error.ends_with("name it .npz"), "{error}");
        let error = read_npz(fixture("version1.npy")).unwrap_err().to_string();
        assert!(error.contains("version1.npy: expected a .npz archive that can be read"), "{error}");
        for missing in [fixture("missing"), fixture("")] {
            assert!(matches!(read_npy(&missing), Err(Error::File(_))));
            assert!(matches!(read_npz(&missing), Err(Error::File(_))));
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let arrays: Vec<_> = DType::ALL
            .into_iter()
            .flat_map(|dtype| {
                let full = |shape: &[usize]| Array::full_of(dtype, shape, 1.0).unwrap();
                [full(&[]), full(&[0, 3]), full(&[5]), full(&[2, 1, 3, 70_000])]
                    .map(|x| (format!("{x:?}"), x))
            })
            .chain([
                ("dense_1/kernel:0".to_owned(), expected("float64")),
                ("\u{e9}".to_owned(), expected("int64")),
            ])
            .collect();
        for compressed in [false, true] {
            let path = folder.path().join("a.npz");
            write_npz(&path, arrays.iter().map(|(name, array)| (name, array)), compressed).unwrap();
            assert_eq!(read_npz(&path).unwrap(), arrays);
            let again = folder.path().join("b.npz");
            write_npz(&again, arrays.iter().map(|(name, array)| (name, array)), compressed).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
        }
        for (_, array) in &arrays {
            let path = folder.path().join("a.npy");
            write_npy(&path, array).unwrap();
            assert_eq!(&read_npy(&path).unwrap(), array);
        }
        let path = folder.path().join("none.npz");
        write_npz(&path, Vec::<(&str, &Array)>::new(), true).unwrap();
        assert_eq!(read_npz(&path).unwrap(), []);
    }

    #[test]
    fn a_repeated_name_is_an_error_and_leaves_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, x) = (folder.path().join("a.npz"), Array::from([1.0_f32]));
        write_npz(&path, [("a", &x)], false).unwrap();
        let error = write_npz(&path, [("a", &x), ("a", &x)], false).unwrap_err().to_string();
        assert!(error.starts_with("entry \"a\": writing ") && error.contains("different names"), "{error}");
        assert_eq!(read_npz(&path).unwrap(), [("a".to_owned(), x)]);
    }

    type Reader<'a> = &'a dyn Fn(&[u8]) -> bool;

    /// Every file cut anywhere, or with any one byte changed: an error or an array, never a panic or a large allocation.
    #[test]
    fn cut_and_damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let (npy, npz) = (folder.path().join("a.npy"), folder.path().join("a.npz"));
        write_npy(&npy, &expected("float32")).unwrap();
        write_npz(&npz, [("a", &expected("float64")), ("b", &expected("bool"))], true).unwrap();
        let read_npy = |bytes: &[u8]| read_array(bytes, bytes.len() as u64, "test").is_ok();
        let read_npz =
            |bytes: &[u8]| read_archive(io::Cursor::new(bytes), bytes.len() as u64, "test").is_ok();
        let readers: [(&Path, Reader); 2] = [(&npy, &read_npy), (&npz, &read_npz)];
        for (path, read) in readers {
            let whole = std::fs::read(path).unwrap();
            assert!(read(&whole));
            for length in 0..whole.len() {
                assert!(!read(&whole[..length]), "{length} bytes of {}", path.display());
            }
            for at in 0..whole.len() {
                for bits in [0x01, 0x80, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] ^= bits;
                    read(&damaged);
                }
            }
        }
    }

    #[test]
    fn a_shape_larger_than_its_file_takes_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000, 1000), }\n";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend([0; 100]);
        std::fs::write(&path, &bytes).unwrap();
        let error = read_npy(&path).unwrap_err().to_string();
        assert!(
            error.contains("expected 1000000000000000 elements of 8 bytes, received at most "),
            "{error}"
        );
        // A stream of unknown length grows its memory with the data.
        let error = read_array(bytes.as_slice(), u64::MAX, "reading a pipe").unwrap_err().to_string();
        assert!(
            error.contains("expected 1000000000000000 elements of 8 bytes, received 0 to 8192 elements"),
            "{error}"
        );
    }
}
