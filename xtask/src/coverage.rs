//! `cargo xtask coverage`: which arguments of Keras 2.3.1's layers the recorded cases exercise.
//!
//! Crosses the constructors of Keras 2.3.1 (`tests/fixtures/ctor_2_3_1.txt`) with the configs of the cases that its layers
//! recorded: each argument with its default and with another value, each option that is a name with all of its names,
//! each recurrent layer with mask × stateful × `go_backwards` × `return_sequences`. A test keeps the gaps closed.

use crate::stage::{Result, root};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where the cases are.
const FIXTURES: [&str; 2] = ["layers_2_3_1", "recurrent_2_3_1"];

/// Classes without a constructor of their own, and whose they have.
const INHERITED: &[(&str, &str)] = &[
    ("Add", "_Merge"),
    ("Subtract", "_Merge"),
    ("Multiply", "_Merge"),
    ("Average", "_Merge"),
    ("Maximum", "_Merge"),
    ("Minimum", "_Merge"),
    ("GlobalMaxPooling1D", "_GlobalPooling1D"),
    ("GlobalMaxPooling2D", "_GlobalPooling2D"),
    ("GlobalMaxPooling3D", "_GlobalPooling3D"),
    ("GlobalAveragePooling2D", "_GlobalPooling2D"),
    ("GlobalAveragePooling3D", "_GlobalPooling3D"),
];

/// Arguments that no recorded config can show, with the reason; `*` stands for every class or argument.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("Lambda", "*", "Python code; a Rust function is tested in keras-core"),
    ("InputLayer", "*", "no layer of its own to compute"),
    ("LocallyConnected1D", "padding", "valid alone exists; others are errors"),
    ("LocallyConnected2D", "padding", "valid alone exists; others are errors"),
    ("*", "weights", "first weights are not in configs; the setter of all layers is tested in keras-core"),
    ("ConvRNN2D", "*", "the base class of ConvLSTM2D"),
    ("ConvLSTM2DCell", "*", "inside ConvLSTM2D alone"),
];

const ACTIVATIONS: &[&str] = &[
    "linear",
    "relu",
    "sigmoid",
    "tanh",
    "hard_sigmoid",
    "softmax",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "exponential",
];

/// The names that an option has.
const NAMES: &[(&str, &[&str])] = &[
    ("padding", &["valid", "same"]),
    ("data_format", &["channels_last", "channels_first"]),
    ("interpolation", &["nearest", "bilinear"]),
    ("merge_mode", &["concat", "sum", "mul", "ave", "null"]),
    ("activation", ACTIVATIONS),
    ("recurrent_activation", ACTIVATIONS),
];

/// Layers over time, and whether they take masks: every combination of mask and flags.
const RECURRENT: &[(&str, bool)] = &[
    ("SimpleRNN", true),
    ("GRU", true),
    ("LSTM", true),
    ("RNN", true),
    ("ConvLSTM2D", true),
    ("CuDNNGRU", false),
    ("CuDNNLSTM", false),
];
const FLAGS: [&str; 3] = ["stateful", "go_backwards", "return_sequences"];

/// One argument of a constructor: its name, and its default if it has one.
type Argument = (String, Option<String>);

/// A recorded case: what was given to the constructor, and whether an input is masked.
struct Case {
    given: BTreeMap<String, Value>,
    masked: bool,
}

/// Prints the gaps; an error if there are any.
pub(crate) fn run() -> Result<()> {
    let gaps = gaps()?;
    if gaps.is_empty() {
        println!("gaps: none");
        return Ok(());
    }
    for gap in &gaps {
        println!("gap: {gap}");
    }
    Err(format!("{} gaps: add a case each to a generator in tests/oracle", gaps.len()))
}

/// What no case has; prints what was counted.
fn gaps() -> Result<Vec<String>> {
    let fixtures = root().join("tests").join("fixtures");
    let text = read(&fixtures.join("ctor_2_3_1.txt"))?;
    let constructors = constructors(&text);
    let cases = cases(&fixtures)?;
    let count: usize = cases.values().map(Vec::len).sum();
    let mut gaps = Vec::new();
    let mut arguments = 0;
    for (class, signature) in &constructors {
        let none = Vec::new();
        let cases = cases.get(class).unwrap_or(&none);
        if excepted(class, "*") {
            continue;
        }
        if cases.is_empty() {
            gaps.push(format!("{class}: no case"));
            continue;
        }
        for (name, default) in signature {
            if !excepted(class, name) {
                arguments += 1;
                gaps.extend(argument_gaps(class, name, default.as_deref(), cases));
            }
        }
        if let Some((_, masks)) = RECURRENT.iter().find(|(known, _)| known == class) {
            gaps.extend(recurrent_gaps(class, *masks, cases));
        }
    }
    println!("{} classes, {arguments} arguments, {count} cases", constructors.len());
    Ok(gaps)
}

