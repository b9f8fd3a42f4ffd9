#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::unreadable_literal, clippy::approx_constant, reason = "values as numpy 2.4 prints them")]

//! Values computed with numpy 2.4 in double precision (erf: Python's `math.erf`), and the table's promises.

use super::*;
use crate::graph::{Instr, KernelInput, KernelOutput, Unary};

const R: Reference = Reference;
const NAN: f64 = f64::NAN;

fn arg(x: &Array) -> Arg<Array> {
    Arg { tensor: x.clone(), writable: false }
}

fn array(shape: &[usize], values: impl IntoIterator<Item = f64>) -> Array {
    Array::from_vec(shape, values.into_iter().collect::<Vec<f64>>()).unwrap()
}

fn count(shape: &[usize]) -> Array {
    array(shape, (0..shape.iter().product::<usize>()).map(|i| i as f64))
}

fn unary_of(op: Unary, x: f64) -> f64 {
    R.unary(op, arg(&x.into())).unwrap().item().unwrap()
}

fn binary_of(op: Binary, a: f64, b: f64) -> f64 {
    R.binary(op, arg(&a.into()), arg(&b.into())).unwrap().item().unwrap()
}

fn close(received: f64, expected: f64, what: &str) {
    assert!(
        (received - expected).abs() <= 4.0 * f64::EPSILON * expected.abs(),
        "{what}: {received} is not {expected}"
    );
}

