//! Convolutions in every precision: the bits of the twin, by every kernel of bf16 numbers that this CPU has and by that
//! of tiles in plain code, on every instruction set, with 1 to 3 threads on made-up machines.

use crate::common::{Dice, bits, count_of, made_up_machines, noise};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};
use threadcount_kernels::{Activation, Geometry, Isa, Padding, Pool, Precision, Team, naive};

const SMALLER: [Precision; 2] = [Precision::F32Split, Precision::Bf16];

/// Every way of computing that precision on this CPU. The twin of tiles has the bits of any instruction set, and is left
/// out where it would be slowest.
fn ways(precision: Precision) -> impl Iterator<Item = (Isa, Arithmetic)> {
    Isa::detected().flat_map(move |isa| {
        let is_fast = isa.fuses_multiply_add() || isa == Isa::best();
        let twin = is_fast.then_some(Bf16Kernel::AmxTwin);
        let kernels = Bf16Kernel::detected(isa).chain(twin);
        kernels.map(move |kernel| (isa, Arithmetic { precision, kernel }))
    })
}

/// A convolution.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: [usize; 3],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    filters: usize,
    batch: usize,
}

/// Its operands.
struct Operands {
    g: Geometry,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    dz: Vec<f32>,
    activation: Activation,
}

/// What the passes give.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    Forward,
    Moments,
    Pooled,
    Data,
    Weights,
}

impl Case {
    fn operands(&self, activation: Activation) -> Operands {
        let Self { input, kernel, stride, padding, filters, batch } = *self;
        let g = Geometry::new(input, kernel, stride, padding).unwrap();
        let (x, w) = (noise(1, batch * g.in_len()), noise(2, g.window_len() * filters));
        let (bias, dz) = (noise(3, filters), noise(4, batch * g.out_pixels() * filters));
        Operands { g, x, w, bias, dz, activation }
    }

    /// Whether a pass is computed in that precision.
    fn is_in(&self, precision: Precision, pass: Pass, g: &Geometry) -> bool {
        let least = if precision == Precision::Bf16 { 15 } else { 42 };
        let taps = g.kernel_h() * g.kernel_w();
        let is_turned = self.stride == 1 && 10 * g.in_h() * g.in_w() <= 11 * g.out_pixels();
        let (channels, n, k) = match pass {
            Pass::Forward | Pass::Moments | Pass::Pooled => {
                (g.channels(), self.filters, g.window_len())
            }
            Pass::Data if is_turned => (self.filters, g.channels(), taps * self.filters),
            Pass::Data => (self.filters, g.channels(), self.filters),
            Pass::Weights => {
                (g.channels(), self.filters.min(g.window_len()), self.batch * g.out_pixels())
            }
        };
        channels > 1 && n > 16 && k > least
    }
}

