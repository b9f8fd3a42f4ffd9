//! [`Loop`]: a step written once as a trace of its own, which becomes a [`Scan`](crate::graph::Scan).

use super::{State, Tensor, Trace};
use crate::array::{Array, DType};
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::graph::{Distribution, Graph, Op, ScanBuilder, Type, Value};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an input of the body stands for outside.
#[derive(Clone, Copy)]
enum Source {
    /// The value before the first step, of a carry with that number.
    Carry(Value, usize),
    /// A sequence, of which each step sees its row.
    Rows(Value),
    /// A value that is the same in every step.
    Same(Value),
}

/// How a trace is connected with the one around it.
pub(super) struct Outer {
    pub(super) trace: Trace,
    pub(super) depth: usize,
    steps: usize,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    /// By the number of the body's input.
    sources: Vec<Source>,
    same: HashMap<Value, Value>,
    carries: usize,
    /// Variables that steps update: each is a carry.
    variables: Vec<(Variable, Value, usize)>,
}

impl Outer {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn input(&self, inside: &Trace, ty: Type, source: impl FnOnce(&mut Links) -> Source) -> Value {
        let mut links = self.links();
        let source = source(&mut links);
        links.sources.push(source);
        inside.with_graph_mut(|graph| graph.input(ty))
    }

    /// A value of the trace around, inside the body.
    pub(super) fn capture(&self, inside: &Trace, value: Value) -> Value {
        let known = self.links().same.get(&value).copied();
        known.unwrap_or_else(|| {
            let ty = self.trace.with_graph(|graph| graph.ty(value).clone());
            let inner = self.input(inside, ty, |_| Source::Same(value));
            self.links().same.insert(value, inner);
            inner
        })
    }

    fn rows(&self, inside: &Trace, xs: Value) -> Result<Value> {
        let ty = self.trace.with_graph(|graph| graph.ty(xs).clone());
        match ty.shape.split_first() {
            Some((&steps, row)) if steps == self.steps => {
                Ok(self.input(inside, Type::new(row, ty.dtype), |_| Source::Rows(xs)))
            }
            _ => Err(Error::shape("loop", format!("a sequence of {} steps", self.steps), ty.to_string())),
        }
    }

    fn carry(&self, inside: &Trace, init: Value) -> (Value, usize) {
        let ty = self.trace.with_graph(|graph| graph.ty(init).clone());
        let mut number = 0;
        let inner = self.input(inside, ty, |links| {
            number = links.carries;
            links.carries += 1;
            Source::Carry(init, number)
        });
        (inner, number)
    }

    /// The value of a variable that earlier steps may have updated.
    pub(super) fn carried(&self, inside: &Trace, variable: &Variable) -> Result<Value> {
        let known = self.links().variables.iter().find(|(v, ..)| v == variable).map(|(_, value, _)| *value);
        if let Some(value) = known {
            return Ok(value);
        }
        let init = self.trace.lift(&self.trace.updated(variable))?;
        let (value, number) = self.carry(inside, init);
        self.links().variables.push((variable.clone(), value, number));
        Ok(value)
    }

    /// Random numbers that differ from step to step: drawn outside, a row per step.
    pub(super) fn random(
        &self,
        inside: &Trace,
        seed: Option<i64>,
        stream: u64,
        output: &Type,
        distribution: Distribution,
    ) -> Result<Value> {
        let mut all = vec![self.steps];
        all.extend(&output.shape);
        let drawn = self.trace.random_of(seed, stream, &Type::new(all, output.dtype), distribution)?;
        self.rows(inside, self.trace.lift(&drawn)?)
    }
}

/// A loop under construction: layers and functions of [`crate::k`] write one step on traced tensors of
/// [`Loop::inside`], where tensors from outside may be used as they are.
///
/// Losses that the step adds are summed over the steps, variables that it updates are carried from step to step, and
/// random numbers differ between steps.
pub(crate) struct Loop {
    inside: Trace,
    nexts: Vec<(usize, Value)>,
    ys: Vec<Value>,
}

