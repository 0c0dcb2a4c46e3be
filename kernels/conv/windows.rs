//! Windows over images, and the weights that they are multiplied with: as floats where they lie, or packed into
//! words of bf16 numbers. A word is a pair of channels, or a float that is rounded; of an odd number of channels the
//! last has a zero beside it. What is under a window is read by the offsets of its words in either case, so the matrix
//! of im2col is built in no precision.

use super::images::Framed;
use super::panel::ByPanel;
use crate::blocking::{Blocking, Cut};
use crate::gemm::block::InRegisters;
use crate::gemm::on_tiles::OnTiles;
use crate::gemm::packed_tiles::{self, Side, panels};
use crate::gemm::parts::{Part, Terms};
use crate::gemm::words::{Operand, PackOperand, Several, Words, pack};
use crate::micro::{Floats, Micro, WithKernel, WithMicro};
use crate::precision::Bf16Kernel;
use crate::team::Parts;
use crate::tiles::{SIDE, TileUnit};
use crate::{Mat, Team};

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
    /// For each product, a row for each word under a window; on a tile unit a row for each panel of filters.
    pub(super) w: Mat<'a>,
    /// Filters: the elements of a window's output.
    pub(super) filters: usize,
    packing: Option<Packing>,
}

/// How they are packed.
#[derive(Clone, Copy)]
struct Packing {
    terms: Terms,
    /// The words under a window.
    words: Words,
    /// Channels of a pixel, an even number.
    channels: usize,
}

/// The parts of a pixel that are kept, of the parts that it is multiplied as.
pub(super) fn kept(terms: Terms) -> &'static [Part] {
    match terms.count() {
        1 => terms.a,
        _ => &[Part::High, Part::FiniteHigh, Part::Middle, Part::Low],
    }
}

/// Which of the parts that are kept that one is.
pub(super) fn place_of(part: Part, kept: &[Part]) -> usize {
    kept.iter().position(|&kept| kept == part).expect("a part that is kept")
}

/// What is done with windows.
pub(super) trait OnWindows {
    /// Does it.
    fn run<P: ByPanel>(self, by: P, windows: &Windows);
}

impl<'a> Windows<'a> {
    /// Of floats.
    pub(super) fn new(
        x: &'a [f32],
        images: Framed,
        (kernel_w, taps): (usize, usize),
        w: Mat<'a>,
    ) -> Self {
        Self { x, images, kernel_w, taps, products: 1, w, filters: w.cols(), packing: None }
    }

    /// Of single pixels of floats, each multiplied with so many matrices, which lie one below the other.
    pub(super) fn of_pixels(x: &'a [f32], images: Framed, products: usize, w: Mat<'a>) -> Self {
        Self { products, ..Self::new(x, images, (1, 1), w) }
    }

    /// Words under a window; on a tile unit, those that fill its tiles.
    pub(super) fn depth(&self) -> usize {
        match &self.packing {
            None => self.w.rows() / self.products,
            Some(packing) => packing.words.count(),
        }
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

    /// How K is packed.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn words(&self) -> Words {
        self.packing.expect("windows of words").words
    }

    /// Writes how far each word under a window is from the first of its first pixel.
    pub(super) fn write_steps(&self, steps: &mut [u32]) {
        if self.packing.is_none() {
            return self.images.steps_under_window(self.kernel_w, steps);
        }
        for (word, step) in self.words_under_window() {
            steps[word] = step;
        }
    }

    /// The number of each word under a window in the order of K, and how far it is from the first of its first pixel.
    /// Words that only fill a tile are left out.
    ///
    /// # Panics
    /// If these are floats.
    pub(super) fn words_under_window(&self) -> impl Iterator<Item = (usize, u32)> {
        let Packing { terms, words, channels } = self.packing.expect("windows of words");
        let (of_part, kept, images) = (channels / words.unit, kept(terms), self.images);
        let kernel_w = self.kernel_w;
        words.blocks().flat_map(move |(elements, first)| {
            let len = words.of_part(elements.len());
            terms.a.iter().enumerate().flat_map(move |(i, &part)| {
                let place = place_of(part, kept);
                (0..elements.len() / words.unit).map(move |word| {
                    let element = elements.start + word * words.unit;
                    let (tap, channel) = (element / channels, element % channels);
                    let pixel =
                        tap / kernel_w * images.line_len() + tap % kernel_w * images.channels;
                    let step = pixel + place * of_part + channel / words.unit;
                    (first + i * len + word, step as u32)
                })
            })
        })
    }

