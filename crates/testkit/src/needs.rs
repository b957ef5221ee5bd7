//! What a test may need and not find. It says so where everybody sees it, instead of passing in silence.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder of real data: in the folder that `KILN_DATA` names, or in `shared/data` beside the project. Where it isn't there the test
/// is [not run](not_run).
pub fn data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os("KILN_DATA").map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    not_run(&format!("there is no {}", path.display()));
    None
}

/// Says that the test on this thread doesn't run, and why; where `KILN_REQUIRE_DATA` is set it fails.
pub fn not_run(why: &str) {
    let thread = std::thread::current();
    let said = format!("NOT RUN: {}: {why}", thread.name().unwrap_or("a test"));
    assert!(std::env::var_os("KILN_REQUIRE_DATA").is_none(), "{said}");
    // What is printed by macros is kept back where a test passes.
    let _ = writeln!(std::io::stderr(), "\n{said}");
}
