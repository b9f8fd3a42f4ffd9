//! Operations that move elements: shapes, boxes, indices.

use crate::array::{Array, DType, Element, element_count};
use crate::error::{Error, Result};
use crate::graph::{SliceSpec, Type};
use crate::with_dtype;

/// Elements to step per axis in row-major order.
pub(in crate::backend) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    let mut step = 1;
    for (stride, &len) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step *= len as isize;
    }
    strides
}

/// The flat places that a strided walk over `shape` visits, in row-major order.
pub(in crate::backend) fn walk(shape: &[usize], steps: &[isize], offset: usize) -> Vec<usize> {
    let mut places = vec![offset];
    for (&len, &step) in shape.iter().zip(steps) {
        let row = |&place: &usize| (0..len as isize).map(move |i| place.wrapping_add_signed(i * step));
        places = places.iter().flat_map(row).collect();
    }
    places
}

/// The elements that a strided walk visits, under the shape of the walk.
fn walked(x: &Array, shape: &[usize], steps: &[isize], offset: usize) -> Result<Array> {
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        Array::from_vec(shape, walk(shape, steps, offset).into_iter().map(|i| source[i]).collect())
    })
}

fn wrong<T>(op: &str, expected: impl Into<String>, x: &Array) -> Result<T> {
    Err(Error::shape(op, expected, format!("shape {:?}", x.shape())))
}

pub(super) fn permute(x: &Array, perm: &[usize]) -> Result<Array> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return wrong("permute", format!("as many axes as {perm:?} reorders"), x);
    }
    let from = strides(x.shape());
    let shape: Vec<usize> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    let steps: Vec<isize> = perm.iter().map(|&axis| from[axis]).collect();
    walked(x, &shape, &steps, 0)
}

pub(super) fn broadcast(x: &Array, shape: &[usize]) -> Result<Array> {
    let fits =
        x.rank() == shape.len() && x.shape().iter().zip(shape).all(|(&from, &to)| from == to || from == 1);
    if !fits {
        return wrong("broadcast", format!("axes of {shape:?} or of length 1"), x);
    }
    let from = strides(x.shape());
    let steps: Vec<isize> =
        x.shape().iter().zip(from).map(|(&len, step)| if len == 1 { 0 } else { step }).collect();
    walked(x, shape, &steps, 0)
}

fn check_box(op: &str, x: &Array, spec: &SliceSpec) -> Result<()> {
    let rank = x.rank();
    let fits = [spec.starts.len(), spec.stops.len(), spec.steps.len()] == [rank; 3]
        && x.shape().iter().zip(&spec.stops).all(|(len, stop)| stop <= len)
        && spec.steps.iter().all(|&step| step >= 1);
    if fits { Ok(()) } else { wrong(op, format!("an operand around the box {spec:?}"), x) }
}

/// The flat place, in an operand of that shape, of each element of the box.
fn places(shape: &[usize], spec: &SliceSpec) -> Vec<usize> {
    let from = strides(shape);
    let offset = spec.starts.iter().zip(&from).map(|(start, stride)| start * stride.unsigned_abs()).sum();
    let steps: Vec<isize> =
        spec.steps.iter().zip(&from).map(|(&step, stride)| step as isize * stride).collect();
    walk(&spec.shape(), &steps, offset)
}

pub(super) fn slice(x: &Array, spec: &SliceSpec) -> Result<Array> {
    check_box("slice", x, spec)?;
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        Array::from_vec(&spec.shape(), places(x.shape(), spec).into_iter().map(|i| source[i]).collect())
    })
}

pub(super) fn slice_update(base: &Array, update: &Array, spec: &SliceSpec) -> Result<Array> {
    check_box("slice_update", base, spec)?;
    if update.shape() != spec.shape() {
        return wrong("slice_update", format!("an update of shape {:?}", spec.shape()), update);
    }
    if update.dtype() != base.dtype() {
        return Err(Error::dtype("slice_update", base.dtype().name(), update.dtype().name()));
    }
    with_dtype!(base.dtype(), T => {
        let mut result = base.as_slice::<T>()?.to_vec();
        for (place, &value) in places(base.shape(), spec).into_iter().zip(update.as_slice::<T>()?) {
            result[place] = value;
        }
        Array::from_vec(base.shape(), result)
    })
}

pub(super) fn pad(x: &Array, pads: &[(usize, usize)]) -> Result<Array> {
    if pads.len() != x.rank() {
        return wrong("pad", format!("{} axes", pads.len()), x);
    }
    let shape: Vec<usize> =
        x.shape().iter().zip(pads).map(|(len, (before, after))| before + len + after).collect();
    let spec = SliceSpec {
        starts: pads.iter().map(|(before, _)| *before).collect(),
        stops: x.shape().iter().zip(pads).map(|(len, (before, _))| before + len).collect(),
        steps: vec![1; pads.len()],
    };
    slice_update(&Array::zeros(x.dtype(), &shape)?, x, &spec)
}

