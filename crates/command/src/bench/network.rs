//! `kiln bench MODEL`: what the answers of one model or ONNX file take, and which of its kernels.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kiln_learn::ir::{Data, Error, ErrorKind, Scalar};
use kiln_learn::model::stored_dtype;
use kiln_learn::onnx::{self, Network, OnnxDType, Port, Value};
use kiln_learn::prelude::*;
use serde_json::json;

use super::{BenchFlags, machine, median, times};
use crate::out;

/// How often kernels are timed one by one: the best time of each counts.
const PROFILED: usize = 10;

/// `ids=*,128`: a name, and sizes of which a star is the batch.
pub(super) fn named_sizes(text: &str) -> Result<(String, Vec<Option<usize>>), String> {
    let wrong = || format!("{text:?} is no name with sizes, such as ids=*,128; a star stands for the batch");
    let (name, sizes) = text.rsplit_once('=').ok_or_else(wrong)?;
    let size = |text: &str| match text.trim() {
        "*" => Some(None),
        size => size.parse().ok().filter(|size| *size > 0).map(Some),
    };
    let sizes = sizes.split(',').map(size).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    Ok((name.to_string(), sizes))
}

pub(super) fn run(path: &Path, flags: &BenchFlags) -> Result<()> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        return network(path, flags);
    }
    if !flags.shape.is_empty() {
        bail!("--shape is for ONNX files; {} says itself what it takes", path.display());
    }
    let model = Model::load(path)?;
    let form = model.about().input.form();
    announce(path, flags)?;
    for &batch in &flags.batch {
        let sizes: Vec<usize> = std::iter::once(batch as usize).chain(form.shape.iter().copied()).collect();
        let rows = made_up(stored_dtype(&form), &sizes)?;
        measure(path, batch, flags, &mut model.function().any(), &[(rows, sizes)])?;
    }
    Ok(())
}

/// What is measured, and with what.
fn announce(path: &Path, flags: &BenchFlags) -> Result<()> {
    if flags.json {
        return Ok(());
    }
    out::line(format_args!("{}, {}", path.display(), machine()))
}

fn network(path: &Path, flags: &BenchFlags) -> Result<()> {
    let mut network = onnx::load(path).with_context(|| path.display().to_string())?;
    // Names of classes are none of a network's work, and can't be made before it runs.
    let (numbers, others): (Vec<Port>, Vec<Port>) = network
        .outputs()
        .into_iter()
        .partition(|port| port.element.is_none_or(|element| element.dtype().is_some()));
    if numbers.is_empty() {
        bail!("{}: it gives no numbers, but texts", path.display());
    }
    if !others.is_empty() {
        let names: Vec<&str> = numbers.iter().map(|port| port.name.as_str()).collect();
        network.keep(&names).with_context(|| path.display().to_string())?;
    }
    let ports = network.inputs();
    if let Some((name, _)) = flags.shape.iter().find(|(name, _)| ports.iter().all(|port| port.name != *name))
    {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        bail!("--shape {name}: {} takes {}", path.display(), names.join(", "));
    }
    // A file that was written for one size of batch mostly computes others as well.
    let fixed = |port: &Port| port.sizes.first().copied().flatten();
    let other =
        |port: &Port| fixed(port).is_some_and(|size| flags.batch.iter().any(|&batch| batch as usize != size));
    if ports.iter().any(other)
        && let Some(why) = network.free_batch().with_context(|| path.display().to_string())?
    {
        bail!(
            "{}: the file fixes the batch, and others don't work: {why}; say --batch {}",
            path.display(),
            ports.iter().find_map(fixed).unwrap_or(1)
        );
    }
    let ports = network.inputs();
    for &batch in &flags.batch {
        if !ports.is_empty() && !ports.iter().any(|port| takes(port, batch as usize, flags)) {
            let only = ports.iter().find_map(fixed).unwrap_or(1);
            bail!("{}: no input takes a batch of {batch}; say --batch {only}", path.display());
        }
    }
    announce(path, flags)?;
    for &batch in &flags.batch {
        let mut inputs = Vec::new();
        for port in &ports {
            let sizes = sizes(path, port, batch as usize, flags)?;
            let dtype = port.element.and_then(OnnxDType::dtype).with_context(|| {
                format!(
                    "{}: input {} is no tensor of numbers, and can't be made up",
                    path.display(),
                    port.name
                )
            })?;
            inputs.push((made_up(dtype, &sizes)?, sizes));
        }
        let mut function = answers(&network);
        let given: Vec<Input> = inputs.iter().map(|(data, sizes)| Input::from_data(data, sizes)).collect();
        let whole = function.graph(given.as_slice());
        // Where shapes follow from numbers there is no one program, but parts.
        let values = || values(&ports, &inputs);
        match whole {
            Err(_) if network.compute(values()).is_ok() => {
                let mut seconds = times(&mut || Ok(network.compute(values()).map(drop)?))?;
                say(path, batch, flags, &mut seconds, Vec::new())?;
            }
            _ => measure(path, batch, flags, &mut function, &inputs)
                .with_context(|| path.display().to_string())?,
        }
    }
    Ok(())
}

