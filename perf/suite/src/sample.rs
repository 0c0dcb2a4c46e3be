//! One sample: some timings of some runs each, of which the lower quartile counts.

use crate::protocol::{Sampled, Size, Timed, Work};
use crate::{Fault, Result};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What one sample runs for: short enough for hundreds of benchmarks in minutes.
const SAMPLE: Duration = Duration::from_millis(6);
/// What one of its timings runs for, at least: shorter than the time between most interruptions.
const TIMING: Duration = Duration::from_millis(1);
/// Timings of a sample; the least for long runs. With the mean of eight timings the ratios of pairs
/// spread by 1 to 3 %, with the lower quartile by 0.3 to 1.3 (a shared virtual machine).
const TIMINGS: RangeInclusive<u32> = 3..=6;

/// A benchmark that is ready to be timed.
pub trait Subject {
    /// What one run does.
    fn work(&self) -> Work;

    /// Samples of a data set that one run trains on, if it is a training step.
    fn images(&self) -> Option<f64> {
        None
    }

    /// Calls `inside` once, where runs are timed: with threads awake that would otherwise have to be woken.
    fn enter(&mut self, inside: &mut (dyn FnMut(&mut dyn Runs) + Send));

    /// The phases of a run, if it has such: runs for about so many seconds, and tells the seconds of each phase in
    /// one run. They may be timed in other runs than samples are.
    ///
    /// # Errors
    /// [`Fault`] if a run fails.
    fn phases(&mut self, _seconds: f64) -> Result<Vec<Timed>> {
        Ok(Vec::new())
    }
}

/// What runs.
pub trait Runs {
    /// Does so many runs; returns the seconds of one.
    ///
    /// # Errors
    /// [`Fault`] if a run fails.
    fn run(&mut self, runs: u32) -> Result<f64>;

    /// The rate that the benchmark's limit allows now, in the unit of its work, if that can be measured.
    fn most(&mut self) -> Option<f64> {
        None
    }
}

/// Does something inside of a subject.
///
/// # Errors
/// What it fails with.
pub(crate) fn within<T: Send>(
    subject: &mut dyn Subject,
    mut what: impl FnMut(&mut dyn Runs) -> Result<T> + Send,
) -> Result<T> {
    let mut done = Err(Fault::new("nothing was run"));
    subject.enter(&mut |runs| done = what(runs));
    done
}

/// The size of a sample of the usual length. A share of the runs that is to be repeated is a whole run at least.
///
/// # Errors
/// [`Fault`] if a run fails.
pub fn size(runs: &mut dyn Runs, slowdown: f64) -> Result<Size> {
    let wanted = TIMING.as_secs_f64();
    let mut count = 1;
    let mut each = loop {
        let each = runs.run(count)?;
        // Near enough to tell how many are wanted.
        if 4.0 * each * f64::from(count) >= wanted {
            break each;
        }
        count *= 4;
    };
    count = (wanted / each).ceil() as u32;
    let mut least = *TIMINGS.start();
    if slowdown > 0.0 {
        (count, least) = (count.max((1.0 / slowdown).ceil() as u32), 1);
    }
    each = runs.run(count)?;
    let timings = (SAMPLE.as_secs_f64() / (each * f64::from(count))) as u32;
    Ok(Size { timings: timings.clamp(least, *TIMINGS.end()), runs: count })
}

/// Takes a sample, of which a share of the runs is repeated.
///
/// # Errors
/// [`Fault`] if a run fails.
pub fn sample(runs: &mut dyn Runs, size: Size, work: &Work, slowdown: f64) -> Result<Sampled> {
    let Size { timings, runs: count } = size;
    let repeated = (slowdown * f64::from(count)).round() as u32;
    // Meanwhile the other programs have used the caches, and cores may have slept.
    runs.run(count)?;
    // Clocks move, so what is a limit now is measured now.
    let most = runs.most();
    let longer = f64::from(count + repeated) / f64::from(count);
    let mut times = (0..timings)
        .map(|_| Ok(runs.run(count + repeated)? * longer))
        .collect::<Result<Vec<f64>>>()?;
    if times.is_empty() {
        return Err(Fault::new("a sample of no timing"));
    }
    let seconds = lower_quartile(&mut times);
    Ok(Sampled { seconds, share_of_limit: most.map(|most| work.bounded() / seconds / most) })
}

/// What else happens on a machine only adds.
pub(crate) fn lower_quartile(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[(times.len() - 1) / 4]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Limit;

    /// A run takes so many seconds, every third timing ten times as many.
    struct Scripted {
        seconds: f64,
        asked: Vec<u32>,
    }

    impl Runs for Scripted {
        fn run(&mut self, runs: u32) -> Result<f64> {
            self.asked.push(runs);
            let slow = if self.asked.len().is_multiple_of(3) { 10.0 } else { 1.0 };
            Ok(self.seconds * slow)
        }

        fn most(&mut self) -> Option<f64> {
            Some(1e9)
        }
    }

    fn scripted(seconds: f64) -> Scripted {
        Scripted { seconds, asked: Vec::new() }
    }

    #[test]
    fn short_runs_are_repeated_and_long_ones_timed_a_few_times() {
        let size = |seconds, slowdown| {
            let Size { timings, runs } = size(&mut scripted(seconds), slowdown).unwrap();
            (timings, runs)
        };
        assert_eq!(size(1e-3, 0.0), (6, 1));
        assert_eq!(size(1.9e-3, 0.0), (3, 1));
        assert_eq!(size(1.0, 0.0), (3, 1));
        // The share is a whole run.
        assert_eq!(size(1.0, 0.05), (1, 20));
        assert_eq!(size(2e-4, 0.0).1, 5);
    }

    #[test]
    fn the_lower_quartile_counts() {
        let work = Work { flops: 4e5, bytes: 1.0, limit: Limit::Fma };
        let mut runs = scripted(1e-3);
        let sampled = sample(&mut runs, Size { timings: 6, runs: 20 }, &work, 0.0).unwrap();
        assert_eq!((sampled.seconds, sampled.share_of_limit), (1e-3, Some(0.4)));
        // The first only warms up.
        assert_eq!(runs.asked, [20; 7]);
        let mut runs = scripted(1e-3);
        let sampled = sample(&mut runs, Size { timings: 6, runs: 20 }, &work, 0.05).unwrap();
        assert!((sampled.seconds - 1.05e-3).abs() < 1e-12);
        assert_eq!(runs.asked, [20, 21, 21, 21, 21, 21, 21]);
        assert!(sample(&mut scripted(1.0), Size { timings: 0, runs: 1 }, &work, 0.0).is_err());
    }
}
