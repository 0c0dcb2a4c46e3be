//! Whether the code of a function is another: what the linker is given, function by function. There what depends on
//! where things lie is still empty, because the linker fills it in, so no instruction has to be understood.

use crate::symbols::readable;
use object::read::archive::ArchiveFile;
use object::{
    File, Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use threadcount::{Error, Result};

/// The libraries that come with the compiler lie below a folder of this name; they are the same on both sides.
const OF_COMPILER: &str = "rustlib";

/// The functions of a program: the hashes of the code of each, of which there are several where a generic function
/// was compiled for several types. In the order of the hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Code {
    functions: BTreeMap<String, Vec<String>>,
}

/// What has become of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Its code is the same.
    Same,
    /// Its code is another.
    Changed,
    /// Only the head has it.
    New,
    /// Only the earlier program has it.
    Gone,
    /// Neither has it under this name: it belongs to the compiler's libraries or to the system.
    Foreign,
}

impl Code {
    /// Of what a linker is called with.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read. What is no object file has no functions.
    pub fn of_link(words: &[OsString]) -> Result<Self> {
        let mut code = Self::default();
        for path in words.iter().map(Path::new).filter(|path| is_input(path)) {
            let bytes = fs::read(path).map_err(Error::io(path))?;
            match ArchiveFile::parse(&*bytes) {
                Ok(archive) => {
                    let members = archive.members().filter_map(std::result::Result::ok);
                    members.filter_map(|member| member.data(&*bytes).ok()).for_each(|object| {
                        code.add(object);
                    });
                }
                Err(_) => code.add(&bytes),
            }
        }
        code.functions.values_mut().for_each(|hashes| hashes.sort_unstable());
        Ok(code)
    }

    fn add(&mut self, object: &[u8]) {
        let Ok(file) = File::parse(object) else { return };
        for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
            let Ok(data) = section.data() else { continue };
            let calls: Vec<(u64, String)> = section
                .relocations()
                .map(|(offset, relocation)| (offset, called(&file, relocation.target())))
                .collect();
            let functions = file.symbols().filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(section.index())
            });
            for symbol in functions.filter(|symbol| symbol.size() > 0) {
                let start = symbol.address().saturating_sub(section.address());
                let range = start..start + symbol.size();
                let Some(bytes) = data.get(range.start as usize..range.end as usize) else {
                    continue;
                };
                let mut hash = Sha256::new();
                hash.update(bytes);
                for (offset, name) in calls.iter().filter(|(offset, _)| range.contains(offset)) {
                    hash.update(format!("{} {name}\n", offset - range.start));
                }
                let Ok(name) = symbol.name() else { continue };
                let hash = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                self.functions.entry(readable(name)).or_default().push(hash);
            }
        }
    }

    /// A line for each hash: it, and the function's name.
    pub fn text(&self) -> String {
        let lines = self
            .functions
            .iter()
            .flat_map(|(name, hashes)| hashes.iter().map(move |hash| format!("{hash} {name}\n")));
        lines.collect()
    }

    /// Reads [`Self::text`]; nothing if there is no such file.
    pub fn read(path: &PathBuf) -> Option<Self> {
        fs::read_to_string(path).ok().map(|text| Self::parse(&text))
    }

    /// From [`Self::text`].
    pub fn parse(text: &str) -> Self {
        let mut code = Self::default();
        for (hash, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            code.functions.entry(name.to_owned()).or_default().push(hash.to_owned());
        }
        code
    }

    /// What has become of a function of this program in a later one.
    pub fn fate(&self, later: &Self, name: &str) -> Fate {
        match (self.functions.get(name), later.functions.get(name)) {
            (Some(before), Some(after)) if before == after => Fate::Same,
            (Some(_), Some(_)) => Fate::Changed,
            (None, Some(_)) => Fate::New,
            (Some(_), None) => Fate::Gone,
            (None, None) => Fate::Foreign,
        }
    }
}

fn is_input(path: &Path) -> bool {
    let is_object = path.extension().is_some_and(|end| end == "o" || end == "rlib" || end == "a");
    is_object && path.is_file() && !path.components().any(|part| part.as_os_str() == OF_COMPILER)
}

/// The function that a place in the code calls. Data are one and the same: their names are numbers that change with
/// everything else.
fn called(file: &File, target: RelocationTarget) -> String {
    let RelocationTarget::Symbol(index) = target else { return String::new() };
    let Ok(symbol) = file.symbol_by_index(index) else { return String::new() };
    let name = symbol.name().unwrap_or_default();
    let is_code = symbol.kind() == SymbolKind::Text || symbol.is_undefined();
    let is_numbered =
        [".L", "anon.", "vtable.", "switch.table"].iter().any(|begin| name.starts_with(begin));
    if is_code && !is_numbered { readable(name) } else { String::new() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::Command;

    /// The functions of a library of this text.
    fn compiled(text: &str) -> Code {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("x.rs");
        fs::write(&source, text).unwrap();
        let object = folder.path().join("x.o");
        let mut compiler = Command::new("rustc");
        compiler.args(["--edition=2024", "--crate-type=lib", "--crate-name=x", "-O", "--emit=obj"]);
        compiler.args(["-Cpanic=abort", "-Ccodegen-units=1"]);
        assert!(compiler.arg(&source).arg("-o").arg(&object).status().unwrap().success());
        let words = ["-o", "nowhere.o", object.to_str().unwrap()].map(OsString::from);
        Code::of_link(&words).unwrap()
    }

    const TEXT: &str = "#[inline(never)] pub fn square(x: u32) -> u32 { x.wrapping_mul(x) }
        #[inline(never)] pub fn cube(x: u32) -> u32 { x.wrapping_mul(x).wrapping_mul(x) }
        #[inline(never)] pub fn call(x: u32) -> u32 { square(x).wrapping_add(7) ^ TABLE[x as usize % 4] }
        #[inline(never)] pub fn old(x: &mut u32) { *x = x.rotate_left(3) }
        pub static TABLE: [u32; 4] = [1, 2, 3, 4];\n";

    #[test]
    fn only_what_is_another_has_changed() {
        let before = compiled(TEXT);
        let fate = |text: &str, name| before.fate(&compiled(text), name);
        assert_eq!(fate(TEXT, "x::call"), Fate::Same);
        // Before everything else, so that all of it lies elsewhere.
        let moved = format!("#[inline(never)] pub fn first(x: &mut u64) {{ *x /= 7; }}\n{TEXT}");
        for name in ["x::square", "x::cube", "x::call"] {
            assert_eq!(fate(&moved, name), Fate::Same, "{name}");
        }
        assert_eq!(fate(&moved, "x::first"), Fate::New);
        let other = TEXT.replace("wrapping_mul(x) }", "wrapping_mul(x + 1) }");
        assert_eq!(fate(&other, "x::square"), Fate::Changed);
        assert_eq!(fate(&other, "x::call"), Fate::Same);
        // The same instructions, but they call another function.
        assert_eq!(fate(&TEXT.replace("square(x).", "cube(x)."), "x::call"), Fate::Changed);
        assert_eq!(fate(&TEXT.replace("old", "young"), "x::old"), Fate::Gone);
        assert_eq!(fate(TEXT, "memcpy"), Fate::Foreign);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let code = compiled(TEXT);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("functions");
        fs::write(&path, code.text()).unwrap();
        assert_eq!(Code::read(&path), Some(code));
        assert_eq!(Code::read(&folder.path().join("none")), None);
    }
}
