//! The working tree, and the same with functions that nothing calls: only the place of the others can make it slower.

use crate::builds::{TargetFlag, Workshop};
use crate::program::Program;
use std::path::PathBuf;
use threadcount::{Error, Result};

/// How many functions are added to the kernels' crate.
const FUNCTIONS: usize = 100;

const ROOT: &str = "kernels/lib.rs";
const ADDED: &str = "kernels/unused.rs";

/// Where the program begins. The linker leaves out what nobody knows, so it looks at their addresses there.
const MAIN: &str = "perf/src/main.rs";
const BEGINS: &str = "fn main() -> ExitCode {\n";
const KEEPS: &str = "    std::hint::black_box(threadcount_kernels::unused::ALL);\n";

/// The working tree's program, and that with the functions.
///
/// # Errors
/// [`Error::Failed`] if one of them does not build.
pub fn programs(data: Option<PathBuf>) -> Result<(Program, Program)> {
    let (workshop, target) = (Workshop::open()?, TargetFlag::default().target());
    let source = workshop.working_tree()?;
    let files = added(|name| workshop.file(&source, name))?;
    let more = workshop.with_files(&source, "the working tree with unused functions", files)?;
    let (base, head) = (workshop.build(&source, &target)?, workshop.build(&more, &target)?);
    Ok((Program::new("base", base, data.clone()), Program::new("head", head, data)))
}

/// The files that differ.
fn added(read: impl Fn(&str) -> Result<String>) -> Result<Vec<(String, String)>> {
    let main = read(MAIN)?;
    if main.matches(BEGINS).count() != 1 {
        return Err(Error::Failed(format!("{MAIN} has not one function '{}'", BEGINS.trim_end())));
    }
    Ok(vec![
        (MAIN.to_owned(), main.replace(BEGINS, &[BEGINS, KEEPS].concat())),
        (ROOT.to_owned(), read(ROOT)? + "\n#[doc(hidden)]\npub mod unused;\n"),
        (ADDED.to_owned(), functions()),
    ])
}

/// Functions of many lengths, and a list of them.
fn functions() -> String {
    let line = |i: usize, j: usize| format!("    y = y.mul_add({i}.5, {j}.25).sqrt();\n");
    let one = |i: usize| {
        let lines: String = (0..1 + 3 * (i % 7)).map(|j| line(i, j)).collect();
        format!(
            "#[inline(never)]\nfn f{i}(x: f32) -> f32 {{\n    let mut y = x;\n{lines}    y\n}}\n\n"
        )
    };
    let all: String = (0..FUNCTIONS).map(one).collect();
    let names: Vec<String> = (0..FUNCTIONS).map(|i| format!("f{i}")).collect();
    let list = names.join(", ");
    format!("{all}pub const ALL: [fn(f32) -> f32; {FUNCTIONS}] = [{list}];\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn functions_are_added_and_kept() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = added(|name| Ok(fs::read_to_string(top.join(name)).unwrap())).unwrap();
        let text = |name: &str| &files.iter().find(|file| file.0 == name).unwrap().1;
        assert!(text(MAIN).contains(&[BEGINS, KEEPS].concat()));
        assert!(text(ROOT).ends_with("pub mod unused;\n"));
        assert_eq!(text(ADDED).matches("fn f").count(), FUNCTIONS);
        assert_eq!(text(ADDED).matches(", f").count(), FUNCTIONS - 1);
    }
}
