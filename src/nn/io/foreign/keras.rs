//! The arrays of `get_weights()`, as `numpy.savez(path, *model.get_weights())` writes them: `arr_0`,
//! `arr_1`, ... in the order of the layers.

use std::path::Path;

use super::{copy, has_shape, layers};
use crate::nn::io::weights::{Found, InitialWeights, fill_layer};
use crate::nn::model::Model;
use crate::nn::model::exchange::Framework;
use crate::{Error, Result};

/// Fills the layers that are not `new`; returns the names of arrays that are left out.
pub(crate) fn assign(
    weights: &InitialWeights,
    model: &mut Model,
    new: &[usize],
) -> Result<Vec<String>> {
    let plan = model.plan().clone();
    let foreign = layers(&plan, Framework::Keras)?;
    let arrays = weights.tensors();
    let wanted: usize = foreign.iter().map(|layer| layer.tensors.len()).sum();
    // With another number of arrays, the first ones are known, up to the first new layer, if only new
    // layers follow.
    let first_new = new.first().copied().unwrap_or(foreign.len());
    let with_tensors = (first_new..foreign.len()).filter(|&i| !foreign[i].tensors.is_empty());
    let ends_new = !new.is_empty() && with_tensors.into_iter().all(|index| new.contains(&index));
    let known: usize = foreign[..first_new].iter().map(|layer| layer.tensors.len()).sum();
    let is_same = arrays.len() == wanted;
    let fits = is_same || (ends_new && arrays.len() >= known);
    if !fits {
        return Err(weights.fault(format!(
            "it has {} arrays, the network's layers {wanted}: take other layers (all of Keras's must have their \
             biases), or make the last ones new-layers to draw them anew",
            arrays.len()
        )));
    }
    let mut at = 0;
    for (index, layer) in foreign.iter().enumerate() {
        if !is_same && index >= first_new {
            break;
        }
        let own = &arrays[at..at + layer.tensors.len()];
        at += layer.tensors.len();
        if new.contains(&index) {
            continue;
        }
        let planned = &plan.layers()[index];
        for (expected, found) in layer.tensors.iter().zip(own) {
            if !has_shape(expected, &found.shape) {
                return Err(weights.misfit(found, expected.holds.shape(), &planned.name));
            }
        }
        let find = |name: &str| {
            let place = layer.tensors.iter().position(|tensor| tensor.name == name);
            place.map(|place| &own[place])
        };
        copy(layer, find, |tensor, fill| fill_layer(model, planned, tensor, fill))
            .map_err(|fault| weights.fault(fault))?;
    }
    Ok(arrays[at..].iter().map(|array| array.name.clone()).collect())
}

/// The arrays of an archive, in the order of their numbers.
///
/// # Errors
/// [`Error::Data`] if the arrays have other names, or the archive is incomplete.
#[cfg(feature = "numpy")]
pub(crate) fn numbered(path: &Path, bytes: &[u8]) -> Result<Vec<Found>> {
    let arrays = crate::data::read_npz(bytes).map_err(|fault| Error::data(path, fault))?;
    let mut numbered = Vec::new();
    for (name, shape, data) in arrays {
        let number = name.strip_prefix("arr_").and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else {
            return Err(Error::data(
                path,
                format!(
                    "its array '{}' has no number: save the weights with numpy.savez(path, *model.get_weights())",
                    crate::names::shortened(&name)
                ),
            ));
        };
        numbered.push((number, Found { name, shape, data }));
    }
    numbered.sort_by_key(|(number, _)| *number);
    if let Some(gap) = numbered.iter().enumerate().position(|(i, (number, _))| i != *number) {
        return Err(Error::data(path, format!("it has no array 'arr_{gap}'; restore the file")));
    }
    Ok(numbered.into_iter().map(|(_, found)| found).collect())
}

/// The bytes of an archive with these arrays, in this order.
#[cfg(feature = "numpy")]
pub(super) fn encode(tensors: &[Found]) -> Result<Vec<u8>> {
    let arrays = tensors.iter().enumerate().map(|(i, found)| {
        (format!("arr_{i}"), &found.shape[..], found.data.as_deref().unwrap_or_default())
    });
    crate::data::write_npz(arrays)
        .map_err(|error| Error::Failed(format!("cannot pack the arrays: {error}")))
}

#[cfg(not(feature = "numpy"))]
const WITHOUT: &str =
    "an .npz file, which this build cannot read or write: build it with the feature 'numpy'";

/// None can be read.
#[cfg(not(feature = "numpy"))]
pub(crate) fn numbered(path: &Path, _: &[u8]) -> Result<Vec<Found>> {
    Err(Error::data(path, WITHOUT))
}

/// None can be written.
#[cfg(not(feature = "numpy"))]
pub(super) fn encode(_: &[Found]) -> Result<Vec<u8>> {
    Err(Error::Failed(WITHOUT.to_owned()))
}
