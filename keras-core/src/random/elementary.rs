//! Logarithm, cosine and sine as plain IEEE arithmetic. The `std` ones call the platform's C library, whose last bits
//! differ from system to system; these give the same bits wherever `+ - * /` round as IEEE 754 demands. No operation
//! here may be fused or reordered. (`sqrt` of `std` is correctly rounded everywhere and needs no replacement.)
//!
//! Written without branches, so that a loop over an array of arguments is vectorised.

/// Horner's rule, lowest power first.
macro_rules! polynomial {
    ($name:ident, $float:ty) => {
        #[inline(always)]
        fn $name<const N: usize>(coefficients: [$float; N], x: $float) -> $float {
            let mut sum = coefficients[N - 1];
            for i in (0..N - 1).rev() {
                sum = sum * x + coefficients[i];
            }
            sum
        }
    };
}
polynomial!(polynomial_f32, f32);
polynomial!(polynomial_f64, f64);

/// ln x for positive normal x; within 2 units in the last place.
///
/// x = 2^k (1 + f) with 1 + f in [√½, √2); with s = f / (2 + f), ln(1 + f) = 2 atanh s = 2s + 2s³/3 + 2s⁵/5 + …, and
/// 2s is written as f − s f, which keeps the error of the division out of the leading term.
#[inline(always)]
pub(super) fn ln_f32(x: f32) -> f32 {
    const SQRT_HALF: i32 = 0x3F35_04F3;
    // ln 2 in two parts; the upper has 8 zero bits at its end, so its product with k is exact.
    const LN_2_UPPER: f32 = f32::from_bits(0x3F31_7200);
    const LN_2_LOWER: f32 = 1.428_606_8e-6;
    let bits = x.to_bits() as i32;
    let exponent = bits.wrapping_sub(SQRT_HALF) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    let k = exponent as f32;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z * polynomial_f32([2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0], z);
    k * LN_2_UPPER + (f - (s * (f - r) - k * LN_2_LOWER))
}

/// [`ln_f32`] in double precision; within 2 units in the last place.
#[inline(always)]
pub(super) fn ln_f64(x: f64) -> f64 {
    const SQRT_HALF: i64 = 0x3FE6_A09E_667F_3BCD;
    // ln 2 in two parts; the upper has 21 zero bits at its end.
    const LN_2_UPPER: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
    const LN_2_LOWER: f64 = 1.908_214_929_270_587_7e-10;
    let bits = x.to_bits() as i64;
    let exponent = bits.wrapping_sub(SQRT_HALF) >> 52;
    let f = f64::from_bits((bits - (exponent << 52)) as u64) - 1.0;
    let k = exponent as f64;
    let s = f / (2.0 + f);
    let z = s * s;
    let coefficients = [
        2.0 / 3.0,
        2.0 / 5.0,
        2.0 / 7.0,
        2.0 / 9.0,
        2.0 / 11.0,
        2.0 / 13.0,
        2.0 / 15.0,
        2.0 / 17.0,
        2.0 / 19.0,
        2.0 / 21.0,
    ];
    let r = z * polynomial_f64(coefficients, z);
    k * LN_2_UPPER + (f - (s * (f - r) - k * LN_2_LOWER))
}

/// (cos, sin) of `turn` / 2³² of a full turn; within 3 units in the last place.
///
/// An integer angle makes the reduction exact: the nearest quarter turn comes off the top bits, and the Taylor series
/// of the rest (at most π/4) end where the next term is below a quarter unit in the last place.
#[inline(always)]
pub(super) fn cos_sin_turn_f32(turn: u32) -> (f32, f32) {
    const UNIT: f32 = (std::f64::consts::TAU / 4_294_967_296.0) as f32;
    let quarters = turn.wrapping_add(1 << 29) >> 30;
    let t = turn.wrapping_sub(quarters << 30) as i32 as f32 * UNIT;
    let z = t * t;
    let cos = 1.0
        - z * polynomial_f32([1.0 / 2.0, -1.0 / 24.0, 1.0 / 720.0, -1.0 / 40_320.0, 1.0 / 3_628_800.0], z);
    let sin = t - t * z * polynomial_f32([1.0 / 6.0, -1.0 / 120.0, 1.0 / 5_040.0, -1.0 / 362_880.0], z);
    let swap = quarters & 1 != 0;
    let (x, y) = (if swap { sin } else { cos }, if swap { cos } else { sin });
    (
        f32::from_bits(x.to_bits() ^ (((quarters + 1) & 2) << 30)),
        f32::from_bits(y.to_bits() ^ ((quarters & 2) << 30)),
    )
}

