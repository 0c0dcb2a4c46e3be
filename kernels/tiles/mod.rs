//! Products of tiles: the unit beside the vectors that multiplies whole matrices of 16 x 32 and 32 x 16 bf16
//! numbers (Intel's AMX), as a trait. It is implemented by the instructions and by a twin in plain Rust, which has the
//! same bits on every CPU. What walks over tiles knows the trait alone, so it is tested where there is no such unit.
//!
//! A tile is 16 rows of 64 bytes. As an operand it has rows of sixteen words, each a pair of bf16 numbers that follow
//! each other along K: a tile of A is 16 rows by 16 pairs, one of B 16 pairs by 16 columns. As a sum it has 16 x 16
//! floats.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod twin;

use crate::Isa;
use crate::simd::{Kernel, Simd};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx::Amx;
use std::fmt;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) use twin::Twin as Amx;
pub(crate) use twin::{Twin, fused};

/// Rows of a tile, and words or floats in a row.
pub(crate) const SIDE: usize = 16;

/// Words of a tile.
pub(crate) const WORDS: usize = SIDE * SIDE;

/// Elements of K that a product of two tiles sums over.
pub(crate) const DEPTH: usize = 2 * SIDE;

/// A unit that multiplies tiles.
pub(crate) trait TileUnit: Copy + Send + Sync {
    /// The tiles of a thread.
    type Tiles: Tiles;

    /// Makes tiles ready on the calling thread, until they are dropped. A thread has one set at a time, and keeps none
    /// while it waits: the system would save 8 KB whenever another program has the core.
    fn configure(self) -> Self::Tiles;
}

/// Eight tiles, numbered from 0. What is in them is unknown until they are loaded or made zero.
pub(crate) trait Tiles {
    /// Makes a tile zero.
    fn zero<const TILE: usize>(&mut self);

    /// Loads a tile, whose rows begin `stride` words apart.
    ///
    /// # Safety
    /// Its 16 rows of 16 words are readable.
    unsafe fn load<const TILE: usize>(&mut self, from: *const u32, stride: usize);

    /// Adds the product of two tiles of pairs to a tile of sums, in the order and with the rounding of [`Twin`].
    fn multiply<const SUM: usize, const A: usize, const B: usize>(&mut self);

    /// Stores a tile, whose rows begin `stride` floats apart.
    ///
    /// # Safety
    /// Its 16 rows of 16 floats are writable.
    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize);
}

/// Why this CPU's tiles are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "elsewhere there are no tiles")
)]
pub(crate) enum Refusal {
    /// It has none.
    Missing,
    /// The operating system does not save them.
    NotSaved,
    /// The operating system does not let this process use them; its error number.
    NotPermitted(isize),
    /// They are of another size than those of Sapphire Rapids.
    OtherSize,
    /// Their products differ from the twin's.
    Differ,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the CPU has no AMX-BF16"),
            Self::NotSaved => f.write_str("the operating system does not save AMX's registers"),
            Self::NotPermitted(error) => {
                write!(f, "the operating system refuses AMX to this process: error {error}")
            }
            Self::OtherSize => f.write_str("AMX's tiles are not eight of 16 rows of 64 bytes"),
            Self::Differ => f.write_str("AMX's products differ from those of the manual"),
        }
    }
}

/// This CPU's unit, which is detected, asked for and tried once in a process.
///
/// # Errors
/// If it is not to be used.
pub(crate) fn amx() -> Result<Amx, Refusal> {
    static UNIT: OnceLock<Result<Amx, Refusal>> = OnceLock::new();
    *UNIT.get_or_init(|| {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            let amx = Amx::detect()?;
            if has_the_twins_bits(amx) { Ok(amx) } else { Err(Refusal::Differ) }
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        Err(Refusal::Missing)
    })
}

/// The sums of a tile, after products of so many pairs of tiles were added to the sums it begins with.
fn products<T: TileUnit>(
    unit: T,
    sums: &[f32; WORDS],
    operands: &[[[u32; WORDS]; 2]],
) -> [f32; WORDS] {
    let mut tiles = unit.configure();
    let mut result = [0.0; WORDS];
    // SAFETY: each array is a tile, row by row.
    unsafe {
        tiles.load::<1>(sums.as_ptr().cast(), SIDE);
        for [a, b] in operands {
            tiles.load::<2>(a.as_ptr(), SIDE);
            tiles.load::<3>(b.as_ptr(), SIDE);
            tiles.multiply::<1, 2, 3>();
        }
        tiles.store::<1>(result.as_mut_ptr(), SIDE);
    }
    result
}

/// Tries a unit: random numbers of ordinary size, of any size, and of any bits.
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "elsewhere there is no unit to be tried, but in tests")
)]
fn has_the_twins_bits<T: TileUnit>(unit: T) -> bool {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    (0..24).all(|round| {
        let mut word = || match round % 3 {
            0 => next() & 0x83FF_83FF | 0x3C00_3C00,
            1 => next() & 0xBFFF_BFFF,
            _ => next(),
        };
        let sums = std::array::from_fn(|_| f32::from_bits(word()));
        let mut tile = || std::array::from_fn(|_| word());
        let operands: [[[u32; WORDS]; 2]; 2] = std::array::from_fn(|_| [tile(), tile()]);
        let (found, twin) = (products(unit, &sums, &operands), products(Twin, &sums, &operands));
        found.iter().zip(&twin).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
    })
}

/// Products on tiles alone, four sums of two tiles of A and two of B, as the strips of a product are.
pub(crate) struct Squares<T> {
    pub(crate) unit: T,
    pub(crate) rounds: usize,
}

impl<T> Squares<T> {
    /// The multiply-adds of a round.
    pub(crate) const OF_ROUND: usize = 4 * SIDE * SIDE * DEPTH;
}

impl<T: TileUnit> Kernel for Squares<T> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f32 {
        // 1.5 and 0, and 2^-10 and 0: no sum overflows.
        let (a, b) = ([black_box(0x3FC0_0000_u32); WORDS], [black_box(0x3A80_0000_u32); WORDS]);
        let mut sums = [0.0; WORDS];
        let mut tiles = self.unit.configure();
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        // SAFETY: each array is a tile, row by row.
        unsafe {
            tiles.load::<4>(a.as_ptr(), SIDE);
            tiles.load::<5>(a.as_ptr(), SIDE);
            tiles.load::<6>(b.as_ptr(), SIDE);
            tiles.load::<7>(b.as_ptr(), SIDE);
        }
        for _ in 0..self.rounds {
            tiles.multiply::<0, 4, 6>();
            tiles.multiply::<1, 4, 7>();
            tiles.multiply::<2, 5, 6>();
            tiles.multiply::<3, 5, 7>();
        }
        // SAFETY: the array is a tile.
        unsafe { tiles.store::<3>(sums.as_mut_ptr(), SIDE) };
        black_box(sums)[0]
    }
}

/// Multiply-adds that a thread does in a second at best: the best of five short runs.
pub(crate) fn rate<T: TileUnit>(isa: Isa, unit: T) -> f64 {
    const ROUNDS: usize = 500;
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        black_box(isa.run(Squares { unit, rounds: ROUNDS }));
        start.elapsed().as_secs_f64()
    });
    (ROUNDS * Squares::<T>::OF_ROUND) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests;
