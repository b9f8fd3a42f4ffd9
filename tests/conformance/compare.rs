//! How far each element of a result may lie from the reference's.

use crate::{Case, Computation};
use keras_core::backend::reference::{Reference, Tolerance, tolerance};
use keras_core::backend::{Arg, Backend, Scalar};
use keras_core::graph::{Binary, ByRef, Instr, Kernel, Op, Reduce, Unary};
use keras_core::{Array, DType, Result};
use std::sync::Arc;

/// Where and by how much a result is wrong.
pub(crate) struct Difference {
    pub(crate) index: Vec<usize>,
    pub(crate) expected: String,
    pub(crate) received: String,
}

/// The bounds for one output.
pub(crate) enum Bound {
    /// Every bit.
    Bits,
    /// The same value where this is true; elsewhere any.
    Defined(Vec<bool>),
    /// The absolute distance allowed at each element, and whether a zero has the sign of the reference's.
    Distances(Vec<f64>, bool),
    /// The same wherever the reference is finite; where the operands are not all finite, algorithms that mix
    /// neighbours may spread them.
    Spreading,
}

fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f32::EPSILON.into() }
}

/// Below this a result may be flushed to zero.
fn smallest(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::MIN_POSITIVE } else { f32::MIN_POSITIVE.into() }
}

/// How many terms a sum or product has.
fn terms(op: &Op, inputs: &[Array], output: &Array) -> f64 {
    let len =
        |input: usize, axis: usize| inputs.get(input).and_then(|x| x.shape().get(axis)).copied().unwrap_or(1);
    let product = |sizes: &[usize]| sizes.iter().product::<usize>();
    let count = match op {
        Op::Reduce(_, axes) => axes.iter().map(|&axis| len(0, axis)).product(),
        Op::Cumulative(_, axis) => len(0, *axis),
        Op::ScatterAdd(_) => inputs.first().map_or(1, Array::len),
        Op::AvgPool(spec) | Op::AvgPoolGrad(spec, _) | Op::MaxPoolGrad(spec, _) => product(&spec.window),
        Op::MatMul { trans_a, .. } => {
            let rank = inputs.first().map_or(2, Array::rank);
            len(0, if *trans_a { rank - 2 } else { rank - 1 })
        }
        // All axes but the filters, of the kernel or of the gradient.
        Op::Conv(_) | Op::ConvGradKernel(..) => {
            let second = inputs.get(1).map(Array::shape).unwrap_or_default();
            product(second.get(..second.len().saturating_sub(1)).unwrap_or_default())
        }
        Op::ConvGradInput(spec, _) => {
            let kernel = inputs.get(1).map(Array::shape).unwrap_or_default();
            let window = product(kernel.get(..kernel.len().saturating_sub(2)).unwrap_or_default());
            window * kernel.last().copied().unwrap_or(1) / spec.groups.max(1)
        }
        _ => output.len(),
    };
    count.max(1) as f64
}

fn absolute(x: &Array) -> Array {
    if x.dtype().is_float() {
        let values: Vec<f64> = x.to_vec::<f64>().into_iter().map(f64::abs).collect();
        Array::from_vec(x.shape(), values).map_or_else(|_| x.clone(), |y| y.cast(DType::F64))
    } else {
        x.clone()
    }
}

fn reference(op: &Op, inputs: &[Array], scalars: &[Scalar]) -> Result<Vec<Array>> {
    let args = inputs.iter().map(|x| Arg { tensor: x.clone(), writable: false }).collect();
    crate::apply::apply(&Reference, &Computation::Op(op.clone()), args, scalars)
}

/// n·ε·Σ|terms| at every element of a sum or product.
fn of_terms(op: &Op, inputs: &[Array], output: &Array) -> Result<Vec<f64>> {
    let inputs: Vec<Array> = inputs.iter().map(absolute).collect();
    let sums = reference(op, &inputs, &[])?.first().map(Array::to_vec::<f64>).unwrap_or_default();
    let factor = terms(op, &inputs, output) * epsilon(output.dtype());
    Ok(sums.into_iter().map(|sum| factor * sum).collect())
}

