//! The mailbox of a rank, and the service that empties it. The thread that trains leaves messages and takes them
//! out; another thread carries them, so that they travel while the first one computes, and so that a rank answers
//! the others whatever it computes. Every rank sends a beat to every other twice a second. One that has not been
//! heard of for some seconds has failed, and a rank that fails by itself says why. Nobody waits for ever: what is
//! awaited comes, or a fault does.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Frame, Link};
use crate::{Error, Result};

/// Tags from here on are the service's own.
const OWN_TAGS: u32 = u32::MAX - 2;
/// A rank is alive.
const BEAT: u32 = OWN_TAGS;
/// A rank has done all its work, and sends nothing more.
const BYE: u32 = OWN_TAGS + 1;
/// A rank has failed: which, and a text.
const FAULT: u32 = OWN_TAGS + 2;

/// How long the service sleeps where nothing happens: a message waits that long at most while its rank computes.
const NAP: Duration = Duration::from_micros(100);
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
    fault: Option<Fault>,
    /// Whether the working thread waits for a message.
    is_awaited: bool,
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
            fault: None,
            is_awaited: false,
            ended: None,
        };
        Self { rank, held: Mutex::new(held), arrived: Condvar::new(), asked: Condvar::new() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message.
    pub(super) fn send(&self, to: usize, tag: u32, words: &[u32]) -> Result<()> {
        let mut held = self.held();
        held.check()?;
        let mut frame = held.spare.pop().unwrap_or_default();
        frame.clear();
        frame.push(tag);
        frame.extend_from_slice(words);
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
        loop {
            if let Some(place) = held.inbox[from].iter().position(|frame| frame[0] == tag) {
                held.is_awaited = false;
                let frame = held.inbox[from].remove(place).unwrap_or_default();
                drop(held);
                let result = read(&frame[1..]);
                self.held().keep(frame);
                return result;
            }
            held.check()?;
            if held.gone[from] {
                return Err(Error::Failed(format!(
                    "rank {from} has ended before rank {}",
                    self.rank
                )));
            }
            if !mem::replace(&mut held.is_awaited, true) {
                self.asked.notify_one();
            }
            held = self.arrived.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
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

    fn keep(&mut self, frame: Frame) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(frame);
        }
    }
}

/// Carries the messages of a mailbox over `link` until the work has ended on all ranks, or one has failed. Returns
/// the fault that ended it; the work may still be going on then.
pub(super) fn serve(post: &Post, link: &mut dyn Link, limits: Limits) -> Option<Fault> {
    let result = Service::new(post, link, limits).run();
    let fault = result.unwrap_or_else(|error| {
        let said = Some(error.to_string());
        Some(Fault { rank: post.rank, said, silence: limits.silence })
    });
    // Whatever ended the service, nobody may wait for it.
    if let Some(fault) = &fault {
        post.fail(fault);
    }
    fault
}

struct Service<'a> {
    post: &'a Post,
    link: &'a mut dyn Link,
    limits: Limits,
    outbox: Vec<(usize, Frame)>,
    spare: Vec<Frame>,
    /// When each rank was heard of last.
    heard: Vec<Instant>,
    /// When all were sent a beat last.
    beaten: Option<Instant>,
    /// The last time that the service was awake.
    awake: Instant,
    fault: Option<(Fault, Instant)>,
    /// Since when all others know that the work here has ended.
    said_bye: Option<Instant>,
}

impl<'a> Service<'a> {
    fn new(post: &'a Post, link: &'a mut dyn Link, limits: Limits) -> Self {
        let now = Instant::now();
        let heard = vec![now; link.size()];
        let (outbox, spare) = (Vec::new(), Vec::new());
        let (beaten, fault, said_bye) = (None, None, None);
        Self { post, link, limits, outbox, spare, heard, beaten, awake: now, fault, said_bye }
    }

    fn run(&mut self) -> Result<Option<Fault>> {
        loop {
            let now = Instant::now();
            self.forgive(now);
            let mut has_moved = self.carry_out()?;
            has_moved |= self.carry_in(now)?;
            self.beat(now)?;
            self.look_for_silence(now)?;
            self.take_end(now)?;
            if self.is_over(now) {
                return Ok(self.fault.take().map(|(fault, _)| fault));
            }
            if !has_moved {
                self.nap();
            }
        }
    }

    /// If this process itself was stopped for a while, the silence of the others means nothing.
    fn forgive(&mut self, now: Instant) {
        let pause = now - mem::replace(&mut self.awake, now);
        if pause > 2 * self.limits.beat {
            for heard in &mut self.heard {
                *heard = (*heard + pause).min(now);
            }
        }
    }

