//! [`RandomState`]: numpy's legacy generator, so that a seed gives the order of batches that Keras gives.

use crate::error::{Error, Result};

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState`: the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998) and numpy's way of making
/// indices and floats of it, which numpy froze in 1.16 (NEP 19).
///
/// ```
/// use keras_core::random::RandomState;
/// // np.random.seed(0); np.random.permutation(10)
/// assert_eq!(RandomState::new(0).permutation(10), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RandomState {
    key: [u32; N],
    position: usize,
}

impl std::fmt::Debug for RandomState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RandomState").field("position", &self.position).finish_non_exhaustive()
    }
}

impl RandomState {
    /// The state after `np.random.seed(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut key = [seed; N];
        for i in 1..N {
            let previous = key[i - 1];
            key[i] = 1_812_433_253_u32.wrapping_mul(previous ^ previous >> 30).wrapping_add(i as u32);
        }
        Self { key, position: N }
    }

    /// What `np.random.get_state()` calls key (624 words) and pos (0 to 624).
    pub fn state(&self) -> (&[u32], usize) {
        (&self.key, self.position)
    }

    /// The generator with a state that [`state`](Self::state) or `np.random.get_state()` gave.
    ///
    /// # Errors
    /// `Value` when `key` has not 624 words or is all 0 (which the generator never leaves), or `position` is beyond 624.
    pub fn from_state(key: &[u32], position: usize) -> Result<Self> {
        let doing = "random state";
        let words = <[u32; N]>::try_from(key)
            .map_err(|_| Error::value(doing, "a key of 624 words", format!("{} words", key.len())))?;
        if words.iter().all(|&word| word == 0) {
            return Err(Error::value(doing, "a key that is not all zeros", "624 zeros"));
        }
        if position > N {
            return Err(Error::value(doing, "a position from 0 to 624", position.to_string()));
        }
        Ok(Self { key: words, position })
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.position >= N {
            self.regenerate();
        }
        let mut y = self.key[self.position];
        self.position += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9D2C_5680;
        y ^= y << 15 & 0xEFC6_0000;
        y ^ y >> 18
    }

    fn regenerate(&mut self) {
        for i in 0..N {
            let y = self.key[i] & 0x8000_0000 | self.key[(i + 1) % N] & 0x7FFF_FFFF;
            let twist = if y & 1 == 0 { 0 } else { 0x9908_B0DF };
            self.key[i] = self.key[(i + M) % N] ^ y >> 1 ^ twist;
        }
        self.position = 0;
    }

    /// `np.random.random_sample()`: uniform in [0, 1), a multiple of 2⁻⁵³.
    pub fn random_sample(&mut self) -> f64 {
        let (high, low) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..=max`: as many bits as `max` has, drawn again while beyond it (numpy's `random_interval`). Nothing
    /// is drawn for 0; one word a try up to 2³² − 1, two (upper first) above.
    fn interval(&mut self, max: u64) -> u64 {
        let Some(mask) = u64::MAX.checked_shr(max.leading_zeros()) else { return 0 };
        loop {
            let bits = if u32::try_from(max).is_ok() {
                u64::from(self.next_u32())
            } else {
                u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
            };
            if bits & mask <= max {
                return bits & mask;
            }
        }
    }

    /// `np.random.randint(low, high)`: uniform in `low..high`.
    ///
    /// # Errors
    /// `Value` when the range is empty.
    pub fn randint(&mut self, low: i64, high: i64) -> Result<i64> {
        if low >= high {
            return Err(Error::value(
                "randint",
                format!("a high above low = {low}"),
                format!("high = {high}"),
            ));
        }
        let offset = self.interval(high.wrapping_sub(low) as u64 - 1);
        Ok(low.wrapping_add(offset as i64))
    }

    /// `np.random.shuffle(values)`: Fisher and Yates from the end.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            let j = self.interval(i as u64) as usize;
            values.swap(i, j);
        }
    }

    /// `np.random.permutation(n)`: `0..n`, shuffled.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..n).collect();
        self.shuffle(&mut indices);
        indices
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Written by numpy; see the script beside it.
    fn seeds() -> Vec<Value> {
        let text = include_str!("../../tests/fixtures/random_config/mt19937.json");
        let fixture: Value = serde_json::from_str(text).unwrap();
        fixture["seeds"].as_array().unwrap().clone()
    }

    fn start(case: &Value) -> RandomState {
        RandomState::new(case["seed"].as_u64().unwrap().try_into().unwrap())
    }

    fn integers(value: &Value) -> Vec<u64> {
        value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
    }

    /// The checksum of zlib over the numbers as little-endian 32-bit words.
    fn crc32(values: impl IntoIterator<Item = u32>) -> u64 {
        let crc = values.into_iter().flat_map(u32::to_le_bytes).fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
        });
        u64::from(!crc)
    }

    #[track_caller]
    fn check_indices(ours: &[usize], numpy: &Value) {
        let ours: Vec<u64> = ours.iter().map(|&i| i as u64).collect();
        if let Some(all) = numpy.get("all") {
            assert_eq!(ours, integers(all));
        } else {
            assert_eq!(ours[..20], integers(&numpy["first"]));
            assert_eq!(ours[ours.len() - 20..], integers(&numpy["last"]));
            assert_eq!(crc32(ours.iter().map(|&i| i as u32)), numpy["crc32_of_u32_le"].as_u64().unwrap());
        }
    }

    fn sample_times_2_53(random: &mut RandomState) -> u64 {
        (random.random_sample() * 9_007_199_254_740_992.0) as u64
    }

    #[test]
    fn state_words_and_samples_are_numpys() {
        for case in seeds() {
            let mut random = start(&case);
            let (key, position) = random.state();
            assert_eq!(crc32(key.iter().copied()), case["key_crc32"].as_u64().unwrap());
            assert_eq!(position as u64, case["pos"].as_u64().unwrap());
            let words: Vec<u64> = (0..10).map(|_| u64::from(random.next_u32())).collect();
            assert_eq!(words, integers(&case["u32"]));

            let mut random = start(&case);
            let samples: Vec<u64> = (0..700).map(|_| sample_times_2_53(&mut random)).collect();
            assert_eq!(samples[..5], integers(&case["random_sample"]["first"]));
            assert_eq!(samples[695..], integers(&case["random_sample"]["last"]));
        }
    }

    #[test]
    fn shuffle_and_permutation_are_numpys() {
        for case in seeds() {
            for shuffle in case["shuffle"].as_array().unwrap() {
                let mut random = start(&case);
                let mut indices: Vec<usize> = (0..shuffle["size"].as_u64().unwrap() as usize).collect();
                random.shuffle(&mut indices);
                check_indices(&indices, shuffle);
                // Whether it drew as often as numpy shows in what comes next.
                assert_eq!(sample_times_2_53(&mut random), shuffle["next"].as_u64().unwrap());
            }
            let mut random = start(&case);
            let mut indices: Vec<usize> = (0..1000).collect();
            for _ in 0..3 {
                random.shuffle(&mut indices);
            }
            check_indices(&indices, &case["three_epochs"]);
            check_indices(&start(&case).permutation(1000), &case["permutation"]);
        }
    }

    #[test]
    fn randint_is_numpys() {
        for case in seeds() {
            for range in case["randint"].as_array().unwrap() {
                let number = |v: &Value| v.as_str().unwrap().parse::<i64>().unwrap();
                let (low, high) = (number(&range["low"]), number(&range["high"]));
                let mut random = start(&case);
                for expected in range["values"].as_array().unwrap() {
                    assert_eq!(random.randint(low, high).unwrap(), number(expected), "{low}..{high}");
                }
            }
        }
        assert!(matches!(RandomState::new(0).randint(3, 3), Err(Error::Value(_))));
    }

    #[test]
    fn nothing_and_one_thing_are_shuffled_without_a_draw() {
        let mut random = RandomState::new(5);
        assert_eq!(random.permutation(0), [0_usize; 0]);
        assert_eq!(random.permutation(1), [0]);
        assert_eq!(random, RandomState::new(5));
    }

    #[test]
    fn a_saved_state_goes_on_where_it_was() {
        let mut random = RandomState::new(1337);
        for draws in [0, 1, 623, 624, 1000] {
            for _ in 0..draws {
                random.next_u32();
            }
            let (key, position) = random.state();
            let mut copy = RandomState::from_state(key, position).unwrap();
            assert_eq!(copy, random);
            assert_eq!(copy.permutation(100), random.permutation(100));
        }
        for (key, position, received) in
            [(vec![1; 623], 0, "623 words"), (vec![0; 624], 0, "624 zeros"), (vec![1; 624], 625, "625")]
        {
            let error = RandomState::from_state(&key, position).unwrap_err();
            assert!(error.to_string().ends_with(&format!("received {received}")), "{error}");
        }
    }
}
