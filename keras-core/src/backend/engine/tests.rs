use crate::array::{Array, DType};
use crate::backend::contrary::Contrary;
use crate::backend::reference::Reference;
use crate::backend::{Backend, Engine, Variable};
use crate::error::Result;
use crate::graph::optimize::Passes;
use crate::graph::{Binary, Graph, Op, Reduce, ScanBuilder, Type, Unary, Value, gradients};

fn filled(shape: &[usize], seed: f64) -> Array {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (0.37 * i as f64 + seed).sin()).collect();
    Array::from_vec(shape, values).unwrap()
}

struct Perceptron {
    weights: Vec<Variable>,
    rate: Variable,
    graph: Graph,
}

/// One step of momentum SGD on a two-layer perceptron with softmax crossentropy.
fn perceptron() -> Result<Perceptron> {
    let weights = vec![
        Variable::new("w1", filled(&[4, 5], 0.1)),
        Variable::new("b1", filled(&[5], 0.2)),
        Variable::new("w2", filled(&[5, 3], 0.3)),
        Variable::new("b2", filled(&[3], 0.4)),
    ];
    let velocities: Vec<Variable> =
        weights.iter().map(|w| Variable::new("v", Array::zeros(DType::F64, w.shape()).unwrap())).collect();
    let rate = Variable::scalar("lr", 0.5, DType::F64);
    let mut g = Graph::new();
    let x = g.input(Type::new([7, 4], DType::F64));
    let y = g.input(Type::new([7, 3], DType::F64));
    let w: Vec<Value> = weights.iter().map(|w| g.variable(w)).collect();
    let dense = |g: &mut Graph, x: Value, w: Value, b: Value| -> Result<Value> {
        let product = g.matmul(x, w, false, false)?;
        let shape = g.shape(product).to_vec();
        let bias = g.reshape(b, &[1, shape[1]])?;
        let bias = g.broadcast(bias, &shape)?;
        g.binary(Binary::Add, product, bias)
    };
    let hidden = dense(&mut g, x, w[0], w[1])?;
    let hidden = g.unary(Unary::Relu, hidden)?;
    let logits = dense(&mut g, hidden, w[2], w[3])?;
    let log = g.add(Op::LogSoftmax, &[logits])?;
    let picked = g.binary(Binary::Mul, log, y)?;
    let total = g.reduce(Reduce::Sum, picked, &[0, 1])?;
    let loss = g.binary_scalar(Binary::Mul, total, -1.0 / 7.0)?;
    let seed = g.full_like(loss, 1.0)?;
    let grads = gradients(&mut g, &[(loss, seed)], &w)?;
    let lr = g.variable(&rate);
    let mut updates = Vec::new();
    for ((weight, velocity), (value, grad)) in weights.iter().zip(&velocities).zip(w.iter().zip(grads)) {
        let shape = weight.shape().to_vec();
        let v = g.variable(velocity);
        let kept = g.binary_scalar(Binary::Mul, v, 0.9)?;
        let scale = g.splat(lr, &shape)?;
        let step = g.binary(Binary::Mul, scale, grad.unwrap())?;
        let next = g.binary(Binary::Sub, kept, step)?;
        let moved = g.binary(Binary::Add, *value, next)?;
        updates.push((velocity.clone(), next));
        updates.push((weight.clone(), moved));
    }
    let decayed = g.binary_scalar(Binary::Mul, lr, 0.99)?;
    updates.push((rate.clone(), decayed));
    g.set_outputs([loss]);
    g.set_updates(updates);
    Ok(Perceptron { weights, rate, graph: g })
}

fn train<B: Backend>(backend: B, passes: Passes) -> (Vec<f64>, Vec<Array>) {
    let net = perceptron().unwrap();
    let engine = Engine::new(backend).unwrap();
    let program = engine.compile_with(&net.graph, passes).unwrap();
    let (x, y) = (filled(&[7, 4], 1.0), filled(&[7, 3], 2.0));
    let losses = (0..10).map(|_| program.run(&[x.clone(), y.clone()]).unwrap()[0].item().unwrap()).collect();
    assert!((net.rate.value().unwrap().item().unwrap() - 0.5 * 0.99_f64.powi(10)).abs() < 1e-15);
    (losses, net.weights.iter().map(|w| w.value().unwrap()).collect())
}

