//! [`OptimizerState`]: what an optimizer remembers from step to step.

use super::{OptimizerRef, Step};
use crate::array::{Array, DType, element_count};
use crate::backend::Variable;
use crate::constraints::ConstraintRef;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, finite};
use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;

/// An optimizer at work: its definition, its hyperparameters (host scalars that change without recompiling), the
/// number of steps, and the slots of every weight. Clones are the same state.
#[derive(Clone)]
pub struct OptimizerState(Arc<Inner>);

struct Inner {
    definition: OptimizerRef,
    dtype: DType,
    iterations: Variable,
    hyperparameters: Vec<Variable>,
    scalars: Vec<Variable>,
    /// Per kind of slot, one for each weight.
    slots: Vec<Vec<Variable>>,
    shapes: Vec<Vec<usize>>,
}

impl OptimizerState {
    /// The state before the first step.
    ///
    /// # Errors
    /// If a hyperparameter is not a finite number.
    pub fn new(definition: OptimizerRef, weights: &[Variable]) -> Result<Self> {
        let dtype = match weights.split_first() {
            Some((first, rest)) if rest.iter().all(|other| other.dtype() == first.dtype()) => first.dtype(),
            _ => k::floatx(),
        };
        let dtype = if dtype.is_float() { dtype } else { k::floatx() };
        let clipping = definition.clipping();
        let limits =
            [("clipnorm", clipping.norm.unwrap_or(0.0)), ("clipvalue", clipping.value.unwrap_or(0.0))];
        finite(definition.class_name(), &limits)?;
        // JSON has no NaN and no infinity: they are null there.
        if let Some((name, _)) = definition.constants().iter().find(|(_, value)| value.is_null()) {
            finite(definition.class_name(), &[(*name, f64::NAN)])?;
        }
        let scalar = |(name, value): (&str, f64)| -> Result<Variable> {
            finite(definition.class_name(), &[(name, value)])?;
            Ok(Variable::scalar(name, value, dtype))
        };
        let hyperparameters =
            definition.hyperparameters().into_iter().map(scalar).collect::<Result<Vec<_>>>()?;
        let scalars = definition.scalars().into_iter().map(scalar).collect::<Result<Vec<_>>>()?;
        let slots = definition
            .slots()
            .into_iter()
            .map(|slot| {
                let zeros = |(i, weight): (usize, &Variable)| {
                    let shape = if slot.full { weight.shape() } else { &[1] };
                    Ok(Variable::new(format!("{}_{i}", slot.name), Array::zeros(dtype, shape)?))
                };
                weights.iter().enumerate().map(zeros).collect()
            })
            .collect::<Result<_>>()?;
        Ok(Self(Arc::new(Inner {
            definition,
            dtype,
            iterations: Variable::scalar("iterations", 0.0, DType::I64),
            hyperparameters,
            scalars,
            slots,
            shapes: weights.iter().map(|weight| weight.shape().to_vec()).collect(),
        })))
    }

    /// The definition.
    pub fn definition(&self) -> &OptimizerRef {
        &self.0.definition
    }

    /// The element type of hyperparameters and slots: that of the weights.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// For how many weights it was made.
    pub(crate) fn weight_count(&self) -> usize {
        self.0.shapes.len()
    }

    /// The variable that counts steps (int64).
    pub fn iterations_variable(&self) -> &Variable {
        &self.0.iterations
    }

    /// The number of steps so far.
    ///
    /// # Errors
    /// If its last update failed.
    pub fn iterations(&self) -> Result<u64> {
        Ok(self.0.iterations.value()?.item()?.max(0.0) as u64)
    }

    /// The variable of a hyperparameter (`learning_rate`, by its old name `lr` too) or of a scalar.
    ///
    /// # Errors
    /// If the optimizer has none of that name.
    pub fn variable(&self, name: &str) -> Result<&Variable> {
        let name = if name == "lr" { "learning_rate" } else { name };
        let known = || self.0.hyperparameters.iter().chain(&self.0.scalars);
        known().find(|variable| variable.name() == name).ok_or_else(|| {
            let doing = format!("optimizer {}", self.0.definition.class_name());
            Error::unknown(doing, name, known().map(Variable::name))
        })
    }

