//! `keras_rs_state`: what Keras's files have no place for: random streams, and the rules of an older writer.

use crate::array::Array;
use crate::error::{Error, Result};
use crate::models::{Model, lock};
use crate::output::Output;
use crate::random::{self, RandomState};
use crate::semantics::Semantics;
use crate::training::{Order, Run};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write;

/// The name of the attribute.
pub(super) const KEY: &str = "keras_rs_state";

/// What it holds, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// The rules that the model computes by, where they are not those of the file's dialect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) semantics: Option<Semantics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    random: Option<Random>,
    /// The `sample_weight_mode` of outputs with weights per step, which tf.keras does not write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sample_weight_mode: Option<Value>,
}

/// The random streams of a compiled model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Random {
    seed: i64,
    step: i64,
    /// The stream that orders batches, now and where the last run of `fit` began.
    order: Stream,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<SavedRun>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedRun {
    first_epoch: usize,
    #[serde(default)]
    next_epoch: Option<usize>,
    order: Stream,
}

/// A Mersenne Twister: its words in hexadecimal digits, and its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stream {
    key: String,
    position: usize,
}

impl Stream {
    fn of(state: &RandomState) -> Self {
        let (words, position) = state.state();
        let mut key = String::with_capacity(words.len() * 8);
        for word in words {
            let _ = write!(key, "{word:08x}");
        }
        Self { key, position }
    }

    fn state(&self) -> Result<RandomState> {
        let words: Option<Vec<u32>> = self
            .key
            .as_bytes()
            .chunks(8)
            .map(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())
            .collect();
        let words = words.ok_or_else(|| Error::file(KEY, "hexadecimal digits", "something else"))?;
        RandomState::from_state(&words, self.position)
    }
}

impl State {
    /// Of a model; `own` are the rules that the dialect has anyway. None if there is nothing to say.
    pub(super) fn of(model: &Model, own: Semantics) -> Result<Option<Self>> {
        let semantics = Some(model.semantics()).filter(|semantics| *semantics != own);
        let random = if lock(&model.0.compiled).is_some() {
            let (seed, step) = &model.0.random;
            let order = lock(&model.0.order).clone();
            let now = order
                .resumed
                .map_or_else(|| random::with_order(|order| order.clone()), |resumed| resumed.now);
            let run = order.run.map(|run| SavedRun {
                first_epoch: run.first,
                next_epoch: run.next,
                order: Stream::of(&run.start),
            });
            Some(Random {
                seed: whole(&seed.value()?),
                step: whole(&step.value()?),
                order: Stream::of(&now),
                run,
            })
        } else {
            None
        };
        let mode = if own.is_tf_keras() || own == Semantics::keras_3() {
            let training = model.training_config()?;
            let mode = training.and_then(|training| training.get("sample_weight_mode").cloned());
            mode.filter(|mode| mode.to_string().contains("temporal"))
        } else {
            None
        };
        let said = semantics.is_some() || random.is_some() || mode.is_some();
        Ok(said.then_some(Self { semantics, random, sample_weight_mode: mode }))
    }

    /// Of a file's text.
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::file(KEY, "the state that this library writes", error.to_string()))
    }

    /// A training config with what the file's own has no place for.
    pub(super) fn complete(&self, mut training: Value) -> Value {
        if let (Some(mode), Some(fields)) = (&self.sample_weight_mode, training.as_object_mut()) {
            fields.insert("sample_weight_mode".to_owned(), mode.clone());
        }
        training
    }

    /// Puts the random streams of a file into a model.
    fn restore(&self, model: &Model) -> Result<()> {
        let Some(random) = &self.random else { return Ok(()) };
        model.0.random.0.set(&Array::from(random.seed))?;
        model.0.random.1.set(&Array::from(random.step))?;
        let run = random.run.as_ref().map(|run| {
            Ok::<_, Error>(Run { first: run.first_epoch, next: run.next_epoch, start: run.order.state()? })
        });
        let run = run.transpose()?;
        *lock(&model.0.order) = Order::resumed(random.order.state()?, run);
        Ok(())
    }
}

/// Puts the random streams of a file into a model that it compiled; a warning if the file, of Keras, has none and was trained.
pub(super) fn restore(state: Option<&State>, model: &Model) -> Result<()> {
    if let Some(state) = state {
        return state.restore(model);
    }
    if model.optimizer().is_ok_and(|optimizer| optimizer.iterations().is_ok_and(|steps| steps > 0)) {
        Output::current().warning(
            "the file does not say where random numbers stood: dropout, noise and the order of batches start anew",
        );
    }
    Ok(())
}

fn whole(value: &Array) -> i64 {
    value.to_vec::<i64>().first().copied().unwrap_or(0)
}
