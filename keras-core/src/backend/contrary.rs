//! [`Contrary`]: a backend that does everything a backend may do and programs must not rely on. It computes with
//! [`Reference`], but returns strided views wherever it may, stores convolutions channels first, fuses nothing, has
//! no composites, and fills every buffer it was allowed to overwrite with NaN. A program that reads memory after
//! giving it up, or that assumes a layout, shows NaN here.

use super::reference::{Reference, strides, walk};
use super::{Arg, Backend, Scalar, Support};
use crate::array::{Array, DType, Element};
use crate::error::{Error, Result};
use crate::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Logical, Op, PoolSpec, Reduce, SliceSpec, Type, Unary,
};
use crate::with_dtype;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The test backend; see the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct Contrary;

/// A strided view of a shared buffer.
#[derive(Debug, Clone)]
pub struct View {
    buffer: Arc<Mutex<Array>>,
    dtype: DType,
    shape: Vec<usize>,
    steps: Vec<isize>,
    offset: usize,
}

impl View {
    /// A buffer of its own.
    fn new(array: &Array) -> Result<Self> {
        Ok(Self {
            buffer: Arc::new(Mutex::new(array.reshape(&[array.len()])?)),
            dtype: array.dtype(),
            shape: array.shape().to_vec(),
            steps: strides(array.shape()),
            offset: 0,
        })
    }

    /// A buffer in which the last axis comes second.
    fn channels_first(array: &Array) -> Result<Self> {
        let last = array.rank().saturating_sub(1);
        let stored: Vec<usize> = (0..last).collect();
        let stored: Vec<usize> =
            stored.iter().take(1).chain(&[last]).chain(stored.iter().skip(1)).copied().collect();
        let seen: Vec<usize> =
            (0..=last).filter_map(|axis| stored.iter().position(|&from| from == axis)).collect();
        let base = Self::new(&Reference.permute(array, &stored)?)?;
        Ok(base.permuted(&seen).unwrap_or(base))
    }

    fn lock(&self) -> MutexGuard<'_, Array> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The elements in row-major order.
    fn read(&self) -> Result<Array> {
        let buffer = self.lock();
        with_dtype!(self.dtype, T => {
            let source = buffer.as_slice::<T>()?;
            let places = walk(&self.shape, &self.steps, self.offset).into_iter();
            Array::from_vec(&self.shape, places.filter_map(|place| source.get(place).copied()).collect())
        })
    }

    /// Overwrites the whole buffer: floats become NaN, integers improbable, truth values their opposite.
    fn spoil(&self) -> Result<()> {
        fn fill<T: Element>(buffer: &mut Array, spoiled: impl Fn(T) -> T) -> Result<()> {
            buffer.as_slice_mut::<T>()?.iter_mut().for_each(|x| *x = spoiled(*x));
            Ok(())
        }
        let buffer = &mut *self.lock();
        match self.dtype {
            DType::F32 => fill(buffer, |_| f32::NAN),
            DType::F64 => fill(buffer, |_| f64::NAN),
            DType::I32 => fill(buffer, |_| -1_234_567_890_i32),
            DType::I64 => fill(buffer, |_| -1_234_567_890_123_456_789_i64),
            DType::U8 => fill(buffer, |_| 165_u8),
            DType::Bool => fill(buffer, |x: bool| !x),
        }
    }

    /// Whether elements share places.
    fn repeats(&self) -> bool {
        self.shape.iter().zip(&self.steps).any(|(&len, &step)| len > 1 && step == 0)
    }

    fn viewed(&self, shape: Vec<usize>, steps: Vec<isize>, offset: usize) -> Self {
        Self { buffer: Arc::clone(&self.buffer), dtype: self.dtype, shape, steps, offset }
    }

