//! Pictures in a folder for each class, or in a list with their labels: decoded by several threads, kept as bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::picture::{PICTURES, Picture};
use super::picture_file::{ClassedFiles, PictureFile, left, other_files};
use super::size::ImageSize;
use crate::error::{Error, Result};
use crate::set::Set;
use crate::table::{Cell, Reading};
use crate::values::Form;

/// How pictures are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictures {
    side: Option<usize>,
    size: Option<ImageSize>,
    shorter: Option<usize>,
    grey: bool,
    strict: bool,
    reading: Reading,
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
    /// How many files are of another kind, by what their names end with.
    pub others: BTreeMap<String, usize>,
}

/// Images are at most of this side unless told otherwise.
const USUAL_SIDE: usize = 64;

impl Gallery {
    /// What a person should know of files that were left out: how many, why, and which.
    pub fn left_out(&self) -> Vec<String> {
        const NAMED: usize = 5;
        let mut said = Vec::new();
        if !self.skipped.is_empty() {
            said.push(format!("{} left out, because they can't be read:", left(self.skipped.len())));
            let mut reasons = BTreeMap::<&str, Vec<String>>::new();
            for error in &self.skipped {
                let name = error.file.as_ref().map_or(String::new(), |file| file.display().to_string());
                reasons.entry(error.message.as_str()).or_default().push(name);
            }
            for (reason, names) in reasons {
                let more = match names.len() {
                    count if count > NAMED => format!(" and {} more", count - NAMED),
                    _ => String::new(),
                };
                let count = names.len();
                let named = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
                said.push(format!("  {count}: {reason} ({named}{more})"));
            }
        }
        said.extend(other_files(&self.others));
        said
    }
}

/// Height and width that suit all of some pictures: the middle one of their proportions and of their longer sides, no longer than
/// usual, and whether more than a few have colours.
fn common_size(mut sizes: Vec<(usize, usize, bool)>) -> Option<ImageSize> {
    const FEW: usize = 20;
    let colours = sizes.iter().filter(|(.., colour)| *colour).count();
    let channels = if colours * FEW > sizes.len() { 3 } else { 1 };
    let middle = sizes.len() / 2;
    sizes.sort_by(|a, b| (a.1 * b.0).cmp(&(b.1 * a.0)));
    let &(tall, wide, _) = sizes.get(middle)?;
    sizes.sort_by_key(|(height, width, _)| *height.max(width));
    let &(height, width, _) = sizes.get(middle)?;
    let longer = height.max(width).min(USUAL_SIDE);
    let shorter = |own: usize, other: usize| ((longer * own) as f64 / other as f64).round().max(1.0) as usize;
    let (height, width) =
        if tall > wide { (longer, shorter(wide, tall)) } else { (shorter(tall, wide), longer) };
    Some(ImageSize { channels, height, width })
}

impl Pictures {
    /// Of a size that suits all pictures, in the proportions that the middle one has and with 64 pixels on the longer side at most; in
    /// colour if more than a few have colours. What can't be read is left out.
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

    /// How the table is read that lists them.
    pub fn reading(self, reading: Reading) -> Pictures {
        Pictures { reading, ..self }
    }

    /// A picture that can't be read is an error.
    pub fn strict(self) -> Pictures {
        Pictures { strict: true, ..self }
    }

    /// A folder with a folder of pictures for each class: `root/cat/1.png`, or a zip archive of one. What lies in folders of that is of its class too:
    /// `root/cat/2024/1.png`.
    ///
    /// # Errors
    /// Where there are fewer than two classes with pictures, or none can be read.
    pub fn folder(&self, root: impl AsRef<Path>) -> Result<Gallery> {
        self.in_folder(root.as_ref())
    }

    fn in_folder(&self, root: &Path) -> Result<Gallery> {
        let ClassedFiles { classes, files, others } = ClassedFiles::of(root)?;
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
        let gallery = self
            .read(&files, classes)
            .map_err(|error| if error.file.is_some() { error } else { error.in_file(root) })?;
        Ok(Gallery { others, ..gallery })
    }

    /// A table (CSV, or JSON lines) with a column of paths, from the table's folder on, and a column of labels.
    ///
    /// # Errors
    /// Where a column isn't there, or as [`Pictures::folder`].
    pub fn list(&self, list: impl AsRef<Path>, paths: &str, labels: &str) -> Result<Gallery> {
        self.listed(list.as_ref(), paths, labels)
    }

