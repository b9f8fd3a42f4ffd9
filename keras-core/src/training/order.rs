//! [`Order`]: where the stream that orders a model's batches stands, so that a saved run can go on.

use crate::random::{self, RandomState};

/// What a model remembers of the stream that orders its batches.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    /// The last run of `fit`.
    pub(crate) run: Option<Run>,
    /// What a file says, until the next run.
    pub(crate) resumed: Option<Resumed>,
}

/// A run of `fit`.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Its first epoch.
    pub(crate) first: usize,
    /// The epoch after the last that began; where that is not known, none.
    pub(crate) next: Option<usize>,
    /// The stream before it.
    pub(crate) start: RandomState,
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
    pub(crate) fn resumed(now: RandomState, run: Option<Run>) -> Self {
        Self { run, resumed: Some(Resumed { now, seeded: random::seeded() }) }
    }

    /// Whether the next run goes on with the stream of a file.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resumed.as_ref().is_some_and(|resumed| resumed.seeded == random::seeded())
    }

    /// Begins a run at that epoch. A loaded model goes on with the stream of its file; where the run only goes on with
    /// the one that was saved, `shuffle` does again what that did in the epochs before, as far as it had come.
    pub(crate) fn begin(&mut self, epoch: usize, mut shuffle: impl FnMut()) {
        let resumed = self.resumed.take().filter(|resumed| resumed.seeded == random::seeded());
        match (resumed, &self.run) {
            (Some(_), Some(run)) if run.first < epoch => {
                random::with_order(|order| *order = run.start.clone());
                (run.first..run.next.map_or(epoch, |next| next.min(epoch))).for_each(|_| shuffle());
            }
            (resumed, _) => {
                if let Some(resumed) = resumed {
                    random::with_order(|order| *order = resumed.now);
                }
                let start = random::with_order(|order| order.clone());
                self.run = Some(Run { first: epoch, next: Some(epoch), start });
            }
        }
    }

    /// An epoch of the run begins.
    pub(crate) fn begin_epoch(&mut self, epoch: usize) {
        if let Some(run) = &mut self.run {
            run.next = Some(epoch + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;
    use crate::random;

    #[test]
    fn a_resumed_run_shuffles_as_often_as_it_had() {
        let mut saved = Order::default();
        saved.begin(2, || {});
        (2..5).for_each(|epoch| saved.begin_epoch(epoch));
        let now = random::with_order(|order| order.clone());
        for (epoch, expected) in [(2, 0), (3, 1), (5, 3), (1_000_000_000_000, 3)] {
            let mut order = Order::resumed(now.clone(), saved.run.clone());
            let mut count = 0;
            order.begin(epoch, || count += 1);
            assert_eq!(count, expected, "{epoch}");
        }
    }
}
