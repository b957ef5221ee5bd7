//! What the targets share: inputs to begin with, files for readers that take a path, and a bound on memory. Each program in `bin/`
//! is a reader of kiln's with what must hold of all that it takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};

pub use libfuzzer_sys::fuzz_target;

/// A machine that has no memory for much at once: a reader that takes what a file says, without looking whether it can be had, ends
/// the program.
struct Bounded;

const MOST: usize = 128 << 20;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        if layout.size() <= MOST { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        if layout.size() <= MOST { unsafe { System.alloc_zeroed(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as promised by the caller.
        if size <= MOST { unsafe { System.realloc(pointer, layout, size) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

/// Writes good inputs into the folder named on the command line, where the fuzzer begins with them. What files may ask for from then on is
/// what a small machine has.
pub fn seeds<T: AsRef<[u8]>>(inputs: impl IntoIterator<Item = T>) {
    kiln::Limits { bytes: 64 << 20, nodes: 1 << 14, steps: 1 << 28 }.set();
    let Some(folder) = std::env::args().skip(1).map(PathBuf::from).find(|path| path.is_dir()) else { return };
    for (number, input) in inputs.into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), input).unwrap();
    }
}

/// The path of a name in a folder that is this process's own.
pub fn path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kiln-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// A file of this name with these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What a file that kiln wrote holds, as the JSON that says the same. It has no checksum, as if a person had changed it, so that
/// what is changed in it gets past the readers' first look.
pub fn as_json(written: &Path) -> Vec<u8> {
    let path = path("as.json");
    kiln::store::TensorFile::load(written).unwrap().save_json(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json.as_object_mut().unwrap().remove("checksum");
    serde_json::to_vec(&json).unwrap()
}
