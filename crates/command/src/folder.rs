//! The folder of a run: one process has it, its files are written whole, and it is noticed when it is gone.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kiln_files::FolderLock;
use kiln_learn::trainer::{Callback, Moment};

/// What the run's settings are called.
pub const CONFIG: &str = "config.toml";

/// Where files lie that a run needs only while it goes on: beside its folder, where there is room for what it makes. The system's own place
/// is memory in many systems.
pub fn scratch(out: Option<&Path>) -> PathBuf {
    let beside = out.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
    let place = match (out, beside) {
        (_, Some(parent)) => parent.to_path_buf(),
        (Some(_), None) => PathBuf::from("."),
        (None, None) => PathBuf::from("runs"),
    };
    match std::fs::create_dir_all(&place) {
        Ok(()) => place,
        Err(_) => std::env::temp_dir(),
    }
}

/// A run's folder, for this process alone.
pub struct Folder {
    path: PathBuf,
    hold: FolderLock,
}

impl Folder {
    /// One for a new run: this one, which must hold none yet, or the first free name in `runs/`.
    pub fn new(asked: Option<&Path>, name: &str) -> Result<Folder> {
        let Some(path) = asked else {
            let runs = Path::new("runs");
            made(std::fs::create_dir_all(runs), runs)?;
            for number in 1u64.. {
                let path = runs.join(format!("{name}-{number}"));
                match std::fs::create_dir(&path) {
                    Ok(()) => return Folder::held(path),
                    // Somebody else's, perhaps since a moment ago.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => made(Err(error), &path)?,
                }
            }
            bail!("every name is taken");
        };
        made(std::fs::create_dir_all(path), path)?;
        let folder = Folder::held(path.to_path_buf())?;
        if folder.at(CONFIG).exists() {
            bail!(
                "{}: there is a run in this folder; go on with it by --resume, or choose another --out",
                path.display()
            );
        }
        Ok(folder)
    }

    /// That of a run to go on with. What it left half written when it ended is removed.
    pub fn open(path: &Path) -> Result<Folder> {
        let folder = Folder::held(path.to_path_buf())?;
        for part in [path.to_path_buf(), folder.at("plots")] {
            if part.is_dir() {
                kiln_files::remove_unfinished(&part).with_context(|| part.display().to_string())?;
            }
        }
        Ok(folder)
    }

    fn held(path: PathBuf) -> Result<Folder> {
        match FolderLock::of(&path) {
            Ok(hold) => Ok(Folder { path, hold }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!(
                    "{}: another process trains in this folder; wait for it, or choose another --out",
                    path.display()
                )
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// How to go on with the run in it.
    pub fn resume_hint(&self) -> String {
        format!("kiln train --resume {}", self.path.display())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// An error where it is no longer there.
    pub fn check(&self) -> kiln_learn::Result<()> {
        match self.hold.is_there() {
            true => Ok(()),
            false => {
                let source = std::io::Error::new(ErrorKind::NotFound, "the run's folder is gone");
                Err(kiln_learn::Error::File { path: self.path.clone(), source })
            }
        }
    }

    /// Writes a file in it, whole or not at all.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> kiln_learn::Result<()> {
        self.check()?;
        let path = self.at(name);
        kiln_files::write_there(&path, bytes).map_err(|source| kiln_learn::Error::File { path, source })
    }

    /// Makes a folder in it, if there is none.
    pub fn make(&self, name: &str) -> kiln_learn::Result<PathBuf> {
        let path = self.at(name);
        match std::fs::create_dir(&path) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                Err(kiln_learn::Error::File { path, source })
            }
            _ => Ok(path),
        }
    }

    /// Folders for what can't be kept in this one any more: beside it, where the command was called, and the system's temporary one.
    /// None of them is there yet.
    pub fn elsewhere(&self) -> Vec<PathBuf> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = format!("{}-rescued", name.as_deref().unwrap_or("run"));
        let free = |folder: PathBuf| {
            let numbered = (2u64..).map(|number| folder.join(format!("{name}-{number}")));
            std::iter::once(folder.join(&name)).chain(numbered).find(|path| !path.exists())
        };
        let beside = self.path.parent().map(Path::to_path_buf);
        let places = [beside, Some(PathBuf::new()), Some(std::env::temp_dir())];
        places.into_iter().flatten().filter_map(free).collect()
    }
}

fn made(result: std::io::Result<()>, path: &Path) -> Result<()> {
    result.with_context(|| format!("{} can't be made", path.display()))
}

/// Ends a training whose folder is gone, and writes what repeats it as soon as it is known to begin.
pub struct Keep<'a> {
    folder: &'a Folder,
    /// Files to write before the first step.
    files: Vec<(&'static str, String)>,
}

impl<'a> Keep<'a> {
    /// With these files of the run.
    pub fn new(folder: &'a Folder, files: Vec<(&'static str, String)>) -> Keep<'a> {
        Keep { folder, files }
    }
}

impl Callback for Keep<'_> {
    fn before(&mut self, _: &mut Moment) -> kiln_learn::Result<()> {
        self.files.drain(..).try_for_each(|(name, text)| self.folder.write(name, text))
    }

    fn after_epoch(&mut self, _: &mut Moment) -> kiln_learn::Result<()> {
        self.folder.check()
    }
}
