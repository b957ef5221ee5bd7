//! Which devices there are, by name. Whoever links a kind of device registers it; it is opened when somebody asks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_ir::{Error, ErrorKind, Result};

use crate::Device;

/// Opens all devices of a kind.
type Open = fn() -> Result<Vec<Arc<dyn Device>>>;

/// A kind of device.
#[derive(Clone, Debug)]
struct DeviceKind {
    name: &'static str,
    open: Open,
    /// Its devices, or why there are none, once somebody asked.
    opened: Option<Result<Vec<Arc<dyn Device>>>>,
}

#[derive(Debug)]
struct Registry {
    kinds: Vec<DeviceKind>,
    /// The kind whose first device is the default one.
    first: Option<&'static str>,
    chosen: Option<Arc<dyn Device>>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { kinds: Vec::new(), first: None, chosen: None });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DeviceKind {
    fn devices(&mut self) -> Result<Vec<Arc<dyn Device>>> {
        self.opened.get_or_insert_with(self.open).clone()
    }
}

/// Makes a kind of device known, under a name without a colon. A name that is known already stays what it is.
pub fn register(name: &'static str, open: Open) {
    add(&mut registry(), name, open);
}

/// Makes a kind of device known whose first device is the default one, unless another kind's is already.
pub fn register_default(name: &'static str, open: Open) {
    let mut registry = registry();
    add(&mut registry, name, open);
    registry.first.get_or_insert(name);
}

fn add(registry: &mut Registry, name: &'static str, open: Open) {
    if registry.kinds.iter().all(|kind| kind.name != name) {
        registry.kinds.push(DeviceKind { name, open, opened: None });
    }
}

/// Every device of this process; for a kind that can't be opened its name and why.
pub fn devices() -> Vec<(String, Result<Arc<dyn Device>>)> {
    let mut found = Vec::new();
    for kind in &mut registry().kinds {
        match kind.devices() {
            Ok(devices) => found.extend(devices.into_iter().map(|d| (d.name().to_string(), Ok(d)))),
            Err(error) => found.push((kind.name.to_string(), Err(error))),
        }
    }
    found
}

/// The device of this name: a kind's (`gpu`, its first one) or a device's own (`gpu:1`).
///
/// # Errors
/// Where there is none, with the names that there are; where it can't be opened.
pub fn device(name: &str) -> Result<Arc<dyn Device>> {
    let mut registry = registry();
    let (of, _) = name.split_once(':').unwrap_or((name, ""));
    let Some(kind) = registry.kinds.iter_mut().find(|kind| kind.name == of) else {
        let known: Vec<&str> = registry.kinds.iter().map(|kind| kind.name).collect();
        return Err(unknown(name, &known));
    };
    let devices = kind.devices()?;
    let found = match name == of {
        true => devices.first(),
        false => devices.iter().find(|device| device.name() == name),
    };
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = devices.iter().map(|device| device.name()).collect();
        unknown(name, &known)
    })
}

fn unknown(name: &str, known: &[&str]) -> Error {
    let message = format!("there is no device {name}; there are: {}", known.join(", "));
    Error::new(ErrorKind::Device, "device", message).nowhere()
}

/// The device of all who don't ask for another.
///
/// # Errors
/// Where there is none, or it can't be opened.
pub fn default_device() -> Result<Arc<dyn Device>> {
    let mut registry = registry();
    if let Some(chosen) = &registry.chosen {
        return Ok(chosen.clone());
    }
    let none = || {
        let message =
            "no device was chosen, and this program has no default one (kiln's feature `cpu` brings one)";
        Error::new(ErrorKind::Device, "device", message).nowhere()
    };
    let first = registry.first.ok_or_else(none)?;
    let kind = registry.kinds.iter_mut().find(|kind| kind.name == first).ok_or_else(none)?;
    let chosen = kind.devices()?.first().cloned().ok_or_else(none)?;
    registry.chosen = Some(chosen.clone());
    Ok(chosen)
}

/// Makes a device that of all who don't ask for another, from now on. What lies somewhere already stays there.
pub fn set_default_device(device: &Arc<dyn Device>) {
    registry().chosen = Some(device.clone());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static OPENED: AtomicUsize = AtomicUsize::new(0);

    fn broken() -> Result<Vec<Arc<dyn Device>>> {
        OPENED.fetch_add(1, Ordering::SeqCst);
        Err(Error::new(ErrorKind::Device, "device", "it has no fan").nowhere())
    }

    fn never() -> Result<Vec<Arc<dyn Device>>> {
        panic!("a name that is known stays what it is")
    }

    #[test]
    fn a_kind_is_opened_when_somebody_asks_and_once() {
        register("broken", broken);
        register("broken", never);
        assert_eq!(OPENED.load(Ordering::SeqCst), 0, "nobody asked");
        for name in ["broken", "broken:1"] {
            assert!(device(name).unwrap_err().to_string().contains("it has no fan"));
        }
        assert!(devices().iter().any(|(name, device)| name == "broken" && device.is_err()));
        assert_eq!(OPENED.load(Ordering::SeqCst), 1);
        let unknown = device("brocken").unwrap_err().to_string();
        assert!(unknown.contains("there is no device brocken") && unknown.contains("broken"), "{unknown}");
    }
}
