//! Weights of samples and of classes.

use super::source::Column;
use crate::array::{Array, DType};
use crate::error::{Error, Result};

/// How much each sample counts: one array for all outputs, or one per output name.
///
/// ```
/// use keras_core::{Array, training::SampleWeight};
/// let weights: SampleWeight = Array::from([1.0_f32, 0.0, 2.0]).into();
/// ```
#[derive(Debug, Clone)]
pub struct SampleWeight(Vec<(Option<String>, Array)>);

impl From<Array> for SampleWeight {
    fn from(array: Array) -> Self {
        Self(vec![(None, array)])
    }
}

impl From<&Array> for SampleWeight {
    fn from(array: &Array) -> Self {
        array.clone().into()
    }
}

impl<const N: usize> From<[(&str, Array); N]> for SampleWeight {
    fn from(arrays: [(&str, Array); N]) -> Self {
        Self(arrays.into_iter().map(|(name, array)| (Some(name.to_owned()), array)).collect())
    }
}

impl SampleWeight {
    /// Weights by output name.
    pub fn named(arrays: impl IntoIterator<Item = (String, Array)>) -> Self {
        Self(arrays.into_iter().map(|(name, array)| (Some(name), array)).collect())
    }

    /// The weights of one output, checked against its target: one per sample, or if `temporal` one per sample and time step.
    pub(crate) fn of(
        &self,
        output: &str,
        outputs: &[String],
        target: &Column,
        temporal: bool,
    ) -> Result<Option<Array>> {
        check_names("sample_weight", self.0.iter().map(|(name, _)| name), outputs)?;
        let found = match self.0.as_slice() {
            [(None, array)] if outputs.len() == 1 => Some(array),
            [(None, _)] => {
                return Err(Error::value(
                    "checking sample_weight",
                    format!("weights by output name for {} outputs", outputs.len()),
                    "one array without a name",
                )
                .advice("give them as `[(\"output\", weights), ..]`"));
            }
            named => named.iter().find(|(name, _)| name.as_deref() == Some(output)).map(|(_, array)| array),
        };
        let Some(array) = found else { return Ok(None) };
        let doing = || format!("checking sample_weight of {output}");
        let axes = if temporal { 2 } else { 1 };
        if temporal && target.rank() < 3 {
            return Err(Error::shape(
                doing(),
                "a target of at least three axes for sample_weight_mode \"temporal\"",
                format!("{:?}", target.shape()),
            )
            .advice("leave sample_weight_mode out where there are no time steps"));
        }
        let expected = target.shape().get(..axes).unwrap_or_default();
        if array.shape() != expected {
            let what = if temporal { "sample and time step" } else { "sample" };
            let error = Error::shape(
                doing(),
                format!("one weight per {what}, shape {expected:?}"),
                format!("{:?}", array.shape()),
            );
            return Err(if !temporal && array.rank() == 2 {
                error.advice("weights per time step need sample_weight_mode(\"temporal\") at compile")
            } else {
                error.advice("give each sample of the data its weight, in the same order")
            });
        }
        Ok(Some(array.cast(DType::F64)))
    }
}

/// How much each class counts: weights by class number, for the only output or by output name.
///
/// ```
/// use keras_core::training::ClassWeight;
/// let weights: ClassWeight = [(0, 1.0), (1, 50.0)].into();
/// ```
#[derive(Debug, Clone)]
pub struct ClassWeight(Vec<(Option<String>, Vec<(i64, f64)>)>);

impl<const N: usize> From<[(i64, f64); N]> for ClassWeight {
    fn from(weights: [(i64, f64); N]) -> Self {
        Self(vec![(None, weights.to_vec())])
    }
}

impl From<Vec<(i64, f64)>> for ClassWeight {
    fn from(weights: Vec<(i64, f64)>) -> Self {
        Self(vec![(None, weights)])
    }
}

impl ClassWeight {
    /// Weights by output name.
    pub fn named(weights: impl IntoIterator<Item = (String, Vec<(i64, f64)>)>) -> Self {
        Self(weights.into_iter().map(|(name, weights)| (Some(name), weights)).collect())
    }

    /// The weight of each sample of one output, from the class that its target says.
    pub(crate) fn of(&self, output: &str, outputs: &[String], target: &Column) -> Result<Option<Array>> {
        check_names("class_weight", self.0.iter().map(|(name, _)| name), outputs)?;
        let found = match self.0.as_slice() {
            [(None, weights)] if outputs.len() == 1 => Some(weights),
            [(None, _)] => {
                return Err(Error::value(
                    "checking class_weight",
                    format!("weights by output name for {} outputs", outputs.len()),
                    "one table without a name",
                )
                .advice("give them with ClassWeight::named"));
            }
            named => {
                named.iter().find(|(name, _)| name.as_deref() == Some(output)).map(|(_, weights)| weights)
            }
        };
        let Some(weights) = found else { return Ok(None) };
        let mut classes = Vec::with_capacity(target.samples());
        // Targets that are not in memory are read once for their classes.
        let at_once = if target.is_stored() { 1024 } else { target.samples().max(1) };
        for start in (0..target.samples()).step_by(at_once) {
            classes.extend(self::classes(output, &target.rows(start, start.saturating_add(at_once))?)?);
        }
        let mut missing: Vec<i64> = Vec::new();
        let values: Vec<f64> = classes
            .iter()
            .map(|class| match weights.iter().find(|(known, _)| known == class) {
                Some((_, weight)) => *weight,
                None => {
                    if !missing.contains(class) {
                        missing.push(*class);
                    }
                    0.0
                }
            })
            .collect();
        if !missing.is_empty() {
            return Err(Error::value(
                format!("checking class_weight of {output}"),
                "a weight for every class in the data",
                format!("none for the classes {missing:?}"),
            )
            .advice("name them too: 1 changes nothing"));
        }
        Ok(Some(Array::from(values)))
    }
}

/// Refuses weights of an output that is not there.
fn check_names<'a>(
    what: &str,
    mut given: impl Iterator<Item = &'a Option<String>>,
    outputs: &[String],
) -> Result<()> {
    match given.find_map(|name| name.as_ref().filter(|name| !outputs.contains(name))) {
        Some(name) => {
            Err(Error::unknown(format!("checking {what}"), name, outputs.iter().map(String::as_str)))
        }
        None => Ok(()),
    }
}

fn classes(output: &str, target: &Array) -> Result<Vec<i64>> {
    match target.shape() {
        &[_, width] if width > 1 => {
            let values = target.to_vec::<f64>();
            Ok(values
                .chunks(width)
                .map(|row| {
                    let best = row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, &value)| {
                        if value > best.1 { (i, value) } else { best }
                    });
                    best.0 as i64
                })
                .collect())
        }
        [_] | [_, 1] => Ok(target.to_vec::<i64>()),
        shape => Err(Error::shape(
            format!("checking class_weight of {output}"),
            "targets of one or two axes: class_weight is not supported for more",
            format!("{shape:?}"),
        )
        .advice("use sample_weight")),
    }
}
