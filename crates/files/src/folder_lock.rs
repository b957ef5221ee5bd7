//! A folder that one process has for itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// While it lives, no other process gets the same folder. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
    path: PathBuf,
}

/// The file that is locked. It stays when the lock is gone: removing it would let two processes lock two files of one name.
const NAME: &str = ".lock";

impl FolderLock {
    /// Of a folder that is there. Where the file system knows no locks, everybody gets it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where another process has it, or what the system says.
    pub fn of(folder: impl AsRef<Path>) -> Result<FolderLock> {
        let path = folder.as_ref().join(NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { file, path }),
            Err(TryLockError::WouldBlock) => Err(Error::from(ErrorKind::WouldBlock)),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(FolderLock { file, path })
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the folder is still there under its name, and is the same one.
    pub fn is_there(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(own)) => same(&named, &own),
            _ => false,
        }
    }
}

#[cfg(unix)]
fn same(a: &std::fs::Metadata, b: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same(_: &std::fs::Metadata, _: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_testkit::Folder;

    #[test]
    fn a_folder_is_held_by_one_and_free_again_after_it() {
        let folder = Folder::new("hold");
        let held = FolderLock::of(&folder).unwrap();
        assert_eq!(FolderLock::of(&folder).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(held);
        FolderLock::of(&folder).unwrap();
        assert_eq!(FolderLock::of(folder.at("nowhere")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_gone_moved_or_another_is_noticed() {
        let folder = Folder::new("gone");
        let (run, moved) = (folder.at("run"), folder.at("moved"));
        std::fs::create_dir(&run).unwrap();
        let held = FolderLock::of(&run).unwrap();
        assert!(held.is_there());
        std::fs::rename(&run, &moved).unwrap();
        assert!(!held.is_there());
        std::fs::create_dir(&run).unwrap();
        let _other = FolderLock::of(&run).unwrap();
        assert!(!held.is_there(), "another folder of the same name");
    }
}
