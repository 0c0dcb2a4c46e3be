//! `threadcount` alone: the three commands to begin with.

use crate::Result;
use crate::console;

/// The text; tests parse its commands.
const TEXT: &str = "\
threadcount trains small networks on the CPU. Three commands to begin with:

  threadcount train nlp-mlp80   trains a network into runs/nlp-mlp80, in seconds
  threadcount runs              lists the runs, with their results
  threadcount reproduce         trains all networks of five reports, in minutes,
                                and prints their claims beside what comes out

'threadcount --help' shows all commands; 'threadcount train --help' all that one
can do, with examples.
";

pub(super) fn run() -> Result<()> {
    console::print(TEXT)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn the_three_commands_are_some() {
        let commands: Vec<_> =
            TEXT.lines().filter(|line| line.starts_with("  threadcount ")).collect();
        assert_eq!(commands.len(), 3);
        for line in commands {
            let command = line.trim().split("  ").next().unwrap_or_default();
            assert!(parse(command.split(' ').map(OsString::from)).is_ok(), "{command}");
        }
        assert!(TEXT.lines().all(|line| line.len() <= 80));
    }
}
