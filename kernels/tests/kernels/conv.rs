//! Convolutions against their twins, on every instruction set; the gradients also against the inner
//! product that defines them.

use crate::common::{
    assert_close, noise, on_every_isa, same_bits_at_any_thread_count, same_bits_on_any_machine,
};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::{Activation, Geometry, Padding, naive};

/// A convolution to check.
struct Case {
    geometry: Geometry,
    batch: usize,
    filters: usize,
}

impl Case {
    /// Every stride, both paddings, one and many channels, windows as large as the image, uneven
    /// ones, single pixels.
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for (input, kernel) in [
            ([1, 1, 1], [1, 1]),
            ([5, 7, 3], [3, 2]),
            ([4, 4, 5], [4, 4]),
            ([9, 6, 1], [3, 3]),
            ([6, 5, 16], [3, 3]),
            ([3, 8, 2], [1, 5]),
            ([7, 7, 33], [2, 2]),
        ] {
            for stride in 1..=3 {
                for padding in [Padding::Valid, Padding::Same] {
                    for (batch, filters) in [(0, 4), (1, 1), (2, 10), (3, 33)] {
                        let geometry = Geometry::new(input, kernel, stride, padding).unwrap();
                        cases.push(Self { geometry, batch, filters });
                    }
                }
            }
        }
        cases
    }

    /// The five convolutions of the reports, a few images each.
    fn of_the_reports() -> Vec<Self> {
        let case = |input, filters, padding| {
            let geometry = Geometry::new(input, [3, 3], 1, padding).unwrap();
            Self { geometry, batch: 3, filters }
        };
        vec![
            case([28, 28, 1], 32, Padding::Valid),
            case([13, 13, 32], 64, Padding::Valid),
            case([5, 5, 64], 64, Padding::Valid),
            case([28, 28, 1], 64, Padding::Same),
            case([14, 14, 64], 32, Padding::Same),
        ]
    }

    fn x(&self) -> Vec<f32> {
        noise(1, self.batch * self.geometry.in_len())
    }

    fn w(&self) -> Vec<f32> {
        noise(2, self.geometry.window_len() * self.filters)
    }

    fn bias(&self) -> Vec<f32> {
        noise(3, self.filters)
    }

    fn dz(&self) -> Vec<f32> {
        noise(4, self.y_len())
    }

    fn y_len(&self) -> usize {
        self.batch * self.geometry.out_pixels() * self.filters
    }

    fn name(&self) -> String {
        format!("{:?}, {} images, {} filters", self.geometry, self.batch, self.filters)
    }
}

#[test]
fn forward() {
    on_every_isa(|team| {
        for case in Case::all().iter().chain(&Case::of_the_reports()) {
            let (g, x, w, bias) = (&case.geometry, case.x(), case.w(), case.bias());
            let activation = Activation::LeakyRelu { slope: 0.1 };
            let job = Convolution { geometry: g, x: &x, w: &w, bias: &bias, activation };
            let (mut y, mut expected) = (vec![f32::NAN; case.y_len()], vec![0.0; case.y_len()]);
            naive::conv::forward(&job, &mut expected);
            conv::forward(team, &job, &mut y);
            assert_close(&y, &expected, 1e-5, 2e-5, &case.name());
        }
    });
}

#[test]
fn backward_data() {
    on_every_isa(|team| {
        for case in Case::all().iter().chain(&Case::of_the_reports()) {
            let (g, dz, w) = (&case.geometry, case.dz(), case.w());
            let len = case.x().len();
            let (mut dx, mut expected) = (vec![f32::NAN; len], vec![0.0; len]);
            naive::conv::backward_data(g, &dz, &w, &mut expected);
            conv::backward_data(team, g, &dz, &w, &mut dx);
            assert_close(&dx, &expected, 1e-5, 2e-5, &case.name());
        }
    });
}

