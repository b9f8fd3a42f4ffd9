//! Arguments that several layers take: named choices, numbers per spatial axis, pads.

use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::registry::Reader;
use serde_json::{Value, json};

/// A type with a few values, each with Keras's name for it.
pub trait Named: Copy + PartialEq + 'static {
    /// What it is, in messages: `padding`.
    const KIND: &'static str;
    /// Every value under its name.
    const ALL: &'static [(&'static str, Self)];
}

/// What a window does at the edges of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Windows lie inside the input.
    Valid,
    /// Zeros around the input, so that a stride of 1 keeps the length; the odd one goes to the end.
    Same,
    /// Zeros before the input, so that no result sees a later step; `Conv1D` alone has it.
    Causal,
}

impl Named for Padding {
    const KIND: &'static str = "padding";
    const ALL: &'static [(&'static str, Self)] =
        &[("valid", Self::Valid), ("same", Self::Same), ("causal", Self::Causal)];
}

impl Named for DataFormat {
    const KIND: &'static str = "data_format";
    const ALL: &'static [(&'static str, Self)] =
        &[("channels_last", Self::ChannelsLast), ("channels_first", Self::ChannelsFirst)];
}

/// A [`Named`] argument: a value, or a name that is looked up when the layer is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// A value.
    Value(T),
    /// A name, known or not.
    Name(String),
}

impl<T: Named> From<T> for Choice<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T> From<&str> for Choice<T> {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl<T> From<String> for Choice<T> {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl<T: Named> Choice<T> {
    /// The value; an error that lists the names there are if nobody knows this one.
    pub fn resolve(&self) -> Result<T> {
        match self {
            Self::Value(value) => Ok(*value),
            Self::Name(name) => {
                let found = T::ALL.iter().find(|(known, _)| *known == name.to_lowercase());
                found.map(|(_, value)| *value).ok_or_else(|| {
                    let names: Vec<String> = T::ALL.iter().map(|(name, _)| format!("{name:?}")).collect();
                    let expected = format!("one of {}", names.join(", "));
                    Error::name(T::KIND, expected, format!("{name:?}"))
                        .advice("use one of these")
                        .suggest(name, T::ALL.iter().map(|(name, _)| *name))
                })
            }
        }
    }

    /// Keras's name, as configs have it.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Name(name) => json!(name),
            Self::Value(value) => {
                T::ALL.iter().find(|(_, known)| known == value).map(|(name, _)| *name).into()
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        Ok(reader.text_or_none(key)?.map_or(default, Self::Name))
    }
}

/// One axis as a number, several as a list: how configs have them.
pub(crate) fn one_or_list(axes: &[isize]) -> Value {
    match axes {
        [axis] => json!(axis),
        axes => json!(axes),
    }
}

/// One number per spatial axis: `3` for all of them, `(3, 5)` or `[3, 5]` for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PerAxis<const N: usize>(pub [usize; N]);

impl<const N: usize> From<usize> for PerAxis<N> {
    fn from(all: usize) -> Self {
        Self([all; N])
    }
}

impl<const N: usize> From<[usize; N]> for PerAxis<N> {
    fn from(each: [usize; N]) -> Self {
        Self(each)
    }
}

impl From<(usize, usize)> for PerAxis<2> {
    fn from((rows, columns): (usize, usize)) -> Self {
        Self([rows, columns])
    }
}

impl From<(usize, usize, usize)> for PerAxis<3> {
    fn from((depth, rows, columns): (usize, usize, usize)) -> Self {
        Self([depth, rows, columns])
    }
}

impl<const N: usize> PerAxis<N> {
    /// Reads a list of `N`, or one number for all axes.
    pub(crate) fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        let counts = reader.counts(key, N, &default.0)?;
        let wrong = |_| reader.wrong(key, &format!("a whole number or a list of {N}"));
        counts.try_into().map(Self).map_err(wrong)
    }

    pub(crate) fn to_value(self) -> Value {
        json!(self.0.to_vec())
    }

