//! The beginning of a run: the values of all variables at one moment, and what is kept from earlier runs.

use super::execute::{Environment, Held};
use super::plan::Operand;
use super::program::Program;
use super::scalars::to_scalar;
use crate::array::Array;
use crate::backend::variable::{Replica, State};
use crate::backend::{Backend, Scalar, Variable};
use crate::error::Result;
use std::any::Any;
use std::sync::{Arc, MutexGuard, PoisonError};

/// A variable's tensor on an engine.
pub(super) struct Resident<B: Backend> {
    pub(super) tensor: B::Tensor,
    pub(super) backend: Arc<B>,
}

impl<B: Backend> Replica for Resident<B> {
    fn download(&self) -> Result<Array> {
        self.backend.download(&self.tensor)
    }
}

/// The value a variable had when the run began.
enum Read<B: Backend> {
    Device(Arc<Resident<B>>),
    /// Tensors without elements never reach a backend.
    Empty(Array),
    Host(Scalar),
}

/// The values of all variables at one moment, between commits.
pub(super) struct Snapshot<B: Backend> {
    /// As [`Plan::reads`](super::plan::Plan) has them.
    values: Vec<Read<B>>,
    pub(super) versions: Vec<u64>,
}

/// Values of fixed steps.
pub(super) struct Kept<T> {
    versions: Vec<u64>,
    values: Vec<(usize, Held<T>)>,
}

#[allow(clippy::indexing_slicing, reason = "slots and scalars are numbered by the plan")]
impl<B: Backend> Program<B> {
    /// Holds the locks of all cells, taken in the order of their ids, until every value has been read.
    pub(super) fn snapshot(&self) -> Result<Snapshot<B>> {
        let reads = &self.plan.reads;
        let mut states: Vec<MutexGuard<'_, State>> = Vec::with_capacity(reads.len());
        let mut values = Vec::with_capacity(reads.len());
        let mut versions = Vec::with_capacity(reads.len());
        for (variable, place) in reads {
            let mut state = variable.state();
            values.push(match place {
                Operand::Host(_) => Read::Host(to_scalar(&state.read(variable.name())?)),
                Operand::Slot(_) => {
                    versions.push(state.version);
                    self.read(variable, &mut state)?
                }
            });
            states.push(state);
        }
        Ok(Snapshot { values, versions })
    }

    /// The value on this engine, brought there if need be.
    fn read(&self, variable: &Variable, state: &mut State) -> Result<Read<B>> {
        if let Some(resident) = state.replica(self.engine.id).and_then(resident::<B>) {
            return Ok(Read::Device(resident));
        }
        let array = state.read(variable.name())?;
        if array.is_empty() {
            return Ok(Read::Empty(array));
        }
        let tensor = self.engine.backend.upload(&array)?;
        let resident = Arc::new(Resident { tensor, backend: Arc::clone(&self.engine.backend) });
        let replica: Arc<dyn Replica> = Arc::<Resident<B>>::clone(&resident);
        state.replicas.push((self.engine.id, replica));
        state.host = None;
        Ok(Read::Device(resident))
    }

    /// Feeds, variables and literals in their slots, host scalars evaluated.
    pub(super) fn prepare(&self, feeds: &[Array], snapshot: &Snapshot<B>) -> Result<Environment<B::Tensor>> {
        let plan = &self.plan;
        let mut environment =
            Environment { slots: (0..plan.slots).map(|_| None).collect(), scalars: plan.scalars.start() };
        for (array, (_, slot)) in feeds.iter().zip(&plan.feeds) {
            if let Some(slot) = *slot {
                environment.slots[slot] = Some(self.lift(array)?);
            }
        }
        for ((_, place), value) in plan.reads.iter().zip(&snapshot.values) {
            match (*place, value) {
                (Operand::Slot(slot), Read::Device(resident)) => {
                    environment.slots[slot] = Some(Held::Device(resident.tensor.clone()));
                }
                (Operand::Slot(slot), Read::Empty(array)) => {
                    environment.slots[slot] = Some(self.lift(array)?);
                }
                (Operand::Host(scalar), Read::Host(value)) => environment.scalars[scalar] = *value,
                _ => {}
            }
        }
        for literal in &plan.literals {
            environment.slots[literal.slot] = Some(Held::Device(literal.tensor.clone()));
        }
        plan.scalars.evaluate(&mut environment.scalars)?;
        Ok(environment)
    }

    /// Brings back the values of fixed steps, if their variables have not changed since; whether it did.
    pub(super) fn restore(&self, environment: &mut Environment<B::Tensor>, versions: &[u64]) -> bool {
        if self.plan.kept.is_empty() {
            return false;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_ref().filter(|kept| kept.versions == versions) else { return false };
        for (slot, value) in &kept.values {
            environment.slots[*slot] = Some(value.clone());
        }
        true
    }

    /// Keeps them for the next run.
    pub(super) fn store(&self, environment: &Environment<B::Tensor>, versions: &[u64]) {
        if self.plan.kept.is_empty() {
            return;
        }
        let values = environment.some(&self.plan.kept);
        let kept = Kept { versions: versions.to_vec(), values };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}

/// A replica of this kind of engine.
pub(super) fn resident<B: Backend>(replica: Arc<dyn Replica>) -> Option<Arc<Resident<B>>> {
    let any: Arc<dyn Any + Send + Sync> = replica;
    any.downcast().ok()
}
