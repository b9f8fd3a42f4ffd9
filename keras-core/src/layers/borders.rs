//! What is added to or taken from the sides of spatial axes: `ZeroPadding`, `Cropping`.

use super::check::one;
use super::conv_geometry::{Image, spatial_axes};
use super::registry::Read;
use super::windowed::default_format;
use super::{Base, Call, Choice, Layer, Sides};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor, shape_text};
use std::marker::PhantomData;

/// What happens at the sides of an axis.
pub trait BorderKind: Send + Sync + 'static {
    /// The start of the class names.
    const NAME: &'static str;
    /// The key of the argument.
    const KEY: &'static str;
    /// What axes are expected, and what to do about others; the cells per side follow.
    const FITTING: (&'static str, &'static str);
    /// The cells per side where a config names none, for that many axes.
    fn default(axes: usize) -> usize;
    /// The length that an axis gets; none if it cannot be that long or that short.
    fn len(len: usize, sides: (usize, usize)) -> Option<usize>;
    /// One axis with its sides changed.
    fn call(x: &Tensor, axis: usize, len: usize, sides: (usize, usize)) -> Result<Tensor>;
}

/// Zeros around it.
#[derive(Debug, Clone, Copy)]
pub struct Zeros;

/// Cells cut off.
#[derive(Debug, Clone, Copy)]
pub struct Cropped;

impl BorderKind for Zeros {
    const NAME: &'static str = "ZeroPadding";
    const KEY: &'static str = "padding";
    const FITTING: (&'static str, &'static str) =
        ("axes that can be counted with the padding", "use a smaller padding");
    fn default(_: usize) -> usize {
        1
    }
    fn len(len: usize, (before, after): (usize, usize)) -> Option<usize> {
        len.checked_add(before)?.checked_add(after)
    }
    fn call(x: &Tensor, axis: usize, _: usize, sides: (usize, usize)) -> Result<Tensor> {
        let mut pads = vec![(0, 0); x.rank()?];
        if let Some(pad) = pads.get_mut(axis) {
            *pad = sides;
        }
        Ok(k::pad(x, &pads))
    }
}

impl BorderKind for Cropped {
    const NAME: &'static str = "Cropping";
    const KEY: &'static str = "cropping";
    const FITTING: (&'static str, &'static str) =
        ("axes longer than the cropping", "use a smaller cropping or a larger input");
    fn default(axes: usize) -> usize {
        usize::from(axes != 2)
    }
    fn len(len: usize, (before, after): (usize, usize)) -> Option<usize> {
        len.checked_sub(before)?.checked_sub(after).filter(|&len| len > 0)
    }
    fn call(x: &Tensor, axis: usize, len: usize, (before, after): (usize, usize)) -> Result<Tensor> {
        Ok(k::slice_axis(x, axis as isize, before, len.saturating_sub(after)))
    }
}

/// Zeros before and after the steps of `(batch, steps, channels)`.
pub type ZeroPadding1D = Border<Zeros, 1>;
/// Zeros around images `(batch, rows, columns, channels)`.
///
/// ```
/// use keras_core::layers::{Input, ZeroPadding2D};
/// let x = Input::new([28, 28, 3]).tensor()?;
/// assert_eq!(ZeroPadding2D::new((2, 1)).call(&x)?.spec()?.shape, [None, Some(32), Some(30), Some(3)]);
/// assert_eq!(ZeroPadding2D::new(((0, 1), (2, 3))).call(&x)?.spec()?.shape, [None, Some(29), Some(33), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type ZeroPadding2D = Border<Zeros, 2>;
/// Zeros around volumes `(batch, depth, rows, columns, channels)`.
pub type ZeroPadding3D = Border<Zeros, 3>;
/// Steps cut off before and after `(batch, steps, channels)`.
pub type Cropping1D = Border<Cropped, 1>;
/// Rows and columns cut off images `(batch, rows, columns, channels)`.
///
/// ```
/// use keras_core::layers::{Cropping2D, Input};
/// let x = Input::new([28, 28, 3]).tensor()?;
/// assert_eq!(Cropping2D::new(((2, 2), (4, 0))).call(&x)?.spec()?.shape, [None, Some(24), Some(24), Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type Cropping2D = Border<Cropped, 2>;
/// Cells cut off volumes `(batch, depth, rows, columns, channels)`.
pub type Cropping3D = Border<Cropped, 3>;

/// A change at the sides of `N` spatial axes.
#[derive(Debug, Clone)]
pub struct Border<K, const N: usize> {
    base: Base,
    sides: Sides<N>,
    data_format: Choice<DataFormat>,
    kind: PhantomData<fn() -> K>,
}

impl<K: BorderKind, const N: usize> Border<K, N> {
    /// That many cells on every side (`1`), per axis (`(2, 1)`), or per side (`((1, 2), (0, 1))`).
    pub fn new(sides: impl Into<Sides<N>>) -> Self {
        Self { base: Base::default(), sides: sides.into(), data_format: default_format(N), kind: PhantomData }
    }

    /// `"channels_last"` or `"channels_first"`; default: that of keras.json, and `"channels_last"` for one axis.
    pub fn data_format(mut self, format: impl Into<Choice<DataFormat>>) -> Self {
        self.data_format = format.into();
        self
    }

    fn class() -> String {
        format!("{}{N}D", K::NAME)
    }
}

crate::layer_verbs!([K: BorderKind, const N: usize] Border<K, N>);

impl<K: BorderKind, const N: usize> Read for Border<K, N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            base: Base::read(reader)?,
            sides: Sides::read(reader, K::KEY, K::default(N).into())?,
            data_format: Choice::read(reader, "data_format", default_format(N))?,
            kind: PhantomData,
        })
    }
}

impl<K: BorderKind, const N: usize> Layer for Border<K, N> {
    fn config(&self) -> Config {
        let config = Config::new(Self::class()).with(K::KEY, self.sides.to_value());
        // Keras's class for one axis has no such key.
        let saved = N > 1 || self.data_format.resolve() == Ok(DataFormat::ChannelsFirst);
        if saved { config.with("data_format", self.data_format.to_value()) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let class = Self::class();
        let format = self.data_format.resolve()?;
        let mut image = Image::of(&class, one(&class, inputs)?, format, N)?;
        let before = image.spatial.clone();
        for (len, sides) in image.spatial.iter_mut().zip(self.sides.0) {
            let Some(known) = *len else { continue };
            *len = Some(K::len(known, sides).ok_or_else(|| {
                let (expected, advice) = K::FITTING;
                let expected = format!("{expected} {:?}", self.sides.0);
                Error::shape(class.clone(), expected, shape_text(&before)).advice(advice)
            })?);
        }
        Ok(Some(vec![image.spec(format)]))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut x = one(&Self::class(), inputs)?.clone();
        self.compute_output_shape(&[x.spec()?])?;
        let shape = x.shape()?;
        for (axis, sides) in spatial_axes(self.data_format.resolve()?, N).zip(self.sides.0) {
            if let Some(&len) = shape.get(axis).filter(|_| sides != (0, 0)) {
                x = K::call(&x, axis, len, sides)?;
            }
        }
        Ok(vec![x])
    }
}
