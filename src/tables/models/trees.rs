//! A random forest on a table: its columns as bins.
//!
//! Numbers become up to 256 bins ([`Bins`]), so thresholds are those of a forest on the numbers where a column has
//! as many different ones, and close to them where it has more. Categories are split off one by one, as the columns
//! of a one-hot encoding are. A text column of more than [`GROUP`] categories becomes several columns of bins; in
//! each of them the categories of the others are "none of these".

use threadcount_kernels::Team;

use super::{Training, check_width};
use crate::Result;
use crate::classical::GoOn;
use crate::classical::forest::{BINS, Bins, ColumnKind, Columns, Forest, ForestSettings, Target};
use crate::tables::encoding::{Cells, Design, DesignColumn, Encoded, Encoding};
use crate::tables::needed::{Share, Sizes};

/// The most categories of one column of bins; the last bin is for all others.
const GROUP: usize = BINS - 1;
/// The bin for "none of these".
const NONE: u8 = GROUP as u8;

/// A forest and the bins of its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    forest: Forest,
    /// Of each number, in the order of the encoding.
    bins: Vec<Bins>,
    width: usize,
}

impl Trees {
    /// Grows a forest with scikit-learn's defaults: 100 trees, all columns tried at each node, bootstrap samples,
    /// leaves of one row. `go_on` may stop it.
    ///
    /// # Errors
    /// [`crate::Error::Memory`]; [`crate::Error::Interrupted`].
    pub fn fit(team: &Team, training: &Training<'_>, seed: u64, go_on: &GoOn<'_>) -> Result<Self> {
        let Training { design, targets, .. } = *training;
        let numbers = design.columns().iter().filter_map(|column| match &column.cells {
            Cells::Numbers(numbers) => Some(Bins::fit(numbers)),
            Cells::Codes(_) => None,
        });
        let bins: Vec<Bins> = numbers.collect();
        let columns = binned(design, &bins)?;
        let settings = ForestSettings::regression(seed);
        let forest = Forest::fit_while(team, &columns, Target::Values(targets), &settings, go_on)?;
        Ok(Self { forest, bins, width: design.width() })
    }

    /// A forest that was saved; `None` if it is not of that encoding.
    pub(in crate::tables) fn of_parts(
        encoding: &Encoding,
        forest: Forest,
        bins: Vec<Bins>,
    ) -> Option<Self> {
        let encoded = || encoding.columns.iter().map(|column| &column.encoded);
        let numbers = encoded().filter(|e| matches!(e, Encoded::Number { .. })).count();
        let kinds = encoded().flat_map(|e| match e {
            Encoded::Number { .. } => vec![ColumnKind::Ordered],
            Encoded::Categories(known) => groups(known.len()).map(categories).collect(),
        });
        let fits = bins.len() == numbers
            && forest.outputs() == 1
            && forest.kinds().iter().copied().eq(kinds);
        fits.then(|| Self { forest, bins, width: encoding.width() })
    }

    pub(in crate::tables) fn parts(&self) -> (&Forest, &[Bins]) {
        (&self.forest, &self.bins)
    }

    /// Predictions, `[rows]`.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] if the design is of another encoding.
    pub fn predict(&self, team: &Team, design: &Design) -> Result<Vec<f64>> {
        check_width(design, self.width)?;
        self.forest.predict(team, &binned(design, &self.bins)?)
    }

    /// Columns of bytes that a column becomes, by the number of its categories, if it has some.
    pub(in crate::tables) fn byte_columns(categories: Option<usize>) -> u64 {
        categories.map_or(1, |categories| categories.div_ceil(GROUP) as u64)
    }

    /// What it takes at most: the rows in columns of bytes, and what [`Forest::memory`] says.
    pub(in crate::tables) fn memory(sizes: &Sizes) -> Share {
        let Sizes { training, test, byte_columns, threads, .. } = *sizes;
        let settings = ForestSettings::regression(0);
        let [growing, grown] = Forest::memory(training, byte_columns, threads, &settings);
        let in_bytes = training.max(test).saturating_mul(byte_columns);
        Share { training: growing.saturating_add(in_bytes).saturating_add(grown), trained: grown }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        let edges: usize = self.bins.iter().map(|bins| bins.edges().len()).sum();
        self.forest.bytes() + 8 * edges as u64
    }
}

