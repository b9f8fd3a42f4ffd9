//! A loop over the products of the crate `gemm`, written by hand for one network: what no framework costs.
//!
//! `peer-gemm mlp` prints one JSON line; `examples/bench_train.rs` measures the same of this project.

use gemm::{Parallelism, gemm};
use rayon::prelude::*;
use std::time::Instant;

const BATCH: usize = 128;
/// How much a thread takes at once of what is done number by number.
const PIECE: usize = 1 << 14;
const WIDTHS: [usize; 4] = [784, 512, 512, 10];

fn main() {
    let workload = std::env::args().nth(1).unwrap_or_default();
    assert_eq!(workload, "mlp", "expected mlp");
    println!("{{\"name\":\"mlp\",\"samples_per_second\":{:.5}}}", mlp());
}

/// A matrix that a product reads: its columns, and whether rows and columns change places.
#[derive(Clone, Copy)]
struct Operand<'a> {
    values: &'a [f32],
    columns: usize,
    transposed: bool,
}

impl<'a> Operand<'a> {
    fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns, transposed: false }
    }

    fn transposed(values: &'a [f32], columns: usize) -> Self {
        Self { values, columns, transposed: true }
    }

    /// Rows and columns as the product sees them.
    fn shape(self) -> (usize, usize) {
        let rows = self.values.len() / self.columns;
        if self.transposed { (self.columns, rows) } else { (rows, self.columns) }
    }

    /// How far apart neighbours in a row and in a column are.
    fn strides(self) -> (isize, isize) {
        let columns = self.columns as isize;
        if self.transposed { (columns, 1) } else { (1, columns) }
    }
}

/// `into = a · b`, added to what is there if `add`.
fn product(into: &mut [f32], a: Operand, b: Operand, add: bool) {
    let ((m, k), (inner, n)) = (a.shape(), b.shape());
    assert!(k == inner && into.len() == m * n);
    let ((a_columns, a_rows), (b_columns, b_rows)) = (a.strides(), b.strides());
    // SAFETY: lengths and strides are those of slices whose sizes were just compared.
    unsafe {
        gemm(
            m,
            n,
            k,
            into.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a_columns,
            a_rows,
            b.values.as_ptr(),
            b_columns,
            b_rows,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::Rayon(0),
        );
    }
}

/// Xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn unit(&mut self) -> f32 {
        self.next() as f32 / u32::MAX as f32
    }
}

/// A weight with its gradient and RMSprop's mean of squares.
struct Weight {
    values: Vec<f32>,
    gradient: Vec<f32>,
    squares: Vec<f32>,
}

impl Weight {
    fn new(values: Vec<f32>) -> Self {
        Self { gradient: vec![0.0; values.len()], squares: vec![0.0; values.len()], values }
    }

    fn update(&mut self) {
        let squares = self.squares.par_chunks_mut(PIECE);
        let parts = self.values.par_chunks_mut(PIECE).zip(self.gradient.par_chunks(PIECE)).zip(squares);
        parts.for_each(|((values, gradients), squares)| {
            for ((value, gradient), square) in values.iter_mut().zip(gradients).zip(squares) {
                *square = 0.9 * *square + 0.1 * gradient * gradient;
                *value -= 1e-3 * gradient / (square.sqrt() + 1e-7);
            }
        });
    }
}

struct Layer {
    kernel: Weight,
    bias: Weight,
    /// What it computes for a batch, and the gradient of that.
    output: Vec<f32>,
    above: Vec<f32>,
    /// What dropout multiplies by, 0 where relu cut.
    mask: Vec<f32>,
}

impl Layer {
    fn new(from: usize, to: usize, random: &mut Random) -> Self {
        let limit = (6.0 / (from + to) as f32).sqrt();
        let kernel = (0..from * to).map(|_| (2.0 * random.unit() - 1.0) * limit).collect();
        let batch = || vec![0.0; BATCH * to];
        let bias = Weight::new(vec![0.0; to]);
        Self { kernel: Weight::new(kernel), bias, output: batch(), above: batch(), mask: batch() }
    }

    fn width(&self) -> usize {
        self.bias.values.len()
    }

    fn forward(&mut self, x: &[f32], rows: usize) {
        let width = self.width();
        self.output.truncate(0);
        (0..rows).for_each(|_| self.output.extend_from_slice(&self.bias.values));
        let kernel = Operand::new(&self.kernel.values, width);
        product(&mut self.output, Operand::new(x, x.len() / rows), kernel, true);
    }

