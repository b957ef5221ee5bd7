//! The folder in which a selection keeps its fits as they end, so that none is done again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use kiln_data::{Dataset, fingerprint};
use kiln_nn::Sequential;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{About, Model, Task};
use crate::trainer::Decided;
use crate::{Error, Result};

/// A fit that is over: whose it was, and what a clock decided in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitRecord {
    /// The candidate.
    pub candidate: String,
    /// The fold, from 0; nothing where all rows were seen.
    pub fold: Option<usize>,
    /// How long it took.
    pub seconds: f64,
    /// Why there is no model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What a clock decided in it.
    #[serde(default)]
    pub decided: Vec<Decided>,
    /// What else makes the same model again, as the candidate says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
}

/// The list of the fits.
const LIST: &str = "journal.jsonl";

/// The fits of a folder.
pub(super) struct FitJournal {
    folder: PathBuf,
    pub(super) records: Vec<FitRecord>,
}

impl FitJournal {
    /// That of a folder, which is made. One of another selection is an error.
    pub(super) fn open(folder: &Path, rows: &dyn Dataset, about: &Value) -> Result<FitJournal> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        kiln_files::remove_unfinished(folder).map_err(Error::file(folder))?;
        let path = folder.join(LIST);
        let is_of = json!({ "rows": format!("{:016x}", fingerprint(rows)?), "selection": about });
        let mut journal = FitJournal { folder: folder.to_path_buf(), records: Vec::new() };
        if !path.exists() {
            journal.add(&is_of)?;
            return Ok(journal);
        }
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        // A line without an end was being written when the selection was ended.
        if let Some(cut) = lines.pop_if(|line| !line.ends_with('\n')) {
            let whole = text.len() - cut.len();
            crate::store::write_atomically(&path, &text.as_bytes()[..whole])?;
        }
        let mut lines = lines.into_iter().enumerate();
        match lines.next().and_then(|(_, line)| serde_json::from_str::<Value>(line).ok()) {
            None => journal.add(&is_of)?,
            Some(known) if known == is_of => {}
            Some(_) => {
                let message = "these fits are of other rows, folds or candidates; choose another folder";
                return Err(Error::format(&path, message));
            }
        }
        for (number, line) in lines {
            let record: FitRecord = serde_json::from_str(line).map_err(|error| {
                Error::format(&path, format!("line {} can't be read: {error}; remove it", number + 1))
            })?;
            // The last word counts.
            journal
                .records
                .retain(|known| (&known.candidate, known.fold) != (&record.candidate, record.fold));
            journal.records.push(record);
        }
        Ok(journal)
    }

    fn add(&self, line: &impl Serialize) -> Result<()> {
        let path = self.folder.join(LIST);
        let write = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?;
            file.sync_data()
        };
        write().map_err(Error::file(&path))
    }

    fn file(&self, candidate: &str, fold: Option<usize>) -> PathBuf {
        let part = fold.map_or("all".to_string(), |fold| (fold + 1).to_string());
        self.folder.join(format!("{candidate}-{part}.kiln"))
    }

    /// Keeps a fit and its model.
    pub(super) fn keep(
        &mut self,
        record: &FitRecord,
        layers: Option<&Sequential>,
        about: &About,
    ) -> Result<()> {
        if let Some(layers) = layers {
            let about = About { layers: layers.to_text()?, ..about.clone() };
            about.save(layers, &self.file(&record.candidate, record.fold))?;
        }
        self.add(record)?;
        self.records.push(record.clone());
        Ok(())
    }

    /// The model of a fit; nothing where its file isn't there any more, or is damaged.
    pub(super) fn model(&self, candidate: &str, fold: Option<usize>) -> Option<Sequential> {
        Model::load(self.file(candidate, fold)).ok().map(Model::into_layers)
    }
}

/// What a fit's file says of it.
pub(super) fn about(rows: &dyn Dataset, task: &Task) -> About {
    About {
        layers: String::new(),
        input: crate::row::InputSpec::of(&rows.x()),
        task: task.clone(),
        preparation: crate::Preparation::Unsaid,
        training: serde_json::Map::new(),
        threshold: None,
        background: None,
        kept_rows: None,
        sets: Vec::new(),
        profile: None,
    }
}
