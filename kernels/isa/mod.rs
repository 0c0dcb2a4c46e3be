//! The one list of instruction sets. Dispatch, tests, benches and the command line all walk
//! [`Isa::ALL`]. Adding a set is one file beside this one (and the `mod` line that names it), which
//! implements [`crate::simd::Simd`] with the data that kernels ask for, and a row in the table below.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[cfg_attr(feature = "emulated-avx512", path = "avx512_emulated.rs")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
mod portable;

use crate::Error;
use crate::simd::Kernel;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512_bf16::Avx512Bf16;
use std::fmt;

/// Makes [`Isa`] from its rows: how a set is documented, its variant, its name on the command line, the
/// type of its operations, whether it rounds a multiply-add once, and where it is compiled at all.
///
/// The type has `new() -> Option<Self>`, which is the detection, and `run`, which runs a kernel inside a
/// function with the set's target features.
macro_rules! instruction_sets {
    ($($(#[$doc:meta])+ $variant:ident, $name:literal, $set:path, fused($fused:expr), cfg($on:meta);)+) => {
        /// An instruction set that kernels can run on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Isa {
            $($(#[$doc])+ $variant,)+
        }

        impl Isa {
            /// Every instruction set, best first.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Whether it rounds a multiply-add once. All sets that do give the same bits.
            pub fn fuses_multiply_add(self) -> bool {
                match self {
                    $(Self::$variant => $fused,)+
                }
            }

            /// Whether this CPU has the set.
            pub fn is_detected(self) -> bool {
                match self {
                    $(
                        #[cfg($on)]
                        Self::$variant => <$set>::new().is_some(),
                        #[cfg(not($on))]
                        Self::$variant => false,
                    )+
                }
            }

            /// Runs a kernel compiled for this set.
            ///
            /// # Panics
            /// If this CPU lacks the set.
            #[inline]
            pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
                match self {
                    $(
                        #[cfg($on)]
                        Self::$variant => match <$set>::new() {
                            Some(set) => set.run(kernel),
                            None => self.lacking(),
                        },
                        #[cfg(not($on))]
                        Self::$variant => self.lacking(),
                    )+
                }
            }
        }
    };
}

instruction_sets! {
    /// AVX-512 F, VL, BW and DQ: 32 registers of 16 floats.
    Avx512, "avx512", avx512::Avx512, fused(true), cfg(target_arch = "x86_64");
    /// AVX2 and FMA: 16 registers of 8 floats.
    Avx2, "avx2", avx2::Avx2, fused(true), cfg(target_arch = "x86_64");
    /// What every build has, through the crate `wide`: 4 floats (SSE2 on x86-64, NEON on Arm).
    Portable, "portable", portable::Portable, fused(cfg!(target_arch = "aarch64")), cfg(all());
}

impl Isa {
    /// The environment variable that forces a set.
    pub const ENV: &'static str = "THREADCOUNT_ISA";

    /// The sets that this CPU has, best first.
    pub fn detected() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_detected())
    }

    /// The best set that this CPU has.
    pub fn best() -> Self {
        Self::detected().next().unwrap_or(Self::Portable)
    }

    /// The set of that name.
    ///
    /// # Errors
    /// If there is no such set, or this CPU lacks it.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let names = |isas: &mut dyn Iterator<Item = Self>| {
            isas.map(Self::name).collect::<Vec<_>>().join(", ")
        };
        let Some(isa) = Self::ALL.into_iter().find(|isa| isa.name() == name) else {
            let known = names(&mut Self::ALL.into_iter());
            return Err(Error::UnknownIsa { name: name.to_owned(), known });
        };
        if !isa.is_detected() {
            let detected = names(&mut Self::detected());
            return Err(Error::MissingIsa { name: isa.name(), detected });
        }
        Ok(isa)
    }

    /// The set that `THREADCOUNT_ISA` forces, or else the best.
    ///
    /// # Errors
    /// If the variable names no set, or one that this CPU lacks.
    pub fn active() -> Result<Self, Error> {
        match std::env::var(Self::ENV) {
            Ok(name) if !name.is_empty() => Self::from_name(&name),
            _ => Ok(Self::best()),
        }
    }

    #[cold]
    fn lacking(self) -> ! {
        panic!("this CPU lacks the instruction set `{self}`");
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Simd, flush};

    /// Flushes floats, a vector at a time.
    struct Flush<'a>(&'a mut [f32]);

    impl Kernel for Flush<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            for chunk in self.0.chunks_exact_mut(S::LANES) {
                // SAFETY: the chunk has LANES floats.
                unsafe { simd.store(chunk.as_mut_ptr(), simd.flush(simd.load(chunk.as_ptr()))) };
            }
        }
    }

    #[test]
    fn flush_has_the_bits_of_its_scalar_twin() {
        let largest_subnormal = f32::from_bits(f32::MIN_POSITIVE.to_bits() - 1);
        let positive = [
            0.0,
            f32::from_bits(1),
            largest_subnormal,
            f32::MIN_POSITIVE,
            1.0,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        let numbers: Vec<f32> = positive.into_iter().flat_map(|x| [x, -x]).collect();
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let expected: Vec<f32> = numbers.iter().map(|&x| flush(x)).collect();
        for isa in Isa::detected() {
            let mut flushed = numbers.clone();
            isa.run(Flush(&mut flushed));
            assert_eq!(bits(&flushed), bits(&expected), "{isa}");
        }
    }
}
