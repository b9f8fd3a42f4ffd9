//! [`Stream`]: the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
//! easy as 1, 2, 3", SC 2011), and uniform and normal numbers made of its bits.

use super::elementary::{cos_sin_turn_f32, cos_sin_turn_f64, ln_f32, ln_f64};
use super::mix;

const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const LOW_HALF: u64 = 0xFFFF_FFFF;

/// Blocks computed side by side, one per vector lane. It is part of the order of the elements, so part of the results.
const LANES: usize = 8;

/// Marks the counters of [`Stream`]'s second draws; those of first draws stay below it.
const REDRAW: u32 = 1 << 31;

/// An endless row of random numbers per kind, in which element `i` depends on the key and `i` alone.
///
/// The key is (seed, stream, step): the seed the user gave, the [`stream_id`](super::stream_id) of the operation, and
/// the number of the training step. Filling `0..n` at once, in parts, or by several threads gives the same bits.
///
/// # The bits
/// The Philox key is the 64-bit number mix(mix(seed + 0x9E3779B97F4A7C15) xor stream), low half first, where `mix` is
/// the finalizer of `SplitMix64`; for one seed two streams never share it, nor two seeds for one stream. The
/// counter of block `b` is (low half of `b`, high half of `b`, low half of step, high half of step). Eight blocks form a
/// group of 32 words, ordered by word, then by block: word `w` of block `8 g + l` is element `32 g + 8 w + l` of
/// [`fill_bits_u32`](Self::fill_bits_u32).
///
/// ```
/// use keras_core::random::Stream;
/// let stream = Stream::new(42, 7, 0);
/// let mut whole = [0.0_f32; 100];
/// stream.fill_uniform_f32(0, &mut whole);
/// let mut part = [0.0_f32; 30];
/// stream.fill_uniform_f32(50, &mut part);
/// assert_eq!(part, whole[50..80]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    key: [u32; 2],
    step: [u32; 2],
}

