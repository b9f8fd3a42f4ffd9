//! Moving elements: every operation here is one strided copy, from a walk over the operand to a walk over the result.

use crate::parallel::{Shared, Threads, pieces_per_task};
use crate::pool::Plain;
use crate::run::Site;
use crate::tensor::{Out, Tensor, with_size};
use keras_core::graph::SliceSpec;
use keras_core::{Error, Result};

/// Elements of a task.
const GRAIN: usize = 1 << 15;

/// Side of the squares in which a transposition goes.
const BLOCK: usize = 16;

/// A walk over memory: where it starts and how far each axis steps.
#[derive(Debug, Clone)]
struct Walk {
    offset: usize,
    steps: Vec<isize>,
}

/// Row-major steps of a shape.
fn row_major(shape: &[usize]) -> Vec<isize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>() as isize).collect()
}

impl Walk {
    fn contiguous(shape: &[usize]) -> Self {
        Self { offset: 0, steps: row_major(shape) }
    }

    /// The box of a slice of memory of that shape.
    fn of_box(shape: &[usize], spec: &SliceSpec) -> Self {
        let from = row_major(shape);
        let offset = spec.starts.iter().zip(&from).map(|(&start, &step)| start * step.unsigned_abs()).sum();
        Self { offset, steps: spec.steps.iter().zip(&from).map(|(&by, &step)| by as isize * step).collect() }
    }
}

/// Merges neighbouring axes that both walks step through evenly, and drops axes of length 1.
fn collapse(shape: &[usize], to: &Walk, from: &Walk) -> (Vec<usize>, Walk, Walk) {
    let mut lens: Vec<usize> = Vec::new();
    let (mut to_steps, mut from_steps): (Vec<isize>, Vec<isize>) = (Vec::new(), Vec::new());
    for axis in (0..shape.len()).filter(|&axis| shape[axis] != 1) {
        let (len, a, b) = (shape[axis], to.steps[axis], from.steps[axis]);
        match (lens.last_mut(), to_steps.last_mut(), from_steps.last_mut()) {
            (Some(last), Some(x), Some(y)) if *x == a * len as isize && *y == b * len as isize => {
                *last *= len;
                (*x, *y) = (a, b);
            }
            _ => {
                lens.push(len);
                to_steps.push(a);
                from_steps.push(b);
            }
        }
    }
    if lens.is_empty() {
        (lens, to_steps, from_steps) = (vec![1], vec![1], vec![1]);
    }
    (lens, Walk { offset: to.offset, steps: to_steps }, Walk { offset: from.offset, steps: from_steps })
}

/// Copies along two walks over `shape`. The walk over the target visits no element twice.
fn copy<T: Plain>(
    threads: &Threads,
    shape: &[usize],
    target: &mut [T],
    to: &Walk,
    source: &[T],
    from: &Walk,
) {
    let (mut lens, mut to, mut from) = collapse(shape, to, from);
    let last = lens.len() - 1;
    // A transposition reads one axis evenly and writes another: those two go last and are walked in squares.
    let even = (from.steps[last] != 1).then(|| from.steps.iter().position(|&step| step == 1)).flatten();
    let square = even.filter(|_| to.steps[last] == 1);
    if let Some(axis) = square {
        for steps in [&mut to.steps, &mut from.steps] {
            let step = steps.remove(axis);
            steps.insert(last - 1, step);
        }
        let len = lens.remove(axis);
        lens.insert(last - 1, len);
    }
    let inner_axes = if square.is_some() { 2 } else { 1 };
    let outer_axes = lens.len() - inner_axes;
    let inner: usize = lens[outer_axes..].iter().product();
    let units: usize = lens[..outer_axes].iter().product();
    // One long row or matrix is cut along its first axis.
    let cut = if units == 1 { lens[outer_axes] } else { 1 };
    let pieces = if inner * units > 2 * GRAIN { cut.min((inner / GRAIN).max(1)) } else { 1 };
    let piece = lens[outer_axes].div_ceil(pieces);
    let step = pieces_per_task(inner / pieces, GRAIN);
    let shared = Shared::new(target);
    threads.run((units * pieces).div_ceil(step), |task| {
        for unit in task * step..(units * pieces).min((task + 1) * step) {
            let (mut rest, part) = (unit / pieces, unit % pieces);
            let (mut a, mut b) = (to.offset as isize, from.offset as isize);
            for axis in (0..outer_axes).rev() {
                let at = (rest % lens[axis]) as isize;
                rest /= lens[axis];
                a += at * to.steps[axis];
                b += at * from.steps[axis];
            }
            let first = part * piece;
            let count = piece.min(lens[outer_axes].saturating_sub(first));
            if count == 0 {
                continue;
            }
            a += first as isize * to.steps[outer_axes];
            b += first as isize * from.steps[outer_axes];
            let outer = (count, to.steps[outer_axes], from.steps[outer_axes]);
            if square.is_some() {
                transpose(outer, (lens[last], from.steps[last]), &shared, a, source, b);
            } else {
                row(outer, &shared, a, source, b);
            }
        }
    });
}

