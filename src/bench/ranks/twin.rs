//! The plain twin of the simulation: the messages of a sum from the definition of the tree, and one event after the
//! other, each time the earliest of all ranks.

use super::script::Item;
use super::simulate::{LinkCost, STEPS, message};
use crate::nn::StepSum;

/// A sender and a receiver.
type Message = (usize, usize);

/// The messages of a sum, in an order in which each rank says and hears its own.
fn path(ranks: usize, turn: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    // The rank that has the sum of the group which begins with this one.
    let mut holder: Vec<usize> = (0..ranks).collect();
    let mut level = 0;
    while 1 << level < ranks {
        let reach = 1 << level;
        for left in (0..ranks).step_by(2 * reach).filter(|left| left + reach < ranks) {
            let (one, other) = (holder[left], holder[left + reach]);
            let (from, to) = if turn >> level & 1 == 1 { (one, other) } else { (other, one) };
            messages.push((from, to));
            holder[left] = to;
        }
        level += 1;
    }
    messages.extend(from_one(ranks, holder[0]));
    messages
}

/// From one rank to all: in each round, all that have it send it on.
fn from_one(ranks: usize, root: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut have = 1;
    while have < ranks {
        for place in 0..have.min(ranks - have) {
            messages.push(((place + root) % ranks, (place + have + root) % ranks));
        }
        have *= 2;
    }
    messages
}

struct Rank {
    clock: f64,
    port: f64,
    /// Items done.
    done: usize,
    /// Of every sum, the messages of this rank that are left in this step.
    left: Vec<Vec<Message>>,
}

/// The seconds of a step, as [`super::simulate`].
pub(super) fn naive(ranks: usize, items: &[Item], sums: &[StepSum], link: LinkCost) -> f64 {
    let flow = sums.len();
    let all_of = |rank: usize| -> Vec<Vec<Message>> {
        let paths = (0..=flow).map(|sum| match sums.get(sum) {
            Some(sum) => path(ranks, sum.turn % ranks.next_power_of_two()),
            None => from_one(ranks, 0),
        });
        let own = |&(from, to): &Message| from == rank || to == rank;
        paths.map(|path| path.into_iter().filter(own).collect()).collect()
    };
    let size = |sum: usize| message(sums.get(sum).map_or(1, |sum| sum.floats));
    let new = |rank| Rank { clock: 0.0, port: 0.0, done: 0, left: all_of(rank) };
    let mut state: Vec<Rank> = (0..ranks).map(new).collect();
    // What is under way: sum, sender, receiver, arrival.
    let mut air: Vec<(usize, Message, f64)> = Vec::new();
    let mut ends = [0.0_f64; STEPS];
    loop {
        // When each rank can do its next thing, and what is needed for that.
        let time = |rank: usize| -> Option<f64> {
            let Rank { clock, done, left, .. } = &state[rank];
            let sum = match items[done % items.len()] {
                _ if *done == STEPS * items.len() => return None,
                Item::Finish(sum) => sum,
                Item::Flow => flow,
                Item::Compute(_) | Item::Begin(_) | Item::GoOn(_) => return Some(*clock),
            };
            match left[sum].first() {
                Some(message) if message.1 == rank => {
                    let found = air.iter().find(|one| (one.0, one.1) == (sum, *message));
                    found.map(|one| one.2.max(*clock))
                }
                _ => Some(*clock),
            }
        };
        let times = (0..ranks).filter_map(|rank| time(rank).map(|time| (time, rank)));
        let Some((time, rank)) = times.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        let own = &mut state[rank];
        own.clock = time;
        // The first message that can be sent or taken in; else the item is done.
        let (some, mut is_done) = match items[own.done % items.len()] {
            Item::Compute(seconds) => {
                own.clock += seconds;
                (0..0, true)
            }
            Item::Begin(sum) => (sum..sum + 1, true),
            Item::GoOn(until) => (0..until, true),
            Item::Finish(sum) => (sum..sum + 1, own.left[sum].is_empty()),
            Item::Flow => (flow..flow + 1, own.left[flow].is_empty()),
        };
        for sum in some {
            let Some(&next) = own.left[sum].first() else { continue };
            if next.0 == rank {
                own.port = own.port.max(own.clock) + size(sum) * link.per_byte;
                air.push((sum, next, own.port + link.latency));
            } else {
                let found =
                    air.iter().position(|one| (one.0, one.1) == (sum, next) && one.2 <= own.clock);
                let Some(place) = found else { continue };
                air.remove(place);
            }
            own.left[sum].remove(0);
            is_done = false;
            break;
        }
        if is_done {
            own.done += 1;
            if own.done.is_multiple_of(items.len()) {
                let step = own.done / items.len() - 1;
                ends[step] = ends[step].max(own.clock);
                own.left = all_of(rank);
            }
        }
    }
    assert!(state.iter().all(|rank| rank.done == STEPS * items.len()), "ranks wait for ever");
    (ends[STEPS - 1] - ends[0]) / (STEPS - 1) as f64
}

mod tests {
    use super::*;
    use crate::bench::ranks::script::{Script, SharedStep};
    use crate::bench::ranks::simulate;
    use crate::nn::{Part, When};

    const LINKS: [LinkCost; 4] = [
        LinkCost { latency: 1e-6, per_byte: 1e-12 },
        LinkCost { latency: 3e-4, per_byte: 1e-12 },
        LinkCost { latency: 1e-6, per_byte: 2e-8 },
        LinkCost { latency: 2e-5, per_byte: 1e-9 },
    ];

