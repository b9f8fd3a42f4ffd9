//! Products whose right-hand side is packed: in panels of 32 columns, one row of a panel after another, so that it is
//! read in order. Blocks of results stay in registers, and the left-hand side is read where it lies.

use crate::gemm::{Gemm, Matrix, Target};
use crate::matmul::dtype_of;
use crate::run::Site;
use crate::tensor::{Out, Tensor};
use keras_core::Result;
use pulp::{Arch, Simd, WithSimd};

/// Columns of a panel.
pub(crate) const WIDTH: usize = 32;

/// Terms of a sum that are added before results are stored: so much of a panel stays in L2 for all rows.
const DEPTH: usize = 1024;

/// Rows that packing a transposed matrix copies at once, so that the lines it writes stay in L1.
const STRIP: usize = 16;

/// A matrix in panels of [`WIDTH`] columns; zeros beyond the last column.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    panels: Tensor,
    depth: usize,
    /// Columns, rounded up to whole panels.
    pub(crate) stride: usize,
}

impl Packed {
    /// Packs a matrix of `depth × columns`.
    pub(crate) fn new<T: Gemm>(
        site: Site<'_>,
        matrix: Matrix<'_, T>,
        depth: usize,
        columns: usize,
    ) -> Result<Self> {
        let stride = columns.next_multiple_of(WIDTH);
        let mut out = Out::new(site.pool, &[stride, depth], dtype_of::<T>())?;
        site.threads.chunks(out.slice::<T>(), WIDTH * depth, |panel, chunk| {
            pack(matrix, panel * WIDTH, columns, chunk);
        });
        Ok(Self { panels: out.finish(), depth, stride })
    }

    /// Whether these are the panels of a matrix of that size and type.
    pub(crate) fn suits<T: Gemm>(&self, depth: usize, columns: usize) -> bool {
        self.panels.dtype() == dtype_of::<T>()
            && (self.depth, self.stride) == (depth, columns.next_multiple_of(WIDTH))
    }

    /// The panels from a column on, the first of its panel.
    pub(crate) fn at<T: Gemm>(&self, column: usize) -> &[T] {
        self.panels.slice::<T>().get(column * self.depth..).unwrap_or_default()
    }

    /// `out = a · matrix`: row `i` of `a` begins at `i · step`, of `out` at `i · stride`, where all of
    /// [`Self::stride`] columns are written.
    pub(crate) fn multiply<T: Gemm>(&self, a: &[T], step: usize, rows: usize, out: &mut [T], stride: usize) {
        let holds = rows > 0 && (rows - 1) * stride + self.stride <= out.len();
        debug_assert!(rows == 0 || holds);
        if !holds {
            return;
        }
        let target = Target { start: out.as_mut_ptr(), rows: stride };
        // SAFETY: `out` is borrowed mutably and holds the rows.
        unsafe { product((rows, self.stride, self.depth), &target, false, Matrix::new(a, step), self.at(0)) };
    }
}

/// Copies the columns from `first` on, of a matrix of so many columns, into a panel.
fn pack<T: Gemm>(matrix: Matrix<'_, T>, first: usize, columns: usize, panel: &mut [T]) {
    let width = WIDTH.min(columns - first);
    if matrix.columns == 1 {
        for (k, row) in panel.chunks_exact_mut(WIDTH).enumerate() {
            let start = k * matrix.rows + first;
            row[..width].copy_from_slice(&matrix.data[start..start + width]);
            row[width..].fill(T::ZERO);
        }
        return;
    }
    for (strip, rows) in panel.chunks_mut(STRIP * WIDTH).enumerate() {
        for column in 0..WIDTH {
            let target = rows[column..].iter_mut().step_by(WIDTH);
            if column < width {
                let start = strip * STRIP * matrix.rows + (first + column) * matrix.columns;
                let source = matrix.data[start..].iter().step_by(matrix.rows);
                target.zip(source).for_each(|(y, &x)| *y = x);
            } else {
                target.for_each(|y| *y = T::ZERO);
            }
        }
    }
}

