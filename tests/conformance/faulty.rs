//! The suite's own test: a backend with one planted fault has to fail, in the operation that has it.

use crate::{Case, Outcome, Report, check, run_matching};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Arg, Backend, Scalar, Support};
use keras_core::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Kernel, Logical, Op, PoolSpec, Reduce,
    SliceSpec, Type, Unary,
};
use keras_core::random::Stream;
use keras_core::{Array, DType, Result};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The last element of the results of that operation is off by a thousandth, or by one.
    Value(&'static str),
    /// Unary functions write into operands that they may not overwrite.
    Overwrites,
    /// A sum over no axes is its operand itself.
    Aliases,
    /// Every index is in range: the rest wraps around.
    TakesAnyIndex,
    /// Results are of another type.
    Widens,
    /// `round` is half away from zero.
    RoundsAway,
    /// `relu` makes NaN zero.
    LosesNan,
    /// What is prepared of an operand is another operand.
    PreparesAnother,
}

/// Shared memory, so that a fault can reach it.
type Cell = Arc<Mutex<Array>>;

struct Faulty(Fault);

fn get(x: &Cell) -> Array {
    x.lock().unwrap().clone()
}

fn plain(x: &Arg<Cell>) -> Arg<Array> {
    Arg { tensor: get(&x.tensor), writable: false }
}

fn nudged(x: &Array) -> Array {
    let mut values = x.to_vec::<f64>();
    if let Some(last) = values.last_mut() {
        *last = match x.dtype() {
            DType::Bool => 1.0 - *last,
            DType::F32 | DType::F64 if last.is_nan() => 1.0,
            DType::F32 | DType::F64 => *last + 1e-3 * (1.0 + last.abs()),
            _ => *last + 1.0,
        };
    }
    Array::from_vec(x.shape(), values).unwrap().cast(x.dtype())
}

impl Faulty {
    fn put(&self, op: &str, x: Array) -> Cell {
        let x = if matches!(self.0, Fault::Value(name) if name == op) { nudged(&x) } else { x };
        let x = if self.0 == Fault::Widens && x.dtype() == DType::F32 && op == "add" {
            x.cast(DType::F64)
        } else {
            x
        };
        Arc::new(Mutex::new(x))
    }
}

impl Backend for Faulty {
    type Tensor = Cell;

