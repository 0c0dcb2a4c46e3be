//! What a check has found: as a table for people, which is Markdown too, and as JSON.

use super::verdict::{Change, ERROR, Margin, Verdict, log_ratios, margin};
use crate::program::Pair;
use crate::protocol::{Benchmark, Sampled};
use crate::statistics::Interval;
use comfy_table::Table;
use serde::Serialize;
use std::fmt::Write;
use std::process::ExitCode;
use threadcount::Result;
use threadcount::bench::Fingerprint;
use threadcount::cli::{self, markdown};

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

/// One benchmark.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub benchmark: Benchmark,
    /// Median times of one run, base and head, in seconds.
    pub seconds: [f64; 2],
    /// Median shares of what bounds it.
    pub shares: [Option<f64>; 2],
    /// Pairs that it was judged by.
    pub pairs: usize,
    /// How its time has changed.
    pub change: Change,
    /// Whether that counts.
    pub verdict: Verdict,
    /// The margin beyond which it would count.
    pub margin: f64,
}

impl Row {
    /// The row of one benchmark: what was measured, and the verdict from that alone.
    pub fn new(benchmark: &Benchmark, pairs: &[Pair], margins: &[Margin]) -> Self {
        let medians =
            |of: fn(&Pair) -> Sampled| Sampled::medians(&pairs.iter().map(of).collect::<Vec<_>>());
        let sides = [medians(|pair| pair.base), medians(|pair| pair.head)];
        let seconds = sides.map(|side| side.seconds);
        let change = Change::of(&log_ratios(pairs), ERROR);
        let margin = margin(benchmark, seconds[0], margins);
        Self {
            benchmark: benchmark.clone(),
            seconds,
            shares: sides.map(|side| side.share_of_limit),
            pairs: pairs.len(),
            change,
            verdict: change.verdict(margin),
            margin,
        }
    }

    /// Whether a change beyond the margin is possible. If that is so for a program against itself,
    /// changes of that size cannot be told from none.
    pub fn could_be_a_change(&self) -> bool {
        let Interval { low, high } = self.change.interval;
        low < -self.margin || high > self.margin
    }

    /// Whether the first pass has found a change, or leans to one.
    pub fn is_suspect(&self) -> bool {
        self.verdict.is_change() || self.change.leans(self.margin)
    }
}

/// What is said of a whole check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing has become slower.
    Passed,
    /// Something has, twice.
    Regressed,
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
            Self::Regressed | Self::Gone => 1,
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
        } else if !self.gone.is_empty() {
            Outcome::Gone
        } else if self.is_too_noisy() || 2 * self.count(Verdict::Inconclusive) > self.rows.len() {
            Outcome::TooNoisy
        } else {
            Outcome::Passed
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// For people: the table, what its columns mean, and the outcome in the last line.
    pub fn text(&self, compared: &str) -> String {
        let mut text = format!("{compared}\n\n{}", self.noise_text());
        if !self.rows.is_empty() {
            let mut rows: Vec<&Row> = self.rows.iter().collect();
            rows.sort_by_key(|row| row.verdict);
            text += &format!("\n{}\n\n{NOTES}", table(&rows));
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
            Outcome::Gone => "benchmarks are GONE; where that is meant, name them: --gone GLOB",
            Outcome::TooNoisy => "this machine is too noisy to judge; try again when it is quiet",
        };
        text + &format!("\n{}: {outcome}\n", counts.join(", "))
    }

    /// The base against itself, a line for each sentinel.
    pub fn noise_text(&self) -> String {
        let mut text = "The base against itself today:\n".to_owned();
        for Row { benchmark, change, margin, .. } in &self.noise {
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

    /// As one JSON document. Changes are in per cent of the base's time.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if it cannot be written, which no report is known to cause.
    pub fn json(&self, base: &str, head: &str) -> Result<String> {
        let document = Document {
            machine: Fingerprint::of_machine(),
            base,
            head,
            outcome: self.outcome(),
            noise: self.noise.iter().map(JsonRow::of).collect(),
            benchmarks: self.rows.iter().map(JsonRow::of).collect(),
            new: &self.new,
            gone: &self.gone,
            gone_as_meant: &self.gone_as_meant,
        };
        cli::json(&document)
    }
}

const NOTES: &str = "\
Times are of one run, medians. Change: of the time, + is slower; the interval holds the median change
with 99 % (of all benchmarks together, where it decided about a suspect). Regressed or improved: the
whole interval is beyond the margin, in two passes, the second with four times the pairs of the first, in
several link orders, and each of these shows it. Inconclusive: the interval is wider than the margin, or only
the median is beyond it, or not all orders show it. % of limit: of the FMA peak, or of the rate of reads from
the level of memory that holds the operands.
";

fn table(rows: &[&Row]) -> Table {
    let header = [
        "benchmark",
        "threads",
        "isa",
        "base -> head",
        "change",
        "interval",
        "verdict",
        "% of limit",
    ];
    let mut table = markdown(&header, &["benchmark", "isa", "verdict"]);
    for row in rows {
        let [base, head] = row.seconds;
        let share = |share: Option<f64>| share.map_or("-".into(), |s| format!("{:.1}", 100.0 * s));
        table.add_row([
            row.benchmark.name.clone(),
            row.benchmark.threads.to_string(),
            row.benchmark.isa.clone(),
            times(base, head),
            percent(row.change.median),
            interval(&row.change),
            row.verdict.to_string(),
            format!("{} -> {}", share(row.shares[0]), share(row.shares[1])),
        ]);
    }
    table
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

#[derive(Serialize)]
struct Document<'a> {
    machine: Fingerprint,
    base: &'a str,
    head: &'a str,
    outcome: Outcome,
    noise: Vec<JsonRow<'a>>,
    benchmarks: Vec<JsonRow<'a>>,
    /// What the base does not have.
    new: &'a [Benchmark],
    /// What the head does not have.
    gone: &'a [Benchmark],
    /// What the head does not have, as the user has said.
    gone_as_meant: &'a [Benchmark],
}

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(flatten)]
    benchmark: &'a Benchmark,
    base_seconds: f64,
    head_seconds: f64,
    change_percent: f64,
    low_percent: f64,
    high_percent: f64,
    margin_percent: f64,
    verdict: Verdict,
    pairs: usize,
    base_percent_of_limit: Option<f64>,
    head_percent_of_limit: Option<f64>,
}

impl<'a> JsonRow<'a> {
    fn of(row: &'a Row) -> Self {
        let [base_seconds, head_seconds] = row.seconds;
        let [base, head] = row.shares.map(|share| share.map(|share| 100.0 * share));
        Self {
            benchmark: &row.benchmark,
            base_seconds,
            head_seconds,
            change_percent: 100.0 * row.change.median,
            low_percent: 100.0 * row.change.interval.low,
            high_percent: 100.0 * row.change.interval.high,
            margin_percent: 100.0 * row.margin,
            verdict: row.verdict,
            pairs: row.pairs,
            base_percent_of_limit: base,
            head_percent_of_limit: head,
        }
    }
}
/// Whether most of the sentinels of some number of threads are beyond their margins.
pub fn too_noisy(noise: &[Row]) -> bool {
    noise.iter().any(|one| {
        let alike = |other: &&Row| {
            (&other.benchmark.isa, other.benchmark.threads)
                == (&one.benchmark.isa, one.benchmark.threads)
        };
        let group: Vec<_> = noise.iter().filter(alike).collect();
        2 * group.iter().filter(|row| row.could_be_a_change()).count() > group.len()
    })
}
