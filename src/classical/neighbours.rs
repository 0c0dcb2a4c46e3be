//! The k nearest neighbours, exactly.
//!
//! For each block of queries and of training samples a product of float32 gives all dot products, and with the norms
//! `|x - y|^2 = |x|^2 + |y|^2 - 2 x.y` up to rounding. Whoever may be among the k nearest, for the largest rounding
//! that the product can have, is measured again: bytes in whole numbers, floats in float64. So the neighbours and
//! their distances are those of plain loops over all pairs, on every instruction set and at any number of threads.

use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::{Isa, Mat, MatMut, Team, nearest};

use super::sample_rows::{SampleRows, check_classes, check_shape};
use super::{GoOn, TO_THE_END, check};
use crate::data::{Samples, Scale, Shape};
use crate::nn::Buffer;
use crate::{Error, Result, memory};

/// Queries whose dot products with a block of training samples are made at once.
const QUERIES: usize = 512;
/// Training samples of a block: with the queries a matrix of 1 MB, in which products of parts of the inputs are added
/// up. (Between blocks of 128 to 1,024 the speed changes by a tenth on an Intel Xeon, no more than from run to run.)
const TRAIN: usize = 512;
/// Inputs that one task of [`transpose`] copies: a cache line of each sample.
const INPUTS: usize = 16;
/// Queries that are floats at once: 8,192 images of 784 floats are 26 MB.
const GATHERED: usize = 16 * QUERIES;
/// Queries of one task of the search.
const TASK: usize = 16;

/// A neighbour of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The square of the Euclidean distance: of bytes exact, of floats summed in float64 in their order.
    pub distance: f64,
    /// The number of the training sample.
    pub sample: u32,
}

/// Farther than every sample: a place that is not taken yet.
const NONE: Neighbour = Neighbour { distance: f64::INFINITY, sample: u32::MAX };

/// Training samples, and how many neighbours vote.
#[derive(Clone, Debug)]
pub struct Neighbours {
    pub(super) train: Samples,
    pub(super) k: usize,
}

impl Neighbours {
    /// A model of these samples, which are not copied. scikit-learn's default is `k = 5`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for samples without classes, or floats that are not finite or above 1e12;
    /// [`Error::Setting`] if there are not `k` samples.
    pub fn fit(train: &Samples, k: usize) -> Result<Self> {
        check_classes(train)?;
        SampleRows::new(train)?;
        if !(1..=train.len()).contains(&k) {
            return Err(Error::Setting {
                name: "k",
                fault: format!("{k} neighbours of {} training samples; use fewer", train.len()),
            });
        }
        Ok(Self { train: train.clone(), k })
    }

    /// The shape of a sample.
    pub fn shape(&self) -> Shape {
        self.train.shape()
    }

    /// How many neighbours vote.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The shares of the classes among the `k` nearest training samples, `[n, classes]`. The class with the largest
    /// share wins, of equals the lower one.
    ///
    /// # Errors
    /// As [`Self::nearest`].
    pub fn probabilities(&self, team: &Team, queries: &Samples) -> Result<Vec<f64>> {
        self.probabilities_while(team, queries, TO_THE_END)
    }

    /// The same, which `go_on` may stop.
    pub(super) fn probabilities_while(
        &self,
        team: &Team,
        queries: &Samples,
        go_on: &GoOn<'_>,
    ) -> Result<Vec<f64>> {
        let classes = self.train.classes();
        let labels = self.train.labels();
        let mut all = vec![0.0; queries.len() * classes];
        let found = self.nearest_while(team, queries, go_on)?;
        for (shares, found) in all.chunks_exact_mut(classes).zip(found.chunks_exact(self.k)) {
            for neighbour in found {
                shares[usize::from(labels[neighbour.sample as usize])] += 1.0;
            }
            shares.iter_mut().for_each(|share| *share /= self.k as f64);
        }
        Ok(all)
    }

    /// The `k` nearest training samples of each query, `[n, k]`, the nearest first; of equally near ones that with
    /// the lower number.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for samples of another shape, bytes where floats were fitted, or floats that are not
    /// finite or above 1e12; [`Error::Memory`].
    pub fn nearest(&self, team: &Team, queries: &Samples) -> Result<Vec<Neighbour>> {
        self.nearest_while(team, queries, TO_THE_END)
    }