/// Copies one axis.
fn row<T: Plain>(
    (len, to, from): (usize, isize, isize),
    target: &Shared<'_, T>,
    a: isize,
    source: &[T],
    b: isize,
) {
    let (a, b) = (a as usize, b as usize);
    if to == 1 {
        // SAFETY: the walk over the target visits no element twice, so no other row has these.
        let target = unsafe { target.range(a, a + len) };
        match from {
            1 => target.copy_from_slice(&source[b..b + len]),
            0 => target.fill(source[b]),
            -1 => target.iter_mut().zip(source[..=b].iter().rev()).for_each(|(y, &x)| *y = x),
            _ if from > 0 => {
                target.iter_mut().zip(source[b..].iter().step_by(from as usize)).for_each(|(y, &x)| *y = x);
            }
            _ => {
                let back = source[..=b].iter().rev().step_by(from.unsigned_abs());
                target.iter_mut().zip(back).for_each(|(y, &x)| *y = x);
            }
        }
        return;
    }
    for i in 0..len {
        let (at, read) = (a.wrapping_add_signed(i as isize * to), b.wrapping_add_signed(i as isize * from));
        // SAFETY: as above; one element.
        if let [y] = unsafe { target.range(at, at + 1) } {
            *y = source[read];
        }
    }
}

/// Copies a matrix whose rows are read evenly along the first axis and written evenly along the second.
fn transpose<T: Plain>(
    (rows, to, _): (usize, isize, isize),
    (columns, from): (usize, isize),
    target: &Shared<'_, T>,
    a: isize,
    source: &[T],
    b: isize,
) {
    for column in (0..columns).step_by(BLOCK) {
        let width = BLOCK.min(columns - column);
        for row in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - row);
            let read = (b + column as isize * from) as usize + row;
            let write = (a + row as isize * to) as usize + column;
            if (width, height) == (BLOCK, BLOCK) && from > 0 && to > 0 {
                let (from, to) = (from as usize, to as usize);
                let source = &source[read..=read + (BLOCK - 1) * (from + 1)];
                // SAFETY: the walk over the target visits no element twice, so no other matrix has these.
                unsafe { turn(source, from, target.as_ptr().wrapping_add(write), to) };
                continue;
            }
            for i in 0..height {
                let start = write.wrapping_add_signed(i as isize * to);
                // SAFETY: as above.
                let line = unsafe { target.range(start, start + width) };
                for (j, y) in line.iter_mut().enumerate() {
                    *y = source[read.wrapping_add_signed(j as isize * from) + i];
                }
            }
        }
    }
}

/// Transposes a square: `target[i · to + j] = source[j · from + i]`.
///
/// # Safety
/// The lines of the square lie in valid memory behind `target` that nothing else accesses meanwhile.
unsafe fn turn<T: Plain>(source: &[T], from: usize, target: *mut T, to: usize) {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && crate::simd::isa() >= crate::simd::Isa::Avx2 {
        for (i, j) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            let (source, target) = (source[j * from + i..].as_ptr(), target.wrapping_add(i * to + j));
            // SAFETY: the machine has AVX; elements have four bytes; eighths of the square on both sides.
            unsafe { turn_words(source.cast(), from, target.cast(), to) };
        }
        return;
    }
    for i in 0..BLOCK {
        // SAFETY: the caller's promise.
        let line = unsafe { std::slice::from_raw_parts_mut(target.wrapping_add(i * to), BLOCK) };
        for (j, y) in line.iter_mut().enumerate() {
            *y = source[j * from + i];
        }
    }
}

/// Transposes 8 × 8 elements of four bytes.
///
/// # Safety
/// The machine has AVX; eight lines of eight elements are valid, `from` and `to` elements apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn turn_words(source: *const f32, from: usize, target: *mut f32, to: usize) {
    use std::arch::x86_64::{
        _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
        _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's promise.
    let lines: [_; 8] = std::array::from_fn(|j| unsafe { _mm256_loadu_ps(source.wrapping_add(j * from)) });
    let pairs = [0, 2, 4, 6]
        .map(|j| (_mm256_unpacklo_ps(lines[j], lines[j + 1]), _mm256_unpackhi_ps(lines[j], lines[j + 1])));
    let quads = [0, 2].map(|j| {
        let ((a, b), (c, d)) = (pairs[j], pairs[j + 1]);
        [
            _mm256_shuffle_ps::<0x44>(a, c),
            _mm256_shuffle_ps::<0xee>(a, c),
            _mm256_shuffle_ps::<0x44>(b, d),
            _mm256_shuffle_ps::<0xee>(b, d),
        ]
    });
    for (i, (&upper, &lower)) in quads[0].iter().zip(&quads[1]).enumerate() {
        let low = _mm256_permute2f128_ps::<0x20>(upper, lower);
        let high = _mm256_permute2f128_ps::<0x31>(upper, lower);
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(target.wrapping_add(i * to), low);
            _mm256_storeu_ps(target.wrapping_add((i + 4) * to), high);
        }
    }
}

