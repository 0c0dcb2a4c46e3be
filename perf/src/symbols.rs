//! The names of a program's functions, and where they lie.

use object::{File, Object, ObjectSegment, ObjectSymbol, SymbolKind};
use std::fs;
use std::path::Path;
use threadcount::{Error, Result};
use threadcount_perf_suite::protocol::{Spots, Timed};

/// What lies in the system's libraries, and what has no name.
const ELSEWHERE: &str = "(libraries of the system)";

/// Memory is mapped in pages of this size, or in multiples of it.
const PAGE: u64 = 4096;

/// A program's functions by their addresses.
#[derive(Clone, Debug)]
pub struct Symbols {
    /// First address, the one behind the last, name; ascending.
    functions: Vec<(u64, u64, String)>,
    /// The address at which the program begins.
    first: u64,
}

impl Symbols {
    /// Of a program.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Failed`] if it is no program that this can read.
    pub fn read(program: &Path) -> Result<Self> {
        let bytes = fs::read(program).map_err(Error::io(program))?;
        let file = File::parse(&*bytes)
            .map_err(|error| Error::Failed(format!("{}: {error}", program.display())))?;
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let mut functions: Vec<(u64, u64, String)> = functions
            .filter(|symbol| symbol.size() > 0)
            .filter_map(|symbol| {
                let start = symbol.address();
                Some((start, start + symbol.size(), readable(symbol.name().ok()?)))
            })
            .collect();
        functions.sort_unstable();
        let first = file.segments().map(|segment| segment.address()).min().unwrap_or(0);
        Ok(Self { functions, first: first / PAGE * PAGE })
    }

    /// The function at an address relative to the program's first.
    fn at(&self, spot: u64) -> Option<&str> {
        let at = self.first + spot;
        let behind = self.functions.partition_point(|(start, ..)| *start <= at);
        let (_, end, name) = self.functions.get(behind.checked_sub(1)?)?;
        (at < *end).then_some(name)
    }

    /// What each function takes of a run.
    pub fn timed(&self, spots: &Spots) -> Vec<Timed> {
        let all = spots.met.iter().map(|(_, count)| count).sum::<u32>() + spots.elsewhere;
        let each = spots.seconds / f64::from(all.max(1));
        let mut timed: Vec<Timed> = Vec::new();
        let elsewhere = (ELSEWHERE, spots.elsewhere);
        let met = spots.met.iter().map(|(at, count)| (self.at(*at).unwrap_or(ELSEWHERE), *count));
        for (name, count) in met.chain([elsewhere]).filter(|(_, count)| *count > 0) {
            let seconds = each * f64::from(count);
            match timed.iter_mut().find(|timed| timed.name == name) {
                Some(timed) => timed.seconds += seconds,
                None => timed.push(Timed { name: name.to_owned(), seconds }),
            }
        }
        timed
    }
}

/// A function's name as people write it, without the numbers that compilers add.
pub fn readable(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_numbers() {
        assert_eq!(
            readable("_ZN3std2io5stdio6_print17h0123456789abcdefE"),
            "std::io::stdio::_print"
        );
        let moved = "_ZN3std2io5stdio6_print17h0123456789abcdefE.llvm.1234567";
        assert_eq!(readable(moved), "std::io::stdio::_print");
        assert_eq!(readable("memcpy"), "memcpy");
    }

    #[test]
    fn time_goes_to_the_function_that_holds_the_address() {
        let function = |start, end, name: &str| (start, end, name.to_owned());
        let functions =
            vec![function(100, 110, "a"), function(110, 120, "b"), function(130, 140, "c")];
        let symbols = Symbols { functions, first: 90 };
        let spots = Spots {
            seconds: 2.0,
            met: vec![(9, 1), (10, 2), (19, 1), (20, 4), (45, 5), (50, 1)],
            elsewhere: 6,
        };
        let timed = symbols.timed(&spots);
        let found: Vec<(&str, f64)> =
            timed.iter().map(|t| (&t.name[..], (10.0 * t.seconds).round())).collect();
        // Before the first and behind the last is nothing that has a name.
        assert_eq!(found, [(ELSEWHERE, 8.0), ("a", 3.0), ("b", 4.0), ("c", 5.0)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_has_them() {
        let symbols = Symbols::read(&std::env::current_exe().unwrap()).unwrap();
        let own = symbols.functions.iter().find(|(.., name)| name.ends_with("symbols::readable"));
        let (start, ..) = own.expect("this function");
        assert!(symbols.at(start - symbols.first).unwrap().ends_with("symbols::readable"));
    }
}
