//! The engine: updates, failures, engines that share variables, threads, memory, the time compilation takes, dumps.

use crate::everywhere::{runtime, runtimes};
use crate::observed::Observed;
use conformance::Numbers;
use cpu_time::ThreadTime;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Program, Runtime, Variable};
use keras_core::graph::optimize::Passes;
use keras_core::graph::{
    Binary, ByRef, Distribution, Graph, HostFn, Op, Reduce, ScanBuilder, SliceSpec, Type, Unary, Value,
    gradients,
};
use keras_core::{Array, DType, Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

const NO_PASSES: Passes = Passes { simplify: false, fuse: false };

fn float(shape: &[usize]) -> Type {
    Type::new(shape, DType::F64)
}

fn compile(graph: &Graph) -> Program<Reference> {
    Engine::new(Reference).unwrap().compile(graph).unwrap()
}

/// Engines of every backend, and of those that only tests have.
fn engines() -> Vec<Arc<dyn Runtime>> {
    let (plain, fusing) = (Observed::new(false).0, Observed::new(true).0);
    let others = [runtime(Reference), runtime(Contrary), runtime(plain), runtime(fusing)];
    runtimes().into_iter().chain(others).collect()
}

/// Runs a check with programs of every backend, with and without passes.
fn everywhere(graph: &Graph, check: impl Fn(&str, &dyn Fn(&[Array]) -> Result<Vec<Array>>)) {
    for engine in engines() {
        for passes in [NO_PASSES, Passes::default()] {
            let program = engine.compile(graph, passes).unwrap();
            check(&format!("{}, {passes:?}", engine.name()), &|feeds| program.run(feeds));
        }
    }
}

fn pair() -> (Variable, Variable) {
    (Variable::new("a", Array::from([1.0, 2.0])), Variable::new("b", Array::from([10.0, 20.0])))
}

fn reset(variables: &[(&Variable, [f64; 2])]) {
    for (variable, value) in variables {
        variable.set(&Array::from(*value)).unwrap();
    }
}

#[test]
fn updates_read_the_old_values_of_each_other() {
    let (a, b) = pair();
    let mut g = Graph::new();
    let (x, y) = (g.variable(&a), g.variable(&b));
    let sum = g.binary(Binary::Add, x, y).unwrap();
    let difference = g.binary(Binary::Sub, y, x).unwrap();
    g.set_updates([(a.clone(), sum), (b.clone(), difference)]);
    everywhere(&g, |name, run| {
        reset(&[(&a, [1.0, 2.0]), (&b, [10.0, 20.0])]);
        run(&[]).unwrap();
        assert_eq!(a.value().unwrap(), Array::from([11.0, 22.0]), "{name}");
        assert_eq!(b.value().unwrap(), Array::from([9.0, 18.0]), "{name}");
        run(&[]).unwrap();
        assert_eq!(a.value().unwrap(), Array::from([20.0, 40.0]), "{name}");
        assert_eq!(b.value().unwrap(), Array::from([-2.0, -4.0]), "{name}");
    });
}

#[test]
fn variables_swap() {
    let (a, b) = pair();
    let mut g = Graph::new();
    let (x, y) = (g.variable(&a), g.variable(&b));
    g.set_updates([(a.clone(), y), (b.clone(), x)]);
    everywhere(&g, |name, run| {
        reset(&[(&a, [1.0, 2.0]), (&b, [10.0, 20.0])]);
        run(&[]).unwrap();
        assert_eq!(
            (a.value().unwrap(), b.value().unwrap()),
            (Array::from([10.0, 20.0]), Array::from([1.0, 2.0])),
            "{name}"
        );
    });
}

/// After `b ← a` the two are not one: a change of `a` in place must not show in `b`.
#[test]
fn a_variable_that_becomes_another_does_not_share_its_memory() {
    let (a, b) = pair();
    let mut assign = Graph::new();
    let x = assign.variable(&a);
    assign.set_updates([(b.clone(), x)]);
    let mut grow = Graph::new();
    let x = grow.variable(&a);
    let new = grow.binary_scalar(Binary::Mul, x, 3.0).unwrap();
    grow.set_updates([(a.clone(), new)]);
    for engine in engines() {
        reset(&[(&a, [1.0, 2.0]), (&b, [10.0, 20.0])]);
        for graph in [&assign, &grow] {
            engine.compile(graph, Passes::default()).unwrap().run(&[]).unwrap();
        }
        assert_eq!(
            (a.value().unwrap(), b.value().unwrap()),
            (Array::from([3.0, 6.0]), Array::from([1.0, 2.0])),
            "{}",
            engine.name()
        );
    }
}

#[test]
fn a_fetch_sees_the_value_before_the_update() {
    let (a, _) = pair();
    let mut g = Graph::new();
    let x = g.variable(&a);
    let turned = g.reshape(x, &[2, 1]).unwrap();
    let new = g.binary_scalar(Binary::Add, x, 1.0).unwrap();
    g.set_outputs([x, turned, new]);
    g.set_updates([(a.clone(), new)]);
    everywhere(&g, |name, run| {
        reset(&[(&a, [1.0, 2.0])]);
        let seen = run(&[]).unwrap();
        assert_eq!(seen[0], Array::from([1.0, 2.0]), "{name}");
        assert_eq!(seen[1], Array::from([[1.0], [2.0]]), "{name}");
        assert_eq!(seen[2], Array::from([2.0, 3.0]), "{name}");
        assert_eq!(a.value().unwrap(), Array::from([2.0, 3.0]), "{name}");
    });
}

/// Views of a variable that changes in place: one becomes another variable, one is read by another update, one is
/// fetched, one goes into a loop that hands it through.
#[test]
fn views_of_a_variable_outlive_its_change() {
    let w = Variable::new("w", Array::from([[1.0, 2.0], [3.0, 4.0]]));
    let (turned, summed, row) = (
        Variable::new("turned", Array::zeros(DType::F64, &[2, 2]).unwrap()),
        Variable::new("summed", Array::zeros(DType::F64, &[2, 2]).unwrap()),
        Variable::new("row", Array::zeros(DType::F64, &[2]).unwrap()),
    );
    let mut g = Graph::new();
    let x = g.variable(&w);
    let t = g.permute(x, &[1, 0]).unwrap();
    let s = g.variable(&summed);
    let total = g.binary(Binary::Add, s, t).unwrap();
    let reversed = g.add(Op::Reverse(vec![0]), &[x]).unwrap();
    let start = g.slice_axis(x, 0, 1, 2).unwrap();
    let start = g.reshape(start, &[2]).unwrap();
    let scan = ScanBuilder::new(&g, &[start], &[x], &[]).unwrap();
    let carry = scan.carries()[0];
    let (finals, _) = scan.finish(&mut g, &[carry], &[], false).unwrap();
    let new = g.binary_scalar(Binary::Mul, x, -1.0).unwrap();
    g.set_outputs([reversed]);
    g.set_updates([(w.clone(), new), (turned.clone(), t), (summed.clone(), total), (row.clone(), finals[0])]);
    everywhere(&g, |name, run| {
        w.set(&Array::from([[1.0, 2.0], [3.0, 4.0]])).unwrap();
        summed.set(&Array::from([[0.5, 0.5], [0.5, 0.5]])).unwrap();
        let seen = run(&[]).unwrap();
        assert_eq!(seen[0], Array::from([[3.0, 4.0], [1.0, 2.0]]), "{name}");
        assert_eq!(w.value().unwrap(), Array::from([[-1.0, -2.0], [-3.0, -4.0]]), "{name}");
        assert_eq!(turned.value().unwrap(), Array::from([[1.0, 3.0], [2.0, 4.0]]), "{name}");
        assert_eq!(summed.value().unwrap(), Array::from([[1.5, 3.5], [2.5, 4.5]]), "{name}");
        assert_eq!(row.value().unwrap(), Array::from([3.0, 4.0]), "{name}");
        run(&[]).unwrap();
        assert_eq!(turned.value().unwrap(), Array::from([[-1.0, -3.0], [-2.0, -4.0]]), "{name}");
        assert_eq!(row.value().unwrap(), Array::from([-3.0, -4.0]), "{name}");
    });
}

/// A loop that hands through what it was given, while the original would be free to be overwritten.
#[test]
fn what_a_loop_hands_through_is_not_overwritten() {
    let mut g = Graph::new();
    let (x, xs) = (g.input(float(&[2])), g.input(float(&[3, 2])));
    let made = g.unary(Unary::Exp, x).unwrap();
    let scan = ScanBuilder::new(&g, &[made], &[xs], &[]).unwrap();
    let carry = scan.carries()[0];
    let (finals, _) = scan.finish(&mut g, &[carry], &[], false).unwrap();
    let over = g.unary(Unary::Neg, made).unwrap();
    g.set_outputs([over, finals[0]]);
    everywhere(&g, |name, run| {
        let seen = run(&[Array::from([0.0, 0.0]), Array::zeros(DType::F64, &[3, 2]).unwrap()]).unwrap();
        assert_eq!(seen, [Array::from([-1.0, -1.0]), Array::from([1.0, 1.0])], "{name}");
    });
}

/// An update runs in place: a variable's buffer is handed over, and no second one is made.
#[test]
fn updates_run_in_place() {
    for fuses in [false, true] {
        let w = Variable::new("w", Array::from([1.0, 2.0]));
        let mut g = Graph::new();
        let (x, grad) = (g.variable(&w), g.input(float(&[2])));
        let new = g.binary(Binary::Sub, x, grad).unwrap();
        g.set_updates([(w.clone(), new)]);
        let (backend, account) = Observed::new(fuses);
        let engine = Engine::new(backend).unwrap();
        let program = engine.compile(&g).unwrap();
        for _ in 0..3 {
            program.run(&[Array::from([0.5, 0.5])]).unwrap();
        }
        account.reset();
        program.run(&[Array::from([0.5, 0.5])]).unwrap();
        assert_eq!(account.uploads.load(Ordering::SeqCst), 1, "the feed alone");
        assert_eq!(account.downloads.load(Ordering::SeqCst), 0);
        assert_eq!(account.writable.load(Ordering::SeqCst), 1, "the variable");
        assert_eq!(account.alive.load(Ordering::SeqCst), 1);
        assert_eq!(w.value().unwrap(), Array::from([-1.0, 0.0]));
    }
}

/// The state of a recurrent layer comes out of a loop; it need not travel over the host.
#[test]
fn what_a_loop_makes_becomes_a_variable_without_a_copy() {
    let state = Variable::new("state", Array::from([0.0, 0.0]));
    let mut g = Graph::new();
    let (h, xs) = (g.variable(&state), g.input(float(&[3, 2])));
    let mut scan = ScanBuilder::new(&g, &[h], &[xs], &[]).unwrap();
    let (carry, x) = (scan.carries()[0], scan.xs()[0]);
    let next = scan.body.binary(Binary::Add, carry, x).unwrap();
    let (finals, _) = scan.finish(&mut g, &[next], &[next], false).unwrap();
    g.set_updates([(state.clone(), finals[0])]);
    let (backend, account) = Observed::new(true);
    let program = Engine::new(backend).unwrap().compile(&g).unwrap();
    let feed = [Array::full(&[3, 2], 1.0).unwrap()];
    program.run(&feed).unwrap();
    account.reset();
    program.run(&feed).unwrap();
    assert_eq!((account.uploads.load(Ordering::SeqCst), account.downloads.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(state.value().unwrap(), Array::from([6.0, 6.0]));
}

#[test]
fn a_failure_changes_no_variable() {
    let (a, b) = pair();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let host = HostFn {
        name: "sometimes".into(),
        outputs: vec![float(&[2])],
        impure: true,
        run: Box::new(move |arrays| {
            let fails = fails.load(Ordering::SeqCst);
            if fails {
                Err(Error::value("the callback", "luck", "none"))
            } else {
                Ok(vec![arrays[0].clone()])
            }
        }),
        vjp: None,
    };
    let mut g = Graph::new();
    let (x, y) = (g.variable(&a), g.variable(&b));
    let new_a = g.binary_scalar(Binary::Add, x, 1.0).unwrap();
    let seen = g.add(Op::Host(ByRef(Arc::new(host))), &[y]).unwrap();
    let new_b = g.binary(Binary::Add, y, seen).unwrap();
    g.set_outputs([seen]);
    g.set_updates([(a.clone(), new_a), (b.clone(), new_b)]);
    everywhere(&g, |name, run| {
        reset(&[(&a, [1.0, 2.0]), (&b, [10.0, 20.0])]);
        failing.store(true, Ordering::SeqCst);
        let versions = (a.version(), b.version());
        let message = run(&[]).unwrap_err().to_string();
        assert!(message.contains("sometimes") && message.contains("luck"), "{message}");
        assert_eq!((a.version(), b.version()), versions, "{name}");
        assert_eq!(
            (a.value().unwrap(), b.value().unwrap()),
            (Array::from([1.0, 2.0]), Array::from([10.0, 20.0]))
        );
        failing.store(false, Ordering::SeqCst);
        run(&[]).unwrap();
        assert_eq!(
            (a.value().unwrap(), b.value().unwrap()),
            (Array::from([2.0, 3.0]), Array::from([20.0, 40.0]))
        );
    });
}

#[test]
fn a_failing_backend_changes_no_variable() {
    let (a, _) = pair();
    let mut g = Graph::new();
    let x = g.variable(&a);
    let sum = g.reduce(Reduce::Sum, x, &[0]).unwrap();
    let new = g.binary_scalar(Binary::Add, x, 1.0).unwrap();
    g.set_outputs([sum]);
    g.set_updates([(a.clone(), new)]);
    let (backend, account) = Observed::new(false);
    let program = Engine::new(backend).unwrap().compile(&g).unwrap();
    account.fail(Some("sum"));
    assert!(program.run(&[]).is_err());
    assert_eq!(a.value().unwrap(), Array::from([1.0, 2.0]));
    account.fail(None);
    assert_eq!(program.run(&[]).unwrap()[0].item().unwrap(), 3.0);
    assert_eq!(a.value().unwrap(), Array::from([2.0, 3.0]));
}

#[test]
fn an_update_of_another_type_is_refused_when_compiled() {
    let (a, _) = pair();
    let mut g = Graph::new();
    let wrong = [float(&[3]), Type::new([2], DType::F32), float(&[])].map(|ty| g.input(ty));
    for value in wrong {
        g.set_updates([(a.clone(), value)]);
        let message = match Engine::new(Reference).unwrap().compile(&g) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        assert!(message.contains("variable a") && message.contains("float64[2]"), "{message}");
    }
}

#[test]
fn feeds_are_checked_read_or_not() {
    let mut g = Graph::new();
    let (x, _unread) = (g.input(float(&[2])), g.input(Type::new([3], DType::I32)));
    let y = g.unary(Unary::Exp, x).unwrap();
    g.set_outputs([y]);
    let program = compile(&g);
    let (good, other) = (Array::from([1.0, 2.0]), Array::from([1, 2, 3]));
    assert!(program.run(&[good.clone(), other.clone()]).is_ok());
    for (feeds, words) in [
        (vec![good.clone()], "2 feeds"),
        (vec![good.clone(), other.clone(), other.clone()], "2 feeds"),
        (vec![Array::from([1.0, 2.0, 3.0]), other.clone()], "feed 0"),
        (vec![Array::from([1.0_f32, 2.0]), other.clone()], "feed 0"),
        (vec![Array::from([[1.0, 2.0]]), other.clone()], "feed 0"),
        (vec![good.clone(), Array::from([1_i64, 2, 3])], "feed 1"),
        (vec![good, Array::from([1, 2])], "feed 1"),
    ] {
        let message = program.run(&feeds).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("expected"), "{message}");
    }
}

/// Two engines, each with its replica: reading copies, a commit makes the other stale.
#[test]
fn engines_share_variables() {
    let (a, _) = pair();
    let mut g = Graph::new();
    let x = g.variable(&a);
    let new = g.binary_scalar(Binary::Mul, x, 2.0).unwrap();
    g.set_outputs([x]);
    g.set_updates([(a.clone(), new)]);
    let mut look = Graph::new();
    let x = look.variable(&a);
    let y = look.binary_scalar(Binary::Add, x, 0.0).unwrap();
    look.set_outputs([y]);
    let (backend, account) = Observed::new(true);
    let (first, second) = (Engine::new(backend).unwrap(), Engine::new(Contrary).unwrap());
    let (grow, see) = (first.compile(&g).unwrap(), first.compile(&look).unwrap());
    let (grow_there, see_there) = (second.compile(&g).unwrap(), second.compile(&look).unwrap());
    let mut value = 1.0;
    let expected = |value: f64| Array::from([value, 2.0 * value]);
    for round in 0..3 {
        assert_eq!(grow.run(&[]).unwrap()[0], expected(value));
        value *= 2.0;
        assert_eq!(see_there.run(&[]).unwrap()[0], expected(value));
        assert_eq!(see.run(&[]).unwrap()[0], expected(value));
        assert_eq!(grow_there.run(&[]).unwrap()[0], expected(value));
        value *= 2.0;
        assert_eq!(see.run(&[]).unwrap()[0], expected(value));
        assert_eq!(a.value().unwrap(), expected(value));
        assert_eq!(a.version(), 2 * round + 2);
    }
    account.reset();
    see.run(&[]).unwrap();
    see_there.run(&[]).unwrap();
    assert_eq!(account.uploads.load(Ordering::SeqCst), 0, "both replicas are current");
    drop((grow, see, first));
    a.set(&Array::from([7.0, 8.0])).unwrap();
    assert_eq!(account.alive.load(Ordering::SeqCst), 0, "a new value drops the replicas");
    assert_eq!(see_there.run(&[]).unwrap()[0], Array::from([7.0, 8.0]));
}

/// Scalars on the host: 64-bit integers keep every bit, single precision rounds at every step.
#[test]
fn host_scalars_are_exact() {
    let count = Variable::scalar("count", 0.0, DType::I64);
    count.set(&Array::from_vec(&[], vec![(1_i64 << 53) + 1]).unwrap()).unwrap();
    let rate = Variable::scalar("rate", 0.1, DType::F32);
    let mut g = Graph::new();
    let (n, r) = (g.variable(&count), g.variable(&rate));
    let next = g.binary_scalar(Binary::Add, n, 1.0).unwrap();
    let wide = g.splat(n, &[2]).unwrap();
    let decayed = g.binary(Binary::Mul, r, r).unwrap();
    let double = g.add(Op::Cast(DType::F64), &[decayed]).unwrap();
    g.set_outputs([n, next, wide, decayed, double]);
    g.set_updates([(count.clone(), next), (rate.clone(), decayed)]);
    everywhere(&g, |name, run| {
        count.set(&Array::from_vec(&[], vec![(1_i64 << 53) + 1]).unwrap()).unwrap();
        rate.set(&Array::full(&[], 0.1_f32).unwrap()).unwrap();
        let seen = run(&[]).unwrap();
        assert_eq!(seen[0].to_vec::<i64>(), [(1 << 53) + 1], "{name}");
        assert_eq!(seen[1].to_vec::<i64>(), [(1 << 53) + 2], "{name}");
        assert_eq!(seen[2].to_vec::<i64>(), [(1 << 53) + 1; 2], "{name}");
        assert_eq!(seen[3].to_vec::<f32>(), [0.1_f32 * 0.1], "{name}");
        assert_eq!(seen[4].to_vec::<f64>(), [f64::from(0.1_f32 * 0.1)], "{name}");
        assert_eq!(count.value().unwrap().to_vec::<i64>(), [(1 << 53) + 2], "{name}");
        assert_eq!(rate.value().unwrap().to_vec::<f32>(), [0.1_f32 * 0.1], "{name}");
    });
}

/// Empty tensors in every role.
#[test]
fn empty_tensors() {
    let w = Variable::new("w", Array::zeros(DType::F64, &[0, 2]).unwrap());
    let mut g = Graph::new();
    let x = g.input(float(&[0, 2]));
    let v = g.variable(&w);
    let constant = g.constant(Array::zeros(DType::F64, &[0, 2]).unwrap());
    let filled = g.full(1.0, &float(&[0, 2])).unwrap();
    let sum = g.binary(Binary::Add, x, v).unwrap();
    let sum = g.binary(Binary::Add, sum, constant).unwrap();
    let sum = g.binary(Binary::Mul, sum, filled).unwrap();
    let product = g.matmul(sum, sum, true, false).unwrap();
    let bias = g.constant(Array::from([[0.5, 1.5]]));
    let bias = g.broadcast(bias, &[2, 2]).unwrap();
    let dense = g.binary(Binary::Add, product, bias).unwrap();
    let full = g.constant(Array::from([[1.0, 2.0]]));
    let joined = g.add(Op::Concat(0), &[sum, full, x]).unwrap();
    let spec = SliceSpec { starts: vec![0, 0], stops: vec![0, 2], steps: vec![1, 1] };
    let updated = g.add(Op::SliceUpdate(spec), &[full, x]).unwrap();
    let padded = g.add(Op::Pad(vec![(1, 0), (0, 0)]), &[x]).unwrap();
    let (seed, step) = (g.scalar(1.0, DType::I64), g.scalar(2.0, DType::I64));
    let random = Op::Random { distribution: Distribution::Normal, stream: 3, output: float(&[0, 2]) };
    let random = g.add(random, &[seed, step]).unwrap();
    let iota = g.add(Op::Iota(float(&[0, 2]), 0), &[]).unwrap();
    let rows = g.reshape(x, &[2, 0]).unwrap();
    let start = g.slice_axis(rows, 0, 0, 1).unwrap();
    let start = g.reshape(start, &[0]).unwrap();
    let mut scan = ScanBuilder::new(&g, &[start], &[rows], &[]).unwrap();
    let (carry, row) = (scan.carries()[0], scan.xs()[0]);
    let next = scan.body.binary(Binary::Add, carry, row).unwrap();
    let (finals, ys) = scan.finish(&mut g, &[next], &[next], true).unwrap();
    g.set_outputs([sum, dense, joined, updated, padded, random, iota, finals[0], ys[0], constant, filled]);
    g.set_updates([(w.clone(), sum)]);
    everywhere(&g, |name, run| {
        let seen = run(&[Array::zeros(DType::F64, &[0, 2]).unwrap()]).unwrap();
        assert_eq!(seen[1], Array::from([[0.5, 1.5], [0.5, 1.5]]), "{name}");
        assert_eq!(seen[2], Array::from([[1.0, 2.0]]), "{name}");
        assert_eq!(seen[3], Array::from([[1.0, 2.0]]), "{name}");
        assert_eq!(seen[4], Array::from([[0.0, 0.0]]), "{name}");
        let shapes: Vec<&[usize]> = seen.iter().map(Array::shape).collect();
        assert_eq!([shapes[0], shapes[5], shapes[6], shapes[9], shapes[10]], [&[0, 2][..]; 5], "{name}");
        assert_eq!((shapes[7], shapes[8]), (&[0][..], &[2, 0][..]), "{name}");
        assert_eq!(w.value().unwrap().shape(), [0, 2], "{name}");
    });
}

/// Seed and step are host scalars as a rule; in a loop they come as values.
#[test]
fn random_numbers_in_a_loop_are_those_outside() {
    let output = float(&[3]);
    let random = || Op::Random { distribution: Distribution::Uniform, stream: 5, output: output.clone() };
    let step = Variable::scalar("step", 4.0, DType::I64);
    let mut g = Graph::new();
    let (seed, at) = (g.scalar(9.0, DType::I64), g.variable(&step));
    let outside = g.add(random(), &[seed, at]).unwrap();
    let next = g.binary_scalar(Binary::Add, at, 1.0).unwrap();
    let after = g.add(random(), &[seed, next]).unwrap();
    let xs = g.constant(Array::from([0.0, 0.0]));
    let mut scan = ScanBuilder::new(&g, &[at], &[xs], &[seed]).unwrap();
    let (carry, seed) = (scan.carries()[0], scan.consts()[0]);
    let drawn = scan.body.add(random(), &[seed, carry]).unwrap();
    let count = scan.body.binary_scalar(Binary::Add, carry, 1.0).unwrap();
    let (_, ys) = scan.finish(&mut g, &[count], &[drawn], false).unwrap();
    g.set_outputs([outside, after, ys[0]]);
    everywhere(&g, |name, run| {
        let seen = run(&[]).unwrap();
        let both = [seen[0].to_vec::<f64>(), seen[1].to_vec::<f64>()].concat();
        assert_eq!(seen[2].to_vec::<f64>(), both, "{name}");
        assert_ne!(seen[0], seen[1]);
    });
}

#[test]
fn a_body_that_reads_a_variable_is_refused() {
    let (a, _) = pair();
    let mut g = Graph::new();
    let xs = g.input(float(&[3, 2]));
    let start = g.full(0.0, &float(&[2])).unwrap();
    let mut scan = ScanBuilder::new(&g, &[start], &[xs], &[]).unwrap();
    let carry = scan.carries()[0];
    let inside = scan.body.variable(&a);
    let next = scan.body.binary(Binary::Add, carry, inside).unwrap();
    let error = scan.finish(&mut g, &[next], &[], false).unwrap_err().to_string();
    assert!(error.contains("capture"), "{error}");
}

/// Kernel and bias of three layers.
fn weights(sizes: [usize; 4]) -> Vec<Variable> {
    let mut numbers = Numbers::new(5);
    let mut weights = Vec::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        let kernel = numbers.array_in(DType::F32, pair, -0.1, 0.1);
        weights.push(Variable::new(format!("dense_{i}/kernel"), kernel));
        weights.push(Variable::new(format!("dense_{i}/bias"), Array::zeros(DType::F32, &pair[1..]).unwrap()));
    }
    weights
}

/// A perceptron with softmax, or a step of SGD with momentum on its crossentropy.
pub(crate) fn perceptron(batch: usize, sizes: [usize; 4], train: bool) -> (Graph, Vec<Variable>) {
    let weights = weights(sizes);
    (trace(&weights, batch, sizes, train), weights)
}

fn trace(weights: &[Variable], batch: usize, sizes: [usize; 4], train: bool) -> Graph {
    let mut g = Graph::new();
    let build = |g: &mut Graph| -> Result<()> {
        let ty = |shape: [usize; 2]| Type::new(shape, DType::F32);
        let x = g.input(ty([batch, sizes[0]]));
        let values: Vec<Value> = weights.iter().map(|w| g.variable(w)).collect();
        let mut h = x;
        for (i, pair) in values.chunks(2).enumerate() {
            let product = g.matmul(h, pair[0], false, false)?;
            let shape = g.shape(product).to_vec();
            let bias = g.reshape(pair[1], &[1, shape[1]])?;
            let bias = g.broadcast(bias, &shape)?;
            h = g.binary(Binary::Add, product, bias)?;
            if i + 1 < sizes.len() - 1 {
                h = g.unary(Unary::Relu, h)?;
            }
        }
        if !train {
            let y = g.add(Op::Softmax, &[h])?;
            g.set_outputs([y]);
            return Ok(());
        }
        let target = g.input(ty([batch, sizes[3]]));
        let log = g.add(Op::LogSoftmax, &[h])?;
        let picked = g.binary(Binary::Mul, log, target)?;
        let total = g.reduce(Reduce::Sum, picked, &[0, 1])?;
        let loss = g.binary_scalar(Binary::Mul, total, -1.0 / batch as f64)?;
        let seed = g.full_like(loss, 1.0)?;
        let grads = gradients(g, &[(loss, seed)], &values)?;
        let rate = Variable::scalar("rate", 0.1, DType::F32);
        let mut updates = Vec::new();
        for ((weight, value), grad) in weights.iter().zip(&values).zip(grads) {
            let velocity = Variable::new("velocity", Array::zeros(DType::F32, weight.shape()).unwrap());
            let v = g.variable(&velocity);
            let kept = g.binary_scalar(Binary::Mul, v, 0.9)?;
            let lr = g.variable(&rate);
            let lr = g.splat(lr, weight.shape())?;
            let step = g.binary(Binary::Mul, lr, grad.unwrap())?;
            let next = g.binary(Binary::Sub, kept, step)?;
            let moved = g.binary(Binary::Add, *value, next)?;
            updates.extend([(velocity, next), (weight.clone(), moved)]);
        }
        g.set_outputs([loss]);
        g.set_updates(updates);
        Ok(())
    };
    build(&mut g).unwrap();
    g
}

#[test]
fn eight_threads_give_the_bits_of_one() {
    for engine in engines() {
        let (graph, _) = perceptron(4, [6, 8, 8, 3], false);
        let program = engine.compile(&graph, Passes::default()).unwrap();
        let feeds: Vec<Array> = (0..8).map(|i| Numbers::new(i).array(DType::F32, &[4, 6])).collect();
        let alone: Vec<Array> =
            feeds.iter().map(|x| program.run(std::slice::from_ref(x)).unwrap()[0].clone()).collect();
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for (x, expected) in feeds.iter().zip(&alone) {
                let (program, barrier) = (&program, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..50 {
                        assert_eq!(program.run(std::slice::from_ref(x)).unwrap()[0], *expected);
                    }
                });
            }
        });
    }
}

