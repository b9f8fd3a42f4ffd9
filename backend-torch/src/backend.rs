//! [`Torch`]: the backend's methods.

use crate::elementwise;
use crate::kernel::{self, Bias};
use crate::movement;
use crate::recurrent;
use crate::tensor::{self, Operand, Own, Raw, TorchTensor, copied, error, ints, kind};
use crate::window::{self, Pooling, pad_list};
use keras_core::backend::registry::choose_device;
use keras_core::backend::{Arg, Backend, Lack, Scalar, Support, unsupported};
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Kernel, Logical, Op, PoolSpec, Reduce, SliceSpec, Type,
    Unary,
};
use keras_core::{Array, DType, Error, Result};
use std::num::NonZeroUsize;
use tch::{Cuda, Device, Kind, Tensor};

const THREADS: &str = "KERAS_NUM_THREADS";

const PADS: &str = "libtorch pads both sides alike, by at most half the window, and pools no integers";
const GATES: &str = "libtorch has neither Keras's masks over time nor its dropout of states";

/// libtorch on one device.
#[derive(Debug, Clone)]
pub struct Torch {
    device: Device,
}

impl Torch {
    /// The backend on a device: `cpu`, `cuda:N`, `mps`; of an empty name, a GPU if libtorch finds one, else the CPU.
    /// libtorch computes with as many threads as the environment variable `KERAS_NUM_THREADS` says, else as it chooses.
    ///
    /// # Errors
    /// For other names and for devices that are not there (the error lists those that are), and for a number of threads
    /// that is none.
    pub fn new(name: &str) -> Result<Self> {
        if let Some(text) = std::env::var_os(THREADS) {
            let threads = text.to_str().and_then(|text| text.trim().parse().ok());
            let wrong = || {
                Error::value(THREADS, "a number of threads from 1", format!("{:?}", text.to_string_lossy()))
            };
            return Self::with_threads(name, threads.ok_or_else(wrong)?);
        }
        Ok(Self { device: open(name)? })
    }

    /// The same with that many threads, of all that libtorch computes in this process.
    ///
    /// # Errors
    /// As [`Torch::new`].
    pub fn with_threads(name: &str, threads: NonZeroUsize) -> Result<Self> {
        let device = open(name)?;
        tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
        Ok(Self { device })
    }

    fn empty_like(&self, shape: &[i64], kind: Kind) -> Raw {
        Tensor::f_empty(shape, (kind, self.device))
    }
}

/// The devices there are, by name, those first that a user would rather have.
fn devices() -> Vec<(String, Device)> {
    let cuda = if Cuda::is_available() { Cuda::device_count().max(0) as usize } else { 0 };
    let gpus = (0..cuda).map(|i| (format!("cuda:{i}"), Device::Cuda(i)));
    let mps = tch::utils::has_mps().then(|| ("mps".to_owned(), Device::Mps));
    gpus.chain(mps).chain([("cpu".to_owned(), Device::Cpu)]).collect()
}

