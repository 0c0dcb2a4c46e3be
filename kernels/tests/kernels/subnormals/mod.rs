//! No kernel and no twin stores a subnormal number, whatever normal numbers it is given: a walk over
//! all of them. A twin that is in none of the lists fails a test.

mod between;
mod conv;
#[cfg(target_arch = "x86_64")]
mod on_the_way;
mod precise_conv;
mod products;

use crate::common::{labels, noise, untouched};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use threadcount_kernels::{Activation, Isa, Team};

/// Who computes: a kernel with a team, or its twin.
type Runner<'a> = Option<&'a Team<'a>>;

/// What a kernel is given: normal numbers of either sign whose magnitudes are spread evenly between
/// two powers of two.
#[derive(Clone, Copy, Debug)]
struct Regime {
    exponents: [f32; 2],
}

/// Products of two are subnormal; elements times a scale are; both, beside ordinary numbers.
const REGIMES: [Regime; 4] = [
    Regime { exponents: [-66.0, -61.0] },
    Regime { exponents: [-125.9, -120.0] },
    Regime { exponents: [-125.0, -60.0] },
    Regime { exponents: [-125.0, 1.0] },
];

impl Regime {
    fn numbers(self, seed: u64, len: usize) -> Vec<f32> {
        let [low, high] = self.exponents;
        let (exponents, signs) = (noise(seed, len), noise(seed + 1000, len));
        let numbers = exponents
            .iter()
            .zip(signs)
            .map(|(e, sign)| ((e + 1.0) / 2.0 * (high - low) + low).exp2().copysign(sign));
        numbers.inspect(|x| assert!(x.is_normal())).collect()
    }

    fn positive(self, seed: u64, len: usize) -> Vec<f32> {
        self.numbers(seed, len).into_iter().map(f32::abs).collect()
    }
}

/// Runs a kernel or its twin in a regime and returns all that it stores.
type Run = fn(Runner, Regime) -> Vec<Vec<f32>>;

/// Every kernel by the name of its twin.
fn kernels() -> impl Iterator<Item = (&'static str, Run)> {
    let all = between::KERNELS.into_iter().chain(conv::KERNELS).chain(products::KERNELS);
    all.chain(precise_conv::KERNELS)
}

const ACTIVATIONS: [Activation; 5] = [
    Activation::Linear,
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Sigmoid,
    Activation::Tanh,
];

/// Walks all kernels in all regimes, and asserts that nothing in what they store is subnormal.
fn walk(what: &str, run: impl Fn(Run, Regime) -> Vec<Vec<f32>>) {
    let mut faults = Vec::new();
    for (name, kernel) in kernels() {
        for regime in REGIMES {
            for (number, array) in run(kernel, regime).iter().enumerate() {
                if let Some(i) = array.iter().position(|x| x.is_subnormal()) {
                    let value = array[i];
                    faults.push(format!("{name}, {regime:?}: {value:e} in array {number} at {i}"));
                    break;
                }
            }
        }
    }
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn no_kernel_stores_one() {
    for isa in Isa::detected() {
        walk(isa.name(), |run, regime| run(Some(&Team::solo(isa)), regime));
    }
}

#[test]
fn no_twin_stores_one() {
    walk("twins", |run, regime| run(None, regime));
}

/// Every twin has a kernel, and every one of them is in the list.
#[test]
fn the_list_is_complete() {
    let listed: BTreeSet<String> = kernels().map(|(name, _)| name.to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("naive");
    let mut twins = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(function) = line.strip_prefix("pub fn ") {
                let name = function.split(['(', '<']).next().unwrap();
                twins.insert(format!("{module}::{name}"));
            }
        }
    }
    // The rules one by one are in the list.
    assert!(twins.remove("update::step"));
    // The arithmetic of bf16 numbers, which no kernel stores.
    for name in ["round", "widen", "split", "dpbf16ps", "tdpbf16ps"] {
        let name = &format!("bf16::{name}");
        assert!(twins.remove(name), "{name}");
    }
    // Their results are an f64, counts and sums in f64, and a number of an element.
    for name in [
        "vectors::sum_of_squares",
        "histogram::classes",
        "histogram::values",
        "nearest::first_from",
    ] {
        assert!(twins.remove(name), "{name}");
    }
    assert_eq!(twins, listed);
}
