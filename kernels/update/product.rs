//! The gradient of a dense layer's weights and the optimizer step that uses it, as one phase: rows of
//! weights are moved while their gradients are still in the cache of the core that summed them. Each core
//! has the same rows in every step, so neither weights nor what the rule remembers of them ever change
//! cores. (Apart, the sweep over 784 x 128 weights took a tenth of the step, and a third where the
//! gradients had to come from the other core.)

use super::{Moving, Rule};
use crate::gemm::{Epilogue, Subnormals, Write, gemm, product_in_task, rows_of_task};
use crate::simd::flush;
use crate::sweep::Executor;
use crate::team::{Parts, Team};
use crate::{Mat, MatMut, Precision};

/// Most weights of a task: with gradient and two memories 256 KB.
const TASK: usize = 16_384;

/// Shares of the inputs in which threads gather a batch and move weights. A forward product cuts 784
/// inputs into as many blocks of K, so a core has the same inputs there.
pub(crate) const INPUT_SHARES: usize = 4;

/// Weights from which on tasks are shares: a product of a batch of 32 then takes 5 us.
const SHARED: usize = 8_192;

/// The largest batch whose gradient one task sums; larger ones would be summed in slices.
const MOST_ROWS: usize = 4_096;

/// One step with the gradients `x^T dz`. `x` is `[n, inputs]`, `dz` `[n, units]`, the parameters are
/// `[inputs, units]`. `room` has space for as many gradients; its content does not matter afterwards.
///
/// # Panics
/// If the shapes do not fit, or Adam's step is 0; nothing is moved then.
#[track_caller]
pub fn step_by_product(team: &Team, x: Mat, dz: &[f32], room: &mut [f32], moving: Moving) {
    let (n, inputs) = (x.rows(), x.cols());
    let units = dz.len() / n.max(1);
    let len = inputs * units;
    assert_eq!(dz.len(), n * units, "as many gradients as samples");
    assert_eq!(room.len(), len, "room for {inputs} x {units} gradients");
    assert_eq!(moving.params.len(), len, "parameters are not {inputs} x {units}");
    moving.check(len);
    // In another precision the operands are packed for the whole product.
    let is_f32 = team.arithmetic().precision.of_product(inputs, units, n) == Precision::F32;
    if n > MOST_ROWS || !is_f32 {
        let dw = MatMut::new(room, inputs, units);
        gemm(team, 1.0, x.t(), Mat::new(dz, n, units), Write::Set, dw, Epilogue::None);
        return moving.step(team, room);
    }
    let step = match moving.rule {
        // This step is itself a product, with scaled gradients.
        Rule::Sgd(sgd) if sgd.momentum == 0.0 && n <= inputs && moving.decay.is_none() => {
            let scaled = &mut room[..n * units];
            scaled.iter_mut().zip(dz).for_each(|(s, d)| *s = flush(-sgd.learning_rate * d));
            Step::Product { scaled }
        }
        _ => Step::Sweep { room: Parts::new(room) },
    };
    let tasks = match len {
        0..SHARED => 1,
        _ => INPUT_SHARES * len.div_ceil(INPUT_SHARES * TASK),
    };
    let Moving { rule, decay, params, memory } = moving;
    let (isa, blocking, params) = (team.isa(), *team.blocking(), Parts::new(params));
    let memory = memory.map(|memory| (memory.len(), Parts::new(memory)));
    team.run(tasks, |task, scratch| {
        let rows = rows_of_task(isa, inputs, task, tasks);
        let range = rows.start * units..rows.end * units;
        let x = x.block(0..n, rows.clone()).t();
        // SAFETY: tasks have disjoint rows.
        let params = unsafe { params.part(range.clone()) };
        match &step {
            Step::Product { scaled } => {
                let (dz, w) = (Mat::new(scaled, n, units), MatMut::new(params, rows.len(), units));
                let (write, subnormals) = (Write::Add { beta: 1.0 }, Subnormals::AreZero);
                product_in_task(isa, &blocking, x, dz, write, w, subnormals, scratch);
            }
            Step::Sweep { room } => {
                // SAFETY: as above.
                let grads = unsafe { room.part(range.clone()) };
                let memory = memory.each_ref().map(|(len, memory)| match len {
                    0 => &mut [][..],
                    // SAFETY: as above.
                    _ => unsafe { memory.part(range.clone()) },
                });
                let dw = MatMut::new(&mut *grads, rows.len(), units);
                let dz = Mat::new(dz, n, units);
                // Rules with a mean square take subnormal gradients for zero.
                let subnormals = match rule {
                    Rule::Sgd(_) => Subnormals::AreZero,
                    Rule::RmsProp(_) | Rule::Adam(_) => Subnormals::Stay,
                };
                product_in_task(isa, &blocking, x, dz, Write::Set, dw, subnormals, scratch);
                let decay = decay.part(range.start, range.len());
                Moving { rule, decay, params, memory }.step_by(Executor::Task(isa), grads);
            }
        }
    });
}

/// How a task moves its weights.
enum Step<'a> {
    /// Adds the product with gradients that are scaled already.
    Product { scaled: &'a [f32] },
    /// Sweeps over them and their gradients.
    Sweep { room: Parts<'a, f32> },
}
