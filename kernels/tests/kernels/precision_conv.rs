//! Convolutions in every precision: the bits of the twin's product with the matrix of im2col, by every kernel of
//! bf16 numbers that this CPU has, on every instruction set, with 1 to 3 threads.

use crate::common::{bits, made_up_machines, noise};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::gemm::{Blocking, Epilogue, Write};
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{
    Activation, Geometry, Isa, Mat, MatMut, Padding, Pool, Precision, Team, naive,
};

const SMALLER: [Precision; 2] = [Precision::F32Split, Precision::Bf16];

/// The order of every kernel: there are no convolutions on tiles.
fn by_vectors(precision: Precision) -> Arithmetic {
    Arithmetic { precision, kernel: Bf16Kernel::MulAdd }
}

/// Runs `compute` in every way of computing that precision, and asserts that all have the expected bits.
fn in_every_way(
    precision: Precision,
    expected: &[f32],
    compute: impl Fn(&Team) -> Vec<f32> + Sync,
) {
    for isa in Isa::detected() {
        for kernel in Bf16Kernel::detected(isa).chain([Bf16Kernel::AmxTwin]) {
            for threads in 1..=3 {
                let pool =
                    Pool::new(isa, threads).unwrap().with_blocking(made_up_machines()[threads]);
                let arithmetic = Arithmetic { precision, kernel };
                let computed = pool.with_arithmetic(arithmetic).enter(|team| compute(team));
                let difference =
                    bits(&computed).iter().zip(&bits(expected)).position(|(a, b)| a != b);
                assert_eq!(computed.len(), expected.len());
                assert_eq!(
                    difference.map(|i| (i, computed[i], expected[i])),
                    None,
                    "{arithmetic:?} on {isa}, {threads} threads"
                );
            }
        }
    }
}

/// A row for each window, a column for each element under it; zeros where it hangs over the edge.
fn im2col(
    g: &Geometry,
    padding: Padding,
    [kernel_h, kernel_w]: [usize; 2],
    stride: usize,
    x: &[f32],
) -> Vec<f32> {
    let (in_h, in_w, channels) = (g.in_h(), g.in_w(), g.channels());
    let before = |input: usize, out: usize, kernel: usize| match padding {
        Padding::Valid => 0,
        Padding::Same => ((out - 1) * stride + kernel).saturating_sub(input) / 2,
    };
    let (top, left) = (before(in_h, g.out_h(), kernel_h), before(in_w, g.out_w(), kernel_w));
    let mut rows = Vec::new();
    for image in x.chunks_exact(in_h * in_w * channels) {
        for (line, pixel) in (0..g.out_h()).flat_map(|line| (0..g.out_w()).map(move |p| (line, p)))
        {
            for (kh, kw) in (0..kernel_h).flat_map(|kh| (0..kernel_w).map(move |kw| (kh, kw))) {
                for channel in 0..channels {
                    let (y, x) = (line * stride + kh, pixel * stride + kw);
                    let inside = (top..top + in_h).contains(&y) && (left..left + in_w).contains(&x);
                    rows.push(match inside {
                        true => image[((y - top) * in_w + x - left) * channels + channel],
                        false => 0.0,
                    });
                }
            }
        }
    }
    rows
}

struct Case {
    input: [usize; 3],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    filters: usize,
}

/// Windows of one block of K and of several, of a whole image and of single pixels, channels in few and many
/// pairs, filters beside every width.
const CASES: [Case; 7] = [
    Case { input: [6, 5, 16], kernel: [3, 3], stride: 1, padding: Padding::Same, filters: 33 },
    Case { input: [7, 7, 32], kernel: [3, 3], stride: 1, padding: Padding::Valid, filters: 64 },
    Case { input: [5, 5, 64], kernel: [3, 3], stride: 1, padding: Padding::Same, filters: 17 },
    Case { input: [9, 8, 2], kernel: [5, 5], stride: 2, padding: Padding::Same, filters: 40 },
    Case { input: [4, 4, 6], kernel: [4, 4], stride: 1, padding: Padding::Valid, filters: 24 },
    Case { input: [5, 6, 130], kernel: [1, 1], stride: 1, padding: Padding::Valid, filters: 31 },
    Case { input: [11, 3, 10], kernel: [2, 3], stride: 3, padding: Padding::Same, filters: 48 },
];

