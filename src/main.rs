//! The command `kiln`.

mod cli;

use std::io::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Err(error) = cli::run() else { return ExitCode::SUCCESS };
    // Whoever reads our output may stop early (`kiln train | head`); that is no failure.
    let closed = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
