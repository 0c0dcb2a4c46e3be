//! The plain-loop twin of every kernel: what tests compare with and benches call the baseline.
//! Each has the kernel's name and arguments, without the team.
#![forbid(unsafe_code)]
