//! `UpSampling`: longer spatial axes, by repetition or interpolation.

use super::check::one;
use super::conv_geometry::{Image, spatial_axes};
use super::options::Named;
use super::registry::Read;
use super::windowed::default_format;
use super::{Base, Call, Choice, Layer, PerAxis};
use crate::array::Array;
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::semantics::BilinearGrid;
use crate::tensor::{Spec, Tensor};
use serde_json::json;

/// What lies between the cells there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The same cell again.
    Nearest,
    /// A mean of both neighbours along each axis; `UpSampling2D` alone has it. Where cells lie is a choice of
    /// [`Semantics`](crate::semantics::Semantics).
    Bilinear,
}

impl Named for Interpolation {
    const KIND: &'static str = "interpolation";
    const ALL: &'static [(&'static str, Self)] = &[("nearest", Self::Nearest), ("bilinear", Self::Bilinear)];
}

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

/// Between each cell and its neighbours along an axis, `size` cells for one. Cell j of those lies `before[j]` of the
/// way towards the cell in front, or `after[j]` towards the one behind; the first and the last have themselves there.
fn interpolate(x: &Tensor, axis: usize, size: usize, grid: BilinearGrid) -> Result<Tensor> {
    let mut shape = x.shape()?;
    let (rank, len) = (shape.len(), shape.get(axis).copied().unwrap_or_default());
    let at = |start, stop| k::slice_axis(x, axis as isize, start, stop);
    let offset = |j: usize| match grid {
        BilinearGrid::Corners => j as f64 / size as f64,
        BilinearGrid::HalfPixel => (j as f64 + 0.5) / size as f64 - 0.5,
    };
    let wide = |x: &Tensor| k::expand_dims(x, axis as isize + 1);
    let mut y = k::repeat_elements(&wide(x), size, axis as isize + 1);
    let join = |a: &Tensor, b: &Tensor| k::concatenate(&[a, b], axis as isize);
    let neighbours = [
        (1.0, (len > 1).then(|| join(&at(1, len), &at(len - 1, len)))),
        (-1.0, (len > 1).then(|| join(&at(0, 1), &at(0, len - 1)))),
    ];
    for (direction, neighbour) in neighbours {
        let weights: Vec<f64> = (0..size).map(|j| (offset(j) * direction).max(0.0)).collect();
        let (Some(neighbour), true) = (neighbour, weights.iter().any(|&weight| weight > 0.0)) else {
            continue;
        };
        let mut line = vec![1; rank + 1];
        if let Some(len) = line.get_mut(axis + 1) {
            *len = size;
        }
        let weights = Tensor::constant(Array::from_vec(&line, weights)?.cast(x.dtype()?));
        y = y + wide(&(&neighbour - x)) * weights;
    }
    if let Some(len) = shape.get_mut(axis) {
        *len *= size;
    }
    Ok(k::reshape(&y, &shape.iter().map(|&len| len as isize).collect::<Vec<_>>()))
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
        let mut x = one(&Self::class(), inputs)?.clone();
        self.compute_output_shape(&[x.spec()?])?;
        let interpolation = self.interpolation.resolve()?;
        for (axis, size) in spatial_axes(self.data_format.resolve()?, N).zip(self.size.0) {
            x = match interpolation {
                _ if size == 1 => x,
                Interpolation::Nearest => k::repeat_elements(&x, size, axis as isize),
                Interpolation::Bilinear => interpolate(&x, axis, size, cx.semantics().bilinear_grid)?,
            };
        }
        Ok(vec![x])
    }
}
