//! Reading and adding rows by index.

use crate::number::Number;
use crate::parallel::{Shared, pieces_per_task};
use crate::pool::Plain;
use crate::run::Site;
use crate::tensor::{Out, Tensor, with_size, with_storage};
use keras_core::{DType, Error, Result};

/// Elements of a task.
const GRAIN: usize = 1 << 15;

/// The indices, each seen to lie in `0..size`.
fn checked(op: &str, indices: &Tensor, size: usize) -> Result<Vec<usize>> {
    let wrong = |index: i64| {
        Error::value(op, format!("indices from 0 to {}", size as i64 - 1), format!("{index}"))
            .advice(format!("the axis has {size} rows; count the names or words it stands for"))
    };
    let check =
        |index: i64| usize::try_from(index).ok().filter(|&index| index < size).ok_or_else(|| wrong(index));
    match indices.dtype() {
        DType::I32 => indices.slice::<i32>().iter().map(|&index| check(index.into())).collect(),
        DType::I64 => indices.slice::<i64>().iter().map(|&index| check(index)).collect(),
        other => Err(Error::dtype(op, "indices of int32 or int64", other.name())),
    }
}

pub(crate) fn gather(site: Site<'_>, x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor> {
    let (outer, rest) = x.shape().split_at(axis);
    let (size, inner) = (rest[0], &rest[1..]);
    let rows = checked("gather", indices, size)?;
    let shape = [outer, indices.shape(), inner].concat();
    let inner = inner.iter().product();
    let mut out = Out::new(site.pool, &shape, x.dtype())?;
    with_size!(x.dtype(), T => take::<T>(site, x.slice(), &rows, size, inner, out.slice()));
    Ok(out.finish())
}

fn take<T: Plain>(site: Site<'_>, x: &[T], rows: &[usize], size: usize, inner: usize, out: &mut [T]) {
    let step = pieces_per_task(inner, GRAIN);
    site.threads.chunks(out, step * inner, |task, chunk| {
        for (i, target) in chunk.chunks_exact_mut(inner).enumerate() {
            let at = task * step + i;
            let row = (at / rows.len()) * size + rows[at % rows.len()];
            target.copy_from_slice(&x[row * inner..][..inner]);
        }
    });
}

pub(crate) fn scatter_add(site: Site<'_>, size: usize, indices: &Tensor, updates: &Tensor) -> Result<Tensor> {
    let rows = checked("scatter_add", indices, size)?;
    let inner = &updates.shape()[indices.shape().len()..];
    let shape = [&[size], inner].concat();
    let inner = inner.iter().product();
    let mut out = Out::new(site.pool, &shape, updates.dtype())?;
    with_storage!(updates.dtype(), T => add_rows::<T>(site, &rows, inner, updates.slice(), out.slice()));
    Ok(out.finish())
}

/// Every task owns some columns or some rows of the result and goes through all indices in order, so each element is
/// a sum in the order of the indices.
fn add_rows<T: Number>(site: Site<'_>, rows: &[usize], inner: usize, updates: &[T], out: &mut [T]) {
    let size = out.len() / inner;
    let (bands, strips) = if inner >= 256 { (1, inner.div_ceil(128)) } else { (size.clamp(1, 8), 1) };
    let (band, strip) = (size.div_ceil(bands), inner.div_ceil(strips));
    let tasks = if rows.len() * inner < GRAIN { 1 } else { bands * strips };
    let (band, strip) = if tasks == 1 { (size, inner) } else { (band, strip) };
    let out = Shared::new(out);
    site.threads.run(tasks, |task| {
        let (low, column) =
            if tasks == 1 { (0, 0) } else { ((task / strips) * band, (task % strips) * strip) };
        let end = inner.min(column + strip);
        let high = size.min(low + band);
        // SAFETY: this task alone has these rows and columns.
        let target = |row: usize| unsafe { out.range(row * inner + column, row * inner + end) };
        (low..high).for_each(|row| target(row).fill(T::ZERO));
        for (&row, update) in rows.iter().zip(updates.chunks_exact(inner)) {
            if (low..high).contains(&row) {
                for (sum, &x) in target(row).iter_mut().zip(&update[column..end]) {
                    *sum = sum.add(x);
                }
            }
        }
    });
}
