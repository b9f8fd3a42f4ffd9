//! Adadelta.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, described_config, nth_slot, slot};
use crate::k;
use crate::registry::Config;

optimizer! {
    /// Adadelta (Zeiler, 2012): a = rho·a + (1 − rho)·g², u = g·√(d + epsilon)/√(a + epsilon), w = w − rate·u,
    /// d = rho·d + (1 − rho)·u². rate = learning_rate / (1 + decay·iterations).
    Adadelta {
        rate = 1.0;
        /// The decay of the learning rate per step; default 0.
        decay = 0.0;
    }
    constants {
        /// The share of the mean squares that is kept; default 0.95.
        rho: f64 = 0.95;
        /// Keeps roots above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
    }
}

impl Optimizer for Adadelta {
    described!("Adadelta");

    fn config(&self, current: &dyn Fn(&str) -> Option<f64>) -> Config {
        let mut config = described_config(self, current);
        // Keras writes these behind rho.
        for key in ["decay", "epsilon"] {
            if let Some(value) = config.config.shift_remove(key) {
                config = config.with(key, value);
            }
        }
        config
    }

    fn slots(&self) -> Vec<Slot> {
        vec![slot("accumulator"), slot("delta_accumulator")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (rate, rho, epsilon) = (step.decayed_rate(), self.rho, self.epsilon);
        Rule::new(move |w, g, slots| {
            let deltas = nth_slot(slots, 1);
            let mean = rho * nth_slot(slots, 0) + (1.0 - rho) * k::square(g);
            let change = g * k::sqrt(&(&deltas + epsilon)) / k::sqrt(&(&mean + epsilon));
            let deltas = rho * deltas + (1.0 - rho) * k::square(&change);
            (w - &rate * change, vec![mean, deltas])
        })
    }
}
