//! The devices that kiln brings: the CPU, and the reference that programs are checked on.

use std::sync::Arc;

use kiln_nn::Device;

use crate::Result;

/// Makes the devices known that this crate adds.
fn known() {
    kiln_nn::device::register("reference", kiln_reference::open);
}

/// The device of this name: `cpu`, `reference`.
///
/// # Errors
/// Where there is none, with the names there are; where it can't be opened.
pub fn device(name: &str) -> Result<Arc<dyn Device>> {
    known();
    Ok(kiln_nn::device(name)?)
}

/// Every device by name; for a kind that can't be opened, why.
///
/// ```
/// let names: Vec<String> = kiln::devices().into_iter().map(|(name, _)| name).collect();
/// assert!(names.contains(&"reference".to_string()));
/// ```
pub fn devices() -> Vec<(String, kiln_nn::Result<Arc<dyn Device>>)> {
    known();
    kiln_nn::devices()
}

/// The device of all that doesn't ask for another.
///
/// # Errors
/// Where there is none, or it can't be opened.
pub fn default_device() -> Result<Arc<dyn Device>> {
    known();
    Ok(kiln_nn::default_device()?)
}
