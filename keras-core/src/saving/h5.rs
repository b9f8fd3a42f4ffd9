//! HDF5 files as Keras uses them: groups, attributes of strings (whole or in chunks), arrays.

use super::Dialect;
use crate::array::{Array, DType, element_count};
use crate::error::{Error, Result};
use hdf5::{AttrValue, Dataset, File, Group};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The largest attribute that an object's header takes, in Keras's counting.
const HEADER_LIMIT: usize = 64_512;
/// No file expands further by the compression that HDF5 has.
const EXPANSION: u64 = 1_100;
/// Weights that were learned hardly compress; those of a new model, zeros among them, a little.
const WEIGHTS_EXPANSION: u64 = 20;
/// The most by which any file may expand, in bytes.
const EXPANDED: u64 = 64 << 20;
/// The most that a data set's chunks take while they wait for the next rows, in bytes.
const CACHE: usize = 64 << 20;

/// An open HDF5 file.
#[derive(Clone)]
pub(super) struct H5 {
    file: Arc<File>,
    what: Arc<str>,
    size: u64,
    read: Arc<Read>,
}

/// What was read of a file so far. Many names may lead to one object, so this can be more than the file holds.
#[derive(Default)]
struct Read {
    /// Groups and data sets.
    objects: AtomicU64,
    /// The memory of their attributes, in bytes.
    attributes: AtomicU64,
}

/// The bytes that the weights of a file of `size` bytes may have once they are unpacked.
pub(super) fn most_unpacked(size: u64) -> u64 {
    size.saturating_mul(WEIGHTS_EXPANSION).saturating_add(EXPANDED)
}

/// A group with its attributes.
pub(super) struct Node {
    h5: H5,
    group: Group,
    path: String,
    attributes: HashMap<String, AttrValue>,
}

impl H5 {
    /// Opens a file; what is read is read when it is asked for.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, path.display().to_string())
    }

    /// The same of a file that was taken from another one, under that one's name.
    pub(super) fn open_as(path: &Path, what: String) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(|error| unreadable(&what, &error))?.len();
        let file = File::open_streaming(path).map_err(|error| unreadable(&what, &error))?;
        // As the C library: what was cut off may be what nobody has asked for yet.
        let whole = file.superblock().eof_address;
        if size < whole {
            let expected = format!("a whole HDF5 file, of {whole} bytes");
            return Err(Error::file(format!("reading {what}"), expected, format!("its first {size}"))
                .advice("it was cut off: save or copy it again"));
        }
        Ok(Self { file: Arc::new(file), what: what.into(), size, read: Arc::default() })
    }

    /// Takes a file that is in memory.
    #[cfg(test)]
    pub(super) fn of_bytes(what: &str, bytes: Vec<u8>) -> Result<Self> {
        let size = bytes.len() as u64;
        let file = File::from_bytes(bytes).map_err(|error| unreadable(what, &error))?;
        Ok(Self { file: Arc::new(file), what: what.into(), size, read: Arc::default() })
    }

    /// The size of the file in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The name of the file, for messages.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The root group.
    pub(super) fn root(&self) -> Result<Node> {
        self.node(self.file.root(), String::new())
    }

    fn node(&self, group: Group, path: String) -> Result<Node> {
        let attributes = group.attrs().map_err(|error| self.broken(&path, &error))?;
        self.count(attributes.values().map(bytes_of).sum())?;
        Ok(Node { h5: self.clone(), group, path, attributes })
    }

    /// The data set at a path, whose chunks stay in memory until the rows after them are read.
    pub(super) fn dataset(&self, path: &str) -> Result<Stored> {
        let broken = |error| self.broken(path, &error);
        let dataset = self.file.dataset(path).map_err(broken)?;
        let (shape, chunk) = (dataset.shape().map_err(broken)?, dataset.chunk_shape().map_err(broken)?);
        let Some(chunk) = chunk else { return Stored::new(self, dataset, path.to_owned()) };
        let width = dataset.element_size().map_err(broken)?;
        let band: u64 = shape
            .iter()
            .zip(&chunk)
            .skip(1)
            .fold(1, |count, (len, chunk)| count.saturating_mul(len.div_ceil((*chunk).max(1))));
        let bytes = chunk.iter().fold(width.saturating_mul(band), |bytes, len| bytes.saturating_mul(*len));
        let bytes = usize::try_from(bytes.saturating_mul(2)).unwrap_or(usize::MAX).clamp(1 << 20, CACHE);
        let slots = usize::try_from(band.saturating_mul(2)).unwrap_or(usize::MAX).clamp(16, 1 << 16);
        let cache = hdf5::ChunkCacheConfig::new().with_max_bytes(bytes).with_max_slots(slots);
        let options = hdf5::DatasetAccessProperties::new().with_chunk_cache(cache);
        let dataset = self.file.dataset_with_options(path, options).map_err(broken)?;
        Stored::new(self, dataset, path.to_owned())
    }

    /// Counts an object that is read, with the memory of its attributes; an error if there cannot be so many.
    fn count(&self, attributes: u64) -> Result<()> {
        // An object takes 64 bytes, and everything is read a few times at most.
        let objects = self.read.objects.fetch_add(1, Relaxed) > 1000 + self.size / 16;
        if objects || self.read.attributes.fetch_add(attributes, Relaxed) > most_unpacked(self.size) {
            let expected = format!("no more objects than a file of {} bytes can hold", self.size);
            let received = "some that are read again and again";
            return Err(Error::file(format!("reading {}", self.what), expected, received));
        }
        Ok(())
    }

    fn too_large(&self, place: &str, shape: &[u64]) -> Error {
        Error::file(
            format!("reading {}, {place}", self.what),
            format!("an array that a file of {} bytes can hold", self.size),
            format!("the shape {shape:?}"),
        )
        .advice("if it is compressed further than weights are, unpack it with h5repack -f NONE")
    }

    fn broken(&self, place: &str, error: &hdf5::Error) -> Error {
        let place = if place.is_empty() { String::new() } else { format!(", {place}") };
        Error::file(format!("reading {}{place}", self.what), "an intact HDF5 file", error.to_string())
            .advice("it may be damaged or cut off: save or copy it again")
    }
}