impl Stream {
    /// The numbers of operation `stream` in step `step` of a run seeded with `seed`.
    pub const fn new(seed: u64, stream: u64, step: u64) -> Self {
        let key = mix(mix(seed.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ stream);
        Self { key: [key as u32, (key >> 32) as u32], step: [step as u32, (step >> 32) as u32] }
    }

    /// Another row of the same seed, stream and step; part 0 is the row itself. Steps stay below 2³².
    pub(crate) const fn part(self, number: u32) -> Self {
        Self { key: self.key, step: [self.step[0], self.step[1] ^ number] }
    }

    /// Elements `offset..` of the row of random 32-bit words.
    pub fn fill_bits_u32(&self, offset: usize, out: &mut [u32]) {
        fill(offset, out, |group| {
            let words = self.group(group);
            std::array::from_fn::<_, { 4 * LANES }, _>(|i| words[i / LANES][i % LANES])
        });
    }

    /// Elements `offset..` of the row of numbers uniform in [0, 1), multiples of 2⁻²⁴: the top 24 bits of the words of
    /// [`fill_bits_u32`](Self::fill_bits_u32).
    pub fn fill_uniform_f32(&self, offset: usize, out: &mut [f32]) {
        fill(offset, out, |group| {
            let words = self.group(group);
            std::array::from_fn::<_, { 4 * LANES }, _>(|i| {
                (words[i / LANES][i % LANES] >> 8) as i32 as f32 * UNIT_24
            })
        });
    }

    /// Elements `offset..` of the row of numbers uniform in [0, 1), multiples of 2⁻⁵³: element `16 g + 8 h + l` is made
    /// of words `2 h` (upper half) and `2 h + 1` of block `8 g + l`.
    pub fn fill_uniform_f64(&self, offset: usize, out: &mut [f64]) {
        fill(offset, out, |group| {
            let words = self.group(group);
            std::array::from_fn::<_, { 2 * LANES }, _>(|i| {
                let (half, lane) = (i / LANES, i % LANES);
                (join(words[2 * half][lane], words[2 * half + 1][lane]) >> 11) as i64 as f64 * UNIT_53
            })
        });
    }

    /// Elements `offset..` of the row of numbers of mean 0 and standard deviation 1 (Box and Muller, 1958): words 0
    /// and 1 of block `8 g + l` give elements `32 g + l` (cosine) and `32 g + 8 + l` (sine), words 2 and 3 the elements
    /// 16 later. No value is beyond ±6.7.
    pub fn fill_normal_f32(&self, offset: usize, out: &mut [f32]) {
        fill(offset, out, |group| {
            let words = self.group(group);
            let mut normals = [0.0; 4 * LANES];
            let (pairs, _) = normals.as_chunks_mut::<{ 2 * LANES }>();
            for (pair, words) in pairs.iter_mut().zip(words.as_chunks::<2>().0) {
                for lane in 0..LANES {
                    (pair[lane], pair[LANES + lane]) = normals_f32(words[0][lane], words[1][lane]);
                }
            }
            normals
        });
    }

    /// [`fill_normal_f32`](Self::fill_normal_f32) in double precision: block `8 g + l` gives elements `16 g + l`
    /// (cosine) and `16 g + 8 + l` (sine). No value is beyond ±8.6.
    pub fn fill_normal_f64(&self, offset: usize, out: &mut [f64]) {
        fill(offset, out, |group| {
            let words = self.group(group);
            let mut normals = [0.0; 2 * LANES];
            for lane in 0..LANES {
                (normals[lane], normals[LANES + lane]) =
                    normals_f64([words[0][lane], words[1][lane], words[2][lane], words[3][lane]]);
            }
            normals
        });
    }

    /// Elements `offset..` of the row of normal numbers within two standard deviations: element `i` is that of
    /// [`fill_normal_f32`](Self::fill_normal_f32) where that lies within ±2, else the first such number of the blocks
    /// that belong to `i` alone. (Keras's `truncated_normal`; its standard deviation is 0.8796.)
    ///
    /// The second draws have counters (low half of `i`, 2³¹ + 2¹⁶ attempt + next 16 bits of `i`, step).
    pub fn fill_truncated_normal_f32(&self, offset: usize, out: &mut [f32]) {
        self.fill_normal_f32(offset, out);
        for (i, value) in out.iter_mut().enumerate().filter(|(_, value)| value.abs() > 2.0) {
            *value = self.redraw(offset.wrapping_add(i), |[a, b, c, d]| {
                let ((first, second), (third, fourth)) = (normals_f32(a, b), normals_f32(c, d));
                [first, second, third, fourth].into_iter().find(|z| z.abs() <= 2.0)
            });
        }
    }

    /// [`fill_truncated_normal_f32`](Self::fill_truncated_normal_f32) in double precision.
    pub fn fill_truncated_normal_f64(&self, offset: usize, out: &mut [f64]) {
        self.fill_normal_f64(offset, out);
        for (i, value) in out.iter_mut().enumerate().filter(|(_, value)| value.abs() > 2.0) {
            *value = self.redraw(offset.wrapping_add(i), |words| {
                let (first, second) = normals_f64(words);
                [first, second].into_iter().find(|z| z.abs() <= 2.0)
            });
        }
    }

    /// The first number `accept` finds in the blocks of element `index`.
    #[cold]
    fn redraw<T: Default>(&self, index: usize, accept: impl Fn([u32; 4]) -> Option<T>) -> T {
        let index = index as u64;
        (0..REDRAW >> 16)
            .find_map(|attempt| {
                let high = REDRAW | attempt << 16 | (index >> 32) as u32 & 0xFFFF;
                accept(block([index as u32, high, self.step[0], self.step[1]], self.key))
            })
            // After 2¹⁵ blocks; one block is refused with a probability of at most 0.0455.
            .unwrap_or_default()
    }

    /// Blocks `LANES * group ..` of the stream: `[w][l]` is word `w` of block `l`.
    #[inline]
    fn group(&self, group: u64) -> [[u32; LANES]; 4] {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.group_avx2(group) };
        }
        self.group_portable(group)
    }

    /// [`group_portable`](Self::group_portable) compiled for vectors of 256 bits: 0.9 instead of 2.0 ns per uniform `f32` on an EPYC.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn group_avx2(&self, group: u64) -> [[u32; LANES]; 4] {
        self.group_portable(group)
    }

    #[inline(always)]
    fn group_portable(&self, group: u64) -> [[u32; LANES]; 4] {
        let first = group * LANES as u64;
        let mut words = [[0; LANES]; 4];
        let [w0, w1, w2, w3] = &mut words;
        for (lane, (((w0, w1), w2), w3)) in w0.iter_mut().zip(w1).zip(w2).zip(w3).enumerate() {
            // The low half of `first` is a multiple of LANES, so the lane carries nothing into the high half.
            let counter = [first as u32 + lane as u32, (first >> 32) as u32, self.step[0], self.step[1]];
            [*w0, *w1, *w2, *w3] = block(counter, self.key);
        }
        words
    }
}

