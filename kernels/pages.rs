//! Memory in large pages. A CPU finds an address in its caches by parts of the physical one, and pages of
//! 4 KiB lie anywhere: of two runs of the same program one may have its weights in places that drive each
//! other out of the second-level cache, and be some per cent slower to its end. Inside a page of 2 MiB
//! addresses follow each other, and one entry of the CPU's table of pages does for it.

/// Bytes of a large page: what x86-64 has, and most Arm systems.
pub const HUGE_PAGE: usize = 2 << 20;

/// Asks the system to hold this memory in large pages, as far as whole ones lie inside it. Best before it
/// is first written. A request: a system that has none left, or knows no such thing, changes nothing.
pub fn prefer_huge_pages(memory: &mut [f32]) {
    let bytes = size_of_val(memory);
    let skipped = memory.as_ptr().cast::<u8>().align_offset(HUGE_PAGE);
    if skipped >= bytes {
        return;
    }
    let whole = (bytes - skipped) / HUGE_PAGE * HUGE_PAGE;
    advise(&mut memory[skipped / size_of::<f32>()..][..whole / size_of::<f32>()]);
}

#[cfg(target_os = "linux")]
fn advise(pages: &mut [f32]) {
    use rustix::mm::{Advice, madvise};
    if pages.is_empty() {
        return;
    }
    // SAFETY: the pages are this slice's own, and the advice changes nothing of what is in them.
    let _ =
        unsafe { madvise(pages.as_mut_ptr().cast(), size_of_val(pages), Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_pages: &mut [f32]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_what_is_in_it() {
        for floats in [0, 1, 1_000, HUGE_PAGE / 4, HUGE_PAGE, HUGE_PAGE + 7] {
            let mut memory: Vec<f32> = (0..floats).map(|i| i as f32).collect();
            prefer_huge_pages(&mut memory);
            prefer_huge_pages(&mut memory[floats / 3..]);
            assert!(memory.iter().enumerate().all(|(i, x)| *x == i as f32), "{floats}");
        }
    }
}
