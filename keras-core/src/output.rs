//! [`Output`]: where progress and the messages of callbacks go.

#[cfg(feature = "progress")]
mod live;
#[cfg(not(feature = "progress"))]
#[path = "output/still.rs"]
mod live;

pub(crate) use live::Live;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Where progress and the messages of callbacks go: stdout, as in Keras, unless [`Output::set`] says otherwise.
///
/// With `verbose` 1 a live progress bar is drawn, on a terminal only: anywhere else nothing is written, and without the cargo
/// feature `progress` only its last state. With `verbose` 2 one line
/// per epoch is written, wherever the output goes. Messages asked for by a callback's own `verbose` are always written. Warnings
/// go to stderr, or to the [`Output::writer`] in force.
///
/// An output that is closed or full never stops a training: what cannot be written is lost.
#[derive(Clone, Default)]
pub enum Output {
    /// The standard output.
    #[default]
    Stdout,
    /// The standard error, for a program whose standard output is its result.
    Stderr,
    /// Nowhere.
    Silent,
    /// A writer of the program's own, taken for no terminal; made by [`Output::writer`].
    Writer(Arc<Mutex<dyn Write + Send>>),
}

static OUTPUT: RwLock<Output> = RwLock::new(Output::Stdout);
thread_local! {
    static SCOPE: RefCell<Option<Output>> = const { RefCell::new(None) };
}

impl Output {
    /// An output into a writer: a log file, a text field.
    ///
    /// ```
    /// use keras_core::training::Output;
    /// use std::sync::{Arc, Mutex};
    /// let text = Arc::new(Mutex::new(Vec::new()));
    /// Output::Writer(text.clone()).during(|| Output::current().line("Epoch 1/12"));
    /// assert_eq!(*text.lock().unwrap(), b"Epoch 1/12\n");
    /// ```
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self::Writer(Arc::new(Mutex::new(writer)))
    }

    /// The output in force: the one of the enclosing [`Output::during`] of this thread, else the process's.
    pub fn current() -> Self {
        let scoped = SCOPE.with_borrow(Clone::clone);
        scoped.unwrap_or_else(|| OUTPUT.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Makes this the output of the process.
    pub fn set(self) {
        *OUTPUT.write().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// Makes this the output of the current thread while `f` runs.
    pub fn during<T>(self, f: impl FnOnce() -> T) -> T {
        struct Restore(Option<Output>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPE.set(self.0.take());
            }
        }
        let _restore = Restore(SCOPE.replace(Some(self)));
        f()
    }

    /// Whether it is a terminal, where a progress bar can be drawn.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
            Self::Silent | Self::Writer(_) => false,
        }
    }

    /// Whether what belongs to progress at this `verbose` is shown: never at 0, on a terminal at 1, always above.
    pub fn shows(&self, verbose: u8) -> bool {
        match verbose {
            0 => false,
            1 => self.is_terminal(),
            _ => !matches!(self, Self::Silent),
        }
    }

    /// Writes a line, above the live bar if there is one.
    pub fn line(&self, text: &str) {
        match self {
            Self::Stdout => live::beside(|| write_line(&mut io::stdout().lock(), text)),
            Self::Stderr => live::beside(|| write_line(&mut io::stderr().lock(), text)),
            Self::Silent => {}
            Self::Writer(writer) => {
                write_line(&mut *writer.lock().unwrap_or_else(PoisonError::into_inner), text);
            }
        }
    }

    /// Writes a line that belongs to progress, such as "Train on 60000 samples, validate on 10000 samples", where [`Output::shows`] says so.
    pub fn progress(&self, verbose: u8, text: &str) {
        if self.shows(verbose) {
            self.line(text);
        }
    }

    /// Writes `warning: <text>`, to stderr unless this is a writer.
    pub fn warning(&self, text: &str) {
        let stream = if matches!(self, Self::Writer(_)) { self } else { &Self::Stderr };
        stream.line(&format!("warning: {text}"));
    }
}

fn write_line(stream: &mut dyn Write, text: &str) {
    // One call, so that lines of several threads do not mix.
    let _ = stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush());
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "Stdout",
            Self::Stderr => "Stderr",
            Self::Silent => "Silent",
            Self::Writer(_) => "Writer",
        })
    }
}

/// Runs `f` and hands back what it wrote to the output of this thread.
#[cfg(test)]
pub(crate) fn captured<T>(f: impl FnOnce() -> T) -> (T, String) {
    let text = Arc::new(Mutex::new(Vec::new()));
    let value = Output::Writer(text.clone()).during(f);
    let bytes = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (value, String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_with_its_closure_even_in_a_panic() {
        let ((), text) = captured(|| {
            Output::current().line("outer");
            let ((), inner) = captured(|| Output::current().line("inner"));
            assert_eq!(inner, "inner\n");
            let panicked = std::panic::catch_unwind(|| {
                Output::Silent.during(|| std::panic::resume_unwind(Box::new(())))
            });
            assert!(panicked.is_err());
            Output::current().warning("again");
        });
        assert_eq!(text, "outer\nwarning: again\n");
    }

    #[test]
    fn another_thread_keeps_the_output_of_the_process() {
        let ((), text) = captured(|| {
            let other = std::thread::spawn(|| format!("{:?}", Output::current()));
            assert_eq!(other.join().ok().as_deref(), Some("Stdout"));
            assert_eq!(format!("{:?}", Output::current()), "Writer");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn progress_is_for_terminals_at_1_and_for_everyone_at_2() {
        let ((), text) = captured(|| {
            for verbose in 0..=2 {
                Output::current().progress(verbose, &format!("verbose {verbose}"));
            }
        });
        assert_eq!(text, "verbose 2\n");
        assert!(!Output::Silent.shows(2) && !Output::Silent.is_terminal());
    }
}
