//! Functions of `f64`.

use crate::simd::Level;
use std::f64::consts::LOG2_E;

/// Adding it rounds to an integer in the low bits of the mantissa.
const MAGIC: f64 = 6_755_399_441_055_744.0;
const LN2_HI: f64 = 6.931_471_803_691_238e-1;
const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;

/// `x·2ⁿ` for `n` in −2044..=2044, in two steps so that denormal and infinite results come out.
#[inline(always)]
fn scale(x: f64, n: i64) -> f64 {
    let half = n >> 1;
    let power = |n: i64| f64::from_bits(((n + 1023) << 52) as u64);
    x * power(half) * power(n - half)
}

/// `x = n·ln 2 + r`, |r| ≤ ln 2 / 2: (n, r).
#[inline(always)]
fn reduce<L: Level>(x: f64) -> (i64, f64) {
    let shifted = L::fma64(x, LOG2_E, MAGIC);
    let n = shifted - MAGIC;
    let r = L::fma64(-n, LN2_LO, L::fma64(-n, LN2_HI, x));
    ((shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64), r)
}

/// `(eʳ − 1 − r) / r²` for |r| ≤ ln 2 / 2: the Taylor series, whose remainder is below 4e-18.
#[inline(always)]
fn exp_tail<L: Level>(r: f64) -> f64 {
    let p = L::fma64(1.0 / 6_227_020_800.0, r, 1.0 / 479_001_600.0);
    let p = L::fma64(p, r, 1.0 / 39_916_800.0);
    let p = L::fma64(p, r, 1.0 / 3_628_800.0);
    let p = L::fma64(p, r, 1.0 / 362_880.0);
    let p = L::fma64(p, r, 1.0 / 40_320.0);
    let p = L::fma64(p, r, 1.0 / 5_040.0);
    let p = L::fma64(p, r, 1.0 / 720.0);
    let p = L::fma64(p, r, 1.0 / 120.0);
    let p = L::fma64(p, r, 1.0 / 24.0);
    let p = L::fma64(p, r, 1.0 / 6.0);
    L::fma64(p, r, 0.5)
}

#[inline(always)]
fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

#[inline(always)]
pub(crate) fn exp<L: Level>(x: f64) -> f64 {
    let (n, r) = reduce::<L>(clamp(x, -746.0, 710.0));
    let y = L::fma64(exp_tail::<L>(r), r * r, r) + 1.0;
    scale(y, n.clamp(-2044, 2044))
}

#[inline(always)]
pub(crate) fn expm1<L: Level>(x: f64) -> f64 {
    let (n, r) = reduce::<L>(clamp(x, -40.0, 710.0));
    let n = n.clamp(-64, 2044);
    let q = L::fma64(exp_tail::<L>(r), r * r, r);
    let inverse = f64::from_bits(((1023 - n).max(0) << 52) as u64);
    let y = scale(q + (1.0 - inverse), n);
    let y = if n == 0 { q } else { y };
    if x == 0.0 { x } else { y }
}

/// After fdlibm.
#[inline(always)]
pub(crate) fn log<L: Level>(x: f64) -> f64 {
    let denormal = x < f64::MIN_POSITIVE;
    let scaled = if denormal { x * 18_014_398_509_481_984.0 } else { x };
    let bits = scaled.to_bits() as i64;
    // Shifted so that the mantissa lies in √½..√2.
    let shifted = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd);
    let exponent = (shifted >> 52) - if denormal { 54 } else { 0 };
    let mantissa = f64::from_bits(((shifted & 0x000f_ffff_ffff_ffff) + 0x3fe6_a09e_667f_3bcd) as u64);
    let f = mantissa - 1.0;
    // The exponent as a float by bits: a conversion of 64-bit integers does not vectorise before AVX-512.
    let k = f64::from_bits((MAGIC.to_bits() as i64).wrapping_add(exponent) as u64) - MAGIC;
    let s = f / (2.0 + f);
    let z = s * s;
    let p = L::fma64(1.479_819_860_511_658_6e-1, z, 1.531_383_769_920_937_3e-1);
    let p = L::fma64(p, z, 1.818_357_216_161_805e-1);
    let p = L::fma64(p, z, 2.222_219_843_214_978_4e-1);
    let p = L::fma64(p, z, 2.857_142_874_366_239e-1);
    let p = L::fma64(p, z, 3.999_999_999_940_942e-1);
    let p = L::fma64(p, z, 6.666_666_666_666_735e-1);
    let half_square = 0.5 * f * f;
    let tail = L::fma64(s, L::fma64(p, z, half_square), k * LN2_LO);
    let y = L::fma64(k, LN2_HI, f - (half_square - tail));
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f64::NAN }
}

