//! [`LayerRef`]: a layer as users and models hold it.

use super::context::{Build, Weight, WeightAxis};
use super::given_masks::{MASK, are_masks};
use super::scope::Scope;
use super::{Arguments, Base, Input, Inputs, Layer, LayerNode, automatic_name, snake_case};
use crate::array::{Array, DType};
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::registry::{Config, bare_name};
use crate::semantics::Semantics;
use crate::tensor::record::{Producer, masked_symbols};
use crate::tensor::{Phase, Spec, Tensor, shape_text};
use serde_json::{Map, Value, json};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A layer: its definition, name, weights, children, `trainable` flag and the calls made of it. Clones are the same
/// layer, so a clone called again shares its weights.
#[derive(Clone)]
pub struct LayerRef(Arc<Cell>);

/// A layer that may be gone.
#[derive(Clone)]
pub struct WeakLayer(Weak<Cell>);

struct Cell {
    id: u64,
    definition: Box<dyn Layer>,
    name: String,
    base: Base,
    trainable: AtomicBool,
    built: Mutex<Option<Built>>,
    nodes: Mutex<Vec<Weak<dyn Producer>>>,
}

#[derive(Clone)]
struct Built {
    weights: Arc<Vec<Weight>>,
    children: Arc<Vec<(String, LayerRef)>>,
    states: Arc<Vec<Variable>>,
    /// What the layer was built for.
    inputs: Arc<Vec<Spec>>,
    /// Which of its lengths later calls share.
    axes: Arc<Vec<WeightAxis>>,
}

impl LayerRef {
    /// Gives a definition a name (its own or the next automatic one) and makes it a layer.
    pub fn new(definition: impl Layer) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut base = definition.base().cloned().unwrap_or_default();
        // A later change of the default is for layers made after it.
        base.dtype.get_or_insert_with(crate::k::floatx);
        let class_name = definition.config().class_name;
        let prefix =
            if class_name == "InputLayer" { "input".to_owned() } else { snake_case(bare_name(&class_name)) };
        let name = match &base.name {
            Some(name) => name.clone(),
            None => automatic_name(&prefix),
        };
        if name.is_empty() || name.contains('\0') {
            return Err(Error::value(
                format!("layer of class {class_name}"),
                "a name that is not empty",
                format!("{name:?}"),
            ));
        }
        if base.batch_size == Some(0) {
            return Err(Error::value(format!("layer {name}"), "a batch size of at least 1", "0"));
        }
        Ok(Self(Arc::new(Cell {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            trainable: AtomicBool::new(!base.frozen),
            definition: Box::new(definition),
            name,
            base,
            built: Mutex::new(None),
            nodes: Mutex::default(),
        })))
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Keras's class name.
    pub fn class_name(&self) -> String {
        self.0.definition.config().class_name
    }

    /// The definition.
    pub fn definition(&self) -> &dyn Layer {
        &*self.0.definition
    }

    /// The definition as its own type.
    pub fn downcast<L: Layer>(&self) -> Option<&L> {
        let any: &dyn Any = &*self.0.definition;
        any.downcast_ref()
    }

    /// A reference that does not keep the layer alive.
    pub fn downgrade(&self) -> WeakLayer {
        WeakLayer(Arc::downgrade(&self.0))
    }

    /// The arguments that every layer has, as given.
    pub fn base(&self) -> &Base {
        &self.0.base
    }

    /// The element type of weights and of an implicit input.
    pub fn dtype(&self) -> DType {
        self.0.base.dtype.unwrap_or_else(crate::k::floatx)
    }