    /// The current value of a hyperparameter: `learning_rate` (or `lr`), `decay`, `momentum`, …
    ///
    /// # Errors
    /// If the optimizer has none of that name.
    pub fn get(&self, name: &str) -> Result<f64> {
        self.variable(name)?.value()?.item()
    }

    /// Changes a hyperparameter from the next step on; nothing is compiled again.
    ///
    /// # Errors
    /// If the optimizer has none of that name, or the value is not finite.
    pub fn set(&self, name: &str, value: f64) -> Result<()> {
        finite(self.0.definition.class_name(), &[(name, value)])?;
        self.variable(name)?.set(&Array::from(value))
    }

    /// The learning rate.
    ///
    /// # Errors
    /// If the optimizer has none.
    pub fn learning_rate(&self) -> Result<f64> {
        self.get("learning_rate")
    }

    /// Changes the learning rate from the next step on.
    ///
    /// # Errors
    /// If the value is not finite.
    pub fn set_learning_rate(&self, value: f64) -> Result<()> {
        self.set("learning_rate", value)
    }

    /// Class name and arguments, with the current values.
    ///
    /// # Errors
    /// If a hyperparameter's last update failed.
    pub fn config(&self) -> Result<Config> {
        let mut values = Vec::new();
        for variable in &self.0.hyperparameters {
            values.push((variable.name().to_owned(), variable.value()?.item()?));
        }
        let current = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        Ok(self.0.definition.config(&current))
    }

    /// The whole step: what weights, slots, scalars and `iterations` become. Gradients are clipped; constraints
    /// (one entry per weight) act on the new values.
    ///
    /// # Errors
    /// If the weights are not those that the state was made for, or shapes do not fit.
    pub fn updates(
        &self,
        weights: &[Variable],
        gradients: &[Tensor],
        constraints: &[Option<ConstraintRef>],
    ) -> Result<Vec<(Variable, Tensor)>> {
        let inner = &self.0;
        let fits = weights.len() == inner.shapes.len()
            && gradients.len() == weights.len()
            && weights.iter().zip(&inner.shapes).all(|(weight, shape)| weight.shape() == shape);
        if !fits {
            return Err(Error::state(
                format!("step of {}", inner.definition.class_name()),
                format!("{} weights of shapes {:?}, each with a gradient", inner.shapes.len(), inner.shapes),
                format!("{} weights and {} gradients", weights.len(), gradients.len()),
            )
            .advice("compile the model again"));
        }
        let same = |tensor: &Tensor| k::cast(tensor, inner.dtype);
        let gradients: Vec<Tensor> = gradients.iter().map(same).collect();
        let gradients = inner.definition.clipping().apply(&gradients);
        let step = Step::new(self, &gradients);
        let rule = inner.definition.rule(&step);
        let mut updates = Vec::new();
        for (i, (weight, gradient)) in weights.iter().zip(&gradients).enumerate() {
            let slots: Vec<&Variable> = inner.slots.iter().filter_map(|kind| kind.get(i)).collect();
            let values: Vec<Tensor> = slots.iter().map(|&slot| step.read(slot)).collect();
            let (mut next, next_slots) = (rule.each)(&same(&step.read(weight)), gradient, &values);
            if let Some(constraint) = constraints.get(i).and_then(Option::as_ref) {
                next = constraint.call(&next);
            }
            updates.push((weight.clone(), k::cast(next.check()?, weight.dtype())));
            for ((slot, value), kind) in slots.into_iter().zip(next_slots).zip(inner.definition.slots()) {
                if kind.full {
                    updates.push((slot.clone(), value.check()?.clone()));
                }
            }
        }
        for (scalar, value) in inner.scalars.iter().zip(rule.scalars) {
            updates.push((scalar.clone(), value.check()?.clone()));
        }
        updates.push((inner.iterations.clone(), step.read(&inner.iterations) + 1.0));
        Ok(updates)
    }

    /// The state in the order of Keras 2.3.1's files: iterations, scalars, then slot by slot over all weights.
    pub fn weights(&self) -> Vec<Variable> {
        let inner = &self.0;
        let first = std::iter::once(&inner.iterations);
        first.chain(&inner.scalars).chain(inner.slots.iter().flatten()).cloned().collect()
    }

