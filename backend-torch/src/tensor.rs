//! [`TorchTensor`], and the way between host arrays and it.

use keras_core::backend::{Arg, Scalar};
use keras_core::graph::Type;
use keras_core::{Array, DType, Error, Result, with_dtype};
use tch::{Device, Kind, TchError, Tensor};

/// A handle to a tensor of libtorch; cloning shares it.
#[derive(Debug)]
pub struct TorchTensor(pub(crate) Tensor);

// SAFETY: libtorch reads a tensor from many threads at once, and counts its handles atomically. A buffer is written only
// as a writable operand, of which the engine has given away its one handle.
unsafe impl Sync for TorchTensor {}

impl Clone for TorchTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

/// What libtorch's functions return.
pub(crate) type Raw = std::result::Result<Tensor, TchError>;

/// An exception of libtorch, without the stack that it carries.
pub(crate) fn error(error: &TchError) -> Error {
    let text = error.to_string();
    Error::backend("backend torch", "success", text.lines().next().unwrap_or_default())
}

/// From libtorch's results to ours.
pub(crate) trait Own<T> {
    /// The tensors, with our error.
    fn own(self) -> Result<T>;
}

impl Own<TorchTensor> for Raw {
    fn own(self) -> Result<TorchTensor> {
        self.map(TorchTensor).map_err(|reason| error(&reason))
    }
}

pub(crate) fn kind(dtype: DType) -> Kind {
    match dtype {
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        DType::U8 => Kind::Uint8,
        DType::Bool => Kind::Bool,
    }
}

fn dtype(kind: Kind) -> DType {
    match kind {
        Kind::Float => DType::F32,
        Kind::Double => DType::F64,
        Kind::Int => DType::I32,
        Kind::Uint8 => DType::U8,
        Kind::Bool => DType::Bool,
        // The backend makes tensors of no other kind.
        _ => DType::I64,
    }
}

pub(crate) fn is_float(x: &Tensor) -> bool {
    matches!(x.kind(), Kind::Float | Kind::Double)
}

pub(crate) fn type_of(x: &Tensor) -> Type {
    Type::new(x.size().into_iter().map(|len| len as usize).collect::<Vec<_>>(), dtype(x.kind()))
}

pub(crate) fn ints(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}

pub(crate) fn number(value: Scalar, dtype: DType) -> tch::Scalar {
    match value {
        value if dtype.is_float() => value.to_f64().into(),
        value => value.to_i64().into(),
    }
}

/// A tensor filled with a number.
pub(crate) fn full(shape: &[usize], value: Scalar, dtype: DType, device: Device) -> Raw {
    Tensor::f_full(ints(shape), number(value, dtype), (kind(dtype), device))
}

/// The same elements in memory of their own.
pub(crate) fn copied(x: &Tensor) -> Raw {
    let mut copy = Tensor::f_empty(x.size(), (x.kind(), x.device()))?;
    copy.f_copy_(x)?;
    Ok(copy)
}

pub(crate) fn upload(array: &Array, device: Device) -> Result<TorchTensor> {
    with_dtype!(array.dtype(), T => {
        let values = array.as_slice::<T>()?;
        // SAFETY: the elements of every type are plain, and bytes have no alignment.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), std::mem::size_of_val(values))
        };
        Tensor::f_from_data_size(bytes, &ints(array.shape()), kind(array.dtype()))
            .and_then(|x| x.f_to_device(device))
            .own()
    })
}

pub(crate) fn download(x: &Tensor) -> Result<Array> {
    let ty = type_of(x);
    let dense = x.f_contiguous().map_err(|reason| error(&reason))?;
    with_dtype!(ty.dtype, T => {
        let mut values = vec![<T as Default>::default(); ty.len()];
        dense.f_copy_data(&mut values, ty.len()).map_err(|reason| error(&reason))?;
        Array::from_vec(&ty.shape, values)
    })
}

/// An operand or register, with whether it may be overwritten.
pub(crate) struct Operand {
    pub(crate) tensor: Tensor,
    pub(crate) free: bool,
}

impl From<Arg<TorchTensor>> for Operand {
    fn from(arg: Arg<TorchTensor>) -> Self {
        Self { tensor: arg.tensor.0, free: arg.writable }
    }
}
