//! The mailbox of a rank, and the service that empties it. The thread that trains leaves messages and takes them
//! out; another thread carries them, so that they travel while the first one computes, and so that a rank answers
//! the others whatever it computes. Every rank sends a beat to every other twice a second. One that has not been
//! heard of for some seconds has failed, and a rank that fails by itself says why. Nobody waits for ever: what is
//! awaited comes, or a fault does.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::Frame;
use super::traffic::Traffic;
use crate::{Error, Result};

mod service;

pub(super) use service::serve;

/// Tags from here on are the service's own.
const OWN_TAGS: u32 = u32::MAX - 2;
/// A rank is alive.
const BEAT: u32 = OWN_TAGS;
/// A rank has done all its work, and sends nothing more.
const BYE: u32 = OWN_TAGS + 1;
/// A rank has failed: which, and a text.
const FAULT: u32 = OWN_TAGS + 2;
/// Frames kept for later messages.
const MOST_SPARE: usize = 256;

/// How long ranks wait for each other.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time between two beats.
    pub beat: Duration,
    /// A rank that was silent for so long has failed.
    pub silence: Duration,
    /// The time that a rank has to end by itself after another has failed.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let [beat, silence, grace] = [500, 5_000, 1_500].map(Duration::from_millis);
        Self { beat, silence, grace }
    }
}

/// A rank that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub rank: usize,
    /// What it said of it; `None` if it is silent.
    pub said: Option<String>,
    silence: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => write!(f, "rank {} failed: {said}", self.rank),
            None => {
                let seconds = self.silence.as_secs_f64();
                write!(
                    f,
                    "rank {} has not answered for {seconds} s: it has died, or hangs",
                    self.rank
                )
            }
        }
    }
}

/// The mailbox of a rank.
pub struct Post {
    rank: usize,
    held: Mutex<Held>,
    /// For the thread that works: something has arrived.
    arrived: Condvar,
    /// For the service: there is something to do.
    asked: Condvar,
}

struct Held {
    outbox: Vec<(usize, Frame)>,
    /// By sender.
    inbox: Vec<VecDeque<Frame>>,
    /// Which ranks have said that they send nothing more.
    gone: Vec<bool>,
    spare: Vec<Frame>,
    traffic: Traffic,
    fault: Option<Fault>,
    /// Since when a working thread waits for a message.
    awaited: Option<Instant>,
    /// Whether the work has ended, and with which fault.
    ended: Option<Option<String>>,
}

impl Post {
    pub(super) fn new(rank: usize, ranks: usize) -> Self {
        let held = Held {
            outbox: Vec::new(),
            inbox: (0..ranks).map(|_| VecDeque::new()).collect(),
            gone: (0..ranks).map(|other| other == rank).collect(),
            spare: Vec::new(),
            traffic: Traffic::default(),
            fault: None,
            awaited: None,
            ended: None,
        };
        Self { rank, held: Mutex::new(held), arrived: Condvar::new(), asked: Condvar::new() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message.
    pub(super) fn send(&self, to: usize, tag: u32, words: &[u32]) -> Result<()> {
        let mut frame = {
            let mut held = self.held();
            held.check()?;
            held.spare.pop().unwrap_or_default()
        };
        // The service goes on meanwhile.
        frame.clear();
        frame.push(tag);
        frame.extend_from_slice(words);
        let mut held = self.held();
        held.traffic.messages += 1;
        held.traffic.bytes += size_of_val(&frame[..]) as u64;
        held.outbox.push((to, frame));
        drop(held);
        self.asked.notify_one();
        Ok(())
    }

    /// Waits for a message, and reads it.
    pub(super) fn receive<T>(
        &self,
        from: usize,
        tag: u32,
        read: impl FnOnce(&[u32]) -> Result<T>,
    ) -> Result<T> {
        let mut held = self.held();
        let mut waiting = None;
        loop {
            if let Some(frame) = held.take(from, tag) {
                if let Some(began) = waiting {
                    held.awaited = None;
                    held.traffic.waited += Instant::elapsed(&began);
                }
                drop(held);
                return self.read(frame, read);
            }
            held.check()?;
            if held.gone[from] {
                return Err(Error::Failed(format!(
                    "rank {from} has ended before rank {}",
                    self.rank
                )));
            }
            let since = *waiting.get_or_insert_with(Instant::now);
            if held.awaited.replace(since).is_none() {
                self.asked.notify_one();
            }
            held = self.arrived.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// If the message has come, reads it.
    pub(super) fn receive_if_here<T>(
        &self,
        from: usize,
        tag: u32,
        read: impl FnOnce(&[u32]) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut held = self.held();
        held.check()?;
        let frame = held.take(from, tag);
        drop(held);
        let Some(frame) = frame else {
            // The service looks for it now, and it may be here the next time.
            self.asked.notify_one();
            return Ok(None);
        };
        self.read(frame, read).map(Some)
    }

    fn read<T>(&self, frame: Frame, read: impl FnOnce(&[u32]) -> Result<T>) -> Result<T> {
        let result = read(&frame[1..]);
        self.held().keep(frame);
        result
    }

    /// What has been said and waited for so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.held().traffic
    }

    /// The work has ended.
    pub(super) fn end(&self, fault: Option<String>) {
        self.held().ended = Some(fault);
        self.asked.notify_one();
    }

    fn fail(&self, fault: &Fault) {
        self.held().fault.get_or_insert_with(|| fault.clone());
        self.arrived.notify_all();
    }
}

impl Held {
    fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(Error::Failed(fault.to_string())),
            None => Ok(()),
        }
    }

    /// The first message of that rank and tag, if it has come.
    fn take(&mut self, from: usize, tag: u32) -> Option<Frame> {
        let place = self.inbox[from].iter().position(|frame| frame[0] == tag)?;
        self.inbox[from].remove(place)
    }

    fn keep(&mut self, frame: Frame) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(frame);
        }
    }
}

/// Bytes as words: their number first.
pub(super) fn packed(bytes: &[u8]) -> Vec<u32> {
    let mut words = vec![bytes.len() as u32];
    words.extend(bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(word)
    }));
    words
}

/// The bytes again; `None` if the words are none of [`packed`].
pub(super) fn unpacked(words: &[u32]) -> Option<Vec<u8>> {
    let (&len, words) = words.split_first()?;
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if bytes.len() != (len as usize).next_multiple_of(4) {
        return None;
    }
    bytes.truncate(len as usize);
    Some(bytes)
}

#[cfg(test)]
mod tests;
