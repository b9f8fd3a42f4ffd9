//! `summary()`: Keras's table, to the character.

use super::Model;
use super::network::{Kind, Network};
use crate::error::Result;
use crate::layers::{LayerRef, Weight};
use std::collections::HashSet;
use std::fmt::Write;

impl Model {
    /// The table of layers, output shapes and parameters that Keras 2.3 prints.
    pub fn summary(&self) -> Result<String> {
        let layers = self.layers();
        let (plain, connections) = self.with_network(|network| {
            let plain = network.kind == Kind::Sequential || is_chain(network);
            let connections = layers.iter().map(|layer| connections(network, layer)).collect::<Vec<_>>();
            (plain, connections)
        })?;
        let (length, columns): (usize, &[f64]) =
            if plain { (65, &[0.45, 0.85, 1.0]) } else { (98, &[0.33, 0.55, 0.67, 1.0]) };
        let positions: Vec<usize> = columns.iter().map(|part| (length as f64 * part) as usize).collect();
        let mut header = vec!["Layer (type)".to_owned(), "Output Shape".to_owned(), "Param #".to_owned()];
        if !plain {
            header.push("Connected to".to_owned());
        }
        let mut text = String::new();
        let _ = writeln!(text, "Model: \"{}\"", self.name());
        let _ = writeln!(text, "{}", "_".repeat(length));
        row(&mut text, &header, &positions);
        let _ = writeln!(text, "{}", "=".repeat(length));
        for (i, (layer, sources)) in layers.iter().zip(&connections).enumerate() {
            let mut fields = vec![
                format!("{} ({})", layer.name(), class_name(layer)),
                layer.output_shape_text(),
                layer.count_params()?.to_string(),
            ];
            if !plain {
                fields.push(sources.first().cloned().unwrap_or_default());
            }
            row(&mut text, &fields, &positions);
            if !plain {
                for source in sources.iter().skip(1) {
                    row(
                        &mut text,
                        &[String::new(), String::new(), String::new(), source.clone()],
                        &positions,
                    );
                }
            }
            let line = if i + 1 == layers.len() { "=" } else { "_" };
            let _ = writeln!(text, "{}", line.repeat(length));
        }
        let learning = count(&self.collected_trainable_weights());
        let fixed = count(&self.non_trainable_weights());
        let _ = writeln!(text, "Total params: {}", thousands(learning + fixed));
        let _ = writeln!(text, "Trainable params: {}", thousands(learning));
        let _ = writeln!(text, "Non-trainable params: {}", thousands(fixed));
        let _ = writeln!(text, "{}", "_".repeat(length));
        Ok(text)
    }
}

pub(super) fn class_name(layer: &LayerRef) -> String {
    match layer.downcast::<Network>().map(|network| network.kind) {
        Some(Kind::Functional) => "Model".into(),
        Some(Kind::Sequential) => "Sequential".into(),
        None => layer.class_name(),
    }
}

fn count(weights: &[Weight]) -> usize {
    weights.iter().map(|weight| weight.variable.shape().iter().product::<usize>()).sum()
}

/// One line of columns, each cut at its end, with a space in front of the next.
fn row(text: &mut String, fields: &[String], positions: &[usize]) {
    let mut line: Vec<char> = Vec::new();
    for (i, (field, &position)) in fields.iter().zip(positions).enumerate() {
        if i > 0 {
            line.pop();
            line.push(' ');
        }
        line.extend(field.chars());
        line.resize(position, ' ');
    }
    let line: String = line.into_iter().collect();
    let _ = writeln!(text, "{line}");
}

fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether every depth has one node with at most one input, and no layer is called twice.
fn is_chain(network: &Network) -> bool {
    let mut depths = HashSet::new();
    let mut layers = HashSet::new();
    network.nodes.iter().all(|node| {
        let one = node.call().is_some_and(|call| call.inputs.len() <= 1 && layers.insert(call.layer.id()));
        one && depths.insert(node.depth)
    })
}

/// Where a layer's calls in this network read from: `dense_1[0][0]`.
fn connections(network: &Network, layer: &LayerRef) -> Vec<String> {
    let mut calls: Vec<_> = network
        .nodes
        .iter()
        .filter_map(super::network::NetworkNode::call)
        .filter(|call| call.layer == *layer)
        .collect();
    calls.sort_by_key(|call| call.index);
    let mut sources = Vec::new();
    for call in calls {
        for input in &call.inputs {
            if let Some((node, output)) = input.layer_node() {
                sources.push(format!("{}[{}][{output}]", node.layer.name(), node.index));
            }
        }
    }
    sources
}
