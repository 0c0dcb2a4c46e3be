//! Weights in the layouts of other frameworks: the descriptions of the layers
//! ([`LayerKind::exchange`](crate::nn::LayerKind::exchange)), put together for a whole network.
//!
//! The layouts are documented in [`exchange`](crate::nn::exchange).

mod code;
mod keras;
mod pytorch;

pub(crate) use code::{Sequential, python};

use std::path::Path;

use super::weights::Found;
use crate::files::write_atomically;
use crate::nn::model::exchange::{Foreign, ForeignTensor, Framework, Holds, Place};
use crate::nn::model::{Model, Plan};
use crate::{Error, Result};

pub(super) use self::keras::{assign as assign_arrays, numbered};
pub(super) use pytorch::assign as assign_groups;

/// Writes a model's weights as a file of another framework.
///
/// # Errors
/// [`Error::Usage`] if the framework lacks one of the layers; [`Error::Io`].
pub(crate) fn write(path: &Path, model: &Model, framework: Framework) -> Result<()> {
    let layers = layers(model.plan(), framework)?;
    let tensors = model.tensors();
    let mut module = 0;
    let mut written = Vec::new();
    for (planned, layer) in model.plan().layers().iter().zip(&layers) {
        for tensor in &layer.tensors {
            let (shape, data) = match &tensor.holds {
                Holds::All(ours, view) | Holds::Bias(ours, view) => {
                    let name = format!("{}/{ours}", planned.name);
                    let own = tensors.iter().find(|tensor| tensor.name == name);
                    let own = own.map(|tensor| tensor.data).unwrap_or_default();
                    (view.shape.clone(), Some(view.indices().map(|i| own[i]).collect()))
                }
                Holds::Added(_, view) => {
                    (view.shape.clone(), Some(vec![0.0; view.indices().count()]))
                }
                Holds::Counter => (Vec::new(), None),
            };
            written.push(Found { name: format!("{module}.{}", tensor.name), shape, data });
        }
        module += layer.code.len();
    }
    let bytes = match framework {
        Framework::PyTorch => pytorch::encode(&written)?,
        Framework::Keras => keras::encode(&written)?,
    };
    write_atomically(path, &bytes)
}

/// Each layer of a plan in another framework.
///
/// # Errors
/// [`Error::Usage`] that names a layer that the framework lacks.
pub(super) fn layers(plan: &Plan, framework: Framework) -> Result<Vec<Foreign>> {
    let mut image = None;
    let mut layers = Vec::new();
    for planned in plan.layers() {
        let place = Place { input: planned.input, image };
        let Some(exchange) = planned.layer.exchange(&place) else {
            return Err(Error::Usage(format!(
                "layer {}: {} has no such layer",
                planned.name,
                framework.name()
            )));
        };
        image = exchange.image;
        layers.push(match framework {
            Framework::PyTorch => exchange.pytorch,
            Framework::Keras => exchange.keras,
        });
    }
    if framework == Framework::PyTorch && image.is_some() {
        return Err(Error::Usage(
            "the outputs are the elements of an image, which pytorch has in another order: end the \
             network in a dense layer"
                .to_owned(),
        ));
    }
    Ok(layers)
}

/// Whether a tensor of this shape is what a layer expects.
fn has_shape(expected: &ForeignTensor, shape: &[usize]) -> bool {
    match &expected.holds {
        Holds::All(_, view) | Holds::Bias(_, view) | Holds::Added(_, view) => view.shape == shape,
        Holds::Counter => shape.iter().product::<usize>() == 1,
    }
}

/// Copies the tensors of another framework's layer into ours, which begins as zeros. `find` returns the
/// other layer's tensor of a name, which has the right shape.
///
/// # Errors
/// The fault of a tensor whose numbers are of another type, or not finite.
fn copy<'a>(
    layer: &Foreign,
    find: impl Fn(&str) -> Option<&'a Found>,
    mut ours: impl FnMut(&str, &mut dyn FnMut(&mut [f32])),
) -> std::result::Result<(), String> {
    for tensor in &layer.tensors {
        let (name, view, is_added) = match &tensor.holds {
            Holds::All(name, view) | Holds::Bias(name, view) => (name, view, false),
            Holds::Added(name, view) => (name, view, true),
            Holds::Counter => continue,
        };
        let Some(found) = find(tensor.name) else {
            // A missing second bias adds nothing.
            if !is_added {
                ours(name, &mut |to| to.fill(0.0));
            }
            continue;
        };
        let data = found.floats()?;
        ours(name, &mut |to| {
            for (from, at) in data.iter().zip(view.indices()) {
                to[at] = if is_added { to[at] + from } else { *from };
            }
        });
    }
    Ok(())
}
