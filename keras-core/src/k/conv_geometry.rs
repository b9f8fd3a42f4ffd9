//! The one place for the arithmetic of windows: padding names, output lengths, where the channels lie.

use super::{Padding, PerAxis};
use crate::array::DType;
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::graph::ConvSpec;
use crate::k;
use crate::tensor::{Spec, Tensor};

/// A window along one spatial axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
}

impl Window {
    /// The cells from its first to its last.
    pub(crate) fn reach(self) -> usize {
        // Beyond all counts is longer than any axis.
        (self.size - 1).saturating_mul(self.dilation).saturating_add(1)
    }

    /// How many results an axis of `len` cells gives.
    fn output(self, padding: Padding, len: usize) -> usize {
        match padding {
            Padding::Valid => len.saturating_add(1).saturating_sub(self.reach()).div_ceil(self.stride),
            Padding::Same | Padding::Causal => len.div_ceil(self.stride),
        }
    }

    /// The cells of padding before and after an axis of `len` cells. What `same` needs depends on the length, as in
    /// TensorFlow: the odd cell goes to the end.
    fn pads(self, padding: Padding, len: usize) -> (usize, usize) {
        match padding {
            Padding::Valid => (0, 0),
            Padding::Causal => (self.reach() - 1, 0),
            Padding::Same => {
                let last = self.output(padding, len).saturating_sub(1) * self.stride;
                let total = last.saturating_add(self.reach()).saturating_sub(len);
                (total / 2, total - total / 2)
            }
        }
    }
}

impl Window {
    /// The length that a transposed convolution gives an axis of `len` cells; `extra` is Keras's `output_padding`. None
    /// if the convolution would not give `len` back.
    pub(crate) fn transposed(self, padding: Padding, len: usize, extra: Option<usize>) -> Option<usize> {
        let reach = self.reach();
        let made = match (extra, padding) {
            (None, Padding::Valid) => {
                len.checked_mul(self.stride)?.checked_add(reach.saturating_sub(self.stride))?
            }
            (None, _) => len.checked_mul(self.stride)?,
            (Some(extra), padding) => {
                let pad = if padding == Padding::Valid { 0 } else { reach / 2 };
                let last = len.saturating_sub(1).checked_mul(self.stride)?;
                last.checked_add(reach)?.checked_add(extra)?.checked_sub(2 * pad)?
            }
        };
        (self.output(padding, made) == len).then_some(made)
    }
}

/// What to do about an input of the wrong number of axes.
pub(crate) const RESHAPE: &str =
    "give the Input another shape, reshape in front of the layer, or take its sister for that rank";

/// Windows over all spatial axes of an image.
pub(crate) struct Windows {
    pub(crate) windows: Vec<Window>,
    pub(crate) padding: Padding,
}

impl Windows {
    /// Windows of those sizes, strides and dilations (at least 1 each), one per spatial axis.
    pub(crate) fn new(padding: Padding, sizes: &[usize], strides: &[usize], dilations: &[usize]) -> Self {
        let windows = sizes.iter().zip(strides).zip(dilations);
        let windows = windows.map(|((&size, &stride), &dilation)| Window { size, stride, dilation });
        Self { windows: windows.collect(), padding }
    }

    /// Windows as users give them: every number is at least 1, and not both strides and dilations are above 1. `name` is
    /// what messages call the window's size.
    pub(crate) fn checked<const N: usize>(
        class: &str,
        padding: Padding,
        (name, sizes): (&str, PerAxis<N>),
        strides: PerAxis<N>,
        dilations: PerAxis<N>,
    ) -> Result<Self> {
        let sizes = sizes.positive(class, name)?;
        let strides = strides.positive(class, "strides")?;
        let dilations = dilations.positive(class, "dilation_rate")?;
        if strides.0.iter().any(|&n| n > 1) && dilations.0.iter().any(|&n| n > 1) {
            let received = format!("strides {:?} and dilation_rate {:?}", strides.0, dilations.0);
            return Err(Error::value(class, "strides of 1 or a dilation_rate of 1", received)
                .advice("leave one of the two out"));
        }
        Ok(Self::new(padding, &sizes.0, &strides.0, &dilations.0))
    }

    /// The lengths of the result; an error where no window fits.
    pub(crate) fn output(&self, class: &str, spatial: &[Option<usize>]) -> Result<Vec<Option<usize>>> {
        let lens = self
            .windows
            .iter()
            .zip(spatial)
            .map(|(window, len)| len.map(|len| window.output(self.padding, len)));
        let lens: Vec<Option<usize>> = lens.collect();
        if lens.contains(&Some(0)) && !spatial.contains(&Some(0)) {
            let reach: Vec<usize> = self.windows.iter().map(|window| window.reach()).collect();
            return Err(Error::shape(
                class,
                format!("spatial axes of at least {reach:?}"),
                crate::tensor::shape_text(spatial),
            )
            .advice("use padding \"same\", a smaller window or a larger input"));
        }
        Ok(lens)
    }

    /// The convolution of those windows over axes of those lengths.
    pub(crate) fn conv(&self, spatial: &[usize], groups: usize) -> ConvSpec {
        ConvSpec {
            strides: self.windows.iter().map(|window| window.stride).collect(),
            dilations: self.windows.iter().map(|window| window.dilation).collect(),
            pads: self.pads(spatial),
            groups,
        }
    }

    /// Explicit pads for axes of those lengths.
    pub(crate) fn pads(&self, spatial: &[usize]) -> Vec<(usize, usize)> {
        self.windows.iter().zip(spatial).map(|(window, &len)| window.pads(self.padding, len)).collect()
    }
}

