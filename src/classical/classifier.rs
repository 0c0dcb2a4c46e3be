//! Any of the classical classifiers: fitted, asked, saved and loaded in the same way.

use std::path::Path;

use serde::{Deserialize, Serialize};
use threadcount_kernels::Team;

use super::forest::{self, Bins, ColumnKind, ForestSettings};
use super::kind::Kind;
use super::lbfgs::Minimised;
use super::model_file;
use super::{GoOn, Logistic, LogisticSettings, Neighbours, SampleForest, TO_THE_END};
use crate::data::{MOST_CLASSES, Row, Samples, Shape};
use crate::names::shortened;
use crate::nn::io::tensor_file::{Tensor, Tensors};
use crate::{Error, Result};

const WEIGHTS: &str = "weights";
const INTERCEPTS: &str = "intercepts";
const CLASSES: &str = "classes";
const INPUTS: &str = "inputs";
const LABELS: &str = "labels";
const EDGES: &str = "bins/edges";
const BINS: &str = "bins/edge-counts";

/// Settings of all three.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Of the logistic regression.
    pub logistic: LogisticSettings,
    /// How many neighbours vote.
    pub k: usize,
    /// Of the forest.
    pub forest: ForestSettings,
}

impl Settings {
    /// Checks what can be checked without samples.
    ///
    /// # Errors
    /// [`Error::Setting`] that names a setting which cannot be.
    pub fn check(&self) -> Result<()> {
        self.logistic.check()?;
        self.forest.check()
    }
}

impl Default for Settings {
    fn default() -> Self {
        let forest = ForestSettings::classification(0);
        Self { logistic: LogisticSettings::default(), k: 5, forest }
    }
}

/// What a classifier was fitted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The sizes of a sample.
    pub sample: Vec<usize>,
    /// The names of the classes, by their numbers.
    pub classes: Vec<String>,
    /// The label that class 0 has in the files of its set.
    pub first_label: u32,
    /// What the set was, such as `fashion-mnist`; empty if nobody said.
    pub data: String,
}

/// A fitted classifier.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Model,
    facts: Facts,
    minimised: Option<Minimised>,
}

#[derive(Clone, Debug)]
enum Model {
    Logistic(Logistic),
    Neighbours(Neighbours),
    Forest(SampleForest),
}

/// The text beside the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    facts: Facts,
    /// Whether inputs are bytes, or floats.
    are_bytes: bool,
    /// How many neighbours vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
}

/// The tensors of a file of that kind.
fn tensors(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Logistic => vec![WEIGHTS, INTERCEPTS, CLASSES],
        Kind::Neighbours => vec![INPUTS, LABELS],
        Kind::Forest => [&forest::TENSORS[..], &[EDGES, BINS]].concat(),
    }
}

impl Classifier {
    /// Fits one. `go_on` is asked after each iteration of the logistic regression, which ends with what it has then, and
    /// at each node of the forest.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if a forest was stopped; [`Error::Mismatch`] for samples that have no classes, or floats that are not finite; [`Error::Setting`];
    /// [`Error::Memory`].
    pub fn fit(
        kind: Kind,
        team: &Team,
        samples: &Samples,
        settings: &Settings,
        go_on: &GoOn<'_>,
    ) -> Result<Self> {
        let mut minimised = None;
        let model = match kind {
            Kind::Logistic => {
                let (model, done) = Logistic::fit(team, samples, &settings.logistic, |_| go_on())?;
                minimised = Some(done);
                Model::Logistic(model)
            }
            Kind::Neighbours => Model::Neighbours(Neighbours::fit(samples, settings.k)?),
            Kind::Forest => {
                Model::Forest(SampleForest::fit_while(team, samples, &settings.forest, go_on)?)
            }
        };
        let facts = Facts {
            sample: samples.shape().dims().to_vec(),
            classes: samples.class_names().to_vec(),
            first_label: 0,
            data: String::new(),
        };
        Ok(Self { model, facts, minimised })
    }

    /// The same of a set with that name, in whose files class 0 has that label.
    #[must_use]
    pub fn of_set(mut self, data: &str, first_label: u32) -> Self {
        (self.facts.data, self.facts.first_label) = (data.to_owned(), first_label);
        self
    }

    /// Which it is.
    pub fn kind(&self) -> Kind {
        match self.model {
            Model::Logistic(_) => Kind::Logistic,
            Model::Neighbours(_) => Kind::Neighbours,
            Model::Forest(_) => Kind::Forest,
        }
    }

