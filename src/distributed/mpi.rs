//! Frames over MPI (Open MPI, MPICH). All calls are made by the thread that has started it, and none of them waits:
//! what is under way is looked at again later.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::mem::MaybeUninit;

use mpi::Threading;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::Communicator;

use super::link::{Frame, Link};
use crate::{Error, Result};

/// The tag of all frames, which have tags of their own.
const TAG: c_int = 1;

/// A frame that is being sent or received.
struct Transfer {
    frame: Frame,
    /// Where it is from; of one that is sent, where it goes.
    rank: usize,
    request: ffi::MPI_Request,
}

/// The ranks of MPI's world.
pub struct Mpi {
    /// Ends MPI when it is dropped.
    _universe: Universe,
    comm: ffi::MPI_Comm,
    rank: usize,
    size: usize,
    sending: VecDeque<Transfer>,
    receiving: VecDeque<Transfer>,
}

/// Ends all ranks of MPI's world.
#[derive(Clone, Copy)]
pub struct Abort(ffi::MPI_Comm);

impl Mpi {
    /// Starts MPI. Only this thread may then use it.
    ///
    /// # Errors
    /// [`Error::Failed`] if it has been started before, or cannot be used by a program with threads.
    pub fn start() -> Result<Self> {
        let failed = |fault: &str| Error::Failed(format!("MPI cannot be used: {fault}"));
        let (universe, threading) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| failed("it has been started before"))?;
        if threading < Threading::Funneled {
            return Err(failed("it was built for programs without threads"));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let comm = world.as_raw();
        // SAFETY: the communicator is valid until MPI is finalised, which `universe` does. Errors then come back as
        // codes, where they would end the process.
        check(unsafe { ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN) })?;
        let (sending, receiving) = (VecDeque::new(), VecDeque::new());
        Ok(Self { _universe: universe, comm, rank, size, sending, receiving })
    }

    /// A way to end all ranks.
    pub fn abort(&self) -> Abort {
        Abort(self.comm)
    }
}

impl Abort {
    /// Ends all ranks with this exit code.
    pub fn all(self, code: i32) -> ! {
        // SAFETY: the communicator is MPI's world, and the call has no other preconditions.
        unsafe { ffi::MPI_Abort(self.0, code) };
        std::process::exit(code)
    }
}

/// The error of a code that a call has returned.
fn check(code: c_int) -> Result<()> {
    match code == ffi::MPI_SUCCESS as c_int {
        true => Ok(()),
        false => Err(Error::Failed(format!("MPI returned the error {code}"))),
    }
}

/// The number of words of a frame, as MPI counts.
fn count(frame: &Frame) -> Result<c_int> {
    c_int::try_from(frame.len())
        .map_err(|_| Error::Failed(format!("a message of {} words is too long", frame.len())))
}

impl Transfer {
    /// Whether it is done.
    fn is_done(&mut self) -> Result<bool> {
        let mut done = 0;
        let mut status = MaybeUninit::uninit();
        // SAFETY: the request is one that MPI has given, or null, which counts as done.
        check(unsafe { ffi::MPI_Test(&mut self.request, &mut done, status.as_mut_ptr()) })?;
        Ok(done != 0)
    }
}

impl Link for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn send(&mut self, to: usize, frame: Frame) -> Result<()> {
        let words = count(&frame)?;
        let mut request = MaybeUninit::uninit();
        // SAFETY: the words stay where they are until the request is done: the vector that owns them is kept in
        // `sending`, and is not changed.
        check(unsafe {
            ffi::MPI_Isend(
                frame.as_ptr().cast(),
                words,
                ffi::RSMPI_UINT32_T,
                to as c_int,
                TAG,
                self.comm,
                request.as_mut_ptr(),
            )
        })?;
        // SAFETY: the call has succeeded, and has written it.
        let request = unsafe { request.assume_init() };
        self.sending.push_back(Transfer { frame, rank: to, request });
        Ok(())
    }

    fn receive(&mut self, spare: &mut Vec<Frame>) -> Result<Option<(usize, Frame)>> {
        // In the order in which they were sent; of a frame that is done, the memory serves another.
        while let Some(first) = self.sending.front_mut() {
            if !first.is_done()? {
                break;
            }
            spare.extend(self.sending.pop_front().map(|transfer| transfer.frame));
        }
        while self.begin(spare)? {}
        let Some(first) = self.receiving.front_mut() else { return Ok(None) };
        if !first.is_done()? {
            return Ok(None);
        }
        Ok(self.receiving.pop_front().map(|transfer| (transfer.rank, transfer.frame)))
    }

    fn is_idle(&self) -> bool {
        self.sending.is_empty()
    }
}

impl Mpi {
    /// Begins to receive the next frame, if there is one.
    fn begin(&mut self, spare: &mut Vec<Frame>) -> Result<bool> {
        let (mut is_there, mut words) = (0, 0);
        let mut message = MaybeUninit::uninit();
        let mut status = MaybeUninit::<ffi::MPI_Status>::uninit();
        // SAFETY: all are places for results.
        check(unsafe {
            ffi::MPI_Improbe(
                ffi::RSMPI_ANY_SOURCE,
                TAG,
                self.comm,
                &mut is_there,
                message.as_mut_ptr(),
                status.as_mut_ptr(),
            )
        })?;
        if is_there == 0 {
            return Ok(false);
        }
        // SAFETY: a message is there, so both are written.
        let (mut message, status) = unsafe { (message.assume_init(), status.assume_init()) };
        // SAFETY: the status is that of a message.
        check(unsafe { ffi::MPI_Get_count(&status, ffi::RSMPI_UINT32_T, &mut words) })?;
        let mut frame = spare.pop().unwrap_or_default();
        // What it held before is overwritten.
        frame.resize(usize::try_from(words).unwrap_or(0), 0);
        let mut request = MaybeUninit::uninit();
        // SAFETY: the frame has room for as many words as the message has, and stays where it is until the request
        // is done: the vector that owns it is kept in `receiving`.
        check(unsafe {
            ffi::MPI_Imrecv(
                frame.as_mut_ptr().cast(),
                words,
                ffi::RSMPI_UINT32_T,
                &mut message,
                request.as_mut_ptr(),
            )
        })?;
        // SAFETY: the call has succeeded, and has written it.
        let request = unsafe { request.assume_init() };
        let rank = usize::try_from(status.MPI_SOURCE).unwrap_or(0);
        self.receiving.push_back(Transfer { frame, rank, request });
        Ok(true)
    }
}

/// What is still under way when a run has failed is left to MPI, which may write there.
impl Drop for Mpi {
    fn drop(&mut self) {
        for Transfer { frame, request, .. } in
            self.sending.drain(..).chain(self.receiving.drain(..))
        {
            _ = (frame.leak(), request);
        }
    }
}
