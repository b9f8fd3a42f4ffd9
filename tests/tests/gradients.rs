//! Gradients of every operation against central differences in double precision: of the operation, and of its
//! gradient.

use conformance::Numbers;
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::graph::{
    ArgReduce, Binary, ByRef, Compare, ConvSpec, Cumulative, CustomVjp, GateActivation, Graph, HostFn,
    Logical, MaskedOutput, Op, PoolSpec, RecurrentCell, RecurrentDropout, RecurrentSpec, Reduce, ScanBuilder,
    SliceSpec, Type, Unary, Value, gradients,
};
use keras_core::{Array, DType, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The step of the differences; with operands on a grid of powers of two it is exact also in single precision.
const STEP: f64 = 1.0 / 1024.0;

/// The relative error that is accepted.
const RELATIVE: f64 = 1e-6;

/// What becomes of the members of `Op` in these tests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Treatment {
    /// A row of the table checks its gradient.
    Checked,
    /// A row of the table checks that no gradient passes.
    Without,
    /// It has no operands, or none that are differentiable.
    Source,
    /// Fusion makes it, after gradients were taken.
    Fused,
}

macro_rules! members {
    ($($pattern:pat => $treatment:ident),* $(,)?) => {
        /// The position of an operation's member in `MEMBERS`; does not compile if a member is left out.
        fn member(op: &Op) -> usize {
            let mut position = 0;
            $(
                if matches!(op, $pattern) {
                    return position;
                }
                position += 1;
            )*
            match op { $($pattern => position),* }
        }

        const MEMBERS: &[(&str, Treatment)] = &[$((stringify!($pattern), Treatment::$treatment)),*];
    };
}

members! {
    Op::Input(_) => Source,
    Op::Variable(_) => Source,
    Op::Constant(_) => Source,
    Op::Iota(..) => Source,
    Op::Random { .. } => Source,
    Op::Unary(_) => Checked,
    Op::Binary(_) => Checked,
    Op::Compare(_) => Without,
    Op::Logical(_) => Without,
    Op::Select => Checked,
    Op::Cast(_) => Checked,
    Op::Reduce(..) => Checked,
    Op::ArgReduce(..) => Without,
    Op::Cumulative(..) => Checked,
    Op::TopK(_) => Checked,
    Op::MatMul { .. } => Checked,
    Op::Conv(_) => Checked,
    Op::ConvGradInput(..) => Checked,
    Op::ConvGradKernel(..) => Checked,
    Op::MaxPool(_) => Checked,
    Op::MaxPoolGrad(..) => Checked,
    Op::AvgPool(_) => Checked,
    Op::AvgPoolGrad(..) => Checked,
    Op::Gather(_) => Checked,
    Op::ScatterAdd(_) => Checked,
    Op::Reshape(_) => Checked,
    Op::Permute(_) => Checked,
    Op::Broadcast(_) => Checked,
    Op::Slice(_) => Checked,
    Op::SliceUpdate(_) => Checked,
    Op::Pad(_) => Checked,
    Op::Concat(_) => Checked,
    Op::Reverse(_) => Checked,
    Op::Softmax => Checked,
    Op::LogSoftmax => Checked,
    Op::Recurrent(_) => Checked,
    Op::RecurrentGrad(..) => Checked,
    Op::Scan(_) => Checked,
    Op::Host(_) => Checked,
    Op::StopGradient => Without,
    Op::CustomVjp(_) => Checked,
    Op::Kernel(_) => Fused,
    Op::Epilogue(..) => Fused,
}

/// An operand of a row.
#[derive(Clone)]
struct Operand {
    value: Array,
    /// Whether a gradient is taken for it.
    free: bool,
}

/// Multiples of 1/64 in a range.
fn within<const N: usize>(shape: [usize; N], low: f64, high: f64) -> Operand {
    let seed = shape
        .iter()
        .fold(low.to_bits() ^ high.to_bits(), |seed, &len| seed.wrapping_mul(31).wrapping_add(len as u64));
    let values = Numbers::new(seed).array_in(DType::F64, &shape, low * 64.0, high * 64.0);
    let grid = values.to_vec::<f64>().into_iter().map(|x| (x.ceil()) / 64.0).collect();
    Operand { value: Array::from_vec(&shape, grid).unwrap(), free: true }
}

/// Numbers around zero.
fn any<const N: usize>(shape: [usize; N]) -> Operand {
    within(shape, -2.0, 2.0)
}

/// Distinct numbers, in no order, further apart than the differences reach.
fn apart<const N: usize>(shape: [usize; N]) -> Operand {
    let count: usize = shape.iter().product();
    let mut order: Vec<usize> = (0..count).collect();
    let mut numbers = Numbers::new(count as u64);
    for i in (1..count).rev() {
        order.swap(i, numbers.bits() as usize % (i + 1));
    }
    let values = order.into_iter().map(|x| (x as f64 - count as f64 / 2.0) / 8.0 + 1.0 / 64.0).collect();
    Operand { value: Array::from_vec(&shape, values).unwrap(), free: true }
}

/// These numbers.
fn given<const N: usize>(shape: [usize; N], values: &[f64]) -> Operand {
    Operand { value: Array::from_vec(&shape, values.to_vec()).unwrap(), free: true }
}

/// Indices.
fn indices<const N: usize>(shape: [usize; N], values: &[i64]) -> Operand {
    Operand { value: Array::from_vec(&shape, values.to_vec()).unwrap(), free: false }
}

/// Truth values.
fn truth<const N: usize>(shape: [usize; N], values: &[bool]) -> Operand {
    Operand { value: Array::from_vec(&shape, values.to_vec()).unwrap(), free: false }
}

type Build = Box<dyn Fn(&mut Graph, &[Value]) -> Result<Vec<Value>>>;

