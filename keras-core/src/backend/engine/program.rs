//! [`Program`]: a plan and the way it runs: snapshot, compute, commit.

use super::plan::{Action, Operand, Plan, Step};
use super::{Engine, on_reference};
use crate::array::{Array, DType};
use crate::backend::variable::{Replica, State};
use crate::backend::{Arg, Backend, Scalar, Variable};
use crate::error::{Error, Result};
use crate::graph::{Graph, HostFn, Op, Scan, Type};
use crate::random::Stream;
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A graph compiled for one engine; may be run from many threads at once.
pub struct Program<B: Backend> {
    engine: Engine<B>,
    plan: Plan<B>,
    /// Values of fixed steps, with the versions of the variables they were computed from.
    kept: Mutex<Option<Kept<B::Tensor>>>,
}

struct Kept<T> {
    versions: Vec<u64>,
    values: Vec<(usize, Held<T>)>,
}

/// A value while a program runs.
enum Held<T> {
    Device(T),
    /// Tensors without elements never reach a backend.
    Empty(Type),
}

impl<T: Clone> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Device(tensor) => Self::Device(tensor.clone()),
            Self::Empty(ty) => Self::Empty(ty.clone()),
        }
    }
}

/// A variable's tensor on an engine.
struct Resident<B: Backend> {
    tensor: B::Tensor,
    backend: Arc<B>,
}

impl<B: Backend> Replica for Resident<B> {
    fn download(&self) -> Result<Array> {
        self.backend.download(&self.tensor)
    }
}

/// Slots of a run.
struct Environment<T> {
    slots: Vec<Option<Held<T>>>,
    scalars: Vec<Option<Array>>,
}

