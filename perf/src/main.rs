//! Speed measurements that a noisy machine cannot fool: what is measured and what it is compared
//! with take turns in one process, and the median of their ratios is the figure.

mod gemm;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use threadcount_kernels::{Isa, Pool, machine::machine};

/// Measures threadcount's kernels.
#[derive(Parser)]
#[command(name = "cargo perf", bin_name = "cargo perf", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Matrix products of the reports' dense layers, as a share of the measured FMA peak
    Gemm {
        /// Threads; by default one
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        threads: u16,
        /// Pairs of samples per product
        #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..))]
        samples: u16,
    },
}

fn main() -> ExitCode {
    let Command::Gemm { threads, samples } = Arguments::parse().command;
    match run_gemm(threads.into(), samples.into()) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cargo perf: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_gemm(threads: usize, samples: usize) -> Result<String, Box<dyn std::error::Error>> {
    let machine = machine();
    let isa = Isa::active()?;
    println!("{}, {isa}, {threads} of {} threads", machine.cpu, machine.available_threads);
    let pool = Pool::new(isa, threads)?;
    Ok(pool.enter(|team| gemm::table(team, samples)).to_string())
}