    /// What it was fitted to.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How its fit ended, if it was a minimisation; a loaded one does not know.
    pub fn minimised(&self) -> Option<Minimised> {
        self.minimised
    }

    /// The nearest neighbours, if it is they.
    pub fn neighbours(&self) -> Option<&Neighbours> {
        match &self.model {
            Model::Neighbours(model) => Some(model),
            _ => None,
        }
    }

    /// The probabilities of the classes of each sample, `[n, classes]`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if samples do not fit those that it was fitted to; [`Error::Memory`].
    pub fn probabilities(&self, team: &Team, samples: &Samples) -> Result<Vec<f64>> {
        self.probabilities_while(team, samples, TO_THE_END)
    }

    /// The same, which `go_on` may stop while neighbours are searched.
    ///
    /// # Errors
    /// As [`Self::probabilities`]; [`Error::Interrupted`].
    pub fn probabilities_while(
        &self,
        team: &Team,
        samples: &Samples,
        go_on: &GoOn<'_>,
    ) -> Result<Vec<f64>> {
        match &self.model {
            Model::Logistic(model) => model.probabilities(team, samples),
            Model::Neighbours(model) => model.probabilities_while(team, samples, go_on),
            Model::Forest(model) => model.probabilities(team, samples),
        }
    }

    /// Bytes that the model takes in memory.
    pub fn bytes(&self) -> u64 {
        match &self.model {
            Model::Logistic(model) => model.bytes(),
            Model::Neighbours(model) => model.bytes(),
            Model::Forest(model) => model.bytes(),
        }
    }

    /// Saves it as a safetensors file. Nearest neighbours are saved with all their samples.
    ///
    /// # Errors
    /// [`Error::Io`]; then a file that was there before is unchanged.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut saved = Saved { facts: self.facts.clone(), are_bytes: true, k: None };
        let name = self.kind().name();
        match &self.model {
            Model::Logistic(Logistic { weights, intercepts, classes, .. }) => {
                let tensors = [
                    Tensor::new(WEIGHTS, &[weights.len() / classes.len(), classes.len()], weights),
                    Tensor::flat(INTERCEPTS, intercepts),
                    Tensor::flat(CLASSES, classes),
                ];
                model_file::write(path, name, &saved, &tensors)
            }
            Model::Neighbours(Neighbours { train, k }) => {
                let (mut bytes, mut floats) = (Vec::new(), Vec::new());
                for i in 0..train.len() {
                    match train.row(i) {
                        Row::Bytes(row) => bytes.extend_from_slice(row),
                        Row::Floats(row) => floats.extend_from_slice(row),
                    }
                }
                let shape = [train.len(), train.shape().len()];
                saved.are_bytes = floats.is_empty();
                saved.k = Some(*k);
                let inputs = match saved.are_bytes {
                    true => Tensor::new(INPUTS, &shape, &bytes),
                    false => Tensor::new(INPUTS, &shape, &floats),
                };
                let tensors = [inputs, Tensor::flat(LABELS, train.labels())];
                model_file::write(path, name, &saved, &tensors)
            }
            Model::Forest(SampleForest { forest, bins, .. }) => {
                saved.are_bytes = bins.is_none();
                let flat = forest::Flat::of(forest);
                let mut tensors = Vec::from(flat.tensors());
                let (mut edges, mut counts) = (Vec::new(), Vec::new());
                for bins in bins.iter().flatten() {
                    edges.extend_from_slice(bins.edges());
                    counts.push(bins.edges().len() as u32);
                }
                if bins.is_some() {
                    tensors.extend([Tensor::flat(EDGES, &edges), Tensor::flat(BINS, &counts)]);
                }
                model_file::write(path, name, &saved, &tensors)
            }
        }
    }

    /// Loads one that [`Self::save`] saved.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no file, [`Error::Data`] if it is damaged or something else.
    pub fn load(path: &Path) -> Result<Self> {
        let file = model_file::read(path)?;
        let name = file.model()?;
        let Some(kind) = Kind::from_name(&name) else {
            return Err(Error::data(
                path,
                format!("holds a model of the kind '{}', no classifier", shortened(&name)),
            ));
        };
        let (tensors, saved) = file.open::<Saved>(kind.name(), &tensors(kind))?;
        let shape = match saved.facts.sample[..] {
            [inputs] => Shape::Flat(inputs),
            [steps, inputs] => Shape::Rows([steps, inputs]),
            [height, width, channels] => Shape::Image([height, width, channels]),
            _ => return Err(tensors.fault("its samples have neither one, two nor three sizes")),
        };
        let classes = saved.facts.classes.len();
        if shape.is_empty() || !(1..=MOST_CLASSES).contains(&classes) {
            return Err(tensors.fault("its samples have no inputs, or no classes or too many"));
        }
        let model = match kind {
            Kind::Logistic => Model::Logistic(logistic(&tensors, shape, classes)?),
            Kind::Neighbours => Model::Neighbours(neighbours(&tensors, shape, &saved)?),
            Kind::Forest => Model::Forest(sample_forest(&tensors, shape, &saved)?),
        };
        Ok(Self { model, facts: saved.facts, minimised: None })
    }
}