impl Operands {
    fn job(&self) -> Convolution<'_> {
        let Self { g, x, w, bias, activation, .. } = self;
        Convolution { geometry: g, x, w, bias, activation: *activation }
    }

    fn twin(&self, arithmetic: Arithmetic, pass: Pass) -> Vec<f32> {
        let Self { g, x, w, dz, .. } = self;
        let mut out = vec![0.0; self.len(pass)];
        match pass {
            Pass::Forward | Pass::Moments => {
                naive::bf16_conv::forward(arithmetic, &self.job(), &mut out);
            }
            Pass::Pooled => {
                let mut map = vec![0.0; dz.len()];
                naive::bf16_conv::forward(arithmetic, &self.job(), &mut map);
                out = self.pooled(&map);
            }
            Pass::Data => naive::bf16_conv::backward_data(arithmetic, g, dz, w, &mut out),
            Pass::Weights => naive::bf16_conv::backward_weights(arithmetic, g, x, dz, &mut out),
        }
        out
    }

    fn compute(&self, team: &Team, pass: Pass) -> Vec<f32> {
        let Self { g, x, w, dz, bias, .. } = self;
        let mut out = vec![f32::NAN; self.len(pass)];
        match pass {
            Pass::Forward => conv::forward(team, &self.job(), &mut out),
            Pass::Moments => {
                let (mut mean, mut variance) = (bias.clone(), bias.clone());
                let (mean, variance) = (&mut mean, &mut variance);
                conv::forward_with_moments(team, &self.job(), &mut out, mean, variance);
            }
            Pass::Pooled => {
                let mut argmax = vec![0; out.len()];
                conv::forward_pooled(team, &self.job(), None, &mut out, &mut argmax);
            }
            Pass::Data => conv::backward_data(team, g, dz, w, &mut out),
            Pass::Weights => {
                conv::backward_weights(team, g, x, dz, &mut out, &mut vec![0.0; bias.len()]);
            }
        }
        out
    }

    fn len(&self, pass: Pass) -> usize {
        let Self { g, x, w, dz, .. } = self;
        match pass {
            Pass::Forward | Pass::Moments => dz.len(),
            Pass::Pooled => {
                let pixels = (g.out_h() / 2) * (g.out_w() / 2);
                dz.len() / g.out_pixels() * pixels
            }
            Pass::Data => x.len(),
            Pass::Weights => w.len(),
        }
    }

    /// The largest of each 2 x 2 pixels of the map.
    fn pooled(&self, map: &[f32]) -> Vec<f32> {
        let (g, filters) = (&self.g, self.bias.len());
        let (lines, pixels) = (g.out_h() / 2, g.out_w() / 2);
        let mut pooled = Vec::new();
        for image in map.chunks_exact(g.out_pixels() * filters) {
            for (line, pixel) in (0..lines).flat_map(|line| (0..pixels).map(move |p| (line, p))) {
                for filter in 0..filters {
                    let at = |i: usize, j: usize| {
                        image[((2 * line + i) * g.out_w() + 2 * pixel + j) * filters + filter]
                    };
                    pooled.push(at(0, 0).max(at(0, 1)).max(at(1, 0)).max(at(1, 1)));
                }
            }
        }
        pooled
    }
}

/// Holds some passes of a convolution to the twin's bits, in every way. Those that the shape leaves in f32 are not
/// looked at; the number of the others.
fn assert_twins_bits(case: &Case, passes: &[Pass], threads: &[usize]) -> usize {
    let machines = made_up_machines();
    let mut done = 0;
    for (i, precision) in SMALLER.into_iter().enumerate() {
        let activation = [Activation::Linear, Activation::Relu][(i + case.filters) % 2];
        let operands = &case.operands(activation);
        let passes = passes.iter().filter(|pass| case.is_in(precision, **pass, &operands.g));
        for &pass in passes {
            done += 1;
            // Of vectors and of tiles.
            let twins = [Bf16Kernel::MulAdd, Bf16Kernel::AmxTwin]
                .map(|kernel| operands.twin(Arithmetic { precision, kernel }, pass));
            for (isa, arithmetic) in ways(precision) {
                let twin = &twins[usize::from(arithmetic.kernel.is_on_tiles())];
                for &threads in threads {
                    let machine = machines[threads + case.filters % 16];
                    let pool = Pool::new(isa, threads).unwrap().with_blocking(machine);
                    let pool = pool.with_arithmetic(arithmetic);
                    let computed = pool.enter(|team| operands.compute(team, pass));
                    let differs = |i: &usize| computed[*i].to_bits() != twin[*i].to_bits();
                    let difference = (0..twin.len()).find(differs);
                    assert_eq!(
                        difference.map(|i| (i, computed[i], twin[i])),
                        None,
                        "{pass:?} by {arithmetic:?} on {isa}, {threads} threads: {case:?}"
                    );
                }
            }
        }
    }
    done
}

const ALL: [Pass; 5] = [Pass::Forward, Pass::Moments, Pass::Pooled, Pass::Data, Pass::Weights];

