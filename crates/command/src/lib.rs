//! The command `kiln` as a library: what it understands, one file a subcommand. Bad values are refused by the parser, which names the flag
//! and exits with 2; what fails later comes back from `run` and exits with 1.
//!
//! # Invariants
//!
//! - **Printing goes through `out`**: what files say reaches no terminal as a command, and a closed stream ends nothing.
//!   `nothing_from_a_file_reaches_a_terminal_as_a_command` and `tests/streams.rs` hold it.
//! - **A run's folder belongs to one process**, and each file in it is whole at any moment: whoever kills a run relies on it.
//!   `a_run_that_is_killed_at_any_moment_goes_on_and_ends_with_the_same_bits` holds it.
//! - **Flags and the file mean the same**: both are one table (`settings`), and the file that is written repeats the run:
//!   `a_configuration_repeats_its_run_bit_for_bit`.
//! - **A setting that changes numbers isn't changed in a run that goes on** unless it is allowed by name; each line of the table says what
//!   it changes, and `what_a_setting_changes_are_parts_of_a_training` holds the two lists together.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod base;
mod bench;
mod check;
mod choices;
mod data;
mod devices;
mod eval;
mod explain;
mod export;
mod figures;
mod folder;
mod forecasts;
mod import;
mod importance;
mod insight;
mod inspect;
mod large;
mod measure;
mod out;
mod predict;
mod reading;
mod report;
mod rows;
mod runs;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod shell;
mod source;
mod train;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use kiln_learn::Limits;
use kiln_learn::onnx::Error;

/// A subcommand that computes, with the flag that says where.
fn computes(command: Command) -> Command {
    command.arg(
        Arg::new("device")
            .long("device")
            .value_name("NAME")
            .help("Where to compute: cpu, or another that `kiln devices` lists [default: cpu]"),
    )
}

/// The whole command line.
fn command() -> Command {
    let train = settings::command(Command::new("train"))
        .about("Train a model: from a table, images, text, or digits that are made")
        .long_about(
            "Train a model. What the data are is found from the path and said; a model and settings that suit them are \
             chosen, and any of it can be said otherwise by a flag or in a TOML file.",
        )
        .after_long_help(format!(
            "{}\n\nWhat --layers is made of, with commas between; in brackets stands what may be left out, and what it then is:\n{}",
            train::AFTER_HELP,
            kiln_learn::sequential::listing()
        ))
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help_heading("Run")
                .help("Print the TOML file that repeats this run, and don't train"),
        )
        .arg(
            Arg::new("allow-changes")
                .long("allow-changes")
                .value_name("SETTINGS")
                .value_delimiter(',')
                .help_heading("Run")
                .help("What may differ from the run that --resume goes on with: settings by name, or data, with commas between them"),
        );
    let command = Command::new("kiln")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Neural networks from raw data to a trained model, in one binary")
        .propagate_version(true)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .after_help("The first minute: `kiln train`. Each command explains itself: `kiln train --help`.")
        .arg(
            Arg::new("limit")
                .long("limit")
                .global(true)
                .value_name("BYTES")
                .value_parser(|text: &str| text.parse::<Limits>())
                .help_heading("Files")
                .help("The most memory that one file may ask for, as 16G [default: half of the machine's]")
                .long_help(
                    "The most that one file may ask for: memory as 16G or bytes=16G; also nodes=2M of a network, with functions and loops \
                     written out, and steps=100G of work before anything is computed with. Several with commas between them \
                     [default: half of the memory that the process may have, and more nodes and steps than networks have]",
                ),
        )
        .subcommand(train)
        .subcommand(search::SearchFlags::augment_args(Command::new("search")))
        .subcommand(computes(eval::EvalFlags::augment_args(Command::new("eval"))))
        .subcommand(computes(predict::PredictFlags::augment_args(Command::new("predict")).visible_alias("run")))
        .subcommand(computes(explain::ExplainFlags::augment_args(Command::new("explain"))))
        .subcommand(computes(inspect::InspectFlags::augment_args(Command::new("inspect"))))
        .subcommand(computes(check::CheckFlags::augment_args(Command::new("check"))))
        .subcommand(runs::RunsFlags::augment_args(Command::new("runs")))
        .subcommand(computes(export::ExportFlags::augment_args(Command::new("export"))))
        .subcommand(computes(import::ImportFlags::augment_args(Command::new("import"))))
        .subcommand(data::DataFlags::augment_args(Command::new("data")))
        .subcommand(computes(bench::BenchFlags::augment_args(Command::new("bench"))))
        .subcommand(devices::DevicesFlags::augment_args(Command::new("devices")))
        .subcommand(shell::CompletionFlags::augment_args(Command::new("completions")))
        .subcommand(shell::ManFlags::augment_args(Command::new("man")));
    #[cfg(feature = "serve")]
    let command = command.subcommand(computes(serve::ServeFlags::augment_args(Command::new("serve"))));
    command
}

