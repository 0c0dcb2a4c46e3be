//! Messages, and the end of all ranks with one of them.

use std::thread;

use super::super::link::{in_world, threads};
use super::super::world::World;
use super::*;

const TAG: u32 = 7;

#[test]
fn bytes_come_back_from_words() {
    for len in 0..9 {
        let bytes: Vec<u8> = (0..len).map(|i| 240 + i).collect();
        assert_eq!(unpacked(&packed(&bytes)), Some(bytes));
    }
    assert_eq!(unpacked(&[]), None);
    assert_eq!(unpacked(&[5, 0]), None);
    assert_eq!(unpacked(&[1, 0, 0]), None);
}

/// Each tag is a queue of its own.
#[test]
fn messages_keep_their_order_within_a_tag() {
    let received = in_world(2, |world| {
        let mut all = Vec::new();
        for i in 0..50 {
            world.send(1 - world.rank(), i % 3, &[i as f32])?;
        }
        for tag in [2, 0, 1] {
            for _ in (tag..50).step_by(3) {
                let mut value = [0.0];
                world.receive(1 - world.rank(), tag, &mut value)?;
                all.push(value[0] as u32);
            }
        }
        Ok(all)
    });
    for all in received {
        let expected: Vec<u32> = [2, 0, 1].into_iter().flat_map(|t| (t..50).step_by(3)).collect();
        assert_eq!(all.unwrap(), expected);
    }
}

#[test]
fn all_have_what_the_first_has() {
    let shared = in_world(3, |world| world.shared(TAG, vec![world.rank() as u8 + 5]));
    assert!(shared.into_iter().all(|bytes| bytes.unwrap() == [5]));
    let agreed = in_world(3, |world| world.agree(TAG, "data", "abc"));
    assert!(agreed.into_iter().all(|result| result.is_ok()));
    let agreed = in_world(3, |world| {
        world.agree(TAG, "data set", if world.rank() == 2 { "x" } else { "abc" })
    });
    for result in agreed {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("rank 2 has another data set than rank 0"), "{error}");
    }
}

#[test]
fn another_number_of_values_is_an_error() {
    let results = in_world(2, |world| match world.rank() {
        0 => world.send(1, TAG, &[1.0, 2.0]),
        _ => world.receive(0, TAG, &mut [0.0]),
    });
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("rank 0 sent 2 numbers where 1 belong"), "{error}");
}

/// A rank that fails says why, and all others end with it, also those that wait for a third one.
#[test]
fn all_end_with_the_one_that_fails() {
    let ended = in_world(4, |world| match world.rank() {
        2 => Err(Error::Failed("the disk is full".into())),
        1 => world.receive(3, TAG, &mut [0.0]),
        rank => world.receive(if rank == 0 { 2 } else { 0 }, TAG, &mut [0.0]),
    });
    for (rank, result) in ended.into_iter().enumerate() {
        let error = result.unwrap_err().to_string();
        let expected =
            if rank == 2 { "the disk is full" } else { "rank 2 failed: the disk is full" };
        assert_eq!(error, expected);
    }
}

#[test]
fn all_end_with_the_one_that_panics() {
    let ended = in_world(2, |world| match world.rank() {
        0 => panic!("on purpose"),
        _ => world.receive(0, TAG, &mut [0.0]),
    });
    let error = ended[1].as_ref().unwrap_err().to_string();
    assert_eq!(error, "rank 0 failed: it has panicked");
    assert!(ended[0].is_err());
}

/// A rank that has ended is waited for by nobody.
#[test]
fn what_a_rank_did_not_send_is_an_error() {
    let ended = in_world(2, |world| match world.rank() {
        0 => Ok(()),
        _ => world.receive(0, TAG, &mut [0.0]),
    });
    assert!(ended[0].is_ok());
    let error = ended[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("rank 0 has ended before"), "{error}");
}

/// A rank whose service does not run is noticed by its silence, and named by all others.
#[test]
fn all_end_with_the_one_that_is_silent() {
    let [beat, silence, grace] = [20, 400, 200].map(Duration::from_millis);
    let limits = Limits { beat, silence, grace };
    let mut links = threads(3);
    let _silent = links.remove(1);
    // Before any of them: one rank tells the other, which may have begun later.
    let began = Instant::now();
    let run = |mut link| {
        let work = |world: &World| world.receive(2 - world.rank(), TAG, &mut [0.0]);
        let (result, fault) = World::run(&mut link, limits, |_| {}, work);
        (result, fault, began.elapsed())
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = links.into_iter().map(|link| scope.spawn(move || run(link))).collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    for (result, fault, time) in ended {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("rank 1 has not answered for 0.4 s"), "{error}");
        assert_eq!((fault.as_ref().unwrap().rank, &fault.unwrap().said), (1, &None));
        assert!(time >= silence, "{time:?}");
    }
}

