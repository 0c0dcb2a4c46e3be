//! Memory of tasks: buffers that a thread keeps, and slices that several tasks write.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;

/// A growable buffer of floats, aligned to cache lines, that a worker keeps between tasks.
///
/// With debug assertions the floats asked for last are NaN until a task writes them, and so is a line behind: a
/// task that relies on what another left there gets NaN, and one that writes beyond its floats is found
/// when the next asks for its own.
#[derive(Default)]
pub struct Scratch {
    lines: Vec<Line>,
    /// The floats that were asked for last.
    #[cfg(debug_assertions)]
    len: Option<usize>,
}

/// One cache line.
#[derive(Clone, Copy, Default)]
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
        let behind = if cfg!(debug_assertions) { 1 } else { 0 };
        if self.lines.len() < lines + behind {
            self.lines.resize(lines + behind, Line::default());
        }
        #[cfg(debug_assertions)]
        self.renew(len, lines + behind);
        &mut bytemuck::cast_slice_mut(&mut self.lines[..lines])[..len]
    }

    /// Looks for writes behind the last task's floats, and makes what is asked for NaN.
    #[cfg(debug_assertions)]
    fn renew(&mut self, len: usize, lines: usize) {
        self.check();
        bytemuck::cast_slice_mut::<_, u32>(&mut self.lines[..lines]).fill(CANARY);
        self.len = Some(len);
    }

    /// The line behind the last task's floats is as `renew` left it.
    #[cfg(debug_assertions)]
    fn check(&self) {
        let Some(len) = self.len else { return };
        let words: &[u32] = bytemuck::cast_slice(&self.lines[..len.div_ceil(16) + 1]);
        let is_whole = words[len..].iter().all(|&word| word == CANARY);
        assert!(is_whole, "a task wrote behind the {len} floats of its scratch");
    }
}

/// The bits of a NaN that no arithmetic gives.
#[cfg(debug_assertions)]
const CANARY: u32 = 0x7FC5_CA7C;

#[cfg(debug_assertions)]
impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
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

    #[test]
    #[cfg_attr(miri, ignore = "what it does is undefined behaviour, which Miri ends with")]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a task wrote behind the 17 floats of its scratch")]
    fn writing_behind_a_scratch_is_found() {
        let mut scratch = Scratch::default();
        let floats = scratch.floats(17).as_mut_ptr();
        // SAFETY: not among the 17, but inside the buffer, which is whole lines.
        unsafe { *floats.add(17) = 1.0 };
        scratch.floats(1);
    }
}
