//! The tensors of a `state_dict`, in a safetensors file. A file keeps names, but not the order of modules.
//! Which module is which layer follows from the numbers in the names and from the shapes; a file for which
//! it does not is refused.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};

use super::{copy, has_shape, layers};
use crate::names::shortened;
use crate::nn::io::weights::{Found, InitialWeights, fill_layer};
use crate::nn::model::Model;
use crate::nn::model::exchange::{Foreign, Framework, Holds};
use crate::{Error, Result};

/// The tensors of one module.
struct Module<'a> {
    /// `features.3`
    prefix: &'a str,
    tensors: Vec<(&'a str, &'a Found)>,
}

/// Modules whose names differ in numbers only, in the order of these numbers.
type Row<'a> = Vec<Module<'a>>;

/// The most tries of a search: more than a network needs whose modules have sensible names.
const MOST_TRIES: usize = 100_000;

/// Fills the layers that are not `new`; returns the prefixes of modules that are left out.
pub(crate) fn assign(
    weights: &InitialWeights,
    model: &mut Model,
    new: &[usize],
) -> Result<Vec<String>> {
    let plan = model.plan().clone();
    let foreign = layers(&plan, Framework::PyTorch)?;
    let rows = rows(weights.tensors());
    let modules: usize = rows.iter().map(Vec::len).sum();
    let with_tensors = (0..foreign.len()).filter(|&i| !foreign[i].tensors.is_empty());
    let slots: Vec<Slot<'_>> = with_tensors
        .map(|index| Slot {
            index,
            name: &plan.layers()[index].name,
            foreign: &foreign[index],
            is_new: new.contains(&index),
        })
        .collect();
    let wanted = slots.iter().filter(|slot| !slot.is_new).count();
    let may_differ = weights.may_leave_out() && modules >= wanted;
    if modules != slots.len() && !may_differ {
        let prefixes: Vec<_> = rows.iter().flatten().map(|module| module.prefix).collect();
        return Err(weights.fault(format!(
            "it has {modules} modules with tensors ({}), the network {} layers with parameters ({})",
            shortened(&prefixes.join(", ")),
            slots.len(),
            slots.iter().map(|slot| slot.name).collect::<Vec<_>>().join(", ")
        )));
    }
    let mut search = Search {
        rows: &rows,
        slots: &slots,
        surplus: modules - wanted,
        taken: vec![0; rows.len()],
        chosen: Vec::new(),
        found: Vec::new(),
        tries: 0,
        furthest: 0,
        misfit: None,
    };
    search.go(0, 0);
    let (furthest, tries) = (search.furthest, search.tries);
    let (misfit, mut found) = (search.misfit, search.found);
    if found.len() > 1 || tries >= MOST_TRIES {
        return Err(weights.fault(
            "its modules fit the layers in more than one way: rename them as 0, 1, 2, ... in the order of the \
             layers ('0.weight')",
        ));
    }
    let Some(chosen) = found.pop() else {
        return Err(match misfit {
            Some((tensor, shape)) => weights.misfit(tensor, &shape, slots[furthest].name),
            None => {
                let slot = &slots[furthest.min(slots.len() - 1)];
                let names: Vec<_> = slot.foreign.tensors.iter().map(|tensor| tensor.name).collect();
                weights.fault(format!(
                    "no module of it stands where layer {} does, with the tensors {}",
                    slot.name,
                    names.join(", ")
                ))
            }
        });
    };
    for (slot, &(row, at)) in slots.iter().filter(|slot| !slot.is_new).zip(&chosen) {
        let module = &rows[row][at];
        let find = |name: &str| {
            module.tensors.iter().find(|(own, _)| *own == name).map(|(_, found)| *found)
        };
        let layer = &plan.layers()[slot.index];
        copy(slot.foreign, find, |tensor, fill| fill_layer(model, layer, tensor, fill))
            .map_err(|fault| weights.fault(fault))?;
    }
    let mut left_out = Vec::new();
    for (row, modules) in rows.iter().enumerate() {
        for (at, module) in modules.iter().enumerate() {
            // If there are as many modules as layers, those of new layers are not reported as left out.
            if !chosen.contains(&(row, at)) && modules_differ(&slots, &rows) {
                left_out.push(module.prefix.to_owned());
            }
        }
    }
    Ok(left_out)
}

fn modules_differ(slots: &[Slot<'_>], rows: &[Row<'_>]) -> bool {
    rows.iter().map(Vec::len).sum::<usize>() != slots.len()
}

/// A layer that has tensors.
struct Slot<'a> {
    /// Index in the plan.
    index: usize,
    name: &'a str,
    foreign: &'a Foreign,
    is_new: bool,
}

/// Searches for the ways to assign modules to layers.
struct Search<'a> {
    rows: &'a [Row<'a>],
    slots: &'a [Slot<'a>],
    /// How many modules no layer takes.
    surplus: usize,
    /// How many modules of each row have been taken or left out.
    taken: Vec<usize>,
    /// The module of each layer that is not new: its row and its index there.
    chosen: Vec<(usize, usize)>,
    /// The assignments found. Two are enough to know that there is more than one.
    found: Vec<Vec<(usize, usize)>>,
    tries: usize,
    furthest: usize,
    /// At the furthest layer reached, a tensor of the right name, and the shape that it should have.
    misfit: Option<(&'a Found, Vec<usize>)>,
}

