//! [`Patches`]: which source positions the taps of each result position read, for a convolution and for its input
//! gradient alike; and the copy of them into the rows of a matrix (im2col), a block of positions at a time.

use crate::geometry::{Axis, Windows};
use crate::pool::Plain;
use std::ops::Range;

/// One spatial axis: tap `j` of result position `i` reads source position `i · step + bases[j]` if that lies in
/// `0..source`, else zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Result positions.
    pub(crate) count: usize,
    pub(crate) step: usize,
    /// Ascending.
    pub(crate) bases: Vec<isize>,
    /// The kernel's number of each tap.
    pub(crate) taps: Vec<usize>,
    pub(crate) source: usize,
    /// Result position `i` is stored at `first + i · stride`.
    first: usize,
    stride: usize,
    /// Positions of the stored result.
    stored: usize,
}

impl Reads {
    fn forward(axis: &Axis) -> Self {
        let base = |tap: usize| (tap * axis.dilation) as isize - axis.before as isize;
        Self {
            count: axis.output,
            step: axis.stride,
            bases: (0..axis.window).map(base).collect(),
            taps: (0..axis.window).collect(),
            source: axis.input,
            first: 0,
            stride: 1,
            stored: axis.output,
        }
    }

    /// The input positions that are `phase` modulo the stride: they read the result at unit steps.
    fn backward(axis: &Axis, phase: usize) -> Self {
        let stride = axis.stride as isize;
        let reach = |tap: usize| (phase + axis.before) as isize - (tap * axis.dilation) as isize;
        let taps: Vec<usize> =
            (0..axis.window).rev().filter(|&tap| reach(tap).rem_euclid(stride) == 0).collect();
        Self {
            count: (axis.input - phase).div_ceil(axis.stride),
            step: 1,
            bases: taps.iter().map(|&tap| reach(tap).div_euclid(stride)).collect(),
            taps,
            source: axis.output,
            first: phase,
            stride: axis.stride,
            stored: axis.input,
        }
    }

    fn position(&self, i: usize, tap: usize) -> Option<usize> {
        let at = (i * self.step) as isize + self.bases[tap];
        usize::try_from(at).ok().filter(|&at| at < self.source)
    }

    pub(crate) fn is_consecutive(&self) -> bool {
        self.bases.windows(2).all(|pair| pair[1] == pair[0] + 1)
    }

    fn is_identity(&self) -> bool {
        self.step == 1 && self.bases == [0] && self.source == self.count && self.is_dense()
    }

    fn is_dense(&self) -> bool {
        self.stride == 1 && self.count == self.stored
    }
}

/// The three axes of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Patches {
    pub(crate) batch: usize,
    pub(crate) axes: [Reads; 3],
    /// Channels of the source.
    pub(crate) channels: usize,
}

/// A result position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sample: usize,
    pub(crate) at: [usize; 3],
}

impl Patches {
    pub(crate) fn forward(windows: &Windows) -> Self {
        let axes = windows.axes.each_ref().map(Reads::forward);
        Self { batch: windows.batch, axes, channels: windows.channels }
    }

    /// For the gradient of the input, from a gradient of `filters` channels: one part per phase of the strides.
    pub(crate) fn backward(windows: &Windows, filters: usize) -> Vec<Self> {
        let phases = |axis: usize| 0..windows.axes[axis].stride.min(windows.axes[axis].input);
        let mut parts = Vec::new();
        for i in phases(0) {
            for j in phases(1) {
                for k in phases(2) {
                    let [depth, height, width] = &windows.axes;
                    let axes =
                        [Reads::backward(depth, i), Reads::backward(height, j), Reads::backward(width, k)];
                    parts.push(Self { batch: windows.batch, axes, channels: filters });
                }
            }
        }
        parts
    }

    /// Result positions of the whole batch.
    pub(crate) fn len(&self) -> usize {
        self.batch * self.axes.iter().map(|axis| axis.count).product::<usize>()
    }

