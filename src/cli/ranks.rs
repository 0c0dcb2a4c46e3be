//! Commands under `mpirun`: which rank this process is, and one process alone where it was not started so. Rank 0
//! alone prints and saves. MPI is called from the main thread only; what a command does runs on another one.

use std::env;

use threadcount_kernels::machine::machine;

use super::table::count;
use crate::distributed::World;
use crate::{Error, Result, console};

/// What a launcher has told this process of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Launched {
    pub(super) rank: usize,
    pub(super) ranks: usize,
    /// Ranks on this machine; 0 if that is not known.
    pub(super) here: usize,
}

/// The variables of Open MPI, of MPICH and others with its launcher, and of Slurm with PMIx: rank, ranks, ranks on
/// this machine. Slurm sets the number of tasks for scripts too, which are no ranks.
const LAUNCHERS: [[&str; 3]; 3] = [
    ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"],
    ["PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"],
    ["PMIX_RANK", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"],
];

impl Launched {
    /// What the environment says; `None` for a process that was started alone.
    pub(super) fn of_environment() -> Option<Self> {
        Self::of(|name| env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name)?.trim().parse::<usize>().ok();
        LAUNCHERS.iter().find_map(|[rank, ranks, here]| {
            let (rank, ranks) = (number(rank)?, number(ranks)?);
            Some(Self { rank, ranks, here: number(here).unwrap_or(0) }).filter(|_| ranks > 1)
        })
    }

    /// The threads of a rank where nobody says how many. If the launcher has bound the ranks to cores, a rank has as
    /// many threads as cores; else those of one machine share its cores.
    pub(super) fn threads(&self, physical: usize, is_bound: bool) -> usize {
        let sharing = if is_bound { 1 } else { self.here.max(1) };
        (physical / sharing).max(1)
    }
}

/// Whether this process may use some of the machine's CPUs only.
pub(super) fn is_bound() -> bool {
    machine().available_threads < online()
}

#[cfg(unix)]
fn online() -> usize {
    // SAFETY: the call only returns a number.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or(0)
}

#[cfg(not(unix))]
fn online() -> usize {
    0
}

/// What is to be said of the threads of so many ranks, and a warning if they take turns on the cores that the
/// launcher has given them.
fn threads_of(launched: Launched, threads: usize) -> (String, Option<String>) {
    let (available, online) = (machine().available_threads, online().max(1));
    told(launched, threads, available, online)
}

/// Under a launcher, says how many ranks and threads there are, and warns if they take turns.
pub(super) fn announce(threads: usize) {
    if let Some(launched) = Launched::of_environment() {
        let (line, warning) = threads_of(launched, threads);
        console::note(&line);
        warning.into_iter().for_each(|warning| console::warn(&warning));
    }
}

fn told(
    launched: Launched,
    threads: usize,
    available: usize,
    online: usize,
) -> (String, Option<String>) {
    let Launched { ranks, here, .. } = launched;
    let line = format!(
        "{} of {}; {} on this machine, of whose {} each may use {available}",
        count(ranks, "rank"),
        count(threads, "thread"),
        count(here.max(1), "rank"),
        count(online, "CPU"),
    );
    let warning = if threads > available {
        Some(format!(
            "{} of a rank take turns on {}: start it with 'mpirun --map-by slot:PE={threads}', or with --threads {available}",
            count(threads, "thread"),
            count(available, "CPU")
        ))
    } else if here * threads > online {
        Some(format!(
            "{} of {} take turns on {}: the result is the same, but late",
            count(here, "rank"),
            count(threads, "thread"),
            count(online, "CPU")
        ))
    } else {
        None
    };
    (line, warning)
}

/// From here on rank 0 alone prints.
pub(super) fn silence_others() {
    if Launched::of_environment().is_some_and(|launched| launched.rank > 0) {
        console::be_silent();
    }
}

/// Runs `work` as one of the ranks that a launcher has started, or alone.
///
/// # Errors
/// What `work` fails with. With several ranks, a failure of one ends all processes at once.
pub(super) fn with_world(work: impl FnOnce(&World) -> Result<()> + Send) -> Result<()> {
    match Launched::of_environment() {
        None => work(&World::one()),
        Some(launched) => mpi::with_world(launched, work),
    }
}

/// For commands that several processes would do several times.
///
/// # Errors
/// [`Error::Usage`] under a launcher.
pub(super) fn refuse(command: &str) -> Result<()> {
    match Launched::of_environment() {
        None => Ok(()),
        Some(Launched { ranks, .. }) => Err(Error::Usage(format!(
            "{command} does not share its work out over {ranks} ranks: start it without mpirun"
        ))),
    }
}

#[cfg(not(feature = "mpi"))]
mod mpi {
    use super::{Error, Launched, Result, World};

    pub(super) fn with_world(
        Launched { ranks, .. }: Launched,
        _: impl FnOnce(&World) -> Result<()>,
    ) -> Result<()> {
        Err(Error::Usage(format!(
            "started as one of {ranks} ranks, but built without MPI: build it with 'cargo build --release --features \
             mpi', or start it without mpirun"
        )))
    }
}

#[cfg(feature = "mpi")]
mod mpi {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::{Error, Launched, Result, World};
    use crate::cli::interrupt;
    use crate::console;
    use crate::distributed::mpi::Mpi;
    use crate::distributed::{Fault, Limits};

    /// The time in which the rank that tells of a fault ends all others.
    const END: Duration = Duration::from_secs(2);

    pub(super) fn with_world(
        launched: Launched,
        work: impl FnOnce(&World) -> Result<()> + Send,
    ) -> Result<()> {
        let mut mpi = Mpi::start()?;
        let abort = mpi.abort();
        let stuck = |fault: &Fault| abort.at(fault, launched, None);
        let limits = Limits::default();
        let (result, fault) = World::run(&mut mpi, limits, stuck, |world| match work(world) {
            // All ranks have stopped together.
            Err(interrupted @ Error::Interrupted(_)) => Ok(Some(interrupted)),
            result => result.map(|()| None),
        });
        match (result, fault) {
            (Ok(interrupted), None) => interrupted.map_or(Ok(()), Err),
            (result, Some(fault)) => {
                abort.at(&fault, launched, result.err());
                Ok(())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Waits for the rank that tells of a fault to end this process. Whether it is about to: a signal comes first.
    fn has_been_ended() -> bool {
        let (since, before) = (Instant::now(), interrupt::asked());
        while since.elapsed() < END && interrupt::asked() == before {
            thread::sleep(Duration::from_millis(20));
        }
        interrupt::asked() != before
    }

    impl crate::distributed::mpi::Abort {
        /// Ends all ranks, with one line that says which has failed and why. Does not come back.
        fn at(self, fault: &Fault, Launched { rank, .. }: Launched, own: Option<Error>) {
            // Rank 0 tells, unless it is the one that does not answer.
            let teller = usize::from(fault.rank == 0 && fault.said.is_none());
            let error = match own {
                Some(own) if fault.rank == rank => own,
                _ => Error::Failed(fault.to_string()),
            };
            if rank == teller || !has_been_ended() {
                console::insist(&super::super::line_of(&error));
            }
            self.all(i32::from(error.exit_code()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launched(variables: &[(&str, &str)]) -> Option<Launched> {
        Launched::of(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        let open_mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")];
        assert_eq!(launched(&open_mpi), Some(Launched { rank: 1, ranks: 4, here: 0 }));
        let mpich = [("PMI_RANK", "2"), ("PMI_SIZE", "3"), ("MPI_LOCALNRANKS", "2")];
        assert_eq!(launched(&mpich), Some(Launched { rank: 2, ranks: 3, here: 2 }));
        let slurm = [("PMIX_RANK", "0"), ("SLURM_NTASKS", "8"), ("SLURM_NTASKS_PER_NODE", "4")];
        assert_eq!(launched(&slurm), Some(Launched { rank: 0, ranks: 8, here: 4 }));
        // A script of Slurm, one rank, and nothing at all.
        assert_eq!(launched(&[("SLURM_NTASKS", "8")]), None);
        assert_eq!(launched(&[("PMI_RANK", "0"), ("PMI_SIZE", "1")]), None);
        assert_eq!(launched(&[]), None);
    }

    #[test]
    fn ranks_share_the_cores_that_they_are_not_bound_to() {
        let four = Launched { rank: 0, ranks: 4, here: 4 };
        assert_eq!(
            [four.threads(8, false), four.threads(2, false), four.threads(3, true)],
            [2, 1, 3]
        );
        assert_eq!(Launched { here: 0, ..four }.threads(8, false), 8);
    }

    #[test]
    fn threads_that_take_turns_are_told_of() {
        let two = Launched { rank: 0, ranks: 2, here: 2 };
        let (line, warning) = told(two, 1, 1, 2);
        assert_eq!(
            line,
            "2 ranks of 1 thread; 2 ranks on this machine, of whose 2 CPUs each may use 1"
        );
        assert_eq!(warning, None);
        let (_, warning) = told(two, 3, 1, 8);
        let warning = warning.unwrap();
        assert!(warning.contains("--map-by slot:PE=3'"), "{warning}");
        assert!(warning.contains("--threads 1"), "{warning}");
        let (_, warning) = told(two, 2, 2, 2);
        assert!(warning.unwrap().contains("2 ranks of 2 threads take turns on 2 CPUs"));
        assert_eq!(told(two, 4, 8, 8).1, None);
    }
}
