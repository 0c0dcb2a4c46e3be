//! How the micro-kernel multiplies: what stands between the loops of a product, which know blocks and
//! panels, and a tile in registers. [`Simd`] stays f32. An operand is packed into words of 32 bits, each a float
//! or a pair of bf16 numbers; loops, tiles, stores and epilogues are the same for both.

#[cfg(target_arch = "x86_64")]
pub(crate) use crate::isa::Avx512Bf16;
use crate::isa::Isa;
use crate::simd::{Kernel, Simd};
use crate::tiles::TileUnit;
use std::hint::black_box;
use std::time::Instant;

/// A way of multiplying words of A with words of B and adding the products to sums in f32.
///
/// A tile has the rows and columns that the registers of the instruction set hold, whatever the words are
/// (`gemm::tile::TileShape`). How operands are packed follows from [`Micro::UNIT`] alone (`gemm::words`).
pub(crate) trait Micro: Copy + Send + Sync {
    /// Elements of K in a word: 1, a float, or 2, a pair of bf16 numbers, the first of which is the high half.
    const UNIT: usize;

    /// `sum + a b`, added up element by element of K, the first first.
    fn multiply_add<S: Simd>(self, simd: S, a: S::V, b: S::V, sum: S::V) -> S::V;

    /// Runs a kernel that uses it as a function of its own: see [`Simd::call`].
    fn call<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> K::Output;
}

/// Floats, by the multiply-adds of the instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Floats;

impl Micro for Floats {
    const UNIT: usize = 1;

    #[inline(always)]
    fn multiply_add<S: Simd>(self, simd: S, a: S::V, b: S::V, sum: S::V) -> S::V {
        simd.mul_add(a, b, sum)
    }

    #[inline(always)]
    fn call<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> K::Output {
        simd.call(kernel)
    }
}

#[cfg(target_arch = "x86_64")]
impl Micro for Avx512Bf16 {
    const UNIT: usize = 2;

    #[inline(always)]
    fn multiply_add<S: Simd>(self, simd: S, a: S::V, b: S::V, sum: S::V) -> S::V {
        self.dot_pairs(simd, a, b, sum)
    }

    #[inline(always)]
    fn call<S: Simd, K: Kernel>(self, simd: S, kernel: K) -> K::Output {
        Avx512Bf16::call(self, simd, kernel)
    }
}

/// Work for whatever way of multiplying is chosen.
pub(crate) trait WithMicro {
    /// What it returns.
    type Output;

    /// Does it.
    fn run<M: Micro>(self, micro: M) -> Self::Output;
}

/// The same, and besides for a unit that multiplies tiles.
pub(crate) trait WithKernel: WithMicro {
    /// Does it.
    fn on_tiles<T: TileUnit>(self, unit: T) -> Self::Output;
}

/// Multiply-adds on registers alone, in chains that are independent and fill the registers, as the sums of the
/// highest tile do: more than the latency needs.
pub(crate) struct Chains<M> {
    pub(crate) micro: M,
    pub(crate) rounds: usize,
}

/// The number of chains.
pub(crate) const fn chains<S: Simd>() -> usize {
    if S::TUNING.mr() >= 14 { 28 } else { 12 }
}

impl<M: Micro> Kernel for Chains<M> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        if const { chains::<S>() == 28 } {
            self.micro.call(simd, ChainsOf::<M, 28>(self))
        } else {
            self.micro.call(simd, ChainsOf::<M, 12>(self))
        }
    }
}

struct ChainsOf<M, const N: usize>(Chains<M>);

impl<M: Micro, const N: usize> Kernel for ChainsOf<M, N> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Chains { micro, rounds } = self.0;
        // Operands that the compiler cannot see through. As pairs too they are numbers, and no sum overflows:
        // 1.5 is the pair of 1.5 and 0.
        let (a, b) = (simd.splat(black_box(1.5)), simd.splat(black_box(1e-3)));
        let mut sums = [simd.splat(0.0); N];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = simd.splat(i as f32);
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = micro.multiply_add(simd, a, b, *sum);
            }
        }
        let mut total = simd.splat(0.0);
        for sum in sums {
            total = simd.add(total, sum);
        }
        simd.reduce_add(total)
    }
}

/// The multiply-adds of a round of [`Chains`]: of vectors, and of floats.
pub(crate) struct OfRound;

impl Kernel for OfRound {
    type Output = (usize, usize);

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (chains::<S>(), chains::<S>() * S::LANES)
    }
}

/// Elements of K that a thread multiplies and adds in a second at best, in each lane of a vector: the best of
/// five short runs, because other programs only add time.
pub(crate) fn rate<M: Micro>(isa: Isa, micro: M) -> f64 {
    const ROUNDS: usize = 5_000;
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        black_box(isa.run(Chains { micro, rounds: ROUNDS }));
        start.elapsed().as_secs_f64()
    });
    (M::UNIT * ROUNDS) as f64 / seconds.fold(f64::INFINITY, f64::min)
}
