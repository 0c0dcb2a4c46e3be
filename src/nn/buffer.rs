//! Flat memory for parameters, gradients and activations.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};

use memmap2::MmapMut;
use threadcount_kernels::machine::machine;

use crate::error::{Error, Result};

/// Floats in a cache line, the widest vector of any instruction set here.
const LINE: usize = 16;

/// Bytes of a large page: what x86-64 has, and most Arm systems.
const HUGE_PAGE: usize = 2 << 20;
/// Floats from which on a buffer begins on a large page: a quarter of a second-level cache.
const PAGED: usize = (256 << 10) / size_of::<f32>();

/// `len` rounded up to whole cache lines, so that what is laid behind it starts on one.
pub(crate) fn lines(len: usize) -> usize {
    len.checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
}

/// The bytes of so many floats.
pub(crate) fn bytes(floats: usize) -> u64 {
    (floats as u64).saturating_mul(size_of::<f32>() as u64)
}

/// Refuses what is more than this machine has. (The system may promise more than that, and end the
/// process when it is used.)
pub(crate) fn check_memory(needed: u64) -> Result<()> {
    match machine().memory {
        Some(memory) if needed > memory => Err(Error::Memory { needed, machine: Some(memory) }),
        _ => Ok(()),
    }
}

/// A fixed run of floats that starts on a cache line. A vector load that straddles two lines
/// costs two loads, and every load of a 512-bit kernel would if the buffer began elsewhere. A long one
/// starts on a large page, where the system has such.
#[derive(Debug)]
pub struct Buffer {
    memory: Memory,
    /// In floats of the memory.
    range: Range<usize>,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<f32>),
    /// In large pages, if the system has some. A CPU finds an address in its caches by parts of the
    /// physical one, and pages of 4 KiB lie anywhere: of two runs of the same program one may have its
    /// weights in places that drive each other out of the second-level cache, and be some per cent slower
    /// to its end. Inside a page of 2 MiB addresses follow each other, and one entry of the CPU's table of
    /// pages does for it. (The same program with them and without, in turn: `biu-adam` and `cse574-mlp` 2 %
    /// faster, most others as before.)
    ///
    /// Not from the heap: memory that the C library hands out as zeroed it may have written before the
    /// system is asked for large pages, and what is written stays in small ones.
    Pages(MmapMut),
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`Error::Memory`] if that much memory cannot be had.
    pub fn zeroed(len: usize) -> Result<Self> {
        let needed = bytes(len);
        check_memory(needed)?;
        Self::allocate(len).ok_or(Error::Memory { needed, machine: machine().memory })
    }

    /// `len` zeros, or nothing if that much memory cannot be had.
    fn allocate(len: usize) -> Option<Self> {
        if len < PAGED {
            let data = vec![0.0_f32; len + LINE];
            let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
            return Some(Self { memory: Memory::Heap(data), range: start..start + len });
        }
        // Whole large pages to the end; what is never touched takes no memory. Starts that differ by some
        // lines and pages, against sets of the caches that all buffers begin in, made no difference.
        let bytes = len.checked_mul(size_of::<f32>())?.checked_next_multiple_of(HUGE_PAGE)?;
        let pages = MmapMut::map_anon(bytes.checked_add(HUGE_PAGE)?).ok()?;
        #[cfg(target_os = "linux")]
        {
            // A request: a system that has no large pages left goes on with small ones.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        let start = pages.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE) / size_of::<f32>();
        Some(Self { memory: Memory::Pages(pages), range: start..start + len })
    }
}

/// A copy lies at another address, so it is aligned anew.
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
