//! The service that carries a mailbox's messages, and watches over the other ranks.

use std::mem;
use std::time::{Duration, Instant};

use super::super::link::{Frame, Link};
use super::{BEAT, BYE, FAULT, Fault, Limits, MOST_SPARE, Post, packed, unpacked};
use crate::Result;

/// How long the service sleeps where nothing is under way and nobody waits. It is woken for what is to be sent, and
/// whenever the work looks for a message. Looking every 100 us by itself took 13 % of the core that computes (Xeon).
const REST: Duration = Duration::from_millis(5);
/// The same while something is being sent, which may need its help.
const NAP: Duration = Duration::from_micros(500);
/// How long the service looks for a message that is waited for without a pause: as long as one takes within a machine.
const SPIN: Duration = Duration::from_micros(50);
/// Its naps after that, for the time that a message takes from another machine, and a little more.
const SHORT_NAP: Duration = Duration::from_micros(20);
/// How long the service stays awake for a message that is waited for: longer than one takes that is on its way.
const WAKEFUL: Duration = Duration::from_millis(20);

/// Carries the messages of a mailbox over `link` until the work has ended on all ranks, or one has failed. Returns
/// the fault that ended it; the work may still be going on then.
pub(in crate::distributed) fn serve(
    post: &Post,
    link: &mut dyn Link,
    limits: Limits,
) -> Option<Fault> {
    sleep_exactly();
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

/// Timers of this thread end when they should: Linux lets them be 50 microseconds late.
#[cfg(target_os = "linux")]
fn sleep_exactly() {
    // SAFETY: the call only sets a property of the calling thread; a failure leaves it as it was.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000, 0, 0, 0) };
}

#[cfg(not(target_os = "linux"))]
fn sleep_exactly() {}

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
            // Half of the spare memory is for messages from here, the other half for those that arrive.
            while self.spare.len() > held.spare.len() + 1 {
                let Some(frame) = self.spare.pop() else { break };
                held.keep(frame);
            }
            while held.spare.len() > self.spare.len() + 1 {
                self.spare.extend(held.spare.pop());
            }
            self.spare.truncate(MOST_SPARE);
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
                    let mut held = self.post.held();
                    held.inbox[from].push_back(frame);
                    // Who waits has to have the core now; if it was another message, it says so again.
                    held.awaited = None;
                    drop(held);
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
        let silent =
            |&rank: &usize| now.saturating_duration_since(self.heard[rank]) > self.limits.silence;
        let ranks = 0..self.heard.len();
        // Nobody is, nearly always.
        let found = ranks.filter(silent).find(|&rank| !self.post.held().gone[rank]);
        match found {
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

    /// Sleeps until there is something to send, or for a moment. Where the work has just begun to wait for a message, it
    /// looks again at once, and soon after in short naps. It does not yield: whatever else runs on the core would have it
    /// for milliseconds.
    fn nap(&self) {
        let held = self.post.held();
        let nap = match held.awaited.map(|since| since.elapsed()) {
            Some(time) if time < SPIN => {
                drop(held);
                return std::hint::spin_loop();
            }
            Some(time) if time < WAKEFUL => SHORT_NAP,
            _ if self.link.is_idle() => REST,
            _ => NAP,
        };
        if held.outbox.is_empty() {
            drop(self.post.asked.wait_timeout(held, nap));
        }
    }
}
