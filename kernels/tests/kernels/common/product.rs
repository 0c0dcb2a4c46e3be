//! Products to be checked: how their matrices lie, what they hold, and how far they may be off.

use super::noise;
use threadcount_kernels::gemm::{Blocking, Epilogue, Write, gemm_with};
use threadcount_kernels::{Activation, Isa, Mat, MatMut, Team, naive};

/// How a matrix lies.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Elements between neighbours in a line.
    pub step: usize,
    /// Elements behind each line that are not the matrix's.
    pub gap: usize,
    /// Lines begin at multiples of this.
    pub multiple: usize,
    /// Whether lines are columns.
    pub by_column: bool,
}

pub const BY_ROW: Layout = Layout { step: 1, gap: 0, multiple: 1, by_column: false };
pub const BY_COLUMN: Layout = Layout { by_column: true, ..BY_ROW };
pub const SCATTERED: Layout = Layout { step: 2, gap: 3, ..BY_ROW };
pub const LAYOUTS: [Layout; 8] = [
    BY_ROW,
    BY_COLUMN,
    SCATTERED,
    Layout { by_column: true, ..SCATTERED },
    Layout { multiple: 512, ..BY_ROW },
    Layout { multiple: 512, ..BY_COLUMN },
    Layout { multiple: 1024, ..BY_ROW },
    Layout { multiple: 1024, ..BY_COLUMN },
];

impl Layout {
    /// Row stride, column stride and elements of so many rows and columns.
    pub fn of(&self, rows: usize, cols: usize) -> (usize, usize, usize) {
        let (lines, len) = if self.by_column { (cols, rows) } else { (rows, cols) };
        let line = (len * self.step + self.gap).max(1).next_multiple_of(self.multiple);
        let (rs, cs) = if self.by_column { (self.step, line) } else { (line, self.step) };
        (rs, cs, lines * line)
    }

    pub fn view<'a>(&self, data: &'a [f32], rows: usize, cols: usize) -> Mat<'a> {
        let (rs, cs, _) = self.of(rows, cols);
        Mat::strided(data, rows, cols, rs, cs)
    }

    pub fn view_mut<'a>(&self, data: &'a mut [f32], rows: usize, cols: usize) -> MatMut<'a> {
        let (rs, cs, _) = self.of(rows, cols);
        MatMut::strided(data, rows, cols, rs, cs)
    }

    /// A matrix of these elements; what lies between them is NaN.
    pub fn filled(
        &self,
        rows: usize,
        cols: usize,
        element: impl Fn(usize, usize) -> f32,
    ) -> Vec<f32> {
        let mut data = vec![f32::NAN; self.of(rows, cols).2];
        let mut view = self.view_mut(&mut data, rows, cols);
        for i in 0..rows {
            for j in 0..cols {
                view.set(i, j, element(i, j));
            }
        }
        data
    }
}

/// What the operands hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data {
    /// Random in -1..1.
    Noise,
    /// A is 1 and B `1 + 2^-17`: each sum is rounded, mostly the same way.
    NearOne,
    /// A product of 1 and then products of `2^-24`, each just lost where it is added to the first.
    LargestFirst,
    /// Random in 0.5..1: sums only grow.
    Positive,
}

impl Data {
    pub const BAD: [Self; 3] = [Self::NearOne, Self::LargestFirst, Self::Positive];

    /// A, B and the old C in these layouts.
    pub fn fill(self, p: &Product) -> [Vec<f32>; 3] {
        let Product { m, n, k, .. } = *p;
        let random = [noise(1, m * k), noise(2, k * n), noise(3, m * n)];
        let value = |which: usize, step: usize, at: usize| match (self, which) {
            (Self::Noise, _) | (_, 2) => random[which][at],
            (Self::Positive, _) => 0.75 + 0.25 * random[which][at],
            (Self::NearOne, 0) => 1.0,
            (Self::NearOne, _) => 1.0 + 2.0_f32.powi(-17),
            (Self::LargestFirst, _) if step == 0 => 1.0,
            (Self::LargestFirst, _) => 2.0_f32.powi(-12),
        };
        [
            p.a.filled(m, k, |i, step| value(0, step, i * k + step)),
            p.b.filled(k, n, |step, j| value(1, step, step * n + j)),
            p.c.filled(m, n, |i, j| value(2, 0, i * n + j)),
        ]
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Finish {
    None,
    Bias(Activation),
    Derivative(Activation),
}

/// One product.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Layout,
    pub b: Layout,
    pub c: Layout,
    pub alpha: f32,
    pub write: Write,
    pub finish: Finish,
    pub data: Data,
    /// Other cuts than those of every machine: `kc`, `slice_blocks` and `buffer`.
    pub cut: Option<(usize, usize, usize)>,
}

impl Product {
    pub fn plain(m: usize, n: usize, k: usize) -> Self {
        let (a, b, c, write, finish) = (BY_ROW, BY_ROW, BY_ROW, Write::Set, Finish::None);
        let (alpha, data, cut) = (1.0, Data::Noise, None);
        Self { m, n, k, a, b, c, alpha, write, finish, data, cut }
    }

    pub fn beta(&self) -> f32 {
        match self.write {
            Write::Set => 0.0,
            Write::Add { beta } => beta,
        }
    }

    /// The blocking on that machine.
    pub fn blocking(&self, machine: &Blocking) -> Blocking {
        match self.cut {
            None => *machine,
            Some((kc, slice_blocks, buffer)) => {
                Blocking { kc, slice_blocks, buffer, nc: machine.nc / 4, ..*machine }
            }
        }
    }

