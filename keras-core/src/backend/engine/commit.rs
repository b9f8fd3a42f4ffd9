//! The end of a run: variables get their new values.

use super::defect;
use super::execute::{Environment, Held, Running};
use super::plan::{Operand, Step, Update};
use super::program::Program;
use super::scalars::to_array;
use super::snapshot::{Resident, Snapshot, resident};
use crate::array::Array;
use crate::backend::variable::State;
use crate::backend::{Backend, Variable};
use crate::error::Result;
use crate::graph::Type;
use std::sync::{Arc, MutexGuard};

/// A new value that had to be made before anything changes.
enum Prepared<T> {
    /// On the host.
    Array(Array),
    /// A copy of what something else sees.
    Copy(Held<T>),
}

#[allow(clippy::indexing_slicing, reason = "slots and writers are numbered by the plan")]
impl<B: Backend> Program<B> {
    /// Under the locks of all cells that change, in place where nobody else reads the old values.
    pub(super) fn commit(
        &self,
        mut environment: Environment<B::Tensor>,
        snapshot: Snapshot<B>,
    ) -> Result<()> {
        let plan = &self.plan;
        let mut prepared = Vec::with_capacity(plan.updates.len());
        for update in &plan.updates {
            prepared.push(self.prepared(update, &environment)?);
        }
        for (slot, replaced) in environment.slots.iter_mut().zip(&plan.replaced) {
            if replaced.is_some() {
                *slot = None;
            }
        }
        drop(snapshot);
        let mut states: Vec<MutexGuard<'_, State>> = plan.writers.iter().map(Variable::state).collect();
        for step in &plan.commit {
            let writable = self.old_values(step, &mut states, &mut environment)?;
            self.step(&Running { plan, step, writable: &writable }, &mut environment)?;
        }
        for (update, prepared) in plan.updates.iter().zip(prepared) {
            let state = &mut states[update.writer];
            let held = match (prepared, update.value) {
                (Some(Prepared::Array(array)), _) => {
                    state.replace_host(array);
                    continue;
                }
                (Some(Prepared::Copy(held)), _) => Some(held),
                (None, Operand::Slot(slot)) => environment.slots[slot].take(),
                (None, Operand::Host(_)) => None,
            };
            match held.ok_or_else(|| defect("the new value of a variable"))? {
                Held::Device(tensor) => {
                    let backend = Arc::clone(&self.engine.backend);
                    state.replace(self.engine.id, Arc::new(Resident { tensor, backend }));
                }
                Held::Empty(ty) => state.replace_host(Array::zeros(ty.dtype, &ty.shape)?),
            }
        }
        Ok(())
    }

    fn prepared(
        &self,
        update: &Update,
        environment: &Environment<B::Tensor>,
    ) -> Result<Option<Prepared<B::Tensor>>> {
        let variable = &update.variable;
        let held = match update.value {
            Operand::Host(scalar) => {
                let ty = Type::new(variable.shape(), variable.dtype());
                return Ok(Some(Prepared::Array(to_array(environment.scalars[scalar], &ty)?)));
            }
            Operand::Slot(slot) => &environment.slots[slot],
        };
        Ok(match held {
            Some(held) if variable.is_host() => Some(Prepared::Array(self.lower_counted(held)?)),
            Some(Held::Device(tensor)) if update.copied => {
                Some(Prepared::Copy(Held::Device(self.engine.backend.copy(tensor)?)))
            }
            Some(held) if update.copied => Some(Prepared::Copy(held.clone())),
            _ => None,
        })
    }

    /// Puts the old values that a step reads into their slots, and says which operands it may overwrite: where the
    /// plan allows it, a value moves out of its cell if nobody else holds it.
    fn old_values(
        &self,
        step: &Step<B>,
        states: &mut [MutexGuard<'_, State>],
        environment: &mut Environment<B::Tensor>,
    ) -> Result<Vec<bool>> {
        let mut writable = step.writable.clone();
        for (i, operand) in step.operands.iter().enumerate() {
            let Some(slot) = operand.slot() else { continue };
            let Some(writer) = self.plan.replaced[slot] else { continue };
            let state = &mut states[writer];
            let replica = state.replica(self.engine.id).and_then(resident::<B>);
            let replica = replica.ok_or_else(|| defect("the old value of a variable"))?;
            let tensor = if writable[i] {
                state.replicas.retain(|(id, _)| *id != self.engine.id);
                match Arc::try_unwrap(replica) {
                    Ok(unshared) => unshared.tensor,
                    Err(shared) => {
                        writable[i] = false;
                        shared.tensor.clone()
                    }
                }
            } else {
                replica.tensor.clone()
            };
            environment.slots[slot] = Some(Held::Device(tensor));
        }
        Ok(writable)
    }
}
