//! Downloads the official files: tries each mirror in turn, into a temporary file, with limits on length and
//! time. Only a file with the right checksum gets its final name. The one part that uses the network, behind
//! the cargo feature `fetch`.

use std::path::PathBuf;
use std::time::Duration;

use super::fashion_mnist::FILES;
use crate::Result;

/// Where the official files are served: the authors' bucket, and their repository.
pub const MIRRORS: [&str; 2] = [
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
];

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, on the mirrors and in the folder.
    pub name: String,
    /// Its length in bytes. One more is read at most, which tells that the file is too long.
    pub len: u64,
    /// Its SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
}

/// A download.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The folder to put the files into; made if it is not there.
    pub into: PathBuf,
    /// Addresses of folders on the network, tried in this order for each file.
    pub mirrors: Vec<String>,
    /// The files.
    pub files: Vec<Wanted>,
    /// The longest time that one file from one mirror may take.
    pub patience: Duration,
}

/// What a download did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Files that were downloaded.
    pub downloaded: usize,
    /// Files that were there already, with the right checksum.
    pub kept: usize,
}

/// What a download is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchEvent<'a> {
    /// A file is there already, with the right checksum.
    Kept(&'a Wanted),
    /// A mirror begins to send a file.
    Begun(&'a Wanted),
    /// This many bytes of it have arrived.
    Received(u64),
    /// All of them have arrived, or those that have are discarded.
    Ended,
    /// A mirror was passed over.
    PassedOver {
        /// Its address.
        mirror: &'a str,
        /// The file that it was asked for.
        wanted: &'a Wanted,
        /// Why.
        fault: &'a str,
    },
}

impl Fetch {
    /// The four official files from the well-known mirrors; ten minutes for each (26 MB at 45
    /// KB/s).
    pub fn official(into: PathBuf) -> Self {
        Self {
            into,
            mirrors: MIRRORS.map(str::to_owned).into(),
            files: FILES
                .iter()
                .map(|file| Wanted {
                    name: format!("{}.gz", file.name),
                    len: file.packed_len,
                    sha256: file.packed_sha256.to_owned(),
                })
                .collect(),
            patience: Duration::from_secs(600),
        }
    }

    /// Downloads what is not there yet, and tells `watch` what happens. A second run after a failure
    /// goes on where the first one stopped.
    ///
    /// # Errors
    /// [`Error::Failed`](crate::Error::Failed) if no mirror serves a valid copy of a file;
    /// [`Error::Data`](crate::Error::Data) if the folder cannot be written;
    /// [`Error::Usage`](crate::Error::Usage) in a build without the feature `fetch`.
    pub fn run(&self, watch: &mut dyn FnMut(FetchEvent<'_>)) -> Result<Fetched> {
        imp::run(self, watch)
    }
}

#[cfg(not(feature = "fetch"))]
mod imp {
    use super::{Fetch, FetchEvent, Fetched};
    use crate::{Error, Result};

    pub(super) fn run(fetch: &Fetch, _: &mut dyn FnMut(FetchEvent<'_>)) -> Result<Fetched> {
        Err(Error::Usage(format!(
            "this build cannot download (it was made without the feature `fetch`); put the four .gz files into {}",
            fetch.into.display()
        )))
    }
}

#[cfg(feature = "fetch")]
mod imp {
    use std::fs;
    use std::io::{Read, Write};
    use std::time::Duration;

    use sha2::{Digest, Sha256};
    use tempfile::NamedTempFile;
    use ureq::Agent;

    use super::{Fetch, FetchEvent, Fetched, Wanted};
    use crate::data::cache::{file_sha256, not_writable, temporary};
    use crate::files::hex;
    use crate::{Error, Result};

    /// A mirror that does not answer for this long is passed over.
    const CONNECT: Duration = Duration::from_secs(15);

    /// Why a mirror was passed over, or why the work cannot go on.
    enum Fault {
        Mirror(String),
        Folder(Error),
    }

    pub(super) fn run(fetch: &Fetch, watch: &mut dyn FnMut(FetchEvent<'_>)) -> Result<Fetched> {
        fs::create_dir_all(&fetch.into).map_err(not_writable(&fetch.into))?;
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(fetch.patience))
            .timeout_connect(Some(CONNECT.min(fetch.patience)))
            .user_agent(concat!("threadcount/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let mut fetched = Fetched { downloaded: 0, kept: 0 };
        for wanted in &fetch.files {
            let target = fetch.into.join(&wanted.name);
            if file_sha256(&target).is_ok_and(|found| found == wanted.sha256) {
                watch(FetchEvent::Kept(wanted));
                fetched.kept += 1;
                continue;
            }
            let mut faults = Vec::new();
            let done = fetch.mirrors.iter().find_map(|mirror| {
                match download(&agent, mirror, wanted, fetch, watch) {
                    Ok(file) => Some(Ok(file)),
                    Err(Fault::Folder(error)) => Some(Err(error)),
                    Err(Fault::Mirror(fault)) => {
                        watch(FetchEvent::PassedOver { mirror, wanted, fault: &fault });
                        faults.push(format!("{mirror}: {fault}"));
                        None
                    }
                }
            });
            match done {
                Some(file) => {
                    let kept = file?.persist(&target);
                    kept.map_err(|error| not_writable(&target)(error.error))?;
                }
                None => {
                    return Err(Error::Failed(format!(
                        "{}: no mirror has it ({}); try again later or put the file into {}",
                        wanted.name,
                        if faults.is_empty() {
                            "none is named".to_owned()
                        } else {
                            faults.join("; ")
                        },
                        fetch.into.display()
                    )));
                }
            }
            fetched.downloaded += 1;
        }
        Ok(fetched)
    }

    /// One file from one mirror, checked, under a temporary name in the target folder.
    fn download(
        agent: &Agent,
        mirror: &str,
        wanted: &Wanted,
        fetch: &Fetch,
        watch: &mut dyn FnMut(FetchEvent<'_>),
    ) -> std::result::Result<NamedTempFile, Fault> {
        let mirror_fault = |error: String| Fault::Mirror(error);
        let address = format!("{}/{}", mirror.trim_end_matches('/'), wanted.name);
        let response =
            agent.get(&address).call().map_err(|error| mirror_fault(error.to_string()))?;
        let folder_fault = |source| Fault::Folder(not_writable(&fetch.into)(source));
        let mut file =
            temporary(".fetching-", 0o644).tempfile_in(&fetch.into).map_err(folder_fault)?;
        // One byte more than wanted: enough to know that a body is too long, without reading it.
        let mut body = response.into_body().into_reader().take(wanted.len + 1);
        watch(FetchEvent::Begun(wanted));
        let (mut hash, mut len, mut chunk) = (Sha256::new(), 0_u64, vec![0; 64 << 10]);
        loop {
            let read = body.read(&mut chunk).map_err(|error| mirror_fault(error.to_string()))?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
            file.write_all(&chunk[..read]).map_err(folder_fault)?;
            len += read as u64;
            watch(FetchEvent::Received(len));
        }
        watch(FetchEvent::Ended);
        if len != wanted.len {
            return Err(mirror_fault(match len > wanted.len {
                true => format!("more than the {} bytes that it has to have", wanted.len),
                false => format!("only {len} of {} bytes", wanted.len),
            }));
        }
        if hex(&hash.finalize()) != wanted.sha256 {
            return Err(mirror_fault("wrong checksum".into()));
        }
        Ok(file)
    }
}

#[cfg(all(test, not(feature = "fetch")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_network_says_so() {
        let error = Fetch::official("folder".into()).run(&mut |_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("cannot download"), "{error}");
    }
}
