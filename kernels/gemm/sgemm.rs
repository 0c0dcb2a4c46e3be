//! A product in one line, for programs that have no pool of their own.

use super::{Epilogue, Write, gemm};
use crate::machine::machine;
use crate::peak::fma_rate;
use crate::{Isa, Mat, MatMut, Pool, Team};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Products of fewer multiply-adds start no threads and read no clock. Even with the cheapest entries
/// (16 us) two threads took 38 us for 64 x 64 x 64, which is 2^18 multiply-adds, and one thread took 26.
/// (A Zen 3 that others used too, in the profile of the tests; nobody has measured this on idle cores.)
const START_FROM: usize = 1 << 18;

/// The pool of the process.
struct Shared {
    pool: Pool,
    door: Door,
    started: Instant,
}

impl Shared {
    /// `None` where there is one core, or the operating system refuses the threads.
    fn start() -> Option<Self> {
        let (isa, threads) = (Isa::best(), machine().physical_cores);
        let pool = if threads > 1 { Pool::new(isa, threads).ok()? } else { return None };
        // The best of three: other programs only add time.
        let flops = (0..3).map(|_| fma_rate(&Team::solo(isa))).fold(0.0, f64::max);
        Some(Self { pool, door: Door::new(flops / 2.0, threads), started: Instant::now() })
    }

    /// Does a product of so many multiply-adds, on all threads where that pays.
    fn run(&self, steps: usize, product: impl FnOnce(&Team) + Send) {
        let start = self.started.elapsed();
        if !self.door.pays(steps, start) {
            return product(&Team::solo(self.pool.isa()));
        }
        let inside = self.pool.enter_if_free(|team| {
            let entered = Instant::now();
            product(team);
            (team.threads() > 1).then(|| entered.elapsed())
        });
        if let Some(inside) = inside {
            let end = self.started.elapsed();
            self.door.entered(end.saturating_sub(start + inside), end);
        }
    }
}

/// What it costs to wake the pool's threads and to wait until they have left, as measured at each entry:
/// 16 us in a calm moment of a Zen 3, and 10 ms beside other busy programs, where a woken thread waits
/// for a time slice (160 x 160 x 160 then took 26 times as long as on one thread). Costs are kept in
/// nanoseconds, in atomics: a lock that another thread holds would stay locked in the child of a fork.
struct Door {
    /// Multiply-adds that a thread does in a nanosecond at most.
    rate: f64,
    threads: usize,
    /// What the last two entries cost. The cheaper one counts, since one late entry may be chance. Both
    /// begin as zero, so the first two products measure them.
    costs: [AtomicU64; 2],
    /// When the last entry ended, in nanoseconds since the start.
    last: AtomicU64,
}

impl Door {
    /// `rate` is in multiply-adds a second.
    fn new(rate: f64, threads: usize) -> Self {
        Self { rate: rate / 1e9, threads, costs: Default::default(), last: AtomicU64::new(0) }
    }

    /// Whether a product of so many multiply-adds gains twice what an entry costs. If no product does,
    /// one enters anyway after a hundred times that cost, to see whether the cost has fallen.
    fn pays(&self, steps: usize, now: Duration) -> bool {
        let cost = self.costs.each_ref().map(|cost| cost.load(Relaxed)).into_iter().min();
        let cost = cost.unwrap_or(0);
        let gain = steps as f64 / self.rate * (1.0 - 1.0 / self.threads as f64);
        let since = nanoseconds(now).saturating_sub(self.last.load(Relaxed));
        gain > 2.0 * cost as f64 || since > cost.saturating_mul(100)
    }

