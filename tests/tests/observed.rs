//! A backend that computes with [`Reference`] and keeps account: of operations by name, of tensors alive, of
//! transfers. It can be told to fail, not to fuse, and to run what has a decomposition by it.

use keras_core::backend::reference::Reference;
use keras_core::backend::{Arg, Backend, Engine, Scalar, Support};
use keras_core::graph::optimize::Passes;
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Graph, Kernel, Logical, Op, PoolSpec, Reduce,
    SliceSpec, Type, Unary, decompose,
};
use keras_core::{Array, DType, Error, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What happened on a backend.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Buffers that exist now.
    pub(crate) alive: AtomicUsize,
    /// Arrays brought to the device.
    pub(crate) uploads: AtomicUsize,
    /// Arrays brought back.
    pub(crate) downloads: AtomicUsize,
    /// Operands that operations were allowed to overwrite.
    pub(crate) writable: AtomicUsize,
    operations: Mutex<HashMap<&'static str, usize>>,
    failing: Mutex<Option<&'static str>>,
}

impl Account {
    /// How often an operation ran.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.operations.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    /// How many operations ran.
    pub(crate) fn total(&self) -> usize {
        self.operations.lock().unwrap().values().sum()
    }

    /// Forgets what ran.
    pub(crate) fn reset(&self) {
        self.operations.lock().unwrap().clear();
        for counter in [&self.uploads, &self.downloads, &self.writable] {
            counter.store(0, Ordering::SeqCst);
        }
    }

    /// From now on an operation of that name fails.
    pub(crate) fn fail(&self, operation: Option<&'static str>) {
        *self.failing.lock().unwrap() = operation;
    }
}

/// A buffer; clones share it.
#[derive(Clone)]
pub(crate) struct Tracked(Arc<Buffer>);

struct Buffer {
    array: Array,
    account: Arc<Account>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.account.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The backend.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) account: Arc<Account>,
    /// Whether it runs fused kernels.
    pub(crate) fuses: bool,
    /// Whether it runs what has a decomposition by that.
    pub(crate) decomposes: bool,
    /// Whether it lacks what it computes with.
    pub(crate) broken: bool,
}

impl Observed {
    /// A backend and its account.
    pub(crate) fn new(fuses: bool) -> (Self, Arc<Account>) {
        let backend = Self { fuses, ..Self::default() };
        let account = Arc::clone(&backend.account);
        (backend, account)
    }

    fn put(&self, array: Array) -> Tracked {
        self.account.alive.fetch_add(1, Ordering::SeqCst);
        Tracked(Arc::new(Buffer { array, account: Arc::clone(&self.account) }))
    }

    fn note(&self, operation: &'static str) -> Result<()> {
        *self.account.operations.lock().unwrap().entry(operation).or_default() += 1;
        if *self.account.failing.lock().unwrap() == Some(operation) {
            return Err(Error::backend("observed", "no order to fail", operation));
        }
        Ok(())
    }

    fn one(&self, operation: &'static str, result: impl FnOnce() -> Result<Array>) -> Result<Tracked> {
        self.note(operation)?;
        result().map(|array| self.put(array))
    }

    fn give(&self, arg: &Arg<Tracked>) -> Arg<Array> {
        if arg.writable {
            self.account.writable.fetch_add(1, Ordering::SeqCst);
            assert_eq!(Arc::strong_count(&arg.tensor.0), 1, "a writable operand has one handle");
        }
        Arg { tensor: arg.tensor.0.array.clone(), writable: false }
    }

    /// The results by decomposition, if there is one and it is wanted.
    fn decomposed(&self, op: &Op, inputs: &[&Tracked]) -> Option<Result<Vec<Tracked>>> {
        if !self.decomposes {
            return None;
        }
        let mut graph = Graph::new();
        let feeds: Vec<Array> = inputs.iter().map(|input| input.0.array.clone()).collect();
        let values: Vec<_> = feeds.iter().map(|x| graph.input(Type::new(x.shape(), x.dtype()))).collect();
        let results = decompose(&mut graph, op, &values).transpose()?;
        Some(results.and_then(|results| {
            self.note(op.name())?;
            graph.set_outputs(results);
            let passes = Passes { simplify: false, fuse: false };
            let arrays = Engine::new(Reference)?.compile_with(&graph, passes)?.run(&feeds)?;
            Ok(arrays.into_iter().map(|array| self.put(array)).collect())
        }))
    }

    fn first(
        &self,
        op: &Op,
        inputs: &[&Tracked],
        otherwise: impl FnOnce() -> Result<Array>,
    ) -> Result<Tracked> {
        match self.decomposed(op, inputs) {
            Some(results) => Ok(results?.remove(0)),
            None => self.one(op.name(), otherwise),
        }
    }
}

fn of(x: &Tracked) -> &Array {
    &x.0.array
}

impl Backend for Observed {
    type Tensor = Tracked;

