//! Windows over spatial axes: convolutions, transposed and separable ones, pooling.

use super::conv_geometry::{Image, Windows, from_channels_last, to_channels_last};
use super::options::{Choice, Named, Padding, PerAxis};
use super::{composed, operands};
use crate::config::{DataFormat, image_data_format};
use crate::error::{Error, Result};
use crate::graph::PoolSpec;
use crate::k;
use crate::tensor::{Spec, Tensor};

/// Options of the convolutions over `N` spatial axes: those of `K.conv2d`, with its defaults.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(28), Some(28), Some(3)], "x");
/// let kernel = k::placeholder([Some(3), Some(3), Some(3), Some(8)], "kernel");
/// let y = k::conv2d(&x, &kernel, k::Conv::new().strides(2).padding("same"));
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(14), Some(8)]);
/// let back = [None, Some(28), Some(28), Some(3)];
/// let x = k::conv2d_transpose(&y, &kernel, &back, k::Conv::new().strides(2).padding("same"));
/// assert_eq!(x.spec()?.shape, back);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv<const N: usize> {
    strides: PerAxis<N>,
    padding: Choice<Padding>,
    data_format: Choice<DataFormat>,
    dilation_rate: PerAxis<N>,
}

impl<const N: usize> Default for Conv<N> {
    fn default() -> Self {
        Self {
            strides: 1.into(),
            padding: Padding::Valid.into(),
            data_format: image_data_format().into(),
            dilation_rate: 1.into(),
        }
    }
}

impl<const N: usize> Conv<N> {
    /// Windows inside the input, at every place.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps of the window; default 1. Not together with a dilation rate above 1.
    pub fn strides(mut self, strides: impl Into<PerAxis<N>>) -> Self {
        self.strides = strides.into();
        self
    }

