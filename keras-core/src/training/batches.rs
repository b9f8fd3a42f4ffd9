//! [`Batches`]: where the batches of an epoch come from.

use super::batch::Samples;
use super::fit::Shuffle;
use crate::error::{Error, Result};
use crate::random;

/// How data is cut into batches: by their size or by their number.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) doing: &'static str,
    pub(crate) batch_size: Option<usize>,
    pub(crate) steps: Option<usize>,
}

impl Sizes {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |expected: &str, received: String| Err(Error::value(self.doing, expected, received));
        match (self.batch_size, self.steps) {
            (Some(0), _) => wrong("a batch size of at least 1", "0".into()),
            (_, Some(0)) => wrong("at least 1 step", "0".into()),
            (Some(size), Some(steps)) => wrong(
                "a batch size or a number of steps, each on all of the data",
                format!("a batch size of {size} and {steps} steps"),
            ),
            _ => Ok(()),
        }
    }
}

/// The batches of one pass over some data, again and again.
pub(crate) trait Batches {
    /// Puts the samples into the order of the pass after, as the start of each pass does.
    fn shuffle(&mut self) {}

    /// Starts a pass.
    fn begin(&mut self);

    /// The next batch of the pass; `None` at its end.
    fn next(&mut self) -> Result<Option<Samples>>;

    /// The batches of a pass.
    fn steps(&self) -> usize;

    /// The samples of a pass where they are counted; `None` where steps are.
    fn samples(&self) -> Option<usize>;

    /// Samples per batch, where that was said.
    fn batch_size(&self) -> Option<usize>;
}

/// Every sample once, in batches of one size and what is left over.
pub(crate) struct Once {
    samples: Samples,
    batch_size: usize,
    shuffle: Shuffle,
    /// Shuffled further from pass to pass, as in Keras.
    order: Vec<usize>,
    next: usize,
}

impl Once {
    pub(crate) fn new(samples: Samples, batch_size: usize, shuffle: Shuffle) -> Self {
        let order = if shuffle == Shuffle::None { Vec::new() } else { (0..samples.count).collect() };
        Self { samples, batch_size, shuffle, order, next: 0 }
    }
}

impl Batches for Once {
    fn begin(&mut self) {
        self.next = 0;
        self.shuffle();
    }

    fn shuffle(&mut self) {
        match self.shuffle {
            Shuffle::None => {}
            Shuffle::Samples => random::with_order(|random| random.shuffle(&mut self.order)),
            Shuffle::Batches => {
                // Whole batches change places; what is left over stays last.
                let whole = self.order.len() / self.batch_size;
                let rest = self.order.split_off(whole * self.batch_size);
                let mut batches: Vec<&[usize]> = self.order.chunks(self.batch_size).collect();
                random::with_order(|random| random.shuffle(&mut batches));
                self.order = batches.concat();
                self.order.extend(rest);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Samples>> {
        let start = self.next;
        let stop = start.saturating_add(self.batch_size).min(self.samples.count);
        if start >= stop {
            return Ok(None);
        }
        self.next = stop;
        if self.shuffle == Shuffle::None {
            return self.samples.rows(start, stop).map(Some);
        }
        self.samples.take(self.order.get(start..stop).unwrap_or_default()).map(Some)
    }

    fn steps(&self) -> usize {
        self.samples.count.div_ceil(self.batch_size)
    }

    fn samples(&self) -> Option<usize> {
        Some(self.samples.count)
    }

    fn batch_size(&self) -> Option<usize> {
        Some(self.batch_size)
    }
}

/// All samples as one batch, a number of times: what Keras makes of arrays and a number of steps.
pub(crate) struct Whole {
    samples: Samples,
    steps: usize,
    next: usize,
}

impl Whole {
    pub(crate) fn new(samples: Samples, steps: usize) -> Self {
        Self { samples, steps, next: 0 }
    }
}

impl Batches for Whole {
    fn begin(&mut self) {
        self.next = 0;
    }

    fn next(&mut self) -> Result<Option<Samples>> {
        if self.next == self.steps {
            return Ok(None);
        }
        self.next += 1;
        self.samples.rows(0, self.samples.count).map(Some)
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn samples(&self) -> Option<usize> {
        None
    }

    fn batch_size(&self) -> Option<usize> {
        None
    }
}