/// One row: an operation on operands.
struct Row {
    title: String,
    operands: Vec<Operand>,
    build: Build,
}

fn built<const N: usize>(
    title: impl Into<String>,
    operands: [Operand; N],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>> + 'static,
) -> Row {
    Row { title: title.into(), operands: operands.into(), build: Box::new(build) }
}

fn row<const N: usize>(op: Op, operands: [Operand; N]) -> Row {
    let shapes: Vec<String> = operands.iter().map(|operand| format!("{:?}", operand.value)).collect();
    let title = format!("{op:?} of {}", shapes.join(", "));
    built(title, operands, move |g, xs| {
        let first = g.add(op.clone(), xs)?;
        Ok(g.outputs_of(first))
    })
}

fn strided<const N: usize>(
    strides: [usize; N],
    dilations: [usize; N],
    pads: [(usize, usize); N],
    groups: usize,
) -> ConvSpec {
    ConvSpec { strides: strides.into(), dilations: dilations.into(), pads: pads.into(), groups }
}

fn pooled<const N: usize>(window: [usize; N], strides: [usize; N], pads: [(usize, usize); N]) -> PoolSpec {
    PoolSpec { window: window.into(), strides: strides.into(), pads: pads.into() }
}

fn boxed<const N: usize>(starts: [usize; N], stops: [usize; N], steps: [usize; N]) -> SliceSpec {
    SliceSpec { starts: starts.into(), stops: stops.into(), steps: steps.into() }
}

/// The gradient of a max-pool, with the positions that pooling `x` finds.
fn max_pool_grad<const N: usize>(spec: PoolSpec, x: [usize; N], grad: [usize; N]) -> Row {
    let fixed = apart(x).value;
    let size = x[1..N - 1].to_vec();
    built(format!("max_pool_grad {spec:?}"), [any(grad)], move |g, xs| {
        let x = g.constant(fixed.clone());
        let maxima = g.add(Op::MaxPool(spec.clone()), &[x])?;
        let positions = g.outputs_of(maxima)[1];
        Ok(vec![g.add(Op::MaxPoolGrad(spec.clone(), size.clone()), &[xs[0], positions])?])
    })
}

/// Two carries, two sequences read, two written, two constants.
fn scan(reverse: bool) -> Row {
    let operands = [any([3]), any([2]), any([4, 3]), any([4, 2]), any([3]), any([])];
    built(format!("scan, reverse {reverse}"), operands, move |g, v| {
        let mut scan = ScanBuilder::new(g, &v[..2], &v[2..4], &v[4..])?;
        let (carries, xs, consts) = (scan.carries(), scan.xs(), scan.consts());
        let body = &mut scan.body;
        let scaled = body.binary(Binary::Mul, carries[0], consts[0])?;
        let sum = body.binary(Binary::Add, scaled, xs[0])?;
        let state = body.unary(Unary::Tanh, sum)?;
        let total = body.reduce(Reduce::Sum, state, &[0])?;
        let total = body.binary(Binary::Mul, total, consts[1])?;
        let total = body.splat(total, &[2])?;
        let mixed = body.binary(Binary::Mul, xs[1], carries[1])?;
        let other = body.binary(Binary::Add, mixed, total)?;
        let squared = body.unary(Unary::Square, carries[1])?;
        let (finals, ys) = scan.finish(g, &[state, other], &[state, squared], reverse)?;
        Ok(finals.into_iter().chain(ys).collect())
    })
}

/// Only a y is used, one carry counts in integers, and the other is passed on as it is.
fn scan_with_bystanders() -> Row {
    built("scan of one y", [any([2]), any([3, 2])], |g, v| {
        let count = g.constant(Array::from([0_i64]));
        let mut scan = ScanBuilder::new(g, &[v[0], count], &[v[1]], &[])?;
        let (carries, x) = (scan.carries(), scan.xs()[0]);
        let body = &mut scan.body;
        let next = body.binary_scalar(Binary::Add, carries[1], 1.0)?;
        let factor = body.add(Op::Cast(DType::F64), &[next])?;
        let factor = body.broadcast(factor, &[2])?;
        let scaled = body.binary(Binary::Mul, x, factor)?;
        let power = body.unary(Unary::Sin, scaled)?;
        let y = body.binary(Binary::Mul, power, carries[0])?;
        let (_, ys) = scan.finish(g, &[carries[0], next], &[y], false)?;
        Ok(ys)
    })
}

fn fixed(operand: Operand) -> Operand {
    Operand { free: false, ..operand }
}

/// The operands of a recurrent operation of 2 samples, 3 steps and 2 units.
fn recurrent_operands(spec: RecurrentSpec) -> Vec<Operand> {
    let gates = spec.cell.gates();
    let mut operands = vec![any([2, 3, 2 * gates]), any([2, 2 * gates])];
    operands.extend((0..spec.cell.states()).map(|i| within([2, 2], -1.0 - i as f64, 1.0)));
    if spec.cell == (RecurrentCell::Gru { reset_after: true }) {
        operands.push(any([2 * gates]));
    }
    if spec.mask.is_some() {
        operands.push(truth([2, 3], &[false, true, false, true, false, true]));
    }
    match spec.dropout {
        RecurrentDropout::None => {}
        RecurrentDropout::Shared => operands.push(within([1, 2, 2], 0.5, 2.0)),
        RecurrentDropout::PerGate => operands.push(within([gates, 2, 2], 0.5, 2.0)),
    }
    operands
}

