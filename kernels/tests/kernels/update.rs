//! Optimizer sweeps against their twins, and their twins against hand-worked steps.

use crate::common::{SIZES, assert_close, bits, noise, run_everywhere};
use threadcount_kernels::gemm::{Epilogue, Write};
use threadcount_kernels::naive;
use threadcount_kernels::update::{self, Adam, Decay, Moving, Nesterov, RmsProp, Rule, Sgd};
use threadcount_kernels::{Isa, Mat, MatMut, Team};

/// Three steps of a sweep over parameters, gradients and two arrays of the optimizer's.
fn check(
    name: &str,
    sweep: impl Fn(&Team, u64, [&mut [f32]; 3], &[f32]) + Sync,
    twin: impl Fn(u64, [&mut [f32]; 3], &[f32]),
) {
    for len in SIZES {
        let start = [noise(1, len), vec![0.0; len], vec![0.0; len]];
        let grads: Vec<_> = (1..=3).map(|step| noise(10 + step, len)).collect();
        let mut expected = start.clone();
        for (step, grads) in (1..).zip(&grads) {
            twin(step, expected.each_mut().map(Vec::as_mut_slice), grads);
        }
        let results = run_everywhere(|team| {
            let mut state = start.clone();
            for (step, grads) in (1..).zip(&grads) {
                sweep(team, step, state.each_mut().map(Vec::as_mut_slice), grads);
            }
            state.to_vec()
        });
        for (isa, state) in results {
            for (actual, expected) in state.iter().zip(&expected) {
                assert_close(actual, expected, 1e-6, 2e-7, &format!("{name} {isa} {len}"));
            }
        }
    }
}

#[test]
fn sgd() {
    for (momentum, nesterov) in [(0.0, Nesterov::No), (0.9, Nesterov::No), (0.9, Nesterov::Yes)] {
        let sgd = Sgd { learning_rate: 0.1, momentum, nesterov };
        check(
            "sgd",
            |team, _, [params, velocity, _], grads| {
                let velocity = if momentum == 0.0 { &mut [] } else { velocity };
                update::sgd(team, &sgd, params, grads, velocity);
            },
            |_, [params, velocity, _], grads| naive::update::sgd(&sgd, params, grads, velocity),
        );
    }
}

#[test]
fn rmsprop() {
    for momentum in [0.0, 0.9] {
        let rms = RmsProp { learning_rate: 0.001, rho: 0.9, momentum, epsilon: 1e-7 };
        check(
            "rmsprop",
            |team, _, [params, square, velocity], grads| {
                let velocity = if momentum == 0.0 { &mut [] } else { velocity };
                update::rmsprop(team, &rms, params, grads, square, velocity);
            },
            |_, [params, square, velocity], grads| {
                naive::update::rmsprop(&rms, params, grads, square, velocity);
            },
        );
    }
}

#[test]
fn adam() {
    let adam = |step| Adam { learning_rate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step };
    check(
        "adam",
        |team, step, [params, m, v], grads| update::adam(team, &adam(step), params, grads, m, v),
        |step, [params, m, v], grads| naive::update::adam(&adam(step), params, grads, m, v),
    );
}

