//! What the command understands, one file a subcommand. Bad values are refused by the parser, which names the flag
//! and exits with 2; what fails later comes back from [`run`] and exits with 1.

mod regions;
mod train;
mod values;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Neural networks from raw data to a trained model, in one binary.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "The first minute: `kiln train`. Each command explains itself: `kiln train --help`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Flags),
}

/// Does what the command line says.
pub fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Train(flags) => train::run(flags),
    }
}
