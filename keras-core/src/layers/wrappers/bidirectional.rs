//! [`Bidirectional`]: a recurrent layer in both directions.

use crate::error::{Error, Result};
use crate::k;
use crate::layers::registry::{Read, deserialize, read_layer};
use crate::layers::{Arguments, Base, Build, Call, Choice, IntoLayer, Layer, LayerRef, options::Named};
use crate::registry::{Config, Reader};
use crate::semantics::MaskedBidirectional;
use crate::tensor::{Spec, Tensor};

/// How the results of both directions become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MergeMode {
    /// Side by side along the last axis.
    Concat,
    /// Added.
    Sum,
    /// Multiplied.
    Mul,
    /// Averaged.
    Ave,
    /// Not at all: two results, Keras's `None`.
    Separate,
}

impl Named for MergeMode {
    const KIND: &'static str = "merge_mode";
    const ALL: &'static [(&'static str, Self)] =
        &[("sum", Self::Sum), ("mul", Self::Mul), ("ave", Self::Ave), ("concat", Self::Concat)];
}

/// A recurrent layer from the first step to the last, a second one from the last to the first, and their results
/// merged.
///
/// The two are copies of the layer, `forward_` and `backward_` in front of its name; sequences of the backward one are
/// turned round again before they are merged. States are those of the forward layer, then those of the backward one:
/// among the inputs `[x, states..]` as among the results.
///
/// ```
/// use keras_core::layers::{Bidirectional, Input, LSTM, MergeMode};
/// let x = Input::new([10, 16]).tensor()?;
/// assert_eq!(Bidirectional::new(LSTM::new(32)).call(&x)?.spec()?.shape, [None, Some(64)]);
/// let sum = Bidirectional::new(LSTM::new(32).return_sequences(true)).merge_mode("sum").call(&x)?;
/// assert_eq!(sum.spec()?.shape, [None, Some(10), Some(32)]);
/// let both = Bidirectional::new(LSTM::new(32)).merge_mode(MergeMode::Separate).call_all(&x)?;
/// assert_eq!(both.len(), 2);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct Bidirectional {
    base: Base,
    merge_mode: Choice<MergeMode>,
    num_constants: Option<usize>,
    layers: Result<Layers>,
}

/// The layer as given, and its copies.
#[derive(Clone)]
struct Layers {
    given: LayerRef,
    forward: LayerRef,
    backward: LayerRef,
    /// Whether the given one goes backwards: sequences are then in the order of its steps.
    backwards: bool,
    /// The axis of time.
    time: isize,
    return_sequences: bool,
    return_state: bool,
}

const CLASS: &str = "Bidirectional";

impl Layers {
    fn of(given: LayerRef) -> Result<Self> {
        let config = given.config();
        let flag = |key: &str| config.config.get(key).and_then(serde_json::Value::as_bool);
        let (Some(backwards), Some(return_sequences)) = (flag("go_backwards"), flag("return_sequences"))
        else {
            return Err(Error::value(CLASS, "a recurrent layer such as LSTM", format!("{given:?}"))
                .advice("wrap a recurrent layer; others run in one direction already"));
        };
        if given.is_built() {
            return Err(Error::state(
                CLASS,
                "a layer that has not been called",
                format!("{given:?} with weights"),
            )
            .advice("make a new layer for the wrapper"));
        }
        if given.definition().base().is_some_and(|base| base.weights.is_some()) {
            return Err(Error::value(
                CLASS,
                "a layer without first weights",
                format!("{given:?} with weights"),
            )
            .advice("give the weights to Bidirectional, those of the forward layer first"));
        }
        let copy = |prefix: &str, backwards: bool| {
            let mut config = config.clone();
            config.config.insert("name".into(), format!("{prefix}_{}", given.name()).into());
            config.config.insert("go_backwards".into(), backwards.into());
            if !return_sequences {
                // Keras, too, takes it back: a last state is never zeros.
                config.config.shift_remove("zero_output_for_mask");
            }
            deserialize(&config).map_err(|error| {
                error.within(format!("{CLASS}, which copies {} by its config", given.name()))
            })
        };
        let (forward, backward) = (copy("forward", backwards)?, copy("backward", !backwards)?);
        let return_state = flag("return_state").unwrap_or(false);
        let time = isize::from(flag("time_major") != Some(true));
        Ok(Self { given, forward, backward, backwards, time, return_sequences, return_state })
    }
}

