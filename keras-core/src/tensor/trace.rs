//! [`Trace`]: a graph while layers write it: at concrete shapes, in one learning phase.

use super::looping::Outer;
use super::record::{Producer, Replayed};
use super::{Spec, State, SymbolId, Tensor};
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, Type, Value};
use crate::semantics::Semantics;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Whether a program is for training: dropout acts, batch statistics are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Phase {
    /// Keras's learning phase 0.
    #[default]
    Test,
    /// Keras's learning phase 1.
    Train,
}

impl From<bool> for Phase {
    fn from(training: bool) -> Self {
        if training { Self::Train } else { Self::Test }
    }
}

thread_local! {
    static SAID: std::cell::Cell<Option<Phase>> = const { std::cell::Cell::new(None) };
}

impl Phase {
    /// The phase of every call that is recorded in this thread from now on, whatever the program is for; none leaves it to
    /// the program.
    pub(crate) fn say(phase: Option<Self>) {
        SAID.set(phase);
    }

    /// The phase of calls that are recorded now.
    pub(crate) fn said() -> Option<Self> {
        SAID.get()
    }
}

/// What a trace is made for. Default: the test phase, by the rules in force ([`Semantics::current`]).
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The learning phase.
    pub phase: Phase,
    /// The choices among versions of Keras.
    pub semantics: Semantics,
    /// The variables that key random streams: seed and step. Without them, seed 0 and step 0.
    pub random: Option<(Variable, Variable)>,
    /// The layers that do not learn, by their ids: what `compile` saw of their `trainable` flags.
    pub frozen: Arc<HashSet<u64>>,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            phase: Phase::default(),
            semantics: Semantics::current(),
            random: None,
            frozen: Arc::default(),
        }
    }
}

/// A graph under construction. Clones are the same trace.
#[derive(Clone)]
pub struct Trace {
    cell: Arc<Cell>,
    /// What Keras tensors stand for; a nested model has its own.
    memo: Arc<Memo>,
    /// The names of the models around, each followed by a slash.
    path: Arc<str>,
    /// The learning phase: that of the options, unless a call said otherwise.
    phase: Phase,
}

type Memo = Mutex<HashMap<SymbolId, Known>>;

/// What a Keras tensor stands for.
struct Known {
    value: Tensor,
    mask: Option<Tensor>,
    /// A Keras tensor is known by the address of what made it, which must not be given to another meanwhile.
    _alive: Arc<dyn Producer>,
}

struct Cell {
    options: TraceOptions,
    /// The trace around, of the step of a loop.
    outer: Option<Outer>,
    graph: Mutex<Graph>,
    calls: Mutex<HashMap<String, usize>>,
    collected: Mutex<Collected>,
}

/// What layers contribute besides their results.
#[derive(Default, Clone)]
pub struct Collected {
    /// Scalars to add to the loss: activity regularizers, `add_loss`.
    pub losses: Vec<Tensor>,
    /// New values of variables: moving averages, states.
    pub updates: Vec<(Variable, Tensor)>,
}

/// A value of a trace. It does not keep the trace alive: a trace holds tensors, and would then never go.
#[derive(Clone)]
pub struct Traced {
    cell: Weak<Cell>,
    memo: Weak<Memo>,
    path: Arc<str>,
    phase: Phase,
    pub(crate) value: Value,
    /// What a crossentropy sees of what made the value.
    pub(super) sight: Sight,
}

/// What a crossentropy looks at to find the logits of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The operation that made it.
    Open,
    /// That operation, if it is the activation that belongs to the loss.
    Own,
    /// Nothing.
    Closed,
    /// The logits themselves.
    Logits(Value),
}

impl Traced {
    /// The trace, as the call saw it that made the value.
    ///
    /// # Errors
    /// If the trace is over.
    pub(crate) fn trace(&self) -> Result<Trace> {
        let cell = self.cell.upgrade().ok_or_else(|| {
            Error::state("trace", "a tensor of a trace under way", "one of a trace that is over")
                .advice("a traced tensor is valid only inside the call that received it")
        })?;
        let memo = self.memo.upgrade().unwrap_or_default();
        Ok(Trace { cell, memo, path: Arc::clone(&self.path), phase: self.phase })
    }

    fn is_of(&self, trace: &Trace) -> bool {
        std::ptr::eq(self.cell.as_ptr(), Arc::as_ptr(&trace.cell))
    }
}

impl Cell {
    fn new(options: TraceOptions, outer: Option<Outer>) -> Self {
        let (graph, calls, collected) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { options, outer, graph, calls, collected }
    }
}