#[test]
fn functions_of_one_float_are_numpys() {
    const ALL: &[f64] = &[-3.5, -1.0, -0.5, -1e-9, 0.0, 1e-9, 0.25, 0.5, 2.5, 30.0];
    const POSITIVE: &[f64] = &[1e-9, 0.25, 0.5, 1.0, 2.5, 30.0];
    const UNIT: &[f64] = &[-1.0, -0.5, 1e-9, 0.25, 1.0];
    #[rustfmt::skip]
    let table: &[(Unary, &[f64], &[f64])] = &[
        (Unary::Exp, ALL, &[0.0301973834223185, 0.36787944117144233, 0.6065306597126334, 0.999999999, 1.0, 1.000000001, 1.2840254166877414, 1.6487212707001282, 12.182493960703473, 10686474581524.463]),
        (Unary::Expm1, ALL, &[-0.9698026165776815, -0.6321205588285577, -0.3934693402873666, -9.999999995e-10, 0.0, 1.0000000005000001e-9, 0.2840254166877415, 0.6487212707001282, 11.182493960703473, 10686474581523.463]),
        (Unary::Sin, ALL, &[0.35078322768961984, -0.8414709848078965, -0.479425538604203, -1.0e-9, 0.0, 1.0e-9, 0.24740395925452294, 0.479425538604203, 0.5984721441039565, -0.9880316240928618]),
        (Unary::Cos, ALL, &[-0.9364566872907963, 0.5403023058681398, 0.8775825618903728, 1.0, 1.0, 1.0, 0.9689124217106447, 0.8775825618903728, -0.8011436155469337, 0.15425144988758405]),
        (Unary::Tan, ALL, &[-0.3745856401585947, -1.5574077246549023, -0.5463024898437905, -1.0e-9, 0.0, 1.0e-9, 0.25534192122103627, 0.5463024898437905, -0.7470222972386603, -6.405331196646276]),
        (Unary::Atan, ALL, &[-1.2924966677897853, -0.7853981633974483, -0.4636476090008061, -1.0e-9, 0.0, 1.0e-9, 0.24497866312686414, 0.4636476090008061, 1.1902899496825317, 1.5374753309166493]),
        (Unary::Sinh, ALL, &[-16.542627287634996, -1.1752011936438014, -0.5210953054937474, -1.0e-9, 0.0, 1.0e-9, 0.2526123168081683, 0.5210953054937474, 6.0502044810397875, 5343237290762.231]),
        (Unary::Cosh, ALL, &[16.572824671057315, 1.5430806348152437, 1.1276259652063807, 1.0, 1.0, 1.0, 1.0314130998795732, 1.1276259652063807, 6.132289479663686, 5343237290762.231]),
        (Unary::Tanh, ALL, &[-0.9981778976111987, -0.7615941559557649, -0.46211715726000974, -1.0e-9, 0.0, 1.0e-9, 0.24491866240370913, 0.46211715726000974, 0.9866142981514303, 1.0]),
        (Unary::Sigmoid, ALL, &[0.02931223075135632, 0.2689414213699951, 0.3775406687981454, 0.49999999975, 0.5, 0.50000000025, 0.5621765008857981, 0.6224593312018546, 0.9241418199787566, 0.9999999999999065]),
        (Unary::Softplus, ALL, &[0.029750418272620566, 0.31326168751822286, 0.4740769841801067, 0.6931471800599454, 0.6931471805599453, 0.6931471810599453, 0.8259394198788436, 0.9740769841801067, 2.5788897342925496, 30.000000000000092]),
        (Unary::Erf, ALL, &[-0.9999992569016276, -0.8427007929497149, -0.5204998778130465, -1.1283791670955127e-9, 0.0, 1.1283791670955127e-9, 0.2763263901682369, 0.5204998778130465, 0.999593047982555, 1.0]),
        (Unary::Floor, ALL, &[-4.0, -1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 30.0]),
        (Unary::Ceil, ALL, &[-3.0, -1.0, -0.0, -0.0, 0.0, 1.0, 1.0, 1.0, 3.0, 30.0]),
        (Unary::Round, ALL, &[-4.0, -1.0, -0.0, -0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 30.0]),
        (Unary::Sign, ALL, &[-1.0, -1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (Unary::Square, ALL, &[12.25, 1.0, 0.25, 1.0e-18, 0.0, 1.0e-18, 0.0625, 0.25, 6.25, 900.0]),
        (Unary::Log, POSITIVE, &[-20.72326583694641, -1.3862943611198906, -0.6931471805599453, 0.0, 0.9162907318741551, 3.4011973816621555]),
        (Unary::Log1p, POSITIVE, &[9.999999995e-10, 0.22314355131420976, 0.4054651081081644, 0.6931471805599453, 1.252762968495368, 3.4339872044851463]),
        (Unary::Sqrt, POSITIVE, &[3.1622776601683795e-5, 0.5, 0.7071067811865476, 1.0, 1.5811388300841898, 5.477225575051661]),
        (Unary::Rsqrt, POSITIVE, &[31622.776601683792, 2.0, 1.414213562373095, 1.0, 0.6324555320336759, 0.18257418583505536]),
        (Unary::Recip, POSITIVE, &[999999999.9999999, 4.0, 2.0, 1.0, 0.4, 0.03333333333333333]),
        (Unary::Asin, UNIT, &[-1.5707963267948966, -0.5235987755982989, 1.0e-9, 0.25268025514207865, 1.5707963267948966]),
        (Unary::Acos, UNIT, &[3.141592653589793, 2.0943951023931957, 1.5707963257948967, 1.318116071652818, 0.0]),
    ];
    for (op, points, expected) in table {
        assert_eq!(points.len(), expected.len());
        for (&x, &expected) in points.iter().zip(*expected) {
            close(unary_of(*op, x), expected, &format!("{}({x})", op.name()));
        }
    }
    assert!(
        Unary::ALL
            .iter()
            .filter(|op| !table.iter().any(|(other, ..)| other == *op))
            .all(|op| { matches!(op, Unary::Neg | Unary::Abs | Unary::Relu | Unary::IsNan | Unary::Not) })
    );
}

#[test]
fn functions_of_two_floats_are_numpys() {
    const A: [f64; 7] = [7.5, -7.5, 7.5, -7.5, 3.0, -1.0, 0.0];
    const B: [f64; 7] = [2.0, 2.0, -2.0, -2.0, 0.5, 3.0, 5.0];
    #[rustfmt::skip]
    let table: &[(Binary, &[f64])] = &[
        (Binary::Mod, &[1.5, 0.5, -0.5, -1.5, 0.0, 2.0, 0.0]),
        (Binary::Pow, &[56.25, 56.25, 0.017777777777777778, 0.017777777777777778, 1.7320508075688772, -1.0, 0.0]),
        (Binary::Atan2, &[1.3101939350475558, -1.3101939350475558, 1.8313987185422376, -1.8313987185422376, 1.4056476493802699, -0.3217505543966422, 0.0]),
    ];
    for (op, expected) in table {
        for ((a, b), &expected) in A.into_iter().zip(B).zip(*expected) {
            close(binary_of(*op, a, b), expected, &format!("{}({a}, {b})", op.name()));
        }
    }
}

#[test]
fn single_precision_is_rounded_once() {
    let y = R.unary(Unary::Exp, arg(&1.5_f32.into())).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap()[0].to_bits(), 1083140607);
    let tenths = Array::full(&[1000], 0.1_f32).unwrap();
    assert_eq!(R.reduce(Reduce::Sum, &tenths, &[0]).unwrap().item().unwrap(), 100.0);
}

#[test]
fn nan_passes_through_max_min_relu_and_sign() {
    for op in [Unary::Relu, Unary::Sign, Unary::Abs, Unary::Round, Unary::Sigmoid, Unary::Softplus] {
        assert!(unary_of(op, NAN).is_nan(), "{}", op.name());
    }
    for op in [Binary::Max, Binary::Min] {
        assert!(binary_of(op, NAN, 1.0).is_nan() && binary_of(op, 1.0, NAN).is_nan());
    }
    let row = Array::from([[1.0_f32, f32::NAN, 3.0], [1.0, 2.0, 3.0]]);
    for (op, expected) in [(Reduce::Max, 3.0), (Reduce::Min, 1.0)] {
        let y = R.reduce(op, &row, &[1]).unwrap().to_vec::<f32>();
        assert!(y[0].is_nan() && y[1] == expected);
    }
}

#[test]
fn limits_of_the_stable_forms() {
    assert_eq!(unary_of(Unary::Sigmoid, -1000.0), 0.0);
    assert_eq!(unary_of(Unary::Sigmoid, 1000.0), 1.0);
    assert!(unary_of(Unary::Sigmoid, -740.0) > 0.0, "subnormal, not flushed");
    assert_eq!(unary_of(Unary::Softplus, 1000.0), 1000.0);
    assert_eq!(unary_of(Unary::Softplus, f64::NEG_INFINITY), 0.0);
    assert_eq!(unary_of(Unary::Softplus, f64::INFINITY), f64::INFINITY);
}

#[test]
fn comparisons_with_nan_are_ieee() {
    for op in Compare::ALL {
        let y = R.compare(*op, &NAN.into(), &NAN.into()).unwrap();
        assert_eq!(y, (*op == Compare::Ne).into(), "{}", op.name());
    }
    assert_eq!(R.compare(Compare::Eq, &0.0.into(), &(-0.0).into()).unwrap(), true.into());
}

#[test]
fn integers_wrap_and_divide_by_zero_to_zero() {
    let of =
        |op: Binary, a: i32, b: i32| R.binary(op, arg(&a.into()), arg(&b.into())).unwrap().to_vec::<i32>()[0];
    assert_eq!(of(Binary::Add, i32::MAX, 1), i32::MIN);
    assert_eq!([of(Binary::Div, 7, 0), of(Binary::Mod, 7, 0), of(Binary::Div, -7, 2)], [0, 0, -3]);
    assert_eq!(of(Binary::Div, i32::MIN, -1), i32::MIN);
    let remainders = [(7, 3, 1), (-7, 3, 2), (7, -3, -2), (-7, -3, -1)];
    assert!(remainders.into_iter().all(|(a, b, r)| of(Binary::Mod, a, b) == r));
    let powers = [
        (3, 4, 81),
        (-2, 3, -8),
        (7, 0, 1),
        (2, -1, 0),
        (-1, -3, -1),
        (1, -5, 1),
        (0, -1, 0),
        (3, 21, 1870418611),
    ];
    assert!(powers.into_iter().all(|(a, b, p)| of(Binary::Pow, a, b) == p));
    let byte =
        |op: Binary, a: u8, b: u8| R.binary(op, arg(&a.into()), arg(&b.into())).unwrap().to_vec::<u8>()[0];
    assert_eq!([byte(Binary::Sub, 3, 5), byte(Binary::Mul, 16, 17)], [254, 16]);
    assert_eq!(R.unary(Unary::Neg, arg(&i64::MIN.into())).unwrap(), i64::MIN.into());
}

#[test]
fn wrong_element_types_are_errors() {
    let (whole, truth, float) = (Array::from(1_i32), Array::from(true), Array::from(1.0_f32));
    assert!(matches!(R.unary(Unary::Exp, arg(&whole)), Err(Error::DType(_))));
    assert!(matches!(R.unary(Unary::Neg, arg(&truth)), Err(Error::DType(_))));
    assert!(matches!(R.unary(Unary::Not, arg(&float)), Err(Error::DType(_))));
    assert!(matches!(R.binary(Binary::Add, arg(&truth), arg(&truth)), Err(Error::DType(_))));
    assert!(matches!(R.binary(Binary::Atan2, arg(&whole), arg(&whole)), Err(Error::DType(_))));
    assert!(matches!(R.binary(Binary::Add, arg(&whole), arg(&float)), Err(Error::DType(_))));
    assert!(matches!(R.logical(Logical::And, &whole, &whole), Err(Error::DType(_))));
    assert!(matches!(R.select(&whole, arg(&float), arg(&float)), Err(Error::DType(_))));
    assert!(matches!(R.reduce(Reduce::Sum, &truth, &[]), Err(Error::DType(_))));
    assert!(matches!(R.gather(&count(&[2]), &float, 0), Err(Error::DType(_))));
}

#[test]
fn scalar_functions_agree_with_arrays() {
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8] {
        for value in [0.0, 0.3, 1.0, 2.5, 200.0] {
            let x = Array::from(value).cast(dtype);
            let as_scalar = |y: &Array| {
                if dtype.is_float() {
                    Scalar::Float(y.item().unwrap())
                } else {
                    Scalar::Int(y.to_vec::<i64>()[0])
                }
            };
            for &op in Unary::ALL {
                let expected = R.unary(op, arg(&x));
                match (unary(op, Scalar::Float(value), dtype), expected) {
                    (Ok(Scalar::Bool(y)), Ok(expected)) => assert_eq!(expected, y.into()),
                    (Ok(y), Ok(expected)) => {
                        let nan = y.to_f64().is_nan() && expected.item().unwrap().is_nan();
                        assert!(nan || y == as_scalar(&expected), "{}({value}) as {dtype}", op.name());
                    }
                    (y, expected) => assert!(y.is_err() && expected.is_err(), "{}", op.name()),
                }
            }
            for &op in Binary::ALL {
                match (
                    binary(op, Scalar::Float(value), Scalar::Int(3), dtype),
                    R.binary(op, arg(&x), arg(&Array::from(3_i32).cast(dtype))),
                ) {
                    (Ok(y), Ok(expected)) => {
                        assert_eq!(y, as_scalar(&expected), "{}({value}, 3) as {dtype}", op.name());
                    }
                    (y, expected) => assert!(y.is_err() && expected.is_err(), "{}", op.name()),
                }
            }
        }
    }
    assert!(compare(Compare::Gt, Scalar::Int(3), Scalar::Float(2.9), DType::F32));
    assert!(!compare(Compare::Gt, Scalar::Float(2.9), Scalar::Int(2), DType::I32), "2.9 is 2 as an integer");
    assert_eq!(unary(Unary::Not, Scalar::Bool(false), DType::Bool).unwrap(), Scalar::Bool(true));
}

