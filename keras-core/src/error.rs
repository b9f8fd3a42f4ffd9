//! The one error type. A message says what was being done, what was expected, what was received and what to do.

use std::fmt;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, sorted by what a program may want to do about it; every variant carries a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes, or a shape and a rule, do not fit.
    #[error("{0}")]
    Shape(Box<Report>),
    /// An element type that the operation does not take.
    #[error("{0}")]
    DType(Box<Report>),
    /// An argument outside its domain: a negative rate, a batch size of 0, NaN.
    #[error("{0}")]
    Value(Box<Report>),
    /// A name nobody registered: a layer, an activation, a loss, a backend.
    #[error("{0}")]
    Name(Box<Report>),
    /// A verb at the wrong time: `fit` before `compile`, weights of a layer that was not built.
    #[error("{0}")]
    State(Box<Report>),
    /// A file that is missing, unreadable or malformed.
    #[error("{0}")]
    File(Box<Report>),
    /// The backend failed, or lacks what was asked of it.
    #[error("{0}")]
    Backend(Box<Report>),
}

/// The four parts of a message, displayed as
/// `<doing>: expected <expected>, received <received>; <advice>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was being done, with the name of the layer or operation.
    pub doing: String,
    /// What would have been right.
    pub expected: String,
    /// What was there instead.
    pub received: String,
    /// What to do, where that is not obvious from the rest; else empty.
    pub advice: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, received {}", self.doing, self.expected, self.received)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name(
                doing: impl Into<String>,
                expected: impl Into<String>,
                received: impl Into<String>,
            ) -> Self {
                Self::$variant(Box::new(Report {
                    doing: doing.into(),
                    expected: expected.into(),
                    received: received.into(),
                    advice: String::new(),
                }))
            })*

            /// The parts of the message.
            pub fn report(&self) -> &Report {
                match self { $(Self::$variant(report) => report),* }
            }

            fn report_mut(&mut self) -> &mut Report {
                match self { $(Self::$variant(report) => report),* }
            }
        }
    };
}

constructors! {
    /// Shapes that do not fit.
    shape => Shape,
    /// An element type that is not taken.
    dtype => DType,
    /// An argument outside its domain.
    value => Value,
    /// An unknown name.
    name => Name,
    /// A verb at the wrong time.
    state => State,
    /// A file that cannot be read or written.
    file => File,
    /// A backend that failed or lacks something.
    backend => Backend,
}

impl Error {
    /// Adds what to do about it.
    ///
    /// ```
    /// # use keras_core::Error;
    /// let error = Error::value("fit", "a batch size of at least 1", "0").advice("use batch_size(32)");
    /// assert_eq!(error.to_string(), "fit: expected a batch size of at least 1, received 0; use batch_size(32)");
    /// ```
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.report_mut().advice = advice.into();
        self
    }

    /// Says in front of the message where it happened: `within("layer dense_1")`.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        let report = self.report_mut();
        report.doing = format!("{place}: {}", report.doing);
        self
    }
}
