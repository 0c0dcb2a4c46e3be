//! Unpacking: an array that is filed otherwise than it is used becomes a raw IDX file, of a length that is
//! known beforehand. No more is ever written than that.

use std::io::{self, Write};
use std::path::Path;

use super::format::form::Form;
use crate::{Error, Result};

/// No deflate stream expands further than 1032:1 (zlib's technical notes: 258 bytes from 2 bits). A
/// header that promises more than that is a lie which need not be unpacked to be found out.
pub(super) const MAX_EXPANSION: u64 = 1032;

/// Why nothing was unpacked.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file is not what it has to be.
    Bad(Error),
    /// The place that it was to be unpacked to takes no more.
    Full(io::Error),
}

/// An array that is filed otherwise than it is used. Its raw form is an IDX file of bytes.
pub(super) trait Packed {
    /// The file that people know.
    fn path(&self) -> &Path;

    /// The name of the raw form, for people who look into the cache.
    fn name(&self) -> String;

    /// What the raw form has to hold.
    fn form(&self) -> Form;

    /// SHA-256 of everything that the raw form is made of.
    ///
    /// # Errors
    /// [`Error::Data`] if it cannot be read.
    fn sha256(&self) -> Result<[u8; 32]>;

    /// Writes the raw form into what `out` makes of its length. Never writes more than that, and takes
    /// no more memory than [`CHUNK`] bytes beside it.
    ///
    /// # Errors
    /// [`Fault::Bad`] if the file is not what it has to be, [`Fault::Full`] if it cannot be written.
    fn unpack<W: Write>(
        &self,
        out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
    ) -> std::result::Result<W, Fault>;
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::data(path, format!("cannot be read: {source}"))
}