    fn listed(&self, list: &Path, paths: &str, labels: &str) -> Result<Gallery> {
        let table = self.reading.open(list)?;
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
            files.push((PictureFile::on_disk(root.join(path)), classes.binary_search(&label).unwrap_or(0)));
        }
        self.read(&files, classes)
    }

    fn read(&self, files: &[(PictureFile, usize)], classes: Vec<String>) -> Result<Gallery> {
        let size = match (self.size, self.side) {
            (Some(size), _) => size,
            (None, side) => {
                let (sizes, faults): (Vec<_>, Vec<_>) =
                    each(files, PictureFile::size).into_iter().partition(Result::is_ok);
                let unreadable = || {
                    let first = faults.into_iter().find_map(Result::err);
                    let first = first.map_or(String::new(), |fault| format!("; the first: {fault}"));
                    Error::new(format!("none of its pictures can be read{first}"))
                };
                let own = common_size(sizes.into_iter().flatten().collect()).ok_or_else(unreadable)?;
                let channels = if self.grey { 1 } else { own.channels };
                let own = ImageSize { channels, ..own };
                side.map_or(own, |side| ImageSize { height: side, width: side, ..own })
            }
        };
        let pixels_of = |picture: Picture| match self.shorter {
            Some(shorter) => picture.middle(size, shorter),
            None => picture.pixels(size),
        };
        let decoded = each(files, |file| file.picture().map(pixels_of));
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
        if labels.is_empty() {
            return Err(skipped.into_iter().next().unwrap_or_else(|| Error::new("there are no pictures")));
        }
        let form = Form::pixels(&[size.channels, size.height, size.width]);
        let set = Set::new(pixels, form, labels, Form::class(classes.len()))?.named(classes);
        Ok(Gallery { set, size, skipped, others: BTreeMap::new() })
    }
}

/// What `of` makes of each file, by as many threads as there are cores.
fn each<T: Send>(
    files: &[(PictureFile, usize)],
    of: impl Fn(&PictureFile) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((file, _)) = files.get(at) else { return done };
            done.push((at, of(file)));
        }
    };
    let mut all: Vec<Result<T>> =
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
        std::fs::write(root.join("dog/README"), "no picture").unwrap();
        std::fs::write(root.join("dog/broken.png"), "no picture").unwrap();
        let gallery = Pictures::new().folder(&root).unwrap();
        assert_eq!(gallery.size, ImageSize { channels: 3, height: 10, width: 20 });
        assert_eq!(gallery.set.labels().unwrap(), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(gallery.set.names(), ["cat", "dog"]);
        assert!(gallery.skipped[0].to_string().contains("broken.png") && gallery.skipped.len() == 1);
        assert_eq!(
            gallery.others,
            BTreeMap::from([(".txt".to_string(), 1), ("no extension".to_string(), 1)])
        );
        let said = gallery.left_out().join("\n");
        assert!(said.contains("1 file is left out") && said.contains("broken.png)"), "{said}");
        assert!(
            said.contains("2 files are left out") && said.contains("1 with .txt, 1 with no extension"),
            "{said}"
        );
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

    #[test]
    fn what_lies_in_folders_of_a_class_is_of_it_whatever_its_kind() {
        let root = std::env::temp_dir().join(format!("kiln-deep-folder-{}", std::process::id()));
        for (class, name) in [
            ("a", "1.png"),
            ("a/2023/may", "2.webp"),
            ("a/2024", "3.GIF"),
            ("b", "1.tif"),
            ("b/c/d", "2.ico"),
        ] {
            std::fs::create_dir_all(root.join(class)).unwrap();
            write(&root.join(class).join(name), 16, 8);
        }
        let gallery = Pictures::new().folder(&root).unwrap();
        assert_eq!(gallery.skipped.len(), 0, "{:?}", gallery.skipped);
        assert_eq!(gallery.set.labels().unwrap(), [0, 0, 0, 1, 1]);
        assert_eq!(gallery.set.names(), ["a", "b"]);
        let cut = std::fs::read(root.join("a/2024/3.GIF")).unwrap();
        std::fs::write(root.join("a/2024/3.GIF"), &cut[..cut.len() / 2]).unwrap();
        let skipped = Pictures::new().folder(&root).unwrap().skipped;
        assert!(skipped.len() == 1 && skipped[0].to_string().contains("3.GIF"), "{skipped:?}");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&root, root.join("a/back")).unwrap();
            let error = Pictures::new().folder(&root).unwrap_err().to_string();
            assert!(error.contains("does a link lead back?"), "{error}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_size_suits_all_pictures_and_keeps_their_proportions() {
        let size = |sizes: &[(usize, usize, bool)]| {
            let ImageSize { channels, height, width } = common_size(sizes.to_vec()).unwrap();
            (height, width, channels)
        };
        assert_eq!(size(&[(480, 640, true); 3]), (48, 64, 3));
        assert_eq!(size(&[(640, 480, true), (480, 640, true), (480, 640, true)]), (48, 64, 3));
        assert_eq!(size(&[(1, 1000, true), (480, 640, true), (480, 640, true)]), (48, 64, 3));
        assert_eq!(size(&[(28, 28, false); 5]), (28, 28, 1));
        assert_eq!(size(&[(1, 900, false)]), (1, 64, 1));
        assert_eq!(common_size(Vec::new()), None);
        let mut mostly_grey = vec![(28, 28, false); 39];
        mostly_grey.push((28, 28, true));
        assert_eq!(size(&mostly_grey), (28, 28, 1));
    }
}
