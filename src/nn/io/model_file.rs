//! A trained network as a safetensors file: its named parameters and moving statistics, the scale
//! that its inputs need, and where it comes from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tensor_file::{Numbers, Tensor, TensorFile, Tensors, checksum, encode};
use crate::data::Scale;
use crate::files::write_atomically;
use crate::nn::model::{Model, TensorRef};
use crate::{Error, Result};

/// Names of the scale's tensors.
pub(crate) const FACTORS: &str = "input/factors";
pub(crate) const OFFSETS: &str = "input/offsets";

/// The run that a model comes from, and how far that run had come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Identifies the run; empty if it had no folder.
    pub run: String,
    /// Epochs that were trained.
    pub epochs: usize,
    /// The epoch whose weights these are.
    pub epoch: usize,
}

/// The text beside the tensors; there is none in a file of another program.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Over the tensors and `origin`: a safetensors file has no checksum of its own.
    sha256: String,
    origin: Origin,
}

impl Header {
    fn facts(&self) -> String {
        let Origin { run, epochs, epoch } = &self.origin;
        format!("{run} {epochs} {epoch}")
    }
}

/// A file that is being read.
pub(crate) struct ModelFile {
    file: TensorFile,
}

impl ModelFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self { file: TensorFile::read(path)? })
    }

    /// Its tensors, checked against the checksum if there is one, and where it comes from.
    pub(crate) fn open(&self) -> Result<(Tensors<'_>, Option<Origin>)> {
        let tensors = self.file.tensors()?;
        let origin = check(&tensors)?;
        Ok((tensors, origin))
    }
}

/// Where a model comes from, if its file says so. Such a file also has a checksum, which must be right.
pub(crate) fn check(tensors: &Tensors<'_>) -> Result<Option<Origin>> {
    if tensors.text.is_empty() {
        return Ok(None);
    }
    let Ok(header) = serde_json::from_str::<Header>(&tensors.text) else {
        return Err(tensors.fault("what it says about itself cannot be understood"));
    };
    if header.sha256 != tensors.checksum(&header.facts()) {
        return Err(tensors.fault("damaged: the checksum does not fit the contents"));
    }
    Ok(Some(header.origin))
}

/// Writes a model.
pub(crate) fn write(path: &Path, model: &Model, scale: &Scale, origin: Origin) -> Result<()> {
    let mut tensors =
        vec![Tensor::flat(FACTORS, scale.factors()), Tensor::flat(OFFSETS, scale.offsets())];
    for TensorRef { name, shape, data } in model.tensors() {
        tensors.push(Tensor::new(name, shape, data));
    }
    let mut header = Header { sha256: String::new(), origin };
    header.sha256 = checksum(&tensors, &header.facts());
    let text = serde_json::to_string(&header).map_err(|e| Error::Failed(e.to_string()))?;
    write_atomically(path, &encode(&tensors, text)?)
}

/// Fills a model of the same layers, for samples of that many inputs, and returns the inputs' scale.
pub(crate) fn fill(tensors: &Tensors<'_>, model: &mut Model, inputs: usize) -> Result<Scale> {
    let mut names = vec![FACTORS.to_owned(), OFFSETS.to_owned()];
    for tensor in model.tensors_mut() {
        tensors.copy(&tensor.name, tensor.shape, Numbers::Finite, tensor.data)?;
        names.push(tensor.name);
    }
    tensors.only(&names)?;
    let (mut factors, mut offsets) = (vec![0.0; inputs], vec![0.0; inputs]);
    for (name, to) in [(FACTORS, &mut factors), (OFFSETS, &mut offsets)] {
        tensors.copy(name, &[inputs], Numbers::Finite, to)?;
    }
    Scale::from_parts(factors, offsets)
        .ok_or_else(|| tensors.fault(format!("no scale of {inputs} inputs")))
}
