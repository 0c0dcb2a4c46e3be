//! Named float tensors in a safetensors file, with one line of text beside them.

use crate::files::hex;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The one key of the files' metadata. More than one would be written in no fixed order, and the
/// same run would not always give the same file.
const META: &str = "threadcount";

/// A tensor to be written.
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: &'a [f32],
}

impl<'a> Tensor<'a> {
    /// A tensor with one axis.
    pub(crate) fn flat(name: impl Into<String>, data: &'a [f32]) -> Self {
        Self { name: name.into(), shape: vec![data.len()], data }
    }
}

/// The bytes of a file that holds these tensors and this text.
pub(crate) fn encode(tensors: &[Tensor<'_>], text: String) -> Result<Vec<u8>> {
    let failed = |e| Error::Failed(format!("cannot put the tensors into a safetensors file: {e}"));
    let mut views = Vec::with_capacity(tensors.len());
    for t in tensors {
        let bytes = bytemuck::cast_slice(t.data);
        let view = TensorView::new(Dtype::F32, t.shape.clone(), bytes).map_err(failed)?;
        views.push((t.name.as_str(), view));
    }
    let meta = HashMap::from([(META.to_owned(), text)]);
    safetensors::serialize(views, Some(meta)).map_err(failed)
}

/// A checksum of these tensors, in the order of their names, and of `text`.
pub(crate) fn checksum<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    text: &str,
) -> String {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_unstable();
    let mut sha = Sha256::new();
    for (name, bytes) in tensors {
        sha.update(name);
        sha.update([0]);
        sha.update(bytes);
    }
    sha.update(text);
    hex(&sha.finalize())
}

/// A file of tensors, read whole.
pub(crate) struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// What is in a [`TensorFile`].
pub(crate) struct Tensors<'a> {
    path: &'a Path,
    /// The text beside the tensors; empty if the file came from elsewhere.
    pub(crate) text: String,
    tensors: SafeTensors<'a>,
}

impl TensorFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// # Errors
    /// [`Error::Failed`] if this is no safetensors file, or not a whole one.
    pub(crate) fn tensors(&self) -> Result<Tensors<'_>> {
        let fault = |e| broken(&self.path, &format!("not a complete safetensors file ({e})"));
        let (_, header) = SafeTensors::read_metadata(&self.bytes).map_err(fault)?;
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(fault)?;
        let text = header.metadata().as_ref().and_then(|meta| meta.get(META)).cloned();
        Ok(Tensors { path: &self.path, text: text.unwrap_or_default(), tensors })
    }
}

impl Tensors<'_> {
    /// Copies a tensor's elements to where they belong.
    ///
    /// # Errors
    /// [`Error::Failed`] if it is not there, or of another type or length.
    pub(crate) fn copy(&self, name: &str, to: &mut [f32]) -> Result<()> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            return Err(self.fault(&format!("it has no tensor '{name}'")));
        };
        let same = tensor.dtype() == Dtype::F32 && tensor.data().len() == size_of_val(to);
        if !same {
            return Err(self.fault(&format!(
                "its tensor '{name}' is {:?} of shape {:?}, where {} floats belong",
                tensor.dtype(),
                tensor.shape(),
                to.len()
            )));
        }
        bytemuck::cast_slice_mut(to).copy_from_slice(tensor.data());
        Ok(())
    }

    /// The [`checksum`] of all tensors in the file and of `text`.
    pub(crate) fn checksum(&self, text: &str) -> String {
        checksum(self.tensors.iter().map(|(name, view)| (name, view.data())), text)
    }

    /// An error about this file.
    pub(crate) fn fault(&self, fault: &str) -> Error {
        broken(self.path, fault)
    }
}

fn broken(path: &Path, fault: &str) -> Error {
    Error::Failed(format!("{}: {fault}", path.display()))
}
