//! Layers that drop elements in training: `Dropout`, `SpatialDropout`, `AlphaDropout`.

use super::check::{exact_rank, one, same_spec};
use super::registry::Read;
use super::windowed::default_format;
use super::{Base, Build, Call, Choice, Layer, ShapeArgument, read_shape};
use crate::array::DType;
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::graph::Distribution;
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor, shape_text};
use serde_json::json;

/// In training, sets each element to 0 with probability `rate` and multiplies the others by 1/(1 − rate) (Srivastava
/// et al., 2014); otherwise it changes nothing. Any shape to the same shape.
///
/// As in Keras, a rate is clipped to 0..=1, and both 0 and 1 change nothing.
///
/// ```
/// use keras_core::layers::{Dropout, Input};
/// let x = Input::new([10, 32]).tensor()?;
/// // One draw per feature for all ten steps of a sample.
/// let y = Dropout::new(0.5).noise_shape([None, Some(1), None]).seed(7).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dropout {
    base: Base,
    rate: f64,
    noise_shape: Option<Vec<Option<usize>>>,
    seed: Option<i64>,
}

impl Dropout {
    /// The fraction of elements to drop.
    pub fn new(rate: f64) -> Self {
        // NaN stays, and is refused when the layer is built.
        Self { base: Base::default(), rate: rate.clamp(0.0, 1.0), noise_shape: None, seed: None }
    }

    /// The shape of the mask, batch first: 1 where elements share a draw, `None` where the axis has its own length.
    pub fn noise_shape(mut self, shape: impl Into<ShapeArgument>) -> Self {
        self.noise_shape = Some(shape.into().0);
        self
    }

    /// A seed of the layer's own: its draws then do not depend on the layer's name.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }
}

crate::layer_verbs!(Dropout);

impl Read for Dropout {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let mut layer = Self::new(read_rate(reader)?);
        layer.noise_shape = read_noise_shape(reader)?;
        layer.seed = reader.integer_or_none("seed")?;
        layer.base = base;
        Ok(layer)
    }
}

