//! Steps over time: `K.rnn`, `K.map_fn`, `K.foldl`, `K.foldr`.

use super::{number, permute_dimensions, reshape, reverse, select, slice_axis, stack};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::semantics::MaskedOutput;
use crate::tensor::looping::Loop;
use crate::tensor::record::apply_traced;
use crate::tensor::{Spec, Tensor, Trace};
use std::sync::Arc;

/// Options of [`rnn`]: those of `K.rnn`, with its defaults.
#[derive(Debug, Clone, Default)]
pub struct Rnn {
    go_backwards: bool,
    mask: Option<Tensor>,
    constants: Vec<Tensor>,
    unroll: bool,
    zero_output_for_mask: bool,
}

impl Rnn {
    /// From the first step to the last, without a mask, as one loop.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the last step to the first; the results are then in that order too.
    pub fn go_backwards(mut self, go_backwards: bool) -> Self {
        self.go_backwards = go_backwards;
        self
    }

    /// Truth values `(batch, time)`: where false, a step changes no state and repeats the result before it.
    pub fn mask(mut self, mask: impl Into<Option<Tensor>>) -> Self {
        self.mask = mask.into();
        self
    }

    /// Tensors that every step sees behind its states.
    pub fn constants<'a>(mut self, constants: impl IntoIterator<Item = &'a Tensor>) -> Self {
        self.constants = constants.into_iter().cloned().collect();
        self
    }

    /// Whether every step is written out; the results are the same.
    pub fn unroll(mut self, unroll: bool) -> Self {
        self.unroll = unroll;
        self
    }

    /// Whether masked steps give zeros instead of the result before them (tf.keras).
    pub fn zero_output_for_mask(mut self, zero: bool) -> Self {
        self.zero_output_for_mask = zero;
        self
    }
}

/// Runs a step over the second axis of `(batch, time, …)`: from the step's input and the states to a result and the
/// next states. Gives the last result, all results `(batch, time, …)`, and the last states.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(5), Some(3)], "x");
/// let zero = k::placeholder([None, Some(3)], "zero");
/// let (last, all, states) = k::rnn(
///     |x, states| {
///         let sum = x + &states[0];
///         Ok((sum.clone(), vec![sum]))
///     },
///     &x,
///     &[&zero],
///     k::Rnn::new(),
/// );
/// assert_eq!(last.spec()?.shape, [None, Some(3)]);
/// assert_eq!(all.spec()?.shape, [None, Some(5), Some(3)]);
/// assert_eq!(states.len(), 1);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn rnn(
    step: impl Fn(&Tensor, &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> + Send + Sync + 'static,
    inputs: &Tensor,
    initial_states: &[&Tensor],
    options: Rnn,
) -> (Tensor, Tensor, Vec<Tensor>) {
    let (count, masked) = (initial_states.len(), options.mask.is_some());
    let mut operands = vec![inputs];
    operands.extend(initial_states);
    operands.extend(&options.mask);
    operands.extend(&options.constants);
    let Rnn { go_backwards, unroll, zero_output_for_mask, .. } = options;
    let call = move |trace: &Trace, tensors: &[Tensor]| {
        let mut tensors = tensors.iter().cloned();
        let steps = Steps {
            x: tensors.next().ok_or_else(|| Error::value("rnn", "a sequence", "none"))?,
            initial: tensors.by_ref().take(count).collect(),
            mask: if masked { tensors.next() } else { None },
            go_backwards,
            unroll,
            zero_output_for_mask,
        };
        let constants: Vec<Tensor> = tensors.collect();
        let ran = steps.run(trace, &mut |_, _, x, states| {
            step(x, &states.iter().chain(&constants).cloned().collect::<Vec<_>>())
        })?;
        Ok([ran.last, ran.outputs].into_iter().chain(ran.states).collect())
    };
    let mut results = apply_traced("rnn", &operands, 2 + count, Arc::new(call)).into_iter();
    let none = || Tensor::poisoned(Error::state("rnn", "a result", "none"));
    let (last, outputs) = (results.next().unwrap_or_else(none), results.next().unwrap_or_else(none));
    (last, outputs, results.collect())
}

