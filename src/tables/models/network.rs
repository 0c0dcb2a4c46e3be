//! The network of the report: two hidden layers of 80 relu units, squared loss. It is trained on the dense encoded
//! columns and on the standardised target.

use std::path::Path;

use threadcount_kernels::Pool;

use super::{Training, Watch, check_width};
use crate::data::{Inputs, Samples, Shape, Split};
use crate::nn::{Activation, Loss, dense};
use crate::tables::encoding::{Design, Encoding};
use crate::tables::needed::{Share, Sizes};
use crate::train::{Setup, Task, Trained};
use crate::{Result, memory};

/// Units of a hidden layer.
const UNITS: usize = 80;
/// Rows that are made dense at a time for predictions.
const BLOCK: usize = 4_096;
/// Bytes of a row besides its columns: its number among the samples, its target twice, its place in an epoch.
const OF_ROW: u64 = 4 * 4;
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
    /// [`Error::Memory`](crate::Error::Memory) if the dense columns do not fit into memory; as [`Task::fit`].
    pub fn fit(
        training: &Training<'_>,
        settings: &NetSettings,
        seed: u64,
        pool: &Pool,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let Training { encoding, design, targets } = *training;
        let (rows, width) = (design.rows(), design.width());
        memory::check(dense_bytes(rows as u64, width as u64))?;
        let scaled = |&y: &f64| ((y - encoding.target_mean) / encoding.target_deviation) as f32;
        let targets: Vec<f32> = targets.iter().map(scaled).collect();
        let samples = Samples::new(Shape::Flat(width), Inputs::Floats(design.shared()), &targets)?;
        let told = samples.range(0..rows.min(TOLD));
        let setup = Setup { seed, threads: Some(pool.threads()), isa: Some(pool.isa()) };
        let task = task(settings);
        let trained =
            task.fit(&Split::new(samples, told), &setup, |session, moment| watch(session, moment))?;
        Ok(Self::of(trained, encoding))
    }

    /// What it takes: the dense columns, and for each row its number and its target.
    pub(in crate::tables) fn memory(sizes: &Sizes) -> Share {
        let Sizes { training, width, .. } = *sizes;
        let parameters = 4 * (UNITS as u64) * (width + UNITS as u64 + 3);
        // Gradients and Adam's two moments; batches, and the blocks of rows that are predicted.
        let block = 4 * BLOCK as u64 * (2 * width + 8 * UNITS as u64);
        let needed = dense_bytes(training, width).saturating_add(OF_ROW * training);
        Share { training: needed + 6 * parameters + block, trained: 2 * parameters + block }
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

/// Bytes of the dense columns.
fn dense_bytes(rows: u64, width: u64) -> u64 {
    4_u64.saturating_mul(rows).saturating_mul(width)
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
}
