//! The precisions that products are computed in, and by which instructions. Optimizers, losses and
//! normalisation are f32 in all of them.

#[cfg(target_arch = "x86_64")]
use crate::micro::Avx512Bf16;
use crate::micro::{Floats, OfRound, WithKernel, WithMicro, rate};
use crate::tiles::{self, Refusal, TileUnit, Twin, amx};
use crate::{Error, Isa};
use std::fmt;
use std::sync::OnceLock;

/// What the operands of a product are rounded to, or split into. Sums, and all that becomes of them, are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Operands as they are.
    #[default]
    F32,
    /// Each operand as the sum of three bf16 numbers, and the six largest of the nine products: as accurate as
    /// f32, on units that multiply bf16 more than six times as fast.
    F32Split,
    /// Operands rounded to bf16 (to nearest, ties to even).
    Bf16,
}

/// Rows and columns up to which a product stays f32 in every precision: it would be packed for as long as it
/// is multiplied, and the narrowest products are dot products (`gemm::dot`).
const FLOAT_SIDE: usize = 16;

/// Elements of K up to which a product stays f32: sums of fewer are mostly stored.
const FLOAT_DEPTH: usize = 15;

/// Elements of K that are summed in one block, at most, where operands are split: the six products of each
/// are 252 of the 256 steps of a block. A product that would be one block stays f32. So sums of split products
/// are in more and shorter blocks than those of f32, and the products left out are paid for by that.
const SPLIT_DEPTH: usize = 42;

/// Elements under a window up to which a convolution may be split: more blocks would be too many for f32's
/// accuracy.
const SPLIT_WINDOW: usize = 8_192;

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::F32Split, Self::Bf16];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F32Split => "f32-split",
            Self::Bf16 => "bf16",
        }
    }

    /// The precision of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|precision| precision.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::UnknownPrecision { name: name.to_owned(), known }
        })
    }

    /// What a product of `m x k` and `k x n` is computed in where this precision is asked for: this, or f32
    /// where packing the operands would cost as much as is gained. By the shape alone, so that it is the same
    /// on every machine.
    #[must_use]
    pub fn of_product(self, m: usize, n: usize, k: usize) -> Self {
        let least = match self {
            Self::F32 => return self,
            Self::F32Split => SPLIT_DEPTH,
            Self::Bf16 => FLOAT_DEPTH,
        };
        if m > FLOAT_SIDE && n > FLOAT_SIDE && k > least { self } else { Self::F32 }
    }

    /// The same for windows of `taps` pixels of so many channels, and so many filters. Pairs are of channels: one
    /// alone would be half zeros, and has kernels of its own in f32.
    #[must_use]
    pub(crate) fn of_convolution(self, taps: usize, channels: usize, filters: usize) -> Self {
        let k = taps * channels;
        if channels == 1 || (self == Self::F32Split && k > SPLIT_WINDOW) {
            return Self::F32;
        }
        // The windows are many.
        self.of_product(usize::MAX, filters, k)
    }

    /// The same for the gradient of such a convolution's weights by so many windows.
    #[must_use]
    pub(crate) fn of_weights(
        self,
        taps: usize,
        channels: usize,
        filters: usize,
        windows: usize,
    ) -> Self {
        if channels == 1 { Self::F32 } else { self.of_product(taps * channels, filters, windows) }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By which instructions products of bf16 numbers are computed. Those on vectors add the products one by one, in the
/// order of K, so they give the same bits unless a partial sum is subnormal. Those on tiles have another order, and
/// bits of their own: see "the numeric contract".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bf16Kernel {
    /// `tdpbf16ps` of AMX, beside the set AVX-512: tiles of 16 x 32 by 32 x 16.
    Amx,
    /// `vdpbf16ps` of AVX512-BF16, beside the set AVX-512: two products in each lane.
    Avx512Bf16,
    /// The multiply-adds of the instruction set, on floats that are rounded to bf16.
    MulAdd,
    /// The arithmetic of [`Self::Amx`] in plain Rust, with its bits, on every CPU. It is slow: for tests, and to see
    /// again what a CPU with AMX computed. Nothing but its name chooses it.
    AmxTwin,
}

impl Bf16Kernel {
    /// Every kernel that is there for its speed.
    pub const ALL: [Self; 3] = [Self::Amx, Self::Avx512Bf16, Self::MulAdd];

