//! Views, reuse of memory, uploads.

use super::{BACKENDS, arg, random};
use backend_ndarray::NdArray;
use keras_core::backend::{Arg, Backend, Scalar};
use keras_core::graph::{Binary, Reduce, Type, Unary};
use keras_core::{Array, DType};

#[test]
fn arrays_come_back_as_they_went() {
    for dtype in DType::ALL {
        for shape in [vec![], vec![1], vec![3, 4], vec![70, 1000]] {
            let x = random(dtype, &shape, 1);
            for backend in &*BACKENDS {
                let tensor = backend.upload(&x).unwrap();
                assert_eq!(backend.type_of(&tensor), Type::new(shape.clone(), dtype));
                assert!(backend.download(&tensor).unwrap().same_bits(&x));
            }
        }
    }
}

#[test]
fn writable_operands_are_overwritten_and_others_never() {
    let backend = &BACKENDS[0];
    let x = random(DType::F32, &[5000], 1);
    let kept = backend.upload(&x).unwrap();
    let result = backend.unary(Unary::Neg, Arg { tensor: kept.clone(), writable: true }).unwrap();
    assert!(backend.download(&kept).unwrap().same_bits(&x), "a shared operand was overwritten");
    let before = backend.pool_bytes();
    let result = backend.unary(Unary::Neg, Arg { tensor: result, writable: true }).unwrap();
    assert_eq!(backend.pool_bytes(), before);
    assert!(backend.download(&result).unwrap().same_bits(&x));
}

#[test]
fn a_repeated_step_asks_for_no_memory() {
    let backend = NdArray::with_threads(2).unwrap();
    let (x, w) = (random(DType::F32, &[64, 300], 1), random(DType::F32, &[300, 200], 2));
    let mut weights = backend.upload(&w).unwrap();
    let mut misses = Vec::new();
    for _ in 0..5 {
        let x = backend.upload(&x).unwrap();
        let y = backend.matmul(&x, &weights, false, false).unwrap();
        let y = backend.unary(Unary::Tanh, Arg { tensor: y, writable: true }).unwrap();
        let gradient = backend.matmul(&x, &y, true, false).unwrap();
        let mean = backend.reduce(Reduce::Sum, &y, &[0, 1]).unwrap();
        drop((y, mean));
        weights =
            backend.binary(Binary::Sub, Arg { tensor: weights, writable: true }, arg(&gradient)).unwrap();
        misses.push(backend.pool_misses());
    }
    assert!(misses[1..].iter().all(|&count| count == misses[1]), "{misses:?}");
    let bytes = backend.pool_bytes();
    assert!(bytes < 4 * 4 * (64 * 300 + 2 * 300 * 200 + 2 * 64 * 200), "{bytes}");
}

#[test]
fn reshapes_share_memory() {
    let backend = &BACKENDS[0];
    let x = backend.upload(&random(DType::F32, &[6, 4], 1)).unwrap();
    let before = backend.pool_bytes();
    let y = backend.reshape(&x, &[2, 12]).unwrap();
    assert_eq!((y.shape(), backend.pool_bytes()), (&[2, 12][..], before));
    assert!(backend.reshape(&x, &[5]).is_err());
}

#[test]
fn constants_of_every_type() {
    for backend in &*BACKENDS {
        for (dtype, value, expected) in [
            (DType::F32, Scalar::Float(1.5), 1.5),
            (DType::F64, Scalar::Int(-3), -3.0),
            (DType::I32, Scalar::Float(-2.7), -2.0),
            (DType::U8, Scalar::Int(300), 255.0),
            (DType::Bool, Scalar::Float(0.5), 1.0),
            (DType::Bool, Scalar::Bool(false), 0.0),
            (DType::I64, Scalar::Bool(true), 1.0),
        ] {
            let tensor = backend.full(&Type::new([3, 2], dtype), value).unwrap();
            let array = backend.download(&tensor).unwrap();
            assert_eq!((array.dtype(), array.to_vec::<f64>()), (dtype, vec![expected; 6]));
        }
    }
}

#[test]
fn what_it_lacks_is_an_error() {
    let backend = &BACKENDS[0];
    let x = backend.upload(&Array::from([1, 2])).unwrap();
    assert!(backend.unary(Unary::Exp, arg(&x)).is_err());
    assert!(backend.matmul(&x, &x, false, false).is_err());
    assert!(NdArray::with_threads(0).is_err());
}