const UNIT_24: f32 = 1.0 / 16_777_216.0;
const UNIT_53: f64 = 1.0 / 9_007_199_254_740_992.0;

/// Philox4x32-10 of one counter.
#[inline(always)]
fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter.map(u64::from);
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let (product0, product1) = (MULTIPLIERS[0] * (c0 & LOW_HALF), MULTIPLIERS[1] * (c2 & LOW_HALF));
        (c0, c2) = (product1 >> 32 ^ c1 ^ u64::from(k0), product0 >> 32 ^ c3 ^ u64::from(k1));
        (c1, c3) = (product1, product0);
        (k0, k1) = (k0.wrapping_add(WEYL[0]), k1.wrapping_add(WEYL[1]));
    }
    [c0, c1, c2, c3].map(|word| word as u32)
}

/// Writes elements `offset..` of the row whose `N` elements from `N * g` on are `group(g)`.
#[inline(always)]
fn fill<T: Copy, const N: usize>(offset: usize, out: &mut [T], group: impl Fn(u64) -> [T; N]) {
    let (mut number, begin) = ((offset / N) as u64, offset % N);
    let (head, rest) = out.split_at_mut(if begin == 0 { 0 } else { out.len().min(N - begin) });
    if !head.is_empty() {
        head.copy_from_slice(&group(number)[begin..begin + head.len()]);
        number += 1;
    }
    let (whole, tail) = rest.as_chunks_mut::<N>();
    for chunk in whole {
        *chunk = group(number);
        number += 1;
    }
    if !tail.is_empty() {
        tail.copy_from_slice(&group(number)[..tail.len()]);
    }
}

/// The two normal numbers of two words: radius and angle of a random direction in the plane.
#[inline(always)]
fn normals_f32(radius: u32, turn: u32) -> (f32, f32) {
    // 31 bits and a half step: in (0, 1], where the logarithm is finite and at most 0.
    let u = (radius >> 1) as i32 as f32 * (1.0 / 2_147_483_648.0) + 1.0 / 4_294_967_296.0;
    let r = (-2.0 * ln_f32(u)).sqrt();
    let (cos, sin) = cos_sin_turn_f32(turn);
    (r * cos, r * sin)
}

#[inline(always)]
fn normals_f64([a, b, c, d]: [u32; 4]) -> (f64, f64) {
    let u = ((join(a, b) >> 11) + 1) as i64 as f64 * UNIT_53;
    let r = (-2.0 * ln_f64(u)).sqrt();
    let (cos, sin) = cos_sin_turn_f64(join(c, d));
    (r * cos, r * sin)
}

