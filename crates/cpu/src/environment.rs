//! What the environment says of the CPU: `KILN_THREADS`, `KILN_CHECK`, `KILN_SIMD`, `KILN_CACHES`. What it says wrongly is an error when
//! the device is opened.

use kiln_device::DeviceSettings;
use kiln_ir::{Error, ErrorKind, Result};

use crate::caches::{self, Caches, KILN_CACHES};
use crate::simd::{KILN_SIMD, Level};
use crate::threads::MOST_THREADS;

/// The settings that a device starts with.
pub(crate) fn settings() -> Result<DeviceSettings> {
    if let Some(asked) = variable(KILN_SIMD)
        && Level::named(&asked).is_none()
    {
        let here: Vec<&str> = Level::all_here().map(Level::name).collect();
        return Err(wrong(KILN_SIMD, &asked, &format!("what this machine has: {}", here.join(", "))));
    }
    if let Some(asked) = variable(KILN_CACHES)
        && Caches::named(&asked).is_none()
    {
        return Err(wrong(KILN_CACHES, &asked, caches::WANTED));
    }
    Ok(DeviceSettings { threads: threads()?, check_finite: check_finite()? })
}

/// `KILN_THREADS`, or as many as the machine runs at once.
fn threads() -> Result<usize> {
    let Some(asked) = variable("KILN_THREADS") else {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS));
    };
    match asked.parse() {
        Ok(threads) if (1..=MOST_THREADS).contains(&threads) => Ok(threads),
        _ => Err(wrong("KILN_THREADS", &asked, &format!("a number from 1 to {MOST_THREADS}"))),
    }
}

/// Whether `KILN_CHECK` lists `finite`.
fn check_finite() -> Result<bool> {
    match variable("KILN_CHECK").as_deref() {
        None => Ok(false),
        Some("finite") => Ok(true),
        Some(asked) => Err(wrong("KILN_CHECK", asked, "finite")),
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().trim().to_string();
    (!value.is_empty()).then_some(value)
}

fn wrong(name: &str, found: &str, wanted: &str) -> Error {
    let message = format!("{name} is {found:?} in the environment, and should be {wanted}");
    Error::new(ErrorKind::Value, "cpu", message).nowhere()
}
