//! Images moved on their way into a batch: against the twin on every instruction set, and by hand.

use crate::common::{bits, noise, run_everywhere, untouched};
use threadcount_kernels::augment::{self, ImageShape, Motion, Rectangle, Warp};
use threadcount_kernels::gather::{self, Batch, Cut, Element};
use threadcount_kernels::{Isa, Team, naive};

/// Images of these tests.
const IMAGES: usize = 19;

/// Sizes beside a vector, a chunk of columns and a task's images; one channel, three, and others.
const SHAPES: [ImageShape; 16] = [
    [1, 1, 1],
    [1, 1, 3],
    [1, 2, 1],
    [2, 1, 1],
    [3, 3, 1],
    [5, 7, 1],
    [7, 5, 3],
    [4, 16, 1],
    [3, 17, 1],
    [17, 3, 3],
    [2, 32, 1],
    [2, 33, 3],
    [3, 65, 1],
    [28, 28, 1],
    [9, 11, 2],
    [6, 5, 4],
];

/// Motions and rectangles of every kind, a function of the image's number.
fn warps(number: usize, [height, width, _]: ImageShape) -> Warp {
    let draw = noise(number as u64 + 1, 16);
    let (h, w) = (height as f32, width as f32);
    let whole = |x: f32, most: f32| (x * (most + 2.0)) as isize;
    let motion = match number % 6 {
        0 => Motion::NONE,
        1 | 2 => Motion::Shift {
            right: whole(draw[0], w),
            down: whole(draw[1], h),
            mirrored: number.is_multiple_of(2),
        },
        // Half of the size to twice as large, turned, with a corner inside or far outside.
        3 | 4 => Motion::Affine {
            x_from: [1.3 * draw[0], 1.3 * draw[1], w * (draw[2] + 0.3)],
            y_from: [1.3 * draw[3], 1.3 * draw[4], h * (draw[5] + 0.3)],
        },
        // The exact places of pixels.
        _ => Motion::Affine { x_from: [1.0, 0.0, -1.0], y_from: [0.0, 1.0, 1.0] },
    };
    let part = |x: f32, of: f32| (x.abs() * (of + 1.0)) as usize;
    let erased = match number % 5 {
        0 | 1 => Rectangle::EMPTY,
        4 => Rectangle { left: 0, top: 0, width: usize::MAX, height: usize::MAX },
        _ => Rectangle {
            left: part(draw[8], w),
            top: part(draw[9], h),
            width: part(draw[10], w),
            height: part(draw[11], h),
        },
    };
    Warp { motion, erased }
}

/// `all` are [`IMAGES`] images.
fn same_as_the_twin<T: Element + Into<f32>>(shape: ImageShape, all: &[T]) {
    let len = shape.iter().product();
    let (factors, offsets) = (noise(1, len), noise(2, len));
    for images in [0, 1, 9, 30] {
        for first in [0, 3] {
            let image = |i: usize| &all[i * i % IMAGES * len..][..len];
            // Images of the next batch, fewer than there are here.
            let ahead = |i: usize| if i < images + images / 2 { image(i) } else { &[] };
            let warp = |i: usize| warps(first + i, shape);
            let mut expected = untouched(images * len);
            naive::augment::scaled(shape, image, warp, &factors, &offsets, &mut expected);
            let results = run_everywhere(|team| {
                [Cut::Rows, Cut::Columns]
                    .map(|cut| {
                        let mut out = untouched(images * len);
                        let batch = Batch { factors: &factors, offsets: &offsets, cut };
                        augment::scaled(team, shape, ahead, warp, batch, &mut out);
                        out
                    })
                    .to_vec()
            });
            for (isa, outs) in results {
                for out in outs {
                    assert!(bits(&out) == bits(&expected), "{isa}: {images} of {shape:?}");
                }
            }
        }
    }
}

#[test]
fn bytes_and_floats_of_every_shape() {
    for shape in SHAPES {
        let len: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..IMAGES * len).map(|i| (i * 7919 % 256) as u8).collect();
        same_as_the_twin(shape, &bytes);
        same_as_the_twin(shape, &noise(3, IMAGES * len));
    }
}