/// Every cell with every kind of mask and dropout in both directions; with the reserve among the results and without;
/// and the gradient.
fn recurrent_rows() -> Vec<Row> {
    use GateActivation::{HardSigmoid, Linear, Sigmoid, Tanh};
    let cells = [
        RecurrentCell::SimpleRnn,
        RecurrentCell::Gru { reset_after: false },
        RecurrentCell::Gru { reset_after: true },
        RecurrentCell::Lstm,
    ];
    let variants = [
        (Tanh, Sigmoid, false, None, RecurrentDropout::None),
        (Tanh, Sigmoid, true, Some(MaskedOutput::Repeat), RecurrentDropout::Shared),
        (Tanh, HardSigmoid, false, Some(MaskedOutput::State), RecurrentDropout::PerGate),
        (Linear, Sigmoid, true, Some(MaskedOutput::Zeros), RecurrentDropout::None),
        (Sigmoid, Tanh, false, None, RecurrentDropout::PerGate),
    ];
    let mut rows = Vec::new();
    for cell in cells {
        for (activation, recurrent_activation, reverse, mask, dropout) in variants {
            let spec = RecurrentSpec { cell, activation, recurrent_activation, reverse, mask, dropout };
            let all = move |g: &mut Graph, v: &[Value]| -> Result<Vec<Value>> {
                let first = g.add(Op::Recurrent(spec), v)?;
                Ok(g.outputs_of(first))
            };
            let operands = recurrent_operands(spec);
            let row = |title: &str, operands: Vec<Operand>, build: Build| Row {
                title: format!("{title} of {spec:?}"),
                operands,
                build,
            };
            let direct = 1 + cell.states();
            rows.push(row("results and reserve", operands.clone(), Box::new(all)));
            let results = move |g: &mut Graph, v: &[Value]| Ok(all(g, v)?[..direct].to_vec());
            rows.push(row("results", operands.clone(), Box::new(results)));
            // The final states alone: there is no gradient of the sequence.
            let finals = move |g: &mut Graph, v: &[Value]| Ok(all(g, v)?[1..direct].to_vec());
            let plain = mask.is_none() && dropout == RecurrentDropout::None;
            if plain {
                rows.push(row("final states", operands.clone(), Box::new(finals)));
            }
            for sequence in if plain { vec![true, false] } else { vec![reverse] } {
                let mut operands: Vec<Operand> = operands.clone();
                if dropout != RecurrentDropout::None {
                    // The last operand of the forward operation.
                    let last = operands.pop().map(fixed);
                    operands.extend(last);
                }
                operands.extend((0..cell.states()).map(|_| any([2, 3, 2])));
                // The decomposition reads the states in reserve: not the initial ones, and not what is kept for kernels.
                operands[2..2 + cell.states()].iter_mut().for_each(|state| state.free = false);
                operands.push(fixed(any([2, 3, 2 * cell.kept()])));
                operands.extend(sequence.then(|| any([2, 3, 2])));
                operands.extend((0..cell.states()).map(|_| any([2, 2])));
                let gradient = move |g: &mut Graph, v: &[Value]| -> Result<Vec<Value>> {
                    let first = g.add(Op::RecurrentGrad(spec, sequence), v)?;
                    Ok(g.outputs_of(first))
                };
                rows.push(row("gradient", operands, Box::new(gradient)));
            }
        }
    }
    rows
}

fn floats(host: &[Array], f: impl Fn(&[f64]) -> f64) -> Result<Vec<Array>> {
    let columns: Vec<Vec<f64>> = host.iter().map(Array::to_vec).collect();
    let values = (0..columns[0].len())
        .map(|i| f(&columns.iter().map(|column| column[i]).collect::<Vec<f64>>()))
        .collect();
    Ok(vec![Array::from_vec(host[0].shape(), values)?])
}

/// x³ on the host, with the gradient and the gradient's gradient there too.
fn cube(shape: &[usize]) -> HostFn {
    let ty = || Type::new(shape, DType::F64);
    // (x, dy, dz) → gradients of z = 3x²·dy for x and dy.
    let second = HostFn {
        name: "cube_vjp_vjp".into(),
        outputs: vec![ty(), ty()],
        impure: false,
        run: Box::new(|a| {
            let mut results = floats(a, |v| 6.0 * v[0] * v[1] * v[2])?;
            results.extend(floats(a, |v| 3.0 * v[0] * v[0] * v[2])?);
            Ok(results)
        }),
        vjp: None,
    };
    let first = HostFn {
        name: "cube_vjp".into(),
        outputs: vec![ty()],
        impure: false,
        run: Box::new(|a| floats(a, |v| 3.0 * v[0] * v[0] * v[1])),
        vjp: Some(Arc::new(second)),
    };
    HostFn {
        name: "cube".into(),
        outputs: vec![ty()],
        impure: false,
        run: Box::new(|a| floats(a, |v| v[0].powi(3))),
        vjp: Some(Arc::new(first)),
    }
}

/// sin(a)·b with the gradient written out.
fn custom() -> Row {
    let custom = Arc::new(CustomVjp {
        name: "sine".into(),
        vjp: Box::new(|g, dy, others| {
            let (sin, cos) = (g.unary(Unary::Sin, others[0])?, g.unary(Unary::Cos, others[0])?);
            let scaled = g.binary(Binary::Mul, cos, others[1])?;
            let da = g.binary(Binary::Mul, dy, scaled)?;
            let db = g.binary(Binary::Mul, dy, sin)?;
            Ok(vec![Some(da), Some(db)])
        }),
    });
    built("custom_gradient", [any([2, 3]), any([2, 3])], move |g, v| {
        let sin = g.unary(Unary::Sin, v[0])?;
        let y = g.binary(Binary::Mul, sin, v[1])?;
        Ok(vec![g.add(Op::CustomVjp(ByRef(Arc::clone(&custom))), &[y, v[0], v[1]])?])
    })
}

