//! [`Windowed`]: the arguments of layers that move windows over spatial axes, and what all of them do with those.

use super::check::one;
use super::conv_geometry::{Image, Windows, channel_axis, to_channels_last};
use super::{Build, Choice, Padding, PerAxis};
use crate::config::{DataFormat, image_data_format};
use crate::error::{Error, Result};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// Size, strides, padding, data format and dilation of windows over `N` spatial axes.
#[derive(Debug, Clone)]
pub(crate) struct Windowed<const N: usize> {
    pub(crate) size: PerAxis<N>,
    pub(crate) strides: PerAxis<N>,
    pub(crate) padding: Choice<Padding>,
    pub(crate) data_format: Choice<DataFormat>,
    pub(crate) dilation_rate: PerAxis<N>,
}

/// The data format of a layer that names none: Keras's layers with one spatial axis do not read keras.json.
pub(super) fn default_format(axes: usize) -> Choice<DataFormat> {
    if axes == 1 { DataFormat::ChannelsLast.into() } else { image_data_format().into() }
}

impl<const N: usize> Windowed<N> {
    pub(crate) fn new(size: impl Into<PerAxis<N>>, strides: impl Into<PerAxis<N>>) -> Self {
        Self {
            size: size.into(),
            strides: strides.into(),
            padding: Padding::Valid.into(),
            data_format: default_format(N),
            dilation_rate: 1.into(),
        }
    }

    /// Reads the arguments of a convolution; `kernel_size` has no default.
    pub(crate) fn read_kernel(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.value("kernel_size").is_none() {
            return Err(reader.wrong("kernel_size", &format!("a whole number or a list of {N}")));
        }
        let size = PerAxis::read(reader, "kernel_size", 1.into())?;
        let dilation_rate = PerAxis::read(reader, "dilation_rate", 1.into())?;
        Ok(Self { dilation_rate, ..Self::read_steps(reader, size, 1.into())? })
    }

    /// Reads strides, padding and data format.
    pub(crate) fn read_steps(reader: &mut Reader<'_>, size: PerAxis<N>, strides: PerAxis<N>) -> Result<Self> {
        let default = Self::new(size, strides);
        Ok(Self {
            strides: PerAxis::read(reader, "strides", strides)?,
            padding: Choice::read(reader, "padding", default.padding)?,
            data_format: Choice::read(reader, "data_format", default.data_format)?,
            ..default
        })
    }

    /// Adds the arguments of a convolution in Keras's order, without the dilation.
    pub(crate) fn write_kernel(&self, config: Config) -> Config {
        config
            .with("kernel_size", self.size.to_value())
            .with("strides", self.strides.to_value())
            .with("padding", self.padding.to_value())
            .with("data_format", self.data_format.to_value())
    }

    /// Looks the names up and refuses what does not go together; `size` is what messages call the window's size.
    pub(crate) fn resolve(&self, class: String, size: &str) -> Result<Frame> {
        let (padding, format) = (self.padding.resolve()?, self.data_format.resolve()?);
        let windows = Windows::checked(&class, padding, (size, self.size), self.strides, self.dilation_rate)?;
        Ok(Frame { class, windows, format })
    }
}

/// [`Windowed`] with its names looked up.
pub(crate) struct Frame {
    pub(crate) class: String,
    pub(crate) windows: Windows,
    pub(crate) format: DataFormat,
}

impl Frame {
    /// Refuses causal padding, except for a layer of one axis in `channels_last` that `allows` it.
    pub(crate) fn causal_if(self, allows: bool) -> Result<Self> {
        let fits = allows && self.axes() == 1 && self.format == DataFormat::ChannelsLast;
        if self.windows.padding != Padding::Causal || fits {
            return Ok(self);
        }
        let received = format!("\"causal\" for {} in {}", self.class, self.format);
        Err(Error::value(self.class, "padding \"valid\" or \"same\"", received)
            .advice("causal padding is for convolutions over one axis in channels_last"))
    }

    fn axes(&self) -> usize {
        self.windows.windows.len()
    }

    /// The one input's axes by their meaning.
    pub(crate) fn image(&self, inputs: &[Spec]) -> Result<Image> {
        Image::of(&self.class, one(&self.class, inputs)?, self.format, self.axes())
    }

    /// The one input and its channels, which weights depend on.
    pub(crate) fn channels<'a>(&self, cx: &mut Build, inputs: &'a [Spec]) -> Result<(&'a Spec, usize)> {
        let spec = one(&self.class, inputs)?;
        self.image(inputs)?;
        let axis = channel_axis(self.format, self.axes());
        Ok((spec, cx.known(&self.class, spec, axis, "channel axis")?))
    }

    /// The spec of the result, with that many channels.
    pub(crate) fn output(&self, inputs: &[Spec], channels: Option<usize>) -> Result<Option<Vec<Spec>>> {
        let mut image = self.image(inputs)?;
        image.spatial = self.windows.output(&self.class, &image.spatial)?;
        image.channels = channels;
        Ok(Some(vec![image.spec(self.format)]))
    }

    /// The one input with its channels last, and its spatial lengths.
    pub(crate) fn enter(&self, inputs: &[Tensor]) -> Result<(Tensor, Vec<usize>)> {
        let x = one(&self.class, inputs)?;
        let image = Image::of(&self.class, &x.spec()?, self.format, self.axes())?;
        self.windows.output(&self.class, &image.spatial)?;
        Ok((to_channels_last(x, self.format)?, image.spatial.into_iter().flatten().collect()))
    }
}

/// The setters of a [`Windowed`]: `window_verbs!([const N: usize] Conv<N>, [N], windowed, dilated)`.
macro_rules! window_verbs {
    ([$($generics:tt)*] $type:ty, [$($axes:tt)*], $($field:ident).+) => {
        impl<$($generics)*> $type {
            /// The steps of the window; default 1 for convolutions, the window's size for pooling. Not together with
            /// a dilation rate above 1.
            pub fn strides(mut self, strides: impl Into<$crate::layers::PerAxis<$($axes)*>>) -> Self {
                self.$($field).+.strides = strides.into();
                self
            }
            /// `"valid"` (default), `"same"`, or `"causal"` for convolutions over one axis.
            pub fn padding(mut self, padding: impl Into<$crate::layers::Choice<$crate::layers::Padding>>) -> Self {
                self.$($field).+.padding = padding.into();
                self
            }
            /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one
            /// axis.
            pub fn data_format(mut self, format: impl Into<$crate::layers::Choice<$crate::config::DataFormat>>) -> Self {
                self.$($field).+.data_format = format.into();
                self
            }
        }
    };
    ([$($generics:tt)*] $type:ty, [$($axes:tt)*], $($field:ident).+, dilated) => {
        $crate::layers::windowed::window_verbs!([$($generics)*] $type, [$($axes)*], $($field).+);
        impl<$($generics)*> $type {
            /// The steps between the cells of a window; default 1.
            pub fn dilation_rate(mut self, rate: impl Into<$crate::layers::PerAxis<$($axes)*>>) -> Self {
                self.$($field).+.dilation_rate = rate.into();
                self
            }
        }
    };
}
pub(crate) use window_verbs;
