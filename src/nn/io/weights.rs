//! Initial weights of a network, read from a file of this crate, of PyTorch or of Keras.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::foreign::{assign_arrays, assign_groups, numbered};
use super::model_file::{FACTORS, OFFSETS, Origin, check};
use super::tensor_file::TensorFile;
use crate::data::Scale;
use crate::files::hex;
use crate::names::shortened;
use crate::nn::model::exchange::Framework;
use crate::nn::model::{Model, PlannedLayer};
use crate::{Error, Result};

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// Its numbers; `None` if they are not 32-bit floats.
    pub(crate) data: Option<Vec<f32>>,
}

impl Found {
    /// # Errors
    /// The fault, if the numbers are of another type, or not finite.
    pub(super) fn floats(&self) -> std::result::Result<&[f32], String> {
        let name = shortened(&self.name);
        let Some(data) = &self.data else {
            return Err(format!(
                "its tensor '{name}' is not of 32-bit floats: save it as such (.float(), .astype('float32'))"
            ));
        };
        match data.iter().all(|x| x.is_finite()) {
            true => Ok(data),
            false => Err(format!(
                "its tensor '{name}' holds what is not a finite number: the training had diverged, or the file \
                 is damaged"
            )),
        }
    }
}

/// Weights in a file, for [`Session::init`](crate::train::Session::init): of a model that this crate saved
/// (`.safetensors`, tensors by name), of PyTorch (`.safetensors` with the tensors of a `state_dict`), or of
/// Keras (`.npz` with the arrays of `get_weights()`).
///
/// The file must hold the tensors of every layer with parameters, in its shapes, and no others. With
/// [`Self::with_new_layers`], some layers keep the weights drawn from the seed, and what the file has for
/// layers that the network does not have is left out.
#[derive(Clone, Debug)]
pub struct InitialWeights {
    path: PathBuf,
    sha256: String,
    /// `None` for a file with this crate's names.
    framework: Option<Framework>,
    origin: Option<Origin>,
    tensors: Vec<Found>,
    new_layers: Vec<String>,
}

/// What loading initial weights did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Initialised {
    /// Names of the layers that have the file's weights.
    pub loaded: Vec<String>,
    /// Names of the layers that were drawn from the seed.
    pub new: Vec<String>,
    /// What the file holds for layers that the network does not have, by the file's names.
    pub left_out: Vec<String>,
    /// The scale of the inputs that the weights were trained with, if the file has one.
    pub(crate) scale: Option<Scale>,
}

impl Initialised {
    /// Whether the file says how inputs were scaled for its weights. If so, inputs are scaled in the same
    /// way.
    pub fn has_scale(&self) -> bool {
        self.scale.is_some()
    }
}

