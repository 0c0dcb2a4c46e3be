//! This program in place of the compiler and of the linker, as cargo and the compiler call it: one more flag for
//! everything that is compiled, and the program linked several times, each time with its functions in another
//! order.
//!
//! One program is one sample of where code can lie in memory, and that alone makes some loops a tenth slower.
//! What is slower in all orders is slower.

use crate::code::Code;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use threadcount::{Error, Result, console};

/// Functions begin on cache lines, of 2^6 bytes. Else a change anywhere moves all code behind it, and moved by a
/// quarter of a line the products of less than a microsecond took up to 16 % longer.
pub const ALIGNED: &str = "-Cllvm-args=-align-all-functions=6";

/// Orders of functions that a program is linked in besides its own. If half of all orders were slow, of each
/// side, a change of nothing would be slow in all of the head's and in none of the base's once in 256 times.
pub const ORDERS: usize = 4;

/// What is kept beside a program; to be changed where that is.
pub const KEPT: &str = "orders, functions";

/// Set where this program is called in place of the compiler: the program that is linked in several orders.
const COMPILES: &str = "THREADCOUNT_PERF_COMPILES";

/// The folder of the orders.
const INTO: &str = "THREADCOUNT_PERF_ORDERS";

/// Set where this program is called in place of the linker: that linker.
const LINKS: &str = "THREADCOUNT_PERF_LINKS";

/// The linker that the compiler calls if nobody names one.
const LINKER: &str = "cc";

/// Lets cargo call `this` program in place of the compiler. Whenever it links `binary`, the orders are put
/// into a folder.
pub fn wrap(cargo: &mut Command, this: &Path, binary: &str, into: &Path) {
    cargo.env("RUSTC_WRAPPER", this).env(COMPILES, binary.replace('-', "_")).env(INTO, into);
}

/// The orders that are in a folder.
pub fn orders(folder: &Path) -> Vec<PathBuf> {
    (1..=ORDERS).map(|order| path(folder, order)).filter(|path| path.exists()).collect()
}

/// Where an order is in a folder.
pub fn path(folder: &Path, order: usize) -> PathBuf {
    folder.join(format!("order-{order}"))
}

/// Where the code of a program's functions is in a folder.
pub fn functions(folder: &Path) -> PathBuf {
    folder.join("functions")
}

/// Does the work of the compiler or the linker, if this program was called in place of one.
pub fn stand_in() -> Option<ExitCode> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let done = if let Some(linker) = env::var_os(LINKS) {
        link(&linker, &words)
    } else {
        compile(env::var_os(COMPILES)?.to_str()?, &words)
    };
    let code = |status: ExitStatus| u8::try_from(status.code().unwrap_or(1)).unwrap_or(1);
    Some(done.map_or_else(
        |error| {
            console::note(&error.to_string());
            ExitCode::FAILURE
        },
        |status| ExitCode::from(code(status)),
    ))
}

/// The first word is the compiler.
fn compile(binary: &str, words: &[OsString]) -> Result<ExitStatus> {
    let [compiler, words @ ..] = words else {
        return Err(Error::Usage("called in place of the compiler, without one".into()));
    };
    let mut command = Command::new(compiler);
    // The compiler refuses to be told twice.
    let is_aligned =
        words.iter().any(|word| word.to_string_lossy().contains("-align-all-functions"));
    command.args(words).args((!is_aligned).then_some(ALIGNED)).env_remove(COMPILES);
    // Elsewhere linkers have other words for it.
    #[cfg(target_os = "linux")]
    if let Some(folder) = env::var_os(INTO).map(PathBuf::from)
        && is_of(words, binary)
    {
        let linker = linker(words);
        // By a link of the same name: from the name the compiler concludes which words the linker knows.
        let name = Path::new(&linker).file_name().unwrap_or(OsStr::new(LINKER));
        let stand_in = folder.join("stand-in").join(name);
        let this = env::current_exe().map_err(Error::io("this program"))?;
        put_link(&this, &stand_in).map_err(Error::io(&stand_in))?;
        let mut flag = OsString::from("-Clinker=");
        flag.push(stand_in);
        command.arg(flag).env(LINKS, linker);
    }
    command.status().map_err(Error::io(compiler))
}

#[cfg(target_os = "linux")]
fn put_link(to: &Path, at: &Path) -> std::io::Result<()> {
    fs::create_dir_all(at.parent().unwrap_or(at))?;
    if at.is_symlink() {
        fs::remove_file(at)?;
    }
    std::os::unix::fs::symlink(to, at)
}

/// Whether the compiler is to make that program.
fn is_of(words: &[OsString], binary: &str) -> bool {
    let has =
        |name: &str, value: &str| words.windows(2).any(|two| two[0] == name && two[1] == value);
    has("--crate-name", binary) && has("--crate-type", "bin")
}

/// The linker that the compiler is told to call: the last word counts.
fn linker(words: &[OsString]) -> OsString {
    let mut flags = words.iter().filter_map(|word| {
        let word = word.to_str()?;
        let flag = ["-C", "--codegen="].iter().find_map(|begin| word.strip_prefix(begin));
        flag.unwrap_or(word).strip_prefix("linker=").map(OsString::from)
    });
    flags.next_back().unwrap_or_else(|| LINKER.into())
}

