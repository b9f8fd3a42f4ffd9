//! `K.function`, `K.gradients`, `K.eval`, variables and placeholders.

use super::phase::open_phase;
use crate::array::{Array, DType};
use crate::backend::{IntoRuntime, ProgramCache, Runtime, Variable, registry};
use crate::error::{Error, Result};
use crate::graph::optimize::Passes;
use crate::graph::{Type, Value, gradients as graph_gradients};
use crate::random;
use crate::tensor::record::{Placeholder, Producer, symbols};
use crate::tensor::{Phase, Spec, State, Tensor, Trace, TraceOptions};
use std::sync::Arc;

/// A Keras tensor that a [`function`] has to be fed; open axes are `None`. Its element type is the default float.
pub fn placeholder(shape: impl Into<Vec<Option<usize>>>, name: &str) -> Tensor {
    placeholder_of(Spec::new(shape, super::floatx()), name)
}

/// A [`placeholder`] of a given spec.
pub fn placeholder_of(spec: Spec, name: &str) -> Tensor {
    let producer: Arc<dyn Producer> = Arc::new(Placeholder { name: name.to_owned() });
    symbols(&producer, vec![spec])
        .pop()
        .unwrap_or_else(|| Tensor::poisoned(Error::state("placeholder", "a tensor", "none")))
}

/// Starts the automatic names of this thread anew, so that the next dense layer is `dense_1`, and ends what
/// [`set_learning_phase`](super::set_learning_phase) said.
pub fn clear_session() {
    reset_uids();
    Phase::say(None);
}

/// How often that prefix was asked for in this thread, this time included: the numbers in the automatic names of layers.
///
/// ```
/// use keras_core::k;
/// k::reset_uids();
/// assert_eq!([k::get_uid("dense"), k::get_uid("lstm"), k::get_uid("dense")], [1, 1, 2]);
/// ```
pub fn get_uid(prefix: &str) -> usize {
    crate::layers::next_number(prefix)
}

/// Starts the automatic names of this thread anew.
pub fn reset_uids() {
    crate::layers::reset_names();
}

/// The value of a tensor that needs no feeds.
///
/// ```no_run
/// use keras_core::{Array, k, Tensor};
/// let x = Tensor::constant(Array::from([1.0_f32, 2.0]));
/// assert_eq!(k::eval(&(x * 2.0))?.as_slice::<f32>()?, &[2.0, 4.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn eval(x: &Tensor) -> Result<Array> {
    let mut results = function([], [x])?.run([])?;
    results.pop().ok_or_else(|| Error::state("eval", "a result", "none"))
}

/// The gradients of Σ`loss` with respect to each of `variables` (variables or tensors that `loss` was computed from);
/// `None` where `loss` does not depend on one.
pub fn gradients(loss: &Tensor, variables: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    if let State::Traced(traced) = &loss.check()?.0 {
        let trace = traced.trace()?;
        let mut values = Vec::with_capacity(variables.len());
        for variable in variables {
            values.push(trace.lift(variable)?);
        }
        let grads = in_graph(&trace, traced.value, &values)?;
        return Ok(grads.into_iter().map(|grad| grad.map(|value| trace.tensor(value))).collect());
    }
    // Which gradients exist does not depend on lengths: one trace tells.
    let trace = Trace::new(TraceOptions::default());
    feed_sources(&trace, loss)?;
    let value = trace.lift(loss)?;
    let mut values = Vec::with_capacity(variables.len());
    for variable in variables {
        values.push(trace.lift(variable)?);
    }
    let exists: Vec<bool> = in_graph(&trace, value, &values)?.iter().map(Option::is_some).collect();
    let mut results = Vec::with_capacity(variables.len());
    for (&variable, exists) in variables.iter().zip(exists) {
        results.push(if exists { Some(recorded_gradient(loss, variable)?) } else { None });
    }
    Ok(results)
}

fn in_graph(trace: &Trace, loss: Value, variables: &[Value]) -> Result<Vec<Option<Value>>> {
    trace.with_graph_mut(|graph| {
        let seed = graph.full_like(loss, 1.0)?;
        graph_gradients(graph, &[(loss, seed)], variables)
    })
}

/// Feeds every source of a Keras tensor with something of its spec, so that it can be traced.
fn feed_sources(trace: &Trace, tensor: &Tensor) -> Result<()> {
    let mut stack = vec![tensor.clone()];
    while let Some(tensor) = stack.pop() {
        let Some(symbol) = tensor.check()?.symbol() else { continue };
        let source = symbol.producer.inputs().is_empty() && symbol.producer.name() != "learning_phase";
        if source {
            let shape: Vec<usize> = symbol.spec.shape.iter().map(|len| len.unwrap_or(83)).collect();
            let value = trace.input(Type::new(shape, symbol.spec.dtype));
            trace.feed(&tensor, value, None);
        }
        stack.extend(symbol.producer.inputs().iter().cloned());
    }
    Ok(())
}

/// A gradient as a Keras tensor: replayed after the loss and the variable.
struct Gradient {
    inputs: Vec<Tensor>,
}

