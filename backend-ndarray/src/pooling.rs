//! Maxima and means over windows, and their gradients; loops over contiguous channels.

use crate::geometry::Windows;
use crate::loops::Loops;
use crate::number::Number;
use crate::parallel::pieces_per_task;
use crate::run::Site;
use crate::simd::{Level, Task, dispatch};
use crate::tensor::{Out, Tensor};
use keras_core::graph::PoolSpec;
use keras_core::{DType, Error, Result};

/// Elements of a task.
const GRAIN: usize = 1 << 14;

fn windows_of(spec: &PoolSpec, input: &[usize]) -> Windows {
    let spatial = spec.window.len();
    Windows::of_pool(spec, input[0], &input[1..=spatial], input[spatial + 1])
}

/// Runs an expression with `$T` bound to the float or integer type that stores a [`DType`].
macro_rules! with_number {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::Bool => return Err(Error::dtype($op, "a number type", "bool")),
        }
    };
}

/// The rows of results that make a task: rows of `[batch · depth · height]`, each of `width · channels`.
fn rows_per_task(windows: &Windows) -> usize {
    pieces_per_task(windows.axes[2].output * windows.channels * windows.window_len(), GRAIN)
}

/// Calls `visit(result column, input position in the sample)` for every tap of the windows in a row of results, in
/// row-major order of the taps.
#[inline(always)]
fn visit_row(windows: &Windows, row: usize, mut visit: impl FnMut(usize, usize)) {
    let [depth, height, width] = &windows.axes;
    let (d, h) = (row / height.output % depth.output, row % height.output);
    for i in depth.taps(d) {
        for j in height.taps(h) {
            let line = (depth.position(d, i) * height.input + height.position(h, j)) * width.input;
            for w in 0..width.output {
                for k in width.taps(w) {
                    visit(w, line + width.position(w, k));
                }
            }
        }
    }
}

pub(crate) fn max_pool(
    site: Site<'_>,
    spec: &PoolSpec,
    x: &Tensor,
    positions: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let windows = windows_of(spec, x.shape());
    let shape = windows.output_shape(spec.window.len(), windows.channels);
    let mut out = Out::new(site.pool, &shape, x.dtype())?;
    let mut found = if positions { Some(Out::new(site.pool, &shape, DType::I32)?) } else { None };
    let row = windows.axes[2].output * windows.channels;
    let step = rows_per_task(&windows) * row;
    with_number!("max_pool", x.dtype(), T => {
        let source = x.slice::<T>();
        let found = found.as_mut().map(|out| crate::parallel::Shared::new(out.slice::<i32>()));
        site.threads.chunks(out.slice::<T>(), step, |task, chunk| {
            let (first, len) = (task * step, chunk.len());
            // SAFETY: the positions of a chunk of maxima belong to the chunk's task.
            let positions = found.as_ref().map(|found| unsafe { found.range(first, first + len) });
            dispatch(MaxRows { windows: &windows, first: first / row, source, chunk, positions });
        });
    });
    Ok((out.finish(), found.map(Out::finish)))
}

struct MaxRows<'a, T> {
    windows: &'a Windows,
    first: usize,
    source: &'a [T],
    chunk: &'a mut [T],
    positions: Option<&'a mut [i32]>,
}

impl<T: Loops> Task for MaxRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { windows, first, source, chunk, mut positions } = self;
        let channels = windows.channels;
        let len = windows.axes[2].output * channels;
        let rows_per_sample = windows.axes[0].output * windows.axes[1].output;
        for (i, maxima) in chunk.chunks_exact_mut(len).enumerate() {
            let row = first + i;
            let sample = &source[row / rows_per_sample * windows.input_len() * channels..];
            let mut places = positions.as_mut().map(|positions| &mut positions[i * len..(i + 1) * len]);
            maxima.fill(T::LOWEST);
            if let Some(places) = &mut places {
                places.fill(-1);
            }
            visit_row(windows, row, |column, position| {
                let x = &sample[position * channels..][..channels];
                let maxima = &mut maxima[column * channels..][..channels];
                match &mut places {
                    None => {
                        for (max, &x) in maxima.iter_mut().zip(x) {
                            *max = Number::max(*max, x);
                        }
                    }
                    Some(places) => {
                        let places = &mut places[column * channels..][..channels];
                        for ((max, place), &x) in maxima.iter_mut().zip(places).zip(x) {
                            // The first tap always wins over "none yet", whatever it is.
                            #[allow(clippy::needless_bitwise_bool, reason = "without branches it vectorises")]
                            let ahead = (x > *max) | (x.is_nan() & !max.is_nan()) | (*place < 0);
                            *max = if ahead { x } else { *max };
                            *place = if ahead { position as i32 } else { *place };
                        }
                    }
                }
            });
        }
    }
}

