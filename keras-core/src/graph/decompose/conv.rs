//! Convolutions over any number of spatial axes as slices and matrix products.

use crate::error::Result;
use crate::graph::{ConvSpec, Graph, Op, SliceSpec, Type, Value};

/// Every window of the padded input as a row, `[batch · windows, cells · channels]`, and the number of windows per axis.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
fn columns(g: &mut Graph, spec: &ConvSpec, x: Value, window: &[usize]) -> Result<(Value, Vec<usize>)> {
    let n = window.len();
    let pads: Vec<(usize, usize)> =
        std::iter::once((0, 0)).chain(spec.pads.iter().copied()).chain([(0, 0)]).collect();
    let x = g.add(Op::Pad(pads), &[x])?;
    let shape = g.shape(x).to_vec();
    let reach = |i: usize| (window[i] - 1) * spec.dilations[i] + 1;
    let windows: Vec<usize> = (0..n).map(|i| (shape[i + 1] - reach(i)) / spec.strides[i] + 1).collect();
    let cells: usize = window.iter().product();
    let mut parts = Vec::with_capacity(cells);
    for cell in 0..cells {
        let (mut starts, mut steps, mut stops) = (vec![0; n + 2], vec![1; n + 2], shape.clone());
        let mut rest = cell;
        for i in (0..n).rev() {
            starts[i + 1] = rest % window[i] * spec.dilations[i];
            rest /= window[i];
            steps[i + 1] = spec.strides[i];
            stops[i + 1] = starts[i + 1] + (windows[i] - 1) * spec.strides[i] + 1;
        }
        parts.push(g.add(Op::Slice(SliceSpec { starts, stops, steps }), &[x])?);
    }
    let joined = g.add(Op::Concat(n + 1), &parts)?;
    let rows = shape[0] * windows.iter().product::<usize>();
    Ok((g.reshape(joined, &[rows, cells * shape[n + 1]])?, windows))
}

/// `[rows, cells · groups · channels]` as `[groups, rows, cells · channels]`.
#[allow(clippy::indexing_slicing, reason = "columns have two axes")]
fn by_group(g: &mut Graph, columns: Value, cells: usize, groups: usize) -> Result<Value> {
    let (rows, channels) = (g.shape(columns)[0], g.shape(columns)[1] / cells / groups);
    let split = g.reshape(columns, &[rows, cells, groups, channels])?;
    let split = g.permute(split, &[2, 0, 1, 3])?;
    g.reshape(split, &[groups, rows, cells * channels])
}

/// `[rows, groups · filters]` as `[groups, rows, filters]`.
#[allow(clippy::indexing_slicing, reason = "a matrix has two axes")]
fn filters_by_group(g: &mut Graph, x: Value, groups: usize) -> Result<Value> {
    let (rows, filters) = (g.shape(x)[0], g.shape(x)[1]);
    let split = g.reshape(x, &[rows, groups, filters / groups])?;
    g.permute(split, &[1, 0, 2])
}

/// Windows times kernel.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
pub(super) fn forward(g: &mut Graph, spec: &ConvSpec, x: Value, kernel: Value) -> Result<Value> {
    let shape = g.shape(kernel).to_vec();
    let n = shape.len() - 2;
    let (window, channels, filters) = (&shape[..n], shape[n], shape[n + 1]);
    let cells: usize = window.iter().product();
    let batch = g.shape(x)[0];
    let (columns, windows) = columns(g, spec, x, window)?;
    let flat = g.reshape(kernel, &[cells * channels, filters])?;
    let y = if spec.groups == 1 {
        g.matmul(columns, flat, false, false)?
    } else {
        let columns = by_group(g, columns, cells, spec.groups)?;
        let flat = filters_by_group(g, flat, spec.groups)?;
        let y = g.matmul(columns, flat, false, false)?;
        g.permute(y, &[1, 0, 2])?
    };
    let result: Vec<usize> = std::iter::once(batch).chain(windows).chain([filters]).collect();
    g.reshape(y, &result)
}

