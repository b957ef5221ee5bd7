//! Pictures in a folder for each class, or in a list with their labels: decoded by several threads, kept as bytes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::picture::{PICTURES, Picture};
use super::size::ImageSize;
use crate::error::{Error, Result};
use crate::set::Set;
use crate::table::{Cell, Table};
use crate::values::Form;

/// How pictures are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    side: Option<usize>,
    size: Option<ImageSize>,
    shorter: Option<usize>,
    grey: bool,
    strict: bool,
}

/// Pictures with their classes, and those that couldn't be read.
#[derive(Debug)]
pub struct Gallery {
    /// The pictures that were read.
    pub set: Set,
    /// Their size.
    pub size: ImageSize,
    /// The files that were left out, and why.
    pub skipped: Vec<Error>,
}

/// Images are at most of this side unless told otherwise.
const USUAL_SIDE: usize = 64;

impl Pictures {
    /// Of the size of the first picture, 64 × 64 at most, in colour if it has colours; what can't be read is left out.
    pub fn new() -> Pictures {
        Pictures::default()
    }

    /// All of them are resized to a square of this side.
    pub fn side(self, pixels: usize) -> Pictures {
        Pictures { side: Some(pixels), ..self }
    }

    /// All of them as a model takes them that is trained.
    pub fn size(self, size: ImageSize) -> Pictures {
        Pictures { size: Some(size), ..self }
    }

    /// Pictures keep their proportions: the shorter side is brought to so many pixels, and the middle cut out; see
    /// [`Picture::middle`].
    pub fn middle(self, shorter: usize) -> Pictures {
        Pictures { shorter: Some(shorter), ..self }
    }

    /// Without colours.
    pub fn grey(self) -> Pictures {
        Pictures { grey: true, ..self }
    }

    /// A picture that can't be read is an error.
    pub fn strict(self) -> Pictures {
        Pictures { strict: true, ..self }
    }

    /// A folder with a folder of pictures for each class: `root/cat/1.png`.
    ///
    /// # Errors
    /// Where there are fewer than two classes with pictures, or none can be read.
    pub fn folder(&self, root: impl AsRef<Path>) -> Result<Gallery> {
        self.in_folder(root.as_ref())
    }

    fn in_folder(&self, root: &Path) -> Result<Gallery> {
        let mut classes = Vec::new();
        let mut files = Vec::new();
        for folder in sorted(root)?.into_iter().filter(|path| path.is_dir()) {
            let pictures: Vec<PathBuf> =
                sorted(&folder)?.into_iter().filter(|path| is_picture(path)).collect();
            if !pictures.is_empty() {
                files.extend(pictures.into_iter().map(|path| (path, classes.len())));
                classes.push(
                    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                );
            }
        }
        if classes.len() < 2 {
            let found = match classes.first() {
                Some(class) => format!("only {class} has pictures"),
                None => "no folder in it has pictures".to_string(),
            };
            let kinds = PICTURES.join(", ");
            return Err(Error::new(format!(
                "{found}; pictures ({kinds}) belong in a folder for each class, as in cats/1.png and dogs/1.png"
            ))
            .in_file(root));
        }
        self.read(&files, classes)
            .map_err(|error| if error.file.is_some() { error } else { error.in_file(root) })
    }

    /// A table (CSV, or JSON lines) with a column of paths, from the table's folder on, and a column of labels.
    ///
    /// # Errors
    /// Where a column isn't there, or as [`Pictures::folder`].
    pub fn list(&self, list: impl AsRef<Path>, paths: &str, labels: &str) -> Result<Gallery> {
        self.listed(list.as_ref(), paths, labels)
    }

    fn listed(&self, list: &Path, paths: &str, labels: &str) -> Result<Gallery> {
        let table = Table::open(list)?;
        let (paths, labels) = (table.column(paths)?, table.column(labels)?);
        let root = list.parent().unwrap_or(Path::new("."));
        let text = |cell: Cell| cell.text().map(|text| text.into_owned());
        let mut classes: Vec<String> = (0..table.len()).filter_map(|row| text(labels.cell(row))).collect();
        classes.sort();
        classes.dedup();
        let mut files = Vec::with_capacity(table.len());
        for row in 0..table.len() {
            let place = |message: &str| {
                let error = Error::new(message).in_file(list);
                if let Some(line) = table.line(row) { error.at_line(line) } else { error }
            };
            let path = text(paths.cell(row)).ok_or_else(|| place("the path is missing"))?;
            let label = text(labels.cell(row)).ok_or_else(|| place("the label is missing"))?;
            files.push((root.join(path), classes.binary_search(&label).unwrap_or(0)));
        }
        self.read(&files, classes)
    }