/// About the memory that the value of an attribute takes.
fn bytes_of(value: &AttrValue) -> u64 {
    let texts = value.as_strings().map(|texts| texts.iter().map(|text| text.len() as u64 + 24).sum());
    texts.or_else(|| value.as_str().map(|text| text.len() as u64)).unwrap_or(8)
}

fn unreadable(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::file(format!("reading {what}"), "a readable HDF5 file", error.to_string())
        .advice("check the path; a file that is damaged has to be saved again")
}

impl Node {
    /// The group of that name inside, if there is one.
    pub(super) fn child(&self, name: &str) -> Result<Option<Node>> {
        match self.group.group(name) {
            Ok(group) => self.h5.node(group, join(&self.path, name)).map(Some),
            Err(hdf5::Error::Format(hdf5::FormatError::PathNotFound(_)) | hdf5::Error::NotAGroup(_)) => {
                Ok(None)
            }
            Err(error) => Err(self.h5.broken(&join(&self.path, name), &error)),
        }
    }

    /// The group at a path inside, if there is one.
    pub(super) fn group_at(&self, path: &str) -> Result<Option<Node>> {
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (self.child(first)?, rest) {
            (Some(node), Some(rest)) => node.group_at(rest),
            (found, _) => Ok(found),
        }
    }

    /// The names of the data sets inside.
    pub(super) fn datasets(&self) -> Result<Vec<String>> {
        self.group.datasets().map_err(|error| self.h5.broken(&self.path, &error))
    }

    /// The names of the groups inside.
    pub(super) fn groups(&self) -> Result<Vec<String>> {
        self.group.groups().map_err(|error| self.h5.broken(&self.path, &error))
    }

    /// Whether there is a list of that name, whole or in chunks.
    pub(super) fn is_listed(&self, name: &str) -> bool {
        self.attributes.contains_key(name) || self.attributes.contains_key(&format!("{name}0"))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.as_str()
    }

