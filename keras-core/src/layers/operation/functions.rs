//! The operations by name.

use super::arguments::Operands;
use super::slicing;
use crate::activations::{self, Activation};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::graph::Unary;
use crate::k;
use crate::tensor::Tensor;
use serde_json::{Value, json};

type Function = fn(&Operands) -> Result<Vec<Tensor>>;

/// √x as TensorFlow has it: NaN below 0.
fn square_root(x: &Tensor) -> Tensor {
    k::op("sqrt", &[x], |graph, values| graph.unary(Unary::Sqrt, k::nth(values, 0)?))
}

/// x / y as TensorFlow has it: of whole numbers a number of floating point, wider if they are.
fn true_quotient(x: &Tensor, y: &Tensor) -> Tensor {
    let to = match x.dtype() {
        Ok(DType::U8) => DType::F32,
        Ok(DType::I32 | DType::I64) => DType::F64,
        _ => return k::div(x, y),
    };
    k::cast(x, to) / k::cast(y, to)
}

fn floor_quotient(x: &Tensor, y: &Tensor) -> Tensor {
    if x.dtype().is_ok_and(DType::is_float) { k::floor(&(x / y)) } else { (x - k::modulo(x, y)) / y }
}

macro_rules! table {
    (
        unary { $($unary:literal = $apply:expr;)* }
        binary { $($binary:literal = $combine:expr;)* }
        reductions { $($reduction:literal = $reduce:expr;)* }
        others { $($other:literal = $call:expr;)* }
    ) => {
        /// TensorFlow's names without the leading `tf.`, and what they compute.
        const FUNCTIONS: &[(&str, Function)] = &[
            $(($unary, |o| { let apply: fn(&Tensor) -> Tensor = $apply; Ok(vec![apply(o.x()?)]) }),)*
            $(($binary, |o| {
                let combine: fn(&Tensor, &Tensor) -> Tensor = $combine;
                let (a, b) = o.pair("y")?;
                Ok(vec![combine(&a, &b)])
            }),)*
            $(($reduction, |o| {
                let reduce: fn(&Tensor, &[isize], bool) -> Tensor = $reduce;
                let axes = o.integers("axis")?;
                if axes.as_ref().is_some_and(Vec::is_empty) {
                    return Err(o.wrong("axis", "an axis, several, or none for all"));
                }
                Ok(vec![reduce(o.x()?, &axes.unwrap_or_default(), o.flag("keepdims")?)])
            }),)*
            $(($other, $call),)*
        ];
    };
}

