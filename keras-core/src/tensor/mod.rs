//! [`Tensor`]: the one symbolic value that layers, losses and users compute with.
//!
//! A *Keras tensor* (from `Input` or a layer call) knows where it came from and a [`Spec`]: a shape that may leave
//! axes open, an element type. A *traced tensor* is a value in a graph at concrete shape. Every function of
//! [`crate::k`] and every operator takes both: on a traced tensor it appends nodes, on a Keras tensor it records a
//! call that is replayed whenever a program is traced. A shape error poisons the result; the verb that uses the
//! tensor returns it.

pub(crate) mod looping;
mod operators;
pub(crate) mod record;
mod trace;

pub use record::{Call, Producer, SymbolId};
pub(crate) use trace::Sight;
pub use trace::{Phase, Trace, TraceOptions, Traced};

use crate::array::{Array, DType};
use crate::backend::Variable;
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// A shape that may leave axes open, and an element type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The lengths of the axes, batch first; `None` where any length goes.
    pub shape: Vec<Option<usize>>,
    /// The element type.
    pub dtype: DType,
}

impl Spec {
    /// The spec of that shape and element type.
    pub fn new(shape: impl Into<Vec<Option<usize>>>, dtype: DType) -> Self {
        Self { shape: shape.into(), dtype }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// An error if no memory holds a tensor of these lengths, whatever the open axes are.
    pub(crate) fn check_size(&self, of: impl fmt::Display) -> Result<()> {
        if crate::array::is_countable(self.shape.iter().flatten().copied()) {
            return Ok(());
        }
        Err(Error::shape(of.to_string(), "a shape of at most 2⁵³ elements", self.to_string())
            .advice("make the lengths smaller"))
    }

    /// Whether a concrete shape fits.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(open, len)| open.is_none_or(|fixed| fixed == *len))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dtype, shape_text(&self.shape))
    }
}

/// A shape as Keras prints it: `(None, 10)`, `(None,)`.
pub fn shape_text(shape: &[Option<usize>]) -> String {
    let lens: Vec<String> =
        shape.iter().map(|len| len.map_or("None".into(), |len| len.to_string())).collect();
    match lens.as_slice() {
        [one] => format!("({one},)"),
        lens => format!("({})", lens.join(", ")),
    }
}

/// A symbolic value. Cloning refers to the same value.
#[derive(Clone)]
pub struct Tensor(pub(crate) State);

#[derive(Clone)]
pub(crate) enum State {
    Symbol(Symbol),
    Traced(Traced),
    Constant(Arc<Array>),
    Variable(Variable),
    Poisoned(Arc<Error>),
}

/// One output of a recorded call.
#[derive(Clone)]
pub(crate) struct Symbol {
    pub(crate) producer: Arc<dyn Producer>,
    pub(crate) output: usize,
    pub(crate) spec: Spec,
    /// Whether it comes with a mask.
    pub(crate) masked: bool,
}

impl Tensor {
    /// A literal.
    pub fn constant(array: impl Into<Array>) -> Self {
        Self(State::Constant(Arc::new(array.into())))
    }

    /// The value of a variable.
    pub fn variable(variable: &Variable) -> Self {
        Self(State::Variable(variable.clone()))
    }

    /// A tensor that carries an error to the verb that uses it.
    pub fn poisoned(error: Error) -> Self {
        Self(State::Poisoned(Arc::new(error)))
    }

    /// The value of a literal.
    pub(crate) fn literal(&self) -> Option<&Array> {
        match &self.0 {
            State::Constant(array) => Some(array),
            _ => None,
        }
    }

    /// The same value of a trace, of which a crossentropy sees something else.
    pub(crate) fn seen(self, sight: Sight) -> Self {
        match self.0 {
            State::Traced(mut traced) => {
                traced.sight = sight;
                Self(State::Traced(traced))
            }
            state => Self(state),
        }
    }

    /// What a crossentropy sees of it.
    pub(crate) fn sight(&self) -> Sight {
        match &self.0 {
            State::Traced(traced) => traced.sight,
            _ => Sight::Open,
        }
    }

    /// The tensor itself, or the error it carries.
    pub fn check(&self) -> Result<&Self> {
        match &self.0 {
            State::Poisoned(error) => Err((**error).clone()),
            _ => Ok(self),
        }
    }

    /// Shape and element type; an error if the tensor carries one.
    pub fn spec(&self) -> Result<Spec> {
        let fixed =
            |shape: &[usize], dtype| Spec { shape: shape.iter().map(|&len| Some(len)).collect(), dtype };
        match &self.0 {
            State::Symbol(symbol) => Ok(symbol.spec.clone()),
            State::Traced(traced) => Ok(traced.trace()?.with_graph(|graph| {
                let ty = graph.ty(traced.value);
                fixed(&ty.shape, ty.dtype)
            })),
            State::Constant(array) => Ok(fixed(array.shape(), array.dtype())),
            State::Variable(variable) => Ok(fixed(variable.shape(), variable.dtype())),
            State::Poisoned(error) => Err((**error).clone()),
        }
    }

    /// The concrete shape; an error where an axis is open (on a Keras tensor).
    pub fn shape(&self) -> Result<Vec<usize>> {
        let spec = self.spec()?;
        spec.shape.iter().copied().collect::<Option<Vec<usize>>>().ok_or_else(|| {
            Error::shape("concrete shape", "a tensor whose axes are all known", spec.to_string())
                .advice("inside a layer's call every axis is known")
        })
    }

    /// The element type.
    pub fn dtype(&self) -> Result<DType> {
        Ok(self.spec()?.dtype)
    }

    /// The number of axes.
    pub fn rank(&self) -> Result<usize> {
        Ok(self.spec()?.rank())
    }

    /// The variable whose value this is.
    pub fn as_variable(&self) -> Option<&Variable> {
        if let State::Variable(variable) = &self.0 { Some(variable) } else { None }
    }

    pub(crate) fn symbol(&self) -> Option<&Symbol> {
        if let State::Symbol(symbol) = &self.0 { Some(symbol) } else { None }
    }

    /// Whether it is a Keras tensor that comes with a mask.
    pub fn is_masked(&self) -> bool {
        self.symbol().is_some_and(|symbol| symbol.masked)
    }

    /// What a Keras tensor is known by, the same for clones of it; none for other tensors.
    pub fn symbol_id(&self) -> Option<SymbolId> {
        self.symbol().map(|symbol| SymbolId::of(&symbol.producer, symbol.output))
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Symbol(symbol) => write!(f, "Tensor({} {})", symbol.producer.name(), symbol.spec),
            State::Traced(traced) => write!(f, "Tensor(%{} {:?})", traced.value.node, self.spec()),
            State::Constant(array) => write!(f, "Tensor({array:?})"),
            State::Variable(variable) => write!(f, "Tensor({variable:?})"),
            State::Poisoned(error) => write!(f, "Tensor({error})"),
        }
    }
}

impl From<&Tensor> for Tensor {
    fn from(tensor: &Tensor) -> Self {
        tensor.clone()
    }
}

impl From<&Variable> for Tensor {
    fn from(variable: &Variable) -> Self {
        Self::variable(variable)
    }
}

impl From<Array> for Tensor {
    fn from(array: Array) -> Self {
        Self::constant(array)
    }
}
