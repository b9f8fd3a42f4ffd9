//! Convolutions that treat channels apart: `DepthwiseConv`, `SeparableConv`.

use super::affine::{Affine, Weighted, bias_verbs, weight_verbs, write_weights};
use super::check::positive;
use super::registry::Read;
use super::windowed::{Frame, Windowed, window_verbs};
use super::{Base, Build, Call, Layer, PerAxis};
use crate::error::Result;
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::RegularizerRef;
use crate::tensor::{Spec, Tensor};

/// Each channel's own filters over steps (tf.keras); see [`DepthwiseConv`].
pub type DepthwiseConv1D = DepthwiseConv<1>;
/// Each channel's own filters over images `(batch, rows, columns, channels)`; see [`DepthwiseConv`].
///
/// ```
/// use keras_core::layers::{DepthwiseConv2D, Input};
/// let x = Input::new([28, 28, 8]).tensor()?;
/// let y = DepthwiseConv2D::new(3).depth_multiplier(2).padding("same").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(28), Some(28), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type DepthwiseConv2D = DepthwiseConv<2>;
/// Each channel's own filters, then a mixture of the channels, over steps; see [`SeparableConv`].
pub type SeparableConv1D = SeparableConv<1>;
/// Each channel's own filters, then a mixture of the channels, over images; see [`SeparableConv`].
///
/// ```
/// use keras_core::layers::{Input, SeparableConv2D};
/// let x = Input::new([28, 28, 8]).tensor()?;
/// let y = SeparableConv2D::new(32, 3).strides(2).padding("same").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(14), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type SeparableConv2D = SeparableConv<2>;

/// What both kinds share: windows, the depthwise kernel, bias and activation.
#[derive(Debug, Clone)]
struct Depthwise<const N: usize> {
    windowed: Windowed<N>,
    multiplier: usize,
    kernel: Weighted,
}

impl<const N: usize> Depthwise<N> {
    fn new(kernel_size: impl Into<PerAxis<N>>) -> Self {
        let (windowed, kernel) = (Windowed::new(kernel_size, 1), Weighted::new("glorot_uniform"));
        Self { windowed, multiplier: 1, kernel }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        // tf.keras writes the arguments of its base class, which these layers never read.
        reader.ignore(&["kernel_initializer", "kernel_regularizer", "kernel_constraint"]);
        Ok(Self {
            windowed: Windowed::read_kernel(reader)?,
            multiplier: reader.count("depth_multiplier", 1)?,
            kernel: Weighted::read(reader, "depthwise", Weighted::new("glorot_uniform"))?,
        })
    }

    fn write(&self, config: Config) -> Config {
        self.windowed.write_kernel(config).with("dilation_rate", self.windowed.dilation_rate.to_value())
    }

    fn build(&self, class: &str, cx: &mut Build, channels: usize) -> Result<()> {
        positive(class, "depth_multiplier", self.multiplier)?;
        let mut kernel = self.windowed.size.0.to_vec();
        kernel.extend([channels, self.multiplier]);
        self.kernel.add(cx, "depthwise_kernel", kernel)
    }
}

/// Every channel by its own filters.
fn each_channel(cx: &Call, frame: &Frame, inputs: &[Tensor]) -> Result<Tensor> {
    let (x, spatial) = frame.enter(inputs)?;
    k::depthwise(&frame.class, &x, &cx.weight("depthwise_kernel")?, &frame.windows, &spatial)
}

/// activation(each channel ⋆ its own `depth_multiplier` filters + bias) over `N` spatial axes.
///
/// Weights: `depthwise_kernel (size…, channels, depth_multiplier)`, `bias (channels · depth_multiplier,)`. Filter `m`
/// of channel `c` gives channel `c · depth_multiplier + m`.
#[derive(Debug, Clone)]
pub struct DepthwiseConv<const N: usize> {
    base: Base,
    depthwise: Depthwise<N>,
    affine: Affine,
}

impl<const N: usize> DepthwiseConv<N> {
    /// Filters of that size, one per channel.
    pub fn new(kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self { base: Base::default(), depthwise: Depthwise::new(kernel_size), affine: Affine::default() }
    }

    fn resolve(&self) -> Result<Frame> {
        let class = format!("DepthwiseConv{N}D");
        self.depthwise.windowed.resolve(class, "kernel_size")?.causal_if(false)
    }
}

/// activation((each channel ⋆ its own filters) · pointwise kernel + bias) over `N` spatial axes (Chollet, 2016).
///
/// Weights: `depthwise_kernel (size…, channels, depth_multiplier)`,
/// `pointwise_kernel (1…, channels · depth_multiplier, filters)`, `bias (filters,)`.
#[derive(Debug, Clone)]
pub struct SeparableConv<const N: usize> {
    base: Base,
    filters: usize,
    depthwise: Depthwise<N>,
    pointwise: Weighted,
    affine: Affine,
}

