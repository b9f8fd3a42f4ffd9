//! Automatic names: `dense_1`, `dense_2`, counted per prefix in the current thread, as Keras counts per graph.

use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static COUNTS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
}

/// The next name with that prefix in this thread: `dense_1`, `dense_2`, ….
pub fn automatic_name(prefix: &str) -> String {
    format!("{prefix}_{}", next_number(prefix))
}

/// The number in the next name with that prefix in this thread.
pub(crate) fn next_number(prefix: &str) -> usize {
    COUNTS.with_borrow_mut(|counts| {
        let count = counts.entry(prefix.to_owned()).or_insert(0);
        *count += 1;
        *count
    })
}

/// Starts every count anew in this thread; part of `k::clear_session`.
pub fn reset_names() {
    COUNTS.with_borrow_mut(HashMap::clear);
}

/// The prefix of a class's automatic names, by Keras's two rules: an underscore before each capital that starts a
/// lower-case run, then one between a lower-case letter and a capital.
///
/// ```
/// use keras_core::layers::snake_case;
/// assert_eq!(snake_case("Dense"), "dense");
/// assert_eq!(snake_case("MaxPooling2D"), "max_pooling2d");
/// assert_eq!(snake_case("ConvLSTM2D"), "conv_lst_m2d");
/// assert_eq!(snake_case("CuDNNLSTM"), "cu_dnnlstm");
/// ```
pub fn snake_case(class_name: &str) -> String {
    let chars: Vec<char> = class_name.chars().collect();
    let at = |i: usize| chars.get(i).copied();
    let lower_or_digit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // `(.)([A-Z][a-z0-9]+)`: matches do not overlap, so the character in front must not belong to the match before.
    let mut first = String::new();
    let mut i = 0;
    while let Some(c) = at(i) {
        first.push(c);
        if at(i + 1).is_some_and(|next| next.is_ascii_uppercase()) && at(i + 2).is_some_and(lower_or_digit) {
            first.push('_');
            first.extend(at(i + 1));
            i += 2;
            while let Some(c) = at(i).filter(|&c| lower_or_digit(c)) {
                first.push(c);
                i += 1;
            }
        } else {
            i += 1;
        }
    }
    let mut second = String::new();
    let mut previous: Option<char> = None;
    for c in first.chars() {
        if previous.is_some_and(|p| p.is_ascii_lowercase()) && c.is_ascii_uppercase() {
            second.push('_');
        }
        second.push(c);
        previous = Some(c);
    }
    let name = second.to_lowercase();
    if name.starts_with('_') { format!("private{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_keras() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("PReLU", "p_re_lu"),
            ("ReLU", "re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ThresholdedReLU", "thresholded_re_lu"),
            ("ELU", "elu"),
            ("CuDNNGRU", "cu_dnngru"),
            ("UpSampling2D", "up_sampling2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("SimpleRNN", "simple_rnn"),
            ("LSTM", "lstm"),
            ("TimeDistributed", "time_distributed"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("_Private", "private__private"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }

    #[test]
    fn every_prefix_counts_for_itself_and_anew_after_a_reset() {
        std::thread::spawn(|| {
            assert_eq!(
                [automatic_name("a"), automatic_name("b"), automatic_name("a")],
                ["a_1", "b_1", "a_2"]
            );
            reset_names();
            assert_eq!(automatic_name("a"), "a_1");
        })
        .join()
        .ok();
    }
}
