//! The one error type of the crate: every failure that a user can meet. Each becomes one line that names the
//! thing, the fault and the remedy, and the exit code that the command line promises.

use std::io;
use std::path::{Path, PathBuf};

use crate::memory::{amount, size};
use crate::names::visible;

/// `Result` with the crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A failure that is reported to the user in one line: what files, folders and arguments are called, and what stands
/// in them, is shown with control characters escaped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line, an environment variable or the configuration file asks for something
    /// that does not exist or does not fit together.
    #[error("{}", visible(.0))]
    Usage(String),
    /// A file of the data or of a run is missing or not valid.
    #[error("{}: {}", shown(path), visible(fault))]
    Data {
        /// The file, or the folder it was looked for in.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        fault: String,
    },
    /// The operating system refused to read or write a file that is not a data file.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A setting has a value that it cannot have, or does not fit what is to be trained.
    #[error("{name}: {}", visible(fault))]
    Setting {
        /// Its name, such as `learning-rate`.
        name: &'static str,
        /// What is wrong with it, and what to do.
        fault: String,
    },
    /// Arrays that do not fit each other or the network. Nothing was changed.
    #[error("{}", visible(.0))]
    Mismatch(String),
    /// More memory than this machine has, or than the system gives.
    #[error(
        "this needs {}, {}: choose a smaller batch, smaller layers or fewer samples",
        amount(*needed),
        match machine {
            Some(machine) => format!("and this machine has {}", size(*machine)),
            None => "more than can be had".to_owned(),
        }
    )]
    Memory {
        /// The bytes that are needed.
        needed: u64,
        /// The bytes that the machine has, if that is known.
        machine: Option<u64>,
    },
    /// The folder for a new run already holds a run, which is left as it is.
    #[error("{} already holds a run", shown(path))]
    RunExists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process trains the run.
    #[error("{}: another process is training this run; wait for it, or stop it", shown(path))]
    RunBusy {
        /// The run's folder.
        path: PathBuf,
    },
    /// The loss of an epoch is not a finite number.
    #[error(
        "training diverged: the loss of epoch {epoch} is not a finite number; try a learning rate \
         below {learning_rate}"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rate of that epoch, which may be too high.
        learning_rate: f32,
    },
    /// The work itself failed: a run has not finished, threads cannot be started.
    #[error("{}", visible(.0))]
    Failed(String),
    /// The user stopped the work; everything up to that point is saved.
    #[error("interrupted{}", visible(.0))]
    Interrupted(String),
}

impl Error {
    /// A data file's fault.
    pub fn data(path: impl Into<PathBuf>, fault: impl Into<String>) -> Self {
        Self::Data { path: path.into(), fault: fault.into() }
    }

    /// An adapter for `map_err`: names the file that an I/O error is about.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().to_owned(), source }
    }

    /// The exit code of the command line: 1 failed, 2 usage, 3 data missing or bad, 130
    /// interrupted after saving.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_)
            | Self::Io { .. }
            | Self::Mismatch(_)
            | Self::Memory { .. }
            | Self::RunExists { .. }
            | Self::RunBusy { .. }
            | Self::Diverged { .. } => 1,
            Self::Usage(_) | Self::Setting { .. } => 2,
            Self::Data { .. } => 3,
            Self::Interrupted(_) => 130,
        }
    }
}

/// A path as a message shows it.
fn shown(path: &Path) -> String {
    visible(&path.display().to_string())
}

impl From<threadcount_kernels::Error> for Error {
    fn from(error: threadcount_kernels::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_cannot_steer_a_terminal() {
        let text = || "a\x1b[2J\nb".to_owned();
        let path = || PathBuf::from(text());
        let errors = [
            Error::Usage(text()),
            Error::data(path(), text()),
            Error::io(path())(io::ErrorKind::NotFound.into()),
            Error::Setting { name: "seed", fault: text() },
            Error::Mismatch(text()),
            Error::RunExists { path: path() },
            Error::RunBusy { path: path() },
            Error::Failed(text()),
            Error::Interrupted(text()),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(message.contains("a\\u{1b}[2J\\nb"), "{message:?}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
}
