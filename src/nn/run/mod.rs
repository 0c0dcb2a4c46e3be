//! Running a model: the memory for the forward pass of a batch, and [`Predictor`], which makes predictions
//! only.

mod layout;
mod predictor;
mod workspace;

pub(super) use layout::{InputBuffer, Layout};
pub use predictor::Predictor;
pub(super) use predictor::{classify, predict};
pub use workspace::BatchKey;
pub(super) use workspace::{Flipped, Workspace, mode, of};
