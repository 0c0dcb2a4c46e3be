//! What a bisection has found: for people, and as JSON.

use super::trial::{Finding, Outcome, Seen};
use crate::builds::Commit;
use crate::check::report::percent;
use crate::protocol::Benchmark;
use crate::statistics::median;
use serde::Serialize;
use threadcount::Result;
use threadcount::bench::Fingerprint;
use threadcount::cli::{self, markdown};

/// A finding, and the names of what it speaks of.
pub struct Report<'a> {
    /// What was timed.
    pub benchmark: &'a Benchmark,
    /// The base, and the commits after it, the last of which is the head.
    pub revisions: &'a [Commit],
    /// What has come out.
    pub finding: &'a Finding,
}

impl Report<'_> {
    /// The commits that are most probably guilty, and with which probability.
    fn suspects(&self) -> (&[Commit], f64) {
        match &self.finding.suspects {
            None => (&[], 0.0),
            // Commit i leads to revision i + 1.
            Some(found) => (&self.revisions[found.first + 1..=found.last + 1], found.confidence),
        }
    }

    /// For people: what was seen, oldest first, and the commit in the last line.
    pub fn text(&self) -> String {
        let Finding { outcome, change, margin, error, seen, .. } = self.finding;
        let mut text = format!(
            "{}: {} ({} to {}) from {} to {}, margin {:.1} %\n\n",
            self.benchmark,
            percent(change.median),
            percent(change.interval.low),
            percent(change.interval.high),
            self.revisions[0].source.name,
            self.revisions[self.revisions.len() - 1].source.name,
            100.0 * margin,
        );
        let mut table =
            markdown(&["revision", "subject", "to base", "pairs"], &["revision", "subject"]);
        for (commit, seen) in self.revisions.iter().zip(seen) {
            let (change, pairs) = match seen {
                Seen::Nothing => continue,
                Seen::Timed(ratios) => (percent(median(ratios).exp_m1()), ratios.len().to_string()),
                Seen::Fault(fault) => (fault.clone(), "-".into()),
            };
            table.add_row([commit.short(), &commit.subject, &change, &pairs]);
        }
        text += &format!("{table}\n\n");
        let (suspects, confidence) = self.suspects();
        let named: Vec<String> = suspects
            .iter()
            .map(|commit| format!("{} \"{}\"", commit.short(), commit.subject))
            .collect();
        let sure = format!(
            "with {} %, where a sweep is wrong with {:.0} %",
            // Never rounded up to certainty.
            (1000.0 * confidence).floor() / 10.0,
            100.0 * error
        );
        text + &match (outcome, &named[..]) {
            (Outcome::Unchanged, _) => "base and head do not differ: nothing to look for\n".into(),
            (Outcome::TooNoisy, []) => format!(
                "this machine is too noisy to search: {:.0} % of the answers are wrong\n",
                100.0 * error
            ),
            (Outcome::TooNoisy, _) => {
                format!("not clear; most probably {}, {sure}\n", named.join(", "))
            }
            (Outcome::Found, [one]) => format!("it came with {one}, {sure}\n"),
            (Outcome::Found, _) => format!(
                "it came with one of these, between which nothing could be timed, {sure}:\n{}\n",
                named.join("\n")
            ),
        }
    }

    /// As one JSON document. Changes are in per cent of the base's time.
    ///
    /// # Errors
    /// [`threadcount::Error::Failed`] if it cannot be written, which no report is known to cause.
    pub fn json(&self) -> Result<String> {
        let Finding { outcome, change, margin, error, suspects, seen } = self.finding;
        let named = |commit| Named::of(commit);
        cli::json(&Document {
            machine: Fingerprint::of_machine(),
            benchmark: self.benchmark,
            base: named(&self.revisions[0]),
            head: named(&self.revisions[self.revisions.len() - 1]),
            outcome: *outcome,
            change_percent: 100.0 * change.median,
            low_percent: 100.0 * change.interval.low,
            high_percent: 100.0 * change.interval.high,
            margin_percent: 100.0 * margin,
            wrong_answers: *error,
            commits: self.suspects().0.iter().map(named).collect(),
            confidence: suspects.as_ref().map(|suspects| suspects.confidence),
            revisions: self.revisions.iter().zip(seen).filter_map(JsonRow::of).collect(),
        })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    machine: Fingerprint,
    benchmark: &'a Benchmark,
    base: Named<'a>,
    head: Named<'a>,
    outcome: Outcome,
    change_percent: f64,
    low_percent: f64,
    high_percent: f64,
    margin_percent: f64,
    /// The probability that a sweep gives a wrong answer.
    wrong_answers: f64,
    /// The guilty one, or those that cannot be told apart.
    commits: Vec<Named<'a>>,
    confidence: Option<f64>,
    /// What was timed, or could not be, oldest first.
    revisions: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    commit: &'a str,
    subject: &'a str,
}