#[test]
fn training_gives_the_same_bits_with_and_without_passes_and_on_contrary() {
    let plain = Passes { simplify: false, fuse: false };
    let (losses, weights) = train(Reference, plain);
    assert!(losses[9] < losses[0], "{losses:?}");
    for (name, (other_losses, other_weights)) in [
        ("simplified", train(Reference, Passes { simplify: true, fuse: false })),
        ("fused", train(Reference, Passes::default())),
        ("contrary", train(Contrary, plain)),
        ("contrary, all passes", train(Contrary, Passes::default())),
    ] {
        assert_eq!(losses, other_losses, "{name}");
        assert_eq!(weights, other_weights, "{name}");
    }
}

#[test]
fn a_training_step_fuses_to_few_steps() {
    let net = perceptron().unwrap();
    let program = Engine::new(Reference).unwrap().compile(&net.graph).unwrap();
    let text = program.graph().text();
    let kernels = text.matches("kernel").count() + text.matches("epilogue").count();
    assert!(program.steps() <= 20 && kernels >= 5, "{} steps\n{text}", program.steps());
}

#[test]
fn a_loop_equals_its_unrolled_gradient() {
    // h ← tanh(h·w + x) over six steps: d Σ h⁶ / d(h, x, w).
    let build = |looped: bool| -> Result<Graph> {
        let mut g = Graph::new();
        let h = g.input(Type::new([3], DType::F64));
        let xs = g.input(Type::new([6, 3], DType::F64));
        let w = g.input(Type::new([3], DType::F64));
        let step = |g: &mut Graph, h: Value, x: Value, w: Value| -> Result<Value> {
            let product = g.binary(Binary::Mul, h, w)?;
            let sum = g.binary(Binary::Add, product, x)?;
            g.unary(Unary::Tanh, sum)
        };
        let (last, all) = if looped {
            let mut scan = ScanBuilder::new(&g, &[h], &[xs], &[w])?;
            let (hs, x, c) = (scan.carries()[0], scan.xs()[0], scan.consts()[0]);
            let next = step(&mut scan.body, hs, x, c)?;
            let (carries, ys) = scan.finish(&mut g, &[next], &[next], false)?;
            (carries[0], ys[0])
        } else {
            let (mut state, mut rows) = (h, Vec::new());
            for t in 0..6 {
                let x = g.slice_axis(xs, 0, t, t + 1)?;
                let x = g.reshape(x, &[3])?;
                state = step(&mut g, state, x, w)?;
                rows.push(g.reshape(state, &[1, 3])?);
            }
            let all = g.add(Op::Concat(0), &rows)?;
            (state, all)
        };
        let squares = g.unary(Unary::Square, all)?;
        let (one, ones) = (g.full_like(last, 1.0)?, g.full_like(squares, 1.0)?);
        let grads = gradients(&mut g, &[(last, one), (squares, ones)], &[h, xs, w])?;
        let mut outputs = vec![last, all];
        outputs.extend(grads.into_iter().flatten());
        g.set_outputs(outputs);
        Ok(g)
    };
    let feeds = [filled(&[3], 0.5), filled(&[6, 3], 1.5), filled(&[3], 2.5)];
    let run = |looped| {
        Engine::new(Reference).unwrap().compile(&build(looped).unwrap()).unwrap().run(&feeds).unwrap()
    };
    let (looped, unrolled) = (run(true), run(false));
    assert_eq!(looped.len(), 5);
    for (a, b) in looped.iter().zip(&unrolled) {
        for (a, b) in a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()) {
            assert!((a - b).abs() <= 1e-14 * b.abs().max(1.0), "{a} {b}");
        }
    }
}

#[test]
fn empty_tensors_never_reach_the_backend() {
    let mut g = Graph::new();
    let x = g.input(Type::new([0, 3], DType::F32));
    let y = g.unary(Unary::Exp, x).unwrap();
    let sum = g.reduce(Reduce::Sum, y, &[0]).unwrap();
    g.set_outputs([y, sum]);
    let out = Engine::new(Reference)
        .unwrap()
        .compile(&g)
        .unwrap()
        .run(&[Array::zeros(DType::F32, &[0, 3]).unwrap()])
        .unwrap();
    assert_eq!((out[0].shape(), out[1].as_slice::<f32>().unwrap()), (&[0, 3][..], &[0.0; 3][..]));
}

