//! What is timed: every kernel at the recipes' sizes, and every recipe's whole step. The kernels are
//! those of [`threadcount::bench::kernels`], the recipes those of [`threadcount::reports`]; one that is
//! added there is timed here.

use crate::protocol::{Benchmark, Listed};
use glob::Pattern;
use threadcount::bench::kernels;
use threadcount::cli::{IsaFlag, Settings};
use threadcount::{Error, Result, reports};
use threadcount_kernels::{Isa, Precision};

/// How the name of a recipe's step begins.
pub const STEP: &str = "step ";

/// The state that a recipe's network is in when its steps are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its optimizer is as after a long training.
    Usual,
    /// Half of its units are dead as well, as after a longer one.
    Worn,
}

impl State {
    const ALL: [Self; 2] = [Self::Usual, Self::Worn];

    /// How the name of a step ends.
    fn ending(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Worn => ", worn",
        }
    }

    /// The recipes whose steps are timed in this state; of the second only those that stand for sigmoids, for ReLU
    /// with each optimizer, and for convolutions.
    fn has(self, recipe: &str) -> bool {
        match self {
            Self::Usual => true,
            Self::Worn => {
                ["biu-base", "biu-adam", "cse574-one-hidden", "cse574-cnn"].contains(&recipe)
            }
        }
    }

    /// The recipe of a step and its state, from the name without [`STEP`].
    pub fn of(step: &str) -> (&str, Self) {
        match step.strip_suffix(Self::Worn.ending()) {
            Some(recipe) => (recipe, Self::Worn),
            None => (step, Self::Usual),
        }
    }
}

/// Steps that are timed on every instruction set of the CPU, on one thread, where neither is chosen: dense layers,
/// and convolutions.
const ON_EVERY_ISA: [&str; 2] = ["step cse574-one-hidden", "step nlp-cnn"];

/// What is timed in every precision of products.
const IN_EVERY_PRECISION: [&str; 3] =
    ["gemm 512x512x512", "step cse574-one-hidden", "step nlp-cnn"];

/// The precisions other than f32.
fn smaller() -> impl Iterator<Item = Precision> {
    Precision::ALL.into_iter().filter(|&precision| precision != Precision::F32)
}

/// How the name of a benchmark ends in that precision.
fn ending(precision: Precision) -> String {
    match precision {
        Precision::F32 => String::new(),
        other => format!(", {other}"),
    }
}

/// What a benchmark times, and in which precision, from its name.
pub fn in_precision(name: &str) -> (&str, Precision) {
    let found = smaller().find_map(|one| Some((name.strip_suffix(&*ending(one))?, one)));
    found.unwrap_or((name, Precision::F32))
}

/// How the names of kernels end that are in the list only for comparison: a fused kernel's parts, one
/// after the other.
const APART: &str = "-apart";

/// The quick suite: of each kind of kernel what most of the training time goes into, and steps
/// that are bound by products, by memory, by convolutions and by the team.
pub const QUICK: [&str; 12] = [
    "gemm 512x512x512",
    "dense-forward 784x512, batch 32",
    "dense-dw 784x512, batch 64",
    "dense-dx 512x256, batch 32",
    "conv-forward 13x13x32 -> 64 valid, batch 64",
    "conv-backward-data 14x14x64 -> 32 same, batch 64",
    "conv-backward-weights 13x13x32 -> 64 valid, batch 64",
    "conv-pool-forward 28x28x1 -> 64 same, batch 64",
    "adam 567434 parameters",
    "step biu-base",
    "step cse574-one-hidden",
    "step comp475-cnn",
];

/// What is timed to know how noisy the machine is: registers and caches, memory, and a whole step.
pub const SENTINELS: [&str; 3] =
    ["dense-forward 784x512, batch 32", "adam 567434 parameters", "step cse574-one-hidden"];