pub(super) fn concat(parts: &[Array], axis: usize) -> Result<Array> {
    let Some(first) = parts.first() else {
        return Err(Error::value("concat", "at least one operand", "none"));
    };
    let mut shape = first.shape().to_vec();
    if axis >= shape.len() {
        return wrong("concat", format!("an axis {axis}"), first);
    }
    shape[axis] = 0;
    for part in parts {
        if part.dtype() != first.dtype() {
            return Err(Error::dtype("concat", first.dtype().name(), part.dtype().name()));
        }
        let others =
            |x: &Array| x.shape().iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &n)| n).collect();
        let (expected, received): (Vec<usize>, Vec<usize>) = (others(first), others(part));
        if part.rank() != shape.len() || expected != received {
            return wrong("concat", format!("{:?} but for axis {axis}", first.shape()), part);
        }
        shape[axis] += part.shape()[axis];
    }
    let mut result = Array::zeros(first.dtype(), &shape)?;
    let mut start = 0;
    for part in parts {
        let mut spec =
            SliceSpec { starts: vec![0; shape.len()], stops: shape.clone(), steps: vec![1; shape.len()] };
        spec.starts[axis] = start;
        start += part.shape()[axis];
        spec.stops[axis] = start;
        result = slice_update(&result, part, &spec)?;
    }
    Ok(result)
}

pub(super) fn reverse(x: &Array, axes: &[usize]) -> Result<Array> {
    if axes.iter().any(|&axis| axis >= x.rank()) {
        return wrong("reverse", format!("axes {axes:?}"), x);
    }
    let mut steps = strides(x.shape());
    let mut offset = 0;
    for &axis in axes {
        offset += x.shape()[axis].saturating_sub(1) * steps[axis].unsigned_abs();
        steps[axis] = -steps[axis];
    }
    walked(x, x.shape(), &steps, offset)
}

/// The indices as positions below `size`.
fn checked_indices(op: &str, indices: &Array, size: usize) -> Result<Vec<usize>> {
    if !matches!(indices.dtype(), DType::I32 | DType::I64) {
        return Err(Error::dtype(op, "indices of int32 or int64", indices.dtype().name()));
    }
    let position = |i: i64| usize::try_from(i).ok().filter(|&i| i < size);
    indices
        .to_vec::<i64>()
        .into_iter()
        .map(|i| position(i).ok_or_else(|| Error::value(op, format!("indices in 0..{size}"), i.to_string())))
        .collect()
}

pub(super) fn gather(x: &Array, indices: &Array, axis: usize) -> Result<Array> {
    let Some(&len) = x.shape().get(axis) else {
        return wrong("gather", format!("an axis {axis}"), x);
    };
    let indices_shape = indices.shape();
    let indices = checked_indices("gather", indices, len)?;
    let (before, after) = (&x.shape()[..axis], &x.shape()[axis + 1..]);
    let inner = element_count(after);
    let shape = [before, indices_shape, after].concat();
    with_dtype!(x.dtype(), T => {
        let source = x.as_slice::<T>()?;
        let mut values: Vec<T> = Vec::with_capacity(element_count(&shape));
        for outer in 0..element_count(before) {
            for &i in &indices {
                let start = (outer * len + i) * inner;
                values.extend_from_slice(&source[start..start + inner]);
            }
        }
        Array::from_vec(&shape, values)
    })
}

pub(super) fn scatter_add(size: usize, indices: &Array, updates: &Array) -> Result<Array> {
    if !updates.shape().starts_with(indices.shape()) {
        return wrong(
            "scatter_add",
            format!("updates whose leading axes are {:?}", indices.shape()),
            updates,
        );
    }
    let row_shape = &updates.shape()[indices.rank()..];
    let row = element_count(row_shape);
    let shape = [&[size], row_shape].concat();
    let indices = checked_indices("scatter_add", indices, size)?;
    macro_rules! added {
        ($T:ty, $Sum:ty, |$a:ident, $b:ident| $add:expr, $back:expr) => {{
            let source = updates.as_slice::<$T>()?;
            let mut sums = vec![<$Sum>::default(); size * row];
            for (n, &i) in indices.iter().enumerate() {
                for column in 0..row {
                    let ($a, $b) = (sums[i * row + column], <$Sum>::from(source[n * row + column]));
                    sums[i * row + column] = $add;
                }
            }
            Array::from_vec(&shape, sums.into_iter().map($back).collect::<Vec<$T>>())
        }};
    }
    match updates.dtype() {
        DType::F32 => added!(f32, f64, |a, b| a + b, |x| x as f32),
        DType::F64 => added!(f64, f64, |a, b| a + b, |x| x),
        DType::I32 => added!(i32, i32, |a, b| a.wrapping_add(b), |x| x),
        DType::I64 => added!(i64, i64, |a, b| a.wrapping_add(b), |x| x),
        DType::U8 => added!(u8, u8, |a, b| a.wrapping_add(b), |x| x),
        DType::Bool => Err(Error::dtype("scatter_add", "a number type", "bool")),
    }
}

pub(super) fn iota(ty: &Type, axis: usize) -> Result<Array> {
    if ty.dtype == DType::Bool {
        return Err(Error::dtype("iota", "a number type", "bool"));
    }
    if axis >= ty.shape.len() {
        return Err(Error::shape("iota", format!("an axis below {}", ty.shape.len()), axis.to_string()));
    }
    with_dtype!(ty.dtype, T => {
        let mut steps = vec![0; ty.shape.len()];
        steps[axis] = 1;
        let values: Vec<T> = walk(&ty.shape, &steps, 0).into_iter().map(|i| T::from_i64(i as i64)).collect();
        Array::from_vec(&ty.shape, values)
    })
}
