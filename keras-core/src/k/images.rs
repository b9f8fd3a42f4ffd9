//! Images made larger: `K.resize_images`, `K.spatial_2d_padding` and their relatives.

use super::conv_geometry::{Image, spatial_axes};
use super::options::{Choice, Named, Sides};
use super::{composed, operands};
use crate::array::Array;
use crate::config::{DataFormat, image_data_format};
use crate::error::{Error, Result};
use crate::k;
use crate::semantics::BilinearGrid;
use crate::tensor::Tensor;

/// What lies between the cells there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The same cell again.
    Nearest,
    /// A mean of both neighbours along each axis. Where cells lie is a choice of
    /// [`Semantics`](crate::semantics::Semantics).
    Bilinear,
}

impl Named for Interpolation {
    const KIND: &'static str = "interpolation";
    const ALL: &'static [(&'static str, Self)] = &[("nearest", Self::Nearest), ("bilinear", Self::Bilinear)];
}

/// Axes `size` times as long, as (axis, size).
pub(crate) fn resized(
    x: &Tensor,
    sizes: impl IntoIterator<Item = (usize, usize)>,
    interpolation: Interpolation,
    grid: BilinearGrid,
) -> Result<Tensor> {
    let mut x = x.clone();
    for (axis, size) in sizes {
        x = match interpolation {
            _ if size == 1 => x,
            Interpolation::Nearest => k::repeat_elements(&x, size, axis as isize),
            Interpolation::Bilinear => interpolate(&x, axis, size, grid)?,
        };
    }
    Ok(x)
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
    y.check()?;
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

#[track_caller]
fn enlarge<const N: usize>(
    name: &'static str,
    x: &Tensor,
    factors: [usize; N],
    data_format: DataFormat,
    interpolation: Choice<Interpolation>,
) -> Tensor {
    composed(name, &[x], move |trace, tensors| {
        let [x] = tensors else { return operands(name) };
        let image = Image::of(name, &x.spec()?, data_format, N)?;
        if factors.contains(&0) {
            return Err(Error::value(name, "factors of at least 1", format!("{factors:?}")));
        }
        let interpolation = interpolation.resolve()?;
        let x = match interpolation {
            Interpolation::Bilinear if !image.dtype.is_float() => k::cast(x, k::floatx()),
            _ => x.clone(),
        };
        let sizes = spatial_axes(data_format, N).zip(factors);
        resized(&x, sizes, interpolation, trace.semantics().bilinear_grid)
    })
}

/// Images with that many times as many rows and columns; `interpolation` is `"nearest"` (Keras's default) or
/// `"bilinear"`, whose results are floating point numbers.
///
/// ```
/// use keras_core::config::DataFormat::ChannelsLast;
/// use keras_core::k;
/// let x = k::placeholder([None, Some(7), Some(7), Some(3)], "x");
/// let y = k::resize_images(&x, 2, 3, ChannelsLast, "bilinear");
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(21), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn resize_images(
    x: &Tensor,
    height_factor: usize,
    width_factor: usize,
    data_format: DataFormat,
    interpolation: impl Into<Choice<Interpolation>>,
) -> Tensor {
    enlarge("resize_images", x, [height_factor, width_factor], data_format, interpolation.into())
}

/// Volumes with each cell repeated along the three spatial axes.
#[track_caller]
pub fn resize_volumes(
    x: &Tensor,
    depth_factor: usize,
    height_factor: usize,
    width_factor: usize,
    data_format: DataFormat,
) -> Tensor {
    let factors = [depth_factor, height_factor, width_factor];
    enlarge("resize_volumes", x, factors, data_format, Interpolation::Nearest.into())
}

#[track_caller]
fn padded<const N: usize>(name: &'static str, x: &Tensor, sides: Sides<N>, format: DataFormat) -> Tensor {
    composed(name, &[x], move |_, tensors| {
        let [x] = tensors else { return operands(name) };
        Image::of(name, &x.spec()?, format, N)?;
        let mut pads = vec![(0, 0); N + 2];
        for (axis, sides) in spatial_axes(format, N).zip(sides.0) {
            if let Some(pad) = pads.get_mut(axis) {
                *pad = sides;
            }
        }
        Ok(k::pad(x, &pads))
    })
}

/// Zeros before and after the steps of `(batch, steps, channels)`; Keras's default is `(1, 1)`.
#[track_caller]
pub fn temporal_padding(x: &Tensor, padding: (usize, usize)) -> Tensor {
    padded::<1>("temporal_padding", x, padding.into(), DataFormat::ChannelsLast)
}

/// Zeros around images: `1` on every side (Keras's default), `((1, 2), (0, 1))` on each. The default data format is that of
/// keras.json.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(28), Some(28), Some(3)], "x");
/// let y = k::spatial_2d_padding(&x, ((0, 1), (2, 3)), None);
/// assert_eq!(y.spec()?.shape, [None, Some(29), Some(33), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn spatial_2d_padding(
    x: &Tensor,
    padding: impl Into<Sides<2>>,
    data_format: impl Into<Option<DataFormat>>,
) -> Tensor {
    let format = data_format.into().unwrap_or_else(image_data_format);
    padded("spatial_2d_padding", x, padding.into(), format)
}

/// Zeros around volumes; see [`spatial_2d_padding`].
#[track_caller]
pub fn spatial_3d_padding(
    x: &Tensor,
    padding: impl Into<Sides<3>>,
    data_format: impl Into<Option<DataFormat>>,
) -> Tensor {
    let format = data_format.into().unwrap_or_else(image_data_format);
    padded("spatial_3d_padding", x, padding.into(), format)
}
