//! The operands of an operation: tensors in order, and named arguments that may refer to tensors.

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::layers::{Arguments, input_index};
use crate::tensor::Tensor;
use serde_json::Value;
use std::cell::RefCell;

/// Reads an operation's operands and remembers which arguments were read.
pub(super) struct Operands<'a> {
    function: &'a str,
    inputs: &'a [Tensor],
    given: &'a Arguments,
    read: RefCell<Vec<&'a str>>,
}

impl<'a> Operands<'a> {
    pub(super) fn new(function: &'a str, inputs: &'a [Tensor], given: &'a Arguments) -> Self {
        // `name` names a node of TensorFlow's graph; the phase has been dealt with.
        Self { function, inputs, given, read: RefCell::new(vec!["name", "training"]) }
    }

    /// An error if an argument was not read: it would change the result in TensorFlow and not here.
    pub(super) fn finish(&self) -> Result<()> {
        let read = self.read.borrow();
        match self.given.keys().find(|key| !read.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::name(
                format!("tf.{}", self.function),
                format!("the arguments {}", read.join(", ")),
                format!("{key:?}"),
            )),
        }
    }

    pub(super) fn wrong(&self, key: &str, expected: &str) -> Error {
        let received = self.given.get(key).map_or("nothing".into(), Value::to_string);
        Error::value(format!("tf.{}, argument {key:?}", self.function), expected, received)
    }

    /// An argument; none if it is absent.
    pub(super) fn value(&self, key: &'a str) -> Option<&'a Value> {
        self.read.borrow_mut().push(key);
        self.given.get(key)
    }

    /// The tensors that no argument refers to, in order.
    pub(super) fn positional(&self) -> Vec<&'a Tensor> {
        fn named(value: &Value, found: &mut Vec<usize>) {
            match (input_index(value), value) {
                (Some(index), _) => found.push(index),
                (None, Value::Array(items)) => items.iter().for_each(|item| named(item, found)),
                (None, Value::Object(fields)) => fields.values().for_each(|item| named(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        self.given.values().for_each(|value| named(value, &mut found));
        let free = self.inputs.iter().enumerate().filter(|(i, _)| !found.contains(i));
        free.map(|(_, tensor)| tensor).collect()
    }

    /// The one tensor in front.
    pub(super) fn x(&self) -> Result<&'a Tensor> {
        match self.positional().as_slice() {
            [x] => Ok(x),
            others => {
                Err(Error::value(format!("tf.{}", self.function), "one tensor", others.len().to_string()))
            }
        }
    }

    /// The tensor that an argument refers to.
    pub(super) fn referred(&self, value: &Value) -> Option<&'a Tensor> {
        self.inputs.get(input_index(value)?)
    }

    /// A named operand: a tensor, or numbers of the element type of `like`.
    pub(super) fn operand(&self, key: &'a str, like: &Tensor) -> Result<Tensor> {
        let value = self.value(key).ok_or_else(|| self.wrong(key, "a tensor or numbers"))?;
        match self.referred(value) {
            Some(tensor) => Ok(tensor.clone()),
            None => Self::literal(value, like.dtype()?).ok_or_else(|| self.wrong(key, "a tensor or numbers")),
        }
    }

    /// Nested lists of numbers as a tensor.
    fn literal(value: &Value, dtype: DType) -> Option<Tensor> {
        fn collect(value: &Value, depth: usize, shape: &mut Vec<usize>, flat: &mut Vec<f64>) -> Option<()> {
            match value {
                Value::Array(items) => {
                    if shape.len() == depth {
                        shape.push(items.len());
                    }
                    (shape.get(depth) == Some(&items.len())).then_some(())?;
                    items.iter().try_for_each(|item| collect(item, depth + 1, shape, flat))
                }
                Value::Bool(value) => {
                    flat.push(f64::from(u8::from(*value)));
                    Some(())
                }
                value => {
                    flat.push(value.as_f64()?);
                    Some(())
                }
            }
        }
        let (mut shape, mut flat) = (Vec::new(), Vec::new());
        collect(value, 0, &mut shape, &mut flat)?;
        Some(Tensor::constant(Array::from_vec(&shape, flat).ok()?.cast(dtype)))
    }

    /// The operands of a function of two: a tensor and `second`, or a number and `second`.
    pub(super) fn pair(&self, second: &'a str) -> Result<(Tensor, Tensor)> {
        if let Some(constant) = self.value(super::CONSTANT) {
            let tensor = self.value(second).and_then(|value| self.referred(value));
            let tensor = tensor.ok_or_else(|| self.wrong(second, "a tensor"))?;
            let first = Self::literal(constant, tensor.dtype()?);
            return Ok((first.ok_or_else(|| self.wrong(super::CONSTANT, "a number"))?, tensor.clone()));
        }
        if let [a, b] = self.positional().as_slice() {
            return Ok(((*a).clone(), (*b).clone()));
        }
        let x = self.x()?;
        Ok((x.clone(), self.operand(second, x)?))
    }

    pub(super) fn flag(&self, key: &'a str) -> Result<bool> {
        match self.value(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub(super) fn number(&self, key: &'a str, default: f64) -> Result<f64> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, "a number")),
        }
    }

    pub(super) fn integer(&self, key: &'a str, default: isize) -> Result<isize> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => self.whole(value).ok_or_else(|| self.wrong(key, "a whole number")),
        }
    }

    /// A whole number, or a tensor whose value is known while tracing (a length that `tf.shape` gave).
    pub(super) fn whole(&self, value: &Value) -> Option<isize> {
        if let Some(tensor) = self.referred(value) {
            return tensor.literal()?.item().ok().map(|x| x as isize);
        }
        value.as_i64().map(|x| x as isize)
    }

    /// A list of whole numbers, one number standing for a list of one; none if it is absent.
    pub(super) fn integers(&self, key: &'a str) -> Result<Option<Vec<isize>>> {
        let found = match self.value(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items.iter().map(|item| self.whole(item)).collect(),
            Some(value) => self.whole(value).map(|one| vec![one]),
        };
        found.map(Some).ok_or_else(|| self.wrong(key, "a list of whole numbers"))
    }

    /// The lengths of a shape. One that a tensor gives and that is not known yet (where the call is settled for open
    /// axes) is taken from `x`.
    pub(super) fn lengths(&self, key: &'a str, x: &Tensor) -> Result<Vec<isize>> {
        let wrong = || self.wrong(key, "a list of lengths");
        let own = x.shape()?;
        let value = self.value(key).ok_or_else(wrong)?;
        if let Some(tensor) = self.referred(value) {
            let known = tensor.literal().ok_or_else(wrong)?;
            return Ok(known.to_vec::<i64>().into_iter().map(|len| len as isize).collect());
        }
        let items = value.as_array().ok_or_else(wrong)?;
        let len = |(i, item): (usize, &Value)| {
            let from_x = || self.referred(item).and_then(|_| own.get(i)).map(|&len| len as isize);
            self.whole(item).or_else(from_x)
        };
        items.iter().enumerate().map(len).collect::<Option<Vec<_>>>().ok_or_else(wrong)
    }

    /// An element type: `float32`, `<dtype: 'float32'>`.
    pub(super) fn dtype(&self, key: &'a str, default: DType) -> Result<DType> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => {
                let name = value.as_str().ok_or_else(|| self.wrong(key, "an element type"))?;
                DType::from_name(name.trim_start_matches("<dtype: '").trim_end_matches("'>"))
            }
        }
    }

    /// Refuses an argument that is not what TensorFlow takes when it is absent.
    pub(super) fn only(&self, key: &'a str, default: &Value) -> Result<()> {
        match self.value(key) {
            Some(value) if value != default => Err(self.wrong(key, &default.to_string())),
            _ => Ok(()),
        }
    }
}
