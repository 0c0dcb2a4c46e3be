//! The benchmarks of this crate: `threadcount-perf check --package watched --bin watched-perf`.

use std::hint::black_box;
use std::process::ExitCode;
use threadcount_perf_suite::{Bench, Benches, Work};
use watched::{histogram, naive_histogram};

fn main() -> ExitCode {
    let mut benches = Benches::new();
    for length in [1_000, 100_000] {
        let bytes: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let checked = bytes.clone();
        benches = benches.bench(Bench::new(
            format!("histogram {length}"),
            Work::operations(f64::from(length)),
            move || match histogram(&checked) == naive_histogram(&checked) {
                true => Ok(()),
                false => Err("it counts otherwise than a plain loop".into()),
            },
            move || _ = black_box(histogram(black_box(&bytes))),
        ));
    }
    benches.quick(&["histogram 1000"]).main()
}
