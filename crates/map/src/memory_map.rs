//! A file in memory without reading it. A file of its own, because mapping is the only `unsafe` outside of the devices.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file, which the system brings in when they are looked at. No program may change the file meanwhile.
#[derive(Debug)]
pub struct MemoryMap(Option<Mmap>);

impl MemoryMap {
    /// Maps a file for reading.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open(path: impl AsRef<Path>) -> std::io::Result<MemoryMap> {
        MemoryMap::of(&File::open(path)?)
    }

    /// Maps a file that is open.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn of(file: &File) -> std::io::Result<MemoryMap> {
        // Systems refuse to map nothing.
        match file.metadata()?.len() {
            0 => Ok(MemoryMap(None)),
            _ => map(file).map(Some).map(MemoryMap),
        }
    }
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and is only ever read as bytes, of which every value is valid. The one rule left is that the
    // file doesn't change while it is mapped. kiln never changes a file in place: it writes another one and renames it, so that
    // a map keeps the file it was made of. That no other program writes into it is asked for above and where frames are opened.
    unsafe { Mmap::map(file) }
}

impl Deref for MemoryMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for MemoryMap {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_testkit::Folder;

    #[test]
    fn a_file_is_its_bytes_however_many() {
        let folder = Folder::new("mapped");
        for size in [0, 1, 4096, 10_001] {
            let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
            assert_eq!(*MemoryMap::open(folder.write("file", &bytes)).unwrap(), bytes, "{size}");
        }
        assert!(MemoryMap::open(folder.at("none")).is_err());
    }
}
