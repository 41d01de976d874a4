//! Resource usage of the process, read from `/proc/self` on Linux.

use std::fs;

/// Clock ticks per second in `/proc/self/stat`. Linux reports 100 to programs with every kernel configuration.
const TICKS_PER_SECOND: f64 = 100.0;

/// Current usage. Values that cannot be read, for example on another system, are absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessFigures {
    pub resident_bytes: Option<u64>,
    /// Open files and connections.
    pub open_files: Option<u64>,
    pub open_files_max: Option<u64>,
    /// Processor time of all threads since the start.
    pub cpu_seconds: Option<f64>,
}

impl ProcessFigures {
    pub fn look() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            resident_bytes: resident_bytes(&read("status")),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            open_files_max: open_files_max(&read("limits")),
            cpu_seconds: cpu_seconds(&read("stat")),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

fn open_files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Sum of fields 14 and 15. Field 2 is the program's name in brackets and may contain any character.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_understood() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096  files\n";
        assert_eq!(open_files_max(limits), Some(1_024));
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!((resident_bytes(""), open_files_max(""), cpu_seconds("")), (None, None, None));
    }

    #[test]
    fn this_process_uses_something() {
        let ProcessFigures { resident_bytes, open_files, open_files_max, cpu_seconds } = ProcessFigures::look();
        assert!(resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(open_files.zip(open_files_max).is_some_and(|(open, max)| 0 < open && open < max));
        assert!(cpu_seconds.is_some());
    }
}