/// A fresh tensor that walks over an operand.
fn walked(site: Site<'_>, x: &Tensor, shape: &[usize], from: &Walk) -> Result<Tensor> {
    let mut out = Out::new(site.pool, shape, x.dtype())?;
    with_size!(x.dtype(), T => {
        let to = Walk::contiguous(shape);
        copy::<T>(site.threads, shape, bits(&mut out), &to, bits_of(x), from);
    });
    Ok(out.finish())
}

/// The elements as integers of their size.
fn bits_of<T: Plain>(x: &Tensor) -> &[T] {
    x.slice()
}

fn bits<T: Plain>(out: &mut Out) -> &mut [T] {
    out.slice()
}

pub(crate) fn permute(site: Site<'_>, x: &Tensor, perm: &[usize]) -> Result<Tensor> {
    let from = row_major(x.shape());
    let shape: Vec<usize> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    walked(site, x, &shape, &Walk { offset: 0, steps: perm.iter().map(|&axis| from[axis]).collect() })
}

pub(crate) fn broadcast(site: Site<'_>, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let from = row_major(x.shape());
    let steps = x.shape().iter().zip(from).map(|(&len, step)| if len == 1 { 0 } else { step }).collect();
    walked(site, x, shape, &Walk { offset: 0, steps })
}

pub(crate) fn slice(site: Site<'_>, x: &Tensor, spec: &SliceSpec) -> Result<Tensor> {
    walked(site, x, &spec.shape(), &Walk::of_box(x.shape(), spec))
}

pub(crate) fn reverse(site: Site<'_>, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut walk = Walk::contiguous(x.shape());
    for &axis in axes {
        walk.offset += (x.shape()[axis] - 1) * walk.steps[axis].unsigned_abs();
        walk.steps[axis] = -walk.steps[axis];
    }
    walked(site, x, x.shape(), &walk)
}

/// A copy in memory of its own.
pub(crate) fn duplicate(site: Site<'_>, x: &Tensor) -> Result<Out> {
    let mut out = Out::new(site.pool, x.shape(), x.dtype())?;
    with_size!(x.dtype(), T => {
        let walk = Walk::contiguous(x.shape());
        copy::<T>(site.threads, x.shape(), bits(&mut out), &walk, bits_of(x), &walk);
    });
    Ok(out)
}

/// Writes `update` into a box of `out`.
fn write_box(site: Site<'_>, out: &mut Out, update: &Tensor, spec: &SliceSpec) {
    let to = Walk::of_box(&out.shape, spec);
    with_size!(out.dtype, T => {
        let from = Walk::contiguous(update.shape());
        copy::<T>(site.threads, update.shape(), bits(out), &to, bits_of(update), &from);
    });
}

pub(crate) fn slice_update(site: Site<'_>, base: Out, update: &Tensor, spec: &SliceSpec) -> Tensor {
    let mut base = base;
    write_box(site, &mut base, update, spec);
    base.finish()
}

pub(crate) fn pad(site: Site<'_>, x: &Tensor, pads: &[(usize, usize)]) -> Result<Tensor> {
    let shape: Vec<usize> =
        x.shape().iter().zip(pads).map(|(len, (before, after))| before + len + after).collect();
    let mut out = Out::new(site.pool, &shape, x.dtype())?;
    with_size!(x.dtype(), T => {
        site.threads.chunks(bits::<T>(&mut out), GRAIN, |_, chunk| chunk.fill(T::default()));
    });
    let spec = SliceSpec {
        starts: pads.iter().map(|(before, _)| *before).collect(),
        stops: x.shape().iter().zip(pads).map(|(len, (before, _))| before + len).collect(),
        steps: vec![1; pads.len()],
    };
    write_box(site, &mut out, x, &spec);
    Ok(out.finish())
}

pub(crate) fn concat(site: Site<'_>, parts: &[Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return Err(Error::value("concat", "at least one operand", "none"));
    };
    let mut shape = first.shape().to_vec();
    shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
    let mut out = Out::new(site.pool, &shape, first.dtype())?;
    let mut spec =
        SliceSpec { starts: vec![0; shape.len()], stops: shape.clone(), steps: vec![1; shape.len()] };
    for part in parts.iter().filter(|part| !part.is_empty()) {
        spec.stops[axis] = spec.starts[axis] + part.shape()[axis];
        write_box(site, &mut out, part, &spec);
        spec.starts[axis] = spec.stops[axis];
    }
    Ok(out.finish())
}