#[test]
fn backward_weights() {
    on_every_isa(|team| {
        for case in Case::all().iter().chain(&Case::of_the_reports()) {
            let (g, x, dz) = (&case.geometry, case.x(), case.dz());
            let len = case.w().len();
            let (mut dw, mut db) = (vec![f32::NAN; len], vec![f32::NAN; case.filters]);
            let (mut expected_dw, mut expected_db) = (vec![0.0; len], vec![0.0; case.filters]);
            naive::conv::backward_weights(g, &x, &dz, &mut expected_dw, &mut expected_db);
            conv::backward_weights(team, g, &x, &dz, &mut dw, &mut db);
            assert_close(&dw, &expected_dw, 1e-5, 1e-4, &case.name());
            assert_close(&db, &expected_db, 1e-5, 1e-4, &case.name());
        }
    });
}

/// Both gradients are adjoints of the convolution: `<conv(x, w), dz> = <x, dx> = <w, dw>`. This
/// holds the twins themselves to their definition.
#[test]
fn gradients_are_adjoints() {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    for case in Case::all() {
        let (g, x, w, dz) = (&case.geometry, case.x(), case.w(), case.dz());
        let zeros = vec![0.0; case.filters];
        let mut y = vec![0.0; case.y_len()];
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        let activation = Activation::Linear;
        let job = Convolution { geometry: g, x: &x, w: &w, bias: &zeros, activation };
        naive::conv::forward(&job, &mut y);
        naive::conv::backward_data(g, &dz, &w, &mut dx);
        naive::conv::backward_weights(g, &x, &dz, &mut dw, &mut zeros.clone());
        let expected = dot(&y, &dz);
        for actual in [dot(&x, &dx), dot(&w, &dw)] {
            let name = case.name();
            assert!((actual - expected).abs() <= 1e-3, "{name}: {actual} against {expected}");
        }
    }
}

/// Values worked out by hand, so that the twins do not only agree with themselves.
#[test]
fn a_convolution_by_hand() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let w = [1.0, 10.0, 100.0, 1000.0];
    let run = |padding, len| {
        let g = Geometry::new([3, 3, 1], [2, 2], 1, padding).unwrap();
        let mut y = vec![0.0; len];
        let activation = Activation::Linear;
        let job = Convolution { geometry: &g, x: &x, w: &w, bias: &[0.5], activation };
        naive::conv::forward(&job, &mut y);
        y
    };
    assert_eq!(run(Padding::Valid, 4), [5421.5, 6532.5, 8754.5, 9865.5]);
    let same = [5421.5, 6532.5, 603.5, 8754.5, 9865.5, 906.5, 87.5, 98.5, 9.5];
    assert_eq!(run(Padding::Same, 9), same);
}

