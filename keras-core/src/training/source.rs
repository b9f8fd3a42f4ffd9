//! [`Source`]: samples that are read when they are wanted, and [`Column`]: those, or an array.

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Samples that are not in memory: `fit`, `evaluate` and `predict` read them batch by batch.
///
/// A file, a data base, or a computation:
///
/// ```
/// use keras_core::training::{Column, Data, Source};
/// use keras_core::{Array, DType, Result};
///
/// struct Squares;
///
/// impl Source for Squares {
///     fn shape(&self) -> &[usize] {
///         &[1_000_000_000, 1]
///     }
///     fn dtype(&self) -> DType {
///         DType::F32
///     }
///     fn read(&self, start: usize, stop: usize) -> Result<Array> {
///         Array::from_vec(&[stop - start, 1], (start..stop).map(|i| (i as f32).powi(2)).collect())
///     }
/// }
///
/// let data: Data = Column::source(Squares).into();
/// assert_eq!(data.len(), 1);
/// ```
pub trait Source: Send + Sync {
    /// The number of samples, then the shape of one.
    fn shape(&self) -> &[usize];

    /// The element type.
    fn dtype(&self) -> DType;

    /// The samples `start..stop`, which are there.
    ///
    /// # Errors
    /// If they cannot be read; the error ends the run.
    fn read(&self, start: usize, stop: usize) -> Result<Array>;

    /// How many samples are stored as one piece, so that reading one of them costs as much as reading all. Default 1.
    /// Samples in shuffled order are read piece by piece.
    fn piece(&self) -> usize {
        1
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn shape(&self) -> &[usize] {
        (**self).shape()
    }

    fn dtype(&self) -> DType {
        (**self).dtype()
    }

    fn read(&self, start: usize, stop: usize) -> Result<Array> {
        (**self).read(start, stop)
    }

    fn piece(&self) -> usize {
        (**self).piece()
    }
}

/// The samples of one input or output of a model: an array, or a [`Source`].
#[derive(Clone)]
pub struct Column(Samples);

#[derive(Clone)]
enum Samples {
    Array(Array),
    Stored(Stored),
}

/// The part of a source that begins at `start`, as samples of that shape and type.
#[derive(Clone)]
struct Stored {
    source: Arc<dyn Source>,
    start: usize,
    shape: Vec<usize>,
    dtype: DType,
}

impl Stored {
    /// Brings what was read of the source into shape.
    fn checked(&self, read: Array, count: usize) -> Result<Array> {
        let own = self.source.shape().get(1..).unwrap_or_default();
        let expected: Vec<usize> = std::iter::once(count).chain(own.iter().copied()).collect();
        if read.shape() != expected {
            return Err(Error::shape(
                "reading samples",
                format!("an array of shape {expected:?} from the source"),
                format!("{:?}", read.shape()),
            ));
        }
        let rest = self.shape.get(1..).unwrap_or_default();
        let shape: Vec<usize> = std::iter::once(count).chain(rest.iter().copied()).collect();
        Ok(read.reshape(&shape)?.cast(self.dtype))
    }

    fn rows(&self, start: usize, stop: usize) -> Result<Array> {
        self.checked(self.source.read(self.start + start, self.start + stop)?, stop - start)
    }

    fn take(&self, indices: &[usize]) -> Result<Array> {
        let piece = self.source.piece().max(1);
        // By the piece that it lies in: the first and the last sample to be read, and how many.
        let mut pieces: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for &index in indices {
            let at = self.start + index;
            let (first, last) = pieces.entry(at / piece).or_insert((at, at));
            (*first, *last) = ((*first).min(at), (*last).max(at));
        }
        // Neighbours are read together.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (first, last) in pieces.into_values() {
            match runs.last_mut() {
                Some((_, end)) if *end == first => *end = last + 1,
                _ => runs.push((first, last + 1)),
            }
        }
        let mut parts = Vec::with_capacity(runs.len());
        let mut starts = Vec::with_capacity(runs.len());
        let mut count = 0;
        for (first, end) in &runs {
            parts.push(self.checked(self.source.read(*first, *end)?, end - first)?);
            starts.push(count);
            count += end - first;
        }
        let place = |index: &usize| {
            let at = self.start + index;
            let run = runs.partition_point(|(first, _)| *first <= at).saturating_sub(1);
            let (first, start) = (runs.get(run).map_or(at, |run| run.0), starts.get(run).copied());
            start.unwrap_or_default() + (at - first)
        };
        Array::concatenate(&parts)?.take(&indices.iter().map(place).collect::<Vec<_>>())
    }
}

impl Column {
    /// Samples that are read when they are wanted.
    pub fn source(source: impl Source + 'static) -> Self {
        let (shape, dtype) = (source.shape().to_vec(), source.dtype());
        Self(Samples::Stored(Stored { source: Arc::new(source), start: 0, shape, dtype }))
    }

