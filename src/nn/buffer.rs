//! Flat memory for parameters, gradients and activations.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};

use crate::error::{Error, Result};
use crate::memory;
use memmap2::MmapMut;

/// Floats in a cache line. The widest vector of any instruction set here has as many.
const LINE: usize = 16;

/// Bytes of a huge page on x86-64 and on most Arm systems.
const HUGE_PAGE: usize = 2 << 20;
/// A buffer of at least this many floats begins on a huge page: a quarter of a second-level cache.
const PAGED: usize = (256 << 10) / size_of::<f32>();

/// `len` rounded up to whole cache lines, so that what follows starts on one.
pub(crate) fn lines(len: usize) -> usize {
    len.checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
}

/// The size of that many floats in bytes.
pub(crate) fn bytes(floats: usize) -> u64 {
    (floats as u64).saturating_mul(size_of::<f32>() as u64)
}

/// A fixed number of floats that start on a cache line. A vector load across two lines costs two loads, and
/// in a buffer that began elsewhere every load of a 512-bit kernel would be one. A large buffer starts on a
/// huge page, if the system has them.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    /// The buffer within the memory, in floats.
    range: Range<usize>,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<f32>),
    /// In huge pages, if the system has some. The second-level cache selects the set of a line by its
    /// physical address, and the physical addresses of 4 KiB pages are arbitrary. In some runs of a program
    /// the weights therefore evict each other from that cache, and the whole run is some per cent slower.
    /// Within a page of 2 MiB physical addresses are contiguous, and the page takes one entry of the TLB.
    /// (Runs with and without huge pages in turn: `biu-adam` and `cse574-mlp` 2 % faster with them, most
    /// others the same.)
    ///
    /// Not from the heap: the C library may write zeros to the memory before the system is asked for huge
    /// pages, and memory that has been written stays in small pages.
    Pages(MmapMut),
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`Error::Memory`] if that much memory cannot be had.
    pub fn zeroed(len: usize) -> Result<Self> {
        let needed = bytes(len);
        memory::check(needed)?;
        Self::allocate(len).ok_or(Error::Memory { needed, machine: memory::limit() })
    }

    /// `len` zeros, or `None` if that much memory cannot be had.
    fn allocate(len: usize) -> Option<Self> {
        if len < PAGED {
            let data = vec![0.0_f32; len + LINE];
            let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
            return Some(Self { memory: Memory::Heap(data), range: start..start + len });
        }
        // Rounded up to whole huge pages; what is never touched takes no memory. Shifting the starts by
        // some lines and pages, so that buffers begin in different cache sets, made no difference.
        let bytes = len.checked_mul(size_of::<f32>())?.checked_next_multiple_of(HUGE_PAGE)?;
        let pages = MmapMut::map_anon(bytes.checked_add(HUGE_PAGE)?).ok()?;
        #[cfg(target_os = "linux")]
        {
            // A hint: a system that has no huge pages left uses small ones.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        let start = pages.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE) / size_of::<f32>();
        Some(Self { memory: Memory::Pages(pages), range: start..start + len })
    }
}

/// A copy lies at another address, so it is aligned separately.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::allocate(self.len())
            .unwrap_or_else(|| handle_alloc_error(Layout::for_value::<[f32]>(self)));
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let floats = match &self.memory {
            Memory::Heap(floats) => floats,
            Memory::Pages(pages) => bytemuck::cast_slice(pages),
        };
        &floats[self.range.clone()]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let floats = match &mut self.memory {
            Memory::Heap(floats) => floats,
            Memory::Pages(pages) => bytemuck::cast_slice_mut(pages),
        };
        &mut floats[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_survives_cloning() {
        for len in [0, 1, 15, 16, 1000, PAGED - 1, PAGED, 2 * PAGED, 524_289] {
            let mut buffer = Buffer::zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            buffer.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            let copy = buffer.clone();
            assert_eq!(&copy[..], &buffer[..]);
            for buffer in [&buffer, &copy] {
                assert_eq!(buffer.as_ptr().align_offset(64), 0);
            }
        }
    }

    #[test]
    fn more_than_memory_is_an_error() {
        assert!(matches!(Buffer::zeroed(usize::MAX), Err(Error::Memory { .. })));
        assert!(matches!(Buffer::zeroed(usize::MAX / 4), Err(Error::Memory { .. })));
    }
}
