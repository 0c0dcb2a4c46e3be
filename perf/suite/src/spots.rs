//! Where in the code the time of a benchmark goes: a timer interrupts the thread that runs it, again and again, and
//! what it was about to do is noted. Names are found by who reads the program's symbols.

use crate::Result;
use crate::protocol::Spots;
use crate::sample::{Runs, lower_quartile};
use std::time::{Duration, Instant};

/// Whether this system lets a program see that.
pub const CAN: bool =
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

/// The time between two looks: short enough for hundreds of them in a quarter of a second, long beside the
/// microseconds that one costs.
const PERIOD: Duration = Duration::from_micros(500);

/// Runs so many at a time for about so many seconds, and looks where the calling thread is.
///
/// # Errors
/// [`Fault`](crate::Fault) if a run fails, or the system has no timer left.
pub fn of(runs: &mut dyn Runs, at_a_time: u32, seconds: f64) -> Result<Spots> {
    runs.run(at_a_time)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    let watch = watch::Watch::start(PERIOD)?;
    while start.elapsed().as_secs_f64() < seconds || times.is_empty() {
        times.push(runs.run(at_a_time)?);
    }
    let met = watch.stop();
    Ok(counted(&met, watch::program(), lower_quartile(&mut times)))
}

/// Counts addresses, relative to the program's.
fn counted(met: &[u64], program: std::ops::Range<u64>, seconds: f64) -> Spots {
    let mut within: Vec<u64> =
        met.iter().filter(|at| program.contains(at)).map(|at| at - program.start).collect();
    within.sort_unstable();
    let elsewhere = (met.len() - within.len()) as u32;
    let mut counts: Vec<(u64, u32)> = Vec::new();
    for at in within {
        match counts.last_mut() {
            Some((last, count)) if *last == at => *count += 1,
            _ => counts.push((at, 1)),
        }
    }
    Spots { seconds, met: counts, elsewhere }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod watch {
    //! The timer. What a signal's handler may do is little: it writes into a table that exists already.

    use crate::{Fault, Result};
    use std::fs;
    use std::io;
    use std::mem;
    use std::ops::Range;
    use std::ptr;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    /// Looks that are kept of one watch.
    const MOST: usize = 1 << 14;

    static MET: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// Interrupts the thread that has started it, until it is stopped or dropped. One at a time in a process.
    pub struct Watch(libc::timer_t);

    impl Watch {
        pub fn start(period: Duration) -> Result<Self> {
            COUNT.store(0, Ordering::SeqCst);
            let refused =
                |what: &str| Fault::new(format!("{what}: {}", io::Error::last_os_error()));
            // SAFETY: both are plain data of C, of which all zeros are a value.
            let (mut action, mut event): (libc::sigaction, libc::sigevent) =
                unsafe { (mem::zeroed(), mem::zeroed()) };
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            // SAFETY: the action is whole, and the old one is not asked for.
            if unsafe { libc::sigaction(libc::SIGPROF, &action, ptr::null_mut()) } != 0 {
                return Err(refused("sigaction"));
            }
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGPROF;
            // SAFETY: asks for a number.
            event.sigev_notify_thread_id = unsafe { libc::gettid() };
            let mut timer: libc::timer_t = ptr::null_mut();
            // SAFETY: event and timer live as long as the call.
            if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) } != 0 {
                return Err(refused("timer_create"));
            }
            let watch = Self(timer);
            let time = libc::timespec {
                tv_sec: period.as_secs() as libc::time_t,
                tv_nsec: period.subsec_nanos().into(),
            };
            let period = libc::itimerspec { it_interval: time, it_value: time };
            // SAFETY: the timer exists, and the old setting is not asked for.
            if unsafe { libc::timer_settime(watch.0, 0, &period, ptr::null_mut()) } != 0 {
                return Err(refused("timer_settime"));
            }
            Ok(watch)
        }

        /// Where the thread was met.
        pub fn stop(self) -> Vec<u64> {
            drop(self);
            let count = COUNT.load(Ordering::SeqCst).min(MOST);
            MET[..count].iter().map(|at| at.load(Ordering::SeqCst)).collect()
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            // SAFETY: the timer exists. A signal that is still under way finds the handler and the table.
            unsafe { libc::timer_delete(self.0) };
        }
    }

    extern "C" fn note(
        _signal: libc::c_int,
        _info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: with SA_SIGINFO the third argument is the context of the thread that was interrupted.
        let context = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let at = context.gregs[libc::REG_RIP as usize] as u64;
        #[cfg(target_arch = "aarch64")]
        let at = context.pc;
        let index = COUNT.fetch_add(1, Ordering::SeqCst);
        if let Some(place) = MET.get(index) {
            place.store(at, Ordering::SeqCst);
        }
    }

    /// The addresses of this program: from its first mapping to its last. Nothing where the system does not tell.
    pub fn program() -> Range<u64> {
        let path = fs::read_link("/proc/self/exe").unwrap_or_default();
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let of_program = maps.lines().filter(|line| {
            // `address perms offset dev inode path`
            line.splitn(6, ' ')
                .nth(5)
                .is_some_and(|name| name.trim_start() == path.to_string_lossy())
        });
        let ranges = of_program.filter_map(|line| {
            let (start, rest) = line.split_once('-')?;
            let end = rest.split(' ').next()?;
            let parse = |text| u64::from_str_radix(text, 16).ok();
            Some(parse(start)?..parse(end)?)
        });
        ranges.reduce(|all, next| all.start.min(next.start)..all.end.max(next.end)).unwrap_or(0..0)
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod watch {
    //! Nothing is seen here, and [`CAN`](super::CAN) says so.

    use crate::{Fault, Result};
    use std::ops::Range;
    use std::time::Duration;

    pub struct Watch;

    impl Watch {
        pub fn start(_period: Duration) -> Result<Self> {
            Err(Fault::new("this system does not show where the time goes"))
        }

        pub fn stop(self) -> Vec<u64> {
            Vec::new()
        }
    }

    pub fn program() -> Range<u64> {
        0..0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_from_the_programs_first() {
        let spots = counted(&[105, 99, 101, 105, 200, 199, 100], 100..200, 0.5);
        assert_eq!(spots.met, [(0, 1), (1, 1), (5, 2), (99, 1)]);
        assert_eq!((spots.elsewhere, spots.seconds), (2, 0.5));
    }

    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[test]
    fn the_code_that_runs_is_met() {
        use std::hint::black_box;

        #[inline(never)]
        fn busy(x: u64) -> u64 {
            (0..1_000_u64).fold(x, |sum, i| black_box(sum ^ i))
        }

        struct Busy;
        impl Runs for Busy {
            fn run(&mut self, runs: u32) -> Result<f64> {
                let start = Instant::now();
                (0..runs).for_each(|_| _ = black_box(busy(1)));
                Ok(start.elapsed().as_secs_f64() / f64::from(runs))
            }
        }

        let spots = of(&mut Busy, 1_000, 0.2).unwrap();
        let at = busy as *const () as u64 - watch::program().start;
        let near = spots.met.iter().filter(|(met, _)| (at..at + 4_096).contains(met));
        let near: u32 = near.map(|(_, count)| count).sum();
        let all: u32 = spots.met.iter().map(|(_, count)| count).sum();
        // A busy machine interrupts less often, but it is always met there.
        assert!(all > 10 && 10 * near > 9 * all, "{near} of {all}, {} elsewhere", spots.elsewhere);
        assert!(spots.seconds > 0.0);
    }
}
