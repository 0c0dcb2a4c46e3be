//! What CPU this is: name, cores, caches. Read from the operating system once and asked by the
//! blocking of the kernels.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The machine's facts. A fact that the system does not tell is `None`.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The CPU's name, as the operating system gives it.
    pub cpu: String,
    /// Logical CPUs that this process may run on.
    pub available_threads: usize,
    /// Physical cores among them.
    pub physical_cores: usize,
    /// Bytes of first-level data cache of one core.
    pub l1d: Option<usize>,
    /// Bytes of second-level cache.
    pub l2: Option<usize>,
    /// Bytes of third-level cache.
    pub l3: Option<usize>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Operating system and architecture, such as `linux x86_64`.
    pub platform: String,
}

/// This machine.
pub fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(read)
}

fn read() -> Machine {
    let available_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = field(&cpuinfo, "model name").unwrap_or("unknown CPU").to_owned();
    let physical = physical_cores().unwrap_or(available_threads);
    Machine {
        cpu,
        available_threads,
        physical_cores: physical.clamp(1, available_threads),
        l1d: cache(1),
        l2: cache(2),
        l3: cache(3),
        memory: bytes("/proc/meminfo", "MemTotal"),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The value of a line `name : value kB` of one of the system's files.
fn bytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let kib: u64 = field(&text, name)?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Physical cores within the affinity mask: its CPUs, counted once for each set of siblings.
fn physical_cores() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let allowed = parse_list(field(&status, "Cpus_allowed_list")?);
    let mut cores: Vec<String> = allowed
        .iter()
        .filter_map(|cpu| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            fs::read_to_string(path).ok()
        })
        .collect();
    cores.sort_unstable();
    cores.dedup();
    (!cores.is_empty()).then_some(cores.len())
}

/// The numbers of a list such as `0-3,8`.
fn parse_list(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Bytes of the data or unified cache of that level, of CPU 0.
fn cache(level: usize) -> Option<usize> {
    let folder = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let read = |index: usize, name: &str| {
        let text = fs::read_to_string(folder.join(format!("index{index}/{name}"))).ok()?;
        Some(text.trim().to_owned())
    };
    let index = (0..8).find(|&index| {
        read(index, "level").is_some_and(|text| text == level.to_string())
            && read(index, "type").is_some_and(|text| text != "Instruction")
    })?;
    parse_size(&read(index, "size")?)
}

/// Bytes of a size such as `48K` or `32M`.
fn parse_size(size: &str) -> Option<usize> {
    let digits = size.trim_end_matches(['K', 'M', 'G']);
    let unit = match &size[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => 1 << 30,
    };
    Some(digits.parse::<usize>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_notations() {
        assert_eq!(parse_list("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(parse_size("48K"), Some(49_152));
        assert_eq!(parse_size("32M"), Some(33_554_432));
        assert_eq!(parse_size("x"), None);
        assert_eq!(field("a\t: 1\nb: two words\n", "b"), Some("two words"));
    }

    #[test]
    fn this_machine_has_a_core() {
        let machine = machine();
        assert!((1..=machine.available_threads).contains(&machine.physical_cores));
    }
}
