//! Images picked from all over memory as a batch of scaled floats, each moved on the way: [`crate::gather`]
//! with a [`Warp`] for each image.
//!
//! No operation is fused, so the bits are the same on every instruction set, and those of the twin.

use crate::gather::{Batch, Element, ask_for};
use crate::simd::{Kernel, Simd};
use crate::team::{Parts, Team};
use std::marker::PhantomData;
use std::ops::Range;

/// Images of one task: eight of 784 bytes are 3 to 10 us of work.
const TASK: usize = 8;

/// Images between the one that is moved and the one that is prefetched.
const AHEAD: usize = 2;

/// Zeros on each side of an image: two, so that a point outside lies between zeros only, and a NaN or an
/// infinity in the image's edge cannot reach it.
pub(crate) const BORDER: usize = 2;

/// Pixels whose places are computed at once.
const CHUNK: usize = 32;

/// What becomes of one image: it is moved, and then a rectangle of it is erased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    /// Which pixels come from where.
    pub motion: Motion,
    /// A rectangle of the result that becomes zero: black, before the scaling.
    pub erased: Rectangle,
}

impl Warp {
    /// Nothing happens.
    pub const NONE: Self = Self { motion: Motion::NONE, erased: Rectangle::EMPTY };
}

/// How an image is moved. Pixels that come from outside of it are zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Motion {
    /// By whole pixels: elements are copied as they are.
    Shift {
        /// To the right.
        right: isize,
        /// Down.
        down: isize,
        /// Whether the image is mirrored first, left for right.
        mirrored: bool,
    },
    /// Pixel `(x, y)`, column and row, comes from the point `(u, v)`:
    ///
    /// ```text
    /// u = x_from[0] x + (x_from[1] y + x_from[2])
    /// v = y_from[0] x + (y_from[1] y + y_from[2])
    /// ```
    ///
    /// each operation rounded to f32. Then `s = u + 2` and `t = v + 2` (so that truncation rounds down) are
    /// clamped to `0 ..= width + 2` and `0 ..= height + 2`; a NaN becomes 0. Of the four pixels `p` around
    /// them, zero outside of the image, the value is interpolated along columns, then along rows:
    ///
    /// ```text
    /// f = s - floor(s)                  g = t - floor(t)
    /// left  = p[0][0] + g (p[1][0] - p[0][0])
    /// right = p[0][1] + g (p[1][1] - p[0][1])
    /// value = left + f (right - left)
    /// ```
    Affine {
        /// From a pixel's place to a column of the image.
        x_from: [f32; 3],
        /// From a pixel's place to a row of the image.
        y_from: [f32; 3],
    },
}

impl Motion {
    /// The image stays as it is.
    pub const NONE: Self = Self::Shift { right: 0, down: 0, mirrored: false };
}

/// Pixels of an image; what lies beyond its edges does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Rectangle {
    /// No pixel.
    pub const EMPTY: Self = Self { left: 0, top: 0, width: 0, height: 0 };
}

/// Shape of an image: `[height, width, channels]`, row-major.
pub type ImageShape = [usize; 3];

/// The most rows and columns: a float tells a fraction of a pixel there.
const MOST: usize = 1 << 16;

/// Whether images of this shape are small enough: 65,536 rows and columns at most, and fewer than 2^31
/// elements with a border of two pixels.
pub fn takes(shape: ImageShape) -> bool {
    let [height, width, _] = shape;
    let is_small = |n: &usize| i32::try_from(*n).is_ok();
    height.max(width) <= MOST && padded_len(shape).as_ref().is_some_and(is_small)
}

/// Elements of an image and its border.
fn padded_len([height, width, channels]: ImageShape) -> Option<usize> {
    let [height, width] = [height, width].map(|n| n.checked_add(2 * BORDER));
    height?.checked_mul(width?)?.checked_mul(channels)
}

/// `out[i, j] = warped(i)[j] * factors[j] + offsets[j]`, rounded after each operation, where `warped(i)` is
/// image `i` after its warp. `out` is `[images, height, width, channels]`. `image` also gives the images of
/// the next call, behind those of this one, or empty ones: they are prefetched, as by
/// [`crate::gather::scaled`]. Threads always share whole images, whatever `batch.cut` is.
///
/// # Panics
/// If an image is not of that shape, or [`takes`] says no to the shape, or there is not a factor and an offset
/// for each of its elements, or `out` is not whole images.
#[track_caller]
pub fn scaled<'a, T: Element + 'a>(
    team: &Team,
    shape: ImageShape,
    image: impl Fn(usize) -> &'a [T] + Sync,
    warp: impl Fn(usize) -> Warp + Sync,
    Batch { factors, offsets, cut: _ }: Batch,
    out: &mut [f32],
) {
    let [height, width, channels] = shape;
    let len = factors.len();
    let is_whole = height.checked_mul(width).and_then(|n| n.checked_mul(channels)) == Some(len);
    assert!(is_whole, "{len} factors for images of {height}x{width}x{channels}");
    // Places are computed in f32 and kept in i32.
    let padded = padded_len(shape).filter(|_| takes(shape));
    let padded = padded.unwrap_or_else(|| panic!("images of {height}x{width} are too large"));
    assert_eq!(offsets.len(), len, "an offset for each factor");
    let images = out.len().checked_div(len).unwrap_or(0);
    assert_eq!(out.len(), images * len, "out is no batch of images of {len} elements");
    let (isa, image, warp) = (team.isa(), &image, &warp);
    let tasks = images.div_ceil(TASK);
    let (in_all, out) = (images, Parts::new(out));
    team.run(tasks, |task, scratch| {
        let images = images * task / tasks..images * (task + 1) / tasks;
        let padded = scratch.floats(padded);
        let out = &out;
        let of = PhantomData;
        isa.run(Images { shape, image, warp, in_all, images, padded, factors, offsets, out, of });
    });
}