    fn read(&self, files: &[(PathBuf, usize)], classes: Vec<String>) -> Result<Gallery> {
        let first = files.iter().find_map(|(path, _)| Picture::open(path).ok());
        let (height, width, colour) = first
            .map(|picture| picture.size())
            .ok_or_else(|| Error::new("none of its pictures can be read"))?;
        let side = |own: usize| self.side.unwrap_or(own.min(USUAL_SIDE));
        let channels = if self.grey || !colour { 1 } else { 3 };
        let own = ImageSize { channels, height: side(height), width: side(width) };
        let size = self.size.unwrap_or(own);
        let decoded = decode(files, size, self.shorter);
        let (mut pixels, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for ((_, class), picture) in files.iter().zip(decoded) {
            match picture {
                Ok(picture) => {
                    pixels.extend(picture);
                    labels.push(*class as i64);
                }
                Err(error) if self.strict => return Err(error),
                Err(error) => skipped.push(error),
            }
        }
        let form = Form::pixels(&[size.channels, size.height, size.width]);
        let set = Set::new(pixels, form, labels, Form::class(classes.len()))?.named(classes);
        Ok(Gallery { set, size, skipped })
    }
}

/// Each picture's pixels, decoded by as many threads as there are cores.
fn decode(files: &[(PathBuf, usize)], size: ImageSize, shorter: Option<usize>) -> Vec<Result<Vec<u8>>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((path, _)) = files.get(at) else { return done };
            let pixels = |picture: Picture| match shorter {
                Some(shorter) => picture.middle(size, shorter),
                None => picture.pixels(size),
            };
            done.push((at, Picture::open(path).map(pixels)));
        }
    };
    let mut all: Vec<Result<Vec<u8>>> =
        (0..files.len()).map(|_| Err(Error::new("a thread that decoded pictures panicked"))).collect();
    std::thread::scope(|scope| {
        // This thread decodes too, so that threads the system refuses are only missed.
        let helper = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..threads).filter_map(helper).collect();
        let own = work();
        let others = helpers.into_iter().filter_map(|thread| thread.join().ok()).flatten();
        for (at, picture) in own.into_iter().chain(others) {
            all[at] = picture;
        }
    });
    all
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
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| PICTURES.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::write;
    use super::*;
    use crate::Dataset;

    #[test]
    fn a_folder_for_each_class_is_a_set() {
        let root = std::env::temp_dir().join(format!("kiln-folder-{}", std::process::id()));
        for class in ["dog", "cat", "empty"] {
            std::fs::create_dir_all(root.join(class)).unwrap();
        }
        for number in 0..7 {
            write(&root.join(format!("cat/{number}.png")), 20, 10);
            write(&root.join(format!("dog/{number}.jpg")), 10 + number, 10);
        }
        std::fs::write(root.join("dog/notes.txt"), "no picture").unwrap();
        std::fs::write(root.join("dog/broken.png"), "no picture").unwrap();
        let gallery = Pictures::new().folder(&root).unwrap();
        assert_eq!(gallery.size, ImageSize { channels: 3, height: 10, width: 20 });
        assert_eq!(gallery.set.labels().unwrap(), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(gallery.set.names(), ["cat", "dog"]);
        assert!(gallery.skipped[0].to_string().contains("broken.png") && gallery.skipped.len() == 1);
        let strict = Pictures::new().strict().folder(&root).unwrap_err().to_string();
        assert!(strict.contains("broken.png"), "{strict}");
        let small = Pictures::new().side(6).grey().folder(&root).unwrap();
        assert_eq!(small.set.x().shape, [1, 6, 6]);
        let list = root.join("list.csv");
        std::fs::write(&list, "file,kind\ncat/1.png,b\ndog/2.jpg,a\nnothing.png,a\n").unwrap();
        let listed = Pictures::new().list(&list, "file", "kind").unwrap();
        assert_eq!((listed.set.labels().unwrap(), listed.skipped.len()), (vec![1, 0], 1));
        assert!(
            Pictures::new().list(&list, "files", "kind").unwrap_err().to_string().contains("did you mean")
        );
        let one = Pictures::new().folder(root.join("cat")).unwrap_err().to_string();
        assert!(one.contains("a folder for each class"), "{one}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
