//! A task that is searched, and searches over it by the library.

// Each test file uses its own share of this.
#![allow(dead_code)]

use super::desk::DATA;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use threadcount::data::{Cache, Dataset, Split};
use threadcount::distributed::World;
use threadcount::train::search::{Axis, Definition, Metric, Resources, Search, Space, Step};
use threadcount::train::{DataRecord, Ended, Task};
use threadcount_kernels::Isa;
use threadcount_kernels::precision::Arithmetic;

pub(crate) const SEED: u64 = 5;

/// Everything that has a state, rates that are planned for all epochs, weights that are not the last ones.
pub(crate) const TASK: &str = r#"
epochs = 9
batch-size = 50
optimizer = { name = "adam", learning-rate = 0.01 }
schedule = { cosine = { last = 0.0 } }
keep = "best-loss"
layers = [
    { kind = "flatten" },
    { kind = "dense", units = 12, activation = "relu" },
    { kind = "batch-norm" },
    { kind = "dropout", rate = 0.2 },
    { kind = "dense", units = "classes" },
]
"#;

pub(crate) const AXES: [&str; 2] = ["learning-rate=0.003,0.03,0.3", "batch-size=25,100"];

pub(crate) fn dataset() -> Arc<Dataset> {
    Dataset::open_folder(DATA.path(), &Cache::at(DATA.path().join("cache"))).unwrap()
}

pub(crate) fn definition(
    axes: &[&str],
    draws: Option<usize>,
    halving: Option<usize>,
) -> (Definition, Split) {
    let dataset = dataset();
    let mut task = Task::from_toml(TASK).unwrap();
    task.selection = task.selection.with_own_validation(0.1);
    let split = task.selection.apply(&dataset, SEED).unwrap();
    let axes = axes.iter().map(|text| Axis::parse(text).unwrap()).collect();
    let definition = Definition {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe: "my".to_owned(),
        seed: SEED,
        isa: Isa::best().name().to_owned(),
        bf16_kernel: None,
        metric: Metric::ValLoss,
        halving,
        space: Space::new(axes, draws).unwrap(),
        task,
        data: DataRecord::of(&dataset, &split),
    };
    (definition, split)
}

pub(crate) fn resources(threads: usize) -> Resources {
    Resources { isa: Isa::best(), arithmetic: Arithmetic::F32, threads, memory: None }
}

pub(crate) fn go_on(_: Step<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Searches to the end.
pub(crate) fn searched(
    path: &Path,
    definition: &Definition,
    split: &Split,
    threads: usize,
) -> Search {
    let needed = definition.check(split).unwrap();
    let mut search = Search::start(path, definition).unwrap();
    let ended = search.run(split, &needed, &resources(threads), &World::one(), &go_on).unwrap();
    assert_eq!(ended, Ended::Finished);
    search
}
