//! The arguments that every layer has, and the verbs that every layer type offers.

use super::LayerRef;
use crate::array::{Array, DType};
use crate::error::Result;
use crate::registry::Reader;
use crate::tensor::Tensor;

/// Name, `trainable`, input shape, element type and first weights: the arguments of Keras's base class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Base {
    /// The name; automatic if none.
    pub name: Option<String>,
    /// Whether the layer starts frozen.
    pub frozen: bool,
    /// The shape of one sample, which makes the layer a possible first layer of a `Sequential`.
    pub input_shape: Option<Vec<Option<usize>>>,
    /// The fixed number of samples per batch, for stateful models.
    pub batch_size: Option<usize>,
    /// The element type of weights and of an implicit input; the default float type if none.
    pub dtype: Option<DType>,
    /// The first values of the weights, instead of what initializers give; as in Keras, configs do not have them.
    pub weights: Option<Vec<Array>>,
}

impl Base {
    /// Reads Keras's keys: `name`, `trainable`, `batch_input_shape`, `dtype`.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut base = Self { name: reader.text_or_none("name")?, ..Self::default() };
        base.frozen = !reader.boolean("trainable", true)?;
        if let Some(name) = reader.text_or_none("dtype")? {
            base.dtype = Some(DType::from_name(&name)?);
        }
        if let Some(shape) = reader.value("batch_input_shape") {
            let shape = read_shape(shape)
                .ok_or_else(|| reader.wrong("batch_input_shape", "a list of lengths and nulls"))?;
            if let Some((batch, rest)) = shape.split_first() {
                base.batch_size = *batch;
                base.input_shape = Some(rest.to_vec());
            }
        }
        Ok(base)
    }

    /// The full input shape, batch first.
    pub fn batch_input_shape(&self) -> Option<Vec<Option<usize>>> {
        self.input_shape
            .as_ref()
            .map(|shape| std::iter::once(self.batch_size).chain(shape.iter().copied()).collect())
    }
}

/// A JSON list of lengths and nulls.
pub(crate) fn read_shape(value: &serde_json::Value) -> Option<Vec<Option<usize>>> {
    let one = |item: &serde_json::Value| match item {
        serde_json::Value::Null => Some(None),
        item => usize::try_from(item.as_u64()?).ok().map(Some),
    };
    value.as_array()?.iter().map(one).collect()
}

/// What a layer may be called on: one tensor, or several.
#[derive(Debug, Clone)]
pub struct Inputs(pub Vec<Tensor>);

impl From<&Tensor> for Inputs {
    fn from(tensor: &Tensor) -> Self {
        Self(vec![tensor.clone()])
    }
}

impl From<Tensor> for Inputs {
    fn from(tensor: Tensor) -> Self {
        Self(vec![tensor])
    }
}

impl From<Vec<Tensor>> for Inputs {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self(tensors)
    }
}

impl From<&[Tensor]> for Inputs {
    fn from(tensors: &[Tensor]) -> Self {
        Self(tensors.to_vec())
    }
}

impl From<&Vec<Tensor>> for Inputs {
    fn from(tensors: &Vec<Tensor>) -> Self {
        Self(tensors.clone())
    }
}

impl<const N: usize> From<[&Tensor; N]> for Inputs {
    fn from(tensors: [&Tensor; N]) -> Self {
        Self(tensors.into_iter().cloned().collect())
    }
}

impl<const N: usize> From<[Tensor; N]> for Inputs {
    fn from(tensors: [Tensor; N]) -> Self {
        Self(tensors.into())
    }
}

/// Same forms for results: of a model, of a function.
pub type Outputs = Inputs;

/// A shape as users write it: `[784]`, `[28, 28, 1]`, `[None, Some(16)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeArgument(pub Vec<Option<usize>>);

impl From<usize> for ShapeArgument {
    fn from(length: usize) -> Self {
        Self(vec![Some(length)])
    }
}