/// Work that goes on after another rank has failed is reported.
#[test]
fn work_that_does_not_end_is_told_of() {
    let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
    let (stuck, done) = (Mutex::new(None), std::sync::Barrier::new(2));
    thread::scope(|scope| {
        let mut links = threads(2).into_iter();
        let (mut busy, mut failing) = (links.next().unwrap(), links.next().unwrap());
        scope.spawn(move || {
            World::run(
                &mut failing,
                limits,
                |_| {},
                |_| Err::<(), _>(Error::Failed("early".into())),
            )
        });
        let tell = |fault: &Fault| {
            *stuck.lock().unwrap() = Some(fault.clone());
            done.wait();
        };
        World::run(&mut busy, limits, tell, |_| {
            done.wait();
            Ok(())
        })
        .0
        .unwrap();
    });
    let fault = stuck.into_inner().unwrap().unwrap();
    assert_eq!((fault.rank, fault.said.as_deref()), (1, Some("early")));
}

#[test]
fn what_the_first_has_is_spread_to_all() {
    for ranks in [1, 2, 3, 4, 5, 7, 8, 9] {
        let spread = in_world(ranks, |world| {
            let mut values = [world.rank() as f32 + 3.0, 1.0];
            world.spread(TAG, &mut values)?;
            Ok((values, world.traffic().messages))
        });
        let spread: Vec<_> = spread.into_iter().map(Result::unwrap).collect();
        assert!(spread.iter().all(|(values, _)| *values == [3.0, 1.0]), "{ranks}: {spread:?}");
        // One to each but the first, and nobody sends more than there are doublings.
        let sent: u64 = spread.iter().map(|(_, sent)| sent).sum();
        assert_eq!(sent, ranks as u64 - 1);
        let most = u64::from(ranks.next_power_of_two().trailing_zeros());
        assert!(spread.iter().all(|(_, sent)| *sent <= most), "{ranks}: {spread:?}");
    }
}

#[test]
fn what_is_said_and_waited_for_is_counted() {
    const LATE: Duration = Duration::from_millis(60);
    let traffic = in_world(2, |world| {
        if world.rank() == 1 {
            thread::sleep(LATE);
            world.send(0, TAG, &[1.0; 9])?;
            world.send_bytes(0, TAG, b"four")?;
        } else {
            let mut values = [0.0; 9];
            assert!(!world.receive_if_here(1, TAG, &mut values)?);
            world.receive(1, TAG, &mut values)?;
            assert_eq!((values, world.receive_bytes(1, TAG)?), ([1.0; 9], b"four".to_vec()));
        }
        Ok(world.traffic())
    });
    let [first, second] = [0, 1].map(|rank| *traffic[rank].as_ref().unwrap());
    assert_eq!((first.messages, first.bytes), (0, 0));
    assert!(first.waited > LATE / 2, "{first:?}");
    // A tag before each; and the number of the bytes.
    assert_eq!((second.messages, second.bytes), (2, 4 * (10 + 3)));
    assert_eq!(second.waited, Duration::ZERO);
    let more = super::super::traffic::Traffic { messages: 5, bytes: 60, waited: LATE };
    let mut sum = second;
    sum += more;
    assert_eq!(sum - more, second);
}

/// What has come is taken at once, and only under its tag.
#[test]
fn what_has_come_is_not_waited_for() {
    let taken = in_world(2, |world| {
        let mut values = [0.0];
        if world.is_first() {
            world.send(1, TAG, &[5.0])?;
            world.send(1, TAG + 1, &[6.0])?;
            return Ok(values);
        }
        // The second one comes after the first.
        world.receive(0, TAG + 1, &mut values)?;
        assert_eq!(values, [6.0]);
        assert!(world.receive_if_here(0, TAG, &mut values)?);
        assert!(!world.receive_if_here(0, TAG, &mut [0.0])?);
        Ok(values)
    });
    assert_eq!(*taken[1].as_ref().unwrap(), [5.0]);
}