impl InitialWeights {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] if the file is damaged, or of another format.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let whole = |framework, tensors| Self {
            path: path.to_owned(),
            sha256,
            framework,
            origin: None,
            tensors,
            new_layers: Vec::new(),
        };
        if bytes.starts_with(b"PK\x03\x04") {
            let is_pickled = path.extension().is_some_and(|e| e != "npz");
            let arrays = numbered(path, &bytes).map_err(|error| match error {
                Error::Data { path, .. } if is_pickled => Error::data(
                    path,
                    "neither safetensors nor .npz: save PyTorch's weights with \
                     safetensors.torch.save_file(model.state_dict(), path), Keras's with \
                     numpy.savez(path, *model.get_weights())",
                ),
                error => error,
            })?;
            return Ok(whole(Some(Framework::Keras), arrays));
        }
        if bytes.starts_with(b"\x89HDF") {
            return Err(Error::data(
                path,
                "an HDF5 file: save the weights with numpy.savez(path, *model.get_weights())",
            ));
        }
        let file = TensorFile::of(path, bytes);
        let tensors = file.tensors()?;
        let origin = check(&tensors)?;
        let all = tensors.all();
        let is_own = !tensors.text.is_empty() || all.iter().any(|found| found.name.contains('/'));
        let framework = (!is_own).then_some(Framework::PyTorch);
        Ok(Self { origin, ..whole(framework, all) })
    }

    /// The same weights, but the layers of these names are drawn from the seed, whatever the file has for
    /// them.
    #[must_use]
    pub fn with_new_layers(mut self, names: Vec<String>) -> Self {
        self.new_layers = names;
        self
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The framework that the weights come from: `threadcount`, `pytorch` or `keras`.
    pub fn format(&self) -> &'static str {
        self.framework.map_or("threadcount", Framework::name)
    }

    /// The run that the weights come from; `None` if the file does not say.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The names of the layers that are drawn from the seed.
    pub fn new_layers(&self) -> &[String] {
        &self.new_layers
    }

    /// Fills a model for samples of that many inputs. After an error, part of the model may have been
    /// filled.
    pub(crate) fn fill(&self, model: &mut Model, inputs: usize) -> Result<Initialised> {
        let new = model.plan().with_parameters("new-layers", &self.new_layers)?;
        let layers = model.plan().layers().iter().enumerate();
        let with_parameters = layers.filter(|(_, layer)| layer.parameter_count() > 0);
        let (mut loaded, mut drawn) = (Vec::new(), Vec::new());
        for (index, layer) in with_parameters {
            let list = if new.contains(&index) { &mut drawn } else { &mut loaded };
            list.push(layer.name.clone());
        }
        let left_out = match self.framework {
            None => self.fill_by_name(model, &loaded)?,
            Some(Framework::PyTorch) => assign_groups(self, model, &new)?,
            Some(Framework::Keras) => assign_arrays(self, model, &new)?,
        };
        let scale = self.scale(inputs)?;
        Ok(Initialised { loaded, new: drawn, left_out, scale })
    }

    /// The tensors of the file.
    pub(super) fn tensors(&self) -> &[Found] {
        &self.tensors
    }

    /// Whether something of the file may be left out.
    pub(super) fn may_leave_out(&self) -> bool {
        !self.new_layers.is_empty()
    }

    /// An error about the file.
    pub(super) fn fault(&self, fault: impl Into<String>) -> Error {
        Error::data(&self.path, fault)
    }

    /// The error that a tensor does not fit a layer.
    pub(super) fn misfit(&self, found: &Found, wanted: &[usize], layer: &str) -> Error {
        let shape = shortened(&format!("{:?}", found.shape));
        self.fault(format!(
            "its tensor '{}' has the shape {shape}, where {wanted:?} belongs (layer {layer}): take other layers, \
             or make {layer} one of the new-layers to draw it anew",
            shortened(&found.name)
        ))
    }

    fn fill_by_name(&self, model: &mut Model, loaded: &[String]) -> Result<Vec<String>> {
        let layer_of = |name: &str| name.rsplit_once('/').map_or("", |(layer, _)| layer).to_owned();
        let mut known = vec![FACTORS.to_owned(), OFFSETS.to_owned()];
        for tensor in model.tensors_mut() {
            known.push(tensor.name.clone());
            let layer = layer_of(&tensor.name);
            if !loaded.contains(&layer) {
                continue;
            }
            let Some(found) = self.tensors.iter().find(|found| found.name == tensor.name) else {
                return Err(self.fault(format!(
                    "it has no tensor '{}': take other layers, or make {layer} one of the new-layers to draw it anew",
                    tensor.name
                )));
            };
            if found.shape != tensor.shape {
                return Err(self.misfit(found, tensor.shape, &layer));
            }
            tensor.data.copy_from_slice(found.floats().map_err(|fault| self.fault(fault))?);
        }
        let surplus = self.tensors.iter().filter(|found| !known.contains(&found.name));
        let mut left_out: Vec<String> = surplus.map(|found| found.name.clone()).collect();
        left_out.sort_unstable();
        match left_out.first() {
            Some(name) if !self.may_leave_out() => Err(self.fault(format!(
                "it has a tensor '{}', which this network has not: it is of other layers",
                shortened(name)
            ))),
            _ => Ok(left_out),
        }
    }

    /// The scale in the file, for that many inputs. A scale that is the same for all inputs fits any number
    /// of them.
    fn scale(&self, inputs: usize) -> Result<Option<Scale>> {
        if self.framework.is_some() {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for name in [FACTORS, OFFSETS] {
            let Some(found) = self.tensors.iter().find(|found| found.name == name) else {
                return Ok(None);
            };
            let mut numbers = found.floats().map_err(|fault| self.fault(fault))?.to_vec();
            if numbers.len() != inputs {
                let Some(&first) = numbers.first().filter(|x| numbers.iter().all(|y| y == *x))
                else {
                    return Err(self.fault(format!(
                        "its tensor '{name}' has the shape {:?}, where [{inputs}] belongs: its inputs are scaled \
                         one by one, for samples of another size",
                        found.shape
                    )));
                };
                numbers = vec![first; inputs];
            }
            parts.push(numbers);
        }
        let offsets = parts.pop().unwrap_or_default();
        Ok(Scale::from_parts(parts.pop().unwrap_or_default(), offsets))
    }
}

/// Fills a layer's tensor in a model: `ours(tensor, fill)` for [`super::foreign`].
pub(super) fn fill_layer(
    model: &mut Model,
    layer: &PlannedLayer,
    tensor: &str,
    fill: &mut dyn FnMut(&mut [f32]),
) {
    let name = format!("{}/{tensor}", layer.name);
    if let Some(own) = model.tensors_mut().into_iter().find(|own| own.name == name) {
        fill(own.data);
    }
}
