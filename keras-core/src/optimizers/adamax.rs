//! Adamax.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};
use crate::k;

optimizer! {
    /// Adamax (Kingma and Ba, 2015, section 7): m = beta_1·m + (1 − beta_1)·g, u = max(beta_2·u, |g|),
    /// w = w − rate/(1 − beta_1ᵗ)·m/(u + epsilon). rate = learning_rate / (1 + decay·iterations).
    Adamax {
        rate = 0.002;
        /// The share of the mean gradient that is kept; default 0.9.
        beta_1 = 0.9;
        /// The share of the largest gradient that is kept; default 0.999.
        beta_2 = 0.999;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// Keeps the divisor above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
    }
}

impl Optimizer for Adamax {
    described!("Adamax");

    fn slots(&self) -> Vec<Slot> {
        vec![slot("m"), slot("u")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (beta_1, beta_2) = (step.get("beta_1"), step.get("beta_2"));
        let rest = 1.0 - &beta_1;
        let rate = step.decayed_rate() / (1.0 - k::pow_tensor(&beta_1, &step.t()));
        let epsilon = self.epsilon;
        Rule::new(move |w, g, slots| {
            let mean = &beta_1 * nth_slot(slots, 0) + &rest * g;
            let largest = k::maximum(&(&beta_2 * nth_slot(slots, 1)), &k::abs(g));
            (w - &rate * &mean / (&largest + epsilon), vec![mean, largest])
        })
    }
}
