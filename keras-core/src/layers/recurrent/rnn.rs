//! [`RNN`]: any cell over time.

use super::Cell;
use super::options::{Options, Parts, check_initial, option_verbs, sequence};
use crate::error::{Error, Result};
use crate::k::Steps;
use crate::layers::registry::{Read, read_layer};
use crate::layers::{Base, Build, Call, IntoLayer, Layer, LayerRef};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// Runs a cell over the time axis: `(batch, time, ..)` to the last result `(batch, ..)` or, with `return_sequences`,
/// all of them.
///
/// A cell is a layer that says by [`Layer::cell`] what its states are; its `call` takes one step's input, the states
/// and the constants, and gives the result and the next states. The step is traced once, whatever the number of steps.
/// Several cells are one: [`StackedRNNCells`](super::StackedRNNCells). Called on a list `[x, states.., constants..]`
/// it starts with those states; see [`RNN::num_constants`].
///
/// ```
/// use keras_core::layers::{Build, Call, Cell, Input, Layer, LayerRef, RNN};
/// use keras_core::{Result, Tensor, initializers, k, registry::Config, tensor::Spec};
///
/// /// h = x·kernel + h₋·recurrent kernel.
/// struct Minimal {
///     units: usize,
/// }
///
/// impl Layer for Minimal {
///     fn config(&self) -> Config {
///         Config::new("Minimal").with("units", self.units)
///     }
///     fn cell(&self, _: &Spec) -> Result<Option<Cell>> {
///         Ok(Some(Cell::new([self.units])))
///     }
///     fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
///         let features = inputs[0].shape[1].unwrap_or(1);
///         let uniform = initializers::get("uniform")?;
///         cx.weight("kernel", [features, self.units], &uniform).add()?;
///         cx.weight("recurrent_kernel", [self.units, self.units], &uniform).add()?;
///         Ok(())
///     }
///     fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
///         let (x, h) = (&inputs[0], &inputs[1]);
///         let h = k::dot(x, &cx.weight("kernel")?) + k::dot(h, &cx.weight("recurrent_kernel")?);
///         Ok(vec![h.clone(), h])
///     }
/// }
///
/// let x = Input::new([None, Some(5)]).tensor()?;
/// let layer = LayerRef::new(RNN::new(Minimal { units: 32 }))?;
/// assert_eq!(layer.call(&x)?.spec()?.shape, [None, Some(32)]);
/// assert!(layer.weights()[0].variable.name().ends_with("/kernel"));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct RNN {
    base: Base,
    options: Options,
    cell: Result<LayerRef>,
    num_constants: Option<usize>,
}

const CLASS: &str = "RNN";

impl RNN {
    /// A layer that runs that cell; what is wrong with it is an error when the layer is called.
    pub fn new(cell: impl IntoLayer) -> Self {
        Self {
            base: Base::default(),
            options: Options::default(),
            cell: cell.into_layer(),
            num_constants: None,
        }
    }

    /// Whether every step is written out instead of a loop: the same results, for short sequences of known length;
    /// default false.
    pub fn unroll(mut self, unroll: bool) -> Self {
        self.options.unroll = unroll;
        self
    }

    /// Whether masked steps give zeros instead of the result before them (tf.keras); default false.
    pub fn zero_output_for_mask(mut self, zero: bool) -> Self {
        self.options.zero_output_for_mask = zero;
        self
    }

    /// Whether sequences are `(time, batch, ..)`, as tf.keras has it; default false.
    pub fn time_major(mut self, time_major: bool) -> Self {
        self.options.time_major = time_major;
        self
    }

    /// How many of the tensors that the layer is called on, the last ones, are constants: every step of the cell sees
    /// them behind its states. Default 0.
    pub fn num_constants(mut self, count: usize) -> Self {
        self.num_constants = Some(count);
        self
    }

