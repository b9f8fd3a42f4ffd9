//! Connectionist temporal classification (Graves et al., 2006): `K.ctc_batch_cost`, `K.ctc_decode`. The last class is the
//! blank.

mod beam;

pub use beam::BeamSearch;

use super::{composed, composed_many, nth, op, operands};
use crate::array::{Array, DType};
use crate::config::epsilon;
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::k;
use crate::tensor::Tensor;
use crate::tensor::looping::Loop;

/// Stands for ln 0: sums of it are finite, and e to it is 0.
const NEVER: f64 = -1e30;

/// The numbers 0.. in a row, as one axis of `rank`.
fn positions(len: usize, axis: usize, rank: usize) -> Result<Tensor> {
    let mut shape = vec![1; rank];
    if let Some(own) = shape.get_mut(axis) {
        *own = len;
    }
    let numbers: Vec<i64> = (0..len as i64).collect();
    Ok(Tensor::constant(Array::from_vec(&shape, numbers)?.cast(DType::I32)))
}

fn whole(number: usize) -> Tensor {
    Tensor::constant(Array::from(number as i64).cast(DType::I32))
}

/// One number (int32) per sample, `(batch, 1)`, of a tensor with as many elements.
fn column(x: &Tensor, batch: usize, what: &str) -> Result<Tensor> {
    let shape = x.shape()?;
    if shape.iter().product::<usize>() != batch {
        let expected = format!("{what}: one number per sample, of which there are {batch}");
        return Err(Error::shape("ctc", expected, format!("{shape:?}")));
    }
    Ok(k::cast(&k::reshape(x, &[batch as isize, 1]), DType::I32))
}

/// Predictions `(batch, steps, classes)`: their lengths.
fn predictions(name: &str, y: &Tensor) -> Result<(usize, usize, usize)> {
    match y.shape()?.as_slice() {
        &[batch, steps, classes] if steps > 0 && classes > 1 => Ok((batch, steps, classes)),
        shape => {
            let expected = "predictions (batch, steps, classes) of at least one step and two classes";
            Err(Error::shape(name, expected, format!("{shape:?}")))
        }
    }
}

/// Zeros `(size, …)` with rows added at indices.
fn scattered(indices: &Tensor, rows: &Tensor, size: usize) -> Tensor {
    op("scatter", &[indices, rows], move |graph, values| {
        graph.add(Op::ScatterAdd(size), &[nth(values, 0)?, nth(values, 1)?])
    })
}

/// Where the kept ones of a row of elements lie when they move to its front; the others behind its end.
fn places_in_front(kept: &Tensor, len: usize) -> Tensor {
    let before = k::cumsum(&k::cast(kept, DType::I32), -1) - whole(1);
    k::select(kept, &before, &whole(len))
}