    /// The environment variable that forces one.
    pub const ENV: &'static str = "THREADCOUNT_BF16";

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx-bf16",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::MulAdd => "mul-add",
            Self::AmxTwin => "amx-twin",
        }
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter().chain([Self::AmxTwin]);
        all.clone().find(|kernel| kernel.name() == name).ok_or_else(|| {
            let known = all.by_ref().map(Self::name).collect::<Vec<_>>().join(", ");
            Error::UnknownBf16Kernel { name: name.to_owned(), known }
        })
    }

    /// Whether its products have the bits of those of another kernel beside the same instruction set.
    pub fn has_bits_of(self, other: Self) -> bool {
        self.is_on_tiles() == other.is_on_tiles()
    }

    /// Whether it multiplies tiles (`crate::tiles`), not vectors.
    pub fn is_on_tiles(self) -> bool {
        matches!(self, Self::Amx | Self::AmxTwin)
    }

    /// Why AMX is not used on this CPU, though it has the instructions.
    pub fn refusal_of_amx() -> Option<String> {
        amx()
            .err()
            .filter(|refusal| *refusal != Refusal::Missing)
            .map(|refusal| refusal.to_string())
    }

    /// Elements of K in a word of a packed operand (`micro::Micro::UNIT`).
    pub(crate) fn unit(self) -> usize {
        match self {
            Self::Amx | Self::AmxTwin | Self::Avx512Bf16 => 2,
            Self::MulAdd => 1,
        }
    }

    /// Whether it runs beside that instruction set on this CPU.
    pub fn is_detected(self, isa: Isa) -> bool {
        match self {
            Self::Amx => isa == Isa::Avx512 && amx().is_ok(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => isa == Isa::Avx512 && Avx512Bf16::new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 => false,
            Self::MulAdd | Self::AmxTwin => true,
        }
    }

    /// Those of [`Self::ALL`] that run beside that instruction set on this CPU.
    pub fn detected(isa: Isa) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kernel| kernel.is_detected(isa))
    }

    /// The fastest beside that instruction set, measured once in a process: there are CPUs whose dot products
    /// of pairs are slower than two multiply-adds.
    pub fn fastest(isa: Isa) -> Self {
        Self::fastest_of(isa, |_| true).unwrap_or(Self::MulAdd)
    }

    /// The fastest of those that are meant.
    fn fastest_of(isa: Isa, is_meant: impl Fn(Self) -> bool) -> Option<Self> {
        static OF_AVX512: OnceLock<Vec<(Bf16Kernel, f64)>> = OnceLock::new();
        let meant = || Self::detected(isa).filter(|kernel| is_meant(*kernel));
        if meant().count() < 2 {
            return meant().next();
        }
        // No other instruction set has two.
        let rates = OF_AVX512.get_or_init(|| {
            Self::detected(isa).map(|kernel| (kernel, kernel.run(Rate(isa)))).collect()
        });
        let rates = rates.iter().filter(|(kernel, _)| is_meant(*kernel));
        rates.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(kernel, _)| *kernel)
    }

    /// The one that `THREADCOUNT_BF16` forces, or else the fastest.
    ///
    /// # Errors
    /// If the variable names none, or one that does not run beside that instruction set on this CPU.
    pub fn active(isa: Isa) -> Result<Self, Error> {
        Ok(Self::forced(isa)?.unwrap_or_else(|| Self::fastest(isa)))
    }

    /// The one that `THREADCOUNT_BF16` forces.
    fn forced(isa: Isa) -> Result<Option<Self>, Error> {
        let Some(name) = std::env::var(Self::ENV).ok().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let forced =
            Self::detected(isa).chain([Self::AmxTwin]).find(|kernel| kernel.name() == name);
        forced.map(Some).ok_or_else(|| {
            let detected = Self::detected(isa).map(Self::name).collect::<Vec<_>>().join(", ");
            Error::MissingBf16Kernel { name, isa: isa.name(), detected }
        })
    }

    /// Does work with it.
    ///
    /// # Panics
    /// If this CPU lacks it.
    pub(crate) fn run<W: WithKernel>(self, work: W) -> W::Output {
        match self {
            Self::Amx => work.on_tiles(amx().expect("a CPU with AMX, which was detected")),
            Self::AmxTwin => work.on_tiles(Twin),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                work.run(Avx512Bf16::new().expect("a CPU with AVX512-BF16, which was detected"))
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 => panic!("this CPU lacks AVX512-BF16"),
            Self::MulAdd => work.run(Floats),
        }
    }
}

impl fmt::Display for Bf16Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How fast it multiplies.
struct Rate(Isa);

impl WithMicro for Rate {
    type Output = f64;

    fn run<M: crate::micro::Micro>(self, micro: M) -> f64 {
        rate(self.0, micro)
    }
}

impl WithKernel for Rate {
    fn on_tiles<T: TileUnit>(self, unit: T) -> f64 {
        // In all lanes of all the sums that registers have.
        let (_, lanes) = self.0.run(OfRound);
        tiles::rate(self.0, unit) / lanes as f64
    }
}

/// What a team computes products with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// What their operands become.
    pub precision: Precision,
    /// How bf16 numbers are multiplied.
    pub kernel: Bf16Kernel,
}

impl Arithmetic {
    /// f32.
    pub const F32: Self = Self { precision: Precision::F32, kernel: Bf16Kernel::MulAdd };

    /// That precision, by the kernel that is forced or the fastest.
    ///
    /// # Errors
    /// As [`Bf16Kernel::active`].
    pub fn of(isa: Isa, precision: Precision) -> Result<Self, Error> {
        if precision == Precision::F32 {
            return Ok(Self::F32);
        }
        Ok(Self { precision, kernel: Bf16Kernel::active(isa)? })
    }

    /// That precision with the bits of a kernel: by the one that is forced, or the fastest that has them. The twin of
    /// tiles is taken only if it is that kernel itself, or forced.
    ///
    /// # Errors
    /// As [`Self::of`]; if the kernel that is forced has other bits, or only the twin has these.
    pub fn with_bits_of(isa: Isa, precision: Precision, own: Bf16Kernel) -> Result<Self, Error> {
        if precision == Precision::F32 {
            return Ok(Self::F32);
        }
        let kernel = match Bf16Kernel::forced(isa)? {
            Some(forced) if forced.has_bits_of(own) => forced,
            Some(forced) => {
                return Err(Error::OtherBf16Bits { forced: forced.name(), own: own.name() });
            }
            None => {
                let twin = Bf16Kernel::AmxTwin;
                let fastest = Bf16Kernel::fastest_of(isa, |kernel| kernel.has_bits_of(own));
                fastest.or((own == twin).then_some(twin)).ok_or(Error::MissingBf16Bits {
                    own: own.name(),
                    isa: isa.name(),
                    twin: twin.name(),
                })?
            }
        };
        Ok(Self { precision, kernel })
    }

    /// The kernel, unless products are in f32.
    pub fn bf16_kernel(self) -> Option<Bf16Kernel> {
        (self.precision != Precision::F32).then_some(self.kernel)
    }
}
