//! Shorthands that write nodes, and the operations that need none because they change nothing.

use super::{Binary, Compare, Graph, Literal, Op, Reduce, SliceSpec, Type, Unary, Value};
use crate::array::{Array, DType};
use crate::error::Result;
use std::sync::Arc;

impl Graph {
    /// A new feed of that type, after those there are.
    pub fn input(&mut self, ty: Type) -> Value {
        self.insert(Op::Input(self.feeds), Vec::new(), vec![ty])
    }

    /// The value of a variable.
    pub fn variable(&mut self, variable: &crate::backend::Variable) -> Value {
        let ty = Type::new(variable.shape(), variable.dtype());
        self.insert(Op::Variable(variable.clone()), Vec::new(), vec![ty])
    }

    /// A literal.
    pub fn constant(&mut self, array: impl Into<Array>) -> Value {
        let array = array.into();
        let ty = Type::new(array.shape(), array.dtype());
        self.insert(Op::Constant(Literal(Arc::new(array))), Vec::new(), vec![ty])
    }

    /// A number of rank 0.
    pub fn scalar(&mut self, value: f64, dtype: DType) -> Value {
        self.constant(Array::scalar(dtype, value))
    }

    /// `shape` filled with a value of rank 0.
    pub fn splat(&mut self, scalar: Value, shape: &[usize]) -> Result<Value> {
        let ones = self.add(Op::Reshape(vec![1; shape.len()]), &[scalar])?;
        self.add(Op::Broadcast(shape.to_vec()), &[ones])
    }

    /// `shape` filled with a number.
    pub fn full(&mut self, value: f64, ty: &Type) -> Result<Value> {
        let scalar = self.scalar(value, ty.dtype);
        self.splat(scalar, &ty.shape)
    }

    /// A tensor of the type of `like`, filled with a number.
    pub fn full_like(&mut self, like: Value, value: f64) -> Result<Value> {
        let ty = self.ty(like).clone();
        self.full(value, &ty)
    }

    /// An elementwise function of one operand.
    pub fn unary(&mut self, op: Unary, x: Value) -> Result<Value> {
        self.add(Op::Unary(op), &[x])
    }

    /// An elementwise function of two operands of one type.
    pub fn binary(&mut self, op: Binary, a: Value, b: Value) -> Result<Value> {
        self.add(Op::Binary(op), &[a, b])
    }

    /// An elementwise function of a tensor and a number.
    pub fn binary_scalar(&mut self, op: Binary, a: Value, b: f64) -> Result<Value> {
        let b = self.full_like(a, b)?;
        self.binary(op, a, b)
    }

    /// A comparison of two operands of one type.
    pub fn compare(&mut self, op: Compare, a: Value, b: Value) -> Result<Value> {
        self.add(Op::Compare(op), &[a, b])
    }

    /// A reduction that removes its axes.
    pub fn reduce(&mut self, op: Reduce, x: Value, axes: &[usize]) -> Result<Value> {
        self.add(Op::Reduce(op, axes.to_vec()), &[x])
    }

    /// A reduction that keeps its axes with length 1.
    pub fn reduce_keep(&mut self, op: Reduce, x: Value, axes: &[usize]) -> Result<Value> {
        let kept = keep_axes(self.shape(x), axes);
        let reduced = self.reduce(op, x, axes)?;
        self.reshape(reduced, &kept)
    }

    /// The same elements under another shape.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        self.add(Op::Reshape(shape.to_vec()), &[x])
    }

    /// Axes reordered.
    pub fn permute(&mut self, x: Value, perm: &[usize]) -> Result<Value> {
        self.add(Op::Permute(perm.to_vec()), &[x])
    }

    /// Axes of length 1 repeated.
    pub fn broadcast(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        self.add(Op::Broadcast(shape.to_vec()), &[x])
    }

    /// A product of matrices.
    pub fn matmul(&mut self, a: Value, b: Value, trans_a: bool, trans_b: bool) -> Result<Value> {
        self.add(Op::MatMul { trans_a, trans_b }, &[a, b])
    }

    /// The positions `start..stop` of one axis.
    pub fn slice_axis(&mut self, x: Value, axis: usize, start: usize, stop: usize) -> Result<Value> {
        let shape = self.shape(x).to_vec();
        let mut spec = SliceSpec { starts: vec![0; shape.len()], steps: vec![1; shape.len()], stops: shape };
        if let (Some(s), Some(e)) = (spec.starts.get_mut(axis), spec.stops.get_mut(axis)) {
            (*s, *e) = (start, stop);
        }
        self.add(Op::Slice(spec), &[x])
    }

    /// Rewrites an operation that changes nothing, or that undoes or repeats the one before it. The shape rule has
    /// accepted it.
    pub(super) fn simplify(&mut self, op: &Op, inputs: &[Value]) -> Result<Option<Value>> {
        let &[x, ..] = inputs else { return Ok(None) };
        let ty = self.ty(x);
        let before = self.node(x);
        let source = before.inputs.first().copied();
        Ok(match (op, &before.op, source) {
            (Op::Reshape(shape) | Op::Broadcast(shape), _, _) if *shape == ty.shape => Some(x),
            (Op::Reshape(_), Op::Reshape(_), Some(source))
            | (Op::Broadcast(_), Op::Broadcast(_), Some(source)) => Some(self.add(op.clone(), &[source])?),
            (Op::Permute(perm), _, _) if perm.iter().enumerate().all(|(i, &axis)| i == axis) => Some(x),
            (Op::Permute(perm), Op::Permute(first), Some(source)) => {
                let composed = perm.iter().filter_map(|&axis| first.get(axis).copied()).collect();
                Some(self.add(Op::Permute(composed), &[source])?)
            }
            (Op::Cast(dtype), _, _) if *dtype == ty.dtype => Some(x),
            (Op::Reduce(_, axes) | Op::Reverse(axes), _, _) if axes.is_empty() => Some(x),
            (Op::Pad(pads), _, _) if pads.iter().all(|&pad| pad == (0, 0)) => Some(x),
            (Op::Concat(_), _, _) if inputs.len() == 1 => Some(x),
            // A box as large as the operand is all of it.
            (Op::Slice(spec), _, _) if spec.shape() == ty.shape => Some(x),
            (Op::StopGradient, Op::StopGradient, _) => Some(x),
            _ => None,
        })
    }
}

/// A shape with some axes set to length 1.
pub(super) fn keep_axes(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &len)| if axes.contains(&axis) { 1 } else { len }).collect()
}
