//! Tensors by name with a description, in one file: safetensors, so that any reader of those opens it. Written whole or not at
//! all, and checked when it is read.

pub(crate) mod json;
mod module;
pub(crate) mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use kiln_map::{Budget, shown};
use kiln_nn::Data;
use serde_json::{Map, Value};

use crate::checksum::crc32c;
use crate::{Error, Result};
pub(crate) use module::{put_all_weights, put_weights, set_weights};

/// Numbers under a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// The shape, row-major.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Data,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// The description: names, versions, settings. Numbers that must come back bit for bit are tensors.
    pub about: Map<String, Value>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, HostTensor>,
}

/// The place of the description in the file's metadata, and of the checksum in the description.
const ABOUT: &str = "kiln";
const CHECKSUM: &str = "checksum";

impl TensorFile {
    /// Adds numbers in a row.
    pub fn put(&mut self, name: impl Into<String>, data: Data) {
        let shape = vec![data.len()];
        self.tensors.insert(name.into(), HostTensor { shape, data });
    }

    /// The tensors whose names start with `prefix`, without it.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a HostTensor)> {
        let from = self.tensors.range(prefix.to_string()..);
        from.map_while(move |(name, stored)| Some((name.strip_prefix(prefix)?, stored)))
    }

    /// The `f64` numbers of a name; none where there are none.
    pub fn numbers(&self, name: &str) -> &[f64] {
        self.tensors.get(name).and_then(|stored| stored.data.as_slice()).unwrap_or_default()
    }

    /// Writes the file: beside it first, synced to the disk, and then in its place, so that whatever happens there is the old
    /// file or the new one.
    ///
    /// # Errors
    /// Where the system refuses, or a tensor has the name that the format keeps for itself.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_atomically(path, &self.bytes(path)?)
    }

    /// As [`TensorFile::save`], in a folder that is there.
    pub(crate) fn save_there(&self, path: &Path) -> Result<()> {
        kiln_files::write_there(path, self.bytes(path)?).map_err(Error::file(path))
    }

    /// The bytes of the file at this place.
    fn bytes(&self, path: &Path) -> Result<Vec<u8>> {
        // Its place in the file is taken, and whoever reads the file would find no whole one.
        let name = safetensors::METADATA;
        if self.tensors.contains_key(name) {
            let message =
                format!("safetensors files keep the name {name} for themselves; give the tensor another");
            return Err(Error::format(path, message));
        }
        let mut about = self.about.clone();
        about.insert(CHECKSUM.to_string(), self.checksum().into());
        let metadata = Map::from_iter([(ABOUT.to_string(), Value::Object(about).to_string().into())]);
        Ok(safetensors::write(self, metadata))
    }

    /// Reads a file that [`TensorFile::save`] wrote.
    ///
    /// # Errors
    /// Where there is none, or it isn't whole.
    pub fn load(path: impl AsRef<Path>) -> Result<TensorFile> {
        TensorFile::load_at(path.as_ref())
    }

    fn load_at(path: &Path) -> Result<TensorFile> {
        let budget = Budget::default();
        let file = budget.read_file(path).map_err(Error::file(path))?;
        // Its numbers are beside it for a while, and its own words are read.
        let text = safetensors::head(&file).map_or(0, |(text, _)| json::weigh(text));
        budget
            .bytes(file.len() as u64)
            .and_then(|_| budget.bytes(text))
            .map_err(|exceeded| Error::format(path, exceeded.to_string()))?;
        let broken =
            |what: &str| Error::format(path, format!("{what}; it is cut off, damaged, or no file of kiln's"));
        let description = safetensors::read(&file).map_err(|error| broken(&error))?;
        let text = description.metadata.iter().find(|(name, _)| name == ABOUT).map(|(_, text)| text);
        let text = text.ok_or_else(|| broken("it doesn't say what it holds"))?;
        let about: Value = serde_json::from_str(text).map_err(|_| broken("its description can't be read"))?;
        let Value::Object(mut about) = about else { return Err(broken("its description is no object")) };
        let expected = about.remove(CHECKSUM);
        let mut store = TensorFile { about, tensors: BTreeMap::new() };
        for safetensors::Described { name, dtype, shape, range } in description.tensors {
            let known = safetensors::dtype(&dtype)
                .ok_or_else(|| broken(&format!("{} is of type {}", shown(&name), shown(&dtype))))?;
            if elements(&shape).and_then(|count| count.checked_mul(known.size())) != Some(range.len()) {
                return Err(broken(&format!("{} has not as many numbers as its shape says", shown(&name))));
            }
            let data = Data::from_le_bytes(known, file.get(range).unwrap_or_default());
            if store.tensors.insert(name.clone(), HostTensor { shape, data }).is_some() {
                return Err(broken(&format!("two tensors are named {}", shown(&name))));
            }
        }
        if expected.as_ref().and_then(Value::as_str) != Some(store.checksum().as_str()) {
            return Err(broken("its checksum is wrong"));
        }
        Ok(store)
    }

    /// As [`TensorFile::save`], as JSON for people who want to read it.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn save_json(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), json::write(self, &self.checksum()).as_bytes())
    }

    /// Reads a file that [`TensorFile::save_json`] wrote.
    ///
    /// # Errors
    /// Where there is none, or it isn't whole.
    pub fn load_json(path: impl AsRef<Path>) -> Result<TensorFile> {
        let path = path.as_ref();
        let bytes = Budget::default().read_file(path).map_err(Error::file(path))?;
        let broken = |what: String| {
            Error::format(path, format!("{what}; it is cut off, damaged, or no file of kiln's"))
        };
        let (store, checksum) = json::read(&bytes).map_err(broken)?;
        // Whoever edits the file by hand takes the checksum out.
        match checksum {
            Some(sum) if sum != store.checksum() => {
                Err(broken(format!("its {CHECKSUM} is wrong (remove it if you changed the file by hand)")))
            }
            _ => Ok(store),
        }
    }

    /// Of everything in it.
    fn checksum(&self) -> String {
        let mut sum = crc32c(0, Value::Object(self.about.clone()).to_string().as_bytes());
        for (name, HostTensor { shape, data }) in &self.tensors {
            sum = crc32c(sum, format!("{name} {} {shape:?}", data.dtype()).as_bytes());
            sum = crc32c(sum, &data.to_le_bytes());
        }
        format!("crc32c:{sum:08x}")
    }
}

