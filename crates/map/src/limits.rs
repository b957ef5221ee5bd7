//! How much a file may ask for at most: set once for the process, or taken from the machine.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What files ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Bytes,
    /// Nodes of a network, with what functions and loops come to when they are written out.
    Nodes,
    /// Work before anything is trained or predicted: numbers computed, bytes unpacked, about a nanosecond each.
    Steps,
}

impl Resource {
    const ALL: [Resource; 3] = [Resource::Bytes, Resource::Nodes, Resource::Steps];

    /// How it is called in messages and where limits are told.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Bytes => "bytes",
            Resource::Nodes => "nodes",
            Resource::Steps => "steps",
        }
    }
}

/// The most that whatever one file says may take.
///
/// ```
/// use kiln_map::Limits;
///
/// let told: Limits = "bytes=2G, steps=1M".parse()?;
/// assert_eq!((told.bytes, told.steps), (2 << 30, 1_000_000));
/// assert_eq!(told.nodes, Limits::of_machine().nodes);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of [`Resource::Bytes`].
    pub bytes: u64,
    /// Of [`Resource::Nodes`].
    pub nodes: u64,
    /// Of [`Resource::Steps`].
    pub steps: u64,
}

/// What was set; 0 where nothing was.
static SET: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Where a machine doesn't say what memory it has.
const UNKNOWN: u64 = 8 << 30;

/// What every process may have.
const LEAST: u64 = 16 << 20;

/// A network of a thousand layers has some ten thousand nodes, and one that is unrolled over a text a hundred thousand.
const NODES: u64 = 1 << 20;

/// About a minute.
const STEPS: u64 = 1 << 36;

impl Limits {
    /// Half of the memory that this process may have, and what no sensible file comes near.
    pub fn of_machine() -> Limits {
        static MEMORY: OnceLock<u64> = OnceLock::new();
        let bytes = *MEMORY.get_or_init(|| memory().unwrap_or(UNKNOWN) / 2);
        Limits { bytes, nodes: NODES, steps: STEPS }
    }

    /// Those that hold for files from now on.
    pub fn current() -> Limits {
        let mut limits = Limits::of_machine();
        for (resource, set) in Resource::ALL.into_iter().zip(&SET) {
            match set.load(Ordering::Relaxed) {
                0 => {}
                told => *limits.of_mut(resource) = told,
            }
        }
        limits
    }

    /// Makes them those that hold for files from now on, in the whole process.
    pub fn set(self) {
        for (resource, set) in Resource::ALL.into_iter().zip(&SET) {
            set.store(self.of(resource).max(1), Ordering::Relaxed);
        }
    }

    /// The limit of one kind.
    pub fn of(mut self, resource: Resource) -> u64 {
        *self.of_mut(resource)
    }

    fn of_mut(&mut self, resource: Resource) -> &mut u64 {
        match resource {
            Resource::Bytes => &mut self.bytes,
            Resource::Nodes => &mut self.nodes,
            Resource::Steps => &mut self.steps,
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes={},nodes={},steps={}", self.bytes, self.nodes, self.steps)
    }
}

impl FromStr for Limits {
    type Err = String;

    /// `bytes=16G,nodes=2M`; a number alone means bytes. What isn't told is as the machine has it.
    fn from_str(text: &str) -> Result<Limits, String> {
        let mut limits = Limits::of_machine();
        for part in text.split(',') {
            let (name, amount) = part.split_once('=').unwrap_or((Resource::Bytes.name(), part));
            let resource = Resource::ALL.into_iter().find(|resource| resource.name() == name.trim());
            let resource = resource.ok_or_else(|| {
                format!("\"{}\" is no limit; limits are of bytes, nodes and steps", name.trim())
            })?;
            let told = number(amount.trim(), resource).filter(|told| *told > 0);
            *limits.of_mut(resource) = told.ok_or_else(|| {
                format!("\"{}\" is no number of {}, as 500M or 16G is", amount.trim(), resource.name())
            })?;
        }
        Ok(limits)
    }
}

/// `16G`: of bytes 16 · 2³⁰, of others 16 · 10⁹.
fn number(text: &str, resource: Resource) -> Option<u64> {
    let thousand: u64 = if resource == Resource::Bytes { 1024 } else { 1000 };
    let (digits, power) = match text.char_indices().next_back()? {
        (at, letter) if letter.is_ascii_alphabetic() => {
            (&text[..at], 1 + "KMGT".find(letter.to_ascii_uppercase())?)
        }
        _ => (text, 0),
    };
    let whole: f64 = digits.trim().parse().ok().filter(|number: &f64| *number >= 0.0)?;
    Some((whole * thousand.pow(power as u32) as f64) as u64)
}

/// The memory that this process may have: the machine's, its group's or its own limit, whichever is least.
fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let group = read("/proc/self/cgroup")
        .and_then(|text| Some(text.lines().find_map(|line| line.strip_prefix("0::"))?.to_string()));
    let group = group.and_then(|group| read(&format!("/sys/fs/cgroup{}/memory.max", group.trim_end())));
    let known = [
        read("/proc/meminfo").and_then(|text| line(&text, "MemTotal:")).map(|kilobytes| kilobytes << 10),
        read("/proc/self/limits").and_then(|text| line(&text, "Max address space")).map(|addresses| {
            let used = read("/proc/self/status").and_then(|text| line(&text, "VmSize:")).unwrap_or(0) << 10;
            // Threads take addresses in large pieces, used or not.
            addresses.saturating_sub(used) / 2
        }),
        group.and_then(|text| text.trim().parse().ok()),
        read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok()),
        read("/sys/fs/cgroup/memory/memory.limit_in_bytes").and_then(|text| text.trim().parse().ok()),
    ];
    known.into_iter().flatten().min().map(|bytes| bytes.max(LEAST))
}

/// The first number behind a name.
fn line(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_words() {
        let told = |text: &str| text.parse::<Limits>();
        let machine = Limits::of_machine();
        assert!(machine.bytes >= 1 << 20, "{machine}");
        assert_eq!(told("1.5k").unwrap(), Limits { bytes: 1536, ..machine });
        assert_eq!(
            told(" nodes = 7, steps=2G").unwrap(),
            Limits { nodes: 7, steps: 2_000_000_000, ..machine }
        );
        assert_eq!(told(&machine.to_string()).unwrap(), machine);
        for wrong in ["", "rows=3", "bytes=", "bytes=-1", "bytes=0", "5X", "bytes=1G,", "NaN"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(line("MemTotal:       24576000 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(24_576_000));
        let limits = "Max file locks  unlimited\nMax address space         614400000            unlimited            bytes\n";
        assert_eq!(line(limits, "Max address space"), Some(614_400_000));
        assert_eq!(line("Max address space         unlimited", "Max address space"), None);
    }
}
