//! Calls of a layer: what comes of them, and how they are written into a trace.

use super::{Arguments, Call, LayerRef};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::graph::Type;
use crate::k;
use crate::semantics::{ActivityPenalty, IntegerInputs, Semantics, UnsupportedMask};
use crate::tensor::record::Replayed;
use crate::tensor::{Spec, Tensor, Trace, TraceOptions};
use serde_json::Value;

impl LayerRef {
    /// Specs of the results and whether they are masked, from those of the inputs.
    pub(crate) fn settle(
        &self,
        specs: &[Spec],
        masked: &[bool],
        arguments: &Arguments,
    ) -> Result<(Vec<Spec>, Vec<bool>)> {
        if let Some(given) = self.given_masks(specs.len(), arguments) {
            let masked = given.masks(given.operands(masked), |_| Some(true));
            return self.settle(&given.operands(specs), &masked, &given.arguments);
        }
        self.check_axes(specs)?;
        let supported = self.definition().supports_masking();
        let any_masked = masked.contains(&true) && supported;
        if masked.contains(&true) && !supported {
            self.drop_masks(Semantics::current())?;
        }
        // What a layer states holds for a call without arguments of its own.
        let plain = arguments.keys().all(|name| name == "training");
        let stated = if plain {
            self.definition().compute_output_shape(&self.received(Semantics::current(), specs))?
        } else {
            None
        };
        let outputs = stated.map_or_else(|| self.probe(specs, arguments), Ok)?;
        outputs.iter().try_for_each(|spec| spec.check_size(self.class_name()))?;
        let masks = if any_masked || self.definition().creates_mask() {
            self.probe_masks(specs, masked, arguments)?
        } else {
            vec![false; outputs.len()]
        };
        Ok((outputs, masks))
    }

    /// The specs of inputs as the layer receives them: by some rules, some layers have whole numbers cast.
    pub(super) fn received(&self, semantics: Semantics, specs: &[Spec]) -> Vec<Spec> {
        let rule = semantics.integer_inputs;
        let casts = rule != IntegerInputs::AsGiven && self.definition().casts_integers(rule);
        let dtype = |spec: &Spec| if casts && !spec.dtype.is_float() { self.dtype() } else { spec.dtype };
        specs.iter().map(|spec| Spec { dtype: dtype(spec), ..spec.clone() }).collect()
    }

    /// An error unless masks that the layer does not support may be left out.
    fn drop_masks(&self, semantics: Semantics) -> Result<()> {
        match semantics.unsupported_mask {
            UnsupportedMask::Dropped => Ok(()),
            UnsupportedMask::Error => Err(Error::state(
                "call",
                format!("inputs without a mask: {} does not support masking", self.class_name()),
                "a masked input",
            )
            .advice("remove mask_zero or Masking in front of it")),
        }
    }

    /// The specs of the results, found by tracing.
    pub(super) fn probe(&self, specs: &[Spec], arguments: &Arguments) -> Result<Vec<Spec>> {
        crate::tensor::record::probe(specs, |trace, inputs| {
            let masks = vec![None; inputs.len()];
            let results = self.replay_with(trace, inputs, &masks, arguments)?;
            Ok(results.into_iter().map(|(tensor, _)| tensor).collect())
        })
    }

    /// Which results are masked, found by tracing: on inputs of some length, else of one that most things divide, and
    /// on masks of two axes, else of more.
    fn probe_masks(&self, specs: &[Spec], masked: &[bool], arguments: &Arguments) -> Result<Vec<bool>> {
        let once = |length: usize, axes: usize| -> Result<Vec<bool>> {
            let trace = Trace::new(TraceOptions::default());
            let mut inputs = Vec::with_capacity(specs.len());
            let mut masks = Vec::with_capacity(specs.len());
            for (spec, &masked) in specs.iter().zip(masked) {
                let shape: Vec<usize> = spec.shape.iter().map(|len| len.unwrap_or(length)).collect();
                let leading: Vec<usize> = shape.iter().copied().take(axes).collect();
                inputs.push(trace.input(Type::new(shape, spec.dtype)));
                masks.push(masked.then(|| trace.input(Type::new(leading, DType::Bool))));
            }
            let results = self.replay_with(&trace, &inputs, &masks, arguments)?;
            Ok(results.into_iter().map(|(_, mask)| mask.is_some()).collect())
        };
        // A mask of more than two axes is rare: of sequences of sequences.
        let rank = specs.iter().map(Spec::rank).max().unwrap_or_default();
        let first = once(83, 2).or_else(|error| once(5040, 2).map_err(|_| error));
        (3..=rank).fold(first, |found, axes| found.or_else(|error| once(83, axes).map_err(|_| error)))
    }

