//! What every recurrent layer does around its steps: splitting inputs, states, the shapes of results.

use super::Cell;
use crate::array::DType;
use crate::error::{Error, Result};
use crate::graph::Type;
use crate::k::{self, Ran, Steps};
use crate::layers::check::RESHAPE;
use crate::layers::{Build, Call};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor, shape_text};

/// The options that every recurrent layer has.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are Keras's arguments")]
pub(crate) struct Options {
    pub(crate) return_sequences: bool,
    pub(crate) return_state: bool,
    pub(crate) go_backwards: bool,
    pub(crate) stateful: bool,
    pub(crate) unroll: bool,
    pub(crate) zero_output_for_mask: bool,
    pub(crate) time_major: bool,
}

/// The tensors of a call, or their specs.
pub(crate) struct Parts<'a, T> {
    pub(crate) x: &'a T,
    /// None, or one per state.
    pub(crate) initial: &'a [T],
    pub(crate) constants: &'a [T],
}

/// The sequence among the inputs of a recurrent layer.
pub(crate) fn sequence<'a, T>(class: &str, inputs: &'a [T]) -> Result<&'a T> {
    inputs.first().ok_or_else(|| Error::value(class, "a sequence (batch, time, ..)", "no input"))
}

impl<'a, T> Parts<'a, T> {
    /// Inputs are the sequence, then the initial states (all or none), then the constants.
    pub(crate) fn of(class: &str, inputs: &'a [T], states: usize, constants: usize) -> Result<Self> {
        let x = sequence(class, inputs)?;
        let rest = inputs.get(1..).unwrap_or_default();
        let Some(split) = rest.len().checked_sub(constants) else {
            return Err(Error::value(
                class,
                format!("{constants} constants behind the sequence, as num_constants says"),
                format!("{} tensors", rest.len()),
            )
            .advice("call it on the sequence, the initial states (all or none) and the constants"));
        };
        let (initial, constants) = rest.split_at(split);
        if !initial.is_empty() && initial.len() != states {
            return Err(Error::value(
                class,
                format!("{states} initial states, one per state of the layer, or none"),
                format!("{} initial states", initial.len()),
            )
            .advice("call it on the sequence and all initial states: an LSTM has two, h and c"));
        }
        Ok(Self { x, initial, constants })
    }
}

impl Options {
    /// Reads Keras's keys, and those of tf.keras.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            return_sequences: reader.boolean("return_sequences", false)?,
            return_state: reader.boolean("return_state", false)?,
            go_backwards: reader.boolean("go_backwards", false)?,
            stateful: reader.boolean("stateful", false)?,
            unroll: reader.boolean("unroll", false)?,
            zero_output_for_mask: reader.boolean("zero_output_for_mask", false)?,
            time_major: reader.boolean("time_major", false)?,
        })
    }

    /// Adds the keys in Keras's order; those of tf.keras where they differ from the default, for Keras 2 does not
    /// know them.
    pub(crate) fn write(self, config: Config, unroll: bool) -> Config {
        let mut config = config
            .with("return_sequences", self.return_sequences)
            .with("return_state", self.return_state)
            .with("go_backwards", self.go_backwards)
            .with("stateful", self.stateful);
        if unroll {
            config = config.with("unroll", self.unroll);
        }
        if self.zero_output_for_mask {
            config = config.with("zero_output_for_mask", true);
        }
        if self.time_major { config.with("time_major", true) } else { config }
    }

    /// The spec of one step's input, from that of the sequence, and the number of steps.
    pub(crate) fn step(self, class: &str, x: &Spec) -> Result<(Spec, Option<usize>)> {
        let &[first, second, ref rest @ ..] = x.shape.as_slice() else {
            return Err(Error::shape(class, "an input of rank 3 or more: (batch, time, ..)", x.to_string())
                .advice(RESHAPE));
        };
        if rest.is_empty() {
            return Err(Error::shape(class, "an input of rank 3: (batch, time, features)", x.to_string())
                .advice(RESHAPE));
        }
        let (batch, time) = if self.time_major { (second, first) } else { (first, second) };
        if self.unroll && time.is_none() {
            return Err(Error::shape(
                class,
                "a known number of time steps, since it is unrolled",
                x.to_string(),
            )
            .advice(
                "say the time dimension in the shape of the Input, or the input_shape of the first layer",
            ));
        }
        if time == Some(0) {
            return Err(Error::shape(class, "at least one time step", x.to_string()));
        }
        let shape: Vec<Option<usize>> = std::iter::once(batch).chain(rest.iter().copied()).collect();
        Ok((Spec::new(shape, x.dtype), time))
    }

    /// Makes the states that are carried from batch to batch.
    pub(crate) fn build_states(self, class: &str, cx: &mut Build, step: &Spec, cell: &Cell) -> Result<()> {
        if !self.stateful {
            return Ok(());
        }
        for state in &cell.states {
            let batch = step.shape.iter().take(1).copied();
            let lens: Vec<Option<usize>> = batch.chain(state.iter().copied()).collect();
            let shape: Option<Vec<usize>> = lens.iter().copied().collect();
            let shape = shape.ok_or_else(|| {
                Error::shape(
                    class,
                    "an input whose batch size is known, since the layer is stateful",
                    format!("states of shape {}", shape_text(&lens)),
                )
                .advice("give the first layer a batch_size, or the Input one, and every length that states depend on")
            })?;
            cx.state(shape)?;
        }
        Ok(())
    }

    /// The specs of the results.
    pub(crate) fn outputs(self, step: &Spec, time: Option<usize>, cell: &Cell) -> Vec<Spec> {
        let batch = step.shape.first().copied().flatten();
        let with = |front: &[Option<usize>], rest: &[Option<usize>]| {
            let shape: Vec<Option<usize>> = front.iter().chain(rest).copied().collect();
            Spec::new(shape, step.dtype)
        };
        let front: &[Option<usize>] = match (self.return_sequences, self.time_major) {
            (false, _) => &[batch],
            (true, false) => &[batch, time],
            (true, true) => &[time, batch],
        };
        let mut outputs = vec![with(front, &cell.output)];
        if self.return_state {
            outputs.extend(cell.states.iter().map(|state| with(&[batch], state)));
        }
        outputs
    }

    /// Runs the steps that `run` writes, on the given initial states, those of the batch before, or zeros.
    pub(crate) fn run(
        self,
        class: &str,
        cx: &mut Call,
        parts: &Parts<'_, Tensor>,
        cell: &Cell,
        run: impl FnOnce(&mut Call, Steps) -> Result<Ran>,
    ) -> Result<Vec<Tensor>> {
        let swap = |x: &Tensor| -> Result<Tensor> {
            if !self.time_major {
                return Ok(x.clone());
            }
            let mut order: Vec<usize> = (0..x.rank()?).collect();
            order.swap(0, 1);
            Ok(k::permute_dimensions(x, &order))
        };
        let x = swap(parts.x)?;
        let batch = x.shape()?.first().copied().unwrap_or_default();
        let states = if self.stateful { cx.states() } else { Vec::new() };
        if let Some(state) = states.first()
            && state.shape().first() != Some(&batch)
        {
            return Err(Error::shape(
                class,
                format!("a batch of {} samples, as its states are", state.shape().first().unwrap_or(&0)),
                format!("{batch} samples"),
            )
            .advice("use the batch size that the stateful layer was built for"));
        }
        let initial = match (parts.initial, states.as_slice()) {
            ([], []) => zero_states(cx, x.dtype()?, batch, cell)?,
            ([], states) => states.iter().map(|state| cx.updated(state)).collect(),
            (initial, _) => initial.to_vec(),
        };
        let mask = cx.mask(0).map(swap).transpose()?;
        let steps = Steps {
            x,
            initial,
            mask,
            go_backwards: self.go_backwards,
            unroll: self.unroll,
            zero_output_for_mask: self.zero_output_for_mask,
        };
        let ran = run(cx, steps)?;
        for (variable, state) in states.iter().zip(&ran.states) {
            cx.update(variable, state.clone());
        }
        let mut outputs = vec![if self.return_sequences { swap(&ran.outputs)? } else { ran.last }];
        if self.return_state {
            outputs.extend(ran.states);
        }
        Ok(outputs)
    }

    /// The masks of the results: sequences keep that of the input.
    pub(crate) fn masks(self, cx: &Call, outputs: usize) -> Vec<Option<Tensor>> {
        let mut masks = vec![None; outputs];
        if let (true, Some(first)) = (self.return_sequences, masks.first_mut()) {
            *first = cx.mask(0).cloned();
        }
        masks
    }
}