/// What one image becomes, unscaled, on every instruction set and by the twin.
fn warped<T: Element + Into<f32>>(shape: ImageShape, image: &[T], warp: Warp) -> Vec<f32> {
    let len = image.len();
    let (factors, offsets) = (vec![1.0; len], vec![0.0; len]);
    let mut expected = untouched(len);
    naive::augment::scaled(shape, |_| image, |_| warp, &factors, &offsets, &mut expected);
    for isa in Isa::detected() {
        let mut out = untouched(len);
        let batch = Batch { factors: &factors, offsets: &offsets, cut: Cut::Rows };
        let of = |i| if i == 0 { image } else { &[] };
        augment::scaled(&Team::solo(isa), shape, of, |_| warp, batch, &mut out);
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(out.iter().zip(&expected).all(same), "{isa}: {out:?}, not {expected:?}");
    }
    expected
}

fn moved(motion: Motion) -> Warp {
    Warp { motion, erased: Rectangle::EMPTY }
}

fn shifted(right: isize, down: isize, mirrored: bool) -> Warp {
    moved(Motion::Shift { right, down, mirrored })
}

/// 1 to 9.
const NINE: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

#[test]
fn shifts_and_mirrors_by_hand() {
    let nine = |warp| warped([3, 3, 1], &NINE, warp);
    assert_eq!(nine(Warp::NONE), [1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    assert_eq!(nine(shifted(1, 0, false)), [0., 1., 2., 0., 4., 5., 0., 7., 8.]);
    assert_eq!(nine(shifted(0, -1, false)), [4., 5., 6., 7., 8., 9., 0., 0., 0.]);
    assert_eq!(nine(shifted(-2, 1, false)), [0., 0., 0., 3., 0., 0., 6., 0., 0.]);
    assert_eq!(nine(shifted(0, 0, true)), [3., 2., 1., 6., 5., 4., 9., 8., 7.]);
    // Mirrored first, then shifted.
    assert_eq!(nine(shifted(1, 0, true)), [0., 3., 2., 0., 6., 5., 0., 9., 8.]);
    assert_eq!(nine(shifted(-1, 2, true)), [0., 0., 0., 0., 0., 0., 2., 1., 0.]);
    for far in [3, -3, isize::MAX, isize::MIN] {
        assert_eq!(nine(shifted(far, 0, false)), [0.; 9]);
        assert_eq!(nine(shifted(0, far, true)), [0.; 9]);
    }
    // The colours of a pixel stay together.
    let colours = [1, 2, 3, 4, 5, 6];
    let two = |warp| warped([1, 2, 3], &colours, warp);
    assert_eq!(two(shifted(0, 0, true)), [4., 5., 6., 1., 2., 3.]);
    assert_eq!(two(shifted(1, 0, false)), [0., 0., 0., 1., 2., 3.]);
}

#[test]
fn affine_maps_by_hand() {
    let nine = |x_from, y_from| warped([3, 3, 1], &NINE, moved(Motion::Affine { x_from, y_from }));
    let stays = ([1., 0., 0.], [0., 1., 0.]);
    assert_eq!(nine(stays.0, stays.1), [1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    // A quarter turn: the left column comes from the bottom row.
    assert_eq!(nine([0., 1., 0.], [-1., 0., 2.]), [7., 4., 1., 8., 5., 2., 9., 6., 3.]);
    // A mirror.
    assert_eq!(nine([-1., 0., 2.], [0., 1., 0.]), [3., 2., 1., 6., 5., 4., 9., 8., 7.]);
    // Twice as large about the centre: pixels come from 0.5, 1, 1.5.
    assert_eq!(nine([0.5, 0., 0.5], [0., 0.5, 0.5]), [3., 3.5, 4., 4.5, 5., 5.5, 6., 6.5, 7.]);
    // Half as large: from -1, 1, 3.
    assert_eq!(nine([2., 0., -1.], [0., 2., -1.]), [0., 0., 0., 0., 5., 0., 0., 0., 0.]);
    // A quarter of a pixel to the left, from beyond the right edge black is mixed in; half down.
    assert_eq!(
        nine([1., 0., 0.25], [0., 1., 0.]),
        [1.25, 2.25, 2.25, 4.25, 5.25, 4.5, 7.25, 8.25, 6.75]
    );
    assert_eq!(nine([1., 0., 0.], [0., 1., -0.5]), [0.5, 1., 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]);
    // Far outside, and nowhere.
    for far in [1e9, -1e9, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        assert_eq!(nine([1., 0., far], stays.1), [0.; 9]);
        assert_eq!(nine(stays.0, [0., 1., far]), [0.; 9]);
    }
}

/// What is not finite stays where it is: black stays black beside it.
#[test]
fn numbers_that_are_not_finite_do_not_reach_outside() {
    let image = [f32::INFINITY, f32::NAN, f32::NEG_INFINITY, f32::NAN];
    for by in [2.0, -3.0, 100.0] {
        let motion = Motion::Affine { x_from: [1., 0., by], y_from: [0., 1., 0.] };
        assert_eq!(warped([2, 2, 1], &image, moved(motion)), [0.; 4]);
    }
    let stays = moved(Motion::NONE);
    assert_eq!(bits(&warped([2, 2, 1], &image, stays)), bits(&image));
}

#[test]
fn rectangles_by_hand() {
    let erased = |left, top, width, height| {
        let erased = Rectangle { left, top, width, height };
        warped([3, 3, 1], &NINE, Warp { erased, ..Warp::NONE })
    };
    assert_eq!(erased(1, 0, 1, 2), [1., 0., 3., 4., 0., 6., 7., 8., 9.]);
    assert_eq!(erased(0, 2, 2, 1), [1., 2., 3., 4., 5., 6., 0., 0., 9.]);
    assert_eq!(erased(2, 1, 9, 9), [1., 2., 3., 4., 5., 0., 7., 8., 0.]);
    assert_eq!(erased(0, 0, 0, 3), erased(3, 3, 1, 1));
    let erased = Rectangle { left: 0, top: 0, width: 1, height: 1 };
    // After the motion: of the pixels where they are then.
    let warp = Warp { erased, ..shifted(0, 0, true) };
    assert_eq!(warped([1, 2, 3], &[1_u8, 2, 3, 4, 5, 6], warp), [0., 0., 0., 1., 2., 3.]);
    // Before the scaling: an erased pixel is the offset.
    let mut out = [f32::NAN; 2];
    let batch = Batch { factors: &[2.0, 2.0], offsets: &[-0.5, -0.25], cut: Cut::Rows };
    let warp = Warp { erased, ..Warp::NONE };
    let image = |i| if i == 0 { &[3_u8, 4][..] } else { &[] };
    augment::scaled(&Team::solo(Isa::best()), [1, 2, 1], image, |_| warp, batch, &mut out);
    assert_eq!(out, [-0.5, 7.75]);
}

/// Without a warp, and by the map that changes nothing, the bits are those of the plain gather.
#[test]
fn images_that_stay_have_the_bits_of_the_gather() {
    for shape in SHAPES {
        let len: usize = shape.iter().product();
        let images: Vec<u8> = (0..9 * len).map(|i| (i * 31 % 256) as u8).collect();
        let (factors, offsets) = (noise(1, len), noise(2, len));
        let batch = Batch { factors: &factors, offsets: &offsets, cut: Cut::Rows };
        let image = |i: usize| images.get(i * len..(i + 1) * len).unwrap_or(&[]);
        let stays = Motion::Affine { x_from: [1., 0., 0.], y_from: [0., 1., 0.] };
        for isa in Isa::detected() {
            let team = Team::solo(isa);
            let mut expected = untouched(9 * len);
            gather::scaled(&team, image, batch, &mut expected);
            for warp in [Warp::NONE, moved(stays)] {
                let mut out = untouched(9 * len);
                augment::scaled(&team, shape, image, |_| warp, batch, &mut out);
                assert_eq!(bits(&out), bits(&expected), "{isa}: {shape:?} by {warp:?}");
            }
        }
    }
}

fn refused(shape: ImageShape, image: &[u8], elements: usize, out: usize) {
    let (ones, team) = (vec![1.0; elements], Team::solo(Isa::best()));
    let batch = Batch { factors: &ones, offsets: &ones, cut: Cut::Rows };
    augment::scaled(&team, shape, |_| image, |_| Warp::NONE, batch, &mut vec![0.0; out]);
}

#[test]
#[should_panic(expected = "image 0 has another length")]
fn images_of_another_length_are_refused() {
    refused([2, 2, 1], &[0; 3], 4, 8);
}

#[test]
#[should_panic(expected = "4 factors for images of 2x2x3")]
fn factors_of_another_shape_are_refused() {
    refused([2, 2, 3], &[0; 12], 4, 8);
}

#[test]
#[should_panic(expected = "out is no batch of images of 4 elements")]
fn parts_of_images_are_refused() {
    refused([2, 2, 1], &[0; 4], 4, 7);
}