/// One parameter at 1 and two gradients, worked by hand from the published formulas.
#[test]
fn twins_by_hand() {
    let sgd = Sgd { learning_rate: 0.5, momentum: 0.5, nesterov: Nesterov::Yes };
    let (mut w, mut v) = ([1.0], [0.0]);
    // v = -0.5, w = 1 - 0.25 - 0.5; then v = -0.25 + 0.25 = 0, w = 0.25 + 0 + 0.25.
    naive::update::sgd(&sgd, &mut w, &[1.0], &mut v);
    assert_eq!((w, v), ([0.25], [-0.5]));
    naive::update::sgd(&sgd, &mut w, &[-0.5], &mut v);
    assert_eq!((w, v), ([0.5], [0.0]));

    let rms = RmsProp { learning_rate: 1.0, rho: 0.75, momentum: 0.5, epsilon: 0.0 };
    let (mut w, mut s, mut v) = ([1.0], [0.0], [0.0]);
    // s = 0.25 * 4 = 1, v = 2 / 1; then s = 0.75 + 0.25 * 13 = 4, v = 1 + sqrt(13) / 2.
    naive::update::rmsprop(&rms, &mut w, &[2.0], &mut s, &mut v);
    assert_eq!((w, s, v), ([-1.0], [1.0], [2.0]));
    naive::update::rmsprop(&rms, &mut w, &[13.0_f32.sqrt()], &mut s, &mut v);
    assert_close(&w, &[-2.0 - 13.0_f32.sqrt() / 2.0], 1e-6, 0.0, "rmsprop");

    // The first step of Adam is the learning rate, whatever the gradient's size.
    let adam = Adam { learning_rate: 0.125, beta1: 0.9, beta2: 0.999, epsilon: 0.0, step: 1 };
    let (mut w, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
    naive::update::adam(&adam, &mut w, &[3.0, -0.001], &mut m, &mut v);
    assert_close(&w, &[0.875, 1.125], 1e-6, 0.0, "adam");
}

/// Weights moved by a product, against the product's twin and then the rule's.
#[test]
fn step_by_product() {
    let adam = Adam { learning_rate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step: 3 };
    let rms = |momentum| RmsProp { learning_rate: 0.001, rho: 0.9, momentum, epsilon: 1e-7 };
    let sgd = |momentum| Sgd { learning_rate: 0.1, momentum, nesterov: Nesterov::No };
    let rules = [
        Rule::Sgd(sgd(0.0)),
        Rule::Sgd(sgd(0.9)),
        Rule::RmsProp(rms(0.0)),
        Rule::RmsProp(rms(0.9)),
        Rule::Adam(adam),
    ];
    // One weight; odd sizes; several tasks; more samples than inputs; a batch summed in slices.
    let sizes = [(1, 1, 1), (7, 13, 5), (32, 784, 40), (33, 129, 70), (50, 17, 10), (5000, 8, 3)];
    for (n, inputs, units) in sizes {
        let (x, dz) = (noise(1, n * inputs), noise(2, n * units));
        let (x, dz_mat) = (Mat::new(&x, n, inputs), Mat::new(&dz, n, units));
        let len = inputs * units;
        let mut dw = vec![f32::NAN; len];
        let product = MatMut::new(&mut dw, inputs, units);
        naive::gemm::gemm(1.0, x.t(), dz_mat, Write::Set, product, Epilogue::None);
        let all = Decay { l2: 0.3, share: 0.01, len };
        let decays = [Decay::NONE, all];
        for (rule, decay) in rules.iter().flat_map(|rule| decays.map(|decay| (*rule, decay))) {
            let positive: Vec<f32> = noise(5, len).iter().map(|x| x.abs()).collect();
            let start = [noise(3, len), positive.clone(), positive];
            let remembers = match rule {
                Rule::Sgd(sgd) => usize::from(sgd.momentum > 0.0),
                Rule::RmsProp(rms) => 1 + usize::from(rms.momentum > 0.0),
                Rule::Adam(_) => 2,
            };
            let mut expected = start.clone();
            let [params, first, second] = expected.each_mut().map(Vec::as_mut_slice);
            let memory = [first, second];
            naive::update::step(Moving { rule, decay, params, memory }, &dw);
            let results = run_everywhere(|team| {
                let mut tensors = start.clone();
                let mut room = vec![f32::NAN; len];
                let [params, first, second] = tensors.each_mut().map(Vec::as_mut_slice);
                let mut memory = [first, second];
                memory[remembers..].iter_mut().for_each(|memory| *memory = &mut []);
                let moving = Moving { rule, decay, params, memory };
                update::step_by_product(team, x, &dz, &mut room, moving);
                tensors.to_vec()
            });
            for (isa, tensors) in results {
                let name = format!("{isa}, {n} of {inputs} x {units}, {rule:?}, {decay:?}");
                for (actual, expected) in tensors.iter().zip(&expected).take(1 + remembers) {
                    assert_close(actual, expected, 1e-4, 1e-5, &name);
                }
            }
        }
    }
}

/// All rules that there are.
fn rules() -> [Rule; 6] {
    let sgd = |momentum, nesterov| Rule::Sgd(Sgd { learning_rate: 0.1, momentum, nesterov });
    let rms = |momentum| RmsProp { learning_rate: 0.001, rho: 0.9, momentum, epsilon: 1e-7 };
    let adam = Adam { learning_rate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step: 1 };
    [
        sgd(0.0, Nesterov::No),
        sgd(0.9, Nesterov::No),
        sgd(0.9, Nesterov::Yes),
        Rule::RmsProp(rms(0.0)),
        Rule::RmsProp(rms(0.9)),
        Rule::Adam(adam),
    ]
}

/// Gradients that are not numbers, that overflow or vanish when squared, at each place of a vector and
/// its tail: what they make of their parameter, alike on every instruction set and in the twin, and
/// nothing of its neighbours.
#[test]
fn special_gradients() {
    use std::num::FpCategory::{Infinite, Nan, Normal};
    // Length of two vectors of the widest set, one of the narrowest, and a tail.
    const LEN: usize = 39;
    let specials = [
        (f32::NAN, [Nan; 2]),
        (f32::INFINITY, [Infinite, Nan]),
        (f32::NEG_INFINITY, [Infinite, Nan]),
        (1e20, [Normal, Nan]),
        (-1e30, [Normal, Nan]),
        (1e-30, [Normal; 2]),
        (-1e-19, [Normal; 2]),
        (0.0, [Normal; 2]),
        (-0.0, [Normal; 2]),
        (1e-40, [Normal; 2]),
        (-1e-45, [Normal; 2]),
    ];
    for rule in rules() {
        for (special, [of_sums, of_squares]) in specials {
            let expected = if matches!(rule, Rule::Sgd(_)) { of_sums } else { of_squares };
            for at in 0..LEN {
                let mut grads = vec![0.5; LEN];
                grads[at] = special;
                let run = |step: &dyn Fn(Moving)| {
                    let [mut params, mut first, mut second] =
                        [vec![0.25; LEN], vec![0.0; LEN], vec![0.0; LEN]];
                    let memory = [&mut first[..], &mut second[..]];
                    step(Moving { rule, decay: Decay::NONE, params: &mut params, memory });
                    params
                };
                let twin = run(&|moving| naive::update::step(moving, &grads));
                let ordinary = twin[(at + 1) % LEN];
                assert!(ordinary.is_normal() && ordinary < 0.25);
                let mut all = vec![("twin", twin)];
                for isa in Isa::detected() {
                    let team = Team::solo(isa);
                    all.push((isa.name(), run(&|moving| moving.step(&team, &grads))));
                }
                for (who, params) in &all {
                    let name = format!("{who}: {special:e} at {at}, {rule:?}");
                    assert_eq!(params[at].classify(), expected, "{name}: {}", params[at]);
                    if expected == Normal {
                        assert_close(&params[at..=at], &all[0].1[at..=at], 1e-6, 2e-7, &name);
                    }
                    for (i, param) in params.iter().enumerate().filter(|(i, _)| *i != at) {
                        assert!((param - ordinary).abs() < 1e-6, "{name}: element {i}: {param}");
                    }
                }
            }
        }
    }
}

/// NaN of what a rule remembers is NaN of the parameter, not a step of ordinary size.
#[test]
fn special_memories() {
    for rule in rules() {
        let remembers = match rule {
            Rule::Sgd(sgd) => usize::from(sgd.momentum > 0.0),
            Rule::RmsProp(rms) => 1 + usize::from(rms.momentum > 0.0),
            Rule::Adam(_) => 2,
        };
        for which in 0..remembers {
            for isa in Isa::detected() {
                let mut memory = [vec![0.5; 21], vec![0.5; 21]];
                memory[which][20] = f32::NAN;
                memory[which][3] = f32::NAN;
                let [first, second] = &mut memory;
                let mut params = vec![0.25; 21];
                let team = Team::solo(isa);
                let memory = [&mut first[..], &mut second[..]];
                let moving = Moving { rule, decay: Decay::NONE, params: &mut params, memory };
                moving.step(&team, &[0.5; 21]);
                for (i, param) in params.iter().enumerate() {
                    assert_eq!(param.is_nan(), i == 3 || i == 20, "{isa} {rule:?}, element {i}");
                }
            }
        }
    }
}

/// The last step that can be counted is one like its predecessor.
#[test]
fn steps_that_cannot_be_counted_further() {
    let adam = |step| Adam { learning_rate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step };
    for isa in Isa::detected() {
        let team = Team::solo(isa);
        let params = [u64::MAX, u64::MAX - 1, 1 << 40].map(|step| {
            let (mut params, mut m, mut v) = ([0.5], [0.1], [0.01]);
            update::adam(&team, &adam(step), &mut params, &[0.1], &mut m, &mut v);
            params[0]
        });
        assert!(params.iter().all(|w| *w == params[0] && *w < 0.5), "{isa}: {params:?}");
    }
}

/// Every rule under every decay, of none, one, some and all of the parameters, against the twin; and
/// the parameters behind those that decay as they are without.
#[test]
fn decay() {
    for rule in rules() {
        for len in [1, 17, 9001] {
            for (l2, share) in [(0.5, 0.0), (0.0, 0.125), (0.5, 0.125)] {
                for decaying in [0, 1, len / 2, len - 1, len, len + 5] {
                    let decay = Decay { l2, share, len: decaying };
                    let positive: Vec<f32> = noise(5, len).iter().map(|x| x.abs()).collect();
                    let (start, grads) =
                        ([noise(3, len), positive.clone(), positive], noise(4, len));
                    let run = |decay, step: &dyn Fn(Moving)| {
                        let mut tensors = start.clone();
                        let [params, first, second] = tensors.each_mut().map(Vec::as_mut_slice);
                        let memory = [first, second];
                        step(Moving { rule, decay, params, memory });
                        tensors
                    };
                    let expected = run(decay, &|moving| naive::update::step(moving, &grads));
                    let without =
                        |team: &Team| run(Decay::NONE, &|moving| moving.step(team, &grads));
                    let results = run_everywhere(|team| {
                        let with = run(decay, &|moving| moving.step(team, &grads));
                        let behind = decaying.min(len);
                        for (with, without) in with.iter().zip(without(team)) {
                            assert_eq!(
                                bits(&with[behind..]),
                                bits(&without[behind..]),
                                "{decay:?}"
                            );
                        }
                        with.to_vec()
                    });
                    for (isa, tensors) in results {
                        let name = format!("{isa} {len}, {rule:?}, {decay:?}");
                        for (actual, expected) in tensors.iter().zip(&expected) {
                            assert_close(actual, expected, 1e-5, 1e-6, &name);
                        }
                    }
                }
            }
        }
    }
}

/// The two decays by hand: a penalty goes through the rule, decay apart from it does not.
#[test]
fn decay_by_hand() {
    let sgd = Sgd { learning_rate: 0.5, momentum: 0.0, nesterov: Nesterov::No };
    let step = |rule, decay, w: f32, g: f32| {
        let (mut params, mut m, mut v) = ([w, w], [0.0; 2], [0.0; 2]);
        let moving = Moving { rule, decay, params: &mut params, memory: [&mut m, &mut v] };
        naive::update::step(moving, &[g, g]);
        params
    };
    // g = 1 + 0.25 * 8 = 3, w = 8 - 1.5; the second parameter does not decay.
    let l2 = Decay { l2: 0.25, share: 0.0, len: 1 };
    assert_eq!(step(Rule::Sgd(sgd), l2, 8.0, 1.0), [6.5, 7.5]);
    // w = 8 * 0.75 - 0.5
    let apart = Decay { l2: 0.0, share: 0.25, len: 1 };
    assert_eq!(step(Rule::Sgd(sgd), apart, 8.0, 1.0), [5.5, 7.5]);
    // Adam's first step is the learning rate, whatever the gradient: a penalty changes nothing there.
    let adam = Adam { learning_rate: 0.125, beta1: 0.9, beta2: 0.999, epsilon: 0.0, step: 1 };
    let [decayed, plain] = step(Rule::Adam(adam), l2, 8.0, 1.0);
    assert_close(&[decayed, plain], &[7.875; 2], 1e-6, 0.0, "adam, penalty");
    let [decayed, plain] = step(Rule::Adam(adam), apart, 8.0, 1.0);
    assert_close(&[decayed, plain], &[5.875, 7.875], 1e-6, 0.0, "adam, apart");
}

/// Parts of what moves have their parts of the decay.
#[test]
fn decay_is_split() {
    let decay = Decay { l2: 1.0, share: 0.0, len: 5 };
    let parts =
        [(0, 3), (0, 5), (3, 4), (5, 4), (7, 1)].map(|(from, len)| decay.part(from, len).len);
    assert_eq!(parts, [3, 5, 2, 0, 0]);
}