/// An error unless initial states fit the cell.
pub(crate) fn check_initial(class: &str, step: &Spec, initial: &[Spec], cell: &Cell) -> Result<()> {
    for (i, (given, state)) in initial.iter().zip(&cell.states).enumerate() {
        let batch = step.shape.iter().take(1).copied();
        let wanted: Vec<Option<usize>> = batch.chain(state.iter().copied()).collect();
        // As in Keras, the batch alone may be open.
        let fits = given.shape.len() == wanted.len()
            && given
                .shape
                .iter()
                .zip(&wanted)
                .enumerate()
                .all(|(axis, (a, b))| a == b || b.is_none() || (axis == 0 && a.is_none()));
        if !fits || given.dtype != step.dtype {
            let expected = format!("initial state {i} of {}", Spec::new(wanted, step.dtype));
            return Err(Error::shape(class, expected, given.to_string())
                .advice("states are as wide as the layer has units"));
        }
    }
    Ok(())
}

fn zero_states(cx: &Call, dtype: DType, batch: usize, cell: &Cell) -> Result<Vec<Tensor>> {
    let trace = cx.trace();
    let zeros = |state: &Vec<Option<usize>>| -> Result<Tensor> {
        let lens: Option<Vec<usize>> = std::iter::once(Some(batch)).chain(state.iter().copied()).collect();
        let lens = lens.ok_or_else(|| {
            Error::shape("initial states", "a state whose lengths are known", shape_text(state))
        })?;
        let value = trace.with_graph_mut(|graph| graph.full(0.0, &Type::new(lens, dtype)))?;
        Ok(trace.tensor(value))
    };
    cell.states.iter().map(zeros).collect()
}

/// The setters of the options, of a type with a field `options`.
macro_rules! option_verbs {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// Whether the results of all steps are handed out, `(batch, time, ..)`, or that of the last; default
            /// false.
            pub fn return_sequences(mut self, return_sequences: bool) -> Self {
                self.options.return_sequences = return_sequences;
                self
            }
            /// Whether the last states are handed out behind the result; default false. Use `call_all` then.
            pub fn return_state(mut self, return_state: bool) -> Self {
                self.options.return_state = return_state;
                self
            }
            /// Whether it runs from the last step to the first; a sequence of results is in that order too. Default
            /// false.
            pub fn go_backwards(mut self, go_backwards: bool) -> Self {
                self.options.go_backwards = go_backwards;
                self
            }
            /// Whether sample i of a batch starts with the last states of sample i of the batch before; default false.
            /// The batch size has to be fixed then; `reset_states` makes the states zero.
            pub fn stateful(mut self, stateful: bool) -> Self {
                self.options.stateful = stateful;
                self
            }
        }
    };
}
pub(crate) use option_verbs;
