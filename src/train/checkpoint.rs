//! Saving a session after any batch, and taking it up again with the same bits: weights, moving
//! statistics, the optimizer's buffers, the best weights so far, and how far the run has come.

use super::session::{Progress, Session, Weights};
use super::task::Keep;
use crate::nn::io::tensor_file::{Tensor, TensorFile, Tensors, checksum, encode};
use crate::nn::{Saved, TensorRef};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Raised when the meaning of a checkpoint changes.
const FORMAT: u32 = 1;

/// The text beside the tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Over the tensors and `progress`: a safetensors file has no checksum of its own, and a run
    /// resumed from damaged weights would go on without a word.
    sha256: String,
    optimizer_steps: u64,
    progress: Progress,
}

impl Header {
    fn facts(&self) -> String {
        let progress = serde_json::to_string(&self.progress).unwrap_or_default();
        format!("{} {progress}", self.optimizer_steps)
    }
}

impl Session<'_> {
    /// The session as the bytes of a checkpoint file. After a finished run, too, they hold the weights
    /// that training goes on from if a session with more epochs takes them up, besides those that
    /// the task keeps.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are more tensors than a safetensors header can name.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let network = &self.network;
        let model = match &self.last {
            Some(Weights { params, state }) => network.plan().tensors(params, state),
            None => network.tensors(Saved::Model),
        };
        let mut tensors: Vec<Tensor<'_>> = model
            .into_iter()
            .chain(network.tensors(Saved::Optimizer))
            .map(|TensorRef { name, shape, data }| Tensor { name, shape: shape.to_vec(), data })
            .collect();
        if let Some(best) = &self.best {
            tensors.push(Tensor::flat("best/params", &best.params));
            tensors.push(Tensor::flat("best/state", &best.state));
        }
        let mut header = Header {
            format: FORMAT,
            sha256: String::new(),
            optimizer_steps: network.optimizer_steps(),
            progress: self.progress.clone(),
        };
        let bytes = tensors.iter().map(|t| (t.name.as_str(), bytemuck::cast_slice(t.data)));
        header.sha256 = checksum(bytes, &header.facts());
        let text = serde_json::to_string(&header).map_err(|e| Error::Failed(e.to_string()))?;
        encode(&tensors, text)
    }

    /// Takes up the run that a checkpoint file holds; this session must be of the same task, data
    /// and seed, which the caller makes sure of.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Failed`] if it is damaged
    /// or of another network. The session is then not fit for use.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        let file = TensorFile::read(path)?;
        let tensors = file.tensors()?;
        let header = self.header(&tensors)?;
        for saved in [Saved::Model, Saved::Optimizer] {
            for tensor in self.network.tensors_mut(saved) {
                tensors.copy(&tensor.name, tensor.data)?;
            }
        }
        self.network.set_optimizer_steps(header.optimizer_steps);
        (self.best, self.last) = (None, None);
        if self.task().keep != Keep::Last && header.progress.best.is_some() {
            let mut best = Weights::of(&self.network);
            tensors.copy("best/params", &mut best.params)?;
            tensors.copy("best/state", &mut best.state)?;
            self.best = Some(best);
        }
        self.progress = header.progress;
        Ok(())
    }

    fn header(&self, tensors: &Tensors<'_>) -> Result<Header> {
        let header: Header = serde_json::from_str(&tensors.text)
            .map_err(|_| tensors.fault("not a checkpoint of this version of threadcount"))?;
        if header.format != FORMAT {
            return Err(tensors.fault(&format!(
                "a checkpoint of format {}, where this version of threadcount reads {FORMAT}",
                header.format
            )));
        }
        if header.sha256 != tensors.checksum(&header.facts()) {
            return Err(tensors.fault("damaged: the checksum does not fit the contents"));
        }
        if header.progress.batches > self.batches_per_epoch() {
            return Err(tensors.fault("it stands further in its epoch than the data reach"));
        }
        Ok(header)
    }
}