/// The command: says what went wrong, and with which code the process is to end.
pub fn main() -> ExitCode {
    let error = match run() {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Whoever reads our output may stop early (`kiln train | head`); that is no failure.
    let closed = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        return ExitCode::SUCCESS;
    }
    out::note(format_args!("error: {}", said(&error)));
    // An operator that isn't known has a code of its own: a caller may go on with another file.
    let unknown = |cause: &Error| matches!(cause, Error::Unsupported(_));
    match error.chain().filter_map(|cause| cause.downcast_ref()).any(unknown) {
        true => ExitCode::from(3),
        false => ExitCode::FAILURE,
    }
}

/// An error with its causes. What one of them says already isn't said again by the next.
fn said(error: &anyhow::Error) -> String {
    let mut all: Vec<String> = Vec::new();
    for text in error.chain().map(|cause| cause.to_string()) {
        match all.last_mut() {
            Some(last) if last.ends_with(&text) => {}
            Some(last) if text.starts_with(last.as_str()) => *last = text,
            _ => all.push(text),
        }
    }
    all.join(": ")
}

/// Does what the command line says. The exit code is 0, or that of a signal.
fn run() -> Result<ExitCode> {
    // Names go to files and reports as text: one that isn't would be another file's when it is read back.
    if let Some(argument) = std::env::args_os().skip(1).find(|argument| argument.to_str().is_none()) {
        out::note(format_args!(
            "error: {}: the argument isn't UTF-8; rename what it names",
            argument.display()
        ));
        return Ok(ExitCode::from(2));
    }
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        // Help that was asked for is a result like any other.
        Err(help) if !help.use_stderr() => {
            help.print().context("the standard output can't be written")?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            let _ = error.print();
            return Ok(ExitCode::from(2));
        }
    };
    if let Some((_, matches)) = matches.subcommand()
        && let Ok(device) = matches.try_get_one::<String>("device")
    {
        // What computes has its device before anything else happens.
        device.map_or_else(
            || kiln_learn::default_device().map(drop).map_err(Into::into),
            |name| devices::choose(name),
        )?;
    }
    if let Some(limits) = matches.get_one::<Limits>("limit") {
        limits.set();
    }
    match matches.subcommand() {
        Some(("train", matches)) => {
            let settings = settings::Settings::from_flags(matches)?;
            let allowed = matches.get_many::<String>("allow-changes").into_iter().flatten();
            let allowed = allowed.map(|name| name.trim().to_string()).collect();
            return train::run(settings, matches.get_flag("print-config"), allowed);
        }
        Some(("search", matches)) => return search::run(search::SearchFlags::from_arg_matches(matches)?),
        Some(("eval", matches)) => eval::run(eval::EvalFlags::from_arg_matches(matches)?),
        Some(("predict", matches)) => {
            return predict::run(predict::PredictFlags::from_arg_matches(matches)?);
        }
        Some(("explain", matches)) => explain::run(explain::ExplainFlags::from_arg_matches(matches)?),
        Some(("check", matches)) => return check::run(check::CheckFlags::from_arg_matches(matches)?),
        Some(("inspect", matches)) => inspect::run(inspect::InspectFlags::from_arg_matches(matches)?),
        Some(("runs", matches)) => runs::run(runs::RunsFlags::from_arg_matches(matches)?),
        Some(("export", matches)) => export::run(export::ExportFlags::from_arg_matches(matches)?),
        Some(("import", matches)) => import::run(import::ImportFlags::from_arg_matches(matches)?),
        Some(("data", matches)) => data::run(data::DataFlags::from_arg_matches(matches)?),
        Some(("bench", matches)) => bench::run(bench::BenchFlags::from_arg_matches(matches)?),
        Some(("devices", matches)) => devices::run(devices::DevicesFlags::from_arg_matches(matches)?),
        #[cfg(feature = "serve")]
        Some(("serve", matches)) => serve::run(serve::ServeFlags::from_arg_matches(matches)?),
        Some(("completions", matches)) => {
            shell::completions(shell::CompletionFlags::from_arg_matches(matches)?, command())
        }
        Some(("man", matches)) => shell::man(shell::ManFlags::from_arg_matches(matches)?, command()),
        _ => Ok(()),
    }
    .map(|()| ExitCode::SUCCESS)
}
