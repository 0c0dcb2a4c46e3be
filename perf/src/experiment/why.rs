//! `cargo perf experiment why`: kernels are slowed down one by one, and a check is to say which phase of the step it was.
//!
//! One program serves for all: a copy of the working tree whose kernels can be slowed down, see
//! [`planted`](super::planted).

use super::Tally;
use crate::builds::{Source, TargetFlag, Workshop};
use crate::check::judge::{Check, any_seed};
use crate::check::margin::Margins;
use crate::check::row::Row;
use crate::program::{Program, Side, Slowdown, data};
use crate::protocol::{Benchmark, Timed, Twin};
use crate::suite::{STEP, Selection, pattern};
use glob::Pattern;
use std::process::ExitCode;
use threadcount::cli::DataFlag;
use threadcount::{Error, Result, console};

/// What a step becomes longer by: found in 20 cases of 20, see `experiment power`.
const GROWTH: f64 = 0.05;

/// The share of the slowdowns whose phase is to be named at least.
const LEAST: f64 = 0.9;

/// How long a step's phases are looked at, to know how much a kernel must be slowed down.
const LOOK: f64 = 0.5;

/// The file that is put into the kernels' crate, and where.
const PLANTED: (&str, &str) = ("kernels/planted.rs", include_str!("planted.rs"));
const ROOT: &str = "kernels/lib.rs";

/// A kernel that can be slowed down.
struct Kernel {
    name: &'static str,
    file: &'static str,
    /// How its function begins.
    begins: &'static str,
    /// When it is slowed down, in terms of its arguments.
    when: &'static str,
}

const fn kernel(name: &'static str, file: &'static str, begins: &'static str) -> Kernel {
    Kernel { name, file, begins, when: "true" }
}

const KERNELS: [Kernel; 14] = [
    kernel("gather", "kernels/gather.rs", "pub fn scaled<"),
    Kernel {
        when: "matches!(epilogue, Epilogue::Bias { .. })",
        ..kernel("product with a bias", "kernels/gemm/mod.rs", "pub fn gemm(")
    },
    Kernel {
        when: "b.rs() == 1",
        ..kernel("product with a transposed B", "kernels/gemm/mod.rs", "pub fn gemm(")
    },
    kernel("step by product", "kernels/update/product.rs", "pub fn step_by_product("),
    kernel("optimizer", "kernels/update/mod.rs", "pub fn step(self, team"),
    kernel("cross-entropy", "kernels/loss/mod.rs", "pub fn softmax_cross_entropy("),
    kernel("convolution", "kernels/conv/mod.rs", "pub fn forward("),
    kernel("convolution by x", "kernels/conv/mod.rs", "pub fn backward_data("),
    kernel("convolution by w", "kernels/conv/mod.rs", "pub fn backward_weights("),
    kernel("convolution and pooling", "kernels/conv/pooled.rs", "pub fn forward_pooled("),
    kernel("pooling by x", "kernels/pool/mod.rs", "pub fn max_backward("),
    kernel("normalisation by x", "kernels/norm.rs", "pub fn backward("),
    kernel("LSTM", "kernels/recurrent/lstm.rs", "pub fn lstm_forward("),
    kernel("LSTM by x", "kernels/recurrent/lstm.rs", "pub fn lstm_backward("),
];

/// Steps, the kernel of each that is slowed down, and the phase that grows most by it.
const CASES: [(&str, &str, &str); 20] = [
    ("biu-base", "gather", "gather"),
    ("biu-base", "product with a bias", "dense forward"),
    ("biu-adam", "product with a bias", "dense forward"),
    ("biu-adam", "product with a transposed B", "dense_1 dx"),
    ("biu-adam", "step by product", "dense backward and step"),
    ("nlp-mlp300", "gather", "gather"),
    ("nlp-mlp300", "step by product", "dense backward and step"),
    ("cse574-mlp", "cross-entropy", "loss"),
    ("cse574-mlp", "product with a transposed B", "dense_1 dx"),
    ("cse574-mlp", "step by product", "dense backward and step"),
    ("nlp-cnn", "convolution", "conv2d_1 forward"),
    ("nlp-cnn", "convolution by x", "conv2d_1 dx"),
    ("nlp-cnn", "convolution by w", "conv2d_1 dw"),
    ("nlp-cnn", "pooling by x", "max_pooling2d backward"),
    ("nlp-cnn", "normalisation by x", "batch_normalization backward"),
    ("nlp-cnn", "optimizer", "adam"),
    ("comp475-cnn", "convolution and pooling", "conv2d_1 + max_pooling2d_1 forward"),
    ("nlp-rnn", "LSTM", "lstm forward"),
    ("nlp-rnn", "LSTM by x", "lstm backward"),
    ("nlp-rnn", "optimizer", "adam"),
];

