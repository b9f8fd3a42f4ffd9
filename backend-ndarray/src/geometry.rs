//! Windows over one to three spatial axes, brought to three: missing axes in front have length 1.

use keras_core::graph::{ConvSpec, PoolSpec};

/// One spatial axis of a window operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Positions of the input.
    pub(crate) input: usize,
    /// Positions of the result.
    pub(crate) output: usize,
    /// Taps of the window.
    pub(crate) window: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// Padding before the first position.
    pub(crate) before: usize,
}

impl Axis {
    /// The only position of an axis that is not there.
    const ABSENT: Self = Self { input: 1, output: 1, window: 1, stride: 1, dilation: 1, before: 0 };

    fn new(
        input: usize,
        window: usize,
        stride: usize,
        dilation: usize,
        (before, after): (usize, usize),
    ) -> Self {
        let room = (before + input + after).saturating_sub((window.max(1) - 1) * dilation + 1);
        Self { input, output: room / stride + 1, window, stride, dilation, before }
    }

    /// The taps of the window at `output` that lie inside the input.
    pub(crate) fn taps(&self, output: usize) -> std::ops::Range<usize> {
        let start = output * self.stride;
        let first = self.before.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.before + self.input).saturating_sub(start).div_ceil(self.dilation);
        first..end.clamp(first, self.window.max(first))
    }

    /// The input position of a tap that lies inside.
    pub(crate) fn position(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap * self.dilation - self.before
    }
}

/// Three axes, batch and channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) batch: usize,
    pub(crate) axes: [Axis; 3],
    pub(crate) channels: usize,
}

impl Windows {
    fn new(spatial: usize, axis: impl Fn(usize) -> Axis, batch: usize, channels: usize) -> Self {
        let mut axes = [Axis::ABSENT; 3];
        for (i, slot) in axes.iter_mut().rev().take(spatial).rev().enumerate() {
            *slot = axis(i);
        }
        Self { batch, axes, channels }
    }

    /// A pooling of an input of `batch`, spatial lengths `input` and `channels`.
    pub(crate) fn of_pool(spec: &PoolSpec, batch: usize, input: &[usize], channels: usize) -> Self {
        let axis = |i: usize| Axis::new(input[i], spec.window[i], spec.strides[i], 1, spec.pads[i]);
        Self::new(input.len(), axis, batch, channels)
    }

    /// A convolution with a kernel of spatial lengths `window`.
    pub(crate) fn of_conv(
        spec: &ConvSpec,
        batch: usize,
        input: &[usize],
        channels: usize,
        window: &[usize],
    ) -> Self {
        let axis =
            |i: usize| Axis::new(input[i], window[i], spec.strides[i], spec.dilations[i], spec.pads[i]);
        Self::new(input.len(), axis, batch, channels)
    }

    /// Spatial positions of the input of one sample.
    pub(crate) fn input_len(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    /// Spatial positions of the result of one sample.
    pub(crate) fn output_len(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    /// Taps of the window.
    pub(crate) fn window_len(&self) -> usize {
        self.axes.iter().map(|axis| axis.window).product()
    }

    /// The shape of the result, whose spatial axes are the last `spatial`.
    pub(crate) fn output_shape(&self, spatial: usize, channels: usize) -> Vec<usize> {
        let mut shape = vec![self.batch];
        shape.extend(self.axes[3 - spatial..].iter().map(|axis| axis.output));
        shape.push(channels);
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_those_inside() {
        for (input, window, stride, dilation, pads) in [
            (5, 3, 1, 1, (1, 1)),
            (7, 2, 3, 2, (0, 2)),
            (1, 5, 2, 1, (2, 2)),
            (4, 3, 1, 3, (4, 4)),
            (9, 1, 4, 1, (0, 0)),
        ] {
            let axis = Axis::new(input, window, stride, dilation, pads);
            for output in 0..axis.output {
                let inside: Vec<usize> = (0..window)
                    .filter(|tap| {
                        let at = output * stride + tap * dilation;
                        at >= pads.0 && at < pads.0 + input
                    })
                    .collect();
                assert_eq!(axis.taps(output).collect::<Vec<_>>(), inside, "{axis:?} at {output}");
                assert!(inside.iter().all(|&tap| axis.position(output, tap) < input));
            }
        }
    }

    #[test]
    fn missing_axes_come_first() {
        let spec = ConvSpec { strides: vec![2], dilations: vec![1], pads: vec![(1, 0)], groups: 1 };
        let windows = Windows::of_conv(&spec, 4, &[10], 3, &[3]);
        assert_eq!(windows.axes[..2], [Axis::ABSENT; 2]);
        assert_eq!((windows.output_len(), windows.output_shape(1, 8)), (5, vec![4, 5, 8]));
    }
}
