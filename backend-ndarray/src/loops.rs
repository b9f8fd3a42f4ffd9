//! The loops of the elementwise operations over slices, vectorised for the machine they run on. Every path through
//! the backend (single operations, fused kernels, epilogues, reductions) comes here, so that fusing never changes a bit.

use crate::math::{double, single};
use crate::number::{Convert, Number};
use crate::pool::Plain;
use crate::simd::{Level, Task, dispatch};
use keras_core::DType;
use keras_core::graph::{Binary, Compare, Logical, Reduce, Unary};
use std::marker::PhantomData;

/// A loop from one slice to another of the same length.
pub(crate) type Map<A, B> = fn(&[A], &mut [B]);
/// A loop from two slices to a third.
pub(crate) type Zip<A, B> = fn(&[A], &[A], &mut [B]);
/// A loop that folds a slice into an accumulator elementwise.
pub(crate) type Accumulate<T> = fn(&mut [T], &[T]);
/// A loop that folds equal runs of a slice into one element each, in a fixed order.
pub(crate) type Fold<T> = fn(&[T], &mut [T]);

trait Map1<A, B> {
    fn apply<L: Level>(x: A) -> B;
}

trait Map2<A, B> {
    fn apply<L: Level>(a: A, b: A) -> B;
}

struct Loop1<'a, A, B, F>(&'a [A], &'a mut [B], PhantomData<F>);

impl<A: Copy, B, F: Map1<A, B>> Task for Loop1<'_, A, B, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        for (y, &x) in self.1.iter_mut().zip(self.0) {
            *y = F::apply::<L>(x);
        }
    }
}

fn map<A: Copy, B, F: Map1<A, B>>(x: &[A], y: &mut [B]) {
    dispatch(Loop1(x, y, PhantomData::<F>));
}

struct Loop2<'a, A, B, F>(&'a [A], &'a [A], &'a mut [B], PhantomData<F>);

impl<A: Copy, B, F: Map2<A, B>> Task for Loop2<'_, A, B, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        for ((y, &a), &b) in self.2.iter_mut().zip(self.0).zip(self.1) {
            *y = F::apply::<L>(a, b);
        }
    }
}

fn zip<A: Copy, B, F: Map2<A, B>>(a: &[A], b: &[A], y: &mut [B]) {
    dispatch(Loop2(a, b, y, PhantomData::<F>));
}

struct LoopAcc<'a, T, F>(&'a mut [T], &'a [T], PhantomData<F>);

impl<T: Copy, F: Map2<T, T>> Task for LoopAcc<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        for (y, &x) in self.0.iter_mut().zip(self.1) {
            *y = F::apply::<L>(*y, x);
        }
    }
}

fn accumulate<T: Copy, F: Map2<T, T>>(acc: &mut [T], x: &[T]) {
    dispatch(LoopAcc(acc, x, PhantomData::<F>));
}

/// The number of independent accumulators of a fold.
const LANES: usize = 32;

struct LoopFold<'a, T, F>(&'a [T], &'a mut [T], PhantomData<F>);

trait Monoid<T>: Map2<T, T> {
    const IDENTITY: T;
}