/// The axes of `(batch, spatial…, channels)` or `(batch, channels, spatial…)` by their meaning.
pub(crate) struct Image {
    pub(crate) batch: Option<usize>,
    pub(crate) spatial: Vec<Option<usize>>,
    pub(crate) channels: Option<usize>,
    pub(crate) dtype: DType,
}

impl Image {
    /// Reads a spec with `axes` spatial axes.
    pub(crate) fn of(class: &str, spec: &Spec, format: DataFormat, axes: usize) -> Result<Self> {
        let wrong = || {
            let order = match format {
                DataFormat::ChannelsLast => "(batch, spatial.., channels)",
                DataFormat::ChannelsFirst => "(batch, channels, spatial..)",
            };
            Error::shape(class, format!("an input of rank {}: {order}", axes + 2), spec.to_string())
                .advice(RESHAPE)
        };
        if spec.rank() != axes + 2 {
            return Err(wrong());
        }
        let (batch, rest) = spec.shape.split_first().ok_or_else(wrong)?;
        let (channels, spatial) = match format {
            DataFormat::ChannelsLast => rest.split_last(),
            DataFormat::ChannelsFirst => rest.split_first(),
        }
        .ok_or_else(wrong)?;
        Ok(Self { batch: *batch, spatial: spatial.to_vec(), channels: *channels, dtype: spec.dtype })
    }

    /// The spec in that format.
    pub(crate) fn spec(self, format: DataFormat) -> Spec {
        let mut shape = vec![self.batch];
        match format {
            DataFormat::ChannelsLast => {
                shape.extend(self.spatial);
                shape.push(self.channels);
            }
            DataFormat::ChannelsFirst => {
                shape.push(self.channels);
                shape.extend(self.spatial);
            }
        }
        Spec::new(shape, self.dtype)
    }
}

/// The spatial axes of a tensor with `axes` of them.
pub(crate) fn spatial_axes(format: DataFormat, axes: usize) -> std::ops::Range<usize> {
    match format {
        DataFormat::ChannelsLast => 1..axes + 1,
        DataFormat::ChannelsFirst => 2..axes + 2,
    }
}

/// The channels' axis of a tensor with `axes` spatial ones, counted from the end.
pub(crate) fn channel_axis(format: DataFormat, axes: usize) -> isize {
    match format {
        DataFormat::ChannelsLast => -1,
        DataFormat::ChannelsFirst => -1 - axes as isize,
    }
}

/// A tensor with its channels moved to the end.
pub(crate) fn to_channels_last(x: &Tensor, format: DataFormat) -> Result<Tensor> {
    let rank = x.rank()?;
    if format == DataFormat::ChannelsLast || rank < 3 {
        return Ok(x.clone());
    }
    let order: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
    Ok(k::permute_dimensions(x, &order))
}

/// A tensor with its channels moved from the end to where the format has them.
pub(crate) fn from_channels_last(x: &Tensor, format: DataFormat) -> Result<Tensor> {
    let rank = x.rank()?;
    if format == DataFormat::ChannelsLast || rank < 3 {
        return Ok(x.clone());
    }
    let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(k::permute_dimensions(x, &order))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// The definition: window i covers the padded cells i·stride + j·dilation; `same` and `causal` have as many
    /// windows as there are multiples of the stride below the length.
    #[test]
    fn the_last_window_fits_and_the_next_would_not() {
        for len in 1..9 {
            for size in 1..6 {
                for stride in 1..4 {
                    for dilation in 1..3 {
                        let window = Window { size, stride, dilation };
                        for padding in [Padding::Valid, Padding::Same, Padding::Causal] {
                            let count = window.output(padding, len);
                            let (before, after) = window.pads(padding, len);
                            let padded = before + len + after;
                            let fitting = (0..padded).filter(|start| start + (size - 1) * dilation < padded);
                            let starts = fitting.filter(|start| start % stride == 0).count();
                            match padding {
                                Padding::Valid => assert_eq!(count, starts),
                                // Where the window is shorter than its stride, cells at the end may be left over.
                                Padding::Same => {
                                    assert!(starts >= count && after >= before && after <= before + 1);
                                }
                                Padding::Causal => assert_eq!((count, after), (starts, 0)),
                            }
                            if padding != Padding::Valid {
                                assert_eq!(count, (0..len).filter(|start| start % stride == 0).count());
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn same_pads_as_tensorflow_does() {
        // n = 6, k = 3, s = 2 on ones gives [6, 12, 11]: nothing before, one cell after.
        let window = Window { size: 3, stride: 2, dilation: 1 };
        assert_eq!(window.pads(Padding::Same, 6), (0, 1));
        assert_eq!(window.pads(Padding::Same, 7), (1, 1));
    }

    #[test]
    fn an_image_keeps_its_axes_in_either_format() {
        let spec = Spec::new([None, Some(3), Some(5), Some(7)], DType::F32);
        for (format, channels, spatial) in
            [(DataFormat::ChannelsLast, 7, [3, 5]), (DataFormat::ChannelsFirst, 3, [5, 7])]
        {
            let image = Image::of("Conv2D", &spec, format, 2).unwrap();
            assert_eq!(
                (image.channels, image.spatial.as_slice()),
                (Some(channels), spatial.map(Some).as_slice())
            );
            assert_eq!(image.spec(format), spec);
        }
        assert!(Image::of("Conv1D", &spec, DataFormat::ChannelsLast, 1).is_err());
    }
}
