//! The backend against [`keras_core::backend::reference`], with bits compared between 1, 2 and 7 threads.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contractions;
mod elementwise;
mod indexing;
mod kernels;
mod memory;
mod recurrent;
mod reductions;

use backend_ndarray::{NdArray, Tensor};
use keras_core::backend::reference::{Reference, Tolerance, tolerance};
use keras_core::backend::{Arg, Backend};
use keras_core::graph::Op;
use keras_core::{Array, DType};
use std::sync::LazyLock;

pub(crate) static BACKENDS: LazyLock<[NdArray; 3]> =
    LazyLock::new(|| [1, 2, 7].map(|threads| NdArray::with_threads(threads).unwrap()));

fn arg<T: Clone>(x: &T) -> Arg<T> {
    Arg { tensor: x.clone(), writable: false }
}

/// Runs an operation on any backend.
pub(crate) fn run<B: Backend>(backend: &B, op: &Op, x: &[B::Tensor]) -> keras_core::Result<Vec<B::Tensor>> {
    Ok(vec![match op {
        Op::Unary(op) => backend.unary(*op, arg(&x[0]))?,
        Op::Binary(op) => backend.binary(*op, arg(&x[0]), arg(&x[1]))?,
        Op::Compare(op) => backend.compare(*op, &x[0], &x[1])?,
        Op::Logical(op) => backend.logical(*op, &x[0], &x[1])?,
        Op::Select => backend.select(&x[0], arg(&x[1]), arg(&x[2]))?,
        Op::Cast(to) => backend.cast(&x[0], *to)?,
        Op::Reduce(op, axes) => backend.reduce(*op, &x[0], axes)?,
        Op::ArgReduce(op, axis) => backend.arg_reduce(*op, &x[0], *axis)?,
        Op::Cumulative(op, axis) => backend.cumulative(*op, &x[0], *axis)?,
        Op::TopK(k) => {
            let (values, positions) = backend.top_k(&x[0], *k)?;
            return Ok(vec![values, positions]);
        }
        Op::MatMul { trans_a, trans_b } => backend.matmul(&x[0], &x[1], *trans_a, *trans_b)?,
        Op::Conv(spec) => backend.conv(spec, &x[0], &x[1])?,
        Op::ConvGradInput(spec, input) => backend.conv_grad_input(spec, input, &x[0], &x[1])?,
        Op::ConvGradKernel(spec, kernel) => backend.conv_grad_kernel(spec, kernel, &x[0], &x[1])?,
        Op::MaxPool(spec) => {
            let (maxima, positions) = backend.max_pool(spec, &x[0], true)?;
            return Ok(vec![maxima, positions.unwrap()]);
        }
        Op::MaxPoolGrad(spec, input) => backend.max_pool_grad(spec, input, &x[0], &x[1])?,
        Op::AvgPool(spec) => backend.avg_pool(spec, &x[0])?,
        Op::AvgPoolGrad(spec, input) => backend.avg_pool_grad(spec, input, &x[0])?,
        Op::Gather(axis) => backend.gather(&x[0], &x[1], *axis)?,
        Op::ScatterAdd(size) => backend.scatter_add(*size, &x[0], &x[1])?,
        Op::Reshape(shape) => backend.reshape(&x[0], shape)?,
        Op::Permute(perm) => backend.permute(&x[0], perm)?,
        Op::Broadcast(shape) => backend.broadcast(&x[0], shape)?,
        Op::Slice(spec) => backend.slice(&x[0], spec)?,
        Op::SliceUpdate(spec) => backend.slice_update(arg(&x[0]), &x[1], spec)?,
        Op::Pad(pads) => backend.pad(&x[0], pads)?,
        Op::Concat(axis) => backend.concat(x, *axis)?,
        Op::Reverse(axes) => backend.reverse(&x[0], axes)?,
        Op::Iota(ty, axis) => backend.iota(ty, *axis)?,
        Op::Softmax | Op::LogSoftmax | Op::Recurrent(_) | Op::RecurrentGrad(..) => {
            return Ok(backend.composite(op, x, &[true; 6])?.into_iter().flatten().collect());
        }
        other => panic!("no test runs {}", other.name()),
    }])
}

pub(crate) fn upload(backend: &NdArray, arrays: &[Array]) -> Vec<Tensor> {
    arrays.iter().map(|array| backend.upload(array).unwrap()).collect()
}

/// Operands without signs, for the sum of the terms' magnitudes.
fn magnitudes(x: &Array) -> Array {
    match x.dtype() {
        DType::F32 => {
            Array::from_vec(x.shape(), x.to_vec::<f32>().iter().map(|x| x.abs()).collect()).unwrap()
        }
        DType::F64 => {
            Array::from_vec(x.shape(), x.to_vec::<f64>().iter().map(|x| x.abs()).collect()).unwrap()
        }
        _ => x.clone(),
    }
}

