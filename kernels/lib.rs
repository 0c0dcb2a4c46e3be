//! Kernels.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