/// Where a function of one operand is differentiable; `None` if no gradient passes.
fn domain(function: Unary) -> Option<Vec<(f64, f64)>> {
    Some(match function {
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::IsNan | Unary::Not => return None,
        Unary::Abs | Unary::Sign | Unary::Relu => vec![(0.2, 2.0), (-2.0, -0.2)],
        Unary::Log | Unary::Sqrt | Unary::Rsqrt => vec![(0.3, 2.0)],
        Unary::Recip => vec![(0.3, 2.0), (-2.0, -0.3)],
        Unary::Log1p => vec![(-0.6, 2.0)],
        Unary::Tan => vec![(-1.0, 1.0)],
        Unary::Asin | Unary::Acos => vec![(-0.7, 0.7)],
        Unary::Neg
        | Unary::Exp
        | Unary::Expm1
        | Unary::Square
        | Unary::Sin
        | Unary::Cos
        | Unary::Atan
        | Unary::Sinh
        | Unary::Cosh
        | Unary::Tanh
        | Unary::Sigmoid
        | Unary::Softplus
        | Unary::Erf => vec![(-2.0, 2.0)],
    })
}

/// The rows of operations through which a gradient passes.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for &function in Unary::ALL {
        for (low, high) in domain(function).unwrap_or_default() {
            rows.push(row(Op::Unary(function), [within([2, 3], low, high)]));
        }
    }
    for &function in Binary::ALL {
        let pairs = match function {
            Binary::Add | Binary::Sub | Binary::Mul => vec![(any([2, 3]), any([2, 3]))],
            Binary::Div => {
                vec![(any([4]), within([4], 0.4, 2.0)), (any([4]), within([4], -2.0, -0.4))]
            }
            Binary::Mod => vec![
                (within([5], 2.2, 2.8), within([5], 0.98, 1.02)),
                (within([5], -2.8, -2.2), within([5], 0.98, 1.02)),
                (within([5], 2.2, 2.8), within([5], -1.02, -0.98)),
            ],
            Binary::Pow => vec![(within([6], 0.3, 2.0), any([6]))],
            Binary::Max | Binary::Min => {
                vec![(apart([2, 4]), given([2, 4], &[0.3; 8])), (given([4], &[0.3; 4]), apart([4]))]
            }
            Binary::Atan2 => vec![
                (within([3], 0.3, 2.0), any([3])),
                (within([3], -2.0, -0.3), any([3])),
                (any([3]), within([3], 0.3, 2.0)),
            ],
        };
        rows.extend(pairs.into_iter().map(|(a, b)| row(Op::Binary(function), [a, b])));
    }
    let mask = truth([2, 3], &[true, false, false, true, true, false]);
    rows.push(row(Op::Select, [mask, any([2, 3]), any([2, 3])]));
    rows.push(row(Op::Cast(DType::F32), [any([5])]));

    for &function in Reduce::ALL {
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2]] {
            rows.push(row(Op::Reduce(function, axes.to_vec()), [apart([2, 3, 2])]));
        }
    }
    let zeros = [0.0, 2.0, -1.5, 0.5, 1.25, -0.75, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0];
    rows.push(row(Op::Reduce(Reduce::Prod, vec![1]), [given([4, 3], &zeros)]));
    rows.push(row(Op::Reduce(Reduce::Prod, vec![0, 1]), [given([4, 3], &zeros)]));
    rows.push(row(Op::Reduce(Reduce::Prod, vec![0]), [any([1, 4])]));
    for &function in Cumulative::ALL {
        for axis in 0..3 {
            rows.push(row(Op::Cumulative(function, axis), [any([2, 3, 4])]));
        }
    }
    rows.push(row(Op::Cumulative(Cumulative::Prod, 1), [given([4, 3], &zeros)]));
    rows.push(row(Op::Cumulative(Cumulative::Prod, 0), [given([6], &[1.5, 0.0, -2.0, 0.5, 0.0, 3.0])]));
    rows.push(row(Op::TopK(2), [apart([3, 4])]));
    rows.push(row(Op::TopK(4), [apart([4])]));
    rows.push(row(Op::TopK(1), [apart([2, 2, 3])]));

    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let op = || Op::MatMul { trans_a, trans_b };
        let (a, b) = (if trans_a { [4, 2] } else { [2, 4] }, if trans_b { [3, 4] } else { [4, 3] });
        rows.push(row(op(), [any(a), any(b)]));
        rows.push(row(op(), [any([2, a[0], a[1]]), any([2, b[0], b[1]])]));
    }
    rows.extend(convolutions());
    rows.extend(poolings());

    rows.push(row(Op::Gather(0), [any([4, 2]), indices([3], &[3, 0, 3])]));
    rows.push(row(Op::Gather(1), [any([2, 4, 2]), indices([2, 2], &[1, 1, 0, 3])]));
    rows.push(row(Op::Gather(2), [any([2, 2, 3]), indices([], &[1])]));
    rows.push(row(Op::Gather(0), [any([3]), indices([2, 2], &[2, 2, 2, 0])]));
    rows.push(row(Op::ScatterAdd(4), [indices([3], &[2, 0, 2]), any([3, 2])]));
    rows.push(row(Op::ScatterAdd(3), [indices([2, 2], &[1, 1, 1, 2]), any([2, 2, 3])]));
    rows.push(row(Op::ScatterAdd(2), [indices([], &[1]), any([3])]));
    rows.push(row(Op::Reshape(vec![3, 4]), [any([2, 6])]));
    rows.push(row(Op::Reshape(vec![]), [any([1, 1])]));
    rows.push(row(Op::Permute(vec![2, 0, 1]), [any([2, 3, 4])]));
    rows.push(row(Op::Permute(vec![1, 0]), [any([2, 3])]));
    rows.push(row(Op::Broadcast(vec![2, 3, 4]), [any([2, 1, 4])]));
    rows.push(row(Op::Broadcast(vec![3, 2]), [any([1, 1])]));
    rows.push(row(Op::Slice(boxed([1, 0], [3, 2], [1, 1])), [any([4, 3])]));
    rows.push(row(Op::Slice(boxed([1, 0], [6, 5], [2, 3])), [any([6, 5])]));
    rows.push(row(Op::SliceUpdate(boxed([1, 0], [3, 2], [1, 1])), [any([4, 3]), any([2, 2])]));
    rows.push(row(Op::SliceUpdate(boxed([0, 1], [5, 4], [2, 2])), [any([5, 4]), any([3, 2])]));
    rows.push(row(Op::Pad(vec![(1, 0), (0, 2)]), [any([2, 3])]));
    rows.push(row(Op::Concat(1), [any([2, 1]), any([2, 3]), any([2, 2])]));
    rows.push(row(Op::Concat(0), [any([2]), any([3])]));
    rows.push(built("concat of one value twice", [any([2, 2])], |g, v| {
        Ok(vec![g.add(Op::Concat(1), &[v[0], v[0]])?])
    }));
    rows.push(row(Op::Reverse(vec![0, 2]), [any([2, 3, 2])]));
    rows.push(row(Op::Softmax, [any([3, 4])]));
    rows.push(row(Op::Softmax, [any([5])]));
    rows.push(row(Op::LogSoftmax, [any([3, 4])]));
    rows.push(row(Op::LogSoftmax, [any([2, 2, 3])]));

    rows.extend([scan(false), scan(true), scan_with_bystanders(), custom()]);
    rows.extend(recurrent_rows());
    let host = Arc::new(cube(&[2, 3]));
    rows.push(built("host", [any([2, 3])], move |g, v| {
        Ok(vec![g.add(Op::Host(ByRef(Arc::clone(&host))), v)?])
    }));
    rows
}

