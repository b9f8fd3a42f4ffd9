//! `a · b` over the last two axes, cut into blocks by shape.

use crate::fused::Session;
use crate::gemm::{Epilogue, Gemm, Matrix, Target, product, rank_error, whole_vectors, with_float};
use crate::movement::permute;
use crate::panels::{self, Packed};
use crate::parallel::{Shared, pieces_per_task};
use crate::run::{Site, tree};
use crate::tensor::{Out, Tensor};
use keras_core::Result;

/// Operations of a task: about 40 µs on one core.
const GRAIN: usize = 1 << 22;

/// Products with longer sums and few blocks are cut along the sum.
const LONG: usize = 2048;

/// Lengths of a stack of products.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// The blocks of one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Blocks {
    /// Rows and columns of a block.
    m: usize,
    n: usize,
    /// Chunks of the sum, and the length of one.
    chunks: usize,
    k: usize,
}

impl Sizes {
    /// Of operands of those shapes.
    pub(crate) fn of(a: &[usize], b: &[usize], trans_a: bool, trans_b: bool) -> Result<Self> {
        let last = |shape: &[usize], trans: bool| match *shape {
            [rows, columns] | [_, rows, columns] => Ok(if trans { (columns, rows) } else { (rows, columns) }),
            _ => rank_error("matmul", shape),
        };
        let ((m, k), (_, n)) = (last(a, trans_a)?, last(b, trans_b)?);
        let batch = if let [batch, _, _] = *a { batch } else { 1 };
        Ok(Self { batch, m, n, k })
    }

    /// Whether the right-hand side goes through panels. One row reads it once, as it lies.
    fn packs(&self) -> bool {
        self.batch == 1 && self.m > 1 && self.work() > 1 << 16 && self.blocks().chunks == 1
    }

    fn work(&self) -> usize {
        2 * self.m * self.n * self.k
    }

    fn blocks(&self) -> Blocks {
        let whole = Blocks { m: self.m, n: self.n, chunks: 1, k: self.k };
        if self.work() < 2 * GRAIN || self.batch >= 16 {
            return whole;
        }
        let n = if self.n <= 512 {
            self.n
        } else {
            self.n.div_ceil(self.n.div_ceil(256)).next_multiple_of(panels::WIDTH)
        };
        let least = if n * self.k > 1 << 18 { 32 } else { 16 };
        let m = whole_vectors(GRAIN.div_ceil(2 * n * self.k)).clamp(least, 128).min(self.m);
        let n = if self.m <= m {
            GRAIN.div_ceil(2 * m * self.k).next_multiple_of(panels::WIDTH).clamp(64, 256).min(n)
        } else {
            n
        };
        let count = self.m.div_ceil(m) * self.n.div_ceil(n);
        if count < 4 && self.k >= LONG {
            let k = GRAIN.div_ceil(2 * self.m * self.n).max(LONG / 2).max(self.k.div_ceil(64));
            return Blocks { chunks: self.k.div_ceil(k), k, ..whole };
        }
        Blocks { m, n, ..whole }
    }
}

/// The panels of `b` for products of those sizes; none where they would not be used.
pub(crate) fn prepare(site: Site<'_>, sizes: Sizes, b: &Tensor, trans_b: bool) -> Result<Option<Packed>> {
    let Sizes { n, k, .. } = sizes;
    if !sizes.packs() {
        return Ok(None);
    }
    with_float!("prepack", b.dtype(), T => {
        let data = b.slice::<T>();
        let matrix = if trans_b { Matrix { data, rows: 1, columns: k } } else { Matrix::new(data, n) };
        Packed::new(site, matrix, k, n).map(Some)
    })
}

pub(crate) fn matmul(site: Site<'_>, a: &Tensor, b: &Tensor, trans_a: bool, trans_b: bool) -> Result<Tensor> {
    let sizes = Sizes::of(a.shape(), b.shape(), trans_a, trans_b)?;
    let mut shape = a.shape()[..a.shape().len() - 2].to_vec();
    shape.extend([sizes.m, sizes.n]);
    let mut out = Out::new(site.pool, &shape, a.dtype())?;
    with_float!("matmul", a.dtype(), T => {
        let target = out.slice::<T>();
        into(site, sizes, (a, trans_a), (b, trans_b), &Shared::new(target), None)
    })?;
    Ok(out.finish())
}

