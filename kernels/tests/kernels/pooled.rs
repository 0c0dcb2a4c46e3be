//! Convolutions with pooling against their twins, and bit for bit against the kernels that they
//! fuse.

use crate::common::{assert_close, noise, on_every_isa, run_everywhere, untouched};
use threadcount_kernels::conv::{self, Convolution, Winners};
use threadcount_kernels::dropout::{self, Dropout};
use threadcount_kernels::{Activation, Geometry, Padding, Team, naive, pool};

/// A convolution to check.
struct Case {
    g: Geometry,
    batch: usize,
    filters: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(input: [usize; 3], kernel: [usize; 2], stride: usize, padding: Padding) -> Self {
        let g = Geometry::new(input, kernel, stride, padding).unwrap();
        Self { g, batch: 0, filters: 0, x: Vec::new(), w: Vec::new(), bias: Vec::new() }
    }

    /// Quarters: their products and sums are exact, so that ties are ties on every path.
    fn with(&self, batch: usize, filters: usize) -> Self {
        let quarters = |seed, len| -> Vec<f32> {
            noise(seed, len).iter().map(|x| (x * 4.0).round() / 4.0).collect()
        };
        let x = quarters(1, batch * self.g.in_len());
        let w = quarters(2, self.g.window_len() * filters);
        Self { g: self.g, batch, filters, x, w, bias: quarters(3, filters) }
    }

    /// The same with inputs that round.
    fn rounding(mut self) -> Self {
        self.x = noise(1, self.x.len());
        self.w = noise(2, self.w.len());
        self.bias = noise(3, self.bias.len());
        self
    }

    /// One to many channels and blocks of K; maps with and without a line or column left over, and
    /// too small for any window; the one-channel kernel and what resembles it.
    fn all() -> Vec<Self> {
        use Padding::{Same, Valid};
        let shapes = [
            Self::new([9, 10, 1], [3, 3], 1, Valid),
            Self::new([7, 5, 1], [3, 3], 1, Same),
            Self::new([6, 11, 1], [3, 3], 1, Same),
            Self::new([9, 9, 1], [3, 3], 2, Same),
            Self::new([8, 7, 1], [2, 3], 1, Valid),
            Self::new([3, 4, 1], [3, 3], 1, Valid),
            Self::new([4, 4, 1], [3, 3], 1, Valid),
            Self::new([5, 8, 3], [3, 3], 1, Same),
            Self::new([7, 6, 16], [3, 3], 1, Valid),
            Self::new([5, 5, 33], [3, 3], 1, Valid),
            Self::new([10, 9, 2], [1, 2], 2, Valid),
        ];
        let mut cases = Vec::new();
        for shape in shapes {
            for (batch, filters) in [(0, 4), (1, 1), (2, 10), (3, 32), (2, 33), (5, 64)] {
                cases.push(shape.with(batch, filters));
            }
        }
        for (shape, filters) in [
            (Self::new([28, 28, 1], [3, 3], 1, Valid), 32),
            (Self::new([28, 28, 1], [3, 3], 1, Same), 64),
            (Self::new([13, 13, 32], [3, 3], 1, Valid), 64),
            (Self::new([14, 14, 64], [3, 3], 1, Same), 32),
        ] {
            cases.push(shape.with(6, filters));
        }
        cases
    }

    fn job(&self, activation: Activation) -> Convolution<'_> {
        let Self { g: geometry, x, w, bias, .. } = self;
        Convolution { geometry, x, w, bias, activation }
    }

    fn map_len(&self) -> usize {
        self.batch * self.g.out_pixels() * self.filters
    }

    fn pooled_len(&self) -> usize {
        self.batch * (self.g.out_h() / 2) * (self.g.out_w() / 2) * self.filters
    }

    fn name(&self) -> String {
        format!("{:?}, {} images, {} filters", self.g, self.batch, self.filters)
    }
}

const DROPOUT: Dropout = Dropout { rate: 0.5, key: 0x1234_5678_9ABC, first_sample: 77 };

fn ways() -> [(Activation, Option<Dropout>); 6] {
    [
        (Activation::Relu, None),
        (Activation::Relu, Some(DROPOUT)),
        (Activation::LeakyRelu { slope: 0.5 }, Some(DROPOUT)),
        (Activation::Linear, None),
        (Activation::Tanh, None),
        (Activation::Sigmoid, Some(Dropout { rate: 0.25, ..DROPOUT })),
    ]
}

