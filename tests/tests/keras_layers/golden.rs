//! 113 configurations of Keras's layers, as Keras 2.2.4 and 2.3.1 computed them.

use super::case::{Case, cases_of, close, for_every, run_case};
use super::parity::on_every_backend;
use crate::fixtures::Fixture;
use keras_core::backend::{Backend, Engine};
use keras_core::semantics::Semantics;
use std::sync::LazyLock;

static KERAS_2_3: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("golden_layers_2_3_1"));
static KERAS_2_2: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("golden_layers_2_2_4"));

fn cases() -> impl Iterator<Item = Case> {
    assert_eq!((KERAS_2_3.cases().len(), KERAS_2_2.cases().len()), (113, 113));
    let earlier = cases_of(&KERAS_2_2, Semantics::keras_2_2());
    cases_of(&KERAS_2_3, Semantics::keras_2_3()).chain(earlier)
}

fn agrees<B: Backend>(backend: B, cases: impl Iterator<Item = Case>) {
    let engine = Engine::new(backend).unwrap();
    for_every(cases, |case| {
        for (i, found) in run_case(case, &engine)?.iter().enumerate() {
            close(&format!("output {i}"), found, case.array(&format!("test/output_{i}")))?;
        }
        Ok(())
    });
}

on_every_backend!(cases());
