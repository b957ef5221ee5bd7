//! Where pictures are: files of a folder and the folders in it, or entries of a zip archive, which are read where they lie.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_map::{ArchiveEntry, Budget, MemoryMap, is_zip, shown, zip_entries};

use super::picture::{LARGEST, PICTURES, Picture, contents};
use crate::archive::{WholeFile, entry_reader, is_beside};
use crate::error::{Error, Result};

/// A picture that wasn't read yet.
#[derive(Clone)]
pub struct PictureFile {
    path: PathBuf,
    place: PicturePlace,
}

#[derive(Clone)]
enum PicturePlace {
    Disk,
    Held(Arc<Vec<u8>>),
    Entry(WholeFile, Box<ArchiveEntry>),
}

impl fmt::Debug for PictureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl PictureFile {
    /// A file.
    pub fn on_disk(path: impl Into<PathBuf>) -> PictureFile {
        PictureFile { path: path.into(), place: PicturePlace::Disk }
    }

    /// The content of a file that goes by this name.
    pub fn held(name: impl Into<PathBuf>, bytes: Vec<u8>) -> PictureFile {
        PictureFile { path: name.into(), place: PicturePlace::Held(Arc::new(bytes)) }
    }

    /// What it is called; of an entry the archive is in front of its own name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// Where they can't be read, are more than any picture has, or aren't what an archive says of them.
    pub fn contents(&self) -> Result<Vec<u8>> {
        match &self.place {
            PicturePlace::Disk => contents(&self.path),
            PicturePlace::Held(bytes) => Ok(bytes.to_vec()),
            PicturePlace::Entry(whole, entry) => {
                self.entry(whole, entry).map_err(|error| error.in_file(&self.path))
            }
        }
    }

    fn entry(&self, whole: &WholeFile, entry: &ArchiveEntry) -> Result<Vec<u8>> {
        let place = entry.place.as_ref().map_err(|what| Error::new(what.clone()))?;
        let bytes = place.unpacked.unwrap_or(place.range.len()) as u64;
        if bytes > LARGEST {
            let most = LARGEST >> 20;
            return Err(Error::new(format!("{bytes} bytes are no picture; one has at most {most} MB")));
        }
        let read = Budget::default().read(entry_reader(whole, entry)?);
        read.map_err(|error| Error::new(error.to_string()))
    }

    /// The picture.
    ///
    /// # Errors
    /// As [`PictureFile::contents`], and where it is no picture or a damaged one.
    pub fn picture(&self) -> Result<Picture> {
        Picture::read(&self.contents()?).map_err(|error| error.in_file(&self.path))
    }

    /// Height, width and whether it has colours; the pixels aren't read.
    pub(super) fn size(&self) -> Result<(usize, usize, bool)> {
        Picture::size_in(&self.contents()?).map_err(|error| error.in_file(&self.path))
    }
}

/// What is in a folder and the folders in it, or in an archive.
#[derive(Clone, Debug, Default)]
pub struct PictureFiles {
    /// Files that are pictures by their names, in the order of names.
    pub pictures: Vec<PictureFile>,
    /// How many files are of another kind, by what their names end with.
    pub others: BTreeMap<String, usize>,
}

/// Folders lie in each other so deep at most: a link may lead back.
const DEEPEST: usize = 32;

impl PictureFiles {
    /// What a person should know of files that are no pictures.
    pub fn left_out(&self) -> Option<String> {
        other_files(&self.others)
    }

