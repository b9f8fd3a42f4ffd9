//! Boxes, padding, rows by index.

use crate::tensor::Raw;
use candle_core::{DType, Device, Error, Layout, Storage, Tensor, WithDType, bail};
use keras_core::graph::SliceSpec;

fn positions(places: impl Iterator<Item = usize>, device: &Device) -> Raw {
    let places: Vec<i64> = places.map(|place| place as i64).collect();
    let len = places.len();
    Tensor::from_vec(places, len, device)
}

/// A strided box: a view where the axes it steps along are multiples of the steps, else rows are picked.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the rank")]
pub(crate) fn slice(x: &Tensor, spec: &SliceSpec) -> Raw {
    let lens = spec.shape();
    let mut x = x.clone();
    for (axis, &len) in lens.iter().enumerate() {
        let (start, step) = (spec.starts[axis], spec.steps[axis]);
        if step == 1 || len == 1 {
            x = x.narrow(axis, start, len)?;
        } else if !splits(&x, axis, step, start, len) {
            let places = positions((0..len).map(|i| start + i * step), x.device())?;
            x = x.contiguous()?.index_select(&places, axis)?;
        }
    }
    // The axes left over are seen as rows of `step` elements, of each of which one column is taken.
    let stepped = |axis: usize| x.dims()[axis] != lens[axis];
    let mut split = Vec::new();
    for (axis, &len) in lens.iter().enumerate() {
        if stepped(axis) {
            split.extend([x.dims()[axis] / spec.steps[axis], spec.steps[axis]]);
        } else {
            split.push(len);
        }
    }
    if split.len() == lens.len() {
        return Ok(x);
    }
    let mut seen = x.reshape(split)?;
    for (axis, &len) in lens.iter().enumerate() {
        if stepped(axis) {
            let (start, step) = (spec.starts[axis], spec.steps[axis]);
            seen = seen.narrow(axis + 1, start % step, 1)?.squeeze(axis + 1)?;
            seen = seen.narrow(axis, start / step, len)?;
        }
    }
    Ok(seen)
}

/// Whether an axis can be seen as rows of `step` elements without copying.
fn splits(x: &Tensor, axis: usize, step: usize, start: usize, len: usize) -> bool {
    let whole = x.dims().get(axis).is_some_and(|size| size % step == 0 && *size != len);
    whole && x.is_contiguous() && start / step + len <= x.dims().get(axis).map_or(0, |size| size / step)
}

/// `base` with a strided box replaced; in place if that is allowed and the box is a range of one axis.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the rank")]
pub(crate) fn slice_update(base: &Tensor, writable: bool, update: &Tensor, spec: &SliceSpec) -> Raw {
    let (dims, lens) = (base.dims(), spec.shape());
    let partial: Vec<usize> = (0..lens.len()).filter(|&axis| lens[axis] != dims[axis]).collect();
    let (axis, start) = match partial[..] {
        [] => return update.force_contiguous(),
        [axis] if spec.steps[axis] == 1 => (axis, spec.starts[axis]),
        _ => return update_apart(base, update, spec, &partial),
    };
    let result = if writable && base.is_contiguous() { base.clone() } else { base.force_contiguous()? };
    result.slice_set(&update.contiguous()?, axis, start)?;
    Ok(result)
}

/// Spreads the update over the places of the base, axis by axis; a mask says where it counts.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the rank")]
fn update_apart(base: &Tensor, update: &Tensor, spec: &SliceSpec, partial: &[usize]) -> Raw {
    let (dims, device) = (base.dims(), base.device());
    let (mut wide, mut mask) = (update.clone(), None::<Tensor>);
    for &axis in partial {
        let (start, stop, step) = (spec.starts[axis], spec.stops[axis], spec.steps[axis]);
        let hit = |place: usize| place >= start && place < stop && (place - start).is_multiple_of(step);
        let from = (0..dims[axis]).map(|place| if hit(place) { (place - start) / step } else { 0 });
        wide = wide.contiguous()?.index_select(&positions(from, device)?, axis)?;
        let mut shape = vec![1; dims.len()];
        shape[axis] = dims[axis];
        let hits: Vec<u8> = (0..dims[axis]).map(|place| u8::from(hit(place))).collect();
        let hits = Tensor::from_vec(hits, shape, device)?;
        mask = Some(match mask {
            None => hits,
            Some(mask) => mask.broadcast_minimum(&hits)?,
        });
    }
    match mask {
        Some(mask) => mask.broadcast_as(dims)?.where_cond(&wide, base),
        None => Ok(wide),
    }
}

pub(crate) fn pad(x: &Tensor, pads: &[(usize, usize)]) -> Raw {
    pads.iter().enumerate().try_fold(x.clone(), |x, (axis, &(before, after))| {
        if (before, after) == (0, 0) { Ok(x) } else { x.pad_with_zeros(axis, before, after) }
    })
}