    /// `"valid"` (default), `"same"`, or `"causal"` for [`conv1d`].
    pub fn padding(mut self, padding: impl Into<Choice<Padding>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, also for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    /// The steps between the cells of a window; default 1.
    pub fn dilation_rate(mut self, rate: impl Into<PerAxis<N>>) -> Self {
        self.dilation_rate = rate.into();
        self
    }

    /// The windows of a kernel whose leading axes are spatial, and where the channels lie.
    fn windows(&self, name: &str, kernel: &Tensor, causal: bool) -> Result<(Windows, DataFormat)> {
        let shape = kernel.shape()?;
        let Some((sizes, [_, _])) = shape.split_first_chunk::<N>() else {
            let expected = format!("a kernel of rank {}, its {N} spatial axes first", N + 2);
            return Err(Error::shape(name, expected, format!("{shape:?}")));
        };
        let (padding, format) = (self.padding.resolve()?, self.data_format.resolve()?);
        if padding == Padding::Causal && !(causal && format == DataFormat::ChannelsLast) {
            return Err(Error::value(
                name,
                "padding \"valid\" or \"same\"",
                format!("\"causal\" in {format}"),
            )
            .advice("causal padding is for conv1d in channels_last"));
        }
        let size = ("kernel size", PerAxis(*sizes));
        Ok((Windows::checked(name, padding, size, self.strides, self.dilation_rate)?, format))
    }
}

/// `x` with its channels last, and its spatial lengths, on which the windows fit.
fn enter<const N: usize>(
    name: &str,
    x: &Tensor,
    windows: &Windows,
    format: DataFormat,
) -> Result<(Tensor, Vec<usize>)> {
    let image = Image::of(name, &x.spec()?, format, N)?;
    windows.output(name, &image.spatial)?;
    Ok((to_channels_last(x, format)?, image.spatial.into_iter().flatten().collect()))
}

#[track_caller]
fn convolve<const N: usize>(name: &'static str, x: &Tensor, kernel: &Tensor, options: Conv<N>) -> Tensor {
    composed(name, &[x, kernel], move |_, tensors| {
        let [x, kernel] = tensors else { return operands(name) };
        let (windows, format) = options.windows(name, kernel, N == 1)?;
        let (x, spatial) = enter::<N>(name, x, &windows, format)?;
        from_channels_last(&k::conv(&x, kernel, windows.conv(&spatial, 1)), format)
    })
}

/// The correlation of `(batch, steps, channels)` with a kernel `(size, channels, filters)`: `(batch, new steps, filters)`.
#[track_caller]
pub fn conv1d(x: &Tensor, kernel: &Tensor, options: Conv<1>) -> Tensor {
    convolve("conv1d", x, kernel, options)
}

/// The correlation of images `(batch, rows, columns, channels)` with a kernel `(rows, columns, channels, filters)`; see
/// [`Conv`].
#[track_caller]
pub fn conv2d(x: &Tensor, kernel: &Tensor, options: Conv<2>) -> Tensor {
    convolve("conv2d", x, kernel, options)
}

/// The correlation of volumes `(batch, depth, rows, columns, channels)` with a kernel
/// `(depth, rows, columns, channels, filters)`; see [`Conv`].
#[track_caller]
pub fn conv3d(x: &Tensor, kernel: &Tensor, options: Conv<3>) -> Tensor {
    convolve("conv3d", x, kernel, options)
}

#[track_caller]
fn transposed<const N: usize>(
    name: &'static str,
    x: &Tensor,
    kernel: &Tensor,
    output_shape: &[Option<usize>],
    options: Conv<N>,
) -> Tensor {
    let output_shape = output_shape.to_vec();
    composed(name, &[x, kernel], move |_, tensors| {
        let [x, kernel] = tensors else { return operands(name) };
        let (windows, format) = options.windows(name, kernel, false)?;
        let own = Image::of(name, &x.spec()?, format, N)?;
        let asked = Image::of(name, &Spec::new(output_shape.clone(), own.dtype), format, N)?;
        let size: Vec<usize> = asked.spatial.iter().copied().flatten().collect();
        let filters = kernel.shape()?.get(N).copied();
        let fits = size.len() == N
            && windows.output(name, &asked.spatial)? == own.spatial
            && asked.batch.is_none_or(|batch| own.batch == Some(batch))
            && asked.channels.is_none_or(|channels| filters == Some(channels));
        if !fits {
            let expected = format!(
                "an output_shape of known spatial lengths that the convolution takes back to {}, with {filters:?} channels",
                x.spec()?
            );
            return Err(Error::shape(name, expected, crate::tensor::shape_text(&output_shape)));
        }
        let x = to_channels_last(x, format)?;
        from_channels_last(&k::conv_transpose(&x, kernel, windows.conv(&size, 1), &size), format)
    })
}

/// The transpose of [`conv2d`]: images `(batch, rows, columns, channels)` and a kernel `(rows, columns, filters, channels)`
/// give what has that shape, in the data format; its batch and channels may be left open.
///
/// Errors (which the result carries) say so where the convolution would not give the shape of `x` back.
#[track_caller]
pub fn conv2d_transpose(
    x: &Tensor,
    kernel: &Tensor,
    output_shape: &[Option<usize>],
    options: Conv<2>,
) -> Tensor {
    transposed("conv2d_transpose", x, kernel, output_shape, options)
}

/// [`conv2d_transpose`] over volumes, the kernel being `(depth, rows, columns, filters, channels)`.
#[track_caller]
pub fn conv3d_transpose(
    x: &Tensor,
    kernel: &Tensor,
    output_shape: &[Option<usize>],
    options: Conv<3>,
) -> Tensor {
    transposed("conv3d_transpose", x, kernel, output_shape, options)
}

/// Every channel of `x` (its channels last) by its own filters: a convolution in as many groups as there are channels. The
/// kernel is `(spatial…, channels, multiplier)`.
pub(crate) fn depthwise(
    name: &str,
    x: &Tensor,
    kernel: &Tensor,
    windows: &Windows,
    spatial: &[usize],
) -> Result<Tensor> {
    let shape = kernel.shape()?;
    let channels = x.shape()?.last().copied().unwrap_or_default();
    let Some((sizes, &[own, multiplier])) =
        shape.split_last_chunk::<2>().filter(|(_, [c, _])| *c == channels)
    else {
        let expected = format!("a depthwise kernel (size.., {channels}, multiplier)");
        return Err(Error::shape(name, expected, format!("{shape:?}")));
    };
    let mut grouped = sizes.to_vec();
    grouped.extend([1, own * multiplier]);
    let grouped: Vec<isize> = grouped.into_iter().map(|len| len as isize).collect();
    Ok(k::conv(x, &k::reshape(kernel, &grouped), windows.conv(spatial, channels)))
}

/// Each channel of images `(batch, rows, columns, channels)` by its own filters, `(rows, columns, channels, multiplier)`:
/// filter `m` of channel `c` gives channel `c · multiplier + m`.
#[track_caller]
pub fn depthwise_conv2d(x: &Tensor, kernel: &Tensor, options: Conv<2>) -> Tensor {
    let name = "depthwise_conv2d";
    composed(name, &[x, kernel], move |_, tensors| {
        let [x, kernel] = tensors else { return operands(name) };
        let (windows, format) = options.windows(name, kernel, false)?;
        let (x, spatial) = enter::<2>(name, x, &windows, format)?;
        from_channels_last(&depthwise(name, &x, kernel, &windows, &spatial)?, format)
    })
}

#[track_caller]
fn separable<const N: usize>(
    name: &'static str,
    x: &Tensor,
    depthwise_kernel: &Tensor,
    pointwise_kernel: &Tensor,
    options: Conv<N>,
) -> Tensor {
    composed(name, &[x, depthwise_kernel, pointwise_kernel], move |_, tensors| {
        let [x, kernel, pointwise] = tensors else { return operands(name) };
        let (windows, format) = options.windows(name, kernel, false)?;
        let (x, spatial) = enter::<N>(name, x, &windows, format)?;
        let y = depthwise(name, &x, kernel, &windows, &spatial)?;
        let (shape, channels) = (pointwise.shape()?, y.shape()?.last().copied().unwrap_or_default());
        match shape.split_last_chunk::<2>() {
            Some((ones, &[own, filters])) if ones == [1; N] && own == channels => {
                let mixed = k::dot(&y, &k::reshape(pointwise, &[own as isize, filters as isize]));
                from_channels_last(&mixed, format)
            }
            _ => {
                let expected = format!("a pointwise kernel ({}{channels}, filters)", "1, ".repeat(N));
                Err(Error::shape(name, expected, format!("{shape:?}")))
            }
        }
    })
}

/// Each channel's own filters `(size, channels, multiplier)` over steps, then the mixture `(1, channels · multiplier, filters)`
/// of what they give.
#[track_caller]
pub fn separable_conv1d(
    x: &Tensor,
    depthwise_kernel: &Tensor,
    pointwise_kernel: &Tensor,
    options: Conv<1>,
) -> Tensor {
    separable("separable_conv1d", x, depthwise_kernel, pointwise_kernel, options)
}

/// [`depthwise_conv2d`], then the mixture `(1, 1, channels · multiplier, filters)` of what it gives.
#[track_caller]
pub fn separable_conv2d(
    x: &Tensor,
    depthwise_kernel: &Tensor,
    pointwise_kernel: &Tensor,
    options: Conv<2>,
) -> Tensor {
    separable("separable_conv2d", x, depthwise_kernel, pointwise_kernel, options)
}

/// What a window of [`pool2d`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// Its largest cell.
    Max,
    /// The mean of its cells; those of the padding do not count.
    Average,
}

