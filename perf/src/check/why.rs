//! Why a benchmark has become slower: both programs are asked in turn where their time goes, and what of it has grown
//! is named, with what has become of its code.

use crate::code::{Code, Fate};
use crate::program::{Side, Worker, shuffled};
use crate::protocol::{Benchmark, Timed, Twin};
use crate::statistics::median;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use threadcount::Result;

/// Processes of each side that are asked, each with its functions in another order.
const SWEEPS: usize = 4;

/// How long each looks, in seconds, at phases and at code.
const LOOK: f64 = 0.25;

/// What takes less than this share of a run on both sides is not worth a word.
const LEAST_SHARE: f64 = 0.02;

/// What has grown by less than this share of all that has grown is not worth one either.
const LEAST_GROWTH: f64 = 0.1;

/// Where the time of a benchmark has grown.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// The phases that have grown, the one that has grown most first. None, if it has no phases.
    pub phases: Vec<Part>,
    /// The functions that have grown, in the same order.
    pub functions: Vec<Part>,
    /// Whether any function that it spends its time in has other code; unknown if that of either program is.
    pub has_other_code: Option<bool>,
}

/// A part of a run, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it takes of a run, earlier and now.
    pub seconds: [f64; 2],
    /// What has become of its code, if it is a function and that is known.
    pub code: Option<Fate>,
}

impl Part {
    fn growth(&self) -> f64 {
        self.seconds[1] - self.seconds[0]
    }
}

/// Asks both programs; nothing if either is too old to tell, or on a system that does not show it.
///
/// # Errors
/// [`threadcount::Error::Failed`] if a worker dies.
pub fn explain(
    benchmark: &Benchmark,
    earlier: &dyn Side,
    head: &dyn Side,
    rng: &mut ChaCha8Rng,
) -> Result<Option<Why>> {
    let (mut phases, mut functions) = (Looks::default(), Looks::default());
    for turn in 0..SWEEPS {
        let sides = [earlier, head];
        let orders = sides.map(|side| shuffled(side, turn));
        let mut workers = Vec::new();
        for (side, order) in sides.into_iter().zip(orders) {
            workers.push(side.start(order)?);
        }
        if !workers.iter().all(Worker::explains) {
            return Ok(None);
        }
        for worker in &mut workers {
            worker.prepare(benchmark, Twin::Trusted)?;
        }
        let place = rng.random();
        // Each of them is the first as often as the other.
        for index in [turn % 2, (turn + 1) % 2] {
            let seen = workers[index].explain(LOOK, place)?;
            functions[index].push(sides[index].functions(orders[index], &seen.spots)?);
            phases[index].push(seen.phases);
        }
    }
    let code = [earlier, head].map(|side| side.code());
    let [Some(earlier), Some(head)] = &code else {
        return Ok(Some(concluded(&phases, &functions, None)));
    };
    Ok(Some(concluded(&phases, &functions, Some((earlier, head)))))
}

/// What was seen in each look, earlier and now.
type Looks = [Vec<Vec<Timed>>; 2];

/// From the phases and the functions of each look, earlier and now.
fn concluded(phases: &Looks, functions: &Looks, code: Option<(&Code, &Code)>) -> Why {
    let mut functions = parts(functions);
    if let Some((earlier, head)) = code {
        functions.iter_mut().for_each(|part| part.code = Some(earlier.fate(head, &part.name)));
    }
    let is_other = |part: &Part| matches!(part.code, Some(Fate::Changed | Fate::New | Fate::Gone));
    let has_other_code =
        (code.is_some() && !functions.is_empty()).then(|| functions.iter().any(is_other));
    Why { phases: grown(parts(phases)), functions: grown(functions), has_other_code }
}