    fn sum(part: Part, floats: usize, when: When, turn: usize) -> StepSum {
        StepSum { part, floats, when, turn }
    }

    fn script(batch_norm: bool) -> Script {
        use When::{AtOnce, Meanwhile};
        let part = |part, base: f64, each: f64, sums: &[StepSum]| {
            let sums = sums.iter().copied().filter(|sum| batch_norm || sum.when == Meanwhile);
            SharedStep { part, seconds: [base * 1e-6, each * 1e-6], sums: sums.collect() }
        };
        let (forward, loss) = (Part::Forward(1), Part::Loss);
        let [two, one, zero] = [2, 1, 0].map(Part::Backward);
        Script {
            parts: vec![
                part(Part::Gather, 3.0, 1.0, &[]),
                part(Part::Forward(0), 7.0, 11.0, &[]),
                part(forward, 2.0, 1.3, &[sum(forward, 64, AtOnce, 0)]),
                part(loss, 1.0, 0.2, &[sum(loss, 4, Meanwhile, 0)]),
                part(
                    two,
                    9.0,
                    5.0,
                    &[
                        sum(two, 65_536, Meanwhile, 0),
                        sum(two, 65_536, Meanwhile, 1),
                        sum(two, 9_000, Meanwhile, 2),
                    ],
                ),
                part(one, 2.0, 2.0, &[sum(one, 64, AtOnce, 0)]),
                part(zero, 4.0, 13.0, &[sum(zero, 500, Meanwhile, 3)]),
                part(Part::Update, 40.0, 0.0, &[]),
            ],
        }
    }

    fn seconds(ranks: usize, items: &[Item], script: &Script, link: LinkCost) -> f64 {
        simulate(ranks, items, &script.sums(), link).unwrap().seconds
    }

    /// Numbers of ranks around powers of two, too, and every kind of link.
    #[test]
    fn the_simulation_is_that_of_its_twin() {
        for batch_norm in [false, true] {
            let script = script(batch_norm);
            for ranks in [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17] {
                for link in LINKS {
                    for items in [script.items(3.0), script.items(40.0), script.exchange()] {
                        let expected = naive(ranks, &items, &script.sums(), link);
                        let found = seconds(ranks, &items, &script, link);
                        assert!(
                            (found - expected).abs() <= 1e-12 + 1e-9 * expected,
                            "{ranks} ranks, {link:?}: {found}, not {expected}"
                        );
                    }
                }
            }
        }
    }

    /// By hand: a sum of a power of two of ranks goes up and down as many levels; what rank 0 tells is one way.
    #[test]
    fn sums_alone_take_two_ways_through_the_tree() {
        let one = sum(Part::Forward(0), 99, When::AtOnce, 0);
        let link = LinkCost { latency: 5e-6, per_byte: 1e-9 };
        for (ranks, levels) in [(1, 0.0), (2, 1.0), (4, 2.0), (8, 3.0), (64, 6.0)] {
            let items = [Item::Begin(0), Item::Finish(0), Item::Flow];
            let steps = simulate(ranks, &items, &[one], link).unwrap();
            let [sum, flow] = [400.0, 8.0].map(|bytes| bytes * 1e-9 + 5e-6);
            // The step's first part waits for nobody, so that the last to hear of the end is not waited for twice.
            let most = levels * (2.0 * sum + flow);
            assert!(steps.seconds <= most * 1.000_001, "{ranks}: {} > {most}", steps.seconds);
            assert!(steps.seconds >= levels * 2.0 * sum * 0.999_999, "{ranks}: {}", steps.seconds);
            let messages = (ranks - 1) as f64;
            assert_eq!(steps.messages, 3.0 * messages);
            assert_eq!(steps.bytes, messages * (2.0 * 400.0 + 8.0));
        }
    }

    /// More of anything that takes time never makes a step shorter, and none is shorter than its computing.
    #[test]
    fn steps_are_longer_with_slower_links_and_more_ranks() {
        let script = script(true);
        for samples in [1.0, 64.0] {
            let items = script.items(samples);
            let computing = script.computing(samples);
            let of = |ranks, link| seconds(ranks, &items, &script, link);
            for ranks in [2, 8, 64, 256] {
                let slow = LinkCost { latency: 2e-5, per_byte: 1e-9 };
                let base = of(ranks, slow);
                assert!(base >= computing);
                let later = of(ranks, LinkCost { latency: 4e-5, ..slow });
                let thinner = of(ranks, LinkCost { per_byte: 4e-9, ..slow });
                assert!(later > base && thinner > base, "{ranks}: {base}, {later}, {thinner}");
                let more = of(2 * ranks, slow);
                assert!(more > base, "{ranks}: {base}, twice as many: {more}");
            }
            let free = of(64, LinkCost { latency: 1e-12, per_byte: 0.0 });
            assert!((free - computing).abs() < 1e-3 * computing, "{free}, {computing}");
            assert!((of(1, LINKS[1]) - computing).abs() < 1e-9 * computing);
        }
    }

    /// What travels while a rank computes costs nothing: without the sums that it waits for, a long backward pass hides
    /// all but the last one.
    #[test]
    fn messages_travel_while_ranks_compute() {
        let script = script(false);
        let link = LinkCost { latency: 2e-5, per_byte: 1e-9 };
        let (items, alone) = (script.items(400.0), seconds(2, &script.exchange(), &script, link));
        let exposed = seconds(2, &items, &script, link) - script.computing(400.0);
        assert!(exposed > 0.0 && exposed < 0.5 * alone, "{exposed} of {alone}");
    }
}
