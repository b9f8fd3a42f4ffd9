//! What a layer sees while it is built and while it is called.

use super::check::known;
use super::scope::Scope;
use super::{Arguments, LayerRef};
use crate::array::{Array, DType, fits_into_memory};
use crate::backend::Variable;
use crate::constraints::ConstraintRef;
use crate::error::{Error, Result};
use crate::graph::{Distribution, Type};
use crate::initializers::InitializerRef;
use crate::k;
use crate::random::{Stream, fresh_seed, stream_id};
use crate::regularizers::RegularizerRef;
use crate::semantics::Semantics;
use crate::tensor::{Spec, Tensor, Trace};
use serde_json::Value;

/// A weight of a layer.
#[derive(Clone)]
pub struct Weight {
    /// The name within the layer: `kernel`.
    pub name: String,
    /// The value.
    pub variable: Variable,
    /// Whether it learns, as long as its layer does.
    pub trainable: bool,
    /// A penalty added to the loss.
    pub regularizer: Option<RegularizerRef>,
    /// A projection after every update.
    pub constraint: Option<ConstraintRef>,
}

/// An axis of a layer's first input that its weights are made for.
#[derive(Clone)]
pub(super) struct WeightAxis {
    /// Counted from the front or, below 0, from the end.
    axis: isize,
    len: usize,
    /// What messages call it.
    what: String,
}

