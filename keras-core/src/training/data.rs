//! What `fit`, `evaluate` and `predict` take as data, and the checks that turn it into feeds.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::tensor::Spec;

/// Arrays for the inputs or outputs of a model: one, several in the model's order, or by name.
///
/// ```
/// use keras_core::{Array, training::Data};
/// let one: Data = (&Array::from([[1.0_f32, 2.0]])).into();
/// let named: Data = [("left", Array::from([1_i32])), ("right", Array::from([2_i32]))].into();
/// assert_eq!((one.len(), named.len()), (1, 2));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Data {
    arrays: Vec<(Option<String>, Array)>,
}

impl Data {
    /// The number of arrays.
    pub fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// Arrays under names.
    pub fn named(arrays: impl IntoIterator<Item = (String, Array)>) -> Self {
        Self { arrays: arrays.into_iter().map(|(name, array)| (Some(name), array)).collect() }
    }

    /// The first array's shape with an open batch axis, for models built from data.
    pub(crate) fn first_spec(&self) -> Option<Spec> {
        let (_, array) = self.arrays.first()?;
        let mut shape: Vec<Option<usize>> = array.shape().iter().map(|&len| Some(len)).collect();
        if shape.len() == 1 {
            shape.push(Some(1));
        }
        if let Some(batch) = shape.first_mut() {
            *batch = None;
        }
        Some(Spec::new(shape, array.dtype()))
    }

    /// The arrays in the order of `names`.
    pub(crate) fn in_order(&self, what: &str, names: &[String]) -> Result<Vec<Array>> {
        let listed = || names.join(", ");
        let unnamed = self.arrays.iter().all(|(name, _)| name.is_none());
        if self.arrays.len() != names.len() {
            return Err(Error::value(
                format!("checking {what}"),
                format!("{} arrays, for {}", names.len(), listed()),
                self.arrays.len().to_string(),
            ));
        }
        if unnamed {
            return Ok(self.arrays.iter().map(|(_, array)| array.clone()).collect());
        }
        names
            .iter()
            .map(|name| {
                let found = self.arrays.iter().find(|(known, _)| known.as_ref() == Some(name));
                found.map(|(_, array)| array.clone()).ok_or_else(|| {
                    let given: Vec<&str> =
                        self.arrays.iter().filter_map(|(name, _)| name.as_deref()).collect();
                    Error::name(
                        format!("checking {what}"),
                        format!("the names {}", listed()),
                        given.join(", "),
                    )
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

impl From<Array> for Data {
    fn from(array: Array) -> Self {
        Self { arrays: vec![(None, array)] }
    }
}

impl From<&Array> for Data {
    fn from(array: &Array) -> Self {
        array.clone().into()
    }
}

impl From<Vec<Array>> for Data {
    fn from(arrays: Vec<Array>) -> Self {
        Self { arrays: arrays.into_iter().map(|array| (None, array)).collect() }
    }
}

impl From<&[Array]> for Data {
    fn from(arrays: &[Array]) -> Self {
        arrays.to_vec().into()
    }
}

impl<const N: usize> From<[Array; N]> for Data {
    fn from(arrays: [Array; N]) -> Self {
        Vec::from(arrays).into()
    }
}

impl<const N: usize> From<[&Array; N]> for Data {
    fn from(arrays: [&Array; N]) -> Self {
        arrays.into_iter().cloned().collect::<Vec<_>>().into()
    }
}

impl<const N: usize> From<[(&str, Array); N]> for Data {
    fn from(arrays: [(&str, Array); N]) -> Self {
        Self::named(arrays.into_iter().map(|(name, array)| (name.to_owned(), array)))
    }
}

impl<T: crate::array::Element, D: ndarray::Dimension> From<&ndarray::Array<T, D>> for Data {
    fn from(array: &ndarray::Array<T, D>) -> Self {
        Array::from(array).into()
    }
}

/// Checks arrays against the specs of a model's inputs: adds a missing last axis to 1-D data, compares shapes,
/// converts to the input's element type.
pub(crate) fn standardize(
    what: &str,
    arrays: Vec<Array>,
    names: &[String],
    specs: &[Spec],
) -> Result<Vec<Array>> {
    let mut checked = Vec::with_capacity(arrays.len());
    for ((array, name), spec) in arrays.into_iter().zip(names).zip(specs) {
        let array = column(array)?;
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

/// 1-D data is a column.
pub(crate) fn column(array: Array) -> Result<Array> {
    match array.shape() {
        [] => Err(Error::shape("checking data", "an axis of samples", "a scalar")),
        &[n] => array.reshape(&[n, 1]),
        _ => Ok(array),
    }
}

/// The common number of samples; an error if there are none or arrays differ.
pub(crate) fn sample_count(x: &[Array], others: &[(&str, &Array)]) -> Result<usize> {
    let count = |array: &Array| array.shape().first().copied().unwrap_or(0);
    let samples = x.first().map_or(0, count);
    for array in x {
        if count(array) != samples {
            return Err(Error::shape(
                "checking input arrays",
                format!("the same number of samples, {samples}"),
                count(array).to_string(),
            ));
        }
    }
    for (what, array) in others {
        if count(array) != samples {
            return Err(Error::shape(
                format!("checking {what}"),
                format!("the same number of samples as the input arrays, {samples}"),
                count(array).to_string(),
            ));
        }
    }
    if samples == 0 {
        return Err(Error::value("checking data", "at least one sample", "none"));
    }
    Ok(samples)
}