table! {
    unary {
        "identity" = Tensor::clone;
        "stop_gradient" = k::stop_gradient;
        "zeros_like" = |x| x.dtype().map_or_else(Tensor::poisoned, |dtype| k::zeros_like(x, dtype));
        "ones_like" = |x| x.dtype().map_or_else(Tensor::poisoned, |dtype| k::ones_like(x, dtype));
        "math.abs" = k::abs;
        "math.negative" = k::neg;
        "math.sign" = k::sign;
        "math.exp" = k::exp;
        "math.expm1" = k::expm1;
        "math.log" = k::log;
        "math.log1p" = k::log1p;
        "math.sqrt" = square_root;
        "math.rsqrt" = k::rsqrt;
        "math.square" = k::square;
        "math.reciprocal" = |x| 1.0 / x;
        "math.sin" = k::sin;
        "math.cos" = k::cos;
        "math.tanh" = k::tanh;
        "math.sigmoid" = k::sigmoid;
        "math.softplus" = k::softplus;
        "math.erf" = k::erf;
        "math.floor" = k::floor;
        "math.ceil" = k::ceil;
        "math.round" = k::round;
        "math.is_nan" = k::is_nan;
        "math.logical_not" = k::logical_not;
        "nn.relu" = |x| k::relu(x, 0.0, None, 0.0);
        "nn.relu6" = |x| k::relu(x, 0.0, Some(6.0), 0.0);
        "nn.elu" = |x| k::elu(x, 1.0);
        "nn.selu" = |x| activations::Selu.call(x);
        "nn.softsign" = k::softsign;
    }
    binary {
        "__operators__.add" = k::add;
        "math.add" = k::add;
        "math.subtract" = k::sub;
        "math.multiply" = k::mul;
        "math.truediv" = true_quotient;
        "math.divide" = true_quotient;
        "math.floordiv" = floor_quotient;
        "compat.v1.floor_div" = floor_quotient;
        "math.floormod" = k::modulo;
        "math.pow" = k::pow_tensor;
        "math.maximum" = k::maximum;
        "math.minimum" = k::minimum;
        "math.squared_difference" = |a, b| k::square(&(a - b));
        "math.greater" = k::greater;
        "math.greater_equal" = k::greater_equal;
        "math.less" = k::less;
        "math.less_equal" = k::less_equal;
        "math.equal" = k::equal;
        "math.not_equal" = k::not_equal;
        "math.logical_and" = k::logical_and;
        "math.logical_or" = k::logical_or;
    }
    reductions {
        "math.reduce_sum" = k::sum;
        "math.reduce_mean" = k::whole_mean;
        "math.reduce_max" = k::max;
        "math.reduce_min" = k::min;
        "math.reduce_prod" = k::prod;
        "math.reduce_any" = k::any;
        "math.reduce_all" = k::all;
        "math.reduce_std" = k::std;
        "math.reduce_variance" = k::var;
        "math.reduce_logsumexp" = k::logsumexp;
    }
    others {
        "__operators__.getitem" = |o| Ok(vec![slicing::call(o)?]);
        "nn.silu" = |o| {
            o.only("beta", &json!(1.0))?;
            Ok(vec![activations::Swish.call(o.x()?)])
        };
        "nn.gelu" = |o| Ok(vec![if o.flag("approximate")? { gelu_by_tanh(o.x()?) } else { activations::Gelu.call(o.x()?) }]);
        "nn.leaky_relu" = |o| Ok(vec![k::relu(o.x()?, o.number("alpha", 0.2)?, None, 0.0)]);
        "nn.softmax" = |o| Ok(vec![k::softmax(o.x()?, o.integer("axis", -1)?)]);
        "nn.log_softmax" = |o| Ok(vec![k::log_softmax(o.x()?, o.integer("axis", -1)?)]);
        "math.add_n" = |o| o.positional().into_iter().cloned().reduce(|a, b| a + b).map(|sum| vec![sum]).ok_or_else(|| o.wrong("inputs", "tensors"));
        "math.l2_normalize" = l2_normalize;
        "math.argmax" = |o| Ok(vec![k::cast(&k::argmax(o.x()?, o.integer("axis", 0)?), o.dtype("output_type", DType::I64)?)]);
        "math.argmin" = |o| Ok(vec![k::cast(&k::argmin(o.x()?, o.integer("axis", 0)?), o.dtype("output_type", DType::I64)?)]);
        "math.cumsum" = |o| {
            o.only("exclusive", &json!(false))?;
            o.only("reverse", &json!(false))?;
            Ok(vec![k::cumsum(o.x()?, o.integer("axis", 0)?)])
        };
        "cast" = |o| Ok(vec![k::cast(o.x()?, o.dtype("dtype", DType::F32)?)]);
        "clip_by_value" = |o| {
            let x = o.x()?;
            let low = k::maximum(x, &o.operand("clip_value_min", x)?);
            Ok(vec![k::minimum(&low, &o.operand("clip_value_max", x)?)])
        };
        "where" = select;
        "one_hot" = one_hot;
        "linalg.matmul" = matmul;
        "concat" = |o| Ok(vec![k::concatenate(&o.positional(), o.integer("axis", 0)?)]);
        "stack" = |o| Ok(vec![k::stack(&o.positional(), o.integer("axis", 0)?)]);
        "reshape" = |o| {
            let x = o.x()?;
            Ok(vec![k::reshape(x, &o.lengths("shape", x)?)])
        };
        "broadcast_to" = |o| {
            let x = o.x()?;
            let lens: Option<Vec<usize>> = o.lengths("shape", x)?.into_iter().map(|len| usize::try_from(len).ok()).collect();
            Ok(vec![k::broadcast_to(x, &lens.ok_or_else(|| o.wrong("shape", "a list of lengths"))?)])
        };
        "expand_dims" = |o| Ok(vec![k::expand_dims(o.x()?, o.integer("axis", 0)?)]);
        "squeeze" = squeeze;
        "compat.v1.squeeze" = squeeze;
        "transpose" = transpose;
        "compat.v1.transpose" = transpose;
        "tile" = tile;
        "split" = split;
        "unstack" = unstack;
        "slice" = slice;
        "repeat" = |o| {
            let count = usize::try_from(o.integer("repeats", -1)?).map_err(|_| o.wrong("repeats", "a count"))?;
            let axis = o.value("axis").and_then(|axis| o.whole(axis)).ok_or_else(|| o.wrong("axis", "an axis"))?;
            Ok(vec![k::repeat_elements(o.x()?, count, axis)])
        };
        "roll" = roll;
        "norm" = norm;
        "compat.v1.norm" = norm;
        "reverse" = |o| Ok(vec![k::reverse(o.x()?, &o.integers("axis")?.unwrap_or_default())]);
        "pad" = pad;
        "compat.v1.pad" = pad;
        "gather" = gather;
        "compat.v1.gather" = gather;
        "shape" = shape;
        "compat.v1.shape" = shape;
    }
}

