//! The precision of products as a setting: where it comes from, what it changes, what says it, and what a run is
//! gone on with.

use crate::common::desk::{self, Desk};
#[cfg(unix)]
use crate::common::process::{Running, program, wait_for, wait_until};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use std::fs;
use threadcount_kernels::precision::Bf16Kernel;
use threadcount_kernels::{Isa, Precision};

/// The history of a run: its bits.
fn history(desk: &Desk, run: &str) -> String {
    let text = desk.read(&format!("{run}/history.csv"));
    // Without the times.
    let heads: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = line.split(',').zip(&heads);
        cells
            .filter(|(_, head)| !head.contains("second"))
            .map(|(cell, _)| cell)
            .collect::<Vec<_>>()
            .join(",")
    };
    text.lines().map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_recipe() {
    let desk = Desk::new();
    let recipe = desk.output("recipe nlp-mlp80");
    assert!(!recipe.contains("precision"), "f32 needs no word: {recipe}");
    fs::write(desk.path("own.toml"), format!("precision = \"bf16\"\n{recipe}")).unwrap();
    let train = |out: &str, flag: &str, variable: &str| {
        let words = format!("train own.toml --epochs 1 --out {out} {flag}");
        desk.run(&words).env("THREADCOUNT_PRECISION", variable).assert().success();
        let record = desk.read(&format!("{out}/run.toml"));
        let lines: Vec<&str> = record.lines().filter(|l| l.starts_with("precision")).collect();
        (lines.join("\n"), history(&desk, out))
    };
    let (said, bf16) = train("a", "", "");
    assert_eq!(said, "precision = \"bf16\"");
    let (said, split) = train("b", "", "f32-split");
    assert_eq!(said, "precision = \"f32-split\"");
    fs::write(desk.path("threadcount.toml"), "precision = \"f32-split\"\n").unwrap();
    assert_eq!(train("c", "", "").1, split);
    assert_eq!(train("d", "", "bf16").1, bf16);
    let (said, f32) = train("e", "--precision f32", "bf16");
    assert_eq!(said, "");
    assert!(bf16 != split && bf16 != f32 && split != f32, "each precision has bits of its own");
    // The same as without any of this.
    fs::remove_file(desk.path("threadcount.toml")).unwrap();
    desk.run("train nlp-mlp80 --epochs 1 --out g").assert().success();
    assert_eq!(history(&desk, "g"), f32);
}

#[test]
fn a_precision_is_said_wherever_a_figure_is() {
    let desk = Desk::new();
    let kernel = Bf16Kernel::fastest(Isa::best());
    let said = format!("{}, bf16 by {kernel}", Isa::best());
    let slow = match kernel {
        Bf16Kernel::MulAdd => {
            contains("computed with the same bits by multiply-adds of f32").count(1)
        }
        _ => contains("by multiply-adds of f32").count(0),
    };
    desk.run("train nlp-mlp80 --epochs 1 --out a --precision bf16")
        .assert()
        .success()
        .stderr(contains(said.clone()))
        .stderr(slow);
    assert!(desk.output("runs show a").contains("bf16"));
    let page = desk.read("a/report.html");
    // The command that trains it again, word by word.
    assert!(page.contains("<span>--precision</span> <span>bf16</span>"));
    assert!(page.contains(&said));
    assert!(desk.read("a/sessions.json").contains("\"precision\": \"bf16\""));
    let listed = desk.output("runs --json");
    assert!(listed.contains("\"precision\": \"bf16\""), "{listed}");
    let text = desk.output("bench nlp-mlp80 --threads 1 --samples 1 --precision bf16");
    assert!(text.contains(&said), "{text}");
    let json = desk.output("bench nlp-mlp80 --threads 1,2 --samples 1 --precision bf16 --json -");
    assert_eq!(
        json.matches("\"precision\": \"bf16\"").count(),
        3,
        "two rows and the machine: {json}"
    );
    let json = desk.output("bench nlp-mlp80 --threads 1 --samples 1 --json -");
    assert_eq!(json.matches("\"precision\": \"f32\"").count(), 2, "{json}");
    let json = desk.output("reproduce nlp-mlp80 --repeats 1 --precision f32-split --json -");
    assert_eq!(json.matches("\"precision\": \"f32-split\"").count(), 2, "{json}");
}

