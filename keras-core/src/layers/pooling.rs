//! Pooling: the largest or the mean over windows, or over all spatial axes.

use super::check::one;
use super::conv_geometry::{Image, from_channels_last, spatial_axes, to_channels_last};
use super::registry::Read;
use super::windowed::{Frame, Windowed, default_format, window_verbs};
use super::{Base, Call, Choice, Layer, PerAxis};
use crate::config::DataFormat;
use crate::error::Result;
use crate::graph::PoolSpec;
use crate::k;
use crate::registry::{Config, Reader};
use crate::semantics::IntegerInputs;
use crate::tensor::{Spec, Tensor};
use std::marker::PhantomData;

/// What a pooling does with the cells it sees: the largest, or the mean.
pub trait PoolingKind: Send + Sync + 'static {
    /// The start of the class names.
    const NAME: &'static str;
    /// Over windows of `(batch, spatial…, channels)`.
    fn windows(x: &Tensor, spec: PoolSpec) -> Tensor;
    /// Over axes, which disappear or keep length 1.
    fn axes(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor;
}

/// The largest; NaN if one is.
#[derive(Debug, Clone, Copy)]
pub struct Max;

/// The mean; cells of padding do not count.
#[derive(Debug, Clone, Copy)]
pub struct Average;

impl PoolingKind for Max {
    const NAME: &'static str = "Max";
    fn windows(x: &Tensor, spec: PoolSpec) -> Tensor {
        k::max_pool(x, spec)
    }
    fn axes(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
        k::max(x, axes, keepdims)
    }
}

impl PoolingKind for Average {
    const NAME: &'static str = "Average";
    fn windows(x: &Tensor, spec: PoolSpec) -> Tensor {
        k::avg_pool(x, spec)
    }
    fn axes(x: &Tensor, axes: &[isize], keepdims: bool) -> Tensor {
        k::whole_mean(x, axes, keepdims)
    }
}

/// The largest of each window of `(batch, steps, channels)`; see [`Pooling`].
pub type MaxPooling1D = Pooling<Max, 1>;
/// The largest of each window of `(batch, rows, columns, channels)`; see [`Pooling`].
///
/// ```
/// use keras_core::layers::{Input, MaxPooling2D};
/// let x = Input::new([28, 28, 32]).tensor()?;
/// assert_eq!(MaxPooling2D::new(2).call(&x)?.spec()?.shape, [None, Some(14), Some(14), Some(32)]);
/// let overlapping = MaxPooling2D::new(3).strides(2).padding("same").call(&x)?;
/// assert_eq!(overlapping.spec()?.shape, [None, Some(14), Some(14), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type MaxPooling2D = Pooling<Max, 2>;
/// The largest of each window of `(batch, depth, rows, columns, channels)`; see [`Pooling`].
pub type MaxPooling3D = Pooling<Max, 3>;
/// The mean of each window of `(batch, steps, channels)`; see [`Pooling`].
pub type AveragePooling1D = Pooling<Average, 1>;
/// The mean of each window of `(batch, rows, columns, channels)`; see [`Pooling`].
pub type AveragePooling2D = Pooling<Average, 2>;
/// The mean of each window of `(batch, depth, rows, columns, channels)`; see [`Pooling`].
pub type AveragePooling3D = Pooling<Average, 3>;

/// Pooling over windows of `N` spatial axes: `(batch, spatial…, channels)` to the same with shorter spatial axes, or
/// with the channels second for `data_format` `"channels_first"`.
///
/// A window that reaches over the edge (padding `"same"`) counts only the cells inside the input.
#[derive(Debug, Clone)]
pub struct Pooling<K, const N: usize> {
    base: Base,
    windowed: Windowed<N>,
    kind: PhantomData<fn() -> K>,
}

impl<K: PoolingKind, const N: usize> Pooling<K, N> {
    /// Windows of that size, one beside the other.
    pub fn new(pool_size: impl Into<PerAxis<N>>) -> Self {
        let pool_size = pool_size.into();
        Self { base: Base::default(), windowed: Windowed::new(pool_size, pool_size), kind: PhantomData }
    }

    fn class() -> String {
        format!("{}Pooling{N}D", K::NAME)
    }

    fn resolve(&self) -> Result<Frame> {
        self.windowed.resolve(Self::class(), "pool_size")?.causal_if(false)
    }
}

crate::layer_verbs!([K: PoolingKind, const N: usize] Pooling<K, N>);
window_verbs!([K: PoolingKind, const N: usize] Pooling<K, N>, [N], windowed);

impl<K: PoolingKind, const N: usize> Read for Pooling<K, N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let pool_size = PerAxis::read(reader, "pool_size", 2.into())?;
        let windowed = Windowed::read_steps(reader, pool_size, pool_size)?;
        Ok(Self { base, windowed, kind: PhantomData })
    }
}

