//! What kernels refuse, before they have moved anything: sizes and labels that come from safe code and
//! would reach pointers, or leave half of a step behind.

use crate::common::{noise, on_every_isa, untouched};
use std::panic::{AssertUnwindSafe, catch_unwind};
use threadcount_kernels::conv::{self, Convolution};
use threadcount_kernels::gemm::{Epilogue, Write, gemm};
use threadcount_kernels::online_sgd::{BLOCK, TwoProducts, descend, scratch_len};
use threadcount_kernels::recurrent::{self, RnnTape, Shape, Weights};
use threadcount_kernels::update::{
    Adam, Decay, Moving, Nesterov, RmsProp, Rule, Sgd, step_by_product,
};
use threadcount_kernels::{Activation, Geometry, Isa, Mat, MatMut, Padding, Team, loss};

/// Asserts that `call` panics with a message that has `expected` in it.
#[track_caller]
fn assert_refused(expected: &str, call: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else {
        panic!("not refused: {expected}");
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let message = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    assert!(message.contains(expected), "refused with `{message}`, not with `{expected}`");
}

fn team() -> Team<'static> {
    Team::solo(Isa::best())
}

#[test]
fn a_bad_label_moves_no_weight() {
    let (n, inputs, hidden) = (3 * BLOCK, 5, 7);
    // A bad label in each block: no block may be computed before it is found.
    for bad in [0, BLOCK, n - 1] {
        on_every_isa(|team| {
            let mut labels = vec![1_u8; n];
            labels[bad] = 2;
            let x = noise(1, n * inputs);
            let w1 = noise(2, inputs * hidden);
            let (mut moved, mut b1, mut w2, mut b2) =
                (w1.clone(), vec![0.5; hidden], vec![0.25; hidden], 0.125);
            let (mut losses, mut logits) = (vec![7.0; n], vec![7.0; n]);
            assert_refused("label 2 is neither 0 nor 1", || {
                let params = TwoProducts {
                    w1: &mut moved,
                    b1: &mut b1,
                    w2: &mut w2,
                    b2: &mut b2,
                    activation: Activation::Tanh,
                };
                let x = Mat::new(&x, n, inputs);
                let mut scratch = vec![0.0; scratch_len(hidden)];
                let out = [&mut losses[..], &mut logits[..]];
                descend(team, params, 0.1, x, &labels, out, &mut scratch);
            });
            assert_eq!((moved, b2), (w1, 0.125));
            assert_eq!((b1, w2), (vec![0.5; hidden], vec![0.25; hidden]));
            assert_eq!((losses, logits), (vec![7.0; n], vec![7.0; n]));
        });
    }
}

#[test]
fn a_bad_label_writes_no_loss() {
    let (n, classes) = (200, 3);
    let logits = noise(1, n * classes);
    let mut labels = vec![1_u8; n];
    labels[n - 1] = 3;
    let (mut losses, mut dlogits) = (vec![7.0; n], vec![7.0; n * classes]);
    assert_refused("label 3 with 3 classes", || {
        loss::softmax_cross_entropy(
            &team(),
            &logits,
            classes,
            &labels,
            0.0,
            &mut losses,
            &mut dlogits,
        );
    });
    assert_refused("label 3 is neither 0 nor 1", || {
        let dlogits = &mut dlogits[..n];
        loss::binary_cross_entropy(&team(), &logits[..n], &labels, 0.0, &mut losses, dlogits);
    });
    assert_eq!((losses, dlogits), (vec![7.0; n], vec![7.0; n * classes]));
}

