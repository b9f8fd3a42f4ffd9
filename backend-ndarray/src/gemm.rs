//! Products of matrices given by steps, on one thread; and the epilogue that a block of a product may have.

use crate::fused::{Session, Worker};
use crate::loops::Loops;
use crate::panels::Product;
use crate::parallel::Shared;
use crate::plan::TILE;
use crate::simd::{Level, Task, dispatch};
use keras_core::{DType, Error, Result};
use std::ops::Range;

/// A float type with a matrix product.
pub(crate) trait Gemm: Loops {
    /// `a · b + c`.
    fn fma<L: Level>(a: Self, b: Self, c: Self) -> Self;
    /// Computes a product with a packed right-hand side.
    fn multiply(product: Product<'_, Self>);
    /// The elements, if they are `f32`.
    fn singles(x: &[Self]) -> Option<&[f32]> {
        let _ = x;
        None
    }
    /// The elements, if they are `f32`.
    fn shared_singles<'a>(x: &Shared<'a, Self>) -> Option<Shared<'a, f32>> {
        let _ = x;
        None
    }
}

impl Gemm for f32 {
    #[inline(always)]
    fn fma<L: Level>(a: Self, b: Self, c: Self) -> Self {
        L::fma32(a, b, c)
    }
    fn multiply(product: Product<'_, Self>) {
        product.run();
    }
    fn singles(x: &[Self]) -> Option<&[f32]> {
        Some(x)
    }
    fn shared_singles<'a>(x: &Shared<'a, Self>) -> Option<Shared<'a, f32>> {
        Some(*x)
    }
}

impl Gemm for f64 {
    #[inline(always)]
    fn fma<L: Level>(a: Self, b: Self, c: Self) -> Self {
        L::fma64(a, b, c)
    }
    fn multiply(product: Product<'_, Self>) {
        product.run();
    }
}

/// A matrix inside a slice: element `(i, j)` is at `i · rows + j · columns`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    /// Elements to step to the next row.
    pub(crate) rows: usize,
    /// Elements to step to the next column.
    pub(crate) columns: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A matrix with contiguous rows.
    pub(crate) fn new(data: &'a [T], rows: usize) -> Self {
        Self { data, rows, columns: 1 }
    }

    /// The part from a row and a column on.
    pub(crate) fn at(self, row: usize, column: usize) -> Self {
        let start = (row * self.rows + column * self.columns).min(self.data.len());
        Self { data: &self.data[start..], ..self }
    }

    pub(crate) fn holds(&self, m: usize, n: usize) -> bool {
        m > 0 && n > 0 && (m - 1) * self.rows + (n - 1) * self.columns < self.data.len()
    }
}

/// Where a product goes: element `(i, j)` at `start + i · rows + j`.
pub(crate) struct Target<T> {
    pub(crate) start: *mut T,
    pub(crate) rows: usize,
}

/// `target (+)= a · b` for `a` of `m × k` and `b` of `k × n`. Nothing happens if the operands are too short.
///
/// # Safety
/// Every element of the target's `m × n` lies in valid memory that nothing else accesses meanwhile.
pub(crate) unsafe fn product<T: Gemm>(
    (m, n, k): (usize, usize, usize),
    target: &Target<T>,
    accumulate: bool,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    debug_assert!(a.holds(m, k) && b.holds(k, n));
    if !a.holds(m, k) || !b.holds(k, n) {
        return;
    }
    if m == 1 && b.columns == 1 && n >= WIDE {
        // SAFETY: the caller's promise for the only row.
        let y = unsafe { std::slice::from_raw_parts_mut(target.start, n) };
        if !accumulate {
            y.fill(T::ZERO);
        }
        dispatch(RowProduct { x: a, b, k, y });
        return;
    }
    // SAFETY: the operands hold their matrices, and the caller vouches for the target. One thread: the order of
    // summation depends on the shape alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.start,
            1,
            target.rows as isize,
            accumulate,
            a.data.as_ptr(),
            a.columns as isize,
            a.rows as isize,
            b.data.as_ptr(),
            b.columns as isize,
            b.rows as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Columns from which on a [`RowProduct`] is faster than a product in general.
const WIDE: usize = 32;

/// Rows of the matrix that a [`RowProduct`] reads side by side.
const STREAMS: usize = 8;

/// `y += x · b` for one row `x` of `k` elements. Bound by reading `b`, which it does once and in order.
struct RowProduct<'a, T> {
    x: Matrix<'a, T>,
    b: Matrix<'a, T>,
    k: usize,
    y: &'a mut [T],
}

impl<T: Gemm> RowProduct<'_, T> {
    #[inline(always)]
    fn rows<L: Level, const N: usize>(&mut self, first: usize) {
        let n = self.y.len();
        let x: [T; N] = std::array::from_fn(|i| self.x.data[(first + i) * self.x.columns]);
        let b: [&[T]; N] = std::array::from_fn(|i| &self.b.data[(first + i) * self.b.rows..][..n]);
        for (j, y) in self.y.iter_mut().enumerate() {
            let mut sum = *y;
            for (&x, b) in x.iter().zip(&b) {
                // SAFETY: each is as long as `y`. With checks, the loop's last vector would go element by element.
                sum = T::fma::<L>(x, unsafe { *b.get_unchecked(j) }, sum);
            }
            *y = sum;
        }
    }
}

impl<T: Gemm> Task for RowProduct<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Level>(mut self) {
        let whole = self.k - self.k % STREAMS;
        for first in (0..whole).step_by(STREAMS) {
            self.rows::<L, STREAMS>(first);
        }
        for first in whole..self.k {
            self.rows::<L, 1>(first);
        }
    }
}

/// The epilogue of a task: runs a session's kernel over blocks of the product it has just written.
pub(crate) struct Epilogue<'s, 'k>(Option<Worker<'s, 'k>>);

impl<'s, 'k> Epilogue<'s, 'k> {
    pub(crate) fn new(session: Option<&'s Session<'k>>) -> Self {
        Self(session.map(Session::worker))
    }

    /// Runs the kernel over rows × columns of a product of `n` columns.
    ///
    /// # Safety
    /// The block is inside the product, and this task alone has it.
    pub(crate) unsafe fn run(&mut self, rows: Range<usize>, columns: Range<usize>, n: usize) {
        let Some(worker) = &mut self.0 else { return };
        let mut flat = |places: Range<usize>| {
            for place in places.clone().step_by(TILE) {
                // SAFETY: the caller's promise.
                unsafe { worker.tile(place, TILE.min(places.end - place)) };
            }
        };
        if columns.len() == n {
            flat(rows.start * n..rows.end * n);
        } else {
            rows.for_each(|row| flat(row * n + columns.start..row * n + columns.end));
        }
    }
}

/// The error for products of anything but floats.
pub(crate) fn not_float(op: &str, dtype: DType) -> Error {
    Error::dtype(op, "float32 or float64", dtype.name()).advice("convert with k::cast")
}

/// Runs a fallible generic expression with `$T` bound to a float type.
macro_rules! with_float {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            keras_core::DType::F32 => {
                type $T = f32;
                $body
            }
            keras_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err(crate::gemm::not_float($op, other)),
        }
    };
}

pub(crate) use with_float;

/// Rounds a block length up to whole vectors.
pub(crate) fn whole_vectors(len: usize) -> usize {
    len.next_multiple_of(16)
}

/// The result of a check of ranks that the graph has made before.
pub(crate) fn rank_error<T>(op: &str, shape: &[usize]) -> Result<T> {
    Err(Error::shape(op, "operands of the ranks that its shape rule demands", format!("{shape:?}")))
}