impl Producer for Gradient {
    fn name(&self) -> &'static str {
        "gradients"
    }

    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn replay(
        &self,
        trace: &Trace,
        inputs: &[Tensor],
        _: &[Option<Tensor>],
    ) -> Result<Vec<(Tensor, Option<Tensor>)>> {
        let [loss, variable] = inputs else {
            return Err(Error::state("gradients", "two operands", "others"));
        };
        let (loss, variable) = (trace.lift(loss)?, trace.lift(variable)?);
        let grad = match in_graph(trace, loss, &[variable])?.pop().flatten() {
            Some(grad) => grad,
            None => trace.with_graph_mut(|graph| graph.full_like(variable, 0.0))?,
        };
        Ok(vec![(trace.tensor(grad), None)])
    }
}

fn recorded_gradient(loss: &Tensor, variable: &Tensor) -> Result<Tensor> {
    let spec = variable.spec()?;
    let producer: Arc<dyn Producer> = Arc::new(Gradient { inputs: vec![loss.clone(), variable.clone()] });
    symbols(&producer, vec![spec]).pop().ok_or_else(|| Error::state("gradients", "a tensor", "none"))
}

/// A compiled computation from some tensors to others.
///
/// `inputs` are Keras tensors, inner ones too, and [`learning_phase`](super::learning_phase); `outputs` anything computed from them.
///
/// ```no_run
/// use keras_core::{Array, k};
/// let x = k::placeholder([None, Some(2)], "x");
/// let f = k::function([&x], [&(&x * 2.0)])?;
/// assert_eq!(f.run([Array::from([[1.0_f32, 2.0]])])?[0].as_slice::<f32>()?, &[2.0, 4.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn function<'a>(
    inputs: impl IntoIterator<Item = &'a Tensor>,
    outputs: impl IntoIterator<Item = &'a Tensor>,
) -> Result<Function> {
    let inputs: Vec<Tensor> = inputs.into_iter().cloned().collect();
    let outputs: Vec<Tensor> = outputs.into_iter().cloned().collect();
    for input in &inputs {
        if input.check()?.symbol().is_none() {
            return Err(Error::value("function", "Keras tensors as inputs", format!("{input:?}")));
        }
    }
    for output in &outputs {
        output.check()?;
    }
    Ok(Function {
        inputs,
        outputs,
        updates: Vec::new(),
        runtime: None,
        random: random_state(),
        cache: ProgramCache::new(),
    })
}

/// Host variables that key random streams: a fresh seed, and step 0.
fn random_state() -> (Variable, Variable) {
    let seed = Variable::scalar("seed", 0.0, DType::I64);
    // A fresh scalar of that shape and type always fits.
    let _ = seed.set(&Array::from(random::fresh_seed() as i64));
    (seed, Variable::scalar("step", 0.0, DType::I64))
}

/// See [`function`].
pub struct Function {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    updates: Vec<(Variable, Tensor)>,
    runtime: Option<Arc<dyn Runtime>>,
    random: (Variable, Variable),
    cache: ProgramCache<Key>,
}

#[derive(PartialEq)]
struct Key {
    runtime: u64,
    phase: Phase,
    feeds: Vec<Type>,
}

impl Function {
    /// What variables become after each run, computed from their values before it.
    pub fn updates(mut self, updates: impl IntoIterator<Item = (Variable, Tensor)>) -> Self {
        self.updates = updates.into_iter().collect();
        self
    }

    /// Runs on that engine instead of the configured one.
    pub fn on(mut self, engine: impl IntoRuntime) -> Self {
        self.runtime = Some(engine.into_runtime());
        self
    }

    /// One array per input in, one per output out. Feeds are converted to the inputs' element types.
    pub fn run(&self, feeds: impl IntoIterator<Item = Array>) -> Result<Vec<Array>> {
        let feeds: Vec<Array> = feeds.into_iter().collect();
        if feeds.len() != self.inputs.len() {
            return Err(Error::value(
                "function",
                format!("{} values", self.inputs.len()),
                feeds.len().to_string(),
            ));
        }
        let mut phase = Phase::Test;
        let mut tensors = Vec::new();
        let mut arrays = Vec::new();
        for (input, array) in self.inputs.iter().zip(feeds) {
            if input.symbol_id() == open_phase().symbol_id() {
                phase = match array.item() {
                    Ok(0.0) => Phase::Test,
                    Ok(1.0) => Phase::Train,
                    _ => return Err(Error::value("learning phase", "0, 1 or a bool", format!("{array:?}"))),
                };
                continue;
            }
            let spec = input.spec()?;
            if !spec.accepts(array.shape()) {
                return Err(Error::shape("function", spec.to_string(), format!("{array:?}")));
            }
            arrays.push(array.cast(spec.dtype));
            tensors.push(input.clone());
        }
        let runtime = match &self.runtime {
            Some(runtime) => Arc::clone(runtime),
            None => registry::current()?,
        };
        let types: Vec<Type> = arrays.iter().map(|array| Type::new(array.shape(), array.dtype())).collect();
        let key = Key { runtime: runtime.id(), phase, feeds: types.clone() };
        let program = self.cache.get(key, || {
            let trace = self.trace(phase, &tensors, &types)?;
            trace.with_graph(|graph| runtime.compile(graph, Passes::default()))
        })?;
        program.run(&arrays)
    }

    fn trace(&self, phase: Phase, inputs: &[Tensor], types: &[Type]) -> Result<Trace> {
        let random = Some(self.random.clone());
        let trace = Trace::new(TraceOptions { phase, random, ..TraceOptions::default() });
        for (input, ty) in inputs.iter().zip(types) {
            let value = trace.input(ty.clone());
            trace.feed(input, value, None);
        }
        trace.finish(&self.outputs, self.updates.clone())?;
        Ok(trace)
    }
}
