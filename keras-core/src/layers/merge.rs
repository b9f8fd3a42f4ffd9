//! Layers of several inputs: sums, products, extremes, concatenation.

use super::registry::Read;
use super::{Base, Call, Inputs, Layer};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};

/// Refuses inputs of different element types or batch sizes, or too few of them.
fn check(class: &str, inputs: &[Spec]) -> Result<()> {
    if inputs.len() < 2 {
        return Err(few(class, inputs.len()));
    }
    if class == "Subtract" && inputs.len() > 2 {
        return Err(Error::value(class, "exactly 2 inputs", inputs.len().to_string())
            .advice("join the others first, with a layer for any number such as Add"));
    }
    let mut batch = None;
    for (first, spec) in inputs.first().into_iter().cycle().zip(inputs) {
        if spec.dtype != first.dtype {
            return Err(Error::dtype(
                class,
                format!("inputs of one element type, {}", first.dtype),
                texts(inputs),
            )
            .advice(CAST));
        }
        let Some(len) = spec.shape.first() else {
            return Err(Error::shape(class, "inputs with a batch axis", texts(inputs)));
        };
        if len.is_some() && batch.is_some() && *len != batch {
            return Err(Error::shape(class, "inputs of one batch size", texts(inputs)));
        }
        batch = batch.or(*len);
    }
    Ok(())
}

fn few(class: &str, inputs: usize) -> Error {
    Error::value(class, "at least 2 inputs", inputs.to_string()).advice("call it on a list: `[&a, &b]`")
}

/// What to do about inputs of several element types.
const CAST: &str = "convert with k::cast";

fn texts(inputs: &[Spec]) -> String {
    inputs.iter().map(Spec::to_string).collect::<Vec<_>>().join(" and ")
}

/// The spec of an elementwise result. As in Keras, inputs of fewer axes get axes of length 1 behind the batch axis.
fn broadcast(class: &str, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
    check(class, inputs)?;
    let rank = inputs.iter().map(Spec::rank).max().unwrap_or(0);
    let mut result: Option<Spec> = None;
    for spec in inputs {
        let mut shape = spec.shape.clone();
        shape.splice(1..1, vec![Some(1); rank - spec.rank()]);
        let Some(known) = &mut result else {
            result = Some(Spec::new(shape, spec.dtype));
            continue;
        };
        for (axis, (a, b)) in known.shape.iter_mut().zip(shape).enumerate() {
            *a = match (*a, b) {
                (a, b) if a == b => a,
                // All inputs are the same samples.
                (a, b) if axis == 0 => a.or(b),
                (None, _) | (_, None) => None,
                (Some(1), other) | (other, Some(1)) => other,
                _ => {
                    return Err(Error::shape(class, "inputs whose shapes fit or are 1", texts(inputs))
                        .advice("bring them to one shape, by Reshape or a Dense of the same units"));
                }
            };
        }
    }
    Ok(Some(result.into_iter().collect()))
}

/// The inputs with one number of axes.
fn aligned(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let ranks = inputs.iter().map(Tensor::rank).collect::<Result<Vec<_>>>()?;
    let rank = ranks.iter().copied().max().unwrap_or(0);
    let widen = |(x, own): (&Tensor, usize)| (own..rank).fold(x.clone(), |x, _| k::expand_dims(&x, 1));
    Ok(inputs.iter().zip(ranks).map(widen).collect())
}

/// The steps that count in every masked input; no mask if no input has one.
fn common_mask(cx: &Call, inputs: usize) -> Option<Tensor> {
    (0..inputs).filter_map(|i| cx.mask(i)).cloned().reduce(|a, b| k::logical_and(&a, &b))
}

fn sum(parts: Vec<Tensor>) -> Option<Tensor> {
    parts.into_iter().reduce(|a, b| a + b)
}

