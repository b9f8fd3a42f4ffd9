//! Convolutions, and zeros around images.

use super::affine::{Affine, Order, affine_verbs};
use super::check::{known, one, positive};
use super::conv_geometry::{Image, Windows, from_channels_last, spatial_axes, to_channels_last};
use super::pooling::default_format;
use super::registry::Read;
use super::{Base, Build, Call, Choice, Layer, Padding, PerAxis, Sides};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::graph::ConvSpec;
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::RegularizerRef;
use crate::tensor::{Spec, Tensor};

/// A convolution over steps: `(batch, steps, channels)` to `(batch, new steps, filters)`; see [`Conv`]. It alone has
/// the padding `"causal"`.
pub type Conv1D = Conv<1>;
/// A convolution over images: `(batch, rows, columns, channels)` to `(batch, new rows, new columns, filters)`; see
/// [`Conv`].
///
/// ```
/// use keras_core::layers::{Conv2D, Input};
/// let x = Input::new([28, 28, 1]).tensor()?;
/// let y = Conv2D::new(32, (3, 3)).activation("relu").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(26), Some(26), Some(32)]);
/// let halved = Conv2D::new(64, 3).strides(2).padding("same").call(&y)?;
/// assert_eq!(halved.spec()?.shape, [None, Some(13), Some(13), Some(64)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type Conv2D = Conv<2>;
/// A convolution over volumes: `(batch, depth, rows, columns, channels)`; see [`Conv`].
pub type Conv3D = Conv<3>;

/// activation(x ⋆ kernel + bias) over `N` spatial axes; a correlation: the kernel is not flipped.
///
/// Input `(batch, spatial…, channels)`, or `(batch, channels, spatial…)` for `data_format` `"channels_first"`. Weights
/// in either case: `kernel (size…, channels, filters)`, `bias (filters,)`. With padding `"valid"` a length n becomes
/// ⌈(n − (size − 1)·dilation) / stride⌉, with `"same"` and `"causal"` ⌈n / stride⌉.
#[derive(Debug, Clone)]
pub struct Conv<const N: usize> {
    base: Base,
    filters: usize,
    kernel_size: PerAxis<N>,
    strides: PerAxis<N>,
    padding: Choice<Padding>,
    data_format: Choice<DataFormat>,
    dilation_rate: PerAxis<N>,
    groups: usize,
    affine: Affine,
}

impl<const N: usize> Conv<N> {
    /// That many filters of that size.
    pub fn new(filters: usize, kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            filters,
            kernel_size: kernel_size.into(),
            strides: 1.into(),
            padding: Padding::Valid.into(),
            data_format: default_format(N),
            dilation_rate: 1.into(),
            groups: 1,
            affine: Affine::default(),
        }
    }

    /// The steps of the window; default 1. Not together with a dilation rate above 1.
    pub fn strides(mut self, strides: impl Into<PerAxis<N>>) -> Self {
        self.strides = strides.into();
        self
    }

    /// `"valid"` (default), `"same"`, or `"causal"` for one axis.
    pub fn padding(mut self, padding: impl Into<Choice<Padding>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    /// The steps between the cells of a window; default 1.
    pub fn dilation_rate(mut self, rate: impl Into<PerAxis<N>>) -> Self {
        self.dilation_rate = rate.into();
        self
    }

    /// Groups of channels that do not see each other (tf.keras); default 1. The kernel is then
    /// `(size…, channels / groups, filters)`.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    fn class() -> String {
        format!("Conv{N}D")
    }

    fn resolve(&self) -> Result<(Windows, DataFormat)> {
        let class = Self::class();
        let (padding, format) = (self.padding.resolve()?, self.data_format.resolve()?);
        let sizes = self.kernel_size.positive(&class, "kernel_size")?;
        let strides = self.strides.positive(&class, "strides")?;
        let dilations = self.dilation_rate.positive(&class, "dilation_rate")?;
        if strides.0.iter().any(|&n| n > 1) && dilations.0.iter().any(|&n| n > 1) {
            let received = format!("strides {:?} and dilation_rate {:?}", strides.0, dilations.0);
            return Err(Error::value(class, "strides of 1 or a dilation_rate of 1", received));
        }
        if padding == Padding::Causal && (N != 1 || format == DataFormat::ChannelsFirst) {
            let received = format!("\"causal\" for {class} in {format}");
            return Err(Error::value(class, "padding \"valid\" or \"same\"", received)
                .advice("causal padding is for Conv1D in channels_last"));
        }
        Ok((Windows::new(padding, &sizes.0, &strides.0, &dilations.0), format))
    }
}

crate::layer_verbs!([const N: usize] Conv<N>);
affine_verbs!([const N: usize] Conv<N>);

impl<const N: usize> Read for Conv<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let filters = reader.required_count("filters")?;
        if reader.value("kernel_size").is_none() {
            return Err(reader.wrong("kernel_size", &format!("a whole number or a list of {N}")));
        }
        Ok(Self {
            base,
            filters,
            kernel_size: PerAxis::read(reader, "kernel_size", 1.into())?,
            strides: PerAxis::read(reader, "strides", 1.into())?,
            padding: Choice::read(reader, "padding", Padding::Valid.into())?,
            data_format: Choice::read(reader, "data_format", default_format(N))?,
            dilation_rate: PerAxis::read(reader, "dilation_rate", 1.into())?,
            groups: reader.count("groups", 1)?,
            affine: Affine::read(reader)?,
        })
    }
}