/// Two variables that always change together: whoever reads both sees both from before a commit or both from after.
#[test]
fn readers_see_a_commit_whole_or_not_at_all() {
    const STEPS: usize = 300;
    for engine in engines() {
        let n = 64;
        let ramp = |start: f64| Array::full(&[n], start).unwrap();
        let (a, b) = (Variable::new("a", ramp(0.0)), Variable::new("b", ramp(1000.0)));
        let mut g = Graph::new();
        let (x, y) = (g.variable(&a), g.variable(&b));
        let up = g.binary_scalar(Binary::Add, x, 1.0).unwrap();
        let down = g.binary_scalar(Binary::Sub, y, 1.0).unwrap();
        g.set_updates([(a.clone(), up), (b.clone(), down)]);
        let mut look = Graph::new();
        let (x, y) = (look.variable(&a), look.variable(&b));
        let sum = look.binary(Binary::Add, x, y).unwrap();
        let feed = look.input(float(&[]));
        let shifted = look.splat(feed, &[n]).unwrap();
        let shifted = look.binary(Binary::Add, x, shifted).unwrap();
        look.set_outputs([x, y, sum, shifted]);
        let [train, predict] = [g, look].map(|graph| engine.compile(&graph, Passes::default()).unwrap());
        let done = AtomicBool::new(false);
        let barrier = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    barrier.wait();
                    let mut last = 0.0;
                    let mut looks = 0;
                    while !done.load(Ordering::SeqCst) || looks == 0 {
                        let seen = predict.run(&[Array::from(0.5).reshape(&[]).unwrap()]).unwrap();
                        let seen: Vec<Vec<f64>> = seen.iter().map(Array::to_vec).collect();
                        let step = seen[0][0];
                        assert!(step >= last && step.fract() == 0.0, "{step} after {last}");
                        assert!(seen[0].iter().all(|&x| x == step), "{:?}", seen[0]);
                        assert!(seen[1].iter().all(|&y| y == 1000.0 - step), "{step} {:?}", seen[1]);
                        assert!(seen[2].iter().all(|&sum| sum == 1000.0), "{:?}", seen[2]);
                        assert!(seen[3].iter().all(|&x| x == step + 0.5), "{:?}", seen[3]);
                        last = step;
                        looks += 1;
                    }
                });
            }
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..STEPS {
                    train.run(&[]).unwrap();
                }
                done.store(true, Ordering::SeqCst);
            });
        });
        assert_eq!(a.value().unwrap(), ramp(STEPS as f64));
    }
}

