//! Where the time of a training step goes: a stop-watch that a network carries where it is asked to.

use std::time::Instant;

/// A part of a training step. Layers that are executed as one have their parts together, under the
/// number of the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Picking the batch, before the network sees it.
    Gather,
    /// From input to output.
    Forward(usize),
    /// The loss and its gradient.
    Loss,
    /// The gradient by the input, where that by the weights and their step come after it.
    BackwardInput(usize),
    /// What is left of the way back.
    Backward(usize),
    /// The optimizer's sweep over what layers have not moved themselves.
    Update,
    /// All of several steps with one sample each, from forward to update.
    PerSample,
}

/// The times of the last step's parts.
#[derive(Clone, Debug)]
pub struct Laps {
    /// In the order of a step, with their seconds.
    parts: Vec<(Part, f64)>,
    since: Instant,
}

impl Laps {
    /// Before the first step of a network that does something in these layers.
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

    /// All parts there are, in the order of a step, with the seconds that each took; 0 of one that was
    /// not in it.
    pub fn parts(&self) -> &[(Part, f64)] {
        &self.parts
    }

    /// A step begins.
    pub(crate) fn begin(&mut self) {
        self.parts.iter_mut().for_each(|(_, seconds)| *seconds = 0.0);
        self.since = Instant::now();
    }

    /// The time since the last part belongs to this one.
    pub(crate) fn end(&mut self, part: Part) {
        let now = Instant::now();
        if let Some((_, seconds)) = self.parts.iter_mut().find(|(other, _)| *other == part) {
            *seconds += (now - self.since).as_secs_f64();
        }
        self.since = now;
    }
}
