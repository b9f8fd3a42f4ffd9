//! What a tensor is: its kind, shape and element type.

use super::{nth, op};
use crate::array::{Array, DType};
use crate::backend::{Variable, registry};
use crate::config::{DataFormat, image_data_format};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::tensor::record::Placeholder;
use std::any::Any;

/// The name of the backend in use.
///
/// # Errors
/// If there is none, or the one asked for cannot run here.
pub fn backend() -> Result<String> {
    Ok(registry::current()?.name().to_owned())
}

/// The data format of that name, whatever its case; without one that of keras.json.
///
/// ```
/// use keras_core::{config::DataFormat, k};
/// assert_eq!(k::normalize_data_format("Channels_First")?, DataFormat::ChannelsFirst);
/// assert!(k::normalize_data_format("last").is_err());
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If there is none of that name.
pub fn normalize_data_format<'a>(value: impl Into<Option<&'a str>>) -> Result<DataFormat> {
    value.into().map_or_else(|| Ok(image_data_format()), |name| super::Choice::from(name).resolve())
}

/// Whether it came from an input or a layer: what a model can be made of.
///
/// ```
/// use keras_core::{k, layers::Input};
/// let x = Input::new([3]).tensor()?;
/// assert!(k::is_keras_tensor(&x) && k::is_placeholder(&x));
/// assert!(!k::is_keras_tensor(&(&x * 2.0)));
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn is_keras_tensor(x: &Tensor) -> bool {
    x.layer_node().is_some()
}

/// Whether it has to be fed: a placeholder or an input.
pub fn is_placeholder(x: &Tensor) -> bool {
    let placeholder = x.symbol().is_some_and(|symbol| {
        let producer: &dyn Any = &*symbol.producer;
        producer.is::<Placeholder>()
    });
    placeholder || x.layer_node().is_some_and(|(node, _)| node.inputs.is_empty())
}

/// Whether it is the value of a variable.
pub fn is_variable(x: &Tensor) -> bool {
    x.as_variable().is_some()
}

/// Whether it is anything but a variable.
pub fn is_symbolic(x: &Tensor) -> bool {
    !is_variable(x)
}

/// The number of axes.
///
/// # Errors
/// That of the tensor, if it carries one.
pub fn ndim(x: &Tensor) -> Result<usize> {
    x.rank()
}

/// The lengths of the axes, `None` where any length goes.
///
/// # Errors
/// That of the tensor, if it carries one.
pub fn int_shape(x: &Tensor) -> Result<Vec<Option<usize>>> {
    Ok(x.spec()?.shape)
}

/// The element type.
///
/// # Errors
/// That of the tensor, if it carries one.
pub fn dtype(x: &Tensor) -> Result<DType> {
    x.dtype()
}

/// The lengths of a variable's axes.
pub fn get_variable_shape(x: &Variable) -> &[usize] {
    x.shape()
}

/// The lengths of the axes as a tensor (int32), also where they are known only when it runs.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(3)], "x");
/// assert_eq!(k::shape(&x).spec()?.shape, [Some(2)]);
/// assert_eq!(k::size(&x).spec()?.shape, []);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn shape(x: &Tensor) -> Tensor {
    op("shape", &[x], |graph, values| {
        let lens: Vec<i64> = graph.shape(nth(values, 0)?).iter().map(|&len| len as i64).collect();
        Ok(graph.constant(Array::from(lens).cast(DType::I32)))
    })
}

/// The number of elements as a tensor (int32).
#[track_caller]
pub fn size(x: &Tensor) -> Tensor {
    op("size", &[x], |graph, values| {
        let count: usize = graph.shape(nth(values, 0)?).iter().product();
        Ok(graph.scalar(count as f64, DType::I32))
    })
}
