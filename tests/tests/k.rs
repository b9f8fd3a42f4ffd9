//! Keras's backend functions against Keras 2.3.1: every name has values and gradients in [`values`], behaviour in
//! [`behaviour`], or a reason in docs/k.md.

mod behaviour;
mod values;
mod wrong;

use crate::fixtures::Fixture;
use std::collections::BTreeSet;

/// The functions of Keras's backend on TensorFlow, those that only its modules export included.
const NAMES: usize = 163;

/// At most so many may be left out.
const LEFT_OUT: usize = 15;

#[test]
fn every_function_is_tested_or_left_out_for_a_reason() {
    let fixture = Fixture::load("k_2_3_1");
    let names: BTreeSet<&str> =
        fixture.json["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names.len(), NAMES);
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/k.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (there, left_out) = docs.split_once("## Left out").unwrap();
    // Rows of tables start with the names, in Keras's form.
    let rows = |text: &str| -> BTreeSet<String> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let calls = cells.flat_map(|cell| cell.split("`K.").skip(1));
        calls.map(|call| call.split(['(', '`']).next().unwrap().to_owned()).collect()
    };
    let (there, left_out) = (rows(there), rows(left_out));
    assert!(left_out.len() <= LEFT_OUT, "{} are left out", left_out.len());
    let recorded: BTreeSet<&str> =
        fixture.cases().iter().map(|case| case["function"].as_str().unwrap()).collect();
    for &name in &names {
        let valued = values::TABLE.iter().any(|(row, _)| *row == name);
        assert_eq!(valued, recorded.contains(name), "{name}: a row of the table, and cases in the fixture");
        let tested = valued || behaviour::TABLE.iter().any(|(row, _)| *row == name);
        assert_eq!(tested, there.contains(name), "{name}: tested, and described in docs/k.md");
        assert_ne!(tested, left_out.contains(name), "{name}: tested, or left out in docs/k.md");
    }
    let described = there.iter().chain(&left_out).find(|name| !names.contains(name.as_str()));
    assert_eq!(described, None, "docs/k.md names a function that Keras has not");
    for (name, _) in behaviour::TABLE {
        assert!(fixture.json["behaviour"].get(name).is_some(), "{name}: behaviour in the fixture");
    }
}
