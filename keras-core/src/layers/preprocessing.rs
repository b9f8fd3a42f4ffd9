//! Preprocessing inside a model (tf.keras): `Rescaling`, `Normalization`.

use super::check::{known, one};
use super::registry::Read;
use super::{Base, Build, Call, Layer, LayerRef, options::one_or_list};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::initializers::{InitializerRef, Ones, Zeros};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use serde_json::{Value, json};

/// Numbers of a config: one, or nested lists of them (flattened).
fn read_numbers(reader: &mut Reader<'_>, key: &str) -> Result<Option<Vec<f64>>> {
    fn flatten(value: &Value, into: &mut Vec<f64>) -> Option<()> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| flatten(item, into)),
            value => {
                into.push(value.as_f64().filter(|x| x.is_finite())?);
                Some(())
            }
        }
    }
    let Some(value) = reader.value(key) else { return Ok(None) };
    let mut numbers = Vec::new();
    flatten(value, &mut numbers).ok_or_else(|| reader.wrong(key, "a finite number or a list of them"))?;
    Ok(Some(numbers))
}

fn write_numbers(numbers: &[f64]) -> Value {
    match numbers {
        [one] => json!(one),
        several => json!(several),
    }
}

/// The spec in a layer's own element type: pixels may be integers.
fn floating(base: &Base, spec: &Spec) -> Spec {
    Spec::new(spec.shape.clone(), base.dtype.unwrap_or_else(k::floatx))
}

/// x·`scale` + `offset`: any shape to the same shape; integers become the layer's float type.
///
/// ```
/// use keras_core::layers::{Input, Rescaling};
/// use keras_core::DType;
/// let pixels = Input::new([28, 28, 1]).dtype(DType::U8).tensor()?;
/// let x = Rescaling::new(1.0 / 127.5).offset(-1.0).call(&pixels)?;
/// assert_eq!(x.spec()?.dtype, DType::F32);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rescaling {
    base: Base,
    scale: Vec<f64>,
    offset: Vec<f64>,
}

impl Rescaling {
    /// Multiplication by that number.
    pub fn new(scale: f64) -> Self {
        Self { base: Base::default(), scale: vec![scale], offset: vec![0.0] }
    }

    /// What is added; default 0.
    pub fn offset(mut self, offset: f64) -> Self {
        self.offset = vec![offset];
        self
    }
}

crate::layer_verbs!(Rescaling);

impl Read for Rescaling {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let scale = read_numbers(reader, "scale")?.ok_or_else(|| reader.wrong("scale", "a number"))?;
        Ok(Self { base, scale, offset: read_numbers(reader, "offset")?.unwrap_or_else(|| vec![0.0]) })
    }
}

impl Layer for Rescaling {
    fn config(&self) -> Config {
        Config::new("Rescaling")
            .with("scale", write_numbers(&self.scale))
            .with("offset", write_numbers(&self.offset))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = one("Rescaling", inputs)?;
        for numbers in [&self.scale, &self.offset] {
            let last = spec.shape.last().copied().flatten();
            if numbers.len() != 1 && last.is_some_and(|last| last != numbers.len()) {
                let expected = format!("a last axis of {}, as scale and offset have", numbers.len());
                return Err(Error::shape("Rescaling", expected, spec.to_string()));
            }
        }
        Ok(Some(vec![floating(&self.base, spec)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let dtype = cx.layer().dtype();
        let x = k::cast(one("Rescaling", inputs)?, dtype);
        let row = |numbers: &[f64]| -> Result<Tensor> {
            let shape: &[usize] = if numbers.len() == 1 { &[] } else { &[numbers.len()] };
            let numbers: Vec<f64> = numbers.iter().map(|&number| k::single(number)).collect();
            Ok(Tensor::constant(Array::from_vec(shape, numbers)?.cast(dtype)))
        };
        Ok(vec![x * row(&self.scale)? + row(&self.offset)?])
    }
}

/// (x − mean)/√variance along axes of the input: any shape to the same shape.
///
/// Mean and variance are given, or learnt from data by [`LayerRef::adapt`]; they are then weights that training leaves
/// alone: `mean` and `variance` (the axes' lengths), `count` (int64).
///
/// ```
/// use keras_core::layers::{Input, LayerRef, Normalization};
/// use keras_core::Array;
/// let layer = LayerRef::new(Normalization::new())?;
/// layer.adapt(&Array::from([[1.0_f32, 10.0], [3.0, 30.0]]))?;
/// assert_eq!(layer.get_weights()?[0].to_vec::<f64>(), [2.0, 20.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Normalization {
    base: Base,
    axes: Vec<isize>,
    given: Option<(Vec<f64>, Vec<f64>)>,
    invert: bool,
}

impl Normalization {
    /// Statistics per position of the last axis, learnt from data.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), axes: vec![-1], given: None, invert: false }
    }

    /// The axes that keep their own statistics; none: one mean and one variance for everything. Default −1.
    pub fn axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.axes = axes.into();
        self
    }

