//! Rates that are robust on a shared machine: what is measured takes turns with what it is compared with,
//! in one process, and the result is the median of the pairs' ratios.

use super::case::{Case, Combine, Pieces, Work, agree, twin_on_all_cores, untouched};
use super::matrixmultiply;
use crate::nn::Buffer;
use std::time::{Duration, Instant};
use threadcount_kernels::precision::Arithmetic;
use threadcount_kernels::{Pool, peak};

/// The minimum time of one sample: longer than most interruptions, as long as a few measurements of the
/// peak.
const SAMPLE: Duration = Duration::from_millis(2);
/// The same for the naive twin, whose rate need not be known as precisely.
pub(super) const TWIN_SAMPLE: Duration = Duration::from_millis(4);
/// Samples of the twin.
pub(super) const TWIN_SAMPLES: usize = 3;
/// The work of the largest twin that is computed whole for a comparison; of a larger one, only the last
/// pieces are.
const WHOLE_TWIN: f64 = 1e8;

/// Measurements of the peak for warming up: a tenth of a second, in which the system spreads new threads
/// over the cores (they may all start on one) and the cores clock up.
const WARM_UP: usize = 200;

/// Makes the pool's threads ready to be timed. To be called once, before the first measurement.
pub fn warm_up(pool: &Pool) {
    pool.enter(|team| {
        for _ in 0..WARM_UP {
            peak::fma_rate(team);
        }
    });
}

/// The results; medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The kernel's work per second.
    pub rate: f64,
    /// Its share of the FMA peak, where the work is floating-point operations.
    pub share_of_peak: Option<f64>,
    /// Times as fast as the naive twin on one thread.
    pub naive_ratio: f64,
    /// Times as fast as matrixmultiply, where that can do the same. It has the threads that the
    /// environment gave it ([`matrixmultiply::THREADS_VARIABLE`]).
    pub matrixmultiply_ratio: Option<f64>,
}

/// Compares the kernel's outputs with its twin's and measures it on all of the pool's threads.
///
/// # Errors
/// In which output the kernel, or matrixmultiply, differs from the twin.
pub fn measure(pool: &Pool, case: &dyn Case, samples: usize) -> Result<Measured, String> {
    let mut out = untouched(case.outputs());
    let mut peer_out = untouched(if case.product().is_some() { out.len() } else { 0 });
    check(pool, case, &mut out)?;
    check_peer(case, &mut peer_out)?;

    let work = case.work().amount();
    let runs = pool.enter(|team| runs_for(SAMPLE, &mut || case.run(team, &mut out)));
    let peer_runs = case
        .product()
        .map(|(a, b)| runs_for(SAMPLE, &mut || matrixmultiply::sgemm(a, b, &mut peer_out)));
    let mut twin = Twin::new(case);

    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    let (mut naive_ratios, mut peer_ratios) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        // The pool is left after each sample: waiting workers would take the peer's cores.
        let (peak, rate) = pool.enter(|team| {
            case.run(team, &mut out);
            (peak::fma_rate(team), work / seconds(runs, || case.run(team, &mut out)))
        });
        rates.push(rate);
        shares.push(rate / peak);
        if let (Some((a, b)), Some(runs)) = (case.product(), peer_runs) {
            let mut run = || matrixmultiply::sgemm(a, b, &mut peer_out);
            run();
            peer_ratios.push(rate * seconds(runs, run) / work);
        }
        if sample < TWIN_SAMPLES {
            naive_ratios.push(rate / twin.rate());
        }
    }
    let share_of_peak = match case.work() {
        Work::Flops(_) => Some(median(shares)),
        Work::Bytes(_) => None,
    };
    Ok(Measured {
        rate: median(rates),
        share_of_peak,
        naive_ratio: median(naive_ratios),
        matrixmultiply_ratio: (!peer_ratios.is_empty()).then(|| median(peer_ratios)),
    })
}

/// One run of the kernel on all of the pool's threads, into `out` of [`Case::outputs`] floats, compared
/// with its twin.
///
/// # Errors
/// In which output the two differ.
pub fn check(pool: &Pool, case: &dyn Case, out: &mut [f32]) -> Result<(), String> {
    case.prepare(out);
    // In f32: the kernels' own tests hold other precisions to a twin of theirs.
    pool.enter_with(Arithmetic::F32, |team| case.run(team, out));
    case.gather(out);
    let expected = expected(case);
    agree(&out[out.len() - expected.len()..], &expected)
}

/// One run of matrixmultiply, against the twin.
fn check_peer(case: &dyn Case, out: &mut [f32]) -> Result<(), String> {
    let Some((a, b)) = case.product() else { return Ok(()) };
    matrixmultiply::sgemm(a, b, out);
    let expected = expected(case);
    agree(&out[out.len() - expected.len()..], &expected)
        .map_err(|fault| format!("matrixmultiply: {fault}"))
}

/// The last of the twin's outputs, as many as it can compute in a short time; or all of them.
fn expected(case: &dyn Case) -> Vec<f32> {
    let Pieces { count, combine } = case.pieces();
    let work = case.work().amount();
    let last = match combine {
        // Pieces that are added up can be compared only when all of them are.
        Combine::Added => count,
        Combine::Beside if work <= WHOLE_TWIN => count,
        Combine::Beside => ((WHOLE_TWIN / work * count as f64) as usize).max(1),
    };
    if last == count {
        let mut expected = vec![0.0; case.outputs()];
        twin_on_all_cores(case, &mut expected);
        return expected;
    }
    let mut expected = vec![0.0; case.outputs() / count * last];
    case.twin(count - last..count, &mut expected);
    expected
}

/// As many pieces of the twin as take the time of a sample.
struct Twin<'a> {
    case: &'a dyn Case,
    pieces: usize,
    runs: u32,
    out: Buffer,
    /// Floats of `out` that these pieces write.
    len: usize,
}

impl<'a> Twin<'a> {
    fn new(case: &'a dyn Case) -> Self {
        let Pieces { count, combine } = case.pieces();
        let len = |pieces: usize| match combine {
            Combine::Beside => case.outputs() / count * pieces,
            Combine::Added => case.outputs(),
        };
        let mut out = untouched(case.outputs());
        case.prepare(&mut out);
        let mut pieces = 1;
        loop {
            let time = seconds(1, || case.twin(0..pieces, &mut out[..len(pieces)]));
            if pieces == count || 2.0 * time > TWIN_SAMPLE.as_secs_f64() {
                break;
            }
            pieces = (2 * pieces).min(count);
        }
        let len = len(pieces);
        let runs = runs_for(TWIN_SAMPLE, &mut || case.twin(0..pieces, &mut out[..len]));
        Self { case, pieces, runs, out, len }
    }

    /// Work per second.
    fn rate(&mut self) -> f64 {
        let Self { case, pieces, runs, out, len } = self;
        let share = *pieces as f64 / case.pieces().count as f64;
        case.work().amount() * share / seconds(*runs, || case.twin(0..*pieces, &mut out[..*len]))
    }
}

/// The number of runs that together take at least about that long.
pub fn runs_for(time: Duration, run: &mut dyn FnMut()) -> u32 {
    let mut runs = 1;
    loop {
        let each = seconds(runs, &mut *run);
        let wanted = time.as_secs_f64();
        if 4.0 * each * f64::from(runs) >= wanted {
            return (wanted / each).ceil() as u32;
        }
        runs *= 4;
    }
}

/// The mean time of one of that many runs, in seconds.
pub fn seconds(runs: u32, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        run();
    }
    start.elapsed().as_secs_f64() / f64::from(runs)
}

/// The median.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
