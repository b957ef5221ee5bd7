//! Which device computes: the process's default one, and where variables live.

use std::sync::Arc;

use kiln_device::Device;
use kiln_ir::graph::Graph;
use kiln_ir::op::{Op, Shared};
use kiln_ir::{Error, ErrorKind, Result};

use crate::storage::{called, device_of};

/// Makes another kind of device known, behind those that this crate brings. What `open` gives is found by name; see
/// [`device`].
pub fn register(name: &'static str, open: fn() -> Result<Vec<Arc<dyn Device>>>) {
    known();
    kiln_device::register(name, open);
}

/// Makes the devices known that this crate brings: the CPU, with the feature `cpu`.
fn known() {
    #[cfg(feature = "cpu")]
    kiln_device::register_default("cpu", kiln_cpu::open);
}

/// The device of this name: `cpu`, `gpu`, `gpu:1`.
///
/// ```
/// # #[cfg(feature = "cpu")] {
/// let cpu = kiln_nn::device("cpu")?;
/// assert_eq!(cpu.name(), "cpu");
/// assert!(kiln_nn::device("abacus").unwrap_err().to_string().contains("there are: cpu"));
/// # }
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// Where there is none, or it can't be opened.
pub fn device(name: &str) -> Result<Arc<dyn Device>> {
    known();
    kiln_device::device(name)
}

/// Every device of this process by name; for a kind that can't be opened, why.
pub fn devices() -> Vec<(String, Result<Arc<dyn Device>>)> {
    known();
    kiln_device::devices()
}

/// The device of all that doesn't ask for another.
///
/// # Errors
/// Where there is none, or it can't be opened.
pub fn default_device() -> Result<Arc<dyn Device>> {
    known();
    kiln_device::default_device()
}

/// Makes a device that of all that doesn't ask for another, from now on. Variables stay where they are.
pub fn set_default_device(device: &Arc<dyn Device>) {
    known();
    kiln_device::set_default_device(device);
}

/// Sets how many threads the default device uses. Numbers don't depend on it.
///
/// # Errors
/// Where there is no device, or it can't.
pub fn set_threads(threads: usize) -> Result<()> {
    let device = default_device()?;
    device.configure(kiln_device::DeviceSettings { threads, ..device.settings() })
}

/// How many threads the default device uses; none where there is no device.
pub fn threads() -> usize {
    default_device().map_or(0, |device| device.settings().threads)
}

/// Switches the hunt for the first `NaN` or infinity on the default device: every kernel's result is looked at, and the first bad
/// one ends the run with an error that names it. The environment's `KILN_CHECK=finite` switches it on from the start.
///
/// # Errors
/// Where there is no device, or it can't.
pub fn check_finite(on: bool) -> Result<()> {
    let device = default_device()?;
    device.configure(kiln_device::DeviceSettings { check_finite: on, ..device.settings() })
}

/// The variables of a graph.
pub(crate) fn variables(graph: &Graph) -> impl Iterator<Item = &Shared<dyn kiln_ir::op::VariableHandle>> {
    let read = graph.nodes.iter().filter_map(|node| if let Op::Var(v) = &node.op { Some(v) } else { None });
    read.chain(graph.updates.iter().map(|(variable, _)| variable))
}

/// Where work on these variables runs: on the device that is `asked` for, else where the variables are, else on the default
/// one.
///
/// # Errors
/// Where they aren't all on one device.
pub(crate) fn home<'v>(
    asked: Option<&Arc<dyn Device>>,
    variables: impl Iterator<Item = &'v Shared<dyn kiln_ir::op::VariableHandle>>,
) -> Result<Arc<dyn Device>> {
    let mut home = asked.map(|device| (None, device.clone()));
    for variable in variables {
        let Some(device) = device_of(&*variable.0) else { continue };
        match &home {
            None => home = Some((Some(variable), device)),
            Some((_, found)) if kiln_device::same(found, &device) => {}
            Some((first, found)) => {
                let first = first.map_or("the work".to_string(), |first| called(&first.0.name()).to_string());
                let (other, there) = (variable.0.name(), device.name());
                let other = called(&other);
                let message = format!(
                    "{first} is on {}, and {other} on {there}; move one to the other with `to(&device)`",
                    found.name()
                );
                return Err(Error::new(ErrorKind::Device, "device", message).nowhere());
            }
        }
    }
    home.map_or_else(default_device, |(_, device)| Ok(device))
}
