//! The program in a process of its own, which signals can be sent to.

// Each test file uses its own share of this.
#![allow(dead_code)]

use super::desk::{DATA, Desk};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command in the folder of a desk, with the drawn set. Whoever started the tests may ignore signals
/// (`nohup` does, and a script's `&`), and the program would go on ignoring them: here it does not.
pub(crate) fn command(desk: &Desk, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    desk.clean(|name| {
        command.env_remove(name);
    });
    command.current_dir(desk.folder());
    command.env("THREADCOUNT_CACHE", desk.path("cache")).env("THREADCOUNT_DATA", DATA.path());
    let by_default = || {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: sets a disposition, no handler; async-signal-safe, as is needed after a fork.
            if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure calls nothing but `signal`, and allocates nothing.
    unsafe { command.pre_exec(by_default) };
    command
}

/// The program with these arguments.
pub(crate) fn program(desk: &Desk, args: &str) -> Command {
    let mut command = command(desk, assert_cmd::cargo::cargo_bin!("threadcount"));
    command.args(args.split_whitespace());
    command
}

/// Waits until that is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until there is such a file.
pub(crate) fn wait_for(file: &Path) {
    wait_until(&file.display().to_string(), || file.exists());
}

/// A process that ends with the test, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// `INT`, `TERM`, `HUP`
    pub(crate) fn send(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.unwrap().success(), "{signal}");
    }

    /// Waits until it ends.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the process", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
