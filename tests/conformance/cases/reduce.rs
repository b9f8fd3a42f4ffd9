//! Reductions over every set of axes, positions with ties and NaN, running sums, the largest k, softmax.

use super::{FLOATS, NUMBERS};
use crate::Case;
use crate::case::{Numbers, array};
use keras_core::graph::{ArgReduce, Cumulative, Op, Reduce};
use keras_core::{Array, DType};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Every set of axes of a rank, ascending.
fn sets(rank: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_usize << rank).map(move |bits| (0..rank).filter(|axis| bits >> axis & 1 == 1).collect())
}

fn operand(numbers: &mut Numbers, op: Reduce, dtype: DType, shape: &[usize]) -> Array {
    match op {
        // Products of many must neither overflow nor vanish.
        Reduce::Prod if dtype.is_float() => numbers.array_in(dtype, shape, 0.7, 1.4),
        _ => numbers.array(dtype, shape),
    }
}

fn reductions(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(10);
    for &op in Reduce::ALL {
        for dtype in NUMBERS {
            for axes in sets(4) {
                let x = operand(&mut numbers, op, dtype, &[2, 3, 4, 5]);
                cases.push(Case::new(format!("over {axes:?}"), Op::Reduce(op, axes), [x]));
            }
            let others: [(&[usize], &[usize]); 6] = [
                (&[], &[]),
                (&[1], &[0]),
                (&[1, 7, 1], &[0, 2]),
                (&[67, 9], &[0]),
                (&[9, 67], &[1]),
                (&[1003], &[0]),
            ];
            for (shape, axes) in others {
                let x = operand(&mut numbers, op, dtype, shape);
                cases.push(Case::new(format!("over {axes:?}"), Op::Reduce(op, axes.to_vec()), [x]));
            }
        }
        for dtype in FLOATS {
            let rows = vec![
                1.0, NAN, 3.0, 2.0, INF, 1.0, 5.0, 0.0, -INF, 2.0, -3.0, 0.5, INF, -INF, 1.0, 2.0, -INF,
                -INF, -INF, -INF, -0.0, 0.0, -0.0, 0.0,
            ];
            for axes in [vec![0], vec![1], vec![0, 1]] {
                let x = array(dtype, &[6, 4], rows.clone());
                cases.push(Case::new(format!("special, over {axes:?}"), Op::Reduce(op, axes), [x]));
            }
            let mut late = vec![1.0; 131];
            if let Some(last) = late.last_mut() {
                *last = NAN;
            }
            cases.push(Case::new("NaN in the tail", Op::Reduce(op, vec![0]), [array(dtype, &[131], late)]));
        }
        let x = operand(&mut numbers, op, DType::F32, &[6, 1, 5]);
        let views = [Op::Broadcast(vec![6, 3, 5]), Op::Permute(vec![1, 2, 0])];
        cases.push(Case::new("", Op::Reduce(op, vec![0, 2]), [x]).through(views));
        let long = operand(&mut numbers, op, DType::F32, &[300, 401]);
        for axes in [vec![0], vec![1], vec![0, 1]] {
            if op == Reduce::Prod {
                continue;
            }
            cases.push(Case::new(format!("long, over {axes:?}"), Op::Reduce(op, axes), [long.clone()]));
        }
    }
    let wraps = Array::from([[i32::MAX, 2, 3], [i32::MIN, -1, 7]]);
    for op in [Reduce::Sum, Reduce::Prod] {
        cases.push(Case::new("wraps", Op::Reduce(op, vec![1]), [wraps.clone()]));
    }
}

fn positions(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(11);
    for &op in ArgReduce::ALL {
        for dtype in NUMBERS {
            for shape in [&[1][..], &[67], &[3, 5], &[2, 3, 4, 5]] {
                for axis in 0..shape.len() {
                    // Few different values, so that there are ties.
                    let x = numbers.array_in(DType::I32, shape, 0.0, 4.0).cast(dtype);
                    cases.push(Case::new(format!("ties, axis {axis}"), Op::ArgReduce(op, axis), [x]));
                }
            }
        }
        for dtype in FLOATS {
            let rows = vec![
                NAN, 1.0, NAN, 2.0, 1.0, 5.0, NAN, 7.0, -INF, -INF, -INF, -INF, INF, INF, 1.0, NAN, 0.0,
                -0.0, 0.0, -0.0,
            ];
            for axis in [0, 1] {
                let x = array(dtype, &[5, 4], rows.clone());
                cases.push(Case::new(format!("special, axis {axis}"), Op::ArgReduce(op, axis), [x]));
            }
        }
    }
    for dtype in NUMBERS {
        for (shape, k) in [(&[1][..], 1), (&[9], 9), (&[3, 7], 1), (&[3, 7], 4), (&[2, 3, 5], 5)] {
            let x = numbers.array_in(DType::I32, shape, 0.0, 4.0).cast(dtype);
            cases.push(Case::new(format!("ties, k = {k}"), Op::TopK(k), [x]));
        }
    }
    for dtype in FLOATS {
        let rows = vec![1.0, NAN, INF, -INF, NAN, 2.0, -1.0, -2.0, -INF, -3.0, -1.0, -1.0];
        cases.push(Case::new("special", Op::TopK(5), [array(dtype, &[2, 6], rows)]));
    }
}

fn running(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(12);
    for &op in Cumulative::ALL {
        for dtype in NUMBERS {
            for shape in [&[1][..], &[31], &[3, 5], &[2, 3, 4]] {
                for axis in 0..shape.len() {
                    let x = if dtype.is_float() {
                        numbers.array_in(dtype, shape, -1.5, 1.5)
                    } else {
                        numbers.array(dtype, shape)
                    };
                    cases.push(Case::new(format!("axis {axis}"), Op::Cumulative(op, axis), [x]));
                }
            }
        }
        for dtype in FLOATS {
            let x = array(dtype, &[2, 4], vec![1.0, NAN, 2.0, 3.0, INF, 1.0, -INF, 1.0]);
            cases.push(Case::new("special", Op::Cumulative(op, 1), [x]));
        }
    }
}

fn softmax(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(13);
    for op in [Op::Softmax, Op::LogSoftmax] {
        for dtype in FLOATS {
            for shape in [&[1][..], &[10], &[5, 1], &[3, 7], &[2, 3, 17], &[4, 67]] {
                cases.push(Case::new("", op.clone(), [numbers.array(dtype, shape)]));
                cases.push(Case::new("wide", op.clone(), [numbers.array_in(dtype, shape, -10.0, 10.0)]));
            }
            let rows = vec![1e4, -1e4, 0.0, -INF, 1.0, 2.0, NAN, 0.0, 1.0, 300.0, 300.0, 300.0];
            cases.push(Case::new("special", op.clone(), [array(dtype, &[4, 3], rows)]));
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    reductions(&mut cases);
    positions(&mut cases);
    running(&mut cases);
    softmax(&mut cases);
    cases
}
