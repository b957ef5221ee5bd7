//! The caches that a core works out of. Plans follow them: how work is cut and what waits where, never the order of a sum.

use std::sync::OnceLock;

/// Bytes of them, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caches {
    /// A core's own, of data.
    pub(crate) first: usize,
    /// A core's own, or its share.
    pub(crate) second: usize,
    /// A core's share of the last one.
    pub(crate) third: usize,
}

/// What most cores have at least, where nothing is known.
const USUAL: Caches = Caches { first: 32 << 10, second: 512 << 10, third: 2 << 20 };

/// Sizes that caches are believed to have.
const FIRST: [usize; 2] = [8 << 10, 1 << 20];
const SECOND: [usize; 2] = [64 << 10, 64 << 20];
const THIRD: [usize; 2] = [256 << 10, 1 << 30];

/// The environment's variable that names them.
pub(crate) const KILN_CACHES: &str = "KILN_CACHES";
/// What it may say.
pub(crate) const WANTED: &str = "a core's first, second and share of the third cache, as 32k,1m,16m";

/// The caches that plans are made for: the machine's, or those that `KILN_CACHES` names. What it says wrongly is an error
/// when the device is opened.
pub(crate) fn caches() -> Caches {
    static CACHES: OnceLock<Caches> = OnceLock::new();
    let asked = || std::env::var(KILN_CACHES).ok().and_then(|text| Caches::named(&text));
    *CACHES.get_or_init(|| asked().unwrap_or_else(|| Caches::of(&found())))
}

/// One cache as the machine describes it.
#[derive(Clone, Copy, Debug)]
struct FoundCache {
    level: usize,
    bytes: usize,
    /// How many of the system's processors use it.
    users: usize,
}

impl Caches {
    /// Those that a text names: three sizes, each in bytes or with a `k` or `m` behind it.
    pub(crate) fn named(text: &str) -> Option<Caches> {
        let sizes: Vec<usize> = text.split(',').map(size).collect::<Option<_>>()?;
        let &[first, second, third] = sizes.as_slice() else { return None };
        let believed = is_in(first, FIRST) && is_in(second, SECOND) && is_in(third, THIRD);
        (believed && first <= second && second <= third).then_some(Caches { first, second, third })
    }

    /// A core's part of what was found; what is missing or can't be is as usual.
    fn of(found: &[FoundCache]) -> Caches {
        let at = |level: usize| found.iter().find(|cache| cache.level == level && cache.bytes > 0);
        // Threads of one core share all that it has.
        let threads = at(1).map_or(1, |cache| cache.users).max(1);
        let share = |level: usize, [least, most]: [usize; 2]| {
            let cache = at(level)?;
            let cores = (cache.users / threads).max(1);
            Some(cache.bytes / cores)
                .filter(|&bytes| cache.bytes <= most.saturating_mul(cores) && bytes >= least)
        };
        let first = share(1, FIRST).unwrap_or(USUAL.first);
        let second = share(2, SECOND).unwrap_or(USUAL.second).max(first);
        // A machine without a third has no more than the second.
        let third = share(3, THIRD).unwrap_or(if found.is_empty() { USUAL.third } else { second });
        Caches { first, second, third: third.max(second) }
    }
}

fn is_in(bytes: usize, [least, most]: [usize; 2]) -> bool {
    (least..=most).contains(&bytes)
}

/// A size as `48k`, `2M` or in bytes.
fn size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// What the machine says of its caches; nothing where it says nothing.
fn found() -> Vec<FoundCache> {
    let described = described("/sys/devices/system/cpu/cpu0/cache");
    if described.is_empty() { of_the_processor() } else { described }
}

/// The caches of data that a folder of Linux describes.
fn described(folder: &str) -> Vec<FoundCache> {
    let cache = |index: usize| {
        let read = |name: &str| std::fs::read_to_string(format!("{folder}/index{index}/{name}")).ok();
        let is_data = read("type")?.trim() != "Instruction";
        let cache = FoundCache {
            level: read("level")?.trim().parse().ok()?,
            bytes: size(&read("size")?)?,
            users: read("shared_cpu_list").map_or(1, |list| listed(&list)),
        };
        is_data.then_some(cache)
    };
    (0..8).filter_map(cache).collect()
}

/// How many processors a list as `0-3,8` names.
fn listed(list: &str) -> usize {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    list.split(',').filter_map(count).sum::<usize>().max(1)
}

