//! [`Batches`]: where the batches of an epoch come from.

use super::ahead::{Ahead, Reading};
use super::batch::{Feeds, Samples};
use super::compile::Compiled;
use super::data::Data;
use super::fit::Shuffle;
use super::generator::{Batch, Cursor, Generated};
use super::weights::{ClassWeight, SampleWeight};
use crate::error::{Error, Result};
use crate::models::Model;
use crate::output::Output;
use crate::random;
use std::sync::Arc;

/// How data is cut into batches: by their size or by their number.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) doing: &'static str,
    pub(crate) batch_size: Option<usize>,
    pub(crate) steps: Option<usize>,
    pub(crate) reading: Reading,
}

impl Sizes {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |expected: &str, received: String| {
            Err(Error::value(self.doing, expected, received).advice("leave out what shall be the default"))
        };
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

/// What callbacks and progress count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Samples.
    Samples,
    /// Passes over all of the data, each as one batch.
    Repeats,
    /// Batches of any size.
    Batches,
}

/// The batches of one pass over some data, again and again.
pub(crate) trait Batches {
    /// Puts the samples into the order of the pass after, as the start of each pass does.
    fn shuffle(&mut self) {}

    /// Starts a pass.
    fn begin(&mut self) -> Result<()>;

    /// The next batch of the pass; `None` at its end.
    fn next(&mut self) -> Result<Option<Feeds>>;

    /// Whether the pass is at its end.
    fn is_over(&self) -> bool;

    /// What is counted.
    fn counted(&self) -> Counted;

    /// The samples of a pass where they are counted, else its batches.
    fn len(&self) -> usize;

    /// Samples per batch, where that was said.
    fn batch_size(&self) -> Option<usize> {
        None
    }

    /// From the next pass on as many samples per batch as were trained on together last.
    fn set_batch_size(&mut self, _: usize) {}
}

/// Every sample once, in batches of one size and what is left over.
pub(crate) struct Once {
    cut: Arc<Cut>,
    shuffle: Shuffle,
    reading: Reading,
    next: usize,
    /// Of samples that are not in memory.
    ahead: Option<Ahead<Feeds>>,
}

/// Samples in their order, cut into batches.
#[derive(Clone)]
struct Cut {
    samples: Samples,
    batch_size: usize,
    /// Shuffled further from pass to pass, as in Keras. Nothing: as given.
    order: Option<Vec<usize>>,
}

impl Cut {
    fn len(&self) -> usize {
        self.samples.count.div_ceil(self.batch_size)
    }

    fn batch(&self, number: usize) -> Result<Feeds> {
        let start = number * self.batch_size;
        let stop = start.saturating_add(self.batch_size).min(self.samples.count);
        match &self.order {
            None => self.samples.rows(start, stop),
            Some(order) => self.samples.take(order.get(start..stop).unwrap_or_default()),
        }
    }
}

impl Once {
    pub(crate) fn new(samples: Samples, batch_size: usize, shuffle: Shuffle, reading: Reading) -> Self {
        let order = (shuffle != Shuffle::None).then(|| (0..samples.count).collect());
        Self { cut: Arc::new(Cut { samples, batch_size, order }), shuffle, reading, next: 0, ahead: None }
    }
}

impl Batches for Once {
    fn begin(&mut self) -> Result<()> {
        self.next = 0;
        self.shuffle();
        if self.cut.samples.is_stored() {
            let cut = self.cut.clone();
            self.ahead =
                Some(Ahead::new(self.reading, cut.len(), Arc::new(move |number| cut.batch(number)))?);
        }
        Ok(())
    }