/// The images of one task.
struct Images<'a, T, F, W> {
    shape: ImageShape,
    image: &'a F,
    warp: &'a W,
    of: PhantomData<T>,
    /// Images of the batch.
    in_all: usize,
    images: Range<usize>,
    /// `[height + 2 BORDER, width + 2 BORDER, channels]`
    padded: &'a mut [f32],
    factors: &'a [f32],
    offsets: &'a [f32],
    out: &'a Parts<'a, f32>,
}

impl<'b, T, F, W> Kernel for Images<'_, T, F, W>
where
    T: Element + 'b,
    F: Fn(usize) -> &'b [T],
    W: Fn(usize) -> Warp,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shape, image, warp, in_all, images, padded, factors, offsets, out, .. } = self;
        let len = factors.len();
        // As in `gather`: the first line of each image of the next batch, all in a burst.
        for i in images.clone() {
            simd.prefetch(image(i + in_all).as_ptr().cast());
        }
        for ahead in images.start..images.end.min(images.start + AHEAD) {
            ask_for(simd, image(ahead), &(0..len));
        }
        let mut has_border = false;
        for i in images.clone() {
            if i + AHEAD < images.end {
                ask_for(simd, image(i + AHEAD), &(0..len));
            }
            ask_for(simd, image(i + in_all), &(0..len));
            let elements = image(i);
            assert_eq!(elements.len(), len, "image {i} has another length");
            // SAFETY: tasks have disjoint images.
            let out = unsafe { out.part(i * len..(i + 1) * len) };
            let Warp { motion, erased } = warp(i);
            match motion {
                Motion::Shift { right, down, mirrored } => {
                    shift(simd, shape, elements, right, down, mirrored, out);
                }
                Motion::Affine { x_from, y_from } => {
                    if !has_border {
                        // No image overwrites it.
                        padded.fill(0.0);
                        has_border = true;
                    }
                    pad(simd, shape, elements, padded);
                    match shape[2] {
                        1 => affine(shape, 1, padded, x_from, y_from, out),
                        3 => affine(shape, 3, padded, x_from, y_from, out),
                        channels => affine(shape, channels, padded, x_from, y_from, out),
                    }
                }
            }
            erase(shape, erased, out);
            for j in (0..len).step_by(S::LANES) {
                let n = len - j;
                // SAFETY: min(n, LANES) elements from j on are in each of the three.
                unsafe {
                    let p = out.as_mut_ptr().add(j);
                    let factor = simd.load_first(factors.as_ptr().add(j), n);
                    let offset = simd.load_first(offsets.as_ptr().add(j), n);
                    let y = simd.add(simd.mul(simd.load_first(p, n), factor), offset);
                    simd.store_first(p, simd.flush(y), n);
                }
            }
        }
    }
}

/// `to[j] = from[j]` as a float.
///
/// # Panics
/// If they differ in length.
#[inline(always)]
fn convert<S: Simd, T: Element>(simd: S, from: &[T], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    for j in (0..from.len()).step_by(S::LANES) {
        let n = from.len() - j;
        // SAFETY: min(n, LANES) elements from j on are in both.
        unsafe {
            let x = T::load(simd, from.as_ptr().add(j), n);
            simd.store_first(to.as_mut_ptr().add(j), x, n);
        }
    }
}

/// [`Motion::Shift`].
#[inline(always)]
fn shift<S: Simd, T: Element>(
    simd: S,
    [height, width, channels]: ImageShape,
    image: &[T],
    right: isize,
    down: isize,
    mirrored: bool,
    out: &mut [f32],
) {
    let row = width * channels;
    // Columns of the result that are not from outside, and the first one that they come from.
    let (columns, from) = overlap(width, right);
    let (rows, top) = overlap(height, down);
    out[..rows.start * row].fill(0.0);
    out[rows.end * row..].fill(0.0);
    for (y, from_y) in rows.zip(top..) {
        let (image, out) = (&image[from_y * row..][..row], &mut out[y * row..][..row]);
        out[..columns.start * channels].fill(0.0);
        out[columns.end * channels..].fill(0.0);
        let out = &mut out[columns.start * channels..columns.end * channels];
        if !mirrored {
            convert(simd, &image[from * channels..][..out.len()], out);
            continue;
        }
        // Column c of the mirrored image is column width - 1 - c.
        let image = &image[..(width - from) * channels];
        let image = &image[image.len() - out.len()..];
        match channels {
            1 => reverse(simd, 1, image, out),
            3 => reverse(simd, 3, image, out),
            _ => reverse(simd, channels, image, out),
        }
    }
}

