//! [`Program`]: a plan and the way it runs: snapshot, compute, commit.

use super::execute::{Environment, Held, Running};
use super::plan::{Action, Operand, Plan};
use super::scalars::to_array;
use super::snapshot::Kept;
use super::{Engine, defect};
use crate::array::Array;
use crate::backend::{Backend, Variable};
use crate::error::{Error, Result};
use crate::graph::{Graph, Type};
use std::sync::{Mutex, MutexGuard};

/// A graph compiled for one engine; may be run from many threads at once.
pub struct Program<B: Backend> {
    pub(super) engine: Engine<B>,
    pub(super) plan: Plan<B>,
    /// Values of fixed steps, with the versions of the variables they were computed from.
    pub(super) kept: Mutex<Option<Kept<B::Tensor>>>,
}

#[allow(clippy::indexing_slicing, reason = "slots are numbered by the plan")]
impl<B: Backend> Program<B> {
    pub(super) fn new(engine: Engine<B>, plan: Plan<B>) -> Self {
        Self { engine, plan, kept: Mutex::new(None) }
    }

    /// The optimised graph.
    pub fn graph(&self) -> &Graph {
        &self.plan.graph
    }

    /// How many operations a run performs.
    pub fn steps(&self) -> usize {
        let steps = self.plan.compute.iter().chain(&self.plan.commit);
        steps.filter(|step| !matches!(step.action, Action::Prepack(_))).count()
    }

    /// Runs it: one array per input of the graph in, one per output out. Variables change only if everything
    /// succeeded, and all at once.
    pub fn run(&self, feeds: &[Array]) -> Result<Vec<Array>> {
        let plan = &self.plan;
        self.check(feeds)?;
        let tokens: Vec<MutexGuard<'_, ()>> = plan.writers.iter().map(Variable::writer).collect();
        let snapshot = self.snapshot()?;
        let mut environment = self.prepare(feeds, &snapshot)?;
        let restored = self.restore(&mut environment, &snapshot.versions);
        for step in plan.compute.iter().filter(|step| !(restored && step.fixed)) {
            self.step(&Running { plan, step, writable: &step.writable }, &mut environment)
                .map_err(|error| plan.located(step, error))?;
        }
        if !restored {
            self.store(&environment, &snapshot.versions);
        }
        let mut fetched = Vec::with_capacity(plan.outputs.len());
        for (operand, ty) in &plan.outputs {
            fetched.push(self.fetch(&environment, *operand, ty)?);
        }
        if !plan.updates.is_empty() {
            self.commit(environment, snapshot)?;
        }
        drop(tokens);
        Ok(fetched)
    }

    fn check(&self, feeds: &[Array]) -> Result<()> {
        let types = &self.plan.feeds;
        if feeds.len() != types.len() {
            return Err(Error::value("run", format!("{} feeds", types.len()), feeds.len().to_string()));
        }
        for (i, (array, (ty, _))) in feeds.iter().zip(types).enumerate() {
            let doing = || format!("run, feed {i}");
            if array.dtype() != ty.dtype {
                return Err(Error::dtype(
                    doing(),
                    ty.to_string(),
                    format!("{} {:?}", array.dtype(), array.shape()),
                ));
            }
            if array.shape() != ty.shape {
                return Err(Error::shape(
                    doing(),
                    ty.to_string(),
                    format!("{} {:?}", array.dtype(), array.shape()),
                ));
            }
        }
        Ok(())
    }

    fn fetch(&self, environment: &Environment<B::Tensor>, operand: Operand, ty: &Type) -> Result<Array> {
        match operand {
            Operand::Host(scalar) => to_array(environment.scalars[scalar], ty),
            Operand::Slot(slot) => match &environment.slots[slot] {
                Some(held) => self.lower(held),
                None if ty.is_empty() => Ok(Array::zeros(ty.dtype, &ty.shape)?),
                None => Err(defect(&format!("a value in slot {slot}"))),
            },
        }
    }

    /// To the device.
    pub(super) fn lift(&self, array: &Array) -> Result<Held<B::Tensor>> {
        Ok(if array.is_empty() {
            Held::Empty(Type::new(array.shape(), array.dtype()))
        } else {
            Held::Device(self.engine.backend.upload(array)?)
        })
    }

    /// To the device, in the middle of a program.
    pub(super) fn lift_counted(&self, array: &Array) -> Result<Held<B::Tensor>> {
        if !array.is_empty() {
            self.engine.count_host_copy();
        }
        self.lift(array)
    }

    /// To the host, in the middle of a program.
    pub(super) fn lower_counted(&self, held: &Held<B::Tensor>) -> Result<Array> {
        if let Held::Device(_) = held {
            self.engine.count_host_copy();
        }
        self.lower(held)
    }

    /// To the host.
    pub(super) fn lower(&self, held: &Held<B::Tensor>) -> Result<Array> {
        match held {
            Held::Device(tensor) => self.engine.backend.download(tensor),
            Held::Empty(ty) => Ok(Array::zeros(ty.dtype, &ty.shape)?),
        }
    }
}
