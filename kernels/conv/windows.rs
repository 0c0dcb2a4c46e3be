//! Windows over images, and the weights that they are multiplied with: as floats where they lie, or packed into
//! words of bf16 numbers. A word is a pair of channels, or a float that is rounded. What is under a window is read
//! by the offsets of its words in either case, so the matrix of im2col is built in no precision.

use super::images::Framed;
use crate::blocking::{Blocking, Cut};
use crate::gemm::parts::{Part, Terms};
use crate::gemm::words::{Operand, Words, pack};
use crate::micro::{Floats, Micro, WithMicro};
use crate::team::Parts;
use crate::{Mat, Team};
use std::iter;

/// Windows over images, and weights.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    /// Whole images.
    pub(super) x: &'a [f32],
    /// Their size; `channels` are the words of a pixel.
    pub(super) images: Framed,
    /// Pixels of a window in a line, and in all.
    pub(super) kernel_w: usize,
    pub(super) taps: usize,
    /// The products that windows take part in, one after the other.
    pub(super) products: usize,
    /// For each product, a row for each word under a window.
    pub(super) w: Mat<'a>,
    packing: Option<Packing>,
}

/// How they are packed.
#[derive(Clone, Copy)]
struct Packing {
    terms: Terms,
    /// The words under a window.
    words: Words,
    /// Channels of a pixel.
    channels: usize,
}

/// The parts of a pixel that are kept, of the parts that it is multiplied as.
fn kept(terms: Terms) -> &'static [Part] {
    match terms.count() {
        1 => terms.a,
        _ => &[Part::High, Part::FiniteHigh, Part::Middle, Part::Low],
    }
}

/// What is done with windows.
pub(super) trait OnWindows {
    /// Does it.
    fn run<M: Micro>(self, micro: M, windows: &Windows);
}

impl<'a> Windows<'a> {
    /// Of floats.
    pub(super) fn new(
        x: &'a [f32],
        images: Framed,
        (kernel_w, taps): (usize, usize),
        w: Mat<'a>,
    ) -> Self {
        Self { x, images, kernel_w, taps, products: 1, w, packing: None }
    }

    /// Of single pixels of floats, each multiplied with so many matrices, which lie one below the other.
    pub(super) fn of_pixels(x: &'a [f32], images: Framed, products: usize, w: Mat<'a>) -> Self {
        Self { products, ..Self::new(x, images, (1, 1), w) }
    }

    /// Words under a window.
    pub(super) fn depth(&self) -> usize {
        self.w.rows() / self.products
    }

    /// Checks that the offsets of what is under a window fit the micro-kernel, where they are 32 bits wide.
    ///
    /// # Panics
    /// If, in a window, the last word is too far from the first.
    #[track_caller]
    pub(super) fn check_steps(&self) {
        let reach = (self.taps / self.kernel_w).saturating_mul(self.images.line_len());
        assert!(
            u32::try_from(reach).is_ok(),
            "a window reaches over {reach} elements: 2^32 or more"
        );
    }

    /// Words of K in a block.
    pub(super) fn kc(&self) -> usize {
        match &self.packing {
            None => Cut::of(self.depth()).kc,
            Some(packing) => packing.words.per_block(),
        }
    }

    /// Writes how far each word under a window is from the first of its first pixel.
    pub(super) fn write_steps(&self, steps: &mut [u32]) {
        let Some(Packing { terms, words, channels }) = self.packing else {
            return self.images.steps_under_window(self.kernel_w, steps);
        };
        let (of_part, kept) = (channels / words.unit, kept(terms));
        for (elements, first) in words.blocks() {
            let len = words.of_part(elements.len());
            for (&part, steps) in terms.a.iter().zip(steps[first..].chunks_exact_mut(len)) {
                let place =
                    kept.iter().position(|&kept| kept == part).expect("a part that is kept");
                for (i, step) in steps.iter_mut().enumerate() {
                    let element = elements.start + i * words.unit;
                    let (tap, channel) = (element / channels, element % channels);
                    let pixel = tap / self.kernel_w * self.images.line_len()
                        + tap % self.kernel_w * self.images.channels;
                    *step = (pixel + place * of_part + channel / words.unit) as u32;
                }
            }
        }
    }

    /// Does work with them in the team's precision: with the windows as they are, or packed, in a phase before.
    #[track_caller]
    pub(super) fn on(&self, team: &Team, work: impl OnWindows) {
        let arithmetic = team.arithmetic();
        let (channels, filters) = (self.images.channels, self.w.cols());
        let precision = arithmetic.precision.of_convolution(self.taps, channels, filters);
        let Some(terms) = Terms::of(precision) else {
            self.check_steps();
            return work.run(Floats, self);
        };
        let kernel = arithmetic.kernel.of_convolution();
        let (k, unit) = (self.depth(), kernel.unit());
        // Not of this machine: the cut is the same on all.
        let cut = Blocking::of_machine().cut_of_parts(k, terms.count());
        let words = Words::new(k, cut, terms.count(), unit);
        let kept = kept(terms);
        let pixel = Words { k: channels, kc: channels, parts: kept.len(), unit, pad: 2 };
        let pixels = Mat::new(self.x, self.x.len() / channels, channels);
        let x_len = pixels.rows() * pixel.count();
        let mut buffer = team.packed_scratch();
        let w_len = words.count() * filters;
        let buffer = buffer.floats(x_len + self.products * w_len);
        let to = Parts::new(&mut *buffer);
        let x = Operand { from: pixels, is_along: true, parts: kept, words: pixel, to: &to, at: 0 };
        let (is_along, parts) = (false, terms.b);
        let of_product = |i: usize| {
            let from = self.w.block(i * k..(i + 1) * k, 0..filters);
            Operand { from, is_along, parts, words, to: &to, at: x_len + i * w_len }
        };
        let operands: Vec<_> = iter::once(x).chain((0..self.products).map(of_product)).collect();
        pack(team, &operands);
        let (x, w) = buffer.split_at(x_len);
        let packed = Windows {
            x,
            images: Framed { channels: pixel.count(), ..self.images },
            w: Mat::new(w, self.products * words.count(), filters),
            packing: Some(Packing { terms, words, channels }),
            ..*self
        };
        packed.check_steps();
        kernel.run_in_registers(OnPacked { work, windows: packed });
    }
}

/// Work with packed windows.
struct OnPacked<'a, W> {
    work: W,
    windows: Windows<'a>,
}

impl<W: OnWindows> WithMicro for OnPacked<'_, W> {
    type Output = ();

    fn run<M: Micro>(self, micro: M) {
        self.work.run(micro, &self.windows);
    }
}
