//! `UpSampling`: longer spatial axes, by repetition or interpolation.

use super::check::one;
use super::conv_geometry::{Image, spatial_axes};
use super::registry::Read;
use super::windowed::default_format;
use super::{Base, Call, Choice, Layer, PerAxis};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k::{self, Interpolation};
use crate::registry::{Config, Reader};
use crate::semantics::IntegerInputs;
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// Each step of `(batch, steps, channels)` repeated.
pub type UpSampling1D = UpSampling<1>;
/// Rows and columns of `(batch, rows, columns, channels)` repeated or interpolated.
///
/// ```
/// use keras_core::layers::{Input, UpSampling2D};
/// let x = Input::new([7, 7, 64]).tensor()?;
/// let y = UpSampling2D::new((2, 3)).interpolation("bilinear").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(21), Some(64)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type UpSampling2D = UpSampling<2>;
/// Cells of `(batch, depth, rows, columns, channels)` repeated.
pub type UpSampling3D = UpSampling<3>;

/// `N` spatial axes made longer by whole factors.
#[derive(Debug, Clone)]
pub struct UpSampling<const N: usize> {
    base: Base,
    size: PerAxis<N>,
    data_format: Choice<DataFormat>,
    interpolation: Choice<Interpolation>,
}

impl<const N: usize> UpSampling<N> {
    /// Axes that are `size` times as long.
    pub fn new(size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            size: size.into(),
            data_format: default_format(N),
            interpolation: Interpolation::Nearest.into(),
        }
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    fn class() -> String {
        format!("UpSampling{N}D")
    }
}

impl UpSampling2D {
    /// `"nearest"` (default) or `"bilinear"`.
    pub fn interpolation(mut self, interpolation: impl Into<Choice<Interpolation>>) -> Self {
        self.interpolation = interpolation.into();
        self
    }
}

crate::layer_verbs!([const N: usize] UpSampling<N>);

impl<const N: usize> Read for UpSampling<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let nearest = Interpolation::Nearest.into();
        Ok(Self {
            base: Base::read(reader)?,
            size: PerAxis::read(reader, "size", 2.into())?,
            data_format: Choice::read(reader, "data_format", default_format(N))?,
            interpolation: if N == 2 { Choice::read(reader, "interpolation", nearest)? } else { nearest },
        })
    }
}

impl<const N: usize> Layer for UpSampling<N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class());
        let config = match self.size.0.as_slice() {
            [size] => config.with("size", *size),
            sizes => config.with("size", json!(sizes)).with("data_format", self.data_format.to_value()),
        };
        if N == 1 && self.data_format.resolve() == Ok(DataFormat::ChannelsFirst) {
            return config.with("data_format", self.data_format.to_value());
        }
        if N == 2 { config.with("interpolation", self.interpolation.to_value()) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn casts_integers(&self, _: IntegerInputs) -> bool {
        self.interpolation.resolve() == Ok(Interpolation::Bilinear)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let class = Self::class();
        self.interpolation.resolve()?;
        let format = self.data_format.resolve()?;
        let sizes = self.size.positive(&class, "size")?;
        let mut image = Image::of(&class, one(&class, inputs)?, format, N)?;
        for (len, size) in image.spatial.iter_mut().zip(sizes.0) {
            let too_large =
                || Error::value(&class, "a size that makes an axis that can be counted", size.to_string());
            *len = len.map(|len| len.checked_mul(size).ok_or_else(too_large)).transpose()?;
        }
        let float = image.dtype.is_float();
        if self.interpolation.resolve()? == Interpolation::Bilinear && !float {
            return Err(Error::dtype(
                class,
                "floating point inputs for bilinear interpolation",
                image.dtype.name(),
            ));
        }
        Ok(Some(vec![image.spec(format)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one(&Self::class(), inputs)?;
        self.compute_output_shape(&[x.spec()?])?;
        let sizes = spatial_axes(self.data_format.resolve()?, N).zip(self.size.0);
        let grid = cx.semantics().bilinear_grid;
        Ok(vec![k::resized(x, sizes, self.interpolation.resolve()?, grid)?])
    }
}
