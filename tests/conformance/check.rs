//! Runs one case on a backend in every layout.

use crate::apply::apply;
use crate::compare::{Bound, Difference, bounds, difference};
use crate::{Case, Computation, Expected, Failure};
use keras_core::backend::reference::Reference;
use keras_core::backend::{Arg, Backend, Scalar, Support};
use keras_core::graph::{Kernel, Op, SliceSpec, Type, Unary};
use keras_core::{Array, DType, Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of a case.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It agrees with the reference in every layout.
    Passed,
    /// It does not apply to the backend, for that reason.
    Skipped(String),
    /// It does not agree.
    Failed(Box<Failure>),
}

/// How operands lie in memory; what is not as uploaded, the backend itself has made of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// As uploaded.
    Plain,
    /// Stored with its axes in opposite order.
    Transposed,
    /// Every second element of the last axis of something larger.
    Strided,
    /// Stored backwards.
    Reversed,
    /// Stored once along the first axis, where its rows are equal.
    Broadcast,
}

const LAYOUTS: [Layout; 5] =
    [Layout::Plain, Layout::Transposed, Layout::Strided, Layout::Reversed, Layout::Broadcast];

/// What the backend is told of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Others hold them too.
    Kept,
    /// It may overwrite those that an operation may write to.
    Writable,
    /// The second one of a contraction is what the backend prepared of it, if it does that.
    Prepacked,
}

/// The contraction of an operation, with or without an epilogue.
fn contraction(op: &Op) -> Option<&Op> {
    match op {
        Op::Epilogue(op, _) => Some(op),
        Op::MatMul { .. } | Op::Conv(_) => Some(op),
        _ => None,
    }
}

/// The box of every second element of the last axis.
fn every_second(shape: &[usize]) -> Option<(Vec<usize>, SliceSpec)> {
    let last = shape.len().checked_sub(1)?;
    let mut around = shape.to_vec();
    *around.last_mut()? = 2 * around.last()? + 2;
    let mut spec =
        SliceSpec { starts: vec![0; shape.len()], stops: around.clone(), steps: vec![1; shape.len()] };
    *spec.starts.get_mut(last)? = 1;
    *spec.steps.get_mut(last)? = 2;
    *spec.stops.get_mut(last)? -= 1;
    Some((around, spec))
}

/// Its first row, if all are equal and there are several.
fn equal_rows(x: &Array) -> Result<Option<Array>> {
    match x.shape() {
        [rows, ..] if *rows > 1 => {
            let first = x.rows(0, 1)?;
            let equal = (1..*rows).map(|i| Ok(x.rows(i, i + 1)? == first)).collect::<Result<Vec<bool>>>()?;
            Ok(equal.into_iter().all(|equal| equal).then_some(first))
        }
        _ => Ok(None),
    }
}

/// The array on the backend in that layout; none if the layout is not another for it.
fn laid_out<B: Backend>(backend: &B, x: &Array, layout: Layout) -> Result<Option<B::Tensor>> {
    let axes: Vec<usize> = (0..x.rank()).collect();
    Ok(match layout {
        Layout::Plain => Some(backend.upload(x)?),
        Layout::Transposed if x.rank() >= 2 => {
            let turned: Vec<usize> = axes.into_iter().rev().collect();
            Some(backend.permute(&backend.upload(&Reference.permute(x, &turned)?)?, &turned)?)
        }
        Layout::Strided => match every_second(x.shape()) {
            Some((around, spec)) => {
                let garbage = Array::full_of(x.dtype(), &around, f64::NAN)?;
                let base = Reference.slice_update(Arg { tensor: garbage, writable: false }, x, &spec)?;
                Some(backend.slice(&backend.upload(&base)?, &spec)?)
            }
            None => None,
        },
        Layout::Reversed if x.rank() >= 1 => {
            Some(backend.reverse(&backend.upload(&Reference.reverse(x, &axes)?)?, &axes)?)
        }
        Layout::Broadcast => match equal_rows(x)? {
            Some(first) => Some(backend.broadcast(&backend.upload(&first)?, x.shape())?),
            None => None,
        },
        _ => None,
    })
}

/// Which operands the backend receives as ones it may overwrite.
fn takes_writable(op: &Op, operand: usize) -> bool {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Kernel(_) => true,
        Op::Select => operand >= 1,
        Op::SliceUpdate(_) => operand == 0,
        Op::Epilogue(..) => operand >= 2,
        _ => false,
    }
}

