//! [`Sequence`] and [`Generator`]: data that comes in batches, inputs and targets together.

use super::ahead::{Ahead, Make, Reading};
use super::data::Data;
use super::weights::SampleWeight;
use crate::error::Result;
use crate::models::lock;
use crate::random;
use crate::tensor::Spec;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A batch: inputs, targets and sample weights. Of inputs and targets, or of all three:
///
/// ```
/// use keras_core::{Array, training::Batch};
/// let (x, y) = (Array::from([[1.0_f32, 2.0]]), Array::from([[0.5_f32]]));
/// let batch = Batch::from((&x, &y));
/// let weighted = Batch::from((&x, &y, Array::from([0.1_f32])));
/// let for_predict = Batch::inputs(&x);
/// ```
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) x: Data,
    pub(crate) y: Data,
    pub(crate) sample_weight: Option<SampleWeight>,
}

impl Batch {
    /// Inputs alone, for `predict`.
    pub fn inputs(x: impl Into<Data>) -> Self {
        Self { x: x.into(), y: Data::default(), sample_weight: None }
    }
}

impl<X: Into<Data>, Y: Into<Data>> From<(X, Y)> for Batch {
    fn from((x, y): (X, Y)) -> Self {
        Self { x: x.into(), y: y.into(), sample_weight: None }
    }
}

impl<X: Into<Data>, Y: Into<Data>, W: Into<SampleWeight>> From<(X, Y, W)> for Batch {
    fn from((x, y, weight): (X, Y, W)) -> Self {
        Self { x: x.into(), y: y.into(), sample_weight: Some(weight.into()) }
    }
}

/// Batches by number: Keras's `keras.utils.Sequence`. Threads read ahead, in any number, and every batch is used once per
/// pass.
///
/// ```
/// use keras_core::training::{Batch, Fit, Sequence};
/// use keras_core::{Array, Result};
///
/// /// Sixteen numbers and whether they are odd, four at a time.
/// struct Odd;
///
/// impl Sequence for Odd {
///     fn len(&self) -> usize {
///         4
///     }
///     fn get(&self, index: usize) -> Result<Batch> {
///         let numbers = index * 4..index * 4 + 4;
///         let x = Array::from_vec(&[4, 1], numbers.clone().map(|i| i as f32).collect())?;
///         Ok((x, Array::from_vec(&[4, 1], numbers.map(|i| (i % 2) as f32).collect())?).into())
///     }
/// }
///
/// # fn train(model: &keras_core::models::Model) -> Result<()> {
/// let history = model.fit(Odd, (), Fit::new().epochs(2))?;
/// # Ok(())
/// # }
/// ```
///
/// Source: `keras/utils/data_utils.py` of Keras 2.3.1.
pub trait Sequence: Send + Sync {
    /// The number of batches. Asked again before every epoch.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Batch number `index`, below [`Sequence::len`].
    ///
    /// # Errors
    /// What it returns ends the run.
    fn get(&self, index: usize) -> Result<Batch>;

    /// Called when all batches of a pass have been taken. Default: nothing.
    fn on_epoch_end(&mut self) {}
}

/// Batches from an iterator, as Keras takes Python's generators; endless, or long enough for what is asked of it.
///
/// What one run has not taken, the next one gets, also what was read ahead: `Data::from(generator)` can be given to several.
///
/// ```
/// use keras_core::{Array, training::{Data, Generator}};
/// let batches = (0..).map(|i| (Array::from([[i as f32, 0.5]; 8]), Array::from([[1.0_f32]; 8])));
/// let data: Data = Generator::new(batches).into();
/// ```
pub struct Generator(Generated);

impl Generator {
    /// Of batches, such as pairs of inputs and targets.
    pub fn new<I>(batches: I) -> Self
    where
        I: IntoIterator<IntoIter: Send + 'static, Item: Into<Batch>>,
    {
        Self::fallible(batches.into_iter().map(|batch| Ok(batch.into())))
    }

    /// Of batches that may fail to come; an error ends the run.
    pub fn fallible(batches: impl Iterator<Item = Result<Batch>> + Send + 'static) -> Self {
        let iterator = Mutex::new(batches.fuse());
        let make: Make<Option<Batch>> = Arc::new(move |_| lock(&iterator).next().transpose());
        Self(Generated(Arc::new(Drawn(Arc::new(Mutex::new(Stream { make, first: None, ahead: None }))))))
    }
}

impl From<Generator> for Data {
    fn from(generator: Generator) -> Self {
        generator.0.into()
    }
}

/// What generates batches, shared.
#[derive(Clone)]
pub(crate) struct Generated(Arc<dyn Open>);

impl Generated {
    pub(crate) fn sequence(sequence: impl Sequence + 'static) -> Self {
        Self(Arc::new(Numbered(Arc::new(RwLock::new(sequence)))))
    }

