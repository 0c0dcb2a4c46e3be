//! What is measured, and how.
//!
//! - [`Training`]: whole training steps of a recipe; [`measure_training`] measures their rate in turn with
//!   the FMA peak, and [`Plan::flops`](crate::nn::Plan::flops) counts their operations
//! - [`Phase`]: a phase of a step, compared with what bounds it
//! - [`to_accuracy`]: how long a recipe trains until its report's accuracy
//! - [`ranks`]: steps of several ranks together, and what more of them would reach over other networks
//! - [`shapes`]: the sizes that kernels are measured at, taken from the recipes
//! - [`kernels`]: the one list of what `threadcount bench --kernels` measures
//! - [`Facts`], [`Limits`]: the machine, and what it can do at most
//! - [`Case`]: a kernel at one size with its inputs and its naive twin; there are cases of matrix products,
//!   convolutions, what is fused with these, and elementwise kernels
//! - [`fn@measure`]: measures rates in turn with the FMA peak, the twin and [`matrixmultiply`]
//!
//! The criterion benches (`benches/`) time the same cases.

mod accuracy;
mod case;
pub mod convolution;
pub mod elementwise;
mod facts;
pub mod fused;
pub mod gather;
pub mod kernels;
mod limits;
pub mod matrixmultiply;
mod measure;
mod product;
mod profile;
pub mod ranks;
mod rate;
pub mod shapes;
mod system;
mod traffic;
mod training;

pub use accuracy::{Attempt, Outcome, to_accuracy};
pub use case::{Case, Combine, Pieces, Work, agree, noise, twin_on_all_cores, untouched};
pub use facts::{Facts, Fingerprint};
pub use limits::{Limits, ReadRates, fma_gflops, fma_gflops_within};
pub use measure::{Measured, check, measure, runs_for, seconds, warm_up};
pub use profile::{Bound, Limit, Phase};
pub use rate::{Baseline, Detail, Extent, TrainingRate, measure_training};
pub use training::{Stretch, Training, endless};
