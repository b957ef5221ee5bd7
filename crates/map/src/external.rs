//! The files that belong to another one, which names them: they lie in its folder or below it, and nowhere else.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::escape::shown;
use crate::memory_map::MemoryMap;

/// Where the files lie that belong to a file.
#[derive(Clone, Debug, Default)]
pub struct ExternalFiles {
    /// The real folders: that of the file, and that of what it is a link to.
    folders: Vec<PathBuf>,
}

/// Why a file that another one names isn't opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExternalFileError {
    #[error("{0} isn't named as a file in the folder of the file that names it or below that")]
    Name(String),
    #[error("{name} leads to {}, outside of the folder of the file that names it; put the file itself there", shown(&place.to_string_lossy()))]
    Place { name: String, place: PathBuf },
    #[error("{0} is no regular file")]
    Kind(String),
    #[error("{name}: {source}; the files go together")]
    System { name: String, source: io::Error },
}

impl ExternalFiles {
    /// Beside a file.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn file(path: &Path) -> io::Result<ExternalFiles> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut folders = vec![folder.canonicalize()?];
        let target = path.canonicalize()?.parent().map(Path::to_path_buf);
        folders.extend(target.filter(|target| *target != folders[0]));
        Ok(ExternalFiles { folders })
    }

    /// Beside what is no file, where there are none.
    pub fn nothing() -> ExternalFiles {
        ExternalFiles::default()
    }

    /// Maps a file of a name as it stands in the file, with `/` between folders.
    ///
    /// # Errors
    /// Where the name or a link leads out of the folder, or to what is no regular file.
    pub fn open(&self, name: &str) -> Result<MemoryMap, ExternalFileError> {
        let system = |source| ExternalFileError::System { name: shown(name), source };
        let path = Path::new(name);
        let mut parts = path.components();
        let is_below = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || name.contains(['\0', '\\']) || !is_below {
            return Err(ExternalFileError::Name(shown(name)));
        }
        let mut missing = None;
        for folder in &self.folders {
            let place = match folder.join(path).canonicalize() {
                Ok(place) => place,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing = Some(error);
                    continue;
                }
                Err(error) => return Err(system(error)),
            };
            if !self.folders.iter().any(|folder| place.starts_with(folder)) {
                return Err(ExternalFileError::Place { name: shown(name), place });
            }
            // To open a pipe is to wait for whoever writes into it.
            if !place.metadata().map_err(system)?.is_file() {
                return Err(ExternalFileError::Kind(shown(name)));
            }
            return File::open(&place).and_then(|file| MemoryMap::of(&file)).map_err(system);
        }
        Err(system(missing.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use kiln_testkit::Folder;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_below_the_folder_are_opened() {
        let folder = Folder::new("beside");
        let model = folder.write("models/own/model", b"");
        folder.write("models/own/deep/weights", b"below");
        folder.write("models/other", b"outside");
        let at = |name: &str| folder.at(&format!("models/own/{name}"));
        symlink("deep/weights", at("inside")).unwrap();
        symlink("../other", at("escape")).unwrap();
        symlink("..", at("up")).unwrap();
        symlink("/etc/passwd", at("system")).unwrap();
        symlink("turn", at("turn")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let beside = ExternalFiles::file(&model).unwrap();
        for good in ["deep/weights", "./deep/weights", "inside"] {
            assert_eq!(&*beside.open(good).unwrap(), b"below", "{good}");
        }
        let refused = |name: &str| beside.open(name).unwrap_err();
        for name in ["", "..", "../other", "/etc/passwd", "deep/../../other", "a\0", "deep\\weights"] {
            assert!(matches!(refused(name), ExternalFileError::Name(_)), "{name}");
        }
        for name in ["escape", "up/other", "system"] {
            assert!(matches!(refused(name), ExternalFileError::Place { .. }), "{name}");
        }
        for name in ["pipe", "deep", "."] {
            assert!(matches!(refused(name), ExternalFileError::Kind(_)), "{name}");
        }
        for name in ["none", "turn"] {
            assert!(matches!(refused(name), ExternalFileError::System { .. }), "{name}");
        }
        assert!(ExternalFiles::nothing().open("weights").is_err());
    }

    /// As the caches of hubs keep models: a folder of links into a folder of files.
    #[test]
    fn what_the_file_is_a_link_to_has_its_files_beside_it_too() {
        let folder = Folder::new("links");
        folder.write("blobs/1", b"model");
        folder.write("blobs/2", b"weights");
        folder.write("blobs/weights.bin", b"found there");
        folder.write("snapshot/none", b"");
        for (link, to) in [("model", "1"), ("weights", "2")] {
            symlink(format!("../blobs/{to}"), folder.at(&format!("snapshot/{link}"))).unwrap();
        }
        let beside = ExternalFiles::file(&folder.at("snapshot/model")).unwrap();
        assert_eq!(&*beside.open("weights").unwrap(), b"weights");
        assert_eq!(&*beside.open("weights.bin").unwrap(), b"found there");
        assert!(ExternalFiles::file(&folder.at("snapshot/none")).unwrap().open("weights").is_err());
    }
}