/// The negative logarithm of the probability that predictions `y_pred` `(batch, steps, classes)` give the labels `y_true`
/// `(batch, labels)`, over all ways to repeat labels and to put blanks between them: `(batch, 1)`.
///
/// `input_length` and `label_length`, `(batch, 1)` each, say how many steps and labels of a sample count. Predictions are
/// probabilities (softmax), which are normalised once more as in TensorFlow; the last class is the blank. Labels that are the
/// blank end a sample's labels. Where there are too few steps for the labels the cost is infinite and has no gradient.
///
/// Running it fails for labels that are no classes and for labels behind a blank.
///
/// ```
/// use keras_core::k;
/// let y_pred = k::placeholder([None, Some(20), Some(11)], "y_pred");
/// let y_true = k::placeholder([None, Some(5)], "y_true");
/// let (steps, labels) = (k::placeholder([None, Some(1)], "steps"), k::placeholder([None, Some(1)], "labels"));
/// let cost = k::ctc_batch_cost(&y_true, &y_pred, &steps, &labels);
/// assert_eq!(cost.spec()?.shape, [None, Some(1)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn ctc_batch_cost(
    y_true: &Tensor,
    y_pred: &Tensor,
    input_length: &Tensor,
    label_length: &Tensor,
) -> Tensor {
    let name = "ctc_batch_cost";
    composed(name, &[y_true, y_pred, input_length, label_length], move |trace, tensors| {
        let [labels, y, steps, count] = tensors else { return operands(name) };
        let (batch, time, classes) = predictions(name, y)?;
        let width = match labels.shape()?.as_slice() {
            &[rows, width] if rows == batch && width > 0 => width,
            shape => {
                let expected = format!("labels ({batch}, labels), at least one column of them");
                return Err(Error::shape(name, expected, format!("{shape:?}")));
            }
        };
        let steps = column(steps, batch, "input_length")?;
        let count = column(count, batch, "label_length")?;
        let (labels, count) = known_labels(labels, &count, width, classes)?;
        // Blanks around every label: position 2i + 1 is label i.
        let (places, blank) = (2 * width + 1, whole(classes - 1));
        let lens = |lens: &[usize]| lens.iter().map(|&len| len as isize).collect::<Vec<_>>();
        let wide = k::expand_dims(&labels, -1);
        let pairs = k::concatenate(&[&k::broadcast_like(&blank, &wide), &wide], -1);
        let pairs = k::reshape(&pairs, &lens(&[batch, 2 * width]));
        let path = k::concatenate(&[&pairs, &k::broadcast_to(&blank, &[batch, 1])], -1);

        let logarithms = k::log_softmax(&k::log(&(y + epsilon())), -1);
        let rows =
            k::reshape(&k::permute_dimensions(&logarithms, &[0, 2, 1]), &lens(&[batch * classes, time]));
        let row = &path + positions(batch, 0, 2)? * whole(classes);
        let emitted = k::permute_dimensions(&k::gather(&rows, &row), &[2, 0, 1]);
        let live = k::less(&positions(time, 0, 3)?, &k::reshape(&steps, &lens(&[1, batch, 1])));
        let live = k::broadcast_to(&live, &[time, batch, 1]);

        let never = k::number(y, NEVER);
        let behind = |x: &Tensor, by: usize, fill: &Tensor| {
            let front = k::broadcast_to(fill, &[batch, by]);
            k::concatenate(&[&front, &k::slice_axis(x, -1, 0, places - by)], -1)
        };
        // A blank may be left out between two labels that differ.
        let leap = k::select(&k::not_equal(&path, &behind(&path, 2, &blank)), &k::number(y, 0.0), &never);
        let start = k::equal(&positions(places, 1, 2)?, &whole(0));
        let start = k::broadcast_to(&k::select(&start, &k::number(y, 0.0), &never), &[batch, places]);

        let mut body = Loop::new(trace, time);
        let (emission, live) = (body.row(&emitted)?, body.row(&live)?);
        let (before, number) = body.carry(&start)?;
        let step = behind(&before, 1, &never);
        let leapt = behind(&before, 2, &never) + &leap;
        let after = log_of_sum(&[&before, &step, &leapt]) + emission;
        body.next(number, &k::select(&live, &after, &before))?;
        let last = body.finish(false)?.0.into_iter().next();
        let last = last.ok_or_else(|| Error::state(name, "the last step", "none"))?;

        // It ends with the last label or the blank behind it.
        let (place, end) = (positions(places, 1, 2)?, &count * whole(2));
        let ends = k::logical_or(&k::equal(&place, &end), &k::equal(&place, &(&end - whole(1))));
        let cost = -k::logsumexp(&k::select(&ends, &last, &never), &[-1], true);
        let possible = k::less(&cost, &k::number(y, -NEVER / 2.0));
        Ok(k::select(&possible, &cost, &k::number(y, f64::INFINITY)))
    })
}

/// ln Σ eˣ, elementwise over tensors.
fn log_of_sum(terms: &[&Tensor; 3]) -> Tensor {
    let [a, b, c] = terms;
    let largest = k::stop_gradient(&k::maximum(&k::maximum(a, b), c));
    let [a, b, c] = terms.map(|x| k::exp(&(x - &largest)));
    k::log(&(a + b + c)) + largest
}

