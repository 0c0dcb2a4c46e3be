//! The error type of this crate: what a worker tells its judge.

use std::error::Error;
use std::fmt;

/// [`std::result::Result`] with a [`Fault`].
pub type Result<T> = std::result::Result<T, Fault>;

/// What is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// From words, or from an error of another crate.
    pub fn new(words: impl fmt::Display) -> Self {
        Self(words.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fault {}
