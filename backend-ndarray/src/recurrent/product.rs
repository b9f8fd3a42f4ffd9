//! Products of a few rows with a matrix that is used in every step: packed once, in panels of columns.

use crate::gemm::{Gemm, Matrix};
use crate::matmul::dtype_of;
use crate::run::Site;
use crate::tensor::{Out, Tensor};
use keras_core::Result;
use pulp::{Arch, Simd, WithSimd};

/// Columns of a panel.
const WIDTH: usize = 32;

/// A matrix in panels of [`WIDTH`] columns, each row by row; zeros beyond the last column.
pub(super) struct Packed {
    panels: Tensor,
    depth: usize,
    /// Columns, rounded up to whole panels.
    pub(super) stride: usize,
}

impl Packed {
    pub(super) fn new<T: Gemm>(
        site: Site<'_>,
        matrix: Matrix<'_, T>,
        depth: usize,
        columns: usize,
    ) -> Result<Self> {
        let stride = columns.next_multiple_of(WIDTH);
        let mut out = Out::new(site.pool, &[stride, depth], dtype_of::<T>())?;
        site.threads.chunks(out.slice::<T>(), WIDTH * depth, |panel, chunk| {
            let first = panel * WIDTH;
            let count = WIDTH.min(columns - first);
            for (k, row) in chunk.chunks_exact_mut(WIDTH).enumerate() {
                let start = k * matrix.rows + first * matrix.columns;
                for (x, value) in row.iter_mut().zip(matrix.data[start..].iter().step_by(matrix.columns)) {
                    *x = *value;
                }
                row[count..].fill(T::ZERO);
            }
        });
        Ok(Self { panels: out.finish(), depth, stride })
    }

    /// `out = a · matrix`: row `i` of `a` begins at `i · step`, of `out` at `i · stride`, where all of [`Self::stride`]
    /// columns are written.
    pub(super) fn multiply<T: Panels>(
        &self,
        a: &[T],
        step: usize,
        rows: usize,
        out: &mut [T],
        stride: usize,
    ) {
        T::multiply(Multiply { panels: self.panels.slice(), depth: self.depth, a, step, rows, out, stride });
    }
}

/// A product with its operands.
pub(super) struct Multiply<'a, T> {
    panels: &'a [T],
    depth: usize,
    a: &'a [T],
    step: usize,
    rows: usize,
    out: &'a mut [T],
    stride: usize,
}

/// A float type with products of panels.
pub(super) trait Panels: Gemm {
    fn multiply(product: Multiply<'_, Self>);
}

macro_rules! panels {
    ($T:ident, $vector:ident, $lanes:ident, $splat:ident, $fma:ident, $as_simd:ident, $as_mut_simd:ident) => {
        impl Panels for $T {
            fn multiply(product: Multiply<'_, Self>) {
                Arch::new().dispatch(product);
            }
        }

        impl WithSimd for Multiply<'_, $T> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(mut self, simd: S) {
                let panel = WIDTH * self.depth;
                for (i, panel) in self.panels.chunks_exact(panel).enumerate() {
                    let strip = 2 * S::$lanes;
                    for column in (0..WIDTH).step_by(strip) {
                        let mut row = 0;
                        while row < self.rows {
                            let left = self.rows - row;
                            let place = (row, i * WIDTH + column);
                            // Twice as many registers from AVX-512 on.
                            row += if S::$lanes * size_of::<$T>() >= 64 && left >= 8 {
                                self.$vector::<S, 8>(simd, &panel[column..], place)
                            } else if left >= 4 {
                                self.$vector::<S, 4>(simd, &panel[column..], place)
                            } else if left >= 2 {
                                self.$vector::<S, 2>(simd, &panel[column..], place)
                            } else {
                                self.$vector::<S, 1>(simd, &panel[column..], place)
                            };
                        }
                    }
                }
            }
        }

        impl Multiply<'_, $T> {
            /// `N` rows by two vectors of columns.
            #[inline(always)]
            fn $vector<S: Simd, const N: usize>(
                &mut self,
                simd: S,
                panel: &[$T],
                (row, column): (usize, usize),
            ) -> usize {
                let zero = simd.$splat(0.0);
                let mut sums = [[zero; 2]; N];
                let a: [&[$T]; N] = std::array::from_fn(|i| &self.a[(row + i) * self.step..][..self.depth]);
                for (k, weights) in panel.chunks(WIDTH).take(self.depth).enumerate() {
                    let weights = S::$as_simd(weights).0;
                    let (first, second) = (weights[0], weights[1]);
                    for (sums, a) in sums.iter_mut().zip(a) {
                        let x = simd.$splat(a[k]);
                        sums[0] = simd.$fma(x, first, sums[0]);
                        sums[1] = simd.$fma(x, second, sums[1]);
                    }
                }
                for (i, sums) in sums.into_iter().enumerate() {
                    let out = &mut self.out[(row + i) * self.stride + column..];
                    let out = S::$as_mut_simd(out).0;
                    (out[0], out[1]) = (sums[0], sums[1]);
                }
                N
            }
        }
    };
}

panels!(f32, block_f32, F32_LANES, splat_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
panels!(f64, block_f64, F64_LANES, splat_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);
