//! `cargo perf bisect`: the commit that has made a benchmark slower, or faster.
//!
//! - [`search`]: which revision to ask next, and what the answers say of the commits
//! - [`yardstick`]: what an answer is
//! - [`trial`]: the course of it
//! - [`report`]: what is told

mod report;
mod search;
mod trial;
mod yardstick;

use crate::builds::{TargetFlag, Workshop};
use crate::check::foreign;
use crate::check::judge::any_seed;
use crate::check::margin::{Margin, Margins};
use crate::program::{Program, data};
use crate::protocol::Benchmark;
use crate::suite::Selection;
use glob::Pattern;
use report::Report;
use std::process::ExitCode;
use threadcount::Result;
use threadcount::cli::{DataFlag, JsonFlag};
use trial::{Bisection, Made};

#[derive(clap::Args)]
pub struct Args {
    /// Two revisions, such as v0.1.0..HEAD
    #[arg(value_name = "BASE..HEAD")]
    range: String,
    /// The name of a benchmark; `cargo perf list` shows them
    benchmark: String,
    /// Threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Instruction set [default: the best this CPU has]
    #[arg(long)]
    isa: Option<String>,
    /// Another margin, as of `check`, beyond which base and head must differ
    #[arg(long, value_name = "GLOB=PERCENT")]
    margin: Vec<Margin>,
    #[command(flatten)]
    target: TargetFlag,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    json: JsonFlag,
}

impl Args {
    fn selection(&self) -> Selection {
        Selection {
            only: vec![Pattern::escape(&self.benchmark)],
            threads: vec![self.threads],
            isa: self.isa.iter().cloned().collect(),
            ..Selection::default()
        }
    }

    /// Of threadcount's own suite.
    fn benchmark(&self) -> Result<Benchmark> {
        // One name, of which there is one, under one condition.
        Ok(self.selection().benchmarks()?.swap_remove(0))
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let own = if args.target.is_foreign() { None } else { Some(args.benchmark()?) };
    args.json.check()?;
    let data = data(&args.data, own.as_slice())?;
    let workshop = Workshop::open()?;
    let margins = Margins::on_this_machine(workshop.root(), &args.margin, &[])?;
    let (revisions, target) = (workshop.between(&args.range)?, args.target.target());
    let benchmark = match own {
        Some(own) => own,
        None => {
            let head = workshop.build(&revisions[revisions.len() - 1].source, &target)?;
            foreign(&Program::new("head", head, data.clone()), &args.selection())?.0.swap_remove(0)
        }
    };
    let program = |revision: usize| -> Result<Made> {
        let role = match revision {
            0 => "base",
            last if last + 1 == revisions.len() => "head",
            _ => "revision",
        };
        let source = &revisions[revision].source;
        Ok(match workshop.try_build(source, &target)? {
            Ok(built) => Ok(Box::new(Program::new(role, built, data.clone()))),
            Err(fault) => Err(format!("{} {fault}", source.name)),
        })
    };
    let finding = Bisection {
        benchmark: &benchmark,
        margins: &margins,
        commits: revisions.len() - 1,
        program: &program,
        seed: any_seed(),
    }
    .run()?;
    let report = Report { benchmark: &benchmark, revisions: &revisions, finding: &finding };
    args.json.put(&report.json()?, &report.text())?;
    Ok(finding.outcome.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use threadcount_kernels::Isa;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// Any instruction set but the one that would be taken without a word.
    #[test]
    fn the_benchmark_is_the_one_that_was_asked_for() {
        let isa = Isa::detected().last().unwrap();
        let words = ["bisect", "a..b", "gemm 512x512x512", "--isa", isa.name(), "--threads", "2"];
        let benchmark = Cli::parse_from(words).args.benchmark().unwrap();
        let expected =
            Benchmark { name: "gemm 512x512x512".into(), isa: isa.name().into(), threads: 2 };
        assert_eq!(benchmark, expected);
        assert!(Isa::detected().count() == 1 || isa != Isa::best());
    }
}
