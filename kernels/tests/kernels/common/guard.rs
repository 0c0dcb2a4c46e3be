//! The allocator of the kernel tests: every slice of floats or bytes, and every scratch buffer, is a
//! mapping of its own, flush with a page that cannot be touched. A kernel that reads or writes
//! outside an operand dies at once, and says so, even where the value it read would be thrown away.
//!
//! Slices end at such a page, or, with [`SIDE`] set to `front`, begin at one: see
//! `operands_that_begin_at_a_guard_page`, which runs every test binary a second time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::io::Write;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// The environment variable that tells on which side of a slice the page is.
pub const SIDE: &str = "THREADCOUNT_TEST_GUARD";

/// What the rest of a slice's own pages is filled with, and what fresh memory holds: a NaN as f32.
const CANARY: u8 = 0xFF;

/// See the module.
pub struct Guarded;

#[global_allocator]
static ALLOCATOR: Guarded = Guarded;

/// Size of a page; 0 until the first allocation asked for it.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// On which side the guard page is: 0 not yet known, 1 behind, 2 in front.
static GUARD_SIDE: AtomicU8 = AtomicU8::new(0);

/// Where a slice lies in its mapping.
struct Place {
    /// Bytes of all of it: a guard page on either side.
    mapping: usize,
    /// Bytes from the mapping's start to the slice.
    offset: usize,
}

/// Slices of f32 and u8 (strings among them), and the scratch of tasks, which is aligned to cache
/// lines. Everything else is no operand.
fn is_operand(layout: Layout) -> bool {
    layout.size() > 0 && (layout.align() <= 4 || layout.align() == 64)
}

fn page() -> usize {
    match PAGE.load(Relaxed) {
        0 => {
            // SAFETY: sysconf reads a constant of the system.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            PAGE.store(page, Relaxed);
            page
        }
        page => page,
    }
}

fn is_in_front() -> bool {
    if GUARD_SIDE.load(Relaxed) == 0 {
        // SAFETY: a name that ends in zero; nothing in these tests changes the environment.
        let side = unsafe { libc::getenv(c"THREADCOUNT_TEST_GUARD".as_ptr()) };
        // SAFETY: the value of a variable ends in zero.
        let is_front = !side.is_null() && unsafe { libc::strcmp(side, c"front".as_ptr()) } == 0;
        GUARD_SIDE.store(1 + u8::from(is_front), Relaxed);
    }
    GUARD_SIDE.load(Relaxed) == 2
}

impl Place {
    fn of(layout: Layout) -> Self {
        let page = page();
        let inside = layout.size().next_multiple_of(page);
        // Flush with the page behind to the byte, but for what the alignment leaves: nothing of a
        // slice of floats or bytes.
        let slack = if is_in_front() { 0 } else { inside - layout.size() };
        Self { mapping: inside + 2 * page, offset: page + slack / layout.align() * layout.align() }
    }

    /// The slice's own pages before and behind it.
    fn rest(&self, slice: *mut u8, size: usize) -> [(*mut u8, usize); 2] {
        let before = self.offset - page();
        let behind = self.mapping - page() - self.offset - size;
        [(slice.wrapping_sub(before), before), (slice.wrapping_add(size), behind)]
    }
}

// SAFETY: blocks are mappings of their own, as large as the layout and aligned as it asks, or blocks of
// the system allocator; the layout alone decides which.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_operand(layout) {
            // SAFETY: by the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let slice = map(layout);
        if !slice.is_null() {
            // SAFETY: the slice has just been mapped.
            unsafe { ptr::write_bytes(slice, CANARY, layout.size()) };
        }
        slice
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_operand(layout) {
            // SAFETY: by the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // Fresh pages are zero.
        map(layout)
    }

    unsafe fn dealloc(&self, slice: *mut u8, layout: Layout) {
        if !is_operand(layout) {
            // SAFETY: by the caller's promise.
            return unsafe { System.dealloc(slice, layout) };
        }
        let place = Place::of(layout);
        for (start, len) in place.rest(slice, layout.size()) {
            // SAFETY: these are the slice's own pages.
            let bytes = unsafe { std::slice::from_raw_parts(start, len) };
            if bytes.iter().any(|&byte| byte != CANARY) {
                die(format_args!(
                    "a kernel wrote outside an operand of {} bytes, beside it on its page",
                    layout.size()
                ));
            }
        }
        // SAFETY: the mapping that `map` made; nobody uses it any more.
        unsafe {
            let start = slice.sub(place.offset);
            if !keep(start, place.mapping) && libc::munmap(start.cast(), place.mapping) != 0 {
                die(format_args!("munmap failed"));
            }
        }
    }
}