    /// Does work with them in the team's precision: with the windows as they are, or packed, in a phase before.
    #[track_caller]
    pub(super) fn on(&self, team: &Team, work: impl OnWindows) {
        let arithmetic = team.arithmetic();
        let precision =
            arithmetic.precision.of_convolution(self.taps, self.images.channels, self.filters);
        let Some(terms) = Terms::of(precision) else {
            self.check_steps();
            return work.run(InRegisters(Floats), self);
        };
        self.on_packed(team, terms, arithmetic.kernel, work);
    }

    /// The same, packed.
    #[track_caller]
    fn on_packed(&self, team: &Team, terms: Terms, kernel: Bf16Kernel, work: impl OnWindows) {
        let (odd_channels, filters) = (self.images.channels, self.filters);
        let channels = odd_channels.next_multiple_of(2);
        let (k, unit) = (self.taps * channels, kernel.unit());
        // Not of this machine: the cut is the same on all.
        let (words, _) = Words::of(Blocking::of_machine(), k, terms, kernel);
        let kept = kept(terms);
        let pixel = Words { k: odd_channels, kc: channels, parts: kept.len(), unit, pad: 2 };
        let pixels = Mat::new(self.x, self.x.len() / odd_channels, odd_channels);
        let x_len = pixels.rows() * pixel.count();
        // Words of the weights of a product.
        let w_len = match kernel.is_on_tiles() {
            true => panels(filters) * words.count() * SIDE,
            false => words.count() * filters,
        };
        let even_len = if channels > odd_channels { self.products * k * filters } else { 0 };
        let mut buffer = team.packed_scratch();
        let buffer = buffer.floats(x_len + self.products * w_len + even_len);
        let (buffer, even) = buffer.split_at_mut(x_len + self.products * w_len);
        let w = if even.is_empty() { self.w } else { with_even_rows(self.w, odd_channels, even) };
        let to = Parts::new(&mut *buffer);
        let x = Operand { from: pixels, is_along: true, parts: kept, words: pixel, to: &to, at: 0 };
        let of_product = |i: usize| (w.block(i * k..(i + 1) * k, 0..filters), x_len + i * w_len);
        let parts = terms.b;
        let in_rows = |i: usize| {
            let (from, at) = of_product(i);
            Operand { from, is_along: false, parts, words, to: &to, at }
        };
        let in_tiles = |i: usize| {
            let (from, at) = of_product(i);
            packed_tiles::Operand { from, side: Side::B, parts, words, to: &to, at }
        };
        let products = self.products;
        let (in_rows, in_tiles) = (Several(products, in_rows), Several(products, in_tiles));
        let weights: &dyn PackOperand = if kernel.is_on_tiles() { &in_tiles } else { &in_rows };
        pack(team, &[&x, weights]);
        let (x, w) = buffer.split_at(x_len);
        let of_panel = words.count() * SIDE;
        let w = match kernel.is_on_tiles() {
            true => Mat::new(w, self.products * panels(filters), of_panel),
            false => Mat::new(w, self.products * words.count(), filters),
        };
        let images = Framed { channels: pixel.count(), ..self.images };
        let packing = Some(Packing { terms, words, channels });
        let windows = Windows { x, images, w, packing, ..*self };
        windows.check_steps();
        kernel.run(OnPacked { work, windows });
    }
}

/// The same matrices, of so many rows each, with a row of zeros below each of them.
fn with_even_rows<'a>(w: Mat, rows: usize, to: &'a mut [f32]) -> Mat<'a> {
    let cols = w.cols();
    for (i, to) in to.chunks_exact_mut((rows + 1) * cols).enumerate() {
        for row in 0..rows {
            let to = &mut to[row * cols..(row + 1) * cols];
            for (j, to) in to.iter_mut().enumerate() {
                *to = w.at(i * rows + row, j);
            }
        }
        to[rows * cols..].fill(0.0);
    }
    let rows = to.len() / cols;
    Mat::new(to, rows, cols)
}

/// Work with packed windows.
struct OnPacked<'a, W> {
    work: W,
    windows: Windows<'a>,
}

impl<W: OnWindows> WithMicro for OnPacked<'_, W> {
    type Output = ();

    fn run<M: Micro>(self, micro: M) {
        self.work.run(InRegisters(micro), &self.windows);
    }
}

impl<W: OnWindows> WithKernel for OnPacked<'_, W> {
    fn on_tiles<T: TileUnit>(self, unit: T) {
        self.work.run(OnTiles(unit), &self.windows);
    }
}
