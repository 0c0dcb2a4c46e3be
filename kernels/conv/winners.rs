//! The backward pass of [`super::forward_pooled`]: only the winner of each window of the pool has a
//! gradient, so activation and dropout are differentiated there alone.
//!
//! In general the gradients are expanded to the map at full resolution, for the backward passes of the
//! convolution. With one channel and a 3 x 3 kernel there is no map: the gradient of a tap's weight is
//! the sum, over all winners, of the winner's gradient times the pixel under the tap. That pixel is one
//! of four, and the winner's place tells which one.

use super::images::Framed;
use super::one_channel::{OnFilters, is_one_channel, on_filters};
use crate::simd::{Kernel, Simd};
use crate::sums::AddTo;
use crate::team::{Parts, Scratch};
use crate::{Activation, Geometry, Team};
use std::ops::Range;

/// The gradient of a pooled output, and what tells where it goes.
#[derive(Clone, Copy)]
pub struct Winners<'a> {
    /// The gradient of the loss by `y`.
    pub dy: &'a [f32],
    /// What [`super::forward_pooled`] gave: `[n, out_h / 2, out_w / 2, filters]`.
    pub y: &'a [f32],
    /// The winners' places, from [`super::forward_pooled`] too, in the shape of `y`.
    pub argmax: &'a [u8],
    /// The activation of the convolution.
    pub activation: Activation,
    /// The rate of the dropout; 0 without dropout.
    pub dropout_rate: f32,
}

impl<'a> Winners<'a> {
    #[track_caller]
    fn check(&self, pooled_len: usize) {
        let rate = self.dropout_rate;
        assert!((0.0..1.0).contains(&rate), "a dropout rate of {rate} is not in 0..1");
        assert_eq!(self.y.len(), pooled_len, "pooled y");
        assert_eq!(self.dy.len(), pooled_len, "dy and y differ in length");
        assert_eq!(self.argmax.len(), pooled_len, "argmax and y differ in length");
    }

    fn part(&self, range: Range<usize>) -> Self {
        let (dy, y) = (&self.dy[range.clone()], &self.y[range.clone()]);
        Self { dy, y, argmax: &self.argmax[range], ..*self }
    }

    /// The gradients by the convolution's output before the activation, of up to a vector of
    /// winners, and their places.
    ///
    /// # Safety
    /// There are `min(left, LANES)` winners from `at` on.
    #[inline(always)]
    unsafe fn gradient<S: Simd>(&self, simd: S, at: usize, left: usize) -> (S::V, S::V) {
        let (zero, four, mask) = (simd.splat(0.0), simd.splat(4.0), simd.mask_first(left));
        // SAFETY: by this function's contract. (Always masked: with a branch here, the compiler puts the
        // sums of `FiltersOfWinners` on the stack.)
        let (dy, y, place) = unsafe {
            (
                simd.load_masked(self.dy.as_ptr().add(at), mask),
                simd.load_masked(self.y.as_ptr().add(at), mask),
                simd.load_u8(self.argmax.as_ptr().add(at), left),
            )
        };
        let is_dead = simd.ge(place, four);
        let place = simd.select(is_dead, simd.sub(place, four), place);
        let keep = 1.0 - self.dropout_rate;
        let dy = simd.select(is_dead, zero, simd.mul(dy, simd.splat(1.0 / keep)));
        let dz = self.activation.chain(simd, simd.mul(y, simd.splat(keep)), dy);
        (simd.flush(dz), place)
    }
}

/// The gradient of the loss by the convolution's output before the activation, at full resolution:
/// `dz` is `[n, out_h, out_w, filters]` and is overwritten, with zeros where nobody won.
///
/// # Panics
/// If the lengths do not fit together, or the dropout's rate is not in `0..1`.
#[track_caller]
pub fn expand_winners(
    team: &Team,
    geometry: &Geometry,
    filters: usize,
    winners: &Winners,
    dz: &mut [f32],
) {
    let (g, map_len) = (geometry, geometry.out_pixels() * filters);
    let batch = dz.len().checked_div(map_len).unwrap_or(0);
    assert_eq!(dz.len(), batch * map_len, "dz is not whole images of {map_len} elements");
    let pooled_len = (g.out_h / 2) * (g.out_w / 2) * filters;
    winners.check(batch * pooled_len);
    let (isa, dz) = (team.isa(), Parts::new(dz));
    // 64 KB of the map, as in pooling.
    team.run_chunks(batch, (16_384 / map_len.max(1)).max(1), |images, _| {
        // SAFETY: each image is one task's.
        let dz = unsafe { dz.part(images.start * map_len..images.end * map_len) };
        let winners = winners.part(images.start * pooled_len..images.end * pooled_len);
        isa.run(Expand { g, filters, winners, dz });
    });
}

