//! `Dot`: products along an axis, sample by sample.

use super::registry::Read;
use super::{Base, Call, Inputs, Layer};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use serde_json::{Value, json};

/// Which axis of each input: one number for both, or a pair; negative ones count from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotAxes {
    axes: (isize, isize),
    /// Whether it was written as one number.
    single: bool,
}

impl From<isize> for DotAxes {
    fn from(axis: isize) -> Self {
        Self { axes: (axis, axis), single: true }
    }
}

impl From<(isize, isize)> for DotAxes {
    fn from(axes: (isize, isize)) -> Self {
        Self { axes, single: false }
    }
}

/// The product of two inputs along one axis of each: `(batch, …, n, …)` twice to the other axes of the first, then
/// those of the second. Two inputs `(batch, n)` give `(batch, 1)`.
///
/// ```
/// use keras_core::layers::{Dot, Input};
/// let (query, key) = (Input::new([5, 16]).tensor()?, Input::new([7, 16]).tensor()?);
/// let similarity = Dot::new(2).normalize(true).call([&query, &key])?;
/// assert_eq!(similarity.spec()?.shape, [None, Some(5), Some(7)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dot {
    base: Base,
    axes: DotAxes,
    normalize: bool,
}

impl Dot {
    /// The product along those axes.
    pub fn new(axes: impl Into<DotAxes>) -> Self {
        Self { base: Base::default(), axes: axes.into(), normalize: false }
    }

    /// Whether both inputs are scaled to length 1 along their axes first, which makes the product their cosine;
    /// default false.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Both axes from 0.
    fn axes_in(&self, a: &Spec, b: &Spec) -> Result<(usize, usize)> {
        let axis = |axis: isize, spec: &Spec| match k::axis_of(axis, spec.rank()) {
            Ok(axis) if axis > 0 => Ok(axis),
            _ => {
                let expected = format!("an axis of {spec} behind the batch axis");
                Err(Error::value("Dot", expected, axis.to_string())
                    .advice("count the batch axis, which is 0; negative axes count from the end"))
            }
        };
        Ok((axis(self.axes.axes.0, a)?, axis(self.axes.axes.1, b)?))
    }
}

/// [`Dot`] of two tensors.
#[track_caller]
pub fn dot(inputs: impl Into<Inputs>, axes: impl Into<DotAxes>, normalize: bool) -> Result<Tensor> {
    Dot::new(axes).normalize(normalize).call(inputs)
}

crate::layer_verbs!(Dot);

fn two<T>(inputs: &[T]) -> Result<(&T, &T)> {
    match inputs {
        [a, b] => Ok((a, b)),
        others => Err(Error::value("Dot", "exactly 2 inputs", others.len().to_string())
            .advice("call it on a list of two: `[&a, &b]`")),
    }
}

impl Read for Dot {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let axes = match (reader.value("axes").map(Value::is_array), reader.integers("axes", &[])?.as_slice())
        {
            (Some(false), [axis]) => DotAxes::from(*axis as isize),
            (Some(true), [a, b]) => DotAxes::from((*a as isize, *b as isize)),
            _ => return Err(reader.wrong("axes", "an axis or a pair of them")),
        };
        Ok(Self { base, axes, normalize: reader.boolean("normalize", false)? })
    }
}

impl Layer for Dot {
    fn config(&self) -> Config {
        let (a, b) = self.axes.axes;
        let axes = if self.axes.single { json!(a) } else { json!([a, b]) };
        Config::new("Dot").with("axes", axes).with("normalize", self.normalize)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let (a, b) = two(inputs)?;
        let axes = self.axes_in(a, b)?;
        let len = |spec: &Spec, axis: usize| spec.shape.get(axis).copied().flatten();
        let received = || format!("{a} and {b}");
        if a.dtype != b.dtype {
            return Err(
                Error::dtype("Dot", "inputs of one element type", received()).advice("convert with k::cast")
            );
        }
        for (i, j) in [axes, (0, 0)] {
            if let (Some(one), Some(other)) = (len(a, i), len(b, j))
                && one != other
            {
                let expected = format!("equal lengths on axis {i} of the first and {j} of the second");
                return Err(Error::shape("Dot", expected, received())
                    .advice("choose the axes whose lengths are equal"));
            }
        }
        let mut shape = vec![len(a, 0).or(len(b, 0))];
        for (spec, axis) in [(a, axes.0), (b, axes.1)] {
            shape.extend(
                spec.shape.iter().enumerate().skip(1).filter(|(i, _)| *i != axis).map(|(_, len)| len),
            );
        }
        if shape.len() == 1 {
            shape.push(Some(1));
        }
        Ok(Some(vec![Spec::new(shape, a.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (a, b) = two(inputs)?;
        let (i, j) = self.axes_in(&a.spec()?, &b.spec()?)?;
        let axes = (i as isize, j as isize);
        Ok(vec![if self.normalize {
            k::batch_dot(&k::l2_normalize(a, axes.0), &k::l2_normalize(b, axes.1), axes)
        } else {
            k::batch_dot(a, b, axes)
        }])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn compute_mask(&self, _: &mut Call, _: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}
