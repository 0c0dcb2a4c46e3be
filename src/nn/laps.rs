//! Where the time of a training step goes: an optional timer of a network.

use std::time::Instant;

/// A part of a training step. Layers that are executed as one share their parts, under the index of the
/// first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Gathering the batch, before the network sees it.
    Gather,
    /// The forward pass of the layer with this index.
    Forward(usize),
    /// The loss and its gradient.
    Loss,
    /// The input gradient of the layer, if its weight gradient and their step come after it.
    BackwardInput(usize),
    /// The rest of the layer's backward pass.
    Backward(usize),
    /// The optimizer's sweep over the parameters that are not updated in a backward pass.
    Update,
    /// Several steps of one sample each, from forward to update.
    PerSample,
}

/// The times of the last step's parts.
#[derive(Clone, Debug)]
pub struct Laps {
    /// In the order of a step, with the seconds of each.
    parts: Vec<(Part, f64)>,
    since: Instant,
}

impl Laps {
    /// A timer for a network that computes something in the layers with these indices.
    pub(crate) fn new(layers: &[usize]) -> Self {
        let forward = layers.iter().map(|&layer| Part::Forward(layer));
        let backward = layers.iter().rev();
        let backward =
            backward.flat_map(|&layer| [Part::BackwardInput(layer), Part::Backward(layer)]);
        let parts = std::iter::once(Part::Gather)
            .chain(forward)
            .chain([Part::Loss])
            .chain(backward)
            .chain([Part::Update, Part::PerSample]);
        Self { parts: parts.map(|part| (part, 0.0)).collect(), since: Instant::now() }
    }

    /// All parts in the order of a step, with the seconds that each took in the last step; 0 if it did not
    /// occur.
    pub fn parts(&self) -> &[(Part, f64)] {
        &self.parts
    }

    /// Starts the timer for a new step.
    pub(crate) fn begin(&mut self) {
        self.parts.iter_mut().for_each(|(_, seconds)| *seconds = 0.0);
        self.since = Instant::now();
    }

    /// Adds the time since the end of the previous part to this one.
    pub(crate) fn end(&mut self, part: Part) {
        let now = Instant::now();
        if let Some((_, seconds)) = self.parts.iter_mut().find(|(other, _)| *other == part) {
            *seconds += (now - self.since).as_secs_f64();
        }
        self.since = now;
    }
}