impl<'a> Search<'a> {
    fn go(&mut self, slot: usize, left_out: usize) {
        self.tries += 1;
        if self.found.len() > 1 || self.tries >= MOST_TRIES {
            return;
        }
        if slot > self.furthest {
            (self.furthest, self.misfit) = (slot, None);
        }
        let Some(layer) = self.slots.get(slot) else {
            if left_out == self.surplus && !self.found.contains(&self.chosen) {
                self.found.push(self.chosen.clone());
            }
            return;
        };
        if layer.is_new {
            // The modules that stood here have been left out.
            self.go(slot + 1, left_out);
        }
        let rows = self.rows;
        for (row, modules) in rows.iter().enumerate() {
            let Some(module) = modules.get(self.taken[row]) else { continue };
            if layer.is_new {
                if left_out < self.surplus && module.is_kind(layer.foreign) {
                    self.taken[row] += 1;
                    self.go(slot, left_out + 1);
                    self.taken[row] -= 1;
                }
                continue;
            }
            match module.fits(layer.foreign) {
                Fit::Well => {
                    self.chosen.push((row, self.taken[row]));
                    self.taken[row] += 1;
                    self.go(slot + 1, left_out);
                    self.taken[row] -= 1;
                    self.chosen.pop();
                }
                Fit::OtherShape(tensor, shape) => {
                    if slot == self.furthest {
                        self.misfit.get_or_insert((tensor, shape));
                    }
                }
                Fit::OtherKind => {}
            }
        }
    }
}

enum Fit<'a> {
    Well,
    OtherShape(&'a Found, Vec<usize>),
    OtherKind,
}

impl<'a> Module<'a> {
    /// Whether it has the tensors of such a layer, whatever their sizes.
    fn is_kind(&self, layer: &Foreign) -> bool {
        let is_known = |name: &str| layer.tensors.iter().any(|tensor| tensor.name == name);
        let is_there = |name: &str| self.tensors.iter().any(|(own, _)| *own == name);
        self.tensors.iter().all(|(name, _)| is_known(name))
            && layer
                .tensors
                .iter()
                .all(|tensor| !matches!(tensor.holds, Holds::All(..)) || is_there(tensor.name))
            && self.ranks_are(layer)
    }

    /// A convolution's weight has four axes, a dense layer's two, a normalisation's one.
    fn ranks_are(&self, layer: &Foreign) -> bool {
        self.tensors.iter().all(|(name, found)| {
            layer.tensors.iter().any(|tensor| match &tensor.holds {
                Holds::All(_, view) | Holds::Bias(_, view) | Holds::Added(_, view) => {
                    tensor.name == *name && view.shape.len() == found.shape.len()
                }
                Holds::Counter => tensor.name == *name,
            })
        })
    }

    fn fits(&self, layer: &Foreign) -> Fit<'a> {
        if !self.is_kind(layer) {
            return Fit::OtherKind;
        }
        for expected in &layer.tensors {
            let Some((_, found)) = self.tensors.iter().find(|(name, _)| *name == expected.name)
            else {
                continue;
            };
            if !has_shape(expected, &found.shape) {
                return Fit::OtherShape(found, expected.holds.shape().to_vec());
            }
        }
        Fit::Well
    }
}

/// The modules of a file, in rows.
fn rows(tensors: &[Found]) -> Vec<Row<'_>> {
    let mut modules: HashMap<&str, Vec<(&str, &Found)>> = HashMap::new();
    for found in tensors {
        let (prefix, name) = found.name.rsplit_once('.').unwrap_or(("", &found.name));
        modules.entry(prefix).or_default().push((name, found));
    }
    let mut rows: BTreeMap<String, Vec<(Vec<u128>, Module<'_>)>> = BTreeMap::new();
    for (prefix, tensors) in modules {
        let (pattern, numbers) = pattern(prefix);
        rows.entry(pattern).or_default().push((numbers, Module { prefix, tensors }));
    }
    let sorted = rows.into_values().map(|mut row| {
        row.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.prefix.cmp(y.prefix)));
        row.into_iter().map(|(_, module)| module).collect()
    });
    sorted.collect()
}

/// A name without its numbers, and the numbers: `features.12` is `features.#` with 12. `fc` is `fc#` with
/// none, before `fc2`.
fn pattern(prefix: &str) -> (String, Vec<u128>) {
    let (mut pattern, mut numbers) = (String::new(), Vec::new());
    let mut digits = String::new();
    for c in prefix.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            pattern.push('#');
            numbers.push(digits.parse().unwrap_or(u128::MAX));
            digits.clear();
        }
        if c != '\0' {
            pattern.push(c);
        }
    }
    (pattern, numbers)
}

/// The bytes of a safetensors file with these tensors; those without floats are counters.
pub(super) fn encode(tensors: &[Found]) -> Result<Vec<u8>> {
    const ZERO: [u8; 8] = [0; 8];
    let failed = |e| Error::Failed(format!("cannot put the tensors into a safetensors file: {e}"));
    let mut views = Vec::with_capacity(tensors.len());
    for found in tensors {
        let view = match &found.data {
            Some(data) => {
                TensorView::new(Dtype::F32, found.shape.clone(), bytemuck::cast_slice(data))
            }
            None => TensorView::new(Dtype::I64, Vec::new(), &ZERO),
        };
        views.push((found.name.as_str(), view.map_err(failed)?));
    }
    safetensors::serialize(views, None).map_err(failed)
}
