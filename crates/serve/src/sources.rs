//! Which models there are: files, runs, folders of a hub's, and folders of any of them, with versions.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_learn::hub;

/// The file of a run's folder that is its model.
pub const MODEL: &str = "model.kiln";

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundModel {
    /// What it is called.
    pub name: String,
    /// Its version: a number as text.
    pub version: String,
    /// Its file or folder.
    pub path: PathBuf,
}

impl FoundModel {
    /// Whether both would be served in the same place: "1" and "01" are one version.
    pub fn has_place_of(&self, other: &FoundModel) -> bool {
        self.name == other.name && self.number() == other.number()
    }

    /// The version as a number, by which versions are ordered.
    pub fn number(&self) -> u64 {
        self.version.parse().unwrap_or(0)
    }
}

/// What a look into a folder found.
#[derive(Clone, Debug, Default)]
pub struct FoundModels {
    /// Models.
    pub models: Vec<FoundModel>,
    /// Folders in it that couldn't be read: nobody knows what is in them.
    pub unread: Vec<PathBuf>,
}

/// Where models are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One, of a name.
    One(FoundModel),
    /// All in a folder, looked for again and again.
    Folder(PathBuf),
}

impl Source {
    /// What a person named: a model, a folder of models, or either as NAME=PATH.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn named(text: &str) -> Result<Source, String> {
        let told = text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains(['/', '\\']));
        let (name, path) = match told {
            Some((name, path)) if !Path::new(text).exists() => (Some(name), Path::new(path)),
            _ => (None, Path::new(text)),
        };
        if !path.exists() {
            return Err(format!("{}: there is no such file or folder", path.display()));
        }
        let one = |path: PathBuf| {
            let name = name.map_or_else(|| name_of(&path), str::to_string);
            Source::One(FoundModel { name, version: "1".to_string(), path })
        };
        match model_at(path) {
            Some(path) => Ok(one(path)),
            None if path.is_file() => Ok(one(path.to_path_buf())),
            None if name.is_some() => {
                Err(format!("{}: a folder of models has names of its own", path.display()))
            }
            None => Ok(Source::Folder(path.to_path_buf())),
        }
    }

    /// The models that are there now.
    ///
    /// # Errors
    /// Where the folder itself can't be read.
    pub fn found(&self) -> std::io::Result<FoundModels> {
        match self {
            Source::One(found) => Ok(FoundModels { models: vec![found.clone()], unread: Vec::new() }),
            Source::Folder(folder) => in_folder(folder),
        }
    }
}

/// The model that a path is: a file of one, a hub's folder, or a run's folder.
fn model_at(path: &Path) -> Option<PathBuf> {
    if hub::is_model(path) || path.is_file() && has_ending(path) {
        return Some(path.to_path_buf());
    }
    let inside = path.join(MODEL);
    inside.is_file().then_some(inside)
}

fn has_ending(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().unwrap_or_default();
    !is_hidden && ["kiln", "gguf"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// What a model is called: its file's name, or its folder's where the file is a run's.
fn name_of(path: &Path) -> String {
    let is_of_run = path.file_name().is_some_and(|name| name == MODEL);
    let resolved = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let parent = resolved.parent().and_then(Path::file_name);
    let stem = if path.is_dir() { resolved.file_name() } else { resolved.file_stem() };
    let name = if is_of_run { parent } else { stem };
    name.or(stem).map_or_else(|| "model".to_string(), |name| name.to_string_lossy().into_owned())
}

/// `a.kiln`, `b/model.kiln`, `c/1.kiln`, `c/2/model.kiln`, and hubs' folders in the place of either.
fn in_folder(folder: &Path) -> std::io::Result<FoundModels> {
    let FoundModels { models: mut found, mut unread } = FoundModels::default();
    for path in entries(folder)? {
        if let Some(model) = model_at(&path) {
            found.push(FoundModel { name: name_of(&model), version: "1".to_string(), path: model });
        } else if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inside = match entries(&path) {
                Ok(inside) => inside,
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %error, "a folder can't be read");
                    unread.push(path);
                    continue;
                }
            };
            for inner in inside {
                let version = version_of(&inner);
                let (Some(version), Some(path)) = (version, model_at(&inner)) else { continue };
                found.push(FoundModel { name: name.clone(), version, path });
            }
        }
    }
    Ok(FoundModels { models: found, unread })
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    Ok(paths)
}

/// The number that a file or folder is named by.
fn version_of(path: &Path) -> Option<String> {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = name?.to_str()?;
    let is_number = !name.is_empty() && name.len() <= 18 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.to_string())
}

/// What tells a file from one that took its place: of a folder those of all files in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, u64, Option<SystemTime>, u64)>);

impl Fingerprint {
    /// Of a model's file or folder as it is now.
    pub fn of(path: &Path) -> Fingerprint {
        let files = if path.is_dir() { entries(path).unwrap_or_default() } else { vec![path.to_path_buf()] };
        let one = |path: PathBuf| {
            let about = std::fs::metadata(&path).ok()?;
            Some((path, about.len(), about.modified().ok(), inode(&about)))
        };
        Fingerprint(files.into_iter().filter_map(one).collect())
    }

    /// Whether nothing is there.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(unix)]
fn inode(about: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_testkit::Folder;

    #[test]
    fn models_and_versions_are_found_by_their_places() {
        let folder = Folder::new("places");
        for name in
            ["a.kiln", "runs-3/model.kiln", "c/1.kiln", "c/12/model.kiln", "c/notes.txt", "d.csv", ".x.kiln"]
        {
            folder.write(name, b"");
        }
        folder.write("lm/config.json", b"{}");
        folder.write("lm/model.safetensors", b"");
        let source = Source::named(folder.path().to_str().unwrap()).unwrap();
        let found = source.found().unwrap().models;
        let named: Vec<(&str, &str)> =
            found.iter().map(|found| (found.name.as_str(), found.version.as_str())).collect();
        assert_eq!(named, [("a", "1"), ("c", "1"), ("c", "12"), ("lm", "1"), ("runs-3", "1")]);

        let run = folder.at("runs-3");
        let Source::One(one) = Source::named(run.to_str().unwrap()).unwrap() else { panic!() };
        assert_eq!((one.name.as_str(), one.path.ends_with("model.kiln")), ("runs-3", true));
        let told = format!("heart={}", folder.at("a.kiln").display());
        let Source::One(one) = Source::named(&told).unwrap() else { panic!() };
        assert_eq!(one.name, "heart");
        assert!(Source::named("nowhere.kiln").is_err());
    }

    #[test]
    fn another_file_in_its_place_has_another_fingerprint() {
        let folder = Folder::new("fingerprint");
        let path = folder.write("a.kiln", b"one");
        let before = Fingerprint::of(&path);
        assert_eq!(before, Fingerprint::of(&path));
        folder.write("b.kiln", b"two");
        std::fs::rename(folder.at("b.kiln"), &path).unwrap();
        assert_ne!(before, Fingerprint::of(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(Fingerprint::of(&path).is_nothing());
    }
}
