//! [`Array`]: host data of any element type and rank, over `ndarray`; what goes into a model and what comes out.

use crate::error::{Error, Result};
use ndarray::{ArcArray, ArrayD, ArrayViewD, IxDyn};
use std::fmt;

/// The element types of arrays and tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float, the default of every layer.
    F32,
    /// 64-bit float.
    F64,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// Truth value.
    Bool,
}

impl DType {
    /// Every element type.
    pub const ALL: [Self; 6] = [Self::F32, Self::F64, Self::I32, Self::I64, Self::U8, Self::Bool];

    /// Keras's name: `float32`, `float64`, `int32`, `int64`, `uint8`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::Bool => "bool",
        }
    }

    /// The type of a Keras name.
    pub fn from_name(name: &str) -> Result<Self> {
        if let Some(dtype) = Self::ALL.into_iter().find(|dtype| dtype.name() == name) {
            return Ok(dtype);
        }
        let error = Error::unknown("element type", name, Self::ALL.map(Self::name));
        Err(match name {
            "float16" | "bfloat16" | "mixed_float16" | "mixed_bfloat16" => error.advice(
                "nothing computes in half precision here: make the model with the policy float32, and load its weights",
            ),
            _ => error,
        })
    }

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether it is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is an element of arrays.
pub trait Element: Copy + Send + Sync + PartialEq + fmt::Debug + Default + sealed::Sealed + 'static {
    /// Its [`DType`].
    const DTYPE: DType;
    /// Conversion through `f64`: truncation towards zero and saturation for integers, "not zero" for truth values.
    fn from_f64(value: f64) -> Self;
    /// Conversion from a 64-bit integer: saturation for the smaller ones.
    fn from_i64(value: i64) -> Self;
    /// The value as `f64`.
    fn to_f64(self) -> f64;
    /// The value as `i64`, truncated towards zero and saturated.
    fn to_i64(self) -> i64;
}

mod sealed {
    use super::Array;
    use ndarray::{ArcArray, IxDyn};
    pub trait Sealed: Sized {
        fn wrap(array: ArcArray<Self, IxDyn>) -> Array;
        fn unwrap(array: &Array) -> Option<&ArcArray<Self, IxDyn>>;
        fn unwrap_mut(array: &mut Array) -> Option<&mut ArcArray<Self, IxDyn>>;
    }
}

#[derive(Clone)]
enum Data {
    F32(ArcArray<f32, IxDyn>),
    F64(ArcArray<f64, IxDyn>),
    I32(ArcArray<i32, IxDyn>),
    I64(ArcArray<i64, IxDyn>),
    U8(ArcArray<u8, IxDyn>),
    Bool(ArcArray<bool, IxDyn>),
}

macro_rules! element {
    ($type:ty, $variant:ident, |$f:ident| $from:expr, |$i:ident| $from_int:expr, |$x:ident| $to:expr, |$y:ident| $to_int:expr) => {
        impl sealed::Sealed for $type {
            fn wrap(array: ArcArray<Self, IxDyn>) -> Array {
                Array(Data::$variant(array))
            }
            fn unwrap(array: &Array) -> Option<&ArcArray<Self, IxDyn>> {
                if let Data::$variant(inner) = &array.0 { Some(inner) } else { None }
            }
            fn unwrap_mut(array: &mut Array) -> Option<&mut ArcArray<Self, IxDyn>> {
                if let Data::$variant(inner) = &mut array.0 { Some(inner) } else { None }
            }
        }
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn from_f64($f: f64) -> Self {
                $from
            }
            fn from_i64($i: i64) -> Self {
                $from_int
            }
            fn to_f64(self) -> f64 {
                let $x = self;
                $to
            }
            fn to_i64(self) -> i64 {
                let $y = self;
                $to_int
            }
        }
        impl From<$type> for Array {
            fn from(value: $type) -> Self {
                Self::wrap(ndarray::arr0(value).into_dyn())
            }
        }
        impl From<Vec<$type>> for Array {
            fn from(values: Vec<$type>) -> Self {
                Self::wrap(ndarray::Array1::from_vec(values).into_dyn())
            }
        }
        impl<const N: usize> From<[$type; N]> for Array {
            fn from(values: [$type; N]) -> Self {
                values.to_vec().into()
            }
        }
        impl<const N: usize, const M: usize> From<[[$type; M]; N]> for Array {
            fn from(rows: [[$type; M]; N]) -> Self {
                Self::wrap(ndarray::arr2(&rows).into_dyn())
            }
        }
    };
}

