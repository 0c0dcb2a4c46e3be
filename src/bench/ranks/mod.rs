//! Training in several ranks: what it reaches here, and what it would reach on more machines.
//!
//! - `measure`: the steps of the ranks that there are, how long they wait for each other, and how long the same
//!   messages take alone; the parts of a step of one rank, at two sizes of its share of a batch; a message's latency
//! - `script`: what a rank does in a step: what it computes, how long that takes for any number of samples, and the
//!   messages between
//! - `simulate`: such a script on any number of ranks, message by message, over a link of some latency and bandwidth
//!
//! What is measured here is the program's own cost: of computing, and of a message, whose copies and wake-ups cost the
//! same whatever carries it. What is assumed is a network's latency and bandwidth, which come on top of it.

mod measure;
mod script;
mod simulate;
#[cfg(test)]
mod twin;

pub use measure::{Costs, SharedRate, measure_shared, measure_shared_with_costs};
pub use script::{Item, Script, SharedStep};
pub use simulate::{LinkCost, Steps, simulate};

/// A network, and what is assumed of it: of a message from one rank to another, when nothing else is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fabric {
    /// What it is called.
    pub name: &'static str,
    /// Its latency and the time of a byte.
    pub link: LinkCost,
}

/// The networks that rates are foretold for. Of Ethernet, TCP leaves 94 % of the bandwidth.
pub const FABRICS: [Fabric; 3] = [
    Fabric { name: "10 Gbit/s", link: LinkCost { latency: 25e-6, per_byte: 1.0 / 1.18e9 } },
    Fabric { name: "100 Gbit/s", link: LinkCost { latency: 10e-6, per_byte: 1.0 / 11.8e9 } },
    Fabric { name: "fabric", link: LinkCost { latency: 1.5e-6, per_byte: 1.0 / 24e9 } },
];

/// The numbers of ranks that rates are foretold for.
pub const RANKS: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
