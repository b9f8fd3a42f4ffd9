//! [`Tensor`]: a shared contiguous row-major buffer under a shape; [`Out`]: one that is being written.

use crate::panels::Packed;
use crate::pool::{Buffer, Plain, Pool};
use keras_core::graph::Type;
use keras_core::{DType, Result};
use std::sync::Arc;

/// A tensor of the backend; cloning and reshaping share its memory.
#[derive(Clone, Debug)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    shape: Vec<usize>,
    dtype: DType,
    prepared: Option<Arc<Prepared>>,
}

/// What was computed from a tensor in advance, for an operation whose right-hand side it is.
#[derive(Debug)]
pub(crate) enum Prepared {
    Panels(Packed),
    /// The panels of the 36 points of a transformed kernel.
    Winograd(Tensor),
}

impl Tensor {
    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same tensor with something computed from it.
    pub(crate) fn with(&self, prepared: Prepared) -> Self {
        Self { prepared: Some(Arc::new(prepared)), ..self.clone() }
    }

    pub(crate) fn panels(&self) -> Option<&Packed> {
        match self.prepared.as_deref() {
            Some(Prepared::Panels(packed)) => Some(packed),
            _ => None,
        }
    }

    pub(crate) fn winograd(&self) -> Option<&Tensor> {
        match self.prepared.as_deref() {
            Some(Prepared::Winograd(kernel)) => Some(kernel),
            _ => None,
        }
    }

    pub(crate) fn type_of(&self) -> Type {
        Type::new(self.shape.clone(), self.dtype)
    }

    /// The memory, at least that of the elements.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// The elements; truth values as `u8`.
    pub(crate) fn slice<T: Plain>(&self) -> &[T] {
        debug_assert_eq!(size_of::<T>(), self.dtype.size());
        let all = self.buffer.as_slice();
        all.get(..self.len()).unwrap_or(all)
    }

    /// The same memory under another shape of as many elements.
    pub(crate) fn with_shape(&self, shape: &[usize]) -> Self {
        Self { buffer: Arc::clone(&self.buffer), shape: shape.to_vec(), dtype: self.dtype, prepared: None }
    }

    /// The tensor's memory, if nothing else holds it.
    pub(crate) fn into_out(self) -> Result<Out, Self> {
        let Self { buffer, shape, dtype, prepared } = self;
        match Arc::try_unwrap(buffer) {
            Ok(buffer) => Ok(Out { buffer, shape, dtype }),
            Err(buffer) => Err(Self { buffer, shape, dtype, prepared }),
        }
    }
}

/// A tensor under construction, whose memory nobody else sees.
pub(crate) struct Out {
    buffer: Buffer,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
}

impl Out {
    /// Memory for a tensor, holding arbitrary elements.
    pub(crate) fn new(pool: &Arc<Pool>, shape: &[usize], dtype: DType) -> Result<Self> {
        let bytes = shape.iter().try_fold(dtype.size(), |bytes, &len| bytes.checked_mul(len));
        let buffer = pool.buffer(bytes.unwrap_or(usize::MAX))?;
        Ok(Self { buffer, shape: shape.to_vec(), dtype })
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The memory, at least that of the elements, for writing.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
    }

    /// The elements for writing.
    pub(crate) fn slice<T: Plain>(&mut self) -> &mut [T] {
        debug_assert_eq!(size_of::<T>(), self.dtype.size());
        let len = self.len();
        let all = self.buffer.as_mut_slice();
        let len = len.min(all.len());
        &mut all[..len]
    }

    pub(crate) fn finish(self) -> Tensor {
        Tensor { buffer: Arc::new(self.buffer), shape: self.shape, dtype: self.dtype, prepared: None }
    }
}

/// Runs a generic expression with `$T` bound to the type that stores a [`DType`].
macro_rules! with_storage {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            keras_core::DType::F32 => {
                type $T = f32;
                $body
            }
            keras_core::DType::F64 => {
                type $T = f64;
                $body
            }
            keras_core::DType::I32 => {
                type $T = i32;
                $body
            }
            keras_core::DType::I64 => {
                type $T = i64;
                $body
            }
            keras_core::DType::U8 | keras_core::DType::Bool => {
                type $T = u8;
                $body
            }
        }
    };
}

/// Runs a generic expression with `$T` bound to an integer of the size of a [`DType`]: for moving elements.
macro_rules! with_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

pub(crate) use {with_size, with_storage};