element!(f32, F32, |f| f as f32, |i| i as f32, |x| f64::from(x), |y| y as i64);
element!(f64, F64, |f| f, |i| i as f64, |x| x, |y| y as i64);
element!(
    i32,
    I32,
    |f| f as i32,
    |i| i.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
    |x| f64::from(x),
    |y| y.into()
);
element!(i64, I64, |f| f as i64, |i| i, |x| x as f64, |y| y);
element!(u8, U8, |f| f as u8, |i| i.clamp(0, 255) as u8, |x| f64::from(x), |y| y.into());
element!(bool, Bool, |f| f != 0.0, |i| i != 0, |x| f64::from(u8::from(x)), |y| y.into());

/// Runs a generic expression with `$T` bound to the Rust type of a [`DType`].
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::Bool => {
                type $T = bool;
                $body
            }
        }
    };
}

/// Host data: row-major (C order), shared on `clone`, copied on write.
///
/// ```
/// use keras_core::{Array, DType};
/// let x = Array::from([[1.0_f32, 2.0], [3.0, 4.0]]);
/// assert_eq!((x.shape(), x.dtype()), (&[2, 2][..], DType::F32));
/// assert_eq!(x.as_slice::<f32>()?, &[1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Array(Data);

/// Runs an expression with `$array` bound to the typed array inside.
macro_rules! with_data {
    ($self:expr, $array:ident => $body:expr) => {
        match &$self.0 {
            Data::F32($array) => $body,
            Data::F64($array) => $body,
            Data::I32($array) => $body,
            Data::I64($array) => $body,
            Data::U8($array) => $body,
            Data::Bool($array) => $body,
        }
    };
}

/// Whether lengths are those of a tensor at all: of at most 2⁵³ elements, more than any memory holds, if an empty axis
/// counts as one cell. Sums and products of some of them do not overflow then.
pub(crate) fn is_countable(mut lens: impl Iterator<Item = usize>) -> bool {
    let count = lens.try_fold(1_usize, |product, len| product.checked_mul(len.max(1)));
    count.is_some_and(|count| count <= 1 << 53)
}

/// Whether an array of that shape could be had now, with room for a copy.
pub(crate) fn fits_into_memory(shape: &[usize], dtype: DType) -> bool {
    let room = || Vec::<u8>::new().try_reserve_exact(element_count(shape) * dtype.size()).is_ok();
    is_countable(shape.iter().copied()) && room()
}

impl Array {
    fn wrap<T: Element>(array: ArrayD<T>) -> Self {
        let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
        T::wrap(array.into_shared())
    }

    /// An array of `shape` from its elements in row-major order; an error if their number does not fit.
    ///
    /// ```
    /// use keras_core::Array;
    /// assert_eq!(Array::from_vec(&[2, 1], vec![1.0_f32, 2.0])?.shape(), [2, 1]);
    /// assert!(Array::from_vec(&[usize::MAX, 2], vec![1.0_f32]).is_err());
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn from_vec<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Self> {
        let len = values.len();
        ArrayD::from_shape_vec(IxDyn(shape), values).map(Self::wrap).map_err(|_| {
            Error::shape(
                "array from elements",
                format!("as many elements as shape {shape:?} has"),
                format!("{len}"),
            )
        })
    }

    /// `shape` filled with one value.
    ///
    /// ```
    /// use keras_core::Array;
    /// assert_eq!(Array::full(&[2], 0.5_f32)?, Array::from([0.5_f32, 0.5]));
    /// assert!(Array::full(&[usize::MAX, 2], 0.5_f32).is_err());
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If memory cannot hold so many elements.
    pub fn full<T: Element>(shape: &[usize], value: T) -> Result<Self> {
        // To ask for less than that and give it back would make allocators keep later arrays in pieces.
        let is_small =
            is_countable(shape.iter().copied()) && element_count(shape) * T::DTYPE.size() <= 32 << 20;
        if is_small || fits_into_memory(shape, T::DTYPE) {
            return Ok(Self::wrap(ArrayD::from_elem(IxDyn(shape), value)));
        }
        Err(Error::shape("array", "a shape that fits into memory", format!("{shape:?}"))
            .advice("make it smaller"))
    }