    /// Mean and variance that are known: one number each, or one per position of the axes.
    pub fn statistics(mut self, mean: impl Into<Vec<f64>>, variance: impl Into<Vec<f64>>) -> Self {
        self.given = Some((mean.into(), variance.into()));
        self
    }

    /// Whether it undoes the normalisation instead: x·√variance + mean. Default false.
    pub fn invert(mut self, invert: bool) -> Self {
        self.invert = invert;
        self
    }

    /// Ascending axes from 0.
    fn axes_in(&self, rank: usize) -> Result<Vec<usize>> {
        let mut axes = self.axes.iter().map(|&axis| k::axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        if axes.first() == Some(&0) || axes.len() != self.axes.len() {
            let expected = format!("distinct axes of an input of rank {rank} behind the batch axis");
            return Err(Error::value("Normalization", expected, format!("{:?}", self.axes)));
        }
        Ok(axes)
    }

    fn lens(&self, spec: &Spec) -> Result<Vec<usize>> {
        let len = |axis: usize| spec.shape.get(axis).copied().flatten();
        let axes = self.axes_in(spec.rank())?.into_iter();
        axes.map(|axis| known("Normalization", spec, len(axis), &format!("axis {axis}"))).collect()
    }
}

crate::layer_verbs!(Normalization);

impl Read for Normalization {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let absent = !reader.has("axis");
        let axes =
            if absent || reader.value("axis").is_some() { reader.integers("axis", &[-1])? } else { vec![] };
        let (mean, variance) = (read_numbers(reader, "mean")?, read_numbers(reader, "variance")?);
        if mean.is_some() != variance.is_some() {
            return Err(reader.wrong("variance", "mean and variance, or neither"));
        }
        Ok(Self {
            base,
            axes: axes.into_iter().map(|axis| axis as isize).collect(),
            given: mean.zip(variance),
            invert: reader.boolean("invert", false)?,
        })
    }
}

