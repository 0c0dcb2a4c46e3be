//! Writing to stdout and stderr without ever panicking (as `println!` and `eprintln!` do): a reader
//! may go away at any time. Results go to stdout, progress and warnings to stderr.

use crate::{Error, Result};
use std::io::{self, IsTerminal, Write};

/// Writes results to stdout.
///
/// # Errors
/// [`Error::Io`], with the kind `BrokenPipe` if the reader has gone.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::io("stdout"))
}

/// Writes a line of progress or a warning to stderr. There is nowhere to report a failure to.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A warning.
pub fn warn(message: &str) {
    note(&format!("threadcount: warning: {message}"));
}

/// Whether lines on stderr may be redrawn in place.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