impl Loop {
    /// A loop of that many steps in a trace.
    pub(crate) fn new(around: &Trace, steps: usize) -> Self {
        let outer =
            Outer { trace: around.clone(), depth: around.depth() + 1, steps, links: Mutex::default() };
        Self { inside: Trace::inside(outer), nexts: Vec::new(), ys: Vec::new() }
    }

    /// The trace of one step.
    pub(crate) fn inside(&self) -> &Trace {
        &self.inside
    }

    fn outer(&self) -> Result<&Outer> {
        self.inside.outer().ok_or_else(|| Error::state("loop", "a trace around", "none"))
    }

    /// A carry with its value before the first step: what a step sees, and the number for [`Loop::next`].
    pub(crate) fn carry(&self, init: &Tensor) -> Result<(Tensor, usize)> {
        let outer = self.outer()?;
        let (value, number) = outer.carry(&self.inside, outer.trace.lift(init)?);
        Ok((self.inside.tensor(value), number))
    }

    /// What a step sees of a sequence `(steps, …)`.
    pub(crate) fn row(&self, xs: &Tensor) -> Result<Tensor> {
        let outer = self.outer()?;
        Ok(self.inside.tensor(outer.rows(&self.inside, outer.trace.lift(xs)?)?))
    }

    /// What a carry becomes.
    pub(crate) fn next(&mut self, carry: usize, value: &Tensor) -> Result<()> {
        let value = self.inside.lift(value)?;
        self.nexts.push((carry, value));
        Ok(())
    }

    /// Collects a value of every step.
    pub(crate) fn collect(&mut self, y: &Tensor) -> Result<()> {
        let y = self.inside.lift(y)?;
        self.ys.push(y);
        Ok(())
    }

    /// Appends the loop to the trace around: the last value of every carry, by number, and the collected sequences.
    pub(crate) fn finish(self, reverse: bool) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let outer = self.outer()?;
        let collected = self.inside.collected();
        let mut ys = self.ys.clone();
        for loss in &collected.losses {
            ys.push(self.inside.lift(loss)?);
        }
        let mut updated = Vec::new();
        for (variable, value) in &collected.updates {
            let value = self.inside.lift(value)?;
            outer.carried(&self.inside, variable)?;
            updated.push((variable.clone(), value));
        }
        let links = std::mem::take(&mut *outer.links());
        let mut nexts: Vec<Option<Value>> = vec![None; links.carries];
        let mut set = |number: usize, value: Value| {
            if let Some(next) = nexts.get_mut(number) {
                *next = Some(value);
            }
        };
        for &(number, value) in &self.nexts {
            set(number, value);
        }
        for (variable, value, number) in &links.variables {
            let next = updated.iter().find(|(known, _)| known == variable);
            set(*number, next.map_or(*value, |(_, next)| *next));
        }
        let nexts = nexts.into_iter().collect::<Option<Vec<Value>>>();
        let nexts = nexts.ok_or_else(|| Error::state("loop", "a next value for every carry", "fewer"))?;
        let mut body = self.inside.with_graph_mut(std::mem::take);
        body.set_outputs(nexts.iter().chain(&ys).copied().collect::<Vec<_>>());
        let (finals, collected_ys) =
            outer.trace.with_graph_mut(|graph| append(graph, &body, &links, nexts.len(), reverse))?;

        let outside = |values: &[Value]| -> Vec<Tensor> {
            values.iter().map(|&value| outer.trace.tensor(value)).collect()
        };
        let (sequences, losses) = collected_ys.split_at(self.ys.len().min(collected_ys.len()));
        for loss in outside(losses) {
            outer.trace.add_loss(crate::k::sum(&loss, &[], false));
        }
        let finals = outside(&finals);
        for (variable, _, number) in &links.variables {
            if let (true, Some(last)) = (updated.iter().any(|(v, _)| v == variable), finals.get(*number)) {
                outer.trace.update(variable, last.clone());
            }
        }
        Ok((finals, outside(sequences)))
    }
}

