//! A search whose trials are trained by several ranks.

use crate::common::desk::Desk;
use crate::common::process::program;
use crate::mpirun::{GONE, model, mpirun, on, one_error, signal, started, success, wait_for_all};

/// On any number of ranks a search says and writes the same, and another number goes on with it.
#[test]
fn a_search_has_the_same_end_on_any_number_of_ranks() {
    let search = "search nlp-softmax --grid learning-rate=0.01,0.001,0.1 --grid batch-size=16,32 \
                  --halving --epochs 3 --threads 1 --out here";
    let whole = Desk::new();
    let expected = success(program(&whole, search)).stdout;
    for ranks in [2, 3] {
        let desk = Desk::new();
        let output = success(mpirun(&desk, ranks, search));
        assert!(output.stdout == expected, "{}", String::from_utf8_lossy(&output.stdout));
        for file in ["search.toml", "best.toml", "search.svg"] {
            let file = format!("here/{file}");
            assert!(desk.read(&file) == whole.read(&file), "{file}");
        }
        for trial in 1..=6 {
            let file = format!("here/trial-{trial:02}/history.csv");
            assert!(desk.read(&file) == whole.read(&file), "{file}");
        }
        let best = desk.read("here/best.toml");
        let trial = best.split_whitespace().nth(2).unwrap().parse::<usize>().unwrap();
        let folder = format!("here/trial-{trial:02}");
        assert!(model(&desk, &folder) == model(&whole, &folder));
        // Rank 0 alone tells of trials.
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.matches("the search's folder is").count(), 1, "{said}");
        assert!(said.contains(&format!("{ranks} ranks of 1 thread")), "{said}");
    }
}

#[test]
fn a_search_that_is_refused_says_so_once() {
    let desk = Desk::new();
    let output = mpirun(&desk, 2, "search nlp-softmax --grid batch-size=0").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(one_error(&said).contains("batch-size"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}

/// A search ends with a rank that dies, with one line, and goes on to the same end with another number of ranks.
#[test]
fn a_search_ends_with_a_rank_that_dies_and_goes_on() {
    let search = "search nlp-softmax --grid learning-rate=0.01,0.001 --grid batch-size=8,16 \
                  --epochs 3 --threads 1";
    let whole = Desk::new();
    let expected = success(program(&whole, &format!("{search} --out here"))).stdout;
    for (victim, name) in [(1, "STOP"), (0, "KILL"), (0, "TERM")] {
        let desk = Desk::new();
        let command = on(&desk, 3, &format!("{search} --out here"));
        let (mpirun, ids) = started(&desk, command, "here", "here/trial-02/history.csv", 3);
        signal(ids[victim], name);
        let (code, time) = wait_for_all(mpirun, &ids);
        assert!(time < GONE, "{name}: {time:?}");
        let said = desk.read("here.err");
        // It may have ended before: that is no fault.
        if name == "STOP" && code != Some(0) {
            assert!(one_error(&said).contains("rank 1 has not answered"), "{said}");
        }
        let rest = success(on(&desk, [1, 2][victim], "search --resume here --threads 1"));
        assert!(rest.stdout == expected, "{name}");
        for file in ["search.toml", "best.toml", "search.svg"] {
            let file = format!("here/{file}");
            assert!(desk.read(&file) == whole.read(&file), "{name}: {file}");
        }
    }
}
