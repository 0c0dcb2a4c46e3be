//! Benchmarks of any program, for a judge that compares revisions: a program with a [`Suite`] is a worker, which
//! `threadcount-perf check` builds from two revisions and times in turn.
//!
//! A suite of closures is a [`Benches`]; `perf/example` in the repository of threadcount is one. What needs more,
//! such as threads that wait between runs, implements [`Suite`] itself.
//!
//! - [`benches`]: a suite of closures
//! - [`serve()`]: answers a judge
//! - [`protocol`]: what the two say to each other
//! - [`mod@sample`]: how a sample is taken
//! - [`place`]: on which core
//! - [`spots`]: where in the code the time goes

pub mod benches;
mod fault;
pub mod place;
pub mod protocol;
pub mod sample;
pub mod serve;
pub mod spots;

pub use benches::{Bench, Benches};
pub use fault::{Fault, Result};
pub use protocol::{Benchmark, Limit, Listed, Twin, Work};
pub use sample::{Runs, Subject};
pub use serve::{Slowdown, Suite, serve};
