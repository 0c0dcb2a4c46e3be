//! Losses against their twins, and the twins' gradients against differences.

use crate::common::{assert_close, labels, noise, run_everywhere, untouched};
use threadcount_kernels::{loss, naive};

const ROWS: [usize; 9] = [0, 1, 3, 63, 64, 65, 409, 410, 1500];
/// None, the usual, and labels that say nothing.
const SMOOTHINGS: [f32; 3] = [0.0, 0.1, 1.0];
const CLASSES: [usize; 9] = [1, 2, 4, 8, 10, 15, 16, 17, 100];

/// Some logits far ahead of the others, beyond where e^z overflows.
fn far_logits(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).iter().map(|x| 100.0 * x * x * x).collect()
}

#[test]
fn softmax() {
    // A difference of 200 is rounded by up to 2^-17, and its exponential by as much relatively.
    for (z, tolerance) in [(noise as fn(u64, usize) -> Vec<f32>, 1e-6), (far_logits, 1.0e-5)] {
        for classes in CLASSES {
            for n in ROWS {
                let z = z(1, n * classes);
                let mut expected = untouched(z.len());
                naive::loss::softmax(&z, classes, &mut expected);
                let results = run_everywhere(|team| {
                    let mut p = untouched(z.len());
                    loss::softmax(team, &z, classes, &mut p);
                    vec![p]
                });
                for (isa, p) in results {
                    let name = format!("{isa} {n} x {classes}");
                    assert_close(&p[0], &expected, tolerance, 1e-43, &name);
                }
            }
        }
    }
}

#[test]
fn softmax_cross_entropy() {
    for classes in CLASSES {
        for n in ROWS {
            let (z, labels) = (far_logits(1, n * classes), labels(2, n, classes));
            for smoothing in SMOOTHINGS {
                let (mut losses, mut dz) = (untouched(n), untouched(z.len()));
                let twin = naive::loss::softmax_cross_entropy;
                twin(&z, classes, &labels, smoothing, &mut losses, &mut dz);
                let results = run_everywhere(|team| {
                    let (mut losses, mut dz) = (untouched(n), untouched(z.len()));
                    let kernel = loss::softmax_cross_entropy;
                    kernel(team, &z, classes, &labels, smoothing, &mut losses, &mut dz);
                    vec![losses, dz]
                });
                for (isa, outputs) in results {
                    let name = format!("{isa} {n} x {classes}, {smoothing}");
                    assert_close(&outputs[0], &losses, 5e-7, 2e-7, &name);
                    // A gradient of p - 1 has the digits of 1.
                    assert_close(&outputs[1], &dz, 1e-6, 3e-7 / n.max(1) as f32, &name);
                }
            }
        }
    }
}

/// Rows of logits at the ends of what floats hold: far apart, equal, and columns that a mask has
/// closed with -infinity. Losses and gradients stay finite, and closed columns get no gradient.
#[test]
fn extreme_logits() {
    for classes in [2, 3, 10, 16, 17, 100] {
        let rows: [&dyn Fn(usize) -> f32; 9] = [
            &|j| if j == 0 { 1e4 } else { -1e4 },
            &|j| if j == 1 { 1e4 } else { -1e4 },
            &|j| if j % 2 == 0 { 1e4 } else { -1e4 },
            &|j| if j == 1 { f32::MAX } else { f32::MIN },
            &|j| if j == 0 { 3.0 } else { f32::NEG_INFINITY },
            &|j| if j == 1 { f32::NEG_INFINITY } else { -1e4 },
            &|_| 1e4,
            &|_| -1e4,
            &|_| 0.0,
        ];
        let z: Vec<f32> = rows.iter().flat_map(|row| (0..classes).map(row)).collect();
        let (n, labels) = (rows.len(), vec![0; rows.len()]);
        let (mut losses, mut dz) = (untouched(n), untouched(z.len()));
        naive::loss::softmax_cross_entropy(&z, classes, &labels, 0.0, &mut losses, &mut dz);
        let mut p = untouched(z.len());
        naive::loss::softmax(&z, classes, &mut p);
        let results = run_everywhere(|team| {
            let (mut losses, mut dz, mut p) =
                (untouched(n), untouched(z.len()), untouched(z.len()));
            loss::softmax_cross_entropy(team, &z, classes, &labels, 0.0, &mut losses, &mut dz);
            loss::softmax(team, &z, classes, &mut p);
            vec![losses, dz, p]
        });
        for (isa, outputs) in results {
            let name = format!("{isa} {classes}");
            let [ours, ours_dz, ours_p] = &outputs[..] else { unreachable!() };
            // 2 f32::MAX does not fit a float: that loss alone is infinite, as the twin's is.
            assert_eq!((ours[3], losses[3]), (f32::INFINITY, f32::INFINITY), "{name}");
            assert_close(&ours[..3], &losses[..3], 2e-7, 0.0, &name);
            assert_close(&ours[4..], &losses[4..], 2e-7, 0.0, &name);
            assert_close(ours_dz, &dz, 5e-7, 0.0, &name);
            assert_close(ours_p, &p, 5e-7, 0.0, &name);
            // Where the label is certain there is no loss, and the gradient is exact.
            assert_eq!((ours[0], ours[4]), (0.0, 0.0), "{name}");
            assert_eq!(ours_dz[4 * classes..5 * classes], vec![0.0; classes], "{name}");
            assert_eq!((ours_dz[5 * classes + 1], ours_p[5 * classes + 1]), (0.0, 0.0), "{name}");
        }
    }
}

