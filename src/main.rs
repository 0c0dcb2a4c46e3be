//! The `threadcount` program.

fn main() -> std::process::ExitCode {
    threadcount::cli::run(std::env::args_os())
}