    /// The same, which `go_on`, asked at each block of training samples, may stop.
    ///
    /// # Errors
    /// As [`Self::nearest`]; [`Error::Interrupted`].
    pub fn nearest_while(
        &self,
        team: &Team,
        queries: &Samples,
        go_on: &GoOn<'_>,
    ) -> Result<Vec<Neighbour>> {
        check_shape(queries, self.shape())?;
        let (train, queries) = (SampleRows::new(&self.train)?, SampleRows::new(queries)?);
        if !queries.samples.is_empty() && train.are_bytes != queries.are_bytes {
            return Err(Error::Mismatch(
                "bytes are compared with bytes, and floats with floats".to_owned(),
            ));
        }
        let n = queries.samples.len();
        let places = n.saturating_mul(self.k);
        memory::check((places as u64).saturating_mul(size_of::<Neighbour>() as u64))?;
        let mut found = vec![NONE; places];
        let of_train = Norms::of(team, &train);
        for (block, found) in found.chunks_mut(GATHERED * self.k).enumerate() {
            let first = block * GATHERED;
            self.search(team, [&train, &queries], first, &of_train, found, go_on)?;
        }
        Ok(found)
    }

    /// Finds the neighbours of the queries from number `first` on, as many as there is room for.
    fn search(
        &self,
        team: &Team,
        [train, queries]: [&SampleRows<'_>; 2],
        first: usize,
        of_train: &Norms,
        found: &mut [Neighbour],
        go_on: &GoOn<'_>,
    ) -> Result<()> {
        let (inputs, k) = (self.shape().len(), self.k);
        let isa = team.isa();
        let n = found.len() / k;
        let as_is = Scale::from_parts(vec![1.0; inputs], vec![0.0; inputs]);
        let as_is = as_is.unwrap_or_else(|| unreachable!("as many factors as offsets"));
        let mut x = Buffer::zeroed(n * inputs)?;
        let mut y = Buffer::zeroed(TRAIN.min(self.train.len()) * inputs)?;
        let mut columns = Buffer::zeroed(y.len())?;
        let mut dots = Buffer::zeroed(QUERIES.min(n) * TRAIN.min(self.train.len()))?;
        queries.gather(team, first, &as_is, &mut x);
        let norms: Vec<f64> = (first..first + n).map(|i| queries.square(i)).collect();
        for (block, halves) in of_train.halves.chunks(TRAIN).enumerate() {
            check(go_on)?;
            let from = block * TRAIN;
            let y = &mut y[..halves.len() * inputs];
            train.gather(team, from, &as_is, y);
            // Once for all queries: a product with the rows themselves would transpose them for each block of queries,
            // and was 0.7 times as fast (one thread of a busy Xeon).
            let columns = &mut columns[..y.len()];
            transpose(team, y, inputs, columns);
            let of_block = of_train.squares[from..][..halves.len()].iter();
            let largest = of_block.copied().fold(0.0, f64::max);
            for (block, found) in found.chunks_mut(QUERIES * k).enumerate() {
                let (at, n) = (block * QUERIES, found.len() / k);
                let dots = &mut dots[..n * halves.len()];
                let a = Mat::new(&x[at * inputs..][..n * inputs], n, inputs);
                let b = Mat::new(columns, inputs, halves.len());
                let c = MatMut::new(dots, n, halves.len());
                gemm(team, 1.0, a, b, Write::Set, c, Epilogue::None);
                let dots = &*dots;
                team.run_on_chunks(found, TASK * k, |start, found| {
                    for (i, found) in (start / k..).zip(found.chunks_exact_mut(k)) {
                        let dots = &dots[i * halves.len()..][..halves.len()];
                        let query = Query {
                            isa,
                            number: first + at + i,
                            square: norms[at + i],
                            slack: slack(inputs, norms[at + i], largest),
                        };
                        query.sift(train, queries, from, dots, halves, found);
                    }
                });
            }
        }
        Ok(())
    }

    /// Bytes of the training samples and their labels.
    pub fn bytes(&self) -> u64 {
        let of_input = if SampleRows::is_of_bytes(&self.train) { 1 } else { size_of::<f32>() };
        let (n, inputs) = (self.train.len() as u64, self.train.shape().len() as u64);
        n * (inputs * of_input as u64 + 1)
    }

    /// Floating-point operations of the products for so many queries.
    pub fn operations(&self, queries: usize) -> f64 {
        2.0 * queries as f64 * self.train.len() as f64 * self.train.shape().len() as f64
    }
}

/// Writes rows of `width` numbers as columns.
fn transpose(team: &Team, rows: &[f32], width: usize, columns: &mut [f32]) {
    let height = rows.len() / width;
    team.run_on_chunks(columns, INPUTS * height, |start, columns| {
        let first = start / height;
        for (i, row) in rows.chunks_exact(width).enumerate() {
            for (column, &x) in columns.chunks_exact_mut(height).zip(&row[first..]) {
                column[i] = x;
            }
        }
    });
}

/// Squared norms of samples.
struct Norms {
    squares: Vec<f64>,
    /// Their halves, rounded to float32.
    halves: Vec<f32>,
}

impl Norms {
    fn of(team: &Team, rows: &SampleRows<'_>) -> Self {
        let mut squares = vec![0.0; rows.samples.len()];
        team.run_on_chunks(&mut squares, TRAIN, |first, squares| {
            for (i, square) in (first..).zip(squares) {
                *square = rows.square(i);
            }
        });
        let halves = squares.iter().map(|square| (square / 2.0) as f32).collect();
        Self { squares, halves }
    }
}

/// How far `x.y - |y|^2 / 2` as the search computes it may be from the real one, for such squared norms. The product
/// has at most 258 + 16 + 256 roundings up to a length of 2^20 (see [`threadcount_kernels::gemm`]), which `|x| |y|`
/// bounds; beside them there are the half norm's, and that of the difference. Twice as much, as an ample bound for
/// the terms of second order, and for what is flushed to zero because it is subnormal.
fn slack(inputs: usize, x: f64, y: f64) -> f64 {
    let roundings = (inputs.min(256) + inputs.div_ceil(256) + 4) as f64;
    let eps = f64::from(f32::EPSILON);
    eps * (roundings * (x * y).sqrt() + 2.0 * y) + inputs as f64 * f64::from(f32::MIN_POSITIVE)
}

/// A query that is compared with a block of training samples.
struct Query {
    isa: Isa,
    number: usize,
    square: f64,
    slack: f64,
}

impl Query {
    /// Puts those of a block that are nearer than the last one found in their places.
    fn sift(
        &self,
        train: &SampleRows<'_>,
        queries: &SampleRows<'_>,
        from: usize,
        dots: &[f32],
        halves: &[f32],
        found: &mut [Neighbour],
    ) {
        let mut next = 0;
        loop {
            // |x - y|^2 <= worst means x.y - |y|^2 / 2 >= (|x|^2 - worst) / 2.
            let worst = found[found.len() - 1].distance;
            let bar = ((self.square - worst) / 2.0 - self.slack) as f32;
            let Some(at) = nearest::first_from(self.isa, dots, halves, bar.next_down(), next)
            else {
                return;
            };
            next = at + 1;
            let sample = from + at;
            let distance = train.distance(sample, queries, self.number);
            // Samples come in the order of their numbers: of equally near ones the first stays.
            let place = found.partition_point(|found| found.distance <= distance);
            if place < found.len() {
                found[place..].rotate_right(1);
                found[place] = Neighbour { distance, sample: sample as u32 };
            }
        }
    }
}

impl SampleRows<'_> {
    fn is_of_bytes(samples: &Samples) -> bool {
        !samples.is_empty() && matches!(samples.row(0), crate::data::Row::Bytes(_))
    }

    /// The squared norm of a sample.
    fn square(&self, i: usize) -> f64 {
        match self.are_bytes {
            true => self.bytes(i).iter().map(|&x| u64::from(x).pow(2)).sum::<u64>() as f64,
            false => self.floats(i).iter().map(|&x| f64::from(x).powi(2)).sum(),
        }
    }

    /// The squared distance of a sample from one of others of the same kind.
    fn distance(&self, i: usize, others: &SampleRows<'_>, other: usize) -> f64 {
        if self.are_bytes {
            // In parts whose sums fit into 32 bits.
            let parts = self.bytes(i).chunks(1 << 15).zip(others.bytes(other).chunks(1 << 15));
            let square = |(&a, &b): (&u8, &u8)| u32::from(a.abs_diff(b)).pow(2);
            let sums = parts.map(|(a, b)| u64::from(a.iter().zip(b).map(square).sum::<u32>()));
            return sums.sum::<u64>() as f64;
        }
        let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
        self.floats(i).iter().zip(others.floats(other)).map(square).sum()
    }
}
