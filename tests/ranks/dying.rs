//! Ranks that die, hang, are stopped, or whose disk is full: all others end, and the run goes on from there.

use std::thread;
use std::time::Duration;

use crate::common::desk::Desk;
use crate::common::process::program;
use crate::mpirun::{
    ENDLESS, GONE, bare, endless, model, mpirun, on, one_error, signal, started, success,
    wait_for_all,
};

/// A rank that stops answering ends the run, and a killed one too; nothing is left, and the run can be taken up.
#[test]
fn all_end_with_a_rank_that_dies_or_hangs() {
    for (ranks, victim, name) in [(2, 1, "STOP"), (4, 0, "STOP"), (4, 2, "KILL"), (2, 0, "KILL")] {
        let desk = Desk::new();
        let (mpirun, ids) = endless(&desk, ranks);
        signal(ids[victim], name);
        let (code, time) = wait_for_all(mpirun, &ids);
        assert!(time < GONE, "{name}: {time:?}");
        assert_ne!(code, Some(0));
        let said = desk.read("run.err");
        if name == "STOP" {
            assert_eq!(code, Some(1), "{said}");
            let error = one_error(&said);
            assert!(error.contains(&format!("rank {victim} has not answered")), "{said}");
        }
        resumes(&desk, 1);
    }
}

/// Ctrl-C, and what Slurm sends: to `mpirun`, which passes it on, and to rank 0 alone. All stop after the same batch, and
/// the run goes on with another number of ranks.
#[test]
fn a_stopped_run_is_saved_and_goes_on() {
    for (ranks, name, to_first) in [(2, "INT", false), (2, "TERM", false), (4, "TERM", true)] {
        let desk = Desk::new();
        let mut command = mpirun(&desk, ranks, ENDLESS);
        // A second is too short on a busy machine.
        command.env("OMPI_MCA_odls_base_sigkill_timeout", "5");
        let (mpirun, ids) = started(&desk, command, "run", "run/history.csv", ranks);
        thread::sleep(Duration::from_millis(300));
        signal(if to_first { ids[0] } else { mpirun.0.id() }, name);
        let (code, _) = wait_for_all(mpirun, &ids);
        assert_ne!(code, Some(0), "{name}");
        let said = desk.read("run.err");
        assert!(!said.contains("threadcount: error"), "{said}");
        assert!(said.contains("saved: continue with"), "{name}: {said}");
        assert_eq!(said.matches("saved: continue with").count(), 1, "{said}");
        // In the middle of an epoch, as a rule: not from the last one's end.
        resumes(&desk, [1, 2][usize::from(to_first)]);
    }
}

/// A disk that is full for rank 0 alone, which has to save: from one moment on its files may not grow.
#[test]
fn all_end_with_a_full_disk_of_the_first_rank() {
    let desk = Desk::new();
    let program = assert_cmd::cargo::cargo_bin!("threadcount").display().to_string();
    let mut command = bare(&desk);
    // The signal would end the process, where a full disk is an error.
    let deaf = format!("trap '' XFSZ; exec {program} {ENDLESS}");
    command.args(["-n", "1", "sh", "-c", &deaf, ":", "-n", "1", &program]);
    command.args(ENDLESS.split_whitespace());
    let (mpirun, ids) = started(&desk, command, "run", "run/history.csv", 2);
    let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    // SAFETY: the new limit is read, and no old one is written.
    let code =
        unsafe { libc::prlimit(ids[0] as i32, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
    assert_eq!(code, 0);
    let (code, time) = wait_for_all(mpirun, &ids);
    let said = desk.read("run.err");
    assert!(time < GONE && code == Some(1), "{time:?}, {code:?}: {said}");
    let error = one_error(&said);
    assert!(error.contains("run") && error.contains("File too large"), "{said}");
    resumes(&desk, 2);
}

/// Taken up on so many ranks, the run has the weights of one that was never stopped.
fn resumes(desk: &Desk, ranks: usize) {
    let done = desk.read("run/history.csv").lines().count() - 1;
    let rest = format!("train --resume run --epochs {} --threads 1", done + 1);
    success(on(desk, ranks, &rest));
    let whole = format!(
        "train nlp-softmax --epochs {} --batch-size 32 --shards 4 --threads 1 --out whole",
        done + 1
    );
    success(program(desk, &whole));
    assert!(model(desk, "run") == model(desk, "whole"), "{done} epochs");
}

/// As often as `THREADCOUNT_KILLS` says: a random rank is killed, or stopped, at a random moment, and the run is
/// taken up on a random number of ranks.
#[test]
#[ignore = "takes seconds a round"]
fn kills_at_random_moments() {
    let rounds = std::env::var("THREADCOUNT_KILLS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut seed = 1_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let desk = Desk::new();
        let ranks = [2, 4][draw(2) as usize];
        let (victim, name) = (draw(ranks) as usize, ["KILL", "KILL", "STOP"][draw(3) as usize]);
        let (mpirun, ids) = endless(&desk, ranks as usize);
        thread::sleep(Duration::from_millis(draw(1_500)));
        signal(ids[victim], name);
        let (code, time) = wait_for_all(mpirun, &ids);
        assert!(time < GONE && code != Some(0), "round {round}: {name}, {time:?}, {code:?}");
        slowest = slowest.max(time);
        resumes(&desk, [1, 2, 4][draw(3) as usize]);
    }
    println!("{rounds} rounds, the slowest end after {slowest:?}");
}