#[test]
fn a_run_goes_on_in_its_own_precision() {
    let desk = Desk::new();
    desk.run("train nlp-mlp80 --epochs 2 --out whole --precision bf16").assert().success();
    desk.run("train nlp-mlp80 --epochs 1 --out part --precision bf16").assert().success();
    desk::copy(&desk.path("part"), &desk.path("other"));
    // Its own needs no word, beside the recipe's name too.
    desk.run("train nlp-mlp80 --resume part --epochs 2").assert().success();
    assert_eq!(history(&desk, "part"), history(&desk, "whole"));
    // What was not written for this run may not change it.
    desk.run("train --resume other --epochs 2")
        .env("THREADCOUNT_PRECISION", "f32")
        .assert()
        .code(2)
        .stderr(contains("THREADCOUNT_PRECISION asks for f32, and the run was started in bf16"));
    fs::write(desk.path("threadcount.toml"), "precision = \"f32\"\n").unwrap();
    let refusal = desk.refusal("train --resume other --epochs 2", 2);
    assert!(refusal.contains("threadcount.toml: precision asks for f32"), "{refusal}");
    assert!(
        refusal.contains("--precision bf16") && refusal.contains("--precision f32"),
        "{refusal}"
    );
    assert!(desk.read("other/run.toml").contains("precision = \"bf16\""));
    // The flag may, and its word is kept.
    desk.run("train --resume other --epochs 2 --precision f32")
        .assert()
        .success()
        .stderr(contains("started in bf16 and goes on in f32"));
    assert!(!desk.read("other/run.toml").contains("precision"));
    assert!(history(&desk, "other") != history(&desk, "whole"));
    fs::remove_file(desk.path("threadcount.toml")).unwrap();
    let refusal = desk.refusal("train --resume part --precision f32", 2);
    assert!(refusal.contains("the run in part is complete"), "{refusal}");
    assert!(desk.read("part/run.toml").contains("precision = \"bf16\""));
}

/// A run that goes on in another precision says so before its first step: it may be ended at any time.
#[cfg(unix)]
#[test]
fn another_precision_is_on_record_before_the_first_step() {
    let desk = Desk::new();
    let mut first = Running::start(&mut program(
        &desk,
        "train nlp-mlp80 --epochs 5000 --out run --precision bf16 -q",
    ));
    wait_for(&desk.path("run/checkpoint.safetensors"));
    first.send("KILL");
    first.end();
    let history = desk.path("run/history.csv");
    let epochs = || fs::read_to_string(&history).map_or(0, |text| text.lines().count());
    let before = epochs();
    let mut second = Running::start(&mut program(&desk, "train --resume run --precision f32 -q"));
    wait_until("another epoch", || epochs() > before + 1);
    second.send("KILL");
    second.end();
    assert!(!desk.read("run/run.toml").contains("precision"));
}

