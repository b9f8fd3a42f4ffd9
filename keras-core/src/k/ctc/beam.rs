//! The beam search of `K.ctc_decode`, step by step as TensorFlow's.

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::k::Host;
use crate::tensor::{Spec, Tensor};
use std::collections::HashMap;

/// How [`ctc_decode`](super::ctc_decode) searches, with Keras's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeamSearch {
    beam_width: usize,
    top_paths: usize,
    merge_repeated: bool,
}

impl Default for BeamSearch {
    fn default() -> Self {
        Self { beam_width: 100, top_paths: 1, merge_repeated: false }
    }
}

impl BeamSearch {
    /// The likeliest path among the 100 best of every step.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many prefixes stay after each step; default 100.
    pub fn beam_width(mut self, width: usize) -> Self {
        self.beam_width = width;
        self
    }

    /// How many paths are returned, at most as many as stay; default 1.
    pub fn top_paths(mut self, paths: usize) -> Self {
        self.top_paths = paths;
        self
    }

    /// Whether equal labels in a row, which a blank was between, become one; default false.
    pub fn merge_repeated(mut self, merge: bool) -> Self {
        self.merge_repeated = merge;
        self
    }

    pub(super) fn paths(&self) -> usize {
        self.top_paths
    }

    /// The paths and their logarithms, of logarithms `(batch, steps, classes)`.
    pub(super) fn search(self, logarithms: &Tensor, steps: &Tensor) -> Result<Vec<Tensor>> {
        if self.top_paths == 0 || self.beam_width < self.top_paths {
            let received = format!("{} of a beam of {}", self.top_paths, self.beam_width);
            return Err(Error::value(
                "ctc_decode",
                "at least one path, and a beam as wide as the paths",
                received,
            ));
        }
        let dtype = logarithms.dtype()?;
        let mut outputs = vec![Spec::new([None, None], DType::I64); self.top_paths];
        outputs.push(Spec::new([None, Some(self.top_paths)], dtype));
        let host = Host::new("ctc_decode", outputs, move |operands| self.decode(operands, dtype));
        Ok(host.call(&[logarithms, steps]))
    }

    fn decode(self, operands: &[Array], dtype: DType) -> Result<Vec<Array>> {
        let [logarithms, steps] = operands else {
            return Err(Error::state("ctc_decode", "two operands", "others"));
        };
        let &[batch, time, classes] = logarithms.shape() else {
            return Err(Error::state("ctc_decode", "three axes", "others"));
        };
        let (values, steps) = (logarithms.to_vec::<f64>(), steps.to_vec::<i64>());
        let mut paths = vec![vec![-1_i64; batch * time]; self.top_paths];
        let mut scores = Vec::with_capacity(batch * self.top_paths);
        for (sample, (rows, &steps)) in values.chunks(time * classes).zip(&steps).enumerate() {
            let mut search = Search::new(classes - 1);
            let steps = usize::try_from(steps).unwrap_or_default();
            for row in rows.chunks(classes).take(steps) {
                search.step(row, self.beam_width);
            }
            if search.beam.len() < self.top_paths {
                let expected = format!("{} paths for sample {sample}", self.top_paths);
                return Err(Error::value("ctc_decode", expected, search.beam.len().to_string())
                    .advice("ask for fewer top_paths"));
            }
            for (path, &node) in paths.iter_mut().zip(&search.beam) {
                scores.push(search.node(node).new.total);
                let labels = search.labels(node, self.merge_repeated);
                for (place, label) in path.iter_mut().skip(sample * time).zip(labels) {
                    *place = label as i64;
                }
            }
        }
        let mut results: Vec<Array> = Vec::with_capacity(self.top_paths + 1);
        for path in paths {
            results.push(Array::from_vec(&[batch, time], path)?);
        }
        results.push(Array::from_vec(&[batch, self.top_paths], scores)?.cast(dtype));
        Ok(results)
    }
}

/// Logarithms of the probabilities of a prefix: that it ends with a blank, with its last label, and of either.
#[derive(Debug, Clone, Copy)]
struct Ending {
    blank: f64,
    label: f64,
    total: f64,
}

const NEVER: Ending = Ending { blank: f64::NEG_INFINITY, label: f64::NEG_INFINITY, total: f64::NEG_INFINITY };

/// A prefix: its parent and one label more. Only the root has no parent.
struct Node {
    parent: Option<usize>,
    label: usize,
    children: HashMap<usize, usize>,
    old: Ending,
    new: Ending,
}

impl Node {
    /// Whether it is in the beam.
    fn is_active(&self) -> bool {
        self.new.total > f64::NEG_INFINITY
    }
}

