//! Elementary functions of floats as straight-line code that the compiler vectorises: branches are selections, so
//! every element of a vector takes the same path. Errors stay within 4 ulp of the exact value (tests say where less);
//! NaN, infinities, signed zeros and denormals come out as in the C library.
//!
//! Trigonometric functions of `f64` call the standard library.

#![allow(clippy::excessive_precision, reason = "coefficients have the digits of their sources")]

pub(crate) mod double;
pub(crate) mod single;