/// Folds a run; in which order follows from its length.
#[inline(always)]
fn fold_run<T: Copy, F: Monoid<T>, L: Level>(x: &[T]) -> T {
    if x.len() < LANES {
        return x.iter().fold(F::IDENTITY, |sum, &x| F::apply::<L>(sum, x));
    }
    let mut lanes = [F::IDENTITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = F::apply::<L>(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = F::apply::<L>(*lane, x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = F::apply::<L>(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

impl<T: Copy, F: Monoid<T>> Task for LoopFold<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let len = self.0.len() / self.1.len().max(1);
        for (y, run) in self.1.iter_mut().zip(self.0.chunks_exact(len.max(1))) {
            *y = fold_run::<T, F, L>(run);
        }
    }
}

fn fold<T: Copy, F: Monoid<T>>(x: &[T], y: &mut [T]) {
    dispatch(LoopFold(x, y, PhantomData::<F>));
}

/// Names a function as a type, so that a loop over it is compiled for it alone.
macro_rules! map1 {
    (<$A:ty, $B:ty> |$x:ident| $value:expr) => {{
        struct F;
        impl Map1<$A, $B> for F {
            #[inline(always)]
            fn apply<L: Level>($x: $A) -> $B {
                $value
            }
        }
        map::<$A, $B, F>
    }};
}

macro_rules! map2 {
    (<$A:ty, $B:ty> |$a:ident, $b:ident| $value:expr) => {{
        struct F;
        impl Map2<$A, $B> for F {
            #[inline(always)]
            fn apply<L: Level>($a: $A, $b: $A) -> $B {
                $value
            }
        }
        zip::<$A, $B, F>
    }};
}

macro_rules! monoid {
    (<$T:ty> $identity:expr, |$a:ident, $b:ident| $value:expr) => {{
        struct F;
        impl Map2<$T, $T> for F {
            #[inline(always)]
            fn apply<L: Level>($a: $T, $b: $T) -> $T {
                $value
            }
        }
        impl Monoid<$T> for F {
            const IDENTITY: $T = $identity;
        }
        (fold::<$T, F>, accumulate::<$T, F>)
    }};
}

/// The loops over elements of one stored type; `None` where an operation does not take it.
pub(crate) trait Loops:
    Number + Convert<f32> + Convert<f64> + Convert<i32> + Convert<i64> + Convert<u8>
{
    fn unary(op: Unary) -> Option<Map<Self, Self>>;
    fn nan_test() -> Map<Self, u8>;
    fn binary(op: Binary) -> Option<Zip<Self, Self>>;
    fn compare(op: Compare) -> Zip<Self, u8>;
    fn reduction(op: Reduce) -> (Fold<Self>, Accumulate<Self>);
    fn identity(op: Reduce) -> Self {
        match op {
            Reduce::Sum => Self::ZERO,
            Reduce::Prod => Self::ONE,
            Reduce::Max => Self::LOWEST,
            Reduce::Min => Self::HIGHEST,
        }
    }
    fn to_truth() -> Map<Self, u8>;
    fn from_f64(value: f64) -> Self;
    fn from_i64(value: i64) -> Self;
}

macro_rules! shared_loops {
    ($T:ty) => {
        fn nan_test() -> Map<Self, u8> {
            map1!(<$T, u8> |x| u8::from(Number::is_nan(x)))
        }
        fn compare(op: Compare) -> Zip<Self, u8> {
            match op {
                Compare::Eq => map2!(<$T, u8> |a, b| u8::from(a == b)),
                Compare::Ne => map2!(<$T, u8> |a, b| u8::from(a != b)),
                Compare::Lt => map2!(<$T, u8> |a, b| u8::from(a < b)),
                Compare::Le => map2!(<$T, u8> |a, b| u8::from(a <= b)),
                Compare::Gt => map2!(<$T, u8> |a, b| u8::from(a > b)),
                Compare::Ge => map2!(<$T, u8> |a, b| u8::from(a >= b)),
            }
        }
        fn reduction(op: Reduce) -> (Fold<Self>, Accumulate<Self>) {
            match op {
                Reduce::Sum => monoid!(<$T> <$T>::ZERO, |a, b| a.add(b)),
                Reduce::Prod => monoid!(<$T> <$T>::ONE, |a, b| a.mul(b)),
                Reduce::Max => monoid!(<$T> <$T>::LOWEST, |a, b| Number::max(a, b)),
                Reduce::Min => monoid!(<$T> <$T>::HIGHEST, |a, b| Number::min(a, b)),
            }
        }
        fn to_truth() -> Map<Self, u8> {
            map1!(<$T, u8> |x| u8::from(x != <$T>::ZERO))
        }
        fn from_f64(value: f64) -> Self {
            value.convert()
        }
        fn from_i64(value: i64) -> Self {
            value.convert()
        }
    };
}

macro_rules! float_loops {
    ($T:ident, $math:ident) => {
        impl Loops for $T {
            fn unary(op: Unary) -> Option<Map<Self, Self>> {
                Some(match op {
                    Unary::Neg => map1!(<$T, $T> |x| -x),
                    Unary::Abs => map1!(<$T, $T> |x| x.abs()),
                    Unary::Sign => map1!(<$T, $T> |x| x.sign()),
                    Unary::Exp => map1!(<$T, $T> |x| $math::exp::<L>(x)),
                    Unary::Expm1 => map1!(<$T, $T> |x| $math::expm1::<L>(x)),
                    Unary::Log => map1!(<$T, $T> |x| $math::log::<L>(x)),
                    Unary::Log1p => map1!(<$T, $T> |x| $math::log1p::<L>(x)),
                    Unary::Sqrt => map1!(<$T, $T> |x| x.sqrt()),
                    Unary::Rsqrt => map1!(<$T, $T> |x| 1.0 / x.sqrt()),
                    Unary::Square => map1!(<$T, $T> |x| x * x),
                    Unary::Recip => map1!(<$T, $T> |x| 1.0 / x),
                    Unary::Sin => map1!(<$T, $T> |x| $math::sin::<L>(x)),
                    Unary::Cos => map1!(<$T, $T> |x| $math::cos::<L>(x)),
                    Unary::Tan => map1!(<$T, $T> |x| $math::tan::<L>(x)),
                    Unary::Asin => map1!(<$T, $T> |x| $math::asin::<L>(x)),
                    Unary::Acos => map1!(<$T, $T> |x| $math::acos::<L>(x)),
                    Unary::Atan => map1!(<$T, $T> |x| $math::atan::<L>(x)),
                    Unary::Sinh => map1!(<$T, $T> |x| $math::sinh::<L>(x)),
                    Unary::Cosh => map1!(<$T, $T> |x| $math::cosh::<L>(x)),
                    Unary::Tanh => map1!(<$T, $T> |x| $math::tanh::<L>(x)),
                    Unary::Sigmoid => map1!(<$T, $T> |x| $math::sigmoid::<L>(x)),
                    Unary::Softplus => map1!(<$T, $T> |x| $math::softplus::<L>(x)),
                    Unary::Relu => map1!(<$T, $T> |x| Number::max(x, 0.0)),
                    Unary::Erf => map1!(<$T, $T> |x| $math::erf::<L>(x)),
                    Unary::Floor => map1!(<$T, $T> |x| x.floor()),
                    Unary::Ceil => map1!(<$T, $T> |x| x.ceil()),
                    Unary::Round => map1!(<$T, $T> |x| x.round_ties_even()),
                    Unary::IsNan | Unary::Not => return None,
                })
            }
            fn binary(op: Binary) -> Option<Zip<Self, Self>> {
                Some(match op {
                    Binary::Add => map2!(<$T, $T> |a, b| a + b),
                    Binary::Sub => map2!(<$T, $T> |a, b| a - b),
                    Binary::Mul => map2!(<$T, $T> |a, b| a * b),
                    Binary::Div => map2!(<$T, $T> |a, b| a / b),
                    Binary::Mod => map2!(<$T, $T> |a, b| Number::rem(a, b)),
                    Binary::Pow => map2!(<$T, $T> |a, b| $math::pow::<L>(a, b)),
                    Binary::Max => map2!(<$T, $T> |a, b| Number::max(a, b)),
                    Binary::Min => map2!(<$T, $T> |a, b| Number::min(a, b)),
                    Binary::Atan2 => map2!(<$T, $T> |a, b| $math::atan2::<L>(a, b)),
                })
            }
            shared_loops!($T);
        }
    };
}

macro_rules! integer_loops {
    ($T:ident) => {
        impl Loops for $T {
            fn unary(op: Unary) -> Option<Map<Self, Self>> {
                Some(match op {
                    Unary::Neg => map1!(<$T, $T> |x| Number::neg(x)),
                    Unary::Abs => map1!(<$T, $T> |x| Number::abs(x)),
                    Unary::Sign => map1!(<$T, $T> |x| Number::sign(x)),
                    Unary::Square => map1!(<$T, $T> |x| x.wrapping_mul(x)),
                    Unary::Relu => map1!(<$T, $T> |x| Number::max(x, 0)),
                    _ => return None,
                })
            }
            fn binary(op: Binary) -> Option<Zip<Self, Self>> {
                Some(match op {
                    Binary::Add => map2!(<$T, $T> |a, b| a.wrapping_add(b)),
                    Binary::Sub => map2!(<$T, $T> |a, b| a.wrapping_sub(b)),
                    Binary::Mul => map2!(<$T, $T> |a, b| a.wrapping_mul(b)),
                    Binary::Div => map2!(<$T, $T> |a, b| Number::div(a, b)),
                    Binary::Mod => map2!(<$T, $T> |a, b| Number::rem(a, b)),
                    Binary::Pow => map2!(<$T, $T> |a, b| integer_pow(a, b)),
                    Binary::Max => map2!(<$T, $T> |a, b| Number::max(a, b)),
                    Binary::Min => map2!(<$T, $T> |a, b| Number::min(a, b)),
                    Binary::Atan2 => return None,
                })
            }
            shared_loops!($T);
        }
    };
}

float_loops!(f32, single);
float_loops!(f64, double);
integer_loops!(i32);
integer_loops!(i64);
integer_loops!(u8);

/// Wrapping power; a negative exponent gives the truncated reciprocal.
fn integer_pow<T: Number + Convert<i64>>(base: T, exponent: T) -> T {
    let mut left: i64 = exponent.convert();
    if left < 0 {
        let odd = left % 2 != 0;
        return if base == T::ONE || (base == T::ONE.neg() && !odd) {
            T::ONE
        } else if base == T::ONE.neg() {
            base
        } else {
            T::ZERO
        };
    }
    let (mut result, mut power) = (T::ONE, base);
    while left > 0 {
        if left % 2 == 1 {
            result = result.mul(power);
        }
        power = power.mul(power);
        left /= 2;
    }
    result
}

/// A function of two truth values.
pub(crate) fn logical(op: Logical) -> Zip<u8, u8> {
    match op {
        Logical::And => map2!(<u8, u8> |a, b| a & b),
        Logical::Or => map2!(<u8, u8> |a, b| a | b),
        Logical::Xor => map2!(<u8, u8> |a, b| a ^ b),
    }
}

/// Negation of truth values.
pub(crate) fn not() -> Map<u8, u8> {
    map1!(<u8, u8> |x| x ^ 1)
}

struct Selection<'a, T>(&'a [u8], &'a [T], &'a [T], &'a mut [T]);

impl<T: Plain> Task for Selection<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        for (((y, &c), &a), &b) in self.3.iter_mut().zip(self.0).zip(self.1).zip(self.2) {
            *y = if c == 0 { b } else { a };
        }
    }
}

/// `where(condition, a, b)`.
pub(crate) fn select<T: Plain>(condition: &[u8], a: &[T], b: &[T], y: &mut [T]) {
    dispatch(Selection(condition, a, b, y));
}

struct Conversion<'a, A, B>(&'a [A], &'a mut [B]);

impl<A: Convert<B>, B: Plain> Task for Conversion<'_, A, B> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        for (y, &x) in self.1.iter_mut().zip(self.0) {
            *y = x.convert();
        }
    }
}

