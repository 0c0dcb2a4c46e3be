//! The processes of one run, as the thread that trains sees them.

use std::fmt;
use std::sync::Arc;
use std::thread;

use sha2::{Digest, Sha256};

use super::link::Link;
use super::path::{Hop, from_one};
use super::post::{self, Fault, Limits, Post};
use super::traffic::Traffic;
use crate::files::hex;
use crate::{Error, Result};

/// The processes of a run, which are called ranks, and this one's place among them. Messages are numbers, or bytes,
/// under a tag; those from one rank to another with the same tag arrive in their order.
#[derive(Clone)]
pub struct World {
    rank: usize,
    size: usize,
    /// None if there is one process.
    post: Option<Arc<Post>>,
}

impl World {
    /// This process alone.
    pub fn one() -> Self {
        Self { rank: 0, size: 1, post: None }
    }

    /// Runs `work` on a thread of its own. The calling thread meanwhile carries its messages over `link`, and watches
    /// over the other ranks; it comes back once all of them have ended, or one has failed. `stuck` is called if one
    /// has failed and `work` does not end by itself soon after; a process then ends at once, since nothing here can
    /// end a thread.
    ///
    /// # Errors
    /// What `work` fails with; [`Error::Failed`] if another rank has failed, or `work` has panicked.
    pub fn run<T: Send>(
        link: &mut dyn Link,
        limits: Limits,
        stuck: impl FnOnce(&Fault),
        work: impl FnOnce(&Self) -> Result<T> + Send,
    ) -> (Result<T>, Option<Fault>) {
        let (rank, size) = (link.rank(), link.size());
        let post = Arc::new(Post::new(rank, size));
        thread::scope(|scope| {
            let world = Self { rank, size, post: Some(Arc::clone(&post)) };
            let builder = thread::Builder::new().name("work".into()).stack_size(STACK);
            let thread = builder.spawn_scoped(scope, move || {
                // Told even if the work panics.
                let mut end = End { world: &world, fault: Some("it has panicked".to_owned()) };
                let result = work(&world);
                end.fault = result.as_ref().err().map(ToString::to_string);
                drop(end);
                result
            });
            let thread = match thread {
                Ok(thread) => thread,
                Err(error) => {
                    return (Err(Error::Failed(format!("cannot start a thread: {error}"))), None);
                }
            };
            let fault = post::serve(&post, link, limits);
            if let Some(fault) = fault.as_ref().filter(|_| !thread.is_finished()) {
                stuck(fault);
            }
            let result = thread.join().unwrap_or_else(|_| Err(Error::Failed("a panic".into())));
            (result, fault)
        })
    }