/// Writes a file atomically: whole or not at all; see [`kiln_files`].
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    kiln_files::write(path, bytes).map_err(Error::file(path))
}

/// How many numbers a shape has; nothing where they can't be counted.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    // An axis of 0 leaves nothing, however large the others are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn example() -> TensorFile {
        let mut store = TensorFile::default();
        store.about.insert("what".to_string(), "a test".into());
        store.put("a.x", Data::F32(vec![1.5, f32::NAN, -0.0]));
        store.put("a.y", Data::I64(vec![-7]));
        store.put("b", Data::Bool(vec![true, false]));
        store.put("empty", Data::F64(Vec::new()));
        store
    }

    #[test]
    fn what_is_saved_comes_back_bit_for_bit() {
        let folder = std::env::temp_dir().join(format!("kiln-store-{}", std::process::id()));
        let path = folder.join("sub/x.state");
        example().save(&path).unwrap();
        let read = TensorFile::load(&path).unwrap();
        let bytes = |store: &TensorFile| -> Vec<Vec<u8>> {
            store.tensors.values().map(|stored| stored.data.to_le_bytes()).collect()
        };
        assert_eq!((bytes(&read), &read.about), (bytes(&example()), &example().about));
        let json = folder.join("x.json");
        example().save_json(&json).unwrap();
        assert_eq!(bytes(&TensorFile::load_json(&json).unwrap()), bytes(&example()));
        let changed = fs::read_to_string(&json).unwrap().replacen("1.5", "1.25", 1);
        fs::write(&json, &changed).unwrap();
        assert!(TensorFile::load_json(&json).unwrap_err().to_string().contains("checksum"));
        fs::remove_file(json).unwrap();
        assert_eq!(read.under("a.").map(|(name, _)| name).collect::<Vec<_>>(), ["x", "y"]);
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_name_that_the_format_keeps_for_itself_is_refused() {
        let path = std::env::temp_dir().join(format!("kiln-store-name-{}.state", std::process::id()));
        let mut store = example();
        store.put("__metadata__", Data::F32(vec![1.0]));
        for refused in [store.save(&path), store.save_there(&path)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("__metadata__") && error.contains("kiln-store-name"), "{error}");
        }
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
        let folder = std::env::temp_dir().join(format!("kiln-store-broken-{}", std::process::id()));
        let path = folder.join("x.state");
        example().save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(TensorFile::load(&path).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            // Some spaces of the header mean nothing; then what is read is what was written.
            if let Ok(read) = TensorFile::load(&path) {
                assert_eq!(read.about, example().about, "byte {at}");
                assert_eq!(read.checksum(), example().checksum(), "byte {at}");
            }
        }
        let missing = TensorFile::load(folder.join("nothing")).unwrap_err().to_string();
        assert!(missing.contains("nothing"), "{missing}");
        fs::remove_dir_all(folder).unwrap();
    }
}