/// Asserts that a result lies within the operation's tolerance of the reference's.
pub(crate) fn assert_close(name: &str, received: &Array, expected: &Array, terms: Option<(&Array, f64)>) {
    assert_eq!((received.shape(), received.dtype()), (expected.shape(), expected.dtype()), "{name}");
    let bound = tolerance(name, expected.dtype());
    if bound == Tolerance::Bits {
        assert!(received.same_bits(expected), "{name}: {received:?} is not {expected:?}");
        return;
    }
    let (epsilon, smallest) = match expected.dtype() {
        DType::F32 => (f64::from(f32::EPSILON), f64::from(f32::MIN_POSITIVE)),
        _ => (f64::EPSILON, f64::MIN_POSITIVE),
    };
    let magnitudes = terms.map(|(terms, count)| (terms.to_vec::<f64>(), count));
    let largest = magnitudes.as_ref().map_or(0.0, |(terms, _)| terms.iter().fold(0.0, |a: f64, &b| a.max(b)));
    let (got, want) = (received.to_vec::<f64>(), expected.to_vec::<f64>());
    for (i, (&a, &b)) in got.iter().zip(&want).enumerate() {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let allowed = match (bound, &magnitudes) {
            (Tolerance::Ulps(n), _) => (n * epsilon * b.abs()).max(smallest * epsilon * n),
            (Tolerance::Absolute(n), _) => n * epsilon * (1.0 + b.abs()),
            (Tolerance::Terms, Some((terms, n))) => n * epsilon * terms[i],
            (Tolerance::LargestTerms, Some((_, n))) => n * epsilon * largest,
            _ => 0.0,
        };
        assert!((a - b).abs() <= allowed, "{name}: element {i} is {a}, expected {b} ± {allowed:e}");
    }
}

/// Runs an operation on the reference and with 1, 2 and 7 threads; compares values with the former and bits between
/// the latter. `terms` is the number of terms of a sum.
pub(crate) fn check_terms(op: &Op, inputs: &[Array], terms: usize) -> Vec<Array> {
    let expected = run(&Reference, op, inputs).unwrap();
    let sums: Vec<Array> = inputs.iter().map(magnitudes).collect();
    let sums = run(&Reference, op, &sums).unwrap();
    let mut first: Option<Vec<Array>> = None;
    for backend in &*BACKENDS {
        let operands = upload(backend, inputs);
        let results = run(backend, op, &operands).unwrap();
        let results: Vec<Array> = results.iter().map(|x| backend.download(x).unwrap()).collect();
        if let Some(prepared) = prepacked(backend, op, &operands) {
            let result = backend.download(&run(backend, op, &prepared).unwrap()[0]).unwrap();
            assert!(result.same_bits(&results[0]), "{} of a prepared operand", op.name());
        }
        assert_eq!(results.len(), expected.len());
        for ((received, expected), sums) in results.iter().zip(&expected).zip(&sums) {
            assert_close(op.name(), received, expected, Some((sums, terms as f64)));
        }
        let first = first.get_or_insert_with(|| results.clone());
        assert!(
            first.iter().zip(&results).all(|(a, b)| a.same_bits(b)),
            "{} depends on the threads",
            op.name()
        );
    }
    first.unwrap()
}

/// The operands with the second one prepared, where the backend does that.
fn prepacked(backend: &NdArray, op: &Op, operands: &[Tensor]) -> Option<Vec<Tensor>> {
    let types: Vec<_> = operands.iter().map(|x| backend.type_of(x)).collect();
    let right = operands.get(1)?;
    let prepared = backend.prepack(op, &types.iter().collect::<Vec<_>>(), 1, right).unwrap()?;
    Some(vec![operands[0].clone(), prepared])
}

pub(crate) fn check(op: &Op, inputs: &[Array]) -> Vec<Array> {
    check_terms(op, inputs, 1)
}

/// Numbers in −1..1, different for every seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
        .collect()
}

pub(crate) fn random(dtype: DType, shape: &[usize], seed: u64) -> Array {
    let scale = if dtype.is_float() { 1.0 } else { 9.0 };
    let values: Vec<f64> = noise(seed, shape.iter().product()).iter().map(|x| x * scale).collect();
    let values = Array::from_vec(shape, values).unwrap();
    if dtype == DType::U8 { values.cast(DType::I32).cast(DType::U8) } else { values.cast(dtype) }
}
