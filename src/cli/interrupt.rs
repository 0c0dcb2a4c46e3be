//! Ctrl-C: the first one asks the run to save and stop after the batch it is at, the second one
//! ends the process at once. SIGTERM and SIGHUP count as Ctrl-C.

use crate::console;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C only sets a flag; `what` says what the run will do about it.
pub(super) fn listen(what: &'static str) {
    let handler = move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        console::note(&format!("\n{what} (Ctrl-C again: stop at once)"));
    };
    if ctrlc::set_handler(handler).is_err() {
        console::warn("cannot listen for Ctrl-C: an interrupted run will not be saved");
    }
}

/// Whether Ctrl-C was pressed.
pub(super) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
