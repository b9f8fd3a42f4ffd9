//! [`TimeDistributed`]: a layer on every step.

use crate::error::{Error, Result};
use crate::k;
use crate::layers::registry::{Read, read_layer};
use crate::layers::{Arguments, Base, Build, Call, IntoLayer, Layer, LayerRef};
use crate::registry::{Config, Reader};
use crate::tensor::looping::Loop;
use crate::tensor::{Spec, Tensor};

/// Calls a layer on every step of `(batch, time, ..)`: `(batch, time, ..)` of its results.
///
/// The layer sees all steps of all samples as one batch `(batch·time, ..)`; where the batch size is fixed, it sees one
/// step after the other, as in Keras (batch statistics are then those of a step, and masks do not reach it).
///
/// ```
/// use keras_core::layers::{Conv2D, Input, TimeDistributed};
/// let x = Input::new([10, 28, 28, 3]).tensor()?;
/// let y = TimeDistributed::new(Conv2D::new(8, 3)).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(10), Some(26), Some(26), Some(8)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct TimeDistributed {
    base: Base,
    layer: Result<LayerRef>,
}

const CLASS: &str = "TimeDistributed";

impl TimeDistributed {
    /// A layer that calls that one; what is wrong with it is an error when the wrapper is called.
    pub fn new(layer: impl IntoLayer) -> Self {
        Self { base: Base::default(), layer: layer.into_layer() }
    }
}

/// The spec of one step, and the number of steps.
fn step_of(inputs: &[Spec]) -> Result<(Spec, Option<usize>)> {
    let [x] = inputs else {
        return Err(Error::value(CLASS, "one input", inputs.len().to_string()));
    };
    match x.shape.as_slice() {
        [batch, time, rest @ ..] if !rest.is_empty() => {
            let shape: Vec<Option<usize>> = std::iter::once(*batch).chain(rest.iter().copied()).collect();
            Ok((Spec::new(shape, x.dtype), *time))
        }
        _ => Err(Error::shape(CLASS, "an input of rank 3 or more: (batch, time, ..)", x.to_string())
            .advice("call the wrapped layer itself where there is no time axis")),
    }
}

/// The only result of the wrapped layer.
fn only<T>(layer: &LayerRef, results: Vec<T>) -> Result<T> {
    let count = results.len();
    match results.into_iter().next() {
        Some(result) if count == 1 => Ok(result),
        _ => Err(Error::value(CLASS, format!("one result of layer {}", layer.name()), count.to_string())),
    }
}

/// Another shape for the axes before `from`.
fn reshaped(x: &Tensor, front: &[usize], from: usize) -> Result<Tensor> {
    let shape = x.shape()?;
    let shape: Vec<isize> =
        front.iter().chain(shape.get(from..).unwrap_or_default()).map(|&len| len as isize).collect();
    Ok(k::reshape(x, &shape))
}

crate::layer_verbs!(TimeDistributed);

impl Read for TimeDistributed {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { base: Base::read(reader)?, layer: Ok(read_layer(reader, "layer")?) })
    }
}

impl Layer for TimeDistributed {
    fn config(&self) -> Config {
        match &self.layer {
            Ok(layer) => Config::new(CLASS).with("layer", layer.config_value()),
            Err(_) => Config::new(CLASS),
        }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        cx.build_child("layer", &self.layer.clone()?, &[step_of(inputs)?.0])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let (step, time) = step_of(inputs)?;
        let layer = self.layer.clone()?;
        let (outputs, _) = layer.settle(&[step], &[false], &Arguments::new())?;
        let mut output = only(&layer, outputs)?;
        output.shape.insert(1.min(output.shape.len()), time);
        Ok(Some(vec![output]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let layer = self.layer.clone()?;
        let x = inputs.first().ok_or_else(|| Error::value(CLASS, "one input", "none"))?;
        let shape = x.shape()?;
        let &[batch, time, ..] = shape.as_slice() else {
            return Err(Error::shape(CLASS, "an input (batch, time, ..)", format!("{shape:?}")));
        };
        // tf.keras has all steps at once wherever the layer keeps no states.
        let at_once = cx.semantics().is_tf_keras() && !layer.definition().stateful();
        if fixed_batch(cx) && !at_once {
            let mut order: Vec<usize> = (0..shape.len()).collect();
            order.swap(0, 1);
            let mut body = Loop::new(cx.trace(), time);
            let row = body.row(&k::permute_dimensions(x, &order))?;
            let (y, _) = only(&layer, cx.call_wrapped(body.inside(), &layer, &[row], &[None])?)?;
            body.collect(&y)?;
            let (_, ys) = body.finish(false)?;
            let y = ys.first().ok_or_else(|| Error::state(CLASS, "collected results", "none"))?;
            let mut order: Vec<usize> = (0..y.rank()?).collect();
            order.swap(0, 1);
            cx.set_output_masks(vec![cx.mask(0).cloned()]);
            let outputs = vec![k::permute_dimensions(y, &order)];
            layer.penalize_around(cx.trace(), &outputs)?;
            return Ok(outputs);
        }
        let mask = cx.mask(0).cloned();
        let inner_mask = mask.as_ref().map(|mask| reshaped(mask, &[batch * time], 2)).transpose()?;
        let inner = reshaped(x, &[batch * time], 2)?;
        let (y, inner_mask) = only(&layer, cx.call_wrapped(cx.trace(), &layer, &[inner], &[inner_mask])?)?;
        if y.shape()?.first() != Some(&(batch * time)) {
            let received = y.spec()?.to_string();
            return Err(Error::shape(CLASS, format!("a result for each of {batch}·{time} steps"), received));
        }
        let mask = match (inner_mask, mask) {
            (Some(inner), _) => Some(reshaped(&inner, &[batch, time], 1)?),
            (None, Some(mask)) => {
                let inner_axes: Vec<isize> = (2..mask.rank()? as isize).collect();
                Some(if inner_axes.is_empty() { mask } else { k::any(&mask, &inner_axes, false) })
            }
            (None, None) => None,
        };
        cx.set_output_masks(vec![mask]);
        let outputs = vec![reshaped(&y, &[batch, time], 1)?];
        layer.penalize_around(cx.trace(), &outputs)?;
        Ok(outputs)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn creates_mask(&self) -> bool {
        self.layer.as_ref().is_ok_and(|layer| layer.definition().creates_mask())
    }

    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut masks = cx.take_output_masks();
        masks.resize(outputs.len(), None);
        Ok(masks)
    }

    fn stateful(&self) -> bool {
        self.layer.as_ref().is_ok_and(|layer| layer.definition().stateful())
    }
}

/// Whether the layer was made for a batch size of its own.
fn fixed_batch(cx: &Call) -> bool {
    let built = cx.layer().built_for();
    built.and_then(|specs| specs.first()?.shape.first().copied()).flatten().is_some()
}