/// Windows, transposed, times gradient.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
pub(super) fn grad_kernel(
    g: &mut Graph,
    spec: &ConvSpec,
    window: &[usize],
    x: Value,
    grad: Value,
) -> Result<Value> {
    let n = window.len();
    let cells: usize = window.iter().product();
    let (channels, filters) = (g.shape(x)[n + 1] / spec.groups, g.shape(grad)[n + 1]);
    let (columns, _) = columns(g, spec, x, window)?;
    let rows = g.shape(columns)[0];
    let grad = g.reshape(grad, &[rows, filters])?;
    let y = if spec.groups == 1 {
        g.matmul(columns, grad, true, false)?
    } else {
        let columns = by_group(g, columns, cells, spec.groups)?;
        let grad = filters_by_group(g, grad, spec.groups)?;
        let y = g.matmul(columns, grad, true, false)?;
        g.permute(y, &[1, 0, 2])?
    };
    let result: Vec<usize> = window.iter().copied().chain([channels, filters]).collect();
    g.reshape(y, &result)
}

/// A convolution of the gradient, its places set apart by the strides, with the kernel turned round.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
pub(super) fn grad_input(
    g: &mut Graph,
    spec: &ConvSpec,
    size: &[usize],
    grad: Value,
    kernel: Value,
) -> Result<Value> {
    let n = size.len();
    let (k, ty) = (g.shape(kernel).to_vec(), g.ty(grad).clone());
    let mut apart = ty.shape.clone();
    let mut steps = vec![1; n + 2];
    for i in 0..n {
        apart[i + 1] = (ty.shape[i + 1] - 1) * spec.strides[i] + 1;
        steps[i + 1] = spec.strides[i];
    }
    let grad = if apart == ty.shape {
        grad
    } else {
        let zeros = g.full(0.0, &Type::new(apart.clone(), ty.dtype))?;
        let places = SliceSpec { starts: vec![0; n + 2], stops: apart.clone(), steps };
        g.add(Op::SliceUpdate(places), &[zeros, grad])?
    };
    // The kernel reaches beyond the gradient, which is padded; what lay in the padding of the input is cut off.
    let (mut pads, mut starts, mut stops) = (Vec::with_capacity(n), vec![0; n + 2], apart.clone());
    for i in 0..n {
        let reach = (k[i] - 1) * spec.dilations[i];
        let before = spec.pads[i].0;
        let (wanted, there) = (size[i] + before, apart[i + 1]);
        starts[i + 1] = before.saturating_sub(reach);
        stops[i + 1] = there.min(wanted);
        pads.push((reach.saturating_sub(before), wanted.saturating_sub(there)));
    }
    if starts.iter().zip(&stops).any(|(start, stop)| start >= stop) {
        // Every window lay in the padding.
        let shape: Vec<usize> =
            ty.shape.iter().take(1).chain(size).copied().chain([k[n] * spec.groups]).collect();
        return g.full(0.0, &Type::new(shape, ty.dtype));
    }
    let grad = g.add(Op::Slice(SliceSpec { starts, stops, steps: vec![1; n + 2] }), &[grad])?;
    let turned = g.add(Op::Reverse((0..n).collect()), &[kernel])?;
    let (channels, filters) = (k[n], k[n + 1] / spec.groups);
    let with = |last: &[usize]| [&k[..n], last].concat();
    let split = g.reshape(turned, &with(&[channels, spec.groups, filters]))?;
    let perm: Vec<usize> = (0..n).chain([n + 2, n + 1, n]).collect();
    let split = g.permute(split, &perm)?;
    let turned = g.reshape(split, &with(&[filters, spec.groups * channels]))?;
    let dilations = spec.dilations.clone();
    let inner = ConvSpec { strides: vec![1; n], dilations, pads, groups: spec.groups };
    g.add(Op::Conv(inner), &[grad, turned])
}
