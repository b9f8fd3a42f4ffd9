//! The table of cases, by kind of operation.

mod contraction;
mod elementwise;
mod fused;
mod movement;
mod recurrent;
mod reduce;

pub(crate) use contraction::{conv_cases, pool_cases};

use crate::Case;
use keras_core::DType;

const FLOATS: [DType; 2] = [DType::F32, DType::F64];
const INTEGERS: [DType; 3] = [DType::I32, DType::I64, DType::U8];
const NUMBERS: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8];

pub(crate) fn all() -> Vec<Case> {
    [
        elementwise::cases(),
        reduce::cases(),
        contraction::cases(),
        movement::cases(),
        fused::cases(),
        recurrent::cases(),
    ]
    .concat()
}
