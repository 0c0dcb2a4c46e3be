//! This program in another process.

use super::Conditions;
use crate::{Error, Result, console};
use serde::de::DeserializeOwned;
use std::env;
use std::process::Command;

/// `threadcount bench` with one number of threads, whose only output is its JSON document. Errors go
/// where ours do; more arguments may follow.
pub(super) fn bench(conditions: &Conditions, threads: usize) -> Result<Command> {
    let program = env::current_exe().map_err(Error::io("this program"))?;
    let mut command = Command::new(program);
    command.args(["bench", "--json", "-", "--isa", conditions.isa.name()]);
    command.args(["--threads", &threads.to_string(), "--samples", &conditions.samples.to_string()]);
    if let Some(precision) = conditions.precision {
        command.args(["--precision", precision.name()]);
    }
    if console::is_quiet() {
        command.arg("--quiet");
    }
    Ok(command)
}

/// Runs it and reads the document. `what` names the measurement in errors.
pub(super) fn document<T: DeserializeOwned>(mut command: Command, what: &str) -> Result<T> {
    let failed = |fault: &str| Error::Failed(format!("measuring {what}: {fault}"));
    let output = command.output().map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        // Where its stderr is not ours, the last line is its error.
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().last().map(|line| line.trim_start_matches("threadcount: error: "));
        return Err(failed(line.unwrap_or(&output.status.to_string())));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(&error.to_string()))
}
