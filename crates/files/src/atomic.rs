//! A file that is written beside its place and takes it when it is whole.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells the files apart that one process has under way.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The end of the name of what isn't whole.
const PART: &str = ".part";

/// The most bytes of a file's own name that the name beside it repeats; names have at most 255.
const LONGEST: usize = 200;

/// A file under way. [`AtomicFile::commit`] gives it its place; where that never happens, what was there stays as it is.
///
/// What is no file (a device, a pipe) is written as it is.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    /// Where it lies until it is whole; none where it is written in its place.
    beside: Option<PathBuf>,
    place: PathBuf,
    /// The rights it has when it is whole; none leaves it private.
    rights: Option<Permissions>,
}

impl AtomicFile {
    /// A file for this place, in a folder that is there. Complete, it has the rights of the file it replaces, or those of any new file.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(place: &Path) -> Result<AtomicFile> {
        AtomicFile::new(place, false)
    }

    /// The same, for its user alone also when it is whole.
    ///
    /// # Errors
    /// What the system says.
    pub fn private(place: &Path) -> Result<AtomicFile> {
        AtomicFile::new(place, true)
    }

    fn new(place: &Path, private: bool) -> Result<AtomicFile> {
        // A link stays one; what it points to is replaced. What is private may lie where anybody puts links, and replaces them.
        let is_link = !private && fs::symlink_metadata(place).is_ok_and(|about| about.is_symlink());
        let place = if is_link { fs::canonicalize(place)? } else { place.to_path_buf() };
        let there = if private { None } else { fs::metadata(&place).ok() };
        if there.as_ref().is_some_and(|about| !about.is_file()) {
            let file = OpenOptions::new().write(true).open(&place)?;
            return Ok(AtomicFile { file, beside: None, place, rights: None });
        }
        let name = place.file_name().ok_or_else(|| Error::from(ErrorKind::IsADirectory))?;
        let (file, beside) = loop {
            let beside = place.with_file_name(beside(name));
            match OpenOptions::new().write(true).create_new(true).open(&beside) {
                Ok(file) => break (file, beside),
                // Of a process that had the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        // From here on it is removed wherever it fails.
        let mut file = AtomicFile { file, beside: Some(beside), place, rights: None };
        let usual = file.file.metadata()?.permissions();
        restrict(&file.file)?;
        if !private {
            file.rights = Some(there.map_or(usual, |about| about.permissions()));
        }
        Ok(file)
    }

    /// Where its bytes are until then, for who wants to read them before it takes its place.
    pub fn path(&self) -> &Path {
        self.beside.as_deref().unwrap_or(&self.place)
    }

    /// Syncs it to the disk and moves it to its place.
    ///
    /// # Errors
    /// What the system says. Nothing is left beside the place then.
    pub fn commit(mut self) -> Result<()> {
        let Some(beside) = &self.beside else { return self.file.flush() };
        if let Some(rights) = self.rights.take() {
            self.file.set_permissions(rights)?;
        }
        self.file.sync_all()?;
        fs::rename(beside, &self.place)?;
        self.beside = None;
        sync_folder(folder_of(&self.place))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // What was begun is no use to anybody; that it can't be removed says nothing new.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Writes a file: beside its place first, synced to the disk, and then moved there. Its folder is made if needed.
///
/// # Errors
/// What the system says. There is the old file then, or none.
pub fn write(place: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let place = place.as_ref();
    if !folder_of(place).exists() {
        fs::create_dir_all(folder_of(place))?;
    }
    write_there(place, bytes)
}

/// As [`write()`], in a folder that is there: one that is gone isn't made again.
///
/// # Errors
/// What the system says.
pub fn write_there(place: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut file = AtomicFile::create(place.as_ref())?;
    file.write_all(bytes.as_ref())?;
    file.commit()
}

/// Removes what processes that died left under way in a folder, and says how many files that were. To be called by whoever has
/// the folder for itself.
///
/// # Errors
/// What the system says.
pub fn remove_unfinished(folder: impl AsRef<Path>) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_unfinished(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The name of what becomes a file of this name: `.model.kiln.4711.0.part`.
fn beside(name: &OsStr) -> String {
    let mut name = name.to_string_lossy().into_owned();
    while name.len() > LONGEST {
        name.pop();
    }
    format!(".{name}.{}.{}{PART}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether [`beside`] made a name.
fn is_unfinished(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let Some(rest) = name.strip_prefix('.').and_then(|name| name.strip_suffix(PART)) else { return false };
    let mut parts = rest.rsplit('.');
    let mut is_number = || parts.next().is_some_and(|part| part.parse::<u64>().is_ok());
    is_number() && is_number()
}

fn folder_of(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The new name is in the folder, which is synced too where the system lets us.
fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Err(error),
        // An error of the disk has no kind of its own: EIO.
        Err(error) if cfg!(unix) && error.raw_os_error() == Some(5) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn restrict(file: &File) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &File) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_testkit::Folder;

    fn names(folder: &Folder) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn there_is_the_old_file_until_the_new_one_is_whole() {
        let folder = Folder::new("old");
        let place = folder.at("x");
        write(&place, "old").unwrap();
        let mut file = AtomicFile::create(&place).unwrap();
        file.write_all(b"ne").unwrap();
        assert_eq!((folder.read("x"), names(&folder).len()), (b"old".to_vec(), 2));
        drop(file);
        assert_eq!(
            (folder.read("x"), names(&folder).len()),
            (b"old".to_vec(), 1),
            "what was given up is gone"
        );
        write(&place, "new").unwrap();
        assert_eq!((folder.read("x"), names(&folder).len()), (b"new".to_vec(), 1));
        assert_eq!(write_there(folder.at("sub/y"), "").unwrap_err().kind(), ErrorKind::NotFound);
        write(folder.at("sub/folder/y"), "made").unwrap();
        assert_eq!(folder.read("sub/folder/y"), b"made");
        write(folder.at(&"long".repeat(60)), "a name near the limit").unwrap();
    }

    #[test]
    fn only_what_was_left_under_way_is_removed() {
        let folder = Folder::new("left");
        for name in
            [".x.kiln.4711.0.part", ".a.b.12.3.part", "x.part", ".x.part", ".x.1.y.part", "x.1.2.part", "x"]
        {
            folder.write(name, "");
        }
        folder.write(".folder.1.2.part/file", "");
        assert_eq!(remove_unfinished(&folder).unwrap(), 2);
        assert_eq!(
            names(&folder),
            [".folder.1.2.part", ".x.1.y.part", ".x.part", "x", "x.1.2.part", "x.part"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn rights_are_those_of_the_old_file_and_private_until_then() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("rights");
        let mode = |name: &str| fs::metadata(folder.at(name)).unwrap().permissions().mode() & 0o777;
        fs::write(folder.at("usual"), "").unwrap();
        let _under_way = AtomicFile::create(&folder.at("x")).unwrap();
        let part = names(&folder).into_iter().find(|name| name.ends_with(PART)).unwrap();
        assert_eq!(mode(&part), 0o600);
        write(folder.at("x"), "new").unwrap();
        assert_eq!(mode("x"), mode("usual"));
        fs::set_permissions(folder.at("x"), Permissions::from_mode(0o640)).unwrap();
        write(folder.at("x"), "newer").unwrap();
        assert_eq!(mode("x"), 0o640);
        AtomicFile::private(&folder.at("own")).unwrap().commit().unwrap();
        assert_eq!(mode("own"), 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_devices_are_written_as_they_are() {
        let folder = Folder::new("links");
        folder.write("there/x", "old");
        std::os::unix::fs::symlink(folder.at("there/x"), folder.at("link")).unwrap();
        write(folder.at("link"), "new").unwrap();
        assert_eq!(folder.read("there/x"), b"new");
        assert!(fs::symlink_metadata(folder.at("link")).unwrap().is_symlink());
        AtomicFile::private(&folder.at("link")).unwrap().commit().unwrap();
        assert!(!fs::symlink_metadata(folder.at("link")).unwrap().is_symlink());
        assert_eq!(folder.read("there/x"), b"new");
        write("/dev/null", "nothing").unwrap();
        assert!(write(&folder, "a folder").is_err());
        if Path::new("/dev/full").exists() {
            assert_eq!(write("/dev/full", "x").unwrap_err().kind(), ErrorKind::StorageFull);
        }
    }
}
