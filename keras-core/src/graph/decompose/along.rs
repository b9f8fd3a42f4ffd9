//! What runs along axes: softmax, products, running sums and products.

use crate::error::Result;
use crate::graph::{Binary, Cumulative, Graph, Op, Reduce, Type, Unary, Value};

pub(super) fn softmax(g: &mut Graph, x: Value) -> Result<Value> {
    let shifted = shift_by_max(g, x)?;
    let powers = g.unary(Unary::Exp, shifted)?;
    let total = sum_last(g, powers)?;
    g.binary(Binary::Div, powers, total)
}

pub(super) fn log_softmax(g: &mut Graph, x: Value) -> Result<Value> {
    let shifted = shift_by_max(g, x)?;
    let powers = g.unary(Unary::Exp, shifted)?;
    let total = sum_last(g, powers)?;
    let log = g.unary(Unary::Log, total)?;
    g.binary(Binary::Sub, shifted, log)
}

fn shift_by_max(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let largest = g.reduce_keep(Reduce::Max, x, &[shape.len() - 1])?;
    let largest = g.broadcast(largest, &shape)?;
    g.binary(Binary::Sub, x, largest)
}

fn sum_last(g: &mut Graph, x: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let total = g.reduce_keep(Reduce::Sum, x, &[shape.len() - 1])?;
    g.broadcast(total, &shape)
}

/// The product over axes: one half times the other until one factor is left.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the axes")]
pub(super) fn product(g: &mut Graph, x: Value, axes: &[usize]) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let front: Vec<usize> = axes.iter().chain(&kept).copied().collect();
    let mut count: usize = axes.iter().map(|&axis| shape[axis]).product();
    let result: Vec<usize> = kept.iter().map(|&axis| shape[axis]).collect();
    if count == 0 {
        return g.full(1.0, &Type::new(result, g.ty(x).dtype));
    }
    let x = g.permute(x, &front)?;
    let mut factors = g.reshape(x, &[count, result.iter().product()])?;
    while count > 1 {
        let half = count / 2;
        let (first, second) = (g.slice_axis(factors, 0, 0, half)?, g.slice_axis(factors, 0, half, 2 * half)?);
        let pairs = g.binary(Binary::Mul, first, second)?;
        factors = if count % 2 == 1 {
            let odd = g.slice_axis(factors, 0, count - 1, count)?;
            g.add(Op::Concat(0), &[pairs, odd])?
        } else {
            pairs
        };
        count = count.div_ceil(2);
    }
    g.reshape(factors, &result)
}

/// Running sums or products: after the step of length 2ᵏ each place covers the 2ᵏ⁺¹ places that end with it.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the axis")]
pub(super) fn cumulative(g: &mut Graph, op: Cumulative, x: Value, axis: usize) -> Result<Value> {
    let len = g.shape(x)[axis];
    let combine = match op {
        Cumulative::Sum => Binary::Add,
        Cumulative::Prod => Binary::Mul,
    };
    let (mut running, mut reach) = (x, 1);
    while reach < len {
        let done = g.slice_axis(running, axis, 0, reach)?;
        let earlier = g.slice_axis(running, axis, 0, len - reach)?;
        let later = g.slice_axis(running, axis, reach, len)?;
        let joined = g.binary(combine, earlier, later)?;
        running = g.add(Op::Concat(axis), &[done, joined])?;
        reach *= 2;
    }
    Ok(running)
}
