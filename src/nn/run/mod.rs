//! What running a model takes: memory for a batch on its way from input to output, and
//! [`Predictor`], which runs it and learns nothing.

mod layout;
mod predictor;
mod workspace;

pub(super) use layout::{InputBuffer, Layout};
pub use predictor::Predictor;
pub(super) use predictor::{classify, predict};
pub use workspace::BatchKey;
pub(super) use workspace::{Workspace, mode};
