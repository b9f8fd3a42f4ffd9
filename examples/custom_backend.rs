//! A backend from outside: it passes everything on to another and counts what was asked for.
//!
//! `cargo run --release --example custom_backend`

use keras::backend::{Arg, Backend, Lack, Scalar, Support};
use keras::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Kernel, Logical, Op, PoolSpec, Reduce,
    SliceSpec, Type, Unary,
};
use keras::prelude::*;
use keras::random::Stream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often each method was called.
pub(crate) type Log = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Any backend, watched.
pub(crate) struct Logging<B> {
    inner: B,
    log: Log,
}

/// Methods that note their name and pass their arguments on.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($argument: $type),*) -> $result {
            *self.log.lock().unwrap_or_else(PoisonError::into_inner).entry(stringify!($name)).or_default() += 1;
            self.inner.$name($($argument),*)
        }
    )*};
}

impl<B: Backend> Backend for Logging<B> {
    type Tensor = B::Tensor;

    fn name(&self) -> &'static str {
        "logging"
    }

    #[rustfmt::skip]
    pass_on! {
        device() -> String; devices() -> Vec<String>; probe() -> Result<()>; lacks() -> Vec<Lack>;
        supports(op: &Op, inputs: &[&Type]) -> Support; supports_epilogue(op: &Op, kernel: &Kernel) -> bool;
        supports_dtype(dtype: DType) -> bool; supports_kernel(kernel: &Kernel) -> bool;
        upload(array: &Array) -> Result<B::Tensor>; download(x: &B::Tensor) -> Result<Array>;
        copy(x: &B::Tensor) -> Result<B::Tensor>; type_of(x: &B::Tensor) -> Type;
        unary(op: Unary, x: Arg<B::Tensor>) -> Result<B::Tensor>;
        binary(op: Binary, a: Arg<B::Tensor>, b: Arg<B::Tensor>) -> Result<B::Tensor>;
        compare(op: Compare, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor>; logical(op: Logical, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor>;
        select(c: &B::Tensor, a: Arg<B::Tensor>, b: Arg<B::Tensor>) -> Result<B::Tensor>;
        cast(x: &B::Tensor, to: DType) -> Result<B::Tensor>; reverse(x: &B::Tensor, axes: &[usize]) -> Result<B::Tensor>;
        reduce(op: Reduce, x: &B::Tensor, axes: &[usize]) -> Result<B::Tensor>;
        arg_reduce(op: ArgReduce, x: &B::Tensor, axis: usize) -> Result<B::Tensor>; cumulative(op: Cumulative, x: &B::Tensor, axis: usize) -> Result<B::Tensor>;
        top_k(x: &B::Tensor, k: usize) -> Result<(B::Tensor, B::Tensor)>;
        matmul(a: &B::Tensor, b: &B::Tensor, trans_a: bool, trans_b: bool) -> Result<B::Tensor>;
        conv(spec: &ConvSpec, x: &B::Tensor, kernel: &B::Tensor) -> Result<B::Tensor>;
        conv_grad_input(spec: &ConvSpec, input: &[usize], grad: &B::Tensor, kernel: &B::Tensor) -> Result<B::Tensor>;
        conv_grad_kernel(spec: &ConvSpec, kernel: &[usize], x: &B::Tensor, grad: &B::Tensor) -> Result<B::Tensor>;
        max_pool(spec: &PoolSpec, x: &B::Tensor, positions: bool) -> Result<(B::Tensor, Option<B::Tensor>)>;
        max_pool_grad(spec: &PoolSpec, input: &[usize], grad: &B::Tensor, positions: &B::Tensor) -> Result<B::Tensor>;
        avg_pool(spec: &PoolSpec, x: &B::Tensor) -> Result<B::Tensor>;
        avg_pool_grad(spec: &PoolSpec, input: &[usize], grad: &B::Tensor) -> Result<B::Tensor>;
        gather(x: &B::Tensor, indices: &B::Tensor, axis: usize) -> Result<B::Tensor>;
        scatter_add(size: usize, indices: &B::Tensor, updates: &B::Tensor) -> Result<B::Tensor>;
        reshape(x: &B::Tensor, shape: &[usize]) -> Result<B::Tensor>; permute(x: &B::Tensor, perm: &[usize]) -> Result<B::Tensor>;
        broadcast(x: &B::Tensor, shape: &[usize]) -> Result<B::Tensor>; pad(x: &B::Tensor, pads: &[(usize, usize)]) -> Result<B::Tensor>;
        slice(x: &B::Tensor, spec: &SliceSpec) -> Result<B::Tensor>; concat(parts: &[B::Tensor], axis: usize) -> Result<B::Tensor>;
        slice_update(base: Arg<B::Tensor>, update: &B::Tensor, spec: &SliceSpec) -> Result<B::Tensor>;
        full(ty: &Type, value: Scalar) -> Result<B::Tensor>; iota(ty: &Type, axis: usize) -> Result<B::Tensor>;
        random(ty: &Type, distribution: Distribution, stream: &Stream) -> Result<B::Tensor>;
        prepack(op: &Op, types: &[&Type], operand: usize, x: &B::Tensor) -> Result<Option<B::Tensor>>;
        kernel(kernel: &Kernel, inputs: Vec<Arg<B::Tensor>>, scalars: &[Scalar]) -> Result<Vec<B::Tensor>>;
        epilogue(op: &Op, operands: &[B::Tensor], kernel: &Kernel, inputs: Vec<Arg<B::Tensor>>, scalars: &[Scalar]) -> Result<Vec<B::Tensor>>;
        composite(op: &Op, inputs: &[B::Tensor], wanted: &[bool]) -> Result<Vec<Option<B::Tensor>>>;
    }
}

/// Watches a backend.
pub(crate) fn watch<B: Backend>(inner: B) -> (Logging<B>, Log) {
    let log = Log::default();
    (Logging { inner, log: Arc::clone(&log) }, log)
}

#[allow(dead_code, reason = "the tests take the backend alone")]
fn main() -> Result<()> {
    let (backend, log) = watch(keras::DefaultBackend::new()?);
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation("relu").input_shape([4]))?;
    model.add(Dense::new(1))?;
    model.compile(Compile::new("adam", "mse"))?;
    model.on(&keras::backend::Engine::new(backend)?);
    let (x, y) = (Array::full(&[32, 4], 0.5_f32)?, Array::full(&[32, 1], 1.0_f32)?);
    model.fit(x, y, Fit::new().epochs(3).verbose(0))?;
    for (method, calls) in log.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{calls:>6}  {method}");
    }
    Ok(())
}
