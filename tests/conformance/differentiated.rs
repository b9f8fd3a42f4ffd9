//! Every operation with its gradients, as programs of an engine: with the operands of its cases, of generated shapes, and with
//! empty axes.

use crate::check::Outcome;
use crate::compare::{bounds, differ_in_sign, difference};
use crate::{Case, Computation, Expected, Failure, Numbers, Report, cases, generated};
use keras_core::backend::reference::{Reference, Tolerance, tolerance};
use keras_core::backend::{Backend, Engine};
use keras_core::graph::{Graph, Op, Type, gradients};
use keras_core::{Array, DType, Result};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Compares results and gradients of every operation with the reference's, decompositions included: what a backend has
/// no kernel for runs as the engine runs it.
///
/// ```
/// use keras_core::backend::contrary::Contrary;
/// let report = conformance::run_differentiated(Contrary)?;
/// assert!(report.is_ok(), "{report}");
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the backend cannot run here.
pub fn run_differentiated<B: Backend>(backend: B) -> Result<Report> {
    let (engine, reference) = (Engine::new(backend)?, Engine::new(Reference)?);
    let mut report = Report::new(engine.backend().name());
    let reached = RefCell::new(BTreeSet::new());
    let checked = |case: &Case| {
        let outcome = check(case, &engine, &reference)?;
        if let (Outcome::Passed, Computation::Op(op)) = (&outcome, &case.computation)
            && !case.inputs.iter().any(Array::is_empty)
        {
            let types: Vec<Type> = case.inputs.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
            let support = engine.backend().supports(op, &types.iter().collect::<Vec<_>>());
            reached.borrow_mut().insert((op.name(), support.name()));
        }
        Some(outcome)
    };
    for case in cases() {
        let operands = emptied(&case.inputs);
        for case in std::iter::once(case.clone()).chain(operands.into_iter().map(|x| with(&case, x))) {
            if let Some(outcome) = checked(&case) {
                report.add(outcome);
            }
        }
    }
    generated::run(&mut report, "", checked);
    report.reached = reached.into_inner();
    Ok(report)
}

/// The case with other operands.
fn with(case: &Case, inputs: Vec<Array>) -> Case {
    Case { inputs, ..case.clone() }
}

/// What comes of a case as a program; none if it is no such case.
fn check<B: Backend>(case: &Case, engine: &Engine<B>, reference: &Engine<Reference>) -> Option<Outcome> {
    let Computation::Op(op) = &case.computation else { return None };
    // Fusion makes kernels, after gradients were taken; of a max_pool_grad, the table has positions that no pooling
    // gives, and max_pool has it as its gradient; a number out of range becomes any other.
    let apart = matches!(op, Op::Kernel(_) | Op::Epilogue(..) | Op::MaxPoolGrad(..))
        || case.title.contains("saturates");
    if apart || case.expected == Expected::Error || !case.views.is_empty() {
        return None;
    }
    Some(Program::of(op, &case.inputs)?.compare(case, engine, reference))
}

/// The operands with an axis of no length, one axis after the other; those without the axis as they are.
fn emptied(operands: &[Array]) -> Vec<Vec<Array>> {
    let rank = operands.iter().map(Array::rank).max().unwrap_or_default();
    let without = |x: &Array, axis: usize| {
        let mut shape = x.shape().to_vec();
        match shape.get_mut(axis) {
            Some(len) => {
                *len = 0;
                Array::from_vec(&shape, Vec::<f64>::new())
                    .map_or_else(|_| x.clone(), |empty| empty.cast(x.dtype()))
            }
            None => x.clone(),
        }
    };
    (0..rank).map(|axis| operands.iter().map(|x| without(x, axis)).collect()).collect()
}

/// An operation on feeds, and the gradients of its first result.
struct Program {
    graph: Graph,
    /// How many of its outputs are the operation's own.
    results: usize,
    feeds: Vec<Array>,
}