/// The same for one logit: far to the right or wrong side, and infinite on the right one.
#[test]
fn extreme_binary_logits() {
    let z = [1e4, -1e4, 1e4, -1e4, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
    let labels = [1, 0, 0, 1, 1, 0, 1, 0];
    let (half, ln_2) = (0.5 / 8.0, std::f32::consts::LN_2);
    let results = run_everywhere(|team| {
        let (mut losses, mut dz) = (untouched(8), untouched(8));
        loss::binary_cross_entropy(team, &z, &labels, 0.0, &mut losses, &mut dz);
        vec![losses, dz]
    });
    for (isa, outputs) in results {
        let name = isa.name();
        let losses = [0.0, 0.0, 1e4, 1e4, 0.0, 0.0, ln_2, ln_2];
        assert_close(&outputs[0], &losses, 2e-7, 0.0, name);
        let dz = [0.0, 0.0, 0.125, -0.125, 0.0, 0.0, -half, half];
        assert_close(&outputs[1], &dz, 2e-7, 0.0, name);
    }
}

#[test]
fn binary_cross_entropy() {
    for n in [0, 1, 4, 7, 8, 9, 15, 16, 17, 997, 4095, 4097, 20_000] {
        let (z, labels) = (far_logits(1, n), labels(2, n, 2));
        for smoothing in SMOOTHINGS {
            let (mut losses, mut dz) = (untouched(n), untouched(n));
            naive::loss::binary_cross_entropy(&z, &labels, smoothing, &mut losses, &mut dz);
            let results = run_everywhere(|team| {
                let (mut losses, mut dz) = (untouched(n), untouched(n));
                loss::binary_cross_entropy(team, &z, &labels, smoothing, &mut losses, &mut dz);
                vec![losses, dz]
            });
            // The twin takes the difference of sigmoid and label, which loses the small ones; smoothed
            // labels lose them in the kernel too.
            let tiny = if smoothing == 0.0 { 1e-15 } else { 1e-7 / n as f32 };
            for (isa, outputs) in results {
                let name = format!("{isa} {n}, {smoothing}");
                assert_close(&outputs[0], &losses, 5e-7, 1e-44, &name);
                assert_close(&outputs[1], &dz, 5e-7, tiny, &name);
            }
        }
    }
}

#[test]
fn mean_squared_error() {
    for outputs_per_sample in [1, 2, 10, 15, 16, 17, 100] {
        for n in ROWS {
            let (p, t) = (noise(1, n * outputs_per_sample), noise(2, n * outputs_per_sample));
            let (mut losses, mut dp) = (untouched(n), untouched(p.len()));
            naive::loss::mean_squared_error(&p, &t, outputs_per_sample, &mut losses, &mut dp);
            let results = run_everywhere(|team| {
                let (mut losses, mut dp) = (untouched(n), untouched(p.len()));
                loss::mean_squared_error(team, &p, &t, outputs_per_sample, &mut losses, &mut dp);
                vec![losses, dp]
            });
            for (isa, outputs) in results {
                let name = format!("{isa} {n} x {outputs_per_sample}");
                assert_close(&outputs[0], &losses, 2e-6, 0.0, &name);
                assert_close(&outputs[1], &dp, 1e-6, 0.0, &name);
            }
        }
    }
}

#[test]
fn known_values() {
    let (mut losses, mut dz) = (untouched(2), untouched(6));
    // Equal logits: ln 3. A lead of 1000: no loss for the leader.
    let z = [5.0, 5.0, 5.0, 1000.0, 0.0, 0.0];
    naive::loss::softmax_cross_entropy(&z, 3, &[1, 0], 0.0, &mut losses, &mut dz);
    assert_close(&losses, &[3.0_f32.ln(), 0.0], 1e-7, 0.0, "losses");
    let sixth = 1.0 / 6.0;
    assert_close(&dz, &[sixth, -2.0 * sixth, sixth, 0.0, 0.0, 0.0], 1e-6, 0.0, "gradient");

    let (mut losses, mut dz) = (untouched(3), untouched(3));
    let (z, labels) = ([0.0, -500.0, -500.0], [1, 1, 0]);
    naive::loss::binary_cross_entropy(&z, &labels, 0.0, &mut losses, &mut dz);
    assert_close(&losses, &[2.0_f32.ln(), 500.0, 0.0], 1e-7, 0.0, "losses");
    assert_close(&dz, &[-sixth, -2.0 * sixth, 0.0], 1e-6, 0.0, "gradient");
    // Half of the label on all classes alike: 1/8 on each, 5/8 on the label's. A lead of 100 loses
    // 3/8 of it; the gradient is the probabilities, 1, 0, 0, 0, less those shares.
    let (mut losses, mut dz) = (untouched(1), untouched(4));
    let z = [100.0, 0.0, 0.0, 0.0];
    naive::loss::softmax_cross_entropy(&z, 4, &[0], 0.5, &mut losses, &mut dz);
    assert_close(&losses, &[37.5], 1e-6, 0.0, "smoothed losses");
    assert_close(&dz, &[0.375, -0.125, -0.125, -0.125], 1e-6, 0.0, "smoothed gradient");
    // A quarter of the label given to both sides: 7/8 and 1/8.
    let (mut losses, mut dz) = (untouched(2), untouched(2));
    naive::loss::binary_cross_entropy(&[80.0, 80.0], &[1, 0], 0.25, &mut losses, &mut dz);
    assert_close(&losses, &[10.0, 70.0], 1e-6, 0.0, "smoothed binary losses");
    assert_close(&dz, &[0.0625, 0.4375], 1e-6, 0.0, "smoothed binary gradient");
}

/// The twins' gradients are slopes of the mean of their losses.
#[test]
fn gradients_are_slopes() {
    type Twin<'a> = &'a dyn Fn(&[f32], &mut [f32], &mut [f32]);
    let targets = noise(5, 12);
    let labels = [0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0];
    let twins: [(usize, Twin); 5] = [
        (3, &|z, losses, dz| {
            naive::loss::softmax_cross_entropy(z, 4, &[2, 0, 3], 0.0, losses, dz);
        }),
        (3, &|z, losses, dz| {
            naive::loss::softmax_cross_entropy(z, 4, &[2, 0, 3], 0.3, losses, dz);
        }),
        (12, &|z, losses, dz| naive::loss::binary_cross_entropy(z, &labels, 0.0, losses, dz)),
        (12, &|z, losses, dz| naive::loss::binary_cross_entropy(z, &labels, 0.3, losses, dz)),
        (3, &|z, losses, dz| naive::loss::mean_squared_error(z, &targets, 4, losses, dz)),
    ];
    for (which, (n, twin)) in twins.into_iter().enumerate() {
        let z = noise(4, 12);
        let mean = |z: &[f32]| {
            let mut losses = untouched(n);
            twin(z, &mut losses, &mut untouched(12));
            losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / n as f64
        };
        let mut dz = untouched(12);
        twin(&z, &mut untouched(n), &mut dz);
        for i in 0..12 {
            let (mut up, mut down) = (z.clone(), z.clone());
            up[i] += 1.0 / 64.0;
            down[i] -= 1.0 / 64.0;
            let slope = ((mean(&up) - mean(&down)) * 32.0) as f32;
            assert_close(&dz[i..=i], &[slope], 1e-3, 1e-4, &format!("loss {which}, element {i}"));
        }
    }
}

#[test]
#[should_panic(expected = "label 10 with 10 classes")]
fn a_label_too_large_is_a_bug() {
    let team = threadcount_kernels::Team::solo(threadcount_kernels::Isa::best());
    loss::softmax_cross_entropy(&team, &[0.0; 10], 10, &[10], 0.0, &mut [0.0], &mut [0.0; 10]);
}
