//! Operations that move elements, for every element type, bit for bit; indices inside and outside; sources.

use crate::case::{Case, Computation, Numbers, array};
use keras_core::backend::Scalar;
use keras_core::graph::{Distribution, Op, SliceSpec, Type};
use keras_core::{Array, DType};

const NAN: f64 = f64::NAN;

/// Every order of `n` axes.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let inserted = |at: usize| {
        shorter.iter().map(move |rest| {
            let mut perm = rest.clone();
            perm.insert(at, n - 1);
            perm
        })
    };
    (0..n).flat_map(inserted).collect()
}

fn shapes(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(30);
    let shape = [2, 3, 1, 4, 5];
    for dtype in DType::ALL {
        for rank in 0..=5 {
            let short = dtype != DType::F32 && rank >= 4;
            for perm in permutations(rank).into_iter().step_by(if short { 7 } else { 1 }) {
                let x = numbers.array(dtype, &shape[..rank]);
                cases.push(Case::new(format!("{perm:?}"), Op::Permute(perm), [x]));
            }
        }
        for (from, to) in [
            (&[][..], &[1, 1][..]),
            (&[1], &[]),
            (&[6], &[2, 3]),
            (&[2, 3, 4], &[24]),
            (&[2, 3, 4], &[4, 1, 6]),
            (&[2, 3, 4], &[2, 1, 3, 1, 4]),
        ] {
            let x = numbers.array(dtype, from);
            cases.push(Case::new(format!("to {to:?}"), Op::Reshape(to.to_vec()), [x]));
        }
        let x = numbers.array(dtype, &[2, 3, 4]);
        let whole = SliceSpec { starts: vec![0, 1, 0], stops: vec![4, 3, 2], steps: vec![2, 1, 1] };
        let views = [Op::Permute(vec![2, 1, 0]), Op::Slice(whole), Op::Reverse(vec![1])];
        cases.push(Case::new("", Op::Reshape(vec![4, 2]), [x.clone()]).through(views.clone()));
        cases.push(Case::new("", Op::Permute(vec![1, 2, 0]), [x]).through(views));
        for bits in 0..8_usize {
            let from: Vec<usize> =
                [2, 3, 4].iter().enumerate().map(|(i, &n)| if bits >> i & 1 == 1 { 1 } else { n }).collect();
            let x = numbers.array(dtype, &from);
            cases.push(Case::new("to [2, 3, 4]", Op::Broadcast(vec![2, 3, 4]), [x]));
            let axes: Vec<usize> = (0..3).filter(|i| bits >> i & 1 == 1).collect();
            let x = numbers.array(dtype, &[2, 3, 4]);
            cases.push(Case::new(format!("axes {axes:?}"), Op::Reverse(axes), [x]));
        }
        let x = numbers.array(dtype, &[2, 1, 3, 1, 2]);
        cases.push(Case::new("", Op::Broadcast(vec![2, 4, 3, 5, 2]), [x]));
        cases.push(Case::new("", Op::Broadcast(vec![7]), [numbers.array(dtype, &[1])]));
    }
}

/// Shape, starts, stops, steps.
type Box_ = (&'static [usize], &'static [usize], &'static [usize], &'static [usize]);

#[rustfmt::skip]
const BOXES: &[Box_] = &[
    (&[7], &[0], &[7], &[1]),
    (&[7], &[2], &[5], &[1]),
    (&[7], &[6], &[7], &[1]),
    (&[7], &[0], &[7], &[2]),
    (&[7], &[1], &[7], &[3]),
    (&[7], &[1], &[6], &[9]),
    (&[1], &[0], &[1], &[1]),
    (&[4, 5], &[1, 0], &[3, 5], &[1, 1]),
    (&[4, 5], &[0, 2], &[4, 4], &[1, 1]),
    (&[4, 5], &[0, 1], &[4, 5], &[3, 2]),
    (&[4, 5], &[3, 4], &[4, 5], &[1, 1]),
    (&[3, 4, 5], &[0, 1, 0], &[3, 2, 5], &[1, 1, 1]),
    (&[3, 4, 5], &[1, 0, 1], &[3, 4, 5], &[1, 2, 3]),
    (&[2, 3, 1, 4], &[0, 1, 0, 1], &[2, 3, 1, 4], &[1, 1, 1, 2]),
    (&[2, 3, 2, 3, 4], &[1, 0, 0, 1, 1], &[2, 3, 2, 3, 4], &[1, 2, 1, 1, 2]),
];