    /// Whether its weights are trained, at the next `compile`.
    pub fn trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes the layer or lets it learn; it takes effect at the next `compile`.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    /// `{"class_name", "config"}` with the keys in Keras's order: name, trainable, `batch_input_shape`, dtype, then the
    /// layer's own.
    pub fn config(&self) -> Config {
        let own = self.0.definition.config();
        let own = match self.built() {
            Some(built) => self.0.definition.built_config(own, &built.inputs),
            None => own,
        };
        let mut config = Map::new();
        let input = own.class_name == "InputLayer";
        let shape = self.0.base.batch_input_shape();
        if self.0.definition.is_model() {
            return own;
        }
        if input {
            config.insert("batch_input_shape".into(), json!(shape));
            config.insert("dtype".into(), json!(self.dtype().name()));
            config.extend(own.config);
            config.insert("name".into(), json!(self.name()));
            return Config { class_name: own.class_name, config };
        }
        config.insert("name".into(), json!(self.name()));
        config.insert("trainable".into(), json!(self.trainable()));
        if let Some(shape) = shape {
            config.insert("batch_input_shape".into(), json!(shape));
        }
        config.insert("dtype".into(), json!(self.dtype().name()));
        for (key, value) in own.config {
            config.insert(key, value);
        }
        Config { class_name: own.class_name, config }
    }

    /// The config as JSON.
    pub fn config_value(&self) -> Value {
        self.config().to_value()
    }

    /// Calls the layer on Keras tensors: builds it if it was not, settles the spec of the result, records the call.
    /// Errors name the layer and the line of the call.
    #[track_caller]
    pub fn call(&self, inputs: impl Into<Inputs>) -> Result<Tensor> {
        let mut outputs = self.call_all(inputs)?;
        if outputs.len() == 1 {
            outputs.pop().ok_or_else(|| Error::state("call", "a result", "none"))
        } else {
            Err(Error::state(format!("layer {}", self.name()), "one result", format!("{}", outputs.len()))
                .advice("use call_all for layers with several results"))
        }
    }

    /// Calls a layer that has several results, or one.
    #[track_caller]
    pub fn call_all(&self, inputs: impl Into<Inputs>) -> Result<Vec<Tensor>> {
        self.call_with(inputs, Arguments::new())
    }

    /// Calls a layer with arguments of the call besides its inputs, under Keras's names: `training` (every layer),
    /// `use_causal_mask` (attention). `{"tensor": i}` stands for input `i`.
    ///
    /// ```
    /// use keras_core::layers::{Dropout, Input, LayerRef};
    /// let x = Input::new([3]).tensor()?;
    /// // Drops in every phase.
    /// let always = serde_json::Map::from_iter([("training".to_owned(), true.into())]);
    /// let y = LayerRef::new(Dropout::new(0.5))?.call_with(&x, always)?;
    /// assert_eq!(y[0].spec()?.shape, [None, Some(3)]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`LayerRef::call`], and if the layer does not take such an argument.
    #[track_caller]
    pub fn call_with(&self, inputs: impl Into<Inputs>, arguments: Arguments) -> Result<Vec<Tensor>> {
        let place = std::panic::Location::caller();
        self.record(inputs.into().0, arguments).map_err(|error| {
            error.within(format!("layer {} at {}:{}", self.name(), place.file(), place.line()))
        })
    }

    fn record(&self, inputs: Vec<Tensor>, mut arguments: Arguments) -> Result<Vec<Tensor>> {
        arguments.retain(|_, value| !value.is_null());
        if let Some((name, value)) = arguments.iter().find(|(name, value)| match name.as_str() {
            "training" => !value.is_boolean(),
            MASK if self.takes_masks() => !are_masks(value, &inputs),
            name => !self.definition().takes_argument(name),
        }) {
            let advice = match name.as_str() {
                MASK if self.takes_masks() => "a mask is an input of bool, or there is one for each input",
                MASK => "a mask follows from the layers in front: Masking, or an Embedding with mask_zero",
                _ => "leave it out",
            };
            return Err(Error::name(
                "call",
                "the argument training (true or false) and what the layer's own call takes",
                format!("{name:?}: {value}"),
            )
            .advice(advice));
        }
        if inputs.is_empty() {
            return Err(Error::value("call", "at least one input", "none"));
        }
        let specs = inputs.iter().map(Tensor::spec).collect::<Result<Vec<_>>>()?;
        let before = self.built();
        let given = self.given_masks(specs.len(), &arguments);
        let (operands, others) = given.map_or_else(
            || (specs.clone(), arguments.clone()),
            |given| (given.operands(&specs), given.arguments),
        );
        let chosen = self.definition().operands(&others, operands.len());
        let operands: Vec<Spec> = chosen.into_iter().filter_map(|i| operands.get(i).cloned()).collect();
        let operands = self.received(Semantics::current(), &operands);
        self.build(&operands)?;
        let masked: Vec<bool> = inputs.iter().map(Tensor::is_masked).collect();
        let (outputs, masks) = self.settle(&specs, &masked, &arguments)?;
        // Weights made for other inputs may not fit these: stated shapes do not know, a trace does.
        if before.is_some_and(|built| !built.weights.is_empty() && *built.inputs != operands) {
            self.probe(&specs, &arguments)?;
        }
        Ok(self.attach(inputs, arguments, outputs, &masks))
    }

