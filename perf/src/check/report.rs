//! What a check has found, as a table for people, which is Markdown too.

use super::document::Names;
use super::row::{Compared, Row};
use super::verdict::{Change, Verdict};
use super::why::{Part, Why};
use crate::code::Fate;
use crate::protocol::Benchmark;
use crate::rounds::Earlier;
use comfy_table::Table;
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;
use threadcount::cli::markdown;

/// All that a check has found.
#[derive(Debug, Default)]
pub struct Report {
    /// The base against itself.
    pub noise: Vec<Row>,
    /// Each benchmark.
    pub rows: Vec<Row>,
    /// Benchmarks that the base does not have.
    pub new: Vec<Benchmark>,
    /// Benchmarks that the head does not have any more.
    pub gone: Vec<Benchmark>,
    /// Those of them that the user has named.
    pub gone_as_meant: Vec<Benchmark>,
}

/// What is said of a whole check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing has become slower.
    Passed,
    /// Something has, twice.
    Regressed,
    /// Not since the base, but since the anchor: by many small changes.
    Decayed,
    /// Nothing that both have, but the head lacks benchmarks of the base: nobody knows what became of those.
    Gone,
    /// The machine does not let anybody tell.
    TooNoisy,
}

impl Outcome {
    /// As the program's exit code.
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Regressed | Self::Decayed | Self::Gone => 1,
            Self::TooNoisy => 4,
        })
    }
}

impl Report {
    /// Whether the noise of the day forbids to judge.
    pub fn is_too_noisy(&self) -> bool {
        too_noisy(&self.noise)
    }

    /// The outcome of the whole check.
    pub fn outcome(&self) -> Outcome {
        if self.count(Verdict::Regressed) > 0 {
            Outcome::Regressed
        } else if self.decayed().next().is_some() {
            Outcome::Decayed
        } else if !self.gone.is_empty() {
            Outcome::Gone
        } else if self.is_too_noisy() || 2 * self.count(Verdict::Inconclusive) > self.rows.len() {
            Outcome::TooNoisy
        } else {
            Outcome::Passed
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.since_base.verdict == verdict).count()
    }

    /// What has become slower since the anchor.
    pub fn decayed(&self) -> impl Iterator<Item = (&Row, &Compared)> {
        let since = self.rows.iter().filter_map(|row| Some((row, row.beside(Earlier::Anchor)?)));
        since.filter(|(_, since)| since.verdict == Verdict::Regressed)
    }

    /// For people: the table, what its columns mean, and the outcome in the last line.
    pub fn text(&self, names: &Names) -> String {
        let Names { base, head, anchor } = names;
        let anchor =
            anchor.as_ref().map_or(String::new(), |anchor| format!(", since {anchor} too"));
        let mut text = format!("{base} -> {head}{anchor}\n\n{}", self.noise_text());
        if !self.rows.is_empty() {
            let mut rows: Vec<&Row> = self.rows.iter().collect();
            rows.sort_by_key(|row| row.since_base.verdict);
            text += &format!("\n{}\n\n{NOTES}", table(&rows));
        }
        for (Row { benchmark, .. }, Compared { change, margin, .. }) in self.decayed() {
            let _ = writeln!(
                text,
                "SLOWER SINCE THE ANCHOR: {benchmark}: {} ({}), margin {:.1} %.",
                percent(change.median),
                interval(change),
                100.0 * margin
            );
        }
        for row in &self.rows {
            text += &why(row);
        }
        for (what, which) in [
            ("Not in the base", &self.new),
            ("GONE, in the base only", &self.gone),
            ("Gone, as was meant", &self.gone_as_meant),
        ] {
            if !which.is_empty() {
                let names: Vec<String> = which.iter().map(Benchmark::to_string).collect();
                text += &format!("{what}: {}.\n", names.join("; "));
            }
        }
        let counts: Vec<String> =
            [Verdict::Regressed, Verdict::Improved, Verdict::Inconclusive, Verdict::Unchanged]
                .map(|verdict| format!("{} {verdict}", self.count(verdict)))
                .into();
        let outcome = match self.outcome() {
            Outcome::Passed => "passed",
            Outcome::Regressed => "REGRESSED",
            Outcome::Decayed => {
                "DECAYED since the anchor; where that is meant, move it: cargo perf anchor REV --reason TEXT"
            }
            Outcome::Gone => "benchmarks are GONE; where that is meant, name them: --gone GLOB",
            Outcome::TooNoisy => "this machine is too noisy to judge; try again when it is quiet",
        };
        text + &format!("\n{}: {outcome}\n", counts.join(", "))
    }

