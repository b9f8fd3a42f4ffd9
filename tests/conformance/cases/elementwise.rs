//! Elementwise operations: every function, on special values, ordinary ones, and lengths that leave tails.

use super::{FLOATS, INTEGERS, NUMBERS};
use crate::Case;
use crate::case::{Numbers, array};
use keras_core::graph::{Binary, Compare, Logical, Op, Unary};
use keras_core::{Array, DType};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Where functions change their behaviour. No subnormal numbers: hardware may take them for zero.
const SPECIAL: [f64; 24] = [
    0.0, -0.0, NAN, INF, -INF, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3.5, 1e-6, -1e-6, 1e-20, -1e-20,
    1e-3, 0.99999, 1.00001, 20.0, -20.0, 0.693,
];

/// Lengths and ranks: one element, none of the axes, tails of vectors, five axes.
const SHAPES: [&[usize]; 6] = [&[], &[1], &[7], &[67], &[3, 5], &[2, 1, 3, 5, 2]];

/// Where the result is neither trivial nor overflows, beyond the special values.
fn range(op: Unary) -> (f64, f64) {
    match op {
        Unary::Exp | Unary::Sinh | Unary::Cosh | Unary::Expm1 => (-85.0, 85.0),
        Unary::Log | Unary::Log1p | Unary::Sqrt | Unary::Rsqrt => (1e-4, 1e4),
        Unary::Asin | Unary::Acos => (-1.0, 1.0),
        Unary::Sin | Unary::Cos | Unary::Tan => (-300.0, 300.0),
        Unary::Tanh | Unary::Sigmoid | Unary::Softplus => (-30.0, 30.0),
        Unary::Erf => (-4.5, 4.5),
        _ => (-50.0, 50.0),
    }
}

fn unary(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(1);
    for &op in Unary::ALL {
        if op == Unary::Not {
            for shape in SHAPES {
                cases.push(Case::new("", Op::Unary(op), [numbers.array(DType::Bool, shape)]));
            }
            continue;
        }
        let (low, high) = range(op);
        for dtype in FLOATS {
            cases.push(Case::new(
                "special",
                Op::Unary(op),
                [array(dtype, &[SPECIAL.len()], SPECIAL.to_vec())],
            ));
            for shape in SHAPES {
                cases.push(Case::new("", Op::Unary(op), [numbers.array(dtype, shape)]));
            }
            for (title, low, high) in [("wide", low, high), ("small", -1e-3, 1e-3), ("near 1", 0.9, 1.1)] {
                cases.push(Case::new(title, Op::Unary(op), [numbers.array_in(dtype, &[1003], low, high)]));
            }
        }
        if matches!(op, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Square | Unary::Relu) {
            for dtype in INTEGERS {
                for shape in SHAPES {
                    cases.push(Case::new("", Op::Unary(op), [numbers.array(dtype, shape)]));
                }
            }
            let extremes = Array::from([i32::MIN, i32::MAX, -1, 0, 1, 65_536]);
            cases.push(Case::new("wraps", Op::Unary(op), [extremes]));
        }
    }
    // Long enough that work is shared between threads.
    for op in [Unary::Exp, Unary::Tanh, Unary::Relu] {
        cases.push(Case::new("long", Op::Unary(op), [numbers.array(DType::F32, &[300, 401])]));
    }
}

/// Every pair of two lists.
fn pairs(a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b))).unzip()
}

fn binary(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(2);
    let (special_a, special_b) = pairs(&SPECIAL, &SPECIAL);
    for &op in Binary::ALL {
        for dtype in FLOATS {
            let operand = |values: &[f64]| array(dtype, &[values.len()], values.to_vec());
            let specials: (Vec<f64>, Vec<f64>) = match op {
                // The standard leaves nothing open here, but whole exponents of negative numbers get their own case.
                Binary::Pow => {
                    pairs(&SPECIAL, &[0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.5, INF, -INF, NAN])
                }
                _ => (special_a.clone(), special_b.clone()),
            };
            cases.push(Case::new("special", Op::Binary(op), [operand(&specials.0), operand(&specials.1)]));
            for shape in SHAPES {
                let (low, high) = if op == Binary::Pow { (0.01, 3.0) } else { (-2.0, 2.0) };
                let operands =
                    [numbers.array_in(dtype, shape, low, high), numbers.array_in(dtype, shape, -2.0, 2.0)];
                cases.push(Case::new("", Op::Binary(op), operands));
            }
            let wide =
                [numbers.array_in(dtype, &[1003], 0.1, 30.0), numbers.array_in(dtype, &[1003], -20.0, 20.0)];
            cases.push(Case::new("wide", Op::Binary(op), wide));
            cases.push(Case::new("one broadcast", Op::Binary(op), rows(&mut numbers, dtype)));
        }
        if op == Binary::Atan2 {
            continue;
        }
        for dtype in INTEGERS {
            for shape in SHAPES {
                let second = match op {
                    Binary::Pow => numbers.array_in(dtype, shape, 0.0, 5.0),
                    _ => numbers.array(dtype, shape),
                };
                cases.push(Case::new("", Op::Binary(op), [numbers.array(dtype, shape), second]));
            }
        }
        let extremes = [i32::MIN, i32::MAX, -7, -1, 0, 1, 7].map(f64::from);
        let (a, b) = match op {
            Binary::Pow => {
                pairs(&[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 7.0], &[-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 40.0])
            }
            _ => pairs(&extremes, &extremes),
        };
        let operands = [a, b].map(|values| array(DType::I32, &[values.len()], values));
        cases.push(Case::new("wraps, divides by zero", Op::Binary(op), operands));
    }
    let long = [numbers.array(DType::F32, &[300, 401]), numbers.array(DType::F32, &[300, 401])];
    cases.push(Case::new("long", Op::Binary(Binary::Mul), long));
}

