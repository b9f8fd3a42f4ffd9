//! Products, convolutions, pooling, softmax.

use super::{nth, op};
use crate::config::{DataFormat, image_data_format};
use crate::error::{Error, Result};
use crate::graph::{Binary, ConvSpec, Graph, Op, PoolSpec, Value};
use crate::tensor::Tensor;

/// Keras's `dot`: last axis of `a` with the last but one of `b` (with the only one of a vector).
#[track_caller]
pub fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    op("dot", &[a, b], |graph, values| product(graph, nth(values, 0)?, nth(values, 1)?))
}

#[allow(clippy::indexing_slicing, reason = "the ranks are matched first")]
fn product(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    let (left, right) = (graph.shape(a).to_vec(), graph.shape(b).to_vec());
    let (rank, other) = (left.len(), right.len());
    if rank == 0 || other == 0 {
        return Err(Error::shape("dot", "two tensors of rank 1 or more", format!("{left:?} and {right:?}")));
    }
    let inner = left[rank - 1];
    let (contracted, mut kept) = if other == 1 {
        (0, Vec::new())
    } else {
        (other - 2, right.iter().enumerate().filter(|(i, _)| *i != other - 2).map(|(_, &len)| len).collect())
    };
    if right[contracted] != inner {
        let expected = format!("inner lengths that agree, as in [.., {inner}] and [{inner}, ..]");
        return Err(Error::shape("dot", expected, format!("{left:?} and {right:?}"))
            .advice("transpose an operand, or bring the features to that length; weights fit inputs as wide as the first"));
    }
    let rows: usize = left[..rank - 1].iter().product();
    let columns: usize = kept.iter().product();
    let order: Vec<usize> =
        std::iter::once(contracted).chain((0..other).filter(|&i| i != contracted)).collect();
    let b = graph.permute(b, &order)?;
    let (a, b) = (graph.reshape(a, &[rows, inner])?, graph.reshape(b, &[inner, columns])?);
    let y = graph.matmul(a, b, false, false)?;
    let mut shape = left[..rank - 1].to_vec();
    shape.append(&mut kept);
    graph.reshape(y, &shape)
}

/// The matrix product over the last two axes; the axes before them broadcast.
#[track_caller]
pub fn matmul(a: &Tensor, b: &Tensor) -> Tensor {
    op("matmul", &[a, b], |graph, values| {
        let (a, b) = (nth(values, 0)?, nth(values, 1)?);
        let (left, right) = (graph.shape(a).to_vec(), graph.shape(b).to_vec());
        let ([leading @ .., rows, inner], [others @ .., height, columns]) =
            (left.as_slice(), right.as_slice())
        else {
            let received = format!("{left:?} and {right:?}");
            return Err(Error::shape("matmul", "two tensors of rank 2 or more", received));
        };
        let mut shape = super::broadcast_shape(leading, others)?;
        // The operation takes one leading axis.
        let stack: usize = shape.iter().product();
        let mut stacked = |x: Value, lens: [usize; 2]| -> Result<Value> {
            if shape.is_empty() {
                return Ok(x);
            }
            let mut wide = shape.clone();
            wide.extend(lens);
            let x = super::broadcast_value(graph, x, &wide)?;
            graph.reshape(x, &[stack, lens[0], lens[1]])
        };
        let (a, b) = (stacked(a, [*rows, *inner])?, stacked(b, [*height, *columns])?);
        let product = graph.matmul(a, b, false, false)?;
        shape.extend([*rows, *columns]);
        graph.reshape(product, &shape)
    })
}

/// The product along one axis of each operand, sample by sample: axis `axes.0` of `a` with axis `axes.1` of `b`, both
/// behind the batch axis. The result has a's other axes, then b's; two matrices give `(batch, 1)`. By default (`None`) the
/// last axis of `a` meets the last but one of `b`, or the only one of a matrix.
#[track_caller]
pub fn batch_dot(a: &Tensor, b: &Tensor, axes: impl Into<Option<(isize, isize)>>) -> Tensor {
    let axes = axes.into();
    op("batch_dot", &[a, b], move |graph, values| {
        let (a, b) = (nth(values, 0)?, nth(values, 1)?);
        let axes = axes.unwrap_or_else(|| (-1, if graph.shape(b).len() == 2 { -1 } else { -2 }));
        batch_product(graph, a, b, axes)
    })
}