fn logistic(tensors: &Tensors<'_>, shape: Shape, outputs: usize) -> Result<Logistic> {
    let (sizes, weights) = tensors.array::<f32>(WEIGHTS, 2)?;
    let (_, intercepts) = tensors.array::<f32>(INTERCEPTS, 1)?;
    let (_, classes) = tensors.array::<u8>(CLASSES, 1)?;
    let ascend = classes.windows(2).all(|pair| pair[0] < pair[1]);
    let are_known = classes.last().is_some_and(|&last| usize::from(last) < outputs);
    if sizes != [shape.len(), classes.len()] || intercepts.len() != classes.len() {
        return Err(tensors.fault("its weights, intercepts and classes do not fit each other"));
    }
    if !ascend || !are_known {
        return Err(tensors.fault("its classes are not those that it names"));
    }
    Ok(Logistic { shape, classes, outputs, weights, intercepts })
}

fn neighbours(tensors: &Tensors<'_>, shape: Shape, saved: &Saved) -> Result<Neighbours> {
    let (_, labels) = tensors.array::<u8>(LABELS, 1)?;
    let (sizes, inputs) = match saved.are_bytes {
        true => tensors.array::<u8>(INPUTS, 2).map(|(sizes, x)| (sizes, x.into()))?,
        false => tensors.array::<f32>(INPUTS, 2).map(|(sizes, x)| (sizes, x.into()))?,
    };
    if sizes != [labels.len(), shape.len()] {
        return Err(tensors.fault("its inputs and labels do not fit each other"));
    }
    let names: Vec<&str> = saved.facts.classes.iter().map(String::as_str).collect();
    let inputs: crate::data::Inputs = inputs;
    let model = Samples::new(shape, inputs, &labels)
        .and_then(|samples| samples.with_class_names(&names))
        .and_then(|samples| Neighbours::fit(&samples, saved.k.unwrap_or(0)));
    model.map_err(|error| tensors.fault(error.to_string()))
}

fn sample_forest(tensors: &Tensors<'_>, shape: Shape, saved: &Saved) -> Result<SampleForest> {
    let forest = forest::Flat::read(tensors)?.build().map_err(|fault| tensors.fault(fault))?;
    let are_inputs = forest.kinds().iter().all(|&kind| kind == ColumnKind::Ordered)
        && forest.kinds().len() == shape.len();
    if !are_inputs || forest.outputs() != saved.facts.classes.len() {
        return Err(tensors.fault("its forest is not one of such samples and classes"));
    }
    let bins = match saved.are_bytes {
        true => None,
        false => Some(bins(tensors, shape.len())?),
    };
    Ok(SampleForest { shape, forest, bins })
}

fn bins(tensors: &Tensors<'_>, inputs: usize) -> Result<Vec<Bins>> {
    let (_, edges) = tensors.array::<f64>(EDGES, 1)?;
    let (_, counts) = tensors.array::<u32>(BINS, 1)?;
    let mut left = edges.as_slice();
    let mut all = Vec::with_capacity(inputs);
    for count in counts {
        let Some((here, others)) = left.split_at_checked(count as usize) else { break };
        left = others;
        all.extend(Bins::of_edges(here.to_vec()));
    }
    match left.is_empty() && all.len() == inputs {
        true => Ok(all),
        false => Err(tensors.fault("its bins are not those of such samples")),
    }
}

/// The most probable class of each sample, of equals the lower one: `probabilities` is `[n, classes]`.
pub fn most_probable(probabilities: &[f64], classes: usize) -> Vec<u8> {
    let most = |row: &[f64]| {
        let better = |best: usize, class: usize| if row[class] > row[best] { class } else { best };
        (0..row.len()).fold(0, better) as u8
    };
    probabilities.chunks_exact(classes.max(1)).map(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_equally_probable_classes_wins() {
        let rows = [0.2, 0.4, 0.4, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(most_probable(&rows, 3), [1, 0, 2]);
        assert!(most_probable(&[], 3).is_empty());
    }
}
