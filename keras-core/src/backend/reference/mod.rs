//! [`Reference`]: the definition of every operation, in naive loops over [`Array`]; the oracle of the conformance
//! suite, and never a silent fallback.
//!
//! What it fixes where frameworks differ:
//!
//! | operation | here |
//! |---|---|
//! | max, min, relu, `reduce_max`, `reduce_min`, `max_pool` | NaN if any operand is NaN; the sign of a zero is open |
//! | argmax, argmin | the first of equal elements; the first NaN if there is one |
//! | `max_pool` positions | the first of equal elements of the window; the first NaN if there is one |
//! | `top_k` | descending, NaN before every number, ties by position |
//! | round | half to even |
//! | sign | NaN of NaN |
//! | eq … ge | IEEE 754: with a NaN only `ne` holds; −0 = 0 |
//! | div, mod of integers | truncates; 0 where the divisor is 0 |
//! | mod | the sign of the divisor (Python's `%`) |
//! | pow of integers | wraps; a negative exponent gives 1 / baseⁿ truncated |
//! | add, sub, mul, neg, abs, square, sum, prod of integers | wrap in their own type |
//! | cast | [`Array::cast`]: towards zero, saturating, NaN is 0; to a truth value: not zero |
//! | gather, `scatter_add` | an index below 0 or beyond the end is an error |
//! | `avg_pool` | cells of padding are not counted |
//! | empty reductions | sum 0, prod 1, max −∞, min ∞ (integers: the smallest, the largest) |
//!
//! Functions of f32 are computed in f64 and rounded once; sums and products of f32 run in f64. So the reference is
//! the exact result to half a unit in the last place, and [`tolerance`] bounds what the arithmetic of another
//! backend may add. The bounds of functions are those of the table "Relative Error as ULPs" in section 7.4 of the
//! `OpenCL` C specification; sigmoid and softplus, which it lacks, are its exp and log1p and one rounding per further
//! step. [`Tolerance`] says what each bound means.
//!
//! | operations | bound |
//! |---|---|
//! | reshape, permute, broadcast, slice, `slice_update`, pad, concat, reverse, gather, select, iota, full, random | same bits |
//! | neg, abs, sign, square, recip, relu, floor, ceil, round, add, sub, mul, div, mod, max, min, `reduce_max`, `reduce_min`, `max_pool`, `top_k`, cast, comparisons, everything on integers and truth values | same value |
//! | sqrt | 1 ulp |
//! | rsqrt, log1p | 2 ulp |
//! | exp, expm1, log | 3 ulp |
//! | sin, cos, asin, acos, sinh, cosh | 4 ulp |
//! | tan, atan, tanh, sigmoid | 5 ulp |
//! | atan2, softplus | 6 ulp |
//! | pow, erf | 16 ulp |
//! | softmax | 32 ulp |
//! | sum, cumsum, `scatter_add`, `avg_pool`, `avg_pool_grad`, `max_pool_grad`, matmul | n·ε·Σ\|terms\| at the place |
//! | prod, cumprod | n·ε·\|result\| |
//! | conv and its gradients | n·ε·max Σ\|terms\| over the result: fast algorithms (Winograd's) mix neighbours |
//! | `log_softmax` | 16·ε·(1 + \|result\|) |
//! | recurrent, `recurrent_grad` | 64·ε·(1 + \|result\|): what a few steps of a few units accumulate |
//! | kernel | that of its instructions |
//!
//! A zero has the sign that IEEE 754 gives it, but for a maximum or minimum of zeros, and for sums of several terms.
//!
//! Left open, as the hardware leaves it: what a cast makes of a number beyond the range of an integer type (or of NaN),
//! and at which NaN of a window a max-pool points.

mod contraction;
mod elementwise;
mod fused;
mod movement;
mod reduce;
mod scalar;

pub(super) use movement::{strides, walk};
pub use scalar::{
    binary, binary_dtype, binary_f64, cast, compare, compare_values, logical, unary, unary_dtype, unary_f64,
};

