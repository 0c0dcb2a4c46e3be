//! How figures, tables and the texts around them are written.

mod fitted;

pub(super) use fitted::Table;

use crate::bench::Facts;
use crate::reports::Span;
use crate::{Error, Result, console};
use comfy_table::CellAlignment;
use comfy_table::presets::ASCII_MARKDOWN;
use serde::Serialize;

/// A table in Markdown of any width with these columns: those of `words` are aligned left, figures right.
pub fn markdown(header: &[&str], words: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    for (column, name) in table.column_iter_mut().zip(header) {
        if !words.contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The first line of a report: the program, the machine, what computes, and the seeds.
pub(super) fn heading(facts: &Facts, seeds: &str) -> String {
    let Facts { version, machine, threads: count, .. } = facts;
    let (cpu, computes) = (&machine.cpu, facts.computes());
    prose(&format!("threadcount {version}: {cpu}, {}, {computes}, {seeds}\n", threads(*count)))
}

/// The first line of a report of several numbers of threads: the program, the machine and what computes.
pub(super) fn bench_heading(facts: &Facts) -> String {
    let Facts { version, machine, .. } = facts;
    prose(&format!("threadcount {version}: {}, {}\n", machine.cpu, facts.computes()))
}

/// Names and what they are, a line for each; values that are too long for a line go on below themselves, and those
/// with a word that is too long, such as a path, below their names.
pub(super) fn facts<'a>(rows: impl IntoIterator<Item = (&'a str, String)>, names: usize) -> String {
    facts_within(rows, names, console::width())
}

fn facts_within<'a>(
    rows: impl IntoIterator<Item = (&'a str, String)>,
    names: usize,
    width: usize,
) -> String {
    let room = width.saturating_sub(names + 2);
    let mut text = String::new();
    for (name, value) in rows {
        if value.split(' ').any(|word| word.chars().count() > room) {
            let below = console::wrapped(&value, width.saturating_sub(4)).replace('\n', "\n    ");
            text += &format!("{name}\n    {below}\n");
            continue;
        }
        let gap = format!("\n{:names$}  ", "");
        let beside = console::wrapped(&value, room).replace('\n', &gap);
        text += format!("{name:<names$}  {beside}").trim_end();
        text.push('\n');
    }
    text
}

/// A text for stdout, with lines broken between words where they would be too long.
pub(super) fn prose(text: &str) -> String {
    let end = if text.ends_with('\n') { "\n" } else { "" };
    console::wrapped(text, console::width()) + end
}

/// One JSON document, with the line end that files and terminals expect.
///
/// # Errors
/// [`Error::Failed`] if it cannot be written, which no results are known to cause.
pub fn json(value: &impl Serialize) -> Result<String> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Error::Failed(format!("cannot write JSON: {error}"))),
    }
}

/// Digits in groups of three: `567,434`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, to three significant figures: more would only be noise.
pub(super) fn rate(per_second: f64) -> String {
    let unit = 10_f64.powf((per_second.max(1.0).log10().floor() - 2.0).max(0.0));
    grouped(((per_second / unit).round() * unit) as u64)
}

/// A count and its noun.
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A number of threads: `1 thread`, `2 threads`.
pub fn threads(n: usize) -> String {
    count(n, "thread")
}

/// A share of 1 in percent, without the sign.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

/// Seconds to about three figures, without the unit.
pub(super) fn seconds(s: f64) -> String {
    match s {
        ..10.0 => format!("{s:.2}"),
        ..100.0 => format!("{s:.1}"),
        _ => format!("{s:.0}"),
    }
}

/// A wall time for people: `3 min 12 s`.
pub(super) fn duration(s: f64) -> String {
    if s < 100.0 {
        return format!("{} s", seconds(s));
    }
    let whole = s.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

/// A size: `32 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut size = n as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(size.fract() >= 0.05);
    format!("{size:.digits$} {}", UNITS[unit])
}

/// A claimed figure or range; a dash where the report gives none.
pub(super) fn span(span: Option<Span>, write: fn(f64) -> String, unit: &str) -> String {
    match span {
        None => "-".to_owned(),
        Some(Span { low, high }) if low == high => format!("{}{unit}", write(low)),
        Some(Span { low, high }) => format!("{}-{}{unit}", write(low), write(high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_names_what_computed_and_the_seeds() {
        let isa = threadcount_kernels::Isa::best();
        let facts = Facts::of(&threadcount_kernels::Pool::new(isa, 1).unwrap());
        let (version, cpu) = (env!("CARGO_PKG_VERSION"), &facts.machine.cpu);
        // A CPU's name may be so long that lines are broken.
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let expected = format!("threadcount {version}: {cpu}, 1 thread, {isa}, seeds 3-4");
        assert_eq!(words(&heading(&facts, "seeds 3-4")), words(&expected));
        let expected = format!("threadcount {version}: {cpu}, {isa}");
        assert_eq!(words(&bench_heading(&facts)), words(&expected));
    }

    #[test]
    fn facts_fit_and_stand_below_each_other() {
        let rows = || {
            let path = "/a/path/of/thirty/characters/..";
            let rows =
                [("cpu", "one of 2026"), ("sets", "avx512, avx2, sse2"), ("", "x"), ("in", path)];
            rows.map(|(name, value)| (name, value.to_owned()))
        };
        assert_eq!(
            facts_within(rows(), 6, 24),
            "cpu     one of 2026\nsets    avx512, avx2,\n        sse2\n        x\nin\n    \
             /a/path/of/thirty/characters/..\n"
        );
        let wide = facts_within(rows(), 6, 60);
        assert_eq!(wide.lines().count(), 4);
        assert!(wide.ends_with("\nin      /a/path/of/thirty/characters/..\n"), "{wide}");
        assert_eq!(facts_within([("empty", String::new())], 6, 40), "empty\n");
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(567_434), "567,434");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(rate(348_217.4), "348,000");
        assert_eq!(rate(6_264.9), "6,260");
        assert_eq!(rate(42.4), "42");
        assert_eq!(rate(0.0), "0");
        assert_eq!(percent(0.9925), "99.25");
        assert_eq!(seconds(0.274), "0.27");
        assert_eq!(seconds(41.26), "41.3");
        assert_eq!(seconds(540.0), "540");
        assert_eq!(duration(192.4), "3 min 12 s");
        assert_eq!(bytes(48 << 10), "48 KiB");
        assert_eq!(bytes(33_554_432), "32 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }
}
