//! The matrix of im2col as a view: address arithmetic instead of memory.

use crate::Geometry;
use crate::Mat;
use crate::gemm::pack::{ColsOfB, Left, PanelLayout, ROW_STRIDE, Right, RowsOfA, copy_run};
use crate::simd::Simd;

/// A row for each position of the window, a column for each element under it, in the order
/// kernel row, kernel column, channel. In NHWC one kernel row is one contiguous run of memory.
pub(crate) struct Im2col<'a> {
    x: &'a [f32],
    batch: usize,
    in_h: usize,
    in_w: usize,
    channels: usize,
    kernel_h: usize,
    kernel_w: usize,
    out_h: usize,
    out_w: usize,
    stride: usize,
    pad_top: usize,
    pad_left: usize,
    /// Pixels of `x` stand this far apart, zeros between them: 1 but for the transposed convolution
    /// of a strided one.
    spread: usize,
}

impl<'a> Im2col<'a> {
    /// The windows of a convolution over its input.
    pub(crate) fn of_input(g: &Geometry, x: &'a [f32]) -> Self {
        Self {
            x,
            batch: x.len() / g.in_len(),
            in_h: g.in_h,
            in_w: g.in_w,
            channels: g.channels,
            kernel_h: g.kernel_h,
            kernel_w: g.kernel_w,
            out_h: g.out_h,
            out_w: g.out_w,
            stride: g.stride,
            pad_top: g.pad_top,
            pad_left: g.pad_left,
            spread: 1,
        }
    }

    /// The windows of the transposed convolution over the gradient of the output: one for each
    /// input pixel, over the outputs that it took part in.
    pub(crate) fn of_output_gradient(g: &Geometry, filters: usize, dz: &'a [f32]) -> Self {
        Self {
            x: dz,
            batch: dz.len() / (g.out_pixels() * filters).max(1),
            in_h: g.out_h,
            in_w: g.out_w,
            channels: filters,
            kernel_h: g.kernel_h,
            kernel_w: g.kernel_w,
            out_h: g.in_h,
            out_w: g.in_w,
            stride: 1,
            pad_top: g.kernel_h - 1 - g.pad_top,
            pad_left: g.kernel_w - 1 - g.pad_left,
            spread: g.stride,
        }
    }

    fn window_len(&self) -> usize {
        self.kernel_h * self.kernel_w * self.channels
    }

    fn positions(&self) -> usize {
        self.batch * self.out_h * self.out_w
    }

    /// Writes elements `k..k + len` under the window of `pixels` positions from `first` on: those
    /// of one position contiguous, `stride` apart from those of the next.
    ///
    /// The elements of one kernel row are one run of memory for every position, so the loops go
    /// kernel row by kernel row, output line by output line: what depends on those is worked out
    /// once.
    #[inline(always)]
    fn gather(
        &self,
        first: usize,
        pixels: usize,
        (k, len): (usize, usize),
        stride: usize,
        out: &mut [f32],
    ) {
        let image_len = self.in_h * self.in_w * self.channels;
        let line_len = self.in_w * self.channels;
        let run_len = self.kernel_w * self.channels;
        let mut done = 0;
        while done < len {
            let (kernel_row, offset) = ((k + done) / run_len, (k + done) % run_len);
            let take = (run_len - offset).min(len - done);
            let (mut out_line, mut out_col) = (first / self.out_w, first % self.out_w);
            let mut pixel = 0;
            while pixel < pixels {
                let cols = (self.out_w - out_col).min(pixels - pixel);
                let (image, out_row) = (out_line / self.out_h, out_line % self.out_h);
                let y = (out_row * self.stride + kernel_row).wrapping_sub(self.pad_top);
                let line = spread_index(y, self.spread, self.in_h)
                    .map(|row| &self.x[image * image_len + row * line_len..][..line_len]);
                for col in 0..cols {
                    let target = &mut out[(pixel + col) * stride + done..][..take];
                    match line {
                        None => target.fill(0.0),
                        Some(line) if self.spread == 1 => {
                            let start = (out_col + col) * self.stride * self.channels + offset;
                            copy_padded(target, line, start, self.pad_left * self.channels);
                        }
                        Some(line) => self.gather_spread(out_col + col, line, offset, target),
                    }
                }
                (out_line, out_col, pixel) = (out_line + 1, 0, pixel + cols);
            }
            done += take;
        }
    }