    /// The batches of a pass, where that is known.
    pub(crate) fn len(&self) -> Option<usize> {
        self.0.len()
    }

    /// Begins a run.
    pub(crate) fn open(&self, reading: Reading, shuffle: bool) -> Box<dyn Cursor> {
        self.0.open(reading, shuffle)
    }

    /// The shape of the first batch's first input with an open batch axis, for models built from data.
    pub(crate) fn first_spec(&self) -> Result<Option<Spec>> {
        match self.0.first()? {
            Some(batch) => batch.x.first_spec(),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("batches")
    }
}

/// The kinds of generators.
trait Open: Send + Sync {
    fn len(&self) -> Option<usize>;

    fn open(&self, reading: Reading, shuffle: bool) -> Box<dyn Cursor>;

    fn first(&self) -> Result<Option<Batch>>;
}

/// Where a run stands.
pub(crate) trait Cursor: Send {
    /// The next batch; `None` if there will be no more.
    fn next(&mut self) -> Result<Option<Batch>>;
}

struct Numbered<S>(Arc<RwLock<S>>);

fn get<S: Sequence>(sequence: &RwLock<S>, index: usize) -> Result<Batch> {
    sequence.read().unwrap_or_else(PoisonError::into_inner).get(index)
}

fn len<S: Sequence>(sequence: &RwLock<S>) -> usize {
    sequence.read().unwrap_or_else(PoisonError::into_inner).len()
}

impl<S: Sequence + 'static> Open for Numbered<S> {
    fn len(&self) -> Option<usize> {
        Some(len(&self.0))
    }

    fn open(&self, reading: Reading, shuffle: bool) -> Box<dyn Cursor> {
        Box::new(Passes { sequence: self.0.clone(), reading, shuffle, pass: None })
    }

    fn first(&self) -> Result<Option<Batch>> {
        if len(&self.0) == 0 { Ok(None) } else { get(&self.0, 0).map(Some) }
    }
}

/// Pass after pass over a sequence.
struct Passes<S> {
    sequence: Arc<RwLock<S>>,
    reading: Reading,
    shuffle: bool,
    /// The batches of this pass, and how many of them are left.
    pass: Option<(Ahead<Batch>, usize)>,
}

impl<S: Sequence + 'static> Cursor for Passes<S> {
    fn next(&mut self) -> Result<Option<Batch>> {
        let (ahead, left) = match &mut self.pass {
            Some(pass) => pass,
            None => {
                let mut order: Vec<usize> = (0..len(&self.sequence)).collect();
                if order.is_empty() {
                    return Ok(None);
                }
                if self.shuffle {
                    random::with_order(|random| random.shuffle(&mut order));
                }
                let (count, sequence) = (order.len(), self.sequence.clone());
                let make: Make<Batch> =
                    Arc::new(move |i| get(&*sequence, order.get(i).copied().unwrap_or_default()));
                self.pass.insert((Ahead::new(self.reading, count, make)?, count))
            }
        };
        let batch = ahead.next()?;
        *left -= 1;
        if *left == 0 {
            self.pass = None;
            self.sequence.write().unwrap_or_else(PoisonError::into_inner).on_epoch_end();
        }
        Ok(batch)
    }
}

struct Drawn(Arc<Mutex<Stream>>);

/// An iterator, and what was taken from it already.
struct Stream {
    make: Make<Option<Batch>>,
    first: Option<Batch>,
    ahead: Option<Ahead<Option<Batch>>>,
}

impl Open for Drawn {
    fn len(&self) -> Option<usize> {
        None
    }

    fn open(&self, reading: Reading, _: bool) -> Box<dyn Cursor> {
        Box::new(Shared { stream: self.0.clone(), reading })
    }

    fn first(&self) -> Result<Option<Batch>> {
        let mut stream = lock(&self.0);
        if stream.first.is_none() {
            stream.first = stream.next(Reading { workers: 0, queue: 0 })?;
        }
        Ok(stream.first.clone())
    }
}

impl Stream {
    fn next(&mut self, reading: Reading) -> Result<Option<Batch>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if reading.workers > 0 && self.ahead.is_none() {
            // An iterator is asked by one thread at a time.
            let reading = Reading { workers: 1, ..reading };
            self.ahead = Some(Ahead::new(reading, usize::MAX, self.make.clone())?);
        }
        match &mut self.ahead {
            Some(ahead) => ahead.next().map(Option::flatten),
            None => (self.make)(0),
        }
    }
}

struct Shared {
    stream: Arc<Mutex<Stream>>,
    reading: Reading,
}

impl Cursor for Shared {
    fn next(&mut self) -> Result<Option<Batch>> {
        lock(&self.stream).next(self.reading)
    }
}
