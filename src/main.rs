//! The `threadcount` program.

fn main() {}
