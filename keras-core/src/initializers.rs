//! Initializers: the first values of weights, drawn on the host.

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::kinds::kind;
use crate::random::{Stream, stream_id};
use crate::registry::{Config, Registry, finite};

/// Gives a weight its first value.
pub trait Initializer: Send + Sync {
    /// A value of that shape. The same stream gives the same numbers; an initializer with a seed of its own ignores
    /// the stream and gives the same numbers for the same shape at every call.
    ///
    /// # Errors
    /// If the shape or the element type is none that the initializer can fill.
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array>;

    /// Class name and arguments.
    fn config(&self) -> Config;
}

kind!(
    Initializer,
    InitializerRef,
    InitializerSpec,
    REGISTRY,
    to_value = |this: &dyn Initializer| this.config().to_value()
);

macro_rules! made {
    ($read:expr) => {
        |config| {
            let mut reader = config.reader();
            // tf.keras of TensorFlow 1 wrote the element type here; ours is the weight's.
            reader.ignore(&["dtype"]);
            let made = ($read)(&mut reader)?;
            reader.finish()?;
            Ok(InitializerRef::new(made))
        }
    };
}

use crate::registry::Reader;

macro_rules! registry {
    ($($($name:literal)|+ => $read:expr;)*) => {
        static REGISTRY: Registry<InitializerRef> = Registry::new("initializer", &[$($(($name, made!($read))),+),*]);
    };
}

registry! {
    "Zeros" | "zeros" | "zero" => |_: &mut Reader<'_>| Ok::<_, Error>(Zeros);
    "Ones" | "ones" | "one" => |_: &mut Reader<'_>| Ok::<_, Error>(Ones);
    "Constant" | "constant" => |r: &mut Reader<'_>| Ok::<_, Error>(Constant { value: r.float("value", 0.0)? });
    "RandomNormal" | "random_normal" | "normal" => RandomNormal::read;
    "RandomUniform" | "random_uniform" | "uniform" => RandomUniform::read;
    "TruncatedNormal" | "truncated_normal" => TruncatedNormal::read;
    "VarianceScaling" | "variance_scaling" => VarianceScaling::read;
    "Orthogonal" | "orthogonal" => Orthogonal::read;
    // Keras 2.3 saves a GRU or LSTM with an identity under the name of a function of its own, and cannot read it.
    "recurrent_identity" => |_: &mut Reader<'_>| Ok::<_, Error>(Identity::default());
    "Identity" | "identity" => |r: &mut Reader<'_>| Ok::<_, Error>(Identity { gain: r.float("gain", 1.0)? });
    "glorot_uniform" | "GlorotUniform" => |r: &mut Reader<'_>| seeded(glorot_uniform(), r);
    "glorot_normal" | "GlorotNormal" => |r: &mut Reader<'_>| seeded(glorot_normal(), r);
    "he_uniform" | "HeUniform" => |r: &mut Reader<'_>| seeded(he_uniform(), r);
    "he_normal" | "HeNormal" => |r: &mut Reader<'_>| seeded(he_normal(), r);
    "lecun_uniform" | "LecunUniform" => |r: &mut Reader<'_>| seeded(lecun_uniform(), r);
    "lecun_normal" | "LecunNormal" => |r: &mut Reader<'_>| seeded(lecun_normal(), r);
}

fn seeded(made: VarianceScaling, reader: &mut Reader<'_>) -> Result<VarianceScaling> {
    Ok(VarianceScaling { seed: reader.integer_or_none("seed")?, ..made })
}

/// The row of numbers to draw from: the seed's own, or the weight's.
fn source(seed: Option<i64>, stream: &Stream) -> Stream {
    seed.map_or(*stream, |seed| Stream::new(seed as u64, stream_id("initializer", 0, ""), 0))
}

#[derive(Clone, Copy)]
enum Draw {
    Uniform,
    Normal,
    Truncated,
}

/// `scale·z + shift` for numbers z of the distribution.
fn draw(what: Draw, shape: &[usize], dtype: DType, stream: &Stream, scale: f64, shift: f64) -> Result<Array> {
    finite("random initializer", &[("width", scale), ("mean", shift)])?;
    let count = crate::array::element_count(shape);
    match dtype {
        DType::F32 => {
            let mut values = vec![0.0_f32; count];
            match what {
                Draw::Uniform => stream.fill_uniform_f32(0, &mut values),
                Draw::Normal => stream.fill_normal_f32(0, &mut values),
                Draw::Truncated => stream.fill_truncated_normal_f32(0, &mut values),
            }
            let (scale, shift) = (scale as f32, shift as f32);
            values.iter_mut().for_each(|value| *value = *value * scale + shift);
            Array::from_vec(shape, values)
        }
        DType::F64 => {
            let mut values = vec![0.0_f64; count];
            match what {
                Draw::Uniform => stream.fill_uniform_f64(0, &mut values),
                Draw::Normal => stream.fill_normal_f64(0, &mut values),
                Draw::Truncated => stream.fill_truncated_normal_f64(0, &mut values),
            }
            values.iter_mut().for_each(|value| *value = *value * scale + shift);
            Array::from_vec(shape, values)
        }
        other => Err(Error::dtype("random initializer", "float32 or float64", other.name())
            .advice("integer weights can start as zeros, ones or a constant")),
    }
}

