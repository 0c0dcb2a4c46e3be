//! Saving a session after any batch, and resuming it with the same bits: weights, moving statistics, the
//! optimizer's buffers, the best weights so far, and how far the run has come.

use super::progress::Progress;
use super::session::Session;
use super::task::Keep;
use super::weights::Weights;
use crate::data::Scale;
use crate::nn::io::model_file::{FACTORS, OFFSETS};
use crate::nn::io::tensor_file::{Numbers, Tensor, TensorFile, Tensors, checksum, encode};
use crate::nn::{Saved, TensorRef};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Incremented when the meaning of a checkpoint changes.
const FORMAT: u32 = 2;

/// The names of the tensors with the best weights so far.
const BEST: [&str; 2] = ["best/params", "best/state"];
/// The names of the tensors with the moving average.
const AVERAGE: [&str; 2] = ["average/params", "average/state"];

/// The text that is stored with the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    /// Over the tensors and everything below: a safetensors file has no checksum of its own, and a run
    /// resumed from damaged weights would go on without an error.
    sha256: String,
    /// The id of its run; empty if the run has no folder.
    run: String,
    optimizer_steps: u64,
    progress: Progress,
}

impl Header {
    fn facts(&self) -> String {
        let progress = serde_json::to_string(&self.progress).unwrap_or_default();
        format!("{} {} {progress}", self.run, self.optimizer_steps)
    }
}

