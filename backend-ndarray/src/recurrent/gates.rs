//! The elementwise arithmetic of gates, on rows that lie in L1.

use crate::gemm::Gemm;
use crate::simd::{Level, Task, dispatch};
use keras_core::graph::{GateActivation, Unary};

/// Names a loop over rows of one length. Operands are read before results are written, lane by lane.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident($($out:ident),+; $($operand:ident),*) |$L:ident| $body:block) => {
        $(#[$doc])*
        pub(super) fn $name<T: Gemm>($($out: &mut [T],)+ $($operand: &[T]),*) {
            struct Rows<'a, T> {
                $($out: &'a mut [T],)+
                $($operand: &'a [T],)*
            }
            impl<T: Gemm> Task for Rows<'_, T> {
                type Output = ();
                #[inline(always)]
                fn run<$L: Level>(self) {
                    let mut lens = [$(self.$out.len()),+].into_iter();
                    let len = lens.next().unwrap_or_default();
                    $(let $out = &mut self.$out[..len];)+
                    $(let $operand = &self.$operand[..len];)*
                    for i in 0..len {
                        $(let $out = &mut $out[i];)+
                        $(let $operand = $operand[i];)*
                        $body
                    }
                }
            }
            dispatch(Rows { $($out,)+ $($operand,)* });
        }
    };
}

rows!(
    /// `y += x`.
    add(y; x) |L| { *y = y.add(x); }
);
rows!(
    /// `y = a · b`.
    multiply(y; a, b) |L| { *y = a.mul(b); }
);
rows!(
    /// `y ·= x`.
    scale(y; x) |L| { *y = y.mul(x); }
);
rows!(
    /// `y += a · b`.
    add_product(y; a, b) |L| { *y = T::fma::<L>(a, b, *y); }
);
rows!(
    /// The cell state: `c = f · c + i · g`.
    cell(c; i, f, g) |L| { *c = T::fma::<L>(i, g, f.mul(*c)); }
);
rows!(
    /// The state of a GRU: `h = z · h + (1 − z) · g`.
    mix(h; z, g) |L| { *h = T::fma::<L>(T::ONE.sub(z), g, z.mul(*h)); }
);
rows!(
    /// What reaches the update gate: `y = d · (m − g)`.
    update_gate(y; d, m, g) |L| { *y = d.mul(m.sub(g)); }
);
rows!(
    /// What reaches the candidate: `y = d · (1 − z)`.
    candidate(y; d, z) |L| { *y = d.mul(T::ONE.sub(z)); }
);

struct HardSigmoid<'a, T>(&'a [T], &'a mut [T]);

impl<T: Gemm> Task for HardSigmoid<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(self) {
        let (slope, middle) = (T::from_f64(0.2), T::from_f64(0.5));
        for (y, &x) in self.1.iter_mut().zip(self.0) {
            *y = x.mul(slope).add(middle).max(T::ZERO).min(T::ONE);
        }
    }
}

/// `y = activation(x)`.
pub(super) fn activate<T: Gemm>(activation: GateActivation, x: &[T], y: &mut [T]) {
    let function = match activation {
        GateActivation::Tanh => T::unary(Unary::Tanh),
        GateActivation::Sigmoid => T::unary(Unary::Sigmoid),
        GateActivation::Relu => T::unary(Unary::Relu),
        GateActivation::Linear => {
            y.copy_from_slice(x);
            return;
        }
        GateActivation::HardSigmoid => None,
    };
    match function {
        Some(function) => function(x, y),
        None => dispatch(HardSigmoid(x, y)),
    }
}

/// `grad ·= activation′`, from the activation's values.
pub(super) fn slope<T: Gemm>(activation: GateActivation, values: &[T], grad: &mut [T]) {
    match activation {
        GateActivation::Tanh => tanh_slope(grad, values),
        GateActivation::Sigmoid => sigmoid_slope(grad, values),
        GateActivation::HardSigmoid => hard_sigmoid_slope(grad, values),
        GateActivation::Relu => relu_slope(grad, values),
        GateActivation::Linear => {}
    }
}

rows!(tanh_slope(grad; y) |L| { *grad = grad.mul(T::ONE.sub(y.mul(y))); });
rows!(sigmoid_slope(grad; y) |L| { *grad = grad.mul(y.mul(T::ONE.sub(y))); });
rows!(hard_sigmoid_slope(grad; y) |L| {
    *grad = if y > T::ZERO && y < T::ONE { grad.mul(T::from_f64(0.2)) } else { T::ZERO };
});
rows!(relu_slope(grad; y) |L| { *grad = if y > T::ZERO { *grad } else { T::ZERO }; });
