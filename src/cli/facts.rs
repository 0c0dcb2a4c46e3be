//! The machine's facts, as `info` prints them and every JSON document carries them.

use serde::Serialize;
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool};

/// What a measurement was made on and with. Sizes are in bytes.
#[derive(Serialize)]
pub(super) struct Facts {
    pub(super) cpu: &'static str,
    pub(super) platform: &'static str,
    pub(super) physical_cores: usize,
    pub(super) available_threads: usize,
    pub(super) l1d: Option<usize>,
    pub(super) l2: Option<usize>,
    pub(super) l3: Option<usize>,
    pub(super) memory: Option<u64>,
    pub(super) isas: Vec<&'static str>,
    pub(super) isa: &'static str,
    pub(super) threads: usize,
    pub(super) version: &'static str,
}

impl Facts {
    /// This machine, and the pool that works on it.
    pub(super) fn of(pool: &Pool) -> Self {
        let machine = machine();
        Self {
            cpu: &machine.cpu,
            platform: &machine.platform,
            physical_cores: machine.physical_cores,
            available_threads: machine.available_threads,
            l1d: machine.l1d,
            l2: machine.l2,
            l3: machine.l3,
            memory: machine.memory,
            isas: Isa::detected().map(Isa::name).collect(),
            isa: pool.isa().name(),
            threads: pool.threads(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