    #[cfg(test)]
    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// A list of names, whole or in the chunks `name0`, `name1`, …; none if there is no such attribute.
    pub(super) fn names(&self, name: &str) -> Result<Option<Vec<String>>> {
        let read = |key: &str| {
            self.attributes.get(key).map(|value| match value.as_strings() {
                Some(names) => Ok(names.to_vec()),
                // numpy's empty list is one of floats.
                None if value.to_f64s().is_some_and(|numbers| numbers.is_empty()) => Ok(Vec::new()),
                None => Err(Error::file(
                    format!("reading {}, attribute {key:?} of /{}", self.h5.what, self.path),
                    "a list of names",
                    value.type_name(),
                )),
            })
        };
        if let Some(names) = read(name) {
            return names.map(Some);
        }
        let mut all = Vec::new();
        let mut chunk = 0;
        while let Some(names) = read(&format!("{name}{chunk}")) {
            all.extend(names?);
            chunk += 1;
        }
        Ok((chunk > 0).then_some(all))
    }

    /// The data set at a path inside; an error if there is none.
    pub(super) fn stored(&self, path: &str) -> Result<Stored> {
        let place = join(&self.path, path);
        self.h5.count(0)?;
        let dataset = self.group.dataset(path).map_err(|error| self.h5.broken(&place, &error))?;
        let stored = Stored::new(&self.h5, dataset, place)?;
        check_together([&stored])?;
        Ok(stored)
    }
}

/// An error if the file of these arrays cannot hold all of them: many names may lead to one.
pub(super) fn check_together<'a>(arrays: impl IntoIterator<Item = &'a Stored>) -> Result<()> {
    let (mut plain, mut packed) = (0_u64, 0_u64);
    for stored in arrays {
        let (is_packed, size) = (stored.dataset.is_chunked(), stored.h5.size);
        let (sum, limit) = if is_packed { (&mut packed, most_unpacked(size)) } else { (&mut plain, size) };
        *sum = sum.saturating_add(stored.bytes()?);
        if *sum > limit {
            return Err(stored.too_large());
        }
    }
    Ok(())
}

/// An array in a file that has not been read yet.
pub(super) struct Stored {
    h5: H5,
    dataset: Dataset,
    place: String,
    shape: Vec<usize>,
    /// Whether its chunks were looked at.
    chunks: OnceLock<()>,
}

impl Stored {
    fn new(h5: &H5, dataset: Dataset, place: String) -> Result<Self> {
        let lens = dataset.shape().map_err(|error| h5.broken(&place, &error))?;
        let shape: Option<Vec<usize>> = lens.iter().map(|&length| usize::try_from(length).ok()).collect();
        // Rows without elements are as many as rows of one could be.
        let most = if lens.contains(&0) { h5.size.saturating_mul(EXPANSION) } else { u64::MAX };
        match shape.filter(|_| {
            lens.iter().try_fold(1_u64, |n, &len| n.checked_mul(len.max(1))).is_some_and(|n| n <= most)
        }) {
            Some(shape) => Ok(Self { h5: h5.clone(), dataset, place, shape, chunks: OnceLock::new() }),
            None => Err(h5.too_large(&place, &lens)),
        }
    }

    /// An error if the file cannot hold so many elements, or the chunks that it says they are in.
    fn check(&self, count: usize) -> Result<()> {
        let size = self.h5.size;
        let is_chunked = self.dataset.is_chunked();
        let limit = if is_chunked { size.saturating_mul(EXPANSION) } else { size };
        if self.width()?.saturating_mul(count as u64) > limit {
            return Err(self.too_large());
        }
        if is_chunked && self.chunks.get().is_none() {
            let chunks = self.dataset.chunks().map_err(|error| self.broken(error))?;
            if let Some(chunk) = chunks.iter().find(|chunk| chunk.storage_size > size) {
                let expected = format!("chunks that a file of {size} bytes can hold");
                let received = format!("one of {} bytes", chunk.storage_size);
                return Err(Error::file(
                    format!("reading {}, {}", self.h5.what, self.place),
                    expected,
                    received,
                )
                .advice("the file is damaged: save or copy it again"));
            }
            let _ = self.chunks.set(());
        }
        Ok(())
    }

