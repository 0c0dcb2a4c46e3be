//! How frames travel between the ranks: [`Link`], and the one between threads of one process, with which tests run
//! several ranks without MPI.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

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
    to: Vec<Sender<(usize, Frame)>>,
    from: Receiver<(usize, Frame)>,
}

/// The links of so many ranks in one process.
pub fn threads(ranks: usize) -> Vec<Thread> {
    let (to, from): (Vec<_>, Vec<_>) = (0..ranks).map(|_| channel()).unzip();
    let thread = |(rank, from)| Thread { rank, to: to.clone(), from };
    from.into_iter().enumerate().map(thread).collect()
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn send(&mut self, to: usize, frame: Frame) -> Result<()> {
        // A rank that has gone is noticed by its silence, as it would be elsewhere.
        _ = self.to[to].send((self.rank, frame));
        Ok(())
    }

    fn receive(&mut self, _: &mut Vec<Frame>) -> Result<Option<(usize, Frame)>> {
        match self.from.try_recv() {
            Ok(arrived) => Ok(Some(arrived)),
            // Each link has a sender to itself, so there always is one.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(None),
        }
    }

    fn is_idle(&self) -> bool {
        true
    }
}

/// Runs `work` on so many ranks in this process, and returns what each came to.
#[cfg(test)]
pub(crate) fn in_world<T: Send>(
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
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}