/// Two programs that update one variable alternate: no step is lost.
#[test]
fn writers_alternate() {
    let (a, b) = pair();
    reset(&[(&a, [0.0, 0.0]), (&b, [0.0, 0.0])]);
    let engine = Engine::new(Observed::new(true).0).unwrap();
    // In opposite orders, so that locks taken as written would wait for each other.
    let program = |first: &Variable, second: &Variable| {
        let mut g = Graph::new();
        let updates: Vec<(Variable, Value)> = [first, second]
            .map(|variable| {
                let x = g.variable(variable);
                (variable.clone(), g.binary_scalar(Binary::Add, x, 1.0).unwrap())
            })
            .into();
        g.set_updates(updates);
        engine.compile(&g).unwrap()
    };
    let programs = [program(&a, &b), program(&b, &a)];
    std::thread::scope(|scope| {
        for program in programs.iter().cycle().take(4) {
            scope.spawn(move || (0..100).for_each(|_| drop(program.run(&[]).unwrap())));
        }
    });
    assert_eq!(
        (a.value().unwrap(), b.value().unwrap()),
        (Array::from([400.0, 400.0]), Array::from([400.0, 400.0]))
    );
}

#[test]
fn what_is_dropped_leaves_nothing() {
    let (backend, account) = Observed::new(true);
    let engine = Engine::new(backend).unwrap();
    for _ in 0..1000 {
        let (train, _weights) = perceptron(2, [3, 4, 4, 2], true);
        let train = engine.compile(&train).unwrap();
        train
            .run(&[Array::zeros(DType::F32, &[2, 3]).unwrap(), Array::zeros(DType::F32, &[2, 2]).unwrap()])
            .unwrap();
        let (predict, _weights) = perceptron(2, [3, 4, 4, 2], false);
        let predict = engine.compile(&predict).unwrap();
        predict.run(&[Array::zeros(DType::F32, &[2, 3]).unwrap()]).unwrap();
        assert!(account.alive.load(Ordering::SeqCst) > 0);
    }
    assert_eq!(account.alive.load(Ordering::SeqCst), 0);
}

