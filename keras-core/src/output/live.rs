//! A line under change at the bottom of a terminal.

use super::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, WeakProgressBar};
use std::sync::{Mutex, PoisonError};

/// The bar on screen: other lines of this process are written above it.
static LIVE: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// The line.
pub(crate) struct Live(ProgressBar);

impl Live {
    /// One for an output; `None` where nothing is drawn.
    pub(crate) fn open(output: &Output) -> Option<Self> {
        // The caller says when to draw; at its highest rate indicatif drops none of those drawings.
        let target = match output {
            Output::Stdout => ProgressDrawTarget::stdout_with_hz(255),
            Output::Stderr => ProgressDrawTarget::stderr_with_hz(255),
            Output::Silent | Output::Writer(_) => return None,
        };
        if target.is_hidden() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, target);
        // Cut at the right margin while it moves.
        bar.set_style(
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
        Some(Self(bar))
    }

    /// Shows a text in place of the one before.
    pub(crate) fn show(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }

    /// Leaves the line empty.
    pub(crate) fn clear(self) {
        self.0.finish_and_clear();
    }
}

/// Writes above the line on screen, if there is one.
pub(super) fn beside(write: impl FnOnce()) {
    let live =
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    match live {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
