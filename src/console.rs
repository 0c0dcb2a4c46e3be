//! Writing to stdout and stderr without ever panicking (as `println!` and `eprintln!` do): a reader
//! may go away at any time. Results go to stdout, progress and warnings to stderr.

use crate::names::{LongWords, broken};
use crate::{Error, Result};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use terminal_size::{Width, terminal_size_of};

/// Writes results to stdout.
///
/// # Errors
/// [`Error::Io`], with the kind `BrokenPipe` if the reader has gone.
pub fn print(text: &str) -> Result<()> {
    if SILENT.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::io("stdout"))
}

/// Whether only results, warnings and errors are wanted.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From here on there are no notes and no progress.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether there are no notes and no progress.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether another process writes for this one.
static SILENT: AtomicBool = AtomicBool::new(false);

/// From here on nothing is written but what [`insist`] says.
pub fn be_silent() {
    SILENT.store(true, Ordering::Relaxed);
    be_quiet();
}

/// Writes a line to stderr even if this process is silent.
pub fn insist(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes lines of progress to stderr, unless none are wanted; broken between words where they would run past the
/// width of a terminal. There is nowhere to report a failure to.
pub fn note(text: &str) {
    if !is_quiet() {
        say(&for_terminal(text));
    }
}

fn for_terminal(text: &str) -> String {
    if is_interactive() { wrapped(text, progress_width()) } else { text.to_owned() }
}

/// Writes a line to stderr that a person has to see, such as an error or a question.
pub fn say(line: &str) {
    if !SILENT.load(Ordering::Relaxed) {
        insist(line);
    }
}

/// A warning.
pub fn warn(message: &str) {
    say(&for_terminal(&format!("threadcount: warning: {message}")));
}

/// Whether lines on stderr may be redrawn in place.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The columns that a table on stdout may take: what `COLUMNS` says, else those of the terminal, else 80.
pub fn width() -> usize {
    columns(terminal_size_of(io::stdout()))
}

/// The columns that a line on stderr may take, as [`width`].
pub fn progress_width() -> usize {
    columns(terminal_size_of(io::stderr()))
}

fn columns(terminal: Option<(Width, terminal_size::Height)>) -> usize {
    let terminal = terminal.map(|(Width(columns), _)| usize::from(columns));
    let said = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
    said().or(terminal).filter(|&columns| columns > 0).unwrap_or(80)
}

/// A text whose lines are broken between words so that none is wider, unless a word is.
pub fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<String> =
        text.lines().flat_map(|line| broken(line, width, LongWords::Whole)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "one two three\nfour, five";
        for (width, lines) in [
            (80, "one two three\nfour, five"),
            (13, "one two three\nfour, five"),
            (12, "one two\nthree\nfour, five"),
            (7, "one two\nthree\nfour,\nfive"),
            (1, "one\ntwo\nthree\nfour,\nfive"),
        ] {
            assert_eq!(wrapped(text, width), lines, "{width}");
        }
        assert_eq!(wrapped("", 10), "");
    }
}