fn convolutions() -> Vec<Row> {
    let cases = [
        (strided([1], [1], [(0, 0)], 1), vec![2, 5, 2], vec![3, 2, 3]),
        (strided([2], [1], [(1, 2)], 1), vec![1, 6, 2], vec![3, 2, 2]),
        (strided([1], [2], [(2, 0)], 2), vec![1, 6, 4], vec![3, 2, 4]),
        (strided([1, 1], [1, 1], [(1, 1), (1, 1)], 1), vec![1, 3, 4, 2], vec![3, 3, 2, 2]),
        (strided([2, 1], [1, 1], [(0, 1), (1, 0)], 1), vec![1, 4, 3, 1], vec![2, 3, 1, 2]),
        (strided([1, 2], [2, 1], [(1, 1), (0, 0)], 1), vec![1, 5, 4, 1], vec![2, 2, 1, 2]),
        // A stride beyond the kernel leaves cells that no window reads; the last columns are in no window.
        (strided([3, 3], [1, 1], [(0, 0), (0, 0)], 1), vec![1, 5, 6, 1], vec![2, 1, 1, 1]),
        // Depthwise with two filters per channel.
        (strided([1, 1], [1, 1], [(0, 1), (1, 0)], 3), vec![1, 3, 3, 3], vec![2, 2, 1, 6]),
        (
            strided([1, 1, 1], [1, 1, 1], [(0, 0), (1, 0), (0, 1)], 1),
            vec![1, 2, 3, 2, 1],
            vec![2, 2, 1, 1, 2],
        ),
        (
            strided([1, 2, 1], [1, 1, 2], [(0, 0), (0, 0), (1, 1)], 2),
            vec![1, 2, 3, 3, 2],
            vec![1, 2, 2, 1, 2],
        ),
    ];
    let operand = |shape: &[usize]| Operand {
        value: {
            let values = Numbers::new(shape.len() as u64).array(DType::F64, shape).to_vec::<f64>();
            let grid = values.into_iter().map(|x| (x * 64.0).round() / 64.0).collect();
            Array::from_vec(shape, grid).unwrap()
        },
        free: true,
    };
    let mut rows = Vec::new();
    for (spec, x, kernel) in cases {
        let spatial = spec.strides.len();
        let (size, reach) = (x[1..=spatial].to_vec(), kernel[..spatial].to_vec());
        let mut g = Graph::new();
        let (a, b) = (g.input(Type::new(&*x, DType::F64)), g.input(Type::new(&*kernel, DType::F64)));
        let y = g.add(Op::Conv(spec.clone()), &[a, b]).unwrap();
        let y = g.shape(y).to_vec();
        rows.push(row(Op::Conv(spec.clone()), [operand(&x), operand(&kernel)]));
        rows.push(row(Op::ConvGradInput(spec.clone(), size), [operand(&y), operand(&kernel)]));
        rows.push(row(Op::ConvGradKernel(spec, reach), [operand(&x), operand(&y)]));
    }
    rows
}

fn poolings() -> Vec<Row> {
    let one = || pooled([2], [1], [(1, 0)]);
    let two = || pooled([2, 3], [2, 2], [(0, 1), (1, 1)]);
    let three = || pooled([2, 1, 2], [1, 1, 2], [(1, 0), (0, 0), (0, 1)]);
    vec![
        row(Op::MaxPool(one()), [apart([1, 4, 2])]),
        row(Op::MaxPool(two()), [apart([1, 3, 5, 2])]),
        row(Op::MaxPool(three()), [apart([1, 2, 2, 3, 1])]),
        max_pool_grad(one(), [1, 4, 2], [1, 4, 2]),
        max_pool_grad(two(), [2, 3, 5, 1], [2, 2, 3, 1]),
        max_pool_grad(three(), [1, 2, 2, 3, 1], [1, 2, 2, 2, 1]),
        row(Op::AvgPool(one()), [any([2, 4, 2])]),
        row(Op::AvgPool(two()), [any([1, 3, 5, 2])]),
        row(Op::AvgPool(three()), [any([1, 2, 2, 3, 1])]),
        row(Op::AvgPoolGrad(one(), vec![4]), [any([2, 4, 1])]),
        row(Op::AvgPoolGrad(two(), vec![3, 5]), [any([1, 2, 3, 2])]),
        row(Op::AvgPoolGrad(three(), vec![2, 2, 3]), [any([1, 2, 2, 2, 1])]),
    ]
}