/// The recipes' convolutions, smaller; windows of one block of K and of several, of a whole image and of single pixels;
/// channels in few and many pairs, and odd numbers of them; filters beside every width; images in pairs and one left
/// over, primes.
#[rustfmt::skip]
const CASES: [Case; 13] = {
    use Padding::{Same, Valid};
    [
        Case { input: [7, 7, 32], kernel: [3, 3], stride: 1, padding: Valid, filters: 64, batch: 3 },
        Case { input: [6, 7, 64], kernel: [3, 3], stride: 1, padding: Same, filters: 32, batch: 2 },
        Case { input: [5, 5, 64], kernel: [3, 3], stride: 1, padding: Valid, filters: 64, batch: 5 },
        Case { input: [6, 5, 16], kernel: [3, 3], stride: 1, padding: Same, filters: 33, batch: 3 },
        Case { input: [5, 5, 64], kernel: [3, 3], stride: 1, padding: Same, filters: 17, batch: 1 },
        Case { input: [9, 8, 2], kernel: [5, 5], stride: 2, padding: Same, filters: 40, batch: 4 },
        Case { input: [4, 4, 6], kernel: [4, 4], stride: 1, padding: Valid, filters: 24, batch: 50 },
        Case { input: [5, 6, 130], kernel: [1, 1], stride: 1, padding: Valid, filters: 31, batch: 3 },
        Case { input: [11, 3, 10], kernel: [2, 3], stride: 3, padding: Same, filters: 48, batch: 7 },
        Case { input: [8, 9, 3], kernel: [5, 5], stride: 1, padding: Same, filters: 32, batch: 2 },
        Case { input: [7, 5, 33], kernel: [3, 2], stride: 1, padding: Same, filters: 47, batch: 3 },
        Case { input: [7, 11, 19], kernel: [3, 5], stride: 2, padding: Valid, filters: 53, batch: 3 },
        Case { input: [13, 13, 17], kernel: [3, 3], stride: 1, padding: Same, filters: 23, batch: 7 },
    ]
};

#[test]
fn convolutions_have_the_twins_bits() {
    let done: usize = CASES.iter().map(|case| assert_twins_bits(case, &ALL, &[1, 2, 3])).sum();
    assert!(done > 100, "only {done} passes are in a smaller precision");
}

/// Sums over windows in several slices, and a last block that does not fill its tiles.
#[test]
fn the_gradient_of_the_weights_is_cut_into_slices() {
    for (input, batch) in [([13, 13, 2], 63), ([29, 29, 2], 11)] {
        let (kernel, padding, stride, filters) = ([3, 3], Padding::Same, 1, 18);
        let case = Case { input, kernel, stride, padding, filters, batch };
        assert_eq!(assert_twins_bits(&case, &[Pass::Weights], &[1, 2, 3]), 2);
    }
}

/// A random convolution.
fn random_case(dice: &mut Dice) -> Case {
    let kernel = [1 + dice.below(5), 1 + dice.below(5)];
    let (channels, filters) = (dice.one_of(&[6, 20, 70]), dice.one_of(&[8, 32, 60]));
    let input = [kernel[0] + dice.below(9), kernel[1] + dice.below(9), 2 + dice.below(channels)];
    let padding = dice.one_of(&[Padding::Same, Padding::Valid]);
    let (stride, filters, batch) =
        (1 + dice.below(3) / 2, 17 + dice.below(filters), 1 + dice.below(5));
    Case { input, kernel, stride, padding, filters, batch }
}

fn random_cases(count: usize) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut done = 0;
    while done < count {
        let case = random_case(&mut dice);
        // A forward pass in one of three ways, and both gradients.
        let passes = [dice.one_of(&ALL[..3]), Pass::Data, Pass::Weights];
        done += assert_twins_bits(&case, &passes, &[1 + dice.below(3)]);
    }
}

