//! `x[…]`: indices, ranges, new axes.

use super::arguments::Operands;
use crate::array::Array;
use crate::error::Result;
use crate::k;
use crate::tensor::Tensor;
use serde_json::Value;

/// The name of the operation.
pub(super) const NAME: &str = "__operators__.getitem";

/// A range with Python's rules: the first position, the end, the step, whether it runs backwards over the whole axis.
fn range(operands: &Operands, item: &Value, len: usize) -> Option<(usize, usize, usize, bool)> {
    let fields = item.as_object()?;
    let whole = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(value) => operands.whole(value).map(Some),
    };
    let (start, stop, step) = (whole("start")?, whole("stop")?, whole("step")?.unwrap_or(1));
    let len = len as isize;
    let place = |at: isize| if at < 0 { (at + len).max(0) } else { at.min(len) };
    if step < 0 {
        let everything = start.is_none() && stop.is_none();
        return everything.then_some((0, len as usize, step.unsigned_abs(), true));
    }
    let (start, stop) = (start.map_or(0, place), stop.map_or(len, place));
    (step > 0).then_some((start as usize, stop.max(start) as usize, step as usize, false))
}

/// The selected elements.
pub(super) fn call(operands: &Operands) -> Result<Tensor> {
    let wrong = || operands.wrong("slice_spec", "indices, ranges, new axes and at most one Ellipsis");
    let mut x = operands.x()?.clone();
    let items: Vec<&Value> = match operands.value("slice_spec") {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(item) => vec![item],
        None => return Err(wrong()),
    };
    // A shape stays a number that is known while tracing.
    if let (Some(known), [item]) = (x.literal(), items.as_slice())
        && known.rank() == 1
    {
        let (values, len) = (known.to_vec::<i64>(), known.len());
        let picked = match operands.whole(item) {
            Some(at) => {
                let at = k::axis_of(at, len)?;
                Array::from_vec(&[], values.get(at).copied().into_iter().collect())?
            }
            None => {
                let (start, stop, step, backwards) = range(operands, item, len).ok_or_else(wrong)?;
                let mut values: Vec<i64> = values.get(start..stop).unwrap_or_default().to_vec();
                if backwards {
                    values.reverse();
                }
                let values: Vec<i64> = values.into_iter().step_by(step).collect();
                Array::from_vec(&[values.len()], values)?
            }
        };
        return Ok(Tensor::constant(picked.cast(known.dtype())));
    }
    // As a config has it, and as JSON does.
    let ellipsis = |item: &Value| {
        item.as_str() == Some("Ellipsis")
            || item.get("class_name").and_then(Value::as_str) == Some("__ellipsis__")
    };
    let read = items.iter().filter(|item| !item.is_null() && !ellipsis(item)).count();
    let skipped = x.rank()?.checked_sub(read).ok_or_else(wrong)?;
    let mut axis = 0;
    for item in items {
        if item.is_null() {
            x = k::expand_dims(&x, axis);
            axis += 1;
        } else if ellipsis(item) {
            axis += skipped as isize;
        } else {
            let len = x.shape()?.get(axis as usize).copied().ok_or_else(wrong)?;
            if let Some(at) = operands.whole(item) {
                let at = k::axis_of(at, len)?;
                x = k::squeeze(&k::slice_axis(&x, axis, at, at + 1), axis);
                continue;
            }
            let (start, stop, step, backwards) = range(operands, item, len).ok_or_else(wrong)?;
            if backwards {
                x = k::reverse(&x, &[axis]);
            }
            if (start, stop, step) != (0, len, 1) {
                x = k::slice_steps(&x, axis, start, stop, step);
            }
            axis += 1;
        }
    }
    Ok(x)
}