/// Some images.
struct Expand<'a> {
    g: &'a Geometry,
    filters: usize,
    winners: Winners<'a>,
    dz: &'a mut [f32],
}

impl Kernel for Expand<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, filters, winners, dz } = self;
        let (lines, pools, line_len) = (g.out_h / 2, g.out_w / 2, g.out_w * filters);
        let mut at = 0;
        for image in dz.chunks_exact_mut(g.out_h * line_len) {
            let (pooled, last_line) = image.split_at_mut(2 * lines * line_len);
            last_line.fill(0.0);
            for pair in pooled.chunks_exact_mut(2 * line_len) {
                for pool in 0..pools {
                    let corner = 2 * pool * filters;
                    let corners =
                        [0, filters, line_len, line_len + filters].map(|offset| offset + corner);
                    expand(simd, filters, &winners, at, corners, pair);
                    at += filters;
                }
                for line in pair.chunks_exact_mut(line_len) {
                    line[2 * pools * filters..].fill(0.0);
                }
            }
        }
    }
}

/// All filters of one pooled pixel, to its four places in two lines of the map.
#[inline(always)]
fn expand<S: Simd>(
    simd: S,
    filters: usize,
    winners: &Winners,
    at: usize,
    corners: [usize; 4],
    map: &mut [f32],
) {
    assert!(at + filters <= winners.y.len() && corners[3] + filters <= map.len());
    let zero = simd.splat(0.0);
    for first in (0..filters).step_by(S::LANES) {
        let left = filters - first;
        // SAFETY: filters from `first` on of a pixel and of corners that are inside.
        unsafe {
            let (mut rest, place) = winners.gradient(simd, at + first, left);
            for i in 0..4 {
                // What is left of the gradient after the earlier places: lanes whose winner comes later
                // keep it, the others store it here.
                let later = simd.gt(place, simd.splat(i as f32));
                let here = simd.select(later, zero, rest);
                rest = simd.select(later, rest, zero);
                simd.store_first(map.as_mut_ptr().add(corners[i] + first), here, left);
            }
        }
    }
}

/// The gradients of the loss by the weights and the bias, straight from the winners, for
/// convolutions of one channel, 3 x 3 and stride 1. `dw` and `db` are overwritten.
///
/// # Panics
/// If the convolution is another, the lengths do not fit together, or the dropout's rate is not in
/// `0..1`.
#[track_caller]
pub fn backward_weights_pooled(
    team: &Team,
    geometry: &Geometry,
    x: &[f32],
    winners: &Winners,
    dw: &mut [f32],
    db: &mut [f32],
) {
    let (g, filters) = (geometry, db.len());
    assert!(is_one_channel(g), "only for one channel, 3 x 3, stride 1, not {g:?}");
    let batch = x.len() / g.in_len();
    super::check(g, x.len(), dw.len(), filters, batch * g.out_pixels() * filters);
    winners.check(batch * (g.out_h / 2) * (g.out_w / 2) * filters);
    // Sums of a task are added up in the order of tasks.
    let sums_len = 10 * filters;
    let tasks = batch.div_ceil(IMAGES_AT_ONCE).max(1);
    let mut buffer = team.phase_scratch();
    let sums = buffer.floats(tasks * sums_len);
    sums[..sums_len].fill(0.0);
    let (isa, parts) = (team.isa(), Parts::new(sums));
    team.run_chunks(batch, IMAGES_AT_ONCE, |images, scratch| {
        let task = images.start / IMAGES_AT_ONCE;
        // SAFETY: each task has sums of its own.
        let sums = unsafe { parts.part(task * sums_len..(task + 1) * sums_len) };
        sums.fill(0.0);
        isa.run(ImagesOfWinners { g, x, winners, images, sums, scratch });
    });
    let (total, others) = sums.split_at_mut(sums_len);
    for sums in others.chunks_exact(sums_len.max(1)) {
        isa.run(AddTo { total: &mut *total, addend: sums });
    }
    dw.copy_from_slice(&total[..9 * filters]);
    db.copy_from_slice(&total[9 * filters..]);
}