/// x·Φ(x) with the normal distribution approximated by tanh.
fn gelu_by_tanh(x: &Tensor) -> Tensor {
    let inner = (x + k::pow_tensor(x, &k::number(x, 3.0)) * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
    (k::tanh(&inner) + 1.0) * x * 0.5
}

fn l2_normalize(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    let squares = k::sum(&k::square(x), &o.integers("axis")?.unwrap_or_default(), true);
    let least = k::number(&squares, o.number("epsilon", 1e-12)?);
    Ok(vec![x * &k::rsqrt(&k::maximum(&squares, &least))])
}

fn norm(o: &Operands) -> Result<Vec<Tensor>> {
    o.only("ord", &json!("euclidean"))?;
    let axes = match o.integers("axis")? {
        None => Vec::new(),
        Some(axes) if matches!(*axes, [_]) || matches!(*axes, [a, b] if a != b) => axes,
        Some(_) => return Err(o.wrong("axis", "an axis, two, or none for all")),
    };
    Ok(vec![square_root(&k::sum(&k::square(o.x()?), &axes, o.flag("keepdims")?))])
}

fn select(o: &Operands) -> Result<Vec<Tensor>> {
    let like = ["x", "y"].into_iter().find_map(|key| o.referred(o.value(key)?));
    let number = k::number(&Tensor::constant(Array::scalar(k::floatx(), 0.0)), 0.0);
    let like = like.unwrap_or(&number);
    let condition = k::cast(o.x()?, DType::Bool);
    Ok(vec![k::select(&condition, &o.operand("x", like)?, &o.operand("y", like)?)])
}

fn one_hot(o: &Operands) -> Result<Vec<Tensor>> {
    o.only("axis", &json!(-1))?;
    let depth = usize::try_from(o.integer("depth", -1)?).map_err(|_| o.wrong("depth", "a count"))?;
    let dtype = o.dtype("dtype", DType::F32)?;
    let hot = k::one_hot_of(o.x()?, depth, DType::F32);
    let (on, off) = (o.number("on_value", 1.0)?, o.number("off_value", 0.0)?);
    Ok(vec![k::cast(&(hot * (on - off) + off), dtype)])
}

fn matmul(o: &Operands) -> Result<Vec<Tensor>> {
    let (a, b) = o.pair("b")?;
    let turned = |x: Tensor, key| -> Result<Tensor> {
        if !o.flag(key)? {
            return Ok(x);
        }
        let rank = x.rank()?;
        let mut order: Vec<usize> = (0..rank).collect();
        if rank >= 2 {
            order.swap(rank - 1, rank - 2);
        }
        Ok(k::permute_dimensions(&x, &order))
    };
    Ok(vec![k::matmul(&turned(a, "transpose_a")?, &turned(b, "transpose_b")?)])
}

fn squeeze(o: &Operands) -> Result<Vec<Tensor>> {
    let mut x = o.x()?.clone();
    let shape = x.shape()?;
    let mut axes = match o.integers("axis")? {
        Some(axes) => {
            axes.into_iter().map(|axis| k::axis_of(axis, shape.len())).collect::<Result<Vec<_>>>()?
        }
        None => (0..shape.len()).filter(|&axis| shape.get(axis) == Some(&1)).collect(),
    };
    axes.sort_unstable();
    for axis in axes.into_iter().rev() {
        x = k::squeeze(&x, axis as isize);
    }
    Ok(vec![x])
}

fn transpose(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    let rank = x.rank()?;
    o.only("conjugate", &json!(false))?;
    let order = match o.integers("perm")? {
        Some(order) => order.into_iter().map(|axis| k::axis_of(axis, rank)).collect::<Result<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![k::permute_dimensions(x, &order)])
}

fn tile(o: &Operands) -> Result<Vec<Tensor>> {
    let mut x = o.x()?.clone();
    let counts = o.integers("multiples")?.ok_or_else(|| o.wrong("multiples", "a list of counts"))?;
    if counts.len() != x.rank()? || counts.iter().any(|&count| count < 1) {
        return Err(o.wrong("multiples", "a count of at least 1 for each axis"));
    }
    for (axis, count) in counts.into_iter().enumerate() {
        x = k::concatenate(&vec![&x; count as usize], axis as isize);
    }
    Ok(vec![x])
}

fn split(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    let shape = x.shape()?;
    let axis = k::axis_of(o.integer("axis", 0)?, shape.len())?;
    let len = shape.get(axis).copied().unwrap_or_default();
    let key = "num_or_size_splits";
    let wrong = || o.wrong(key, &format!("a divisor of {len}, or lengths that add up to it"));
    let sizes = match o.value(key) {
        Some(Value::Array(_)) => o.integers(key)?.unwrap_or_default(),
        _ => {
            let count = usize::try_from(o.integer(key, 0)?).map_err(|_| wrong())?;
            if count == 0 || !len.is_multiple_of(count) {
                return Err(wrong());
            }
            vec![(len / count) as isize; count]
        }
    };
    let known: isize = sizes.iter().filter(|&&size| size >= 0).sum();
    let open = sizes.iter().filter(|&&size| size < 0).count();
    let rest =
        (len as isize).checked_sub(known).and_then(|rest| usize::try_from(rest).ok()).ok_or_else(wrong)?;
    if open > 1 || (open == 0 && rest != 0) {
        return Err(wrong());
    }
    let sizes: Vec<usize> = sizes.into_iter().map(|size| usize::try_from(size).unwrap_or(rest)).collect();
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(k::slice_axis(x, axis as isize, start, start + size));
        start += size;
    }
    Ok(parts)
}

