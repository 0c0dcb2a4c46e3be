//! Ctrl-C: the first one asks the run to save and stop after the current batch, the second one ends the
//! process at once. SIGTERM and SIGHUP count as Ctrl-C.

use crate::console;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C only sets a flag; `what` says what the run will do about it. A signal that is
/// ignored when the program starts stays ignored, as `nohup` and a shell's `&` want it.
pub(super) fn listen(what: &'static str) {
    if system::listen(what).is_err() {
        console::warn("cannot listen for Ctrl-C: an interrupted run will not be saved");
    }
}

/// Whether Ctrl-C was pressed.
pub(super) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether to go on: not after Ctrl-C.
pub(super) fn go_on() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A signal has come.
fn ask(what: &str) {
    if ASKED.swap(true, Ordering::Relaxed) {
        std::process::exit(130);
    }
    console::say(&format!("\n{what} (Ctrl-C again: stop at once)"));
}

#[cfg(unix)]
mod system {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use std::{io, mem, ptr, thread};

    pub(super) fn listen(what: &'static str) -> io::Result<()> {
        let signals: Vec<i32> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
        let mut signals = Signals::new(signals)?;
        let wait = move || signals.forever().for_each(|_| super::ask(what));
        thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
    }

    /// Whether the program was started with that signal ignored.
    fn is_ignored(signal: i32) -> bool {
        // SAFETY: an all-zero sigaction is a valid value of this plain C struct.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: without a new action the call only writes the one in force into `action`.
        let code = unsafe { libc::sigaction(signal, ptr::null(), &mut action) };
        code == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
mod system {
    use super::ASKED;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::{thread, time::Duration};

    pub(super) fn listen(what: &'static str) -> io::Result<()> {
        let come = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&come))?;
            flag::register(signal, Arc::clone(&come))?;
        }
        let wait = move || {
            while !ASKED.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(50));
                if come.load(Ordering::Relaxed) {
                    super::ask(what);
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
    }
}