#[inline(always)]
pub(crate) fn log1p<L: Level>(x: f64) -> f64 {
    let u = 1.0 + x;
    // The logarithm of the rounded sum, and the first-order effect of what the rounding lost.
    let lost = (x - (u - 1.0)) / u;
    let y = log::<L>(u) + lost;
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == -1.0 { f64::NEG_INFINITY } else { y };
    if u == 1.0 { x } else { y }
}

#[inline(always)]
pub(crate) fn tanh<L: Level>(x: f64) -> f64 {
    let magnitude = clamp(x.abs(), 0.0, 22.0);
    let e = expm1::<L>(2.0 * magnitude);
    (e / (e + 2.0)).copysign(x)
}

#[inline(always)]
pub(crate) fn sigmoid<L: Level>(x: f64) -> f64 {
    let e = exp::<L>(-x.abs());
    let numerator = if x >= 0.0 { 1.0 } else { e };
    numerator / (1.0 + e)
}

#[inline(always)]
pub(crate) fn softplus<L: Level>(x: f64) -> f64 {
    let e = exp::<L>(-x.abs());
    let y = log1p::<L>(e);
    y + if x > 0.0 { x } else { 0.0 }
}

#[inline(always)]
pub(crate) fn sinh<L: Level>(x: f64) -> f64 {
    let t = x.abs();
    let e = expm1::<L>(t);
    let moderate = 0.5 * (e + e / (e + 1.0));
    // eᵗ/2 as the product of two halves: eᵗ alone overflows first.
    let root = exp::<L>(0.5 * t);
    let y = if t < 709.0 { moderate } else { 0.5 * root * root };
    y.copysign(x)
}

#[inline(always)]
pub(crate) fn cosh<L: Level>(x: f64) -> f64 {
    let t = x.abs();
    let e = exp::<L>(t);
    let root = exp::<L>(0.5 * t);
    if t < 709.0 { 0.5 * (e + 1.0 / e) } else { 0.5 * root * root }
}

/// `xʸ` with a relative error of about `|y·ln x|` ulp: exact enough to be rounded to `f32`, where `|y·ln x|` is
/// below 104 for every result that is neither 0 nor infinite.
#[inline(always)]
pub(crate) fn pow_moderate<L: Level>(x: f64, y: f64) -> f64 {
    let magnitude = exp::<L>(y * log::<L>(x.abs()));
    let whole = y.trunc() == y;
    let odd = whole && (0.5 * y).trunc() != 0.5 * y;
    let signed = if odd { magnitude.copysign(x) } else { magnitude };
    let outside = x < 0.0 && x != f64::NEG_INFINITY && !whole && y.abs() != f64::INFINITY;
    let value = if outside { f64::NAN } else { signed };
    let one = y == 0.0 || x == 1.0 || (x == -1.0 && y.abs() == f64::INFINITY);
    if one { 1.0 } else { value }
}

macro_rules! standard {
    ($($name:ident),*) => { $(
        #[inline(always)]
        pub(crate) fn $name<L: Level>(x: f64) -> f64 {
            x.$name()
        }
    )* };
}

standard!(sin, cos, tan, asin, acos, atan);

#[inline(always)]
pub(crate) fn pow<L: Level>(x: f64, y: f64) -> f64 {
    x.powf(y)
}

#[inline(always)]
pub(crate) fn atan2<L: Level>(a: f64, b: f64) -> f64 {
    a.atan2(b)
}