/// Conversion to another numeric type.
pub(crate) fn convert<A: Convert<B>, B: Plain>(x: &[A], y: &mut [B]) {
    dispatch(Conversion(x, y));
}

/// Whether the operation takes elements of that type, and the type of its result.
pub(crate) fn unary_result(op: Unary, dtype: DType) -> Option<DType> {
    match (op, dtype) {
        (Unary::Not, DType::Bool) | (Unary::IsNan, DType::F32 | DType::F64) => Some(DType::Bool),
        (_, DType::Bool) => None,
        (_, DType::F32) => f32::unary(op).map(|_| dtype),
        (_, DType::F64) => f64::unary(op).map(|_| dtype),
        (_, DType::I32 | DType::I64 | DType::U8) => i32::unary(op).map(|_| dtype),
    }
}

/// Whether the operation takes elements of that type. Truth values have a larger and a smaller one, and a product.
pub(crate) fn takes_binary(op: Binary, dtype: DType) -> bool {
    match dtype {
        DType::F32 | DType::F64 => true,
        DType::I32 | DType::I64 | DType::U8 => op != Binary::Atan2,
        DType::Bool => matches!(op, Binary::Max | Binary::Min | Binary::Mul),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::simd::{available, tests::FORCED};
    use keras_core::backend::reference::{Tolerance, tolerance, unary_f64};

    fn arguments() -> Vec<f64> {
        let spread = (0..4000).map(|i| f64::from(i - 2000) * 0.013);
        let special =
            [0.0, -0.0, 1e-30, -1e-30, 1e-310, 1e30, -1e30, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        spread.chain(special).chain([88.7, -103.0, 709.7, -744.0, 1e-40]).collect()
    }

    fn check<T: Loops>(dtype: DType, epsilon: f64, smallest: f64) {
        for &op in Unary::ALL {
            let Some(run) = T::unary(op) else { continue };
            let Tolerance::Ulps(bound) = tolerance(op.name(), dtype) else { continue };
            let x: Vec<T> = arguments().into_iter().map(T::from_f64).collect();
            for isa in available() {
                FORCED.set(Some(isa));
                let mut y = vec![T::ZERO; x.len()];
                run(&x, &mut y);
                FORCED.set(None);
                for (&x, y) in x.iter().zip(y) {
                    let x: f64 = x.convert();
                    let rounded: T = T::from_f64(unary_f64(op, x));
                    let (y, exact): (f64, f64) = (y.convert(), rounded.convert());
                    let allowed = bound * epsilon * exact.abs().max(smallest);
                    let same = y == exact || (y.is_nan() && exact.is_nan()) || (y - exact).abs() <= allowed;
                    assert!(same, "{isa:?} {} of {x:e} is {y:e}, not {exact:e}", op.name());
                }
            }
        }
    }

    #[test]
    fn functions_are_accurate_on_every_instruction_set() {
        check::<f32>(DType::F32, f64::from(f32::EPSILON), f64::from(f32::MIN_POSITIVE));
        check::<f64>(DType::F64, f64::EPSILON, f64::MIN_POSITIVE);
    }
}
