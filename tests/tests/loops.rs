//! Loops over long sequences: what a training step with a user's own cell costs grows with the steps, and no faster. How
//! long it compiles is measured by `cargo xtask bench cell longer-cell`.

use backend_ndarray::NdArray;
use conformance::Numbers;
use keras_core::backend::Engine;
use keras_core::graph::{Binary, Graph, Reduce, ScanBuilder, Type, Unary, gradients};
use keras_core::{Array, DType};
use std::time::{Duration, Instant};

const BATCH: usize = 32;
const UNITS: usize = 16;

/// The gradients of the weights of `h′ = tanh(x + h·U)·g`, a cell that no composite knows.
fn training(steps: usize) -> Graph {
    let mut g = Graph::new();
    let x = g.input(Type::new([steps, BATCH, UNITS], DType::F32));
    let u = g.input(Type::new([UNITS, UNITS], DType::F32));
    let gain = g.input(Type::new([BATCH, UNITS], DType::F32));
    let zero = g.full(0.0, &Type::new([BATCH, UNITS], DType::F32)).unwrap();
    let mut scan = ScanBuilder::new(&g, &[zero], &[x], &[u, gain]).unwrap();
    let (h, row, consts) = (scan.carries()[0], scan.xs()[0], scan.consts());
    let body = &mut scan.body;
    let product = body.matmul(h, consts[0], false, false).unwrap();
    let sum = body.binary(Binary::Add, row, product).unwrap();
    let squashed = body.unary(Unary::Tanh, sum).unwrap();
    let next = body.binary(Binary::Mul, squashed, consts[1]).unwrap();
    let (_, ys) = scan.finish(&mut g, &[next], &[next], false).unwrap();
    let loss = g.reduce(Reduce::Sum, ys[0], &[0, 1, 2]).unwrap();
    let one = g.scalar(1.0, DType::F32);
    let grads = gradients(&mut g, &[(loss, one)], &[u, gain]).unwrap();
    let mut outputs = vec![loss];
    outputs.extend(grads.into_iter().flatten());
    g.set_outputs(outputs);
    g
}

struct Cost {
    run: Duration,
    operations: usize,
    bytes: usize,
}

/// `runs` at a time, so that both lengths are measured in spans of the same work.
fn cost(steps: usize, runs: usize) -> Cost {
    let graph = training(steps);
    let engine = Engine::new(NdArray::with_threads(1).unwrap()).unwrap();
    let program = engine.compile(&graph).unwrap();
    let mut numbers = Numbers::new(1);
    let mut feed = |shape: &[usize]| numbers.array_in(DType::F32, shape, -0.2, 0.2);
    let feeds: [Array; 3] = [feed(&[steps, BATCH, UNITS]), feed(&[UNITS, UNITS]), feed(&[BATCH, UNITS])];
    let spans = (0..12).map(|_| {
        let start = Instant::now();
        for _ in 0..runs {
            program.run(&feeds).unwrap();
        }
        start.elapsed()
    });
    let run = spans.min().unwrap();
    Cost { run, operations: program.steps(), bytes: engine.backend().pool_bytes() }
}

#[test]
fn a_training_step_grows_linearly_with_the_steps_of_its_loop() {
    let (short, long) = (cost(100, 4), cost(400, 1));
    assert_eq!(short.operations, long.operations, "the body is compiled once, whatever the steps");
    let growth = long.bytes as f64 / short.bytes as f64;
    assert!(growth < 4.4, "four times the steps take {growth} times the memory");
    // Quadratic growth would make the long run take four times as long as four short ones.
    let growth = long.run.as_secs_f64() / short.run.as_secs_f64();
    assert!(growth < 2.5, "one run of 400 steps takes {growth} times as long as four of 100");
}