#[test]
fn reductions_are_numpys() {
    let x = array(&[2, 3, 4], (0..24).map(|i| f64::from(i) - 5.0));
    let of = |op: Reduce, axes: &[usize]| R.reduce(op, &x, axes).unwrap();
    assert_eq!(of(Reduce::Sum, &[]), x);
    assert_eq!(of(Reduce::Sum, &[1]), array(&[2, 4], [-3.0, 0.0, 3.0, 6.0, 33.0, 36.0, 39.0, 42.0]));
    assert_eq!(of(Reduce::Sum, &[0, 2]), array(&[3], [20.0, 52.0, 84.0]));
    assert_eq!(of(Reduce::Sum, &[0, 1, 2]), 156.0.into());
    assert_eq!(of(Reduce::Prod, &[2]).to_vec::<f64>(), [120.0, 0.0, 360.0, 5040.0, 24024.0, 73440.0]);
    assert_eq!(of(Reduce::Max, &[0, 1]), array(&[4], [15.0, 16.0, 17.0, 18.0]));
    assert_eq!(of(Reduce::Min, &[1, 2]), array(&[2], [-5.0, 7.0]));
    let sums = R.cumulative(Cumulative::Sum, &x, 1).unwrap().to_vec::<f64>();
    assert_eq!(sums[..12], [-5.0, -4.0, -3.0, -2.0, -6.0, -4.0, -2.0, 0.0, -3.0, 0.0, 3.0, 6.0]);
    let products = R.cumulative(Cumulative::Prod, &x, 2).unwrap().to_vec::<f64>();
    assert_eq!(
        products[12..],
        [7.0, 56.0, 504.0, 5040.0, 11.0, 132.0, 1716.0, 24024.0, 15.0, 240.0, 4080.0, 73440.0]
    );
}