/// Where numbers below `len` are still among them when `by` is added, as what they become; and the first
/// of them.
#[inline(always)]
fn overlap(len: usize, by: isize) -> (Range<usize>, usize) {
    let far = by.unsigned_abs().min(len);
    if by < 0 { (0..len - far, far) } else { (far..len, 0) }
}

/// Pixels in the opposite order, as floats.
#[inline(always)]
fn reverse<S: Simd, T: Element>(simd: S, channels: usize, image: &[T], out: &mut [f32]) {
    let mut turned = [0.0; CHUNK];
    if channels == 1 {
        // A chunk as floats, then turned round.
        let mut at = 0;
        while at < out.len() {
            let n = (out.len() - at).min(CHUNK);
            let end = image.len() - at;
            convert(simd, &image[end - n..end], &mut turned[..n]);
            for j in 0..n {
                out[at + j] = turned[n - 1 - j];
            }
            at += n;
        }
        return;
    }
    let last = out.len().saturating_sub(channels);
    for at in (0..out.len()).step_by(channels) {
        convert(simd, &image[last - at..][..channels], &mut out[at..][..channels]);
    }
}

/// An image inside its border.
#[inline(always)]
fn pad<S: Simd, T: Element>(
    simd: S,
    [height, width, channels]: ImageShape,
    image: &[T],
    padded: &mut [f32],
) {
    let (row, stride) = (width * channels, (width + 2 * BORDER) * channels);
    for y in 0..height {
        let to = (y + BORDER) * stride + BORDER * channels;
        convert(simd, &image[y * row..][..row], &mut padded[to..][..row]);
    }
}

/// [`Motion::Affine`] of an image inside its border. Plain loops: places and weights of a chunk in vectors
/// of the compiler's, then pixel by pixel. An image of 28x28 takes 1.2 us on a Zen 5. Collecting the four
/// pixels of a chunk first and interpolating in vectors took 7 to 18 % longer, on every instruction set.
#[inline(always)]
fn affine(
    [height, width, _]: ImageShape,
    channels: usize,
    padded: &[f32],
    x_from: [f32; 3],
    y_from: [f32; 3],
    out: &mut [f32],
) {
    let stride = (width + 2 * BORDER) * channels;
    assert!(
        padded.len() == (height + 2 * BORDER) * stride && out.len() == height * width * channels
    );
    let most = [width, height].map(|n| (n + BORDER) as f32);
    let mut places = [0_i32; CHUNK];
    let (mut f, mut g) = ([0.0_f32; CHUNK], [0.0_f32; CHUNK]);
    for y in 0..height {
        let from_y = [x_from, y_from].map(|from| from[1] * y as f32 + from[2]);
        for first in (0..width).step_by(CHUNK) {
            let n = (width - first).min(CHUNK);
            for k in 0..CHUNK {
                let x = (first + k) as i32 as f32;
                let s = clamp(x_from[0] * x + from_y[0] + BORDER as f32, most[0]);
                let t = clamp(y_from[0] * x + from_y[1] + BORDER as f32, most[1]);
                // SAFETY: both are from 0 to 2^16 + 2 and no NaN.
                let (column, row) =
                    unsafe { (s.to_int_unchecked::<i32>(), t.to_int_unchecked::<i32>()) };
                (f[k], g[k]) = (s - column as f32, t - row as f32);
                places[k] = row * stride as i32 + column * channels as i32;
            }
            let out = &mut out[(y * width + first) * channels..][..n * channels];
            for k in 0..n {
                let at = places[k] as usize;
                for c in 0..channels {
                    // SAFETY: columns are at most width + 2 and rows height + 2, so the pixel and the
                    // next ones to the right, below and both are inside the border.
                    let [p00, p01, p10, p11] = unsafe {
                        [0, channels, stride, stride + channels]
                            .map(|beside| *padded.get_unchecked(at + c + beside))
                    };
                    let left = p00 + g[k] * (p10 - p00);
                    let right = p01 + g[k] * (p11 - p01);
                    out[k * channels + c] = left + f[k] * (right - left);
                }
            }
        }
    }
}

/// `x` from 0 to `most`; 0 of a NaN.
#[inline(always)]
fn clamp(x: f32, most: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < most { x } else { most }
}

/// Zeros in a rectangle.
#[inline(always)]
fn erase([height, width, channels]: ImageShape, erased: Rectangle, out: &mut [f32]) {
    let Rectangle { left, top, width: columns, height: rows } = erased;
    let (left, right) = (left.min(width), left.saturating_add(columns).min(width));
    for y in top.min(height)..top.saturating_add(rows).min(height) {
        out[y * width * channels..][left * channels..right * channels].fill(0.0);
    }
}