/// Steps do not accumulate anything either.
#[test]
fn memory_does_not_grow_over_steps() {
    let (backend, account) = Observed::new(true);
    let (graph, _weights) = perceptron(2, [3, 4, 4, 2], true);
    let program = Engine::new(backend).unwrap().compile(&graph).unwrap();
    let feeds = [Array::zeros(DType::F32, &[2, 3]).unwrap(), Array::zeros(DType::F32, &[2, 2]).unwrap()];
    program.run(&feeds).unwrap();
    let alive = account.alive.load(Ordering::SeqCst);
    for _ in 0..1000 {
        program.run(&feeds).unwrap();
    }
    assert_eq!(account.alive.load(Ordering::SeqCst), alive);
}

/// A grid of elementwise operations, reductions, products and movement, of about that many nodes.
fn grid(nodes: usize) -> Graph {
    let mut g = Graph::new();
    let x = g.input(Type::new([4, 4], DType::F32));
    let rate = Variable::scalar("rate", 0.5, DType::F32);
    let rate = g.variable(&rate);
    let mut row = vec![x; 8];
    let mut updates = Vec::new();
    while g.nodes().len() < nodes {
        let next: Vec<Value> = (0..row.len())
            .map(|i| {
                let (a, b) = (row[i], row[(i + 1) % row.len()]);
                let sum = g.binary(Binary::Add, a, b).unwrap();
                let lr = g.splat(rate, &[4, 4]).unwrap();
                let scaled = g.binary(Binary::Mul, sum, lr).unwrap();
                let turned = g.permute(scaled, &[1, 0]).unwrap();
                let bent = g.unary(Unary::Tanh, turned).unwrap();
                let back = g.permute(bent, &[1, 0]).unwrap();
                let level = g.reduce_keep(Reduce::Max, back, &[0]).unwrap();
                let level = g.broadcast(level, &[4, 4]).unwrap();
                let centred = g.binary(Binary::Sub, back, level).unwrap();
                if i % 2 == 0 { g.matmul(centred, b, false, false).unwrap() } else { centred }
            })
            .collect();
        row = next;
        let weight = Variable::new("w", Array::zeros(DType::F32, &[4, 4]).unwrap());
        let old = g.variable(&weight);
        let new = g.binary(Binary::Sub, old, row[0]).unwrap();
        updates.push((weight, new));
    }
    g.set_outputs(row);
    g.set_updates(updates);
    g
}