impl<const N: usize> SeparableConv<N> {
    /// That many filters of that size.
    pub fn new(filters: usize, kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            filters,
            depthwise: Depthwise::new(kernel_size),
            pointwise: Weighted::new("glorot_uniform"),
            affine: Affine::default(),
        }
    }

    fn resolve(&self) -> Result<Frame> {
        let class = format!("SeparableConv{N}D");
        self.depthwise.windowed.resolve(class, "kernel_size")?.causal_if(true)
    }
}

macro_rules! depthwise_verbs {
    ($type:ident) => {
        crate::layer_verbs!([const N: usize] $type<N>);
        window_verbs!([const N: usize] $type<N>, [N], depthwise.windowed, dilated);
        bias_verbs!([const N: usize] $type<N>);
        weight_verbs!([const N: usize] $type<N>, depthwise.kernel, "the depthwise kernel", "glorot_uniform", depthwise_initializer, depthwise_regularizer, depthwise_constraint);

        impl<const N: usize> $type<N> {
            /// The number of filters per channel; default 1.
            pub fn depth_multiplier(mut self, multiplier: usize) -> Self {
                self.depthwise.multiplier = multiplier;
                self
            }
        }
    };
}

depthwise_verbs!(DepthwiseConv);
depthwise_verbs!(SeparableConv);
weight_verbs!([const N: usize] SeparableConv<N>, pointwise, "the pointwise kernel", "glorot_uniform", pointwise_initializer, pointwise_regularizer, pointwise_constraint);

impl<const N: usize> Read for DepthwiseConv<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            depthwise: Depthwise::read(reader)?,
            affine: Affine::read_without_kernel(reader)?,
        })
    }
}

impl<const N: usize> Read for SeparableConv<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            filters: reader.required_count("filters")?,
            depthwise: Depthwise::read(reader)?,
            pointwise: Weighted::read(reader, "pointwise", Weighted::new("glorot_uniform"))?,
            affine: Affine::read_without_kernel(reader)?,
        })
    }
}

impl<const N: usize> Layer for DepthwiseConv<N> {
    fn config(&self) -> Config {
        let config = self.depthwise.write(Config::new(format!("DepthwiseConv{N}D")));
        let config = self.affine.write_without_kernel(config);
        let config = config.with("depth_multiplier", self.depthwise.multiplier);
        write_weights(config, &[("depthwise", &self.depthwise.kernel)])
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let frame = self.resolve()?;
        let (spec, channels) = frame.channels(cx, inputs)?;
        let filters = channels.saturating_mul(self.depthwise.multiplier);
        positive(&frame.class, "depth_multiplier", self.depthwise.multiplier)?;
        self.affine.check(&frame.class, cx, spec, filters)?;
        self.depthwise.build(&frame.class, cx, channels)?;
        self.affine.build_bias(cx, [filters])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let frame = self.resolve()?;
        let channels = frame.image(inputs)?.channels;
        frame.output(inputs, channels.map(|channels| channels.saturating_mul(self.depthwise.multiplier)))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let y = each_channel(cx, &frame, inputs)?;
        self.affine.finish(cx, y, frame.format)
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}

impl<const N: usize> Layer for SeparableConv<N> {
    fn config(&self) -> Config {
        let config = Config::new(format!("SeparableConv{N}D")).with("filters", self.filters);
        let config = self.affine.write_without_kernel(self.depthwise.write(config));
        let config = config.with("depth_multiplier", self.depthwise.multiplier);
        write_weights(config, &[("depthwise", &self.depthwise.kernel), ("pointwise", &self.pointwise)])
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let frame = self.resolve()?;
        let (spec, channels) = frame.channels(cx, inputs)?;
        self.affine.check(&frame.class, cx, spec, self.filters)?;
        self.depthwise.build(&frame.class, cx, channels)?;
        let mut kernel = vec![1; N];
        kernel.extend([channels.saturating_mul(self.depthwise.multiplier), self.filters]);
        self.pointwise.add(cx, "pointwise_kernel", kernel)?;
        self.affine.build_bias(cx, [self.filters])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        self.resolve()?.output(inputs, Some(self.filters))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let y = each_channel(cx, &frame, inputs)?;
        let pointwise = k::reshape(&cx.weight("pointwise_kernel")?, &[-1, self.filters as isize]);
        self.affine.finish(cx, k::dot(&y, &pointwise), frame.format)
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}
