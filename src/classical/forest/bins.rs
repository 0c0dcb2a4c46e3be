//! Numbers as bins.

use super::columns::BINS;

/// The edges between the bins of one numeric column. A number up to the first edge is in bin 0, one above the
/// last edge in the last bin; NaN is in bin 0.
///
/// With at most 256 different numbers each has a bin of its own, and edges lie in the middle between two: samples are
/// then parted as by a forest on the numbers themselves. (A threshold between two numbers of a node with other bins
/// between them is at the middle one of these edges.) With more, bins hold nearly equal shares of the numbers.
///
/// ```
/// use threadcount::classical::forest::Bins;
/// let bins = Bins::fit(&[3.0, 1.0, 2.0, 1.0]);
/// assert_eq!(bins.edges(), [1.5, 2.5]);
/// assert_eq!([0.0, 1.5, 1.6, 99.0].map(|x| bins.bin(x)), [0, 0, 1, 2]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    edges: Vec<f64>,
}

impl Bins {
    /// Bins for these numbers; NaN among them are passed over.
    pub fn fit(numbers: &[f64]) -> Self {
        let mut sorted: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut different = sorted.clone();
        different.dedup();
        let mut edges = Vec::new();
        if different.len() <= BINS {
            edges.extend(different.windows(2).map(|pair| between(pair[0], pair[1])));
        } else {
            for bin in 1..BINS {
                let at = sorted.len() * bin / BINS;
                // Between two different numbers, or there would be an edge that equals one of them.
                let above = sorted.partition_point(|&x| x <= sorted[at - 1]);
                if above < sorted.len() {
                    edges.push(between(sorted[above - 1], sorted[above]));
                }
            }
            edges.dedup();
        }
        Self { edges }
    }

    /// Bins with these edges; `None` unless they are finite, ascending, and at most 255.
    pub fn of_edges(edges: Vec<f64>) -> Option<Self> {
        let are_edges = edges.len() < BINS
            && edges.iter().all(|edge| edge.is_finite())
            && edges.windows(2).all(|pair| pair[0] < pair[1]);
        are_edges.then_some(Self { edges })
    }

    /// The edges, ascending: at most 255.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// The bin of a number.
    pub fn bin(&self, number: f64) -> u8 {
        self.edges.partition_point(|&edge| edge < number) as u8
    }
}

/// The middle of two numbers; the lower one where rounding gives the upper one, or they are not finite.
fn between(low: f64, high: f64) -> f64 {
    let middle = f64::midpoint(low, high);
    if middle < high && middle > f64::NEG_INFINITY { middle } else { low.max(f64::MIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_numbers_have_bins_of_their_own() {
        let numbers: Vec<f64> = (0..1000).map(|i| f64::from(i * 7 % 256)).collect();
        let bins = Bins::fit(&numbers);
        assert_eq!(bins.edges().len(), 255);
        assert!(numbers.iter().all(|&x| f64::from(bins.bin(x)) == x));
        assert!(Bins::fit(&[]).edges().is_empty());
        assert!(Bins::fit(&[2.0; 9]).edges().is_empty());
        assert_eq!(Bins::fit(&[f64::NAN, 1.0]).bin(f64::NAN), 0);
    }

    #[test]
    fn many_numbers_share_bins_evenly() {
        for n in [257, 1000, 4001] {
            let numbers: Vec<f64> = (0..n).map(|i| f64::from(i * 389 % n).sqrt()).collect();
            let bins = Bins::fit(&numbers);
            let mut counts = [0; BINS];
            numbers.iter().for_each(|&x| counts[usize::from(bins.bin(x))] += 1);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1 && *least > 0, "{n}: {least} {most}");
        }
        // Half of them zero: the other half still has bins.
        let numbers: Vec<f64> = (0..2000).map(|i| f64::from((i - 1000).max(0))).collect();
        let edges = Bins::fit(&numbers).edges().len();
        assert!((120..BINS).contains(&edges), "{edges}");
    }

    #[test]
    fn edges_separate_neighbours() {
        let next = 1.0_f64.next_up();
        let bins = Bins::fit(&[1.0, next]);
        assert_eq!((bins.bin(1.0), bins.bin(next)), (0, 1));
        let bins = Bins::fit(&[f64::NEG_INFINITY, 0.0, f64::INFINITY]);
        assert_eq!([f64::NEG_INFINITY, 0.0, f64::INFINITY].map(|x| bins.bin(x)), [0, 1, 2]);
        assert!(Bins::of_edges(bins.edges().to_vec()).is_some());
        assert!(Bins::of_edges(vec![1.0, 1.0]).is_none());
        assert!(Bins::of_edges(vec![f64::NAN]).is_none());
    }
}
