//! Convolution, bias, activation, dropout and a 2 x 2 max-pool in one pass: the map at full
//! resolution never goes to memory. Windows are taken in the order of the pool, four to a pooled
//! pixel.
//!
//! With many channels the micro-kernel writes a few windows to the first-level cache, and they are pooled
//! from there: at K = 288 that costs 1 %. With one channel the four outputs of a window are in registers
//! together, and are pooled there.

use super::Convolution;
use super::images::{Framed, Grid};
use super::one_channel::{Filters, OnFilters, OneChannel, on_filters};
use super::panel::{ByPanel, MOST, Panel, Store};
use super::windows::{OnWindows, Windows};
use crate::dropout::{Dropout, survivors};
use crate::gemm::store::StripEpilogue;
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Scratch};
use crate::{Geometry, Team};
use std::ops::Range;

/// `y = max_pool(dropout(activation(conv(x, w) + bias)))` over windows of 2 x 2 that do not overlap.
/// Elements are dropped by their number in the map at full resolution; an odd last line or column
/// of it is in no window. `y` and `argmax` are `[n, out_h / 2, out_w / 2, filters]`.
///
/// Bits 0 and 1 of `argmax` are the winner's place in its window, row by row, the first among
/// equals; bit 2 is set if dropout had dropped it. On each instruction set the bits are those of
/// [`super::forward`], [`crate::dropout::forward`] and [`crate::pool::max_forward`] one after the
/// other.
///
/// # Panics
/// If the lengths do not fit together, or the dropout's rate is not in `0..1`.
#[track_caller]
pub fn forward_pooled(
    team: &Team,
    convolution: &Convolution,
    dropout: Option<&Dropout>,
    y: &mut [f32],
    argmax: &mut [u8],
) {
    let job = convolution;
    let (g, filters) = (job.geometry, job.bias.len());
    let pooled_len = (g.out_h / 2) * (g.out_w / 2) * filters;
    let batch = job.x.len() / g.in_len();
    job.check(batch * g.out_pixels() * filters);
    assert_eq!(y.len(), batch * pooled_len, "pooled y of {batch} images");
    assert_eq!(argmax.len(), y.len(), "argmax and y differ in length");
    let per_sample = g.out_pixels() * filters;
    assert!(u32::try_from(per_sample).is_ok(), "{per_sample} elements cannot be numbered");
    let drops = dropout.map(|dropout| Drops {
        dropout,
        threshold: dropout.threshold(),
        scale: 1.0 / (1.0 - dropout.rate),
    });
    let windows = convolution.windows();
    windows.on(team, OnTeam { job, team, drops, pooled_len, y, argmax });
}

/// A pooled convolution on a team.
struct OnTeam<'a, 'pool> {
    job: &'a Convolution<'a>,
    team: &'a Team<'pool>,
    drops: Option<Drops<'a>>,
    /// Elements of an image of `y`.
    pooled_len: usize,
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}

impl OnWindows for OnTeam<'_, '_> {
    fn run<P: ByPanel>(self, by: P, windows: &Windows) {
        let Self { job, team, drops, pooled_len, y, argmax } = self;
        if y.is_empty() {
            return;
        }
        let batch = y.len() / pooled_len;
        // At least eight whole tiles to a task, as without pooling.
        let images_at_once = (28 / (pooled_len / job.bias.len())).max(1);
        let (isa, y, argmax) = (team.isa(), Parts::new(y), Parts::new(argmax));
        team.run_chunks(batch, images_at_once, |images, scratch| {
            let part = images.start * pooled_len..images.end * pooled_len;
            // SAFETY: each image's outputs are one task's.
            let (y, argmax) = unsafe { (y.part(part.clone()), argmax.part(part)) };
            isa.run(ImagesOfPooled { by, job, windows, drops, images, y, argmax, scratch });
        });
    }
}

/// Which elements are dropped, and what the others are multiplied by.
#[derive(Clone, Copy)]
struct Drops<'a> {
    dropout: &'a Dropout,
    threshold: u32,
    scale: f32,
}