/// All 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zeros;

impl Initializer for Zeros {
    fn init(&self, shape: &[usize], dtype: DType, _: &Stream) -> Result<Array> {
        Array::zeros(dtype, shape)
    }
    fn config(&self) -> Config {
        Config::new("Zeros")
    }
}

/// All 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ones;

impl Initializer for Ones {
    fn init(&self, shape: &[usize], dtype: DType, _: &Stream) -> Result<Array> {
        Array::full_of(dtype, shape, 1.0)
    }
    fn config(&self) -> Config {
        Config::new("Ones")
    }
}

/// All the same value; default 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Constant {
    /// The value.
    pub value: f64,
}

impl Constant {
    /// All `value`.
    pub fn new(value: f64) -> Self {
        Self { value }
    }
}

impl Initializer for Constant {
    fn init(&self, shape: &[usize], dtype: DType, _: &Stream) -> Result<Array> {
        finite("Constant", &[("value", self.value)])?;
        Array::full_of(dtype, shape, self.value)
    }
    fn config(&self) -> Config {
        Config::new("Constant").with("value", number(self.value))
    }
}

/// A whole number without a point, as Python writes `Constant(1)`.
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

macro_rules! seeded {
    ($(#[$doc:meta])* $class:ident { $($(#[$field_doc:meta])* $field:ident = $default:literal),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $class {
            $($(#[$field_doc])* pub $field: f64,)*
            /// The seed, instead of the model's.
            pub seed: Option<i64>,
        }

        impl Default for $class {
            fn default() -> Self {
                Self { $($field: $default,)* seed: None }
            }
        }

        impl $class {
            /// With Keras's defaults.
            pub fn new() -> Self {
                Self::default()
            }
            $($(#[$field_doc])*
            pub fn $field(mut self, $field: f64) -> Self {
                self.$field = $field;
                self
            })*
            /// The seed, instead of the model's.
            pub fn seed(mut self, seed: i64) -> Self {
                self.seed = Some(seed);
                self
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self> {
                Ok(Self {
                    $($field: reader.float(stringify!($field), $default)?,)*
                    seed: reader.integer_or_none("seed")?,
                })
            }
            fn to_config(self) -> Config {
                Config::new(stringify!($class))$(.with(stringify!($field), self.$field))*.with("seed", self.seed)
            }
        }
    };
}

seeded! {
    /// Normal numbers.
    RandomNormal {
        /// The mean; default 0.
        mean = 0.0,
        /// The standard deviation; default 0.05.
        stddev = 0.05
    }
}

impl Initializer for RandomNormal {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        draw(Draw::Normal, shape, dtype, &source(self.seed, stream), self.stddev, self.mean)
    }
    fn config(&self) -> Config {
        self.to_config()
    }
}

seeded! {
    /// Numbers uniform in `minval..maxval`.
    RandomUniform {
        /// The lower end; default −0.05.
        minval = -0.05,
        /// The upper end; default 0.05.
        maxval = 0.05
    }
}

impl Initializer for RandomUniform {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        draw(Draw::Uniform, shape, dtype, &source(self.seed, stream), self.maxval - self.minval, self.minval)
    }
    fn config(&self) -> Config {
        self.to_config()
    }
}

seeded! {
    /// Normal numbers within two standard deviations of the mean; others are drawn again.
    TruncatedNormal {
        /// The mean; default 0.
        mean = 0.0,
        /// The standard deviation before truncation; default 0.05.
        stddev = 0.05
    }
}

impl Initializer for TruncatedNormal {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        draw(Draw::Truncated, shape, dtype, &source(self.seed, stream), self.stddev, self.mean)
    }
    fn config(&self) -> Config {
        self.to_config()
    }
}

/// Which number of connections [`VarianceScaling`] divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FanMode {
    /// Inputs per unit.
    #[default]
    FanIn,
    /// Outputs per unit.
    FanOut,
    /// The mean of both.
    FanAvg,
}

/// The distribution of [`VarianceScaling`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ScalingDistribution {
    /// Truncated normal, its standard deviation corrected for the truncation.
    #[default]
    Normal,
    /// Uniform within ±√(3·variance).
    Uniform,
    /// Normal without truncation (tf.keras).
    UntruncatedNormal,
}

