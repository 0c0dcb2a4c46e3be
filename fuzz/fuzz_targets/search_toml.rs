//! The file of a search, with a checksum that is right, as `search --resume` reads it: its trials can be named,
//! ranked and written as tasks.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::train::Task;
use threadcount::train::search::Search;
use threadcount_fuzz::{Folder, check_line, checksums, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

/// So many of a search's trials are looked at: it may have thousands.
const TRIALS: usize = 10;

fuzz_target!(|input: &[u8]| {
    FOLDER.put("search.toml", &checksums::record(input));
    let Some(search) = taken(Search::open(FOLDER.root())) else { return };
    for (trial, settings) in (1..).zip(search.trials()).take(TRIALS) {
        check_line(&search.definition().space.told(settings));
        let written = search.task(trial).to_toml().expect("written");
        let again = Task::from_toml(&written).expect("read back");
        assert_eq!(again.to_toml().expect("written"), written);
    }
    let standings = search.standings();
    assert!(standings.iter().all(|standing| (1..=search.trials().len()).contains(&standing.trial)));
    if let Some(best) = search.best() {
        assert!(best.scores.is_some());
        search.write_best().expect("written");
        let text = FOLDER.take("best.toml");
        Task::from_toml(std::str::from_utf8(&text).expect("text")).expect("a task");
    }
});
