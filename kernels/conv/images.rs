//! Images in memory as the convolutions walk them: pixel after pixel, and with a frame of zeros
//! where a window may hang over the edge.

use crate::{Geometry, Team};

/// A grid of pixels in each of several images, such as the places of a window: line after line, as
/// offsets in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Lines of one image.
    pub(super) lines: usize,
    /// Pixels of a line.
    pub(super) pixels: usize,
    /// Elements from one image to the next.
    pub(super) image_step: usize,
    /// Elements from one line to the next.
    pub(super) line_step: usize,
    /// Elements from one pixel to the next.
    pub(super) pixel_step: usize,
}

impl Grid {
    /// Pixels of one image.
    pub(super) fn pixels_per_image(&self) -> usize {
        self.lines * self.pixels
    }

    /// Walks the pixels from number `first` on.
    pub(super) fn walk(&self, first: usize) -> Walk {
        let (image, at) = (first / self.pixels_per_image(), first % self.pixels_per_image());
        let (line, pixel) = (at / self.pixels, at % self.pixels);
        let start = image * self.image_step;
        let line_start = start + line * self.line_step;
        let at = line_start + pixel * self.pixel_step;
        Walk { grid: *self, image_start: start, line_start, at, line, pixel }
    }
}

/// Where a walk over a [`Grid`] stands. A division for each pixel would cost as much as a tenth of
/// a tile.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    grid: Grid,
    image_start: usize,
    line_start: usize,
    at: usize,
    line: usize,
    pixel: usize,
}

impl Walk {
    /// Where the next `height` pixels of the memory from `first` on are, a line at a time.
    #[inline(always)]
    pub(super) fn place<P: Pointer>(&mut self, first: P, height: usize, places: &mut [P]) {
        let height = height.min(places.len());
        let mut done = 0;
        while done < height {
            let run = (self.grid.pixels - self.pixel).min(height - done);
            let mut at = self.at;
            for place in &mut places[done..done + run] {
                *place = first.offset(at);
                at += self.grid.pixel_step;
            }
            // The last pixel of the run is left to `next`, which goes on to the next line if the line
            // ends.
            self.at = at - self.grid.pixel_step;
            self.pixel += run - 1;
            self.next();
            done += run;
        }
    }

    /// The offset of this pixel; goes on to the next.
    #[inline(always)]
    pub(super) fn next(&mut self) -> usize {
        let here = self.at;
        self.at += self.grid.pixel_step;
        self.pixel += 1;
        if self.pixel == self.grid.pixels {
            (self.pixel, self.line) = (0, self.line + 1);
            self.line_start += self.grid.line_step;
            if self.line == self.grid.lines {
                self.line = 0;
                self.image_start += self.grid.image_step;
                self.line_start = self.image_start;
            }
            self.at = self.line_start;
        }
        here
    }
}

/// A pointer that is read or written.
pub(super) trait Pointer: Copy {
    /// The pointer so many elements further on.
    fn offset(self, elements: usize) -> Self;
}

impl Pointer for *const f32 {
    #[inline(always)]
    fn offset(self, elements: usize) -> Self {
        self.wrapping_add(elements)
    }
}

impl Pointer for *mut f32 {
    #[inline(always)]
    fn offset(self, elements: usize) -> Self {
        self.wrapping_add(elements)
    }
}

/// How many images a task takes: as many as fill a quarter of the second-level cache, so that tiles run
/// on from image to image, but the same number for every thread. No bit depends on it.
pub(super) fn images_per_task(team: &Team, images: usize, floats_per_image: usize) -> usize {
    let l2 = team.blocking().l2 / size_of::<f32>();
    let most = (l2 / 4 / floats_per_image.max(1)).max(1);
    let tasks = images.div_ceil(most).next_multiple_of(team.threads());
    images.div_ceil(tasks.max(1)).max(1)
}

/// The frame of zeros around an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) top: usize,
    pub(super) left: usize,
    /// Height with the frame.
    pub(super) height: usize,
    /// Width with the frame.
    pub(super) width: usize,
}

/// Images that windows slide over: their size, and the frame that the windows need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) frame: Frame,
}

