//! The path of messages by which all processes come to have what one has: those that have it double in number with each
//! message.

/// A message, as one of two processes sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// To another process; nothing is waited for.
    To(usize),
    /// From another process.
    From(usize),
}

/// The messages of process `rank` of `ranks`, in their order, if `root` has it first.
pub(crate) fn from_one(ranks: usize, root: usize, rank: usize) -> impl Iterator<Item = Hop> {
    let place = (rank + ranks - root) % ranks;
    let at = move |place: usize| (place + root) % ranks;
    let rounds = std::iter::successors(Some(1), |have| Some(2 * have));
    rounds.take_while(move |&have| have < ranks).filter_map(move |have| {
        if place < have && place + have < ranks {
            Some(Hop::To(at(place + have)))
        } else if (have..2 * have).contains(&place) {
            Some(Hop::From(at(place - have)))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everyone but the root hears once, of one who has it already; as many rounds as the number doubles.
    #[test]
    fn all_hear_once_from_one_who_has_heard() {
        for ranks in [1, 2, 3, 4, 5, 7, 8, 9, 17] {
            for root in 0..ranks {
                let paths: Vec<Vec<Hop>> =
                    (0..ranks).map(|rank| from_one(ranks, root, rank).collect()).collect();
                for (rank, path) in paths.iter().enumerate() {
                    let heard = path.iter().filter(|hop| matches!(hop, Hop::From(_))).count();
                    assert_eq!(heard, usize::from(rank != root), "{rank} of {ranks} from {root}");
                    // Who hears, hears before it tells.
                    assert!(path.iter().skip(1).all(|hop| matches!(hop, Hop::To(_))), "{path:?}");
                    for hop in path {
                        let (other, answer) = match *hop {
                            Hop::To(to) => (to, Hop::From(rank)),
                            Hop::From(from) => (from, Hop::To(rank)),
                        };
                        assert!(paths[other].contains(&answer), "{rank}: {hop:?}");
                    }
                }
                assert_eq!(paths[root].len(), ranks.next_power_of_two().ilog2() as usize);
            }
        }
    }
}
