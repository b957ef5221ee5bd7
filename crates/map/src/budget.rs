//! What is left of the limits for one file. Readers take from it before they take memory or time because the file says so.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{Limits, Resource};

/// What whatever one file says may still take.
///
/// ```
/// use kiln_map::{Budget, Limits};
///
/// let budget = Budget::of(Limits { bytes: 1000, ..Limits::current() });
/// let mut numbers: Vec<f64> = budget.room(100)?;
/// assert!(budget.reserve(&mut numbers, 1 << 40).unwrap_err().to_string().contains("--limit bytes="));
/// # Ok::<(), kiln_map::Exceeded>(())
/// ```
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    bytes: AtomicU64,
    nodes: AtomicU64,
    steps: AtomicU64,
}

/// The bytes of memory of a node, with its shape and its place among others.
const NODE: u64 = 512;

/// A file asks for more than it may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Exceeded {
    #[error(
        "it asks for more than {limit} {name}, the limit for what one file says (`kiln --limit {name}=…` sets another; in Rust, `Limits::set`)",
        name = resource.name()
    )]
    Limit { resource: Resource, limit: u64 },
    #[error("it asks for {0} bytes of memory, which the system doesn't have")]
    Memory(u64),
}

impl Default for Budget {
    /// All that the current limits allow.
    fn default() -> Budget {
        Budget::of(Limits::current())
    }
}

impl Budget {
    /// All that these limits allow.
    pub fn of(limits: Limits) -> Budget {
        let Limits { bytes, nodes, steps } = limits;
        Budget { limits, bytes: bytes.into(), nodes: nodes.into(), steps: steps.into() }
    }