#[test]
fn same_bits_with_any_number_of_threads() {
    for mut case in Case::of_the_reports() {
        case.batch = 9;
        let (g, x, w) = (case.geometry, case.x(), case.w());
        let (bias, dz, filters, y_len) = (case.bias(), case.dz(), case.filters, case.y_len());
        same_bits_at_any_thread_count(|team| {
            let mut out = vec![f32::NAN; y_len];
            let activation = Activation::Relu;
            let job = Convolution { geometry: &g, x: &x, w: &w, bias: &bias, activation };
            conv::forward(team, &job, &mut out);
            let (mut dx, mut dw) = (vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
            let mut db = vec![f32::NAN; filters];
            conv::backward_data(team, &g, &dz, &w, &mut dx);
            conv::backward_weights(team, &g, &x, &dz, &mut dw, &mut db);
            out.extend(dx.into_iter().chain(dw).chain(db));
            out
        });
    }
}

/// Many images to a task or few, one thread or four: none of this may change a sum. Also for gradients
/// that are scattered tap by tap, with more filters than a block of K has. (The pixels of an image are no
/// multiple of a tile's rows, so that a change of the tasks also changes the tiles.)
#[test]
fn same_bits_on_every_machine() {
    for (input, stride, filters, batch) in [
        ([7, 7, 5], 1, 300, 29),
        ([28, 28, 3], 2, 33, 21),
        ([5, 5, 64], 1, 64, 23),
        ([7, 7, 9], 1, 10, 97),
    ] {
        let geometry = Geometry::new(input, [3, 3], stride, Padding::Valid).unwrap();
        let case = Case { geometry, batch, filters };
        let (g, x, w, bias, dz) = (&case.geometry, case.x(), case.w(), case.bias(), case.dz());
        same_bits_on_any_machine(|team| {
            let activation = Activation::Relu;
            let job = Convolution { geometry: g, x: &x, w: &w, bias: &bias, activation };
            let (mut y, mut with_moments) = (vec![f32::NAN; dz.len()], vec![f32::NAN; dz.len()]);
            let (mut mean, mut variance) = (vec![f32::NAN; filters], vec![f32::NAN; filters]);
            conv::forward(team, &job, &mut y);
            conv::forward_with_moments(team, &job, &mut with_moments, &mut mean, &mut variance);
            let (mut dx, mut dw) = (vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
            let mut db = vec![f32::NAN; filters];
            conv::backward_data(team, g, &dz, &w, &mut dx);
            conv::backward_weights(team, g, &x, &dz, &mut dw, &mut db);
            [y, with_moments, mean, variance, dx, dw, db].concat()
        });
    }
}

/// Sums of `1 + 2^-17` are rounded, mostly the same way. The bounds are those of the crate's contract;
/// what the sums should be follows from those of ones, which are exact.
#[test]
fn sums_that_round_badly_keep_the_bound() {
    let step = 1.0 + 2.0_f32.powi(-17);
    let check = |sums: &[f32], ones: &[f32], roundings: usize, what: &str| {
        for (i, (&sum, &ones)) in sums.iter().zip(ones).enumerate() {
            let size = f64::from(ones) * f64::from(step);
            let bound = 0.5001 * roundings as f64 * f64::from(f32::EPSILON) * size;
            let error = (f64::from(sum) - size).abs();
            assert!(error <= bound, "{what} at {i}: {sum}, not {size}: beyond {bound:e}");
        }
    };
    on_every_isa(|team| {
        for mut case in Case::all().into_iter().chain(Case::of_the_reports()) {
            if case.batch == 3 {
                (case.batch, case.filters) = (24, 300);
            }
            let (g, filters) = (&case.geometry, case.filters);
            let ones = |len: usize| vec![1.0_f32; len];
            let (x, dz) = (ones(case.batch * g.in_len()), ones(case.y_len()));
            let w = ones(g.window_len() * filters);
            let compute = |w: &[f32], dz: &[f32]| {
                let bias = vec![0.0; filters];
                let activation = Activation::Linear;
                let job = Convolution { geometry: g, x: &x, w, bias: &bias, activation };
                let (mut y, mut dx) = (vec![f32::NAN; dz.len()], vec![f32::NAN; x.len()]);
                let (mut dw, mut db) = (vec![f32::NAN; w.len()], vec![f32::NAN; filters]);
                conv::forward(team, &job, &mut y);
                conv::backward_data(team, g, &ones(dz.len()), w, &mut dx);
                conv::backward_weights(team, g, &x, dz, &mut dw, &mut db);
                [y, dx, dw]
            };
            let exact = compute(&w, &dz);
            let sums = compute(&vec![step; w.len()], &vec![step; dz.len()]);
            let name = format!("{}: {}", team.isa(), case.name());
            let run = |k: usize| k.min(256) + k.div_ceil(256);
            let taps = g.kernel_h() * g.kernel_w();
            let scattered = filters.min(256) + taps * filters.div_ceil(256);
            let windows = case.batch * g.out_pixels();
            let of_weights = run(windows.min(4096)) + windows.div_ceil(4096);
            check(&sums[0], &exact[0], run(g.window_len()), &format!("{name}: y"));
            check(&sums[1], &exact[1], scattered.max(run(taps * filters)), &format!("{name}: dx"));
            check(&sums[2], &exact[2], of_weights, &format!("{name}: dw"));
        }
    });
}