#[derive(clap::Args)]
pub struct Args {
    /// Only steps whose names match this glob, such as 'step nlp-*'
    #[arg(long, value_name = "GLOB")]
    only: Option<String>,
    #[command(flatten)]
    data: DataFlag,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let only = args.only.as_deref().map(pattern).transpose()?;
    let is_meant = |step: &str| only.as_ref().is_none_or(|only| only.matches(step));
    let meant: Vec<(Selection, &str, &str)> = CASES
        .iter()
        .map(|&(recipe, kernel, phase)| (format!("{STEP}{recipe}"), kernel, phase))
        .filter(|(step, ..)| is_meant(step))
        .map(|(step, kernel, phase)| (one_thread(&step), kernel, phase))
        .collect();
    let Some((selection, ..)) = meant.first() else {
        return Err(Error::Usage("--only matches none of the steps of this experiment".into()));
    };
    let data = data(&args.data, &selection.benchmarks()?)?;
    let workshop = Workshop::open()?;
    let source = with_slow_kernels(&workshop)?;
    let built = workshop.build(&source, &TargetFlag::default().target())?;
    let base = Program::new("base", built.clone(), data.clone());
    let mut named = Tally::default();
    for (selection, kernel, phase) in &meant {
        // One name, under one condition.
        let benchmark = selection.benchmarks()?.swap_remove(0);
        let share = share(&base, &benchmark, phase)?;
        let slowdown = Some(Slowdown { names: vec![(*kernel).to_owned()], share });
        let head = Program { slowdown, ..Program::new("head", built.clone(), data.clone()) };
        let row = compared(&base, &head, selection)?;
        let change = 100.0 * row.since_base.change.median;
        let (is_right, said) = verdict(&row, phase);
        named.add(is_right);
        let mark = if is_right { "named" } else { "NOT NAMED" };
        console::print(&format!(
            "{}: {kernel} slowed by {:.0} %, {change:+.1} %; {phase} {mark}: {said}\n",
            benchmark.name,
            100.0 * share
        ))?;
    }
    console::print(&format!("the phases of {named} slowdowns were named\n"))?;
    Ok(named.exit_code(LEAST))
}

fn one_thread(step: &str) -> Selection {
    Selection { only: vec![Pattern::escape(step)], threads: vec![1], ..Selection::default() }
}

/// The working tree, with kernels that can be slowed down.
fn with_slow_kernels(workshop: &Workshop) -> Result<Source> {
    let source = workshop.working_tree()?;
    let files = planted(|name| workshop.file(&source, name))?;
    workshop.with_files(&source, "the working tree with kernels that can be slowed down", files)
}

/// The files that differ.
fn planted(read: impl Fn(&str) -> Result<String>) -> Result<Vec<(String, String)>> {
    let (name, text) = PLANTED;
    let root = read(ROOT)? + "\n#[doc(hidden)]\npub mod planted;\n";
    let mut files = vec![(name.to_owned(), text.to_owned()), (ROOT.to_owned(), root)];
    for kernel in &KERNELS {
        let known = files.iter().position(|(name, _)| name == kernel.file);
        let index = match known {
            Some(index) => index,
            None => {
                files.push((kernel.file.to_owned(), read(kernel.file)?));
                files.len() - 1
            }
        };
        let text = &mut files[index].1;
        let body = body(text, kernel.begins).ok_or_else(|| {
            Error::Failed(format!("{} has not one function '{}'", kernel.file, kernel.begins))
        })?;
        let Kernel { name, when, .. } = kernel;
        let line = format!("let _slow = ({when}).then(|| crate::planted::slow({name:?}));\n");
        text.insert_str(body, &line);
    }
    Ok(files)
}

/// Where the body of the one function that begins so begins.
fn body(text: &str, begins: &str) -> Option<usize> {
    const OPENS: &str = "{\n";
    let (at, _) =
        text.match_indices(begins).next().filter(|_| text.matches(begins).count() == 1)?;
    Some(at + text[at..].find(OPENS)? + OPENS.len())
}

/// By which share of its time a kernel must become slower, for the step to become longer as is wanted.
fn share(base: &Program, benchmark: &Benchmark, phase: &str) -> Result<f64> {
    let mut worker = base.start(0)?;
    worker.prepare(benchmark, Twin::Trusted)?;
    share_of(&worker.explain(LOOK, 0)?.phases, phase)
        .ok_or_else(|| Error::Failed(format!("{benchmark} has no phase '{phase}' any more")))
}

