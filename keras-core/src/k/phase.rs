//! The learning phase: whether a program is for training.

use super::{nth, op_in_trace};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::tensor::record::{LearningPhase, Producer, symbols};
use crate::tensor::{Phase, Spec, Tensor};
use std::sync::{Arc, LazyLock};

/// The symbolic 0/1 scalar that says whether a program is for training; where it is not fed, it is 0. After
/// [`set_learning_phase`] it is what that said.
pub fn learning_phase() -> Tensor {
    match Phase::said() {
        Some(phase) => Tensor::constant(Array::from(phase == Phase::Train)),
        None => open_phase(),
    }
}

/// The learning phase that a program is fed.
pub(super) fn open_phase() -> Tensor {
    static PHASE: LazyLock<Arc<dyn Producer>> = LazyLock::new(|| Arc::new(LearningPhase));
    symbols(&PHASE, vec![Spec::new([], DType::Bool)])
        .pop()
        .unwrap_or_else(|| Tensor::poisoned(Error::state("learning_phase", "a tensor", "none")))
}

/// Fixes the phase, 0 (test) or 1 (training), of everything that is called on Keras tensors in this thread from now on, in
/// whatever program it runs; what was called before is as it was. [`clear_session`](super::clear_session) ends it.
///
/// ```
/// use keras_core::layers::{Dropout, Input};
/// use keras_core::models::Model;
/// use keras_core::k;
/// let x = Input::new([3]).tensor()?;
/// k::set_learning_phase(1)?;
/// // Drops in predict too.
/// let uncertain = Model::new(&x, &Dropout::new(0.5).call(&x)?)?;
/// k::clear_session();
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If the value is neither 0 nor 1.
pub fn set_learning_phase(value: u8) -> Result<()> {
    if value > 1 {
        return Err(Error::value("set_learning_phase", "0 or 1", value.to_string()));
    }
    Phase::say(Some(Phase::from(value == 1)));
    Ok(())
}

/// `x` in training, `alt` otherwise. `training` says which instead of the program; of a tensor, [`switch`](super::switch) does.
#[track_caller]
pub fn in_train_phase(x: &Tensor, alt: &Tensor, training: impl Into<Option<bool>>) -> Tensor {
    match training.into() {
        Some(true) => x.clone(),
        Some(false) => alt.clone(),
        None => op_in_trace("in_train_phase", &[x, alt], |trace, _, values| {
            nth(values, usize::from(!trace.is_training()))
        }),
    }
}

/// `x` outside training, `alt` in it; see [`in_train_phase`].
#[track_caller]
pub fn in_test_phase(x: &Tensor, alt: &Tensor, training: impl Into<Option<bool>>) -> Tensor {
    in_train_phase(alt, x, training)
}