    fn too_large(&self) -> Error {
        let lens: Vec<u64> = self.shape.iter().map(|&len| len as u64).collect();
        self.h5.too_large(&self.place, &lens)
    }

    /// The bytes of an element.
    fn width(&self) -> Result<u64> {
        self.dataset.element_size().map_err(|error| self.broken(error))
    }

    /// The bytes of all elements.
    fn bytes(&self) -> Result<u64> {
        Ok(self.width()?.saturating_mul(self.len() as u64))
    }

    fn broken(&self, error: hdf5::Error) -> Error {
        self.h5.broken(&self.place, &error)
    }

    /// The lengths of its axes.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of its elements.
    pub(super) fn len(&self) -> usize {
        element_count(&self.shape)
    }

    /// The element type that [`Stored::read`] gives.
    pub(super) fn dtype(&self) -> Result<DType> {
        use hdf5::DType as Stored;
        match self.dataset.dtype().map_err(|error| self.broken(error))? {
            // Half precision is no type of its own in the crate.
            Stored::F32 => Ok(DType::F32),
            Stored::Other(_) if self.dataset.element_size().is_ok_and(|width| width == 2) => Ok(DType::F32),
            Stored::F64 => Ok(DType::F64),
            Stored::I32 => Ok(DType::I32),
            Stored::U8 => Ok(DType::U8),
            Stored::I8 | Stored::I16 | Stored::I64 | Stored::U16 | Stored::U32 | Stored::U64 => {
                Ok(DType::I64)
            }
            // As h5py stores bool.
            Stored::Enum(names) if names == ["FALSE", "TRUE"] => Ok(DType::Bool),
            other => Err(Error::file(
                format!("reading {}, {}", self.h5.what, self.place),
                "numbers",
                other.to_string(),
            )),
        }
    }

    /// How many rows are stored as one piece: those of a chunk.
    pub(super) fn piece(&self) -> usize {
        let chunk = self.dataset.chunk_shape().ok().flatten();
        chunk.and_then(|chunk| usize::try_from(*chunk.first()?).ok()).unwrap_or(1)
    }

    /// Reads it.
    pub(super) fn read(&self) -> Result<Array> {
        let read = |error| self.broken(error);
        let (data, shape) = (&self.dataset, &self.shape);
        self.check(self.len())?;
        match self.dtype()? {
            DType::F32 if !self.is_half() => Array::from_vec(shape, data.read_f32().map_err(read)?),
            DType::F64 => Array::from_vec(shape, data.read_f64().map_err(read)?),
            DType::I32 => Array::from_vec(shape, data.read_i32().map_err(read)?),
            DType::U8 => Array::from_vec(shape, data.read_u8().map_err(read)?),
            DType::I64 => Array::from_vec(shape, data.read_i64().map_err(read)?),
            dtype => of_bytes(shape, dtype, &data.read_raw().map_err(read)?, self.is_big_endian()),
        }
        .map_err(|error| error.within(format!("reading {}, {}", self.h5.what, self.place)))
    }

    /// Reads the rows `start..stop`, and as little else as the file's layout allows.
    pub(super) fn rows(&self, start: usize, stop: usize) -> Result<Array> {
        let read = |error| self.broken(error);
        let rest = self.shape.get(1..).unwrap_or_default();
        let (first, count) = (start as u64, stop.saturating_sub(start));
        let shape: Vec<usize> = std::iter::once(count).chain(rest.iter().copied()).collect();
        self.check(element_count(&shape))?;
        let (data, rows) = (&self.dataset, count as u64);
        match self.dtype()? {
            DType::F32 if !self.is_half() => {
                Array::from_vec(&shape, data.read_f32_rows(first, rows).map_err(read)?)
            }
            DType::F64 => Array::from_vec(&shape, data.read_f64_rows(first, rows).map_err(read)?),
            DType::I32 => Array::from_vec(&shape, data.read_i32_rows(first, rows).map_err(read)?),
            DType::U8 => Array::from_vec(&shape, data.read_u8_rows(first, rows).map_err(read)?),
            DType::I64 => Array::from_vec(&shape, data.read_i64_rows(first, rows).map_err(read)?),
            dtype => {
                let bytes = data.read_raw_rows(first, rows).map_err(read)?;
                of_bytes(&shape, dtype, &bytes, self.is_big_endian())
            }
        }
        .map_err(|error| error.within(format!("reading {}, {}", self.h5.what, self.place)))
    }

