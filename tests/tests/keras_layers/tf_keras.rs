//! Layers against tf.keras 2.15: those that Keras 2.3 lacks, and those that compute otherwise.

use super::case::{Case, cases_of, for_every};
use super::parity::{agrees, has_names_shapes_and_order, on_every_backend, starts};
use crate::fixtures::Fixture;
use keras_core::layers::deserialize;
use keras_core::semantics::Semantics;
use std::sync::LazyLock;

static TF_KERAS: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("layers_2_15"));

static ATTENTION: LazyLock<Fixture> = LazyLock::new(|| Fixture::load("attention_2_15"));

pub(super) fn cases() -> impl Iterator<Item = Case> {
    [&TF_KERAS, &ATTENTION].into_iter().flat_map(|fixture| cases_of(fixture, Semantics::tf_keras()))
}

on_every_backend!(cases());

/// Of recurrent layers, tf.keras puts the cell's name between the layer's and the weight's: of files, `files` tests that.
#[test]
fn weights_have_tf_keras_s_names_shapes_and_order() {
    let recurrent = |case: &Case| case.json["weights"].to_string().contains("_cell");
    for_every(cases().filter(|case| !recurrent(case)), has_names_shapes_and_order);
}

#[test]
fn weights_start_as_tf_keras_s_do() {
    for_every(cases().filter(|case| case.json["initial"] == true), starts);
}

/// The keys that both write hold the same; what only tf.keras writes was read.
#[test]
fn configs_are_read_and_come_back() {
    for_every(cases(), |case| {
        let (written, read) = (case.config(), case.layer().config());
        if deserialize(&read).map_err(|error| error.to_string())?.config()
            != deserialize(&written).unwrap().config()
        {
            return Err(format!("{read:?} is not {written:?}"));
        }
        for (key, value) in &written.config {
            let simple = !value.is_object() && !value.is_array();
            if simple
                && read.config.get(key).is_some_and(|own| own != value && own.as_f64() != value.as_f64())
            {
                return Err(format!("{key} is {} instead of {value}", read.config[key]));
            }
        }
        Ok(())
    });
}
