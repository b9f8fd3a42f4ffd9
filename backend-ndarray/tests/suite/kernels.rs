//! Fused kernels: against the reference, and bit for bit against the separate operations.

use super::{BACKENDS, assert_close, random, run, upload};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Arg, Backend, Scalar};
use keras_core::graph::{
    Binary, Compare, ConvSpec, Instr, Kernel, KernelInput, KernelOutput, Logical, Op, Reduce, Unary,
};
use keras_core::{Array, DType};

const F32: DType = DType::F32;

fn input(strides: &[usize]) -> KernelInput {
    KernelInput { dtype: F32, strides: strides.to_vec() }
}

fn output(register: usize, shape: &[usize], reduce: Option<(Reduce, Vec<usize>)>) -> KernelOutput {
    let shape = match &reduce {
        Some((_, axes)) => {
            (0..shape.len()).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect()
        }
        None => shape.to_vec(),
    };
    KernelOutput { register, shape, alias: None, reduce }
}

/// `tanh(x + bias) · s − 0.5`, whether it is positive, and `where(that, x, row) as f64`.
fn kernel(rows: usize, columns: usize) -> Kernel {
    let shape = [rows, columns];
    Kernel {
        shape: shape.to_vec(),
        inputs: vec![input(&[columns, 1]), input(&[0, 1]), input(&[1, 0])],
        scalars: 1,
        code: vec![
            (Instr::Load(0), F32),
            (Instr::Load(1), F32),
            (Instr::Load(2), F32),
            (Instr::Scalar(0), F32),
            (Instr::Const(0.5), F32),
            (Instr::Binary(Binary::Add, 0, 1), F32),
            (Instr::Unary(Unary::Tanh, 5), F32),
            (Instr::Binary(Binary::Mul, 6, 3), F32),
            (Instr::Binary(Binary::Sub, 7, 4), F32),
            (Instr::Compare(Compare::Gt, 8, 2), DType::Bool),
            (Instr::Compare(Compare::Lt, 0, 4), DType::Bool),
            (Instr::Logical(Logical::And, 9, 10), DType::Bool),
            (Instr::Unary(Unary::Not, 11), DType::Bool),
            (Instr::Select(12, 0, 2), F32),
            (Instr::Cast(13), DType::F64),
        ],
        outputs: vec![output(8, &shape, None), output(12, &shape, None), output(14, &shape, None)],
    }
}

fn operands(kernel: &Kernel) -> Vec<Array> {
    let lens = kernel.inputs.iter().map(|input| {
        1 + kernel.shape.iter().zip(&input.strides).map(|(len, stride)| (len - 1) * stride).sum::<usize>()
    });
    lens.enumerate().map(|(i, len)| random(F32, &[len], i as u64 + 1)).collect()
}

fn run_kernel(
    backend: &backend_ndarray::NdArray,
    kernel: &Kernel,
    inputs: &[Array],
    writable: bool,
) -> Vec<Array> {
    let args = upload(backend, inputs).into_iter().map(|tensor| Arg { tensor, writable }).collect();
    let results = backend.kernel(kernel, args, &[Scalar::Float(0.75)]).unwrap();
    results.iter().map(|x| backend.download(x).unwrap()).collect()
}

#[test]
fn kernels_agree_with_the_reference() {
    for (rows, columns) in [(1, 1), (3, 5), (7, 1024), (100, 33), (1000, 10), (5, 4000), (2000, 1)] {
        let kernel = kernel(rows, columns);
        let inputs = operands(&kernel);
        let args = inputs.iter().map(|x| Arg { tensor: x.clone(), writable: false }).collect();
        let expected = Reference.kernel(&kernel, args, &[Scalar::Float(0.75)]).unwrap();
        let mut first = None;
        for backend in &*BACKENDS {
            assert!(backend.supports_kernel(&kernel));
            for writable in [false, true] {
                let mut kernel = kernel.clone();
                kernel.outputs[0].alias = Some(0).filter(|_| writable);
                let results = run_kernel(backend, &kernel, &inputs, writable);
                assert_close("kernel", &results[0], &expected[0], None);
                let first = first.get_or_insert_with(|| results.clone());
                assert!(first.iter().zip(&results).all(|(a, b)| a.same_bits(b)));
            }
        }
    }
}