/// Steps over a sequence, in a trace.
pub struct Steps {
    /// `(batch, time, …)`.
    pub(crate) x: Tensor,
    /// The states before the first step.
    pub(crate) initial: Vec<Tensor>,
    /// `(batch, time)`.
    pub(crate) mask: Option<Tensor>,
    pub(crate) go_backwards: bool,
    pub(crate) unroll: bool,
    pub(crate) zero_output_for_mask: bool,
}

/// What steps over a sequence give.
pub struct Ran {
    /// The result of the last step that ran.
    pub(crate) last: Tensor,
    /// The results in the order in which the steps ran: `(batch, time, …)`.
    pub(crate) outputs: Tensor,
    /// The last states.
    pub(crate) states: Vec<Tensor>,
}

/// One step: in which trace, which one if they are written out, its input, the states before it.
type StepFn<'a> = dyn FnMut(&Trace, Option<usize>, &Tensor, &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> + 'a;

impl Steps {
    /// Writes the steps: as one loop, or each of them.
    pub(crate) fn run(&self, trace: &Trace, step: &mut StepFn<'_>) -> Result<Ran> {
        let shape = self.x.shape()?;
        let &[_, time, ..] = shape.as_slice() else {
            return Err(Error::shape("rnn", "an input (batch, time, ..)", format!("{shape:?}")));
        };
        if time == 0 {
            return Err(Error::shape("rnn", "at least one time step", format!("{shape:?}")));
        }
        let xs = time_first(&self.x)?;
        let mask = self.truth()?.map(|mask| permute_dimensions(&mask, &[1, 0]));
        if self.unroll {
            self.written_out(trace, &xs, mask.as_ref(), time, step)
        } else {
            self.looped(trace, &xs, mask.as_ref(), time, step)
        }
    }

    /// The mask as truth values `(batch, time)`.
    pub(crate) fn truth(&self) -> Result<Option<Tensor>> {
        let Some(mask) = &self.mask else { return Ok(None) };
        if self.initial.is_empty() {
            return Err(Error::value("rnn", "at least one state, since the input is masked", "none"));
        }
        let (own, shape) = (mask.shape()?, self.x.shape()?);
        let &[batch, time, ..] = shape.as_slice() else {
            return Err(Error::shape("rnn", "an input (batch, time, ..)", format!("{shape:?}")));
        };
        if own.get(..2) != Some(&[batch, time]) || own.iter().skip(2).any(|&len| len != 1) {
            return Err(Error::shape(
                "rnn",
                format!("a mask of shape ({batch}, {time})"),
                format!("{own:?}"),
            ));
        }
        Ok(Some(super::cast(&reshape(mask, &[batch as isize, time as isize]), DType::Bool)))
    }

