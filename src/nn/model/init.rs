//! Initial weights, with Keras's definitions. Each tensor has its own stream of random numbers, so
//! its values depend on the seed and on its place in the network only.

use rand::RngExt;

use crate::random::Key;

/// How a tensor is filled before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initializer {
    /// All zero: biases, moving means, beta.
    Zeros,
    /// All one: gamma, moving variances.
    Ones,
    /// Uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010). Both fans of a convolution
    /// count the whole receptive field.
    GlorotUniform {
        /// Inputs that one output sums over.
        fan_in: usize,
        /// Outputs that one input reaches.
        fan_out: usize,
    },
    /// A matrix with orthonormal rows or columns, whichever are fewer (Saxe et al. 2013): the QR
    /// factor of a matrix of normal draws, with the signs that make it uniformly distributed.
    Orthogonal {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// The bias of an LSTM in gate order i, f, c, o: one for the forget gate, zero for the others
    /// (Jozefowicz et al. 2015).
    ForgetGateOnes {
        /// Units of the layer, a quarter of the bias.
        units: usize,
    },
}

impl Initializer {
    /// Fills `out` from the beginning of the stream `key`. `out` has the size that the fans or
    /// the matrix imply.
    pub fn fill(self, key: Key, out: &mut [f32]) {
        match self {
            Self::Zeros => out.fill(0.0),
            Self::Ones => out.fill(1.0),
            Self::GlorotUniform { fan_in, fan_out } => {
                let limit = (6.0 / (fan_in as f64 + fan_out as f64)).sqrt() as f32;
                let mut rng = key.rng();
                for w in out {
                    *w = (rng.random::<f32>() * 2.0 - 1.0) * limit;
                }
            }
            Self::Orthogonal { rows, cols } => orthogonal(key, rows, cols, out),
            Self::ForgetGateOnes { units } => {
                out.fill(0.0);
                out[units..2 * units].fill(1.0);
            }
        }
    }
}

/// Modified Gram-Schmidt in f64 on `short` vectors of `long` normal draws. It leaves R with a
/// positive diagonal, which is the sign rule that makes Q uniform over the orthogonal matrices.
fn orthogonal(key: Key, rows: usize, cols: usize, out: &mut [f32]) {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let mut normal = Normal { rng: key.rng(), spare: None };
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(short);
    while basis.len() < short {
        let mut v: Vec<f64> = (0..long).map(|_| normal.draw()).collect();
        for q in &basis {
            let along = dot(q, &v);
            v.iter_mut().zip(q).for_each(|(v, q)| *v -= along * q);
        }
        let norm = dot(&v, &v).sqrt();
        // Linearly dependent draws (probability zero, but 0/0 otherwise): draw that vector again.
        if norm > 1e-9 {
            v.iter_mut().for_each(|v| *v /= norm);
            basis.push(v);
        }
    }
    for (s, q) in basis.iter().enumerate() {
        for (l, &value) in q.iter().enumerate() {
            let (row, col) = if rows <= cols { (s, l) } else { (l, s) };
            out[row * cols + col] = value as f32;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Standard normal draws by the Box-Muller transform, two from two uniforms.
struct Normal<R> {
    rng: R,
    spare: Option<f64>,
}

impl<R: RngExt> Normal<R> {
    fn draw(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // 1 - u is in (0, 1]: the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.rng.random::<f64>()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn filled(initializer: Initializer, len: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; len];
        initializer.fill(Key::new(7, Purpose::Init).with(0), &mut out);
        out
    }

    #[test]
    fn glorot_is_uniform_within_its_limit() {
        let w = filled(Initializer::GlorotUniform { fan_in: 300, fan_out: 100 }, 30_000);
        let limit = (6.0f64 / 400.0).sqrt();
        let n = w.len() as f64;
        let mean = w.iter().map(|&w| w as f64).sum::<f64>() / n;
        let variance = w.iter().map(|&w| (w as f64).powi(2)).sum::<f64>() / n;
        assert!(w.iter().all(|w| (*w as f64).abs() <= limit));
        // Standard errors: limit / sqrt(3 n) = 0.0041 limit for the mean, and
        // limit^2 sqrt(4 / 45 / n) = 0.0017 limit^2 for the variance; five of each are allowed.
        assert!(mean.abs() < 0.0021 * 10.0 * limit, "mean {mean}");
        assert!((variance / (limit * limit) - 1.0 / 3.0).abs() < 0.0086, "variance {variance}");
    }

    #[test]
    fn orthogonal_both_ways_round() {
        for (rows, cols) in [(24, 24), (16, 64), (40, 9), (1, 5)] {
            let w = filled(Initializer::Orthogonal { rows, cols }, rows * cols);
            let at = |s: usize, l: usize| {
                f64::from(if rows <= cols { w[s * cols + l] } else { w[l * cols + s] })
            };
            let (short, long) = (rows.min(cols), rows.max(cols));
            for a in 0..short {
                for b in 0..short {
                    let product: f64 = (0..long).map(|l| at(a, l) * at(b, l)).sum();
                    let expected = f64::from(u8::from(a == b));
                    // Rounding to f32 moves a product of unit vectors by 2^-24 at most, twice.
                    assert!((product - expected).abs() < 2e-7, "{rows}x{cols}: {a}.{b}={product}");
                }
            }
        }
    }

    #[test]
    fn normal_draws_have_unit_moments() {
        let mut normal = Normal { rng: Key::new(3, Purpose::Init).rng(), spare: None };
        let draws: Vec<f64> = (0..40_000).map(|_| normal.draw()).collect();
        let n = draws.len() as f64;
        let moment = |p: i32| draws.iter().map(|d| d.powi(p)).sum::<f64>() / n;
        // Standard errors sqrt(1/n), sqrt(2/n), sqrt(96/n); five of each.
        assert!(moment(1).abs() < 0.025);
        assert!((moment(2) - 1.0).abs() < 0.036);
        assert!((moment(4) - 3.0).abs() < 0.25);
    }

    #[test]
    fn forget_gate() {
        let bias = filled(Initializer::ForgetGateOnes { units: 2 }, 8);
        assert_eq!(bias, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