/// One kernel after the other.
fn unfused(
    team: &Team,
    case: &Case,
    job: &Convolution,
    dropout: Option<&Dropout>,
) -> (Vec<f32>, Vec<u8>) {
    let g = &case.g;
    let (mut map, mut alive) = (untouched(case.map_len()), vec![1.0; case.map_len()]);
    conv::forward(team, job, &mut map);
    let per_sample = g.out_pixels() * case.filters;
    if let Some(rule) = dropout {
        dropout::backward(team, rule, per_sample, &mut alive);
        let x = map.clone();
        dropout::forward(team, rule, per_sample, &x, &mut map);
    }
    let (mut y, mut argmax) = (untouched(case.pooled_len()), vec![255; case.pooled_len()]);
    let size = [g.out_h(), g.out_w(), case.filters];
    if let Some(pooling) = Geometry::new(size, [2, 2], 2, Padding::Valid) {
        pool::max_forward(team, &pooling, &map, &mut y, &mut argmax);
        for (i, argmax) in argmax.iter_mut().enumerate() {
            let (pixel, c) = (i / case.filters, i % case.filters);
            let (line, col) = (pixel / pooling.out_w(), pixel % pooling.out_w());
            let row = line / pooling.out_h() * g.out_h() + line % pooling.out_h() * 2;
            let place = usize::from(*argmax);
            let at = (row + place / 2) * g.out_w() + 2 * col + place % 2;
            *argmax += 4 * u8::from(alive[at * case.filters + c] == 0.0);
        }
    }
    (y, argmax)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn forward_is_the_twin() {
    for case in Case::all() {
        for (activation, dropout) in ways() {
            let (job, len) = (case.job(activation), case.pooled_len());
            let (mut expected, mut winners) = (untouched(len), vec![255; len]);
            naive::conv::forward_pooled(&job, dropout.as_ref(), &mut expected, &mut winners);
            let is_exact = !matches!(activation, Activation::Tanh | Activation::Sigmoid);
            let results = run_everywhere(|team| {
                let (mut y, mut argmax) = (untouched(len), vec![255; len]);
                conv::forward_pooled(team, &job, dropout.as_ref(), &mut y, &mut argmax);
                assert!(!is_exact || argmax == winners, "{} {}", team.isa(), case.name());
                vec![y, argmax.into_iter().map(f32::from).collect()]
            });
            let tolerance = if is_exact { 0.0 } else { 1e-6 };
            for (isa, out) in results {
                let name = format!("{isa} {activation:?} {}", case.name());
                assert_close(&out[0], &expected, tolerance, tolerance, &name);
            }
        }
    }
}

#[test]
fn forward_has_the_bits_of_the_unfused_kernels() {
    on_every_isa(|team| {
        for case in Case::all().into_iter().map(Case::rounding) {
            for (activation, dropout) in ways() {
                let (job, len) = (case.job(activation), case.pooled_len());
                let (mut y, mut argmax) = (untouched(len), vec![255; len]);
                conv::forward_pooled(team, &job, dropout.as_ref(), &mut y, &mut argmax);
                let (expected, winners) = unfused(team, &case, &job, dropout.as_ref());
                let name = format!("{} {activation:?} {}", team.isa(), case.name());
                assert!(bits(&y) == bits(&expected), "{name}: y");
                assert!(argmax == winners, "{name}: argmax");
            }
        }
    });
}

/// A NaN wins only from the first place, on every path.
#[test]
fn nan_is_treated_as_by_the_unfused_kernels() {
    on_every_isa(|team| {
        for case in Case::all().into_iter().filter(|case| case.batch == 3) {
            let mut case = case.rounding();
            case.x.iter_mut().step_by(23).for_each(|x| *x = f32::NAN);
            for (activation, dropout) in ways() {
                let (job, len) = (case.job(activation), case.pooled_len());
                let (mut y, mut argmax) = (vec![0.0; len], vec![255; len]);
                conv::forward_pooled(team, &job, dropout.as_ref(), &mut y, &mut argmax);
                let (expected, winners) = unfused(team, &case, &job, dropout.as_ref());
                let nans = |y: &[f32]| y.iter().map(|y| y.is_nan()).collect::<Vec<_>>();
                assert!(nans(&y) == nans(&expected) && argmax == winners, "{}", case.name());
            }
        }
    });
}

#[test]
fn backward() {
    for case in Case::all().into_iter().map(Case::rounding) {
        for (activation, dropout) in ways() {
            let (job, len) = (case.job(activation), case.pooled_len());
            let (mut y, mut argmax) = (untouched(len), vec![255; len]);
            naive::conv::forward_pooled(&job, dropout.as_ref(), &mut y, &mut argmax);
            let dy = noise(4, len);
            let (g, filters, w_len) = (&case.g, case.filters, case.w.len());
            let dropout_rate = dropout.map_or(0.0, |dropout| dropout.rate);
            let winners = Winners { dy: &dy, y: &y, argmax: &argmax, activation, dropout_rate };
            let is_direct = conv::is_one_channel(g);
            let mut dz = untouched(case.map_len());
            naive::conv::expand_winners(g, filters, &winners, &mut dz);
            let mut expected = [dz, untouched(w_len), untouched(filters)];
            let [_, dw, db] = &mut expected;
            naive::conv::backward_weights_pooled(g, &case.x, &winners, dw, db);
            let results = run_everywhere(|team| {
                let mut dz = untouched(case.map_len());
                conv::expand_winners(team, g, filters, &winners, &mut dz);
                let (mut dw, mut db) = (untouched(w_len), untouched(filters));
                if is_direct {
                    conv::backward_weights_pooled(team, g, &case.x, &winners, &mut dw, &mut db);
                } else {
                    conv::backward_weights(team, g, &case.x, &dz, &mut dw, &mut db);
                }
                vec![dz, dw, db]
            });
            for (isa, out) in results {
                let name = format!("{isa} {activation:?} {}", case.name());
                assert_close(&out[0], &expected[0], 1e-6, 1e-6, &name);
                assert_close(&out[1], &expected[1], 1e-5, 1e-4, &name);
                assert_close(&out[2], &expected[2], 1e-5, 1e-4, &name);
            }
        }
    }
}