fn excepted(class: &str, name: &str) -> bool {
    EXCEPTIONS.iter().any(|(known, argument, _)| ["*", class].contains(known) && *argument == name)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// Class → arguments, of the public classes that compute something.
fn constructors(text: &str) -> BTreeMap<String, Vec<Argument>> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((head, rest)) = line.split_once(" ( ") else { continue };
        let mut words = head.split_whitespace().skip(1);
        let (Some(file), Some(class)) = (words.next(), words.next()) else { continue };
        let base = ["Layer", "InputSpec", "Node", "Wrapper"].contains(&class);
        if base || file == "base_layer.py" {
            continue;
        }
        found.insert(class.to_owned(), arguments(rest.trim_end().trim_end_matches(')').trim_end()));
    }
    for (class, base) in INHERITED {
        if let Some(signature) = found.get(*base).cloned() {
            found.insert((*class).to_owned(), signature);
        }
    }
    found.retain(|class, _| !class.starts_with('_'));
    found
}

/// The arguments of a signature; commas inside parentheses belong to a default.
fn arguments(signature: &str) -> Vec<Argument> {
    let (mut depth, mut part, mut parts) = (0_i32, String::new(), Vec::new());
    for letter in signature.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
    }
    parts.push(part);
    let argument = |part: String| match part.trim().split_once('=') {
        Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
        None => (part.trim().to_owned(), None),
    };
    parts.into_iter().map(argument).filter(|(name, _)| !name.starts_with('*') && !name.is_empty()).collect()
}