use super::{Arg, Backend, Engine, Scalar, Support, unsupported};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Graph, Kernel, Logical, Op, PoolSpec, Reduce,
    SliceSpec, Type, Unary, Value, decompose, infer,
};

/// How far a backend's result may lie from the reference's; ε is the distance from 1 to the next float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// The same bits: elements are moved, not computed.
    Bits,
    /// The same value: −0 equals 0, any NaN equals any NaN.
    Value,
    /// So many times ε·|expected|; a result below the smallest normal number may be flushed to zero.
    Ulps(f64),
    /// A sum or product of `n` terms, in any order: n·ε·Σ|terms|, where Σ|terms| is the same operation on the
    /// absolute values of its operands, at the same place.
    Terms,
    /// The same with the largest Σ|terms| of the whole result.
    LargestTerms,
    /// So many times ε·(1 + |expected|).
    Absolute(f64),
}

/// The bound for the operation of that name ([`Op::name`]) with results of that element type.
///
/// ```
/// use keras_core::{DType, backend::reference::{Tolerance, tolerance}};
/// assert_eq!(tolerance("exp", DType::F32), Tolerance::Ulps(3.0));
/// assert_eq!(tolerance("sum", DType::I32), Tolerance::Value);
/// ```
pub fn tolerance(op: &str, dtype: DType) -> Tolerance {
    match op {
        "reshape" | "permute" | "broadcast" | "slice" | "slice_update" | "pad" | "concat" | "reverse"
        | "gather" | "select" | "iota" | "full" | "constant" | "uniform" | "normal" | "truncated_normal" => {
            Tolerance::Bits
        }
        _ if !dtype.is_float() => Tolerance::Value,
        "sqrt" => Tolerance::Ulps(1.0),
        "rsqrt" | "log1p" => Tolerance::Ulps(2.0),
        "exp" | "expm1" | "log" => Tolerance::Ulps(3.0),
        "sin" | "cos" | "asin" | "acos" | "sinh" | "cosh" => Tolerance::Ulps(4.0),
        "tan" | "atan" | "tanh" | "sigmoid" => Tolerance::Ulps(5.0),
        "atan2" | "softplus" => Tolerance::Ulps(6.0),
        "pow" | "erf" => Tolerance::Ulps(16.0),
        "softmax" => Tolerance::Ulps(32.0),
        "recurrent" | "recurrent_grad" => Tolerance::Absolute(64.0),
        "log_softmax" | "kernel" | "epilogue" => Tolerance::Absolute(16.0),
        "sum" | "prod" | "cumsum" | "cumprod" | "scatter_add" | "avg_pool" | "avg_pool_grad"
        | "max_pool_grad" | "matmul" => Tolerance::Terms,
        "conv" | "conv_grad_input" | "conv_grad_kernel" => Tolerance::LargestTerms,
        _ => Tolerance::Value,
    }
}

