//! Read-only file maps, and what happens when another program cuts such a file short.
//!
//! A length is checked once, when the file is mapped. If the file shrinks afterwards, touching a page that is
//! gone raises SIGBUS, which kills the program without a message. So every map is entered in a list that a
//! signal handler can read, with its message already formatted. A program that wants the handler installs it
//! ([`exit_on_lost_pages`]): it prints that one line and exits with the code for bad data. The library does
//! not install it by itself: signals belong to the program. All `unsafe` code of reading data is here.
#![allow(unsafe_code)]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapOptions};

use crate::{Error, Result};

/// A whole file in memory, without a copy. Dereferences to its bytes.
#[derive(Debug)]
pub(super) struct FileMap {
    map: Mmap,
    watch: sigbus::Watch,
}

impl FileMap {
    /// Maps all `len` bytes of this regular file, whose name is `path`.
    ///
    /// # Errors
    /// The system's, for example from a file system that cannot map.
    pub(super) fn new(path: &Path, file: &File, len: usize) -> io::Result<Self> {
        // Private: some file systems (FUSE with direct_io, shares of virtual machines) have no shared
        // maps. Nothing is written, so nothing is ever copied.
        //
        // SAFETY: the map is read-only and private, `len` is the file's length. Another program may still
        // write the file (then we read other bytes, and only as data: every u8 is a valid value, and labels
        // and headers are checked again wherever they index) or cut it short (then the signal ends the
        // program before any byte of the lost page is seen).
        let map = unsafe { MmapOptions::new().len(len).map_copy_read_only(file) }?;
        let watch = sigbus::Watch::new(path, &map);
        Ok(Self { map, watch })
    }
}

/// From here on, a mapped data file that is cut short while it is in use ends the program with a line
/// that names it, and exit code 3. Replaces the handler of SIGBUS; without this, the program dies by the
/// signal. For programs, not for libraries.
///
/// # Errors
/// [`Error::Failed`] if the system refuses the handler.
pub fn exit_on_lost_pages() -> Result<()> {
    sigbus::install()
}

impl Deref for FileMap {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for FileMap {
    /// The range leaves the list before the map goes (fields are dropped afterwards).
    fn drop(&mut self) {
        self.watch.end();
    }
}

/// Opens a file for reading without ever waiting for it: a pipe in the file's place is refused, not read. The
/// kind of file is checked before opening (opening a device can have effects) and again after (the name may
/// mean another file by then; `O_NONBLOCK` keeps even that from waiting).
pub(super) fn open_regular(path: &Path) -> Result<(File, Metadata)> {
    let fault = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => {
            Error::data(path, "file not found; check the path or run `threadcount data fetch`")
        }
        io::ErrorKind::PermissionDenied => {
            Error::data(path, "no permission to read it; check its owner and mode")
        }
        _ => Error::data(path, format!("cannot be read: {source}")),
    };
    check_kind(path, &std::fs::metadata(path).map_err(fault)?)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    check_kind(path, &metadata)?;
    Ok((file, metadata))
}

fn check_kind(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" };
    Err(Error::data(
        path,
        format!("{kind} stands where a file is needed; put the file itself in its place"),
    ))
}

#[cfg(unix)]
mod sigbus {
    //! The list of mapped ranges and the handler that reads it.

    use std::ffi::c_void;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
    use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

    use crate::{Error, Result};

    /// The exit code for bad data ([`Error::exit_code`]).
    const EXIT_DATA: i32 = 3;

    /// One mapped range. Immutable but for its place in the list.
    #[derive(Debug)]
    struct Range {
        start: usize,
        end: usize,
        message: Box<[u8]>,
        next: AtomicPtr<Range>,
    }

    /// The newest range; each points to the one before it. Only the holder of [`CHANGING`] writes here or to
    /// `next`.
    static HEAD: AtomicPtr<Range> = AtomicPtr::new(ptr::null_mut());

    static CHANGING: Mutex<()> = Mutex::new(());

