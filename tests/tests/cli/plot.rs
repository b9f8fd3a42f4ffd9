//! `plot`.

use super::Place;
use super::files::{dense, fixture, sequential};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What Graphviz would understand of a text: its attributes, nodes and edges, a node and a cluster known by their labels.
#[derive(Debug, Default, PartialEq)]
struct Graph {
    attributes: Vec<String>,
    /// The labels of the clusters around it, and its own.
    nodes: Vec<(Vec<String>, String)>,
    edges: Vec<((Vec<String>, String), (Vec<String>, String))>,
    /// What each cluster is given besides its label.
    clusters: Vec<(Vec<String>, String)>,
}

impl Graph {
    fn read(text: &str) -> Self {
        let mut graph = Self::default();
        let mut known = std::collections::HashMap::new();
        let mut edges = Vec::new();
        // The attributes of the clusters that are open, and the nodes inside, whose labels come first or last.
        let mut open: Vec<Vec<String>> = Vec::new();
        let mut inside: Vec<Vec<(String, Vec<String>, String)>> = vec![Vec::new()];
        let (mut quoted, mut statement) = (false, String::new());
        for character in text.chars() {
            quoted ^= character == '"';
            if quoted || !matches!(character, ';' | '{' | '}') {
                statement.push(character);
                continue;
            }
            let part = std::mem::take(&mut statement).trim().to_owned();
            match character {
                '{' if part.starts_with("subgraph") => {
                    open.push(Vec::new());
                    inside.push(Vec::new());
                }
                '{' => {}
                '}' if open.is_empty() => {}
                '}' => {
                    let mut attributes = open.pop().unwrap();
                    let at = attributes.iter().position(|one| one.starts_with("label=")).unwrap();
                    let label = attributes.remove(at)["label=".len()..].trim_matches('"').to_owned();
                    attributes.sort();
                    let nodes = inside.pop().unwrap();
                    let outer = inside.last_mut().unwrap();
                    for (id, mut path, node) in nodes {
                        path.insert(0, label.clone());
                        outer.push((id, path, node));
                    }
                    graph.clusters.push((attributes, label));
                }
                _ if part.contains(" -> ") => {
                    let (from, to) = part.split_once(" -> ").unwrap();
                    edges.push((from.to_owned(), to.to_owned()));
                }
                _ if part.contains(" [label=") => {
                    let (id, label) = part.split_once(" [label=").unwrap();
                    let label = label.trim_end_matches(']').trim_matches('"').to_owned();
                    inside.last_mut().unwrap().push((id.to_owned(), Vec::new(), label));
                }
                _ => match open.last_mut() {
                    Some(attributes) => attributes.push(part),
                    None => graph.attributes.push(part),
                },
            }
        }
        for (id, path, label) in inside.pop().unwrap() {
            known.insert(id, (path.clone(), label.clone()));
            graph.nodes.push((path, label));
        }
        graph.edges = edges.iter().map(|(from, to)| (known[from].clone(), known[to].clone())).collect();
        graph.nodes.sort();
        graph.edges.sort();
        graph.clusters.sort();
        graph.attributes.sort();
        graph
    }
}

/// The command line of the arguments of `model_to_dot`.
fn options(given: &Value) -> Vec<String> {
    let mut line = Vec::new();
    for (name, value) in given.as_object().unwrap() {
        match (name.as_str(), value) {
            ("show_layer_names", Value::Bool(false)) => line.push("--no-layer-names".to_owned()),
            (_, Value::Bool(true)) => line.push(format!("--{}", name.replace('_', "-"))),
            (_, Value::String(text)) => line.extend([format!("--{name}"), text.clone()]),
            _ => line.extend([format!("--{name}"), value.to_string()]),
        }
    }
    line
}

#[test]
fn the_graph_is_that_of_kerass_model_to_dot() {
    let text = std::fs::read_to_string(fixture("plots_2_3_1.json")).unwrap();
    let head: Value = serde_json::from_str(&text).unwrap();
    let mut edges = 0;
    for case in head["cases"].as_array().unwrap() {
        let place = Place::new();
        place.put("model.json", case["json"].as_str().unwrap());
        for plot in case["plots"].as_array().unwrap() {
            let options = options(&plot["options"]);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            place.result(&[&["plot", "model.json", "out.dot"], &options[..]].concat());
            let ours = Graph::read(&String::from_utf8(place.get("out.dot")).unwrap());
            let theirs = Graph::read(plot["dot"].as_str().unwrap());
            assert_eq!(ours, theirs, "{} {options:?}", case["name"]);
            edges += ours.edges.len();
        }
    }
    assert!(edges > 100, "{edges}");
}

