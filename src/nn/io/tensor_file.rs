//! Named tensors in a safetensors file, with one line of text beside them. Networks have floats only.

use super::weights::Found;
use crate::files::hex;
use crate::names::{shortened, shortened_middle};
use crate::{Error, Result};
use bytemuck::Pod;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The only key of the files' metadata. Several would be written in no fixed order, and the same run would
/// not always give the same file.
const META: &str = "threadcount";
/// The longest message of the safetensors crate that is repeated whole.
const LONGEST: usize = 200;

/// What tensors are made of.
pub(crate) trait Element: Pod {
    /// Its name in files.
    const DTYPE: Dtype;

    /// Whether a model may hold it.
    fn is_finite(self) -> bool;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;

    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;

    fn is_finite(self) -> bool {
        true
    }
}

impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;

    fn is_finite(self) -> bool {
        true
    }
}

/// A tensor to be written.
pub(crate) struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// A tensor of that shape, row-major.
    pub(crate) fn new<T: Element>(name: impl Into<String>, shape: &[usize], data: &'a [T]) -> Self {
        let (shape, bytes) = (shape.to_vec(), bytemuck::cast_slice(data));
        Self { name: name.into(), shape, dtype: T::DTYPE, bytes }
    }

    /// A tensor with one axis.
    pub(crate) fn flat<T: Element>(name: impl Into<String>, data: &'a [T]) -> Self {
        Self::new(name, &[data.len()], data)
    }
}

/// The bytes of a file that holds these tensors and this text.
pub(crate) fn encode(tensors: &[Tensor<'_>], text: String) -> Result<Vec<u8>> {
    let failed = |e| Error::Failed(format!("cannot put the tensors into a safetensors file: {e}"));
    let mut views = Vec::with_capacity(tensors.len());
    for t in tensors {
        let view = TensorView::new(t.dtype, t.shape.clone(), t.bytes).map_err(failed)?;
        views.push((t.name.as_str(), view));
    }
    let meta = HashMap::from([(META.to_owned(), text)]);
    safetensors::serialize(views, Some(meta)).map_err(failed)
}

/// A checksum of these tensors (names, shapes, numbers), whatever their order, and of `text`.
pub(crate) fn checksum(tensors: &[Tensor<'_>], text: &str) -> String {
    let mut parts = Vec::with_capacity(tensors.len());
    for t in tensors {
        parts.push((t.name.clone(), t.shape.clone(), t.bytes));
    }
    sum(parts, text)
}

/// A checksum of every part after its length, so that bytes cannot move from one part to another unnoticed.
fn sum(mut tensors: Vec<(String, Vec<usize>, &[u8])>, text: &str) -> String {
    tensors.sort_unstable();
    let mut sha = Sha256::new();
    let mut add = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    for (name, shape, data) in tensors {
        add(name.as_bytes());
        add(format!("{shape:?}").as_bytes());
        add(data);
    }
    add(text.as_bytes());
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

/// Which numbers a tensor may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Finite ones, for a network.
    Finite,
    /// Any: an optimizer's buffers may have overflowed.
    Any,
}

impl TensorFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self::of(path, fs::read(path).map_err(Error::io(path))?))
    }

    /// A file that has been read.
    pub(crate) fn of(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.to_owned(), bytes }
    }

    /// # Errors
    /// [`Error::Data`] if this is no safetensors file, or an incomplete one.
    pub(crate) fn tensors(&self) -> Result<Tensors<'_>> {
        let fault = |e: safetensors::SafeTensorError| {
            let reason = shortened_middle(&e.to_string(), LONGEST);
            Error::data(&self.path, format!("not a complete safetensors file ({reason})"))
        };
        let (_, header) = SafeTensors::read_metadata(&self.bytes).map_err(fault)?;
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(fault)?;
        let text = header.metadata().as_ref().and_then(|meta| meta.get(META)).cloned();
        Ok(Tensors { path: &self.path, text: text.unwrap_or_default(), tensors })
    }
}

