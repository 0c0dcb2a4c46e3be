//! The network of the report: two hidden layers of 80 relu units, squared loss. It is trained on the dense encoded
//! columns and on the standardised target.

use std::path::Path;

use threadcount_kernels::Pool;

use super::{Training, Watch, check_width};
use crate::Result;
use crate::data::{Samples, Shape, Split};
use crate::nn::{Activation, Loss, dense};
use crate::tables::encoding::{Design, Encoding};
use crate::tables::table::check_memory;
use crate::train::{Setup, Task, Trained};

/// Units of a hidden layer.
const UNITS: usize = 80;
/// Rows that are made dense at a time for predictions.
const BLOCK: usize = 4_096;
/// Training rows whose loss is told after each epoch.
const TOLD: usize = 1_024;

/// How the network is trained.
///
/// The report trained for 10,000 epochs. With steps after 256 rows a few epochs come further than a thousand steps
/// with all rows do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetSettings {
    /// Passes through the training rows.
    pub epochs: usize,
    /// Rows for each step of Adam.
    pub batch_size: usize,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 256 }
    }
}

/// A trained network.
#[derive(Debug)]
pub struct Net {
    trained: Trained,
    width: usize,
    mean: f64,
    deviation: f64,
}

impl Net {
    /// Trains a network. `watch` is called after every batch and epoch and may end it.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) if the dense columns do not fit into memory; as [`Task::fit`].
    pub fn fit(
        training: &Training<'_>,
        settings: &NetSettings,
        seed: u64,
        pool: &Pool,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let Training { encoding, design, targets } = *training;
        let (rows, width) = (design.rows(), design.width());
        Self::check_memory(Path::new("the table"), rows, width)?;
        let scaled = |&y: &f64| ((y - encoding.target_mean) / encoding.target_deviation) as f32;
        let targets: Vec<f32> = targets.iter().map(scaled).collect();
        let samples = Samples::new(Shape::Flat(width), design.dense(0..rows), &targets)?;
        let told = samples.range(0..rows.min(TOLD));
        let setup = Setup { seed, threads: Some(pool.threads()), isa: Some(pool.isa()) };
        let task = task(settings);
        let trained =
            task.fit(&Split::new(samples, told), &setup, |session, moment| watch(session, moment))?;
        Ok(Self::of(trained, encoding))
    }

    /// Refuses a table whose dense columns do not fit into memory.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) about `path`.
    pub(in crate::tables) fn check_memory(path: &Path, rows: usize, width: usize) -> Result<()> {
        // Twice: the samples are made shareable, which copies them.
        let needed = 8_u64.saturating_mul(rows as u64).saturating_mul(width as u64);
        let mend = "leave out the column with the most categories (--leave-out), or the network (--models)";
        check_memory(path, needed, mend)
    }

    fn of(trained: Trained, encoding: &Encoding) -> Self {
        Self {
            trained,
            width: encoding.width(),
            mean: encoding.target_mean,
            deviation: encoding.target_deviation,
        }
    }

    /// Loads a network that was saved.
    ///
    /// # Errors
    /// As [`Trained::load`].
    pub(in crate::tables) fn load(path: &Path, encoding: &Encoding, pool: &Pool) -> Result<Self> {
        let setup = Setup { seed: 0, threads: Some(pool.threads()), isa: Some(pool.isa()) };
        let task = task(&NetSettings::default());
        let trained = Trained::load(path, &task, Shape::Flat(encoding.width()), &setup)?;
        Ok(Self::of(trained, encoding))
    }

    pub(in crate::tables) fn save(&self, path: &Path) -> Result<()> {
        self.trained.save(path)
    }

    /// Predictions, `[rows]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) if the design is of another encoding.
    pub fn predict(&mut self, design: &Design) -> Result<Vec<f64>> {
        check_width(design, self.width)?;
        let mut predictions = Vec::with_capacity(design.rows());
        for first in (0..design.rows()).step_by(BLOCK) {
            let rows = first..design.rows().min(first + BLOCK);
            let none = vec![0.0_f32; rows.len()];
            let samples = Samples::new(Shape::Flat(self.width), design.dense(rows), &none)?;
            let scaled = self.trained.predict(&samples)?;
            let unscaled = |y: f32| self.mean + self.deviation * f64::from(y);
            predictions.extend(scaled.into_iter().map(unscaled));
        }
        Ok(predictions)
    }

    /// Bytes of its parameters.
    pub fn bytes(&self) -> u64 {
        4 * self.trained.model().plan().parameter_count() as u64
    }
}

fn task(settings: &NetSettings) -> Task {
    Task {
        layers: vec![
            dense(UNITS, Activation::Relu),
            dense(UNITS, Activation::Relu),
            dense(1, Activation::Linear),
        ],
        loss: Loss::MeanSquaredError,
        epochs: settings.epochs,
        batch_size: settings.batch_size,
        ..Task::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Affine;
    use super::super::examples::{Example, team};
    use super::*;
    use crate::evaluate::Regression;
    use std::ops::ControlFlow;
    use threadcount_kernels::Isa;

    #[test]
    fn a_network_finds_what_a_line_does_not() {
        let example = Example::new(2_000, 6);
        let training = Training {
            encoding: &example.encoding,
            design: &example.train,
            targets: &example.targets,
        };
        let settings = NetSettings { epochs: 40, batch_size: 32 };
        let pool = Pool::new(Isa::best(), 1).unwrap();
        let mut net =
            Net::fit(&training, &settings, 1, &pool, &mut |_, _| ControlFlow::Continue(()))
                .unwrap();
        let predictions = net.predict(&example.test).unwrap();
        let network = Regression::measure(&example.test_targets, &predictions);
        let line = Affine::least_squares(&example.gram()).unwrap();
        let line = line.predict(&team(), &example.test).unwrap();
        let line = Regression::measure(&example.test_targets, &line);
        assert!(network.mse < 0.7 * line.mse, "{network} {line}");
        // Loaded again, it predicts the same.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.safetensors");
        net.save(&path).unwrap();
        let mut loaded = Net::load(&path, &example.encoding, &pool).unwrap();
        assert_eq!(loaded.predict(&example.test).unwrap(), predictions);
    }

    #[test]
    fn more_than_memory_is_refused_beforehand() {
        let fault = Net::check_memory(Path::new("t.csv"), 1 << 31, 4_096).unwrap_err();
        assert_eq!(fault.exit_code(), 3);
        assert!(fault.to_string().contains("t.csv: needs 64.0 TiB of memory"), "{fault}");
    }
}
