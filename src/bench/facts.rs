//! The machine's facts, as `info` prints them and every JSON document carries them.

use super::system::hypervisor;
use crate::train::kernel_of;
use serde::{Deserialize, Serialize};
use threadcount_kernels::machine::machine;
use threadcount_kernels::{Isa, Pool, Precision};

/// What a measurement was made on and with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The machine that it was made on.
    #[serde(flatten)]
    pub machine: Fingerprint,
    /// The instruction set in use.
    pub isa: String,
    /// The precision of products; documents of older versions, which had one, do not say.
    #[serde(default = "f32")]
    pub precision: String,
    /// The kernel of bf16 products, where products are not in f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_kernel: Option<String>,
    /// The threads in use.
    pub threads: usize,
    /// The version of this program.
    pub version: String,
}

/// What distinguishes a machine from others. Sizes are in bytes; what the system does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The CPU's name.
    pub cpu: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The hypervisor, if this is a virtual machine.
    pub hypervisor: Option<String>,
    /// Cores that this process may run on.
    pub physical_cores: usize,
    /// Threads that it may run at once.
    pub available_threads: usize,
    /// First-level data cache of one core.
    pub l1d: Option<usize>,
    /// Second-level cache.
    pub l2: Option<usize>,
    /// Third-level cache.
    pub l3: Option<usize>,
    /// Memory.
    pub memory: Option<u64>,
    /// The instruction sets that kernels can be run with.
    pub isas: Vec<String>,
}

fn f32() -> String {
    Precision::F32.name().to_owned()
}

impl Facts {
    /// What computes, as one reads it: the instruction set, and the precision unless it is f32.
    pub fn computes(&self) -> String {
        match &self.bf16_kernel {
            None => self.isa.clone(),
            Some(kernel) => format!("{}, {} by {kernel}", self.isa, self.precision),
        }
    }

    /// This machine, and the pool that works on it.
    pub fn of(pool: &Pool) -> Self {
        let arithmetic = pool.arithmetic();
        Self {
            machine: Fingerprint::of_machine(),
            isa: pool.isa().name().to_owned(),
            precision: arithmetic.precision.name().to_owned(),
            bf16_kernel: kernel_of(arithmetic),
            threads: pool.threads(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Fingerprint {
    /// The fingerprint of this machine.
    pub fn of_machine() -> Self {
        let machine = machine();
        Self {
            cpu: machine.cpu.clone(),
            platform: machine.platform.clone(),
            hypervisor: hypervisor(),
            physical_cores: machine.physical_cores,
            available_threads: machine.available_threads,
            l1d: machine.l1d,
            l2: machine.l2,
            l3: machine.l3,
            memory: machine.memory,
            isas: Isa::detected().map(|isa| isa.name().to_owned()).collect(),
        }
    }
}
