//! Boxes, rows by index, reductions.

use crate::tensor::{Operand, Raw, copied, ints};
use keras_core::graph::{Reduce, SliceSpec};
use tch::Tensor;

pub(crate) fn reduce(op: Reduce, x: &Tensor, axes: &[usize]) -> Raw {
    if axes.is_empty() {
        return copied(x);
    }
    let kind = x.kind();
    match op {
        Reduce::Sum => x.f_sum_dim_intlist(ints(axes), false, kind),
        Reduce::Max => x.f_amax(ints(axes), false),
        Reduce::Min => x.f_amin(ints(axes), false),
        Reduce::Prod => axes
            .iter()
            .rev()
            .try_fold(x.shallow_clone(), |x, &axis| x.f_prod_dim_int(axis as i64, false, kind)),
    }
}

/// A view of a strided box.
pub(crate) fn slice(x: &Tensor, spec: &SliceSpec) -> Raw {
    let bounds = x.size().into_iter().zip(&spec.starts).zip(spec.stops.iter().zip(&spec.steps));
    bounds.enumerate().try_fold(x.shallow_clone(), |x, (axis, ((len, &start), (&stop, &step)))| {
        if (start, stop as i64, step) == (0, len, 1) {
            return Ok(x);
        }
        x.f_slice(axis as i64, start as i64, stop as i64, step as i64)
    })
}

pub(crate) fn slice_update(base: Operand, update: &Tensor, spec: &SliceSpec) -> Raw {
    let base = if base.free { base.tensor } else { copied(&base.tensor)? };
    slice(&base, spec)?.f_copy_(update)?;
    Ok(base)
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the axis")]
pub(crate) fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Raw {
    let (shape, places) = (x.size(), indices.size());
    let result = [&shape[..axis], &places, &shape[axis + 1..]].concat();
    x.f_index_select(axis as i64, &indices.f_reshape([-1])?)?.f_reshape(result)
}

pub(crate) fn scatter_add(size: usize, indices: &Tensor, updates: &Tensor) -> Raw {
    let rest: Vec<i64> = updates.size().into_iter().skip(indices.dim()).collect();
    let (width, count): (i64, i64) = (rest.iter().product(), indices.numel() as i64);
    let mut sums = Tensor::f_zeros([size as i64, width], (updates.kind(), updates.device()))?;
    let sums = sums.f_index_add_(0, &indices.f_reshape([-1])?, &updates.f_reshape([count, width])?)?;
    sums.f_reshape([&[size as i64], rest.as_slice()].concat())
}
