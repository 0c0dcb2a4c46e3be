//! Which commit it was: a bisection whose answers can be wrong. Each commit has a probability of being the
//! guilty one, the same for all at first; each answer multiplies those that it speaks for by the probability that
//! answers are right, and the others by the probability that they are wrong (Horstein 1963; Waeber, Frazier and
//! Henderson 2013). Nothing here is built or timed.

/// The probability from which on a commit is named.
const CONFIDENCE: f64 = 0.99;

/// A revision is asked again until it is on the one side or on the other but for this: to build another one
/// takes a minute, to ask again less than a second.
const DOUBT: f64 = 0.1 * (1.0 - CONFIDENCE);

/// How often one revision is asked at most. Where answers contradict each other so often, more of them do not help.
const MOST_ANSWERS: usize = 40;

/// What is learned of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is as the base.
    Before,
    /// It is as the head.
    After,
    /// It cannot be asked.
    None,
}

/// What is known of the commits between a base and a head that differ. Commit `i` leads from revision `i` to
/// `i + 1`; revision 0 is the base, the last one the head.
pub struct Search {
    guilt: Vec<f64>,
    /// How often each revision has been asked; nothing of one that cannot be.
    asked: Vec<Option<usize>>,
    /// The probability of a wrong answer.
    error: f64,
}

/// Commits that no revision tells apart, and the probability that the guilty one is among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspects {
    /// The first.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// The probability.
    pub confidence: f64,
}

impl Suspects {
    /// Whether they can be named.
    pub fn is_enough(&self) -> bool {
        self.confidence >= CONFIDENCE
    }
}

impl Search {
    /// Among so many commits, one at least, with answers that are wrong with a probability of `error`.
    pub fn new(commits: usize, error: f64) -> Self {
        let guilt = vec![1.0 / commits as f64; commits];
        Self { guilt, asked: vec![Some(0); commits + 1], error }
    }

    /// The revision to be asked next; none if a commit can be named, or nothing more can be learned.
    pub fn next(&self) -> Option<usize> {
        if self.suspects().is_enough() {
            return None;
        }
        let is_open = |&revision: &usize| {
            self.asked[revision].is_some_and(|asked| asked < MOST_ANSWERS)
                && self.doubt(revision) > DOUBT
        };
        let open: Vec<usize> = (1..self.guilt.len()).filter(is_open).collect();
        let most = |score: &dyn Fn(usize) -> f64, of: &mut dyn Iterator<Item = usize>| {
            of.max_by(|&a, &b| score(a).total_cmp(&score(b)))
        };
        let mut begun = open.iter().copied().filter(|&revision| self.asked[revision] > Some(0));
        most(&|revision| self.doubt(revision), &mut begun).or_else(|| {
            let value = |revision| self.doubt(revision) * self.hope(revision);
            most(&value, &mut open.iter().copied())
        })
    }

    /// Takes an answer of a revision into account.
    pub fn learn(&mut self, revision: usize, answer: Answer) {
        let (right, wrong) = (1.0 - self.error, self.error);
        // The commits that lead to this revision, and those that come after it.
        let [led, later] = match answer {
            Answer::None => return self.asked[revision] = None,
            Answer::Before => [wrong, right],
            Answer::After => [right, wrong],
        };
        self.asked[revision] = self.asked[revision].map(|asked| asked + 1);
        for (commit, guilt) in self.guilt.iter_mut().enumerate() {
            *guilt *= if commit < revision { led } else { later };
        }
        let sum: f64 = self.guilt.iter().sum();
        self.guilt.iter_mut().for_each(|guilt| *guilt /= sum);
    }

    /// The commits that are most probably guilty: one, unless the revisions between them cannot be asked.
    pub fn suspects(&self) -> Suspects {
        let last = self.guilt.len() - 1;
        let mut best = Suspects { first: 0, last, confidence: 0.0 };
        let mut first = 0;
        for commit in 0..=last {
            if commit < last && self.asked[commit + 1].is_none() {
                continue;
            }
            let confidence = self.guilt[first..=commit].iter().sum::<f64>().min(1.0);
            if confidence > best.confidence {
                best = Suspects { first, last: commit, confidence };
            }
            first = commit + 1;
        }
        best
    }

    /// The probability of the less probable side of a revision: what its answer can still decide.
    fn doubt(&self, revision: usize) -> f64 {
        let after: f64 = self.guilt[..revision].iter().sum();
        after.min(1.0 - after)
    }