/// Every rule with what it remembers: each memory too short and too long, and a step number of 0.
#[test]
fn a_step_that_cannot_be_finished_moves_no_weight() {
    let sgd = Sgd { learning_rate: 0.1, momentum: 0.9, nesterov: Nesterov::No };
    let rms = RmsProp { learning_rate: 0.1, rho: 0.9, momentum: 0.9, epsilon: 1e-7 };
    let adam = Adam { learning_rate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, step: 1 };
    let rules = [
        (Rule::Sgd(sgd), 1),
        (Rule::RmsProp(RmsProp { momentum: 0.0, ..rms }), 1),
        (Rule::RmsProp(rms), 2),
        (Rule::Adam(adam), 2),
    ];
    // So many weights that `step_by_product` has several tasks.
    let (n, inputs, units) = (4, 150, 100);
    let len = inputs * units;
    let mut cases = vec![(Rule::Adam(Adam { step: 0, ..adam }), [len, len], "counts its steps")];
    for (rule, remembers) in rules {
        for which in 0..remembers {
            for wrong in [0, len - 1, len + 1] {
                let mut lens = [len; 2];
                lens[which] = wrong;
                cases.push((rule, lens, "a memory of each parameter"));
            }
        }
    }
    let (x, dz, grads) = (noise(1, n * inputs), noise(2, n * units), noise(3, len));
    for (rule, lens, expected) in cases {
        let mut params = vec![1.0; len];
        let mut memory = lens.map(|len| vec![2.0; len]);
        let mut room = untouched(len);
        for by_product in [false, true] {
            assert_refused(expected, || {
                let [first, second] = &mut memory;
                let decay = Decay { l2: 0.1, share: 0.1, len };
                let moving = Moving { rule, decay, params: &mut params, memory: [first, second] };
                if by_product {
                    let x = Mat::new(&x, n, inputs);
                    step_by_product(&team(), x, &dz, &mut room, moving);
                } else {
                    moving.step(&team(), &grads);
                }
            });
        }
        assert_eq!(params, vec![1.0; len]);
        assert_eq!(memory, lens.map(|len| vec![2.0; len]));
    }
}

/// Steps of the micro-kernel are 32 bits wide: a window that reaches further is refused, by every
/// kernel that has such steps. No image is needed for that.
#[test]
fn windows_beyond_32_bits_are_refused() {
    let geometry = |padding| Geometry::new([3, 1 << 31, 1], [3, 3], 1, padding).unwrap();
    // One line of outputs, which dropout could number.
    let g = &geometry(Padding::Valid);
    let (w, bias) = (vec![0.0; 9], vec![0.0; 1]);
    let activation = Activation::Linear;
    let job = Convolution { geometry: g, x: &[], w: &w, bias: &bias, activation };
    let expected = "a window reaches over";
    assert_refused(expected, || conv::forward(&team(), &job, &mut []));
    assert_refused(expected, || conv::forward_pooled(&team(), &job, None, &mut [], &mut []));
    // A transposed convolution.
    let g = &geometry(Padding::Same);
    assert_refused(expected, || conv::backward_data(&team(), g, &[], &w, &mut []));
}

/// The same where the steps are windows, of images that are 64 MiB each: 16 GiB that nobody touches.
#[test]
#[cfg(target_os = "linux")]
fn blocks_of_windows_beyond_32_bits_are_refused() {
    let g = &Geometry::new([4096, 4096, 1], [1, 1], 4096, Padding::Valid).unwrap();
    let x = vec![0.0; 1 << 32];
    let (dz, mut dw, mut db) = (vec![0.0; 256], vec![7.0], vec![7.0]);
    assert_refused("256 windows reach over", || {
        conv::backward_weights(&team(), g, &x, &dz, &mut dw, &mut db);
    });
    assert_eq!((dw, db), (vec![7.0], vec![7.0]));
}

/// Strides of zero make an endless matrix of one float, and sizes of buffers that wrap around.
#[test]
fn endless_products_are_refused() {
    let (one, k) = ([1.0], 1 << 62);
    for (m, n) in [(1, 1), (1 << 13, 2), (4, 4)] {
        let mut c = vec![7.0; m * n];
        assert_refused("multiply-adds are too many", || {
            let (a, b) = (Mat::strided(&one, m, k, 0, 0), Mat::strided(&one, k, n, 0, 0));
            gemm(&team(), 1.0, a, b, Write::Set, MatMut::new(&mut c, m, n), Epilogue::None);
        });
        assert_eq!(c, vec![7.0; m * n]);
    }
}

/// Sizes of gates that wrap around to what empty slices have.
#[test]
fn endless_recurrent_layers_are_refused() {
    for (steps, inputs, units) in
        [(1, 1, 1 << 62), (1 << 62, 1, 4), (1, 1 << 62, 4), (2, 2, 1 << 61)]
    {
        let shape = Shape { steps, inputs, units };
        let weights = Weights { wx: &[], wh: &[], b: &[] };
        assert_refused("a recurrent layer beyond any memory", || {
            let mut tape = RnnTape { x: &mut [], hidden: &mut [] };
            recurrent::rnn_forward(&team(), &shape, &[], &weights, &mut tape);
        });
    }
}