/// The bound for one output of a kernel; of a sum, what its terms may be off and what adding them may cost.
fn of_kernel(
    kernel: &Kernel,
    inputs: &[Array],
    scalars: &[Scalar],
    at: usize,
    output: &Array,
) -> Result<Vec<f64>> {
    const ULPS: f64 = 16.0;
    let epsilon = epsilon(output.dtype());
    let Some((Reduce::Sum, axes)) = kernel.outputs.get(at).and_then(|output| output.reduce.as_ref()) else {
        return Ok(output.to_vec::<f64>().into_iter().map(|x| ULPS * epsilon * (1.0 + x.abs())).collect());
    };
    let mut unreduced = kernel.clone();
    for output in &mut unreduced.outputs {
        output.reduce = None;
        output.shape.clone_from(&kernel.shape);
    }
    let registers = reference(&Op::Kernel(ByRef(Arc::new(unreduced))), inputs, scalars)?;
    let Some(register) = registers.get(at) else { return Ok(Vec::new()) };
    let sums = Reference.reduce(Reduce::Sum, &absolute(register), axes)?.to_vec::<f64>();
    let n = terms(&Op::Reduce(Reduce::Sum, axes.clone()), std::slice::from_ref(register), output);
    Ok(sums.into_iter().map(|sum| epsilon * (ULPS * (n + sum) + n * sum)).collect())
}

/// Whether a number, truncated, is one of the integer type.
fn in_range(x: f64, dtype: DType) -> bool {
    // The largest int64 is no float64: what rounds up to 2⁶³ is taken for out of range.
    let (low, high) = match dtype {
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U8 => (0.0, 255.0),
        _ => (i64::MIN as f64, (i64::MAX as f64).next_down()),
    };
    (low..=high).contains(&x.trunc())
}

/// The bounds of a case's outputs. `inputs` are the operands as the operation receives them.
pub(crate) fn bounds(case: &Case, inputs: &[Array], outputs: &[Array]) -> Result<Vec<Bound>> {
    outputs.iter().enumerate().map(|(at, output)| bound(case, inputs, at, output)).collect()
}

fn bound(case: &Case, inputs: &[Array], at: usize, output: &Array) -> Result<Bound> {
    let (epsilon, smallest) = (epsilon(output.dtype()), smallest(output.dtype()));
    let values = || output.to_vec::<f64>().into_iter().map(f64::abs);
    let Computation::Op(op) = &case.computation else { return Ok(Bound::Bits) };
    match (op, inputs) {
        (&Op::Cast(to), [x]) if !to.is_float() && to != DType::Bool => {
            return Ok(Bound::Defined(x.to_vec::<f64>().into_iter().map(|x| in_range(x, to)).collect()));
        }
        (Op::MaxPool(spec), [x]) if at == 1 => {
            let maxima = Reference.max_pool(spec, x, false)?.0.to_vec::<f64>();
            return Ok(Bound::Defined(maxima.into_iter().map(|x| !x.is_nan()).collect()));
        }
        _ => {}
    }
    let kind = case.tolerance.unwrap_or_else(|| tolerance(case.op_name(), output.dtype()));
    let distances = match (op, kind) {
        (_, Tolerance::Bits) => return Ok(Bound::Bits),
        (_, Tolerance::Value) => vec![0.0; output.len()],
        (Op::Kernel(kernel), _) => of_kernel(kernel, inputs, &case.scalars, at, output)?,
        (Op::Epilogue(contraction, kernel), _) => {
            let (operands, others) = inputs.split_at(2.min(inputs.len()));
            let result = reference(contraction, operands, &[])?;
            let Some(result) = result.first() else { return Ok(Bound::Bits) };
            // Infinite elements hide nothing of the others.
            let terms = of_terms(contraction, operands, result)?.into_iter();
            let of_result = terms.filter(|x| x.is_finite()).fold(0.0, f64::max);
            let inputs = [std::slice::from_ref(result), others].concat();
            // The kernels of the epilogue cases do not enlarge differences.
            of_kernel(kernel, &inputs, &case.scalars, at, output)?
                .into_iter()
                .map(|x| x + of_result)
                .collect()
        }
        (_, Tolerance::Ulps(ulps)) => values().map(|x| ulps * epsilon * x + smallest).collect(),
        (_, Tolerance::Absolute(ulps)) => values().map(|x| ulps * epsilon * (1.0 + x)).collect(),
        (_, Tolerance::Terms) => of_terms(op, inputs, output)?.into_iter().map(|x| x + smallest).collect(),
        (_, Tolerance::LargestTerms) => {
            if inputs.iter().any(|x| x.to_vec::<f64>().iter().any(|x| !x.is_finite())) {
                return Ok(Bound::Spreading);
            }
            let largest = of_terms(op, inputs, output)?.into_iter().fold(smallest, f64::max);
            vec![largest; output.len()]
        }
    };
    Ok(Bound::Distances(distances, is_signed(op)))
}

