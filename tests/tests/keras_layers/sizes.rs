//! The sizes at which kernels go wrong are among the recorded cases: of every layer that has such a size.

use super::case::{Case, cases};
use crate::recurrent::RECURRENT;
use serde_json::Value;
use std::collections::BTreeSet;

/// The classes of the cases that have the property.
fn classes(property: impl Fn(&Case) -> bool) -> BTreeSet<String> {
    cases().filter(property).map(|case| case.config().class_name).collect()
}

fn classes_with(key: &str) -> BTreeSet<String> {
    classes(|case| case.config().config.contains_key(key))
}

/// A number for each spatial axis, under either key.
fn per_axis(case: &Case, keys: [&str; 2]) -> Vec<u64> {
    let config = case.config().config;
    match keys.iter().find_map(|key| config.get(*key)) {
        Some(Value::Array(lens)) => lens.iter().filter_map(Value::as_u64).collect(),
        Some(len) => len.as_u64().into_iter().collect(),
        None => Vec::new(),
    }
}

fn window(case: &Case) -> Vec<u64> {
    per_axis(case, ["kernel_size", "pool_size"])
}

/// The lengths of the spatial axes of the first input.
fn image(case: &Case) -> Vec<u64> {
    let shape = case.array("input_0").shape();
    let rank = window(case).len();
    let first = usize::from(has(case, "data_format", "channels_first"));
    let start = shape.len() - 1 - rank + first;
    shape[start..start + rank].iter().map(|&len| len as u64).collect()
}

fn has(case: &Case, key: &str, value: &str) -> bool {
    case.config().config.get(key).is_some_and(|found| found == value)
}

fn same(case: &Case) -> bool {
    has(case, "padding", "same")
}

/// Locally connected layers and Keras 2.3.1's transposed volumes take no other padding or dilation than none.
fn without(mut classes: BTreeSet<String>, exceptions: &[&str]) -> BTreeSet<String> {
    classes.retain(|class| !exceptions.contains(&class.as_str()));
    classes
}

const LOCAL: [&str; 2] = ["LocallyConnected1D", "LocallyConnected2D"];

#[test]
fn one_sample() {
    let random = [
        "Dropout",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
        "GaussianNoise",
        "GaussianDropout",
        "AlphaDropout",
    ];
    let one = classes(|case| case.array("input_0").shape()[0] == 1);
    assert_eq!(one, without(classes(|_| true), &random));
}

#[test]
fn one_step() {
    let one = classes(|case| RECURRENT.cases().contains(case.json) && case.array("input_0").shape()[1] == 1);
    let recurrent = RECURRENT.cases().iter().map(|case| case["class_name"].as_str().unwrap().to_owned());
    assert_eq!(one, recurrent.collect());
}

#[test]
fn a_window_larger_than_the_image() {
    let larger = classes(|case| same(case) && window(case).iter().zip(image(case)).any(|(&a, b)| a > b));
    let windows = classes(|case| !window(case).is_empty());
    assert_eq!(larger, without(windows, &LOCAL));
}

#[test]
fn even_windows_and_steps_of_three() {
    let odd = classes(|case| {
        let strides = per_axis(case, ["strides", "strides"]);
        window(case).iter().zip(strides).any(|(len, stride)| len % 2 == 0 && stride == 3)
    });
    let windows = classes(|case| !window(case).is_empty());
    assert_eq!(odd, windows);
}

#[test]
fn dilation_with_same_padding() {
    let dilated =
        |case: &Case| per_axis(case, ["dilation_rate", "dilation_rate"]).iter().any(|&rate| rate > 1);
    let odd = classes(|case| same(case) && dilated(case));
    assert_eq!(odd, without(classes_with("dilation_rate"), &["Conv3DTranspose"]));
}

#[test]
fn channels_first() {
    assert_eq!(classes(|case| has(case, "data_format", "channels_first")), classes_with("data_format"));
}