    fn shuffle(&mut self) {
        // The threads of the pass before hold its order.
        self.ahead = None;
        let size = self.cut.batch_size;
        let Some(order) = &mut Arc::make_mut(&mut self.cut).order else { return };
        match self.shuffle {
            Shuffle::None => {}
            Shuffle::Samples => random::with_order(|random| random.shuffle(order)),
            Shuffle::Batches => {
                // Whole batches change places; what is left over stays last.
                let rest = order.split_off(order.len() / size * size);
                let mut batches: Vec<&[usize]> = order.chunks(size).collect();
                random::with_order(|random| random.shuffle(&mut batches));
                *order = batches.concat();
                order.extend(rest);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Feeds>> {
        if self.is_over() {
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        match &mut self.ahead {
            Some(ahead) => ahead.next(),
            None => self.cut.batch(number).map(Some),
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.cut.len()
    }

    fn counted(&self) -> Counted {
        Counted::Samples
    }

    fn len(&self) -> usize {
        self.cut.samples.count
    }

    fn batch_size(&self) -> Option<usize> {
        Some(self.cut.batch_size)
    }

    fn set_batch_size(&mut self, size: usize) {
        self.ahead = None;
        Arc::make_mut(&mut self.cut).batch_size = size.max(1);
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
    fn begin(&mut self) -> Result<()> {
        self.next = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Feeds>> {
        if self.is_over() {
            return Ok(None);
        }
        self.next += 1;
        self.samples.whole().map(Some)
    }

    fn is_over(&self) -> bool {
        self.next == self.steps
    }

    fn counted(&self) -> Counted {
        Counted::Repeats
    }

    fn len(&self) -> usize {
        self.steps
    }
}

/// When a pass over generated batches ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After so many batches.
    Steps(usize),
    /// With the batch that reaches so many samples.
    Samples(usize),
    /// After the batches that a sequence has.
    Sequence,
}

/// Batches of a generator.
pub(crate) struct FromGenerator<'a> {
    generated: Generated,
    cursor: Box<dyn Cursor>,
    doing: &'static str,
    until: Until,
    check: Box<dyn Fn(Batch) -> Result<Feeds> + 'a>,
    shuffle: bool,
    /// Samples or batches of this pass.
    goal: usize,
    seen: usize,
    overshot: bool,
}

impl<'a> FromGenerator<'a> {
    /// With the samples of a pass, where they are counted, and whether a sequence is shuffled. `check` makes of a batch
    /// what the model takes.
    pub(crate) fn new(
        generated: &Generated,
        sizes: &Sizes,
        (samples, shuffle): (Option<usize>, bool),
        check: impl Fn(Batch) -> Result<Feeds> + 'a,
    ) -> Result<Self> {
        let doing = sizes.doing;
        let wrong = |expected: &str, received: String| {
            Err(Error::value(doing, expected, received).advice(
                "say how long a pass is by steps, samples or the length of a Sequence, and nothing else",
            ))
        };
        if let Some(size) = sizes.batch_size {
            return wrong(
                "no batch size for data from a generator, whose batches have theirs",
                size.to_string(),
            );
        }
        let until = match (sizes.steps, samples, generated.len()) {
            (Some(steps), Some(samples), _) => {
                return wrong(
                    "a number of steps or of samples",
                    format!("{steps} steps and {samples} samples per epoch"),
                );
            }
            (_, Some(0), _) => return wrong("at least 1 sample per epoch", "0".into()),
            (Some(steps), None, _) => Until::Steps(steps),
            (None, Some(samples), _) => Until::Samples(samples),
            (None, None, Some(0)) => return wrong("a sequence of at least one batch", "none".into()),
            (None, None, Some(_)) => Until::Sequence,
            (None, None, None) => {
                return wrong("a number of steps for a generator, whose length is not known", "none".into());
            }
        };
        Ok(Self {
            generated: generated.clone(),
            cursor: generated.open(sizes.reading, shuffle),
            doing,
            until,
            check: Box::new(check),
            shuffle,
            goal: match until {
                Until::Steps(goal) | Until::Samples(goal) => goal,
                Until::Sequence => generated.len().unwrap_or_default(),
            },
            seen: 0,
            overshot: false,
        })
    }
}

impl Batches for FromGenerator<'_> {
    fn shuffle(&mut self) {
        if self.shuffle
            && let (Until::Sequence, Some(count)) = (self.until, self.generated.len())
        {
            random::with_order(|random| random.shuffle(&mut vec![(); count]));
        }
    }

    fn begin(&mut self) -> Result<()> {
        self.seen = 0;
        if let Until::Sequence = self.until {
            self.goal = self.generated.len().unwrap_or_default();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Feeds>> {
        if self.is_over() {
            return Ok(None);
        }
        let Some(batch) = self.cursor.next()? else {
            let unit = if self.counted() == Counted::Samples { "samples" } else { "batches" };
            return Err(Error::value(
                self.doing,
                format!("{} {unit} from the generator in every pass", self.goal),
                format!("an end after {} {unit} of one", self.seen),
            )
            .advice("let the generator go on for ever, or ask for fewer"));
        };
        let feeds = (self.check)(batch)?;
        self.seen += if self.counted() == Counted::Samples { feeds.count } else { 1 };
        if self.seen > self.goal && !self.overshot {
            self.overshot = true;
            Output::current().warning(
                "Epoch comprised more than `samples_per_epoch` samples, which might affect learning results. \
                 Set `samples_per_epoch` correctly to avoid this warning.",
            );
        }
        Ok(Some(feeds))
    }

    fn is_over(&self) -> bool {
        self.seen >= self.goal
    }

    fn counted(&self) -> Counted {
        match self.until {
            Until::Samples(_) => Counted::Samples,
            Until::Steps(_) | Until::Sequence => Counted::Batches,
        }
    }

    fn len(&self) -> usize {
        self.goal
    }
}

impl Model {
    /// The batches of arrays.
    pub(crate) fn batches(
        &self,
        samples: Samples,
        sizes: &Sizes,
        shuffle: Shuffle,
    ) -> Result<Box<dyn Batches>> {
        if let Some(steps) = sizes.steps {
            self.check_fixed_batch(samples.count, samples.count, false)?;
            return Ok(Box::new(Whole::new(samples, steps)));
        }
        let batch_size = self.batch_size(sizes.batch_size)?;
        self.check_fixed_batch(samples.count, batch_size, false)?;
        Ok(Box::new(Once::new(samples, batch_size, shuffle, sizes.reading)))
    }

    /// The batches of a generator.
    pub(crate) fn generated<'a>(
        &'a self,
        compiled: &'a Compiled,
        generated: &Generated,
        sizes: &Sizes,
        order: (Option<usize>, bool),
        class_weight: Option<&'a ClassWeight>,
    ) -> Result<Box<dyn Batches + 'a>> {
        let check = move |batch: Batch| {
            let weight = batch.sample_weight.as_ref();
            let batch = self.samples(compiled, batch.x, batch.y, weight, class_weight)?;
            self.check_fixed_batch(batch.count, batch.count, false)?;
            batch.whole()
        };
        Ok(Box::new(FromGenerator::new(generated, sizes, order, check)?))
    }
}

/// An error if there is something beside a generator that comes out of it.
pub(crate) fn check_alone(doing: &str, y: &Data, sample_weight: Option<&SampleWeight>) -> Result<()> {
    let received = match sample_weight {
        _ if !y.is_empty() => "y",
        Some(_) => "sample_weight",
        None => return Ok(()),
    };
    let expected = "data from a generator alone, which gives targets and weights with the inputs";
    Err(Error::value(doing, expected, received).advice("let the generator yield (x, y) or (x, y, weights)"))
}
