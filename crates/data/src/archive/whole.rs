//! A file as a whole, mapped or held.

use std::io::{BufRead, Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use kiln_map::MemoryMap;

/// The bytes of a file whose parts are read in any order.
#[derive(Clone)]
pub(crate) struct WholeFile(Arc<FileContent>);

enum FileContent {
    Mapped(MemoryMap),
    Held(Vec<u8>),
}

impl AsRef<[u8]> for WholeFile {
    fn as_ref(&self) -> &[u8] {
        match &*self.0 {
            FileContent::Mapped(map) => map,
            FileContent::Held(bytes) => bytes,
        }
    }
}

impl WholeFile {
    pub fn mapped(map: MemoryMap) -> WholeFile {
        WholeFile(Arc::new(FileContent::Mapped(map)))
    }

    pub fn of(bytes: Vec<u8>) -> WholeFile {
        WholeFile(Arc::new(FileContent::Held(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        self.as_ref()
    }

    /// What stands at a place, to be read.
    #[cfg_attr(not(feature = "gzip"), expect(dead_code))]
    pub fn part(&self, range: Range<usize>) -> impl BufRead + Send + 'static {
        let length = range.len() as u64;
        let mut cursor = Cursor::new(self.clone());
        cursor.set_position(range.start as u64);
        cursor.take(length)
    }
}
