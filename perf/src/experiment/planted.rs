//! A kernel that can be slowed down. [`super::why`] puts this file into a copy of the kernels' crate, and a call of
//! [`slow`] at the beginning of each kernel that it chooses.

use std::env;
use std::hint::spin_loop;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Makes the function that holds it longer: at its end, it waits for a share of the time since its beginning.
pub struct Slow {
    start: Instant,
    share: f64,
}

/// The share is that of the worker's `--slowdown`, if the kernel is the one that its `--slowed` names. The suite has no
/// benchmark of that name, and slows nothing else down.
pub fn slow(kernel: &str) -> Option<Slow> {
    static TOLD: OnceLock<Option<(String, f64)>> = OnceLock::new();
    slow_as(TOLD.get_or_init(|| told(env::args())).as_ref(), kernel)
}

fn slow_as(told: Option<&(String, f64)>, kernel: &str) -> Option<Slow> {
    told.filter(|(name, _)| name == kernel).map(|&(_, share)| Slow::by(share))
}

/// What the arguments say.
fn told(arguments: impl Iterator<Item = String>) -> Option<(String, f64)> {
    let arguments: Vec<String> = arguments.collect();
    let after = |flag: &str| arguments.iter().skip_while(|word| *word != flag).nth(1);
    Some((after("--slowed")?.clone(), after("--slowdown")?.parse().ok()?))
}

impl Slow {
    fn by(share: f64) -> Self {
        Self { start: Instant::now(), share }
    }

    /// How long a function takes that has been running for so long.
    fn whole(&self, elapsed: Duration) -> Duration {
        elapsed.mul_f64(1.0 + self.share)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let whole = self.whole(self.start.elapsed());
        while self.start.elapsed() < whole {
            spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_is_told_is_waited_for() {
        let words = |text: &str| told(text.split(' ').map(str::to_owned));
        let expected = Some(("gather".to_owned(), 0.25));
        assert_eq!(words("worker --data x --slowdown 0.25 --slowed gather"), expected);
        assert_eq!(words("worker --slowed gather"), None);
        assert_eq!(words("worker"), None);
        assert!(slow("gather").is_none());
        let told = ("gather".to_owned(), 1.5);
        assert!(slow_as(None, "gather").is_none() && slow_as(Some(&told), "loss").is_none());

        let start = Instant::now();
        let slow = slow_as(Some(&told), "gather").unwrap();
        assert_eq!(slow.whole(Duration::from_millis(2)), Duration::from_millis(5));
        thread::sleep(Duration::from_millis(2));
        drop(slow);
        assert!(start.elapsed() >= Duration::from_millis(5));
    }
}