    fn is_big_endian(&self) -> bool {
        use hdf5::{Datatype, DatatypeByteOrder::BigEndian};
        matches!(self.dataset.datatype(), Ok(Datatype::FloatingPoint { byte_order: BigEndian, .. }))
    }

    fn is_half(&self) -> bool {
        self.dataset.element_size().is_ok_and(|width| width == 2)
    }
}

/// Numbers that the crate has no type for: half precision, and bool.
fn of_bytes(shape: &[usize], dtype: DType, bytes: &[u8], big_endian: bool) -> Result<Array> {
    if dtype == DType::Bool {
        return Array::from_vec(shape, bytes.iter().map(|&byte| byte != 0).collect::<Vec<bool>>());
    }
    let halves = bytes.chunks_exact(2).map(|pair| match pair {
        &[a, b] => crate::npy::half_to_f32(if big_endian {
            u16::from_be_bytes([a, b])
        } else {
            u16::from_le_bytes([a, b])
        }),
        _ => 0.0,
    });
    Array::from_vec(shape, halves.collect::<Vec<f32>>())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// A group of a file to be written.
#[derive(Default)]
pub(super) struct Tree {
    attributes: Vec<(String, AttrValue)>,
    groups: BTreeMap<String, Tree>,
    arrays: Vec<(String, Array)>,
}

impl Tree {
    /// A text, as h5py writes bytes.
    pub(super) fn text(&mut self, name: &str, text: impl Into<String>) {
        self.attributes.push((name.to_owned(), AttrValue::VarLenAsciiString(text.into())));
    }

    /// A text, as h5py writes a `str`.
    pub(super) fn unicode(&mut self, name: &str, text: impl Into<String>) {
        self.attributes.push((name.to_owned(), AttrValue::VarLenString(text.into())));
    }

    /// A list of names, as the dialect has them: of fixed length in Keras 2, of any length in tf.keras. In as few chunks
    /// of equal length as fit where it is too long for one attribute: names of fixed length in both.
    pub(super) fn names(&mut self, name: &str, names: &[String], dialect: Dialect) {
        let whole: fn(Vec<String>) -> AttrValue = match dialect {
            Dialect::Keras2 => AttrValue::AsciiStringArray,
            Dialect::TfKeras => AttrValue::VarLenAsciiStringArray,
        };
        // All elements are as wide as the longest of all chunks.
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let fits = |names: &[String]| names.len() * width <= HEADER_LIMIT;
        if names.is_empty() {
            self.attributes.push((name.to_owned(), AttrValue::F64Array(Vec::new())));
        } else if fits(names) {
            self.attributes.push((name.to_owned(), whole(names.to_vec())));
        } else {
            let mut count = 2;
            while count < names.len() && split(names, count).any(|chunk| !fits(chunk)) {
                count += 1;
            }
            for (i, chunk) in split(names, count).enumerate() {
                let sized = u32::try_from(width).ok();
                let sized =
                    sized.and_then(|width| AttrValue::ascii_string_array_sized(chunk.to_vec(), width).ok());
                let chunk = sized.unwrap_or_else(|| AttrValue::AsciiStringArray(chunk.to_vec()));
                self.attributes.push((format!("{name}{i}"), chunk));
            }
        }
    }

    /// The group at a path inside, made where it is missing.
    pub(super) fn group(&mut self, path: &str) -> &mut Tree {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(self, |tree, part| tree.groups.entry(part.to_owned()).or_default())
    }

    /// An array at a path inside.
    pub(super) fn array(&mut self, path: &str, array: Array) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.group(folder).arrays.push((name.to_owned(), array));
    }

    /// Writes the file in the format of HDF5 1.8, which every h5py reads.
    pub(super) fn write(self, what: &str, to: &mut impl std::io::Write) -> Result<()> {
        let failed =
            |error: hdf5::Error| Error::file(format!("writing {what}"), "an HDF5 file", error.to_string());
        let mut builder = hdf5::FileBuilder::new();
        builder.with_libver_bounds(hdf5::LibVer::Earliest, hdf5::LibVer::V18);
        for (name, value) in self.attributes {
            builder.set_attr(&name, value);
        }
        for (name, array) in self.arrays {
            fill(builder.create_dataset(&name), &array)?;
        }
        for (name, tree) in self.groups {
            let group = tree.build(builder.create_group(&name))?;
            builder.add_group(group);
        }
        builder.finish_to(to).map_err(failed)
    }

    fn build(self, mut group: hdf5::GroupBuilder) -> Result<hdf5::FinishedGroup> {
        for (name, value) in self.attributes {
            group.set_attr(&name, value);
        }
        for (name, array) in self.arrays {
            fill(group.create_dataset(&name), &array)?;
        }
        for (name, tree) in self.groups {
            let inner = tree.build(group.create_group(&name))?;
            group.add_group(inner);
        }
        Ok(group.finish())
    }
}