/// Some images.
struct ImagesOfPooled<'a, P> {
    by: P,
    job: &'a Convolution<'a>,
    windows: &'a Windows<'a>,
    drops: Option<Drops<'a>>,
    images: Range<usize>,
    y: &'a mut [f32],
    argmax: &'a mut [u8],
    scratch: &'a mut Scratch,
}

impl<P: ByPanel> Kernel for ImagesOfPooled<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.job.one_channel() {
            Some(weights) => self.by_lines(simd, weights),
            None => self.by_panels(simd),
        }
    }
}

impl<P: ByPanel> ImagesOfPooled<'_, P> {
    /// Panels to the first-level cache, and from there to `y`.
    #[inline(always)]
    fn by_panels<S: Simd>(self, simd: S) {
        let Self { by, job, windows, drops, images, y, argmax, scratch } = self;
        let (g, filters) = (job.geometry, job.bias.len());
        let framed = windows.images;
        let framed_len = framed.copies_len(images.len());
        let rows_at_once = by.pooled_height::<S>();
        let (panel_len, map_len) = (by.scratch_len(windows, filters), rows_at_once * filters);
        let (of_panel, rest) =
            scratch.floats(panel_len + 2 * map_len + framed_len).split_at_mut(panel_len);
        let (map, rest) = rest.split_at_mut(map_len);
        let (ones, copies) = rest.split_at_mut(map_len);
        let x = &windows.x[images.start * framed.len()..images.end * framed.len()];
        let x = framed.framed(x, copies);
        let (x, map_start) = (x.as_ptr(), map.as_mut_ptr());
        let epilogue = &StripEpilogue::Bias { bias: job.bias.as_ptr(), activation: job.activation };
        let mut panel = by.panel(windows, Store { adds: false, epilogue }, of_panel);
        let (right, below) = (g.stride * framed.channels, g.stride * framed.line_len());
        let corners = [0, right, below, below + right];
        let pools = framed.windows(g.out_h / 2, g.out_w / 2, 2 * g.stride);
        let count = images.len() * pools.pixels_per_image();
        let mut walk = pools.walk(0);
        let mut pixels = map_pixels(g, filters).walk(0);
        for first in (0..count).step_by(rows_at_once / 4) {
            let pools_now = (rows_at_once / 4).min(count - first);
            let mut starts = [x; MOST];
            for pool in 0..pools_now {
                let start = x.wrapping_add(walk.next());
                for i in 0..4 {
                    starts[4 * pool + i] = start.wrapping_add(corners[i]);
                }
            }
            let height_at_once = by.height::<S>(4 * pools_now);
            for row in (0..4 * pools_now).step_by(height_at_once) {
                let height = height_at_once.min(4 * pools_now - row);
                panel.windows()[..height].copy_from_slice(&starts[row..row + height]);
                for (i, out) in panel.outputs()[..height].iter_mut().enumerate() {
                    *out = map_start.wrapping_add((row + i) * filters);
                }
                // SAFETY: windows are inside their images or frames, rows of the map inside it,
                // and there is one bias for each filter.
                unsafe {
                    panel.load(simd, height);
                    panel.multiply(simd, 0, 0);
                }
            }
            if let Some(Drops { dropout, threshold, .. }) = drops {
                let pairs = ones[..4 * pools_now * filters].chunks_exact_mut(2 * filters);
                let mut at = 0;
                for (i, pair) in pairs.enumerate() {
                    if i % 2 == 0 {
                        at = pixels.next();
                    }
                    let line = g.out_w * filters * (i % 2);
                    let pixel = (at % (g.out_pixels() * filters) + line) as u32;
                    let sample = images.start + at / (g.out_pixels() * filters);
                    survivors(dropout.seeds(sample as u64), pixel, threshold, pair);
                }
            }
            for pool in 0..pools_now {
                let at = 4 * pool * filters;
                let out = (first + pool) * filters;
                let four = PoolWindow {
                    map: &map[at..at + 4 * filters],
                    ones: drops.map(|drops| (&ones[at..at + 4 * filters], drops.scale)),
                    y: &mut y[out..out + filters],
                    argmax: &mut argmax[out..out + filters],
                };
                four.pool(simd);
            }
        }
    }

    /// Pooled lines of images of one channel, from registers.
    #[inline(always)]
    fn by_lines<S: Simd>(self, simd: S, weights: OneChannel) {
        let Self { job, drops, images, y, argmax, scratch, .. } = self;
        let (g, filters) = (job.geometry, job.bias.len());
        let framed = Framed::input(g);
        let framed_len = framed.copies_len(1);
        let ones_len = if drops.is_some() { 2 * g.out_w * filters } else { 0 };
        let (ones, copy) = scratch.floats(ones_len + framed_len).split_at_mut(ones_len);
        let (lines, pools) = (g.out_h / 2, g.out_w / 2);
        for image in images.clone() {
            let x = framed.framed(&job.x[image * g.in_len()..(image + 1) * g.in_len()], copy);
            for line in 0..lines {
                if let Some(Drops { dropout, threshold, .. }) = drops {
                    let first = 2 * line * g.out_w * filters;
                    survivors(dropout.seeds(image as u64), first as u32, threshold, ones);
                }
                let out = ((image - images.start) * lines + line) * pools * filters;
                let line = PooledLine {
                    weights,
                    map_width: g.out_w,
                    x: &x[2 * line * framed.line_len()..],
                    line_len: framed.line_len(),
                    ones,
                    scale: drops.map_or(1.0, |drops| drops.scale),
                    y: &mut y[out..out + pools * filters],
                    argmax: &mut argmax[out..out + pools * filters],
                };
                match drops {
                    None => line.compute::<S, false>(simd),
                    Some(_) => line.compute::<S, true>(simd),
                }
            }
        }
    }
}