impl<K: PoolingKind, const N: usize> Layer for Pooling<K, N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class());
        let (size, strides) = (self.windowed.size.to_value(), self.windowed.strides.to_value());
        let padding = self.windowed.padding.to_value();
        // Keras's layers with one spatial axis have an order of their own.
        let config = if N == 1 {
            config.with("strides", strides).with("pool_size", size).with("padding", padding)
        } else {
            config.with("pool_size", size).with("padding", padding).with("strides", strides)
        };
        config.with("data_format", self.windowed.data_format.to_value())
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn casts_integers(&self, rule: IntegerInputs) -> bool {
        rule == IntegerInputs::Promoted && K::NAME == Average::NAME
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let frame = self.resolve()?;
        let channels = frame.image(inputs)?.channels;
        frame.output(inputs, channels)
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let (x, spatial) = frame.enter(inputs)?;
        let spec = PoolSpec {
            window: self.windowed.size.0.to_vec(),
            strides: self.windowed.strides.0.to_vec(),
            pads: frame.windows.pads(&spatial),
        };
        Ok(vec![from_channels_last(&K::windows(&x, spec), frame.format)?])
    }
}

/// The largest step per channel: `(batch, steps, channels)` to `(batch, channels)`; see [`GlobalPooling`].
pub type GlobalMaxPooling1D = GlobalPooling<Max, 1>;
/// The largest cell per channel: `(batch, rows, columns, channels)` to `(batch, channels)`; see [`GlobalPooling`].
pub type GlobalMaxPooling2D = GlobalPooling<Max, 2>;
/// The largest cell per channel: `(batch, depth, rows, columns, channels)` to `(batch, channels)`; see
/// [`GlobalPooling`].
pub type GlobalMaxPooling3D = GlobalPooling<Max, 3>;
/// The mean per channel: `(batch, steps, channels)` to `(batch, channels)`; of a masked input, the mean of the steps
/// that count. See [`GlobalPooling`].
pub type GlobalAveragePooling1D = GlobalPooling<Average, 1>;
/// The mean per channel: `(batch, rows, columns, channels)` to `(batch, channels)`; see [`GlobalPooling`].
///
/// ```
/// use keras_core::layers::{GlobalAveragePooling2D, Input};
/// let x = Input::new([None, None, Some(32)]).tensor()?;
/// assert_eq!(GlobalAveragePooling2D::new().call(&x)?.spec()?.shape, [None, Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type GlobalAveragePooling2D = GlobalPooling<Average, 2>;
/// The mean per channel: `(batch, depth, rows, columns, channels)` to `(batch, channels)`; see [`GlobalPooling`].
pub type GlobalAveragePooling3D = GlobalPooling<Average, 3>;

/// Pooling over all of `N` spatial axes: `(batch, spatial…, channels)` to `(batch, channels)`.
#[derive(Debug, Clone)]
pub struct GlobalPooling<K, const N: usize> {
    base: Base,
    data_format: Choice<DataFormat>,
    keepdims: bool,
    kind: PhantomData<fn() -> K>,
}

impl<K: PoolingKind, const N: usize> GlobalPooling<K, N> {
    /// Pooling over every spatial axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), data_format: default_format(N), keepdims: false, kind: PhantomData }
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    /// Whether the spatial axes stay, with length 1 (tf.keras); default false.
    pub fn keepdims(mut self, keepdims: bool) -> Self {
        self.keepdims = keepdims;
        self
    }

    fn class() -> String {
        format!("Global{}Pooling{N}D", K::NAME)
    }

    /// Keras 2.3 gives the masked mean over steps to this class alone.
    fn masked_mean() -> bool {
        N == 1 && K::NAME == Average::NAME
    }
}

crate::layer_verbs!([K: PoolingKind, const N: usize] GlobalPooling<K, N>);

impl<K: PoolingKind, const N: usize> Read for GlobalPooling<K, N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let data_format = Choice::read(reader, "data_format", default_format(N))?;
        Ok(Self { base, data_format, keepdims: reader.boolean("keepdims", false)?, kind: PhantomData })
    }
}

impl<K: PoolingKind, const N: usize> Layer for GlobalPooling<K, N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class()).with("data_format", self.data_format.to_value());
        // Keras 2 has no such key, and refuses those it does not know.
        if self.keepdims { config.with("keepdims", true) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn casts_integers(&self, rule: IntegerInputs) -> bool {
        rule == IntegerInputs::Promoted && K::NAME == Average::NAME
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let class = Self::class();
        let format = self.data_format.resolve()?;
        let mut image = Image::of(&class, one(&class, inputs)?, format, N)?;
        if !self.keepdims {
            return Ok(Some(vec![Spec::new([image.batch, image.channels], image.dtype)]));
        }
        image.spatial.fill(Some(1));
        Ok(Some(vec![image.spec(format)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let class = Self::class();
        let format = self.data_format.resolve()?;
        let x = one(&class, inputs)?;
        let image = Image::of(&class, &x.spec()?, format, N)?;
        if let (Some(mask), true) = (cx.mask(0), Self::masked_mean()) {
            let counts = k::expand_dims(&k::cast(mask, image.dtype), -1);
            let x = to_channels_last(x, format)?;
            let mean = k::sum(&(x * &counts), &[1], true) / k::sum(&counts, &[1], true);
            return Ok(vec![match (self.keepdims, format) {
                (true, format) => from_channels_last(&mean, format)?,
                (false, _) => k::squeeze(&mean, 1),
            }]);
        }
        let axes: Vec<isize> = spatial_axes(format, N).map(|axis| axis as isize).collect();
        Ok(vec![K::axes(x, &axes, self.keepdims)])
    }

    fn supports_masking(&self) -> bool {
        Self::masked_mean()
    }

    fn compute_mask(&self, _: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None; outputs.len()])
    }
}