#[test]
fn some_random_convolutions_have_the_twins_bits() {
    random_cases(100);
}

#[test]
#[ignore = "takes minutes: 3,000 passes, or as many as RANDOM_CONVOLUTIONS says"]
fn many_random_convolutions_have_the_twins_bits() {
    random_cases(count_of("RANDOM_CONVOLUTIONS", 3_000));
}

/// What stays f32: few filters, one channel, windows of few elements, few windows.
#[test]
fn convolutions_that_do_not_gain_are_f32() {
    for (input, kernel, filters, [y_is_f32, dw_is_f32]) in [
        ([6, 6, 16], [3, 3], 16, [true, true]),
        ([6, 6, 1], [5, 5], 32, [true, true]),
        ([6, 6, 14], [1, 1], 32, [true, true]),
        ([2, 3, 16], [3, 3], 32, [false, true]),
        ([6, 6, 3], [3, 3], 32, [false, false]),
        ([6, 6, 16], [3, 3], 17, [false, false]),
    ] {
        let (stride, padding, batch) = (1, Padding::Same, 2);
        let case = Case { input, kernel, stride, padding, filters, batch };
        let operands = case.operands(Activation::Linear);
        let compute =
            |team: &Team| [Pass::Forward, Pass::Weights].map(|p| bits(&operands.compute(team, p)));
        for isa in Isa::detected() {
            let [y, dw] = compute(&Team::solo(isa));
            for kernel in Bf16Kernel::detected(isa).chain([Bf16Kernel::AmxTwin]) {
                let arithmetic = Arithmetic { precision: Precision::Bf16, kernel };
                let [other_y, other_dw] = compute(&Team::solo(isa).with_arithmetic(arithmetic));
                assert_eq!(y == other_y, y_is_f32, "{case:?}");
                assert_eq!(dw == other_dw, dw_is_f32, "{case:?}");
            }
        }
    }
}

/// An infinity meets what it is multiplied with, and nothing else: neither the zeros beside an odd channel or image, nor
/// those that fill a tile.
#[test]
fn infinities_reach_what_they_are_multiplied_with() {
    let (stride, padding, batch) = (1, Padding::Same, 3);
    let (input, kernel, filters) = ([4, 5, 19], [3, 3], 21);
    let case = Case { input, kernel, stride, padding, filters, batch };
    for precision in SMALLER {
        let mut operands = case.operands(Activation::Linear);
        // The last channel of a pixel of the last image, which has none beside it; and a gradient there.
        let (pixel, output) = (2 * 20 + 7, 2 * 20 + 12);
        operands.x[pixel * 19 + 18] = f32::INFINITY;
        operands.dz[output * filters + 20] = f32::NEG_INFINITY;
        for pass in [Pass::Forward, Pass::Data, Pass::Weights] {
            let mut expected = vec![0.0; operands.len(pass)];
            let Operands { g, x, w, dz, bias, .. } = &operands;
            match pass {
                Pass::Forward => naive::conv::forward(&operands.job(), &mut expected),
                Pass::Data => naive::conv::backward_data(g, dz, w, &mut expected),
                _ => {
                    let db = &mut vec![0.0; bias.len()];
                    naive::conv::backward_weights(g, x, dz, &mut expected, db);
                }
            }
            for (isa, arithmetic) in ways(precision) {
                let computed = operands.compute(&Team::solo(isa).with_arithmetic(arithmetic), pass);
                for (i, (computed, expected)) in computed.iter().zip(&expected).enumerate() {
                    let is_as_expected = match expected {
                        x if x.is_finite() => (computed - x).abs() < 0.2,
                        x if x.is_nan() => computed.is_nan(),
                        x => computed == x,
                    };
                    assert!(
                        is_as_expected,
                        "{pass:?} by {arithmetic:?}: {i}: {computed}, {expected}"
                    );
                }
            }
        }
    }
}