impl WeightAxis {
    /// An error if an input has another length there; open and missing axes are for others to judge.
    pub(super) fn check(&self, class: &str, input: &Spec) -> Result<()> {
        let axis = k::axis_of(self.axis, input.rank()).ok();
        match axis.and_then(|axis| input.shape.get(axis).copied().flatten()) {
            Some(len) if len != self.len => {
                let expected = format!("an input whose {} is {}, as its weights are", self.what, self.len);
                Err(Error::shape(class, expected, input.to_string()).advice(
                    "make a layer of its own for inputs of another length, or reshape in front of it",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Collects the weights and children of a layer.
pub struct Build {
    pub(super) layer: String,
    pub(super) dtype: DType,
    scope: Scope,
    seed: u64,
    pub(super) weights: Vec<Weight>,
    pub(super) children: Vec<(String, LayerRef)>,
    pub(super) states: Vec<Variable>,
    pub(super) axes: Vec<WeightAxis>,
}

impl Build {
    pub(super) fn new(layer: &str, dtype: DType, scope: Scope) -> Self {
        Self {
            layer: layer.to_owned(),
            dtype,
            scope,
            seed: fresh_seed(),
            weights: Vec::new(),
            children: Vec::new(),
            states: Vec::new(),
            axes: Vec::new(),
        }
    }

    /// The name of the layer.
    pub fn layer_name(&self) -> &str {
        &self.layer
    }

    /// The element type of the layer's weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The length of an axis of the first input, counted from the front or, below 0, from the end: weights depend on
    /// it, so it has to be known and to stay the same at every call of the layer. `class` and `what` name layer and axis
    /// in messages.
    ///
    /// # Errors
    /// If there is no such axis, or it is open.
    pub fn known(&mut self, class: &str, input: &Spec, axis: isize, what: &str) -> Result<usize> {
        let at = k::axis_of(axis, input.rank())?;
        let len = known(class, input, input.shape.get(at).copied().flatten(), what)?;
        self.axes.push(WeightAxis { axis, len, what: what.to_owned() });
        Ok(len)
    }

    /// Starts a weight of that name and shape; [`WeightBuilder::add`] makes it.
    pub fn weight(
        &mut self,
        name: &str,
        shape: impl Into<Vec<usize>>,
        initializer: &InitializerRef,
    ) -> WeightBuilder<'_> {
        WeightBuilder {
            dtype: self.dtype,
            build: self,
            name: name.to_owned(),
            shape: shape.into(),
            initializer: initializer.clone(),
            trainable: true,
            regularizer: None,
            constraint: None,
        }
    }

    /// Adds a layer that this one calls: a wrapped layer, a cell.
    pub fn child(&mut self, name: &str, layer: &LayerRef) {
        self.children.push((name.to_owned(), layer.clone()));
    }

    /// Adds a layer that this one calls on inputs of those specs, and builds it: its weights get names below this
    /// layer's, as Keras has them: `rnn_1/kernel`.
    pub fn build_child(&mut self, name: &str, layer: &LayerRef, inputs: &[Spec]) -> Result<()> {
        layer.build_in(&self.scope, inputs)?;
        self.child(name, layer);
        Ok(())
    }

    /// The same with the child's own name in between: `bidirectional_1/forward_lstm_1/kernel`.
    pub fn build_child_by_name(&mut self, name: &str, layer: &LayerRef, inputs: &[Spec]) -> Result<()> {
        layer.build_in(&self.scope.within(layer.name()), inputs)?;
        self.child(name, layer);
        Ok(())
    }

    /// A state that is carried from batch to batch: zeros at first and after `reset_states`. It is no weight: nothing
    /// trains it, and files do not hold it.
    ///
    /// # Errors
    /// If memory cannot hold it.
    pub fn state(&mut self, shape: impl Into<Vec<usize>>) -> Result<Variable> {
        let path = self.scope.unique(&format!("state_{}", self.states.len()));
        let state = Variable::new(path, Array::zeros(self.dtype, &shape.into())?);
        self.states.push(state.clone());
        Ok(state)
    }
}

/// A weight on its way.
pub struct WeightBuilder<'a> {
    build: &'a mut Build,
    dtype: DType,
    name: String,
    shape: Vec<usize>,
    initializer: InitializerRef,
    trainable: bool,
    regularizer: Option<RegularizerRef>,
    constraint: Option<ConstraintRef>,
}

impl WeightBuilder<'_> {
    /// Whether it learns; default true.
    pub fn trainable(mut self, trainable: bool) -> Self {
        self.trainable = trainable;
        self
    }

    /// Its element type; default that of the layer.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// A penalty added to the loss.
    pub fn regularizer(mut self, regularizer: Option<&RegularizerRef>) -> Self {
        self.regularizer = regularizer.cloned();
        self
    }

    /// A projection after every update.
    pub fn constraint(mut self, constraint: Option<&ConstraintRef>) -> Self {
        self.constraint = constraint.cloned();
        self
    }

    /// Makes the weight with its first value.
    pub fn add(self) -> Result<Variable> {
        let build = self.build;
        let path = build.scope.unique(&self.name);
        // A seed of the weight's own keeps equal names in different layers apart.
        let stream = Stream::new(build.seed, stream_id("", build.weights.len(), &self.name), 0);
        let value = if first_value_comes_from_a_file(&path, &self.shape, self.dtype)? {
            Array::zeros(self.dtype, &self.shape)?
        } else {
            self.initializer.init(&self.shape, self.dtype, &stream).map_err(|error| error.within(&path))?
        };
        let variable = Variable::new(path, value);
        build.weights.push(Weight {
            name: self.name,
            variable: variable.clone(),
            trainable: self.trainable,
            regularizer: self.regularizer,
            constraint: self.constraint,
        });
        Ok(variable)
    }
}

thread_local! {
    /// While a file is loaded: how many numbers its weights have that no weight of the model has claimed yet.
    static LEFT: std::cell::Cell<Option<usize>> = const { std::cell::Cell::new(None) };
}

/// Runs something that makes a model whose weights come from a file with that many numbers: nothing is drawn for them,
/// and a model that asks for more is an error before memory is taken for it.
pub(crate) fn loading<R>(numbers: usize, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    // Biases of CuDNN's layers are twice as long as plain ones.
    let _restore = Restore(LEFT.replace(Some(numbers.saturating_mul(2))));
    run()
}

/// Whether a weight gets its first value from a file; an error if memory or the file cannot hold it.
fn first_value_comes_from_a_file(path: &str, shape: &[usize], dtype: DType) -> Result<bool> {
    let too_large =
        |expected: &str| Err(Error::shape(format!("weight {path}"), expected, format!("{shape:?}")));
    let Some(left) = LEFT.get() else {
        return if fits_into_memory(shape, dtype) {
            Ok(false)
        } else {
            too_large("a shape that fits into memory")
        };
    };
    let count = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
    match count.and_then(|count| left.checked_sub(count)) {
        Some(left) => LEFT.set(Some(left)),
        None => return too_large("a shape no larger than the weights in the file"),
    }
    Ok(true)
}

/// What a layer sees while it writes nodes.
pub struct Call<'a> {
    pub(super) trace: &'a Trace,
    pub(super) layer: &'a LayerRef,
    pub(super) masks: Vec<Option<Tensor>>,
    pub(super) arguments: &'a Arguments,
    pub(super) path: String,
    pub(super) index: usize,
    pub(super) output_masks: Vec<Option<Tensor>>,
    pub(super) step: Option<Step<'a>>,
}

/// Which step of a recurrent layer a cell is called in.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    /// Where the recurrent layer itself was called.
    around: &'a Trace,
    /// The number of the step, if steps are written out.
    number: Option<usize>,
}

impl<'a> Call<'a> {
    /// Keeps the masks that a model's `call` finds, for its `compute_mask`.
    pub(crate) fn set_output_masks(&mut self, masks: Vec<Option<Tensor>>) {
        self.output_masks = masks;
    }

