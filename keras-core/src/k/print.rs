//! `K.print_tensor`.

use super::{Host, composed, operands};
use crate::array::{Array, DType};
use crate::error::Error;
use crate::output::Output;
use crate::tensor::Tensor;

/// How many numbers at each end of an axis are written.
const ENDS: usize = 3;

/// `x`, which writes the message and its value to the [`Output`] in force whenever a program computes it: of a long axis
/// the first and the last three.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(3)], "x");
/// let y = k::print_tensor(&x, "x is") * 2.0;
/// assert_eq!(y.spec()?, x.spec()?);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn print_tensor(x: &Tensor, message: &str) -> Tensor {
    let (name, message) = ("print_tensor", message.to_owned());
    composed(name, &[x], move |_, tensors| {
        let [x] = tensors else { return operands(name) };
        let message = message.clone();
        let printed = Host::new(name, [x.spec()?], move |operands| {
            let [x] = operands else { return Err(Error::state(name, "one operand", "others")) };
            Output::current().line(format!("{message} {}", text(x)).trim_start());
            Ok(operands.to_vec())
        });
        let printed = printed.vjp(|_, gradients| Ok(gradients.to_vec())).impure();
        let mut results = printed.call(&[x]);
        results.pop().ok_or_else(|| Error::state(name, "a result", "none"))
    })
}

/// The numbers as TensorFlow writes them: brackets around each axis, rows of more than one axis on lines of their own.
fn text(x: &Array) -> String {
    let numbers: Vec<String> = match x.dtype() {
        DType::F32 => x.to_vec::<f32>().iter().map(|value| short(&format!("{value:e}"), 6)).collect(),
        DType::F64 => x.to_vec::<f64>().iter().map(|value| short(&format!("{value:e}"), 15)).collect(),
        _ => x.to_vec::<i64>().iter().map(ToString::to_string).collect(),
    };
    let mut text = String::new();
    write(&mut text, x.shape(), &numbers, 0);
    text
}

fn write(text: &mut String, shape: &[usize], numbers: &[String], depth: usize) {
    let Some((&len, inner)) = shape.split_first() else {
        text.extend(numbers.first().cloned());
        return;
    };
    text.push('[');
    let size: usize = inner.iter().product();
    // Between rows, as many line breaks as they have axes.
    let between =
        if inner.is_empty() { " ".to_owned() } else { "\n".repeat(inner.len()) + &" ".repeat(depth + 1) };
    let shown = |i: &usize| *i < ENDS || i + ENDS >= len;
    let mut hidden = false;
    for i in 0..len {
        if !shown(&i) {
            if !hidden {
                text.push_str(&between);
                text.push_str("...");
            }
            hidden = true;
            continue;
        }
        if i > 0 {
            text.push_str(&between);
        }
        write(text, inner, numbers.get(i * size..(i + 1) * size).unwrap_or_default(), depth + 1);
    }
    text.push(']');
}

/// A number `1.25e3` as C's `%g` writes it: with an exponent if that is below −4 or has no room in so many digits.
fn short(scientific: &str, digits: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific.to_lowercase() };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    scientific.parse::<f64>().map_or_else(|_| scientific.to_owned(), |value| value.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let x = [0.1_f32, -2.0, 1e-5, 1.5e-4, 999_999.0, 1e6, 1e-45, f32::NAN, f32::INFINITY];
        let written: Vec<String> = x.iter().map(|&x| text(&Array::from(x))).collect();
        assert_eq!(written, ["0.1", "-2", "1e-05", "0.00015", "999999", "1e+06", "1e-45", "nan", "inf"]);
        assert_eq!(text(&Array::from(0.1)), "0.1");
        assert_eq!(text(&Array::from(i64::MAX)), "9223372036854775807");
        assert_eq!(text(&Array::zeros(DType::F32, &[2, 0]).unwrap()), "[[]\n []]");
    }
}