/// Six layers, with names that XML and Graphviz have to be told about.
fn branches() -> Place {
    let place = Place::new();
    let input = |name: &str| {
        json!({"class_name": "InputLayer", "name": name, "inbound_nodes": [],
        "config": {"name": name, "batch_input_shape": [null, 3], "dtype": "float32"}})
    };
    let layer = |mut layer: Value, name: &str, from: &[&str]| {
        let inbound: Vec<Value> = from.iter().map(|name| json!([name, 0, 0, {}])).collect();
        layer["config"]["name"] = name.into();
        layer["name"] = name.into();
        layer["inbound_nodes"] = json!([inbound]);
        layer
    };
    let add = json!({"class_name": "Add", "config": {}});
    let layers = [
        input("left & <right>"),
        layer(dense("", 3, 3), "größe", &["left & <right>"]),
        layer(dense("", 3, 3), "層", &["größe"]),
        layer(dense("", 3, 3), "a|b{c}\"d\"", &["層"]),
        layer(add, "sum", &["a|b{c}\"d\"", "left & <right>"]),
    ];
    let model = json!({"class_name": "Model", "keras_version": "2.3.1", "backend": "tensorflow", "config": {
        "name": "branches", "layers": layers, "input_layers": [["left & <right>", 0, 0]], "output_layers": [["sum", 0, 0]]}});
    place.put("model.json", model.to_string());
    place
}

#[test]
fn a_drawing_is_svg_or_png() {
    let place = branches();
    place.result(&["plot", "model.json", "out.svg", "--show-shapes"]);
    let svg = String::from_utf8(place.get("out.svg")).unwrap();
    for text in [
        ">left &amp; &lt;right&gt;: InputLayer<",
        ">größe: Dense<",
        ">層: Dense<",
        ">(None, 3)<",
        "<title>branches<",
    ] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    assert_eq!(svg.matches("<text ").count(), 5 * 5, "a name, input:, output:, and two shapes");
    // Letters that no font here has are fitted into their box.
    assert_eq!(svg.matches("textLength").count(), 1);

    let mut sizes = Vec::new();
    for dpi in ["72", "144"] {
        place.result(&["plot", "model.json", "out.png", "--dpi", dpi]);
        let png = place.get("out.png");
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        sizes.push((number(16), number(20)));
    }
    let (small, large) = (sizes[0], sizes[1]);
    assert!(large.0.abs_diff(2 * small.0) <= 2 && large.1.abs_diff(2 * small.1) <= 2, "{sizes:?}");
    assert!(small.1 > small.0, "from top to bottom");
    place.result(&["plot", "model.json", "out.png", "--rankdir", "LR"]);
    let png = place.get("out.png");
    assert!(png[16..20] > png[20..24], "from left to right");
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let place = branches();
    for out in ["out.pdf", "out", "out.svg.txt"] {
        place.fails(2, &["plot", "model.json", out], &[".svg, .png or .dot", out]);
    }
    place.fails(2, &["plot", "model.json", "out.svg", "--rankdir", "RL"], &["TB, LR", "RL"]);
    for dpi in ["0", "-1", "many"] {
        place.fails(2, &["plot", "model.json", "out.svg", &format!("--dpi={dpi}")], &["--dpi", dpi]);
    }
    place.fails(1, &["plot", "model.json", "missing/out.svg"], &["missing/out.svg"]);
    place.put("out.png", "what was there before");
    place.fails(1, &["plot", "model.json", "out.png", "--dpi", "9600"], &["at most", "smaller dpi", ".svg"]);
    assert_eq!(place.get("out.png"), b"what was there before");
    place.put("open.json", sequential(&[json!({"class_name": "Flatten", "config": {"name": "flat"}})]));
    place.fails(1, &["plot", "open.json", "out.svg"], &["input_shape"]);
    assert_eq!(place.names(), ["model.json", "open.json", "out.png"]);
}

#[test]
fn thousands_of_layers_are_drawn_in_seconds() {
    let place = Place::new();
    let name = |i: usize| format!("layer_{i}");
    let input = json!({"class_name": "InputLayer", "name": "layer_0", "inbound_nodes": [],
        "config": {"name": "layer_0", "batch_input_shape": [null, 1]}});
    let layer = |i: usize| {
        json!({"class_name": "Activation", "name": name(i), "inbound_nodes": [[[name(i - 1), 0, 0, {}]]],
            "config": {"name": name(i), "activation": "relu"}})
    };
    let layers: Vec<Value> = std::iter::once(input).chain((1..3000).map(layer)).collect();
    let config = json!({"name": "long", "layers": layers, "input_layers": [["layer_0", 0, 0]],
        "output_layers": [["layer_2999", 0, 0]]});
    place.put("model.json", json!({"class_name": "Model", "config": config}).to_string());
    let start = Instant::now();
    for out in ["out.svg", "out.dot", "out.png"] {
        place.result(&["plot", "model.json", out]);
    }
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    assert_eq!(String::from_utf8(place.get("out.dot")).unwrap().matches(" -> ").count(), 2999);
}
