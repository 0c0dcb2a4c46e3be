//! Pooling against its twin, and the twin against windows worked by hand.

use crate::common::{assert_close, noise, run_everywhere, untouched};
use threadcount_kernels::{Geometry, Padding, naive, pool};

/// Windows of every kind: the 2x2 of the networks, odd sizes that leave a rim, overlapping and
/// padded windows, gaps between windows; channels around every vector width.
fn geometries() -> Vec<Geometry> {
    let mut all = Vec::new();
    for channels in [1, 3, 7, 8, 16, 17, 32, 33, 64] {
        for (input, kernel, stride, padding) in [
            ([26, 26], [2, 2], 2, Padding::Valid),
            ([11, 11], [2, 2], 2, Padding::Valid),
            ([5, 7], [2, 2], 2, Padding::Same),
            ([6, 5], [3, 3], 2, Padding::Same),
            ([5, 5], [2, 2], 1, Padding::Same),
            ([7, 7], [3, 2], 1, Padding::Valid),
            ([9, 8], [2, 1], 3, Padding::Valid),
            ([4, 4], [5, 5], 1, Padding::Same),
            ([3, 4], [3, 4], 1, Padding::Valid),
            ([1, 1], [1, 1], 1, Padding::Valid),
        ] {
            let [h, w] = input;
            all.push(Geometry::new([h, w, channels], kernel, stride, padding).unwrap());
        }
    }
    all
}

/// Few values, so that there are ties.
fn images(g: &Geometry, n: usize) -> Vec<f32> {
    noise(1, n * g.in_len()).iter().map(|x| (x * 4.0).round() / 4.0 - 2.0).collect()
}

#[test]
fn max_is_exact() {
    for g in geometries() {
        for n in [0, 1, 3, 13] {
            let x = images(&g, n);
            let out = n * g.out_pixels() * g.channels();
            let (mut y, mut winners) = (untouched(out), vec![255; out]);
            naive::pool::max_forward(&g, &x, &mut y, &mut winners);
            let dy = noise(2, out);
            let mut dx = untouched(x.len());
            naive::pool::max_backward(&g, &winners, &dy, &mut dx);
            let results = run_everywhere(|team| {
                let (mut y, mut argmax) = (untouched(out), vec![255; out]);
                pool::max_forward(team, &g, &x, &mut y, &mut argmax);
                assert_eq!(argmax, winners, "{} {g:?}", team.isa());
                let mut dx = untouched(x.len());
                pool::max_backward(team, &g, &argmax, &dy, &mut dx);
                vec![y, dx]
            });
            for (isa, outputs) in results {
                assert_close(&outputs[0], &y, 0.0, 0.0, &format!("{isa} {g:?}"));
                // Where windows overlap, terms are added in another order.
                assert_close(&outputs[1], &dx, 1e-6, 1e-6, &format!("{isa} {g:?}"));
            }
        }
    }
}

#[test]
fn average() {
    // Whole images too, of more places than a byte could name.
    let whole = |channels| Geometry::new([19, 23, channels], [19, 23], 23, Padding::Valid).unwrap();
    for g in geometries().into_iter().chain([1, 17, 33].map(whole)) {
        for n in [0, 1, 3, 13] {
            let x = noise(1, n * g.in_len());
            let out = n * g.out_pixels() * g.channels();
            let (mut y, mut dx) = (untouched(out), untouched(x.len()));
            naive::pool::average_forward(&g, &x, &mut y);
            let dy = noise(2, out);
            naive::pool::average_backward(&g, &dy, &mut dx);
            let results = run_everywhere(|team| {
                let mut outputs = vec![untouched(out), untouched(x.len())];
                pool::average_forward(team, &g, &x, &mut outputs[0]);
                pool::average_backward(team, &g, &dy, &mut outputs[1]);
                outputs
            });
            for (isa, outputs) in results {
                assert_close(&outputs[0], &y, 1e-6, 1e-6, &format!("{isa} {g:?}"));
                assert_close(&outputs[1], &dx, 1e-6, 1e-6, &format!("{isa} {g:?}"));
            }
        }
    }
}

#[test]
fn twins_by_hand() {
    // 3x3 with "same" padding at stride 2: one row and column of padding behind.
    let g = Geometry::new([3, 3, 1], [2, 2], 2, Padding::Same).unwrap();
    let x = [-1.0, -2.0, -3.0, -1.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    let (mut y, mut argmax) = (untouched(4), vec![255; 4]);
    naive::pool::max_forward(&g, &x, &mut y, &mut argmax);
    assert_eq!((&y[..], &argmax[..]), (&[-1.0, -3.0, -7.0, -9.0][..], &[0, 0, 0, 0][..]));
    naive::pool::average_forward(&g, &x, &mut y);
    assert_eq!(y, [-2.25, -4.5, -7.5, -9.0]);
    let mut dx = untouched(9);
    naive::pool::average_backward(&g, &[4.0, 2.0, 6.0, 1.0], &mut dx);
    assert_eq!(dx, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 1.0]);

    // Overlapping windows share a winner.
    let g = Geometry::new([1, 3, 1], [1, 2], 1, Padding::Valid).unwrap();
    let (mut y, mut argmax, mut dx) = (untouched(2), vec![255; 2], untouched(3));
    naive::pool::max_forward(&g, &[1.0, 5.0, 2.0], &mut y, &mut argmax);
    assert_eq!((&y[..], &argmax[..]), (&[5.0, 5.0][..], &[1, 0][..]));
    naive::pool::max_backward(&g, &argmax, &[10.0, 1.0], &mut dx);
    assert_eq!(dx, [0.0, 11.0, 0.0]);
}
