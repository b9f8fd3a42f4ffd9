//! Adagrad.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};
use crate::k;

optimizer! {
    /// Adagrad (Duchi et al., 2011): a = a + g², w = w − rate·g/(√a + epsilon), or rate·g/√(a + epsilon)
    /// by the rules of later versions ([`Semantics`](crate::semantics::Semantics)).
    /// rate = learning_rate / (1 + decay·iterations).
    Adagrad {
        rate = 0.01;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// Keeps the divisor above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
    }
}

impl Optimizer for Adagrad {
    described!("Adagrad");

    fn slots(&self) -> Vec<Slot> {
        vec![slot("accumulator")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (rate, root) = (step.decayed_rate(), step.root(self.epsilon));
        Rule::new(move |w, g, slots| {
            let total = nth_slot(slots, 0) + k::square(g);
            (w - &rate * g / root(&total), vec![total])
        })
    }
}