/// The parts that take long enough on either side; medians over the looks, in which a part that was not seen has
/// taken no time.
fn parts(looks: &Looks) -> Vec<Part> {
    let mut names: Vec<&str> = Vec::new();
    for timed in looks.iter().flatten().flatten() {
        if !names.contains(&&timed.name[..]) {
            names.push(&timed.name);
        }
    }
    let seconds = |name: &str| {
        [&looks[0], &looks[1]].map(|side| {
            let of = |timed: &Vec<Timed>| {
                timed.iter().filter(|timed| timed.name == name).map(|timed| timed.seconds).sum()
            };
            median(&side.iter().map(of).collect::<Vec<f64>>())
        })
    };
    let part = |name: &&str| Part { name: (*name).to_owned(), seconds: seconds(name), code: None };
    let all: Vec<Part> = names.iter().map(part).collect();
    let whole = [0, 1].map(|side| all.iter().map(|part| part.seconds[side]).sum::<f64>());
    let matters = |part: &Part| (0..2).any(|side| part.seconds[side] >= LEAST_SHARE * whole[side]);
    all.into_iter().filter(matters).collect()
}

/// Those that have grown by a good part of all growth, the one that has grown most first.
fn grown(mut parts: Vec<Part>) -> Vec<Part> {
    let all: f64 = parts.iter().map(|part| part.growth().max(0.0)).sum();
    parts.retain(|part| part.growth() > 0.0 && part.growth() >= LEAST_GROWTH * all);
    parts.sort_by(|a, b| b.growth().total_cmp(&a.growth()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(parts: &[(&str, f64)]) -> Vec<Timed> {
        parts.iter().map(|&(name, seconds)| Timed { name: name.into(), seconds }).collect()
    }

    fn names(parts: &[Part]) -> Vec<&str> {
        parts.iter().map(|part| &part.name[..]).collect()
    }

    /// One look of three is disturbed, and says that another part has grown.
    #[test]
    fn what_has_grown_most_is_named_first() {
        let quiet = timed(&[("dense dx", 10.0), ("dense dw", 20.0), ("relu", 5.0), ("loss", 0.1)]);
        let slow = timed(&[("dense dx", 13.0), ("dense dw", 20.1), ("relu", 6.0), ("loss", 0.4)]);
        let disturbed =
            timed(&[("dense dx", 13.0), ("dense dw", 60.0), ("relu", 6.0), ("loss", 0.4)]);
        let quiet = vec![quiet.clone(), quiet.clone(), quiet];
        let looks = [quiet.clone(), vec![slow.clone(), disturbed, slow.clone()]];
        let why = concluded(&looks, &Looks::default(), None);
        assert_eq!(names(&why.phases), ["dense dx", "relu"]);
        assert_eq!(why.phases[0].seconds, [10.0, 13.0]);
        assert_eq!((why.functions.len(), why.has_other_code), (0, None));
        // The other way round nothing but the disturbed look has grown.
        let back = [vec![slow.clone(), slow.clone(), slow], quiet];
        assert!(concluded(&back, &Looks::default(), None).phases.is_empty());
    }

    #[test]
    fn a_function_is_another_or_only_lies_elsewhere() {
        let before = timed(&[("a", 1.0), ("old", 1.0), ("rare", 0.001)]);
        let after = timed(&[("a", 2.0), ("new", 2.0), ("rare", 0.001)]);
        let looks = [vec![before.clone()], vec![after]];
        let phases = Looks::default();
        let (one, two) = (Code::parse("1 a\n2 old\n3 rare\n"), Code::parse("1 a\n2 new\n4 rare\n"));
        let why = concluded(&phases, &looks, Some((&one, &two)));
        let found: Vec<_> = why.functions.iter().map(|part| (&part.name[..], part.code)).collect();
        assert_eq!(found, [("new", Some(Fate::New)), ("a", Some(Fate::Same))]);
        assert_eq!(why.has_other_code, Some(true));
        // A rare one does not count, and what has the same code lies elsewhere.
        let looks = [vec![before.clone()], vec![before]];
        let same = concluded(&phases, &looks, Some((&one, &Code::parse("1 a\n2 old\n"))));
        assert_eq!(same.has_other_code, Some(false));
        assert_eq!(concluded(&phases, &looks, None).has_other_code, None);
    }
}