#[allow(clippy::indexing_slicing, reason = "slots and nodes are numbered by the plan")]
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
        self.plan.compute.len() + self.plan.commit.len()
    }

    /// Runs it: one array per input of the graph in, one per output out. Variables change only if everything
    /// succeeded, and all at once.
    pub fn run(&self, feeds: &[Array]) -> Result<Vec<Array>> {
        let plan = &self.plan;
        let mut writers: Vec<&Variable> = plan.updates.iter().map(|(variable, _)| variable).collect();
        writers.sort_by_key(|variable| variable.id());
        writers.dedup();
        let tokens: Vec<MutexGuard<'_, ()>> = writers.iter().map(|variable| variable.writer()).collect();

        let (snapshot, versions, host) = self.snapshot()?;
        let mut environment = self.prepare(feeds, &snapshot, host)?;
        let restored = self.restore_kept(&mut environment, &versions);
        for step in plan.compute.iter().filter(|step| !(restored && step.fixed)) {
            self.step(plan, step, &mut environment)?;
        }
        if !restored {
            self.store_kept(&environment, versions);
        }
        let mut fetched = Vec::with_capacity(plan.outputs.len());
        for (operand, ty) in &plan.outputs {
            fetched.push(self.fetch(&environment, *operand, ty)?);
        }
        if !plan.updates.is_empty() {
            self.commit(&writers, environment, snapshot)?;
        }
        drop(tokens);
        Ok(fetched)
    }

    /// The replicas of all variables at one moment, between commits.
    #[allow(clippy::type_complexity)]
    fn snapshot(&self) -> Result<(Vec<Arc<Resident<B>>>, Vec<u64>, Vec<Array>)> {
        let plan = &self.plan;
        loop {
            for (variable, _) in &plan.variables {
                self.upload(variable)?;
            }
            let mut cells: Vec<&Variable> =
                plan.variables.iter().chain(&plan.host_variables).map(|(variable, _)| variable).collect();
            cells.sort_by_key(|variable| variable.id());
            let mut states: Vec<(u64, MutexGuard<'_, State>)> =
                cells.into_iter().map(|variable| (variable.id(), variable.state())).collect();
            let mut replicas = Vec::with_capacity(plan.variables.len());
            let mut versions = Vec::with_capacity(plan.variables.len());
            let mut host = Vec::with_capacity(plan.host_variables.len());
            for (variable, _) in &plan.variables {
                if let Ok(at) = states.binary_search_by_key(&variable.id(), |(id, _)| *id) {
                    let state = &states[at].1;
                    versions.push(state.version);
                    replicas.extend(state.replica(self.engine.id).and_then(resident::<B>));
                }
            }
            for (variable, _) in &plan.host_variables {
                if let Ok(at) = states.binary_search_by_key(&variable.id(), |(id, _)| *id) {
                    host.push(states[at].1.read(variable.name())?);
                }
            }
            // Another engine may have committed between the upload and the locks; then try again.
            if replicas.len() == plan.variables.len() {
                return Ok((replicas, versions, host));
            }
        }
    }

    /// Makes sure that this engine has a replica.
    fn upload(&self, variable: &Variable) -> Result<()> {
        let mut state = variable.state();
        if state.replica(self.engine.id).is_none() {
            let array = state.read(variable.name())?;
            let tensor = self.engine.backend.upload(&array)?;
            let backend = Arc::clone(&self.engine.backend);
            state.replicas.push((self.engine.id, Arc::new(Resident { tensor, backend })));
            state.host = None;
        }
        Ok(())
    }

    fn prepare(
        &self,
        feeds: &[Array],
        snapshot: &[Arc<Resident<B>>],
        host: Vec<Array>,
    ) -> Result<Environment<B::Tensor>> {
        let plan = &self.plan;
        if feeds.len() != plan.feeds.len() {
            return Err(Error::value("run", format!("{} feeds", plan.feeds.len()), feeds.len().to_string()));
        }
        let mut environment = Environment {
            slots: (0..plan.slots).map(|_| None).collect(),
            scalars: vec![None; plan.graph.nodes().len()],
        };
        for (i, (array, (ty, slot))) in feeds.iter().zip(&plan.feeds).enumerate() {
            let Some(slot) = *slot else { continue };
            if array.shape() != ty.shape || array.dtype() != ty.dtype {
                return Err(Error::shape(format!("run, feed {i}"), ty.to_string(), format!("{array:?}")));
            }
            environment.slots[slot] = Some(self.lift(array)?);
        }
        for ((_, slot), resident) in plan.variables.iter().zip(snapshot) {
            environment.slots[*slot] = Some(Held::Device(resident.tensor.clone()));
        }
        for literal in &plan.literals {
            environment.slots[literal.slot] = Some(Held::Device(literal.tensor.clone()));
        }
        for ((_, node), array) in plan.host_variables.iter().zip(host) {
            environment.scalars[*node] = Some(array);
        }
        evaluate_scalars(plan, &mut environment.scalars)?;
        Ok(environment)
    }

    fn lift(&self, array: &Array) -> Result<Held<B::Tensor>> {
        Ok(if array.is_empty() {
            Held::Empty(Type::new(array.shape(), array.dtype()))
        } else {
            Held::Device(self.engine.backend.upload(array)?)
        })
    }

    fn lower(&self, held: &Held<B::Tensor>) -> Result<Array> {
        match held {
            Held::Device(tensor) => self.engine.backend.download(tensor),
            Held::Empty(ty) => Ok(Array::zeros(ty.dtype, &ty.shape)),
        }
    }

    fn fetch(&self, environment: &Environment<B::Tensor>, operand: Operand, ty: &Type) -> Result<Array> {
        match operand {
            Operand::Host(node) => scalar_array(&environment.scalars, node),
            Operand::Slot(slot) => match &environment.slots[slot] {
                Some(held) => self.lower(held),
                None if ty.is_empty() => Ok(Array::zeros(ty.dtype, &ty.shape)),
                None => Err(missing(slot)),
            },
        }
    }

    /// Brings back the values of fixed steps, if their variables have not changed since; whether it did.
    fn restore_kept(&self, environment: &mut Environment<B::Tensor>, versions: &[u64]) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.as_ref().filter(|kept| kept.versions == versions) else { return false };
        for (slot, value) in &kept.values {
            environment.slots[*slot] = Some(value.clone());
        }
        true
    }

    fn store_kept(&self, environment: &Environment<B::Tensor>, versions: Vec<u64>) {
        if self.plan.kept.is_empty() {
            return;
        }
        let values = self
            .plan
            .kept
            .iter()
            .filter_map(|&slot| Some((slot, environment.slots[slot].clone()?)))
            .collect();
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { versions, values });
    }

    /// Runs one step of a plan.
    fn step(&self, plan: &Plan<B>, step: &Step<B>, environment: &mut Environment<B::Tensor>) -> Result<()> {
        let node = &plan.graph.nodes()[step.node];
        let backend = &*self.engine.backend;
        if let Action::Fill(scalar) = step.action {
            let value = scalar_array(&environment.scalars, scalar)?;
            let tensor = backend.full(&node.outputs[0], to_scalar(&value))?;
            environment.slots[step.outputs[0]] = Some(Held::Device(tensor));
            return Ok(());
        }
        let mut operands = Vec::with_capacity(step.operands.len());
        for ((operand, &last), &writable) in step.operands.iter().zip(&step.last).zip(&step.writable) {
            let held = match *operand {
                Operand::Slot(slot) if last => environment.slots[slot].take(),
                Operand::Slot(slot) => environment.slots[slot].clone(),
                Operand::Host(scalar) => {
                    let value = scalar_array(&environment.scalars, scalar)?;
                    let ty = Type::new([], value.dtype());
                    Some(Held::Device(backend.full(&ty, to_scalar(&value))?))
                }
            };
            operands.push((held.ok_or_else(|| missing(step.node))?, writable));
        }
        let results: Vec<Option<Held<B::Tensor>>> = match (&step.action, &node.op) {
            (Action::Loop(body), Op::Scan(scan)) => {
                let operands = operands.into_iter().map(|(held, _)| held).collect();
                self.scan(scan, body, operands, &step.wanted, &node.outputs)?
            }
            (_, Op::Host(host)) => self.host(host, &operands)?,
            (_, &Op::Random { distribution, stream, .. }) => {
                let key = |i: usize| -> Result<u64> {
                    let node = step.scalars.get(i).copied().ok_or_else(|| missing(step.node))?;
                    Ok(to_scalar(&scalar_array(&environment.scalars, node)?).to_i64() as u64)
                };
                let stream = Stream::new(key(0)?, stream, key(1)?);
                vec![Some(Held::Device(backend.random(&node.outputs[0], distribution, &stream)?))]
            }
            (Action::Empty, op) => {
                let mut arrays = Vec::with_capacity(operands.len());
                for (held, _) in &operands {
                    arrays.push(self.lower(held)?);
                }
                let mut results = Vec::new();
                for array in on_reference(op, &arrays)? {
                    results.push(Some(self.lift(&array)?));
                }
                results
            }
            (_, op) => {
                let mut arguments = Vec::with_capacity(operands.len());
                for (held, writable) in operands {
                    let Held::Device(tensor) = held else { return Err(missing(step.node)) };
                    arguments.push(Arg { tensor, writable });
                }
                let mut scalars = Vec::with_capacity(step.scalars.len());
                for &scalar in &step.scalars {
                    scalars.push(to_scalar(&scalar_array(&environment.scalars, scalar)?));
                }
                let results =
                    super::dispatch::dispatch(backend, op, arguments, &scalars, &step.wanted, &node.outputs)?;
                results.into_iter().map(|tensor| tensor.map(Held::Device)).collect()
            }
        };
        for ((&slot, &wanted), result) in step.outputs.iter().zip(&step.wanted).zip(results) {
            if wanted {
                environment.slots[slot] = result;
            }
        }
        Ok(())
    }

    fn host(
        &self,
        host: &HostFn,
        operands: &[(Held<B::Tensor>, bool)],
    ) -> Result<Vec<Option<Held<B::Tensor>>>> {
        let mut arrays = Vec::with_capacity(operands.len());
        for (held, _) in operands {
            arrays.push(self.lower(held)?);
        }
        let results =
            (host.run)(&arrays).map_err(|error| error.within(format!("host function {}", host.name)))?;
        let expected: Vec<String> = host.outputs.iter().map(ToString::to_string).collect();
        let fits = results.len() == host.outputs.len()
            && results
                .iter()
                .zip(&host.outputs)
                .all(|(array, ty)| array.shape() == ty.shape && array.dtype() == ty.dtype);
        if !fits {
            let doing = format!("host function {}", host.name);
            return Err(Error::shape(doing, expected.join(", "), format!("{results:?}")));
        }
        results.iter().map(|array| self.lift(array).map(Some)).collect()
    }

    /// Runs a loop: the compiled body once per step.
    fn scan(
        &self,
        scan: &Scan,
        body: &Plan<B>,
        operands: Vec<Held<B::Tensor>>,
        wanted: &[bool],
        outputs: &[Type],
    ) -> Result<Vec<Option<Held<B::Tensor>>>> {
        let mut operands = operands;
        let consts = operands.split_off(scan.carries + scan.xs);
        let xs = operands.split_off(scan.carries);
        let mut carries = operands;
        let ys = body.outputs.len() - scan.carries;
        let mut collected: Vec<Vec<Held<B::Tensor>>> = (0..ys + scan.carries).map(|_| Vec::new()).collect();
        let keep = |i: usize| wanted.get(scan.carries + i).copied().unwrap_or(false);
        let mut scalars = vec![None; body.graph.nodes().len()];
        evaluate_scalars(body, &mut scalars)?;
        for count in 0..scan.steps {
            let t = if scan.reverse { scan.steps - 1 - count } else { count };
            let mut environment =
                Environment { slots: (0..body.slots).map(|_| None).collect(), scalars: scalars.clone() };
            for (i, carry) in carries.iter().enumerate() {
                if keep(ys + i) {
                    collected[ys + i].push(carry.clone());
                }
            }
            let mut feeds = Vec::with_capacity(body.feeds.len());
            feeds.append(&mut carries);
            for x in &xs {
                feeds.push(self.row(x, t)?);
            }
            feeds.extend(consts.iter().cloned());
            for ((_, slot), feed) in body.feeds.iter().zip(feeds) {
                if let Some(slot) = *slot {
                    environment.slots[slot] = Some(feed);
                }
            }
            for literal in &body.literals {
                environment.slots[literal.slot] = Some(Held::Device(literal.tensor.clone()));
            }
            for step in &body.compute {
                self.step(body, step, &mut environment)?;
            }
            for (i, (operand, ty)) in body.outputs.iter().enumerate() {
                let value = match *operand {
                    Operand::Slot(slot) => environment.slots[slot].clone().ok_or_else(|| missing(slot))?,
                    Operand::Host(node) => {
                        let value = scalar_array(&environment.scalars, node)?;
                        Held::Device(self.engine.backend.full(ty, to_scalar(&value))?)
                    }
                };
                if i < scan.carries {
                    carries.push(value);
                } else if keep(i - scan.carries) {
                    collected[i - scan.carries].push(value);
                }
            }
        }
        let mut results: Vec<Option<Held<B::Tensor>>> = carries.into_iter().map(Some).collect();
        for (i, mut rows) in collected.into_iter().enumerate() {
            let ty = &outputs[scan.carries + i];
            if rows.is_empty() {
                results.push(None);
                continue;
            }
            if scan.reverse {
                rows.reverse();
            }
            results.push(Some(self.stack(&rows, ty)?));
        }
        Ok(results)
    }

    /// Row `t` of the leading axis.
    fn row(&self, x: &Held<B::Tensor>, t: usize) -> Result<Held<B::Tensor>> {
        match x {
            Held::Empty(ty) => Ok(Held::Empty(Type::new(&ty.shape[1..], ty.dtype))),
            Held::Device(tensor) => {
                let backend = &*self.engine.backend;
                let shape = backend.type_of(tensor).shape;
                let mut spec = crate::graph::SliceSpec {
                    starts: vec![0; shape.len()],
                    stops: shape.clone(),
                    steps: vec![1; shape.len()],
                };
                (spec.starts[0], spec.stops[0]) = (t, t + 1);
                let row = backend.slice(tensor, &spec)?;
                Ok(Held::Device(backend.reshape(&row, &shape[1..])?))
            }
        }
    }

    fn stack(&self, rows: &[Held<B::Tensor>], ty: &Type) -> Result<Held<B::Tensor>> {
        let backend = &*self.engine.backend;
        let mut shape = ty.shape.clone();
        shape[0] = 1;
        let mut parts = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Held::Empty(_) => return Ok(Held::Empty(ty.clone())),
                Held::Device(tensor) => parts.push(backend.reshape(tensor, &shape)?),
            }
        }
        Ok(Held::Device(match parts.as_slice() {
            [part] => part.clone(),
            parts => backend.concat(parts, 0)?,
        }))
    }

    /// Gives the variables their new values: under all their locks, in place where nobody else reads the old ones.
    fn commit(
        &self,
        writers: &[&Variable],
        mut environment: Environment<B::Tensor>,
        snapshot: Vec<Arc<Resident<B>>>,
    ) -> Result<()> {
        let plan = &self.plan;
        let engine = self.engine.id;
        // What needs the host or a copy is prepared before anything changes.
        let mut copies: Vec<Option<Held<B::Tensor>>> = Vec::with_capacity(plan.updates.len());
        let mut arrays: Vec<Option<Array>> = Vec::with_capacity(plan.updates.len());
        for ((variable, operand), &copied) in plan.updates.iter().zip(&plan.copied) {
            let (mut copy, mut array) = (None, None);
            match *operand {
                Operand::Host(node) => {
                    array = Some(scalar_array(&environment.scalars, node)?.cast(variable.dtype()))
                }
                Operand::Slot(slot) => match &environment.slots[slot] {
                    Some(held) if variable.is_host() => array = Some(self.lower(held)?),
                    Some(held) if copied => copy = Some(self.lift(&self.lower(held)?)?),
                    _ => {}
                },
            }
            copies.push(copy);
            arrays.push(array);
        }
        for (variable, slot) in &plan.variables {
            if plan.updates.iter().any(|(target, _)| target == variable) {
                environment.slots[*slot] = None;
            }
        }
        drop(snapshot);
        let mut states: Vec<MutexGuard<'_, State>> =
            writers.iter().map(|variable| variable.state()).collect();
        let at = |variable: &Variable| writers.binary_search_by_key(&variable.id(), |other| other.id()).ok();
        // The old values enter as operands: handles are given up where the plan lets a kernel write into them.
        let mut old: Vec<(usize, Arc<Resident<B>>)> = Vec::new();
        for (variable, slot) in &plan.variables {
            let read = plan.commit.iter().any(|step| step.operands.contains(&Operand::Slot(*slot)));
            if let (Some(at), true) = (at(variable), read) {
                let replica = states[at].replica(engine).and_then(resident::<B>);
                old.push((*slot, replica.ok_or_else(|| missing(*slot))?));
            }
        }
        for step in &plan.commit {
            let mut writable = step.writable.clone();
            for (i, operand) in step.operands.iter().enumerate() {
                let Operand::Slot(slot) = *operand else { continue };
                let Some(position) = old.iter().position(|(known, _)| *known == slot) else { continue };
                let variable =
                    plan.variables.iter().find(|(_, known)| *known == slot).map(|(variable, _)| variable);
                let tensor = if step.last[i] && writable[i] {
                    let (_, resident) = old.swap_remove(position);
                    if let Some(at) = variable.and_then(at) {
                        states[at].replicas.retain(|(id, _)| *id != engine);
                    }
                    match Arc::try_unwrap(resident) {
                        Ok(unshared) => unshared.tensor,
                        Err(shared) => {
                            writable[i] = false;
                            shared.tensor.clone()
                        }
                    }
                } else {
                    old[position].1.tensor.clone()
                };
                environment.slots[slot] = Some(Held::Device(tensor));
            }
            self.commit_step(step, &writable, &mut environment)?;
        }
        drop(old);
        for (((variable, operand), copy), array) in plan.updates.iter().zip(copies).zip(arrays) {
            let Some(at) = at(variable) else { continue };
            if let Some(array) = array {
                if variable.is_host() {
                    states[at].replace_host(array);
                } else {
                    states[at].replace_host(Array::full_of(
                        variable.dtype(),
                        variable.shape(),
                        array.item()?,
                    ));
                }
                continue;
            }
            let Operand::Slot(slot) = *operand else { continue };
            match copy.or_else(|| environment.slots[slot].take()) {
                Some(Held::Device(tensor)) => {
                    let backend = Arc::clone(&self.engine.backend);
                    states[at].replace(engine, Arc::new(Resident { tensor, backend }));
                }
                Some(Held::Empty(ty)) => states[at].replace_host(Array::zeros(ty.dtype, &ty.shape)),
                None => return Err(missing(slot)),
            }
        }
        Ok(())
    }

    fn commit_step(
        &self,
        step: &Step<B>,
        writable: &[bool],
        environment: &mut Environment<B::Tensor>,
    ) -> Result<()> {
        let adjusted = Step {
            node: step.node,
            action: Action::Run,
            operands: step.operands.clone(),
            last: step.last.clone(),
            writable: writable.to_vec(),
            scalars: step.scalars.clone(),
            outputs: step.outputs.clone(),
            wanted: step.wanted.clone(),
            fixed: step.fixed,
        };
        self.step(&self.plan, &adjusted, environment)
    }
}