    /// Whether a call may be given masks: in tf.keras those of its results follow from them, in Keras 3 they do not.
    fn takes_masks(&self) -> bool {
        self.definition().supports_masking() && Semantics::current() != Semantics::keras_3()
    }

    /// The Keras tensor of an input layer.
    pub(crate) fn call_input(&self) -> Result<Tensor> {
        let Some(input) = self.downcast::<Input>() else {
            return Err(Error::state(format!("layer {}", self.name()), "an input layer", self.class_name()));
        };
        let known = self.nodes().iter().find_map(Weak::upgrade);
        input.spec().check_size(format!("layer {}", self.name()))?;
        if let Some(producer) = known {
            return masked_symbols(&producer, vec![input.spec()], &[false])
                .pop()
                .ok_or_else(|| Error::state("input", "a tensor", "none"));
        }
        self.attach(Vec::new(), Arguments::new(), vec![input.spec()], &[false])
            .pop()
            .ok_or_else(|| Error::state("input", "a tensor", "none"))
    }

    fn attach(
        &self,
        inputs: Vec<Tensor>,
        arguments: Arguments,
        outputs: Vec<Spec>,
        masks: &[bool],
    ) -> Vec<Tensor> {
        let mut nodes = self.nodes();
        let index = nodes.len() + self.first_index();
        let (layer, phase) = (self.clone(), Phase::said());
        let node = LayerNode { layer, inputs, arguments, outputs: outputs.clone(), index, phase };
        let producer: Arc<dyn Producer> = Arc::new(node);
        nodes.push(Arc::downgrade(&producer));
        drop(nodes);
        masked_symbols(&producer, outputs, masks)
    }