impl Bidirectional {
    /// Copies of that layer in both directions; what is wrong with it is an error when the wrapper is called.
    pub fn new(layer: impl IntoLayer) -> Self {
        Self {
            base: Base::default(),
            merge_mode: MergeMode::Concat.into(),
            num_constants: None,
            layers: layer.into_layer().and_then(Layers::of),
        }
    }

    /// `"concat"` (default), `"sum"`, `"mul"`, `"ave"`, or [`MergeMode::Separate`] for two results.
    pub fn merge_mode(mut self, mode: impl Into<Choice<MergeMode>>) -> Self {
        self.merge_mode = mode.into();
        self
    }

    /// How many of the tensors that the layer is called on, the last ones, are constants; default 0.
    pub fn num_constants(mut self, count: usize) -> Self {
        self.num_constants = Some(count);
        self
    }

    /// The inputs of the two directions.
    fn split<T: Clone>(&self, inputs: &[T]) -> Result<[Vec<T>; 2]> {
        let constants = self.num_constants.unwrap_or(0);
        let (x, rest) = inputs.split_first().ok_or_else(|| Error::value(CLASS, "a sequence", "no input"))?;
        let count = rest.len().checked_sub(constants).ok_or_else(|| {
            Error::value(CLASS, format!("{constants} constants behind the sequence"), rest.len().to_string())
        })?;
        if !count.is_multiple_of(2) {
            return Err(Error::value(
                CLASS,
                "initial states of the forward layer and as many of the backward one",
                format!("{count} states"),
            )
            .advice("give states for both directions, the forward ones first"));
        }
        let (states, constants) = rest.split_at(count);
        let (forward, backward) = states.split_at(count / 2);
        let with = |states: &[T]| std::iter::once(x).chain(states).chain(constants).cloned().collect();
        Ok([with(forward), with(backward)])
    }

    /// Puts what is true of one direction together: results first, then states.
    fn join<T>(
        &self,
        layers: &Layers,
        forward: Vec<T>,
        backward: Vec<T>,
        merge: impl FnOnce(MergeMode, T, T) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let (mut forward, mut backward) = (forward.into_iter(), backward.into_iter());
        let none = || Error::state(CLASS, "a result of each direction", "none");
        let (y, reversed) = (forward.next().ok_or_else(none)?, backward.next().ok_or_else(none)?);
        let mut joined = merge(self.merge_mode.resolve()?, y, reversed)?;
        if layers.return_state {
            joined.extend(forward.chain(backward));
        }
        Ok(joined)
    }
}

crate::layer_verbs!(Bidirectional);

impl Read for Bidirectional {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let separate = reader.has("merge_mode") && reader.value("merge_mode").is_none();
        let default = if separate { MergeMode::Separate } else { MergeMode::Concat };
        Ok(Self {
            base,
            merge_mode: Choice::read(reader, "merge_mode", default.into())?,
            num_constants: match reader.value("num_constants") {
                Some(_) => Some(reader.count("num_constants", 0)?),
                None => None,
            },
            layers: Ok(Layers::of(read_layer(reader, "layer")?)?),
        })
    }
}