impl Layer for Normalization {
    fn config(&self) -> Config {
        let axes = if self.axes.is_empty() { Value::Null } else { one_or_list(&self.axes) };
        let (mean, variance) = match &self.given {
            Some((mean, variance)) => (write_numbers(mean), write_numbers(variance)),
            None => (Value::Null, Value::Null),
        };
        Config::new("Normalization")
            .with("axis", axes)
            .with("invert", self.invert)
            .with("mean", mean)
            .with("variance", variance)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let lens = self.lens(one("Normalization", inputs)?)?;
        match &self.given {
            Some(given) => {
                let count: usize = lens.iter().product();
                if [&given.0, &given.1].iter().any(|numbers| numbers.len() != 1 && numbers.len() != count) {
                    let received = format!("{} and {}", given.0.len(), given.1.len());
                    return Err(Error::value(
                        "Normalization",
                        format!("1 or {count} means and variances"),
                        received,
                    ));
                }
            }
            None => {
                let (zeros, ones) = (InitializerRef::new(Zeros), InitializerRef::new(Ones));
                cx.weight("mean", lens.clone(), &zeros).trainable(false).add()?;
                cx.weight("variance", lens, &ones).trainable(false).add()?;
                cx.weight("count", [], &zeros).trainable(false).dtype(DType::I64).add()?;
            }
        }
        Ok(())
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let spec = one("Normalization", inputs)?;
        self.axes_in(spec.rank())?;
        Ok(Some(vec![floating(&self.base, spec)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let dtype = cx.layer().dtype();
        let x = k::cast(one("Normalization", inputs)?, dtype);
        let mut wide = vec![1_isize; x.rank()?];
        let shape = x.shape()?;
        for axis in self.axes_in(shape.len())? {
            if let (Some(own), Some(&len)) = (wide.get_mut(axis), shape.get(axis)) {
                *own = len as isize;
            }
        }
        let statistic = |name: &str, given: Option<&Vec<f64>>| match given {
            Some(numbers) if numbers.len() == 1 => {
                Ok(k::number(&x, numbers.first().copied().unwrap_or_default()))
            }
            Some(numbers) => {
                let row = Array::from_vec(&[numbers.len()], numbers.clone())?.cast(dtype);
                Ok(k::reshape(&Tensor::constant(row), &wide))
            }
            None => Ok::<_, Error>(k::reshape(&cx.weight(name)?, &wide)),
        };
        let mean = statistic("mean", self.given.as_ref().map(|given| &given.0))?;
        let deviation = k::sqrt(&statistic("variance", self.given.as_ref().map(|given| &given.1))?);
        let divisor = k::maximum(&deviation, &k::number(&deviation, 1e-7));
        Ok(vec![if self.invert { &x * &divisor + mean } else { (&x - &mean) / divisor }])
    }
}

impl LayerRef {
    /// Sets a [`Normalization`] layer's mean and variance to those of data: samples along the first axis.
    ///
    /// # Errors
    /// If the layer is another one or was given its statistics, or the data's shape does not fit.
    pub fn adapt(&self, data: &Array) -> Result<()> {
        let own = self.downcast::<Normalization>().filter(|layer| layer.given.is_none());
        let Some(layer) = own else {
            let what = format!("adapt of layer {}", self.name());
            return Err(Error::state(
                what,
                "a Normalization layer without given statistics",
                self.class_name(),
            ));
        };
        let shape = data.shape();
        let mut open: Vec<Option<usize>> = shape.iter().copied().map(Some).collect();
        if let Some(batch) = open.first_mut() {
            *batch = None;
        }
        self.build(&[Spec::new(open.clone(), self.dtype())])?;
        let axes = layer.axes_in(shape.len())?;
        let lens = layer.lens(&Spec::new(open, data.dtype()))?;
        let count = lens.iter().product::<usize>();
        if data.is_empty() || count == 0 {
            return Err(Error::value(
                format!("adapt of layer {}", self.name()),
                "some data",
                format!("{shape:?}"),
            ));
        }
        // Which statistic each element belongs to.
        let mut strides = vec![0_usize; shape.len()];
        let mut step = 1;
        for &axis in axes.iter().rev() {
            if let (Some(stride), Some(&len)) = (strides.get_mut(axis), shape.get(axis)) {
                *stride = step;
                step *= len;
            }
        }
        let place = |flat: usize| {
            let mut rest = flat;
            let digits = shape.iter().zip(&strides).rev().map(|(&len, &stride)| {
                let digit = rest % len;
                rest /= len;
                digit * stride
            });
            digits.sum::<usize>()
        };
        let values: Vec<f64> = data.to_vec();
        let mut means = vec![0.0; count];
        let mut variances = vec![0.0; count];
        let n = (values.len() / count) as f64;
        for (i, value) in values.iter().enumerate() {
            if let Some(mean) = means.get_mut(place(i)) {
                *mean += value / n;
            }
        }
        for (i, value) in values.iter().enumerate() {
            let at = place(i);
            if let (Some(variance), Some(mean)) = (variances.get_mut(at), means.get(at)) {
                *variance += (value - mean) * (value - mean) / n;
            }
        }
        let statistic = |values: Vec<f64>| Ok::<_, Error>(Array::from_vec(&lens, values)?.cast(self.dtype()));
        let seen = Array::from(n as i64);
        self.set_weights(&[statistic(means)?, statistic(variances)?, seen])
    }
}