    /// The limits it began with.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn take(&self, resource: Resource, amount: u64) -> Result<(), Exceeded> {
        let left = match resource {
            Resource::Bytes => &self.bytes,
            Resource::Nodes => &self.nodes,
            Resource::Steps => &self.steps,
        };
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(Exceeded::Limit { resource, limit: self.limits.of(resource) }),
        }
    }

    /// Takes so many bytes of memory.
    ///
    /// # Errors
    /// Where they aren't left.
    pub fn bytes(&self, count: u64) -> Result<(), Exceeded> {
        self.take(Resource::Bytes, count)
    }

    /// Takes so many nodes, and the memory that they have.
    ///
    /// # Errors
    /// Where they aren't left.
    pub fn nodes(&self, count: u64) -> Result<(), Exceeded> {
        self.take(Resource::Nodes, count)?;
        self.bytes(count.saturating_mul(NODE))
    }

    /// Takes so many steps.
    ///
    /// # Errors
    /// Where they aren't left.
    pub fn steps(&self, count: u64) -> Result<(), Exceeded> {
        self.take(Resource::Steps, count)
    }

    /// Gives bytes back that are free again.
    pub fn free(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }

    /// An empty list with room for so many.
    ///
    /// # Errors
    /// Where the memory isn't left, or the system doesn't have it.
    pub fn room<T>(&self, count: usize) -> Result<Vec<T>, Exceeded> {
        let mut list = Vec::new();
        self.reserve_exact(&mut list, count)?;
        Ok(list)
    }

    /// A list of so many of a value.
    ///
    /// # Errors
    /// As [`Budget::room`].
    pub fn filled<T: Clone>(&self, value: T, count: usize) -> Result<Vec<T>, Exceeded> {
        let mut list = self.room(count)?;
        list.resize(count, value);
        Ok(list)
    }

    /// Room for so many more in a list that grows: twice the room, where that can be had.
    ///
    /// # Errors
    /// As [`Budget::room`].
    pub fn reserve<T>(&self, list: &mut Vec<T>, more: usize) -> Result<(), Exceeded> {
        if list.capacity() - list.len() >= more {
            return Ok(());
        }
        let twice = list.capacity().saturating_mul(2).saturating_sub(list.len());
        match twice > more && self.reserve_exact(list, twice).is_ok() {
            true => Ok(()),
            false => self.reserve_exact(list, more),
        }
    }

    fn reserve_exact<T>(&self, list: &mut Vec<T>, more: usize) -> Result<(), Exceeded> {
        let missing = more.saturating_sub(list.capacity() - list.len());
        let bytes = (missing as u64).saturating_mul(size_of::<T>() as u64);
        self.bytes(bytes)?;
        list.try_reserve_exact(more).map_err(|_| {
            self.free(bytes);
            Exceeded::Memory(bytes)
        })
    }

    /// All bytes that come out of a reader. A limit that is exceeded comes as the cause of the error.
    ///
    /// # Errors
    /// Where the reader fails, or gives more than is left.
    pub fn read(&self, reader: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_some(reader, &mut bytes, usize::MAX)?;
        Ok(bytes)
    }

    /// Reads on until there are so many bytes, or the end; whether it was the end.
    ///
    /// # Errors
    /// As [`Budget::read`].
    pub fn read_some(&self, mut reader: impl Read, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
        while bytes.len() < wanted {
            // As much room as there are bytes, whatever was promised.
            let chunk = bytes.len().clamp(8 << 10, 1 << 20).min(wanted - bytes.len());
            self.reserve(bytes, chunk).map_err(io::Error::other)?;
            let read = reader.by_ref().take(chunk as u64).read_to_end(bytes)?;
            self.steps(read as u64).map_err(io::Error::other)?;
            if read < chunk {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// As [`Budget::read`].
    pub fn read_file(&self, path: impl AsRef<std::path::Path>) -> io::Result<Vec<u8>> {
        self.read(std::fs::File::open(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Budget {
        Budget::of(Limits { bytes: 100, nodes: 3, steps: 1 << 20 })
    }

    #[test]
    fn what_is_taken_is_gone_until_it_is_given_back() {
        let budget = small();
        budget.bytes(60).unwrap();
        let error = budget.bytes(41).unwrap_err();
        assert_eq!(error, Exceeded::Limit { resource: Resource::Bytes, limit: 100 });
        assert!(error.to_string().contains("more than 100 bytes"), "{error}");
        budget.bytes(40).unwrap();
        budget.free(1);
        budget.bytes(1).unwrap();
        let budget = Budget::of(Limits { bytes: 1 << 20, ..small().limits() });
        budget.nodes(3).unwrap();
        assert!(small().nodes(1).unwrap_err().to_string().contains("--limit bytes="));
        assert!(budget.nodes(1).unwrap_err().to_string().contains("--limit nodes="));
    }

    #[test]
    fn lists_grow_within_the_budget() {
        let budget = small();
        let mut list: Vec<u64> = Vec::new();
        let mut count = 0;
        while budget.reserve(&mut list, 1).is_ok() {
            list.push(7);
            count += 1;
        }
        assert_eq!(count, 12);
        assert!(small().room::<u64>(usize::MAX).is_err());
        let huge = Budget::of(Limits { bytes: u64::MAX, ..Limits::of_machine() });
        assert!(matches!(huge.room::<u8>(1 << 62), Err(Exceeded::Memory(_))));
    }

    #[test]
    fn a_reader_without_end_is_left() {
        let error = small().read(io::repeat(0)).unwrap_err();
        assert!(error.get_ref().is_some_and(|cause| cause.is::<Exceeded>()), "{error}");
        let budget = Budget::of(Limits { steps: 5, ..Limits::of_machine() });
        assert_eq!(budget.read(&b"abcde"[..]).unwrap(), b"abcde");
        assert!(budget.read(&b"f"[..]).unwrap_err().to_string().contains("5 steps"));
        let mut bytes = Vec::new();
        let budget = Budget::default();
        assert!(!budget.read_some(&b"abc"[..], &mut bytes, 2).unwrap());
        assert!(budget.read_some(&b"c"[..], &mut bytes, 9).unwrap());
        assert_eq!(bytes, b"abc");
    }
}
