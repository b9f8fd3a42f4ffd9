//! Running the steps of a plan.

use super::plan::{Action, Operand, Plan, Step};
use super::program::Program;
use super::scalars::to_scalar;
use super::{defect, dispatch, on_reference};
use crate::array::Array;
use crate::backend::{Arg, Backend, Scalar};
use crate::error::{Error, Result};
use crate::graph::{HostFn, Op, Type};
use crate::random::Stream;

/// A value while a program runs.
#[derive(Clone)]
pub(super) enum Held<T> {
    Device(T),
    /// Tensors without elements never reach a backend.
    Empty(Type),
}

/// The values of a run.
pub(super) struct Environment<T> {
    pub(super) slots: Vec<Option<Held<T>>>,
    pub(super) scalars: Vec<Scalar>,
}

impl<T: Clone> Environment<T> {
    /// What is in those slots.
    pub(super) fn some(&self, slots: &[usize]) -> Vec<(usize, Held<T>)> {
        slots.iter().filter_map(|&slot| Some((slot, self.slots.get(slot)?.clone()?))).collect()
    }
}

/// A step of a plan, about to run.
pub(super) struct Running<'a, B: Backend> {
    pub(super) plan: &'a Plan<B>,
    pub(super) step: &'a Step<B>,
    /// What may be overwritten; may be less than the step itself says.
    pub(super) writable: &'a [bool],
}

pub(super) type Results<T> = Result<Vec<Option<Held<T>>>>;

#[allow(clippy::indexing_slicing, reason = "slots and nodes are numbered by the plan")]
impl<B: Backend> Program<B> {
    /// Runs one step.
    pub(super) fn step(
        &self,
        running: &Running<'_, B>,
        environment: &mut Environment<B::Tensor>,
    ) -> Result<()> {
        let Running { plan, step, .. } = running;
        let node = &plan.graph.nodes()[step.node];
        let results = match (&step.action, &node.op) {
            (Action::Fill(scalar), _) => {
                let value = environment.scalars[*scalar];
                vec![Some(Held::Device(self.engine.backend.full(&node.outputs[0], value)?))]
            }
            (Action::Prepack(i), op) => {
                let Held::Device(tensor) = self.operand(running, 0, environment)? else {
                    return Err(defect("operands with elements"));
                };
                let op = if let Op::Epilogue(op, _) = op { op } else { op };
                let types: Vec<&Type> = node.inputs.iter().map(|&value| plan.graph.ty(value)).collect();
                // Not worth it where the result is not kept.
                let prepared = if step.fixed {
                    self.engine.backend.prepack(op, &types[..2], *i, &tensor)?
                } else {
                    None
                };
                vec![Some(Held::Device(prepared.unwrap_or(tensor)))]
            }
            (Action::Loop(body), Op::Scan(scan)) => {
                let operands = self.operands(running, environment)?;
                self.scan(scan, body, operands, &step.wanted, &node.outputs)?
            }
            (Action::Host, Op::Host(host)) => self.host(host, &self.arrays(running, environment)?)?,
            (Action::Random, &Op::Random { distribution, stream, .. }) => {
                let (seed, time) = (self.key(running, 0, environment)?, self.key(running, 1, environment)?);
                let stream = Stream::new(seed, stream, time);
                vec![Some(Held::Device(self.engine.backend.random(
                    &node.outputs[0],
                    distribution,
                    &stream,
                )?))]
            }
            (Action::Reference, _) if node.outputs.iter().all(Type::is_empty) => {
                node.outputs.iter().map(|ty| Some(Held::Empty(ty.clone()))).collect()
            }
            (Action::Reference, op) => {
                let results = on_reference(op, &self.arrays(running, environment)?)?;
                results.iter().map(|array| self.lift(array).map(Some)).collect::<Result<_>>()?
            }
            (_, op) => {
                let count = step.operands.len();
                let mut arguments = Vec::with_capacity(count);
                for i in 0..count {
                    let Held::Device(tensor) = self.operand(running, i, environment)? else {
                        return Err(defect("operands with elements"));
                    };
                    arguments.push(Arg { tensor, writable: running.writable[i] });
                }
                let scalars: Vec<Scalar> = step.scalars.iter().map(|&at| environment.scalars[at]).collect();
                let backend = &*self.engine.backend;
                dispatch::dispatch(backend, op, arguments, &scalars, &step.wanted, &node.outputs)?
                    .into_iter()
                    .map(|tensor| tensor.map(Held::Device))
                    .collect()
            }
        };
        for ((slot, &wanted), result) in (step.first..).zip(&step.wanted).zip(results) {
            if wanted {
                environment.slots[slot] = result;
            }
        }
        Ok(())
    }

    /// Operand `i`, given up if this is its last use; a host scalar becomes a tensor.
    fn operand(
        &self,
        Running { plan, step, .. }: &Running<'_, B>,
        i: usize,
        environment: &mut Environment<B::Tensor>,
    ) -> Result<Held<B::Tensor>> {
        let held = match step.operands[i] {
            Operand::Slot(slot) if step.last[i] => environment.slots[slot].take(),
            Operand::Slot(slot) => environment.slots[slot].clone(),
            Operand::Host(scalar) => {
                let ty = plan.graph.ty(plan.graph.nodes()[step.node].inputs[i]);
                Some(Held::Device(self.engine.backend.full(ty, environment.scalars[scalar])?))
            }
        };
        held.ok_or_else(|| defect(&format!("a value in {:?}", step.operands[i])))
    }

    fn operands(
        &self,
        running: &Running<'_, B>,
        environment: &mut Environment<B::Tensor>,
    ) -> Result<Vec<Held<B::Tensor>>> {
        (0..running.step.operands.len()).map(|i| self.operand(running, i, environment)).collect()
    }

    fn arrays(
        &self,
        running: &Running<'_, B>,
        environment: &mut Environment<B::Tensor>,
    ) -> Result<Vec<Array>> {
        self.operands(running, environment)?.iter().map(|held| self.lower_counted(held)).collect()
    }

    /// Part `i` of the key of a random operation: usually a host scalar; in a loop, what was passed in.
    fn key(
        &self,
        running: &Running<'_, B>,
        i: usize,
        environment: &mut Environment<B::Tensor>,
    ) -> Result<u64> {
        let value = match running.step.operands[i] {
            Operand::Host(scalar) => environment.scalars[scalar],
            Operand::Slot(_) => to_scalar(&self.lower_counted(&self.operand(running, i, environment)?)?),
        };
        Ok(value.to_i64() as u64)
    }

    fn host(&self, host: &HostFn, operands: &[Array]) -> Results<B::Tensor> {
        let doing = || format!("host function {}", host.name);
        let results = (host.run)(operands).map_err(|error| error.within(doing()))?;
        let fits = results.len() == host.outputs.len()
            && results
                .iter()
                .zip(&host.outputs)
                .all(|(array, ty)| array.shape() == ty.shape && array.dtype() == ty.dtype);
        if !fits {
            let expected: Vec<String> = host.outputs.iter().map(ToString::to_string).collect();
            return Err(Error::shape(doing(), expected.join(", "), format!("{results:?}")));
        }
        results.iter().map(|array| self.lift_counted(array).map(Some)).collect()
    }
}
