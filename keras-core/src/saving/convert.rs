//! Weights of other versions and backends as this one's layers hold them (§4.6 of the file formats: docs/files.md).

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::layers::LayerRef;
use crate::models::Network;

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// Written by Keras 1.
    pub(super) keras_1: bool,
    /// Written on a backend whose convolutions turn the kernel: Theano.
    pub(super) flipped: bool,
}

/// The arrays of a layer, as a file lists them, in the order and shapes of [`LayerRef::weights`].
pub(super) fn convert(layer: &LayerRef, arrays: Vec<Array>, origin: Origin) -> Result<Vec<Array>> {
    if layer.definition().is_model() {
        return convert_model(layer, arrays, origin);
    }
    let children = layer.children();
    match (layer.class_name().as_str(), children.as_slice()) {
        ("Bidirectional", [forward, backward]) => {
            let mut forward_arrays = arrays;
            let backward_arrays = forward_arrays.split_off(forward_arrays.len() / 2);
            let mut all = convert(forward, forward_arrays, origin)?;
            all.extend(convert(backward, backward_arrays, origin)?);
            Ok(all)
        }
        ("TimeDistributed", [inner]) => convert(inner, arrays, origin),
        _ => convert_plain(layer, arrays, origin),
    }
}

/// The list of a nested model: what learns, layer by layer, then the rest, layer by layer.
fn convert_model(model: &LayerRef, arrays: Vec<Array>, origin: Origin) -> Result<Vec<Array>> {
    let Some(network) = model.downcast::<Network>() else { return Ok(arrays) };
    let layers = network.layers();
    let learns = saved_counts(layers, true, &arrays, origin);
    let learning_total: usize = learns.iter().sum();
    let rests = saved_counts(layers, false, arrays.get(learning_total..).unwrap_or_default(), origin);
    if arrays.len() != learning_total + rests.iter().sum::<usize>() {
        return Ok(arrays);
    }
    let mut learning = arrays;
    let mut fixed = learning.split_off(learning_total).into_iter();
    let mut learning = learning.into_iter();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for ((layer, learns), rests) in layers.iter().zip(learns).zip(rests) {
        let mut own: Vec<Array> = learning.by_ref().take(learns).collect();
        own.extend(fixed.by_ref().take(rests));
        let mut own = convert(layer, own, origin)?;
        last.extend(own.split_off(layer.trainable_weights().len().min(own.len())));
        first.extend(own);
    }
    first.extend(last);
    Ok(first)
}

/// How many of the arrays are each layer's, of those that learn or of the rest.
fn saved_counts(layers: &[LayerRef], learning: bool, arrays: &[Array], origin: Origin) -> Vec<usize> {
    let mut before = 0;
    let mut count = |layer: &LayerRef| {
        let own = saved_count(layer, learning, arrays.get(before..).unwrap_or_default(), origin);
        before += own;
        own
    };
    layers.iter().map(&mut count).collect()
}

/// How many of the arrays, from the first on, are the layer's.
fn saved_count(layer: &LayerRef, learning: bool, arrays: &[Array], origin: Origin) -> usize {
    let children = layer.children();
    if origin.keras_1 && !children.is_empty() {
        return saved_counts(&children, learning, arrays, origin).iter().sum();
    }
    let own = if learning { layer.trainable_weights() } else { layer.non_trainable_weights() };
    let gates = match layer.class_name().as_str() {
        "LSTM" | "ConvLSTM2D" if origin.keras_1 => 4,
        "GRU" if origin.keras_1 => 3,
        _ => 1,
    };
    // With consume_less="gpu" Keras 1 has the gates side by side, as later versions.
    let joined =
        own.first().zip(arrays.first()).is_some_and(|(own, array)| own.variable.shape() == array.shape());
    if joined { own.len() } else { own.len() * gates }
}

fn convert_plain(layer: &LayerRef, mut arrays: Vec<Array>, origin: Origin) -> Result<Vec<Array>> {
    let class = layer.class_name();
    if origin.keras_1 {
        arrays = from_keras_1(layer, &class, arrays)?;
    }
    let convolution =
        matches!(class.as_str(), "Conv1D" | "Conv2D" | "Conv3D" | "Conv2DTranspose" | "ConvLSTM2D");
    if convolution {
        let kernels = if class == "ConvLSTM2D" { 2 } else { 1 };
        let expected: Vec<Vec<usize>> =
            layer.weights().iter().map(|weight| weight.variable.shape().to_vec()).collect();
        // As in Keras the first kernel tells for both.
        let turned = match (arrays.first().map(Array::shape), expected.as_slice()) {
            (Some(shape @ &[a, b, c, d]), [expected, ..]) => shape != expected && [d, c, a, b] == **expected,
            _ => false,
        };
        for array in arrays.iter_mut().take(kernels) {
            if origin.flipped {
                *array = flip(array)?;
            }
            if turned {
                *array = permute(array, &[3, 2, 0, 1])?;
            }
        }
    }
    cudnn(layer, &class, arrays)
}

