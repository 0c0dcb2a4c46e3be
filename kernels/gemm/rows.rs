//! Where the micro-kernel finds the rows of a panel of A. What it costs to find an element decides how fast a tile is
//! on CPUs that issue four instructions and load twice in a cycle: with two vectors of B, a tile of 14 rows takes 28
//! multiply-adds for a step of K, which are 14 cycles, and besides 14 loads of A, two of B and two prefetches. With
//! 14 loads of pointers it reached 62 % of the FMA peak, with a pointer for each pair of rows 80, and with contiguous
//! rows 84 (256^3, Xeon of family 6, model 85). A Zen 4 and a Xeon of model 207 reached 97 to 99 % with 14 pointers.

use super::tile::{MAX_MR, StripInput};
use crate::simd::Simd;

/// How far the rows of a panel are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowSpacing {
    /// Row `i` is one element behind row `i - 1`.
    Contiguous,
    /// In pairs, in each of which the second row is as far behind the first.
    InPairs,
    /// Anywhere.
    Scattered,
}

impl RowSpacing {
    /// Of the first `height` rows, for tiles of at most `mr`.
    #[inline(always)]
    pub(crate) fn of(input: &StripInput, height: usize, mr: usize) -> Self {
        if input.rows_are_contiguous {
            return Self::Contiguous;
        }
        if !Pairs::gain(mr) {
            return Self::Scattered;
        }
        let rows = &input.rows[..height];
        let (pairs, rest) = rows.as_chunks::<2>();
        let distance = |[first, second]: [*const f32; 2]| second.addr().wrapping_sub(first.addr());
        let mut differ = 0;
        for &pair in pairs {
            differ |= distance(pair) ^ distance(pairs[0]);
        }
        if rest.is_empty() && differ == 0 { Self::InPairs } else { Self::Scattered }
    }
}

/// The rows of a panel that are spaced in one way.
pub(crate) trait Rows: Copy {
    /// What is computed once for each step of K.
    type Step: Copy;

    /// The first `height` rows. In a higher tile, those beyond are any rows of the panel.
    fn new(input: &StripInput, height: usize) -> Self;

    /// The step that is so many elements behind where rows begin.
    fn step(self, elements: usize) -> Self::Step;

    /// The same step for rows that are to be read after a sum of such a half of a pair is computed (see
    /// [`Simd::after`]). Without it the compiler loads many rows at once where each has a pointer of its own, and
    /// keeps sums on the stack in the meantime.
    #[inline(always)]
    fn after<S: Simd>(self, simd: S, step: Self::Step, half: usize, sum: S::V) -> Self::Step {
        let _ = (simd, half, sum);
        step
    }

    /// The element of the first (0) or second (1) row of a pair.
    fn at(self, input: &StripInput, pair: usize, half: usize, step: Self::Step) -> *const f32;
}

/// Rows that lie one element behind the other.
#[derive(Clone, Copy)]
pub(crate) struct Contiguous(*const f32);

impl Rows for Contiguous {
    type Step = *const f32;

    #[inline(always)]
    fn new(input: &StripInput, _: usize) -> Self {
        Self(input.rows[0])
    }

    #[inline(always)]
    fn step(self, elements: usize) -> *const f32 {
        self.0.wrapping_add(elements)
    }

    #[inline(always)]
    fn at(self, _: &StripInput, pair: usize, half: usize, step: *const f32) -> *const f32 {
        step.wrapping_add(2 * pair + half)
    }
}

/// Rows in pairs, by a pointer to the first of each: seven stay in registers, where fourteen would not.
#[derive(Clone, Copy)]
pub(crate) struct Pairs {
    firsts: [*const f32; MAX_MR / 2],
    /// Elements from the first row of a pair to the second.
    distance: usize,
}

impl Pairs {
    /// Whether tiles of so many rows gain by them: pointers of six rows stay in registers anyway.
    pub(crate) const fn gain(mr: usize) -> bool {
        mr > 6
    }
}

impl Rows for Pairs {
    /// How far the rows' elements are from the firsts.
    type Step = [usize; 2];

    #[inline(always)]
    fn new(input: &StripInput, height: usize) -> Self {
        let bytes = input.rows[1].addr().wrapping_sub(input.rows[0].addr()).cast_signed();
        // Behind the panel the second row of a pair could lie outside of A, so its last pair is repeated.
        let last = height / 2 - 1;
        let firsts = std::array::from_fn(|pair| input.rows[2 * pair.min(last)]);
        Self { firsts, distance: (bytes / size_of::<f32>() as isize).cast_unsigned() }
    }