/// Class → recorded cases; layers inside wrappers and cells count.
fn cases(fixtures: &Path) -> Result<BTreeMap<String, Vec<Case>>> {
    let mut found = BTreeMap::new();
    for name in FIXTURES {
        let path = fixtures.join(format!("{name}.json"));
        let fixture: Value =
            serde_json::from_str(&read(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        for case in fixture.get("cases").and_then(Value::as_array).into_iter().flatten() {
            let masks = case.get("input_masks").and_then(Value::as_array);
            let masked = masks.is_some_and(|masks| masks.iter().any(|mask| mask == true));
            collect(case, masked, &mut found);
        }
    }
    Ok(found)
}

fn collect(layer: &Value, masked: bool, found: &mut BTreeMap<String, Vec<Case>>) {
    let (Some(class), Some(config)) =
        (layer.get("class_name").and_then(Value::as_str), layer.get("config").and_then(Value::as_object))
    else {
        return;
    };
    for value in config.values() {
        collect(value, masked, found);
        value.as_array().into_iter().flatten().for_each(|value| collect(value, masked, found));
    }
    let extra = layer.get("given").and_then(Value::as_object).into_iter().flatten();
    let given = config.iter().chain(extra).map(|(key, value)| (key.clone(), value.clone())).collect();
    found.entry(class.to_owned()).or_default().push(Case { given, masked });
}

fn argument_gaps(class: &str, name: &str, default: Option<&str>, cases: &[Case]) -> Vec<String> {
    // What Keras does not save was not given.
    let values: Vec<Option<&Value>> = cases.iter().map(|case| case.given.get(name)).collect();
    let mut gaps = Vec::new();
    match default {
        None => {
            if values.iter().all(Option::is_none) {
                gaps.push(format!("{class}.{name}: never given"));
            }
        }
        Some(default) => {
            // Strides of None are the size of the window.
            let is_default = |case: &Case| {
                let value = case.given.get(name);
                let size = case.given.get("pool_size").filter(|_| name == "strides");
                value.is_none_or(|value| {
                    if size.is_some() { size == Some(value) } else { means(name, default, value) }
                })
            };
            if !cases.iter().any(is_default) {
                gaps.push(format!("{class}.{name}: never {default}"));
            }
            if cases.iter().all(is_default) {
                gaps.push(format!("{class}.{name}: never anything but {default}"));
            }
        }
    }
    let seen: BTreeSet<String> = values
        .iter()
        .flatten()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    if class == "Conv1D" && name == "padding" && !seen.contains("causal") {
        gaps.push("Conv1D.padding: never \"causal\"".to_owned());
    }
    let named = default.is_none_or(|default| default == "None" || default.starts_with('\''));
    if let Some((_, names)) = NAMES.iter().find(|(option, _)| *option == name && named) {
        // Locally connected layers have no other padding, and a layer without the key in its config the first.
        let names =
            names.iter().filter(|known| !(class.starts_with("LocallyConnected") && **known == "same"));
        let absent = values.iter().any(Option::is_none);
        for known in names.filter(|known| !(seen.contains(**known) || absent && **known == "channels_last")) {
            gaps.push(format!("{class}.{name}: never {known:?}"));
        }
    }
    gaps
}

/// Whether a value in a config is what Python's default becomes there.
fn means(name: &str, default: &str, value: &Value) -> bool {
    let scaling = |scale: f64, mode: &str, distribution: &str| {
        let config = json!({"scale": scale, "mode": mode, "distribution": distribution, "seed": null});
        json!({"class_name": "VarianceScaling", "config": config})
    };
    let expected = match default {
        "None" if name == "activation" => json!("linear"),
        "None" if name == "data_format" => json!("channels_last"),
        "None" => Value::Null,
        "True" => json!(true),
        "False" => json!(false),
        "'glorot_uniform'" => scaling(1.0, "fan_avg", "uniform"),
        "'zeros'" => json!({"class_name": "Zeros", "config": {}}),
        "'ones'" => json!({"class_name": "Ones", "config": {}}),
        "'orthogonal'" => json!({"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": null}}),
        "'uniform'" => {
            let config = json!({"minval": -0.05, "maxval": 0.05, "seed": null});
            json!({"class_name": "RandomUniform", "config": config})
        }
        text if text.starts_with('\'') => json!(text.trim_matches('\'')),
        text => serde_json::from_str(&text.replace('(', "[").replace(')', "]")).unwrap_or(Value::Null),
    };
    // Numbers stand for lists of themselves, and are rounded to float32.
    match (&expected, value) {
        (Value::Number(one), Value::Array(items)) => items.iter().all(|item| match item {
            Value::Array(pair) => pair.iter().all(|side| side.as_f64() == one.as_f64()),
            item => item.as_f64() == one.as_f64(),
        }),
        (Value::Array(pairs), Value::Array(items)) if pairs.len() == items.len() => {
            pairs.iter().zip(items).all(|(pair, item)| match (pair, item) {
                (Value::Number(side), Value::Array(sides)) => {
                    sides.iter().all(|own| own.as_f64() == side.as_f64())
                }
                (pair, item) => pair == item,
            })
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            (one - other).abs() <= one.abs() * 1e-6
        }
        (expected, value) => expected == value,
    }
}

fn recurrent_gaps(class: &str, masks: bool, cases: &[Case]) -> Vec<String> {
    let flag = |case: &Case, name: &str| case.given.get(name).is_some_and(|value| value == true);
    let seen: BTreeSet<(bool, [bool; 3])> =
        cases.iter().map(|case| (case.masked, FLAGS.map(|name| flag(case, name)))).collect();
    let mut gaps = Vec::new();
    for number in 0..if masks { 16 } else { 8 } {
        let bit = |i: usize| number >> i & 1 == 1;
        let flags = [bit(0), bit(1), bit(2)];
        if !seen.contains(&(bit(3), flags)) {
            let on: Vec<&str> =
                FLAGS.iter().zip(flags).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
            let mask = if bit(3) { "masked" } else { "no mask" };
            gaps.push(format!("{class}: never {mask} with [{}]", on.join(", ")));
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::{arguments, constructors, gaps, means};
    use serde_json::json;

    #[test]
    fn every_argument_of_keras_s_layers_is_recorded() {
        assert_eq!(gaps(), Ok(Vec::new()));
    }

    #[test]
    fn signatures_are_read_with_their_defaults() {
        let text =
            "2.3.1 convolutional.py Cropping2D ( cropping=((0, 0), (0, 0)), data_format=None, **kwargs )";
        let found = constructors(text);
        let expected = [("cropping", "((0, 0), (0, 0))"), ("data_format", "None")];
        let expected: Vec<_> =
            expected.map(|(name, default)| (name.to_owned(), Some(default.to_owned()))).into();
        assert_eq!(found["Cropping2D"], expected);
        assert_eq!(arguments("units, **kwargs"), [("units".to_owned(), None)]);
        assert!(constructors("2.3.1 base_layer.py Layer ( **kwargs )").is_empty());
    }

    #[test]
    fn defaults_are_known_in_the_form_of_configs() {
        assert!(means("strides", "1", &json!([1, 1])) && !means("strides", "1", &json!([1, 2])));
        assert!(means("cropping", "((0, 0), (0, 0))", &json!([[0, 0], [0, 0]])));
        assert!(
            means("padding", "(1, 1)", &json!([[1, 1], [1, 1]]))
                && !means("padding", "(1, 1)", &json!([[1, 0], [1, 1]]))
        );
        assert!(means("alpha", "0.3", &json!(0.300_000_011_920_929)));
        assert!(
            means("activation", "None", &json!("linear")) && means("bias_regularizer", "None", &json!(null))
        );
        assert!(!means(
            "kernel_initializer",
            "'glorot_uniform'",
            &json!({"class_name": "Ones", "config": {}})
        ));
    }
}