    fn name(&self) -> &'static str {
        "faulty"
    }
    fn supports(&self, _: &Op, _: &[&Type]) -> Support {
        Support::Native
    }
    fn supports_kernel(&self, _: &Kernel) -> bool {
        true
    }
    fn supports_epilogue(&self, op: &Op, kernel: &Kernel) -> bool {
        Reference.supports_epilogue(op, kernel)
    }
    fn upload(&self, array: &Array) -> Result<Cell> {
        Ok(self.put("transfer", array.clone()))
    }
    fn download(&self, x: &Cell) -> Result<Array> {
        Ok(get(x))
    }
    fn type_of(&self, x: &Cell) -> Type {
        let x = get(x);
        Type::new(x.shape(), x.dtype())
    }
    fn unary(&self, op: Unary, x: Arg<Cell>) -> Result<Cell> {
        let mut result = Reference.unary(op, plain(&x))?;
        match self.0 {
            Fault::Overwrites if op == Unary::Exp => *x.tensor.lock().unwrap() = result.clone(),
            Fault::RoundsAway if op == Unary::Round => {
                let rounded = get(&x.tensor).to_vec::<f64>().into_iter().map(f64::round).collect();
                result = Array::from_vec(result.shape(), rounded)?.cast(result.dtype());
            }
            Fault::LosesNan if op == Unary::Relu && result.dtype().is_float() => {
                let kept = result.to_vec::<f64>().into_iter().map(|x| x.max(0.0)).collect();
                result = Array::from_vec(result.shape(), kept)?.cast(result.dtype());
            }
            _ => {}
        }
        if x.writable {
            *x.tensor.lock().unwrap() = result.clone();
        }
        Ok(self.put(op.name(), result))
    }
    fn binary(&self, op: Binary, a: Arg<Cell>, b: Arg<Cell>) -> Result<Cell> {
        Ok(self.put(op.name(), Reference.binary(op, plain(&a), plain(&b))?))
    }
    fn compare(&self, op: Compare, a: &Cell, b: &Cell) -> Result<Cell> {
        Ok(self.put(op.name(), Reference.compare(op, &get(a), &get(b))?))
    }
    fn logical(&self, op: Logical, a: &Cell, b: &Cell) -> Result<Cell> {
        Ok(self.put(op.name(), Reference.logical(op, &get(a), &get(b))?))
    }
    fn select(&self, c: &Cell, a: Arg<Cell>, b: Arg<Cell>) -> Result<Cell> {
        Ok(self.put("select", Reference.select(&get(c), plain(&a), plain(&b))?))
    }
    fn cast(&self, x: &Cell, to: DType) -> Result<Cell> {
        Ok(self.put("cast", Reference.cast(&get(x), to)?))
    }
    fn reduce(&self, op: Reduce, x: &Cell, axes: &[usize]) -> Result<Cell> {
        if self.0 == Fault::Aliases && axes.is_empty() {
            return Ok(Arc::clone(x));
        }
        Ok(self.put(op.name(), Reference.reduce(op, &get(x), axes)?))
    }
    fn arg_reduce(&self, op: ArgReduce, x: &Cell, axis: usize) -> Result<Cell> {
        Ok(self.put(op.name(), Reference.arg_reduce(op, &get(x), axis)?))
    }
    fn cumulative(&self, op: Cumulative, x: &Cell, axis: usize) -> Result<Cell> {
        Ok(self.put(op.name(), Reference.cumulative(op, &get(x), axis)?))
    }
    fn top_k(&self, x: &Cell, k: usize) -> Result<(Cell, Cell)> {
        let (values, positions) = Reference.top_k(&get(x), k)?;
        Ok((self.put("", values), self.put("top_k", positions)))
    }
    fn matmul(&self, a: &Cell, b: &Cell, trans_a: bool, trans_b: bool) -> Result<Cell> {
        Ok(self.put("matmul", Reference.matmul(&get(a), &get(b), trans_a, trans_b)?))
    }
    fn conv(&self, spec: &ConvSpec, x: &Cell, kernel: &Cell) -> Result<Cell> {
        Ok(self.put("conv", Reference.conv(spec, &get(x), &get(kernel))?))
    }
    fn conv_grad_input(&self, spec: &ConvSpec, input: &[usize], grad: &Cell, kernel: &Cell) -> Result<Cell> {
        Ok(self.put("conv_grad_input", Reference.conv_grad_input(spec, input, &get(grad), &get(kernel))?))
    }
    fn conv_grad_kernel(&self, spec: &ConvSpec, kernel: &[usize], x: &Cell, grad: &Cell) -> Result<Cell> {
        Ok(self.put("conv_grad_kernel", Reference.conv_grad_kernel(spec, kernel, &get(x), &get(grad))?))
    }
    fn max_pool(&self, spec: &PoolSpec, x: &Cell, positions: bool) -> Result<(Cell, Option<Cell>)> {
        let (maxima, found) = Reference.max_pool(spec, &get(x), positions)?;
        Ok((self.put("", maxima), found.map(|found| self.put("max_pool", found))))
    }
    fn max_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Cell, positions: &Cell) -> Result<Cell> {
        Ok(self.put("max_pool_grad", Reference.max_pool_grad(spec, input, &get(grad), &get(positions))?))
    }
    fn avg_pool(&self, spec: &PoolSpec, x: &Cell) -> Result<Cell> {
        Ok(self.put("avg_pool", Reference.avg_pool(spec, &get(x))?))
    }
    fn avg_pool_grad(&self, spec: &PoolSpec, input: &[usize], grad: &Cell) -> Result<Cell> {
        Ok(self.put("avg_pool_grad", Reference.avg_pool_grad(spec, input, &get(grad))?))
    }
    fn gather(&self, x: &Cell, indices: &Cell, axis: usize) -> Result<Cell> {
        let (x, mut indices) = (get(x), get(indices));
        if self.0 == Fault::TakesAnyIndex {
            let len = x.shape()[axis] as i64;
            let inside = indices.to_vec::<i64>().into_iter().map(|i| i.rem_euclid(len)).collect();
            indices = Array::from_vec::<i64>(indices.shape(), inside)?;
        }
        Ok(self.put("gather", Reference.gather(&x, &indices, axis)?))
    }
    fn scatter_add(&self, size: usize, indices: &Cell, updates: &Cell) -> Result<Cell> {
        Ok(self.put("scatter_add", Reference.scatter_add(size, &get(indices), &get(updates))?))
    }
    fn reshape(&self, x: &Cell, shape: &[usize]) -> Result<Cell> {
        Ok(self.put("reshape", Reference.reshape(&get(x), shape)?))
    }
    fn permute(&self, x: &Cell, perm: &[usize]) -> Result<Cell> {
        Ok(self.put("permute", Reference.permute(&get(x), perm)?))
    }
    fn broadcast(&self, x: &Cell, shape: &[usize]) -> Result<Cell> {
        Ok(self.put("broadcast", Reference.broadcast(&get(x), shape)?))
    }
    fn slice(&self, x: &Cell, spec: &SliceSpec) -> Result<Cell> {
        Ok(self.put("slice", Reference.slice(&get(x), spec)?))
    }
    fn slice_update(&self, base: Arg<Cell>, update: &Cell, spec: &SliceSpec) -> Result<Cell> {
        Ok(self.put("slice_update", Reference.slice_update(plain(&base), &get(update), spec)?))
    }
    fn pad(&self, x: &Cell, pads: &[(usize, usize)]) -> Result<Cell> {
        Ok(self.put("pad", Reference.pad(&get(x), pads)?))
    }
    fn concat(&self, parts: &[Cell], axis: usize) -> Result<Cell> {
        let parts: Vec<Array> = parts.iter().map(get).collect();
        Ok(self.put("concat", Reference.concat(&parts, axis)?))
    }
    fn reverse(&self, x: &Cell, axes: &[usize]) -> Result<Cell> {
        Ok(self.put("reverse", Reference.reverse(&get(x), axes)?))
    }
    fn full(&self, ty: &Type, value: Scalar) -> Result<Cell> {
        Ok(self.put("full", Reference.full(ty, value)?))
    }
    fn iota(&self, ty: &Type, axis: usize) -> Result<Cell> {
        Ok(self.put("iota", Reference.iota(ty, axis)?))
    }
    fn random(&self, ty: &Type, distribution: Distribution, stream: &Stream) -> Result<Cell> {
        Ok(self.put(distribution.name(), Reference.random(ty, distribution, stream)?))
    }
    fn kernel(&self, kernel: &Kernel, inputs: Vec<Arg<Cell>>, scalars: &[Scalar]) -> Result<Vec<Cell>> {
        let results = Reference.kernel(kernel, inputs.iter().map(plain).collect(), scalars)?;
        Ok(results.into_iter().map(|x| self.put("kernel", x)).collect())
    }
    fn epilogue(
        &self,
        op: &Op,
        operands: &[Cell],
        kernel: &Kernel,
        inputs: Vec<Arg<Cell>>,
        scalars: &[Scalar],
    ) -> Result<Vec<Cell>> {
        let operands: Vec<Array> = operands.iter().map(get).collect();
        let results =
            Reference.epilogue(op, &operands, kernel, inputs.iter().map(plain).collect(), scalars)?;
        Ok(results.into_iter().map(|x| self.put("epilogue", x)).collect())
    }
    fn prepack(&self, _: &Op, _: &[&Type], _: usize, tensor: &Cell) -> Result<Option<Cell>> {
        let prepared = (self.0 == Fault::PreparesAnother).then(|| nudged(&get(tensor)));
        Ok(prepared.map(|x| Arc::new(Mutex::new(x))))
    }
    fn composite(&self, op: &Op, inputs: &[Cell], wanted: &[bool]) -> Result<Vec<Option<Cell>>> {
        let inputs: Vec<Array> = inputs.iter().map(get).collect();
        let results = Reference.composite(op, &inputs, wanted)?;
        Ok(results.into_iter().map(|x| x.map(|x| self.put(op.name(), x))).collect())
    }
}