impl<'a> Named<'a> {
    fn of(commit: &'a Commit) -> Self {
        Self { commit: &commit.hash, subject: &commit.subject }
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(flatten)]
    commit: Named<'a>,
    change_percent: Option<f64>,
    pairs: usize,
    fault: Option<&'a str>,
}

impl<'a> JsonRow<'a> {
    fn of((commit, seen): (&'a Commit, &'a Seen)) -> Option<Self> {
        let (change, pairs, fault) = match seen {
            Seen::Nothing => return None,
            Seen::Timed(ratios) => (Some(100.0 * median(ratios).exp_m1()), ratios.len(), None),
            Seen::Fault(fault) => (None, 0, Some(fault.as_str())),
        };
        Some(Self { commit: Named::of(commit), change_percent: change, pairs, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::search::Suspects;
    use crate::builds::Source;
    use crate::check::verdict::Change;
    use crate::statistics::Interval;
    use serde_json::{Value, json};

    fn commit(digit: &str, subject: &str) -> Commit {
        let source = Source { name: format!("name {digit}"), tree: "t".into() };
        Commit { source, hash: digit.repeat(40), subject: subject.into() }
    }

    fn finding(outcome: Outcome, suspects: Option<(usize, usize, f64)>) -> Finding {
        let interval = Interval { low: 0.08, high: 0.13 };
        Finding {
            outcome,
            change: Change { median: 0.1, interval },
            margin: 0.02,
            error: 0.0625,
            suspects: suspects.map(|(first, last, confidence)| Suspects {
                first,
                last,
                confidence,
            }),
            seen: vec![
                Seen::Timed(vec![0.0]),
                Seen::Fault("does not build".into()),
                Seen::Timed(vec![2.0_f64.ln(), -1.0, 9.0]),
                Seen::Nothing,
            ],
        }
    }

    /// The text without the table, and the document.
    fn told(finding: &Finding) -> (String, Value) {
        let benchmark = Benchmark { name: "a".into(), isa: "avx2".into(), threads: 2 };
        let revisions =
            [commit("1", "one"), commit("2", "two"), commit("3", "three"), commit("4", "four")];
        let report = Report { benchmark: &benchmark, revisions: &revisions, finding };
        (report.text(), serde_json::from_str(&report.json().unwrap()).unwrap())
    }

    #[test]
    fn the_document_holds_it_all() {
        let (text, mut document) = told(&finding(Outcome::Found, Some((1, 1, 0.99987))));
        assert!(document.as_object_mut().unwrap().remove("machine").unwrap().is_object());
        let named =
            |digit: &str, subject: &str| json!({"commit": digit.repeat(40), "subject": subject});
        let seen =
            |digit: &str, subject: &str, change: Option<f64>, pairs: usize, fault: Option<&str>| {
                json!({"commit": digit.repeat(40), "subject": subject, "change_percent": change,
                   "pairs": pairs, "fault": fault})
            };
        let expected = json!({
            "benchmark": {"name": "a", "isa": "avx2", "threads": 2},
            "base": named("1", "one"), "head": named("4", "four"), "outcome": "found",
            "change_percent": 10.0, "low_percent": 8.0, "high_percent": 13.0, "margin_percent": 2.0,
            "wrong_answers": 0.0625, "commits": [named("3", "three")], "confidence": 0.99987,
            "revisions": [
                seen("1", "one", Some(0.0), 1, None),
                seen("2", "two", None, 0, Some("does not build")),
                seen("3", "three", Some(100.0), 3, None),
            ],
        });
        assert_eq!(document, expected);
        assert!(text.starts_with(
            "a on 2 threads of avx2: +10.0 % (+8.0 % to +13.0 %) from name 1 to name 4, margin 2.0 %\n"
        ));
        let last =
            "it came with 333333333 \"three\", with 99.9 %, where a sweep is wrong with 6 %\n";
        assert!(text.ends_with(last), "{text}");
    }

    #[test]
    fn every_outcome_has_its_words() {
        let (text, _) = told(&finding(Outcome::Found, Some((0, 1, 1.0))));
        assert!(text.contains("one of these") && text.contains("100 %"), "{text}");
        assert!(text.ends_with("222222222 \"two\"\n333333333 \"three\"\n"), "{text}");
        let (text, document) = told(&finding(Outcome::TooNoisy, Some((2, 2, 0.5))));
        assert!(text.contains("not clear; most probably 444444444 \"four\", with 50 %"), "{text}");
        assert_eq!(document["outcome"], "too-noisy");
        let (text, document) = told(&finding(Outcome::TooNoisy, None));
        assert!(text.ends_with("too noisy to search: 6 % of the answers are wrong\n"), "{text}");
        assert_eq!((&document["confidence"], &document["commits"]), (&json!(null), &json!([])));
        let (text, document) = told(&finding(Outcome::Unchanged, None));
        assert!(text.ends_with("nothing to look for\n"), "{text}");
        assert_eq!(document["outcome"], "unchanged");
    }
}
