//! What this machine can do at most, measured once for each figure: the limits that everything else is
//! compared with.

use super::measure::median;
use crate::Result;
use serde::Serialize;
use threadcount_kernels::machine::machine;
use threadcount_kernels::peak::{self, Level};
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{Pool, Precision, Team};

/// Measurements of the FMA rate, half a millisecond each. During the first of them, cores are still
/// clocking up and threads are not yet spread over the cores.
const FMA_SAMPLES: usize = 401;
/// The time of one, and the least number of them.
const FMA_SECONDS: f64 = 0.5e-3;
const FEWEST_FMA_SAMPLES: usize = 21;

/// The limits of a team's threads together, in units of 10^9 per second. `None` where the size of the cache
/// is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// The threads.
    pub threads: usize,
    /// Floating-point operations of multiply-adds on registers.
    pub fma_gflops: f64,
    /// Products of bf16 numbers on registers, by the kernel that is in use, an addition and a multiplication each.
    pub bf16_gflops: f64,
    /// Products of f32 numbers that are split into bf16 numbers: a sixth of it.
    pub f32_split_gflops: f64,
    /// Reads from first-level data caches.
    pub l1_gbytes_per_second: Option<f64>,
    /// Reads from second-level caches.
    pub l2_gbytes_per_second: Option<f64>,
    /// Reads from third-level caches.
    pub l3_gbytes_per_second: Option<f64>,
    /// Reads from memory.
    pub dram_gbytes_per_second: Option<f64>,
}

impl Limits {
    /// Measures the limits of a team, in about a second.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if `THREADCOUNT_BF16` forces a kernel that does not run here.
    pub fn measure(team: &Team) -> Result<Self> {
        let read = |level| Some(read_rate(team, level)? / 1e9);
        let kernel = Bf16Kernel::active(team.isa())?;
        let of = |precision| product_gflops(team, Arithmetic { precision, kernel });
        Ok(Self {
            threads: team.threads(),
            fma_gflops: fma_gflops(team),
            bf16_gflops: of(Precision::Bf16),
            f32_split_gflops: of(Precision::F32Split),
            l1_gbytes_per_second: read(Level::L1),
            l2_gbytes_per_second: read(Level::L2),
            l3_gbytes_per_second: read(Level::L3),
            dram_gbytes_per_second: read(Level::Dram),
        })
    }

    /// The rate of reads from a level.
    pub fn read(&self, level: Level) -> Option<f64> {
        match level {
            Level::L1 => self.l1_gbytes_per_second,
            Level::L2 => self.l2_gbytes_per_second,
            Level::L3 => self.l3_gbytes_per_second,
            Level::Dram => self.dram_gbytes_per_second,
        }
    }
}

/// The rate of multiply-adds on a team's registers, in 10^9 floating-point operations per second; measured for a
/// fifth of a second. Threads beyond the CPU's own add nothing to it but time (3,000 of them a minute), and are left out.
pub fn fma_gflops(team: &Team) -> f64 {
    fma_gflops_within(team, f64::INFINITY)
}

/// Like [`fma_gflops`], for about so many seconds at most, though never for less than a hundredth. For threads that
/// have just been computing: others are still clocking up.
pub fn fma_gflops_within(team: &Team, seconds: f64) -> f64 {
    let most = machine().available_threads;
    if team.threads() > most
        && let Ok(pool) = Pool::new(team.isa(), most)
    {
        return pool.enter(|team| fma_gflops_within(team, seconds));
    }
    median((0..fma_samples(seconds)).map(|_| peak::fma_rate(team)).collect()) / 1e9
}

/// The rate of a precision's products on a team's registers, likewise.
fn product_gflops(team: &Team, arithmetic: Arithmetic) -> f64 {
    let most = machine().available_threads;
    if team.threads() > most
        && let Ok(pool) = Pool::new(team.isa(), most)
    {
        return pool.enter(|team| product_gflops(team, arithmetic));
    }
    let rates = (0..FMA_SAMPLES).map(|_| peak::product_rate(team, arithmetic));
    median(rates.collect()) / 1e9
}

/// How many measurements of the FMA rate there is time for.
fn fma_samples(seconds: f64) -> usize {
    // A number that is too large for the type becomes the largest one.
    ((seconds / FMA_SECONDS) as usize).clamp(FEWEST_FMA_SAMPLES, FMA_SAMPLES)
}

/// Bytes per second that a team reads from a level, if its size is known.
pub(super) fn read_rate(team: &Team, level: Level) -> Option<f64> {
    let bytes = level.bytes_per_thread(machine(), team.threads())?;
    Some(peak::read_rate(team, bytes))
}

/// Rates of reads, each measured the first time that it is asked for.
#[derive(Debug, Default)]
pub struct ReadRates {
    known: Vec<(usize, Level, Option<f64>)>,
}

impl ReadRates {
    /// Bytes per second that this team reads from a level.
    pub fn of(&mut self, team: &Team, level: Level) -> Option<f64> {
        let threads = team.threads();
        if let Some((.., rate)) = self.known.iter().find(|(n, l, _)| (*n, *l) == (threads, level)) {
            return *rate;
        }
        let rate = read_rate(team, level);
        self.known.push((threads, level, rate));
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_are_measured_for_a_short_time() {
        let samples = [0.0, 0.001, 0.02, 0.1, 0.2, 9.0, f64::INFINITY].map(fma_samples);
        assert_eq!(samples, [21, 21, 40, 200, 400, 401, 401]);
    }
}
