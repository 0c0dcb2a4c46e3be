//! The map on the crate's front page, held to the sources: every module is on it once, and uses only
//! what stands above it, so there is no circle.

use std::fs;
use std::path::{Path, PathBuf};

/// What a module uses.
struct Use {
    user: String,
    used: String,
    file: PathBuf,
}

fn front_page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("lib.rs")).unwrap()
}

/// The modules of the crate, each with its files.
fn modules() -> Vec<(String, Vec<PathBuf>)> {
    let lib = front_page();
    let names = lib.lines().filter_map(|line| {
        let name = line.strip_suffix(';')?.split_once("mod ")?;
        ["", "pub ", "pub(crate) "].contains(&name.0).then(|| name.1.to_owned())
    });
    names
        .map(|name| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
            let files = [rust_files(&path.with_extension("rs")), rust_files(&path)].concat();
            assert!(!files.is_empty(), "no file of `{name}`");
            (name, files)
        })
        .collect()
}

/// A file, or the sources in a folder; nothing where there is neither.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| rust_files(&entry.unwrap().path())).collect();
    }
    let is_source = path.is_file() && path.extension().is_some_and(|extension| extension == "rs");
    if is_source { vec![path.to_owned()] } else { Vec::new() }
}

/// Names behind `crate::` in a source, of modules or of what the front page exports.
fn names_of_crate(source: &str) -> Vec<String> {
    let code: String = source.lines().filter_map(|line| line.split("//").next()).collect();
    let ident = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut names = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let behind = &code[at + found.len()..];
        let Some(group) = behind.strip_prefix('{') else {
            names.push(ident(behind));
            continue;
        };
        let (mut depth, mut start) = (0_u32, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    names.push(ident(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// All uses of one module by another.
fn uses(modules: &[(String, Vec<PathBuf>)]) -> Vec<Use> {
    let lib = front_page();
    let exports: Vec<(&str, &str)> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';')?.split_once("::"))
        .collect();
    let owner = |name: &str| {
        let is_it = |part: &str| part.trim_matches(['{', '}', ' ']) == name;
        let export = exports.iter().find(|(_, names)| names.split(',').any(is_it));
        export.map_or(name, |(module, _)| *module).to_owned()
    };
    let mut uses = Vec::new();
    for (user, files) in modules {
        for file in files {
            for name in names_of_crate(&fs::read_to_string(file).unwrap()) {
                let used = owner(&name);
                assert!(
                    used == "Error" || modules.iter().any(|(module, _)| *module == used),
                    "{} uses `crate::{name}`, which is in no module that this test finds",
                    file.display()
                );
                if used != *user && used != "Error" {
                    uses.push(Use { user: user.clone(), used, file: file.clone() });
                }
            }
        }
    }
    uses
}

/// The modules in the order of the map, each as often as it is named there.
fn map(modules: &[(String, Vec<PathBuf>)]) -> Vec<String> {
    let lib = front_page();
    let map = lib.split("# The map").nth(1).unwrap().split("//! # ").next().unwrap();
    let quoted = map.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| modules.iter().any(|(module, _)| module == name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_module_uses_only_what_the_map_has_above_it() {
    let modules = modules();
    let map = map(&modules);
    let place = |name: &str| {
        let mut places = map.iter().enumerate().filter(|(_, module)| *module == name);
        let (place, _) = places.next().unwrap_or_else(|| panic!("`{name}` is not on the map"));
        assert!(places.next().is_none(), "`{name}` is on the map twice");
        place
    };
    modules.iter().for_each(|(module, _)| _ = place(module));
    let uses = uses(&modules);
    let upward: Vec<String> = uses
        .iter()
        .filter(|u| place(&u.used) > place(&u.user))
        .map(|u| format!("{}: {} uses {}", u.file.display(), u.user, u.used))
        .collect();
    assert!(upward.is_empty(), "against the map:\n{}", upward.join("\n"));
    // The reader of imports reads: what every kernel stands on.
    for (user, used) in
        [("team", "blocking"), ("gemm", "team"), ("conv", "gemm"), ("naive", "matrix")]
    {
        assert!(uses.iter().any(|u| u.user == user && u.used == used), "{user} uses {used}");
    }
}

#[test]
fn imports_are_read_in_every_form() {
    let source = "use crate::{Isa, Mat, gemm::{Write, gemm}};\nuse crate::team::Scratch;\n\
                  use crate::{\n    dropout, // crate::not\n    sums::AddTo,\n};\nlet x = crate::math::exp;";
    let expected = ["Isa", "Mat", "gemm", "team", "dropout", "sums", "math"];
    assert_eq!(names_of_crate(source), expected);
}
