//! Optimizers: how gradients change weights. An optimizer is an immutable definition; [`OptimizerState`] holds what
//! changes: hyperparameters, the number of steps, slots per weight.
//!
//! ```
//! use keras_core::optimizers::{Adam, Optimizer, OptimizerSpec};
//! let adam = OptimizerSpec::from(Adam::new().learning_rate(0.01).clipnorm(1.0)).resolve()?;
//! assert_eq!(adam.class_name(), "Adam");
//! assert_eq!(OptimizerSpec::from("sgd").resolve()?.class_name(), "SGD");
//! # Ok::<(), keras_core::Error>(())
//! ```

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod definition;
mod nadam;
mod rmsprop;
mod sgd;
mod state;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::Adam;
pub use adamax::Adamax;
pub use nadam::Nadam;
pub use rmsprop::RMSprop;
pub use sgd::SGD;
pub use state::OptimizerState;

use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::k;
use crate::kinds::kind;
use crate::registry::{Config, Registry};
use crate::semantics::{OptimizerEpsilon, Semantics};
use crate::tensor::{State, Tensor, Trace};
use serde_json::Value;

/// The definition of an optimizer.
pub trait Optimizer: Send + Sync {
    /// Keras's class name: `Adam`.
    fn class_name(&self) -> &str;

    /// Names and first values of the numbers that may change during training, in the order of the config;
    /// `learning_rate` is among them, and `decay` where the learning rate decays.
    fn hyperparameters(&self) -> Vec<(&'static str, f64)>;

    /// The other arguments, in the order of the config.
    fn constants(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    /// Limits of gradients.
    fn clipping(&self) -> Clipping {
        Clipping::default()
    }

    /// Names and first values of scalars that every step changes, besides the number of steps.
    fn scalars(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The slots of a weight, which start at 0.
    fn slots(&self) -> Vec<Slot>;

    /// The step: what the scalars become, and what each weight and its slots become.
    fn rule(&self, step: &Step) -> Rule;

    /// Class name and arguments, the hyperparameters with the values that `current` knows.
    fn config(&self, current: &dyn Fn(&str) -> Option<f64>) -> Config {
        described_config(self, current)
    }
}

/// Clip limits, hyperparameters, constants.
fn described_config<O: Optimizer + ?Sized>(optimizer: &O, current: &dyn Fn(&str) -> Option<f64>) -> Config {
    let clipping = optimizer.clipping();
    let limits = [("clipnorm", clipping.norm), ("clipvalue", clipping.value)];
    let limits = limits.into_iter().filter_map(|(key, value)| Some((key, Value::from(value?))));
    let value = |name, first| current(name).unwrap_or_else(|| crate::regularizers::in_floatx(first));
    let numbers =
        optimizer.hyperparameters().into_iter().map(|(name, first)| (name, value(name, first).into()));
    limits
        .chain(numbers)
        .chain(optimizer.constants())
        .fold(Config::new(optimizer.class_name()), |config, (name, value)| config.with(name, value))
}

/// Limits of gradients, applied in this order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clipping {
    /// All gradients shrink by the same factor where the length of all of them together exceeds this.
    pub norm: Option<f64>,
    /// Every element is clipped to ± this.
    pub value: Option<f64>,
}

impl Clipping {
    fn apply(self, gradients: &[Tensor]) -> Vec<Tensor> {
        let mut clipped = gradients.to_vec();
        if let (Some(limit), Some((first, rest))) =
            (self.norm.filter(|&norm| norm > 0.0), gradients.split_first())
        {
            let squares = |gradient: &Tensor| k::sum(&k::square(gradient), &[], false);
            let norm = k::sqrt(&rest.iter().fold(squares(first), |total, next| total + squares(next)));
            let limit = k::number(&norm, limit);
            let factor =
                k::select(&k::greater_equal(&norm, &limit), &(&limit / &norm), &k::number(&norm, 1.0));
            clipped = clipped.iter().map(|gradient| gradient * &factor).collect();
        }
        if let Some(limit) = self.value.filter(|&value| value > 0.0) {
            clipped = clipped.iter().map(|gradient| k::clip(gradient, -limit, limit)).collect();
        }
        clipped
    }
}

/// A tensor per weight that an optimizer remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The name in files, before the number of the weight: `m` of `m_0`.
    pub name: &'static str,
    /// Whether it has the weight's shape; else it is a single 0 that only keeps its place in files.
    pub full: bool,
}

/// A slot of the weight's shape.
pub const fn slot(name: &'static str) -> Slot {
    Slot { name, full: true }
}

/// What an optimizer reads in a step: scalars on the host.
pub struct Step<'a> {
    state: &'a OptimizerState,
    /// The trace that gradients belong to. Variables are lifted into it at once: an operation on variables alone would
    /// be recorded and replayed instead.
    trace: Option<Trace>,
}