/// Numbers of categories of the columns of bins that so many categories become.
fn groups(categories: usize) -> impl Iterator<Item = usize> {
    (0..categories).step_by(GROUP).map(move |first| GROUP.min(categories - first))
}

fn categories(count: usize) -> ColumnKind {
    ColumnKind::Categories { count: count as u16 }
}

/// A design as columns of bytes.
fn binned(design: &Design, bins: &[Bins]) -> Result<Columns> {
    let mut of_numbers = bins.iter();
    let (mut kinds, mut bytes) = (Vec::new(), Vec::new());
    for DesignColumn { width, cells, .. } in design.columns() {
        match cells {
            Cells::Numbers(numbers) => {
                // The callers made bins for every one of them.
                let bins = of_numbers.next().expect("bins for each column of numbers");
                kinds.push(ColumnKind::Ordered);
                bytes.extend(numbers.iter().map(|&number| bins.bin(number)));
            }
            Cells::Codes(codes) => {
                for (group, count) in groups(*width).enumerate() {
                    let first = (group * GROUP) as u32;
                    kinds.push(categories(count));
                    bytes.extend(codes.iter().map(|&code| match code.checked_sub(first) {
                        Some(code) if (code as usize) < count => code as u8,
                        _ => NONE,
                    }));
                }
            }
        }
    }
    Columns::new(design.rows(), kinds, bytes)
}

#[cfg(test)]
mod tests {
    use super::super::examples::{Example, team};
    use super::*;
    use crate::classical::TO_THE_END;
    use crate::evaluate::Regression;
    use crate::tables::{Column, NO_CATEGORY, Table, Values};

    #[test]
    fn categories_have_bins_of_their_own() {
        assert_eq!(groups(3).collect::<Vec<_>>(), [3]);
        assert_eq!(groups(255).collect::<Vec<_>>(), [255]);
        assert_eq!(groups(256).collect::<Vec<_>>(), [255, 1]);
        assert_eq!(groups(600).collect::<Vec<_>>(), [255, 255, 90]);
        let rows = 600;
        let words: Vec<String> = (0..rows).map(|i| format!("{i:04}")).collect();
        let column =
            Column { name: "w".to_owned(), values: Values::text(words.iter().map(String::as_str)) };
        let values = (0..rows).map(f64::from).collect();
        let table = Table::new(vec![column], "y", values).unwrap();
        let all: Vec<u32> = (0..rows as u32).collect();
        let encoding = Encoding::fit(&table, &all).unwrap();
        let codes = vec![Cells::Codes(vec![0, 254, 255, 509, 510, 599, NO_CATEGORY])];
        let design = Design::of_cells(&encoding, codes, 7);
        let columns = binned(&design, &[]).unwrap();
        assert_eq!(columns.column(0), [0, 254, NONE, NONE, NONE, NONE, NONE]);
        assert_eq!(columns.column(1), [NONE, NONE, 0, 254, NONE, NONE, NONE]);
        assert_eq!(columns.column(2), [NONE, NONE, NONE, NONE, 0, 89, NONE]);
        assert_eq!(columns.kinds()[2], ColumnKind::Categories { count: 90 });
    }

    #[test]
    fn a_forest_finds_what_a_line_does_not() {
        let example = Example::new(3_000, 5);
        let training = Training {
            encoding: &example.encoding,
            design: &example.train,
            targets: &example.targets,
        };
        let trees = Trees::fit(&team(), &training, 1, TO_THE_END).unwrap();
        let predictions = trees.predict(&team(), &example.test).unwrap();
        let forest = Regression::measure(&example.test_targets, &predictions);
        let line = super::super::Affine::least_squares(&example.gram()).unwrap();
        let predictions = line.predict(&team(), &example.test).unwrap();
        let line = Regression::measure(&example.test_targets, &predictions);
        assert!(
            forest.mse < 0.7 * line.mse && line.r2.is_some_and(|r2| r2 > 0.5),
            "{forest} {line}"
        );
        // Its parts make the same forest again.
        let (forest, bins) = trees.parts();
        let again = Trees::of_parts(&example.encoding, forest.clone(), bins.to_vec()).unwrap();
        assert_eq!(again, trees);
        assert!(Trees::of_parts(&example.encoding, forest.clone(), Vec::new()).is_none());
    }
}