fn share_of(phases: &[Timed], phase: &str) -> Option<f64> {
    let step: f64 = phases.iter().map(|timed| timed.seconds).sum();
    let of_phase = phases.iter().find(|timed| timed.name == phase)?;
    Some(GROWTH * step / of_phase.seconds)
}

/// What a check says of a step.
fn compared(base: &Program, head: &Program, selection: &Selection) -> Result<Row> {
    let report = Check {
        base,
        head,
        anchor: None,
        benchmarks: &selection.benchmarks()?,
        // With one benchmark, its own inconclusive verdict tells of noise.
        sentinels: &[],
        selection,
        may_go: &[],
        margins: &Margins::default(),
        seed: any_seed(),
    }
    .run()?;
    let row = report.rows.into_iter().next();
    row.ok_or_else(|| Error::Failed("a check of one benchmark without a row".into()))
}

/// Whether that phase is named first, and what is said.
fn verdict(row: &Row, phase: &str) -> (bool, String) {
    match &row.why {
        None => (false, row.since_base.verdict.to_string()),
        Some(why) => {
            let names: Vec<&str> = why.phases.iter().map(|part| &part.name[..]).collect();
            (names.first() == Some(&phase), names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::why::{Part, Why};
    use crate::protocol::Sampled;
    use crate::rounds::Round;
    use std::fs;
    use std::path::Path;

    /// A kernel that was renamed is noticed here, and not when somebody runs the experiment.
    #[test]
    fn every_kernel_is_found_in_the_sources() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = planted(|name| Ok(fs::read_to_string(top.join(name)).unwrap())).unwrap();
        for Kernel { name, file, begins, when } in &KERNELS {
            let (_, text) = files.iter().find(|(name, _)| name == file).unwrap();
            let line = format!("let _slow = ({when}).then(|| crate::planted::slow({name:?}));\n");
            let from = text.find(begins).unwrap();
            let to = from + text[from..].find(&line).expect(name);
            // Between them there are only arguments, and lines of other kernels that have the same function.
            let between = &text[from..to];
            assert_eq!(between.matches("fn ").count(), 1, "{between}");
            assert_eq!(text.matches(&line).count(), 1, "{name}");
        }
        assert!(files[1].1.ends_with("pub mod planted;\n") && files[1].0 == ROOT);
    }

    #[test]
    fn every_case_has_its_kernel_and_its_recipe() {
        for (index, (recipe, kernel, _)) in CASES.iter().enumerate() {
            assert_eq!(one_thread(&format!("{STEP}{recipe}")).benchmarks().unwrap().len(), 1);
            assert!(KERNELS.iter().any(|known| known.name == *kernel), "{kernel}");
            let same = |other: &(&str, &str, &str)| (other.0, other.1) == (*recipe, *kernel);
            assert_eq!(CASES.iter().position(same), Some(index), "{recipe}: {kernel}");
        }
        for kernel in &KERNELS {
            assert!(CASES.iter().any(|(_, known, _)| known == &kernel.name), "{}", kernel.name);
        }
    }

    #[test]
    fn the_step_becomes_longer_by_a_twentieth() {
        let timed = |(name, seconds): (&str, f64)| Timed { name: name.into(), seconds };
        let phases = [("gather", 1.0), ("dense forward", 3.0), ("rest", 6.0)].map(timed);
        assert_eq!(share_of(&phases, "gather"), Some(0.5));
        assert_eq!(share_of(&phases, "loss"), None);
    }

    #[test]
    fn only_what_is_named_first_is_right() {
        let sampled = Sampled { seconds: 1.0, share_of_limit: None };
        let round = Round { base: sampled, head: sampled, anchor: None };
        let benchmark = Benchmark { name: "a".into(), isa: "x".into(), threads: 1 };
        let mut row = Row::new(&benchmark, &[round; 8], &Margins::default());
        assert_eq!(verdict(&row, "gather"), (false, "unchanged".into()));
        let part = |name: &str| Part { name: name.into(), seconds: [1.0, 2.0], code: None };
        let phases = vec![part("loss"), part("gather")];
        row.why = Some(Why { phases, functions: Vec::new(), has_other_code: None });
        assert_eq!(verdict(&row, "gather"), (false, "loss, gather".into()));
        assert!(verdict(&row, "loss").0);
    }

    #[test]
    fn a_function_that_is_not_the_only_one_is_refused() {
        let text = "pub fn a(\n    x: &[f32],\n) {\n    b();\n}\n\npub fn ab() {\n}\n";
        assert_eq!(body(text, "pub fn a("), Some(text.find("    b();").unwrap()));
        assert_eq!((body(text, "pub fn a"), body(text, "pub fn c(")), (None, None));
    }
}