    /// How much there is to hope from a revision near others that cannot be asked: what does not build was
    /// mostly not mended by the next commit.
    fn hope(&self, revision: usize) -> f64 {
        let broken = (0..self.asked.len()).filter(|&other| self.asked[other].is_none());
        let nearest = broken.map(|other| other.abs_diff(revision)).min();
        nearest.map_or(1.0, |distance| distance as f64 / (distance + 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    /// Asks until the search is over; returns the suspects and the revisions that were asked.
    fn find(
        commits: usize,
        error: f64,
        mut ask: impl FnMut(usize) -> Answer,
    ) -> (Suspects, Vec<usize>) {
        let mut search = Search::new(commits, error);
        let mut built = Vec::new();
        while let Some(revision) = search.next() {
            assert!(revision > 0 && revision < commits, "an end is asked");
            built.push(revision);
            search.learn(revision, ask(revision));
        }
        built.sort_unstable();
        built.dedup();
        (search.suspects(), built)
    }

    fn side(revision: usize, guilty: usize) -> Answer {
        if guilty < revision { Answer::After } else { Answer::Before }
    }

    #[test]
    fn right_answers_find_every_commit_with_few_builds() {
        for commits in 1..=40_usize {
            for guilty in 0..commits {
                let (found, built) = find(commits, 0.05, |revision| side(revision, guilty));
                assert_eq!((found.first, found.last), (guilty, guilty), "of {commits}");
                assert!(found.confidence >= CONFIDENCE);
                let most = commits.next_power_of_two().ilog2() as usize;
                assert!(built.len() <= most, "{commits}, {guilty}: {built:?}");
            }
        }
    }

    /// Worked by hand: of four commits, one answer of the middle with an error of a fifth.
    #[test]
    fn an_answer_counts_as_much_as_it_is_right() {
        let mut search = Search::new(4, 0.2);
        assert_eq!(search.next(), Some(2));
        search.learn(2, Answer::After);
        let expected = [0.4, 0.4, 0.1, 0.1];
        let near = |found: &[f64]| found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-12);
        assert!(near(&search.guilt), "{:?}", search.guilt);
        // It is asked again, before another one is built.
        assert_eq!(search.next(), Some(2));
        search.learn(2, Answer::Before);
        assert!(search.guilt.iter().all(|guilt| (guilt - 0.25).abs() < 1e-12));
    }

    #[test]
    fn wrong_answers_are_outvoted() {
        const SEARCHES: usize = 1_000;
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for error in [0.02, 0.1, 0.2] {
            let (mut right, mut stated, mut builds) = (0, 0.0, 0);
            for _ in 0..SEARCHES {
                let guilty = rng.random_range(0..32);
                let (found, built) = find(32, error, |revision| {
                    let truth = side(revision, guilty);
                    match (rng.random_bool(error), truth) {
                        (false, _) => truth,
                        (true, Answer::After) => Answer::Before,
                        (true, _) => Answer::After,
                    }
                });
                right += usize::from((found.first, found.last) == (guilty, guilty));
                stated += found.confidence;
                builds += built.len();
                assert!(built.len() <= 12, "{error}: {built:?}");
            }
            let stated = stated / SEARCHES as f64;
            assert!(stated >= 0.985, "{error}: {stated}");
            // What is stated is what comes true, but for the chance of a thousand draws.
            assert!(right as f64 / SEARCHES as f64 > stated - 0.012, "{error}: {right}, {stated}");
            assert!(builds <= 6 * SEARCHES, "{error}: {builds}");
        }
    }

    #[test]
    fn a_stretch_that_does_not_build_is_left() {
        for guilty in 0..32 {
            let broken = 11..22;
            let (found, built) = find(32, 0.05, |revision| match broken.contains(&revision) {
                true => Answer::None,
                false => side(revision, guilty),
            });
            assert!((found.first..=found.last).contains(&guilty), "{guilty}: {found:?}");
            if (10..=21).contains(&guilty) {
                assert_eq!((found.first, found.last), (10, 21));
            } else {
                assert_eq!((found.first, found.last), (guilty, guilty));
                assert!(built.len() <= 9, "{guilty}: {built:?}");
            }
        }
    }

    #[test]
    fn where_nothing_builds_all_are_suspects() {
        let (found, built) = find(9, 0.05, |_| Answer::None);
        assert_eq!((found, built.len()), (Suspects { first: 0, last: 8, confidence: 1.0 }, 8));
    }

    #[test]
    fn answers_that_contradict_each_other_end_it() {
        let mut turn = 0;
        let (found, _) = find(8, 0.2, |_| {
            turn += 1;
            if turn % 2 == 0 { Answer::Before } else { Answer::After }
        });
        assert!(found.confidence < CONFIDENCE, "{found:?}");
    }
}
