//! The program on a terminal of some width: `script` gives it one.

use super::desk::Desk;
use std::process::Command;

/// What a terminal is sent.
pub(crate) struct Screen {
    pub(crate) raw: String,
    /// The lines that stood on it at one time or another.
    pub(crate) lines: Vec<String>,
}

/// Runs the program with its stderr on a terminal of so many columns; its results go elsewhere. `None` where there is
/// no program `script`, and so no terminal.
pub(crate) fn on_terminal(desk: &Desk, args: &str, data: &str, width: usize) -> Option<Screen> {
    let program = assert_cmd::cargo::cargo_bin!("threadcount");
    let command = format!("stty cols {width} rows 40; {} {args} >/dev/null", program.display());
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(desk.folder());
    desk.clean(|name| {
        script.env_remove(name);
    });
    script.env_remove("COLUMNS").env_remove("NO_COLOR").env("TERM", "xterm");
    script.env("THREADCOUNT_DATA", data).env("THREADCOUNT_CACHE", desk.path("cache"));
    let output = script.output().ok()?;
    let raw = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args}: {raw}");
    // Cursor movements take no columns; a return begins the line again.
    let mut plain = String::new();
    let mut rest = raw.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        // Where the cursor moves to another line, so does the text.
        plain.push('\n');
        rest = &after[end + 1..];
    }
    plain += rest;
    let lines = plain.split(['\n', '\r']).map(str::to_owned).collect();
    Some(Screen { raw, lines })
}
