//! Callbacks that write the numbers of each epoch to a file. A line is written when its epoch is over; going on from a checkpoint
//! first takes out the lines of epochs that will come again.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::callback::{Callback, Moment};
use crate::store::write_atomically;
use crate::{Error, Result};

/// A table with a line for each epoch: `epoch,step,seconds,loss,…`.
#[derive(Debug)]
pub struct CsvLog(LogFile);

/// A JSON object a line for each epoch: `{"epoch":1,"step":469,"seconds":0.2,"loss":…}`, and texts that callbacks added to it.
#[derive(Debug)]
pub struct JsonlLog(LogFile);

impl CsvLog {
    /// Writes to this file.
    pub fn new(path: impl Into<PathBuf>) -> CsvLog {
        CsvLog(LogFile { path: path.into(), file: None })
    }
}

impl JsonlLog {
    /// Writes to this file.
    pub fn new(path: impl Into<PathBuf>) -> JsonlLog {
        JsonlLog(LogFile { path: path.into(), file: None })
    }
}

/// A file that lines are added to.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Option<File>,
}

impl LogFile {
    /// Opens the file with those of its lines that come before the present epoch; `epoch_of` reads a line's.
    fn open(&mut self, before: u64, epoch_of: impl Fn(&str) -> Option<u64>) -> Result<()> {
        if before == 0 {
            return write_atomically(&self.path, b"").and_then(|()| self.reopen());
        }
        let old = fs::read_to_string(&self.path).unwrap_or_default();
        let stays = |line: &&str| epoch_of(line).is_none_or(|epoch| epoch <= before);
        // What comes after the last end of a line was being written when the training was ended.
        let whole = old.rfind('\n').map_or("", |end| &old[..=end]);
        let kept: String = whole.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
        write_atomically(&self.path, kept.as_bytes())?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<()> {
        self.file = Some(OpenOptions::new().append(true).open(&self.path).map_err(Error::file(&self.path))?);
        Ok(())
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(format!("{line}\n").as_bytes()).map_err(Error::file(&self.path))
    }

    fn is_empty(&self) -> bool {
        is_empty(&self.path)
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |about| about.len() == 0)
}

impl Callback for CsvLog {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        self.0.open(at.epoch - 1, |line| line.split(',').next()?.parse().ok())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        if self.0.is_empty() {
            let names: Vec<&str> = at.numbers.iter().map(|(name, _)| name.as_str()).collect();
            self.0.add(&format!("epoch,step,seconds,{}", names.join(",")))?;
        }
        let numbers: Vec<String> = at.numbers.iter().map(|(_, number)| number.to_string()).collect();
        let seconds = at.elapsed.as_secs_f64();
        self.0.add(&format!("{},{},{seconds:.3},{}", at.epoch, at.step, numbers.join(",")))
    }
}

impl Callback for JsonlLog {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        self.0.open(at.epoch - 1, |line| serde_json::from_str::<Value>(line).ok()?.get("epoch")?.as_u64())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        let own = [("epoch", at.epoch.into()), ("step", at.step.into())];
        let mut line: Map<String, Value> =
            own.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        let seconds = (at.elapsed.as_secs_f64() * 1e3).round() / 1e3;
        line.insert("seconds".to_string(), seconds.into());
        // What isn't finite is null: JSON has no word for it.
        line.extend(at.numbers.iter().map(|(name, number)| (name.clone(), (*number).into())));
        line.extend(at.texts().iter().map(|(name, text)| (name.clone(), text.as_str().into())));
        self.0.add(&Value::Object(line).to_string())
    }
}
