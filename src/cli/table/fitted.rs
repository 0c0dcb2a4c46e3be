//! A table that fits the columns that there are, and loses nothing.
//!
//! Where all of it fits, it is Markdown with a line for each row. Else, until it fits: headings are broken into lines;
//! names, too, down to [`NAME`] characters; at last the columns are laid out in several tables one below the other,
//! each with the columns that say what a row is about.

use super::markdown;
use crate::console;
use crate::names::{LongWords, broken};
use std::fmt;
use unicode_width::UnicodeWidthStr;

/// Names are not broken into shorter lines than this before the columns are split up; and not than that afterwards.
const NAME: usize = 22;
const LEAST_NAME: usize = 8;

/// A table of texts.
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    /// The first columns, which say what a row is about.
    keys: usize,
    rows: Vec<Vec<String>>,
}

struct Column {
    heading: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// On the left; may be broken anywhere.
    Words,
    /// On the right; broken between words only.
    Figures,
}

/// How far a table may be pressed together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pressed {
    Not,
    Headings,
    Names,
    All,
}

impl Table {
    /// With these columns, of which the first says what a row is about: those of `words` are aligned left, figures right.
    pub(in crate::cli) fn new(header: &[&str], words: &[&str]) -> Self {
        let column = |&heading: &&str| Column {
            heading: heading.to_owned(),
            kind: if words.contains(&heading) { Kind::Words } else { Kind::Figures },
        };
        Self { columns: header.iter().map(column).collect(), keys: 1, rows: Vec::new() }
    }

    /// The first `keys` columns say what a row is about.
    pub(in crate::cli) fn with_keys(self, keys: usize) -> Self {
        Self { keys, ..self }
    }

    /// Adds a row: a text for each column.
    pub(in crate::cli) fn add_row(&mut self, row: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(row.into_iter().map(Into::into).collect());
    }

    /// The table, at most this wide if its figures are; without a line end.
    pub(in crate::cli) fn text(&self, width: usize) -> String {
        let parts = self.parts(width);
        let texts: Vec<String> = parts.iter().map(|part| self.part(part, width)).collect();
        texts.join("\n\n")
    }