fn boxes(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(31);
    for dtype in DType::ALL {
        for (shape, starts, stops, steps) in BOXES {
            let spec = SliceSpec { starts: starts.to_vec(), stops: stops.to_vec(), steps: steps.to_vec() };
            let title = format!("{starts:?}..{stops:?} by {steps:?}");
            let x = numbers.array(dtype, shape);
            cases.push(Case::new(&title, Op::Slice(spec.clone()), [x.clone()]));
            let update = numbers.array(dtype, &spec.shape());
            cases.push(Case::new(&title, Op::SliceUpdate(spec), [x, update]));
        }
        for pads in [
            vec![(0, 0), (0, 0), (0, 0)],
            vec![(1, 0), (0, 0), (0, 0)],
            vec![(0, 0), (0, 2), (0, 0)],
            vec![(0, 0), (0, 0), (3, 1)],
            vec![(1, 2), (2, 1), (1, 1)],
        ] {
            let x = numbers.array(dtype, &[2, 1, 4]);
            cases.push(Case::new(format!("{pads:?}"), Op::Pad(pads), [x]));
        }
        for axis in 0..3 {
            for lens in [&[2][..], &[1, 3], &[2, 1, 4], &[1, 1, 1, 1, 1]] {
                let part = |&len: &usize| {
                    let mut shape = [2, 3, 2];
                    shape[axis] = len;
                    numbers.array(dtype, &shape)
                };
                let parts: Vec<Array> = lens.iter().map(part).collect();
                cases.push(Case::new(format!("axis {axis}"), Op::Concat(axis), parts));
            }
        }
    }
    let exact = array(DType::F32, &[2, 3], vec![-0.0, NAN, f64::INFINITY, 1e-40, -1e-45, 0.0]);
    let everything = SliceSpec { starts: vec![0, 0], stops: vec![2, 3], steps: vec![1, 1] };
    for op in [
        Op::Permute(vec![1, 0]),
        Op::Slice(everything),
        Op::Pad(vec![(1, 1), (0, 1)]),
        Op::Reverse(vec![0, 1]),
        Op::Reshape(vec![6]),
    ] {
        cases.push(Case::new("keeps bits", op, [exact.clone()]));
    }
    cases.push(Case::new("keeps bits", Op::Concat(0), [exact.clone(), exact]));
}

fn indices(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(32);
    for dtype in DType::ALL {
        for index in [DType::I32, DType::I64] {
            for axis in 0..3 {
                for shape in [&[][..], &[1], &[6], &[2, 3]] {
                    let x = numbers.array(dtype, &[4, 5, 3]);
                    let indices = numbers.array_in(index, shape, 0.0, [4.0, 5.0, 3.0][axis]);
                    cases.push(Case::new(format!("axis {axis}"), Op::Gather(axis), [x, indices]));
                }
            }
            if dtype == DType::Bool {
                continue;
            }
            for (indices, row) in
                [(&[][..], &[3][..]), (&[1], &[]), (&[9], &[3]), (&[9], &[]), (&[2, 5], &[2, 2])]
            {
                let updates = numbers.array(dtype, &[indices, row].concat());
                let indices = numbers.array_in(index, indices, 0.0, 4.0);
                cases.push(Case::new("", Op::ScatterAdd(5), [indices, updates]));
            }
        }
    }
    let rows = numbers.array(DType::F32, &[4, 3]);
    for bad in [-1_i64, 4, i64::MAX, i64::MIN] {
        let indices = Array::from([0_i64, bad, 1]);
        cases.push(Case::new(format!("index {bad}"), Op::Gather(0), [rows.clone(), indices.clone()]).fails());
        let updates = numbers.array(DType::F32, &[3, 2]);
        cases.push(Case::new(format!("index {bad}"), Op::ScatterAdd(4), [indices, updates]).fails());
    }
    for bad in [-1_i32, 3] {
        let gather = Op::Gather(1);
        cases.push(
            Case::new(format!("index {bad}"), gather, [rows.clone(), Array::from([2_i32, bad])]).fails(),
        );
    }
    let embedding =
        [numbers.array(DType::F32, &[500, 33]), numbers.array_in(DType::I32, &[20, 30], 0.0, 500.0)];
    cases.push(Case::new("embedding", Op::Gather(0), embedding));
    let back = [numbers.array_in(DType::I32, &[20, 30], 0.0, 50.0), numbers.array(DType::F32, &[20, 30, 17])];
    cases.push(Case::new("embedding", Op::ScatterAdd(50), back));
}

fn sources(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(33);
    for dtype in DType::ALL {
        for shape in [&[][..], &[1], &[7], &[3, 1, 5], &[2, 1, 3, 1, 2]] {
            let ty = Type::new(shape, dtype);
            let values = match dtype {
                DType::F32 | DType::F64 => {
                    vec![Scalar::Float(-1.25), Scalar::Float(0.1), Scalar::Float(NAN), Scalar::Int(3)]
                }
                DType::Bool => vec![Scalar::Bool(true), Scalar::Bool(false)],
                _ => vec![Scalar::Int(0), Scalar::Int(42), Scalar::Float(3.0)],
            };
            for value in values {
                cases.push(Case::of(format!("{ty} of {value:?}"), Computation::Full(ty.clone(), value), []));
            }
            if dtype != DType::Bool {
                for axis in 0..shape.len() {
                    cases.push(Case::new(format!("{ty}, axis {axis}"), Op::Iota(ty.clone(), axis), []));
                }
            }
            if dtype.is_float() {
                for &distribution in Distribution::ALL {
                    cases.push(Case::of(format!("{ty}"), Computation::Random(ty.clone(), distribution), []));
                }
            }
            cases.push(Case::of("", Computation::Transfer, [numbers.array(dtype, shape)]));
        }
    }
    let large = Type::new([1 << 12, 17], DType::F32);
    for &distribution in Distribution::ALL {
        cases.push(Case::of(format!("{large}"), Computation::Random(large.clone(), distribution), []));
    }
    cases.push(Case::of("", Computation::Full(Type::new([2], DType::I64), Scalar::Int((1 << 53) + 1)), []));
    let exact = [i64::MAX, i64::MIN, (1 << 53) + 1];
    cases.push(Case::of("beyond 2⁵³", Computation::Transfer, [Array::from(exact)]));
    let bits = array(DType::F32, &[5], vec![-0.0, NAN, f64::INFINITY, 1e-40, -1e-45]);
    cases.push(Case::of("keeps bits", Computation::Transfer, [bits]));
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    shapes(&mut cases);
    boxes(&mut cases);
    indices(&mut cases);
    sources(&mut cases);
    cases
}
