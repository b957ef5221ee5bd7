//! What a model of a hub's folder says of pictures.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use kiln_learn::hub::VisionModel;

use super::lines::{best, object};
use super::texts::task;
use crate::{out, rows};

/// How many pictures are held at once.
const AT_ONCE: usize = 32;

/// Prints the likeliest classes of pictures, or an object for each. One that can't be read is named, and the others go on.
pub(super) fn predict(model: &VisionModel, inputs: &[PathBuf], top: usize, json: bool) -> Result<ExitCode> {
    if inputs.is_empty() {
        bail!("name pictures, folders or archives of them, or - for the standard input");
    }
    let (mut notes, mut failed, mut row) = (Vec::new(), 0, 0);
    let all = rows::pictures(inputs, &mut notes)?;
    notes.iter().for_each(out::note);
    let mut out = out::RowWriter::new();
    for some in all.chunks(AT_ONCE) {
        let (mut files, mut pictures) = (Vec::new(), Vec::new());
        for file in some {
            match file.picture() {
                Ok(picture) => {
                    files.push(file.path());
                    pictures.push(picture);
                }
                Err(error) => {
                    out::note(format_args!("error: {error}"));
                    failed += 1;
                }
            }
        }
        for (file, said) in files.iter().zip(&model.predict(&pictures)?) {
            match json {
                true => writeln!(out, "{}", object(Some(file), said, &task(said), row))?,
                false => writeln!(out, "{}  {}", file.display(), best(said, &task(said), top))?,
            }
            row += 1;
        }
    }
    out.flush()?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