/// The caches of data by the processor's own description: leaf 4 of Intel's, 0x8000001D of AMD's.
#[cfg(target_arch = "x86_64")]
fn of_the_processor() -> Vec<FoundCache> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let leaf = [0x8000_001D, 4].into_iter().find(|&leaf| {
        let last = __cpuid(leaf & 0x8000_0000).eax;
        last >= leaf && __cpuid_count(leaf, 0).eax & 31 != 0
    });
    let Some(leaf) = leaf else { return Vec::new() };
    (0..8)
        .map(|index| __cpuid_count(leaf, index))
        .take_while(|cache| cache.eax & 31 != 0)
        // 1: of data, 2: of instructions, 3: of both.
        .filter(|cache| cache.eax & 31 != 2)
        .map(|cache| {
            let field = |word: u32, first: u32, bits: u32| ((word >> first) & ((1 << bits) - 1)) as usize;
            let line = (field(cache.ebx, 0, 12) + 1) * (field(cache.ebx, 12, 10) + 1);
            FoundCache {
                level: field(cache.eax, 5, 3),
                bytes: line * (field(cache.ebx, 22, 10) + 1) * (cache.ecx as usize + 1),
                users: field(cache.eax, 14, 12) + 1,
            }
        })
        .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn of_the_processor() -> Vec<FoundCache> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(level: usize, bytes: usize, users: usize) -> FoundCache {
        FoundCache { level, bytes, users }
    }

    #[test]
    fn a_core_has_its_share_of_what_several_use() {
        // Two threads a core, eight cores around the third cache.
        let zen = [cache(1, 32 << 10, 2), cache(2, 1 << 20, 2), cache(3, 32 << 20, 16)];
        assert_eq!(Caches::of(&zen), Caches { first: 32 << 10, second: 1 << 20, third: 4 << 20 });
        // Four cores around the second, and no third.
        let arm = [cache(1, 32 << 10, 1), cache(2, 1 << 20, 4)];
        assert_eq!(Caches::of(&arm), Caches { first: 32 << 10, second: 256 << 10, third: 256 << 10 });
    }

    #[test]
    fn what_is_missing_or_cannot_be_is_as_usual() {
        assert_eq!(Caches::of(&[]), USUAL);
        let nothing = [cache(1, 0, 0), cache(2, usize::MAX, 0), cache(3, 5, usize::MAX)];
        let of_nothing = Caches::of(&nothing);
        assert_eq!((of_nothing.first, of_nothing.second), (USUAL.first, USUAL.second));
        assert_eq!(of_nothing.third, USUAL.second);
        for level in 0..5 {
            for bytes in [0, 1, 100, 32 << 10, 1 << 20, usize::MAX] {
                for users in [0, 1, 2, 1000, usize::MAX] {
                    let Caches { first, second, third } = Caches::of(&[cache(level, bytes, users)]);
                    assert!(is_in(first, FIRST) && first <= second && second <= third && third <= THIRD[1]);
                }
            }
        }
    }

    #[test]
    fn what_this_machine_says_is_believed_from_both_sources() {
        for found in [found(), of_the_processor()] {
            let Caches { first, second, third } = Caches::of(&found);
            assert!(is_in(first, FIRST) && is_in(second, SECOND) && is_in(third, THIRD), "{found:?}");
        }
    }

    #[test]
    fn sizes_are_named_with_units_and_in_order() {
        let named = Caches { first: 48 << 10, second: 2 << 20, third: 30 << 20 };
        for text in ["48k,2m,30m", " 48K , 2048k, 30M", "49152,2097152,31457280"] {
            assert_eq!(Caches::named(text), Some(named), "{text}");
        }
        let wrong = [
            "",
            "48k",
            "48k,2m",
            "48k,2m,30m,1g",
            "0,2m,30m",
            "48k,2m,1m",
            "2m,48k,30m",
            "a,b,c",
            "é,2m,30m",
            "48k,2m,99999999m",
        ];
        for text in wrong {
            assert_eq!(Caches::named(text), None, "{text}");
        }
    }

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, count) in [("0-1\n", 2), ("0-3,8-11", 8), ("5", 1), ("", 1), ("7-3", 1), ("x", 1)] {
            assert_eq!(listed(list), count, "{list}");
        }
    }
}
