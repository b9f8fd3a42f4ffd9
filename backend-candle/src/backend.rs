//! [`Candle`]: the backend's methods.

use crate::tensor::{CandleTensor, Raw, Typed, error, full};
use crate::{device, elementwise, kernel, movement, reduce, support, tensor};
use candle_core::{D, Device, Tensor};
use keras_core::backend::{Arg, Backend, Lack, Scalar, Support, unsupported};
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Kernel, Logical, Op, PoolSpec, Reduce, SliceSpec, Type,
    Unary,
};
use keras_core::{Array, DType, Error, Result};

/// candle on one device.
#[derive(Debug, Clone)]
pub struct Candle {
    device: Device,
}

impl Candle {
    /// The backend on a device: `cpu`, `cuda:N`, `metal`; of an empty name, a GPU if candle was built with one and
    /// finds it, else the CPU.
    ///
    /// # Errors
    /// For other names, and for a device that cannot be opened; the error lists those that can.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self { device: device::open(name)? })
    }
}

fn declined(what: &Op) -> Error {
    unsupported("candle", what.name())
}

impl Backend for Candle {
    type Tensor = CandleTensor;

    fn name(&self) -> &'static str {
        "candle"
    }

    fn device(&self) -> String {
        device::name(&self.device)
    }

    fn devices(&self) -> Vec<String> {
        device::available()
    }

    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support {
        support::support(op, inputs)
    }

    fn lacks(&self) -> Vec<Lack> {
        support::lacks()
    }

    fn supports_kernel(&self, kernel: &Kernel) -> bool {
        support::runs(kernel)
    }

    fn upload(&self, array: &Array) -> Result<CandleTensor> {
        tensor::upload(array, &self.device)
    }

    fn download(&self, x: &CandleTensor) -> Result<Array> {
        if x.tensor.track_op() {
            let received = "a result of candle's own";
            return Err(Error::state("download", "a tensor outside of automatic differentiation", received));
        }
        tensor::download(x)
    }

    fn copy(&self, x: &CandleTensor) -> Result<CandleTensor> {
        x.tensor.force_contiguous().typed(x.dtype)
    }

    fn type_of(&self, x: &CandleTensor) -> Type {
        Type::new(x.tensor.dims(), x.dtype)
    }

    fn unary(&self, op: Unary, x: Arg<CandleTensor>) -> Result<CandleTensor> {
        let dtype = if op == Unary::IsNan { DType::Bool } else { x.tensor.dtype };
        elementwise::unary(op, &x.tensor.tensor).typed(dtype)
    }

    fn binary(&self, op: Binary, a: Arg<CandleTensor>, b: Arg<CandleTensor>) -> Result<CandleTensor> {
        elementwise::binary(op, &a.tensor.tensor, &b.tensor.tensor).typed(a.tensor.dtype)
    }

    fn compare(&self, op: Compare, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        elementwise::compare(op, &a.tensor, &b.tensor).typed(DType::Bool)
    }

    fn logical(&self, op: Logical, a: &CandleTensor, b: &CandleTensor) -> Result<CandleTensor> {
        elementwise::logical(op, &a.tensor, &b.tensor).typed(DType::Bool)
    }

    fn select(&self, c: &CandleTensor, a: Arg<CandleTensor>, b: Arg<CandleTensor>) -> Result<CandleTensor> {
        c.tensor.where_cond(&a.tensor.tensor, &b.tensor.tensor).typed(a.tensor.dtype)
    }

    fn cast(&self, x: &CandleTensor, to: DType) -> Result<CandleTensor> {
        elementwise::cast(&x.tensor, x.dtype, to).typed(to)
    }

    fn reduce(&self, op: Reduce, x: &CandleTensor, axes: &[usize]) -> Result<CandleTensor> {
        reduce::reduce(op, &x.tensor, axes).typed(x.dtype)
    }

    fn arg_reduce(&self, op: ArgReduce, x: &CandleTensor, axis: usize) -> Result<CandleTensor> {
        reduce::position(op, &x.tensor, axis).typed(DType::I64)
    }

    fn cumulative(&self, op: Cumulative, _: &CandleTensor, axis: usize) -> Result<CandleTensor> {
        Err(declined(&Op::Cumulative(op, axis)))
    }

    fn top_k(&self, _: &CandleTensor, k: usize) -> Result<(CandleTensor, CandleTensor)> {
        Err(declined(&Op::TopK(k)))
    }

    fn matmul(
        &self,
        a: &CandleTensor,
        b: &CandleTensor,
        trans_a: bool,
        trans_b: bool,
    ) -> Result<CandleTensor> {
        let operand = |x: &CandleTensor, swapped: bool| -> Raw {
            let x = x.tensor.contiguous()?;
            if swapped { x.transpose(D::Minus2, D::Minus1) } else { Ok(x) }
        };
        operand(a, trans_a).and_then(|a| a.matmul(&operand(b, trans_b)?)).typed(a.dtype)
    }

    fn conv(&self, spec: &ConvSpec, _: &CandleTensor, _: &CandleTensor) -> Result<CandleTensor> {
        Err(declined(&Op::Conv(spec.clone())))
    }

    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        _: &CandleTensor,
        _: &CandleTensor,
    ) -> Result<CandleTensor> {
        Err(declined(&Op::ConvGradInput(spec.clone(), input.to_vec())))
    }

    fn conv_grad_kernel(
        &self,
        spec: &ConvSpec,
        kernel: &[usize],
        _: &CandleTensor,
        _: &CandleTensor,
    ) -> Result<CandleTensor> {
        Err(declined(&Op::ConvGradKernel(spec.clone(), kernel.to_vec())))
    }

    fn max_pool(
        &self,
        spec: &PoolSpec,
        _: &CandleTensor,
        _: bool,
    ) -> Result<(CandleTensor, Option<CandleTensor>)> {
        Err(declined(&Op::MaxPool(spec.clone())))
    }

    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        _: &CandleTensor,
        _: &CandleTensor,
    ) -> Result<CandleTensor> {
        Err(declined(&Op::MaxPoolGrad(spec.clone(), input.to_vec())))
    }

    fn avg_pool(&self, spec: &PoolSpec, _: &CandleTensor) -> Result<CandleTensor> {
        Err(declined(&Op::AvgPool(spec.clone())))
    }

    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], _: &CandleTensor) -> Result<CandleTensor> {
        Err(declined(&Op::AvgPoolGrad(spec.clone(), input.to_vec())))
    }

    fn gather(&self, x: &CandleTensor, indices: &CandleTensor, axis: usize) -> Result<CandleTensor> {
        movement::gather(&x.tensor, &indices.tensor, axis).typed(x.dtype)
    }

    fn scatter_add(
        &self,
        size: usize,
        indices: &CandleTensor,
        updates: &CandleTensor,
    ) -> Result<CandleTensor> {
        movement::scatter_add(size, &indices.tensor, &updates.tensor).typed(updates.dtype)
    }

    fn reshape(&self, x: &CandleTensor, shape: &[usize]) -> Result<CandleTensor> {
        x.tensor.reshape(shape).typed(x.dtype)
    }

    fn permute(&self, x: &CandleTensor, perm: &[usize]) -> Result<CandleTensor> {
        x.tensor.permute(perm).typed(x.dtype)
    }

    fn broadcast(&self, x: &CandleTensor, shape: &[usize]) -> Result<CandleTensor> {
        x.tensor.broadcast_as(shape).typed(x.dtype)
    }

    fn slice(&self, x: &CandleTensor, spec: &SliceSpec) -> Result<CandleTensor> {
        movement::slice(&x.tensor, spec).typed(x.dtype)
    }

    fn slice_update(
        &self,
        base: Arg<CandleTensor>,
        update: &CandleTensor,
        spec: &SliceSpec,
    ) -> Result<CandleTensor> {
        let dtype = base.tensor.dtype;
        movement::slice_update(&base.tensor.tensor, base.writable, &update.tensor, spec).typed(dtype)
    }

    fn pad(&self, x: &CandleTensor, pads: &[(usize, usize)]) -> Result<CandleTensor> {
        movement::pad(&x.tensor, pads).typed(x.dtype)
    }

    fn concat(&self, parts: &[CandleTensor], axis: usize) -> Result<CandleTensor> {
        let Some(first) = parts.first() else { return Err(declined(&Op::Concat(axis))) };
        movement::concat(&parts.iter().map(|part| &part.tensor).collect::<Vec<_>>(), axis).typed(first.dtype)
    }

    fn reverse(&self, x: &CandleTensor, axes: &[usize]) -> Result<CandleTensor> {
        x.tensor.contiguous().and_then(|x| x.flip(axes)).typed(x.dtype)
    }

    fn full(&self, ty: &Type, value: Scalar) -> Result<CandleTensor> {
        full(&ty.shape, value, ty.dtype, &self.device).typed(ty.dtype)
    }

    fn iota(&self, ty: &Type, axis: usize) -> Result<CandleTensor> {
        let len = ty.shape.get(axis).copied().unwrap_or(1);
        let mut shape = vec![1; ty.shape.len()];
        shape.iter_mut().skip(axis).take(1).for_each(|own| *own = len);
        let run = || -> Raw {
            let places = Tensor::arange(0_i64, len as i64, &self.device)?;
            let places = places.to_dtype(tensor::stored(ty.dtype))?.reshape(shape)?;
            places.broadcast_as(ty.shape.as_slice())?.force_contiguous()
        };
        run().typed(ty.dtype)
    }

    fn kernel(
        &self,
        kernel: &Kernel,
        inputs: Vec<Arg<CandleTensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<CandleTensor>> {
        let inputs: Vec<CandleTensor> = inputs.into_iter().map(|input| input.tensor).collect();
        let results = kernel::run(kernel, &inputs, scalars, &self.device).map_err(|reason| error(&reason))?;
        let types = kernel.outputs.iter().filter_map(|output| kernel.code.get(output.register));
        Ok(results
            .into_iter()
            .zip(types)
            .map(|(tensor, (_, dtype))| CandleTensor { tensor, dtype: *dtype })
            .collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_do_not_exist_are_errors_that_list_those_that_do() {
        for name in ["cuda:9999", "metal:9999", "tpu", "cuda:x", "cpu:1"] {
            let message = Candle::new(name).unwrap_err().to_string();
            assert!(message.contains("cpu") && message.contains(name), "{message}");
        }
        assert_eq!(Candle::new("cpu").unwrap().device(), "cpu");
    }

    /// So the conformance suite, and every test that reads a result, sees that no operation is tracked.
    #[test]
    fn a_result_that_is_tracked_for_differentiation_is_an_error() {
        let backend = Candle::new("cpu").unwrap();
        let leaf = candle_core::Var::ones(2, candle_core::DType::F32, &Device::Cpu).unwrap();
        let (tracked, dtype) = (leaf.sqr().unwrap(), DType::F32);
        let free = CandleTensor { tensor: tracked.detach(), dtype };
        let error = backend.download(&CandleTensor { tensor: tracked, dtype }).unwrap_err().to_string();
        assert!(error.contains("automatic differentiation"), "{error}");
        assert!(backend.download(&free).is_ok());
    }
}