/// The shortest of a few attempts.
/// Of this thread's own time: what else the machine does meanwhile does not count.
fn shortest(attempts: usize, mut action: impl FnMut()) -> Duration {
    let attempt = |action: &mut dyn FnMut()| {
        let start = ThreadTime::now();
        action();
        start.elapsed()
    };
    (0..attempts).map(|_| attempt(&mut action)).min().unwrap()
}

/// Four times the nodes take four times the time; squared they would take sixteen times.
#[test]
fn compilation_is_linear() {
    let time = |nodes: usize| {
        let graph = grid(nodes);
        assert!(graph.nodes().len() < nodes + 200);
        let engine = Engine::new(Reference).unwrap();
        shortest(4, || drop(engine.compile(&graph).unwrap()))
    };
    let (small, large) = (time(2_500), time(10_000));
    assert!(large < small * 9, "{small:?} for 2,500 nodes, {large:?} for 10,000");
}

#[test]
fn differentiation_is_linear() {
    let time = |nodes: usize| {
        let mut graph = grid(nodes);
        let y = graph.outputs()[0];
        let x = Value { node: 0, output: 0 };
        let dy = graph.full_like(y, 1.0).unwrap();
        shortest(4, || {
            let mut graph = graph.clone();
            assert!(gradients(&mut graph, &[(y, dy)], &[x]).unwrap()[0].is_some());
        })
    };
    let (small, large) = (time(2_500), time(10_000));
    assert!(large < small * 9, "{small:?} for 2,500 nodes, {large:?} for 10,000");
}