/// The prefixes seen so far, the root first; `beam` holds those that stay, the likeliest first.
struct Search {
    nodes: Vec<Node>,
    beam: Vec<usize>,
    blank: usize,
}

fn log_of_sum(a: f64, b: f64) -> f64 {
    let largest = a.max(b);
    if largest == f64::NEG_INFINITY { largest } else { largest + (-(a - b).abs()).exp().ln_1p() }
}

#[allow(clippy::indexing_slicing, reason = "nodes are named by their places and never removed")]
impl Search {
    fn new(blank: usize) -> Self {
        let certain = Ending { blank: 0.0, label: f64::NEG_INFINITY, total: 0.0 };
        let root = Node { parent: None, label: blank, children: HashMap::new(), old: NEVER, new: certain };
        Self { nodes: vec![root], beam: vec![0], blank }
    }

    fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// One more row of logarithms, which need not be normalised.
    fn step(&mut self, row: &[f64], width: usize) {
        let total = row.iter().copied().fold(f64::NEG_INFINITY, log_of_sum);
        let row: Vec<f64> = row.iter().map(|x| x - total).collect();
        let before = std::mem::take(&mut self.beam);
        for &node in &before {
            self.nodes[node].old = self.nodes[node].new;
        }
        for &at in &before {
            let node = &self.nodes[at];
            let mut label = f64::NEG_INFINITY;
            if let Some(parent) = node.parent.map(|parent| &self.nodes[parent]) {
                label = node.new.label;
                if parent.is_active() {
                    let from = if node.label == parent.label { parent.old.blank } else { parent.old.total };
                    label = log_of_sum(label, from);
                }
                label += row[node.label];
            }
            let blank = node.old.total + row[self.blank];
            self.nodes[at].new = Ending { blank, label, total: log_of_sum(blank, label) };
        }
        let mut beam = Beam { nodes: before.clone(), width };
        beam.sort(&self.nodes);
        for &at in &before {
            let old = self.nodes[at].old;
            if !beam.takes(&self.nodes, old.total) {
                continue;
            }
            for (label, &logarithm) in row.iter().enumerate().take(self.blank) {
                let child = self.nodes[at].children.get(&label).copied();
                if child.is_some_and(|child| self.nodes[child].is_active()) {
                    continue;
                }
                let repeats = self.nodes[at].parent.is_some() && self.nodes[at].label == label;
                let likely = logarithm + if repeats { old.blank } else { old.total };
                if !beam.takes(&self.nodes, likely) {
                    if let Some(child) = child {
                        (self.nodes[child].old, self.nodes[child].new) = (NEVER, NEVER);
                    }
                    continue;
                }
                let child = child.unwrap_or_else(|| {
                    let child = self.nodes.len();
                    let children = HashMap::new();
                    self.nodes.push(Node { parent: Some(at), label, children, old: NEVER, new: NEVER });
                    self.nodes[at].children.insert(label, child);
                    child
                });
                self.nodes[child].new = Ending { blank: f64::NEG_INFINITY, label: likely, total: likely };
                beam.push(&mut self.nodes, child);
            }
        }
        self.beam = beam.nodes;
    }

    /// The labels of a prefix.
    fn labels(&self, node: usize, merge_repeated: bool) -> Vec<usize> {
        let mut labels = Vec::new();
        let (mut node, mut behind) = (&self.nodes[node], None);
        while let Some(parent) = node.parent {
            if !(merge_repeated && behind == Some(node.label)) {
                labels.push(node.label);
            }
            behind = Some(node.label);
            node = &self.nodes[parent];
        }
        labels.reverse();
        labels
    }
}

/// At most `width` prefixes, the likeliest first.
struct Beam {
    nodes: Vec<usize>,
    width: usize,
}

#[allow(clippy::indexing_slicing, reason = "nodes are named by their places and never removed")]
impl Beam {
    fn sort(&mut self, nodes: &[Node]) {
        self.nodes.sort_by(|&a, &b| nodes[b].new.total.total_cmp(&nodes[a].new.total));
    }

    /// Whether one of that logarithm would stay.
    fn takes(&self, nodes: &[Node], total: f64) -> bool {
        let last = self.nodes.last().map_or(f64::NEG_INFINITY, |&last| nodes[last].new.total);
        total > f64::NEG_INFINITY && (self.nodes.len() < self.width || total > last)
    }

    /// Takes one in, for which the least likely leaves a full beam.
    fn push(&mut self, nodes: &mut [Node], node: usize) {
        if self.nodes.len() == self.width
            && let Some(last) = self.nodes.pop()
        {
            nodes[last].new = NEVER;
        }
        let total = nodes[node].new.total;
        let place = self.nodes.partition_point(|&other| nodes[other].new.total >= total);
        self.nodes.insert(place, node);
    }
}
