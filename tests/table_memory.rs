//! Tables of any size: what they need in memory is told before they are kept, what is more than there is is refused
//! early, and what is told is enough. `--memory` stands for a smaller machine.

#[path = "common/desk.rs"]
mod desk;

use desk::Desk;
use predicates::str::contains;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use threadcount::tables::flights;

/// A table of flights.
fn put_flights(desk: &Desk, name: &str, rows: u64) {
    let mut file = BufWriter::new(File::create(desk.path(name)).unwrap());
    flights::write(&mut file, rows, 1, &mut |_| ()).unwrap();
    file.flush().unwrap();
}

/// The bytes that a comparison says it needs at most.
fn said(desk: &Desk, args: &str) -> u64 {
    let output = desk.bare(&format!("regress {args} --json -")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args}: {stderr}");
    assert!(stderr.contains("of memory are needed"), "{stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["memory_bytes"].as_u64().unwrap()
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let desk = Desk::new();
    put_flights(&desk, "flights.csv", 3_000);
    let args = "flights.csv --target price";
    desk.refuses(&format!("regress {args} --memory 8MiB"), 3, "the model 'linear' of it needs");
    // Encoded, a row has some 1,200 columns of float32 for the network.
    let refused = format!("regress {args} --memory 30MiB --models mean,network,forest");
    desk.refuses(&refused, 3, "the model 'network' of it needs");
    desk.refuses(&refused, 3, "and 30.0 MiB may be used");
    desk.refuses(&refused, 3, "--leave-out 'flight'");
    desk.refuses(&refused, 3, "--models mean,forest)");
    let forest = format!("regress {args} --memory 2MiB --models forest");
    desk.refuses(&forest, 3, "the model 'forest' of it needs");
    // The table itself, after the first reading; and before its end.
    let few = "regress flights.csv --target price --models mean";
    desk.refuses(&format!("{few} --memory 300KiB"), 3, "flights.csv: needs 0.4 MiB of memory");
    let unread = format!("{few} --memory 20000");
    desk.refuses(&unread, 3, "its first 228 rows alone need");
    // Whatever is wrong with the rows that are not read.
    let text = fs::read_to_string(desk.path("flights.csv")).unwrap();
    fs::write(desk.path("flights.csv"), text + "no,row\n").unwrap();
    desk.refuses(&unread, 3, "its first 228 rows alone need");
    for size in ["1 GB", "GiB", "-1", "1.5GiB", "99999999999TiB"] {
        let mut run = desk.bare("regress flights.csv --target price");
        run.arg(format!("--memory={size}")).assert().code(2).stderr(contains("write it as 500MiB"));
    }
}

#[test]
fn what_is_said_to_fit_fits() {
    let desk = Desk::new();
    put_flights(&desk, "flights.csv", 3_000);
    let args = "flights.csv --target price --models mean,linear,network --epochs 1";
    let bytes = said(&desk, args);
    assert_eq!(said(&desk, &format!("{args} --memory {bytes}")), bytes);
    let less = bytes - 1;
    desk.refuses(&format!("regress {args} --memory {less}"), 3, "the model 'network'");
    // More models need more; one thread needs less than two.
    let forest = |threads: u64| {
        said(&desk, &format!("flights.csv --target price --models forest --threads {threads}"))
    };
    assert!(forest(1) < forest(2));
}

/// A file of 2 GiB that is nearly all hole: nobody writes or keeps as much.
#[test]
fn a_row_of_two_gibibytes_is_refused_at_once() {
    let desk = Desk::new();
    let mut file = File::create(desk.path("hole.csv")).unwrap();
    file.write_all(b"a,b,y\n").unwrap();
    (0..20_000).for_each(|i| writeln!(file, "{i},word,{}", i % 7).unwrap());
    file.set_len(2 << 30).unwrap();
    desk.refuses("regress hole.csv --target y", 3, "line 20002: a row of more than 1 MiB");
}

/// Runs the program, and returns the most bytes that it had in memory.
#[cfg(target_os = "linux")]
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn peak(desk: &Desk, args: &str) -> u64 {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_threadcount"));
    desk.clean(|name| {
        command.env_remove(name);
    });
    let child = command.current_dir(desk.folder()).args(args.split_whitespace()).spawn().unwrap();
    let mut status = 0;
    // SAFETY: an all-zero rusage is a valid value of this plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes into the two alone; the child is ours and nobody else waits for it.
    let done = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!((done, status), (child.id() as i32, 0));
    usage.ru_maxrss as u64 * 1024
}

/// What the program takes beside what it says: buffers of its threads and of files.
#[cfg(target_os = "linux")]
const BESIDE: u64 = 16 << 20;

/// What the program takes with next to no table: its code, its threads, a process's own pages.
#[cfg(target_os = "linux")]
fn program(desk: &Desk) -> u64 {
    fs::write(desk.path("small.csv"), "a,y\n1,2\n2,3\n4,9\n5,7\n").unwrap();
    peak(desk, "regress small.csv --target y --models mean --threads 2")
}

#[cfg(target_os = "linux")]
#[test]
fn no_more_is_used_than_was_said() {
    let desk = Desk::new();
    put_flights(&desk, "flights.csv", 15_000);
    let program = program(&desk);
    // With the number of the flight there are 1,200 columns, whose products take minutes in a debug build.
    for (models, options) in [
        ("mean", ""),
        ("network", ""),
        ("linear", "--leave-out flight"),
        ("descent", "--leave-out flight"),
        ("forest", "--out models"),
    ] {
        let args = format!("--target price --threads 2 --epochs 1 --models {models} {options}");
        let peak = peak(&desk, &format!("regress flights.csv {args} --json out.json"));
        let document: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
        let said = document["memory_bytes"].as_u64().unwrap();
        eprintln!(
            "{models}: {said} bytes were said, {peak} were used, {program} by the program alone"
        );
        let most = said + program + BESIDE;
        assert!(peak < most, "{models}: {peak} bytes were used, {said} were said");
        assert!(said < 3 * peak, "{models}: {said} bytes were said, {peak} were used");
    }
}

/// 2 GiB of real rows: all models but the two that take a multiple of the table. Writes 2 GiB; takes minutes.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes 2 GiB and takes minutes"]
fn two_gibibytes_of_rows() {
    let desk = Desk::new();
    put_flights(&desk, "flights.csv", 26_000_000);
    assert!(fs::metadata(desk.path("flights.csv")).unwrap().len() > 2 << 30);
    let args = "flights.csv --target price --models mean,linear,ridge,descent";
    let peak = peak(&desk, &format!("regress {args} --json out.json"));
    let document: Value = serde_json::from_str(&desk.read("out.json")).unwrap();
    let said = document["memory_bytes"].as_u64().unwrap();
    assert!(peak < said + program(&desk) + BESIDE, "{peak} bytes were used, {said} were said");
    let mut run = desk.bare("regress flights.csv --target price");
    run.timeout(std::time::Duration::from_secs(3_600));
    run.assert().code(3).stderr(contains("of it needs"));
}