impl<const N: usize> From<[usize; N]> for ShapeArgument {
    fn from(shape: [usize; N]) -> Self {
        Self(shape.into_iter().map(Some).collect())
    }
}

impl<const N: usize> From<[Option<usize>; N]> for ShapeArgument {
    fn from(shape: [Option<usize>; N]) -> Self {
        Self(shape.to_vec())
    }
}

impl From<&[usize]> for ShapeArgument {
    fn from(shape: &[usize]) -> Self {
        Self(shape.iter().copied().map(Some).collect())
    }
}

impl From<Vec<Option<usize>>> for ShapeArgument {
    fn from(shape: Vec<Option<usize>>) -> Self {
        Self(shape)
    }
}

/// Gives a layer type with a field `base: Base` the setters that every layer has, and `call`. Of a generic type,
/// parameters go in front: `layer_verbs!([const N: usize] Conv<N>)`.
#[macro_export]
macro_rules! layer_verbs {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// The name, instead of an automatic one.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.base.name = Some(name.into());
                self
            }
            /// Whether its weights are trained; it takes effect at `compile`.
            pub fn trainable(mut self, trainable: bool) -> Self {
                self.base.frozen = !trainable;
                self
            }
            /// The shape of one sample; needed for the first layer of a `Sequential`.
            pub fn input_shape(mut self, shape: impl Into<$crate::layers::ShapeArgument>) -> Self {
                self.base.input_shape = Some(shape.into().0);
                self
            }
            /// The fixed number of samples per batch; needed by stateful layers.
            pub fn batch_size(mut self, size: usize) -> Self {
                self.base.batch_size = Some(size);
                self
            }
            /// The element type of the weights, instead of the default float type.
            pub fn dtype(mut self, dtype: $crate::DType) -> Self {
                self.base.dtype = Some(dtype);
                self
            }
            /// The first values of the weights, in the order of
            /// [`LayerRef::get_weights`]($crate::layers::LayerRef::get_weights), instead of what initializers give:
            /// `Embedding::new(3, 2).weights([matrix])`. As in Keras, configs do not have them. An error, when weights
            /// are made, if number or shapes do not fit.
            pub fn weights(mut self, weights: impl Into<Vec<$crate::Array>>) -> Self {
                self.base.weights = Some(weights.into());
                self
            }
            /// Makes a layer of the definition and calls it.
            #[track_caller]
            pub fn call(self, inputs: impl Into<$crate::layers::Inputs>) -> $crate::Result<$crate::Tensor> {
                $crate::layers::LayerRef::new(self)?.call(inputs)
            }
            /// The same for a layer with several results, or one.
            #[track_caller]
            pub fn call_all(
                self,
                inputs: impl Into<$crate::layers::Inputs>,
            ) -> $crate::Result<Vec<$crate::Tensor>> {
                $crate::layers::LayerRef::new(self)?.call_all(inputs)
            }
        }
    };
    ($type:ty) => {
        $crate::layer_verbs!([] $type);
    };
}

/// What can become a layer of a model: a definition, or a layer there is.
pub trait IntoLayer {
    /// The layer.
    fn into_layer(self) -> Result<LayerRef>;
}

impl<L: super::Layer> IntoLayer for L {
    fn into_layer(self) -> Result<LayerRef> {
        LayerRef::new(self)
    }
}

impl IntoLayer for LayerRef {
    fn into_layer(self) -> Result<LayerRef> {
        Ok(self)
    }
}