/// A part of each axis: its first place and how many, −1 for all that follow.
fn slice(o: &Operands) -> Result<Vec<Tensor>> {
    let mut x = o.x()?.clone();
    let shape = x.shape()?;
    let wrong = || o.wrong("size", &format!("lengths within {shape:?} from begin on, or -1 for the rest"));
    let begins = o.integers("begin")?.unwrap_or_default();
    let sizes = o.integers("size")?.unwrap_or_default();
    if begins.len() != shape.len() || sizes.len() != shape.len() {
        return Err(wrong());
    }
    for (axis, ((&len, begin), size)) in shape.iter().zip(begins).zip(sizes).enumerate() {
        let start = usize::try_from(begin).map_err(|_| wrong())?;
        let stop = if size == -1 {
            Some(len)
        } else {
            begin.checked_add(size).and_then(|stop| usize::try_from(stop).ok())
        };
        let stop = stop.filter(|stop| (start..=len).contains(stop)).ok_or_else(wrong)?;
        x = k::slice_axis(&x, axis as isize, start, stop);
    }
    Ok(vec![x])
}

/// Every element moved on along axes, what passes the end starts anew.
fn roll(o: &Operands) -> Result<Vec<Tensor>> {
    let mut x = o.x()?.clone();
    let shape = x.shape()?;
    let (shifts, axes) = (o.integers("shift")?.unwrap_or_default(), o.integers("axis")?.unwrap_or_default());
    if shifts.is_empty() || shifts.len() != axes.len() {
        return Err(o.wrong("shift", "a count for each axis of the argument axis"));
    }
    for (shift, axis) in shifts.into_iter().zip(axes) {
        let len = shape.get(k::axis_of(axis, shape.len())?).copied().unwrap_or_default();
        let cut = len - shift.rem_euclid(len.max(1) as isize) as usize;
        x = k::concatenate(&[&k::slice_axis(&x, axis, cut, len), &k::slice_axis(&x, axis, 0, cut)], axis);
    }
    Ok(vec![x])
}

