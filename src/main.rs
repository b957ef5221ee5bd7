//! The command `kiln`.

mod cli;

use std::io::ErrorKind;
use std::process::ExitCode;

use kiln::onnx;

fn main() -> ExitCode {
    let Err(error) = cli::run() else { return ExitCode::SUCCESS };
    // Whoever reads our output may stop early (`kiln train | head`); that is no failure.
    let closed = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    // An operator that isn't known has a code of its own: a caller may go on with another file.
    let unknown = |cause: &onnx::Error| matches!(cause, onnx::Error::Unsupported(_));
    match error.chain().filter_map(|cause| cause.downcast_ref()).any(unknown) {
        true => ExitCode::from(3),
        false => ExitCode::FAILURE,
    }
}