impl Session<'_> {
    /// The session as the bytes of a checkpoint file. For a finished run they also hold the weights of the
    /// last step, besides those that the task keeps: a session with more epochs resumes from them.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are more tensors than a safetensors header can name.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        self.checkpoint_of("")
    }

    /// Like [`Self::checkpoint`], with the id of its run.
    pub(super) fn checkpoint_of(&self, run: &str) -> Result<Vec<u8>> {
        let network = &self.network;
        let model = match &self.last {
            Some(Weights { params, state }) => network.plan().tensors(params, state),
            None => network.tensors(Saved::Model),
        };
        let mut tensors: Vec<Tensor<'_>> = model
            .into_iter()
            .chain(network.tensors(Saved::Optimizer))
            .map(|TensorRef { name, shape, data }| Tensor::new(name, shape, data))
            .collect();
        for (names, weights) in [(BEST, &self.best), (AVERAGE, &self.average)] {
            if let Some(Weights { params, state }) = weights {
                tensors.extend([Tensor::flat(names[0], params), Tensor::flat(names[1], state)]);
            }
        }
        // A scale that was fitted to the samples is not saved: a session fits the same one again.
        if self.has_own_scale {
            tensors.push(Tensor::flat(FACTORS, self.scale.factors()));
            tensors.push(Tensor::flat(OFFSETS, self.scale.offsets()));
        }
        let mut header = Header {
            format: FORMAT,
            sha256: String::new(),
            run: run.to_owned(),
            optimizer_steps: network.optimizer_steps(),
            progress: self.progress.clone(),
        };
        header.sha256 = checksum(&tensors, &header.facts());
        let text = serde_json::to_string(&header).map_err(|e| Error::Failed(e.to_string()))?;
        encode(&tensors, text)
    }

    /// Resumes the run in a checkpoint file. The caller makes sure that this session has the same task, data
    /// and seed.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Data`] if it is damaged
    /// or of another network. The session is then not fit for use.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        self.resume_of(path, None)
    }

    /// Like [`Self::resume`], but refuses a checkpoint of another run than `run`.
    pub(super) fn resume_of(&mut self, path: &Path, run: Option<&str>) -> Result<()> {
        self.resume_from(&TensorFile::read(path)?, run)
    }

    /// Like [`Self::resume_of`], from a file that has been read.
    pub(super) fn resume_from(&mut self, file: &TensorFile, run: Option<&str>) -> Result<()> {
        let tensors = file.tensors()?;
        let header = self.header(&tensors)?;
        if run.is_some_and(|run| run != header.run) {
            return Err(tensors.fault("it is of another run than run.toml: put its own one back"));
        }
        for (saved, numbers) in [(Saved::Model, Numbers::Finite), (Saved::Optimizer, Numbers::Any)]
        {
            for tensor in self.network.tensors_mut(saved) {
                tensors.copy(&tensor.name, tensor.shape, numbers, tensor.data)?;
            }
        }
        self.network.set_optimizer_steps(header.optimizer_steps);
        (self.best, self.last) = (None, None);
        let weights = |names: [&str; 2]| {
            let mut weights = Weights::of(&self.network);
            for (name, to) in names.into_iter().zip([&mut weights.params, &mut weights.state]) {
                tensors.copy(name, &[to.len()], Numbers::Finite, to)?;
            }
            Ok::<_, Error>(Some(weights))
        };
        if self.task().keep != Keep::Last && header.progress.best.is_some() {
            self.best = weights(BEST)?;
        }
        if self.task().weight_average.is_some() {
            self.average = weights(AVERAGE)?;
        }
        if tensors.shape(FACTORS).is_some() {
            let inputs = self.scale.inputs();
            let (mut factors, mut offsets) = (vec![0.0; inputs], vec![0.0; inputs]);
            for (name, to) in [(FACTORS, &mut factors), (OFFSETS, &mut offsets)] {
                tensors.copy(name, &[inputs], Numbers::Finite, to)?;
            }
            if let Some(scale) = Scale::from_parts(factors, offsets) {
                (self.scale, self.has_own_scale) = (scale, true);
            }
        }
        self.progress = header.progress;
        Ok(())
    }

    fn header(&self, tensors: &Tensors<'_>) -> Result<Header> {
        /// What every format has.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let strange = || tensors.fault("not a checkpoint of this version of threadcount");
        let text = &tensors.text;
        let Versioned { format } = serde_json::from_str(text).map_err(|_| strange())?;
        if format != FORMAT {
            return Err(tensors.fault(format!(
                "a checkpoint of format {format}, where this version of threadcount reads {FORMAT}"
            )));
        }
        let header: Header = serde_json::from_str(text).map_err(|_| strange())?;
        if header.sha256 != tensors.checksum(&header.facts()) {
            return Err(tensors.fault("damaged: the checksum does not fit the contents"));
        }
        if header.progress.batches > self.batches_per_epoch() {
            return Err(tensors.fault("it stands further in its epoch than the data reach"));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::Task;
    use super::*;
    use crate::data::{Samples, Shape, Split};
    use crate::nn::{Activation, Loss, Optimizer, dense};
    use std::ops::ControlFlow;
    use threadcount_kernels::{Isa, Team};

    fn split() -> Split {
        let x: Vec<f32> = (0..80).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect();
        let labels: Vec<u8> = x.chunks(2).map(|p| u8::from(p[0] > p[1])).collect();
        let samples = Samples::new(Shape::Flat(2), x, &labels).unwrap();
        Split::new(samples.clone(), samples)
    }

    fn task(optimizer: Optimizer, batch_size: usize) -> Task {
        Task {
            layers: vec![dense(3, Activation::Sigmoid), dense(1, Activation::Linear)],
            loss: Loss::BinaryCrossEntropy,
            optimizer,
            batch_size,
            epochs: 2,
            ..Task::default()
        }
    }

    /// A file may hold a number that no run reaches.
    #[test]
    fn the_largest_number_of_steps_is_no_end() {
        let (split, file) = (split(), tempfile::NamedTempFile::new().unwrap());
        let rmsprop = Optimizer::rmsprop().with_momentum(0.5);
        for optimizer in [Optimizer::adam(), rmsprop, Optimizer::sgd()] {
            for batch_size in [1, 16] {
                for steps in [u64::MAX, u64::MAX - 1, 1 << 63] {
                    let task = task(optimizer, batch_size);
                    let mut session = Session::new(&task, &split, 0).unwrap();
                    session.network.set_optimizer_steps(steps);
                    std::fs::write(file.path(), session.checkpoint().unwrap()).unwrap();
                    let mut session = Session::new(&task, &split, 0).unwrap();
                    session.resume(file.path()).unwrap();
                    let team = Team::solo(Isa::best());
                    let mut watch = |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
                    session.train(&team, &mut watch).unwrap();
                    assert!(session.network().params().iter().all(|x| x.is_finite()));
                    let added = 2 * 40_u64.div_ceil(batch_size as u64);
                    let expected = steps.saturating_add(added);
                    assert_eq!(session.network().optimizer_steps(), expected, "{optimizer}");
                }
            }
        }
    }

    /// More batches than an epoch has, under a valid checksum.
    #[test]
    fn a_place_behind_the_end_of_an_epoch_is_refused() {
        let (split, file) = (split(), tempfile::NamedTempFile::new().unwrap());
        let task = task(Optimizer::sgd(), 16);
        // 40 samples are three batches of 16, the last one smaller.
        for (batches, is_sound) in [(0, true), (3, true), (4, false), (usize::MAX, false)] {
            let mut session = Session::new(&task, &split, 0).unwrap();
            session.progress.batches = batches;
            std::fs::write(file.path(), session.checkpoint().unwrap()).unwrap();
            let resumed = Session::new(&task, &split, 0).unwrap().resume(file.path());
            match resumed {
                Ok(()) => assert!(is_sound, "{batches}"),
                Err(Error::Data { fault, .. }) => {
                    assert!(!is_sound && fault.contains("further in its epoch"), "{fault}")
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Checkpoints from before schedules existed can be resumed.
    #[test]
    fn without_a_schedule_a_checkpoint_is_as_it_was() {
        let text = serde_json::to_string(&Progress::default()).unwrap();
        assert!(!text.contains("plateaus"), "{text}");
        serde_json::from_str::<Progress>(&text).unwrap();
    }

    #[test]
    fn the_largest_counts_are_no_end() {
        let (split, file) = (split(), tempfile::NamedTempFile::new().unwrap());
        let task = task(Optimizer::adam(), 16);
        let mut session = Session::new(&task, &split, 0).unwrap();
        let mut progress = serde_json::to_value(&session.progress).unwrap();
        for key in ["correct", "trained_samples"] {
            assert!(progress.get(key).is_some());
            progress[key] = u64::MAX.into();
        }
        session.progress = serde_json::from_value(progress).unwrap();
        std::fs::write(file.path(), session.checkpoint().unwrap()).unwrap();
        let mut session = Session::new(&task, &split, 0).unwrap();
        session.resume(file.path()).unwrap();
        let mut watch = |_: &Session<'_>, _| Ok(ControlFlow::Continue(()));
        session.train(&Team::solo(Isa::best()), &mut watch).unwrap();
        assert_eq!(session.progress().trained_samples, u64::MAX);
    }

    /// No computation may go on with such weights, though the checksum is valid.
    #[test]
    fn weights_that_are_no_finite_numbers_are_refused() {
        let (split, file) = (split(), tempfile::NamedTempFile::new().unwrap());
        let task = Task { keep: Keep::BestLoss, ..task(Optimizer::adam(), 16) };
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut session = Session::new(&task, &split, 0).unwrap();
            session
                .train(&Team::solo(Isa::best()), &mut |_, _| Ok(ControlFlow::Continue(())))
                .unwrap();
            let sound = session.checkpoint().unwrap();
            session.best.as_mut().unwrap().params[1] = number;
            let best = session.checkpoint().unwrap();
            session.best.as_mut().unwrap().params[1] = 0.0;
            // The network has the best weights by now; training resumes from these.
            session.last.as_mut().unwrap().params[0] = number;
            for (bytes, is_sound) in
                [(sound, true), (best, false), (session.checkpoint().unwrap(), false)]
            {
                std::fs::write(file.path(), bytes).unwrap();
                let resumed = Session::new(&task, &split, 0).unwrap().resume(file.path());
                match resumed {
                    Ok(()) => assert!(is_sound),
                    Err(Error::Data { fault, .. }) => {
                        assert!(!is_sound && fault.contains("finite"), "{fault}")
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
