//! Random numbers: counter-based [`Stream`]s for everything inside a model, and numpy's [`RandomState`] for the
//! order of batches.
//!
//! | who asks | source | why |
//! |---|---|---|
//! | initializers, dropout, noise | [`Stream`] | any element can be computed alone: same bits on every thread count and backend |
//! | `fit(shuffle = true)`, data generators | [`RandomState`] | `np.random.seed(n)` in Python and seed `n` here give the same batches |

// A loop is vectorised, and compiled for AVX2, only with all of its body in it.
#[allow(clippy::inline_always)]
mod elementary;
mod global;
mod mt19937;
#[allow(clippy::inline_always)]
mod philox;

pub(crate) use global::seeded;
pub use global::{fresh_seed, set_seed, with_order};
pub use mt19937::RandomState;
pub use philox::Stream;

/// A stable 64-bit number for a random operation: the same in every run, on every platform, in every version.
///
/// `path` names the layer within its model (`encoder/dropout_1`), `call` counts the layer's calls, `name` tells
/// several draws within one call apart (`mask`). The three are what identifies the draw, so adding a layer elsewhere
/// in the model changes no stream.
///
/// The value is FNV-1a (64 bit) over the bytes `path`, `0xFF`, `call` as 8 little-endian bytes, `name`, finished with
/// the mixing steps of `SplitMix64` (constants of Stafford's variant 13). `0xFF` occurs in no UTF-8 text and `call` has
/// a fixed width, so two different triples are two different byte strings.
///
/// ```
/// use keras_core::random::stream_id;
/// assert_eq!(stream_id("dropout_1", 0, "mask"), stream_id("dropout_1", 0, "mask"));
/// assert_ne!(stream_id("dropout_1", 0, "mask"), stream_id("dropout_1", 1, "mask"));
/// assert_ne!(stream_id("dropout_1", 0, "mask"), stream_id("dropout", 0, "_1mask"));
/// ```
pub fn stream_id(path: &str, call: usize, name: &str) -> u64 {
    let hash = fnv1a(FNV_OFFSET, path.as_bytes());
    let hash = fnv1a(hash, &[0xFF]);
    let hash = fnv1a(hash, &(call as u64).to_le_bytes());
    mix(fnv1a(hash, name.as_bytes()))
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// `SplitMix64`'s finalizer: a bijection of 64 bits in which every input bit reaches every output bit.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_the_published_values() {
        for (text, value) in
            [("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8)]
        {
            assert_eq!(fnv1a(FNV_OFFSET, text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn mix_gives_the_published_splitmix64_sequence() {
        // The first outputs of SplitMix64 (Vigna) from state 0: the finalizer of multiples of the golden gamma.
        let gamma = 0x9E37_79B9_7F4A_7C15_u64;
        let outputs: Vec<u64> = (1..=3).map(|i| mix(gamma.wrapping_mul(i))).collect();
        assert_eq!(outputs, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
    }

    #[test]
    fn no_two_of_many_similar_names_share_a_stream() {
        let mut seen = std::collections::HashSet::new();
        for layer in 0..100 {
            for call in 0..20 {
                for name in ["mask", "noise", ""] {
                    assert!(seen.insert(stream_id(&format!("model/dropout_{layer}"), call, name)));
                }
            }
        }
    }
}
