//! Flat memory for parameters, gradients and activations.

use std::ops::{Deref, DerefMut, Range};

use crate::error::{Error, Result};
use threadcount_kernels::pages::{HUGE_PAGE, prefer_huge_pages};

/// Floats in a cache line, the widest vector of any instruction set here.
const LINE: usize = 16;

/// Floats in a large page.
const PAGE: usize = HUGE_PAGE / size_of::<f32>();
/// Floats from which on a buffer begins on a large page: a quarter of a second-level cache. (`biu-adam`
/// trained 8 to 12 % faster, `nlp-cnn` and `nlp-mlp300` 3 %, others as before.)
const PAGED: usize = (256 << 10) / size_of::<f32>();

/// `len` rounded up to whole cache lines, so that what is laid behind it starts on one.
pub(crate) fn lines(len: usize) -> usize {
    len.checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
}

/// A fixed run of floats that starts on a cache line. A vector load that straddles two lines
/// costs two loads, and every load of a 512-bit kernel would if the buffer began elsewhere. A long one
/// starts on a large page, where the system has such.
#[derive(Debug)]
pub struct Buffer {
    data: Vec<f32>,
    range: Range<usize>,
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`Error::Failed`] if that much memory cannot be had.
    pub fn zeroed(len: usize) -> Result<Self> {
        let too_large = || {
            let gib = len as f64 * 4.0 / f64::from(1 << 30);
            Error::Failed(format!(
                "this network and batch need a buffer of {gib:.1} GiB, more than there is: choose a smaller batch or smaller layers"
            ))
        };
        // Asked for first and given back, because the lazily zeroed allocation of `allocate` can only
        // abort where this one can fail.
        let padded = padded(len).ok_or_else(too_large)?;
        Vec::<f32>::new().try_reserve_exact(padded).map_err(|_| too_large())?;
        Ok(Self::allocate(len, padded))
    }

    /// `len` zeros in an allocation of `padded` floats.
    fn allocate(len: usize, padded: usize) -> Self {
        let mut data = vec![0.0; padded];
        let is_paged = len >= PAGED;
        let (align, room) = if is_paged { (HUGE_PAGE, PAGE) } else { (64, LINE) };
        let start = data.as_ptr().align_offset(align).min(room);
        if is_paged {
            // Starts that differ by some lines and pages, against sets of the caches that all buffers
            // begin in, made no difference.
            prefer_huge_pages(&mut data[start..]);
        }
        Self { data, range: start..start + len }
    }
}

/// Floats to ask for so that `len` of them can begin on a line; of many, on a large page, with whole ones
/// to the end. What is never touched takes no memory.
fn padded(len: usize) -> Option<usize> {
    match len {
        ..PAGED => len.checked_add(LINE),
        _ => len.checked_next_multiple_of(PAGE)?.checked_add(PAGE),
    }
}

/// A copy lies at another address, so it is aligned anew.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let len = self.range.len();
        let mut copy = Self::allocate(len, padded(len).unwrap_or(usize::MAX));
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.range.clone()]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_survives_cloning() {
        for len in [0, 1, 15, 16, 1000, PAGED - 1, PAGED, PAGE, PAGE + 1] {
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
        assert!(matches!(Buffer::zeroed(usize::MAX), Err(Error::Failed(_))));
        assert!(matches!(Buffer::zeroed(usize::MAX / 4), Err(Error::Failed(_))));
    }
}
