//! IDX, the format of MNIST: `0 0 type rank`, a size for each axis as four bytes (the highest first), then the numbers.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use kiln_map::Budget;

use crate::error::{Error, Result};
use crate::gzip;
use crate::set::Set;
use crate::values::{Form, ValueKind};

/// The four files of MNIST and of sets made like it: images and labels to train on, and to test with.
pub const MNIST_FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The names of the types in the third byte.
const TYPES: [(u8, &str); 6] = [(8, "u8"), (9, "i8"), (11, "i16"), (12, "i32"), (13, "f32"), (14, "f64")];

/// The sizes of the axes and the bytes of an IDX file, plain or (by its first bytes) gzipped.
///
/// # Errors
/// Where there is no such file, it isn't IDX of bytes, or it has fewer or more numbers than it says.
pub fn read_idx(path: impl AsRef<Path>) -> Result<(Vec<usize>, Vec<u8>)> {
    read_at(path.as_ref())
}

fn read_at(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let open = || File::open(path).map(BufReader::new).map_err(|error| Error::io(path, error));
    let mut first = [0; 2];
    let packed = open()?.read_exact(&mut first).is_ok() && first == gzip::MAGIC;
    let read: Box<dyn Read> = match packed {
        true => gzip::unpacked(open()?).map_err(|error| Error::io(path, error))?,
        false => Box::new(open()?),
    };
    parse(read).map_err(|error| error.in_file(path))
}

fn parse(mut from: impl Read) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut word = || -> Result<[u8; 4]> {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map_err(|error| broken(&error, "in its header"))?;
        Ok(bytes)
    };
    let [0, 0, kind, rank] = word()? else {
        return Err(Error::new("this is no IDX file; one starts with two bytes of 0"));
    };
    if kind != 8 {
        let name = TYPES.iter().find(|(number, _)| *number == kind).map_or("unknown", |(_, name)| name);
        return Err(Error::new(format!("its numbers are of type {name} ({kind}); kiln reads u8 (8)")));
    }
    let sizes: Vec<usize> =
        (0..rank).map(|_| Ok(u32::from_be_bytes(word()?) as usize)).collect::<Result<_>>()?;
    let count = sizes.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let Some(count) = count.filter(|_| rank > 0) else {
        return Err(Error::new(format!("sizes {sizes:?} make no array")));
    };
    let mut bytes = Vec::new();
    Budget::default()
        .read_some(&mut from, &mut bytes, count)
        .map_err(|error| broken(&error, "in its numbers"))?;
    if bytes.len() < count {
        return Err(Error::new(format!(
            "it says it has {count} numbers ({sizes:?}) and ends after {}; it is cut off",
            bytes.len()
        )));
    }
    let more = from.read(&mut [0]).map_err(|error| broken(&error, "behind its numbers"))?;
    match more {
        0 => Ok((sizes, bytes)),
        _ => Err(Error::new(format!(
            "there is more in it than the {count} numbers ({sizes:?}) it says it has"
        ))),
    }
}

fn broken(error: &std::io::Error, place: &str) -> Error {
    Error::new(format!("it can't be read {place}: {error}"))
}

/// The training and the test set of a folder with the four files of MNIST, or of a set made like it (Fashion-MNIST, KMNIST), gzipped or
/// not.
///
/// # Errors
/// Where a file is missing or broken, or images and labels don't belong together.
pub fn mnist(folder: impl AsRef<Path>) -> Result<(Set, Set)> {
    let folder = folder.as_ref();
    let [train_images, train_labels, test_images, test_labels] = MNIST_FILES.map(|name| find(folder, name));
    Ok((part(train_images?, train_labels?)?, part(test_images?, test_labels?)?))
}

/// Whether a folder has any of the four files, under one of the names they are known by.
pub fn is_mnist(folder: impl AsRef<Path>) -> bool {
    MNIST_FILES.iter().any(|name| find(folder.as_ref(), name).is_ok())
}

