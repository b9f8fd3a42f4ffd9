//! [`CandleTensor`], and the way between host arrays and it.

use candle_core::{DType as Stored, Device, Tensor};
use keras_core::backend::Scalar;
use keras_core::{Array, DType, Error, Result};

/// A tensor of candle with its element type: candle has no truth values, which are stored as bytes.
#[derive(Debug, Clone)]
pub struct CandleTensor {
    pub(crate) tensor: Tensor,
    pub(crate) dtype: DType,
}

/// What candle's functions return.
pub(crate) type Raw = candle_core::Result<Tensor>;

/// An error of candle, without the backtrace that it may carry.
pub(crate) fn error(error: &candle_core::Error) -> Error {
    let text = error.to_string();
    Error::backend("backend candle", "success", text.lines().next().unwrap_or_default())
}

/// From candle's results to ours.
pub(crate) trait Typed {
    /// The tensor, holding elements of that type.
    fn typed(self, dtype: DType) -> Result<CandleTensor>;
}

impl Typed for Raw {
    fn typed(self, dtype: DType) -> Result<CandleTensor> {
        self.map(|tensor| CandleTensor { tensor, dtype }).map_err(|reason| error(&reason))
    }
}

/// How candle stores elements of a type.
pub(crate) fn stored(dtype: DType) -> Stored {
    match dtype {
        DType::F32 => Stored::F32,
        DType::F64 => Stored::F64,
        DType::I32 => Stored::I32,
        DType::I64 => Stored::I64,
        DType::U8 | DType::Bool => Stored::U8,
    }
}

pub(crate) fn upload(array: &Array, device: &Device) -> Result<CandleTensor> {
    let shape = array.shape();
    match array.dtype() {
        DType::F32 => Tensor::from_slice(array.as_slice::<f32>()?, shape, device),
        DType::F64 => Tensor::from_slice(array.as_slice::<f64>()?, shape, device),
        DType::I32 => Tensor::from_slice(array.as_slice::<i32>()?, shape, device),
        DType::I64 => Tensor::from_slice(array.as_slice::<i64>()?, shape, device),
        DType::U8 => Tensor::from_slice(array.as_slice::<u8>()?, shape, device),
        DType::Bool => {
            let bytes = array.as_slice::<bool>()?.iter().map(|&x| u8::from(x)).collect();
            Tensor::from_vec(bytes, shape, device)
        }
    }
    .typed(array.dtype())
}

pub(crate) fn download(x: &CandleTensor) -> Result<Array> {
    fn values<T: candle_core::WithDType>(flat: &Tensor) -> Result<Vec<T>> {
        flat.to_vec1().map_err(|reason| error(&reason))
    }
    let shape = x.tensor.dims();
    let flat = x.tensor.flatten_all().map_err(|reason| error(&reason))?;
    match x.dtype {
        DType::F32 => Array::from_vec(shape, values::<f32>(&flat)?),
        DType::F64 => Array::from_vec(shape, values::<f64>(&flat)?),
        DType::I32 => Array::from_vec(shape, values::<i32>(&flat)?),
        DType::I64 => Array::from_vec(shape, values::<i64>(&flat)?),
        DType::U8 => Array::from_vec(shape, values::<u8>(&flat)?),
        DType::Bool => {
            let truths: Vec<bool> = values::<u8>(&flat)?.into_iter().map(|x| x != 0).collect();
            Array::from_vec(shape, truths)
        }
    }
}

/// A tensor filled with a number.
pub(crate) fn full(shape: &[usize], value: Scalar, dtype: DType, device: &Device) -> Raw {
    match dtype {
        DType::F32 => Tensor::full(value.to_f64() as f32, shape, device),
        DType::F64 => Tensor::full(value.to_f64(), shape, device),
        DType::I32 => Tensor::full(value.to_i64() as i32, shape, device),
        DType::I64 => Tensor::full(value.to_i64(), shape, device),
        DType::U8 => Tensor::full(value.to_i64() as u8, shape, device),
        DType::Bool => Tensor::full(u8::from(value.to_f64() != 0.0), shape, device),
    }
}
