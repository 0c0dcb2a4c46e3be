//! L-BFGS: minimises a smooth function of many variables by its gradients, in float64 (Nocedal & Wright,
//! "Numerical Optimization", 2006: algorithms 7.4, 7.5, 3.5 and 3.6).

use std::collections::VecDeque;
use std::ops::ControlFlow;

/// How many of the last steps the curvature is estimated from.
const HISTORY: usize = 10;

/// The conditions on a step (strong Wolfe): the function falls by at least this share of what its slope promises,
const DECREASE: f64 = 1e-4;
/// and the slope at the end is at most this share of that at the start.
const CURVATURE: f64 = 0.9;

/// Iterations without progress after which a minimisation ends: see [`Ended::AtRounding`].
const PATIENCE: usize = 30;

/// The most evaluations of one line search, as in scikit-learn.
const MOST_TRIES: usize = 50;

/// How a minimisation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No component of the gradient is larger than the tolerance.
    Converged,
    /// After the largest number of iterations.
    AtMostIterations,
    /// Neither the function nor its gradient becomes smaller any more: their rounding is larger than what is left to
    /// gain.
    AtRounding,
    /// The caller stopped it.
    Interrupted,
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// The largest component of the gradient that is small enough.
    pub(super) tolerance: f64,
    /// The most iterations.
    pub(super) iterations: usize,
    /// The rounding of the function, as a share of its value.
    pub(super) noise: f64,
}

/// What a minimisation did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimised {
    /// How it ended.
    pub ended: Ended,
    /// Steps that were taken.
    pub iterations: usize,
    /// Evaluations of the function and its gradient.
    pub evaluations: usize,
    /// The function at the end.
    pub value: f64,
    /// The largest magnitude of a component of the gradient at the end.
    pub gradient: f64,
}

/// A step that was taken, and what it did to the gradient.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step . change)
    rho: f64,
}

