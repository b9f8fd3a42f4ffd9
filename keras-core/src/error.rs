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

    /// A name that is none of those known, with the ones that come close as advice.
    ///
    /// ```
    /// # use keras_core::Error;
    /// let error = Error::unknown("get_layer", "desne_1", ["input_1", "dense_1"]);
    /// assert_eq!(
    ///     error.to_string(),
    ///     "get_layer: expected one of input_1, dense_1, received \"desne_1\"; did you mean \"dense_1\"?"
    /// );
    /// ```
    pub fn unknown<'a>(
        doing: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let expected =
            if known.is_empty() { "no name".into() } else { format!("one of {}", known.join(", ")) };
        Self::name(doing, expected, format!("{name:?}")).suggest(name, known)
    }

    /// Puts in front of the advice the question whether a known name was meant, if some come close to this one.
    pub fn suggest<'a>(mut self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        if let Some(question) = did_you_mean(name, known) {
            let advice = &mut self.report_mut().advice;
            *advice = if advice.is_empty() { question } else { format!("{question} {advice}") };
        }
        self
    }

    /// Says in front of the message where it happened: `within("layer dense_1")`.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        let report = self.report_mut();
        report.doing = format!("{place}: {}", report.doing);
        self
    }
}

/// The known names that a misspelt one comes close to, the nearest first; three at most. Of names that differ in
/// case and underscores alone, the one that is written more alike.
///
/// ```
/// # use keras_core::error::nearest;
/// assert_eq!(nearest("adma", ["SGD", "sgd", "Adam", "adam", "Adamax", "adamax"]), ["adam", "adamax"]);
/// assert!(nearest("softmax", ["Adam", "SGD"]).is_empty());
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    /// The similarity of names that one would not take for each other, such as `val_loss` and `loss`, is below.
    const ALIKE: f64 = 0.78;
    /// A longer text is not a misspelt name.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return Vec::new();
    }
    let plain = |name: &str| name.to_lowercase().replace('_', "");
    let bare = plain(name);
    // In short names one slip of the finger leaves little that is alike.
    let alike = |a: &str, b: &str| {
        let slip = a.len() > 1 && strsim::damerau_levenshtein(a, b) == 1;
        let alike = strsim::jaro_winkler(a, b);
        if slip { alike.max(0.95) } else { alike }
    };
    let mut found: Vec<(f64, f64, &str)> = known
        .into_iter()
        .map(|known| (alike(&bare, &plain(known)), strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _, _)| *alike >= ALIKE)
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut names: Vec<&str> = Vec::new();
    for (_, _, known) in found {
        if names.len() < 3 && names.iter().all(|name| plain(name) != plain(known)) {
            names.push(known);
        }
    }
    names
}

/// The question whether one of the names that come close was meant, if some do.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names = nearest(name, known);
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}
