//! Training in shards, and in several processes under `mpirun`: the command line. The tests in `under_mpi` need the
//! feature `mpi`, and `mpirun`.

mod common {
    pub mod desk;
    pub mod process;
}

use std::fs;

use common::desk::Desk;

const LAYERS: &str =
    "layers = [{ kind = \"flatten\" }, { kind = \"dense\", units = \"classes\" }]\n";

/// What run.toml says of the shards; 1 if it says nothing.
fn shards(desk: &Desk, run: &str) -> i64 {
    let record: toml::Table = desk.read(&format!("{run}/run.toml")).parse().unwrap();
    record["task"].get("shards").map_or(1, |shards| shards.as_integer().unwrap())
}

/// The recipe, then `threadcount.toml`, then the variable, then the flag.
#[test]
fn each_place_for_the_shards_beats_the_one_before() {
    let desk = Desk::new();
    let train =
        |run: &str, flags: &str| desk.run(&format!("train my.toml --epochs 1 --out {run}{flags}"));
    fs::write(desk.path("my.toml"), LAYERS).unwrap();
    train("none", "").assert().success();
    assert_eq!(shards(&desk, "none"), 1);
    fs::write(desk.path("my.toml"), format!("shards = 2\n{LAYERS}")).unwrap();
    train("recipe", "").assert().success();
    assert_eq!(shards(&desk, "recipe"), 2);
    fs::write(desk.path("threadcount.toml"), "shards = 3\n").unwrap();
    train("file", "").assert().success();
    assert_eq!(shards(&desk, "file"), 3);
    train("variable", "").env("THREADCOUNT_SHARDS", "4").assert().success();
    assert_eq!(shards(&desk, "variable"), 4);
    train("flag", " --shards 5").env("THREADCOUNT_SHARDS", "4").assert().success();
    assert_eq!(shards(&desk, "flag"), 5);
    // A run keeps its own.
    let resume = desk.run("train --resume flag --epochs 2").env("THREADCOUNT_SHARDS", "4").assert();
    resume.success();
    assert_eq!(shards(&desk, "flag"), 5);
    desk.refuses("train --resume flag --shards 2", 2, "--shards: a resumed run keeps");
    // Each number of shards has bits of its own, and the same ones at any number of threads.
    train("again", " --shards 5 --threads 2").assert().success();
    let model = |run: &str| fs::read(desk.path(&format!("{run}/model.safetensors"))).unwrap();
    assert_ne!(model("variable"), model("file"));
    desk.run("train my.toml --epochs 2 --shards 5 --out whole").assert().success();
    assert_eq!(model("whole"), model("flag"));
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let desk = Desk::new();
    desk.refuses("train nlp-softmax --shards 0", 2, "--shards: at least 1, not 0");
    desk.refuses("train nlp-softmax --batch-size 1 --shards 2", 2, "a batch of one sample");
    desk.refuses("train nlp-softmax --batch-size 8 --shards 9", 2, "cannot be cut into 9");
    fs::write(desk.path("my.toml"), format!("shards = 0\n{LAYERS}")).unwrap();
    desk.refuses("train my.toml", 2, "shards");
    assert!(!desk.path("runs").exists());
}

