//! The LSTM: one product for all four gates, then one pass over a step's gates and cells.

use super::{Gradients, LstmTape, Shape, Weights, check, gradients, time_major};
use crate::Activation;
use crate::gemm::{Epilogue, Write, gemm};
use crate::math;
use crate::matrix::{Mat, MatMut};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};

/// Cells of the smallest task: each costs five exponentials.
const TASK: usize = 2_048;

/// `i, f, o = sigmoid(z)` and `g = tanh(z)` with `z = x_t Wx + h_{t-1} Wh + b`, columns in the
/// order i, f, g, o (Keras calls g c); `c_t = f c_{t-1} + i g`, `h_t = o tanh(c_t)`. `x` is `[n,
/// steps, inputs]`.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
pub fn lstm_forward(team: &Team, shape: &Shape, x: &[f32], weights: &Weights, tape: &mut LstmTape) {
    let Shape { steps, inputs, units } = *shape;
    let n = shape.batch(x.len());
    let (size, width) = (n * units, 4 * units);
    shape.check(4, weights.wx.len(), weights.wh.len(), weights.b.len());
    check("tape.x", tape.x.len(), x.len());
    check("tape.gates", tape.gates.len(), steps * n * width);
    check("tape.cell", tape.cell.len(), steps * size);
    check("tape.hidden", tape.hidden.len(), steps * size);
    if n == 0 {
        return;
    }
    time_major(team, shape, n, x, tape.x);
    let wx = Mat::new(weights.wx, inputs, width);
    let wh = Mat::new(weights.wh, units, width);
    let z = MatMut::new(tape.gates, steps * n, width);
    let bias = Epilogue::Bias { bias: weights.b, activation: Activation::Linear };
    gemm(team, 1.0, Mat::new(tape.x, steps * n, inputs), wx, Write::Set, z, bias);

    let isa = team.isa();
    for t in 0..steps {
        let gates = &mut tape.gates[t * n * width..(t + 1) * n * width];
        let (cell_before, cell) = tape.cell[..(t + 1) * size].split_at_mut(t * size);
        let (hidden_before, hidden) = tape.hidden[..(t + 1) * size].split_at_mut(t * size);
        let mut before = None;
        if t > 0 {
            let last = (t - 1) * size;
            let h = Mat::new(&hidden_before[last..], n, units);
            let z = MatMut::new(gates, n, width);
            gemm(team, 1.0, h, wh, Write::Add { beta: 1.0 }, z, Epilogue::None);
            before = Some(&cell_before[last..]);
        }
        let (gates, cell, hidden) = (Parts::new(gates), Parts::new(cell), Parts::new(hidden));
        team.run_chunks(n, (TASK / units).max(1), |rows, _| {
            let range = rows.start * units..rows.end * units;
            // SAFETY: tasks have disjoint rows.
            let (gates, cell, hidden) = unsafe {
                let gates = gates.part(rows.start * width..rows.end * width);
                (gates, cell.part(range.clone()), hidden.part(range.clone()))
            };
            let before = before.map(|before| &before[range]);
            isa.run(Forward { units, before, gates, cell, hidden });
        });
    }
}

/// Backpropagation through time from `d_last [n, units]`, the gradient by the last state.
/// `carry [2, n, units]` is workspace, and so are the gates of the tape. All gradients are
/// overwritten.
///
/// # Panics
/// If a length does not fit.
#[track_caller]
pub fn lstm_backward(
    team: &Team,
    shape: &Shape,
    weights: &Weights,
    tape: &mut LstmTape,
    d_last: &[f32],
    carry: &mut [f32],
    out: &mut Gradients,
) {
    let Shape { steps, units, .. } = *shape;
    let n = shape.batch(tape.x.len());
    let (size, width) = (n * units, 4 * units);
    shape.check(4, weights.wx.len(), weights.wh.len(), weights.b.len());
    shape.check(4, out.dwx.len(), out.dwh.len(), out.db.len());
    check("tape.gates", tape.gates.len(), steps * n * width);
    check("tape.cell", tape.cell.len(), steps * size);
    check("tape.hidden", tape.hidden.len(), steps * size);
    check("d_last", d_last.len(), size);
    check("carry", carry.len(), 2 * size);
    if let Some(dx) = &out.dx {
        check("dx", dx.len(), tape.x.len());
    }

    let (dh, dc) = carry.split_at_mut(size);
    dh.copy_from_slice(d_last);
    dc.fill(0.0);
    let wh = Mat::new(weights.wh, units, width).t();
    let isa = team.isa();
    for t in (0..steps).rev() {
        let gates = &mut tape.gates[t * n * width..(t + 1) * n * width];
        let cell = &tape.cell[t * size..(t + 1) * size];
        let before = (t > 0).then(|| &tape.cell[(t - 1) * size..t * size]);
        {
            let (gates, dh, dc) = (Parts::new(gates), &*dh, Parts::new(dc));
            team.run_chunks(n, (TASK / units).max(1), |rows, _| {
                let range = rows.start * units..rows.end * units;
                // SAFETY: tasks have disjoint rows.
                let (gates, dc) = unsafe {
                    (gates.part(rows.start * width..rows.end * width), dc.part(range.clone()))
                };
                let before = before.map(|before| &before[range.clone()]);
                let (cell, dh) = (&cell[range.clone()], &dh[range]);
                isa.run(Backward { units, before, cell, dh, gates, dc });
            });
        }
        if t > 0 {
            let dz = Mat::new(gates, n, width);
            let dh = MatMut::new(dh, n, units);
            gemm(team, 1.0, dz, wh, Write::Set, dh, Epilogue::None);
        }
    }
    gradients(team, shape, n, weights, tape.x, tape.hidden, tape.gates, out);
}

