//! Vector-Jacobian products of operations that choose elements by their positions.

use crate::array::DType;
use crate::error::Result;
use crate::graph::{Binary, Graph, Op, Type, Value};

pub(super) fn top_k(g: &mut Graph, k: usize, x: Value, positions: Value, dy: Value) -> Result<Value> {
    let ty = g.ty(x).clone();
    let width = ty.shape.last().copied().unwrap_or(1);
    let rows = ty.len().checked_div(width).unwrap_or(0);
    let positions = g.reshape(positions, &[rows, k])?;
    let row = g.add(Op::Iota(Type::new([rows, k], DType::I64), 0), &[])?;
    let offset = g.binary_scalar(Binary::Mul, row, width as f64)?;
    let flat = g.binary(Binary::Add, offset, positions)?;
    let flat = g.reshape(flat, &[rows * k])?;
    let dy = g.reshape(dy, &[rows * k])?;
    let scattered = g.add(Op::ScatterAdd(rows * width), &[flat, dy])?;
    g.reshape(scattered, &ty.shape)
}

#[allow(clippy::indexing_slicing, reason = "the axis was checked when the gather was built")]
pub(super) fn gather(g: &mut Graph, axis: usize, x: Value, indices: Value, dy: Value) -> Result<Value> {
    let size = g.shape(x)[axis];
    let (rank, spread) = (g.shape(dy).len(), g.shape(indices).len());
    let first: Vec<usize> = (axis..axis + spread).chain(0..axis).chain(axis + spread..rank).collect();
    let moved = g.permute(dy, &first)?;
    let scattered = g.add(Op::ScatterAdd(size), &[indices, moved])?;
    let back: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..g.shape(scattered).len()).collect();
    g.permute(scattered, &back)
}

/// Of `[batch, spatial…, channels]`, the elements at flat spatial positions: the adjoint of max-pool's gradient.
#[allow(clippy::indexing_slicing, reason = "a pooling has a batch and a channel axis")]
pub(super) fn gather_positions(g: &mut Graph, x: Value, positions: Value) -> Result<Value> {
    let shape = g.shape(x).to_vec();
    let channels = shape[shape.len() - 1];
    let cells: usize = shape[1..shape.len() - 1].iter().product();
    let target = g.shape(positions).to_vec();
    let positions = g.add(Op::Cast(DType::I64), &[positions])?;
    let wide = Type::new(target.clone(), DType::I64);
    let batch = g.add(Op::Iota(wide.clone(), 0), &[])?;
    let channel = g.add(Op::Iota(wide, target.len() - 1), &[])?;
    let batch = g.binary_scalar(Binary::Mul, batch, cells as f64)?;
    let cell = g.binary(Binary::Add, batch, positions)?;
    let cell = g.binary_scalar(Binary::Mul, cell, channels as f64)?;
    let flat = g.binary(Binary::Add, cell, channel)?;
    let elements = g.reshape(x, &[shape.iter().product()])?;
    g.add(Op::Gather(0), &[elements, flat])
}