/// A chain as deep as it is long: nothing recurses.
#[test]
fn deep_chains_compile_and_run() {
    let mut g = Graph::new();
    let x = g.input(float(&[2]));
    let mut y = x;
    for i in 0..20_000 {
        y = if i % 3 == 0 {
            g.add(Op::Cumulative(keras_core::graph::Cumulative::Sum, 0), &[y]).unwrap()
        } else {
            g.unary(Unary::Sin, y).unwrap()
        };
    }
    let dy = g.full_like(y, 1.0).unwrap();
    let grads = gradients(&mut g, &[(y, dy)], &[x]).unwrap();
    g.set_outputs([y, grads[0].unwrap()]);
    let out = compile(&g).run(&[Array::from([0.1, 0.2])]).unwrap();
    assert!(out.iter().all(|x| x.to_vec::<f64>().iter().all(|x| x.is_finite())));
}

#[test]
fn dumps_show_every_operation() {
    let (graph, weights) = perceptron(2, [3, 4, 4, 2], true);
    let program = compile(&graph);
    for graph in [&graph, program.graph()] {
        let text = graph.text();
        assert_eq!(text.lines().filter(|line| line.starts_with('%')).count(), graph.nodes().len(), "{text}");
        for (i, node) in graph.nodes().iter().enumerate() {
            let line = text.lines().nth(i).unwrap();
            assert!(line.contains(node.op.name()) && line.contains(&node.outputs[0].to_string()), "{line}");
            assert_eq!(line.matches('%').count(), 1 + node.inputs.len(), "{line}");
        }
        assert!(text.contains("return %"), "{text}");
        for weight in &weights {
            assert!(text.contains(&format!("{} <- %", weight.name())), "{text}");
        }
    }
}