    /// Which of the ranks this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is the rank that prints and saves.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// The ranks other than this one.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let rank = self.rank;
        (0..self.size).filter(move |&other| other != rank)
    }

    fn post(&self) -> Result<&Post> {
        self.post.as_deref().ok_or_else(|| Error::Failed("there is no other rank".into()))
    }

    /// Sends numbers to another rank. Does not wait until they have arrived.
    ///
    /// # Errors
    /// [`Error::Failed`] if a rank has failed.
    pub fn send(&self, to: usize, tag: u32, values: &[f32]) -> Result<()> {
        self.post()?.send(to, tag, bytemuck::cast_slice(values))
    }

    /// Waits for numbers from another rank, as many as `values` has room for.
    ///
    /// # Errors
    /// [`Error::Failed`] if a rank has failed, or others were sent.
    pub fn receive(&self, from: usize, tag: u32, values: &mut [f32]) -> Result<()> {
        self.post()?.receive(from, tag, |words| take_in(from, words, values))
    }

    /// As [`Self::receive`], if the numbers have come already; whether they had.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_if_here(&self, from: usize, tag: u32, values: &mut [f32]) -> Result<bool> {
        let read = |words: &[u32]| take_in(from, words, values);
        Ok(self.post()?.receive_if_here(from, tag, read)?.is_some())
    }

    /// Passes numbers from another rank to `read` as they lie in the message: `len` of them. Waits for them if `waits`
    /// says so; whether they have come.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(super) fn read(
        &self,
        (from, tag): (usize, u32),
        len: usize,
        waits: bool,
        read: impl FnOnce(&[f32]),
    ) -> Result<bool> {
        let read = |words: &[u32]| checked(from, words, len).map(read);
        match waits {
            true => self.post()?.receive(from, tag, read).map(|()| true),
            false => Ok(self.post()?.receive_if_here(from, tag, read)?.is_some()),
        }
    }

    /// The numbers of rank 0, on every rank.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub fn spread(&self, tag: u32, values: &mut [f32]) -> Result<()> {
        from_one(self.size, 0, self.rank).try_for_each(|hop| match hop {
            Hop::To(to) => self.send(to, tag, values),
            Hop::From(from) => self.receive(from, tag, values),
        })
    }

    /// What this rank has said so far, and how long it has waited.
    pub fn traffic(&self) -> Traffic {
        self.post.as_ref().map_or_else(Traffic::default, |post| post.traffic())
    }

    /// Sends any bytes to another rank.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_bytes(&self, to: usize, tag: u32, bytes: &[u8]) -> Result<()> {
        self.post()?.send(to, tag, &post::packed(bytes))
    }

    /// Waits for bytes from another rank.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_bytes(&self, from: usize, tag: u32) -> Result<Vec<u8>> {
        self.post()?.receive(from, tag, |words| {
            post::unpacked(words)
                .ok_or_else(|| Error::Failed(format!("rank {from} sent what cannot be read")))
        })
    }

    /// The bytes of rank 0, on every rank.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub fn shared(&self, tag: u32, bytes: Vec<u8>) -> Result<Vec<u8>> {
        if !self.is_first() {
            return self.receive_bytes(0, tag);
        }
        for to in self.others() {
            self.send_bytes(to, tag, &bytes)?;
        }
        Ok(bytes)
    }

    /// The bytes of every rank, on every rank, in the order of the ranks.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::receive`].
    pub fn gathered(&self, tag: u32, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        for to in self.others() {
            self.send_bytes(to, tag, &own)?;
        }
        let mut own = Some(own);
        let of = |rank| match own.take_if(|_| rank == self.rank) {
            Some(own) => Ok(own),
            None => self.receive_bytes(rank, tag),
        };
        (0..self.size).map(of).collect()
    }

    /// Checks that all ranks have the same text as rank 0; `what` it is.
    ///
    /// # Errors
    /// [`Error::Failed`] that names a rank which has another one.
    pub fn agree(&self, tag: u32, what: &str, text: &str) -> Result<()> {
        if !self.is_first() {
            self.send_bytes(0, tag, text.as_bytes())?;
            // Rank 0 answers once it has compared them all; if they differ it fails instead.
            return self.receive_bytes(0, tag).map(drop);
        }
        for from in self.others() {
            let other = self.receive_bytes(from, tag)?;
            if other != text.as_bytes() {
                return Err(Error::Failed(format!(
                    "rank {from} has another {what} than rank 0: {}, where rank 0 has {text}",
                    String::from_utf8_lossy(&other)
                )));
            }
        }
        self.shared(tag, Vec::new()).map(drop)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}

/// Reads numbers of a message.
fn take_in(from: usize, words: &[u32], values: &mut [f32]) -> Result<()> {
    values.copy_from_slice(checked(from, words, values.len())?);
    Ok(())
}

/// The numbers of a message, if there are so many.
fn checked(from: usize, words: &[u32], len: usize) -> Result<&[f32]> {
    if words.len() != len {
        return Err(Error::Failed(format!(
            "rank {from} sent {} numbers where {len} belong: do all ranks run the same program?",
            words.len(),
        )));
    }
    Ok(bytemuck::cast_slice(words))
}

/// As the main thread's on Linux: what runs here would otherwise run there.
const STACK: usize = 8 << 20;

/// Tells the others that the work has ended, and how.
struct End<'a> {
    world: &'a World,
    fault: Option<String>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(post) = &self.world.post {
            post.end(self.fault.take());
        }
    }
}

/// The SHA-256 of some numbers, in digits.
pub fn sha256(parts: &[&[f32]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(bytemuck::cast_slice::<f32, u8>(part));
    }
    hex(&hash.finalize())
}
