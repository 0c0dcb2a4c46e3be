//! Subnormal numbers cost as much in intermediate results that are never stored. The CPU keeps a flag for
//! "an operand was subnormal" and one for "a result was". They are read here and never written: a new
//! thread begins with the flags of the thread that starts it, and that thread computes nothing.

use super::{REGIMES, kernels};
use std::arch::asm;
use std::thread;
use threadcount_kernels::update::{Adam, Decay, Moving, Nesterov, RmsProp, Rule, Sgd};
use threadcount_kernels::{Isa, Team};

/// Whether `run`, on a thread of its own, had a subnormal operand or rounded a result to one.
fn meets_subnormals(run: impl FnOnce() + Send) -> bool {
    const DENORMAL_OPERAND: u32 = 1 << 1;
    const UNDERFLOW: u32 = 1 << 4;
    let flags = || {
        let mut word = 0_u32;
        // SAFETY: stores the register into the word.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
        word & (DENORMAL_OPERAND | UNDERFLOW)
    };
    let work = move || {
        assert_eq!(flags(), 0, "the thread that starts this one has met some");
        run();
        flags() != 0
    };
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// The rules with a memory that decays.
fn rules() -> [Rule; 5] {
    let sgd = |nesterov| Rule::Sgd(Sgd { learning_rate: 0.01, momentum: 0.9, nesterov });
    let rms = |momentum| RmsProp { learning_rate: 1e-3, rho: 0.9, momentum, epsilon: 1e-7 };
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-7);
    [
        sgd(Nesterov::No),
        sgd(Nesterov::Yes),
        Rule::RmsProp(rms(0.0)),
        Rule::RmsProp(rms(0.9)),
        Rule::Adam(Adam { learning_rate: 1e-3, beta1, beta2, epsilon, step: 1000 }),
    ]
}

/// The sets with fused multiply-adds; without them products are rounded, and may be subnormal.
fn isas() -> impl Iterator<Item = Isa> {
    Isa::detected().filter(|isa| *isa != Isa::Portable)
}

/// Weights whose gradients have died: what a rule remembers of them falls to zero, or of a
/// mean square to 2^-100, and meets subnormals in a last step for each of its arrays, not in those before
/// and behind it.
#[test]
fn dead_gradients_cost_a_step() {
    for isa in isas() {
        for rule in rules() {
            let (mut params, mut first, mut second) =
                (vec![0.05; 19], vec![0.01; 19], vec![1e-4; 19]);
            if let Rule::Adam(_) = rule {
                // The last of 87,000 steps of its mean square.
                second.fill(9e-31);
            }
            let mut met = 0;
            for _ in 0..2000 {
                let (params, memory) = (&mut params[..], [&mut first[..], &mut second[..]]);
                let moving = Moving { rule, decay: Decay::NONE, params, memory };
                met += u32::from(meets_subnormals(|| moving.step(&Team::solo(isa), &[0.0; 19])));
            }
            assert!(met <= 3, "{isa}: {met} of 2000 steps of {rule:?} met subnormals");
            // A mean and no square, a square and no mean, or both.
            let (means, squares) = match rule {
                Rule::Sgd(_) => (&first[..], &[][..]),
                Rule::RmsProp(RmsProp { momentum: 0.0, .. }) => (&[][..], &first[..]),
                Rule::RmsProp(_) => (&second[..], &first[..]),
                Rule::Adam(_) => (&first[..], &second[..]),
            };
            assert!(means.iter().all(|x| *x == 0.0), "{isa}: {rule:?} still remembers {means:?}");
            let least = 1.0 / (1_u128 << 100) as f32;
            assert!(squares.iter().all(|x| *x <= least), "{isa}: {rule:?} has {squares:?}");
        }
    }
}

/// Gradients that stay, however small: no step has subnormal operands or results once the memory has settled.
#[test]
fn small_gradients_cost_nothing() {
    for isa in isas() {
        for rule in rules() {
            for exponent in (-35..0).step_by(1) {
                let gradient = 1.7 * 10.0_f32.powi(exponent);
                let grads = [gradient; 19];
                let (mut params, mut first, mut second) =
                    (vec![0.05; 19], vec![0.0; 19], vec![0.0; 19]);
                let mut step = || {
                    let (params, memory) = (&mut params[..], [&mut first[..], &mut second[..]]);
                    Moving { rule, decay: Decay::NONE, params, memory }
                        .step(&Team::solo(isa), &grads);
                };
                (0..50).for_each(|_| thread::scope(|s| s.spawn(&mut step).join().unwrap()));
                let met = meets_subnormals(step);
                assert!(!met, "{isa}: {rule:?} with gradients of {gradient:e}");
            }
        }
    }
}

/// Which kernels have subnormal intermediate results, in which regimes:
/// `cargo test -p threadcount-kernels --test subnormals on_the_way -- --ignored --nocapture`
#[test]
#[ignore = "prints a table"]
fn table() {
    for (name, run) in kernels() {
        for isa in isas() {
            let met =
                REGIMES.map(|regime| meets_subnormals(|| _ = run(Some(&Team::solo(isa)), regime)));
            println!("{name:32} {isa}: {met:?}");
        }
    }
}
