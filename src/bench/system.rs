//! What the operating system tells about this process and its machine.

use std::fs;

/// The peak resident memory of this process in bytes, mapped files included. `None` where the system does
/// not tell.
pub(super) fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 = field(&status, "VmHWM")?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The hypervisor of this virtual machine, such as `KVMKVMKVM`; `None` on bare metal.
pub(super) fn hypervisor() -> Option<String> {
    of_flags(&fs::read_to_string("/proc/cpuinfo").ok()?)
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// The name of the hypervisor, if the CPU's flags say that there is one.
fn of_flags(cpuinfo: &str) -> Option<String> {
    let flags = field(cpuinfo, "flags")?;
    flags.split_whitespace().find(|&flag| flag == "hypervisor")?;
    Some(hypervisor_name().unwrap_or("unknown".into()))
}

/// The twelve letters in leaf 0x4000_0000 of CPUID, which hypervisors fill: `KVMKVMKVM`.
#[cfg(target_arch = "x86_64")]
fn hypervisor_name() -> Option<String> {
    #[allow(unused_unsafe, reason = "a safe function in newer compilers")]
    // SAFETY: every CPU of this architecture has the instruction.
    let leaf = unsafe { std::arch::x86_64::__cpuid(0x4000_0000) };
    let letters = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat();
    let name = String::from_utf8_lossy(&letters).trim_matches(['\0', ' ']).to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(not(target_arch = "x86_64"))]
fn hypervisor_name() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_flags_of_the_cpu() {
        assert_eq!(of_flags("flags : fpu sse2\n"), None);
        assert!(of_flags("flags : fpu hypervisor\n").is_some());
        assert_eq!(field("a\t: 1\nb: two words\n", "b"), Some("two words"));
    }
}
