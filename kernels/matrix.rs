//! Matrices as views of slices: rows, columns, row stride and column stride, in elements. A view is
//! checked once, when it is made; kernels then walk it by pointer.

use std::marker::PhantomData;
use std::ops::Range;

/// A matrix that is read. Its transpose is the same memory with the strides swapped.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    ptr: *const f32,
    rows: usize,
    cols: usize,
    rs: usize,
    cs: usize,
    life: PhantomData<&'a [f32]>,
}

// SAFETY: a Mat is a shared borrow of floats, which may be read from any thread.
unsafe impl Send for Mat<'_> {}
// SAFETY: as above.
unsafe impl Sync for Mat<'_> {}

/// The offset behind the last element that a view reaches, or `None` if it overflows.
fn reach(rows: usize, cols: usize, rs: usize, cs: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    (rows - 1).checked_mul(rs)?.checked_add((cols - 1).checked_mul(cs)?)?.checked_add(1)
}

#[track_caller]
fn check(len: usize, rows: usize, cols: usize, rs: usize, cs: usize) {
    let reach = reach(rows, cols, rs, cs);
    assert!(
        reach.is_some_and(|reach| reach <= len),
        "a {rows} x {cols} matrix with strides {rs}, {cs} does not fit into {len} elements"
    );
}

impl<'a> Mat<'a> {
    /// A row-major matrix of `rows x cols`.
    ///
    /// # Panics
    /// If `data` is shorter.
    #[track_caller]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// A matrix whose element `i, j` is `data[i * rs + j * cs]`.
    ///
    /// # Panics
    /// If an element would lie outside `data`.
    #[track_caller]
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, rs: usize, cs: usize) -> Self {
        check(data.len(), rows, cols, rs, cs);
        Self { ptr: data.as_ptr(), rows, cols, rs, cs, life: PhantomData }
    }

    /// The transpose: the same memory.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, rs: self.cs, cs: self.rs, ..self }
    }

    /// Some of its rows and columns.
    ///
    /// # Panics
    /// If a range is outside the matrix.
    #[must_use]
    #[inline]
    pub fn block(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {}", self.rows);
        assert!(cols.start <= cols.end && cols.end <= self.cols, "{cols:?} of {}", self.cols);
        let ptr = self.ptr.wrapping_add(rows.start * self.rs + cols.start * self.cs);
        Self { ptr, rows: rows.len(), cols: cols.len(), ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    pub fn rs(&self) -> usize {
        self.rs
    }

    /// Elements from one column to the next.
    pub fn cs(&self) -> usize {
        self.cs
    }

    /// Where element `0, 0` lies.
    pub fn as_ptr(&self) -> *const f32 {
        self.ptr
    }

    /// Element `i, j`.
    ///
    /// # Panics
    /// If it is outside the matrix.
    #[inline]
    pub fn at(&self, i: usize, j: usize) -> f32 {
        assert!(i < self.rows && j < self.cols, "{i}, {j} of {} x {}", self.rows, self.cols);
        // SAFETY: checked here against the shape, which was checked against the slice.
        unsafe { *self.ptr.add(i * self.rs + j * self.cs) }
    }
}

/// A matrix that is written. No two of its elements share memory.
#[derive(Debug)]
pub struct MatMut<'a> {
    ptr: *mut f32,
    rows: usize,
    cols: usize,
    rs: usize,
    cs: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a MatMut is an exclusive borrow of floats.
unsafe impl Send for MatMut<'_> {}

impl<'a> MatMut<'a> {
    /// A row-major matrix of `rows x cols`.
    ///
    /// # Panics
    /// If `data` is shorter.
    #[track_caller]
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// A matrix whose element `i, j` is `data[i * rs + j * cs]`.
    ///
    /// # Panics
    /// If an element would lie outside `data`, or two elements on the same place.
    #[track_caller]
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, rs: usize, cs: usize) -> Self {
        check(data.len(), rows, cols, rs, cs);
        // Rows that do not reach into each other, or columns that do not.
        let rows_apart = rows <= 1 || rs > cols.saturating_sub(1) * cs;
        let cols_apart = cols <= 1 || cs > rows.saturating_sub(1) * rs;
        let distinct = rows == 0
            || cols == 0
            || (rows_apart && (cols == 1 || cs > 0))
            || (cols_apart && (rows == 1 || rs > 0));
        assert!(distinct, "elements of a {rows} x {cols} matrix with strides {rs}, {cs} overlap");
        Self { ptr: data.as_mut_ptr(), rows, cols, rs, cs, life: PhantomData }
    }

    /// The transpose: the same memory.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, rs: self.cs, cs: self.rs, ..self }
    }

    /// The same matrix for reading.
    pub fn as_ref(&self) -> Mat<'_> {
        let Self { ptr, rows, cols, rs, cs, .. } = *self;
        Mat { ptr, rows, cols, rs, cs, life: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    pub fn rs(&self) -> usize {
        self.rs
    }

    /// Elements from one column to the next.
    pub fn cs(&self) -> usize {
        self.cs
    }

    /// Where element `0, 0` lies.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.ptr
    }

    /// Sets element `i, j`.
    ///
    /// # Panics
    /// If it is outside the matrix.
    #[inline]
    pub fn set(&mut self, i: usize, j: usize, value: f32) {
        assert!(i < self.rows && j < self.cols, "{i}, {j} of {} x {}", self.rows, self.cols);
        // SAFETY: checked here against the shape, which was checked against the slice.
        unsafe { *self.ptr.add(i * self.rs + j * self.cs) = value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_is_strides() {
        let data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let a = Mat::new(&data, 2, 3);
        assert_eq!((a.at(0, 2), a.t().at(2, 0), a.t().rows()), (3.0, 3.0, 3));
    }

    #[test]
    fn empty_matrices_need_no_memory() {
        assert_eq!(Mat::new(&[], 0, 5).cols(), 5);
        assert_eq!(Mat::strided(&[], 3, 0, usize::MAX, 9).rows(), 3);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn refuses_a_short_slice() {
        let _ = Mat::strided(&[0.0; 10], 3, 3, 4, 1);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn refuses_an_overflowing_reach() {
        let _ = Mat::strided(&[0.0; 10], 3, 3, usize::MAX / 2, 1);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn refuses_overlapping_writes() {
        let _ = MatMut::strided(&mut [0.0; 10], 3, 3, 2, 1);
    }
}
