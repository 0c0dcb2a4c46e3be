use super::*;
use crate::simd::Simd;

/// Random words from a formula.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    /// A word of one of the kinds: ordinary pairs, ties, the smallest and largest numbers, special ones, any bits.
    fn word(&mut self, kind: usize) -> u32 {
        const SPECIAL: [u32; 10] =
            [0, 0x8000, 0x0001, 0x807F, 0x0080, 0x3F80, 0xBF80, 0x7F7F, 0x7F80, 0x7FC0];
        let any = self.next();
        let mut special = || SPECIAL[self.next() as usize % SPECIAL.len()];
        match kind {
            0 => any & 0x83FF_83FF | 0x3C00_3C00,
            // 1, 2^-12, 2^-24 and their negatives: sums are half of a last place.
            1 => any & 0x8600_8600 | 0x3980_3980,
            2 => any & 0x80FF_80FF | if any & 0x100 == 0 { 0x2000_2000 } else { 0x1F00_1F00 },
            3 => any & 0x80FF_80FF | 0x5F00_5F00,
            4 => special() << 16 | special(),
            _ => any,
        }
    }
}

fn same(one: f32, other: f32) -> bool {
    one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan()
}

/// The products of a unit, run with the vectors of an instruction set.
struct OnIsa<'a, T> {
    unit: T,
    sums: &'a [f32; WORDS],
    operands: &'a [[[u32; WORDS]; 2]],
}

impl<T: TileUnit> Kernel for OnIsa<'_, T> {
    type Output = [f32; WORDS];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [f32; WORDS] {
        products(self.unit, self.sums, self.operands)
    }
}

/// The plain formula of one element: a row of words of A with a column of words of B.
fn element(sum: f32, row: &[u32], column: &[u32]) -> f32 {
    let chain = |half: fn(u32) -> u32| {
        let float = |word: &u32| f32::from_bits(half(*word) << 16);
        let pairs = row.iter().zip(column);
        pairs.fold(0.0, |sum, (a, b)| fused(float(a), float(b), sum))
    };
    let flushed = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
    let of_tile = flushed(chain(|word| word & 0xFFFF) + chain(|word| word >> 16));
    flushed(flushed(sum) + of_tile)
}

/// Holds a unit to the plain formula, element by element: row m of A with column n of B.
fn assert_formula<T: TileUnit>(unit: T, isa: Isa) {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    for round in 0..120 {
        let mut tile = || std::array::from_fn(|_| dice.word(round % 6));
        let (a, b): ([u32; WORDS], [u32; WORDS]) = (tile(), tile());
        let sums = tile().map(f32::from_bits);
        let found = isa.run(OnIsa { unit, sums: &sums, operands: &[[a, b]] });
        for m in 0..SIDE {
            for n in 0..SIDE {
                let column: [u32; SIDE] = std::array::from_fn(|k| b[k * SIDE + n]);
                let at = m * SIDE + n;
                let expected = element(sums[at], &a[m * SIDE..(m + 1) * SIDE], &column);
                let found = found[at];
                assert!(same(found, expected), "{isa}, {round}: {found:e}, not {expected:e}");
            }
        }
    }
}

#[test]
fn the_twin_is_the_formula() {
    for isa in Isa::detected() {
        assert_formula(Twin, isa);
        assert_edge(Twin, isa);
    }
}

/// The smallest normal number, less so much that 24 bits of it would be subnormal, and less half of that, which is
/// rounded back. f32's own rounding would give that number in both.
fn assert_edge<T: TileUnit>(unit: T, isa: Isa) {
    for (other, expected) in [(0x9A00, 0.0), (0x9980, f32::MIN_POSITIVE)] {
        // 2^-126 and 2^-75 along K, times 1 and -2^-75, or -2^-76.
        let (mut a, mut b) = ([0; WORDS], [0; WORDS]);
        for i in 0..SIDE {
            (a[i * SIDE], a[i * SIDE + 1]) = (0x0080, 0x1A00);
            (b[i], b[SIDE + i]) = (0x3F80, other);
        }
        let found = isa.run(OnIsa { unit, sums: &[0.0; WORDS], operands: &[[a, b]] });
        assert_eq!(found, [expected; WORDS], "{isa}, {other:x}");
    }
}

#[test]
fn the_instructions_are_the_formula() {
    match amx() {
        Ok(unit) => {
            assert!(has_the_twins_bits(unit));
            assert_formula(unit, Isa::Avx512);
            assert_edge(unit, Isa::Avx512);
        }
        Err(refusal) => println!("left out, the instructions have not been run: {refusal}"),
    }
}

/// Loads and stores keep to their rows: what lies between them is neither read nor written.
fn assert_strides<T: TileUnit>(unit: T) {
    for stride in [SIDE, SIDE + 1, 40] {
        let from: Vec<u32> = (0..SIDE * stride).map(|i| (1.0 + i as f32).to_bits()).collect();
        let mut to = vec![-1.0_f32; SIDE * stride];
        let mut tiles = unit.configure();
        // SAFETY: both have 16 rows.
        unsafe {
            tiles.load::<7>(from.as_ptr(), stride);
            tiles.zero::<0>();
            tiles.store::<7>(to.as_mut_ptr(), stride);
        }
        for (i, x) in to.iter().enumerate() {
            let expected = if i % stride < SIDE { 1.0 + i as f32 } else { -1.0 };
            assert_eq!(*x, expected, "element {i} of rows {stride} apart");
        }
        // SAFETY: as above.
        unsafe { tiles.store::<0>(to.as_mut_ptr(), stride) };
        assert!(
            to.iter().enumerate().all(|(i, x)| *x == if i % stride < SIDE { 0.0 } else { -1.0 })
        );
    }
}

#[test]
fn tiles_are_loaded_and_stored_by_rows() {
    assert_strides(Twin);
    if let Ok(unit) = amx() {
        assert_strides(unit);
    }
}

/// A unit whose products are a little off.
#[derive(Clone, Copy)]
struct Wrong;

struct WrongTiles(<Twin as TileUnit>::Tiles);

impl TileUnit for Wrong {
    type Tiles = WrongTiles;

    fn configure(self) -> WrongTiles {
        WrongTiles(Twin.configure())
    }
}

impl Tiles for WrongTiles {
    fn zero<const TILE: usize>(&mut self) {
        self.0.zero::<TILE>();
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u32, stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.load::<TILE>(from, stride) };
    }

    /// A and B exchanged.
    fn multiply<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        self.0.multiply::<SUM, B, A>();
    }

    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.store::<TILE>(to, stride) };
    }
}

#[test]
fn a_unit_that_differs_is_found() {
    assert!(has_the_twins_bits(Twin));
    assert!(!has_the_twins_bits(Wrong));
}

#[test]
fn a_rate_is_measured() {
    assert!(rate(Isa::best(), Twin) > 0.0);
}