impl Trace {
    /// An empty trace.
    pub fn new(options: TraceOptions) -> Self {
        let phase = options.phase;
        Self { cell: Arc::new(Cell::new(options, None)), memo: Arc::default(), path: Arc::from(""), phase }
    }

    /// The trace of one step of a loop.
    pub(super) fn inside(outer: Outer) -> Self {
        let (options, path, phase) =
            (outer.trace.options().clone(), Arc::clone(&outer.trace.path), outer.trace.phase);
        Self { cell: Arc::new(Cell::new(options, Some(outer))), memo: Arc::default(), path, phase }
    }

    pub(super) fn outer(&self) -> Option<&Outer> {
        self.cell.outer.as_ref()
    }

    /// How many loops are around.
    pub(crate) fn depth(&self) -> usize {
        self.outer().map_or(0, |outer| outer.depth)
    }

    /// The same trace inside a nested model: its Keras tensors stand for other values at every call.
    pub fn nested(&self, name: &str) -> Self {
        let path = Arc::from(format!("{}{name}/", self.path));
        Self { cell: Arc::clone(&self.cell), memo: Arc::default(), path, phase: self.phase }
    }

    /// The same trace in a learning phase of a call's own.
    pub fn in_phase(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    /// The same trace as a call sees it for which a phase was said, or none.
    pub(crate) fn in_phase_said(&self, phase: Option<Phase>) -> Self {
        phase.map_or_else(|| self.clone(), |phase| self.in_phase(phase))
    }

    /// The names of the models around, each followed by a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the learning phase is 1.
    pub fn is_training(&self) -> bool {
        self.phase == Phase::Train
    }

    /// What it is made for.
    pub fn options(&self) -> &TraceOptions {
        &self.cell.options
    }

    /// The choices among versions of Keras.
    pub fn semantics(&self) -> Semantics {
        self.cell.options.semantics
    }

    /// Reads the graph.
    pub fn with_graph<R>(&self, read: impl FnOnce(&Graph) -> R) -> R {
        read(&self.cell.graph.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes the graph. No function of [`crate::k`] may be called inside.
    pub fn with_graph_mut<R>(&self, write: impl FnOnce(&mut Graph) -> R) -> R {
        write(&mut self.cell.graph.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new feed of that type; poisoned if no memory holds it.
    pub fn input(&self, ty: Type) -> Tensor {
        let spec = Spec::new(ty.shape.iter().copied().map(Some).collect::<Vec<_>>(), ty.dtype);
        if let Err(error) = spec.check_size("an input") {
            return Tensor::poisoned(error);
        }
        let value = self.with_graph_mut(|graph| graph.input(ty));
        self.tensor(value)
    }

    /// A value of the graph as a tensor.
    pub fn tensor(&self, value: Value) -> Tensor {
        let (cell, memo) = (Arc::downgrade(&self.cell), Arc::downgrade(&self.memo));
        let (path, phase, sight) = (Arc::clone(&self.path), self.phase, Sight::Open);
        Tensor(State::Traced(Traced { cell, memo, path, phase, value, sight }))
    }

    /// The value of a tensor in this graph: literals and variables are appended, Keras tensors replayed. Inside a loop,
    /// what does not depend on the step comes from outside.
    pub fn lift(&self, tensor: &Tensor) -> Result<Value> {
        match (&tensor.check()?.0, self.outer()) {
            (State::Traced(traced), _) if traced.is_of(self) => return Ok(traced.value),
            (State::Constant(_), _) | (_, None) => {}
            (State::Symbol(_), _) if self.knows_source_of(tensor) => {}
            (_, Some(outer)) => return Ok(outer.capture(self, outer.trace.lift(tensor)?)),
        }
        match &tensor.0 {
            State::Constant(array) => Ok(self.with_graph_mut(|graph| graph.constant((**array).clone()))),
            State::Variable(variable) => Ok(self.with_graph_mut(|graph| graph.variable(variable))),
            State::Symbol(_) => {
                let (traced, _) = self.replay(tensor)?;
                self.lift(&traced)
            }
            State::Traced(_) | State::Poisoned(_) => {
                Err(Error::state("trace", "a tensor of this trace", "one of another")
                    .advice("a traced tensor is valid only inside the call that received it"))
            }
        }
    }

    /// Says what a Keras tensor stands for in this trace, with its mask.
    pub fn feed(&self, symbol: &Tensor, value: Tensor, mask: Option<Tensor>) {
        if let Some(symbol) = symbol.symbol() {
            let id = SymbolId::of(&symbol.producer, symbol.output);
            self.known().insert(id, Known { value, mask, _alive: Arc::clone(&symbol.producer) });
        }
    }

    /// The value and the mask of a Keras tensor: calls everything again that led to it and was not called yet.
    pub fn replay(&self, tensor: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let known = |tensor: &Tensor| -> Option<(Tensor, Option<Tensor>)> {
            match tensor.symbol_id() {
                Some(id) => self.known().get(&id).map(|known| (known.value.clone(), known.mask.clone())),
                None => Some((tensor.clone(), None)),
            }
        };
        // An explicit stack: models may be thousands of layers deep.
        let mut stack = vec![tensor.clone()];
        while let Some(top) = stack.last() {
            if known(top).is_some() {
                stack.pop();
                continue;
            }
            let Some(symbol) = top.check()?.symbol().cloned() else { break };
            let missing: Vec<Tensor> =
                symbol.producer.inputs().iter().filter(|input| known(input).is_none()).cloned().collect();
            if !missing.is_empty() {
                for input in missing {
                    input.check()?;
                    stack.push(input);
                }
                continue;
            }
            let (inputs, masks): (Vec<_>, Vec<_>) = symbol.producer.inputs().iter().filter_map(known).unzip();
            let results: Replayed = symbol.producer.replay(self, &inputs, &masks)?;
            for (output, (value, mask)) in results.into_iter().enumerate() {
                value.check()?;
                let known = Known { value, mask, _alive: Arc::clone(&symbol.producer) };
                self.known().insert(SymbolId::of(&symbol.producer, output), known);
            }
            if known(top).is_none() {
                return Err(Error::state(symbol.producer.name(), "a result for every output", "fewer"));
            }
            stack.pop();
        }
        known(tensor).ok_or_else(|| Error::state("trace", "a tensor", "none"))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SymbolId, Known>> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often this was asked for `path` before: the call index of a shared layer.
    pub fn count_call(&self, path: &str) -> usize {
        if let Some(outer) = self.outer() {
            return outer.trace.count_call(path);
        }
        let mut calls = self.cell.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(path.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    pub(super) fn knows_nothing(&self) -> bool {
        self.known().is_empty()
    }

    pub(super) fn is_known(&self, tensor: &Tensor) -> bool {
        tensor.symbol_id().is_some_and(|id| self.known().contains_key(&id))
    }

    /// Adds a scalar to the loss.
    pub fn add_loss(&self, loss: Tensor) {
        self.cell.collected.lock().unwrap_or_else(PoisonError::into_inner).losses.push(loss);
    }

    /// Says what a variable becomes after the step. A second update of it in one trace replaces the value that
    /// [`Trace::updated`] gives, so that updates compose in call order.
    pub fn update(&self, variable: &Variable, value: Tensor) {
        let mut collected = self.cell.collected.lock().unwrap_or_else(PoisonError::into_inner);
        match collected.updates.iter_mut().find(|(known, _)| known == variable) {
            Some((_, known)) => *known = value,
            None => collected.updates.push((variable.clone(), value)),
        }
    }

    /// What a variable will be after the updates so far.
    pub fn updated(&self, variable: &Variable) -> Tensor {
        let collected = self.cell.collected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = collected.updates.iter().find(|(known, _)| known == variable);
        let known = known.map(|(_, value)| value.clone());
        drop(collected);
        match (known, self.outer()) {
            (Some(value), _) => value,
            (None, None) => Tensor::variable(variable),
            (None, Some(outer)) => match outer.carried(self, variable) {
                Ok(value) => self.tensor(value),
                Err(error) => Tensor::poisoned(error),
            },
        }
    }

    /// Losses and updates so far.
    pub fn collected(&self) -> Collected {
        self.cell.collected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the trace: the graph returns `outputs` and updates variables. If it draws random numbers, it also advances
    /// the step that keys them, so that the next run draws others.
    pub(crate) fn finish(&self, outputs: &[Tensor], mut updates: Vec<(Variable, Tensor)>) -> Result<()> {
        let outputs = outputs.iter().map(|tensor| self.lift(tensor)).collect::<Result<Vec<_>>>()?;
        let draws = |graph: &Graph| graph.nodes().iter().any(|node| matches!(node.op, Op::Random { .. }));
        if let Some((_, step)) = self.options().random.as_ref().filter(|_| self.with_graph(draws)) {
            updates.push((step.clone(), Tensor::variable(step) + 1.0));
        }
        let mut lifted = Vec::with_capacity(updates.len());
        for (variable, value) in updates {
            lifted.push((variable, self.lift(&value)?));
        }
        self.with_graph_mut(|graph| {
            graph.set_outputs(outputs);
            graph.set_updates(lifted);
        });
        Ok(())
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.with_graph(|graph| write!(f, "{graph:?}"))
    }
}
