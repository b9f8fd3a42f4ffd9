//! [`Model`]: what users hold.

use super::nesting::Nesting;
use super::network::{Kind, Network, names_of};
use crate::array::{Array, DType};
use crate::backend::{IntoRuntime, Runtime, Variable, registry};
use crate::config;
use crate::error::{Error, Result};
use crate::layers::{Inputs, LayerRef, Weight, automatic_name, set_variables};
use crate::random;
use crate::semantics::Semantics;
use crate::tensor::{Spec, Tensor};
use crate::training::{Compile, Compiled, Order, PredictCache};
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A model: layers between inputs and outputs. Clones are the same model.
///
/// It has no backend in its type: it holds an engine chosen at run time, by `model.on(&engine)`, or else the
/// configured one at its first use.
///
/// ```
/// use keras_core::layers::{Dense, Input};
/// use keras_core::models::Model;
/// let x = Input::new([4]).tensor()?;
/// let y = Dense::new(2).activation("softmax").call(&x)?;
/// let model = Model::new(&x, &y)?;
/// assert_eq!(model.count_params()?, 10);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(pub(crate) Arc<ModelCell>);

pub(crate) struct ModelCell {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The network as a layer; none while a `Sequential` does not know its input shape.
    pub(super) network: RwLock<Option<LayerRef>>,
    /// The layers added to a `Sequential`.
    pub(super) added: Mutex<Vec<LayerRef>>,
    pub(super) trainable: AtomicBool,
    pub(crate) semantics: Mutex<Semantics>,
    pub(crate) runtime: Mutex<Option<Arc<dyn Runtime>>>,
    /// Seed and step of the random streams.
    pub(crate) random: (Variable, Variable),
    /// Where the stream that orders batches stands.
    pub(crate) order: Mutex<Order>,
    pub(crate) compiled: Mutex<Option<Arc<Compiled>>>,
    /// Options of a `compile` that waits for the first data.
    pub(crate) deferred: Mutex<Option<Compile>>,
    pub(crate) predict: PredictCache,
    /// Scalars that [`Model::add_loss`] added.
    pub(super) losses: Arc<Mutex<Vec<Tensor>>>,
    pub(crate) stop: AtomicBool,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// A model between Keras tensors, named `model_1`, ….
    pub fn new(inputs: impl Into<Inputs>, outputs: impl Into<Inputs>) -> Result<Self> {
        Self::named(&automatic_name("model"), inputs, outputs)
    }

    /// A model of a given name.
    pub fn named(name: &str, inputs: impl Into<Inputs>, outputs: impl Into<Inputs>) -> Result<Self> {
        Self::nested(name, inputs.into().0, outputs.into().0, Default::default())
    }

    /// A model whose inputs and outputs files have nested somehow.
    pub(super) fn nested(
        name: &str,
        inputs: Vec<Tensor>,
        outputs: Vec<Tensor>,
        nesting: [Nesting; 2],
    ) -> Result<Self> {
        let network =
            Network { nesting, ..Network::new(Kind::Functional, name.to_owned(), inputs, outputs)? };
        let model = Self::empty(Kind::Functional, name.to_owned());
        model.set_network(network)?;
        Ok(model)
    }

    pub(super) fn empty(kind: Kind, name: String) -> Self {
        let seed = Variable::scalar("seed", 0.0, DType::I64);
        // A fresh scalar of that shape and type always fits.
        let _ = seed.set(&Array::from(random::fresh_seed() as i64));
        Self(Arc::new(ModelCell {
            kind,
            name,
            network: RwLock::new(None),
            added: Mutex::default(),
            trainable: AtomicBool::new(true),
            semantics: Mutex::new(Semantics::current()),
            runtime: Mutex::default(),
            random: (seed, Variable::scalar("step", 0.0, DType::I64)),
            order: Mutex::default(),
            compiled: Mutex::default(),
            deferred: Mutex::default(),
            predict: PredictCache::default(),
            losses: Arc::default(),
            stop: AtomicBool::new(false),
        }))
    }

