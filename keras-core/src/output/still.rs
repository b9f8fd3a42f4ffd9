//! What stands for a line under change where the feature `progress` is left out: there is none.

use super::Output;

/// The line that there is not.
pub(crate) enum Live {}

impl Live {
    /// None, on any output.
    pub(crate) fn open(_: &Output) -> Option<Self> {
        None
    }

    pub(crate) fn show(&self, _: &str) {
        match *self {}
    }

    pub(crate) fn clear(self) {
        match self {}
    }
}

/// Writes.
pub(super) fn beside(write: impl FnOnce()) {
    write();
}