fn from_keras_1(layer: &LayerRef, class: &str, arrays: Vec<Array>) -> Result<Vec<Array>> {
    let first = layer.config().config.get("data_format") == Some(&"channels_first".into());
    let with_kernel = |arrays: Vec<Array>, change: &dyn Fn(&Array) -> Result<Array>| -> Result<Vec<Array>> {
        let mut arrays = arrays;
        if let Some(kernel) = arrays.first_mut() {
            *kernel = change(kernel)?;
        }
        Ok(arrays)
    };
    let own = length_and_filters(layer);
    match (class, arrays.len()) {
        ("Conv1D", _) => with_kernel(arrays, &|kernel| match *kernel.shape() {
            // A kernel of one filter and one input in the layout below looks like this one, but for its length.
            [length, 1, input, filters] if own == [length, filters] => {
                kernel.reshape(&[length, input, filters])
            }
            [_, _, _, 1] => {
                let turned = permute(kernel, &[2, 3, 1, 0])?;
                let [length, _, input, filters] = *turned.shape() else { return Ok(turned) };
                turned.reshape(&[length, input, filters])
            }
            _ => Ok(kernel.clone()),
        }),
        ("Conv2D", _) if first => with_kernel(arrays, &|kernel| permute(kernel, &[2, 3, 1, 0])),
        ("Conv2DTranspose", _) if first => with_kernel(arrays, &|kernel| permute(kernel, &[2, 3, 0, 1])),
        ("Conv2DTranspose", _) => with_kernel(arrays, &|kernel| permute(kernel, &[0, 1, 3, 2])),
        ("Conv3D", _) if first => with_kernel(arrays, &|kernel| permute(kernel, &[2, 3, 4, 1, 0])),
        ("GRU", 9) => [[0, 3, 6], [1, 4, 7], [2, 5, 8]].iter().map(|order| joined(&arrays, order)).collect(),
        // Keras 1 lists i, c, f, o.
        ("LSTM", 12) => {
            [[0, 6, 3, 9], [1, 7, 4, 10], [2, 8, 5, 11]].iter().map(|order| joined(&arrays, order)).collect()
        }
        ("ConvLSTM2D", 12) => {
            let arrays: Vec<Array> = if first {
                let turned = |array: &Array| {
                    if array.rank() == 4 { permute(array, &[2, 3, 1, 0]) } else { Ok(array.clone()) }
                };
                arrays.iter().map(turned).collect::<Result<_>>()?
            } else {
                arrays
            };
            [[0, 6, 3, 9], [1, 7, 4, 10], [2, 8, 5, 11]].iter().map(|order| joined(&arrays, order)).collect()
        }
        _ => Ok(arrays),
    }
}

/// The first and the last length of a layer's kernel.
fn length_and_filters(layer: &LayerRef) -> [usize; 2] {
    let kernel = layer.weights().into_iter().next().map(|weight| weight.variable);
    let shape = kernel.as_ref().map_or(&[][..], |kernel| kernel.shape());
    [shape.first(), shape.last()].map(|length| length.copied().unwrap_or(0))
}

/// Converts between plain recurrent layers and those of CuDNN, told apart by their biases.
fn cudnn(layer: &LayerRef, class: &str, arrays: Vec<Array>) -> Result<Vec<Array>> {
    let gates = match class {
        "LSTM" | "CuDNNLSTM" => 4,
        "GRU" | "CuDNNGRU" => 3,
        _ => return Ok(arrays),
    };
    let weights = layer.weights();
    let ([kernel, recurrent, bias], [_, _, own]) = (arrays.as_slice(), weights.as_slice()) else {
        return Ok(arrays);
    };
    let (own, units) = (own.variable.shape(), recurrent.shape().first().copied().unwrap_or(0));
    if bias.shape() == own || units == 0 {
        return Ok(arrays);
    }
    let of_cudnn = |shape: &[usize]| *shape == [2 * gates * units];
    let (from, to) = (of_cudnn(bias.shape()), of_cudnn(own));
    let bias = match gates {
        4 if from && *own == [4 * units] => halves(bias, |a, b| a + b)?,
        4 if to && *bias.shape() == [4 * units] => {
            let half = elementwise(bias, |x| 0.5 * x)?;
            Array::concatenate(&[half.clone(), half])?
        }
        3 if from && *own == [2, 3 * units] => bias.reshape(own)?,
        3 if to && *bias.shape() == [2, 3 * units] => bias.reshape(own)?,
        3 => {
            return Err(Error::shape(
                format!("weights of layer {}", layer.name()),
                format!("a bias of shape {own:?}"),
                format!("{:?}", bias.shape()),
            )
            .advice("GRU(reset_after=False) is not compatible with GRU(reset_after=True) and CuDNNGRU"));
        }
        _ => return Ok(arrays),
    };
    let kernel = gatewise(kernel, gates, |gate| reinterpret(gate, from))?;
    let recurrent = gatewise(recurrent, gates, |gate| permute(gate, &[1, 0]))?;
    Ok(vec![kernel, recurrent, bias])
}

