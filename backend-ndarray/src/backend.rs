//! [`NdArray`]: the operations of this crate as a [`Backend`].

use crate::fused::{Operand, Session, operand, scalar};
use crate::gemm::{Gemm, with_float};
use crate::loops::{takes_binary, unary_result};
use crate::matmul::Sizes;
use crate::number::Convert;
use crate::parallel::{Shared, Threads};
use crate::pool::Pool;
use crate::run::{self, Site};
use crate::tensor::{Out, Prepared, Tensor, with_storage};
use crate::{along, conv, indexing, matmul, movement, plan, pooling, recurrent};
use keras_core::array::Element;
use keras_core::backend::{Arg, Backend, Scalar, Support, random_array, unsupported};
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Instr, Kernel, KernelInput, KernelOutput,
    Logical, Op, PoolSpec, Reduce, SliceSpec, Type, Unary,
};
use keras_core::random::Stream;
use keras_core::{Array, DType, Error, Result};
use std::sync::Arc;

/// Elements that a task copies or fills.
const GRAIN: usize = 1 << 15;

/// The backend `ndarray`: all operations on the CPU, in pure Rust.
///
/// An instance has its own threads and its own pool of memory; tensors of one instance must not be given to another
/// (their memory would merely return to the wrong pool).
pub struct NdArray {
    pool: Arc<Pool>,
    threads: Threads,
}

impl NdArray {
    /// A backend with as many threads as the environment variable `KERAS_NUM_THREADS` says, else as there are cores.
    /// An error if the variable is not a number from 1, or if the system gives no threads.
    pub fn new() -> Result<Self> {
        Ok(Self { pool: Arc::default(), threads: Threads::from_environment()? })
    }

    /// A backend with that many threads, at least 1. Results do not depend on the number.
    pub fn with_threads(threads: usize) -> Result<Self> {
        Ok(Self { pool: Arc::default(), threads: Threads::new(threads)? })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// How often the pool had to ask the system for memory; constant in the steady state of training.
    pub fn pool_misses(&self) -> u64 {
        self.pool.misses()
    }

    /// Bytes that the pool holds, in tensors and in reserve.
    pub fn pool_bytes(&self) -> usize {
        self.pool.bytes()
    }

    fn site(&self) -> Site<'_> {
        Site { pool: &self.pool, threads: &self.threads }
    }

    /// Runs one elementwise instruction on contiguous operands, as a kernel.
    fn elementwise(
        &self,
        inputs: Vec<Arg<Tensor>>,
        instr: impl FnOnce() -> Instr,
        dtype: DType,
    ) -> Result<Tensor> {
        let shape = inputs.first().map(|arg| arg.tensor.shape().to_vec()).unwrap_or_default();
        let len = shape.iter().product();
        let mut code: Vec<(Instr, DType)> =
            inputs.iter().enumerate().map(|(i, arg)| (Instr::Load(i), arg.tensor.dtype())).collect();
        code.push((instr(), dtype));
        let reusable = |arg: &Arg<Tensor>| arg.writable && arg.tensor.dtype() == dtype;
        let kernel = Kernel {
            shape: vec![len],
            inputs: inputs
                .iter()
                .map(|arg| KernelInput { dtype: arg.tensor.dtype(), strides: vec![1] })
                .collect(),
            scalars: 0,
            outputs: vec![KernelOutput {
                register: code.len() - 1,
                shape,
                alias: inputs.iter().position(reusable),
                reduce: None,
            }],
            code,
        };
        only(run::run(self.site(), &kernel, inputs, &[])?)
    }