/// Which benchmarks are meant.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Selection {
    /// Only benchmarks whose names match one of these globs, such as 'dense-*batch 32' or 'step nlp-*'
    #[arg(value_name = "GLOB", long = "only")]
    pub only: Vec<String>,
    /// Only a dozen benchmarks that stand for the others
    #[arg(long)]
    pub quick: bool,
    /// Numbers of threads [default: 1 and the physical cores]
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub threads: Vec<usize>,
    /// Instruction sets [default: the best this CPU has]
    #[arg(long, value_name = "ISA,ISA", value_delimiter = ',')]
    pub isa: Vec<String>,
}

/// The names of all benchmarks.
///
/// # Errors
/// [`Error::Usage`] if the layers of a recipe do not fit each other.
pub fn names() -> Result<Vec<String>> {
    let kernels = kernels::all()?.into_iter().filter(|entry| !entry.kernel.ends_with(APART));
    let mut names: Vec<String> = kernels.map(|entry| entry.name()).collect();
    for recipe in reports::select(&[])? {
        let states = State::ALL.into_iter().filter(|state| state.has(&recipe.id));
        names.extend(states.map(|state| format!("{STEP}{}{}", recipe.id, state.ending())));
    }
    for name in IN_EVERY_PRECISION {
        names.extend(smaller().map(|precision| format!("{name}{}", ending(precision))));
    }
    Ok(names)
}

impl Selection {
    /// The benchmarks, one number of threads beside the other.
    ///
    /// # Errors
    /// [`Error::Usage`] if something is asked for that does not exist.
    pub fn benchmarks(&self) -> Result<Vec<Benchmark>> {
        let names = self.names()?;
        let mut benchmarks = self.under_conditions(&names)?;
        if self.isa.is_empty() && self.threads.is_empty() && !self.quick {
            let best = benchmarks.first().map(|one| one.isa.clone()).unwrap_or_default();
            let others = Isa::detected().filter(|isa| isa.name() != best);
            for isa in others.map(|isa| isa.name().to_owned()) {
                let few = names.iter().filter(|name| ON_EVERY_ISA.contains(&&name[..]));
                benchmarks.extend(few.map(|name| Benchmark {
                    name: name.clone(),
                    isa: isa.clone(),
                    threads: 1,
                }));
            }
        }
        Ok(benchmarks)
    }

    /// Of names that this program does not know those that are meant, quick or not: what another program had in
    /// its quick suite is not known here.
    ///
    /// # Errors
    /// [`Error::Usage`] if something is asked for that does not exist.
    pub fn among(&self, names: &[String]) -> Result<Vec<Benchmark>> {
        let patterns = self.patterns()?;
        let is_meant = |name: &&String| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
        };
        let meant: Vec<String> = names.iter().filter(is_meant).cloned().collect();
        self.under_conditions(&meant)
    }

    /// Of a suite that this program does not know those that are meant.
    ///
    /// # Errors
    /// [`Error::Usage`] if something is asked for that it does not have.
    pub fn of_listed(&self, listed: &Listed) -> Result<Vec<Benchmark>> {
        let quick = |one: &Benchmark| !self.quick || listed.quick.contains(&one.name);
        let meant: Vec<Benchmark> = self.meant_of(listed)?.into_iter().filter(quick).collect();
        let idle = |glob: &&Pattern| !listed.benchmarks.iter().any(|one| glob.matches(&one.name));
        let fault = match self.patterns()?.iter().find(idle) {
            Some(glob) => format!("--only '{glob}' matches no benchmark"),
            None if meant.is_empty() => "no benchmark is all that was asked for".to_owned(),
            None => return Ok(meant),
        };
        let names: Vec<&str> = listed.benchmarks.iter().map(|one| &one.name[..]).collect();
        Err(Error::Usage(format!("{fault}; there are {}", names.join(", "))))
    }

    /// The same of another revision of it, quick or not.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no glob.
    pub fn meant_of(&self, listed: &Listed) -> Result<Vec<Benchmark>> {
        let patterns = self.patterns()?;
        let is_meant = |one: &&Benchmark| {
            (patterns.is_empty() || patterns.iter().any(|glob| glob.matches(&one.name)))
                && (self.threads.is_empty() || self.threads.contains(&one.threads))
                && (self.isa.is_empty() || self.isa.contains(&one.isa))
        };
        Ok(listed.benchmarks.iter().filter(is_meant).cloned().collect())
    }

    fn patterns(&self) -> Result<Vec<Pattern>> {
        self.only.iter().map(|text| pattern(text)).collect()
    }

    fn under_conditions(&self, names: &[String]) -> Result<Vec<Benchmark>> {
        let conditions = self.conditions()?;
        let with = |name: &String| {
            let benchmark = |(isa, threads)| Benchmark { name: name.clone(), isa, threads };
            conditions.clone().into_iter().map(benchmark).collect::<Vec<_>>()
        };
        Ok(names.iter().flat_map(with).collect())
    }

    /// The names.
    fn names(&self) -> Result<Vec<String>> {
        let mut names = names()?;
        if self.quick {
            names.retain(|name| QUICK.contains(&name.as_str()));
        }
        let patterns = self.patterns()?;
        if let Some(idle) = patterns.iter().find(|p| !names.iter().any(|name| p.matches(name))) {
            return Err(Error::Usage(format!(
                "--only '{idle}' matches no benchmark; `cargo perf list` shows their names"
            )));
        }
        names.retain(|name| patterns.is_empty() || patterns.iter().any(|p| p.matches(name)));
        Ok(names)
    }

    /// Instruction sets and numbers of threads.
    ///
    /// # Errors
    /// [`Error::Usage`] if this machine does not have them.
    pub fn conditions(&self) -> Result<Vec<(String, usize)>> {
        let settings = Settings::load()?;
        let threads = settings.thread_counts(&self.threads)?;
        let mut isas = Vec::new();
        for name in &self.isa {
            isas.push(Isa::from_name(name)?);
        }
        if isas.is_empty() {
            isas.push(settings.isa(&IsaFlag::default())?.unwrap_or_else(Isa::best));
        }
        let named = |isa: Isa| threads.iter().map(move |&n| (isa.name().to_owned(), n));
        Ok(isas.into_iter().flat_map(named).collect())
    }
}