const ERF_SMALL: ([f64; 5], [f64; 5]) = (
    [
        1.283_791_670_955_125_6e-1,
        -3.250_421_072_470_015e-1,
        -2.848_174_957_559_851e-2,
        -5.770_270_296_489_442e-3,
        -2.376_301_665_665_016_3e-5,
    ],
    [
        3.979_172_239_591_553_5e-1,
        6.502_224_998_876_729e-2,
        5.081_306_281_875_766e-3,
        1.324_947_380_043_216_4e-4,
        -3.960_228_278_775_368e-6,
    ],
);

const ERF_MIDDLE: ([f64; 7], [f64; 6]) = (
    [
        -2.362_118_560_752_659_4e-3,
        4.148_561_186_837_483e-1,
        -3.722_078_760_357_013e-1,
        3.183_466_199_011_617_5e-1,
        -1.108_946_942_823_966_8e-1,
        3.547_830_432_561_823_6e-2,
        -2.166_375_594_868_790_8e-3,
    ],
    [
        1.064_208_804_008_442_3e-1,
        5.403_979_177_021_71e-1,
        7.182_865_441_419_627e-2,
        1.261_712_198_087_616_4e-1,
        1.363_708_391_202_905e-2,
        1.198_449_984_679_911e-2,
    ],
);

const ERF_LARGE: ([f64; 8], [f64; 8]) = (
    [
        -9.864_944_034_847_148e-3,
        -6.938_585_727_071_818e-1,
        -1.055_862_622_532_329_1e1,
        -6.237_533_245_032_601e1,
        -1.623_966_694_625_734_7e2,
        -1.846_050_929_067_110_4e2,
        -8.128_743_550_630_66e1,
        -9.814_329_344_169_145,
    ],
    [
        1.965_127_166_743_925_7e1,
        1.376_577_541_435_190_4e2,
        4.345_658_774_752_292_3e2,
        6.453_872_717_332_679e2,
        4.290_081_400_275_678_3e2,
        1.086_350_055_417_794_4e2,
        6.570_249_770_319_282,
        -6.042_441_521_485_81e-2,
    ],
);

const ERF_TAIL: ([f64; 7], [f64; 7]) = (
    [
        -9.864_942_924_700_1e-3,
        -7.992_832_376_805_23e-1,
        -1.775_795_491_775_475_2e1,
        -1.606_363_848_558_219_2e2,
        -6.375_664_433_683_896e2,
        -1.025_095_131_611_077_2e3,
        -4.835_191_916_086_514e2,
    ],
    [
        3.033_806_074_348_245_8e1,
        3.257_925_129_965_739e2,
        1.536_729_586_084_437e3,
        3.199_858_219_508_595_5e3,
        2.553_050_406_433_164_4e3,
        4.745_285_412_069_554e2,
        -2.244_095_244_658_582e1,
    ],
);

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

/// After fdlibm: four intervals with a rational function each.
pub(crate) fn erf<L: Level>(x: f64) -> f64 {
    let t = x.abs();
    if x.is_nan() {
        x
    } else if t < 0.843_75 {
        let z = x * x;
        x + x * polynomial(&ERF_SMALL.0, z) / (1.0 + z * polynomial(&ERF_SMALL.1, z))
    } else if t < 1.25 {
        let s = t - 1.0;
        let y = polynomial(&ERF_MIDDLE.0, s) / (1.0 + s * polynomial(&ERF_MIDDLE.1, s));
        (0.845_062_911_510_467_5 + y).copysign(x)
    } else if t < 6.0 {
        let s = 1.0 / (t * t);
        let ratio = if t < 1.0 / 0.35 {
            polynomial(&ERF_LARGE.0, s) / (1.0 + s * polynomial(&ERF_LARGE.1, s))
        } else {
            polynomial(&ERF_TAIL.0, s) / (1.0 + s * polynomial(&ERF_TAIL.1, s))
        };
        let z = f64::from_bits(t.to_bits() & 0xffff_ffff_0000_0000);
        let tail = exp::<L>(-z * z - 0.5625) * exp::<L>((z - t) * (z + t) + ratio) / t;
        (1.0 - tail).copysign(x)
    } else {
        1.0_f64.copysign(x)
    }
}