impl<'a> Step<'a> {
    fn new(state: &'a OptimizerState, gradients: &[Tensor]) -> Self {
        let trace = gradients.iter().find_map(|gradient| match &gradient.0 {
            State::Traced(traced) => traced.trace().ok(),
            _ => None,
        });
        Self { state, trace }
    }

    fn read(&self, variable: &Variable) -> Tensor {
        let tensor = Tensor::variable(variable);
        match self.trace.as_ref().map(|trace| Ok(trace.tensor(trace.lift(&tensor)?))) {
            None => tensor,
            Some(Ok(lifted)) => lifted,
            Some(Err(error)) => Tensor::poisoned(error),
        }
    }

    /// A hyperparameter, or one of the optimizer's scalars, before the step.
    pub fn get(&self, name: &str) -> Tensor {
        match self.state.variable(name) {
            Ok(variable) => self.read(variable),
            Err(error) => Tensor::poisoned(error),
        }
    }

    /// The number of steps before this one, in the hyperparameters' element type.
    pub fn iterations(&self) -> Tensor {
        k::cast(&self.read(self.state.iterations_variable()), self.state.dtype())
    }

    /// The number of this step, from 1.
    pub fn t(&self) -> Tensor {
        self.iterations() + 1.0
    }

    /// √(mean) + epsilon, or √(mean + epsilon), as the model's semantics have it.
    fn root(&self, epsilon: f64) -> impl Fn(&Tensor) -> Tensor + 'static {
        let semantics = self.trace.as_ref().map_or_else(Semantics::default, Trace::semantics);
        move |mean| match semantics.optimizer_epsilon {
            OptimizerEpsilon::BehindRoot => k::sqrt(mean) + epsilon,
            OptimizerEpsilon::BelowRoot => k::sqrt(&(mean + epsilon)),
        }
    }

    /// learning_rate / (1 + decay·iterations).
    pub fn decayed_rate(&self) -> Tensor {
        self.get("learning_rate") * (1.0 / (1.0 + self.get("decay") * self.iterations()))
    }
}

/// What a step does.
pub struct Rule {
    /// What the optimizer's scalars become, in the order of [`Optimizer::scalars`].
    pub scalars: Vec<Tensor>,
    /// What a weight becomes.
    pub each: EachWeight,
}

/// From a weight, its gradient and its slots to what the weight and the slots become.
pub type EachWeight = Box<dyn Fn(&Tensor, &Tensor, &[Tensor]) -> (Tensor, Vec<Tensor>)>;

impl Rule {
    /// A rule without scalars.
    pub fn new(each: impl Fn(&Tensor, &Tensor, &[Tensor]) -> (Tensor, Vec<Tensor>) + 'static) -> Self {
        Self { scalars: Vec::new(), each: Box::new(each) }
    }
}

/// The slots by position; a missing one poisons.
pub(crate) fn nth_slot(slots: &[Tensor], i: usize) -> Tensor {
    slots.get(i).cloned().unwrap_or_else(|| {
        Tensor::poisoned(Error::state("optimizer", format!("slot {i}"), format!("{} slots", slots.len())))
    })
}

kind!(
    Optimizer,
    OptimizerRef,
    OptimizerSpec,
    REGISTRY,
    to_value = |this: &dyn Optimizer| this.config(&|_| None).to_value(),
    build = |config: &Config| {
        // Keras takes the names of its own optimizers in any case.
        let lower = config.class_name.to_lowercase();
        if REGISTRY.names().any(|name| name == lower) {
            REGISTRY.build(&Config { class_name: lower, config: config.config.clone() })
        } else {
            REGISTRY.build(config)
        }
    }
);

impl OptimizerSpec {
    /// The optimizer with its state for these weights: hyperparameters at their first values, slots at 0.
    ///
    /// # Errors
    /// If the name is unknown or an argument is not a finite number.
    pub fn build(&self, weights: &[Variable]) -> Result<OptimizerState> {
        OptimizerState::new(self.resolve()?, weights)
    }
}

/// Whether a name stands for an optimizer that a user registered.
pub(crate) fn is_custom(name: &str) -> bool {
    REGISTRY.is_custom(name)
}