    fn name(&self) -> &'static str {
        "observed"
    }
    fn probe(&self) -> Result<()> {
        if self.broken {
            let error =
                Error::state("backend observed", "a library to compute with", "no library to compute with");
            return Err(error.advice("install one"));
        }
        Ok(())
    }
    fn devices(&self) -> Vec<String> {
        ["gpu:0", "gpu:1", "cpu"].map(str::to_owned).to_vec()
    }
    fn supports(&self, _: &Op, _: &[&Type]) -> Support {
        Support::Native
    }
    fn supports_kernel(&self, _: &Kernel) -> bool {
        self.fuses
    }
    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        self.fuses && Reference.supports_epilogue(op, kernel)
    }
    fn upload(&self, array: &Array) -> Result<Tracked> {
        self.account.uploads.fetch_add(1, Ordering::SeqCst);
        Ok(self.put(array.clone()))
    }
    fn download(&self, x: &Tracked) -> Result<Array> {
        self.account.downloads.fetch_add(1, Ordering::SeqCst);
        Ok(of(x).clone())
    }
    fn type_of(&self, x: &Tracked) -> Type {
        Reference.type_of(of(x))
    }
    fn unary(&self, op: Unary, x: Arg<Tracked>) -> Result<Tracked> {
        self.first(&Op::Unary(op), &[&x.tensor], || Reference.unary(op, self.give(&x)))
    }
    fn binary(&self, op: Binary, a: Arg<Tracked>, b: Arg<Tracked>) -> Result<Tracked> {
        self.one(op.name(), || Reference.binary(op, self.give(&a), self.give(&b)))
    }
    fn compare(&self, op: Compare, a: &Tracked, b: &Tracked) -> Result<Tracked> {
        self.one(op.name(), || Reference.compare(op, of(a), of(b)))
    }
    fn logical(&self, op: Logical, a: &Tracked, b: &Tracked) -> Result<Tracked> {
        self.one(op.name(), || Reference.logical(op, of(a), of(b)))
    }
    fn select(&self, c: &Tracked, a: Arg<Tracked>, b: Arg<Tracked>) -> Result<Tracked> {
        self.one("select", || Reference.select(of(c), self.give(&a), self.give(&b)))
    }
    fn cast(&self, x: &Tracked, to: DType) -> Result<Tracked> {
        self.one("cast", || Reference.cast(of(x), to))
    }
    fn reduce(&self, op: Reduce, x: &Tracked, axes: &[usize]) -> Result<Tracked> {
        self.first(&Op::Reduce(op, axes.to_vec()), &[x], || Reference.reduce(op, of(x), axes))
    }
    fn arg_reduce(&self, op: ArgReduce, x: &Tracked, axis: usize) -> Result<Tracked> {
        self.one(op.name(), || Reference.arg_reduce(op, of(x), axis))
    }
    fn cumulative(&self, op: Cumulative, x: &Tracked, axis: usize) -> Result<Tracked> {
        self.first(&Op::Cumulative(op, axis), &[x], || Reference.cumulative(op, of(x), axis))
    }
    fn top_k(&self, x: &Tracked, k: usize) -> Result<(Tracked, Tracked)> {
        self.note("top_k")?;
        let (values, positions) = Reference.top_k(of(x), k)?;
        Ok((self.put(values), self.put(positions)))
    }
    fn matmul(&self, a: &Tracked, b: &Tracked, trans_a: bool, trans_b: bool) -> Result<Tracked> {
        self.one("matmul", || Reference.matmul(of(a), of(b), trans_a, trans_b))
    }
    fn conv(&self, spec: &ConvSpec, x: &Tracked, kernel: &Tracked) -> Result<Tracked> {
        self.first(&Op::Conv(spec.clone()), &[x, kernel], || Reference.conv(spec, of(x), of(kernel)))
    }
    fn conv_grad_input(
        &self,
        spec: &ConvSpec,
        input: &[usize],
        grad: &Tracked,
        kernel: &Tracked,
    ) -> Result<Tracked> {
        self.first(&Op::ConvGradInput(spec.clone(), input.to_vec()), &[grad, kernel], || {
            Reference.conv_grad_input(spec, input, of(grad), of(kernel))
        })
    }
    fn conv_grad_kernel(
        &self,
        spec: &ConvSpec,
        kernel: &[usize],
        x: &Tracked,
        grad: &Tracked,
    ) -> Result<Tracked> {
        self.first(&Op::ConvGradKernel(spec.clone(), kernel.to_vec()), &[x, grad], || {
            Reference.conv_grad_kernel(spec, kernel, of(x), of(grad))
        })
    }
    fn max_pool(&self, spec: &PoolSpec, x: &Tracked, positions: bool) -> Result<(Tracked, Option<Tracked>)> {
        if let Some(results) = self.decomposed(&Op::MaxPool(spec.clone()), &[x]) {
            let mut results = results?;
            let found = results.pop();
            return Ok((results.remove(0), found.filter(|_| positions)));
        }
        self.note("max_pool")?;
        let (maxima, found) = Reference.max_pool(spec, of(x), positions)?;
        Ok((self.put(maxima), found.map(|found| self.put(found))))
    }
    fn max_pool_grad(
        &self,
        spec: &PoolSpec,
        input: &[usize],
        grad: &Tracked,
        at: &Tracked,
    ) -> Result<Tracked> {
        self.first(&Op::MaxPoolGrad(spec.clone(), input.to_vec()), &[grad, at], || {
            Reference.max_pool_grad(spec, input, of(grad), of(at))
        })
    }
    fn avg_pool(&self, spec: &PoolSpec, x: &Tracked) -> Result<Tracked> {
        self.first(&Op::AvgPool(spec.clone()), &[x], || Reference.avg_pool(spec, of(x)))
    }
    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Tracked) -> Result<Tracked> {
        self.first(&Op::AvgPoolGrad(spec.clone(), input.to_vec()), &[grad], || {
            Reference.avg_pool_grad(spec, input, of(grad))
        })
    }
    fn gather(&self, x: &Tracked, indices: &Tracked, axis: usize) -> Result<Tracked> {
        self.one("gather", || Reference.gather(of(x), of(indices), axis))
    }
    fn scatter_add(&self, size: usize, indices: &Tracked, updates: &Tracked) -> Result<Tracked> {
        self.one("scatter_add", || Reference.scatter_add(size, of(indices), of(updates)))
    }
    fn reshape(&self, x: &Tracked, shape: &[usize]) -> Result<Tracked> {
        self.one("reshape", || Reference.reshape(of(x), shape))
    }
    fn permute(&self, x: &Tracked, perm: &[usize]) -> Result<Tracked> {
        self.one("permute", || Reference.permute(of(x), perm))
    }
    fn broadcast(&self, x: &Tracked, shape: &[usize]) -> Result<Tracked> {
        self.one("broadcast", || Reference.broadcast(of(x), shape))
    }
    fn slice(&self, x: &Tracked, spec: &SliceSpec) -> Result<Tracked> {
        self.one("slice", || Reference.slice(of(x), spec))
    }
    fn slice_update(&self, base: Arg<Tracked>, update: &Tracked, spec: &SliceSpec) -> Result<Tracked> {
        self.one("slice_update", || Reference.slice_update(self.give(&base), of(update), spec))
    }
    fn pad(&self, x: &Tracked, pads: &[(usize, usize)]) -> Result<Tracked> {
        self.one("pad", || Reference.pad(of(x), pads))
    }
    fn concat(&self, parts: &[Tracked], axis: usize) -> Result<Tracked> {
        let parts: Vec<Array> = parts.iter().map(|part| of(part).clone()).collect();
        self.one("concat", || Reference.concat(&parts, axis))
    }
    fn reverse(&self, x: &Tracked, axes: &[usize]) -> Result<Tracked> {
        self.one("reverse", || Reference.reverse(of(x), axes))
    }
    fn full(&self, ty: &Type, value: Scalar) -> Result<Tracked> {
        self.one("full", || Reference.full(ty, value))
    }
    fn iota(&self, ty: &Type, axis: usize) -> Result<Tracked> {
        self.one("iota", || Reference.iota(ty, axis))
    }
    fn kernel(&self, kernel: &Kernel, inputs: Vec<Arg<Tracked>>, scalars: &[Scalar]) -> Result<Vec<Tracked>> {
        self.note("kernel")?;
        let inputs = inputs.iter().map(|input| self.give(input)).collect();
        Ok(Reference.kernel(kernel, inputs, scalars)?.into_iter().map(|array| self.put(array)).collect())
    }
    fn epilogue(
        &self,
        op: &Op,
        operands: &[Tracked],
        kernel: &Kernel,
        inputs: Vec<Arg<Tracked>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Tracked>> {
        self.note("epilogue")?;
        let operands: Vec<Array> = operands.iter().map(|operand| of(operand).clone()).collect();
        let inputs = inputs.iter().map(|input| self.give(input)).collect();
        let results = Reference.epilogue(op, &operands, kernel, inputs, scalars)?;
        Ok(results.into_iter().map(|array| self.put(array)).collect())
    }
    fn composite(&self, op: &Op, inputs: &[Tracked], wanted: &[bool]) -> Result<Vec<Option<Tracked>>> {
        let operands: Vec<&Tracked> = inputs.iter().collect();
        if let Some(results) = self.decomposed(op, &operands) {
            return Ok(results?.into_iter().map(Some).collect());
        }
        self.note(op.name())?;
        let inputs: Vec<Array> = inputs.iter().map(|input| of(input).clone()).collect();
        let results = Reference.composite(op, &inputs, wanted)?;
        Ok(results.into_iter().map(|array| array.map(|array| self.put(array))).collect())
    }
}
