//! Every recipe gives the same bits on every machine: with AVX2 and with AVX-512, at any number of threads,
//! whatever the caches and the cost of threads. And so the README's accuracies hold to the digit.
//!
//! The checksums in `golden/checksums.txt` were recorded once; each machine that runs this test is compared
//! with the one that made them. A change of the arithmetic changes them: the failing test prints
//! the new lines.

use assert_cmd::Command;
use rand::RngExt;
use std::collections::BTreeMap;
use threadcount::nn::*;
use threadcount::random::{Key, Purpose};
use threadcount::reports::{self, Recipe, SIDE};
use threadcount_kernels::gemm::{Blocking, ThreadCosts};
use threadcount_kernels::machine::{Machine, machine};
use threadcount_kernels::{Isa, Pool};

/// Steps of training: enough for every weight to have moved, and for momenta to matter.
const STEPS: usize = 6;

/// Names and checksums, in the order of the reports.
const RECORDED: &str = include_str!("../golden/checksums.txt");

/// Machines that differ in all that the kernels ask of one: bytes of the second-level cache, what
/// threads cost, and how many there are.
fn machines() -> [(Blocking, usize); 4] {
    let machine = |l2: usize, costs, threads| {
        let machine = Machine { l2: Some(l2), ..machine().clone() };
        (Blocking::for_machine(&machine, costs), threads)
    };
    [
        machine(256 << 10, None, 1),
        machine(512 << 10, Some(ThreadCosts::FAR), 2),
        machine(2 << 20, Some(ThreadCosts::NONE), 3),
        machine(8 << 20, Some(ThreadCosts::NEAR), 8),
    ]
}

/// Images of which half of the pixels are black, like those of Fashion-MNIST, and labels.
fn samples(classes: usize, step: usize, n: usize, len: usize) -> (Vec<f32>, Vec<u8>) {
    let mut rng = Key::new(3, Purpose::Synthetic).with(step as u64).rng();
    let pixel = |_| (rng.random::<f32>() - 0.5).max(0.0) * 2.0;
    let x = (0..n * len).map(pixel).collect();
    (x, (0..n).map(|i| ((i * 7 + step) % classes) as u8).collect())
}

/// The FNV-1a hash of all bits.
fn checksum<'a>(values: impl IntoIterator<Item = &'a [f32]>) -> u64 {
    let bytes = values.into_iter().flatten().flat_map(|value| value.to_le_bytes());
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    bytes.fold(0xCBF2_9CE4_8422_2325, step)
}

/// What a recipe's network is after some steps: parameters, statistics, losses, predictions.
fn trained(recipe: &Recipe, pool: &Pool) -> u64 {
    let task = &recipe.task;
    let input = task.input.shape(SIDE, SIDE);
    let batch = task.batch_size;
    let build = |most| {
        let model = Model::of(recipe.plan().unwrap(), 1).unwrap();
        Network::of(model, task.loss, task.optimizer, most).unwrap()
    };
    // A recipe of batch 1 takes as many steps at once as a session does.
    let calls = batch * build(batch.max(64)).steps_at_once(batch);
    let mut network = build(calls.max(64));
    let width = network.plan().output().len();
    let classes = if task.loss == Loss::BinaryCrossEntropy { 2 } else { width };
    let (mut losses, mut predictions) = (Vec::new(), vec![0.0; 5 * width]);
    pool.enter(|team| {
        for step in 0..STEPS {
            // The last batch of an epoch is shorter.
            let n = if step == STEPS - 1 { calls.div_ceil(2) } else { calls };
            let (x, labels) = samples(classes, step, n, input.len());
            let key = BatchKey { epoch: 1, first_sample: (step * calls) as u64 };
            let result = network.train_steps(team, &x, &labels, batch, key).unwrap();
            losses.push(result.loss_sum as f32);
        }
        let (x, _) = samples(classes, STEPS, 5, input.len());
        network.predict(team, &x, &mut predictions).unwrap();
    });
    assert!(losses.iter().all(|loss| loss.is_finite()), "{}: {losses:?}", recipe.id);
    checksum([network.params(), network.state(), &losses, &predictions])
}

#[test]
fn every_recipe_has_the_recorded_bits() {
    let recorded: BTreeMap<_, _> =
        RECORDED.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut faults = Vec::new();
    let mut lines = String::new();
    for recipe in reports::recipes() {
        for isa in Isa::detected().filter(|isa| isa.fuses_multiply_add()) {
            for (i, (blocking, threads)) in machines().into_iter().enumerate() {
                let pool = Pool::new(isa, threads).unwrap().with_blocking(blocking);
                let bits = format!("{:016x}", trained(&recipe, &pool));
                if i == 0 && !lines.contains(&*recipe.id) {
                    lines += &format!("{} {bits}\n", recipe.id);
                }
                if recorded.get(&*recipe.id) != Some(&bits.as_str()) {
                    faults.push(format!("{} on {isa}, machine {i}: {bits}", recipe.id));
                }
            }
        }
    }
    let count = faults.len();
    assert!(faults.is_empty(), "{count} differ:\n{}\n\nhere:\n{lines}", faults.join("\n"));
    assert_eq!(recorded.len(), reports::recipes().len(), "a line for each recipe");
}

/// The accuracies of the README's table, by recipe, as they are printed there.
fn readme_accuracies() -> BTreeMap<String, f64> {
    let readme = include_str!("../../README.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows = readme.lines().map(cells).filter(|cells: &Vec<_>| cells.len() == 11);
    let accuracies = rows.filter_map(|cells| Some((cells[1].clone(), cells[3].parse().ok()?)));
    accuracies.collect()
}

/// Trains recipes as the README says, and compares the accuracies to the digit. Without the real data
/// there is nothing to compare.
fn compare_with_the_readme(recipes: &[&str]) {
    let claimed = readme_accuracies();
    assert_eq!(claimed.len(), 14, "{claimed:?}");
    let fuses = Isa::active().unwrap().fuses_multiply_add();
    let Some(data) = std::env::var_os("THREADCOUNT_DATA").filter(|_| fuses) else {
        eprintln!("not compared: THREADCOUNT_DATA is not set, or multiply-adds are not fused");
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let json = folder.path().join("reproduce.json");
    let mut command = Command::cargo_bin("threadcount").unwrap();
    command.arg("reproduce").args(recipes).arg("--data").arg(data).arg("--json").arg(&json);
    command.env_remove("THREADCOUNT_SEED").env_remove("THREADCOUNT_THREADS");
    command.current_dir(folder.path()).assert().success();
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let results = document["results"].as_array().unwrap();
    if results.iter().any(|result| result["data"] != "fashion-mnist") {
        eprintln!("not compared: THREADCOUNT_DATA is another set");
        return;
    }
    assert!(!results.is_empty() && (recipes.is_empty() || results.len() == recipes.len()));
    for result in results {
        let recipe = result["recipe"].as_str().unwrap();
        let accuracy = result["test_accuracy"].as_f64().unwrap();
        assert_eq!(
            format!("{:.2}", 100.0 * accuracy),
            format!("{:.2}", claimed[recipe]),
            "{recipe}"
        );
    }
}

#[test]
fn the_readme_has_the_accuracies_of_short_recipes() {
    let short =
        ["biu-scratch", "biu-base", "biu-relu", "biu-adam", "colman-scratch", "nlp-softmax"];
    compare_with_the_readme(&short);
}

#[test]
#[ignore = "trains all fourteen recipes: ten minutes on two cores"]
fn the_readme_has_the_accuracies_of_all_recipes() {
    compare_with_the_readme(&[]);
}