impl Named for PoolMode {
    const KIND: &'static str = "pool_mode";
    const ALL: &'static [(&'static str, Self)] = &[("max", Self::Max), ("avg", Self::Average)];
}

/// Options of [`pool2d`] and [`pool3d`], with Keras's defaults (strides of 1, unlike the layers).
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(28), Some(28), Some(3)], "x");
/// let y = k::pool2d(&x, (2, 2), k::Pool::new().strides(2).pool_mode("avg"));
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(14), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pool<const N: usize> {
    strides: PerAxis<N>,
    padding: Choice<Padding>,
    data_format: Choice<DataFormat>,
    mode: Choice<PoolMode>,
}

impl<const N: usize> Default for Pool<N> {
    fn default() -> Self {
        Self {
            strides: 1.into(),
            padding: Padding::Valid.into(),
            data_format: image_data_format().into(),
            mode: PoolMode::Max.into(),
        }
    }
}

impl<const N: usize> Pool<N> {
    /// Maxima of windows inside the input, at every place.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps of the window; default 1.
    pub fn strides(mut self, strides: impl Into<PerAxis<N>>) -> Self {
        self.strides = strides.into();
        self
    }

    /// `"valid"` (default) or `"same"`.
    pub fn padding(mut self, padding: impl Into<Choice<Padding>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    /// `"max"` (default) or `"avg"`.
    pub fn pool_mode(mut self, mode: impl Into<Choice<PoolMode>>) -> Self {
        self.mode = mode.into();
        self
    }
}

#[track_caller]
fn pooled<const N: usize>(name: &'static str, x: &Tensor, size: PerAxis<N>, options: Pool<N>) -> Tensor {
    composed(name, &[x], move |_, tensors| {
        let [x] = tensors else { return operands(name) };
        let (padding, format) = (options.padding.resolve()?, options.data_format.resolve()?);
        if padding == Padding::Causal {
            return Err(Error::value(name, "padding \"valid\" or \"same\"", "\"causal\""));
        }
        let windows = Windows::checked(name, padding, ("pool_size", size), options.strides, 1.into())?;
        let (x, spatial) = enter::<N>(name, x, &windows, format)?;
        let spec = PoolSpec {
            window: size.0.to_vec(),
            strides: options.strides.0.to_vec(),
            pads: windows.pads(&spatial),
        };
        let y = match options.mode.resolve()? {
            PoolMode::Max => k::max_pool(&x, spec),
            PoolMode::Average => k::avg_pool(&x, spec),
        };
        from_channels_last(&y, format)
    })
}

/// Maxima or means over windows of images `(batch, rows, columns, channels)`; see [`Pool`].
#[track_caller]
pub fn pool2d(x: &Tensor, pool_size: impl Into<PerAxis<2>>, options: Pool<2>) -> Tensor {
    pooled("pool2d", x, pool_size.into(), options)
}

/// Maxima or means over windows of volumes `(batch, depth, rows, columns, channels)`; see [`Pool`].
#[track_caller]
pub fn pool3d(x: &Tensor, pool_size: impl Into<PerAxis<3>>, options: Pool<3>) -> Tensor {
    pooled("pool3d", x, pool_size.into(), options)
}