#[test]
fn positions_are_the_first() {
    let x = Array::from([[1.0_f32, 3.0, 3.0], [f32::NAN, 9.0, f32::NAN], [2.0, f32::NAN, 5.0]]);
    assert_eq!(R.arg_reduce(ArgReduce::Max, &x, 1).unwrap(), [1_i64, 0, 1].into());
    assert_eq!(R.arg_reduce(ArgReduce::Min, &Array::from([[2_i32, 1, 1]]), 1).unwrap(), [1_i64].into());
    let (values, found) =
        R.top_k(&Array::from([[1.0_f32, 3.0, 2.0, 3.0], [0.0, f32::NAN, 7.0, 7.0]]), 3).unwrap();
    assert_eq!(found, [[1_i64, 3, 2], [1, 2, 3]].into());
    assert_eq!(values.to_vec::<f32>()[..3], [3.0, 3.0, 2.0]);
    assert!(values.to_vec::<f32>()[3].is_nan());
}

#[test]
fn matrix_products_are_numpys() {
    let (a, b) = (count(&[2, 2, 3]), array(&[2, 3, 2], (0..12).map(|i| f64::from(i) - 3.0)));
    let expected = array(&[2, 2, 2], [1.0, 4.0, -8.0, 4.0, 109.0, 130.0, 154.0, 184.0]);
    let swapped = |x: &Array| R.permute(x, &[0, 2, 1]).unwrap();
    assert_eq!(R.matmul(&a, &b, false, false).unwrap(), expected);
    assert_eq!(R.matmul(&swapped(&a), &b, true, false).unwrap(), expected);
    assert_eq!(R.matmul(&a, &swapped(&b), false, true).unwrap(), expected);
    assert_eq!(R.matmul(&swapped(&a), &swapped(&b), true, true).unwrap(), expected);
    assert!(R.matmul(&a, &a, false, false).is_err());
}

