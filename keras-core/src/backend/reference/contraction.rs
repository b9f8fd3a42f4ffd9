//! Contractions and windows: matrix products, convolutions, pooling, and the adjoints of the latter two.

use crate::array::{Array, DType, element_count};
use crate::error::{Error, Result};
use crate::graph::{ConvSpec, PoolSpec};
use crate::with_dtype;

fn wrong<T>(op: &str, expected: impl Into<String>, operands: &[&Array]) -> Result<T> {
    let shapes: Vec<String> = operands.iter().map(|x| format!("{} {:?}", x.dtype(), x.shape())).collect();
    Err(Error::shape(op, expected, shapes.join(", ")))
}

/// The elements as `f64`; an error for anything but floats of one type.
fn floats(op: &str, operands: &[&Array]) -> Result<Vec<Vec<f64>>> {
    let dtype = operands.first().map_or(DType::F32, |x| x.dtype());
    match operands.iter().find(|x| x.dtype() != dtype || !dtype.is_float()) {
        None => Ok(operands.iter().map(|x| x.to_vec()).collect()),
        Some(x) => Err(Error::dtype(op, "floats of one type", x.dtype().name())),
    }
}

/// An array of a float type from double precision.
fn rounded(dtype: DType, shape: &[usize], values: Vec<f64>) -> Result<Array> {
    Ok(Array::from_vec(shape, values)?.cast(dtype))
}

pub(super) fn matmul(a: &Array, b: &Array, trans_a: bool, trans_b: bool) -> Result<Array> {
    let rank = a.rank();
    if rank < 2 || b.rank() != rank || a.shape()[..rank - 2] != b.shape()[..rank - 2] {
        return wrong("matmul", "two matrices, or two stacks of as many matrices", &[a, b]);
    }
    let values = floats("matmul", &[a, b])?;
    let stack = element_count(&a.shape()[..rank - 2]);
    let (a_rows, a_columns) = (a.shape()[rank - 2], a.shape()[rank - 1]);
    let (b_rows, b_columns) = (b.shape()[rank - 2], b.shape()[rank - 1]);
    let (m, k) = if trans_a { (a_columns, a_rows) } else { (a_rows, a_columns) };
    let (k2, n) = if trans_b { (b_columns, b_rows) } else { (b_rows, b_columns) };
    if k != k2 {
        return wrong("matmul", format!("equal inner lengths, not {k} and {k2}"), &[a, b]);
    }
    let (a_row, a_inner) = if trans_a { (1, a_columns) } else { (a_columns, 1) };
    let (b_inner, b_column) = if trans_b { (1, b_columns) } else { (b_columns, 1) };
    let mut sums = vec![0.0; stack * m * n];
    for s in 0..stack {
        for i in 0..m {
            let row = &mut sums[(s * m + i) * n..(s * m + i + 1) * n];
            for l in 0..k {
                let x = values[0][s * m * k + i * a_row + l * a_inner];
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum += x * values[1][s * k * n + l * b_inner + j * b_column];
                }
            }
        }
    }
    rounded(a.dtype(), &[&a.shape()[..rank - 2], &[m, n]].concat(), sums)
}

/// Windows over 1 to 3 spatial axes, brought to 3 by leading axes of length 1.
struct Windows {
    input: [usize; 3],
    window: [usize; 3],
    output: [usize; 3],
    strides: [usize; 3],
    dilations: [usize; 3],
    before: [usize; 3],
}

/// Three lengths, the missing leading ones filled up.
fn three(values: &[usize], fill: usize) -> [usize; 3] {
    let mut result = [fill; 3];
    for (to, &from) in result.iter_mut().rev().zip(values.iter().rev()) {
        *to = from;
    }
    result
}

impl Windows {
    fn new(
        op: &str,
        input: &[usize],
        window: &[usize],
        strides: &[usize],
        dilations: &[usize],
        pads: &[(usize, usize)],
    ) -> Result<Self> {
        let spatial = input.len();
        let lengths = [window.len(), strides.len(), dilations.len(), pads.len()];
        let fail = || {
            Error::shape(
                op,
                format!("a window that fits {input:?}"),
                format!("window {window:?}, strides {strides:?}, dilations {dilations:?}, pads {pads:?}"),
            )
        };
        let steps_are_positive = strides.iter().chain(dilations).all(|&step| step >= 1);
        if !(1..=3).contains(&spatial) || lengths != [spatial; 4] || !steps_are_positive {
            return Err(fail());
        }
        let mut output = vec![0; spatial];
        for (axis, len) in output.iter_mut().enumerate() {
            let reach = window[axis].checked_sub(1).map(|cells| cells * dilations[axis] + 1);
            let room = reach.and_then(|reach| (pads[axis].0 + input[axis] + pads[axis].1).checked_sub(reach));
            *len = room.ok_or_else(fail)? / strides[axis] + 1;
        }
        let before: Vec<usize> = pads.iter().map(|(before, _)| *before).collect();
        Ok(Self {
            input: three(input, 1),
            window: three(window, 1),
            output: three(&output, 1),
            strides: three(strides, 1),
            dilations: three(dilations, 1),
            before: three(&before, 0),
        })
    }