    /// Runs a contraction with the kernel as its epilogue.
    fn contract<T: Gemm>(
        &self,
        op: &Op,
        operands: &[Tensor],
        kernel: &Kernel,
        inputs: Vec<Arg<Tensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Tensor>> {
        let ([a, b], Some(accumulator)) = (operands, kernel.inputs.first()) else {
            return Err(unsupported(self.name(), op.name()));
        };
        let mut kernel = kernel.clone();
        let reusable = kernel.outputs.iter().position(|output| {
            output.alias.is_none()
                && kernel.code.get(output.register).is_some_and(|(_, dtype)| *dtype == accumulator.dtype)
        });
        if let Some(output) = reusable.filter(|_| kernel.outputs.iter().all(|output| output.alias != Some(0)))
        {
            kernel.outputs[output].alias = Some(0);
        }
        let memory = Out::new(&self.pool, &[kernel.len()], accumulator.dtype)?;
        let mut bound = vec![Operand::Owned(memory)];
        bound.extend(inputs.into_iter().map(operand));
        let folds = vec![false; kernel.outputs.len()];
        let session = Session::new(&self.pool, &kernel, bound, scalars, &folds)?;
        let Some(start) = session.input_start(0) else { return Err(unsupported(self.name(), op.name())) };
        // SAFETY: the session owns the accumulator, which has that many elements of `T`.
        let product = unsafe { Shared::<T>::from_raw(start.cast(), kernel.len()) };
        match op {
            Op::MatMul { trans_a, trans_b } => {
                let sizes = Sizes::of(a.shape(), b.shape(), *trans_a, *trans_b)?;
                expect_len(op, sizes.batch * sizes.m * sizes.n, &kernel)?;
                matmul::into::<T>(
                    self.site(),
                    sizes,
                    (a, *trans_a),
                    (b, *trans_b),
                    &product,
                    Some(&session),
                )?;
            }
            Op::Conv(spec) => {
                let conv = conv::Conv::new(spec, a.shape(), b.shape())?;
                expect_len(op, conv.output_shape().iter().product(), &kernel)?;
                conv::into::<T>(self.site(), &conv, a, b, &product, Some(&session))?;
            }
            _ => return Err(unsupported(self.name(), op.name())),
        }
        let missing = || Error::backend("epilogue", "a result for every output", "none");
        session.finish().into_iter().map(|result| result.ok_or_else(missing)).collect()
    }
}

fn expect_len(op: &Op, len: usize, kernel: &Kernel) -> Result<()> {
    if len == kernel.len() {
        Ok(())
    } else {
        Err(Error::backend(
            op.name(),
            format!("an epilogue over its {len} results"),
            format!("{:?}", kernel.shape),
        ))
    }
}

fn only(results: Vec<Tensor>) -> Result<Tensor> {
    results.into_iter().next().ok_or_else(|| Error::backend("fused kernel", "one result", "none"))
}

fn shared(tensor: &Tensor) -> Arg<Tensor> {
    Arg { tensor: tensor.clone(), writable: false }
}

/// The operand's memory if it may be overwritten, else a copy.
fn own(site: Site<'_>, arg: Arg<Tensor>) -> Result<Out> {
    match operand(arg) {
        Operand::Owned(out) => Ok(out),
        Operand::Shared(tensor) => movement::duplicate(site, &tensor),
    }
}

impl Backend for NdArray {
    type Tensor = Tensor;

    fn name(&self) -> &'static str {
        "ndarray"
    }

    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support {
        let native = match (op, inputs) {
            (Op::Unary(op), [x]) => unary_result(*op, x.dtype).is_some(),
            (Op::Binary(op), [a, _]) => takes_binary(*op, a.dtype),
            // Composites by name: one that is added to the graph later runs by its decomposition.
            (
                Op::Iota(..)
                | Op::Random { .. }
                | Op::Compare(_)
                | Op::Logical(_)
                | Op::Select
                | Op::Cast(_)
                | Op::Reduce(..)
                | Op::ArgReduce(..)
                | Op::Cumulative(..)
                | Op::TopK(_)
                | Op::MatMul { .. }
                | Op::Conv(_)
                | Op::ConvGradInput(..)
                | Op::ConvGradKernel(..)
                | Op::MaxPool(_)
                | Op::MaxPoolGrad(..)
                | Op::AvgPool(_)
                | Op::AvgPoolGrad(..)
                | Op::Gather(_)
                | Op::ScatterAdd(_)
                | Op::Reshape(_)
                | Op::Permute(_)
                | Op::Broadcast(_)
                | Op::Slice(_)
                | Op::SliceUpdate(_)
                | Op::Pad(_)
                | Op::Concat(_)
                | Op::Reverse(_)
                | Op::Softmax
                | Op::LogSoftmax
                | Op::Recurrent(_)
                | Op::RecurrentGrad(..),
                _,
            ) => true,
            _ => false,
        };
        if native { Support::Native } else { Support::Decomposed }
    }

