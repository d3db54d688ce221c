//! What the kernel knows about a process: CPU time and memory.

use std::{io, time::Duration};

use crate::Error;

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time since it started, user and system, all its threads.
    pub cpu: Duration,
    /// Resident memory now (`VmRSS`), in bytes.
    pub rss_bytes: u64,
    /// Most resident memory since the start or the last [`reset_peak`](crate::Function::reset_peak)
    /// (`VmHWM`), in bytes.
    pub peak_rss_bytes: u64,
}

/// A process by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    pub(crate) fn usage(self) -> Result<Usage, Error> {
        let cpu = self.cpu()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))
            .map_err(|source| self.unmeasured(source))?;
        let field = |name| {
            kilobytes(&status, name).map(|kb| kb * 1024).ok_or_else(|| {
                self.unmeasured(io::Error::other(format!("/proc/{}/status has no {name}", self.0)))
            })
        };
        Ok(Usage {
            cpu,
            rss_bytes: field("VmRSS:")?,
            peak_rss_bytes: field("VmHWM:")?,
        })
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn cpu(self) -> Result<Duration, Error> {
        use nix::{time::ClockId, unistd::Pid};

        let pid = i32::try_from(self.0).map_err(|_| self.unmeasured(io::Error::other("not a process id")))?;
        let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid))
            .and_then(ClockId::now)
            .map_err(|errno| self.unmeasured(errno.into()))?;
        Ok(time.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn cpu(self) -> Result<Duration, Error> {
        Err(self.unmeasured(io::Error::other("measuring needs Linux")))
    }

    pub(crate) fn reset_peak(self) -> Result<(), Error> {
        // 5 resets VmHWM: proc_pid_clear_refs(5).
        std::fs::write(format!("/proc/{}/clear_refs", self.0), "5").map_err(|source| self.unmeasured(source))
    }

    fn unmeasured(self, source: io::Error) -> Error {
        Error::Unmeasured { pid: self.0, source }
    }
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_own_lines() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(kilobytes(status, "VmHWM:"), Some(2048));
        assert_eq!(kilobytes(status, "VmRSS:"), Some(512));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
    }

    #[test]
    fn a_busy_process_has_used_cpu_and_memory() {
        let mut sum = 0_u64;
        while Process(std::process::id()).cpu().unwrap() < Duration::from_millis(1) {
            sum = std::hint::black_box(sum + 1);
        }
        let usage = Process(std::process::id()).usage().unwrap();
        assert!(
            usage.rss_bytes > 0 && usage.peak_rss_bytes >= usage.rss_bytes / 2,
            "{usage:?}"
        );
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(matches!(
            Process(u32::MAX - 1).usage(),
            Err(Error::Unmeasured { .. })
        ));
    }
}