    fn permuted(&self, perm: &[usize]) -> Option<Self> {
        let shape: Option<Vec<usize>> = perm.iter().map(|&axis| self.shape.get(axis).copied()).collect();
        let steps: Option<Vec<isize>> = perm.iter().map(|&axis| self.steps.get(axis).copied()).collect();
        Some(self.viewed(shape?, steps?, self.offset))
    }

    /// The view under another shape, where strides can express it.
    fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        if self.shape.contains(&0) || self.shape.iter().product::<usize>() != shape.iter().product::<usize>()
        {
            return None;
        }
        let from: Vec<(usize, isize)> =
            self.shape.iter().copied().zip(self.steps.iter().copied()).filter(|&(len, _)| len != 1).collect();
        let mut steps = vec![0; shape.len()];
        let (mut i, mut j) = (0, 0);
        while i < from.len() {
            let (first_i, first_j) = (i, j);
            let (mut len, mut new_len) = (from.get(i)?.0, *shape.get(j)?);
            (i, j) = (i + 1, j + 1);
            while len != new_len {
                if len < new_len {
                    len *= from.get(i)?.0;
                    i += 1;
                } else {
                    new_len *= *shape.get(j)?;
                    j += 1;
                }
            }
            let group = from.get(first_i..i)?;
            let walks_as_one = |pair: &[(usize, isize)]| matches!(pair, [(_, outer), (len, inner)] if *outer == *len as isize * inner);
            if !group.windows(2).all(walks_as_one) {
                return None;
            }
            let mut step = group.last()?.1;
            for (to, &len) in steps.get_mut(first_j..j)?.iter_mut().zip(shape.get(first_j..j)?).rev() {
                *to = step;
                step *= len as isize;
            }
        }
        Some(self.viewed(shape.to_vec(), steps, self.offset))
    }
}

/// The operands' elements; then, if they may be overwritten, they are. What lies in one place several times may not be.
fn hand_over<const N: usize>(operands: &[Arg<View>; N]) -> Result<[Arg<Array>; N]> {
    let mut taken = Vec::with_capacity(N);
    for operand in operands {
        if operand.writable && operand.tensor.repeats() {
            let received = format!("strides {:?}", operand.tensor.steps);
            return Err(Error::state("backend contrary", "a place for each element to write to", received));
        }
        taken.push(operand.tensor.read()?);
    }
    for operand in operands.iter().filter(|operand| operand.writable) {
        operand.tensor.spoil()?;
    }
    let mut taken = taken.into_iter();
    Ok(std::array::from_fn(|_| Arg { tensor: taken.next().unwrap_or_else(|| false.into()), writable: false }))
}

impl Backend for Contrary {
    type Tensor = View;