/// Whether the result may be its operand, which the engine knows.
fn may_alias(op: &Op) -> bool {
    op.is_view() || matches!(op, Op::Cast(_) | Op::Pad(_) | Op::Concat(_))
}

fn kernel_types(kernel: &Kernel) -> impl Iterator<Item = DType> {
    let inputs = kernel.inputs.iter().map(|input| input.dtype);
    inputs.chain(kernel.code.iter().map(|(_, dtype)| *dtype))
}

/// Why a case does not apply to a backend, if so.
fn does_not_apply<B: Backend>(backend: &B, case: &Case, outputs: &[Array]) -> Option<String> {
    let mut types: Vec<DType> = case.inputs.iter().chain(outputs).map(Array::dtype).collect();
    let Computation::Op(op) = &case.computation else {
        if let Computation::Full(ty, _) | Computation::Random(ty, _) = &case.computation {
            types.push(ty.dtype);
        }
        return types
            .iter()
            .find(|&&dtype| !backend.supports_dtype(dtype))
            .map(|dtype| format!("no element type {dtype}"));
    };
    if let Op::Kernel(kernel) | Op::Epilogue(_, kernel) = op {
        types.extend(kernel_types(kernel));
    }
    if let Some(dtype) = types.iter().find(|&&dtype| !backend.supports_dtype(dtype)) {
        return Some(format!("no element type {dtype}"));
    }
    match op {
        Op::Kernel(kernel) if !backend.supports_kernel(kernel) => Some("kernels that it declines".into()),
        Op::Epilogue(contraction, kernel) if !backend.supports_epilogue(contraction, kernel) => {
            Some(format!("epilogues of {} that it declines", contraction.name()))
        }
        Op::Kernel(_) | Op::Epilogue(..) => None,
        _ => {
            let types: Vec<Type> = case.inputs.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
            let types: Vec<&Type> = types.iter().collect();
            match backend.supports(op, &types) {
                Support::Native => None,
                Support::Decomposed => Some(format!("{} is decomposed", op.name())),
                Support::Host => Some(format!("{} runs on the host", op.name())),
            }
        }
    }
}

/// Everything a layout's run needs.
struct Run<'a, B: Backend> {
    backend: &'a B,
    case: &'a Case,
    /// The operands as the operation receives them.
    operands: &'a [Array],
    expected: &'a [Array],
    bounds: &'a [Bound],
}