fn found(fault: Fault, part: &str) -> Report {
    run_matching(&Faulty(fault), part)
}

#[test]
fn without_a_fault_it_passes() {
    let report = found(Fault::None, "");
    assert!(report.is_ok() && report.skipped.is_empty(), "{report}");
}

#[test]
fn a_wrong_element_is_found_in_every_operation() {
    let others = [
        "select",
        "cast",
        "top_k",
        "matmul",
        "conv",
        "conv_grad_input",
        "conv_grad_kernel",
        "max_pool",
        "max_pool_grad",
        "avg_pool",
        "avg_pool_grad",
        "gather",
        "scatter_add",
        "reshape",
        "permute",
        "broadcast",
        "slice",
        "slice_update",
        "pad",
        "concat",
        "reverse",
        "full",
        "iota",
        "transfer",
        "kernel",
        "epilogue",
        "softmax",
        "log_softmax",
    ];
    let names = Unary::ALL.iter().map(|op| op.name());
    let names =
        names.chain(Binary::ALL.iter().map(|op| op.name())).chain(Compare::ALL.iter().map(|op| op.name()));
    let names =
        names.chain(Logical::ALL.iter().map(|op| op.name())).chain(Reduce::ALL.iter().map(|op| op.name()));
    let names = names.chain(ArgReduce::ALL.iter().map(|op| op.name()));
    let names = names.chain(Cumulative::ALL.iter().map(|op| op.name()));
    let names = names.chain(Distribution::ALL.iter().map(|op| op.name())).chain(others);
    let all = crate::cases();
    for name in names {
        let cases: Vec<&Case> = all.iter().filter(|case| case.op_name() == name).collect();
        assert!(!cases.is_empty(), "no case of {name}");
        let faulty = Faulty(Fault::Value(name));
        let failed = cases.iter().filter(|case| matches!(check(&faulty, case), Outcome::Failed(_)));
        let failed = failed.count();
        // Not every case: in some the last element is infinite, and what is off by a little is still infinite.
        assert!(
            failed * 10 >= cases.len() * 8,
            "{name}: the fault shows in {failed} of {} cases",
            cases.len()
        );
    }
}

#[test]
fn wrong_use_of_memory_is_found() {
    let of = |fault: Fault, part: &str, words: &str| {
        let report = found(fault, part);
        assert!(report.failures.iter().any(|failure| failure.expected.contains(words)), "{report}");
    };
    of(Fault::Overwrites, "exp float32", "may not be overwritten");
    of(Fault::Aliases, "sum float32", "memory of its own");
}

#[test]
fn wrong_conventions_are_found() {
    for (fault, part) in [
        (Fault::TakesAnyIndex, "gather"),
        (Fault::Widens, "add float32"),
        (Fault::RoundsAway, "round float"),
        (Fault::LosesNan, "relu float"),
        (Fault::PreparesAnother, "matmul float"),
        (Fault::PreparesAnother, "conv float"),
    ] {
        let report = found(fault, part);
        assert!(!report.failures.is_empty(), "{fault:?}: {report}");
    }
}

#[test]
fn an_ignored_case_that_passes_is_reported() {
    let report = crate::run_except(&Reference, &["permute float32[2"]);
    assert!(!report.is_ok());
    assert_eq!(report.stale, ["permute float32[2"]);
}
