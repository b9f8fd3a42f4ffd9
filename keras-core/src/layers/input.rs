//! `Input`: where data enters a model.

use super::registry::Read;
use super::{Base, Call, Layer, LayerRef, ShapeArgument};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// The definition of an input: shape (without the batch axis), element type, name.
///
/// ```
/// use keras_core::layers::Input;
/// let x = Input::new([784]).name("pixels").tensor()?;
/// assert_eq!(x.spec()?.shape, [None, Some(784)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Input {
    base: Base,
    sparse: bool,
}

impl Input {
    /// An input whose samples have that shape; `None` leaves an axis open.
    pub fn new(shape: impl Into<ShapeArgument>) -> Self {
        Self { base: Base { input_shape: Some(shape.into().0), ..Base::default() }, sparse: false }
    }

    /// The name, instead of `input_1`, ….
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.base.name = Some(name.into());
        self
    }

    /// A fixed number of samples per batch.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.base.batch_size = Some(size);
        self
    }

    /// The element type, instead of the default float type.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.base.dtype = Some(dtype);
        self
    }

    /// The Keras tensor that is fed.
    pub fn tensor(self) -> Result<Tensor> {
        let layer = LayerRef::new(self)?;
        layer.call_input()
    }

    pub(super) fn spec(&self) -> Spec {
        let shape = self.base.batch_input_shape().unwrap_or_default();
        Spec::new(shape, self.base.dtype.unwrap_or_else(crate::k::floatx))
    }
}

impl Read for Input {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        if reader.boolean("sparse", false)? {
            return Err(reader.wrong("sparse", "false: sparse inputs do not exist here"));
        }
        Ok(Self { base, sparse: false })
    }
}

impl Layer for Input {
    fn config(&self) -> Config {
        Config::new("InputLayer").with("sparse", json!(self.sparse))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn call(&self, cx: &mut Call, _: &[Tensor]) -> Result<Vec<Tensor>> {
        Err(Error::state(format!("input {}", cx.layer().name()), "a value fed for it", "none"))
    }
}