/// Whoever starts several processes of a program without MPI is told so, once.
#[test]
#[cfg(not(feature = "mpi"))]
fn ranks_without_mpi_are_refused() {
    let desk = Desk::new();
    let rank = |rank: &str| {
        let mut command = desk.run("train nlp-softmax --shards 2");
        command.env("OMPI_COMM_WORLD_RANK", rank).env("OMPI_COMM_WORLD_SIZE", "2");
        command
    };
    let first = rank("0").assert().code(2).get_output().stderr.clone();
    let told = String::from_utf8(first).unwrap();
    assert!(told.contains("one of 2 ranks, but built without MPI"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let second = rank("1").assert().code(2).get_output().clone();
    assert!(second.stdout.is_empty() && second.stderr.is_empty());
}

/// Commands that do not share out their work do not do it twice.
#[test]
fn commands_without_ranks_are_refused_under_a_launcher() {
    let desk = Desk::new();
    for command in ["bench nlp-softmax", "search nlp-softmax --grid batch-size=8", "reproduce"] {
        let mut command = desk.run(command);
        command.env("PMI_RANK", "0").env("PMI_SIZE", "2");
        let said = command.assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("start it without mpirun"), "{said}");
    }
}

#[cfg(feature = "mpi")]
mod under_mpi {
    use std::path::Path;
    use std::process::{Command, Output, Stdio};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::common::desk::Desk;
    use super::common::process::{Running, command, program, wait_for};
    use super::fs;

    /// Every rank has to be gone by then.
    const GONE: Duration = Duration::from_secs(10);

    /// `mpirun` with the program and these arguments: as root too, and with more ranks than cores.
    fn mpirun(desk: &Desk, ranks: usize, args: &str) -> Command {
        let mut mpirun = command(desk, "mpirun");
        for (name, value) in [
            ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
            ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
            ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
            ("OMPI_MCA_hwloc_base_binding_policy", "none"),
            ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
            ("PRTE_MCA_hwloc_default_binding_policy", "none"),
        ] {
            mpirun.env(name, value);
        }
        mpirun.args(["-n", &ranks.to_string()]);
        mpirun.arg(assert_cmd::cargo::cargo_bin!("threadcount"));
        mpirun.args(args.split_whitespace());
        mpirun
    }

    #[track_caller]
    fn success(mut command: Command) -> Output {
        let output = command.output().unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{command:?}\n{out}\n{err}");
        output
    }

    fn model(desk: &Desk, run: &str) -> Vec<u8> {
        fs::read(desk.path(&format!("{run}/model.safetensors"))).unwrap()
    }

    /// One process, two and four ranks, one and two threads; and taken up with another number.
    #[test]
    fn the_model_has_the_same_bits_on_any_number_of_ranks() {
        let desk = Desk::new();
        for recipe in ["cse574-mlp", "nlp-rnn", "nlp-cnn"] {
            let train = format!("train {recipe} --epochs 2 --batch-size 32 --shards 4");
            let one = format!("{train} --threads 1 --out {recipe}-1");
            success(program(&desk, &one));
            let expected = model(&desk, &format!("{recipe}-1"));
            for (ranks, threads) in [(2, 1), (2, 2), (4, 1), (4, 2)] {
                let run = format!("{recipe}-{ranks}-{threads}");
                let args = format!("{train} --threads {threads} --out {run}");
                let output = success(mpirun(&desk, ranks, &args));
                assert!(model(&desk, &run) == expected, "{run}");
                // Rank 0 alone prints.
                let said = String::from_utf8(output.stderr).unwrap();
                let lines =
                    said.lines().filter(|line| line.contains("the run's folder is")).count();
                assert_eq!(lines, 1, "{said}");
                assert!(said.contains(&format!("{ranks} ranks of {threads} thread")), "{said}");
                let table = String::from_utf8(output.stdout).unwrap();
                assert_eq!(table.matches("accuracy").count(), one_table(&desk, &run), "{table}");
            }
            // An epoch on two ranks, the other one on four.
            let run = format!("{recipe}-resumed");
            let first =
                format!("{train} --threads 1 --out {run}").replace("--epochs 2", "--epochs 1");
            success(mpirun(&desk, 2, &first));
            let rest = format!("train --resume {run} --epochs 2 --threads 1");
            success(mpirun(&desk, 4, &rest));
            assert!(model(&desk, &run) == expected, "{run}");
        }
    }

    /// How often `eval` says the word, which prints the same table once.
    fn one_table(desk: &Desk, run: &str) -> usize {
        let output = success(program(desk, &format!("eval {run}")));
        String::from_utf8(output.stdout).unwrap().matches("accuracy").count()
    }

    #[test]
    fn ranks_that_cannot_have_equal_parts_are_refused_in_one_line() {
        let desk = Desk::new();
        let output = mpirun(&desk, 3, "train nlp-softmax --shards 4").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<_> =
            said.lines().filter(|line| line.contains("threadcount: error")).collect();
        assert_eq!(errors.len(), 1, "{said}");
        assert!(errors[0].contains("3 ranks cannot have equal parts of 4"), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!desk.path("runs").exists());
    }

    /// A run without end, with the numbers of its ranks' processes.
    fn endless(desk: &Desk, ranks: usize, run: &str) -> (Running, Vec<u32>) {
        let args = format!(
            "train nlp-softmax --epochs 100000 --batch-size 32 --shards 4 --threads 1 --out {run}"
        );
        let mut command = mpirun(desk, ranks, &args);
        let running = Running::start(
            command
                .stdout(Stdio::null())
                .stderr(fs::File::create(desk.path(&format!("{run}.err"))).unwrap()),
        );
        wait_for(&desk.path(&format!("{run}/history.csv")));
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

    fn signal(id: u32, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
        assert!(sent.unwrap().success(), "{name}");
    }

    #[track_caller]
    fn wait_for_all(mut mpirun: Running, ids: &[u32]) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let status = mpirun.end();
        let is_there = |id: &&u32| Path::new(&format!("/proc/{id}")).exists();
        while ids.iter().any(|id| is_there(&id)) {
            assert!(began.elapsed() < GONE, "still there: {ids:?}");
            thread::sleep(Duration::from_millis(20));
        }
        (status.code(), began.elapsed())
    }

    /// A rank that stops answering ends the run, and a killed one too; nothing is left, and the run can be taken up.
    #[test]
    fn all_end_with_a_rank_that_dies_or_hangs() {
        for (ranks, victim, name) in
            [(2, 1, "STOP"), (4, 0, "STOP"), (4, 2, "KILL"), (2, 0, "KILL")]
        {
            let desk = Desk::new();
            let (mpirun, ids) = endless(&desk, ranks, "run");
            signal(ids[victim], name);
            let (code, time) = wait_for_all(mpirun, &ids);
            assert!(time < GONE, "{name}: {time:?}");
            assert_ne!(code, Some(0));
            let said = desk.read("run.err");
            if name == "STOP" {
                assert_eq!(code, Some(1), "{said}");
                let errors: Vec<_> =
                    said.lines().filter(|line| line.contains("threadcount: error")).collect();
                assert_eq!(errors.len(), 1, "{said}");
                assert!(errors[0].contains(&format!("rank {victim} has not answered")), "{said}");
            }
            resumes(&desk, 1);
        }
    }

    /// Taken up on so many ranks, the run has the weights of one that was never stopped.
    fn resumes(desk: &Desk, ranks: usize) {
        let done = desk.read("run/history.csv").lines().count() - 1;
        let rest = format!("train --resume run --epochs {} --threads 1", done + 1);
        success(match ranks {
            1 => program(desk, &rest),
            _ => mpirun(desk, ranks, &rest),
        });
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
        let rounds =
            std::env::var("THREADCOUNT_KILLS").map_or(20, |rounds| rounds.parse().unwrap());
        let mut seed = 1_u64;
        let mut draw = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut slowest = Duration::ZERO;
        for round in 0..rounds {
            let desk = Desk::new();
            let ranks = [2, 4][draw(2) as usize];
            let (victim, name) = (draw(ranks) as usize, ["KILL", "KILL", "STOP"][draw(3) as usize]);
            let (mpirun, ids) = endless(&desk, ranks as usize, "run");
            thread::sleep(Duration::from_millis(draw(1_500)));
            signal(ids[victim], name);
            let (code, time) = wait_for_all(mpirun, &ids);
            assert!(time < GONE && code != Some(0), "round {round}: {name}, {time:?}, {code:?}");
            slowest = slowest.max(time);
            resumes(&desk, [1, 2, 4][draw(3) as usize]);
        }
        println!("{rounds} rounds, the slowest end after {slowest:?}");
    }
}
