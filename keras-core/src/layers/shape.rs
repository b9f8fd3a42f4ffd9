//! Layers that move elements: `Flatten`, `Reshape`, `Permute`, `RepeatVector`.

use super::check::{at_least_rank, exact_rank, one, positive};
use super::conv_geometry::to_channels_last;
use super::registry::Read;
use super::{Base, Build, Call, Choice, Layer};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// `(batch, …)` to `(batch, features)`, row-major; an axis of unknown length leaves the features unknown.
///
/// ```
/// use keras_core::layers::{Flatten, Input};
/// let x = Input::new([3, 4, 5]).tensor()?;
/// assert_eq!(Flatten::new().call(&x)?.spec()?.shape, [None, Some(60)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Flatten {
    base: Base,
    data_format: Choice<DataFormat>,
}

impl Flatten {
    /// All axes but the first in one.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), data_format: crate::config::image_data_format().into() }
    }

    /// `"channels_first"` moves the channels to the end first, so that both formats give the same features; default:
    /// that of keras.json.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }
}

crate::layer_verbs!(Flatten);

impl Read for Flatten {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        // Files of Keras before 2.1.6 have no such key: they mean channels last, whatever keras.json says now.
        let data_format = Choice::read(reader, "data_format", DataFormat::ChannelsLast.into())?;
        Ok(Self { base, data_format })
    }
}

impl Layer for Flatten {
    fn config(&self) -> Config {
        Config::new("Flatten").with("data_format", self.data_format.to_value())
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        self.data_format.resolve()?;
        let spec = at_least_rank("Flatten", inputs, 2)?;
        let batch = spec.shape.first().copied().flatten();
        let features = spec.shape.iter().skip(1).copied().product::<Option<usize>>();
        Ok(Some(vec![Spec::new([batch, features], spec.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = to_channels_last(one("Flatten", inputs)?, self.data_format.resolve()?)?;
        Ok(vec![k::batch_flatten(&x)])
    }
}

/// `(batch, …)` to `(batch, target…)`; one length of the target may be −1.
///
/// ```
/// use keras_core::layers::{Input, Reshape};
/// let x = Input::new([12]).tensor()?;
/// assert_eq!(Reshape::new([-1, 2, 2]).call(&x)?.spec()?.shape, [None, Some(3), Some(2), Some(2)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reshape {
    base: Base,
    target_shape: Vec<isize>,
}

impl Reshape {
    /// The shape of one sample, without the batch axis.
    pub fn new(target_shape: impl Into<Vec<isize>>) -> Self {
        Self { base: Base::default(), target_shape: target_shape.into() }
    }
}

crate::layer_verbs!(Reshape);

impl Read for Reshape {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        if reader.value("target_shape").is_none() {
            return Err(reader.wrong("target_shape", "a list of lengths"));
        }
        let target_shape =
            reader.integers("target_shape", &[])?.into_iter().map(|len| len as isize).collect();
        Ok(Self { base, target_shape })
    }
}

impl Layer for Reshape {
    fn config(&self) -> Config {
        Config::new("Reshape").with("target_shape", json!(self.target_shape))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = at_least_rank("Reshape", inputs, 1)?;
        if self.target_shape.iter().any(|&len| len < -1)
            || self.target_shape.iter().filter(|&&len| len < 0).count() > 1
        {
            return Err(Error::value(
                "Reshape",
                "lengths and at most one −1",
                format!("{:?}", self.target_shape),
            )
            .advice("say all lengths but one"));
        }
        let rest = spec.shape.get(1..).unwrap_or_default();
        let mut shape = vec![spec.shape.first().copied().flatten()];
        match rest.iter().copied().product::<Option<usize>>() {
            Some(count) => {
                let target = k::settle_shape(&self.target_shape, count).map_err(|_| {
                    Error::shape(
                        "Reshape",
                        format!("a target shape of {count} elements"),
                        format!("{:?} for {spec}", self.target_shape),
                    )
                    .advice(
                        "the number of elements must not change; the batch axis is not part of the target",
                    )
                })?;
                shape.extend(target.into_iter().map(Some));
            }
            None => shape.extend(self.target_shape.iter().map(|&len| usize::try_from(len).ok())),
        }
        Ok(Some(vec![Spec::new(shape, spec.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![k::batch_reshape(one("Reshape", inputs)?, &self.target_shape)])
    }
}

/// The axes of a sample in another order. Axes count from 1; the batch axis stays.
///
/// ```
/// use keras_core::layers::{Input, Permute};
/// let x = Input::new([10, 64]).tensor()?;
/// assert_eq!(Permute::new([2, 1]).call(&x)?.spec()?.shape, [None, Some(64), Some(10)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Permute {
    base: Base,
    dims: Vec<usize>,
}

impl Permute {
    /// Axis `i` of the result is axis `dims[i − 1]` of the input, both from 1.
    pub fn new(dims: impl Into<Vec<usize>>) -> Self {
        Self { base: Base::default(), dims: dims.into() }
    }

    fn order(&self) -> Vec<usize> {
        std::iter::once(0).chain(self.dims.iter().copied()).collect()
    }
}

crate::layer_verbs!(Permute);

impl Read for Permute {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let dims =
            reader.integers("dims", &[])?.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let dims = dims.map_err(|_| reader.wrong("dims", "a list of axes from 1"))?;
        Ok(Self { base, dims })
    }
}

impl Layer for Permute {
    fn config(&self) -> Config {
        Config::new("Permute").with("dims", json!(self.dims))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = exact_rank("Permute", inputs, self.dims.len() + 1)?;
        let mut sorted = self.dims.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(1..=self.dims.len()) {
            return Err(Error::value(
                "Permute",
                format!("each of the axes 1 to {} once", self.dims.len()),
                format!("{:?}", self.dims),
            )
            .advice("count the axes from 1, without that of the batch"));
        }
        let shape = self.order().into_iter().map(|axis| spec.shape.get(axis).copied().flatten());
        Ok(Some(vec![Spec::new(shape.collect::<Vec<_>>(), spec.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![k::permute_dimensions(one("Permute", inputs)?, &self.order())])
    }
}

/// `(batch, features)` repeated to `(batch, n, features)`.
///
/// ```
/// use keras_core::layers::{Input, RepeatVector};
/// let x = Input::new([32]).tensor()?;
/// assert_eq!(RepeatVector::new(3).call(&x)?.spec()?.shape, [None, Some(3), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RepeatVector {
    base: Base,
    n: usize,
}

impl RepeatVector {
    /// Repeated `n` times.
    pub fn new(n: usize) -> Self {
        Self { base: Base::default(), n }
    }
}

crate::layer_verbs!(RepeatVector);

impl Read for RepeatVector {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { base: Base::read(reader)?, n: reader.required_count("n")? })
    }
}

impl Layer for RepeatVector {
    fn config(&self) -> Config {
        Config::new("RepeatVector").with("n", self.n)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        positive("RepeatVector", "n", self.n)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = exact_rank("RepeatVector", inputs, 2)?;
        let mut shape = spec.shape.clone();
        shape.insert(1, Some(self.n));
        Ok(Some(vec![Spec::new(shape, spec.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![k::repeat(one("RepeatVector", inputs)?, self.n)])
    }
}