/// The most pages between guards, and the most mappings of as many, that are kept for another slice.
const KEPT_PAGES: usize = 16;
const KEPT_MAPPINGS: usize = 64;

/// Mappings that nobody uses, by the pages between their guards. Unmapping each of them at once was a third of the
/// tests' CPU time (2-core Xeon), as it interrupts every thread of the process.
static KEPT: Mutex<[Vec<usize>; KEPT_PAGES + 1]> =
    Mutex::new([const { Vec::new() }; KEPT_PAGES + 1]);

/// The shelf of [`KEPT`] for mappings of so many bytes. Its vectors are no operands: they come from the system.
fn with_kept<R>(mapping: usize, f: impl FnOnce(&mut Vec<usize>) -> R) -> Option<R> {
    let pages = mapping / page() - 2;
    let mut kept =
        KEPT.lock().unwrap_or_else(|_| die(format_args!("a thread died in the allocator")));
    kept.get_mut(pages).map(f)
}

/// Whether a mapping is kept for another slice.
fn keep(start: *mut u8, mapping: usize) -> bool {
    let put = |kept: &mut Vec<usize>| {
        let has_room = kept.len() < KEPT_MAPPINGS;
        if has_room {
            kept.push(start.expose_provenance());
        }
        has_room
    };
    with_kept(mapping, put).unwrap_or(false)
}

/// A mapping of so many bytes between its guards, all of them zero; null where there is none.
fn pages(mapping: usize) -> *mut u8 {
    let inside = mapping - 2 * page();
    if let Some(start) = with_kept(mapping, Vec::pop).flatten() {
        let start = ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: a mapping of this size that nobody uses.
        unsafe { ptr::write_bytes(start.add(page()), 0, inside) };
        return start;
    }
    // SAFETY: new pages, then access to those that are no guards.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let start = libc::mmap(ptr::null_mut(), mapping, libc::PROT_NONE, flags, -1, 0);
        if start == libc::MAP_FAILED {
            return ptr::null_mut();
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        if libc::mprotect(start.add(page()), inside, access) != 0 {
            die(format_args!("mprotect failed: more mappings than vm.max_map_count?"));
        }
        start.cast()
    }
}

/// A mapping for this layout, its slice zero.
fn map(layout: Layout) -> *mut u8 {
    let place = Place::of(layout);
    let start = pages(place.mapping);
    if start.is_null() {
        return start;
    }
    let slice = start.wrapping_add(place.offset);
    for (start, len) in place.rest(slice, layout.size()) {
        // SAFETY: these are the slice's own pages.
        unsafe { ptr::write_bytes(start, CANARY, len) };
    }
    slice
}

/// Runs before the runtime, which installs a handler of its own only where there is none.
#[used]
// SAFETY: the loader calls the functions of this section, of this type, once.
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install_handler;

/// Names what a touched guard page means.
extern "C" fn install_handler() {
    extern "C" fn on_fault(_: i32, info: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel gives a valid siginfo to handlers with SA_SIGINFO.
        let address = unsafe { (*info).si_addr() } as usize;
        die(format_args!("a kernel touched memory outside an operand, at {address:#x}"));
    }
    // SAFETY: the handler only writes to stderr and aborts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
    }
}

/// Says why, past the harness's capture and without allocating, and aborts.
fn die(why: std::fmt::Arguments) -> ! {
    let mut message = [0_u8; 160];
    let mut rest = &mut message[..];
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a worker");
    // What does not fit is cut off.
    let _ = writeln!(rest, "{why}");
    let _ = writeln!(rest, "  thread: {test}");
    let left = rest.len();
    let len = message.len() - left;
    // SAFETY: the bytes of the message; then the end.
    unsafe {
        libc::write(2, message.as_ptr().cast(), len);
        libc::abort()
    }
}

/// Every other test of this binary, with operands that begin at a guard page instead of ending at
/// one.
#[test]
fn operands_that_begin_at_a_guard_page() {
    if is_in_front() {
        return;
    }
    let binary = std::env::current_exe().unwrap();
    let output = std::process::Command::new(binary)
        .args(["--skip", "operands_that_begin_at_a_guard_page"])
        .env(SIDE, "front")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