#[test]
fn forward_has_the_twins_bits() {
    for precision in SMALLER {
        for Case { input, kernel, stride, padding, filters } in CASES {
            let g = &Geometry::new(input, kernel, stride, padding).unwrap();
            let k = g.window_len();
            let (x, w, bias) = (noise(1, 3 * g.in_len()), noise(2, k * filters), noise(3, filters));
            let rows = 3 * g.out_pixels();
            for activation in [Activation::Linear, Activation::Relu] {
                let mut expected = vec![0.0; rows * filters];
                let windows = im2col(g, padding, kernel, stride, &x);
                naive::bf16::gemm(
                    by_vectors(precision),
                    Blocking::of_machine(),
                    1.0,
                    Mat::new(&windows, rows, k),
                    Mat::new(&w, k, filters),
                    Write::Set,
                    MatMut::new(&mut expected, rows, filters),
                    Epilogue::Bias { bias: &bias, activation },
                );
                let job = Convolution { geometry: g, x: &x, w: &w, bias: &bias, activation };
                in_every_way(precision, &expected, |team| {
                    let mut y = vec![f32::NAN; rows * filters];
                    conv::forward(team, &job, &mut y);
                    y
                });
                in_every_way(precision, &expected, |team| {
                    let mut y = vec![f32::NAN; rows * filters];
                    let (mut mean, mut variance) = (vec![0.0; filters], vec![0.0; filters]);
                    conv::forward_with_moments(team, &job, &mut y, &mut mean, &mut variance);
                    y
                });
                pooled_has_the_bits_of(precision, &job, &expected);
            }
        }
    }
}

/// The pooled pass has the bits of the pass and of the pooling after it.
fn pooled_has_the_bits_of(precision: Precision, job: &Convolution, map: &[f32]) {
    let (g, filters) = (job.geometry, job.bias.len());
    let (lines, pixels) = (g.out_h() / 2, g.out_w() / 2);
    let mut expected = Vec::new();
    for image in map.chunks_exact(g.out_pixels() * filters) {
        for (line, pixel) in (0..lines).flat_map(|line| (0..pixels).map(move |p| (line, p))) {
            for filter in 0..filters {
                let at = |i: usize, j: usize| {
                    image[((2 * line + i) * g.out_w() + 2 * pixel + j) * filters + filter]
                };
                expected.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
            }
        }
    }
    in_every_way(precision, &expected, |team| {
        let (mut y, mut argmax) = (vec![f32::NAN; expected.len()], vec![0; expected.len()]);
        conv::forward_pooled(team, job, None, &mut y, &mut argmax);
        y
    });
}

/// The gradient of the data, as the convolution of the gradient with the weights turned around.
#[test]
fn the_gradient_of_the_data_has_the_bits_of_a_convolution() {
    for precision in SMALLER {
        for (channels, filters) in [(18, 32), (33, 20), (64, 64)] {
            let g = Geometry::new([6, 7, channels], [3, 3], 1, Padding::Same).unwrap();
            let (dz, w) =
                (noise(1, 2 * g.out_pixels() * filters), noise(2, 9 * channels * filters));
            let mut turned = vec![0.0; w.len()];
            for tap in 0..9 {
                for (channel, filter) in
                    (0..channels).flat_map(|c| (0..filters).map(move |f| (c, f)))
                {
                    turned[((8 - tap) * filters + filter) * channels + channel] =
                        w[(tap * channels + channel) * filters + filter];
                }
            }
            let mut expected = vec![0.0; 2 * g.in_len()];
            let of_dz = Geometry::new([6, 7, filters], [3, 3], 1, Padding::Same).unwrap();
            let windows = im2col(&of_dz, Padding::Same, [3, 3], 1, &dz);
            let rows = 2 * 6 * 7;
            naive::bf16::gemm(
                by_vectors(precision),
                Blocking::of_machine(),
                1.0,
                Mat::new(&windows, rows, 9 * filters),
                Mat::new(&turned, 9 * filters, channels),
                Write::Set,
                MatMut::new(&mut expected, rows, channels),
                Epilogue::None,
            );
            in_every_way(precision, &expected, |team| {
                let mut dx = vec![f32::NAN; expected.len()];
                conv::backward_data(team, &g, &dz, &w, &mut dx);
                dx
            });
        }
    }
}

