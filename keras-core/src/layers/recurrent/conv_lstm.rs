//! `ConvLSTM2D` and `ConvLSTM2DCell`.

use super::arguments::{Arguments, Has};
use super::kind::{Kind, WithForgetGate, WithFunctions, WithGates};
use super::{Cell, CellLayer, Recurrent};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::graph::ConvSpec;
use crate::k;
use crate::layers::check::{RESHAPE, positive};
use crate::layers::conv_geometry::{Image, Windows, channel_axis, from_channels_last, to_channels_last};
use crate::layers::windowed::default_format;
use crate::layers::{Build, Call, Choice, Padding, PerAxis};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// An LSTM of images (Shi et al., 2015): its products with kernels are convolutions. Input
/// `(batch, time, rows, columns, channels)`, or `(batch, time, channels, rows, columns)` for `"channels_first"`.
///
/// Strides, padding and dilation are those of the input's convolution; that of the state has stride 1 and padding
/// `"same"`. Weights, the gates in the order i, f, c, o: `kernel (rows, columns, channels, 4·filters)`,
/// `recurrent_kernel (rows, columns, filters, 4·filters)`, `bias (4·filters,)`. Two states, h and c, shaped like the
/// result. With dropout each gate has masks of its own.
///
/// ```
/// use keras_core::layers::{ConvLSTM2D, Input};
/// let x = Input::new([10, 40, 40, 1]).tensor()?;
/// let y = ConvLSTM2D::new(8, (3, 3)).padding("same").return_sequences(true).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(40), Some(40), Some(8)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type ConvLSTM2D = Recurrent<ConvLstm>;
/// The cell of [`ConvLSTM2D`]: on `[x, h, c]` it gives `[h, h, c]`.
pub type ConvLSTM2DCell = CellLayer<ConvLstm>;

/// What tells [`ConvLSTM2D`] from other layers.
#[derive(Debug, Clone)]
pub struct ConvLstm {
    filters: usize,
    kernel_size: PerAxis<2>,
    strides: PerAxis<2>,
    padding: Choice<Padding>,
    data_format: Choice<DataFormat>,
    dilation_rate: PerAxis<2>,
    arguments: Arguments,
}

impl ConvLstm {
    fn new(filters: usize, kernel_size: PerAxis<2>) -> Self {
        Self {
            filters,
            kernel_size,
            strides: 1.into(),
            padding: Padding::Valid.into(),
            data_format: default_format(2),
            dilation_rate: 1.into(),
            arguments: Arguments::new("hard_sigmoid"),
        }
    }

    fn resolve(&self, class: &str) -> Result<(Windows, DataFormat)> {
        let (padding, format) = (self.padding.resolve()?, self.data_format.resolve()?);
        if padding == Padding::Causal {
            return Err(Error::value(class, "padding \"valid\" or \"same\"", "\"causal\""));
        }
        let size = ("kernel_size", self.kernel_size);
        Ok((Windows::checked(class, padding, size, self.strides, self.dilation_rate)?, format))
    }
}

macro_rules! window_verbs {
    ($type:ty) => {
        impl $type {
            /// That many filters of that size.
            pub fn new(filters: usize, kernel_size: impl Into<PerAxis<2>>) -> Self {
                Self::of(ConvLstm::new(filters, kernel_size.into()))
            }

            /// The steps of the window over the input; default 1. Not together with a dilation rate above 1.
            pub fn strides(mut self, strides: impl Into<PerAxis<2>>) -> Self {
                self.kind.strides = strides.into();
                self
            }

            /// `"valid"` (default) or `"same"`.
            pub fn padding(mut self, padding: impl Into<Choice<Padding>>) -> Self {
                self.kind.padding = padding.into();
                self
            }

            /// `"channels_last"` or `"channels_first"`; default: that of keras.json.
            pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
                self.kind.data_format = format.into();
                self
            }

            /// The steps between the cells of a window over the input; default 1.
            pub fn dilation_rate(mut self, rate: impl Into<PerAxis<2>>) -> Self {
                self.kind.dilation_rate = rate.into();
                self
            }
        }
    };
}

window_verbs!(ConvLSTM2D);
window_verbs!(ConvLSTM2DCell);

impl Kind for ConvLstm {
    const LAYER: &'static str = "ConvLSTM2D";
    const CELL: &'static str = "ConvLSTM2DCell";
    const UNROLL: bool = false;

    fn has() -> Has {
        Has { functions: true, gates: true, forget: true, implementation: false }
    }

    fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    fn arguments_mut(&mut self) -> &mut Arguments {
        &mut self.arguments
    }

    fn read(reader: &mut Reader<'_>, layer: bool) -> Result<Self> {
        let filters = reader.required_count("filters")?;
        if reader.value("kernel_size").is_none() {
            return Err(reader.wrong("kernel_size", "a whole number or a list of 2"));
        }
        let default = Self::new(filters, PerAxis::read(reader, "kernel_size", 1.into())?);
        Ok(Self {
            strides: PerAxis::read(reader, "strides", default.strides)?,
            padding: Choice::read(reader, "padding", default.padding)?,
            data_format: Choice::read(reader, "data_format", default.data_format)?,
            dilation_rate: PerAxis::read(reader, "dilation_rate", default.dilation_rate)?,
            arguments: default.arguments.read(reader, Self::has(), layer)?,
            ..default
        })
    }