fn unstack(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    let shape = x.shape()?;
    let axis = k::axis_of(o.integer("axis", 0)?, shape.len())?;
    let len = shape.get(axis).copied().unwrap_or_default();
    if o.integer("num", len as isize)? != len as isize {
        return Err(o.wrong("num", &len.to_string()));
    }
    // The parts of a shape stay numbers that are known while tracing.
    if let (Some(known), 1) = (x.literal(), shape.len()) {
        let part = |value: i64| Ok(Tensor::constant(Array::from_vec(&[], vec![value])?.cast(known.dtype())));
        return known.to_vec::<i64>().into_iter().map(part).collect();
    }
    let axis = axis as isize;
    Ok((0..len).map(|i| k::squeeze(&k::slice_axis(x, axis, i, i + 1), axis)).collect())
}

fn pad(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    o.only("mode", &json!("CONSTANT"))?;
    if o.number("constant_values", 0.0)? != 0.0 {
        return Err(o.wrong("constant_values", "0"));
    }
    let pair = |item: &Value| match item.as_array()?.as_slice() {
        [before, after] => {
            let count = |value: &Value| usize::try_from(value.as_u64()?).ok();
            Some((count(before)?, count(after)?))
        }
        _ => None,
    };
    let pads = o.value("paddings").and_then(Value::as_array);
    let pads = pads.and_then(|items| items.iter().map(pair).collect::<Option<Vec<_>>>());
    Ok(vec![k::pad(x, &pads.ok_or_else(|| o.wrong("paddings", "a pair of counts for each axis"))?)])
}

fn gather(o: &Operands) -> Result<Vec<Tensor>> {
    let x = o.x()?;
    o.only("batch_dims", &json!(0))?;
    let like = Tensor::constant(Array::scalar(DType::I32, 0.0));
    let indices = o.operand("indices", &like)?;
    let rank = x.rank()?;
    let axis = k::axis_of(o.integer("axis", 0)?, rank)?;
    let order: Vec<usize> = [axis].into_iter().chain((0..rank).filter(|&i| i != axis)).collect();
    let rows = k::gather(&k::permute_dimensions(x, &order), &indices);
    // The indices' axes go where the axis was.
    let own = indices.rank()?;
    let order: Vec<usize> = (own..own + axis).chain(0..own).chain(own + axis..own + rank - 1).collect();
    Ok(vec![k::permute_dimensions(&rows, &order)])
}

fn shape(o: &Operands) -> Result<Vec<Tensor>> {
    let lens: Vec<i64> = o.x()?.shape()?.into_iter().map(|len| len as i64).collect();
    let dtype = o.dtype("out_type", DType::I32)?;
    Ok(vec![Tensor::constant(Array::from_vec(&[lens.len()], lens)?.cast(dtype))])
}

/// An error if nobody knows an operation of that name.
pub(super) fn check(name: &str) -> Result<()> {
    find(name).map(|_| ())
}

fn find(name: &str) -> Result<Function> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        Error::name("TFOpLambda", format!("one of {}", names.join(", ")), format!("{name:?}"))
            .advice("replace the operation by a Lambda layer whose function is registered here")
            .suggest(name, names)
    })
}

/// The results of an operation.
pub(super) fn call(name: &str, operands: &Operands) -> Result<Vec<Tensor>> {
    find(name)?(operands)
}
