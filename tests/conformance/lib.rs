//! The conformance suite: every operation × element type × shapes, run on a backend and compared with
//! [`Reference`](keras_core::backend::reference::Reference) within the bounds of its
//! [`tolerance`](keras_core::backend::reference::tolerance) table.
//!
//! A backend's crate calls [`run`] in one test:
//!
//! ```
//! use keras_core::backend::contrary::Contrary;
//! let report = conformance::run_matching(&Contrary, "permute");
//! assert!(report.is_ok(), "{report}");
//! ```
//!
//! Every case runs with operands in several layouts (as uploaded, transposed, strided, reversed, broadcast, all made
//! by the backend itself), with operands that may and that may not be overwritten. Operands that may not be must
//! keep their bits, and results that are no views must have memory of their own.

mod apply;
mod case;
mod cases;
mod check;
mod compare;
mod differentiated;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod faulty;
mod generated;
pub mod hostile;
mod report;

pub use case::{Case, Computation, Expected, Numbers};
pub use check::{Outcome, check};
pub use differentiated::run_differentiated;
pub use report::{Failure, Report};

use keras_core::backend::Backend;

/// The table: every operation with the element types it takes, and the shapes and values where backends err.
pub fn cases() -> Vec<Case> {
    cases::all()
}

/// Runs the table and the generated cases.
pub fn run<B: Backend>(backend: &B) -> Report {
    run_except(backend, &[])
}

/// Runs all but the cases whose names begin with one of `ignored`. A prefix under which nothing fails (any more) is
/// reported as a failure of the list, so that it shrinks.
pub fn run_except<B: Backend>(backend: &B, ignored: &[&str]) -> Report {
    let mut report = Report::new(backend.name());
    for case in &cases() {
        report.add(check(backend, case));
    }
    generated::run(&mut report, "", |case| Some(check(backend, case)));
    report.ignore(ignored);
    report
}

/// Runs the cases whose names contain `part`.
pub fn run_matching<B: Backend>(backend: &B, part: &str) -> Report {
    let mut report = Report::new(backend.name());
    for case in cases().iter().filter(|case| case.name().contains(part)) {
        report.add(check(backend, case));
    }
    generated::run(&mut report, part, |case| Some(check(backend, case)));
    report
}