const fn join(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::random::stream_id;
    use serde_json::Value;

    #[test]
    fn blocks_are_the_published_known_answers() {
        // Random123, tests/kat_vectors.
        for (counter, key, answer) in [
            ([0; 4], [0; 2], [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]),
            (
                [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344],
                [0xA409_3822, 0x299F_31D0],
                [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1],
            ),
        ] {
            assert_eq!(block(counter, key), answer);
        }
    }

    #[test]
    fn portable_and_dispatched_groups_are_their_blocks() {
        let stream = Stream::new(3, 4, 5 << 40 | 6);
        for group in [0, 1, 77, (1 << 29) - 1, 1 << 29, usize::MAX as u64 / 32] {
            let words = stream.group(group);
            assert_eq!(words, stream.group_portable(group));
            for number in group * LANES as u64..(group + 1) * LANES as u64 {
                let counter = [number as u32, (number >> 32) as u32, stream.step[0], stream.step[1]];
                let expected = block(counter, stream.key);
                assert_eq!(words.map(|word| word[number as usize % LANES]), expected, "block {number}");
            }
        }
    }

    fn fixture() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/random_config/streams.json")).unwrap()
    }

    fn integers(value: &Value) -> Vec<u64> {
        value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
    }

    #[test]
    fn stream_ids_are_those_of_the_python_implementation() {
        for id in fixture()["stream_ids"].as_array().unwrap() {
            let call = id["call"].as_u64().unwrap() as usize;
            let ours = stream_id(id["path"].as_str().unwrap(), call, id["name"].as_str().unwrap());
            assert_eq!(ours, id["id"].as_u64().unwrap(), "{id}");
        }
    }

    #[test]
    fn all_kinds_have_the_bits_of_the_python_implementation() {
        for case in fixture()["cases"].as_array().unwrap() {
            let number = |key: &str| case[key].as_u64().unwrap();
            let stream = Stream::new(number("seed"), number("stream"), number("step"));
            let offset = number("offset") as usize;
            let bits = integers(&case["bits_u32"]);
            let n = bits.len();
            let (mut words, mut singles, mut doubles) = (vec![0_u32; n], vec![0.0_f32; n], vec![0.0_f64; n]);

            stream.fill_bits_u32(offset, &mut words);
            assert_eq!(words.iter().map(|&w| u64::from(w)).collect::<Vec<_>>(), bits);
            stream.fill_uniform_f32(offset, &mut singles);
            let uniform: Vec<f32> = bits.iter().map(|b| (b >> 8) as f32 / 16_777_216.0).collect();
            assert_eq!(singles, uniform);
            stream.fill_uniform_f64(offset, &mut doubles);
            let multiples: Vec<u64> = doubles.iter().map(|x| (x * 9_007_199_254_740_992.0) as u64).collect();
            assert_eq!(multiples, integers(&case["uniform_f64_times_2_53"]));

            let single_bits = |x: &[f32]| x.iter().map(|x| u64::from(x.to_bits())).collect::<Vec<_>>();
            let double_bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            stream.fill_normal_f32(offset, &mut singles);
            assert_eq!(single_bits(&singles), integers(&case["normal_f32_bits"]));
            stream.fill_normal_f64(offset, &mut doubles);
            assert_eq!(double_bits(&doubles), integers(&case["normal_f64_bits"]));
            stream.fill_truncated_normal_f32(offset, &mut singles);
            assert_eq!(single_bits(&singles), integers(&case["truncated_normal_f32_bits"]));
            stream.fill_truncated_normal_f64(offset, &mut doubles);
            assert_eq!(double_bits(&doubles), integers(&case["truncated_normal_f64_bits"]));
        }
    }

    /// Every way to cut `0..n` at `cut` gives what one call gives.
    fn check_parts<T: Copy + Default + PartialEq + std::fmt::Debug>(fill: impl Fn(usize, &mut [T])) {
        let mut whole = [T::default(); 150];
        fill(0, &mut whole);
        for begin in 0..whole.len() {
            for end in [begin, begin + 1, begin + 15, begin + 33, begin + 70, whole.len()] {
                let end = end.clamp(begin, whole.len());
                let mut part = vec![T::default(); end - begin];
                fill(begin, &mut part);
                assert_eq!(part, whole[begin..end], "{begin}..{end}");
            }
        }
    }

    #[test]
    fn an_element_depends_on_key_and_index_alone() {
        let stream = Stream::new(1, 2, 3);
        check_parts(|offset, out| stream.fill_bits_u32(offset, out));
        check_parts(|offset, out| stream.fill_uniform_f32(offset, out));
        check_parts(|offset, out| stream.fill_uniform_f64(offset, out));
        check_parts(|offset, out| stream.fill_normal_f32(offset, out));
        check_parts(|offset, out| stream.fill_normal_f64(offset, out));
        check_parts(|offset, out| stream.fill_truncated_normal_f32(offset, out));
        check_parts(|offset, out| stream.fill_truncated_normal_f64(offset, out));
        // The last offsets there are.
        stream.fill_truncated_normal_f32(usize::MAX - 3, &mut [0.0; 3]);
        stream.fill_truncated_normal_f64(usize::MAX - 3, &mut [0.0; 3]);
    }

    #[test]
    fn seed_stream_and_step_each_change_every_word() {
        let bits = |seed, stream, step| {
            let mut out = [0; 64];
            Stream::new(seed, stream, step).fill_bits_u32(0, &mut out);
            out
        };
        let base = bits(1, 2, 3);
        for other in [bits(2, 2, 3), bits(1, 3, 3), bits(1, 2, 4), bits(2, 1, 3), bits(1, 2, 3 + (1 << 32))] {
            // 64 words of 32 bits: a chance of 1.5e-8 that any agrees.
            assert!(base.iter().zip(other).all(|(&a, b)| a != b));
        }
    }

    const SAMPLES: usize = 400_000;

    /// The largest distance between the empirical distribution of `values` and the stated one, times √n; beyond 1.95
    /// with a probability of 0.001 (Kolmogorov).
    fn kolmogorov(mut values: Vec<f64>, distribution: impl Fn(f64) -> f64) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let distance = values.iter().enumerate().fold(0.0_f64, |worst, (i, &x)| {
            let exact = distribution(x);
            worst.max((exact - i as f64 / n).abs()).max((exact - (i + 1) as f64 / n).abs())
        });
        distance * n.sqrt()
    }

    /// Φ(x) for |x| ≤ 7 by its series ½ + φ(x) (x + x³/3 + x⁵/15 + …).
    fn normal_distribution(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for odd in (3..200).step_by(2) {
            term *= x * x / f64::from(odd);
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()
    }

    #[test]
    fn the_numbers_have_the_stated_distributions() {
        let stream = Stream::new(2024, stream_id("test", 0, "distribution"), 0);
        let mut singles = vec![0.0_f32; SAMPLES];
        let mut doubles = vec![0.0_f64; SAMPLES];
        let widen = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let truncated = |x: f64| {
            (normal_distribution(x) - normal_distribution(-2.0))
                / (normal_distribution(2.0) - normal_distribution(-2.0))
        };

        stream.fill_uniform_f32(0, &mut singles);
        assert!(singles.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(kolmogorov(widen(&singles), |x| x) < 1.95);
        stream.fill_uniform_f64(0, &mut doubles);
        assert!(doubles.iter().all(|x| (0.0..1.0).contains(x)));
        assert!(kolmogorov(doubles.clone(), |x| x) < 1.95);
        stream.fill_normal_f32(0, &mut singles);
        assert!(kolmogorov(widen(&singles), normal_distribution) < 1.95);
        stream.fill_normal_f64(0, &mut doubles);
        assert!(kolmogorov(doubles.clone(), normal_distribution) < 1.95);
        stream.fill_truncated_normal_f32(0, &mut singles);
        assert!(singles.iter().all(|x| x.abs() <= 2.0));
        assert!(kolmogorov(widen(&singles), truncated) < 1.95);
        stream.fill_truncated_normal_f64(0, &mut doubles);
        assert!(doubles.iter().all(|x| x.abs() <= 2.0));
        assert!(kolmogorov(doubles.clone(), truncated) < 1.95);
    }

    #[test]
    fn the_extreme_words_give_finite_normals_within_the_stated_bounds() {
        for radius in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            for turn in [0, 1 << 29, 1 << 30, 1 << 31, u32::MAX] {
                let (a, b) = normals_f32(radius, turn);
                assert!(a.abs() <= 6.7 && b.abs() <= 6.7, "{radius}, {turn}: {a}, {b}");
                let (a, b) = normals_f64([radius, radius, turn, turn]);
                assert!(a.abs() <= 8.6 && b.abs() <= 8.6, "{radius}, {turn}: {a}, {b}");
            }
        }
    }
}
