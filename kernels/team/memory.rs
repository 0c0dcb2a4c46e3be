//! Memory of tasks: buffers that a thread keeps, and slices that several tasks write.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;

/// A growable buffer of floats, aligned to cache lines, that a worker keeps between tasks.
#[derive(Default)]
pub struct Scratch {
    lines: Vec<Line>,
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

// SAFETY: sixteen floats, aligned to their total size: no padding, any bits are valid.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Line {}

impl Scratch {
    /// The first `len` floats, with whatever an earlier task left in them.
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        &mut bytemuck::cast_slice_mut(&mut self.lines[..lines])[..len]
    }
}

/// A slice whose parts are written by different tasks at once: the one way in this crate for tasks
/// to share an output.
pub(crate) struct Parts<'a, T> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a UnsafeCell<[T]>>,
}

// SAFETY: tasks reach disjoint parts only, which is the promise of the callers of `part`.
unsafe impl<T: Send> Sync for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// All of `slice`, to be cut up.
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { ptr: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No other task that runs at the same time reaches an element of `range`.
    ///
    /// # Panics
    /// If the range is outside the slice.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "that is the point; see the safety section")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the slice, and nobody else's for now by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_aligned_and_grows() {
        let mut scratch = Scratch::default();
        for len in [0, 1, 17, 1000] {
            let floats = scratch.floats(len);
            assert_eq!((floats.len(), floats.as_ptr() as usize % 64), (len, 0));
        }
    }
}