fn batch_product(graph: &mut Graph, a: Value, b: Value, axes: (isize, isize)) -> Result<Value> {
    let (left, right) = (graph.shape(a).to_vec(), graph.shape(b).to_vec());
    let wrong = || {
        let expected = format!("one batch size, and one length on axes {} and {} behind it", axes.0, axes.1);
        Error::shape("batch_dot", expected, format!("{left:?} and {right:?}"))
    };
    let (x, y) = (super::axis_of(axes.0, left.len())?, super::axis_of(axes.1, right.len())?);
    let inner = left.get(x).copied().unwrap_or_default();
    if x == 0 || y == 0 || right.get(y) != Some(&inner) || left.first() != right.first() {
        return Err(wrong());
    }
    let batch = left.first().copied().unwrap_or_default();
    let others = |shape: &[usize], axis: usize| (1..shape.len()).filter(|&i| i != axis).collect::<Vec<_>>();
    let lens = |shape: &[usize], axes: &[usize]| {
        axes.iter().filter_map(|&i| shape.get(i)).copied().collect::<Vec<_>>()
    };
    let (kept_a, kept_b) = (others(&left, x), others(&right, y));
    let (rows, columns) = (lens(&left, &kept_a), lens(&right, &kept_b));
    let order: Vec<usize> = [0].into_iter().chain(kept_a).chain([x]).collect();
    let a = graph.permute(a, &order)?;
    let a = graph.reshape(a, &[batch, rows.iter().product(), inner])?;
    let order: Vec<usize> = [0, y].into_iter().chain(kept_b).collect();
    let b = graph.permute(b, &order)?;
    let b = graph.reshape(b, &[batch, inner, columns.iter().product()])?;
    let product = graph.matmul(a, b, false, false)?;
    let mut shape = vec![batch];
    shape.extend(rows);
    shape.extend(columns);
    if shape.len() == 1 {
        shape.push(1);
    }
    graph.reshape(product, &shape)
}

/// Adds a bias to `(batch, …, channels)`: of one axis, one number per channel; of all axes but the batch, one per element.
/// `channels_first` (the default is that of keras.json) means `(batch, channels, …)`; a bias per element has its channels
/// last there too, and as in Keras its numbers are read as if they stood in front.
///
/// ```
/// use keras_core::config::DataFormat::ChannelsFirst;
/// use keras_core::k;
/// let x = k::placeholder([None, Some(8), Some(5), Some(5)], "x");
/// let bias = k::placeholder([Some(8)], "bias");
/// assert_eq!(k::bias_add(&x, &bias, ChannelsFirst).spec()?, x.spec()?);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn bias_add(x: &Tensor, bias: &Tensor, data_format: impl Into<Option<DataFormat>>) -> Tensor {
    let format = data_format.into().unwrap_or_else(image_data_format);
    op("bias_add", &[x, bias], move |graph, values| {
        let (x, bias) = (nth(values, 0)?, nth(values, 1)?);
        let (shape, own) = (graph.shape(x).to_vec(), graph.shape(bias).to_vec());
        if own.is_empty() || own.len() != 1 && own.len() + 1 != shape.len() {
            let expected = format!("a bias of 1 or {} axes", shape.len().saturating_sub(1));
            return Err(Error::shape("bias_add", expected, format!("{own:?}")));
        }
        let mut wide = vec![1; shape.len().saturating_sub(own.len())];
        wide.extend(own);
        if let (DataFormat::ChannelsFirst, Some((_, rest))) = (format, wide.split_first_mut()) {
            rest.rotate_right(1.min(rest.len()));
        }
        let bias = graph.reshape(bias, &wide)?;
        let bias = graph.broadcast(bias, &shape)?;
        graph.binary(Binary::Add, x, bias)
    })
}

/// Softmax along an axis.
#[track_caller]
pub fn softmax(x: &Tensor, axis: isize) -> Tensor {
    along_last(x, axis, Op::Softmax)
}

/// The logarithm of softmax along an axis, exact where softmax itself underflows.
#[track_caller]
pub fn log_softmax(x: &Tensor, axis: isize) -> Tensor {
    along_last(x, axis, Op::LogSoftmax)
}

#[track_caller]
fn along_last(x: &Tensor, axis: isize, function: Op) -> Tensor {
    op(function.name(), &[x], move |graph, values| {
        let x = nth(values, 0)?;
        let rank = graph.shape(x).len();
        let axis = super::axis_of(axis, rank)?;
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(axis, rank - 1);
        let moved = graph.permute(x, &order)?;
        let y = graph.add(function.clone(), &[moved])?;
        graph.permute(y, &order)
    })
}

/// A correlation of `x` `[batch, spatial…, channels]` with `kernel` `[spatial…, channels/groups, filters]`.
#[track_caller]
pub fn conv(x: &Tensor, kernel: &Tensor, spec: ConvSpec) -> Tensor {
    op("conv", &[x, kernel], move |graph, values| {
        graph.add(Op::Conv(spec.clone()), &[nth(values, 0)?, nth(values, 1)?])
    })
}

/// The transpose of a convolution: `x` is of the convolution's result, the answer of its input, whose spatial shape
/// is `size`.
#[track_caller]
pub fn conv_transpose(x: &Tensor, kernel: &Tensor, spec: ConvSpec, size: &[usize]) -> Tensor {
    let size = size.to_vec();
    op("conv_transpose", &[x, kernel], move |graph, values| {
        graph.add(Op::ConvGradInput(spec.clone(), size.clone()), &[nth(values, 0)?, nth(values, 1)?])
    })
}

/// Maxima over windows of `[batch, spatial…, channels]`.
#[track_caller]
pub fn max_pool(x: &Tensor, spec: PoolSpec) -> Tensor {
    op("max_pool", &[x], move |graph, values| graph.add(Op::MaxPool(spec.clone()), &[nth(values, 0)?]))
}

/// Means over windows of `[batch, spatial…, channels]`; padding does not count.
#[track_caller]
pub fn avg_pool(x: &Tensor, spec: PoolSpec) -> Tensor {
    op("avg_pool", &[x], move |graph, values| graph.add(Op::AvgPool(spec.clone()), &[nth(values, 0)?]))
}