    fn carry_out(&mut self) -> Result<bool> {
        {
            let mut held = self.post.held();
            mem::swap(&mut self.outbox, &mut held.outbox);
            while let Some(frame) = self.spare.pop() {
                held.keep(frame);
            }
        }
        let has_some = !self.outbox.is_empty();
        for (to, frame) in self.outbox.drain(..) {
            self.link.send(to, frame)?;
        }
        Ok(has_some)
    }

    fn carry_in(&mut self, now: Instant) -> Result<bool> {
        let mut has_some = false;
        while let Some((from, frame)) = self.link.receive(&mut self.spare)? {
            self.heard[from] = now;
            match frame[0] {
                BEAT => self.spare.push(frame),
                BYE => {
                    self.post.held().gone[from] = true;
                    self.post.arrived.notify_all();
                }
                FAULT => {
                    let rank = frame.get(1).map_or(from, |&rank| rank as usize);
                    let said = unpacked(frame.get(2..).unwrap_or_default());
                    let said = said.map(|text| String::from_utf8_lossy(&text).into_owned());
                    let said = said.filter(|text| !text.is_empty());
                    // A rank that has failed by itself says nothing more.
                    self.post.held().gone[from] |= rank == from;
                    self.set_fault(Fault { rank, said, silence: self.limits.silence }, now)?;
                }
                _ => {
                    has_some = true;
                    self.post.held().inbox[from].push_back(frame);
                    self.post.arrived.notify_all();
                }
            }
        }
        Ok(has_some)
    }

    fn beat(&mut self, now: Instant) -> Result<()> {
        if self.said_bye.is_some()
            || self.beaten.is_some_and(|beaten| now - beaten < self.limits.beat)
        {
            return Ok(());
        }
        self.beaten = Some(now);
        self.tell(&[BEAT])
    }

    /// Sends a frame to all others: those that are gone stay until all are.
    fn tell(&mut self, frame: &[u32]) -> Result<()> {
        let own = self.post.rank;
        for to in (0..self.heard.len()).filter(|&rank| rank != own) {
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(frame);
            self.link.send(to, copy)?;
        }
        Ok(())
    }

    fn look_for_silence(&mut self, now: Instant) -> Result<()> {
        if self.fault.is_some() {
            return Ok(());
        }
        let gone = self.post.held().gone.clone();
        let is_silent = |&rank: &usize| {
            !gone[rank] && now.saturating_duration_since(self.heard[rank]) > self.limits.silence
        };
        match (0..gone.len()).find(is_silent) {
            None => Ok(()),
            Some(rank) => {
                self.set_fault(Fault { rank, said: None, silence: self.limits.silence }, now)
            }
        }
    }

    /// A rank has failed: the work here learns of it at its next message, and all others are told.
    fn set_fault(&mut self, fault: Fault, now: Instant) -> Result<()> {
        if self.fault.is_some() {
            return Ok(());
        }
        self.post.fail(&fault);
        let mut frame = vec![FAULT, fault.rank as u32];
        frame.extend(packed(fault.said.as_deref().unwrap_or_default().as_bytes()));
        self.fault = Some((fault, now));
        self.tell(&frame)
    }

    /// If the work has just ended, says so.
    fn take_end(&mut self, now: Instant) -> Result<()> {
        if self.said_bye.is_some() {
            return Ok(());
        }
        let Some(ended) = self.post.held().ended.clone() else { return Ok(()) };
        // What was left in the mailbox goes first.
        self.carry_out()?;
        self.said_bye = Some(now);
        match ended {
            None => self.tell(&[BYE]),
            Some(said) => {
                let (rank, said) = (self.post.rank, Some(said));
                self.set_fault(Fault { rank, said, silence: self.limits.silence }, now)
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let has_ended = self.said_bye.is_some();
        match &self.fault {
            Some((_, since)) => {
                has_ended && self.link.is_idle() || now - *since > self.limits.grace
            }
            None => has_ended && self.link.is_idle() && self.post.held().gone.iter().all(|&x| x),
        }
    }

    /// Sleeps until there is something to send, or for a moment. Where the work waits for a message, only lets
    /// other threads go first.
    fn nap(&self) {
        let held = self.post.held();
        if held.is_awaited {
            drop(held);
            return thread::yield_now();
        }
        if held.outbox.is_empty() {
            drop(self.post.asked.wait_timeout(held, NAP));
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