#[test]
fn a_failed_step_changes_no_variable() {
    let w = Variable::new("w", Array::from([1.0_f32, 2.0]));
    let mut g = Graph::new();
    let indices = g.input(Type::new([1], DType::I32));
    let value = g.variable(&w);
    let picked = g.add(Op::Gather(0), &[value, indices]).unwrap();
    let doubled = g.binary_scalar(Binary::Mul, value, 2.0).unwrap();
    g.set_outputs([picked]);
    g.set_updates([(w.clone(), doubled)]);
    let program = Engine::new(Reference).unwrap().compile(&g).unwrap();
    assert!(program.run(&[Array::from([5_i32])]).is_err());
    assert_eq!(w.value().unwrap(), Array::from([1.0_f32, 2.0]));
    program.run(&[Array::from([1_i32])]).unwrap();
    assert_eq!(w.value().unwrap(), Array::from([2.0_f32, 4.0]));
}

#[test]
fn what_reads_variables_alone_is_computed_once_per_version() {
    let w = Variable::new("w", filled(&[3, 4], 0.0));
    let mut g = Graph::new();
    let x = g.input(Type::new([2, 4], DType::F64));
    let value = g.variable(&w);
    let scaled = g.unary(Unary::Exp, value).unwrap();
    let y = g.matmul(x, scaled, false, true).unwrap();
    g.set_outputs([y]);
    let program = Engine::new(Reference).unwrap().compile(&g).unwrap();
    let feed = filled(&[2, 4], 1.0);
    let first = program.run(std::slice::from_ref(&feed)).unwrap();
    assert_eq!(first, program.run(std::slice::from_ref(&feed)).unwrap());
    w.set(&filled(&[3, 4], 1.0)).unwrap();
    assert_ne!(first, program.run(&[feed]).unwrap());
}

/// What goes through a broadcast is read, in views of it too, but never written to; new values of variables get a place
/// for each element. [`Contrary`] refuses the one, the next step would show the other.
#[test]
fn what_a_broadcast_repeats_is_never_overwritten() {
    let w = Variable::new("w", filled(&[3, 4], 0.5));
    let mut g = Graph::new();
    let x = g.input(Type::new([1, 4], DType::F64));
    let row = g.unary(Unary::Exp, x).unwrap();
    let rows = g.broadcast(row, &[3, 4]).unwrap();
    let turned = g.permute(rows, &[1, 0]).unwrap();
    let roots = g.unary(Unary::Sqrt, turned).unwrap();
    let first = g.unary(Unary::Neg, row).unwrap();
    let first = g.broadcast(first, &[3, 4]).unwrap();
    let value = g.variable(&w);
    let moved = g.binary(Binary::Add, value, rows).unwrap();
    let total = g.reduce(Reduce::Sum, moved, &[0, 1]).unwrap();
    g.set_outputs([roots, total]);
    g.set_updates([(w.clone(), first)]);
    let feed = filled(&[1, 4], 2.0);
    for passes in [Passes { simplify: false, fuse: false }, Passes::default()] {
        let program = Engine::new(Contrary).unwrap().compile_with(&g, passes).unwrap();
        let expected = Engine::new(Reference).unwrap().compile_with(&g, passes).unwrap();
        for _ in 0..2 {
            let before = w.value().unwrap();
            let received = program.run(std::slice::from_ref(&feed)).unwrap();
            let after = w.value().unwrap();
            w.set(&before).unwrap();
            assert_eq!(received, expected.run(std::slice::from_ref(&feed)).unwrap());
            assert_eq!(after, w.value().unwrap());
        }
    }
}

#[test]
fn a_carry_that_a_broadcast_made_is_not_overwritten() {
    let mut g = Graph::new();
    let h = g.input(Type::new([2, 3], DType::F64));
    let xs = g.input(Type::new([3, 2, 3], DType::F64));
    let mut scan = ScanBuilder::new(&g, &[h], &[xs], &[]).unwrap();
    let (carry, x) = (scan.carries()[0], scan.xs()[0]);
    let carry = scan.body.binary(Binary::Mul, carry, x).unwrap();
    let column = scan.body.reduce_keep(Reduce::Sum, carry, &[1]).unwrap();
    let column = scan.body.unary(Unary::Tanh, column).unwrap();
    let next = scan.body.broadcast(column, &[2, 3]).unwrap();
    let (carries, _) = scan.finish(&mut g, &[next], &[], false).unwrap();
    let y = g.unary(Unary::Neg, carries[0]).unwrap();
    g.set_outputs([y]);
    let feed = [filled(&[2, 3], 1.0), filled(&[3, 2, 3], 0.3)];
    let passes = Passes { simplify: false, fuse: false };
    let run = |program: Result<Vec<Array>>| program.unwrap();
    let received = run(Engine::new(Contrary).unwrap().compile_with(&g, passes).unwrap().run(&feed));
    assert_eq!(received, run(Engine::new(Reference).unwrap().compile_with(&g, passes).unwrap().run(&feed)));
}
