//! Nadam.

use super::definition::{described, optimizer};
use super::{Optimizer, Rule, Slot, Step, nth_slot, slot};
use crate::k;
use crate::tensor::Tensor;

optimizer! {
    /// Nadam (Dozat, 2016), Adam with Nesterov momentum. With μₜ = beta_1·(1 − ½·0.96^(t·schedule_decay)) and S the product
    /// of all μ so far: m and v as [`Adam`](super::Adam), g' = g/(1 − Sₜ), m' = m/(1 − Sₜ·μₜ₊₁), v' = v/(1 − beta_2ᵗ),
    /// w = w − learning_rate·((1 − μₜ)·g' + μₜ₊₁·m')/(√v' + epsilon).
    Nadam {
        rate = 0.002;
        /// The share of the mean gradient that is kept in the end; default 0.9.
        beta_1 = 0.9;
        /// The share of the mean square that is kept; default 0.999.
        beta_2 = 0.999;
    }
    constants {
        /// Keeps the divisor above 0; default `k::epsilon`, 1e-7.
        epsilon: f64 = crate::config::epsilon();
        /// How fast the momentum grows to beta_1; default 0.004.
        schedule_decay: f64 = 0.004;
    }
}

impl Optimizer for Nadam {
    described!("Nadam");

    fn scalars(&self) -> Vec<(&'static str, f64)> {
        vec![("m_schedule", 1.0)]
    }

    fn slots(&self) -> Vec<Slot> {
        vec![slot("m"), slot("v")]
    }

    fn rule(&self, step: &Step) -> Rule {
        let (beta_1, beta_2, t) = (step.get("beta_1"), step.get("beta_2"), step.t());
        let (rest_1, rest_2) = (1.0 - &beta_1, 1.0 - &beta_2);
        let base = k::number(&t, 0.96);
        let momentum = |t: &Tensor| &beta_1 * (1.0 - 0.5 * k::pow_tensor(&base, &(t * self.schedule_decay)));
        let (now, after) = (momentum(&t), momentum(&(&t + 1.0)));
        let schedule = step.get("m_schedule") * &now;
        let gradient_scale = (1.0 - &now) / (1.0 - &schedule);
        let mean_scale = &after / (1.0 - &schedule * &after);
        let square_scale = 1.0 - k::pow_tensor(&beta_2, &t);
        let (rate, epsilon) = (step.get("learning_rate"), self.epsilon);
        let each = move |w: &Tensor, g: &Tensor, slots: &[Tensor]| {
            let mean = &beta_1 * nth_slot(slots, 0) + &rest_1 * g;
            let square = &beta_2 * nth_slot(slots, 1) + &rest_2 * k::square(g);
            let direction = &gradient_scale * g + &mean_scale * &mean;
            let next = w - &rate * direction / (k::sqrt(&(&square / &square_scale)) + epsilon);
            (next, vec![mean, square])
        };
        Rule { scalars: vec![schedule], each: Box::new(each) }
    }
}