    /// Taps of a position.
    pub(crate) fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps.len()).product()
    }

    /// The kernel's numbers of the taps, in the order in which rows hold them, for a kernel of those lengths.
    pub(crate) fn tap_numbers(&self, window: [usize; 3]) -> Vec<usize> {
        let [depth, height, width] = &self.axes;
        let mut numbers = Vec::with_capacity(self.taps());
        for i in &depth.taps {
            for j in &height.taps {
                numbers.extend(width.taps.iter().map(|k| (i * window[1] + j) * window[2] + k));
            }
        }
        numbers
    }

    /// Whether the rows of the matrix are the source's own.
    pub(crate) fn is_identity(&self) -> bool {
        self.axes.iter().all(Reads::is_identity)
    }

    /// Whether results are stored one after another.
    pub(crate) fn is_dense(&self) -> bool {
        self.axes.iter().all(Reads::is_dense)
    }

    pub(crate) fn place(&self, position: usize) -> Place {
        let [depth, height, width] = self.axes.each_ref().map(|axis| axis.count);
        let (line, k) = (position / width, position % width);
        Place { sample: line / height / depth, at: [line / height % depth, line % height, k] }
    }

    /// The place after another one.
    pub(crate) fn next(&self, place: Place) -> Place {
        let mut next = place;
        for axis in (0..3).rev() {
            next.at[axis] += 1;
            if next.at[axis] < self.axes[axis].count {
                return next;
            }
            next.at[axis] = 0;
        }
        Place { sample: place.sample + 1, ..next }
    }

    /// Where the result of a position is stored, in positions of the stored result.
    pub(crate) fn stored_at(&self, place: &Place) -> usize {
        let axes = self.axes.iter().zip(place.at);
        axes.fold(place.sample, |at, (axis, i)| at * axis.stored + axis.first + i * axis.stride)
    }

    /// The source lines that the tap lines (depth × height) of a position read: position of the line's start.
    pub(crate) fn lines(&self, place: &Place, lines: &mut Vec<Option<usize>>) {
        let [depth, height, width] = &self.axes;
        lines.clear();
        for i in 0..depth.taps.len() {
            let d = depth.position(place.at[0], i);
            for j in 0..height.taps.len() {
                let line = d.zip(height.position(place.at[1], j));
                let at = |(d, h)| ((place.sample * depth.source + d) * height.source + h) * width.source;
                lines.push(line.map(at));
            }
        }
    }

    /// Copies what the taps of the positions read, of some channels, into the rows of `matrix`
    /// (`positions × (taps · channels)`).
    pub(crate) fn gather<T: Plain>(
        &self,
        source: &[T],
        channels: Range<usize>,
        positions: Range<usize>,
        matrix: &mut [T],
    ) {
        let width = &self.axes[2];
        let run = width.taps.len() * channels.len();
        if self.taps() == 0 {
            return;
        }
        let whole = width.is_consecutive() && channels.len() == self.channels;
        let mut lines = Vec::new();
        let mut rows = matrix.chunks_exact_mut(self.taps() * channels.len());
        let mut position = positions.start;
        while position < positions.end {
            let place = self.place(position);
            self.lines(&place, &mut lines);
            let count = (width.count - place.at[2]).min(positions.end - position);
            for (k, row) in (place.at[2]..place.at[2] + count).zip(&mut rows) {
                for (line, target) in lines.iter().zip(row.chunks_exact_mut(run)) {
                    let Some(line) = line else {
                        target.fill(T::default());
                        continue;
                    };
                    let source = &source[line * self.channels..][..width.source * self.channels];
                    if whole {
                        copy_run((k * width.step) as isize + width.bases[0], source, self.channels, target);
                    } else {
                        copy_taps(width, k, source, self.channels, &channels, target);
                    }
                }
            }
            position += count;
        }
    }
}

/// Copies consecutive positions from `start` on, which may begin before the line or end after it.
#[inline]
fn copy_run<T: Plain>(start: isize, line: &[T], channels: usize, target: &mut [T]) {
    let from = start * channels as isize;
    if let Some(inside) = usize::try_from(from).ok().and_then(|from| line.get(from..from + target.len())) {
        match target.len() {
            3 => copy_few::<T, 3>(inside, target),
            5 => copy_few::<T, 5>(inside, target),
            7 => copy_few::<T, 7>(inside, target),
            9 => copy_few::<T, 9>(inside, target),
            _ => target.copy_from_slice(inside),
        }
        return;
    }
    let before = from.min(0).unsigned_abs().min(target.len());
    let (zeros, rest) = target.split_at_mut(before);
    zeros.fill(T::default());
    let line = line.get(from.max(0) as usize..).unwrap_or_default();
    let inside = rest.len().min(line.len());
    rest[..inside].copy_from_slice(&line[..inside]);
    rest[inside..].fill(T::default());
}

/// A copy without a call.
#[inline(always)]
fn copy_few<T: Plain, const N: usize>(source: &[T], target: &mut [T]) {
    if let (Some(source), Some(target)) = (source.first_chunk::<N>(), target.first_chunk_mut::<N>()) {
        *target = *source;
    }
}

/// Copies some channels of taps that lie anywhere in the line.
fn copy_taps<T: Plain>(
    width: &Reads,
    k: usize,
    line: &[T],
    channels: usize,
    some: &Range<usize>,
    target: &mut [T],
) {
    for (tap, target) in target.chunks_exact_mut(some.len()).enumerate() {
        match width.position(k, tap) {
            Some(at) => target.copy_from_slice(&line[at * channels + some.start..at * channels + some.end]),
            None => target.fill(T::default()),
        }
    }
}