fn resident<B: Backend>(replica: Arc<dyn Replica>) -> Option<Arc<Resident<B>>> {
    let any: Arc<dyn Any + Send + Sync> = replica;
    any.downcast().ok()
}

fn missing(slot: usize) -> Error {
    Error::state("engine", format!("a value in slot {slot}"), "none")
        .advice("this is a defect of the engine; please report it")
}

#[allow(clippy::indexing_slicing, reason = "one place per node")]
fn evaluate_scalars<B: Backend>(plan: &Plan<B>, scalars: &mut [Option<Array>]) -> Result<()> {
    for &node in &plan.host {
        let Some(described) = plan.graph.nodes().get(node) else { continue };
        let value = match &described.op {
            Op::Constant(literal) => Some((*literal.0).clone()),
            op => {
                let mut inputs = Vec::with_capacity(described.inputs.len());
                for input in &described.inputs {
                    inputs.push(scalar_array(scalars, input.node as usize)?);
                }
                on_reference(op, &inputs)?.into_iter().next()
            }
        };
        scalars[node] = value;
    }
    Ok(())
}

fn scalar_array(scalars: &[Option<Array>], node: usize) -> Result<Array> {
    scalars.get(node).cloned().flatten().ok_or_else(|| missing(node))
}

fn to_scalar(array: &Array) -> Scalar {
    match array.dtype() {
        DType::F32 | DType::F64 => Scalar::Float(array.item().unwrap_or(f64::NAN)),
        DType::Bool => Scalar::Bool(array.item().is_ok_and(|x| x != 0.0)),
        DType::I32 | DType::I64 | DType::U8 => {
            Scalar::Int(array.to_vec::<i64>().first().copied().unwrap_or(0))
        }
    }
}