/// A run tells the kernel that computed it, and goes on by one with the same bits or not at all, unless the flag asks
/// for it. (`amx-twin` runs everywhere, and has bits of its own; a CPU with AMX is not needed.)
#[test]
fn a_run_goes_on_by_a_kernel_with_its_bits() {
    let desk = Desk::new();
    let kernel_of = |run: &str| {
        let record = desk.read(&format!("{run}/run.toml"));
        let line = record.lines().find_map(|line| line.strip_prefix("bf16_kernel = "));
        line.map(|name| name.trim_matches('"').to_owned())
    };
    let train = |words: &str, kernel: &str| {
        let mut command = desk.run(&format!("train {words}"));
        command.env(Bf16Kernel::ENV, kernel).assert()
    };
    for (out, epochs, kernel) in
        [("vectors", 1, "mul-add"), ("tiles", 1, "amx-twin"), ("whole", 2, "amx-twin")]
    {
        let words = format!("nlp-mlp80 --epochs {epochs} --out {out} --precision bf16");
        train(&words, kernel).success();
        assert_eq!(kernel_of(out).as_deref(), Some(kernel));
    }
    train("nlp-mlp80 --epochs 1 --out floats", "amx-twin").success();
    assert_eq!(kernel_of("floats"), None, "products of f32 are by none of them");
    let page = desk.read("tiles/report.html");
    assert!(page.contains("THREADCOUNT_BF16=amx-twin") && page.contains("bf16 by amx-twin"));
    desk::copy(&desk.path("tiles"), &desk.path("other"));
    desk::copy(&desk.path("tiles"), &desk.path("of-amx"));
    // Other bits are refused, and nothing is trained.
    for (run, kernel) in [("tiles", "mul-add"), ("vectors", "amx-twin")] {
        let before = desk.read(&format!("{run}/run.toml"));
        let own = kernel_of(run).unwrap();
        let what =
            format!("THREADCOUNT_BF16 asks for `{kernel}`, whose bits are not those of `{own}`");
        train(&format!("--resume {run} --epochs 2"), kernel)
            .code(2)
            .stderr(contains(what).and(contains("--precision bf16 goes on with other bits")));
        assert_eq!(desk.read(&format!("{run}/run.toml")), before);
    }
    // Its own needs no word.
    train("--resume tiles --epochs 2", "").success();
    assert_eq!(history(&desk, "tiles"), history(&desk, "whole"));
    // A kernel with the same bits may be another one.
    train("--resume vectors --epochs 2", "").success();
    assert_eq!(kernel_of("vectors").as_deref(), Some("mul-add"));
    // The flag changes it, and the folder says so.
    train("--resume other --epochs 2 --precision bf16", "mul-add")
        .success()
        .stderr(contains("computed by amx-twin and goes on by mul-add"));
    assert_eq!(kernel_of("other").as_deref(), Some("mul-add"));
    assert!(history(&desk, "other") != history(&desk, "whole"));
    // A run of AMX, where there is none. Without its checksum a record is taken as it stands.
    let record = desk.read("of-amx/run.toml").replace("\"amx-twin\"", "\"amx-bf16\"");
    let record = record.lines().filter(|line| !line.starts_with("checksum"));
    let record = record.collect::<Vec<_>>().join("\n");
    fs::write(desk.path("of-amx/run.toml"), &record).unwrap();
    if !Bf16Kernel::Amx.is_detected(Isa::best()) {
        train("--resume of-amx --epochs 2", "").code(2).stderr(
            contains("no kernel with the bits of `amx-bf16`")
                .and(contains("THREADCOUNT_BF16=amx-twin asks for it")),
        );
    }
    train("--resume of-amx --epochs 2", "amx-twin").success();
    assert_eq!(history(&desk, "of-amx"), history(&desk, "whole"));
    fs::write(desk.path("of-amx/run.toml"), record.replace("amx-bf16", "abacus")).unwrap();
    let refusal = desk.refusal("train --resume of-amx --epochs 3", 2);
    assert!(refusal.contains("unknown kernel of bf16 products `abacus`"), "{refusal}");
}

/// A search too.
#[test]
fn a_search_goes_on_by_a_kernel_with_its_bits() {
    let desk = Desk::new();
    let search = |words: &str, kernel: &str| {
        let mut command = desk.run(&format!("search {words}"));
        command.env(Bf16Kernel::ENV, kernel).assert()
    };
    search(
        "nlp-mlp80 --grid batch-size=64,128 --epochs 1 --out found --precision bf16",
        "amx-twin",
    )
    .success();
    assert!(desk.read("found/search.toml").contains("bf16_kernel = \"amx-twin\""));
    search("--resume found", "mul-add").code(2).stderr(
        contains("whose bits are not those of `amx-twin`").and(contains("start another search")),
    );
    search("--resume found", "").success().stderr(contains("bf16 by amx-twin"));
}

#[test]
fn what_is_no_precision_is_refused_by_name() {
    let desk = Desk::new();
    let refusal = desk.refusal("train nlp-mlp80 --precision fp16", 2);
    assert!(
        refusal.contains("unknown precision `fp16`: choose one of f32, f32-split, bf16"),
        "{refusal}"
    );
    fs::write(desk.path("own.toml"), "precision = \"fp16\"\nlayers = []\n").unwrap();
    let refusal = desk.refusal("train own.toml", 2);
    assert!(refusal.contains("line 1") && refusal.contains("fp16"), "{refusal}");
    desk.run("bench nlp-mlp80 --precision bf16 --isa portable")
        .env(Bf16Kernel::ENV, "avx512-bf16")
        .assert()
        .code(2)
        .stderr(contains("no kernel `avx512-bf16` beside `portable` on this CPU: it has mul-add"));
    assert_eq!(Precision::ALL.len(), 3);
}