    /// The columns of each table that it becomes.
    fn parts(&self, width: usize) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let least = |columns: &[usize]| self.needed(columns, Pressed::Names);
        if least(&all) <= width {
            return vec![all];
        }
        let (keys, others) = all.split_at(self.keys.min(all.len()));
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for &column in others {
            let fits = |part: &Vec<usize>| least(&[part.as_slice(), &[column]].concat()) <= width;
            match parts.last_mut().filter(|part| fits(part)) {
                Some(part) => part.push(column),
                None => parts.push([keys, &[column]].concat()),
            }
        }
        if parts.is_empty() { vec![all] } else { parts }
    }

    /// One of the tables.
    fn part(&self, columns: &[usize], width: usize) -> String {
        let widths = self.widths(columns, width);
        let cell = |text: &str, width: usize| broken(text, width, LongWords::Broken).join("\n");
        let header: Vec<&str> = columns.iter().map(|&c| self.columns[c].heading.as_str()).collect();
        let is_word = |&&c: &&usize| self.columns[c].kind == Kind::Words;
        let header: Vec<String> =
            header.iter().zip(&widths).map(|(heading, &width)| cell(heading, width)).collect();
        let words: Vec<&str> = (columns.iter().zip(&header))
            .filter(|(c, _)| is_word(c))
            .map(|(_, heading)| heading.as_str())
            .collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let mut table = markdown(&header, &words);
        for row in &self.rows {
            table.add_row(columns.iter().zip(&widths).map(|(&c, &width)| cell(&row[c], width)));
        }
        table.to_string()
    }

    /// The characters of each of these columns in a table of this width.
    fn widths(&self, columns: &[usize], width: usize) -> Vec<usize> {
        let levels = [Pressed::Not, Pressed::Headings, Pressed::Names, Pressed::All];
        let fitting = levels.into_iter().find(|&level| self.needed(columns, level) <= width);
        let level = fitting.unwrap_or(Pressed::All);
        let mut widths: Vec<usize> = columns.iter().map(|&c| self.least(c, level)).collect();
        let mut spare = width.saturating_sub(self.needed(columns, level));
        // What is left goes first to columns that are whole then, the others share the rest from the left.
        for is_whole in [true, false] {
            for (&column, width) in columns.iter().zip(&mut widths) {
                let more = self.least(column, Pressed::Not) - *width;
                let more = if is_whole && more > spare { 0 } else { more.min(spare) };
                *width += more;
                spare -= more;
            }
        }
        widths
    }

    /// The characters of a line with these columns: each stands between blanks and bars.
    fn needed(&self, columns: &[usize], level: Pressed) -> usize {
        1 + columns.iter().map(|&column| self.least(column, level) + 3).sum::<usize>()
    }

    /// The least characters of a column.
    fn least(&self, column: usize, level: Pressed) -> usize {
        let Column { heading, kind } = &self.columns[column];
        let heading_width = match level {
            Pressed::Not => heading.width(),
            Pressed::Headings => longest_word(heading),
            Pressed::Names | Pressed::All => longest_word(heading).min(NAME),
        };
        let cells = || self.rows.iter().map(|row| row[column].as_str());
        let widest = |of: fn(&str) -> usize| cells().map(of).max().unwrap_or(0);
        let cell_width = match (kind, level) {
            (_, Pressed::Not | Pressed::Headings) => widest(UnicodeWidthStr::width),
            (Kind::Words, Pressed::Names) => widest(UnicodeWidthStr::width).min(NAME),
            (Kind::Words, Pressed::All) => widest(UnicodeWidthStr::width).min(LEAST_NAME),
            (Kind::Figures, Pressed::Names) => widest(figure_width),
            (Kind::Figures, Pressed::All) => widest(longest_word).min(NAME),
        };
        heading_width.max(cell_width).max(1)
    }
}

/// What stands among figures, and has a word longer than any of them, is a name.
fn figure_width(text: &str) -> usize {
    if longest_word(text) > NAME { NAME } else { text.width() }
}

/// As wide as stdout is.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(console::width()))
    }
}