    /// After an entry.
    fn entered(&self, cost: Duration, now: Duration) {
        let [newer, older] = &self.costs;
        older.store(newer.swap(nanoseconds(cost), Relaxed), Relaxed);
        self.last.store(nanoseconds(now), Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `C = A B` for A of `m x k`, B of `k x n`, C of `m x n`, in one line: for programs that have no
/// [`Pool`] of their own. The old C is not read. With `k = 0`, C becomes zero.
///
/// ```
/// use threadcount_kernels::{Mat, MatMut, sgemm};
///
/// let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0];
/// let mut c = [0.0; 4];
/// sgemm(Mat::new(&a, 2, 3), Mat::new(&b, 3, 2), MatMut::new(&mut c, 2, 2));
/// assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
/// ```
///
/// # Threads
/// The first product of 2^18 multiply-adds or more starts a pool of one thread for each physical core,
/// with the best instruction set of the CPU. It lives as long as the process. `sgemm` never waits for
/// another caller, and may be called from anywhere. It computes on the calling thread alone
/// - if the product is small: it must gain twice what waking the pool costs, which is measured with each
///   use (about 2^20 multiply-adds where waking takes 16 us; beside programs that take the cores, far
///   more),
/// - inside [`Pool::enter`] of any pool, and inside a task: the cores are taken,
/// - while another thread's `sgemm` has the pool,
/// - in the child of a `fork` that came after the start of the pool,
/// - if the operating system refuses the threads.
///
/// The bits of C are the same in all these cases. Each call wakes the pool: a program with many
/// products enters a [`Pool`] once and calls [`gemm`] inside.
///
/// # Coming from matrixmultiply
/// `matrixmultiply::sgemm(m, k, n, alpha, a, rsa, csa, b, rsb, csb, beta, c, rsc, csc)` takes pointers
/// and is unsafe. Here a view carries shape and strides, and is checked when it is made.
///
/// | matrixmultiply, cblas | here |
/// |---|---|
/// | `m, k, a, rsa, csa` | `Mat::strided(a, m, k, rsa, csa)` |
/// | `k, n, b, rsb, csb` | `Mat::strided(b, k, n, rsb, csb)` |
/// | `m, n, c, rsc, csc` | `MatMut::strided(c, m, n, rsc, csc)` |
/// | row-major, `rsa = k, csa = 1` | `Mat::new(a, m, k)` |
/// | column-major, `rsa = 1, csa = m` | `Mat::new(a, k, m).t()` |
/// | `CblasTrans` of a row-major `k x m` | `Mat::new(a, k, m).t()` |
/// | `lda` of a row-major matrix | `Mat::strided(a, m, k, lda, 1)` |
/// | `alpha = 1, beta = 0` | `sgemm(a, b, c)` |
/// | any `alpha`, `beta` | `gemm(team, alpha, a, b, Write::Add { beta }, c, Epilogue::None)` |
/// | negative strides | none: strides are `usize` |
///
/// Both products below are of matrices that lie inside larger ones, with arbitrary strides. The second
/// is `C = 0.5 A B + 2 C`:
///
/// ```
/// use threadcount_kernels::gemm::{Epilogue, Write, gemm};
/// use threadcount_kernels::{Isa, Mat, MatMut, Team, sgemm};
///
/// // Every second column of a 2 x 6 matrix: row stride 6, column stride 2.
/// let wide = [1.0, 9.0, 2.0, 9.0, 3.0, 9.0, 4.0, 9.0, 5.0, 9.0, 6.0, 9.0];
/// let a = Mat::strided(&wide, 2, 3, 6, 2);
/// // A column-major 3 x 2 matrix.
/// let b = Mat::strided(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0], 3, 2, 1, 3);
/// // The left part of a 2 x 3 matrix.
/// let mut c = [7.0; 6];
/// sgemm(a, b, MatMut::strided(&mut c, 2, 2, 3, 1));
/// assert_eq!(c, [4.0, 5.0, 7.0, 10.0, 11.0, 7.0]);
///
/// let (team, write) = (Team::solo(Isa::best()), Write::Add { beta: 2.0 });
/// gemm(&team, 0.5, a, b, write, MatMut::strided(&mut c, 2, 2, 3, 1), Epilogue::None);
/// assert_eq!(c, [10.0, 12.5, 7.0, 25.0, 27.5, 7.0]);
/// ```
///
/// # Panics
/// If the shapes do not fit together, or m n k is 2^60 or more. (Views panic when they are made, if an
/// element would lie outside the slice.)
pub fn sgemm(a: Mat, b: Mat, c: MatMut) {
    static SHARED: OnceLock<Option<Shared>> = OnceLock::new();
    let product = |team: &Team| gemm(team, 1.0, a, b, Write::Set, c, Epilogue::None);
    let steps = a.rows().saturating_mul(a.cols()).saturating_mul(b.cols());
    let is_large = steps >= START_FROM;
    match is_large.then(|| SHARED.get_or_init(Shared::start).as_ref()).flatten() {
        Some(shared) => shared.run(steps, product),
        None => product(&Team::solo(Isa::best())),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// A door of two threads of 20 multiply-adds a nanosecond, after entries that cost so many
    /// nanoseconds, of which the last ended now, at a second.
    fn door(costs: &[u64]) -> Door {
        let door = Door::new(20e9, 2);
        costs.iter().for_each(|&cost| door.entered(Duration::from_nanos(cost), NOW));
        door
    }

    const NOW: Duration = Duration::from_secs(1);

    /// Multiply-adds of so many microseconds on one thread.
    fn steps(micros: usize) -> usize {
        20_000 * micros
    }

    #[test]
    fn a_product_shares_from_twice_what_entering_costs() {
        // Two threads save half of the time.
        let door = door(&[16 * US, 16 * US]);
        assert!(!door.pays(steps(63), NOW));
        assert!(door.pays(steps(65), NOW));
        // Four save three quarters.
        let four = Door { threads: 4, ..door };
        assert!(!four.pays(steps(42), NOW));
        assert!(four.pays(steps(43), NOW));
    }

    #[test]
    fn the_cheaper_of_two_entries_counts() {
        assert!(door(&[]).pays(1, NOW), "nothing is known");
        assert!(door(&[10_000 * US]).pays(1, NOW), "the first one starts the threads");
        for (costs, pays) in [
            (&[10_000 * US, 16 * US][..], true),
            (&[16 * US, 10_000 * US], true),
            (&[16 * US, 10_000 * US, 10_000 * US], false),
            (&[10_000 * US, 10_000 * US, 16 * US], true),
        ] {
            assert_eq!(door(costs).pays(steps(100), NOW), pays, "{costs:?}");
        }
    }

    #[test]
    fn asks_again_after_a_hundred_times_the_cost() {
        let door = door(&[10_000 * US, 10_000 * US]);
        let after = |millis| door.pays(steps(100), NOW + Duration::from_millis(millis));
        assert_eq!([0, 999, 1_001].map(after), [false, false, true]);
        door.entered(Duration::from_micros(16), NOW + Duration::from_secs(1));
        assert!(door.pays(steps(100), NOW + Duration::from_secs(1)));
    }

    #[test]
    fn an_entry_is_measured_without_the_product() {
        let pool = Pool::new(Isa::best(), 2).unwrap();
        let shared = Shared { pool, door: door(&[]), started: Instant::now() };
        let cost = |shared: &Shared| shared.door.costs[0].load(Relaxed);
        let threads = AtomicU64::new(0);
        let product = |team: &Team| {
            threads.store(team.threads() as u64, Relaxed);
            std::thread::sleep(Duration::from_secs(1));
        };
        shared.run(1, product);
        assert_eq!(threads.load(Relaxed), 2);
        assert!((1..900_000 * US).contains(&cost(&shared)), "{} ns", cost(&shared));
        // Inside a team the product stays on the caller's thread, and nothing is learned.
        let before = cost(&shared);
        shared.pool.enter(|_| shared.run(1, |team| threads.store(team.threads() as u64, Relaxed)));
        assert_eq!((threads.load(Relaxed), cost(&shared)), (1, before));
        // The same where the pool does not pay.
        let dear = Shared { door: Door { last: AtomicU64::new(u64::MAX), ..door(&[]) }, ..shared };
        dear.door.costs.iter().for_each(|cost| cost.store(10_000 * US, Relaxed));
        threads.store(0, Relaxed);
        dear.run(steps(100), |team| threads.store(team.threads() as u64, Relaxed));
        assert_eq!((threads.load(Relaxed), cost(&dear)), (1, 10_000 * US));
    }
}