impl Tensors<'_> {
    /// The sizes of a tensor's axes, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.tensors.tensor(name).ok()?.shape().to_vec())
    }

    /// All tensors in the order of their names.
    pub(crate) fn all(&self) -> Vec<Found> {
        let found = |(name, tensor): (&str, TensorView<'_>)| Found {
            name: name.to_owned(),
            shape: tensor.shape().to_vec(),
            data: (tensor.dtype() == Dtype::F32).then(|| {
                let numbers = tensor.data().chunks_exact(4);
                numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }),
        };
        let mut all: Vec<_> = self.tensors.iter().map(found).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Copies a tensor's elements to `to`.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing, has another type or shape, or holds a number that `numbers`
    /// forbids.
    pub(crate) fn copy(
        &self,
        name: &str,
        shape: &[usize],
        numbers: Numbers,
        to: &mut [f32],
    ) -> Result<()> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            return Err(self.fault(format!("it has no tensor '{name}'")));
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            let axes = tensor.shape();
            let mirrored = axes.iter().rev().eq(shape);
            return Err(self.fault(format!(
                "its tensor '{name}' is {:?} of shape {}, where F32 of shape {shape:?} belongs{}",
                tensor.dtype(),
                shortened(&format!("{axes:?}")),
                if mirrored && axes != shape { ": transpose it" } else { "" }
            )));
        }
        bytemuck::cast_slice_mut(to).copy_from_slice(tensor.data());
        if numbers == Numbers::Finite && to.iter().any(|x| !x.is_finite()) {
            return Err(self.fault(format!(
                "its tensor '{name}' holds what is not a finite number: the training had diverged, or \
                 the file is damaged"
            )));
        }
        Ok(())
    }

    /// All elements of a tensor, and the sizes of its axes, as many as `axes`.
    ///
    /// # Errors
    /// [`Error::Data`] if it is missing, has another type or other axes, or holds what is not finite.
    pub(crate) fn array<T: Element>(
        &self,
        name: &str,
        axes: usize,
    ) -> Result<(Vec<usize>, Vec<T>)> {
        let Ok(tensor) = self.tensors.tensor(name) else {
            return Err(self.fault(format!("it has no tensor '{name}'")));
        };
        if tensor.dtype() != T::DTYPE || tensor.shape().len() != axes {
            return Err(self.fault(format!(
                "its tensor '{name}' is {:?} with {} axes, where {:?} with {axes} belongs",
                tensor.dtype(),
                tensor.shape().len(),
                T::DTYPE
            )));
        }
        let mut elements = vec![T::zeroed(); tensor.data().len() / size_of::<T>()];
        bytemuck::cast_slice_mut(&mut elements).copy_from_slice(tensor.data());
        if !elements.iter().all(|element| element.is_finite()) {
            return Err(
                self.fault(format!("its tensor '{name}' holds what is not a finite number"))
            );
        }
        Ok((tensor.shape().to_vec(), elements))
    }

    /// Refuses tensors other than these.
    ///
    /// # Errors
    /// [`Error::Data`] that names one of them.
    pub(crate) fn only(&self, names: &[String]) -> Result<()> {
        let mut surplus: Vec<_> = self.tensors.names();
        surplus.retain(|name| !names.iter().any(|known| known == name));
        surplus.sort_unstable();
        match surplus.first() {
            None => Ok(()),
            Some(name) => Err(self.fault(format!(
                "it has a tensor '{}', which this network has not: it is of other layers",
                shortened(name)
            ))),
        }
    }

    /// The [`checksum`] of all tensors in the file and of `text`.
    pub(crate) fn checksum(&self, text: &str) -> String {
        let all = self.tensors.iter();
        sum(all.map(|(name, t)| (name.to_owned(), t.shape().to_vec(), t.data())).collect(), text)
    }

    /// An error about this file.
    pub(crate) fn fault(&self, fault: impl Into<String>) -> Error {
        Error::data(self.path, fault)
    }
}