impl Framed {
    /// The input of a convolution.
    pub(super) fn input(g: &Geometry) -> Self {
        // The frame reaches as far as the last window, and never cuts the image.
        let reach = |out: usize, kernel: usize| (out.max(1) - 1) * g.stride + kernel;
        let height = reach(g.out_h, g.kernel_h).max(g.pad_top + g.in_h);
        let width = reach(g.out_w, g.kernel_w).max(g.pad_left + g.in_w);
        let frame = Frame { top: g.pad_top, left: g.pad_left, height, width };
        Self { height: g.in_h, width: g.in_w, channels: g.channels, frame }
    }

    /// The output of a convolution, pixel by pixel.
    pub(super) fn output(g: &Geometry, filters: usize) -> Self {
        let (height, width) = (g.out_h, g.out_w);
        let frame = Frame { top: 0, left: 0, height, width };
        Self { height, width, channels: filters, frame }
    }

    /// The gradient of the output of a convolution of stride 1, as the input of the transposed one.
    pub(super) fn output_gradient(g: &Geometry, filters: usize) -> Self {
        let frame = Frame {
            top: g.kernel_h - 1 - g.pad_top,
            left: g.kernel_w - 1 - g.pad_left,
            height: g.in_h + g.kernel_h - 1,
            width: g.in_w + g.kernel_w - 1,
        };
        Self { height: g.out_h, width: g.out_w, channels: filters, frame }
    }

    /// Whether there is a frame at all: if not, images serve as they lie.
    pub(super) fn has_frame(&self) -> bool {
        (self.frame.height, self.frame.width) != (self.height, self.width)
    }

    /// Elements of an image.
    pub(super) fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of an image with its frame.
    pub(super) fn framed_len(&self) -> usize {
        self.frame.height * self.frame.width * self.channels
    }

    /// Elements of a line with its frame.
    pub(super) fn line_len(&self) -> usize {
        self.frame.width * self.channels
    }

    /// Copies whole images into their frames.
    pub(super) fn copy(&self, images: &[f32], framed: &mut [f32]) {
        let line = self.width * self.channels;
        for (image, framed) in
            images.chunks_exact(self.len()).zip(framed.chunks_exact_mut(self.framed_len()))
        {
            framed.fill(0.0);
            let lines = framed.chunks_exact_mut(self.line_len()).skip(self.frame.top);
            for (image, framed) in image.chunks_exact(line).zip(lines) {
                framed[self.frame.left * self.channels..][..line].copy_from_slice(image);
            }
        }
    }

    /// Elements of the copies of so many images in their frames; none where there is no frame.
    pub(super) fn copies_len(&self, images: usize) -> usize {
        if self.has_frame() { images * self.framed_len() } else { 0 }
    }

    /// Whole images in their frames: copied there, or as they lie where there is no frame.
    pub(super) fn framed<'a>(&self, images: &'a [f32], copies: &'a mut [f32]) -> &'a [f32] {
        if !self.has_frame() {
            return images;
        }
        self.copy(images, copies);
        copies
    }

    /// Copies whole images out of their frames.
    pub(super) fn copy_back(&self, framed: &[f32], images: &mut [f32]) {
        let line = self.width * self.channels;
        for (image, framed) in
            images.chunks_exact_mut(self.len()).zip(framed.chunks_exact(self.framed_len()))
        {
            let lines = framed.chunks_exact(self.line_len()).skip(self.frame.top);
            for (image, framed) in image.chunks_exact_mut(line).zip(lines) {
                image.copy_from_slice(&framed[self.frame.left * self.channels..][..line]);
            }
        }
    }

    /// The places of a window of `kernel_w` columns, `stride` pixels apart, and the offsets of
    /// what is under it from its first pixel: kernel row by kernel row, each a run of memory.
    pub(super) fn windows(&self, lines: usize, pixels: usize, stride: usize) -> Grid {
        Grid {
            lines,
            pixels,
            image_step: self.framed_len(),
            line_step: stride * self.line_len(),
            pixel_step: stride * self.channels,
        }
    }

    /// Writes how far each element under a window is from its first. `Windows::check_steps` has checked
    /// that it fits.
    pub(super) fn steps_under_window(&self, kernel_w: usize, steps: &mut [u32]) {
        let run = (kernel_w * self.channels).max(1);
        for (row, steps) in steps.chunks_mut(run).enumerate() {
            for (at, step) in steps.iter_mut().enumerate() {
                *step = (row * self.line_len() + at) as u32;
            }
        }
    }
}
