//! The instructions of AMX-TILE and AMX-BF16, by inline assembly: the intrinsics are not stable. This file has nothing
//! that can be tested without the hardware, so it has nothing else.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument serves the file: an `Amx` exists only where `detect` saw the instructions and got the \
              system's permission, and `AmxTiles` only while tiles are configured on this thread. No code of this crate \
              is compiled with tile registers, so the compiler keeps nothing in them. Memory is the caller's promise"
)]

use super::{Refusal, TileUnit, Tiles};
use crate::Isa;
use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv};
use std::marker::PhantomData;

/// Proof that this process may use AMX.
#[derive(Clone, Copy)]
pub(crate) struct Amx(());

/// What `ldtilecfg` reads: palette 1, and eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_of_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

const _: () = assert!(size_of::<Config>() == 64);

impl Amx {
    /// Looks for the instructions, and asks the system for them; for all threads of the process.
    pub(super) fn detect() -> Result<Self, Refusal> {
        // AVX-512 implies that the system saves registers by XSAVE, so that XCR0 can be read. Every CPU with AMX has it.
        if !Isa::Avx512.is_detected() || !is_x86_feature_detected!("xsave") || !has_instructions() {
            return Err(Refusal::Missing);
        }
        // Tile configuration and tile data.
        const SAVED: u64 = 1 << 17 | 1 << 18;
        if unsafe { saved_state() } & SAVED != SAVED {
            return Err(Refusal::NotSaved);
        }
        if !has_these_sizes() {
            return Err(Refusal::OtherSize);
        }
        match ask_for_tile_data() {
            0 => Ok(Self(())),
            error => Err(Refusal::NotPermitted(-error)),
        }
    }
}

/// A leaf of CPUID: eax, ebx, ecx, edx.
fn cpuid(leaf: u32, part: u32) -> [u32; 4] {
    #[allow(unused_unsafe, reason = "newer compilers know that every x86-64 CPU has it")]
    let (most, found) = unsafe { (__get_cpuid_max(0).0, __cpuid_count(leaf, part)) };
    if leaf > most { [0; 4] } else { [found.eax, found.ebx, found.ecx, found.edx] }
}

/// AMX-BF16 and AMX-TILE.
fn has_instructions() -> bool {
    let [.., edx] = cpuid(7, 0);
    edx & 1 << 22 != 0 && edx & 1 << 24 != 0
}

/// Whether palette 1 is what [`CONFIG`] says: 8 KB, tiles of 1 KB, rows of 64 bytes, eight tiles, 16 rows.
fn has_these_sizes() -> bool {
    let [eax, ebx, ecx, _] = cpuid(0x1D, 1);
    [eax, ebx, ecx & 0xFFFF] == [1024 << 16 | 8192, 8 << 16 | 64, 16]
}

/// XCR0: the state that the system saves.
#[target_feature(enable = "xsave")]
fn saved_state() -> u64 {
    unsafe { _xgetbv(0) }
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`: zero, or a negative error number. (Linux,
/// `Documentation/arch/x86/xstate.rst`.)
fn ask_for_tile_data() -> isize {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let mut result = ARCH_PRCTL;
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Tiles that are configured on this thread; not `Send`.
pub(crate) struct AmxTiles(PhantomData<*mut ()>);

impl TileUnit for Amx {
    type Tiles = AmxTiles;

    #[inline(always)]
    fn configure(self) -> AmxTiles {
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, preserves_flags, readonly));
        }
        AmxTiles(PhantomData)
    }
}

impl Drop for AmxTiles {
    #[inline(always)]
    fn drop(&mut self) {
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

impl Tiles for AmxTiles {
    #[inline(always)]
    fn zero<const TILE: usize>(&mut self) {
        unsafe {
            asm!("tilezero tmm{tile}", tile = const TILE, options(nomem, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const u32, stride: usize) {
        unsafe {
            asm!(
                "tileloadd tmm{tile}, [{from} + {stride}*1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride * size_of::<u32>(),
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    /// In Intel's syntax: the sum, A, B.
    #[inline(always)]
    fn multiply<const SUM: usize, const A: usize, const B: usize>(&mut self) {
        unsafe {
            asm!(
                "tdpbf16ps tmm{sum}, tmm{a}, tmm{b}",
                sum = const SUM,
                a = const A,
                b = const B,
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
        unsafe {
            asm!(
                "tilestored [{to} + {stride}*1], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) stride * size_of::<f32>(),
                options(nostack, preserves_flags),
            );
        }
    }
}