/// The rows of operations through which no gradient passes, although they read floats.
fn rows_without() -> Vec<Row> {
    let mut rows = Vec::new();
    for &function in Unary::ALL {
        if domain(function).is_none() && function != Unary::Not {
            rows.push(row(Op::Unary(function), [any([2, 3])]));
        }
    }
    rows.extend(Compare::ALL.iter().map(|&function| row(Op::Compare(function), [any([3]), any([3])])));
    rows.extend(Logical::ALL.iter().map(|&function| {
        built(function.name(), [any([3])], move |g, v| {
            let nan = g.unary(Unary::IsNan, v[0])?;
            Ok(vec![g.add(Op::Logical(function), &[nan, nan])?])
        })
    }));
    rows.extend(ArgReduce::ALL.iter().map(|&function| row(Op::ArgReduce(function, 1), [any([2, 3])])));
    rows.push(row(Op::Cast(DType::I32), [any([3])]));
    rows.push(row(Op::StopGradient, [any([3])]));
    rows.push(built("not", [any([3])], |g, v| {
        let nan = g.unary(Unary::IsNan, v[0])?;
        Ok(vec![g.unary(Unary::Not, nan)?])
    }));
    let silent = Arc::new(HostFn { vjp: None, ..cube(&[3]) });
    rows.push(built("host without vjp", [any([3])], move |g, v| {
        Ok(vec![g.add(Op::Host(ByRef(Arc::clone(&silent))), v)?])
    }));
    rows
}

/// A function of arrays and its gradient, both compiled.
struct Function {
    f: keras_core::backend::Program<Reference>,
    gradient: keras_core::backend::Program<Reference>,
    /// For each gradient, the position of its operand.
    of: Vec<usize>,
}

/// Compiles Σ y·r with its gradients; `r` are further operands. Where no gradient passes, it is zero.
fn function(graph: &Graph, ys: &[Value], free: &[(usize, Value)], seeds: &[Value]) -> Result<Function> {
    let engine = Engine::new(Reference)?;
    let mut forward = graph.clone();
    forward.set_outputs(ys);
    let mut backward = graph.clone();
    let pairs: Vec<(Value, Value)> = ys.iter().copied().zip(seeds.iter().copied()).collect();
    let xs: Vec<Value> = free.iter().map(|(_, value)| *value).collect();
    let grads = gradients(&mut backward, &pairs, &xs)?;
    let mut outputs = Vec::new();
    let mut of = Vec::new();
    for (grad, (operand, _)) in grads.into_iter().zip(free) {
        if let Some(grad) = grad {
            outputs.push(grad);
            of.push(*operand);
        }
    }
    backward.set_outputs(outputs);
    Ok(Function { f: engine.compile(&forward)?, gradient: engine.compile(&backward)?, of })
}

impl Function {
    fn value(&self, feeds: &[Array], seeds: &[Array]) -> Result<f64> {
        let results = self.f.run(feeds)?;
        Ok(results.iter().zip(seeds).map(|(y, r)| dot(y, r)).sum())
    }

    /// Compares gradients with differences; the worst relative error.
    fn check(&self, feeds: &[Array], free: &[usize], seeds: &[Array]) -> Result<f64> {
        let gradients = self.gradient.run(feeds)?;
        let mut worst: f64 = 0.0;
        for &operand in free {
            let stated = match self.of.iter().position(|&of| of == operand) {
                Some(at) => gradients[at].to_vec::<f64>(),
                None => vec![0.0; feeds[operand].len()],
            };
            assert_eq!(stated.len(), feeds[operand].len(), "the gradient of operand {operand} has its shape");
            let differences = self.differences(feeds, operand, seeds)?;
            let scale = stated.iter().chain(&differences).fold(0.0_f64, |scale, x| scale.max(x.abs()));
            for (a, b) in stated.iter().zip(&differences) {
                // Below a thousandth of the largest component rounding in the sum is all there is to see.
                let size = a.abs().max(b.abs()).max(1e-3 * scale).max(1e-3);
                let error = (a - b).abs() / size;
                worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
            }
            if worst > RELATIVE {
                println!("operand {operand}\n stated      {stated:?}\n differences {differences:?}");
            }
        }
        Ok(worst)
    }

    /// Central differences of fourth order.
    fn differences(&self, feeds: &[Array], operand: usize, seeds: &[Array]) -> Result<Vec<f64>> {
        let mut feeds = feeds.to_vec();
        let original = feeds[operand].clone();
        let dtype = original.dtype();
        let mut found = Vec::with_capacity(original.len());
        for i in 0..original.len() {
            let mut at = |steps: f64| -> Result<f64> {
                let mut values = original.to_vec::<f64>();
                values[i] += steps * STEP;
                feeds[operand] = Array::from_vec(original.shape(), values)?.cast(dtype);
                self.value(&feeds, seeds)
            };
            found.push((8.0 * (at(1.0)? - at(-1.0)?) - (at(2.0)? - at(-2.0)?)) / (12.0 * STEP));
        }
        Ok(found)
    }
}

fn dot(a: &Array, b: &Array) -> f64 {
    a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| a * b).sum()
}

/// A weight for every element, on the grid.
fn weights(ty: &Type, seed: u64) -> Array {
    let values = Numbers::new(seed).array(DType::F64, &ty.shape).to_vec::<f64>();
    let grid = values.into_iter().map(|x| (x * 64.0).round() / 64.0).collect();
    Array::from_vec(&ty.shape, grid).unwrap().cast(ty.dtype)
}

