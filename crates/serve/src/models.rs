//! The models that are served, by name and version. A file that changed is read while the old one answers, and takes its place in one
//! step; one that can't be read leaves the old one where it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kiln_learn::Result;

use crate::batch::BatchOptions;
use crate::describe::Description;
use crate::engine::{self, Engine};
use crate::metrics::ModelMetrics;
use crate::refusal::Refusal;
use crate::sources::{Fingerprint, FoundModel, MODEL, Source};

/// A version of a model that answers.
pub struct Served {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Answers.
    pub engine: Engine,
    /// What it takes and says.
    pub about: Description,
    /// What is counted of all versions.
    pub metrics: Arc<ModelMetrics>,
}

/// The versions of a model.
#[derive(Default)]
struct Versions {
    served: BTreeMap<u64, Arc<Served>>,
    metrics: Arc<ModelMetrics>,
}

/// What became of a file when it was looked at last.
struct SeenFile {
    found: FoundModel,
    fingerprint: Fingerprint,
    /// Why it isn't served, or why an older one is.
    trouble: Option<String>,
}

/// All models.
pub struct Models {
    sources: Vec<Source>,
    batching: BatchOptions,
    by_name: RwLock<BTreeMap<String, Versions>>,
    /// By whoever looks for changes, one at a time.
    seen: Mutex<Vec<SeenFile>>,
}

