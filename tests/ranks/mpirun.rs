//! The program under `mpirun`, and its ranks' processes.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::desk::Desk;
use crate::common::process::{Running, command, program, wait_for};

/// Every rank has to be gone by then.
pub(crate) const GONE: Duration = Duration::from_secs(10);

/// `mpirun`: as root too, and with more ranks than cores.
pub(crate) fn bare(desk: &Desk) -> Command {
    let mut mpirun = command(desk, "mpirun");
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
        ("PRTE_MCA_hwloc_default_binding_policy", "none"),
        // Tables are whole.
        ("COLUMNS", "1000"),
    ] {
        mpirun.env(name, value);
    }
    mpirun
}

/// `mpirun` with the program and these arguments.
pub(crate) fn mpirun(desk: &Desk, ranks: usize, args: &str) -> Command {
    let mut mpirun = bare(desk);
    mpirun.args(["-n", &ranks.to_string()]);
    mpirun.arg(assert_cmd::cargo::cargo_bin!("threadcount"));
    mpirun.args(args.split_whitespace());
    mpirun
}

/// The same on one rank, which needs no `mpirun`.
pub(crate) fn on(desk: &Desk, ranks: usize, args: &str) -> Command {
    match ranks {
        1 => program(desk, args),
        _ => mpirun(desk, ranks, args),
    }
}

#[track_caller]
pub(crate) fn success(mut command: Command) -> Output {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    output
}

pub(crate) fn model(desk: &Desk, run: &str) -> Vec<u8> {
    fs::read(desk.path(&format!("{run}/model.safetensors"))).unwrap()
}

/// The one line of the program's error.
#[track_caller]
pub(crate) fn one_error(said: &str) -> &str {
    let errors: Vec<_> = said.lines().filter(|line| line.contains("threadcount: error")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0]
}

/// A run without end.
pub(crate) const ENDLESS: &str =
    "train nlp-softmax --epochs 100000 --batch-size 32 --shards 4 --threads 1 --out run";

/// A run without end, with the numbers of its ranks' processes.
pub(crate) fn endless(desk: &Desk, ranks: usize) -> (Running, Vec<u32>) {
    started(desk, mpirun(desk, ranks, ENDLESS), "run", "run/history.csv", ranks)
}

/// Waits until there is such a file; what the program says goes into a file named after `name`.
pub(crate) fn started(
    desk: &Desk,
    mut command: Command,
    name: &str,
    file: &str,
    ranks: usize,
) -> (Running, Vec<u32>) {
    let said = fs::File::create(desk.path(&format!("{name}.err"))).unwrap();
    let running = Running::start(command.stdout(Stdio::null()).stderr(said));
    wait_for(&desk.path(file));
    let ids = children(running.0.id());
    assert_eq!(ids.len(), ranks);
    (running, ids)
}

/// The processes that `mpirun` has started, in the order of their ranks.
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let is_child = status.lines().any(|line| line == format!("PPid:\t{parent}"));
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let rank = environment.split(|&byte| byte == 0).find_map(|variable| {
            let text = std::str::from_utf8(variable).ok()?;
            let is_rank = |name: &str| ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].contains(&name);
            let (_, rank) = text.split_once('=').filter(|(name, _)| is_rank(name))?;
            rank.parse::<usize>().ok()
        });
        found.extend(rank.filter(|_| is_child).map(|rank| (rank, id)));
    }
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

pub(crate) fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
    assert!(sent.unwrap().success(), "{name}");
}

/// Waits until `mpirun` and all ranks have ended: the exit code, and how long that took.
#[track_caller]
pub(crate) fn wait_for_all(mut mpirun: Running, ids: &[u32]) -> (Option<i32>, Duration) {
    let began = Instant::now();
    let status = mpirun.end();
    // One that has ended may wait for its parent, and is nothing but a number then.
    let is_there = |id: &&u32| fs::read_link(format!("/proc/{id}/exe")).is_ok();
    while ids.iter().any(|id| is_there(&id)) {
        assert!(began.elapsed() < GONE, "still there: {ids:?}");
        thread::sleep(Duration::from_millis(20));
    }
    (status.code(), began.elapsed())
}
