//! Recorded calls on Keras tensors, and how the spec of their results is found.

use super::{Phase, Spec, State, Symbol, Tensor, Trace, TraceOptions};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::graph::{Graph, Type, Value};
use std::any::Any;
use std::panic::Location;
use std::sync::Arc;

/// Something that was called on tensors and made others: an input, a layer call, an operation.
pub trait Producer: Any + Send + Sync {
    /// The name in messages.
    fn name(&self) -> &str;
    /// What it was called on.
    fn inputs(&self) -> &[Tensor];
    /// Calls it again on values of a trace; `masks` belong to the inputs. Gives results and their masks.
    fn replay(&self, trace: &Trace, inputs: &[Tensor], masks: &[Option<Tensor>]) -> Result<Replayed>;
}

/// What a replayed call gives: a result per output, with its mask.
pub(crate) type Replayed = Vec<(Tensor, Option<Tensor>)>;

/// What a Keras tensor is known by: the address of what made it, and which of its results it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SymbolId {
    producer: usize,
    output: usize,
}

impl SymbolId {
    pub(crate) fn of(producer: &Arc<dyn Producer>, output: usize) -> Self {
        Self { producer: Arc::as_ptr(producer).cast::<()>() as usize, output }
    }
}

/// What an operation does when it is traced: writes nodes for operand values.
pub type Call = Arc<dyn Fn(&Trace, &mut Graph, &[Value]) -> Result<Vec<Value>> + Send + Sync>;

/// What an operation does that is itself written in functions of [`crate::k`].
pub(crate) type TracedCall = Arc<dyn Fn(&Trace, &[Tensor]) -> Result<Vec<Tensor>> + Send + Sync>;

/// A recorded operation of [`crate::k`].
pub(crate) struct OpCall {
    name: String,
    inputs: Vec<Tensor>,
    call: TracedCall,
    /// The learning phase that was said when it was recorded.
    phase: Option<Phase>,
}

impl Producer for OpCall {
    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn replay(&self, trace: &Trace, inputs: &[Tensor], _: &[Option<Tensor>]) -> Result<Replayed> {
        let trace = &trace.in_phase_said(self.phase);
        Ok((self.call)(trace, inputs)?.into_iter().map(|tensor| (tensor, None)).collect())
    }
}

fn run(trace: &Trace, call: &Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut values = Vec::with_capacity(inputs.len());
    for input in inputs {
        values.push(trace.lift(input)?);
    }
    let results = trace.with_graph_mut(|graph| call(trace, graph, &values))?;
    Ok(results.into_iter().map(|value| trace.tensor(value)).collect())
}

/// Runs an operation on traced tensors, or records it on Keras tensors; an error poisons the results.
#[track_caller]
pub(crate) fn apply(name: &str, inputs: &[&Tensor], outputs: usize, call: Call) -> Vec<Tensor> {
    apply_traced(name, inputs, outputs, Arc::new(move |trace, tensors| run(trace, &call, tensors)))
}

/// The same for an operation that is itself written in functions of [`crate::k`].
#[track_caller]
pub(crate) fn apply_traced(name: &str, inputs: &[&Tensor], outputs: usize, call: TracedCall) -> Vec<Tensor> {
    let place = Location::caller();
    try_apply(name, inputs, call).unwrap_or_else(|error| {
        // Where a layer of this crate calls, the layer says more than its source.
        let own = file!().strip_suffix("tensor/record.rs").is_some_and(|own| place.file().starts_with(own));
        let error = if own {
            error.within(name)
        } else if error.report().doing.contains(".rs:") {
            error
        } else {
            error.within(format!("{name} at {}:{}", place.file(), place.line()))
        };
        vec![Tensor::poisoned(error); outputs]
    })
}