/// The first pixels of the pool's windows, as places in the map at full resolution.
fn map_pixels(g: &Geometry, filters: usize) -> Grid {
    Grid {
        lines: g.out_h / 2,
        pixels: g.out_w / 2,
        image_step: g.out_pixels() * filters,
        line_step: 2 * g.out_w * filters,
        pixel_step: 2 * filters,
    }
}

/// The four pixels of a window of the pool, and where their maximum goes. Each is a row of filters.
struct PoolWindow<'a> {
    map: &'a [f32],
    /// Which elements survive, and what those are multiplied by.
    ones: Option<(&'a [f32], f32)>,
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}

impl PoolWindow<'_> {
    #[inline(always)]
    fn pool<S: Simd>(self, simd: S) {
        let Self { map, ones, y, argmax } = self;
        let filters = y.len();
        assert!(map.len() == 4 * filters && argmax.len() == filters);
        for first in (0..filters).step_by(S::LANES) {
            let left = filters - first;
            let mut four = [[simd.splat(0.0)]; 4];
            let mut places = places(simd);
            // SAFETY: each slice has the filters from `first` on.
            unsafe {
                for i in 0..4 {
                    four[i][0] = simd.load_first(map.as_ptr().add(i * filters + first), left);
                }
                if let Some((ones, scale)) = ones {
                    let ones: *const f32 = ones[..4 * filters].as_ptr();
                    let mut alive = [[simd.splat(0.0)]; 4];
                    for i in 0..4 {
                        alive[i][0] = simd.load_first(ones.add(i * filters + first), left);
                    }
                    drop_dead(simd, &alive, scale, &mut four, &mut places);
                }
                let (best, place) = first_maximum(simd, &four, &places);
                simd.store_first(y.as_mut_ptr().add(first), best[0], left);
                simd.store_u8(argmax.as_mut_ptr().add(first), place[0], left);
            }
        }
    }
}

/// The numbers of the places in a window.
#[inline(always)]
fn places<S: Simd, const NV: usize>(simd: S) -> [[S::V; NV]; 4] {
    [[simd.splat(0.0); NV], [simd.splat(1.0); NV], [simd.splat(2.0); NV], [simd.splat(3.0); NV]]
}

/// Zero, and 4 added to the place, where `alive` is not one; else the value times `scale`.
#[inline(always)]
fn drop_dead<S: Simd, const NV: usize>(
    simd: S,
    alive: &[[S::V; NV]; 4],
    scale: f32,
    four: &mut [[S::V; NV]; 4],
    places: &mut [[S::V; NV]; 4],
) {
    let (zero, scale) = (simd.splat(0.0), simd.splat(scale));
    for i in 0..4 {
        for v in 0..NV {
            let lives = simd.gt(alive[i][v], zero);
            four[i][v] = simd.select(lives, simd.mul(four[i][v], scale), zero);
            places[i][v] = simd.select(lives, places[i][v], simd.splat((4 + i) as f32));
        }
    }
}

