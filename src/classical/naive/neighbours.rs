//! The twin of [`crate::classical::Neighbours`]: all distances, sorted.

use super::inputs;
use crate::data::Samples;

/// The squared distances and numbers of the `k` nearest training samples of a query, the nearest first; of equals
/// the lower number. Of bytes they are exact.
pub fn nearest(train: &Samples, queries: &Samples, query: usize, k: usize) -> Vec<(f64, u32)> {
    let to = inputs(queries, query);
    let mut all: Vec<(f64, u32)> = Vec::new();
    for i in 0..train.len() {
        let from = inputs(train, i);
        let squares = from.iter().zip(&to).map(|(a, b)| (a - b) * (a - b));
        all.push((squares.sum(), i as u32));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

/// The shares of the classes among the `k` nearest of each query, `[n, classes]`.
pub fn probabilities(train: &Samples, queries: &Samples, k: usize) -> Vec<f64> {
    let mut all = Vec::new();
    for query in 0..queries.len() {
        let mut shares = vec![0.0; train.classes()];
        for (_, i) in nearest(train, queries, query, k) {
            shares[usize::from(train.labels()[i as usize])] += 1.0 / k as f64;
        }
        all.extend(shares);
    }
    all
}
