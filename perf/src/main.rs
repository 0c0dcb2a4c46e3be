//! Paired speed measurements.
fn main() {}
