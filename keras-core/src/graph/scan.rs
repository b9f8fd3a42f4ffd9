//! Building and differentiating loops.

use super::{Binary, ByRef, Graph, Op, Scan, Type, Value, gradients};
use crate::backend::Variable;
use crate::error::{Error, Result};
use std::sync::Arc;

/// Collects the body of a [`Scan`]: a graph whose inputs are carries, rows of the xs, and constants.
///
/// ```
/// use keras_core::{DType, graph::{Binary, Graph, ScanBuilder, Type}};
/// let mut g = Graph::new();
/// let xs = g.input(Type::new([5, 2], DType::F32));
/// let zero = g.full(0.0, &Type::new([2], DType::F32))?;
/// let mut scan = ScanBuilder::new(&g, &[zero], &[xs], &[])?;
/// let (total, x) = (scan.carries()[0], scan.xs()[0]);
/// let next = scan.body.binary(Binary::Add, total, x)?;
/// let (carries, ys) = scan.finish(&mut g, &[next], &[next], false)?;
/// assert_eq!((g.shape(carries[0]), g.shape(ys[0])), (&[2][..], &[5, 2][..]));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct ScanBuilder {
    /// Where the step is written.
    pub body: Graph,
    init: Vec<Value>,
    outer_xs: Vec<Value>,
    consts: Vec<Value>,
    steps: usize,
}

impl ScanBuilder {
    /// A loop with those initial carries, sequences (equal leading axes, at least one) and constants.
    pub fn new(graph: &Graph, init: &[Value], xs: &[Value], consts: &[Value]) -> Result<Self> {
        let lengths: Vec<Option<usize>> = xs.iter().map(|&x| graph.shape(x).first().copied()).collect();
        let steps = match lengths.split_first() {
            Some((&Some(steps), rest)) if steps > 0 && rest.iter().all(|&len| len == Some(steps)) => steps,
            _ => {
                return Err(Error::shape(
                    "scan",
                    "sequences of one length, at least 1",
                    format!("lengths {lengths:?}"),
                ));
            }
        };
        let mut body = Graph::new();
        for &carry in init {
            body.input(graph.ty(carry).clone());
        }
        for &x in xs {
            let ty = graph.ty(x);
            body.input(Type::new(ty.shape.get(1..).unwrap_or_default(), ty.dtype));
        }
        for &value in consts {
            body.input(graph.ty(value).clone());
        }
        Ok(Self { body, init: init.to_vec(), outer_xs: xs.to_vec(), consts: consts.to_vec(), steps })
    }

    fn inputs(start: usize, count: usize) -> Vec<Value> {
        (start..start + count).map(|node| Value { node: node as u32, output: 0 }).collect()
    }

    /// The carries inside the body.
    pub fn carries(&self) -> Vec<Value> {
        Self::inputs(0, self.init.len())
    }

    /// The current rows inside the body.
    pub fn xs(&self) -> Vec<Value> {
        Self::inputs(self.init.len(), self.outer_xs.len())
    }

    /// The constants inside the body.
    pub fn consts(&self) -> Vec<Value> {
        Self::inputs(self.init.len() + self.outer_xs.len(), self.consts.len())
    }

    /// A further constant: a value of the surrounding graph that the body reads as it is.
    pub fn capture(&mut self, graph: &Graph, value: Value) -> Value {
        self.consts.push(value);
        self.body.input(graph.ty(value).clone())
    }

    /// The loop and its operands, for whoever appends it.
    pub(super) fn build(mut self, carries: &[Value], ys: &[Value], reverse: bool) -> (Scan, Vec<Value>) {
        let outputs: Vec<Value> = carries.iter().chain(ys).copied().collect();
        self.body.set_outputs(outputs);
        let operands = self.init.iter().chain(&self.outer_xs).chain(&self.consts).copied().collect();
        let scan = Scan {
            body: self.body,
            carries: self.init.len(),
            xs: self.outer_xs.len(),
            steps: self.steps,
            reverse,
        };
        (scan, operands)
    }

    /// Appends the loop to the graph: the final carries and the collected ys.
    pub fn finish(
        self,
        graph: &mut Graph,
        carries: &[Value],
        ys: &[Value],
        reverse: bool,
    ) -> Result<(Vec<Value>, Vec<Value>)> {
        let (scan, operands) = self.build(carries, ys, reverse);
        let first = graph.add(Op::Scan(ByRef(Arc::new(scan))), &operands)?;
        let results = graph.outputs_of(first);
        let (finals, rest) = results.split_at(carries.len());
        Ok((finals.to_vec(), rest.iter().take(ys.len()).copied().collect()))
    }
}