fn open(name: &str) -> Result<Device> {
    let (names, devices): (Vec<String>, Vec<Device>) = devices().into_iter().unzip();
    let chosen = choose_device("torch", name, &names)?;
    Ok(devices.get(chosen).copied().unwrap_or(Device::Cpu))
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the rank")]
fn spatial(x: &Tensor) -> Vec<usize> {
    let shape = x.size();
    shape[1..shape.len() - 1].iter().map(|&len| len as usize).collect()
}

fn pooling(spec: &PoolSpec, size: &[usize]) -> Result<Pooling> {
    Pooling::new(spec, size).ok_or_else(|| unsupported("torch", "a pooling with such padding"))
}

impl Backend for Torch {
    type Tensor = TorchTensor;

    fn name(&self) -> &'static str {
        "torch"
    }

    fn device(&self) -> String {
        match self.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            Device::Mps => "mps".into(),
            _ => "cpu".into(),
        }
    }

    fn devices(&self) -> Vec<String> {
        devices().into_iter().map(|(name, _)| name).collect()
    }

    fn supports(&self, op: &Op, inputs: &[&Type]) -> Support {
        let pooled = |spec: &PoolSpec, size: &[usize]| {
            let float = inputs.first().is_some_and(|ty| ty.dtype.is_float());
            float && Pooling::new(spec, size).is_some()
        };
        let native = match op {
            Op::MaxPool(spec) | Op::AvgPool(spec) => inputs.first().is_some_and(|x| {
                let inner = x.shape.len().saturating_sub(2);
                pooled(spec, &x.shape.iter().skip(1).take(inner).copied().collect::<Vec<_>>())
            }),
            Op::MaxPoolGrad(spec, size) | Op::AvgPoolGrad(spec, size) => pooled(spec, size),
            Op::Recurrent(spec) | Op::RecurrentGrad(spec, _) => recurrent::runs(*spec),
            _ => true,
        };
        if native { Support::Native } else { Support::Decomposed }
    }

    fn lacks(&self) -> Vec<Lack> {
        let decomposed = |reason, operations: &[_]| Lack::all(Support::Decomposed, reason, operations);
        [
            decomposed(PADS, &["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"]),
            decomposed(GATES, &["recurrent", "recurrent_grad"]),
        ]
        .concat()
    }

    fn supports_dtype(&self, dtype: DType) -> bool {
        self.device != Device::Mps || dtype != DType::F64
    }

    fn supports_kernel(&self, _: &Kernel) -> bool {
        true
    }

    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        matches!(op, Op::Conv(_) | Op::MatMul { .. }) && Bias::of(kernel).is_some()
    }

    fn upload(&self, array: &Array) -> Result<TorchTensor> {
        tensor::upload(array, self.device)
    }

    fn download(&self, x: &TorchTensor) -> Result<Array> {
        if x.0.requires_grad() {
            let received = "a result of libtorch's own";
            return Err(Error::state("download", "a tensor outside of automatic differentiation", received));
        }
        tensor::download(&x.0)
    }

    fn copy(&self, x: &TorchTensor) -> Result<TorchTensor> {
        copied(&x.0).own()
    }

    fn type_of(&self, x: &TorchTensor) -> Type {
        tensor::type_of(&x.0)
    }

    fn unary(&self, op: Unary, x: Arg<TorchTensor>) -> Result<TorchTensor> {
        elementwise::unary(op, x.into()).own()
    }

    fn binary(&self, op: Binary, a: Arg<TorchTensor>, b: Arg<TorchTensor>) -> Result<TorchTensor> {
        elementwise::binary(op, a.into(), b.into()).own()
    }

    fn compare(&self, op: Compare, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        elementwise::compare(op, &a.0, &b.0).own()
    }

    fn logical(&self, op: Logical, a: &TorchTensor, b: &TorchTensor) -> Result<TorchTensor> {
        elementwise::logical(op, &a.0, &b.0).own()
    }

    fn select(&self, c: &TorchTensor, a: Arg<TorchTensor>, b: Arg<TorchTensor>) -> Result<TorchTensor> {
        a.tensor.0.f_where_self(&c.0, &b.tensor.0).own()
    }

    fn cast(&self, x: &TorchTensor, to: DType) -> Result<TorchTensor> {
        x.0.f_to_kind(kind(to)).own()
    }

    fn reduce(&self, op: Reduce, x: &TorchTensor, axes: &[usize]) -> Result<TorchTensor> {
        movement::reduce(op, &x.0, axes).own()
    }

    fn arg_reduce(&self, op: ArgReduce, x: &TorchTensor, axis: usize) -> Result<TorchTensor> {
        match op {
            ArgReduce::Max => x.0.f_argmax(axis as i64, false),
            ArgReduce::Min => x.0.f_argmin(axis as i64, false),
        }
        .own()
    }

    fn cumulative(&self, op: Cumulative, x: &TorchTensor, axis: usize) -> Result<TorchTensor> {
        match op {
            Cumulative::Sum => x.0.f_cumsum(axis as i64, x.0.kind()),
            Cumulative::Prod => x.0.f_cumprod(axis as i64, x.0.kind()),
        }
        .own()
    }

    fn top_k(&self, x: &TorchTensor, k: usize) -> Result<(TorchTensor, TorchTensor)> {
        let (values, positions) = x.0.f_sort_stable(true, -1, true).map_err(|reason| error(&reason))?;
        Ok((values.f_narrow(-1, 0, k as i64).own()?, positions.f_narrow(-1, 0, k as i64).own()?))
    }

    fn matmul(&self, a: &TorchTensor, b: &TorchTensor, trans_a: bool, trans_b: bool) -> Result<TorchTensor> {
        transposed(&a.0, trans_a).and_then(|a| a.f_matmul(&transposed(&b.0, trans_b)?)).own()
    }

    fn conv(&self, spec: &ConvSpec, x: &TorchTensor, kernel: &TorchTensor) -> Result<TorchTensor> {
        window::conv(spec, &x.0, &kernel.0, None, false).own()
    }

    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        grad: &TorchTensor,
        kernel: &TorchTensor,
    ) -> Result<TorchTensor> {
        window::conv_grad_input(spec, input, &grad.0, &kernel.0).own()
    }

    fn conv_grad_kernel(
        &self,
        spec: &ConvSpec,
        kernel: &[usize],
        x: &TorchTensor,
        grad: &TorchTensor,
    ) -> Result<TorchTensor> {
        window::conv_grad_kernel(spec, kernel, &x.0, &grad.0).own()
    }

    fn max_pool(
        &self,
        spec: &PoolSpec,
        x: &TorchTensor,
        positions: bool,
    ) -> Result<(TorchTensor, Option<TorchTensor>)> {
        let found = pooling(spec, &spatial(&x.0))?.max(&x.0).map_err(|reason| error(&reason))?;
        Ok((TorchTensor(found.0), positions.then_some(TorchTensor(found.1))))
    }

    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        grad: &TorchTensor,
        positions: &TorchTensor,
    ) -> Result<TorchTensor> {
        pooling(spec, input)?.max_grad(input, &grad.0, &positions.0).own()
    }

    fn avg_pool(&self, spec: &PoolSpec, x: &TorchTensor) -> Result<TorchTensor> {
        pooling(spec, &spatial(&x.0))?.mean(&x.0).own()
    }

    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &TorchTensor) -> Result<TorchTensor> {
        pooling(spec, input)?.mean_grad(input, &grad.0).own()
    }

    fn gather(&self, x: &TorchTensor, indices: &TorchTensor, axis: usize) -> Result<TorchTensor> {
        movement::gather(&x.0, &indices.0, axis).own()
    }

    fn scatter_add(&self, size: usize, indices: &TorchTensor, updates: &TorchTensor) -> Result<TorchTensor> {
        movement::scatter_add(size, &indices.0, &updates.0).own()
    }

    fn reshape(&self, x: &TorchTensor, shape: &[usize]) -> Result<TorchTensor> {
        x.0.f_reshape(ints(shape)).own()
    }

    fn permute(&self, x: &TorchTensor, perm: &[usize]) -> Result<TorchTensor> {
        x.0.f_permute(ints(perm)).own()
    }

    fn broadcast(&self, x: &TorchTensor, shape: &[usize]) -> Result<TorchTensor> {
        x.0.f_expand(ints(shape), false).own()
    }

    fn slice(&self, x: &TorchTensor, spec: &SliceSpec) -> Result<TorchTensor> {
        movement::slice(&x.0, spec).own()
    }

    fn slice_update(
        &self,
        base: Arg<TorchTensor>,
        update: &TorchTensor,
        spec: &SliceSpec,
    ) -> Result<TorchTensor> {
        movement::slice_update(base.into(), &update.0, spec).own()
    }

    fn pad(&self, x: &TorchTensor, pads: &[(usize, usize)]) -> Result<TorchTensor> {
        x.0.f_constant_pad_nd(pad_list(pads)).own()
    }

    fn concat(&self, parts: &[TorchTensor], axis: usize) -> Result<TorchTensor> {
        let parts: Vec<&Tensor> = parts.iter().map(|part| &part.0).collect();
        Tensor::f_cat(&parts, axis as i64).own()
    }

    fn reverse(&self, x: &TorchTensor, axes: &[usize]) -> Result<TorchTensor> {
        x.0.f_flip(ints(axes)).own()
    }

    fn full(&self, ty: &Type, value: Scalar) -> Result<TorchTensor> {
        tensor::full(&ty.shape, value, ty.dtype, self.device).own()
    }

    fn iota(&self, ty: &Type, axis: usize) -> Result<TorchTensor> {
        let len = ty.shape.get(axis).copied().unwrap_or(1) as i64;
        let mut shape = vec![1; ty.shape.len()];
        shape.iter_mut().skip(axis).take(1).for_each(|own| *own = len);
        let run = || -> Raw {
            let places = Tensor::f_arange(len, (kind(ty.dtype), self.device))?.f_reshape(shape)?;
            let mut all = self.empty_like(&ints(&ty.shape), kind(ty.dtype))?;
            all.f_copy_(&places)?;
            Ok(all)
        };
        run().own()
    }

    fn prepack(
        &self,
        op: &Op,
        types: &[&Type],
        operand: usize,
        tensor: &TorchTensor,
    ) -> Result<Option<TorchTensor>> {
        match (op, types, operand) {
            (Op::Conv(spec), [x, _], 1) => {
                let packed = window::pack(spec, &x.shape, &tensor.0).map_err(|reason| error(&reason))?;
                Ok(packed.map(TorchTensor))
            }
            _ => Ok(None),
        }
    }

    fn kernel(
        &self,
        kernel: &Kernel,
        inputs: Vec<Arg<TorchTensor>>,
        scalars: &[Scalar],
    ) -> Result<Vec<TorchTensor>> {
        let inputs: Vec<Operand> = inputs.into_iter().map(Operand::from).collect();
        let results = kernel::run(kernel, inputs, scalars, self.device).map_err(|reason| error(&reason))?;
        Ok(results.into_iter().map(TorchTensor).collect())
    }

    fn epilogue(
        &self,
        op: &Op,
        operands: &[TorchTensor],
        kernel: &Kernel,
        inputs: Vec<Arg<TorchTensor>>,
        _: &[Scalar],
    ) -> Result<Vec<TorchTensor>> {
        let declined = || unsupported("torch", "that epilogue");
        let (Some(bias), [added], [output]) =
            (Bias::of(kernel), inputs.as_slice(), kernel.outputs.as_slice())
        else {
            return Err(declined());
        };
        let run = || -> Raw {
            let row = added.tensor.0.f_reshape([-1])?;
            let mut result = match (op, operands) {
                (Op::Conv(spec), [x, kernel]) => {
                    let result = window::conv(spec, &x.0, &kernel.0, Some(&row), bias.relu)?;
                    return result.f_reshape(ints(&output.shape));
                }
                (&Op::MatMul { trans_a, trans_b }, [a, b]) if a.0.dim() == 2 => {
                    row.f_addmm(&transposed(&a.0, trans_a)?, &transposed(&b.0, trans_b)?)?
                }
                (&Op::MatMul { trans_a, trans_b }, [a, b]) => {
                    transposed(&a.0, trans_a)?.f_matmul(&transposed(&b.0, trans_b)?)?.f_add(&row)?
                }
                _ => return Err(tch::TchError::Torch(declined().to_string())),
            };
            if bias.relu {
                result = result.f_relu_()?;
            }
            result.f_reshape(ints(&output.shape))
        };
        Ok(vec![run().own()?])
    }

    fn composite(
        &self,
        op: &Op,
        inputs: &[TorchTensor],
        wanted: &[bool],
    ) -> Result<Vec<Option<TorchTensor>>> {
        let one = |result: Raw| result.map(|result| vec![Some(result)]);
        let tensors = || inputs.iter().map(|input| input.0.shallow_clone()).collect::<Vec<_>>();
        let results = match (op, inputs) {
            (Op::Softmax, [x]) => one(x.0.f_softmax(-1, None::<Kind>)),
            (Op::LogSoftmax, [x]) => one(x.0.f_log_softmax(-1, None::<Kind>)),
            (Op::Recurrent(spec), _) => recurrent::forward(*spec, &tensors(), wanted),
            (Op::RecurrentGrad(spec, sequence), _) => {
                recurrent::backward(*spec, *sequence, &tensors(), wanted)
            }
            _ => return Err(unsupported("torch", op.name())),
        };
        let results = results.map_err(|reason| error(&reason))?;
        Ok(results.into_iter().map(|result| result.map(TorchTensor)).collect())
    }
}