    /// Of a folder.
    ///
    /// # Errors
    /// Where a folder can't be read, or folders lie in each other without an end.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<PictureFiles> {
        let mut found = PictureFiles::default();
        found.add(folder.as_ref(), DEEPEST)?;
        Ok(found)
    }

    fn add(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if depth == 0 {
            let message =
                format!("folders lie in each other more than {DEEPEST} deep; does a link lead back?");
            return Err(Error::new(message).in_file(folder));
        }
        for path in sorted(folder)? {
            if path.is_dir() {
                self.add(&path, depth - 1)?;
            } else if is_picture(&path) {
                self.pictures.push(PictureFile::on_disk(path));
            } else {
                self.leave_out(&path);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &Path) {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let kind = extension.map_or("no extension".to_string(), |extension| format!(".{extension}"));
        *self.others.entry(kind).or_default() += 1;
    }
}

/// Pictures of classes: a folder for each.
pub(super) struct ClassedFiles {
    pub classes: Vec<String>,
    /// Each with its class.
    pub files: Vec<(PictureFile, usize)>,
    pub others: BTreeMap<String, usize>,
}

impl ClassedFiles {
    /// Of a folder with a folder for each class, or an archive of one.
    pub fn of(root: &Path) -> Result<ClassedFiles> {
        if !root.is_dir()
            && let Some(archive) = PictureArchive::open(root)?
        {
            return Ok(archive.by_class());
        }
        let mut found = ClassedFiles { classes: Vec::new(), files: Vec::new(), others: BTreeMap::new() };
        for folder in sorted(root)?.into_iter().filter(|path| path.is_dir()) {
            let PictureFiles { pictures, others } = PictureFiles::in_folder(&folder)?;
            others.into_iter().for_each(|(kind, count)| *found.others.entry(kind).or_default() += count);
            if !pictures.is_empty() {
                let class = found.classes.len();
                found.files.extend(pictures.into_iter().map(|file| (file, class)));
                let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
                found.classes.push(name.unwrap_or_default());
            }
        }
        Ok(found)
    }
}

/// A zip archive that may hold pictures. Nothing of it is written anywhere: a name with `..` in it leads nowhere.
///
/// ```no_run
/// use kiln_data::PictureArchive;
///
/// let archive = PictureArchive::open("photos.zip")?.expect("a zip archive");
/// for picture in archive.files().pictures {
///     println!("{}: {:?}", picture.path().display(), picture.picture()?.size());
/// }
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct PictureArchive {
    path: PathBuf,
    whole: WholeFile,
    entries: Vec<ArchiveEntry>,
}

/// Names in an archive of another kind whose parts may be pictures: documents and workbooks, programs, books.
const OF_OTHERS: [&str; 3] = ["[Content_Types].xml", "META-INF/", "mimetype"];

/// How names of tables end that are no word on a set of pictures.
const TABLES: [&str; 10] =
    ["csv", "tsv", "tab", "jsonl", "ndjson", "parquet", "arrow", "feather", "xlsx", "xlsm"];

impl PictureArchive {
    /// Of a file; nothing where it is no zip archive.
    ///
    /// # Errors
    /// Where it can't be read, or the archive is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Option<PictureArchive>> {
        let path = path.as_ref();
        let map = MemoryMap::open(path).map_err(|error| Error::io(path, error))?;
        PictureArchive::of(path.to_path_buf(), WholeFile::mapped(map))
    }

    /// Of the content of a file that goes by this name; nothing where it is no zip archive.
    ///
    /// # Errors
    /// Where the archive is damaged.
    pub fn held(name: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Option<PictureArchive>> {
        PictureArchive::of(name.into(), WholeFile::of(bytes))
    }

    fn of(path: PathBuf, whole: WholeFile) -> Result<Option<PictureArchive>> {
        if !is_zip(whole.bytes()) {
            return Ok(None);
        }
        let entries = zip_entries(whole.bytes()).map_err(|what| Error::new(what).in_file(&path))?;
        let entries = entries.into_iter().filter(|entry| !is_beside(&entry.name)).collect();
        Ok(Some(PictureArchive { path, whole, entries }))
    }

    /// Whether it is an archive of pictures, not of tables or a document that is kept in one.
    pub fn holds_pictures(&self) -> bool {
        let is_other = |entry: &ArchiveEntry| OF_OTHERS.iter().any(|name| entry.name.starts_with(name));
        let count =
            |is: fn(&Path) -> bool| self.entries.iter().filter(|entry| is(Path::new(&entry.name))).count();
        let pictures = count(is_picture);
        pictures > 0 && pictures > count(is_table) && !self.entries.iter().any(is_other)
    }

    /// What is in it, in the order of names.
    pub fn files(&self) -> PictureFiles {
        let mut found = PictureFiles::default();
        for (file, _) in self.named(&mut found) {
            found.pictures.push(file);
        }
        found
    }

    /// Its pictures, each with the folders it is in, in the order of names; the others are counted.
    fn named(&self, found: &mut PictureFiles) -> Vec<(PictureFile, Vec<String>)> {
        let mut named = Vec::new();
        for entry in &self.entries {
            // Some programs write the folders' sign of their system.
            let name = entry.name.replace('\\', "/");
            let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            let is_outside =
                name.starts_with('/') || parts.iter().any(|part| *part == ".." || part.ends_with(':'));
            let Some((own, folders)) = parts.split_last() else { continue };
            if is_outside {
                *found.others.entry("a name that leads out of the archive".to_string()).or_default() += 1;
            } else if is_picture(Path::new(own)) {
                let place = PicturePlace::Entry(self.whole.clone(), Box::new(entry.clone()));
                let path = self.path.join(&*shown(&parts.join("/")));
                let folders = folders.iter().map(|folder| folder.to_string()).collect();
                named.push((PictureFile { path, place }, folders));
            } else {
                found.leave_out(Path::new(own));
            }
        }
        named.sort_by(|a, b| a.0.path.cmp(&b.0.path));
        named
    }

    /// Each picture with its class, the folder it is in. Folders that all of them lie in (`photos/` of `photos/cats/1.png`) are none.
    fn by_class(&self) -> ClassedFiles {
        let mut found = PictureFiles::default();
        let named = self.named(&mut found);
        let mut shared = 0;
        if let Some((_, first)) = named.first() {
            let lies_deeper = |shared: usize| {
                named.iter().all(|(_, folders)| {
                    folders.len() > shared + 1 && folders.get(shared) == first.get(shared)
                })
            };
            while lies_deeper(shared) {
                shared += 1;
            }
        }
        let folder = |folders: &[String]| folders.get(shared).cloned();
        let mut classes: Vec<String> = named.iter().filter_map(|(_, folders)| folder(folders)).collect();
        classes.sort();
        classes.dedup();
        let mut files = Vec::with_capacity(named.len());
        for (file, folders) in named {
            match folder(&folders).and_then(|folder| classes.binary_search(&folder).ok()) {
                Some(class) => files.push((file, class)),
                None => *found.others.entry("no folder of a class".to_string()).or_default() += 1,
            }
        }
        ClassedFiles { classes, files, others: found.others }
    }
}

/// How many files are left out, because they are of no kind that is read.
pub(super) fn other_files(others: &BTreeMap<String, usize>) -> Option<String> {
    let kinds: Vec<String> = others.iter().map(|(kind, count)| format!("{count} with {kind}")).collect();
    let count = others.values().sum();
    (count > 0).then(|| {
        format!("{} left out, because they are no pictures by their names: {}", left(count), kinds.join(", "))
    })
}

/// So many files, and the verb.
pub(super) fn left(count: usize) -> String {
    if count == 1 { "1 file is".to_string() } else { format!("{count} files are") }
}

/// What is in a folder, in the order of names.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(|error| Error::io(folder, error))?;
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    ends_in(path, &PICTURES)
}

fn is_table(path: &Path) -> bool {
    ends_in(path, &TABLES)
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| endings.contains(&extension.as_str()))
}
