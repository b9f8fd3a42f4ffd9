//! What `fit`, `evaluate` and `predict` take as data, and the checks that turn it into feeds.

use super::generator::{Generated, Sequence};
use super::source::Column;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::tensor::Spec;

/// Data for the inputs or outputs of a model: one array or [`Column`], several in the model's order, or by name. Or a
/// [`Sequence`] or a [`Generator`](super::Generator) of batches, inputs and targets together.
///
/// ```
/// use keras_core::{Array, training::Data};
/// let one: Data = (&Array::from([[1.0_f32, 2.0]])).into();
/// let named: Data = [("left", Array::from([1_i32])), ("right", Array::from([2_i32]))].into();
/// assert_eq!((one.len(), named.len()), (1, 2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Data {
    columns: Vec<(Option<String>, Column)>,
    generated: Option<Generated>,
}

impl Data {
    /// The number of arrays; 0 of what generates batches.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are none, nor batches.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.generated.is_none()
    }

    /// Arrays under names.
    pub fn named<C: Into<Column>>(arrays: impl IntoIterator<Item = (String, C)>) -> Self {
        Self::of(arrays.into_iter().map(|(name, array)| (Some(name), array.into())).collect())
    }

    fn of(columns: Vec<(Option<String>, Column)>) -> Self {
        Self { columns, generated: None }
    }

    /// What generates batches.
    pub(crate) fn generated(&self) -> Option<&Generated> {
        self.generated.as_ref()
    }

    /// The first array's shape with an open batch axis, for models built from data.
    pub(crate) fn first_spec(&self) -> Result<Option<Spec>> {
        if let Some(generated) = &self.generated {
            return generated.first_spec();
        }
        let Some((_, array)) = self.columns.first() else { return Ok(None) };
        let mut shape: Vec<Option<usize>> = array.shape().iter().map(|&len| Some(len)).collect();
        if shape.len() == 1 {
            shape.push(Some(1));
        }
        if let Some(batch) = shape.first_mut() {
            *batch = None;
        }
        Ok(Some(Spec::new(shape, array.dtype())))
    }

    /// The arrays in the order of `names`.
    pub(crate) fn in_order(&self, what: &str, names: &[String]) -> Result<Vec<Column>> {
        let listed = || names.join(", ");
        if self.generated.is_some() {
            return Err(Error::value(format!("checking {what}"), "arrays", "batches from a generator"));
        }
        let unnamed = self.columns.iter().all(|(name, _)| name.is_none());
        if self.columns.len() != names.len() {
            return Err(Error::value(
                format!("checking {what}"),
                format!("{} arrays, for {}", names.len(), listed()),
                self.columns.len().to_string(),
            )
            .advice("give a list of one array for each, or arrays by name"));
        }
        if unnamed {
            return Ok(self.columns.iter().map(|(_, array)| array.clone()).collect());
        }
        names
            .iter()
            .map(|name| {
                let found = self.columns.iter().find(|(known, _)| known.as_ref() == Some(name));
                found.map(|(_, array)| array.clone()).ok_or_else(|| {
                    let given: Vec<&str> =
                        self.columns.iter().filter_map(|(name, _)| name.as_deref()).collect();
                    let stray = given.iter().find(|given| !names.iter().any(|name| name == *given));
                    let stray = stray.copied().unwrap_or_default();
                    Error::name(
                        format!("checking {what}"),
                        format!("the names {}", listed()),
                        given.join(", "),
                    )
                    .advice("give an array for each name")
                    .suggest(stray, names.iter().map(String::as_str))
                })
            })
            .collect()
    }
}

