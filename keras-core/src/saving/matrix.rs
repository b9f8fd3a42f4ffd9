//! [`HDF5Matrix`], [`File`] and [`Dataset`]: samples in HDF5 files, read batch by batch.

use super::h5::{H5, Stored};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::training::{Column, Data, Source};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// An open HDF5 file, for the data sets in it.
///
/// ```no_run
/// use keras_core::saving::File;
/// # fn predict(model: &keras_core::models::Model) -> keras_core::Result<()> {
/// let y = model.predict(File::open("data.h5")?.dataset("x_data")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct File(H5);

impl File {
    /// Opens a file. Nothing but its directory is read, then or when a data set is opened.
    ///
    /// # Errors
    /// If there is no such file, or it is not HDF5.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        H5::open(path.as_ref()).map(Self)
    }

    /// The data set at a path, as `x_data` or `group/x_data`.
    ///
    /// # Errors
    /// If there is none, it holds no numbers, or has no axis of samples.
    pub fn dataset(&self, path: &str) -> Result<Dataset> {
        let stored = self.0.dataset(path)?;
        let dtype = stored.dtype()?;
        if stored.shape().is_empty() {
            let doing = format!("reading {}, {path}", self.0.what());
            return Err(Error::shape(doing, "an axis of samples", "a scalar"));
        }
        let piece = stored.piece();
        Ok(Dataset(Arc::new(Inner { name: format!("{}, {path}", self.0.what()), stored, dtype, piece })))
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.0.what())
    }
}

/// A data set of numbers in an HDF5 file, its first axis that of the samples. `fit`, `evaluate` and `predict` take it as
/// it is and read it batch by batch, chunk by chunk where it is stored in chunks.
///
/// Types: float16 comes as float32; bool as bool; integers other than int32 and uint8 as int64.
#[derive(Clone)]
pub struct Dataset(Arc<Inner>);

struct Inner {
    name: String,
    stored: Stored,
    dtype: DType,
    piece: usize,
}

impl Source for Dataset {
    fn shape(&self) -> &[usize] {
        self.0.stored.shape()
    }

    fn dtype(&self) -> DType {
        self.0.dtype
    }

    fn read(&self, start: usize, stop: usize) -> Result<Array> {
        self.0.stored.rows(start, stop)
    }

    fn piece(&self) -> usize {
        self.0.piece
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({}, {:?}, {})", self.0.name, self.shape(), self.0.dtype.name())
    }
}

type Normalizer = Arc<dyn Fn(Array) -> Result<Array> + Send + Sync>;

/// Samples of a data set in an HDF5 file: Keras's `keras.utils.HDF5Matrix`, with its `start`, `end` and `normalizer`.
///
/// Shuffled as [`Shuffle::Batches`](crate::training::Shuffle), Keras's `shuffle="batch"`, it is read in order; any other order is right, too, but
/// reads all chunks that hold one of a batch's samples.
///
/// ```no_run
/// use keras_core::k;
/// use keras_core::saving::HDF5Matrix;
/// use keras_core::training::{Fit, Shuffle};
/// # fn train(model: &keras_core::models::Model) -> keras_core::Result<()> {
/// let x = HDF5Matrix::new("data.h5", "x_data")?.end(60_000)?;
/// let y = HDF5Matrix::new("data.h5", "y_data")?.end(60_000)?;
/// model.fit(&x, &y, Fit::new().shuffle(Shuffle::Batches))?;
/// # Ok(())
/// # }
/// ```
///
/// Source: `keras/utils/io_utils.py` of Keras 2.3.1.
#[derive(Clone)]
pub struct HDF5Matrix {
    dataset: Dataset,
    start: usize,
    normalizer: Option<Normalizer>,
    /// Of the samples from `start` to the end, normalized.
    shape: Vec<usize>,
    dtype: DType,
}

impl HDF5Matrix {
    /// All samples of a data set.
    ///
    /// # Errors
    /// Those of [`File::open`] and [`File::dataset`].
    pub fn new(path: impl AsRef<Path>, dataset: &str) -> Result<Self> {
        File::open(path)?.dataset(dataset).map(Self::from)
    }

    /// Begins with that sample. Default 0.
    ///
    /// # Errors
    /// If it comes after the end.
    pub fn start(mut self, start: usize) -> Result<Self> {
        let end = self.start + self.samples();
        self.start = start;
        self.until(end)
    }

    /// Ends before that sample. Default: the end of the data set.
    ///
    /// # Errors
    /// If it comes before the start or after the end of the data set.
    pub fn end(self, end: usize) -> Result<Self> {
        self.until(end)
    }

    fn until(mut self, end: usize) -> Result<Self> {
        let all = self.dataset.shape().first().copied().unwrap_or_default();
        if self.start > end || end > all {
            return Err(Error::value(
                format!("HDF5Matrix of {}", self.dataset.0.name),
                format!("start and end within its {all} samples"),
                format!("{}..{end}", self.start),
            ));
        }
        if let Some(count) = self.shape.first_mut() {
            *count = end - self.start;
        }
        Ok(self)
    }

    /// A function for the samples as they are read, any number of them at once; it may change their shape and type, but
    /// not their number.
    ///
    /// # Errors
    /// Those of the function, which is asked for the first sample.
    pub fn normalizer(
        mut self,
        normalizer: impl Fn(Array) -> Result<Array> + Send + Sync + 'static,
    ) -> Result<Self> {
        self.normalizer = Some(Arc::new(normalizer));
        let first = self.normalized(0, 1.min(self.dataset.shape().first().copied().unwrap_or_default()))?;
        let samples = self.samples();
        self.shape = std::iter::once(samples).chain(first.shape().iter().skip(1).copied()).collect();
        self.dtype = first.dtype();
        Ok(self)
    }

    fn normalized(&self, start: usize, stop: usize) -> Result<Array> {
        let rows = self.dataset.read(start, stop)?;
        match &self.normalizer {
            None => Ok(rows),
            Some(normalizer) => normalizer(rows),
        }
    }

    /// The number of samples.
    fn samples(&self) -> usize {
        self.shape.first().copied().unwrap_or_default()
    }
}

impl From<Dataset> for HDF5Matrix {
    fn from(dataset: Dataset) -> Self {
        let (shape, dtype) = (dataset.shape().to_vec(), dataset.dtype());
        Self { dataset, start: 0, normalizer: None, shape, dtype }
    }
}

impl Source for HDF5Matrix {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn read(&self, start: usize, stop: usize) -> Result<Array> {
        self.normalized(self.start + start, self.start + stop)
    }

    fn piece(&self) -> usize {
        self.dataset.piece()
    }
}

impl fmt::Debug for HDF5Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HDF5Matrix({}, {:?}, {})", self.dataset.0.name, self.shape, self.dtype.name())
    }
}

/// As a column of data, and as data of its own.
macro_rules! data {
    ($($source:ty),*) => {$(
        impl From<$source> for Column {
            fn from(source: $source) -> Self {
                Self::source(source)
            }
        }

        impl From<&$source> for Column {
            fn from(source: &$source) -> Self {
                Self::source(source.clone())
            }
        }

        impl From<$source> for Data {
            fn from(source: $source) -> Self {
                Column::from(source).into()
            }
        }

        impl From<&$source> for Data {
            fn from(source: &$source) -> Self {
                Column::from(source).into()
            }
        }
    )*};
}

data!(Dataset, HDF5Matrix);