impl Models {
    /// Those of these sources, read and ready.
    ///
    /// # Errors
    /// Where a model that was named can't be read, two have one name, or there is none.
    pub fn open(sources: Vec<Source>, batching: BatchOptions) -> Result<Models> {
        let models = Models { sources, batching, by_name: RwLock::default(), seen: Mutex::default() };
        let refuse = |message: String| kiln_learn::Error::Preparation(message);
        let mut all: Vec<FoundModel> = Vec::new();
        for source in &models.sources {
            for found in source.found()?.models {
                if let Some(other) = all.iter().find(|other| other.has_place_of(&found)) {
                    return Err(refuse(format!(
                        "{} and {} are both called {}; name one of them: NAME=PATH",
                        other.path.display(),
                        found.path.display(),
                        found.name
                    )));
                }
                match models.take(&found) {
                    Ok(()) => {}
                    Err(error) if matches!(source, Source::One(_)) => return Err(error),
                    Err(_) => {}
                }
                all.push(found);
            }
        }
        let is_any = models.read().values().any(|versions| !versions.served.is_empty());
        match is_any {
            true => Ok(models),
            false => Err(refuse("there is no model to serve in what was named".to_string())),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Versions>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Versions>> {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model by its name, of a version or the latest; without a name the only one.
    ///
    /// # Errors
    /// Where there is none of that name, or there are several and none is named.
    pub fn get(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let models = self.read();
        let is_served = |versions: &Versions| !versions.served.is_empty();
        let listed = || {
            let served = models.iter().filter(|(_, versions)| is_served(versions));
            served.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (name, versions) = match name {
            Some(name) => {
                let versions = models.get(name).filter(|versions| is_served(versions));
                let missing = || match self.trouble(name) {
                    Some(trouble) => Refusal::missing(format!("model \"{name}\" isn't served: {trouble}")),
                    None => Refusal::missing(format!("there is no model \"{name}\"; there is: {}", listed())),
                };
                (name, versions.ok_or_else(missing)?)
            }
            None => {
                let mut some = models.iter().filter(|(_, versions)| is_served(versions));
                match (some.next(), some.next()) {
                    (Some((name, versions)), None) => (name.as_str(), versions),
                    (None, _) => return Err(Refusal::missing("no model is served any more")),
                    _ => {
                        return Err(Refusal::missing(format!(
                            "several models are served; say which: /models/NAME/predict of {}",
                            listed()
                        )));
                    }
                }
            }
        };
        let served = match version {
            None => versions.served.last_key_value().map(|(_, served)| served),
            Some(version) => version.parse().ok().and_then(|number: u64| versions.served.get(&number)),
        };
        served.cloned().ok_or_else(|| {
            let known = versions.served.values().map(|served| served.version.as_str()).collect::<Vec<_>>();
            Refusal::missing(format!(
                "model \"{name}\" has no version \"{}\"; there is: {}",
                version.unwrap_or_default(),
                known.join(", ")
            ))
        })
    }

    /// The latest version of each, and the versions there are.
    pub fn latest(&self) -> Vec<(Arc<Served>, Vec<String>)> {
        let models = self.read();
        let one = |versions: &Versions| {
            let (_, latest) = versions.served.last_key_value()?;
            let all = versions.served.values().map(|served| served.version.clone()).collect();
            Some((latest.clone(), all))
        };
        models.values().filter_map(one).collect()
    }

    /// What is counted of each.
    pub fn metrics(&self) -> Vec<(String, Arc<ModelMetrics>)> {
        self.read().iter().map(|(name, versions)| (name.clone(), versions.metrics.clone())).collect()
    }

    /// Files that couldn't be taken, and why.
    pub fn troubles(&self) -> Vec<(FoundModel, String)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter_map(|seen| Some((seen.found.clone(), seen.trouble.clone()?))).collect()
    }

    /// Why a model's file couldn't be taken.
    fn trouble(&self, name: &str) -> Option<String> {
        self.troubles().into_iter().find(|(found, _)| found.name == name).map(|(_, trouble)| trouble)
    }

    /// Reads a file and puts it in the place of the one before it.
    fn take(&self, found: &FoundModel) -> Result<()> {
        // What is read is at least as new as this.
        let fingerprint = Fingerprint::of(&found.path);
        let metrics = self.write().entry(found.name.clone()).or_default().metrics.clone();
        let taken = self.served(found, &metrics);
        metrics.loads[usize::from(taken.is_err())].fetch_add(1, Ordering::Relaxed);
        let trouble = taken.as_ref().err().map(ToString::to_string);
        match &taken {
            Ok(_) => tracing::info!(
                model = found.name,
                version = found.version,
                path = %found.path.display(),
                "the model is served"
            ),
            Err(error) => tracing::error!(
                model = found.name,
                version = found.version,
                path = %found.path.display(),
                error = %error,
                "the model's file can't be taken; what was served before stays"
            ),
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|seen| seen.found != *found);
        seen.push(SeenFile { found: found.clone(), fingerprint, trouble });
        drop(seen);
        let served = taken?;
        let mut models = self.write();
        let versions = models.entry(found.name.clone()).or_default();
        let before = versions.served.insert(found.number(), Arc::new(served));
        drop(models);
        // Its last asker ends it, or this does: outside of the lock, because its thread may be in the midst of a batch.
        drop(before);
        Ok(())
    }

    fn served(&self, found: &FoundModel, metrics: &Arc<ModelMetrics>) -> Result<Served> {
        let opened = engine::open(&found.path, self.batching, metrics)?;
        let about = Description::of(&opened, report_of(&found.path));
        let (name, version) = (found.name.clone(), found.version.clone());
        Ok(Served { name, version, engine: opened.engine, about, metrics: metrics.clone() })
    }

    /// Looks for files that changed, came or went, and takes them.
    pub fn refresh(&self) {
        let mut there: Vec<FoundModel> = Vec::new();
        let mut unread = Vec::new();
        for source in &self.sources {
            match (source.found(), source) {
                (Ok(found), _) => {
                    for model in found.models {
                        // Of two in one place the first is served.
                        if !there.iter().any(|other| other.has_place_of(&model)) {
                            there.push(model);
                        }
                    }
                    unread.extend(found.unread);
                }
                (Err(error), Source::Folder(folder)) => {
                    tracing::error!(error = %error, "a folder of models can't be read; what was served stays");
                    unread.push(folder.clone());
                }
                (Err(_), Source::One(_)) => {}
            }
        }
        for found in &there {
            let now = Fingerprint::of(&found.path);
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let known = seen.iter().find(|seen| seen.found == *found);
            let is_same = known.is_some_and(|seen| seen.fingerprint == now);
            drop(seen);
            // One that is gone for a moment is being replaced.
            if !is_same && !now.is_nothing() {
                let _ = self.take(found);
            }
        }
        self.retire(&there, &unread);
    }

    /// Lets go of what isn't in its folder any more. What another file took the place of has nothing to let go, and of folders that
    /// couldn't be read nobody knows.
    fn retire(&self, there: &[FoundModel], unread: &[PathBuf]) {
        let is_kept = |found: &FoundModel| {
            there.contains(found) || unread.iter().any(|folder| found.path.starts_with(folder))
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, gone): (Vec<_>, Vec<_>) = seen.drain(..).partition(|seen| is_kept(&seen.found));
        let taken: Vec<FoundModel> = kept.iter().map(|seen| seen.found.clone()).collect();
        *seen = kept;
        drop(seen);
        for SeenFile { found, .. } in gone {
            if taken.iter().any(|other| other.has_place_of(&found)) {
                continue;
            }
            let mut models = self.write();
            let Some(versions) = models.get_mut(&found.name) else { continue };
            let retired = versions.served.remove(&found.number());
            if versions.served.is_empty() {
                models.remove(&found.name);
            }
            drop(models);
            if retired.is_some() {
                tracing::info!(
                    model = found.name,
                    version = found.version,
                    "the model is gone from its folder"
                );
            }
        }
    }
}

/// Where the report of a run lies: beside its model, and beside no other file of a folder.
fn report_of(path: &Path) -> Option<PathBuf> {
    path.ends_with(MODEL).then(|| path.with_file_name("report.html"))
}
