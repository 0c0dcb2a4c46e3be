//! What a comparison of models takes in memory at most: known after the first reading of a table, and told before the
//! second one.

use super::models::{Kind, Net, Trees};
use super::outline::Outline;
use super::split::test_rows;
use crate::Result;

/// Bytes of memory at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Of the table, while it is encoded.
    pub table: u64,
    /// Of each model, while it is trained: with the encoded table and all models before it.
    pub models: Vec<(Kind, u64)>,
    /// Of the models while they are saved, if they are.
    pub saving: u64,
}

/// What is done with a table.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The models, trained one after the other.
    pub kinds: &'a [Kind],
    /// The share of the rows that is tested on.
    pub test_share: f64,
    /// How many threads train.
    pub threads: usize,
    /// Whether the models are saved in the end.
    pub is_saved: bool,
}

/// What decides it.
pub(super) struct Sizes {
    pub(super) training: u64,
    pub(super) test: u64,
    /// Encoded columns at most.
    pub(super) width: u64,
    /// Columns of bytes of a forest.
    pub(super) byte_columns: u64,
    pub(super) threads: u64,
}

/// Bytes that a model takes while it is trained, and from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) training: u64,
    pub(super) trained: u64,
}

/// Besides the cells each row has its number and its target, twice.
const OF_ROW: u64 = 2 * (4 + 8);

impl Needed {
    /// What this work takes.
    pub fn of(outline: &Outline, work: &Work<'_>) -> Self {
        let Work { kinds, test_share, threads, is_saved } = *work;
        let rows = outline.rows();
        let test = test_rows(rows, test_share) as u64;
        let width = outline.widths().map(|categories| categories.unwrap_or(1) as u64).sum();
        let sizes = Sizes {
            training: rows as u64 - test,
            test,
            width,
            byte_columns: outline.widths().map(Trees::byte_columns).sum(),
            threads: threads as u64,
        };
        let cells = outline.bytes();
        let table = cells.saturating_mul(2).saturating_add(OF_ROW * rows as u64);
        let mut held = cells.saturating_add(OF_ROW * rows as u64);
        let mut models = Vec::with_capacity(kinds.len());
        let mut largest = 0;
        for &kind in kinds {
            let Share { training, trained } = kind.memory(&sizes);
            models.push((kind, held.saturating_add(training)));
            // Its predictions stay too.
            held = held.saturating_add(trained).saturating_add(8 * test);
            largest = trained.max(largest);
        }
        // A model is written from a copy as plain numbers, and from that as bytes.
        let saving = if is_saved { held.saturating_add(2 * largest) } else { 0 };
        Self { table, models, saving }
    }

    /// Of all at most.
    pub fn most(&self) -> u64 {
        let models = self.models.iter().map(|&(_, bytes)| bytes);
        models.fold(self.table.max(self.saving), u64::max)
    }

    /// Refuses the first that does not fit into the memory that may be used.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) about the table, with what can be left out.
    pub fn check(&self, outline: &Outline) -> Result<()> {
        outline.check_memory(self.table, "needs", super::survey::FEWER)?;
        for &(kind, bytes) in &self.models {
            let others = self.models.iter().filter(|(other, _)| *other != kind);
            let others: Vec<_> = others.map(|(other, _)| other.name()).collect();
            let mut mends = Vec::new();
            if !others.is_empty() {
                mends.push(format!("leave that model out (--models {})", others.join(",")));
            }
            if let Some(widest) = outline.widest().filter(|_| kind == Kind::Network) {
                mends.push(format!(
                    "the column with the most categories (--leave-out '{}')",
                    crate::names::shortened(widest)
                ));
            }
            mends.push("take fewer rows".to_owned());
            let what = format!("the model '{}' of it needs", kind.name());
            outline.check_memory(bytes, &what, &mends.join(", or "))?;
        }
        let mend = "leave --out out, or the forest (--models), or take fewer rows";
        outline.check_memory(self.saving, "saving the models of it needs", mend)
    }
}

impl Kind {
    /// What it takes, the table aside.
    fn memory(self, sizes: &Sizes) -> Share {
        let of_width = 8 * (1 + sizes.width);
        match self {
            Self::Mean => Share { training: of_width, trained: of_width },
            // The products, once more in blocks, and factored in a copy; the centred target.
            Self::Linear | Self::Ridge | Self::Descent => Share {
                training: 4 * 8 * sizes.width * sizes.width + 8 * sizes.training + 8 * of_width,
                trained: of_width,
            },
            Self::Forest => Trees::memory(sizes),
            Self::Network => Net::memory(sizes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::ReadOptions;
    use std::fs;

    #[test]
    fn a_model_is_trained_beside_the_table_and_the_models_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let rows: String = (0..10).map(|i| format!("{}.5,{i}\n", i * i)).collect();
        fs::write(&path, format!("a,y\n{rows}")).unwrap();
        let outline = Outline::read(&path, "y", &ReadOptions::default()).unwrap();
        let kinds = [Kind::Mean, Kind::Linear, Kind::Mean];
        let work = Work { kinds: &kinds, test_share: 0.2, threads: 1, is_saved: true };
        let needed = Needed::of(&outline, &work);
        // Two columns of numbers, the target among them; of ten rows eight train. A line keeps an intercept and a weight.
        let (cells, rows, line) = (10 * 16, 10 * OF_ROW, 2 * 8);
        assert_eq!(needed.table, 2 * cells + rows);
        let kept = cells + rows;
        let of_model = line + 2 * 8;
        let linear = 4 * 8 + 8 * 8 + 8 * line;
        assert_eq!(
            needed.models,
            [
                (Kind::Mean, kept + line),
                (Kind::Linear, kept + of_model + linear),
                (Kind::Mean, kept + 2 * of_model + line),
            ]
        );
        assert_eq!(needed.saving, kept + 3 * of_model + 2 * line);
        assert_eq!(needed.most(), needed.models[1].1);
        let unsaved = Needed::of(&outline, &Work { is_saved: false, ..work });
        assert_eq!((unsaved.saving, unsaved.models), (0, needed.models));
    }
}