    fn looped(
        &self,
        trace: &Trace,
        xs: &Tensor,
        mask: Option<&Tensor>,
        time: usize,
        step: &mut StepFn<'_>,
    ) -> Result<Ran> {
        let mut body = Loop::new(trace, time);
        let x = body.row(xs)?;
        let (states, numbers): (Vec<Tensor>, Vec<usize>) = self
            .initial
            .iter()
            .map(|state| body.carry(state))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let inside = body.inside().clone();
        let (mut output, mut nexts) = step(&inside, None, &x, &states)?;
        check_states(&states, &nexts)?;
        let mut carried_output = None;
        if let Some(mask) = mask {
            let mask = body.row(mask)?;
            for (next, state) in nexts.iter_mut().zip(&states) {
                *next = where_mask(&mask, next, state)?;
            }
            let first_state = trace.semantics().masked_output == MaskedOutput::FirstState;
            let otherwise = match (self.zero_output_for_mask, first_state) {
                (true, _) => number(&output, 0.0),
                (false, true) => match states.first() {
                    Some(state) if state.spec()? == output.spec()? => state.clone(),
                    state => {
                        let received = format!("{:?}", state.map(Tensor::spec));
                        let expected = format!("a first state like the result, {}", output.spec()?);
                        return Err(Error::shape(
                            "masked rnn with Keras 2.2's semantics",
                            expected,
                            received,
                        ));
                    }
                },
                (false, false) => {
                    let Spec { shape, dtype } = output.spec()?;
                    let shape: Vec<usize> = shape.into_iter().flatten().collect();
                    let zeros = trace
                        .with_graph_mut(|graph| graph.full(0.0, &crate::graph::Type::new(shape, dtype)))?;
                    let (before, number) = body.carry(&trace.tensor(zeros))?;
                    carried_output = Some(number);
                    before
                }
            };
            output = where_mask(&mask, &output, &otherwise)?;
        }
        for (&number, next) in numbers.iter().zip(&nexts) {
            body.next(number, next)?;
        }
        if let Some(number) = carried_output {
            body.next(number, &output)?;
        } else {
            // A result that is also a state, as in most cells, need not be picked out of the collected ones.
            let value = inside.lift(&output)?;
            for (&number, next) in numbers.iter().zip(&nexts) {
                if inside.lift(next)? == value {
                    carried_output = Some(number);
                    break;
                }
            }
        }
        body.collect(&output)?;
        let (finals, ys) = body.finish(self.go_backwards)?;
        let ys = ys.first().ok_or_else(|| Error::state("rnn", "collected results", "none"))?;
        let last = match carried_output.and_then(|number| finals.get(number)) {
            Some(last) => last.clone(),
            None => {
                let at = if self.go_backwards { 0 } else { time - 1 };
                first_row(&slice_axis(ys, 0, at, at + 1))?
            }
        };
        let outputs = time_first(ys)?;
        let outputs = if self.go_backwards { reverse(&outputs, &[1]) } else { outputs };
        let states = numbers.iter().filter_map(|&number| finals.get(number).cloned()).collect();
        Ok(Ran { last, outputs, states })
    }

    fn written_out(
        &self,
        trace: &Trace,
        xs: &Tensor,
        mask: Option<&Tensor>,
        time: usize,
        step: &mut StepFn<'_>,
    ) -> Result<Ran> {
        let mut states = self.initial.clone();
        let mut outputs: Vec<Tensor> = Vec::with_capacity(time);
        let mut previous: Option<Tensor> = None;
        for count in 0..time {
            let t = if self.go_backwards { time - 1 - count } else { count };
            let x = first_row(&slice_axis(xs, 0, t, t + 1))?;
            let (mut output, mut nexts) = step(trace, Some(count), &x, &states)?;
            check_states(&states, &nexts)?;
            if let Some(mask) = mask {
                let mask = first_row(&slice_axis(mask, 0, t, t + 1))?;
                for (next, state) in nexts.iter_mut().zip(&states) {
                    *next = where_mask(&mask, next, state)?;
                }
                let before = match &previous {
                    Some(previous) if !self.zero_output_for_mask => previous.clone(),
                    _ => number(&output, 0.0),
                };
                output = where_mask(&mask, &output, &before)?;
                previous = Some(output.clone());
            }
            states = nexts;
            outputs.push(output);
        }
        let last = outputs.last().cloned().ok_or_else(|| Error::state("rnn", "a result", "none"))?;
        Ok(Ran { last, outputs: stack(&outputs.iter().collect::<Vec<_>>(), 1), states })
    }
}

fn check_states(states: &[Tensor], nexts: &[Tensor]) -> Result<()> {
    if states.len() != nexts.len() {
        return Err(Error::value(
            "rnn",
            format!("{} new states from the step", states.len()),
            nexts.len().to_string(),
        ));
    }
    for (i, (state, next)) in states.iter().zip(nexts).enumerate() {
        let (before, after) = (state.spec()?, next.spec()?);
        if before != after {
            return Err(Error::shape(
                "rnn",
                format!("new state {i} like the old one, {before}"),
                after.to_string(),
            )
            .advice("cast or broadcast the initial state"));
        }
    }
    Ok(())
}