    fn name(&self) -> &'static str {
        "contrary"
    }

    fn supports(&self, op: &Op, _: &[&Type]) -> Support {
        match op {
            Op::Softmax | Op::LogSoftmax | Op::Recurrent(_) | Op::RecurrentGrad(..) => Support::Decomposed,
            _ => Support::Native,
        }
    }

    fn upload(&self, array: &Array) -> Result<View> {
        View::new(array)
    }

    fn download(&self, x: &View) -> Result<Array> {
        x.read()
    }

    fn type_of(&self, x: &View) -> Type {
        Type::new(x.shape.clone(), x.dtype)
    }

    fn unary(&self, op: Unary, x: Arg<View>) -> Result<View> {
        let [x] = hand_over(&[x])?;
        View::new(&Reference.unary(op, x)?)
    }

    fn binary(&self, op: Binary, a: Arg<View>, b: Arg<View>) -> Result<View> {
        let [a, b] = hand_over(&[a, b])?;
        View::new(&Reference.binary(op, a, b)?)
    }

    fn compare(&self, op: Compare, a: &View, b: &View) -> Result<View> {
        View::new(&Reference.compare(op, &a.read()?, &b.read()?)?)
    }

    fn logical(&self, op: Logical, a: &View, b: &View) -> Result<View> {
        View::new(&Reference.logical(op, &a.read()?, &b.read()?)?)
    }

    fn select(&self, c: &View, a: Arg<View>, b: Arg<View>) -> Result<View> {
        let c = c.read()?;
        let [a, b] = hand_over(&[a, b])?;
        View::new(&Reference.select(&c, a, b)?)
    }

    fn cast(&self, x: &View, to: DType) -> Result<View> {
        if to == x.dtype { Ok(x.clone()) } else { View::new(&x.read()?.cast(to)) }
    }

    fn reduce(&self, op: Reduce, x: &View, axes: &[usize]) -> Result<View> {
        View::new(&Reference.reduce(op, &x.read()?, axes)?)
    }

    fn arg_reduce(&self, op: ArgReduce, x: &View, axis: usize) -> Result<View> {
        View::new(&Reference.arg_reduce(op, &x.read()?, axis)?)
    }

    fn cumulative(&self, op: Cumulative, x: &View, axis: usize) -> Result<View> {
        View::new(&Reference.cumulative(op, &x.read()?, axis)?)
    }

    fn top_k(&self, x: &View, k: usize) -> Result<(View, View)> {
        let (values, positions) = Reference.top_k(&x.read()?, k)?;
        Ok((View::new(&values)?, View::new(&positions)?))
    }

    fn matmul(&self, a: &View, b: &View, trans_a: bool, trans_b: bool) -> Result<View> {
        View::new(&Reference.matmul(&a.read()?, &b.read()?, trans_a, trans_b)?)
    }

    fn conv(&self, spec: &ConvSpec, x: &View, kernel: &View) -> Result<View> {
        View::channels_first(&Reference.conv(spec, &x.read()?, &kernel.read()?)?)
    }

    fn conv_grad_input(&self, spec: &ConvSpec, input: &[usize], grad: &View, kernel: &View) -> Result<View> {
        View::channels_first(&Reference.conv_grad_input(spec, input, &grad.read()?, &kernel.read()?)?)
    }

    fn conv_grad_kernel(&self, spec: &ConvSpec, kernel: &[usize], x: &View, grad: &View) -> Result<View> {
        View::new(&Reference.conv_grad_kernel(spec, kernel, &x.read()?, &grad.read()?)?)
    }

    fn max_pool(&self, spec: &PoolSpec, x: &View, positions: bool) -> Result<(View, Option<View>)> {
        let (maxima, found) = Reference.max_pool(spec, &x.read()?, positions)?;
        Ok((View::channels_first(&maxima)?, found.map(|found| View::channels_first(&found)).transpose()?))
    }

    fn max_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &View, positions: &View) -> Result<View> {
        View::channels_first(&Reference.max_pool_grad(spec, input, &grad.read()?, &positions.read()?)?)
    }

    fn avg_pool(&self, spec: &PoolSpec, x: &View) -> Result<View> {
        View::channels_first(&Reference.avg_pool(spec, &x.read()?)?)
    }

    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &View) -> Result<View> {
        View::channels_first(&Reference.avg_pool_grad(spec, input, &grad.read()?)?)
    }

    fn gather(&self, x: &View, indices: &View, axis: usize) -> Result<View> {
        View::new(&Reference.gather(&x.read()?, &indices.read()?, axis)?)
    }

    fn scatter_add(&self, size: usize, indices: &View, updates: &View) -> Result<View> {
        View::new(&Reference.scatter_add(size, &indices.read()?, &updates.read()?)?)
    }

    fn reshape(&self, x: &View, shape: &[usize]) -> Result<View> {
        match x.reshaped(shape) {
            Some(view) => Ok(view),
            None => View::new(&Reference.reshape(&x.read()?, shape)?),
        }
    }

    fn permute(&self, x: &View, perm: &[usize]) -> Result<View> {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        match x.permuted(perm).filter(|_| sorted.into_iter().eq(0..x.shape.len())) {
            Some(view) => Ok(view),
            None => View::new(&Reference.permute(&x.read()?, perm)?),
        }
    }

    fn broadcast(&self, x: &View, shape: &[usize]) -> Result<View> {
        let axes = || x.shape.iter().zip(&x.steps).zip(shape);
        if x.shape.len() != shape.len() || axes().any(|((from, _), to)| from != to && *from != 1) {
            return View::new(&Reference.broadcast(&x.read()?, shape)?);
        }
        let steps = axes().map(|((from, step), to)| if from == to { *step } else { 0 }).collect();
        Ok(x.viewed(shape.to_vec(), steps, x.offset))
    }

    fn slice(&self, x: &View, spec: &SliceSpec) -> Result<View> {
        let rank = x.shape.len();
        let fits = [spec.starts.len(), spec.stops.len(), spec.steps.len()] == [rank; 3]
            && x.shape.iter().zip(&spec.stops).all(|(len, stop)| stop <= len)
            && spec.steps.iter().all(|&step| step >= 1);
        if !fits {
            return View::new(&Reference.slice(&x.read()?, spec)?);
        }
        let starts = spec.starts.iter().zip(&x.steps);
        let offset =
            starts.fold(x.offset, |offset, (start, step)| offset.wrapping_add_signed(*start as isize * step));
        let steps = spec.steps.iter().zip(&x.steps).map(|(by, step)| *by as isize * step).collect();
        Ok(x.viewed(spec.shape(), steps, offset))
    }

    fn slice_update(&self, base: Arg<View>, update: &View, spec: &SliceSpec) -> Result<View> {
        let update = update.read()?;
        let [base] = hand_over(&[base])?;
        View::new(&Reference.slice_update(base, &update, spec)?)
    }

    fn pad(&self, x: &View, pads: &[(usize, usize)]) -> Result<View> {
        if pads.len() == x.shape.len() && pads.iter().all(|&pad| pad == (0, 0)) {
            return Ok(x.clone());
        }
        View::new(&Reference.pad(&x.read()?, pads)?)
    }

    fn concat(&self, parts: &[View], axis: usize) -> Result<View> {
        if let [part] = parts {
            return Ok(part.clone());
        }
        let parts: Vec<Array> = parts.iter().map(View::read).collect::<Result<_>>()?;
        View::new(&Reference.concat(&parts, axis)?)
    }

    fn reverse(&self, x: &View, axes: &[usize]) -> Result<View> {
        let mut result = x.clone();
        for &axis in axes {
            let (Some(&len), Some(step)) = (x.shape.get(axis), result.steps.get_mut(axis)) else {
                return View::new(&Reference.reverse(&x.read()?, axes)?);
            };
            result.offset = result.offset.wrapping_add_signed(len.saturating_sub(1) as isize * *step);
            *step = -*step;
        }
        Ok(result)
    }

    fn full(&self, ty: &Type, value: Scalar) -> Result<View> {
        View::new(&Reference.full(ty, value)?)
    }

    fn iota(&self, ty: &Type, axis: usize) -> Result<View> {
        View::new(&Reference.iota(ty, axis)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn uploaded() -> View {
        Contrary.upload(&Array::from([[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]])).unwrap()
    }

    fn values(x: &View) -> Vec<f32> {
        Contrary.download(x).unwrap().to_vec()
    }

    #[test]
    fn movement_shares_the_buffer() {
        let x = uploaded();
        let spec = SliceSpec { starts: vec![0, 0], stops: vec![3, 2], steps: vec![2, 1] };
        let turned = Contrary.permute(&x, &[1, 0]).unwrap();
        let rows = Contrary.slice(&turned, &spec).unwrap();
        let rows = Contrary.reverse(&rows, &[0]).unwrap();
        assert_eq!(values(&rows), [3.0, 6.0, 1.0, 4.0]);
        assert!(Arc::ptr_eq(&x.buffer, &rows.buffer));
    }

    #[test]
    fn reshape_is_a_view_where_strides_can_express_it() {
        let x = uploaded();
        let flat = Contrary.reshape(&x, &[6, 1]).unwrap();
        assert!(Arc::ptr_eq(&x.buffer, &flat.buffer));
        let split = Contrary.reshape(&Contrary.permute(&x, &[1, 0]).unwrap(), &[1, 3, 2, 1]).unwrap();
        assert!(Arc::ptr_eq(&x.buffer, &split.buffer));
        assert_eq!(values(&split), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let copied = Contrary.reshape(&Contrary.permute(&x, &[1, 0]).unwrap(), &[6]).unwrap();
        assert!(!Arc::ptr_eq(&x.buffer, &copied.buffer));
        assert_eq!(values(&copied), values(&split));
        let backwards = Contrary.reverse(&x, &[0, 1]).unwrap();
        assert_eq!(values(&Contrary.reshape(&backwards, &[3, 2]).unwrap()), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn a_writable_operand_is_spoiled_and_the_host_array_is_not() {
        let host = Array::from([1.0_f32, 4.0]);
        let x = Contrary.upload(&host).unwrap();
        let view = Contrary.reverse(&x, &[0]).unwrap();
        let root = Contrary.unary(Unary::Sqrt, Arg { tensor: view, writable: true }).unwrap();
        assert_eq!(values(&root), [2.0, 1.0]);
        assert!(values(&x).iter().all(|x| x.is_nan()));
        assert_eq!(host.to_vec::<f32>(), [1.0, 4.0]);
    }

    #[test]
    fn a_broadcast_is_no_operand_to_write_to() {
        let one = Contrary.upload(&Array::from([[1.0_f32]])).unwrap();
        let x = Contrary.broadcast(&one, &[2, 3]).unwrap();
        let turned = Contrary.permute(&x, &[1, 0]).unwrap();
        for tensor in [x, turned] {
            assert!(Contrary.unary(Unary::Neg, Arg { tensor: tensor.clone(), writable: false }).is_ok());
            assert!(Contrary.unary(Unary::Neg, Arg { tensor, writable: true }).is_err());
        }
    }

    #[test]
    fn a_base_of_slice_update_is_spoiled_only_if_writable() {
        let spec = SliceSpec { starts: vec![0, 1], stops: vec![2, 2], steps: vec![1, 1] };
        let update = Contrary.upload(&Array::from([[-1.0_f32], [-2.0]])).unwrap();
        for writable in [false, true] {
            let x = uploaded();
            let result = Contrary.slice_update(Arg { tensor: x.clone(), writable }, &update, &spec).unwrap();
            assert_eq!(values(&result), [1.0, -1.0, 3.0, 4.0, -2.0, 6.0]);
            assert_eq!(values(&x).iter().all(|x| x.is_nan()), writable);
        }
    }

    #[test]
    fn convolutions_are_stored_channels_first() {
        let spec = ConvSpec { strides: vec![1], dilations: vec![1], pads: vec![(0, 0)], groups: 1 };
        let x = Contrary.upload(&Array::from_vec(&[1, 3, 1], vec![1.0_f32, 2.0, 3.0]).unwrap()).unwrap();
        let kernel = Contrary.upload(&Array::from_vec(&[1, 1, 2], vec![1.0_f32, 10.0]).unwrap()).unwrap();
        let y = Contrary.conv(&spec, &x, &kernel).unwrap();
        assert_eq!(values(&y), [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
        assert_eq!(y.lock().to_vec::<f32>(), [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    }

    #[test]
    fn errors_are_those_of_the_reference() {
        let x = uploaded();
        assert!(Contrary.permute(&x, &[0, 0]).is_err());
        assert!(Contrary.reshape(&x, &[5]).is_err());
        assert!(Contrary.broadcast(&x, &[2, 4]).is_err());
        assert!(Contrary.reverse(&x, &[2]).is_err());
    }
}