/// No arrays: the targets of a model whose outputs have no loss.
impl From<()> for Data {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<&Self> for Data {
    fn from(data: &Self) -> Self {
        data.clone()
    }
}

/// One array, of all kinds that there are.
macro_rules! one {
    ($($array:ty),*) => {$(
        impl From<$array> for Data {
            fn from(array: $array) -> Self {
                Self::of(vec![(None, array.into())])
            }
        }
    )*};
}

one!(Array, &Array, Column, &Column);

impl<C: Into<Column>> From<Vec<C>> for Data {
    fn from(arrays: Vec<C>) -> Self {
        Self::of(arrays.into_iter().map(|array| (None, array.into())).collect())
    }
}

impl From<&[Array]> for Data {
    fn from(arrays: &[Array]) -> Self {
        arrays.to_vec().into()
    }
}

impl<C: Into<Column>, const N: usize> From<[C; N]> for Data {
    fn from(arrays: [C; N]) -> Self {
        Vec::from(arrays).into()
    }
}

impl<C: Into<Column>, const N: usize> From<[(&str, C); N]> for Data {
    fn from(arrays: [(&str, C); N]) -> Self {
        Self::named(arrays.into_iter().map(|(name, array)| (name.to_owned(), array)))
    }
}

impl<T: crate::array::Element, D: ndarray::Dimension> From<&ndarray::Array<T, D>> for Data {
    fn from(array: &ndarray::Array<T, D>) -> Self {
        Array::from(array).into()
    }
}

impl<S: Sequence + 'static> From<S> for Data {
    fn from(sequence: S) -> Self {
        Generated::sequence(sequence).into()
    }
}

impl From<Generated> for Data {
    fn from(generated: Generated) -> Self {
        Self { columns: Vec::new(), generated: Some(generated) }
    }
}

/// Checks arrays against the specs of a model's inputs: adds a missing last axis to 1-D data, compares shapes,
/// converts to the input's element type.
pub(crate) fn standardize(
    what: &str,
    arrays: Vec<Column>,
    names: &[String],
    specs: &[Spec],
) -> Result<Vec<Column>> {
    let mut checked = Vec::with_capacity(arrays.len());
    for ((array, name), spec) in arrays.into_iter().zip(names).zip(specs) {
        let array = array.column()?;
        // The batch axis of the spec is checked per batch.
        let rest = spec.shape.get(1..).unwrap_or_default();
        let given = array.shape().get(1..).unwrap_or_default();
        let fits = given.len() == rest.len()
            && rest.iter().zip(given).all(|(own, len)| own.is_none_or(|own| own == *len));
        if !fits {
            let expected = format!("{name} to have shape {}", crate::tensor::shape_text(rest));
            let received: Vec<Option<usize>> = given.iter().map(|&len| Some(len)).collect();
            let mut error = Error::shape(
                format!("checking {what}"),
                expected,
                format!("an array with shape {}", crate::tensor::shape_text(&received)),
            )
            .advice(
                "shapes leave out the samples: reshape the data, or give the Input the shape of a sample",
            );
            if array.rank() + 1 == spec.rank() {
                error = error.advice(format!(
                    "the first axis counts samples: reshape one sample {:?} to {:?}",
                    array.shape(),
                    std::iter::once(1).chain(array.shape().iter().copied()).collect::<Vec<_>>()
                ));
            }
            return Err(error);
        }
        checked.push(array.cast(spec.dtype));
    }
    Ok(checked)
}

const SAMPLES: &str = "give inputs and targets of the same samples, in the same order";

/// The common number of samples; an error if there are none or arrays differ.
pub(crate) fn sample_count(x: &[Column], others: &[(&str, &Column)]) -> Result<usize> {
    let samples = x.first().map_or(0, Column::samples);
    for array in x {
        if array.samples() != samples {
            return Err(Error::shape(
                "checking input arrays",
                format!("the same number of samples, {samples}"),
                array.samples().to_string(),
            )
            .advice(SAMPLES));
        }
    }
    for (what, array) in others {
        if array.samples() != samples {
            return Err(Error::shape(
                format!("checking {what}"),
                format!("the same number of samples as the input arrays, {samples}"),
                array.samples().to_string(),
            )
            .advice(SAMPLES));
        }
    }
    if samples == 0 {
        return Err(Error::value("checking data", "at least one sample", "none").advice(SAMPLES));
    }
    Ok(samples)
}