/// The shape rule of a loop.
#[allow(clippy::indexing_slicing, reason = "the counts are compared first")]
pub(super) fn infer(op: &Op, scan: &Scan, inputs: &[&Type]) -> Result<Vec<Type>> {
    let fail = |what: String| Error::shape(op.name(), what, format!("{inputs:?}"));
    if let Some(node) = scan.body.nodes().iter().find(|node| matches!(node.op, Op::Variable(_))) {
        return Err(Error::state(
            op.name(),
            "a body that reads variables as constants",
            format!("{:?}", node.op),
        )
        .advice("pass the value with ScanBuilder::capture"));
    }
    let feeds: Vec<&Type> = scan
        .body
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Input(_)))
        .map(|node| &node.outputs[0])
        .collect();
    if feeds.len() != inputs.len() || scan.body.outputs().len() < scan.carries || scan.steps == 0 {
        return Err(fail(format!("{} operands and at least one step", feeds.len())));
    }
    for (i, (feed, input)) in feeds.iter().zip(inputs).enumerate() {
        let sequence = (scan.carries..scan.carries + scan.xs).contains(&i);
        let fits = if sequence {
            input.shape.first() == Some(&scan.steps)
                && input.shape[1..] == feed.shape
                && input.dtype == feed.dtype
        } else {
            input == feed
        };
        if !fits {
            return Err(fail(format!(
                "operand {i} of type {feed}{}",
                if sequence { " per step" } else { "" }
            )));
        }
    }
    let mut types: Vec<Type> = scan.body.outputs().iter().map(|&value| scan.body.ty(value).clone()).collect();
    for (i, ty) in types.iter_mut().enumerate() {
        if i < scan.carries {
            if ty != inputs[i] {
                return Err(fail(format!("carry {i} to keep its type {}, the body returns {ty}", inputs[i])));
            }
        } else {
            ty.shape.insert(0, scan.steps);
        }
    }
    for carry in &inputs[..scan.carries] {
        let mut shape = vec![scan.steps];
        shape.extend(&carry.shape);
        types.push(Type { shape, dtype: carry.dtype });
    }
    Ok(types)
}

