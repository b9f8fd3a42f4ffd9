//! [`Sequential`]: a model made layer by layer.

use super::network::{Kind, Network};
use super::{Model, model::lock};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::layers::{Input, IntoLayer, LayerRef, ShapeArgument, automatic_name};
use crate::output::Output;
use crate::tensor::{Spec, Tensor};
use crate::training::{Data, Predict, one_output};
use std::ops::Deref;
use std::sync::PoisonError;

/// A stack of layers, each with one input and one output. It is a [`Model`] (all of whose verbs it has) to which
/// layers can be added and from which the last can be taken.
///
/// ```
/// use keras_core::layers::Dense;
/// use keras_core::models::Sequential;
/// let mut model = Sequential::new();
/// model.add(Dense::new(32).activation("relu").input_shape([784]))?;
/// model.add(Dense::new(10).activation("softmax"))?;
/// assert_eq!(model.count_params()?, 25_450);
/// model.pop()?;
/// assert_eq!(model.layers().len(), 1);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sequential(Model);

impl Deref for Sequential {
    type Target = Model;
    fn deref(&self) -> &Model {
        &self.0
    }
}

impl Default for Sequential {
    fn default() -> Self {
        Self::new()
    }
}

/// What a file or a config held as a stack is one again.
///
/// ```
/// use keras_core::models::{Model, Sequential, model_from_json};
/// use keras_core::layers::Dense;
/// let mut model = Sequential::new();
/// model.add(Dense::new(2).input_shape([3]))?;
/// let read: Model = model_from_json(&model.to_json()?)?;
/// let mut stack = Sequential::try_from(read)?;
/// stack.add(Dense::new(1))?;
/// assert_eq!(stack.layers().len(), 2);
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// `State` if the model is a graph of layers.
impl TryFrom<Model> for Sequential {
    type Error = Error;

    fn try_from(model: Model) -> Result<Self> {
        if model.kind() == Kind::Sequential {
            return Ok(Self(model));
        }
        Err(Error::state(format!("model {}", model.name()), "a Sequential", "a graph of layers")
            .advice("use the Model itself; of its predictions argmax gives the classes"))
    }
}

impl Sequential {
    /// An empty stack named `sequential_1`, ….
    pub fn new() -> Self {
        Self::named(&automatic_name("sequential"))
    }

    /// An empty stack of a given name.
    pub fn named(name: &str) -> Self {
        Self(Model::empty(Kind::Sequential, name.to_owned()))
    }

    /// The model as a functional one holds it.
    pub fn model(&self) -> &Model {
        &self.0
    }

    pub(crate) fn of(model: Model) -> Self {
        Self(model)
    }

    /// Adds a layer. The first one should have an `input_shape` (or be an [`Input`]); else the model is built when it
    /// first sees data.
    #[track_caller]
    pub fn add(&mut self, layer: impl IntoLayer) -> Result<()> {
        let layer = layer.into_layer()?;
        if layer.downcast::<Input>().is_some() {
            return self.start_with(&layer);
        }
        let output = match self.0.outputs() {
            Ok(outputs) => outputs.into_iter().next(),
            Err(_) if lock(&self.0.0.added).is_empty() => first_tensor(&layer)?,
            Err(_) => None,
        };
        let mut added = lock(&self.0.0.added).clone();
        if added.iter().any(|known| known.name() == layer.name()) {
            return Err(Error::name(
                format!("model {}", self.name()),
                "layer names that are unique",
                format!("the name \"{}\" used 2 times", layer.name()),
            )
            .advice("give one of the layers another name"));
        }
        added.push(layer.clone());
        if let Some(tensor) = output {
            let source = match self.0.inputs() {
                Ok(inputs) => inputs,
                Err(_) => vec![tensor.clone()],
            };
            let result = self.0.semantics().during(|| single(&layer, &tensor))?;
            self.connect(source, result)?;
        }
        *lock(&self.0.0.added) = added;
        Ok(())
    }

    fn start_with(&mut self, input: &LayerRef) -> Result<()> {
        if !lock(&self.0.0.added).is_empty() || self.0.inputs().is_ok() {
            return Err(Error::state(
                format!("model {}", self.name()),
                "an Input as its first layer",
                "one further on",
            ));
        }
        let tensor = input.call_input()?;
        self.connect(vec![tensor.clone()], tensor)
    }

    fn connect(&self, inputs: Vec<Tensor>, output: Tensor) -> Result<()> {
        self.0.set_network(Network::new(Kind::Sequential, self.name().to_owned(), inputs, vec![output])?)
    }

