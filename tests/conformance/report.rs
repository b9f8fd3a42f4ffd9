//! [`Report`]: what a run of the suite found.

use crate::check::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One case that went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The case: operation, element types and shapes of the operands, title.
    pub case: String,
    /// The name of the operation.
    pub op: &'static str,
    /// How the operands lay in memory, and whether they could be overwritten.
    pub layout: String,
    /// Output and position of the worst element; empty if the failure is of another kind.
    pub index: Vec<usize>,
    /// What the reference has.
    pub expected: String,
    /// What the backend has.
    pub received: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.case, self.layout)?;
        if !self.index.is_empty() {
            write!(f, " at {:?}", self.index)?;
        }
        write!(f, ": expected {}, received {}", self.expected, self.received)
    }
}

/// What a run of the suite found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The backend.
    pub backend: String,
    /// The number of cases that passed.
    pub passed: usize,
    /// How many cases did not apply, by reason.
    pub skipped: BTreeMap<String, usize>,
    /// The operations that agreed as parts of programs, on operands with elements, and what the backend does with them.
    pub reached: BTreeSet<(&'static str, &'static str)>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// Failures on the list of ignored ones.
    pub ignored: Vec<Failure>,
    /// Entries of that list under which nothing failed.
    pub stale: Vec<String>,
}

impl Report {
    pub(crate) fn new(backend: &str) -> Self {
        Self { backend: backend.to_owned(), ..Self::default() }
    }

    /// Whether everything passed and no entry of the list of ignored cases is stale.
    pub fn is_ok(&self) -> bool {
        self.failures.is_empty() && self.stale.is_empty() && self.passed > 0
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped(reason) => *self.skipped.entry(reason).or_default() += 1,
            Outcome::Failed(failure) => self.failures.push(*failure),
        }
    }

    pub(crate) fn ignore(&mut self, prefixes: &[&str]) {
        let listed = |failure: &Failure| prefixes.iter().any(|prefix| failure.case.starts_with(prefix));
        let (ignored, failures) = std::mem::take(&mut self.failures).into_iter().partition(listed);
        (self.ignored, self.failures) = (ignored, failures);
        let failed = |prefix: &&&str| self.ignored.iter().any(|failure| failure.case.starts_with(**prefix));
        self.stale =
            prefixes.iter().filter(|prefix| !failed(prefix)).map(|prefix| (*prefix).to_owned()).collect();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PER_OPERATION: usize = 4;
        writeln!(
            f,
            "backend {}: {} cases passed, {} failed, {} ignored",
            self.backend,
            self.passed,
            self.failures.len(),
            self.ignored.len()
        )?;
        for (reason, count) in &self.skipped {
            writeln!(f, "  {count} skipped: {reason}")?;
        }
        for prefix in &self.stale {
            writeln!(f, "  remove from the list of ignored cases: {prefix}")?;
        }
        let operations: BTreeSet<&str> = self.failures.iter().map(|failure| failure.op).collect();
        for op in operations {
            let of: Vec<&Failure> = self.failures.iter().filter(|failure| failure.op == op).collect();
            for failure in of.iter().take(PER_OPERATION) {
                writeln!(f, "  {failure}")?;
            }
            if of.len() > PER_OPERATION {
                writeln!(f, "  … and {} more of {op}", of.len() - PER_OPERATION)?;
            }
        }
        Ok(())
    }
}
