//! Training in shards, and in several processes under `mpirun`: the command line. The tests in the files beside
//! this one need the feature `mpi`, and `mpirun`.

#[path = "../common"]
mod common {
    pub mod desk;
    pub mod process;
}

#[cfg(feature = "mpi")]
mod bench;
#[cfg(feature = "mpi")]
mod dying;
#[cfg(feature = "mpi")]
mod mpirun;
#[cfg(feature = "mpi")]
mod search;
#[cfg(feature = "mpi")]
mod training;

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

/// What batch normalisation goes over takes the same path.
#[test]
fn each_place_for_the_statistics_beats_the_one_before() {
    let desk = Desk::new();
    let layers =
        LAYERS.replace("{ kind = \"dense\"", "{ kind = \"batch-norm\" }, { kind = \"dense\"");
    let train = |run: &str, flags: &str| {
        desk.run(&format!("train my.toml --epochs 1 --shards 4 --out {run}{flags}"))
    };
    let over = |run: &str| -> String {
        let record: toml::Table = desk.read(&format!("{run}/run.toml")).parse().unwrap();
        let over = record["task"].get("batch-norm-over");
        over.map_or("batch", |over| over.as_str().unwrap()).to_owned()
    };
    // A model's file names its run.
    let model = |run: &str| desk.read(&format!("{run}/history.csv"));
    fs::write(desk.path("my.toml"), &layers).unwrap();
    train("none", "").assert().success();
    train("said", " --batch-norm-over batch").assert().success();
    assert_eq!([over("none"), over("said")], ["batch", "batch"]);
    assert!(model("none") == model("said"));
    fs::write(desk.path("my.toml"), format!("batch-norm-over = \"shard\"\n{layers}")).unwrap();
    train("recipe", "").assert().success();
    assert_eq!(over("recipe"), "shard");
    fs::write(desk.path("threadcount.toml"), "batch-norm-over = \"batch\"\n").unwrap();
    train("file", "").assert().success();
    assert_eq!(over("file"), "batch");
    train("variable", "").env("THREADCOUNT_BATCH_NORM_OVER", "shard").assert().success();
    assert_eq!(over("variable"), "shard");
    let flag = train("flag", " --batch-norm-over batch");
    { flag }.env("THREADCOUNT_BATCH_NORM_OVER", "shard").assert().success();
    assert_eq!(over("flag"), "batch");
    assert!(model("variable") == model("recipe") && model("file") == model("none"));
    assert!(model("variable") != model("file"));
    // A run keeps its own.
    desk.refuses(
        "train --resume flag --batch-norm-over shard",
        2,
        "--batch-norm-over: a resumed run keeps",
    );
    desk.refuses("train my.toml --batch-norm-over x", 2, "'x' is neither batch nor shard");
    // One shard is the whole batch.
    for over in ["batch", "shard"] {
        let run = format!("one-{over}");
        let args = format!("train my.toml --epochs 1 --out {run} --batch-norm-over {over}");
        desk.run(&args).assert().success();
    }
    assert!(model("one-batch") == model("one-shard"));
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
    for command in ["bench --kernels", "bench nlp-softmax --profile", "record", "reproduce"] {
        let mut command = desk.run(command);
        command.env("PMI_RANK", "0").env("PMI_SIZE", "2");
        let said = command.assert().code(2).get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("start it without mpirun"), "{said}");
    }
}
