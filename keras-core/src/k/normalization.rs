//! `K.batch_normalization`, `K.normalize_batch_in_training`.

use super::{axes_of, composed, operands};
use crate::array::DType;
use crate::error::{Error, Result};
use crate::k;
use crate::semantics::ImageEpsilon;
use crate::tensor::{Tensor, Trace};

/// The epsilon in force: on images with the channels last it is at least that of the kernel that Keras calls there.
pub(crate) fn epsilon_in(trace: &Trace, of: (DType, usize, usize), epsilon: f64) -> f64 {
    let least = trace.semantics().image_epsilon == ImageEpsilon::AtLeastKernels;
    if least && of == (DType::F32, 4, 3) { epsilon.max(1.001e-5) } else { epsilon }
}

/// Tensors of one axis stretched along that axis of `rank`; others as they are.
fn along(x: &Tensor, axis: usize, rank: usize) -> Result<Tensor> {
    let shape = x.shape()?;
    let &[len] = shape.as_slice() else { return Ok(x.clone()) };
    let mut wide = vec![1_isize; rank];
    if let Some(own) = wide.get_mut(axis) {
        *own = len as isize;
    }
    Ok(k::reshape(x, &wide))
}

/// gamma·(x − mean)/√(var + ε) + beta: any shape to the same shape.
///
/// `mean`, `var`, `beta` and `gamma` have one axis, which is `axis` of `x`, or broadcast to `x`. Keras's defaults are the
/// last axis and an ε of 0.001; on images with the channels last it is at least 1.001e-5, as in the kernel that Keras calls
/// there.
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(3)], "x");
/// let (mean, var) = (k::placeholder([Some(3)], "mean"), k::placeholder([Some(3)], "var"));
/// let y = k::batch_normalization(&x, &mean, &var, None, None, -1, 1e-3);
/// assert_eq!(y.spec()?.shape, [None, Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn batch_normalization(
    x: &Tensor,
    mean: &Tensor,
    var: &Tensor,
    beta: Option<&Tensor>,
    gamma: Option<&Tensor>,
    axis: isize,
    epsilon: f64,
) -> Tensor {
    let name = "batch_normalization";
    let (shifted, scaled) = (beta.is_some(), gamma.is_some());
    let inputs: Vec<&Tensor> = [x, mean, var].into_iter().chain(beta).chain(gamma).collect();
    composed(name, &inputs, move |trace, tensors| {
        let [x, mean, var, rest @ ..] = tensors else { return operands(name) };
        let (beta, gamma) = rest.split_at(usize::from(shifted).min(rest.len()));
        let rank = x.rank()?;
        let axis = k::axis_of(axis, rank)?;
        let wide = |x: &Tensor| along(x, axis, rank);
        // As one product and one sum whose terms depend on the statistics alone: of variables they are computed once.
        let deviation = k::rsqrt(&(wide(var)? + epsilon_in(trace, (x.dtype()?, rank, axis), epsilon)));
        let factor = match gamma.first().filter(|_| scaled) {
            Some(gamma) => wide(gamma)? * &deviation,
            None => deviation,
        };
        let offset = -(wide(mean)? * &factor);
        let offset = match beta.first() {
            Some(beta) => wide(beta)? + &offset,
            None => offset,
        };
        Ok(x * &factor + offset)
    })
}

/// x normalised by the mean and the (biased) variance over axes, then times gamma plus beta; and both statistics, whose
/// reduced axes stay with length 1. Elements where `counted` (of x's shape) is 0 rather than 1 are left out of them.
pub(crate) fn normalized(
    x: &Tensor,
    (gamma, beta): (Option<&Tensor>, Option<&Tensor>),
    (axes, counted): (&[isize], Option<&Tensor>),
    epsilon: f64,
) -> (Tensor, Tensor, Tensor) {
    let average = |x: &Tensor| match counted {
        Some(counted) => k::sum(&(x * counted), axes, true) / k::sum(counted, axes, true),
        None => k::mean(x, axes, true),
    };
    let mean = average(x);
    let centred = x - &mean;
    let variance = average(&k::square(&centred));
    let deviation = k::rsqrt(&(&variance + epsilon));
    let y = centred * gamma.map_or_else(|| deviation.clone(), |gamma| gamma * &deviation);
    let y = beta.map_or_else(|| y.clone(), |beta| &y + beta);
    (y, mean, variance)
}

/// x normalised by its own mean and variance over `reduction_axes`: gamma·(x − mean)/√(var + ε) + beta, the mean, and the
/// variance, both of the axes that are left. `gamma` and `beta` are of those axes too; Keras's default for ε is 0.001.
///
/// As in Keras, the variance is divided by n, but on images with the channels last by n − 1 (and ε is at least 1.001e-5
/// there).
///
/// ```
/// use keras_core::k;
/// let x = k::placeholder([None, Some(5), Some(3)], "x");
/// let (y, mean, _) = k::normalize_batch_in_training(&x, None, None, &[0, 1], 1e-3);
/// assert_eq!(y.spec()?.shape, [None, Some(5), Some(3)]);
/// assert_eq!(mean.spec()?.shape, [Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn normalize_batch_in_training(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    reduction_axes: &[isize],
    epsilon: f64,
) -> (Tensor, Tensor, Tensor) {
    let name = "normalize_batch_in_training";
    let (scaled, axes) = (gamma.is_some(), reduction_axes.to_vec());
    let inputs: Vec<&Tensor> = std::iter::once(x).chain(gamma).chain(beta).collect();
    let mut results = super::composed_many(name, &inputs, 3, move |trace, tensors| {
        let [x, rest @ ..] = tensors else { return Err(Error::value(name, "a tensor", "none")) };
        let shape = x.shape()?;
        let reduced = axes_of(&axes, shape.len())?;
        let keep = |lens: &[usize]| -> Vec<isize> {
            lens.iter()
                .enumerate()
                .map(|(i, &len)| if reduced.contains(&i) { 1 } else { len as isize })
                .collect()
        };
        let left: Vec<isize> =
            (0..shape.len()).filter(|i| !reduced.contains(i)).map(|i| shape[i] as isize).collect();
        let wide: Vec<Tensor> = rest.iter().map(|x| k::reshape(x, &keep(&shape))).collect();
        let (gamma, beta) = wide.split_at(usize::from(scaled).min(wide.len()));
        let image = shape.len() == 4 && reduced == [0, 1, 2];
        let epsilon = epsilon_in(trace, (x.dtype()?, shape.len(), if image { 3 } else { 0 }), epsilon);
        let (y, mean, variance) = normalized(x, (gamma.first(), beta.first()), (&axes, None), epsilon);
        let count: usize = reduced.iter().map(|&i| shape[i]).product();
        let bessel = if image { count as f64 / count.saturating_sub(1).max(1) as f64 } else { 1.0 };
        Ok(vec![y, k::reshape(&mean, &left), k::reshape(&(variance * bessel), &left)])
    })
    .into_iter();
    let mut next =
        || results.next().unwrap_or_else(|| Tensor::poisoned(Error::state(name, "three results", "fewer")));
    (next(), next(), next())
}