/// The gradient of the data tap by tap: each window adds its products to the pixels under it, the last tap first,
/// one block of filters after the other.
#[test]
fn the_scattered_gradient_has_the_bits_of_its_products() {
    let (channels, filters) = (18, 64);
    for (precision, block) in [(Precision::F32Split, 32), (Precision::Bf16, 64)] {
        for stride in [1, 2] {
            let g = Geometry::new([5, 6, channels], [3, 3], stride, Padding::Valid).unwrap();
            let windows = 2 * g.out_pixels();
            let (dz, w) = (noise(1, windows * filters), noise(2, 9 * channels * filters));
            let mut expected = vec![0.0_f32; 2 * g.in_len()];
            // Of each tap and block the products of all windows.
            let dz_of = Mat::new(&dz, windows, filters);
            let products = |tap: usize, first: usize| {
                let of_tap = Mat::new(&w[tap * channels * filters..], channels, filters).t();
                let mut c = vec![0.0; windows * channels];
                naive::bf16::gemm(
                    by_vectors(precision),
                    Blocking::of_machine(),
                    1.0,
                    dz_of.block(0..windows, first..first + block),
                    of_tap.block(first..first + block, 0..channels),
                    Write::Set,
                    MatMut::new(&mut c, windows, channels),
                    Epilogue::None,
                );
                c
            };
            let blocks: Vec<usize> = (0..filters).step_by(block).collect();
            let all: Vec<Vec<Vec<f32>>> = (0..9)
                .map(|tap| blocks.iter().map(|&first| products(tap, first)).collect())
                .collect();
            for window in 0..windows {
                let (image, at) = (window / g.out_pixels(), window % g.out_pixels());
                let (line, pixel) = (at / g.out_w() * stride, at % g.out_w() * stride);
                for tap in (0..9).rev() {
                    for c in &all[tap] {
                        let y = line + tap / 3;
                        let under = (image * 5 + y) * 6 + pixel + tap % 3;
                        for channel in 0..channels {
                            expected[under * channels + channel] += c[window * channels + channel];
                        }
                    }
                }
            }
            in_every_way(precision, &expected, |team| {
                let mut dx = vec![f32::NAN; expected.len()];
                conv::backward_data(team, &g, &dz, &w, &mut dx);
                dx
            });
        }
    }
}

/// What stays f32: few filters, an odd number of channels, windows of few elements; and the gradient of the
/// weights.
#[test]
fn convolutions_that_do_not_gain_are_f32() {
    for (input, kernel, filters, is_f32) in [
        ([6, 6, 16], [3, 3], 16, true),
        ([6, 6, 3], [3, 3], 32, true),
        ([6, 6, 1], [3, 3], 32, true),
        ([6, 6, 14], [1, 1], 32, true),
        ([6, 6, 16], [3, 3], 17, false),
    ] {
        let g = &Geometry::new(input, kernel, 1, Padding::Same).unwrap();
        let (x, w) = (noise(1, 2 * g.in_len()), noise(2, g.window_len() * filters));
        let (bias, activation) = (&noise(3, filters)[..], Activation::Linear);
        let job = Convolution { geometry: g, x: &x, w: &w, bias, activation };
        let dz = noise(4, 2 * g.out_pixels() * filters);
        let compute = |team: &Team| {
            let mut y = vec![f32::NAN; dz.len()];
            conv::forward(team, &job, &mut y);
            let (mut dw, mut db) = (vec![f32::NAN; w.len()], vec![f32::NAN; filters]);
            conv::backward_weights(team, g, &x, &dz, &mut dw, &mut db);
            (bits(&y), bits(&dw))
        };
        for isa in Isa::detected() {
            let (y, dw) = compute(&Team::solo(isa));
            for kernel in Bf16Kernel::detected(isa).chain([Bf16Kernel::AmxTwin]) {
                let arithmetic = Arithmetic { precision: Precision::Bf16, kernel };
                let (other_y, other_dw) = compute(&Team::solo(isa).with_arithmetic(arithmetic));
                assert_eq!(y == other_y, is_f32, "{input:?}, {filters} filters");
                assert!(dw == other_dw);
            }
        }
    }
}
