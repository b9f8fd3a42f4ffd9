//! The graphs of one training step and one test step: forward, losses, metrics, backward, updates.

use super::compile::Compiled;
use crate::backend::Executable;
use crate::error::{Error, Result};
use crate::graph::{Op, Type};
use crate::k;
use crate::losses::{masked_weights, weighted_mean};
use crate::models::Model;
use crate::tensor::{Phase, Sight, Tensor, Trace};
use std::sync::Arc;

/// What the trace of a step reads besides the compile snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepKey {
    pub(crate) runtime: u64,
    pub(crate) phase: Phase,
    pub(crate) inputs: Vec<Type>,
    pub(crate) targets: Vec<Type>,
    /// The types of the sample weights of those outputs that have some.
    pub(crate) weights: Vec<Option<Type>>,
}

impl Model {
    /// The program of a step, compiled once per key. Feeds: inputs, targets, sample weights. Fetches: the metrics in
    /// the order of `metrics_names`.
    pub(crate) fn step_program(&self, compiled: &Compiled, key: StepKey) -> Result<Arc<dyn Executable>> {
        let runtime = self.runtime()?;
        compiled.steps.get(key.clone(), || {
            let trace = self.trace_step(compiled, &key)?;
            super::predict::compile(&trace, &*runtime)
        })
    }

    fn trace_step(&self, compiled: &Compiled, key: &StepKey) -> Result<Trace> {
        let trace = self.trace(key.phase, &key.inputs, Arc::clone(&compiled.frozen))?;
        let targets: Vec<Tensor> = key.targets.iter().map(|ty| trace.input(ty.clone())).collect();
        let weights: Vec<Option<Tensor>> =
            key.weights.iter().map(|ty| ty.as_ref().map(|ty| trace.input(ty.clone()))).collect();

        let mut total: Option<Tensor> = None;
        let add = |total: &mut Option<Tensor>, part: Tensor| {
            *total = Some(match total.take() {
                Some(sum) => sum + part,
                None => part,
            });
        };
        let mut reported = Vec::new();
        let mut metrics = Vec::new();
        let mut updates = Vec::new();
        let mut targets = targets.into_iter();
        let mut loss_states = compiled.loss_states.iter();
        for ((symbol, plan), weight) in self.outputs()?.iter().zip(&compiled.outputs).zip(&weights) {
            let (prediction, mask) = trace.replay(symbol)?;
            if plan.loss.is_none() && plan.metrics.is_empty() {
                continue;
            }
            let target = targets
                .next()
                .ok_or_else(|| Error::state("training step", "a target for every output", "fewer"))?;
            let prediction = trace.tensor(trace.lift(&prediction)?);
            let sight = sight(&trace, symbol, &prediction)?;
            let prediction = prediction.seen(sight);
            if let Some(loss) = &plan.loss {
                let values = loss.call(&target, &prediction);
                let (weight, mask) = (weight.as_ref(), mask.as_ref());
                let loss = weighted_mean(&values, weight, mask, loss.reduction(), compiled.semantics);
                loss.check()?;
                if let Some([sum, count]) = loss_states.next() {
                    // As in Keras 2.3: the mean over batches, each counting once.
                    let next = Tensor::variable(sum) + k::cast(&loss, sum.dtype());
                    let seen = Tensor::variable(count) + 1.0;
                    reported.push(&next / &seen);
                    updates.push((sum.clone(), next));
                    updates.push((count.clone(), seen));
                }
                #[allow(clippy::float_cmp, reason = "a weight of exactly 1 changes nothing")]
                add(&mut total, if plan.loss_weight == 1.0 { loss } else { loss * plan.loss_weight });
            }
            for metered in &plan.metrics {
                let states: Vec<Tensor> = metered.states.iter().map(Tensor::variable).collect();
                let weight = if metered.weighted { weight.as_ref() } else { None };
                let weight = masked_weights(weight, mask.as_ref());
                let next = metered.metric.update(&states, &target, &prediction, weight.as_ref())?;
                metrics.push(metered.metric.result(&next));
                updates.extend(metered.states.iter().cloned().zip(next));
            }
        }
        for weight in self.regularized() {
            if let Some(regularizer) = &weight.regularizer {
                add(&mut total, regularizer.call(&Tensor::variable(&weight.variable)));
            }
        }
        for loss in &compiled.added_losses {
            add(&mut total, trace.replay(loss)?.0);
        }
        let collected = trace.collected();
        for loss in collected.losses {
            add(&mut total, loss);
        }
        let total = total.ok_or_else(|| {
            Error::value("compile", "a loss for at least one output, or a loss added by a layer", "none")
        })?;
        let total = trace.tensor(trace.lift(&total)?);

        if key.phase == Phase::Train {
            let parameters: Vec<Tensor> =
                compiled.trainable.iter().map(|weight| Tensor::variable(&weight.variable)).collect();
            let grads = k::gradients(&total, &parameters.iter().collect::<Vec<_>>())?;
            let mut known = Vec::with_capacity(grads.len());
            for (grad, weight) in grads.into_iter().zip(&compiled.trainable) {
                known.push(grad.ok_or_else(|| {
                    Error::value(
                        "training step",
                        "a loss that depends on every trainable weight by differentiable operations",
                        format!("no gradient for {}", weight.variable.name()),
                    )
                    .advice("freeze the layer, or use its output in the loss")
                })?);
            }
            let variables: Vec<_> = compiled.trainable.iter().map(|weight| weight.variable.clone()).collect();
            let constraints: Vec<_> =
                compiled.trainable.iter().map(|weight| weight.constraint.clone()).collect();
            updates.extend(compiled.optimizer.updates(&variables, &known, &constraints)?);
        }
        // States of stateful layers change in every phase, moving averages in training alone: layers decide.
        updates.extend(collected.updates);

        let mut outputs = vec![total];
        outputs.extend(reported.into_iter().chain(metrics));
        trace.finish(&outputs, updates)?;
        Ok(trace)
    }
}

/// What a crossentropy sees of an output. TensorFlow has an operation even where a layer hands its input on as it is (a reshape
/// to the same shape), and does not look through it for an activation; `linear` is the one that has none.
fn sight(trace: &Trace, symbol: &Tensor, prediction: &Tensor) -> Result<Sight> {
    let Some((node, _)) = symbol.layer_node() else { return Ok(Sight::Open) };
    let class = node.layer().class_name();
    let output = trace.lift(prediction)?;
    Ok(match (class.as_str(), node.inputs.as_slice()) {
        ("Activation", _) => Sight::Open,
        // Its transpose would hide another one's softmax, or undo that of a softmax along another axis.
        ("Permute", _) => Sight::Closed,
        // Operations of TensorFlow remember no logits.
        ("TFOpLambda", _) => Sight::Own,
        // Along another axis it is no operation of its own.
        ("Softmax", [input]) if trace.with_graph(|graph| graph.node(output).op != Op::Softmax) => {
            Sight::Logits(trace.lift(input)?)
        }
        (_, inputs) => {
            let given = inputs.iter().map(|input| trace.lift(input)).collect::<Result<Vec<_>>>()?;
            if given.contains(&output) { Sight::Closed } else { Sight::Open }
        }
    })
}
