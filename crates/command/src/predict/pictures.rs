//! What a model of a hub's folder says of pictures.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use kiln_learn::data::Picture;
use kiln_learn::hub::VisionModel;

use super::lines::{best, object};
use super::texts::task;
use crate::{out, rows};

/// How many pictures are held at once.
const AT_ONCE: usize = 32;

/// Prints the likeliest classes of pictures, or an object for each. One that can't be read is named, and the others go on.
pub(super) fn predict(model: &VisionModel, inputs: &[PathBuf], top: usize, json: bool) -> Result<ExitCode> {
    if inputs.is_empty() {
        bail!("name pictures, folders of them, or - for the standard input");
    }
    let (mut notes, mut failed, mut row) = (Vec::new(), 0, 0);
    let paths = rows::pictures(inputs, &mut notes)?;
    notes.iter().for_each(out::note);
    let mut out = out::RowWriter::new();
    for paths in paths.chunks(AT_ONCE) {
        let (mut files, mut pictures) = (Vec::new(), Vec::new());
        for path in paths {
            let read = match rows::is_standard_input(path) {
                true => Picture::read(&rows::standard_input()?)
                    .map_err(|error| error.in_file("the standard input")),
                false => Picture::open(path),
            };
            match read {
                Ok(picture) => {
                    files.push(path);
                    pictures.push(picture);
                }
                Err(error) => {
                    out::note(format_args!("error: {error}"));
                    failed += 1;
                }
            }
        }
        for (file, said) in files.into_iter().zip(&model.predict(&pictures)?) {
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