    /// The most roundings in a row: R of the contract (see `gemm`).
    pub fn roundings(&self) -> f64 {
        let (kc, slice_blocks, _) = self.cut.unwrap_or((256, 16, 0));
        let blocks = self.k.div_ceil(kc).max(1);
        let sums = blocks.min(slice_blocks) - 1 + blocks.div_ceil(slice_blocks) - 1;
        (self.k.min(kc) + sums + 2) as f64
    }

    /// C, on that team and machine.
    pub fn compute(&self, team: &Team, machine: &Blocking, operands: &Operands) -> Vec<f32> {
        let Self { m, n, k, alpha, write, .. } = *self;
        let Operands { data: [a, b, old], bias, y } = operands;
        let mut c = old.clone();
        let (a, b) = (self.a.view(a, m, k), self.b.view(b, k, n));
        let epilogue = match self.finish {
            Finish::None => Epilogue::None,
            Finish::Bias(activation) => Epilogue::Bias { bias, activation },
            Finish::Derivative(activation) => {
                Epilogue::Derivative { y: self.c.view(y, m, n), activation }
            }
        };
        let target = self.c.view_mut(&mut c, m, n);
        gemm_with(team, &self.blocking(machine), alpha, a, b, write, target, epilogue);
        c
    }

    /// The worst error in units of `eps (|alpha| |A||B| + |beta||C|)`, before the epilogue.
    ///
    /// # Panics
    /// If one is beyond the contract, or what lies between the elements of C has changed.
    pub fn worst_error(&self, isa: Isa, operands: &Operands, c: &[f32]) -> f64 {
        self.worst_error_beyond(0.0, isa, operands, c)
    }

    /// The same where a product of two numbers may be off by that share of it, because they are rounded first.
    ///
    /// # Panics
    /// As [`Self::worst_error`].
    pub fn worst_error_beyond(&self, share: f64, isa: Isa, operands: &Operands, c: &[f32]) -> f64 {
        let Self { m, n, k, .. } = *self;
        let Operands { data: [a, b, old], bias, y } = operands;
        let (a, b, y) = (self.a.view(a, m, k), self.b.view(b, k, n), self.c.view(y, m, n));
        let (new, old) = (self.c.view(c, m, n), self.c.view(old, m, n));
        let (rs, cs, len) = self.c.of(m, n);
        let mut is_element = vec![false; len];
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta()));
        let columns: Vec<f64> = (0..n)
            .flat_map(|j| (0..k).map(move |p| (p, j)))
            .map(|(p, j)| f64::from(b.at(p, j)))
            .collect();
        let mut worst = 0.0_f64;
        for i in 0..m {
            let row: Vec<f64> = (0..k).map(|p| f64::from(a.at(i, p))).collect();
            for j in 0..n {
                is_element[i * rs + j * cs] = true;
                let (mut sum, mut size) = (0.0, 0.0);
                if alpha != 0.0 {
                    for (a, b) in row.iter().zip(&columns[j * k..]) {
                        sum += a * b;
                        size += (a * b).abs();
                    }
                }
                let add = if beta == 0.0 { 0.0 } else { beta * f64::from(old.at(i, j)) };
                let unit = f64::from(f32::EPSILON) * (alpha.abs() * size + add.abs());
                let expected = alpha * sum + add;
                let (expected, slope, more) = finished(self.finish, expected, bias[j], y.at(i, j));
                let rounded = share * alpha.abs() * size * slope;
                let bound = 0.5001 * self.roundings() * unit * slope + rounded;
                let error = (f64::from(new.at(i, j)) - expected).abs();
                assert!(
                    error <= bound + more,
                    "{isa}: {self:?} at {i}, {j}: {error:e} > {bound:e}"
                );
                if unit > 0.0 && matches!(self.finish, Finish::None) {
                    worst = worst.max(error / unit);
                }
            }
        }
        for (at, x) in c.iter().enumerate() {
            assert!(is_element[at] || x.is_nan(), "{isa}: {self:?} writes between elements: {at}");
        }
        worst
    }
}

/// What becomes of a complete sum, how far an error of it grows, and how far the epilogue's own
/// roundings may be off. The slope of every activation is at most 1.
pub fn finished(finish: Finish, x: f64, bias: f32, y: f32) -> (f64, f64, f64) {
    let apply = |activation, x: f64| match activation {
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu { slope } if x < 0.0 => f64::from(slope) * x,
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        _ => x,
    };
    let few_ulp = |x: f64| 4.0 * f64::from(f32::EPSILON) * x.abs();
    match finish {
        Finish::None => (x, 1.0, 0.0),
        Finish::Bias(activation) => {
            let x = x + f64::from(bias);
            (apply(activation, x), 1.0, few_ulp(x) + few_ulp(1.0))
        }
        Finish::Derivative(activation) => {
            let mut dx = [1.0];
            naive::activation::backward(activation, &[y], &mut dx);
            let slope = f64::from(dx[0]);
            (x * slope, slope.abs(), few_ulp(x * slope))
        }
    }
}

/// A, B and the old C (NaN if it may not be read), and what epilogues read.
pub struct Operands {
    pub data: [Vec<f32>; 3],
    pub bias: Vec<f32>,
    pub y: Vec<f32>,
}

impl Operands {
    pub fn of(product: &Product) -> Self {
        let Product { m, n, c, .. } = *product;
        let y = noise(4, m * n);
        let y = c.filled(m, n, |i, j| y[i * n + j]);
        let mut data = product.data.fill(product);
        if product.beta() == 0.0 {
            data[2].fill(f32::NAN);
        }
        Self { data, bias: noise(5, n), y }
    }
}