#[rustfmt::skip]
#[test]
fn a_strided_dilated_grouped_convolution_and_its_adjoints_are_numpys() {
    let spec = ConvSpec { strides: vec![2, 1], dilations: vec![1, 2], pads: vec![(1, 0), (2, 1)], groups: 2 };
    let x = array(&[1, 4, 5, 4], (0..80).map(|i| f64::from(i % 7) - 3.0));
    let kernel = array(&[2, 3, 2, 4], (0..48).map(|i| f64::from(i % 5) - 2.0));
    let y = R.conv(&spec, &x, &kernel).unwrap();
    assert_eq!(y.shape(), [1, 2, 4, 4]);
    assert_eq!(y.to_vec::<f64>(), [
        4, 1, -3, 2, 0, -7, 5, -15, -5, 1, 0, 3, 1, 4, -5, 5, -5, 10, -6, 2, -3, -4, 6, -1, 1, 8, 5, 3, 0, 4, -13, 5,
    ].map(f64::from));
    let grad = array(&[1, 2, 4, 4], (0..32).map(|i| f64::from(i % 4) - 1.0));
    assert_eq!(R.conv_grad_input(&spec, &[4, 5], &grad, &kernel).unwrap().to_vec::<f64>(), [
        -2, 0, -3, 1, -2, 0, -3, 1, 2, -1, 0, 4, 2, -1, 0, 4, 2, -2, 2, -1, 1, -2, -2, -3, 1, -2, -2, -3, 0, 2, 1, 0,
        0, 2, 1, 0, 1, 2, 5, 2, -2, 0, -3, 1, -2, 0, -3, 1, 2, -1, 0, 4, 2, -1, 0, 4, 2, -2, 2, -1, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ].map(f64::from));
    assert_eq!(R.conv_grad_kernel(&spec, &[2, 3], &x, &grad).unwrap().to_vec::<f64>(), [
        -3, 0, 0, 0, 2, 0, 2, 4, -1, 0, 2, 4, 2, 0, -1, -2, 4, 0, 2, 4, 1, 0, -2, -4, 1, 0, 0, 0, -3, 0, -3, -6, -2,
        0, -3, -6, -3, 0, -2, -4, 1, 0, -3, -6, 2, 0, 3, 6,
    ].map(f64::from));
}

