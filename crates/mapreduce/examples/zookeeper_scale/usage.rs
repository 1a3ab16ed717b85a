//! What processes take, as the kernel says.

use std::{fmt, fs, io, iter::Sum};

use mapreduce::native::UserError;

/// What the kernel counts processor time in, for programs on whatever Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// Of a process, or several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time.
    seconds: f64,
    /// Memory, with its part of what it shares.
    bytes: u64,
    /// The most memory that it ever had at once, shared or not.
    bytes_max: u64,
}

impl Usage {
    /// Of one process that lives.
    pub fn of(pid: u32) -> Result<Usage, UserError> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command's name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').ok_or("no process's stat")?.1.split_whitespace();
        let ticks: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Usage {
            seconds: ticks.iter().sum::<u64>() as f64 / TICKS_A_SECOND,
            bytes: kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")? << 10,
            bytes_max: kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")? << 10,
        })
    }

    /// Of a process and those that it has started, as far as they live.
    pub fn of_family(pid: u32) -> Result<Usage, UserError> {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_whitespace().map(|child| Usage::of_family(child.parse()?));
        children.chain([Usage::of(pid)]).sum()
    }

    /// Of one of them, on average.
    pub fn mean(all: &[Usage]) -> Usage {
        let (sum, n) = (all.iter().copied().sum::<Usage>(), all.len().max(1) as u64);
        Usage { seconds: sum.seconds / n as f64, bytes: sum.bytes / n, bytes_max: sum.bytes_max / n }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(all: I) -> Usage {
        all.fold(Usage::default(), |a, b| Usage {
            seconds: a.seconds + b.seconds,
            bytes: a.bytes + b.bytes,
            bytes_max: a.bytes_max + b.bytes_max,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (now, most) = (mebibytes(self.bytes), mebibytes(self.bytes_max));
        write!(f, "{:.2} s of processor time, {now:.1} MiB, at most {most:.1} MiB", self.seconds)
    }
}

/// The number behind `name` in a file of the kernel's.
fn kilobytes(path: &str, name: &str) -> Result<u64, UserError> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("no {name} in {path}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How many processes want to run, on average over 1, 5 and 15 minutes.
pub fn load() -> io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(", "))
}