/// The backend whose results are right by definition; host memory, one thread, no approximation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Backend for Reference {
    type Tensor = Array;

    fn name(&self) -> &'static str {
        "reference"
    }

    fn supports(&self, op: &Op, _: &[&Type]) -> Support {
        // Native too, but there the loop would be compiled in every run.
        let looped = matches!(op, Op::Recurrent(_) | Op::RecurrentGrad(..));
        if looped { Support::Decomposed } else { Support::Native }
    }

    fn supports_kernel(&self, _: &Kernel) -> bool {
        true
    }

    fn supports_epilogue(&self, op: &Op, _: &Kernel) -> bool {
        matches!(op, Op::MatMul { .. } | Op::Conv(_))
    }

    fn upload(&self, array: &Array) -> Result<Array> {
        Ok(array.clone())
    }

    fn download(&self, x: &Array) -> Result<Array> {
        Ok(x.clone())
    }

    fn type_of(&self, x: &Array) -> Type {
        Type::new(x.shape(), x.dtype())
    }

    fn unary(&self, op: Unary, x: Arg<Array>) -> Result<Array> {
        elementwise::unary(op, &x.tensor)
    }

    fn binary(&self, op: Binary, a: Arg<Array>, b: Arg<Array>) -> Result<Array> {
        elementwise::binary(op, &a.tensor, &b.tensor)
    }

    fn compare(&self, op: Compare, a: &Array, b: &Array) -> Result<Array> {
        elementwise::compare(op, a, b)
    }

    fn logical(&self, op: Logical, a: &Array, b: &Array) -> Result<Array> {
        elementwise::logical(op, a, b)
    }

    fn select(&self, c: &Array, a: Arg<Array>, b: Arg<Array>) -> Result<Array> {
        elementwise::select(c, &a.tensor, &b.tensor)
    }

    fn cast(&self, x: &Array, to: DType) -> Result<Array> {
        Ok(x.cast(to))
    }

    fn reduce(&self, op: Reduce, x: &Array, axes: &[usize]) -> Result<Array> {
        reduce::reduce(op, x, axes)
    }

    fn arg_reduce(&self, op: ArgReduce, x: &Array, axis: usize) -> Result<Array> {
        reduce::arg_reduce(op, x, axis)
    }

    fn cumulative(&self, op: Cumulative, x: &Array, axis: usize) -> Result<Array> {
        reduce::cumulative(op, x, axis)
    }

    fn top_k(&self, x: &Array, k: usize) -> Result<(Array, Array)> {
        reduce::top_k(x, k)
    }

    fn matmul(&self, a: &Array, b: &Array, trans_a: bool, trans_b: bool) -> Result<Array> {
        contraction::matmul(a, b, trans_a, trans_b)
    }

    fn conv(&self, spec: &ConvSpec, x: &Array, kernel: &Array) -> Result<Array> {
        contraction::conv(spec, x, kernel)
    }

    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        grad: &Array,
        kernel: &Array,
    ) -> Result<Array> {
        contraction::conv_grad_input(spec, input, grad, kernel)
    }

    fn conv_grad_kernel(&self, spec: &ConvSpec, kernel: &[usize], x: &Array, grad: &Array) -> Result<Array> {
        contraction::conv_grad_kernel(spec, kernel, x, grad)
    }

    fn max_pool(&self, spec: &PoolSpec, x: &Array, positions: bool) -> Result<(Array, Option<Array>)> {
        let (maxima, found) = contraction::max_pool(spec, x)?;
        Ok((maxima, positions.then_some(found)))
    }

    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        grad: &Array,
        positions: &Array,
    ) -> Result<Array> {
        contraction::max_pool_grad(spec, input, grad, positions)
    }

    fn avg_pool(&self, spec: &PoolSpec, x: &Array) -> Result<Array> {
        contraction::avg_pool(spec, x)
    }

    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Array) -> Result<Array> {
        contraction::avg_pool_grad(spec, input, grad)
    }

    fn gather(&self, x: &Array, indices: &Array, axis: usize) -> Result<Array> {
        movement::gather(x, indices, axis)
    }

    fn scatter_add(&self, size: usize, indices: &Array, updates: &Array) -> Result<Array> {
        movement::scatter_add(size, indices, updates)
    }

    fn reshape(&self, x: &Array, shape: &[usize]) -> Result<Array> {
        x.reshape(shape)
    }

    fn permute(&self, x: &Array, perm: &[usize]) -> Result<Array> {
        movement::permute(x, perm)
    }

    fn broadcast(&self, x: &Array, shape: &[usize]) -> Result<Array> {
        movement::broadcast(x, shape)
    }

    fn slice(&self, x: &Array, spec: &SliceSpec) -> Result<Array> {
        movement::slice(x, spec)
    }

    fn slice_update(&self, base: Arg<Array>, update: &Array, spec: &SliceSpec) -> Result<Array> {
        movement::slice_update(&base.tensor, update, spec)
    }

    fn pad(&self, x: &Array, pads: &[(usize, usize)]) -> Result<Array> {
        movement::pad(x, pads)
    }

    fn concat(&self, parts: &[Array], axis: usize) -> Result<Array> {
        movement::concat(parts, axis)
    }

    fn reverse(&self, x: &Array, axes: &[usize]) -> Result<Array> {
        movement::reverse(x, axes)
    }

    fn full(&self, ty: &Type, value: Scalar) -> Result<Array> {
        fused::full(&ty.shape, value, ty.dtype)
    }

    fn iota(&self, ty: &Type, axis: usize) -> Result<Array> {
        movement::iota(ty, axis)
    }

    fn kernel(&self, kernel: &Kernel, inputs: Vec<Arg<Array>>, scalars: &[Scalar]) -> Result<Vec<Array>> {
        let inputs: Vec<&Array> = inputs.iter().map(|input| &input.tensor).collect();
        fused::run(kernel, &inputs, scalars)
    }

    /// The contraction, then the kernel on (its result, `inputs`…).
    fn epilogue(
        &self,
        op: &Op,
        operands: &[Array],
        kernel: &Kernel,
        inputs: Vec<Arg<Array>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Array>> {
        let result = match (op, operands) {
            (Op::MatMul { trans_a, trans_b }, [a, b]) => self.matmul(a, b, *trans_a, *trans_b)?,
            (Op::Conv(spec), [x, kernel]) => self.conv(spec, x, kernel)?,
            (Op::MatMul { .. } | Op::Conv(_), _) => {
                return Err(Error::shape(op.name(), "2 operands", operands.len().to_string()));
            }
            _ => return Err(unsupported(self.name(), &format!("{} with an epilogue", op.name()))),
        };
        let inputs: Vec<&Array> =
            std::iter::once(&result).chain(inputs.iter().map(|input| &input.tensor)).collect();
        fused::run(kernel, &inputs, scalars)
    }

    fn composite(&self, op: &Op, inputs: &[Array], wanted: &[bool]) -> Result<Vec<Option<Array>>> {
        match (op, inputs) {
            (Op::Softmax, [x]) => Ok(vec![Some(reduce::softmax(x, false)?)]),
            (Op::LogSoftmax, [x]) => Ok(vec![Some(reduce::softmax(x, true)?)]),
            (Op::Recurrent(_) | Op::RecurrentGrad(..), _) => decomposed(op, inputs, wanted),
            (Op::Softmax | Op::LogSoftmax, _) => {
                Err(Error::shape(op.name(), "1 operand", inputs.len().to_string()))
            }
            _ => Err(unsupported(self.name(), op.name())),
        }
    }
}