/// The gradient of a loop is a loop in the other direction that replays the body from the carries kept in reserve.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the counts")]
pub(super) fn vjp(
    graph: &mut Graph,
    scan: &Scan,
    inputs: &[Value],
    outputs: &[Value],
    upstream: &[Option<Value>],
    wanted: &[bool],
) -> Result<Vec<Option<Value>>> {
    let count = scan.body.outputs().len();
    let (carries, ys) = (scan.carries, count - scan.carries);
    let float = |graph: &Graph, value: Value| graph.ty(value).dtype.is_float();
    let consts: Vec<usize> = (carries + scan.xs..inputs.len()).collect();
    let accumulated: Vec<usize> =
        consts.iter().copied().filter(|&i| wanted[i] && float(graph, inputs[i])).collect();
    let moving: Vec<usize> = (0..carries).filter(|&i| float(graph, inputs[i])).collect();
    let flowing: Vec<usize> = (0..ys).filter(|&i| float(graph, outputs[carries + i])).collect();
    let rows: Vec<usize> = (carries..carries + scan.xs).filter(|&i| float(graph, inputs[i])).collect();
    // Gradients into the reserve come from the gradient of a gradient.
    let reserved: Vec<Option<Value>> = moving.iter().map(|&i| upstream[count + i]).collect();

    let grad_or_zero = |graph: &mut Graph, value: Value, grad: Option<Value>| match grad {
        Some(grad) => Ok(grad),
        None => graph.full_like(value, 0.0),
    };
    let mut init = Vec::new();
    for &i in &moving {
        init.push(grad_or_zero(graph, outputs[i], upstream[i])?);
    }
    for &i in &accumulated {
        init.push(graph.full_like(inputs[i], 0.0)?);
    }
    let mut xs: Vec<Value> = outputs[count..].to_vec();
    xs.extend(&inputs[carries..carries + scan.xs]);
    for &i in &flowing {
        xs.push(grad_or_zero(graph, outputs[carries + i], upstream[carries + i])?);
    }
    xs.extend(reserved.iter().flatten());
    let outer_consts: Vec<Value> = consts.iter().map(|&i| inputs[i]).collect();

    let mut back = ScanBuilder::new(graph, &init, &xs, &outer_consts)?;
    let (inner_carries, inner_xs, inner_consts) = (back.carries(), back.xs(), back.consts());
    let mut feeds = inner_xs[..carries + scan.xs].to_vec();
    feeds.extend(&inner_consts);
    let replayed = back.body.inline(&scan.body, &feeds)?;
    let mut seeds = Vec::new();
    for (&i, &grad) in moving.iter().zip(&inner_carries) {
        seeds.push((replayed[i], grad));
    }
    for (&i, &grad) in flowing.iter().zip(&inner_xs[carries + scan.xs..]) {
        seeds.push((replayed[carries + i], grad));
    }
    let targets: Vec<Value> = moving.iter().chain(&rows).chain(&accumulated).map(|&i| feeds[i]).collect();
    let grads = gradients(&mut back.body, &seeds, &targets)?;
    let mut results = Vec::with_capacity(grads.len());
    for (&target, grad) in targets.iter().zip(grads) {
        results.push(grad_or_zero(&mut back.body, target, grad)?);
    }
    let mut next = results[..moving.len()].to_vec();
    let mut kept = inner_xs[carries + scan.xs + flowing.len()..].iter();
    for (total, _) in next.iter_mut().zip(&reserved).filter(|(_, grad)| grad.is_some()) {
        if let Some(&grad) = kept.next() {
            *total = back.body.binary(Binary::Add, *total, grad)?;
        }
    }
    for (&grad, &total) in results[moving.len() + rows.len()..].iter().zip(&inner_carries[moving.len()..]) {
        next.push(back.body.binary(Binary::Add, total, grad)?);
    }
    let per_step = results[moving.len()..moving.len() + rows.len()].to_vec();
    let (finals, collected) = back.finish(graph, &next, &per_step, !scan.reverse)?;

    let mut products = vec![None; inputs.len()];
    for (&i, &grad) in moving.iter().chain(&accumulated).zip(&finals) {
        products[i] = Some(grad);
    }
    for (&i, &grad) in rows.iter().zip(&collected) {
        products[i] = Some(grad);
    }
    Ok(products)
}

impl Graph {
    /// Appends the nodes that another graph's outputs need, with its inputs replaced by values of this one; gives
    /// the values of its outputs.
    pub fn inline(&mut self, other: &Graph, feeds: &[Value]) -> Result<Vec<Value>> {
        self.inline_reading(other, feeds, |_| None)
    }

    /// The same, where some variables stand for values of this graph.
    #[allow(clippy::indexing_slicing, reason = "operands come before users")]
    pub(crate) fn inline_reading(
        &mut self,
        other: &Graph,
        feeds: &[Value],
        variable: impl Fn(&Variable) -> Option<Value>,
    ) -> Result<Vec<Value>> {
        let live = other.reachable(other.outputs());
        let mut moved: Vec<Vec<Value>> = Vec::with_capacity(other.nodes().len());
        for (node, live) in other.nodes().iter().zip(live) {
            let values = match &node.op {
                _ if !live => Vec::new(),
                Op::Input(slot) => vec![*feeds.get(*slot).ok_or_else(|| {
                    Error::value("inline", format!("at least {} feeds", slot + 1), feeds.len().to_string())
                })?],
                op => {
                    if let Op::Variable(read) = op
                        && let Some(value) = variable(read)
                    {
                        moved.push(vec![value]);
                        continue;
                    }
                    let inputs: Vec<Value> = node
                        .inputs
                        .iter()
                        .map(|input| moved[input.node as usize][input.output as usize])
                        .collect();
                    let first = self.append(&node.op, inputs, &node.outputs)?;
                    if node.outputs.len() == 1 { vec![first] } else { self.outputs_of(first) }
                }
            };
            moved.push(values);
        }
        Ok(other.outputs().iter().map(|value| moved[value.node as usize][value.output as usize]).collect())
    }

    /// Appends an operation whose result types are known.
    pub(super) fn append(&mut self, op: &Op, inputs: Vec<Value>, outputs: &[Type]) -> Result<Value> {
        match op {
            Op::Input(_) | Op::Variable(_) | Op::Constant(_) => {
                Ok(self.insert(op.clone(), inputs, outputs.to_vec()))
            }
            _ => self.add(op.clone(), &inputs),
        }
    }
}