/// Numbers whose variance is `scale / fan`, so that signals keep their size from layer to layer.
///
/// `fan` is the number of inputs, of outputs, or their mean: of a matrix (in, out) its lengths; of a kernel
/// (window…, in, out) the same times the size of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VarianceScaling {
    /// The variance times the fan; default 1.
    pub scale: f64,
    /// Which fan; default the inputs.
    pub mode: FanMode,
    /// The distribution; default truncated normal.
    pub distribution: ScalingDistribution,
    /// The seed, instead of the model's.
    pub seed: Option<i64>,
}

impl Default for VarianceScaling {
    fn default() -> Self {
        scaling(1.0, FanMode::FanIn, ScalingDistribution::Normal)
    }
}

fn scaling(scale: f64, mode: FanMode, distribution: ScalingDistribution) -> VarianceScaling {
    VarianceScaling { scale, mode, distribution, seed: None }
}

/// Uniform with variance 2 / (inputs + outputs) (Glorot and Bengio, 2010); Keras's default for kernels.
pub fn glorot_uniform() -> VarianceScaling {
    scaling(1.0, FanMode::FanAvg, ScalingDistribution::Uniform)
}

/// Truncated normal with variance 2 / (inputs + outputs) (Glorot and Bengio, 2010).
pub fn glorot_normal() -> VarianceScaling {
    scaling(1.0, FanMode::FanAvg, ScalingDistribution::Normal)
}

/// Uniform with variance 2 / inputs (He et al., 2015).
pub fn he_uniform() -> VarianceScaling {
    scaling(2.0, FanMode::FanIn, ScalingDistribution::Uniform)
}

/// Truncated normal with variance 2 / inputs (He et al., 2015).
pub fn he_normal() -> VarianceScaling {
    scaling(2.0, FanMode::FanIn, ScalingDistribution::Normal)
}

/// Uniform with variance 1 / inputs (LeCun et al., 1998).
pub fn lecun_uniform() -> VarianceScaling {
    scaling(1.0, FanMode::FanIn, ScalingDistribution::Uniform)
}

/// Truncated normal with variance 1 / inputs (LeCun et al., 1998).
pub fn lecun_normal() -> VarianceScaling {
    scaling(1.0, FanMode::FanIn, ScalingDistribution::Normal)
}

const MODES: [(&str, FanMode); 3] =
    [("fan_in", FanMode::FanIn), ("fan_out", FanMode::FanOut), ("fan_avg", FanMode::FanAvg)];

const DISTRIBUTIONS: [(&str, ScalingDistribution); 4] = [
    ("normal", ScalingDistribution::Normal),
    ("truncated_normal", ScalingDistribution::Normal),
    ("uniform", ScalingDistribution::Uniform),
    ("untruncated_normal", ScalingDistribution::UntruncatedNormal),
];

fn choice<T: Copy>(reader: &mut Reader<'_>, key: &str, default: &str, table: &[(&str, T)]) -> Result<T> {
    let text = reader.text(key, default)?.to_lowercase();
    table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        reader.wrong(key, &format!("one of {}", names.join(", ")))
    })
}