/// `target (+)= a · b` for `a` of `m × k` and the panels of a `b` of `k × n`. Every element is a sum in the order of
/// `k`, whatever `m` and `n` are. Nothing happens if the operands are too short.
///
/// # Safety
/// Every element of the target's `m × n` lies in valid memory that nothing else accesses meanwhile.
pub(crate) unsafe fn product<T: Gemm>(
    (m, n, k): (usize, usize, usize),
    target: &Target<T>,
    accumulate: bool,
    a: Matrix<'_, T>,
    panels: &[T],
) {
    let held = a.holds(m, k) && panels.len() >= n.next_multiple_of(WIDTH) * k;
    debug_assert!(held);
    if held {
        T::multiply(Product { sizes: (m, n, k), target, accumulate, a, panels });
    }
}

/// A product with its operands, which hold their matrices.
pub(crate) struct Product<'a, T> {
    sizes: (usize, usize, usize),
    target: &'a Target<T>,
    accumulate: bool,
    a: Matrix<'a, T>,
    panels: &'a [T],
}

/// Results of one or two vectors of columns.
struct Strip<T> {
    depth: usize,
    a: *const T,
    a_rows: usize,
    a_columns: usize,
    panel: *const T,
    y: *mut T,
    y_rows: usize,
    /// Columns of the target from here on.
    width: usize,
    accumulate: bool,
}

macro_rules! products {
    ($T:ident, $vectors:ident, $lanes:ident, $splat:ident, $fma:ident, $add:ident, $load:ident, $store:ident, $as_mut_simd:ident) => {
        impl Product<'_, $T> {
            pub(crate) fn run(self) {
                Arch::new().dispatch(self);
            }
        }

        impl WithSimd for Product<'_, $T> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let (m, n, k) = self.sizes;
                for start in (0..k).step_by(DEPTH) {
                    let mut column = 0;
                    while column < n {
                        let (panel, inside) = (column / WIDTH, column % WIDTH);
                        let strip = Strip {
                            depth: DEPTH.min(k - start),
                            a: self.a.data.as_ptr().wrapping_add(start * self.a.columns),
                            a_rows: self.a.rows,
                            a_columns: self.a.columns,
                            panel: self.panels.as_ptr().wrapping_add((panel * k + start) * WIDTH + inside),
                            y: self.target.start.wrapping_add(column),
                            y_rows: self.target.rows,
                            width: n - column,
                            accumulate: self.accumulate || start > 0,
                        };
                        // SAFETY: `product` has seen that the operands hold their matrices; its caller vouches for
                        // the target.
                        column += if n - column > S::$lanes {
                            unsafe { strip.rows::<S, 2>(simd, m) }
                        } else {
                            unsafe { strip.rows::<S, 1>(simd, m) }
                        };
                    }
                }
            }
        }

        impl Strip<$T> {
            /// All rows, as many at once as there are registers for their sums; returns the columns done.
            ///
            /// # Safety
            /// `a` holds `m` rows, `panel` its rows, `y` those of the target.
            #[inline(always)]
            unsafe fn rows<S: Simd, const V: usize>(&self, simd: S, m: usize) -> usize {
                let mut row = 0;
                while row < m {
                    // SAFETY (all of them): rows below `m`.
                    row += match m - row {
                        // AVX-512 has 32 registers.
                        12.. if S::$lanes * size_of::<$T>() >= 64 => unsafe {
                            self.block::<S, V, 12>(simd, row)
                        },
                        8.. if S::$lanes * size_of::<$T>() >= 64 => unsafe {
                            self.block::<S, V, 8>(simd, row)
                        },
                        6.. if S::$lanes * size_of::<$T>() < 64 => unsafe {
                            self.block::<S, V, 6>(simd, row)
                        },
                        4.. => unsafe { self.block::<S, V, 4>(simd, row) },
                        2.. => unsafe { self.block::<S, V, 2>(simd, row) },
                        _ => unsafe { self.block::<S, V, 1>(simd, row) },
                    };
                }
                V * S::$lanes
            }

            /// `N` rows by `V` vectors of columns.
            ///
            /// # Safety
            /// As for `rows`, for `N` rows from `first` on.
            #[inline(always)]
            unsafe fn block<S: Simd, const V: usize, const N: usize>(&self, simd: S, first: usize) -> usize {
                let mut sums = [[simd.$splat(0.0); V]; N];
                let (mut a, mut panel) = (self.a.wrapping_add(first * self.a_rows), self.panel);
                for _ in 0..self.depth {
                    for (i, sums) in sums.iter_mut().enumerate() {
                        // SAFETY: the caller's promise.
                        let x = simd.$splat(unsafe { *a.wrapping_add(i * self.a_rows) });
                        for (j, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: the caller's promise; panels are whole.
                            let w = unsafe { panel.cast::<S::$vectors>().wrapping_add(j).read_unaligned() };
                            *sum = simd.$fma(x, w, *sum);
                        }
                    }
                    a = a.wrapping_add(self.a_columns);
                    panel = panel.wrapping_add(WIDTH);
                }
                for (i, sums) in sums.into_iter().enumerate() {
                    let row = self.y.wrapping_add((first + i) * self.y_rows);
                    for (j, mut sum) in sums.into_iter().enumerate() {
                        let done = j * S::$lanes;
                        if done >= self.width {
                            break;
                        }
                        let count = S::$lanes.min(self.width - done);
                        // SAFETY: columns of the target, up to its last.
                        let y = unsafe { std::slice::from_raw_parts_mut(row.wrapping_add(done), count) };
                        if self.accumulate {
                            sum = simd.$add(simd.$load(y), sum);
                        }
                        match S::$as_mut_simd(y).0.first_mut() {
                            Some(whole) => *whole = sum,
                            None => simd.$store(y, sum),
                        }
                    }
                }
                N
            }
        }
    };
}