/// Whether the sign of a zero is certain: neither that of equal operands of a maximum, nor of a sum of several terms.
fn is_signed(op: &Op) -> bool {
    match op {
        Op::Unary(op) => *op != Unary::Relu,
        Op::Binary(op) => !matches!(op, Binary::Max | Binary::Min),
        Op::Kernel(kernel) => {
            let certain = |instr: &Instr| match instr {
                Instr::Unary(op, _) => *op != Unary::Relu,
                Instr::Binary(op, ..) => !matches!(op, Binary::Max | Binary::Min),
                _ => true,
            };
            kernel.code.iter().all(|(instr, _)| certain(instr))
                && kernel.outputs.iter().all(|output| output.reduce.is_none())
        }
        _ => false,
    }
}

/// Whether they are zeros of different signs.
pub(crate) fn differ_in_sign(a: f64, b: f64) -> bool {
    a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative()
}

/// The position of a flat place.
fn position(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (i, &len) in index.iter_mut().zip(shape).rev() {
        *i = flat % len.max(1);
        flat /= len.max(1);
    }
    index
}

fn bits_differ(expected: &Array, received: &Array) -> Vec<bool> {
    macro_rules! differ {
        ($T:ty, |$x:ident| $bits:expr) => {{
            let bits = |array: &Array| array.to_vec::<$T>().into_iter().map(|$x| $bits).collect::<Vec<_>>();
            bits(expected).into_iter().zip(bits(received)).map(|(a, b)| a != b).collect()
        }};
    }
    match expected.dtype() {
        DType::F32 => differ!(f32, |x| x.to_bits()),
        DType::F64 => differ!(f64, |x| x.to_bits()),
        _ => differ!(i64, |x| x),
    }
}

/// The worst element of a result, if one is out of bounds.
pub(crate) fn difference(expected: &Array, received: &Array, bound: &Bound) -> Option<Difference> {
    if expected.shape() != received.shape() || expected.dtype() != received.dtype() {
        let ty = |x: &Array| format!("{}{:?}", x.dtype(), x.shape());
        return Some(Difference { index: Vec::new(), expected: ty(expected), received: ty(received) });
    }
    let element = |array: &Array, i: usize| match expected.dtype() {
        DType::F32 => array.to_vec::<f32>().get(i).map(|x| format!("{x:e}")).unwrap_or_default(),
        DType::F64 => array.to_vec::<f64>().get(i).map(|x| format!("{x:e}")).unwrap_or_default(),
        _ => array.to_vec::<i64>().get(i).map(ToString::to_string).unwrap_or_default(),
    };
    let at = |i: usize, note: String| {
        let expected_text = format!("{}{note}", element(expected, i));
        Difference {
            index: position(i, expected.shape()),
            expected: expected_text,
            received: element(received, i),
        }
    };
    if let Bound::Defined(defined) = bound {
        let differ = bits_differ(expected, received).into_iter().zip(defined);
        return differ
            .into_iter()
            .position(|(differ, &defined)| differ && defined)
            .map(|i| at(i, String::new()));
    }
    let exact = matches!(bound, Bound::Bits) || !expected.dtype().is_float();
    if exact {
        return bits_differ(expected, received)
            .iter()
            .position(|&differ| differ)
            .map(|i| at(i, String::new()));
    }
    let pairs = expected.to_vec::<f64>().into_iter().zip(received.to_vec::<f64>());
    match bound {
        Bound::Bits | Bound::Defined(_) => None,
        Bound::Spreading => pairs
            .enumerate()
            .find(|(_, (a, b))| !a.is_finite() && b.is_finite())
            .map(|(i, _)| at(i, " (not finite)".into())),
        Bound::Distances(distances, signed) => {
            let excess = |((a, b), &distance): ((f64, f64), &f64)| {
                let both_finite = a.is_finite() && b.is_finite();
                if *signed && differ_in_sign(a, b) {
                    f64::INFINITY
                } else if a == b || (a.is_nan() && b.is_nan()) || (both_finite && (a - b).abs() <= distance) {
                    0.0
                } else if both_finite && distance > 0.0 {
                    (a - b).abs() / distance
                } else {
                    f64::INFINITY
                }
            };
            let worst = pairs
                .zip(distances)
                .map(excess)
                .enumerate()
                .fold((0, 0.0), |worst, next| if next.1 > worst.1 { next } else { worst });
            let (i, excess) = worst;
            let distance = distances.get(i).copied().unwrap_or_default();
            let note = if excess.is_finite() {
                format!(" ± {distance:.1e} ({excess:.1} times that)")
            } else {
                String::new()
            };
            (excess > 0.0).then(|| at(i, note))
        }
    }
}
