//! Flat memory for parameters, gradients and activations.

use std::ops::{Deref, DerefMut, Range};

use crate::error::{Error, Result};

/// Floats in a cache line, the widest vector of any instruction set here.
const LINE: usize = 16;

/// `len` rounded up to whole cache lines, so that what is laid behind it starts on one.
pub(crate) fn lines(len: usize) -> usize {
    len.checked_next_multiple_of(LINE).unwrap_or(usize::MAX)
}

/// A fixed run of floats that starts on a cache line. A vector load that straddles two lines
/// costs two loads, and every load of a 512-bit kernel would if the buffer began elsewhere.
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
        let padded = len.checked_add(LINE).ok_or_else(too_large)?;
        // Asked for first and given back, because the lazily zeroed allocation of `vec!` below
        // can only abort where this one can fail.
        Vec::<f32>::new().try_reserve_exact(padded).map_err(|_| too_large())?;
        let data = vec![0.0; padded];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Ok(Self { data, range: start..start + len })
    }
}

/// A copy lies at another address, so it is aligned anew.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let len = self.range.len();
        let mut data = vec![0.0; len + LINE];
        let start = data.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        data[start..start + len].copy_from_slice(self);
        Self { data, range: start..start + len }
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
        for len in [0, 1, 15, 16, 1000] {
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
