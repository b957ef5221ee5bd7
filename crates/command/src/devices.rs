//! `kiln devices`: where things can be computed, and the choice among it.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::out;

/// List the devices that can compute
///
/// Any of them can be named by --device, or by `device = "NAME"` in a TOML file.
#[derive(Args)]
pub struct DevicesFlags {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Makes a device the one that everything is computed on.
pub fn choose(name: &str) -> Result<()> {
    kiln_learn::set_default_device(&kiln_learn::device(name)?);
    Ok(())
}

pub fn run(flags: DevicesFlags) -> Result<()> {
    let devices = kiln_learn::devices();
    if flags.json {
        let devices: Vec<_> = devices
            .iter()
            .map(|(name, device)| match device {
                Ok(device) => {
                    let description = device.description();
                    json!({
                        "name": name,
                        "kind": description.kind,
                        "memory": description.memory,
                        "limits": description.limits,
                    })
                }
                Err(error) => json!({ "name": name, "error": error.to_string() }),
            })
            .collect();
        return out::line(json!({ "devices": devices }));
    }
    let width = devices.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, device) in &devices {
        match device {
            Ok(device) => {
                let description = device.description();
                let memory = description
                    .memory
                    .map(|bytes| format!(", {:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
                out::line(format_args!("{name:width$}  {}{}", description.kind, memory.unwrap_or_default()))?;
                for limit in &description.limits {
                    out::line(format_args!("{:width$}  {limit}", ""))?;
                }
            }
            Err(error) => out::line(format_args!("{name:width$}  {error}"))?,
        }
    }
    Ok(())
}