    /// The number of samples, then the shape of one.
    pub fn shape(&self) -> &[usize] {
        match &self.0 {
            Samples::Array(array) => array.shape(),
            Samples::Stored(stored) => &stored.shape,
        }
    }

    /// The number of axes, that of the samples included.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Samples::Array(array) => array.dtype(),
            Samples::Stored(stored) => stored.dtype,
        }
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    /// Whether reading takes more than memory.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.0, Samples::Stored(_))
    }

    /// How many samples are read as one.
    pub(crate) fn piece(&self) -> usize {
        match &self.0 {
            Samples::Array(_) => 1,
            Samples::Stored(stored) => stored.source.piece(),
        }
    }

    /// The samples `start..stop`; `stop` is cut at the end.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn rows(&self, start: usize, stop: usize) -> Result<Array> {
        let stop = stop.min(self.samples());
        let start = start.min(stop);
        match &self.0 {
            Samples::Array(array) if stop - start == self.samples() => Ok(array.clone()),
            Samples::Array(array) => array.rows(start, stop),
            Samples::Stored(stored) => stored.rows(start, stop),
        }
    }

    /// The samples of those numbers, in that order.
    pub(crate) fn take(&self, indices: &[usize]) -> Result<Array> {
        match &self.0 {
            Samples::Array(array) => array.take(indices),
            Samples::Stored(stored) => stored.take(indices),
        }
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Result<Array> {
        self.rows(0, self.samples())
    }

    /// The samples `start..stop` as samples of their own.
    pub(crate) fn part(&self, start: usize, stop: usize) -> Result<Self> {
        match &self.0 {
            Samples::Array(_) => self.rows(start, stop).map(Self::from),
            Samples::Stored(stored) => {
                let mut part = stored.clone();
                part.start += start;
                if let Some(count) = part.shape.first_mut() {
                    *count = stop.min(*count).saturating_sub(start);
                }
                Ok(Self(Samples::Stored(part)))
            }
        }
    }

    /// 1-D data is a column, of shape (n, 1).
    ///
    /// # Errors
    /// If there is no axis of samples.
    pub fn column(self) -> Result<Self> {
        let column = match *self.shape() {
            [] => return Err(Error::shape("checking data", "an axis of samples", "a scalar")),
            [n] => [n, 1],
            _ => return Ok(self),
        };
        Ok(Self(match self.0 {
            Samples::Array(array) => Samples::Array(array.reshape(&column)?),
            Samples::Stored(stored) => Samples::Stored(Stored { shape: column.to_vec(), ..stored }),
        }))
    }

    /// In another element type.
    pub(crate) fn cast(&self, dtype: DType) -> Self {
        Self(match &self.0 {
            Samples::Array(array) => Samples::Array(array.cast(dtype)),
            Samples::Stored(stored) => Samples::Stored(Stored { dtype, ..stored.clone() }),
        })
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Samples::Array(array) => array.fmt(f),
            Samples::Stored(stored) => write!(f, "Source({:?}, {})", stored.shape, stored.dtype.name()),
        }
    }
}

impl From<&Self> for Column {
    fn from(column: &Self) -> Self {
        column.clone()
    }
}

impl From<Array> for Column {
    fn from(array: Array) -> Self {
        Self(Samples::Array(array))
    }
}

impl From<&Array> for Column {
    fn from(array: &Array) -> Self {
        array.clone().into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A hundred samples in pieces of ten; remembers what was read.
    struct Pieces(Arc<Mutex<Vec<(usize, usize)>>>);

    impl Source for Pieces {
        fn shape(&self) -> &[usize] {
            &[100]
        }

        fn dtype(&self) -> DType {
            DType::I32
        }

        fn read(&self, start: usize, stop: usize) -> Result<Array> {
            self.0.lock().unwrap().push((start, stop));
            Ok(Array::from((start as i32..stop as i32).collect::<Vec<_>>()))
        }

        fn piece(&self) -> usize {
            10
        }
    }

    #[test]
    fn samples_in_any_order_are_read_piece_by_piece() {
        let read = Arc::new(Mutex::new(Vec::new()));
        let column = Column::source(Pieces(read.clone())).column().unwrap().cast(DType::F32);
        let column = column.part(5, 95).unwrap();
        assert_eq!(column.shape(), [90, 1]);
        let taken = column.take(&[72, 3, 1, 3, 5, 78]).unwrap();
        assert_eq!(taken, Array::from([[77.0_f32], [8.0], [6.0], [8.0], [10.0], [83.0]]));
        // 6 to 8, then 10 alone; 77; 83.
        assert_eq!(*read.lock().unwrap(), [(6, 9), (10, 11), (77, 78), (83, 84)]);
        assert_eq!(column.rows(88, 95).unwrap(), Array::from([[93.0_f32], [94.0]]));
    }
}