    pub(super) fn set_network(&self, mut network: Network) -> Result<()> {
        network.losses = Arc::clone(&self.0.losses);
        let layer = LayerRef::new(network)?;
        layer.build(&[])?;
        layer.set_trainable(self.0.trainable.load(Ordering::Relaxed));
        *self.0.network.write().unwrap_or_else(PoisonError::into_inner) = Some(layer);
        self.0.predict.clear();
        Ok(())
    }

    /// Adds a scalar, computed from the model's inputs, to the loss of every `compile` from now on, also where the model is a layer
    /// of another.
    ///
    /// ```
    /// use keras_core::layers::{Dense, Input};
    /// use keras_core::models::Model;
    /// use keras_core::training::{Compile, Fit};
    /// use keras_core::{Array, k};
    ///
    /// // An autoencoder whose loss needs no targets.
    /// let x = Input::new([4]).tensor()?;
    /// let y = Dense::new(4).call(&Dense::new(2).call(&x)?)?;
    /// let model = Model::new(&x, &y)?;
    /// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
    /// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
    /// # model.on(&engine);
    /// model.add_loss(&k::mean(&k::square(&(&x - &y)), &[], false))?;
    /// model.compile(Compile::new("rmsprop", ()))?;
    /// let history = model.fit(Array::full(&[8, 4], 0.5_f32)?, (), Fit::new().verbose(0))?;
    /// assert!(history["loss"][0] > 0.0);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Shape` if it is no scalar; `State` if it needs an input that the model does not have.
    pub fn add_loss(&self, loss: &Tensor) -> Result<()> {
        let spec = loss.check()?.spec()?;
        if spec.rank() != 0 || !spec.dtype.is_float() {
            return Err(Error::shape(
                format!("add_loss of model {}", self.name()),
                "a scalar of floats",
                spec.to_string(),
            )
            .advice("take its k::mean or k::sum"));
        }
        self.with_network(|network| network.check_reaches(loss))??;
        lock(&self.0.losses).push(loss.clone());
        Ok(())
    }

    /// The scalars that [`Model::add_loss`] added.
    pub(crate) fn added_losses(&self) -> Vec<Tensor> {
        lock(&self.0.losses).clone()
    }

    /// The model as a layer: callable on other tensors, with the same weights.
    pub fn as_layer(&self) -> Result<LayerRef> {
        let network = self.0.network.read().unwrap_or_else(PoisonError::into_inner);
        network.clone().ok_or_else(|| {
            Error::state(format!("model {}", self.name()), "a built model", "one that has not yet been built")
                .advice("give the first layer an input_shape, or call build() or fit() with some data")
        })
    }

    /// Calls the model like a layer.
    #[track_caller]
    pub fn call(&self, inputs: impl Into<Inputs>) -> Result<Tensor> {
        self.as_layer()?.call(inputs)
    }

    pub(crate) fn with_network<R>(&self, read: impl FnOnce(&Network) -> R) -> Result<R> {
        let layer = self.as_layer()?;
        let network = layer.downcast::<Network>();
        network
            .map(read)
            .ok_or_else(|| Error::state(format!("model {}", self.name()), "a network", "another layer"))
    }

    /// Whether it was made layer by layer.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The layers: of a functional model by decreasing depth, inputs included; of a `Sequential` as added.
    pub fn layers(&self) -> Vec<LayerRef> {
        match self.0.kind {
            Kind::Sequential => lock(&self.0.added).clone(),
            Kind::Functional => self.with_network(|network| network.layers.clone()).unwrap_or_default(),
        }
    }

    /// The layer of that name.
    pub fn get_layer(&self, name: &str) -> Result<LayerRef> {
        let layers = self.layers();
        layers.iter().find(|layer| layer.name() == name).cloned().ok_or_else(|| {
            let names = layers.iter().map(LayerRef::name);
            Error::unknown(format!("get_layer of model {}", self.name()), name, names)
        })
    }

    /// The layer at that position of [`Model::layers`].
    pub fn get_layer_at(&self, index: usize) -> Result<LayerRef> {
        let layers = self.layers();
        layers.get(index).cloned().ok_or_else(|| {
            Error::value(
                format!("get_layer of model {}", self.name()),
                format!("an index below {}", layers.len()),
                index.to_string(),
            )
            .advice("Model::layers lists them, inputs included")
        })
    }