products!(
    f32,
    f32s,
    F32_LANES,
    splat_f32s,
    mul_add_f32s,
    add_f32s,
    partial_load_f32s,
    partial_store_f32s,
    as_mut_simd_f32s
);
products!(
    f64,
    f64s,
    F64_LANES,
    splat_f64s,
    mul_add_f64s,
    add_f64s,
    partial_load_f64s,
    partial_store_f64s,
    as_mut_simd_f64s
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parallel::Threads;
    use std::sync::Arc;

    /// Products of small whole numbers are exact in any order.
    fn check<T: Gemm + From<i8>>() {
        let (pool, threads) = (Arc::default(), Threads::new(2).unwrap());
        let site = Site { pool: &pool, threads: &threads };
        let value = |i: usize| T::from((i * 7 % 11) as i8 - 5);
        for (m, n, k) in [(1, 1, 1), (3, 33, 5), (12, 32, 17), (25, 10, 40), (47, 100, 3), (6, 16, 2500)] {
            let a: Vec<T> = (0..m * k).map(value).collect();
            let b: Vec<T> = (0..k * n).map(|i| value(i + 3)).collect();
            for (left, right) in [(false, false), (true, false), (false, true), (true, true)] {
                let a_at = |i: usize, l: usize| if left { a[l * m + i] } else { a[i * k + l] };
                let b_at = |l: usize, j: usize| if right { b[j * k + l] } else { b[l * n + j] };
                let matrix = |data, transposed, rows, columns| {
                    if transposed {
                        Matrix { data, rows: 1, columns: rows }
                    } else {
                        Matrix::new(data, columns)
                    }
                };
                let packed = Packed::new(site, matrix(&b, right, k, n), k, n).unwrap();
                assert!(packed.suits::<T>(k, n) && !packed.suits::<T>(k + 1, n));
                let mut y = vec![T::ZERO; m * (n + 1)];
                for twice in [false, true] {
                    let target = Target { start: y.as_mut_ptr(), rows: n + 1 };
                    // SAFETY: `y` holds the target.
                    unsafe { product((m, n, k), &target, twice, matrix(&a, left, m, k), packed.at(0)) };
                    for (i, row) in y.chunks(n + 1).enumerate() {
                        for (j, &sum) in row.iter().enumerate() {
                            let add = |sum: T, l: usize| sum.add(a_at(i, l).mul(b_at(l, j)));
                            let once = (0..if j < n { k } else { 0 }).fold(T::ZERO, add);
                            let expected = if twice { once.add(once) } else { once };
                            assert!(sum == expected, "{m} {n} {k}, element {i} {j}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_panels_are_products() {
        check::<f32>();
        check::<f64>();
    }
}