    fn write(&self, config: Config, layer: bool) -> Config {
        let config = config
            .with("filters", self.filters)
            .with("kernel_size", self.kernel_size.to_value())
            .with("strides", self.strides.to_value())
            .with("padding", self.padding.to_value())
            .with("data_format", self.data_format.to_value())
            .with("dilation_rate", self.dilation_rate.to_value());
        self.arguments.write(config, Self::has(), layer)
    }

    fn build(&self, class: &str, cx: &mut Build, step: &Spec) -> Result<()> {
        let (_, format) = self.resolve(class)?;
        positive(class, "filters", self.filters)?;
        let channels = cx.known(class, step, channel_axis(format, 2), "channel axis")?;
        let wide = self.filters.saturating_mul(4);
        let [rows, columns] = self.kernel_size.0;
        let shapes: [&[usize]; 3] =
            [&[rows, columns, channels, wide], &[rows, columns, self.filters, wide], &[wide]];
        self.arguments.build(class, cx, shapes, Some(self.filters..2 * self.filters))
    }

    fn cell(&self, class: &str, step: &Spec) -> Result<Cell> {
        let (windows, format) = self.resolve(class)?;
        if step.rank() != 4 {
            let order = "(batch, time, and the axes of an image); a step of rank 4";
            return Err(Error::shape(
                class,
                format!("an input of rank 5: {order}"),
                format!("a step {step}"),
            )
            .advice(RESHAPE));
        }
        let mut image = Image::of(class, step, format, 2)?;
        image.spatial = windows.output(class, &image.spatial)?;
        image.channels = Some(self.filters);
        let output = image.spec(format).shape.split_off(1);
        Ok(Cell { states: vec![output.clone(), output.clone()], output, constants: false })
    }

    fn step(&self, cx: &mut Call, x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let (windows, format) = self.resolve(Self::CELL)?;
        let [h, c] = states else {
            return Err(Error::value(Self::CELL, "2 states", states.len().to_string()));
        };
        let (input, state, dtype) = (x.shape()?, h.shape()?, x.dtype()?);
        let (input_masks, state_masks) = self.arguments.masks(cx, 4, &input, &state, dtype)?;
        let image = Image::of(Self::CELL, &x.spec()?, format, 2)?;
        let spatial: Vec<usize> = image.spatial.into_iter().flatten().collect();
        let spec = ConvSpec {
            strides: self.strides.0.to_vec(),
            dilations: self.dilation_rate.0.to_vec(),
            pads: windows.pads(&spatial),
            groups: 1,
        };
        let own = Image::of(Self::CELL, &h.spec()?, format, 2)?;
        let spatial: Vec<usize> = own.spatial.into_iter().flatten().collect();
        let same = Windows::new(Padding::Same, &self.kernel_size.0, &[1, 1], &[1, 1]);
        let around =
            ConvSpec { strides: vec![1; 2], dilations: vec![1; 2], pads: same.pads(&spatial), groups: 1 };
        let x = self.convolve(x, &cx.weight("kernel")?, &input_masks, &spec, format)?;
        let x = match cx.weight_if_any("bias")? {
            Some(bias) => k::add(&x, &bias),
            None => x,
        };
        let z = x + self.convolve(h, &cx.weight("recurrent_kernel")?, &state_masks, &around, format)?;
        let gate = |i: usize| {
            from_channels_last(&k::slice_axis(&z, -1, i * self.filters, (i + 1) * self.filters), format)
        };
        let (act, gated) = self.arguments.activations()?;
        let (i, f, o) = (gated.call(&gate(0)?), gated.call(&gate(1)?), gated.call(&gate(3)?));
        let c = f * c + i * act.call(&gate(2)?);
        let h = o * act.call(&c);
        Ok((h.clone(), vec![h, c]))
    }
}

impl ConvLstm {
    /// The convolutions for all gates, each with its mask, channels last.
    fn convolve(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        masks: &[Tensor],
        spec: &ConvSpec,
        format: DataFormat,
    ) -> Result<Tensor> {
        if masks.is_empty() {
            return Ok(k::conv(&to_channels_last(x, format)?, kernel, spec.clone()));
        }
        let mut parts = Vec::with_capacity(masks.len());
        for (gate, mask) in masks.iter().enumerate() {
            let own = k::slice_axis(kernel, -1, gate * self.filters, (gate + 1) * self.filters);
            parts.push(k::conv(&to_channels_last(&(x * mask), format)?, &own, spec.clone()));
        }
        Ok(k::concatenate(&parts.iter().collect::<Vec<_>>(), -1))
    }
}

impl WithFunctions for ConvLstm {}
impl WithGates for ConvLstm {}
impl WithForgetGate for ConvLstm {}