/// Appends the loop: its body with the inputs in the order of a [`Scan`](crate::graph::Scan).
fn append(
    graph: &mut Graph,
    body: &Graph,
    links: &Links,
    carries: usize,
    reverse: bool,
) -> Result<(Vec<Value>, Vec<Value>)> {
    let (mut init, mut xs, mut same) = (vec![None; carries], Vec::new(), Vec::new());
    for source in &links.sources {
        match *source {
            Source::Carry(value, number) => {
                if let Some(init) = init.get_mut(number) {
                    *init = Some(value);
                }
            }
            Source::Rows(value) => xs.push(value),
            Source::Same(value) => same.push(value),
        }
    }
    let init: Vec<Value> = init.into_iter().flatten().collect();
    // A step may have read variables directly; inside a loop they are constants.
    let read: Vec<Variable> = body
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::Variable(variable) => Some(variable.clone()),
            _ => None,
        })
        .collect();
    let first_read = same.len();
    for variable in &read {
        same.push(graph.variable(variable));
    }
    let mut scan = ScanBuilder::new(graph, &init, &xs, &same)?;
    let (inner, rows, constants) = (scan.carries(), scan.xs(), scan.consts());
    let (mut rows, mut constants_left) = (rows.into_iter(), constants.iter().copied());
    let mut feeds = Vec::with_capacity(links.sources.len());
    for source in &links.sources {
        let value = match *source {
            Source::Carry(_, number) => inner.get(number).copied(),
            Source::Rows(_) => rows.next(),
            Source::Same(_) => constants_left.next(),
        };
        feeds.push(value.ok_or_else(|| Error::state("loop", "an input for every source", "fewer"))?);
    }
    let values = scan.body.inline_reading(body, &feeds, |variable| {
        let at = read.iter().position(|known| known == variable)?;
        constants.get(first_read + at).copied()
    })?;
    let (nexts, ys) = values.split_at(carries.min(values.len()));
    scan.finish(graph, nexts, ys, reverse)
}

impl Trace {
    /// Random numbers of a stream, keyed by the trace's seed and step; in a loop, others in every step.
    pub(crate) fn random(&self, stream: u64, output: &Type, distribution: Distribution) -> Result<Tensor> {
        self.random_of(None, stream, output, distribution)
    }

    /// The same, of a seed of their own instead of the trace's.
    pub(crate) fn random_of(
        &self,
        seed: Option<i64>,
        stream: u64,
        output: &Type,
        distribution: Distribution,
    ) -> Result<Tensor> {
        if let Some(outer) = self.outer() {
            return Ok(self.tensor(outer.random(self, seed, stream, output, distribution)?));
        }
        let value = self.with_graph_mut(|graph| {
            let (own, step) = match &self.options().random {
                Some((seed, step)) => (graph.variable(seed), graph.variable(step)),
                None => (graph.scalar(0.0, DType::I64), graph.scalar(0.0, DType::I64)),
            };
            let seed = seed.map_or(own, |seed| graph.constant(Array::from(seed)));
            graph.add(Op::Random { distribution, stream, output: output.clone() }, &[seed, step])
        })?;
        Ok(self.tensor(value))
    }

    /// Whether a Keras tensor can be computed from what this memo was told of it.
    pub(super) fn knows_source_of(&self, tensor: &Tensor) -> bool {
        if self.knows_nothing() {
            return false;
        }
        let mut seen = std::collections::HashSet::new();
        let mut stack = vec![tensor.clone()];
        while let Some(tensor) = stack.pop() {
            let State::Symbol(symbol) = &tensor.0 else { continue };
            let Some(id) = tensor.symbol_id() else { continue };
            if self.is_known(&tensor) {
                return true;
            }
            if seen.insert(id) {
                stack.extend(symbol.producer.inputs().iter().cloned());
            }
        }
        false
    }
}