    /// Set before a handler walks the list. The handler takes no lock, and the process ends after it. From
    /// then on no range is freed. A range is unlinked before this is read, and all of this is `SeqCst`:
    /// either the thread that would free the range sees the handler, or the handler no longer sees the range.
    static WALKED: AtomicBool = AtomicBool::new(false);

    fn changing() -> MutexGuard<'static, ()> {
        // It guards nothing that a panic could leave half done.
        CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A range's place in the list.
    pub(super) struct Watch(*mut Range);

    impl std::fmt::Debug for Watch {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            // The map's `Debug` shows where it is.
            f.write_str("Watch")
        }
    }

    // SAFETY: a `Watch` owns its `Range`, which is plain data, an atomic, and pointers to other ranges, which
    // only the holder of the lock or the handler follows.
    unsafe impl Send for Watch {}
    // SAFETY: nothing can be done with a shared `Watch`.
    unsafe impl Sync for Watch {}

    impl Watch {
        /// Enters the range of `map`, with the message for the file at `path`, into the list.
        pub(super) fn new(path: &Path, map: &[u8]) -> Self {
            let mut message = b"threadcount: error: ".to_vec();
            message.extend_from_slice(path.as_os_str().as_bytes());
            message.extend_from_slice(
                b": the file was cut short or became unreadable while it was in use; restore it and run again\n",
            );
            let start = map.as_ptr() as usize;
            let _lock = changing();
            let range = Box::into_raw(Box::new(Range {
                start,
                end: start + map.len(),
                message: message.into(),
                next: AtomicPtr::new(HEAD.load(Ordering::SeqCst)),
            }));
            HEAD.store(range, Ordering::SeqCst);
            Self(range)
        }

        /// Removes the range from the list; its addresses may be mapped again by other code.
        pub(super) fn end(&mut self) {
            let range = std::mem::replace(&mut self.0, ptr::null_mut());
            let _lock = changing();
            let mut link = &HEAD;
            loop {
                let next = link.load(Ordering::SeqCst);
                if next.is_null() {
                    // It was ended before.
                    return;
                }
                // SAFETY: a linked range is not freed, and only the holder of the lock unlinks.
                let following = unsafe { &(*next).next };
                if ptr::eq(next, range) {
                    link.store(following.load(Ordering::SeqCst), Ordering::SeqCst);
                    break;
                }
                link = following;
            }
            if !WALKED.load(Ordering::SeqCst) {
                // SAFETY: the range came from a box, is no longer linked, no handler had begun to walk when
                // it was unlinked (see `WALKED`), and nothing else points to it.
                drop(unsafe { Box::from_raw(range) });
            }
        }
    }

    /// Whether the list has a range whose message names this file.
    #[cfg(test)]
    pub(super) fn is_listed(name: &str) -> bool {
        let _lock = changing();
        let mut next = HEAD.load(Ordering::SeqCst);
        while !next.is_null() {
            // SAFETY: a linked range is not freed, and only the holder of the lock unlinks.
            let range = unsafe { &*next };
            if String::from_utf8_lossy(&range.message).contains(name) {
                return true;
            }
            next = range.next.load(Ordering::SeqCst);
        }
        false
    }

    /// Installs the handler, once per process.
    pub(super) fn install() -> Result<()> {
        static DONE: OnceLock<i32> = OnceLock::new();
        let code = *DONE.get_or_init(|| {
            // SAFETY: an all-zero sigaction is a valid value of this plain C struct.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: `action` is initialised, lives through both calls, and `handler` has the
            // three-argument form that SA_SIGINFO asks for.
            unsafe {
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGBUS, &action, ptr::null_mut())
            }
        });
        if code == 0 {
            Ok(())
        } else {
            Err(Error::Failed(
                "the system refused a handler for SIGBUS, without which mapped files are not safe"
                    .into(),
            ))
        }
    }

    /// Runs on the thread that touched a lost page. Calls nothing but the async-signal-safe
    /// `write`, `_exit`, `signal` and `raise`.
    extern "C" fn handler(_signal: i32, info: *mut libc::siginfo_t, _context: *mut c_void) {
        // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler; si_addr is set for
        // every SIGBUS that the kernel itself raises, which a positive si_code says.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
        WALKED.store(true, Ordering::SeqCst);
        let mut next = HEAD.load(Ordering::SeqCst);
        while code > 0 && !next.is_null() {
            // SAFETY: a range is complete when it is linked, and after the store above no range that can be
            // reached from here is freed.
            let range = unsafe { &*next };
            if (range.start..range.end).contains(&address) {
                // SAFETY: the message is a live allocation of that length; both calls are
                // async-signal-safe. A short or failed write leaves nothing better to do.
                unsafe {
                    libc::write(
                        libc::STDERR_FILENO,
                        range.message.as_ptr().cast(),
                        range.message.len(),
                    );
                    libc::_exit(EXIT_DATA);
                }
            }
            next = range.next.load(Ordering::SeqCst);
        }
        // Not one of our files: restore the default. The access is repeated on return and ends the program as
        // it would have without this handler; a signal that a process sent is raised again.
        // SAFETY: both functions are async-signal-safe.
        unsafe {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            if code <= 0 {
                libc::raise(libc::SIGBUS);
            }
        }
    }
}