#[test]
fn convolutions_over_one_and_three_axes_are_numpys() {
    let spec =
        |n: usize| ConvSpec { strides: vec![1; n], dilations: vec![1; n], pads: vec![(0, 0); n], groups: 1 };
    let line = R.conv(&spec(1), &count(&[1, 6, 1]), &array(&[3, 1, 1], [1.0, -2.0, 4.0])).unwrap();
    assert_eq!(line, array(&[1, 4, 1], [6.0, 9.0, 12.0, 15.0]));
    let cube = R.conv(&spec(3), &count(&[1, 3, 3, 3, 1]), &count(&[2, 2, 2, 1, 1])).unwrap();
    assert_eq!(cube, array(&[1, 2, 2, 2, 1], [268.0, 296.0, 352.0, 380.0, 520.0, 548.0, 604.0, 632.0]));
}

#[test]
fn pooling_ignores_padding_and_finds_the_first_maximum() {
    let spec = PoolSpec { window: vec![2, 2], strides: vec![2, 2], pads: vec![(1, 0), (0, 1)] };
    let x = array(&[1, 3, 3, 1], [-1.0, -2.0, -3.0, 5.0, 5.0, NAN, 5.0, 4.0, 1.0]);
    let (maxima, positions) = R.max_pool(&spec, &x, true).unwrap();
    let maxima = maxima.to_vec::<f64>();
    assert_eq!(maxima[..3], [-1.0, -3.0, 5.0]);
    assert!(maxima[3].is_nan());
    let positions = positions.unwrap();
    assert_eq!(positions.to_vec::<i32>(), [0, 2, 3, 5]);
    let grad = array(&[1, 2, 2, 1], [1.0, 2.0, 3.0, 4.0]);
    let back = R.max_pool_grad(&spec, &[3, 3], &grad, &positions).unwrap();
    assert_eq!(back.to_vec::<f64>(), [1.0, 0.0, 2.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0]);
    let mean = R.avg_pool(&spec, &count(&[1, 3, 3, 1])).unwrap();
    assert_eq!(mean.to_vec::<f64>(), [0.5, 2.0, 5.0, 6.5]);
    let back = R.avg_pool_grad(&spec, &[3, 3], &grad).unwrap();
    assert_eq!(back.to_vec::<f64>(), [0.5, 0.5, 2.0, 0.75, 0.75, 2.0, 0.75, 0.75, 2.0]);
}