/// The largest of four and its place; the first among equals, and a NaN only if it is the first.
#[inline(always)]
fn first_maximum<S: Simd, const NV: usize>(
    simd: S,
    four: &[[S::V; NV]; 4],
    places: &[[S::V; NV]; 4],
) -> ([S::V; NV], [S::V; NV]) {
    let (mut best, mut place) = (four[0], places[0]);
    for i in 1..4 {
        for v in 0..NV {
            let wins = simd.gt(four[i][v], best[v]);
            best[v] = simd.select(wins, four[i][v], best[v]);
            place[v] = simd.select(wins, places[i][v], place[v]);
        }
    }
    (best, place)
}

/// One line of the pooled output of an image of one channel.
struct PooledLine<'a> {
    weights: OneChannel<'a>,
    /// Pixels of a line at full resolution.
    map_width: usize,
    /// The image from the first line under this pooled line on.
    x: &'a [f32],
    line_len: usize,
    /// Which elements of two lines of the map survive.
    ones: &'a [f32],
    scale: f32,
    y: &'a mut [f32],
    argmax: &'a mut [u8],
}

impl PooledLine<'_> {
    /// Computes it, with dropout or without.
    #[inline(always)]
    fn compute<S: Simd, const DROPS: bool>(self, simd: S) {
        let filters = self.weights.filters();
        let pools = self.y.len() / filters;
        assert!(self.x.len() >= 3 * self.line_len + 2 * pools + 2);
        assert!(self.argmax.len() == self.y.len() && self.map_width >= 2 * pools);
        assert!(!DROPS || self.ones.len() == 2 * self.map_width * filters);
        on_filters(simd, filters, &mut Dropping::<DROPS>(self));
    }
}

/// A line with dropout, or without.
struct Dropping<'a, const DROPS: bool>(PooledLine<'a>);

impl<const DROPS: bool> OnFilters for Dropping<'_, DROPS> {
    #[inline(always)]
    fn run<S: Simd, const NV: usize>(&mut self, simd: S, first: usize) {
        let PooledLine { weights, map_width, x, line_len, ones, scale, y, argmax } = &mut self.0;
        let (filters, line_len) = (weights.filters(), *line_len);
        let pools = y.len() / filters;
        let left = filters - first;
        let weights = Filters::<S::V, NV>::load(simd, weights, first);
        let line_of_ones = *map_width * filters;
        for pool in 0..pools {
            let x = x.as_ptr().wrapping_add(2 * pool);
            // SAFETY: inside the lines under these pools: `PooledLine::compute` checked.
            let mut four =
                unsafe { weights.outputs(simd, x, [0, 1, line_len, line_len + 1], line_len) };
            let mut places = places(simd);
            if DROPS {
                let mut alive = [[simd.splat(0.0); NV]; 4];
                for i in 0..4 {
                    let at = (i / 2) * line_of_ones + (2 * pool + i % 2) * filters;
                    for v in 0..NV {
                        let (first, left) = (first + v * S::LANES, left - v * S::LANES);
                        // SAFETY: this pixel's filters, the vector whole or masked.
                        alive[i][v] = unsafe {
                            simd.load_first(ones[at..at + filters].as_ptr().add(first), left)
                        };
                    }
                }
                drop_dead(simd, &alive, *scale, &mut four, &mut places);
            }
            let (best, place) = first_maximum(simd, &four, &places);
            for v in 0..NV {
                let at = pool * filters + first + v * S::LANES;
                // SAFETY: this pool's filters, the vector whole or masked.
                unsafe {
                    let y = y.as_mut_ptr().add(at);
                    simd.store_first(y, best[v], left - v * S::LANES);
                    simd.store_u8(argmax.as_mut_ptr().add(at), place[v], left - v * S::LANES);
                }
            }
        }
    }
}