fn longest_word(text: &str) -> usize {
    text.split(' ').map(UnicodeWidthStr::width).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a long name, a figure of two words, and headings of two.
    fn table() -> Table {
        let mut table = Table::new(
            &["recipe", "claimed", "accuracy", "claimed time", "images/s", "parameters"],
            &["recipe"],
        );
        table.add_row(["nlp-cnn", "88.60-90.70", "90.34", "328-592 s", "7,540", "93,962"]);
        let name = "a-recipe_of.mine/with-a-name-of-more-than-sixty-characters-in-its-file";
        table.add_row([name, "-", "9.5 (9.1-9.9)", "-", "1,310,000", "7,850"]);
        table
    }

    /// The cells of each column of a text, in order, with the pieces of broken ones side by side.
    fn columns(text: &str) -> Vec<(String, String)> {
        let mut columns = Vec::new();
        for part in text.split("\n\n") {
            let lines: Vec<Vec<String>> = part
                .lines()
                .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()))
                .map(Iterator::collect)
                .collect();
            let rule = lines.iter().position(|cells| cells[0].starts_with("--")).unwrap();
            for column in 0..lines[0].len() {
                let of = |lines: &[Vec<String>]| {
                    lines.iter().map(|cells| cells[column].as_str()).collect::<String>()
                };
                columns.push((of(&lines[..rule]), of(&lines[rule + 1..])));
            }
        }
        columns
    }

    /// At any width every heading and every cell is there, and no line is wider than it has to be.
    #[test]
    fn nothing_is_lost_and_nothing_is_too_wide() {
        let table = table();
        let whole = |text: &str| text.replace(' ', "");
        let of = |c: usize| -> String {
            whole(&table.rows.iter().map(|row| row[c].as_str()).collect::<String>())
        };
        for width in 0..260 {
            let text = table.text(width);
            // The widest figure beside the name: `| a-recipe | 88.60-90.70 |`.
            let least = 1 + LEAST_NAME + 3 + 11 + 3;
            for line in text.lines() {
                assert!(line.chars().count() <= width.max(least), "{width}: {line}");
            }
            let found = columns(&text);
            for (c, Column { heading, .. }) in table.columns.iter().enumerate() {
                let named = |(name, _): &&(String, String)| whole(name) == whole(heading);
                let all: Vec<_> = found.iter().filter(named).collect();
                let times = if c == 0 { text.split("\n\n").count() } else { 1 };
                assert_eq!(all.len(), times, "{width}, {heading}:\n{text}");
                assert!(all.iter().all(|(_, cells)| whole(cells) == of(c)), "{width}:\n{text}");
            }
        }
    }

    #[test]
    fn where_there_is_room_a_row_is_a_line() {
        let text = table().text(200);
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.lines().all(|line| line.chars().count() == text.lines().next().unwrap().len())
        );
    }

    #[test]
    fn headings_are_broken_first_then_names_then_the_table() {
        let mut table =
            Table::new(&["kernel", "shape", "claimed time", "GFLOP/s"], &["kernel", "shape"])
                .with_keys(2);
        table.add_row(["dense-forward", "784x512, batch 64", "150 s", "99.5"]);
        let lines = |width| table.text(width).lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            lines(60),
            [
                "| kernel        | shape             | claimed | GFLOP/s |",
                "|               |                   |    time |         |",
                "|---------------|-------------------|---------|---------|",
                "| dense-forward | 784x512, batch 64 |   150 s |    99.5 |",
            ]
        );
        assert_eq!(
            lines(50),
            [
                "| kernel        | shape             | claimed |",
                "|               |                   |    time |",
                "|---------------|-------------------|---------|",
                "| dense-forward | 784x512, batch 64 |   150 s |",
                "",
                "| kernel        | shape             | GFLOP/s |",
                "|---------------|-------------------|---------|",
                "| dense-forward | 784x512, batch 64 |    99.5 |",
            ]
        );
        let mut named = Table::new(&["model", "size"], &["model"]);
        named.add_row(["a-model-with-a-long-name-of-mine", "12 KiB"]);
        assert_eq!(
            named.text(38).lines().collect::<Vec<_>>(),
            [
                "| model                     |   size |",
                "|---------------------------|--------|",
                "| a-model-with-a-long-name- | 12 KiB |",
                "| of-mine                   |        |",
            ]
        );
    }

    /// A name stays whole where a broken heading is enough, wherever the heading stands.
    #[test]
    fn a_name_is_not_broken_for_a_heading() {
        let mut table = Table::new(&["claimed time", "model"], &["model"]);
        table.add_row(["1 s", "a-model-with-a-name-of-thirty-"]);
        let text = table.text(44);
        assert!(text.ends_with("|     1 s | a-model-with-a-name-of-thirty- |"), "{text}");
    }

    /// Runs side by side: their names are above the columns, and may stand in them.
    #[test]
    fn names_above_and_among_figures_are_broken_too() {
        let name = "a-run-of-mine-with-a-name-of-forty-chars";
        let mut table = Table::new(&["results", name, "other"], &["results"]);
        table.add_row(["recipe", name, "nlp-cnn"]);
        table.add_row(["loss", "0.3200", "0.3100"]);
        let text = table.text(60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(!text.contains("\n\n") && text.contains(" 0.3200 |  0.3100 |"), "{text}");
        assert_eq!(columns(&text)[1], (name.to_owned(), format!("{name}0.3200")));
    }

    #[test]
    fn a_table_without_rows_has_its_headings() {
        let empty = Table::new(&["run", "state"], &["run"]).text(80);
        assert_eq!(empty, "| run | state |\n|-----|-------|");
    }
}