static REGISTRY: Registry<OptimizerRef> = Registry::new(
    "optimizer",
    &[
        ("sgd", |config| Ok(OptimizerRef::new(SGD::read(config)?))),
        ("rmsprop", |config| Ok(OptimizerRef::new(RMSprop::read(config)?))),
        ("adagrad", |config| Ok(OptimizerRef::new(Adagrad::read(config)?))),
        ("adadelta", |config| Ok(OptimizerRef::new(Adadelta::read(config)?))),
        ("adam", |config| Ok(OptimizerRef::new(Adam::read(config)?))),
        ("adamax", |config| Ok(OptimizerRef::new(Adamax::read(config)?))),
        ("nadam", |config| Ok(OptimizerRef::new(Nadam::read(config)?))),
    ],
);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::array::{Array, DType};
    use serde_json::json;

    fn weight() -> Variable {
        Variable::new("w", Array::zeros(DType::F32, &[2]).unwrap())
    }

    #[test]
    fn names_go_in_any_case_and_rates_by_both_names() {
        for name in
            ["sgd", "SGD", "RMSprop", "rmsprop", "Adam", "ADAM", "nadam", "Adagrad", "adadelta", "Adamax"]
        {
            assert!(get(name).is_ok(), "{name}");
        }
        let rate =
            |config: Value| OptimizerSpec::from(config).build(&[weight()]).unwrap().learning_rate().unwrap();
        assert_eq!(rate(json!({"class_name": "SGD", "config": {"lr": 0.5}})), 0.5);
        assert_eq!(rate(json!({"class_name": "SGD", "config": {"learning_rate": 0.25}})), 0.25);
        assert!(get("adamm").unwrap_err().to_string().contains("adam"));
    }

    #[test]
    fn what_would_change_the_step_is_refused() {
        let build = |key: &str, value: Value| {
            OptimizerSpec::from(Config::new("Adam").with(key, value)).build(&[weight()])
        };
        assert!(build("jit_compile", true.into()).is_ok());
        assert!(build("weight_decay", Value::Null).is_ok());
        assert!(build("weight_decay", 0.01.into()).is_err());
        assert!(build("use_ema", true.into()).is_err());
        assert!(build("momentum", 0.9.into()).is_err());
        let schedule = json!({"class_name": "ExponentialDecay", "config": {}});
        assert!(build("learning_rate", schedule).unwrap_err().to_string().contains("LearningRateScheduler"));
        assert!(OptimizerSpec::from(SGD::new().learning_rate(f64::INFINITY)).build(&[weight()]).is_err());
    }

    #[test]
    fn states_of_older_versions_are_taken() {
        let load = |name: &str, values: &[Array]| -> Result<Vec<f64>> {
            let state = OptimizerSpec::from(name).build(&[weight()])?;
            for variable in state.weights() {
                variable.set(&Array::full_of(variable.dtype(), variable.shape(), 9.0).unwrap())?;
            }
            state.set_weights(values)?;
            Ok(state.get_weights()?.iter().flat_map(Array::to_vec::<f64>).collect())
        };
        let pair = || Array::from([1.0_f32, 2.0]);
        assert_eq!(load("rmsprop", &[pair()]).unwrap(), [0.0, 1.0, 2.0]);
        assert_eq!(load("adadelta", &[pair(), pair()]).unwrap(), [0.0, 1.0, 2.0, 1.0, 2.0]);
        let five = Array::from(5_i64);
        assert_eq!(load("nadam", &[five.clone(), pair(), pair()]).unwrap(), [5.0, 1.0, 1.0, 2.0, 1.0, 2.0]);
        assert_eq!(load("adam", &[five.clone(), pair(), pair()]).unwrap(), [5.0, 1.0, 2.0, 1.0, 2.0, 0.0]);
        assert!(load("sgd", &[pair()]).is_err());
        assert!(load("sgd", &[five, Array::from([1.0_f32])]).is_err());
    }

    #[test]
    fn steps_are_for_the_weights_they_were_made_for() {
        let state = OptimizerSpec::from("sgd").build(&[weight()]).unwrap();
        let gradient = Tensor::constant(Array::zeros(DType::F32, &[3]).unwrap());
        let other = Variable::new("w", Array::zeros(DType::F32, &[3]).unwrap());
        assert!(state.updates(&[other], &[gradient], &[]).is_err());
        assert!(state.updates(&[], &[], &[]).is_err());
    }

    #[test]
    fn constraints_act_on_the_new_value() {
        let w = Variable::new("w", Array::from([1.0_f32, -1.0]));
        let state =
            OptimizerSpec::from(SGD::new().learning_rate(2.0)).build(std::slice::from_ref(&w)).unwrap();
        let gradient = Tensor::constant([1.0_f32, -1.0]);
        let constraint = Some(crate::constraints::ConstraintRef::new(crate::constraints::non_neg()));
        let updates =
            state.updates(std::slice::from_ref(&w), std::slice::from_ref(&gradient), &[constraint]).unwrap();
        let runtime: std::sync::Arc<dyn crate::backend::Runtime> =
            std::sync::Arc::new(crate::backend::Engine::new(crate::backend::reference::Reference).unwrap());
        k::function([], [&gradient]).unwrap().updates(updates).on(&runtime).run([]).unwrap();
        assert_eq!(w.value().unwrap().to_vec::<f32>(), [0.0, 1.0]);
    }
}