    fn supports_kernel(&self, kernel: &Kernel) -> bool {
        plan::check(kernel).is_ok()
    }

    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        matches!(op, Op::MatMul { .. } | Op::Conv(_))
            && plan::check(kernel).is_ok()
            && kernel.inputs.first().is_some_and(|input| input.dtype.is_float())
            && kernel.is_contiguous(0)
            && kernel.outputs.iter().all(|output| output.reduce.is_none())
    }

    fn upload(&self, array: &Array) -> Result<Tensor> {
        let mut out = Out::new(&self.pool, array.shape(), array.dtype())?;
        if array.dtype() == DType::Bool {
            let source = array.as_slice::<bool>()?;
            out.slice::<u8>().iter_mut().zip(source).for_each(|(y, &x)| *y = u8::from(x));
            return Ok(out.finish());
        }
        macro_rules! copied {
            ($($variant:ident => $T:ty),*) => {
                match array.dtype() {
                    $(DType::$variant => self.threads.chunks(out.slice::<$T>(), GRAIN, {
                        let source = array.as_slice::<$T>()?;
                        move |i, chunk| chunk.copy_from_slice(&source[i * GRAIN..i * GRAIN + chunk.len()])
                    }),)*
                    DType::Bool => {}
                }
            };
        }
        copied!(F32 => f32, F64 => f64, I32 => i32, I64 => i64, U8 => u8);
        Ok(out.finish())
    }

    fn copy(&self, x: &Tensor) -> Result<Tensor> {
        let mut out = Out::new(&self.pool, x.shape(), x.dtype())?;
        with_storage!(x.dtype(), T => {
            let source = x.slice::<T>();
            self.threads.chunks(out.slice::<T>(), GRAIN, |i, chunk| {
                chunk.copy_from_slice(&source[i * GRAIN..i * GRAIN + chunk.len()]);
            });
        });
        Ok(out.finish())
    }

    fn download(&self, x: &Tensor) -> Result<Array> {
        fn copied<T: Element + crate::pool::Plain>(x: &Tensor) -> Result<Array> {
            Array::from_vec(x.shape(), x.slice::<T>().to_vec())
        }
        match x.dtype() {
            DType::F32 => copied::<f32>(x),
            DType::F64 => copied::<f64>(x),
            DType::I32 => copied::<i32>(x),
            DType::I64 => copied::<i64>(x),
            DType::U8 => copied::<u8>(x),
            DType::Bool => {
                Array::from_vec(x.shape(), x.slice::<u8>().iter().map(|&x| x != 0).collect::<Vec<bool>>())
            }
        }
    }

    fn type_of(&self, x: &Tensor) -> Type {
        x.type_of()
    }

    fn unary(&self, op: Unary, x: Arg<Tensor>) -> Result<Tensor> {
        let Some(dtype) = unary_result(op, x.tensor.dtype()) else {
            return Err(unsupported(self.name(), &format!("{} of {}", op.name(), x.tensor.dtype())));
        };
        self.elementwise(vec![x], || Instr::Unary(op, 0), dtype)
    }

    fn binary(&self, op: Binary, a: Arg<Tensor>, b: Arg<Tensor>) -> Result<Tensor> {
        let dtype = a.tensor.dtype();
        self.elementwise(vec![a, b], || Instr::Binary(op, 0, 1), dtype)
    }

    fn compare(&self, op: Compare, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.elementwise(vec![shared(a), shared(b)], || Instr::Compare(op, 0, 1), DType::Bool)
    }

    fn logical(&self, op: Logical, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.elementwise(vec![shared(a), shared(b)], || Instr::Logical(op, 0, 1), DType::Bool)
    }

    fn select(&self, c: &Tensor, a: Arg<Tensor>, b: Arg<Tensor>) -> Result<Tensor> {
        let dtype = a.tensor.dtype();
        self.elementwise(vec![shared(c), a, b], || Instr::Select(0, 1, 2), dtype)
    }

    fn cast(&self, x: &Tensor, to: DType) -> Result<Tensor> {
        if x.dtype() == to {
            return Ok(x.clone());
        }
        self.elementwise(vec![shared(x)], || Instr::Cast(0), to)
    }

    fn reduce(&self, op: Reduce, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        run::reduce(self.site(), op, x, axes)
    }

    fn arg_reduce(&self, op: ArgReduce, x: &Tensor, axis: usize) -> Result<Tensor> {
        along::arg_reduce(self.site(), op, x, axis)
    }

    fn cumulative(&self, op: Cumulative, x: &Tensor, axis: usize) -> Result<Tensor> {
        along::cumulative(self.site(), op, x, axis)
    }

    fn top_k(&self, x: &Tensor, k: usize) -> Result<(Tensor, Tensor)> {
        along::top_k(self.site(), x, k)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor, trans_a: bool, trans_b: bool) -> Result<Tensor> {
        matmul::matmul(self.site(), a, b, trans_a, trans_b)
    }

    fn conv(&self, spec: &ConvSpec, x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        conv::conv(self.site(), spec, x, kernel)
    }

    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        grad: &Tensor,
        kernel: &Tensor,
    ) -> Result<Tensor> {
        conv::conv_grad_input(self.site(), spec, input, grad, kernel)
    }

    fn conv_grad_kernel(
        &self,
        spec: &ConvSpec,
        kernel: &[usize],
        x: &Tensor,
        grad: &Tensor,
    ) -> Result<Tensor> {
        conv::conv_grad_kernel(self.site(), spec, kernel, x, grad)
    }

    fn max_pool(&self, spec: &PoolSpec, x: &Tensor, positions: bool) -> Result<(Tensor, Option<Tensor>)> {
        pooling::max_pool(self.site(), spec, x, positions)
    }

    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        grad: &Tensor,
        positions: &Tensor,
    ) -> Result<Tensor> {
        pooling::max_pool_grad(self.site(), spec, input, grad, positions)
    }

    fn avg_pool(&self, spec: &PoolSpec, x: &Tensor) -> Result<Tensor> {
        pooling::avg_pool(self.site(), spec, x)
    }

    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Tensor) -> Result<Tensor> {
        pooling::avg_pool_grad(self.site(), spec, input, grad)
    }

    fn gather(&self, x: &Tensor, indices: &Tensor, axis: usize) -> Result<Tensor> {
        indexing::gather(self.site(), x, indices, axis)
    }

    fn scatter_add(&self, size: usize, indices: &Tensor, updates: &Tensor) -> Result<Tensor> {
        indexing::scatter_add(self.site(), size, indices, updates)
    }

    fn reshape(&self, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
        if shape.iter().product::<usize>() != x.len() {
            return Err(Error::shape("reshape", format!("{} elements", x.len()), format!("{shape:?}")));
        }
        Ok(x.with_shape(shape))
    }

    fn permute(&self, x: &Tensor, perm: &[usize]) -> Result<Tensor> {
        movement::permute(self.site(), x, perm)
    }

    fn broadcast(&self, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
        movement::broadcast(self.site(), x, shape)
    }

    fn slice(&self, x: &Tensor, spec: &SliceSpec) -> Result<Tensor> {
        movement::slice(self.site(), x, spec)
    }

    fn slice_update(&self, base: Arg<Tensor>, update: &Tensor, spec: &SliceSpec) -> Result<Tensor> {
        let base = own(self.site(), base)?;
        Ok(movement::slice_update(self.site(), base, update, spec))
    }

    fn pad(&self, x: &Tensor, pads: &[(usize, usize)]) -> Result<Tensor> {
        movement::pad(self.site(), x, pads)
    }

    fn concat(&self, parts: &[Tensor], axis: usize) -> Result<Tensor> {
        movement::concat(self.site(), parts, axis)
    }

    fn reverse(&self, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        movement::reverse(self.site(), x, axes)
    }

    fn full(&self, ty: &Type, value: Scalar) -> Result<Tensor> {
        let mut out = Out::new(&self.pool, &ty.shape, ty.dtype)?;
        with_storage!(ty.dtype, T => {
            let value: T = scalar(value, ty.dtype);
            self.threads.chunks(out.slice::<T>(), GRAIN, |_, chunk| chunk.fill(value));
        });
        Ok(out.finish())
    }

    fn iota(&self, ty: &Type, axis: usize) -> Result<Tensor> {
        let inner: usize = ty.shape[axis + 1..].iter().product();
        let len = ty.shape[axis];
        let mut out = Out::new(&self.pool, &ty.shape, ty.dtype)?;
        with_storage!(ty.dtype, T => {
            for (row, run) in out.slice::<T>().chunks_mut(inner).enumerate() {
                run.fill(((row % len) as i64).convert());
            }
        });
        Ok(out.finish())
    }

    fn random(&self, ty: &Type, distribution: Distribution, stream: &Stream) -> Result<Tensor> {
        let mut out = Out::new(&self.pool, &ty.shape, ty.dtype)?;
        match ty.dtype {
            DType::F32 => self.threads.chunks(out.slice::<f32>(), GRAIN, |i, chunk| match distribution {
                Distribution::Uniform => stream.fill_uniform_f32(i * GRAIN, chunk),
                Distribution::Normal => stream.fill_normal_f32(i * GRAIN, chunk),
                Distribution::TruncatedNormal => stream.fill_truncated_normal_f32(i * GRAIN, chunk),
            }),
            DType::F64 => self.threads.chunks(out.slice::<f64>(), GRAIN, |i, chunk| match distribution {
                Distribution::Uniform => stream.fill_uniform_f64(i * GRAIN, chunk),
                Distribution::Normal => stream.fill_normal_f64(i * GRAIN, chunk),
                Distribution::TruncatedNormal => stream.fill_truncated_normal_f64(i * GRAIN, chunk),
            }),
            _ => return self.upload(&random_array(ty, distribution, stream)?),
        }
        Ok(out.finish())
    }

    fn prepack(&self, op: &Op, types: &[&Type], operand: usize, tensor: &Tensor) -> Result<Option<Tensor>> {
        let ([a, b], 1) = (types, operand) else { return Ok(None) };
        let prepared = match op {
            Op::MatMul { trans_a, trans_b } => {
                let sizes = Sizes::of(&a.shape, &b.shape, *trans_a, *trans_b)?;
                matmul::prepare(self.site(), sizes, tensor, *trans_b)?.map(Prepared::Panels)
            }
            Op::Conv(spec) => {
                let conv = conv::Conv::new(spec, &a.shape, &b.shape)?;
                conv::prepare(self.site(), &conv, tensor)?
            }
            _ => None,
        };
        Ok(prepared.map(|prepared| tensor.with(prepared)))
    }

    fn kernel(&self, kernel: &Kernel, inputs: Vec<Arg<Tensor>>, scalars: &[Scalar]) -> Result<Vec<Tensor>> {
        run::run(self.site(), kernel, inputs, scalars)
    }

    fn epilogue(
        &self,
        op: &Op,
        operands: &[Tensor],
        kernel: &Kernel,
        inputs: Vec<Arg<Tensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Tensor>> {
        let dtype = operands.first().map_or(DType::Bool, Tensor::dtype);
        with_float!(op.name(), dtype, T => self.contract::<T>(op, operands, kernel, inputs, scalars))
    }

    fn composite(&self, op: &Op, inputs: &[Tensor], wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        match (op, inputs) {
            (Op::Softmax, [x]) => Ok(vec![Some(along::softmax(self.site(), x, false)?)]),
            (Op::LogSoftmax, [x]) => Ok(vec![Some(along::softmax(self.site(), x, true)?)]),
            (Op::Recurrent(_) | Op::RecurrentGrad(..), _) => recurrent::run(self.site(), op, inputs, wanted),
            _ => Err(unsupported(self.name(), op.name())),
        }
    }
}
