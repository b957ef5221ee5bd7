//! CIFAR-10 in its binary form: six files of 10,000 records, each a label and 32 × 32 pixels of red, green and blue; unpacked, or in
//! the archive they come in.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use kiln_map::Budget;

use crate::error::{Error, Result};
use crate::gzip;
use crate::set::Set;
use crate::values::{Form, ValueKind};

/// The files, the last of them to test with.
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];
/// The archive and the folder in it.
const ARCHIVE: &str = "cifar-10-binary.tar.gz";
const INSIDE: &str = "cifar-10-batches-bin";

const NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const PIXELS: usize = 3 * 32 * 32;
/// No file is larger.
const MOST: u64 = 64 << 20;

/// Whether a folder has CIFAR-10, packed or not.
pub fn is_cifar10(folder: impl AsRef<Path>) -> bool {
    let folder = folder.as_ref();
    [folder.join(ARCHIVE), folder.join(FILES[5]), folder.join(INSIDE).join(FILES[5])]
        .iter()
        .any(|path| path.is_file())
}

/// The training and the test set.
///
/// # Errors
/// Where a file is missing, or isn't whole records.
pub fn cifar10(folder: impl AsRef<Path>) -> Result<(Set, Set)> {
    read_in(folder.as_ref())
}

fn read_in(folder: &Path) -> Result<(Set, Set)> {
    let mut found: [Option<Vec<u8>>; 6] = Default::default();
    let budget = Budget::default();
    let archive = folder.join(ARCHIVE);
    if archive.is_file() {
        let file = File::open(&archive).map_err(|error| Error::io(&archive, error))?;
        let packed = gzip::unpacked(BufReader::new(file)).map_err(|error| Error::io(&archive, error))?;
        unpack(packed, &mut found, &budget).map_err(|error| error.in_file(&archive))?;
    } else {
        for (name, found) in FILES.iter().zip(&mut found) {
            let place =
                [folder.join(name), folder.join(INSIDE).join(name)].into_iter().find(|path| path.is_file());
            if let Some(path) = place {
                *found = Some(budget.read_file(&path).map_err(|error| Error::io(&path, error))?);
            }
        }
    }
    let missing: Vec<&str> =
        FILES.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let all = FILES.join(", ");
        return Err(Error::new(format!("{} missing; CIFAR-10 is {all}, or {ARCHIVE}", missing.join(", ")))
            .in_file(folder));
    }
    let [train @ .., test] = found.map(Option::unwrap_or_default);
    let set = |bytes: &[u8]| part(bytes).map_err(|error| error.in_file(folder));
    Ok((set(&train.concat())?, set(&test)?))
}

fn part(bytes: &[u8]) -> Result<Set> {
    let size = PIXELS + 1;
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(Error::new(format!(
            "{} bytes aren't whole records of {size}; a file is cut off",
            bytes.len()
        )));
    }
    let labels: Vec<u8> = bytes.chunks_exact(size).map(|record| record[0]).collect();
    let pixels: Vec<u8> = bytes.chunks_exact(size).flat_map(|record| record[1..].iter().copied()).collect();
    let form = Form { kind: ValueKind::U8, ..Form::class(NAMES.len()) };
    Ok(Set::new(pixels, Form::pixels(&[3, 32, 32]), labels, form)?.named(NAMES))
}

/// Takes the files out of an archive: blocks of 512 bytes, a header with name and size (octal) and then the file, filled up.
fn unpack(mut from: impl Read, found: &mut [Option<Vec<u8>>; 6], budget: &Budget) -> Result<()> {
    let broken = |error: std::io::Error| {
        Error::new(format!("the archive can't be read: {error}; it is cut off or damaged"))
    };
    let mut header = [0; 512];
    loop {
        from.read_exact(&mut header).map_err(broken)?;
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range]).trim_matches(['\0', ' ']).to_string()
        };
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let size = u64::from_str_radix(&text(124..136), 8).ok().filter(|size| *size <= MOST);
        let size =
            size.ok_or_else(|| Error::new("the archive has a file without a size that makes sense"))?;
        let name = text(0..100);
        let wanted = FILES.iter().position(|file| name.rsplit('/').next() == Some(*file));
        let mut bytes = Vec::new();
        let padded = size.next_multiple_of(512) as usize;
        budget.read_some(&mut from, &mut bytes, padded).map_err(broken)?;
        if bytes.len() < padded {
            return Err(Error::new("the archive ends in the middle of a file; it is cut off"));
        }
        if let Some(wanted) = wanted {
            bytes.truncate(size as usize);
            found[wanted] = Some(bytes);
        } else {
            budget.free(bytes.capacity() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;
    use std::io::Write;

    fn records(first: u8) -> Vec<u8> {
        (0..3u8).flat_map(|at| std::iter::once((first + at) % 10).chain(vec![at; PIXELS])).collect()
    }

    fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            let mut header = vec![0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            bytes.extend(header);
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn the_files_and_the_archive_are_the_same_sets() {
        let folder = std::env::temp_dir().join(format!("kiln-cifar-{}", std::process::id()));
        let (plain, packed) = (folder.join("plain"), folder.join("packed"));
        for folder in [&plain, &packed] {
            std::fs::create_dir_all(folder).unwrap();
        }
        assert!(!is_cifar10(&plain) && cifar10(&plain).unwrap_err().to_string().contains("data_batch_1.bin"));
        let named: Vec<String> = FILES.iter().map(|name| format!("{INSIDE}/{name}")).collect();
        let files: Vec<(&str, Vec<u8>)> =
            named.iter().enumerate().map(|(at, name)| (name.as_str(), records(at as u8))).collect();
        for ((_, content), name) in files.iter().zip(FILES) {
            std::fs::write(plain.join(name), content).unwrap();
        }
        let archive = tar(&files);
        std::fs::write(packed.join(ARCHIVE), &archive).unwrap();
        let ((train, test), (same, _)) = (cifar10(&plain).unwrap(), cifar10(&packed).unwrap());
        assert_eq!((train.len(), test.len(), train.x().shape), (15, 3, vec![3, 32, 32]));
        assert_eq!(train.inputs(), same.inputs());
        assert_eq!(test.labels().unwrap(), [5, 6, 7]);
        for cut in [10, archive.len() / 2, archive.len() - 20] {
            std::fs::write(packed.join(ARCHIVE), &archive[..cut]).unwrap();
            assert!(cifar10(&packed).unwrap_err().to_string().contains(ARCHIVE));
        }
        std::fs::write(plain.join(FILES[2]), &records(0)[..100]).unwrap();
        assert!(cifar10(&plain).unwrap_err().to_string().contains("cut off"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