impl Layer for Dropout {
    fn config(&self) -> Config {
        Config::new("Dropout")
            .with("rate", self.rate)
            .with("noise_shape", json!(self.noise_shape))
            .with("seed", json!(self.seed))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, inputs: &[Spec]) -> Result<()> {
        check_rate("Dropout", self.rate)?;
        check_noise("Dropout", self.noise_shape.as_deref(), one("Dropout", inputs)?)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("Dropout", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one("Dropout", inputs)?;
        let shape = mask_shape("Dropout", self.noise_shape.as_deref(), &x.shape()?)?;
        Ok(vec![drop_out(cx, x, self.rate, self.seed, &shape)?])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// In training, sets whole channels to 0 with probability `rate`: every step of `(batch, steps, channels)`.
pub type SpatialDropout1D = SpatialDropout<1>;
/// In training, sets whole channels of images to 0 with probability `rate`; see [`SpatialDropout`].
///
/// ```
/// use keras_core::layers::{Input, SpatialDropout2D};
/// let x = Input::new([8, 8, 16]).tensor()?;
/// assert_eq!(SpatialDropout2D::new(0.3).call(&x)?.spec()?.shape, [None, Some(8), Some(8), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type SpatialDropout2D = SpatialDropout<2>;
/// In training, sets whole channels of volumes to 0 with probability `rate`; see [`SpatialDropout`].
pub type SpatialDropout3D = SpatialDropout<3>;

/// [`Dropout`] with one draw per channel for all of `N` spatial axes (Tompson et al., 2014).
#[derive(Debug, Clone)]
pub struct SpatialDropout<const N: usize> {
    base: Base,
    rate: f64,
    data_format: Choice<DataFormat>,
    seed: Option<i64>,
}

impl<const N: usize> SpatialDropout<N> {
    /// The fraction of channels to drop.
    pub fn new(rate: f64) -> Self {
        Self { base: Base::default(), rate: rate.clamp(0.0, 1.0), data_format: default_format(N), seed: None }
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    /// A seed of the layer's own: its draws then do not depend on the layer's name.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }

    fn class() -> String {
        format!("SpatialDropout{N}D")
    }
}

crate::layer_verbs!([const N: usize] SpatialDropout<N>);

impl<const N: usize> Read for SpatialDropout<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        // Keras writes the key and goes by the channels whatever it holds.
        if reader.value("noise_shape").is_some() {
            return Err(reader.wrong("noise_shape", "null: the draws are one per channel"));
        }
        let layer = Self::new(read_rate(reader)?);
        let data_format = Choice::read(reader, "data_format", layer.data_format)?;
        Ok(Self { base, data_format, seed: reader.integer_or_none("seed")?, rate: layer.rate })
    }
}

impl<const N: usize> Layer for SpatialDropout<N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class())
            .with("rate", self.rate)
            .with("noise_shape", json!(null))
            .with("seed", json!(self.seed));
        // Keras reads the key, although it does not write it.
        let first = self.data_format.resolve() != Ok(DataFormat::ChannelsLast);
        if first { config.with("data_format", self.data_format.to_value()) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        check_rate(&Self::class(), self.rate)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        self.data_format.resolve()?;
        Ok(Some(vec![exact_rank(&Self::class(), inputs, N + 2)?.clone()]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = one(&Self::class(), inputs)?;
        let mut shape = x.shape()?;
        for axis in super::conv_geometry::spatial_axes(self.data_format.resolve()?, N) {
            if let Some(len) = shape.get_mut(axis) {
                *len = 1;
            }
        }
        Ok(vec![drop_out(cx, x, self.rate, self.seed, &shape)?])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// In training, sets each element to the negative saturation value of selu with probability `rate`, then scales and
/// shifts all of them so that mean 0 and variance 1 stay (Klambauer et al., 2017). Any shape to the same shape.
///
/// ```
/// use keras_core::layers::{AlphaDropout, Input};
/// let x = Input::new([64]).tensor()?;
/// assert_eq!(AlphaDropout::new(0.1).call(&x)?.spec()?.shape, [None, Some(64)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AlphaDropout {
    base: Base,
    rate: f64,
    noise_shape: Option<Vec<Option<usize>>>,
    seed: Option<i64>,
}

impl AlphaDropout {
    /// The fraction of elements to drop; one that is not between 0 and 1 changes nothing.
    pub fn new(rate: f64) -> Self {
        Self { base: Base::default(), rate, noise_shape: None, seed: None }
    }

    /// The shape of the mask, batch first: 1 where elements share a draw, `None` where the axis has its own length.
    pub fn noise_shape(mut self, shape: impl Into<ShapeArgument>) -> Self {
        self.noise_shape = Some(shape.into().0);
        self
    }

    /// A seed of the layer's own: its draws then do not depend on the layer's name.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }
}

crate::layer_verbs!(AlphaDropout);

impl Read for AlphaDropout {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            rate: read_rate(reader)?,
            noise_shape: read_noise_shape(reader)?,
            seed: reader.integer_or_none("seed")?,
        })
    }
}

impl Layer for AlphaDropout {
    fn config(&self) -> Config {
        let mut config = Config::new("AlphaDropout").with("rate", self.rate);
        // Keras reads these keys, although it does not write them.
        if let Some(shape) = &self.noise_shape {
            config = config.with("noise_shape", json!(shape));
        }
        if let Some(seed) = self.seed {
            config = config.with("seed", seed);
        }
        config
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, inputs: &[Spec]) -> Result<()> {
        check_rate("AlphaDropout", self.rate)?;
        check_noise("AlphaDropout", self.noise_shape.as_deref(), one("AlphaDropout", inputs)?)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        same_spec("AlphaDropout", inputs)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        // −α·scale of selu: what its negative side tends to.
        const SATURATION: f64 = -1.673_263_242_354_377_2 * 1.050_700_987_355_480_5;
        let x = one("AlphaDropout", inputs)?;
        let shape = mask_shape("AlphaDropout", self.noise_shape.as_deref(), &x.shape()?)?;
        if !cx.training() || self.rate <= 0.0 || self.rate >= 1.0 {
            return Ok(vec![x.clone()]);
        }
        let kept = keep(cx, self.rate, self.seed, &shape, x.dtype()?)?;
        let scale = ((1.0 - self.rate) * (1.0 + self.rate * SATURATION.powi(2))).powf(-0.5);
        let shift = -scale * SATURATION * self.rate;
        Ok(vec![(x * &kept + (1.0 - &kept) * SATURATION) * scale + shift])
    }