    #[inline(always)]
    fn step(self, elements: usize) -> [usize; 2] {
        [elements, elements.wrapping_add(self.distance)]
    }

    #[inline(always)]
    fn after<S: Simd>(self, simd: S, mut step: [usize; 2], half: usize, sum: S::V) -> [usize; 2] {
        step[half] = simd.after(sum, step[half]);
        step
    }

    #[inline(always)]
    fn at(self, _: &StripInput, pair: usize, half: usize, step: [usize; 2]) -> *const f32 {
        self.firsts[pair].wrapping_add(step[half])
    }
}

/// Rows anywhere, by a pointer each.
#[derive(Clone, Copy)]
pub(crate) struct Scattered;

impl Rows for Scattered {
    type Step = usize;

    #[inline(always)]
    fn new(_: &StripInput, _: usize) -> Self {
        Self
    }

    #[inline(always)]
    fn step(self, elements: usize) -> usize {
        elements
    }

    #[inline(always)]
    fn after<S: Simd>(self, simd: S, step: usize, _: usize, sum: S::V) -> usize {
        simd.after(sum, step)
    }

    #[inline(always)]
    fn at(self, input: &StripInput, pair: usize, half: usize, step: usize) -> *const f32 {
        input.rows[2 * pair + half].wrapping_add(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets at which the first rows are read in step 5, of rows that begin at these offsets.
    fn read<R: Rows>(rows: &StripInput, height: usize, count: usize) -> Vec<isize> {
        let spaced = R::new(rows, height);
        let step = spaced.step(5);
        let offset = |i: usize| {
            let bytes = spaced.at(rows, i / 2, i % 2, step).addr().wrapping_sub(BASE);
            bytes.cast_signed() / size_of::<f32>() as isize - 5
        };
        (0..count).map(offset).collect()
    }

    const BASE: usize = 1 << 20;

    fn input(offsets: &[isize], rows_are_contiguous: bool) -> StripInput<'static> {
        let rows = std::array::from_fn(|i| {
            std::ptr::without_provenance(
                BASE.wrapping_add_signed(4 * offsets[i.min(offsets.len() - 1)]),
            )
        });
        StripInput { rows, steps: &[], rows_are_contiguous, b: std::ptr::null(), b_rs: 0 }
    }

    #[test]
    fn every_row_is_read_where_it_lies() {
        // Rows of a matrix, upward and downward; the pixels of two lines of an image; of a window of four.
        let in_pairs: [&[isize]; 4] = [
            &[0, 784, 1568, 2352, 3136, 3920],
            &[0, -9, -18, -27],
            &[0, 32, 64, 96, 512, 544, 576, 608],
            &[0, 3, 90, 93, 6, 9, 96, 99, 12, 15, 102, 105, 18, 21],
        ];
        for offsets in in_pairs {
            let rows = input(offsets, false);
            let n = offsets.len();
            assert_eq!(RowSpacing::of(&rows, n, MAX_MR), RowSpacing::InPairs);
            assert_eq!(RowSpacing::of(&rows, n, 6), RowSpacing::Scattered);
            assert_eq!(read::<Pairs>(&rows, n, n), offsets);
            // Beyond the panel its last pair is read again, and nothing that is not in it.
            assert!(read::<Pairs>(&rows, n, MAX_MR).iter().all(|offset| offsets.contains(offset)));
            assert_eq!(read::<Scattered>(&rows, n, n), offsets);
        }
        let scattered: [&[isize]; 4] =
            [&[0, 32, 64, 96, 128], &[0, 32, 64, 512, 128, 160], &[0], &[7, 7, 8, 9]];
        for offsets in scattered {
            let rows = input(offsets, false);
            assert_eq!(RowSpacing::of(&rows, offsets.len(), MAX_MR), RowSpacing::Scattered);
            assert_eq!(read::<Scattered>(&rows, offsets.len(), offsets.len()), offsets);
        }
        let rows = input(&[4], true);
        assert_eq!(RowSpacing::of(&rows, 3, MAX_MR), RowSpacing::Contiguous);
        assert_eq!(read::<Contiguous>(&rows, 3, 3), [4, 5, 6]);
    }
}