#[cfg(not(unix))]
mod sigbus {
    //! Without SIGBUS: these systems refuse to shorten a file that is mapped.

    use std::path::Path;

    #[derive(Debug)]
    pub(super) struct Watch;

    impl Watch {
        pub(super) fn new(_path: &Path, _map: &[u8]) -> Self {
            Self
        }
        pub(super) fn end(&mut self) {}
    }

    pub(super) fn install() -> crate::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const CHILD: &str = "THREADCOUNT_TEST_CHILD_FOREIGN";

    /// Found by fuzzing: an entry kept for every file ever opened added up to gigabytes.
    #[test]
    fn nothing_is_kept_of_a_map_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut maps: Vec<_> = ["kept-of-one", "kept-of-two", "kept-of-three"]
            .map(|name| {
                let path = folder.path().join(name);
                std::fs::write(&path, [1; 100]).unwrap();
                (name, FileMap::new(&path, &File::open(&path).unwrap(), 100).unwrap())
            })
            .into();
        // From the middle of the list, its end, its front.
        for gone in [1, 0, 0] {
            let (name, map) = maps.remove(gone);
            assert!(sigbus::is_listed(name));
            drop(map);
            assert!(!sigbus::is_listed(name));
            assert!(maps.iter().all(|(name, _)| sigbus::is_listed(name)));
        }
    }

    /// As a child process: a map that is not ours is cut short while one of ours is in use. As the
    /// parent: the child must die by the signal, as it would have without the handler.
    #[test]
    fn a_fault_in_a_foreign_map_kills_as_ever() {
        if let Some(folder) = std::env::var_os(CHILD) {
            let folder = Path::new(&folder);
            exit_on_lost_pages().unwrap();
            let open = |name: &str| {
                let file = File::open(folder.join(name)).unwrap();
                FileMap::new(&folder.join(name), &file, 100_000).unwrap()
            };
            let _ours = open("ours");
            let gone = open("gone");
            drop(gone);
            let file = File::options().read(true).write(true).open(folder.join("foreign")).unwrap();
            // SAFETY: read only below, where the read is meant to fault.
            let map = unsafe { Mmap::map(&file) }.unwrap();
            file.set_len(0).unwrap();
            panic!("read a page that is gone: {}", std::hint::black_box(&map)[0]);
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["ours", "gone", "foreign"] {
            std::fs::write(folder.path().join(name), [1; 100_000]).unwrap();
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "data::map::tests::a_fault_in_a_foreign_map_kills_as_ever",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("threadcount: error"),
            "{output:?}"
        );
    }
}