    pub(crate) fn take_output_masks(&mut self) -> Vec<Option<Tensor>> {
        std::mem::take(&mut self.output_masks)
    }

    /// The trace.
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// The layer itself.
    pub fn layer(&self) -> &LayerRef {
        self.layer
    }

    /// The arguments of the call besides its inputs.
    pub fn arguments(&self) -> &'a Arguments {
        self.arguments
    }

    /// Whether an argument of the call is true.
    pub fn flag(&self, name: &str) -> bool {
        self.arguments.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Which input stands for an argument of the call.
    pub fn input_of(&self, name: &str) -> Option<usize> {
        self.arguments.get(name).and_then(super::input_index)
    }

    /// The weight of that name.
    pub fn weight(&self, name: &str) -> Result<Tensor> {
        Ok(Tensor::variable(&self.variable(name)?))
    }

    /// The weight of that name, if the layer has it.
    pub fn weight_if_any(&self, name: &str) -> Result<Option<Tensor>> {
        let weights = self.layer.own_weights()?;
        Ok(weights.iter().find(|weight| weight.name == name).map(|weight| Tensor::variable(&weight.variable)))
    }

    /// The variable of the weight of that name.
    pub fn variable(&self, name: &str) -> Result<Variable> {
        let weights = self.layer.own_weights()?;
        let found = weights.iter().find(|weight| weight.name == name);
        found.map(|weight| weight.variable.clone()).ok_or_else(|| {
            let names: Vec<&str> = weights.iter().map(|weight| weight.name.as_str()).collect();
            Error::name(
                format!("layer {}", self.layer.name()),
                format!("a weight among {names:?}"),
                format!("{name:?}"),
            )
        })
    }

    /// Whether the learning phase is 1.
    pub fn training(&self) -> bool {
        self.trace.is_training()
    }

    /// Whether the layer learns, as `compile` saw it.
    pub fn trainable(&self) -> bool {
        !self.trace.options().frozen.contains(&self.layer.id())
    }

    /// The choices among versions of Keras.
    pub fn semantics(&self) -> Semantics {
        self.trace.semantics()
    }

    /// The mask of input `i`: truth values over its leading axes.
    pub fn mask(&self, i: usize) -> Option<&Tensor> {
        self.masks.get(i).and_then(Option::as_ref)
    }

    /// Random numbers of a name: the same bits for the same seed, step, layer, call and name, on every backend.
    pub fn random(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        distribution: Distribution,
    ) -> Result<Tensor> {
        self.trace.random(self.stream(name, true), &Type::new(shape, dtype), distribution)
    }

    /// The same, drawn once for all steps in which a recurrent layer calls this one.
    pub fn random_once(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        distribution: Distribution,
    ) -> Result<Tensor> {
        let trace = self.step.map_or(self.trace, |step| step.around);
        trace.random(self.stream(name, false), &Type::new(shape, dtype), distribution)
    }

    fn stream(&self, name: &str, each_step: bool) -> u64 {
        match self.step.and_then(|step| step.number) {
            Some(number) if each_step => stream_id(&self.path, self.index, &format!("{name} {number}")),
            _ => stream_id(&self.path, self.index, name),
        }
    }

    /// Random numbers keyed by a seed of the layer's own instead of its name.
    pub fn seeded_random(
        &self,
        seed: i64,
        name: &str,
        shape: &[usize],
        dtype: DType,
        distribution: Distribution,
    ) -> Result<Tensor> {
        let stream = stream_id(&format!("seed {seed}"), self.index, name);
        self.trace.random(stream, &Type::new(shape, dtype), distribution)
    }

    /// Adds a scalar to the loss.
    pub fn add_loss(&mut self, loss: Tensor) {
        self.trace.add_loss(loss);
    }

    /// Says what a weight becomes after the step. As in Keras, a layer that does not learn and is not stateful
    /// updates nothing.
    pub fn update(&mut self, variable: &Variable, value: Tensor) {
        if self.trainable() || self.layer.definition().stateful() {
            self.trace.update(variable, value);
        }
    }

    /// The value of a weight after the updates of earlier calls in this trace.
    pub fn updated(&self, variable: &Variable) -> Tensor {
        self.trace.updated(variable)
    }

    /// The states that are carried from batch to batch.
    pub fn states(&self) -> Vec<Variable> {
        self.layer.own_states()
    }

    /// Calls a child: results and their masks.
    pub fn call_child(
        &mut self,
        child: &LayerRef,
        inputs: &[Tensor],
        masks: &[Option<Tensor>],
    ) -> Result<Vec<(Tensor, Option<Tensor>)>> {
        child.replay(&self.trace.nested(self.layer.name()), inputs, masks)
    }

    /// Calls a wrapped child in a trace; [`LayerRef::penalize_around`] has the penalty on the activity.
    pub(super) fn call_wrapped(
        &self,
        trace: &Trace,
        child: &LayerRef,
        inputs: &[Tensor],
        masks: &[Option<Tensor>],
    ) -> Result<Vec<(Tensor, Option<Tensor>)>> {
        child.replay_within(&trace.nested(self.layer.name()), inputs, masks)
    }

    /// The context of the same call in one step of a loop.
    pub(super) fn inside<'b>(&'b self, trace: &'b Trace, number: Option<usize>) -> Call<'b> {
        Call {
            trace,
            layer: self.layer,
            masks: Vec::new(),
            arguments: self.arguments,
            path: self.path.clone(),
            index: self.index,
            output_masks: Vec::new(),
            step: Some(Step { around: self.trace, number }),
        }
    }

    /// Calls a cell on its input, states and constants: the result and the next states.
    pub(super) fn call_cell(&self, cell: &LayerRef, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut cx = Call {
            trace: self.trace,
            layer: cell,
            masks: vec![None; inputs.len()],
            arguments: self.arguments,
            path: format!("{}/{}", self.path, cell.name()),
            index: self.index,
            output_masks: Vec::new(),
            step: self.step,
        };
        let within = |error: Error| error.within(format!("cell {}", cell.name()));
        let results = cell.definition().call(&mut cx, inputs).map_err(within)?;
        for result in &results {
            result.check().map_err(|error| within(error.clone()))?;
        }
        Ok(results)
    }
}