    /// The index of the first call: a model's node 0 is its own definition.
    pub(crate) fn first_index(&self) -> usize {
        usize::from(self.0.definition.is_model())
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Weak<dyn Producer>>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Keras tensors of call `index` whose models still exist.
    fn node_at(&self, index: usize) -> Result<Arc<dyn Producer>> {
        let nodes = self.nodes();
        let at = index.checked_sub(self.first_index());
        at.and_then(|at| nodes.get(at)).and_then(Weak::upgrade).ok_or_else(|| {
            Error::state(
                format!("layer {}", self.name()),
                format!("a call number {index}"),
                format!(
                    "{} calls that still exist",
                    nodes.iter().filter(|node| node.strong_count() > 0).count()
                ),
            )
            .advice("calls are counted from 0; keep a model of the tensors that they made")
        })
    }

    fn only_node(&self, what: &str) -> Result<Arc<dyn Producer>> {
        let alive: Vec<Arc<dyn Producer>> = self.nodes().iter().filter_map(Weak::upgrade).collect();
        match alive.as_slice() {
            [node] => Ok(Arc::clone(node)),
            [] => Err(Error::state(
                format!("layer {}", self.name()),
                format!("an {what}"),
                "none: it was never called",
            )
            .advice("call the layer on a tensor, or add it to a model")),
            nodes => Err(Error::state(
                format!("layer {}", self.name()),
                format!("one {what}"),
                format!("{} inbound nodes", nodes.len()),
            )
            .advice(format!("use get_{what}_at(node_index)"))),
        }
    }

    /// The result of its only call.
    pub fn output(&self) -> Result<Tensor> {
        first(outputs_of(&self.only_node("output")?), self)
    }

    /// The input of its only call.
    pub fn input(&self) -> Result<Tensor> {
        let node = self.only_node("input")?;
        if node.inputs().is_empty() { self.output() } else { first(node.inputs().to_vec(), self) }
    }

    /// The result of call `index`.
    pub fn get_output_at(&self, index: usize) -> Result<Tensor> {
        first(outputs_of(&self.node_at(index)?), self)
    }

    /// The input of call `index`.
    pub fn get_input_at(&self, index: usize) -> Result<Tensor> {
        let node = self.node_at(index)?;
        if node.inputs().is_empty() { self.get_output_at(index) } else { first(node.inputs().to_vec(), self) }
    }

    /// The shapes that its calls gave, as Keras prints them; `multiple` if they differ.
    pub fn output_shape_text(&self) -> String {
        self.shape_text_of(outputs_of)
    }

    /// The shapes that it was called on, as Keras prints them; `multiple` if they differ. An input layer's is its own.
    pub fn input_shape_text(&self) -> String {
        self.shape_text_of(
            |node| if node.inputs().is_empty() { outputs_of(node) } else { node.inputs().to_vec() },
        )
    }

    fn shape_text_of(&self, tensors: impl Fn(&Arc<dyn Producer>) -> Vec<Tensor>) -> String {
        let mut shapes: Vec<String> = Vec::new();
        for node in self.nodes().iter().filter_map(Weak::upgrade) {
            let specs: Vec<String> = tensors(&node)
                .iter()
                .filter_map(|tensor| tensor.spec().ok())
                .map(|spec| shape_text(&spec.shape))
                .collect();
            let text = if specs.len() == 1 { specs.concat() } else { format!("[{}]", specs.join(", ")) };
            if !shapes.contains(&text) {
                shapes.push(text);
            }
        }
        match shapes.as_slice() {
            [one] => one.clone(),
            _ => "multiple".into(),
        }
    }

    /// Makes weights and children for inputs of those specs, once.
    pub fn build(&self, inputs: &[Spec]) -> Result<()> {
        self.build_in(&Scope::new(self.name()), inputs)
    }

    /// The same with weights named in a scope.
    pub(super) fn build_in(&self, scope: &Scope, inputs: &[Spec]) -> Result<()> {
        if self.is_built() {
            return Ok(());
        }
        let mut build = Build::new(self.name(), self.dtype(), scope.clone());
        let inputs = self.received(Semantics::current(), inputs);
        self.0.definition.build(&mut build, &inputs)?;
        let built = Built {
            weights: Arc::new(build.weights),
            children: Arc::new(build.children),
            states: Arc::new(build.states),
            inputs: Arc::new(inputs),
            axes: Arc::new(build.axes),
        };
        self.0.built.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(built);
        let given = self.base().weights.as_deref().map_or(Ok(()), |weights| self.set_weights(weights));
        // What could not be built as asked is not built.
        given.inspect_err(|_| *self.0.built.lock().unwrap_or_else(PoisonError::into_inner) = None)
    }

    fn built(&self) -> Option<Built> {
        self.0.built.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An error if it has weights that do not fit inputs of those specs.
    pub(super) fn check_axes(&self, inputs: &[Spec]) -> Result<()> {
        match (self.built(), inputs.first()) {
            (Some(built), Some(input)) => {
                built.axes.iter().try_for_each(|axis| axis.check(&self.class_name(), input))
            }
            _ => Ok(()),
        }
    }

    /// The specs it was built for; none if it was not.
    pub(super) fn built_for(&self) -> Option<Arc<Vec<Spec>>> {
        self.built().map(|built| built.inputs)
    }

    /// Whether its weights exist.
    pub fn is_built(&self) -> bool {
        self.0.built.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Its own weights, without those of its children; an error if it was not built.
    pub fn own_weights(&self) -> Result<Arc<Vec<Weight>>> {
        self.built().map(|built| built.weights).ok_or_else(|| {
            Error::state(format!("layer {}", self.name()), "a built layer", "one without weights yet")
                .advice("call it on an input, or give the model an input shape")
        })
    }

    pub(super) fn own_states(&self) -> Vec<Variable> {
        self.built().map(|built| built.states.to_vec()).unwrap_or_default()
    }

    /// The states that it and the layers inside carry from batch to batch, as variables.
    pub fn states(&self) -> Vec<Variable> {
        let mut states = self.own_states();
        states.extend(self.children().iter().flat_map(Self::states));
        states
    }

    /// Makes every state zero that it and the layers inside carry from batch to batch.
    ///
    /// # Errors
    /// If it is not stateful, or was never called.
    pub fn reset_states(&self) -> Result<()> {
        for state in self.known_states()? {
            state.set(&Array::zeros(state.dtype(), state.shape())?)?;
        }
        Ok(())
    }

    /// Replaces [`LayerRef::states`]: Keras's `reset_states(states)`.
    ///
    /// # Errors
    /// If it is not stateful, was never called, or number or shapes do not fit; then no state has changed.
    pub fn reset_states_to(&self, values: &[Array]) -> Result<()> {
        let states = self.known_states()?;
        let doing = || format!("reset_states of layer {}", self.name());
        if states.len() != values.len() {
            return Err(Error::value(
                doing(),
                format!("{} states", states.len()),
                format!("{} state values", values.len()),
            )
            .advice("give one array for each of LayerRef::states, in that order"));
        }
        for (i, (state, value)) in states.iter().zip(values).enumerate() {
            if state.shape() != value.shape() {
                let expected = format!("shape {:?} for state {i}", state.shape());
                return Err(Error::shape(doing(), expected, format!("{:?}", value.shape()))
                    .advice("states have the layer's batch size in front"));
            }
        }
        for (state, value) in states.iter().zip(values) {
            state.set(value)?;
        }
        Ok(())
    }

    fn known_states(&self) -> Result<Vec<Variable>> {
        let doing = || format!("reset_states of layer {}", self.name());
        if !self.definition().stateful() {
            return Err(Error::state(
                doing(),
                "a stateful layer",
                "one that carries no states from batch to batch",
            )
            .advice("make it with stateful(true) and a batch_size"));
        }
        if !self.is_built() {
            return Err(Error::state(doing(), "a built layer", "one that does not know its batch size yet")
                .advice("give the first layer a batch_size, and call the layer before"));
        }
        Ok(self.states())
    }

    /// The layers it calls.
    pub fn children(&self) -> Vec<LayerRef> {
        self.built()
            .map(|built| built.children.iter().map(|(_, child)| child.clone()).collect())
            .unwrap_or_default()
    }

    /// The layers it calls, each with its role: `forward`, `cell`.
    pub(crate) fn named_children(&self) -> Vec<(String, LayerRef)> {
        self.built().map(|built| built.children.to_vec()).unwrap_or_default()
    }

    /// The child of that name.
    pub fn child(&self, name: &str) -> Option<LayerRef> {
        let built = self.built()?;
        built.children.iter().find(|(known, _)| known == name).map(|(_, child)| child.clone())
    }

    fn collect(&self, learning: bool, found: &mut (Vec<Weight>, Vec<Weight>)) {
        let learning = learning && self.trainable();
        if let Some(built) = self.built() {
            for weight in built.weights.iter() {
                let target = if learning && weight.trainable { &mut found.0 } else { &mut found.1 };
                target.push(weight.clone());
            }
            for (_, child) in built.children.iter() {
                child.collect(learning, found);
            }
        }
    }

    fn split(&self) -> (Vec<Weight>, Vec<Weight>) {
        let mut found = (Vec::new(), Vec::new());
        if self.trainable() {
            self.collect(true, &mut found);
        } else {
            // As in Keras: what would learn first, then the rest.
            let mut open = (Vec::new(), Vec::new());
            self.collect_as_if_learning(&mut open);
            found.1.extend(open.0);
            found.1.extend(open.1);
        }
        found
    }

    fn collect_as_if_learning(&self, found: &mut (Vec<Weight>, Vec<Weight>)) {
        if let Some(built) = self.built() {
            for weight in built.weights.iter() {
                if weight.trainable { found.0.push(weight.clone()) } else { found.1.push(weight.clone()) }
            }
            for (_, child) in built.children.iter() {
                let (learning, fixed) = child.split();
                found.0.extend(learning);
                found.1.extend(fixed);
            }
        }
    }

    /// The weights that learn, children's included.
    pub fn trainable_weights(&self) -> Vec<Weight> {
        self.split().0
    }

    /// The weights that do not.
    pub fn non_trainable_weights(&self) -> Vec<Weight> {
        self.split().1
    }

    /// All weights in Keras's order: those that learn, then the others.
    pub fn weights(&self) -> Vec<Weight> {
        let (mut weights, fixed) = self.split();
        weights.extend(fixed);
        weights
    }

    /// The values of [`LayerRef::weights`].
    pub fn get_weights(&self) -> Result<Vec<Array>> {
        self.weights().iter().map(|weight| weight.variable.value()).collect()
    }

    /// Replaces the values of [`LayerRef::weights`]: all of them or, if one does not fit, none.
    pub fn set_weights(&self, values: &[Array]) -> Result<()> {
        let variables: Vec<Variable> = self.weights().into_iter().map(|weight| weight.variable).collect();
        set_variables(&format!("layer {}", self.name()), &variables, values)
    }

    /// The number of scalars in its weights.
    pub fn count_params(&self) -> Result<usize> {
        if !self.is_built() && self.downcast::<Input>().is_none() {
            self.own_weights()?;
        }
        Ok(self.weights().iter().map(|weight| weight.variable.shape().iter().product::<usize>()).sum())
    }

    /// The layers inside that do not learn, by id, itself included.
    pub(crate) fn frozen(&self, learning: bool, found: &mut std::collections::HashSet<u64>) {
        let learning = learning && self.trainable();
        if !learning {
            found.insert(self.id());
        }
        for child in self.children() {
            child.frozen(learning, found);
        }
    }
}

/// Replaces the values of variables: all of them or, if one does not fit, none.
pub(crate) fn set_variables(what: &str, variables: &[Variable], values: &[Array]) -> Result<()> {
    if variables.len() != values.len() {
        return Err(Error::value(
            format!("set_weights of {what}"),
            format!("{} arrays", variables.len()),
            values.len().to_string(),
        )
        .advice("give one array for each weight, as get_weights does"));
    }
    for (variable, value) in variables.iter().zip(values) {
        if variable.shape() != value.shape() {
            return Err(Error::shape(
                format!("set_weights of {what}"),
                format!("shape {:?} for {}", variable.shape(), variable.name()),
                format!("{:?}", value.shape()),
            )
            .advice("the order is that of get_weights; transpose or reshape what comes from elsewhere"));
        }
    }
    for (variable, value) in variables.iter().zip(values) {
        variable.set(value)?;
    }
    Ok(())
}

/// The Keras tensors of a call's results.
pub(crate) fn outputs_of(node: &Arc<dyn Producer>) -> Vec<Tensor> {
    let any: &dyn Any = &**node;
    let specs = any.downcast_ref::<LayerNode>().map(|node| node.outputs.clone()).unwrap_or_default();
    let masked = vec![false; specs.len()];
    masked_symbols(node, specs, &masked)
}

fn first(tensors: Vec<Tensor>, layer: &LayerRef) -> Result<Tensor> {
    match tensors.len() {
        1 => tensors.into_iter().next().ok_or_else(|| Error::state("layer", "a tensor", "none")),
        n => Err(Error::state(format!("layer {}", layer.name()), "one tensor", n.to_string())),
    }
}

impl WeakLayer {
    /// The layer, if it still exists.
    pub fn upgrade(&self) -> Option<LayerRef> {
        self.0.upgrade().map(LayerRef)
    }
}

impl PartialEq for LayerRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LayerRef {}

impl fmt::Debug for LayerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.class_name(), self.name())
    }
}
