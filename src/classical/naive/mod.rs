//! The plain-loop twins of the models of this module: what tests hold them to. They are of float64 or whole numbers,
//! and share no code with them.

#![allow(clippy::needless_range_loop, reason = "twins are plain loops over several arrays at once")]

pub mod forest;
pub mod logistic;
pub mod neighbours;

use crate::data::{Row, Samples};

/// Inputs of sample `i` as they are stored.
fn inputs(samples: &Samples, i: usize) -> Vec<f64> {
    match samples.row(i) {
        Row::Bytes(bytes) => bytes.iter().map(|&x| f64::from(x)).collect(),
        Row::Floats(floats) => floats.iter().map(|&x| f64::from(x)).collect(),
    }
}
