//! [`Number`]: the arithmetic that floats and integers share, with the conventions of the graph's operations:
//! integers wrap, dividing them by zero gives 0, remainders have the sign of the divisor, max and min propagate NaN.

use crate::pool::Plain;

/// A stored numeric element.
pub(crate) trait Number: Plain {
    const ZERO: Self;
    const ONE: Self;
    /// Below or equal to everything that is not NaN.
    const LOWEST: Self;
    /// Above or equal to everything that is not NaN.
    const HIGHEST: Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn is_nan(self) -> bool;
    fn from_usize(value: usize) -> Self;

    /// The larger; NaN if either is.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    /// The smaller; NaN if either is.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

macro_rules! float {
    ($type:ty) => {
        impl Number for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$type>::NEG_INFINITY;
            const HIGHEST: Self = <$type>::INFINITY;

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                let rest = self % other;
                if rest == 0.0 {
                    rest.copysign(other)
                } else if (rest < 0.0) == (other < 0.0) {
                    rest
                } else {
                    rest + other
                }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$type>::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                let sign = if self < 0.0 { -1.0 } else { self };
                if self > 0.0 { 1.0 } else { sign }
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
            #[inline(always)]
            fn from_usize(value: usize) -> Self {
                value as $type
            }
        }
    };
}

macro_rules! integer {
    ($type:ty, $neg:expr, $abs:expr, $sign:expr) => {
        impl Number for $type {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$type>::MIN;
            const HIGHEST: Self = <$type>::MAX;

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "for u8")]
            fn rem(self, other: Self) -> Self {
                if other == 0 {
                    return 0;
                }
                let rest = self.wrapping_rem(other);
                if rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                $neg(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                $sign(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
            #[inline(always)]
            fn from_usize(value: usize) -> Self {
                value as $type
            }
        }
    };
}

float!(f32);
float!(f64);
integer!(i32, i32::wrapping_neg, i32::wrapping_abs, i32::signum);
integer!(i64, i64::wrapping_neg, i64::wrapping_abs, i64::signum);
integer!(u8, u8::wrapping_neg, std::convert::identity, |x: u8| u8::from(x != 0));

/// Conversion between stored elements: floats truncate towards zero and saturate, integers saturate.
pub(crate) trait Convert<To>: Plain {
    fn convert(self) -> To;
}

macro_rules! convert {
    ($($from:ty => $to:ty: |$x:ident| $value:expr;)*) => { $(
        impl Convert<$to> for $from {
            #[inline(always)]
            fn convert(self) -> $to {
                let $x = self;
                $value
            }
        }
    )* };
}

convert! {
    f32 => f32: |x| x;
    f32 => f64: |x| f64::from(x);
    f32 => i32: |x| x as i32;
    f32 => i64: |x| x as i64;
    f32 => u8: |x| x as u8;
    f64 => f32: |x| x as f32;
    f64 => f64: |x| x;
    f64 => i32: |x| x as i32;
    f64 => i64: |x| x as i64;
    f64 => u8: |x| x as u8;
    i32 => f32: |x| x as f32;
    i32 => f64: |x| f64::from(x);
    i32 => i32: |x| x;
    i32 => i64: |x| i64::from(x);
    i32 => u8: |x| x.clamp(0, 255) as u8;
    i64 => f32: |x| x as f32;
    i64 => f64: |x| x as f64;
    i64 => i32: |x| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    i64 => i64: |x| x;
    i64 => u8: |x| x.clamp(0, 255) as u8;
    u8 => f32: |x| f32::from(x);
    u8 => f64: |x| f64::from(x);
    u8 => i32: |x| i32::from(x);
    u8 => i64: |x| i64::from(x);
    u8 => u8: |x| x;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_and_remainder_follow_python() {
        assert_eq!((Number::div(7, 0), Number::div(-7, 2), Number::div(i32::MIN, -1)), (0, -3, i32::MIN));
        assert_eq!((Number::rem(-7, 3), Number::rem(7, -3), Number::rem(7, 0)), (2, -2, 0));
        assert_eq!((Number::rem(-7.5_f32, 2.0), Number::rem(7.5_f32, -2.0)), (0.5, -0.5));
        assert_eq!(Number::rem(-1.0_f64, f64::INFINITY), f64::INFINITY);
        assert!(Number::rem(1.0_f64, 0.0).is_nan());
        assert_eq!(Number::rem(250_u8, 7), 5);
    }

    #[test]
    fn nan_wins() {
        assert!(Number::max(f32::NAN, 1.0).is_nan() && Number::max(1.0, f32::NAN).is_nan());
        assert!(Number::min(f64::NAN, 1.0).is_nan() && Number::min(1.0, f64::NAN).is_nan());
        assert_eq!((Number::max(-1, 3), Number::min(-1, 3)), (3, -1));
        assert!(Number::sign(f32::NAN).is_nan());
    }

    #[test]
    fn conversions_saturate() {
        let bytes: [u8; 3] = [(-3.7_f32).convert(), 300_i64.convert(), (-5_i32).convert()];
        assert_eq!(bytes, [0, 255, 0]);
        let ints: [i32; 3] = [(-3.7_f32).convert(), (1_i64 << 40).convert(), f64::NAN.convert()];
        assert_eq!(ints, [-3, i32::MAX, 0]);
    }
}