    /// `shape` filled with `value`, converted to `dtype`.
    ///
    /// # Errors
    /// If memory cannot hold so many elements.
    pub fn full_of(dtype: DType, shape: &[usize], value: f64) -> Result<Self> {
        with_dtype!(dtype, T => Self::full(shape, T::from_f64(value)))
    }

    /// `shape` filled with zeros of `dtype`.
    ///
    /// # Errors
    /// If memory cannot hold so many elements.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        Self::full_of(dtype, shape, 0.0)
    }

    /// One number, of no axes.
    pub(crate) fn scalar(dtype: DType, value: f64) -> Self {
        with_dtype!(dtype, T => Self::wrap(ArrayD::from_elem(IxDyn(&[]), T::from_f64(value))))
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        with_data!(self, array => array.shape())
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        with_data!(self, array => array.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match &self.0 {
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::U8(_) => DType::U8,
            Data::Bool(_) => DType::Bool,
        }
    }

    fn typed<T: Element>(&self) -> Result<&ArcArray<T, IxDyn>> {
        T::unwrap(self).ok_or_else(|| {
            Error::dtype("array access", T::DTYPE.name(), self.dtype().name()).advice("convert with cast()")
        })
    }

    /// The elements in row-major order; an error if `T` is not the element type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let array = self.typed::<T>()?;
        array.as_slice().ok_or_else(|| Error::state("array access", "row-major elements", "another layout"))
    }

    /// The elements for writing; copied first if shared.
    pub fn as_slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let received = self.dtype();
        let wrong =
            || Error::dtype("array access", T::DTYPE.name(), received.name()).advice("convert with cast()");
        T::unwrap_mut(self).and_then(|array| array.as_slice_mut()).ok_or_else(wrong)
    }

    /// A typed view; an error if `T` is not the element type.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        Ok(self.typed::<T>()?.view())
    }

    /// A typed copy as an `ndarray` array; an error if `T` is not the element type.
    pub fn to_ndarray<T: Element>(&self) -> Result<ArrayD<T>> {
        Ok(self.typed::<T>()?.to_owned())
    }

    /// The elements converted to `T`, in row-major order.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        match self.as_slice::<T>() {
            Ok(slice) => slice.to_vec(),
            Err(_) => self.convert(T::from_f64, T::from_i64),
        }
    }

    fn convert<T>(&self, from_f64: fn(f64) -> T, from_i64: fn(i64) -> T) -> Vec<T> {
        match &self.0 {
            Data::F32(array) => array.iter().map(|&x| from_f64(x.into())).collect(),
            Data::F64(array) => array.iter().map(|&x| from_f64(x)).collect(),
            Data::I32(array) => array.iter().map(|&x| from_i64(x.into())).collect(),
            Data::I64(array) => array.iter().map(|&x| from_i64(x)).collect(),
            Data::U8(array) => array.iter().map(|&x| from_i64(x.into())).collect(),
            Data::Bool(array) => array.iter().map(|&x| from_i64(x.into())).collect(),
        }
    }

    /// The elements converted to `dtype`: floats truncate towards zero, truth values are "not zero".
    pub fn cast(&self, dtype: DType) -> Self {
        if dtype == self.dtype() {
            return self.clone();
        }
        let shape = IxDyn(self.shape());
        with_dtype!(dtype, T => {
            let values = self.to_vec::<T>();
            ArrayD::from_shape_vec(shape, values).map_or_else(|_| Self::scalar(dtype, 0.0), Self::wrap)
        })
    }

    /// The same elements under another shape of the same size; shares memory.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let wrong = |_| {
            Error::shape(
                "reshape",
                format!("a shape of {} elements, as {:?} has", self.len(), self.shape()),
                format!("{shape:?}"),
            )
        };
        macro_rules! reshaped {
            ($($variant:ident),*) => {
                match &self.0 { $(Data::$variant(array) => {
                    Ok(Self(Data::$variant(array.clone().into_shape_with_order(IxDyn(shape)).map_err(wrong)?)))
                })* }
            };
        }
        reshaped!(F32, F64, I32, I64, U8, Bool)
    }

    /// The single element of an array of one element, as `f64`.
    pub fn item(&self) -> Result<f64> {
        match self.to_vec::<f64>().as_slice() {
            [value] => Ok(*value),
            values => {
                Err(Error::shape("item", "an array of one element", format!("{} elements", values.len())))
            }
        }
    }

    /// The rows `indices` of axis 0, in that order: how a batch is drawn.
    pub fn take(&self, indices: &[usize]) -> Result<Self> {
        let Some((&rows, rest)) = self.shape().split_first() else {
            return Err(Error::shape("take", "an array with an axis of samples", "a scalar"));
        };
        if let Some(&bad) = indices.iter().find(|&&i| i >= rows) {
            return Err(Error::value("take", format!("row numbers below {rows}"), bad.to_string()));
        }
        let row: usize = rest.iter().product();
        let shape: Vec<usize> = std::iter::once(indices.len()).chain(rest.iter().copied()).collect();
        with_dtype!(self.dtype(), T => {
            let source = self.as_slice::<T>()?;
            let mut values = Vec::with_capacity(indices.len() * row);
            for &i in indices {
                values.extend_from_slice(source.get(i * row..(i + 1) * row).unwrap_or_default());
            }
            Self::from_vec(&shape, values)
        })
    }

    /// The rows `start..stop` of axis 0; `stop` is cut at the end.
    pub fn rows(&self, start: usize, stop: usize) -> Result<Self> {
        let Some((&rows, rest)) = self.shape().split_first() else {
            return Err(Error::shape("rows", "an array with an axis of samples", "a scalar"));
        };
        let stop = stop.min(rows);
        let start = start.min(stop);
        let row: usize = rest.iter().product();
        let shape: Vec<usize> = std::iter::once(stop - start).chain(rest.iter().copied()).collect();
        with_dtype!(self.dtype(), T => {
            let source = self.as_slice::<T>()?;
            Self::from_vec(&shape, source.get(start * row..stop * row).unwrap_or_default().to_vec())
        })
    }

    /// Joins arrays of one element type along axis 0.
    pub fn concatenate(parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::value("concatenate", "at least one array", "none"));
        };
        let (dtype, rest) = (first.dtype(), first.shape().get(1..).unwrap_or_default());
        for part in parts {
            if part.dtype() != dtype || part.rank() == 0 || part.shape().get(1..).unwrap_or_default() != rest
            {
                return Err(Error::shape("concatenate", format!("{first:?}"), format!("{part:?}")));
            }
        }
        let rows = parts.iter().filter_map(|part| part.shape().first()).sum();
        let shape: Vec<usize> = std::iter::once(rows).chain(rest.iter().copied()).collect();
        with_dtype!(dtype, T => {
            let mut values = Vec::with_capacity(element_count(&shape));
            for part in parts {
                values.extend_from_slice(part.as_slice::<T>()?);
            }
            Self::from_vec(&shape, values)
        })
    }

    /// Whether shape, type and every bit of every element agree (so NaN equals NaN, and 0.0 differs from -0.0).
    pub fn same_bits(&self, other: &Self) -> bool {
        if self.shape() != other.shape() {
            return false;
        }
        match (&self.0, &other.0) {
            (Data::F32(a), Data::F32(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (Data::F64(a), Data::F64(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (Data::I32(a), Data::I32(b)) => a == b,
            (Data::I64(a), Data::I64(b)) => a == b,
            (Data::U8(a), Data::U8(b)) => a == b,
            (Data::Bool(a), Data::Bool(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.same_bits(other)
    }
}

impl Eq for Array {}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.dtype(), self.shape())?;
        if self.len() <= 16 {
            with_data!(self, array => write!(f, " {:?}", array.as_slice().unwrap_or_default()))?;
        }
        Ok(())
    }
}

impl<T: Element, D: ndarray::Dimension> From<ndarray::Array<T, D>> for Array {
    fn from(array: ndarray::Array<T, D>) -> Self {
        Self::wrap(array.into_dyn())
    }
}

impl<T: Element, D: ndarray::Dimension> From<&ndarray::Array<T, D>> for Array {
    fn from(array: &ndarray::Array<T, D>) -> Self {
        Self::wrap(array.to_owned().into_dyn())
    }
}

impl<T: Element, D: ndarray::Dimension> From<ndarray::ArrayView<'_, T, D>> for Array {
    fn from(array: ndarray::ArrayView<'_, T, D>) -> Self {
        Self::wrap(array.to_owned().into_dyn())
    }
}

impl From<&Self> for Array {
    fn from(array: &Self) -> Self {
        array.clone()
    }
}

/// The number of elements of a shape.
pub fn element_count(shape: &[usize]) -> usize {
    shape.iter().product()
}