/// The sentinels under some conditions.
pub fn sentinels(conditions: &[(String, usize)]) -> Vec<Benchmark> {
    let under = |name: &str| {
        let one = |(isa, threads): &(String, usize)| Benchmark {
            name: name.into(),
            isa: isa.clone(),
            threads: *threads,
        };
        conditions.iter().map(one).collect::<Vec<_>>()
    };
    SENTINELS.into_iter().flat_map(under).collect()
}

/// A glob.
///
/// # Errors
/// [`Error::Usage`] if it is none.
pub fn pattern(text: &str) -> Result<Pattern> {
    Pattern::new(text).map_err(|error| Error::Usage(format!("'{text}' is no glob: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_quick_ones_exist() {
        let names = names().unwrap();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), names.len());
        for quick in QUICK.iter().chain(&SENTINELS) {
            assert!(names.iter().any(|name| name == quick), "{quick} is not in {names:#?}");
        }
    }

    #[test]
    fn a_foreign_suite_is_chosen_from() {
        let on = |name: &str, threads| Benchmark { name: name.into(), isa: "x".into(), threads };
        let all = [on("sum 8", 1), on("sum 9", 2), on("sort", 1)];
        let listed =
            Listed { benchmarks: all.to_vec(), quick: vec!["sort".into()], sentinels: Vec::new() };
        let select = |only: &[&str], quick, threads: &[usize], isa: &[&str]| Selection {
            only: only.iter().map(|&glob| glob.to_owned()).collect(),
            quick,
            threads: threads.to_vec(),
            isa: isa.iter().map(|&isa| isa.to_owned()).collect(),
        };
        let picked =
            |selection: &Selection| selection.of_listed(&listed).map_err(|e| e.to_string());
        assert_eq!(picked(&select(&[], false, &[], &[])).unwrap(), all);
        assert_eq!(picked(&select(&["sum*"], false, &[1], &["x"])).unwrap(), all[..1]);
        assert_eq!(picked(&select(&[], true, &[], &[])).unwrap(), all[2..]);
        let fault = picked(&select(&["sum*", "nothing"], false, &[], &[])).unwrap_err();
        assert!(fault.contains("'nothing'") && fault.contains("sum 8, sum 9, sort"), "{fault}");
        assert!(picked(&select(&[], false, &[3], &[])).is_err());
        assert!(picked(&select(&["sum*"], true, &[], &[])).is_err());
        assert!(picked(&select(&[], false, &[], &["y"])).is_err());
        // What has gone is named whether it was quick or not.
        assert_eq!(select(&["sum*"], true, &[], &[]).meant_of(&listed).unwrap(), all[..2]);
    }

    #[test]
    fn every_condition_has_its_sentinels() {
        let sentinels = sentinels(&[("x".into(), 1), ("x".into(), 2)]);
        let found: Vec<_> = sentinels.iter().map(|one| (&one.name[..], one.threads)).collect();
        let expected: Vec<_> = SENTINELS.iter().flat_map(|&name| [(name, 1), (name, 2)]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn states_and_instruction_sets_are_axes() {
        let names = names().unwrap();
        for recipe in ["biu-base", "biu-adam", "cse574-one-hidden", "cse574-cnn"] {
            assert!(names.contains(&format!("step {recipe}, worn")));
        }
        assert_eq!(names.iter().filter(|name| name.ends_with(", worn")).count(), 4);
        assert_eq!(State::of("biu-base, worn"), ("biu-base", State::Worn));
        assert_eq!(State::of("biu-base"), ("biu-base", State::Usual));
        let only = |threads: &[usize], quick| Selection {
            only: vec!["step cse574-one-hidden".into()],
            threads: threads.to_vec(),
            quick,
            ..Selection::default()
        };
        let isas = |selection: Selection| -> Vec<String> {
            let benchmarks = selection.benchmarks().unwrap().into_iter();
            benchmarks.filter(|one| one.threads == 1).map(|one| one.isa).collect()
        };
        let mut all = isas(only(&[], false));
        assert_eq!(all.remove(0), isas(only(&[1], false))[0]);
        assert_eq!(all.len() + 1, Isa::detected().count());
        // Who chooses threads gets what was chosen, and the quick suite stays short.
        assert_eq!((isas(only(&[1], false)).len(), isas(only(&[], true)).len()), (1, 1));
    }

    #[test]
    fn the_precision_is_an_axis() {
        let names = names().unwrap();
        for name in IN_EVERY_PRECISION {
            for precision in Precision::ALL {
                let whole = format!("{name}{}", ending(precision));
                assert!(names.contains(&whole), "{whole}");
                assert_eq!(in_precision(&whole), (name, precision));
            }
        }
        let others = names.iter().filter(|name| in_precision(name).1 != Precision::F32);
        assert_eq!(others.count(), 2 * IN_EVERY_PRECISION.len());
        assert_eq!(in_precision("step a, worn, f32-split"), ("step a, worn", Precision::F32Split));
        assert_eq!(
            in_precision("dense-dw 8x8, batch 16"),
            ("dense-dw 8x8, batch 16", Precision::F32)
        );
    }

    #[test]
    fn globs_pick() {
        let picked = |selection: Selection| selection.benchmarks().map(|picked| picked.len());
        let only = |globs: &[&str]| Selection {
            only: globs.iter().map(|&glob| glob.to_owned()).collect(),
            threads: vec![1],
            ..Selection::default()
        };
        assert_eq!(picked(only(&["step biu-*"])).unwrap(), 6);
        assert_eq!(picked(only(&["gemm 512*", "step nlp-rnn"])).unwrap(), 4);
        let quick = Selection { quick: true, threads: vec![1], ..Selection::default() };
        assert_eq!(picked(quick.clone()).unwrap(), QUICK.len());
        assert_eq!(picked(Selection { only: vec!["step *".into()], ..quick }).unwrap(), 3);
        for bad in ["nothing*", "[", "***"] {
            assert!(matches!(picked(only(&[bad])), Err(Error::Usage(_))), "{bad}");
        }
        let threads = Selection { threads: vec![0], ..Selection::default() };
        assert!(matches!(picked(threads), Err(Error::Usage(_))));
        let isa = Selection { isa: vec!["mmx".into()], ..Selection::default() };
        assert!(matches!(picked(isa), Err(Error::Usage(_))));
    }
}