/// A place, and the function there.
struct Place {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// Minimises `function`, which returns its value at a place and writes its gradient, from `x` on; `x` becomes the
/// best place. `watch` is told the number of iterations after each.
pub(super) fn minimise(
    x: &mut Vec<f64>,
    stop: Stop,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    mut watch: impl FnMut(usize) -> ControlFlow<()>,
) -> Minimised {
    let n = x.len();
    let mut evaluations = 0;
    let mut at = |x: Vec<f64>| {
        evaluations += 1;
        let mut gradient = vec![0.0; n];
        let value = function(&x, &mut gradient);
        Place { x, value, gradient }
    };
    let mut here = at(std::mem::take(x));
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut iterations = 0;
    let mut progress = Progress { value: here.value, gradient: f64::INFINITY, since: 0 };
    let ended = loop {
        if largest(&here.gradient) <= stop.tolerance {
            break Ended::Converged;
        }
        if iterations >= stop.iterations {
            break Ended::AtMostIterations;
        }
        if !progress.goes_on(&here, stop.noise) {
            break Ended::AtRounding;
        }
        let mut direction = newton(&pairs, &here.gradient);
        if dot(&direction, &here.gradient) >= 0.0 {
            // Rounding has spoilt the estimate of the curvature.
            pairs.clear();
            direction = newton(&pairs, &here.gradient);
        }
        let first = match pairs.is_empty() {
            true => (1.0 / dot(&here.gradient, &here.gradient).sqrt()).min(1.0),
            false => 1.0,
        };
        let Some(next) = line_search(&here, &direction, first, stop.noise, &mut at) else {
            match pairs.is_empty() {
                true => break Ended::AtRounding,
                // Once more, along the gradient.
                false => pairs.clear(),
            }
            continue;
        };
        let step: Vec<f64> = next.x.iter().zip(&here.x).map(|(a, b)| a - b).collect();
        let change: Vec<f64> =
            next.gradient.iter().zip(&here.gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * dot(&change, &change) {
            if pairs.len() == HISTORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { step, change, rho: 1.0 / curvature });
        }
        here = next;
        iterations += 1;
        if watch(iterations).is_break() {
            break Ended::Interrupted;
        }
    };
    let (value, gradient) = (here.value, largest(&here.gradient));
    *x = here.x;
    Minimised { ended, iterations, evaluations, value, gradient }
}

/// The smallest value and gradient so far, and how many iterations have not made either smaller.
struct Progress {
    value: f64,
    gradient: f64,
    since: usize,
}

impl Progress {
    /// Whether a place is better than all before it, or one was not long ago.
    fn goes_on(&mut self, here: &Place, noise: f64) -> bool {
        let gradient = largest(&here.gradient);
        let lower = here.value < self.value - noise * self.value.abs();
        if lower || gradient < 0.9 * self.gradient {
            self.since = 0;
        }
        self.value = self.value.min(here.value);
        self.gradient = self.gradient.min(gradient);
        self.since += 1;
        self.since <= PATIENCE
    }
}

/// The direction to the minimum that the last steps foresee: minus the estimated inverse of the second derivatives
/// times the gradient.
fn newton(pairs: &VecDeque<Pair>, gradient: &[f64]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(pairs.len());
    for Pair { step, change, rho } in pairs.iter().rev() {
        let alpha = rho * dot(step, &q);
        add(&mut q, -alpha, change);
        alphas.push(alpha);
    }
    if let Some(Pair { change, rho, .. }) = pairs.back() {
        let scale = 1.0 / (rho * dot(change, change));
        q.iter_mut().for_each(|x| *x *= scale);
    }
    for (Pair { step, change, rho }, alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = rho * dot(change, &q);
        add(&mut q, alpha - beta, step);
    }
    q.iter_mut().for_each(|x| *x = -*x);
    q
}

/// A point on the line: how far along, the function, and its slope.
#[derive(Clone, Copy)]
struct Point {
    t: f64,
    value: f64,
    slope: f64,
}

/// A place along the direction that meets both conditions; `None` if there is none.
///
/// Where the function falls by less than its rounding, its slopes decide alone: the first condition then is that of
/// Hager & Zhang (2005, "approximate Wolfe"), which for a parabola says the same.
fn line_search(
    here: &Place,
    direction: &[f64],
    first: f64,
    noise: f64,
    at: &mut impl FnMut(Vec<f64>) -> Place,
) -> Option<Place> {
    let start = Point { t: 0.0, value: here.value, slope: dot(&here.gradient, direction) };
    let falls = |point: &Point| point.value <= start.value + DECREASE * point.t * start.slope;
    let rounding = noise * start.value.abs();
    let is_downhill = |point: &Point| point.slope <= (2.0 * DECREASE - 1.0) * start.slope;
    let is_flat = |point: &Point| point.slope.abs() <= -CURVATURE * start.slope;
    // The lowest point so far that falls enough, with its place, and what bounds the step on the other side.
    let mut low = (start, None);
    let mut high: Option<Point> = None;
    let mut t = first;
    for _ in 0..MOST_TRIES {
        let x = here.x.iter().zip(direction).map(|(x, d)| x + t * d).collect();
        let place = at(x);
        let point = Point { t, value: place.value, slope: dot(&place.gradient, direction) };
        // A value that is not finite is too far out.
        let is_lower = (falls(&point) && point.value < low.0.value)
            || (point.value <= low.0.value.min(start.value) + rounding && is_downhill(&point));
        if !is_lower {
            high = Some(point);
        } else if is_flat(&point) {
            return Some(place);
        } else {
            // The minimum is on the side to which the function falls.
            let (ahead, behind) = (point.slope < 0.0, low.0.t < point.t);
            if ahead != behind {
                high = Some(low.0);
            }
            low = (point, Some(place));
        }
        t = match high {
            None => t * 2.0_f64.max(extrapolated(low.0, start)),
            Some(high) => between(low.0, high),
        };
        let width = high.map_or(f64::INFINITY, |high| (high.t - low.0.t).abs());
        if width <= f64::EPSILON * t {
            break;
        }
    }
    low.1
}

/// How many times as far the slope is zero, if it goes on changing as from the start to here; at most four.
fn extrapolated(point: Point, start: Point) -> f64 {
    let times = start.slope / (start.slope - point.slope);
    if times.is_finite() { times.clamp(1.0, 4.0) } else { 4.0 }
}

/// The minimum of the cubic through two points and their slopes (3.59), if it is well between them; else their
/// middle.
fn between(low: Point, high: Point) -> f64 {
    let d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.t - high.t);
    let d2 = (d1 * d1 - low.slope * high.slope).sqrt().copysign(high.t - low.t);
    let t =
        high.t - (high.t - low.t) * (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    let share = (t - low.t) / (high.t - low.t);
    if (0.1..=0.9).contains(&share) { t } else { f64::midpoint(low.t, high.t) }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `to += factor * x`
fn add(to: &mut [f64], factor: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(to, x)| *to += factor * x);
}

/// The largest magnitude; NaN if there is one.
fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |most: f64, x| if x.abs() <= most { most } else { x.abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { tolerance: 1e-8, iterations: 1000, noise: f64::EPSILON };

    fn on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// `sum of c_i (x_i - i)^2 / 2` with curvatures from 1 to 10^6.
    fn bowl(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (i, (x, g)) in x.iter().zip(gradient).enumerate() {
            let c = 10_f64.powi(i as i32 % 7);
            *g = c * (x - i as f64);
            value += c * (x - i as f64).powi(2) / 2.0;
        }
        value
    }

    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        gradient[0] = -2.0 * a - 400.0 * x[0] * b;
        gradient[1] = 200.0 * b;
        a * a + 100.0 * b * b
    }