    fn supports_masking(&self) -> bool {
        true
    }
}

/// Random numbers of a layer: keyed by its own seed if it has one, else by its name.
pub(super) fn draw(
    cx: &Call,
    seed: Option<i64>,
    shape: &[usize],
    dtype: DType,
    distribution: Distribution,
) -> Result<Tensor> {
    match seed {
        Some(seed) => cx.seeded_random(seed, "mask", shape, dtype, distribution),
        None => cx.random("mask", shape, dtype, distribution),
    }
}

/// 1 with probability 1 − `rate`, else 0.
fn keep(cx: &Call, rate: f64, seed: Option<i64>, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let draw = draw(cx, seed, shape, dtype, Distribution::Uniform)?;
    Ok(k::kept(&draw, rate, dtype))
}

/// Dropout with a mask of that shape; outside training, and for rates of 0 and 1, its input.
pub(super) fn drop_out(
    cx: &Call,
    x: &Tensor,
    rate: f64,
    seed: Option<i64>,
    mask: &[usize],
) -> Result<Tensor> {
    if !cx.training() || rate <= 0.0 || rate >= 1.0 {
        return Ok(x.clone());
    }
    Ok(x * &(keep(cx, rate, seed, mask, x.dtype()?)? * (1.0 / (1.0 - rate))))
}

fn read_rate(reader: &mut Reader<'_>) -> Result<f64> {
    if reader.value("rate").is_none() {
        return Err(reader.wrong("rate", "a number from 0 to 1"));
    }
    reader.float("rate", 0.0)
}

fn check_rate(class: &str, rate: f64) -> Result<()> {
    if rate.is_nan() {
        return Err(Error::value(class, "a rate from 0 to 1", "NaN").advice("say which fraction is dropped"));
    }
    Ok(())
}

fn read_noise_shape(reader: &mut Reader<'_>) -> Result<Option<Vec<Option<usize>>>> {
    let Some(shape) = reader.value("noise_shape") else { return Ok(None) };
    let shape =
        read_shape(shape).ok_or_else(|| reader.wrong("noise_shape", "a list of lengths and nulls"))?;
    Ok(Some(shape))
}

/// Refuses a mask that does not fit; open axes fit whatever it says, and are checked again in every trace.
fn check_noise(class: &str, noise_shape: Option<&[Option<usize>]>, spec: &Spec) -> Result<()> {
    let noise = noise_shape.unwrap_or(&spec.shape);
    let lens: Vec<usize> = spec.shape.iter().zip(noise).map(|(own, len)| own.or(*len).unwrap_or(1)).collect();
    mask_shape(class, noise_shape, &lens).map(|_| ())
}

/// The shape of the mask for an input of that shape.
fn mask_shape(class: &str, noise_shape: Option<&[Option<usize>]>, input: &[usize]) -> Result<Vec<usize>> {
    let Some(noise_shape) = noise_shape else { return Ok(input.to_vec()) };
    let shape: Vec<usize> = noise_shape.iter().zip(input).map(|(len, &own)| len.unwrap_or(own)).collect();
    let fits = noise_shape.len() == input.len()
        && shape.iter().zip(input).all(|(&len, &own)| len == 1 || len == own);
    if !fits {
        let expected = format!("a noise_shape that broadcasts to {input:?}");
        return Err(Error::shape(class, expected, shape_text(noise_shape)).advice(
            "give it the rank of the input, with 1 where axes share a draw and none where they do not",
        ));
    }
    Ok(shape)
}