impl<const N: usize> Layer for Conv<N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class())
            .with("filters", self.filters)
            .with("kernel_size", self.kernel_size.to_value())
            .with("strides", self.strides.to_value())
            .with("padding", self.padding.to_value())
            .with("data_format", self.data_format.to_value())
            .with("dilation_rate", self.dilation_rate.to_value());
        // Keras 2 has no groups, and refuses keys it does not know.
        let config = if self.groups == 1 { config } else { config.with("groups", self.groups) };
        self.affine.write(config)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let class = Self::class();
        let (_, format) = self.resolve()?;
        let spec = one(&class, inputs)?;
        let channels = known(&class, spec, Image::of(&class, spec, format, N)?.channels, "channel axis")?;
        positive(&class, "groups", self.groups)?;
        if !channels.is_multiple_of(self.groups) || !self.filters.is_multiple_of(self.groups) {
            let received = format!("{channels} channels and {} filters", self.filters);
            return Err(Error::value(
                class,
                format!("channels and filters in multiples of {} groups", self.groups),
                received,
            ));
        }
        let mut kernel = self.kernel_size.0.to_vec();
        kernel.extend([channels / self.groups, self.filters]);
        self.affine.build(&class, cx, spec, &kernel)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let class = Self::class();
        let (windows, format) = self.resolve()?;
        let mut image = Image::of(&class, one(&class, inputs)?, format, N)?;
        image.spatial = windows.output(&class, &image.spatial)?;
        image.channels = Some(self.filters);
        Ok(Some(vec![image.spec(format)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let class = Self::class();
        let (windows, format) = self.resolve()?;
        let x = one(&class, inputs)?;
        let image = Image::of(&class, &x.spec()?, format, N)?;
        windows.output(&class, &image.spatial)?;
        let spatial: Vec<usize> = image.spatial.into_iter().flatten().collect();
        let spec = ConvSpec {
            strides: self.strides.0.to_vec(),
            dilations: self.dilation_rate.0.to_vec(),
            pads: windows.pads(&spatial),
            groups: self.groups,
        };
        let y = k::conv(&to_channels_last(x, format)?, &cx.weight("kernel")?, spec);
        let y = self.affine.add_bias(cx, y)?;
        // Bias and activation before the channels move back: the moves of neighbouring layers then cancel.
        Ok(vec![match self.affine.activation()? {
            (activation, Order::Elementwise) => from_channels_last(&activation.call(&y), format)?,
            (activation, Order::AlongAxis) => activation.call(&from_channels_last(&y, format)?),
        }])
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}

/// Zeros before and after the steps of `(batch, steps, channels)`; see [`ZeroPadding`].
pub type ZeroPadding1D = ZeroPadding<1>;
/// Zeros around images `(batch, rows, columns, channels)`; see [`ZeroPadding`].
///
/// ```
/// use keras_core::layers::{Input, ZeroPadding2D};
/// let x = Input::new([28, 28, 3]).tensor()?;
/// assert_eq!(ZeroPadding2D::new((2, 1)).call(&x)?.spec()?.shape, [None, Some(32), Some(30), Some(3)]);
/// assert_eq!(ZeroPadding2D::new(((0, 1), (2, 3))).call(&x)?.spec()?.shape, [None, Some(29), Some(33), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type ZeroPadding2D = ZeroPadding<2>;
/// Zeros around volumes `(batch, depth, rows, columns, channels)`; see [`ZeroPadding`].
pub type ZeroPadding3D = ZeroPadding<3>;

/// Zeros around `N` spatial axes.
#[derive(Debug, Clone)]
pub struct ZeroPadding<const N: usize> {
    base: Base,
    padding: Sides<N>,
    data_format: Choice<DataFormat>,
}

impl<const N: usize> ZeroPadding<N> {
    /// That many zeros on every side (`1`), per axis (`(2, 1)`), or per side (`((1, 2), (0, 1))`).
    pub fn new(padding: impl Into<Sides<N>>) -> Self {
        Self { base: Base::default(), padding: padding.into(), data_format: default_format(N) }
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    fn class() -> String {
        format!("ZeroPadding{N}D")
    }
}

crate::layer_verbs!([const N: usize] ZeroPadding<N>);

impl<const N: usize> Read for ZeroPadding<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            padding: Sides::read(reader, "padding", 1.into())?,
            data_format: Choice::read(reader, "data_format", default_format(N))?,
        })
    }
}

impl<const N: usize> Layer for ZeroPadding<N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class()).with("padding", self.padding.to_value());
        // Keras's class for one axis has no such key.
        let saved = N > 1 || self.data_format.resolve() == Ok(DataFormat::ChannelsFirst);
        if saved { config.with("data_format", self.data_format.to_value()) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let class = Self::class();
        let format = self.data_format.resolve()?;
        let mut image = Image::of(&class, one(&class, inputs)?, format, N)?;
        for (len, (before, after)) in image.spatial.iter_mut().zip(self.padding.0) {
            *len = len.map(|len| len + before + after);
        }
        Ok(Some(vec![image.spec(format)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one(&Self::class(), inputs)?;
        let mut pads = vec![(0, 0); x.rank()?];
        for (axis, sides) in spatial_axes(self.data_format.resolve()?, N).zip(self.padding.0) {
            if let Some(pad) = pads.get_mut(axis) {
                *pad = sides;
            }
        }
        Ok(vec![k::pad(x, &pads)])
    }
}
