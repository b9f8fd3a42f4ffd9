//! Convolutions.

use super::affine::{Affine, affine_verbs};
use super::check::positive;
use super::registry::Read;
use super::windowed::{Frame, Windowed, window_verbs};
use super::{Base, Build, Call, Layer, PerAxis};
use crate::error::{Error, Result};
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
    windowed: Windowed<N>,
    groups: usize,
    affine: Affine,
}

impl<const N: usize> Conv<N> {
    /// That many filters of that size.
    pub fn new(filters: usize, kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            filters,
            windowed: Windowed::new(kernel_size, 1),
            groups: 1,
            affine: Affine::default(),
        }
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

    fn resolve(&self) -> Result<Frame> {
        self.windowed.resolve(Self::class(), "kernel_size")?.causal_if(true)
    }
}

crate::layer_verbs!([const N: usize] Conv<N>);
window_verbs!([const N: usize] Conv<N>, [N], windowed, dilated);
affine_verbs!([const N: usize] Conv<N>);

impl<const N: usize> Read for Conv<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            filters: reader.required_count("filters")?,
            windowed: Windowed::read_kernel(reader)?,
            groups: reader.count("groups", 1)?,
            affine: Affine::read(reader)?,
        })
    }
}

impl<const N: usize> Layer for Conv<N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class()).with("filters", self.filters);
        let config = self.windowed.write_kernel(config);
        let config = config.with("dilation_rate", self.windowed.dilation_rate.to_value());
        // Keras 2 has no groups, and refuses keys it does not know.
        let config = if self.groups == 1 { config } else { config.with("groups", self.groups) };
        self.affine.write(config)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let frame = self.resolve()?;
        let (spec, channels) = frame.channels(cx, inputs)?;
        positive(&frame.class, "groups", self.groups)?;
        if !channels.is_multiple_of(self.groups) || !self.filters.is_multiple_of(self.groups) {
            let expected = format!("channels and filters in multiples of {} groups", self.groups);
            let received = format!("{channels} channels and {} filters", self.filters);
            return Err(
                Error::value(frame.class, expected, received).advice("choose groups that divide both")
            );
        }
        let mut kernel = self.windowed.size.0.to_vec();
        kernel.extend([channels / self.groups, self.filters]);
        self.affine.build(&frame.class, cx, spec, &kernel)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        self.resolve()?.output(inputs, Some(self.filters))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let (x, spatial) = frame.enter(inputs)?;
        let y = k::conv(&x, &cx.weight("kernel")?, frame.windows.conv(&spatial, self.groups));
        self.affine.finish(cx, y, frame.format)
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}