/// Links as asked, and then again for each order.
fn link(linker: &OsStr, words: &[OsString]) -> Result<ExitStatus> {
    let folder = env::var_os(INTO).map(PathBuf::from);
    let folder = folder.ok_or_else(|| Error::Usage("no folder of orders".into()))?;
    for old in orders(&folder) {
        fs::remove_file(&old).map_err(Error::io(&old))?;
    }
    let map = folder.join("map");
    let call = |more: &[OsString]| {
        let mut command = Command::new(linker);
        command.args(words).args(more).env_remove(LINKS).status().map_err(Error::io(linker))
    };
    let status = call(&for_linker([OsStr::new("-Map"), map.as_os_str()]))?;
    if !status.success() {
        return Ok(status);
    }
    let functions = functions(&folder);
    let code = Code::of_link(words)?;
    fs::write(&functions, code.text()).map_err(Error::io(&functions))?;
    let map = fs::read(&map).map_err(Error::io(&map))?;
    let map = String::from_utf8_lossy(&map);
    let sections = sections(&map);
    for order in 1..=ORDERS {
        let (script, program) = (folder.join("script"), path(&folder, order));
        fs::write(&script, in_order(&sections, order)).map_err(Error::io(&script))?;
        // The last output that is named counts.
        let words = [OsStr::new("-T"), script.as_os_str(), OsStr::new("--strip-debug")];
        let output = ["-o".into(), program.into_os_string()];
        let done = call(&[&for_linker(words)[..], &output].concat())?;
        if !done.success() {
            // Not every linker takes such scripts; how many orders there are is told by who counts them.
            break;
        }
    }
    Ok(status)
}

/// Words that the compiler's driver hands on as they are; `-Wl` would cut a path at its commas.
fn for_linker<const N: usize>(words: [&OsStr; N]) -> Vec<OsString> {
    words.into_iter().flat_map(|word| ["-Xlinker".into(), word.to_owned()]).collect()
}

/// The sections of functions that a linker's map names. Names with other characters than these are patterns of
/// the linker's own script.
fn sections(map: &str) -> BTreeSet<&str> {
    let is_name = |word: &&str| {
        word.starts_with(".text.")
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))
    };
    map.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ':')).filter(is_name).collect()
}

/// A script that adds to the linker's own: sections in an order that depends on their names and a number alone,
/// so that equal functions lie equally in both programs of a comparison.
fn in_order(sections: &BTreeSet<&str>, order: usize) -> String {
    let mut sections: Vec<&str> = sections.iter().copied().collect();
    sections.sort_by_cached_key(|name| Sha256::digest(format!("{order} {name}")));
    let lines: String = sections.iter().map(|name| format!("*({name})\n")).collect();
    format!("SECTIONS {{ .text.ordered : {{\n{lines}}} }}\nINSERT BEFORE .text;\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_linker_is_the_last_that_is_named() {
        for (text, expected) in [
            ("--crate-name x -C opt-level=3", "cc"),
            ("-C linker=clang -Copt-level=3", "clang"),
            ("-Clinker=/a/b --codegen=linker=/c/d-ld --codegen lto", "/c/d-ld"),
            ("-C link-arg=-fuse-ld=bfd", "cc"),
        ] {
            assert_eq!(linker(&words(text)), expected, "{text}");
        }
    }

    #[test]
    fn only_the_program_is_linked_in_orders() {
        let is = |text: &str| is_of(&words(text), "a_b");
        assert!(is("--crate-name a_b --edition=2024 src/main.rs --crate-type bin -C lto"));
        for other in [
            "--crate-name a_b --crate-type lib",
            "--crate-name build_script_build --crate-type bin",
            "--crate-name a_b --test",
            "-vV",
        ] {
            assert!(!is(other), "{other}");
        }
    }

    /// As lld and as GNU's linker print them.
    #[test]
    fn names_are_found_in_maps() {
        let lld =
            "  14200  14200  1a  64  a.cgu.0.o:(.text._ZN1a2fa17h0E)\n 1 1 0 1 _ZN1a2fa17h0E\n";
        let gnu = " *(.text.unlikely .text.*_unlikely .text.unlikely.*)\n .text.f1$x.llvm.17\n     0x5080  \
                   0x1d a.o\n .text          0x50 0x0 crti.o\n .text.main     0x60 0x20 a.o\n";
        let map = format!("{lld}{gnu}{lld}");
        let found: Vec<&str> = sections(&map).into_iter().collect();
        assert_eq!(
            found,
            [".text._ZN1a2fa17h0E", ".text.f1$x.llvm.17", ".text.main", ".text.unlikely"]
        );
    }

    #[test]
    fn orders_differ_and_are_kept_by_others() {
        let names: Vec<String> = (0..20).map(|index| format!(".text.f{index}")).collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let lines = |names: &BTreeSet<&str>, order| -> Vec<String> {
            let text = in_order(names, order);
            text.lines().filter(|line| line.starts_with("*(")).map(str::to_owned).collect()
        };
        let all: BTreeSet<Vec<String>> = (0..6).map(|order| lines(&names, order)).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|lines| lines.len() == 20));
        // A function more leaves the others in their order.
        let more: BTreeSet<&str> = names.iter().copied().chain([".text.more"]).collect();
        let mut with_more = lines(&more, 1);
        with_more.retain(|line| line != "*(.text.more)");
        assert_eq!(with_more, lines(&names, 1));
    }
}
