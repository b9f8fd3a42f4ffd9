//! Convolutions whose filters are not shared between places: `K.local_conv1d`, `K.local_conv2d`.

use super::conv_geometry::{Image, from_channels_last, to_channels_last};
use super::options::PerAxis;
use super::{composed, operands};
use crate::config::{DataFormat, image_data_format};
use crate::error::{Error, Result};
use crate::k;
use crate::tensor::Tensor;

/// A kernel of its own, `(places, size · channels, filters)`, for every window of `x`, whose channels are last. A window's
/// cells are in the order of the data format; there are `lens` windows along each axis, which the input must hold.
pub(crate) fn unshared(
    x: &Tensor,
    kernel: &Tensor,
    (sizes, strides): (&[usize], &[usize]),
    lens: &[usize],
    format: DataFormat,
) -> Result<Tensor> {
    let patches = patches(x, (sizes, strides), lens, format);
    let by_place = k::permute_dimensions(&patches, &[1, 0, 2]);
    let y = k::permute_dimensions(&k::matmul(&by_place, kernel), &[1, 0, 2]);
    let mut shape: Vec<isize> = lens.iter().map(|&len| len as isize).collect();
    shape.push(kernel.shape()?.last().map_or(-1, |&filters| filters as isize));
    Ok(k::batch_reshape(&y, &shape))
}

/// The windows' cells, `(batch, places, size · channels)`.
fn patches(x: &Tensor, (sizes, strides): (&[usize], &[usize]), lens: &[usize], format: DataFormat) -> Tensor {
    let mut parts = Vec::new();
    for cell in 0..sizes.iter().product() {
        let mut part = x.clone();
        let mut rest: usize = cell;
        for (axis, ((&size, &stride), &len)) in sizes.iter().zip(strides).zip(lens).enumerate().rev() {
            let start = rest % size;
            rest /= size;
            part = k::slice_steps(&part, axis as isize + 1, start, start + (len - 1) * stride + 1, stride);
        }
        parts.push(part);
    }
    let parts: Vec<&Tensor> = parts.iter().collect();
    let joined = match format {
        DataFormat::ChannelsLast => k::concatenate(&parts, -1),
        DataFormat::ChannelsFirst => k::stack(&parts, -1),
    };
    let places: usize = lens.iter().product();
    k::batch_reshape(&joined, &[places as isize, -1])
}

/// The windows along each axis, if the input holds them and the kernel is of that many places.
fn check<const N: usize>(
    name: &str,
    spatial: &[Option<usize>],
    kernel: &[usize],
    (sizes, strides): (PerAxis<N>, PerAxis<N>),
    lens: &[usize],
) -> Result<()> {
    let held = spatial.iter().zip(sizes.0).zip(strides.0).zip(lens).all(|(((len, size), stride), &count)| {
        let reach = count.checked_sub(1).and_then(|last| last.checked_mul(stride)?.checked_add(size));
        reach.is_some_and(|reach| len.is_some_and(|len| reach <= len))
    });
    let places = lens.iter().try_fold(1_usize, |places, &len| places.checked_mul(len));
    if !held || kernel.len() != 3 || kernel.first().copied() != places {
        let expected = format!(
            "a kernel (places, size · channels, filters) for windows of {:?} in steps of {:?}, {lens:?} of which lie inside {}",
            sizes.0,
            strides.0,
            crate::tensor::shape_text(spatial)
        );
        return Err(Error::shape(name, expected, format!("{kernel:?}")));
    }
    Ok(())
}

/// Filters of each place's own over `(batch, steps, channels)`: the kernel `(new steps, size · channels, filters)` gives
/// `(batch, new steps, filters)`, without padding.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(7), Some(2)], "x");
/// let kernel = k::placeholder([Some(3), Some(3 * 2), Some(4)], "kernel");
/// assert_eq!(k::local_conv1d(&x, &kernel, 3, 2).spec()?.shape, [None, Some(3), Some(4)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn local_conv1d(
    x: &Tensor,
    kernel: &Tensor,
    kernel_size: impl Into<PerAxis<1>>,
    strides: impl Into<PerAxis<1>>,
) -> Tensor {
    let (name, size, strides) = ("local_conv1d", kernel_size.into(), strides.into());
    composed(name, &[x, kernel], move |_, tensors| {
        let [x, kernel] = tensors else { return operands(name) };
        let (size, strides) = (size.positive(name, "kernel_size")?, strides.positive(name, "strides")?);
        let (image, shape) = (Image::of(name, &x.spec()?, DataFormat::ChannelsLast, 1)?, kernel.shape()?);
        let lens = [shape.first().copied().unwrap_or_default()];
        check(name, &image.spatial, &shape, (size, strides), &lens)?;
        unshared(x, kernel, (&size.0, &strides.0), &lens, DataFormat::ChannelsLast)
    })
}

/// Filters of each place's own over images: the kernel `(rows · columns of the result, size · channels, filters)` gives
/// `(batch, rows, columns, filters)` with the rows and columns of `output_shape`, without padding. A window's cells are in
/// the order of the data format (default: that of keras.json).
#[track_caller]
pub fn local_conv2d(
    x: &Tensor,
    kernel: &Tensor,
    kernel_size: impl Into<PerAxis<2>>,
    strides: impl Into<PerAxis<2>>,
    output_shape: (usize, usize),
    data_format: impl Into<Option<DataFormat>>,
) -> Tensor {
    let (name, size, strides) = ("local_conv2d", kernel_size.into(), strides.into());
    let format = data_format.into().unwrap_or_else(image_data_format);
    let lens = [output_shape.0, output_shape.1];
    composed(name, &[x, kernel], move |_, tensors| {
        let [x, kernel] = tensors else { return operands(name) };
        let (size, strides) = (size.positive(name, "kernel_size")?, strides.positive(name, "strides")?);
        let image = Image::of(name, &x.spec()?, format, 2)?;
        check(name, &image.spatial, &kernel.shape()?, (size, strides), &lens)?;
        let x = to_channels_last(x, format)?;
        from_channels_last(&unshared(&x, kernel, (&size.0, &strides.0), &lens, format)?, format)
    })
}