    /// The tensors that are fed.
    pub fn inputs(&self) -> Result<Vec<Tensor>> {
        self.with_network(|network| network.inputs.clone())
    }

    /// The tensors that are computed.
    pub fn outputs(&self) -> Result<Vec<Tensor>> {
        self.with_network(|network| network.outputs.clone())
    }

    /// The only input.
    pub fn input(&self) -> Result<Tensor> {
        only(self.inputs()?, "input", self.name())
    }

    /// The only output.
    pub fn output(&self) -> Result<Tensor> {
        only(self.outputs()?, "output", self.name())
    }

    /// The names of the inputs: those of their layers.
    pub fn input_names(&self) -> Result<Vec<String>> {
        self.with_network(|network| names_of(&network.inputs))
    }

    /// The names of the outputs: those of their layers.
    pub fn output_names(&self) -> Result<Vec<String>> {
        self.with_network(|network| names_of(&network.outputs))
    }

    /// What each layer but inputs gives in this model's graph, in the order of [`Model::layers`]: the results of its first call
    /// there.
    ///
    /// ```
    /// use keras_core::layers::{Dense, Input};
    /// use keras_core::models::Model;
    /// let x = Input::new([3]).tensor()?;
    /// let model = Model::new(&x, Dense::new(2).name("last").call(&x)?)?;
    /// let found = model.layer_outputs()?;
    /// assert_eq!((found[0].0.name(), found[0].1.len()), ("last", 1));
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the model is not built.
    pub fn layer_outputs(&self) -> Result<Vec<(LayerRef, Vec<Tensor>)>> {
        self.with_network(Network::layer_outputs)
    }

    /// How files nest the outputs.
    pub(crate) fn output_nesting(&self) -> Result<Nesting> {
        self.with_network(|network| {
            let [_, outputs] = &network.nesting;
            outputs.clone()
        })
    }

    pub(crate) fn input_specs(&self) -> Result<Vec<Spec>> {
        self.inputs()?.iter().map(Tensor::spec).collect()
    }

    pub(crate) fn output_specs(&self) -> Result<Vec<Spec>> {
        self.outputs()?.iter().map(Tensor::spec).collect()
    }