/// The errors of the gradient and of the gradient of the gradient.
fn errors(row: &Row) -> Result<(f64, f64)> {
    let mut g = Graph::new();
    let mut feeds: Vec<Array> = row.operands.iter().map(|operand| operand.value.clone()).collect();
    let xs: Vec<Value> = feeds.iter().map(|x| g.input(Type::new(x.shape(), x.dtype()))).collect();
    let free: Vec<(usize, Value)> =
        xs.iter().copied().enumerate().filter(|(i, _)| row.operands[*i].free).collect();
    let ys: Vec<Value> = (row.build)(&mut g, &xs)?;
    let ys: Vec<Value> = ys.into_iter().filter(|&y| g.ty(y).dtype.is_float()).collect();
    let mut seeds = Vec::new();
    let mut seed_arrays = Vec::new();
    for (i, &y) in ys.iter().enumerate() {
        let ty = g.ty(y).clone();
        seed_arrays.push(weights(&ty, 100 + i as u64));
        seeds.push((feeds.len(), g.input(ty)));
        feeds.push(seed_arrays[i].clone());
    }
    let seed_values: Vec<Value> = seeds.iter().map(|(_, value)| *value).collect();
    let positions: Vec<usize> = free.iter().map(|(i, _)| *i).collect();
    let first = function(&g, &ys, &free, &seed_values)?;
    assert_eq!(first.of, positions, "{}: a gradient for every operand", row.title);
    let first_error = first.check(&feeds, &positions, &seed_arrays)?;

    // Σ gradient·q as a function of the operands and of r.
    let pairs: Vec<(Value, Value)> = ys.iter().copied().zip(seed_values).collect();
    let targets: Vec<Value> = free.iter().map(|(_, value)| *value).collect();
    let grads: Vec<Value> = gradients(&mut g, &pairs, &targets)?.into_iter().flatten().collect();
    let mut again = Vec::new();
    let mut again_arrays = Vec::new();
    for (i, &grad) in grads.iter().enumerate() {
        let ty = g.ty(grad).clone();
        again_arrays.push(weights(&ty, 200 + i as u64));
        again.push(g.input(ty));
        feeds.push(again_arrays[i].clone());
    }
    let all: Vec<(usize, Value)> = free.iter().chain(&seeds).copied().collect();
    let second = function(&g, &grads, &all, &again)?;
    let positions: Vec<usize> = all.iter().map(|(i, _)| *i).collect();
    Ok((first_error, second.check(&feeds, &positions, &again_arrays)?))
}

