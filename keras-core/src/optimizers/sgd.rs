//! Stochastic gradient descent.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};

optimizer! {
    /// Stochastic gradient descent: v = momentum·v − rate·g, w = w + v; with `nesterov`, w = w + momentum·v − rate·g
    /// (Sutskever et al., 2013). rate = learning_rate / (1 + decay·iterations).
    SGD {
        rate = 0.01;
        /// The share of the last change that is kept; default 0.
        momentum = 0.0;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// Whether the gradient counts as if taken after the momentum's step; default false.
        nesterov: bool = false;
    }
}

impl Optimizer for SGD {
    described!("SGD");

    fn slots(&self) -> Vec<Slot> {
        vec![slot("moment")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (rate, momentum, nesterov) = (step.decayed_rate(), step.get("momentum"), self.nesterov);
        Rule::new(move |w, g, slots| {
            let change = &rate * g;
            let velocity = &momentum * nth_slot(slots, 0) - &change;
            let next = if nesterov { w + &momentum * &velocity - change } else { w + &velocity };
            (next, vec![velocity])
        })
    }
}