#[test]
fn movement_is_numpys() {
    let x = count(&[2, 3, 4]);
    let taken = R.gather(&x, &Array::from([[2_i32, 0], [1, 1]]), 1).unwrap();
    assert_eq!(taken.shape(), [2, 2, 2, 4]);
    assert_eq!(taken.to_vec::<i32>()[..16], [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]);
    assert_eq!(taken.to_vec::<i32>()[16..20], [20, 21, 22, 23]);
    let spec = SliceSpec { starts: vec![1, 0, 1], stops: vec![2, 3, 4], steps: vec![1, 2, 2] };
    assert_eq!(R.slice(&x, &spec).unwrap(), array(&[1, 2, 2], [13.0, 15.0, 21.0, 23.0]));
    let updated = R.slice_update(arg(&x), &array(&[1, 2, 2], [-1.0, -2.0, -3.0, -4.0]), &spec).unwrap();
    let expected = (0..24).map(|i| match i {
        13 => -1.0,
        15 => -2.0,
        21 => -3.0,
        23 => -4.0,
        other => f64::from(other),
    });
    assert_eq!(updated, array(&[2, 3, 4], expected));
    assert_eq!(R.permute(&x, &[2, 0, 1]).unwrap().to_vec::<i32>()[..9], [0, 4, 8, 12, 16, 20, 1, 5, 9]);
    assert_eq!(R.reverse(&x, &[0, 2]).unwrap().to_vec::<i32>()[..8], [15, 14, 13, 12, 19, 18, 17, 16]);
    let padded = R.pad(&array(&[2, 2], [1.0, 2.0, 3.0, 4.0]), &[(1, 0), (0, 2)]).unwrap();
    assert_eq!(padded, array(&[3, 4], [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0]));
    let row = R.broadcast(&array(&[2, 1], [1.0, 2.0]), &[2, 3]).unwrap();
    assert_eq!(row, array(&[2, 3], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]));
    let joined = R.concat(&[row, array(&[2, 1], [7.0, 8.0])], 1).unwrap();
    assert_eq!(joined, array(&[2, 4], [1.0, 1.0, 1.0, 7.0, 2.0, 2.0, 2.0, 8.0]));
    let places = R.iota(&Type::new([2, 3], DType::I64), 1).unwrap();
    assert_eq!(places, [[0_i64, 1, 2], [0, 1, 2]].into());
}