#[test]
fn gradients_equal_differences() {
    let mut failures = Vec::new();
    let rows = rows();
    for row in &rows {
        match errors(row) {
            Ok((first, second)) if first <= RELATIVE && second <= RELATIVE => {}
            Ok((first, second)) => failures.push(format!("{}: {first:.1e}, {second:.1e}", row.title)),
            Err(error) => failures.push(format!("{}: {error}", row.title)),
        }
    }
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

/// The differences notice a gradient that is off by a hundred thousandth, and one that is missing.
#[test]
fn wrong_gradients_are_found() {
    let scaled = |factor: f64| {
        let custom = Arc::new(CustomVjp {
            name: "scaled".into(),
            vjp: Box::new(move |g, dy, _| Ok(vec![Some(g.binary_scalar(Binary::Mul, dy, factor)?)])),
        });
        built("scaled", [any([3])], move |g, v| {
            let y = g.binary_scalar(Binary::Mul, v[0], 3.0)?;
            Ok(vec![g.add(Op::CustomVjp(ByRef(Arc::clone(&custom))), &[y, v[0]])?])
        })
    };
    assert!(errors(&scaled(3.0)).unwrap().0 <= RELATIVE);
    assert!(errors(&scaled(3.00003)).unwrap().0 > RELATIVE);
    // x² with the gradient 2x that is constant to the second order.
    let frozen = built("frozen", [any([3])], |g, v| {
        let fixed = g.add(Op::StopGradient, &[v[0]])?;
        let twice = g.binary_scalar(Binary::Mul, fixed, 2.0)?;
        let square = g.unary(Unary::Square, v[0])?;
        let custom = CustomVjp {
            name: "frozen".into(),
            vjp: Box::new(|g, dy, others| Ok(vec![Some(g.binary(Binary::Mul, dy, others[1])?), None])),
        };
        Ok(vec![g.add(Op::CustomVjp(ByRef(Arc::new(custom))), &[square, v[0], twice])?])
    });
    let (first, second) = errors(&frozen).unwrap();
    assert!(first <= RELATIVE && second > RELATIVE, "{first} {second}");
}

#[test]
fn no_gradient_passes_what_is_not_differentiable() {
    for row in rows_without() {
        let mut g = Graph::new();
        let xs: Vec<Value> = row
            .operands
            .iter()
            .map(|operand| g.input(Type::new(operand.value.shape(), operand.value.dtype())))
            .collect();
        let ys = (row.build)(&mut g, &xs).unwrap();
        let y = g.add(Op::Cast(DType::F64), &[ys[0]]).unwrap();
        let dy = g.full_like(y, 1.0).unwrap();
        let grads = gradients(&mut g, &[(y, dy)], &xs).unwrap();
        assert!(grads.iter().all(Option::is_none), "{}", row.title);
    }
}

#[test]
fn no_operation_is_missing() {
    let found = |rows: &[Row]| -> BTreeSet<usize> {
        rows.iter()
            .map(|row| {
                let mut g = Graph::new();
                let xs: Vec<Value> = row
                    .operands
                    .iter()
                    .map(|operand| g.input(Type::new(operand.value.shape(), operand.value.dtype())))
                    .collect();
                let ys = (row.build)(&mut g, &xs).unwrap();
                member(&g.node(ys[0]).op)
            })
            .collect()
    };
    let (checked, without) = (found(&rows()), found(&rows_without()));
    for (i, (name, treatment)) in MEMBERS.iter().enumerate() {
        match treatment {
            Treatment::Checked => assert!(checked.contains(&i), "{name} has no row"),
            Treatment::Without => {
                assert!(without.contains(&i) && !checked.contains(&i), "{name} has no row without gradient");
            }
            Treatment::Source | Treatment::Fused => {
                assert!(!checked.contains(&i) && !without.contains(&i), "{name} has a row");
            }
        }
    }
}

/// The gradients of Σ y·dy for arrays.
fn gradient_of(
    feeds: &[Array],
    dy: &Array,
    build: impl Fn(&mut Graph, &[Value]) -> Result<Value>,
) -> Vec<Vec<f64>> {
    let mut g = Graph::new();
    let xs: Vec<Value> = feeds.iter().map(|x| g.input(Type::new(x.shape(), x.dtype()))).collect();
    let y = build(&mut g, &xs).unwrap();
    let seed = g.constant(dy.clone());
    let grads = gradients(&mut g, &[(y, seed)], &xs).unwrap();
    g.set_outputs(grads.into_iter().flatten().collect::<Vec<_>>());
    let results = Engine::new(Reference).unwrap().compile(&g).unwrap().run(feeds).unwrap();
    results.iter().map(Array::to_vec).collect()
}

/// `tf.gradients(tf.reduce_max([[1, 3, 3], [2, 2, 2]], 1))` shares 1 and 2 among the ties.
#[test]
fn tied_extremes_of_a_reduction_share_the_gradient() {
    let x = Array::from([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]);
    let dy = Array::from([1.0, 2.0]);
    let max = gradient_of(std::slice::from_ref(&x), &dy, |g, x| g.reduce(Reduce::Max, x[0], &[1]));
    assert_eq!(max[0], [0.0, 0.5, 0.5, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
    let min = gradient_of(&[x], &dy, |g, x| g.reduce(Reduce::Min, x[0], &[1]));
    assert_eq!(min[0], [1.0, 0.0, 0.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
}

/// TensorFlow's `_MaximumMinimumGrad`: all of it to the first operand where both are equal.
#[test]
fn of_equal_operands_the_first_gets_the_gradient() {
    let (a, b) = (Array::from([1.0, 2.0, 3.0]), Array::from([1.0, 3.0, 2.0]));
    let dy = Array::from([5.0, 6.0, 7.0]);
    let feeds = [a, b];
    let max = gradient_of(&feeds, &dy, |g, x| g.binary(Binary::Max, x[0], x[1]));
    assert_eq!(max, [vec![5.0, 0.0, 7.0], vec![0.0, 6.0, 0.0]]);
    let min = gradient_of(&feeds, &dy, |g, x| g.binary(Binary::Min, x[0], x[1]));
    assert_eq!(min, [vec![5.0, 6.0, 0.0], vec![0.0, 0.0, 7.0]]);
}

/// Max-pool and top-k give the gradient to the first of equal elements, relu none at zero, abs none at zero.
#[test]
fn ties_and_kinks_elsewhere() {
    let x = Array::from_vec(&[1, 4, 1], vec![2.0, 2.0, 1.0, 1.0]).unwrap();
    let dy = Array::from_vec(&[1, 2, 1], vec![1.0, 3.0]).unwrap();
    let spec = pooled([2], [2], [(0, 0)]);
    let pooled = gradient_of(&[x], &dy, |g, x| g.add(Op::MaxPool(spec.clone()), x));
    assert_eq!(pooled[0], [1.0, 0.0, 3.0, 0.0]);
    let top = gradient_of(&[Array::from([1.0, 5.0, 5.0])], &Array::from([2.0]), |g, x| g.add(Op::TopK(1), x));
    assert_eq!(top[0], [0.0, 2.0, 0.0]);
    let ones = Array::from([1.0, 1.0, 1.0]);
    let at = [Array::from([-1.0, 0.0, 2.0])];
    assert_eq!(gradient_of(&at, &ones, |g, x| g.unary(Unary::Relu, x[0]))[0], [0.0, 0.0, 1.0]);
    assert_eq!(gradient_of(&at, &ones, |g, x| g.unary(Unary::Abs, x[0]))[0], [-1.0, 0.0, 1.0]);
}

/// The user's gradient is used, not the true one, and the forward value is the operand's.
#[test]
fn a_custom_gradient_replaces_the_true_one() {
    let x = [Array::from([1.0, 2.0])];
    let grads = gradient_of(&x, &Array::from([1.0, 10.0]), |g, x| {
        let square = g.unary(Unary::Square, x[0])?;
        let custom = CustomVjp {
            name: "seven".into(),
            vjp: Box::new(|g, dy, _| Ok(vec![Some(g.binary_scalar(Binary::Mul, dy, 7.0)?)])),
        };
        g.add(Op::CustomVjp(ByRef(Arc::new(custom))), &[square, x[0]])
    });
    assert_eq!(grads[0], [7.0, 70.0]);
}

/// Empty operands have empty gradients.
#[test]
fn gradients_of_empty_tensors() {
    let empty = [Array::zeros(DType::F64, &[2, 0]).unwrap()];
    let two = Array::from([1.0, 2.0]);
    for function in Reduce::ALL {
        let grads = gradient_of(&empty, &two, |g, x| g.reduce(*function, x[0], &[1]));
        assert_eq!(grads, [Vec::<f64>::new()], "{function:?}");
    }
    for function in Cumulative::ALL {
        let grads = gradient_of(&empty, &empty[0], |g, x| g.add(Op::Cumulative(*function, 1), x));
        assert_eq!(grads, [Vec::<f64>::new()], "{function:?}");
    }
    let k0 = gradient_of(&[Array::from([1.0, 2.0])], &Array::zeros(DType::F64, &[0]).unwrap(), |g, x| {
        g.add(Op::TopK(0), x)
    });
    assert_eq!(k0, [vec![0.0, 0.0]]);
}
