//! Text for Graphviz.

use super::PlotModel;
use super::graph::ModelGraph;
use std::fmt::Write;

/// The graph with the attributes that Keras gives it.
pub(super) fn text(graph: &ModelGraph, options: &PlotModel) -> String {
    let mut text = String::from("digraph G {\n");
    let _ = writeln!(text, "rankdir={};\nconcentrate=True;\ndpi={};", options.rankdir, options.dpi);
    text.push_str("node [shape=record];\n");
    // What stands directly in each cluster; first what stands in none.
    let mut inside = vec![Inside::default(); graph.clusters.len() + 1];
    let mut put = |cluster: Option<usize>, part: fn(&mut Inside) -> &mut Vec<usize>, i: usize| {
        if let Some(inside) = inside.get_mut(cluster.map_or(0, |cluster| cluster + 1)) {
            part(inside).push(i);
        }
    };
    graph.nodes.iter().enumerate().for_each(|(i, node)| put(node.cluster, |inside| &mut inside.nodes, i));
    graph.clusters.iter().enumerate().for_each(|(i, one)| put(one.cluster, |inside| &mut inside.clusters, i));
    graph.edges.iter().enumerate().for_each(|(i, edge)| put(edge.cluster, |inside| &mut inside.edges, i));
    write_level(&mut text, graph, &inside, 0);
    text.push_str("}\n");
    text
}

#[derive(Default, Clone)]
struct Inside {
    nodes: Vec<usize>,
    clusters: Vec<usize>,
    edges: Vec<usize>,
}

fn write_level(text: &mut String, graph: &ModelGraph, inside: &[Inside], level: usize) {
    let Some(own) = inside.get(level) else { return };
    for &i in &own.clusters {
        if let Some(cluster) = graph.clusters.get(i) {
            let name = quoted(&cluster.name);
            let _ = writeln!(
                text,
                "subgraph {} {{\nstyle=dashed;",
                quoted(&format!("cluster_{}_{i}", cluster.name))
            );
            let _ = writeln!(text, "label={name};\nlabeljust=l;");
            write_level(text, graph, inside, i + 1);
            text.push_str("}\n");
        }
    }
    for &i in &own.nodes {
        if let Some(node) = graph.nodes.get(i) {
            let mut label = record(&node.label);
            if let Some([input, output]) = &node.shapes {
                let _ =
                    write!(label, "\\n|{{input:|output:}}|{{{{{}}}|{{{}}}}}", record(input), record(output));
            }
            let _ = writeln!(text, "{i} [label={}];", quoted(&label));
        }
    }
    for edge in own.edges.iter().filter_map(|&i| graph.edges.get(i)) {
        let _ = writeln!(text, "{} -> {};", edge.from, edge.to);
    }
}

/// A text in which nothing separates the fields of a record.
fn record(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '{' | '}' | '|' | '<' | '>' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\"").replace('\n', "\\n"))
}
