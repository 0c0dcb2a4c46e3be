//! A suite of closures, each on the threads that it starts itself.

use crate::protocol::{Benchmark, Listed, Twin, Work};
use crate::sample::{Runs, Subject};
use crate::serve::{Slowdown, Suite, serve};
use crate::{Fault, Result};
use std::env;
use std::process::ExitCode;
use std::time::Instant;

/// The instruction set of benchmarks that were built for one.
const AS_BUILT: &str = "as-built";

/// One benchmark: a closure that is timed, and one that compares its result with that of a simpler twin.
pub struct Bench {
    name: String,
    threads: usize,
    work: Work,
    check: Box<dyn FnMut() -> std::result::Result<(), String> + Send>,
    run: Box<dyn FnMut() + Send>,
}

impl Bench {
    /// A benchmark on one thread. A run does this work; `check` says in words what is wrong with its result, and is
    /// called once, before anything is timed.
    pub fn new(
        name: impl Into<String>,
        work: Work,
        check: impl FnMut() -> std::result::Result<(), String> + Send + 'static,
        run: impl FnMut() + Send + 'static,
    ) -> Self {
        Self { name: name.into(), threads: 1, work, check: Box::new(check), run: Box::new(run) }
    }

    /// On so many threads, which the closure brings itself. Only a benchmark on one thread is held on one core.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    fn benchmark(&self) -> Benchmark {
        Benchmark { name: self.name.clone(), isa: AS_BUILT.into(), threads: self.threads }
    }
}

/// A suite of closures.
#[derive(Default)]
pub struct Benches {
    benches: Vec<Bench>,
    quick: Vec<String>,
    sentinels: Vec<String>,
}

impl Benches {
    /// Of none.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn bench(mut self, bench: Bench) -> Self {
        self.benches.push(bench);
        self
    }

    /// The names of those that stand for the others, for `--quick` [default: all].
    pub fn quick(mut self, names: &[&str]) -> Self {
        self.quick = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// The names of up to three by which the noise of the day is measured [default: the first three].
    pub fn sentinels(mut self, names: &[&str]) -> Self {
        self.sentinels = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Answers a judge, until nobody asks any more. To be called by a program's `main`; whoever starts the program
    /// by hand is told so.
    pub fn main(mut self) -> ExitCode {
        if env::args().nth(1).as_deref() != Some("worker") {
            eprintln!(
                "this program is a worker of threadcount-perf: `threadcount-perf check --package ...`"
            );
            return ExitCode::from(2);
        }
        match serve(&mut self, &Slowdown::default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("{fault}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Suite for Benches {
    fn names(&self) -> Result<Vec<String>> {
        Ok(self.benches.iter().map(|bench| bench.name.clone()).collect())
    }

    fn listed(&self) -> Option<Listed> {
        let all = || self.benches.iter().map(|bench| bench.name.clone());
        let quick = if self.quick.is_empty() { all().collect() } else { self.quick.clone() };
        let sentinels = if self.sentinels.is_empty() {
            all().take(3).collect()
        } else {
            self.sentinels.clone()
        };
        let benchmarks = self.benches.iter().map(Bench::benchmark).collect();
        Some(Listed { benchmarks, quick, sentinels })
    }

    fn prepare(
        &mut self,
        benchmark: &Benchmark,
        twin: Twin,
        ready: &mut dyn FnMut(&mut dyn Subject) -> Result<()>,
    ) -> Result<()> {
        let bench = self.benches.iter_mut().find(|bench| bench.benchmark() == *benchmark);
        let bench =
            bench.ok_or_else(|| Fault::new(format!("there is no benchmark '{benchmark}'")))?;
        if twin == Twin::Compared {
            (bench.check)().map_err(Fault::new)?;
        }
        ready(bench)
    }
}

impl Subject for Bench {
    fn work(&self) -> Work {
        self.work.clone()
    }

    fn enter(&mut self, inside: &mut (dyn FnMut(&mut dyn Runs) + Send)) {
        inside(self);
    }
}

impl Runs for Bench {
    fn run(&mut self, runs: u32) -> Result<f64> {
        let start = Instant::now();
        (0..runs).for_each(|_| (self.run)());
        Ok(start.elapsed().as_secs_f64() / f64::from(runs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(name: &str, fault: Option<&'static str>) -> Bench {
        Bench::new(
            name,
            Work::operations(8.0),
            move || fault.map_or(Ok(()), |f| Err(f.into())),
            || (),
        )
    }

    #[test]
    fn a_suite_says_what_it_has() {
        let suite = ["a", "b", "c", "d"].into_iter().fold(Benches::new(), |suite, name| {
            suite.bench(bench(name, None).threads(if name == "b" { 2 } else { 1 }))
        });
        assert_eq!(suite.names().unwrap(), ["a", "b", "c", "d"]);
        let Listed { benchmarks, quick, sentinels } = suite.listed().unwrap();
        let found: Vec<_> = benchmarks.iter().map(|one| (&one.name[..], one.threads)).collect();
        assert_eq!(found, [("a", 1), ("b", 2), ("c", 1), ("d", 1)]);
        assert_eq!((quick.len(), &sentinels[..]), (4, &["a", "b", "c"].map(String::from)[..]));
        let suite = suite.quick(&["b"]);
        assert_eq!(suite.listed().unwrap().sentinels.len(), 3);
        let Listed { quick, sentinels, .. } = suite.sentinels(&["d"]).listed().unwrap();
        assert_eq!((&quick[..], &sentinels[..]), (&["b".to_owned()][..], &["d".to_owned()][..]));
    }

    #[test]
    fn a_twin_is_compared_where_that_is_asked_for() {
        let mut suite = Benches::new().bench(bench("a", None)).bench(bench("b", Some("differs")));
        let mut prepare = |name: &str, twin| {
            let one = Benchmark { name: name.into(), isa: AS_BUILT.into(), threads: 1 };
            let mut work = None;
            let mut ready = |subject: &mut dyn Subject| {
                work = Some(subject.work());
                Ok(())
            };
            let done = suite.prepare(&one, twin, &mut ready);
            (done.map_err(|fault| fault.to_string()), work)
        };
        assert_eq!(prepare("a", Twin::Compared), (Ok(()), Some(Work::operations(8.0))));
        assert_eq!(prepare("b", Twin::Trusted).0, Ok(()));
        assert_eq!(prepare("b", Twin::Compared), (Err("differs".into()), None));
        let (fault, work) = prepare("c", Twin::Trusted);
        assert!(fault.unwrap_err().contains("'c on 1 thread of as-built'") && work.is_none());
    }
}
