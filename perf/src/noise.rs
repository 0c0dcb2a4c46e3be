//! Each benchmark's own noise: how far sweeps of a program against itself are from no change. Memory that lies
//! otherwise, another order of functions and another core move a whole sweep, and no number of pairs takes that
//! away. `cargo perf record` measures it, and no margin of a check is narrower.

use crate::history::{entries, lines};
use crate::protocol::Benchmark;
use crate::record::Line;
use crate::statistics::median;
use std::path::Path;
use threadcount::Result;

/// The newest runs of a history, whose noise counts: machines and kernels change.
const RUNS: usize = 9;

/// What a program against itself has shown: sweeps of logarithms of ratios. The root of the mean square of their
/// medians, as a share of the time.
///
/// # Panics
/// Without sweeps, or with one that has no pairs.
pub fn of_sweeps(sweeps: &[Vec<f64>]) -> f64 {
    let squares: f64 = sweeps.iter().map(|sweep| median(sweep).powi(2)).sum();
    (squares / sweeps.len() as f64).sqrt().exp_m1()
}

/// The noise of benchmarks on this machine, as a share of their time.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    known: Vec<(Benchmark, f64)>,
}

impl Noise {
    /// What the newest runs of a machine's history say: the median of each benchmark. Nothing where there is no
    /// history.
    ///
    /// # Errors
    /// [`threadcount::Error::Data`] for a line that cannot be read.
    pub fn recorded(machine: &Path) -> Result<Self> {
        let mut runs = entries(machine)?;
        runs.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        let newest = runs.len().saturating_sub(RUNS);
        let mut all: Vec<(Benchmark, Vec<f64>)> = Vec::new();
        for path in &runs[newest..] {
            for Line { benchmark, noise_percent, .. } in lines(path)? {
                let Some(percent) = noise_percent else { continue };
                match all.iter_mut().find(|(known, _)| *known == benchmark) {
                    Some((_, noise)) => noise.push(percent / 100.0),
                    None => all.push((benchmark, vec![percent / 100.0])),
                }
            }
        }
        Ok(all.into_iter().map(|(benchmark, noise)| (benchmark, median(&noise))).collect())
    }

    /// That of a benchmark, if it is known.
    pub fn of(&self, benchmark: &Benchmark) -> Option<f64> {
        self.known.iter().find(|(known, _)| known == benchmark).map(|(_, noise)| *noise)
    }
}

impl FromIterator<(Benchmark, f64)> for Noise {
    fn from_iter<T: IntoIterator<Item = (Benchmark, f64)>>(known: T) -> Self {
        Self { known: known.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn whole_sweeps_are_counted_and_not_pairs() {
        assert_eq!(of_sweeps(&[vec![0.0, 0.9, -0.9], vec![-0.2, 0.0, 0.2]]), 0.0);
        let (up, down) = (0.03_f64.ln_1p(), -0.03_f64.ln_1p());
        let noise = of_sweeps(&[vec![up; 4], vec![down; 4], vec![up; 4]]);
        assert!((noise - 0.03).abs() < 1e-12);
        let noise = of_sweeps(&[vec![0.02; 4], vec![0.0; 4], vec![0.0; 4], vec![0.0; 4]]);
        assert!((noise - 0.01_f64.exp_m1()).abs() < 1e-12);
    }

    #[test]
    fn the_newest_runs_count() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Noise::recorded(&folder.path().join("none")).unwrap().known.is_empty());
        let on = |threads| Benchmark { name: "a".into(), isa: "avx2".into(), threads };
        for run in 0..12 {
            let mut text = String::new();
            for (threads, noise) in [(1, if run < 3 { 50.0 } else { f64::from(run) }), (2, 1.0)] {
                // Runs from before noise was recorded say nothing of it.
                let noise_percent = (threads == 1 || run == 5).then_some(noise);
                let line = Line { noise_percent, ..Line::example(&on(threads), 80.0) };
                text += &(serde_json::to_string(&line).unwrap() + "\n");
            }
            fs::write(folder.path().join(format!("2026-{run:02}.jsonl")), text).unwrap();
        }
        let noise = Noise::recorded(folder.path()).unwrap();
        assert_eq!(
            (noise.of(&on(1)), noise.of(&on(2)), noise.of(&on(3))),
            (Some(0.07), Some(0.01), None)
        );
        fs::write(folder.path().join("2026-x.jsonl"), "{}\n").unwrap();
        let error = Noise::recorded(folder.path()).unwrap_err().to_string();
        assert!(error.contains("2026-x.jsonl: line 1"), "{error}");
    }
}