pub(crate) fn max_pool_grad(
    site: Site<'_>,
    spec: &PoolSpec,
    input: &[usize],
    grad: &Tensor,
    positions: &Tensor,
) -> Result<Tensor> {
    let (channels, batch) = (grad.shape()[spec.window.len() + 1], grad.shape()[0]);
    let shape = [&[batch], input, &[channels]].concat();
    let (source_len, places) = (grad.len() / batch, input.iter().product::<usize>());
    let mut out = Out::new(site.pool, &shape, grad.dtype())?;
    let mut outside = None;
    for &position in positions.slice::<i32>() {
        if usize::try_from(position).is_ok_and(|position| position < places) {
            continue;
        }
        outside = Some(position);
    }
    if let Some(position) = outside {
        return Err(Error::value("max_pool_grad", format!("positions below {places}"), position.to_string()));
    }
    with_number!("max_pool_grad", grad.dtype(), T => {
        let (grad, positions) = (grad.slice::<T>(), positions.slice::<i32>());
        site.threads.chunks(out.slice::<T>(), places * channels, |sample, chunk| {
            chunk.fill(T::ZERO);
            let range = sample * source_len..(sample + 1) * source_len;
            let cells = grad[range.clone()].chunks_exact(channels).zip(positions[range].chunks_exact(channels));
            for (grad, places) in cells {
                for (c, (&g, &place)) in grad.iter().zip(places).enumerate() {
                    let sum = &mut chunk[place as usize * channels + c];
                    *sum = sum.add(g);
                }
            }
        });
    });
    Ok(out.finish())
}

/// How many cells of the input the window at a position of the result covers.
fn cells(windows: &Windows, row: usize, column: usize) -> usize {
    let [depth, height, width] = &windows.axes;
    let (d, h) = (row / height.output % depth.output, row % height.output);
    depth.taps(d).len() * height.taps(h).len() * width.taps(column).len()
}

pub(crate) fn avg_pool(site: Site<'_>, spec: &PoolSpec, x: &Tensor) -> Result<Tensor> {
    let windows = windows_of(spec, x.shape());
    let shape = windows.output_shape(spec.window.len(), windows.channels);
    let mut out = Out::new(site.pool, &shape, x.dtype())?;
    let row = windows.axes[2].output * windows.channels;
    let step = rows_per_task(&windows) * row;
    with_number!("avg_pool", x.dtype(), T => {
        let source = x.slice::<T>();
        site.threads.chunks(out.slice::<T>(), step, |task, chunk| {
            dispatch(MeanRows { windows: &windows, first: task * step / row, source, chunk });
        });
    });
    Ok(out.finish())
}

struct MeanRows<'a, T> {
    windows: &'a Windows,
    first: usize,
    source: &'a [T],
    chunk: &'a mut [T],
}

impl<T: Loops> Task for MeanRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { windows, first, source, chunk } = self;
        let channels = windows.channels;
        let rows_per_sample = windows.axes[0].output * windows.axes[1].output;
        for (i, sums) in chunk.chunks_exact_mut(windows.axes[2].output * channels).enumerate() {
            let row = first + i;
            let sample = &source[row / rows_per_sample * windows.input_len() * channels..];
            sums.fill(T::ZERO);
            visit_row(windows, row, |column, position| {
                let x = &sample[position * channels..][..channels];
                for (sum, &x) in sums[column * channels..][..channels].iter_mut().zip(x) {
                    *sum = sum.add(x);
                }
            });
            for (column, sums) in sums.chunks_exact_mut(channels).enumerate() {
                let count = T::from_usize(cells(windows, row, column));
                for sum in sums.iter_mut() {
                    *sum = sum.div(count);
                }
            }
        }
    }
}

pub(crate) fn avg_pool_grad(
    site: Site<'_>,
    spec: &PoolSpec,
    input: &[usize],
    grad: &Tensor,
) -> Result<Tensor> {
    let (channels, batch) = (grad.shape()[spec.window.len() + 1], grad.shape()[0]);
    let shape = [&[batch], input, &[channels]].concat();
    let windows = windows_of(spec, &shape);
    let mut out = Out::new(site.pool, &shape, grad.dtype())?;
    with_number!("avg_pool_grad", grad.dtype(), T => {
        let source = grad.slice::<T>();
        site.threads.chunks(out.slice::<T>(), windows.input_len() * channels, |sample, chunk| {
            let grads = &source[sample * windows.output_len() * channels..][..windows.output_len() * channels];
            dispatch(SpreadSample { windows: &windows, grads, chunk });
        });
    });
    Ok(out.finish())
}

struct SpreadSample<'a, T> {
    windows: &'a Windows,
    grads: &'a [T],
    chunk: &'a mut [T],
}

impl<T: Loops> Task for SpreadSample<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let Self { windows, grads, chunk } = self;
        let channels = windows.channels;
        chunk.fill(T::ZERO);
        let mut shares = vec![T::ZERO; windows.axes[2].output * channels];
        for (row, grads) in grads.chunks_exact(shares.len()).enumerate() {
            for (column, (shares, grads)) in
                shares.chunks_exact_mut(channels).zip(grads.chunks_exact(channels)).enumerate()
            {
                let count = T::from_usize(cells(windows, row, column));
                shares.iter_mut().zip(grads).for_each(|(share, g)| *share = g.div(count));
            }
            visit_row(windows, row, |column, position| {
                let sums = &mut chunk[position * channels..][..channels];
                for (sum, &share) in sums.iter_mut().zip(&shares[column * channels..][..channels]) {
                    *sum = sum.add(share);
                }
            });
        }
    }
}