/// Images of one task: 16 tasks for a batch of 64, whose sums are added up by one thread.
const IMAGES_AT_ONCE: usize = 4;

/// Some images of one channel.
struct ImagesOfWinners<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    winners: &'a Winners<'a>,
    images: Range<usize>,
    /// Nine taps and the bias, each a row of filters; added to.
    sums: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for ImagesOfWinners<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { g, x, winners, images, sums, scratch } = self;
        let filters = sums.len() / 10;
        let framed = Framed::input(g);
        let (height, width) = (framed.frame.height, framed.frame.width);
        let table_len = 4 * height * width;
        let (table, copy) =
            scratch.floats(table_len + framed.copies_len(1)).split_at_mut(table_len);
        let pooled_len = (g.out_h / 2) * (g.out_w / 2) * filters;
        for image in images {
            let image_in_frame = framed.framed(&x[image * g.in_len()..][..g.in_len()], copy);
            fill_table(image_in_frame, width, table);
            let winners = &winners.part(image * pooled_len..(image + 1) * pooled_len);
            let pools = g.out_w / 2;
            let mut job = FiltersOfWinners { winners, table, width, pools, sums, filters };
            on_filters(simd, filters, &mut job);
        }
    }
}

/// For each pixel of an image the four pixels of the 2 x 2 square that begins there: what a tap
/// is multiplied with in the four places of a window of the pool. Four times the image, 14 KB for 30 x 30.
#[inline(always)]
fn fill_table(image: &[f32], width: usize, table: &mut [f32]) {
    let squares = image.len() - width - 1;
    for i in 0..squares {
        table[4 * i] = image[i];
        table[4 * i + 1] = image[i + 1];
        table[4 * i + 2] = image[i + width];
        table[4 * i + 3] = image[i + width + 1];
    }
}

/// The winners of one image. With two vectors of filters, ten sums for each, the gradients and places of
/// each, and a vector of pixels take 25 registers; with one vector of filters, 13.
struct FiltersOfWinners<'a> {
    winners: &'a Winners<'a>,
    table: &'a [f32],
    width: usize,
    pools: usize,
    sums: &'a mut [f32],
    filters: usize,
}

impl OnFilters for FiltersOfWinners<'_> {
    #[inline(always)]
    fn run<S: Simd, const NV: usize>(&mut self, simd: S, first: usize) {
        let &mut Self { winners, table, width, pools, ref mut sums, filters } = self;
        let left = filters - first;
        let zero = simd.splat(0.0);
        let mut taps = [[zero; NV]; 9];
        let mut bias = [zero; NV];
        let count = winners.y.len() / filters;
        let lines = count.checked_div(pools).unwrap_or(0);
        assert!(lines == 0 || 4 * ((2 * lines + 1) * width + 2 * pools + 1) <= table.len());
        for pixel in 0..count {
            let (line, pool) = (pixel / pools, pixel % pools);
            let (mut gradients, mut places) = ([zero; NV], [zero; NV]);
            for v in 0..NV {
                let v_first = v * S::LANES;
                // SAFETY: pixel < count, and the vector ends at the last filter or is masked there.
                (gradients[v], places[v]) = unsafe {
                    winners.gradient(simd, pixel * filters + first + v_first, left - v_first)
                };
                bias[v] = simd.add(bias[v], gradients[v]);
            }
            let square = table.as_ptr().wrapping_add(4 * (2 * line * width + 2 * pool));
            for tap in 0..9 {
                for v in 0..NV {
                    // SAFETY: the table has the squares under this pool, as asserted; places are
                    // those of a window.
                    let x = unsafe {
                        simd.pick4(square.add(4 * (tap / 3 * width + tap % 3)), places[v])
                    };
                    taps[tap][v] = simd.mul_add(gradients[v], x, taps[tap][v]);
                }
            }
        }
        for v in 0..NV {
            let mask = simd.mask_first(left - v * S::LANES);
            for tap in 0..10 {
                let sum = if tap < 9 { taps[tap][v] } else { bias[v] };
                let p = sums[tap * filters + first + v * S::LANES..].as_mut_ptr();
                // SAFETY: masked where filters end.
                unsafe {
                    let total = simd.add(simd.load_masked(p, mask), sum);
                    simd.store_masked(p, simd.flush(total), mask);
                }
            }
        }
    }
}
