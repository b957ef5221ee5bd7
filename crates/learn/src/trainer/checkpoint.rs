//! Checkpoints in a folder: the last few, and the best.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kiln_files::FolderLock;
use kiln_nn::Data;

use super::callback::{Callback, Moment, Request};
use super::monitor::Monitor;
use crate::{Error, Result};

/// Saves the training every so many epochs or steps, and at its end: `last.state` always, `step-N.state` as many as are
/// to be kept, `best.state` of the best epoch.
///
/// A training has the folder for itself: a second one, in this process or another, is refused.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: Every,
    keep: usize,
    kept: Vec<u64>,
    /// The step of `last.state`, once this session has written one.
    saved: Option<u64>,
    best: Option<Monitor>,
    hold: Option<FolderLock>,
}

#[derive(Clone, Copy, Debug)]
enum Every {
    Epochs(u64),
    Steps(u64),
}

impl Checkpoints {
    /// After each epoch, in a folder that is made if needed.
    pub fn new(folder: impl Into<PathBuf>) -> Checkpoints {
        Checkpoints {
            folder: folder.into(),
            every: Every::Epochs(1),
            keep: 0,
            kept: Vec::new(),
            saved: None,
            best: None,
            hold: None,
        }
    }

    /// After every so many epochs.
    pub fn every_epochs(self, epochs: u64) -> Checkpoints {
        Checkpoints { every: Every::Epochs(epochs.max(1)), ..self }
    }

    /// After every so many steps.
    pub fn every_steps(self, steps: u64) -> Checkpoints {
        Checkpoints { every: Every::Steps(steps.max(1)), ..self }
    }

    /// Keeps so many of them besides `last.state`, each with the number of its step; none unless told otherwise.
    pub fn keep(self, count: usize) -> Checkpoints {
        Checkpoints { keep: count, ..self }
    }

    /// Keeps that of the best epoch too, by a number such as `val_loss` or `val_accuracy`.
    pub fn best(self, number: &str) -> Checkpoints {
        Checkpoints { best: Some(Monitor::new(number)), ..self }
    }

    /// The checkpoint to go on from.
    pub fn last(folder: impl AsRef<Path>) -> PathBuf {
        folder.as_ref().join("last.state")
    }

    pub(super) fn last_path(&self) -> PathBuf {
        Checkpoints::last(&self.folder)
    }

    /// A folder that is gone isn't made again: what it held is lost, and whoever trains must know.
    fn check(&self) -> Result<()> {
        match self.hold.as_ref().is_none_or(FolderLock::is_there) {
            true => Ok(()),
            false => {
                let gone = std::io::Error::new(ErrorKind::NotFound, "the folder is gone");
                Err(Error::file(&self.folder)(gone))
            }
        }
    }

    fn save(&mut self, at: &mut Moment) {
        self.saved = Some(at.step);
        let numbered = |step: u64| self.folder.join(format!("step-{step}.state"));
        if self.keep > 0 && self.kept.last() != Some(&at.step) {
            at.requests.push(Request::SaveThere(numbered(at.step)));
            self.kept.push(at.step);
            while self.kept.len() > self.keep {
                at.remove(numbered(self.kept.remove(0)));
            }
        }
        at.requests.push(Request::SaveThere(self.last_path()));
    }
}

impl Callback for Checkpoints {
    fn before(&mut self, _at: &mut Moment) -> Result<()> {
        // A folder that can't be written to is found out now, not after the first epoch.
        std::fs::create_dir_all(&self.folder).map_err(Error::file(&self.folder))?;
        let hold = FolderLock::of(&self.folder).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::format(
                &self.folder,
                "another training writes its checkpoints to this folder; give each its own",
            ),
            _ => Error::file(&self.folder)(error),
        });
        self.hold = Some(hold?);
        kiln_files::remove_unfinished(&self.folder).map_err(Error::file(&self.folder))?;
        let trial = self.folder.join(".trial");
        kiln_files::write_there(&trial, []).map_err(Error::file(&self.folder))?;
        std::fs::remove_file(&trial).map_err(Error::file(&trial))
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if let Every::Steps(steps) = self.every
            && at.step.is_multiple_of(steps)
        {
            self.check()?;
            self.save(at);
        }
        Ok(())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        self.check()?;
        if let Some(monitor) = &mut self.best
            && monitor.observe(at)?
        {
            at.requests.push(Request::SaveThere(self.folder.join("best.state")));
        }
        if let Every::Epochs(epochs) = self.every
            && (at.epoch.is_multiple_of(epochs) || at.is_last())
        {
            self.save(at);
        }
        Ok(())
    }

    fn after(&mut self, at: &mut Moment) -> Result<()> {
        // What stopped early is saved where it stopped; what failed stays as it was saved before.
        if !at.failed && self.saved != Some(at.step) {
            self.check()?;
            self.save(at);
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "checkpoints"
    }

    fn state(&self) -> Vec<(String, Data)> {
        let kept = self.kept.iter().map(|&step| step as i64).collect();
        let best = self.best.as_ref().map_or(f64::NAN, Monitor::best);
        vec![("best".to_string(), Data::F64(vec![best])), ("kept".to_string(), Data::I64(kept))]
    }

    fn restore(&mut self, state: &[(&str, &Data)]) -> Result<()> {
        for (name, data) in state {
            match (*name, &mut self.best) {
                ("best", Some(monitor)) => {
                    monitor.restore(data.get(0).map_or(f64::NAN, |best| best.as_f64()));
                }
                ("kept", _) => {
                    let steps = data.as_slice::<i64>().unwrap_or_default();
                    self.kept = steps.iter().map(|&step| step as u64).collect();
                }
                _ => {}
            }
        }
        Ok(())
    }
}
