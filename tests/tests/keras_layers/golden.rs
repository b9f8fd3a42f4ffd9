//! 113 configurations of Keras's layers, as Keras 2.2.4 and 2.3.1 computed them.

use super::case::{Case, cases_of, close, for_every, run_case};
use crate::fixtures::Fixture;
use keras_core::semantics::Semantics;
use std::sync::LazyLock;

static KERAS_2_3: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("golden_layers_2_3_1"));
static KERAS_2_2: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("golden_layers_2_2_4"));

fn agrees(case: &Case) -> Result<(), String> {
    for (i, found) in run_case(case)?.iter().enumerate() {
        close(&format!("output {i}"), found, case.array(&format!("test/output_{i}")))?;
    }
    Ok(())
}

#[test]
fn layers_of_2_3_compute_what_they_did() {
    assert_eq!(KERAS_2_3.cases().len(), 113);
    for_every(cases_of(&KERAS_2_3, Semantics::keras_2_3()), agrees);
}

#[test]
fn layers_of_2_2_compute_what_they_did() {
    assert_eq!(KERAS_2_2.cases().len(), 113);
    for_every(cases_of(&KERAS_2_2, Semantics::keras_2_2()), agrees);
}