    fn of_pool(op: &str, input: &[usize], spec: &PoolSpec) -> Result<Self> {
        if spec
            .pads
            .iter()
            .zip(&spec.window)
            .any(|(&(before, after), &window)| before >= window || after >= window)
        {
            return Err(Error::shape(
                op,
                format!("padding smaller than the window {:?}", spec.window),
                format!("{:?}", spec.pads),
            ));
        }
        Self::new(op, input, &spec.window, &spec.strides, &vec![1; input.len()], &spec.pads)
    }

    fn output(&self, spatial: usize) -> &[usize] {
        &self.output[3 - spatial..]
    }

    /// The position in the input that `cell` of the window at `place` covers; none in the padding.
    fn covered(&self, axis: usize, place: usize, cell: usize) -> Option<usize> {
        let padded = place * self.strides[axis] + cell * self.dilations[axis];
        padded.checked_sub(self.before[axis]).filter(|&i| i < self.input[axis])
    }

    /// Calls `f(place, position, cell)`, flat and row-major, for every cell of every window that covers a position
    /// of the input; windows in order, within each its cells in order.
    fn for_each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let [places, cells, lens] = [self.output, self.window, self.input];
        for z in 0..places[0] {
            for y in 0..places[1] {
                for x in 0..places[2] {
                    let place = (z * places[1] + y) * places[2] + x;
                    for c in 0..cells[0] {
                        let Some(i) = self.covered(0, z, c) else { continue };
                        for b in 0..cells[1] {
                            let Some(j) = self.covered(1, y, b) else { continue };
                            for a in 0..cells[2] {
                                let Some(k) = self.covered(2, x, a) else { continue };
                                let cell = (c * cells[1] + b) * cells[2] + a;
                                f(place, (i * lens[1] + j) * lens[2] + k, cell);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The lengths of a convolution besides the spatial ones.
struct Depths {
    batch: usize,
    channels: usize,
    filters: usize,
    groups: usize,
}

impl Depths {
    fn new(batch: usize, channels: usize, filters: usize, groups: usize) -> Option<Self> {
        let even = groups > 0 && channels.is_multiple_of(groups) && filters.is_multiple_of(groups);
        even.then_some(Self { batch, channels, filters, groups })
    }

    fn channels_per_group(&self) -> usize {
        self.channels / self.groups
    }

    /// Calls `f(x, y, k)` with the flat places in input, output and kernel of every product at a tap.
    fn for_each(
        &self,
        sizes: (usize, usize),
        tap: (usize, usize, usize),
        mut f: impl FnMut(usize, usize, usize),
    ) {
        let (place, position, cell) = tap;
        let (channels, filters) = (self.channels_per_group(), self.filters / self.groups);
        for n in 0..self.batch {
            for g in 0..self.groups {
                for c in 0..channels {
                    let x = (n * sizes.0 + position) * self.channels + g * channels + c;
                    for filter in g * filters..(g + 1) * filters {
                        let y = (n * sizes.1 + place) * self.filters + filter;
                        f(x, y, (cell * channels + c) * self.filters + filter);
                    }
                }
            }
        }
    }
}

/// Splits `[first, spatial…, last]`; an error unless there are as many spatial axes as the spec has strides.
fn split<'a>(op: &str, spatial: usize, shape: &'a [usize]) -> Result<(usize, &'a [usize], usize)> {
    match shape {
        [first, middle @ .., last] if middle.len() == spatial => Ok((*first, middle, *last)),
        _ => Err(Error::shape(
            op,
            format!("{spatial} spatial axes and two others"),
            format!("shape {shape:?}"),
        )),
    }
}

/// Splits a kernel `[spatial…, channels per group, filters]`.
fn split_kernel<'a>(op: &str, spatial: usize, shape: &'a [usize]) -> Result<(&'a [usize], usize, usize)> {
    match shape {
        [window @ .., channels, filters] if window.len() == spatial => Ok((window, *channels, *filters)),
        _ => Err(Error::shape(op, format!("a kernel of {spatial} spatial axes"), format!("shape {shape:?}"))),
    }
}

pub(super) fn conv(spec: &ConvSpec, x: &Array, kernel: &Array) -> Result<Array> {
    const OP: &str = "conv";
    let spatial = spec.strides.len();
    let (batch, input, channels) = split(OP, spatial, x.shape())?;
    let (window, group_channels, filters) = split_kernel(OP, spatial, kernel.shape())?;
    let windows = Windows::new(OP, input, window, &spec.strides, &spec.dilations, &spec.pads)?;
    let Some(depths) = Depths::new(batch, channels, filters, spec.groups)
        .filter(|depths| depths.channels_per_group() == group_channels)
    else {
        return wrong(OP, format!("channels and filters of {} groups", spec.groups), &[x, kernel]);
    };
    let values = floats(OP, &[x, kernel])?;
    let output = windows.output(spatial);
    let lens = (element_count(input), element_count(output));
    let mut sums = vec![0.0; batch * lens.1 * filters];
    windows.for_each(|place, position, cell| {
        depths.for_each(lens, (place, position, cell), |x, y, k| sums[y] += values[0][x] * values[1][k]);
    });
    rounded(x.dtype(), &[&[batch], output, &[filters]].concat(), sums)
}

pub(super) fn conv_grad_input(
    spec: &ConvSpec,
    input: &[usize],
    grad: &Array,
    kernel: &Array,
) -> Result<Array> {
    const OP: &str = "conv_grad_input";
    let spatial = spec.strides.len();
    let (batch, output, filters) = split(OP, spatial, grad.shape())?;
    let (window, group_channels, kernel_filters) = split_kernel(OP, spatial, kernel.shape())?;
    let windows = Windows::new(OP, input, window, &spec.strides, &spec.dilations, &spec.pads)?;
    let channels = group_channels * spec.groups;
    let Some(depths) = Depths::new(batch, channels, filters, spec.groups)
        .filter(|_| kernel_filters == filters && windows.output(spatial) == output)
    else {
        return wrong(OP, "a gradient of the convolution's result", &[grad, kernel]);
    };
    let values = floats(OP, &[grad, kernel])?;
    let lens = (element_count(input), element_count(output));
    let mut sums = vec![0.0; batch * lens.0 * channels];
    windows.for_each(|place, position, cell| {
        depths.for_each(lens, (place, position, cell), |x, y, k| sums[x] += values[0][y] * values[1][k]);
    });
    rounded(grad.dtype(), &[&[batch], input, &[channels]].concat(), sums)
}

pub(super) fn conv_grad_kernel(spec: &ConvSpec, window: &[usize], x: &Array, grad: &Array) -> Result<Array> {
    const OP: &str = "conv_grad_kernel";
    let spatial = spec.strides.len();
    let (batch, input, channels) = split(OP, spatial, x.shape())?;
    let (grad_batch, output, filters) = split(OP, spatial, grad.shape())?;
    let windows = Windows::new(OP, input, window, &spec.strides, &spec.dilations, &spec.pads)?;
    let Some(depths) = Depths::new(batch, channels, filters, spec.groups)
        .filter(|_| grad_batch == batch && windows.output(spatial) == output)
    else {
        return wrong(OP, "a gradient of the convolution's result", &[x, grad]);
    };
    let values = floats(OP, &[x, grad])?;
    let lens = (element_count(input), element_count(output));
    let mut sums = vec![0.0; element_count(window) * depths.channels_per_group() * filters];
    windows.for_each(|place, position, cell| {
        depths.for_each(lens, (place, position, cell), |x, y, k| sums[k] += values[0][x] * values[1][y]);
    });
    rounded(x.dtype(), &[window, &[depths.channels_per_group(), filters]].concat(), sums)
}

pub(super) fn max_pool(spec: &PoolSpec, x: &Array) -> Result<(Array, Array)> {
    const OP: &str = "max_pool";
    let spatial = spec.window.len();
    let (batch, input, channels) = split(OP, spatial, x.shape())?;
    let windows = Windows::of_pool(OP, input, spec)?;
    if x.dtype() == DType::Bool {
        return Err(Error::dtype(OP, "a number type", "bool"));
    }
    let output = windows.output(spatial);
    let lens = (element_count(input), element_count(output));
    let shape = [&[batch], output, &[channels]].concat();
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        let mut found: Vec<Option<(T, usize)>> = vec![None; element_count(&shape)];
        windows.for_each(|place, position, _| {
            for n in 0..batch {
                for c in 0..channels {
                    let value = source[(n * lens.0 + position) * channels + c];
                    let best = &mut found[(n * lens.1 + place) * channels + c];
                    #[allow(clippy::eq_op, clippy::bool_comparison, reason = "NaN is what differs from itself")]
                    let better = best.is_none_or(|(best, _)| best == best && (value != value || value > best));
                    if better {
                        *best = Some((value, position));
                    }
                }
            }
        });
        let found: Option<Vec<(T, usize)>> = found.into_iter().collect();
        let Some(found) = found else {
            return wrong(OP, "padding smaller than the window", &[x]);
        };
        let maxima: Vec<T> = found.iter().map(|(value, _)| *value).collect();
        let positions: Vec<i32> = found.iter().map(|(_, position)| *position as i32).collect();
        Ok((Array::from_vec(&shape, maxima)?, Array::from_vec(&shape, positions)?))
    })
}

pub(super) fn max_pool_grad(
    spec: &PoolSpec,
    input: &[usize],
    grad: &Array,
    positions: &Array,
) -> Result<Array> {
    const OP: &str = "max_pool_grad";
    let spatial = spec.window.len();
    let (batch, output, channels) = split(OP, spatial, grad.shape())?;
    let windows = Windows::of_pool(OP, input, spec)?;
    if windows.output(spatial) != output || positions.shape() != grad.shape() {
        return wrong(
            OP,
            "a gradient of the pooling's result, and positions of its shape",
            &[grad, positions],
        );
    }
    let values = floats(OP, &[grad])?;
    let lens = (element_count(input), element_count(output));
    let mut sums = vec![0.0; batch * lens.0 * channels];
    for (flat, (&value, &position)) in values[0].iter().zip(positions.as_slice::<i32>()?).enumerate() {
        let Some(position) = usize::try_from(position).ok().filter(|&i| i < lens.0) else {
            return Err(Error::value(OP, format!("positions in 0..{}", lens.0), position.to_string()));
        };
        sums[(flat / (lens.1 * channels) * lens.0 + position) * channels + flat % channels] += value;
    }
    rounded(grad.dtype(), &[&[batch], input, &[channels]].concat(), sums)
}

/// How many positions of the input each window covers.
fn counts(windows: &Windows, places: usize) -> Vec<f64> {
    let mut counts = vec![0.0; places];
    windows.for_each(|place, _, _| counts[place] += 1.0);
    counts
}

pub(super) fn avg_pool(spec: &PoolSpec, x: &Array) -> Result<Array> {
    const OP: &str = "avg_pool";
    let spatial = spec.window.len();
    let (batch, input, channels) = split(OP, spatial, x.shape())?;
    let windows = Windows::of_pool(OP, input, spec)?;
    let values = floats(OP, &[x])?;
    let output = windows.output(spatial);
    let lens = (element_count(input), element_count(output));
    let mut sums = vec![0.0; batch * lens.1 * channels];
    windows.for_each(|place, position, _| {
        for n in 0..batch {
            for c in 0..channels {
                sums[(n * lens.1 + place) * channels + c] +=
                    values[0][(n * lens.0 + position) * channels + c];
            }
        }
    });
    let counts = counts(&windows, lens.1);
    for (flat, sum) in sums.iter_mut().enumerate() {
        *sum /= counts[flat / channels % lens.1];
    }
    rounded(x.dtype(), &[&[batch], output, &[channels]].concat(), sums)
}

pub(super) fn avg_pool_grad(spec: &PoolSpec, input: &[usize], grad: &Array) -> Result<Array> {
    const OP: &str = "avg_pool_grad";
    let spatial = spec.window.len();
    let (batch, output, channels) = split(OP, spatial, grad.shape())?;
    let windows = Windows::of_pool(OP, input, spec)?;
    if windows.output(spatial) != output {
        return wrong(OP, "a gradient of the pooling's result", &[grad]);
    }
    let values = floats(OP, &[grad])?;
    let lens = (element_count(input), element_count(output));
    let counts = counts(&windows, lens.1);
    let mut sums = vec![0.0; batch * lens.0 * channels];
    windows.for_each(|place, position, _| {
        for n in 0..batch {
            for c in 0..channels {
                let share = values[0][(n * lens.1 + place) * channels + c] / counts[place];
                sums[(n * lens.0 + position) * channels + c] += share;
            }
        }
    });
    rounded(grad.dtype(), &[&[batch], input, &[channels]].concat(), sums)
}
