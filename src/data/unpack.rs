//! Unpacking: an array that is stored in another form than it is used in becomes a raw IDX file, of a length
//! that is known beforehand. No more than that is ever written.

use std::io::{self, Write};
use std::path::Path;

use super::format::form::Form;
use crate::{Error, Result};

/// No deflate stream expands further than 1032:1 (zlib's technical notes: 258 bytes from 2 bits). A header
/// that promises more than that is wrong, and is refused without unpacking.
pub(super) const MAX_EXPANSION: u64 = 1032;

/// Why nothing was unpacked.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file is not valid.
    Bad(Error),
    /// The destination cannot be written, or is full.
    Full(io::Error),
}

/// An array that is stored in another form than it is used in. Its raw form is an IDX file of bytes.
pub(super) trait Packed {
    /// The user's file.
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

    /// Writes the raw form into the writer that `out` returns for its length. Never writes more than that,
    /// and takes no more memory than [`CHUNK`] bytes besides the writer.
    ///
    /// # Errors
    /// [`Fault::Bad`] if the file is not valid, [`Fault::Full`] if the raw form cannot be written.
    fn unpack<W: Write>(
        &self,
        out: impl FnOnce(u64) -> std::result::Result<W, Fault>,
    ) -> std::result::Result<W, Fault>;
}

pub(super) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::data(path, format!("cannot be read: {source}"))
}