    fn parts<'a, T>(&self, inputs: &'a [T], spec: impl Fn(&T) -> Result<Spec>) -> Result<Seen<'a, T>> {
        let (step, time) = self.options.step(CLASS, &spec(sequence(CLASS, inputs)?)?)?;
        let layer = self.cell.clone()?;
        let cell = shapes(CLASS, &layer, &step)?;
        let constants = self.num_constants.unwrap_or(0);
        if constants > 0 && !cell.constants {
            return Err(Error::value(
                CLASS,
                format!("no constants: cell {} takes none", layer.name()),
                constants.to_string(),
            )
            .advice("leave them out, or use a cell made with_constants"));
        }
        let parts = Parts::of(CLASS, inputs, cell.states.len(), constants)?;
        Ok(Seen { parts, layer, step, time, cell })
    }
}

/// What a layer is as a cell; an error if it is none.
pub(super) fn shapes(class: &str, layer: &LayerRef, step: &Spec) -> Result<Cell> {
    let within = |error: Error| error.within(format!("cell {}", layer.name()));
    layer.check_axes(std::slice::from_ref(step)).map_err(within)?;
    layer.definition().cell(step).map_err(within)?.ok_or_else(|| {
        Error::value(class, "a cell: a layer that has states", format!("{layer:?}"))
            .advice("implement Layer::cell, or use a cell such as LSTMCell")
    })
}

/// The specs that a cell is called on.
pub(super) fn cell_inputs(step: &Spec, cell: &Cell, constants: &[Spec]) -> Vec<Spec> {
    let batch = step.shape.first().copied().flatten();
    let states = cell.states.iter().map(|state| {
        let shape: Vec<Option<usize>> = std::iter::once(batch).chain(state.iter().copied()).collect();
        Spec::new(shape, step.dtype)
    });
    std::iter::once(step.clone()).chain(states).chain(constants.iter().cloned()).collect()
}

/// What the inputs of a call say.
struct Seen<'a, T> {
    parts: Parts<'a, T>,
    layer: LayerRef,
    step: Spec,
    time: Option<usize>,
    cell: Cell,
}

crate::layer_verbs!(RNN);
option_verbs!([] RNN);

impl Read for RNN {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            options: Options::read(reader)?,
            cell: Ok(read_layer(reader, "cell")?),
            num_constants: match reader.value("num_constants") {
                Some(_) => Some(reader.count("num_constants", 0)?),
                None => None,
            },
        })
    }
}

impl Layer for RNN {
    fn config(&self) -> Config {
        let mut config = self.options.write(Config::new(CLASS), true);
        if let Some(count) = self.num_constants {
            config = config.with("num_constants", count);
        }
        match &self.cell {
            Ok(cell) => config.with("cell", cell.config_value()),
            Err(_) => config,
        }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let seen = self.parts(inputs, |spec| Ok(spec.clone()))?;
        let specs = cell_inputs(&seen.step, &seen.cell, seen.parts.constants);
        cx.build_child("cell", &seen.layer, &specs)?;
        self.options.build_states(CLASS, cx, &seen.step, &seen.cell)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let seen = self.parts(inputs, |spec| Ok(spec.clone()))?;
        check_initial(CLASS, &seen.step, seen.parts.initial, &seen.cell)?;
        Ok(Some(self.options.outputs(&seen.step, seen.time, &seen.cell)))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let seen = self.parts(inputs, Tensor::spec)?;
        let initial = seen.parts.initial.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?;
        check_initial(CLASS, &seen.step, &initial, &seen.cell)?;
        self.options.run(CLASS, cx, &seen.parts, &seen.cell, |cx, steps: Steps| {
            let around = cx.trace();
            steps.run(around, &mut |trace, number, x, states| {
                let inside = cx.inside(trace, number);
                let operands: Vec<Tensor> =
                    std::iter::once(x).chain(states).chain(seen.parts.constants).cloned().collect();
                let mut results = inside.call_cell(&seen.layer, &operands)?.into_iter();
                let output = results.next().ok_or_else(|| {
                    Error::value(format!("cell {}", seen.layer.name()), "a result and new states", "nothing")
                })?;
                Ok((output, results.collect()))
            })
        })
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(self.options.masks(cx, outputs.len()))
    }

    fn stateful(&self) -> bool {
        self.options.stateful
    }
}