    /// An error unless every number is at least 1.
    pub(crate) fn positive(self, class: &str, name: &str) -> Result<Self> {
        if self.0.contains(&0) {
            return Err(Error::value(class, format!("{name} of at least 1"), format!("{:?}", self.0))
                .advice(format!("give the layer a positive {name}")));
        }
        Ok(self)
    }
}

/// Cells before and after, per spatial axis: `1` for all of them, `(2, 1)` for each axis (of one axis: before and
/// after), `((1, 2), (0, 1))` for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sides<const N: usize>(pub [(usize, usize); N]);

impl<const N: usize> From<usize> for Sides<N> {
    fn from(all: usize) -> Self {
        Self([(all, all); N])
    }
}

impl<const N: usize> From<[(usize, usize); N]> for Sides<N> {
    fn from(sides: [(usize, usize); N]) -> Self {
        Self(sides)
    }
}

impl From<(usize, usize)> for Sides<1> {
    fn from(sides: (usize, usize)) -> Self {
        Self([sides])
    }
}

impl From<(usize, usize)> for Sides<2> {
    fn from((rows, columns): (usize, usize)) -> Self {
        Self([(rows, rows), (columns, columns)])
    }
}

impl From<((usize, usize), (usize, usize))> for Sides<2> {
    fn from((rows, columns): ((usize, usize), (usize, usize))) -> Self {
        Self([rows, columns])
    }
}

impl From<(usize, usize, usize)> for Sides<3> {
    fn from((depth, rows, columns): (usize, usize, usize)) -> Self {
        Self([(depth, depth), (rows, rows), (columns, columns)])
    }
}

impl From<((usize, usize), (usize, usize), (usize, usize))> for Sides<3> {
    fn from((depth, rows, columns): ((usize, usize), (usize, usize), (usize, usize))) -> Self {
        Self([depth, rows, columns])
    }
}

impl<const N: usize> Sides<N> {
    pub(crate) fn read(reader: &mut Reader<'_>, key: &str, default: Self) -> Result<Self> {
        let Some(value) = reader.value(key) else { return Ok(default) };
        let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([before, after]) => Some((count(before)?, count(after)?)),
            Some(_) => None,
            None => count(value).map(|both| (both, both)),
        };
        // Of one axis, the list itself is the two sides.
        let sides: Option<Vec<_>> = match value.as_array() {
            Some(items) if N > 1 => items.iter().map(pair).collect(),
            _ => pair(value).map(|sides| vec![sides; N]),
        };
        let expected = format!("a whole number or {N} pairs of them");
        sides.and_then(|sides| sides.try_into().ok()).map(Self).ok_or_else(|| reader.wrong(key, &expected))
    }

    pub(crate) fn to_value(self) -> Value {
        match self.0.as_slice() {
            [(before, after)] => json!([before, after]),
            sides => sides.iter().map(|(before, after)| json!([before, after])).collect(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::registry::Config;

    #[test]
    fn choices_are_looked_up_by_name_and_refused_with_the_names_there_are() {
        assert_eq!(Choice::<Padding>::from("Same").resolve().unwrap(), Padding::Same);
        assert_eq!(Choice::from(DataFormat::ChannelsFirst).to_value(), json!("channels_first"));
        let error = Choice::<Padding>::from("full").resolve().unwrap_err();
        assert_eq!(
            error.to_string(),
            "padding: expected one of \"valid\", \"same\", \"causal\", received \"full\"; use one of these"
        );
    }

    #[test]
    fn sides_are_read_in_every_form_that_keras_writes() {
        let read = |value: Value| {
            Sides::<2>::read(
                &mut Config::new("ZeroPadding2D").with("padding", value).reader(),
                "padding",
                1.into(),
            )
        };
        assert_eq!(read(json!(2)).unwrap(), 2.into());
        assert_eq!(read(json!([2, 3])).unwrap(), (2, 3).into());
        assert_eq!(read(json!([[1, 2], [3, 4]])).unwrap(), ((1, 2), (3, 4)).into());
        assert_eq!(read(json!([[1, 2], 3])).unwrap(), ((1, 2), (3, 3)).into());
        assert_eq!(read(Value::Null).unwrap(), 1.into());
        assert!(read(json!([[1, 2, 3], [3, 4]])).is_err());
        assert!(read(json!([1, 2, 3])).is_err());
        assert!(read(json!(-1)).is_err());
        let line = Sides::<1>::read(
            &mut Config::new("ZeroPadding1D").with("padding", [2, 3]).reader(),
            "padding",
            1.into(),
        );
        assert_eq!(line.unwrap().to_value(), json!([2, 3]));
    }
}