fn fill(builder: &mut hdf5::DatasetBuilder, array: &Array) -> Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|&length| length as u64).collect();
    match array.dtype() {
        DType::F32 => builder.with_f32_data(array.as_slice()?),
        DType::F64 => builder.with_f64_data(array.as_slice()?),
        DType::I32 => builder.with_i32_data(array.as_slice()?),
        DType::I64 => builder.with_i64_data(array.as_slice()?),
        DType::U8 => builder.with_u8_data(array.as_slice()?),
        DType::Bool => builder.with_u8_data(array.cast(DType::U8).as_slice()?),
    };
    builder.with_shape(&shape);
    Ok(())
}

/// `count` parts of nearly equal length, the longer ones first, as `numpy.array_split` makes them.
fn split(names: &[String], count: usize) -> impl Iterator<Item = &[String]> {
    let (length, longer) = (names.len() / count, names.len() % count);
    let start = move |i: usize| i * length + i.min(longer);
    (0..count).map(move |i| names.get(start(i)..start(i + 1)).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_split_as_numpy_splits_them() {
        let names: Vec<String> = (0..401).map(|i| format!("{i:0>200}")).collect();
        let lens: Vec<usize> = split(&names, 2).map(<[String]>::len).collect();
        assert_eq!(lens, [201, 200]);
        let mut tree = Tree::default();
        tree.names("layer_names", &names, Dialect::Keras2);
        tree.names("few", &names[..3], Dialect::Keras2);
        tree.names("none", &[], Dialect::Keras2);
        tree.names("later", &names, Dialect::TfKeras);
        tree.text("text", "a");
        tree.array("a/b/kernel:0", Array::from([[1.0_f32, 2.0]]));
        tree.array("a/b/iterations:0", Array::from(3_i64));
        let mut bytes = Vec::new();
        tree.write("test", &mut bytes).unwrap();
        let root = H5::of_bytes("test", bytes).unwrap().root().unwrap();
        assert!(root.has("layer_names0") && root.has("layer_names1") && !root.has("layer_names"));
        assert_eq!(root.names("layer_names").unwrap().unwrap(), names);
        assert_eq!(root.names("later").unwrap().unwrap(), names);
        assert!(root.has("later1") && !root.has("later2"));
        assert_eq!(root.names("few").unwrap().unwrap(), names[..3]);
        assert_eq!(root.names("none").unwrap(), Some(Vec::new()));
        assert_eq!(root.names("missing").unwrap(), None);
        assert_eq!(root.text("text"), Some("a"));
        let node = root.child("a").unwrap().unwrap();
        assert!(root.child("b").unwrap().is_none());
        let kernel = node.stored("b/kernel:0").unwrap();
        assert_eq!((kernel.shape(), kernel.len()), (&[1, 2][..], 2));
        assert_eq!(kernel.read().unwrap(), Array::from([[1.0_f32, 2.0]]));
        assert_eq!(node.stored("b/iterations:0").unwrap().read().unwrap(), Array::from(3_i64));
        assert!(node.stored("b/bias:0").is_err());
    }
}
