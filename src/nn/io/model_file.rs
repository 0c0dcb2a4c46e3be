//! A trained network as a safetensors file: its named parameters and moving statistics, and the scale
//! that its inputs need.

use std::path::Path;

use super::tensor_file::{Tensor, TensorFile, encode};
use crate::data::Scale;
use crate::files::write_atomically;
use crate::nn::model::{Model, TensorRef};
use crate::{Error, Result};

/// Names of the scale's tensors.
const FACTORS: &str = "input/factors";
const OFFSETS: &str = "input/offsets";

/// Writes a model.
pub(crate) fn write(path: &Path, model: &Model, scale: &Scale) -> Result<()> {
    let mut tensors =
        vec![Tensor::flat(FACTORS, scale.factors()), Tensor::flat(OFFSETS, scale.offsets())];
    for TensorRef { name, shape, data } in model.tensors() {
        tensors.push(Tensor { name, shape: shape.to_vec(), data });
    }
    write_atomically(path, &encode(&tensors, String::new())?)
}

/// Fills a model of the same layers, for samples of so many inputs, and returns their scale.
pub(crate) fn read(path: &Path, model: &mut Model, inputs: usize) -> Result<Scale> {
    let file = TensorFile::read(path)?;
    let tensors = file.tensors()?;
    for tensor in model.tensors_mut() {
        tensors.copy(&tensor.name, tensor.data)?;
    }
    let (mut factors, mut offsets) = (vec![0.0; inputs], vec![0.0; inputs]);
    tensors.copy(FACTORS, &mut factors)?;
    tensors.copy(OFFSETS, &mut offsets)?;
    Scale::from_parts(factors, offsets)
        .ok_or_else(|| Error::Failed(format!("{}: no scale of {inputs} inputs", path.display())))
}