/// A composite by its decomposition, in double precision and rounded once.
fn decomposed(op: &Op, inputs: &[Array], wanted: &[bool]) -> Result<Vec<Option<Array>>> {
    let exact = |dtype: DType| if dtype == DType::F32 { DType::F64 } else { dtype };
    let operands: Vec<Array> = inputs.iter().map(|x| x.cast(exact(x.dtype()))).collect();
    let mut graph = Graph::new();
    let feeds: Vec<Value> = operands.iter().map(|x| graph.input(Type::new(x.shape(), x.dtype()))).collect();
    let types: Vec<Type> = inputs.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
    let outputs = infer(op, &types.iter().collect::<Vec<_>>())?;
    let Some(results) = decompose(&mut graph, op, &feeds)? else {
        return Err(unsupported("reference", op.name()));
    };
    let read = |at: usize| wanted.get(at).copied().unwrap_or(false);
    let kept: Vec<Value> =
        results.into_iter().enumerate().filter(|(at, _)| read(*at)).map(|(_, value)| value).collect();
    graph.set_outputs(kept);
    let mut arrays = Engine::new(Reference)?.compile(&graph)?.run(&operands)?.into_iter();
    let rounded = outputs
        .iter()
        .enumerate()
        .map(|(at, ty)| if read(at) { arrays.next().map(|array| array.cast(ty.dtype)) } else { None });
    Ok(rounded.collect())
}

#[cfg(test)]
mod tests;