    /// The class of each sample: i64 numbers of the largest output along the last axis, or for outputs of width 1 an i32 column
    /// that says whether each is above one half.
    ///
    /// ```
    /// use keras_core::{Array, layers::Activation, models::Sequential};
    /// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
    /// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
    /// let mut model = Sequential::new();
    /// model.add(Activation::new("softmax").input_shape([3]))?;
    /// # model.on(&engine);
    /// let x = Array::from_vec(&[2, 3], vec![0.0_f32, 2.0, 1.0, 5.0, 0.0, 0.0])?;
    /// assert_eq!(model.predict_classes(&x)?.to_vec::<i64>(), [1, 0]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn predict_classes(&self, x: impl Into<Data>) -> Result<Array> {
        self.predict_classes_with(x, &Predict::new())
    }

    /// [`Sequential::predict_classes`] with options.
    pub fn predict_classes_with(&self, x: impl Into<Data>, options: &Predict) -> Result<Array> {
        let probabilities = one_output(self.predict_all(x, options)?)?;
        let values = probabilities.to_vec::<f64>();
        let Some((&width, rest)) = probabilities.shape().split_last().filter(|(width, _)| **width > 1) else {
            let above = values.into_iter().map(|value| i32::from(value > 0.5)).collect();
            return Array::from_vec(probabilities.shape(), above);
        };
        let best = |row: &[f64]| {
            let first = (0, f64::NEG_INFINITY);
            let above = |best: (i64, f64), (i, &value): (usize, &f64)| {
                // As numpy: the first of equals, and a NaN wins.
                if value > best.1 || value.is_nan() && !best.1.is_nan() { (i as i64, value) } else { best }
            };
            row.iter().enumerate().fold(first, above).0
        };
        Array::from_vec(rest, values.chunks(width).map(best).collect())
    }

    /// [`Model::predict`], with a warning if a value is outside 0 to 1.
    pub fn predict_proba(&self, x: impl Into<Data>) -> Result<Array> {
        self.predict_proba_with(x, &Predict::new())
    }

    /// [`Sequential::predict_proba`] with options.
    pub fn predict_proba_with(&self, x: impl Into<Data>, options: &Predict) -> Result<Array> {
        let probabilities = one_output(self.predict_all(x, options)?)?;
        if probabilities.to_vec::<f64>().iter().any(|value| !(0.0..=1.0).contains(value) && !value.is_nan()) {
            Output::current().warning(
                "Network returning invalid probability values. The last layer might not normalize predictions \
                 into probabilities (like softmax or sigmoid would).",
            );
        }
        Ok(probabilities)
    }

    /// Takes the last layer away; the model ends with the one before and is usable at once (after a new `compile`,
    /// for training).
    pub fn pop(&mut self) -> Result<LayerRef> {
        let mut added = lock(&self.0.0.added).clone();
        let Some(last) = added.pop() else {
            return Err(Error::state(
                format!("pop from model {}", self.name()),
                "at least one layer",
                "none",
            )
            .advice("add layers before"));
        };
        if let (Ok(inputs), Ok(output)) = (self.0.inputs(), self.0.output()) {
            let before = output.layer_node().and_then(|(node, _)| node.inputs.first().cloned());
            match before.filter(|_| !added.is_empty()) {
                Some(tensor) => self.connect(inputs, tensor)?,
                None => *self.0.0.network.write().unwrap_or_else(PoisonError::into_inner) = None,
            }
        }
        *lock(&self.0.0.added) = added;
        *lock(&self.0.0.compiled) = None;
        Ok(last)
    }

    /// Builds a model whose first layer has no input shape, for inputs of that shape (batch first).
    pub fn build(&self, batch_input_shape: impl Into<ShapeArgument>) -> Result<()> {
        let shape = batch_input_shape.into().0;
        let added = lock(&self.0.0.added).clone();
        let Some(first) = added.first() else {
            return Err(Error::state(format!("model {}", self.name()), "at least one layer", "none"));
        };
        let Some((&batch, rest)) = shape.split_first() else {
            return Err(Error::shape(format!("model {}", self.name()), "a shape with a batch axis", "()"));
        };
        let mut input =
            Input::new(rest.to_vec()).name(format!("{}_input", first.name())).dtype(first.dtype());
        if let Some(size) = batch {
            input = input.batch_size(size);
        }
        let source = input.tensor()?;
        let mut tensor = source.clone();
        for layer in &added {
            tensor = self.0.semantics().during(|| single(layer, &tensor))?;
        }
        self.connect(vec![source], tensor)
    }
}

impl Model {
    /// Builds a `Sequential` that has not seen an input shape, from the data at hand.
    pub(crate) fn build_from(&self, data: &Data) -> Result<()> {
        if self.as_layer().is_ok() || self.kind() == Kind::Functional {
            return Ok(());
        }
        let Some(mut shape) = data.first_spec()?.map(|spec| spec.shape) else { return Ok(()) };
        if let Some(batch) = shape.first_mut() {
            *batch = None;
        }
        Sequential::of(self.clone()).build(shape)
    }
}

/// The input tensor that a first layer asks for: from its own input shape, or that of the model it is.
fn first_tensor(layer: &LayerRef) -> Result<Option<Tensor>> {
    let spec = match layer.base().batch_input_shape() {
        Some(shape) => Some(Spec::new(shape, layer.dtype())),
        None => match layer.downcast::<Network>() {
            Some(network) => network.inputs.first().map(Tensor::spec).transpose()?,
            None => None,
        },
    };
    let Some(spec) = spec else { return Ok(None) };
    let Some((&batch, rest)) = spec.shape.split_first() else { return Ok(None) };
    let mut input = Input::new(rest.to_vec()).name(format!("{}_input", layer.name())).dtype(spec.dtype);
    if let Some(size) = batch {
        input = input.batch_size(size);
    }
    input.tensor().map(Some)
}

fn single(layer: &LayerRef, tensor: &Tensor) -> Result<Tensor> {
    let mut outputs = layer.call_all(tensor)?;
    match outputs.len() {
        1 => outputs.pop().ok_or_else(|| Error::state("model", "a tensor", "none")),
        n => Err(Error::state(
            format!("layer {} in a Sequential", layer.name()),
            "a single output tensor",
            n.to_string(),
        )
        .advice("for layers with several outputs use the functional API")),
    }
}