    /// Whether its weights are trained, at the next `compile`.
    pub fn trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes the whole model or lets it learn; it takes effect at the next `compile`.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
        if let Ok(layer) = self.as_layer() {
            layer.set_trainable(trainable);
        }
    }

    /// The weights that learn, layer by layer.
    pub fn trainable_weights(&self) -> Vec<Weight> {
        if !self.trainable() {
            return Vec::new();
        }
        unique(self.all_layers().iter().flat_map(LayerRef::trainable_weights))
    }

    /// The weights that do not.
    pub fn non_trainable_weights(&self) -> Vec<Weight> {
        let layers = self.all_layers();
        let fixed = layers.iter().flat_map(LayerRef::non_trainable_weights);
        if self.trainable() {
            return unique(fixed);
        }
        unique(layers.iter().flat_map(LayerRef::trainable_weights).chain(fixed))
    }

    /// The layers with weights: of a `Sequential` the added ones.
    fn all_layers(&self) -> Vec<LayerRef> {
        self.layers()
    }

    /// Every weight once, in the order of `get_weights`: layer by layer.
    pub fn weights(&self) -> Vec<Weight> {
        unique(self.all_layers().iter().flat_map(LayerRef::weights))
    }

    /// The values of all weights, layer by layer; within a layer those that learn first.
    pub fn get_weights(&self) -> Result<Vec<Array>> {
        self.as_layer()?;
        self.weights().iter().map(|weight| weight.variable.value()).collect()
    }

    /// Replaces the values of all weights: all of them or, if one does not fit, none.
    pub fn set_weights(&self, values: &[Array]) -> Result<()> {
        self.as_layer()?;
        let variables: Vec<Variable> = self.weights().into_iter().map(|weight| weight.variable).collect();
        set_variables(&format!("model {}", self.name()), &variables, values)
    }

    /// Whether a layer carries states from batch to batch.
    pub fn stateful(&self) -> bool {
        self.layers().iter().any(|layer| layer.definition().stateful())
    }

    /// Makes the states zero of every layer that carries some from batch to batch; of a model without such layers it
    /// changes nothing.
    pub fn reset_states(&self) -> Result<()> {
        let layers = self.layers();
        layers.iter().filter(|layer| layer.definition().stateful()).try_for_each(LayerRef::reset_states)
    }

    /// The number of scalars in its weights.
    pub fn count_params(&self) -> Result<usize> {
        self.as_layer()?;
        Ok(self.weights().iter().map(|weight| weight.variable.shape().iter().product::<usize>()).sum())
    }

    /// The penalties on weights: each weight with a regularizer once.
    pub(crate) fn regularized(&self) -> Vec<Weight> {
        self.weights().into_iter().filter(|weight| weight.regularizer.is_some()).collect()
    }

    /// The ids of the layers that do not learn.
    pub(crate) fn frozen(&self) -> HashSet<u64> {
        let mut found = HashSet::new();
        for layer in self.all_layers() {
            layer.frozen(self.trainable(), &mut found);
        }
        found
    }

    /// Runs on that engine from now on, instead of the configured one.
    pub fn on(&self, engine: impl IntoRuntime) -> &Self {
        *lock(&self.0.runtime) = Some(engine.into_runtime());
        self
    }

    /// Runs on the registered backend of that name from now on, on the device of the settings. Weights, states and what an
    /// optimizer remembers follow where they are read; layers that another model shares go on there as before.
    ///
    /// ```no_run
    /// # use keras_core::{Array, models::Sequential};
    /// # let (model, x, y) = (Sequential::new(), Array::full(&[8, 4], 0.5_f32)?, Array::full(&[8, 1], 1.0_f32)?);
    /// model.to_backend("torch")?.train_on_batch(&x, &y)?;
    /// model.to_backend("ndarray")?.predict(&x)?;
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such backend or it cannot run here; the model stays where it was.
    pub fn to_backend(&self, name: &str) -> Result<&Self> {
        let device = config::settings()?.device.value;
        Ok(self.on(registry::open(name, device.as_deref().unwrap_or_default())?))
    }

    /// The engine it runs on.
    pub fn runtime(&self) -> Result<Arc<dyn Runtime>> {
        let mut slot = lock(&self.0.runtime);
        if let Some(runtime) = slot.as_ref() {
            return Ok(Arc::clone(runtime));
        }
        let runtime = registry::current()?;
        *slot = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// The choices among versions of Keras.
    pub fn semantics(&self) -> Semantics {
        *lock(&self.0.semantics)
    }

    /// Computes like another version of Keras from the next `compile` on.
    pub fn set_semantics(&self, semantics: Semantics) {
        *lock(&self.0.semantics) = semantics;
        self.0.predict.clear();
    }

    /// Keys dropout, noise and everything random that the model draws from now on.
    pub fn set_seed(&self, seed: u64) -> Result<()> {
        self.0.random.0.set(&Array::from(seed as i64))?;
        self.0.random.1.set(&Array::from(0_i64))
    }

    /// Asks a running `fit` to stop after the current batch.
    pub fn stop_training(&self, stop: bool) {
        self.0.stop.store(stop, Ordering::Relaxed);
    }

    /// Whether it was asked to.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }
}

fn unique(weights: impl Iterator<Item = Weight>) -> Vec<Weight> {
    let mut seen = HashSet::new();
    weights.filter(|weight| seen.insert(weight.variable.id())).collect()
}

fn only(mut tensors: Vec<Tensor>, what: &str, name: &str) -> Result<Tensor> {
    match tensors.len() {
        1 => tensors.pop().ok_or_else(|| Error::state("model", "a tensor", "none")),
        n => Err(Error::state(format!("model {name}"), format!("one {what}"), n.to_string())
            .advice(format!("use {what}s()"))),
    }
}

impl crate::layers::IntoLayer for &Model {
    fn into_layer(self) -> Result<LayerRef> {
        self.as_layer()
    }
}

impl crate::layers::IntoLayer for Model {
    fn into_layer(self) -> Result<LayerRef> {
        self.as_layer()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({}, {} layers)", self.0.kind, self.name(), self.layers().len())
    }
}
