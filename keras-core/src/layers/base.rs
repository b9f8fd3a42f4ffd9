//! The arguments that every layer has, and the verbs that every layer type offers.

use super::LayerRef;
use crate::array::DType;
use crate::error::Result;
use crate::registry::Reader;
use crate::tensor::Tensor;

/// Name, `trainable`, input shape and element type: the arguments of Keras's base class.
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