/// A parser of as much of Graphviz's language as there is in a dump.
#[test]
fn dot_is_well_formed() {
    let odd = Variable::new("a \"quoted\" \\ name\nof two lines", Array::from([1.0, 2.0]));
    let mut g = Graph::new();
    let x = g.variable(&odd);
    let first = g.add(Op::TopK(1), &[x]).unwrap();
    let positions = g.outputs_of(first)[1];
    let new = g.binary_scalar(Binary::Add, x, 1.0).unwrap();
    g.set_outputs([positions]);
    g.set_updates([(odd.clone(), new)]);
    for dot in [g.dot(), perceptron(2, [3, 4, 4, 2], true).0.dot(), Graph::new().dot()] {
        let mut statements = 0;
        let mut declared = std::collections::BTreeSet::new();
        let (mut depth, mut quoted, mut escaped) = (0, false, false);
        for c in dot.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '\n' => assert!(!quoted, "a string ends on its line: {dot}"),
                '{' | '[' if !quoted => depth += 1,
                '}' | ']' if !quoted => depth -= 1,
                ';' if !quoted => statements += 1,
                _ => {}
            }
        }
        assert!(
            depth == 0 && !quoted && dot.starts_with("digraph {") && dot.trim_end().ends_with('}'),
            "{dot}"
        );
        for statement in dot.lines().flat_map(|line| line.split(';')).map(str::trim) {
            if let Some((from, to)) = statement.split_once(" -> ") {
                assert!(declared.contains(from) && declared.contains(to), "{statement} in {dot}");
            } else if let Some((name, _)) = statement.split_once(" [") {
                declared.insert(name.to_owned());
            }
        }
        assert!(statements >= declared.len(), "{dot}");
    }
    let dot = g.dot();
    assert_eq!(dot.matches(" -> ").count(), 1 + 2 + 1 + 1 + 1 + 1, "{dot}");
}
