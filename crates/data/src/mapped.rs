//! A file in memory without reading it. A file of its own, because mapping is the only `unsafe` outside of `device/`.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, which the system brings in when they are looked at. No program may change the file meanwhile.
#[derive(Debug)]
pub struct Mapped(Mmap);

impl Mapped {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open(path: impl AsRef<Path>) -> std::io::Result<Mapped> {
        map(&File::open(path)?).map(Mapped)
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and is only ever read as bytes, of which every value is valid. The one rule left is that the
    // file doesn't change while it is mapped. kiln never changes a file in place: it writes another one and renames it, so that
    // a map keeps the file it was made of. That no other program writes into it is asked for above and where frames are opened.
    unsafe { Mmap::map(file) }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
