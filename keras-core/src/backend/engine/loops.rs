//! Running loops: the compiled body, once per step.

use super::defect;
use super::execute::{Environment, Held, Results, Running};
use super::plan::{Operand, Plan};
use super::program::Program;
use crate::backend::Backend;
use crate::error::Result;
use crate::graph::{Scan, SliceSpec, Type};

#[allow(
    clippy::indexing_slicing,
    reason = "slots are numbered by the plan, and the shape rule fixed the counts"
)]
impl<B: Backend> Program<B> {
    /// The final carries, the collected ys and, as far as wanted, the carries at the start of every step.
    pub(super) fn scan(
        &self,
        scan: &Scan,
        body: &Plan<B>,
        operands: Vec<Held<B::Tensor>>,
        wanted: &[bool],
        outputs: &[Type],
    ) -> Results<B::Tensor> {
        let mut carries = operands;
        let consts = carries.split_off(scan.carries + scan.xs);
        let xs = carries.split_off(scan.carries);
        let ys = body.outputs.len() - scan.carries;
        let mut collected: Vec<Vec<Held<B::Tensor>>> = (0..ys + scan.carries).map(|_| Vec::new()).collect();
        let collects = |i: usize| wanted.get(scan.carries + i).copied().unwrap_or(false);
        let mut scalars = body.scalars.start();
        body.scalars.evaluate(&mut scalars)?;
        let mut environment = Environment { slots: (0..body.slots).map(|_| None).collect(), scalars };
        // What follows from literals alone is the same in every step.
        let mut kept: Vec<(usize, Held<B::Tensor>)> = Vec::new();
        for literal in &body.literals {
            kept.push((literal.slot, Held::Device(literal.tensor.clone())));
        }
        for count in 0..scan.steps {
            let t = if scan.reverse { scan.steps - 1 - count } else { count };
            environment.slots.fill_with(|| None);
            for (slot, value) in &kept {
                environment.slots[*slot] = Some(value.clone());
            }
            for (i, carry) in carries.iter().enumerate().filter(|(i, _)| collects(ys + i)) {
                collected[ys + i].push(carry.clone());
            }
            let rows: Vec<Held<B::Tensor>> = xs.iter().map(|x| self.row(x, t)).collect::<Result<_>>()?;
            let feeds = carries.drain(..).chain(rows).chain(consts.iter().cloned());
            for ((_, slot), feed) in body.feeds.iter().zip(feeds) {
                if let Some(slot) = *slot {
                    environment.slots[slot] = Some(feed);
                }
            }
            for step in body.compute.iter().filter(|step| count == 0 || !step.fixed) {
                let running = Running { plan: body, step, writable: &step.writable };
                self.step(&running, &mut environment)?;
            }
            if count == 0 {
                kept.extend(environment.some(&body.kept));
            }
            for (i, (operand, ty)) in body.outputs.iter().enumerate() {
                let value = || self.output(&environment, *operand, ty);
                if i < scan.carries {
                    carries.push(value()?);
                } else if collects(i - scan.carries) {
                    collected[i - scan.carries].push(value()?);
                }
            }
        }
        let mut results: Vec<Option<Held<B::Tensor>>> = carries.into_iter().map(Some).collect();
        for (mut rows, ty) in collected.into_iter().zip(&outputs[scan.carries..]) {
            if scan.reverse {
                rows.reverse();
            }
            results.push(if rows.is_empty() { None } else { Some(self.stack(&rows, ty)?) });
        }
        Ok(results)
    }

    fn output(
        &self,
        environment: &Environment<B::Tensor>,
        operand: Operand,
        ty: &Type,
    ) -> Result<Held<B::Tensor>> {
        match operand {
            Operand::Slot(slot) => {
                environment.slots[slot].clone().ok_or_else(|| defect(&format!("a value in slot {slot}")))
            }
            Operand::Host(scalar) => {
                Ok(Held::Device(self.engine.backend.full(ty, environment.scalars[scalar])?))
            }
        }
    }

    /// Row `t` of the leading axis.
    fn row(&self, x: &Held<B::Tensor>, t: usize) -> Result<Held<B::Tensor>> {
        match x {
            Held::Empty(ty) => Ok(Held::Empty(Type::new(&ty.shape[1..], ty.dtype))),
            Held::Device(tensor) => {
                let backend = &*self.engine.backend;
                let shape = backend.type_of(tensor).shape;
                let mut spec = SliceSpec {
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
}
