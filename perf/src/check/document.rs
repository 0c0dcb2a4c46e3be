//! What a check has found, as one JSON document. Changes are in per cent of the earlier time.

use super::report::{Outcome, Report};
use super::row::{Compared, Row};
use super::verdict::Verdict;
use super::why::{Part, Why};
use crate::code::Fate;
use crate::protocol::Benchmark;
use serde::Serialize;
use threadcount::Result;
use threadcount::bench::Fingerprint;
use threadcount::cli;

/// What was compared, as people call it.
#[derive(Clone, Debug, Serialize)]
pub struct Names {
    /// The base.
    pub base: String,
    /// The head.
    pub head: String,
    /// The anchor, if it was compared.
    pub anchor: Option<String>,
}

impl Report {
    /// As one JSON document.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if it cannot be written, which no report is known to cause.
    pub fn json(&self, names: &Names) -> Result<String> {
        cli::json(&Document {
            machine: Fingerprint::of_machine(),
            names,
            outcome: self.outcome(),
            noise: self.noise.iter().map(JsonRow::of).collect(),
            benchmarks: self.rows.iter().map(JsonRow::of).collect(),
            new: &self.new,
            gone: &self.gone,
            gone_as_meant: &self.gone_as_meant,
        })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    machine: Fingerprint,
    #[serde(flatten)]
    names: &'a Names,
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
    #[serde(flatten)]
    judged: Judged,
    base_percent_of_limit: Option<f64>,
    head_percent_of_limit: Option<f64>,
    since_anchor: Option<SinceAnchor>,
    why: Option<JsonWhy<'a>>,
}

#[derive(Serialize)]
struct JsonWhy<'a> {
    phases: Vec<JsonPart<'a>>,
    functions: Vec<JsonPart<'a>>,
    has_other_code: Option<bool>,
}

#[derive(Serialize)]
struct JsonPart<'a> {
    name: &'a str,
    earlier_seconds: f64,
    head_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Fate>,
}

impl<'a> JsonWhy<'a> {
    fn of(why: &'a Why) -> Self {
        let part = |part: &'a Part| {
            let Part { name, seconds: [earlier_seconds, head_seconds], code } = part;
            JsonPart {
                name,
                earlier_seconds: *earlier_seconds,
                head_seconds: *head_seconds,
                code: *code,
            }
        };
        Self {
            phases: why.phases.iter().map(part).collect(),
            functions: why.functions.iter().map(part).collect(),
            has_other_code: why.has_other_code,
        }
    }
}

#[derive(Serialize)]
struct SinceAnchor {
    anchor_seconds: f64,
    #[serde(flatten)]
    judged: Judged,
}

#[derive(Serialize)]
struct Judged {
    change_percent: f64,
    low_percent: f64,
    high_percent: f64,
    margin_percent: f64,
    verdict: Verdict,
    pairs: usize,
}

impl Judged {
    fn of(compared: &Compared) -> Self {
        let Compared { change, margin, verdict, pairs, .. } = compared;
        Self {
            change_percent: 100.0 * change.median,
            low_percent: 100.0 * change.interval.low,
            high_percent: 100.0 * change.interval.high,
            margin_percent: 100.0 * margin,
            verdict: *verdict,
            pairs: *pairs,
        }
    }
}

impl<'a> JsonRow<'a> {
    fn of(row: &'a Row) -> Self {
        let Row { benchmark, since_base, since_anchor, why } = row;
        let [base_seconds, head_seconds] = since_base.seconds;
        let [base, head] = since_base.shares.map(|share| share.map(|share| 100.0 * share));
        Self {
            benchmark,
            base_seconds,
            head_seconds,
            judged: Judged::of(since_base),
            base_percent_of_limit: base,
            head_percent_of_limit: head,
            since_anchor: since_anchor.as_ref().map(|since| SinceAnchor {
                anchor_seconds: since.seconds[0],
                judged: Judged::of(since),
            }),
            why: why.as_ref().map(JsonWhy::of),
        }
    }
}
