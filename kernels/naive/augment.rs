//! The twin of [`crate::augment`], an element at a time.

use crate::augment::{BORDER, ImageShape, Motion, Rectangle, Warp};
use crate::simd::flush;

/// `out[i, j] = warped(i)[j] * factors[j] + offsets[j]`.
pub fn scaled<'a, T: Copy + Into<f32> + 'a>(
    shape: ImageShape,
    image: impl Fn(usize) -> &'a [T],
    warp: impl Fn(usize) -> Warp,
    factors: &[f32],
    offsets: &[f32],
    out: &mut [f32],
) {
    let [_, width, channels] = shape;
    let len = factors.len();
    for (i, out) in out.iter_mut().enumerate() {
        let (i, j) = (i / len, i % len);
        let (pixel, channel) = (j / channels, j % channels);
        let at = (pixel % width, pixel / width);
        let value = warped(shape, image(i), &warp(i), at, channel);
        *out = flush(value * factors[j] + offsets[j]);
    }
}

/// An element of the image after its warp, at column and row.
fn warped<T: Copy + Into<f32>>(
    [height, width, channels]: ImageShape,
    image: &[T],
    Warp { motion, erased }: &Warp,
    (x, y): (usize, usize),
    channel: usize,
) -> f32 {
    let Rectangle { left, top, width: columns, height: rows } = *erased;
    if x >= left && x - left < columns && y >= top && y - top < rows {
        return 0.0;
    }
    // Zero outside.
    let element = |x: isize, y: isize| -> f32 {
        if x < 0 || y < 0 || x >= width as isize || y >= height as isize {
            return 0.0;
        }
        image[(y as usize * width + x as usize) * channels + channel].into()
    };
    match *motion {
        Motion::Shift { right, down, mirrored } => {
            let (from_x, from_y) =
                ((x as isize).saturating_sub(right), (y as isize).saturating_sub(down));
            let inside = (0..width as isize).contains(&from_x);
            let from_x = if mirrored && inside { width as isize - 1 - from_x } else { from_x };
            element(from_x, from_y)
        }
        Motion::Affine { x_from, y_from } => {
            let place = |from: [f32; 3], most: usize| {
                let place = from[0] * x as f32 + (from[1] * y as f32 + from[2]) + BORDER as f32;
                let place = if place.is_nan() { 0.0 } else { place };
                place.clamp(0.0, (most + BORDER) as f32)
            };
            let (s, t) = (place(x_from, width), place(y_from, height));
            let (column, row) = (s.floor() as isize, t.floor() as isize);
            let (f, g) = (s - s.floor(), t - t.floor());
            let p = |right, down| {
                element(column + right - BORDER as isize, row + down - BORDER as isize)
            };
            let left = p(0, 0) + g * (p(0, 1) - p(0, 0));
            let right = p(1, 0) + g * (p(1, 1) - p(1, 0));
            left + f * (right - left)
        }
    }
}