macro_rules! elementwise {
    ($($(#[$doc:meta])* $type:ident, $function:ident = $combine:expr;)*) => {
        $(
        $(#[$doc])*
        ///
        /// Shapes broadcast; an input of fewer axes gets axes of length 1 behind the batch axis. The result's mask is
        /// true where every mask there is is true.
        #[derive(Debug, Clone, Default)]
        pub struct $type {
            base: Base,
        }

        impl $type {
            /// The layer, to be called on a list of tensors.
            pub fn new() -> Self {
                Self::default()
            }
        }

        crate::layer_verbs!($type);

        impl Read for $type {
            fn read(reader: &mut Reader<'_>) -> Result<Self> {
                Ok(Self { base: Base::read(reader)? })
            }
        }

        impl Layer for $type {
            fn config(&self) -> Config {
                Config::new(stringify!($type))
            }

            fn base(&self) -> Option<&Base> {
                Some(&self.base)
            }

            fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
                broadcast(stringify!($type), inputs)
            }

            fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
                let combine: fn(Vec<Tensor>) -> Option<Tensor> = $combine;
                Ok(vec![combine(aligned(inputs)?).ok_or_else(|| few(stringify!($type), 0))?])
            }

            fn supports_masking(&self) -> bool {
                true
            }

            fn compute_mask(&self, cx: &mut Call, inputs: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
                Ok(vec![common_mask(cx, inputs.len())])
            }
        }

        #[doc = concat!("[`", stringify!($type), "`] of tensors.")]
        #[track_caller]
        pub fn $function(inputs: impl Into<Inputs>) -> Result<Tensor> {
            $type::new().call(inputs)
        }
        )*
    };
}

elementwise! {
    /// The sum of its inputs.
    ///
    /// ```
    /// use keras_core::layers::{Add, Dense, Input};
    /// let x = Input::new([16]).tensor()?;
    /// let y = Dense::new(16).activation("relu").call(&x)?;
    /// assert_eq!(Add::new().call([&x, &y])?.spec()?.shape, [None, Some(16)]);
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    Add, add = sum;
    /// The first of its two inputs minus the second.
    Subtract, subtract = |parts| parts.into_iter().reduce(|a, b| a - b);
    /// The product of its inputs.
    Multiply, multiply = |parts| parts.into_iter().reduce(|a, b| a * b);
    /// The mean of its inputs.
    Average, average = |parts| {
        let count = parts.len() as f64;
        sum(parts).map(|total| total / count)
    };
    /// The largest of its inputs, elementwise.
    Maximum, maximum = |parts| parts.into_iter().reduce(|a, b| k::maximum(&a, &b));
    /// The smallest of its inputs, elementwise.
    Minimum, minimum = |parts| parts.into_iter().reduce(|a, b| k::minimum(&a, &b));
}

/// Its inputs joined along an axis; all other axes are equal.
///
/// Masks are joined like the inputs where the axis is one they have, and else all have to be true; an input without a
/// mask counts as one that is true everywhere.
///
/// ```
/// use keras_core::layers::{Concatenate, Input};
/// let (a, b) = (Input::new([16]).tensor()?, Input::new([8]).tensor()?);
/// assert_eq!(Concatenate::new().call([&a, &b])?.spec()?.shape, [None, Some(24)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Concatenate {
    base: Base,
    axis: isize,
}

impl Concatenate {
    /// Joined along the last axis.
    #[allow(clippy::new_without_default, reason = "a layer is made by its name, not by default")]
    pub fn new() -> Self {
        Self { base: Base::default(), axis: -1 }
    }

    /// The axis, batch axis 0; negative ones count from the end. Default −1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }
}

/// [`Concatenate`] of tensors along an axis.
#[track_caller]
pub fn concatenate(inputs: impl Into<Inputs>, axis: isize) -> Result<Tensor> {
    Concatenate::new().axis(axis).call(inputs)
}

crate::layer_verbs!(Concatenate);

impl Read for Concatenate {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        Ok(Self { base, axis: reader.integer("axis", -1)? as isize })
    }
}

impl Layer for Concatenate {
    fn config(&self) -> Config {
        Config::new("Concatenate").with("axis", self.axis)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let [first, rest @ ..] = inputs else { return Err(few("Concatenate", 0)) };
        if rest.is_empty() {
            return Err(few("Concatenate", 1));
        }
        let axis = k::axis_of(self.axis, first.rank()).map_err(|error| error.within("Concatenate"))?;
        let mut shape = first.shape.clone();
        for spec in rest {
            if spec.dtype != first.dtype {
                return Err(
                    Error::dtype("Concatenate", "inputs of one element type", texts(inputs)).advice(CAST)
                );
            }
            let fits = spec.rank() == shape.len()
                && shape
                    .iter()
                    .zip(&spec.shape)
                    .enumerate()
                    .all(|(i, (a, b))| i == axis || a.is_none() || b.is_none() || a == b);
            if !fits {
                let expected = format!("inputs of matching shapes except for axis {axis}");
                return Err(Error::shape("Concatenate", expected, texts(inputs))
                    .advice("choose another axis, or bring the other axes to one length"));
            }
            for (i, (a, b)) in shape.iter_mut().zip(&spec.shape).enumerate() {
                // Where one input knows the length of a shared axis, all of them have it.
                *a = if i == axis { a.zip(*b).map(|(a, b)| a.saturating_add(b)) } else { a.or(*b) };
            }
        }
        Ok(Some(vec![Spec::new(shape, first.dtype)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![k::concatenate(&inputs.iter().collect::<Vec<_>>(), self.axis)])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn compute_mask(&self, cx: &mut Call, inputs: &[Tensor], _: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let masks: Vec<Option<&Tensor>> = (0..inputs.len()).map(|i| cx.mask(i)).collect();
        let Some(some) = masks.iter().flatten().next() else { return Ok(vec![None]) };
        let (rank, input_rank) = (some.rank()?, inputs.first().map_or(Ok(0), Tensor::rank)?);
        let axis = k::axis_of(self.axis, input_rank)?;
        if axis >= rank {
            return Ok(vec![common_mask(cx, inputs.len())]);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for (x, mask) in inputs.iter().zip(masks) {
            let everywhere = || -> Result<Tensor> {
                let lens: Vec<usize> = x.shape()?.into_iter().take(rank).collect();
                Ok(Tensor::constant(crate::Array::full(&lens, true)?))
            };
            parts.push(mask.cloned().map_or_else(everywhere, Ok)?);
        }
        let joined = k::concatenate(&parts.iter().collect::<Vec<_>>(), axis as isize);
        // A mask with all axes of its input is one per step only after the last.
        Ok(vec![Some(if rank == input_rank { k::all(&joined, &[-1], false) } else { joined })])
    }
}
