//! What the command understands, one file a subcommand. Bad values are refused by the parser, which names the flag
//! and exits with 2; what fails later comes back from [`run`] and exits with 1.

mod base;
mod bench;
mod choices;
mod data;
mod devices;
mod eval;
mod export;
mod import;
mod inspect;
mod measure;
mod predict;
mod report;
mod rows;
mod runs;
mod settings;
mod shell;
mod source;
mod train;

use anyhow::Result;
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

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
        .after_long_help(train::AFTER_HELP)
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help_heading("Run")
                .help("Print the TOML file that repeats this run, and don't train"),
        );
    Command::new("kiln")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Neural networks from raw data to a trained model, in one binary")
        .propagate_version(true)
        .arg_required_else_help(true)
        .subcommand_required(true)
        .after_help("The first minute: `kiln train`. Each command explains itself: `kiln train --help`.")
        .subcommand(train)
        .subcommand(computes(eval::Flags::augment_args(Command::new("eval"))))
        .subcommand(computes(predict::Flags::augment_args(Command::new("predict")).visible_alias("run")))
        .subcommand(computes(inspect::Flags::augment_args(Command::new("inspect"))))
        .subcommand(runs::Flags::augment_args(Command::new("runs")))
        .subcommand(computes(export::Flags::augment_args(Command::new("export"))))
        .subcommand(computes(import::Flags::augment_args(Command::new("import"))))
        .subcommand(data::Flags::augment_args(Command::new("data")))
        .subcommand(computes(bench::Flags::augment_args(Command::new("bench"))))
        .subcommand(devices::Flags::augment_args(Command::new("devices")))
        .subcommand(shell::CompletionFlags::augment_args(Command::new("completions")))
        .subcommand(shell::ManFlags::augment_args(Command::new("man")))
}

/// Does what the command line says.
pub fn run() -> Result<()> {
    let matches = command().get_matches();
    if let Some((_, matches)) = matches.subcommand()
        && let Ok(Some(device)) = matches.try_get_one::<String>("device")
    {
        devices::choose(device)?;
    }
    match matches.subcommand() {
        Some(("train", matches)) => {
            let settings = settings::Settings::from_flags(matches)?;
            train::run(settings, matches.get_flag("print-config"))
        }
        Some(("eval", matches)) => eval::run(eval::Flags::from_arg_matches(matches)?),
        Some(("predict", matches)) => predict::run(predict::Flags::from_arg_matches(matches)?),
        Some(("inspect", matches)) => inspect::run(inspect::Flags::from_arg_matches(matches)?),
        Some(("runs", matches)) => runs::run(runs::Flags::from_arg_matches(matches)?),
        Some(("export", matches)) => export::run(export::Flags::from_arg_matches(matches)?),
        Some(("import", matches)) => import::run(import::Flags::from_arg_matches(matches)?),
        Some(("data", matches)) => data::run(data::Flags::from_arg_matches(matches)?),
        Some(("bench", matches)) => bench::run(bench::Flags::from_arg_matches(matches)?),
        Some(("devices", matches)) => devices::run(devices::Flags::from_arg_matches(matches)?),
        Some(("completions", matches)) => {
            shell::completions(shell::CompletionFlags::from_arg_matches(matches)?, command());
            Ok(())
        }
        Some(("man", matches)) => shell::man(shell::ManFlags::from_arg_matches(matches)?, command()),
        _ => Ok(()),
    }
}