impl<B: Backend> Run<'_, B> {
    fn failure(&self, layout: &str, output: usize, difference: Difference) -> Failure {
        let mut index = difference.index;
        if !index.is_empty() || difference.expected.is_empty() {
            index.insert(0, output);
        }
        let (op, case) = (self.case.op_name(), self.case.name());
        let (expected, received) = (difference.expected, difference.received);
        Failure { case, op, layout: layout.to_owned(), index, expected, received }
    }

    fn message(&self, layout: &str, expected: &str, received: impl Into<String>) -> Failure {
        let difference =
            Difference { index: Vec::new(), expected: expected.into(), received: received.into() };
        self.failure(layout, 0, difference)
    }

    /// The operands in a layout, each with whether its elements have a place of their own: a broadcast may be no
    /// operand to write to.
    fn tensors(&self, layout: Layout) -> Result<Option<Vec<(B::Tensor, bool)>>> {
        let views = &self.case.views;
        if views.is_empty() {
            let mut differs = layout == Layout::Plain;
            let mut tensors = Vec::with_capacity(self.operands.len());
            for x in self.operands {
                match laid_out(self.backend, x, layout)? {
                    Some(tensor) => {
                        differs = true;
                        tensors.push((tensor, layout != Layout::Broadcast));
                    }
                    None => tensors.push((self.backend.upload(x)?, true)),
                }
            }
            return Ok(differs.then_some(tensors));
        }
        if layout != Layout::Plain {
            return Ok(None);
        }
        let uploaded: Result<Vec<(B::Tensor, bool)>> =
            self.case.inputs.iter().map(|x| Ok((self.backend.upload(x)?, true))).collect();
        let mut uploaded = uploaded?;
        if let Some((first, own)) = uploaded.first_mut() {
            *own = !views.iter().any(|view| matches!(view, Op::Broadcast(_)));
            for view in views {
                let arg = Arg { tensor: first.clone(), writable: false };
                let viewed = apply(self.backend, &Computation::Op(view.clone()), vec![arg], &[])?;
                *first = viewed.into_iter().next().ok_or_else(|| Error::state("view", "a result", "none"))?;
            }
        }
        Ok(Some(uploaded))
    }

    /// The second operand of a contraction as the backend prepares it.
    fn prepacked(&self, tensor: &B::Tensor) -> Result<Option<B::Tensor>> {
        let Computation::Op(op) = &self.case.computation else { return Ok(None) };
        let types: Vec<Type> = self.operands.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
        match (contraction(op), types.as_slice()) {
            (Some(op), [first, second, ..]) => self.backend.prepack(op, &[first, second], 1, tensor),
            _ => Ok(None),
        }
    }

    /// The results of one layout; an error is the failure.
    fn run(&self, layout: Layout, mode: Mode) -> Result<(), Box<Failure>> {
        let name = format!("{layout:?}, {mode:?}").to_lowercase();
        let failed = |error: Error| Box::new(self.message(&name, "a result", format!("the error “{error}”")));
        let Some(tensors) = self.tensors(layout).map_err(failed)? else { return Ok(()) };
        let op = if let Computation::Op(op) = &self.case.computation { Some(op) } else { None };
        // A handle kept here stands for a live value elsewhere; what may be overwritten has no other handle.
        let writable = mode == Mode::Writable;
        let taken = |i: usize, own: bool| writable && own && op.is_some_and(|op| takes_writable(op, i));
        let kept: Vec<Option<B::Tensor>> =
            tensors.iter().enumerate().map(|(i, (x, own))| (!taken(i, *own)).then(|| x.clone())).collect();
        let mut args: Vec<Arg<B::Tensor>> = tensors
            .into_iter()
            .zip(&kept)
            .map(|((tensor, _), kept)| Arg { tensor, writable: kept.is_none() })
            .collect();
        if let (Mode::Prepacked, Some(second)) = (mode, args.get_mut(1)) {
            match self.prepacked(&second.tensor).map_err(failed)? {
                Some(prepared) => second.tensor = prepared,
                None => return Ok(()),
            }
        }
        let results =
            apply(self.backend, &self.case.computation, args, &self.case.scalars).map_err(failed)?;
        if results.len() != self.expected.len() {
            let expected = format!("{} results", self.expected.len());
            return Err(Box::new(self.message(&name, &expected, results.len().to_string())));
        }
        for (at, ((result, expected), bound)) in
            results.iter().zip(self.expected).zip(self.bounds).enumerate()
        {
            let received = self.backend.download(result).map_err(failed)?;
            if let Some(found) = difference(expected, &received, bound) {
                return Err(Box::new(self.failure(&name, at, found)));
            }
            let (stated, ty) = (self.backend.type_of(result), Type::new(expected.shape(), expected.dtype()));
            if stated != ty {
                return Err(Box::new(self.message(&name, &format!("type_of {ty}"), stated.to_string())));
            }
        }
        self.unchanged(&kept, &name, "an operand that may not be overwritten, unchanged")?;
        if op.is_some_and(|op| !may_alias(op)) {
            for result in results {
                self.overwrite(result).map_err(failed)?;
            }
            self.unchanged(&kept, &name, "a result with memory of its own")?;
        }
        Ok(())
    }

    fn unchanged(
        &self,
        kept: &[Option<B::Tensor>],
        layout: &str,
        expected: &str,
    ) -> Result<(), Box<Failure>> {
        for (i, (tensor, operand)) in kept.iter().zip(self.operands).enumerate() {
            let Some(tensor) = tensor else { continue };
            let now = self.backend.download(tensor);
            let now = now.map_err(|error| Box::new(self.message(layout, "a download", error.to_string())))?;
            if now != *operand {
                let received = format!("operand {i} changed to {now:?}");
                return Err(Box::new(self.message(layout, expected, received)));
            }
        }
        Ok(())
    }

    /// Gives the backend the chance to write into a result that nobody reads any more.
    fn overwrite(&self, result: B::Tensor) -> Result<()> {
        let ty = self.backend.type_of(&result);
        let arg = Arg { tensor: result, writable: true };
        match ty.dtype {
            DType::F32 | DType::F64 => self.backend.unary(Unary::Neg, arg)?,
            DType::Bool => self.backend.unary(Unary::Not, arg)?,
            DType::I32 | DType::I64 | DType::U8 => {
                let rank = ty.shape.len();
                let whole =
                    SliceSpec { starts: vec![0; rank], stops: ty.shape.clone(), steps: vec![1; rank] };
                let update = self.backend.full(&ty, Scalar::Int(77))?;
                self.backend.slice_update(arg, &update, &whole)?
            }
        };
        Ok(())
    }
}