impl Layer for Bidirectional {
    fn config(&self) -> Config {
        let mut config = Config::new(CLASS);
        if let Ok(layers) = &self.layers {
            config = config.with("layer", layers.given.config_value());
        }
        config = config.with("merge_mode", self.merge_mode.to_value());
        match self.num_constants {
            Some(count) => config.with("num_constants", count),
            None => config,
        }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        self.merge_mode.resolve()?;
        let layers = self.layers.clone()?;
        let [forward, backward] = self.split(inputs)?;
        cx.build_child_by_name("forward", &layers.forward, &forward)?;
        cx.build_child_by_name("backward", &layers.backward, &backward)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let layers = self.layers.clone()?;
        let [forward, backward] = self.split(inputs)?;
        let settle = |layer: &LayerRef, specs: Vec<Spec>| {
            let masked = vec![false; specs.len()];
            layer.settle(&specs, &masked, &Arguments::new()).map(|(outputs, _)| outputs)
        };
        let (forward, backward) = (settle(&layers.forward, forward)?, settle(&layers.backward, backward)?);
        self.join(&layers, forward, backward, |mode, mut y, reversed| match mode {
            MergeMode::Separate => Ok(vec![y, reversed]),
            MergeMode::Concat => {
                if let Some(last) = y.shape.last_mut() {
                    *last = last.map(|len| 2 * len);
                }
                Ok(vec![y])
            }
            _ => Ok(vec![y]),
        })
        .map(Some)
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let layers = self.layers.clone()?;
        let [forward, backward] = self.split(inputs)?;
        let run = |layer: &LayerRef, inputs: &[Tensor]| -> Result<Vec<Tensor>> {
            let mut masks = vec![None; inputs.len()];
            if let Some(first) = masks.first_mut() {
                *first = cx.mask(0).cloned();
            }
            let results = cx.call_wrapped(cx.trace(), layer, inputs, &masks)?;
            Ok(results.into_iter().map(|(result, _)| result).collect())
        };
        let (forward, backward) = (run(&layers.forward, &forward)?, run(&layers.backward, &backward)?);
        let zeros = match cx.semantics().masked_bidirectional {
            MaskedBidirectional::OfLayers => false,
            MaskedBidirectional::ZerosOfVectors => layers.given.config().class_name != "ConvLSTM2D",
            MaskedBidirectional::Zeros => true,
        };
        let turned = |x: &Tensor| k::reverse(x, &[layers.time]);
        let mask = cx.mask(0).filter(|_| layers.return_sequences && zeros);
        let mask = mask.map(|mask| if layers.backwards { turned(mask) } else { mask.clone() });
        let without_masked = |y: Tensor| match &mask {
            Some(mask) => k::switch(mask, &y, &k::zeros_like(&y, None)),
            None => y,
        };
        let outputs = self.join(&layers, forward, backward, |mode, y, reversed| {
            let reversed = if layers.return_sequences { turned(&reversed) } else { reversed };
            let (y, reversed) = (without_masked(y), without_masked(reversed));
            Ok(match mode {
                MergeMode::Concat => vec![k::concatenate(&[&y, &reversed], -1)],
                MergeMode::Sum => vec![y + reversed],
                MergeMode::Mul => vec![y * reversed],
                MergeMode::Ave => vec![(y + reversed) / 2.0],
                MergeMode::Separate => vec![y, reversed],
            })
        })?;
        layers.given.penalize_around(cx.trace(), &outputs)?;
        Ok(outputs)
    }

    fn supports_masking(&self) -> bool {
        self.layers.as_ref().is_ok_and(|layers| layers.forward.definition().supports_masking())
    }

    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut masks = vec![None; outputs.len()];
        let results = if self.merge_mode.resolve()? == MergeMode::Separate { 2 } else { 1 };
        if self.layers.as_ref().is_ok_and(|layers| layers.return_sequences) {
            masks.iter_mut().take(results).for_each(|mask| *mask = cx.mask(0).cloned());
        }
        Ok(masks)
    }

    fn stateful(&self) -> bool {
        self.layers.as_ref().is_ok_and(|layers| layers.given.definition().stateful())
    }
}