/// Two operands, the second with equal rows.
fn rows(numbers: &mut Numbers, dtype: DType) -> [Array; 2] {
    let row: Vec<f64> = numbers.array(dtype, &[5]).to_vec();
    [numbers.array_in(dtype, &[6, 5], 0.1, 2.0), array(dtype, &[6, 5], row.repeat(6))]
}

fn comparisons(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(3);
    let (a, b) = pairs(&SPECIAL, &SPECIAL);
    for &op in Compare::ALL {
        for dtype in FLOATS {
            let operand = |values: &[f64]| array(dtype, &[values.len()], values.to_vec());
            cases.push(Case::new("special", Op::Compare(op), [operand(&a), operand(&b)]));
        }
        for dtype in DType::ALL {
            for shape in SHAPES {
                // Few different values, so that many are equal.
                let mut operand = || numbers.array_in(DType::I32, shape, 0.0, 3.0).cast(dtype);
                cases.push(Case::new("", Op::Compare(op), [operand(), operand()]));
            }
        }
        let large =
            [[i64::MAX, i64::MIN, 1 << 53, 0], [i64::MAX - 1, i64::MAX, (1 << 53) + 1, 0]].map(Array::from);
        cases.push(Case::new("beyond 2⁵³", Op::Compare(op), large));
    }
    for &op in Logical::ALL {
        for shape in SHAPES {
            let operands = [numbers.array(DType::Bool, shape), numbers.array(DType::Bool, shape)];
            cases.push(Case::new("", Op::Logical(op), operands));
        }
    }
    for dtype in DType::ALL {
        for shape in SHAPES {
            let condition = numbers.array(DType::Bool, shape);
            let operands = [condition, numbers.array(dtype, shape), numbers.array(dtype, shape)];
            cases.push(Case::new("", Op::Select, operands));
        }
        let [a, b] = rows(&mut numbers, dtype);
        cases.push(Case::new("one broadcast", Op::Select, [numbers.array(DType::Bool, &[6, 5]), a, b]));
    }
    let hidden = [Array::from([true, false, true]), [NAN, NAN, -0.0].into(), [INF, 2.0, NAN].into()];
    cases.push(Case::new("keeps bits", Op::Select, hidden));
}

fn casts(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(4);
    for from in DType::ALL {
        for to in DType::ALL {
            for shape in [&[][..], &[7], &[67], &[3, 5]] {
                let low = if to == DType::U8 && from.is_float() { 0.0 } else { -9.0 };
                let x = if from == DType::I32 || from == DType::I64 || from.is_float() {
                    numbers.array_in(from, shape, if to == DType::U8 { 0.0 } else { low }, 9.0)
                } else {
                    numbers.array(from, shape)
                };
                cases.push(Case::new(format!("to {to}"), Op::Cast(to), [x]));
            }
        }
    }
    for from in FLOATS {
        let small = array(from, &[8], vec![0.9, -0.9, 1.5, -1.5, 2.999, -0.0, 254.7, 1e-30]);
        for to in [DType::I32, DType::I64] {
            cases.push(Case::new(format!("truncates to {to}"), Op::Cast(to), [small.clone()]));
        }
        let truth = array(from, &[6], vec![0.0, -0.0, 1e-30, NAN, -INF, 3.0]);
        cases.push(Case::new("to truth values", Op::Cast(DType::Bool), [truth]));
        let far = array(from, &[6], vec![1e20, -1e20, NAN, INF, -INF, 3e9]);
        for to in INTEGERS {
            cases.push(Case::new(format!("saturates to {to}"), Op::Cast(to), [far.clone()]));
        }
    }
    let wide = Array::from([i64::MAX, i64::MIN, -1, 300, 70_000, 1 << 40]);
    for to in [DType::I32, DType::U8] {
        cases.push(Case::new(format!("saturates to {to}"), Op::Cast(to), [wide.clone()]));
    }
    let exact = Array::from([i64::MAX, (1 << 53) + 1, 16_777_217, -16_777_219]);
    for to in FLOATS {
        cases.push(Case::new(format!("rounds to {to}"), Op::Cast(to), [exact.clone()]));
    }
    cases.push(Case::new(
        "rounds to float32",
        Op::Cast(DType::F32),
        [Array::from([0.1, 1e300, -1e-300, NAN, 16_777_217.0])],
    ));
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    unary(&mut cases);
    binary(&mut cases);
    comparisons(&mut cases);
    casts(&mut cases);
    // Operands that a chain of views has left in no simple layout.
    let mut numbers = Numbers::new(5);
    for dtype in NUMBERS {
        let x = numbers.array(dtype, &[3, 1, 4]);
        let views = [Op::Broadcast(vec![3, 5, 4]), Op::Permute(vec![2, 0, 1]), Op::Reshape(vec![12, 5])];
        cases.push(Case::new("", Op::Unary(Unary::Abs), [x.clone()]).through(views.clone()));
        let other = numbers.array(dtype, &[12, 5]);
        cases.push(Case::new("", Op::Binary(Binary::Sub), [x, other]).through(views));
    }
    cases
}