fn transposed(x: &Tensor, swapped: bool) -> Raw {
    if swapped { x.f_transpose(-2, -1) } else { Ok(x.shallow_clone()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use keras_core::graph::{Instr, KernelInput, KernelOutput};

    #[test]
    fn devices_that_do_not_exist_are_errors_that_list_those_that_do() {
        for name in ["cuda:9999", "tpu", "cuda:x", "cpu:1"] {
            let message = Torch::new(name).unwrap_err().to_string();
            assert!(message.contains("cpu") && message.contains(name), "{message}");
        }
        assert_eq!(Torch::new("cpu").unwrap().device(), "cpu");
    }

    #[test]
    fn libtorch_takes_the_number_of_threads() {
        let _turn = crate::TURN.lock();
        for threads in [3, 1, 2] {
            Torch::with_threads("cpu", NonZeroUsize::new(threads).unwrap()).unwrap();
            assert_eq!(tch::get_num_threads(), threads as i32);
        }
    }

    /// In a process of its own, whose environment it is.
    #[test]
    fn the_environment_says_the_number_of_threads() {
        const NAME: &str = "backend::tests::the_environment_says_the_number_of_threads";
        if let Some(threads) = std::env::var_os("EXPECTED_THREADS") {
            Torch::new("cpu").unwrap();
            assert_eq!(tch::get_num_threads().to_string(), threads.to_string_lossy());
            return;
        }
        for threads in ["1", "3"] {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", NAME]).envs([(THREADS, threads), ("EXPECTED_THREADS", threads)]);
            let output = child.output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
    }

    #[test]
    fn nothing_is_recorded_for_differentiation() {
        let torch = Torch::new("cpu").unwrap();
        let up = |shape: &[usize]| torch.upload(&Array::full(shape, 0.5_f32).unwrap()).unwrap();
        let spec = ConvSpec { strides: vec![1], dilations: vec![1], pads: vec![(1, 1)], groups: 1 };
        let (x, kernel) = (up(&[2, 5, 3]), up(&[3, 3, 4]));
        let y = torch.conv(&spec, &x, &kernel).unwrap();
        let dx = torch.conv_grad_input(&spec, &[5], &y, &kernel).unwrap();
        let dk = torch.conv_grad_kernel(&spec, &[3], &x, &y).unwrap();
        let arg = |tensor: &TorchTensor| Arg { tensor: tensor.clone(), writable: false };
        let total = torch.binary(Binary::Add, arg(&x), arg(&dx)).unwrap();
        for tensor in [x, kernel, y, dx, dk, total] {
            assert!(!tensor.0.requires_grad() && !tensor.0.grad().defined());
        }
    }

    /// So the conformance suite, and every test that reads a result, sees that no operation made a graph.
    #[test]
    fn a_result_with_an_autograd_graph_is_an_error() {
        let torch = Torch::new("cpu").unwrap();
        let leaf = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let product = TorchTensor(&leaf * 2.0);
        assert!(torch.download(&product).unwrap_err().to_string().contains("automatic differentiation"));
        assert!(torch.download(&TorchTensor(product.0.detach())).is_ok());
    }

    /// The result stands where the operand did if it may be overwritten, and nowhere near it if not.
    #[test]
    fn results_take_the_memory_they_are_given() {
        type Run<'a> = &'a dyn Fn(Arg<TorchTensor>) -> Result<TorchTensor>;
        let torch = Torch::new("cpu").unwrap();
        let y = torch.upload(&Array::from([2.0_f64, 4.0, 8.0])).unwrap();
        let other = || Arg { tensor: y.clone(), writable: false };
        let taken_of = |dtype: DType, name: &str, run: Run| {
            let x = Array::from([0.25, 0.5, 0.75]).cast(dtype);
            for writable in [true, false] {
                let tensor = torch.upload(&x).unwrap();
                let result = run(Arg { tensor: tensor.clone(), writable }).unwrap();
                assert_eq!(result.0.data_ptr() == tensor.0.data_ptr(), writable, "{name}");
                assert!(writable || torch.download(&tensor).unwrap() == x, "{name}");
            }
        };
        let taken = |name: &str, run: Run| taken_of(DType::F64, name, run);
        for function in [Unary::Neg, Unary::Exp, Unary::Sqrt, Unary::Square, Unary::Tanh, Unary::Relu] {
            taken(function.name(), &|x| torch.unary(function, x));
        }
        for function in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
            taken(function.name(), &|x| torch.binary(function, x, other()));
        }
        taken("the second summand", &|x| torch.binary(Binary::Add, other(), x));
        let spec = SliceSpec { starts: vec![1], stops: vec![2], steps: vec![1] };
        let one = torch.upload(&Array::from([5.0_f64])).unwrap();
        taken("slice_update", &|x| torch.slice_update(x, &one, &spec));
        // Kernels run in blocks in single precision, in double by libtorch's functions, one after the other.
        for (dtype, blocks) in [(DType::F32, true), (DType::F64, false)] {
            let kernel = Kernel {
                shape: vec![3],
                inputs: vec![KernelInput { dtype, strides: vec![1] }],
                scalars: 1,
                code: vec![
                    (Instr::Load(0), dtype),
                    (Instr::Scalar(0), dtype),
                    (Instr::Binary(Binary::Mul, 0, 1), dtype),
                    (Instr::Unary(Unary::Sqrt, 2), dtype),
                ],
                outputs: vec![KernelOutput { register: 3, shape: vec![3], alias: Some(0), reduce: None }],
            };
            assert_eq!(crate::fused::runs(&kernel), blocks);
            taken_of(dtype, "a kernel", &|x| {
                Ok(torch.kernel(&kernel, vec![x], &[Scalar::Float(0.5)])?.remove(0))
            });
        }
    }

    #[test]
    fn a_packed_kernel_gives_what_a_plain_one_does() {
        let torch = Torch::new("cpu").unwrap();
        let ramp = |shape: &[usize], hole: f32| {
            let count: usize = shape.iter().product();
            let mut values: Vec<f32> = (0..count).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect();
            values[count / 3] = hole;
            torch.upload(&Array::from_vec(shape, values).unwrap()).unwrap()
        };
        let bias = ramp(&[5], 0.25);
        for (stride, dilation, pads) in [(1, 1, (1, 1)), (2, 1, (0, 1)), (1, 2, (2, 2)), (3, 1, (0, 0))] {
            let spec = ConvSpec {
                strides: vec![stride; 2],
                dilations: vec![dilation; 2],
                pads: vec![pads; 2],
                groups: 1,
            };
            for hole in [0.5, f32::INFINITY, f32::NAN] {
                let (x, kernel) = (ramp(&[2, 9, 8, 3], hole), ramp(&[3, 3, 3, 5], 0.5));
                let (op, types) = (Op::Conv(spec.clone()), [torch.type_of(&x), torch.type_of(&kernel)]);
                let packed = torch.prepack(&op, &[&types[0], &types[1]], 1, &kernel).unwrap().unwrap();
                for (bias, relu) in [(None, false), (Some(&bias.0), false), (Some(&bias.0), true)] {
                    let run = |kernel: &TorchTensor| {
                        let result = window::conv(&spec, &x.0, &kernel.0, bias, relu).unwrap();
                        torch.download(&TorchTensor(result)).unwrap().to_vec::<f32>()
                    };
                    for (a, b) in run(&kernel).into_iter().zip(run(&packed)) {
                        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                        assert!(same || (a - b).abs() < 1e-5, "{a} and {b} at {spec:?}, {hole}, {relu}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_exception_is_an_error_of_one_line() {
        let torch = Torch::new("cpu").unwrap();
        let up = |shape: &[usize]| torch.upload(&Array::full(shape, 1.0_f32).unwrap()).unwrap();
        let spec = ConvSpec { strides: vec![1], dilations: vec![1], pads: vec![(1, 1)], groups: 1 };
        let of_libtorch = torch.matmul(&up(&[2, 3]), &up(&[2, 3]), false, false);
        let of_the_shim = torch.conv_grad_kernel(&spec, &[3], &up(&[2, 5, 3]), &up(&[3, 5, 4]));
        for result in [of_libtorch, of_the_shim] {
            let message = result.unwrap_err().to_string();
            assert!(message.starts_with("backend torch: ") && message.lines().count() == 1, "{message}");
        }
    }
}