/// Some rows of one step: pre-activations become gates, cells and states follow.
struct Forward<'a> {
    units: usize,
    before: Option<&'a [f32]>,
    gates: &'a mut [f32],
    cell: &'a mut [f32],
    hidden: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { units, before, gates, cell, hidden } = self;
        let rows = cell.len() / units;
        assert!(gates.len() == 4 * rows * units && hidden.len() == rows * units);
        assert!(before.is_none_or(|before| before.len() == rows * units));
        for row in 0..rows {
            let mut unit = 0;
            while unit < units {
                let mask = simd.mask_first(units - unit);
                let at = row * units + unit;
                // SAFETY: the mask chooses lanes below the row's end; lengths as checked above.
                unsafe {
                    let gate = gates.as_mut_ptr().add(4 * row * units + unit);
                    let i = math::sigmoid(simd, simd.load_masked(gate, mask));
                    let f = math::sigmoid(simd, simd.load_masked(gate.add(units), mask));
                    let g = math::tanh(simd, simd.load_masked(gate.add(2 * units), mask));
                    let g = simd.flush(g);
                    let o = math::sigmoid(simd, simd.load_masked(gate.add(3 * units), mask));
                    let mut c = simd.mul(i, g);
                    if let Some(before) = before {
                        c = simd.mul_add(f, simd.load_masked(before.as_ptr().add(at), mask), c);
                    }
                    let c = simd.flush(c);
                    let h = simd.flush(simd.mul(o, math::tanh(simd, c)));
                    simd.store_masked(gate, i, mask);
                    simd.store_masked(gate.add(units), f, mask);
                    simd.store_masked(gate.add(2 * units), g, mask);
                    simd.store_masked(gate.add(3 * units), o, mask);
                    simd.store_masked(cell.as_mut_ptr().add(at), c, mask);
                    simd.store_masked(hidden.as_mut_ptr().add(at), h, mask);
                }
                unit += S::LANES;
            }
        }
    }
}

/// Some rows of one step: gates become gradients by their pre-activations, `dc` that of the step
/// below.
struct Backward<'a> {
    units: usize,
    before: Option<&'a [f32]>,
    cell: &'a [f32],
    dh: &'a [f32],
    gates: &'a mut [f32],
    dc: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { units, before, cell, dh, gates, dc } = self;
        let rows = cell.len() / units;
        assert!(gates.len() == 4 * rows * units && dh.len() == rows * units);
        assert!(dc.len() == rows * units);
        assert!(before.is_none_or(|before| before.len() == rows * units));
        for row in 0..rows {
            let mut unit = 0;
            while unit < units {
                let mask = simd.mask_first(units - unit);
                let at = row * units + unit;
                // SAFETY: the mask chooses lanes below the row's end; lengths as checked above.
                unsafe {
                    let gate = gates.as_mut_ptr().add(4 * row * units + unit);
                    let i = simd.load_masked(gate, mask);
                    let f = simd.load_masked(gate.add(units), mask);
                    let g = simd.load_masked(gate.add(2 * units), mask);
                    let o = simd.load_masked(gate.add(3 * units), mask);
                    let dh = simd.load_masked(dh.as_ptr().add(at), mask);
                    let squashed = math::tanh(simd, simd.load_masked(cell.as_ptr().add(at), mask));
                    let dsquashed = Activation::Tanh.chain(simd, squashed, simd.mul(dh, o));
                    let carried = dc.as_mut_ptr().add(at);
                    let dc = simd.add(simd.load_masked(carried, mask), dsquashed);
                    let c = match before {
                        Some(before) => simd.load_masked(before.as_ptr().add(at), mask),
                        None => simd.splat(0.0),
                    };
                    let di = Activation::Sigmoid.chain(simd, i, simd.mul(dc, g));
                    let df = Activation::Sigmoid.chain(simd, f, simd.mul(dc, c));
                    let dg = Activation::Tanh.chain(simd, g, simd.mul(dc, i));
                    let d_o = Activation::Sigmoid.chain(simd, o, simd.mul(dh, squashed));
                    simd.store_masked(carried, simd.flush(simd.mul(dc, f)), mask);
                    simd.store_masked(gate, simd.flush(di), mask);
                    simd.store_masked(gate.add(units), simd.flush(df), mask);
                    simd.store_masked(gate.add(2 * units), simd.flush(dg), mask);
                    simd.store_masked(gate.add(3 * units), simd.flush(d_o), mask);
                }
                unit += S::LANES;
            }
        }
    }
}