/// The labels of each sample (int32), 0 where there are none, and how many there are, `(batch, 1)`. What is neither a class
/// nor the blank at the end fails when it runs.
fn known_labels(labels: &Tensor, count: &Tensor, width: usize, classes: usize) -> Result<(Tensor, Tensor)> {
    let labels = k::cast(labels, DType::I32);
    let (inside, blank) = (k::less(&positions(width, 1, 2)?, count), whole(classes - 1));
    let ends = k::logical_and(&inside, &k::greater_equal(&labels, &blank));
    let open = k::equal(&k::cumsum(&k::cast(&ends, DType::I32), -1), &whole(0));
    let kept = k::logical_and(&inside, &open);
    let late = k::logical_and(&k::logical_and(&inside, &k::logical_not(&open)), &k::less(&labels, &blank));
    // Looking them up among the classes makes others an error.
    let number = k::select(&kept, &labels, &k::select(&late, &whole(classes), &whole(0)));
    let known = k::gather(&k::reshape(&positions(classes - 1, 0, 1)?, &[-1]), &number);
    Ok((known, k::sum(&k::cast(&kept, DType::I32), &[-1], true)))
}

/// The entries of a matrix that count, as [`ctc_label_dense_to_sparse`] finds them.
#[derive(Debug, Clone)]
pub struct Sparse {
    /// Row and column of each entry (int64), `(size, 2)`. As many rows as the matrix has elements: behind the entries that
    /// count there are zeros.
    pub indices: Tensor,
    /// The entries, `(size,)`; zeros behind those that count.
    pub values: Tensor,
    /// How many count (int64).
    pub count: Tensor,
    dense: Tensor,
}

impl Sparse {
    /// The shape of the matrix (int32).
    #[track_caller]
    pub fn dense_shape(&self) -> Tensor {
        k::shape(&self.dense)
    }
}

/// The first `label_lengths` `(batch,)` labels of each row of `labels` `(batch, labels)`, row by row.
///
/// ```
/// use keras_core::{Array, Tensor, k};
/// let labels = Tensor::constant(Array::from([[5_i32, 1, 2], [3, 0, 7]]));
/// let sparse = k::ctc_label_dense_to_sparse(&labels, &Tensor::constant(Array::from([2_i32, 1])));
/// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
/// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
/// let f = k::function([], [&sparse.values, &k::to_dense(&sparse)])?;
/// # let f = f.on(&engine);
/// let results = f.run([])?;
/// assert_eq!(results[0].to_vec::<i32>(), [5, 1, 3, 0, 0, 0]);
/// assert_eq!(results[1].to_vec::<i32>(), [5, 1, 0, 3, 0, 0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn ctc_label_dense_to_sparse(labels: &Tensor, label_lengths: &Tensor) -> Sparse {
    let name = "ctc_label_dense_to_sparse";
    let results = composed_many(name, &[labels, label_lengths], 3, move |_, tensors| {
        let [labels, lengths] = tensors else { return Err(Error::value(name, "two operands", "others")) };
        let shape = labels.shape()?;
        let &[rows, columns] = shape.as_slice() else {
            return Err(Error::shape(name, "labels (batch, labels)", format!("{shape:?}")));
        };
        let size = rows * columns;
        let lengths = column(lengths, rows, "label_lengths")?;
        let kept = k::less(&k::broadcast_to(&positions(columns, 1, 2)?, &[rows, columns]), &lengths);
        let flat = k::reshape(&kept, &[size as isize]);
        let places = places_in_front(&flat, size);
        let pairs: Vec<i64> =
            (0..rows as i64).flat_map(|row| (0..columns as i64).flat_map(move |at| [row, at])).collect();
        let pairs = Tensor::constant(Array::from_vec(&[size, 2], pairs)?);
        let front = |x: &Tensor| k::slice_axis(&scattered(&places, x, size + 1), 0, 0, size);
        let count = k::sum(&k::cast(&flat, DType::I64), &[], false);
        Ok(vec![front(&pairs), front(&k::reshape(labels, &[size as isize])), count])
    });
    let mut results = results.into_iter();
    let mut next =
        || results.next().unwrap_or_else(|| Tensor::poisoned(Error::state(name, "three results", "fewer")));
    Sparse { indices: next(), values: next(), count: next(), dense: labels.clone() }
}

/// The matrix of sparse entries, 0 where there is none.
#[track_caller]
pub fn to_dense(sparse: &Sparse) -> Tensor {
    let name = "to_dense";
    composed(name, &[&sparse.indices, &sparse.values, &sparse.dense], move |_, tensors| {
        let [indices, values, dense] = tensors else { return operands(name) };
        let shape = dense.shape()?;
        let &[rows, columns] = shape.as_slice() else {
            return Err(Error::shape(name, "a matrix", format!("{shape:?}")));
        };
        let at = |i: usize| k::squeeze(&k::slice_axis(indices, 1, i, i + 1), 1);
        let flat = at(0) * k::cast(&whole(columns), DType::I64) + at(1);
        Ok(k::reshape(&scattered(&flat, values, rows * columns), &[rows as isize, columns as isize]))
    })
}

