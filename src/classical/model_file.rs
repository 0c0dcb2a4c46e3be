//! The models of this module in files: safetensors with one line of text that says which model it is, what it was
//! trained on, and a checksum over all of it.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::names::shortened;
use crate::nn::io::tensor_file::{Tensor, TensorFile, Tensors, checksum, encode};
use crate::{Error, Result};

/// The text beside the tensors. Facts are text within the text: the checksum is over that, as it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Which model.
    model: String,
    sha256: String,
    facts: String,
}

/// What the checksum is over, besides the tensors.
fn signed(model: &str, facts: &str) -> String {
    format!("{model} {facts}")
}

/// Writes a model.
pub(super) fn write(
    path: &Path,
    model: &str,
    facts: &impl Serialize,
    tensors: &[Tensor<'_>],
) -> Result<()> {
    let failed = |e: serde_json::Error| Error::Failed(format!("cannot write the model: {e}"));
    let facts = serde_json::to_string(facts).map_err(failed)?;
    let sha256 = checksum(tensors, &signed(model, &facts));
    let header = Header { model: model.to_owned(), sha256, facts };
    let text = serde_json::to_string(&header).map_err(failed)?;
    write_atomically(path, &encode(tensors, text)?)
}

/// A file that has been read.
pub(super) struct ModelFile(TensorFile);

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<ModelFile> {
    Ok(ModelFile(TensorFile::read(path)?))
}

impl ModelFile {
    /// Which model it is.
    pub(super) fn model(&self) -> Result<String> {
        Ok(header(&self.0.tensors()?)?.model)
    }

    /// Its tensors, exactly those of these names, and its facts, after the checksum was found right.
    pub(super) fn open<F: DeserializeOwned>(
        &self,
        wanted: &str,
        names: &[&str],
    ) -> Result<(Tensors<'_>, F)> {
        let tensors = self.0.tensors()?;
        let Header { model, sha256, facts } = header(&tensors)?;
        if model != wanted {
            return Err(tensors.fault(format!(
                "holds a model of the kind '{}', not '{wanted}'",
                shortened(&model)
            )));
        }
        if sha256 != tensors.checksum(&signed(&model, &facts)) {
            return Err(tensors.fault("damaged: the checksum does not fit the contents"));
        }
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        tensors.only(&names)?;
        match serde_json::from_str(&facts) {
            Ok(facts) => Ok((tensors, facts)),
            Err(_) => Err(tensors.fault("what it says about itself cannot be understood")),
        }
    }
}

fn header(tensors: &Tensors<'_>) -> Result<Header> {
    serde_json::from_str(&tensors.text).map_err(|_| {
        tensors.fault(
            "not a model of `threadcount compare --save` (a network's file is evaluated by its run folder)",
        )
    })
}