#[test]
fn scatter_adds_repeated_rows_and_refuses_indices_outside() {
    let updates = Array::from([[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let sum = R.scatter_add(4, &Array::from([2_i64, 0, 2]), &updates).unwrap();
    assert_eq!(sum, [[3.0_f32, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 0.0]].into());
    for bad in [-1_i64, 4] {
        assert!(matches!(R.scatter_add(4, &[bad, 0, 0].into(), &updates), Err(Error::Value(_))));
        assert!(matches!(R.gather(&count(&[4]), &bad.into(), 0), Err(Error::Value(_))));
    }
}

#[test]
fn softmax_is_stable() {
    let x = array(&[2, 3], [1.0, 2.0, 3.0, -1e3, 0.0, 1e3]);
    let y = R.composite(&Op::Softmax, std::slice::from_ref(&x), &[true]).unwrap()[0]
        .as_ref()
        .unwrap()
        .to_vec::<f64>();
    let expected = [0.09003057317038046, 0.24472847105479764, 0.6652409557748218, 0.0, 0.0, 1.0];
    y.iter().zip(expected).for_each(|(&y, expected)| close(y, expected, "softmax"));
    let y = R.composite(&Op::LogSoftmax, &[x], &[true]).unwrap()[0].as_ref().unwrap().to_vec::<f64>();
    let expected = [-2.4076059644443806, -1.4076059644443804, -0.4076059644443804, -2000.0, -1000.0, 0.0];
    y.iter().zip(expected).for_each(|(&y, expected)| close(y, expected, "log_softmax"));
}

/// `relu(a + bias) * rate`, with the bias broadcast over rows; its sum over rows; and whether it is positive.
fn fused() -> Kernel {
    let f = DType::F32;
    Kernel {
        shape: vec![2, 3],
        inputs: vec![
            KernelInput { dtype: f, strides: vec![3, 1] },
            KernelInput { dtype: f, strides: vec![0, 1] },
        ],
        scalars: 1,
        code: vec![
            (Instr::Load(0), f),
            (Instr::Load(1), f),
            (Instr::Binary(Binary::Add, 0, 1), f),
            (Instr::Unary(Unary::Relu, 2), f),
            (Instr::Scalar(0), f),
            (Instr::Binary(Binary::Mul, 3, 4), f),
            (Instr::Const(0.0), f),
            (Instr::Compare(Compare::Gt, 5, 6), DType::Bool),
        ],
        outputs: vec![
            KernelOutput { register: 5, shape: vec![3, 2], alias: Some(0), reduce: None },
            KernelOutput {
                register: 5,
                shape: vec![1, 3],
                alias: None,
                reduce: Some((Reduce::Sum, vec![0])),
            },
            KernelOutput { register: 7, shape: vec![6], alias: None, reduce: None },
        ],
    }
}

#[test]
fn a_kernel_runs_its_instructions_at_every_place() {
    let x = Array::from([[1.0_f32, -2.0, 3.0], [-4.0, 5.0, 6.0]]);
    let bias = Array::from([1.0_f32, 1.0, -4.0]);
    let y = R.kernel(&fused(), vec![arg(&x), arg(&bias)], &[Scalar::Float(0.5)]).unwrap();
    assert_eq!(y[0], [[1.0_f32, 0.0], [0.0, 0.0], [3.0, 1.0]].into());
    assert_eq!(y[1], [[1.0_f32, 3.0, 1.0]].into());
    assert_eq!(y[2], [true, false, false, false, true, true].into());
    assert!(R.kernel(&fused(), vec![arg(&x)], &[]).is_err());
}

#[test]
fn an_epilogue_feeds_the_contraction_in_as_input_0() {
    let (a, b) =
        (Array::from([[1.0_f32, 0.0], [0.0, 2.0]]), Array::from([[1.0_f32, -2.0, 3.0], [-2.0, 2.5, 3.0]]));
    let op = Op::MatMul { trans_a: false, trans_b: false };
    let bias = arg(&[1.0_f32, 1.0, -4.0].into());
    let y = R.epilogue(&op, &[a, b], &fused(), vec![bias], &[Scalar::Float(0.5)]).unwrap();
    assert_eq!(y[0], [[1.0_f32, 0.0], [0.0, 0.0], [3.0, 1.0]].into());
}

#[test]
fn hostile_geometry_is_an_error() {
    let pool = |window: usize, stride: usize, pads: (usize, usize)| PoolSpec {
        window: vec![window],
        strides: vec![stride],
        pads: vec![pads],
    };
    let x = count(&[1, 3, 1]);
    assert!(R.max_pool(&pool(4, 1, (0, 0)), &x, false).is_err());
    assert!(R.max_pool(&pool(2, 0, (0, 0)), &x, false).is_err());
    assert!(R.max_pool(&pool(0, 1, (0, 0)), &x, false).is_err());
    assert!(R.max_pool(&pool(2, 1, (2, 0)), &x, false).is_err(), "a window of padding alone has no maximum");
    let outside = array(&[1, 3, 1], [0.0; 3]);
    assert!(
        R.max_pool_grad(
            &pool(1, 1, (0, 0)),
            &[3],
            &outside,
            &Array::from_vec(&[1, 3, 1], vec![0, 1, 3_i32]).unwrap()
        )
        .is_err()
    );
}