/// The labels that predictions `y_pred` `(batch, steps, classes)` stand for, `input_length` `(batch,)` steps of each sample:
/// paths `(batch, steps)` (int64), −1 behind their ends, and a logarithm per path, `(batch, paths)`.
///
/// Greedily (`beam` is `None`) there is one path, of each step's likeliest class, repetitions and blanks left out; its number
/// is, as in TensorFlow, minus the sum of the logarithms. A [`BeamSearch`] gives its likeliest paths and their
/// log-probabilities. Keras's paths have as many columns as the longest of them; here they have as many as there are steps.
/// No gradient passes.
///
/// ```
/// use keras_core::k;
/// let y_pred = k::placeholder([None, Some(20), Some(11)], "y_pred");
/// let steps = k::placeholder([None], "steps");
/// let (paths, _) = k::ctc_decode(&y_pred, &steps, None);
/// assert_eq!(paths[0].spec()?.shape, [None, Some(20)]);
/// let (paths, logarithms) = k::ctc_decode(&y_pred, &steps, k::BeamSearch::new().beam_width(10).top_paths(3));
/// assert_eq!(paths.len(), 3);
/// assert_eq!(logarithms.spec()?.shape, [None, Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn ctc_decode(
    y_pred: &Tensor,
    input_length: &Tensor,
    beam: impl Into<Option<BeamSearch>>,
) -> (Vec<Tensor>, Tensor) {
    let name = "ctc_decode";
    let beam = beam.into();
    let paths = beam.as_ref().map_or(1, BeamSearch::paths);
    let mut results = composed_many(name, &[y_pred, input_length], paths + 1, move |_, tensors| {
        let [y, steps] = tensors else { return Err(Error::value(name, "two operands", "others")) };
        let (batch, time, classes) = predictions(name, y)?;
        let steps = k::reshape(&column(steps, batch, "input_length")?, &[batch as isize]);
        let logarithms = k::log(&(y + epsilon()));
        match &beam {
            None => greedy(&logarithms, &steps, (batch, time, classes)),
            Some(beam) => beam.search(&logarithms, &steps),
        }
    });
    let logarithms = results.pop().unwrap_or_else(|| Tensor::poisoned(Error::state(name, "results", "none")));
    (results, logarithms)
}

fn greedy(
    logarithms: &Tensor,
    steps: &Tensor,
    (batch, time, classes): (usize, usize, usize),
) -> Result<Vec<Tensor>> {
    let live = k::less(&positions(time, 1, 2)?, &k::expand_dims(steps, 1));
    let best = k::cast(&k::argmax(logarithms, -1), DType::I32);
    let none = Tensor::constant(Array::from(-1_i64).cast(DType::I32));
    let front = k::broadcast_to(&none, &[batch, 1]);
    let before = k::concatenate(&[&front, &k::slice_axis(&best, 1, 0, time - 1)], 1);
    let new = k::logical_and(&k::not_equal(&best, &before), &k::not_equal(&best, &whole(classes - 1)));
    let kept = k::logical_and(&new, &live);
    // Each row has one place more, for what is left out; labels count from 1, so that 0 is none.
    let place = places_in_front(&kept, time) + positions(batch, 0, 2)? * whole(time + 1);
    let labels = k::select(&kept, &(&best + whole(1)), &whole(0));
    let flat = |x: &Tensor| k::reshape(x, &[(batch * time) as isize]);
    let rows = scattered(&flat(&place), &flat(&labels), batch * (time + 1));
    let rows = k::reshape(&rows, &[batch as isize, time as isize + 1]);
    let paths = k::slice_axis(&rows, 1, 0, time) - whole(1);
    let largest = k::max(logarithms, &[-1], false);
    let counted = k::select(&live, &largest, &k::number(&largest, 0.0));
    let score = k::stop_gradient(&-k::sum(&counted, &[1], true));
    Ok(vec![k::cast(&paths, DType::I64), score])
}
