//! [`Variable`]: a shared cell that outlives programs: a weight, a slot of an optimizer, a learning rate.

use crate::array::{Array, DType};
use crate::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The identity of a variable: unique in the process, ascending by creation.
pub type VariableId = u64;

/// A shared, versioned value with at most one replica per engine and one on the host. Clones are the same variable.
///
/// ```
/// use keras_core::{Array, backend::Variable};
/// let w = Variable::new("w", Array::from([1.0_f32, 2.0]));
/// w.set(&Array::from([3.0_f32, 4.0]))?;
/// assert_eq!(w.value()?.as_slice::<f32>()?, &[3.0, 4.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Variable(Arc<Cell>);

struct Cell {
    id: VariableId,
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    host: bool,
    state: Mutex<State>,
    writer: Mutex<()>,
}

/// A tensor on some engine, as a variable keeps it.
pub(super) trait Replica: Any + Send + Sync {
    fn download(&self) -> Result<Array>;
}

/// What the cell's lock protects.
pub(super) struct State {
    pub(super) version: u64,
    pub(super) host: Option<Array>,
    /// By engine.
    pub(super) replicas: Vec<(u64, Arc<dyn Replica>)>,
}

impl State {
    pub(super) fn replica(&self, engine: u64) -> Option<Arc<dyn Replica>> {
        self.replicas.iter().find(|(id, _)| *id == engine).map(|(_, replica)| Arc::clone(replica))
    }

    /// Replaces the value; every other copy is stale.
    pub(super) fn replace(&mut self, engine: u64, replica: Arc<dyn Replica>) {
        self.version += 1;
        self.host = None;
        self.replicas = vec![(engine, replica)];
    }

    pub(super) fn replace_host(&mut self, array: Array) {
        self.version += 1;
        self.host = Some(array);
        self.replicas.clear();
    }

    pub(super) fn read(&mut self, name: &str) -> Result<Array> {
        if let Some(array) = &self.host {
            return Ok(array.clone());
        }
        let Some((_, replica)) = self.replicas.first() else {
            return Err(Error::state(
                format!("reading variable {name}"),
                "a value",
                "none: its last update failed",
            ));
        };
        let array = replica.download()?;
        self.host = Some(array.clone());
        Ok(array)
    }
}

impl Variable {
    /// A tensor variable with that first value.
    pub fn new(name: impl Into<String>, value: impl Into<Array>) -> Self {
        Self::make(name.into(), value.into(), false)
    }

    /// A scalar that lives on the host and enters kernels as a scalar operand: it changes without recompiling.
    pub fn scalar(name: impl Into<String>, value: f64, dtype: DType) -> Self {
        Self::make(name.into(), Array::scalar(dtype, value), true)
    }

    fn make(name: String, value: Array, host: bool) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Cell {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name,
            shape: value.shape().to_vec(),
            dtype: value.dtype(),
            host,
            state: Mutex::new(State { version: 0, host: Some(value), replicas: Vec::new() }),
            writer: Mutex::new(()),
        }))
    }

    /// Its identity.
    pub fn id(&self) -> VariableId {
        self.0.id
    }

    /// Its name, such as `dense_1/kernel`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The lengths of its axes.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Whether it is a scalar that lives on the host.
    pub fn is_host(&self) -> bool {
        self.0.host
    }

    /// How often it was changed.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// The current value.
    pub fn value(&self) -> Result<Array> {
        self.state().read(&self.0.name)
    }

    /// Replaces the value after the step that is under way; the shape must fit, the element type is converted.
    pub fn set(&self, value: &Array) -> Result<()> {
        if value.shape() != self.shape() {
            let doing = format!("setting variable {}", self.0.name);
            return Err(Error::shape(
                doing,
                format!("shape {:?}", self.shape()),
                format!("{:?}", value.shape()),
            ));
        }
        let value = value.cast(self.dtype());
        let _writer = self.writer();
        self.state().replace_host(value);
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, ()> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Variable {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Variable {}

impl Hash for Variable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variable({} {}{:?})", self.0.name, self.0.dtype, self.0.shape)
    }
}
