//! Functions of `f32`. The common ones are native; the rare ones are computed in `f64` and rounded.

use super::double;
use crate::simd::Level;
use std::f32::consts::LOG2_E;

/// Adding it rounds to an integer in the low bits of the mantissa.
const MAGIC: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;

/// `x·2ⁿ` for `n` in −252..=252, in two steps so that denormal and infinite results come out.
#[inline(always)]
fn scale(x: f32, n: i32) -> f32 {
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    x * power(half) * power(n - half)
}

/// `x = n·ln 2 + r`, |r| ≤ ln 2 / 2: (n, n as a float, r).
#[inline(always)]
fn reduce<L: Level>(x: f32) -> (i32, f32, f32) {
    let shifted = L::fma32(x, LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = L::fma32(-n, LN2_LO, L::fma32(-n, LN2_HI, x));
    ((shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32), n, r)
}

/// `(eʳ − 1 − r) / r²` for |r| ≤ ln 2 / 2 (Cephes).
#[inline(always)]
fn exp_tail<L: Level>(r: f32) -> f32 {
    let p = L::fma32(1.987_569_1e-4, r, 1.398_199_9e-3);
    let p = L::fma32(p, r, 8.333_452e-3);
    let p = L::fma32(p, r, 4.166_579_6e-2);
    let p = L::fma32(p, r, 1.666_666_5e-1);
    L::fma32(p, r, 5.000_000_1e-1)
}

#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

#[inline(always)]
pub(crate) fn exp<L: Level>(x: f32) -> f32 {
    let (n, _, r) = reduce::<L>(clamp(x, -104.0, 89.0));
    let y = L::fma32(exp_tail::<L>(r), r * r, r) + 1.0;
    scale(y, n.clamp(-252, 252))
}

#[inline(always)]
pub(crate) fn expm1<L: Level>(x: f32) -> f32 {
    let (n, _, r) = reduce::<L>(clamp(x, -20.0, 89.0));
    let n = n.clamp(-64, 252);
    let q = L::fma32(exp_tail::<L>(r), r * r, r);
    let inverse = f32::from_bits(((127 - n).max(0) << 23) as u32);
    let y = scale(q + (1.0 - inverse), n);
    let y = if n == 0 { q } else { y };
    if x == 0.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn log<L: Level>(x: f32) -> f32 {
    let denormal = x < f32::MIN_POSITIVE;
    let scaled = if denormal { x * 33_554_432.0 } else { x };
    let bits = scaled.to_bits() as i32;
    // Shifted so that the mantissa lies in √½..√2.
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted >> 23) - if denormal { 25 } else { 0 };
    let mantissa = f32::from_bits(((shifted & 0x007f_ffff) + 0x3f35_04f3) as u32);
    let f = mantissa - 1.0;
    let e = exponent as f32;
    let p = L::fma32(7.037_683_6e-2, f, -1.151_461e-1);
    let p = L::fma32(p, f, 1.167_699_9e-1);
    let p = L::fma32(p, f, -1.242_014_1e-1);
    let p = L::fma32(p, f, 1.424_932_3e-1);
    let p = L::fma32(p, f, -1.666_805_8e-1);
    let p = L::fma32(p, f, 2.000_071_5e-1);
    let p = L::fma32(p, f, -2.499_999_4e-1);
    let p = L::fma32(p, f, 3.333_333_1e-1);
    let square = f * f;
    let y = L::fma32(e, LN2_LO, p * f * square);
    let y = L::fma32(-0.5, square, y);
    let y = L::fma32(e, LN2_HI, f + y);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f32::NAN }
}

#[inline(always)]
pub(crate) fn log1p<L: Level>(x: f32) -> f32 {
    let u = 1.0 + x;
    // The logarithm of the rounded sum, and the first-order effect of what the rounding lost.
    let lost = (x - (u - 1.0)) / u;
    let y = log::<L>(u) + lost;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == -1.0 { f32::NEG_INFINITY } else { y };
    if u == 1.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn tanh<L: Level>(x: f32) -> f32 {
    let magnitude = clamp(x.abs(), 0.0, 10.0);
    let e = expm1::<L>(2.0 * magnitude);
    (e / (e + 2.0)).copysign(x)
}

#[inline(always)]
pub(crate) fn sigmoid<L: Level>(x: f32) -> f32 {
    let e = exp::<L>(-x.abs());
    let numerator = if x >= 0.0 { 1.0 } else { e };
    numerator / (1.0 + e)
}

#[inline(always)]
pub(crate) fn softplus<L: Level>(x: f32) -> f32 {
    let e = exp::<L>(-x.abs());
    let y = log1p::<L>(e);
    y + if x > 0.0 { x } else { 0.0 }
}

/// Two minimax polynomials, after N. Juffa.
#[inline(always)]
pub(crate) fn erf<L: Level>(x: f32) -> f32 {
    let (t, s) = (x.abs(), x * x);
    let r = L::fma32(-1.728_534_7e-5, t, 3.831_979_7e-4);
    let u = L::fma32(-3.883_964_4e-3, t, 2.425_462_2e-2);
    let r = L::fma32(r, s, u);
    let r = L::fma32(r, t, -1.067_778_8e-1);
    let r = L::fma32(r, t, -6.348_468_7e-1);
    let r = L::fma32(r, t, -1.287_175_1e-1);
    let r = L::fma32(r, t, -t);
    let large = (1.0 - exp::<L>(if t < 10.0 { r } else { -104.0 })).copysign(x);
    let r = L::fma32(-5.967_617e-4, s, 4.991_194_2e-3);
    let r = L::fma32(r, s, -2.676_813_5e-2);
    let r = L::fma32(r, s, 1.128_199_2e-1);
    let r = L::fma32(r, s, -3.761_253_4e-1);
    let r = L::fma32(r, s, 1.283_791_7e-1);
    let small = L::fma32(r, x, x);
    if t > 0.927_734_4 { large } else { small }
}

#[inline(always)]
pub(crate) fn pow<L: Level>(x: f32, y: f32) -> f32 {
    double::pow_moderate::<L>(f64::from(x), f64::from(y)) as f32
}

#[inline(always)]
pub(crate) fn sinh<L: Level>(x: f32) -> f32 {
    double::sinh::<L>(f64::from(x)) as f32
}

#[inline(always)]
pub(crate) fn cosh<L: Level>(x: f32) -> f32 {
    double::cosh::<L>(f64::from(x)) as f32
}

macro_rules! widened {
    ($($name:ident),*) => { $(
        #[inline(always)]
        pub(crate) fn $name<L: Level>(x: f32) -> f32 {
            f64::from(x).$name() as f32
        }
    )* };
}

widened!(sin, cos, tan, asin, acos, atan);

#[inline(always)]
pub(crate) fn atan2<L: Level>(a: f32, b: f32) -> f32 {
    f64::from(a).atan2(f64::from(b)) as f32
}