/// Parts side by side along an axis.
pub(crate) fn concat(parts: &[&Tensor], axis: usize) -> Raw {
    let Some(first) = parts.first() else { bail!("nothing to join") };
    // candle copies views by themselves before it joins them; the windows of a convolution are many.
    if first.device().is_cpu() && parts.iter().any(|part| !part.is_contiguous()) {
        match first.dtype() {
            DType::F32 => return joined::<f32>(parts, axis),
            DType::F64 => return joined::<f64>(parts, axis),
            _ => {}
        }
    }
    let dense: candle_core::Result<Vec<Tensor>> = parts.iter().map(|part| part.contiguous()).collect();
    Tensor::cat(&dense?, axis)
}

/// The same with each element copied once, from wherever the part has it.
#[allow(clippy::indexing_slicing, reason = "the shape rule fixed rank and axis")]
fn joined<T: WithDType>(parts: &[&Tensor], axis: usize) -> Raw {
    let Some(first) = parts.first() else { bail!("nothing to join") };
    let held: Vec<_> = parts.iter().map(|part| part.storage_and_layout()).collect();
    let mut sources = Vec::with_capacity(parts.len());
    for (storage, layout) in &held {
        let Storage::Cpu(storage) = &**storage else { bail!("a tensor that is not on the CPU") };
        sources.push((T::cpu_storage_as_slice(storage)?, *layout));
    }
    let mut shape = first.dims().to_vec();
    shape[axis] = parts.iter().map(|part| part.dims()[axis]).sum();
    let mut values = Vec::with_capacity(shape.iter().product());
    let rows: usize = shape[..axis].iter().product();
    // The index of a row, and where each part has it.
    let mut index = vec![0; axis];
    let mut starts: Vec<usize> = sources.iter().map(|(_, layout)| layout.start_offset()).collect();
    for _ in 0..rows {
        for ((source, layout), &start) in sources.iter().zip(&starts) {
            append(&mut values, source, layout, axis, start);
        }
        for at in (0..axis).rev() {
            index[at] += 1;
            let back = if index[at] == shape[at] { std::mem::take(&mut index[at]) } else { 0 };
            for ((_, layout), start) in sources.iter().zip(&mut starts) {
                *start = *start + layout.stride()[at] - back * layout.stride()[at];
            }
            if back == 0 {
                break;
            }
        }
    }
    Tensor::from_vec(values, shape, first.device())
}

/// Appends the elements over the axes from `axis` on.
#[allow(clippy::indexing_slicing, reason = "a layout's strides stay within its storage")]
fn append<T: WithDType>(values: &mut Vec<T>, source: &[T], layout: &Layout, axis: usize, start: usize) {
    match (layout.dims()[axis..].split_first(), layout.stride()[axis..].first()) {
        (Some((&len, [])), Some(1)) => values.extend_from_slice(&source[start..start + len]),
        (Some((&len, _)), Some(&stride)) => {
            (0..len).for_each(|i| append(values, source, layout, axis + 1, start + i * stride));
        }
        _ => values.push(source[start]),
    }
}

/// Flat int64 indices; an error if one is not below `len`. candle takes the largest for "no row".
fn checked(indices: &Tensor, len: usize) -> Raw {
    let flat = indices.flatten_all()?.to_dtype(DType::I64)?.contiguous()?;
    let (low, high) = (flat.min(0)?.to_scalar::<i64>()?, flat.max(0)?.to_scalar::<i64>()?);
    if low < 0 || high >= len as i64 {
        let wrong = if low < 0 { low } else { high };
        bail!("index {wrong} is not one of {len} rows");
    }
    Ok(flat)
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the axis")]
pub(crate) fn gather(x: &Tensor, indices: &Tensor, axis: usize) -> Raw {
    let dims = x.dims();
    let shape = [&dims[..axis], indices.dims(), &dims[axis + 1..]].concat();
    x.contiguous()?.index_select(&checked(indices, dims[axis])?, axis)?.reshape(shape)
}

pub(crate) fn scatter_add(size: usize, indices: &Tensor, updates: &Tensor) -> Raw {
    let Some(rest) = updates.dims().get(indices.rank()..) else {
        return Err(Error::Msg("fewer axes of updates than of indices".into()));
    };
    let (count, width) = (indices.elem_count(), rest.iter().product::<usize>());
    let zeros = Tensor::zeros((size, width), updates.dtype(), updates.device())?;
    let rows = updates.reshape((count, width))?.contiguous()?;
    zeros.index_add(&checked(indices, size)?, &rows, 0)?.reshape([&[size], rest].concat())
}