fn name_of<T: Copy + PartialEq>(value: T, table: &[(&'static str, T)]) -> &'static str {
    table.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

impl VarianceScaling {
    /// With Keras's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The variance times the fan; above 0, default 1.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Which fan; default the inputs.
    pub fn mode(mut self, mode: FanMode) -> Self {
        self.mode = mode;
        self
    }

    /// The distribution; default truncated normal.
    pub fn distribution(mut self, distribution: ScalingDistribution) -> Self {
        self.distribution = distribution;
        self
    }

    /// The seed, instead of the model's.
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let made = Self {
            scale: reader.float("scale", 1.0)?,
            mode: choice(reader, "mode", "fan_in", &MODES)?,
            distribution: choice(reader, "distribution", "normal", &DISTRIBUTIONS)?,
            seed: reader.integer_or_none("seed")?,
        };
        if made.scale > 0.0 { Ok(made) } else { Err(reader.wrong("scale", "a number above 0")) }
    }
}

/// The standard deviation of a normal distribution that is cut off at two standard deviations.
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initializer for VarianceScaling {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        if self.scale <= 0.0 || !self.scale.is_finite() {
            return Err(Error::value("VarianceScaling", "a scale above 0", self.scale.to_string()));
        }
        let (inputs, outputs) = fans(shape);
        let fan = match self.mode {
            FanMode::FanIn => inputs,
            FanMode::FanOut => outputs,
            FanMode::FanAvg => f64::midpoint(inputs, outputs),
        };
        let variance = self.scale / fan.max(1.0);
        let stream = source(self.seed, stream);
        match self.distribution {
            ScalingDistribution::Normal => {
                draw(Draw::Truncated, shape, dtype, &stream, variance.sqrt() / TRUNCATED_DEVIATION, 0.0)
            }
            ScalingDistribution::UntruncatedNormal => {
                draw(Draw::Normal, shape, dtype, &stream, variance.sqrt(), 0.0)
            }
            ScalingDistribution::Uniform => {
                let limit = (3.0 * variance).sqrt();
                draw(Draw::Uniform, shape, dtype, &stream, 2.0 * limit, -limit)
            }
        }
    }

    fn config(&self) -> Config {
        Config::new("VarianceScaling")
            .with("scale", self.scale)
            .with("mode", name_of(self.mode, &MODES))
            .with("distribution", name_of(self.distribution, &DISTRIBUTIONS))
            .with("seed", self.seed)
    }
}

/// Inputs and outputs per unit of a weight: (in, out) or (window…, in, out); of other ranks √(number of elements).
pub fn fans(shape: &[usize]) -> (f64, f64) {
    match shape {
        [window @ .., inputs, outputs] if window.len() <= 3 => {
            let cells: f64 = window.iter().map(|&len| len as f64).product();
            (*inputs as f64 * cells, *outputs as f64 * cells)
        }
        _ => {
            let side = (crate::array::element_count(shape) as f64).sqrt();
            (side, side)
        }
    }
}

seeded! {
    /// A random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al., 2013). A kernel of more axes
    /// is one matrix of (product of all but the last, last).
    Orthogonal {
        /// A factor; default 1.
        gain = 1.0
    }
}

impl Initializer for Orthogonal {
    fn init(&self, shape: &[usize], dtype: DType, stream: &Stream) -> Result<Array> {
        finite("Orthogonal", &[("gain", self.gain)])?;
        let Some((&columns, leading)) = shape.split_last().filter(|(_, leading)| !leading.is_empty()) else {
            return Err(Error::shape(
                "Orthogonal initializer",
                "a shape of at least 2 axes",
                format!("{shape:?}"),
            ));
        };
        let rows: usize = leading.iter().product();
        let (count, length) = (rows.min(columns), rows.max(columns));
        let mut vectors = vec![0.0_f64; count * length];
        source(self.seed, stream).fill_normal_f64(0, &mut vectors);
        orthonormalise(&mut vectors, length);
        let mut values = vec![0.0; rows * columns];
        for (i, value) in values.iter_mut().enumerate() {
            let (row, column) = (i / columns, i % columns);
            let at = if rows < columns { row * length + column } else { column * length + row };
            *value = self.gain * vectors.get(at).copied().unwrap_or_default();
        }
        let made = Array::from_vec(shape, values)?;
        if dtype.is_float() {
            Ok(made.cast(dtype))
        } else {
            Err(Error::dtype("Orthogonal initializer", "float32 or float64", dtype.name()))
        }
    }

    fn config(&self) -> Config {
        self.to_config()
    }
}

/// Modified Gram-Schmidt on rows of that length. Normal rows give the uniform distribution over orthonormal sets, as
/// the singular vectors of a normal matrix do.
fn orthonormalise(vectors: &mut [f64], length: usize) {
    if length == 0 {
        return;
    }
    let mut rest = vectors;
    while rest.len() >= length {
        let (first, later) = std::mem::take(&mut rest).split_at_mut(length);
        let norm = dot(first, first).sqrt();
        if norm > 0.0 {
            first.iter_mut().for_each(|x| *x /= norm);
        }
        for row in later.chunks_exact_mut(length) {
            let part = dot(row, first);
            row.iter_mut().zip(first.iter()).for_each(|(x, y)| *x -= part * y);
        }
        rest = later;
    }
}

/// The sum of products in eight interleaved parts: vectorised, and in one order everywhere.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut parts = [0.0_f64; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for (part, (x, y)) in parts.iter_mut().zip(x.iter().zip(y)) {
            *part += x * y;
        }
    }
    parts.iter().sum::<f64>() + tail
}

/// The identity matrix, cut or padded with zeros if it is not square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Identity {
    /// A factor; default 1.
    pub gain: f64,
}

impl Default for Identity {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Initializer for Identity {
    fn init(&self, shape: &[usize], dtype: DType, _: &Stream) -> Result<Array> {
        finite("Identity", &[("gain", self.gain)])?;
        let &[rows, columns] = shape else {
            return Err(Error::shape("Identity initializer", "a shape of 2 axes", format!("{shape:?}")));
        };
        let values: Vec<f64> =
            (0..rows * columns).map(|i| if i / columns == i % columns { self.gain } else { 0.0 }).collect();
        Ok(Array::from_vec(shape, values)?.cast(dtype))
    }

    fn config(&self) -> Config {
        Config::new("Identity").with("gain", self.gain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
