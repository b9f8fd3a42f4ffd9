//! Readable text and Graphviz pictures of a graph.

use super::{Graph, Op};
use std::fmt::Write;

impl Graph {
    /// One line per node, `%3 = matmul(%1, %2) : float32[128, 10]`; then the results, `return %7`, and what variables
    /// become, `dense_1/kernel <- %9`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (i, node) in self.nodes().iter().enumerate() {
            let operands: Vec<String> =
                node.inputs.iter().map(|value| name(value.node, value.output)).collect();
            let types: Vec<String> = node.outputs.iter().map(ToString::to_string).collect();
            let _ =
                writeln!(text, "%{i} = {}({}) : {}", label(&node.op), operands.join(", "), types.join(", "));
        }
        let results: Vec<String> =
            self.outputs().iter().map(|value| name(value.node, value.output)).collect();
        let _ = writeln!(text, "return {}", results.join(", "));
        for (variable, value) in self.updates() {
            let _ = writeln!(text, "{} <- {}", variable.name(), name(value.node, value.output));
        }
        text
    }

    /// The graph in Graphviz's language, for `dot -Tsvg`.
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph {\n  node [shape=box, fontname=monospace];\n");
        for (i, node) in self.nodes().iter().enumerate() {
            let types: Vec<String> = node.outputs.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "  n{i} [label=\"{}\\n{}\"];", quoted(&label(&node.op)), types.join(", "));
            for input in &node.inputs {
                let _ = writeln!(text, "  n{} -> n{i};", input.node);
            }
        }
        for (i, output) in self.outputs().iter().enumerate() {
            let _ = writeln!(text, "  out{i} [shape=ellipse]; n{} -> out{i};", output.node);
        }
        for (i, (variable, value)) in self.updates().iter().enumerate() {
            let label = quoted(variable.name());
            let _ =
                writeln!(text, "  new{i} [label=\"new {label}\", shape=ellipse]; n{} -> new{i};", value.node);
        }
        text + "}\n"
    }
}

/// Text inside a quoted string of Graphviz's language.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn name(node: u32, output: u32) -> String {
    if output == 0 { format!("%{node}") } else { format!("%{node}.{output}") }
}

/// The operation with its attributes, such as `reduce_max[1]`.
fn label(op: &Op) -> String {
    let name = op.name();
    match op {
        Op::Input(slot) => format!("{name} {slot}"),
        Op::Variable(variable) => format!("{name} {:?}", variable.name()),
        Op::Constant(literal) => format!("{name} {:?}", literal.0),
        Op::Iota(_, axis)
        | Op::ArgReduce(_, axis)
        | Op::Cumulative(_, axis)
        | Op::Gather(axis)
        | Op::Concat(axis)
        | Op::TopK(axis)
        | Op::ScatterAdd(axis) => format!("{name}[{axis}]"),
        Op::Random { stream, .. } => format!("{name}[{stream:#x}]"),
        Op::Reduce(_, axes) | Op::Permute(axes) | Op::Reverse(axes) => format!("{name}{axes:?}"),
        Op::MatMul { trans_a, trans_b } => {
            format!("{name}{}{}", if *trans_a { "_ta" } else { "" }, if *trans_b { "_tb" } else { "" })
        }
        Op::Conv(spec) | Op::ConvGradInput(spec, _) | Op::ConvGradKernel(spec, _) => format!(
            "{name}[strides {:?}, dilations {:?}, pads {:?}, groups {}]",
            spec.strides, spec.dilations, spec.pads, spec.groups
        ),
        Op::MaxPool(spec) | Op::MaxPoolGrad(spec, _) | Op::AvgPool(spec) | Op::AvgPoolGrad(spec, _) => {
            format!("{name}[window {:?}, strides {:?}, pads {:?}]", spec.window, spec.strides, spec.pads)
        }
        Op::Slice(spec) | Op::SliceUpdate(spec) => {
            format!("{name}[{:?}..{:?} by {:?}]", spec.starts, spec.stops, spec.steps)
        }
        Op::Pad(pads) => format!("{name}{pads:?}"),
        Op::Host(host) => format!("{name} {:?}", host.name),
        Op::CustomVjp(custom) => format!("{name} {:?}", custom.name),
        Op::Scan(scan) => format!("{name}[{} steps of {} nodes]", scan.steps, scan.body.nodes().len()),
        Op::Kernel(kernel) => format!("{name}[{} instructions over {:?}]", kernel.code.len(), kernel.shape),
        Op::Epilogue(inner, kernel) => format!("{}+{name}[{} instructions]", label(inner), kernel.code.len()),
        _ => name.to_owned(),
    }
}
