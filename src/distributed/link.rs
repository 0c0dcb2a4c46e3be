//! How frames travel between the ranks: [`Link`], and the one between threads of one process, with which tests run
//! several ranks without MPI.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Result;

/// A message as it travels: a tag, and words.
pub(super) type Frame = Vec<u32>;

/// A way for frames from each rank to each other. Frames from one rank to another keep their order. No call waits.
pub trait Link {
    /// Which of the ranks this is.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Begins to send a frame.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] if the link is broken.
    fn send(&mut self, to: usize, frame: Vec<u32>) -> Result<()>;

    /// A frame that has arrived, and from which rank; `None` if there is none. `spare` is memory that may be used
    /// for it, and takes in that of frames that have been sent.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] if the link is broken.
    fn receive(&mut self, spare: &mut Vec<Vec<u32>>) -> Result<Option<(usize, Vec<u32>)>>;

    /// Whether everything has been sent.
    fn is_idle(&self) -> bool;
}

/// A rank that is a thread of this process.
pub struct Thread {
    rank: usize,
    desks: Arc<Vec<Mutex<Desk>>>,
}

/// What lies ready for a rank.
#[derive(Default)]
struct Desk {
    /// Frames from others.
    arrived: VecDeque<(usize, Frame)>,
    /// The memory of its own frames that others have read.
    read: Vec<Frame>,
}

/// The links of so many ranks in one process.
pub fn threads(ranks: usize) -> Vec<Thread> {
    let desks: Arc<Vec<_>> = Arc::new((0..ranks).map(|_| Mutex::default()).collect());
    (0..ranks).map(|rank| Thread { rank, desks: Arc::clone(&desks) }).collect()
}

impl Thread {
    fn desk(&self, rank: usize) -> MutexGuard<'_, Desk> {
        self.desks[rank].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.desks.len()
    }

    fn send(&mut self, to: usize, frame: Frame) -> Result<()> {
        // A rank that has gone is noticed by its silence, as it would be elsewhere.
        self.desk(to).arrived.push_back((self.rank, frame));
        Ok(())
    }

    fn receive(&mut self, spare: &mut Vec<Frame>) -> Result<Option<(usize, Frame)>> {
        let mut own = self.desk(self.rank);
        spare.append(&mut own.read);
        let Some((from, frame)) = own.arrived.pop_front() else { return Ok(None) };
        drop(own);
        // Copied, as it would be on its way elsewhere: so the sender keeps its memory.
        let mut copy = spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(&frame);
        self.desk(from).read.push(frame);
        Ok(Some((from, copy)))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// Runs `work` on so many ranks in this process, and returns what each came to.
pub fn in_world<T: Send>(
    ranks: usize,
    work: impl Fn(&super::World) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let run = |mut link: Thread| {
        super::World::run(&mut link, super::Limits::default(), |_| {}, |world| work(world)).0
    };
    let run = &run;
    std::thread::scope(|scope| {
        let ranks: Vec<_> =
            threads(ranks).into_iter().map(|link| scope.spawn(move || run(link))).collect();
        let panicked = |_| Err(crate::Error::Failed("a panic".into()));
        ranks.into_iter().map(|rank| rank.join().unwrap_or_else(panicked)).collect()
    })
}
