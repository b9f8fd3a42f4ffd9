//! [`Order`]: where the stream that orders a model's batches stands, so that a saved run can go on.

use crate::random::{self, RandomState};

/// What a model remembers of the stream that orders its batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    /// The last run of `fit`: its first epoch, and the stream before it.
    pub(crate) run: Option<(usize, RandomState)>,
    /// What a file says, until the next run.
    pub(crate) resumed: Option<Resumed>,
}

/// The stream of a saved model.
#[derive(Debug, Clone)]
pub(crate) struct Resumed {
    /// The stream as it was saved.
    pub(crate) now: RandomState,
    /// How often the process had been seeded: a later seed wins.
    seeded: u64,
}

impl Order {
    /// Of a file.
    pub(crate) fn resumed(now: RandomState, run: Option<(usize, RandomState)>) -> Self {
        Self { run, resumed: Some(Resumed { now, seeded: random::seeded() }) }
    }

    /// Whether the next run goes on with the stream of a file.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed.as_ref().is_some_and(|resumed| resumed.seeded == random::seeded())
    }

    /// Begins a run at that epoch. A loaded model goes on with the stream of its file; where the run only goes on with
    /// the one that was saved, `shuffle` does again what that did in the epochs before.
    pub(crate) fn begin(&mut self, epoch: usize, mut shuffle: impl FnMut()) {
        let resumed = self.resumed.take().filter(|resumed| resumed.seeded == random::seeded());
        match (resumed, &self.run) {
            (Some(_), Some((first, start))) if *first < epoch => {
                random::with_order(|order| *order = start.clone());
                (*first..epoch).for_each(|_| shuffle());
            }
            (resumed, _) => {
                if let Some(resumed) = resumed {
                    random::with_order(|order| *order = resumed.now);
                }
                self.run = Some((epoch, random::with_order(|order| order.clone())));
            }
        }
    }
}
