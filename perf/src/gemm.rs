//! SGEMM as a share of the FMA peak, sample by sample against the peak of that moment.

use comfy_table::{CellAlignment, Table, presets};
use std::time::Instant;
use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::{Mat, MatMut, Team, naive, peak};

/// Floating-point operations of one sample: some milliseconds, longer than most interruptions.
const FLOPS_PER_SAMPLE: f64 = 4e8;

/// One matrix product of `m x n x k`.
struct Product {
    name: String,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
}

impl Product {
    fn square(size: usize) -> Self {
        let name = format!("square {size}");
        Self { name, m: size, n: size, k: size, a_transposed: false, b_transposed: false }
    }

    /// The three products of a training step of one dense layer.
    fn of_layer(batch: usize, inputs: usize, outputs: usize) -> [Self; 3] {
        let product = |pass, (m, n, k), a_transposed, b_transposed| Self {
            name: format!("{inputs} - {outputs}, batch {batch}: {pass}"),
            m,
            n,
            k,
            a_transposed,
            b_transposed,
        };
        [
            product("forward", (batch, outputs, inputs), false, false),
            product("dW", (inputs, outputs, batch), true, false),
            product("dX", (batch, inputs, outputs), false, true),
        ]
    }

    fn all() -> Vec<Self> {
        let squares = [256, 512, 1024].map(Self::square);
        let layers = [
            (256, 784, 512),
            (256, 512, 256),
            (64, 784, 512),
            (64, 1568, 256),
            (32, 784, 512),
            (64, 784, 40),
            (64, 256, 10),
        ];
        let layers = layers.into_iter().flat_map(|(b, i, o)| Self::of_layer(b, i, o));
        squares.into_iter().chain(layers).collect()
    }

    fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }
}

/// Measures every product: the median of its rate over the peak's, and the quartiles.
pub(crate) fn table(team: &Team, samples: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["product", "GFLOP/s", "% of peak", "quartiles"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for product in Product::all() {
        let (rates, shares) = measure(team, &product, samples);
        let quartiles = format!("{:.1} - {:.1}", quantile(&shares, 0.25), quantile(&shares, 0.75));
        table.add_row([
            product.name,
            format!("{:.1}", quantile(&rates, 0.5) / 1e9),
            format!("{:.1}", quantile(&shares, 0.5)),
            quartiles,
        ]);
    }
    table
}

/// Rates in FLOP/s, and each in per cent of the peak measured just before it; both sorted.
fn measure(team: &Team, product: &Product, samples: usize) -> (Vec<f64>, Vec<f64>) {
    let Product { m, n, k, .. } = *product;
    let fill = |len: usize| (0..len).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = (fill(m * k), fill(k * n));
    let a = if product.a_transposed { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
    let b = if product.b_transposed { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
    let (mut c, mut expected) = (vec![f32::NAN; m * n], vec![0.0; m * n]);
    let twin = MatMut::new(&mut expected, m, n);
    naive::gemm::gemm(1.0, a, b, Write::Set, twin, Epilogue::None);
    gemm(team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), Epilogue::None);
    for (c, expected) in c.iter().zip(&expected) {
        assert!((c - expected).abs() <= 1e-2, "{}: {c}, the twin {expected}", product.name);
    }
    let repeats = (FLOPS_PER_SAMPLE / product.flops()).ceil() as usize;
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..samples {
        let peak = peak::fma_rate(team);
        let start = Instant::now();
        for _ in 0..repeats {
            gemm(team, 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), Epilogue::None);
        }
        let rate = product.flops() * repeats as f64 / start.elapsed().as_secs_f64();
        rates.push(rate);
        shares.push(100.0 * rate / peak);
    }
    rates.sort_unstable_by(f64::total_cmp);
    shares.sort_unstable_by(f64::total_cmp);
    (rates, shares)
}

/// The value below which that share of the sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
