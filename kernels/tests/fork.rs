//! A pool in the child of a fork, where its threads do not exist. Alone in its program: a child has only
//! the thread that forked, and whatever locks the others held.
#![cfg(all(target_os = "linux", not(miri)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use threadcount_kernels::{Isa, Mat, MatMut, Pool, sgemm};

#[test]
fn a_forked_child_is_refused_and_may_make_a_new_pool() {
    // The message of a panic goes through locks; here nobody reads it.
    std::panic::set_hook(Box::new(|_| ()));
    let pool = Pool::new(Isa::Portable, 2).unwrap();
    let solo = Pool::new(Isa::Portable, 1).unwrap();
    assert!(works(&pool) && works(&solo) && multiplies());
    // SAFETY: the child calls nothing that another thread of this program could have locked: it has no
    // other test, and the harness waits for this one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: both only take a number. A child that hangs is killed.
        unsafe {
            libc::alarm(60);
            libc::_exit(in_child(&pool, &solo))
        }
    }
    let mut status = 0;
    // SAFETY: the child is this process's own.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child hung or crashed: {status:#x}");
    let what = [
        "all well",
        "was let in",
        "another message",
        "no pool of one",
        "no new pool",
        "no product",
    ];
    assert_eq!(what[libc::WEXITSTATUS(status) as usize], "all well");
    assert!(works(&pool), "the parent's pool lives on");
}

/// An index of what is wrong.
fn in_child(pool: &Pool, solo: &Pool) -> i32 {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| works(pool))) else { return 1 };
    match payload.downcast_ref::<String>() {
        Some(why) if why.contains("make a new pool after a fork") => {}
        _ => return 2,
    }
    if !works(solo) {
        return 3;
    }
    if !multiplies() {
        return 5;
    }
    match Pool::new(Isa::Portable, 2) {
        Ok(new) if works(&new) => 0,
        _ => 4,
    }
}

fn works(pool: &Pool) -> bool {
    let sum = AtomicUsize::new(0);
    pool.enter(|team| {
        team.run(100, |task, _| {
            sum.fetch_add(task, Relaxed);
        });
    });
    sum.into_inner() == 4950
}

/// Whether a product that is large enough for the pool of [`sgemm`] is right.
fn multiplies() -> bool {
    let (ones, mut c) = (vec![1.0; 200 * 200], vec![0.0; 200 * 200]);
    let a = Mat::new(&ones, 200, 200);
    sgemm(a, a, MatMut::new(&mut c, 200, 200));
    c.iter().all(|&x| x == 200.0)
}