impl Program {
    /// None if the operation does not take these operands.
    fn of(op: &Op, operands: &[Array]) -> Option<Self> {
        let mut graph = Graph::new();
        let ty = |x: &Array| Type::new(x.shape(), x.dtype());
        let inputs: Vec<_> = operands.iter().map(|x| graph.input(ty(x))).collect();
        let first = graph.add(op.clone(), &inputs).ok()?;
        let mut outputs = graph.outputs_of(first);
        let results = outputs.len();
        let mut feeds = operands.to_vec();
        let result = *outputs.first()?;
        let result_type = graph.ty(result).clone();
        if result_type.dtype.is_float() {
            let direction =
                Numbers::new(result_type.shape.len() as u64 + 1).array(result_type.dtype, &result_type.shape);
            let dy = graph.input(result_type);
            feeds.push(direction);
            let sources: Vec<_> = inputs.iter().copied().filter(|&x| graph.ty(x).dtype.is_float()).collect();
            let found = gradients(&mut graph, &[(result, dy)], &sources).ok()?;
            outputs.extend(found.into_iter().flatten());
        }
        graph.set_outputs(outputs);
        Some(Self { graph, results, feeds })
    }

    fn run<B: Backend>(&self, engine: &Engine<B>) -> Result<Vec<Array>> {
        engine.compile(&self.graph)?.run(&self.feeds)
    }

    fn compare<B: Backend>(&self, case: &Case, engine: &Engine<B>, reference: &Engine<Reference>) -> Outcome {
        let shapes: Vec<&[usize]> = self.feeds.iter().map(Array::shape).collect();
        let failed = |index: Vec<usize>, expected: String, received: String| {
            let layout = format!("with gradients, on {shapes:?}");
            Outcome::Failed(Box::new(Failure {
                case: case.name(),
                op: case.op_name(),
                layout,
                index,
                expected,
                received,
            }))
        };
        let expected = match (self.run(reference), self.run(engine)) {
            (Ok(expected), _) => expected,
            // Of nothing, there is nothing to gather.
            (Err(_), Err(_)) => return Outcome::Passed,
            (Err(error), Ok(_)) => {
                return failed(Vec::new(), format!("the error {error}"), "a result".into());
            }
        };
        let types = self.feeds.iter().chain(&expected).map(Array::dtype);
        if let Some(dtype) = types.into_iter().find(|&dtype| !engine.backend().supports_dtype(dtype)) {
            return Outcome::Skipped(format!("no element type {dtype}"));
        }
        let received = match self.run(engine) {
            Ok(received) => received,
            Err(error) => return failed(Vec::new(), "a result".into(), error.to_string()),
        };
        let own = expected.get(..self.results).unwrap_or_default();
        let bounds = match bounds(case, &case.inputs, own) {
            Ok(bounds) => bounds,
            Err(error) => return failed(Vec::new(), "bounds".into(), error.to_string()),
        };
        // Of a sum of products only the algorithm says which zeros it adds.
        let signed = !matches!(
            tolerance(case.op_name(), DType::F32),
            Tolerance::LargestTerms | Tolerance::Absolute(_)
        );
        for (at, (expected, received)) in expected.iter().zip(&received).enumerate() {
            if let Some(bound) = bounds.get(at) {
                if let Some(found) = difference(expected, received, bound) {
                    return failed([vec![at], found.index].concat(), found.expected, found.received);
                }
                continue;
            }
            if (expected.shape(), expected.dtype()) != (received.shape(), received.dtype()) {
                let shape = |x: &Array| format!("{} {:?}", x.dtype(), x.shape());
                return failed(vec![at], shape(expected), shape(received));
            }
            if let Some((i, expected, received)) = apart(expected, received, signed) {
                return failed(vec![at, i], format!("{expected:?}"), format!("{received:?}"));
            }
        }
        Outcome::Passed
    }
}

/// The first element that is further away than the steps of a gradient may round: of numbers that are not finite, one that
/// is not the same; and if `signed` a zero of the other sign.
fn apart(expected: &Array, received: &Array, signed: bool) -> Option<(usize, f64, f64)> {
    let tolerance = if expected.dtype() == DType::F32 { 1e-4 } else { 1e-9 };
    let (expected, received) = (expected.to_vec::<f64>(), received.to_vec::<f64>());
    let scale = expected.iter().filter(|x| x.is_finite()).fold(1.0_f64, |most, x| most.max(x.abs()));
    let differs = |(a, b): (f64, f64)| {
        if a.is_finite() {
            signed && differ_in_sign(a, b) || b.is_nan() || (a - b).abs() > tolerance * scale
        } else {
            a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan())
        }
    };
    let at = expected.iter().zip(&received).position(|(a, b)| differs((*a, *b)))?;
    Some((at, *expected.get(at)?, *received.get(at)?))
}
