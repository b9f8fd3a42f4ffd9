//! Wrong calls: what Keras 2.3.1 refuses is refused here, no later, in words that say what to do.

mod arguments;
mod layers;
mod models;
mod spelling;

use crate::fixtures::Fixture;
use keras_core::Result;
use keras_core::error::Report;
use std::collections::BTreeSet;

/// How far a model has come when a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// A layer is defined and called: one expression, `Dense::new(3).call(&x)?`, whose builder reports at its end.
    Layer,
    /// Layers become a model.
    Model,
    Compile,
    /// Everything that is done with what stands: training, states, weights.
    Run,
}

impl Stage {
    /// The stage of a function of Keras.
    fn of_keras(verb: &str) -> Self {
        match verb.rsplit('.').next().unwrap() {
            "__init__" if verb.starts_with("Model.") || verb.starts_with("Sequential.") => Self::Model,
            "__init__" | "__call__" | "deserialize" => Self::Layer,
            "model_from_json" => Self::Model,
            "compile" => Self::Compile,
            _ => Self::Run,
        }
    }
}

/// A wrong call of ours: its name in the fixture, and parts of the message: where it happened (of a layer, with its
/// name), what was expected, what was received, what to do.
struct Row {
    name: &'static str,
    place: &'static str,
    expected: &'static str,
    received: &'static str,
    advice: &'static str,
    report: Option<Report>,
}

fn row<T>(
    name: &'static str,
    place: &'static str,
    expected: &'static str,
    received: &'static str,
    advice: &'static str,
    outcome: Result<T>,
) -> Row {
    Row { name, place, expected, received, advice, report: outcome.err().map(|error| error.report().clone()) }
}

/// Whether a text holds a part, whose words and numbers are whole words and numbers there: no "3" in "83", "-3" or "3.5".
fn holds(text: &str, part: &str) -> bool {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let starts = part.starts_with(word);
    let (ends, number) = (part.ends_with(word), part.ends_with(|letter: char| letter.is_ascii_digit()));
    !part.is_empty()
        && text.match_indices(part).any(|(at, _)| {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            let mut after = text[at + part.len()..].chars();
            let after = (after.next().unwrap_or(' '), after.next().unwrap_or(' '));
            let digits_follow = number && after.0 == '.' && after.1.is_ascii_digit();
            !(starts && (word(before) || before == '-') || ends && (word(after.0) || digits_follow))
        })
}

/// What is wrong with a row's message.
fn complaint(row: &Row) -> Option<String> {
    let Some(report) = &row.report else { return Some("it is no error".into()) };
    let lacks = |part: &str, text: &str, wanted: &str| {
        (!holds(text, wanted)).then(|| format!("{part} does not say {wanted:?}: {report}"))
    };
    lacks("the place", &report.doing, row.place)
        .or_else(|| lacks("what was expected", &report.expected, row.expected))
        .or_else(|| lacks("what was received", &report.received, row.received))
        .or_else(|| lacks("what to do", &report.advice, row.advice))
}

#[test]
fn what_keras_refuses_is_refused_no_later_and_says_what_to_do() {
    let fixture = Fixture::load("wrong_2_3_1");
    let stages = [
        (Stage::Layer, layers::rows()),
        (Stage::Layer, arguments::rows()),
        (Stage::Layer, models::calling()),
        (Stage::Model, models::building()),
        (Stage::Compile, models::compiling()),
        (Stage::Run, models::running()),
    ];
    let mut failures = Vec::new();
    let mut open: BTreeSet<&str> =
        fixture.cases().iter().map(|case| case["name"].as_str().unwrap()).collect();
    let mut refused = 0;
    for (stage, rows) in stages {
        for row in rows {
            failures.extend(complaint(&row).map(|complaint| format!("{}: {complaint}", row.name)));
            let known = fixture.cases().iter().find(|case| case["name"] == row.name);
            let case = known.unwrap_or_else(|| panic!("{}: nothing is recorded", row.name));
            assert!(open.remove(row.name), "{} twice", row.name);
            let Some(verb) = case["verb"].as_str() else { continue };
            refused += 1;
            if stage > Stage::of_keras(verb) {
                failures.push(format!("{}: at {stage:?}, but in Keras in {verb}", row.name));
            }
        }
    }
    failures.extend(open.iter().map(|name| format!("{name}: nobody calls it")));
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
    assert!(refused >= 180, "Keras refuses {refused}");
}

#[test]
fn layers_refuse_arguments_that_are_no_numbers() {
    let complaints: Vec<String> = layers::not_numbers()
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.name, complaint(row)?)))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
