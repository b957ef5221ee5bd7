//! The CPU's memory: aligned, zeroed allocations, and those of variables, with a lock around each.

use std::alloc::{self, Layout};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_ir::{Error, ErrorKind, Result};

use super::lock::{Lock, LockMode, Reentered};
use kiln_device::Memory;

/// What every allocation is aligned to: a cache line and the widest vector.
pub(crate) const ALIGNMENT: usize = 64;

/// From here on an allocation asks for huge pages, and is aligned to one.
const HUGE: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// Zeroed bytes at an aligned address.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    base: NonNull<u8>,
    layout: Layout,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: an allocation is owned memory; who touches it when is decided by its users (a lock, an exclusive borrow).
unsafe impl Send for AlignedBytes {}
// SAFETY: as above; shared use is through raw pointers only.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// This many zeroed bytes.
    pub(crate) fn zeroed(bytes: usize) -> Result<AlignedBytes> {
        let full =
            || Error::new(ErrorKind::Device, "allocate", format!("no memory for {bytes} bytes")).nowhere();
        // Room to align within: an allocator that is asked for little alignment hands out fresh zero pages as they
        // are touched, instead of writing zeros into all of them now.
        let alignment = if bytes >= HUGE { HUGE_PAGE } else { ALIGNMENT };
        let size = bytes.checked_add(alignment).ok_or_else(full)?;
        let layout = Layout::from_size_align(size, 16).map_err(|_| full())?;
        // SAFETY: the layout's size isn't zero.
        let base = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or_else(full)?;
        let skip = base.as_ptr().align_offset(alignment);
        // SAFETY: at most `alignment - 1` bytes are skipped, of `alignment` that were added.
        let start = unsafe { base.add(skip) };
        advise_huge_pages(start.as_ptr(), bytes);
        Ok(AlignedBytes { base, layout, start, bytes })
    }

    /// The first byte, aligned to [`ALIGNMENT`].
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// How many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { alloc::dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// Asks for huge pages for what lies here, where that is much. The advice changes no contents, and may be refused.
pub(crate) fn advise_huge_pages(start: *mut u8, bytes: usize) {
    let skip = start.align_offset(HUGE_PAGE);
    if bytes >= HUGE && skip < bytes {
        advise(start.wrapping_add(skip), (bytes - skip) / HUGE_PAGE * HUGE_PAGE);
    }
}

#[cfg(target_os = "linux")]
fn advise(start: *mut u8, bytes: usize) {
    const MADV_HUGEPAGE: i32 = 14;
    unsafe extern "C" {
        fn madvise(address: *mut u8, length: usize, advice: i32) -> i32;
    }
    // SAFETY: whole pages inside of one allocation, whose contents the advice leaves alone.
    unsafe { madvise(start, bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise(_start: *mut u8, _bytes: usize) {}

/// How many bytes of memory the machine has, where the system tells.
pub(crate) fn of_the_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Memory of a variable.
#[derive(Debug)]
pub(crate) struct CpuMemory {
    pub(crate) lock: Lock,
    allocation: AlignedBytes,
    version: AtomicU64,
}

/// A number that no other contents of any memory have.
pub(crate) fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl CpuMemory {
    /// This many zeroed bytes.
    pub(crate) fn zeroed(bytes: usize) -> Result<CpuMemory> {
        Ok(CpuMemory {
            lock: Lock::default(),
            allocation: AlignedBytes::zeroed(bytes)?,
            version: AtomicU64::new(next_version()),
        })
    }

    /// Which contents these are: another number after each write. Whoever asks holds the lock.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Says that the contents are new. Whoever says it holds the lock alone.
    pub(crate) fn set_version(&self, version: u64) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// The first byte. Whoever follows it holds the lock.
    pub(crate) fn start(&self) -> *mut u8 {
        self.allocation.start()
    }

    fn check(&self, what: &str, len: usize) -> Result<()> {
        if len == self.allocation.bytes() {
            return Ok(());
        }
        let message = format!("the memory has {} bytes, not {len}", self.allocation.bytes());
        Err(Error::new(ErrorKind::Shape, what, message).nowhere())
    }
}

impl Memory for CpuMemory {
    fn bytes(&self) -> usize {
        self.allocation.bytes()
    }

    fn read(&self, target: &mut [u8]) -> Result<()> {
        self.check("read", target.len())?;
        self.lock.acquire(LockMode::Read).map_err(|Reentered| in_use("read"))?;
        // SAFETY: both have this many bytes, the target is a borrow of its own, and the lock keeps writers away.
        unsafe { self.start().copy_to_nonoverlapping(target.as_mut_ptr(), target.len()) };
        self.lock.release(LockMode::Read);
        Ok(())
    }

    fn write(&self, source: &[u8]) -> Result<()> {
        self.check("write", source.len())?;
        self.lock.acquire(LockMode::Write).map_err(|Reentered| in_use("write"))?;
        self.set_version(next_version());
        // SAFETY: as for reading; the lock keeps everyone else away.
        unsafe { self.start().copy_from_nonoverlapping(source.as_ptr(), source.len()) };
        self.lock.release(LockMode::Write);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The CPU's own memory behind a variable, an argument or an output.
#[inline]
pub(crate) fn own<'m>(what: &str, i: usize, memory: &'m Arc<dyn Memory>) -> Result<&'m CpuMemory> {
    memory.as_any().downcast_ref::<CpuMemory>().ok_or_else(|| {
        let message = format!("{what} {i} is memory of another device than the cpu");
        Error::new(ErrorKind::Device, "run", message).nowhere()
    })
}

/// The error for memory that is asked for from inside of the program that uses it.
pub(crate) fn in_use(what: &str) -> Error {
    let message = "the memory is in use by the program that is running on this thread";
    Error::new(ErrorKind::Device, what, message).nowhere()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_keeps_what_is_written() {
        for bytes in [0, 1, 63, 4096, HUGE + 5] {
            let memory = CpuMemory::zeroed(bytes).unwrap();
            assert_eq!(memory.start() as usize % ALIGNMENT, 0);
            let mut out = vec![7; bytes];
            memory.read(&mut out).unwrap();
            assert!(out.iter().all(|&byte| byte == 0));
            let source: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            memory.write(&source).unwrap();
            memory.read(&mut out).unwrap();
            assert_eq!(out, source);
        }
    }

    #[test]
    fn a_wrong_size_is_an_error() {
        let memory = CpuMemory::zeroed(8).unwrap();
        assert_eq!(memory.read(&mut [0; 7]).unwrap_err().to_string(), "read: the memory has 8 bytes, not 7");
        assert!(memory.write(&[0; 9]).is_err());
        assert!(CpuMemory::zeroed(usize::MAX).is_err());
    }
}
