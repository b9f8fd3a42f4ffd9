//! Functions of elements: accuracy against the reference, special values, every element type.

use super::{check, noise, random};
use keras_core::graph::{Binary, Compare, Logical, Op, Unary};
use keras_core::{Array, DType};

const FLOATS: [DType; 2] = [DType::F32, DType::F64];
const NUMBERS: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8];

fn specials() -> Vec<f64> {
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        1.5,
        2.5,
        -2.5,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e-300,
        -1e-300,
        5e-324,
        1e-40,
        -1e-40,
        1.4e-45,
        1e-20,
        -1e-20,
        88.0,
        88.7,
        88.73,
        89.0,
        -87.4,
        -88.0,
        -100.0,
        -103.9,
        -104.5,
        709.5,
        709.79,
        710.0,
        -708.5,
        -740.0,
        -745.2,
        -746.5,
        1e10,
        -1e10,
        1e30,
        1e300,
        -1e300,
        3.4e38,
        -3.4e38,
        0.999_999_9,
        1.000_000_1,
        -0.999_999_9,
        0.927_734_3,
        0.927_734_5,
        8_388_609.0,
        -8_388_607.5,
    ];
    values.extend([0.84, 0.85, 1.24, 1.26, 2.85, 2.86, 5.9, 6.1].iter().flat_map(|x| [*x, -x]));
    values
}

/// Specials, then magnitudes from 1e-6 to 1e6 of both signs, then the neighbourhood of 0.
fn arguments(dtype: DType) -> Array {
    let mut values = specials();
    values.extend(noise(1, 4000).iter().zip(noise(2, 4000)).map(|(x, e)| x * 10_f64.powf(6.0 * e)));
    values.extend(noise(3, 3000).iter().map(|x| x * 20.0));
    values.extend(noise(4, 3000));
    Array::from(values).cast(dtype)
}

#[test]
fn every_function_of_floats() {
    for &op in Unary::ALL.iter().filter(|op| **op != Unary::Not) {
        for dtype in FLOATS {
            check(&Op::Unary(op), &[arguments(dtype)]);
        }
    }
}

#[test]
fn powers_and_angles_of_special_values() {
    for dtype in FLOATS {
        let values = [specials(), vec![3.0, -3.0, 0.25, 7.0, -7.0]].concat();
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for &x in &values {
            for &y in &values {
                a.push(x);
                b.push(y);
            }
        }
        let pair = [Array::from(a).cast(dtype), Array::from(b).cast(dtype)];
        for op in [Binary::Pow, Binary::Atan2, Binary::Mod, Binary::Max, Binary::Min, Binary::Div] {
            check(&Op::Binary(op), &pair);
        }
    }
}

#[test]
fn powers_of_many_numbers() {
    for dtype in FLOATS {
        let base = noise(5, 5000).iter().map(|x| x.abs() * 10.0).collect::<Vec<_>>();
        let exponent = noise(6, 5000).iter().map(|x| x * 30.0).collect::<Vec<_>>();
        check(&Op::Binary(Binary::Pow), &[Array::from(base).cast(dtype), Array::from(exponent).cast(dtype)]);
    }
}

#[test]
fn arithmetic_of_every_number_type() {
    for dtype in NUMBERS {
        let (a, b) = (random(dtype, &[70, 1001], 1), random(dtype, &[70, 1001], 2));
        for &op in Binary::ALL {
            if dtype.is_float() || op != Binary::Atan2 {
                check(&Op::Binary(op), &[a.clone(), b.clone()]);
            }
        }
        for &op in Compare::ALL {
            check(&Op::Compare(op), &[a.clone(), b.clone()]);
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Square, Unary::Relu] {
            check(&Op::Unary(op), std::slice::from_ref(&a));
        }
        let condition = random(dtype, &[70, 1001], 3).cast(DType::Bool);
        check(&Op::Select, &[condition, a, b]);
    }
    let extremes = [i32::MIN, i32::MAX, -1, 0, 1, 46341];
    let pairs: Vec<(i32, i32)> =
        extremes.iter().flat_map(|&a| extremes.iter().map(move |&b| (a, b))).collect();
    let (a, b): (Vec<i32>, Vec<i32>) = pairs.into_iter().unzip();
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Mod, Binary::Pow] {
        check(&Op::Binary(op), &[a.clone().into(), b.clone().into()]);
    }
}

#[test]
fn truth_values() {
    let (a, b) = (Array::from([true, true, false, false]), Array::from([true, false, true, false]));
    for &op in Logical::ALL {
        check(&Op::Logical(op), &[a.clone(), b.clone()]);
    }
    for &op in Compare::ALL {
        check(&Op::Compare(op), &[a.clone(), b.clone()]);
    }
    check(&Op::Unary(Unary::Not), std::slice::from_ref(&a));
    check(&Op::Select, &[a.clone(), b.clone(), a]);
}

#[test]
fn conversions_between_all_types() {
    let values = Array::from(vec![
        0.0,
        -0.0,
        0.4,
        -0.4,
        1.0,
        -1.9,
        255.0,
        256.5,
        -3e9,
        3e9,
        1e19,
        -1e19,
        1e300,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        16_777_217.0,
    ]);
    for from in DType::ALL {
        let x = values.cast(from);
        for to in DType::ALL {
            check(&Op::Cast(to), std::slice::from_ref(&x));
        }
    }
}

#[test]
fn a_value_does_not_depend_on_its_position() {
    for dtype in FLOATS {
        for op in
            [Unary::Exp, Unary::Log, Unary::Tanh, Unary::Sigmoid, Unary::Erf, Unary::Softplus, Unary::Expm1]
        {
            let values = noise(7, 100).iter().map(|x| x * 4.0).collect::<Vec<_>>();
            let x = Array::from(values).cast(dtype);
            let whole = check(&Op::Unary(op), std::slice::from_ref(&x));
            for start in [1, 3, 64, 97] {
                let part = check(&Op::Unary(op), &[x.rows(start, 100).unwrap()]);
                assert!(part[0].same_bits(&whole[0].rows(start, 100).unwrap()), "{} from {start}", op.name());
            }
        }
    }
}