fn try_apply(name: &str, inputs: &[&Tensor], call: TracedCall) -> Result<Vec<Tensor>> {
    let mut trace: Option<Trace> = None;
    for input in inputs {
        if let State::Traced(traced) = &input.check()?.0 {
            let candidate = traced.trace()?;
            // Inside a loop, operands from outside are welcome.
            if trace.as_ref().is_none_or(|known| candidate.depth() >= known.depth()) {
                trace = Some(candidate);
            }
        }
    }
    let owned: Vec<Tensor> = inputs.iter().map(|&tensor| tensor.clone()).collect();
    match trace {
        // Keras tensors among the operands (of variables, or of what the trace was fed) are replayed.
        Some(trace) => call(&trace, &owned),
        None => {
            let specs = owned.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?;
            let results = probe(&specs, |trace, values| call(trace, values))?;
            let phase = Phase::said();
            let producer: Arc<dyn Producer> =
                Arc::new(OpCall { name: name.to_owned(), inputs: owned, call, phase });
            Ok(symbols(&producer, results))
        }
    }
}

/// The Keras tensors that a producer makes.
pub(crate) fn symbols(producer: &Arc<dyn Producer>, specs: Vec<Spec>) -> Vec<Tensor> {
    let masked = vec![false; specs.len()];
    masked_symbols(producer, specs, &masked)
}

/// The same, some of them masked.
pub(crate) fn masked_symbols(producer: &Arc<dyn Producer>, specs: Vec<Spec>, masked: &[bool]) -> Vec<Tensor> {
    let symbol = |(output, spec): (usize, Spec)| {
        let masked = masked.get(output).copied().unwrap_or(false);
        Tensor(State::Symbol(Symbol { producer: Arc::clone(producer), output, spec, masked }))
    };
    specs.into_iter().enumerate().map(symbol).collect()
}

/// Finds the specs of results by tracing twice with different lengths for the open axes: what differs is open.
pub(crate) fn probe(
    specs: &[Spec],
    call: impl Fn(&Trace, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Spec>> {
    let once = |length: usize| -> Result<Vec<Spec>> {
        let trace = Trace::new(TraceOptions::default());
        let inputs: Vec<Tensor> = specs
            .iter()
            .map(|spec| {
                let shape: Vec<usize> = spec.shape.iter().map(|len| len.unwrap_or(length)).collect();
                trace.input(Type::new(shape, spec.dtype))
            })
            .collect();
        call(&trace, &inputs)?.iter().map(Tensor::spec).collect()
    };
    if specs.iter().all(|spec| spec.shape.iter().all(Option::is_some)) {
        return once(1);
    }
    // Two primes tell apart what depends on an open axis; where a call needs divisible lengths, two numbers that
    // most things divide.
    let (first, second) = match (once(83), once(89)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => match (once(5040), once(10080)) {
            (Ok(first), Ok(second)) => (first, second),
            _ => return Err(error),
        },
    };
    if first.len() != second.len() || first.iter().zip(&second).any(|(a, b)| a.rank() != b.rank()) {
        return Err(Error::shape(
            "call",
            "results whose rank does not depend on lengths",
            format!("{first:?}"),
        ));
    }
    Ok(first
        .into_iter()
        .zip(second)
        .map(|(a, b)| Spec {
            shape: a.shape.iter().zip(&b.shape).map(|(a, b)| if a == b { *a } else { None }).collect(),
            dtype: a.dtype,
        })
        .collect())
}

/// The symbolic 0/1 scalar that says whether a trace is for training.
pub(crate) struct LearningPhase;

impl Producer for LearningPhase {
    fn name(&self) -> &'static str {
        "learning_phase"
    }

    fn inputs(&self) -> &[Tensor] {
        &[]
    }

    fn replay(&self, trace: &Trace, _: &[Tensor], _: &[Option<Tensor>]) -> Result<Replayed> {
        let value =
            trace.with_graph_mut(|graph| graph.scalar(f64::from(u8::from(trace.is_training())), DType::Bool));
        Ok(vec![(trace.tensor(value), None)])
    }
}

/// A symbolic tensor that has to be fed, made by `k::placeholder`.
pub(crate) struct Placeholder {
    pub(crate) name: String,
}

impl Producer for Placeholder {
    fn name(&self) -> &str {
        &self.name
    }

    fn inputs(&self) -> &[Tensor] {
        &[]
    }

    fn replay(&self, _: &Trace, _: &[Tensor], _: &[Option<Tensor>]) -> Result<Replayed> {
        Err(Error::state(format!("placeholder {}", self.name), "a value fed for it", "none")
            .advice("name it among the function's inputs"))
    }
}
