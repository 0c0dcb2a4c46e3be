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
    /// Bytes of memory that this process may have: the machine's, or what its container is limited to.
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
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = memory_limit(Path::new("/sys/fs/cgroup"), &groups);
    let physical = physical_cores().unwrap_or(available_threads);
    Machine {
        cpu,
        available_threads,
        physical_cores: physical.clamp(1, available_threads),
        l1d: cache(1),
        l2: cache(2),
        l3: cache(3),
        memory: [bytes("/proc/meminfo", "MemTotal"), limit].into_iter().flatten().min(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// The value of a line `name : value kB` of one of the system's files.
fn bytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let kib: u64 = field(&text, name)?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The smallest limit on memory of the control groups that a process is in, from `/proc/self/cgroup`, and
/// of those around them. Inside a container a group's own folder may not be there, only the one at the
/// root.
fn memory_limit(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        // Version 2 has one hierarchy for all controllers, version 1 a folder for each.
        let (top, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = top.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|folder| folder.starts_with(&top));
        // No limit is the word `max`, or a number beyond any memory.
        around
            .filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok())
            .min()
    });
    limits.min()
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
    fn a_containers_limit_on_memory_is_found() {
        let root = std::env::temp_dir().join(format!("threadcount-groups-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = |groups: &str| memory_limit(&root, groups);
        assert_eq!(limit("0::/user/me\n"), None);
        // Version 2: the smallest on the way up counts.
        put("user/me/memory.max", "max\n");
        put("user/memory.max", "3000000\n");
        put("memory.max", "4000000\n");
        assert_eq!(limit("1:cpu:/user\n0::/user/me\n"), Some(3_000_000));
        // In a container its own folder is the root.
        assert_eq!(limit("0::/elsewhere\n"), Some(4_000_000));
        // Version 1, beside a version 2 that limits nothing.
        put("memory/box/memory.limit_in_bytes", "1000000\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit("4:cpu,memory:/box\n"), Some(1_000_000));
        assert_eq!(limit("4:cpuset:/box\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }

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