/// (cos, sin) of `turn` / 2⁶⁴ of a full turn; see [`cos_sin_turn_f32`].
#[inline(always)]
pub(super) fn cos_sin_turn_f64(turn: u64) -> (f64, f64) {
    const UNIT: f64 = std::f64::consts::TAU / 18_446_744_073_709_551_616.0;
    let quarters = turn.wrapping_add(1 << 61) >> 62;
    let t = turn.wrapping_sub(quarters << 62) as i64 as f64 * UNIT;
    let z = t * t;
    let cos_series = [
        1.0 / 2.0,
        -1.0 / 24.0,
        1.0 / 720.0,
        -1.0 / 40_320.0,
        1.0 / 3_628_800.0,
        -1.0 / 479_001_600.0,
        1.0 / 87_178_291_200.0,
        -1.0 / 20_922_789_888_000.0,
        1.0 / 6_402_373_705_728_000.0,
    ];
    let sin_series = [
        1.0 / 6.0,
        -1.0 / 120.0,
        1.0 / 5_040.0,
        -1.0 / 362_880.0,
        1.0 / 39_916_800.0,
        -1.0 / 6_227_020_800.0,
        1.0 / 1_307_674_368_000.0,
        -1.0 / 355_687_428_096_000.0,
    ];
    let cos = 1.0 - z * polynomial_f64(cos_series, z);
    let sin = t - t * z * polynomial_f64(sin_series, z);
    let swap = quarters & 1 != 0;
    let (x, y) = (if swap { sin } else { cos }, if swap { cos } else { sin });
    (
        f64::from_bits(x.to_bits() ^ (((quarters + 1) & 2) << 62)),
        f64::from_bits(y.to_bits() ^ ((quarters & 2) << 62)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// |a − b| in units of the last place of `b` as an `f32`.
    fn ulps_f32(a: f32, b: f64) -> f64 {
        let unit = f64::from((b as f32).abs().next_up()) - f64::from((b as f32).abs());
        (f64::from(a) - b).abs() / unit
    }

    fn ulps_f64(a: f64, b: f64) -> f64 {
        (a - b).abs() / (b.abs().next_up() - b.abs())
    }

    /// Arguments from 2^-60 to 2^3, dense in every binade, and crowded around 1, where ln is 0.
    fn grid() -> impl Iterator<Item = f64> {
        let binades =
            (-60..3).flat_map(|e| (0..4_000).map(move |i| 2f64.powi(e) * (1.0 + f64::from(i) / 4e3)));
        let near_one = (1..40_000).flat_map(|i| [1.0 - f64::from(i) * 1.3e-6, 1.0 + f64::from(i) * 1.3e-6]);
        binades.chain(near_one)
    }

    #[test]
    fn ln_agrees_with_std_to_two_units() {
        let mut worst = (0.0_f64, 0.0_f64);
        for x in grid() {
            let single = x as f32;
            worst.0 = worst.0.max(ulps_f32(ln_f32(single), f64::from(single).ln()));
            worst.1 = worst.1.max(ulps_f64(ln_f64(x), x.ln()));
        }
        assert!(worst.0 <= 2.0 && worst.1 <= 2.0, "{worst:?}");
        assert_eq!((ln_f32(1.0), ln_f64(1.0)), (0.0, 0.0));
    }

    #[test]
    fn cosine_and_sine_agree_with_std_to_three_and_two_units() {
        let mut worst = (0.0_f64, 0.0_f64);
        // An odd step visits all parts of the turn; the eighths below are where the series change over.
        let eighths = (0..8_u32).flat_map(|i| [(i << 29).wrapping_sub(1), i << 29, (i << 29) + 1]);
        for turn in (0..400_000_u32).map(|i| i.wrapping_mul(2_654_435_761)).chain(eighths) {
            let angle = f64::from(turn) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (cos, sin) = cos_sin_turn_f32(turn);
            // Near its zeros std's value carries the rounding of `angle`, up to 9e-16.
            for (ours, exact) in [(cos, angle.cos()), (sin, angle.sin())] {
                if exact.abs() > 1e-7 {
                    worst.0 = worst.0.max(ulps_f32(ours, exact));
                } else {
                    assert!((f64::from(ours) - exact).abs() < 1e-14, "turn {turn}: {ours}, {exact}");
                }
            }
            // Within an eighth of a turn of 0 std needs no reduction and is exact to a unit.
            let small = turn as i32 >> 2;
            let angle = f64::from(small) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (cos, sin) = cos_sin_turn_f64((i64::from(small) << 32) as u64);
            worst.1 = worst.1.max(ulps_f64(cos, angle.cos())).max(ulps_f64(sin, angle.sin()));
        }
        assert!(worst.0 <= 3.0 && worst.1 <= 2.0, "{worst:?}");
    }

    #[test]
    fn quarter_turns_are_exact_and_all_quadrants_are_right() {
        for (quarter, exact) in [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)].into_iter().enumerate() {
            assert_eq!(cos_sin_turn_f64((quarter as u64) << 62), exact);
            let (cos, sin) = cos_sin_turn_f32((quarter as u32) << 30);
            assert_eq!((f64::from(cos), f64::from(sin)), exact);
        }
        for i in 0..100_000_u64 {
            let turn = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let angle = turn as f64 / 2f64.powi(64) * std::f64::consts::TAU;
            let (cos, sin) = cos_sin_turn_f64(turn);
            assert!((cos - angle.cos()).abs() < 2e-15 && (sin - angle.sin()).abs() < 2e-15, "turn {turn}");
        }
    }
}