    /// The base against itself, a line for each sentinel.
    pub fn noise_text(&self) -> String {
        let mut text = "The base against itself today:\n".to_owned();
        for Row { benchmark, since_base: Compared { change, margin, .. }, .. } in &self.noise {
            let _ = writeln!(
                text,
                "- {benchmark}: {} ({}), margin {:.1} %",
                percent(change.median),
                interval(change),
                100.0 * margin
            );
        }
        text
    }
}

const NOTES: &str = "\
Times are of one run, medians. Change: of the time since the base, + is slower; the interval holds the median change
with 99 % (of all benchmarks together, where it decided about a suspect). Regressed or improved: the
whole interval is beyond the margin, in two passes, the second with four times the pairs of the first, in
several link orders, and each of these shows it. Inconclusive: the interval is wider than the margin, or only
the median is beyond it, or not all orders show it. % of limit: of the FMA peak, or of the rate of reads from
the level of memory that holds the operands.
";

fn table(rows: &[&Row]) -> Table {
    let mut header = vec![
        "benchmark",
        "threads",
        "isa",
        "base -> head",
        "change",
        "interval",
        "verdict",
        "% of limit",
    ];
    let has_anchor = rows.iter().any(|row| row.since_anchor.is_some());
    header.extend(has_anchor.then_some("since the anchor"));
    let mut table = markdown(&header, &["benchmark", "isa", "verdict"]);
    for Row { benchmark, since_base, since_anchor, .. } in rows {
        let [base, head] = since_base.seconds;
        let shares = since_base
            .shares
            .map(|share| share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share)));
        let mut cells = vec![
            benchmark.name.clone(),
            benchmark.threads.to_string(),
            benchmark.isa.clone(),
            times(base, head),
            percent(since_base.change.median),
            interval(&since_base.change),
            since_base.verdict.to_string(),
            shares.join(" -> "),
        ];
        if has_anchor {
            let change = since_anchor.as_ref().map(|since| percent(since.change.median));
            cells.push(change.unwrap_or_else(|| "-".into()));
        }
        table.add_row(cells);
    }
    table
}

/// Where the time of a benchmark has grown, if that was seen.
fn why(row: &Row) -> String {
    let Some(Why { phases, functions, has_other_code }) = &row.why else { return String::new() };
    let mut text = format!("\nWhy {}:\n", row.benchmark);
    let grown = |part: &Part| {
        let [before, after] = part.seconds;
        format!("{}: {}", part.name, times(before, after))
    };
    for phase in phases {
        let _ = writeln!(text, "- phase {}", grown(phase));
    }
    for function in functions {
        let code = match function.code {
            Some(Fate::Same) => ", the same code",
            Some(Fate::Changed) => ", OTHER CODE",
            Some(Fate::New) => ", new",
            Some(Fate::Gone) => ", gone",
            Some(Fate::Foreign) | None => "",
        };
        let _ = writeln!(text, "- function {}{code}", grown(function));
    }
    text += match has_other_code {
        Some(true) => "- some of the code that it spends its time in is another\n",
        Some(false) => {
            "- all code that it spends its time in is the same: only its place, or its calls, are others\n"
        }
        None => "- whether its code is another is not known\n",
    };
    text
}

/// `+1.2 %`
pub fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

/// `-0.3 to +1.2 %`
fn interval(change: &Change) -> String {
    format!("{:+.1} to {:+.1} %", 100.0 * change.interval.low, 100.0 * change.interval.high)
}

/// Both in the unit of the first.
fn times(base: f64, head: f64) -> String {
    let (unit, name) = match base {
        ..1e-3 => (1e6, "us"),
        _ => (1e3, "ms"),
    };
    let digits = if base * unit < 100.0 { 2 } else { 1 };
    format!("{:.digits$} -> {:.digits$} {name}", base * unit, head * unit)
}

/// Whether most of the sentinels of some number of threads are beyond their margins.
pub fn too_noisy(noise: &[Row]) -> bool {
    noise.iter().any(|one| {
        let alike = |other: &&Row| {
            (&other.benchmark.isa, other.benchmark.threads)
                == (&one.benchmark.isa, one.benchmark.threads)
        };
        let group: Vec<_> = noise.iter().filter(alike).collect();
        2 * group.iter().filter(|row| row.since_base.could_be_a_change()).count() > group.len()
    })
}