    fn relu_and_dropout(&mut self, random: &mut Random) {
        const DROPPED: u32 = u32::MAX / 5;
        self.mask.resize(self.output.len(), 0.0);
        let parts = self.output.par_chunks_mut(PIECE).zip(self.mask.par_chunks_mut(PIECE)).enumerate();
        let seed = u64::from(random.next()) << 20;
        parts.for_each(|(i, (values, masks))| {
            let mut random = Random(seed + i as u64 + 1);
            for (value, mask) in values.iter_mut().zip(masks) {
                *mask = if *value > 0.0 && random.next() >= DROPPED { 1.25 } else { 0.0 };
                *value *= *mask;
            }
        });
    }

    /// The gradients of its weights, and of the layer below, whose mask stands beside.
    fn backward(&mut self, x: &[f32], below: Option<(&mut Vec<f32>, &[f32])>) {
        let width = self.width();
        let above = Operand::new(&self.above, width);
        let inputs = self.kernel.values.len() / width;
        product(&mut self.kernel.gradient, Operand::transposed(x, inputs), above, false);
        self.bias.gradient.fill(0.0);
        for row in self.above.chunks_exact(width) {
            self.bias.gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        if let Some((below, mask)) = below {
            below.resize(mask.len(), 0.0);
            product(below, above, Operand::transposed(&self.kernel.values, width), false);
            below.iter_mut().zip(mask).for_each(|(value, mask)| *value *= mask);
        }
    }
}

/// Softmax and crossentropy of logits: gradients per logit, the mean loss and how many were right.
fn crossentropy(logits: &[f32], labels: &[usize], gradients: &mut Vec<f32>) -> (f32, usize) {
    let (mut loss, mut right) = (0.0, 0);
    gradients.clear();
    for (row, &label) in logits.chunks_exact(10).zip(labels) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|x| (x - most).exp()).sum();
        loss += sum.ln() + most - row[label];
        right += usize::from(row[label] == most);
        let batch = labels.len() as f32;
        let of = |(class, x): (usize, &f32)| {
            ((x - most).exp() / sum - f32::from(u8::from(class == label))) / batch
        };
        gradients.extend(row.iter().enumerate().map(of));
    }
    (loss / labels.len() as f32, right)
}

/// Samples per second of one epoch of 784-512-512-10 with dropout 0.2 and RMSprop, after a first one to warm up.
fn mlp() -> f64 {
    const SAMPLES: usize = 60_000;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let x: Vec<f32> = (0..SAMPLES * WIDTHS[0]).map(|_| random.unit()).collect();
    let y: Vec<usize> = (0..SAMPLES).map(|i| i % 10).collect();
    let mut layers: Vec<Layer> =
        WIDTHS.windows(2).map(|pair| Layer::new(pair[0], pair[1], &mut random)).collect();
    let mut epoch = |samples: usize| {
        let mut order: Vec<usize> = (0..samples).collect();
        (1..samples).rev().for_each(|i| order.swap(i, random.next() as usize % (i + 1)));
        let (mut input, mut loss, mut right) = (Vec::with_capacity(BATCH * WIDTHS[0]), 0.0, 0);
        for numbers in order.chunks(BATCH) {
            input.clear();
            numbers.iter().for_each(|&i| input.extend_from_slice(&x[i * WIDTHS[0]..(i + 1) * WIDTHS[0]]));
            let labels: Vec<usize> = numbers.iter().map(|&i| y[i]).collect();
            let [first, second, classes] = layers.as_mut_slice() else { unreachable!() };
            first.forward(&input, numbers.len());
            first.relu_and_dropout(&mut random);
            second.forward(&first.output, numbers.len());
            second.relu_and_dropout(&mut random);
            classes.forward(&second.output, numbers.len());
            let (batch_loss, batch_right) = crossentropy(&classes.output, &labels, &mut classes.above);
            loss += batch_loss;
            right += batch_right;
            classes.backward(&second.output, Some((&mut second.above, &second.mask)));
            second.backward(&first.output, Some((&mut first.above, &first.mask)));
            first.backward(&input, None);
            for weight in layers.iter_mut().flat_map(|layer| [&mut layer.kernel, &mut layer.bias]) {
                weight.update();
            }
        }
        assert!(loss.is_finite() && right <= samples);
    };
    epoch(6_400);
    let start = Instant::now();
    epoch(SAMPLES);
    SAMPLES as f64 / start.elapsed().as_secs_f64()
}
