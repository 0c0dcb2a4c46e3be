//! The statistics that a convolution gives beside its output, against sums in f64.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::{Activation, Geometry, Isa, Padding, Team, naive, norm};

/// Shapes, batch sizes and filters around every edge, and those of the reports.
fn cases() -> Vec<(Geometry, usize, usize)> {
    use Padding::{Same, Valid};
    let mut all = Vec::new();
    for (input, kernel, stride, padding) in [
        ([1, 1, 1], [1, 1], 1, Valid),
        ([9, 7, 1], [3, 3], 1, Same),
        ([6, 5, 3], [3, 2], 2, Valid),
        ([5, 5, 33], [3, 3], 1, Valid),
        ([7, 6, 16], [3, 3], 1, Same),
    ] {
        for (batch, filters) in [(0, 4), (1, 1), (3, 10), (9, 32), (2, 33), (5, 64)] {
            let g = Geometry::new(input, kernel, stride, padding).unwrap();
            all.push((g, batch, filters));
        }
    }
    for (input, filters, padding) in [
        ([28, 28, 1], 64, Same),
        ([28, 28, 1], 32, Valid),
        ([13, 13, 32], 64, Valid),
        ([14, 14, 64], 32, Same),
    ] {
        all.push((Geometry::new(input, [3, 3], 1, padding).unwrap(), 7, filters));
    }
    all
}

/// Mean and biased variance of each column, as f64 has them.
fn moments(y: &[f32], cols: usize) -> (Vec<f32>, Vec<f32>) {
    let rows = (y.len() / cols).max(1) as f64;
    (0..cols)
        .map(|j| {
            let column = || y.iter().skip(j).step_by(cols).map(|&y| f64::from(y));
            let mean = column().sum::<f64>() / rows;
            let variance = column().map(|y| (y - mean).powi(2)).sum::<f64>() / rows;
            (mean as f32, variance as f32)
        })
        .unzip()
}

#[test]
fn forward_with_moments() {
    for (g, batch, filters) in cases() {
        let (x, w) = (noise(1, batch * g.in_len()), noise(2, g.window_len() * filters));
        // The second mean is 1,000 deviations or so from zero.
        for offset in [0.0, 1000.0] {
            let bias: Vec<f32> = noise(3, filters).iter().map(|b| b + offset).collect();
            let activation = Activation::Relu;
            let job = Convolution { geometry: &g, x: &x, w: &w, bias: &bias, activation };
            let y_len = batch * g.out_pixels() * filters;
            let (mut twin, mut twin_mean, mut twin_variance) =
                (untouched(y_len), untouched(filters), untouched(filters));
            naive::conv::forward_with_moments(&job, &mut twin, &mut twin_mean, &mut twin_variance);
            let results = run_everywhere(|team| {
                let (mut plain, mut y) = (untouched(y_len), untouched(y_len));
                let (mut mean, mut variance) = (untouched(filters), untouched(filters));
                conv::forward(team, &job, &mut plain);
                conv::forward_with_moments(team, &job, &mut y, &mut mean, &mut variance);
                assert!(y == plain, "{} {g:?}: y", team.isa());
                vec![y, mean, variance]
            });
            for (isa, out) in results {
                let name = format!("{isa} {g:?} {batch} x {filters}, mean {offset}");
                let (mean, variance) = moments(&out[0], filters);
                assert_close(&out[1], &mean, 5e-7, 1e-6, &name);
                assert_close(&out[2], &variance, 5e-6, 1e-6, &name);
                // The twin adds up without a pivot: it is off by digits of the mean.
                let digit = offset * 1.2e-7 + 1e-7;
                assert_close(&out[1], &twin_mean, 1e-6, 2.0 * digit + 1e-5, &name);
                assert_close(&out[2], &twin_variance, 1e-3, digit, &name);
            }
        }
    }
}

/// As good as the statistics of batch normalisation's own pass, on a mean of 1,000 deviations and
/// on images very unlike each other.
#[test]
fn no_worse_than_a_pass_of_its_own() {
    let (batch, filters) = (64, 16);
    let g = Geometry::new([28, 28, 1], [3, 3], 1, Padding::Valid).unwrap();
    let (mut x, w) = (noise(1, batch * g.in_len()), noise(2, 9 * filters));
    let bias = vec![1000.0; filters];
    for contrast in [0.6, 300.0] {
        x[..g.in_len()].iter_mut().for_each(|x| *x *= contrast);
        let activation = Activation::Linear;
        let job = Convolution { geometry: &g, x: &x, w: &w, bias: &bias, activation };
        for isa in Isa::detected() {
            let team = &Team::solo(isa);
            let mut y = untouched(batch * g.out_pixels() * filters);
            let (mut mean, mut variance) = (untouched(filters), untouched(filters));
            conv::forward_with_moments(team, &job, &mut y, &mut mean, &mut variance);
            let (ones, mut normal) = (vec![1.0; filters], untouched(y.len()));
            let (mut own_mean, mut own_variance) = (untouched(filters), untouched(filters));
            let (mean_of_pass, variance_of_pass) = (&mut own_mean, &mut own_variance);
            norm::train_forward(
                team,
                &y,
                &ones,
                &ones,
                1e-3,
                &mut normal,
                mean_of_pass,
                variance_of_pass,
            );
            let (exact_mean, exact_variance) = moments(&y, filters);
            let worst = |values: &[f32], exact: &[f32]| {
                let errors = values.iter().zip(exact).map(|(v, e)| ((v - e) / e).abs());
                errors.fold(0.0, f32::max)
            };
            let (of_mean, of_variance) =
                (worst(&mean, &exact_mean), worst(&variance, &exact_variance));
            let (own_of_mean, own_of_variance) =
                (worst(&own_mean, &exact_mean), worst(&own_variance, &exact_variance));
            println!("{isa}: {of_mean} {of_variance}, norm {own_of_mean} {own_of_variance}");
            assert!(of_mean <= own_of_mean.max(1.2e-7), "{isa}: mean {of_mean}");
            assert!(of_variance <= own_of_variance.max(2e-6), "{isa}: variance {of_variance}");
        }
    }
}
