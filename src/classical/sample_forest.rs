//! A random forest on samples: bytes are bins as they are, and of floats each input has its own bins.

use threadcount_kernels::Team;

use super::forest::{Bins, ColumnKind, Columns, Forest, ForestSettings, Target};
use super::sample_rows::{SampleRows, check_classes, check_shape};
use super::{GoOn, TO_THE_END};
use crate::Result;
use crate::data::{Samples, Shape};

/// A forest of classes, and how samples become its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleForest {
    pub(super) shape: Shape,
    pub(super) forest: Forest,
    /// Of each input, if inputs are floats.
    pub(super) bins: Option<Vec<Bins>>,
}

impl SampleForest {
    /// Grows a forest. Floats with more than 256 different numbers in an input share bins (see [`Bins`]).
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) for samples without classes, or floats that are not finite; as
    /// [`Forest::fit`].
    pub fn fit(team: &Team, samples: &Samples, settings: &ForestSettings) -> Result<Self> {
        Self::fit_while(team, samples, settings, TO_THE_END)
    }

    /// The same, which `go_on` may stop.
    ///
    /// # Errors
    /// As [`Self::fit`]; [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn fit_while(
        team: &Team,
        samples: &Samples,
        settings: &ForestSettings,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let classes = check_classes(samples)?;
        let rows = SampleRows::new(samples)?;
        let bins = (!rows.are_bytes).then(|| {
            let mut bins = vec![None; samples.shape().len()];
            team.run_on_chunks(&mut bins, 1, |input, bins| {
                let numbers: Vec<f64> =
                    (0..samples.len()).map(|i| f64::from(rows.floats(i)[input])).collect();
                bins[0] = Some(Bins::fit(&numbers));
            });
            bins.into_iter().flatten().collect::<Vec<_>>()
        });
        let kinds = vec![ColumnKind::Ordered; samples.shape().len()];
        let columns = match &bins {
            None => Columns::of_rows(team, kinds, samples.len(), |i| rows.bytes(i))?,
            Some(bins) => {
                let bytes = binned(team, &rows, bins);
                let width = bins.len();
                Columns::of_rows(team, kinds, samples.len(), |i| &bytes[i * width..][..width])?
            }
        };
        let target = Target::Classes { labels: samples.labels(), classes };
        let forest = Forest::fit_while(team, &columns, target, settings, go_on)?;
        Ok(Self { shape: samples.shape(), forest, bins })
    }

    /// The mean over the trees of the shares of the classes in their leaves, `[n, classes]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) for samples of another shape, or floats where bytes were fitted.
    pub fn probabilities(&self, team: &Team, samples: &Samples) -> Result<Vec<f64>> {
        check_shape(samples, self.shape)?;
        let rows = SampleRows::new(samples)?;
        if !samples.is_empty() && rows.are_bytes != self.bins.is_none() {
            let fault = "the forest grew on bytes, and these are floats, or the other way round";
            return Err(crate::Error::Mismatch(fault.to_owned()));
        }
        Ok(match &self.bins {
            None => self.forest.predict_rows(team, samples.len(), |i| rows.bytes(i)),
            Some(bins) => {
                let (bytes, width) = (binned(team, &rows, bins), bins.len());
                let row = |i: usize| &bytes[i * width..][..width];
                self.forest.predict_rows(team, samples.len(), row)
            }
        })
    }

    /// The forest.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// Bytes of nodes, leaves and bins.
    pub fn bytes(&self) -> u64 {
        let edges = self.bins.iter().flatten().map(|bins| size_of_val(bins.edges()) as u64);
        self.forest.bytes() + edges.sum::<u64>()
    }
}

/// The bins of all inputs of all samples, `[n, inputs]`.
fn binned(team: &Team, rows: &SampleRows<'_>, bins: &[Bins]) -> Vec<u8> {
    let mut bytes = vec![0; rows.samples.len() * bins.len()];
    team.run_on_chunks(&mut bytes, bins.len(), |first, out| {
        let row = rows.floats(first / bins.len());
        for ((out, bins), &x) in out.iter_mut().zip(bins).zip(row) {
            *out = bins.bin(f64::from(x));
        }
    });
    bytes
}
