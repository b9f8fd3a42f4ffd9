//! [`Recurrent`]: Keras's own recurrent layers.

use super::arguments::argument_verbs;
use super::kind::{Kind, WithForgetGate, WithFunctions, WithGates, WithImplementation, WithUnroll};
use super::options::{Options, Parts, check_initial, option_verbs, sequence};
use crate::activations::ActivationSpec;
use crate::constraints::ConstraintSpec;
use crate::error::Result;
use crate::initializers::InitializerSpec;
use crate::layers::check::dtype;
use crate::layers::registry::Read;
use crate::layers::{Base, Build, Call, Layer};
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor};

/// A recurrent layer: `(batch, time, ..)` to the last result `(batch, ..)` or, with `return_sequences`, all of them
/// `(batch, time, ..)`.
///
/// Called on a list, `[x, states..]`, it starts with those states. Where a mask `(batch, time)` is false, states stay
/// as they are and the result of the step before is repeated, zeros before the first.
#[derive(Debug, Clone)]
pub struct Recurrent<K> {
    pub(super) base: Base,
    pub(super) options: Options,
    pub(super) kind: K,
}

impl<K: Kind> Recurrent<K> {
    pub(super) fn of(kind: K) -> Self {
        Self { base: Base::default(), options: Options::default(), kind }
    }

    /// A penalty on the results, summed over the batch.
    pub fn activity_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
        self.kind.arguments_mut().activity_regularizer = regularizer.into();
        self
    }
}

impl<K: WithUnroll> Recurrent<K> {
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
}

crate::layer_verbs!([K: Kind] Recurrent<K>);
argument_verbs!(Recurrent);
option_verbs!([K: Kind] Recurrent<K>);

impl<K: Kind> Read for Recurrent<K> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut base = Base::read(reader)?;
        // Keras 1 and 2.0 wrote the input's shape in two keys.
        let (dim, length) = (reader.integer_or_none("input_dim")?, reader.integer_or_none("input_length")?);
        if let (None, Some(dim)) = (&base.input_shape, dim) {
            let count = |n: i64| usize::try_from(n).ok();
            base.input_shape = Some(vec![length.and_then(count), count(dim)]);
        }
        let options = Options::read(reader)?;
        if options.unroll && !K::UNROLL {
            return Err(reader.wrong("unroll", "false: this layer cannot be unrolled"));
        }
        Ok(Self { base, options, kind: K::read(reader, true)? })
    }
}

impl<K: Kind> Recurrent<K> {
    fn parts<'a, T>(
        &self,
        inputs: &'a [T],
        spec: impl Fn(&T) -> Result<Spec>,
    ) -> Result<(Parts<'a, T>, Seen)> {
        let (step, time) = self.options.step(K::LAYER, &spec(sequence(K::LAYER, inputs)?)?)?;
        let cell = self.kind.cell(K::LAYER, &step)?;
        let parts = Parts::of(K::LAYER, inputs, cell.states.len(), 0)?;
        Ok((parts, Seen { step, time, cell }))
    }
}

/// What the spec of a sequence says.
struct Seen {
    step: Spec,
    time: Option<usize>,
    cell: super::Cell,
}

impl<K: Kind> Layer for Recurrent<K> {
    fn config(&self) -> Config {
        let unroll = K::UNROLL || K::has().functions;
        self.kind.write(self.options.write(Config::new(K::LAYER), unroll), true)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let (parts, seen) = self.parts(inputs, |spec| Ok(spec.clone()))?;
        dtype(K::LAYER, parts.x, cx.dtype())?;
        self.kind.build(K::LAYER, cx, &seen.step)?;
        self.options.build_states(K::LAYER, cx, &seen.step, &seen.cell)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let (parts, seen) = self.parts(inputs, |spec| Ok(spec.clone()))?;
        check_initial(K::LAYER, &seen.step, parts.initial, &seen.cell)?;
        Ok(Some(self.options.outputs(&seen.step, seen.time, &seen.cell)))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (parts, seen) = self.parts(inputs, Tensor::spec)?;
        let initial = parts.initial.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?;
        check_initial(K::LAYER, &seen.step, &initial, &seen.cell)?;
        self.options.run(K::LAYER, cx, &parts, &seen.cell, |cx, steps| self.kind.run(cx, steps))
    }

    fn supports_masking(&self) -> bool {
        K::MASKS
    }

    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(self.options.masks(cx, outputs.len()))
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.kind.arguments().activity_regularizer()
    }

    fn stateful(&self) -> bool {
        self.options.stateful
    }
}
