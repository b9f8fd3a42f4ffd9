//! RMSprop.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};
use crate::k;

optimizer! {
    /// RMSprop (Tieleman and Hinton, 2012): a = rho·a + (1 − rho)·g², w = w − rate·g/(√a + epsilon), or
    /// rate·g/√(a + epsilon) by the rules of later versions ([`Semantics`](crate::semantics::Semantics)).
    /// rate = learning_rate / (1 + decay·iterations).
    RMSprop {
        rate = 0.001;
        /// The share of the mean square that is kept; default 0.9.
        rho = 0.9;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// Keeps the divisor above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
    }
}

impl Optimizer for RMSprop {
    described!("RMSprop");

    fn slots(&self) -> Vec<Slot> {
        vec![slot("accumulator")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (rate, rho, root) = (step.decayed_rate(), step.get("rho"), step.root(self.epsilon));
        let rest = 1.0 - &rho;
        Rule::new(move |w, g, slots| {
            let mean = &rho * nth_slot(slots, 0) + &rest * k::square(g);
            (w - &rate * g / root(&mean), vec![mean])
        })
    }
}
