//! What the functions of `shim.cpp` return: nothing, or what was thrown.

use crate::tensor::Raw;
use std::ffi::{CStr, c_char, c_void};
use tch::{TchError, Tensor};

unsafe extern "C" {
    fn free(pointer: *mut c_void);
}

/// The message of an exception as an error; null is none.
pub(crate) fn done(message: *mut c_char) -> Result<(), TchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message is a string with an end, made by `strdup`.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: as above, and it is not used again.
    unsafe { free(message.cast()) };
    Err(TchError::Torch(text))
}

/// Runs a function that puts a new tensor where it is told, or nothing, or returns a message.
pub(crate) fn made(run: impl FnOnce(*mut *mut c_void) -> *mut c_char) -> Result<Option<Tensor>, TchError> {
    let mut result = std::ptr::null_mut();
    done(run(&raw mut result))?;
    // SAFETY: a result that is not null is a new tensor of which nobody else knows.
    Ok((!result.is_null()).then(|| unsafe { Tensor::from_ptr(result.cast()) }))
}

/// The same where there is always a tensor.
pub(crate) fn one(run: impl FnOnce(*mut *mut c_void) -> *mut c_char) -> Raw {
    made(run)?.ok_or_else(|| TchError::Torch("a result without a tensor".into()))
}
