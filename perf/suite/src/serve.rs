//! Answers a judge: one line for each of its own.

use crate::place::Pinned;
use crate::protocol::{
    self, Benchmark, Explained, Listed, PROTOCOL, Prepared, Reply, Request, Twin,
};
use crate::sample::{Subject, sample, size, within};
use crate::{Fault, Result, spots};
use std::io::{self, BufRead, Write};

/// What a program can time.
pub trait Suite {
    /// The names of its benchmarks.
    ///
    /// # Errors
    /// [`Fault`] if they cannot be made.
    fn names(&self) -> Result<Vec<String>>;

    /// Each benchmark with its threads and instruction set, if a judge that does not know this suite is to choose
    /// among them.
    fn listed(&self) -> Option<Listed> {
        None
    }

    /// Makes a benchmark ready, compares it with its twin if that is asked for, and calls `ready` once.
    ///
    /// # Errors
    /// [`Fault`] if there is no such benchmark, or it differs from its twin; whatever `ready` fails with.
    fn prepare(
        &mut self,
        benchmark: &Benchmark,
        twin: Twin,
        ready: &mut dyn FnMut(&mut dyn Subject) -> Result<()>,
    ) -> Result<()>;
}

/// A regression that is put in on purpose, to see whether it is found.
#[derive(Clone, Debug, Default)]
pub struct Slowdown {
    /// The benchmarks that have it.
    pub names: Vec<String>,
    /// The share of its runs that is repeated.
    pub share: f64,
}

impl Slowdown {
    fn of(&self, benchmark: &Benchmark) -> f64 {
        if self.names.contains(&benchmark.name) { self.share } else { 0.0 }
    }
}

/// Answers on stdout what is asked on stdin, until nobody asks any more.
///
/// # Errors
/// [`Fault`] if nobody reads, or what is asked cannot be read.
pub fn serve(suite: &mut dyn Suite, slowdown: &Slowdown) -> Result<()> {
    let (names, listed) = (suite.names()?, suite.listed());
    say(&Reply::Ready { protocol: PROTOCOL, names, listed, explains: spots::CAN })?;
    let mut request = hear()?;
    while let Some(asked) = request {
        let answered = match asked {
            Request::Prepare { benchmark, twin } => {
                let mut next = Err(Fault::new("nothing was made ready"));
                let mut answer = |subject: &mut dyn Subject| {
                    next = Ok(answers(subject, &benchmark, slowdown.of(&benchmark))?);
                    Ok(())
                };
                suite.prepare(&benchmark, twin, &mut answer).and(next)
            }
            Request::Sample { .. } | Request::Explain { .. } => {
                Err(Fault::new("a sample of nothing"))
            }
        };
        request = match answered {
            Ok(next) => next,
            Err(fault) => {
                say(&Reply::Failed { fault: fault.to_string() })?;
                hear()?
            }
        };
    }
    Ok(())
}

/// Times a benchmark until something else is asked for, and returns that.
fn answers(
    subject: &mut dyn Subject,
    benchmark: &Benchmark,
    slowdown: f64,
) -> Result<Option<Request>> {
    let (work, images) = (subject.work(), subject.images());
    let size = within(subject, |runs| size(runs, slowdown))?;
    say(&Reply::Prepared(Prepared { size, work: work.clone(), images }))?;
    loop {
        let asked = hear()?;
        let place = match asked {
            Some(Request::Sample { place, .. } | Request::Explain { place, .. }) => place,
            other => return Ok(other),
        };
        let _pinned = (benchmark.threads == 1).then(|| Pinned::at(place));
        let reply = match asked {
            Some(Request::Explain { seconds, .. }) => {
                let phases = subject.phases(seconds)?;
                let spots = within(subject, |runs| spots::of(runs, size.runs, seconds))?;
                Reply::Explained(Explained { phases, spots })
            }
            Some(Request::Sample { size, .. }) => {
                let taken = within(subject, |runs| sample(runs, size, &work, slowdown))?;
                Reply::Sampled(taken)
            }
            other => return Ok(other),
        };
        say(&reply)?;
    }
}

/// The next request; `None` when the judge has gone.
fn hear() -> Result<Option<Request>> {
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line);
    let length = length.map_err(|error| Fault::new(format!("stdin: {error}")))?;
    if length == 0 {
        return Ok(None);
    }
    let request = serde_json::from_str(&line);
    request.map(Some).map_err(|error| Fault::new(format!("cannot read '{line}': {error}")))
}

fn say(reply: &Reply) -> Result<()> {
    let line = protocol::line(reply)?;
    let mut stdout = io::stdout().lock();
    let said = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    said.map_err(|error| Fault::new(format!("stdout: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_slowed_down() {
        let slowdown = Slowdown { names: vec!["a".into(), "b".into()], share: 0.1 };
        let of =
            |name: &str| slowdown.of(&Benchmark { name: name.into(), isa: "x".into(), threads: 1 });
        assert_eq!((of("a"), of("b"), of("ab")), (0.1, 0.1, 0.0));
    }
}
