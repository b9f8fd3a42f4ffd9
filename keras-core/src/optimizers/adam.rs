//! Adam and AMSGrad.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};
use crate::k;

optimizer! {
    /// Adam (Kingma and Ba, 2015; AMSGrad: Reddi et al., 2018): m = beta_1·m + (1 − beta_1)·g,
    /// v = beta_2·v + (1 − beta_2)·g², w = w − rate·√(1 − beta_2ᵗ)/(1 − beta_1ᵗ)·m/(√v + epsilon).
    /// rate = learning_rate / (1 + decay·iterations).
    ///
    /// ```
    /// use keras_core::{Array, backend::Variable, optimizers::{Adam, OptimizerSpec}};
    /// let w = Variable::new("w", Array::from([1.0_f32, 2.0]));
    /// let state = OptimizerSpec::from(Adam::new()).build(&[w])?;
    /// state.set("lr", 0.01)?;
    /// assert_eq!(state.weights().len(), 4); // iterations, m, v, and the place of vhat
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    Adam {
        rate = 0.001;
        /// The share of the mean gradient that is kept; default 0.9.
        beta_1 = 0.9;
        /// The share of the mean square that is kept; default 0.999.
        beta_2 = 0.999;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// Keeps the divisor above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
        /// Whether to divide by the largest v so far (AMSGrad); default false.
        amsgrad: bool = false;
    }
}

impl Optimizer for Adam {
    described!("Adam");

    fn slots(&self) -> Vec<Slot> {
        vec![slot("m"), slot("v"), Slot { name: "vhat", full: self.amsgrad }]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (beta_1, beta_2, t) = (step.get("beta_1"), step.get("beta_2"), step.t());
        let (rest_1, rest_2) = (1.0 - &beta_1, 1.0 - &beta_2);
        let correction = k::sqrt(&(1.0 - k::pow_tensor(&beta_2, &t))) / (1.0 - k::pow_tensor(&beta_1, &t));
        let rate = step.decayed_rate() * correction;
        let (epsilon, amsgrad) = (self.epsilon, self.amsgrad);
        Rule::new(move |w, g, slots| {
            let mean = &beta_1 * nth_slot(slots, 0) + &rest_1 * g;
            let square = &beta_2 * nth_slot(slots, 1) + &rest_2 * k::square(g);
            let largest = if amsgrad { k::maximum(&nth_slot(slots, 2), &square) } else { square.clone() };
            (w - &rate * &mean / (k::sqrt(&largest) + epsilon), vec![mean, square, largest])
        })
    }
}