#[test]
fn info_tells_the_kernels_and_the_peaks() {
    let desk = Desk::new();
    let kernels: Vec<&str> = Bf16Kernel::detected(Isa::best()).map(Bf16Kernel::name).collect();
    assert!(desk.output("info").contains(&kernels.join(", ")));
    let text = desk.output("info --peak --threads 1");
    assert!(text.contains("products in bf16") && text.contains("products in f32-split"), "{text}");
    let json = desk.output("info --peak --threads 1 --json");
    assert!(json.contains("\"bf16_gflops\"") && json.contains("\"f32_split_gflops\""), "{json}");
}

/// Every kernel on vectors gives the bits of the others; the twin of AMX those of AMX, where there is one.
#[test]
fn a_forced_kernel_changes_no_bit_of_a_training() {
    let desk = Desk::new();
    let (mut of_vectors, mut of_tiles) = (Vec::new(), Vec::new());
    for isa in Isa::detected().filter(|isa| isa.fuses_multiply_add()) {
        for kernel in Bf16Kernel::detected(isa).chain([Bf16Kernel::AmxTwin]) {
            let out = format!("{isa}-{kernel}");
            desk.run(&format!(
                "train nlp-mlp80 --epochs 1 --out {out} --precision bf16 --isa {isa}"
            ))
            .env(Bf16Kernel::ENV, kernel.name())
            .assert()
            .success()
            .stderr(contains(format!("{isa}, bf16 by {kernel}")));
            let histories = if kernel.is_on_tiles() { &mut of_tiles } else { &mut of_vectors };
            histories.push(history(&desk, &out));
        }
    }
    for histories in [&of_vectors, &of_tiles] {
        assert!(histories.windows(2).all(|two| two[0] == two[1]), "{histories:?}");
    }
    assert!(of_vectors.first() != of_tiles.first() || of_tiles.is_empty());
}

/// What comes after a training computes in its precision too: the figures are the same again.
#[test]
fn evaluation_and_search_are_in_the_precision_of_the_run() {
    let desk = Desk::new();
    let figure = |text: &str, key: &str| -> f64 {
        let mut lines = text.lines().map(|line| line.trim().trim_end_matches(',').replace('"', ""));
        let found = lines.find_map(|line| line.strip_prefix(key).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {key} in {text}")).trim().parse().unwrap()
    };
    let mut losses = Vec::new();
    for precision in ["f32", "bf16"] {
        let words = format!("train nlp-mlp80 --epochs 1 --out {precision} --precision {precision}");
        desk.run(&words).assert().success();
        let trained = figure(&desk.read(&format!("{precision}/run.toml")), "test_loss = ");
        let evaluated = figure(&desk.output(&format!("eval {precision} --json")), "test_loss: ");
        assert_eq!(trained, evaluated, "{precision}");
        losses.push(trained);
        let search = format!(
            "search nlp-mlp80 --grid batch-size=64 --epochs 1 --out of-{precision} --precision {precision} --json -"
        );
        losses.push(figure(&desk.output(&search), "val_loss: "));
    }
    assert!(losses[0] != losses[2] && losses[1] != losses[3], "{losses:?}");
    // What trains several networks trains each in the precision that is asked for.
    let recipe = desk.output("recipe nlp-mlp80");
    let lines =
        recipe.lines().map(|line| if line.starts_with("epochs") { "epochs = 1" } else { line });
    fs::write(desk.path("short.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let mut compared = Vec::new();
    for (precision, at) in [("f32", 0), ("bf16", 2)] {
        let words = format!("short.toml --precision {precision} --json -");
        let reproduced =
            figure(&desk.output(&format!("reproduce --repeats 1 {words}")), "test_loss: ");
        assert_eq!(reproduced, losses[at], "{precision}");
        compared.push(figure(&desk.output(&format!("compare {words}")), "log_loss: "));
    }
    assert!(compared[0] != compared[1], "{compared:?}");
    let refusal = desk.refusal("search --resume of-bf16 --precision f32", 2);
    assert!(refusal.contains("computed in bf16"), "{refusal}");
}