    /// Writes a call of the layer into a trace: results and their masks.
    pub fn replay(&self, trace: &Trace, inputs: &[Tensor], masks: &[Option<Tensor>]) -> Result<Replayed> {
        self.replay_with(trace, inputs, masks, &Arguments::new())
    }

    /// The same with arguments of the call.
    pub fn replay_with(
        &self,
        trace: &Trace,
        inputs: &[Tensor],
        masks: &[Option<Tensor>],
        arguments: &Arguments,
    ) -> Result<Replayed> {
        let results = self.replay_plain(trace, inputs, masks, arguments)?;
        self.penalize(trace, results.iter().map(|(output, _)| output))?;
        Ok(results)
    }

    /// A call by a wrapper, which pays the penalty on the activity: of its own results in Keras 2, of the layer's in
    /// tf.keras.
    pub(super) fn replay_within(
        &self,
        trace: &Trace,
        inputs: &[Tensor],
        masks: &[Option<Tensor>],
    ) -> Result<Replayed> {
        let results = self.replay_plain(trace, inputs, masks, &Arguments::new())?;
        if trace.semantics().activity_penalty == ActivityPenalty::PerSample {
            self.penalize(trace, results.iter().map(|(output, _)| output))?;
        }
        Ok(results)
    }

    /// Adds the penalty on a wrapper's results to the losses, unless its layer's have paid.
    pub(super) fn penalize_around(&self, trace: &Trace, outputs: &[Tensor]) -> Result<()> {
        match trace.semantics().activity_penalty {
            ActivityPenalty::PerSample => Ok(()),
            ActivityPenalty::Batch => self.penalize(trace, outputs.iter()),
        }
    }

    /// Adds the penalty on results to the losses.
    fn penalize<'a>(&self, trace: &Trace, outputs: impl Iterator<Item = &'a Tensor>) -> Result<()> {
        let Some(regularizer) = self.definition().activity_regularizer() else { return Ok(()) };
        for output in outputs {
            let penalty = regularizer.call(output);
            let samples = output.shape()?.first().copied();
            trace.add_loss(match (trace.semantics().activity_penalty, samples) {
                (ActivityPenalty::PerSample, Some(samples)) => penalty / samples as f64,
                _ => penalty,
            });
        }
        Ok(())
    }

    fn replay_plain(
        &self,
        trace: &Trace,
        inputs: &[Tensor],
        masks: &[Option<Tensor>],
        arguments: &Arguments,
    ) -> Result<Replayed> {
        if let Some(given) = self.given_masks(inputs.len(), arguments) {
            let truth = |i: usize| inputs.get(i).map(|mask| Some(mask.clone()));
            let masks = given.masks(given.operands(masks), truth);
            return self.replay_plain(trace, &given.operands(inputs), &masks, &given.arguments);
        }
        let training = arguments.get("training").and_then(Value::as_bool);
        let trace = &training.map_or_else(|| trace.clone(), |training| trace.in_phase(training.into()));
        let definition = self.definition();
        let given = inputs.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?;
        let specs = self.received(trace.semantics(), &given);
        let cast = |((x, given), spec): ((&Tensor, &Spec), &Spec)| {
            if given.dtype == spec.dtype { x.clone() } else { k::cast(x, spec.dtype) }
        };
        let inputs: &[Tensor] = &inputs.iter().zip(&given).zip(&specs).map(cast).collect::<Vec<_>>();
        self.build(&specs).map_err(|error| error.within(format!("layer {}", self.name())))?;
        let mut masks = masks.to_vec();
        if masks.iter().any(Option::is_some) && !definition.supports_masking() {
            self.drop_masks(trace.semantics())
                .map_err(|error| error.within(format!("layer {}", self.name())))?;
            masks.fill(None);
        }
        let path = format!("{}{}", trace.path(), self.name());
        let index = trace.count_call(&path);
        let mut cx =
            Call { trace, layer: self, masks, arguments, path, index, output_masks: Vec::new(), step: None };
        let within = |error: Error| error.within(format!("layer {}", self.name()));
        let outputs = definition.call(&mut cx, inputs).map_err(within)?;
        for output in &outputs {
            output.check().map_err(|error| within(error.clone()))?;
        }
        let masks = definition.compute_mask(&mut cx, inputs, &outputs).map_err(within)?;
        if masks.len() != outputs.len() {
            return Err(within(Error::state(
                "compute_mask",
                format!("{} masks", outputs.len()),
                masks.len().to_string(),
            )));
        }
        Ok(outputs.into_iter().zip(masks).collect())
    }
}