/// The first operand after its views, and the other operands.
fn viewed(case: &Case) -> Result<Vec<Array>> {
    let mut operands = case.inputs.clone();
    if let Some(first) = operands.first_mut() {
        for view in &case.views {
            let arg = Arg { tensor: first.clone(), writable: false };
            let result = apply(&Reference, &Computation::Op(view.clone()), vec![arg], &[])?;
            *first = result.into_iter().next().ok_or_else(|| Error::state("view", "a result", "none"))?;
        }
    }
    Ok(operands)
}

fn expected(case: &Case, operands: &[Array]) -> Result<Vec<Array>> {
    let args = operands.iter().map(|x| Arg { tensor: x.clone(), writable: false }).collect();
    apply(&Reference, &case.computation, args, &case.scalars)
}

/// Runs one case on a backend in every layout, and compares with the reference.
pub fn check<B: Backend>(backend: &B, case: &Case) -> Outcome {
    let broken = |what: &str, error: String| {
        Outcome::Failed(Box::new(Failure {
            case: case.name(),
            op: case.op_name(),
            layout: "reference".into(),
            index: Vec::new(),
            expected: what.into(),
            received: error,
        }))
    };
    let operands = match viewed(case) {
        Ok(operands) => operands,
        Err(error) => return broken("operands", error.to_string()),
    };
    let expected = match (expected(case, &operands), case.expected) {
        (Ok(results), Expected::Result) => results,
        (Err(_), Expected::Error) => Vec::new(),
        (Ok(_), Expected::Error) => return broken("an error", "a result".into()),
        (Err(error), Expected::Result) => return broken("a result", error.to_string()),
    };
    if let Some(reason) = does_not_apply(backend, case, &expected) {
        return Outcome::Skipped(reason);
    }
    let bounds = match bounds(case, &operands, &expected) {
        Ok(bounds) => bounds,
        Err(error) => return broken("bounds", error.to_string()),
    };
    let run = Run { backend, case, operands: &operands, expected: &expected, bounds: &bounds };
    if case.expected == Expected::Error {
        return must_fail(&run);
    }
    let mut modes = vec![Mode::Kept];
    if let Computation::Op(op) = &case.computation {
        modes.extend((0..operands.len()).any(|i| takes_writable(op, i)).then_some(Mode::Writable));
        modes.extend(contraction(op).map(|_| Mode::Prepacked));
    }
    for layout in LAYOUTS {
        for &mode in &modes {
            let caught = catch_unwind(AssertUnwindSafe(|| run.run(layout, mode)));
            match caught {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Outcome::Failed(failure),
                Err(panic) => {
                    let layout = format!("{layout:?}").to_lowercase();
                    return Outcome::Failed(Box::new(run.message(
                        &layout,
                        "a result",
                        words(panic.as_ref()),
                    )));
                }
            }
        }
    }
    Outcome::Passed
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let said =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a panic: {}", said.unwrap_or("without a message"))
}

fn must_fail<B: Backend>(run: &Run<'_, B>) -> Outcome {
    let attempt = || -> Result<()> {
        let Some(tensors) = run.tensors(Layout::Plain)? else { return Ok(()) };
        let args = tensors.into_iter().map(|(tensor, _)| Arg { tensor, writable: false }).collect();
        for result in apply(run.backend, &run.case.computation, args, &run.case.scalars)? {
            run.backend.download(&result)?;
        }
        Ok(())
    };
    match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Err(_)) => Outcome::Passed,
        Ok(Ok(())) => Outcome::Failed(Box::new(run.message("plain", "an error", "a result"))),
        Err(panic) => Outcome::Failed(Box::new(run.message("plain", "an error", words(panic.as_ref())))),
    }
}