    /// The names of [`weights`](Self::weights) in files of Keras 2.3.1 on TensorFlow 1.
    pub fn weight_names(&self) -> Vec<String> {
        let (inner, class) = (&self.0, self.0.definition.class_name());
        let scalars = std::iter::once(&inner.iterations).chain(&inner.scalars);
        let slots = inner.slots.iter().flatten();
        scalars
            .map(|scalar| format!("{class}/{}:0", scalar.name()))
            .chain(slots.map(|slot| format!("training/{class}/{}_1:0", slot.name())))
            .collect()
    }

    /// The current values of [`weights`](Self::weights).
    ///
    /// # Errors
    /// If the last update of one failed.
    pub fn get_weights(&self) -> Result<Vec<Array>> {
        self.weights().iter().map(Variable::value).collect()
    }

    /// Replaces the state, all or nothing. Lists of older versions are taken, too: without `iterations` (RMSprop,
    /// Adagrad and Adadelta before 2.3), without `m_schedule` (Nadam before 2.3), without `vhat` (Adam before 2.1.3 and in
    /// tf.keras), of `iterations` alone (SGD of tf.keras).
    ///
    /// # Errors
    /// If the number of arrays or a shape does not fit.
    pub fn set_weights(&self, values: &[Array]) -> Result<()> {
        let shapes: Vec<&[usize]> = values.iter().map(Array::shape).collect();
        let mut values = values.iter();
        self.assign(&self.targets(&shapes)?, || Ok(values.next().cloned()))
    }

    /// The variables that arrays of these shapes are values of.
    ///
    /// # Errors
    /// If their number or a shape does not fit.
    pub(crate) fn targets(&self, shapes: &[&[usize]]) -> Result<Vec<Variable>> {
        let targets = self.weights();
        let chosen = self.targets_of(shapes.len(), &targets).ok_or_else(|| {
            Error::value(
                format!("weights of optimizer {}", self.0.definition.class_name()),
                format!("{} arrays", targets.len()),
                shapes.len().to_string(),
            )
        })?;
        for (target, shape) in chosen.iter().zip(shapes) {
            // Versions differ in whether a scalar has an axis of length 1.
            if target.shape() != *shape && !(target.shape().is_empty() && element_count(shape) == 1) {
                return Err(Error::shape(
                    format!("weight {} of optimizer {}", target.name(), self.0.definition.class_name()),
                    format!("{:?}", target.shape()),
                    format!("{shape:?}"),
                ));
            }
        }
        Ok(chosen)
    }

    /// Gives the variables the next values, one after the other, and all others their first. An error of `next` leaves
    /// what came before it set.
    pub(crate) fn assign(
        &self,
        chosen: &[Variable],
        mut next: impl FnMut() -> Result<Option<Array>>,
    ) -> Result<()> {
        for target in self.weights().iter().filter(|target| !chosen.contains(target)) {
            let first = self.0.definition.scalars().into_iter().find(|(name, _)| *name == target.name());
            target.set(&Array::full_of(
                target.dtype(),
                target.shape(),
                first.map_or(0.0, |(_, value)| value),
            )?)?;
        }
        for target in chosen {
            if let Some(value) = next()? {
                target.set(&value.reshape(target.shape())?)?;
            }
        }
        Ok(())
    }

    /// Which variables a list of that length holds.
    fn targets_of(&self, count: usize, all: &[Variable]) -> Option<Vec<Variable>> {
        if count == all.len() {
            return Some(all.to_vec());
        }
        let inner = &self.0;
        let without = |skipped: &dyn Fn(&Variable) -> bool| -> Vec<Variable> {
            all.iter().filter(|variable| !skipped(variable)).cloned().collect()
        };
        let candidate = match inner.definition.class_name() {
            "RMSprop" | "Adagrad" | "Adadelta" => without(&|variable| *variable == inner.iterations),
            // tf.keras without momentum has none.
            "SGD" => vec![inner.iterations.clone()],
            "Nadam" => without(&|variable| inner.scalars.contains(variable)),
            "Adam" => {
                let idle = inner.definition.slots().iter().position(|slot| !slot.full);
                let idle = idle.and_then(|position| inner.slots.get(position));
                without(&|variable| idle.is_some_and(|idle| idle.contains(variable)))
            }
            _ => return None,
        };
        (candidate.len() == count).then_some(candidate)
    }
}

impl fmt::Debug for OptimizerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.config() {
            Ok(config) => write!(f, "OptimizerState({})", config.to_value()),
            Err(error) => write!(f, "OptimizerState({error})"),
        }
    }
}