/// A gate's kernel (inputs, units): CuDNN has the same elements as (units, inputs) in row-major order.
fn reinterpret(gate: &Array, from_cudnn: bool) -> Result<Array> {
    let [inputs, units] = *gate.shape() else { return Ok(gate.clone()) };
    if from_cudnn {
        permute(&gate.reshape(&[units, inputs])?, &[1, 0])
    } else {
        permute(gate, &[1, 0])?.reshape(&[inputs, units])
    }
}

fn gatewise(array: &Array, gates: usize, change: impl Fn(&Array) -> Result<Array>) -> Result<Array> {
    let [rows, columns] = *array.shape() else { return Ok(array.clone()) };
    // Gates lie side by side: as rows of the transpose they can be taken apart.
    let turned = permute(array, &[1, 0])?;
    let units = columns / gates;
    let parts = (0..gates)
        .map(|gate| {
            let own = permute(&turned.rows(gate * units, (gate + 1) * units)?, &[1, 0])?;
            permute(&change(&own)?, &[1, 0])
        })
        .collect::<Result<Vec<_>>>()?;
    permute(&Array::concatenate(&parts)?, &[1, 0])?.reshape(&[rows, columns])
}

fn halves(array: &Array, join: impl Fn(f64, f64) -> f64) -> Result<Array> {
    let values: Vec<f64> = array.to_vec();
    let (first, second) = values.split_at(values.len() / 2);
    let joined: Vec<f64> = first.iter().zip(second).map(|(&a, &b)| join(a, b)).collect();
    Ok(Array::from_vec(&[joined.len()], joined)?.cast(array.dtype()))
}

fn elementwise(array: &Array, change: impl Fn(f64) -> f64) -> Result<Array> {
    let values: Vec<f64> = array.to_vec::<f64>().into_iter().map(change).collect();
    Ok(Array::from_vec(array.shape(), values)?.cast(array.dtype()))
}

/// Arrays side by side along their last axis.
fn joined(arrays: &[Array], order: &[usize]) -> Result<Array> {
    let parts: Vec<Array> =
        order.iter().filter_map(|&i| arrays.get(i)).map(last_first).collect::<Result<_>>()?;
    let whole = Array::concatenate(&parts)?;
    let back: Vec<usize> = (1..whole.rank()).chain([0]).collect();
    permute(&whole, &back)
}

fn last_first(array: &Array) -> Result<Array> {
    let rank = array.rank();
    let order: Vec<usize> =
        std::iter::once(rank.saturating_sub(1)).chain(0..rank.saturating_sub(1)).collect();
    permute(array, &order)
}

/// A kernel with every axis but the last two turned around.
fn flip(kernel: &Array) -> Result<Array> {
    typed(kernel, |view| {
        let mut view = view;
        for axis in 0..view.ndim().saturating_sub(2) {
            view.invert_axis(ndarray::Axis(axis));
        }
        view
    })
}

/// The array with its axes in another order.
pub(super) fn permute(array: &Array, order: &[usize]) -> Result<Array> {
    if array.rank() != order.len() {
        let expected = format!("an array of {} axes", order.len());
        return Err(Error::shape("converting weights", expected, format!("{:?}", array.shape())));
    }
    typed(array, |view| view.permuted_axes(ndarray::IxDyn(order)))
}

/// Weights are floats: both widths go through doubles without loss.
fn typed(array: &Array, change: impl Fn(ndarray::ArrayD<f64>) -> ndarray::ArrayD<f64>) -> Result<Array> {
    Ok(Array::from(change(array.cast(DType::F64).to_ndarray::<f64>()?)).cast(array.dtype()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn counting(shape: &[usize]) -> Array {
        let count = shape.iter().product::<usize>();
        Array::from_vec(shape, (0..count).map(|i| i as f32).collect()).unwrap()
    }

    #[test]
    fn kernels_are_turned_and_gates_joined() {
        let kernel = counting(&[2, 2, 1, 1]);
        assert_eq!(flip(&kernel).unwrap().to_vec::<f32>(), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(
            permute(&counting(&[2, 3]), &[1, 0]).unwrap().to_vec::<f32>(),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
        let parts = [counting(&[2, 1]), counting(&[2, 1])];
        assert_eq!(joined(&parts, &[1, 0]).unwrap(), Array::from([[0.0_f32, 0.0], [1.0, 1.0]]));
        assert_eq!(joined(&[counting(&[2]), counting(&[2])], &[0, 1]).unwrap().shape(), [4]);
    }

    #[test]
    fn gates_go_to_cudnn_and_back() {
        // Keras: transform_kernels(kernel, lambda k: k.T.reshape(k.shape, order='C'), gates).
        let kernel = counting(&[2, 12]);
        let there = gatewise(&kernel, 4, |gate| reinterpret(gate, false)).unwrap();
        assert_eq!(there.rows(0, 1).unwrap().to_vec::<f32>()[..3], [0.0, 12.0, 1.0]);
        let back = gatewise(&there, 4, |gate| reinterpret(gate, true)).unwrap();
        assert_eq!(back, kernel);
        assert_eq!(halves(&counting(&[4]), |a, b| a + b).unwrap().to_vec::<f32>(), [2.0, 4.0]);
    }
}