    #[test]
    fn finds_minima() {
        for n in [0, 1, 2, 20] {
            let mut x = vec![-3.0; n];
            let done = minimise(&mut x, STOP, bowl, on);
            assert_eq!(done.ended, Ended::Converged, "{done:?}");
            assert!(x.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-7), "{x:?}");
        }
        let mut x = vec![-1.2, 1.0];
        let done = minimise(&mut x, STOP, rosenbrock, on);
        assert!(done.ended == Ended::Converged && done.evaluations < 100, "{done:?}");
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn says_how_it_ended() {
        let mut x = vec![-1.2, 1.0];
        let few = Stop { iterations: 3, ..STOP };
        let done = minimise(&mut x, few, rosenbrock, on);
        assert_eq!((done.ended, done.iterations), (Ended::AtMostIterations, 3));
        let at_two =
            |done| if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let done = minimise(&mut x, STOP, rosenbrock, at_two);
        assert_eq!((done.ended, done.iterations), (Ended::Interrupted, 2));
        // With a gradient that is never small, as if by rounding.
        let coarse = |x: &[f64], gradient: &mut [f64]| {
            let value = rosenbrock(x, gradient);
            gradient[0] = (gradient[0] * 100.0).round() / 100.0 + 0.003;
            (value * 1e3).round() / 1e3
        };
        let before = coarse(&x, &mut [0.0; 2]);
        let done = minimise(&mut x, STOP, coarse, on);
        assert!(done.ended == Ended::AtRounding && done.value < before, "{done:?}");
    }

    /// A step into places where the function is not a number is taken back.
    #[test]
    fn comes_back_from_where_there_is_no_value() {
        let barrier = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0 - 1.0 / x[0];
            x[0] - x[0].ln()
        };
        let mut x = vec![30.0];
        assert_eq!(minimise(&mut x, STOP, barrier, on).ended, Ended::Converged);
        assert!((x[0] - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn every_line_search_step_meets_the_conditions() {
        let start = |t: f64| (t - 2.0).powi(4) + 0.5 * (3.0 * t).sin();
        let slope = |t: f64| 4.0 * (t - 2.0).powi(3) + 1.5 * (3.0 * t).cos();
        for first in [1e-4, 0.01, 0.3, 1.0, 5.0, 100.0] {
            let here = Place { x: vec![0.0], value: start(0.0), gradient: vec![slope(0.0)] };
            let mut at = |x: Vec<f64>| Place { value: start(x[0]), gradient: vec![slope(x[0])], x };
            let found = line_search(&here, &[1.0], first, 0.0, &mut at).unwrap();
            assert!(found.value <= here.value + DECREASE * found.x[0] * slope(0.0), "{first}");
            assert!(slope(found.x[0]).abs() <= CURVATURE * slope(0.0).abs(), "{first}");
        }
    }
}