    /// Part of one kernel row, from `offset` on, over a line whose pixels are spread out.
    fn gather_spread(&self, out_col: usize, line: &[f32], offset: usize, out: &mut [f32]) {
        let (mut kernel_col, mut channel) = (offset / self.channels, offset % self.channels);
        let mut rest = out;
        while !rest.is_empty() {
            let (target, after) = rest.split_at_mut((self.channels - channel).min(rest.len()));
            let x = (out_col * self.stride + kernel_col).wrapping_sub(self.pad_left);
            match spread_index(x, self.spread, self.in_w) {
                Some(col) => {
                    let from = col * self.channels + channel;
                    target.copy_from_slice(&line[from..from + target.len()]);
                }
                None => target.fill(0.0),
            }
            (kernel_col, channel, rest) = (kernel_col + 1, 0, after);
        }
    }
}

/// The index below `len` of what stands at coordinate `at` when elements stand `spread` apart;
/// `None` in the padding (where `at` has wrapped around, if it lies before the first) or between
/// elements.
#[inline(always)]
fn spread_index(at: usize, spread: usize, len: usize) -> Option<usize> {
    if spread == 1 {
        return (at < len).then_some(at);
    }
    (at.is_multiple_of(spread) && at / spread < len).then_some(at / spread)
}

/// Fills `out` with `line[start - pad ..]`, and zeros where that is outside.
#[inline(always)]
fn copy_padded(out: &mut [f32], line: &[f32], start: usize, pad: usize) {
    if start >= pad && start - pad + out.len() <= line.len() {
        return copy_run(out, &line[start - pad..][..out.len()]);
    }
    let before = pad.saturating_sub(start).min(out.len());
    let first = (start + before).saturating_sub(pad).min(line.len());
    let inside = (out.len() - before).min(line.len() - first);
    out[..before].fill(0.0);
    out[before..before + inside].copy_from_slice(&line[first..first + inside]);
    out[before + inside..].fill(0.0);
}

impl Left for Im2col<'_> {
    fn rows(&self) -> usize {
        self.positions()
    }

    fn depth(&self) -> usize {
        self.window_len()
    }

    fn layout(&self) -> PanelLayout {
        PanelLayout::ByRow
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, part: RowsOfA, panel: &mut [f32]) {
        let RowsOfA { row, rows, k, depth, .. } = part;
        self.gather(row, rows, (k, depth), ROW_STRIDE, panel);
    }
}

/// The transpose of im2col's matrix: what the gradient of the weights multiplies with `dz`.
pub(crate) struct Transposed<'a>(pub(crate) Im2col<'a>);

impl Left for Transposed<'_> {
    fn rows(&self) -> usize {
        self.0.window_len()
    }

    fn depth(&self) -> usize {
        self.0.positions()
    }

    fn layout(&self) -> PanelLayout {
        PanelLayout::ByDepth
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, part: RowsOfA, panel: &mut [f32]) {
        let RowsOfA { row, rows, panel_rows, k, depth } = part;
        self.0.gather(k, depth, (row, rows), panel_rows, panel);
    }
}

/// The weights as the transposed convolution needs them: taps in reverse, filters down, channels
/// across.
pub(crate) struct TurnedWeights<'a> {
    w: &'a [f32],
    taps: usize,
    channels: usize,
    filters: usize,
}

impl<'a> TurnedWeights<'a> {
    pub(crate) fn new(g: &Geometry, filters: usize, w: &'a [f32]) -> Self {
        Self { w, taps: g.kernel_h * g.kernel_w, channels: g.channels, filters }
    }
}

impl Right for TurnedWeights<'_> {
    fn depth(&self) -> usize {
        self.taps * self.filters
    }

    fn cols(&self) -> usize {
        self.channels
    }

    fn in_place(&self) -> Option<Mat<'_>> {
        None
    }

    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, part: ColsOfB, panel: &mut [f32]) {
        let ColsOfB { k, depth, col, panel_cols: nr } = part;
        let cols = nr.min(self.channels - col);
        let mut lines = panel.chunks_exact_mut(nr).take(depth);
        let (mut tap, mut filter) = (k / self.filters, k % self.filters);
        for line in &mut lines {
            let from = ((self.taps - 1 - tap) * self.channels + col) * self.filters + filter;
            for (j, value) in line[..cols].iter_mut().enumerate() {
                *value = self.w[from + j * self.filters];
            }
            line[cols..].fill(0.0);
            filter += 1;
            if filter == self.filters {
                (tap, filter) = (tap + 1, 0);
            }
        }
    }
}