/// What a network gives, of as many inputs as it takes.
fn answers(network: &Network) -> Function<'_> {
    Function::many_with_updates(move |inputs| {
        let elements = network.inputs().into_iter().map(|port| port.element);
        let values = inputs.iter().zip(elements).map(|(tensor, element)| match element {
            Some(element) => Value::Numbers(tensor.clone(), element),
            None => Value::of(tensor.clone()),
        });
        let fault = |error: onnx::Error| Error::new(ErrorKind::Value, "run", error.to_string()).nowhere();
        let outputs = network.run(values.collect(), &Context::inference()).map_err(fault)?;
        let tensors = outputs.into_iter().filter_map(|value| match value {
            Value::Numbers(tensor, _) => Some(tensor),
            _ => None,
        });
        Ok((tensors.collect(), Vec::new()))
    })
}

/// Inputs as values of a network.
fn values(ports: &[Port], inputs: &[(Data, Vec<usize>)]) -> Vec<Value> {
    let element = |port: &Port, data: &Data| port.element.unwrap_or(OnnxDType::from_dtype(data.dtype()));
    let both = ports.iter().zip(inputs);
    both.map(|(port, (data, sizes))| Value::new(data.clone(), sizes, element(port, data))).collect()
}

/// Whether a batch of this size reaches an input: a network that takes none would be timed for another one.
fn takes(port: &Port, batch: usize, flags: &BenchFlags) -> bool {
    match told(port, flags) {
        Some(told) => told.contains(&None) || told.first() == Some(&Some(batch)),
        None => port.sizes.first().is_some_and(|size| size.is_none_or(|size| size == batch)),
    }
}

/// The sizes that --shape gives an input.
fn told<'f>(port: &Port, flags: &'f BenchFlags) -> Option<&'f [Option<usize>]> {
    flags.shape.iter().rev().find(|(name, _)| *name == port.name).map(|(_, told)| told.as_slice())
}

/// The sizes of an input for a batch.
fn sizes(path: &Path, port: &Port, batch: usize, flags: &BenchFlags) -> Result<Vec<usize>> {
    if let Some(told) = told(port, flags) {
        return Ok(told.iter().map(|size| size.unwrap_or(batch)).collect());
    }
    let known = port.sizes.iter().enumerate().map(|(axis, size)| match size {
        None if axis == 0 => Some(batch),
        size => *size,
    });
    known.collect::<Option<Vec<usize>>>().with_context(|| {
        let like: Vec<String> = port
            .sizes
            .iter()
            .enumerate()
            .map(|(axis, size)| match size {
                Some(size) => size.to_string(),
                None => if axis == 0 { "*" } else { "N" }.to_string(),
            })
            .collect();
        let (file, name) = (path.display(), &port.name);
        format!(
            "{file} leaves sizes of {name} free: say --shape '{name}={}' with numbers in place of N",
            like.join(",")
        )
    })
}

/// Numbers that any network can take: noise, or ones where they may be codes.
fn made_up(dtype: DType, sizes: &[usize]) -> Result<Data> {
    let count = sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let count = count.with_context(|| format!("{sizes:?} is larger than any memory"))?;
    if !dtype.is_float() {
        return Ok(Data::try_filled(dtype, count, Scalar::Int(1))?);
    }
    Ok(Key::new(1).normal([count], 0.0, 1.0).cast(dtype).to_data()?)
}

/// Times a function for a batch and says what was found.
fn measure(
    path: &Path,
    batch: u32,
    flags: &BenchFlags,
    function: &mut Function,
    inputs: &[(Data, Vec<usize>)],
) -> Result<()> {
    let inputs: Vec<Input> = inputs.iter().map(|(data, sizes)| Input::from_data(data, sizes)).collect();
    let mut seconds = times(&mut || Ok(function.run(inputs.as_slice()).map(drop)?))?;
    let mut best_of_each: Vec<Duration> = Vec::new();
    if flags.kernels > 0 {
        function.profile(true);
        for _ in 0..PROFILED {
            function.run(inputs.as_slice())?;
            let times = function.times();
            best_of_each = match best_of_each.is_empty() {
                true => times,
                false => best_of_each.into_iter().zip(times).map(|(a, b)| a.min(b)).collect(),
            };
        }
    }
    let program = function.program(inputs.as_slice())?;
    let mut kernels: Vec<_> = program.kernels.iter().zip(&best_of_each).skip(program.hoisted).collect();
    kernels.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
    let kernels = kernels.into_iter().take(flags.kernels).map(|(kernel, time)| {
        json!({ "kernel": kernel.label, "seconds": time.as_secs_f64(), "operations": kernel.operations, "bytes": kernel.bytes })
    });
    say(path, batch, flags, &mut seconds, kernels.collect())?;
    if flags.json { Ok(()) } else { out::text(program.slowest(&best_of_each, flags.kernels)) }
}

/// Says how long a batch takes.
fn say(
    path: &Path,
    batch: u32,
    flags: &BenchFlags,
    seconds: &mut [f64],
    kernels: Vec<serde_json::Value>,
) -> Result<()> {
    let (median, best) = (median(seconds), seconds[0]);
    let rate = f64::from(batch) / median;
    if flags.json {
        return out::line(json!({
            "name": path.display().to_string(),
            "batch": batch,
            "threads": kiln_learn::threads(),
            "seconds": median,
            "best": best,
            "rate": rate,
            "unit": "rows/s",
            "kernels": kernels,
        }));
    }
    out::line(format_args!(
        "batch of {batch:<6} {:>9.3} ms  best {:>9.3} ms  {:>9} rows/s",
        median * 1e3,
        best * 1e3,
        super::amount(rate)
    ))
}