/// Computes the product into `out`, and runs the session's kernel on every block of it.
pub(crate) fn into<T: Gemm>(
    site: Site<'_>,
    sizes: Sizes,
    (a, trans_a): (&Tensor, bool),
    (b, trans_b): (&Tensor, bool),
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) -> Result<()> {
    if trans_b && !sizes.packs() && sizes.m > 1 && sizes.work() > 1 << 16 {
        // A product in general packs a transposed operand badly; a blocked transposition before it costs a tenth.
        let perm: &[usize] = if b.shape().len() == 3 { &[0, 2, 1] } else { &[1, 0] };
        let b = permute(site, b, perm)?;
        return into(site, sizes, (a, trans_a), (&b, false), out, session);
    }
    let Sizes { batch, m, n, k } = sizes;
    let (a, b_tensor) = (a.slice::<T>(), b);
    let b = b_tensor.slice::<T>();
    let a_at = |i: usize| {
        let data = &a[i * m * k..(i + 1) * m * k];
        if trans_a { Matrix { data, rows: 1, columns: m } } else { Matrix::new(data, k) }
    };
    let b_at = |i: usize| {
        let data = &b[i * k * n..(i + 1) * k * n];
        if trans_b { Matrix { data, rows: 1, columns: k } } else { Matrix::new(data, n) }
    };
    let blocks = sizes.blocks();
    if blocks.chunks > 1 {
        return chunked(site, sizes, blocks, a_at, b_at, out, session);
    }
    let made;
    let packed = match b_tensor.panels().filter(|packed| packed.suits::<T>(k, n)) {
        _ if !sizes.packs() => None,
        Some(packed) => Some(packed),
        None => {
            made = Packed::new(site, b_at(0), k, n)?;
            Some(&made)
        }
    };
    let (rows, columns) = (m.div_ceil(blocks.m), n.div_ceil(blocks.n));
    let units = batch * rows * columns;
    let step = pieces_per_task(2 * blocks.m * blocks.n * k, GRAIN);
    site.threads.run(units.div_ceil(step), |task| {
        let mut epilogue = Epilogue::new(session);
        for unit in task * step..units.min((task + 1) * step) {
            let (i, row, column) = (unit / (rows * columns), unit / columns % rows, unit % columns);
            let (row, column) = (row * blocks.m, column * blocks.n);
            let (height, width) = (blocks.m.min(m - row), blocks.n.min(n - column));
            let target = Target { start: out.as_ptr().wrapping_add((i * m + row) * n + column), rows: n };
            let a = a_at(i).at(row, 0);
            // SAFETY: the blocks of different units are disjoint parts of the output.
            unsafe {
                match packed {
                    Some(packed) => {
                        panels::product((height, width, k), &target, false, a, packed.at(column));
                    }
                    None => product((height, width, k), &target, false, a, b_at(i).at(0, column)),
                }
                epilogue.run(i * m + row..i * m + row + height, column..column + width, n);
            }
        }
    });
    Ok(())
}

/// Cuts the sum into chunks, and adds their products in a tree.
fn chunked<'a, T: Gemm>(
    site: Site<'_>,
    sizes: Sizes,
    blocks: Blocks,
    a_at: impl Fn(usize) -> Matrix<'a, T> + Sync,
    b_at: impl Fn(usize) -> Matrix<'a, T> + Sync,
    out: &Shared<'_, T>,
    session: Option<&Session<'_>>,
) -> Result<()> {
    let Sizes { batch, m, n, k } = sizes;
    let mut memory = Out::new(site.pool, &[batch, blocks.chunks, m * n], dtype_of::<T>())?;
    let partials = Shared::new(memory.slice::<T>());
    site.threads.run(batch * blocks.chunks, |unit| {
        let (i, first) = (unit / blocks.chunks, unit % blocks.chunks * blocks.k);
        let target = Target { start: partials.as_ptr().wrapping_add(unit * m * n), rows: n };
        let (a, b) = (a_at(i).at(0, first), b_at(i).at(first, 0));
        // SAFETY: every unit has a partial result of its own.
        unsafe { product((m, n, blocks.k.min(k - first)), &target, false, a, b) };
    });
    // SAFETY: the tasks are over.
    let result = unsafe { out.range(0, batch * m * n) };
    let add = T::reduction(keras_core::graph::Reduce::Sum).1;
    tree(site.threads, add, memory.slice::<T>(), blocks.chunks, m * n, result);
    // SAFETY: one task has all of it.
    unsafe { Epilogue::new(session).run(0..batch * m, 0..n, n) };
    Ok(())
}

/// The element type of a float type.
pub(crate) fn dtype_of<T: Gemm>() -> keras_core::DType {
    if size_of::<T>() == 4 { keras_core::DType::F32 } else { keras_core::DType::F64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_from_the_shape() {
        let blocks = |batch, m, n, k| Sizes { batch, m, n, k }.blocks();
        assert_eq!(blocks(1, 8, 8, 8), Blocks { m: 8, n: 8, chunks: 1, k: 8 });
        assert_eq!(blocks(1, 128, 512, 784), Blocks { m: 32, n: 512, chunks: 1, k: 784 });
        assert_eq!(blocks(1, 1024, 1024, 1024).n, 256);
        assert!(blocks(1, 16, 16, 100_000).chunks > 4);
        assert!(blocks(1, 1, 4096, 4096).n < 4096);
    }
}