/// A file under one of the names it is known by.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    let names = [name.to_string(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")];
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Error::new(format!(
            "there is no {name} (or {name}.gz); MNIST is four files: {}. Put them in this folder",
            MNIST_FILES.join(", ")
        ))
        .in_file(folder)
    })
}

fn part(images: PathBuf, labels: PathBuf) -> Result<Set> {
    let (sizes, pixels) = read_idx(&images)?;
    let &[count, height, width] = sizes.as_slice() else {
        return Err(Error::new(format!("images have three axes, these have {sizes:?}")).in_file(images));
    };
    let (label_sizes, classes) = read_idx(&labels)?;
    if label_sizes != [count] {
        let message = format!("{label_sizes:?} labels for the {count} images of {}", images.display());
        return Err(Error::new(message).in_file(labels));
    }
    let known = classes.iter().max().map_or(0, |&most| usize::from(most) + 1).max(10);
    let form = Form { kind: ValueKind::U8, ..Form::class(known) };
    let set = Set::new(pixels, Form::pixels(&[1, height, width]), classes, form);
    Ok(set.map_err(|error| error.in_file(images))?.named((0..known).map(|class| class.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;
    use std::io::Write;

    fn file(kind: u8, sizes: &[u32], count: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..count).map(|at| at as u8));
        bytes
    }

    #[test]
    fn a_file_is_read_plain_and_gzipped() {
        let folder = std::env::temp_dir().join(format!("kiln-idx-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = file(8, &[2, 3, 4], 24);
        std::fs::write(folder.join("plain"), &bytes).unwrap();
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        zipped.write_all(&bytes).unwrap();
        std::fs::write(folder.join("zipped"), zipped.finish().unwrap()).unwrap();
        let expected = (vec![2, 3, 4], Vec::from_iter(0..24));
        assert_eq!(read_idx(folder.join("plain")).unwrap(), expected);
        assert_eq!(read_idx(folder.join("zipped")).unwrap(), expected);
        assert!(read_idx(folder.join("none")).unwrap_err().to_string().contains("none"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_wrong_file_is_refused() {
        let error = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        let whole = file(8, &[2, 3], 6);
        for cut in 0..whole.len() {
            error(&whole[..cut]);
        }
        assert!(error(&whole[..9]).contains("header"));
        assert!(error(&whole[..14]).contains("cut off"));
        assert!(error(&file(8, &[2, 3], 7)).contains("more in it"));
        assert!(error(&file(13, &[2, 3], 6)).contains("f32"));
        assert!(error(&file(8, &[], 0)).contains("no array"));
        assert!(error(b"<!doctype html>").contains("no IDX"));
        // A header that asks for the whole address space.
        assert!(error(&file(8, &[u32::MAX; 3], 6)).contains("make no array"));
        assert!(error(&file(8, &[u32::MAX], 6)).contains("cut off"));
        assert_eq!(parse(&file(8, &[0, 28], 0)[..]).unwrap(), (vec![0, 28], vec![]));
    }

    #[test]
    fn four_files_are_two_sets() {
        let folder = std::env::temp_dir().join(format!("kiln-mnist-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(!is_mnist(&folder));
        let missing = mnist(&folder).unwrap_err().to_string();
        assert!(MNIST_FILES.iter().all(|name| missing.contains(name)), "{missing}");
        for (name, bytes) in MNIST_FILES.iter().zip([
            file(8, &[5, 2, 3], 30),
            file(8, &[5], 5),
            file(8, &[2, 2, 3], 12),
            file(8, &[2], 2),
        ]) {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        assert!(is_mnist(&folder));
        let (train, test) = mnist(&folder).unwrap();
        assert_eq!((train.len(), test.len()), (5, 2));
        assert_eq!(train.x(), Form::pixels(&[1, 2, 3]));
        assert_eq!(train.labels().unwrap(), [0, 1, 2, 3, 4]);
        std::fs::write(folder.join(MNIST_FILES[1]), file(8, &[4], 4)).unwrap();
        assert!(mnist(&folder).unwrap_err().to_string().contains("[4] labels for the 5 images"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
