//! The command `kiln`.

mod cli;

use std::io::ErrorKind;
use std::process::ExitCode;

use kiln::onnx;

fn main() -> ExitCode {
    let error = match cli::run() {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Whoever reads our output may stop early (`kiln train | head`); that is no failure.
    let closed = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(closed) {
        return ExitCode::SUCCESS;
    }
    cli::out::note(format_args!("error: {}", said(&error)));
    // An operator that isn't known has a code of its own: a caller may go on with another file.
    let unknown = |cause: &onnx::Error| matches!(cause, onnx::Error::Unsupported(_));
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