impl IntoLayer for &LayerRef {
    fn into_layer(self) -> Result<LayerRef> {
        Ok(self.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::Array;
    use crate::layers::{
        BatchNormalization, Bidirectional, Dense, Highway, Input, LSTM, LayerRef, MaxoutDense, RNN,
        SimpleRNNCell, TimeDistributed,
    };
    use crate::regularizers::l2;
    use serde_json::json;

    fn ramp(shape: &[usize]) -> Array {
        let count = shape.iter().product::<usize>();
        Array::from_vec(shape, (0..count).map(|i| i as f32).collect()).unwrap()
    }

    #[test]
    fn weights_start_as_they_are_given() {
        let rows = |shapes: &[&[usize]]| shapes.iter().map(|shape| ramp(shape)).collect::<Vec<_>>();
        let lstm: &[&[usize]] = &[&[4, 8], &[2, 8], &[8]];
        let dense = || Dense::new(3).weights(rows(&[&[4, 3], &[3]]));
        let cell = SimpleRNNCell::new(2).weights(rows(&[&[4, 2], &[2, 2], &[2]]));
        let normalized = BatchNormalization::new().weights(rows(&[&[4][..]; 4]));
        let both = Bidirectional::new(LSTM::new(2)).weights(rows(&[lstm, lstm].concat()));
        for layer in [
            LayerRef::new(dense()).unwrap(),
            LayerRef::new(normalized).unwrap(),
            LayerRef::new(RNN::new(cell)).unwrap(),
            LayerRef::new(TimeDistributed::new(dense())).unwrap(),
            LayerRef::new(both).unwrap(),
        ] {
            layer.call(Input::new([5, 4]).tensor().unwrap()).unwrap();
            for weight in layer.get_weights().unwrap() {
                assert_eq!(weight, ramp(weight.shape()), "{layer:?}");
            }
            assert!(!layer.config_value().to_string().contains("\"weights\""), "{layer:?}");
        }
    }

    #[test]
    fn weights_of_the_layer_in_bidirectional_are_an_error() {
        let layer = Bidirectional::new(LSTM::new(2).weights([ramp(&[4, 8]), ramp(&[2, 8]), ramp(&[8])]));
        let error = layer.call(Input::new([5, 4]).tensor().unwrap()).unwrap_err().to_string();
        assert!(error.contains("give the weights to Bidirectional"), "{error}");
    }

    #[test]
    fn weights_that_do_not_fit_are_an_error_of_the_layer_at_every_call() {
        let x = Input::new([4]).tensor().unwrap();
        for (given, part) in [(vec![ramp(&[4, 3])], "2 arrays"), (vec![ramp(&[3, 4]), ramp(&[3])], "[4, 3]")]
        {
            let layer = LayerRef::new(Dense::new(3).weights(given).name("here")).unwrap();
            for _ in 0..2 {
                let error = layer.call(&x).unwrap_err();
                assert!(error.report().doing.contains("layer here"), "{error}");
                assert!(error.report().expected.contains(part), "{error}");
            }
            assert!(!layer.is_built());
        }
    }

    #[test]
    fn layers_of_keras_1_have_setters_for_all_arguments() {
        let penalty = || l2(0.5);
        let layers = [
            LayerRef::new(
                MaxoutDense::new(3)
                    .init("ones")
                    .w_regularizer(penalty())
                    .b_regularizer(penalty())
                    .activity_regularizer(penalty())
                    .w_constraint("non_neg")
                    .b_constraint("non_neg")
                    .input_dim(4),
            ),
            LayerRef::new(
                Highway::new()
                    .init("ones")
                    .w_regularizer(penalty())
                    .b_regularizer(penalty())
                    .activity_regularizer(penalty())
                    .w_constraint("non_neg")
                    .b_constraint("non_neg")
                    .input_dim(4),
            ),
        ];
        for layer in layers {
            let layer = layer.unwrap();
            let config = layer.config().config;
            assert_eq!(
                (config["input_dim"].clone(), config["batch_input_shape"].clone()),
                (json!(4), json!([null, 4]))
            );
            for key in ["W_regularizer", "b_regularizer", "activity_regularizer"] {
                assert_eq!(config[key]["config"]["l2"], json!(0.5), "{key}");
            }
            for key in ["W_constraint", "b_constraint"] {
                assert_eq!(config[key]["class_name"], json!("NonNeg"), "{key}");
            }
            layer.call(Input::new([4]).tensor().unwrap()).unwrap();
        }
    }
}