/// `a` where the mask `(batch,)` holds, `b` elsewhere.
fn where_mask(mask: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1_isize; a.rank()?.max(1)];
    if let (Some(first), Some(&batch)) = (shape.first_mut(), mask.shape()?.first()) {
        *first = batch as isize;
    }
    Ok(select(&reshape(mask, &shape), a, b))
}

/// The first two axes exchanged.
fn time_first(x: &Tensor) -> Result<Tensor> {
    let mut order: Vec<usize> = (0..x.rank()?).collect();
    if order.len() > 1 {
        order.swap(0, 1);
    }
    Ok(permute_dimensions(x, &order))
}

/// The only row of `(1, …)`.
fn first_row(x: &Tensor) -> Result<Tensor> {
    let shape: Vec<isize> = x.shape()?.into_iter().skip(1).map(|len| len as isize).collect();
    Ok(reshape(x, &shape))
}

/// `function` of each row of the first axis, stacked.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([Some(4), Some(3)], "x");
/// assert_eq!(k::map_fn(|row| Ok(k::sum(row, &[], false)), &x).spec()?.shape, [Some(4)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn map_fn(
    function: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    elements: &Tensor,
) -> Tensor {
    let call = move |trace: &Trace, tensors: &[Tensor]| {
        let [elements] = tensors else { return Err(Error::value("map_fn", "one tensor", "others")) };
        let mut body = Loop::new(trace, rows(elements)?);
        let row = body.row(elements)?;
        body.collect(&function(&row)?)?;
        Ok(body.finish(false)?.1)
    };
    only(apply_traced("map_fn", &[elements], 1, Arc::new(call)))
}

/// `function(…function(function(initializer, row 0), row 1)…)` over the first axis; without an initializer it starts
/// with row 0 itself.
#[track_caller]
pub fn foldl(
    function: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    elements: &Tensor,
    initializer: Option<&Tensor>,
) -> Tensor {
    fold("foldl", function, elements, initializer, false)
}

/// [`foldl`] from the last row to the first.
#[track_caller]
pub fn foldr(
    function: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    elements: &Tensor,
    initializer: Option<&Tensor>,
) -> Tensor {
    fold("foldr", function, elements, initializer, true)
}

#[track_caller]
fn fold(
    name: &'static str,
    function: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    elements: &Tensor,
    initializer: Option<&Tensor>,
    reverse: bool,
) -> Tensor {
    let call = move |trace: &Trace, tensors: &[Tensor]| {
        let (elements, first) = match tensors {
            [elements, initializer] => (elements.clone(), initializer.clone()),
            [elements] => {
                let count = rows(elements)?;
                let at = if reverse { count - 1 } else { 0 };
                let first = first_row(&slice_axis(elements, 0, at, at + 1))?;
                if count == 1 {
                    return Ok(vec![first]);
                }
                let (start, stop) = if reverse { (0, count - 1) } else { (1, count) };
                (slice_axis(elements, 0, start, stop), first)
            }
            _ => return Err(Error::value(name, "one tensor and an initializer", "others")),
        };
        let mut body = Loop::new(trace, rows(&elements)?);
        let row = body.row(&elements)?;
        let (total, number) = body.carry(&first)?;
        let next = function(&total, &row)?;
        check_states(&[total], std::slice::from_ref(&next))?;
        body.next(number, &next)?;
        Ok(body.finish(reverse)?.0.into_iter().take(1).collect())
    };
    let operands: Vec<&Tensor> = std::iter::once(elements).chain(initializer).collect();
    only(apply_traced(name, &operands, 1, Arc::new(call)))
}

fn rows(x: &Tensor) -> Result<usize> {
    match x.shape()?.first() {
        Some(&rows) if rows > 0 => Ok(rows),
        _ => Err(Error::shape("loop", "a first axis of at least one row", x.spec()?.to_string())),
    }
}

fn only(mut tensors: Vec<Tensor>) -> Tensor {
    tensors.pop().unwrap_or_else(|| Tensor::poisoned(Error::state("loop", "a result", "none")))
}