#[test]
fn a_reduction_tail_gives_the_bits_of_the_reduction() {
    let shapes =
        [(1, 7), (3, 5), (300, 10), (40, 3000), (5, 1024), (1, 100_000), (3000, 1), (100, 1025), (129, 64)];
    for (rows, columns) in shapes {
        for axes in [vec![0], vec![1], vec![0, 1]] {
            for op in [Reduce::Sum, Reduce::Max, Reduce::Prod] {
                let mut fused = kernel(rows, columns);
                fused.outputs.truncate(1);
                fused.outputs.push(output(8, &fused.shape, Some((op, axes.clone()))));
                let inputs = operands(&fused);
                for backend in &*BACKENDS {
                    let results = run_kernel(backend, &fused, &inputs, false);
                    let x = backend.upload(&results[0]).unwrap();
                    let reduced = backend.download(&backend.reduce(op, &x, &axes).unwrap()).unwrap();
                    assert!(
                        results[1].same_bits(&reduced),
                        "{rows} × {columns} over {axes:?}: {results:?} {reduced:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn tails_over_different_axes_run_together() {
    let mut fused = kernel(70, 130);
    let shape = fused.shape.clone();
    fused.outputs = vec![
        output(8, &shape, Some((Reduce::Sum, vec![0]))),
        output(7, &shape, Some((Reduce::Max, vec![1]))),
        output(6, &shape, None),
    ];
    let inputs = operands(&fused);
    let args = inputs.iter().map(|x| Arg { tensor: x.clone(), writable: false }).collect();
    let expected = Reference.kernel(&fused, args, &[Scalar::Float(0.75)]).unwrap();
    for backend in &*BACKENDS {
        let results = run_kernel(backend, &fused, &inputs, false);
        for ((received, expected), terms) in results.iter().zip(&expected).zip([70.0, 1.0, 1.0]) {
            for (a, b) in received.to_vec::<f64>().iter().zip(expected.to_vec::<f64>()) {
                assert!((a - b).abs() <= 16.0 * terms * f64::from(f32::EPSILON) * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }
}

#[test]
fn overwritten_operands_are_read_before() {
    // Output 0 takes over input 0, output 1 is input 0 itself.
    let shape = [3000];
    let mut outputs = vec![output(1, &shape, None), output(0, &shape, None)];
    outputs[0].alias = Some(0);
    let kernel = Kernel {
        shape: shape.to_vec(),
        inputs: vec![input(&[1])],
        scalars: 0,
        code: vec![(Instr::Load(0), F32), (Instr::Unary(Unary::Neg, 0), F32)],
        outputs,
    };
    let x = random(F32, &shape, 1);
    for backend in &*BACKENDS {
        let arg = Arg { tensor: backend.upload(&x).unwrap(), writable: true };
        let results = backend.kernel(&kernel, vec![arg], &[]).unwrap();
        assert!(backend.download(&results[1]).unwrap().same_bits(&x));
        assert_eq!(backend.download(&results[0]).unwrap().to_vec::<f32>()[7], -x.to_vec::<f32>()[7]);
    }
}

#[test]
fn four_axes_of_broadcasts() {
    let shape = [3, 4, 5, 6];
    let patterns: [[usize; 4]; 6] =
        [[0, 30, 6, 1], [20, 5, 1, 0], [4, 1, 0, 0], [0, 0, 0, 1], [6, 0, 0, 1], [0, 6, 0, 1]];
    for strides in patterns {
        let kernel = Kernel {
            shape: shape.to_vec(),
            inputs: vec![input(&[120, 30, 6, 1]), input(&strides)],
            scalars: 0,
            code: vec![(Instr::Load(0), F32), (Instr::Load(1), F32), (Instr::Binary(Binary::Mul, 0, 1), F32)],
            outputs: vec![output(2, &shape, None)],
        };
        let inputs = operands(&kernel);
        let args = inputs.iter().map(|x| Arg { tensor: x.clone(), writable: false }).collect();
        let expected = Reference.kernel(&kernel, args, &[]).unwrap();
        let args =
            upload(&BACKENDS[1], &inputs).into_iter().map(|tensor| Arg { tensor, writable: false }).collect();
        let results = BACKENDS[1].kernel(&kernel, args, &[]).unwrap();
        assert!(BACKENDS[1].download(&results[0]).unwrap().same_bits(&expected[0]), "{strides:?}");
    }
}

/// `relu(product + bias)`, and its mask.
fn relu_epilogue(len: usize, columns: usize) -> Kernel {
    let shape = [len / columns, columns];
    Kernel {
        shape: shape.to_vec(),
        inputs: vec![input(&[columns, 1]), input(&[0, 1])],
        scalars: 0,
        code: vec![
            (Instr::Load(0), F32),
            (Instr::Load(1), F32),
            (Instr::Binary(Binary::Add, 0, 1), F32),
            (Instr::Unary(Unary::Relu, 2), F32),
            (Instr::Const(0.0), F32),
            (Instr::Compare(Compare::Gt, 2, 4), DType::Bool),
        ],
        outputs: vec![output(3, &shape, None), output(5, &shape, None)],
    }
}

fn check_epilogue(op: &Op, operands: &[Array]) {
    for backend in &*BACKENDS {
        let x = upload(backend, operands);
        let product = run(backend, op, &x).unwrap().remove(0);
        let columns = *product.shape().last().unwrap();
        let kernel = relu_epilogue(product.len(), columns);
        assert!(backend.supports_epilogue(op, &kernel));
        let bias = backend.upload(&random(F32, &[columns], 9)).unwrap();
        let arg = |tensor: &backend_ndarray::Tensor| Arg { tensor: tensor.clone(), writable: false };
        let separate = backend.kernel(&kernel, vec![arg(&product), arg(&bias)], &[]).unwrap();
        let fused = backend.epilogue(op, &x, &kernel, vec![arg(&bias)], &[]).unwrap();
        for (a, b) in separate.iter().zip(&fused) {
            assert!(backend.download(a).unwrap().same_bits(&backend.download(b).unwrap()), "{}", op.name());
        }
    }
}

#[test]
fn an_epilogue_gives_the_bits_of_the_separate_kernel() {
    let plain = Op::MatMul { trans_a: false, trans_b: false };
    for (m, k, n) in [(1, 30, 10), (128, 784, 512), (100, 300, 1000), (1, 600, 5000), (30, 9000, 7)] {
        check_epilogue(&plain, &[random(F32, &[m, k], 1), random(F32, &[k, n], 2)]);
    }
    check_epilogue(
        &Op::MatMul { trans_a: true, trans_b: true },
        &[random(F32, &[3, 40, 50], 1), random(F32, &[3, 60, 40], 2)],
    );
    let conv = |strides, groups| {
        Op::Conv(ConvSpec {
            strides: vec![strides; 2],
            dilations: vec![1, 1],
            pads: vec![(1, 1), (1, 1)],
            groups,
        })
    };
    check_epilogue(&conv(1, 1), &[random(F32, &[4, 28, 28, 1], 1), random(F32, &[3, 3, 1, 32], 2)]);
    check_epilogue(&conv(2, 1), &[random(F32, &[3, 15, 15, 30], 1), random(F32, &[3, 3, 30, 64], 2)]);
    check_epilogue(&conv(1, 1), &[random(F32, &[1, 7, 7, 64], 1), random(F32, &[3, 3, 64, 512], 2)]);
    check_epilogue(&conv(1, 1), &[random(F32, &[1, 25, 23, 32], 1), random(F32, &[3, 3, 32, 32], 2)]);
    check_epilogue(&conv(1, 2), &[random(F32, &[2, 9, 9, 16], 1), random(F32, &[3, 3, 8, 32], 2)]);
    check_epilogue(&conv(1, 24), &[random(F32, &[2, 9, 9, 24], 1), random(F32, &[3, 3, 1, 24], 2)]);
}
